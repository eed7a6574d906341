"""The registered torch operator ``torch.ops.tsmodels.affine_scan`` and its public function."""

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .._backend import LIBRARY, backend_for, check_shape, check_tensors, choose, kernel_module, refuse_lost_gradient
from .._linear_scan import linear_scan
from .ref import affine_scan_ref

_NAME = "affine_scan"
_DTYPES = (torch.float32, torch.float64)
# Private to torch and read once: without it torch.func raises, and nothing else changes.
_transforms_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
# ``adjoint`` is the scan of gradients, for a walk in the direction of ``reverse``, with a running ``carry`` that is the
# state at first:  s[t] = b[t] + carry,  carry = J[t]' s[t];  the second result is the last carry.
LIBRARY.define(f"{_NAME}(Tensor J, Tensor b, Tensor state, bool reverse, bool adjoint) -> (Tensor, Tensor)")


def _implementation(module):
    def forward(J, b, state, reverse, adjoint):
        refuse_lost_gradient(_NAME, J, b, state)
        return kernel_module(__package__, module).forward(J, b, state, reverse, adjoint)

    return forward


def _fake(J, b, state, reverse, adjoint):
    return b.new_empty(b.shape), state.new_empty(state.shape)


def _vmap(info, in_dims, J, b, state, reverse, adjoint):
    """The mapped axis folded into the batch."""
    folded = (
        (tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)).flatten(0, 1)
        for tensor, dim in zip((J, b, state), in_dims[:3], strict=True)
    )
    s, last = torch.ops.tsmodels.affine_scan(*folded, reverse, adjoint)
    return (s.unflatten(0, (info.batch_size, -1)), last.unflatten(0, (info.batch_size, -1))), (0, 0)


for _device, _module in (("CPU", "cpu_call"), ("CUDA", "cuda")):
    LIBRARY.impl(_NAME, _implementation(_module), _device)
torch.library.register_fake(f"tsmodels::{_NAME}", _fake, lib=LIBRARY)
torch.library.register_vmap(f"tsmodels::{_NAME}", _vmap, lib=LIBRARY)


def _save(ctx, inputs, output):
    J, _, state, ctx.reverse, ctx.adjoint = inputs
    ctx.save_for_backward(J, state, output[0])


class _Scan(torch.autograd.Function):
    """The scan and its adjoint are each other's gradient: differentiable to any order, without another kernel."""

    @staticmethod
    def forward(ctx, *args):
        output = torch.ops.tsmodels.affine_scan(*args)
        _save(ctx, args, output)
        return output

    @staticmethod
    def backward(ctx, grad_s, grad_last):
        J, state, s = ctx.saved_tensors
        reverse = not ctx.reverse
        grad_b, grad_state = _apply(J, grad_s, grad_last, reverse, not ctx.adjoint)
        grad_J = None
        if ctx.needs_input_grad[0]:
            if ctx.adjoint:
                gradients, before = s, _before(grad_b, grad_last, reverse)
            else:
                gradients, before = grad_b, _before(s, state, ctx.reverse)
            grad_J = gradients[..., :, None] * before[..., None, :]
        return grad_J, grad_b, grad_state, None, None


class _ScanTransforms(torch.autograd.Function):
    """The same in the form that ``torch.func`` and ``torch.vmap`` need, which costs a call more."""

    generate_vmap_rule = True

    @staticmethod
    def forward(*args):
        return torch.ops.tsmodels.affine_scan(*args)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _save(ctx, inputs, output)

    @staticmethod
    def backward(ctx, *grads):
        return _Scan.backward(ctx, *grads)


def _before(s: Tensor, state: Tensor, reverse: bool) -> Tensor:
    """s[t-1] for every t (reverse: s[t+1])."""
    return torch.cat([s[:, 1:], state[:, None]] if reverse else [state[:, None], s[:, :-1]], 1)[:, : s.shape[1]]


def _apply(*args) -> tuple[Tensor, Tensor]:
    if not torch.compiler.is_compiling() and _transforms_active():
        return _ScanTransforms.apply(*args)
    if torch.is_grad_enabled() or forward_ad._current_level >= 0:
        return _Scan.apply(*args)
    return torch.ops.tsmodels.affine_scan(*args)


def adjoint_scan(J: Tensor, grad: Tensor, *, backend: str) -> tuple[Tensor, Tensor]:
    """Gradients of ``b`` and ``state`` of a forward scan from that of its states ``s``; not differentiable."""
    none = grad.new_zeros(grad.shape[0], grad.shape[2])
    if backend_for(grad, backend) != "reference":
        return torch.ops.tsmodels.affine_scan(J, grad, none, True, True)
    later = torch.cat([J[:, 1:], torch.zeros_like(J[:, :1])], 1)[:, : J.shape[1]]
    adjoint, _ = affine_scan_ref(later.mT, grad, none, True)
    return adjoint, (J[:, 0].mT @ adjoint[:, 0, :, None])[..., 0] if J.shape[1] else none


def affine_scan(
    J: Tensor, b: Tensor, *, state: Tensor | None = None, reverse: bool = False, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """Linear recurrence of vectors along time: s[t] = J[t] s[t-1] + b[t], with a matrix for every step.

    With ``reverse=True``: s[t] = J[t] s[t+1] + b[t].  The adjoint is the scan in the other direction,
    λ[t] = g[t] + J[t+1]ᵀ λ[t+1], with ∂b = λ, ∂J = λ s[t-1]ᵀ and ∂state = J[0]ᵀ λ[0].

    Parameters
    ----------
    J : Tensor, shape (B, T, M, M) or (B, T, M)
        Matrices; of shape (B, T, M) the diagonals of matrices that have nothing else: then this is ``linear_scan``.
    b : Tensor, shape (B, T, M)
        Inputs: batch, time, units.  float32 or float64.
    state : Tensor, shape (B, M), optional
        s[-1] (reverse: s[T]); default zeros.
    reverse : bool, default=False
        Run backwards in time.
    backend : {"auto", "reference", "cpu", "cuda"}, default="auto"
        What computes it; ``"auto"`` follows the device, ``"reference"`` is the plain definition in torch.

    Returns
    -------
    s : Tensor, shape (B, T, M)
        All states.
    state : Tensor, shape (B, M)
        s[T-1] (reverse: s[0]); passing it on continues the sequence.

    Raises
    ------
    TypeError
        For tensors that are not float32 or float64, mixed dtypes or devices.
    ValueError
        For shapes that do not fit.
    NotImplementedError
        For devices without kernels.

    Notes
    -----
    Differentiable to any order, and under ``torch.func.grad``, ``torch.vmap`` and ``torch.compile``; forward mode
    raises for matrices.  T = 0 returns the state.  Matrices that are not contiguous are copied.

    On the CPU sequences of the batch are shared between threads.  On a GPU up to 32 units are scanned in chunks of
    time, all at once: each is reduced to one affine map, these are scanned in turn, and then every chunk runs from the
    state that enters it.  A product of matrices over a chunk that leaves the range of the dtype gives NaN there.

    Examples
    --------
    >>> import torch
    >>> from tsmodels_kernels import affine_scan
    >>> rotation = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).expand(1, 3, 2, 2)
    >>> s, last = affine_scan(rotation, torch.zeros(1, 3, 2), state=torch.tensor([[1.0, 0.0]]))
    >>> s[0]
    tensor([[ 0.,  1.],
            [-1.,  0.],
            [ 0., -1.]])
    """
    tensors = {"b": b, "J": J} | ({} if state is None else {"state": state})
    check_tensors(_NAME, tensors)
    if b.dtype not in _DTYPES:
        raise TypeError(f"{_NAME}: b has dtype {b.dtype}; convert it and the others to torch.float32 or float64")
    if b.ndim != 3:
        raise ValueError(f"{_NAME}: b must have shape (B, T, M), got {tuple(b.shape)}")
    B, T, M = b.shape
    if tuple(J.shape) not in ((B, T, M, M), (B, T, M)):
        raise ValueError(
            f"{_NAME}: J must have shape (B, T, M, M) = ({B}, {T}, {M}, {M}) or, of diagonals, (B, T, M); "
            f"got {tuple(J.shape)}"
        )
    if state is not None:
        check_shape(_NAME, "state", state, (B, M), "(B, M)")
    if J.ndim == 3:
        return linear_scan(J, b, state=state, reverse=reverse, backend=backend)
    entering = b.new_zeros(B, M) if state is None else state
    if choose(_NAME, b, backend) == "reference":
        return affine_scan_ref(J, b, entering, reverse)
    return _apply(J, b, entering, reverse, False)
