"""Pictures of a benchmark's main measure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tsmodels.benchmark._schemas import BACKTEST, CHAOS, CLASSIFICATION, LONG_HORIZON, RECONSTRUCTION, Schema, schema_of
from tsmodels.benchmark.results import summarise
from tsmodels.plots._styles import legend_above, plain, styles_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["plot_accuracy", "plot_errors"]

_ROW_INCHES = 0.27
_GAP_ROWS = 0.9
_TALLEST_INCHES = 400  # Agg draws at most 2**16 dots, at 150 to the inch
_WIDE_RANGE = 30  # values that differ by a larger factor are drawn on a logarithmic axis
_MEANINGS = {
    "accuracy": "accuracy on the test cases",
    "balanced_accuracy": "balanced accuracy on the test cases",
    "mase": "MASE, mean over cutoffs and channels (below 1: better than the seasonal naive forecast was before)",
    "smape": "sMAPE (percent)",
    "rmse": "RMSE in the units of the series",
    "coverage_90": "share of values inside the 90 % intervals",
    "mse": "MSE of the standardised data over all test windows",
    "mae": "MAE of the standardised data over all test windows",
    "d_stsp": "divergence of state-space occupation, D_stsp",
    "d_h": "Hellinger distance of power spectra, D_H",
    "pe_20": "mean squared error of 20 free steps, standardised data",
    "lyapunov_max": "largest Lyapunov exponent per unit of time",
    "valid_time": "valid prediction time in Lyapunov times",
}


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
    return _plot_measure(results, "accuracy", ax)


def plot_errors(results: pd.DataFrame, measure: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the errors of each forecaster on each data set, in the way of :func:`plot_accuracy`.

    Parameters
    ----------
    results : DataFrame
        A row per cell, as from :func:`tsmodels.benchmark.load_results`. Failed cells are left out.
    measure : str, optional
        "mase", "smape", "rmse" or "coverage_90" of a backtest (by default the first), "mse" or "mae" of long-horizon
        forecasts, "d_stsp", "d_h", "pe_20" or "lyapunov_max" of reconstructed dynamics, "smape" or "valid_time" of
        forecasts of chaotic systems (likewise).
    ax : Axes, optional
        Drawn into; by default those of a new figure of fitting size, which is ``ax.get_figure()``.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If `results` holds no finished cell, or no such measure.

    Examples
    --------
    >>> from tsmodels.benchmark import load_results
    >>> from tsmodels.plots import plot_errors
    >>> ax = plot_errors(load_results("tsmodels-forecasting"), "smape")  # doctest: +SKIP
    """
    schema = schema_of(results.columns)
    if schema is CLASSIFICATION:
        raise ValueError("results hold no forecasts: draw them with plot_accuracy.")
    if measure is not None and measure not in schema.spreads:
        raise ValueError(f"measure must be one of {', '.join(map(repr, schema.spreads))}, got {measure!r}.")
    return _plot_measure(results, measure or schema.measures[0], ax)


def _plot_measure(results: pd.DataFrame, measure: str, ax: Axes | None) -> Axes:
    schema = schema_of(results.columns)
    finished = results.query("status == 'finished'").dropna(subset=[measure])
    if finished.empty:
        raise ValueError("results hold no finished cell: there is nothing to draw.")
    summary = summarise(finished)
    styles = styles_of(list(summary["label"].unique()))
    bands = [rows for _, rows in summary.groupby(schema.bands, sort=False)]
    n_rows = len(summary) + _GAP_ROWS * len(bands)
    if ax is None:
        height = min(1.5 + _ROW_INCHES * n_rows, _TALLEST_INCHES)
        ax = Figure(figsize=(8, height), layout="constrained").subplots()

    top, ticks = 0.0, {}
    cells = finished.groupby(schema.groups)[measure]
    for position, rows in enumerate(bands):
        ticks[top + (len(rows) - 1) / 2] = _band_label(rows.iloc[0], schema)
        if position % 2 == 0:
            ax.axhspan(top - 0.5 - _GAP_ROWS / 2, top + len(rows) - 0.5 + _GAP_ROWS / 2, color="0.96", zorder=0)
        for offset, row in enumerate(rows.to_dict("records")):
            values = np.asarray(cells.get_group(tuple(row[key] for key in schema.groups)))
            written = _written(row[measure], row[f"{measure}{schema.spread}"], schema)
            _draw_row(ax, top + offset, values, row[measure], written, styles[row["label"]])
        top += len(rows) + _GAP_ROWS
    ax.set_yticks(list(ticks), list(ticks.values()))
    ax.set_ylim(n_rows - 0.5 - _GAP_ROWS / 2, -0.5 - _GAP_ROWS / 2)  # the first data set on top
    _scale_values(ax, measure, np.asarray(finished[measure]))
    _finish(ax, styles, measure, schema)
    return ax


def _band_label(row: Any, schema: Schema) -> str:
    if schema is BACKTEST:
        return f"{row['dataset']}\n{row['n_cutoffs']} x {row['horizon']} steps"
    if schema is LONG_HORIZON:
        return f"{row['dataset']}\n{row['lookback']} to {row['horizon']}"
    if schema in (RECONSTRUCTION, CHAOS):
        return row["dataset"]
    return f"{row['dataset']}\n{row['n_test']} test cases"


def _written(centre: float, spread: float, schema: Schema) -> str:
    form = ".3g" if schema is RECONSTRUCTION else ".3f"
    return f"{centre:{form}}" if np.isnan(spread) else f"{centre:{form}} ± {spread:{form}}"


def _draw_row(ax: Axes, y: float, values: np.ndarray, centre: float, written: str, style: dict[str, str]) -> None:
    if len(values) > 1:
        ax.plot([values.min(), values.max()], [y, y], color=style["color"], linewidth=1.5, zorder=2)
        ax.scatter(values, np.full(len(values), y), s=130, color=style["color"], marker="|", zorder=3)
    ax.scatter([centre], [y], s=38, color=style["color"], marker=style["marker"], zorder=4)
    ax.text(1.015, y, written, transform=ax.get_yaxis_transform(), va="center", fontsize=8.5, color="0.25")


def _scale_values(ax: Axes, measure: str, values: np.ndarray) -> None:
    lowest, highest = float(values.min()), float(values.max())
    if measure in ("accuracy", "balanced_accuracy"):
        lowest, highest = min(lowest, 0.95), 1.0  # no axis so short that differences of a case or two look large
    elif measure == "coverage_90":
        lowest, highest = min(lowest, 0.8), 1.0
        ax.axvline(0.9, color="0.5", linewidth=1, linestyle="--", zorder=1)
    elif lowest > 0 and highest > _WIDE_RANGE * lowest:
        ax.set_xscale("log")
        ax.set_xlim(lowest / 1.3, highest * 1.3)
        return
    else:
        lowest = 0.0 if lowest < 0.5 * highest else lowest
    margin = 0.04 * ((highest - lowest) or 1.0)
    ax.set_xlim(lowest - 2 * margin if lowest else 0.0, highest + margin)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10]))


def _finish(ax: Axes, styles: dict[str, dict[str, str]], measure: str, schema: Schema) -> None:
    centre = "median ± median absolute deviation" if schema.robust else "mean ± standard deviation"
    ax.set_xlabel(f"{_MEANINGS[measure]}\nticks: single seeds, marker and number: their {centre}")
    plain(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    handles = [
        ax.scatter([], [], s=38, color=style["color"], marker=style["marker"], label=label)
        for label, style in styles.items()
    ]
    legend_above(ax, handles)
