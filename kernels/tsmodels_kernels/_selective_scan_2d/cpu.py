"""Numba kernels of the two-axis selective scan: a column sweep over time, SIMD over channels.

A block is as many channels as a vector has lanes (``_simd.py``).  Its sweep keeps the states of one column, ``(V, N, 2,
lanes)``, and walks t up.  Inside a column the variates are walked in order, because h2 of a variate needs both states
of the variate before it in the same column.  Every ``interval`` steps the column is stored for the backward.

A cell takes several short loops over n, each of which finds room for its constants and sums in the registers: the
exponentials of an axis, then its states.  The exponentials leave *losses*, 1 - exp(-dt alpha) of alpha1, alpha4 and,
unless the gates are zoh, of alpha2, alpha3: ``(N, 2 or 4, lanes)`` for each cell.

Symbols follow the definition in ``ref.py``; ``left`` is the predecessor along time, ``above`` along variates.
Parameters of a block are rows of lanes, for each n::

    zoh gates          -alpha1 log2(e), rho2,             rho3,             -alpha4 log2(e), 1/alpha1, 1/alpha4
    literal and half   -alpha1 log2(e), -alpha2 log2(e), -alpha3 log2(e), -alpha4 log2(e), 1/alpha1, 1/alpha4

and behind them two rows, the largest size of the rates that dt1 and dt2 are multiplied by.

All that belongs to a block lies in one work array that begins with its parameters; integers like ``before``, ``now``,
``losses`` are offsets in it.  The tensors of the call come as addresses: ``cells`` are x, dt1, dt2, B1, B2, C1, C2, D
and y (0 where it is not wanted).  ``sizes`` are T, V, D, N, the number of rates (1 if they are the same for all n) and
the elements from a cell to the next in B1, B2, C1, C2.  ``zero`` is a vector, to tell the type of numbers.

``scales`` is None for zoh gates, else (factor, factor or 0 for a2, factor or 0 for a3); ``zoh_input`` is None for the
Euler rule, else True; ``n_pooled`` is None unless the coupling is pooled.  None is a type of its own to Numba, which
compiles each combination without the branches of the others, on its first use.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .._backend import VECTOR_BYTES
from .._flags import helper, kernel, phase
from .._simd import array_at, lanes, vfull, vload, vsplat, vstore, vwithin
from .._simd_math import LARGEST_EXPONENT, clamped_exponent, one_minus_exp2_inside

ROWS = 6


@intrinsic
def _prefetch(typing_context, array, index):
    """Ask for the cache line of ``array[index]``, which may lie outside: a block uses one line of many at each cell."""

    def codegen(ctx, builder, sig, args):
        data = ctx.make_array(sig.args[0])(ctx, builder, args[0]).data
        word, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        address = builder.bitcast(builder.gep(data, [ctx.cast(builder, args[1], sig.args[1], types.intp)]), pointer)
        builder.call(function, [address, word(0), word(3), word(1)])
        return ctx.get_dummy_value()

    return types.void(array, index), codegen


@helper
def _aligned(array):
    """Address of the first element of ``array`` from which on vectors do not cross cache lines."""
    return array.ctypes.data + -array.ctypes.data % VECTOR_BYTES


@phase
def _clear(zero, base, at, count):
    """Zeros in ``count`` elements of the work array, a multiple of the lanes."""
    for i in range(at, at + count, lanes(zero)):
        vstore(array_at(base, zero), i, zero)


@phase
def _copy(zero, source, first, target, at, count):
    """``count`` elements, a multiple of the lanes, from one address to another; zeros from address 0."""
    for i in range(0, count, lanes(zero)):
        vector = zero
        if source != 0:
            vector = vload(array_at(source, zero), first + i)
        vstore(array_at(target, zero), at + i, vector)


@phase
def _losses_of_any(zero, base, rates, d, n_rates, out, step):
    """``_losses`` where products leave the range of exponents: the exponents are clamped to it."""
    work, L = array_at(base, zero), lanes(zero)
    for n in range(n_rates):
        vstore(work, out + n * step, one_minus_exp2_inside(clamped_exponent(d * vload(work, rates + n * ROWS * L))))


@helper
def _losses(zero, base, rates, fastest, d, N, n_rates, out, step):
    """1 - 2**(d rate) for all n -> ``out``, every ``step``; from n_rates on the rates repeat."""
    work, L = array_at(base, zero), lanes(zero)
    if vwithin(d * vload(work, fastest), LARGEST_EXPONENT):
        for n in range(n_rates):
            vstore(work, out + n * step, one_minus_exp2_inside(d * vload(work, rates + n * ROWS * L)))
    else:
        _losses_of_any(zero, base, rates, d, n_rates, out, step)
    for n in range(n_rates, N):
        vstore(work, out + n * step, vload(work, out))


@helper
def _n_losses(scales):
    """Exponentials of a cell for each n."""
    if scales is None:
        return 2
    return 4


@helper
def _weight(work, inverse, d, lost, zoh_input):
    """The factor w of an input u = w x B, from the loss of its axis."""
    if zoh_input is None:
        return d
    return lost * vload(work, inverse)


@helper
def _step(zero, base, cross, inverse, scales, zoh_input, d, x, m, own, other, now, B, C, bc, N, out):
    """One state of a cell for all n: a_own work[own:] + a_cross work[other:] + w x B -> ``work[now:]``.

    Without predecessors (own is None) it is w x B.  Returns ``out`` with the part of this state in the output added.
    """
    work, to_state, to_output, L = array_at(base, zero), array_at(B, zero), array_at(C, zero), lanes(zero)
    for n in range(N):
        r, k, g = n * ROWS * L, n * 2 * L, m + n * _n_losses(scales) * L
        lost = vload(work, g)
        h = _weight(work, r + inverse, d, lost, zoh_input) * x * vsplat(to_state, bc + n)
        if own is not None:
            state, crossing = vload(work, own + k), vload(work, other + k)
            if scales is None:  # a_own = 1 - lost, a_cross = lost rho
                h = (state + h) - lost * (state - vload(work, r + cross) * crossing)
            else:
                a_cross = scales[cross // L] * (1.0 - vload(work, g + 2 * L))
                h = scales[0] * (1.0 - lost) * state + (a_cross * crossing + h)
        vstore(work, now + k, h)
        out = out + h * vsplat(to_output, bc + n)
    return out


@helper
def _time_step(zero, base, cells, scales, zoh_input, cell, channel, sizes, before, now, m):
    """h1 of a cell from both states left of it; returns what is known of the output then."""
    x, dt1, _, B1, _, C1, _, skip, _ = cells
    _, V, D, N, n_rates, stride = sizes
    L, at = lanes(zero), cell * D + channel
    xv, d = vload(array_at(x, zero), at), vload(array_at(dt1, zero), at)
    _prefetch(array_at(x, zero), at + V * D)
    _prefetch(array_at(dt1, zero), at + V * D)
    step, fastest = _n_losses(scales) * L, N * ROWS * L
    _losses(zero, base, 0 * L, fastest, d, N, n_rates, m, step)
    if scales is not None:
        _losses(zero, base, L, fastest, d, N, n_rates, m + 2 * L, step)
    return _step(
        zero, base, L, 4 * L, scales, zoh_input, d, xv, m, before, before + L, now, B1, C1, cell * stride, N,
        vload(array_at(skip, zero), channel) * xv,
    )  # fmt: skip


@helper
def _variate_step(zero, base, cells, scales, zoh_input, cell, channel, sizes, above, now, m, out):
    """h2 of a cell from both states above it, or if ``above`` is None from the input alone; returns the output."""
    x, _, dt2, _, B2, _, C2, _, _ = cells
    _, V, D, N, n_rates, stride = sizes
    L, at = lanes(zero), cell * D + channel
    xv, d = vload(array_at(x, zero), at), vload(array_at(dt2, zero), at)
    _prefetch(array_at(dt2, zero), at + V * D)
    step, fastest = _n_losses(scales) * L, (N * ROWS + 1) * L
    if above is not None or zoh_input is not None:
        _losses(zero, base, 3 * L, fastest, d, N, n_rates, m + L, step)
    if above is None:
        return _step(
            zero, base, 2 * L, 5 * L, scales, zoh_input, d, xv, m + L, None, None, now + L, B2, C2, cell * stride, N,
            out,
        )  # fmt: skip
    if scales is not None:
        _losses(zero, base, 2 * L, fastest, d, N, n_rates, m + 3 * L, step)
    return _step(
        zero, base, 2 * L, 5 * L, scales, zoh_input, d, xv, m + L, above + L, above, now + L, B2, C2, cell * stride,
        N, out,
    )  # fmt: skip


@phase
def _advance(zero, base, cells, scales, zoh_input, cell, channel, sizes, walk, before, now, losses, step, y):
    """States of one column, ``now``, from those of the column before it, ``before`` (which may be the same).

    ``walk`` = (first variate, step to the next).  The losses of variate v are left in ``losses + v * step``.  None for
    ``y`` compiles it without the output.
    """
    _, V, D, N, _, _ = sizes
    size = N * 2 * lanes(zero)
    for i in range(V):
        v = walk[0] + i * walk[1]
        s, m = v * size, losses + v * step
        out = _time_step(zero, base, cells, scales, zoh_input, cell + v, channel, sizes, before + s, now + s, m)
        if i == 0:
            out = _variate_step(zero, base, cells, scales, zoh_input, cell + v, channel, sizes, None, now + s, m, out)
        else:
            above = now + s - walk[1] * size
            out = _variate_step(zero, base, cells, scales, zoh_input, cell + v, channel, sizes, above, now + s, m, out)
        if y is not None:
            _prefetch(array_at(y, zero), (cell + V + v) * D + channel)
            vstore(array_at(y, zero), (cell + v) * D + channel, out)


@phase
def _advance_pooled(
    zero, base, cells, scales, zoh_input, cell, channel, sizes, n_pooled, before, now, mean, losses, step
):
    """``_advance`` with the mean of h1 over the first ``n_pooled`` variates as what h2 hears.

    It is left in ``mean`` as the h1 of a variate above all others whose h2 is zero.
    """
    x, _, _, _, _, C1, _, skip, y = cells
    _, V, D, N, _, stride = sizes
    work, L = array_at(base, zero), lanes(zero)
    size = N * 2 * L
    _clear(zero, base, mean, size)
    for v in range(V):
        s, m = v * size, losses + v * step
        _time_step(zero, base, cells, scales, zoh_input, cell + v, channel, sizes, before + s, now + s, m)
        weight = zero + (1.0 / n_pooled if v < n_pooled else 0.0)
        for k in range(0, size, 2 * L):
            vstore(work, mean + k, vload(work, mean + k) + weight * vload(work, now + s + k))
    for v in range(V):
        s, m, at = v * size, losses + v * step, (cell + v) * D + channel
        out = vload(array_at(skip, zero), channel) * vload(array_at(x, zero), at)
        for n in range(N):
            out = out + vload(work, now + s + n * 2 * L) * vsplat(array_at(C1, zero), (cell + v) * stride + n)
        out = _variate_step(zero, base, cells, scales, zoh_input, cell + v, channel, sizes, mean, now + s, m, out)
        if y != 0:
            vstore(array_at(y, zero), at, out)


@kernel
def forward(like, cells, parameters, scales, zoh_input, n_pooled, sizes, walk, interval, states, checkpoints, lo, hi):
    """Sweep the jobs lo..hi, each of them one block of channels of one batch element.

    ``states`` holds the states before the first column and receives those of the last; at address 0 they are zero and
    not asked for.  ``like`` is any array of the type of numbers.
    """
    T, V, D, N, _, _ = sizes
    zero = vfull(like, 0.0)
    L = lanes(zero)
    n_blocks, column, row_size = D // L, V * N * 2 * L, (N * ROWS + 2) * L
    here = 0 * L  # not a literal, which would be a type of its own
    state, mean, losses = row_size, row_size + column, row_size + column + N * 2 * L
    work = np.empty(losses + (_n_losses(scales) * N + 1) * L, like.dtype)
    base = _aligned(work)
    for job in range(lo, hi):
        b, block = job // n_blocks, job % n_blocks
        _copy(zero, parameters, block * row_size, base, here, row_size)
        _copy(zero, states, job * column, base, state, column)
        for t in range(T):
            cell, channel = (b * T + t) * V, block * L
            if interval and t % interval == 0:
                at = (job * -(-T // interval) + t // interval) * column
                _copy(zero, base, state, checkpoints, at, column)
            if n_pooled is None:
                _advance(
                    zero, base, cells, scales, zoh_input, cell, channel, sizes, walk, state, state, losses, here,
                    cells[8],
                )  # fmt: skip
            else:
                _advance_pooled(
                    zero, base, cells, scales, zoh_input, cell, channel, sizes, n_pooled[b], state, state, mean,
                    losses, here,
                )  # fmt: skip
        if states != 0:
            _copy(zero, base, state, states, job * column, column)
    work[0] = 0.0  # it lives until here
