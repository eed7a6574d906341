"""Deconvolution: what was convolved comes back, and the built-in response is the one of its formula."""

import functools

import numpy as np
import pytest
from scipy.stats import gamma

from tsmodels_datamodules import make_trajectory
from tsmodels_datamodules._deconvolution import deconvolve, hrf, invalid_ends, noise_variance, read_response

SHORT = np.array([0.1, 0.3, 0.3, 0.2, 0.1])
LONG = hrf(0.5)


@functools.cache
def lorenz():
    """A standardised trajectory (3000, 3)."""
    states = make_trajectory("lorenz63", 3000, transient=20, rtol=1e-6)
    return (states - states.mean(axis=0)) / states.std(axis=0)


def observed(kernel, noise=0.0):
    """Return the filtered series, with noise of a share of its deviation, and the series itself, both valid parts."""
    states, n = lorenz(), len(lorenz())
    valid = slice(len(kernel) - 1, n)
    filtered = np.stack([np.convolve(channel, kernel)[valid] for channel in states.T], axis=1)
    errors = np.random.default_rng(0).normal(size=filtered.shape)
    return filtered + noise * filtered.std(axis=0) * errors, states[valid]


def rms(errors, kernel):
    first, last = invalid_ends(len(kernel))
    return float(np.sqrt(np.mean(errors[first : len(errors) - last] ** 2)))


@pytest.mark.parametrize(
    ("kernel", "noise", "bound"),
    [(SHORT, 0.0, 0.005), (SHORT, 0.01, 0.01), (SHORT, 0.05, 0.04), (LONG, 0.0, 0.005), (LONG, 0.05, 0.05)],
    ids=["short-0", "short-0.01", "short-0.05", "hrf-0", "hrf-0.05"],
)
def test_a_filtered_lorenz_series_comes_back(kernel, noise, bound):
    values, expected = observed(kernel, noise)
    estimate = deconvolve(values, kernel)
    assert estimate.shape == values.shape
    assert rms(estimate - expected, kernel) < bound < rms(values - expected, kernel) / 3


def test_the_noise_is_estimated():
    clean, _ = observed(SHORT)
    assert (noise_variance(clean) < 1e-9).all()
    for share in (0.01, 0.1):
        values, _ = observed(SHORT, share)
        np.testing.assert_allclose(noise_variance(values), (share * clean.std(axis=0)) ** 2, rtol=0.2)


def test_channels_are_independent_and_level_and_scale_are_kept():
    values, _ = observed(SHORT, 0.01)
    estimate = deconvolve(values, SHORT)
    np.testing.assert_allclose(deconvolve(values[:, :1], SHORT)[:, 0], estimate[:, 0], atol=1e-12)
    np.testing.assert_allclose(deconvolve(5 * values + 100, SHORT), 5 * estimate + 100, rtol=1e-4)


def test_a_filter_of_one_point_is_undone_by_division():
    _, states = observed(SHORT)
    np.testing.assert_allclose(deconvolve(2 * states, [2.0]), states, atol=0.01)


def test_a_constant_channel_stays_constant():
    values, _ = observed(SHORT)
    values = np.column_stack([values[:, 0], np.full(len(values), 7.0)])
    np.testing.assert_allclose(deconvolve(values, SHORT)[:, 1], 7, rtol=1e-4)


def test_invalid_ends():
    assert invalid_ends(1) == (0, 0) and invalid_ends(5) == (1, 2) and invalid_ends(17) == (4, 8)


@pytest.mark.parametrize("tr", [0.5, 0.72, 2.0, 3.0])
def test_the_haemodynamic_response(tr):
    u = np.arange(0, 32 + 1e-9, tr)
    expected = gamma.pdf(u, 6) - gamma.pdf(u, 16) / 6
    np.testing.assert_allclose(hrf(tr), expected / expected.sum(), rtol=1e-12, atol=1e-15)
    assert abs(hrf(tr).sum() - 1) < 1e-12
    assert abs(hrf(tr).argmax() * tr - 5) <= tr / 2 + 1e-9  # the mode of the first density


@pytest.mark.parametrize("tr", [0.0, -1.0, 9.0, float("nan")])
def test_a_wrong_repetition_time(tr):
    with pytest.raises(ValueError, match="tr must be"):
        hrf(tr)


@pytest.mark.parametrize(
    "response", [[], [[1.0, 2.0]], [1.0, float("nan")], [0.0, 0.0], 3.0], ids=["empty", "2d", "nan", "zero", "scalar"]
)
def test_a_wrong_response(response):
    with pytest.raises(ValueError, match="response must be"):
        read_response(response)
