"""Reports of a benchmark: tables, pictures, and one page that shows them all."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from tsmodels.benchmark._errors import BenchmarkError, OutputError, RequestError
from tsmodels.benchmark.statistics import Convention

if TYPE_CHECKING:
    from tsmodels.benchmark.reports._data import Comparison
    from tsmodels.benchmark.reports._published import Beside, Request

__all__ = ["add_arguments", "make_report", "run"]

_EXIT_OK, _EXIT_USAGE = 0, 2


def make_report(
    folder: str | os.PathLike[str],
    *,
    published: Sequence[Request] = (),
    output: str | os.PathLike[str] | None = None,
    convention: Convention = "holm",
) -> Path:
    """Write the report of a benchmark, finished or not.

    Methods are compared over the data sets that are complete for all of them: no run failed, none has no result, all
    hold the same resamples. The others are named with the reason; no gap is ever filled. Values are averaged over
    seeds and resamples before anything else.

    Parameters
    ----------
    folder : path
        The output folder of a benchmark of classifiers, of forecasters or of chaotic systems.
    published : sequence, default=()
        Published tables to stand beside the results of classifiers: names or paths as
        :func:`tsmodels.benchmark.published.load_published` takes them, or pairs of such and the methods wanted.
    output : path, optional
        Folder for the report, made if need be. By default ``report`` in `folder`.
    convention : {"holm", "aeon", "nemenyi"}, default="holm"
        Tests of the critical-difference diagram, see :mod:`tsmodels.benchmark.statistics`.

    Returns
    -------
    Path
        ``index.html``, which needs no other file and no network. Beside it: ``report.md``, ``summary.tex``,
        ``datasets.tex``, and each picture as PNG and SVG.

    Raises
    ------
    FileNotFoundError
        If `folder` is not the output of a benchmark.
    RequestError
        If there is nothing to compare in it, or a published table or the convention is unknown.
    OutputError
        If the report cannot be written.

    Examples
    --------
    >>> from tsmodels.benchmark.reports import make_report
    >>> make_report("tsmodels-results", published=["uea_bakeoff_default_split"])  # doctest: +SKIP
    """
    from tsmodels.benchmark.reports._data import collect
    from tsmodels.benchmark.reports._figures import joint_pictures, pictures
    from tsmodels.benchmark.reports._page import page
    from tsmodels.benchmark.reports._published import beside
    from tsmodels.benchmark.results import write_atomically

    if convention not in get_args(Convention):
        raise RequestError(f"convention must be one of {', '.join(get_args(Convention))}, got {convention!r}.")
    folder = Path(folder)
    comparison = collect(folder)
    columns = beside(comparison, published)
    target = _made(folder / "report" if output is None else Path(output))
    title = f"Benchmark report: {folder.resolve().name}"
    drawn = list(pictures(comparison, convention))
    joint = list(joint_pictures(comparison, columns, convention)) if columns is not None else []
    files: dict[str, str | bytes] = dict(_table_files(title, comparison, columns, convention))
    for picture in (*drawn, *joint):
        files |= picture.files()
    files["index.html"] = page(title, comparison, columns, drawn, joint, [*files])
    for name, content in files.items():
        write_atomically(target / name, content)
    return target / "index.html"


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output: cannot make the folder {str(folder)!r}: {error.strerror or error}.") from error
    return folder


def _table_files(
    title: str, comparison: Comparison, columns: Beside | None, convention: Convention
) -> Iterator[tuple[str, str]]:
    """Yield the tables by the names of their files."""
    from tsmodels.benchmark.reports._grids import dataset_grid, summary_grid

    yield "report.md", "\n".join(_markdown(title, comparison, columns, convention))
    if comparison.bands:
        yield "summary.tex", summary_grid(comparison).latex()
    yield "datasets.tex", dataset_grid(comparison, columns).latex()


def _markdown(title: str, comparison: Comparison, columns: Beside | None, convention: Convention) -> Iterator[str]:
    """Yield the report in Markdown, part by part."""
    from tsmodels.benchmark.reports import _notes as notes
    from tsmodels.benchmark.reports._figures import FEWEST_DATASETS
    from tsmodels.benchmark.reports._grids import dataset_grid, failure_grid, joint_grid, summary_grid
    from tsmodels.benchmark.reports._tables import escape_markdown
    from tsmodels.benchmark.statistics import critical_difference

    def listed(lines: Iterator[str]) -> str:
        return "\n".join(f"- {escape_markdown(line)}" for line in lines) + "\n"

    yield f"# {escape_markdown(title)}\n\n## Summary\n"
    if comparison.bands:
        yield summary_grid(comparison).markdown()
    yield listed(notes.summary_notes(comparison))
    if comparison.left_out:
        yield "Left out:\n"
        yield listed(f"{each.band}: {'; '.join(each.reasons)}" for each in comparison.left_out)
    if comparison.means.shape[1] > 1 and len(comparison.bands) >= FEWEST_DATASETS:
        lower = comparison.lower_is_better
        result = critical_difference(comparison.complete, convention, lower_is_better=lower)
        yield f"## Critical differences\n\n{escape_markdown(result.description)}\n"
        yield listed(" = ".join(group) for group in result.cliques) if result.cliques else "All pairs differ.\n"
    yield "## Data sets\n"
    yield dataset_grid(comparison, columns).markdown()
    yield listed(notes.dataset_notes(comparison, columns))
    if columns is not None:
        yield "## With published results\n"
        if not columns.joint.empty:
            yield joint_grid(comparison, columns).markdown()
        yield listed(notes.joint_notes(comparison, columns))
    if comparison.failures:
        yield "## Failed runs\n"
        yield failure_grid(comparison).markdown()
    yield "## How these numbers came about\n"
    yield listed(f"{name}: {text}" for name, text in notes.facts(comparison) if text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``tsmodels report``."""
    parser.add_argument("folder", metavar="FOLDER", help="the output folder of a benchmark")
    parser.add_argument(
        "--published",
        nargs="+",
        action="append",
        default=[],
        metavar=("FILE", "METHOD"),
        help="a published table to stand beside the results, and which of its methods (default: all); a CSV file, or "
        "the name of a table beside the folder that TSMODELS_DATA names; may be given more than once",
    )
    parser.add_argument("--output", metavar="FOLDER", help="where the report goes (default: FOLDER/report)")
    parser.add_argument(
        "--convention",
        choices=get_args(Convention),
        default="holm",
        help="tests of the critical-difference diagram: two-sided Wilcoxon with Holm's correction, aeon's rule, or "
        "Nemenyi's test (default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run ``tsmodels report``; return the exit code: 0, or 2 if the request cannot be met."""
    from rich.console import Console

    published = [(name, tuple(methods)) for name, *methods in arguments.published]
    try:
        index = make_report(
            arguments.folder, published=published, output=arguments.output, convention=arguments.convention
        )
    except (BenchmarkError, FileNotFoundError) as error:
        _say(Console(file=sys.stderr), f"tsmodels report: {error}")
        return _EXIT_USAGE
    _say(Console(), f"Report: {index}")
    return _EXIT_OK


def _say(console: object, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)  # type: ignore[attr-defined]
