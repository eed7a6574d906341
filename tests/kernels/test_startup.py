"""What a new process pays: the import brings neither Numba nor threads, and no kernel is compiled a second time.

``python tests/kernels/test_startup.py`` prints the CPU seconds of the first calls in a new process.
"""

import json
import subprocess
import sys
import time

import pytest

OPERATORS = ("linear_scan", "selective_scan", "selective_scan_2d")


def first_calls():
    """For each operator: CPU seconds of its first forward + backward, kernels compiled and kernels read from disk."""
    import torch

    from tsmodels_kernels import linear_scan, selective_scan, selective_scan_2d

    torch.set_num_threads(1)
    started = time.process_time()
    from numba.core import event

    report = {"import numba": {"seconds": time.process_time() - started}}
    x, grid, rate = torch.rand(1, 3, 4), torch.rand(1, 3, 2, 4), torch.ones(4, 4)
    rates = rate, rate / 2, rate / 2, rate
    calls = (
        lambda leaf: linear_scan(x, leaf),
        lambda leaf: selective_scan(leaf, x, -rate, x, x),
        lambda leaf: selective_scan_2d(leaf, grid, grid, grid, grid, grid, grid, *rates),
    )
    with event.install_recorder("numba:compile") as recorder:
        for name, call, data in zip(OPERATORS, calls, (x, x, grid), strict=True):
            recorder.buffer.clear()
            already_read, started = kernels_read(), time.process_time()
            call(data.clone().requires_grad_())[0].sum().backward()
            report[name] = {
                "seconds": time.process_time() - started,
                "compiled": sum(found.is_start for _, found in recorder.buffer),
                "read": kernels_read() - already_read,
            }
    return report | {"numba.cuda": "numba.cuda" in sys.modules}


def kernels_read():
    """Kernels of this package that came from Numba's cache on disk."""
    from numba.core.dispatcher import Dispatcher

    modules = [(name, module) for name, module in sys.modules.items() if name.startswith("tsmodels_kernels.")]
    return sum(
        sum(value.stats.cache_hits.values())
        for name, module in modules
        for value in vars(module).values()
        if isinstance(value, Dispatcher) and value.__module__ == name  # in the module that defines it
    )


def in_new_process(*command):
    process = subprocess.run(
        [sys.executable, "-W", "error", *command], capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_import_brings_no_numba_and_no_thread():
    script = """
import sys, threading
from pathlib import Path
import torch

def threads():  # of Python, and of the process where there is a /proc
    return threading.active_count(), len(list(Path("/proc/self/task").glob("*")))

before = threads()
import tsmodels_kernels
assert threads() == before
loaded = {name.partition(".")[0] for name in sys.modules} & {"numba", "llvmlite", "numba_cuda", "scipy"}
assert not loaded, loaded
"""
    in_new_process("-c", script)


@pytest.fixture(scope="module")
def second_process():
    """``first_calls`` of a process that finds what another has compiled."""
    in_new_process(__file__)
    return json.loads(in_new_process(__file__))


@pytest.mark.parametrize("name", OPERATORS)
def test_second_process_compiles_nothing(second_process, name):
    assert second_process[name]["compiled"] == 0
    assert second_process[name]["read"] >= 2  # forward and backward


def test_scans_on_a_cpu_do_not_import_numba_cuda(second_process):
    assert not second_process["numba.cuda"]


if __name__ == "__main__":
    print(json.dumps(first_calls(), indent=1))
