"""Launches of the CUDA kernels of the selective scan: ``torch.ops.tsmodels.selective_scan`` on a GPU.

A block walks ``width`` channels of one batch element through time (``cuda_parts.Block``).  Where that makes too few
blocks to fill a device, time is split into segments that run side by side (``cuda_segments``), at the price of a second
exponential for each state (backward: a third).  In split scans an infinite state may become a NaN one segment later,
where exp(A Σδ) of a whole segment underflows to 0.

More states than one launch holds are taken in slices, each a scan of its own whose outputs are added.
"""

import functools
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu

from .._backend import computing_dtype
from .._cuda import multiprocessors
from .cuda_backward import SUMMED, adjoint
from .cuda_forward import scan
from .cuda_parts import block_for, most_states, threads_of
from .cuda_segments import LINK_THREADS, link, summarise
from .op import CHUNK, checkpoint_shape


class _Plan(NamedTuple):
    """How one call is cut into blocks."""

    threads: int
    block: tuple[int, int]
    n_blocks: int  # for each segment
    n_tiles: int  # of channels, for each group
    n_segments: int
    chunks: int  # of CHUNK steps, for each segment


class _Split(NamedTuple):
    """When time is split into segments."""

    blocks: int  # for each multiprocessor, at most; of the adjoint three fit
    worthwhile: int  # fewer segments than that do not pay for the exponentials of ``summarise``


_FORWARD, _BACKWARD = _Split(4, 4), _Split(3, 2)


def _plan(x: Tensor, B: Tensor, split: _Split, n_segments: int | None, threads: int | None) -> _Plan:
    n_cases, T, D = x.shape
    groups, n_states = B.shape[2:]
    threads = threads or threads_of(x.dtype)
    block = block_for(n_states, threads)
    n_tiles = -(-(D // groups) // block.width)
    n_blocks = n_cases * groups * n_tiles
    n_chunks = max(1, -(-T // CHUNK))
    if n_segments is None:
        n_segments = split.blocks * multiprocessors(x) // max(1, n_blocks)
        if n_segments < split.worthwhile:
            n_segments = 1
    chunks = -(-n_chunks // min(n_segments, n_chunks))
    return _Plan(threads, (block.width, block.sharers), n_blocks, n_tiles, -(-n_chunks // chunks), chunks)


class _Entering(NamedTuple):
    """The states that enter the segments, and how far apart they are along each axis."""

    states: Tensor
    case: int
    segment: int
    channel: int
    state: int


def _entering(plan, source, dt, A, rows, z, bias, state, softplus, backwards, is_adjoint) -> _Entering:
    n_cases, T, D = source.shape
    groups, n_states = rows.shape[2:]
    if plan.n_segments == 1:
        return _Entering(A if state is None else state, D * n_states, 0, n_states, 1)
    local = A.new_empty((n_cases, plan.n_segments, n_states, D))
    delta_sums = A.new_empty((n_cases, plan.n_segments, D))
    summarise.launch(
        (source.dtype, n_states, plan.threads, softplus, z is not None, is_adjoint),
        (plan.n_blocks, plan.n_segments - 1), plan.block,
        source, dt, A, rows, _or(z, source), _or(bias, A), local, delta_sums,
        T, D, groups, plan.n_segments, plan.chunks, int(backwards), int(bias is not None),
    )  # fmt: skip
    lanes = n_cases * n_states * D
    link.launch(
        (A.dtype,), (-(-lanes // LINK_THREADS),), (LINK_THREADS,),
        A, _or(state, A), local, delta_sums, D, n_states, plan.n_segments, lanes, int(state is not None),
    )  # fmt: skip
    return _Entering(local, plan.n_segments * n_states * D, n_states * D, 1, D)


def _or(tensor: Tensor | None, other: Tensor) -> Tensor:
    """Something to point at where a kernel does not look."""
    return other if tensor is None else tensor


def _contiguous(*tensors: Tensor | None) -> list:
    return [None if t is None else t.contiguous() for t in tensors]


def forward(
    x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    dt_bias: Tensor | None, state: Tensor | None, dt_softplus: bool, reverse: bool, keep: bool,
    *, n_segments: int | None = None, threads: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """``torch.ops.tsmodels.selective_scan`` on a GPU; segments of time and the size of a block follow the shape."""
    x, dt, A, B, C, D, z, dt_bias, state = _contiguous(x, dt, A, B, C, D, z, dt_bias, state)
    n_cases, T, n_channels = x.shape
    groups, n_states = B.shape[2:]
    split = {"n_segments": n_segments, "threads": threads}
    if n_states > most_states(x.dtype):
        return _forward_in_slices(x, dt, A, B, C, D, z, dt_bias, state, dt_softplus, reverse, keep, split)
    y, last = torch.empty_like(x), A.new_empty((n_cases, *A.shape))
    checkpoints = A.new_empty(checkpoint_shape(x, A, keep))
    plan = _plan(x, B, _FORWARD, n_segments, threads)
    entering = _entering(plan, x, dt, A, B, None, dt_bias, state, dt_softplus, reverse, False)
    scan.launch(
        (x.dtype, n_states, plan.threads, dt_softplus, D is not None, z is not None),
        (plan.n_blocks, plan.n_segments), plan.block,
        x, dt, A, B, C, _or(D, A), _or(z, x), _or(dt_bias, A), entering.states, y, last, checkpoints,
        T, n_channels, groups, plan.chunks, int(reverse), int(keep), int(dt_bias is not None),
        int(state is not None or plan.n_segments > 1), *entering[1:],
    )  # fmt: skip
    return y, last, checkpoints


def backward(
    grad_y: Tensor, grad_state: Tensor, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, dt_bias: Tensor | None, state: Tensor | None, checkpoints: Tensor, dt_softplus: bool,
    reverse: bool, *, n_segments: int | None = None, threads: int | None = None,
) -> tuple[Tensor, ...]:  # fmt: skip
    """``torch.ops.tsmodels.selective_scan_backward`` on a GPU."""
    grad_y, grad_state, checkpoints = _contiguous(grad_y, grad_state, checkpoints)
    x, dt, A, B, C, D, z, dt_bias, state = _contiguous(x, dt, A, B, C, D, z, dt_bias, state)
    n_cases, T, n_channels = x.shape
    groups, n_states = B.shape[2:]
    split = {"n_segments": n_segments, "threads": threads}
    if n_states > most_states(x.dtype):
        return _backward_in_slices(
            grad_y, grad_state, x, dt, A, B, C, D, z, dt_bias, state, checkpoints, dt_softplus, reverse, split
        )
    plan = _plan(x, B, _BACKWARD, n_segments, threads)
    entering = _entering(plan, grad_y, dt, A, C, z, dt_bias, grad_state, dt_softplus, reverse, True)
    n_parts = n_cases * plan.n_segments
    grad_x, grad_dt = torch.empty_like(x), torch.empty_like(dt)
    grad_z = _absent(x) if z is None else torch.empty_like(z)
    grad_A = A.new_empty((n_parts, *A.shape))
    grad_B, grad_C = (A.new_empty((plan.n_tiles, *B.shape)) for _ in range(2))
    grad_D, grad_bias = (A.new_empty((n_parts * SUMMED, n_channels)) for _ in range(2))
    grad_first = torch.empty_like(grad_state)
    adjoint.launch(
        (x.dtype, n_states, plan.threads, dt_softplus, D is not None, z is not None),
        (plan.n_blocks, plan.n_segments), plan.block,
        grad_y, entering.states, x, dt, A, B, C, _or(D, A), _or(z, x), _or(dt_bias, A), checkpoints,
        grad_x, grad_dt, grad_A, grad_B, grad_C, grad_D, grad_z, grad_bias, grad_first,
        T, n_channels, groups, n_cases, plan.chunks, int(reverse), int(dt_bias is not None), *entering[1:],
    )  # fmt: skip
    return (
        grad_x, grad_dt, grad_A.sum(0), grad_B.sum(0).to(B.dtype), grad_C.sum(0).to(C.dtype),
        _absent(A) if D is None else grad_D.sum(0), grad_z,
        _absent(A) if dt_bias is None else grad_bias.sum(0), _absent(A) if state is None else grad_first,
    )  # fmt: skip


def _absent(like: Tensor) -> Tensor:
    return like.new_empty(0)


_Slice = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, None, None, Tensor | None, Tensor | None]


def _slices(x, dt, A, B, C, dt_bias, state) -> list[tuple[slice, _Slice]]:
    """Which states, and the first nine arguments of their scan, in the arithmetic of the kernels: outputs are added."""
    wide, most = computing_dtype(x.dtype), most_states(x.dtype)
    x, dt = x.to(wide), dt.to(wide)
    slices = []
    for first in range(0, A.shape[1], most):
        part = slice(first, first + most)
        rows = B[..., part].to(wide), C[..., part].to(wide)
        entering = None if state is None else state[..., part]
        slices.append((part, (x, dt, A[:, part], *rows, None, None, dt_bias, entering)))
    return slices


def _added(tensors: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, tensors)


def _forward_in_slices(x, dt, A, B, C, D, z, dt_bias, state, dt_softplus, reverse, keep, split):
    parts = [forward(*args, dt_softplus, reverse, keep, **split) for _, args in _slices(x, dt, A, B, C, dt_bias, state)]
    v = _added(y for y, _, _ in parts)
    if D is not None:
        v = v + D * x
    y = v if z is None else v * silu(z.to(v.dtype))
    last, checkpoints = torch.cat([p[1] for p in parts], -1), torch.cat([p[2] for p in parts], 2 if keep else 0)
    return y.to(x.dtype), last, checkpoints


def _backward_in_slices(
    grad_y, grad_state, x, dt, A, B, C, D, z, dt_bias, state, checkpoints, dt_softplus, reverse, split
):
    grad_v, grad_z = grad_y.to(computing_dtype(x.dtype)), _absent(x)
    if z is not None:
        gate = z.to(grad_v.dtype)
        v, _, _ = _forward_in_slices(
            x.to(gate.dtype), dt, A, B, C, D, None, dt_bias, state, dt_softplus, reverse, False, split
        )
        opened = torch.sigmoid(gate)
        grad_z = (grad_v * v * opened * (1 + gate * (1 - opened))).to(z.dtype)
        grad_v = grad_v * silu(gate)
    parts = [
        backward(grad_v, grad_state[..., part], *args, checkpoints[:, :, part], dt_softplus, reverse, **split)
        for part, args in _slices(x, dt, A, B, C, dt_bias, state)
    ]
    grad_x, grad_dt, grad_A, grad_B, grad_C, _, _, grad_bias, grad_first = zip(*parts, strict=True)
    to_x, grad_D = _added(grad_x), _absent(A)
    if D is not None:
        to_x, grad_D = to_x + D * grad_v, (grad_v * x).sum((0, 1))
    return (
        to_x.to(x.dtype), _added(grad_dt).to(dt.dtype), torch.cat(grad_A, 1), torch.cat(grad_B, -1).to(B.dtype),
        torch.cat(grad_C, -1).to(C.dtype), grad_D, grad_z,
        _absent(A) if dt_bias is None else _added(grad_bias),
        _absent(A) if state is None else torch.cat(grad_first, -1),
    )  # fmt: skip
