"""Pictures of reconstructed dynamics: attractors, traces, spectra, training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tsmodels.plots._styles import COLOURS, legend_above, plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_attractor", "plot_spectra", "plot_traces", "plot_training"]

_TRUE_COLOUR, _GENERATED_COLOUR, _OTHERS_COLOUR = COLOURS[0], COLOURS[1], "0.7"
_MOST_POINTS = 20_000  # of an attractor; more cannot be told apart
_MOST_SYMBOLS = 6  # with a colour of their own
_MOST_CHANNELS = 8
_LEAST_SHARE = 1e-9  # of the power of a channel; below is rounding


def plot_attractor(
    true: Any,
    generated: Any = None,
    *,
    channels: Sequence[int] | None = None,
    codes: Any = None,
    points: bool = False,
) -> np.ndarray:
    """Draw the orbit of a system, and beside it, on the same scales, that of a network.

    Parameters
    ----------
    true : array (time, channel)
        The observed series.
    generated : array (time, channel), optional
        A free run.
    channels : sequence of 2 or 3 int, optional
        What is drawn, in a plane or in space; by default the first three, or both of two.
    codes : array of int (time,), optional
        Symbols of the run that is drawn last, as from :func:`tsmodels.dynamics.symbols`, which colour its points: the
        six most frequent, and all others grey.
    points : bool, default=False
        Whether points are drawn instead of lines: for maps, whose orbits jump.

    Returns
    -------
    ndarray of Axes (1,) or (2,)
        Of a new figure, which is ``axes[0].get_figure()``.

    Raises
    ------
    ValueError
        If the series have different channels or only one, or `codes` another length.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.plots import plot_attractor
    >>> x = np.random.default_rng(0).normal(size=(100, 3)).cumsum(0)
    >>> plot_attractor(x, x + 1).shape
    (2,)
    """
    orbits = _series(true=true, generated=generated)
    chosen = _channels(channels, orbits["true"].shape[1])
    if len(chosen) not in (2, 3):
        raise ValueError(
            f"channels must be 2 or 3, got {len(chosen)}: of a single channel draw delays, "
            "np.concatenate([x[:-lag], x[lag:]], axis=1)."
        )
    last = list(orbits)[-1]
    if codes is not None and np.shape(codes) != (len(orbits[last]),):
        raise ValueError(f"codes must have shape ({len(orbits[last])},), that of the run; got {np.shape(codes)}.")
    width = 4.2 * len(orbits) + (codes is not None)  # and an inch for the legend
    figure = Figure(figsize=(width, 3.9), layout="constrained")
    axes = figure.subplots(1, len(orbits), squeeze=False, subplot_kw=_projection(len(chosen)))[0]
    limits = _limits(orbits["true"][:, chosen])
    for ax, (name, orbit) in zip(axes, orbits.items(), strict=True):
        shown = orbit[:_MOST_POINTS, chosen]
        colour = _TRUE_COLOUR if name == "true" else _GENERATED_COLOUR
        if codes is not None and name == last:
            _draw_symbols(ax, shown, np.asarray(codes)[:_MOST_POINTS])
        elif points:
            ax.plot(*shown.T, ".", color=colour, markersize=1.5, markeredgewidth=0)
        else:
            ax.plot(*shown.T, color=colour, linewidth=0.4)
        for axis, channel, (low, high) in zip("xyz", chosen, limits, strict=False):
            ax.set(**{f"{axis}label": f"channel {channel}", f"{axis}lim": (low, high)})
            getattr(ax, f"{axis}axis").set_major_locator(MaxNLocator(nbins=4))
        ax.set_title(name, loc="left", fontsize=10)
        if len(chosen) == 2:
            plain(ax)
        else:
            ax.tick_params(pad=-1, labelsize=8)
            ax.set_box_aspect(None, zoom=0.9)  # labels of axes in space are no part of the layout
    return axes


def _projection(n_axes: int) -> dict[str, str]:
    return {"projection": "3d"} if n_axes == 3 else {}


def _draw_symbols(ax: Any, points: np.ndarray, codes: np.ndarray) -> None:
    """Points by the colour of their symbol, the rare ones below the others."""
    names, counts = np.unique(codes, return_counts=True)
    frequent = names[np.argsort(-counts, kind="stable")][:_MOST_SYMBOLS]
    style: dict[str, Any] = {"markersize": 1.8, "markeredgewidth": 0, "linestyle": "none", "marker": "."}
    rare = ~np.isin(codes, frequent)
    handles = []
    for code, colour in zip(frequent, COLOURS, strict=False):
        ax.plot(*points[codes == code].T, color=colour, **style)
        handles.append(Line2D([], [], color=colour, marker="o", markersize=5, linestyle="none", label=str(code)))
    if rare.any():
        ax.plot(*points[rare].T, color=_OTHERS_COLOUR, zorder=1, **style)
        label = f"{len(names) - len(frequent)} others"
        handles.append(Line2D([], [], color=_OTHERS_COLOUR, marker="o", markersize=5, linestyle="none", label=label))
    ax.get_figure().legend(handles=handles, title="symbol", loc="outside right upper", frameon=False, handletextpad=0.1)


def _limits(orbit: np.ndarray) -> list[tuple[float, float]]:
    """Range of each column and a tenth of it on both sides: a run that leaves it is not to shrink the rest."""
    low, high = orbit.min(0), orbit.max(0)
    margin = np.where(high > low, 0.1 * (high - low), 0.5)
    return list(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))


def plot_traces(
    true: Any,
    generated: Any = None,
    *,
    dt: float = 1.0,
    n_points: int = 1000,
    channels: Sequence[int] | None = None,
) -> np.ndarray:
    """Draw the beginning of a series and of a free run over time, a panel for each channel.

    Parameters
    ----------
    true : array (time, channel)
        The observed series.
    generated : array (time, channel), optional
        A free run, drawn from the same time on.
    dt : float, default=1.0
        Time of a step.
    n_points : int, default=1000
        Points that are shown.
    channels : sequence of int, optional
        What is drawn; by default the first eight.

    Returns
    -------
    ndarray of Axes (channel,)
        Of a new figure, which is ``axes[0].get_figure()``.

    Raises
    ------
    ValueError
        If the series have different channels, or there is no such channel.
    """
    orbits = _series(true=true, generated=generated)
    chosen = _channels(channels, orbits["true"].shape[1], most=_MOST_CHANNELS)
    panels = _stacked(len(chosen))
    for ax, channel in zip(panels, chosen, strict=True):
        for name, orbit in orbits.items():
            shown = orbit[:n_points, channel]
            ax.plot(dt * np.arange(len(shown)), shown, label=name, **_line(name))
        ax.set_ylabel(f"channel {channel}")
        ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
        ax.margins(x=0)
        plain(ax)
    panels[-1].set_xlabel("time" if dt != 1 else "step")
    legend_above(panels[0], panels[0].get_lines())
    return panels


def plot_spectra(
    true: Any,
    generated: Any = None,
    *,
    dt: float = 1.0,
    smoothing: float = 20.0,
    channels: Sequence[int] | None = None,
) -> np.ndarray:
    """Draw the smoothed power spectra of a series and of a free run, a panel for each channel.

    Parameters
    ----------
    true : array (time, channel)
        The observed series.
    generated : array (time, channel), optional
        A free run.
    dt : float, default=1.0
        Time of a step; frequencies are cycles per unit of time.
    smoothing : float, default=20.0
        As in :func:`tsmodels.dynamics.power_spectrum`.
    channels : sequence of int, optional
        What is drawn; by default the first eight.

    Returns
    -------
    ndarray of Axes (channel,)
        Of a new figure, which is ``axes[0].get_figure()``.

    Raises
    ------
    ValueError
        If the series have different channels, or there is no such channel.
    """
    from tsmodels.dynamics import power_spectrum  # brings torch, which no other picture needs

    orbits = _series(true=true, generated=generated)
    chosen = _channels(channels, orbits["true"].shape[1], most=_MOST_CHANNELS)
    panels = _stacked(len(chosen))
    for name, orbit in orbits.items():
        spectra = power_spectrum(orbit[:, chosen], smoothing=smoothing)
        frequencies = np.arange(len(spectra)) / (len(orbit) * dt)
        for ax, spectrum in zip(panels, spectra.T, strict=True):
            # from frequency 0, which a logarithmic axis does not have, on; density, so that lengths compare
            density = np.maximum(spectrum[1:], _LEAST_SHARE) * len(orbit) * dt
            ax.loglog(frequencies[1:], density, label=name, **_line(name))
    for ax, channel in zip(panels, chosen, strict=True):
        ax.set_ylabel(f"channel {channel}")
        ax.margins(x=0)
        plain(ax)
    panels[-1].set_xlabel("frequency (cycles per unit of time)" if dt != 1 else "frequency (cycles per step)")
    panels[-1].get_figure().supylabel("share of power per frequency", fontsize="medium")
    legend_above(panels[0], panels[0].get_lines())
    return panels


def plot_training(
    history: pd.DataFrame, references: Mapping[str, float] | None = None, *, epoch: str = "epoch"
) -> np.ndarray:
    """Draw what was logged in training over epochs, a panel for each quantity.

    Parameters
    ----------
    history : DataFrame
        A row per log, as in the file of Lightning's ``CSVLogger``: a column `epoch` and columns ``train/loss``,
        ``train/alpha``, ``val/d_stsp``, ``val/d_h``, ``val/pe_20``, ``val/lyapunov_max``, or others of numbers below
        ``train/`` and ``val/``. Gaps are left out. Epochs whose ``val/divergent`` is not 0 are marked in the panels of
        ``val/``.
    references : mapping of str to float, optional
        Values by column that a line is drawn at: floors, the true exponent.
    epoch : str, default="epoch"
        Name of the column of epochs.

    Returns
    -------
    ndarray of Axes (quantity,)
        Of a new figure, which is ``axes[0].get_figure()``.

    Raises
    ------
    ValueError
        If `history` has no such columns, or `references` names another one.
    """
    logged = [name for name in history if str(name).startswith(("train/", "val/")) and name != "val/divergent"]
    logged = [str(name) for name in logged if np.isfinite(np.asarray(history[name], dtype=float)).any()]
    if epoch not in history or not logged:
        raise ValueError(f"history must have a column {epoch!r} and columns train/... or val/... with values.")
    references = dict(references or {})
    if unknown := [name for name in references if name not in logged]:
        raise ValueError(f"references has {unknown[0]!r}; history has values of {', '.join(logged)}.")
    divergent = history[history["val/divergent"] > 0][epoch] if "val/divergent" in history else history[epoch][:0]
    panels = _stacked(len(logged), height=1.3)
    for ax, name in zip(panels, logged, strict=True):
        rows = history[[epoch, name]].dropna()
        values = np.asarray(rows[name], dtype=float)
        colour = COLOURS[0] if name.startswith("train/") else COLOURS[1]
        ax.plot(rows[epoch], values, color=colour, linewidth=1.4, marker="o" if len(rows) < 40 else "", markersize=3)
        positive = values[values > 0]
        if len(positive) == len(values) and positive.max() > 20 * positive.min():
            ax.set_yscale("log")
        else:
            ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
        if name in references:
            ax.axhline(references[name], color="0.3", linestyle="--", linewidth=1)
        if name.startswith("val/") and len(divergent):
            height = np.full(len(divergent), 0.9)  # of the axes
            ax.plot(divergent, height, "x", color="k", markersize=5, transform=ax.get_xaxis_transform())
        ax.set_title(name, loc="left", fontsize=9, pad=3)
        plain(ax)
    if len(divergent):
        mark = Line2D([], [], color="k", marker="x", markersize=5, linestyle="none", label="divergent")
        panels[0].get_figure().legend(handles=[mark], loc="outside upper right", frameon=False, handletextpad=0.1)
    panels[-1].set_xlabel("epoch")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return panels


def _line(name: str) -> dict[str, Any]:
    if name == "true":
        return {"color": _TRUE_COLOUR, "linewidth": 1.4}
    return {"color": _GENERATED_COLOUR, "linewidth": 1.2, "linestyle": "--"}


def _stacked(n_panels: int, height: float = 1.5) -> np.ndarray:
    figure = Figure(figsize=(8, 0.8 + height * n_panels), layout="constrained")
    return figure.subplots(n_panels, 1, sharex=True, squeeze=False).ravel()


def _series(**arrays: Any) -> dict[str, np.ndarray]:
    """Series that are given, by name, all with the channels of the first."""
    found: dict[str, np.ndarray] = {}
    for name, values in arrays.items():
        if values is None:
            continue
        series = np.asarray(values, dtype=float)
        if series.ndim != 2 or len(series) < 2:
            raise ValueError(f"{name} must have shape (time, channel) with at least 2 times, got {series.shape}.")
        n_channels = next(iter(found.values()), series).shape[1]
        if series.shape[1] != n_channels:
            raise ValueError(f"{name} has {series.shape[1]} channels, {next(iter(found))} has {n_channels}.")
        found[name] = series
    return found


def _channels(channels: Sequence[int] | None, n_channels: int, most: int = 3) -> list[int]:
    if channels is None:
        return list(range(min(n_channels, most)))
    chosen = list(channels)
    if not chosen or any(not 0 <= channel < n_channels for channel in chosen):
        raise ValueError(f"channels must be between 0 and {n_channels - 1}, at least one; got {chosen}.")
    return chosen
