"""Pictures of detected anomalies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from tsmodels.plots._styles import COLOURS, legend_above, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_anomalies"]

_SERIES_COLOUR, _SCORE_COLOUR, _DETECTED_COLOUR, _TRUE_COLOUR = "0.35", COLOURS[0], COLOURS[1], COLOURS[2]
_MOST_CHANNELS = 12


def plot_anomalies(
    series: Any,
    scores: Any,
    threshold: float | None = None,
    segments: Any = None,
    *,
    labels: Any = None,
) -> np.ndarray:
    """Draw a series, a panel for each channel, and below it its scores, with what was detected and what is true.

    Parameters
    ----------
    series : DataFrame, Series or array (time,) or (time, channel)
        At most 12 channels.
    scores : DataFrame, Series or array (time,)
        As from ``detector.transform_scores(series)``.
    threshold : float, optional
        As from ``detector.threshold_``.
    segments : DataFrame, IntervalIndex or sequence of (start, stop), optional
        Detected segments, as positions, the stop behind the last time point; as from
        ``detector.anomalous_segments(series)``. Shaded over all panels.
    labels : array-like of 0 and 1 (time,), optional
        What is anomalous in truth; drawn as bars on top of the panels.

    Returns
    -------
    ndarray of Axes (channel + 1,)
        The last one shows the scores. The figure is ``axes[0].get_figure()``.

    Raises
    ------
    ValueError
        If there is nothing or too much to draw, lengths differ, or a segment lies outside the series.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.plots import plot_anomalies
    >>> series = np.sin(np.arange(100) / 5)
    >>> axes = plot_anomalies(series, np.abs(series), threshold=0.9, segments=[(10, 20)])
    >>> len(axes)
    2
    """
    frame = _frame(series)
    if frame.empty or frame.shape[1] > _MOST_CHANNELS:
        raise ValueError(
            f"series has the shape {frame.shape} = (time, channel): between 1 and {_MOST_CHANNELS} channels are drawn, "
            "choose some of them."
        )
    values = _of_length("scores", scores, len(frame))
    truth = None if labels is None else _of_length("labels", labels, len(frame)) > 0
    detected = _pairs(segments, len(frame))
    n_panels = frame.shape[1] + 1
    height = 0.8 + 1.6 + (2.2 if n_panels == 2 else 1.3 * frame.shape[1])
    figure = Figure(figsize=(9, height), layout="constrained")
    panels = figure.subplots(n_panels, 1, sharex=True)
    positions = frame.index
    for i, ax in enumerate(panels[:-1]):
        ax.plot(positions, frame.iloc[:, i], color=_SERIES_COLOUR, linewidth=0.9)
        if frame.shape[1] > 1 or frame.columns[0] != 0:
            ax.set_ylabel(str(frame.columns[i]))
    panels[-1].plot(positions, values, color=_SCORE_COLOUR, linewidth=0.9)
    panels[-1].set_ylabel("score")
    if threshold is not None:
        panels[-1].axhline(threshold, color="black", linewidth=0.9, linestyle="--")
    for ax in panels:
        _shade(ax, positions, detected, truth)
        _finish(ax, positions)
    if not isinstance(positions, pd.DatetimeIndex):
        panels[-1].set_xlabel("time")
    if handles := _handles(threshold, segments, truth):
        legend_above(panels[0], handles)
    return panels


def _shade(ax: Axes, index: pd.Index, detected: list[tuple[int, int]], truth: np.ndarray | None) -> None:
    """Shade detected segments, a time point having the width of a step, and put bars over true ones."""
    edges = _edges(index)
    for start, stop in detected:
        ax.axvspan(edges[start], edges[stop], color=_DETECTED_COLOUR, alpha=0.3, linewidth=0.8, zorder=0)
    if truth is None:
        return
    borders = np.flatnonzero(np.diff(truth.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    for start, stop in borders:
        ax.plot(  # at the upper edge of the panel; with markers, as a line shorter than a pixel may not be drawn
            [edges[start], edges[stop]],
            [1.0, 1.0],
            transform=ax.get_xaxis_transform(),
            color=_TRUE_COLOUR,
            linewidth=5,
            solid_capstyle="butt",
            marker="s",
            markersize=5,
            markeredgewidth=0,
            clip_on=False,
        )


def _edges(index: pd.Index) -> np.ndarray:
    """Return where time points begin, and where the last one ends: half a step before and behind them."""
    times = index.to_numpy()
    if len(times) == 1:
        return np.array([times[0], times[0]])
    steps = np.diff(times)
    starts = times - np.r_[steps[:1], steps] / 2
    return np.r_[starts, times[-1:] + steps[-1:] / 2]


def _handles(threshold: float | None, segments: Any, truth: np.ndarray | None) -> list[Any]:
    handles: list[Any] = []
    if segments is not None:
        handles.append(Patch(color=_DETECTED_COLOUR, alpha=0.3, label="detected"))
    if truth is not None:
        handles.append(Line2D([], [], color=_TRUE_COLOUR, linewidth=5, label="true anomalies"))
    if threshold is not None:
        handles.append(Line2D([], [], color="black", linewidth=0.9, linestyle="--", label="threshold"))
    return handles


def _finish(ax: Axes, index: pd.Index) -> None:
    if isinstance(index, pd.DatetimeIndex):
        locator = AutoDateLocator(minticks=3, maxticks=9)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
    ax.margins(x=0.01)
    plain(ax)


def _frame(series: Any) -> pd.DataFrame:
    if isinstance(series, pd.Series):
        series = series.to_frame(0 if series.name is None else series.name)
    if not isinstance(series, pd.DataFrame):
        array = np.asarray(series, dtype=float)
        if array.ndim not in (1, 2):
            raise ValueError(f"series must be (time,) or (time, channel), got shape {array.shape}.")
        frame = pd.DataFrame(array)
        return frame if frame.shape[1] == 1 else frame.set_axis([f"channel {i}" for i in frame.columns], axis=1)
    return series.set_axis(series.index.to_timestamp(), axis=0) if isinstance(series.index, pd.PeriodIndex) else series


def _of_length(name: str, values: Any, n_timepoints: int) -> np.ndarray:
    array = np.asarray(values, dtype=float).reshape(-1)
    if len(array) != n_timepoints:
        raise ValueError(f"{name} has {len(array)} values, series has {n_timepoints} time points.")
    return array


def _pairs(segments: Any, n_timepoints: int) -> list[tuple[int, int]]:
    """Return segments, in any of their forms, as pairs of positions."""
    if segments is None:
        return []
    if isinstance(segments, pd.DataFrame):
        segments = segments["ilocs"]
    pairs: Iterable[Any] = (
        [(each.left, each.right) for each in segments]
        if isinstance(segments, pd.Series | pd.IntervalIndex)
        else np.asarray(segments, dtype=int).reshape(-1, 2).tolist()
    )
    checked = [(int(start), int(stop)) for start, stop in pairs]
    for start, stop in checked:
        if not 0 <= start < stop <= n_timepoints:
            raise ValueError(f"the segment [{start}, {stop}) lies outside the {n_timepoints} time points of series.")
    return checked
