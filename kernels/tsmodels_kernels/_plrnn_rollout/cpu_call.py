"""From torch tensors to the addresses that the kernels in ``cpu.py`` take, and back."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from .. import _pool
from .._backend import VECTOR_BYTES
from . import cpu
from .cells import CELLS
from .op import forced_shape

_LIKE = {torch.float32: np.empty(0, np.float32), torch.float64: np.empty(0, np.float64)}
_KINDS = {"units": cpu.UNITS, "shallow": cpu.SHALLOW, "dendritic": cpu.DENDRITIC}

# Jobs below this many products of a step's matrix (about half a millisecond) are not worth a hand-over to a thread.
_GRAIN_PRODUCTS = 1 << 21

# What a block of steps leaves for the sums over time should stay in the second-level cache.
_BLOCK_BYTES = 256 * 1024
_LONGEST_BLOCK = 32


def _address(tensor: Tensor | None) -> int:
    """Where a contiguous tensor lies; 0 for none, which is not read.  Whoever passes it on holds the tensor."""
    return 0 if tensor is None else tensor.data_ptr()


def _dense(*tensors: Tensor | None) -> list[Tensor | None]:
    return [t if t is None else t.contiguous() for t in tensors]


def _groups(n_sequences: int, dtype: torch.dtype) -> tuple[int, int]:
    """Number of groups of sequences, and sequences in each."""
    L = VECTOR_BYTES // dtype.itemsize
    return -(-n_sequences // L), L


def _packed(tensor: Tensor | None) -> Tensor | None:
    """(B, T, n) as vectors over sequences, (groups, T, n, lanes); lanes without a sequence are zero."""
    if tensor is None:
        return None
    B, T, n = tensor.shape
    G, L = _groups(B, tensor.dtype)
    whole = pad(tensor, (0, 0, 0, 0, 0, G * L - B)) if G * L != B else tensor
    return whole.reshape(G, L, T, n).permute(0, 2, 3, 1).contiguous()


def _unpacked(vectors: Tensor, B: int) -> Tensor:
    """The inverse of ``_packed``."""
    return vectors.permute(0, 3, 1, 2).flatten(0, 1)[:B].contiguous()


def _cell(cell: str, W: Tensor, inner: Tensor | None, offset: Tensor | None, n_relu: int) -> tuple[int, ...]:
    """What ``cpu.py`` calls ``cell``."""
    n = n_relu if inner is None else inner.shape[0]
    known = CELLS[cell]
    return _KINDS[known.kind], int(known.corrected), *W.shape, n, _address(inner), _address(offset)


def _grain(T: int, W: Tensor) -> int:
    return max(1, _GRAIN_PRODUCTS * W.element_size() // max(1, T * W.numel() * VECTOR_BYTES))


def forward(cell, z0, d, alpha, mask, s, A, W, h, inner, offset, C, n_relu, keep) -> tuple[Tensor, Tensor]:
    """States before forcing and, with ``keep``, the forced states that each step begins with, as vectors."""
    B, T, M = d.shape
    kept = z0.new_empty(forced_shape(d, keep))
    if not d.numel():
        return d.clone(), kept
    targets, inputs = _packed(d), _packed(s)
    Z = torch.empty_like(targets)
    forced = kept if keep else z0.new_empty((Z.shape[0], 1, *Z.shape[2:]))
    forced[:, :1] = _packed(z0[:, None])
    alpha, mask, A, W, h, inner, offset, C = _dense(alpha, mask, A, W, h, inner, offset, C)
    _pool.run(
        cpu.forward,
        len(Z),
        _LIKE[d.dtype],
        _cell(cell, W, inner, offset, n_relu),
        tuple(_address(t) for t in (A, W, h, C, alpha, mask)),
        (T, 0 if s is None else s.shape[2], M if keep else 0),
        tuple(_address(t) for t in (targets, inputs, forced, Z)),
        grain=_grain(T, W),
    )
    return _unpacked(Z, B), kept


def backward(cell, grad, alpha, mask, s, A, W, h, inner, offset, C, n_relu, forced) -> tuple[Tensor, ...]:
    """Gradients of z0, s, A, W, h, inner, offset and C, empty for those that are None."""
    B, _, M = grad.shape
    parameters = (A, h, W, C, inner, offset)  # the order of the sums
    by_z0, by_s = grad.new_zeros(B, M), torch.zeros_like(s) if s is not None else grad.new_empty(0)
    sizes = [0 if t is None else t.numel() for t in parameters]
    row = np.zeros(sum(sizes), _LIKE[grad.dtype].dtype)
    if grad.numel():
        by_z0, by_s, row = _swept(cell, grad, alpha, mask, s, A, W, h, inner, offset, C, n_relu, forced, sizes)
    parts = torch.from_numpy(row).split(sizes)
    grads = (part if t is None else part.view(t.shape) for part, t in zip(parts, parameters, strict=True))
    by_A, by_h, by_W, by_C, by_inner, by_offset = (grad.clone() for grad in grads)  # outputs may not share memory
    return by_z0, by_s, by_A, by_W, by_h, by_inner, by_offset, by_C


def _swept(cell, grad, alpha, mask, s, A, W, h, inner, offset, C, n_relu, forced, sizes):
    """Gradients of z0 and s, and the row of the sums."""
    B, T, M = grad.shape
    K = W.shape[1]
    gradient, inputs = _packed(grad), _packed(s)
    G, n_inputs = len(gradient), 0 if s is None else s.shape[2]
    by_z0, rows = gradient.new_empty((G, 1, *gradient.shape[2:])), gradient.new_empty(G, sum(sizes))
    by_s = None if inputs is None else torch.empty_like(inputs)
    alpha, mask, A, W, h, inner, offset, C, forced = _dense(alpha, mask, A, W, h, inner, offset, C, forced)
    block = max(1, min(T, _LONGEST_BLOCK, _BLOCK_BYTES // ((M + 2 * K) * VECTOR_BYTES)))
    _pool.run(
        cpu.backward,
        G,
        _LIKE[grad.dtype],
        _cell(cell, W, inner, offset, n_relu),
        tuple(_address(t) for t in (A, W, h, C, alpha, mask)),
        (B, T, n_inputs),
        (block, sum(sizes), sizes[4]),
        tuple(_address(t) for t in (inputs, forced, gradient)),
        tuple(_address(t) for t in (by_z0, by_s, rows)),
        grain=max(1, _grain(T, W) // 4),
    )
    with np.errstate(all="ignore"):  # NaN and inf are legal values
        row = rows.numpy().sum(0)  # in one fixed order, whatever the number of threads
    return _unpacked(by_z0, B)[:, 0], grad.new_empty(0) if by_s is None else _unpacked(by_s, B), row
