"""Tasks on the workers of a Dask cluster, by distributed."""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, contextmanager, suppress
from subprocess import Popen
from typing import Any

import dask.config
from distributed import Client, KilledWorker, LocalCluster, Nanny, Reschedule, WorkerPlugin, get_worker

from tsmodels.benchmark._errors import BenchmarkError, RequestError
from tsmodels.benchmark.execution._process import Child, Program, Reply
from tsmodels.benchmark.execution._start import end_with_parent, kill_group, start_python
from tsmodels.benchmark.execution._threads import cores_of_worker

__all__ = ["DaskPool"]

_MAX_RERUNS = 2
_MAX_HOSTS = 3
_SECONDS_BETWEEN_CENSUSES = 5.0


class DaskPool:
    """The workers of a cluster.

    Parameters
    ----------
    program : Program
    n_workers : int
        Of a cluster on this machine; without effect on another.
    scheduler : str, optional
        Address of another cluster's scheduler.
    """

    max_reruns = 0  # the scheduler sees to that

    def __init__(self, program: Program, n_workers: int, scheduler: str | None):
        self._name, self._n_submitted = f"tsmodels-{uuid.uuid4().hex}", 0
        self._cluster = _OwnCluster(n_workers) if scheduler is None else _OtherCluster(scheduler)
        try:
            children = _Children(program, n_workers if scheduler is None else None)
            self._cluster.client.register_plugin(children, name=self._name)
        except BaseException:
            self.close()
            raise

    def capacity(self) -> int:
        """Return how many tasks may be unfinished at a time."""
        return self._cluster.capacity()

    def submit(self, argument: bytes) -> Future[Reply]:
        """Give a task to the scheduler."""
        key = f"{self._name}-{self._n_submitted}"
        self._n_submitted += 1
        # the warning gives advice about graphs, of which there are none here
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": sys.maxsize}):
            remote = self._cluster.client.submit(_run, self._name, key, argument, key=key, pure=False)
        future: Future[Reply] = Future()
        remote.add_done_callback(lambda ended: _hand_on(ended, future))
        return future

    def worker_died(self, error: BaseException) -> bool:
        """Return whether the exception of a future is the death of its worker."""
        return isinstance(error, KilledWorker)

    def close(self) -> None:
        """Stop what runs, and end the workers that were started for it."""
        self._cluster.close(self._name)


def _hand_on(remote: Any, future: Future[Reply]) -> None:
    try:
        future.set_result(remote.result())
    except CancelledError as error:
        future.set_exception(BenchmarkError(f"the Dask scheduler is gone, or has cancelled a task: {error}"))
    except Exception as error:
        future.set_exception(error)
    finally:
        remote.release()  # else the cluster keeps the result as long as anything here keeps the future


class _OtherCluster:
    """A cluster that somebody else has started and will go on using."""

    def __init__(self, scheduler: str):
        try:
            self.client = Client(scheduler, set_as_default=False)
        except (OSError, ValueError) as error:
            raise RequestError(f"no Dask scheduler answers at {scheduler!r}: {error}") from error
        self._n_threads, self._next_census = 1, 0.0

    def capacity(self) -> int:
        """Return the number of its threads: workers come and go."""
        if time.monotonic() >= self._next_census:
            threads_of: Any = self.client.nthreads()
            self._n_threads = sum(threads_of.values())
            self._next_census = time.monotonic() + _SECONDS_BETWEEN_CENSUSES
        return max(1, self._n_threads)  # a task that waits is what makes an adaptive cluster start a worker

    def close(self, plugin: str) -> None:
        with suppress(Exception):  # the cluster may be gone, which is as good
            self.client.unregister_worker_plugin(plugin)
        self.client.close()


class _OwnCluster:
    """A scheduler in this process, and workers that end with it."""

    def __init__(self, n_workers: int):
        self._n_workers, self._n_hosts = n_workers, 0
        self._host: Popen[bytes] | None = None
        with ExitStack() as stack:
            self._folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="tsmodels-", ignore_cleanup_errors=True)
            )
            cluster = LocalCluster(
                n_workers=0,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
                scheduler_kwargs={"allowed_failures": _MAX_RERUNS, "dashboard": False},
            )
            stack.callback(cluster.close)
            self._address = cluster.scheduler_address
            self.client = stack.enter_context(Client(cluster, set_as_default=False))
            self._stack = stack.pop_all()

    def capacity(self) -> int:
        """Return the number of workers, after starting the process that keeps them alive where there is none."""
        if self._host is None or self._host.poll() is not None:
            if self._n_hosts == _MAX_HOSTS:
                raise BenchmarkError(f"the process that holds the Dask workers has died {_MAX_HOSTS} times.")
            self._n_hosts += 1
            arguments = (self._address, self._n_workers, self._folder)
            self._host = start_python("tsmodels.benchmark.execution._dask", "hold_workers", *arguments)
        return self._n_workers

    def close(self, _: str) -> None:
        if self._host is not None:
            kill_group(self._host)
        self._stack.close()


def hold_workers(scheduler: str, n_workers: int, folder: str) -> None:
    """Keep workers alive in processes of their own, until this process is killed."""
    end_with_parent()
    asyncio.run(_hold_workers(scheduler, n_workers, folder))


async def _hold_workers(scheduler: str, n_workers: int, folder: str) -> None:
    nannies = [
        Nanny(
            scheduler,
            nthreads=1,
            name=slot,
            memory_limit="0",
            local_directory=folder,
            dashboard=False,
            silence_logs=logging.CRITICAL,
        )
        for slot in range(n_workers)
    ]
    await asyncio.gather(*nannies)
    await asyncio.gather(*(nanny.finished() for nanny in nannies))


class _Children(WorkerPlugin):
    """The child processes of one worker: as many as it runs tasks at a time.

    Parameters
    ----------
    program : Program
    n_workers : int, optional
        Of this machine, if no others are on it.
    """

    def __init__(self, program: Program, n_workers: int | None):
        self._program, self._n_workers = program, n_workers

    def setup(self, worker: Any) -> None:
        """Begin with no child."""
        self._cores = None
        if self._n_workers is not None:
            self._cores = cores_of_worker(int(worker.name), self._n_workers, self._program.threads)
        self._idle: list[Child] = []
        self._running: dict[str, Child] = {}
        self._cancelled: set[str] = set()

    def teardown(self, worker: Any) -> None:
        """End all children."""
        for child in (*self._running.values(), *self._idle):
            child.stop()

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """End the child of a task that nobody waits for any more."""
        if finish == "released" and key in self._running:
            self._cancelled.add(key)
            self._running[key].stop()

    def run(self, key: str, argument: bytes) -> Reply:
        """Run one task in a child."""
        with self._child(key) as child:
            reply = child.run(argument)
        if key in self._cancelled:
            self._cancelled.remove(key)
            raise Reschedule  # in case somebody waits for it again
        return reply

    @contextmanager
    def _child(self, key: str) -> Iterator[Child]:
        child = self._idle.pop() if self._idle else Child(self._program, self._cores)
        self._running[key] = child
        try:
            yield child
        finally:
            del self._running[key]
            self._idle.append(child)


def _run(plugin: str, key: str, argument: bytes) -> Reply:
    children: Any = get_worker().plugins[plugin]
    return children.run(key, argument)
