"""The memory layout of the kernels' outputs; apart from them, so that fake kernels do not import Numba."""

from torch import Tensor


def walks_rows(tensor: Tensor) -> bool:
    """Whether (B, T, D) is walked along rows of contiguous time: real numbers, and one channel or (B, D, T) in memory.

    The outputs then lie in memory as (B, D, T) too, otherwise as (B, T, D).
    """
    if tensor.is_complex():
        return False
    return tensor.shape[2] == 1 or (tensor.stride(1) == 1 and tensor.stride(2) > 1)


def empty_states(like: Tensor) -> Tensor:
    """A new tensor of the shape of ``like`` in the layout of the outputs."""
    if not walks_rows(like):
        return like.new_empty(like.shape)
    B, T, D = like.shape
    return like.new_empty((B, D, T)).transpose(1, 2) if D != 1 else like.new_empty((B, T, 1))
