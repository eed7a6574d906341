"""Networks by the protocol of the long-horizon forecasting literature."""

from __future__ import annotations

import functools
import operator
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import tsmodels
from tsmodels.benchmark import DEFAULT_LONG_HORIZON_OUTPUT, DEFAULT_SEEDS, LONG_HORIZON_SETS
from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark._lookup import ModelSpec, imported, specs
from tsmodels.benchmark._schemas import LONG_HORIZON
from tsmodels.benchmark._tables import horizon_csv, horizon_errors, markdown
from tsmodels.benchmark.cells import Cell, recorded
from tsmodels.benchmark.execution import Backend, Budget
from tsmodels.benchmark.models import class_path, digest, plain
from tsmodels.benchmark.results import to_frame
from tsmodels.benchmark.runner import Job, Progress, checked_names, checked_seeds, drawn, run_cells

if TYPE_CHECKING:
    import pandas as pd

    from tsmodels_datamodules import ForecastingSetDataModule

__all__ = ["DEFAULT_NETWORKS", "PROTOCOL", "LongHorizonCell", "Training", "available_networks", "run_long_horizon"]

PROTOCOL = (
    "the literature's splits; every channel standardised by its training part; the epoch with the lowest validation "
    "MSE is kept; MSE and MAE of the standardised data over all windows of the test part, which is used once"
)
DEFAULT_NETWORKS = ("NaiveLast", "SeasonalNaive", "DLinear", "Chimera")
_NAIVE = ("NaiveLast", "SeasonalNaive")
_SEASONS: dict[str, int] = {  # a day, a week, a year
    "ETTh1": 24,
    "ETTh2": 24,
    "ETTm1": 96,
    "ETTm2": 96,
    "weather": 144,
    "exchange_rate": 7,
    "national_illness": 52,
}
_SHORT = {"national_illness"}  # 966 weeks: the literature looks back 36 and forecasts 24 and more


@dataclass(frozen=True)
class Training:
    """How networks are trained.

    Attributes
    ----------
    max_epochs : int
    patience : int
        Epochs without a lower validation loss, after which training ends.
    window_stride : int
        Steps between the starts of training windows; validation and test have all windows.
    batch_size : int
    lr : float
        Peak learning rate.
    accelerator : str
    """

    max_epochs: int = 10
    patience: int = 3
    window_stride: int = 1
    batch_size: int = 32
    lr: float = 1e-3
    accelerator: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("max_epochs", "patience", "window_stride", "batch_size"):
            if getattr(self, name) < 1:
                raise RequestError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not self.lr > 0:
            raise RequestError(f"lr must be positive, got {self.lr}.")


@dataclass(frozen=True)
class LongHorizonCell(Cell):
    """A cell with the shape of its windows."""

    lookback: int
    horizon: int

    @property
    def file_name(self) -> str:
        """Readable, safe on every file system, and different for every cell."""
        head, digits = super().file_name.rsplit("-", 1)
        return f"{head.replace('__', f'__{self.lookback}to{self.horizon}__', 1)}-{digits}"

    def __str__(self) -> str:
        return re.sub(r"(, seed \d+)?$", rf", {self.lookback} to {self.horizon}\1", super().__str__(), count=1)


def available_networks() -> dict[str, Any]:
    """Return what can be run by name: the naive forecasts, computed in numpy, and the networks of this package."""
    from tsmodels import models

    suffix = "ForForecasting"
    networks = {name.removesuffix(suffix): getattr(models, name) for name in models.__all__ if name.endswith(suffix)}
    return dict.fromkeys((*_NAIVE, "DLinear")) | networks


def run_long_horizon(
    datasets: Iterable[str] | None = None,
    models: Iterable[str] | Mapping[str, Any] | None = None,
    seeds: Iterable[int] = DEFAULT_SEEDS,
    output: str | os.PathLike[str] = DEFAULT_LONG_HORIZON_OUTPUT,
    *,
    lookback: int | None = None,
    horizons: Iterable[int] | None = None,
    training: Training | None = None,
    progress: Progress | None = None,
    backend: Backend | None = None,
    budget: Budget | None = None,
    retry_failed: bool = False,
) -> pd.DataFrame:
    """Train every network on every data set, horizon and seed, and keep each result in a file of its own.

    Windows of `lookback` and `horizon` steps; the data sets' customary chronological splits; channels standardised by
    the training part; AdamW on the MSE; training ends when the validation loss has not fallen for some epochs, and the
    weights of the best epoch are measured once, on all windows of the test part. A run that was stopped goes on where
    it was, as in :func:`run_benchmark`.

    Parameters
    ----------
    datasets : iterable of str, optional
        "ETTh1", "ETTh2", "ETTm1", "ETTm2", "weather", "exchange_rate", "national_illness"; by default "ETTh1". The
        files are found as in :func:`tsmodels_datamodules.load_forecasting_set`.
    models : iterable of str or mapping, optional
        "NaiveLast", "SeasonalNaive", "DLinear", "Chimera", "Mamba", "S4D"; by default the first four. Or names of your
        own with a network class each, or a ``functools.partial`` of one with its keyword arguments, which is called
        with ``(n_channels, lookback, horizon)``; there the two naive ones stand for themselves with None.
    seeds : iterable of int, default=(0, 1, 2)
        Of initial weights, order of windows and dropout.
    output : path, default="tsmodels-long-horizon"
        Folder for ``cells/*.json``, ``results.csv``, ``results.json``, ``results.md``, ``errors_by_horizon.csv``,
        ``mse.png`` and ``errors_by_horizon.png``.
    lookback : int, optional
        By default 96, and 36 for "national_illness".
    horizons : iterable of int, optional
        By default 96, and 24 for "national_illness".
    training : Training, optional
        Epochs, patience, stride between training windows, batch size, learning rate and accelerator.
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
    training = training or Training()
    networks, seeds = _networks(models), checked_seeds(seeds)
    names = checked_names(datasets, LONG_HORIZON_SETS[:1])
    for name in names:
        if name not in LONG_HORIZON_SETS:
            raise RequestError(f"there is no long-horizon set {name!r}. Available: {', '.join(LONG_HORIZON_SETS)}.")
    horizons = None if horizons is None else [_step_count("horizons", each) for each in horizons]
    if horizons == []:
        raise RequestError("horizons must hold at least one integer.")
    cells = []
    for name in names:
        usual = (36, [24]) if name in _SHORT else (96, [96])
        past = usual[0] if lookback is None else _step_count("lookback", lookback)
        for horizon in dict.fromkeys(usual[1] if horizons is None else horizons):
            for model, network in networks.items():
                configuration = digest([_description(model, network, training, name), tsmodels.__version__])
                for seed in [None] if network is None else seeds:
                    cells.append(LongHorizonCell(name, model, seed, configuration, past, horizon))
    job = _LongHorizon(networks, training)
    return run_cells(
        job, cells, output, progress or Progress(), backend=backend, budget=budget, retry_failed=retry_failed
    )


def _step_count(name: str, value: Any) -> int:
    if (number := operator.index(value)) < 1:
        raise RequestError(f"{name} must be at least 1, got {number}.")
    return number


def _networks(models: Iterable[str] | Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(models, Mapping):
        for name, network in models.items():
            if not isinstance(network, type | functools.partial) and not (network is None and name in _NAIVE):
                raise RequestError(f"models[{name!r}] must be a network class or a functools.partial of one.")
        chosen = dict(models)
    else:
        known = available_networks()
        chosen = {spec.label: _network(spec, known) for spec in specs(DEFAULT_NETWORKS if models is None else models)}
    if not chosen:
        raise RequestError("models must name at least one model; None takes the default ones.")
    return chosen


def _network(spec: ModelSpec, known: Mapping[str, Any]) -> Any:
    if "." not in spec.name and spec.name not in known:
        raise RequestError(f"there is no network {spec.name!r}. Available: {', '.join(known)}. Others by import path.")
    network = known[spec.name] if spec.name in known else imported(spec.name)
    if network is None:
        if spec != ModelSpec(spec.name, spec.name):
            raise RequestError(f"{spec.name!r} takes neither a label nor parameters.")
        return None
    if not spec.parameters:
        return network
    return functools.partial(network, **spec.parameters)


def _description(model: str, network: Any, training: Training, dataset: str) -> dict[str, Any]:
    """What a result depends on beside data, windows and seed."""
    if network is None:
        return {"network": model, "season": 1 if model == "NaiveLast" else _SEASONS[dataset]}
    cls, choices = (network.func, network.keywords) if isinstance(network, functools.partial) else (network, {})
    return {
        "network": class_path(cls),
        "choices": plain({name: choices[name] for name in sorted(choices)}),
        "max_epochs": training.max_epochs,
        "patience": training.patience,
        "window_stride": training.window_stride,
        "batch_size": training.batch_size,
        "lr": training.lr,
    }


class _LongHorizon(Job):
    schema = LONG_HORIZON

    def __init__(self, networks: Mapping[str, Any], training: Training):
        self._networks, self._training = networks, training

    def check(self, datasets: set[str]) -> None:
        from tsmodels_datamodules import load_forecasting_set

        for name in sorted(datasets):
            try:
                load_forecasting_set(name)
            except (OSError, ValueError) as error:
                raise RequestError(f"cannot load {name!r}: {error}") from error

    def warm_up(self, cell: Cell) -> float:
        start = time.perf_counter()
        network = self._networks[cell.model]
        if network is not None:
            import torch

            import tsmodels.tasks.forecasting  # noqa: F401 - imports Lightning

            assert isinstance(cell, LongHorizonCell)
            network(2, cell.lookback, cell.horizon)(torch.zeros(2, cell.lookback, 2)).sum().backward()
        return time.perf_counter() - start

    def facts(self, cell: Cell) -> dict[str, Any]:
        return {
            "task": LONG_HORIZON.task,
            "parameters": _description(cell.model, self._networks[cell.model], self._training, cell.dataset),
            "protocol": PROTOCOL,
            "n_test": None,  # until it is known
        }

    def run(self, cell: Cell, extras: dict[str, Any]) -> dict[str, Any]:
        assert isinstance(cell, LongHorizonCell)
        network, facts = self._networks[cell.model], self.facts(cell)
        if network is None:
            season = facts["parameters"]["season"]
            return recorded(cell, facts, lambda: _naive(cell.dataset, cell.horizon, season))
        return recorded(cell, facts, lambda: _trained(cell, network, self._training))

    def files(self, records: list[dict[str, Any]]) -> dict[str, str | bytes]:
        from tsmodels.plots import plot_errors, plot_horizon_errors

        results = to_frame(records)
        made: dict[str, str | bytes] = {"results.md": markdown(results)}
        if (results["status"] == "finished").any():
            curves = plot_horizon_errors(horizon_errors(records))
            made |= {
                "errors_by_horizon.csv": horizon_csv(records),
                "errors_by_horizon.png": drawn(curves[0]),
                "mse.png": drawn(plot_errors(results)),
            }
        return made


def _naive(name: str, horizon: int, season: int) -> dict[str, Any]:
    """Measure the value of one season ago, without any code that networks are trained or measured by."""
    from tsmodels_datamodules import ForecastingSetDataModule, load_forecasting_set

    start = time.perf_counter()
    values = load_forecasting_set(name).to_numpy(float)
    options: Any = ForecastingSetDataModule(name).hparams
    split = options["split"]
    if len(split) == 3:
        n_train, first = int(len(values) * split[0]), len(values) - int(len(values) * split[2])
    else:
        n_train, first = split
    spread = values[:n_train].std(0)
    scaled = (values - values[:n_train].mean(0)) / np.where(spread > 0, spread, 1)
    n_windows = len(values) - first - horizon + 1
    squared, absolute = [], []
    for step in range(horizon):
        ahead = first + step
        behind = first - season + step % season
        error = scaled[ahead : ahead + n_windows] - scaled[behind : behind + n_windows]
        squared.append(float(np.mean(error**2)))
        absolute.append(float(np.mean(np.abs(error))))
    return {
        "mse": float(np.mean(squared)),
        "mae": float(np.mean(absolute)),
        "fit_seconds": 0.0,
        "predict_seconds": time.perf_counter() - start,
        "n_channels": values.shape[1],
        "n_test": n_windows,
        "horizon_errors": {"mse": squared, "mae": absolute},
    }


def _trained(cell: LongHorizonCell, network_class: Any, training: Training) -> dict[str, Any]:
    from tsmodels.estimators._training import TRAINING, isolated, require_finite, resolve_device, train
    from tsmodels.tasks import ForecastingTask
    from tsmodels_datamodules import ForecastingSetDataModule

    seed = cell.seed or 0
    data = ForecastingSetDataModule(
        cell.dataset,
        cell.lookback,
        cell.horizon,
        stride=training.window_stride,
        batch_size=training.batch_size,
        seed=seed,
    )
    device = resolve_device(training.accelerator, 1)
    options = {name: argument.default for name, argument in TRAINING.items()} | {
        "max_epochs": training.max_epochs,
        "patience": training.patience,
        "val_fraction": True,  # the data module has a validation part
        "gradient_clip_val": 1.0,
    }
    with isolated(seed, device):
        network = network_class(data.n_channels, cell.lookback, cell.horizon)
        task = ForecastingTask(network, loss="mse", lr=training.lr)
        start = time.perf_counter()
        history = train(task, data, options, device)
        fitted = time.perf_counter()
        require_finite(network, training.lr)
        _test(task, data, device.type)
        tested = time.perf_counter()
    errors = {name: values.double().cpu().numpy() for name, values in task.horizon_metrics.items()}
    return {
        "mse": float(errors["mse"].mean()),
        "mae": float(errors["mae"].mean()),
        "val_mse": None if history["best_value"] is None else float(history["best_value"]),
        "fit_seconds": fitted - start,
        "predict_seconds": tested - fitted,
        "n_parameters": sum(each.numel() for each in network.parameters() if each.requires_grad),
        "epochs": history["epochs"],
        "best_epoch": None if history["best_epoch"] is None else history["best_epoch"] + 1,
        "n_channels": data.n_channels,
        **{f"n_{part}": count for part, count in data.n_windows.items()},
        "horizon_errors": {name: values.tolist() for name, values in errors.items()},
        "curves": {name: [float(value) for value in values] for name, values in history["curves"].items()},
    }


def _test(task: Any, data: ForecastingSetDataModule, accelerator: str) -> None:
    import lightning.pytorch as L

    from tsmodels.estimators._training import quiet

    with quiet(verbose=False):
        trainer = L.Trainer(
            accelerator=accelerator,
            devices=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.test(task, datamodule=data, verbose=False)
