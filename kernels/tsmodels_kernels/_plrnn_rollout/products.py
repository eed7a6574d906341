"""Gradients of inputs and parameters from the adjoint states, in matrix products over all steps at once.

For solvers that have the gradients p[t] of all states before forcing (``p = G + (1 - alpha K) sigma``) before they
need any sum over time.
"""

import torch
from torch import Tensor

from .cells import CELLS
from .ref import features

# Entries of the widest temporary: steps are taken in portions, so that hidden units or bases do not fill the memory.
_PORTION = 1 << 24


def parameter_gradients(
    cell: str,
    p: Tensor,
    forced: Tensor,
    s: Tensor | None,
    A: Tensor,
    W: Tensor,
    h: Tensor,
    inner: Tensor | None,
    offset: Tensor | None,
    C: Tensor | None,
    n_relu: int,
) -> tuple[Tensor, ...]:
    """Gradients of s, A, W, h, inner, offset and C, empty for those that are None.

    ``p`` and ``forced``, the states that the steps begin with, have shape (B, T, M).
    """
    adjoint, states = p.flatten(0, 1), forced.flatten(0, 1)
    by_A, by_h = (adjoint * states).sum(0), adjoint.sum(0)
    by_s, by_C = p.new_empty(0), p.new_empty(0)
    if s is not None and C is not None:
        by_s, by_C = p @ C, adjoint.mT @ s.flatten(0, 1)
    by_W, by_inner, by_offset = (p.new_zeros(0 if t is None else t.shape) for t in (W, inner, offset))
    rows = max(1, _PORTION // max(W.shape[1], 1 if offset is None else offset.numel()))
    for q, x in zip(adjoint.split(rows), states.split(rows), strict=True):
        by_W += q.mT @ features(cell, x, inner, offset, n_relu)
        if inner is not None and offset is not None:
            pulled = _shallow if CELLS[cell].kind == "shallow" else _dendritic
            to_inner, to_offset = pulled(q @ W, x, inner, offset, CELLS[cell].corrected)
            by_inner += to_inner
            by_offset += to_offset
    return by_s, by_A, by_W, by_h, by_inner, by_offset, by_C


def _where_active(argument: Tensor, gradient: Tensor) -> Tensor:
    """The gradient through a ReLU, which torch lets pass where its argument is NaN."""
    return gradient.masked_fill(argument <= 0, 0)


def _shallow(q: Tensor, x: Tensor, inner: Tensor, offset: Tensor, clipped: bool) -> tuple[Tensor, Tensor]:
    """Gradients of W2 and h2 from that of the hidden units."""
    u = x @ inner.mT
    r = _where_active(u + offset, q)
    by_offset = r.sum(0)
    if clipped:
        r = r - _where_active(u, q)
    return r.mT @ x, by_offset


def _dendritic(q: Tensor, x: Tensor, inner: Tensor, offset: Tensor, clipped: bool) -> tuple[Tensor, Tensor]:
    """Gradients of the weights and thresholds of the bases from that of their sums."""
    above = x[..., None] - offset
    bases = above.relu()
    if clipped:
        bases = bases - x.relu()[..., None]
    by_offset = -_where_active(above, q[..., None].expand_as(above)).sum(0) * inner
    return torch.einsum("ni,nib->b", q, bases), by_offset
