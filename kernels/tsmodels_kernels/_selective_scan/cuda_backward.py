"""CUDA kernel of the selective scan, adjoint."""

from numba import cuda, types

from .._cuda import int64, kernel_family, least, storage_of
from .cuda_parts import ALIGNED, block_for, int32, maths_for, place, pointer_to, signature, tiles_for
from .op import CHUNK

REBUILT = 4  # steps whose gates and states are in registers at a time
SUMMED = 2  # steps whose sums over states and channels are made at a time


@kernel_family
def adjoint(dtype, n_states, threads, softplus, skipped, gated):
    """Adjoint of ``cuda_forward.scan``: chunks from the last to the first; grid as there, segments last first.

    Each chunk is walked twice from its checkpoint: once to note the state before every group of REBUILT steps, then
    group by group, last first, with gates and states of the group in registers.  After SUMMED steps of the adjoint all
    threads meet: some add over states what x and dt need, the others over channels what B and C need.  Gradients of
    B and C are one part for each tile of channels, of the parameters one for each batch element, segment and, for
    skip and bias, step of the meeting.
    """
    storage = storage_of(dtype)
    load, store, number = storage.load, storage.store, storage.compute
    block = block_for(n_states, threads)
    width, sharers, states, even = block
    n_fetched, row_length = block.fetched, block.row
    n_inputs, n_rows, n_noted = CHUNK * width, CHUNK * row_length, (CHUNK // REBUILT - 1) * states * threads
    n_gates, n_rebuilt = REBUILT * states, (REBUILT + 1) * states
    line = width + 1  # one more than the channels: threads that add up different lines use different banks
    n_terms, n_sums = 2 * SUMMED * row_length * line, (3 if gated else 2) * SUMMED * threads
    exp2, softplus_of, sigmoid, log2_e, ln_2 = maths_for(storage)
    stage, read, fetch, keep = tiles_for(dtype, n_states, block)

    def kernel(
        grad_y, incoming, x, dt, A, B, C, skip, z, bias, checkpoints, grad_x, grad_dt, grad_A, grad_B, grad_C,
        grad_skip, grad_z, grad_bias, grad_state, T, D, groups, n_cases, chunks, backwards, with_bias,
        to_case, to_segment, to_channel, to_state,
    ):  # fmt: skip
        delta_tile = pointer_to(cuda.shared.array(n_inputs, number))
        x_tile = pointer_to(cuda.shared.array(n_inputs, number))
        dv_tile = pointer_to(cuda.shared.array(n_inputs, number))
        B_tile = pointer_to(cuda.shared.array(n_rows, number, alignment=ALIGNED))
        C_tile = pointer_to(cuda.shared.array(n_rows, number, alignment=ALIGNED))
        noted = pointer_to(cuda.shared.array(n_noted, number))
        terms = pointer_to(cuda.shared.array(n_terms, number))
        sums = pointer_to(cuda.shared.array(n_sums, number))
        rates = cuda.local.array(states, number)
        rate_sums = cuda.local.array(states, number)
        carry = cuda.local.array(states, number)
        B_row = cuda.local.array(states, number)
        C_row = cuda.local.array(states, number)
        gates = cuda.local.array(n_gates, number)
        h = cuda.local.array(n_rebuilt, number)  # before the group and after each of its steps
        fetched = cuda.local.array(n_fetched, number)
        deltas = cuda.local.array(n_fetched, number)
        column, sharer = int32(cuda.threadIdx.x), int32(cuda.threadIdx.y)
        thread, own = int32(sharer * width + column), int32(sharer * states)
        case, group, tile, channels = place(int64(cuda.blockIdx.x), width, D // groups, groups)
        writes = column < channels
        d = group * (D // groups) + tile * width + least(column, channels - 1)
        rank = int64(cuda.blockIdx.y)
        segment = cuda.gridDim.y - 1 - rank
        n_chunks = (T + CHUNK - 1) // CHUNK
        move = -D if backwards else D
        row_move = -groups * n_states if backwards else groups * n_states
        shift, skip_sum, bias_sum = number(0), number(0), number(0)
        if with_bias:
            shift = bias[d]
        for r in range(states):
            carry[r], rates[r], rate_sums[r] = number(0), number(0), number(0)
            if even or own + r < n_states:
                rates[r] = A[d * n_states + own + r] * log2_e
                carry[r] = incoming[case * to_case + rank * to_segment + d * to_channel + (own + r) * to_state]

        if not writes:
            for k in range(2 * SUMMED * states):
                terms[(k * sharers + sharer) * line + column] = number(0)

        # from chunk to chunk places are moved, not computed anew: far fewer registers
        chunk = least((segment + 1) * chunks, n_chunks) - 1
        todo, n_steps = int32(chunk + 1 - segment * chunks), int32(least(CHUNK, T - chunk * CHUNK))
        cell = case * T + (T - 1 - chunk * CHUNK if backwards else chunk * CHUNK)
        at, row_at = cell * D + d, (cell * groups + group) * n_states
        kept_at = ((case * n_chunks + chunk) * n_states + own) * D + d
        while todo > 0:
            fetch(dt, at + sharer * move, move, n_steps, sharer, deltas)
            for j in range(n_fetched):
                deltas[j] = deltas[j] + shift
                if softplus:
                    deltas[j] = softplus_of(deltas[j])
            keep(deltas, thread, delta_tile)
            fetch(x, at + sharer * move, move, n_steps, sharer, fetched)
            keep(fetched, thread, x_tile)
            stage(B, row_at, row_move, n_steps, thread, B_tile)
            stage(C, row_at, row_move, n_steps, thread, C_tile)
            fetch(grad_y, at + sharer * move, move, n_steps, sharer, fetched)
            if gated:
                fetch(z, at + sharer * move, move, n_steps, sharer, deltas)
                for j in range(n_fetched):
                    fetched[j] = fetched[j] * (deltas[j] * sigmoid(deltas[j]))
            keep(fetched, thread, dv_tile)
            for r in range(states):
                if even or own + r < n_states:
                    h[r] = checkpoints[kept_at + r * D]
            cuda.syncthreads()

            i = int32(0)
            while i + REBUILT < n_steps:
                for s in range(REBUILT):
                    delta = delta_tile[(i + s) * width + column]
                    term = delta * x_tile[(i + s) * width + column]
                    read(B_tile, (i + s) * row_length + own, B_row)
                    for r in range(states):
                        if even or own + r < n_states:
                            h[r] = exp2(delta * rates[r]) * h[r] + term * B_row[r]
                for r in range(states):
                    noted[(i // REBUILT * states + r) * threads + thread] = h[r]
                i = int32(i + REBUILT)

            while i >= 0:
                for s in range(REBUILT):
                    if i + s < n_steps:
                        delta = delta_tile[(i + s) * width + column]
                        term = delta * x_tile[(i + s) * width + column]
                        read(B_tile, (i + s) * row_length + own, B_row)
                        for r in range(states):
                            if even or own + r < n_states:
                                gate = exp2(delta * rates[r])
                                gates[s * states + r] = gate
                                h[(s + 1) * states + r] = gate * h[s * states + r] + term * B_row[r]
                for part in range(REBUILT // SUMMED):
                    first = REBUILT - (part + 1) * SUMMED
                    if i + first < n_steps:
                        for k in range(SUMMED):
                            slot = SUMMED - 1 - k
                            s = first + slot
                            if i + s < n_steps:
                                delta = delta_tile[(i + s) * width + column]
                                term = delta * x_tile[(i + s) * width + column]
                                dv = dv_tile[(i + s) * width + column]
                                read(B_tile, (i + s) * row_length + own, B_row)
                                read(C_tile, (i + s) * row_length + own, C_row)
                                to_x, to_delta, v = number(0), number(0), number(0)
                                for r in range(states):
                                    if even or own + r < n_states:
                                        adjoint = carry[r] + C_row[r] * dv
                                        carry[r] = adjoint * gates[s * states + r]
                                        through_gate = carry[r] * h[s * states + r]
                                        rate_sums[r] = rate_sums[r] + through_gate * delta
                                        to_x = to_x + adjoint * B_row[r]
                                        to_delta = to_delta + through_gate * rates[r]
                                        if gated:
                                            v = v + C_row[r] * h[(s + 1) * states + r]
                                        spot = ((slot * states + r) * sharers + sharer) * line + column
                                        if writes:
                                            terms[spot] = adjoint * term
                                            terms[spot + SUMMED * row_length * line] = dv * h[(s + 1) * states + r]
                                sums[slot * threads + thread] = to_x
                                sums[(SUMMED + slot) * threads + thread] = to_delta
                                if gated:
                                    sums[(2 * SUMMED + slot) * threads + thread] = v
                        cuda.syncthreads()

                        o = int32(threads - 1 - thread)  # the first threads are busy below
                        while o < 2 * SUMMED * n_states:
                            which, n = o // n_states, o % n_states
                            s = which % SUMMED + first
                            if i + s < n_steps:
                                spot = ((which * states + n % states) * sharers + n // states) * line
                                total = number(0)
                                for c in range(width):
                                    total = total + terms[spot + c]
                                spot = tile * n_cases * T * groups * n_states + row_at + (i + s) * row_move + n
                                if which < SUMMED:
                                    grad_B[spot] = total
                                else:
                                    grad_C[spot] = total
                            o = int32(o + threads)

                        step = i + first + sharer
                        if sharer < SUMMED and step < n_steps and writes:
                            to_x, to_delta, v = number(0), number(0), number(0)
                            for other in range(sharers):
                                spot = sharer * threads + other * width + column
                                to_x = to_x + sums[spot]
                                to_delta = to_delta + sums[spot + SUMMED * threads]
                                if gated:
                                    v = v + sums[spot + 2 * SUMMED * threads]
                            delta = delta_tile[step * width + column]
                            value = x_tile[step * width + column]
                            dv = dv_tile[step * width + column]
                            target = at + step * move
                            to_delta = ln_2 * to_delta + value * to_x
                            to_x = delta * to_x
                            if softplus:
                                to_delta = to_delta * sigmoid(load(dt, target) + shift)
                            if skipped:
                                weight = skip[d]
                                to_x = to_x + weight * dv
                                skip_sum = skip_sum + dv * value
                                v = v + weight * value
                            bias_sum = bias_sum + to_delta
                            store(grad_x, target, to_x)
                            store(grad_dt, target, to_delta)
                            if gated:
                                gate = load(z, target)
                                open_ = sigmoid(gate)
                                slope = open_ * (number(1) + gate * (number(1) - open_))
                                store(grad_z, target, load(grad_y, target) * v * slope)
                        cuda.syncthreads()
                i = int32(i - REBUILT)
                for r in range(states):
                    if even or own + r < n_states:
                        if i > 0:
                            h[r] = noted[((i // REBUILT - 1) * states + r) * threads + thread]
                        elif i == 0:
                            h[r] = checkpoints[kept_at + r * D]
            at, row_at, kept_at = at - CHUNK * move, row_at - CHUNK * row_move, kept_at - n_states * D
            todo, n_steps = int32(todo - 1), int32(CHUNK)  # only the last chunk of all may be shorter

        part = case * cuda.gridDim.y + segment
        if writes:
            for r in range(states):
                if even or own + r < n_states:
                    grad_A[(part * D + d) * n_states + own + r] = rate_sums[r]
                    if segment == 0:
                        grad_state[(case * D + d) * n_states + own + r] = carry[r]
            if sharer < SUMMED:
                grad_bias[(part * SUMMED + sharer) * D + d] = bias_sum
                if skipped:
                    grad_skip[(part * SUMMED + sharer) * D + d] = skip_sum

    blocks = (384 if number == types.float32 else 256) // threads  # at most 168 registers (255 for float64)
    return kernel, signature(storage, *"scsscsscsccssccccscc", 11), (threads, blocks)
