"""The order of candidates, and which of them become shapelets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["best_first", "without_overlap"]

Indices = npt.NDArray[np.int64]


def best_first(
    gain: npt.NDArray[np.float64],
    margin: npt.NDArray[np.float64],
    series: Indices,
    channel: Indices,
    start: Indices,
    end: Indices,
) -> Indices:
    """Return positions in the order gain and margin descending, then length, series, channel and start ascending."""
    return np.lexsort((start, channel, series, end - start, -margin, -gain))


def without_overlap(channel: Indices, start: Indices, end: Indices, n_wanted: int, *, fill: bool) -> Indices:
    """Choose the first intervals of which no two in one channel overlap, whatever series they are from.

    Parameters
    ----------
    channel, start, end : ndarray of int64
        Half-open intervals, the best first.
    n_wanted : int
        How many to choose.
    fill : bool
        Whether the best of the rest follow if there are too few.

    Returns
    -------
    ndarray of int64
        Positions: `n_wanted`, or fewer if there are no more.
    """
    taken: list[int] = []
    free = np.ones(len(start), dtype=bool)
    while len(taken) < n_wanted and free.any():
        first = int(free.argmax())
        taken.append(first)
        free &= (channel != channel[first]) | (end <= start[first]) | (start >= end[first])
        free[first] = False  # an empty interval overlaps nothing, not even itself
    if fill and len(taken) < n_wanted:
        rest = np.setdiff1d(np.arange(len(start)), taken)
        taken.extend(rest[: n_wanted - len(taken)].tolist())
    return np.array(taken, dtype=np.int64)
