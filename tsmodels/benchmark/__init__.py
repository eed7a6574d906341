"""Many data sets by many classifiers by many seeds: a run that resumes, and results that say how they were obtained.

Importing the package imports neither sktime nor torch nor pandas: a name is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsmodels.benchmark._errors import BenchmarkError, OutputError, RequestError
    from tsmodels.benchmark.models import available_models
    from tsmodels.benchmark.results import load_results, summarise
    from tsmodels.benchmark.runner import Progress, run_benchmark

__all__ = [
    "DEFAULT_DATASETS",
    "DEFAULT_MODELS",
    "DEFAULT_OUTPUT",
    "DEFAULT_SEEDS",
    "BenchmarkError",
    "OutputError",
    "Progress",
    "RequestError",
    "available_models",
    "load_results",
    "run_benchmark",
    "summarise",
]

# sktime brings these along: the default run downloads nothing
DEFAULT_DATASETS = ("BasicMotions", "JapaneseVowels", "ItalyPowerDemand", "ArrowHead")
# The first model of this package and the strong baseline: minutes; all models would take an hour
DEFAULT_MODELS = ("ChimeraClassifier", "MiniRocket")
DEFAULT_SEEDS = (0, 1, 2)
DEFAULT_OUTPUT = "tsmodels-results"

_MODULES = {
    "BenchmarkError": "_errors",
    "OutputError": "_errors",
    "Progress": "runner",
    "RequestError": "_errors",
    "available_models": "models",
    "load_results": "results",
    "run_benchmark": "runner",
    "summarise": "results",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
