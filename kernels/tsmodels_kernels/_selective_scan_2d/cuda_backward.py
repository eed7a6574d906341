"""The backward kernel of the two-axis scan, see ``cuda_parts.py``.

A block takes the intervals between kept column states from the last to the first.  It first recomputes the states of
an interval into memory of its own (``spare``, small enough for the second-level cache), then walks the interval back
with the adjoint.  Both walks are one loop over tiles, so that inputs are fetched ahead across all their ends.

The grid has a fixed number of blocks, each of which takes one job after the other: working memory does not grow with
the batch.
"""

import numpy as np
from numba import cuda, types

from .._cuda import WARP, WHOLE_WARP, int64, kernel_family, storage_of
from .cuda_parts import Kind, equations_for, fresh, walk_for

# Cells whose gradients are added up together: over channels that makes 16 sums for each warp, half a sum a thread.
GROUP = 4


@kernel_family
def retreat(*constants):
    """Gradients of everything the forward reads.

    ``gx, gdt1, gdt2`` (slices, B, T, V, D), with pooled coupling ``gx`` (slices, 2, B, T, V, D); ``gmaps`` (channel
    blocks, 4, B, T, V, N) of B1, B2, C1, C2; ``gparameters`` (B, 4, D, N) of alpha1, rho2, rho3, alpha4; ``gskip``
    (B, D).  ``spare`` holds for each block of the grid interval + 1 columns of (2 V + 1, threads) numbers, the states
    and the mean of a column, and a column of (2 V, threads) for what later columns hand to the current one.
    """
    kind = Kind(*constants)
    width, height, n_columns, warps, pooled = kind.width, kind.column, kind.columns, kind.warps, kind.pooled
    time, variates = equations_for(kind, bool(kind.options.cross2)), equations_for(kind, bool(kind.options.cross3))
    lattice_of, time_state, variate_state = time.lattice, time.state, variates.state
    time_adjoint, variate_adjoint = time.adjoint, variates.adjoint
    ahead, back, exists, offset = walk_for(kind)
    memory, out = storage_of(kind.dtype), storage_of(kind.out_dtype)
    load, store, number = memory.load, out.store, memory.compute
    scalar = np.float64 if number == types.float64 else np.float32
    zero, one, link_sign = scalar(0.0), scalar(1.0), scalar(1.0 if kind.gates == "zoh" else -1.0)
    # a group is one of equal parts of a column, or as many whole columns as fit
    n_cells, group_height = height * n_columns, -(-height // -(-height // GROUP))
    group_columns = GROUP // group_height
    group_cells = group_columns * group_height
    n_rows, n_kept, n_groups = -(-n_cells // warps), max(width, 1), -(-n_cells // group_cells)
    threads, n_sums, half_warp, padded_warp = WARP * warps, GROUP * 4 * warps, WARP // 2, WARP + 1

    def kernel(
        x, dt1, dt2, B1, B2, C1, C2, dy, alpha1, rho2, rho3, alpha4, skip, checkpoints, gh1, gh2, n_variates, gx, gdt1,
        gdt2, gmaps, gparameters, gskip, begin1, begin2, spare, n_jobs, n_all_cells, T, n_places, D, N, interval,
        reverse, has_state, with_state,
    ):  # fmt: skip
        rows = cuda.shared.array((4, n_cells, WARP), number)
        maps = cuda.shared.array((n_cells, warps, 4), number)
        parts = cuda.shared.array((3, GROUP, warps, WARP), number)
        sums = cuda.shared.array((n_sums, padded_warp), number)
        kept1 = cuda.local.array(n_kept, number)
        kept2 = cuda.local.array(n_kept, number)
        carry1 = cuda.local.array(n_kept, number)
        carry2 = cuda.local.array(n_kept, number)
        next_x = cuda.local.array(n_rows, number)
        next_dt1 = cuda.local.array(n_rows, number)
        next_dt2 = cuda.local.array(n_rows, number)
        next_dy = cuda.local.array(n_rows, number)
        V = width if width else n_places
        # masked, they are known not to be negative: shared arrays need no second look at such indices
        lane, warp = int64(cuda.threadIdx.x) & (WARP - 1), int64(cuda.threadIdx.y) & (warps - 1)
        thread = warp * WARP + lane
        first, step = (V - 1, -1) if reverse else (0, 1)
        column = (2 * V + 1) * threads
        history = int64(cuda.blockIdx.x) * ((interval + 1) * column + 2 * V * threads) + thread
        carries = history + (interval + 1) * column
        # the element of the maps that this thread brings for each tile
        map_k, map_n, which = thread // warps % n_cells, thread % warps, thread // (warps * n_cells)
        source = B1
        if which == 1:
            source = B2
        elif which == 2:
            source = C1
        elif which == 3:
            source = C2

        for job in range(int64(cuda.blockIdx.x), n_jobs, int64(cuda.gridDim.x)):
            n_slices, n_blocks = (fresh(N) + warps - 1) // warps, (fresh(D) + WARP - 1) // WARP
            part, block, b = job % n_slices, job // n_slices % n_blocks, job // (n_slices * n_blocks)
            n, d = part * warps + warp, block * WARP + lane
            live, brings_map = d < D and n < N, which < 4 and part * warps + map_n < N
            # threads without a lattice follow that of another one and write nothing
            at = (d if d < D else D - 1) * N + (n if n < N else N - 1)
            over_time, over_variates = lattice_of(alpha1, rho2, at), lattice_of(alpha4, rho3, at)
            weight = skip[d if d < D else D - 1]
            share, mean, count = zero, zero, V
            if pooled:
                count = n_variates[b]
                share = one / scalar(count)
            state_at = ((b * V + first) * D + d) * N + n
            at = state_at
            for i in range(V):
                hand1, hand2 = zero, zero
                if has_state and live:
                    hand1, hand2 = gh1[at], gh2[at]
                at += fresh(step) * D * N
                if width:
                    carry1[i], carry2[i] = hand1, hand2
                else:
                    spare[carries + 2 * i * threads], spare[carries + (2 * i + 1) * threads] = hand1, hand2
            g_rate1, g_link2, g_link3, g_rate4, g_skip = zero, zero, zero, zero, zero
            above1, above2, row1, row2 = zero, zero, zero, zero

            start = (fresh(T) - 1) // interval * interval
            stop, t, i0, second, replaying = T, start, int64(0), False, True
            begin = (b * T + start) * V + first
            started = False  # the first round only brings the inputs of the first tile
            while start >= 0:
                next_start, next_stop, next_replaying = start, stop, replaying
                next_t, next_i0, next_second = t, i0, second
                if started and replaying:
                    next_t, next_i0, next_second = ahead(t, i0, second, V)
                    if next_t >= stop:  # turn round
                        next_t, next_i0, next_second, next_replaying = t, i0, second, False
                elif started:
                    next_t, next_i0, next_second = back(t, i0, second, V)
                    if next_t < start:
                        next_start, next_stop, next_replaying = start - interval, start, True
                        next_t, next_i0, next_second = next_start, int64(0), False
                next_begin = begin + (next_t - t) * V + step * (next_i0 - i0)
                tile_step, tile_D, tile_warp = fresh(step), fresh(D), fresh(warp)
                for r in range(n_rows):
                    k = tile_warp + r * warps
                    next_x[r], next_dt1[r], next_dt2[r], next_dy[r] = zero, zero, zero, zero
                    if next_start >= 0 and d < D and exists(next_t, next_i0, k, next_stop, V):
                        row = (next_begin + offset(k, V, tile_step)) * tile_D + d
                        next_x[r], next_dt1[r], next_dt2[r] = load(x, row), load(dt1, row), load(dt2, row)
                        next_dy[r] = load(dy, row)
                next_map = zero
                if next_start >= 0 and brings_map and exists(next_t, next_i0, map_k, next_stop, V):
                    cell = next_begin + offset(fresh(map_k), V, tile_step)
                    next_map = load(source, cell * fresh(N) + part * warps + map_n)

                before = history + (t - start) * column  # states of the column before the tile's first one
                if started and replaying:
                    if t == start and i0 == 0 and not second:
                        n_intervals, plane = (fresh(T) + interval - 1) // interval, fresh(N) * D
                        at = (b * n_intervals + start // interval) * V * 2 * plane + n * D + d
                        for i in range(V):
                            left1, left2 = zero, zero
                            if live:
                                left1, left2 = checkpoints[at], checkpoints[at + plane]
                            at += 2 * plane
                            spare[before + 2 * i * threads], spare[before + (2 * i + 1) * threads] = left1, left2
                            if width:
                                kept1[i], kept2[i] = left1, left2
                    for c in range(n_columns):
                        for m in range(height):
                            k, i = c * height + m, m if width else i0 + m
                            if (n_columns > 1 and t + c >= stop) or (not width and i >= V):
                                continue
                            xv, d1, d2 = rows[0, k, lane], rows[1, k, lane], rows[2, k, lane]
                            b1, b2 = maps[k, warp, 0], maps[k, warp, 1]
                            left = before + c * column + 2 * i * threads
                            mine = left + column
                            if second:
                                spare[mine + threads] = variate_state(zero, mean, True, xv, b2, d2, over_variates)
                                spare[before + column + 2 * V * threads] = mean
                                continue
                            left1, left2 = (kept1[i], kept2[i]) if width else (spare[left], spare[left + threads])
                            now1 = time_state(left1, left2, True, xv, b1, d1, over_time)
                            spare[mine] = now1
                            if pooled:
                                mean = zero if i == 0 else mean
                                mean += share * now1 if i < count else zero
                                continue
                            now2 = variate_state(above2, above1, i > 0, xv, b2, d2, over_variates)
                            spare[mine + threads] = now2
                            above1, above2 = now1, now2
                            if width:
                                kept1[i], kept2[i] = now1, now2
                    cuda.syncthreads()
                elif started:
                    for i in range(n_kept):  # not needed on the way back: their registers are free
                        kept1[i], kept2[i] = zero, zero
                    for group in range(n_groups - 1, -1, -1):
                        for c in range(group_columns - 1, -1, -1):
                            for m in range(group_height - 1, -1, -1):
                                f = c * group_height + m
                                k = group * group_cells + f
                                col, i = (
                                    (group * group_columns + c, m) if n_columns > 1 else (0, k if width else i0 + k)
                                )
                                if k >= n_cells or (n_columns > 1 and t + col >= stop) or (not width and i >= V):
                                    continue
                                xv, d1, d2, g = rows[0, k, lane], rows[1, k, lane], rows[2, k, lane], rows[3, k, lane]
                                b1, b2, c1, c2 = maps[k, warp, 0], maps[k, warp, 1], maps[k, warp, 2], maps[k, warp, 3]
                                left = before + col * column + 2 * i * threads
                                mine, hand = left + column, carries + 2 * i * threads
                                given1, given2, g_x, g_d1, g_d2 = row1, row2, zero, zero, zero
                                g_b1, g_b2, g_c1, g_c2 = zero, zero, zero, zero
                                if second or not pooled:  # h2
                                    if i == V - 1:
                                        row1, row2 = zero, zero
                                    g_skip += g * xv
                                    g_c2 = g * spare[mine + threads]
                                    hand2 = carry2[i] if width else spare[hand + threads]
                                    p2 = g * c2 + (hand2 + row2)
                                    heard1, heard2 = zero, zero
                                    if pooled:
                                        heard1 = spare[before + column + 2 * V * threads]
                                    elif i > 0:
                                        heard1, heard2 = spare[mine - 2 * threads], spare[mine - threads]
                                    given2, given1, g_x, g_d2, g_b2, g_rate, g_link = variate_adjoint(
                                        p2, heard2, heard1, pooled or i > 0, xv, b2, d2, over_variates
                                    )
                                    g_rate4, g_link3 = g_rate4 + g_rate, g_link3 + g_link
                                if not second:  # h1
                                    g_c1 = g * spare[mine]
                                    heard1 = row1
                                    if pooled:
                                        heard1 = share * row1 if i < count else zero
                                    p1 = g * c1 + ((carry1[i] if width else spare[hand]) + heard1)
                                    hand1, hand2, more, g_d1, g_b1, g_rate, g_link = time_adjoint(
                                        p1, spare[left], spare[left + threads], True, xv, b1, d1, over_time
                                    )
                                    g_rate1, g_link2, g_x = g_rate1 + g_rate, g_link2 + g_link, g_x + more
                                    if width:
                                        carry1[i], carry2[i] = hand1, hand2
                                    else:
                                        spare[hand], spare[hand + threads] = hand1, hand2
                                if not pooled:
                                    row1, row2 = given1, given2
                                elif second:
                                    row1 += given1
                                # threads without a lattice count nothing, not even as 0 inf
                                parts[0, f, warp, lane] = g_x if n < N else zero
                                parts[1, f, warp, lane] = g_d1 if n < N else zero
                                parts[2, f, warp, lane] = g_d2 if n < N else zero
                                at = f * 4 * warps + warp
                                sums[at, lane] = g_b1 if d < D else zero
                                sums[at + warps, lane] = g_b2 if d < D else zero
                                sums[at + 2 * warps, lane] = g_c1 if d < D else zero
                                sums[at + 3 * warps, lane] = g_c2 if d < D else zero
                        cuda.syncthreads()

                        tile_step, tile_D, tile_warp = fresh(step), fresh(D), fresh(warp)
                        for r in range(tile_warp, 3 * GROUP, warps):  # sums over the states of the block
                            q, f = r // GROUP, r % GROUP
                            k = group * group_cells + f
                            if d >= D or f >= group_cells or not exists(t, i0, k, stop, V):
                                continue
                            total = zero
                            for w in range(warps):
                                total += parts[q, f, w, lane]
                            row = (begin + offset(k, V, tile_step)) * tile_D + d
                            if q == 0:
                                if part == 0 and (second or not pooled):
                                    total += weight * rows[3, k, lane]
                                plane = part
                                if pooled:
                                    plane = 2 * part + (1 if second else 0)
                                store(gx, plane * (n_all_cells * tile_D) + row, total)
                            elif q == 1:
                                if not second:
                                    store(gdt1, part * (n_all_cells * tile_D) + row, total)
                            elif second or not pooled:
                                store(gdt2, part * (n_all_cells * tile_D) + row, total)
                        # sums over the channels of the block, by two threads each
                        at = fresh(thread)
                        at, half = at // 2, at % 2
                        q, f, m = at // warps % 4, at // (4 * warps), part * warps + at % warps
                        k = group * group_cells + f
                        counts = m < N and f < group_cells and exists(t, i0, k, stop, V)
                        total = zero
                        if counts:
                            for c in range(half_warp):
                                total += sums[at, half * half_warp + c]
                        total += cuda.shfl_xor_sync(WHOLE_WARP, total, 1)
                        if counts and half == 0 and (not pooled or second == (q % 2 == 1)):
                            cell = (block * 4 + q) * n_all_cells + begin + offset(k, V, tile_step)
                            gmaps[cell * fresh(N) + m] = total
                        cuda.syncthreads()

                for r in range(n_rows):
                    k = warp + r * warps
                    if k < n_cells:
                        rows[0, k, lane], rows[1, k, lane] = next_x[r], next_dt1[r]
                        rows[2, k, lane], rows[3, k, lane] = next_dt2[r], next_dy[r]
                if which < 4:
                    maps[map_k, map_n, which] = next_map
                cuda.syncthreads()
                start, stop, replaying, begin, started = next_start, next_stop, next_replaying, next_begin, True
                t, i0, second = next_t, next_i0, next_second

            if live:
                at, plane = (b * 4 * D + d) * N + n, fresh(N) * D
                gparameters[at], gparameters[at + 3 * plane] = -g_rate1, -g_rate4
                gparameters[at + plane], gparameters[at + 2 * plane] = link_sign * g_link2, link_sign * g_link3
            if with_state and live:
                for i in range(V):
                    hand = carries + 2 * i * threads
                    if width:
                        begin1[state_at], begin2[state_at] = carry1[i], carry2[i]
                    else:
                        begin1[state_at], begin2[state_at] = spare[hand], spare[hand + threads]
                    state_at += fresh(step) * D * N
            if warp == 0 and part == 0 and d < D:
                gskip[b * D + d] = g_skip

    wide = types.CPointer(number)
    signature = (
        *(memory.pointer,) * 8, *(wide,) * 8, types.CPointer(int64), *(out.pointer,) * 3, *(wide,) * 6, *(int64,) * 10,
    )  # fmt: skip
    # 128 registers for each thread, or 168
    return kernel, signature, kind.launch_bounds(16 if n_rows == 1 else 12)
