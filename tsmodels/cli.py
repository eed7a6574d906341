"""The console command ``tsmodels``.

Nothing heavy is imported before a command runs: ``tsmodels --help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

import tsmodels
from tsmodels.benchmark import _command, _command_options

__all__ = ["main"]

EXIT_USAGE, EXIT_INTERRUPTED = 2, 130

# Commands that are modules with add_arguments(parser) and run(arguments) -> exit code
_MODULES = {
    "report": ("tsmodels.benchmark.reports", "make a report of the results in a folder, beside published ones"),
    "tune": ("tsmodels.tuning.command", "search for the settings of a network"),
}
# Commands that have a parser of their own
_TRAINING = {
    "fit": "train a network from a configuration file or options",
    "validate": "measure a trained network on the validation data",
    "test": "measure a trained network on the test data",
    "predict": "predict with a trained network",
}


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
    argv = sys.argv[1:] if argv is None else list(argv)
    command = argv[0] if argv else None
    if command in _TRAINING:
        return importlib.import_module("tsmodels.training").main(argv)
    parser = _parser(command)
    arguments = parser.parse_args(argv)
    from tsmodels.benchmark import BenchmarkError

    try:
        if command == "benchmark":
            return _benchmark(parser, arguments, argv)
        return arguments.run(arguments)
    except BenchmarkError as error:
        print(f"tsmodels {command}: {error}", file=sys.stderr)
        return EXIT_USAGE


def _parser(command: str | None) -> argparse.ArgumentParser:
    """Return the parser; of the commands that are modules only the one asked for is imported."""
    parser = argparse.ArgumentParser(prog="tsmodels", description=tsmodels.__doc__)
    parser.add_argument("--version", action="version", version=f"tsmodels {tsmodels.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _command_options.add_arguments(
        commands.add_parser(
            "benchmark",
            help="train and evaluate classifiers or forecasters on many data sets",
            description=_command_options.DESCRIPTION,
            epilog=_command_options.NOTES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
    )
    for name, (module, text) in _MODULES.items():
        subparser = commands.add_parser(name, help=text)
        if name == command:
            loaded: Any = importlib.import_module(module)
            loaded.add_arguments(subparser)
            subparser.set_defaults(run=loaded.run)
    for name, text in _TRAINING.items():
        commands.add_parser(name, help=text)
    return parser


def _benchmark(parser: argparse.ArgumentParser, arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    arguments = _with_file(parser, arguments, argv)
    # sktime and torch take seconds to import: also their import may be interrupted
    try:
        return _command.run(arguments)
    except KeyboardInterrupt:
        where = f"What was finished is in {_command.output_of(arguments)}; the same command goes on from there."
        print(f"\ninterrupted. {where}", file=sys.stderr)
        return EXIT_INTERRUPTED


def _with_file(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace, argv: Sequence[str]
) -> argparse.Namespace:
    """Return the arguments with those of the file that --config names, which those of the command line override."""
    if arguments.config is None:
        arguments.model_specs = None
        return arguments
    from tsmodels.benchmark.requests import load_request

    given = vars(arguments)
    request = load_request(arguments.config, given.keys() - {"config"})
    # what takes the place of something else on the command line does so in the file
    replaced = [name for name, other in _command.ALTERNATIVES.items() if given[other] is not None]
    arguments = parser.parse_args([argv[0], *request.arguments(without=replaced), *argv[1:]])
    arguments.model_specs = request.models
    return arguments
