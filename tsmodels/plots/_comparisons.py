"""Pictures that compare methods over many data sets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator

from tsmodels.plots._critical_difference import plot_critical_difference
from tsmodels.plots._styles import COLOURS, plain, styles_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

__all__ = ["plot_accuracy_time", "plot_comparison_matrix", "plot_critical_difference", "plot_pairwise"]

_WIN, _DRAW, _LOSS = COLOURS[0], "0.55", COLOURS[1]
_DEAR = 30  # a name that lies on another costs as much as one on so many points
_N_NAMED = 3  # data sets named in a pair's scatter: those with the largest differences
_WIDE_RANGE = 30  # values that differ by a larger factor are drawn on logarithmic axes
_MATRIX_COLOURS = LinearSegmentedColormap.from_list("difference", ["#f3b189", "#f7f4ef", "#9ccbe8"])
_CELL_INK = "#14181f"  # on those colours, whatever the colour of the page
_DIGITS = 12
_MINUS = "\N{MINUS SIGN}"
_LONGEST_UPRIGHT = 11  # characters of a name over a column of the matrix


def plot_pairwise(
    table: pd.DataFrame,
    first: str,
    second: str,
    *,
    measure: str = "accuracy",
    lower_is_better: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw two methods against each other, a point for each data set, and count wins, draws and losses of the first.

    Parameters
    ----------
    table : DataFrame
        A row per data set, a column per method. Data sets that one of the two has no value for are left out.
    first, second : str
        Columns of `table`: the first upwards, the second to the right; above the diagonal the first has the higher
        value.
    measure : str, default="accuracy"
        What the values are.
    lower_is_better : bool, default=False
        Whether the values are errors.
    ax : Axes, optional
        Drawn into; by default those of a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If a method is not in `table`, or the two have no data set in common.
    """
    for name, method in (("first", first), ("second", second)):
        if method not in table.columns:
            raise ValueError(f"{name} must be one of {', '.join(map(str, table.columns))}, got {method!r}.")
    both = table[[first, second]].dropna()
    if both.empty:
        raise ValueError(f"{first} and {second} have no data set in common: there is nothing to draw.")
    ax = ax or Figure(figsize=(4.3, 4.6), layout="constrained").subplots()
    y, x = np.asarray(both[first], dtype=float), np.asarray(both[second], dtype=float)
    differences = np.round(y - x, _DIGITS) * (-1 if lower_is_better else 1)
    low, high = _draw_square(ax, np.concatenate([x, y]))
    outcomes = ((differences > 0, _WIN, "o"), (differences == 0, _DRAW, "s"), (differences < 0, _LOSS, "D"))
    for chosen, colour, marker in outcomes:
        ax.scatter(x[chosen], y[chosen], s=30, color=colour, marker=marker, alpha=0.85, linewidths=0, zorder=3)
    wins, draws, losses = (int(chosen.sum()) for chosen, _, _ in outcomes)
    _title(ax, f"{wins} wins / {draws} draws / {losses} losses")
    _axis_label(ax, "x", f"{second}, {measure}")
    _axis_label(ax, "y", f"{first}, {measure}")
    largest = [i for i in np.argsort(-np.abs(differences), kind="stable")[:_N_NAMED] if differences[i]]
    points, names = np.column_stack([x, y]), [str(both.index[i]) for i in largest]
    diagonal = np.repeat(np.geomspace(low, high, 60) if low > 0 else np.linspace(low, high, 60), 2).reshape(-1, 2)
    _name_points(ax, np.concatenate([points, diagonal]), points[largest], names, fontsize=7.5, everywhere=False)
    ax.set(xlim=(low, high), ylim=(low, high))
    return ax


def _draw_square(ax: Axes, values: np.ndarray) -> tuple[float, float]:
    """Set equal axes and the diagonal; return their limits."""
    low, high = float(values.min()), float(values.max())
    if low > 0 and high > _WIDE_RANGE * low:
        ax.set(xscale="log", yscale="log")
        low, high = low / 1.3, high * 1.3
    else:
        margin = 0.06 * ((high - low) or 1.0)
        low, high = low - margin, high + margin
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    ax.plot([low, high], [low, high], color="0.55", linewidth=1, zorder=1)
    ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    plain(ax)
    return low, high


def _title(ax: Axes, text: str) -> None:
    ax.set_title(text, fontsize=9.5, loc="left", wrap=False).set_parse_math(False)


def _axis_label(ax: Axes, axis: str, text: str) -> None:
    label = ax.set_xlabel(text) if axis == "x" else ax.set_ylabel(text)
    label.set_parse_math(False)  # names may hold dollar signs


def plot_accuracy_time(
    scores: pd.Series,
    seconds: pd.Series,
    *,
    measure: str = "mean accuracy",
    lower_is_better: bool = False,
    highlight: Collection[str] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw what each method reaches against the time that its training takes.

    A line joins the methods that none other beats in both (the Pareto front).

    Parameters
    ----------
    scores : Series
        By method.
    seconds : Series
        By method, above zero; methods without a score or a time are left out.
    measure : str, default="mean accuracy"
        What the scores are.
    lower_is_better : bool, default=False
        Whether the scores are errors.
    highlight : collection of str, default=()
        Methods to be named in bold.
    ax : Axes, optional
        Drawn into; by default those of a new figure.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If no method has both.
    """
    times, reached = seconds.to_dict(), scores.to_dict()
    methods = [method for method in reached if np.isfinite(reached[method]) and times.get(method, 0.0) > 0]
    if not methods:
        raise ValueError("scores and seconds have no method in common: there is nothing to draw.")
    ax = ax or Figure(figsize=(7, 4.4), layout="constrained").subplots()
    points = np.array([(times[method], reached[method]) for method in methods], dtype=float)
    ax.set_xscale("log")
    front = _front(points, lower_is_better)
    ax.plot(*points[front].T, color="0.7", linewidth=1.2, linestyle="--", zorder=1, label="_front")
    styles = styles_of([str(method) for method in methods])
    for method, point in zip(methods, points, strict=True):
        ax.scatter(*point, s=55, zorder=3, edgecolors="white", linewidths=0.8, **styles[str(method)])
    _widen(ax, points)
    plain(ax)
    _axis_label(ax, "x", "mean seconds to fit a data set (logarithmic)")
    _axis_label(ax, "y", measure)
    texts = _name_points(ax, points, points, [str(method) for method in methods], fontsize=9)
    for method, text in zip(methods, texts, strict=True):
        text.set_fontweight("bold" if method in highlight else "normal")
    return ax


def _front(points: np.ndarray, lower_is_better: bool) -> list[int]:
    """Return the points that none other beats in both, the fastest first."""
    quality = -points[:, 1] if lower_is_better else points[:, 1]
    order = sorted(range(len(points)), key=lambda i: (points[i, 0], -quality[i]))
    front: list[int] = []
    for i in order:
        if not front or quality[i] > quality[front[-1]]:
            front.append(i)
    return front


def _widen(ax: Axes, points: np.ndarray) -> None:
    """Leave room around the points for their names."""
    exponents = np.log10(points[:, 0])
    spread = max(float(np.ptp(exponents)), 1.0)
    ax.set_xlim(10 ** (exponents.min() - 0.15 * spread), 10 ** (exponents.max() + 0.25 * spread))
    spread = float(np.ptp(points[:, 1])) or 0.1 * abs(points[0, 1]) or 1.0
    ax.set_ylim(points[:, 1].min() - 0.15 * spread, points[:, 1].max() + 0.15 * spread)


def _name_points(
    ax: Axes,
    obstacles: np.ndarray,
    named: np.ndarray,
    names: Sequence[str],
    *,
    fontsize: float,
    everywhere: bool = True,
) -> list[Text]:
    """Write names beside points, where they touch no other name, few obstacles, and stay inside the axes.

    Where nothing near is free, a name stands farther off, joined to its point by a line, or (not `everywhere`) is left
    out.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()  # the layout decides how far apart points are
    pixels, inside = ax.transData.transform(obstacles), ax.get_window_extent()
    places = _NEAR_PLACES + _FAR_PLACES if everywhere else _NEAR_PLACES
    taken: list[Bbox] = []
    texts = []
    for name, point in zip(names, named, strict=True):
        text = ax.annotate(name, point, xytext=(0, 0), textcoords="offset points", fontsize=fontsize, zorder=5)
        text.set_parse_math(False)
        costs = []
        for place in places:
            _move(text, place)
            box = text.get_window_extent()
            outside = not (inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1))
            overlaps = sum(box.overlaps(other) for other in taken)
            costs.append(box.padded(2).count_contains(pixels) + _DEAR * (overlaps + 2 * outside))
        best = int(np.argmin(costs))
        if not everywhere and costs[best] >= _DEAR:
            text.remove()
            continue
        _move(text, places[best])
        if best >= len(_NEAR_PLACES):
            line = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3}
            ax.annotate("", point, xytext=text.get_position(), textcoords="offset points", arrowprops=line)
        taken.append(text.get_window_extent())
        texts.append(text)
    return texts


_Place = tuple[tuple[float, str], tuple[float, str]]


def _move(text: Text, place: _Place) -> None:
    (dx, horizontal), (dy, vertical) = place
    text.set(position=(dx, dy), horizontalalignment=horizontal, verticalalignment=vertical)


_NEAR_PLACES: list[_Place] = [
    ((8, "left"), (0, "center")),
    ((-8, "right"), (0, "center")),
    ((0, "center"), (8, "bottom")),
    ((0, "center"), (-8, "top")),
    *product(((6, "left"), (-6, "right")), ((6, "bottom"), (-6, "top"))),
]
_FAR_PLACES: list[_Place] = [
    *product(((0, "center"), (14, "left"), (-14, "right")), ((18, "bottom"), (-18, "top"))),
    *product(((0, "center"), (14, "left"), (-14, "right")), ((30, "bottom"), (-30, "top"))),
    *product(((0, "center"), (20, "left"), (-20, "right")), ((44, "bottom"), (-44, "top"))),
]


def plot_comparison_matrix(
    table: pd.DataFrame,
    *,
    measure: str = "accuracy",
    lower_is_better: bool = False,
    alpha: float = 0.05,
    ax: Axes | None = None,
) -> Axes:
    """Draw every method against every other: mean difference, wins, draws and losses, and p-value.

    Unlike those of a critical-difference diagram, the numbers of a pair do not depend on which other methods are
    compared: the tests (two-sided Wilcoxon, Pratt) are not corrected. Those below `alpha` are written in bold.

    Parameters
    ----------
    table : DataFrame
        A row per data set, a column per method, no gaps.
    measure : str, default="accuracy"
        What the values are.
    lower_is_better : bool, default=False
        Whether the values are errors. Blue is better for the method of the row either way.
    alpha : float, default=0.05
    ax : Axes, optional
        Drawn into; by default those of a new figure of fitting size.

    Returns
    -------
    Axes

    References
    ----------
    Ismail-Fawaz et al., An approach to multiple comparison benchmark evaluations that is stable under manipulation of
    the comparate set, 2023, arXiv 2305.11921.
    """
    from tsmodels.benchmark.statistics import average_ranks, compare

    methods = list(average_ranks(table, lower_is_better=lower_is_better).index)
    pairs = compare(table, "holm", alpha, lower_is_better=lower_is_better)
    k = len(methods)
    longest = max(len(str(method)) for method in methods)
    if ax is None:
        size = (1.0 + 0.075 * longest + 0.92 * k, 1.35 + 0.72 * k + (0.4 if k < 8 else 0.0))
        ax = Figure(figsize=size, layout="constrained").subplots()
    position = {method: i for i, method in enumerate(methods)}
    differences = np.zeros((k, k))
    for row in pairs.to_dict("records"):
        i, j = position[row["first"]], position[row["second"]]
        differences[i, j], differences[j, i] = row["mean_difference"], -row["mean_difference"]
        _write_cell(ax, j, i, row["mean_difference"], (row["wins"], row["draws"], row["losses"]), row["p_value"], alpha)
        _write_cell(
            ax, i, j, -row["mean_difference"], (row["losses"], row["draws"], row["wins"]), row["p_value"], alpha
        )
    advantage = -differences if lower_is_better else differences
    limit = float(np.abs(differences).max()) or 1.0
    ax.pcolormesh(
        np.arange(k + 1) - 0.5,
        np.arange(k + 1) - 0.5,
        np.ma.masked_array(advantage, np.eye(k, dtype=bool)),
        cmap=_MATRIX_COLOURS,
        norm=TwoSlopeNorm(0, -limit, limit),
        edgecolors="white",
        linewidth=2,
    )
    means = table.mean()
    labels = [f"{method}\n{means[method]:.3f}" for method in methods]
    ax.xaxis.tick_top()
    ax.set_xticks(range(k), labels, fontsize=9)
    ax.set_yticks(range(k), labels, fontsize=9)
    for label in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        label.set_parse_math(False)
    if longest > _LONGEST_UPRIGHT:
        for label in ax.get_xticklabels():
            label.set(rotation=30, ha="left")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_ylim(k - 0.5, -0.5)
    legend = (
        f"Row minus column: mean difference of {measure}; wins / draws / losses of the row; p of the two-sided "
        f"Wilcoxon test, not corrected, bold if at most {alpha:g}. Blue: the row is better. Under names: means."
    )
    label = ax.set_xlabel("\n".join(wrap(legend, max(40, 13 * k))), fontsize=8.5, color="0.35", loc="left")
    label.set_parse_math(False)
    return ax


def _write_cell(
    ax: Axes, x: int, y: int, difference: float, outcomes: tuple[int, int, int], p_value: float, alpha: float
) -> None:
    p = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    weight = "bold" if p_value <= alpha else "normal"
    written = f"{difference:+.3f}" if abs(difference) < 10 else f"{difference:+.3g}"
    text = f"{written.replace('-', _MINUS)}\n{' / '.join(map(str, outcomes))}\n{p}"
    ax.text(x, y, text, ha="center", va="center", fontsize=8.5, fontweight=weight, color=_CELL_INK, linespacing=1.35)
