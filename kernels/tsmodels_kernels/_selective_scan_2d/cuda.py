"""Launches of the two-axis scan's CUDA kernels, with the signatures of the raw operators.

Half precision is read and written as it is and computed in float32: parameters, states and checkpoints are float32
then.  The intermediate sums of a kernel, over slices of the states and blocks of channels, are added up by torch in a
fixed order.
"""

import torch
from torch import Tensor

from .._backend import computing_dtype
from .._cuda import WARP, multiprocessors
from .cpu_call import checkpoint_shape
from .cuda_backward import retreat
from .cuda_forward import sweep
from .cuda_parts import Kind, warps_for, width_for
from .options import Options

_NAMES = 12  # tensors before the states
# Two backward blocks fit a multiprocessor; more blocks would only need more working memory.
_BLOCKS_EACH = 2


class _Plan:
    """Sizes of one call, its kernels' constants and launch."""

    def __init__(self, x: Tensor, N: int, options: Options):
        self.B, self.T, self.V, self.D = x.shape
        self.N, self.dtype = N, computing_dtype(x.dtype)
        self.warps = warps_for(self.dtype, N)
        self.n_slices, self.n_blocks = -(-N // self.warps), -(-self.D // WARP)
        self.jobs = self.B * self.n_blocks * self.n_slices
        out_dtype = x.dtype if self.n_slices == 1 and options.coupling != "pooled" else self.dtype
        width = width_for(self.V, options)
        self.kind = Kind(x.dtype, out_dtype, *options[:3], width, self.warps)
        self.block = (WARP, self.warps)

    def sizes(self, interval, options: Options, has_state: bool, with_state: bool) -> tuple[int, ...]:
        flags = (options.reverse_v, has_state, with_state)
        return self.B * self.T * self.V, self.T, self.V, self.D, self.N, interval, *(int(flag) for flag in flags)


def _dense(*tensors: Tensor) -> list[Tensor]:
    return [t.contiguous() for t in tensors]


def _summed(partial: Tensor, dtype: torch.dtype) -> Tensor:
    """Sum over the first axis."""
    return (partial[0] if partial.shape[0] == 1 else partial.sum(0)).to(dtype)


def _passed_on(h: Tensor | None, like: Tensor, shape: tuple[int, ...]) -> Tensor:
    return like.new_zeros(shape) if h is None else h.clone(memory_format=torch.contiguous_format)


def forward(*args) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``y``, the last ``h1, h2`` (empty without ``with_state``), column states every ``interval`` steps (0: none).

    The column states are laid out for ``backward`` alone, at the front of as much memory as the CPU's take.
    """
    tensors, (h1, h2, n_variates, *choices, interval, with_state) = args[:_NAMES], args[_NAMES:]
    options = Options(*choices)
    x, alpha1, skip = tensors[0], tensors[7], tensors[11]
    N = alpha1.shape[1]
    plan = _Plan(x, N, options)
    shape = (plan.B, plan.V, plan.D, N)
    checkpoints = alpha1.new_empty(checkpoint_shape(x, N, interval))
    if not x.numel():
        last = [_passed_on(h, alpha1, shape) if with_state else alpha1.new_empty(0) for h in (h1, h2)]
        return (x * skip).to(x.dtype), last[0], last[1], checkpoints
    last = [alpha1.new_empty(shape if with_state else 0) for _ in range(2)]
    y = x.new_empty((plan.n_slices, *x.shape), dtype=plan.kind.out_dtype)
    places = 0 if plan.kind.width else plan.V
    states = alpha1.new_empty(plan.jobs * places * 2 * WARP * plan.warps)
    has_state = h1 is not None
    entering = _dense(h1, h2) if has_state else last
    sizes = plan.sizes(min(interval, plan.T), options, has_state, with_state)
    sweep.launch(
        plan.kind, (plan.jobs,), plan.block, *_dense(*tensors), *entering, n_variates, y, *last, checkpoints, states,
        *sizes,
    )  # fmt: skip
    return _summed(y, x.dtype), last[0], last[1], checkpoints


def backward(*args) -> tuple[Tensor, ...]:
    """Gradients of the tensors, in their order, and of the first states (empty without ``with_state``)."""
    tensors, (_, _, n_variates, *choices, interval, with_state, checkpoints, grad_y, grad_h1, grad_h2) = (
        args[:_NAMES],
        args[_NAMES:],
    )
    options = Options(*choices)
    x, alpha1 = tensors[0], tensors[7]
    N = alpha1.shape[1]
    plan = _Plan(x, N, options)
    shape = (plan.B, plan.V, plan.D, N)
    if not x.numel():
        first = [_passed_on(g, alpha1, shape) if with_state else alpha1.new_empty(0) for g in (grad_h1, grad_h2)]
        return *(torch.zeros_like(t, memory_format=torch.contiguous_format) for t in tensors), *first
    interval = min(interval, plan.T)
    first = [alpha1.new_empty(shape if with_state else 0) for _ in range(2)]
    planes = [plan.n_slices * (2 if plan.kind.pooled else 1), plan.n_slices, plan.n_slices]
    by_cell = [x.new_empty((n, *x.shape), dtype=plan.kind.out_dtype) for n in planes]
    by_map = alpha1.new_empty((plan.n_blocks, 4, plan.B, plan.T, plan.V, N))
    by_parameter = alpha1.new_empty((plan.B, 4, plan.D, N))
    by_skip = alpha1.new_empty((plan.B, plan.D))
    grid = min(plan.jobs, _BLOCKS_EACH * multiprocessors(x))
    spare = alpha1.new_empty(grid * ((interval + 1) * (2 * plan.V + 1) + 2 * plan.V) * WARP * plan.warps)
    has_state = grad_h1 is not None or grad_h2 is not None
    if has_state:
        entering = [alpha1.new_zeros(shape) if g is None else g.contiguous() for g in (grad_h1, grad_h2)]
    else:
        entering = first
    *inputs, skip = _dense(*tensors)
    sizes = plan.sizes(interval, options, has_state, with_state)
    retreat.launch(
        plan.kind, (grid,), plan.block, *inputs[:7], grad_y.contiguous(), *inputs[7:], skip, checkpoints, *entering,
        n_variates, *by_cell, by_map, by_parameter, by_skip, *first, spare, plan.jobs, *sizes,
    )  # fmt: skip
    cells = [_summed(partial, x.dtype) for partial in by_cell]
    maps = [g.contiguous() for g in _summed(by_map, x.dtype).unbind(0)]
    parameters = [g.contiguous() for g in _summed(by_parameter, plan.dtype).unbind(0)]
    return *cells, *maps, *parameters, _summed(by_skip, plan.dtype), *first
