"""Pictures of results. They are drawn with Matplotlib's objects: no window, no global state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tsmodels.benchmark.results import summarise

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["plot_accuracy"]

# Okabe and Ito's palette, told apart by all readers, without the yellow that vanishes on white
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # another number than of colours: 56 pairs before one recurs
_ROW_INCHES = 0.27
_GAP_ROWS = 0.9
_TALLEST_INCHES = 400  # Agg draws at most 2**16 dots, at 150 to the inch
_LEGEND_CHARACTERS = 75  # in a line above the axes of a new figure, markers taken as 5


def plot_accuracy(results: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the test accuracy of each model on each data set.

    Every data set is a band with a row for each model: ticks are single seeds, a line spans them, the marker is their
    mean, which is written out at the right.

    Parameters
    ----------
    results : DataFrame
        A row per cell, as from :func:`tsmodels.benchmark.load_results`. Failed cells are left out.
    ax : Axes, optional
        Drawn into; by default those of a new figure of fitting size, which is ``ax.get_figure()``.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If `results` holds no finished cell.

    Examples
    --------
    >>> from tsmodels.benchmark import load_results
    >>> from tsmodels.plots import plot_accuracy
    >>> ax = plot_accuracy(load_results("tsmodels-results"))  # doctest: +SKIP
    >>> ax.get_figure().savefig("accuracy.png")  # doctest: +SKIP
    """
    finished = results.query("status == 'finished'")
    if finished.empty:
        raise ValueError("results hold no finished cell: there is nothing to draw.")
    summary = summarise(finished)
    styles = {
        label: {"color": _COLOURS[i % len(_COLOURS)], "marker": _MARKERS[i % len(_MARKERS)]}
        for i, label in enumerate(summary["label"].unique())
    }
    bands = dict(iter(summary.groupby("dataset", sort=False)))
    n_rows = len(summary) + _GAP_ROWS * len(bands)
    if ax is None:
        height = min(1.5 + _ROW_INCHES * n_rows, _TALLEST_INCHES)
        ax = Figure(figsize=(8, height), layout="constrained").subplots()

    top, ticks = 0.0, {}
    keys = ["dataset", "model", "configuration"]
    cells = finished.groupby(keys)["accuracy"]
    for position, (dataset, rows) in enumerate(bands.items()):
        ticks[top + (len(rows) - 1) / 2] = f"{dataset}\n{rows['n_test'].iloc[0]} test cases"
        if position % 2 == 0:
            ax.axhspan(top - 0.5 - _GAP_ROWS / 2, top + len(rows) - 0.5 + _GAP_ROWS / 2, color="0.96", zorder=0)
        for offset, row in enumerate(rows.to_dict("records")):
            accuracies = np.asarray(cells.get_group(tuple(row[key] for key in keys)))
            _draw_row(ax, top + offset, accuracies, row["accuracy_std"], styles[row["label"]])
        top += len(rows) + _GAP_ROWS
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.set_ylim(n_rows - 0.5 - _GAP_ROWS / 2, -0.5 - _GAP_ROWS / 2)  # the first data set on top
    _finish(ax, styles, float(np.min(finished["accuracy"])))
    return ax


def _draw_row(ax: Axes, y: float, accuracies: np.ndarray, spread: float, style: dict[str, str]) -> None:
    mean = accuracies.mean()
    if len(accuracies) > 1:
        ax.plot([accuracies.min(), accuracies.max()], [y, y], color=style["color"], linewidth=1.5, zorder=2)
        ax.scatter(accuracies, np.full(len(accuracies), y), s=130, color=style["color"], marker="|", zorder=3)
    ax.scatter([mean], [y], s=38, color=style["color"], marker=style["marker"], zorder=4)
    written = f"{mean:.3f}" if np.isnan(spread) else f"{mean:.3f} ± {spread:.3f}"
    ax.text(1.015, y, written, transform=ax.get_yaxis_transform(), va="center", fontsize=8.5, color="0.25")


def _finish(ax: Axes, styles: dict[str, dict[str, str]], lowest: float) -> None:
    lowest = min(lowest, 0.95)  # no axis so short that differences of a case or two look large
    margin = 0.04 * (1 - lowest)
    ax.set_xlim(lowest - 2 * margin, 1 + margin)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))
    ax.set_xlabel("accuracy on the test cases\nticks: single seeds, marker and number: their mean ± standard deviation")
    ax.grid(axis="x", color="0.85", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    handles = [
        ax.scatter([], [], s=38, color=style["color"], marker=style["marker"], label=label)
        for label, style in styles.items()
    ]
    longest = max(map(len, styles))
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=max(1, min(len(handles), _LEGEND_CHARACTERS // (longest + 5))),
        frameon=False,
        borderaxespad=0.2,
        handletextpad=0.3,
    )
