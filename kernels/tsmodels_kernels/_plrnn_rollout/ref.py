"""The definition of the forced rollout, as a plain loop over torch tensors that autograd differentiates."""

import torch
from torch import Tensor
from torch.nn.functional import relu


def features(cell: str, z: Tensor, inner: Tensor | None, offset: Tensor | None, n_relu: int) -> Tensor:
    """g(z) for states (..., M)."""
    if inner is None or offset is None:
        u = z - z.mean(-1, keepdim=True) if cell == "mcplrnn" else z
        n_linear = z.shape[-1] - n_relu
        return torch.cat([u[..., :n_linear], relu(u[..., n_linear:])], -1)
    if cell in ("shplrnn", "cshplrnn"):
        u = z @ inner.mT
        return relu(u + offset) - relu(u) if cell == "cshplrnn" else relu(u + offset)
    bases = relu(z[..., None] - offset)
    if cell == "cdendplrnn":
        bases = bases - relu(z)[..., None]
    return bases @ inner


def plrnn_rollout_ref(
    cell: str,
    z0: Tensor,
    d: Tensor,
    alpha: Tensor,
    mask: Tensor,
    s: Tensor | None,
    A: Tensor,
    W: Tensor,
    h: Tensor,
    inner: Tensor | None,
    offset: Tensor | None,
    C: Tensor | None,
    n_relu: int,
) -> Tensor:
    """States (B, T, M) before forcing; the parameters in the common form of ``cells.py``, ``alpha`` (T,)."""
    forced, states = z0, []
    inputs = [None] * d.shape[1] if s is None else s.unbind(1)
    # unbind, never d[:, t]: the backward of a slice makes a full-size zero tensor for every step
    for target, strength, given in zip(d.unbind(1), alpha.unbind(0), inputs, strict=True):
        z = A * forced + features(cell, forced, inner, offset, n_relu) @ W.mT + h
        if given is not None and C is not None:
            z = z + given @ C.mT
        states.append(z)
        forced = z + strength * mask * (target - z)
    return torch.stack(states, 1) if states else z0[:, None][:, :0]
