"""All measures of a reconstruction under one protocol, and what the data themselves reach under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tsmodels.dynamics._checks import as_count, as_series
from tsmodels.dynamics._divergence import state_space_divergence
from tsmodels.dynamics._exponents import kaplan_yorke_dimension, lyapunov_exponents
from tsmodels.dynamics._forecasts import prediction_error
from tsmodels.dynamics._networks import as_inputs, diverges, free_run, on_cpu
from tsmodels.dynamics._spectra import spectral_distance

if TYPE_CHECKING:
    from tsmodels.models import PLRNN

__all__ = ["Reconstruction", "evaluate_reconstruction", "reconstruction_floor"]

_EXPONENT_STEPS, _EXPONENT_TRANSIENT = 20_000, 1000
_MOST_EXPONENTS = 32


@dataclass(frozen=True)
class Reconstruction:
    """How well a network reconstructs a system; all measures are NaN if its free run diverges.

    Attributes
    ----------
    d_stsp : float
        :func:`state_space_divergence` of the free run.
    d_h : float
        :func:`spectral_distance` of the free run.
    pe : float
        :func:`prediction_error` of ``n_ahead`` steps.
    lyapunov : ndarray (k,)
        Lyapunov exponents per unit of time, the largest 32 at most; empty if not asked for.
    kaplan_yorke : float
        Dimension that follows from them; NaN without them.
    divergent : bool
        Whether the free run reached a value that is not finite or beyond 1e6.
    n_points : int
        Points that were compared.
    n_ahead : int
        Steps of ``pe``.
    """

    d_stsp: float
    d_h: float
    pe: float
    lyapunov: np.ndarray
    kaplan_yorke: float
    divergent: bool
    n_points: int
    n_ahead: int

    def as_dict(self) -> dict[str, float]:
        """Return the measures by name, for a table or a log: a number each, ``divergent`` 0 or 1."""
        return {
            "d_stsp": self.d_stsp,
            "d_h": self.d_h,
            f"pe_{self.n_ahead}": self.pe,
            "lyapunov_max": float(self.lyapunov[0]) if len(self.lyapunov) else float("nan"),
            "kaplan_yorke": self.kaplan_yorke,
            "divergent": float(self.divergent),
        }


def evaluate_reconstruction(
    network: PLRNN,
    series,
    *,
    inputs=None,
    signal=None,
    n_ahead: int = 20,
    dt: float = 1.0,
    variance: float = 1.0,
    smoothing: float = 20.0,
    seed: int = 0,
    exponents: bool = True,
) -> Reconstruction:
    """Compare the free run of a network with a held-out series.

    For a series of n points the network runs freely for n + n // 4 steps from the first; the first n // 4 are dropped,
    and the n others compared with the series. With external inputs the run ends where they end, and what is left is
    compared with the same stretch of the series.

    Parameters
    ----------
    network : PLRNN
        The trained network, on any device; it is left as it is.
    series : array (time, channel)
        Held out, in the units that the network was trained with.
    inputs : array (time - 1, n_inputs), optional
        External inputs; row t enters the step that produces ``series[t + 1]``.
    signal : array like `series`, optional
        What starts the network instead: the deconvolved series, for a filtered observation.
    n_ahead : int, default=20
        Steps of the prediction error.
    dt : float, default=1.0
        Time of a step, the unit of the exponents.
    variance : float, default=1.0
        That of the mixtures, where the divergence is by mixtures (more than 5 channels).
    smoothing : float, default=20.0
        Of the spectra, in frequency bins.
    seed : int, default=0
        Draws the samples of the mixtures.
    exponents : bool, default=True
        Whether Lyapunov exponents are computed, of 20000 steps.

    Returns
    -------
    Reconstruction
        The same for the same arguments.

    Raises
    ------
    ValueError
        If the series is too short, has values that are not finite, or shapes do not fit. A run that diverges raises
        nothing: it is ``divergent``.
    """
    n_ahead = as_count("n_ahead", n_ahead)
    network = on_cpu(network)
    series = as_series("series", series, n_channels=network.n_channels, at_least=max(n_ahead + 1, 8))
    forcing = as_inputs(network, inputs, len(series) - 1)
    n_dropped = len(series) // 4
    n_steps = len(series) + n_dropped if forcing is None else len(forcing)
    start = (series if signal is None else as_series("signal", signal, n_channels=network.n_channels))[:1]
    run = free_run(network, start[None], n_steps, None if forcing is None else forcing[None])[0]
    divergent, run = diverges(run), run[n_dropped:]
    if divergent:
        nan = float("nan")
        return Reconstruction(nan, nan, nan, np.full(int(exponents), nan), nan, True, len(run), n_ahead)
    true = series[-len(run) :]
    spectrum = _exponents(network, start[0], forcing, dt) if exponents else np.empty(0)
    return Reconstruction(
        d_stsp=state_space_divergence(true, run, variance=variance, seed=seed),
        d_h=spectral_distance(true, run, smoothing=smoothing),
        pe=prediction_error(network, series, n_ahead, inputs=forcing, signal=signal),
        lyapunov=spectrum,
        kaplan_yorke=kaplan_yorke_dimension(spectrum) if exponents else float("nan"),
        divergent=False,
        n_points=len(run),
        n_ahead=n_ahead,
    )


def _exponents(network: PLRNN, start: np.ndarray, forcing: np.ndarray | None, dt: float) -> np.ndarray:
    n_transient, n_steps = _EXPONENT_TRANSIENT, _EXPONENT_STEPS
    if forcing is not None:
        n_transient = min(n_transient, len(forcing) // 10)
        n_steps = min(n_steps, len(forcing) - n_transient)
        forcing = forcing[: n_transient + n_steps]
    k = min(network.latent_dim, _MOST_EXPONENTS)
    return lyapunov_exponents(network, start, n_steps=n_steps, n_transient=n_transient, dt=dt, k=k, inputs=forcing)


def reconstruction_floor(
    series, *, variance: float = 1.0, smoothing: float = 20.0, seed: int = 0
) -> tuple[float, float]:
    """Measures between the halves of a series: what a perfect reconstruction can be expected to reach.

    Parameters
    ----------
    series : array (time, channel)
        Observed series.
    variance, smoothing, seed
        As in :func:`evaluate_reconstruction`.

    Returns
    -------
    d_stsp, d_h : float
        :func:`state_space_divergence` and :func:`spectral_distance` of the first half and the second.

    Raises
    ------
    ValueError
        If the series is too short or has values that are not finite.
    """
    series = as_series("series", series, at_least=4)
    half = len(series) // 2
    first, second = series[:half], series[half : 2 * half]
    return (
        state_space_divergence(first, second, variance=variance, seed=seed),
        spectral_distance(first, second, smoothing=smoothing),
    )
