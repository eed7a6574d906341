"""The classifiers: one line each."""

from tsmodels.estimators._factory import classifier
from tsmodels.models.chimera import ChimeraForClassification

__all__ = ["ChimeraClassifier"]

ChimeraClassifier = classifier(
    ChimeraForClassification,
    # The scan has no CUDA kernel yet: "auto" would move the network to a GPU and fail there.
    defaults={"max_epochs": 20, "batch_size": 16, "lr": 3e-3, "gradient_clip_val": 1.0, "accelerator": "cpu"},
    test_params=[
        {"d_model": 4, "d_state": 2, "n_layers": 1},
        {"d_model": 4, "d_state": 2, "n_layers": 1, "patch_size": 2, "coupling": "t2v", "dropout": 0.0},
    ],
)
