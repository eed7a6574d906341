"""Step sizes of discretised state space models."""

import math

import torch
from torch import Tensor

# Smaller initial steps than this would freeze a state for the whole of any realistic series.
STEP_FLOOR = 1e-4


def inverse_softplus(y: Tensor) -> Tensor:
    """The x with log(1 + exp(x)) = y, for y > 0, accurate for small and large y."""
    return y + torch.log(-torch.expm1(-y))


def log_uniform_step_bias(n_steps: int, low: float, high: float) -> Tensor:
    """Biases whose softplus is drawn log-uniformly from [low, high].

    Parameters
    ----------
    n_steps : int
        Number of biases.
    low, high : float
        Bounds of the step size, 0 < low <= high, in units of one time step (or one variate).

    Returns
    -------
    Tensor, shape (n_steps,)
        softplus⁻¹ of the draws, which are floored at 1e-4.

    Raises
    ------
    ValueError
        If the bounds are not 0 < low <= high.
    """
    if not 0 < low <= high:
        raise ValueError(f"step sizes need 0 < low <= high, got low={low}, high={high}")
    draws = torch.exp(torch.empty(n_steps).uniform_(math.log(low), math.log(high)))
    return inverse_softplus(draws.clamp(min=STEP_FLOOR))
