"""Pictures of frames: truth, forecast and error side by side, films, errors by step of the horizon."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from tsmodels.plots._styles import plain, styles_of

__all__ = ["plot_frame_metrics", "plot_frames", "save_gif"]

_ERROR_COLOURS = "RdBu_r"
_MASKED = "0.8"
_MOST_STEPS = 24  # with a marker each
_CELL = 1.15  # inches, the longer side of a frame
_GAP = 2  # cells between films side by side
_MEANINGS = {
    "mse": "MSE",
    "mae": "MAE",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "mse_original": "MSE, units of the data",
    "mae_original": "MAE, units of the data",
}


def plot_frames(
    truth: Any,
    forecast: Any = None,
    *,
    mask: Any = None,
    n_columns: int = 8,
    first_step: int = 1,
    channel: int = 0,
    value_range: tuple[float, float] | None = None,
    colours: str = "gray",
) -> np.ndarray:
    """Draw frames of one sequence in a row, and below them those of forecasts and how they differ.

    Parameters
    ----------
    truth : array (time, height, width) or (time, channel, height, width)
        What happened.
    forecast : array like `truth`, or mapping of name to such, optional
        One forecast or several. Each has a row of its frames and a row of its errors, forecast minus truth.
    mask : array of bool (height, width) or (channel, height, width), optional
        True where a cell counts; the others are grey.
    n_columns : int, default=8
        Frames that are shown, evenly spread from the first to the last.
    first_step : int, default=1
        What the first frame is called; frames are counted from it.
    channel : int, default=0
        Which one is drawn.
    value_range : (float, float), optional
        Values of the two ends of the colours. By default those of the truth.
    colours : str, default="gray"
        A colour map of Matplotlib; "RdBu_r" suits anomalies.

    Returns
    -------
    ndarray of Axes (row, column)
        Of a new figure, which is ``axes[0, 0].get_figure()``.

    Raises
    ------
    ValueError
        If the frames are of different sizes or there are none, or the mask covers everything.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.plots import plot_frames
    >>> truth = np.random.default_rng(0).uniform(size=(10, 16, 16))
    >>> plot_frames(truth, {"mean": np.full_like(truth, 0.5)}, n_columns=5).shape
    (3, 5)
    """
    if n_columns < 1:
        raise ValueError(f"n_columns must be at least 1, got {n_columns}.")
    true = _frames(truth, "truth", channel, mask)
    given = {} if forecast is None else forecast if isinstance(forecast, Mapping) else {"forecast": forecast}
    shown = np.unique(np.linspace(0, len(true) - 1, min(n_columns, len(true))).round().astype(int))
    norm, error_norm = _norm(true, value_range), Normalize()
    rows = [("truth", true[shown], colours, norm)]
    for name, values in given.items():
        frames = _frames(values, str(name), channel, mask)
        if frames.shape != true.shape:
            raise ValueError(f"{name} is {frames.shape}, truth is {true.shape}: both must be of one size.")
        error = (frames - true)[shown]
        rows += [(str(name), frames[shown], colours, norm), ("error", error, _ERROR_COLOURS, error_norm)]
    errors = [frames for _, frames, _, scale in rows if scale is error_norm]
    largest = max((float(np.abs(error).max()) for error in errors), default=0.0) or 1.0  # those of 0 have no scale
    error_norm.vmin, error_norm.vmax = -largest, largest
    axes = _grid(len(rows), len(shown), true.shape[1:])
    for drawn, (name, frames, map_name, scale) in zip(axes, rows, strict=True):
        map_ = colormaps[map_name].with_extremes(bad=_MASKED)
        for ax, frame in zip(drawn, frames, strict=True):
            ax.imshow(frame, cmap=map_, norm=scale, interpolation="nearest")
        drawn[0].set_ylabel(name, fontsize=9)
    for ax, step in zip(axes[0], shown, strict=True):
        ax.set_title(str(first_step + step), fontsize=9)
    _colour_bar(axes[0], "")
    if errors:
        _colour_bar(axes[2], "error")
    return axes


def _grid(n_rows: int, n_columns: int, shape: tuple[int, ...]) -> np.ndarray:
    """Return axes (row, column) without ticks for frames of a shape, close together."""
    height, width = (_CELL * side / max(shape) for side in shape)
    size = width * n_columns + 1.3, max(1.5, (height + 0.12) * n_rows + 0.3)  # room for the colour bars and titles
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02))
    axes = figure.subplots(n_rows, n_columns, squeeze=False)
    for ax in axes.ravel():
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color("0.6")
    return axes


def _colour_bar(row: np.ndarray, label: str) -> None:
    """Put the scale of a row, and of all others like it, beside it."""
    bar = row[0].get_figure().colorbar(row[0].images[0], ax=list(row), label=label, aspect=12, fraction=0.05)
    bar.locator = MaxNLocator(nbins=3)
    bar.ax.tick_params(labelsize=8)
    bar.update_ticks()


def save_gif(
    frames: Any,
    path: str | os.PathLike[str],
    *,
    mask: Any = None,
    fps: float = 10.0,
    zoom: int = 4,
    channel: int = 0,
    value_range: tuple[float, float] | None = None,
    colours: str = "gray",
) -> None:
    """Write a film as an animated GIF that runs for ever.

    Parameters
    ----------
    frames : array (time, height, width) or (time, channel, height, width), or a list or tuple of such
        One sequence, or several of one size that run side by side.
    path : path
        The file.
    mask, channel, value_range, colours
        As for :func:`plot_frames`; the range is by default that of the first sequence.
    fps : float, default=10
        Frames in a second, at most 50; players know steps of a hundredth of a second.
    zoom : int, default=4
        Side of a cell in pixels.

    Raises
    ------
    ValueError
        If the sequences are of different sizes or there are no frames, or `fps` or `zoom` is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.plots import save_gif
    >>> save_gif(np.random.default_rng(0).uniform(size=(10, 16, 16)), "noise.gif")  # doctest: +SKIP
    """
    from PIL import Image

    if not 0 < fps <= 50:
        raise ValueError(f"fps must be above 0 and at most 50, got {fps}.")
    if zoom < 1:
        raise ValueError(f"zoom must be at least 1, got {zoom}.")
    given = frames if isinstance(frames, (list, tuple)) else [frames]
    films = [_frames(one, f"frames[{number}]", channel, mask) for number, one in enumerate(given)]
    shapes = sorted({film.shape for film in films})
    if len(shapes) != 1:
        raise ValueError(f"frames must be of one size, got {', '.join(map(str, shapes)) or 'none'}.")
    norm, map_ = _norm(films[0], value_range), colormaps[colours].with_extremes(bad=_MASKED)
    gap = np.full((*films[0].shape[:2], _GAP, 3), 255, dtype=np.uint8)
    columns = []
    for film in films:
        columns += [map_(norm(film), bytes=True)[..., :3], gap]
    side_by_side = np.concatenate(columns[:-1], axis=2).repeat(zoom, axis=1).repeat(zoom, axis=2)
    first, *others = [Image.fromarray(np.ascontiguousarray(image)) for image in side_by_side]
    first.save(path, format="GIF", save_all=True, append_images=others, duration=round(1000 / fps), loop=0)


def plot_frame_metrics(curves: Mapping[str, Mapping[str, Any]], measures: Sequence[str] | None = None) -> np.ndarray:
    """Draw how errors of forecasts grow with the step of the horizon, a panel for each measure.

    Parameters
    ----------
    curves : mapping of name to mapping of measure to array (horizon,) or (seed, horizon)
        For each model what ``horizon_metrics`` of a :class:`tsmodels.tasks.FramesTask` holds after a test. With several
        seeds the line is their mean and the band reaches from the lowest to the highest.
    measures : sequence of str, optional
        What is drawn. By default those of "mse", "psnr" and "ssim" that all models have.

    Returns
    -------
    ndarray of Axes (panel,)
        Of a new figure, which is ``axes[0].get_figure()``.

    Raises
    ------
    ValueError
        If there are no curves, or a model lacks a measure.

    Examples
    --------
    >>> from tsmodels.plots import plot_frame_metrics
    >>> curves = {"ConvS5": {"mse": [0.01, 0.02]}, "copy last": {"mse": [0.03, 0.05]}}
    >>> plot_frame_metrics(curves).shape
    (1,)
    """
    if measures is None:
        measures = [name for name in ("mse", "psnr", "ssim") if all(name in found for found in curves.values())]
    if not curves or not measures:
        raise ValueError("curves must hold a model and a measure that all models have, such as 'mse'.")
    styles = styles_of(list(curves))
    figure = Figure(figsize=(max(4.0, 3.4 * len(measures)), 3.4), layout="constrained")
    axes = figure.subplots(1, len(measures), squeeze=False)[0]
    for ax, measure in zip(axes, measures, strict=True):
        for name, found in curves.items():
            if measure not in found:
                raise ValueError(f"{name!r} has no {measure!r}, only {', '.join(map(repr, found))}.")
            values = np.atleast_2d(_array(found[measure]))
            steps = np.arange(1, values.shape[1] + 1)
            colour = styles[name]["color"]
            marker = styles[name]["marker"] if len(steps) <= _MOST_STEPS else None
            ax.plot(steps, values.mean(0), color=colour, marker=marker, markersize=4, linewidth=1.6, label=name)
            if len(values) > 1:
                ax.fill_between(steps, values.min(0), values.max(0), color=colour, alpha=0.18, linewidth=0)
        ax.set_xlabel("frames ahead")
        ax.set_ylabel(_MEANINGS.get(measure, measure))
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        plain(ax)
    figure.legend(handles=axes[0].get_lines(), loc="outside upper left", ncols=min(len(curves), 5), frameon=False)
    return axes


def _array(values: Any) -> np.ndarray:
    """Return an array, also of a tensor on a device; torch is not imported for it."""
    return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)


def _frames(values: Any, name: str, channel: int, mask: Any) -> np.ma.MaskedArray:
    """Return one channel (time, height, width) of frames, masked where it does not count."""
    frames = _array(values)
    if frames.ndim == 3:
        frames = frames[:, None]
    if frames.ndim != 4 or not frames.size:
        raise ValueError(
            f"{name} must be (time, height, width) or (time, channel, height, width) and not empty, got {frames.shape}:"
            " draw one sequence of a batch."
        )
    if not 0 <= channel < frames.shape[1]:
        raise ValueError(f"channel must be from 0 to {frames.shape[1] - 1}, got {channel}.")
    counts = np.ones(frames.shape[1:], dtype=bool)
    if mask is not None:
        given = _array(mask)
        if given.dtype != bool or given.shape not in (frames.shape[2:], frames.shape[1:]):
            raise ValueError(
                f"mask must be bool, (height, width) or (channel, height, width) of {name}, {frames.shape[1:]}, got "
                f"{given.dtype}, {given.shape}."
            )
        counts = np.broadcast_to(given, frames.shape[1:])
    if not counts[channel].any():
        raise ValueError("mask covers everything: it must be True where a cell counts.")
    hidden = np.broadcast_to(~counts[channel], frames[:, channel].shape)
    return np.ma.masked_array(frames[:, channel].astype(float), mask=hidden)


def _norm(frames: np.ma.MaskedArray, value_range: tuple[float, float] | None) -> Normalize:
    low, high = (float(frames.min()), float(frames.max())) if value_range is None else map(float, value_range)
    if value_range is not None and not low < high:
        raise ValueError(f"value_range must be two numbers, the lesser first, got {value_range}.")
    return Normalize(low, high, clip=False)
