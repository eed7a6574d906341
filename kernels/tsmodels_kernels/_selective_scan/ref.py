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
    if state is None:
        state = x.new_zeros((n_cases, *A.shape))
    per_channel = n_channels // B.shape[2]
    # unbind, never delta[:, t]: the backward of a slice makes a full-size zero tensor for every step
    steps = list(zip(*(tensor.unbind(1) for tensor in (delta, delta * x, B, C)), strict=True))
    rows = []
    for step, term, b, c in reversed(steps) if reverse else steps:
        b, c = (m.repeat_interleave(per_channel, 1) for m in (b, c))  # (B, G, N) -> (B, D, N)
        state = torch.exp(step[..., None] * A) * state + term[..., None] * b
        rows.append((c * state).sum(-1))
    if rows:
        v = torch.stack(rows[::-1] if reverse else rows, 1)
    else:
        v, state = x.clone(), state.clone()  # no steps: both are what came in, the first empty
    if D is not None:
        v = v + D * x
    return v if z is None else v * silu(z), state
