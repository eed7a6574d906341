"""Scans beside forks, workers of data loaders and other threads, each scenario in a process of its own.

A hang or an abort of that process is a failure of the test and of nothing else.  By hand:
``python tests/kernels/test_processes.py loader fork``.
"""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tsmodels_kernels import _pool, linear_scan, selective_scan, selective_scan_2d

TIMEOUT = 300  # seconds: spawned workers on a busy machine compile and import for a minute or two
N_FORKS = 20
MAPS = Path("/proc/self/maps")

_share = _pool.run


def _run_always_shared(kernel, n_jobs, *args, grain=1):
    """The pool's ``run`` without the rule that small problems stay in the calling thread."""
    _share(kernel, n_jobs, *args, grain=1)


def _linear():
    a, b = _random(4, 20, 48).sigmoid(), _random(4, 20, 48)
    return linear_scan, (a, b)


def _selective():
    x, dt = _random(4, 40, 32), _random(4, 40, 32).exp()
    return selective_scan, (x, dt, -_random(32, 4).exp(), _random(4, 40, 4), _random(4, 40, 4))


def _two_axes():
    x, dt1, dt2 = _random(4, 6, 3, 32), _random(4, 6, 3, 32).exp(), _random(4, 6, 3, 32).exp()
    maps = [_random(4, 6, 3, 4) for _ in range(4)]
    rate, cross = _random(32, 4).exp(), _random(32, 4).tanh()
    return selective_scan_2d, (x, dt1, dt2, *maps, rate, cross, cross, rate)


PROBLEMS = (_linear, _selective, _two_axes)


def _random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def outputs(problem, n_threads=2):
    """Output and gradients as bytes.  Outside the scan there is one thread.

    A forked child may not use the threads of torch's OpenMP, which its parent has used; a scan starts none of them.
    """
    torch.set_num_threads(1)
    scan, tensors = problem()
    leaves = [t.requires_grad_() for t in tensors]
    torch.set_num_threads(n_threads)
    y = scan(*leaves)[0]
    grads = torch.autograd.grad(y, leaves, torch.ones_like(y))
    torch.set_num_threads(1)
    return [t.detach().contiguous().numpy().tobytes() for t in (y, *grads)]


def use_all_threads():
    """Start the threads of torch's OpenMP and those of the pool; what the scans give."""
    torch.set_num_threads(2)
    torch.rand(1 << 20).exp().sum()
    return [outputs(problem) for problem in PROBLEMS]


class Scans(Dataset):
    """Every scan, first as a worker finds torch (one thread), then with two threads."""

    def __len__(self):
        return 2 * len(PROBLEMS)

    def __getitem__(self, i):
        return outputs(PROBLEMS[i // 2], n_threads=1 + i % 2)


def loader(method):
    """Workers of a data loader give what the parent gets, after the parent used all its threads."""
    expected = use_all_threads()
    workers = DataLoader(Scans(), batch_size=None, num_workers=2, multiprocessing_context=method, timeout=TIMEOUT)
    assert list(workers) == [results for results in expected for _ in range(2)]


def threads():
    """Three Python threads at once get the serial results."""
    expected, found = use_all_threads(), []

    def work():
        for _ in range(10):
            found.append([outputs(problem) for problem in PROBLEMS])

    together = [threading.Thread(target=work) for _ in range(3)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert found == [expected] * 30


def forks():
    """Children of a process with threads inside the pool compute with two threads and come to an end."""
    expected, stop = use_all_threads(), threading.Event()

    def work():
        while not stop.is_set():
            outputs(_linear)

    busy = [threading.Thread(target=work) for _ in range(2)]
    for thread in busy:
        thread.start()
    try:
        for i in range(N_FORKS):
            child = os.fork()
            if child == 0:
                signal.alarm(TIMEOUT // 4)  # a child that hangs dies of it
                leave = sys.exit if i == 0 else os._exit  # one with all that an interpreter does at its end: slow
                leave(0 if [outputs(problem) for problem in PROBLEMS] == expected else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()


def openmp():
    """Scans load no OpenMP runtime beside torch's."""
    torch.set_num_threads(2)
    torch.rand(1 << 20).exp().sum()
    before = openmp_libraries()
    assert before, "torch has no OpenMP runtime: nothing to compare with"
    use_all_threads()
    assert openmp_libraries() == before


def openmp_libraries():
    """Files of OpenMP runtimes (GNU, LLVM, Intel) in the memory of this process."""
    return set(re.findall(r"\S*/lib(?:gomp|omp|iomp5)\b\S*", MAPS.read_text()))


SCENARIOS = {scenario.__name__: scenario for scenario in (loader, threads, forks, openmp)}


def run(scenario, *arguments):
    command = [sys.executable, __file__, scenario.__name__, *arguments]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        output, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # its children hold the pipe open
        pytest.fail(f"no end after {TIMEOUT} s:\n{process.communicate()[0]}")
    assert process.returncode == 0, output


@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(each, marks=pytest.mark.slow) for each in ("spawn", "forkserver"))]
)
def test_workers_of_a_data_loader(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this platform")
    run(loader, method)


def test_several_python_threads():
    run(threads)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_forks_while_threads_are_inside_the_pool():
    run(forks)


@pytest.mark.skipif(not MAPS.exists(), reason="no list of loaded libraries on this platform")
def test_no_second_openmp_runtime():
    run(openmp)


if __name__ == "__main__":
    _pool.run = _run_always_shared
    SCENARIOS[sys.argv[1]](*sys.argv[2:])
