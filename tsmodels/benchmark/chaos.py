"""Forecasters on chaotic systems that this package integrates itself."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tsmodels.benchmark import DEFAULT_CHAOS_OUTPUT, DEFAULT_SEEDS
from tsmodels.benchmark._data_cache import DataCache
from tsmodels.benchmark._dynamics_tables import chaos_markdown
from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark._schemas import CHAOS
from tsmodels.benchmark.cells import Cell, recorded
from tsmodels.benchmark.execution import Backend, Budget
from tsmodels.benchmark.forecasting import (
    BacktestSeries,
    available_forecasters,
    chosen_makers,
    folds_of,
    without_remember_data_warning,
)
from tsmodels.benchmark.models import class_path, configuration_id, configured, described, has_parameter
from tsmodels.benchmark.results import to_frame
from tsmodels.benchmark.runner import Job, Progress, checked_names, checked_seeds, drawn, run_cells

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PROTOCOL", "available_chaos_models", "run_chaos"]

N_TRAIN, HORIZON, POINTS_PER_PERIOD = 1000, 200, 100
PROTOCOL = (
    f"first coordinate of a trajectory without noise, {POINTS_PER_PERIOD} points to a period; fitted to {N_TRAIN} "
    f"points, the next {HORIZON} are forecast at once; each seed has a stretch of the attractor of its own, the same "
    "for all models; nothing is tuned on these stretches"
)
_FIRST_PERIOD, _PERIODS_APART = 100, 50  # where the stretch of seed 0 begins, and how far the next one lies behind
_DEFAULT_MODELS = ("NaiveLast", "Theta", "ContextParrot", "DLinear", "PLRNN", "ALRNN")


def available_chaos_models() -> dict[str, Callable[[BacktestSeries], Any]]:
    """Return what can be run by name: makers of unfitted forecasters for a series."""
    known = available_forecasters()
    return {
        "NaiveLast": known["NaiveLast"],
        **({"Theta": lambda series: _theta()} if "Theta" in known else {}),
        "ContextParrot": lambda series: _dynamics("ContextParrot"),
        "ContextParrotAuto": lambda series: _dynamics("ContextParrot", context="auto"),
        **{name: known[name] for name in ("DLinear", "Chimera", "Mamba", "S4D")},
        "PLRNN": lambda series: _dynamics("PLRNN"),
        "ALRNN": lambda series: _dynamics("ALRNN"),
    }


def _theta() -> Any:
    from sktime.forecasting.theta import ThetaForecaster

    with without_remember_data_warning():
        return ThetaForecaster(deseasonalize=False)  # the seasonal adjustment divides by the series, which passes zero


def _dynamics(name: str, **settings: Any) -> Any:
    from tsmodels.estimators import dynamics

    with without_remember_data_warning():
        return getattr(dynamics, f"{name}Forecaster")(**settings)


def run_chaos(
    datasets: Iterable[str] | None = None,
    models: Iterable[str] | Mapping[str, Any] | None = None,
    seeds: Iterable[int] = DEFAULT_SEEDS,
    output: str | os.PathLike[str] = DEFAULT_CHAOS_OUTPUT,
    *,
    epochs: int | None = None,
    progress: Progress | None = None,
    backend: Backend | None = None,
    budget: Budget | None = None,
    retry_failed: bool = False,
) -> pd.DataFrame:
    """Forecast chaotic systems with every model from every stretch of their attractors; keep each result in a file.

    A series is the first coordinate of 12 dominant periods of a system, 100 points to a period, without noise: a model
    is fitted to the first 1000 points and forecasts the next 200 at once. A seed stands for a stretch of the attractor
    and is the ``random_state`` of models that have one. A run that was stopped goes on where it was, as in
    :func:`run_benchmark`.

    Parameters
    ----------
    datasets : iterable of str, optional
        Names out of :data:`tsmodels_datamodules.CHAOS_TABLE`. By default all of them.
    models : iterable of str or mapping of str to forecaster, optional
        Names out of ``tsmodels.benchmark.chaos.available_chaos_models()``, or names of your own with an unfitted sktime
        forecaster each, which is copied. By default the last value, theta (needs statsmodels), context parroting,
        DLinear, PLRNN and ALRNN.
    seeds : iterable of int, default=(0, 1, 2)
        Stretches of the attractors.
    output : path, default="tsmodels-chaos"
        Folder for ``cells/*.json``, ``results.csv``, ``results.json``, ``results.md`` and ``smape.png``.
    epochs : int, optional
        Given as ``max_epochs`` to the models that have this parameter.
    progress : Progress, optional
        Told of each step.
    backend, budget, retry_failed
        As of :func:`run_benchmark`.

    Returns
    -------
    DataFrame
        The cells asked for, as in :func:`load_results`. ``smape`` is over all 200 steps, from 0 to 200; ``valid_time``
        is the time until the mean sMAPE of the steps so far exceeds 30, in Lyapunov times of the system.

    Raises
    ------
    RequestError, OutputError
        As :func:`run_benchmark`.

    References
    ----------
    .. [1] W. Gilpin, "Chaos as an interpretable benchmark for forecasting and data-driven modelling", NeurIPS 2021
       Datasets and Benchmarks, arXiv:2110.05266: lengths, sampling and measures; its trajectories are others.
    """
    from tsmodels_datamodules import CHAOS_TABLE

    if epochs is not None and epochs < 1:
        raise RequestError(f"epochs must be at least 1, got {epochs}.")
    names = checked_names(datasets, CHAOS_TABLE)
    for name in names:
        if name not in CHAOS_TABLE:
            raise RequestError(f"there is no system {name!r} in the table. Available: {', '.join(CHAOS_TABLE)}.")
    shape = BacktestSeries(None, horizon=HORIZON, seasonality=POINTS_PER_PERIOD, lookback=POINTS_PER_PERIOD)
    makers = chosen_makers(models, available_chaos_models(), _DEFAULT_MODELS)
    estimators = {name: make(shape) for name, make in makers.items()}
    if epochs is not None:
        if not any(has_parameter(each, "max_epochs") for each in estimators.values()):
            raise RequestError(f"epochs has no effect on {', '.join(estimators)}: not trained in epochs. Leave it out.")
        with without_remember_data_warning():
            estimators = {name: configured(each, max_epochs=epochs) for name, each in estimators.items()}
    configurations = {name: configuration_id(each, {"protocol": PROTOCOL}) for name, each in estimators.items()}
    cells = [
        Cell(name, model, seed, configurations[model])
        for name in names
        for model in estimators
        for seed in checked_seeds(seeds)
    ]
    job = _Chaos(estimators)
    return run_cells(
        job, cells, output, progress or Progress(), backend=backend, budget=budget, retry_failed=retry_failed
    )


class _Chaos(Job):
    schema = CHAOS

    def __init__(self, estimators: Mapping[str, Any]):
        self._estimators = estimators
        self._stretches = DataCache(_stretch_of, n_kept=100)  # small, and each model comes back to those of all seeds

    def check(self, datasets: set[str]) -> None:
        """A stretch is integrated when its first model needs it."""

    def warm_up(self, cell: Cell) -> float:
        start = time.perf_counter()
        with without_remember_data_warning():
            quick = configured(self._estimators[cell.model], random_state=0, max_epochs=1)
        with contextlib.suppress(
            Exception, SystemExit
        ):  # a model that cannot run shows it in its cells, where the error is kept
            folds_of(quick, self._series(cell), 1)
        return time.perf_counter() - start

    def facts(self, cell: Cell) -> dict[str, Any]:
        estimator = self._estimators[cell.model]
        return {
            "task": CHAOS.task,
            "estimator": class_path(estimator),
            "parameters": described(estimator),
            "protocol": PROTOCOL,
            "n_train": N_TRAIN,
            "n_test": HORIZON,
        }

    def run(self, cell: Cell, extras: dict[str, Any]) -> dict[str, Any]:
        with without_remember_data_warning():
            estimator = configured(self._estimators[cell.model], random_state=cell.seed)
        return recorded(cell, self.facts(cell), lambda: self._measured(cell, estimator))

    def _series(self, cell: Cell) -> BacktestSeries:
        import pandas as pd

        stretch = self._stretches[cell.dataset, cell.seed or 0]
        return BacktestSeries(pd.Series(stretch), HORIZON, POINTS_PER_PERIOD, POINTS_PER_PERIOD)

    def _measured(self, cell: Cell, estimator: Any) -> dict[str, Any]:
        from tsmodels.dynamics.measures import smape, valid_prediction_time
        from tsmodels_datamodules import SYSTEMS

        (fold,), n_parameters = folds_of(estimator, self._series(cell), 1)
        system = SYSTEMS[cell.dataset]
        assert system.period is not None and system.lyapunov_max is not None  # of the systems in the table
        truth, forecast = fold["y"], fold["forecast"]
        return {
            "smape": float(smape(truth, forecast)),
            "valid_time": float(
                valid_prediction_time(
                    truth,
                    forecast,
                    dt=system.period / POINTS_PER_PERIOD,
                    lyapunov_time=1 / system.lyapunov_max,
                )
            ),
            "fit_seconds": fold["fit_seconds"],
            "predict_seconds": fold["predict_seconds"],
            "n_parameters": n_parameters,
            "forecast": forecast.ravel().tolist(),
        }

    def files(self, records: list[dict[str, Any]]) -> dict[str, str | bytes]:
        from tsmodels.plots import plot_errors

        results = to_frame(records)
        made: dict[str, str | bytes] = {"results.md": chaos_markdown(results)}
        if (results["status"] == "finished").any():
            made["smape.png"] = drawn(plot_errors(results))
        return made


def _stretch_of(key: tuple[str, int]) -> np.ndarray:
    return _stretch(*key)


def _stretch(name: str, seed: int) -> np.ndarray:
    """Training points and horizon of a system's first coordinate (time,); stretches of seeds do not overlap."""
    from tsmodels_datamodules import SYSTEMS, make_trajectory

    system = SYSTEMS[name]
    assert system.period is not None  # of the systems in the table
    transient = (_FIRST_PERIOD + _PERIODS_APART * seed) * system.period
    n = N_TRAIN + HORIZON
    return make_trajectory(system, n, dt=system.period / POINTS_PER_PERIOD, transient=transient)[:, 0]
