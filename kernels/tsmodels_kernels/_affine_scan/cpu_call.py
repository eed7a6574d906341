"""From torch tensors to the addresses that the kernel in ``cpu.py`` takes, and back."""

import numpy as np
import torch
from torch import Tensor

from .. import _pool
from . import cpu

_LIKE = {torch.float32: np.empty(0, np.float32), torch.float64: np.empty(0, np.float64)}

# Work below this many entries of matrices is not worth a hand-over to another thread.
_GRAIN_ENTRIES = 1 << 17


def forward(J: Tensor, b: Tensor, state: Tensor, reverse: bool, adjoint: bool) -> tuple[Tensor, Tensor]:
    """``torch.ops.tsmodels.affine_scan`` on the CPU."""
    B, T, M = b.shape
    inputs = J.contiguous(), b.contiguous(), state.contiguous()
    outputs = b.new_empty(b.shape), b.new_empty(B, M)
    if T == 0 or M == 0:
        return outputs[0], state.clone(memory_format=torch.contiguous_format)
    addresses = (tensor.data_ptr() for tensor in (*inputs, *outputs))
    sizes = T, M, int(reverse), int(adjoint)
    _pool.run(cpu.forward, B, _LIKE[b.dtype], *addresses, sizes, grain=max(1, _GRAIN_ENTRIES // (T * M * M)))
    return outputs
