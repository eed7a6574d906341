"""Numba kernels of free orbits of piecewise-linear maps and of their Lyapunov exponents, and their callers.

A job is one orbit.  Its state is one vector after the other of units, padded with zeros to whole vectors, and so are
the parameters: SIMD lanes are hidden units, bases are looped over.  The tangent frame of the exponents has a column in
each lane, M vectors to a group of columns, so that it goes through the same product as sequences do in ``cpu.py``.

``cell`` = (kind, corrected, M, K, n, inputs S): see ``cpu.py``.  ``weights`` = (A, W, h, C, inner, offset) are flat
arrays, with Mp and Kp for M and K rounded up to whole vectors: A and h (Mp), W (Mp, Kp), C (S, Mp); inner and offset
of shallow cells (M, Kp) and (Kp), of dendritic ones (n) and (n, Mp).
"""

import math

import numpy as np
from torch import Tensor

from .. import _pool
from .._backend import VECTOR_BYTES
from .._flags import helper, kernel, phase
from .._simd import array_at, lanes, vadd_sums, vfull, vload, vsplat, vstore
from .cells import CELLS
from .cpu import KINDS, SHALLOW, UNITS
from .cpu_vectors import add_product, clear, mean, relu
from .free import RESOLUTION

# Jobs below this many products of a step's matrix (about half a millisecond) are not worth a hand-over to a thread.
_GRAIN_PRODUCTS = 1 << 21


@helper
def _whole(zero, count):
    """``count`` rounded up to whole vectors."""
    return -(-count // lanes(zero)) * lanes(zero)


@phase
def _features(zero, cell, weights, z, u, g):
    """g(z); the arguments of its ReLUs are left in ``u`` (shallow: without the offset; dendritic: nothing)."""
    kind, corrected, M, K, n, _ = cell
    inner, offset = weights[4], weights[5]
    if kind == UNITS:
        centre = 0.0
        if corrected:
            for i in range(M):
                centre += z[i]
            centre /= M
        for i in range(M):
            u[i] = z[i] - centre
            g[i] = 0.0 if i >= M - n and u[i] <= 0.0 else u[i]
    elif kind == SHALLOW:
        width = _whole(zero, K)
        for k in range(0, K, lanes(zero)):
            value, clip = zero, zero
            for j in range(M):
                value = value + vload(inner, j * width + k) * vsplat(z, j)
            vstore(u, k, value)
            if corrected:
                clip = relu(value)
            vstore(g, k, relu(value + vload(offset, k)) - clip)
    else:
        width = _whole(zero, M)
        for i in range(0, M, lanes(zero)):
            value, clip, total = vload(z, i), zero, zero
            if corrected:
                clip = relu(value)
            for b in range(n):
                total = total + vsplat(inner, b) * (relu(value - vload(offset, b * width + i)) - clip)
            vstore(g, i, total)


@phase
def _move(zero, cell, weights, s, at, z, g, after):
    """Make A z + W g + h + C s of z, in place, for the inputs s[at:]; ``after`` is work space like z."""
    _, _, M, K, _, n_inputs = cell
    A, W, h, C, _, _ = weights
    L, width = lanes(zero), _whole(zero, K)
    for i in range(0, M, L):
        value = vload(A, i) * vload(z, i) + vload(h, i)
        for c in range(n_inputs):
            value = value + vload(C, c * _whole(zero, M) + i) * vsplat(s, at + c)
        vstore(after, i, value)
    for i in range(0, M, 4):
        y0, y1, y2, y3 = zero, zero, zero, zero
        for k in range(0, K, L):
            value, row = vload(g, k), i * width + k
            y0 = y0 + vload(W, row) * value
            y1 = y1 + vload(W, row + width) * value
            y2 = y2 + vload(W, row + 2 * width) * value
            y3 = y3 + vload(W, row + 3 * width) * value
        vadd_sums(after, i, y0, y1, y2, y3)
    for i in range(0, M, L):
        vstore(z, i, vload(after, i))


@kernel
def simulate_orbits(like, cell, weights, sizes, s, starts, out, lo, hi):
    """Every ``every``-th state of the orbits lo..hi; ``sizes`` = (steps, every), ``out`` (orbits, kept states, M)."""
    n_steps, every = sizes
    _, _, M, K, _, n_inputs = cell
    zero = vfull(like, 0.0)
    z, after = np.zeros(_whole(zero, M), like.dtype), np.zeros(_whole(zero, M), like.dtype)
    u, g = np.zeros(_whole(zero, K), like.dtype), np.zeros(_whole(zero, K), like.dtype)
    for job in range(lo, hi):
        z[:] = 0.0
        for i in range(M):
            z[i] = starts[job, i]
        for kept in range(n_steps // every):
            for t in range(kept * every, (kept + 1) * every):
                _features(zero, cell, weights, z, u, g)
                _move(zero, cell, weights, s, (job * n_steps + t) * n_inputs, z, g, after)
            for i in range(M):
                out[job, kept, i] = z[i]


@phase
def _set_slopes(cell, weights, width, z, u, slopes):
    """G'(z) between features and arguments: a diagonal for every cell; ``u`` as ``_features`` leaves it."""
    kind, corrected, M, K, n, _ = cell
    inner, offset = weights[4], weights[5]
    if kind == UNITS:
        for i in range(M):
            slopes[i] = 1.0 if i < M - n or u[i] > 0.0 else 0.0
    elif kind == SHALLOW:
        for k in range(K):
            plain = 1.0 if corrected and u[k] > 0.0 else 0.0
            slopes[k] = (1.0 if u[k] + offset[k] > 0.0 else 0.0) - plain
    else:
        for i in range(M):
            plain, total = 1.0 if corrected and z[i] > 0.0 else 0.0, 0.0
            for b in range(n):
                total += inner[b] * ((1.0 if z[i] > offset[b * width + i] else 0.0) - plain)
            slopes[i] = total


@phase
def _push_forward(zero, cell, weights, slopes, columns, hidden, after):
    """J times a group of columns, in place; ``columns``, ``hidden`` and ``after`` are addresses of vectors."""
    kind, corrected, M, K, _, _ = cell
    A, W, _, _, inner, _ = weights
    L, width = lanes(zero), _whole(zero, K)
    given, inside, out = array_at(columns, zero), array_at(hidden, zero), array_at(after, zero)
    if kind == SHALLOW:
        clear(zero, hidden, K)
        add_product(zero, inner.ctypes.data, 1, width, K, M, columns, hidden)
        for k in range(K):
            vstore(inside, k * L, vsplat(slopes, k) * vload(inside, k * L))
    else:
        centre = zero
        if kind == UNITS and corrected:
            centre = mean(zero, columns, M)
        for i in range(M):
            vstore(inside, i * L, vsplat(slopes, i) * (vload(given, i * L) - centre))
    for i in range(M):
        vstore(out, i * L, vsplat(A, i) * vload(given, i * L))
    add_product(zero, W.ctypes.data, width, 1, M, K, hidden, after)
    for i in range(M):
        vstore(given, i * L, vload(out, i * L))


@phase
def _length(frame, first, stride, count):
    """Euclidean length of a column."""
    total = 0.0
    for i in range(count):
        total += frame[first + i * stride] * frame[first + i * stride]
    return math.sqrt(total)


@phase
def _orthonormalise(zero, M, n_columns, frame, lengths, dots, logs):
    """Modified Gram-Schmidt; the logarithms of the pivots are added to ``logs``.

    A column without a pivot becomes zero, which it stays: the frame has lost this dimension for good.
    """
    L = lanes(zero)
    for j in range(n_columns):
        lengths[j] = _length(frame, (j // L * M) * L + j % L, L, M)
    for j in range(n_columns):
        group = j // L
        first = group * M * L + j % L
        pivot = _length(frame, first, L, M)
        lost = pivot <= M * RESOLUTION * lengths[j]
        logs[j] += -np.inf if lost else math.log(pivot)
        for i in range(M):
            frame[first + i * L] = 0.0 if lost else frame[first + i * L] / pivot
        for f in range(group, -(-n_columns // L)):
            dot = zero
            for i in range(M):
                dot = dot + vsplat(frame, first + i * L) * vload(frame, (f * M + i) * L)
            if f == group:  # this column and those before it stay as they are
                vstore(dots, 0, dot)
                for lane in range(j % L + 1):
                    dots[lane] = 0.0
                dot = vload(dots, 0)
            for i in range(M):
                at = (f * M + i) * L
                vstore(frame, at, vload(frame, at) - vsplat(frame, first + i * L) * dot)


@kernel
def lyapunov_orbits(like, cell, weights, sizes, s, starts, frames, out, lo, hi):
    """Lyapunov exponents of the orbits lo..hi.

    ``sizes`` = (steps before the sums begin, steps in the sums, steps between two decompositions), ``frames`` the first
    frame (groups of columns, M, lanes) flat, ``out`` (orbits, exponents).
    """
    n_transient, n_steps, every = sizes
    _, _, M, K, _, n_inputs = cell
    zero = vfull(like, 0.0)
    L, total, k = lanes(zero), n_transient + n_steps, out.shape[1]
    z, after = np.zeros(_whole(zero, M), like.dtype), np.zeros(_whole(zero, M), like.dtype)
    u, g = np.zeros(_whole(zero, K), like.dtype), np.zeros(_whole(zero, K), like.dtype)
    slopes, lengths, dots = np.zeros(K, like.dtype), np.zeros(k, like.dtype), np.zeros(L, like.dtype)
    hidden, moved = np.empty(K * L, like.dtype), np.empty(M * L, like.dtype)
    frame = np.empty_like(frames)
    for job in range(lo, hi):
        z[:] = 0.0
        for i in range(M):
            z[i] = starts[job, i]
        frame[:] = frames
        logs = out[job]
        logs[:] = 0.0
        for t in range(total):
            _features(zero, cell, weights, z, u, g)
            _set_slopes(cell, weights, _whole(zero, M), z, u, slopes)
            _move(zero, cell, weights, s, (job * total + t) * n_inputs, z, g, after)
            for group in range(-(-k // L)):
                columns = frame.ctypes.data + group * M * VECTOR_BYTES
                _push_forward(zero, cell, weights, slopes, columns, hidden.ctypes.data, moved.ctypes.data)
            if (t + 1) % every == 0 or t + 1 == n_transient or t + 1 == total:
                _orthonormalise(zero, M, k, frame, lengths, dots, logs)
                if t + 1 == n_transient:
                    logs[:] = 0.0
        for i in range(M):
            if not math.isfinite(z[i]):
                logs[:] = np.nan
        for j in range(k):
            logs[j] /= n_steps


def _padded(tensor: Tensor, *sizes: int) -> np.ndarray:
    """A flat array of ``tensor`` with zeros up to ``sizes``."""
    array = tensor.detach().numpy()
    whole = np.zeros(sizes, array.dtype)
    whole[tuple(slice(n) for n in array.shape)] = array
    return whole.ravel()


def _described(cell: str, A, W, h, inner, offset, C, n_relu: int) -> tuple[tuple[int, ...], tuple[np.ndarray, ...]]:
    """What the kernels call ``cell`` and ``weights``."""
    kind, corrected, _ = CELLS[cell]
    (M, K), L, nothing = W.shape, VECTOR_BYTES // W.element_size(), W.new_empty(0)
    units, features = -(-M // L) * L, -(-K // L) * L
    inputs = _padded(nothing, 0) if C is None else _padded(C.mT, C.shape[1], units)
    if inner is None:
        of_g = _padded(nothing, 0), _padded(nothing, 0)
    elif kind == "shallow":
        of_g = _padded(inner.mT, M, features), _padded(offset, features)
    else:
        of_g = _padded(inner, len(inner)), _padded(offset.mT, len(inner), units)
    weights = _padded(A, units), _padded(W, units, features), _padded(h, units), inputs, *of_g
    n = n_relu if inner is None else len(inner)
    return (KINDS[kind], int(corrected), M, K, n, 0 if C is None else C.shape[1]), weights


def _run(kernel, cell, weights, sizes, s, z0, *arrays, steps: int, columns: int) -> None:
    like, (M, K) = weights[0][:0], cell[2:4]
    inputs = like if s is None else s.detach().contiguous().numpy().ravel()
    grain = max(1, _GRAIN_PRODUCTS // max(1, steps * columns * M * K))
    _pool.run(
        kernel, len(z0), like, cell, weights, sizes, inputs, z0.detach().contiguous().numpy(), *arrays, grain=grain
    )


def simulate(cell, z0, n_steps, every, s, *parameters) -> Tensor:
    """States (B, n_steps // every, M)."""
    described, weights = _described(cell, *parameters)
    out = z0.new_empty(len(z0), n_steps // every, z0.shape[1])
    _run(simulate_orbits, described, weights, (n_steps, every), s, z0, out.numpy(), steps=n_steps, columns=1)
    return out


def lyapunov(cell, z0, n_steps, n_transient, every, s, frame, *parameters) -> Tensor:
    """Exponents (B, columns of ``frame``), all in float64; ``frame`` (M, columns) is the first one."""
    described, weights = _described(cell, *parameters)
    (M, k), L = frame.shape, VECTOR_BYTES // frame.element_size()
    groups = -(-k // L)
    frames = _padded(frame, M, groups * L).reshape(M, groups, L).transpose(1, 0, 2).ravel()
    out = z0.new_empty(len(z0), k)
    sizes = n_transient, n_steps, every
    steps = n_transient + n_steps
    _run(lyapunov_orbits, described, weights, sizes, s, z0, frames, out.numpy(), steps=steps, columns=k)
    return out
