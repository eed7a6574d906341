"""Power spectra and the distance between those of two series, D_H."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from tsmodels.dynamics._checks import as_series

__all__ = ["power_spectrum", "spectral_distance"]

_WIDTHS = 4.0  # of the smoothing Gaussian, where it is cut off


def power_spectrum(series, *, smoothing: float = 20.0) -> np.ndarray:
    """Smoothed power spectrum of each channel, normalised to sum 1.

    A channel is standardised by its own mean and deviation; ``|rfft|²`` is smoothed by a Gaussian.

    Parameters
    ----------
    series : array (time, channel)
        At least 2 time points.
    smoothing : float, default=20.0
        Standard deviation of the Gaussian in frequency bins, cut off at 4 of them and reflected at both ends; 0 for
        none.

    Returns
    -------
    ndarray (time // 2 + 1, channel)
        Row f is the share of power at f cycles over the whole series; zeros for a constant channel.

    Raises
    ------
    ValueError
        If the series has values that are not finite, or `smoothing` is negative.
    """
    series = as_series("series", series)
    if not smoothing >= 0:
        raise ValueError(f"smoothing must not be negative, got {smoothing}.")
    centred = series - series.mean(0)
    deviation = centred.std(0, ddof=1)
    # what rounding of the mean leaves of a constant channel is no power
    varies = deviation > 1e-12 * np.abs(series).max(0)
    power = np.abs(np.fft.rfft(centred / np.where(varies, deviation, 1.0), axis=0)) ** 2 * varies
    if smoothing:
        power = np.maximum(gaussian_filter1d(power, smoothing, axis=0, mode="reflect", truncate=_WIDTHS), 0.0)
    return power / np.where(varies, power.sum(0), 1.0)


def spectral_distance(true, generated, *, smoothing: float = 20.0) -> float:
    """Hellinger distance between smoothed power spectra, the mean over channels, D_H.

    With the spectra p and q of a channel, from :func:`power_spectrum`::

        H = sqrt(1 - Σ_f sqrt(p[f] q[f]))

    Parameters
    ----------
    true, generated : array (time, channel)
        Series of the same length.
    smoothing : float, default=20.0
        Standard deviation of the smoothing, in frequency bins.

    Returns
    -------
    float
        Between 0 and 1. A channel that is constant in one of the series has distance 1, in both 0.

    Raises
    ------
    ValueError
        If the series have different shapes or values that are not finite.

    Notes
    -----
    As in Hess et al. (arXiv 2306.04406), after Mikhaeil, Monfared and Durstewitz (arXiv 2110.07238).
    """
    true = as_series("true", true)
    generated = as_series("generated", generated, n_channels=true.shape[1])
    if len(true) != len(generated):
        raise ValueError(
            f"true has {len(true)} time points, generated {len(generated)}: their frequencies differ, "
            "cut both to the same length."
        )
    p, q = power_spectrum(true, smoothing=smoothing), power_spectrum(generated, smoothing=smoothing)
    overlap = np.sqrt(p * q).sum(0)
    overlap[~p.any(0) & ~q.any(0)] = 1.0
    # 1 - overlap of equal spectra is of the size of rounding, and its root would not be
    distance = np.sqrt(np.maximum(1.0 - overlap, 0.0))
    return float(np.where((p == q).all(0), 0.0, distance).mean())
