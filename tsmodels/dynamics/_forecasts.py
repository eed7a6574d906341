"""Errors of forecasts of chaotic systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tsmodels.dynamics._checks import as_count, as_series
from tsmodels.dynamics._networks import as_inputs, free_run, on_cpu

if TYPE_CHECKING:
    from tsmodels.models import PLRNN

__all__ = ["prediction_error", "smape", "valid_prediction_time"]

_CHUNK = 1 << 22  # numbers of the runs and contexts held at once


def prediction_error(network: PLRNN, series, n_ahead: int = 20, *, inputs=None, signal=None, warmup: int = 0) -> float:
    """Mean squared error of a network n steps ahead of every point of a series, PE(n).

    A free run of ``n_ahead`` steps begins at every point that has one to be compared with::

        PE(n) = mean over t and channels of (x̂[t + n] - x[t + n])²

    Parameters
    ----------
    network : PLRNN
        The network.
    series : array (time, channel)
        In the units that the network was trained with.
    n_ahead : int, default=20
        Number of steps n.
    inputs : array (time - 1, n_inputs), optional
        External inputs; row t enters the step that produces ``series[t + 1]``.
    signal : array like `series`, optional
        What starts and forces the network instead: the deconvolved series, for a filtered observation.
    warmup : int, default=0
        Steps before each start in which the series forces the network fully, so that units that are not observed find
        their place. Report it with the error.

    Returns
    -------
    float
        In squared units of the series; inf or NaN if a run overflows.

    Raises
    ------
    ValueError
        If the series is too short, has values that are not finite, or shapes do not fit.
    """
    network = on_cpu(network)
    n_ahead, warmup = as_count("n_ahead", n_ahead), as_count("warmup", warmup, 0)
    series = as_series("series", series, n_channels=network.n_channels, at_least=warmup + n_ahead + 1)
    signal = series if signal is None else as_series("signal", signal, n_channels=network.n_channels)
    if len(signal) != len(series):
        raise ValueError(f"signal must have the {len(series)} time points of series, got {len(signal)}.")
    forcing = as_inputs(network, inputs, len(series) - 1)
    targets = series[warmup + n_ahead :]
    contexts = _windows(signal, warmup + 1)[: len(targets)]
    drives = None if forcing is None else _windows(forcing, warmup + n_ahead)
    total = 0.0
    n_rows = max(1, _CHUNK // ((n_ahead + warmup + 1) * network.latent_dim))
    for first in range(0, len(targets), n_rows):
        rows = slice(first, first + n_rows)
        run = free_run(network, contexts[rows], n_ahead, None if drives is None else drives[rows])
        total += float(((run[:, -1] - targets[rows]) ** 2).sum())
    return total / targets.size


def _windows(values: np.ndarray, length: int) -> np.ndarray:
    """All windows (window, length, channel) of a series, without copying it."""
    return np.lib.stride_tricks.sliding_window_view(values, length, axis=0).swapaxes(1, 2)


def smape(true, forecast) -> float:
    """Symmetric mean absolute percentage error, 0 to 200.

    ``200 mean(|y - f| / (|y| + |f|))``, where 0 is forecast exactly the term is 0.

    Parameters
    ----------
    true, forecast : array
        Of the same shape.

    Returns
    -------
    float
        0 is perfect, 200 the worst there is.

    Raises
    ------
    ValueError
        If shapes differ, there are no values, or some are not finite.
    """
    return float(_terms(*_pair(true, forecast)).mean())


def valid_prediction_time(
    true, forecast, *, dt: float = 1.0, lyapunov_time: float = 1.0, threshold: float = 30.0
) -> float:
    """Time for which a forecast stays good, in Lyapunov times.

    The forecast ends to be valid at the first step n at which the sMAPE of steps 1, ..., n exceeds `threshold`; the
    n - 1 steps before count.

    Parameters
    ----------
    true, forecast : array (horizon,) or (horizon, channel)
        Of the same shape.
    dt : float, default=1.0
        Time of a step.
    lyapunov_time : float, default=1.0
        1 / λ_1, in units of `dt`; 1 leaves the result in units of time.
    threshold : float, default=30.0
        sMAPE, on the scale of 0 to 200, that is still valid.

    Returns
    -------
    float
        (n - 1) dt / lyapunov_time; that of the whole horizon if the forecast is valid to its end.

    Raises
    ------
    ValueError
        If shapes differ, there are no values, some are not finite, or a time is not positive.
    """
    if not (dt > 0 and lyapunov_time > 0):
        raise ValueError(f"dt and lyapunov_time must be positive, got {dt} and {lyapunov_time}.")
    terms = _terms(*_pair(true, forecast))
    steps = terms.reshape(len(terms), -1).mean(1)
    exceeds = np.cumsum(steps) / np.arange(1, len(steps) + 1) > threshold
    n_valid = int(exceeds.argmax()) if exceeds.any() else len(steps)
    return float(n_valid * dt / lyapunov_time)


def _pair(true, forecast) -> tuple[np.ndarray, np.ndarray]:
    y, f = np.asarray(true, dtype=np.float64), np.asarray(forecast, dtype=np.float64)
    if y.shape != f.shape or not y.size or not y.ndim:
        raise ValueError(f"true and forecast must have the same shape (horizon, ...), got {y.shape} and {f.shape}.")
    if not (np.isfinite(y).all() and np.isfinite(f).all()):
        raise ValueError("true or forecast has values that are NaN or infinite: a forecast that diverges has no error.")
    return y, f


def _terms(y: np.ndarray, f: np.ndarray) -> np.ndarray:
    size = np.abs(y) + np.abs(f)
    return 200.0 * np.abs(y - f) / np.where(size > 0, size, 1.0)
