"""The registered torch operator ``torch.ops.tsmodels.selective_scan_2d`` and its public function."""

import warnings

import torch
from torch import Tensor

from .._autograd import FirstOrderOnly
from .._backend import LIBRARY, check_shape, check_tensors, choose, computing_dtype, kernel_module, refuse_lost_gradient
from . import cpu_call
from .options import Options, default_cuda_interval
from .ref import selective_scan_2d_ref

_NAME = "selective_scan_2d"
_TENSORS = ("x", "dt1", "dt2", "B1", "B2", "C1", "C2", "alpha1", "rho2", "rho3", "alpha4", "D")
_N = len(_TENSORS)
# Without a first state (None) or with_state=False no state is converted between layouts, nor made up of zeros.
_SIGNATURE = ", ".join(f"Tensor {name}" for name in _TENSORS) + (
    ", Tensor? h1, Tensor? h2, Tensor n_variates, str gates, str input_rule, str coupling, bool reverse_v, int interval"
)
LIBRARY.define(f"{_NAME}({_SIGNATURE}, bool with_state) -> (Tensor, Tensor, Tensor, Tensor)")
LIBRARY.define(
    f"{_NAME}_backward({_SIGNATURE}, bool with_state, Tensor checkpoints, Tensor grad_y, Tensor? grad_h1, "
    f"Tensor? grad_h2) -> ({', '.join(['Tensor'] * (_N + 2))})"
)


def _cpu(*args):
    tensors, (h1, h2, n_variates, *choices, interval, with_state) = args[:_N], args[_N:]
    refuse_lost_gradient(_NAME, *tensors, *(h for h in (h1, h2) if h is not None))
    return cpu_call.forward(tensors, h1, h2, n_variates, Options(*choices), interval, with_state)


def _cpu_backward(*args):
    tensors, (_, _, n_variates, *choices, interval, with_state, checkpoints, g_y, g_h1, g_h2) = args[:_N], args[_N:]
    return cpu_call.backward(tensors, n_variates, Options(*choices), interval, with_state, checkpoints, g_y, g_h1, g_h2)


def _cuda(*args):
    refuse_lost_gradient(_NAME, *(t for t in args[: _N + 2] if t is not None))
    return kernel_module(__package__, "cuda").forward(*args)


def _cuda_backward(*args):
    return kernel_module(__package__, "cuda").backward(*args)


def _fake(*args):
    x, alpha1, interval, with_state = args[0], args[7], args[-2], args[-1]
    checkpoints = alpha1.new_empty(cpu_call.checkpoint_shape(x, alpha1.shape[1], interval))
    return x.new_empty(x.shape), *_fake_states(x, alpha1, with_state), checkpoints


def _fake_backward(*args):
    return *(t.new_empty(t.shape) for t in args[:_N]), *_fake_states(args[0], args[7], args[_N + 8])


def _fake_states(x, alpha1, with_state):
    B, _, V, D = x.shape
    shape = (B, V, D, alpha1.shape[1]) if with_state else (0,)
    return alpha1.new_empty(shape), alpha1.new_empty(shape)  # never half precision


LIBRARY.impl(_NAME, _cpu, "CPU")
LIBRARY.impl(f"{_NAME}_backward", _cpu_backward, "CPU")
LIBRARY.impl(_NAME, _cuda, "CUDA")
LIBRARY.impl(f"{_NAME}_backward", _cuda_backward, "CUDA")
torch.library.register_fake(f"tsmodels::{_NAME}", _fake, lib=LIBRARY)
torch.library.register_fake(f"tsmodels::{_NAME}_backward", _fake_backward, lib=LIBRARY)


class _Scan(torch.autograd.Function):
    """First-order gradients; a second derivative raises, and so does forward mode."""

    @staticmethod
    def forward(*args):
        return torch.ops.tsmodels.selective_scan_2d(*args)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs[: _N + 3], output[3])
        ctx.options = inputs[_N + 3 :]
        ctx.mark_non_differentiable(output[3])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx, grad_y, grad_h1, grad_h2, _):
        *inputs, checkpoints = ctx.saved_tensors
        *choices, with_state = ctx.options
        has_first_state = inputs[_N] is not None
        if grad_y is None:
            grad_y = torch.zeros_like(inputs[0])
        if not with_state:
            grad_h1 = grad_h2 = None
        sources = (grad_y, grad_h1, grad_h2)
        with torch.no_grad():
            grads = torch.ops.tsmodels.selective_scan_2d_backward(
                *inputs, *choices, has_first_state, checkpoints, *sources
            )
        if torch.is_grad_enabled():  # only under create_graph
            grads = FirstOrderOnly.apply(_NAME, _N + 2, *grads, *inputs[: _N + 2], *sources)
        wanted = (g if need else None for g, need in zip(grads, ctx.needs_input_grad, strict=False))
        return *wanted, *(None,) * (1 + len(ctx.options))


def selective_scan_2d(
    x: Tensor,
    dt1: Tensor,
    dt2: Tensor,
    B1: Tensor,
    B2: Tensor,
    C1: Tensor,
    C2: Tensor,
    alpha1: Tensor,
    rho2: Tensor,
    rho3: Tensor,
    alpha4: Tensor,
    D: Tensor | None = None,
    *,
    state: tuple[Tensor, Tensor] | None = None,
    gates: str = "zoh",
    input_rule: str = "euler",
    reverse_v: bool = False,
    coupling: str = "full",
    n_variates: Tensor | None = None,
    return_state: bool = True,
    checkpoint_interval: int | None = None,
    backend: str = "auto",
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    r"""Two-dimensional selective state space scan over time and variates (Chimera).

    Every cell (v, t) of every channel d holds two states of N numbers; h1 moves along time, h2 along variates, and each
    feeds the other.  States are zero outside the grid, all gates and inputs are those of the destination cell::

        h1[v,t] = a1[v,t] h1[v,t-1] + a2[v,t] h2[v,t-1] + w1[v,t] x[v,t] B1[v,t]
        h2[v,t] = a3[v,t] h1[v-1,t] + a4[v,t] h2[v-1,t] + w2[v,t] x[v,t] B2[v,t]
        y[v,t]  = C1[v,t] . h1[v,t] + C2[v,t] . h2[v,t] + D x[v,t]

    With ``gates="zoh"``, exact zero-order hold of A = [[-alpha1, alpha1 rho2], [alpha4 rho3, -alpha4]]::

        a1 = exp(-dt1 alpha1),  a2 = (1 - a1) rho2,  a4 = exp(-dt2 alpha4),  a3 = (1 - a4) rho3

    which is stable for \|rho2 rho3\| < 1 at every step size.

    Parameters
    ----------
    x : Tensor, shape (B, T, V, D)
        Input: batch, time, variate, channel.
    dt1, dt2 : Tensor, shape (B, T, V, D)
        Positive step sizes along time and along variates.  Zero steps with a zero input at the end of T or V equal the
        removal of those cells.
    B1, B2, C1, C2 : Tensor, shape (B, T, V, N)
        Input and output maps of h1 and h2, shared by all channels.
    alpha1, alpha4 : Tensor, shape (D, N) or (D, 1)
        Positive decay rates along time and along variates.
    rho2, rho3 : Tensor, shape (D, N) or (D, 1)
        Coupling, variate state to time state and time state to variate state.  With ``gates="literal"`` or ``"half"``
        these slots hold the positive rates alpha2, alpha3.
    D : Tensor, shape (D,), optional
        Weight of the input itself in the output; default none.
    state : pair of Tensor, shape (B, V, D, N), optional
        States h1, h2 of the column before the first; default zeros.  Differentiable.
    gates : {"zoh", "literal", "half"}, default="zoh"
        ``"literal"``: all four gates are exp(-dt alpha_i), as the paper's rule is usually read; unstable for small
        steps (dt alpha < ln 2), so choosing it warns.  ``"half"``: half of that.
    input_rule : {"euler", "zoh"}, default="euler"
        ``"euler"``: w1 = dt1, w2 = dt2, as Mamba.  ``"zoh"``: w1 = (1 - exp(-dt1 alpha1)) / alpha1, w2 likewise.
    reverse_v : bool, default=False
        Walk the variates from the last to the first; time stays causal.
    coupling : {"full", "t2v", "v2t", "none", "pooled"}, default="full"
        ``"t2v"``: a2 = 0.  ``"v2t"``: a3 = 0.  ``"none"``: both.  ``"pooled"``: h2[v,t] = a3[v,t] m[t] + w2 x B2 with
        m[t] the mean of h1[.,t], which does not depend on the order of the variates (not with ``reverse_v``).
    n_variates : Tensor of int64, shape (B,), optional
        Only for ``"pooled"``: variates from this one on are padding and left out of the mean; default V.
    return_state : bool, default=True
        False where the last states are not needed: they are then not made.
    checkpoint_interval : int, optional
        Steps between the column states kept for the backward pass, which recomputes those in between.  Larger: less
        kept between the passes, more working memory in the backward; T keeps the first column only.  Results are
        bitwise the same.  Default: as many steps as a second-level cache holds, at least sqrt(T).
    backend : {"auto", "reference", "cpu", "cuda"}, default="auto"
        What computes it; ``"auto"`` follows the device, ``"reference"`` is the plain definition in torch.

    Returns
    -------
    y : Tensor, shape (B, T, V, D)
        Output in the dtype of ``x``.
    state : pair of Tensor, shape (B, V, D, N), or None
        States h1, h2 of the last column: passing them on continues the sequence, step by step (T = 1) or in chunks.
        None with ``return_state=False``.

    Raises
    ------
    TypeError
        For integer or complex tensors, mixed dtypes or devices.
    ValueError
        For shapes that do not fit or options that do not exist.
    NotImplementedError
        For devices without kernels.

    Warns
    -----
    UserWarning
        For ``gates="literal"``.

    Notes
    -----
    float32 and float64; float16 and bfloat16 are computed in float32 and return float32 states
    (``state``, ``D`` and the (D, N) parameters may be float32 beside half inputs).  float32 gradients are first order
    only: a second derivative or forward-mode differentiation raises.  T = 0 returns the state.  Exponents of gates are
    clamped to [-126, 126] in powers of two on the CPU; on a GPU gates go to 0 and inf.

    The recurrence follows Behrouz, Santacatterina and Zabih (NeurIPS 2024, arXiv 2406.04320); the exact zero-order hold
    of the coupling terms, ``input_rule`` and ``"pooled"`` are this package's.

    Examples
    --------
    >>> import torch
    >>> from tsmodels_kernels import selective_scan_2d
    >>> x, dt = torch.randn(2, 10, 3, 8), torch.full((2, 10, 3, 8), 0.1)
    >>> B, rate, rho = torch.randn(2, 10, 3, 4), torch.ones(8, 4), torch.full((8, 4), 0.5)
    >>> y, (h1, h2) = selective_scan_2d(x, dt, dt, B, B, B, B, rate, rho, rho, rate)
    >>> y.shape, h1.shape
    (torch.Size([2, 10, 3, 8]), torch.Size([2, 3, 8, 4]))
    """
    options = Options(gates, input_rule, coupling, reverse_v)
    options.check()
    per_cell = {"x": x, "dt1": dt1, "dt2": dt2, "B1": B1, "B2": B2, "C1": C1, "C2": C2}
    parameters = {"alpha1": alpha1, "rho2": rho2, "rho3": rho3, "alpha4": alpha4}
    check_tensors(_NAME, per_cell)
    dtype = computing_dtype(x.dtype)
    sizes = _check_shapes(per_cell, parameters)
    chosen = choose(_NAME, x, backend)
    if gates == "literal":
        warnings.warn(
            "gates='literal' is unstable for small step sizes: four gates near 1 grow exponentially; use gates='zoh'",
            stacklevel=2,
        )
    optional = _optional_tensors(x, D, state, sizes, dtype)
    tensors = per_cell | parameters | optional
    if dtype != x.dtype:  # half precision is widened; beside it parameters and states may be float32 already
        tensors = {name: t.to(dtype) if t.dtype == x.dtype else t for name, t in tensors.items()}
    check_tensors(_NAME, tensors)
    if chosen == "cuda":  # these kernels read and write half precision themselves
        tensors |= per_cell
    for name in parameters:
        tensors[name] = tensors[name].expand(sizes[3], sizes[4])
    tensors |= {name: tensors.get(name) for name in ("h1", "h2")}
    counts = _counts(n_variates, coupling, sizes, x.device)
    if chosen == "reference":
        y, h1, h2 = _reference(*tensors.values(), counts, options)
    else:
        interval = _interval(checkpoint_interval, sizes, chosen)
        y, h1, h2, _ = _apply(*tensors.values(), counts, *options, interval, return_state)
    return y.to(x.dtype), (h1, h2) if return_state else None


def _apply(*args):
    if torch.is_grad_enabled():
        return _Scan.apply(*args)
    *args, _, with_state = args
    return torch.ops.tsmodels.selective_scan_2d(*args, 0, with_state)


def _reference(*args):
    x, alpha1 = args[0], args[7]
    zeros = x.new_zeros((x.shape[0], *x.shape[2:], alpha1.shape[1]))
    return selective_scan_2d_ref(*(zeros if arg is None else arg for arg in args))


def _interval(asked: int | None, sizes, backend: str) -> int:
    _, T, V, _, N = sizes
    if asked is None and backend == "cuda":
        return default_cuda_interval(T, V)
    if asked is None:
        return cpu_call.default_interval(T, V, N)
    if asked < 1:
        raise ValueError(f"{_NAME}: checkpoint_interval must be at least 1, got {asked}")
    return asked


def _check_shapes(per_cell, parameters) -> tuple[int, int, int, int, int]:
    x, B1 = per_cell["x"], per_cell["B1"]
    if x.ndim != 4:
        raise ValueError(f"{_NAME}: x must have 4 axes (B, T, V, D), got shape {tuple(x.shape)}")
    if B1.ndim != 4 or B1.shape[3] < 1:
        raise ValueError(f"{_NAME}: B1 must have 4 axes (B, T, V, N) with N >= 1, got shape {tuple(B1.shape)}")
    B, T, V, D = x.shape
    N = B1.shape[3]
    for name in ("dt1", "dt2"):
        check_shape(_NAME, name, per_cell[name], (B, T, V, D), "(B, T, V, D)")
    for name in ("B1", "B2", "C1", "C2"):
        check_shape(_NAME, name, per_cell[name], (B, T, V, N), "(B, T, V, N)")
    for name, tensor in parameters.items():
        if tuple(tensor.shape) not in ((D, N), (D, 1)):
            raise ValueError(
                f"{_NAME}: {name} must have shape (D, N) = {(D, N)} or (D, 1) = {(D, 1)}, got {tuple(tensor.shape)}"
            )
    return B, T, V, D, N


def _optional_tensors(x, D, state, sizes, dtype) -> dict[str, Tensor]:
    """``D``, zeros where it is missing, and the first states where they are given."""
    B, _, V, n_channels, N = sizes
    if D is None:
        D = x.new_zeros(n_channels, dtype=dtype)
    check_shape(_NAME, "D", D, (n_channels,), "(D,)")
    if state is None:
        return {"D": D}
    for name, h in zip(("h1", "h2"), state, strict=True):
        check_shape(_NAME, f"state {name}", h, (B, V, n_channels, N), "(B, V, D, N)")
    return {"D": D, "h1": state[0], "h2": state[1]}


def _counts(n_variates, coupling, sizes, device) -> Tensor:
    B, _, V, _, _ = sizes
    if coupling != "pooled":
        if n_variates is not None:
            raise ValueError(f"{_NAME}: n_variates is only for coupling='pooled'; zero steps mask the other couplings")
        return torch.zeros(B, dtype=torch.int64, device=device)
    if n_variates is None:
        return torch.full((B,), V, dtype=torch.int64, device=device)
    check_shape(_NAME, "n_variates", n_variates, (B,), "(B,)")
    if n_variates.dtype != torch.int64 or (B and not (int(n_variates.min()) >= 1 and int(n_variates.max()) <= V)):
        raise ValueError(f"{_NAME}: n_variates must be int64 counts between 1 and V = {V}")
    return n_variates
