"""Rollouts of piecewise-linear maps as arguments of ``plrnn_rollout``, for several test files."""

from typing import Any

import torch
from torch import Tensor


def contracting(cell: str, M: int, width: int, n_inputs: int = 0, *, seed: int = 0) -> dict[str, Tensor]:
    """theta (float64) of a map on which rounding errors do not grow, with ReLUs on and off."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    theta = {"A": 0.6 * draw(M).sigmoid()}
    if cell in ("shplrnn", "cshplrnn"):
        theta |= {"W1": 0.3 * draw(M, width) / width**0.5, "h1": 0.1 * draw(M)}
        theta |= {"W2": draw(width, M) / (M**0.5 + width**0.5), "h2": 0.5 * draw(width)}
    else:
        theta |= {"W": 0.15 * draw(M, M) / M**0.5, "h": 0.3 * draw(M)}
    if cell in ("dendplrnn", "cdendplrnn"):
        theta |= {"a": draw(width) / width**0.5, "H": draw(M, width)}
    return theta | ({"C": draw(M, n_inputs)} if n_inputs else {})


def rollout_problem(
    cell: str, B: int, T: int, M: int, width: int, *, n_inputs: int = 0, seed: int = 0, **options
) -> dict[str, Any]:
    """Arguments of ``plrnn_rollout`` by name, float64; ``options`` are more of them."""
    generator = torch.Generator().manual_seed(seed + 1)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    arguments = {"cell": cell, "theta": contracting(cell, M, width, n_inputs, seed=seed)}
    arguments |= {"z0": draw(B, M), "d": draw(B, T, M), "alpha": 0.15}
    arguments |= {"s": draw(B, T, n_inputs)} if n_inputs else {}
    return arguments | ({"n_relu": (M + 1) // 2} if cell == "alrnn" else {}) | options


def converted(arguments: dict[str, Any], like: Tensor) -> dict[str, Any]:
    """The same in the dtype and on the device of ``like``."""
    found: dict[str, Any] = {k: v.to(like) if isinstance(v, Tensor) else v for k, v in arguments.items()}
    return found | {"theta": {k: t.to(like) for k, t in arguments["theta"].items()}}


def with_leaves(arguments: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same with new tensors that take gradients, and those by name."""
    theta = {k: t.clone().requires_grad_() for k, t in arguments["theta"].items()}
    states = {k: arguments[k].clone().requires_grad_() for k in ("z0", "s") if k in arguments}
    return arguments | states | {"theta": theta}, states | theta
