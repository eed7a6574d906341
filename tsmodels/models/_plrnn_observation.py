"""How the latent state of a piecewise-linear network is seen, and which states a series asks for."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["IdentityObservation", "LinearObservation"]


class IdentityObservation(nn.Module):
    """The first units are the channels; the others start at a learned linear map of them.

    Parameters
    ----------
    n_channels, latent_dim : int
        Channels, and units, of which there are at least as many.
    """

    n_lost = 0  # states at the beginning that have no output

    def __init__(self, n_channels: int, latent_dim: int):
        super().__init__()
        if latent_dim < n_channels:
            raise ValueError(
                f"latent_dim must be at least n_channels = {n_channels} with observation='identity', got {latent_dim}; "
                "use observation='linear' for fewer latent units than channels"
            )
        self.n_channels, self.n_free = n_channels, latent_dim - n_channels
        self.L = nn.Parameter(nn.init.xavier_uniform_(torch.empty(self.n_free, n_channels))) if self.n_free else None

    def mask(self) -> Tensor:
        """Return 1 for units that a series can force, 0 for the others."""
        return torch.cat([torch.ones(self.n_channels), torch.zeros(self.n_free)])

    def encode(self, x: Tensor) -> Tensor:
        """Return the states that ``x`` asks for, 0 where it does not say."""
        x = x.detach()
        return F.pad(x, (0, self.n_free)) if self.n_free else x

    def start(self, x: Tensor) -> Tensor:
        """Return first states, with gradient."""
        return x if self.L is None else torch.cat([x, x @ self.L.mT], -1)

    def start_and_encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``start`` of the first step and ``encode`` of the others."""
        return self.start(x[:, 0]), self.encode(x[:, 1:])

    def decode(self, z: Tensor) -> Tensor:
        """Return what is seen of states."""
        return z[..., : self.n_channels]


class LinearObservation(nn.Module):
    """x[t] = B sum_k f[k] z[t - k]; states are asked for by the pseudo-inverse of B.

    Parameters
    ----------
    n_channels, latent_dim : int
        Channels and units.
    response : sequence of float, optional
        The impulse response f; None is 1 at k = 0.
    """

    def __init__(self, n_channels: int, latent_dim: int, response: Sequence[float] | None = None):
        super().__init__()
        self.latent_dim = latent_dim
        self.B = nn.Parameter(nn.init.kaiming_normal_(torch.empty(n_channels, latent_dim)))
        # numbers, not a buffer: in every dtype that the module is moved to they are as exact as it can hold them
        self.response = None if response is None else tuple(float(value) for value in response)
        if self.response is not None and not (any(self.response) and all(map(math.isfinite, self.response))):
            raise ValueError(f"response must hold finite numbers, not all 0; got {response!r}")
        self.n_lost = 0 if self.response is None else len(self.response) - 1

    def mask(self) -> Tensor:
        """Return 1 for every unit."""
        return torch.ones(self.latent_dim)

    def encode(self, x: Tensor) -> Tensor:
        """Return the states that ``x`` asks for, as constants."""
        return x.detach() @ torch.linalg.pinv(self.B.detach()).mT

    def start(self, x: Tensor) -> Tensor:
        """Return first states, with gradient."""
        return x @ torch.linalg.pinv(self.B).mT

    def start_and_encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``start`` of the first step and ``encode`` of the others, of one inversion."""
        inverse = torch.linalg.pinv(self.B).mT
        return x[:, 0] @ inverse, x[:, 1:].detach() @ inverse.detach()

    def decode(self, z: Tensor) -> Tensor:
        """Return what is seen of states (..., time, latent_dim), fewer by ``n_lost`` with a response."""
        x = z @ self.B.mT
        if self.response is None:
            return x
        if x.shape[-2] <= self.n_lost:
            raise ValueError(
                f"the response of {self.n_lost + 1} steps needs as many states to have an output, got {x.shape[-2]}; "
                "use longer windows"
            )
        # the response is the same for all channels: each is a series of its own to one kernel
        rows = x.mT.reshape(-1, 1, x.shape[-2])
        return F.conv1d(rows, x.new_tensor(self.response[::-1])[None, None]).reshape(*x.mT.shape[:-1], -1).mT
