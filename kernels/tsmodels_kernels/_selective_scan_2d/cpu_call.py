"""From torch tensors to the arrays that the kernels in ``cpu.py`` read, and back."""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from .. import _pool
from .._backend import VECTOR_BYTES
from .options import Options

# A replayed interval of column states should stay in the second-level cache.
_REPLAY_BYTES = 256 * 1024


def n_lanes(dtype: torch.dtype) -> int:
    """Channels in one block."""
    return VECTOR_BYTES // dtype.itemsize


def default_interval(T: int, V: int, N: int) -> int:
    """Steps between stored column states: as many as the cache holds, at least sqrt(T) to bound the memory."""
    column_bytes = 4 * V * N * VECTOR_BYTES  # two states and the two gates kept beside them
    return max(1, min(T, max(int(T**0.5), _REPLAY_BYTES // max(1, column_bytes))))


def checkpoint_shape(x: Tensor, N: int, interval: int) -> tuple[int, int]:
    """Shape of the stored column states; no rows without an interval."""
    B, T, V, D = x.shape
    L = n_lanes(x.dtype)
    rows = B * -(-D // L) * -(-T // interval) if interval and x.numel() else 0
    return rows, V * N * 2 * L


class _Layout:
    """Sizes of one call and the conversions that depend on them; channels are padded to whole vectors."""

    def __init__(self, x: Tensor, N: int):
        self.B, self.T, self.V, self.D = x.shape
        self.N, self.dtype, self.L = N, x.dtype, n_lanes(x.dtype)
        self.n_blocks = -(-self.D // self.L)
        self.padding = self.n_blocks * self.L - self.D
        self.n_jobs = self.B * self.n_blocks
        self.sizes = (self.T, self.V, self.D + self.padding, N)

    def flat(self, tensor: Tensor) -> np.ndarray:
        """(..., D) -> one dimension, channels padded by zeros."""
        if self.padding:
            tensor = pad(tensor, (0, self.padding))
        return tensor.contiguous().view(-1).numpy()

    def unpadded(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).view(self.B, self.T, self.V, -1)[..., : self.D].contiguous()

    def blocks(self, *tensors: Tensor) -> Tensor:
        """K tensors (..., D, N) -> (..., n_blocks, N, K, lanes), padded by zeros."""
        stacked = pad(torch.stack(tensors, -1), (0, 0, 0, 0, 0, self.padding))  # (..., D, N, K)
        return stacked.unflatten(-3, (self.n_blocks, self.L)).movedim(-3, -1).contiguous()

    def unblocked(self, blocks: Tensor) -> tuple[Tensor, ...]:
        """The inverse of ``blocks``."""
        return blocks.movedim(-1, -3).flatten(-4, -3)[..., : self.D, :, :].unbind(-1)

    def states(self, h1: Tensor, h2: Tensor) -> np.ndarray:
        """(B, V, D, N) twice -> a new array (jobs, V * N * 2 * lanes)."""
        return (
            self.blocks(h1, h2)
            .transpose(1, 2)
            .clone(memory_format=torch.contiguous_format)
            .view(self.n_jobs, -1)
            .numpy()
        )

    def unpacked_states(self, array: np.ndarray) -> tuple[Tensor, ...]:
        shape = (self.B, self.n_blocks, self.V, self.N, 2, self.L)
        return tuple(h.contiguous() for h in self.unblocked(torch.from_numpy(array).view(shape).transpose(1, 2)))

    def parameters(self, alpha1, rho2, rho3, alpha4, options: Options) -> np.ndarray:
        """The rows that ``cpu.py`` documents, (n_blocks, N * rows * lanes)."""
        from .cpu import LOG2_E

        if options.gates == "zoh":
            cross = (rho2 * options.cross2, rho3 * options.cross3)
        else:
            cross = (-LOG2_E * rho2, -LOG2_E * rho3)
        rows = self.blocks(-LOG2_E * alpha1, *cross, -LOG2_E * alpha4, 1 / alpha1, 1 / alpha4)
        return rows.view(self.n_blocks, -1).numpy()

    def common(self, parameters: np.ndarray, n_variates: Tensor, options: Options, interval: int) -> tuple:
        """The arguments that both kernels take between the data and their own arrays."""
        factor = options.gate_scale
        scales = np.array([factor, factor * options.cross2, factor * options.cross3], parameters.dtype)
        return (
            parameters,
            None if options.gates == "zoh" else scales,
            True if options.input_rule == "zoh" else None,
            n_variates.contiguous().numpy() if options.coupling == "pooled" else None,
            self.sizes,
            (self.V - 1, -1) if options.reverse_v else (0, 1),
            min(interval, self.T),
        )

    def data(self, x, dt1, dt2, B1, B2, C1, C2, skip) -> tuple[np.ndarray, ...]:
        return (
            *(self.flat(t) for t in (x, dt1, dt2)),
            *(t.contiguous().view(-1).numpy() for t in (B1, B2, C1, C2)),
            self.flat(skip),
        )


def forward(tensors: tuple[Tensor, ...], n_variates: Tensor, options: Options, interval: int) -> tuple[Tensor, ...]:
    """``y``, the last ``h1, h2``, and the column states stored every ``interval`` steps (0: none)."""
    x, *inputs, alpha1, rho2, rho3, alpha4, skip, h1, h2 = tensors
    checkpoints = np.empty(checkpoint_shape(x, alpha1.shape[1], interval), x.numpy().dtype)
    if not x.numel():
        return x * skip, h1.clone(), h2.clone(), torch.from_numpy(checkpoints)
    from .cpu import forward as kernel

    layout = _Layout(x, alpha1.shape[1])
    states = layout.states(h1, h2)
    y = np.empty(x[..., 0].numel() * layout.sizes[2], states.dtype)
    parameters = layout.parameters(alpha1, rho2, rho3, alpha4, options)
    common = layout.common(parameters, n_variates, options, interval)
    _pool.run(kernel, layout.n_jobs, layout.data(x, *inputs, skip), *common, states, y, checkpoints)
    return layout.unpadded(y), *layout.unpacked_states(states), torch.from_numpy(checkpoints)


def backward(
    tensors: tuple[Tensor, ...],
    n_variates: Tensor,
    options: Options,
    interval: int,
    checkpoints: Tensor,
    grad_y: Tensor,
    grad_h1: Tensor,
    grad_h2: Tensor,
) -> tuple[Tensor, ...]:
    """Gradients of ``tensors``, in their order."""
    x, dt1, dt2, B1, B2, C1, C2, alpha1, rho2, rho3, alpha4, skip, _, _ = tensors
    if not x.numel():
        return *(torch.zeros_like(t) for t in tensors[:-2]), grad_h1.clone(), grad_h2.clone()
    from .cpu import ROWS
    from .cpu import backward as kernel

    layout = _Layout(x, alpha1.shape[1])
    carries = layout.states(grad_h1, grad_h2)
    dtype, n_cells = carries.dtype, x[..., 0].numel()
    grads = (
        *(np.empty(n_cells * layout.sizes[2], dtype) for _ in range(3)),
        np.zeros(layout.n_blocks * B1.numel() * 4, dtype),
    )
    grad_rows = np.zeros((layout.n_jobs, layout.N * ROWS * layout.L), dtype)
    grad_skip = np.zeros(layout.n_jobs * layout.L, dtype)
    parameters = layout.parameters(alpha1, rho2, rho3, alpha4, options)
    common = layout.common(parameters, n_variates, options, interval)
    data = layout.data(x, dt1, dt2, B1, B2, C1, C2, skip)
    _pool.run(
        kernel,
        layout.n_jobs,
        data,
        layout.flat(grad_y),
        *common,
        checkpoints.numpy(),
        carries,
        grads,
        grad_rows,
        grad_skip,
    )
    # Jobs wrote slots of their own; NumPy adds them up in one fixed order, whatever the number of threads.
    by_cell = [layout.unpadded(g) for g in grads[:3]]
    by_state = torch.from_numpy(grads[3].reshape(layout.n_blocks, -1).sum(0)).view(*B1.shape, 4).unbind(-1)
    rows = torch.from_numpy(grad_rows.reshape(layout.B, -1).sum(0)).view(layout.n_blocks, layout.N, ROWS, layout.L)
    g1, g2, g3, g4, _, _ = layout.unblocked(rows)
    if options.gates == "zoh":
        g2, g3 = g2 * options.cross2, g3 * options.cross3
    else:
        g2, g3 = -g2, -g3
    by_skip = torch.from_numpy(grad_skip.reshape(layout.B, -1).sum(0))[: layout.D]
    by_parameter = [g.contiguous() for g in (-g1, g2, g3, -g4)]
    return *by_cell, *(g.contiguous() for g in by_state), *by_parameter, by_skip, *layout.unpacked_states(carries)
