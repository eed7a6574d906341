"""Shapelet discovery against its definition and against plain NumPy, in one run.

::

    python -m tests.benchmarks.bench_shapelets             about a minute
    python -m tests.benchmarks.bench_shapelets --quick     tiny shapes, to see that it runs

The first table is of discovery as a whole (important points, candidates, distances, gains) on BasicMotions and
AtrialFibrillation: 80 % of each class of the training split, standardised, from the folder that ``TSMODELS_DATA`` names
or from what is bundled with sktime; else random walks of the same shape.  The two baselines would take minutes: they
score every so many candidates, and their time is scaled up.  What disagrees with ours is not timed.

The second table is of ``score_candidates`` on random walks, in microseconds for a pair of a candidate and a series.

Contenders take turns in one process.  One thread: CPU time of the process; more threads: wall time.
"""

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import llvmlite.binding
import numba
import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from tsmodels_datamodules import DataNotFoundError, load_archive
from tsmodels_kernels import Candidates, Channels, find_candidates, score_candidates
from tsmodels_kernels._shapelets.ref import split

from .timing import Effort, clock_for, interleaved

OURS, NUMPY, NAIVE = "ours", "numpy", "naive"
SHARES = {NUMPY: 100, NAIVE: 2000}  # of how many candidates each baseline scores one
GAIN = 1e-9  # what a contender may be off
FLOOR = 1e-3

EFFORTS = {
    "quick": Effort(rounds=3, turn=0.01, most=0.1, longest=60.0),
    "default": Effort(rounds=9, turn=0.1, most=3.0, longest=60.0),
}


class Problem(NamedTuple):
    """Series of some classes, and the half window."""

    name: str
    values: np.ndarray
    labels: np.ndarray
    window: int

    @property
    def references(self) -> tuple[np.ndarray, np.ndarray]:
        """All series, for each class."""
        n_cases, n_classes = len(self.labels), self.labels.max() + 1
        return np.tile(np.arange(n_cases), n_classes), np.arange(n_classes + 1) * n_cases

    @property
    def units(self) -> np.ndarray:
        n_cases, n_channels, _ = self.values.shape
        return np.stack(np.divmod(np.arange(n_cases * n_channels), n_channels), 1)


def random_walks(n_cases: int, n_channels: int, n_timepoints: int, window: int, name: str = "") -> Problem:
    values = np.random.default_rng(0).standard_normal((n_cases, n_channels, n_timepoints)).cumsum(-1)
    return Problem(name or "random walks", standardised(values), np.arange(n_cases) % 3, window)


def standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean((0, 2), keepdims=True)) / values.std((0, 2), keepdims=True)


def archive_problem(name: str, shape: tuple[int, int, int], window: int) -> Problem:
    """The first 80 % of each class of a training split, or random walks."""
    try:
        archive = load_archive(name, download=False)
    except DataNotFoundError:
        return random_walks(*shape, window, f"{name} (random)")
    labels = np.unique(archive.y_train, return_inverse=True)[1]
    members = [np.flatnonzero(labels == c) for c in range(labels.max() + 1)]
    kept = np.sort(np.concatenate([m[: int(0.8 * len(m))] for m in members]))
    return Problem(name, standardised(np.asarray(archive.X_train, np.float64)[kept]), labels[kept], window)


# --- contenders


def discover(problem: Problem) -> tuple[Candidates, np.ndarray]:
    """All candidates and their gains, from the series on."""
    channels = Channels.of(problem.values)
    candidates = find_candidates(channels, problem.units)
    return candidates, score_candidates(
        channels, problem.labels, candidates, *problem.references, window=problem.window
    ).gain


def some(candidates: Candidates, every: int) -> Candidates:
    return candidates.keep(np.arange(len(candidates)) % every == every // 2)


def naive_gains(problem: Problem, every: int) -> np.ndarray:
    """The definition, a loop over lags, of every so many candidates."""
    channels = Channels.of(problem.values)
    candidates = some(find_candidates(channels, problem.units), every)
    return score_candidates(
        channels, problem.labels, candidates, *problem.references, window=problem.window, backend="reference"
    ).gain


def numpy_gains(problem: Problem, every: int) -> np.ndarray:
    """All lags and all series at once for one candidate after another, of every so many."""
    values, labels = problem.values, problem.labels
    changes = np.square(np.diff(values))
    candidates = some(find_candidates(Channels.of(values), problem.units), every)
    gains = []
    for (i, v), start, end in zip(
        candidates.units[candidates.unit_of()], candidates.start, candidates.end, strict=True
    ):
        length = end - start
        starts = slice(max(0, start - problem.window), start + problem.window + 1)
        windows = sliding_window_view(values[:, v], length, -1)[:, starts]
        squared = np.square(windows - values[i, v, start:end]).sum(-1)
        theirs = sliding_window_view(changes[:, v], length - 1, -1)[:, starts].sum(-1) + FLOOR
        own = changes[i, v, start : end - 1].sum() + FLOOR
        squared *= np.maximum(own, theirs) / np.minimum(own, theirs)
        distances = np.delete(np.sqrt(squared.min(-1)), i)
        gains.append(split(distances, np.delete(labels == labels[i], i))[0])
    return np.array(gains)


BASELINES: dict[str, Callable[[Problem, int], np.ndarray]] = {NUMPY: numpy_gains, NAIVE: naive_gains}


def wrong(problem: Problem, shares: dict[str, int]) -> dict[str, float]:
    """Largest difference from our gains, of the baselines that disagree with us."""
    candidates, gains = discover(problem)
    found = {}
    for name, baseline in BASELINES.items():
        mine = gains[np.arange(len(candidates)) % shares[name] == shares[name] // 2]
        difference = abs(baseline(problem, shares[name]) - mine).max(initial=0)
        if not difference < GAIN:
            found[name] = difference
    return found


# --- tables


def discovery_table(problems: list[Problem], shares: dict[str, int], effort: Effort) -> bool:
    """Print seconds of discovery, one thread; whether all agreed."""
    torch.set_num_threads(1)
    print("| data set | shape, half window | candidates | ours | numpy | naive | numpy / ours | naive / ours |")
    print("|---|---|---|---|---|---|---|---|")
    agreed = True
    for problem in problems:
        for name, difference in wrong(problem, shares).items():
            print(f"{problem.name}: gains of {name} differ from ours by {difference:.1e}")
            agreed = False
        actions = {OURS: partial(discover, problem)}
        actions |= {name: partial(baseline, problem, shares[name]) for name, baseline in BASELINES.items()}
        times = interleaved(actions, clock_for(1, "cpu"), effort)
        n = len(find_candidates(Channels.of(problem.values), problem.units))
        seconds = {OURS: times[OURS].median}
        for name in BASELINES:
            scored = len(np.arange(shares[name] // 2, n, shares[name]))
            seconds[name] = times[name].median * n / scored
        shape = "x".join(map(str, problem.values.shape))
        ratios = [seconds[name] / seconds[OURS] for name in BASELINES]
        print(
            f"| {problem.name} | {shape}, {problem.window} | {n} | {seconds[OURS]:.4f} s | {seconds[NUMPY]:.2f} s "
            f"| {seconds[NAIVE]:.0f} s | {ratios[0]:.0f} | {ratios[1]:.0f} |"
        )
    return agreed


def scaling_table(shapes: list[tuple[int, int, int, int]], threads: tuple[int, ...], effort: Effort) -> None:
    """Print microseconds per pair for series x channels x length and half window."""
    head = " | ".join(f"{n} thread{'s' * (n > 1)}" for n in threads)
    print(f"\n| shape, half window | candidates | pairs | {head} |\n|---|---|---|{'---|' * len(threads)}")
    for shape in shapes:
        problem = random_walks(*shape)
        channels = Channels.of(problem.values)
        candidates = find_candidates(channels, problem.units)
        n_pairs = len(candidates) * (len(problem.labels) - 1)
        cells = []
        for n_threads in threads:
            score = partial(
                score_candidates, channels, problem.labels, candidates, *problem.references, window=problem.window,
                n_threads=n_threads,
            )  # fmt: skip
            seconds = interleaved({OURS: score}, clock_for(n_threads, "cpu"), effort)[OURS].median
            cells.append(f"{seconds / n_pairs * 1e6:.3f} µs")
        name = f"{'x'.join(map(str, shape[:3]))}, {problem.window}"
        print(f"| {name} | {len(candidates)} | {n_pairs} | {' | '.join(cells)} |")


def main() -> int:
    parser = argparse.ArgumentParser(description="Shapelet discovery against its definition.")
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to see that it runs")
    parser.add_argument("--threads", type=int, nargs="+", default=(1, 2))
    options = parser.parse_args()
    effort = EFFORTS["quick" if options.quick else "default"]
    features = llvmlite.binding.get_host_cpu_features()
    simd = next((name for name in ("avx512f", "avx2", "neon") if features.get(name)), "other")
    print(
        f"{llvmlite.binding.get_host_cpu_name()}, {simd}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"numba {numba.__version__}, numpy {np.__version__}, float64\n"
    )
    if options.quick:
        problems, shares = [random_walks(6, 2, 30, 10)], {NUMPY: 5, NAIVE: 5}
        shapes = [(4, 1, 30, 5)]
    else:
        problems = [
            archive_problem("BasicMotions", (32, 6, 100), 100),
            archive_problem("AtrialFibrillation", (12, 2, 640), 100),
        ]
        shares = SHARES
        shapes = [
            *((20, 2, T, w) for T, w in ((30, 10), (62, 10), (152, 20), (405, 200), (1197, 200), (3000, 100))),
            *((N, 2, 152, 20) for N in (10, 40, 80)),
            *((20, V, 152, 20) for V in (1, 6)),
            (3, 1, 17984, 200),
        ]
    agreed = discovery_table(problems, shares, effort)
    scaling_table(shapes, tuple(options.threads), effort)
    return 0 if agreed else 1


if __name__ == "__main__":
    raise SystemExit(main())
