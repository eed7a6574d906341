"""Pictures of piecewise-linear maps: transitions between regions, cycles, bifurcations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import MaxNLocator

from tsmodels.plots._styles import COLOURS, legend_above, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tsmodels.dynamics import Bifurcation, Cycle, TransitionGraph

__all__ = ["plot_bifurcation", "plot_cycles", "plot_symbol_graph"]

_WIDEST_NODE = 38.0  # diameter in points
_CIRCLE = 780.0  # circumference, in points, of that on which regions stand
_BOLDEST_EDGE = 4.0


def plot_symbol_graph(graph: TransitionGraph, *, most: int = 24, ax: Axes | None = None) -> Axes:
    """Draw which regions follow one another.

    Regions stand on a circle, in the order in which an orbit most often goes through them. The area of a region is the
    share of time spent there, the width of an arrow the share of the transitions between regions that take it.

    Parameters
    ----------
    graph : TransitionGraph
        As from :func:`tsmodels.dynamics.transition_graph`.
    most : int, default=24
        Regions that are shown, the most frequent ones.
    ax : Axes, optional
        Drawn into; by default those of a new figure, which is ``ax.get_figure()``.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If `most` is less than 1.

    Examples
    --------
    >>> from tsmodels.dynamics import transition_graph
    >>> from tsmodels.plots import plot_symbol_graph
    >>> ax = plot_symbol_graph(transition_graph([0, 0, 1, 1, 3, 0, 0, 1]))
    >>> sorted(text.get_text() for text in ax.texts)
    ['0', '1', '3']
    """
    if most < 1:
        raise ValueError(f"most must be at least 1, got {most}.")
    weights = graph.matrix()
    visits = weights.sum(0) + weights.sum(1)
    shown = np.sort(np.argsort(-visits, kind="stable")[:most])
    weights, visits, names = weights[np.ix_(shown, shown)], visits[shown], graph.nodes[shown]
    between = weights * ~np.eye(len(weights), dtype=bool)
    order = _route(between, int(visits.argmax()))
    places = np.empty((len(names), 2))
    angles = np.pi / 2 - 2 * np.pi * np.arange(len(names)) / len(names)
    places[order] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if ax is None:
        ax = Figure(figsize=(5.4, 5.4), layout="constrained").subplots()
    widest = min(_WIDEST_NODE, 0.8 * _CIRCLE / len(names))
    areas = np.pi / 4 * widest**2 * np.maximum(visits / visits.max(), 0.2)
    strongest = between.max() or 1.0
    for source, target in np.argwhere(between > 0).tolist():
        share = float(between[source, target] / strongest)
        ax.add_patch(
            FancyArrowPatch(
                tuple(places[source]),
                tuple(places[target]),
                connectionstyle="arc3,rad=0.12",
                arrowstyle="-|>",
                mutation_scale=8 + 4 * share,
                shrinkA=np.sqrt(areas[source] / np.pi),
                shrinkB=np.sqrt(areas[target] / np.pi) + 1,
                linewidth=0.5 + (_BOLDEST_EDGE - 0.5) * share,
                color=COLOURS[0],
                alpha=0.35 + 0.6 * share,
            )
        )
    ax.scatter(*places.T, s=areas, color="white", edgecolor="0.2", linewidth=1.2, zorder=3)
    for name, (x, y) in zip(names, places, strict=True):
        ax.text(x, y, str(name), ha="center", va="center", fontsize=8 if widest > 30 else 6.5, zorder=4)
    hidden = len(graph.nodes) - len(names)
    if hidden:
        ax.set_title(f"{len(names)} of {len(graph.nodes)} regions", loc="left", fontsize=10)
    ax.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), aspect="equal")
    ax.axis("off")
    return ax


def _route(between: np.ndarray, start: int) -> list[int]:
    """An order of all nodes, each the one that follows the last most often among those left."""
    order, left = [start], [node for node in range(len(between)) if node != start]
    while left:
        following = max(left, key=lambda node: (between[order[-1], node], between[node, order[-1]], -node))
        order.append(following)
        left.remove(following)
    return order


def plot_cycles(
    states: Any,
    cycles: Sequence[Cycle],
    *,
    units: tuple[int, int] = (0, 1),
    ax: Axes | None = None,
) -> Axes:
    """Draw fixed points and cycles over an attractor.

    Colours tell orders apart. Full markers are stable, open ones are not; crosses are virtual.

    Parameters
    ----------
    states : array (time, latent_dim)
        Latent states, as from ``network.states``.
    cycles : sequence of Cycle
        As from :func:`tsmodels.dynamics.fixed_points` and :func:`tsmodels.dynamics.find_cycles`, of any orders.
    units : (int, int), default=(0, 1)
        Latent units that are drawn.
    ax : Axes, optional
        Drawn into; by default those of a new figure, which is ``ax.get_figure()``.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If states and cycles have different dimensions, or there are no such units.
    """
    states = np.asarray(states, dtype=float)
    if states.ndim != 2 or not all(0 <= unit < states.shape[1] for unit in units) or len(units) != 2:
        raise ValueError(f"states must have shape (time, latent_dim) with the units {units}, got {states.shape}.")
    if any(cycle.points.shape[1] != states.shape[1] for cycle in cycles):
        raise ValueError(f"cycles must be of {states.shape[1]} latent units, as the states are.")
    if ax is None:
        ax = Figure(figsize=(6.4, 5), layout="constrained").subplots()
    columns = list(units)
    ax.plot(*states[:, columns].T, ".", color="0.75", markersize=1.5, markeredgewidth=0, zorder=1)
    orders = sorted({cycle.order for cycle in cycles})
    handles = []
    for order, colour in zip(orders, COLOURS * len(orders), strict=False):
        members = [cycle for cycle in cycles if cycle.order == order]
        for cycle in members:
            closed = np.concatenate([cycle.points, cycle.points[:1]])[:, columns]
            ax.plot(*closed.T, zorder=3, **_cycle_style(cycle, colour))
        label = _named(order, len(members))
        handles.append(Line2D([], [], color=colour, marker="o", markersize=5, linestyle="none", label=label))
    if handles:
        legend_above(ax, handles)
    ax.set(xlabel=f"unit {units[0]}", ylabel=f"unit {units[1]}")
    plain(ax)
    return ax


def _named(order: int, n: int) -> str:
    if order == 1:
        return f"{n} fixed point{'s' * (n > 1)}"
    return f"{n} cycle{'s' * (n > 1)} of order {order}"


def _cycle_style(cycle: Cycle, colour: str) -> dict[str, Any]:
    style = {"color": colour, "markeredgecolor": colour, "linewidth": 0.5, "markersize": 7 if cycle.order == 1 else 4.5}
    if cycle.is_virtual:
        return style | {"marker": "x"}
    return style | {"marker": "o", "markerfacecolor": colour if cycle.is_stable else "white"}


def plot_bifurcation(diagram: Bifurcation, *, unit: int = 0) -> np.ndarray:
    """Draw a latent unit on the attractor over the parameter, and below it the exponents where there are some.

    Parameters
    ----------
    diagram : Bifurcation
        As from :func:`tsmodels.dynamics.bifurcation`.
    unit : int, default=0
        Latent unit that is drawn.

    Returns
    -------
    ndarray of Axes (1,) or (2,)
        Of a new figure, which is ``axes[0].get_figure()``.

    Raises
    ------
    ValueError
        If there is no such unit.
    """
    n_units = diagram.states.shape[2]
    if not 0 <= unit < n_units:
        raise ValueError(f"unit must be between 0 and {n_units - 1}, got {unit}.")
    heights = [3, 1] if diagram.exponents is not None else [3]
    figure = Figure(figsize=(8, 1 + 1.2 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights).ravel()
    values = np.repeat(diagram.values, diagram.states.shape[1])
    axes[0].plot(values, diagram.states[..., unit].ravel(), ",", color=COLOURS[0], alpha=0.5)
    axes[0].set_ylabel(f"unit {unit}")
    if diagram.exponents is not None:
        axes[1].axhline(0, color="0.3", linewidth=0.8)
        axes[1].plot(diagram.values, diagram.exponents, color=COLOURS[1], linewidth=1.2)
        axes[1].set_ylabel("largest\nexponent")
    name, *index = diagram.parameter
    axes[-1].set_xlabel(f"{name}[{', '.join(map(str, index))}]")
    for ax in axes:
        ax.yaxis.set_major_locator(MaxNLocator(nbins=5))
        plain(ax)
    return axes
