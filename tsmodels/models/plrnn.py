"""Piecewise-linear recurrent networks: maps whose free-running orbits are to be those of an observed system.

F(z, s) = A z + W g(z) + h + C s with g made of ReLUs is affine in every region of states, so fixed points, cycles and
Lyapunov exponents of a trained network are computed, not estimated.  Cells and their sources:

* ``plrnn``, ``mcplrnn``, ``dendplrnn``, ``cdendplrnn``: Brenner et al., ICML 2022, arXiv 2207.02542;
* ``shplrnn``, ``cshplrnn``, linear observation and forcing by its inverse: Hess, Monfared, Brenner and Durstewitz,
  ICML 2023, arXiv 2306.04406;
* ``alrnn``: Brenner, Hemmer, Monfared and Durstewitz, NeurIPS 2024, arXiv 2410.14240;
* the filtered observation: Volkmann et al., NeurIPS 2024, arXiv 2411.02949, without its nuisance regressors.

What is this package's own choice: units that no channel observes are never forced (others pull them to 0), thresholds
of dendrites enter as z - H whatever the sign in a paper, and clipped cells are kept bounded by ``project_``.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from tsmodels_kernels import plrnn_affine, plrnn_pattern, plrnn_rollout, plrnn_simulate

from ._config import records_config
from ._plrnn_cells import CELLS, CLIPPED, OFF_DIAGONAL, draw_theta
from ._plrnn_observation import IdentityObservation, LinearObservation
from ._search import Choice, Integer, Real

__all__ = ["PLRNN"]

LARGEST_A = 0.999


@records_config
class PLRNN(nn.Module):
    """Piecewise-linear recurrent network with an observation model.

    ``forward`` gives predictions of windows that are forced by the windows themselves, for training; ``generate`` runs
    freely. ``F`` and the parameters of each cell are those of :func:`tsmodels_kernels.plrnn_rollout`; they are
    parameters of this module by the same names.

    Shapes: x (batch, time, n_channels), s (batch, time, n_inputs), latent states (batch, time, latent_dim).

    Parameters
    ----------
    n_channels : int
        Number of observed channels.
    n_inputs : int, default=0
        Number of external inputs s; s[:, t] enters the step that produces x[:, t + 1].
    cell : str, default="cshplrnn"
        "plrnn", "mcplrnn", "shplrnn", "cshplrnn", "dendplrnn", "cdendplrnn" or "alrnn".
    latent_dim : int, default=None
        Number of latent units M; None is ``n_channels``. At least that with ``observation="identity"``.
    hidden_dim : int, default=50
        Hidden units of the shallow cells; others do not use it.
    n_relu : int, default=2
        Units with a ReLU of ``cell="alrnn"``, the last ones; others do not use it, and have the attribute None.
    n_bases : int, default=20
        ReLUs of a dendrite of the dendritic cells; others do not use it.
    observation : {"identity", "linear"}, default="identity"
        "identity": the first units are the channels, the others start at a learned linear map of the first step and
        are never forced. "linear": x = B z; states for a series are those of the pseudo-inverse of B.
    response : sequence of float, default=None
        Impulse response f of a filtered observation, x[t] = B (f[0] z[t] + f[1] z[t-1] + ...), with
        ``observation="linear"``. What forces and starts the network is then a deconvolved series.
    bounded : bool, default=True
        Whether :meth:`project_` keeps ``|A|`` of the clipped cells at most 0.999, so that no orbit diverges.
    data_range : (float, float), default=(-2.0, 2.0)
        Range in which the thresholds of dendrites are drawn: that of the (scaled) data.

    Attributes
    ----------
    mask : Tensor (latent_dim,)
        1 for units that a series forces, else 0.
    n_lost : int
        Steps of a window without prediction beyond the first: ``len(response) - 1``, else 0.

    Raises
    ------
    ValueError
        If a choice is unknown or sizes do not fit together.

    Examples
    --------
    >>> import torch
    >>> from tsmodels.models import PLRNN
    >>> network = PLRNN(3, hidden_dim=50)
    >>> x = torch.randn(16, 201, 3)
    >>> network(x, alpha=0.15).shape  # predictions of x[:, 1:]
    torch.Size([16, 200, 3])
    >>> network.generate(x[:, :1], 1000).shape
    torch.Size([16, 1000, 3])
    """

    search_space = {
        "cell": Choice("cshplrnn", "shplrnn", "dendplrnn", "alrnn"),
        "hidden_dim": Choice(20, 50, 100, 200, when={"cell": ("cshplrnn", "shplrnn")}),
        "n_bases": Choice(10, 20, 50, when={"cell": ("dendplrnn",)}),
        "latent_dim": Choice(15, 20, 30, when={"cell": ("alrnn",)}),
        "n_relu": Integer(2, 12, when={"cell": ("alrnn",)}),
        "alpha": Real(0.02, 0.6, log=True),
        "noise": Real(0.0, 0.1),
        "lr": Real(1e-3, 1e-2, log=True),
        "max_epochs": Integer(200, 2000, log=True),
    }

    mask: Tensor

    def __init__(
        self,
        n_channels: int,
        n_inputs: int = 0,
        *,
        cell: str = "cshplrnn",
        latent_dim: int | None = None,
        hidden_dim: int = 50,
        n_relu: int = 2,
        n_bases: int = 20,
        observation: str = "identity",
        response: Sequence[float] | None = None,
        bounded: bool = True,
        data_range: tuple[float, float] = (-2.0, 2.0),
    ):
        super().__init__()
        latent_dim = n_channels if latent_dim is None else latent_dim
        _check_choices(cell, observation, response, data_range)
        sizes = {"n_channels": n_channels, "latent_dim": latent_dim, "hidden_dim": hidden_dim, "n_bases": n_bases}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if n_inputs < 0:
            raise ValueError(f"n_inputs must be at least 0, got {n_inputs}")
        if cell == "alrnn" and not 0 <= n_relu <= latent_dim:
            raise ValueError(f"n_relu must be between 0 and latent_dim = {latent_dim}, got {n_relu}")
        self.n_channels, self.n_inputs, self.latent_dim = n_channels, n_inputs, latent_dim
        self.cell, self.observation, self.bounded = cell, observation, bounded
        self.n_relu = n_relu if cell == "alrnn" else None
        theta = draw_theta(
            cell, latent_dim, n_inputs=n_inputs, hidden_dim=hidden_dim, n_bases=n_bases, data_range=data_range
        )
        self._names = tuple(theta)
        for name, tensor in theta.items():
            self.register_parameter(name, nn.Parameter(tensor))
        if observation == "identity":
            self.observed = IdentityObservation(n_channels, latent_dim)
        else:
            self.observed = LinearObservation(n_channels, latent_dim, response)
        self.register_buffer("mask", self.observed.mask(), persistent=False)
        self.project_()

    @property
    def theta(self) -> dict[str, Tensor]:
        """The parameters of the map by name, as the kernels take them."""
        return cast(dict[str, Tensor], {name: self._parameters[name] for name in self._names})

    @property
    def n_lost(self) -> int:
        """Steps of a window without prediction beyond the first."""
        return self.observed.n_lost

    def encode(self, x: Tensor) -> Tensor:
        """Return the states (..., latent_dim) that a series (..., n_channels) asks for, as constants."""
        return self.observed.encode(x)

    def start(self, x: Tensor) -> Tensor:
        """Return first states (batch, latent_dim) for first observations (batch, n_channels), with gradient."""
        return self.observed.start(x)

    def decode(self, z: Tensor) -> Tensor:
        """Return what is observed of states.

        Parameters
        ----------
        z : Tensor (..., time, latent_dim)
            States.

        Returns
        -------
        Tensor (..., time - n_lost, n_channels)
            Observations; with a ``response`` none of the first ``n_lost`` steps.
        """
        return self.observed.decode(z)

    def rollout(
        self, x: Tensor, s: Tensor | None = None, alpha: float | Tensor = 0.0, signal: Tensor | None = None
    ) -> Tensor:
        """Run through windows, forced by them.

        Parameters
        ----------
        x : Tensor (batch, T + 1, n_channels)
            Windows; the first step starts the network.
        s : Tensor (batch, T, n_inputs), optional
            External inputs, needed if the network has them.
        alpha : float or Tensor (T,), default=0.0
            Strength of the forcing at each of x[:, 1:], 0 free, 1 one-step predictions.
        signal : Tensor like x, optional
            What starts and forces instead of ``x``: the deconvolved series of a filtered observation.

        Returns
        -------
        Tensor (batch, T, latent_dim)
            States for x[:, 1:], before they are forced.
        """
        signal = x if signal is None else signal
        self._check(signal, s, signal.shape[1] - 1)
        z0, d = self.observed.start_and_encode(signal)
        return plrnn_rollout(self.cell, self.theta, z0, d, alpha, self.mask, s, n_relu=self.n_relu)

    def forward(
        self, x: Tensor, s: Tensor | None = None, alpha: float | Tensor = 0.0, signal: Tensor | None = None
    ) -> Tensor:
        """Predict windows that force the network; arguments as in :meth:`rollout`.

        Returns
        -------
        Tensor (batch, T - n_lost, n_channels)
            Predictions of x[:, 1 + n_lost:], that is of x[:, 1:] without a ``response``.
        """
        return self.decode(self.rollout(x, s, alpha, signal))

    @torch.no_grad()
    def states(self, x: Tensor, n_steps: int, s: Tensor | None = None, alpha: float | Tensor | None = None) -> Tensor:
        """Run freely after a context and return the latent states.

        Parameters
        ----------
        x : Tensor (batch, w, n_channels)
            Context: the observations up to now, of a filtered observation the deconvolved ones. One is enough; with
            more the network is forced through them, and fully at the last.
        n_steps : int
            Number of steps.
        s : Tensor (batch, w - 1 + n_steps, n_inputs), optional
            External inputs of the steps in the context and beyond, needed if the network has them.
        alpha : float or Tensor (w - 1,), optional
            Strength of the forcing in the context; None is 1.

        Returns
        -------
        Tensor (batch, n_steps, latent_dim)
            States of the steps after the context, without gradient.
        """
        context, inputs = self._context(x, s, alpha, n_steps)
        return self.free_run(context[:, -1], n_steps, inputs)

    @torch.no_grad()
    def generate(self, x: Tensor, n_steps: int, s: Tensor | None = None, alpha: float | Tensor | None = None) -> Tensor:
        """Run freely after a context and return the observations; arguments as in :meth:`states`.

        Returns
        -------
        Tensor (batch, n_steps, n_channels)
            Observations of the steps after the context, without gradient. With a ``response`` that reaches back beyond
            the context, the states before it count as equal to its first.
        """
        context, inputs = self._context(x, s, alpha, n_steps)
        states = self.free_run(context[:, -1], n_steps, inputs)
        if not self.n_lost:
            return self.decode(states)
        missing = max(0, self.n_lost - context.shape[1])
        past = torch.cat([context[:, :1].expand(-1, missing, -1), context], 1)[:, -self.n_lost :]
        return self.decode(torch.cat([past, states], 1))

    def jacobian(self, z: Tensor) -> Tensor:
        """Return the Jacobian of the map at states (..., latent_dim), (..., latent_dim, latent_dim)."""
        return plrnn_affine(self.cell, self.theta, self.pattern(z), n_relu=self.n_relu, offsets=False)[0]

    def pattern(self, z: Tensor) -> Tensor:
        """Return which ReLUs are active at states (..., latent_dim): the region, bool (..., n_bits)."""
        return plrnn_pattern(self.cell, self.theta, z, n_relu=self.n_relu)

    @torch.no_grad()
    def project_(self) -> None:
        """Put the parameters back where they belong, after a step of an optimiser.

        The diagonal of the W of the cells that have their diagonal in A becomes 0, and with ``bounded`` ``|A|`` of the
        clipped cells at most 0.999.
        """
        if self.cell in OFF_DIAGONAL:
            self.theta["W"].fill_diagonal_(0.0)
        if self.bounded and self.cell in CLIPPED:
            self.theta["A"].clamp_(-LARGEST_A, LARGEST_A)

    def _context(
        self, x: Tensor, s: Tensor | None, alpha: float | Tensor | None, n_steps: int
    ) -> tuple[Tensor, Tensor | None]:
        """States of the steps of a context, forced, the last one fully; and the inputs that are left for later."""
        n_forced = x.shape[1] - 1
        self._check(x, s, n_forced + n_steps)
        first = self.start(x[:, 0])[:, None]
        if not n_forced:
            return first, s
        before, after = (None, None) if s is None else (s[:, :n_forced], s[:, n_forced:])
        alpha = torch.as_tensor(1.0 if alpha is None else alpha, dtype=x.dtype, device=x.device)
        states, targets = self.rollout(x, before, alpha), self.encode(x[:, 1:])
        strength = alpha.expand(n_forced).clone()
        strength[-1] = 1.0
        return torch.cat([first, states + strength[:, None] * self.mask * (targets - states)], 1), after

    def free_run(self, z: Tensor, n_steps: int, s: Tensor | None) -> Tensor:
        """Return the states (batch, n_steps, latent_dim) after states ``z`` (batch, latent_dim), without gradient.

        Computed on the CPU: one step waits for the other, which leaves a GPU nothing to do.
        """
        theta = {name: tensor.detach().cpu() for name, tensor in self.theta.items()}
        inputs = None if s is None else s.cpu()
        return plrnn_simulate(self.cell, theta, z.cpu(), n_steps, inputs, n_relu=self.n_relu).to(z.device)

    def _check(self, x: Tensor, s: Tensor | None, n_steps: int) -> None:
        if x.ndim != 3 or x.shape[1] < 1 or x.shape[2] != self.n_channels:
            raise ValueError(f"x must have shape (batch, time >= 1, {self.n_channels}), got {tuple(x.shape)}")
        expected = (len(x), n_steps, self.n_inputs)
        if self.n_inputs and (s is None or tuple(s.shape) != expected):
            found = "none" if s is None else tuple(s.shape)
            raise ValueError(f"external inputs s must have shape (batch, steps, n_inputs) = {expected}, got {found}")
        if s is not None and not self.n_inputs:
            raise ValueError("there are external inputs s, but the network was built with n_inputs=0")

    def extra_repr(self) -> str:
        """Describe the choices, for ``print(network)``."""
        shapes = ", ".join(f"{name} {'x'.join(map(str, tensor.shape))}" for name, tensor in self.theta.items())
        return f"cell={self.cell!r}, observation={self.observation!r}, {shapes}"


def _check_choices(
    cell: str, observation: str, response: Sequence[float] | None, data_range: tuple[float, float]
) -> None:
    if cell not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(map(repr, CELLS))}; got {cell!r}")
    if observation not in ("identity", "linear"):
        raise ValueError(f"observation must be 'identity' or 'linear', got {observation!r}")
    if response is not None and observation != "linear":
        raise ValueError("a response needs observation='linear'; the filter cannot be forced through otherwise")
    if not data_range[0] < data_range[1]:
        raise ValueError(f"data_range must be (low, high) with low < high, got {data_range!r}")
