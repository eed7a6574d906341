"""Time scales of a series, from which the interval of sparse forcing follows."""

from __future__ import annotations

import numpy as np
from scipy.fft import next_fast_len

from tsmodels.dynamics._checks import as_count, as_series

__all__ = ["suggest_forcing_interval"]

_BINS = 64


def suggest_forcing_interval(series, *, max_lag: int = 100) -> int:
    """Interval τ of sparse forcing that suits a series, in steps.

    Of each channel three lags are taken: the first minimum of the autocorrelation, the first lag at which it falls
    below 1/e, and the first minimum of the mutual information (64 bins per axis). τ is the least of the three medians
    over channels.

    Parameters
    ----------
    series : array (time, channel)
        At least 3 time points.
    max_lag : int, default=100
        Largest lag looked at, and what stands for a lag that is not found.

    Returns
    -------
    int
        Between 1 and `max_lag`.

    Raises
    ------
    ValueError
        If the series has values that are not finite or is too short.

    Notes
    -----
    After Brenner et al. (arXiv 2207.02542).
    """
    series = as_series("series", series, at_least=3)
    max_lag = min(as_count("max_lag", max_lag), len(series) - 2)
    lags = np.array([_lags(channel, max_lag) for channel in series.T])
    return max(1, int(np.median(lags, axis=0).min()))


def _lags(channel: np.ndarray, max_lag: int) -> tuple[int, int, int]:
    correlation = _autocorrelation(channel, max_lag)
    decayed = np.flatnonzero(correlation < np.exp(-1))
    return (
        _first_minimum(correlation),
        int(decayed[0]) if len(decayed) else max_lag,
        _first_minimum(_mutual_information(channel, max_lag)),
    )


def _first_minimum(values: np.ndarray) -> int:
    """First inner position that is below both neighbours; the last position if there is none."""
    inner = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] < values[2:]))
    return int(inner[0]) + 1 if len(inner) else len(values) - 1


def _autocorrelation(channel: np.ndarray, max_lag: int) -> np.ndarray:
    """Autocorrelation at lags 0, ..., max_lag; that of a constant is 1."""
    n = len(channel)
    length = next_fast_len(n + max_lag)  # zeros keep the ends from meeting
    power = np.abs(np.fft.rfft(channel - channel.mean(), length)) ** 2
    covariance = np.fft.irfft(power, length)[: max_lag + 1]
    return covariance / covariance[0] if covariance[0] > 0 else np.ones(max_lag + 1)


def _mutual_information(channel: np.ndarray, max_lag: int) -> np.ndarray:
    """Mutual information, in nats, of a channel and itself at lags 0, ..., max_lag."""
    low, high = channel.min(), channel.max()
    width = high - low if high > low else 1.0
    bins = np.minimum((_BINS * ((channel - low) / width)).astype(np.int64), _BINS - 1)
    n = len(bins)
    return np.array([_information(bins[: n - lag] * _BINS + bins[lag:]) for lag in range(max_lag + 1)])


def _information(pairs: np.ndarray) -> float:
    joint = np.bincount(pairs, minlength=_BINS**2).reshape(_BINS, _BINS) / len(pairs)
    independent = np.outer(joint.sum(1), joint.sum(0))
    present = joint > 0
    return float((joint[present] * np.log(joint[present] / independent[present])).sum())
