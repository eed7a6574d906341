"""Tasks run in this process, on the cores of this machine or on a cluster, with the same results.

A task that raises, takes too long, needs too much memory or takes its process down costs its own outcome only.
"""

from __future__ import annotations

import itertools
import math
import operator
import os
import pickle
import queue
import time
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias

from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark.execution._child import described
from tsmodels.benchmark.execution._memory import MemoryGauge, sampled
from tsmodels.benchmark.execution._pickle import dumps
from tsmodels.benchmark.execution._process import Child, Program, Reply
from tsmodels.benchmark.execution._threads import available_cores, pinned

__all__ = ["Backend", "Budget", "Outcome", "run_tasks"]

_BACKENDS = ("serial", "loky", "dask")
# a pool is asked so often whether it can still do its work
_SECONDS_BETWEEN_LOOKS = 1.0

_Tasks: TypeAlias = Iterable[tuple[Any, Any]]
_OnStart: TypeAlias = Callable[[Any], None] | None


@dataclass(frozen=True)
class Budget:
    """What one task may use.

    Attributes
    ----------
    seconds : float, optional
        Of wall-clock time, from the start of the task: neither the start of its process nor `initialise` counts.
    memory_mb : float, optional
        Resident megabytes (2**20 bytes) of the task's process and all that it has started, imported libraries included;
        pages that several of them share count in each. Sampled about 20 times a second.

    Raises
    ------
    RequestError
        A limit is not a positive number.
    """

    seconds: float | None = None
    memory_mb: float | None = None

    def __post_init__(self):
        for name in ("seconds", "memory_mb"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise RequestError(f"{name} must be a positive number, got {value!r}; None sets no limit.")


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes
    ----------
    key : object
        As given with the task.
    value : object
        What the function returned; None if it failed.
    error : str or None
        ``"Type: message"``: of the exception raised, or of type TimeLimitError, MemoryLimitError, WorkerDiedError (its
        process was killed or ended itself) or PicklingError (argument or value cannot be sent). None means that `value`
        is valid.
    traceback : str or None
        Of an exception raised.
    seconds : float
        Time spent in the function.
    peak_memory_mb : float or None
        Highest resident megabytes of the process and all that it has started while the task ran, sampled; None if it
        died before the first sample.
    """

    key: Any
    value: Any | None
    error: str | None
    traceback: str | None
    seconds: float
    peak_memory_mb: float | None


@dataclass(frozen=True)
class Backend:
    """Where tasks run.

    Attributes
    ----------
    name : {"serial", "loky", "dask"}, default="serial"
        One task after the other, on worker processes of this machine by joblib's loky, or on Dask workers.
    n_jobs : int, default=1
        Number of workers; -1 takes as many as there are cores for this process.
    threads : int, optional
        Threads of each worker's numerical libraries. By default, several workers on this machine share its cores
        evenly, unless OMP_NUM_THREADS is set; otherwise the libraries choose. Workers that together fill the machine
        are also bound to cores of their own.
    scheduler : str, optional
        Address of a Dask scheduler, all of whose workers are used. By default a cluster of `n_jobs` workers is started
        on this machine.

    Raises
    ------
    RequestError
        A name is unknown, a number is not positive, or an argument has no effect on this backend.
    """

    name: Literal["serial", "loky", "dask"] = "serial"
    n_jobs: int = 1
    threads: int | None = None
    scheduler: str | None = None

    def __post_init__(self):
        if self.name not in _BACKENDS:
            raise RequestError(f"the backend must be one of {', '.join(_BACKENDS)}; got {self.name!r}.")
        if self.n_jobs != -1 and self.n_jobs < 1:
            raise RequestError(f"n_jobs must be at least 1, or -1 for all cores; got {self.n_jobs}.")
        if self.threads is not None and self.threads < 1:
            raise RequestError(f"threads must be at least 1, got {self.threads}.")
        if self.name == "serial" and self.n_jobs != 1:
            raise RequestError("n_jobs has no effect on the serial backend: choose loky or dask, or leave it out.")
        if self.scheduler is not None and self.name != "dask":
            raise RequestError(f"a scheduler has no effect on the {self.name} backend: choose dask, or leave it out.")
        if self.scheduler is not None and self.n_jobs != 1:
            raise RequestError("n_jobs has no effect with a scheduler, all of whose workers are used: leave it out.")


def run_tasks(
    function: Callable[[Any], Any],
    tasks: _Tasks,
    *,
    backend: Backend = Backend(),
    budget: Budget = Budget(),
    initialise: Callable[[], None] | None = None,
    on_start: _OnStart = None,
) -> Generator[Outcome, None, None]:
    """Run a function on many arguments.

    Parameters
    ----------
    function : callable
        Called with an argument. Unless the backend is serial and there is no budget, function, arguments and values
        are pickled; functions of a script or a notebook may be used.
    tasks : iterable of (key, argument)
        Read as workers become free. Keys stay in this process.
    backend : Backend, optional
        By default this process.
    budget : Budget, optional
        By default unlimited.
    initialise : callable, optional
        Called in each process before its first task.
    on_start : callable, optional
        Called with a key when its task is given to a worker.

    Yields
    ------
    Outcome
        In order of completion. Closing the generator stops all workers.

    Raises
    ------
    RequestError
        A ValueError: the function cannot be sent to a worker or loaded there, `initialise` raised, no scheduler
        answers, or a package is missing.
    BenchmarkError
        The cluster was lost.

    Notes
    -----
    With no budget the serial backend runs the function in this process, where a debugger works. In every other case a
    task runs in a process that its worker starts with a fresh interpreter, keeps from task to task, and replaces when a
    task exceeds the budget or takes it down. Such a process has a session of its own, so that Ctrl-C reaches this one
    alone, and ends with its worker, however that ends. What tasks print appears on the standard output of the worker.

    A worker that is killed is replaced, and the task it had is run again, at most twice; with a `scheduler`, the
    setting ``distributed.scheduler.allowed-failures`` of that scheduler decides.

    Examples
    --------
    >>> from tsmodels.benchmark.execution import Backend, Budget, run_tasks
    >>> outcomes = run_tasks(abs, [("a", -1), ("b", "-2")])
    >>> [(outcome.key, outcome.value, outcome.error) for outcome in outcomes]
    [('a', 1, None), ('b', None, "TypeError: bad operand type for abs(): 'str'")]
    >>> outcomes = run_tasks(abs, [("a", -1)], backend=Backend("loky", n_jobs=2), budget=Budget(seconds=60))
    """
    if backend.name == "serial" and budget == Budget():
        return _run_here(function, tasks, backend.threads, initialise, on_start)
    if os.name != "posix":
        raise RequestError("budgets and workers need a POSIX system: use the serial backend without a budget.")
    n_workers = _number_of_workers(backend, tasks)
    program = Program(
        _sendable(function, "the function"),
        None if initialise is None else _sendable(initialise, "initialise"),
        budget.seconds,
        budget.memory_mb,
        _threads_of_worker(backend, n_workers),
    )
    if backend.name == "serial":
        return _run_in_child(program, tasks, on_start)
    return _run_on(lambda: _pool(backend, program, n_workers), tasks, on_start)


def _number_of_workers(backend: Backend, tasks: _Tasks) -> int:
    wanted = len(available_cores()) if backend.n_jobs == -1 else backend.n_jobs
    return max(1, min(wanted, operator.length_hint(tasks, wanted)))


def _threads_of_worker(backend: Backend, n_workers: int) -> int | None:
    """Return the threads of a worker; None leaves them alone."""
    if backend.threads is not None or n_workers == 1 or "OMP_NUM_THREADS" in os.environ:
        return backend.threads
    return max(1, len(available_cores()) // n_workers)


def _sendable(function: Callable[..., Any], what: str) -> bytes:
    try:
        return dumps(function, what)
    except pickle.PicklingError as error:
        raise RequestError(f"{error}. Only the serial backend without a budget can run it.") from error


def _run_here(
    function: Callable[[Any], Any],
    tasks: _Tasks,
    threads: int | None,
    initialise: Callable[[], None] | None,
    on_start: _OnStart,
) -> Generator[Outcome, None, None]:
    if initialise is not None:
        try:
            with pinned(threads):
                initialise()
        except Exception as error:
            raise RequestError(f"initialise raised {described(error)[0]}") from error
    gauge = MemoryGauge(os.getpid())
    for key, argument in tasks:
        if on_start is not None:
            on_start(key)
        with sampled(gauge), pinned(threads):
            value, error, trace, seconds = _called(function, argument)
        yield Outcome(key, value, error, trace, seconds, gauge.peak_mb)


def _called(function: Callable[[Any], Any], argument: Any) -> tuple[Any, str | None, str | None, float]:
    start = time.perf_counter()
    try:
        value = function(argument)
    except (Exception, SystemExit) as error:  # a task may end itself, not the run
        return None, *described(error), time.perf_counter() - start
    return value, None, None, time.perf_counter() - start


def _run_in_child(program: Program, tasks: _Tasks, on_start: _OnStart) -> Generator[Outcome, None, None]:
    child = Child(program)
    try:
        for key, argument in tasks:
            if on_start is not None:
                on_start(key)
            try:
                content = dumps(argument, "the argument")
            except pickle.PicklingError as error:
                yield _outcome(key, _unsent(error))
            else:
                yield _outcome(key, child.run(content))
    finally:
        child.stop()


def _unsent(error: pickle.PicklingError) -> Reply:
    return Reply(None, *described(error), seconds=0.0, peak_memory_mb=None)


def _outcome(key: Any, reply: Reply) -> Outcome:
    value, error, trace = None, reply.error, reply.traceback
    if reply.value is not None:
        try:
            value = pickle.loads(reply.value)
        except Exception as raised:  # what a class does when it is unpickled is its own
            error, trace = described(raised)
    return Outcome(key, value, error, trace, reply.seconds, reply.peak_memory_mb)


class _Pool(Protocol):
    """Workers; `max_reruns` of a task whose worker dies are left to the caller."""

    max_reruns: int

    def capacity(self) -> int: ...

    def submit(self, argument: bytes) -> Future[Reply]: ...

    def worker_died(self, error: BaseException) -> bool: ...

    def close(self) -> None: ...


def _pool(backend: Backend, program: Program, n_workers: int) -> _Pool:
    if backend.name == "loky":
        from tsmodels.benchmark.execution._loky import LokyPool

        return LokyPool(program, n_workers)
    try:
        from tsmodels.benchmark.execution._dask import DaskPool
    except ModuleNotFoundError as error:
        raise RequestError(f"the dask backend needs {error.name!r}: pip install 'tsmodels[dask]'.") from error
    return DaskPool(program, n_workers, backend.scheduler)


def _run_on(make_pool: Callable[[], _Pool], tasks: _Tasks, on_start: _OnStart) -> Generator[Outcome, None, None]:
    with closing(make_pool()) as pool:
        run, waiting = _PoolRun(pool), iter(tasks)
        while True:
            # no more than the workers can begin with: neither are all tasks pickled at once, nor told to have started
            for key, argument in itertools.islice(waiting, max(0, pool.capacity() - run.n_unfinished)):
                if on_start is not None:
                    on_start(key)
                run.start(key, argument)
            if not run.n_unfinished:
                return
            if (outcome := run.next_outcome()) is not None:
                yield outcome


@dataclass(frozen=True)
class _Task:
    key: Any
    argument: bytes
    reruns_left: int


class _PoolRun:
    """The tasks that a pool has."""

    def __init__(self, pool: _Pool):
        self._pool = pool
        self._ended: queue.SimpleQueue[tuple[_Task, Future[Reply]]] = queue.SimpleQueue()
        self.n_unfinished = 0

    def start(self, key: Any, argument: Any) -> None:
        self.n_unfinished += 1
        try:
            task = _Task(key, dumps(argument, "the argument"), self._pool.max_reruns)
        except pickle.PicklingError as error:
            unsent: Future[Reply] = Future()
            unsent.set_result(_unsent(error))
            self._ended.put((_Task(key, b"", 0), unsent))
        else:
            self._submit(task)

    def next_outcome(self) -> Outcome | None:
        """Wait for a task; None after a while without one, and if one is run again."""
        try:
            task, future = self._ended.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except queue.Empty:
            return None
        error = future.exception()
        if error is not None and not self._pool.worker_died(error):
            raise error
        if error is not None and task.reruns_left:
            self._submit(replace(task, reruns_left=task.reruns_left - 1))
            return None
        self.n_unfinished -= 1
        killed = Reply(None, "WorkerDiedError: its worker was killed each time the task was run.", None, 0.0, None)
        return _outcome(task.key, future.result() if error is None else killed)

    def _submit(self, task: _Task) -> None:
        self._pool.submit(task.argument).add_done_callback(lambda future: self._ended.put((task, future)))
