"""Numba kernels of the forced rollout of piecewise-linear RNNs and of its exact gradient.

A job is a group of as many sequences as a vector has lanes (``_simd.py``).  What has a value for each sequence is
gathered into vectors, a block of steps at a time, and weights are broadcast scalars; addresses count bytes, and a
vector is ``VECTOR_BYTES``.

One path serves all cells.  ``cell`` = (kind, corrected, M, K, n, inner, offset) describes g: its kind, whether it is
centred (units) or clipped (others), M units, K features, n ReLUs (units) or bases (dendritic), and the addresses of
its parameters.  A step of the adjoint, with p the gradient of the state before forcing and x the forced state that
the step began with::

    p = G + (1 - alpha K) sigma        q = W' p        sigma = A p + G'(x)' q

The gradients of parameters are sums over steps for each lane.  Products of two vectors of a step are added up for a
block of steps at a time.  Lanes that stand for no sequence repeat one that does, with a gradient of zero: what happens
in them cannot reach a result.
"""

import numpy as np

from .._backend import VECTOR_BYTES
from .._flags import helper, kernel, phase
from .._simd import array_at, lanes, vfull, vload, vsplat, vstore
from .cpu_vectors import (
    add_lanes,
    add_outer,
    add_product,
    aligned,
    clear,
    gather,
    mean,
    put,
    relu,
    scatter,
    where_active,
)

UNITS, SHALLOW, DENDRITIC = range(3)
KINDS = {"units": UNITS, "shallow": SHALLOW, "dendritic": DENDRITIC}  # of cells.py


@phase
def _packed(like, cell, parameters):
    """K M numbers of W2 (K, M), then K M of W1 (M, K), for cells with hidden units.

    Those of four units lie side by side, for the first of M, for the second ...; fewer than four at the end one by one.
    """
    kind, _, M, K, _, inner, _ = cell
    packed = np.zeros(2 * K * M if kind == SHALLOW else 1, like.dtype)
    W1, W2 = array_at(parameters[1], like), array_at(inner, like)
    if kind == SHALLOW:
        for k in range(K):
            fours = k < K - K % 4
            first, apart = (k // 4 * 4 * M + k % 4, 4) if fours else (k * M, 1)
            for i in range(M):
                packed[first + i * apart] = W2[k * M + i]
                packed[K * M + first + i * apart] = W1[i * K + k]
    return packed


@helper
def _inward(zero, n, packed, at, M, source):
    """Sums over the M vectors of ``source`` for n packed hidden units, 4 or 1."""
    vectors, L = array_at(source, zero), lanes(zero)
    a, b, c, d = zero, zero, zero, zero
    for i in range(M):
        value = vload(vectors, i * L)
        a = a + vsplat(packed, at) * value
        if n == 4:
            b = b + vsplat(packed, at + 1) * value
            c = c + vsplat(packed, at + 2) * value
            d = d + vsplat(packed, at + 3) * value
        at += n
    return a, b, c, d


@helper
def _outward(zero, n, packed, at, M, a, b, c, d, target):
    """Add n packed hidden units to the M vectors of ``target``."""
    vectors, L = array_at(target, zero), lanes(zero)
    for i in range(M):
        total = vsplat(packed, at) * a
        if n == 4:  # a short chain of sums from one block of units to the next
            total = (total + vsplat(packed, at + 1) * b) + (vsplat(packed, at + 2) * c + vsplat(packed, at + 3) * d)
        vstore(vectors, i * L, vload(vectors, i * L) + total)
        at += n


@helper
def _activated(zero, corrected, u, shift, k):
    if corrected:
        return relu(u + vsplat(shift, k)) - relu(u)
    return relu(u + vsplat(shift, k))


@helper
def _hidden(zero, n, cell, packed, k, x, z):
    """Add to z what n hidden units from the k-th on contribute."""
    _, corrected, M, K, _, _, offset = cell
    weights, shift = array_at(packed, zero), array_at(offset, zero)
    a, b, c, d = _inward(zero, n, weights, k * M, M, x)
    a = _activated(zero, corrected, a, shift, k)
    if n == 4:
        b = _activated(zero, corrected, b, shift, k + 1)
        c = _activated(zero, corrected, c, shift, k + 2)
        d = _activated(zero, corrected, d, shift, k + 3)
    _outward(zero, n, weights, (K + k) * M, M, a, b, c, d, z)


@phase
def _add_hidden(zero, cell, packed, x, z):
    """Add W1 g(x) to z."""
    K = cell[3]
    fours = K - K % 4
    for k in range(0, fours, 4):
        _hidden(zero, 4, cell, packed, k, x, z)
    for k in range(fours, K):
        _hidden(zero, 1, cell, packed, k, x, z)


@helper
def _activated_back(zero, corrected, u, q, shift, sums, g, r, k):
    """Leave the feature of hidden unit k in ``g``, the gradient of ``u`` in ``r``, and return it."""
    L = lanes(zero)
    v, clip, plain = u + vsplat(shift, k), zero, zero
    if corrected:
        clip, plain = relu(u), where_active(u, q)
    gradient = where_active(v, q)
    vstore(g, k * L, relu(v) - clip)
    vstore(sums, k * L, vload(sums, k * L) + gradient)
    gradient = gradient - plain
    vstore(r, k * L, gradient)
    return gradient


@helper
def _hidden_back(zero, n, cell, packed, k, x, p, sigma, g, r, offset_sums):
    _, corrected, M, K, _, _, offset = cell
    weights, shift, sums = array_at(packed, zero), array_at(offset, zero), array_at(offset_sums, zero)
    features, gradients = array_at(g, zero), array_at(r, zero)
    a, b, c, d = _inward(zero, n, weights, k * M, M, x)
    e, f, h, o = _inward(zero, n, weights, (K + k) * M, M, p)
    a = _activated_back(zero, corrected, a, e, shift, sums, features, gradients, k)
    if n == 4:
        b = _activated_back(zero, corrected, b, f, shift, sums, features, gradients, k + 1)
        c = _activated_back(zero, corrected, c, h, shift, sums, features, gradients, k + 2)
        d = _activated_back(zero, corrected, d, o, shift, sums, features, gradients, k + 3)
    _outward(zero, n, weights, k * M, M, a, b, c, d, sigma)


@phase
def _pull_back_hidden(zero, cell, packed, x, p, sigma, g, r, offset_sums):
    """Add G'(x)' W1' p to sigma; g(x) and the gradient of W2 x are left in ``g`` and ``r``."""
    K = cell[3]
    fours = K - K % 4
    for k in range(0, fours, 4):
        _hidden_back(zero, 4, cell, packed, k, x, p, sigma, g, r, offset_sums)
    for k in range(fours, K):
        _hidden_back(zero, 1, cell, packed, k, x, p, sigma, g, r, offset_sums)


@phase
def _features(zero, cell, x, u, g):
    """g(x) of cells without hidden units; the arguments of the units' ReLUs are left in ``u``."""
    kind, corrected, M, _, n, inner, offset = cell
    state, hidden, out, L = array_at(x, zero), array_at(u, zero), array_at(g, zero), lanes(zero)
    shift = array_at(offset, zero)
    if kind == UNITS:
        centre = zero
        if corrected:
            centre = mean(zero, x, M)
        for i in range(M):
            value = vload(state, i * L) - centre
            vstore(hidden, i * L, value)
            vstore(out, i * L, value if i < M - n else relu(value))
    else:
        for i in range(M):
            value, clip, total = vload(state, i * L), zero, zero
            if corrected:
                clip = relu(value)
            for b in range(n):
                basis = relu(value - vsplat(shift, i * n + b)) - clip
                total = total + vsplat(array_at(inner, zero), b) * basis
            vstore(out, i * L, total)


@phase
def _pull_back(zero, cell, x, u, q, sigma):
    """Add G'(x)' q to sigma for cells without hidden units."""
    kind, corrected, M, _, n, inner, offset = cell
    state, hidden, given, out = array_at(x, zero), array_at(u, zero), array_at(q, zero), array_at(sigma, zero)
    shift, L = array_at(offset, zero), lanes(zero)
    if kind == UNITS:
        for i in range(M - n, M):
            vstore(given, i * L, where_active(vload(hidden, i * L), vload(given, i * L)))
        centre = zero
        if corrected:
            centre = mean(zero, q, M)
        for i in range(M):
            vstore(out, i * L, vload(out, i * L) + (vload(given, i * L) - centre))
    else:
        for i in range(M):
            value, slope = vload(state, i * L), zero
            for b in range(n):
                weight, clip = vsplat(array_at(inner, zero), b), zero
                if corrected:
                    clip = where_active(value, weight)
                slope = slope + (where_active(value - vsplat(shift, i * n + b), weight) - clip)
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
                    clip = relu(value)
                above = value - threshold
                to_weight = to_weight + gradient * (relu(above) - clip)
                to_threshold = to_threshold - where_active(above, gradient) * weight
            vstore(by_weight, b * L, to_weight)
            vstore(by_threshold, (i * n + b) * L, to_threshold)


@phase
def _advance(zero, cell, parameters, packed, n_inputs, x, given, u, g, z):
    """One step, z = A x + W g(x) + h + C s."""
    A, W, h, C, _, _ = parameters
    kind, _, M, K, _, _, _ = cell
    state, out, L = array_at(x, zero), array_at(z, zero), lanes(zero)
    for i in range(M):
        bias = vsplat(array_at(h, zero), i)
        vstore(out, i * L, vsplat(array_at(A, zero), i) * vload(state, i * L) + bias)
    if kind == SHALLOW:
        _add_hidden(zero, cell, packed, x, z)
    else:
        _features(zero, cell, x, u, g)
        add_product(zero, W, K, 1, M, K, g, z)
    add_product(zero, C, n_inputs, 1, M, n_inputs, given, z)


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

    ``parameters`` = (A, W, h, C, alpha, mask), ``data`` = (z0, d, s, forced, Z), ``sizes`` = (sequences, steps T,
    inputs S, steps of a block).  ``forced``, unless it is 0, receives the state that each step begins with, as vectors.
    """
    n_sequences, T, n_inputs, block = sizes
    z0, d, s, forced, Z = data
    M, K = cell[2], cell[3]
    zero = vfull(like, 0.0)
    L, itemsize = lanes(zero), like.itemsize
    work = np.empty((2 * K + M + block * (2 * M + n_inputs) + 1) * L, like.dtype)
    weights = _packed(like, cell, parameters)
    packed = weights.ctypes.data
    u = aligned(work)
    g = u + K * VECTOR_BYTES
    targets = g + K * VECTOR_BYTES
    given = targets + block * M * VECTOR_BYTES
    states = given + block * n_inputs * VECTOR_BYTES
    for job in range(lo, hi):
        n_lanes, before = min(L, n_sequences - job * L), job * L
        x, apart = states + block * M * VECTOR_BYTES, 0
        if forced:
            x, apart = forced + job * T * M * VECTOR_BYTES, M * VECTOR_BYTES
        gather(zero, z0 + before * M * itemsize, M, M, n_lanes, L, x)
        for first in range(0, T, block):
            n_steps, start = min(block, T - first), before * T + first
            gather(zero, d + start * M * itemsize, T * M, n_steps * M, n_lanes, L, targets)
            gather(zero, s + start * n_inputs * itemsize, T * n_inputs, n_steps * n_inputs, n_lanes, L, given)
            for i in range(n_steps):
                at = i * M * VECTOR_BYTES
                _advance(
                    zero, cell, parameters, packed, n_inputs, x, given + i * n_inputs * VECTOR_BYTES, u, g, states + at
                )
                if first + i + 1 < T:
                    x += apart
                    _force(zero, M, parameters, first + i, states + at, targets + at, x)
            scatter(zero, states, n_steps * M, n_lanes, Z + start * M * itemsize, T * M)
    work[0] = weights[0]  # they live until here


@phase
def _retreat(zero, cell, parameters, packed, n_inputs, t, x, u, g, p, q, sigma, grad_s, sums):
    """Adjoint of step t; ``p`` begins as the gradient of Z, ``sums`` are the addresses of those of A, h and offset."""
    A, W, _, C, alpha, mask = parameters
    kind, _, M, K, _, _, _ = cell
    state, gradient, carry, L = array_at(x, zero), array_at(p, zero), array_at(sigma, zero), lanes(zero)
    by_A, by_h = array_at(sums[0], zero), array_at(sums[1], zero)
    strength = vsplat(array_at(alpha, zero), t)
    for i in range(M):
        kept = 1.0 - strength * vsplat(array_at(mask, zero), i)
        value = vload(gradient, i * L) + kept * vload(carry, i * L)
        vstore(gradient, i * L, value)
        vstore(carry, i * L, vsplat(array_at(A, zero), i) * value)
        vstore(by_A, i * L, vload(by_A, i * L) + value * vload(state, i * L))
        vstore(by_h, i * L, vload(by_h, i * L) + value)
    if kind == SHALLOW:
        _pull_back_hidden(zero, cell, packed, x, p, sigma, g, q, sums[2])
    else:
        _features(zero, cell, x, u, g)
        clear(zero, q, K)
        add_product(zero, W, 1, K, K, M, p, q)
        _pull_back(zero, cell, x, u, q, sigma)
    clear(zero, grad_s, n_inputs)
    add_product(zero, C, 1, n_inputs, n_inputs, M, p, grad_s)


@kernel
def backward(like, cell, parameters, sizes, data, grads, lo, hi):
    """Adjoint of ``forward`` for the groups lo..hi of sequences.

    ``sizes`` = (sequences, steps T, inputs S, steps of a block), ``data`` = (s, forced, gradient of Z), ``grads`` =
    (z0, s, A, h, offset, W, C, inner), those of the parameters for each group by itself.
    """
    n_sequences, T, n_inputs, block = sizes
    s, forced, grad_Z = data
    kind, _, M, K, n, _, _ = cell
    zero = vfull(like, 0.0)
    L, itemsize = lanes(zero), like.itemsize
    n_offset, n_inner, n_bases = 0, 0, 0
    if kind == SHALLOW:
        n_offset, n_inner = K, K * M
    elif kind == DENDRITIC:
        n_offset, n_bases = M * n, n
    weights = _packed(like, cell, parameters)
    packed = weights.ctypes.data

    # Sums that are formed step by step have a number in each lane; others are totals at the end of a block.
    n_sums = 2 * M + n_offset + n_bases
    totals = np.empty(n_sums + M * K + M * n_inputs + n_inner + 4 * 4, like.dtype)
    total = totals.ctypes.data
    total_W = total + (n_sums + 4) * itemsize
    total_C = total_W + (M * K + 4) * itemsize
    total_inner = total_C + (M * n_inputs + 4) * itemsize
    work = np.empty((n_sums + K + M + block * (M + 2 * K + 2 * n_inputs) + 1) * L, like.dtype)
    sums = aligned(work)
    by_h = sums + M * VECTOR_BYTES
    by_offset = by_h + M * VECTOR_BYTES
    by_base = by_offset + n_offset * VECTOR_BYTES
    u = by_base + n_bases * VECTOR_BYTES
    sigma = u + K * VECTOR_BYTES
    p = sigma + M * VECTOR_BYTES
    q = p + block * M * VECTOR_BYTES
    g = q + block * K * VECTOR_BYTES
    given = g + block * K * VECTOR_BYTES
    grad_given = given + block * n_inputs * VECTOR_BYTES
    for job in range(lo, hi):
        n_lanes, before = min(L, n_sequences - job * L), job * L
        totals[:] = 0.0
        clear(zero, sums, n_sums)
        clear(zero, sigma, M)
        for last in range(T, 0, -block):
            first = max(0, last - block)
            n_steps, start, x = last - first, before * T + first, forced + (job * T + first) * M * VECTOR_BYTES
            if n_lanes < L:
                clear(zero, p, n_steps * M)
            gather(zero, grad_Z + start * M * itemsize, T * M, n_steps * M, n_lanes, n_lanes, p)
            gather(zero, s + start * n_inputs * itemsize, T * n_inputs, n_steps * n_inputs, n_lanes, L, given)
            for i in range(n_steps - 1, -1, -1):
                at, feature = i * M * VECTOR_BYTES, i * K * VECTOR_BYTES
                _retreat(
                    zero, cell, parameters, packed, n_inputs, first + i, x + at, u, g + feature, p + at, q + feature,
                    sigma, grad_given + i * n_inputs * VECTOR_BYTES, (sums, by_h, by_offset),
                )  # fmt: skip
            scatter(zero, grad_given, n_steps * n_inputs, n_lanes, grads[1] + start * n_inputs * itemsize, T * n_inputs)
            add_outer(zero, n_steps, p, M, g, K, total_W)
            add_outer(zero, n_steps, p, M, given, n_inputs, total_C)
            if kind == SHALLOW:
                add_outer(zero, n_steps, x, M, q, K, total_inner)
            elif kind == DENDRITIC:
                _add_dendritic(zero, cell, n_steps, x, q, by_base, by_offset)
        scatter(zero, sigma, M, n_lanes, grads[0] + before * M * itemsize, M)
        add_lanes(zero, sums, n_sums, total)
        put(zero, total, 1, M, grads[2] + job * M * itemsize)
        put(zero, total + M * itemsize, 1, M, grads[3] + job * M * itemsize)
        put(zero, total + 2 * M * itemsize, 1, n_offset, grads[4] + job * n_offset * itemsize)
        put(zero, total_W, M, K, grads[5] + job * M * K * itemsize)
        put(zero, total_C, M, n_inputs, grads[6] + job * M * n_inputs * itemsize)
        put(zero, total_inner, 1, n_inner, grads[7] + job * n_inner * itemsize)
        put(zero, total + (2 * M + n_offset) * itemsize, 1, n_bases, grads[7] + job * n_bases * itemsize)
    work[0] = weights[0] + totals[0]  # they live until here
