"""Numba kernels that choose important points and cut candidates at them.

Work arrays come from ``cpu_call.py``, and comparisons stand for ``min`` and ``max``: Numba compiles a function for each
of these, for every type of argument and in every function that uses it.
"""

import math

from .._flags import kernel, phase
from .rules import HEIGHT_TIE


@phase
def _highest(series, step, a, b, tie):
    """Height and position of the point between a and b that is highest above their chord; -1, -1 if there is none."""
    highest, where = -1.0, -1
    slope = (series[b] - series[a]) / ((b - a) * step)
    length = math.sqrt(slope * slope + 1.0)
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
    low, high = math.inf, -math.inf
    for t in range(T):
        low, high = series[t] if series[t] < low else low, series[t] if series[t] > high else high
    tie = HEIGHT_TIE * (high - low if high - low < 1.0 else 1.0)
    step = 1.0 / math.sqrt((T * T - 1) / 12.0)
    for n in range(n_points if n_points < 2 else 2):
        points[n] = order[n] = n * (T - 1)
    if n_points > 2:
        heights[0], places[0] = _highest(series, step, points[0], points[1], tie)
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
        for k in range(chord, r + 1):
            heights[k], places[k] = _highest(series, step, points[k], points[k + 1], tie)
        for first in range(r - 2 if r > 2 else 0, r + 1 if r < n - 2 else n - 1):
            keys[n_keys] = points[first] * (T + 1) + points[first + 2]
            n_keys += 1
    return n_keys


@phase
def _sort(keys, lo, hi):
    """Sort ``keys[lo:hi]`` in place, by insertion at smaller and smaller steps; little to compile, unlike NumPy's."""
    step = 1
    while 3 * step < hi - lo:
        step = 3 * step + 1
    while step > 0:
        for n in range(lo + step, hi):
            key, place = keys[n], n
            while place - step >= lo and keys[place - step] > key:
                keys[place] = keys[place - step]
                place -= step
            keys[place] = key
        step //= 3


@kernel
def important_points(series, order, keys, points, heights, places, lo, hi):
    """Fill ``order``; one job."""
    for _ in range(lo, hi):
        _insert_points(series, order, keys, points, heights, places)


@kernel
def find_candidates(values, valid, units, n_points, slots, shortest, longest, order, found, points, heights, places,
                    keys, counts, lo, hi):  # fmt: skip
    """Sorted candidates of each unit u as start (T + 1) + end: ``counts[u]`` of them in ``keys`` from ``slots[u]`` on.

    T = ``values.shape[2]``.  ``n_points``: important points of each unit; ``order`` and what follows is work space.
    """
    T = values.shape[2]
    for u in range(lo, hi):
        i, v = units[u, 0], units[u, 1]
        first = valid[0, i, v]
        length = valid[1, i, v] - first
        if length < 3:
            found[0], n_found = length, 1
        else:
            series = values[i, v, first : first + length]
            n_found = _insert_points(series, order[: n_points[u]], found, points, heights, places)
        end_slot = slots[u]
        for n in range(n_found):
            start, end = found[n] // (length + 1), found[n] % (length + 1)
            if shortest <= end - start <= longest:
                keys[end_slot] = (first + start) * (T + 1) + first + end
                end_slot += 1
        _sort(keys, slots[u], end_slot)
        counts[u] = end_slot - slots[u]
