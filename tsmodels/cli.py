"""The console command ``tsmodels``.

Nothing heavy is imported before a command runs: ``tsmodels --help`` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import tsmodels
from tsmodels.benchmark import (
    DEFAULT_BACKTEST_OUTPUT,
    DEFAULT_CHAOS_OUTPUT,
    DEFAULT_DATASETS,
    DEFAULT_DYNAMICS,
    DEFAULT_DYNAMICS_OUTPUT,
    DEFAULT_DYNAMICS_SEEDS,
    DEFAULT_LONG_HORIZON_OUTPUT,
    DEFAULT_MODELS,
    DEFAULT_OUTPUT,
    DEFAULT_SEEDS,
    DEFAULT_SERIES,
    DYNAMICS_SETS,
    LONG_HORIZON_SETS,
)

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from tsmodels.benchmark.report import ConsoleProgress

__all__ = ["main"]

EXIT_OK, EXIT_CELL_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
_WIDTH_WITHOUT_TERMINAL = 100

_BENCHMARK_HELP = f"""\
Train and evaluate models: classifiers on data sets of the UCR and UEA archives, forecasters, or
models of dynamical systems.

Without options: {" and ".join(DEFAULT_MODELS)} (sktime's, as a baseline) on
{", ".join(DEFAULT_DATASETS)},
which come with sktime; three seeds each.

--task forecasting: forecasters of this package and sktime at several cutoffs of short series that
come with sktime ({", ".join(DEFAULT_SERIES)}).

--task forecasting --datasets ETTh1 ...: networks by the protocol of the long-horizon forecasting
literature, on {", ".join(LONG_HORIZON_SETS)}.

--task dynamics: piecewise-linear recurrent networks learn a system from a series and are judged by
their free run ({", ".join(DEFAULT_DYNAMICS)} are integrated, others are read from TSMODELS_DATA).

--task chaos: forecasters on chaotic systems that are integrated here.

Each result is kept as soon as it is there. The same command run again goes on where it stopped,
tries again what failed, and runs nothing twice."""

_BENCHMARK_NOTES = """\
written to the output folder:
  results.csv    one row per data set, model and seed
  results.json   the same with parameters and versions, and the means over seeds
  results.md     the table (all but classification)
  *.png          the results as pictures: accuracy.png, mase.png, d_stsp.png, smape.png, or mse.png and
                 errors_by_horizon.png
  errors_by_horizon.csv  errors for each step ahead (forecasting)
  cells/         a file per result, from which the above are made; delete one to run it again

exit codes:
  0 all is well, 1 a model failed somewhere, 2 wrong arguments or output folder, 130 interrupted

examples:
  tsmodels benchmark
  tsmodels benchmark --datasets ArrowHead GunPoint --models MiniRocket 1NN-DTW
  tsmodels benchmark --seeds 5 --epochs 20 --output quick
  tsmodels benchmark --task forecasting
  tsmodels benchmark --task forecasting --datasets ETTh1 weather --models DLinear Chimera \\
      --lookback 96 --horizons 96 192 --epochs 10 --window-stride 4
  tsmodels benchmark --task dynamics --datasets Lorenz63 ECG_pecuzal_5d --epochs 5000
  tsmodels benchmark --task chaos --models ContextParrot PLRNN"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name. By default those of the process.

    Returns
    -------
    int
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    return arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tsmodels", description=tsmodels.__doc__)
    parser.add_argument("--version", action="version", version=f"tsmodels {tsmodels.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    benchmark = commands.add_parser(
        "benchmark",
        help="train and evaluate classifiers or forecasters on many data sets",
        description=_BENCHMARK_HELP,
        epilog=_BENCHMARK_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    benchmark.add_argument(
        "--task",
        choices=("classification", "forecasting", "dynamics", "chaos"),
        default="classification",
        help="(default: %(default)s)",
    )
    benchmark.add_argument(
        "--datasets",
        "--sets",
        nargs="+",
        metavar="NAME",
        help="sets of the UCR or UEA archive; found in sktime's own data, in the folder that the environment variable "
        f"TSMODELS_DATA names, or downloaded (default: {' '.join(DEFAULT_DATASETS)}); of forecasting: short series "
        f"(default: {' '.join(DEFAULT_SERIES)}) or long-horizon sets ({' '.join(LONG_HORIZON_SETS)}), not both; "
        f"of dynamics: {' '.join(DYNAMICS_SETS)} (default: the first two); of chaos: a wrong name lists what there is "
        "(default: all)",
    )
    benchmark.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help="classifiers of this package, MiniRocket, 1NN-DTW; a wrong name lists what there is (default: "
        f"{' '.join(DEFAULT_MODELS)}); of forecasting: NaiveLast, SeasonalNaive, Theta, ETS (short series; with "
        "statsmodels), DLinear, Chimera, Mamba, S4D (default: all but the last two); of dynamics: Floor, shPLRNN, "
        "shPLRNN-aGTF, ALRNN (default: all); of chaos: a wrong name lists what there is",
    )
    benchmark.add_argument(
        "--seeds",
        nargs="+",
        metavar="N",
        help="one number: so many seeds, 0, 1, ...; several numbers, or one with a comma ('7,'): these seeds "
        f"(default: {len(DEFAULT_SEEDS)}; of dynamics {len(DEFAULT_DYNAMICS_SEEDS)}); models that draw nothing at "
        "random run once",
    )
    benchmark.add_argument(
        "--epochs",
        "--max-epochs",
        type=_positive,
        metavar="N",
        help="max_epochs of the models that are trained in epochs (default: each model's own; 10 on long-horizon sets, "
        "1000 of dynamics)",
    )
    benchmark.add_argument(
        "--output",
        metavar="DIR",
        help=f"folder for the results (default: {DEFAULT_OUTPUT}, {DEFAULT_BACKTEST_OUTPUT} for short series, "
        f"{DEFAULT_LONG_HORIZON_OUTPUT} for long-horizon sets, {DEFAULT_DYNAMICS_OUTPUT}, {DEFAULT_CHAOS_OUTPUT})",
    )
    short = benchmark.add_argument_group("forecasting, short series")
    short.add_argument("--cutoffs", type=_positive, metavar="N", help="number of cutoffs of each series (default: 3)")
    long = benchmark.add_argument_group("forecasting, long-horizon sets")
    for name, type_, text in (
        ("--lookback", _positive, "steps that the networks see (default: 96; national_illness 36)"),
        ("--patience", _positive, "epochs without a lower validation loss, after which training ends (default: 3)"),
        ("--window-stride", _positive, "train on every N-th window only; all are tested (default: 1)"),
        ("--batch-size", _positive, "windows per training step (default: 32)"),
        ("--lr", float, "peak learning rate (default: 0.001)"),
    ):
        long.add_argument(name, type=type_, metavar="X" if type_ is float else "N", help=text)
    long.add_argument(
        "--horizons",
        nargs="+",
        type=_positive,
        metavar="N",
        help="steps to forecast, one or several (default: 96; national_illness 24)",
    )
    long.add_argument("--accelerator", metavar="NAME", help="auto, cpu, gpu, cuda or mps (default: cpu)")
    benchmark.set_defaults(run=_benchmark)
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


_positive.__name__ = "integer"  # argparse puts it into its message: "invalid integer value: 'two'"


def _names(given: Sequence[str] | None) -> list[str] | None:
    return None if given is None else [name for text in given for name in text.split(",") if name]


def _seeds(given: Sequence[str] | None, default: Sequence[int] = DEFAULT_SEEDS) -> Sequence[int]:
    if given is None:
        return default
    from tsmodels.benchmark import RequestError

    text = " ".join(given)
    try:
        numbers = [int(number) for number in text.replace(",", " ").split()]
    except ValueError:
        raise RequestError(f"--seeds takes integers, got {text!r}.") from None
    return range(numbers[0]) if len(given) == len(numbers) == 1 and "," not in text else numbers


def _benchmark(arguments: argparse.Namespace) -> int:
    # sktime and torch take seconds to import: also their import may be interrupted
    try:
        return _run_benchmark(arguments)
    except KeyboardInterrupt:
        where = f"What was finished is in {_output(arguments)}; the same command goes on from there."
        print(f"\ninterrupted. {where}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run_benchmark(arguments: argparse.Namespace) -> int:
    from tsmodels.benchmark import BenchmarkError
    from tsmodels.benchmark.report import ConsoleProgress, print_table

    console = _console()
    try:
        _refuse_other_options(arguments)
        with ConsoleProgress(console) as progress:
            results = _RUNS[_kind(arguments)](arguments, progress)
    except BenchmarkError as error:
        print(f"tsmodels benchmark: {error}", file=sys.stderr)
        return EXIT_USAGE
    print_table(console, results)
    print(f"Results: {_output(arguments)} ({_FILES[_kind(arguments)]})")
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


def _output(arguments: argparse.Namespace) -> str:
    return _OUTPUTS[_kind(arguments)] if arguments.output is None else arguments.output


def _refuse_other_options(arguments: argparse.Namespace) -> None:
    from tsmodels.benchmark import RequestError

    kind = _kind(arguments)
    for name, wanted in _OPTIONS_OF.items():
        if getattr(arguments, name) is not None and kind != wanted:
            option = name.replace("_", "-")
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
        _names(arguments.models),
        _seeds(arguments.seeds),
        _output(arguments),
        epochs=arguments.epochs,
        progress=progress,
    )


def _backtest(arguments: argparse.Namespace, progress: ConsoleProgress) -> pd.DataFrame:
    from tsmodels.benchmark import run_backtest
    from tsmodels.benchmark.forecasting import left_out

    if arguments.models is None and (missing := left_out()):
        print(f"left out: {' and '.join(missing)}, which need {next(iter(missing.values()))} (not installed)")
    options = {} if arguments.cutoffs is None else {"n_cutoffs": arguments.cutoffs}
    return run_backtest(
        _names(arguments.datasets),
        _names(arguments.models),
        _seeds(arguments.seeds),
        _output(arguments),
        epochs=arguments.epochs,
        progress=progress,
        **options,
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
        _names(arguments.models),
        _seeds(arguments.seeds),
        _output(arguments),
        lookback=arguments.lookback,
        horizons=arguments.horizons,
        training=training,
        progress=progress,
    )


def _dynamics(arguments: argparse.Namespace, progress: ConsoleProgress) -> pd.DataFrame:
    from tsmodels.benchmark import run_reconstruction

    return run_reconstruction(
        _names(arguments.datasets),
        _names(arguments.models),
        _seeds(arguments.seeds, DEFAULT_DYNAMICS_SEEDS),
        _output(arguments),
        epochs=arguments.epochs,
        progress=progress,
    )


def _chaos(arguments: argparse.Namespace, progress: ConsoleProgress) -> pd.DataFrame:
    from tsmodels.benchmark import run_chaos
    from tsmodels.benchmark.forecasting import left_out

    if arguments.models is None and "Theta" in left_out():
        print("left out: Theta, which needs statsmodels (not installed)")
    return run_chaos(
        _names(arguments.datasets),
        _names(arguments.models),
        _seeds(arguments.seeds),
        _output(arguments),
        epochs=arguments.epochs,
        progress=progress,
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
