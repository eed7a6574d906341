"""Classifiers on data sets of the archives: a run that resumes, on one core or many."""

from __future__ import annotations

import io
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tsmodels.benchmark import DEFAULT_DATASETS, DEFAULT_OUTPUT, DEFAULT_SEEDS
from tsmodels.benchmark._data_cache import DataCache
from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark._predictions import write_predictions
from tsmodels.benchmark._running import Job, Plan, Progress, run_cells
from tsmodels.benchmark._schemas import CLASSIFICATION
from tsmodels.benchmark.cells import PROTOCOL, RESAMPLE_PROTOCOL, Cell, run_cell, warm_up
from tsmodels.benchmark.collections import found_sets
from tsmodels.benchmark.execution import Backend, Budget
from tsmodels.benchmark.models import (
    class_path,
    configuration_id,
    configured,
    described,
    has_parameter,
    resolve_models,
)
from tsmodels.benchmark.resampling import resampled
from tsmodels.benchmark.results import to_frame

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from tsmodels_datamodules import ArchiveSet

__all__ = ["Job", "Plan", "Progress", "checked_names", "checked_seeds", "drawn", "run_benchmark", "run_cells"]


def run_benchmark(
    datasets: Iterable[str] | None = None,
    models: Iterable[str] | Mapping[str, Any] | None = None,
    seeds: Iterable[int] | None = None,
    output: str | os.PathLike[str] = DEFAULT_OUTPUT,
    *,
    archive: Literal["UCR", "UEA"] | None = None,
    resamples: int | None = None,
    epochs: int | None = None,
    load: Callable[[str], ArchiveSet] | None = None,
    progress: Progress | None = None,
    backend: Backend | None = None,
    budget: Budget | None = None,
    retry_failed: bool = False,
    keep_predictions: bool = True,
    train_metrics: bool = True,
) -> pd.DataFrame:
    """Fit and measure every model on every data set with every seed, and keep each result in a file of its own.

    A model is fitted to the training cases only; the test cases are used once, to measure it. A cell that is already in
    `output` is not run again, unless its file is damaged, or the model's parameters or the version of this package have
    changed.

    Parameters
    ----------
    datasets : iterable of str, optional
        Names of UCR and UEA sets. By default ``DEFAULT_DATASETS``, which come with sktime.
    models : iterable of str or mapping of str to classifier, optional
        Names out of :func:`available_models`, import paths such as
        ``"sktime.classification.kernel_based.RocketClassifier"`` or names of classifiers in sktime's registry; or names
        of your own with an unfitted sktime or scikit-learn like classifier each, which is copied. By default Chimera
        and MiniRocket.
    seeds : iterable of int, optional
        Given as ``random_state`` to a model and the estimators inside it. A model without that parameter is run once.
        By default 0, 1 and 2. Not together with `resamples`.
    output : path, default="tsmodels-results"
        Folder for ``cells/*.json``, ``results.csv``, ``results.json``, ``accuracy.png`` and ``predictions``. The tables
        and the picture cover all the cells in the folder, those of earlier runs too. One run at a time may use it.
    archive : {"UCR", "UEA"}, optional
        In place of `datasets`: the sets of that archive, 128 or 30, that are found on this machine; nothing is
        downloaded.
    resamples : int, optional
        How many splits to run each model on: the archive's own, which is resample 0, and stratified resamples of it, as
        :func:`tsmodels.benchmark.resampling.resample_indices` draws them. Resample k is also the model's
        ``random_state``. By default the archive's own split only, with every seed.
    epochs : int, optional
        Given as ``max_epochs`` to the models that have this parameter. By default each has its own.
    load : callable, optional
        From the name of a data set to an object with the attributes of :class:`tsmodels_datamodules.ArchiveSet`. By
        default :func:`tsmodels_datamodules.load_archive`.
    progress : Progress, optional
        Told of each step.
    backend : Backend, optional
        Where cells run: in this process by default, on worker processes of this machine, or on a Dask cluster.
    budget : Budget, optional
        Time and memory of one cell; a cell that needs more fails. By default unlimited. It includes what is compiled
        for a model at its first use in a worker.
    retry_failed : bool, default=False
        Whether cells that failed before are run again. Otherwise they are counted and left as they are.
    keep_predictions : bool, default=True
        Whether the predictions of the test cases are written to
        ``predictions/<model>/Predictions/<data set>/testResample<k>.csv``, in the format of the archives' tools. Behind
        the model stands its seed where that is not the resample. Of cells that are run now: those found are left as
        they are.
    train_metrics : bool, default=True
        Whether the training cases are predicted too, for ``train_accuracy``; likewise of cells that are run now.

    Returns
    -------
    DataFrame
        The cells asked for, as in :func:`load_results`, by data set, model, resample and seed in the order given.

    Raises
    ------
    RequestError
        A ValueError: a name is unknown, a data set is neither there nor can be downloaded, an argument is empty or has
        no effect, or another run uses the folder. Raised before anything is run.
    OutputError
        An OSError: a result cannot be written.

    Notes
    -----
    A model that raises, exceeds its budget or takes its process down costs its own cell, which is written with the
    error. After an interruption of whatever kind the same call goes on where it stopped. A worker holds the two data
    sets it used last in memory.

    Examples
    --------
    >>> from tsmodels.benchmark import run_benchmark
    >>> results = run_benchmark(["ItalyPowerDemand"], ["MiniRocket"], seeds=[0])  # doctest: +SKIP
    """
    progress = progress or Progress()
    estimators = _with_epochs(resolve_models(models), epochs)
    draws = _draws(seeds, resamples)
    if archive is None:
        names = checked_names(datasets, DEFAULT_DATASETS)
    elif datasets is None:
        names, missing = found_sets(archive, load)
        if missing:
            progress.left_out(missing, "not on this machine")
    else:
        raise RequestError("datasets and archive were both given: name sets, or take a whole archive.")
    job = _Classification(estimators, load, keep_predictions, train_metrics)
    cells = _cells(names, estimators, draws)
    return run_cells(job, cells, output, progress, backend=backend, budget=budget, retry_failed=retry_failed)


class _Classification(Job):
    schema = CLASSIFICATION

    def __init__(
        self,
        estimators: Mapping[str, Any],
        load: Callable[[str], ArchiveSet] | None,
        keep_predictions: bool,
        train_metrics: bool,
    ):
        self._estimators, self._load = estimators, load
        self._keep_predictions, self._train_metrics = keep_predictions, train_metrics
        self._data = DataCache(load or _load_archive)

    def check(self, datasets: set[str]) -> None:
        # the files of the archives are only looked for: reading hundreds of them twice would take minutes
        look = _find_archive if self._load is None else self._data.__getitem__
        for name in sorted(datasets):
            try:
                look(name)
            except (OSError, ValueError) as error:
                bundled = ", ".join(DEFAULT_DATASETS)
                reason = str(error).rstrip(".")
                raise RequestError(f"cannot load {name!r}: {reason}. These need no download: {bundled}.") from error

    def warm_up(self, cell: Cell) -> float:
        quick = configured(self._estimators[cell.model], random_state=0, max_epochs=1)
        return warm_up(quick, lambda: self._data[cell.dataset])

    def facts(self, cell: Cell) -> dict[str, Any]:
        estimator = self._estimators[cell.model]
        return {
            "estimator": class_path(estimator),
            "parameters": described(estimator),
            "protocol": RESAMPLE_PROTOCOL if cell.resample else PROTOCOL,
        }

    def run(self, cell: Cell, extras: dict[str, Any]) -> dict[str, Any]:
        estimator = configured(self._estimators[cell.model], random_state=cell.seed)
        data = resampled(self._data[cell.dataset], cell.resample)
        keep = extras.update if self._keep_predictions else None
        return run_cell(cell, estimator, data, train_metrics=self._train_metrics, keep=keep)

    def keep(
        self, folder: Path, cell: Cell, record: dict[str, Any], extras: dict[str, Any], owners: Mapping[str, str]
    ) -> dict[str, Any]:
        return write_predictions(folder, cell, record, extras, owners) if extras else {}

    def files(self, records: list[dict[str, Any]]) -> dict[str, str | bytes]:
        results = to_frame(records)
        return {"accuracy.png": _picture(results)} if (results["status"] == "finished").any() else {}


def _load_archive(name: str) -> ArchiveSet:
    from tsmodels_datamodules import load_archive

    return load_archive(name)


def _find_archive(name: str) -> None:
    from tsmodels_datamodules._archive import find_archive

    find_archive(name)


def _draws(seeds: Iterable[int] | None, resamples: int | None) -> list[tuple[int, int]]:
    """Return the pairs of resample and seed."""
    if resamples is None:
        return [(0, seed) for seed in checked_seeds(DEFAULT_SEEDS if seeds is None else seeds)]
    if seeds is not None:
        raise RequestError("seeds and resamples were both given: resample k has seed k. Leave one of them out.")
    if resamples < 1:
        raise RequestError(f"resamples must be at least 1, got {resamples}.")
    return [(resample, resample) for resample in range(resamples)]


def _cells(datasets: Sequence[str], estimators: Mapping[str, Any], draws: Sequence[tuple[int, int]]) -> list[Cell]:
    # by data set first: a worker needs one at a time
    cells = []
    for dataset in datasets:
        for model, estimator in estimators.items():
            configuration = configuration_id(estimator)
            is_seeded = has_parameter(estimator, "random_state")
            cells += [
                Cell(dataset, model, seed if is_seeded else None, configuration, resample=resample)
                for resample, seed in draws
            ]
    return list(dict.fromkeys(cells))  # a model that draws nothing at random has one cell for all seeds


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
