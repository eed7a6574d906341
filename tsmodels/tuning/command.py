"""The command ``tsmodels tune``: a search for the settings of a model on the training part of a data set."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsmodels.benchmark._errors import OutputError, RequestError

if TYPE_CHECKING:
    import pandas as pd

    from tsmodels.models._search import Parameter
    from tsmodels.tuning import TuningResult

__all__ = ["add_arguments", "load_space", "run"]

EXIT_OK, EXIT_NOTHING_FOUND, EXIT_INTERRUPTED = 0, 1, 130
_WIDTH_WITHOUT_TERMINAL = 100
_N_SHOWN = 5
_DESCRIPTION = """\
Search for the settings of a classifier or forecaster, on the training part of a data set alone: the test split of an
archive, or the last windows of a series that 'tsmodels benchmark' tests on, play no part. The same command run again
goes on where it stopped."""
_NOTES = """\
written to the output folder:
  trials.csv     a row per trial, with its settings and score
  best.yaml      a run of 'tsmodels benchmark' with the best settings; its entry fits into other such files
  study.db       the trials as Optuna keeps them

a file for --space names what is searched:
  d_model: [16, 32, 64]
  n_layers: {low: 1, high: 4}
  lr: {low: 1.0e-4, high: 1.0e-2, log: true}
  stride: {values: [2, 4], when: {patch_size: [8]}}

exit codes:
  0 all is well, 1 no trial succeeded, 2 wrong arguments or output folder, 130 interrupted

examples:
  tsmodels tune --dataset BasicMotions --model ChimeraClassifier --trials 20 --output tuned
  tsmodels tune --dataset airline --model DLinearForecaster --set max_epochs=30 --output tuned-airline
  tsmodels benchmark --config tuned/best.yaml"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the search to a parser."""
    parser.description, parser.epilog = _DESCRIPTION, _NOTES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--dataset", required=True, metavar="NAME", help="set of the UCR or UEA archive; for forecasters a short series"
    )
    parser.add_argument(
        "--model",
        required=True,
        metavar="NAME",
        help="classifier or forecaster of this package, or of sktime by import path or its name in the registry",
    )
    parser.add_argument(
        "--trials", type=_positive, default=20, metavar="N", help="trials in all (default: %(default)s)"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--space", metavar="FILE", help="YAML file with what is searched (default: what the network declares)"
    )
    parser.add_argument(
        "--set",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings that are not searched, such as max_epochs=20",
    )
    parser.add_argument(
        "--validation",
        type=_number,
        default=3,
        metavar="N",
        help="folds of the training cases, or the share of them that is held out once, such as 0.25; of forecasters "
        "the number of last windows (default: %(default)s)",
    )
    parser.add_argument(
        "--scoring",
        choices=("accuracy", "log_loss", "mase", "mae"),
        help="what is to be best (default: accuracy; of forecasters mase)",
    )
    parser.add_argument(
        "--cutoffs",
        type=_positive,
        default=3,
        metavar="N",
        help="of forecasters: last windows that are left for the test, as of the benchmark (default: %(default)s)",
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="after this no other trial begins")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--prune", action="store_true", help="end trials early that are worse than the median after some folds"
    )
    parser.add_argument(
        "--jobs", type=_positive, default=1, metavar="N", help="trials at a time (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Search, write the results and show them.

    Parameters
    ----------
    arguments : Namespace
        Of a parser with the options of :func:`add_arguments`.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    RequestError
        If it cannot be done as asked.
    OutputError
        If the folder cannot be written to.
    """
    from tsmodels.benchmark._locks import only_run
    from tsmodels.tuning import TuningError, TuningInterrupted, tune

    console = _console()
    folder = _opened(arguments.output)
    space = None if arguments.space is None else load_space(arguments.space)
    task = _task(arguments, space or {})
    with only_run(folder):
        try:
            result = tune(
                task.estimator,
                **task.data,
                space=space,
                fixed=task.fixed,
                n_trials=arguments.trials,
                validation=arguments.validation,
                scoring=arguments.scoring,
                timeout=arguments.timeout,
                storage=folder / "study.db",
                seed=arguments.seed,
                prune=arguments.prune,
                n_jobs=arguments.jobs,
                progress=lambda row: console.print(_line(row), markup=False, highlight=False, soft_wrap=True),
            )
        except TuningInterrupted as interruption:
            _write_trials(folder, interruption.trials)
            n_finished = len(interruption.trials)
            console.print(f"\ninterrupted after {n_finished} trials; the same command goes on from there.")
            return EXIT_INTERRUPTED
        except TuningError as error:
            _write_trials(folder, error.trials)
            print_error = _console(sys.stderr).print
            print_error(f"tsmodels tune: {error}", markup=False, highlight=False, soft_wrap=True)
            return EXIT_NOTHING_FOUND
        except (ValueError, TypeError, ModuleNotFoundError) as error:
            raise RequestError(str(error)) from error
        _write_trials(folder, result.trials)
        _write_best(folder, arguments, task, result)
    _show(console, result, folder)
    return EXIT_OK


def load_space(path: str) -> dict[str, Parameter]:
    """Read a search space.

    Parameters
    ----------
    path : path
        YAML file: by name a list of values, or a mapping with ``values``, or with ``low``, ``high`` and perhaps
        ``log``; with two integers it is a range of integers. Each mapping may have ``when``, a mapping from the name of
        another argument to its values.

    Raises
    ------
    RequestError
        If the file cannot be read, or does not hold this.
    """
    import yaml

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"cannot read {path!r}: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, Mapping) or not content:
        raise RequestError(f"{path} must hold names of arguments with what to search, such as 'd_model: [16, 32]'.")
    return {str(name): _parameter(path, name, given) for name, given in content.items()}


def _parameter(path: str, name: Any, given: Any) -> Parameter:
    from tsmodels.models._search import Choice, Integer, Real

    given = {"values": given} if isinstance(given, list) else given
    names = set(given) - {"when"} if isinstance(given, Mapping) else set()
    if names != {"values"} and names - {"log"} != {"low", "high"}:
        raise RequestError(f"{path}: {name} must be a list of values, or have 'low', 'high' and perhaps 'log', 'when'.")
    try:
        when = {other: tuple(values) for other, values in (given.get("when") or {}).items()}
        if "values" in given:
            return Choice(*given["values"], when=when)
        low, high = (_number(str(given[bound])) for bound in ("low", "high"))  # YAML reads 1e-4 as text
        kind: Any = Integer if isinstance(low, int) and isinstance(high, int) else Real
        return kind(low, high, log=bool(given.get("log", False)), when=when)
    except (AttributeError, TypeError, ValueError) as error:
        raise RequestError(f"{path}: {name}: {error}.") from error


@dataclass(frozen=True)
class _Task:
    """What is tuned, and the training data as arguments of :func:`tsmodels.tuning.tune`."""

    estimator: Any
    fixed: dict[str, Any]
    data: dict[str, Any]
    kind: str


def _task(arguments: argparse.Namespace, space: Mapping[str, Any]) -> _Task:
    from tsmodels.benchmark._lookup import ModelSpec

    fixed = dict(_setting(text) for text in arguments.set)
    spec = ModelSpec(arguments.model, arguments.model, {})
    estimator, kind = _estimator(spec)
    if wrong := [name for name in fixed if name not in estimator.get_params()]:
        raise RequestError(f"--set {wrong[0]}: {type(estimator).__name__} has no such argument.")
    if kind == "classifier":
        return _Task(estimator, fixed, _training_cases(arguments.dataset), kind)
    series, data = _training_series(arguments.dataset, arguments.cutoffs)
    if "lookback" in estimator.get_params() and "lookback" not in space:
        fixed.setdefault("lookback", series.lookback)
    return _Task(estimator, fixed, data, kind)


def _estimator(spec: Any) -> tuple[Any, str]:
    """Return an estimator of this package, or of sktime, with its defaults, and its kind."""
    from tsmodels.benchmark._lookup import unknown
    from tsmodels.benchmark.forecasting import without_remember_data_warning
    from tsmodels.estimators import all_estimators

    ours = {each.__name__: each for kind in ("classifier", "forecaster") for each in all_estimators(kind)}
    if spec.name in ours:
        found = spec.made(ours[spec.name])
    else:
        with without_remember_data_warning():
            found = next(filter(None, map(spec.estimator, ("classifier", "forecaster"))), None)
    if found is None:
        raise unknown("model", spec.name, sorted(ours))
    kind = found.get_class_tag("object_type") if hasattr(found, "get_class_tag") else type(found).__name__
    if kind not in ("classifier", "forecaster"):
        raise RequestError(f"--model must be a classifier or forecaster of sktime's interface, {spec.name} is none.")
    return found, kind


def _training_cases(name: str) -> dict[str, Any]:
    from tsmodels_datamodules import load_archive

    try:
        loaded = load_archive(name)
    except (OSError, ValueError) as error:
        raise RequestError(f"cannot load {name!r}: {str(error).rstrip('.')}.") from error
    return {"X": loaded.X_train, "y": loaded.y_train}  # the test split ends here


def _training_series(name: str, n_cutoffs: int) -> tuple[Any, dict[str, Any]]:
    from tsmodels.benchmark.forecasting import bundled_series

    try:
        series = bundled_series(name)
    except ValueError as error:
        raise RequestError(
            f"{error}: forecasters are tuned on one of airline, lynx, shampoo_sales, uschange."
        ) from error
    n_test = n_cutoffs * series.horizon
    if n_test >= len(series.y):
        raise RequestError(f"--cutoffs {n_cutoffs} leaves nothing of the {len(series.y)} points of {name}: take fewer.")
    return series, {"y": series.y.iloc[:-n_test], "fh": series.horizon, "seasonality": series.seasonality}


def _setting(text: str) -> tuple[str, Any]:
    import yaml

    name, equals, value = text.partition("=")
    if not equals:
        raise RequestError(f"--set takes NAME=VALUE, got {text!r}.")
    try:
        return name, _number(value)
    except ValueError:
        try:
            return name, yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise RequestError(f"--set {name}: {value!r} is no YAML value.") from error


def _opened(output: str) -> Path:
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write results to {output!r}: {error.strerror or error}. Name a folder that can be written to."
        ) from error
    return folder


def _write_trials(folder: Path, trials: pd.DataFrame) -> None:
    from tsmodels.benchmark.results import write_atomically

    write_atomically(folder / "trials.csv", trials.to_csv(index=False))


def _write_best(folder: Path, arguments: argparse.Namespace, task: _Task, result: TuningResult) -> None:
    import yaml

    from tsmodels.benchmark.models import class_path
    from tsmodels.benchmark.results import write_atomically

    model = {
        "class": class_path(task.estimator),
        "label": f"{type(task.estimator).__name__}-tuned",
        "parameters": {**task.fixed, **result.best_params},
    }
    content = {
        "task": {"classifier": "classification", "forecaster": "forecasting"}[task.kind],
        "datasets": [arguments.dataset],
        "models": [model],
    }
    if task.kind == "forecaster":
        content["cutoffs"] = arguments.cutoffs  # the windows that the search did not see
    heading = f"# score {result.best_score:.6g} within the training data, the best of {len(result.trials)} trials\n"
    write_atomically(folder / "best.yaml", heading + yaml.safe_dump(content, sort_keys=False))


def _show(console: Any, result: TuningResult, folder: Path) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading in ("Trial", "Score", "Seconds"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Settings", overflow="fold")
    complete = [trial for trial in result.study.trials if trial.state.name == "COMPLETE"]
    sign = 1 if result.study.direction.name == "MINIMIZE" else -1
    for trial in sorted(complete, key=lambda trial: sign * (trial.value or 0.0))[:_N_SHOWN]:
        seconds = trial.user_attrs["seconds"]
        table.add_row(str(trial.number), f"{trial.value:.4f}", f"{seconds:.1f}", _settings(trial.params))
    console.print(table)
    console.print(
        "Scores are means over parts of the training data; the best of many is too good to be expected on new data.",
        soft_wrap=True,
    )
    n_other = len(result.trials) - len(complete)
    told = f", {n_other} of {len(result.trials)} trials failed or were pruned" if n_other else ""
    console.print(f"Results: {folder} (trials.csv, best.yaml){told}", markup=False, highlight=False, soft_wrap=True)


def _line(row: Mapping[str, Any]) -> str:
    ended = {"complete": f"{row['score']:.4f}", "pruned": "pruned", "failed": f"failed: {row['error']}"}[row["state"]]
    settings = {name.removeprefix("param_"): value for name, value in row.items() if name.startswith("param_")}
    return f"trial {row['number']}: {ended} ({row['seconds']:.1f} s)  {_settings(settings)}"


def _settings(params: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in params.items()
    )


def _console(file: Any = None) -> Any:
    from rich.console import Console

    file = file or sys.stdout
    return Console(file=file, width=None if file.isatty() else _WIDTH_WITHOUT_TERMINAL)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


_number.__name__ = "number"  # argparse puts it into its message: "invalid number value: 'two'"


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


_positive.__name__ = "integer"
