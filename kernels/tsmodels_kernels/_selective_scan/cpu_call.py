"""From torch tensors to the addresses and strides that the kernels in ``cpu.py`` read, and back."""

import numpy as np
import torch
from torch import Tensor

from .. import _pool
from . import cpu
from .op import CHUNK, checkpoint_shape

# Jobs below this many state elements (about half a millisecond) are not worth a hand-over to another thread.
_GRAIN_ELEMENTS = 1 << 20

_NO_WALK = [0] * cpu.WALK
_LIKE = {torch.float32: np.empty(0, np.float32), torch.float64: np.empty(0, np.float64)}


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """A new tensor from NumPy, which asks for huge pages: large fresh outputs cost half of what torch's do."""
    return torch.from_numpy(np.empty(shape, _LIKE[dtype].dtype))


def _computable(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor`` itself, or a copy in the dtype of the arithmetic and with the last axis contiguous."""
    if tensor.dtype != dtype:
        tensor = tensor.to(dtype)
    return tensor if tensor.stride(-1) == 1 else tensor.contiguous()


def _walk(tensor: Tensor | None, reverse: bool, n_parts: int = 1) -> list[int]:
    """A tensor (B, T, D) or (B, T, G, N) as ``cpu.py`` describes it; zeros for none.

    Of slabs (n_parts > 1) the first axis counts them.
    """
    if tensor is None:
        return _NO_WALK
    strides, slab, T = tensor.stride(), 0, tensor.shape[1]
    if n_parts > 1:
        (slab, *strides), T = strides, tensor.shape[2]
    batch, step, *group = strides[:-1]
    first, step = ((T - 1) * step, -step) if reverse else (0, step)
    return [tensor.data_ptr(), batch, first, step, group[0] if group else 0, slab]


def _checkpoint_walk(kept: Tensor) -> list[int]:
    """The states before chunks (B, chunks, N, D) as rows of channels, N for each chunk; zeros where none are kept."""
    return [kept.data_ptr(), kept.stride(0), 0, kept.shape[3], 0, 0] if kept.ndim == 4 else _NO_WALK


def _address(tensor: Tensor | None) -> int:
    """Where a contiguous tensor lies; 0 for none, which kernels read as zeros."""
    return 0 if tensor is None else tensor.data_ptr()


def _blocks(x: Tensor, B: Tensor) -> tuple[int, int]:
    """Number of groups, and of blocks of channels in each."""
    G = B.shape[2] if B.ndim == 4 else 1
    return G, -(-(x.shape[2] // G) // cpu.BLOCK)


def _run(kernel, x: Tensor, A: Tensor, B: Tensor, with_softplus: bool, tensors: list, walks: list[list[int]]) -> None:
    (n_cases, T, D), N = x.shape, A.shape[1]
    G, n_blocks = _blocks(x, B)
    header = [cpu.ADDRESSES + len(tensors), T, D, N, D // G, G, n_blocks, -(-T // CHUNK), with_softplus]
    plan = np.array(sum(walks, header + [_address(t) for t in tensors]), np.int64)
    grain = max(1, _GRAIN_ELEMENTS // max(1, T * N * min(D // G, cpu.BLOCK)))
    _pool.run(kernel, n_cases * G * n_blocks, _LIKE[A.dtype], plan, grain=grain)


def forward(x, dt, A, B, C, D, z, dt_bias, state, dt_softplus, reverse, keep) -> tuple[Tensor, Tensor, Tensor]:
    """Output, last state and, with ``keep``, the states before each chunk of steps; see the operator's schema."""
    stored, dtype = x.dtype, A.dtype
    x, dt, B, C = (_computable(t, dtype) for t in (x, dt, B, C))
    z = z if z is None else _computable(z, dtype)
    parameters = [t if t is None else t.contiguous() for t in (A, D, dt_bias, state)]
    y, last = _empty(x.shape, dtype), _empty((x.shape[0], *A.shape), dtype)
    kept = _empty(checkpoint_shape(x, A, keep), dtype)
    walks = [*(_walk(t, reverse) for t in (x, dt, B, C, z, y)), _checkpoint_walk(kept)]
    _run(cpu.forward, x, A, B, dt_softplus, [*parameters, last], walks)
    return y if stored == dtype else y.to(stored), last, kept


def backward(
    grad_y, grad_state, x, dt, A, B, C, D, z, dt_bias, state, checkpoints, dt_softplus, reverse
) -> tuple[Tensor, ...]:
    """Gradients of the nine inputs in their order, empty for those that are None; see the operator's schema."""
    inputs = (x, dt, A, B, C, D, z, dt_bias, state)
    dtype, (n_cases, _, n_channels) = A.dtype, x.shape
    x, dt, B, C, grad_y = (_computable(t, dtype) for t in (x, dt, B, C, grad_y))
    z = z if z is None else _computable(z, dtype)
    parameters = [t if t is None else t.contiguous() for t in (A, D, dt_bias, grad_state)]
    checkpoints = checkpoints.contiguous()
    grad_x, grad_dt = _empty(x.shape, dtype), _empty(x.shape, dtype)
    grad_z = z if z is None else _empty(x.shape, dtype)
    _, n_blocks = _blocks(x, B)
    slabs = [_parts(n_blocks, B.shape, dtype) for _ in range(2)]
    by_channel = [t if t is None else _parts(n_cases, t.shape, dtype).zero_() for t in (D, dt_bias)]
    by_case = [_parts(n_cases, A.shape, dtype), *by_channel]
    first = _empty((n_cases, *A.shape), dtype)
    walks = [_walk(t, reverse) for t in (x, dt, B, C, z, grad_y)]
    walks += [_checkpoint_walk(checkpoints), _walk(grad_x, reverse), _walk(grad_dt, reverse)]
    walks += [*(_walk(slab, reverse, n_blocks) for slab in slabs), _walk(grad_z, reverse)]
    _run(cpu.backward, x, A, B, dt_softplus, [*parameters, *by_case, first], walks)
    grad_B, grad_C = (_sum(slab, B.shape) for slab in slabs)
    grad_A = _sum(by_case[0], A.shape)
    grad_D, grad_bias = (t if t is None else _sum(t, (n_channels,)) for t in by_channel)
    grads = (grad_x, grad_dt, grad_A, grad_B, grad_C, grad_D, grad_z, grad_bias, first)
    return tuple(_gradient(grad, t, dtype) for grad, t in zip(grads, inputs, strict=True))


def _gradient(grad: Tensor | None, tensor: Tensor | None, dtype: torch.dtype) -> Tensor:
    """In the dtype of the input; empty where there was none."""
    if tensor is None or grad is None:
        return _empty((0,), dtype)
    return grad if tensor.dtype == dtype else grad.to(tensor.dtype)


def _parts(n_parts: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Memory for the parts of a sum, or for the sum itself where it has one part."""
    return _empty(shape if n_parts == 1 else (n_parts, *shape), dtype)


def _sum(parts: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Sum over the first axis of ``_parts`` by NumPy: in one fixed order, whatever the number of threads."""
    if parts.ndim == len(shape):
        return parts
    with np.errstate(all="ignore"):  # NaN and inf are legal values
        return torch.from_numpy(parts.numpy().sum(0))
