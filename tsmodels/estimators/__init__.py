"""sktime estimators over the networks of this package, and the factory that makes them of any network."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsmodels.estimators._base import NetClassifier
    from tsmodels.estimators._factory import classifier
    from tsmodels.estimators._registry import all_estimators
    from tsmodels.estimators.classifiers import ChimeraClassifier, MambaClassifier, S4DClassifier

__all__ = [
    "ChimeraClassifier",
    "MambaClassifier",
    "NetClassifier",
    "S4DClassifier",
    "all_estimators",
    "classifier",
]

_MODULE_OF = {
    "ChimeraClassifier": "classifiers",
    "MambaClassifier": "classifiers",
    "NetClassifier": "_base",
    "S4DClassifier": "classifiers",
    "all_estimators": "_registry",
    "classifier": "_factory",
}


def __getattr__(name: str) -> Any:
    # sktime and torch take seconds to import; nobody pays for them before an estimator is asked for
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
