"""The forward kernel of the two-axis scan: one sweep over all columns, see ``cuda_parts.py``."""

import numpy as np
from numba import cuda, types

from .._cuda import WARP, int64, kernel_family, storage_of
from .cuda_parts import Kind, equations_for, fresh, walk_for


@kernel_family
def sweep(*constants):
    """Output, states after the last column, and the column states before every ``interval``-th column.

    ``y`` (slices, B, T, V, D); ``checkpoints`` (B, ceil(T / interval), places, 2, N, D); ``states`` is working memory
    where a column's states are not in registers, (blocks, V, 2, threads).
    """
    kind = Kind(*constants)
    width, height, n_columns, warps, pooled = kind.width, kind.column, kind.columns, kind.warps, kind.pooled
    time, variates = equations_for(kind, bool(kind.options.cross2)), equations_for(kind, bool(kind.options.cross3))
    lattice_of, time_state, variate_state = time.lattice, time.state, variates.state
    ahead, _, exists, offset = walk_for(kind)
    memory, out = storage_of(kind.dtype), storage_of(kind.out_dtype)
    load, store, number = memory.load, out.store, memory.compute
    scalar = np.float64 if number == types.float64 else np.float32
    zero, one = scalar(0.0), scalar(1.0)
    n_cells = height * n_columns
    n_rows, n_kept, threads = -(-n_cells // warps), max(width, 1), WARP * warps

    def kernel(
        x, dt1, dt2, B1, B2, C1, C2, alpha1, rho2, rho3, alpha4, skip, h1, h2, n_variates, y, last1, last2, checkpoints,
        states, n_all_cells, T, n_places, D, N, interval, reverse, has_state, with_state,
    ):  # fmt: skip
        rows = cuda.shared.array((3, n_cells, WARP), number)
        maps = cuda.shared.array((n_cells, warps, 4), number)
        parts = cuda.shared.array((n_cells, warps, WARP), number)
        kept1 = cuda.local.array(n_kept, number)
        kept2 = cuda.local.array(n_kept, number)
        next_x = cuda.local.array(n_rows, number)
        next_dt1 = cuda.local.array(n_rows, number)
        next_dt2 = cuda.local.array(n_rows, number)
        V = width if width else n_places
        # masked, they are known not to be negative: shared arrays need no second look at such indices
        lane, warp = int64(cuda.threadIdx.x) & (WARP - 1), int64(cuda.threadIdx.y) & (warps - 1)
        thread = warp * WARP + lane
        job = int64(cuda.blockIdx.x)
        n_slices, n_blocks = (N + warps - 1) // warps, (D + WARP - 1) // WARP
        part, block, b = job % n_slices, job // n_slices % n_blocks, job // (n_slices * n_blocks)
        n, d = part * warps + warp, block * WARP + lane
        live = d < D and n < N
        # threads without a lattice follow that of another one and write nothing
        at = (d if d < D else D - 1) * N + (n if n < N else N - 1)
        over_time, over_variates = lattice_of(alpha1, rho2, at), lattice_of(alpha4, rho3, at)
        weight = skip[d if d < D else D - 1]
        first, step = (V - 1, -1) if reverse else (0, 1)
        share, mean, count = zero, zero, V
        if pooled:
            count = n_variates[b]
            share = one / scalar(count)
        own = job * V * 2 * threads + thread  # this thread's states of place i: own + 2 i threads, and the next
        state_at = ((b * V + first) * D + d) * N + n
        at = state_at
        for i in range(V):
            begin1, begin2 = zero, zero
            if has_state and live:
                begin1, begin2 = h1[at], h2[at]
            at += fresh(step) * D * N
            if width:
                kept1[i], kept2[i] = begin1, begin2
            else:
                states[own + 2 * i * threads], states[own + (2 * i + 1) * threads] = begin1, begin2

        # the element of the maps that this thread brings for each tile
        map_k, map_n, which = thread // warps % n_cells, thread % warps, thread // (warps * n_cells)
        source = B1
        if which == 1:
            source = B2
        elif which == 2:
            source = C1
        elif which == 3:
            source = C2
        brings_map = which < 4 and part * warps + map_n < N

        t, i0, second, begin = int64(0), int64(0), False, b * T * V + first
        until = int64(0) if interval > 0 else int64(-1)  # columns until the next one whose states are kept
        save_at = int64(0)
        if interval > 0:
            save_at = (b * ((T + interval - 1) // interval) * V * 2 * N + n) * D + d
        above1, above2 = zero, zero
        started = False  # the first round only brings the inputs of the first tile
        while t < T:
            next_t, next_i0, next_second = ahead(t, i0, second, V) if started else (t, i0, second)
            next_begin = begin + (next_t - t) * V + step * (next_i0 - i0)
            tile_step, tile_D, tile_warp = fresh(step), fresh(D), fresh(warp)
            for r in range(n_rows):
                k = tile_warp + r * warps
                next_x[r], next_dt1[r], next_dt2[r] = zero, zero, zero
                if d < D and exists(next_t, next_i0, k, T, V):
                    row = (next_begin + offset(k, V, tile_step)) * tile_D + d
                    next_x[r], next_dt1[r], next_dt2[r] = load(x, row), load(dt1, row), load(dt2, row)
            next_map = zero
            if brings_map and exists(next_t, next_i0, map_k, T, V):
                cell = next_begin + offset(fresh(map_k), V, tile_step)
                next_map = load(source, cell * fresh(N) + part * warps + map_n)

            if started:
                for c in range(n_columns):
                    for m in range(height):
                        k, i = c * height + m, m if width else i0 + m
                        if (n_columns > 1 and t + c >= T) or (not width and i >= V):
                            continue
                        if i == 0 and not second:
                            mean = zero
                            if until == 0:
                                until = interval
                                plane = fresh(N) * D
                                if live:
                                    to = save_at
                                    for p in range(V):
                                        if width:
                                            checkpoints[to], checkpoints[to + plane] = kept1[p], kept2[p]
                                        else:
                                            checkpoints[to] = states[own + 2 * p * threads]
                                            checkpoints[to + plane] = states[own + (2 * p + 1) * threads]
                                        to += 2 * plane
                                save_at += 2 * V * plane
                            until -= 1
                        xv, d1, d2 = rows[0, k, lane], rows[1, k, lane], rows[2, k, lane]
                        b1, b2, c1, c2 = maps[k, warp, 0], maps[k, warp, 1], maps[k, warp, 2], maps[k, warp, 3]
                        mine = own + 2 * i * threads
                        left1, left2 = (kept1[i], kept2[i]) if width else (states[mine], states[mine + threads])
                        now1, now2 = left1, left2
                        if not second:
                            now1 = time_state(left1, left2, True, xv, b1, d1, over_time)
                        if second:
                            now2 = variate_state(zero, mean, True, xv, b2, d2, over_variates)
                        elif pooled:
                            mean += share * now1 if i < count else zero
                        else:
                            now2 = variate_state(above2, above1, i > 0, xv, b2, d2, over_variates)
                        above1, above2 = now1, now2
                        if width:
                            kept1[i], kept2[i] = now1, now2
                        else:
                            states[mine], states[mine + threads] = now1, now2
                        # threads without a lattice count nothing, not even as 0 inf
                        parts[k, warp, lane] = now1 * c1 + now2 * c2 if n < N else zero
                cuda.syncthreads()
                tile_step, tile_D, tile_warp = fresh(step), fresh(D), fresh(warp)
                for r in range(n_rows):
                    k = tile_warp + r * warps
                    if d < D and exists(t, i0, k, T, V) and (second or not pooled):
                        total = zero
                        for w in range(warps):
                            total += parts[k, w, lane]
                        if part == 0:
                            total += weight * rows[0, k, lane]
                        cell = part * n_all_cells + begin + offset(k, V, tile_step)
                        store(y, cell * tile_D + d, total)

            # a row is read above and replaced here by the same thread; maps by others, but not since the barrier
            for r in range(n_rows):
                k = warp + r * warps
                if k < n_cells:
                    rows[0, k, lane], rows[1, k, lane], rows[2, k, lane] = next_x[r], next_dt1[r], next_dt2[r]
            if which < 4:
                maps[map_k, map_n, which] = next_map
            cuda.syncthreads()
            t, i0, second, begin, started = next_t, next_i0, next_second, next_begin, True

        if with_state and live:
            for i in range(V):
                mine = own + 2 * i * threads
                if width:
                    last1[state_at], last2[state_at] = kept1[i], kept2[i]
                else:
                    last1[state_at], last2[state_at] = states[mine], states[mine + threads]
                state_at += fresh(step) * D * N

    wide = types.CPointer(number)
    signature = (*(memory.pointer,) * 7, *(wide,) * 7, types.CPointer(int64), out.pointer, *(wide,) * 4, *(int64,) * 9)
    # 80 registers for each thread, or 128
    return kernel, signature, kind.launch_bounds(24 if n_rows == 1 and not pooled else 16)
