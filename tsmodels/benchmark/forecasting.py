"""Forecasters on short series, measured at several cutoffs of an expanding window."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tsmodels.benchmark import DEFAULT_BACKTEST_OUTPUT, DEFAULT_SEEDS, DEFAULT_SERIES
from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark._lookup import ModelSpec, specs, unknown
from tsmodels.benchmark._schemas import BACKTEST
from tsmodels.benchmark._tables import horizon_csv, markdown
from tsmodels.benchmark.cells import Cell, recorded
from tsmodels.benchmark.execution import Backend, Budget
from tsmodels.benchmark.models import class_path, configuration_id, configured, described, has_parameter
from tsmodels.benchmark.results import to_frame
from tsmodels.benchmark.runner import Job, Progress, checked_names, checked_seeds, drawn, run_cells

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "PROTOCOL",
    "BacktestSeries",
    "available_forecasters",
    "bundled_series",
    "chosen_makers",
    "folds_of",
    "left_out",
    "run_backtest",
    "without_remember_data_warning",
]

PROTOCOL = "expanding window; every model is fitted anew at each cutoff on what lies before it, nothing is tuned"
COVERAGE = 0.9
_N_CUTOFFS = 3
_SLOW = {"Mamba", "S4D"}  # left out by default: minutes, not a quarter of an hour
_DETERMINISTIC = {"ETS"}  # its random_state is for simulated paths, of which there are none here


@dataclass(frozen=True)
class BacktestSeries:
    """A series and what is asked of it.

    Attributes
    ----------
    y : Series or DataFrame (time, channel)
    horizon : int
        Steps forecast at each cutoff.
    seasonality : int
        Steps of one season: of the seasonal naive forecaster and of MASE.
    lookback : int
        Steps that networks see.
    """

    y: Any
    horizon: int
    seasonality: int
    lookback: int


def bundled_series(name: str) -> BacktestSeries:
    """Return a series that comes with sktime.

    Parameters
    ----------
    name : {"airline", "lynx", "shampoo_sales", "uschange"}
        Monthly passengers of airlines; lynx trapped a year, which come and go in about ten years; monthly sales of a
        shampoo; quarterly changes of five quantities of the US economy, forecast together.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    from sktime import datasets

    if name == "airline":
        return BacktestSeries(datasets.load_airline(), horizon=12, seasonality=12, lookback=24)
    if name == "lynx":
        return BacktestSeries(datasets.load_lynx(), horizon=10, seasonality=10, lookback=20)
    if name == "shampoo_sales":
        return BacktestSeries(datasets.load_shampoo_sales(), horizon=4, seasonality=12, lookback=12)
    if name == "uschange":
        consumption, others = datasets.load_uschange()
        return BacktestSeries(others.assign(Consumption=consumption), horizon=8, seasonality=4, lookback=16)
    raise ValueError(f"there is no bundled series {name!r}")


def available_forecasters() -> dict[str, Callable[[BacktestSeries], Any]]:
    """Return what can be run by name: makers of unfitted forecasters for a series."""
    makers: dict[str, Callable[[BacktestSeries], Any]] = {
        "NaiveLast": lambda series: _naive(1),
        "SeasonalNaive": lambda series: _naive(series.seasonality),
        "Theta": _theta,
        "ETS": _ets,
        "DLinear": lambda series: _ours("DLinear", series, normalise="last", lr=1e-2, batch_size=16, max_epochs=40),
        "Chimera": lambda series: _ours("Chimera", series, d_model=16, d_state=8, lr=5e-3),
        "Mamba": lambda series: _ours("Mamba", series, d_model=16, d_state=8, lr=5e-3),
        "S4D": lambda series: _ours("S4D", series, d_model=16, d_state=8, lr=5e-3),
    }
    return {name: make for name, make in makers.items() if name not in left_out()}


def left_out() -> dict[str, str]:
    """Return the forecasters that cannot be run here, each with the package that it needs."""
    if importlib.util.find_spec("statsmodels") is not None:
        return {}
    return {"Theta": "statsmodels", "ETS": "statsmodels"}


def _naive(season: int) -> Any:
    from sktime.forecasting.naive import NaiveForecaster

    with without_remember_data_warning():
        return NaiveForecaster("last", sp=season)


def _theta(series: BacktestSeries) -> Any:
    from sktime.forecasting.theta import ThetaForecaster

    # its seasonal adjustment divides by the series, which must be positive for that
    with without_remember_data_warning():
        return ThetaForecaster(sp=series.seasonality, deseasonalize=bool(np.min(series.y.to_numpy()) > 0))


def _ets(series: BacktestSeries) -> Any:
    from sktime.forecasting.exp_smoothing import ExponentialSmoothing

    with without_remember_data_warning():
        return ExponentialSmoothing(trend="add", damped_trend=True, seasonal="add", sp=series.seasonality)


def _ours(name: str, series: BacktestSeries, **settings: Any) -> Any:
    from tsmodels.estimators import forecasters

    return getattr(forecasters, f"{name}Forecaster")(lookback=series.lookback, **settings)


@contextlib.contextmanager
def without_remember_data_warning() -> Iterator[None]:
    """Silence sktime's announcement of another default: a forecaster is fitted once here and never updated.

    To be entered anew for each step: modules of sktime that are imported on the way put filters of their own in front.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*remember_data", category=FutureWarning)
        yield


def run_backtest(
    datasets: Iterable[str] | None = None,
    models: Iterable[str] | Mapping[str, Any] | None = None,
    seeds: Iterable[int] = DEFAULT_SEEDS,
    output: str | os.PathLike[str] = DEFAULT_BACKTEST_OUTPUT,
    *,
    epochs: int | None = None,
    n_cutoffs: int = _N_CUTOFFS,
    load: Callable[[str], BacktestSeries] | None = None,
    progress: Progress | None = None,
    backend: Backend | None = None,
    budget: Budget | None = None,
    retry_failed: bool = False,
) -> pd.DataFrame:
    """Fit every forecaster at several cutoffs of every series, with every seed, and keep each result in a file.

    The last ``n_cutoffs * horizon`` time points of a series are forecast in blocks of `horizon`, each from all that
    lies before it. A run that was stopped goes on where it was, as in :func:`run_benchmark`.

    Parameters
    ----------
    datasets : iterable of str, optional
        Names of bundled series. By default all of them: "airline", "lynx", "shampoo_sales" and "uschange".
    models : iterable of str or mapping of str to forecaster, optional
        Names out of ``tsmodels.benchmark.forecasting.available_forecasters()``, or names of your own with an unfitted
        sktime forecaster each, which is copied. By default the naive ones, theta and exponential smoothing (these two
        need statsmodels), DLinear and Chimera.
    seeds : iterable of int, default=(0, 1, 2)
        Given as ``random_state``. A model without that parameter is run once.
    output : path, default="tsmodels-forecasting"
        Folder for ``cells/*.json``, ``results.csv``, ``results.json``, ``results.md``, ``errors_by_horizon.csv`` and
        ``mase.png``.
    epochs : int, optional
        Given as ``max_epochs`` to the models that have this parameter.
    n_cutoffs : int, default=3
        Number of cutoffs.
    load : callable, optional
        From a name to a :class:`BacktestSeries`. By default ``tsmodels.benchmark.forecasting.bundled_series``.
    progress : Progress, optional
        Told of each step.
    backend, budget, retry_failed
        As of :func:`run_benchmark`.

    Returns
    -------
    DataFrame
        The cells asked for, as in :func:`load_results`. ``mase`` is the mean over cutoffs and channels, the scale being
        the seasonal naive error before the cutoff; ``smape`` is in percent, from 0 to 200; ``rmse`` is over all
        forecasts in the units of the series; ``coverage_90`` is the share of values inside the 90 % intervals.

    Raises
    ------
    RequestError, OutputError
        As :func:`run_benchmark`.
    """
    if n_cutoffs < 1:
        raise RequestError(f"n_cutoffs must be at least 1, got {n_cutoffs}.")
    if epochs is not None and epochs < 1:
        raise RequestError(f"epochs must be at least 1, got {epochs}.")
    known = available_forecasters()
    makers, seeds = chosen_makers(models, known, [name for name in known if name not in _SLOW]), checked_seeds(seeds)
    series = {name: _loaded(name, load or bundled_series) for name in checked_names(datasets, DEFAULT_SERIES)}
    for name, each in series.items():
        _require_length(name, each, n_cutoffs)
    deterministic = set() if isinstance(models, Mapping) else _DETERMINISTIC
    estimators, cells = {}, []
    for name, each in series.items():
        for model, make in makers.items():
            estimator = make(each)
            with without_remember_data_warning():
                estimator = estimator if epochs is None else configured(estimator, max_epochs=epochs)
            estimators[name, model] = estimator
            settings = {"horizon": each.horizon, "seasonality": each.seasonality, "n_cutoffs": n_cutoffs}
            configuration = configuration_id(estimator, settings)
            is_seeded = has_parameter(estimator, "random_state") and model not in deterministic
            cells += [Cell(name, model, seed, configuration) for seed in (seeds if is_seeded else [None])]
    if epochs is not None and not any(has_parameter(each, "max_epochs") for each in estimators.values()):
        raise RequestError(f"epochs has no effect on {', '.join(makers)}: not trained in epochs. Leave it out.")
    job = _Backtest(series, estimators, n_cutoffs)
    return run_cells(
        job, cells, output, progress or Progress(), backend=backend, budget=budget, retry_failed=retry_failed
    )


def chosen_makers(
    models: Iterable[str] | Mapping[str, Any] | None,
    known: Mapping[str, Callable[[BacktestSeries], Any]],
    default: Iterable[str],
) -> dict[str, Callable[[BacktestSeries], Any]]:
    """Return makers of the forecasters asked for.

    Parameters
    ----------
    models : iterable of str or mapping, mapping of str to forecaster, or None
        Names out of `known`, import paths, or names of forecasters in sktime's registry, with parameters as of
        :func:`tsmodels.benchmark.models.resolve_models`; or names of your own with a forecaster each, or None
        for `default`.
    known : mapping
        Makers by name.
    default : iterable of str
        Names; those that cannot be run here are left out.

    Raises
    ------
    RequestError
        If there is no model, none of a given name, or something in a mapping is no forecaster.
    """
    if isinstance(models, Mapping):
        chosen = {name: _constant(name, each) for name, each in models.items()}
    else:
        wanted = specs([name for name in default if name in known] if models is None else models)
        chosen = {spec.label: _maker(spec, known) for spec in wanted}
    if not chosen:
        raise RequestError("models must name at least one model; None takes the default ones.")
    return chosen


def _maker(spec: ModelSpec, known: Mapping[str, Callable[[BacktestSeries], Any]]) -> Callable[[BacktestSeries], Any]:
    if spec.name in left_out():
        package = left_out()[spec.name]
        raise RequestError(f"the model {spec.name!r} needs {package}: pip install {package}, or leave it out.")
    if spec.name in known:
        if spec.parameters:
            raise RequestError(f"the parameters of {spec.name!r} follow from the series: name its class to set others.")
        return known[spec.name]
    with without_remember_data_warning():
        estimator = spec.estimator("forecaster")
    if estimator is None:
        raise unknown("forecaster", spec.name, known)
    return _constant(spec.label, estimator)


def _constant(name: str, estimator: Any) -> Callable[[BacktestSeries], Any]:
    if isinstance(estimator, type) or not hasattr(estimator, "predict_interval"):
        raise RequestError(f"models[{name!r}] must be an unfitted sktime forecaster, got {estimator!r}.")
    return lambda series: estimator


def _loaded(name: str, load: Callable[[str], BacktestSeries]) -> BacktestSeries:
    try:
        return load(name)
    except (OSError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise RequestError(f"cannot load {name!r}: {reason}. Bundled: {', '.join(DEFAULT_SERIES)}.") from error


def _require_length(name: str, series: BacktestSeries, n_cutoffs: int) -> None:
    first = len(series.y) - n_cutoffs * series.horizon
    needed = max(series.lookback + series.horizon, series.seasonality + 1)
    if first < needed:
        raise RequestError(
            f"{name!r} has {len(series.y)} time points, {max(first, 0)} of them before the first of {n_cutoffs} "
            f"cutoffs, but {needed} are needed there: take fewer cutoffs."
        )


class _Backtest(Job):
    schema = BACKTEST

    def __init__(self, series: Mapping[str, BacktestSeries], estimators: Mapping[tuple[str, str], Any], n_cutoffs: int):
        self._series, self._estimators, self._n_cutoffs = series, estimators, n_cutoffs

    def check(self, datasets: set[str]) -> None:
        """All is loaded: it took no time, and configurations depend on it."""

    def warm_up(self, cell: Cell) -> float:
        start = time.perf_counter()
        with without_remember_data_warning():
            quick = configured(self._estimators[cell.dataset, cell.model], random_state=0, max_epochs=1)
        with contextlib.suppress(
            Exception, SystemExit
        ):  # a model that cannot run shows it in its cells, where the error is kept
            folds_of(quick, self._series[cell.dataset], 1)
        return time.perf_counter() - start

    def facts(self, cell: Cell) -> dict[str, Any]:
        series, estimator = self._series[cell.dataset], self._estimators[cell.dataset, cell.model]
        return {
            "task": BACKTEST.task,
            "estimator": class_path(estimator),
            "parameters": described(estimator),
            "protocol": PROTOCOL,
            "horizon": series.horizon,
            "seasonality": series.seasonality,
            "n_cutoffs": self._n_cutoffs,
            "n_channels": 1 if series.y.ndim == 1 else series.y.shape[1],
            "n_train": len(series.y) - self._n_cutoffs * series.horizon,
            "n_test": self._n_cutoffs * series.horizon,
        }

    def run(self, cell: Cell, extras: dict[str, Any]) -> dict[str, Any]:
        with without_remember_data_warning():
            estimator = configured(self._estimators[cell.dataset, cell.model], random_state=cell.seed)
        series = self._series[cell.dataset]
        return recorded(cell, self.facts(cell), lambda: _measured(estimator, series, self._n_cutoffs))

    def files(self, records: list[dict[str, Any]]) -> dict[str, str | bytes]:
        from tsmodels.plots import plot_errors

        results = to_frame(records)
        made: dict[str, str | bytes] = {"results.md": markdown(results)}
        if (results["status"] == "finished").any():
            made |= {"errors_by_horizon.csv": horizon_csv(records), "mase.png": drawn(plot_errors(results))}
        return made


def _measured(estimator: Any, series: BacktestSeries, n_cutoffs: int) -> dict[str, Any]:
    folds, n_parameters = folds_of(estimator, series, n_cutoffs)
    truth = np.stack([fold["y"] for fold in folds])  # fold, step, channel
    errors = truth - np.stack([fold["forecast"] for fold in folds])
    scaled = np.abs(errors) / np.stack([fold["scale"] for fold in folds])[:, None]
    size = np.abs(truth) + np.abs(truth - errors)
    relative = np.divide(200 * np.abs(errors), size, out=np.zeros_like(errors), where=size > 0)
    intervals = [fold["interval"] for fold in folds]
    coverage = None
    if all(each is not None for each in intervals):
        lower, upper = np.moveaxis(np.stack(intervals), -1, 0)
        coverage = float(np.mean((lower <= truth) & (truth <= upper)))
    return {
        "mase": float(scaled.mean()),
        "smape": float(relative.mean()),
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "coverage_90": coverage,
        "fit_seconds": float(np.mean([fold["fit_seconds"] for fold in folds])),
        "predict_seconds": float(np.mean([fold["predict_seconds"] for fold in folds])),
        "n_parameters": n_parameters,
        "horizon_errors": {"mase": scaled.mean((0, 2)).tolist(), "smape": relative.mean((0, 2)).tolist()},
        "folds": [
            {
                "cutoff": fold["cutoff"],
                "forecast": fold["forecast"].tolist(),
                "interval": None if fold["interval"] is None else fold["interval"].tolist(),
            }
            for fold in folds
        ],
    }


def folds_of(estimator: Any, series: BacktestSeries, n_cutoffs: int) -> tuple[list[dict[str, Any]], int | None]:
    """Forecast from each cutoff; arrays are (step, channel), of intervals (step, channel, lower and upper)."""
    from sktime.split import ExpandingWindowSplitter

    steps: Any = np.arange(1, series.horizon + 1)
    first = len(series.y) - n_cutoffs * series.horizon
    splitter = ExpandingWindowSplitter(steps, initial_window=first, step_length=series.horizon)
    folds, n_parameters = [], None
    for past, future in splitter.split(series.y):
        y_past, y_future = series.y.iloc[past], series.y.iloc[future]
        with without_remember_data_warning():
            start = time.perf_counter()
            fitted = configured(estimator).fit(y_past, fh=steps)
            done = time.perf_counter()
            forecast = fitted.predict()
            predicted = time.perf_counter()
            interval = _interval(fitted, series.horizon)
        if hasattr(fitted, "n_parameters_"):
            n_parameters = int(fitted.n_parameters_)
        values = y_past.to_numpy(float).reshape(len(y_past), -1)
        folds.append(
            {
                "cutoff": str(y_past.index[-1]),
                "y": y_future.to_numpy(float).reshape(series.horizon, -1),
                "forecast": forecast.to_numpy(float).reshape(series.horizon, -1),
                "interval": interval,
                "scale": np.abs(values[series.seasonality :] - values[: -series.seasonality]).mean(0),
                "fit_seconds": done - start,
                "predict_seconds": predicted - done,
            }
        )
    return folds, n_parameters


def _interval(fitted: Any, horizon: int) -> np.ndarray | None:
    if not fitted.get_tag("capability:pred_int"):
        return None
    frame = fitted.predict_interval(coverage=COVERAGE)  # columns: channel, coverage, lower and upper
    return frame.to_numpy(float).reshape(horizon, -1, 2)
