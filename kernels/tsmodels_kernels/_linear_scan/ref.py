"""The definition of the linear scan, as a plain loop over torch tensors that autograd differentiates."""

import torch
from torch import Tensor


def linear_scan_ref(a: Tensor, b: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """h[t] = a[t] h[t-1] + b[t] (reverse: h[t+1]); ``a, b`` (B, T, ...) of one shape, ``state`` (B, ...)."""
    steps = list(zip(a.unbind(1), b.unbind(1), strict=True))  # unbind: the backward of a slice is a full-size tensor
    rows = []
    for gate, term in reversed(steps) if reverse else steps:
        state = gate * state + term
        rows.append(state)
    if not rows:
        return b.clone(), state.clone()
    return torch.stack(rows[::-1] if reverse else rows, 1), state
