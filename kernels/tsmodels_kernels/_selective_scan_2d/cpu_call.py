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

# Jobs below this many state elements (about a millisecond) are not worth a hand-over: another library's idle threads
# may still spin on the other cores, and the worker would be waited for.
_GRAIN_ELEMENTS = 1 << 20


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
        self.grain = max(1, _GRAIN_ELEMENTS // max(1, self.T * self.V * N * self.L))

    def flat(self, tensor: Tensor) -> np.ndarray:
        """(..., D) -> one dimension, channels padded by zeros."""
        if self.padding:
            tensor = pad(tensor, (0, self.padding))
        return tensor.contiguous().view(-1).numpy()

    def unpadded(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).view(self.B, self.T, self.V, -1)[..., : self.D].contiguous()

    def states(self, h1: Tensor | None, h2: Tensor | None) -> np.ndarray:
        """(B, V, D, N) twice, None for zeros -> a new array (jobs, V * N * 2 * lanes)."""
        packed = torch.zeros((self.B, self.n_blocks, self.V, self.N, 2, self.L), dtype=self.dtype)
        for i, h in enumerate((h1, h2)):
            if h is not None:
                padded = pad(h, (0, 0, 0, self.padding)) if self.padding else h
                packed[..., i, :] = padded.unflatten(2, (self.n_blocks, self.L)).permute(0, 2, 1, 4, 3)
        return packed.view(self.n_jobs, -1).numpy()

    def unpacked_states(self, array: np.ndarray) -> tuple[Tensor, Tensor]:
        """The inverse of ``states``."""
        packed = torch.from_numpy(array).view(self.B, self.n_blocks, self.V, self.N, 2, self.L)
        h1, h2 = (packed[..., i, :].permute(0, 2, 1, 4, 3).flatten(2, 3)[:, :, : self.D] for i in range(2))
        return h1.contiguous(), h2.contiguous()

    def passed_on(self, h1: Tensor | None, h2: Tensor | None) -> tuple[Tensor, Tensor]:
        """Copies of states of a scan without steps, zeros for None."""
        zeros = torch.zeros((self.B, self.V, self.D, self.N), dtype=self.dtype)
        return zeros.clone() if h1 is None else h1.clone(), zeros if h2 is None else h2.clone()

    def parameters(self, alpha1, rho2, rho3, alpha4, options: Options) -> np.ndarray:
        """The rows that ``cpu.py`` documents, (n_blocks, N * rows * lanes)."""
        from .cpu import LOG2_E

        if options.gates == "zoh":
            cross = (rho2 * options.cross2, rho3 * options.cross3)
        else:
            cross = (-LOG2_E * rho2, -LOG2_E * rho3)
        rows = torch.stack((-LOG2_E * alpha1, *cross, -LOG2_E * alpha4, 1 / alpha1, 1 / alpha4))
        padded = pad(rows, (0, 0, 0, self.padding)) if self.padding else rows
        blocks = padded.unflatten(1, (self.n_blocks, self.L)).permute(1, 3, 0, 2)  # (n_blocks, N, rows, lanes)
        return blocks.reshape(self.n_blocks, -1).numpy()

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
        """The arrays that both kernels read per cell, and the weight of the input in the output."""
        return (
            *(self.flat(t) for t in (x, dt1, dt2)),
            *(t.contiguous().view(-1).numpy() for t in (B1, B2, C1, C2)),
            self.flat(skip),
        )


def forward(
    tensors: tuple[Tensor, ...],
    h1: Tensor | None,
    h2: Tensor | None,
    n_variates: Tensor,
    options: Options,
    interval: int,
    with_state: bool,
) -> tuple[Tensor, ...]:
    """``y``, the last ``h1, h2`` (empty without ``with_state``), column states every ``interval`` steps (0: none)."""
    x, *inputs, alpha1, rho2, rho3, alpha4, skip = tensors
    checkpoints = np.empty(checkpoint_shape(x, alpha1.shape[1], interval), x.numpy().dtype)
    layout = _Layout(x, alpha1.shape[1])
    if not x.numel():
        last = layout.passed_on(h1, h2) if with_state else (x.new_empty(0), x.new_empty(0))
        return x * skip, *last, torch.from_numpy(checkpoints)
    from .cpu import forward as kernel

    states = layout.states(h1, h2)
    y = np.empty(x[..., 0].numel() * layout.sizes[2], states.dtype)
    parameters = layout.parameters(alpha1, rho2, rho3, alpha4, options)
    common = layout.common(parameters, n_variates, options, interval)
    dt1, dt2, B1, B2, C1, C2 = inputs
    data = layout.data(x, dt1, dt2, B1, B2, C1, C2, skip)
    _pool.run(kernel, layout.n_jobs, data, *common, states, y, checkpoints, grain=layout.grain)
    last = layout.unpacked_states(states) if with_state else (x.new_empty(0), x.new_empty(0))
    return layout.unpadded(y), *last, torch.from_numpy(checkpoints)


def backward(
    tensors: tuple[Tensor, ...],
    n_variates: Tensor,
    options: Options,
    interval: int,
    with_state: bool,
    checkpoints: Tensor,
    grad_y: Tensor,
    grad_h1: Tensor | None,
    grad_h2: Tensor | None,
) -> tuple[Tensor, ...]:
    """Gradients of ``tensors``, in their order, and of the first states (empty without ``with_state``)."""
    x, dt1, dt2, B1, B2, C1, C2, alpha1, rho2, rho3, alpha4, skip = tensors
    layout = _Layout(x, alpha1.shape[1])
    if not x.numel():
        first = layout.passed_on(grad_h1, grad_h2) if with_state else (x.new_empty(0), x.new_empty(0))
        return *(torch.zeros_like(t) for t in tensors), *first
    from .cpu import ROWS
    from .cpu import backward as kernel

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
    outputs = (carries, grads, grad_rows, grad_skip)
    _pool.run(
        kernel,
        layout.n_jobs,
        data,
        layout.flat(grad_y),
        *common,
        checkpoints.numpy(),
        *outputs,
        grain=layout.grain,
    )
    # Jobs wrote slots of their own; NumPy adds them up in one fixed order, whatever the number of threads.
    by_cell = [layout.unpadded(g) for g in grads[:3]]
    by_state = torch.from_numpy(grads[3].reshape(layout.n_blocks, -1).sum(0)).view(*B1.shape, 4).unbind(-1)
    rows = torch.from_numpy(grad_rows.reshape(layout.B, -1).sum(0)).view(layout.n_blocks, layout.N, ROWS, layout.L)
    g1, g2, g3, g4, _, _ = rows.permute(2, 0, 3, 1).flatten(1, 2)[:, : layout.D]
    if options.gates == "zoh":
        g2, g3 = g2 * options.cross2, g3 * options.cross3
    else:
        g2, g3 = -g2, -g3
    by_skip = torch.from_numpy(grad_skip.reshape(layout.B, -1).sum(0))[: layout.D]
    first = layout.unpacked_states(carries) if with_state else (x.new_empty(0), x.new_empty(0))
    by_parameter = [g.contiguous() for g in (-g1, g2, g3, -g4)]
    return *by_cell, *(g.contiguous() for g in by_state), *by_parameter, by_skip, *first
