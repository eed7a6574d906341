"""The definition of the selective scan, as a plain loop over torch tensors that autograd differentiates."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, silu


def selective_scan_ref(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    z: Tensor | None,
    dt_bias: Tensor | None,
    state: Tensor | None,
    dt_softplus: bool,
    reverse: bool,
) -> tuple[Tensor, Tensor]:
    """Output (B, T, D) and last state (B, D, N); shapes as in the public operator, ``B, C`` (B, T, G, N)."""
    delta = dt if dt_bias is None else dt + dt_bias
    if dt_softplus:
        delta = -logsigmoid(-delta)  # exact at every size; torch's softplus is the identity above a threshold
    n_cases, _, n_channels = x.shape
    h = x.new_zeros((n_cases, *A.shape)) if state is None else state
    per_channel = n_channels // B.shape[2]
    # unbind, never delta[:, t]: the backward of a slice makes a full-size zero tensor for every step
    steps = list(zip(*(tensor.unbind(1) for tensor in (delta, delta * x, B, C)), strict=True))
    rows = []
    for step, term, b, c in reversed(steps) if reverse else steps:
        b, c = (m.repeat_interleave(per_channel, 1) for m in (b, c))  # (B, G, N) -> (B, D, N)
        h = torch.exp(step[..., None] * A) * h + term[..., None] * b
        rows.append((c * h).sum(-1))
    if rows:
        v = torch.stack(rows[::-1] if reverse else rows, 1)
    else:
        v, h = x.clone(), h.clone()  # no steps: both are what came in, the first empty
    if D is not None:
        v = v + D * x
    return v if z is None else v * silu(z), h
