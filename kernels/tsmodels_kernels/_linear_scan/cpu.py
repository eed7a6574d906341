"""Numba kernels of the linear scan: sequential in time, vectorised over channels.

One job is one batch element times one block of channels, whose running state stays in the first-level cache.  Arrays
are one-dimensional and contiguous; ``a`` of shape (1 or B, 1 or T, D) is read with strides that are 0 where it is
broadcast. One source serves float32, float64, complex64 and complex128.
"""

import numpy as np

from .._flags import kernel

BLOCK = 256


@kernel
def forward(a, b, state, h, sizes, strides, reverse, lo, hi):
    """Fill ``h``; ``state`` (B, D) holds the state that enters and receives the one that leaves."""
    T, D = sizes
    n_blocks = -(-D // BLOCK)
    for job in range(lo, hi):
        i, first = job // n_blocks, job % n_blocks * BLOCK
        width = min(BLOCK, D - first)
        carry = state[i * D + first : i * D + first + width]
        for k in range(T):
            t = T - 1 - k if reverse else k
            at, gate = (i * T + t) * D + first, i * strides[0] + t * strides[1] + first
            a_row, b_row, h_row = a[gate : gate + width], b[at : at + width], h[at : at + width]
            for d in range(width):
                value = a_row[d] * carry[d] + b_row[d]
                carry[d] = value
                h_row[d] = value


@kernel
def backward(a, h, state, g, sizes, strides, reverse, grad_a, grad_b, grad_state, lo, hi):
    """Adjoint of ``forward``; ``grad_state`` holds the gradient of the last state and receives that of the first.

    ``grad_a`` is (B, T, D), or (B, 1, D) and zero at first where ``a`` does not depend on time; the caller adds it up
    over the batch where ``a`` is shared.  An empty ``grad_a`` is not computed, and ``h`` then not read.
    """
    T, D = sizes
    n_blocks = -(-D // BLOCK)
    with_a, invariant = len(grad_a) > 0, strides[1] == 0
    for job in range(lo, hi):
        i, first = job // n_blocks, job % n_blocks * BLOCK
        width = min(BLOCK, D - first)
        carry = grad_state[i * D + first : i * D + first + width]
        for k in range(T):
            t = k if reverse else T - 1 - k
            at, gate = (i * T + t) * D + first, i * strides[0] + t * strides[1] + first
            a_row, g_row, out = a[gate : gate + width], g[at : at + width], grad_b[at : at + width]
            for d in range(width):
                out[d] = g_row[d] + carry[d]
            if with_a:
                step = D if reverse else -D
                before = state[i * D + first : i * D + first + width]
                if k < T - 1:
                    before = h[at + step : at + step + width]
                if invariant:
                    total = grad_a[i * D + first : i * D + first + width]
                    for d in range(width):
                        total[d] += out[d] * np.conj(before[d])
                else:
                    product = grad_a[at : at + width]
                    for d in range(width):
                        product[d] = out[d] * np.conj(before[d])
            for d in range(width):
                carry[d] = out[d] * np.conj(a_row[d])
