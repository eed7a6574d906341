"""Pictures of errors by step of the horizon."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tsmodels.plots._styles import plain, styles_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_horizon_errors"]

_MEANINGS = {
    "mse": "MSE, standardised data",
    "mae": "MAE, standardised data",
    "mase": "scaled absolute error (MASE)",
    "smape": "sMAPE (percent)",
}
_KEYS = ("dataset", "lookback", "horizon", "n_cutoffs")
_MOST_COLUMNS = 2
_MARKED_STEPS = 24


def plot_horizon_errors(errors: pd.DataFrame, measure: str | None = None) -> np.ndarray:
    """Draw how the errors of forecasts grow with the step of the horizon, a panel for each data set and horizon.

    The line of a model is its mean over seeds; the band around it reaches from the lowest to the highest seed.

    Parameters
    ----------
    errors : DataFrame
        A row per model, seed and step, as from :func:`tsmodels.benchmark.load_horizon_errors`: columns ``model``,
        ``step``, at least one measure, and, where there are such, ``dataset``, ``lookback``, ``horizon``,
        ``configuration`` and ``seed``.
    measure : {"mse", "mae", "mase", "smape"}, optional
        By default the first that `errors` has.

    Returns
    -------
    ndarray of Axes (panel,)
        Of a new figure, which is ``axes[0].get_figure()``.

    Raises
    ------
    ValueError
        If `errors` is empty, or has no such measure.

    Examples
    --------
    >>> from tsmodels.benchmark import load_horizon_errors
    >>> from tsmodels.plots import plot_horizon_errors
    >>> axes = plot_horizon_errors(load_horizon_errors("tsmodels-long-horizon"), "mae")  # doctest: +SKIP
    >>> axes[0].get_figure().savefig("errors.png")  # doctest: +SKIP
    """
    present = [name for name in _MEANINGS if name in errors]
    if errors.empty or not present or not {"model", "step"} <= set(errors.columns):
        raise ValueError(f"errors must have rows, columns model and step, and one of {', '.join(_MEANINGS)}.")
    if measure is not None and measure not in present:
        raise ValueError(f"measure must be one of {', '.join(map(repr, present))}, got {measure!r}.")
    measure = measure or present[0]
    errors = _labelled(errors)
    styles = styles_of(list(errors["label"].unique()))
    keys = [key for key in _KEYS if key in errors]
    panels: list[Any] = list(errors.groupby(keys, sort=False)) if keys else [((), errors)]
    n_columns = min(len(panels), _MOST_COLUMNS)
    n_rows = math.ceil(len(panels) / n_columns)
    figure = Figure(figsize=(8, 0.6 + 3.2 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax in grid[len(panels) :]:
        ax.remove()
    for ax, (key, rows) in zip(grid, panels, strict=False):
        for label, cells in rows.groupby("label", sort=False):
            steps = cells.groupby("step")[measure]
            x = steps.mean().index.to_numpy()
            marker = styles[str(label)]["marker"] if len(x) <= _MARKED_STEPS else None
            colour = styles[str(label)]["color"]
            ax.plot(x, steps.mean().to_numpy(), color=colour, marker=marker, markersize=4, label=label, linewidth=1.6)
            if len(cells) > len(x):
                low, high = steps.min().to_numpy(), steps.max().to_numpy()
                ax.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
        ax.set_title(_title(dict(zip(keys, key, strict=True))), loc="left", fontsize=10)
        ax.set_xlabel("steps ahead")
        ax.set_ylabel(_MEANINGS[measure])
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        ax.set_ylim(bottom=0)
        plain(ax)
    lines = {line.get_label(): line for ax in grid[: len(panels)] for line in ax.get_lines()}
    handles = [lines[label] for label in styles]
    figure.legend(handles=handles, loc="outside upper left", ncols=min(len(handles), 5), frameon=False)
    return grid[: len(panels)]


def _labelled(errors: pd.DataFrame) -> pd.DataFrame:
    """Tell configurations of a model apart where there are several."""
    if "configuration" not in errors:
        return errors.assign(label=errors["model"])
    keys = [key for key in _KEYS if key in errors]
    counts = errors.groupby([*keys, "model"])["configuration"].transform("nunique").to_numpy()
    names = list(errors.loc[counts > 1, "model"].unique())
    label = errors["model"].where(~errors["model"].isin(names), errors["model"] + " [" + errors["configuration"] + "]")
    return errors.assign(label=label)


def _title(facts: dict[str, object]) -> str:
    if "lookback" in facts:
        return f"{facts.get('dataset', '')}, {facts['lookback']} to {facts.get('horizon', '')}"
    return str(facts.get("dataset", ""))
