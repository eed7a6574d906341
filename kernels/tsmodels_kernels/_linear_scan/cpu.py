"""Numba kernels of the linear scan: sequential in time, vectors of channels.

A job walks through all steps of one batch element, a whole row of channels at a time where it can: rows that follow
one another in memory stream twice as fast as blocks cut out of them.  The running state stays in the first-level cache,
or in one register where a row is no longer than a vector.  ``forward_rows`` and ``backward_rows`` serve memory in which
time is contiguous, in tiles that are transposed in registers; the ``_complex`` kernels are plain loops.

A tensor is a tuple of an address and of strides in elements: batch, step, channel (states: batch, channel).  Steps
count along the walk: a walk against time starts at the last address and has negative strides.  So few layouts cost a
copy and none a compilation of its own.  A stride of 0 repeats an element along its axis.  ``like`` is an empty array of
the dtype of all tensors.
"""

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .._flags import helper, kernel, phase
from .._simd import array_at, lanes, unchecked_array, vfull, vload, vstore

ABSENT, SUMMED, FULL = 0, 1, 2  # the gradient of the gates: not asked for, one row for all steps, all rows
SCRATCH_BYTES = 1 << 16  # on the stack: one running value of all channels of a job, or four tiles
_TILE_STEPS = 256  # long enough for each row to be fetched as a stream, short enough for the second-level cache
_RUN = 16  # complex channels of one plain loop where rows are walked downwards
_SQUARE = 8  # side of the blocks that are transposed in registers
_FEWEST_ROWS = 4  # below, lanes are so empty that the plain loop is faster


@intrinsic
def _scratch(typing_context, like):
    """Memory on the stack, with what happens to be there."""
    kind = types.Array(like.dtype, 1, "C")

    def codegen(ctx, builder, sig, args):
        scalar = ctx.get_data_type(like.dtype)
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(scalar, SCRATCH_BYTES * 8 // like.dtype.bitwidth))
            memory.align = 64
        return unchecked_array(ctx, builder, kind, builder.bitcast(memory, scalar.as_pointer()))

    return kind(like), codegen


@helper
def _place(slot, end, down):
    """Where in the row the vector starts whose running state is at ``slot``: rows are walked as time is.

    A processor that sees addresses fall from row to row but rise inside them fetches ahead in the wrong direction.
    """
    at = slot if slot < end else end
    return end - at if down else at


@kernel
def forward(like, a, b, state, h, last, sizes, lo, hi):
    """Fill ``h`` (B, T, D) and ``last`` (B, D); ``width``: channels of a job, the last one also takes what is left.

    The channel stride of all tensors is 1.  A row is walked in vectors; the last overlaps the one before it and
    computes the same bits again, with a running state of its own.  A row no longer than a vector is walked in vectors
    that reach into the steps to come, which overwrite what these lanes leave in ``h``; only the last steps, beyond
    which there is nothing, go one channel at a time.  Such rows are at least D elements apart, or lie in the middle
    of room for a vector on either side.
    """
    T, D, width = sizes
    n = lanes(like)
    gates, terms, before = array_at(a[0], like), array_at(b[0], like), array_at(state[0], like)
    states, after = array_at(h[0], like), array_at(last[0], like)
    carry = _scratch(like)
    n_blocks, down = D // width, h[2] < 0
    for job in range(lo, hi):
        i, first = job // n_blocks, job % n_blocks * width
        count = D - first if job % n_blocks == n_blocks - 1 else width
        p, q, r = i * a[1] + first, i * b[1] + first, i * h[1] + first
        entering, leaving = i * state[1] + first, i * last[1] + first
        if count > n:
            for slot in range(0, count, n):
                j = _place(slot, count - n, down)
                vstore(carry, slot, vload(before, entering + j))
            for _ in range(T):
                for slot in range(0, count, n):
                    j = _place(slot, count - n, down)
                    value = vload(gates, p + j) * vload(carry, slot) + vload(terms, q + j)
                    vstore(carry, slot, value)
                    vstore(states, r + j, value)
                p, q, r = p + a[2], q + b[2], r + h[2]
            for slot in range(0, count, n):
                j = _place(slot, count - n, down)
                vstore(after, leaving + j, vload(carry, slot))
            continue
        n_steps, shift = max(0, T - (n + count - 1) // count), (n - count if down else 0)
        for d in range(count):
            carry[shift + d] = before[entering + d]
        value = vload(carry, 0)
        for _ in range(n_steps):
            value = vload(gates, p - shift) * value + vload(terms, q - shift)
            vstore(states, r - shift, value)
            p, q, r = p + a[2], q + b[2], r + h[2]
        vstore(carry, 0, value)
        for d in range(count):
            after[leaving + d] = _forward_single(
                gates, p + d, a[2], terms, q + d, b[2], states, r + d, h[2], carry[shift + d], T - n_steps
            )


@helper
def _forward_single(gates, p, a_step, terms, q, b_step, states, r, h_step, value, n_steps):
    """The walk of one channel."""
    for _ in range(n_steps):
        value = gates[p] * value + terms[q]
        states[r] = value
        p, q, r = p + a_step, q + b_step, r + h_step
    return value


@kernel
def backward(like, a, h, state, g, grad_last, grad_a, grad_b, grad_state, sizes, need, lo, hi):
    """Adjoint of ``forward``, a walk in the other direction: fill ``grad_b``, ``grad_state`` and ``grad_a``.

    ``h`` is one step ahead, the state before the first step in ``state``; where ``grad_a`` is ABSENT it is not read.
    SUMMED over the steps, ``grad_a`` is (B, 1, D).  The caller adds it up over the batch where ``a`` is shared.
    """
    T, D, width = sizes
    n = lanes(like)
    gates, states, before = array_at(a[0], like), array_at(h[0], like), array_at(state[0], like)
    grads, final, initial = array_at(g[0], like), array_at(grad_last[0], like), array_at(grad_state[0], like)
    out_a, out_b = array_at(grad_a[0], like), array_at(grad_b[0], like)
    carry, total = _scratch(like), _scratch(like)
    n_blocks, down = D // width, grad_b[2] < 0
    for job in range(lo, hi):
        i, first = job // n_blocks, job % n_blocks * width
        count = D - first if job % n_blocks == n_blocks - 1 else width
        p, q, s = i * a[1] + first, i * g[1] + first, i * h[1] + first
        r, u = i * grad_b[1] + first, i * grad_a[1] + first
        entering, leaving, at_state = i * grad_last[1] + first, i * grad_state[1] + first, i * state[1] + first
        if count > n:
            for slot in range(0, count, n):
                j = _place(slot, count - n, down)
                vstore(carry, slot, vload(final, entering + j))
                vstore(total, slot, vfull(like, 0.0))
            for k in range(T):
                past = states
                if k == T - 1:
                    past, s = before, at_state
                for slot in range(0, count, n):
                    j = _place(slot, count - n, down)
                    value = vload(grads, q + j) + vload(carry, slot)
                    vstore(out_b, r + j, value)
                    if need == FULL:
                        vstore(out_a, u + j, value * vload(past, s + j))
                    elif need == SUMMED:
                        vstore(total, slot, value * vload(past, s + j) + vload(total, slot))
                    vstore(carry, slot, value * vload(gates, p + j))
                p, q, s, r, u = p + a[2], q + g[2], s + h[2], r + grad_b[2], u + grad_a[2]
            for slot in range(0, count, n):
                j = _place(slot, count - n, down)
                vstore(initial, leaving + j, vload(carry, slot))
                if need == SUMMED:
                    vstore(out_a, u + j, vload(total, slot))
            continue
        n_steps, shift = max(0, T - (n + count - 1) // count), (n - count if down else 0)
        for d in range(count):
            carry[shift + d] = final[entering + d]
        running, summed = vload(carry, 0), vfull(like, 0.0)
        for _ in range(n_steps):
            value = vload(grads, q - shift) + running
            vstore(out_b, r - shift, value)
            if need == FULL:
                vstore(out_a, u - shift, value * vload(states, s - shift))
            elif need == SUMMED:
                summed = value * vload(states, s - shift) + summed
            running = value * vload(gates, p - shift)
            p, q, s, r, u = p + a[2], q + g[2], s + h[2], r + grad_b[2], u + grad_a[2]
        vstore(carry, 0, running)
        vstore(total, 0, summed)
        for d in range(count):
            initial[leaving + d] = _backward_single(
                gates, p + d, a[2], states, s + d, h[2], before[at_state + d], grads, q + d, g[2], out_a, u + d,
                grad_a[2], out_b, r + d, grad_b[2], carry[shift + d], total[shift + d], need, T - n_steps,
            )  # fmt: skip


@helper
def _backward_single(
    gates, p, a_step, states, s, h_step, initial, grads, q, g_step, out_a, u, grad_a_step, out_b, r, grad_b_step,
    value, total, need, n_steps,
):  # fmt: skip
    """The adjoint walk of one channel to its end."""
    for k in range(n_steps):
        value = grads[q] + value
        out_b[r] = value
        if need != ABSENT:
            product = value * (initial if k == n_steps - 1 else states[s])
            total += product
            if need == FULL:
                out_a[u] = product
        value = value * gates[p]
        p, q, s, r, u = p + a_step, q + g_step, s + h_step, r + grad_b_step, u + grad_a_step
    if need == SUMMED:
        out_a[u] = total
    return value


@intrinsic
def _transpose_square(typing_context, source, at, stride, last_row, target, to, target_stride, target_last_row):
    """Eight rows of eight numbers become eight columns; row j starts at ``at + min(j, last_row) * stride``."""

    def codegen(ctx, builder, sig, args):
        vector = ir.VectorType(ctx.get_data_type(source.dtype), _SQUARE)
        size = source.dtype.bitwidth // 8

        def rows(kind, array, start, step, last):
            data = ctx.make_array(kind)(ctx, builder, array).data
            for j in range(_SQUARE):
                row = ir.Constant(last.type, j)
                row = builder.select(builder.icmp_signed("<", row, last), row, last)
                address = builder.gep(data, [builder.add(start, builder.mul(row, step))])
                yield builder.bitcast(address, vector.as_pointer())

        square = [builder.load(row, align=size) for row in rows(sig.args[0], *args[:4])]
        for distance in (1, 2, 4):  # exchange the off-diagonal blocks of this size
            masks = [ir.Constant(ir.VectorType(ir.IntType(32), _SQUARE), mask) for mask in _exchange(distance)]
            for j in range(_SQUARE):
                if not j & distance:
                    pair = square[j], square[j + distance]
                    square[j], square[j + distance] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        for column, row in zip(square, rows(sig.args[4], *args[4:]), strict=True):
            builder.store(column, row, align=size)
        return ctx.get_dummy_value()

    integers = types.intp, types.intp, types.intp
    return types.void(source, *integers, target, *integers), codegen


def _exchange(distance):
    """Lanes of two concatenated rows that make up the first and the second after their exchange of blocks."""
    upper, lower = [0] * _SQUARE, [0] * _SQUARE
    for lane in range(_SQUARE):
        if not lane & distance:
            upper[lane], upper[lane + distance] = lane, _SQUARE + lane
            lower[lane], lower[lane + distance] = lane + distance, _SQUARE + lane + distance
    return upper, lower


@phase
def _read_tile(source, at, stride, n_rows, n_steps, tile, to):
    """Transpose steps of rows that are ``stride`` apart into a tile; beyond the last row, that row again.

    Squares follow one another along eight rows, so that a cache line is used up before rows that may displace it come.
    """
    n = lanes(tile)
    for r in range(0, n_rows, _SQUARE):
        for s in range(0, n_steps, _SQUARE):
            last_row = min(_SQUARE, n_rows - r) - 1
            _transpose_square(source, at + r * stride + s, stride, last_row, tile, to + s * n + r, n, _SQUARE - 1)


@phase
def _write_tile(tile, at, n_rows, n_steps, target, to, stride):
    """The inverse of ``_read_tile``."""
    n = lanes(tile)
    for r in range(0, n_rows, _SQUARE):
        for s in range(0, n_steps, _SQUARE):
            last_row = min(_SQUARE, n_rows - r) - 1
            _transpose_square(tile, at + s * n + r, n, _SQUARE - 1, target, to + r * stride + s, stride, last_row)


@helper
def _gather(source, at, stride, count, tile, to):
    """One number of each row, side by side; beyond the last row, again that row's."""
    for r in range(lanes(tile)):
        tile[to + r] = source[at + min(r, count - 1) * stride]


@kernel
def forward_rows(like, a, b, state, h, last, sizes, lo, hi):
    """``forward`` where time is contiguous: a row is one channel.  The step of gates may also be 0."""
    T, D, _ = sizes
    n = lanes(like)
    gates, terms, before = array_at(a[0], like), array_at(b[0], like), array_at(state[0], like)
    states, after = array_at(h[0], like), array_at(last[0], like)
    tiles, gate_tile, tile = _scratch(like), _TILE_STEPS * n, 2 * _TILE_STEPS * n  # memory, and where in it each is
    n_blocks = (D + n - 1) // n
    for job in range(lo, hi):
        i, first = job // n_blocks, job % n_blocks * n
        count = min(n, D - first)
        p, q, r = i * a[1] + first * a[3], i * b[1] + first * b[3], i * h[1] + first * h[3]
        if a[2] == 0:
            _gather(gates, p, a[3], count, tiles, gate_tile)
        _gather(before, i * state[1] + first * state[2], state[2], count, tiles, 0)
        running = vload(tiles, 0)
        n_tiled = T // _SQUARE * _SQUARE if count >= _FEWEST_ROWS else 0
        for k in range(0, n_tiled, _TILE_STEPS):
            n_steps = min(_TILE_STEPS, n_tiled - k)
            t = 1 - k - n_steps if h[2] < 0 else k
            if a[2] != 0:
                _read_tile(gates, p + t, a[3], count, n_steps, tiles, gate_tile)
            _read_tile(terms, q + t, b[3], count, n_steps, tiles, tile)
            for s in range(n_steps):
                at = (n_steps - 1 - s if h[2] < 0 else s) * n
                running = vload(tiles, gate_tile + (at if a[2] != 0 else 0)) * running + vload(tiles, tile + at)
                vstore(tiles, tile + at, running)
            _write_tile(tiles, tile, count, n_steps, states, r + t, h[3])
        vstore(tiles, 0, running)
        k = n_tiled
        for c in range(count):
            after[i * last[1] + (first + c) * last[2]] = _forward_single(
                gates, p + c * a[3] + k * a[2], a[2], terms, q + c * b[3] + k * b[2], b[2],
                states, r + c * h[3] + k * h[2], h[2], tiles[c], T - k,
            )  # fmt: skip


@kernel
def backward_rows(like, a, h, state, g, grad_last, grad_a, grad_b, grad_state, sizes, need, lo, hi):
    """``backward`` where time is contiguous."""
    T, D, _ = sizes
    n = lanes(like)
    gates, states, before = array_at(a[0], like), array_at(h[0], like), array_at(state[0], like)
    grads, final, initial = array_at(g[0], like), array_at(grad_last[0], like), array_at(grad_state[0], like)
    out_a, out_b = array_at(grad_a[0], like), array_at(grad_b[0], like)
    tiles, gate_tile, tile, past_tile = _scratch(like), _TILE_STEPS * n, 2 * _TILE_STEPS * n, 3 * _TILE_STEPS * n
    n_blocks = (D + n - 1) // n
    for job in range(lo, hi):
        i, first = job // n_blocks, job % n_blocks * n
        count = min(n, D - first)
        p, q, s = i * a[1] + first * a[3], i * g[1] + first * g[3], i * h[1] + first * h[3]
        r, u = i * grad_b[1] + first * grad_b[3], i * grad_a[1] + first * grad_a[3]
        if a[2] == 0:
            _gather(gates, p, a[3], count, tiles, gate_tile)
        _gather(final, i * grad_last[1] + first * grad_last[2], grad_last[2], count, tiles, 0)
        running = vload(tiles, 0)
        summed = vfull(like, 0.0)
        n_tiled = max(0, T - 1) // _SQUARE * _SQUARE if count >= _FEWEST_ROWS else 0  # not the step after ``state``
        for k in range(0, n_tiled, _TILE_STEPS):
            n_steps = min(_TILE_STEPS, n_tiled - k)
            t = 1 - k - n_steps if grad_b[2] < 0 else k
            if a[2] != 0:
                _read_tile(gates, p + t, a[3], count, n_steps, tiles, gate_tile)
            _read_tile(grads, q + t, g[3], count, n_steps, tiles, tile)
            if need != ABSENT:
                _read_tile(states, s + t, h[3], count, n_steps, tiles, past_tile)
            for step in range(n_steps):
                at = (n_steps - 1 - step if grad_b[2] < 0 else step) * n
                value = vload(tiles, tile + at) + running
                vstore(tiles, tile + at, value)
                if need == FULL:
                    vstore(tiles, past_tile + at, value * vload(tiles, past_tile + at))
                elif need == SUMMED:
                    summed = value * vload(tiles, past_tile + at) + summed
                running = value * vload(tiles, gate_tile + (at if a[2] != 0 else 0))
            _write_tile(tiles, tile, count, n_steps, out_b, r + t, grad_b[3])
            if need == FULL:
                _write_tile(tiles, past_tile, count, n_steps, out_a, u + t, grad_a[3])
        vstore(tiles, 0, running)
        vstore(tiles, n, summed)
        k = n_tiled
        for c in range(count):
            initial[i * grad_state[1] + (first + c) * grad_state[2]] = _backward_single(
                gates, p + c * a[3] + k * a[2], a[2], states, s + c * h[3] + k * h[2], h[2],
                before[i * state[1] + (first + c) * state[2]], grads, q + c * g[3] + k * g[2], g[2],
                out_a, u + c * grad_a[3] + k * grad_a[2], grad_a[2], out_b, r + c * grad_b[3] + k * grad_b[2],
                grad_b[2], tiles[c], tiles[n + c], need, T - k,
            )  # fmt: skip


@kernel
def forward_complex(like, a, b, state, h, last, sizes, lo, hi):
    """``forward`` for complex numbers."""
    T, D, width = sizes
    gates, terms, before = array_at(a[0], like), array_at(b[0], like), array_at(state[0], like)
    states, after = array_at(h[0], like), array_at(last[0], like)
    carry = _scratch(like)
    n_blocks, down = D // width, h[2] < 0
    for job in range(lo, hi):
        i, first = job // n_blocks, job % n_blocks * width
        count = D - first if job % n_blocks == n_blocks - 1 else width
        p, q, r = i * a[1] + first, i * b[1] + first, i * h[1] + first
        for d in range(count):
            carry[d] = before[i * state[1] + first + d]
        for _ in range(T):
            for run in range(0, count, _RUN if down else count):
                start, end = (max(0, count - run - _RUN), count - run) if down else (0, count)
                for d in range(start, end):
                    value = gates[p + d] * carry[d] + terms[q + d]
                    carry[d] = value
                    states[r + d] = value
            p, q, r = p + a[2], q + b[2], r + h[2]
        for d in range(count):
            after[i * last[1] + first + d] = carry[d]


@kernel
def backward_complex(like, a, h, state, g, grad_last, grad_a, grad_b, grad_state, sizes, need, lo, hi):
    """``backward`` for complex numbers."""
    T, D, width = sizes
    gates, states, before = array_at(a[0], like), array_at(h[0], like), array_at(state[0], like)
    grads, final, initial = array_at(g[0], like), array_at(grad_last[0], like), array_at(grad_state[0], like)
    out_a, out_b = array_at(grad_a[0], like), array_at(grad_b[0], like)
    carry, total = _scratch(like), _scratch(like)
    n_blocks, down = D // width, grad_b[2] < 0
    for job in range(lo, hi):
        i, first = job // n_blocks, job % n_blocks * width
        count = D - first if job % n_blocks == n_blocks - 1 else width
        p, q, s = i * a[1] + first, i * g[1] + first, i * h[1] + first
        r, u = i * grad_b[1] + first, i * grad_a[1] + first
        for d in range(count):
            carry[d] = final[i * grad_last[1] + first + d]
            total[d] = 0
        for k in range(T):
            past = states
            if k == T - 1:
                past, s = before, i * state[1] + first
            for run in range(0, count, _RUN if down else count):
                start, end = (max(0, count - run - _RUN), count - run) if down else (0, count)
                for d in range(start, end):  # loops of their own are vectorised, one loop for all is not
                    out_b[r + d] = grads[q + d] + carry[d]
                if need == FULL:
                    for d in range(start, end):
                        out_a[u + d] = out_b[r + d] * np.conj(past[s + d])
                elif need == SUMMED:
                    for d in range(start, end):
                        total[d] += out_b[r + d] * np.conj(past[s + d])
                for d in range(start, end):
                    carry[d] = out_b[r + d] * np.conj(gates[p + d])
            p, q, s, r, u = p + a[2], q + g[2], s + h[2], r + grad_b[2], u + grad_a[2]
        for d in range(count):
            initial[i * grad_state[1] + first + d] = carry[d]
            if need == SUMMED:
                out_a[u + d] = total[d]
