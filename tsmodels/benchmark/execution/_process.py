"""The child process of a worker, seen from the worker: started, given tasks, watched, ended."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil

from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark.execution._memory import SECONDS_BETWEEN_SAMPLES, MemoryGauge
from tsmodels.benchmark.execution._start import kill_group, start_python
from tsmodels.benchmark.execution._threads import thread_variables

__all__ = ["Child", "Program", "Reply"]


# after so many seconds without a request a child ends itself
_PATIENCE = 900.0


@dataclass(frozen=True)
class Program:
    """What a child is told once.

    Attributes
    ----------
    function, initialise : bytes
        Pickled; `initialise` may be None.
    seconds, memory_mb : float or None
        Limits of one task.
    threads : int or None
        None leaves the libraries as the environment sets them.
    """

    function: bytes
    initialise: bytes | None
    seconds: float | None
    memory_mb: float | None
    threads: int | None


@dataclass(frozen=True)
class Reply:
    """What became of a task; `value` is pickled."""

    value: bytes | None
    error: str | None
    traceback: str | None
    seconds: float
    peak_memory_mb: float | None


class Child:
    """A process that is kept from task to task and replaced after one that cost it its life.

    Parameters
    ----------
    program : Program
    cores : list of int, optional
        The cores it is bound to.
    """

    def __init__(self, program: Program, cores: list[int] | None = None):
        self._program, self._cores = program, cores
        self._process: _Process | None = None
        self._memory_at_start, self._last_use = 0.0, 0.0

    def run(self, argument: bytes) -> Reply:
        """Run one task.

        Raises
        ------
        RequestError
            The function cannot be loaded in the process, or `initialise` raised.
        """
        start = time.perf_counter()
        try:
            process = self._started()
            start = time.perf_counter()  # a limit holds for the task, not for the imports before the first
            value, error, trace, seconds = process.exchange(argument, self._program.seconds, self._program.memory_mb)
            reply = Reply(value, error, trace, seconds, process.gauge.peak_mb)
            self._drop_if_swollen(process)
            self._last_use = time.monotonic()
            return reply
        except (_LimitError, _DiedError) as failure:
            seconds, peak = time.perf_counter() - start, self._peak() or None
            exit_code = self.stop()
            error = str(failure) if isinstance(failure, _LimitError) else f"WorkerDiedError: {_manner(exit_code)}"
            return Reply(None, error, None, seconds, peak)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> int | None:
        """End the process and all it has started; return its exit code, None if there is no process."""
        process, self._process = self._process, None
        return None if process is None else process.kill()

    def _started(self) -> _Process:
        if time.monotonic() - self._last_use > _PATIENCE / 2:
            self.stop()  # before it ends itself just when it is asked
        if self._process is None:
            self._process = _Process(self._program.threads, self._cores)
            self._process.load(self._program)
            self._memory_at_start = self._process.gauge.sample()
        return self._process

    def _peak(self) -> float | None:
        return None if self._process is None else self._process.gauge.peak_mb

    def _drop_if_swollen(self, process: _Process) -> None:
        """End a process that keeps so much from its tasks that the next could fail by what is not its own."""
        limit = self._program.memory_mb
        if limit is not None and process.gauge.sample() > (self._memory_at_start + limit) / 2:
            self.stop()


class _LimitError(Exception):
    """A task took more than it may; the message is the error of its outcome."""


class _DiedError(Exception):
    """The process ended before its answer."""


class _Process:
    """One process and the pipes to it."""

    def __init__(self, threads: int | None, cores: list[int] | None):
        self._connection, theirs = multiprocessing.Pipe()
        lifeline, self._lifeline = os.pipe()
        try:
            self._process = start_python(
                "tsmodels.benchmark.execution._child",
                "serve",
                theirs.fileno(),
                lifeline,
                _PATIENCE,
                environment=None if threads is None else os.environ | thread_variables(threads),
                descriptors=(theirs.fileno(), lifeline),
            )
        except BaseException:
            self._close()
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        self.gauge = MemoryGauge(self._process.pid)
        if cores is not None:
            os.sched_setaffinity(self._process.pid, cores)

    def load(self, program: Program) -> None:
        content = (program.function, program.initialise, program.threads)
        _, error, trace, _ = self.exchange(pickle.dumps(content, protocol=pickle.HIGHEST_PROTOCOL))
        if error is not None:
            raise RequestError(f"a worker cannot load the function or initialise itself: {error}\n{trace}")

    def exchange(self, request: bytes, seconds: float | None = None, memory_mb: float | None = None) -> Any:
        """Send a request, and return the answer or raise a _LimitError or _DiedError."""
        self.gauge.peak_mb = 0.0
        start = time.monotonic()
        try:
            self._connection.send_bytes(request)
            while not self._connection.poll(_pause(start, seconds)):
                used = self.gauge.sample()
                if used == 0:  # seen here if a process it forked holds the pipe open
                    raise _DiedError
                if memory_mb is not None and used > memory_mb:
                    raise _LimitError(f"MemoryLimitError: {used:.0f} MB resident, more than {memory_mb:g} MB.")
                if seconds is not None and time.monotonic() - start >= seconds:
                    raise _LimitError(f"TimeLimitError: not finished after {seconds:g} s.")
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise _DiedError from error
        self.gauge.sample()
        return answer

    def kill(self) -> int:
        """End the process and those it started; return its exit code."""
        strays = self.gauge.descendants()
        try:
            return kill_group(self._process)
        finally:
            for stray in strays:  # those that left the group
                with suppress(psutil.Error):
                    stray.kill()
            self._close()

    def _close(self) -> None:
        self._connection.close()
        os.close(self._lifeline)


def _pause(start: float, seconds: float | None) -> float:
    if seconds is None:
        return SECONDS_BETWEEN_SAMPLES
    return min(SECONDS_BETWEEN_SAMPLES, max(0.0, start + seconds - time.monotonic()))


def _manner(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"exited with code {exit_code}"
    with suppress(ValueError):
        return f"killed by signal {-exit_code} ({signal.Signals(-exit_code).name})"
    return f"killed by signal {-exit_code}"
