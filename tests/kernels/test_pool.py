"""Threads of our own: safe beside other threads, forks and errors."""

import multiprocessing
import os
import threading

import numpy as np
import pytest
import torch

from tsmodels_kernels import _pool, linear_scan
from tsmodels_kernels._pool import _Pool


def test_every_job_runs_once_for_any_number_of_threads():
    for n_threads in (1, 2, 5):
        torch.set_num_threads(n_threads)
        for n_jobs, grain in ((0, 1), (1, 1), (7, 1), (100, 8), (1000, 3)):
            counts = np.zeros(n_jobs, int)

            def kernel(lo, hi, counts=counts):
                counts[lo:hi] += 1

            _pool.run(kernel, n_jobs, grain=grain)
            assert (counts == 1).all()


def test_an_error_reaches_the_caller_and_the_pool_still_works():
    torch.set_num_threads(2)

    def broken(lo, hi):
        raise ValueError(f"job {lo}")

    with pytest.raises(ValueError, match="job"):
        _pool.run(broken, 10)
    seen = []
    _pool.run(lambda lo, hi: seen.extend(range(lo, hi)), 10)
    assert sorted(seen) == list(range(10))


def test_a_busy_pool_lets_other_python_threads_run_alone():
    torch.set_num_threads(2)
    pool, inside, release = _Pool(), threading.Event(), threading.Event()

    def waits(lo, hi):
        inside.set()
        assert release.wait(60)

    first = threading.Thread(target=pool.run, args=(waits, 4))
    first.start()
    assert inside.wait(60)
    callers = set()
    pool.run(lambda lo, hi: callers.add((threading.current_thread(), lo, hi)), 4)
    release.set()
    first.join(60)
    assert callers == {(threading.current_thread(), 0, 4)}


def _scan_sum():
    # torch's own threads hang in a forked child that inherits a used OpenMP pool: only the scan may use two
    torch.set_num_threads(1)
    b = torch.ones(4, 600, 300)
    a = torch.full_like(b, 0.5)
    torch.set_num_threads(2)
    h, _ = linear_scan(a, b)
    torch.set_num_threads(1)
    return h.sum().item()


def test_several_python_threads_get_the_serial_result():
    expected, results = _scan_sum(), []
    threads = [threading.Thread(target=lambda: results.append(_scan_sum())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert results == [expected] * 3


def _report_scan_sum(sink):
    sink.put(_scan_sum())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_child_processes_after_the_parent_used_the_pool(method):
    if method == "fork" and not hasattr(os, "fork"):
        pytest.skip("no fork on this platform")
    expected = _scan_sum()
    context = multiprocessing.get_context(method)
    sink = context.Queue()
    child = context.Process(target=_report_scan_sum, args=(sink,))
    child.start()
    result = sink.get(timeout=120)
    child.join(120)
    assert result == expected
    assert child.exitcode == 0
