"""Models of dynamical systems, judged by their free run."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

import tsmodels
from tsmodels.benchmark import DEFAULT_DYNAMICS, DEFAULT_DYNAMICS_OUTPUT, DEFAULT_DYNAMICS_SEEDS, DYNAMICS_SETS
from tsmodels.benchmark._data_cache import DataCache
from tsmodels.benchmark._dynamics_tables import reconstruction_markdown
from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark._schemas import RECONSTRUCTION
from tsmodels.benchmark.cells import Cell, recorded
from tsmodels.benchmark.execution import Backend, Budget
from tsmodels.benchmark.models import digest, plain
from tsmodels.benchmark.results import to_frame
from tsmodels.benchmark.runner import Job, Progress, checked_names, checked_seeds, drawn, run_cells

if TYPE_CHECKING:
    import pandas as pd

    from tsmodels.dynamics.measures import Reconstruction
    from tsmodels.tasks.dynamics import Preset

__all__ = ["DYNAMICS_MODELS", "PROTOCOL", "run_reconstruction"]

PROTOCOL = (
    "trained on the training series, standardised by it; the network of the last epoch is judged, whatever it is; from "
    "the first point of the test series n it runs freely for 1.25 n steps, of which the first 0.25 n are dropped; "
    "nothing is selected on the test series"
)
_QUICK_EPOCHS = 1000
_LONG_SCHEDULE = 2000  # epochs from which on the learning rate falls to 1e-6 in place of 1e-5
_N_POINTS = 100_000  # of the training and of the test series of systems that are integrated here
_N_AHEAD = 20


@dataclass(frozen=True)
class _Series:
    """A data set: what is trained on, what is tested on, both (time, channel), and the time between points."""

    train: np.ndarray
    test: np.ndarray
    dt: float
    lyapunov: np.ndarray | None = None  # exponents of the true system per unit of time, where they are known


_FLOOR = "Floor"
_SYSTEMS_3D = ("Lorenz63", "Lorenz63_GTF", "Lorenz63_ALRNN", "Rossler")
DYNAMICS_MODELS = (_FLOOR, "shPLRNN", "shPLRNN-aGTF", "ALRNN")
# Presets of tsmodels.tasks: our own for systems of three variables, else the settings of the papers.
_SHALLOW = dict.fromkeys(_SYSTEMS_3D, "quick") | {"Lorenz96": "quick", "ECG_pecuzal_5d": "gtf_ecg", "EEG": "gtf_eeg"}
_ADAPTIVE = {"ECG_pecuzal_5d": "agtf_ecg", "EEG": "agtf_eeg"}
_ALMOST_LINEAR = dict.fromkeys(_SYSTEMS_3D, "al_quick") | {
    "Lorenz96": "al_lorenz96",
    "ECG_pecuzal_5d": "al_ecg",
    "EEG": "al_eeg",
}


def _settings(dataset: str, model: str, epochs: int | None) -> Preset | None:
    """Return how a network is made and trained, None where there is none."""
    from tsmodels.tasks import DYNAMICS_PRESETS

    if model == _FLOOR:
        return None
    names = {"ALRNN": _ALMOST_LINEAR, "shPLRNN-aGTF": _SHALLOW | _ADAPTIVE}.get(model, _SHALLOW)
    preset = DYNAMICS_PRESETS[names[dataset]]
    network, task = dict(preset.network), dict(preset.task)
    if model != "ALRNN" and dataset == "Lorenz96":
        network["hidden_dim"] = 256
    if model == "shPLRNN-aGTF":
        task["forcing"] = "adaptive"
    epochs = epochs or _QUICK_EPOCHS
    if epochs < _LONG_SCHEDULE:  # too short for the coldest end
        task["lr_end"] = max(task["lr_end"], 1e-5)
    elif model != "ALRNN":
        task["lr_end"] = 1e-6
    return preset._replace(network=network, task=task, trainer=preset.trainer | {"max_epochs": epochs})


def run_reconstruction(
    datasets: Iterable[str] | None = None,
    models: Iterable[str] | None = None,
    seeds: Iterable[int] = DEFAULT_DYNAMICS_SEEDS,
    output: str | os.PathLike[str] = DEFAULT_DYNAMICS_OUTPUT,
    *,
    epochs: int | None = None,
    progress: Progress | None = None,
    backend: Backend | None = None,
    budget: Budget | None = None,
    retry_failed: bool = False,
) -> pd.DataFrame:
    """Learn dynamical systems with every model and seed, and judge the free run of each; keep each result in a file.

    A run that was stopped goes on where it was, as in :func:`run_benchmark`.

    Parameters
    ----------
    datasets : iterable of str, optional
        "Lorenz63" (5 % observation noise on the training series), "Lorenz96" (10 variables) and "Rossler" are
        integrated here; "ECG_pecuzal_5d", "EEG", "Lorenz63_GTF" and "Lorenz63_ALRNN" are files in the folder
        ``dynamics`` of ``TSMODELS_DATA``. By default the first two.
    models : iterable of str, optional
        "Floor" (no model: one half of the test series against the other), "shPLRNN" (clipped shallow network,
        generalised teacher forcing), "shPLRNN-aGTF" (forcing adapted to the Jacobians) and "ALRNN" (almost-linear
        network; generalised teacher forcing on the systems of three variables, sparse forcing on the others). By
        default all.
    seeds : iterable of int, default=(0, 1, 2, 3, 4)
        Of initial weights, windows and noise.
    output : path, default="tsmodels-dynamics"
        Folder for ``cells/*.json``, ``results.csv``, ``results.json``, ``results.md`` and ``d_stsp.png``.
    epochs : int, optional
        Of 50 batches of 16 windows each, by default 1000. The learning rate falls to 1e-5, with 2000 epochs and more
        to 1e-6, except that of ALRNN.
    progress : Progress, optional
        Told of each step.
    backend, budget, retry_failed
        As of :func:`run_benchmark`.

    Returns
    -------
    DataFrame
        The cells asked for, as in :func:`load_results`.

    Raises
    ------
    RequestError, OutputError
        As :func:`run_benchmark`.
    """
    if epochs is not None and epochs < 1:
        raise RequestError(f"epochs must be at least 1, got {epochs}.")
    names = checked_names(datasets, DEFAULT_DYNAMICS)
    for name in names:
        if name not in DYNAMICS_SETS:
            raise RequestError(f"there is no dynamical system {name!r}. Available: {', '.join(DYNAMICS_SETS)}.")
    chosen = checked_names(models, DYNAMICS_MODELS)
    for model in chosen:
        if model not in DYNAMICS_MODELS:
            raise RequestError(f"there is no model {model!r}. Available: {', '.join(DYNAMICS_MODELS)}.")
    if epochs is not None and chosen == [_FLOOR]:
        raise RequestError(f"epochs has no effect on {_FLOOR}. Leave it out.")
    seeds = checked_seeds(seeds)
    settings = {(name, model): _settings(name, model, epochs) for name in names for model in chosen}
    cells = []
    for (name, model), preset in settings.items():
        configuration = digest([_description(preset), PROTOCOL, tsmodels.__version__])
        cells += [Cell(name, model, seed, configuration) for seed in ([None] if preset is None else seeds)]
    job = _Reconstruction(settings)
    return run_cells(
        job, cells, output, progress or Progress(), backend=backend, budget=budget, retry_failed=retry_failed
    )


def _description(preset: Preset | None) -> dict[str, Any]:
    """What a result depends on beside data and seed."""
    return {} if preset is None else plain(preset._asdict())


class _Reconstruction(Job):
    schema = RECONSTRUCTION

    def __init__(self, settings: dict[tuple[str, str], Preset | None]):
        self._settings = settings
        self._series = DataCache(_load)

    def check(self, datasets: set[str]) -> None:
        for name in sorted(datasets):
            try:
                self._series[name]
            except (OSError, ValueError) as error:
                raise RequestError(f"cannot load {name!r}: {error}") from error

    def warm_up(self, cell: Cell) -> float:
        start = time.perf_counter()
        preset = self._settings[cell.dataset, cell.model]
        if preset is not None:
            series = self._series[cell.dataset]
            few = replace(series, train=series.train[:2000], test=series.test[:2000])
            with contextlib.suppress(
                Exception, SystemExit
            ):  # a model that cannot run shows it in its cells, with the error
                _trained(few, preset._replace(trainer=preset.trainer | {"max_epochs": 1}), 0)
        return time.perf_counter() - start

    def facts(self, cell: Cell) -> dict[str, Any]:
        return {
            "task": RECONSTRUCTION.task,
            "parameters": _description(self._settings[cell.dataset, cell.model]),
            "protocol": PROTOCOL,
        }

    def run(self, cell: Cell, extras: dict[str, Any]) -> dict[str, Any]:
        series, preset = self._series[cell.dataset], self._settings[cell.dataset, cell.model]
        facts = self.facts(cell) | {
            "n_channels": series.train.shape[1],
            "n_train": len(series.train),
            "n_test": len(series.test),
        }
        if preset is None:
            return recorded(cell, facts, lambda: _floor(series))
        return recorded(cell, facts, lambda: _trained(series, preset, cell.seed or 0))

    def files(self, records: list[dict[str, Any]]) -> dict[str, str | bytes]:
        from tsmodels.plots import plot_errors

        results = to_frame(records)
        made: dict[str, str | bytes] = {"results.md": reconstruction_markdown(results)}
        if any(record.get("d_stsp") is not None for record in records):
            made["d_stsp.png"] = drawn(plot_errors(results))
        return made


def _load(name: str) -> _Series:
    from tsmodels_datamodules import SYSTEMS, load_dynamics_set, make_trajectory

    if name not in _INTEGRATED:
        files = load_dynamics_set(name)
        return _Series(files.train, files.test, files.dt or 1.0, _SPECTRA.get(name))
    system, noise = _INTEGRATED[name]
    both = make_trajectory(system, 2 * _N_POINTS)
    train, test = both[:_N_POINTS], both[_N_POINTS:]
    if noise:
        errors = np.random.default_rng(0).normal(size=train.shape)
        train = train + noise * train.std(0) * errors
    return _Series(train, test, SYSTEMS[system].dt, _SPECTRA.get(name))


# The system behind a name, and the noise on its training series in shares of the standard deviation
_INTEGRATED = {"Lorenz63": ("lorenz63", 0.05), "Lorenz96": ("lorenz96", 0.0), "Rossler": ("rossler", 0.0)}
_LORENZ63 = np.array([0.905, 0.0, -14.57])
# Measured by variational equations (tsmodels_datamodules.lyapunov_spectrum)
_SPECTRA = {
    "Lorenz63": _LORENZ63,
    "Lorenz63_GTF": _LORENZ63,
    "Lorenz63_ALRNN": _LORENZ63,
    "Rossler": np.array([0.0714, 0.0, -5.394]),
}


def _floor(series: _Series) -> dict[str, Any]:
    from tsmodels.dynamics.measures import kaplan_yorke_dimension, reconstruction_floor

    start = time.perf_counter()
    d_stsp, d_h = reconstruction_floor(_scaled_test(series))
    known = series.lyapunov
    return {
        "d_stsp": _number(d_stsp),
        "d_h": _number(d_h),
        "lyapunov_max": None if known is None else float(known[0]),
        "kaplan_yorke": None if known is None else _number(kaplan_yorke_dimension(known)),
        "divergent": 0,
        "fit_seconds": 0.0,
        "predict_seconds": time.perf_counter() - start,
    }


def _scaled_test(series: _Series) -> np.ndarray:
    """The test series as the models see it."""
    spread = series.train.std(0)
    return (series.test - series.train.mean(0)) / np.where(spread > 0, spread, 1.0)


def _trained(series: _Series, preset: Preset, seed: int) -> dict[str, Any]:
    import torch

    from tsmodels.dynamics.measures import evaluate_reconstruction
    from tsmodels.estimators._training import TRAINING, isolated, require_finite, train
    from tsmodels.models import PLRNN
    from tsmodels.tasks import DynamicsTask
    from tsmodels_datamodules import DynamicsDataModule

    data = DynamicsDataModule(series.train, test=series.test, seed=seed, **preset.data)
    options = {name: argument.default for name, argument in TRAINING.items()} | preset.trainer
    device = torch.device("cpu")
    with isolated(seed, device):
        network = PLRNN(data.n_channels, **preset.network)
        task = DynamicsTask(network, seed=seed, **preset.task)
        start = time.perf_counter()
        history = train(task, data, options, device)
        fitted = time.perf_counter()
    require_finite(network, task.lr)
    found = evaluate_reconstruction(network, data.test_series, n_ahead=_N_AHEAD, dt=series.dt)
    return {
        **_measures(found),
        "fit_seconds": fitted - start,
        "predict_seconds": time.perf_counter() - fitted,
        "n_parameters": sum(each.numel() for each in network.parameters()),
        "epochs": history["epochs"],
        "curves": {name: [_number(value) for value in values] for name, values in history["curves"].items()},
    }


def _measures(found: Reconstruction) -> dict[str, Any]:
    exponents = [] if found.lyapunov is None else [_number(value) for value in np.atleast_1d(found.lyapunov)]
    return {
        "d_stsp": _number(found.d_stsp),
        "d_h": _number(found.d_h),
        "pe_20": _number(found.pe),
        "lyapunov_max": exponents[0] if exponents else None,
        "kaplan_yorke": _number(found.kaplan_yorke),
        "divergent": int(found.divergent or math.isnan(found.d_stsp)),
        "lyapunov": exponents,
    }


def _number(value: Any) -> float | None:
    """Return a number that JSON has, None for others."""
    return float(value) if value is not None and math.isfinite(value) else None
