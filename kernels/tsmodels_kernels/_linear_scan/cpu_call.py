"""From torch tensors to the addresses and strides that the kernels in ``cpu.py`` read, and back."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from .. import _pool
from .._backend import VECTOR_BYTES
from . import cpu
from .layout import walks_rows

# The running states of a job should stay in the first-level cache, beside the rows that stream through it.
_WIDEST_BYTES = 1 << 14
# Blocks cut out of longer rows read memory badly: narrower ones are not worth another thread.
_NARROWEST_BYTES = 1 << 9
# Work below this many elements is not worth a hand-over to another thread.
_GRAIN_ELEMENTS = 1 << 15
# An empty array tells a kernel the dtype of its addresses.
_LIKE = {
    dtype: np.empty(0, str(dtype).removeprefix("torch."))
    for dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128)
}


def forward(a: Tensor, b: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """``torch.ops.tsmodels.linear_scan`` on the CPU."""
    by_rows = walks_rows(b)
    h, last = _empty(b.shape, b.dtype, by_rows), _empty(state.shape, b.dtype)
    tensors = _gate(a, b.shape, by_rows), _sequence(b, b.shape, by_rows), _state(state), h, last
    _launch("forward", by_rows, b, [_view(tensor, reverse) for tensor in tensors])
    return h, last


def backward(
    a: Tensor, h: Tensor, state: Tensor, grad_h: Tensor, grad_state: Tensor, reverse: bool, need_a: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """``torch.ops.tsmodels.linear_scan_backward`` on the CPU."""
    by_rows = walks_rows(h)
    need = cpu.ABSENT if not need_a else cpu.SUMMED if a.shape[1] == 1 else cpu.FULL
    grad_b, grad_first = _empty(h.shape, h.dtype, by_rows), _empty(state.shape, h.dtype)
    grad_a = _empty((h.shape[0], *a.shape[1:]), h.dtype, by_rows and need == cpu.FULL) if need_a else grad_b
    tensors = (
        _gate(a, h.shape, by_rows), _sequence(h, h.shape, by_rows), _state(state),
        _sequence(grad_h, h.shape, by_rows), _state(grad_state), grad_a, grad_b, grad_first,
    )  # fmt: skip
    views = [_view(tensor, not reverse) for tensor in tensors]
    address, batch, step, channel = views[1]
    views[1] = address + step * h.itemsize, batch, step, channel  # the states from the second on
    _launch("backward", by_rows, h, views, need)
    if not need_a:
        return torch.empty(0, dtype=h.dtype), grad_b, grad_first
    if a.shape[0] == 1 != h.shape[0]:  # by NumPy, in an order that does not depend on threads
        summed = _empty(a.shape, h.dtype)
        np.sum(grad_a.numpy(), axis=0, keepdims=True, out=summed.numpy())
        grad_a = summed
    return grad_a, grad_b, grad_first


def _empty(shape: tuple[int, ...], dtype: torch.dtype, by_rows: bool = False) -> Tensor:
    """A new tensor; walked by rows, (B, T, D) lies in memory as (B, D, T).

    Memory comes from NumPy, which asks for huge pages: large outputs then cost fewer page faults, almost half the time.
    """
    if by_rows and shape[2] != 1:
        return _empty((shape[0], shape[2], shape[1]), dtype).transpose(1, 2)
    if 0 in shape:  # of which NumPy has strides of its own
        return torch.empty(shape, dtype=dtype)
    return torch.from_numpy(np.empty(shape, _LIKE[dtype].dtype))


def _resolved(tensor: Tensor) -> Tensor:
    """Conjugation and negation carried out: kernels read memory."""
    return tensor.resolve_conj().resolve_neg()


def _collapsed(tensor: Tensor) -> Tensor:
    """One element along each axis that repeats the same memory."""
    tensor = _resolved(tensor)
    strides = tensor.stride()
    if 0 in strides:
        for axis, stride in enumerate(strides):
            if stride == 0 and tensor.shape[axis] > 1:
                tensor = tensor.narrow(axis, 0, 1)
    return tensor


def _gate(a: Tensor, shape: tuple[int, ...], by_rows: bool) -> Tensor:
    """Gates as the kernels read them."""
    a = _collapsed(a)
    return a if by_rows and a.shape[1] == 1 else _readable(a, shape, by_rows)


def _sequence(tensor: Tensor, shape: tuple[int, ...], by_rows: bool) -> Tensor:
    """Inputs, states or gradients as the kernels read them."""
    return _readable(_collapsed(tensor), shape, by_rows)


def _readable(tensor: Tensor, shape: tuple[int, ...], by_rows: bool) -> Tensor:
    """``tensor``, or a copy with time (by rows) or channels contiguous and room for a vector around few channels."""
    _, T, D = shape
    if by_rows:
        if tensor.stride(1) == 1 and tensor.shape[1] == T:
            return tensor
        return tensor.expand(-1, T, -1).transpose(1, 2).contiguous().transpose(1, 2)
    if tensor.stride(2) != 1 or tensor.shape[2] != D:
        tensor = tensor.expand(-1, -1, D).contiguous()
    n_lanes = VECTOR_BYTES // tensor.itemsize
    if 0 < D <= n_lanes < T * D:
        if tensor.shape[1] == 1:
            return pad(tensor, (n_lanes, n_lanes))[..., n_lanes:-n_lanes]
        if tensor.stride(1) < D:
            return tensor.contiguous()
    return tensor


def _state(state: Tensor) -> Tensor:
    return _resolved(state).contiguous()


def _launch(name: str, by_rows: bool, like: Tensor, views: list[tuple[int, ...]], *options: int) -> None:
    """Run the kernel ``name`` over its jobs."""
    (B, T, D), itemsize = like.shape, like.itemsize
    if by_rows:
        name += "_rows"
        if D == 1 or all(batch == channel * D for _, batch, *_, channel in views):  # rows lie evenly spaced
            views = [(address, 0, *step, batch if D == 1 else channel) for address, batch, *step, channel in views]
            B, D = 1, B * D
        width = VECTOR_BYTES // itemsize
        n_jobs = B * -(-D // width)
    else:
        name += "_complex" if like.is_complex() else ""
        width = _width(B, D, itemsize)
        n_jobs = B * (D // width)
    grain = max(1, _GRAIN_ELEMENTS // max(1, T * min(D, width)))
    _pool.run(getattr(cpu, name), n_jobs, _LIKE[like.dtype], *views, (T, D, width), *options, grain=grain)


def _view(tensor: Tensor, backwards: bool) -> tuple[int, ...]:
    """Address of the first step of the walk, and strides: 0 along an axis with one element, which stands for all."""
    address = tensor.data_ptr()
    if tensor.ndim == 2:
        (B, D), (batch, channel) = tensor.shape, tensor.stride()
        return address, batch if B != 1 else 0, channel if D != 1 else 0
    (B, T, D), (batch, step, channel) = tensor.shape, tensor.stride()
    if T == 1:
        step = 0
    elif backwards:
        address, step = address + (T - 1) * step * tensor.itemsize, -step
    return address, batch if B != 1 else 0, step, channel if D != 1 else 0


def _width(B: int, D: int, itemsize: int) -> int:
    """Channels of a job: all, unless they are too many for the cache or there are more threads than batch elements."""
    n_lanes, n_threads = VECTOR_BYTES // itemsize, torch.get_num_threads()
    n_blocks = -(-D * itemsize // _WIDEST_BYTES)
    if n_threads > B:
        n_blocks = max(n_blocks, min(-(-n_threads // max(1, B)), D * itemsize // _NARROWEST_BYTES))
    if n_blocks <= 1:
        return max(1, D)
    return max(n_lanes, D // n_blocks // n_lanes * n_lanes)
