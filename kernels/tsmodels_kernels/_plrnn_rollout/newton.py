"""Newton's method in time for the forced rollout: all steps at once, exact where the regions repeat.

Inside a region the map is affine, F(z) = J z + c.  From a guess of all states, a round reads off the region that each
step begins in, and runs the affine maps of these regions through time by one scan.  The result depends on the guess
through nothing but the regions.  So once a round finds the regions of the round before, its states ARE the trajectory,
up to rounding, and no tolerance is needed; and as far as regions agree from the first step on, states are final.

Without forcing, chaos carries an early error on to all later steps, and rounds are as many as steps.  Forcing damps
it: a handful of rounds for strengths from about the Lyapunov exponent per step on.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._affine_scan import affine_scan
from .._affine_scan.op import adjoint_scan
from .._autograd import FirstOrderOnly
from .._backend import backend_for, check_shape
from .cells import CELLS, check_dtypes, check_shapes, checked_names, checked_relu
from .op import forcing
from .products import parameter_gradients
from .ref import plrnn_rollout_ref
from .regions import plrnn_affine, plrnn_pattern, plrnn_step

_NAME = "plrnn_newton"
MAX_ROUNDS = 30
# From so many steps on, few enough units and strong enough a forcing, ``solver="auto"`` takes Newton on a GPU.  On an
# H100 (3 units, 50 hidden, 1 and 16 sequences) it wins with gradients from 16000 steps on, without from 32000.
NEWTON_MIN_T = 32_768
NEWTON_MAX_UNITS = 32
NEWTON_MIN_ALPHA = 0.05
# Guesses further out say nothing; a sequence that really goes there is left to the sequential solver.
_FURTHEST = 1e8
# The approximation by diagonals has no exact end: it stops where states change less than this.
_SETTLED = {torch.float32: 1e-4, torch.float64: 1e-7}


class NewtonResult(NamedTuple):
    """States found by Newton's method in time, and how they were found.

    Attributes
    ----------
    Z : Tensor, shape (B, T, M)
        States before forcing, differentiable as those of :func:`plrnn_rollout`.
    rounds : Tensor of int64, shape (B,)
        Rounds that each sequence took.
    converged : Tensor of bool, shape (B,)
        Whether the rounds ended by themselves.
    fallback : bool
        Whether the others were completed step by step.  ``Z`` holds the trajectory in either case.
    """

    Z: Tensor
    rounds: Tensor
    converged: Tensor
    fallback: bool


class _Problem(NamedTuple):
    """A rollout: its map, and its sequences."""

    cell: str
    theta: Mapping[str, Tensor]
    n_relu: int | None
    backend: str
    z0: Tensor
    s: Tensor | None
    d: Tensor
    alpha: Tensor  # (T,)
    mask: Tensor  # (M,)

    def of(self, sequences: Tensor, first: int = 0) -> "_Problem":
        """Some of the sequences, from a step on."""
        s = None if self.s is None else self.s[sequences, first:]
        return self._replace(z0=self.z0[sequences], s=s, d=self.d[sequences, first:], alpha=self.alpha[first:])

    def kept(self) -> Tensor:
        """Share of the state before that a step begins with, (T, M): all of z0, then 1 - alpha K."""
        kept = 1 - self.alpha[:, None] * self.mask
        return torch.cat([torch.ones_like(kept[:1]), kept])[:-1]

    def pulls(self) -> Tensor:
        """What forcing adds to that, (B, T, M): nothing to z0, then alpha K d."""
        pulls = self.alpha[:, None] * self.mask * self.d
        return torch.cat([torch.zeros_like(pulls[:, :1]), pulls], 1)[:, :-1]

    def forced(self, Z: Tensor) -> Tensor:
        """The states that the steps begin with."""
        after = Z + self.alpha[:, None] * self.mask * (self.d - Z)
        return torch.cat([self.z0[:, None], after], 1)[:, :-1]

    def affine(self, pattern: Tensor, *, offsets: bool = True) -> tuple[Tensor, Tensor | None]:
        """J and c of Z[t] = J[t] Z[t-1] + c[t] in the regions of the states that the steps begin with, Z[-1] = z0."""
        J, c = plrnn_affine(self.cell, self.theta, pattern, n_relu=self.n_relu, offsets=offsets)
        if c is not None:
            c = c + (J * self.pulls()[..., None, :]).sum(-1)
            if self.s is not None:
                c = c + self.s @ self.theta["C"].mT
        return J * self.kept()[:, None, :], c

    def pattern(self, forced: Tensor) -> Tensor:
        return plrnn_pattern(self.cell, self.theta, forced, n_relu=self.n_relu)

    def parameters(self) -> tuple[Any, ...]:
        """A, W, h, inner, offset, C and the number of ReLUs: the last arguments of the operator."""
        tensors = [self.theta[name] for name in CELLS[self.cell].names]
        inner, offset = tensors[3:] or (None, None)
        n_relu = self.d.shape[-1] if self.n_relu is None else self.n_relu
        return *tensors[:3], inner, offset, self.theta.get("C"), n_relu

    def sequential(self) -> Tensor:
        """The states, one step after the other."""
        args = self.cell, self.z0, self.d, self.alpha, self.mask, self.s, *self.parameters()
        if self.backend == "reference":
            return plrnn_rollout_ref(*args)
        return torch.ops.tsmodels.plrnn_rollout(*args, False)[0]


class _Search:
    """Rounds of Newton's method on the sequences of a problem that have not converged."""

    def __init__(self, problem: _Problem, guess: Tensor):
        B = len(guess)
        self.problem = problem
        self.Z = _bounded(guess)
        self.rounds = torch.zeros(B, dtype=torch.int64, device=guess.device)
        self.active = torch.arange(B, device=guess.device)  # sequences that go on; the others keep their states
        self._part = problem  # the active sequences

    def run(self, max_rounds: int) -> None:
        """Take rounds until no sequence is active, or ``max_rounds`` of them."""
        for _ in range(max_rounds):
            if not len(self.active):
                return
            found, done = self._round(self.Z[self.active])
            self.Z[self.active] = found
            self.rounds[self.active] += 1
            if done.any():
                self._keep(~done)

    def _keep(self, sequences: Tensor) -> None:
        """Go on with some of the active sequences."""
        self.active = self.active[sequences]
        self._part = self.problem.of(self.active)

    def _round(self, Z: Tensor) -> tuple[Tensor, Tensor]:
        """The next states, and which sequences have converged."""
        raise NotImplementedError

    def n_exact(self) -> int:
        """Number of leading states that are final in all active sequences."""
        raise NotImplementedError


class _ByRegions(_Search):
    """Newton's method; a sequence has converged when its regions repeat."""

    def __init__(self, problem: _Problem, guess: Tensor):
        super().__init__(problem, guess)
        self._pattern = problem.pattern(problem.forced(self.Z))
        self._final = torch.zeros_like(self.Z[..., 0], dtype=torch.bool)

    def _round(self, Z: Tensor) -> tuple[Tensor, Tensor]:
        part = self._part
        J, c = part.affine(self._pattern)
        unbounded, _ = affine_scan(J, c, state=part.z0, backend=part.backend)
        Z = _bounded(unbounded)
        pattern = part.pattern(part.forced(Z))
        same = (pattern == self._pattern).all(-1) & (unbounded == Z).all(-1)
        self._pattern, self._final = pattern, same.cumprod(1).bool()
        return Z, self._final.all(1)

    def _keep(self, sequences: Tensor) -> None:
        super()._keep(sequences)
        self._pattern, self._final = self._pattern[sequences], self._final[sequences]

    def n_exact(self) -> int:
        return int(self._final.sum(1).min())


class _ByDiagonals(_Search):
    """With the diagonals of the matrices alone: cheaper rounds, more of them, and an end that is a tolerance.

    The states of a round then depend on those of the round before by more than their regions: that these repeat says
    nothing, and no state is final.
    """

    def _round(self, Z: Tensor) -> tuple[Tensor, Tensor]:
        part = self._part
        forced = part.forced(Z)
        gates = part.affine(part.pattern(forced), offsets=False)[0].diagonal(dim1=-2, dim2=-1)
        before = torch.cat([part.z0[:, None], Z], 1)[:, :-1]
        after = plrnn_step(part.cell, part.theta, forced, part.s, n_relu=part.n_relu)
        found, _ = affine_scan(gates, after - gates * before, state=part.z0, backend=part.backend)
        return _bounded(found), ((found - Z).abs() < _SETTLED[Z.dtype]).flatten(1).all(1)

    def n_exact(self) -> int:
        return 0


def _bounded(Z: Tensor) -> Tensor:
    return Z.nan_to_num(0.0, _FURTHEST, -_FURTHEST).clamp(-_FURTHEST, _FURTHEST)


def _solve(problem: _Problem, guess: Tensor, max_rounds: int, diagonal: bool) -> tuple[Tensor, Tensor, Tensor]:
    """States, rounds, and whether the rounds ended by themselves."""
    if not guess.numel():
        rounds = torch.zeros(len(guess), dtype=torch.int64, device=guess.device)
        return guess.clone(), rounds, torch.ones_like(rounds, dtype=torch.bool)
    search = (_ByDiagonals if diagonal else _ByRegions)(problem, guess)
    search.run(max_rounds)
    converged = torch.ones_like(search.rounds, dtype=torch.bool)
    if len(search.active):
        converged[search.active] = False
        _complete(problem, search.Z, search.active, search.n_exact())
    return search.Z, search.rounds, converged


def _complete(problem: _Problem, Z: Tensor, sequences: Tensor, n_exact: int) -> None:
    """Replace all but the first ``n_exact`` states of some sequences, step by step."""
    rest = problem.of(sequences, n_exact)
    if n_exact:
        known = problem.of(sequences, n_exact - 1)
        state = Z[sequences, n_exact - 1]
        rest = rest._replace(z0=state + known.alpha[0] * known.mask * (known.d[:, 0] - state))
    Z[sequences, n_exact:] = rest.sequential()


class _Newton(torch.autograd.Function):
    """The exact adjoint by one scan against time, then the products of all steps at once; first order only."""

    @staticmethod
    def forward(ctx, cell, names, n_relu, backend, guess, max_rounds, diagonal, d, alpha, mask, z0, s, *parameters):
        theta = dict(zip(names, parameters, strict=True))
        problem = _Problem(cell, theta, n_relu, backend, z0, s, d, alpha, mask)
        with torch.autocast(d.device.type, enabled=False):
            Z, rounds, converged = _solve(problem, guess, max_rounds, diagonal)
        ctx.save_for_backward(Z, d, alpha, mask, z0, s, *parameters)
        ctx.mark_non_differentiable(rounds, converged)
        ctx.constants = cell, names, n_relu, backend
        return Z, rounds, converged

    @staticmethod
    def backward(ctx, grad, *_):
        Z, d, alpha, mask, z0, s, *parameters = ctx.saved_tensors
        cell, names, n_relu, backend = ctx.constants
        theta = dict(zip(names, parameters, strict=True))
        problem = _Problem(cell, theta, n_relu, backend, z0, s, d, alpha, mask)
        with torch.no_grad(), torch.autocast(d.device.type, enabled=False):
            found = _adjoint(problem, Z, grad)
        if torch.is_grad_enabled():  # only under create_graph
            found = FirstOrderOnly.apply(_NAME, len(found), *found, z0, s, *parameters, grad)
        by_z0, by_s, *by_parameters, by_C = found
        by_name = dict(zip(CELLS[cell].names, by_parameters, strict=False)) | {"C": by_C}
        return *(None,) * 10, by_z0, None if s is None else by_s, *(by_name[name] for name in names)


def _adjoint(problem: _Problem, Z: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """Gradients of z0, s, A, W, h, inner, offset and C from that of the states."""
    forced = problem.forced(Z)
    J, _ = problem.affine(problem.pattern(forced), offsets=False)
    p, by_z0 = adjoint_scan(J, grad, backend=problem.backend)
    return by_z0, *parameter_gradients(problem.cell, p, forced, problem.s, *problem.parameters())


def _search(cell, theta, z0, d, alpha, mask, s, n_relu, max_rounds, diagonal, guess, backend) -> NewtonResult:
    """``plrnn_newton`` of arguments that have been checked, ``alpha`` and ``mask`` as tensors."""
    names = tuple(theta)
    Z, rounds, converged = _Newton.apply(
        cell, names, n_relu, backend_for(z0, backend), guess, max_rounds, diagonal, d.detach(), alpha, mask, z0, s,
        *(theta[name] for name in names),
    )  # fmt: skip
    return NewtonResult(Z, rounds, converged, not bool(converged.all()))


def rollout(
    cell: str,
    theta: Mapping[str, Tensor],
    z0: Tensor,
    d: Tensor,
    alpha: Tensor,
    mask: Tensor,
    s: Tensor | None,
    *,
    n_relu: int | None,
    backend: str,
) -> Tensor:
    """What ``plrnn_rollout(solver="newton")`` returns, of arguments that it has checked."""
    return _search(cell, theta, z0, d, alpha, mask, s, n_relu, MAX_ROUNDS, False, d.detach(), backend).Z


def is_worthwhile(cell: str, d: Tensor, alpha: Tensor, mask: Tensor) -> bool:
    """Whether ``solver="auto"`` takes Newton: on a GPU, where rounds are few and steps many."""
    return d.is_cuda and not torch.compiler.is_compiling() and _is_long_and_forced(cell, d, alpha, mask)


def _is_long_and_forced(cell: str, d: Tensor, alpha: Tensor, mask: Tensor) -> bool:
    """Whether hidden units are shared by few units, all of them forced, strongly enough, for many steps."""
    _, T, M = d.shape
    if CELLS[cell].kind != "shallow" or T < NEWTON_MIN_T or M > NEWTON_MAX_UNITS:
        return False
    return bool((mask == 1).all() & (alpha[:-1].min() >= NEWTON_MIN_ALPHA))  # waits for the GPU, so it comes last


def plrnn_newton(
    cell: str,
    theta: Mapping[str, Tensor],
    z0: Tensor,
    d: Tensor,
    alpha: float | Tensor,
    mask: Tensor | None = None,
    s: Tensor | None = None,
    *,
    n_relu: int | None = None,
    max_rounds: int = MAX_ROUNDS,
    diagonal: bool = False,
    guess: Tensor | None = None,
    backend: str = "auto",
) -> NewtonResult:
    """Run the rollout of :func:`plrnn_rollout` for all steps at once, by Newton's method in time.

    A round takes the regions in which the steps begin (zf: after forcing, with the states of the round before), and
    solves the affine recurrence of these regions, with K the mask::

        Z[t] = J(zf[t-1]) (1 - alpha[t-1] K) Z[t-1] + c[t],    c[t] = J(zf[t-1]) alpha[t-1] K d[t-1] + offset + C s[t]

    A sequence whose regions are those of the round before has converged: its states are the trajectory up to rounding,
    without a tolerance.  One that has not after ``max_rounds`` keeps the states up to the first region that still
    changed, and is completed step by step.

    Parameters
    ----------
    cell, theta, z0, d, alpha, mask, s, n_relu
        As in :func:`plrnn_rollout`.
    max_rounds : int, default=30
        Rounds at most, at least 1.
    diagonal : bool, default=False
        Use the diagonals of the matrices alone.  Rounds are cheaper, more are needed (with a weak forcing many more),
        and they end where no state changes by more than 1e-4 (float32) or 1e-7 (float64).
    guess : Tensor, shape (B, T, M), optional
        First guess of the states; default ``d``.
    backend : {"auto", "reference", "cpu", "cuda"}, default="auto"
        What computes the scans; ``"auto"`` follows the device, ``"reference"`` are plain loops in torch.

    Returns
    -------
    NewtonResult
        ``Z``, the states before forcing (B, T, M); ``rounds`` (B,) that each sequence took; ``converged`` (B,), whether
        they ended by themselves; ``fallback``, whether others had to be completed step by step.

    Raises
    ------
    TypeError, ValueError, NotImplementedError
        As :func:`plrnn_rollout` does.

    Notes
    -----
    The memory is that of a matrix for every step, B T M² numbers.  Gradients are exact, of first order, and flow from
    ``Z`` to ``z0``, ``s`` and ``theta``; they come from one scan against time over matrices of the same size.  When to
    stop depends on values, so ``torch.compile`` breaks its graph here, and ``torch.func`` raises.

    Rounds are few where forcing outweighs chaos: with every unit forced, about 3 to 5 from ``alpha = 0.1`` on, for any
    number of steps.  A free run of a chaotic map needs as many rounds as it has steps, and takes the fallback.  On a
    CPU the compiled loop over steps is always faster.

    On a GPU the matrices are products of torch, in TF32 where ``torch.set_float32_matmul_precision`` allows it: then
    states are no better than that.

    Newton's method for recurrent networks: Lim, Zhu, Selfridge and Kasim (ICLR 2024).  That a repeated pattern of a
    piecewise-linear map ends it exactly follows from the equations above.

    Examples
    --------
    >>> import torch
    >>> from tsmodels_kernels import plrnn_newton
    >>> theta = {"A": torch.full((3,), 0.9), "W1": 0.1 * torch.randn(3, 20), "h1": torch.zeros(3)}
    >>> theta |= {"W2": torch.randn(20, 3), "h2": torch.randn(20)}
    >>> found = plrnn_newton("cshplrnn", theta, torch.randn(8, 3), torch.randn(8, 500, 3), 0.2)
    >>> found.Z.shape, bool(found.converged.all())
    (torch.Size([8, 500, 3]), True)
    """
    checked_names(_NAME, cell, theta, s)
    tensors = {"z0": z0, "d": d, "s": s, "guess": guess}
    check_dtypes(_NAME, theta, {name: tensor for name, tensor in tensors.items() if tensor is not None})
    checked_relu(_NAME, cell, n_relu, d.shape[-1] if d.ndim else 0)
    if d.ndim != 3 or d.shape[2] < 1:
        raise ValueError(f"{_NAME}: d must have shape (B, T, M) with M >= 1, got {tuple(d.shape)}")
    check_shapes(_NAME, cell, theta, z0, d.shape, s)
    if isinstance(max_rounds, bool) or not isinstance(max_rounds, int) or max_rounds < 1:
        raise ValueError(f"{_NAME}: max_rounds must be an integer of at least 1, got {max_rounds!r}")
    if guess is not None:
        check_shape(_NAME, "guess", guess, tuple(d.shape), "(B, T, M)")
    alpha, mask = forcing(alpha, mask, d)
    start = (d if guess is None else guess).detach()
    return _search(cell, theta, z0, d, alpha, mask, s, n_relu, max_rounds, diagonal, start, backend)
