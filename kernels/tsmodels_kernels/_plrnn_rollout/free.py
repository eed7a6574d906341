"""Free orbits of piecewise-linear maps, and their Lyapunov exponents."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from .._backend import choose, kernel_module
from .cells import check_dtypes, check_shapes, checked_names, checked_relu
from .regions import plrnn_affine, plrnn_pattern, plrnn_step

# A column that keeps no more than this part of its length for each unit, once what it has in common with those before
# it is taken away, consists of rounding errors.
RESOLUTION = 16 * torch.finfo(torch.float64).eps


@torch.no_grad()
def plrnn_simulate(
    cell: str,
    theta: Mapping[str, Tensor],
    z0: Tensor,
    n_steps: int,
    s: Tensor | None = None,
    *,
    n_relu: int | None = None,
    every: int = 1,
    backend: str = "auto",
) -> Tensor:
    """Let a piecewise-linear map run by itself: z[t] = F(z[t-1], s[t]) for t = 1, ..., n_steps.

    Parameters
    ----------
    cell, theta, n_relu
        As in :func:`plrnn_rollout`.
    z0 : Tensor, shape (B, M)
        First states, one for each orbit.
    n_steps : int
        Number of steps.
    s : Tensor, shape (B, n_steps, S), optional
        External inputs; s[:, t] enters the step that produces the t-th state.
    every : int, default=1
        Only every so many-th state is kept: z[every], z[2 every], ...
    backend : {"auto", "reference", "cpu"}, default="auto"
        What computes it; ``"auto"`` follows the device, ``"reference"`` is a loop of torch operators on any device.

    Returns
    -------
    Tensor, shape (B, n_steps // every, M)
        States, without gradient.  An orbit that runs away goes on with inf and NaN.

    Raises
    ------
    TypeError, ValueError
        As :func:`plrnn_rollout`; also for a negative ``n_steps`` and ``every`` below 1.
    NotImplementedError
        For tensors that are not on the CPU, without ``backend="reference"``.

    Notes
    -----
    Computed in the dtype of the tensors.  Results are the same for any number of threads; an orbit differs from one
    of ``plrnn_rollout`` with ``alpha=0`` by rounding, which chaos makes large.

    Examples
    --------
    >>> import torch
    >>> from tsmodels_kernels import plrnn_simulate
    >>> theta = {"A": torch.full((3,), 0.9), "W": 0.1 * torch.randn(3, 3), "h": torch.zeros(3)}
    >>> plrnn_simulate("alrnn", theta, torch.randn(8, 3), 1000, n_relu=2, every=10).shape
    torch.Size([8, 100, 3])
    """
    op = "plrnn_simulate"
    _check_count(op, "n_steps", n_steps, 0)
    _check_count(op, "every", every, 1)
    parameters = _checked(op, cell, theta, z0, n_steps, s, n_relu)
    if _compiled(op, z0, backend):
        return kernel_module(__package__, "cpu_free").simulate(cell, z0, n_steps, every, s, *parameters)
    states, z = [], z0
    for t in range(n_steps // every * every):
        z = plrnn_step(cell, theta, z, None if s is None else s[:, t], n_relu=n_relu)
        if (t + 1) % every == 0:
            states.append(z)
    return torch.stack(states, 1) if states else z0[:, None][:, :0]


@torch.no_grad()
def plrnn_lyapunov(
    cell: str,
    theta: Mapping[str, Tensor],
    z0: Tensor,
    n_steps: int,
    *,
    n_transient: int = 1000,
    n_exponents: int | None = None,
    n_relu: int | None = None,
    every: int = 1,
    s: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Estimate the largest Lyapunov exponents of a piecewise-linear map along free orbits.

    A frame Q of orthonormal columns is carried along the orbit and decomposed again every few steps::

        Q[t] R[t] = J(z[t-1]) Q[t-1]            exponent i = mean over t of log R[t]_ii

    with J the Jacobian, which is exact; the sum of all exponents is the mean of ``log |det J|``.

    Parameters
    ----------
    cell, theta, n_relu
        As in :func:`plrnn_rollout`.
    z0 : Tensor, shape (B, M)
        First states, one for each orbit.
    n_steps : int
        Number of steps in the mean.
    n_transient : int, default=1000
        Number of steps before them, in which the orbit and the frame settle.
    n_exponents : int, optional
        How many, from the largest on; default all M.
    every : int, default=1
        Steps between two decompositions.  More than 1 saves time for wide frames; what shrinks by a factor below
        1e-13 between two decompositions, relative to the largest, is lost.
    s : Tensor, shape (B, n_transient + n_steps, S), optional
        External inputs.
    backend : {"auto", "reference", "cpu"}, default="auto"
        What computes it; ``"auto"`` follows the device, ``"reference"`` is a loop of torch operators on any device.

    Returns
    -------
    Tensor of float64, shape (B, n_exponents)
        Exponents for each step (divide by the duration of a step for those of time), in the order of the frame's
        columns: from the largest on, once the frame has settled.  -inf for directions that the map removes; NaN for
        orbits that left the range of floating-point numbers.

    Raises
    ------
    TypeError, ValueError
        As :func:`plrnn_rollout`; also for ``n_steps`` or ``every`` below 1, a negative ``n_transient`` and
        ``n_exponents`` not from 1 to M.
    NotImplementedError
        For tensors that are not on the CPU, without ``backend="reference"``.

    Notes
    -----
    Computed in float64 also for float32.  The method is that of Benettin, Galgani, Giorgilli and Strelcyn (Meccanica
    15, 1980).  The first frame is the same in every call.  Results are the same for any number of threads.

    Examples
    --------
    The spectrum of a diagonal map is known:

    >>> import torch
    >>> from tsmodels_kernels import plrnn_lyapunov
    >>> theta = {"A": torch.tensor([0.5, 2.0]), "W": torch.zeros(2, 2), "h": torch.zeros(2)}
    >>> plrnn_lyapunov("plrnn", theta, torch.zeros(1, 2), 1000).exp()
    tensor([[2.0000, 0.5000]], dtype=torch.float64)
    """
    op = "plrnn_lyapunov"
    _check_count(op, "n_steps", n_steps, 1)
    _check_count(op, "n_transient", n_transient, 0)
    _check_count(op, "every", every, 1)
    parameters = _checked(op, cell, theta, z0, n_transient + n_steps, s, n_relu)
    M = z0.shape[1]
    k = M if n_exponents is None else n_exponents
    if not isinstance(k, int) or not 1 <= k <= M:
        raise ValueError(f"{op}: n_exponents must be an integer from 1 to M = {M}, got {n_exponents!r}")
    frame = torch.from_numpy(np.linalg.qr(np.random.default_rng(0).standard_normal((M, k)))[0]).to(z0.device)
    z0, s = z0.double(), s if s is None else s.double()
    if _compiled(op, z0, backend):
        doubles = (t.double() if isinstance(t, Tensor) else t for t in parameters)
        call = kernel_module(__package__, "cpu_free").lyapunov
        return call(cell, z0, n_steps, n_transient, every, s, frame, *doubles)
    theta = {name: tensor.double() for name, tensor in theta.items()}
    return _exponents(cell, theta, z0, n_steps, n_transient, every, s, frame, n_relu)


def _exponents(cell, theta, z, n_steps, n_transient, every, s, frame, n_relu) -> Tensor:
    """The definition of ``plrnn_lyapunov``."""
    frame, logs, total = frame.expand(len(z), *frame.shape), z.new_zeros(len(z), frame.shape[1]), n_transient + n_steps
    for t in range(total):
        J, _ = plrnn_affine(cell, theta, plrnn_pattern(cell, theta, z, n_relu=n_relu), n_relu=n_relu, offsets=False)
        frame, z = J @ frame, plrnn_step(cell, theta, z, None if s is None else s[:, t], n_relu=n_relu)
        if (t + 1) % every == 0 or t + 1 in (n_transient, total):
            lengths = frame.norm(dim=1)
            frame, R = torch.linalg.qr(frame)
            pivots = R.diagonal(dim1=1, dim2=2).abs()
            logs = logs + pivots.where(pivots > len(frame[0]) * RESOLUTION * lengths, 0.0).log()
        if t + 1 == n_transient:
            logs = torch.zeros_like(logs)
    return (logs / n_steps).where(z.isfinite().all(1, keepdim=True), torch.nan)


def _check_count(op: str, name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{op}: {name} must be an integer of at least {least}, got {value!r}")


def _checked(op, cell, theta, z0, n_steps, s, n_relu) -> tuple:
    """A, W, h, inner, offset, C and the number of ReLUs of arguments that fit."""
    names = checked_names(op, cell, theta, s)
    check_dtypes(op, theta, {"z0": z0} | ({} if s is None else {"s": s}))
    if z0.ndim != 2 or z0.shape[1] < 1:
        raise ValueError(f"{op}: z0 must have shape (B, M) with M >= 1, got {tuple(z0.shape)}")
    n_active = checked_relu(op, cell, n_relu, z0.shape[1])
    check_shapes(op, cell, theta, z0, (len(z0), n_steps, z0.shape[1]), s)
    A, W, h, *rest = (theta[name] for name in names)
    inner, offset = rest or (None, None)
    return A, W, h, inner, offset, theta.get("C"), n_active


def _compiled(op: str, z0: Tensor, backend: str) -> bool:
    """Whether kernels run it, else the definition."""
    chosen = choose(op, z0, backend)
    if chosen == "cuda":
        raise NotImplementedError(
            f"{op} has no kernels for tensors on {z0.device}; move the tensors to the CPU (tensor.cpu()), or pass "
            "backend='reference' to run the slow definition on that device"
        )
    return chosen == "cpu"
