"""CUDA kernel of the selective scan, forward."""

from numba import cuda, types

from .._cuda import int64, kernel_family, least, storage_of
from .cuda_parts import ALIGNED, block_for, int32, maths_for, place, pointer_to, signature, tiles_for
from .op import CHUNK

UNROLLED = 4


@kernel_family
def scan(dtype, n_states, threads, softplus, skipped, gated):
    """One block walks its channels through one segment of time; grid (batch elements x channel tiles, segments).

    Each chunk: its inputs to shared memory, the walk, in which every thread leaves the part of the output that its
    states make, and the sum of these parts with skip and gate.  Threads meet twice: what the last phase reads is their
    own or not written before the next walk.
    """
    storage = storage_of(dtype)
    load, store, number = storage.load, storage.store, storage.compute
    block = block_for(n_states, threads)
    width, sharers, states, even = block
    n_fetched, row_length = block.fetched, block.row
    n_inputs, n_rows, n_parts = CHUNK * width, CHUNK * row_length, CHUNK * threads
    exp2, softplus_of, sigmoid, log2_e, _ = maths_for(storage)
    stage, read, fetch, keep = tiles_for(dtype, n_states, block)

    def kernel(
        x, dt, A, B, C, skip, z, bias, entering, y, last, checkpoints, T, D, groups, chunks, backwards, keeping,
        with_bias, with_state, to_case, to_segment, to_channel, to_state,
    ):  # fmt: skip
        delta_tile = pointer_to(cuda.shared.array(n_inputs, number))
        x_tile = pointer_to(cuda.shared.array(n_inputs, number))
        B_tile = pointer_to(cuda.shared.array(n_rows, number, alignment=ALIGNED))
        C_tile = pointer_to(cuda.shared.array(n_rows, number, alignment=ALIGNED))
        parts = pointer_to(cuda.shared.array(n_parts, number))
        h = cuda.local.array(states, number)
        rates = cuda.local.array(states, number)
        B_row = cuda.local.array(states, number)
        C_row = cuda.local.array(states, number)
        xs = cuda.local.array(n_fetched, number)
        deltas = cuda.local.array(n_fetched, number)
        column, sharer = int32(cuda.threadIdx.x), int32(cuda.threadIdx.y)
        thread, own = int32(sharer * width + column), int32(sharer * states)
        case, group, tile, channels = place(int64(cuda.blockIdx.x), width, D // groups, groups)
        writes = column < channels
        d, segment = group * (D // groups) + tile * width + least(column, channels - 1), int64(cuda.blockIdx.y)
        move = -D if backwards else D
        row_move = -groups * n_states if backwards else groups * n_states
        weight, shift = number(0), number(0)
        if skipped:
            weight = skip[d]
        if with_bias:
            shift = bias[d]
        for r in range(states):
            h[r], rates[r] = number(0), number(0)
            if even or own + r < n_states:
                rates[r] = A[d * n_states + own + r] * log2_e
                if with_state:
                    h[r] = entering[case * to_case + segment * to_segment + d * to_channel + (own + r) * to_state]

        # from chunk to chunk places are moved, not computed anew: far fewer registers
        start = segment * chunks * CHUNK
        cell = case * T + (T - 1 - start if backwards else start)
        at, row_at = cell * D + d + sharer * move, (cell * groups + group) * n_states
        kept_at = ((case * ((T + CHUNK - 1) // CHUNK) + segment * chunks) * n_states + own) * D + d
        left, todo = T - start, int32(chunks)
        while left > 0 and todo > 0:
            n_steps = int32(least(CHUNK, left))
            if keeping and writes:
                for r in range(states):
                    if even or own + r < n_states:
                        checkpoints[kept_at + r * D] = h[r]
            stage(B, row_at, row_move, n_steps, thread, B_tile)
            stage(C, row_at, row_move, n_steps, thread, C_tile)
            fetch(dt, at, move, n_steps, sharer, deltas)
            fetch(x, at, move, n_steps, sharer, xs)
            for j in range(n_fetched):
                deltas[j] = deltas[j] + shift
                if softplus:
                    deltas[j] = softplus_of(deltas[j])
            keep(deltas, thread, delta_tile)
            keep(xs, thread, x_tile)
            cuda.syncthreads()

            i = int32(0)
            while i < n_steps:
                for s in range(UNROLLED):
                    if i + s < n_steps:
                        delta = delta_tile[(i + s) * width + column]
                        term = delta * x_tile[(i + s) * width + column]
                        read(B_tile, (i + s) * row_length + own, B_row)
                        read(C_tile, (i + s) * row_length + own, C_row)
                        part = number(0)
                        for r in range(states):
                            if even or own + r < n_states:
                                h[r] = exp2(delta * rates[r]) * h[r] + term * B_row[r]
                                part = part + C_row[r] * h[r]
                        parts[(i + s) * threads + thread] = part
                i = int32(i + UNROLLED)
            cuda.syncthreads()

            target = at
            for j in range(n_fetched):
                if sharer + j * sharers < n_steps and writes:
                    total = number(0)
                    for other in range(sharers):
                        total = total + parts[(sharer + j * sharers) * threads + other * width + column]
                    if skipped:
                        total = total + weight * x_tile[thread + j * threads]
                    if gated:
                        gate = load(z, target)
                        total = total * (gate * sigmoid(gate))
                    store(y, target, total)
                target += sharers * move
            at, row_at, kept_at = at + CHUNK * move, row_at + CHUNK * row_move, kept_at + n_states * D
            left, todo = left - CHUNK, int32(todo - 1)
        if writes and left <= 0:
            for r in range(states):
                if even or own + r < n_states:
                    last[(case * D + d) * n_states + own + r] = h[r]

    blocks = (768 if number == types.float32 else 384) // threads  # at most 80 registers (168 for float64)
    return kernel, signature(storage, *"sscsscsccscc", 12), (threads, blocks)
