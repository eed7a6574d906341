"""The definition of the affine scan, as a plain loop over torch tensors that autograd differentiates."""

import torch
from torch import Tensor


def affine_scan_ref(J: Tensor, b: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """s[t] = J[t] s[t-1] + b[t] (reverse: s[t+1]); ``J`` (B, T, M, M), ``b`` (B, T, M), ``state`` (B, M)."""
    steps = list(zip(J.unbind(1), b.unbind(1), strict=True))  # unbind: the backward of a slice is a full-size tensor
    rows = []
    for matrix, term in reversed(steps) if reverse else steps:
        state = (matrix @ state[..., None])[..., 0] + term
        rows.append(state)
    if not rows:
        return b.clone(), state.clone()
    return torch.stack(rows[::-1] if reverse else rows, 1), state
