"""Our own threads for kernels that release the GIL.

Numba's ``parallel=True`` is not used: its OpenMP layer loads a second OpenMP runtime beside torch's (their idle
threads fight for the cores, and forked DataLoader workers abort), its workqueue layer aborts the process when two
Python threads call it.  A kernel here is a function ``kernel(*args, lo, hi)`` over a range of independent jobs; every
job writes only its own slots, so the result is bitwise the same for any number of threads.
"""

import itertools
import os
import queue
import threading
from collections.abc import Callable

import torch


class _Pool:
    def __init__(self):
        self._reset()
        os.register_at_fork(after_in_child=self._reset)  # threads do not survive a fork

    def _reset(self):
        self._busy = threading.Lock()
        self._tasks: queue.SimpleQueue = queue.SimpleQueue()
        self._n_workers = 0

    def run(self, kernel: Callable, n_jobs: int, *args, grain: int = 1, n_threads: int | None = None) -> None:
        """Run ``kernel(*args, lo, hi)`` over ``0 <= job < n_jobs`` on several threads.

        Parameters
        ----------
        kernel : callable
            Compiled function that releases the GIL, or one that makes its work space and calls such a function.
        n_jobs : int
            Number of jobs.
        *args
            What the kernel takes before ``lo, hi``.
        grain : int, default=1
            Jobs that are worth one hand-over to another thread; fewer jobs than two grains run in the calling thread.
        n_threads : int, optional
            At most so many threads, the calling one included; by default ``torch.get_num_threads()``.
        """
        n_threads = min(torch.get_num_threads() if n_threads is None else n_threads, n_jobs // grain)
        if n_threads <= 1 or not self._busy.acquire(blocking=False):  # another Python thread has the pool: run alone
            kernel(*args, 0, n_jobs)
            return
        try:
            self._share(kernel, n_jobs, args, grain, n_threads)
        finally:
            self._busy.release()

    def _share(self, kernel, n_jobs, args, grain, n_threads):
        self._grow(n_threads - 1)
        step = max(grain, -(-n_jobs // (4 * n_threads)))  # four portions a thread even out what else the machine does
        portions, done, errors = itertools.count(), threading.Semaphore(0), []

        def work():
            try:
                while (lo := next(portions) * step) < n_jobs:  # next() on a count is atomic
                    kernel(*args, lo, min(lo + step, n_jobs))
            except BaseException as error:
                errors.append(error)

        for _ in range(n_threads - 1):
            self._tasks.put((work, done))
        work()
        for _ in range(n_threads - 1):
            done.acquire()
        if errors:
            raise errors[0]

    def _grow(self, n_workers):
        while self._n_workers < n_workers:
            threading.Thread(target=self._serve, args=(self._tasks,), daemon=True, name="tsmodels-kernel").start()
            self._n_workers += 1

    @staticmethod
    def _serve(tasks):
        while True:
            work, done = tasks.get()
            work()
            done.release()
            del work, done  # an idle worker keeps no tensor alive


run = _Pool().run
