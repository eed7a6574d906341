"""CUDA kernels that let the segments of a selective scan run side by side.

Over a segment the map of a state is h -> exp(A Σδ) h + local, with ``local`` what leaves the segment when zero enters.
``summarise`` makes ``local`` and Σδ of all segments at once and ``link`` goes through them, so that every segment knows
what enters it; the adjoint runs the same way from the last segment to the first.  Work arrays have the segments in the
order of the walk: (batch element, segment, N, D) and (batch element, segment, D).
"""

from numba import cuda, types

from .._cuda import int64, kernel_family, least, storage_of
from .cuda_parts import ALIGNED, block_for, int32, maths_for, place, pointer_to, signature, tiles_for
from .op import CHUNK

UNROLLED = 4
AHEAD = 8  # segments whose values are on their way at a time
LINK_THREADS = 128


@kernel_family
def summarise(dtype, n_states, threads, softplus, gated, adjoint):
    """Grid as of ``cuda_forward.scan``, without the last segment of the walk, whose sums nobody needs.

    ``adjoint``: of the walk λ -> exp(δ A) (λ + C dv), with C in the place of B and the gradient of y in that of x.
    """
    storage = storage_of(dtype)
    number = storage.compute
    block = block_for(n_states, threads)
    width, _, states, even = block
    n_fetched, row_length = block.fetched, block.row
    n_inputs, n_rows = CHUNK * width, CHUNK * row_length
    exp2, softplus_of, sigmoid, log2_e, _ = maths_for(storage)
    stage, read, fetch, keep = tiles_for(dtype, n_states, block)

    def kernel(source, dt, A, rows, z, bias, local, delta_sums, T, D, groups, n_segments, chunks, backwards, with_bias):
        delta_tile = pointer_to(cuda.shared.array(n_inputs, number))
        value_tile = pointer_to(cuda.shared.array(n_inputs, number))
        rows_tile = pointer_to(cuda.shared.array(n_rows, number, alignment=ALIGNED))
        carry = cuda.local.array(states, number)
        rates = cuda.local.array(states, number)
        row = cuda.local.array(states, number)
        fetched = cuda.local.array(n_fetched, number)
        deltas = cuda.local.array(n_fetched, number)
        column, sharer = int32(cuda.threadIdx.x), int32(cuda.threadIdx.y)
        thread, own = int32(sharer * width + column), int32(sharer * states)
        case, group, tile, channels = place(int64(cuda.blockIdx.x), width, D // groups, groups)
        d = group * (D // groups) + tile * width + least(column, channels - 1)
        rank = int64(cuda.blockIdx.y)
        first = (n_segments - 1 - rank if adjoint else rank) * chunks
        move = -D if backwards else D
        row_move = -groups * n_states if backwards else groups * n_states
        delta_sum, shift = number(0), number(0)
        if with_bias:
            shift = bias[d]
        for r in range(states):
            carry[r], rates[r] = number(0), number(0)
            if even or own + r < n_states:
                rates[r] = A[d * n_states + own + r] * log2_e

        n_todo = least(chunks, (T + CHUNK - 1) // CHUNK - first)
        for k in range(n_todo):
            start = (first + (n_todo - 1 - k if adjoint else k)) * CHUNK
            n_steps = int32(least(CHUNK, T - start))
            cell = case * T + (T - 1 - start if backwards else start)
            at = cell * D + d + sharer * move
            cuda.syncthreads()
            stage(rows, (cell * groups + group) * n_states, row_move, n_steps, thread, rows_tile)
            fetch(dt, at, move, n_steps, sharer, deltas)
            fetch(source, at, move, n_steps, sharer, fetched)
            for j in range(n_fetched):
                deltas[j] = deltas[j] + shift
                if softplus:
                    deltas[j] = softplus_of(deltas[j])
            keep(deltas, thread, delta_tile)
            if gated:
                fetch(z, at, move, n_steps, sharer, deltas)
                for j in range(n_fetched):
                    fetched[j] = fetched[j] * (deltas[j] * sigmoid(deltas[j]))
            keep(fetched, thread, value_tile)
            cuda.syncthreads()

            j = int32(0)
            while j < n_steps:
                for s in range(UNROLLED):
                    if j + s < n_steps:
                        i = n_steps - 1 - j - s if adjoint else j + s
                        delta = delta_tile[i * width + column]
                        value = value_tile[i * width + column]
                        delta_sum = delta_sum + delta
                        read(rows_tile, i * row_length + own, row)
                        for r in range(states):
                            if even or own + r < n_states:
                                if adjoint:
                                    carry[r] = exp2(delta * rates[r]) * (carry[r] + row[r] * value)
                                else:
                                    carry[r] = exp2(delta * rates[r]) * carry[r] + row[r] * (delta * value)
                j = int32(j + UNROLLED)
        if column < channels:
            for r in range(states):
                if even or own + r < n_states:
                    local[((case * n_segments + rank) * n_states + own + r) * D + d] = carry[r]
            if sharer == 0:
                delta_sums[(case * n_segments + rank) * D + d] = delta_sum

    blocks = (512 if number == types.float32 else 384) // threads  # at most 128 registers (168 for float64)
    return kernel, signature(storage, *"sscssccc", 7), (threads, blocks)


@kernel_family
def link(dtype):
    """Replace ``local`` by what enters each segment; one thread for each state, ``lanes`` of them."""
    storage = storage_of(dtype)
    number = storage.compute
    exp2, _, _, log2_e, _ = maths_for(storage)

    def kernel(A, state, local, delta_sums, D, n_states, n_segments, lanes, with_state):
        terms = cuda.local.array(AHEAD, number)
        sums = cuda.local.array(AHEAD, number)
        lane = int64(cuda.blockIdx.x) * LINK_THREADS + cuda.threadIdx.x
        if lane < lanes:
            d, n, case = lane % D, lane // D % n_states, lane // (D * n_states)
            rate = A[d * n_states + n] * log2_e
            carry = number(0)
            if with_state:
                carry = state[(case * D + d) * n_states + n]
            segment = int64(0)
            while segment < n_segments:
                at = case * n_segments + segment
                for k in range(AHEAD):
                    terms[k], sums[k] = number(0), number(0)
                    if segment + k < n_segments - 1:
                        terms[k] = local[((at + k) * n_states + n) * D + d]
                        sums[k] = delta_sums[(at + k) * D + d]
                for k in range(AHEAD):
                    if segment + k < n_segments:
                        local[((at + k) * n_states + n) * D + d] = carry
                        # a growing gate may overflow over a whole segment, but zero stays zero
                        carried = exp2(rate * sums[k]) * carry if carry != number(0) else number(0)
                        carry = carried + terms[k]
                segment += AHEAD

    return kernel, signature(storage, *"cccc", 5)
