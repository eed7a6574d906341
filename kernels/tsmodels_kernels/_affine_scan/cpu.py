"""Numba kernels of the affine scan: sequential in time, vectors along the units.

A job is one sequence.  Tensors are contiguous and given by their addresses; ``like`` is an empty array of their dtype.
Matrices are read once, row by row, in both directions of the product: by rows with a sum over the lanes at the end
of each, transposed as a sum of rows.
"""

import numpy as np

from .._flags import helper, kernel, phase
from .._simd import array_at, lanes, vadd_sums, vfull, vload, vload_part, vsplat, vstore, vstore_part


@phase
def _add_product(like, matrix, M, source, target):
    """Add matrix @ source to target, which has room for a multiple of four.

    Four rows at a time; the last block takes its last row more than once, into places that are never read.
    """
    x, y, L, end = array_at(source, like), array_at(target, like), lanes(like), M - 1
    w = array_at(matrix, like)
    for i in range(0, M, 4):
        row0, row1, row2, row3 = i * M, min(i + 1, end) * M, min(i + 2, end) * M, min(i + 3, end) * M
        s0, s1, s2, s3 = vfull(like, 0.0), vfull(like, 0.0), vfull(like, 0.0), vfull(like, 0.0)
        for j in range(0, M, L):
            n = min(L, M - j)
            values = vload(x, j)
            s0 = s0 + vload_part(w, row0 + j, n) * values
            s1 = s1 + vload_part(w, row1 + j, n) * values
            s2 = s2 + vload_part(w, row2 + j, n) * values
            s3 = s3 + vload_part(w, row3 + j, n) * values
        vadd_sums(y, i, s0, s1, s2, s3)


@phase
def _transposed_product(like, matrix, M, source, target):
    """Fill target with matrix' @ source."""
    w, x, y = array_at(matrix, like), array_at(source, like), array_at(target, like)
    for j in range(0, M, lanes(like)):
        n = min(lanes(like), M - j)
        total = vfull(like, 0.0)
        for i in range(M):
            total = total + vload_part(w, i * M + j, n) * vsplat(x, i)
        vstore(y, j, total)


@helper
def _copy(like, source, target, M):
    """Copy M numbers, in whole vectors with zeros behind them."""
    x, y = array_at(source, like), array_at(target, like)
    for j in range(0, M, lanes(like)):
        vstore(y, j, vload_part(x, j, min(lanes(like), M - j)))


@helper
def _store(like, source, target, M):
    """Copy M numbers out of whole vectors."""
    x, y = array_at(source, like), array_at(target, like)
    for j in range(0, M, lanes(like)):
        vstore_part(y, j, vload(x, j), min(lanes(like), M - j))


@kernel
def forward(like, J, b, state, s, last, sizes, lo, hi):
    """Fill ``s`` (B, T, M) and ``last`` (B, M); ``sizes`` = (T, M, walk against time, adjoint)."""
    T, M, reverse, adjoint = sizes
    L, size = lanes(like), like.itemsize
    width = (M + L - 1) // L * L
    work = np.empty(2 * width, like.dtype)
    carry, value = work.ctypes.data, work.ctypes.data + width * size
    for job in range(lo, hi):
        _copy(like, state + job * M * size, carry, M)
        for k in range(T):
            step = job * T + (T - 1 - k if reverse else k)
            at = step * M * size
            _copy(like, b + at, value, M)
            if adjoint:
                for j in range(0, M, L):
                    total = vload(array_at(value, like), j) + vload(array_at(carry, like), j)
                    vstore(array_at(value, like), j, total)
                _transposed_product(like, J + step * M * M * size, M, value, carry)
                _store(like, value, s + at, M)
            else:
                _add_product(like, J + step * M * M * size, M, carry, value)
                _store(like, value, s + at, M)
                _copy(like, s + at, carry, M)  # zeros behind it again, where the product left other numbers
        _store(like, carry, last + job * M * size, M)
    work[0] = 0.0  # it lives until here
