"""The work of the discovery, step by step: read, find candidates, score, choose."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tsmodels.shapelets._caps import in_turn_by_channel
from tsmodels.shapelets._cases import Cases, Fingerprint, Labels, channel_moments, fingerprint_of
from tsmodels.shapelets._select import best_first, without_overlap
from tsmodels_kernels import Candidates, Channels, Scores, find_candidates, score_candidates

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Clock", "Problem", "Workers", "choose", "draw_permutations", "find", "null_gains", "read", "score"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_UNITS_AT_ONCE = 256  # between two of these portions the bar moves and Ctrl-C is heard
_MOST_FILLED = 0.25  # of a candidate: one that is mostly a straight line over a gap shows the gap


class Workers(NamedTuple):
    """Who does the work and who watches it."""

    n_threads: int | None
    backend: str
    bar: Progress


class Clock:
    """Wall-clock seconds by stage."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block."""
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


@dataclass(frozen=True, eq=False)
class Problem:
    """Labelled series, standardised and ready for the kernels."""

    channels: Channels
    observed: npt.NDArray[np.bool_]
    labels: Labels
    mean: Floats
    std: Floats
    n_timepoints: int
    fingerprint: Fingerprint


def read(cases: Cases, labels: Labels, normalize: str | None) -> Problem:
    """Standardise cases, in place, and make what the kernels read."""
    fingerprint = fingerprint_of(cases, labels)
    mean, std = np.zeros(cases.n_channels), np.ones(cases.n_channels)
    if normalize is not None:
        mean, std = channel_moments(cases)
        cases.standardise(mean, std)
    channels = Channels.of(cases.values, cases.lo, cases.hi)
    return Problem(channels, cases.observed, labels, mean, std, cases.longest, fingerprint)


def find(problem: Problem, arguments: dict[str, Any], rng: np.random.Generator, workers: Workers) -> Candidates:
    """Return the candidates of all units, or of as many drawn ones as stay within ``max_candidates``."""
    present = problem.channels.lo < problem.channels.hi
    units, codes, cap = np.argwhere(present), problem.labels.codes, arguments["max_candidates"]
    if cap is not None and len(units):
        units = units[in_turn_by_channel(codes[units[:, 0]], units[:, 1], rng)]
    portions, n_found = [], 0
    task = workers.bar.add_task("candidates", total=len(units))
    for lo in range(0, len(units), _UNITS_AT_ONCE):
        portions.append(_find_portion(problem, units[lo : lo + _UNITS_AT_ONCE], arguments, workers))
        n_found += len(portions[-1])
        workers.bar.advance(task, _UNITS_AT_ONCE)
        if cap is not None and n_found > cap:
            break
    found = _joined(portions)
    if len(found) == 0:
        raise ValueError(
            f"X has no candidates: no channel of a series has a piece of min_length={arguments['min_length']} to "
            f"max_length={arguments['max_length']} time points without long gaps"
        )
    n_units = len(found.units)
    if cap is not None:  # classes take turns: the first units are one of each class
        n_classes = len(np.unique(codes[units[:, 0]]))
        n_units = min(n_units, max(n_classes, int(np.searchsorted(found.offsets, cap, side="right")) - 1))
    return _with_units(found, np.lexsort(found.units[:n_units, ::-1].T))


def _find_portion(problem: Problem, units: Integers, arguments: dict[str, Any], workers: Workers) -> Candidates:
    found = find_candidates(
        problem.channels,
        units,
        fraction=arguments["point_fraction"],
        min_points=arguments["min_points"],
        min_length=arguments["min_length"],
        max_length=arguments["max_length"],
        n_threads=workers.n_threads,
        backend=workers.backend,
    )
    observed = problem.observed[units[:, 0], units[:, 1]]
    n_observed = np.zeros((len(units), observed.shape[1] + 1), dtype=np.int64)
    np.cumsum(observed, axis=1, out=n_observed[:, 1:])
    unit, length = found.unit_of(), found.end - found.start
    n_filled = length - (n_observed[unit, found.end] - n_observed[unit, found.start])
    return found.keep(n_filled <= _MOST_FILLED * length)


def _joined(portions: list[Candidates]) -> Candidates:
    sizes = [np.diff(each.offsets) for each in portions]
    return Candidates(
        np.concatenate([np.empty((0, 2), dtype=np.int64), *(each.units for each in portions)]),
        np.concatenate([[0], np.cumsum(np.concatenate([np.empty(0, dtype=np.int64), *sizes]))]).astype(np.int64),
        np.concatenate([np.empty(0, dtype=np.int64), *(each.start for each in portions)]),
        np.concatenate([np.empty(0, dtype=np.int64), *(each.end for each in portions)]),
    )


def _with_units(candidates: Candidates, rows: Integers) -> Candidates:
    """Return the candidates of some units, in their order."""
    sizes = np.diff(candidates.offsets)[rows]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    index = np.arange(offsets[-1]) + np.repeat(candidates.offsets[rows] - offsets[:-1], sizes)
    return Candidates(candidates.units[rows], offsets, candidates.start[index], candidates.end[index])


def draw_permutations(codes: Integers, n_permutations: int, rng: np.random.Generator) -> Integers | None:
    """Return permuted labels (permutation, case), or None if there are to be none."""
    if n_permutations == 0:
        return None
    return rng.permuted(np.tile(codes, (n_permutations, 1)), axis=1)


def score(
    problem: Problem,
    candidates: Candidates,
    references: tuple[Integers, Integers],
    permutations: Integers | None,
    window: int,
    complexity: bool,
    workers: Workers,
) -> Scores:
    """Score all candidates, a portion of units at a time."""
    portions = []
    task = workers.bar.add_task("scores", total=len(candidates))
    for lo in range(0, len(candidates.units), _UNITS_AT_ONCE):
        portion = candidates.units_slice(lo, lo + _UNITS_AT_ONCE)
        portions.append(
            score_candidates(
                problem.channels,
                problem.labels.codes,
                portion,
                *references,
                window=window,
                complexity=complexity,
                permutations=permutations,
                n_threads=workers.n_threads,
                backend=workers.backend,
            )
        )
        workers.bar.advance(task, len(portion))
    gain, threshold, margin = (
        np.concatenate([getattr(each, name) for each in portions]) for name in ("gain", "threshold", "margin")
    )
    null = None if permutations is None else np.concatenate([each.null for each in portions], axis=1)
    return Scores(gain, threshold, margin, null)


def null_gains(problem: Problem, candidates: Candidates, scores: Scores, permutations: Integers) -> dict[str, Floats]:
    """Return the best gain of each class under permuted and under the given labels."""
    assert scores.null is not None
    n_classes = len(problem.labels.classes)
    series = candidates.units[:, 0]
    gain = np.zeros((len(permutations), n_classes))
    for best, of_unit, permuted in zip(gain, scores.null, permutations, strict=True):
        np.maximum.at(best, permuted[series], of_unit)
    observed = np.zeros(n_classes)
    np.fmax.at(observed, problem.labels.codes[series[candidates.unit_of()]], scores.gain)
    alone = np.bincount(problem.labels.codes) == 1
    gain[:, alone], observed[alone] = np.nan, np.nan
    return {"gain": gain, "observed": observed}


def choose(problem: Problem, candidates: Candidates, scores: Scores, n_per_class: int, *, fill: bool) -> Integers:
    """Return the rows of the candidates that become shapelets, sorted by class and rank."""
    series, channel = candidates.units[candidates.unit_of()].T
    codes = problem.labels.codes[series]
    order = best_first(np.nan_to_num(scores.gain), scores.margin, series, channel, candidates.start, candidates.end)
    chosen = []
    for code in range(len(problem.labels.classes)):
        rows = order[codes[order] == code]
        intervals = channel[rows], candidates.start[rows], candidates.end[rows]
        chosen.append(rows[without_overlap(*intervals, n_per_class, fill=fill)])
    return np.concatenate(chosen)
