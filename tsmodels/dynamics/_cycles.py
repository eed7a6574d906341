"""Fixed points and cycles of a piecewise-linear map, exact up to rounding: linear systems, region by region."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tsmodels.dynamics._checks import as_count
from tsmodels.dynamics._networks import PiecewiseMap
from tsmodels.dynamics._symbols import MOST_NUMBERED_BITS, all_patterns

if TYPE_CHECKING:
    from tsmodels.models import PLRNN

__all__ = ["Cycle", "find_cycles", "fixed_points"]

_SAME = 1e-6  # distance, relative to the size of the states, below which two points are one
_CLOSED = 1e-9  # the same, below which an orbit is back
_CHUNK = 1 << 22  # numbers of the Jacobians held at once
_FEWEST_ROUNDS = 60  # in which a sequence arrives somewhere, or is given up


@dataclass(frozen=True)
class Cycle:
    """A periodic orbit of a map; a fixed point is one of order 1.

    Attributes
    ----------
    points : ndarray (order, latent_dim)
        In the order of time, beginning with the least (by the first unit, then the second, ...).
    eigenvalues : ndarray of complex (latent_dim,)
        Of the Jacobian of as many steps as the order has, by falling modulus.
    is_virtual : bool
        Whether the points lie outside of the regions whose affine maps they are fixed by: no orbit of the map.
    """

    points: np.ndarray
    eigenvalues: np.ndarray
    is_virtual: bool = False

    @property
    def order(self) -> int:
        """Steps until the orbit is back."""
        return len(self.points)

    @property
    def is_stable(self) -> bool:
        """Whether neighbouring orbits are attracted: all eigenvalues inside the unit circle."""
        return bool(np.abs(self.eigenvalues[0]) < 1)


def fixed_points(network: PLRNN, states=None, *, inputs=None, virtual: bool = False, seed: int = 0) -> list[Cycle]:
    """Fixed points of a network.

    In the region r the map is F(z) = J_r z + c_r, and z* = (I - J_r)⁻¹ c_r is a fixed point of F if it lies there. Up
    to 12 bits of pattern all regions are tried; beyond, those that :func:`find_cycles` is led to by `states`.

    Parameters
    ----------
    network : PLRNN
        Of any cell.
    states : array (n, latent_dim), optional
        Latent states from which the search begins; needed for more than 12 bits, not used for fewer.
    inputs : array (n_inputs,), optional
        Constant external inputs; 0 by default.
    virtual : bool, default=False
        Whether the fixed points that do not lie in their region are returned too; up to 12 bits.
    seed : int, default=0
        Draws what the search begins with.

    Returns
    -------
    list of Cycle
        Of order 1, by their first unit; the virtual ones after the others. Regions where I - J is singular have none.

    Raises
    ------
    ValueError
        If a network with more than 12 bits is given no states, or `virtual` is asked of it.
    """
    map_ = PiecewiseMap(network, inputs)
    n_bits = map_.n_bits
    if n_bits <= MOST_NUMBERED_BITS:
        return _exhaustive(map_, torch.as_tensor(all_patterns(n_bits)), virtual)
    if virtual:
        raise ValueError(f"virtual fixed points need all regions, and 2 ** {n_bits} are too many to be tried.")
    if states is None:
        raise ValueError(
            f"2 ** {n_bits} regions are too many to be tried: pass states to begin with, as from network.states."
        )
    return find_cycles(network, 1, states, inputs=inputs, seed=seed)


def _exhaustive(map_: PiecewiseMap, patterns: Tensor, virtual: bool) -> list[Cycle]:
    real: list[Cycle] = []
    beyond: list[Cycle] = []
    for part in patterns.split(max(1, _CHUNK // map_.dimension**2)):
        J, c = map_.affine(part)
        z, solved = _fixed_by(J, c)
        inside = (map_.pattern(z) == part).all(-1)
        for i in torch.nonzero(solved & inside).ravel().tolist():
            real.append(Cycle(z[i : i + 1].numpy(), _eigenvalues(J[i])))
        for i in torch.nonzero(solved & ~inside).ravel().tolist() if virtual else ():
            beyond.append(Cycle(z[i : i + 1].numpy(), _eigenvalues(J[i]), is_virtual=True))
    return sorted(real, key=_place) + sorted(beyond, key=_place)


def find_cycles(
    network: PLRNN,
    order: int,
    states,
    *,
    inputs=None,
    noise: float = 0.1,
    n_redraws: int | None = None,
    n_rounds: int | None = None,
    seed: int | np.random.Generator = 0,
) -> list[Cycle]:
    """Search the cycles of an order, stable or not, with SCYFI.

    Along a sequence of k regions the map of k steps is affine, and its fixed point is found by a linear system. If the
    orbit from there runs through these very regions, it is a cycle; if not, the regions that it runs through are tried
    next. Sequences that lead back to themselves, to a known cycle or to a singular system are replaced by ones drawn
    at random.

    Parameters
    ----------
    network : PLRNN
        Of any cell; computed in float64.
    order : int
        Steps k after which the orbits are back, and not earlier: cycles of lower orders are left out.
    states : array (n, latent_dim)
        Latent states of the attractor, as from ``network.states``; regions are drawn from them.
    inputs : array (n_inputs,), optional
        Constant external inputs; 0 by default.
    noise : float, default=0.1
        Standard deviation of what is added to drawn states, in standard deviations of each unit.
    n_redraws : int, optional
        Sequences that are followed without a new cycle before the search ends. By default 10 for k < 8, 40 for k < 30,
        else 100.
    n_rounds : int, optional
        Linear systems that are solved for each of them. By default 20 for k < 3, 60 for k < 6, 300 for k < 8, 1080 for
        k < 20, else 1115.
    seed : int or Generator, default=0
        Draws the sequences.

    Returns
    -------
    list of Cycle
        Sorted by their first points; each cycle once. The search is not exhaustive: more rounds may find more.

    Raises
    ------
    ValueError
        If the states do not fit or a number is out of its range.

    Notes
    -----
    Eisenmann et al. (arXiv 2310.17561), who follow one sequence after the other, of cells that are not clipped. Here
    all cells; many sequences side by side, with as many linear systems, ``n_redraws * n_rounds``, after the last new
    cycle; and two cycles are one if they share a point (within 1e-6 of the largest state), whichever comes first.
    """
    order = as_count("order", order)
    map_ = PiecewiseMap(network, inputs)
    states = map_.states("states", states)
    if not noise >= 0:
        raise ValueError(f"noise must not be negative, got {noise}.")
    n_redraws = _default_redraws(order) if n_redraws is None else as_count("n_redraws", n_redraws)
    n_rounds = _default_rounds(order) if n_rounds is None else as_count("n_rounds", n_rounds)
    # a round costs the same for few sequences and for many: rather more of them, and fewer rounds
    room = _CHUNK // (order * (map_.dimension**2 + map_.n_bits))
    n_times = max(1, min(n_rounds // _FEWEST_ROUNDS, room // n_redraws))
    search = _Search(map_, order, states, noise, np.random.default_rng(seed))
    return search.run(n_redraws * n_times, -(-n_rounds // n_times))


def _default_redraws(order: int) -> int:
    return 10 if order < 8 else 40 if order < 30 else 100


def _default_rounds(order: int) -> int:
    for below, n_rounds in ((3, 20), (6, 60), (8, 300), (20, 1080)):
        if order < below:
            return n_rounds
    return 1115


class _Search:
    """Cycles of one order of one map."""

    def __init__(self, map_: PiecewiseMap, order: int, states: Tensor, noise: float, rng: np.random.Generator):
        self.map, self.order, self.states, self.rng = map_, order, states, rng
        self.spread = noise * states.std(0, unbiased=False)
        self.scale = max(float(states.abs().max()), torch.finfo(states.dtype).tiny)
        self.divisors = [d for d in range(1, order) if order % d == 0]
        self.known = states.new_empty(0, map_.dimension)  # all points of all cycles found

    def run(self, n_sequences: int, n_rounds: int) -> list[Cycle]:
        patterns = self._draw(n_sequences)
        reference, age = patterns.clone(), torch.zeros(n_sequences, dtype=torch.int64)
        found: list[Cycle] = []
        n_idle = 0
        while n_idle < n_rounds:
            J, c = _composed(self.map, patterns)
            z, solved = _fixed_by(J, c)
            orbit = torch.stack([*self._orbit(z)], 1)
            visited = self.map.pattern(orbit[:, :-1])
            real = solved & (visited == patterns).flatten(1).all(1)
            new = self._new(orbit[real])
            found += [Cycle(_rotated(orbit[real][i, :-1].numpy()), _eigenvalues(J[real][i])) for i in new]
            n_idle = 0 if new else n_idle + 1
            # the next sequence depends on this one alone: one that recurs goes round for ever (Brent's test)
            recurs = (visited == reference).flatten(1).all(1)
            over = ~solved | real | recurs
            patterns = visited
            patterns[over] = self._draw(int(over.sum()))
            age = torch.where(over, 0, age + 1)
            renewed = (age & (age - 1)) == 0  # ages 0, 1, 2, 4, 8, ...
            reference[renewed] = patterns[renewed]
        return sorted(found, key=_place)

    def _draw(self, n: int) -> Tensor:
        """Sequences of patterns (n, order, n_bits) of states that are drawn with noise."""
        chosen = self.states[torch.as_tensor(self.rng.integers(len(self.states), size=(n, self.order)))]
        return self.map.pattern(chosen + self.spread * torch.as_tensor(self.rng.standard_normal(chosen.shape)))

    def _orbit(self, z: Tensor) -> Iterator[Tensor]:
        yield z
        for _ in range(self.order):
            z = self.map.step(z)
            yield z

    def _new(self, orbits: Tensor) -> list[int]:
        """Positions of the orbits (n, order + 1, M) that are cycles of this order and not known; they now are."""
        start = orbits[:, 0]
        fits = self._apart(orbits[:, -1], start) <= _CLOSED * self.scale
        for d in self.divisors:
            fits &= self._apart(orbits[:, d], start) > _SAME * self.scale
        new = []
        for i in torch.nonzero(fits).ravel().tolist():
            if not (self._apart(self.known, start[i]) <= _SAME * self.scale).any():
                self.known = torch.cat([self.known, orbits[i, :-1]])
                new.append(i)
        return new

    @staticmethod
    def _apart(a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().amax(-1)


def _composed(map_: PiecewiseMap, patterns: Tensor) -> tuple[Tensor, Tensor]:
    """J (n, M, M) and c (n, M) of all steps through sequences of patterns (n, order, n_bits)."""
    J, c = map_.affine(patterns)
    slope, offset = J[:, 0], c[:, 0]
    for t in range(1, patterns.shape[1]):
        slope, offset = J[:, t] @ slope, (J[:, t] @ offset[..., None])[..., 0] + c[:, t]
    return slope, offset


def _fixed_by(J: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Fixed points (n, M) of affine maps, 0 where there is none or no single one, and where there is."""
    system = torch.eye(J.shape[-1], dtype=J.dtype) - J
    solved = system.isfinite().all(-1).all(-1) & c.isfinite().all(-1)
    z, info = torch.linalg.solve_ex(
        torch.where(solved[:, None, None], system, torch.eye(J.shape[-1], dtype=J.dtype)), c
    )
    solved &= (info == 0) & z.isfinite().all(-1)
    return torch.where(solved[:, None], z, 0.0), solved


def _eigenvalues(J: Tensor) -> np.ndarray:
    values = np.linalg.eigvals(J.numpy()).astype(np.complex128)
    return values[np.lexsort((values.imag, values.real, -np.abs(values)))]


def _rotated(points: np.ndarray) -> np.ndarray:
    """The cycle from its least point on."""
    first = np.lexsort(points.T[::-1])[0]
    return np.roll(points, -first, axis=0)


def _place(cycle: Cycle) -> tuple[float, ...]:
    return tuple(cycle.points[0])
