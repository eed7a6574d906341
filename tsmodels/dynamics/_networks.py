"""Networks as the measures and analyses use them: on the CPU, arrays in and out."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tsmodels.dynamics._checks import as_series
from tsmodels_kernels import plrnn_affine, plrnn_pattern, plrnn_step

if TYPE_CHECKING:
    from tsmodels.models import PLRNN

__all__ = ["PiecewiseMap", "as_inputs", "diverges", "free_run", "on_cpu", "parameters"]

_LARGEST = 1e6  # of data and states that are standardised or nearly so


def diverges(run: np.ndarray) -> bool:
    """Whether a run reaches a value that is not finite or beyond 1e6."""
    return not bool((np.abs(run) <= _LARGEST).all())


def on_cpu(network: PLRNN) -> PLRNN:
    """Return the network, or a copy of it on the CPU, where the kernels of free runs are."""
    return network if next(network.parameters()).device.type == "cpu" else copy.deepcopy(network).cpu()


def as_inputs(network: PLRNN, inputs: Any, n_steps: int, *, name: str = "inputs") -> np.ndarray | None:
    """Return external inputs (n_steps, n_inputs), or None if the network has none."""
    if not network.n_inputs:
        if inputs is not None:
            raise ValueError(f"the network has no external inputs: leave {name} out, or build it with n_inputs.")
        return None
    if inputs is None:
        raise ValueError(f"the network has {network.n_inputs} external inputs: pass {name} ({n_steps}, n_inputs).")
    values = as_series(name, inputs, n_channels=network.n_inputs, at_least=1)
    if len(values) != n_steps:
        raise ValueError(f"{name} must have a row for each of {n_steps} steps, got {len(values)} rows.")
    return values


@torch.no_grad()
def free_run(network: PLRNN, context: np.ndarray, n_steps: int, inputs: np.ndarray | None = None) -> np.ndarray:
    """Free runs (batch, n_steps, channel) after contexts (batch, w, channel), in the precision of the network."""
    dtype = next(network.parameters()).dtype
    s = None if inputs is None else torch.tensor(inputs, dtype=dtype)
    return network.generate(torch.tensor(context, dtype=dtype), n_steps, s).numpy().astype(np.float64)


def parameters(network: PLRNN) -> dict[str, Tensor]:
    """Copies of the parameters of the map in float64."""
    return {name: p.detach().to("cpu", torch.float64, copy=True) for name, p in network.theta.items()}


class PiecewiseMap:
    """A map in float64, with constant external inputs as part of its offset.

    Parameters
    ----------
    network : PLRNN
        Whose map it is.
    inputs : array (n_inputs,), optional
        Constant external inputs; 0 if none are given.
    theta : dict of Tensor, optional
        Parameters that take the place of those of the network, float64.
    """

    def __init__(self, network: PLRNN, inputs: Any = None, theta: dict[str, Tensor] | None = None):
        self.theta = parameters(network) if theta is None else dict(theta)
        self.cell, self.n_relu, self.dimension = network.cell, network.n_relu, len(self.theta["A"])
        couplings = self.theta.pop("C", None)
        if inputs is None:
            return
        if couplings is None:
            raise ValueError("the network has no external inputs: leave inputs out, or build it with n_inputs.")
        constant = torch.as_tensor(np.asarray(inputs, dtype=np.float64))
        if tuple(constant.shape) != (couplings.shape[1],):
            raise ValueError(f"inputs must have shape ({couplings.shape[1]},), got {tuple(constant.shape)}.")
        offset = "h1" if "h1" in self.theta else "h"
        self.theta[offset] = self.theta[offset] + couplings @ constant

    @property
    def n_bits(self) -> int:
        """Number of ReLUs that make a pattern."""
        return self.pattern(torch.zeros(self.dimension, dtype=torch.float64)).shape[-1]

    def step(self, z: Tensor) -> Tensor:
        """F(z) of states (..., M)."""
        return plrnn_step(self.cell, self.theta, z, n_relu=self.n_relu)

    def pattern(self, z: Tensor) -> Tensor:
        """Which ReLUs are active at states (..., M), bool (..., n_bits)."""
        return plrnn_pattern(self.cell, self.theta, z, n_relu=self.n_relu)

    def affine(self, pattern: Tensor) -> tuple[Tensor, Tensor]:
        """J (..., M, M) and c (..., M) of the regions with these patterns: F(z) = J z + c inside."""
        J, c = plrnn_affine(self.cell, self.theta, pattern, n_relu=self.n_relu)
        assert c is not None  # offsets are always asked for
        return J, c

    def states(self, name: str, values: Any, *, at_least: int = 1) -> Tensor:
        """Check latent states (n, M) and return them as float64."""
        states = as_series(name, values.detach() if isinstance(values, Tensor) else values, at_least=at_least)
        if states.shape[1] != self.dimension:
            raise ValueError(
                f"{name} must be latent states (n, {self.dimension}), as from network.states; got {states.shape}."
            )
        return torch.as_tensor(states)
