"""The registered torch operator ``torch.ops.tsmodels.selective_scan`` and its public function."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .._autograd import FirstOrderOnly
from .._backend import LIBRARY, check_shape, check_tensors, choose, computing_dtype, kernel_module, refuse_lost_gradient
from .ref import selective_scan_ref

CHUNK = 32  # steps between the states that are kept for the backward, on every device

_NAME = "selective_scan"
# B and C are (B, T, N) or (B, T, G, N)
_INPUTS = "Tensor x, Tensor dt, Tensor A, Tensor B, Tensor C, Tensor? D, Tensor? z, Tensor? dt_bias, Tensor? state"  # 9
_N_INPUTS = 9
_AXES = {"dt": "(B, T, D)", "C": "of B", "z": "(B, T, D)", "D": "(D,)", "dt_bias": "(D,)", "state": "(B, D, N)"}
_WIDE = ("A", "D", "dt_bias", "state")  # float32 beside half-precision data
# Private to torch and read once: without it torch.func raises, and nothing else changes.
_transforms_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
LIBRARY.define(f"{_NAME}({_INPUTS}, bool dt_softplus, bool reverse, bool keep) -> (Tensor, Tensor, Tensor)")
LIBRARY.define(
    f"{_NAME}_backward(Tensor grad_y, Tensor grad_state, {_INPUTS}, Tensor checkpoints, bool dt_softplus, bool reverse)"
    f" -> ({', '.join(['Tensor'] * _N_INPUTS)})"
)


def _grouped(x, dt, A, B, C, *others):
    """Arguments of the operator with an axis of groups in B and C."""
    return x, dt, A, *(m.unsqueeze(2) if m.ndim == 3 else m for m in (B, C)), *others


def _cpu(*args):
    refuse_lost_gradient(_NAME, *(t for t in args[:_N_INPUTS] if t is not None))
    return kernel_module(__package__, "cpu_call").forward(*args)


def _cpu_backward(*args):
    return kernel_module(__package__, "cpu_call").backward(*args)


def _cuda(*args):
    refuse_lost_gradient(_NAME, *(t for t in args[:_N_INPUTS] if t is not None))
    return kernel_module(__package__, "cuda").forward(*_grouped(*args))


def _cuda_backward(grad_y, grad_state, *args):
    grads = list(kernel_module(__package__, "cuda").backward(grad_y, grad_state, *_grouped(*args)))
    for k in (3, 4):  # B, C
        grads[k] = grads[k].view(args[k].shape)
    return tuple(grads)


def checkpoint_shape(x: Tensor, A: Tensor, keep: bool) -> tuple[int, ...]:
    """Shape of the states before each chunk of steps; nothing without ``keep``."""
    B, T, D = x.shape
    return (B, -(-T // CHUNK), A.shape[1], D) if keep else (0,)


def _fake(x, dt, A, B, C, D, z, dt_bias, state, dt_softplus, reverse, keep):
    last = A.new_empty((x.shape[0], *A.shape))
    return x.new_empty(x.shape), last, A.new_empty(checkpoint_shape(x, A, keep))


def _fake_backward(grad_y, grad_state, *args):
    x = args[0]
    return tuple(x.new_empty(0) if t is None else t.new_empty(t.shape) for t in args[:_N_INPUTS])


LIBRARY.impl(_NAME, _cpu, "CPU")
LIBRARY.impl(f"{_NAME}_backward", _cpu_backward, "CPU")
LIBRARY.impl(_NAME, _cuda, "CUDA")
LIBRARY.impl(f"{_NAME}_backward", _cuda_backward, "CUDA")
torch.library.register_fake(f"tsmodels::{_NAME}", _fake, lib=LIBRARY)
torch.library.register_fake(f"tsmodels::{_NAME}_backward", _fake_backward, lib=LIBRARY)


def _save(ctx, inputs, checkpoints):
    ctx.save_for_backward(*inputs[:_N_INPUTS], checkpoints)
    ctx.options = inputs[_N_INPUTS:]
    ctx.mark_non_differentiable(checkpoints)
    ctx.set_materialize_grads(False)


class _Scan(torch.autograd.Function):
    """First-order gradients; a second derivative raises, and so does forward mode."""

    @staticmethod
    def forward(ctx, *args):
        outputs = torch.ops.tsmodels.selective_scan(*args, True)
        _save(ctx, args, outputs[2])
        return outputs

    @staticmethod
    def backward(ctx, grad_y, grad_state, _):
        *inputs, checkpoints = ctx.saved_tensors
        x, A = inputs[0], inputs[2]
        if grad_y is None:
            grad_y = torch.zeros_like(x)
        if grad_state is None:
            grad_state = A.new_zeros((x.shape[0], *A.shape))
        args = grad_y, grad_state, *inputs, checkpoints, *ctx.options
        if torch.is_grad_enabled():  # only under create_graph
            with torch.no_grad():
                grads = torch.ops.tsmodels.selective_scan_backward(*args)
            grads = FirstOrderOnly.apply(_NAME, _N_INPUTS, *grads, *inputs, grad_y, grad_state)
        else:
            grads = torch.ops.tsmodels.selective_scan_backward(*args)
        wanted = (g if need else None for g, need in zip(grads, ctx.needs_input_grad, strict=False))
        return *wanted, None, None


class _ScanTransforms(torch.autograd.Function):
    """The same in the form that ``torch.func`` and ``torch.vmap`` need, which costs a call more."""

    generate_vmap_rule = True  # torch loops over the mapped axis

    @staticmethod
    def forward(*args):
        return torch.ops.tsmodels.selective_scan(*args, True)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _save(ctx, inputs, output[2])

    @staticmethod
    def backward(ctx, *grads):
        return _Scan.backward(ctx, *grads)


def _apply(*args) -> tuple[Tensor, Tensor]:
    if not torch.compiler.is_compiling() and _transforms_active():
        return _ScanTransforms.apply(*args)[:2]
    if torch.is_grad_enabled() or forward_ad._current_level >= 0:
        return _Scan.apply(*args)[:2]
    return torch.ops.tsmodels.selective_scan(*args, False)[:2]


def selective_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    state: Tensor | None = None,
    reverse: bool = False,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """Selective state space scan: a diagonal linear recurrence whose step size, input and output depend on time.

    With δ = dt + dt_bias, or softplus of that, for every channel d and state n::

        h[t,n] = exp(δ[t] A[n]) h[t-1,n] + δ[t] x[t] B[t,n]
        y[t]   = (Σ_n C[t,n] h[t,n] + D x[t]) silu(z[t])

    Parameters
    ----------
    x : Tensor, shape (B, T, D)
        Input: batch, time, channel.
    dt : Tensor, shape (B, T, D)
        Step sizes, positive after bias and softplus.
    A : Tensor, shape (D, N)
        Real decay rates, negative for a stable recurrence.
    B, C : Tensor, shape (B, T, N) or (B, T, G, N)
        Input and output maps, shared by all channels or by each of G groups of D / G neighbouring channels.
    D : Tensor, shape (D,), optional
        Weight of the input itself in the output; default none.
    z : Tensor, shape (B, T, D), optional
        Gate: the output is multiplied by silu(z) = z sigmoid(z).
    dt_bias : Tensor, shape (D,), optional
        Added to ``dt``.
    dt_softplus : bool, default=False
        Whether the step size is the softplus of what ``dt`` and ``dt_bias`` give.
    state : Tensor, shape (B, D, N), optional
        h before the first step (reverse: after the last); default zeros.  Differentiable.
    reverse : bool, default=False
        Run backwards in time.
    backend : {"auto", "reference", "cpu", "cuda"}, default="auto"
        What computes it; ``"auto"`` follows the device, ``"reference"`` is the plain definition in torch.

    Returns
    -------
    y : Tensor, shape (B, T, D)
        Output in the dtype of ``x``.
    state : Tensor, shape (B, D, N)
        h after the last step (reverse: the first): passing it on continues the sequence.

    Raises
    ------
    TypeError
        For integer or complex tensors, mixed dtypes or devices.
    ValueError
        For shapes that do not fit or a backend that cannot run.
    NotImplementedError
        For devices without kernels.

    Notes
    -----
    float32 and float64; with float16 and bfloat16 all arithmetic and the returned state are float32, and ``A``, ``D``,
    ``dt_bias`` and ``state`` may be float32 already.  ``torch.autocast`` changes nothing: the computation follows the
    dtype of the inputs.  Gradients are first order only: a second derivative or forward mode raises.  ``torch.vmap``
    loops over the mapped axis.  T = 0 returns the state.  float32 gates stay within [2**-126, 2**126] on the CPU; on a
    GPU those below become 0.

    The states themselves are never stored: the forward keeps one of every 32 for the backward, which recomputes those
    in between.  The recurrence is that of Gu and Dao (arXiv 2312.00752), with their Euler rule for B; a state in and
    out and both their gradients are additions.

    Examples
    --------
    >>> import torch
    >>> from tsmodels_kernels import selective_scan
    >>> x, dt, B = torch.randn(2, 10, 8), torch.randn(2, 10, 8), torch.randn(2, 10, 4)
    >>> y, state = selective_scan(x, dt, -torch.ones(8, 4), B, B, dt_softplus=True)
    >>> y.shape, state.shape
    (torch.Size([2, 10, 8]), torch.Size([2, 8, 4]))
    """
    optional = {"D": D, "z": z, "dt_bias": dt_bias, "state": state}
    tensors = {"x": x, "dt": dt, "A": A, "B": B, "C": C} | {k: t for k, t in optional.items() if t is not None}
    dtype = _check_dtypes(tensors)
    _check_shapes(tensors)
    if dtype != x.dtype:
        A = A.to(dtype)
        D, dt_bias, state = (t if t is None else t.to(dtype) for t in (D, dt_bias, state))
    inputs = (x, dt, A, B, C, D, z, dt_bias, state)
    if choose(_NAME, x, backend) == "reference":
        wide: list[Any] = [t if t is None else t.to(dtype) for t in _grouped(*inputs)]
        y, last = selective_scan_ref(*wide, dt_softplus=dt_softplus, reverse=reverse)
        return y.to(x.dtype), last
    return _apply(*inputs, dt_softplus, reverse)


def _check_dtypes(tensors: dict[str, Tensor]) -> torch.dtype:
    """The dtype of the arithmetic; beside half precision, what is not stored per step may be in it already."""
    x = tensors["x"]
    check_tensors(_NAME, {"x": x})
    dtype = computing_dtype(x.dtype)
    wide: dict[str, Tensor] = {}
    if dtype != x.dtype:
        wide = {k: t for k, t in tensors.items() if k in _WIDE and getattr(t, "dtype", None) == dtype}
        check_tensors(_NAME, {"x": x.new_empty(0, dtype=dtype)} | wide)
    stored = {name: t for name, t in tensors.items() if name not in wide} if wide else tensors
    if not _alike(x, stored):
        check_tensors(_NAME, stored)  # says which is not
    return dtype


def _alike(x: Tensor, tensors: dict[str, Tensor]) -> bool:
    """Whether all have dtype and device of ``x``: most calls need no longer look."""
    kind = x.dtype, x.device
    return all(isinstance(t, Tensor) and (t.dtype, t.device) == kind for t in tensors.values())


def _check_shapes(tensors: dict[str, Tensor]) -> None:
    x, A, B = tensors["x"], tensors["A"], tensors["B"]
    if x.ndim != 3:
        raise ValueError(f"{_NAME}: x must have 3 axes (B, T, D), got shape {tuple(x.shape)}")
    n_cases, T, D = x.shape
    if A.ndim != 2 or A.shape[0] != D or A.shape[1] < 1:
        raise ValueError(f"{_NAME}: A must have shape (D, N) with D = {D} and N >= 1, got {tuple(A.shape)}")
    N, G = A.shape[1], B.shape[2] if B.ndim == 4 else 1
    if B.shape not in ((n_cases, T, N), (n_cases, T, G, N)):
        raise ValueError(
            f"{_NAME}: B must have shape (B, T, N) = {(n_cases, T, N)} or (B, T, G, N), got {tuple(B.shape)}"
        )
    if G < 1 or D % G:
        raise ValueError(f"{_NAME}: B has {G} groups, which do not divide the {D} channels of x evenly")
    shapes = {"dt": x.shape, "C": B.shape, "z": x.shape, "D": (D,), "dt_bias": (D,), "state": (n_cases, D, N)}
    for name, tensor in tensors.items():
        if name in _AXES and tensor.shape != shapes[name]:
            check_shape(_NAME, name, tensor, tuple(shapes[name]), _AXES[name])
