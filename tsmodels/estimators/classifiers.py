"""The classifiers: one line each."""

from typing import Any

from tsmodels.estimators._factory import classifier
from tsmodels.models.chimera import ChimeraForClassification
from tsmodels.models.convs5 import ConvS5ForClassification
from tsmodels.models.mamba import MambaForClassification
from tsmodels.models.s4d import S4DForClassification
from tsmodels.models.shapeformer import ShapeFormerForClassification
from tsmodels.models.vsformer import VSFormerForClassification

__all__ = [
    "ChimeraClassifier",
    "ConvS5Classifier",
    "MambaClassifier",
    "S4DClassifier",
    "ShapeFormerClassifier",
    "VSFormerClassifier",
]

# Archive sets are small: there a scan's launches cost more than its work, and numba-cuda may not be installed.
# A GPU is used when it is asked for.
_TRAINING: dict[str, Any] = {
    "max_epochs": "auto",
    "batch_size": 16,
    "lr": 3e-3,
    "gradient_clip_val": 1.0,
    "accelerator": "cpu",
}

ChimeraClassifier = classifier(
    ChimeraForClassification,
    defaults=_TRAINING,
    test_params=[
        {"d_model": 4, "d_state": 2, "n_layers": 1},
        {"d_model": 4, "d_state": 2, "n_layers": 1, "patch_size": 2, "coupling": "t2v", "dropout": 0.0},
    ],
)

ConvS5Classifier = classifier(
    ConvS5ForClassification,
    defaults=_TRAINING | {"max_epochs": 60},
    test_params=[
        {"d_model": 4, "d_state": 4, "n_layers": 1},
        {"d_model": 4, "d_state": 2, "n_layers": 1, "layout": "pixel", "bidirectional": False, "dropout": 0.0},
    ],
)

MambaClassifier = classifier(
    MambaForClassification,
    defaults=_TRAINING | {"max_epochs": 60},
    test_params=[
        {"d_model": 4, "d_state": 2, "n_layers": 1},
        {"d_model": 4, "d_state": 2, "n_layers": 1, "bidirectional": True, "pooling": "adaptive", "dropout": 0.0},
    ],
)

S4DClassifier = classifier(
    S4DForClassification,
    defaults=_TRAINING | {"max_epochs": 60},
    test_params=[
        {"d_model": 4, "d_state": 2, "n_layers": 1},
        {"d_model": 4, "d_state": 4, "n_layers": 1, "bidirectional": True, "init": "lin", "dropout": 0.0},
    ],
)

ShapeFormerClassifier = classifier(
    ShapeFormerForClassification,
    defaults=_TRAINING | {"max_epochs": 100, "lr": 1e-3},
    test_params=[
        {"n_shapelets": 2, "d_model": 4, "d_generic": 4, "n_heads": 2, "d_ff": 4},
        {
            "n_shapelets": 1,
            "d_model": 4,
            "d_generic": 4,
            "n_heads": 1,
            "d_ff": 4,
            "window": None,
            "class_token": "mean",
        },
    ],
)

VSFormerClassifier = classifier(
    VSFormerForClassification,
    defaults=_TRAINING | {"max_epochs": 100, "lr": 1e-3},
    test_params=[
        {"n_prototypes": 12, "n_intervals": 12, "d_model": 4, "n_heads": 2, "d_ff": 4, "n_layers": 1},
        {"n_prototypes": 6, "use_value": False, "d_model": 4, "n_heads": 1, "d_ff": 4, "n_layers": 1, "match": "raw"},
    ],
)
