"""The run over all cells: what is there already is kept, what is new is written at once."""

from __future__ import annotations

import io
import json
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tsmodels.benchmark import DEFAULT_DATASETS, DEFAULT_OUTPUT, DEFAULT_SEEDS
from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark._schemas import CLASSIFICATION, Schema, schema_of_record
from tsmodels.benchmark.cells import Cell, run_cell, warm_up
from tsmodels.benchmark.models import configuration_id, configured, has_parameter, resolve_models
from tsmodels.benchmark.results import (
    environment,
    open_folder,
    read_cell,
    read_cells,
    summarise,
    to_frame,
    write_atomically,
    write_cell,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from tsmodels_datamodules import ArchiveSet

__all__ = ["Job", "Plan", "Progress", "checked_names", "checked_seeds", "drawn", "run_benchmark", "run_cells"]


@dataclass(frozen=True)
class Plan:
    """What a run is going to do.

    Attributes
    ----------
    folder : Path
    n_cells : int
        Cells asked for.
    n_found : int
        Of these, finished before.
    n_retried : int
        Of these, failed before and tried again.
    """

    folder: Path
    n_cells: int
    n_found: int
    n_retried: int


class Progress:
    """What a run tells as it goes; the methods do nothing, override those of interest."""

    def started(self, plan: Plan) -> None:
        """Tell what is going to be done."""

    def warming_up(self, model: str) -> None:
        """Tell that a model is fitted to a few cases before its first cell, for what is compiled at first use."""

    def warmed_up(self, model: str, seconds: float) -> None:
        """Tell that the warm-up is over."""

    def running(self, cell: Cell) -> None:
        """Tell that a cell begins."""

    def ran(self, cell: Cell, record: dict[str, Any]) -> None:
        """Tell that the result of a cell, finished or failed, has been written."""


def run_benchmark(
    datasets: Iterable[str] | None = None,
    models: Iterable[str] | Mapping[str, Any] | None = None,
    seeds: Iterable[int] = DEFAULT_SEEDS,
    output: str | os.PathLike[str] = DEFAULT_OUTPUT,
    *,
    epochs: int | None = None,
    load: Callable[[str], ArchiveSet] | None = None,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Fit and measure every model on every data set with every seed, and keep each result in a file of its own.

    A model sees the training cases of the archive's default split only; the test cases are used once, to measure it. A
    cell that is already in `output` is not run again, unless it failed, its file is damaged, or the model's parameters
    or the version of this package have changed.

    Parameters
    ----------
    datasets : iterable of str, optional
        Names of UCR and UEA sets. By default ``DEFAULT_DATASETS``, which come with sktime.
    models : iterable of str or mapping of str to classifier, optional
        Names out of :func:`available_models`, or names of your own with an unfitted sktime or scikit-learn like
        classifier each, which is copied. By default the classifiers of this package and MiniRocket.
    seeds : iterable of int, default=(0, 1, 2)
        Given as ``random_state`` to a model and the estimators inside it. A model without that parameter is run once.
    output : path, default="tsmodels-results"
        Folder for ``cells/*.json``, ``results.csv``, ``results.json`` and ``accuracy.png``. The latter three cover all
        the cells in the folder, those of earlier runs too.
    epochs : int, optional
        Given as ``max_epochs`` to the models that have this parameter. By default each has its own.
    load : callable, optional
        From the name of a data set to an object with the attributes of :class:`tsmodels_datamodules.ArchiveSet`. By
        default :func:`tsmodels_datamodules.load_archive`.
    progress : Progress, optional
        Told of each step.

    Returns
    -------
    DataFrame
        The cells asked for, as in :func:`load_results`, by data set, model and seed in the order given.

    Raises
    ------
    RequestError
        A ValueError: a name is unknown, a data set cannot be read or downloaded, or an argument is empty or has no
        effect. Raised before anything is run.
    OutputError
        An OSError: a result cannot be written.

    Notes
    -----
    A model that raises costs its own cell, which is written with the error. After an interruption of whatever kind the
    same call goes on where it stopped.

    Examples
    --------
    >>> from tsmodels.benchmark import run_benchmark
    >>> results = run_benchmark(["ItalyPowerDemand"], ["MiniRocket"], seeds=[0])  # doctest: +SKIP
    """
    estimators = _with_epochs(resolve_models(models), epochs)
    cells = _cells(checked_names(datasets, DEFAULT_DATASETS), estimators, checked_seeds(seeds))
    return run_cells(_Classification(estimators, load), cells, output, progress or Progress())


class Job:
    """What a kind of benchmark does with its cells."""

    schema: Schema

    def load(self, datasets: set[str]) -> None:
        """Read data sets, or raise a RequestError."""
        raise NotImplementedError

    def warm_up(self, cell: Cell) -> float:
        """Run the cell's model for nothing, as briefly as it can be, and return the seconds it took."""
        raise NotImplementedError

    def run(self, cell: Cell) -> dict[str, Any]:
        """Return the record of a cell."""
        raise NotImplementedError

    def files(self, records: list[dict[str, Any]]) -> dict[str, str | bytes]:
        """Return what is written to the folder beside results.csv and results.json, by name."""
        raise NotImplementedError


def run_cells(job: Job, cells: Sequence[Cell], output: str | os.PathLike[str], progress: Progress) -> pd.DataFrame:
    """Run the cells that have no finished result in the folder, each written at once; return the results of all.

    Parameters
    ----------
    job : Job
    cells : sequence of Cell
    output : path
    progress : Progress

    Raises
    ------
    RequestError, OutputError
        As :func:`run_benchmark`.
    """
    folder = open_folder(output)
    _require_same_task(folder, job.schema)
    paths = {cell: folder / "cells" / cell.file_name for cell in cells}
    records = {cell: record for cell, path in paths.items() if (record := read_cell(path)) is not None}
    pending = [cell for cell in cells if cell not in records or records[cell]["status"] == "failed"]
    n_retried = sum(cell in records for cell in pending)
    # before hours of training, not after: a set that is missing or misspelt
    job.load({cell.dataset for cell in pending})

    progress.started(Plan(folder, len(cells), len(cells) - len(pending), n_retried))
    warm: set[str] = set()
    try:
        for cell in pending:
            if cell.model not in warm:
                progress.warming_up(cell.model)
                progress.warmed_up(cell.model, job.warm_up(cell))
                warm.add(cell.model)
            progress.running(cell)
            records[cell] = job.run(cell)
            write_cell(paths[cell], records[cell])
            progress.ran(cell, records[cell])
    finally:
        _write_results(folder, job)
    return to_frame(records[cell] for cell in cells)


class _Classification(Job):
    schema = CLASSIFICATION

    def __init__(self, estimators: Mapping[str, Any], load: Callable[[str], ArchiveSet] | None):
        self._estimators, self._load, self._data = estimators, load, {}

    def load(self, datasets: set[str]) -> None:
        self._data = _load(datasets, self._load)

    def warm_up(self, cell: Cell) -> float:
        quick = configured(self._estimators[cell.model], random_state=0, max_epochs=1)
        return warm_up(quick, self._data[cell.dataset])

    def run(self, cell: Cell) -> dict[str, Any]:
        estimator = configured(self._estimators[cell.model], random_state=cell.seed)
        return run_cell(cell, estimator, self._data[cell.dataset])

    def files(self, records: list[dict[str, Any]]) -> dict[str, str | bytes]:
        results = to_frame(records)
        return {"accuracy.png": _picture(results)} if (results["status"] == "finished").any() else {}


def _require_same_task(folder: Path, schema: Schema) -> None:
    for path in sorted((folder / "cells").glob("[!.]*.json")):
        found = schema_of_record(read_cell(path) or {"task": schema.task})
        if found is not schema:
            task = None if found is None else found.task
            raise RequestError(
                f"{str(folder)!r} holds results of another kind of benchmark ({task}): name another folder as output."
            )


def _cells(datasets: Sequence[str], estimators: Mapping[str, Any], seeds: Sequence[int]) -> list[Cell]:
    configurations = {name: configuration_id(estimator) for name, estimator in estimators.items()}
    seeds_of = {name: seeds if has_parameter(each, "random_state") else [None] for name, each in estimators.items()}
    return [
        Cell(dataset, model, seed, configurations[model])
        for dataset in datasets
        for model in estimators
        for seed in seeds_of[model]
    ]


def _with_epochs(estimators: Mapping[str, Any], epochs: int | None) -> dict[str, Any]:
    if epochs is None:
        return dict(estimators)
    if epochs < 1:
        raise RequestError(f"epochs must be at least 1, got {epochs}.")
    if not any(has_parameter(estimator, "max_epochs") for estimator in estimators.values()):
        names = ", ".join(estimators)
        raise RequestError(f"epochs has no effect on {names}: not trained in epochs. Leave it out.")
    return {name: configured(estimator, max_epochs=epochs) for name, estimator in estimators.items()}


def checked_names(datasets: Iterable[str] | None, default: Iterable[str]) -> list[str]:
    """Return the names of data sets without repetition."""
    if isinstance(datasets, str):
        raise RequestError(f"datasets must be a list of names, got {datasets!r}.")
    names = list(dict.fromkeys(default if datasets is None else datasets))
    if not names:
        raise RequestError("datasets must name at least one data set; None takes the default ones.")
    return names


def checked_seeds(seeds: Iterable[int]) -> list[int]:
    """Return seeds without repetition."""
    checked = list(dict.fromkeys(operator.index(seed) for seed in seeds))
    if not checked:
        raise RequestError("seeds must hold at least one integer.")
    if wrong := [seed for seed in checked if not 0 <= seed < 2**32]:
        raise RequestError(f"seeds must be integers from 0 to 2**32 - 1, got {wrong[0]}.")
    return checked


def _load(names: Iterable[str], load: Callable[[str], ArchiveSet] | None) -> dict[str, ArchiveSet]:
    if load is None:
        from tsmodels_datamodules import load_archive as load
    data = {}
    for name in sorted(names):
        try:
            data[name] = load(name)
        except (OSError, ValueError) as error:
            bundled = ", ".join(DEFAULT_DATASETS)
            reason = str(error).rstrip(".")
            raise RequestError(f"cannot load {name!r}: {reason}. These need no download: {bundled}.") from error
    return data


def _write_results(folder: Path, job: Job) -> None:
    """Write the tables and pictures of all cells in the folder."""
    records = read_cells(folder)
    if not records:
        return
    results = to_frame(records)
    write_atomically(folder / "results.csv", results.to_csv(index=False))
    summary = json.loads(str(summarise(results).to_json(orient="records")))
    content = {"summary": summary, "cells": records, "written_by": environment()}
    write_atomically(folder / "results.json", json.dumps(content, indent=1, allow_nan=False) + "\n")
    for name, made in job.files(records).items():
        write_atomically(folder / name, made)


def _picture(results: pd.DataFrame) -> bytes:
    from tsmodels.plots import plot_accuracy

    return drawn(plot_accuracy(results))


def drawn(ax: Axes) -> bytes:
    """Return the figure of axes as PNG."""
    from matplotlib.figure import Figure

    content = io.BytesIO()
    figure = ax.get_figure()
    assert isinstance(figure, Figure)  # a new one
    figure.savefig(content, format="png", dpi=150)
    return content.getvalue()
