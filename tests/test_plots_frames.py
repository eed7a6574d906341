"""Pictures of frames: that what is drawn is what was given."""

import doctest
import importlib

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from tsmodels.plots import plot_frame_metrics, plot_frames, save_gif


@pytest.fixture
def frames():
    return np.random.default_rng(0).uniform(size=(10, 6, 8))


@pytest.fixture
def mask():
    mask = np.ones((6, 8), dtype=bool)
    mask[:2, 5:] = False
    return mask


def _drawn(axes):
    """Render, so that nothing of the layout fails, and return the figure."""
    figure = np.ravel(axes)[0].get_figure()
    figure.canvas.draw()
    return figure


def _image(ax):
    return ax.images[0].get_array()


def test_the_examples_in_the_docstrings_run():
    assert doctest.testmod(importlib.import_module("tsmodels.plots._frames")).failed == 0


# --- rows of frames


def test_rows_are_truth_forecast_and_error(frames):
    forecast = frames[::-1]
    axes = plot_frames(frames, forecast, n_columns=4, first_step=11)
    assert axes.shape == (3, 4)
    assert [ax.get_title() for ax in axes[0]] == ["11", "14", "17", "20"]
    assert [row[0].get_ylabel() for row in axes] == ["truth", "forecast", "error"]
    for ax, step in zip(axes.T, (0, 3, 6, 9), strict=True):
        for image, expected in zip(ax, (frames, forecast, forecast - frames), strict=True):
            np.testing.assert_array_equal(_image(image), expected[step])
    _drawn(axes)


def test_several_forecasts_share_their_scales(frames):
    axes = plot_frames(frames, {"near": frames + 0.1, "far": frames - 0.5}, n_columns=3)
    assert [row[0].get_ylabel() for row in axes] == ["truth", "near", "error", "far", "error"]
    limits = [row[0].images[0].get_clim() for row in axes]
    assert limits[0] == limits[1] == limits[3] == (frames.min(), frames.max())
    assert limits[2] == limits[4] == pytest.approx((-0.5, 0.5))
    assert len(_drawn(axes).axes) == axes.size + 2  # and a bar for each scale


def test_nothing_lies_on_anything_else(frames):
    axes = plot_frames(frames, {"one": frames, "another": frames}, n_columns=3)
    figure = _drawn(axes)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [ax.get_tightbbox(renderer) for ax in figure.axes]
    outside = figure.bbox.expanded(1.001, 1.001)
    assert all(outside.containsx(x) and outside.containsy(y) for box in boxes for x, y in box.corners())
    overlaps = [a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert not any(overlaps)


def test_truth_alone_and_the_range_of_its_colours(frames):
    axes = plot_frames(frames, value_range=(-1, 2), colours="RdBu_r", n_columns=20)
    assert axes.shape == (1, 10)  # there are no more
    assert axes[0, 0].images[0].get_clim() == (-1, 2) and axes[0, 0].images[0].get_cmap().name == "RdBu_r"


@pytest.mark.parametrize("by_channel", [False, True])
def test_what_a_mask_hides_has_no_colour_and_no_part_in_the_scale(frames, mask, by_channel):
    wild = np.where(mask, frames, 1e6)[:, None].repeat(2, axis=1)
    hides = np.stack([np.ones_like(mask), mask]) if by_channel else mask
    axes = plot_frames(wild, wild + 0.25, mask=hides, channel=1)
    for ax in axes.ravel():
        np.testing.assert_array_equal(_image(ax).mask, ~mask)
    assert axes[0, 0].images[0].get_clim()[1] < 1 and axes[2, 0].images[0].get_clim() == pytest.approx((-0.25, 0.25))


def test_tensors_and_exact_forecasts_are_drawn(frames):
    tensor = torch.from_numpy(frames)[:, None].requires_grad_()
    axes = plot_frames(tensor, tensor, n_columns=2)
    np.testing.assert_array_equal(_image(axes[0, 1]), frames[9])
    assert axes[2, 0].images[0].get_clim() == (-1, 1)  # errors of 0 have no scale of their own
    _drawn(axes)


def test_frames_that_cannot_be_drawn(frames, mask):
    with pytest.raises(ValueError, match=r"forecast is \(9, 6, 8\), truth is \(10, 6, 8\)"):
        plot_frames(frames, frames[1:])
    with pytest.raises(ValueError, match=r"truth must be \(time, height, width\).*draw one sequence of a batch"):
        plot_frames(frames[None, :, None])
    with pytest.raises(ValueError, match="not empty"):
        plot_frames(frames[:0])
    with pytest.raises(ValueError, match="mask covers everything"):
        plot_frames(frames, mask=~np.ones_like(mask))
    with pytest.raises(ValueError, match="mask must be bool"):
        plot_frames(frames, mask=mask.T)
    with pytest.raises(ValueError, match="channel must be from 0 to 0, got 1"):
        plot_frames(frames, channel=1)
    with pytest.raises(ValueError, match="n_columns must be at least 1"):
        plot_frames(frames, n_columns=0)
    with pytest.raises(ValueError, match="value_range must be two numbers"):
        plot_frames(frames, value_range=(1, 1))


# --- films


def _film(path):
    """Return the frames (time, height, width, 3) of a GIF, with the time each is shown in milliseconds."""
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        found, durations = [], []
        for number in range(image.n_frames):
            image.seek(number)
            found.append(np.asarray(image.convert("RGB")).astype(int))
            durations.append(image.info["duration"])
    return np.stack(found), durations


def test_a_film_has_the_frames_it_was_given(frames, tmp_path):
    save_gif(frames, tmp_path / "film.gif", zoom=3, fps=20, value_range=(0, 1))
    film, durations = _film(tmp_path / "film.gif")
    assert film.shape == (10, 18, 24, 3) and durations == [50] * 10
    assert np.abs(film[:, ::3, ::3, 0] - 255 * frames).max() < 4  # 256 grey levels, then the colours of a GIF
    assert (film[:, 1::3, 2::3] == film[:, ::3, ::3]).all()


def test_films_run_side_by_side_with_what_is_masked_in_grey(frames, mask, tmp_path):
    save_gif([frames, 1 - frames], tmp_path / "film.gif", mask=mask, zoom=1, value_range=(0, 1))
    film, _ = _film(tmp_path / "film.gif")
    assert film.shape == (10, 6, 8 + 2 + 8, 3)
    left, gap, right = film[:, :, :8, 0], film[:, :, 8:10], film[:, :, 10:, 0]
    assert (gap == 255).all() and np.abs(left[:, ~mask] - 204).max() < 4
    assert np.abs(left + right - 255)[:, mask].max() < 8


def test_films_that_cannot_be_written(frames, tmp_path):
    path = tmp_path / "film.gif"
    with pytest.raises(ValueError, match=r"frames must be of one size, got \(9, 6, 8\), \(10, 6, 8\)"):
        save_gif([frames, frames[1:]], path)
    with pytest.raises(ValueError, match="got none"):
        save_gif([], path)
    with pytest.raises(ValueError, match="fps must be above 0 and at most 50"):
        save_gif(frames, path, fps=60)
    with pytest.raises(ValueError, match="zoom must be at least 1"):
        save_gif(frames, path, zoom=0)
    assert not path.exists()


# --- errors by step


def test_curves_have_a_panel_for_each_measure_that_all_models_have():
    three_seeds = np.array([[1.0, 2.0], [3.0, 4.0], [2.0, 6.0]])
    curves = {
        "net": {"psnr": torch.tensor([20.0, 18.0]), "mse": three_seeds, "ssim": [0.9, 0.8]},
        "copy": {"mse": [5.0, 6.0], "psnr": [15.0, 14.0]},
    }
    axes = plot_frame_metrics(curves)
    assert [ax.get_ylabel() for ax in axes] == ["MSE", "PSNR (dB)"]
    lines = axes[0].get_lines()
    assert [line.get_label() for line in lines] == ["net", "copy"]
    assert lines[0].get_xydata().tolist() == [[1, 2], [2, 4]] and lines[1].get_ydata().tolist() == [5, 6]
    (band,) = axes[0].collections
    assert {(1.0, 1.0), (1.0, 3.0), (2.0, 2.0), (2.0, 6.0)} <= {tuple(p) for p in band.get_paths()[0].vertices.tolist()}
    _drawn(axes)
    assert [ax.get_ylabel() for ax in plot_frame_metrics({"net": curves["net"]}, ["ssim"])] == ["SSIM"]


def test_curves_that_cannot_be_drawn():
    with pytest.raises(ValueError, match="curves must hold a model and a measure"):
        plot_frame_metrics({})
    with pytest.raises(ValueError, match="curves must hold a model and a measure"):
        plot_frame_metrics({"net": {"mse": [1.0]}, "copy": {"psnr": [1.0]}})
    with pytest.raises(ValueError, match="'net' has no 'ssim', only 'mse'"):
        plot_frame_metrics({"net": {"mse": [1.0]}}, ["ssim"])
