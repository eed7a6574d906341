"""Numba kernels of the two-axis selective scan: a column sweep over time, SIMD over channels.

One job is one batch element times one block of channels, a block being the lanes of one vector (``_simd.py``).  The
job keeps the states of one column, ``(V, N, 2, lanes)``, and walks t up (backward: t down).  Inside a column the
variates are walked in order, because h2 of a variate needs both states of the variate before it in the same column.

The forward stores the column state every ``interval`` steps.  The backward takes these intervals from the last to the
first, recomputes the states of one interval into a buffer that fits the L2 cache, and runs the adjoint over it.

Symbols follow the definition in ``ref.py``: ``left`` is the predecessor along time, ``above`` along variates; ``p1,
p2`` are the adjoints of h1, h2.  Parameters of a block are rows of lanes, for each n::

    zoh gates          -alpha1 log2(e), rho2,             rho3,             -alpha4 log2(e), 1/alpha1, 1/alpha4
    literal and half   -alpha1 log2(e), -alpha2 log2(e), -alpha3 log2(e), -alpha4 log2(e), 1/alpha1, 1/alpha4

``scales`` is None for zoh gates, else (factor, factor or 0 for a2, factor or 0 for a3); ``zoh_input`` is None for the
Euler rule, else True; ``n_pooled`` is None unless the coupling is pooled.  None is a type of its own to Numba, which
compiles each combination without the branches of the others, on its first use.
"""

import math

import numpy as np

from .._flags import helper, kernel
from .._simd import decay, lanes, vadd_sums, vfull, vload, vsplat, vstore

ROWS = 6
LOG2_E = math.log2(math.e)
LN_2 = math.log(2.0)


@helper
def _time_gates(rows, g, d1, scales):
    """a1, a2 of a cell and 1 - exp(-dt1 alpha1)."""
    L = lanes(rows)
    e1, m1 = decay(d1 * vload(rows, g))
    if scales is None:
        return e1, m1 * vload(rows, g + L), m1
    e2, _ = decay(d1 * vload(rows, g + L))
    return e1 * scales[0], e2 * scales[1], m1


@helper
def _variate_gates(rows, g, d2, scales):
    """a3, a4 of a cell and 1 - exp(-dt2 alpha4)."""
    L = lanes(rows)
    e4, m4 = decay(d2 * vload(rows, g + 3 * L))
    if scales is None:
        return m4 * vload(rows, g + 2 * L), e4, m4
    e3, _ = decay(d2 * vload(rows, g + 2 * L))
    return e3 * scales[2], e4 * scales[0], m4


@helper
def _weight(rows, at, d, m, zoh_input):
    """The factor w of an input u = w x B."""
    if zoh_input is None:
        return d
    return m * vload(rows, at)


@helper
def _advance(data, rows, scales, zoh_input, place, sizes, walk, before, p, now, q, y, kept):
    """States of one column from those of the column before it: ``before[p:]`` -> ``now[q:]`` (which may be the same).

    ``walk`` = (first variate, step to the next).  ``y`` receives the output, ``kept[p:]`` 1 - exp(-dt alpha) of both
    axes; either may be None.
    """
    x, dt1, dt2, B1, B2, C1, C2, skip = data
    _, V, D, N = sizes
    cell, channel, _ = place
    L = lanes(x)
    for i in range(V):
        v = walk[0] + i * walk[1]
        at = (cell + v) * D + channel
        xv, d1, d2 = vload(x, at), vload(dt1, at), vload(dt2, at)
        total = vload(skip, channel) * xv
        s = q + v * N * 2 * L
        left, above = p + v * N * 2 * L, s - walk[1] * N * 2 * L
        bc = (cell + v) * N
        for n in range(N):
            g, k = n * ROWS * L, n * 2 * L
            a1, a2, m1 = _time_gates(rows, g, d1, scales)
            a3, a4, m4 = _variate_gates(rows, g, d2, scales)
            w1, w2 = _weight(rows, g + 4 * L, d1, m1, zoh_input), _weight(rows, g + 5 * L, d2, m4, zoh_input)
            h1 = a1 * vload(before, left + k) + (a2 * vload(before, left + k + L) + (w1 * xv) * vsplat(B1, bc + n))
            h2 = (w2 * xv) * vsplat(B2, bc + n)
            if i > 0:
                h2 = a3 * vload(now, above + k) + (a4 * vload(now, above + k + L) + h2)
            vstore(now, s + k, h1)
            vstore(now, s + k + L, h2)
            if kept is not None:
                vstore(kept, left + k, m1)
                vstore(kept, left + k + L, m4)
            if y is not None:
                total = total + (h1 * vsplat(C1, bc + n) + h2 * vsplat(C2, bc + n))
        if y is not None:
            vstore(y, at, total)


@helper
def _advance_pooled(data, rows, scales, zoh_input, place, sizes, pool, before, p, now, q, y):
    """``_advance`` with the mean of h1 over the first ``n_pooled`` variates, kept in ``mean[m:]``, as what h2 hears."""
    x, dt1, dt2, B1, B2, C1, C2, skip = data
    _, V, D, N = sizes
    cell, channel, _ = place
    n_pooled, mean, m = pool
    L = lanes(x)
    for n in range(N):
        vstore(mean, m + n * L, vfull(x, 0.0))
    for v in range(V):
        at = (cell + v) * D + channel
        xv, d1 = vload(x, at), vload(dt1, at)
        share = vfull(x, 1.0 / n_pooled if v < n_pooled else 0.0)
        for n in range(N):
            g, s = n * ROWS * L, (v * N + n) * 2 * L
            a1, a2, m1 = _time_gates(rows, g, d1, scales)
            w1 = _weight(rows, g + 4 * L, d1, m1, zoh_input)
            u1 = w1 * xv * vsplat(B1, (cell + v) * N + n)
            h1 = a1 * vload(before, p + s) + (a2 * vload(before, p + s + L) + u1)
            vstore(now, q + s, h1)
            vstore(mean, m + n * L, vload(mean, m + n * L) + share * h1)
    for v in range(V):
        at = (cell + v) * D + channel
        xv, d2 = vload(x, at), vload(dt2, at)
        total = vload(skip, channel) * xv
        for n in range(N):
            bc, g, s = (cell + v) * N + n, n * ROWS * L, (v * N + n) * 2 * L
            a3, _, m4 = _variate_gates(rows, g, d2, scales)
            h2 = a3 * vload(mean, m + n * L) + _weight(rows, g + 5 * L, d2, m4, zoh_input) * xv * vsplat(B2, bc)
            vstore(now, q + s + L, h2)
            if y is not None:
                total = total + (vload(now, q + s) * vsplat(C1, bc) + h2 * vsplat(C2, bc))
        if y is not None:
            vstore(y, at, total)


@kernel
def forward(data, parameters, scales, zoh_input, n_pooled, sizes, walk, interval, states, y, checkpoints, lo, hi):
    """Sweep the jobs lo..hi: ``states`` holds the states before the first column and receives those of the last."""
    T, V, D, N = sizes
    L = lanes(y)
    n_blocks = D // L
    n_intervals = -(-T // interval) if interval else 0
    mean = np.empty(N * L, y.dtype)
    for job in range(lo, hi):
        b, channel = job // n_blocks, job % n_blocks * L
        rows, state = parameters[job % n_blocks], states[job]
        for t in range(T):
            place = ((b * T + t) * V, channel, 0)
            if interval and t % interval == 0:
                checkpoints[job * n_intervals + t // interval][:] = state
            if n_pooled is None:
                _advance(data, rows, scales, zoh_input, place, sizes, walk, state, 0, state, 0, y, None)
            else:
                pool = (n_pooled[b], mean, 0)
                _advance_pooled(data, rows, scales, zoh_input, place, sizes, pool, state, 0, state, 0, y)


@helper
def _gate_gradients(rows, own, cross, scales, p, left, crossing, a_own, a_cross, m, d, grad_rows, slope):
    """Gradients through the two gates of one state, p (a_own left + a_cross crossing).

    Those of the parameter rows ``own`` and ``cross`` are added to ``grad_rows``; that of log2 decay per unit of dt is
    returned, added to ``slope``.
    """
    decayed = p * a_own * left
    if scales is None:
        decayed = decayed - p * a_own * (vload(rows, cross) * crossing)
        vstore(grad_rows, cross, vload(grad_rows, cross) + p * m * crossing)
    else:
        crossed = p * a_cross * crossing
        slope = slope + crossed * vload(rows, cross)
        vstore(grad_rows, cross, vload(grad_rows, cross) + crossed * d)
    vstore(grad_rows, own, vload(grad_rows, own) + decayed * d)
    return slope + decayed * vload(rows, own)


@helper
def _input_gradients(rows, own, inverse, zoh_input, pb, x, d, w, m, grad_rows, to_dt):
    """Gradient of u = w(dt, alpha) x B through w: into the row of alpha, and added to the sum over n for dt / x."""
    if zoh_input is None:
        return to_dt + pb
    e = 1.0 - m
    vstore(grad_rows, own, vload(grad_rows, own) - pb * x * ((d * e - w) * vload(rows, inverse)))
    return to_dt + pb * e


@helper
def _retreat(data, dy, rows, scales, zoh_input, place, sizes, walk, H, kept, before, carry, row, grad_rows, grads):
    """Adjoint of ``_advance``: ``carry`` holds what later columns hand to this one, and leaves what this one hands on.

    ``H[before:]`` holds the states of the column before and behind them those of this one, ``kept[before:]`` what
    ``_advance`` kept of this one's gates.
    """
    x, dt1, dt2, B1, B2, C1, C2, skip = data
    gx, gdt1, gdt2, gBC = grads
    _, V, D, N = sizes
    cell, channel, slab = place
    L = lanes(x)
    now = before + V * N * 2 * L
    zero = vfull(x, 0.0)
    for k in range(2 * N):
        vstore(row, k * L, zero)
    for i in range(V - 1, -1, -1):
        v = walk[0] + i * walk[1]
        at = (cell + v) * D + channel
        xv, d1, d2, dyv = vload(x, at), vload(dt1, at), vload(dt2, at), vload(dy, at)
        slope1, slope2, to_x, to_dt1, to_dt2 = zero, zero, vload(skip, channel) * dyv, zero, zero
        s = v * N * 2 * L
        above = now + s - walk[1] * N * 2 * L
        bc = (cell + v) * N
        for n in range(N):
            g, k = n * ROWS * L, n * 2 * L
            if scales is None:  # the replay left the complements of the gates: no exponential here
                m1, m4 = vload(kept, before + s + k), vload(kept, before + s + k + L)
                a1, a2, a3, a4 = 1.0 - m1, m1 * vload(rows, g + L), m4 * vload(rows, g + 2 * L), 1.0 - m4
            else:
                a1, a2, m1 = _time_gates(rows, g, d1, scales)
                a3, a4, m4 = _variate_gates(rows, g, d2, scales)
            w1, w2 = _weight(rows, g + 4 * L, d1, m1, zoh_input), _weight(rows, g + 5 * L, d2, m4, zoh_input)
            p1 = dyv * vsplat(C1, bc + n) + (vload(carry, s + k) + vload(row, k))
            p2 = dyv * vsplat(C2, bc + n) + (vload(carry, s + k + L) + vload(row, k + L))
            vstore(carry, s + k, a1 * p1)
            vstore(carry, s + k + L, a2 * p1)
            vstore(row, k, a3 * p2)
            vstore(row, k + L, a4 * p2)
            left1, left2 = vload(H, before + s + k), vload(H, before + s + k + L)
            slope1 = _gate_gradients(rows, g, g + L, scales, p1, left1, left2, a1, a2, m1, d1, grad_rows, slope1)
            if i > 0:
                above1, above2 = vload(H, above + k), vload(H, above + k + L)
                slope2 = _gate_gradients(
                    rows, g + 3 * L, g + 2 * L, scales, p2, above2, above1, a4, a3, m4, d2, grad_rows, slope2
                )
            pb1, pb2 = p1 * vsplat(B1, bc + n), p2 * vsplat(B2, bc + n)
            if zoh_input is not None:
                to_x = to_x + (pb1 * w1 + pb2 * w2)
            to_dt1 = _input_gradients(rows, g, g + 4 * L, zoh_input, pb1, xv, d1, w1, m1, grad_rows, to_dt1)
            to_dt2 = _input_gradients(rows, g + 3 * L, g + 5 * L, zoh_input, pb2, xv, d2, w2, m4, grad_rows, to_dt2)
            out1, out2 = dyv * vload(H, now + s + k), dyv * vload(H, now + s + k + L)
            vadd_sums(gBC, (slab + bc + n) * 4, p1 * (w1 * xv), p2 * (w2 * xv), out1, out2)
        if zoh_input is None:
            to_x = to_x + (to_dt1 * d1 + to_dt2 * d2)
        vstore(gx, at, to_x)
        vstore(gdt1, at, slope1 * LN_2 + to_dt1 * xv)
        vstore(gdt2, at, slope2 * LN_2 + to_dt2 * xv)


@helper
def _retreat_pooled(data, dy, rows, scales, zoh_input, place, sizes, pool, H, before, carry, row, grad_rows, grads):
    """Adjoint of ``_advance_pooled``: first the variate states, whose adjoints add up to what the mean hands to h1."""
    x, dt1, dt2, B1, B2, C1, C2, skip = data
    gx, gdt1, gdt2, gBC = grads
    _, V, D, N = sizes
    cell, channel, slab = place
    n_pooled, mean, m = pool
    L = lanes(x)
    now = before + V * N * 2 * L
    zero = vfull(x, 0.0)
    for n in range(N):
        vstore(row, n * L, zero)
    for v in range(V):
        at = (cell + v) * D + channel
        xv, d2, dyv = vload(x, at), vload(dt2, at), vload(dy, at)
        slope2, to_x, to_dt2 = zero, vload(skip, channel) * dyv, zero
        for n in range(N):
            bc, g, s = (cell + v) * N + n, n * ROWS * L, (v * N + n) * 2 * L
            a3, a4, m4 = _variate_gates(rows, g, d2, scales)
            w2 = _weight(rows, g + 5 * L, d2, m4, zoh_input)
            p2 = dyv * vsplat(C2, bc) + vload(carry, s + L)
            vstore(row, n * L, vload(row, n * L) + a3 * p2)
            heard = vload(mean, m + n * L)
            slope2 = _gate_gradients(
                rows, g + 3 * L, g + 2 * L, scales, p2, zero, heard, a4, a3, m4, d2, grad_rows, slope2
            )
            pb2 = p2 * vsplat(B2, bc)
            to_x = to_x + pb2 * w2
            to_dt2 = _input_gradients(rows, g + 3 * L, g + 5 * L, zoh_input, pb2, xv, d2, w2, m4, grad_rows, to_dt2)
            out2 = dyv * vload(H, now + s + L)
            vadd_sums(gBC, (slab + bc) * 4, zero, p2 * (w2 * xv), zero, out2)
        vstore(gx, at, to_x)
        vstore(gdt2, at, slope2 * LN_2 + to_dt2 * xv)
    for v in range(V):
        at = (cell + v) * D + channel
        xv, d1, dyv = vload(x, at), vload(dt1, at), vload(dy, at)
        share = vfull(x, 1.0 / n_pooled if v < n_pooled else 0.0)
        slope1, to_x, to_dt1 = zero, vload(gx, at), zero
        for n in range(N):
            bc, g, s = (cell + v) * N + n, n * ROWS * L, (v * N + n) * 2 * L
            a1, a2, m1 = _time_gates(rows, g, d1, scales)
            w1 = _weight(rows, g + 4 * L, d1, m1, zoh_input)
            p1 = dyv * vsplat(C1, bc) + (vload(carry, s) + share * vload(row, n * L))
            vstore(carry, s, a1 * p1)
            vstore(carry, s + L, a2 * p1)
            left1, left2 = vload(H, before + s), vload(H, before + s + L)
            slope1 = _gate_gradients(rows, g, g + L, scales, p1, left1, left2, a1, a2, m1, d1, grad_rows, slope1)
            pb1 = p1 * vsplat(B1, bc)
            to_x = to_x + pb1 * w1
            to_dt1 = _input_gradients(rows, g, g + 4 * L, zoh_input, pb1, xv, d1, w1, m1, grad_rows, to_dt1)
            out1 = dyv * vload(H, now + s)
            vadd_sums(gBC, (slab + bc) * 4, p1 * (w1 * xv), zero, out1, zero)
        vstore(gx, at, to_x)
        vstore(gdt1, at, slope1 * LN_2 + to_dt1 * xv)


@helper
def _skip_gradient(x, dy, first, last, D, channel):
    """Sum of dy x over the cells first..last."""
    total = vfull(x, 0.0)
    for cell in range(first, last):
        total = total + vload(dy, cell * D + channel) * vload(x, cell * D + channel)
    return total


@kernel
def backward(
    data, dy, parameters, scales, zoh_input, n_pooled, sizes, walk, interval, checkpoints, carries, grads, grad_rows,
    grad_skip, lo, hi,
):  # fmt: skip
    """Adjoint of ``forward``: ``carries`` holds the gradient of the last states and receives that of the first.

    The last of ``grads`` holds those of B1, B2, C1, C2 side by side, one slab for each channel block, zeros at first;
    ``grad_rows`` and ``grad_skip`` one row for each job.
    """
    x = data[0]
    T, V, D, N = sizes
    L = lanes(x)
    n_blocks, column = D // L, V * N * 2 * L
    n_intervals = -(-T // interval)
    H = np.empty((interval + 1) * column, x.dtype)
    kept = np.empty(interval * column, x.dtype)
    means = np.empty(interval * N * L, x.dtype)
    row = np.empty(2 * N * L, x.dtype)
    for job in range(lo, hi):
        b, block = job // n_blocks, job % n_blocks
        channel, slab = block * L, block * (len(grads[3]) // (4 * n_blocks))
        rows, carry, job_rows = parameters[block], carries[job], grad_rows[job]
        vstore(grad_skip, job * L, _skip_gradient(x, dy, b * T * V, (b + 1) * T * V, D, channel))
        for k in range(n_intervals - 1, -1, -1):
            start, stop = k * interval, min(T, (k + 1) * interval)
            H[:column] = checkpoints[job * n_intervals + k]
            for t in range(start, stop):
                place, at = ((b * T + t) * V, channel, slab), (t - start) * column
                if n_pooled is None:
                    _advance(data, rows, scales, zoh_input, place, sizes, walk, H, at, H, at + column, None, kept)
                else:
                    pool = (n_pooled[b], means, (t - start) * N * L)
                    _advance_pooled(data, rows, scales, zoh_input, place, sizes, pool, H, at, H, at + column, None)
            for t in range(stop - 1, start - 1, -1):
                place, at = ((b * T + t) * V, channel, slab), (t - start) * column
                if n_pooled is None:
                    _retreat(
                        data, dy, rows, scales, zoh_input, place, sizes, walk, H, kept, at, carry, row, job_rows, grads
                    )
                else:
                    pool = (n_pooled[b], means, (t - start) * N * L)
                    _retreat_pooled(
                        data, dy, rows, scales, zoh_input, place, sizes, pool, H, at, carry, row, job_rows, grads
                    )
