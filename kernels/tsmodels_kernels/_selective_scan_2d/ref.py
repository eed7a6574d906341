"""The definition of the two-axis selective scan, as plain loops over torch tensors that autograd differentiates.

Every backend is tested against this file, values and gradients.
"""

import torch
from torch import Tensor

from .options import Options


def gates(
    dt1: Tensor, dt2: Tensor, alpha1, rho2, rho3, alpha4, options: Options
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four transition gates of every cell.

    ``dt1, dt2`` (..., D); ``alpha1, rho2, rho3, alpha4`` (D, N) -> ``a1, a2, a3, a4`` (..., D, N).
    """
    z1, z4 = dt1[..., None] * alpha1, dt2[..., None] * alpha4
    if options.gates == "zoh":
        a1, a2, a3, a4 = torch.exp(-z1), -torch.expm1(-z1) * rho2, -torch.expm1(-z4) * rho3, torch.exp(-z4)
    else:
        scale = options.gate_scale
        a1, a4 = scale * torch.exp(-z1), scale * torch.exp(-z4)
        a2, a3 = scale * torch.exp(-dt1[..., None] * rho2), scale * torch.exp(-dt2[..., None] * rho3)
    return a1, options.cross2 * a2, options.cross3 * a3, a4


def inputs(x: Tensor, dt1, dt2, B1, B2, alpha1, alpha4, options: Options) -> tuple[Tensor, Tensor]:
    """What enters the two states of every cell: ``u1, u2`` (..., D, N)."""
    if options.input_rule == "euler":
        w1, w2 = dt1[..., None], dt2[..., None]
    else:
        w1, w2 = -torch.expm1(-dt1[..., None] * alpha1) / alpha1, -torch.expm1(-dt2[..., None] * alpha4) / alpha4
    return w1 * x[..., None] * B1[..., None, :], w2 * x[..., None] * B2[..., None, :]


def roesser_scan(
    a1: Tensor,
    a2: Tensor,
    a3: Tensor,
    a4: Tensor,
    u1: Tensor,
    u2: Tensor,
    h1: Tensor,
    h2: Tensor,
    reverse_v: bool = False,
) -> tuple[Tensor, Tensor]:
    """The recurrence itself, with any gates: the triple loop of cells in the order of their dependence.

    Gates and inputs ``(B, T, V, ...)``; ``h1, h2`` ``(B, V, ...)``: the states of the column before the first.
    Returns both states of all cells, ``(B, T, V, ...)``.
    """
    order = range(a1.shape[2])[:: -1 if reverse_v else 1]
    left1, left2 = list(h1.unbind(1)), list(h2.unbind(1))
    columns1, columns2 = [], []
    # unbind, never a[:, t]: the backward of a slice makes a full-size zero tensor for every step
    for c1, c2, c3, c4, w1, w2 in zip(*(g.unbind(1) for g in (a1, a2, a3, a4, u1, u2)), strict=True):
        cells = [g.unbind(1) for g in (c1, c2, c3, c4, w1, w2)]
        above1 = above2 = None
        now1, now2 = list(left1), list(left2)
        for v in order:
            e1, e2, e3, e4, i1, i2 = (g[v] for g in cells)
            now1[v] = e1 * left1[v] + e2 * left2[v] + i1
            now2[v] = i2 if above1 is None else e3 * above1 + e4 * above2 + i2
            above1, above2 = now1[v], now2[v]
        left1, left2 = now1, now2
        columns1.append(torch.stack(now1, 1))
        columns2.append(torch.stack(now2, 1))
    return torch.stack(columns1, 1), torch.stack(columns2, 1)


def pooled_scan(a1, a2, a3, u1, u2, h1, h2, n_variates: Tensor) -> tuple[Tensor, Tensor]:
    """``roesser_scan`` with the mean of h1 over the first ``n_variates`` (B,) variates in place of the one above."""
    weight = (torch.arange(h1.shape[1], device=h1.device) < n_variates[:, None]).to(h1.dtype) / n_variates[:, None]
    columns1, columns2 = [], []
    for c1, c2, c3, w1, w2 in zip(*(g.unbind(1) for g in (a1, a2, a3, u1, u2)), strict=True):
        h1 = c1 * h1 + c2 * h2 + w1
        mean = (h1 * weight[:, :, None, None]).sum(1, keepdim=True)
        h2 = c3 * mean + w2
        columns1.append(h1)
        columns2.append(h2)
    return torch.stack(columns1, 1), torch.stack(columns2, 1)


def selective_scan_2d_ref(
    x, dt1, dt2, B1, B2, C1, C2, alpha1, rho2, rho3, alpha4, D, h1, h2, n_variates, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Output and both last states; shapes as in the public operator, nothing optional."""
    if x.shape[1] == 0 or x.shape[2] == 0:
        return x * D, h1.clone(), h2.clone()
    a1, a2, a3, a4 = gates(dt1, dt2, alpha1, rho2, rho3, alpha4, options)
    u1, u2 = inputs(x, dt1, dt2, B1, B2, alpha1, alpha4, options)
    if options.coupling == "pooled":
        s1, s2 = pooled_scan(a1, a2, a3, u1, u2, h1, h2, n_variates)
    else:
        s1, s2 = roesser_scan(a1, a2, a3, a4, u1, u2, h1, h2, options.reverse_v)
    y = (s1 * C1[..., None, :] + s2 * C2[..., None, :]).sum(-1) + D * x
    return y, s1[:, -1], s2[:, -1]
