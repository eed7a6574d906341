"""Tasks on worker processes of this machine, by joblib's loky."""

from __future__ import annotations

import signal
from concurrent.futures import Future

from joblib.externals.loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

from tsmodels.benchmark.execution._process import Child, Program, Reply
from tsmodels.benchmark.execution._start import end_with_parent
from tsmodels.benchmark.execution._threads import cores_of_worker

__all__ = ["LokyPool"]


class LokyPool:
    """Workers that each have a loky executor of their own: the death of one is no other's business.

    Parameters
    ----------
    program : Program
    n_workers : int
    """

    max_reruns = 2

    def __init__(self, program: Program, n_workers: int):
        self._program, self._n_workers = program, n_workers
        self._idle = list(range(n_workers))
        self._executors: dict[int, ProcessPoolExecutor] = {}

    def capacity(self) -> int:
        """Return how many tasks may be unfinished at a time."""
        return self._n_workers

    def submit(self, argument: bytes) -> Future[Reply]:
        """Give a task to an idle worker."""
        slot = self._idle.pop()
        future = self._submit_to(slot, argument)
        future.add_done_callback(lambda _: self._idle.append(slot))
        return future

    def worker_died(self, error: BaseException) -> bool:
        """Return whether the exception of a future is the death of its worker."""
        return isinstance(error, BrokenProcessPool)

    def close(self) -> None:
        """Kill the workers."""
        while self._executors:
            _, executor = self._executors.popitem()
            executor.shutdown(wait=True, kill_workers=True)

    def _submit_to(self, slot: int, argument: bytes) -> Future[Reply]:
        if slot in self._executors:
            try:
                return self._executors[slot].submit(_run, argument)
            except BrokenProcessPool:
                self._executors.pop(slot).shutdown(wait=True, kill_workers=True)
        self._executors[slot] = self._make(slot)
        return self._executors[slot].submit(_run, argument)

    def _make(self, slot: int) -> ProcessPoolExecutor:
        cores = cores_of_worker(slot, self._n_workers, self._program.threads)
        return ProcessPoolExecutor(max_workers=1, initializer=_set_up, initargs=(self._program, cores))


_child: Child | None = None


def _set_up(program: Program, cores: list[int] | None) -> None:
    """Prepare a worker process."""
    global _child
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    end_with_parent()  # and the child with this process, by its lifeline
    _child = Child(program, cores)


def _run(argument: bytes) -> Reply:
    assert _child is not None
    return _child.run(argument)
