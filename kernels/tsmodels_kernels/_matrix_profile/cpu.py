"""Numba kernels of the join profile.

Along a diagonal of the matrix of window pairs, the covariance follows from the sample that enters and the one that
leaves: with ``df[i] = (x[i+l-1] - x[i-1]) / 2`` and ``dg[i] = (x[i+l-1] - mean[i]) + (x[i-1] - mean[i-1])``,
``cov(i, j) = cov(i-1, j-1) + df[i] dg[j] + dg[i] df[j]``.

Pairs of series are walked row by row. The covariances of a row lie in memory by diagonal, so the next row updates them
in place and the columns are independent: they are walked in vectors. One correlation serves its row and its column.

A job meets one series, the columns, with all later ones, the rows, and writes only its own line of the tables; the
lines are merged afterwards. Windows of a series lie side by side, with room for a vector behind them. There, and where
a window takes no part, 1 / norm is NaN: no comparison with NaN is true. Places are floating-point numbers, so that
they are vectors of the same lanes.
"""

import numpy as np
from numba.extending import intrinsic

from .._flags import helper, kernel, phase
from .._simd import lanes, vfull, vload, vstore

ROOM = 16  # windows behind each series: at least a vector of float64
LEAST = -2.0  # below every correlation


@intrinsic
def _where_greater(typing_context, left, right, yes, no):
    """Lane by lane ``yes`` where ``left > right``, else (also where one is NaN) ``no``."""

    def codegen(ctx, builder, sig, args):
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[2], args[3])

    return yes(left, right, yes, no), codegen


@kernel
def window_statistics(x, begins, usable, firsts, length, min_std, rates, lo, hi):
    """Fill ``rates`` (3, window): df, dg, and 1 / norm of the centred window, NaN where it takes no part.

    Series i is ``x[begins[i]:begins[i + 1]]``, its windows are at ``firsts[i]``. The first of them has rates 0: its
    covariances are not updated but computed.
    """
    for i in range(lo, hi):
        before, window = 0.0, firsts[i]
        for start in range(begins[i], begins[i + 1] - length + 1):
            total = 0.0
            for t in range(start, start + length):
                total += x[t]
            mean = total / length
            squares = 0.0
            for t in range(start, start + length):
                squares += (x[t] - mean) * (x[t] - mean)
            if usable[window] and squares > 0 and squares >= min_std * min_std * length:
                rates[2, window] = 1 / np.sqrt(squares)
            if start > begins[i]:
                entering, leaving = x[start + length - 1], x[start - 1]
                rates[0, window] = (entering - leaving) / 2
                rates[1, window] = (entering - mean) + (leaving - before)
            before, window = mean, window + 1


@phase
def _covariance(x, i, j, length):
    mean_i = mean_j = 0.0
    for t in range(length):
        mean_i += x[i + t]
        mean_j += x[j + t]
    mean_i /= length
    mean_j /= length
    total = 0.0
    for t in range(length):
        total += (x[i + t] - mean_i) * (x[j + t] - mean_j)
    return total


@helper
def _best_lane(values, places, n):
    """The largest of n values and its place; of equals the first place."""
    best, place = values[0], places[0]
    for lane in range(1, n):
        if values[lane] > best or (values[lane] == best and places[lane] < place):
            best, place = values[lane], places[lane]
    return best, place


@phase
def _meet_row(cov, df, dg, inverse, best, nearest, row, column, a, b, work):
    """Columns a <= j < b: the covariances with one row, and its correlations where they are the best so far.

    ``row`` is (df, dg, 1 / norm, place), ``column`` the place of column 0, ``work`` has a line 0, 1, 2, ... and two to
    write on. Returns the best correlation of the row and the place of its column.
    """
    n = lanes(cov)
    df_row, dg_row = vfull(cov, row[0]), vfull(cov, row[1])
    inverse_row, place_row = vfull(cov, row[2]), vfull(cov, row[3])
    of_row, place_of_row, counting = vfull(cov, LEAST), vfull(cov, -1.0), vload(work[0], 0)
    for j in range(a, b, n):
        covariance = vload(cov, j) + df_row * vload(dg, j) + dg_row * vload(df, j)
        vstore(cov, j, covariance)
        correlation = covariance * vload(inverse, j) * inverse_row
        place_of_row = _where_greater(correlation, of_row, counting + (column + j), place_of_row)
        of_row = _where_greater(correlation, of_row, correlation, of_row)
        of_column = vload(best, j)
        vstore(nearest, j, _where_greater(correlation, of_column, place_row, vload(nearest, j)))
        vstore(best, j, _where_greater(correlation, of_column, correlation, of_column))
    vstore(work[1], 0, of_row)
    vstore(work[2], 0, place_of_row)
    return _best_lane(work[1], work[2], n)


@phase
def _meet(x, begin, other_begin, first, n_columns, other, n_rows, length, rates, cov, best, nearest, work):
    """The columns at ``first`` with the rows at ``other``; a series by itself keeps away from the main diagonal."""
    alone = first == other
    df, dg, inverse = rates[0, first:], rates[1, first:], rates[2, first:]
    for j in range(n_columns):
        cov[n_rows - 1 + j] = _covariance(x, other_begin, begin + j, length)
    for i in range(n_rows):
        of_row, place = cov[n_rows - 1 - i :], other + i
        if not alone:
            of_row[0] = _covariance(x, other_begin + i, begin, length)
        start = i + length // 2 + 1 if alone else 0
        row = (rates[0, place], rates[1, place], rates[2, place], float(place))
        found, where = _meet_row(of_row, df, dg, inverse, best[first:], nearest[first:], row, float(first), start,
                                 n_columns, work)  # fmt: skip
        if found > best[place]:
            best[place], nearest[place] = found, where


@kernel
def join(x, begins, firsts, length, rates, best, nearest, lo, hi):
    """Fill line i of ``best`` and ``nearest`` (series, window), filled with LEAST and -1 before.

    Line i has the best partners of series i in all later series, and of all later series in series i.
    """
    counts = np.maximum(begins[1:] - begins[:-1] - length + 1, 0)
    cov = np.empty(2 * counts.max() + ROOM)
    work = np.empty((3, ROOM))
    work[0] = np.arange(ROOM)
    for i in range(lo, hi):
        for k in range(i if len(counts) == 1 else i + 1, len(counts)):
            if counts[i] > 0 and counts[k] > 0:
                _meet(x, begins[i], begins[k], firsts[i], counts[i], firsts[k], counts[k], length, rates, cov, best[i],
                      nearest[i], work)  # fmt: skip


@kernel
def merge(firsts, length, best, nearest, distance, partner, lo, hi):
    """The best over the lines of the tables, the first of equals, of the windows of the series lo..hi-1."""
    for i in range(lo, hi):
        for window in range(firsts[i], firsts[i + 1]):
            line = 0
            for k in range(1, i + 1):
                if best[k, window] > best[line, window]:
                    line = k
            if nearest[line, window] >= 0:
                distance[window] = np.sqrt(2 * length * max(0.0, 1 - best[line, window]))
                partner[window] = int(nearest[line, window])
