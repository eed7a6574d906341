"""Deconvolution of series that were observed through a filter in time, such as the haemodynamic response."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

NOISE_FLOOR = 1e-5
_HIGH_BAND = 0.25  # share of the frequencies, the highest, that are taken to hold noise only
_HRF_SECONDS = 32.0
_SMOOTHING, _MAX_SMOOTHING = 0.008, 20.0  # of the power spectrum: share of the frequencies, and at most so many


def hrf(tr: float) -> np.ndarray:
    """Return the canonical haemodynamic response at the scans of functional magnetic resonance imaging.

    ``f(u) = Gamma(u; 6, 1) - Gamma(u; 16, 1) / 6``, the densities of Gamma distributions of shape 6 and 16 and scale
    one second, at ``u = 0, tr, 2 tr, ... <= 32`` seconds, normalised to the sum 1.

    Parameters
    ----------
    tr : float
        Time between two scans in seconds.

    Returns
    -------
    ndarray (length,), float64

    Examples
    --------
    >>> from tsmodels_datamodules._deconvolution import hrf
    >>> [round(float(value), 3) for value in hrf(4.0)]
    [0.0, 0.71, 0.409, 0.003, -0.071, -0.039, -0.011, -0.002, -0.0]
    """
    if not (math.isfinite(tr) and 0 < tr <= _HRF_SECONDS / 4):
        raise ValueError(
            f"tr must be the time between two scans in seconds, above 0 and at most {_HRF_SECONDS / 4:g} (the response "
            f"lasts {_HRF_SECONDS:g} s), got {tr!r}."
        )
    u = tr * np.arange(int(_HRF_SECONDS / tr + 1e-9) + 1)
    response = np.exp(-u) * (u**5 / math.gamma(6) - u**15 / math.gamma(16) / 6)
    return response / response.sum()


def read_response(response: npt.ArrayLike) -> np.ndarray:
    """Return a checked filter as float64 (length,)."""
    kernel = np.asarray(response, dtype=np.float64)
    if kernel.ndim != 1 or not kernel.size:
        raise ValueError(f"response must be the coefficients f_0, f_1, ... of a filter, got the shape {kernel.shape}.")
    if not np.isfinite(kernel).all() or not kernel.any():
        raise ValueError("response must be finite, and not zero throughout.")
    return kernel


def invalid_ends(length: int) -> tuple[int, int]:
    """Return how many samples at the start and at the end a deconvolution by a filter of some length spoils."""
    return int(0.25 * length), int(0.5 * length)


def noise_variance(values: np.ndarray) -> np.ndarray:
    """Return the estimated variance of the white noise in each channel.

    The median of the periodogram (under a Hann window, as the jump from the end of a series to its start would look
    like noise) over the highest quarter of the frequencies, where a filtered signal has little power, divided by log 2,
    which it is under white noise of variance 1.

    Parameters
    ----------
    values : ndarray (time, channel)

    Returns
    -------
    ndarray (channel,)
    """
    window = np.hanning(len(values) + 2)[1:-1, None]
    centred = values - values.mean(axis=0)
    power = np.abs(np.fft.rfft(window * centred, axis=0)) ** 2 / (window**2).sum()
    return np.median(power[math.ceil((1 - _HIGH_BAND) * len(power)) :], axis=0) / math.log(2)


def deconvolve(values: np.ndarray, response: npt.ArrayLike) -> np.ndarray:
    """Return the series that a filter turned into the given one, by a Wiener filter for each channel.

    For ``x[t] = sum_k f[k] d[t - k] + noise`` the Fourier transform of the estimate of d is
    ``X conj(F) S / (|F|^2 S + V)``: V is the power of white noise, estimated, and at least 1e-5 of the variance of the
    channel; S, the power of d, is what the power of x, smoothed over neighbouring frequencies, exceeds twice that of
    the noise by, over ``|F|^2`` and the share of the noise.

    Parameters
    ----------
    values : ndarray (time, channel)
    response : array-like (length,)
        The filter f.

    Returns
    -------
    ndarray (time, channel)
        Like `values`. Its ends are not to be trusted, see :func:`invalid_ends`.
    """
    kernel = read_response(response)
    mean, variance = values.mean(axis=0), values.var(axis=0)
    padded, energy = _faded(values - mean, 8 * len(kernel))
    n_padded, n_ahead = len(padded), (len(padded) - len(values)) // 2
    spectrum = np.fft.rfft(padded, axis=0)
    transfer = np.fft.rfft(kernel, n_padded)[:, None]
    squared = np.abs(transfer) ** 2
    noise = np.maximum(noise_variance(values), NOISE_FLOOR * variance)
    noise[variance == 0] = 1.0  # nothing to divide by, and nothing but zeros to filter
    share = np.divide(noise, variance, out=np.ones_like(noise), where=variance > 0)
    width = min(max(len(spectrum) * _SMOOTHING, 1.0), _MAX_SMOOTHING)
    power = gaussian_filter1d(np.abs(spectrum) ** 2, width, axis=0, mode="nearest")
    # less twice the noise: what is left by chance of the noise alone would be blown up where the filter passes little
    signal = np.maximum(power - 2 * energy * noise, 0) / (squared + share * squared.max())
    estimate = np.conj(transfer) * signal / (squared * signal + energy * noise) * spectrum
    gain = kernel.sum()
    level = mean * gain / (gain**2 + NOISE_FLOOR * squared.max())
    return np.fft.irfft(estimate, n_padded, axis=0)[n_ahead : n_ahead + len(values)] + level


def _faded(values: np.ndarray, n: int) -> tuple[np.ndarray, float]:
    """Return a centred series that is continued smoothly at both ends and fades to zero there, and what that weighs.

    The Fourier transform takes a series for periodic: a jump from its end to its start would ring all through it. The
    continuations are mirrored in the end points, so that not even the slope jumps.
    """
    n = min(max(n, 64), len(values) - 1)
    fade = (0.5 + 0.5 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1)))[:, None]
    before = (fade * (2 * values[0] - values[1 : n + 1]))[::-1]
    after = fade * (2 * values[-1] - values[-2 : -n - 2 : -1])
    return np.concatenate([before, values, after]), len(values) + 2 * float((fade**2).sum())
