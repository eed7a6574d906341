"""sktime estimators over the networks of this package, and the factories that make them of any network."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsmodels.estimators._base import NetClassifier
    from tsmodels.estimators._detector import NetDetector
    from tsmodels.estimators._factory import classifier, detector, forecaster
    from tsmodels.estimators._forecaster import NetForecaster
    from tsmodels.estimators._registry import all_estimators
    from tsmodels.estimators.classifiers import (
        ChimeraClassifier,
        ConvS5Classifier,
        MambaClassifier,
        S4DClassifier,
        ShapeFormerClassifier,
        VSFormerClassifier,
    )
    from tsmodels.estimators.detectors import ChimeraDetector
    from tsmodels.estimators.dynamics import ALRNNForecaster, ContextParrotForecaster, PLRNNForecaster
    from tsmodels.estimators.forecasters import (
        ChimeraForecaster,
        DLinearForecaster,
        MambaForecaster,
        S4DForecaster,
    )
    from tsmodels.estimators.grids import (
        AverageGridForecaster,
        ClimatologyGridForecaster,
        ConvS5GridForecaster,
        DampedPersistenceGridForecaster,
        LinearInverseGridForecaster,
        PersistenceGridForecaster,
        skill_table,
    )
    from tsmodels.estimators.transformers import ShapeletTransform

__all__ = [
    "ALRNNForecaster",
    "AverageGridForecaster",
    "ChimeraClassifier",
    "ChimeraDetector",
    "ChimeraForecaster",
    "ClimatologyGridForecaster",
    "ContextParrotForecaster",
    "ConvS5Classifier",
    "ConvS5GridForecaster",
    "DLinearForecaster",
    "DampedPersistenceGridForecaster",
    "LinearInverseGridForecaster",
    "MambaClassifier",
    "MambaForecaster",
    "NetClassifier",
    "NetDetector",
    "NetForecaster",
    "PLRNNForecaster",
    "PersistenceGridForecaster",
    "S4DClassifier",
    "S4DForecaster",
    "ShapeFormerClassifier",
    "ShapeletTransform",
    "VSFormerClassifier",
    "all_estimators",
    "classifier",
    "detector",
    "forecaster",
    "skill_table",
]

_MODULE_OF = {
    "ALRNNForecaster": "dynamics",
    "ChimeraClassifier": "classifiers",
    "ChimeraDetector": "detectors",
    "ChimeraForecaster": "forecasters",
    "AverageGridForecaster": "grids",
    "ClimatologyGridForecaster": "grids",
    "ContextParrotForecaster": "dynamics",
    "ConvS5Classifier": "classifiers",
    "ConvS5GridForecaster": "grids",
    "DLinearForecaster": "forecasters",
    "DampedPersistenceGridForecaster": "grids",
    "LinearInverseGridForecaster": "grids",
    "MambaClassifier": "classifiers",
    "MambaForecaster": "forecasters",
    "NetClassifier": "_base",
    "NetDetector": "_detector",
    "NetForecaster": "_forecaster",
    "PLRNNForecaster": "dynamics",
    "PersistenceGridForecaster": "grids",
    "S4DClassifier": "classifiers",
    "S4DForecaster": "forecasters",
    "ShapeFormerClassifier": "classifiers",
    "ShapeletTransform": "transformers",
    "VSFormerClassifier": "classifiers",
    "all_estimators": "_registry",
    "classifier": "_factory",
    "detector": "_factory",
    "forecaster": "_factory",
    "skill_table": "grids",
}


def __getattr__(name: str) -> Any:
    # sktime and torch take seconds to import; nobody pays for them before an estimator is asked for
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
