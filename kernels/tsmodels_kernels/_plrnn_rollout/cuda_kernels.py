"""CUDA kernels of the forced rollout and of its adjoint: a warp for each sequence, one step after the other.

What a step needs lies in shared memory: the state, the features, and the forcing of some steps, which are read at once
so that a step does not wait for memory.  Weights do too where they fit; else they stay in the caches.  Rows of a
product are shared out over the lanes; where there are fewer rows than lanes, groups of lanes share a row and add up
their parts by shuffles, in one fixed order.

The adjoint gives the gradients p of the states before forcing.  Those of the parameters are sums over all steps and
sequences, which the caller makes of p in matrix products: a warp would take longer than all the rest of the device.

A weight matrix is stored by columns: entry (row, column) of a product lies at ``column * n_rows + row``, so that
neighbouring lanes read neighbours.
"""

from typing import NamedTuple

import torch
from numba import cuda

from .._cuda import WARP, WHOLE_WARP, device, int64, kernel_family, least, storage_of

WEIGHT_BYTES = 28 * 1024  # of shared memory, which is 48 KB for each block without asking for more
TILE_BYTES = 6 * 1024  # for the forcing of the steps that are read at once
LONGEST_TILE = 32
UNITS, SHALLOW, DENDRITIC = "units", "shallow", "dendritic"


class Shape(NamedTuple):
    """What a kernel is specialised for."""

    dtype: torch.dtype
    kind: str  # of cells.py
    corrected: bool
    M: int
    K: int  # features
    n: int  # ReLUs (units) or bases (dendritic)
    S: int  # inputs

    def matrices(self) -> int:
        """Entries of each matrix of the step."""
        return self.M * self.K

    def tile(self, width: int) -> int:
        """Steps whose forcing, ``width`` numbers each, is read at once."""
        return max(1, min(LONGEST_TILE, TILE_BYTES // (self.dtype.itemsize * max(1, width))))

    def fits(self, n_matrices: int) -> bool:
        """Whether so many matrices have room in shared memory."""
        return n_matrices * self.matrices() * self.dtype.itemsize <= WEIGHT_BYTES


def _group(n_rows):
    """Lanes that share a row."""
    group = WARP
    while group > 1 and WARP // group < n_rows:
        group //= 2
    return group


def _sum_over(group):
    """The sum over the lanes of a group, the same in all of them."""

    @device
    def summed(value):
        by = group // 2
        while by > 0:
            value = value + cuda.shfl_xor_sync(WHOLE_WARP, value, by)
            by = by // 2
        return value

    return summed


def _product(number, n_rows, n_columns):
    """One row of a matrix product, in every lane of its group."""
    group = _group(n_rows)
    summed = _sum_over(group)

    @device
    def product(weights, source, row, part):
        total = number(0)
        if row < n_rows:
            for column in range(part, n_columns, group):
                total = total + weights[column * n_rows + row] * source[column]
        return summed(total)

    return product


def _placed(in_shared, count):
    """``fill(shared, source, lane)`` and ``of(shared, source)``, the memory to read from."""

    @device
    def fill(shared, source, lane):
        if in_shared:
            for at in range(lane, count, WARP):
                shared[at] = source[at]

    if in_shared:

        @device
        def of(shared, source):
            return shared
    else:

        @device
        def of(shared, source):
            return source

    return fill, of


def _mean(number, M):
    """The mean of a vector in shared memory, in every lane."""
    summed = _sum_over(WARP)

    @device
    def mean(vector, lane):
        total = number(0)
        for i in range(lane, M, WARP):
            total = total + vector[i]
        return summed(total) / number(M)

    return mean


def _active(number):
    """``value`` where the argument of a ReLU is positive (or NaN, which torch lets through as well), else zero."""

    @device
    def active(argument, value):
        return number(0) if argument <= number(0) else value

    return active


@kernel_family
def forward(shape, keep):
    """States before forcing and, with ``keep``, the states that each step begins with."""
    dtype, kind, corrected, M, K, n, S = shape
    storage = storage_of(dtype)
    number, pointer = storage.compute, storage.pointer
    in_shared, tile = shape.fits(2 if kind == SHALLOW else 1), shape.tile(M + S + 1)
    n_weights, n_inner, n_inputs = (
        (M * K if in_shared else 1),
        (M * K if in_shared and kind == SHALLOW else 1),
        max(S, 1),
    )
    fill, of = _placed(in_shared, M * K)
    fill_inner, of_inner = _placed(in_shared and kind == SHALLOW, M * K)
    to_hidden, to_state, to_input = _product(number, K, M), _product(number, M, K), _product(number, M, S)
    hidden_group, state_group = _group(K), _group(M)
    hidden_rows, state_rows = WARP // hidden_group, WARP // state_group
    summed, mean, active = _sum_over(state_group), _mean(number, M), _active(number)

    def kernel(z0, d, alpha, mask, s, A, W, h, inner, offset, C, Z, forced, T):
        shared_W = cuda.shared.array(n_weights, number)
        shared_inner = cuda.shared.array(n_inner, number)
        x = cuda.shared.array(M, number)
        g = cuda.shared.array(K, number)
        targets = cuda.shared.array((tile, M), number)
        inputs = cuda.shared.array((tile, n_inputs), number)
        strengths = cuda.shared.array(tile, number)
        lane, case = cuda.threadIdx.x, int64(cuda.blockIdx.x)
        hidden_row, hidden_part = lane // hidden_group, lane % hidden_group
        state_row, state_part = lane // state_group, lane % state_group
        fill(shared_W, W, lane)
        fill_inner(shared_inner, inner, lane)
        weights, first_weights = of(shared_W, W), of_inner(shared_inner, inner)
        for i in range(lane, M, WARP):
            x[i] = z0[case * M + i]
            if keep:
                forced[case * T * M + i] = x[i]
        for start in range(0, T, tile):
            count = least(tile, T - start)
            first = case * T + start
            for at in range(lane, count * M, WARP):
                targets[at // M, at % M] = d[first * M + at]
            for at in range(lane, count * S, WARP):
                inputs[at // n_inputs, at % n_inputs] = s[first * S + at]
            for at in range(lane, count, WARP):
                strengths[at] = alpha[start + at]
            cuda.syncthreads()
            for k in range(count):
                if kind == SHALLOW:
                    for block in range(0, K, hidden_rows):
                        row = block + hidden_row
                        u = to_hidden(first_weights, x, row, hidden_part)
                        if row < K and hidden_part == 0:
                            v = u + offset[row]
                            feature = active(v, v)
                            if corrected:
                                feature = feature - active(u, u)
                            g[row] = feature
                elif kind == UNITS:
                    centre = number(0)
                    if corrected:
                        centre = mean(x, lane)
                    for i in range(lane, M, WARP):
                        u = x[i] - centre
                        g[i] = u if i < M - n else active(u, u)
                else:
                    for block in range(0, M, state_rows):
                        i = block + state_row
                        total = number(0)
                        if i < M:
                            clip = number(0)
                            if corrected:
                                clip = active(x[i], x[i])
                            for basis in range(state_part, n, state_group):
                                above = x[i] - offset[i * n + basis]
                                total = total + inner[basis] * (active(above, above) - clip)
                        total = summed(total)
                        if i < M and state_part == 0:
                            g[i] = total
                cuda.syncthreads()
                for block in range(0, M, state_rows):
                    i = block + state_row
                    z = to_state(weights, g, i, state_part)
                    if S > 0:
                        z = z + to_input(C, inputs[k], i, state_part)
                    if i < M and state_part == 0:
                        z = z + (A[i] * x[i] + h[i])
                        Z[(first + k) * M + i] = z
                        x[i] = z + strengths[k] * mask[i] * (targets[k, i] - z)
                        if keep and start + k + 1 < T:
                            forced[(first + k + 1) * M + i] = x[i]
                cuda.syncthreads()

    return kernel, (*(pointer,) * 13, int64)


@kernel_family
def backward(shape):
    """Gradients ``p`` of the states before forcing and of z0 from that of the states."""
    dtype, kind, corrected, M, K, n, _ = shape
    storage = storage_of(dtype)
    number, pointer = storage.compute, storage.pointer
    in_shared, tile = shape.fits(3 if kind == SHALLOW else 1), shape.tile(2 * M + 1)
    n_weights, n_inner = (M * K if in_shared else 1), (M * K if in_shared and kind == SHALLOW else 1)
    fill, of = _placed(in_shared, M * K)
    fill_inner, of_inner = _placed(in_shared and kind == SHALLOW, M * K)
    to_hidden, to_state = _product(number, K, M), _product(number, M, K)
    hidden_group, state_group = _group(K), _group(M)
    hidden_rows, state_rows = WARP // hidden_group, WARP // state_group
    summed, mean, active = _sum_over(state_group), _mean(number, M), _active(number)

    def kernel(grad, alpha, mask, A, W, inner, inner_back, offset, forced, p, by_z0, T):
        shared_W = cuda.shared.array(n_weights, number)
        shared_inner = cuda.shared.array(n_inner, number)
        shared_back = cuda.shared.array(n_inner, number)
        sigma = cuda.shared.array(M, number)
        adjoint = cuda.shared.array(M, number)
        q = cuda.shared.array(K, number)
        gradients = cuda.shared.array((tile, M), number)
        states = cuda.shared.array((tile, M), number)
        strengths = cuda.shared.array(tile, number)
        lane, case = cuda.threadIdx.x, int64(cuda.blockIdx.x)
        hidden_row, hidden_part = lane // hidden_group, lane % hidden_group
        state_row, state_part = lane // state_group, lane % state_group
        fill(shared_W, W, lane)
        fill_inner(shared_inner, inner, lane)
        fill_inner(shared_back, inner_back, lane)
        weights = of(shared_W, W)
        first_weights, back_weights = of_inner(shared_inner, inner), of_inner(shared_back, inner_back)
        for i in range(lane, M, WARP):
            sigma[i] = number(0)
        for done in range(0, T, tile):
            count = least(tile, T - done)
            start = T - done - count
            first = case * T + start
            for at in range(lane, count * M, WARP):
                gradients[at // M, at % M] = grad[first * M + at]
                states[at // M, at % M] = forced[first * M + at]
            for at in range(lane, count, WARP):
                strengths[at] = alpha[start + at]
            cuda.syncthreads()
            for back in range(count):
                k = count - 1 - back
                for i in range(lane, M, WARP):
                    value = gradients[k, i] + (number(1) - strengths[k] * mask[i]) * sigma[i]
                    adjoint[i] = value
                    p[(first + k) * M + i] = value
                cuda.syncthreads()
                for block in range(0, K, hidden_rows):
                    row = block + hidden_row
                    value = to_hidden(weights, adjoint, row, hidden_part)
                    if kind == SHALLOW:
                        u = to_hidden(first_weights, states[k], row, hidden_part)
                        if row < K:
                            pulled = active(u + offset[row], value)
                            if corrected:
                                pulled = pulled - active(u, value)
                            value = pulled
                    if row < K and hidden_part == 0:
                        q[row] = value
                cuda.syncthreads()
                if kind == UNITS:
                    centre = number(0)
                    if corrected:
                        centre = mean(states[k], lane)
                    for i in range(lane, M, WARP):
                        if i >= M - n:
                            q[i] = active(states[k, i] - centre, q[i])
                    cuda.syncthreads()
                    if corrected:
                        centre = mean(q, lane)
                    for i in range(lane, M, WARP):
                        sigma[i] = A[i] * adjoint[i] + (q[i] - centre)
                else:
                    for block in range(0, M, state_rows):
                        i = block + state_row
                        total = number(0)
                        if kind == SHALLOW:
                            total = to_state(back_weights, q, i, state_part)
                        else:
                            if i < M:
                                for basis in range(state_part, n, state_group):
                                    slope = active(states[k, i] - offset[i * n + basis], inner[basis])
                                    if corrected:
                                        slope = slope - active(states[k, i], inner[basis])
                                    total = total + slope * q[i]
                            total = summed(total)
                        if i < M and state_part == 0:
                            sigma[i] = A[i] * adjoint[i] + total
                cuda.syncthreads()
        cuda.syncthreads()
        for i in range(lane, M, WARP):
            by_z0[case * M + i] = sigma[i]

    return kernel, (*(pointer,) * 11, int64)
