"""Pictures of shapelets: what they look like, where they are, and how well they tell classes apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from tsmodels.plots._styles import COLOURS, legend_above, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tsmodels.shapelets import ShapeletSet

__all__ = [
    "plot_null",
    "plot_shapelet_distances",
    "plot_shapelet_matches",
    "plot_shapelet_positions",
    "plot_shapelets",
]

_SERIES_COLOUR, _OTHERS_COLOUR = "0.6", "0.55"
_FAR_STYLE: dict[str, Any] = {"linewidth": 1.2, "linestyle": (0, (1, 1.5))}
_HATCHES = ("", "////", "....", "xxxx")  # tell classes of one colour apart
_MOST_COLUMNS = 2
_MOST_STRIPS = 10  # more classes than that are drawn as one
_WIDE_RANGE = 6  # distances beyond that many thresholds make the axis logarithmic
_LANE = 0.8  # of the height of a channel


def plot_shapelets(shapelets: ShapeletSet, X: Any = None, *, top: int = 3) -> np.ndarray:
    """Draw the best shapelets of each class, a row of panels for each class.

    Parameters
    ----------
    shapelets : ShapeletSet
    X : array (case, channel, time) or list of arrays (channel, time), optional
        The training series: each shapelet is drawn over the channel it is from, in its units. Without them shapelets
        stand alone, in units of the standardised channel.
    top : int, default=3
        Shapelets of each class, the best at the left.

    Returns
    -------
    ndarray of Axes (class, top)
        Of a new figure, which is ``axes[0, 0].get_figure()``. None where a class has no more shapelets.

    Raises
    ------
    ValueError
        If the set is empty, or `X` are not the series that the shapelets are from.

    Examples
    --------
    >>> from tsmodels.plots import plot_shapelets
    >>> axes = plot_shapelets(shapelets, X_train)  # doctest: +SKIP
    >>> axes[0, 0].get_figure().savefig("shapelets.png")  # doctest: +SKIP
    """
    best = _not_empty(shapelets).filter(top=top)
    codes = np.unique(best.label_code)
    n_columns = int(np.bincount(best.label_code).max())
    figure = Figure(figsize=(8, 0.5 + 1.4 * len(codes)), layout="constrained")
    axes = figure.subplots(len(codes), n_columns, squeeze=False, sharex=True)
    for row, code in zip(axes, codes, strict=True):
        of_class = best[best.label_code == code]
        for ax, shapelet in zip(row, of_class, strict=False):
            _draw_shapelet(ax, shapelet, X)
        _name_row(row[0], f"class {best.classes[code]}", _colour(code))
        for column in range(len(of_class), n_columns):
            row[column].remove()
            row[column] = None
    for column in axes.T:
        lowest = next(ax for ax in column[::-1] if ax is not None)
        lowest.set_xlabel("time", fontsize=9)
        lowest.tick_params(labelbottom=True)
    return axes


def _name_row(ax: Axes, name: str, colour: str) -> None:
    # above the title, over the whole row: a name along the axis has no room if it is long
    style: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 9}
    ax.annotate(name, (0, 1), (0, 15), color=colour, fontweight="bold", **style)


def _draw_shapelet(ax: Axes, shapelet: ShapeletSet, X: Any) -> None:
    channel, start, end = int(shapelet.channel[0]), int(shapelet.start[0]), int(shapelet.end[0])
    colour, values = _colour(shapelet.label_code[0]), shapelet.values[0]
    if X is not None:
        series = _training_series(shapelet, X)[channel]
        values = values * shapelet.std[channel] + shapelet.mean[channel]
        ax.plot(series, color=_SERIES_COLOUR, linewidth=0.9)
        ax.axvspan(start, end - 1, color=colour, alpha=0.15, linewidth=0)
    ax.plot(range(start, end), values, color=colour, linewidth=2)
    kind = str(shapelet.score_kind[0])
    score = shapelet.gain[0] if kind == "gain" else shapelet.margin[0]
    ax.set_title(f"channel {channel}, {kind} {score:.2f}", fontsize=8.5, loc="left", pad=3)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(nbins=3))
    ax.tick_params(labelsize=8)
    plain(ax)


def _training_series(shapelet: ShapeletSet, X: Any) -> np.ndarray:
    case = int(shapelet.series[0])
    known = shapelet.fingerprint.series[case]
    if case >= len(X) or shapelet.contains_series(X[case : case + 1]).get(0) != known:
        raise ValueError(
            f"X must be the series that the shapelets were discovered in, in their order; case {case} is another"
        )
    return np.asarray(X[case])


def plot_shapelet_matches(shapelets: ShapeletSet, x: np.ndarray, *, top: int | None = 1) -> np.ndarray:
    """Draw one series and the shapelets where they fit it best, a panel for each channel that has shapelets.

    A shapelet is drawn as a solid line if its distance is below its threshold, which speaks for its class, else as a
    thin dotted one. The legend says how many of each class are near; of more classes than there are colours, it lists
    those with any near.

    Parameters
    ----------
    shapelets : ShapeletSet
    x : array (channel, time)
        The series, in the units of the training series; NaN where missing.
    top : int or None, default=1
        Shapelets of each class, the best. None: all.

    Returns
    -------
    ndarray of Axes (channel,)
        Of a new figure, which is ``axes[0].get_figure()``.

    Raises
    ------
    ValueError
        If the set is empty, or the series has other channels.

    Examples
    --------
    >>> from tsmodels.plots import plot_shapelet_matches
    >>> axes = plot_shapelet_matches(shapelets, X_test[0])  # doctest: +SKIP
    """
    best = _not_empty(shapelets).filter(top=top)
    if np.ndim(x) != 2:
        raise ValueError(f"x must be one series (channel, time), got {np.ndim(x)} dimensions")
    x = np.asarray(x)
    distance, start = best.distances([x])[0], best.matches([x])[0]
    near = distance < best.threshold  # never where the threshold is NaN
    few = len(np.unique(best.label_code)) <= len(COLOURS)
    channels = np.unique(best.channel)
    figure = Figure(figsize=(8, 0.8 + 1.5 * len(channels)), layout="constrained")
    axes = figure.subplots(len(channels), 1, sharex=True, squeeze=False).ravel()
    for ax, channel in zip(axes, channels, strict=True):
        ax.plot(x[channel], color=_SERIES_COLOUR, linewidth=1)
        for i in np.flatnonzero((best.channel == channel) & (start >= 0)):
            values = best.values[i] * best.std[channel] + best.mean[channel]
            style = {"linewidth": 2.2} if near[i] else _FAR_STYLE
            colour = _colour(best.label_code[i]) if near[i] or few else _SERIES_COLOUR
            ax.plot(start[i] + np.arange(len(values)), values, color=colour, **style)
        ax.set_ylabel(f"channel {channel}")
        ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
        plain(ax)
    axes[-1].set_xlabel("time")
    handles = [
        Line2D([], [], color=_colour(code), linewidth=2.2, label=_near_label(best, near, code))
        for code in np.unique(best.label_code if few else best.label_code[near])
    ]
    if not few:
        handles.append(Line2D([], [], color=_SERIES_COLOUR, **_FAR_STYLE, label=f"{(~near).sum()} far"))
    figure.legend(handles=handles, loc="outside upper left", ncols=_columns(handles), frameon=False, fontsize=9)
    return axes


def _near_label(best: ShapeletSet, near: np.ndarray, code: int) -> str:
    of_class = best.label_code == code
    return f"class {best.classes[code]}: {near[of_class].sum()} of {of_class.sum()} near"


def plot_shapelet_distances(shapelets: ShapeletSet, X: Any, y: Sequence[Any]) -> np.ndarray:
    """Draw how far the best shapelet of each class is from series of every class, a panel for each class.

    A line marks the threshold: series at its left are taken to have the shapelet. Of more than ten classes, all but the
    shapelet's own share a strip.

    Parameters
    ----------
    shapelets : ShapeletSet
    X : array (case, channel, time) or list of arrays (channel, time)
        Series, of the training set or new ones.
    y : sequence (case,)
        Their labels.

    Returns
    -------
    ndarray of Axes (class,)
        Of a new figure, which is ``axes[0].get_figure()``.

    Raises
    ------
    ValueError
        If the set is empty, `X` and `y` differ in length, or a label is none of the classes.

    Examples
    --------
    >>> from tsmodels.plots import plot_shapelet_distances
    >>> axes = plot_shapelet_distances(shapelets, X_test, y_test)  # doctest: +SKIP
    """
    best = _not_empty(shapelets).best()
    codes = _codes_of(best, X, y)
    distances = best.distances(X)
    n_strips = len(_strips(best.classes, codes, 0))
    n_columns = min(len(best), _MOST_COLUMNS)
    n_rows = math.ceil(len(best) / n_columns)
    figure = Figure(figsize=(8, 0.4 + n_rows * (0.8 + 0.24 * n_strips)), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax in axes[len(best) :]:
        ax.remove()
    for i, (ax, shapelet, distance) in enumerate(zip(axes, best, distances.T, strict=False)):
        strips = _strips(best.classes, codes, int(best.label_code[i]))
        _draw_strips(ax, distance, [cases for _, cases in strips], _colour(best.label_code[i]))
        _mark_threshold(ax, shapelet.threshold[0])
        ax.set_yticks(range(len(strips)), [name for name, _ in strips], fontsize=8)
        ax.set_title(
            f"class {best.label[i]}: channel {best.channel[i]}, {best.start[i]} to {best.end[i] - 1}",
            fontsize=9,
            loc="left",
        )
        if i + n_columns >= len(best):
            ax.set_xlabel("distance", fontsize=9)
    return axes[: len(best)]


def _strips(classes: np.ndarray, codes: np.ndarray, own: int) -> list[tuple[str, np.ndarray]]:
    """Return names and masks of the groups of series that are told apart: a class, then the other ones."""
    others = [int(code) for code in np.unique(codes) if code != own]
    if len(others) < _MOST_STRIPS:
        return [(str(classes[code]), codes == code) for code in (own, *others)]
    return [(str(classes[own]), codes == own), (f"{len(others)} others", codes != own)]


def _mark_threshold(ax: Axes, threshold: float) -> None:
    if np.isfinite(threshold):  # there may be none, or no distance beyond it
        ax.axvline(threshold, color="0.2", linewidth=1, linestyle="--")
        right = ax.get_xlim()[1]
        if right > _WIDE_RANGE * threshold > 0:  # or all that is near would lie on the line
            ax.set_xscale("symlog", linthresh=threshold, linscale=1.5)
            ax.set_xlim(-0.05 * threshold, right * 1.3)


def _draw_strips(ax: Axes, distance: np.ndarray, groups: list[np.ndarray], own_colour: str) -> None:
    finite = np.isfinite(distance)
    right = distance[finite].max(initial=0.0) * 1.05 or 1.0
    rng = np.random.default_rng(0)  # the same picture every time
    for y, group in enumerate(groups):
        colour = _OTHERS_COLOUR if y else own_colour
        for chosen, x, marker in (
            (group & finite, distance, "o"),
            (group & ~finite, np.full_like(distance, right), ">"),  # fits nowhere
        ):
            heights = y + rng.uniform(-0.22, 0.22, chosen.sum())
            ax.scatter(x[chosen], heights, s=14, color=colour, alpha=0.7, linewidth=0, marker=marker)
    ax.set_ylim(len(groups) - 0.5, -0.5)
    ax.set_xlim(-0.03 * right, right * 1.03)
    ax.tick_params(labelsize=8)
    ax.tick_params(axis="y", length=0)
    plain(ax, grid="x")


def plot_shapelet_positions(shapelets: ShapeletSet, ax: Axes | None = None) -> Axes:
    """Draw the places of all shapelets: a band for each channel, a bar from start to end, the colour of its class.

    The darker a bar, the higher its rank in the class.

    Parameters
    ----------
    shapelets : ShapeletSet
    ax : Axes, optional
        Drawn into; by default those of a new figure of fitting size, which is ``ax.get_figure()``.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the set is empty.

    Examples
    --------
    >>> from tsmodels.plots import plot_shapelet_positions
    >>> ax = plot_shapelet_positions(shapelets)  # doctest: +SKIP
    """
    _not_empty(shapelets)
    channels = np.unique(shapelets.channel)
    if ax is None:
        ax = Figure(figsize=(8, 1.2 + 0.62 * len(channels)), layout="constrained").subplots()
    rank, size = _ranks(shapelets.label_code)
    for y, channel in enumerate(channels):
        rows = np.flatnonzero(shapelets.channel == channel)
        lanes = _lanes(shapelets.start[rows], shapelets.end[rows])
        height = _LANE / (lanes.max() + 1)
        if y % 2 == 0:
            ax.axhspan(y - 0.5, y + 0.5, color="0.96", zorder=0)
        for i, lane in zip(rows, lanes, strict=True):
            code = int(shapelets.label_code[i])
            bar = Rectangle(
                (shapelets.start[i] - 0.5, y - _LANE / 2 + lane * height),
                shapelets.length[i],
                0.85 * height,
                facecolor=_colour(code),
                hatch=_hatch(code),
                edgecolor="white",
                linewidth=0.8,
                alpha=1 - 0.7 * rank[i] / size[i],
            )
            ax.add_patch(bar)
    ax.set_ylim(len(channels) - 0.5, -0.5)
    ax.set_xlim(-0.5, max(shapelets.n_timepoints, int(shapelets.end.max())) - 0.5)
    ax.set_yticks(range(len(channels)), [f"channel {channel}" for channel in channels])
    ax.set_xlabel("time")
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    plain(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    handles = [
        Patch(facecolor=_colour(code), hatch=_hatch(code), edgecolor="white", label=str(shapelets.classes[code]))
        for code in np.unique(shapelets.label_code)
    ]
    legend_above(ax, handles)
    return ax


def _ranks(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank of each shapelet in its class, from 0, and the size of that class."""
    rank = np.array([np.count_nonzero(codes[:i] == code) for i, code in enumerate(codes)])
    return rank, np.bincount(codes)[codes]


def _lanes(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return a lane for each interval, such that those in one lane do not overlap."""
    lanes, ends = np.zeros(len(start), dtype=int), []
    for i in np.lexsort((end, start)):
        lane = next((lane for lane, last in enumerate(ends) if last <= start[i]), len(ends))
        ends[lane : lane + 1] = [end[i]]
        lanes[i] = lane
    return lanes


def plot_null(shapelets: ShapeletSet, ax: Axes | None = None) -> Axes:
    """Draw the best gain of each class beside what permuted labels gain.

    Where the two mix, the shapelets of the class may be arbitrary. At the right stands the share of permutations, the
    given labels counted as one of them, that reach the best gain.

    Parameters
    ----------
    shapelets : ShapeletSet
        Discovered with ``null_permutations`` above 0.
    ax : Axes, optional
        Drawn into; by default those of a new figure of fitting size, which is ``ax.get_figure()``.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If the set has no null distribution.

    Examples
    --------
    >>> from tsmodels.plots import plot_null
    >>> shapelets = discover_shapelets(X, y, null_permutations=100)  # doctest: +SKIP
    >>> ax = plot_null(shapelets)  # doctest: +SKIP
    """
    if shapelets.null is None:
        raise ValueError("shapelets has no null distribution: discover them with null_permutations above 0")
    null, observed = shapelets.null["gain"], shapelets.null["observed"]
    codes = np.flatnonzero(np.isfinite(observed))
    if ax is None:
        ax = Figure(figsize=(8, 1.2 + 0.42 * max(len(codes), 1)), layout="constrained").subplots()
    rng = np.random.default_rng(0)
    for y, code in enumerate(codes):
        heights = y + rng.uniform(-0.2, 0.2, len(null))
        ax.scatter(null[:, code], heights, s=12, color=_OTHERS_COLOUR, alpha=0.6, linewidth=0)
        ax.scatter([observed[code]], [y], s=60, color=COLOURS[1], marker="D", zorder=3)
        share = (1 + (null[:, code] >= observed[code]).sum()) / (1 + len(null))
        ax.text(1.015, y, f"{share:.3f}", transform=ax.get_yaxis_transform(), va="center", fontsize=8.5, color="0.25")
    ax.set_yticks(range(len(codes)), [str(shapelets.classes[code]) for code in codes])
    ax.set_ylim(len(codes) - 0.5, -0.5)
    ax.set_xlim(left=0)
    ax.set_xlabel("best information gain (bit)")
    plain(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    handles = [
        ax.scatter([], [], s=60, color=COLOURS[1], marker="D", label="given labels"),
        ax.scatter([], [], s=12, color=_OTHERS_COLOUR, label=f"permuted labels ({len(null)})"),
    ]
    legend_above(ax, handles)
    return ax


def _not_empty(shapelets: ShapeletSet) -> ShapeletSet:
    if len(shapelets) == 0:
        raise ValueError("shapelets is an empty set: there is nothing to draw")
    return shapelets


def _codes_of(shapelets: ShapeletSet, X: Any, y: Sequence[Any]) -> np.ndarray:
    labels = np.asarray(y, dtype=object).tolist()
    if len(labels) != len(X):
        raise ValueError(f"X has {len(X)} cases, but y has {len(labels)} labels: pass one label per case")
    code_of = {label: code for code, label in enumerate(shapelets.classes.tolist())}
    if unknown := [label for label in labels if label not in code_of]:
        raise ValueError(f"y has the label {unknown[0]!r}, but the shapelets are of {shapelets.classes.tolist()}")
    return np.array([code_of[label] for label in labels])


def _colour(code: int) -> str:
    return COLOURS[int(code) % len(COLOURS)]


def _hatch(code: int) -> str:
    return _HATCHES[int(code) // len(COLOURS) % len(_HATCHES)]


def _columns(handles: Sequence[Any]) -> int:
    longest = max(len(str(handle.get_label())) + 5 for handle in handles)
    return max(1, min(len(handles), 100 // longest))
