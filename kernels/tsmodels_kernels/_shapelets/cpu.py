"""Numba kernels of shapelet discovery: distances of candidates, their information gain, and matches.

The candidates of one series and channel share the sums of squared differences to another series: for each lag one
running sum over time, written down at every time where a candidate starts or ends.  A candidate then costs one
difference per lag, whatever its length.  Lags are neighbours in memory and go in vectors, a block of them at a time,
so that the sums stay in the first two caches; the order of additions does not depend on the blocks.
"""

import numpy as np

from .._flags import helper, kernel, phase
from .._simd import lanes, vfull, vload, vsplat, vstore
from .rules import COMPLEXITY_FLOOR, DISTINCT, GAIN_TIE
from .vectors import any_below, ratios, smallest

SWEEP = 32  # lags whose running sums are in registers: four vectors of float64
RUN = 32  # distances that are sorted by counting


@helper
def _added(sums, other, at, value):
    """``sums`` + (other[at:] - value)^2."""
    difference = vload(other, at) - value
    return difference * difference + sums


@phase
def _sum_up(query, other, times, n_lags, stride, sums):
    """sums[r stride + c] = sum of (query[t] - other[t - times[0] + c])^2 over times[0] <= t < times[r], c < n_lags.

    ``n_lags`` is a multiple of ``SWEEP``.
    """
    n = lanes(other)
    for c in range(0, n_lags, SWEEP):
        a = b = d = e = vfull(other, 0.0)
        for r in range(len(times)):
            for t in range(times[max(r - 1, 0)], times[r]):
                value, at = vsplat(query, t), t - times[0] + c
                a, b = _added(a, other, at, value), _added(b, other, at + n, value)
                d, e = _added(d, other, at + 2 * n, value), _added(e, other, at + 3 * n, value)
            at = r * stride + c
            vstore(sums, at, a)
            vstore(sums, at + n, b)
            vstore(sums, at + 2 * n, d)
            vstore(sums, at + 3 * n, e)


@helper
def _nearest_of(sums, before, after, count, changes, at, length, mine, weigh, best):
    """The smaller of ``best`` and the squared distances at ``count`` lags, the first of which leads to window ``at``.

    The ratio of complexities is at least 1: it is worked out only where the sum by itself is below ``best``.  The last
    vector of lags overlaps the one before it.
    """
    n = lanes(sums)
    if count < n:
        for j in range(count):
            squared = sums[after + j] - sums[before + j]
            if squared < best:
                best = min(best, _weighed(squared, changes, at + j, length, mine, weigh))
        return best
    for j in range(0, count, n):
        j = min(j, count - n)
        squared = vload(sums, after + j) - vload(sums, before + j)
        if any_below(squared, vfull(sums, best)):
            if weigh:
                theirs = vload(changes, at + j + length - 1) - vload(changes, at + j) + COMPLEXITY_FLOOR
                squared = squared * ratios(theirs, vfull(sums, mine))
            best = min(best, smallest(squared))
    return best


@helper
def _weighed(squared, changes, at, length, mine, weigh):
    """A squared distance to window ``at`` times the ratio of complexities."""
    if not weigh:
        return squared
    theirs = changes[at + length - 1] - changes[at] + COMPLEXITY_FLOOR
    return squared * (max(theirs, mine) / min(theirs, mine))


@helper
def _copy_part(series, first, count, out):
    """``series[first:first + count]``, zeros where that reaches over an end."""
    for m in range(count):
        t = first + m
        out[m] = series[t] if 0 <= t < len(series) else 0.0


@phase
def _cut(start, end, places, times, before, after):
    """Distinct starts and ends in order of time; of each candidate, which of them its start and end are."""
    first, last = start[0], end[0]
    for k in range(len(start)):
        first, last = min(first, start[k]), max(last, end[k])
    for t in range(first, last + 1):
        places[t] = -1
    for k in range(len(start)):
        places[start[k]] = places[end[k]] = 0
    n = 0
    for t in range(first, last + 1):
        if places[t] == 0:
            places[t], times[n] = n, t
            n += 1
    for k in range(len(start)):
        before[k], after[k] = places[start[k]], places[end[k]]
    return times[:n]


@phase
def _nearest(query, other, changes, lo, hi, start, end, times, before, after, complexities, window, weigh, stride, sums,
             part, squared):  # fmt: skip
    """Smallest squared distance of each candidate of ``query`` to the windows of [lo, hi) of ``other``; inf without."""
    last_start, first_end = start[0], end[0]
    for k in range(len(start)):
        last_start, first_end = max(last_start, start[k]), min(first_end, end[k])
        squared[k] = np.inf
    first_lag, end_lag = max(-window, lo - last_start), min(window, hi - first_end) + 1
    for lag in range(first_lag, end_lag, stride):
        n_lags = min(stride, end_lag - lag)
        n_swept = (n_lags + SWEEP - 1) // SWEEP * SWEEP
        _copy_part(other, times[0] + lag, times[-1] - times[0] + n_swept, part)
        _sum_up(query, part, times, n_swept, stride, sums)
        for k in range(len(start)):
            first, last = max(0, lo - start[k] - lag), min(n_lags, hi - end[k] - lag + 1)
            if first < last:
                squared[k] = _nearest_of(
                    sums, before[k] * stride + first, after[k] * stride + first, last - first, changes,
                    start[k] + lag + first, end[k] - start[k], complexities[k], weigh, squared[k],
                )  # fmt: skip


@phase
def _rank(distances, order, spare):
    """``order`` such that ``distances[order]`` ascends; a merge sort, whose first runs are ranked by counting.

    Counting compares all pairs of a run, which vectors do at once and without a branch.
    """
    n = len(distances)
    for lo in range(0, n, RUN):
        hi = min(lo + RUN, n)
        for m in range(lo, hi):
            own, rank = distances[m], lo
            for j in range(lo, m):
                rank += distances[j] <= own
            for j in range(m + 1, hi):
                rank += distances[j] < own
            order[rank] = m
    width = RUN
    while width < n:
        for lo in range(0, n, 2 * width):
            left, middle, end = lo, min(lo + width, n), min(lo + 2 * width, n)
            right = middle
            for k in range(lo, end):
                if right == end or (left < middle and distances[order[left]] <= distances[order[right]]):
                    spare[k] = order[left]
                    left += 1
                else:
                    spare[k] = order[right]
                    right += 1
        for k in range(n):
            order[k] = spare[k]
        width *= 2


@helper
def _gain(table, n, n_positive, near, hits):
    """Information gain of a threshold with ``near`` of n below it, ``hits`` of them positive; table[k] = k log2 k."""
    far, misses = n - near, n_positive - hits
    before = table[n] - table[n_positive] - table[n - n_positive]
    below = table[near] - table[hits] - table[near - hits]
    above = table[far] - table[misses] - table[far - misses]
    return (before - below - above) / n


@phase
def _best_gain(distances, order, positive, table):
    """Largest gain over the thresholds between distinct distances whose near side is enriched; 0 without."""
    n, n_positive, hits, best = len(order), 0, 0, 0.0
    for m in range(n):
        n_positive += positive[m]
    for near in range(1, n):
        hits += positive[order[near - 1]]
        if hits * n > n_positive * near and distances[order[near]] > distances[order[near - 1]] * (1.0 + DISTINCT):
            best = max(best, _gain(table, n, n_positive, near, hits))
    return best


@phase
def _widest(distances, order, positive, table, gain):
    """Threshold and margin of the widest gap of those that gain as much as ``gain``; NaN and 0 without."""
    n, n_positive, hits = len(order), 0, 0
    threshold, margin = np.nan, 0.0
    for m in range(n):
        n_positive += positive[m]
    for near in range(1, n):
        hits += positive[order[near - 1]]
        a, b = distances[order[near - 1]], distances[order[near]]
        if hits * n > n_positive * near and b > a * (1.0 + DISTINCT):
            width = 1.0 if b == np.inf else (b - a) / b
            if width > margin and _gain(table, n, n_positive, near, hits) >= gain - GAIN_TIE:
                threshold, margin = (a + b) / 2, width
    return threshold, margin


@phase
def _isolation(distances, order, length):
    """Median of the finite distances / sqrt(length); 0 without any."""
    n = 0
    while n < len(order) and distances[order[n]] < np.inf:
        n += 1
    if n == 0:
        return 0.0
    return (distances[order[(n - 1) // 2]] + distances[order[n // 2]]) / 2 / np.sqrt(length)


@phase
def _references_of(series, labels, references, offsets, permutations, others, positive, permuted):
    """The references that candidates of a series are scored on; how many, and how many have its label."""
    label, n, n_positive = labels[series], 0, 0
    for p in references[offsets[label] : offsets[label + 1]]:
        if p != series:
            others[n], positive[n] = p, labels[p] == label
            n_positive += positive[n]
            n += 1
    for k in range(len(permutations)):
        for m in range(n):
            permuted[k, m] = permutations[k, others[m]] == permutations[k, series]
    return n, n_positive


@phase
def _score(distances, positive, n_positive, length, table, order, spare):
    """Gain, threshold and margin of one candidate; leaves the order of its distances."""
    _rank(distances, order, spare)
    if n_positive == 0:
        return np.nan, np.nan, _isolation(distances, order, length)
    gain = _best_gain(distances, order, positive, table)
    threshold, margin = _widest(distances, order, positive, table, gain)
    return gain, threshold, margin


@helper
def _widest_span(offsets, lo, hi):
    most = 0
    for u in range(lo, hi):
        most = max(most, offsets[u + 1] - offsets[u])
    return most


@helper
def _room_to_score(n_references, n_permutations):
    """Others, positive, permuted, order and spare of one unit."""
    return (
        np.empty(n_references, np.int64), np.empty(n_references, np.int8),
        np.empty((n_permutations, n_references), np.int8), np.empty(n_references, np.int64),
        np.empty(n_references, np.int64),
    )  # fmt: skip


@kernel
def score_candidates(series, candidates, known, window, weigh, room, table, scores, null, lo, hi):
    """Gain, threshold, margin (3, n_candidates) and the null of each unit, from the series.

    ``series``: values, changes, valid (2, N, V).  ``candidates``: units, offsets, start, end.  ``known``: labels,
    references, their offsets, permutations.  ``room``: most lags of a block, a multiple of ``SWEEP``; most sums and
    most distances to keep at a time, if one candidate and ``SWEEP`` lags do not need more.
    """
    (values, changes, valid), (units, offsets, starts, ends) = series, candidates
    most_lags, most_sums, most_distances = room
    labels, references, reference_offsets, permutations = known
    T = values.shape[2]
    n_references = _widest_span(reference_offsets, 0, len(reference_offsets) - 1)
    others, positive, permuted, order, spare = _room_to_score(n_references, len(permutations))
    group = max(1, min(_widest_span(offsets, lo, hi), most_distances // max(1, n_references)))
    most_times = min(T + 1, 2 * group)
    most_lags = min(most_lags, (2 * window + SWEEP) // SWEEP * SWEEP)
    places, times = np.empty(T + 1, np.int64), np.empty(most_times, np.int64)
    before, after = np.empty(group, np.int64), np.empty(group, np.int64)
    complexities, squared = np.empty(group), np.empty(group)
    distances = np.empty((group, n_references))
    sums = np.empty(max(most_times * SWEEP, min(most_times * most_lags, most_sums)))
    part = np.empty(T + most_lags)
    for u in range(lo, hi):
        i, v = units[u, 0], units[u, 1]
        n, n_positive = _references_of(
            i, labels, references, reference_offsets, permutations, others, positive, permuted
        )  # fmt: skip
        for first in range(offsets[u], offsets[u + 1], group):
            last = min(first + group, offsets[u + 1])
            start, end = starts[first:last], ends[first:last]
            cuts = _cut(start, end, places, times, before, after)
            stride = max(SWEEP, min(most_lags, most_sums // len(cuts) // SWEEP * SWEEP))
            for k in range(last - first):
                complexities[k] = changes[i, v, end[k] - 1] - changes[i, v, start[k]] + COMPLEXITY_FLOOR
            for m in range(n):
                p = others[m]
                _nearest(
                    values[i, v], values[p, v], changes[p, v], valid[0, p, v], valid[1, p, v], start, end, cuts, before,
                    after, complexities, window, weigh, stride, sums, part, squared,
                )  # fmt: skip
                for k in range(last - first):
                    distances[k, m] = np.sqrt(squared[k])
            for k in range(last - first):
                d = distances[k, :n]
                scores[0, first + k], scores[1, first + k], scores[2, first + k] = _score(
                    d, positive[:n], n_positive, end[k] - start[k], table, order[:n], spare
                )  # fmt: skip
                for one in range(len(permutations)):
                    null[one, u] = max(null[one, u], _best_gain(d, order[:n], permuted[one, :n], table))


@kernel
def score_distances(distances, candidates, known, table, scores, null, lo, hi):
    """``score_candidates`` from distances (n_candidates, n_others), whose order is that of the references."""
    units, offsets, starts, ends = candidates
    labels, references, reference_offsets, permutations = known
    n_references = _widest_span(reference_offsets, 0, len(reference_offsets) - 1)
    others, positive, permuted, order, spare = _room_to_score(n_references, len(permutations))
    for u in range(lo, hi):
        n, n_positive = _references_of(
            units[u, 0], labels, references, reference_offsets, permutations, others, positive, permuted
        )  # fmt: skip
        for k in range(offsets[u], offsets[u + 1]):
            d = distances[k, :n]
            scores[0, k], scores[1, k], scores[2, k] = _score(
                d, positive[:n], n_positive, ends[k] - starts[k], table, order[:n], spare
            )  # fmt: skip
            for one in range(len(permutations)):
                null[one, u] = max(null[one, u], _best_gain(d, order[:n], permuted[one, :n], table))


@kernel
def match_shapelets(series, shapelets, offsets, channel, start, window, weigh, distance, place, lo, hi):
    """Distance and start of the nearest window; a job is one series and one shapelet."""
    values, changes, valid = series
    T, n_shapelets = values.shape[2], len(channel)
    widest = (min(2 * window + 1, T) + SWEEP) // SWEEP * SWEEP
    part, sums, times = np.empty(T + SWEEP), np.empty(2 * widest), np.zeros(2, np.int64)
    for job in range(lo, hi):
        i, s = job // n_shapelets, job % n_shapelets
        v, shapelet = channel[s], shapelets[offsets[s] : offsets[s + 1]]
        length = times[1] = len(shapelet)
        first = max(valid[0, i, v], start[s] - window)
        n_lags = min(valid[1, i, v] - length, start[s] + window) + 1 - first
        best, where = np.inf, -1
        if n_lags > 0:
            n_swept = (n_lags + SWEEP - 1) // SWEEP * SWEEP
            _copy_part(values[i, v], first, length + n_swept, part)
            _sum_up(shapelet, part, times, n_swept, n_swept, sums)
            mine = COMPLEXITY_FLOOR
            for t in range(1, length):
                mine += (shapelet[t] - shapelet[t - 1]) ** 2
            for j in range(n_lags):
                squared = sums[n_swept + j]
                if squared < best:
                    squared = _weighed(squared, changes[i, v], first + j, length, mine, weigh)
                    if squared < best:
                        best, where = squared, first + j
        distance[i, s], place[i, s] = np.sqrt(best), where
