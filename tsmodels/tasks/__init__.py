"""Lightning modules: a network with its loss, metrics, optimiser and schedule."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsmodels.tasks.classification import ClassificationTask
    from tsmodels.tasks.dynamics import DYNAMICS_PRESETS, DynamicsTask
    from tsmodels.tasks.forecasting import ForecastingTask
    from tsmodels.tasks.frames import FramesTask
    from tsmodels.tasks.reconstruction import ReconstructionTask

__all__ = [
    "DYNAMICS_PRESETS",
    "ClassificationTask",
    "DynamicsTask",
    "ForecastingTask",
    "FramesTask",
    "ReconstructionTask",
]

_MODULES = {
    "ClassificationTask": "classification",
    "DYNAMICS_PRESETS": "dynamics",
    "DynamicsTask": "dynamics",
    "ForecastingTask": "forecasting",
    "FramesTask": "frames",
    "ReconstructionTask": "reconstruction",
}


def __getattr__(name: str) -> Any:
    # Lightning takes seconds to import; nobody pays for it before a task is asked for.
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
