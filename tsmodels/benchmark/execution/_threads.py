"""How many threads the libraries of one worker use, and on which cores."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["available_cores", "cores_of_worker", "pinned", "thread_variables"]

_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def available_cores() -> list[int]:
    """Return the cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores_of_worker(slot: int, n_workers: int, threads: int | None) -> list[int] | None:
    """Return the cores to bind a worker to; None where it is better left to the system.

    Workers are bound only if together they fill the machine: of two runs side by side that each use a part of it, both
    would sit on the first cores while the others idle.
    """
    cores = available_cores()
    if threads is None or not hasattr(os, "sched_setaffinity"):
        return None
    if not n_workers * threads <= len(cores) < (n_workers + 1) * threads:
        return None
    return cores[slot * threads : (slot + 1) * threads]


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment that numerical libraries read when they are first imported."""
    return dict.fromkeys(_VARIABLES, str(threads))


@contextmanager
def pinned(threads: int | None) -> Iterator[None]:
    """Limit the threads of the libraries of this process, those imported meanwhile too; None leaves them alone."""
    if threads is None:
        yield
        return
    with ExitStack() as stack:
        variables = thread_variables(threads)
        # Numba reads it again and again, and refuses to go on if it differs from what its threads were started with
        del variables["NUMBA_NUM_THREADS"]
        stack.enter_context(_environment(variables))
        stack.enter_context(_loaded_libraries(threads))
        yield


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _loaded_libraries(threads: int) -> Iterator[None]:
    with ExitStack() as stack:
        if torch := sys.modules.get("torch"):
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        numba = sys.modules.get("numba.np.ufunc.parallel")
        # asking would start its threads, which stand in the way of torch's
        if numba is not None and numba._is_initialized:
            stack.callback(numba.set_num_threads, numba.get_num_threads())
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
        if "numpy" in sys.modules:
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(threads))
        yield
