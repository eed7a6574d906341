"""CUDA kernels of the linear scan.

A lane is one pair (batch element, channel); neighbouring lanes are neighbours in memory.  A block sweeps 32 lanes over
one chunk of time, a tile of ``warps * steps`` steps at a time: each warp loads its own ``steps`` consecutive steps,
reduces them to one affine map h -> product h + total, hands that to the others through shared memory, and then writes
its states from the one that enters it.  Everything a tile needs is in registers before anything is written.

Few lanes leave most of the device idle.  Time is then split into chunks in three launches: ``summarise`` reduces each
chunk to one affine map, a sweep over these maps gives the state that enters each chunk, and a sweep over all chunks at
once writes the states: 20 bytes for each float32 element instead of 12.

The adjoint is the same sweep in the other direction with shifted gates, λ[t] = g[t] + conj(a[t+1]) λ[t+1].

A product of gates over a chunk that leaves the range of the dtype gives NaN where the plain loop would give 0 inf or
0: only possible where gates are larger than one in magnitude, or not finite.
"""

from typing import NamedTuple

import torch
from numba import cuda, types
from torch import Tensor

from .._backend import computing_dtype
from .._cuda import WARP, int64, kernel_family, least, multiprocessors, storage_of
from . import cuda_rows
from .layout import walks_rows

MANY_LANES = 60_000  # from here on one warp a tile: enough lanes to fill any device without splitting time
FULL, SUMMED = "full", "summed"


def steps_of(dtype: torch.dtype) -> int:
    """Steps that a thread holds in registers: gates and terms take 64 bytes."""
    return 32 // computing_dtype(dtype).itemsize


def _launch_bounds(dtype, warps):
    """At most 64 registers a thread (80 for single warps), so that enough warps hide the latency of memory."""
    if dtype == torch.complex128:
        return WARP * warps, 16 // warps
    return WARP * warps, (24 if warps == 1 else 32 // warps)


@kernel_family
def sweep(dtype, warps, adjoint, gradient):
    """States of all chunks from those that enter them.

    ``adjoint``: walk against time, with the gate of the step before and conjugated; ``gradient`` (None, FULL, SUMMED)
    of the gates: ``before`` then holds the forward's states and ``state`` the one before the first.  SUMMED adds up
    the gradient of a gate that does not depend on time.
    """
    storage = storage_of(dtype)
    load, load_if, store, number = storage.load, storage.load_if, storage.store, storage.compute
    pointer, wide = storage.pointer, types.CPointer(storage.compute)
    steps = steps_of(dtype)
    width = warps * steps
    guarded = warps > 1  # fewer registers: loads that wait together would spill

    def kernel(
        gates, terms, entering, out, leaving, before, state, grad_gates, T, D, gate_batch, gate_time, lanes, chunk,
        backwards,
    ):  # fmt: skip
        products = cuda.shared.array((warps, WARP), number)
        totals = cuda.shared.array((warps, WARP), number)
        own_gates = cuda.local.array(steps, number)
        own_terms = cuda.local.array(steps, number)
        lane, warp = int64(cuda.blockIdx.x) * WARP + cuda.threadIdx.x, cuda.threadIdx.y
        column = cuda.threadIdx.x
        first = int64(cuda.blockIdx.y) * chunk
        end = least(first + chunk, T)
        case, d = lane // D, lane % D
        start = case * T * D + d
        gate_start = case * gate_batch + d
        move, gate_move = (-D, -gate_time) if backwards else (D, gate_time)
        carry = number(0)
        if lane < lanes:
            carry = entering[cuda.blockIdx.y * lanes + lane]
        summed = number(0)
        for tile in range(first, end, width):
            mine = tile + warp * steps
            valid = int64(0)
            if lane < lanes:
                valid = end - mine  # steps of this warp that exist, if fewer than ``steps``
            t = T - 1 - mine if backwards else mine
            at, gate_at = start + t * D, gate_start + t * gate_time
            total, product = number(0), number(1)
            for k in range(steps):
                own_gates[k], own_terms[k] = number(1), number(0)
                if guarded:
                    if k < valid:
                        own_terms[k] = load(terms, at + k * move)
                        if not adjoint:
                            own_gates[k] = load(gates, gate_at + k * gate_move)
                        elif mine + k > 0:
                            own_gates[k] = load(gates, gate_at + (k - 1) * gate_move).conjugate()
                else:
                    own_terms[k] = load_if(terms, at + k * move, k < valid)
                    present = k < valid and (not adjoint or k > 0 or mine > 0)
                    gate = load_if(gates, gate_at + (k - 1 if adjoint else k) * gate_move, present)
                    if present:
                        own_gates[k] = gate.conjugate() if adjoint else gate
            for k in range(steps):
                total = own_gates[k] * total + own_terms[k]
                product = product * own_gates[k]
            products[warp, column] = product
            totals[warp, column] = total
            cuda.syncthreads()
            h = carry
            for w in range(warps):
                if w == warp:
                    h = carry
                carry = products[w, column] * carry + totals[w, column]
            for k in range(steps):
                h = own_gates[k] * h + own_terms[k]
                if k < valid:
                    store(out, at + k * move, h)
                    if gradient:
                        previous = load(before, at + (k + 1) * move) if mine + k < T - 1 else state[lane]
                        if gradient == FULL:
                            store(grad_gates, at + k * move, h * previous.conjugate())
                        else:
                            summed = summed + h * previous.conjugate()
            cuda.syncthreads()
        if gradient == SUMMED:
            totals[warp, column] = summed
            cuda.syncthreads()
            if warp == 0 and lane < lanes:
                summed = number(0)
                for w in range(warps):
                    summed = summed + totals[w, column]
                grad_gates[cuda.blockIdx.y * lanes + lane] = summed
        if warp == 0 and lane < lanes and end == T:
            if adjoint:
                t = int64(0) if backwards else T - 1
                carry = carry * load(gates, gate_start + t * gate_time).conjugate()
            leaving[lane] = carry

    grad_pointer = wide if gradient == SUMMED else pointer
    signature = (pointer, pointer, wide, pointer, wide, pointer, wide, grad_pointer, *(int64,) * 7)
    return kernel, signature, _launch_bounds(dtype, warps)


@kernel_family
def summarise(dtype, warps, adjoint):
    """The affine map of each chunk: ``products``, ``totals`` (chunk, lane)."""
    storage = storage_of(dtype)
    load, number = storage.load, storage.compute
    pointer, wide = storage.pointer, types.CPointer(storage.compute)

    def kernel(gates, terms, products, totals, T, D, gate_batch, gate_time, lanes, chunk, backwards):
        shared_products = cuda.shared.array((warps, WARP), number)
        shared_totals = cuda.shared.array((warps, WARP), number)
        lane, warp = int64(cuda.blockIdx.x) * WARP + cuda.threadIdx.x, cuda.threadIdx.y
        column = cuda.threadIdx.x
        first = int64(cuda.blockIdx.y) * chunk
        end = least(first + chunk, T)
        share = (chunk + warps - 1) // warps  # each warp reduces one run of consecutive steps
        total, product = number(0), number(1)
        if lane < lanes:
            case, d = lane // D, lane % D
            for step in range(first + warp * share, least(first + (warp + 1) * share, end)):
                t = T - 1 - step if backwards else step
                term = load(terms, (case * T + t) * D + d)
                gate = number(1)
                if adjoint:
                    if step > 0:
                        t = t + 1 if backwards else t - 1
                        gate = load(gates, case * gate_batch + d + t * gate_time).conjugate()
                else:
                    gate = load(gates, case * gate_batch + d + t * gate_time)
                total = gate * total + term
                product = product * gate
        shared_products[warp, column] = product
        shared_totals[warp, column] = total
        cuda.syncthreads()
        if warp == 0 and lane < lanes:
            for w in range(1, warps):
                total = shared_products[w, column] * total + shared_totals[w, column]
                product = product * shared_products[w, column]
            products[cuda.blockIdx.y * lanes + lane] = product
            totals[cuda.blockIdx.y * lanes + lane] = total

    return kernel, (pointer, pointer, wide, wide, *(int64,) * 7), _launch_bounds(dtype, warps)


class _Plan(NamedTuple):
    """Sizes of one call, in the order in which kernels take them, and its launch."""

    T: int
    D: int
    gate_batch: int
    gate_time: int
    lanes: int
    chunk: int
    n_chunks: int
    warps: int

    @property
    def grid(self):
        return -(-self.lanes // WARP), self.n_chunks

    @property
    def block(self):
        return WARP, self.warps


def _default_chunks(like: Tensor, lanes: int, T: int, width: int) -> int:
    """Chunks of time that give each multiprocessor two blocks, none of them shorter than two tiles."""
    blocks = -(-lanes // WARP)
    return max(1, min(2 * multiprocessors(like) // max(blocks, 1), T // (2 * width)))


def _plan(a: Tensor, b: Tensor, n_chunks: int | None, warps: int | None) -> _Plan:
    B, T, D = b.shape
    if warps is None:
        warps = 1 if B * D >= MANY_LANES else 16
    if n_chunks is None:
        n_chunks = _default_chunks(b, B * D, T, warps * steps_of(b.dtype))
    chunk = max(1, -(-T // n_chunks))
    gate_batch = 0 if a.shape[0] == 1 else a.shape[1] * D
    gate_time = 0 if a.shape[1] == 1 else D
    return _Plan(T, D, gate_batch, gate_time, B * D, chunk, max(1, -(-T // chunk)), warps)


def _entering(a: Tensor, terms: Tensor, state: Tensor, plan: _Plan, adjoint: bool, backwards: bool) -> Tensor:
    """The state that enters each chunk, (chunk, lane)."""
    if plan.n_chunks == 1:
        return state
    entering = state.new_empty((plan.n_chunks + 1, plan.lanes))
    entering[0] = state.reshape(-1)
    products, totals = (torch.empty_like(entering[1:]) for _ in range(2))
    summarise.launch(
        (terms.dtype, plan.warps, adjoint), plan.grid, plan.block, a, terms, products, totals, *plan[:6], backwards
    )
    maps = _Plan(plan.n_chunks, plan.lanes, 0, plan.lanes, plan.lanes, plan.n_chunks, 1, plan.warps)
    out = entering[1:]
    unused = out
    sweep.launch(
        (state.dtype, plan.warps, False, None), maps.grid, maps.block, products, totals, state, out,
        torch.empty_like(state), unused, state, unused, *maps[:6], False,
    )  # fmt: skip
    return entering


def forward(
    a: Tensor, b: Tensor, state: Tensor, reverse: bool, *, n_chunks: int | None = None, warps: int | None = None
) -> tuple[Tensor, Tensor]:
    """``torch.ops.tsmodels.linear_scan`` on a GPU; the split of time and the warps of a block follow the shape."""
    if walks_rows(b):
        return cuda_rows.forward(a, b, state, reverse)
    a, b, state = (t.resolve_conj().contiguous() for t in (a, b, state))
    h, last = torch.empty_like(b), torch.empty_like(state)
    if b.shape[1] == 0:
        return h, state.clone()
    plan = _plan(a, b, n_chunks, warps)
    entering = _entering(a, b, state, plan, False, reverse)
    sweep.launch(
        (b.dtype, plan.warps, False, None), plan.grid, plan.block, a, b, entering, h, last, h, state, h, *plan[:6],
        reverse,
    )  # fmt: skip
    return h, last


def backward(
    a: Tensor, h: Tensor, state: Tensor, grad_h: Tensor, grad_state: Tensor, reverse: bool, need_a: bool,
    *, n_chunks: int | None = None, warps: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """``torch.ops.tsmodels.linear_scan_backward`` on a GPU."""
    if walks_rows(h):
        grad_a, *others = cuda_rows.backward(a, h, state, grad_h, grad_state, reverse, need_a)
        return (_summed_to(a, grad_a) if need_a else grad_a), *others
    a, h, state, grad_h, grad_state = (t.resolve_conj().contiguous() for t in (a, h, state, grad_h, grad_state))
    B, T, D = h.shape
    if T == 0:
        return a.new_zeros(a.shape if need_a else 0), torch.empty_like(h), grad_state.clone()
    plan = _plan(a, h, n_chunks, warps)
    entering = _entering(a, grad_h, grad_state, plan, True, not reverse)
    grad_b, grad_first = torch.empty_like(h), torch.empty_like(grad_state)
    gradient, grad_a = _gate_gradient(a, h, plan, need_a)
    sweep.launch(
        (h.dtype, plan.warps, True, gradient), plan.grid, plan.block, a, grad_h, entering, grad_b, grad_first, h, state,
        grad_a if need_a else h, *plan[:6], not reverse,
    )  # fmt: skip
    if gradient == SUMMED:
        grad_a = grad_a.sum(0).view(B, 1, D)
    return (_summed_to(a, grad_a) if need_a else grad_a), grad_b, grad_first


def _summed_to(a: Tensor, grad_a: Tensor) -> Tensor:
    """The gradient of each gate, added up over batch and time where ``a`` is broadcast."""
    axes = [axis for axis in (0, 1) if a.shape[axis] == 1 and grad_a.shape[axis] > 1]
    if axes:
        grad_a = grad_a.sum(axes, keepdim=True, dtype=computing_dtype(grad_a.dtype))
    return grad_a.to(a.dtype)


def _gate_gradient(a: Tensor, h: Tensor, plan: _Plan, need_a: bool) -> tuple[str | None, Tensor]:
    """How the gradient of the gates is made, and the memory for it."""
    if not need_a:
        return None, a.new_empty(0)
    if a.shape[1] == 1 and h.shape[1] > 1:
        return SUMMED, h.new_empty((plan.n_chunks, plan.lanes), dtype=computing_dtype(h.dtype))
    return FULL, torch.empty_like(h)
