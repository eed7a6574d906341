"""The forced rollout on a GPU: ``torch.ops.tsmodels.plrnn_rollout`` and its backward, for CUDA tensors."""

import torch
from torch import Tensor

from .._cuda import WARP
from . import cuda_kernels as kernels
from .cells import CELLS
from .products import parameter_gradients


def _shape(cell: str, W: Tensor, inner: Tensor | None, n_relu: int, n_inputs: int) -> kernels.Shape:
    M, K = W.shape
    n = n_relu if inner is None else inner.shape[0]
    return kernels.Shape(W.dtype, CELLS[cell].kind, CELLS[cell].corrected, M, K, n, n_inputs)


def _transposed(matrix: Tensor | None) -> Tensor | None:
    return None if matrix is None else matrix.mT.contiguous()


def _arguments(like: Tensor, *tensors: Tensor | None) -> list[Tensor]:
    """Contiguous tensors; any other for those that are None, which are not read."""
    return [like if t is None else t.contiguous() for t in tensors]


def forward(cell, z0, d, alpha, mask, s, A, W, h, inner, offset, C, n_relu, keep) -> tuple[Tensor, Tensor]:
    """States before forcing and, with ``keep``, the states (B, T, M) that each step begins with."""
    B, T, _ = d.shape
    Z, kept = d.new_empty(d.shape), d.new_empty(d.shape if keep else 0)
    if not d.numel():
        return Z, kept
    shape = _shape(cell, W, inner, n_relu, 0 if s is None else s.shape[2])
    first_weights = _transposed(inner) if shape.kind == kernels.SHALLOW else inner
    kernels.forward.launch(
        (shape, keep), (B,), (WARP,),
        *_arguments(A, z0, d, alpha, mask, s, A, _transposed(W), h, first_weights, offset, _transposed(C)), Z, kept, T,
    )  # fmt: skip
    return Z, kept


def backward(cell, grad, alpha, mask, s, A, W, h, inner, offset, C, n_relu, forced) -> tuple[Tensor, ...]:
    """Gradients of z0, s, A, W, h, inner, offset and C, empty for those that are None."""
    B, T, M = grad.shape
    p, by_z0 = grad.new_empty(grad.shape), grad.new_zeros(B, M)
    if grad.numel():
        shape = _shape(cell, W, inner, n_relu, 0)
        first_weights = _transposed(inner) if shape.kind == kernels.SHALLOW else inner
        kernels.backward.launch(
            (shape,), (B,), (WARP,),
            *_arguments(A, grad, alpha, mask, A, W, first_weights, inner, offset, forced), p, by_z0, T,
        )  # fmt: skip
    with torch.autocast(p.device.type, enabled=False):
        return by_z0, *parameter_gradients(cell, p, forced, s, A, W, h, inner, offset, C, n_relu)
