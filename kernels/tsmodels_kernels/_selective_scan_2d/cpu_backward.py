"""Adjoint of the kernel in ``cpu.py``, whose layout and names it shares.

The stored columns are taken from the last to the first: states and losses of one interval are recomputed, which fit the
second-level cache, and the adjoint runs over them, t down and variates backwards.  ``p1, p2`` are the adjoints of h1,
h2.  Gradients of the parameters of a block lie behind them in the work array, in the same rows.  ``grads`` are the
addresses of the gradients of y, x, dt1, dt2 and of those of B1, B2, C1, C2, which lie side by side.
"""

# The Python signatures of Numba intrinsics are those of their code generators.
# pyright: reportCallIssue=false

import numpy as np

from .._flags import helper, kernel, phase
from .._simd import array_at, lanes, vadd_sums, vfull, vload, vsplat, vstore
from .._simd_math import LN_2
from .cpu import ROWS, _advance, _advance_pooled, _aligned, _clear, _copy, _n_losses, _prefetch, _weight


@helper
def _handed_back(work, own, cross, at_scale, scales, g, p, d, state, other, to_row, slope):
    """Adjoint of ``_step`` for one n: what p, the gradient of its result, becomes for ``state`` and ``other``.

    The gradients of the parameter rows ``own`` and ``cross`` are added ``to_row`` behind them; that of the log2 decay
    per unit of dt is returned, added to ``slope``.
    """
    lost, rate = vload(work, g), vload(work, own)
    if scales is None:
        passed, rho = lost * p, vload(work, cross)
        to_state, to_other = p - passed, passed * rho
        decayed = to_state * (state - rho * other)
        crossed = passed * other
    else:
        a_cross = scales[at_scale] * (1.0 - vload(work, g + 2 * lanes(work)))
        to_state, to_other = scales[0] * (1.0 - lost) * p, a_cross * p
        decayed, crossed = to_state * state, to_other * other
        slope = slope + crossed * vload(work, cross)
        crossed = crossed * d
    vstore(work, cross + to_row, vload(work, cross + to_row) + crossed)
    vstore(work, own + to_row, vload(work, own + to_row) + decayed * d)
    return to_state, to_other, slope + decayed * rate


@helper
def _input_gradients(work, own, inverse, zoh_input, g, pb, x, d, to_row, to_x, to_dt):
    """Gradients of u = w(dt, alpha) x B: into the row of alpha, and added to the sums over n for x and dt / x.

    With the Euler rule that for x follows from that for dt / x.
    """
    if zoh_input is None:
        return to_x, to_dt + pb
    lost = vload(work, g)
    w, e = lost * vload(work, inverse), 1.0 - lost
    to_alpha = pb * x * ((d * e - w) * vload(work, inverse))
    vstore(work, own + to_row, vload(work, own + to_row) - to_alpha)
    return to_x + pb * w, to_dt + pb * e


@helper
def _variate_back(
    zero, base, cells, grads, scales, zoh_input, cell, channel, sizes, n_pooled, above, m, row, carry, heard
):
    """Adjoint of ``_variate_step`` and of h2 in the output.

    ``carry`` holds what the next column hands to the states of this variate; what this one hands to those above is
    added to ``heard`` (h1) and left in ``row`` (h2, unless pooled), beside the terms of the gradient of B2.  Nothing
    lies above the first variate (``above`` < 0).
    """
    x, _, dt2, _, B2, _, C2, skip, _ = cells
    dy, gx, gdt1, gdt2, _ = grads
    _, V, D, N, _, stride = sizes
    work, L, at, bc = array_at(base, zero), lanes(zero), cell * D + channel, cell * stride
    xv, d, dyv = vload(array_at(x, zero), at), vload(array_at(dt2, zero), at), vload(array_at(dy, zero), at)
    to_row = (N * ROWS + 2) * L
    for address in (dy, gx, gdt1, gdt2):
        _prefetch(array_at(address, zero), at - V * D)
    slope, to_x, to_dt = zero, vload(array_at(skip, zero), channel) * dyv, zero
    for n in range(N):
        r, k, g = n * ROWS * L, n * 2 * L, m + (n * _n_losses(scales) + 1) * L
        p2 = dyv * vsplat(array_at(C2, zero), bc + n) + vload(work, carry + k + L)
        if n_pooled is None:
            p2 = p2 + vload(work, row + k)
        if above >= 0:
            above1, above2 = vload(work, above + k), vload(work, above + k + L)
            to_h2, to_h1, slope = _handed_back(
                work, r + 3 * L, r + 2 * L, 2, scales, g, p2, d, above2, above1, to_row, slope
            )
            vstore(work, heard + k, vload(work, heard + k) + to_h1)
            if n_pooled is None:
                vstore(work, row + k, to_h2)
        pb = p2 * vsplat(array_at(B2, zero), bc + n)
        to_x, to_dt = _input_gradients(work, r + 3 * L, r + 5 * L, zoh_input, g, pb, xv, d, to_row, to_x, to_dt)
        vstore(work, row + k + L, p2 * (_weight(work, r + 5 * L, d, vload(work, g), zoh_input) * xv))
    if zoh_input is None:
        to_x = to_x + to_dt * d
    vstore(array_at(gx, zero), at, to_x)
    vstore(array_at(gdt2, zero), at, slope * LN_2 + to_dt * xv)


@helper
def _time_back(zero, base, cells, grads, scales, zoh_input, cell, channel, sizes, left, now, m, row, carry):
    """Adjoint of ``_time_step``, of h1 in the output, and the sums over channels, for which it comes second."""
    x, dt1, _, B1, _, C1, _, _, _ = cells
    dy, gx, gdt1, _, gBC = grads
    _, _, D, N, _, stride = sizes
    work, L, at, bc = array_at(base, zero), lanes(zero), cell * D + channel, cell * stride
    xv, d, dyv = vload(array_at(x, zero), at), vload(array_at(dt1, zero), at), vload(array_at(dy, zero), at)
    to_row = (N * ROWS + 2) * L
    slope, to_x, to_dt = zero, vload(array_at(gx, zero), at), zero
    for n in range(N):
        r, k, g = n * ROWS * L, n * 2 * L, m + n * _n_losses(scales) * L
        p1 = dyv * vsplat(array_at(C1, zero), bc + n) + vload(work, carry + k)
        left1, left2 = vload(work, left + k), vload(work, left + k + L)
        to_h1, to_h2, slope = _handed_back(work, r, r + L, 1, scales, g, p1, d, left1, left2, to_row, slope)
        vstore(work, carry + k, to_h1)
        vstore(work, carry + k + L, to_h2)
        pb = p1 * vsplat(array_at(B1, zero), bc + n)
        to_x, to_dt = _input_gradients(work, r, r + 4 * L, zoh_input, g, pb, xv, d, to_row, to_x, to_dt)
        to_B1 = p1 * (_weight(work, r + 4 * L, d, vload(work, g), zoh_input) * xv)
        to_C1, to_C2 = dyv * vload(work, now + k), dyv * vload(work, now + k + L)
        vadd_sums(array_at(gBC, zero), (cell * N + n) * 4, to_B1, vload(work, row + k + L), to_C1, to_C2)
    if zoh_input is None:
        to_x = to_x + to_dt * d
    vstore(array_at(gx, zero), at, to_x)
    vstore(array_at(gdt1, zero), at, slope * LN_2 + to_dt * xv)


@phase
def _retreat(zero, base, cells, grads, scales, zoh_input, cell, channel, sizes, walk, before, losses, step, row, carry):
    """Adjoint of ``_advance``: ``carry`` holds what later columns hand to this one, and leaves what this one hands on.

    The states of this column lie behind those of the one ``before``; ``row`` is room for two vectors for each n.
    """
    _, V, _, N, _, _ = sizes
    size = N * 2 * lanes(zero)
    now = before + V * size
    _clear(zero, base, row, size)
    for i in range(V - 1, -1, -1):
        v = walk[0] + i * walk[1]
        s, above, m = v * size, (v - walk[1]) * size, losses + v * step
        _variate_back(
            zero, base, cells, grads, scales, zoh_input, cell + v, channel, sizes, None, now + above if i > 0 else -1,
            m, row, carry + s, carry + above,
        )  # fmt: skip
        _time_back(
            zero, base, cells, grads, scales, zoh_input, cell + v, channel, sizes, before + s, now + s, m, row,
            carry + s,
        )  # fmt: skip


@phase
def _retreat_pooled(
    zero, base, cells, grads, scales, zoh_input, cell, channel, sizes, n_pooled, before, mean, losses, step, row,
    carry,
):  # fmt: skip
    """Adjoint of ``_advance_pooled``: first the variate states, whose adjoints add up to what the mean hands to h1.

    ``row`` is room for two vectors for each n, once for that sum and once for each variate.
    """
    _, V, _, N, _, _ = sizes
    work, L = array_at(base, zero), lanes(zero)
    size = N * 2 * L
    now = before + V * size
    _clear(zero, base, row, size)
    for v in range(V):
        _variate_back(
            zero, base, cells, grads, scales, zoh_input, cell + v, channel, sizes, n_pooled, mean,
            losses + v * step, row + (v + 1) * size, carry + v * size, row,
        )  # fmt: skip
    for v in range(V):
        s = v * size
        weight = zero + (1.0 / n_pooled if v < n_pooled else 0.0)
        for k in range(0, size, 2 * L):
            vstore(work, carry + s + k, vload(work, carry + s + k) + weight * vload(work, row + k))
        _time_back(
            zero, base, cells, grads, scales, zoh_input, cell + v, channel, sizes, before + s, now + s,
            losses + v * step, row + (v + 1) * size, carry + s,
        )  # fmt: skip


@phase
def _skip_gradient(zero, x, dy, first, last, D, channel):
    """Sum of dy x over the cells first..last."""
    total = zero
    for at in range(first * D + channel, last * D + channel, D):
        total = total + vload(array_at(dy, zero), at) * vload(array_at(x, zero), at)
    return total


@kernel
def backward(
    like, cells, grads, slab, parameters, scales, zoh_input, n_pooled, sizes, walk, interval, checkpoints, carries,
    grad_rows, grad_skip, lo, hi,
):  # fmt: skip
    """Adjoint of ``forward``; a job is a batch element times one group of blocks, which it takes in their order.

    The last of ``grads`` is a slab for each group; ``slab`` = (their number, elements of one).  ``carries`` holds the
    gradient of the last states and receives that of the first; at address 0 they are zero and not asked for.
    ``grad_rows`` and ``grad_skip`` receive a row for each batch element and block.
    """
    T, V, D, N, _, _ = sizes
    dy, gx, gdt1, gdt2, slabs = grads
    zero = vfull(like, 0.0)
    L = lanes(zero)
    n_blocks, column, row_size = D // L, V * N * 2 * L, (N * ROWS + 2) * L
    n_intervals = -(-T // interval)
    lost, n_means = N * _n_losses(scales) * L, N * 2 * L if n_pooled is not None else 0
    here = 0 * L  # not a literal, which would be a type of its own
    carry = 2 * row_size
    row = carry + column
    losses = row + N * 2 * L + (column if n_pooled is not None else 0)
    means = losses + interval * V * lost
    states = means + interval * n_means
    work = np.empty(states + (interval + 1) * column + L, like.dtype)
    base = _aligned(work)
    for job in range(lo, hi):
        b, group = job // slab[0], job % slab[0]
        gBC = slabs + group * slab[1] * like.itemsize
        to_cells = dy, gx, gdt1, gdt2, gBC
        for i in range(b * T * V * N * 4, (b + 1) * T * V * N * 4):
            array_at(gBC, zero)[i] = 0.0
        for block in range(group * n_blocks // slab[0], (group + 1) * n_blocks // slab[0]):
            channel, at = block * L, b * n_blocks + block
            _copy(zero, parameters, block * row_size, base, here, row_size)
            _clear(zero, base, row_size, row_size)
            _copy(zero, carries, at * column, base, carry, column)
            for k in range(n_intervals - 1, -1, -1):
                first, last = k * interval, min(T, (k + 1) * interval)
                _copy(zero, checkpoints, (at * n_intervals + k) * column, base, states, column)
                for t in range(first, last):
                    cell, h, m = (b * T + t) * V, states + (t - first) * column, losses + (t - first) * V * lost
                    if n_pooled is None:
                        _advance(
                            zero, base, cells, scales, zoh_input, cell, channel, sizes, walk, h, h + column, m, lost,
                            None,
                        )  # fmt: skip
                    else:
                        _advance_pooled(
                            zero, base, cells, scales, zoh_input, cell, channel, sizes, n_pooled[b], h, h + column,
                            means + (t - first) * n_means, m, lost,
                        )  # fmt: skip
                for t in range(last - 1, first - 1, -1):
                    cell, h, m = (b * T + t) * V, states + (t - first) * column, losses + (t - first) * V * lost
                    if n_pooled is None:
                        _retreat(
                            zero, base, cells, to_cells, scales, zoh_input, cell, channel, sizes, walk, h, m,
                            lost, row, carry,
                        )  # fmt: skip
                    else:
                        _retreat_pooled(
                            zero, base, cells, to_cells, scales, zoh_input, cell, channel, sizes, n_pooled[b], h,
                            means + (t - first) * n_means, m, lost, row, carry,
                        )  # fmt: skip
            vstore(
                array_at(grad_skip, zero), at * L,
                _skip_gradient(zero, cells[0], dy, b * T * V, (b + 1) * T * V, D, channel),
            )  # fmt: skip
            _copy(zero, base, row_size, grad_rows, at * N * ROWS * L, N * ROWS * L)
            if carries != 0:
                _copy(zero, base, carry, carries, at * column, column)
    work[0] = 0.0  # it lives until here
