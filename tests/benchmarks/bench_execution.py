"""Tiny tasks through each backend of the benchmark runner: what a task costs, and whether the parent grows.

::

    python -m tests.benchmarks.bench_execution               2000 tasks each
    python -m tests.benchmarks.bench_execution --n-tasks 50  to see that it runs

The first 5 % of the tasks, with the start of the workers, count as start. Memory (resident), open files and threads are
those of the parent after the start, after the last task, and after the run.
"""

import argparse
import time
from typing import NamedTuple

import psutil

from tsmodels.benchmark.execution import Backend, Budget, run_tasks

RUNS = {
    "serial, this process": (Backend(), Budget()),
    "serial, budget": (Backend(), Budget(seconds=60, memory_mb=4096)),
    "loky, 2 workers": (Backend("loky", n_jobs=2), Budget()),
    "loky, 2 workers, budget": (Backend("loky", n_jobs=2), Budget(seconds=60, memory_mb=4096)),
    "dask, 2 workers": (Backend("dask", n_jobs=2), Budget()),
    "dask, 2 workers, budget": (Backend("dask", n_jobs=2), Budget(seconds=60, memory_mb=4096)),
}


class State(NamedTuple):
    """Of this process."""

    seconds: float
    megabytes: float
    n_files: int
    n_threads: int


def state() -> State:
    process = psutil.Process()
    return State(time.perf_counter(), process.memory_info().rss / 2**20, process.num_fds(), process.num_threads())


def measure(backend: Backend, budget: Budget, n_tasks: int) -> tuple[State, State, State, State]:
    """Return the states before, after the start, after the last task, and after the run."""
    before, after_start, last = state(), None, None
    outcomes = run_tasks(str, ((i, i) for i in range(n_tasks)), backend=backend, budget=budget)
    for n_done, outcome in enumerate(outcomes, start=1):
        assert outcome.error is None, outcome
        if n_done == max(1, n_tasks // 20):
            after_start = state()
        if n_done == n_tasks:
            last = state()
    assert after_start is not None
    assert last is not None
    return before, after_start, last, state()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n-tasks", type=int, default=2000)
    n_tasks = parser.parse_args().n_tasks
    print(f"{n_tasks} tasks")
    print("| backend | start s | ms a task | MB, early to last, after | files | threads |")
    print("|---|---|---|---|---|---|")
    for name, (backend, budget) in RUNS.items():
        before, early, last, after = measure(backend, budget, n_tasks)
        each = 1000 * (last.seconds - early.seconds) / max(1, n_tasks - n_tasks // 20)
        print(
            f"| {name} | {early.seconds - before.seconds:.1f} | {each:.1f} "
            f"| {early.megabytes:.0f} to {last.megabytes:.0f}, {after.megabytes:.0f} "
            f"| {early.n_files} to {last.n_files}, {after.n_files} "
            f"| {early.n_threads} to {last.n_threads}, {after.n_threads} |"
        )


if __name__ == "__main__":
    main()
