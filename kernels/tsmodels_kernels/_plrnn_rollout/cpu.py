"""Numba kernels of the forced rollout of piecewise-linear RNNs and of its exact gradient.

A job is a group of as many sequences as a vector has lanes (``_simd.py``).  All that has a value for each sequence is
an array of vectors, with weights as broadcast scalars; addresses count bytes, and a vector is ``VECTOR_BYTES``.

One path serves all cells.  ``cell`` = (kind, corrected, M, K, n, inner, offset) describes g: its kind, whether it is
centred (units) or clipped (others), M units, K features, n ReLUs (units) or bases (dendritic), and the addresses of
its parameters.  A step of the adjoint, with p the gradient of the state before forcing and x the forced state that
the step began with::

    p = G + (1 - alpha K) sigma        q = W' p        sigma = A p + G'(x)' q

The gradients of parameters are sums over steps for each lane.  Products of two vectors of a step are added up for a
block of steps at a time, so that a sum is read and written once in a block.  Lanes are added at the end, those that
stand for no sequence left out: what happens in them cannot reach a result.
"""

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from .._backend import VECTOR_BYTES
from .._flags import helper, kernel, phase
from .._simd import array_at, lanes, vfull, vload, vsplat, vstore

UNITS, SHALLOW, DENDRITIC = range(3)


@intrinsic
def _where_active(typing_context, argument, vector):
    """``vector`` where the argument of a ReLU is positive (or NaN, which torch lets through as well), else zero."""

    def codegen(ctx, builder, sig, args):
        zeros = ir.Constant(vector.llvm, [0.0] * vector.count)
        return builder.select(builder.fcmp_ordered("<=", args[0], zeros), zeros, args[1])

    return vector(argument, vector), codegen


@helper
def _relu(vector):
    return _where_active(vector, vector)


@helper
def _aligned(array):
    """Address of the first element of ``array`` from which on vectors do not cross cache lines."""
    return array.ctypes.data + -array.ctypes.data % VECTOR_BYTES


@phase
def _clear(zero, target, count):
    for i in range(count):
        vstore(array_at(target, zero), i * lanes(zero), zero)


@phase
def _add_product(zero, weights, by_row, by_column, n_rows, n_columns, source, target):
    """Add to target[i] the sum over j of weights[i * by_row + j * by_column] source[j].

    Four rows at a time; the last block takes its last row more than once, which writes the same again.
    """
    w, x, y, L = array_at(weights, zero), array_at(source, zero), array_at(target, zero), lanes(zero)
    end = n_rows - 1
    for i in range(0, n_rows, 4):
        i1, i2, i3 = min(i + 1, end), min(i + 2, end), min(i + 3, end)
        y0, y1, y2, y3 = vload(y, i * L), vload(y, i1 * L), vload(y, i2 * L), vload(y, i3 * L)
        for j in range(n_columns):
            column, value = j * by_column, vload(x, j * L)
            y0 = y0 + vsplat(w, i * by_row + column) * value
            y1 = y1 + vsplat(w, i1 * by_row + column) * value
            y2 = y2 + vsplat(w, i2 * by_row + column) * value
            y3 = y3 + vsplat(w, i3 * by_row + column) * value
        vstore(y, i * L, y0)
        vstore(y, i1 * L, y1)
        vstore(y, i2 * L, y2)
        vstore(y, i3 * L, y3)


@phase
def _add_outer(zero, n_steps, left, n_left, right, n_right, sums):
    """Add left[t, i] right[t, j] to sums[i, j] for t = n_steps - 1, ..., 0; blocks as in ``_add_product``."""
    a, b, total, L = array_at(left, zero), array_at(right, zero), array_at(sums, zero), lanes(zero)
    end = n_right - 1
    for i in range(n_left):
        row = i * n_right
        for j in range(0, n_right, 4):
            j1, j2, j3 = min(j + 1, end), min(j + 2, end), min(j + 3, end)
            s0, s1 = vload(total, (row + j) * L), vload(total, (row + j1) * L)
            s2, s3 = vload(total, (row + j2) * L), vload(total, (row + j3) * L)
            for t in range(n_steps - 1, -1, -1):
                value, at = vload(a, (t * n_left + i) * L), t * n_right
                s0 = s0 + value * vload(b, (at + j) * L)
                s1 = s1 + value * vload(b, (at + j1) * L)
                s2 = s2 + value * vload(b, (at + j2) * L)
                s3 = s3 + value * vload(b, (at + j3) * L)
            vstore(total, (row + j) * L, s0)
            vstore(total, (row + j1) * L, s1)
            vstore(total, (row + j2) * L, s2)
            vstore(total, (row + j3) * L, s3)


@helper
def _mean(zero, vectors, count):
    total = zero
    for i in range(count):
        total = total + vload(array_at(vectors, zero), i * lanes(zero))
    return total * (1.0 / count)


@phase
def _features(zero, cell, x, u, g):
    """g(x); the arguments of its ReLUs are left in ``u`` (shallow: without the offset; dendritic: nothing)."""
    kind, corrected, M, K, n, inner, offset = cell
    state, hidden, out, L = array_at(x, zero), array_at(u, zero), array_at(g, zero), lanes(zero)
    shift = array_at(offset, zero)
    if kind == UNITS:
        centre = zero
        if corrected:
            centre = _mean(zero, x, M)
        for i in range(M):
            value = vload(state, i * L) - centre
            vstore(hidden, i * L, value)
            vstore(out, i * L, value if i < M - n else _relu(value))
    elif kind == SHALLOW:
        _clear(zero, u, K)
        _add_product(zero, inner, M, 1, K, M, x, u)
        for k in range(K):
            value, clip = vload(hidden, k * L), zero
            if corrected:
                clip = _relu(value)
            vstore(out, k * L, _relu(value + vsplat(shift, k)) - clip)
    else:
        for i in range(M):
            value, clip, total = vload(state, i * L), zero, zero
            if corrected:
                clip = _relu(value)
            for b in range(n):
                basis = _relu(value - vsplat(shift, i * n + b)) - clip
                total = total + vsplat(array_at(inner, zero), b) * basis
            vstore(out, i * L, total)


@phase
def _pull_back(zero, cell, x, u, q, sigma, offset_sums):
    """Add G'(x)' q to sigma.

    A shallow cell turns q into the gradient of ``u``, as its weights need it, and adds that of its offsets to the sums.
    """
    kind, corrected, M, K, n, inner, offset = cell
    state, hidden, given, out = array_at(x, zero), array_at(u, zero), array_at(q, zero), array_at(sigma, zero)
    shift, sums, L = array_at(offset, zero), array_at(offset_sums, zero), lanes(zero)
    if kind == UNITS:
        for i in range(M - n, M):
            vstore(given, i * L, _where_active(vload(hidden, i * L), vload(given, i * L)))
        centre = zero
        if corrected:
            centre = _mean(zero, q, M)
        for i in range(M):
            vstore(out, i * L, vload(out, i * L) + (vload(given, i * L) - centre))
    elif kind == SHALLOW:
        for k in range(K):
            value, gradient, clip = vload(hidden, k * L), vload(given, k * L), zero
            if corrected:
                clip = _where_active(value, gradient)
            gradient = _where_active(value + vsplat(shift, k), gradient)
            vstore(sums, k * L, vload(sums, k * L) + gradient)
            vstore(given, k * L, gradient - clip)
        _add_product(zero, inner, 1, M, M, K, q, sigma)
    else:
        for i in range(M):
            value, slope = vload(state, i * L), zero
            for b in range(n):
                weight, clip = vsplat(array_at(inner, zero), b), zero
                if corrected:
                    clip = _where_active(value, weight)
                slope = slope + (_where_active(value - vsplat(shift, i * n + b), weight) - clip)
            vstore(out, i * L, vload(out, i * L) + vload(given, i * L) * slope)


@phase
def _add_dendritic(zero, cell, n_steps, x, q, inner_sums, offset_sums):
    """Gradients of the weights and thresholds of the bases over a block of steps."""
    _, corrected, M, _, n, inner, offset = cell
    states, given, L = array_at(x, zero), array_at(q, zero), lanes(zero)
    by_weight, by_threshold = array_at(inner_sums, zero), array_at(offset_sums, zero)
    for i in range(M):
        for b in range(n):
            threshold, weight = vsplat(array_at(offset, zero), i * n + b), vsplat(array_at(inner, zero), b)
            to_weight, to_threshold = vload(by_weight, b * L), vload(by_threshold, (i * n + b) * L)
            for t in range(n_steps - 1, -1, -1):
                at = (t * M + i) * L
                value, gradient, clip = vload(states, at), vload(given, at), zero
                if corrected:
                    clip = _relu(value)
                above = value - threshold
                to_weight = to_weight + gradient * (_relu(above) - clip)
                to_threshold = to_threshold - _where_active(above, gradient) * weight
            vstore(by_weight, b * L, to_weight)
            vstore(by_threshold, (i * n + b) * L, to_threshold)


@phase
def _advance(zero, cell, parameters, n_inputs, x, given, u, g, z):
    """One step, z = A x + W g(x) + h + C s."""
    A, W, h, C, _, _ = parameters
    _, _, M, K, _, _, _ = cell
    state, out, L = array_at(x, zero), array_at(z, zero), lanes(zero)
    _features(zero, cell, x, u, g)
    for i in range(M):
        bias = vsplat(array_at(h, zero), i)
        vstore(out, i * L, vsplat(array_at(A, zero), i) * vload(state, i * L) + bias)
    _add_product(zero, W, K, 1, M, K, g, z)
    _add_product(zero, C, n_inputs, 1, M, n_inputs, given, z)


@phase
def _force(zero, M, parameters, t, z, target, x):
    """The forced state, x = z + alpha K (d - z)."""
    state, wanted, out, L = array_at(z, zero), array_at(target, zero), array_at(x, zero), lanes(zero)
    strength = vsplat(array_at(parameters[4], zero), t)
    for i in range(M):
        value, by = vload(state, i * L), strength * vsplat(array_at(parameters[5], zero), i)
        vstore(out, i * L, value + by * (vload(wanted, i * L) - value))


@kernel
def forward(like, cell, parameters, sizes, data, lo, hi):
    """States before forcing, for the groups lo..hi of sequences.

    ``parameters`` = (A, W, h, C, alpha, mask), ``data`` = (d, s, forced, Z), ``sizes`` = (steps T, inputs S, vectors
    from a forced state to the next).  ``forced`` begins with z0 and receives the state that each other step begins
    with; where the next lies 0 vectors away, only the last is kept.
    """
    T, n_inputs, apart = sizes
    d, s, forced, Z = data
    M, K = cell[2], cell[3]
    zero = vfull(like, 0.0)
    work = np.empty((2 * K + 1) * lanes(zero), like.dtype)
    u = _aligned(work)
    g = u + K * VECTOR_BYTES
    for job in range(lo, hi):
        x = forced + job * max(M, T * apart) * VECTOR_BYTES
        for t in range(T):
            step = job * T + t
            at = step * M * VECTOR_BYTES
            _advance(zero, cell, parameters, n_inputs, x, s + step * n_inputs * VECTOR_BYTES, u, g, Z + at)
            if t + 1 < T:
                x += apart * VECTOR_BYTES
                _force(zero, M, parameters, t, Z + at, d + at, x)
    work[0] = 0.0  # it lives until here


@phase
def _retreat(zero, cell, parameters, n_inputs, t, x, grad, u, g, p, q, sigma, grad_s, sums):
    """Adjoint of step t; ``sums`` are the addresses of the sums of A, h and offset."""
    A, W, _, C, alpha, mask = parameters
    _, _, M, K, _, _, _ = cell
    state, gradient, carry, L = array_at(x, zero), array_at(p, zero), array_at(sigma, zero), lanes(zero)
    by_A, by_h = array_at(sums[0], zero), array_at(sums[1], zero)
    strength = vsplat(array_at(alpha, zero), t)
    for i in range(M):
        kept = 1.0 - strength * vsplat(array_at(mask, zero), i)
        value = vload(array_at(grad, zero), i * L) + kept * vload(carry, i * L)
        vstore(gradient, i * L, value)
        vstore(carry, i * L, vsplat(array_at(A, zero), i) * value)
        vstore(by_A, i * L, vload(by_A, i * L) + value * vload(state, i * L))
        vstore(by_h, i * L, vload(by_h, i * L) + value)
    _features(zero, cell, x, u, g)
    _clear(zero, q, K)
    _add_product(zero, W, 1, K, K, M, p, q)
    _pull_back(zero, cell, x, u, q, sigma, sums[2])
    _clear(zero, grad_s, n_inputs)
    _add_product(zero, C, 1, n_inputs, n_inputs, M, p, grad_s)


@phase
def _add_lanes(zero, sums, count, n_lanes, out):
    """Sums over the first lanes of each vector."""
    vectors, row = array_at(sums, zero), array_at(out, zero)
    for i in range(count):
        total = vectors[i * lanes(zero)]
        for lane in range(1, n_lanes):
            total += vectors[i * lanes(zero) + lane]
        row[i] = total


@kernel
def backward(like, cell, parameters, sizes, blocks, data, grads, lo, hi):
    """Adjoint of ``forward`` for the groups lo..hi of sequences.

    ``sizes`` = (sequences, steps T, inputs S), ``blocks`` = (steps of a block, vectors of sums, those of inner),
    ``data`` = (s, forced, gradient of Z), ``grads`` = (z0, s, a row of sums for each group).  Sums are of A, h, W, C,
    inner and offset, one behind the other.
    """
    n_sequences, T, n_inputs = sizes
    block, n_sums, n_inner = blocks
    s, forced, grad_Z = data
    kind, _, M, K, _, _, _ = cell
    zero = vfull(like, 0.0)
    L = lanes(zero)
    work = np.empty((n_sums + K + block * (M + 2 * K) + 1) * L, like.dtype)
    sums = _aligned(work)
    u = sums + n_sums * VECTOR_BYTES
    p = u + K * VECTOR_BYTES
    q = p + block * M * VECTOR_BYTES
    g = q + block * K * VECTOR_BYTES
    by_W = sums + 2 * M * VECTOR_BYTES
    by_C = by_W + M * K * VECTOR_BYTES
    by_inner = by_C + M * n_inputs * VECTOR_BYTES
    by_offset = by_inner + n_inner * VECTOR_BYTES
    by_step = sums, sums + M * VECTOR_BYTES, by_offset
    for job in range(lo, hi):
        sigma = grads[0] + job * M * VECTOR_BYTES
        _clear(zero, sums, n_sums)
        _clear(zero, sigma, M)
        for last in range(T, 0, -block):
            first = max(0, last - block)
            begin, n_steps = job * T + first, last - first
            x, given = forced + begin * M * VECTOR_BYTES, s + begin * n_inputs * VECTOR_BYTES
            for i in range(n_steps - 1, -1, -1):
                at, feature = i * M * VECTOR_BYTES, i * K * VECTOR_BYTES
                _retreat(
                    zero, cell, parameters, n_inputs, first + i, x + at, grad_Z + begin * M * VECTOR_BYTES + at, u,
                    g + feature, p + at, q + feature, sigma, grads[1] + (begin + i) * n_inputs * VECTOR_BYTES, by_step,
                )  # fmt: skip
            _add_outer(zero, n_steps, p, M, g, K, by_W)
            _add_outer(zero, n_steps, p, M, given, n_inputs, by_C)
            if kind == SHALLOW:
                _add_outer(zero, n_steps, q, K, x, M, by_inner)
            elif kind == DENDRITIC:
                _add_dendritic(zero, cell, n_steps, x, q, by_inner, by_offset)
        _add_lanes(zero, sums, n_sums, min(L, n_sequences - job * L), grads[2] + job * n_sums * like.itemsize)
    work[0] = 0.0  # it lives until here
