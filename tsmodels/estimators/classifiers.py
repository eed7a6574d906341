"""The classifiers: one line each."""

from tsmodels.estimators._factory import classifier
from tsmodels.models.chimera import ChimeraForClassification

__all__ = ["ChimeraClassifier"]

ChimeraClassifier = classifier(
    ChimeraForClassification,
    test_params=[
        {"d_model": 4, "d_state": 2, "n_layers": 1},
        {"d_model": 4, "d_state": 2, "n_layers": 1, "patch_size": 2, "coupling": "t2v", "dropout": 0.0},
    ],
)
