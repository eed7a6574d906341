"""The console command ``tsmodels``.

Nothing heavy is imported before a command runs: ``tsmodels --help`` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import tsmodels
from tsmodels.benchmark import DEFAULT_DATASETS, DEFAULT_MODELS, DEFAULT_OUTPUT, DEFAULT_SEEDS

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["main"]

EXIT_OK, EXIT_CELL_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
_WIDTH_WITHOUT_TERMINAL = 100

_BENCHMARK_HELP = f"""\
Train and evaluate classifiers on data sets of the UCR and UEA archives.

Without options: every classifier of this package, and sktime's MiniRocket as a baseline, on
{", ".join(DEFAULT_DATASETS)},
which come with sktime; three seeds each.

Each result is kept as soon as it is there. The same command run again goes on where it stopped,
tries again what failed, and runs nothing twice."""

_BENCHMARK_NOTES = """\
written to the output folder:
  results.csv    one row per data set, model and seed
  results.json   the same with parameters and versions, and the means over seeds
  accuracy.png   the accuracies as a picture
  cells/         a file per result, from which the above are made; delete one to run it again

exit codes:
  0 all is well, 1 a model failed somewhere, 2 wrong arguments or output folder, 130 interrupted

examples:
  tsmodels benchmark
  tsmodels benchmark --datasets ArrowHead GunPoint --models MiniRocket 1NN-DTW
  tsmodels benchmark --seeds 5 --epochs 20 --output quick"""


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
        help="train and evaluate classifiers on UCR and UEA data sets",
        description=_BENCHMARK_HELP,
        epilog=_BENCHMARK_NOTES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    benchmark.add_argument(
        "--datasets",
        nargs="+",
        metavar="NAME",
        help="sets of the UCR or UEA archive; found in sktime's own data, in the folder that the environment variable "
        f"TSMODELS_DATA names, or downloaded (default: {' '.join(DEFAULT_DATASETS)})",
    )
    benchmark.add_argument(
        "--models",
        nargs="+",
        metavar="NAME",
        help="classifiers of this package, MiniRocket, 1NN-DTW; a wrong name lists what there is (default: "
        f"{' '.join(DEFAULT_MODELS)})",
    )
    benchmark.add_argument(
        "--seeds",
        nargs="+",
        metavar="N",
        help="one number: so many seeds, 0, 1, ...; several numbers, or one with a comma ('7,'): these seeds "
        f"(default: {len(DEFAULT_SEEDS)}); models that draw nothing at random run once",
    )
    benchmark.add_argument(
        "--epochs",
        type=_positive,
        metavar="N",
        help="max_epochs of the models that are trained in epochs (default: each model's own)",
    )
    benchmark.add_argument(
        "--output", default=DEFAULT_OUTPUT, metavar="DIR", help="folder for the results (default: %(default)s)"
    )
    benchmark.set_defaults(run=_benchmark)
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


_positive.__name__ = "integer"  # argparse puts it into its message: "invalid integer value: 'two'"


def _names(given: Sequence[str] | None) -> list[str] | None:
    return None if given is None else [name for text in given for name in text.split(",") if name]


def _seeds(given: Sequence[str] | None) -> Sequence[int]:
    if given is None:
        return DEFAULT_SEEDS
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
        where = f"What was finished is in {arguments.output}; the same command goes on from there."
        print(f"\ninterrupted. {where}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run_benchmark(arguments: argparse.Namespace) -> int:
    from tsmodels.benchmark import BenchmarkError, run_benchmark
    from tsmodels.benchmark.report import ConsoleProgress, print_table

    console = _console()
    try:
        with ConsoleProgress(console) as progress:
            results = run_benchmark(
                _names(arguments.datasets),
                _names(arguments.models),
                _seeds(arguments.seeds),
                arguments.output,
                epochs=arguments.epochs,
                progress=progress,
            )
    except BenchmarkError as error:
        print(f"tsmodels benchmark: {error}", file=sys.stderr)
        return EXIT_USAGE
    print_table(console, results)
    print(f"Results: {arguments.output} (results.csv, results.json, accuracy.png)")
    return EXIT_CELL_FAILED if (results["status"] == "failed").any() else EXIT_OK


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL)
