"""Runs of a trained piecewise-linear network along a series and beyond it: arrays (time, channel) in and out."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tsmodels.models import PLRNN
from tsmodels.models._config import config_of

__all__ = ["Embedding", "Runs", "best_gain"]

BLOCK = 20  # steps of such a stretch
GAINS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0)


@dataclass(frozen=True)
class Embedding:
    """Delay coordinates: a point holds all columns of a series now, and ``delay``, 2 ``delay``, ... steps ago."""

    dimension: int
    delay: int

    @property
    def n_lost(self) -> int:
        """Steps at the beginning without a point."""
        return (self.dimension - 1) * self.delay

    def __call__(self, series: np.ndarray) -> np.ndarray:
        """Return the points (time - n_lost, dimension * channel) of a series (time, channel)."""
        starts = range(self.n_lost, -1, -self.delay) if self.delay else [0]
        return np.hstack([series[start : start + len(series) - self.n_lost] for start in starts])


@dataclass(frozen=True)
class Runs:
    """A network that follows a series by correcting its state with a share of each error, and then runs freely.

    With F the map, d[t] the state that x[t] asks for and g the gain::

        z[t] = F(z'[t-1], s[t]),    e[t] = x[t] - decode(z[t]),    z'[t] = z[t] + g (d[t] - z[t])

    ``z[t]`` is the prediction of step t, ``e[t]`` its error, the innovation.
    """

    network: PLRNN
    gain: float

    def one_step(self, x: np.ndarray, s: np.ndarray | None) -> np.ndarray:
        """Predictions of x[1:], each by what came before; ``s`` has the inputs of the same steps as ``x``."""
        with torch.no_grad():
            return _array(self.network(self._batch(x), None if s is None else self._batch(s[1:]), self.gain))

    def free(self, context: np.ndarray, n_steps: int, s: np.ndarray | None) -> np.ndarray:
        """The steps after a context (w, channel); ``s`` has the inputs of w - 1 steps in it, and of these."""
        inputs = None if s is None else self._batch(s)
        with torch.no_grad():
            return _array(self.network.decode(self._ahead(self.network, self._batch(context), n_steps, inputs)))

    def states(self, first: np.ndarray, n_steps: int, s: np.ndarray | None) -> np.ndarray:
        """Latent states of a first point (1, channel) and of the free run from it, (1 + n_steps, latent_dim)."""
        x, inputs = self._batch(first), None if s is None else self._batch(s)
        with torch.no_grad():
            start = self.network.start(x[:, 0])[:, None]
            return _array(torch.cat([start, self.network.states(x, n_steps, inputs)], 1))

    def perturbed(
        self, context: np.ndarray, n_steps: int, s: np.ndarray | None, innovations: np.ndarray, seed: int, n_runs: int
    ) -> np.ndarray:
        """Runs after a context that meet errors resampled from innovations in stretches, (run, step, channel).

        The same equations as along the series: a step is seen with an error, and its state is corrected by a share g of
        it. Innovations of white noise alone would do without the stretches; those of an imperfect map depend on where
        the state is, and add up from step to step.
        """
        errors = self._batch(innovations[_blocks(len(innovations), n_steps, n_runs, seed)])[0]
        network = _with_errors_as_inputs(self.network, self.gain)
        past = errors.new_zeros(n_runs, len(context) - 1, errors.shape[-1])
        inputs = torch.cat([past, errors], 1)
        if s is not None:
            inputs = torch.cat([self._batch(s).expand(n_runs, -1, -1), inputs], -1)
        start = self._batch(context).expand(n_runs, -1, -1)
        with torch.no_grad():
            seen = network.decode(self._ahead(network, start, n_steps, inputs))
        corrected = self.gain * self.network.decode(self.network.encode(errors))  # this much is in the state already
        return (seen + errors - corrected).detach().double().numpy()

    def _ahead(self, network: PLRNN, x: Tensor, n_steps: int, s: Tensor | None) -> Tensor:
        """States of the steps after a context (run, w, channel), from the corrected state at its end."""
        n, z = x.shape[1] - 1, network.start(x[:, 0])
        if n:
            z = network.rollout(x, None if s is None else s[:, :n], self.gain)[:, -1]
            z = z + self.gain * network.mask * (network.encode(x[:, -1]) - z)
        return network.free_run(z, n_steps, None if s is None else s[:, n:])

    def _batch(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(_dtype(self.network))[None]


def best_gain(network: PLRNN, x: np.ndarray, s: np.ndarray | None) -> float:
    """Return the gain with the least mean squared one-step error along a series: small where it is noisy."""
    errors = [np.square(Runs(network, gain).one_step(x, s) - x[1:]).mean() for gain in GAINS]
    return GAINS[int(np.argmin(np.where(np.isfinite(errors), errors, np.inf)))]


def _blocks(n: int, n_steps: int, n_runs: int, seed: int) -> np.ndarray:
    """Draw positions (run, step) below ``n`` for a moving-block bootstrap."""
    length = max(1, min(BLOCK, n // 4))
    # blocks first: a longer horizon does not change the first of them
    starts = np.random.default_rng(seed).integers(n - length + 1, size=(-(-n_steps // length), n_runs))
    return (starts.T[..., None] + np.arange(length)).reshape(n_runs, -1)[:, :n_steps]


def _with_errors_as_inputs(network: PLRNN, gain: float) -> PLRNN:
    """The same network with further inputs, the errors of the channels, that correct the state it arrives at."""
    n_inputs = network.n_inputs + network.n_channels
    with torch.random.fork_rng(devices=[]):  # the weights that it draws are replaced
        extended = PLRNN(**config_of(network)["init_args"] | {"n_inputs": n_inputs})
    weights = network.state_dict()
    corrections = gain * network.encode(torch.eye(network.n_channels, dtype=_dtype(network))).mT
    weights["C"] = torch.cat([weights["C"], corrections], 1) if network.n_inputs else corrections
    extended.to(_dtype(network)).load_state_dict(weights)
    return extended.eval()


def _array(batch: Tensor) -> np.ndarray:
    return batch[0].double().numpy()


def _dtype(network: nn.Module) -> torch.dtype:
    return next(network.parameters()).dtype
