"""Seeded draws that keep the work on large sets bounded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["in_turn", "in_turn_by_channel", "references_of"]

Indices = npt.NDArray[np.int64]


def in_turn(strata: Indices, rng: np.random.Generator) -> Indices:
    """Return positions in a drawn order in which the strata take turns.

    Any beginning of the order holds equally many of each stratum, as long as it has any left.
    """
    drawn = rng.permutation(len(strata))
    return drawn[_turns(strata[drawn])]


def references_of(codes: Indices, max_reference: int | None, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Choose for each class the series that its candidates are compared with.

    Parameters
    ----------
    codes : ndarray (case,) of int64
        Class of each series, all classes present.
    max_reference : int or None
        At most half as many are of the class itself, half of the others, which take turns. None: all series.
    rng : Generator
        Used for what exceeds the cap only.

    Returns
    -------
    references, offsets : ndarray of int64
        Those of class ``c`` are ``references[offsets[c]:offsets[c + 1]]``, ascending.
    """
    chosen = []
    for code in range(int(codes.max()) + 1):
        own, others = np.flatnonzero(codes == code), np.flatnonzero(codes != code)
        if max_reference is not None:
            half = max_reference // 2
            if len(own) > half:
                own = rng.permutation(own)[:half]
            if len(others) > max_reference - half:
                others = others[in_turn(codes[others], rng)[: max_reference - half]]
        chosen.append(np.sort(np.concatenate([own, others])))
    offsets = np.cumsum([0, *(len(each) for each in chosen)])
    return np.concatenate(chosen), offsets


def in_turn_by_channel(codes: Indices, channels: Indices, rng: np.random.Generator) -> Indices:
    """Return positions in a drawn order in which the classes take turns, and within each class the channels."""
    of_class = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    order = np.concatenate([rows[in_turn(channels[rows], rng)] for rows in of_class])
    return order[_turns(codes[order])]


def _turns(strata: Indices) -> Indices:
    """Return positions by which the strata take turns, each in the order it stands in."""
    by_stratum = np.argsort(strata, kind="stable")
    sizes = np.bincount(strata)
    turn = np.arange(len(strata)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return by_stratum[np.argsort(turn, kind="stable")]
