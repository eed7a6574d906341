"""What a fitted forecaster of a dynamical system tells beside forecasts: its free run, its regions, its exponents."""

from typing import Any

import numpy as np
import pandas as pd
from sktime.datatypes import convert_to
from sktime.forecasting.base import ForecastingHorizon

from tsmodels.estimators._dynamics_forecaster import DynamicsForecaster
from tsmodels.estimators._training import require_count

__all__ = ["ReconstructingForecaster"]


class ReconstructingForecaster(DynamicsForecaster):
    """A forecaster of which the reconstructed system can be asked for."""

    def get_reconstruction(self, n: int | None = None) -> Any:
        """Return the free-running trajectory: what the network makes of the first observation alone.

        A network that has reconstructed the system gives a trajectory with the geometry, the spectra and the exponents
        of the observed one, see :mod:`tsmodels.dynamics`; point by point a chaotic one departs from it.

        Parameters
        ----------
        n : int, optional
            Number of points. Default: as many as the sample has from there on. With X as many at most, since the
            inputs of later steps are not known.

        Returns
        -------
        as y
            In the container, columns and units of y. The index is that of y, continued with its frequency where `n`
            goes further. The first point is the first observation; with delay coordinates, the first that has all its
            delays.

        Raises
        ------
        ValueError
            If `n` is no positive integer, or larger than the sample with X, or if y was a panel.
        """
        n, points, inputs = self._from_the_start(n)
        free = self._runs.free(points[:1], n - 1, None if inputs is None else inputs[1:n])
        values = self._unscaled(self._clamped(np.vstack([points[:1], free]))[0])
        return self._as_y(pd.DataFrame(values, index=self._times(n), columns=self._sample.columns))

    def symbols(self, n: int | None = None) -> pd.Series:
        """Return the regions that the reconstruction passes through, in which the network is an affine map.

        Parameters
        ----------
        n : int, optional
            As in :meth:`get_reconstruction`.

        Returns
        -------
        Series of int
            Codes by time, those of :func:`tsmodels.dynamics.symbols`.
        """
        from tsmodels.dynamics import symbols

        n, points, inputs = self._from_the_start(n)
        states = self._runs.states(points[:1], n - 1, None if inputs is None else inputs[1:n])
        codes = symbols(self.network_, states)[0]
        return pd.Series(codes, index=self._times(n), name="symbol")

    def simulate(self, n: int, X: Any = None) -> Any:
        """Run freely for `n` steps after the end of y: the forecast of all of them.

        Parameters
        ----------
        n : int
            Number of steps.
        X : container of sktime, optional
            As in `predict`.

        Returns
        -------
        as y
            ``predict(fh=[1, ..., n], X=X)``.
        """
        require_count("n", n)
        asked = self._fh
        try:
            return self.predict(fh=np.arange(1, n + 1), X=X)
        finally:
            self._fh = asked  # of fit: a later predict() is for that

    def lyapunov_spectrum(self, *, dt: float = 1.0, n_steps: int = 20_000, n_transient: int = 1000) -> np.ndarray:
        """Return the Lyapunov exponents of the network along its free run from the last point.

        Parameters
        ----------
        dt : float, default=1.0
            Time from one observation to the next.
        n_steps, n_transient : int, default=20_000 and 1000
            Steps that are averaged over, and steps before these.

        Returns
        -------
        ndarray of shape (latent_dim,)
            Exponents per unit of time, in descending order. X counts as constant, at its mean in the sample.
        """
        from tsmodels.dynamics import lyapunov_exponents

        self._require_one_series()
        points, inputs = self._points()
        constant = None if inputs is None else np.tile(inputs.mean(0), (n_transient + n_steps, 1))
        return lyapunov_exponents(
            self.network_, points[-1], n_steps=n_steps, n_transient=n_transient, dt=dt, inputs=constant
        )

    def _from_the_start(self, n: int | None) -> tuple[int, np.ndarray, np.ndarray | None]:
        self._require_one_series()
        points, inputs = self._points()
        n = len(points) if n is None else n
        require_count("n", n)
        if inputs is not None and n > len(points):
            raise ValueError(f"n={n}, but X is known for {len(points)} points only: pass n={len(points)} at most")
        return int(n), points, inputs

    def _times(self, n: int) -> pd.Index:
        """The ``n`` times from the first point on."""
        known = self._sample.index[self._embedding.n_lost :]
        if n <= len(known):
            return known[:n]
        further = ForecastingHorizon(np.arange(1, n - len(known) + 1), is_relative=True)
        return known.append(further.to_absolute_index(self.cutoff))

    def _as_y(self, frame: pd.DataFrame) -> Any:
        mtype: str = self._y_metadata["mtype"]  # pyright: ignore[reportOptionalSubscript]  # sktime's fit sets it
        return convert_to(frame, mtype, store=self._converter_store_y, store_behaviour="freeze")

    def _require_one_series(self) -> None:
        self.check_is_fitted()
        if self._is_vectorized:
            raise ValueError(
                f"{type(self).__name__} was fitted on a panel, one network for each series: ask those in the attribute "
                "forecasters_"
            )
