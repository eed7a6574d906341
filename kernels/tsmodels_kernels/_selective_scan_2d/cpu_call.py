"""From torch tensors to what the kernels in ``cpu.py`` and ``cpu_backward.py`` take, and back.

Kernels take addresses.  What they write is allocated by torch, whose memory is aligned to whole vectors.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from .. import _pool
from .._backend import VECTOR_BYTES
from .options import Options

_LIKE = {torch.float32: np.empty(0, np.float32), torch.float64: np.empty(0, np.float64)}

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
    column_bytes = 4 * V * N * VECTOR_BYTES  # two states and the two losses kept beside them
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
        self.elements_in_block = max(1, self.T * self.V * N * self.L)

    def empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self.dtype)

    def per_channel(self) -> Tensor:
        """Room for one number for each cell and channel."""
        return self.empty(self.B * self.T * self.V * self.n_blocks * self.L)

    def dense(self, tensor: Tensor) -> Tensor:
        """(..., D) in the order of its axes, channels padded by zeros; a copy only where that is needed."""
        return (pad(tensor, (0, self.padding)) if self.padding else tensor).contiguous()

    def unpadded(self, flat: Tensor) -> Tensor:
        return flat.view(self.B, self.T, self.V, -1)[..., : self.D].contiguous()

    def maps(self, *maps: Tensor) -> tuple[tuple[Tensor, ...], int]:
        """B1, B2, C1, C2 and the elements from a cell of any to the next; parts of one tensor need no copy."""
        step = maps[0].stride(2)
        strides = (self.T * self.V * step, self.V * step, step, 1)
        if all(m.stride() == strides for m in maps):
            return maps, step
        return tuple(m.contiguous() for m in maps), self.N

    def states(self, h1: Tensor | None, h2: Tensor | None, wanted: bool) -> Tensor:
        """(B, V, D, N) twice, None for zeros -> a new tensor (B, n_blocks, V, N, 2, lanes); empty if all are zero."""
        if h1 is None and h2 is None and not wanted:
            return self.empty(0)
        packed = torch.zeros((self.B, self.n_blocks, self.V, self.N, 2, self.L), dtype=self.dtype)
        for i, h in enumerate((h1, h2)):
            if h is not None:
                padded = pad(h, (0, 0, 0, self.padding)) if self.padding else h
                packed[..., i, :] = padded.unflatten(2, (self.n_blocks, self.L)).permute(0, 2, 1, 4, 3)
        return packed

    def unpacked_states(self, packed: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of ``states``."""
        h1, h2 = (packed[..., i, :].permute(0, 2, 1, 4, 3).flatten(2, 3)[:, :, : self.D] for i in range(2))
        return h1.contiguous(), h2.contiguous()

    def passed_on(self, h1: Tensor | None, h2: Tensor | None) -> tuple[Tensor, Tensor]:
        """Copies of states of a scan without steps, zeros for None."""
        zeros = torch.zeros((self.B, self.V, self.D, self.N), dtype=self.dtype)
        return zeros.clone() if h1 is None else h1.clone(), zeros if h2 is None else h2.clone()

    def parameters(self, alpha1, rho2, rho3, alpha4, options: Options) -> Tensor:
        """The rows that ``cpu.py`` documents, (n_blocks, N * rows + 2, lanes)."""
        from .._simd_math import LOG2_E
        from .cpu import ROWS

        alpha1, rho2, rho3, alpha4 = (t.numpy() for t in (alpha1, rho2, rho3, alpha4))
        by_channel = np.zeros((self.n_blocks * self.L, self.N * ROWS + 2), alpha1.dtype)
        with np.errstate(all="ignore"):  # what becomes inf or NaN is meant to
            rate1, rate4 = -LOG2_E * alpha1, -LOG2_E * alpha4
            if options.gates == "zoh":
                cross, rates = (rho2 * options.cross2, rho3 * options.cross3), ((rate1,), (rate4,))
            else:
                cross = -LOG2_E * rho2, -LOG2_E * rho3
                rates = (rate1, cross[0]), (cross[1], rate4)
            for i, row in enumerate((rate1, *cross, rate4, 1 / alpha1, 1 / alpha4)):
                by_channel[: self.D, i:-2:ROWS] = row
            for i, of_axis in enumerate(rates):
                by_channel[: self.D, i - 2] = np.abs(of_axis).max((0, 2))
        blocks = by_channel.reshape(self.n_blocks, self.L, -1).transpose(0, 2, 1)
        return torch.from_numpy(np.ascontiguousarray(blocks))

    def inputs(self, tensors: tuple[Tensor, ...], n_variates: Tensor, options: Options, interval: int) -> tuple:
        """The tensors that both kernels read of the cells, the parameters, and what kernels take after these two."""
        x, dt1, dt2, B1, B2, C1, C2, alpha1, rho2, rho3, alpha4, skip = tensors
        maps, step = self.maps(B1, B2, C1, C2)
        cells = (*(self.dense(t) for t in (x, dt1, dt2)), *maps, self.dense(skip))
        rates = (alpha1, alpha4) if options.gates == "zoh" else (alpha1, rho2, rho3, alpha4)
        n_rates = 1 if all(r.stride(1) == 0 for r in rates) else self.N  # 0 where (D, 1) was expanded
        factor = options.gate_scale
        choices = (
            None if options.gates == "zoh" else (factor, factor * options.cross2, factor * options.cross3),
            True if options.input_rule == "zoh" else None,
            n_variates.contiguous().numpy() if options.coupling == "pooled" else None,
            (self.T, self.V, self.n_blocks * self.L, self.N, n_rates, step),
            (self.V - 1, -1) if options.reverse_v else (0, 1),
            min(interval, self.T),
        )
        return cells, self.parameters(alpha1, rho2, rho3, alpha4, options), choices


def _addresses(tensors: Iterable[Tensor]) -> tuple[int, ...]:
    """Where the tensors lie; 0 for empty ones.  Whoever passes them on holds the tensors."""
    return tuple(t.data_ptr() for t in tensors)


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
    x, alpha1, skip = tensors[0], tensors[7], tensors[11]
    layout = _Layout(x, alpha1.shape[1])
    checkpoints = layout.empty(*checkpoint_shape(x, layout.N, interval))
    if not x.numel():
        last = layout.passed_on(h1, h2) if with_state else (x.new_empty(0), x.new_empty(0))
        return x * skip, *last, checkpoints
    from .cpu import forward as kernel

    states, y = layout.states(h1, h2, with_state), layout.per_channel()
    cells, parameters, choices = layout.inputs(tensors, n_variates, options, interval)
    _pool.run(
        kernel,
        layout.B * layout.n_blocks,
        _LIKE[x.dtype],
        _addresses((*cells, y)),
        parameters.data_ptr(),
        *choices,
        *_addresses((states, checkpoints)),
        grain=-(-_GRAIN_ELEMENTS // layout.elements_in_block),
    )
    last = layout.unpacked_states(states) if with_state else (x.new_empty(0), x.new_empty(0))
    return layout.unpadded(y), *last, checkpoints


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
    x, B1, alpha1 = tensors[0], tensors[3], tensors[7]
    layout = _Layout(x, alpha1.shape[1])
    if not x.numel():
        first = layout.passed_on(grad_h1, grad_h2) if with_state else (x.new_empty(0), x.new_empty(0))
        return *(torch.zeros_like(t) for t in tensors), *first
    from .cpu import ROWS
    from .cpu_backward import backward as kernel

    # Blocks of channels add to the same gradients of B and C.  One job takes them in turn, or, where that would leave
    # threads idle, each has a slab of its own, which NumPy adds up in the same order: the bits are the same.
    n_groups = 1 if len(x) >= 4 * torch.get_num_threads() else layout.n_blocks
    carries = layout.states(grad_h1, grad_h2, with_state)
    by_cell = [layout.per_channel() for _ in range(3)]
    slabs = layout.empty(n_groups, *B1.shape, 4)
    by_row = layout.empty(layout.B, layout.n_blocks, layout.N, ROWS, layout.L)
    by_skip = layout.empty(layout.B, layout.n_blocks * layout.L)
    cells, parameters, choices = layout.inputs(tensors, n_variates, options, interval)
    grad_y = layout.dense(grad_y)
    _pool.run(
        kernel,
        layout.B * n_groups,
        _LIKE[x.dtype],
        (*_addresses(cells), 0),
        _addresses((grad_y, *by_cell, slabs)),
        (n_groups, slabs[0].numel()),
        parameters.data_ptr(),
        *choices,
        *_addresses((checkpoints, carries, by_row, by_skip)),
        grain=-(-_GRAIN_ELEMENTS * n_groups // (layout.elements_in_block * layout.n_blocks)),
    )
    by_map = slabs[0] if n_groups == 1 else torch.from_numpy(slabs.numpy().sum(0))
    g1, g2, g3, g4 = torch.from_numpy(by_row.numpy().sum(0)).permute(2, 0, 3, 1).flatten(1, 2)[:4, : layout.D]
    if options.gates == "zoh":
        g2, g3 = g2 * options.cross2, g3 * options.cross3
    else:
        g2, g3 = -g2, -g3
    first = layout.unpacked_states(carries) if with_state else (x.new_empty(0), x.new_empty(0))
    return (
        *map(layout.unpadded, by_cell),
        *(g.contiguous() for g in by_map.unbind(-1)),
        *(g.contiguous() for g in (-g1, g2, g3, -g4)),
        torch.from_numpy(by_skip.numpy().sum(0))[: layout.D].contiguous(),
        *first,
    )
