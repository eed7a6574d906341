"""The run over all cells of a benchmark: what is there already is kept, what is new is written at once."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark._locks import only_run
from tsmodels.benchmark._schemas import Schema, schema_of_record
from tsmodels.benchmark.cells import Cell, failed
from tsmodels.benchmark.execution import Backend, Budget, Outcome, run_tasks
from tsmodels.benchmark.results import (
    environment,
    in_order,
    open_folder,
    read_folder,
    summarise,
    to_frame,
    write_atomically,
    write_cell,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Job", "Plan", "Progress", "run_cells"]

_SECONDS_BETWEEN_TABLES = 60.0


@dataclass(frozen=True)
class Plan:
    """What a run is going to do.

    Attributes
    ----------
    folder : Path
    n_cells : int
        Cells asked for.
    n_found : int
        Of these, run before; they are not run again.
    n_retried : int
        Of these, failed before and tried again.
    n_failed : int
        Of those found, failed.
    n_damaged : int
        Files in the folder that are no results.
    n_pending : mapping of str to int
        Cells to run of each model.
    seconds : mapping of str to float
        Mean time of a cell of each model, of those that were found.
    """

    folder: Path
    n_cells: int
    n_found: int
    n_retried: int
    n_failed: int = 0
    n_damaged: int = 0
    n_pending: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


class Progress:
    """What a run tells as it goes; the methods do nothing, override those of interest."""

    def left_out(self, datasets: Sequence[str], reason: str) -> None:
        """Tell that data sets of a collection are not run, and why."""

    def started(self, plan: Plan) -> None:
        """Tell what is going to be done."""

    def warming_up(self, model: str) -> None:
        """Tell that a model is fitted to a few cases before its first cell, for what is compiled at first use."""

    def warmed_up(self, model: str, seconds: float) -> None:
        """Tell that the warm-up is over; of several workers the first one."""

    def running(self, cell: Cell) -> None:
        """Tell that a cell begins, or waits for its worker."""

    def ran(self, cell: Cell, record: dict[str, Any]) -> None:
        """Tell that the result of a cell, finished or failed, has been written."""


class Job:
    """What a kind of benchmark does with its cells; pickled for workers, without data."""

    schema: Schema

    def check(self, datasets: set[str]) -> None:
        """Raise a RequestError if a data set cannot be had."""
        raise NotImplementedError

    def warm_up(self, cell: Cell) -> float:
        """Run the cell's model for nothing, as briefly as it can be, and return the seconds it took."""
        raise NotImplementedError

    def facts(self, cell: Cell) -> dict[str, Any]:
        """Return what is known of a cell without its data: all that a record of a failure needs."""
        raise NotImplementedError

    def run(self, cell: Cell, extras: dict[str, Any]) -> dict[str, Any]:
        """Return the record of a cell; into `extras` comes what is kept in files of its own."""
        raise NotImplementedError

    def keep(
        self, folder: Path, cell: Cell, record: dict[str, Any], extras: dict[str, Any], owners: Mapping[str, str]
    ) -> dict[str, Any]:
        """Write what :meth:`run` put into `extras` to files in the folder, and return what the record says about it.

        `owners` tells whose each file kept before is: from its path relative to the folder to ``cell.file_name``.
        """
        return {}

    def files(self, records: list[dict[str, Any]]) -> dict[str, str | bytes]:
        """Return what is written to the folder beside results.csv and results.json, by name."""
        raise NotImplementedError


def run_cells(
    job: Job,
    cells: Sequence[Cell],
    output: str | os.PathLike[str],
    progress: Progress,
    *,
    backend: Backend | None = None,
    budget: Budget | None = None,
    retry_failed: bool = False,
) -> pd.DataFrame:
    """Run the cells that have no result in the folder, each written at once; return the results of all.

    Parameters
    ----------
    job : Job
    cells : sequence of Cell
        Best in an order in which cells of the same data set follow each other.
    output : path
    progress : Progress
    backend : Backend, optional
        By default this process.
    budget : Budget, optional
        Of each cell. By default none.
    retry_failed : bool, default=False
        Whether to run again what failed before.

    Raises
    ------
    RequestError, OutputError
        As :func:`tsmodels.benchmark.run_benchmark`.
    """
    folder = open_folder(output)
    with only_run(folder):
        run = _Run(job, folder, progress, backend or Backend(), budget or Budget())
        return run(cells, retry_failed)


class _Run:
    def __init__(self, job: Job, folder: Path, progress: Progress, backend: Backend, budget: Budget):
        self._job, self._folder, self._progress = job, folder, progress
        self._backend, self._budget = backend, budget
        contents = read_folder(folder)
        self._records, self._n_damaged = contents.records, len(contents.damaged)
        self._owners = {file: name for name, record in self._records.items() if (file := record.get("predictions"))}
        # in this process the run itself can tell what happens
        self._is_here = backend.name == "serial" and budget == Budget()
        self._warm: set[str] = set()
        self._tables_written = time.monotonic()

    def __call__(self, cells: Sequence[Cell], retry_failed: bool) -> pd.DataFrame:
        self._require_same_task()
        known = {cell: record for cell in cells if (record := self._records.get(cell.file_name)) is not None}
        has_failed = {cell for cell, record in known.items() if record["status"] == "failed"}
        pending = [cell for cell in cells if cell not in known or (retry_failed and cell in has_failed)]
        # before hours of training, not after: a set that is missing or misspelt
        self._job.check({cell.dataset for cell in pending})
        found = {cell: record for cell, record in known.items() if not (retry_failed and cell in has_failed)}
        self._progress.started(
            Plan(
                self._folder,
                len(cells),
                n_found=len(found),
                n_retried=len(known) - len(found),
                n_failed=len(has_failed & found.keys()),
                n_damaged=self._n_damaged,
                n_pending=collections.Counter(cell.model for cell in pending),
                seconds=_mean_seconds(found.values()),
            )
        )
        try:
            self._run(pending)
        except BaseException:
            with contextlib.suppress(Exception):  # what stopped the run is the better message
                self._write_tables()
            raise
        self._write_tables()
        return to_frame(self._records[cell.file_name] for cell in cells)

    def _require_same_task(self) -> None:
        for record in self._records.values():
            if (found := schema_of_record(record)) is not self._job.schema:
                task = None if found is None else found.task
                raise RequestError(
                    f"{str(self._folder)!r} holds results of another kind of benchmark ({task}): name another folder "
                    "as output."
                )

    def _run(self, pending: Sequence[Cell]) -> None:
        outcomes = run_tasks(
            _Work(self._job, warms_up=not self._is_here),
            [(cell, cell) for cell in pending],
            backend=self._backend,
            budget=self._budget,
            on_start=self._begin,
        )
        with contextlib.closing(outcomes):
            for outcome in outcomes:
                self._end(outcome)

    def _begin(self, cell: Cell) -> None:
        if self._is_here and cell.model not in self._warm:
            self._progress.warming_up(cell.model)
            self._tell_warmed_up(cell, self._job.warm_up(cell))
        self._progress.running(cell)

    def _tell_warmed_up(self, cell: Cell, seconds: float) -> None:
        if cell.model not in self._warm:
            self._progress.warmed_up(cell.model, seconds)
            self._warm.add(cell.model)

    def _end(self, outcome: Outcome) -> None:
        cell: Cell = outcome.key
        if outcome.error is None:
            done = outcome.value
            assert isinstance(done, _Done)
            if done.warm_up_seconds is not None:
                self._tell_warmed_up(cell, done.warm_up_seconds)
            record = done.record | {"peak_memory_mb": outcome.peak_memory_mb}
            if record["status"] == "finished":
                record |= self._job.keep(self._folder, cell, record, done.extras, self._owners)
        else:
            record = failed(cell, self._job.facts(cell), outcome.error, outcome.traceback)
        record |= {
            "peak_memory_mb": outcome.peak_memory_mb,
            "cell_seconds": outcome.seconds,
            "execution": {
                "backend": self._backend.name,
                "n_jobs": self._backend.n_jobs,
                "threads": self._backend.threads,
                "time_limit": self._budget.seconds,
                "memory_limit_mb": self._budget.memory_mb,
            },
        }
        write_cell(self._folder / "cells" / cell.file_name, record)
        self._records[cell.file_name] = record
        if record.get("predictions"):
            self._owners[record["predictions"]] = cell.file_name
        self._progress.ran(cell, record)
        if time.monotonic() - self._tables_written > _SECONDS_BETWEEN_TABLES:
            self._write_csv(to_frame(in_order(self._records.values())))

    def _write_csv(self, results: pd.DataFrame) -> None:
        write_atomically(self._folder / "results.csv", results.to_csv(index=False))
        self._tables_written = time.monotonic()

    def _write_tables(self) -> None:
        """Write the tables and pictures of all cells in the folder."""
        records = in_order(self._records.values())
        if not records:
            return
        results = to_frame(records)
        self._write_csv(results)
        summary = json.loads(str(summarise(results).to_json(orient="records")))
        content = {"summary": summary, "cells": records, "written_by": environment()}
        write_atomically(self._folder / "results.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
        for name, made in self._job.files(records).items():
            write_atomically(self._folder / name, made)


@dataclass(frozen=True)
class _Done:
    record: dict[str, Any]
    extras: dict[str, Any]
    warm_up_seconds: float | None


class _Work:
    """What a worker does with a cell; it warms up each model at its first cell in a process."""

    def __init__(self, job: Job, *, warms_up: bool):
        self._job, self._warms_up = job, warms_up
        self._warm: set[str] = set()

    def __call__(self, cell: Cell) -> _Done:
        warm_up_seconds = None
        if self._warms_up and cell.model not in self._warm:
            warm_up_seconds = self._job.warm_up(cell)
            self._warm.add(cell.model)
        extras: dict[str, Any] = {}
        return _Done(self._job.run(cell, extras), extras, warm_up_seconds)


def _mean_seconds(records: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Return the mean time of a cell by model, from the records that tell it."""
    times: dict[str, list[float]] = {}
    for record in records:
        if record.get("cell_seconds") is not None:
            times.setdefault(record["model"], []).append(record["cell_seconds"])
    return {model: statistics.fmean(each) for model, each in times.items()}
