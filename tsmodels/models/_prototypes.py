"""Motifs of a class: windows that have a near neighbour in another series of the class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tsmodels_kernels import JoinProfile, join_profile

_MOST_SERIES, _MOST_POINTS = 60, 20_000  # of one class and channel
_MOST_FILLED = 0.25  # a window with a larger share of interpolated values is a straight line more than a motif


@dataclass(frozen=True)
class Motif:
    """A window of a training series, in the units that were searched."""

    values: NDArray[np.float64]
    series: int
    start: int
    label: int


def window_lengths(n_timepoints: int) -> list[int]:
    """Lengths of prototypes, ascending: 10, 20, 30 % of short series, 5, 10, 20 % above 200 steps, at least 5 steps.

    Above 1000 steps: 50, 100 and 200. A length that does not fit is cut to the series; series of one step have none.
    """
    if n_timepoints > 1000:
        lengths = [50, 100, 200]
    else:
        shares = (0.1, 0.2, 0.3) if n_timepoints <= 200 else (0.05, 0.1, 0.2)
        lengths = [max(5, round(share * n_timepoints)) for share in shares]
    return sorted({min(length, n_timepoints) for length in lengths} - {0, 1})


def class_motifs(
    values: NDArray,
    lo: NDArray,
    hi: NDArray,
    observed: NDArray,
    labels: NDArray,
    lengths: Sequence[int],
    n_each: int,
    generator: np.random.Generator,
) -> list[Motif]:
    """Motifs of every class in one channel: for each length the ``n_each`` windows nearest to a window elsewhere.

    Elsewhere is another series of the class; if only one is long enough, a window of it that overlaps less than half.
    A motif does not overlap another one, or the neighbour of another one, by more than half. More than 60 series or
    20 000 steps of a class are cut to a draw of series, of at least two.

    Parameters
    ----------
    values : array (case, time)
        The channel, finite in the valid range.
    lo, hi : array of int (case,)
        Valid range, half-open.
    observed : array of bool (case, time)
        False where a value was interpolated; windows with more than a quarter of such values are no motifs.
    labels : array of int (case,)
        Class codes.
    lengths : sequence of int
        Lengths of motifs.
    n_each : int
        Motifs of a class and length.
    generator : numpy Generator
        For the draws.

    Returns
    -------
    list of Motif
        Class after class, length after length, nearest first.
    """
    motifs = []
    for label in np.unique(labels):
        drawn = _within_caps(np.flatnonzero(labels == label), hi - lo, generator)
        for length in lengths:
            cases = drawn[(hi - lo)[drawn] >= length]
            if len(cases) == 0:
                continue
            usable = [_window_mean(~observed[i, lo[i] : hi[i]], length) <= _MOST_FILLED for i in cases]
            profile = join_profile([values[i, lo[i] : hi[i]] for i in cases], length, usable=usable)
            for i, start in _best_apart(profile, length, n_each):
                case, first = int(cases[i]), int(lo[cases[i]]) + start
                motifs.append(Motif(values[case, first : first + length].copy(), case, first, int(label)))
    return motifs


def _within_caps(cases: NDArray, n_steps: NDArray, generator: np.random.Generator) -> NDArray:
    if len(cases) <= _MOST_SERIES and n_steps[cases].sum() <= _MOST_POINTS:
        return cases
    drawn = generator.permutation(cases)[:_MOST_SERIES]
    fits = n_steps[drawn].cumsum() <= _MOST_POINTS
    fits[:2] = True
    return np.sort(drawn[fits])


def _window_mean(flags: NDArray, length: int) -> NDArray:
    sums = np.concatenate([[0], flags.cumsum()])
    return (sums[length:] - sums[:-length]) / length


def _best_apart(profile: JoinProfile, length: int, n_best: int) -> list[tuple[int, int]]:
    """Series and first step of the nearest windows that keep away from those taken and from their partners."""
    series = np.repeat(np.arange(len(profile.offsets) - 1), np.diff(profile.offsets))
    start = np.arange(len(series)) - profile.offsets[series]
    free, taken = np.isfinite(profile.distance), []
    for window in np.argsort(profile.distance, kind="stable"):
        if len(taken) == n_best or not np.isfinite(profile.distance[window]):
            break
        if free[window]:
            taken.append((int(series[window]), int(start[window])))
            partner = profile.partner_series[window], profile.partner_start[window]
            for i, at in (taken[-1], partner):
                free &= (series != i) | (2 * np.abs(start - at) >= length)
    return taken
