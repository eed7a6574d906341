"""Numba kernels of the selective scan: sequential in time, SIMD over channels.

One job is one batch element times one block of up to ``BLOCK`` channels of one group.  It walks the time in chunks of
``CHUNK`` steps and takes, inside a chunk, one vector of channels after the other: their rows are copied to a work array
that stays in the first-level cache, padded by zeros to whole vectors.  So only the copying knows of strides, odd widths
and direction, and inputs of any layout run at one speed.

The forward keeps the states before each chunk.  The backward takes the chunks from the last to the first, recomputes
the decays and states of one chunk, at most ``SLICE`` states at once to bound what must stay in the caches, and runs the
adjoint over it.  Every job writes slots of its own: sums over channels one slab for each block of channels, sums over
the batch one row for each batch element; ``cpu_call.py`` adds them up.

Symbols follow ``ref.py``; ``A2`` is A log2(e), ``delta`` the step size, ``u`` = delta x, ``v`` the output before the
gate.  In the work array these are offsets of rows (steps of a chunk, lanes) or states (states, lanes).

All numbers of a call stand in one array, the ``plan``: that is quick to pass, and quick to compile for.  It begins with
``HEADER`` and the addresses of contiguous tensors, 0 for what is absent.  Tensors (B, T, ...) follow as walks of
``WALK`` numbers each: address, stride of the batch, first step walked, way from a step walked to the next, stride of
the group, stride of the slab.  A walk is named by its place in the plan.
"""

import numpy as np

from .._flags import helper, kernel, phase
from .._simd import array_at, lanes, vadd_sums, vfull, vload, vload_part, vsplat, vstore, vstore_part, vwithin
from .._simd_math import LN_2, LOG2_E, exp2, exp2_inside, one_minus_exp, sigmoid, softplus
from .op import CHUNK

HEADER = ("walks", "T", "D", "N", "group_width", "G", "n_blocks", "n_chunks", "with_softplus")
ADDRESSES = len(HEADER)
WALK = 6
BLOCK = 64
SLICE = 16
_CACHE_LINE = 64


@helper
def _place(plan, walk, i, k):
    """Index of step ``k`` of batch element ``i``."""
    return i * plan[walk + 1] + plan[walk + 2] + k * plan[walk + 3]


@helper
def _group_place(plan, walk, i, k, g, n):
    """Index of state ``n`` of group ``g`` at that step."""
    return _place(plan, walk, i, k) + g * plan[walk + 4] + n


@phase
def _clear(work, to, n_vectors):
    L = lanes(work)
    for k in range(n_vectors):
        vstore(work, to + k * L, vfull(work, 0.0))


@phase
def _read(plan, walk, i, k, channel, n_rows, width, work, to):
    """Copy ``width`` channels of the steps k, k + 1 ... into rows of whole vectors, zeros behind them."""
    L = lanes(work)
    source, at, step = array_at(plan[walk], work), _place(plan, walk, i, k) + channel, plan[walk + 3]
    for row in range(n_rows):
        vstore(work, to + row * L, vload_part(source, at + row * step, width))


@phase
def _write(work, to, plan, walk, i, k, channel, n_rows, width):
    """The inverse of ``_read``."""
    L = lanes(work)
    target, at, step = array_at(plan[walk], work), _place(plan, walk, i, k) + channel, plan[walk + 3]
    if width == L:  # AMD takes a dozen cycles for a masked store
        for row in range(n_rows):
            vstore(target, at + row * step, vload(work, to + row * L))
    else:
        for row in range(n_rows):
            vstore_part(target, at + row * step, vload(work, to + row * L), width)


@phase
def _read_states(address, at, width, N, scale, work, to):
    """Copy (width, N) numbers, times ``scale``, as (vectors, N, lanes), zeros behind them and for address 0.

    Returns the largest magnitude, inf where it is beyond 1e30 or NaN.
    """
    L = lanes(work)
    source = array_at(address, work)
    largest = 0.0
    _clear(work, to, (width + L - 1) // L * N)
    if address != 0:
        for c in range(width):
            row = to + c // L * N * L + c % L
            for n in range(N):
                value = source[at + c * N + n] * scale
                work[row + n * L] = value
                if not abs(value) <= largest:
                    largest = abs(value) if abs(value) <= 1e30 else np.inf
    return largest


@phase
def _write_states(work, to, width, N, address, at):
    """The inverse of ``_read_states``."""
    L = lanes(work)
    target = array_at(address, work)
    for c in range(width):
        row = to + c // L * N * L + c % L
        for n in range(N):
            target[at + c * N + n] = work[row + n * L]


@helper
def _channels(address, at, width, work):
    """A vector of ``width`` numbers; zeros behind them and for address 0."""
    return vload_part(array_at(address, work), at, width if address != 0 else 0)


@phase
def _prepare(work, rows, D_weight, dt_bias, at, width, n_rows, with_softplus, limit):
    """Raw step sizes -> step sizes; what enters the states, u = delta x; what x alone gives, v = D x.

    Returns whether no step size is beyond ``limit``.
    """
    x, delta, u, v = rows
    L = lanes(work)
    inside = True
    weight, bias = _channels(D_weight, at, width, work), _channels(dt_bias, at, width, work)
    for k in range(0, n_rows * L, L):
        d, xk = vload(work, delta + k) + bias, vload(work, x + k)
        if with_softplus:
            d = softplus(d)
        inside = inside and vwithin(d, limit)
        vstore(work, delta + k, d)
        vstore(work, u + k, d * xk)
        vstore(work, v + k, weight * xk)
    return inside


@helper
def _decays(work, d, A2, n_states, inside, to):
    """exp(delta A) of one step and one vector of channels for some states; all in range takes a shorter way."""
    L = lanes(work)
    if inside:
        for i in range(n_states):
            vstore(work, to + i * L, exp2_inside(d * vload(work, A2 + i * L)))
    else:
        for i in range(n_states):
            vstore(work, to + i * L, exp2(d * vload(work, A2 + i * L)))


@phase
def _advance(work, rows, states, plan, maps, i, k, g, n, n_rows, n_states, inside):
    """Move the states n, n + 1 ... of a vector of channels over a chunk and add what they give to ``v``."""
    delta, u, v = rows
    A2, h, e = states
    L = lanes(work)
    B, b, b_step = array_at(plan[maps[0]], work), _group_place(plan, maps[0], i, k, g, n), plan[maps[0] + 3]
    C, c, c_step = array_at(plan[maps[1]], work), _group_place(plan, maps[1], i, k, g, n), plan[maps[1] + 3]
    for row in range(n_rows):
        _decays(work, vload(work, delta + row * L), A2, n_states, inside, e)
        uk, total = vload(work, u + row * L), vload(work, v + row * L)
        for s in range(n_states):
            state = vload(work, e + s * L) * vload(work, h + s * L) + uk * vsplat(B, b + s)
            vstore(work, h + s * L, state)
            total = total + state * vsplat(C, c + s)
        vstore(work, v + row * L, total)
        b += b_step
        c += c_step


@phase
def _gate(work, v, z, n_rows):
    """Gate the outputs: v silu(z)."""
    L = lanes(work)
    for k in range(0, n_rows * L, L):
        zk = vload(work, z + k)
        vstore(work, v + k, vload(work, v + k) * (zk * sigmoid(zk)))


@kernel
def forward(like, plan, lo, hi):
    """The jobs lo..hi; addresses A, D, dt_bias, state, last state; walks x, dt, B, C, z, y, states before chunks."""
    x, T, D, N, group_width = plan[0], plan[1], plan[2], plan[3], plan[4]
    G, n_blocks, n_chunks, with_softplus = plan[5], plan[6], plan[7], plan[8] != 0
    A, D_weight, dt_bias, state, last = plan[9], plan[10], plan[11], plan[12], plan[13]
    dt, maps, z, y, kept = x + WALK, (x + 2 * WALK, x + 3 * WALK), x + 4 * WALK, x + 5 * WALK, x + 6 * WALK
    L = lanes(like)
    memory = np.empty(_CACHE_LINE + (3 * CHUNK + SLICE) * L + 2 * BLOCK * N, like.dtype)
    work = array_at((memory.ctypes.data + _CACHE_LINE - 1) // _CACHE_LINE * _CACHE_LINE, like)
    u = 0 * L  # as a literal it would have the phases compiled once more
    delta, v, e = u + CHUNK * L, u + 2 * CHUNK * L, u + 3 * CHUNK * L
    A2 = e + SLICE * L
    h = A2 + BLOCK * N
    for job in range(lo, hi):
        i, g, block = job // (G * n_blocks), job // n_blocks % G, job % n_blocks * BLOCK
        first, width = g * group_width + block, min(BLOCK, group_width - block)
        limit = 126.0 / max(1e-30, _read_states(A, first * N, width, N, LOG2_E, work, A2))
        _read_states(state, (i * D + first) * N, width, N, 1.0, work, h)
        for chunk in range(n_chunks):
            k = chunk * CHUNK
            n_rows = min(CHUNK, T - k)
            for c in range(0, width, L):
                at, count = first + c, min(L, width - c)
                if plan[kept] != 0:
                    _write(work, h + c * N, plan, kept, i, chunk * N, at, N, count)
                _read(plan, x, i, k, at, n_rows, count, work, u)
                _read(plan, dt, i, k, at, n_rows, count, work, delta)
                rows = (u, delta, u, v)
                inside = _prepare(work, rows, D_weight, dt_bias, at, count, n_rows, with_softplus, limit)
                for n in range(0, N, SLICE):
                    states = (A2 + c * N + n * L, h + c * N + n * L, e)
                    n_states = min(SLICE, N - n)
                    _advance(work, (delta, u, v), states, plan, maps, i, k, g, n, n_rows, n_states, inside)
                if plan[z] != 0:
                    _read(plan, z, i, k, at, n_rows, count, work, u)
                    _gate(work, v, u, n_rows)
                _write(work, v, plan, y, i, k, at, n_rows, count)
        _write_states(work, h, width, N, last, (i * D + first) * N)
    memory[0] = 0  # a last use: until here it belongs to this call


@phase
def _rebuild(work, rows, states, plan, maps, i, k, g, n, n_rows, n_states, inside):
    """States and decays of a chunk from the states before it, which are the first row of ``h``."""
    delta, u = rows
    A2, h, e = states
    L = lanes(work)
    B, b, b_step = array_at(plan[maps[0]], work), _group_place(plan, maps[0], i, k, g, n), plan[maps[0] + 3]
    for row in range(n_rows):
        _decays(work, vload(work, delta + row * L), A2, n_states, inside, e)
        uk, after = vload(work, u + row * L), h + n_states * L
        for s in range(n_states):
            state = vload(work, e + s * L) * vload(work, h + s * L) + uk * vsplat(B, b + s)
            vstore(work, after + s * L, state)
        h, e = after, e + n_states * L
        b += b_step


@phase
def _read_out(work, v, h, plan, maps, i, k, g, n, n_rows, n_states):
    """Add to ``v`` what the states of a chunk give."""
    L = lanes(work)
    C, c, c_step = array_at(plan[maps[1]], work), _group_place(plan, maps[1], i, k, g, n), plan[maps[1] + 3]
    for row in range(n_rows):
        total = vload(work, v + row * L)
        h += n_states * L
        for s in range(n_states):
            total = total + vload(work, h + s * L) * vsplat(C, c + s)
        vstore(work, v + row * L, total)
        c += c_step


@helper
def _retreat_state(work, A2, h, e, lam, to_A, b, c, d, dv, to_u, to_delta):
    """One step back of one state: its adjoint, and what it adds to the gradients of u and of delta log2(e)."""
    adjoint = vload(work, lam) + dv * c
    carried = adjoint * vload(work, e)
    vstore(work, lam, carried)
    decayed = carried * vload(work, h)
    vstore(work, to_A, vload(work, to_A) + decayed * d)
    return adjoint, to_u + adjoint * b, to_delta + decayed * vload(work, A2)


@phase
def _retreat(work, rows, states, adjoints, sums, sums_step, plan, maps, i, k, g, n, n_rows, n_states):
    """Adjoint of ``_advance`` over a chunk; the gradients of B and C are sums over the lanes."""
    delta, u, dv, to_u, to_delta = rows
    A2, h, e = states
    lam, to_A = adjoints
    L = lanes(work)
    B, b, b_step = array_at(plan[maps[0]], work), _group_place(plan, maps[0], i, k, g, n), plan[maps[0] + 3]
    C, c, c_step = array_at(plan[maps[1]], work), _group_place(plan, maps[1], i, k, g, n), plan[maps[1] + 3]
    zero = vfull(work, 0.0)
    for row in range(n_rows - 1, -1, -1):
        d, uk, dvk = vload(work, delta + row * L), vload(work, u + row * L), vload(work, dv + row * L)
        to_uk, to_dk = vload(work, to_u + row * L), vload(work, to_delta + row * L)
        ek, hk, now = e + row * n_states * L, h + row * n_states * L, h + (row + 1) * n_states * L
        bk, ck, total = b + row * b_step, c + row * c_step, sums + row * sums_step
        for s in range(0, n_states - 1, 2):
            o, p = s * L, (s + 1) * L
            b1, c1, b2, c2 = vsplat(B, bk + s), vsplat(C, ck + s), vsplat(B, bk + s + 1), vsplat(C, ck + s + 1)
            one, to_uk, to_dk = _retreat_state(
                work, A2 + o, hk + o, ek + o, lam + o, to_A + o, b1, c1, d, dvk, to_uk, to_dk
            )
            two, to_uk, to_dk = _retreat_state(
                work, A2 + p, hk + p, ek + p, lam + p, to_A + p, b2, c2, d, dvk, to_uk, to_dk
            )
            out1, out2 = dvk * vload(work, now + o), dvk * vload(work, now + p)
            vadd_sums(work, total + 2 * s, one * uk, out1, two * uk, out2)
        if n_states % 2 != 0:
            s = n_states - 1
            o, b1, c1 = s * L, vsplat(B, bk + s), vsplat(C, ck + s)
            one, to_uk, to_dk = _retreat_state(
                work, A2 + o, hk + o, ek + o, lam + o, to_A + o, b1, c1, d, dvk, to_uk, to_dk
            )
            vadd_sums(work, total + 2 * s, one * uk, dvk * vload(work, now + o), zero, zero)
        vstore(work, to_u + row * L, to_uk)
        vstore(work, to_delta + row * L, to_dk)


@phase
def _open_gate(work, z, dv, n_rows):
    """Gradients through v silu(z): dy -> that of v, z -> that of z but for the factor v."""
    L = lanes(work)
    for k in range(0, n_rows * L, L):
        zk, dy = vload(work, z + k), vload(work, dv + k)
        s = sigmoid(zk)
        vstore(work, dv + k, dy * (zk * s))
        vstore(work, z + k, dy * (s * (1.0 + zk * (1.0 - s))))


@phase
def _input_gradients(work, x, z, v, rows, parameters, at, total_at, width, n_rows, with_softplus, with_gate):
    """Gradients of x, into ``to_u``, of dt, into ``to_delta``, and of z; those of D and of the bias are added up."""
    delta, _, dv, to_u, to_delta = rows
    D_weight, grad_D, grad_bias = parameters
    L = lanes(work)
    weight = _channels(D_weight, at, width, work)
    D_total, bias_total = _channels(grad_D, total_at, width, work), _channels(grad_bias, total_at, width, work)
    for k in range(0, n_rows * L, L):
        d, xk, dvk, to_uk = vload(work, delta + k), vload(work, x + k), vload(work, dv + k), vload(work, to_u + k)
        to_dt = vload(work, to_delta + k) * LN_2 + to_uk * xk
        if with_softplus:  # the slope is sigmoid(raw) = 1 - exp(-softplus(raw))
            to_dt = to_dt * one_minus_exp(d)
        if with_gate:
            vstore(work, z + k, vload(work, z + k) * vload(work, v + k))
        vstore(work, to_u + k, to_uk * d + dvk * weight)
        vstore(work, to_delta + k, to_dt)
        D_total = D_total + dvk * xk
        bias_total = bias_total + to_dt
    vstore_part(array_at(grad_D, work), total_at, D_total, width if grad_D != 0 else 0)
    vstore_part(array_at(grad_bias, work), total_at, bias_total, width if grad_bias != 0 else 0)


@phase
def _write_sums(work, sums, sums_step, plan, maps, i, k, g, block, n_rows, N):
    """Move the gradients of B and C of a chunk to their slabs and leave zeros."""
    B, b = array_at(plan[maps[0]], work), _group_place(plan, maps[0], i, k, g, block * plan[maps[0] + 5])
    C, c = array_at(plan[maps[1]], work), _group_place(plan, maps[1], i, k, g, block * plan[maps[1] + 5])
    for row in range(n_rows):
        total = sums + row * sums_step
        for n in range(N):
            B[b + n] = work[total + 2 * n]
            C[c + n] = work[total + 2 * n + 1]
            work[total + 2 * n] = work[total + 2 * n + 1] = 0.0
        b += plan[maps[0] + 3]
        c += plan[maps[1] + 3]


@kernel
def backward(like, plan, lo, hi):
    """Adjoint of ``forward``; addresses A, D, dt_bias, gradients of the last state, A, D, dt_bias and the first state.

    Walks x, dt, B, C, z, gradient of y, states before chunks, gradients of x, dt, B, C, z.  The gradients of A, D and
    dt_bias are those of one batch element; those of D and dt_bias are zero at first.
    """
    x, T, D, N, group_width = plan[0], plan[1], plan[2], plan[3], plan[4]
    G, n_blocks, n_chunks, with_softplus = plan[5], plan[6], plan[7], plan[8] != 0
    A, D_weight, dt_bias, grad_last = plan[9], plan[10], plan[11], plan[12]
    grad_A, grad_D, grad_bias, grad_state = plan[13], plan[14], plan[15], plan[16]
    dt, maps, z, dy, kept = x + WALK, (x + 2 * WALK, x + 3 * WALK), x + 4 * WALK, x + 5 * WALK, x + 6 * WALK
    grad_x, grad_dt, grad_maps, grad_z = x + 7 * WALK, x + 8 * WALK, (x + 9 * WALK, x + 10 * WALK), x + 11 * WALK
    L = lanes(like)
    sums_step = 2 * (N + N % 2)  # gradients of B and C of a step, side by side, written for two states at once
    n_vectors = 8 * CHUNK + (2 * CHUNK + 1) * SLICE + sums_step * CHUNK // L + 1
    memory = np.empty(_CACHE_LINE + n_vectors * L + 3 * BLOCK * N, like.dtype)
    work = array_at((memory.ctypes.data + _CACHE_LINE - 1) // _CACHE_LINE * _CACHE_LINE, like)
    u = 0 * L  # as a literal it would have the phases compiled once more
    delta, dv, to_u, to_delta = u + CHUNK * L, u + 2 * CHUNK * L, u + 3 * CHUNK * L, u + 4 * CHUNK * L
    xs, zs, v, e = u + 5 * CHUNK * L, u + 6 * CHUNK * L, u + 7 * CHUNK * L, u + 8 * CHUNK * L
    h = e + CHUNK * SLICE * L
    A2 = h + (CHUNK + 1) * SLICE * L
    lam, to_A, sums = A2 + BLOCK * N, A2 + 2 * BLOCK * N, A2 + 3 * BLOCK * N
    rows = (delta, u, dv, to_u, to_delta)
    _clear(work, sums, sums_step * CHUNK // L + 1)
    for job in range(lo, hi):
        i, g, block = job // (G * n_blocks), job // n_blocks % G, job % n_blocks
        first, width = g * group_width + block * BLOCK, min(BLOCK, group_width - block * BLOCK)
        limit = 126.0 / max(1e-30, _read_states(A, first * N, width, N, LOG2_E, work, A2))
        _read_states(grad_last, (i * D + first) * N, width, N, 1.0, work, lam)
        _clear(work, to_A, BLOCK * N // L)
        for chunk in range(n_chunks - 1, -1, -1):
            k = chunk * CHUNK
            n_rows = min(CHUNK, T - k)
            for c in range(0, width, L):
                at, count = first + c, min(L, width - c)
                _read(plan, x, i, k, at, n_rows, count, work, xs)
                _read(plan, dt, i, k, at, n_rows, count, work, delta)
                _read(plan, dy, i, k, at, n_rows, count, work, dv)
                inside = _prepare(
                    work, (xs, delta, u, v), D_weight, dt_bias, at, count, n_rows, with_softplus, limit
                )  # fmt: skip
                _clear(work, to_u, CHUNK + n_rows)
                if plan[z] != 0:
                    _read(plan, z, i, k, at, n_rows, count, work, zs)
                    _open_gate(work, zs, dv, n_rows)
                for n in range(0, N, SLICE):
                    n_states, o = min(SLICE, N - n), c * N + n * L
                    states, adjoints = (A2 + o, h, e), (lam + o, to_A + o)
                    _read(plan, kept, i, chunk * N + n, at, n_states, count, work, h)
                    _rebuild(work, (delta, u), states, plan, maps, i, k, g, n, n_rows, n_states, inside)
                    if plan[z] != 0:
                        _read_out(work, v, h, plan, maps, i, k, g, n, n_rows, n_states)
                    _retreat(
                        work, rows, states, adjoints, sums + 2 * n, sums_step, plan, maps, i, k, g, n, n_rows, n_states
                    )  # fmt: skip
                parameters = (D_weight, grad_D, grad_bias)
                _input_gradients(
                    work, xs, zs, v, rows, parameters, at, i * D + at, count, n_rows, with_softplus, plan[z] != 0
                )  # fmt: skip
                _write(work, to_u, plan, grad_x, i, k, at, n_rows, count)
                _write(work, to_delta, plan, grad_dt, i, k, at, n_rows, count)
                if plan[z] != 0:
                    _write(work, zs, plan, grad_z, i, k, at, n_rows, count)
            _write_sums(work, sums, sums_step, plan, grad_maps, i, k, g, block, n_rows, N)
        _write_states(work, to_A, width, N, grad_A, (i * D + first) * N)
        _write_states(work, lam, width, N, grad_state, (i * D + first) * N)
    memory[0] = 0  # a last use: until here it belongs to this call
