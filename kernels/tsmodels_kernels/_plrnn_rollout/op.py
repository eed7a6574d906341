"""The registered torch operator ``torch.ops.tsmodels.plrnn_rollout`` and its public function."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.autograd import forward_ad

from .._autograd import FirstOrderOnly
from .._backend import (
    LIBRARY,
    VECTOR_BYTES,
    check_shape,
    check_tensors,
    choose,
    kernel_module,
    refuse_lost_gradient,
)
from .cells import CELLS
from .ref import plrnn_rollout_ref

_NAME = "plrnn_rollout"
_DTYPES = (torch.float32, torch.float64)
# Private to torch and read once: without it torch.func raises, and nothing else changes.
_transforms_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)
_FORCING = "Tensor alpha, Tensor mask, Tensor? s"
_PARAMETERS = "Tensor A, Tensor W, Tensor h, Tensor? inner, Tensor? offset, Tensor? C, int n_relu"  # see cells.py
LIBRARY.define(f"{_NAME}(str cell, Tensor z0, Tensor d, {_FORCING}, {_PARAMETERS}, bool keep) -> (Tensor, Tensor)")
LIBRARY.define(
    f"{_NAME}_backward(str cell, Tensor grad, {_FORCING}, {_PARAMETERS}, Tensor forced)"
    f" -> ({', '.join(['Tensor'] * 8)})"
)


def forced_shape(d: Tensor, keep: bool) -> tuple[int, ...]:
    """Shape of the forced states kept for the backward: (groups, T, M, lanes); nothing without ``keep``."""
    B, T, M = d.shape
    L = VECTOR_BYTES // d.dtype.itemsize
    return (-(-B // L), T, M, L) if keep else (0,)


def _cpu(cell, z0, d, alpha, mask, s, *parameters_and_keep):
    *tensors, _, _ = parameters_and_keep
    refuse_lost_gradient(_NAME, z0, *(t for t in (s, *tensors) if t is not None))
    return kernel_module(__package__, "cpu_call").forward(cell, z0, d, alpha, mask, s, *parameters_and_keep)


def _cpu_backward(*args):
    return kernel_module(__package__, "cpu_call").backward(*args)


def _fake(cell, z0, d, alpha, mask, s, A, W, h, inner, offset, C, n_relu, keep):
    return d.new_empty(d.shape), d.new_empty(forced_shape(d, keep))


def _fake_backward(cell, grad, alpha, mask, s, A, W, h, inner, offset, C, n_relu, forced):
    by_z0 = grad.new_empty((grad.shape[0], grad.shape[2]))
    tensors = (s, A, W, h, inner, offset, C)
    return by_z0, *(grad.new_empty(0) if t is None else t.new_empty(t.shape) for t in tensors)


LIBRARY.impl(_NAME, _cpu, "CPU")
LIBRARY.impl(f"{_NAME}_backward", _cpu_backward, "CPU")
torch.library.register_fake(f"tsmodels::{_NAME}", _fake, lib=LIBRARY)
torch.library.register_fake(f"tsmodels::{_NAME}_backward", _fake_backward, lib=LIBRARY)


def _save(ctx, inputs, forced):
    cell, z0, _, *tensors, n_relu, _ = inputs
    ctx.save_for_backward(z0, *tensors, forced)
    ctx.cell, ctx.n_relu = cell, n_relu
    ctx.mark_non_differentiable(forced)


class _Rollout(torch.autograd.Function):
    """First-order gradients; a second derivative raises, and so does forward mode."""

    @staticmethod
    def forward(ctx, *args):
        outputs = torch.ops.tsmodels.plrnn_rollout(*args)
        _save(ctx, args, outputs[1])
        return outputs

    @staticmethod
    def backward(ctx, *grads):
        z0, *tensors, forced = ctx.saved_tensors
        args = ctx.cell, grads[0], *tensors, ctx.n_relu, forced
        if torch.is_grad_enabled():  # only under create_graph
            with torch.no_grad():
                found = torch.ops.tsmodels.plrnn_rollout_backward(*args)
            found = FirstOrderOnly.apply(_NAME, len(found), *found, z0, *tensors, grads[0])
        else:
            found = torch.ops.tsmodels.plrnn_rollout_backward(*args)
        by_z0, *others = found
        by_input = (None, by_z0, None, None, None, *others)
        wanted = (g if need else None for g, need in zip(by_input, ctx.needs_input_grad, strict=False))
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

    @staticmethod
    def backward(ctx, *grads):
        return _Rollout.backward(ctx, *grads)


def _apply(*args) -> Tensor:
    if not torch.compiler.is_compiling() and _transforms_active():
        return _RolloutTransforms.apply(*args, True)[0]
    if torch.is_grad_enabled() or forward_ad._current_level >= 0:
        return _Rollout.apply(*args, True)[0]
    return torch.ops.tsmodels.plrnn_rollout(*args, False)[0]


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
    backend : {"auto", "reference", "cpu"}, default="auto"
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
        For an unknown cell or backend, parameters that are missing or not of the cell, shapes that do not fit.
    NotImplementedError
        For devices without kernels, CUDA among them.

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
    names = _checked_names(cell, theta, s)
    tensors = {"z0": z0, "d": d} | {f"theta[{k!r}]": theta[k] for k in theta} | ({} if s is None else {"s": s})
    check_tensors(_NAME, tensors)
    if z0.dtype not in _DTYPES:
        raise TypeError(f"{_NAME}: z0 has dtype {z0.dtype}; convert it and the others to torch.float32 or float64")
    n_relu = _checked_relu(cell, n_relu, d.shape[-1] if d.ndim else 0)
    _check_shapes(cell, theta, z0, d, s)
    alpha, mask = _forcing(alpha, mask, d)
    A, W, h, *rest = (theta[name] for name in names)
    inner, offset = rest or (None, None)
    args = cell, z0, d.detach(), alpha, mask, s, A, W, h, inner, offset, theta.get("C"), n_relu
    chosen = choose(_NAME, z0, backend)
    if chosen == "reference":
        return plrnn_rollout_ref(*args)
    if chosen != "cpu":
        raise NotImplementedError(
            f"{_NAME} has no kernels for tensors on {z0.device}; move the tensors to the CPU (tensor.cpu()), or pass "
            "backend='reference' to run the slow definition on that device"
        )
    return _apply(*args)


def _checked_names(cell: str, theta: Mapping[str, Tensor], s: Tensor | None) -> tuple[str, ...]:
    """Names of A, W, h and, where g has parameters, of inner and offset."""
    if cell not in CELLS:
        raise ValueError(f"{_NAME}: cell must be one of {', '.join(map(repr, CELLS))}; got {cell!r}")
    if not isinstance(theta, Mapping):
        raise TypeError(f"{_NAME}: theta must be a mapping of names to tensors, got {type(theta).__name__}")
    names = CELLS[cell].names
    wanted = names if s is None else (*names, "C")
    if set(theta) == set(wanted):
        return names
    missing, unknown = [n for n in wanted if n not in theta], [n for n in theta if n not in wanted]
    if unknown == ["C"] and not missing:
        raise ValueError(f"{_NAME}: theta has 'C' but there are no external inputs; pass s, or leave 'C' out")
    raise ValueError(
        f"{_NAME}: theta of cell {cell!r} must have {', '.join(wanted)}{'' if s is None else ' (C for s)'}; "
        f"missing: {', '.join(missing) or 'none'}; not known: {', '.join(map(str, unknown)) or 'none'}"
    )


def _checked_relu(cell: str, n_relu: int | None, M: int) -> int:
    """Units with a ReLU; without a meaning for cells whose g has parameters."""
    if cell != "alrnn":
        if n_relu is not None:
            raise ValueError(f"{_NAME}: n_relu is for cell='alrnn'; leave it out for cell={cell!r}")
        return M
    if isinstance(n_relu, bool) or not isinstance(n_relu, int) or not 0 <= n_relu <= M:
        raise ValueError(f"{_NAME}: cell='alrnn' needs n_relu, an integer from 0 to M = {M}; got {n_relu!r}")
    return n_relu


def _check_shapes(cell: str, theta: Mapping[str, Tensor], z0: Tensor, d: Tensor, s: Tensor | None) -> None:
    if d.ndim != 3 or d.shape[2] < 1:
        raise ValueError(f"{_NAME}: d must have shape (B, T, M) with M >= 1, got {tuple(d.shape)}")
    B, T, M = d.shape
    check_shape(_NAME, "z0", z0, (B, M), "(B, M)")
    expected = {"A": (("M",), (M,)), "h": (("M",), (M,)), "h1": (("M",), (M,)), "W": (("M", "M"), (M, M))}
    if CELLS[cell].kind == "shallow":
        H = _width("W2", theta["W2"], 0, "(H, M) with H >= 1")
        expected |= {"W1": (("M", "H"), (M, H)), "W2": (("H", "M"), (H, M)), "h2": (("H",), (H,))}
    elif CELLS[cell].kind == "dendritic":
        n = _width("a", theta["a"], 0, "(n,) with n >= 1")
        expected |= {"a": (("n",), (n,)), "H": (("M", "n"), (M, n))}
    if s is not None:
        if s.ndim != 3 or s.shape[:2] != (B, T):
            raise ValueError(f"{_NAME}: s must have shape (B, T, S) = ({B}, {T}, S), got {tuple(s.shape)}")
        S = s.shape[2]
        expected["C"] = (("M", "S"), (M, S))
    for name, tensor in theta.items():
        axes, shape = expected[name]
        check_shape(_NAME, f"theta[{name!r}]", tensor, shape, f"({', '.join(axes)}{',' * (len(axes) == 1)})")


def _width(name: str, tensor: Tensor, axis: int, axes: str) -> int:
    """Size of an axis that gives a width its value."""
    if tensor.ndim <= axis or tensor.shape[axis] < 1:
        raise ValueError(f"{_NAME}: theta[{name!r}] must have shape {axes}, got {tuple(tensor.shape)}")
    return tensor.shape[axis]


def _forcing(alpha: float | Tensor, mask: Tensor | None, d: Tensor) -> tuple[Tensor, Tensor]:
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
