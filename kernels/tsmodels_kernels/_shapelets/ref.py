"""The definitions of everything about shapelets, as plain loops: slow, and what every backend is tested against."""

from itertools import pairwise

import numpy as np

from .data import Candidates, Channels, Scores
from .rules import COMPLEXITY_FLOOR, DISTINCT, GAIN_TIE, HEIGHT_TIE, points_of


def important_points(series: np.ndarray, n_points: int) -> np.ndarray:
    """Positions in the order of insertion: each is the point highest above the chord of its chosen neighbours."""
    T = len(series)
    chosen = [0, T - 1][: min(T, 2)]
    tie = HEIGHT_TIE * min(1.0, np.ptp(series)) if T else 0.0
    while len(chosen) < min(n_points, T):
        highest, where = -1.0, -1
        for a, b in pairwise(sorted(chosen)):
            for j in range(a + 1, b):
                height = _height(series, a, j, b)
                if where < 0 or height > highest + tie:
                    highest, where = height, j
        chosen.append(where)
    return np.array(chosen, np.int64)


def _height(series, a, j, b):
    """Perpendicular distance of point j to the chord from a to b, with time standardised over the series."""
    T = len(series)
    step = 1 / np.sqrt((T * T - 1) / 12)
    slope = (series[b] - series[a]) / ((b - a) * step)
    return abs(series[a] + slope * (j - a) * step - series[j]) / np.sqrt(slope**2 + 1)


def candidate_intervals(series: np.ndarray, fraction: float, min_points: int) -> list[tuple[int, int]]:
    """Half-open intervals between the neighbours of each important point at the time of its insertion, sorted."""
    if len(series) < 3:
        return [(0, len(series))]
    found, points = [], []
    for position in important_points(series, points_of(len(series), fraction, min_points)):
        points = sorted([*points, int(position)])
        r, last = points.index(position), len(points) - 1
        if len(points) < 3:
            continue
        found.append((points[r - 1], points[r + 1]))
        if r > 1:
            found.append((points[r - 2], points[r]))
        if r < last - 1:
            found.append((points[r], points[r + 2]))
    return sorted(found)


def find_candidates(
    channels: Channels, units: np.ndarray, fraction: float, min_points: int, min_length: int, max_length: int
) -> Candidates:
    found, offsets = [], [0]
    for i, v in units:
        lo, hi = channels.lo[i, v], channels.hi[i, v]
        for start, end in candidate_intervals(channels.values[i, v, lo:hi], fraction, min_points):
            if min_length <= end - start <= max_length:
                found.append((lo + start, lo + end))
        offsets.append(len(found))
    start, end = np.array(found, np.int64).reshape(-1, 2).T.copy()
    return Candidates(units, np.array(offsets, np.int64), start, end)


def _complexity(window):
    return float((np.diff(window) ** 2).sum()) + COMPLEXITY_FLOOR


def distance_profile(
    shapelet: np.ndarray, start: int, series: np.ndarray, lo: int, hi: int, window: int, complexity: bool
) -> tuple[range, list[float]]:
    """Starts of all windows of [lo, hi) at most ``window`` away from ``start``, and their distances."""
    n = len(shapelet)
    starts = range(max(lo, start - window), min(hi - n, start + window) + 1)
    distances = []
    for a in starts:
        other = series[a : a + n]
        squared = float(((shapelet - other) ** 2).sum())
        if complexity:
            low, high = sorted((_complexity(shapelet), _complexity(other)))
            squared *= high / low
        distances.append(np.sqrt(squared))
    return starts, distances


def pair_distances(
    channels: Channels, candidates: Candidates, u: int, others: np.ndarray, window: int, complexity: bool
) -> np.ndarray:
    """Distance of each candidate of unit ``u`` to the same channel of each other series."""
    i, v = candidates.units[u]
    members = range(candidates.offsets[u], candidates.offsets[u + 1])
    found = np.full((len(members), len(others)), np.inf)
    for row, k in zip(found, members, strict=True):
        start, end = candidates.start[k], candidates.end[k]
        for m, p in enumerate(others):
            _, distances = distance_profile(
                channels.values[i, v, start:end], start, channels.values[p, v], int(channels.lo[p, v]),
                int(channels.hi[p, v]), window, complexity,
            )  # fmt: skip
            row[m] = min(distances, default=np.inf)
    return found


def _entropy(n_positive, n):
    shares = np.array([n_positive, n - n_positive]) / n
    return -sum(p * np.log2(p) for p in shares if p > 0)


def split(distances: np.ndarray, positive: np.ndarray) -> tuple[float, float, float]:
    """Gain, threshold and margin of the best threshold below which the class is enriched.

    Thresholds lie between distinct distances; of those that gain equally much, the one of largest margin.
    """
    order = np.argsort(distances, kind="stable")
    d, is_positive = distances[order], positive[order]
    n, n_positive = len(d), int(positive.sum())
    found = []
    for near in range(1, n):
        a, b = d[near - 1], d[near]
        hits = int(is_positive[:near].sum())
        if b > a * (1 + DISTINCT) and hits * n > n_positive * near:
            after = near / n * _entropy(hits, near) + (n - near) / n * _entropy(n_positive - hits, n - near)
            margin = 1.0 if b == np.inf else (b - a) / b
            found.append((_entropy(n_positive, n) - after, (a + b) / 2, margin))
    if not found:
        return 0.0, np.nan, 0.0
    most = max(gain for gain, _, _ in found)
    _, threshold, margin = max((one for one in found if one[0] >= most - GAIN_TIE), key=lambda one: one[2])
    return most, threshold, margin


def isolation(distances: np.ndarray, length: int) -> float:
    """Score of a candidate whose class has no other series."""
    finite = distances[np.isfinite(distances)]
    return float(np.median(finite)) / np.sqrt(length) if len(finite) else 0.0


def score_candidates(
    channels: Channels, labels: np.ndarray, candidates: Candidates, references: np.ndarray,
    reference_offsets: np.ndarray, window: int, complexity: bool, permutations: np.ndarray,
) -> Scores:  # fmt: skip
    gain, threshold, margin = np.empty((3, len(candidates)))
    null = np.zeros((len(permutations), len(candidates.units)))
    for u, (i, _) in enumerate(candidates.units):
        mine = references[reference_offsets[labels[i]] : reference_offsets[labels[i] + 1]]
        others = mine[mine != i]
        positive = labels[others] == labels[i]
        for k, distances in enumerate(
            pair_distances(channels, candidates, u, others, window, complexity), candidates.offsets[u]
        ):
            if positive.any():
                gain[k], threshold[k], margin[k] = split(distances, positive)
            else:
                gain[k] = threshold[k] = np.nan
                margin[k] = isolation(distances, candidates.end[k] - candidates.start[k])
            for one, permuted in enumerate(permutations):
                null[one, u] = max(null[one, u], split(distances, permuted[others] == permuted[i])[0])
    return Scores(gain, threshold, margin, null)


def match_shapelets(
    channels: Channels, values: list[np.ndarray], channel: np.ndarray, start: np.ndarray, window: int, complexity: bool
) -> tuple[np.ndarray, np.ndarray]:
    N, S = len(channels.values), len(values)
    distance, place = np.full((N, S), np.inf), np.full((N, S), -1)
    for i in range(N):
        for s, v in enumerate(channel):
            starts, distances = distance_profile(
                values[s], start[s], channels.values[i, v], channels.lo[i, v], channels.hi[i, v], window, complexity
            )
            if distances:
                nearest = int(np.argmin(distances))
                distance[i, s], place[i, s] = distances[nearest], starts[nearest]
    return distance, place
