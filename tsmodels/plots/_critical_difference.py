"""The critical-difference diagram."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from tsmodels.plots._styles import COLOURS

if TYPE_CHECKING:
    from tsmodels.benchmark.statistics import CriticalDifference

__all__ = ["plot_critical_difference"]

# all lengths in inches
_FONT = 10.0
_SCALE_WIDTH = 4.6
_TOP = 0.62
_NEMENYI_TOP = 0.36
_BAR_START = 0.22
_BAR_STEP = 0.17
_LABEL_STEP = 0.27
_LABEL_GAP = 0.14
_CAPTION_LINE = 0.19
_MARGIN = 0.1
_CAPTION_FONT = 8.5
_CAPTION_CHARACTERS = 14.5  # to an inch of caption
_LONGEST_NAME = 56
_RANK_WIDTH = 0.48
_RANK_GAPS = 0.25


def plot_critical_difference(
    comparison: CriticalDifference, *, highlight: Collection[str] = (), ax: Axes | None = None
) -> Axes:
    """Draw average ranks on a line, best at the left, and bars over the methods that do not differ significantly.

    A dot on a bar marks each of its methods: where groups are no neighbours in rank, a bar may pass a method that does
    not belong to it, which then has no dot. Test, correction and alpha stand under the diagram.

    Parameters
    ----------
    comparison : CriticalDifference
        As from :func:`tsmodels.benchmark.statistics.critical_difference`.
    highlight : collection of str, default=()
        Methods to stand out in colour.
    ax : Axes, optional
        Drawn into; by default those of a new figure of fitting size, which is ``ax.get_figure()``.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import pandas as pd
    >>> from tsmodels.benchmark.statistics import critical_difference
    >>> from tsmodels.plots._comparisons import plot_critical_difference
    >>> table = pd.DataFrame({"A": [0.9, 0.8, 0.7], "B": [0.7, 0.6, 0.6], "C": [0.8, 0.7, 0.5]})
    >>> ax = plot_critical_difference(critical_difference(table))
    """
    from textwrap import wrap

    ranks: dict[str, float] = comparison.ranks.to_dict()  # best first
    names = [_shortened(str(name)) for name in ranks]
    n_left = math.ceil(len(names) / 2)
    rows = _packed([(ranks[group[0]], ranks[group[-1]]) for group in comparison.cliques])
    widths = [_label_width(name, method in highlight) for name, method in zip(names, ranks, strict=True)]
    margins = [_MARGIN + max(side) for side in (widths[:n_left], widths[n_left:])]
    width = _width(ax) or sum(margins) + _SCALE_WIDTH
    characters = max(30, int(_CAPTION_CHARACTERS * (width - 2 * _MARGIN)))
    caption = wrap(comparison.description, characters, break_on_hyphens=False)
    top = _TOP + (_NEMENYI_TOP if comparison.critical_distance else 0)
    bars_end = _BAR_START + _BAR_STEP * (max(rows, default=-1) + 1)
    labels_end = bars_end + _LABEL_GAP + _LABEL_STEP * n_left
    height = top + labels_end + _CAPTION_LINE * (len(caption) + 0.5)
    if ax is None:
        ax = Figure(figsize=(width, height)).add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(labels_end + _CAPTION_LINE * (len(caption) + 0.5), -top))
    ax.set_axis_off()

    low = math.floor(min(ranks.values()))
    high = max(math.ceil(max(ranks.values())), low + 1)
    scale = _Scale(low, high, margins[0], width - margins[1])
    _draw_scale(ax, scale)
    if comparison.critical_distance:
        _draw_distance(ax, scale, comparison.critical_distance)
    for i, (name, method) in enumerate(zip(names, ranks, strict=True)):
        depth = i if i < n_left else len(names) - 1 - i
        y = bars_end + _LABEL_GAP + _LABEL_STEP * depth
        colour = COLOURS[0] if method in highlight else "black"
        _draw_label(ax, scale, ranks[method], y, name, colour, left=i < n_left)
    for row, group in zip(rows, comparison.cliques, strict=True):
        _draw_bar(ax, [scale(ranks[method]) for method in group], _BAR_START + _BAR_STEP * row)
    for i, line in enumerate(caption):
        y = labels_end + _CAPTION_LINE * i
        ax.text(_MARGIN, y, line, fontsize=_CAPTION_FONT, color="0.35", va="center")
    return ax


class _Scale:
    """Where a rank lies."""

    def __init__(self, low: int, high: int, left: float, right: float):
        self.low, self.high, self.left, self.right = low, high, left, right

    def __call__(self, rank: float) -> float:
        return self.left + (rank - self.low) / (self.high - self.low) * (self.right - self.left)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME // 2]}…{name[-_LONGEST_NAME // 2 + 1 :]}"


def _label_width(name: str, bold: bool) -> float:
    """Return the inches that a name takes up, with its rank and the gaps around them."""
    weight = FontProperties(weight="bold" if bold else "normal")
    # a dollar sign is one, no formula; a blank has no path
    path = TextPath((0, 0), f"{name}.".replace("$", r"\$"), size=_FONT, prop=weight)
    return path.get_extents().width / 72 + _RANK_WIDTH + _RANK_GAPS


def _width(ax: Axes | None) -> float | None:
    if ax is None:
        return None
    figure = ax.get_figure(root=True)
    assert figure is not None
    return ax.get_position().width * figure.get_size_inches()[0]


def _packed(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Return a row for each bar, so that bars of one row do not touch."""
    ends: list[float] = []
    rows = []
    for start, end in spans:
        row = next((i for i, taken in enumerate(ends) if start > taken + 0.15), len(ends))
        ends[row:] = [end] if row == len(ends) else [end, *ends[row + 1 :]]
        rows.append(row)
    return rows


def _draw_scale(ax: Axes, scale: _Scale) -> None:
    ax.plot([scale.left, scale.right], [0, 0], color="black", linewidth=1.2, solid_capstyle="projecting")
    for rank in range(scale.low, scale.high + 1):
        x = scale(rank)
        ax.plot([x, x], [0, -0.09], color="black", linewidth=1.2)
        ax.text(x, -0.15, str(rank), fontsize=_FONT - 1, ha="center", va="bottom")
        if rank < scale.high:
            middle = scale(rank + 0.5)
            ax.plot([middle, middle], [0, -0.05], color="black", linewidth=0.8)
    for align, share, words in (("left", 0.0, "better"), ("center", 0.5, "average rank"), ("right", 1.0, "worse")):
        x = scale.left + share * (scale.right - scale.left)
        ax.text(x, -0.4, words, fontsize=_CAPTION_FONT, color="0.35", ha=align, va="bottom")


def _draw_distance(ax: Axes, scale: _Scale, distance: float) -> None:
    y, start, end = -_TOP - 0.1, scale.left, scale(scale.low + distance)
    ax.plot([start, end], [y, y], color="0.35", linewidth=1.2)
    for x in (start, end):
        ax.plot([x, x], [y - 0.05, y + 0.05], color="0.35", linewidth=1.2)
    ax.text(end + 0.08, y, f"critical difference {distance:.2f}", fontsize=_CAPTION_FONT, color="0.35", va="center")


def _draw_label(ax: Axes, scale: _Scale, rank: float, y: float, name: str, colour: str, *, left: bool) -> None:
    edge = scale.left - 0.12 if left else scale.right + 0.12
    ax.plot([scale(rank), scale(rank), edge], [0, y, y], color=colour, linewidth=0.9, alpha=0.75, zorder=1)
    side = -0.06 if left else 0.06
    align = "right" if left else "left"
    number = ax.text(edge + side, y, f"{rank:.2f}", fontsize=_FONT - 1, color="0.35", ha=align, va="center")
    number.set_label("_rank")
    x = edge + side + (-_RANK_WIDTH if left else _RANK_WIDTH)
    label = ax.text(x, y, name, fontsize=_FONT, color=colour, ha=align, va="center")
    if colour != "black":
        label.set_fontweight("bold")
    label.set_parse_math(False)
    label.set_label("_method")


def _draw_bar(ax: Axes, xs: Sequence[float], y: float) -> None:
    overhang = 0.05
    ax.plot(
        [min(xs) - overhang, max(xs) + overhang],
        [y, y],
        color=COLOURS[1],
        linewidth=3.2,
        solid_capstyle="round",
        zorder=3,
        label="_clique",
    )
    ax.scatter(xs, [y] * len(xs), s=16, color=COLOURS[1], edgecolors="white", linewidths=0.7, zorder=4)
