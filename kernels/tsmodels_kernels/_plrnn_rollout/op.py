"""The registered torch operator ``torch.ops.tsmodels.plrnn_rollout`` and its public function."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import Parameter

from .._autograd import FirstOrderOnly
from .._backend import (
    LIBRARY,
    VECTOR_BYTES,
    check_shape,
    choose,
    kernel_module,
    refuse_lost_gradient,
)
from .cells import CELLS, check_dtypes, check_shapes, checked_names, checked_relu
from .ref import plrnn_rollout_ref

_NAME = "plrnn_rollout"
SOLVERS = ("auto", "sequential", "newton")
# Private to torch and read once: without the first torch.func raises, without the second calls take longer.
_transforms_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
_n_dispatch_modes = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 1)
_PLAIN = (Tensor, Parameter)
_MOST_SIGNATURES = 1024
_accepted: set[tuple] = set()  # signatures of arguments that passed the checks
_FORCING = "Tensor alpha, Tensor mask, Tensor? s"
_PARAMETERS = "Tensor A, Tensor W, Tensor h, Tensor? inner, Tensor? offset, Tensor? C, int n_relu"  # see cells.py
LIBRARY.define(f"{_NAME}(str cell, Tensor z0, Tensor d, {_FORCING}, {_PARAMETERS}, bool keep) -> (Tensor, Tensor)")
LIBRARY.define(
    f"{_NAME}_backward(str cell, Tensor grad, {_FORCING}, {_PARAMETERS}, Tensor forced)"
    f" -> ({', '.join(['Tensor'] * 8)})"
)


def forced_shape(d: Tensor, keep: bool) -> tuple[int, ...]:
    """Shape of the forced states kept for the backward; nothing without ``keep``.

    On the CPU they are vectors over sequences, (groups, T, M, lanes); elsewhere (B, T, M).
    """
    if not keep:
        return (0,)
    B, T, M = d.shape
    L = VECTOR_BYTES // d.dtype.itemsize
    return (-(-B // L), T, M, L) if d.is_cpu else (B, T, M)


def _implementation(module):
    def forward(cell, z0, d, alpha, mask, s, *parameters_and_keep):
        *tensors, _, _ = parameters_and_keep
        refuse_lost_gradient(_NAME, z0, *(t for t in (s, *tensors) if t is not None))
        return kernel_module(__package__, module).forward(cell, z0, d, alpha, mask, s, *parameters_and_keep)

    def backward(*args):
        found = kernel_module(__package__, module).backward(*args)
        return tuple(args[1].new_empty(0) if g is None else g for g in found)  # an operator returns tensors

    return forward, backward


def _fake(cell, z0, d, alpha, mask, s, A, W, h, inner, offset, C, n_relu, keep):
    return d.new_empty(d.shape), d.new_empty(forced_shape(d, keep))


def _fake_backward(cell, grad, alpha, mask, s, A, W, h, inner, offset, C, n_relu, forced):
    by_z0 = grad.new_empty((grad.shape[0], grad.shape[2]))
    tensors = (s, A, W, h, inner, offset, C)
    return by_z0, *(grad.new_empty(0) if t is None else t.new_empty(t.shape) for t in tensors)


for _device, _module in (("CPU", "cpu_call"), ("CUDA", "cuda")):
    _forward, _backward = _implementation(_module)
    LIBRARY.impl(_NAME, _forward, _device)
    LIBRARY.impl(f"{_NAME}_backward", _backward, _device)
torch.library.register_fake(f"tsmodels::{_NAME}", _fake, lib=LIBRARY)
torch.library.register_fake(f"tsmodels::{_NAME}_backward", _fake_backward, lib=LIBRARY)


def _direct(args) -> bool:
    """Whether the dispatcher would do nothing but call the CPU kernels, which a short call can do without."""
    if torch.compiler.is_compiling() or _transforms_active() or _n_dispatch_modes():
        return False
    tensors = [a for a in args if isinstance(a, Tensor)]
    return all(type(t) in _PLAIN and t.is_cpu and not t.is_neg() for t in tensors)


def _rolled(*args) -> tuple[Tensor, Tensor]:
    if _direct(args):
        return kernel_module(__package__, "cpu_call").forward(*args)
    return torch.ops.tsmodels.plrnn_rollout(*args)


def _gradients(*args) -> tuple[Tensor | None, ...]:
    if _direct(args):
        return kernel_module(__package__, "cpu_call").backward(*args)
    return torch.ops.tsmodels.plrnn_rollout_backward(*args)


def _save(ctx, inputs, forced):
    cell, z0, _, *tensors, n_relu, _ = inputs
    ctx.save_for_backward(z0, *tensors, forced)
    ctx.cell, ctx.n_relu = cell, n_relu


class _Rollout(torch.autograd.Function):
    """First-order gradients; a second derivative raises, and so does forward mode."""

    @staticmethod
    def forward(ctx, *args):
        Z, forced = _rolled(*args)
        _save(ctx, args, forced)
        return Z

    @staticmethod
    def backward(ctx, *grads):
        z0, *tensors, forced = ctx.saved_tensors
        args = ctx.cell, grads[0], *tensors, ctx.n_relu, forced
        if torch.is_grad_enabled():  # only under create_graph
            with torch.no_grad():
                found = torch.ops.tsmodels.plrnn_rollout_backward(*args)
            found = FirstOrderOnly.apply(_NAME, len(found), *found, z0, *tensors, grads[0])
        else:
            found = _gradients(*args)
        by_z0, *others = found
        by_input = (None, by_z0, None, None, None, *others)
        wanted = [g if need else None for g, need in zip(by_input, ctx.needs_input_grad, strict=False)]
        return *wanted, None, None


class _RolloutTransforms(torch.autograd.Function):
    """The same in the form that ``torch.func`` and ``torch.vmap`` need, which costs a call more."""

    generate_vmap_rule = True  # torch loops over the mapped axis

    @staticmethod
    def forward(*args):
        return torch.ops.tsmodels.plrnn_rollout(*args)

    @staticmethod
    def setup_context(ctx, inputs, output):
        _save(ctx, inputs, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx, *grads):
        return _Rollout.backward(ctx, *grads)


def _apply(*args) -> Tensor:
    if not torch.compiler.is_compiling() and _transforms_active():
        return _RolloutTransforms.apply(*args, True)[0]
    if torch.is_grad_enabled() or forward_ad._current_level >= 0:
        return _Rollout.apply(*args, True)
    return _rolled(*args, False)[0]


def plrnn_rollout(
    cell: str,
    theta: Mapping[str, Tensor],
    z0: Tensor,
    d: Tensor,
    alpha: float | Tensor,
    mask: Tensor | None = None,
    s: Tensor | None = None,
    *,
    n_relu: int | None = None,
    solver: str = "auto",
    backend: str = "auto",
) -> Tensor:
    """Run a piecewise-linear recurrent network through time, pulled towards a forcing signal.

    With zf[0] = z0, for t = 1, ..., T::

        z[t]  = F(zf[t-1], s[t])                                F(z, s) = A z + W g(z) + h + C s
        zf[t] = z[t] + alpha[t] mask (d[t] - z[t])

    The result is z[1], ..., z[T], the states before forcing.  ``alpha = 1`` gives predictions of one step, an
    ``alpha`` that is 1 at every τ-th step and else 0 sparse teacher forcing, 0 a free run.

    Parameters
    ----------
    cell : {"plrnn", "mcplrnn", "shplrnn", "cshplrnn", "dendplrnn", "cdendplrnn", "alrnn"}
        The map.  With φ = max(0, .):

        * ``"plrnn"``: g(z) = φ(z); ``"mcplrnn"``: g(z) = φ(z - mean of z);
        * ``"shplrnn"``: g(z) = φ(W2 z + h2); ``"cshplrnn"``: g(z) = φ(W2 z + h2) - φ(W2 z);
        * ``"dendplrnn"``: g_i(z) = Σ_b a_b φ(z_i - H_ib); ``"cdendplrnn"``: Σ_b a_b (φ(z_i - H_ib) - φ(z_i));
        * ``"alrnn"``: g(z) = z with φ applied to the last ``n_relu`` units.
    theta : mapping of str to Tensor
        ``A`` (M,) always, the diagonal as a vector.  Shallow cells: ``W1`` (M, H) in the place of W, ``h1`` (M,) in
        that of h, ``W2`` (H, M), ``h2`` (H,).  All others: ``W`` (M, M), ``h`` (M,).  Dendritic cells also: ``a`` (n,)
        and the thresholds ``H`` (M, n).  ``C`` (M, S) with external inputs and only then.  The diagonal of ``W`` is
        used, and has a gradient, like all of it: where it should be zero, the caller keeps it so.
    z0 : Tensor, shape (B, M)
        First states.
    d : Tensor, shape (B, T, M)
        Forcing signal.  Treated as constant: no gradient flows into it.  d[:, -1] is not used.
    alpha : float or Tensor, shape () or (T,)
        Strength of the forcing, for all steps or for each.  Treated as constant.
    mask : Tensor, shape (M,), optional
        1 for units that are forced and 0 for others, of any dtype; default all.  Treated as constant.
    s : Tensor, shape (B, T, S), optional
        External inputs; s[:, t] enters the step that produces the t-th state of the result.
    n_relu : int, optional
        Number of units with a ReLU, 0 to M; for ``cell="alrnn"``, which needs it, and only for it.
    solver : {"auto", "sequential", "newton"}, default="auto"
        One step after the other, or all steps at once by Newton's method (:func:`plrnn_newton`).  ``"auto"`` is the
        former on a CPU; on a GPU the latter for shallow cells whose units, few of them, are all forced for many steps.
    backend : {"auto", "reference", "cpu", "cuda"}, default="auto"
        What computes it; ``"auto"`` follows the device (``backend_for`` says which), ``"reference"`` is the plain
        definition in torch, on any device.

    Returns
    -------
    Tensor, shape (B, T, M)
        The states before forcing.

    Raises
    ------
    TypeError
        For tensors that are not float32 or float64, mixed dtypes or devices.
    ValueError
        For an unknown cell, solver or backend, parameters that are missing or not of the cell, shapes that do not fit.
    NotImplementedError
        For devices without kernels.

    Notes
    -----
    Gradients go to ``z0``, ``s`` and all of ``theta``, and are exact: the derivative of φ at 0 is 0.  They are of first
    order only: a second derivative or forward mode raises, except with ``backend="reference"``.  ``torch.vmap`` loops
    over the mapped axis.  On the CPU a vector holds as many sequences of the batch as 64 bytes take; results are
    bitwise the same for any number of threads.  A NaN in ``d`` reaches the states even where it is not forced.

    The forcing is that of Hess, Monfared, Brenner and Durstewitz (arXiv 2306.04406), where also the shallow cells come
    from; dendritic ones: Brenner et al. (arXiv 2207.02542); almost-linear ones: Brenner et al. (arXiv 2410.14240).

    Examples
    --------
    >>> import torch
    >>> from tsmodels_kernels import plrnn_rollout
    >>> theta = {"A": torch.full((3,), 0.9), "W": 0.1 * torch.randn(3, 3), "h": torch.zeros(3)}
    >>> plrnn_rollout("alrnn", theta, torch.randn(8, 3), torch.randn(8, 50, 3), 0.15, n_relu=2).shape
    torch.Size([8, 50, 3])
    """
    signature = _signature(cell, theta, z0, d, s, n_relu)
    if signature not in _accepted:
        _check(cell, theta, z0, d, s, n_relu)
        if signature is not None and len(_accepted) < _MOST_SIGNATURES:
            _accepted.add(signature)
    if solver not in SOLVERS:
        raise ValueError(f"{_NAME}: solver must be one of {', '.join(map(repr, SOLVERS))}; got {solver!r}")
    alpha, mask = forcing(alpha, mask, d)
    if solver == "newton" or (solver == "auto" and d.is_cuda):
        newton = kernel_module(__package__, "newton")
        if solver == "newton" or (backend != "reference" and newton.is_worthwhile(cell, d, alpha, mask)):
            return newton.rollout(cell, theta, z0, d, alpha, mask, s, n_relu=n_relu, backend=backend)
    A, W, h, *rest = [theta[name] for name in CELLS[cell].names]
    inner, offset = rest or (None, None)
    n_active = d.shape[2] if n_relu is None else n_relu
    args = cell, z0, d.detach(), alpha, mask, s, A, W, h, inner, offset, theta.get("C"), n_active
    return plrnn_rollout_ref(*args) if choose(_NAME, z0, backend) == "reference" else _apply(*args)


def _signature(cell, theta, z0, d, s, n_relu) -> tuple | None:
    """All that ``_check`` looks at, where it is of plain tensors: their checks take as long as a short rollout."""
    if type(theta) is not dict or torch.compiler.is_compiling():
        return None
    tensors = (z0, d, *theta.values()) if s is None else (z0, d, s, *theta.values())
    if not all(type(t) in _PLAIN for t in tensors):
        return None
    return cell, type(n_relu), n_relu, s is None, *theta, *[(t.shape, t.dtype, t.device) for t in tensors]


def _check(cell, theta, z0, d, s, n_relu) -> None:
    checked_names(_NAME, cell, theta, s)
    check_dtypes(_NAME, theta, {"z0": z0, "d": d} | ({} if s is None else {"s": s}))
    if d.ndim != 3 or d.shape[2] < 1:
        raise ValueError(f"{_NAME}: d must have shape (B, T, M) with M >= 1, got {tuple(d.shape)}")
    checked_relu(_NAME, cell, n_relu, d.shape[2])
    check_shapes(_NAME, cell, theta, z0, d.shape, s)


def forcing(alpha: float | Tensor, mask: Tensor | None, d: Tensor) -> tuple[Tensor, Tensor]:
    """``alpha`` (T,) and ``mask`` (M,) in the dtype of ``d``, constants."""
    _, T, M = d.shape
    if not isinstance(alpha, Tensor):
        strength = d.new_full((T,), float(alpha))
    elif alpha.ndim and tuple(alpha.shape) != (T,):
        raise ValueError(f"{_NAME}: alpha must be a number or have shape (T,) = ({T},), got {tuple(alpha.shape)}")
    else:
        strength = _constant("alpha", alpha, d).expand(T)
    if mask is None:
        return strength, d.new_ones(M)
    if not isinstance(mask, Tensor):
        raise TypeError(f"{_NAME}: mask must be a torch.Tensor, got {type(mask).__name__}")
    check_shape(_NAME, "mask", mask, (M,), "(M,)")
    return strength, _constant("mask", mask, d)


def _constant(name: str, tensor: Tensor, d: Tensor) -> Tensor:
    if tensor.device != d.device:
        raise TypeError(f"{_NAME}: {name} is on {tensor.device}, d on {d.device}; put them on one device")
    return tensor.detach().to(d.dtype)
