"""What becomes of the attractor of a network as one of its parameters changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from tsmodels.dynamics._checks import as_count
from tsmodels.dynamics._networks import PiecewiseMap, diverges, parameters
from tsmodels_kernels import plrnn_lyapunov, plrnn_simulate

if TYPE_CHECKING:
    from tsmodels.models import PLRNN

__all__ = ["Bifurcation", "bifurcation"]


@dataclass(frozen=True)
class Bifurcation:
    """Attractors by the value of a parameter.

    Attributes
    ----------
    parameter : tuple
        Name and index of what was changed.
    values : ndarray (value,)
        Its values.
    states : ndarray (value, point, latent_dim)
        States of the orbits after the transient; NaN if an orbit diverges, that is goes beyond 1e6.
    exponents : ndarray (value,) or None
        Largest Lyapunov exponents per step, if they were asked for; NaN if an orbit diverges.
    """

    parameter: tuple
    values: np.ndarray
    states: np.ndarray
    exponents: np.ndarray | None = None


@torch.no_grad()
def bifurcation(
    network: PLRNN,
    parameter: tuple,
    values,
    start,
    *,
    n_transient: int = 2000,
    n_points: int = 200,
    inputs=None,
    exponents: bool = False,
) -> Bifurcation:
    """Follow the orbit of one start while a parameter of the map, or a constant input, takes given values.

    Parameters
    ----------
    network : PLRNN
        Of any cell; it is left as it is, and computed in float64.
    parameter : tuple
        ``(name, *index)`` of an entry of ``network.theta``, as ``("A", 0)`` or ``("W2", 3, 1)``; ``("inputs", i)`` for
        an external input, which is then constant.
    values : array (value,)
        Values that it takes, one after the other; each has its own orbit from `start`.
    start : array (latent_dim,)
        Latent state at which the orbits begin.
    n_transient : int, default=2000
        Steps that are left out.
    n_points : int, default=200
        Steps that are kept.
    inputs : array (n_inputs,), optional
        The other external inputs, constant; 0 by default.
    exponents : bool, default=False
        Whether the largest Lyapunov exponent of each orbit is computed, over ``max(n_points, 1000)`` steps.

    Returns
    -------
    Bifurcation
        To be drawn by :func:`tsmodels.plots.plot_bifurcation`.

    Raises
    ------
    ValueError
        If there is no such parameter, or shapes do not fit.
    """
    n_transient, n_points = as_count("n_transient", n_transient, 0), as_count("n_points", n_points)
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError("values must be a vector of finite numbers, at least one.")
    states, largest = [], []
    for value in values:
        map_ = _changed(network, parameter, float(value), inputs)
        z0 = map_.states("start[None]", np.asarray(start)[None])
        orbit = plrnn_simulate(map_.cell, map_.theta, z0, n_transient + n_points, n_relu=map_.n_relu)[0]
        divergent = diverges(orbit.numpy())
        states.append(np.full((n_points, map_.dimension), np.nan) if divergent else orbit[n_transient:].numpy())
        if exponents and divergent:
            largest.append(np.nan)
        elif exponents:
            settled = orbit[n_transient - 1 : n_transient] if n_transient else z0
            found = plrnn_lyapunov(
                map_.cell, map_.theta, settled, max(n_points, 1000), n_transient=100, n_exponents=1, n_relu=map_.n_relu
            )
            largest.append(float(found[0, 0]))
    return Bifurcation(tuple(parameter), values, np.stack(states), np.array(largest) if exponents else None)


def _changed(network: PLRNN, parameter: tuple, value: float, inputs) -> PiecewiseMap:
    """The map of a network with one entry of its parameters or inputs replaced."""
    name, *index = parameter
    if name == "inputs":
        constant = np.zeros(network.n_inputs) if inputs is None else np.array(inputs, dtype=np.float64)
        _replace("inputs", constant, index, value)
        return PiecewiseMap(network, constant)
    theta = parameters(network)
    if name not in theta:
        known = ", ".join([*theta, *(["inputs"] if network.n_inputs else [])])
        raise ValueError(f"parameter must begin with one of {known}; got {name!r}.")
    if name == "C" and inputs is None:
        raise ValueError("C acts through the external inputs, which are 0: pass inputs.")
    _replace(name, theta[name].numpy(), index, value)  # in place: numpy() shares the memory of the copy
    return PiecewiseMap(network, inputs, theta)


def _replace(name: str, values: np.ndarray, index: list, value: float) -> None:
    fits = len(index) == values.ndim and all(
        isinstance(i, int | np.integer) and -n <= i < n for i, n in zip(index, values.shape, strict=False)
    )
    if not fits:
        raise ValueError(f"parameter {name!r} has shape {values.shape}: give one index for each axis, got {index}.")
    values[tuple(index)] = value
