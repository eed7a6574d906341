"""Forecasts of gridded fields that every network must be compared with: they take no training to speak of."""

from __future__ import annotations

from typing import Any

import numpy as np

from tsmodels.estimators._grid_base import GridForecaster
from tsmodels.estimators._training import require_count

__all__ = [
    "ClimatologyGridForecaster",
    "DampedPersistenceGridForecaster",
    "LinearInverseGridForecaster",
    "PersistenceGridForecaster",
]

_METHODS = ("propagator", "per_lead")


class ClimatologyGridForecaster(GridForecaster):
    """The mean of each cell, or of each cell and phase of the season.

    Parameters
    ----------
    season : int, optional
        Frames of a season, 12 for months. By default there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.estimators import ClimatologyGridForecaster
    >>> field = np.arange(24.0).reshape(6, 2, 2)
    >>> ClimatologyGridForecaster(season=2).fit(field).predict(1)
    array([[[ 8.,  9.],
            [10., 11.]]])
    """

    def __init__(self, season=None):
        self.season = season
        super().__init__()

    def _forecast(self, anomalies: np.ndarray, origins: np.ndarray, n_frames: int) -> np.ndarray:
        return np.zeros((len(origins), n_frames, *anomalies.shape[1:]))


class PersistenceGridForecaster(GridForecaster):
    """The last frame; with a season, its anomaly on the mean of the phase that is forecast.

    Parameters
    ----------
    season : int, optional
        Frames of a season, 12 for months. By default there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.estimators import PersistenceGridForecaster
    >>> field = np.arange(24.0).reshape(6, 2, 2)
    >>> PersistenceGridForecaster().fit(field).predict(2).tolist() == [field[-1].tolist()] * 2
    True
    """

    def __init__(self, season=None):
        self.season = season
        super().__init__()

    def _forecast(self, anomalies: np.ndarray, origins: np.ndarray, n_frames: int) -> np.ndarray:
        return np.repeat(anomalies[origins - 1, None], n_frames, 1)


class DampedPersistenceGridForecaster(GridForecaster):
    """The last anomaly times a factor of the cell and the lead, from the regression of the field on its own past.

    Of anomalies a the factor at lead h is ``sum_t a[t] a[t + h] / sum_t a[t]^2`` over the fitted frames. Leads that
    fewer than two pairs of fitted frames are apart get 0: the climatology.

    Parameters
    ----------
    season : int, optional
        Frames of a season, 12 for months. By default there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.estimators import DampedPersistenceGridForecaster
    >>> field = np.array([1.0, -1, 1, -1, 1, -1])[:, None, None]
    >>> DampedPersistenceGridForecaster().fit(field).predict(2).round(6).ravel().tolist()
    [1.0, -1.0]
    """

    def __init__(self, season=None):
        self.season = season
        super().__init__()

    def _least_frames(self) -> int:
        return 3

    def _fit(self, anomalies: np.ndarray, n_training: int) -> None:
        self._learned = anomalies[:n_training]

    def _forecast(self, anomalies: np.ndarray, origins: np.ndarray, n_frames: int) -> np.ndarray:
        last = anomalies[origins - 1]
        return np.stack([self._factor(lead) * last for lead in range(1, n_frames + 1)], 1)

    def _factor(self, lead: int) -> np.ndarray:
        now, then = self._learned[:-lead], self._learned[lead:]
        if len(then) < 2:
            return np.zeros(self._learned.shape[1:])
        products, squares = (now * then).sum(0), np.square(now).sum(0)
        return np.divide(products, squares, out=np.zeros_like(products), where=squares > 0)


class LinearInverseGridForecaster(GridForecaster):
    """Linear inverse model: regression of the leading empirical orthogonal functions on their past.

    The anomalies of the fitted frames have the principal components z. "propagator" finds the matrix of one step,
    ``z[t + 1] = G z[t]``, by least squares, and forecasts lead h by ``G^h``; "per_lead" regresses each lead for itself,
    which does not trust that the field is a Markov process and needs more frames.

    Parameters
    ----------
    n_modes : int, default=10
        Orthogonal functions that are kept, at most the number of fitted frames and of cells.
    method : {"propagator", "per_lead"}, default="propagator"
        See above. Leads that fewer than twice as many pairs of fitted frames are apart as there are modes get 0, the
        climatology, by "per_lead".
    season : int, optional
        Frames of a season, 12 for months. By default there is none.

    Attributes
    ----------
    modes_ : ndarray (mode, channel, height, width)
        Orthogonal functions, of length 1, the leading ones first.
    explained_variance_ : ndarray (mode,)
        Share of the variance of the fitted frames that each has.

    References
    ----------
    Penland, Sardeshmukh, "The optimal growth of tropical sea surface temperature anomalies", Journal of Climate 8,
    1995.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.estimators import LinearInverseGridForecaster
    >>> wave = np.sin(np.arange(60)[:, None, None] / 4 - np.arange(8) / 3)
    >>> forecaster = LinearInverseGridForecaster(n_modes=2).fit(wave[:50])
    >>> bool(np.abs(forecaster.predict(10) - wave[50:]).max() < 0.1)
    True
    """

    def __init__(self, n_modes=10, method="propagator", season=None):
        self.n_modes = n_modes
        self.method = method
        self.season = season
        super().__init__()

    def _check_arguments(self) -> None:
        super()._check_arguments()
        require_count("n_modes", self.n_modes)
        if self.method not in _METHODS:
            raise ValueError(f"method must be one of {', '.join(map(repr, _METHODS))}, got {self.method!r}.")

    def _least_frames(self) -> int:
        return 3

    def _fit(self, anomalies: np.ndarray, n_training: int) -> None:
        flat = anomalies[:n_training].reshape(n_training, -1)
        _, lengths, modes = np.linalg.svd(flat, full_matrices=False)
        n = min(int(self.n_modes), n_training - 1, int(np.broadcast_to(self.mask_, anomalies.shape[1:]).sum()))
        self.modes_ = modes[:n].reshape(n, *anomalies.shape[1:])
        self.explained_variance_ = np.square(lengths[:n]) / max(np.square(lengths).sum(), np.finfo(float).tiny)
        self._principal = flat @ modes[:n].T

    def _forecast(self, anomalies: np.ndarray, origins: np.ndarray, n_frames: int) -> np.ndarray:
        modes = self.modes_.reshape(len(self.modes_), -1)
        now = anomalies[origins - 1].reshape(len(origins), -1) @ modes.T
        if self.method == "per_lead":
            ahead = [now @ self._regression(lead) for lead in range(1, n_frames + 1)]
        else:
            step, ahead = self._regression(1), []
            for _ in range(n_frames):
                now = now @ step
                ahead.append(now)
        return (np.stack(ahead, 1) @ modes).reshape(len(origins), n_frames, *anomalies.shape[1:])

    def _regression(self, lead: int) -> np.ndarray:
        now, then = self._principal[:-lead], self._principal[lead:]
        if lead > 1 and len(then) < 2 * len(self.modes_):
            return np.zeros((len(self.modes_), len(self.modes_)))
        return np.linalg.lstsq(now, then, rcond=None)[0]

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return small settings for tests."""
        return [{"n_modes": 2}, {"n_modes": 2, "method": "per_lead", "season": 3}]
