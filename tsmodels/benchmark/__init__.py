"""Many data sets by many models by many seeds: a run that resumes, and results that say how they were obtained.

Classifiers on archive sets (:func:`run_benchmark`), forecasters on short series at several cutoffs
(:func:`run_backtest`), networks by the protocol of the long-horizon forecasting literature (:func:`run_long_horizon`),
models of dynamical systems judged by their free run (:func:`run_reconstruction`), and forecasters on chaotic systems
(:func:`run_chaos`).

Importing the package imports neither sktime nor torch nor pandas: a name is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsmodels.benchmark._errors import BenchmarkError, OutputError, RequestError
    from tsmodels.benchmark._tables import load_horizon_errors
    from tsmodels.benchmark.archive_files import load_result_files
    from tsmodels.benchmark.chaos import run_chaos
    from tsmodels.benchmark.execution import Backend, Budget
    from tsmodels.benchmark.forecasting import BacktestSeries, run_backtest
    from tsmodels.benchmark.long_horizon import run_long_horizon
    from tsmodels.benchmark.models import available_models
    from tsmodels.benchmark.published import load_published
    from tsmodels.benchmark.reconstruction import run_reconstruction
    from tsmodels.benchmark.reports import make_report
    from tsmodels.benchmark.results import load_results, summarise
    from tsmodels.benchmark.runner import Progress, run_benchmark

__all__ = [
    "DEFAULT_BACKTEST_OUTPUT",
    "DEFAULT_CHAOS_OUTPUT",
    "DEFAULT_DATASETS",
    "DEFAULT_DYNAMICS",
    "DEFAULT_DYNAMICS_OUTPUT",
    "DEFAULT_DYNAMICS_SEEDS",
    "DEFAULT_LONG_HORIZON_OUTPUT",
    "DEFAULT_MODELS",
    "DEFAULT_OUTPUT",
    "DEFAULT_SEEDS",
    "DEFAULT_SERIES",
    "DYNAMICS_SETS",
    "LONG_HORIZON_SETS",
    "Backend",
    "BacktestSeries",
    "BenchmarkError",
    "Budget",
    "OutputError",
    "Progress",
    "RequestError",
    "available_models",
    "load_horizon_errors",
    "load_published",
    "load_result_files",
    "load_results",
    "make_report",
    "run_backtest",
    "run_benchmark",
    "run_chaos",
    "run_long_horizon",
    "run_reconstruction",
    "summarise",
]

# sktime brings these along: the default run downloads nothing
DEFAULT_DATASETS = ("BasicMotions", "JapaneseVowels", "ItalyPowerDemand", "ArrowHead")
# The first model of this package and the strong baseline: minutes; all models would take an hour
DEFAULT_MODELS = ("ChimeraClassifier", "MiniRocket")
DEFAULT_SEEDS = (0, 1, 2)
DEFAULT_OUTPUT = "tsmodels-results"

# these too come with sktime
DEFAULT_SERIES = ("airline", "lynx", "shampoo_sales", "uschange")
DEFAULT_BACKTEST_OUTPUT = "tsmodels-forecasting"
LONG_HORIZON_SETS = ("ETTh1", "ETTh2", "ETTm1", "ETTm2", "weather", "exchange_rate", "national_illness")
DEFAULT_LONG_HORIZON_OUTPUT = "tsmodels-long-horizon"

# the first three are integrated here, the others are files
DYNAMICS_SETS = ("Lorenz63", "Lorenz96", "Rossler", "ECG_pecuzal_5d", "EEG", "Lorenz63_GTF", "Lorenz63_ALRNN")
DEFAULT_DYNAMICS = ("Lorenz63", "Lorenz96")
DEFAULT_DYNAMICS_SEEDS = (0, 1, 2, 3, 4)
DEFAULT_DYNAMICS_OUTPUT = "tsmodels-dynamics"
DEFAULT_CHAOS_OUTPUT = "tsmodels-chaos"

_MODULES = {
    "Backend": "execution",
    "BacktestSeries": "forecasting",
    "BenchmarkError": "_errors",
    "Budget": "execution",
    "OutputError": "_errors",
    "Progress": "runner",
    "RequestError": "_errors",
    "available_models": "models",
    "load_horizon_errors": "_tables",
    "load_published": "published",
    "load_result_files": "archive_files",
    "load_results": "results",
    "make_report": "reports",
    "run_chaos": "chaos",
    "run_reconstruction": "reconstruction",
    "run_backtest": "forecasting",
    "run_benchmark": "runner",
    "run_long_horizon": "long_horizon",
    "summarise": "results",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
