"""CUDA kernel of the linear scan for tensors whose time axis is contiguous in memory, (B, D, T).

One block walks one row.  A thread takes four neighbouring steps with one 16-byte load each of gates and terms, reduces
them to one affine map h -> product h + total; a shuffle scan gives the map of all earlier lanes of its warp, shared
memory that of all earlier warps.  Real dtypes only: a shuffle moves one number.
"""

import torch
from numba import cuda, types
from torch import Tensor

from .._cuda import WARP, WHOLE_WARP, int64, kernel_family, load4, storage_of, store4

THREADS = 256
QUAD = 4


@kernel_family
def row_sweep(dtype, threads, vectors, adjoint, gradient):
    """States of whole rows; ``vectors``: all rows start and end at multiples of four elements.

    ``adjoint`` and ``gradient`` as in ``cuda.sweep`` (True or False: the gradient of every gate by itself).
    """
    storage = storage_of(dtype)
    load, store, number = storage.load, storage.store, storage.compute
    pointer, wide = storage.pointer, types.CPointer(storage.compute)
    widen, narrow = storage.widen, storage.narrow
    warps = threads // WARP
    identity = number(1), number(1), number(1), number(1)
    nothing = number(0), number(0), number(0), number(0)

    @cuda.jit(device=True)
    def four(p, row, step, T, backwards, absent):
        """Elements of four steps in the order of the walk, ``absent`` beyond the end."""
        if vectors:
            if step >= T:
                return absent
            a, b, c, d = load4(p, row + (T - QUAD - step if backwards else step))
            if backwards:
                return widen(d), widen(c), widen(b), widen(a)
            return widen(a), widen(b), widen(c), widen(d)
        start = row + (T - 1 - step if backwards else step)
        move = -1 if backwards else 1
        return (
            load(p, start) if step < T else absent[0],
            load(p, start + move) if step + 1 < T else absent[1],
            load(p, start + 2 * move) if step + 2 < T else absent[2],
            load(p, start + 3 * move) if step + 3 < T else absent[3],
        )

    @cuda.jit(device=True)
    def set_four(p, row, step, T, backwards, a, b, c, d):
        if vectors:
            if step < T:
                if backwards:
                    store4(p, row + T - QUAD - step, narrow(d), narrow(c), narrow(b), narrow(a))
                else:
                    store4(p, row + step, narrow(a), narrow(b), narrow(c), narrow(d))
            return
        start = row + (T - 1 - step if backwards else step)
        move = -1 if backwards else 1
        if step < T:
            store(p, start, a)
        if step + 1 < T:
            store(p, start + move, b)
        if step + 2 < T:
            store(p, start + 2 * move, c)
        if step + 3 < T:
            store(p, start + 3 * move, d)

    @cuda.jit(device=True)
    def at(p, row, step, T, backwards):
        return load(p, row + (T - 1 - step if backwards else step))

    def kernel(
        gates, terms, state, out, leaving, before, first, grad_gates, T, D, gate_batch, gate_channel, gate_time,
        backwards,
    ):  # fmt: skip
        products = cuda.shared.array(warps, number)
        totals = cuda.shared.array(warps, number)
        thread = int64(cuda.threadIdx.x)
        lane, warp = thread % WARP, thread // WARP
        pair = int64(cuda.blockIdx.x)
        row, gate_row = pair * T, pair // D * gate_batch + pair % D * gate_channel
        carry = state[pair]
        for tile in range(0, T, threads * QUAD):
            step = tile + thread * QUAD
            b0, b1, b2, b3 = four(terms, row, step, T, backwards, nothing)
            if gate_time == 0:
                gate = load(gates, gate_row)
                a0, a1 = gate if step < T else number(1), gate if step + 1 < T else number(1)
                a2, a3 = gate if step + 2 < T else number(1), gate if step + 3 < T else number(1)
            else:
                a0, a1, a2, a3 = four(gates, gate_row, step, T, backwards, identity)
            if adjoint:
                a1, a2, a3 = a0, a1, a2
                if gate_time != 0 and 0 < step < T:
                    a0 = at(gates, gate_row, step - 1, T, backwards)
                elif step == 0:
                    a0 = number(1)
            own_total = a3 * (a2 * (a1 * b0 + b1) + b2) + b3
            own_product = a3 * a2 * (a1 * a0)
            total, product = own_total, own_product
            for power in range(5):
                offset = 1 << power
                earlier_product = cuda.shfl_up_sync(WHOLE_WARP, product, offset)
                earlier_total = cuda.shfl_up_sync(WHOLE_WARP, total, offset)
                if lane >= offset:
                    total = product * earlier_total + total
                    product = product * earlier_product
            earlier_product = cuda.shfl_up_sync(WHOLE_WARP, product, 1)
            earlier_total = cuda.shfl_up_sync(WHOLE_WARP, total, 1)
            if lane == WARP - 1:
                products[warp] = product
                totals[warp] = total
            cuda.syncthreads()
            h = carry
            for w in range(warps):
                if w == warp:
                    h = carry
                carry = products[w] * carry + totals[w]
            if lane > 0:
                h = earlier_product * h + earlier_total
            h0 = a0 * h + b0
            h1 = a1 * h0 + b1
            h2 = a2 * h1 + b2
            h3 = a3 * h2 + b3
            if gradient:
                p0, p1, p2, p3 = four(before, row, step, T, backwards, nothing)
                p0, p1, p2 = p1, p2, p3
                if step + QUAD < T:
                    p3 = at(before, row, step + QUAD, T, backwards)
                last = first[pair]  # the state before the first, where the adjoint ends
                p0 = last if step + 1 == T else p0
                p1 = last if step + 2 == T else p1
                p2 = last if step + 3 == T else p2
                p3 = last if step + 4 == T else p3
                set_four(grad_gates, row, step, T, backwards, h0 * p0, h1 * p1, h2 * p2, h3 * p3)
            set_four(out, row, step, T, backwards, h0, h1, h2, h3)
            cuda.syncthreads()
            if adjoint and step < T <= step + QUAD:  # this thread has the last step, and with it what leaves
                end = (T - 1) % QUAD
                h = h0 if end == 0 else h1 if end == 1 else h2 if end == 2 else h3
                leaving[pair] = h * load(gates, gate_row if gate_time == 0 or backwards else gate_row + T - 1)
        if not adjoint and thread == 0:
            leaving[pair] = carry

    blocks = 2048 // threads // (4 if number is types.float64 else 2)  # on a multiprocessor: 64 registers a thread
    return kernel, (pointer, pointer, wide, pointer, wide, pointer, wide, pointer, *(int64,) * 6), (threads, blocks)


def _as_rows(tensor: Tensor) -> Tensor:
    """The same (B, T, D) with contiguous time, copied only if it must be."""
    return tensor.transpose(1, 2).contiguous().transpose(1, 2)


def _gate_strides(a: Tensor) -> tuple[int, int, int]:
    B, T, D = a.shape
    return (0 if B == 1 else T * D), T, (0 if T == 1 else 1)


def _vectors(T: int, gate_time: int, tensors: tuple[Tensor, ...]) -> bool:
    aligned = (t.data_ptr() % (QUAD * t.element_size()) == 0 for t in tensors)
    return T % QUAD == 0 and all(aligned)


def _launch(a, terms, state, out, leaving, before, first, grad_a, adjoint, backwards, threads):
    B, T, D = terms.shape
    strides = _gate_strides(a)
    reads = (terms, out, before, grad_a) if strides[2] == 0 else (a, terms, out, before, grad_a)
    constants = (terms.dtype, threads, _vectors(T, strides[2], reads), adjoint, grad_a is not out)
    row_sweep.launch(
        constants, (B * D,), (threads,), a, terms, state, out, leaving, before, first, grad_a, T, D, *strides, backwards
    )


def forward(a: Tensor, b: Tensor, state: Tensor, reverse: bool, *, threads: int = THREADS) -> tuple[Tensor, Tensor]:
    """``cuda.forward`` for rows; the states are rows too."""
    a, b, state = _as_rows(a), _as_rows(b), state.contiguous()
    h, last = torch.empty_like(b), torch.empty_like(state)
    _launch(a, b, state, h, last, h, state, h, False, reverse, threads)
    return h, last


def backward(
    a: Tensor, h: Tensor, state: Tensor, grad_h: Tensor, grad_state: Tensor, reverse: bool, need_a: bool,
    *, threads: int = THREADS,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """``cuda.backward`` for rows; the gradient of ``a`` is that of each gate by itself, (B, T, D)."""
    a, h, grad_h = _as_rows(a), _as_rows(h), _as_rows(grad_h)
    state, grad_state = state.contiguous(), grad_state.contiguous()
    grad_b = torch.empty_like(h)
    grad_a = torch.empty_like(h) if need_a else grad_b
    grad_first = torch.empty_like(grad_state)
    _launch(a, grad_h, grad_state, grad_b, grad_first, h, state, grad_a, True, not reverse, threads)
    return grad_a if need_a else a.new_empty(0), grad_b, grad_first
