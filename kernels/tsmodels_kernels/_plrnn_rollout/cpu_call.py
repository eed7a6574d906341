"""From torch tensors to the addresses that the kernels in ``cpu.py`` take, and back."""

import numpy as np
import torch
from torch import Tensor

from .. import _pool
from .._backend import VECTOR_BYTES
from . import cpu
from .cells import CELLS
from .op import forced_shape

_LIKE = {torch.float32: np.empty(0, np.float32), torch.float64: np.empty(0, np.float64)}

# Jobs below this many products of a step's matrix (about half a millisecond) are not worth a hand-over to a thread.
_GRAIN_PRODUCTS = 1 << 21

# What a block of steps leaves for the sums over time should stay in the second-level cache.
_BLOCK_BYTES = 512 * 1024
_LONGEST_BLOCK = 32


def _addresses(*tensors: Tensor | None) -> tuple[int, ...]:
    """Where contiguous tensors lie; 0 for none, which is not read.  Whoever passes them on holds the tensors."""
    return tuple([0 if t is None else t.data_ptr() for t in tensors])


def _empty_like(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _dense(*tensors: Tensor | None) -> list[Tensor | None]:
    return [t if t is None else t.contiguous() for t in tensors]


def _cell(cell: str, W: Tensor, inner: Tensor | None, offset: Tensor | None, n_relu: int) -> tuple[int, ...]:
    """What ``cpu.py`` calls ``cell``."""
    kind, corrected, _ = CELLS[cell]
    n = n_relu if inner is None else inner.shape[0]
    return cpu.KINDS[kind], int(corrected), *W.shape, n, *_addresses(inner, offset)


def _block(T: int, vectors: int) -> int:
    """Steps of a block that leaves so many vectors for each."""
    return max(1, min(T, _LONGEST_BLOCK, _BLOCK_BYTES // (vectors * VECTOR_BYTES)))


def _grain(T: int, W: Tensor) -> int:
    return max(1, _GRAIN_PRODUCTS * W.element_size() // max(1, T * W.numel() * VECTOR_BYTES))


def forward(cell, z0, d, alpha, mask, s, A, W, h, inner, offset, C, n_relu, keep) -> tuple[Tensor, Tensor]:
    """States before forcing and, with ``keep``, the forced states that each step begins with, as vectors."""
    B, T, M = d.shape
    Z, forced = torch.empty_like(d, memory_format=torch.contiguous_format), d.new_empty(forced_shape(d, keep))
    if not Z.numel():
        return Z, forced
    n_inputs = 0 if s is None else s.shape[2]
    z0, d, s, alpha, mask, A, W, h, inner, offset, C = _dense(z0, d, s, alpha, mask, A, W, h, inner, offset, C)
    _pool.run(
        cpu.forward,
        -(-B * d.element_size() // VECTOR_BYTES),
        _LIKE[d.dtype],
        _cell(cell, W, inner, offset, n_relu),
        _addresses(A, W, h, C, alpha, mask),
        (B, T, n_inputs, _block(T, 2 * M + n_inputs)),
        _addresses(z0, d, s, forced if keep else None, Z),
        grain=_grain(T, W),
    )
    return Z, forced


def backward(cell, grad, alpha, mask, s, A, W, h, inner, offset, C, n_relu, forced) -> tuple[Tensor | None, ...]:
    """Gradients of z0, s, A, W, h, inner, offset and C, without those that are None."""
    B, T, M = grad.shape
    if not grad.numel():
        tensors = (s, A, W, h, inner, offset, C)
        return grad.new_zeros(B, M), *(None if t is None else torch.zeros_like(t) for t in tensors)
    G = len(forced)
    by_z0, by_s = grad.new_empty((B, M)), _empty_like(s)
    parameters = (A, h, offset, W, C, inner)  # the order of the sums
    sums = [_empty_like(t if G == 1 or t is None else t.expand(G, *t.shape)) for t in parameters]
    grad, s, alpha, mask, A, W, h, inner, offset, C, forced = _dense(
        grad, s, alpha, mask, A, W, h, inner, offset, C, forced
    )
    _pool.run(
        cpu.backward,
        G,
        _LIKE[grad.dtype],
        _cell(cell, W, inner, offset, n_relu),
        _addresses(A, W, h, C, alpha, mask),
        (B, T, 0 if s is None else s.shape[2], _block(T, M + 2 * W.shape[1])),
        _addresses(s, forced, grad),
        _addresses(by_z0, by_s, *sums),
        grain=max(1, _grain(T, W) // 4),
    )
    if G > 1:
        with np.errstate(all="ignore"):  # NaN and inf are legal values
            # in one fixed order, whatever the number of threads
            sums = [t if t is None else torch.from_numpy(t.numpy().sum(0)) for t in sums]
    by_A, by_h, by_offset, by_W, by_C, by_inner = sums
    return by_z0, by_s, by_A, by_W, by_h, by_inner, by_offset, by_C
