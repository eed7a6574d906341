"""Numba kernels that choose important points and cut candidates at them."""

import numpy as np

from .._flags import kernel, phase
from .rules import HEIGHT_TIE


@phase
def _highest(series, step, a, b, tie):
    """Height and position of the point between a and b that is highest above their chord; -1, -1 if there is none."""
    highest, where = -1.0, -1
    slope = (series[b] - series[a]) / ((b - a) * step)
    length = np.sqrt(slope * slope + 1.0)
    for j in range(a + 1, b):
        height = abs(series[a] + slope * ((j - a) * step) - series[j]) / length
        if where < 0 or height > highest + tie:
            highest, where = height, j
    return highest, where


@phase
def _insert_points(series, order, keys, points, heights, places):
    """Fill ``order`` with important points as they are inserted, ``keys`` with start (T + 1) + end of the candidates.

    The highest point of every chord is kept: an insertion replaces one chord by two.  ``points``, the chosen ones in
    order of time, ``heights`` and ``places`` are work space of the size of ``order``.  Returns the number of keys.
    """
    T, n_points, n_keys = len(series), len(order), 0
    low, high = np.inf, -np.inf
    for t in range(T):
        low, high = min(low, series[t]), max(high, series[t])
    tie = HEIGHT_TIE * min(1.0, high - low)
    step = 1.0 / np.sqrt((T * T - 1) / 12.0)
    for n in range(min(n_points, 2)):
        points[n] = order[n] = n * (T - 1)
    if n_points > 2:
        heights[0], places[0] = _highest(series, step, 0, T - 1, tie)
    for n in range(2, n_points):
        chord = 0
        for other in range(1, n - 1):
            if places[other] >= 0 and (places[chord] < 0 or heights[other] > heights[chord] + tie):
                chord = other
        r, place = chord + 1, places[chord]
        for k in range(n, r, -1):
            points[k] = points[k - 1]
        for k in range(n - 1, r, -1):
            heights[k], places[k] = heights[k - 1], places[k - 1]
        order[n] = points[r] = place
        heights[chord], places[chord] = _highest(series, step, points[r - 1], place, tie)
        heights[r], places[r] = _highest(series, step, place, points[r + 1], tie)
        for first in range(max(r - 2, 0), min(r, n - 2) + 1):
            keys[n_keys] = points[first] * (T + 1) + points[first + 2]
            n_keys += 1
    return n_keys


@kernel
def important_points(series, order, lo, hi):
    """Fill ``order``; one job."""
    for _ in range(lo, hi):
        n = len(order)
        keys, points, places = np.empty(3 * n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
        _insert_points(series, order, keys, points, np.empty(n), places)


@kernel
def find_candidates(values, valid, units, n_points, slots, lengths, keys, counts, lo, hi):
    """Sorted candidates of each unit u as start (T + 1) + end: ``counts[u]`` of them in ``keys`` from ``slots[u]`` on.

    T = ``values.shape[2]``.  ``n_points``: important points of each unit; ``lengths``: shortest and longest candidate.
    """
    most, T = 0, values.shape[2]
    for u in range(lo, hi):
        most = max(most, n_points[u])
    points, order, places, heights = (
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most),
    )
    found = np.empty(3 * most + 1, np.int64)
    for u in range(lo, hi):
        i, v, k = units[u, 0], units[u, 1], n_points[u]
        first, length = valid[0, i, v], valid[1, i, v] - valid[0, i, v]
        if length < 3:
            found[0], n_found = length, 1
        else:
            series = values[i, v, first : first + length]
            n_found = _insert_points(series, order[:k], found, points, heights, places)
        out, n_kept = slots[u], 0
        for n in range(n_found):
            start, end = found[n] // (length + 1), found[n] % (length + 1)
            if lengths[0] <= end - start <= lengths[1]:
                keys[out + n_kept] = (first + start) * (T + 1) + first + end
                n_kept += 1
        keys[out : out + n_kept].sort()
        counts[u] = n_kept
