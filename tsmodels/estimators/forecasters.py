"""The forecasters: one line each."""

from typing import Any

from tsmodels.estimators._factory import forecaster
from tsmodels.models.chimera import ChimeraForForecasting
from tsmodels.models.dlinear import DLinearForForecasting
from tsmodels.models.mamba import MambaForForecasting
from tsmodels.models.s4d import S4DForForecasting

__all__ = ["ChimeraForecaster", "DLinearForecaster", "MambaForecaster", "S4DForecaster"]

_TRAINING: dict[str, Any] = {"gradient_clip_val": 1.0, "accelerator": "cpu"}
_SMALL = {"d_model": 4, "d_state": 2, "n_layers": 1}

ChimeraForecaster = forecaster(
    ChimeraForForecasting, defaults=_TRAINING, test_params=[_SMALL, _SMALL | {"coupling": "none", "dropout": 0.0}]
)

DLinearForecaster = forecaster(
    DLinearForForecasting,
    defaults=_TRAINING,
    test_params=[{"kernel_size": 3}, {"individual": True, "normalise": "last", "loss": "pinball"}],
)

MambaForecaster = forecaster(
    MambaForForecasting, defaults=_TRAINING, test_params=[_SMALL, _SMALL | {"loss": "student_t"}]
)

S4DForecaster = forecaster(S4DForForecasting, defaults=_TRAINING, test_params=[_SMALL, _SMALL | {"dropout": 0.0}])
