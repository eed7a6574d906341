"""Lyapunov exponents of a network, and the dimension that follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from tsmodels.dynamics._checks import as_count, as_series
from tsmodels.dynamics._networks import as_inputs, on_cpu
from tsmodels_kernels import plrnn_lyapunov

if TYPE_CHECKING:
    from tsmodels.models import PLRNN

__all__ = ["kaplan_yorke_dimension", "lyapunov_exponents"]


@torch.no_grad()
def lyapunov_exponents(
    network: PLRNN,
    start,
    *,
    n_steps: int = 20_000,
    n_transient: int = 1000,
    dt: float = 1.0,
    k: int | None = None,
    inputs=None,
) -> np.ndarray:
    """Lyapunov exponents of a network along a free run.

    With Jacobians J of the states z[t] and orthogonal frames Q::

        Q[t+1] R[t+1] = J(z[t]) Q[t],    λ_i = mean_t log|R_ii[t]| / dt

    Parameters
    ----------
    network : PLRNN
        Of any cell; it is run in float64.
    start : array (channel,)
        Observation at which the run begins.
    n_steps : int, default=20000
        Steps that are averaged over.
    n_transient : int, default=1000
        Steps before these, in which run and frame settle.
    dt : float, default=1.0
        Time of a step; exponents are per unit of time.
    k : int, optional
        Number of exponents, the largest first; by default one for each latent unit.
    inputs : array (n_transient + n_steps, n_inputs), optional
        External inputs of all steps, for networks that have them.

    Returns
    -------
    ndarray (k,)
        In descending order. -inf for directions that the map collapses; NaN if the run diverges.

    Raises
    ------
    ValueError
        If shapes do not fit or a number is out of its range.
    """
    network = on_cpu(network)
    start = as_series("start[None]", np.asarray(start)[None], n_channels=network.n_channels, at_least=1)
    n_steps, n_transient = as_count("n_steps", n_steps), as_count("n_transient", n_transient, 0)
    if not dt > 0:
        raise ValueError(f"dt must be positive, got {dt}.")
    if k is not None and as_count("k", k) > network.latent_dim:
        raise ValueError(f"k must be at most the {network.latent_dim} latent units, got {k}.")
    forcing = as_inputs(network, inputs, n_transient + n_steps)
    theta = {name: p.detach().double() for name, p in network.theta.items()}
    z0 = network.start(torch.tensor(start, dtype=network.theta["A"].dtype)).double()
    exponents = plrnn_lyapunov(
        network.cell,
        theta,
        z0,
        n_steps,
        n_transient=n_transient,
        n_exponents=k,
        n_relu=network.n_relu,
        s=None if forcing is None else torch.tensor(forcing)[None],
    )[0].numpy()
    return np.sort(exponents)[::-1] / dt


def kaplan_yorke_dimension(exponents) -> float:
    """Kaplan-Yorke dimension of an attractor with these Lyapunov exponents.

    With j the largest number of exponents whose sum is not negative::

        D = j + (λ_1 + ... + λ_j) / |λ_{j+1}|

    Parameters
    ----------
    exponents : array (k,)
        In any order; all of the system, or at least as many as it takes for their sum to be negative. -inf is allowed.

    Returns
    -------
    float
        0 if all exponents are negative, k if no sum is; NaN if an exponent is NaN.

    Raises
    ------
    ValueError
        If there are no exponents.

    Examples
    --------
    >>> from tsmodels.dynamics import kaplan_yorke_dimension
    >>> round(kaplan_yorke_dimension([0.905, 0.0, -14.57]), 3)
    2.062
    """
    spectrum = np.sort(np.asarray(exponents, dtype=np.float64).ravel())[::-1]
    if not len(spectrum):
        raise ValueError("exponents is empty: pass at least one Lyapunov exponent.")
    if np.isnan(spectrum).any():
        return float("nan")
    sums = np.cumsum(spectrum)
    j = int((sums >= 0).sum())  # sums fall once an exponent is negative: those not negative come first
    if j in (0, len(spectrum)):
        return float(j)
    return float(j + sums[j - 1] / -spectrum[j])
