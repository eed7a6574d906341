"""What a benchmark shows in a terminal: a bar and a line per cell while it runs, and the table at its end."""

from __future__ import annotations

import collections
import statistics
import time
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table

from tsmodels.benchmark._dynamics_tables import chaos_markdown, reconstruction_markdown
from tsmodels.benchmark._markdown import failures, first_line, seconds
from tsmodels.benchmark._schemas import (
    BACKTEST,
    CHAOS,
    CLASSIFICATION,
    LONG_HORIZON,
    RECONSTRUCTION,
    schema_of,
    schema_of_record,
)
from tsmodels.benchmark._tables import markdown
from tsmodels.benchmark.cells import PROTOCOL, RESAMPLE_PROTOCOL, Cell
from tsmodels.benchmark.results import summarise
from tsmodels.benchmark.runner import Plan, Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

__all__ = ["ConsoleProgress", "print_table", "result_table"]

_NAMES = {"mase": "MASE", "mse": "MSE", "smape": "sMAPE", "d_stsp": "D_stsp"}
_TABLES = {
    BACKTEST.task: markdown,
    LONG_HORIZON.task: markdown,
    RECONSTRUCTION.task: reconstruction_markdown,
    CHAOS.task: chaos_markdown,
}


class ConsoleProgress(Progress):
    """A line per cell, and below them a bar if the console is a terminal. Use it as a context manager.

    Parameters
    ----------
    console : rich.console.Console
    """

    def __init__(self, console: Console):
        self._console = console
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            expand=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, left="")
        self._n_cells = self._n_done = 0
        self._estimate = TimeLeft({}, {})

    def __enter__(self) -> ConsoleProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def left_out(self, datasets: Sequence[str], reason: str) -> None:
        """Say which data sets of a collection are not run."""
        self.say(f"left out, {reason}: {', '.join(datasets)}")

    def started(self, plan: Plan) -> None:
        """Say how much of the work is there already, and show the bar."""
        self._n_cells, self._n_done = plan.n_cells, plan.n_found
        self._estimate = TimeLeft(plan.n_pending, plan.seconds)
        n_pending = plan.n_cells - plan.n_found
        found = f"{plan.n_found} of {plan.n_cells} cells found in {plan.folder}"
        if not n_pending:
            self.say(f"{found}, nothing to run")
        elif plan.n_found or plan.n_retried:
            again = f" ({plan.n_retried} failed before)" if plan.n_retried else ""
            self.say(f"resuming: {found}, {n_pending} to run{again}")
        else:
            cells = "1 cell" if plan.n_cells == 1 else f"{plan.n_cells} cells"
            self.say(f"{cells} to run, results go to {plan.folder}")
        if plan.n_failed:
            self.say(f"{plan.n_failed} of those found failed; to run them again: --retry-failed")
        if plan.n_damaged:
            self.say(f"{plan.n_damaged} damaged result file(s) in {plan.folder / 'cells'}: as if they were not there")
        if not n_pending:
            return
        self._bar.update(self._task, total=plan.n_cells, completed=plan.n_found)
        self._bar.start()

    def warming_up(self, model: str) -> None:
        """Show what takes so long: kernels are compiled where no compiled ones are cached."""
        self._bar.update(self._task, description=f"{escape(model)}: warming up, compiles at first use")

    def warmed_up(self, model: str, seconds: float) -> None:
        """Say what no timing contains."""
        self.say(f"{model}: warmed up in {seconds:.1f} s (imports and compilation, in no timing below)")

    def running(self, cell: Cell) -> None:
        """Show the cell."""
        self._estimate.began(cell)
        self._bar.update(self._task, description=escape(str(cell)))

    def ran(self, cell: Cell, record: dict[str, Any]) -> None:
        """Print the cell's line."""
        self._n_done += 1
        self._estimate.ended(cell)
        self._bar.update(self._task, completed=self._n_done, left=self._estimate.text())
        width = len(str(self._n_cells))
        if record["status"] == "finished":
            times = f"fit {seconds(record['fit_seconds'])} s, predict {seconds(record['predict_seconds'])} s"
            schema = schema_of_record(record)
            assert schema is not None  # of the cells that this package runs
            measure = schema.measures[0]
            reached = "diverged" if record[measure] is None else f"{_NAMES.get(measure, measure)} {record[measure]:.3f}"
            outcome = f"{reached}, {times}"
        else:
            outcome = f"FAILED: {first_line(record['error'])}"
        self.say(f"[{self._n_done:{width}}/{self._n_cells}] {cell}: {outcome}")
        if self._n_done == self._n_cells:
            self._bar.update(self._task, description="writing the tables")

    def say(self, line: str) -> None:
        """Print a line as it is."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class TimeLeft:
    """How long a run will take, from the mean time of each model's cells so far.

    Parameters
    ----------
    n_pending : mapping of str to int
        Cells to run of each model.
    seconds : mapping of str to float
        Mean time of a model's cells in earlier runs, which counts until the first one has ended in this run.
    """

    def __init__(self, n_pending: Mapping[str, int], seconds: Mapping[str, float]):
        self._n_left = collections.Counter(n_pending)
        self._earlier, self._times = seconds, collections.defaultdict[str, list[float]](list)
        self._begun: dict[Cell, float] = {}
        self._n_workers = 1

    def began(self, cell: Cell) -> None:
        """Take note of a cell that begins."""
        self._begun[cell] = time.monotonic()

    def ended(self, cell: Cell) -> None:
        """Take note of a cell that has ended."""
        self._n_left[cell.model] -= 1
        self._n_workers = max(1, len(self._begun))  # as many cells as are handed out at a time
        if (begun := self._begun.pop(cell, None)) is not None:
            self._times[cell.model].append(time.monotonic() - begun)

    def seconds(self) -> float | None:
        """Return the time left, None if nothing is known; a model without a time takes as long as the others."""
        means = {**self._earlier, **{model: statistics.fmean(each) for model, each in self._times.items()}}
        if not means:
            return None
        usual = statistics.fmean(means.values())
        return sum(n * means.get(model, usual) for model, n in self._n_left.items()) / self._n_workers

    def text(self) -> str:
        """Return the time left in words, coarsely; nothing if nothing is known or left."""
        left = self.seconds()
        if not left or not any(self._n_left.values()):
            return ""
        minutes = round(left / 60)
        if minutes < 1:
            return "less than a minute left"
        return f"about {minutes} min left" if minutes < 100 else f"about {minutes // 60} h {minutes % 60:02} min left"


def print_table(console: Console, results: pd.DataFrame) -> None:
    """Print the table of results and how to read it: of classifiers :func:`result_table`, of forecasters in Markdown.

    Parameters
    ----------
    console : rich.console.Console
    results : DataFrame
        As from :func:`tsmodels.benchmark.run_benchmark`, or of forecasters.
    """
    if (schema := schema_of(results.columns)) is not CLASSIFICATION:
        console.print(_TABLES[schema.task](results), markup=False, highlight=False, soft_wrap=True, end="")
        return
    console.print(result_table(results))
    for line in _notes(results):
        console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def result_table(results: pd.DataFrame) -> Table:
    """Return a table with a row per data set and model.

    Parameters
    ----------
    results : DataFrame
        As from :func:`tsmodels.benchmark.run_benchmark`.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("Data set, model", overflow="fold")
    resampled = _is_resampled(results)
    repeats = "Resamples" if resampled else "Seeds"
    for heading in (repeats, "Accuracy", "Balanced\naccuracy", "Fit\n(s)", "Predict\n(s)", "Parameters"):
        table.add_column(heading, justify="right", no_wrap=True)
    for dataset, rows in summarise(results).groupby("dataset", sort=False):
        n_test = rows["n_test"].dropna()
        cases = f", {n_test.iloc[0]} test cases" if len(n_test) else ""
        table.add_row(f"[bold]{escape(str(dataset))}[/bold]{cases}")
        for row in rows.to_dict("records"):
            table.add_row(*_model_cells(row, resampled))
        table.add_section()
    return table


def _is_resampled(results: pd.DataFrame) -> bool:
    return bool((results["resample"] > 0).any())


def _model_cells(row: dict[str, Any], resampled: bool) -> list[str]:
    label, failed = f"  {escape(row['label'])}", row["n_failed"]
    if not row["n_finished"]:
        return [label, "0", "[red]failed[/red]"]
    seeds = str(row["n_finished"]) if row["seeded"] or resampled else "none"
    return [
        label,
        f"{seeds} [red]({failed} failed)[/red]" if failed else seeds,
        _mean_and_spread(row["accuracy"], row["accuracy_std"]),
        f"{row['balanced_accuracy']:.3f}",
        seconds(row["fit_seconds"]),
        seconds(row["predict_seconds"]),
        f"{row['n_parameters']:,}" if isinstance(row["n_parameters"], int) else "",
    ]


def _notes(results: pd.DataFrame) -> Iterator[str]:
    summary = summarise(results)
    resampled = _is_resampled(results)
    yield f"Protocol: {RESAMPLE_PROTOCOL + '; resample 0 is the default split' if resampled else PROTOCOL}."
    repeats = "resamples" if resampled else "seeds"
    spread = " ± standard deviation" if any(summary["n_finished"] > 1) else ""
    yield f"Accuracy: mean{spread} over {repeats}; balanced: mean recall of the classes."
    yield "Times: mean of one fit, and of predicting all test cases; imports and compilation are not in them."
    if not (resampled or all(summary["seeded"])):
        yield "Seeds 'none': the model draws nothing at random and is run once."
    yield from failures(summary)


def _mean_and_spread(mean: float, spread: float) -> str:
    return f"{mean:.3f}" if spread != spread else f"{mean:.3f} ± {spread:.3f}"  # NaN: a single cell has no spread
