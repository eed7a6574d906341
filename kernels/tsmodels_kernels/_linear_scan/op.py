"""The registered torch operator ``torch.ops.tsmodels.linear_scan`` and its public function."""

import math

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .._backend import LIBRARY, check_shape, check_tensors, choose, computing_dtype, kernel_module, refuse_lost_gradient
from .layout import empty_states
from .ref import linear_scan_ref

_NAME = "linear_scan"
LIBRARY.define(f"{_NAME}(Tensor a, Tensor b, Tensor state, bool reverse) -> (Tensor, Tensor)")
LIBRARY.define(
    f"{_NAME}_backward(Tensor a, Tensor h, Tensor state, Tensor grad_h, Tensor grad_state, bool reverse, bool need_a)"
    " -> (Tensor, Tensor, Tensor)"
)
_COMPUTED = (torch.float32, torch.float64, torch.complex64, torch.complex128)
# Private to torch and read once: without them torch.func and forward mode raise, and nothing else changes.
_transforms_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)


def _implementation(module):
    def forward(a, b, state, reverse):
        refuse_lost_gradient(_NAME, a, b, state)
        return kernel_module(__package__, module).forward(a, b, state, reverse)

    def backward(*args):
        return kernel_module(__package__, module).backward(*args)

    return forward, backward


def _fake(a, b, state, reverse):
    return empty_states(b), state.new_empty(state.shape)


def _fake_backward(a, h, state, grad_h, grad_state, reverse, need_a):
    if not need_a:
        grad_a = a.new_empty(0)
    elif a.shape == h.shape:
        grad_a = empty_states(h)
    else:
        grad_a = a.new_empty(a.shape)
    return grad_a, empty_states(h), state.new_empty(state.shape)


def _fold(info, tensors, dims):
    """Batched tensors (batch first, shared ones repeated) with the mapped axis folded into the batch."""
    folded = []
    for tensor, dim in zip(tensors, dims, strict=True):
        mapped = tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        folded.append(mapped)
    n_cases = folded[1].shape[1]
    folded[0] = folded[0].expand(-1, n_cases, -1, -1)  # a gate shared by the batch is not shared by the mapped axis
    return [t.flatten(0, 1) for t in folded]


def _vmap(info, in_dims, a, b, state, reverse):
    h, last = torch.ops.tsmodels.linear_scan(*_fold(info, (a, b, state), in_dims[:3]), reverse)
    return (h.unflatten(0, (info.batch_size, -1)), last.unflatten(0, (info.batch_size, -1))), (0, 0)


def _vmap_backward(info, in_dims, a, h, state, grad_h, grad_state, reverse, need_a):
    shared = a.shape[0 if in_dims[0] is None else (1 if in_dims[0] == 0 else 0)] == 1
    folded = _fold(info, (a, h, state, grad_h, grad_state), in_dims[:5])
    grad_a, *others = torch.ops.tsmodels.linear_scan_backward(*folded, reverse, need_a)
    if not need_a:
        return (grad_a, *(g.unflatten(0, (info.batch_size, -1)) for g in others)), (None, 0, 0)
    grads = [g.unflatten(0, (info.batch_size, -1)) for g in (grad_a, *others)]
    if shared:
        grads[0] = grads[0].sum(1, keepdim=True)
    return tuple(grads), (0, 0, 0)


for _device, _module in (("CPU", "cpu_call"), ("CUDA", "cuda")):
    _forward, _backward = _implementation(_module)
    LIBRARY.impl(_NAME, _forward, _device)
    LIBRARY.impl(f"{_NAME}_backward", _backward, _device)
torch.library.register_fake(f"tsmodels::{_NAME}", _fake, lib=LIBRARY)
torch.library.register_fake(f"tsmodels::{_NAME}_backward", _fake_backward, lib=LIBRARY)
torch.library.register_vmap(f"tsmodels::{_NAME}", _vmap, lib=LIBRARY)
torch.library.register_vmap(f"tsmodels::{_NAME}_backward", _vmap_backward, lib=LIBRARY)


def _before(h: Tensor, state: Tensor, reverse: bool) -> Tensor:
    """h[t-1] for every t (reverse: h[t+1])."""
    return torch.cat([h[:, 1:], state[:, None]] if reverse else [state[:, None], h[:, :-1]], 1)


def _gradients(a, h, state, grad_h, grad_state, reverse, need_a):
    if not torch.is_grad_enabled():
        return torch.ops.tsmodels.linear_scan_backward(a, h, state, grad_h, grad_state, reverse, need_a)
    return _differentiable_gradients(a, h, state, grad_h, grad_state, reverse, need_a)


def _differentiable_gradients(a, h, state, grad_h, grad_state, reverse, need_a):
    """The adjoint as a scan in the other direction, so that it can be differentiated again."""
    if h.shape[1] == 0:
        return torch.zeros_like(a), grad_h, grad_state
    gate = a.conj().expand(a.shape[0], h.shape[1], a.shape[2])
    last = torch.ones_like(gate[:, :1])
    shifted = torch.cat([last, gate[:, :-1]] if reverse else [gate[:, 1:], last], 1)
    adjoint, _ = _apply(shifted, grad_h, grad_state, not reverse)
    grad_a = None
    if need_a:
        grad_a = (adjoint * _before(h, state, reverse).conj()).sum_to_size(a.shape)
    first = -1 if reverse else 0
    return grad_a, adjoint, gate[:, first] * adjoint[:, first]


class _Scan(torch.autograd.Function):
    """Reverse mode, in the form that ``torch.compile`` traces."""

    @staticmethod
    def forward(ctx, a, b, state, reverse):
        h, last = torch.ops.tsmodels.linear_scan(a, b, state, reverse)
        ctx.save_for_backward(a, h, state)
        ctx.reverse = reverse
        return h, last

    @staticmethod
    def backward(ctx, grad_h, grad_state):
        need_a = ctx.needs_input_grad[0]
        a, h, state = ctx.saved_tensors
        grad_a, *others = _gradients(a, h, state, grad_h, grad_state, ctx.reverse, need_a)
        return grad_a if need_a else None, *others, None


class _ScanTransforms(torch.autograd.Function):
    """The same with forward mode and a batching rule, in the form that ``torch.func`` needs."""

    @staticmethod
    def forward(a, b, state, reverse):
        return torch.ops.tsmodels.linear_scan(a, b, state, reverse)

    @staticmethod
    def setup_context(ctx, inputs, output):
        a, _, state, ctx.reverse = inputs
        ctx.save_for_backward(a, output[0], state)
        ctx.save_for_forward(a, output[0], state)

    @staticmethod
    def backward(ctx, *grads):
        return _Scan.backward(ctx, *grads)

    @staticmethod
    def jvp(ctx, da, db, dstate, _):
        a, h, state = ctx.saved_tensors
        return _apply(a, da * _before(h, state, ctx.reverse) + db, dstate, ctx.reverse)

    @staticmethod
    def vmap(info, in_dims, a, b, state, reverse):
        a, b, state = _fold(info, (a, b, state), in_dims[:3])
        h, last = _apply(a, b, state, reverse)
        return (h.unflatten(0, (info.batch_size, -1)), last.unflatten(0, (info.batch_size, -1))), (0, 0)


def _apply(a: Tensor, b: Tensor, state: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    if torch.compiler.is_compiling():
        return _Scan.apply(a, b, state, reverse)
    if _transforms_active() or forward_ad._current_level >= 0:
        return _ScanTransforms.apply(a, b, state, reverse)
    if torch.is_grad_enabled():
        return _Scan.apply(a, b, state, reverse)
    return torch.ops.tsmodels.linear_scan(a, b, state, reverse)


def linear_scan(
    a: Tensor, b: Tensor, *, state: Tensor | None = None, reverse: bool = False, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """Linear recurrence along time: h[t] = a[t] h[t-1] + b[t].

    With ``reverse=True``: h[t] = a[t] h[t+1] + b[t].  The adjoint is the scan in the other direction,
    λ[t] = g[t] + conj(a[t+1]) λ[t+1], with ∂b = λ, ∂a = λ conj(h[t-1]) and ∂state = conj(a[0]) λ[0].

    Parameters
    ----------
    a : Tensor, broadcastable to ``b``
        Gates.  Axes along which it is broadcast cost no memory for batch and time.  May be real where ``b`` is complex.
    b : Tensor, shape ``(B, T, *S)``
        Inputs: batch, time, any trailing shape.  float32, float64, complex64 or complex128; float16 and bfloat16 are
        computed in float32.
    state : Tensor, shape ``(B, *S)``, optional
        h[-1] (reverse: h[T]); default zeros.
    reverse : bool, default=False
        Run backwards in time.
    backend : {"auto", "reference", "cpu", "cuda"}, default="auto"
        What computes it; ``"auto"`` follows the device, ``"reference"`` is the plain definition in torch.

    Returns
    -------
    h : Tensor, shape ``(B, T, *S)``
        All states, in the dtype of ``b``.
    state : Tensor, shape ``(B, *S)``
        h[T-1] (reverse: h[0]); passing it on continues the sequence.  float32 for half inputs.

    Raises
    ------
    TypeError
        For integer tensors, mixed dtypes or devices, or a complex ``a`` with a real ``b``.
    ValueError
        For shapes that do not fit.
    NotImplementedError
        For devices without kernels.

    Notes
    -----
    Differentiable to any order, in forward mode and under ``torch.func`` and ``torch.compile``.  T = 0 returns the
    state.  ``torch.autocast`` changes nothing: the computation follows the dtype of the inputs.

    On the CPU no layout of ``b`` with contiguous channels or contiguous time is copied; ``h`` of a real ``b`` with
    contiguous time, ``(B, *S, T)`` in memory, has contiguous time too.

    Examples
    --------
    >>> import torch
    >>> from tsmodels_kernels import linear_scan
    >>> h, last = linear_scan(torch.tensor(0.5), torch.ones(1, 4, 1))
    >>> h[0, :, 0]
    tensor([1.0000, 1.5000, 1.7500, 1.8750])
    """
    if not _uniform(a, b, state):
        return _mixed(a, b, state, reverse, backend)
    return _scan(a, b, state, reverse, backend)


def _scan(a: Tensor, b: Tensor, state: Tensor | None, reverse: bool, backend: str) -> tuple[Tensor, Tensor]:
    B, T, *S = _checked_shape(a, b, state)
    if choose(_NAME, b, backend) == "reference":
        state = b.new_zeros((B, *S)) if state is None else state
        return linear_scan_ref(_aligned(a, b).expand(b.shape), b, state, reverse)
    D = math.prod(S)
    rows, terms, entering = _rows(a, b, D), b, state
    if b.ndim != 3:
        terms = b.reshape(B, T, D)
        entering = None if state is None else state.reshape(B, D)
    if entering is None:
        entering = b.new_zeros((B, D), dtype=computing_dtype(b.dtype))
    h, last = _apply(rows, terms, entering, reverse)
    return (h, last) if b.ndim == 3 else (h.view(b.shape), last.view(B, *S))


def _uniform(a, b, state) -> bool:
    """Whether all are tensors of one dtype to compute in, on one device."""
    if not (isinstance(b, Tensor) and isinstance(a, Tensor)) or (state is not None and not isinstance(state, Tensor)):
        return False
    dtype, device = b.dtype, b.device
    if dtype not in _COMPUTED or a.dtype != dtype or a.device != device:
        return False
    return state is None or (state.dtype == dtype and state.device == device)


def _mixed(a, b, state, reverse, backend) -> tuple[Tensor, Tensor]:
    """Half precision, computed in float32; real gates of complex inputs; anything else is an error."""
    check_tensors(_NAME, {"b": b}, allow_complex=True)
    if isinstance(a, Tensor) and b.is_complex() and not a.is_complex():
        return _real_gate(a, b, state, reverse, backend)
    check_tensors(_NAME, {"b": b, "a": a}, allow_complex=True)
    dtype = computing_dtype(b.dtype)
    if isinstance(state, Tensor) and state.dtype == b.dtype:
        state = state.to(dtype)
    computed = {"b": b.to(dtype), "a": a.to(dtype)}
    check_tensors(_NAME, computed if state is None else {**computed, "state": state}, allow_complex=True)
    if choose(_NAME, b, backend) == "cuda":  # these kernels read and write half precision themselves
        return _scan(a, b, state, reverse, backend)
    h, last = _scan(computed["a"], computed["b"], state, reverse, backend)
    return h.to(b.dtype), last


def _checked_shape(a: Tensor, b: Tensor, state: Tensor | None) -> torch.Size:
    """The shape of ``b``, which the others fit."""
    shape = b.shape
    if len(shape) < 2:
        raise ValueError(f"{_NAME}: b must have at least 2 axes (B, T, ...), got shape {tuple(shape)}")
    if a.shape != shape:
        missing = len(shape) - a.ndim
        if missing < 0 or any(m not in (1, n) for m, n in zip(a.shape, shape[missing:], strict=True)):
            raise ValueError(f"{_NAME}: a of shape {tuple(a.shape)} does not broadcast to b of shape {tuple(shape)}")
    if state is not None:
        check_shape(_NAME, "state", state, (shape[0], *shape[2:]), "(B, *S)")
    return shape


def _aligned(a: Tensor, b: Tensor) -> Tensor:
    """``a`` with as many axes as ``b``."""
    return a if a.ndim == b.ndim else a.reshape((1,) * (b.ndim - a.ndim) + a.shape)


def _rows(a: Tensor, b: Tensor, D: int) -> Tensor:
    """Gates (1 or B, 1 or T, D): repeated along the trailing axes, never over batch and time."""
    a = _aligned(a, b)
    n_cases, n_steps, *trailing = a.shape
    if trailing != list(b.shape[2:]):
        a = a.expand(n_cases, n_steps, *b.shape[2:])
    return a if b.ndim == 3 else a.reshape(n_cases, n_steps, D)


def _real_gate(a, b, state, reverse, backend) -> tuple[Tensor, Tensor]:
    """A real gate acts on real and imaginary part alike: two more real channels."""
    if state is not None:
        check_tensors(_NAME, {"b": b, "state": state}, allow_complex=True)
        state = torch.view_as_real(state.resolve_conj())
    parts = torch.view_as_real(b.resolve_conj())
    h, last = linear_scan(a.unsqueeze(-1), parts, state=state, reverse=reverse, backend=backend)
    return torch.view_as_complex(h), torch.view_as_complex(last)
