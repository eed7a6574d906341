"""CUDA kernels of the affine scan.

Up to ``MOST_UNITS`` units: time is cut into chunks that run at once.  ``summarise`` reduces each chunk to one affine
map, carry -> P carry + q, which costs a product of matrices for every step; a scan of these maps, by the same kernels,
gives the carry that enters each chunk; ``sweep`` then walks every chunk.  A block holds one chunk of one sequence and
reads its matrices into shared memory a few steps at a time, so that steps do not wait for memory one by one.

More units, or few steps: ``walk``, a block for each sequence, one step after the other, whose warps share the rows.

Steps are counted along the walk.  The carry is the state; in the adjoint it is what the step before receives,
s[t] = b[t] + carry, carry = J[t]' s[t].
"""

import torch
from numba import cuda
from torch import Tensor

from .._cuda import WARP, WHOLE_WARP, device, int64, kernel_family, least, storage_of

MOST_UNITS = 32
CHUNK = 32  # steps: the sequential part of each launch, so about the square root of what is usual
TILE_BYTES = 1 << 14  # of shared memory for the steps that are read at once
WALKERS = 8  # warps of a block of ``walk``


@device
def _time(step, T, reverse):
    return T - 1 - step if reverse else step


def _sizes(dtype, M):
    """Storage, and steps of a tile."""
    storage = storage_of(dtype)
    return storage, max(1, min(CHUNK, TILE_BYTES // (dtype.itemsize * (M + 1) * M)))


@kernel_family
def summarise(dtype, M, threads, adjoint):
    """The affine map of each chunk: ``products`` (sequence, chunk, M, M), ``totals`` (sequence, chunk, M)."""
    storage, tile = _sizes(dtype, M)
    number, pointer = storage.compute, storage.pointer
    square, width = M * M, M + 1  # a row of a map: of a matrix, and what is added behind it
    entries = M * width

    def kernel(J, b, products, totals, T, chunk, reverse):
        matrices = cuda.shared.array((tile, square), number)
        terms = cuda.shared.array((tile, M), number)
        maps = cuda.shared.array((2, entries), number)
        me = cuda.threadIdx.x
        n_chunks = (T + chunk - 1) // chunk
        case, part = int64(cuda.blockIdx.x) // n_chunks, int64(cuda.blockIdx.x) % n_chunks
        first = part * chunk
        end = least(first + chunk, T)
        for at in range(me, entries, threads):
            maps[0, at] = number(1) if at % width == at // width else number(0)
        now = 0
        for start in range(first, end, tile):
            count = least(tile, end - start)
            for at in range(me, count * square, threads):
                step = case * T + _time(start + at // square, T, reverse)
                matrices[at // square, at % square] = J[step * square + at % square]
            for at in range(me, count * M, threads):
                step = case * T + _time(start + at // M, T, reverse)
                terms[at // M, at % M] = b[step * M + at % M]
            cuda.syncthreads()
            for k in range(count):
                for at in range(me, entries, threads):
                    row, column = at // width, at % width
                    total = number(0)
                    if adjoint:
                        for i in range(M):
                            value = maps[now, i * width + column]
                            if column == M:
                                value = value + terms[k, i]
                            total = total + matrices[k, i * M + row] * value
                    else:
                        if column == M:
                            total = terms[k, row]
                        for i in range(M):
                            total = total + matrices[k, row * M + i] * maps[now, i * width + column]
                    maps[1 - now, at] = total
                cuda.syncthreads()
                now = 1 - now
        place = int64(cuda.blockIdx.x)
        for at in range(me, entries, threads):
            row, column = at // width, at % width
            if column < M:
                products[(place * M + row) * M + column] = maps[now, at]
            else:
                totals[place * M + row] = maps[now, at]

    return kernel, (pointer, pointer, pointer, pointer, int64, int64, int64)


@kernel_family
def sweep(dtype, M, adjoint):
    """States of all chunks from the carry that enters each, ``entering`` (sequence, chunk, M); one warp a block."""
    storage, tile = _sizes(dtype, M)
    number, pointer = storage.compute, storage.pointer
    square, apart = M * M, M + 1 - M % 2  # rows an odd number apart lie in different banks
    padded = M * apart

    def kernel(J, b, entering, s, leaving, T, chunk, reverse):
        matrices = cuda.shared.array((tile, padded), number)
        terms = cuda.shared.array((tile, M), number)
        carries = cuda.shared.array((2, M), number)
        me = cuda.threadIdx.x
        n_chunks = (T + chunk - 1) // chunk
        case, part = int64(cuda.blockIdx.x) // n_chunks, int64(cuda.blockIdx.x) % n_chunks
        first = part * chunk
        end = least(first + chunk, T)
        if me < M:
            carries[0, me] = entering[int64(cuda.blockIdx.x) * M + me]
        now = 0
        for start in range(first, end, tile):
            count = least(tile, end - start)
            for at in range(me, count * square, WARP):
                step = case * T + _time(start + at // square, T, reverse)
                element = at % square
                matrices[at // square, element // M * apart + element % M] = J[step * square + element]
            for at in range(me, count * M, WARP):
                step = case * T + _time(start + at // M, T, reverse)
                terms[at // M, at % M] = b[step * M + at % M]
            cuda.syncthreads()
            for k in range(count):
                at = (case * T + _time(start + k, T, reverse)) * M + me
                if me < M:
                    if adjoint:
                        total = number(0)
                        for i in range(M):
                            total = total + matrices[k, i * apart + me] * (terms[k, i] + carries[now, i])
                        s[at] = terms[k, me] + carries[now, me]
                    else:
                        total = terms[k, me]
                        for i in range(M):
                            total = total + matrices[k, me * apart + i] * carries[now, i]
                        s[at] = total
                    carries[1 - now, me] = total
                now = 1 - now
                cuda.syncthreads()
        if me < M and end == T:
            leaving[case * M + me] = carries[now, me]

    return kernel, (pointer, pointer, pointer, pointer, pointer, int64, int64, int64)


@kernel_family
def walk(dtype, M, warps, adjoint):
    """All steps of a sequence in a block, one after the other."""
    storage = storage_of(dtype)
    number, pointer = storage.compute, storage.pointer
    threads = warps * WARP

    def kernel(J, b, state, s, leaving, T, reverse):
        carries = cuda.shared.array((2, M), number)
        me, lane, warp = cuda.threadIdx.x, cuda.threadIdx.x % WARP, cuda.threadIdx.x // WARP
        case = int64(cuda.blockIdx.x)
        for i in range(me, M, threads):
            carries[0, i] = state[case * M + i]
        now = 0
        cuda.syncthreads()
        for step in range(T):
            at = case * T + _time(step, T, reverse)
            if adjoint:
                for i in range(me, M, threads):
                    value = b[at * M + i] + carries[now, i]
                    carries[now, i] = value
                    s[at * M + i] = value
                cuda.syncthreads()
                for j in range(me, M, threads):  # neighbours in a row are read by neighbours
                    total = number(0)
                    for i in range(M):
                        total = total + J[(at * M + i) * M + j] * carries[now, i]
                    carries[1 - now, j] = total
            else:
                for block in range(0, M, warps):  # a row for each warp, the same number of times for all
                    i = block + warp
                    total = number(0)
                    if i < M:
                        for j in range(lane, M, WARP):
                            total = total + J[(at * M + i) * M + j] * carries[now, j]
                    total = total + cuda.shfl_down_sync(WHOLE_WARP, total, 16)
                    total = total + cuda.shfl_down_sync(WHOLE_WARP, total, 8)
                    total = total + cuda.shfl_down_sync(WHOLE_WARP, total, 4)
                    total = total + cuda.shfl_down_sync(WHOLE_WARP, total, 2)
                    total = total + cuda.shfl_down_sync(WHOLE_WARP, total, 1)
                    if lane == 0 and i < M:
                        total = total + b[at * M + i]
                        s[at * M + i] = total
                        carries[1 - now, i] = total
            now = 1 - now
            cuda.syncthreads()
        for i in range(me, M, threads):
            leaving[case * M + i] = carries[now, i]

    return kernel, (pointer, pointer, pointer, pointer, pointer, int64, int64)


def forward(
    J: Tensor, b: Tensor, state: Tensor, reverse: bool, adjoint: bool, *, chunk: int = CHUNK, warps: int = WALKERS
) -> tuple[Tensor, Tensor]:
    """``torch.ops.tsmodels.affine_scan`` on a GPU."""
    J, b, state = (t.contiguous() for t in (J, b, state))
    s, last = b.new_empty(b.shape), state.new_empty(state.shape)
    B, T, M = b.shape
    if T == 0 or M == 0:
        return s, state.clone()
    if M > MOST_UNITS:
        walk.launch((b.dtype, M, warps, adjoint), (B,), (WARP * warps,), J, b, state, s, last, T, reverse)
        return s, last
    n_chunks = -(-T // chunk)
    entering = state[:, None]
    if n_chunks > 1:
        threads = WARP * min(WALKERS, -(-M * (M + 1) // WARP))
        products, totals = b.new_empty(B, n_chunks, M, M), b.new_empty(B, n_chunks, M)
        summarise.launch(
            (b.dtype, M, threads, adjoint), (n_chunks * B,), (threads,), J, b, products, totals, T, chunk, reverse
        )
        leaving, _ = forward(products, totals, state, False, False, chunk=chunk)
        entering = torch.cat([entering, leaving[:, :-1]], 1)
    sweep.launch(
        (b.dtype, M, adjoint), (n_chunks * B,), (WARP,), J, b, entering.contiguous(), s, last, T, chunk, reverse
    )
    return s, last
