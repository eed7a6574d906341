"""Pictures of forecasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from tsmodels.plots._styles import COLOURS, legend_above, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_forecast"]

_FORECAST_COLOUR, _TRUTH_COLOUR, _HISTORY_COLOUR = COLOURS[1], COLOURS[0], "0.45"
_MARKED_STEPS = 24
_LEAST_HISTORY, _HISTORY_PER_STEP = 50, 5


def plot_forecast(
    y_train: pd.Series | pd.DataFrame,
    y_test: pd.Series | pd.DataFrame | None = None,
    forecast: pd.Series | pd.DataFrame | None = None,
    intervals: pd.DataFrame | None = None,
    *,
    history: int | None = None,
    axes: Any = None,
) -> np.ndarray:
    """Draw a series, what came after it, and what was forecast, a panel for each channel.

    Parameters
    ----------
    y_train : Series or DataFrame (time, channel)
        The past. Indexed by periods, dates or integers, as are the others.
    y_test : Series or DataFrame, optional
        What came after it.
    forecast : Series or DataFrame, optional
        As from ``forecaster.predict()``.
    intervals : DataFrame, optional
        As from ``forecaster.predict_interval(coverage=[0.5, 0.9])``: columns (channel, coverage, "lower" or "upper").
        The wider an interval, the lighter its shade.
    history : int, optional
        Time points of the past that are shown. By default five times as many as were forecast, at least 50; all of
        them if nothing else is drawn.
    axes : Axes or sequence of Axes, optional
        Drawn into, one for each channel; by default those of a new figure.

    Returns
    -------
    ndarray of Axes (channel,)
        The figure is ``axes[0].get_figure()``.

    Raises
    ------
    TypeError
        If an argument is no pandas object, or is indexed by several levels.
    ValueError
        If the arguments have different channels or kinds of index, or nothing is to be drawn.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from tsmodels.plots import plot_forecast
    >>> y = load_airline()
    >>> axes = plot_forecast(y[:-12], y[-12:])
    >>> [line.get_label() for line in axes[0].get_lines()]
    ['past', 'truth']
    """
    past = _frame("y_train", y_train)
    if past.empty:
        raise ValueError("y_train is empty: there is nothing to draw.")
    truth = None if y_test is None else _like("y_test", y_test, past)
    point = None if forecast is None else _like("forecast", forecast, past)
    bands = {} if intervals is None else _bands(intervals, past)
    n_steps = max((len(each) for each in (truth, point, *bands.values()) if each is not None), default=0)
    if history is None:
        history = max(_LEAST_HISTORY, _HISTORY_PER_STEP * n_steps) if n_steps else len(past)
    if history < 1:
        raise ValueError(f"history must be at least 1, got {history}.")
    panels = _panels(axes, past.shape[1])
    for i, ax in enumerate(panels):
        handles = _draw(ax, past.iloc[-history:, i], truth, point, bands, i)
        _finish(ax, past.columns[i] if past.shape[1] > 1 or past.columns[0] != 0 else None, past.index)
        if i == 0:
            legend_above(ax, handles)
    if not isinstance(past.index, pd.DatetimeIndex):
        panels[-1].set_xlabel("time")
    return panels


def _draw(
    ax: Axes,
    past: pd.Series,
    truth: pd.DataFrame | None,
    point: pd.DataFrame | None,
    bands: dict[float, pd.DataFrame],
    channel: int,
) -> list[Any]:
    lines: list[Any] = [*ax.plot(past.index, past, color=_HISTORY_COLOUR, linewidth=1.3, label="past")]
    areas = []
    for position, coverage in enumerate(sorted(bands, reverse=True)):  # the widest below
        limits = bands[coverage]
        lower, upper = (limits.iloc[:, 2 * channel + side].to_numpy(float) for side in (0, 1))
        alpha = 0.15 + 0.25 * position / len(bands)
        style = {"color": _FORECAST_COLOUR, "alpha": alpha, "linewidth": 0}
        if len(limits) > 1:
            ax.fill_between(limits.index, lower, upper, **style)
        else:  # an area over one point of time has no width
            ax.vlines(limits.index, lower, upper, color=_FORECAST_COLOUR, alpha=alpha, linewidth=6)
        areas.append(Patch(**style, label=f"{100 * coverage:g} %" if areas else f"intervals {100 * coverage:g} %"))
    for values, colour, label, marker, line in (
        (truth, _TRUTH_COLOUR, "truth", "o", "-"),
        (point, _FORECAST_COLOUR, "forecast", "s", "--"),
    ):
        if values is not None:
            marker = marker if len(values) <= _MARKED_STEPS else ""
            style = {"color": colour, "label": label, "marker": marker, "markersize": 3.5, "linestyle": line}
            lines += ax.plot(values.index, values.iloc[:, channel], linewidth=1.6, **style)
    return lines + areas


def _finish(ax: Axes, name: Any, index: pd.Index) -> None:
    if name is not None:
        ax.set_ylabel(str(name))
    if isinstance(index, pd.DatetimeIndex):
        locator = AutoDateLocator(minticks=3, maxticks=9)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6))
    plain(ax)


def _frame(name: str, values: Any) -> pd.DataFrame:
    """Return values as a DataFrame on an index that Matplotlib can draw."""
    if not isinstance(values, pd.Series | pd.DataFrame):
        raise TypeError(f"{name} must be a pandas Series or DataFrame, got {type(values).__name__}.")
    if isinstance(values.index, pd.MultiIndex):
        raise TypeError(f"{name} holds several series: draw one of them, for example {name}.loc[instance].")
    frame = values.to_frame() if isinstance(values, pd.Series) else values
    if isinstance(frame.index, pd.PeriodIndex):
        return frame.set_axis(frame.index.to_timestamp(), axis=0)
    return frame


def _like(name: str, values: Any, past: pd.DataFrame) -> pd.DataFrame:
    frame = _frame(name, values)
    if frame.shape[1] != past.shape[1]:
        raise ValueError(f"{name} has {frame.shape[1]} channels, y_train has {past.shape[1]}.")
    if frame.shape[1] > 1:
        if set(frame.columns) != set(past.columns):
            raise ValueError(f"{name} has the channels {list(frame.columns)}, y_train has {list(past.columns)}.")
        frame = frame.loc[:, list(past.columns)]
    _require_same_kind(name, frame.index, past.index)
    return frame


def _require_same_kind(name: str, index: pd.Index, past: pd.Index) -> None:
    if isinstance(index, pd.DatetimeIndex) != isinstance(past, pd.DatetimeIndex):
        raise ValueError(f"{name} is indexed by {index.dtype}, y_train by {past.dtype}: use one kind of index.")


def _bands(intervals: Any, past: pd.DataFrame) -> dict[float, pd.DataFrame]:
    """Return for each coverage a frame with lower and upper limits of one channel after the other."""
    frame = _frame("intervals", intervals)
    if frame.columns.nlevels != 3:
        raise ValueError("intervals must have columns (channel, coverage, lower or upper), as from predict_interval.")
    names = list(dict.fromkeys(frame.columns.get_level_values(0)))
    if len(names) != past.shape[1]:
        raise ValueError(f"intervals has {len(names)} channels, y_train has {past.shape[1]}.")
    channels = list(past.columns) if len(names) > 1 else names
    _require_same_kind("intervals", frame.index, past.index)
    bands = {}
    for coverage in dict.fromkeys(frame.columns.get_level_values(1)):
        wanted = [(channel, coverage, side) for channel in channels for side in ("lower", "upper")]
        if missing := [each for each in wanted if each not in frame.columns]:
            raise ValueError(f"intervals lacks the column {missing[0]}.")
        bands[float(coverage)] = frame.loc[:, wanted]
    return bands


def _panels(axes: Any, n_channels: int) -> np.ndarray:
    if axes is None:
        figure = Figure(figsize=(8, 0.6 + (3.2 if n_channels == 1 else 1.7 * n_channels)), layout="constrained")
        return figure.subplots(n_channels, 1, sharex=True, squeeze=False).ravel()
    panels = np.atleast_1d(np.asarray(axes, dtype=object)).ravel()
    if len(panels) != n_channels:
        raise ValueError(f"axes must be {n_channels}, one for each channel; got {len(panels)}.")
    return panels
