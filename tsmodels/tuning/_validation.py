"""How a search measures a configuration: by parts of the training data that the configuration was not fitted on."""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import pandas as pd

__all__ = ["ClassifierValidation", "ForecasterValidation", "Validation", "without_announcement"]


def without_announcement() -> AbstractContextManager[None]:
    """Silence sktime's announcement of another default, which each copy of a forecaster would repeat."""
    from tsmodels.benchmark.forecasting import without_remember_data_warning

    return without_remember_data_warning()


class Validation(Protocol):
    """The training data, and how estimators are measured within them.

    Attributes
    ----------
    direction : {"maximize", "minimize"}
    n_folds : int
    """

    direction: str

    @property
    def n_folds(self) -> int: ...

    def scores(self, estimator: Any) -> Iterator[float]:
        """Fit a copy for each fold on its training part, and yield its score on the rest."""
        ...

    def refitted(self, estimator: Any) -> Any:
        """Fit a copy on all training data."""
        ...

    def data(self) -> Any:
        """Return what is fitted on, of which a fingerprint is taken."""
        ...


class ClassifierValidation:
    """Stratified folds, or one stratified part that is held out, of labelled cases.

    Parameters
    ----------
    X : panel of any type of sktime
    y : array-like (case,)
    folds : int or float
        Number of folds, or share of the cases that is held out.
    scoring : {"accuracy", "log_loss"}
    seed : int
    """

    def __init__(self, X: Any, y: Any, folds: int | float, scoring: str, seed: int):
        if scoring not in ("accuracy", "log_loss"):
            raise ValueError(f"scoring of a classifier must be 'accuracy' or 'log_loss', got {scoring!r}")
        self.direction = "maximize" if scoring == "accuracy" else "minimize"
        self._X, self._y, self._scoring = _panel(X), np.asarray(y), scoring
        if len(self._X) != len(self._y):
            raise ValueError(f"X has {len(self._X)} cases, but y has {len(self._y)} labels")
        if len(np.unique(self._y)) < 2:
            raise ValueError("y has a single class: there is nothing to tell apart")
        self._splits = _stratified(self._y, folds, seed)

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return len(self._splits)

    def data(self) -> Any:
        """Return the cases and labels."""
        return self._X, self._y

    def scores(self, estimator: Any) -> Iterator[float]:
        """Fit a copy for each fold on its training cases, and yield its score on the others."""
        for train, held_out in self._splits:
            fitted = estimator.clone().fit(_cases(self._X, train), self._y[train])
            yield self._score(fitted, _cases(self._X, held_out), self._y[held_out])

    def refitted(self, estimator: Any) -> Any:
        """Fit on all cases."""
        return estimator.clone().fit(self._X, self._y)

    def _score(self, fitted: Any, X: Any, y: np.ndarray) -> float:
        if self._scoring == "accuracy":
            return float(np.mean(np.asarray(fitted.predict(X)) == y))
        # a class that the training part does not have counts as never expected; scikit-learn would refuse it
        of_class = dict(zip(fitted.classes_, np.asarray(fitted.predict_proba(X)).T, strict=True))
        given = np.array([of_class[label][i] if label in of_class else 0.0 for i, label in enumerate(y)])
        return float(-np.log(np.clip(given, np.finfo(float).eps, 1.0)).mean())


class ForecasterValidation:
    """The last windows of the training series, each forecast from all that lies before it.

    Parameters
    ----------
    y : Series, DataFrame, or either with an index of instances and times
    X : DataFrame or None
        Known at the times of y.
    fh : int or sequence of int
        Steps ahead; an int means all steps up to it.
    n_windows : int
        Windows of as many steps as the largest of `fh`, one behind the other at the end of each series.
    scoring : {"mase", "mae"}
    seasonality : int
        Of the naive forecast that "mase" compares with.
    """

    direction = "minimize"

    def __init__(self, y: Any, X: Any, fh: Any, n_windows: int | float, scoring: str, seasonality: int):
        if scoring not in ("mase", "mae"):
            raise ValueError(f"scoring of a forecaster must be 'mase' or 'mae', got {scoring!r}")
        if not isinstance(y, pd.Series | pd.DataFrame):
            raise TypeError(f"y must be a pandas Series or DataFrame, got {type(y).__name__}")
        if not isinstance(n_windows, numbers.Integral) or n_windows < 1:
            raise ValueError(f"validation of a forecaster must be a number of windows, got {n_windows!r}")
        self._y, self._X, self._fh = y, X, _steps(fh)
        self._n_windows, self._scoring, self._seasonality = int(n_windows), scoring, int(seasonality)
        # the naive forecast of the last season needs a season and a step more to be measured on
        shortest, needed = int(_lengths(y).min()), self._fh[-1] * self._n_windows + self._seasonality + 1
        if shortest < needed:
            raise ValueError(
                f"y has a series of {shortest} points, but {n_windows} windows of {self._fh[-1]} steps need {needed}: "
                "take fewer windows (validation), fewer steps (fh), or longer series"
            )

    @property
    def n_folds(self) -> int:
        """Number of windows."""
        return self._n_windows

    def data(self) -> Any:
        """Return the series."""
        return self._y, self._X

    def scores(self, estimator: Any) -> Iterator[float]:
        """Fit a copy before each window, and yield its error there."""
        steps = self._fh[-1]
        for window in range(self._n_windows, 0, -1):
            past, window_y = _without_last(self._y, steps * window), _part(self._y, steps * window, steps)
            past_X = window_X = None
            if self._X is not None:
                past_X, window_X = self._X.loc[past.index], self._X.loc[window_y.index]
            fitted = self._fitted(estimator, past, past_X)
            with without_announcement():
                forecast = fitted.predict(fh=self._fh, X=window_X)
            yield self._error(forecast, window_y, past)

    def refitted(self, estimator: Any) -> Any:
        """Fit on the whole series."""
        return self._fitted(estimator, self._y, self._X)

    def _fitted(self, estimator: Any, y: Any, X: Any) -> Any:
        with without_announcement():
            copy = estimator.clone()
        with without_announcement():
            return copy.fit(y, X=X, fh=self._fh)

    def _error(self, forecast: Any, truth: Any, past: Any) -> float:
        forecast = _frame(forecast)
        wanted = _frame(truth).loc[forecast.index]
        if len(forecast) != len(self._fh) * len(_lengths(truth)):
            raise ValueError(f"{len(forecast)} forecasts for {len(self._fh)} steps of {len(_lengths(truth))} series")
        missed = (forecast - wanted.to_numpy()).abs()
        if self._scoring == "mae":
            return float(missed.to_numpy(float).mean())
        scaled = []
        for errors, before in zip(_arrays(missed), _arrays(_frame(past)), strict=True):
            scale = np.abs(before[self._seasonality :] - before[: -self._seasonality]).mean(0)
            # errors in a channel that never changed cannot be measured in units of its changes
            scaled.extend(errors.mean(0)[scale > 0] / scale[scale > 0])
        if not scaled:
            raise ValueError("all series are constant before the window: use scoring='mae'")
        return float(np.mean(scaled))


def _panel(X: Any) -> Any:
    """Return cases as what :func:`_cases` can take some of: an array (case, channel, time) or a list of frames."""
    if isinstance(X, np.ndarray):
        return X[:, None] if X.ndim == 2 else X
    from sktime.datatypes import convert_to

    return convert_to(X, ["numpy3D", "df-list"], as_scitype="Panel")


def _cases(X: Any, positions: np.ndarray) -> Any:
    return X[positions] if isinstance(X, np.ndarray) else [X[i] for i in positions]


def _stratified(y: np.ndarray, folds: int | float, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit

    cases = np.zeros(len(y))
    if isinstance(folds, numbers.Integral) and not isinstance(folds, bool) and folds >= 2:
        splitter: Any = StratifiedKFold(int(folds), shuffle=True, random_state=seed)
    elif isinstance(folds, float) and 0 < folds < 1:
        splitter = StratifiedShuffleSplit(1, test_size=folds, random_state=seed)
    else:
        raise ValueError(
            f"validation of a classifier must be a number of folds, at least 2, or a share of the cases, got {folds!r}"
        )
    try:
        with warnings.catch_warnings():
            # classes with fewer cases than folds: they are missing from some folds, which is as good as it gets
            warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
            return [(train, held_out) for train, held_out in splitter.split(cases, y)]
    except ValueError as error:
        least = int(np.unique(y, return_counts=True)[1].min())
        raise ValueError(
            f"validation={folds!r} cannot split {len(y)} cases, of which a class has {least}: {error} "
            "Take fewer folds or another share."
        ) from error


def _steps(fh: Any) -> list[int]:
    given = range(1, int(fh) + 1) if isinstance(fh, numbers.Integral) else fh
    steps = sorted({int(step) for step in given}) if given is not None else []
    if not steps or steps[0] < 1:
        raise ValueError(f"fh must be a number of steps ahead, or several, all at least 1, got {fh!r}")
    return steps


def _instances(y: Any) -> Any:
    return y.groupby(level=list(range(y.index.nlevels - 1)), sort=False)


def _lengths(y: Any) -> np.ndarray:
    return _instances(y).size().to_numpy() if isinstance(y.index, pd.MultiIndex) else np.array([len(y)])


def _without_last(y: Any, n: int) -> Any:
    """Return each series without its last `n` points."""
    return _instances(y).head(-n) if isinstance(y.index, pd.MultiIndex) else y.iloc[:-n]


def _part(y: Any, n_before_end: int, n: int) -> Any:
    """Return `n` points of each series, the first of which is `n_before_end` points before its end."""
    if isinstance(y.index, pd.MultiIndex):
        return _instances(_instances(y).tail(n_before_end)).head(n)
    start = len(y) - n_before_end
    return y.iloc[start : start + n]


def _arrays(frame: pd.DataFrame) -> list[np.ndarray]:
    """Return the values (time, channel) of each series, in the order of the sorted index."""
    if not isinstance(frame.index, pd.MultiIndex):
        return [frame.to_numpy(float)]
    levels = list(range(frame.index.nlevels - 1))
    return [series.to_numpy(float) for _, series in frame.groupby(level=levels)]


def _frame(y: Any) -> pd.DataFrame:
    return y.to_frame() if isinstance(y, pd.Series) else y
