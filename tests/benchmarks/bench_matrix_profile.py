"""The join profile against its definition and against straightforward NumPy, one thread.

::

    python -m tests.benchmarks.bench_matrix_profile            about a minute
    python -m tests.benchmarks.bench_matrix_profile --quick    tiny shapes, to see that it runs

A cell is a pair of windows of different series, counted once for each of the two, as every window needs its nearest.
Results are compared before anything is timed. A contender is left out where one call would take more than 20 s.
"""

import argparse
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from tsmodels_kernels._matrix_profile import join_profile

from .timing import Effort, clock_for, interleaved

# series, steps, length of windows
SHAPES = [(10, 100, 10), (10, 100, 30), (60, 333, 33), (20, 1000, 50), (2, 10_000, 200), (1, 20_000, 200)]
QUICK = [(3, 40, 5), (1, 60, 5)]
# cells per second, roughly: to leave out what would take too long
RATES = {"definition": 2e5, "numpy": 3e7}
LONGEST = 20.0
EFFORT = Effort(rounds=9, turn=0.02, most=2.0, longest=LONGEST)


def numpy_profile(series: list[NDArray], length: int) -> NDArray:
    """Distances, by one matrix product for each pair of series."""
    views = [np.lib.stride_tricks.sliding_window_view(values, length) for values in series]
    normal = [(v - v.mean(1, keepdims=True)) / v.std(1, keepdims=True) for v in views]
    best = [np.full(len(v), -np.inf) for v in views]
    for i, left in enumerate(normal):
        for j in range(i if len(normal) == 1 else i + 1, len(normal)):
            correlation = left @ normal[j].T / length
            if i == j:
                steps = np.arange(len(left))
                correlation[2 * np.abs(steps[:, None] - steps) <= length] = -np.inf
            best[i] = np.maximum(best[i], correlation.max(1))
            best[j] = np.maximum(best[j], correlation.max(0))
    return np.sqrt(2 * length * np.maximum(0, 1 - np.concatenate(best)))


def cells(n_series: int, n_timepoints: int, length: int) -> int:
    n_windows = n_timepoints - length + 1
    if n_series == 1:
        n_allowed = n_windows - length // 2 - 1
        return n_allowed * (n_allowed + 1)
    return n_series * (n_series - 1) * n_windows**2


def contenders(series: list[NDArray], length: int, n_cells: int) -> dict[str, Callable[[], NDArray]]:
    calls = {
        "tsmodels": lambda: join_profile(series, length).distance,
        "numpy": lambda: numpy_profile(series, length),
        "definition": lambda: join_profile(series, length, backend="reference").distance,
    }
    return {name: call for name, call in calls.items() if n_cells / RATES.get(name, math.inf) <= LONGEST}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny shapes")
    torch.set_num_threads(1)
    print("| series x steps, window | contender | ms | cells/s | ours is faster |\n|---|---|---|---|---|")
    for shape in QUICK if parser.parse_args().quick else SHAPES:
        n_series, n_timepoints, length = shape
        series = list(np.random.default_rng(0).standard_normal((n_series, n_timepoints)).cumsum(1))
        n_cells = cells(*shape)
        calls = contenders(series, length, n_cells)
        expected = calls["tsmodels"]()
        for name, call in calls.items():
            np.testing.assert_allclose(call() ** 2, expected**2, rtol=0, atol=1e-8, err_msg=name)
        seconds = interleaved(calls, clock_for(1, "cpu"), EFFORT)
        for name, found in seconds.items():
            ratio = found.median / seconds["tsmodels"].median
            place = f"{n_series} x {n_timepoints}, {length}"
            print(f"| {place} | {name} | {found.median * 1e3:.3g} | {n_cells / found.median:.2e} | {ratio:.3g} |")


if __name__ == "__main__":
    main()
