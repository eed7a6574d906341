"""The detectors of anomalies: one line each."""

from typing import Any

from tsmodels.estimators._factory import detector
from tsmodels.models.chimera_reconstruction import ChimeraForReconstruction

__all__ = ["ChimeraDetector"]

_TRAINING: dict[str, Any] = {"gradient_clip_val": 1.0, "accelerator": "cpu", "lr": 3e-3}
_SMALL = {"d_model": 4, "d_state": 2, "n_layers": 1, "patch_size": 2}

ChimeraDetector = detector(
    ChimeraForReconstruction,
    defaults=_TRAINING,
    test_params=[_SMALL, _SMALL | {"mode": "predict", "dropout": 0.0, "coupling": "none"}],
)
