"""Metrics of frames against their definitions, what a mask hides, gradients, and arguments that cannot be used."""

import doctest
import math

import numpy as np
import pytest
import torch

import tsmodels.metrics
from tsmodels.metrics import mae, mse, psnr, ssim

METRICS = {"mse": mse, "mae": mae, "psnr": psnr, "ssim": ssim}


def frames(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def half_mask(height=16, width=18):
    """Counts left of a slanted border."""
    return torch.arange(width) + torch.arange(height)[:, None] // 2 < 14


def ssim_by_windows(a, b, mask, window, sigma):
    """The definition, one window of one channel at a time, in numpy."""
    offsets = np.arange(window) - window // 2
    gaussian = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * sigma**2))
    c1, c2 = 0.01**2, 0.03**2
    found = []
    for a_map, b_map, counts in zip(a, b, mask, strict=True):
        for i in range(a_map.shape[0] - window + 1):
            for j in range(a_map.shape[1] - window + 1):
                if not counts[i + window // 2, j + window // 2]:
                    continue
                part = np.s_[i : i + window, j : j + window]
                w = (gaussian * counts[part]).ravel()
                w, x, y = w / w.sum(), np.nan_to_num(a_map[part]).ravel(), np.nan_to_num(b_map[part]).ravel()
                mean_x, mean_y = w @ x, w @ y
                var_x, var_y, cov = w @ (x - mean_x) ** 2, w @ (y - mean_y) ** 2, w @ ((x - mean_x) * (y - mean_y))
                top = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
                found.append(top / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)))
    return np.mean(found)


def test_the_examples_in_the_docstrings_run():
    assert doctest.testmod(tsmodels.metrics).failed == 0


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("window", "sigma"), [(11, 1.5), (7, 2.0), (1, 1.5)])
def test_ssim_is_its_definition(masked, window, sigma):
    truth = frames(2, 2, 16, 18)
    forecast = 0.7 * truth + 0.3 * frames(2, 2, 16, 18, seed=1)
    mask = half_mask() if masked else torch.ones(16, 18, dtype=torch.bool)
    found = ssim(forecast, truth, mask=mask if masked else None, window=window, sigma=sigma)
    counts = mask.expand(2, 16, 18).numpy()
    expected = [
        ssim_by_windows(a.numpy(), b.numpy(), counts, window, sigma) for a, b in zip(forecast, truth, strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_a_mask_that_hides_nothing_changes_nothing():
    a, b, mask = frames(3, 1, 12, 13), frames(3, 1, 12, 13, seed=1), torch.ones(12, 13, dtype=torch.bool)
    for metric in METRICS.values():
        torch.testing.assert_close(metric(a, b, mask=mask), metric(a, b), rtol=1e-12, atol=0)


def test_known_values():
    truth = frames(4, 5, 1, 16, 16)
    noise = 0.1 * (2 * (frames(4, 5, 1, 16, 16, seed=1) > 0.5) - 1)  # plus or minus a tenth
    torch.testing.assert_close(mse(truth + noise, truth), torch.full((4, 5), 0.01).double())
    torch.testing.assert_close(mae(truth + noise, truth), torch.full((4, 5), 0.1).double())
    torch.testing.assert_close(psnr(truth + noise, truth), torch.full((4, 5), 20.0).double())
    torch.testing.assert_close(ssim(truth, truth), torch.ones(4, 5).double())
    assert (psnr(truth, truth) == math.inf).all()
    assert (ssim(1 - truth, truth) < 0).all()  # a negative is unlike


def test_the_range_is_that_of_the_frames():
    a, b = frames(3, 1, 12, 12), frames(3, 1, 12, 12, seed=1)
    for metric in (psnr, ssim):
        torch.testing.assert_close(metric(2 * a - 1, 2 * b - 1, value_range=(-1, 1)), metric(a, b))


def test_the_range_moves_no_masked_cell_into_the_windows():
    a, b, mask = frames(2, 1, 16, 18), frames(2, 1, 16, 18, seed=1), half_mask()
    for metric in (psnr, ssim):
        shifted = metric(3 * a + 5, 3 * b + 5, mask=mask, value_range=(5, 8))
        torch.testing.assert_close(shifted, metric(a, b, mask=mask))


def test_quantised_is_in_256_steps():
    truth, forecast = torch.full((1, 12, 12), 100.4 / 255), torch.full((1, 12, 12), 109.7 / 255)
    torch.testing.assert_close(psnr(forecast, truth, quantise=True), torch.tensor(20 * math.log10(255 / 10)))
    beyond = torch.full((1, 12, 12), 1.5)
    assert psnr(beyond, torch.ones(1, 12, 12), quantise=True) == math.inf
    assert psnr(beyond, torch.ones(1, 12, 12)) == pytest.approx(20 * math.log10(2))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("filling", [5.0, math.nan, math.inf])
def test_what_a_mask_hides_changes_neither_value_nor_gradient(name, filling):
    mask = half_mask()
    seen = []
    for fill in (0.3, filling):
        forecast, truth = (torch.where(mask, frames(2, 1, 16, 18, seed=seed), fill) for seed in (0, 1))
        forecast.requires_grad_()
        value = METRICS[name](forecast, truth, mask=mask)
        value.sum().backward()
        seen.append((value.detach(), forecast.grad))
    torch.testing.assert_close(*[value for value, _ in seen], rtol=0, atol=0)
    torch.testing.assert_close(*[gradient for _, gradient in seen], rtol=0, atol=0)
    assert (seen[0][1][..., ~mask] == 0).all() and seen[0][1][..., mask].abs().sum() > 0


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients(name, masked):
    truth, forecast = frames(1, 1, 6, 7), frames(1, 1, 6, 7, seed=1).requires_grad_()
    choices = {"window": 5} if name == "ssim" else {}
    choices |= {"mask": torch.arange(7).expand(6, 7) < 5} if masked else {}
    assert torch.autograd.gradcheck(lambda x: METRICS[name](x, truth, **choices), forecast)


def test_a_mask_may_differ_by_channel_and_by_frame():
    a, b = frames(2, 2, 12, 12), frames(2, 2, 12, 12, seed=1)
    mask = torch.zeros(2, 2, 12, 12, dtype=torch.bool)
    mask[0, 0], mask[1, 1] = True, True
    for metric in METRICS.values():
        expected = torch.stack([metric(a[0, :1], b[0, :1]), metric(a[1, 1:], b[1, 1:])])
        torch.testing.assert_close(metric(a, b, mask=mask), expected)


@pytest.mark.parametrize("name", METRICS)
def test_arguments_that_fit_no_frame(name):
    metric, a = METRICS[name], frames(2, 1, 12, 12)
    with pytest.raises(ValueError, match="one shape"):
        metric(a, a[..., :-1])
    with pytest.raises(ValueError, match=r"channel, height, width"):
        metric(a[0, 0], a[0, 0])
    with pytest.raises(TypeError, match="floating point"):
        metric(a.long(), a.long())
    with pytest.raises(TypeError, match="mask must be bool"):
        metric(a, a, mask=torch.ones(12, 12))
    with pytest.raises(ValueError, match=r"mask \(11, 12\) does not fit"):
        metric(a, a, mask=torch.ones(11, 12, dtype=torch.bool))
    with pytest.raises(ValueError, match="mask leaves no cell"):
        metric(a, a, mask=torch.zeros(12, 12, dtype=torch.bool))


def test_values_beyond_the_range():
    a = frames(2, 1, 12, 12)
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match=r"truth reaches from -.* to .*, beyond value_range = \(0, 1\)"):
            metric(a, 2 * a - 1)
        with pytest.raises(ValueError, match="truth reaches from nan"):
            metric(a, torch.full_like(a, math.nan))
        with pytest.raises(ValueError, match="the lesser first"):
            metric(a, a, value_range=(1, 0))


def test_windows_that_do_not_fit():
    a, corner = frames(2, 1, 10, 12), torch.zeros(10, 12, dtype=torch.bool)
    corner[0, 0] = True
    for window in (11, 4, 0):
        with pytest.raises(
            ValueError, match="window must be odd, at least 1 and at most the sides of a frame, 10 x 12"
        ):
            ssim(a, a, window=window)
    with pytest.raises(ValueError, match="sigma must be above 0"):
        ssim(a, a, window=5, sigma=0.0)
    with pytest.raises(ValueError, match="middle of a window"):
        ssim(a, a, window=5, mask=corner)
