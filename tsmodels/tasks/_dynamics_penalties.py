"""What is added to the loss of a piecewise-linear network: pulls on its parameters."""

import torch
from torch import Tensor

from tsmodels.models import PLRNN

__all__ = ["Penalties"]

LINEARITY = 0.95
SMALLEST_SINGULAR = 1e-8


class Penalties:
    """The penalties of a task; 0.0 leaves one out.

    Parameters
    ----------
    l2 : float
        Times ``||1 - A||^2`` and the squares of the other weights and biases of the map, thresholds of dendrites and
        input weights excepted.
    manifold : float
        Times ``||1 - A_r|| + ||W_r|| + ||h_r||`` for the last units r, which so become slow integrators.
    manifold_fraction : float
        Share of these units.
    linearity : float
        Times ``||relu(A + diag W - 0.05)||`` of ``alrnn``, against units that remember by themselves.
    observation : float
        Times ``(1 - s_max / s_min)^2`` for the singular values s of B of a linear observation, so that it can be
        inverted.
    """

    def __init__(self, l2: float, manifold: float, manifold_fraction: float, linearity: float, observation: float):
        self.l2, self.manifold, self.manifold_fraction = l2, manifold, manifold_fraction
        self.linearity, self.observation = linearity, observation

    def check(self, network: PLRNN) -> None:
        """Raise ValueError for a penalty on what the network does not have."""
        if self.linearity and network.cell != "alrnn":
            raise ValueError(f"linearity is a penalty of cell='alrnn'; set it to 0 for cell={network.cell!r}")
        if self.observation and network.observation != "linear":
            raise ValueError("observation_penalty needs observation='linear'; set it to 0")
        if self.manifold and not self._n_slow(network):
            raise ValueError(
                f"manifold_fraction={self.manifold_fraction} of {network.latent_dim} units is none; raise it, or set "
                "manifold to 0"
            )

    def __call__(self, network: PLRNN) -> Tensor | None:
        """Return their sum, None if there is none."""
        theta = network.theta
        W = theta["W"] if "W" in theta else theta["W1"]
        h = theta["h"] if "h" in theta else theta["h1"]
        terms = []
        if self.l2:
            others = [theta[name] for name in theta if name not in ("A", "H", "C")]
            terms.append(self.l2 * sum((p.square().sum() for p in others), (1 - theta["A"]).square().sum()))
        if self.manifold:
            n = self._n_slow(network)
            norm = torch.linalg.vector_norm
            terms.append(self.manifold * (norm(1 - theta["A"][-n:]) + norm(W[-n:]) + norm(h[-n:])))
        if self.linearity:
            recurrence = theta["A"] + W.diagonal() - (1 - LINEARITY)
            terms.append(self.linearity * torch.linalg.vector_norm(recurrence.relu()))
        if self.observation:
            singular = torch.linalg.svdvals(network.observed.B)
            terms.append(self.observation * (1 - singular[0] / (singular[-1] + SMALLEST_SINGULAR)).square())
        return sum(terms[1:], terms[0]) if terms else None

    def _n_slow(self, network: PLRNN) -> int:
        return int(self.manifold_fraction * network.latent_dim)
