"""From checked arguments to the arrays that the Numba kernels read, and back."""

import numpy as np

from .. import _pool
from . import cpu, cpu_points
from .data import Candidates, Channels, Scores
from .rules import points_of

# What a thread works on at a time: lags (a multiple of cpu.SWEEP), their running sums (1 MB: fewer lags where the
# candidates cut a series finely), and distances (4 MB: the candidates of a unit are scored in groups).
LAGS, SUMS, DISTANCES = 128, 1 << 17, 1 << 19
GRAIN = 16  # matches worth a hand-over to another thread


def important_points(series: np.ndarray, n_points: int) -> np.ndarray:
    order = np.empty(min(n_points, len(series)), np.int64)
    _pool.run(cpu_points.important_points, 1, series, order, *_room_for_points(len(order)))
    return order


def find_candidates(
    channels: Channels, units: np.ndarray, fraction: float, min_points: int, min_length: int, max_length: int,
    n_threads: int | None,
) -> Candidates:  # fmt: skip
    T = channels.values.shape[2]
    i, v = units.T
    lengths = channels.hi[i, v] - channels.lo[i, v]
    n_points = np.array([points_of(int(length), fraction, min_points) for length in lengths], np.int64)
    slots = np.concatenate([[0], np.cumsum(np.maximum(1, 3 * (n_points - 2)))])
    keys, counts, valid = np.empty(slots[-1], np.int64), np.empty(len(units), np.int64), _valid(channels)
    most = int(n_points.max(initial=0))

    def find(lo: int, hi: int) -> None:
        order, room = np.empty(most, np.int64), _room_for_points(most)
        cpu_points.find_candidates(
            channels.values, valid, units, n_points, slots, min_length, max_length, order, *room, keys, counts, lo, hi
        )

    _pool.run(find, len(units), n_threads=n_threads)
    taken = np.arange(slots[-1]) - np.repeat(slots[:-1], np.diff(slots)) < np.repeat(counts, np.diff(slots))
    start, end = np.divmod(keys[taken], T + 1)
    return Candidates(units, np.concatenate([[0], np.cumsum(counts)]), start, end)


def score_candidates(
    channels: Channels, labels: np.ndarray, candidates: Candidates, references: np.ndarray,
    reference_offsets: np.ndarray, window: int, complexity: bool, permutations: np.ndarray, n_threads: int | None,
) -> Scores:  # fmt: skip
    n_units = len(candidates.units)
    scores, null = np.empty((3, len(candidates))), np.zeros((len(permutations), n_units))
    _pool.run(
        cpu.score_candidates, n_units, _series(channels), _fields(candidates),
        (labels, references, reference_offsets, permutations), window, complexity, (LAGS, SUMS, DISTANCES),
        _table(references), scores, null, n_threads=n_threads,
    )  # fmt: skip
    return Scores(*scores, null)


def score_distances(
    distances: np.ndarray, candidates: Candidates, labels: np.ndarray, references: np.ndarray,
    reference_offsets: np.ndarray, permutations: np.ndarray, n_threads: int | None,
) -> Scores:  # fmt: skip
    """Scores from the distances to the references of each candidate's class without its own series."""
    n_units = len(candidates.units)
    scores, null = np.empty((3, len(candidates))), np.zeros((len(permutations), n_units))
    _pool.run(
        cpu.score_distances, n_units, distances, _fields(candidates),
        (labels, references, reference_offsets, permutations), _table(references), scores, null, n_threads=n_threads,
    )  # fmt: skip
    return Scores(*scores, null)


def match_shapelets(
    channels: Channels, values: list[np.ndarray], channel: np.ndarray, start: np.ndarray, window: int,
    complexity: bool, n_threads: int | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    N, S = len(channels.values), len(values)
    distance, place = np.empty((N, S)), np.empty((N, S), np.int64)
    offsets = np.concatenate([[0], np.cumsum([len(shapelet) for shapelet in values], dtype=np.int64)])
    flat = np.concatenate([np.empty(0), *values])
    _pool.run(
        cpu.match_shapelets, N * S, _series(channels), flat, offsets, channel, start, window, complexity, distance,
        place, grain=GRAIN, n_threads=n_threads,
    )  # fmt: skip
    return distance, place


def _room_for_points(n: int) -> tuple[np.ndarray, ...]:
    """Work space to insert n points: keys of their candidates, the points, their heights and places.

    Made here, by thread: Numba compiles ``np.empty`` for every dtype.
    """
    return np.empty(3 * n + 1, np.int64), np.empty(n, np.int64), np.empty(n), np.empty(n, np.int64)


def _series(channels: Channels) -> tuple[np.ndarray, ...]:
    return channels.values, channels.changes, _valid(channels)


def _fields(candidates: Candidates) -> tuple[np.ndarray, ...]:
    fields = candidates.units, candidates.offsets, candidates.start, candidates.end
    return tuple(map(np.ascontiguousarray, fields))


def _table(references: np.ndarray) -> np.ndarray:
    """Of every possible number n of references, n log2 n."""
    n = np.arange(len(references) + 1.0)
    return n * np.log2(np.maximum(n, 1))


def _valid(channels: Channels) -> np.ndarray:
    return np.stack([channels.lo, channels.hi])
