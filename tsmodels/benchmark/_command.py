"""What ``tsmodels benchmark`` does with its options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tsmodels.benchmark import (
    DEFAULT_BACKTEST_OUTPUT,
    DEFAULT_CHAOS_OUTPUT,
    DEFAULT_DYNAMICS_OUTPUT,
    DEFAULT_DYNAMICS_SEEDS,
    DEFAULT_LONG_HORIZON_OUTPUT,
    DEFAULT_OUTPUT,
    DEFAULT_SEEDS,
    LONG_HORIZON_SETS,
)
from tsmodels.benchmark._errors import RequestError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from tsmodels.benchmark.console import ConsoleProgress

__all__ = ["ALTERNATIVES", "output_of", "run"]

EXIT_OK, EXIT_CELL_FAILED = 0, 1
_WIDTH_WITHOUT_TERMINAL = 100

# options that cannot be given together: each with the one that takes its place
ALTERNATIVES = {"seeds": "resamples", "resamples": "seeds", "datasets": "archive", "archive": "datasets"}


def _names(given: Sequence[str] | None) -> list[str] | None:
    return None if given is None else [name for text in given for name in text.split(",") if name]


def _models(arguments: argparse.Namespace) -> list[Any] | None:
    """Return names, and what a file says about models beside their names."""
    return arguments.model_specs if arguments.models is None else _names(arguments.models)


def _execution(arguments: argparse.Namespace) -> dict[str, Any]:
    from tsmodels.benchmark.execution import Backend, Budget

    jobs = arguments.jobs
    if jobs not in (None, 1) and (arguments.backend == "serial" or arguments.scheduler):
        other = "--scheduler" if arguments.scheduler else "--backend serial"
        raise RequestError(f"--jobs has no effect with {other}: leave one of them out.")
    usual = "dask" if arguments.scheduler else "serial" if jobs in (None, 1) else "loky"
    return {
        "backend": Backend(arguments.backend or usual, jobs or 1, arguments.threads, arguments.scheduler),
        "budget": Budget(arguments.time_limit, arguments.memory_limit),
        "retry_failed": bool(arguments.retry_failed),
    }


def _seeds(given: Sequence[str] | None, default: Sequence[int] = DEFAULT_SEEDS) -> Sequence[int]:
    if given is None:
        return default
    text = " ".join(given)
    try:
        numbers = [int(number) for number in text.replace(",", " ").split()]
    except ValueError:
        raise RequestError(f"--seeds takes integers, got {text!r}.") from None
    return range(numbers[0]) if len(given) == len(numbers) == 1 and "," not in text else numbers


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark and show its results.

    Parameters
    ----------
    arguments : Namespace
        Of a parser with the options of :func:`tsmodels.benchmark._command_options.add_arguments`.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    BenchmarkError
        If it cannot be run as asked.
    """
    from tsmodels.benchmark.console import ConsoleProgress, print_table

    console = _console()
    _refuse_other_options(arguments)
    with ConsoleProgress(console) as progress:
        results = _RUNS[_kind(arguments)](arguments, progress)
    print_table(console, results)
    progress.say(f"Results: {output_of(arguments)} ({_FILES[_kind(arguments)]})")
    return EXIT_CELL_FAILED if (results["status"] == "failed").any() else EXIT_OK


_FILES = {
    "classification": "results.csv, results.json, accuracy.png",
    "backtest": "results.md, results.csv, results.json, errors_by_horizon.csv, mase.png",
    "long-horizon": "results.md, results.csv, results.json, errors_by_horizon.csv, errors_by_horizon.png, mse.png",
    "dynamics": "results.md, results.csv, results.json, d_stsp.png",
    "chaos": "results.md, results.csv, results.json, smape.png",
}
_OUTPUTS = {
    "classification": DEFAULT_OUTPUT,
    "backtest": DEFAULT_BACKTEST_OUTPUT,
    "long-horizon": DEFAULT_LONG_HORIZON_OUTPUT,
    "dynamics": DEFAULT_DYNAMICS_OUTPUT,
    "chaos": DEFAULT_CHAOS_OUTPUT,
}
_OPTIONS_OF = {
    **dict.fromkeys(("archive", "resamples", "predictions", "train_metrics"), "classification"),
    "cutoffs": "backtest",
    **dict.fromkeys(
        ("lookback", "horizons", "patience", "window_stride", "batch_size", "lr", "accelerator"), "long-horizon"
    ),
}
_NAMES_OF_KINDS = {"backtest": "short series", "long-horizon": "long-horizon sets"}


def _kind(arguments: argparse.Namespace) -> str:
    """Return which benchmark is asked for; of forecasting the names of the data sets say it."""
    if arguments.task != "forecasting":
        return arguments.task
    names = _names(arguments.datasets) or []
    return "long-horizon" if any(name in LONG_HORIZON_SETS for name in names) else "backtest"


def output_of(arguments: argparse.Namespace) -> str:
    """Return the folder that results go to."""
    return _OUTPUTS[_kind(arguments)] if arguments.output is None else arguments.output


def _refuse_other_options(arguments: argparse.Namespace) -> None:
    kind = _kind(arguments)
    for name, wanted in _OPTIONS_OF.items():
        if getattr(arguments, name) is None or kind == wanted:
            continue
        option = name.replace("_", "-")
        if wanted == "classification":
            raise RequestError(f"--{option} is for classification: leave it out.")
        raise RequestError(
            f"--{option} is for forecasting on {_NAMES_OF_KINDS[wanted]}: leave it out, or name such with --task "
            "forecasting --datasets."
        )
    names = _names(arguments.datasets) or []
    if kind == "long-horizon" and (others := [name for name in names if name not in LONG_HORIZON_SETS]):
        raise RequestError(
            f"{others[0]!r} is no long-horizon set, {', '.join(LONG_HORIZON_SETS)}: run other series by themselves."
        )


def _classify(arguments: argparse.Namespace, progress: ConsoleProgress) -> pd.DataFrame:
    from tsmodels.benchmark import run_benchmark

    return run_benchmark(
        _names(arguments.datasets),
        _models(arguments),
        None if arguments.seeds is None else _seeds(arguments.seeds),
        output_of(arguments),
        archive=arguments.archive,
        resamples=arguments.resamples,
        epochs=arguments.epochs,
        progress=progress,
        keep_predictions=arguments.predictions is not False,
        train_metrics=arguments.train_metrics is not False,
        **_execution(arguments),
    )


def _backtest(arguments: argparse.Namespace, progress: ConsoleProgress) -> pd.DataFrame:
    from tsmodels.benchmark import run_backtest
    from tsmodels.benchmark.forecasting import left_out

    if arguments.models is None and (missing := left_out()):
        progress.say(f"left out: {' and '.join(missing)}, which need {next(iter(missing.values()))} (not installed)")
    options = {} if arguments.cutoffs is None else {"n_cutoffs": arguments.cutoffs}
    return run_backtest(
        _names(arguments.datasets),
        _models(arguments),
        _seeds(arguments.seeds),
        output_of(arguments),
        epochs=arguments.epochs,
        progress=progress,
        **options,
        **_execution(arguments),
    )


def _long_horizon(arguments: argparse.Namespace, progress: ConsoleProgress) -> pd.DataFrame:
    from tsmodels.benchmark import run_long_horizon
    from tsmodels.benchmark.long_horizon import Training

    options = {
        name: getattr(arguments, name) for name in ("patience", "window_stride", "batch_size", "lr", "accelerator")
    }
    options["max_epochs"] = arguments.epochs
    training = Training(**{name: value for name, value in options.items() if value is not None})
    return run_long_horizon(
        _names(arguments.datasets),
        _models(arguments),
        _seeds(arguments.seeds),
        output_of(arguments),
        lookback=arguments.lookback,
        horizons=arguments.horizons,
        training=training,
        progress=progress,
        **_execution(arguments),
    )


def _dynamics(arguments: argparse.Namespace, progress: ConsoleProgress) -> pd.DataFrame:
    from tsmodels.benchmark import run_reconstruction

    return run_reconstruction(
        _names(arguments.datasets),
        _models(arguments),
        _seeds(arguments.seeds, DEFAULT_DYNAMICS_SEEDS),
        output_of(arguments),
        epochs=arguments.epochs,
        progress=progress,
        **_execution(arguments),
    )


def _chaos(arguments: argparse.Namespace, progress: ConsoleProgress) -> pd.DataFrame:
    from tsmodels.benchmark import run_chaos
    from tsmodels.benchmark.forecasting import left_out

    if arguments.models is None and "Theta" in left_out():
        progress.say("left out: Theta, which needs statsmodels (not installed)")
    return run_chaos(
        _names(arguments.datasets),
        _models(arguments),
        _seeds(arguments.seeds),
        output_of(arguments),
        epochs=arguments.epochs,
        progress=progress,
        **_execution(arguments),
    )


_RUNS = {
    "classification": _classify,
    "backtest": _backtest,
    "long-horizon": _long_horizon,
    "dynamics": _dynamics,
    "chaos": _chaos,
}


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL)
