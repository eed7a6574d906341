"""What the pictures have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from matplotlib.axes import Axes

__all__ = ["COLOURS", "MARKERS", "legend_above", "plain", "styles_of"]

# Okabe and Ito's palette, told apart by all readers, without the yellow that vanishes on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # another number than of colours: 56 pairs before one recurs
_LEGEND_CHARACTERS = 75  # in a line above the axes of a new figure, markers taken as 5


def styles_of(labels: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return a colour and a marker for each label."""
    return {
        label: {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
        for i, label in enumerate(labels)
    }


def legend_above(ax: Axes, handles: Sequence[Any]) -> None:
    """Put a legend over the axes, where no data are."""
    lengths = [len(str(handle.get_label())) + 5 for handle in handles]
    n_columns = len(handles) if sum(lengths) <= _LEGEND_CHARACTERS else _LEGEND_CHARACTERS // max(lengths)
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=max(1, min(len(handles), n_columns)),
        frameon=False,
        borderaxespad=0.2,
        handletextpad=0.3,
    )


def plain(ax: Axes, *, grid: Literal["both", "x", "y"] = "both") -> None:
    """Take away what says nothing and add a faint grid behind the data."""
    ax.grid(axis=grid, color="0.85", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
