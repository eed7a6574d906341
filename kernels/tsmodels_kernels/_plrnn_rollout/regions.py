"""One step of a piecewise-linear map, and the affine map that it is inside a region.

Which ReLUs are active at a state, its pattern, says in which region the state lies; there F(z) = J z + c.  All three
functions are plain torch, of any device and leading shape, and differentiable with respect to ``theta``.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from .cells import CELLS
from .ref import features

Theta = Mapping[str, Tensor]


def _parts(cell: str, theta: Theta) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
    """A, W, h, inner and offset."""
    A, W, h, *of_features = (theta[name] for name in CELLS[cell].names)
    inner, offset = of_features or (None, None)
    return A, W, h, inner, offset


def plrnn_step(cell: str, theta: Theta, z: Tensor, s: Tensor | None = None, *, n_relu: int | None = None) -> Tensor:
    """Apply the map once, F(z) = A z + W g(z) + h + C s.

    Parameters
    ----------
    cell, theta, n_relu
        As in :func:`plrnn_rollout`.
    z : Tensor, shape (..., M)
        States.
    s : Tensor, shape (..., S), optional
        External inputs, with ``theta["C"]``.

    Returns
    -------
    Tensor, shape (..., M)
        The next states.
    """
    A, W, h, inner, offset = _parts(cell, theta)
    after = A * z + features(cell, z, inner, offset, z.shape[-1] if n_relu is None else n_relu) @ W.mT + h
    return after if s is None else after + s @ theta["C"].mT


def plrnn_pattern(cell: str, theta: Theta, z: Tensor, *, n_relu: int | None = None) -> Tensor:
    """Tell which ReLUs are active at a state: the region it lies in.

    Parameters
    ----------
    cell, theta, n_relu
        As in :func:`plrnn_rollout`.
    z : Tensor, shape (..., M)
        States.

    Returns
    -------
    Tensor of bool, shape (..., n_bits)
        True where the argument of a ReLU is positive.  ``plrnn``, ``mcplrnn``: the M units; ``alrnn``: its last
        ``n_relu``; ``shplrnn``: the H hidden units; ``cshplrnn``: W2 z + h2 > 0, then W2 z > 0; dendritic: z_i > H_ib
        (i before b) and, where clipped, then z_i > 0.
    """
    _, _, _, inner, offset = _parts(cell, theta)
    kind, corrected, _ = CELLS[cell]
    if inner is None or offset is None:
        u = z - z.mean(-1, keepdim=True) if corrected else z
        return u[..., u.shape[-1] - (u.shape[-1] if n_relu is None else n_relu) :] > 0
    if kind == "shallow":
        u = z @ inner.mT
        above, plain = u + offset > 0, u > 0
    else:
        above, plain = (z[..., None] > offset).flatten(-2), z > 0
    return torch.cat([above, plain], -1) if corrected else above


def plrnn_affine(
    cell: str, theta: Theta, pattern: Tensor, *, n_relu: int | None = None, offsets: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Write the map inside a region as F(z) = J z + c, without external inputs.

    J is the Jacobian; it is exact everywhere in the region, also for patterns that no state has.

    Parameters
    ----------
    cell, theta, n_relu
        As in :func:`plrnn_rollout`.
    pattern : Tensor of bool, shape (..., n_bits)
        From :func:`plrnn_pattern`.
    offsets : bool, default=True
        Whether c is wanted too.

    Returns
    -------
    J : Tensor, shape (..., M, M)
        Jacobians.
    c : Tensor, shape (..., M), or None
        Offsets.
    """
    A, W, h, inner, offset = _parts(cell, theta)
    kind, corrected, _ = CELLS[cell]
    active = pattern.to(A.dtype)
    M = len(A)
    if inner is None or offset is None:
        ones = active.new_ones(*active.shape[:-1], M - (M if n_relu is None else n_relu))
        slopes = W * torch.cat([ones, active], -1)[..., None, :]
        if corrected:
            slopes = slopes - slopes.mean(-1, keepdim=True)
        return slopes + torch.diag(A), h.expand(*active.shape[:-1], M) if offsets else None
    if kind == "shallow":
        above = active[..., : len(offset)]
        slopes = above - active[..., len(offset) :] if corrected else above
        # one product for all states: the outer product of each hidden unit's weights, a row of M * M
        outer = (W.mT[:, :, None] * inner[:, None, :]).flatten(1)
        J = (slopes @ outer).unflatten(-1, (M, M)) + torch.diag(A)
        return J, (above * offset) @ W.mT + h if offsets else None
    above = active[..., : offset.numel()].unflatten(-1, offset.shape)
    slopes = above @ inner
    if corrected:
        slopes = slopes - active[..., offset.numel() :] * inner.sum()
    J = W * slopes[..., None, :] + torch.diag(A)
    return J, h - ((above * offset) @ inner) @ W.mT if offsets else None
