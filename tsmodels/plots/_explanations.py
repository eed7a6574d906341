"""Pictures of what a classifier looked at."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from tsmodels.plots._styles import COLOURS, legend_above, plain

__all__ = ["plot_explanation"]

_SERIES_COLOUR, _VALUE_COLOUR = "0.6", "0.35"
_COLUMNS = (
    *("case", "prediction", "token", "kind", "class", "channel", "attention"),
    *("start", "end", "distance", "threshold", "shapelet"),
)


def plot_explanation(
    X: Any,
    explanation: pd.DataFrame,
    *,
    case: int = 0,
    top: int = 6,
    order: str = "attention",
    channels: list[str] | None = None,
    classes: list[Any] | None = None,
) -> Figure:
    """Draw a case with the parts that a classifier found in it, and how much each of them counted.

    Shapelets are drawn over the series where they were found, in the colour of the class that they were found for;
    intervals that a value token summarises are shaded. The bars at the right, numbered like the shapelets, are the
    shares of attention, or the distances in units of the threshold below which a shapelet counts as present.

    Parameters
    ----------
    X : panel
        The cases that were explained: an array (case, channel, time), a sequence of arrays (channel, time), or a pandas
        container of sktime.
    explanation : pandas.DataFrame
        From ``classifier.explain(X)``.
    case : int, default=0
        Position of the case to draw.
    top : int, default=6
        How many tokens are drawn.
    order : {"attention", "match"}, default="attention"
        Which come first: those with the most attention, or the shapelets that match best, by distance over threshold;
        the latter for networks whose shapelets have thresholds. Shapelets with an infinite one, which are present
        wherever they fit, are left out then.
    channels : list of str, optional
        Names of the channels. Default "channel 0", ...
    classes : list, optional
        All class labels: each keeps its colour from picture to picture. Default: those in `explanation`.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for each channel in which something was found, and the bars.

    Raises
    ------
    ValueError
        If `explanation` lacks columns or rows of the case, `top` is below 1, `channels` has another number of names,
        `classes` lacks a label of `explanation`, or matches are asked for and no shapelet has a threshold.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.estimators import ShapeFormerClassifier
    >>> from tsmodels.plots import plot_explanation
    >>> X = np.random.default_rng(0).normal(size=(8, 2, 30))
    >>> y = np.repeat(["left", "right"], 4)
    >>> classifier = ShapeFormerClassifier(n_shapelets=2, max_epochs=1, random_state=0).fit(X, y)
    >>> figure = plot_explanation(X, classifier.explain(X), case=1)
    """
    rows = _rows_of(explanation, case, top, order)
    series = _series_of(X, case)
    if series.ndim != 2:
        raise ValueError(f"X[{case}] must be (channel, time), got shape {series.shape}.")
    names = [f"channel {i}" for i in range(len(series))] if channels is None else [str(name) for name in channels]
    if len(names) != len(series):
        raise ValueError(f"channels has {len(names)} names, the case has {len(series)} channels.")
    labels = sorted(set(explanation["class"].dropna())) if classes is None else list(classes)
    if unknown := set(rows["class"].dropna()) - set(labels):
        raise ValueError(f"classes lacks the label {min(unknown)!r} of explanation, got {labels}.")
    colour = {label: COLOURS[i % len(COLOURS)] for i, label in enumerate(labels)}

    found = rows.loc[rows["start"] >= 0, :]
    shown = sorted(set(found["channel"])) or [0]
    figure = Figure(figsize=(9.5, 0.9 + max(1.35 * len(shown), 0.36 * len(rows) + 0.6)), layout="constrained")
    grid = figure.add_gridspec(len(shown), 2, width_ratios=(3, 1))
    panels: list[Axes] = []
    for position, channel in enumerate(shown):
        ax = figure.add_subplot(grid[position, 0], sharex=panels[0] if panels else None)
        panels.append(ax)
        _draw_channel(ax, series[channel], found.loc[found["channel"] == channel, :], colour)
        ax.set_ylabel(names[channel])
        ax.tick_params(labelbottom=position == len(shown) - 1)
    panels[-1].set_xlabel("time")
    legend_above(panels[0], _legend(rows, colour))
    _draw_bars(figure.add_subplot(grid[:, 1]), rows, colour, order)
    figure.suptitle(f"case {case}: predicted {rows['prediction'].iloc[0]}")
    return figure


def _series_of(X: Any, case: int) -> np.ndarray:
    """Return a case (channel, time)."""
    if isinstance(X, pd.DataFrame):
        from sktime.datatypes import convert_to

        X = convert_to(X, "df-list", as_scitype="Panel")
    series = X[case]
    return np.asarray(series.T if isinstance(series, pd.DataFrame) else series, dtype=float)  # sktime: (time, channel)


def _rows_of(explanation: pd.DataFrame, case: int, top: int, order: str) -> pd.DataFrame:
    missing = [name for name in _COLUMNS if name not in explanation]
    if missing:
        raise ValueError(f"explanation lacks the column {missing[0]!r}: pass what classifier.explain(X) returned.")
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}.")
    rows = explanation.loc[explanation["case"] == case, :]
    if rows.empty:
        raise ValueError(f"explanation has no rows of case {case}.")
    if order == "attention":
        rows = rows.assign(bar=rows["attention"]).sort_values("bar", ascending=False, kind="stable")
    elif order == "match":
        ratio = (rows["distance"] / rows["threshold"]).where(np.isfinite(rows["threshold"]))
        rows = rows.assign(bar=ratio).loc[np.isfinite(ratio), :].sort_values("bar", kind="stable")
        if rows.empty:
            raise ValueError(f"no shapelet of case {case} has a threshold and a place: use order='attention'.")
    else:
        raise ValueError(f"order must be 'attention' or 'match', got {order!r}.")
    rows = rows.head(top)
    return rows.assign(number=np.arange(1, len(rows) + 1))


def _draw_channel(ax: Axes, series: np.ndarray, found: pd.DataFrame, colour: dict[Any, str]) -> None:
    ax.plot(series, color=_SERIES_COLOUR, linewidth=1.2)
    for record in reversed(found.to_dict("records")):  # what counted most on top
        steps = np.arange(record["start"], record["end"])
        if record["kind"] == "value":
            ax.axvspan(steps[0], steps[-1], color=_VALUE_COLOUR, alpha=0.12, linewidth=0)
            ax.annotate(str(record["number"]), (steps.mean(), 0.02), xycoords=("data", "axes fraction"), fontsize=8)
            continue
        label_colour = colour[record["class"]]
        ax.plot(steps, record["shapelet"], color=label_colour, linewidth=2.2)
        highest = int(np.argmax(record["shapelet"]))
        ax.annotate(
            str(record["number"]),
            (float(steps[highest]), float(record["shapelet"][highest])),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            fontweight="bold",
            color=label_colour,
        )
    ax.margins(x=0.01, y=0.18)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True))
    plain(ax)


def _draw_bars(ax: Axes, rows: pd.DataFrame, colour: dict[Any, str], order: str) -> None:
    positions = np.arange(len(rows))
    colours = [
        _VALUE_COLOUR if kind == "value" else colour[label]
        for kind, label in zip(rows["kind"], rows["class"], strict=True)
    ]
    ax.barh(positions, rows["bar"], color=colours, height=0.7)
    names = [
        f"{number}" + ("" if start >= 0 else " (does not fit)")
        for number, start in zip(rows["number"], rows["start"], strict=True)
    ]
    ax.set_yticks(positions, names)
    ax.invert_yaxis()
    ax.set_xlim(0, None)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=3))
    if order == "attention":
        ax.xaxis.set_major_formatter(PercentFormatter(1.0))
        ax.set_xlabel("attention")
    else:
        ax.axvline(1, color="0.3", linestyle="--", linewidth=1)
        ax.set_xlim(0, 1.05 * max(1.0, rows["bar"].max()))
        ax.set_xlabel("distance / threshold")
    plain(ax, grid="x")


def _legend(rows: pd.DataFrame, colour: dict[Any, str]) -> list[Any]:
    drawn = set(rows["class"].dropna())
    present = [label for label in colour if label in drawn]
    handles: list[Any] = [Line2D([], [], color=_SERIES_COLOUR, label="series")]
    handles += [Line2D([], [], color=colour[label], linewidth=2.2, label=f"shapelet of {label}") for label in present]
    if (rows["kind"] == "value").any():
        handles.append(Patch(color=_VALUE_COLOUR, alpha=0.12, linewidth=0, label="interval summarised"))
    return handles
