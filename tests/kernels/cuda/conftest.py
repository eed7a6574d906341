"""CUDA kernels without a GPU: in Numba's simulator (values), and compiled to machine code (registers, spills).

    NUMBA_ENABLE_CUDASIM=1 pytest tests/kernels/cuda     values and gradients, on CPU tensors
    pytest tests/kernels/cuda                            compiled for compute capability 9.0; values too on a GPU

Both need numba-cuda, the first without and the second with its compiler wheels: ``pip install 'tsmodels[cuda13]'``.
"""

import importlib.util
import re
import sys
import threading
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numba import config
from numba.np.numpy_support import as_dtype

SIMULATED = bool(config.ENABLE_CUDASIM)
SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
REGISTERS = re.compile(r"Used (\d+) registers")


@pytest.fixture
def device() -> torch.device:
    """Where the kernels under test run: the GPU, or the CPU under the simulator."""
    if SIMULATED:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        pytest.skip("no GPU; set NUMBA_ENABLE_CUDASIM=1 to run the kernels in the simulator")
    return torch.device("cuda")


class Compiled(NamedTuple):
    """What the compiler made of a kernel for compute capability 9.0."""

    ptx: str
    registers: int
    stack: int
    spilled: int  # bytes stored and loaded

    @property
    def spills(self) -> bool:
        """Whether more than two registers live in memory: releases of the compiler differ by as much."""
        return self.stack > 8 or self.spilled > 16


def _compiled(family, constants) -> Compiled:
    from cuda.bindings import nvjitlink
    from numba import cuda
    from numba.cuda import dispatcher

    with pytest.MonkeyPatch.context() as patch:  # functions that kernels call ask for the device they are meant for
        patch.setattr(dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=(9, 0)))
        function, signature, bounds = family.source(*constants)
        ptx, _ = cuda.compile_ptx(function, signature, cc=(9, 0), launch_bounds=bounds)
    handle = nvjitlink.create(2, ["-arch=sm_90", "-Xptxas=-v"])
    try:
        code = ptx.encode()
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, code, len(code), "kernel.ptx")
        nvjitlink.complete(handle)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
    finally:
        nvjitlink.destroy(handle)
    text = log.decode()
    stack, stores, loads = map(int, SPILLS.search(text).groups())
    return Compiled(ptx, int(REGISTERS.search(text)[1]), stack, stores + loads)


@pytest.fixture
def compiled():
    """The function ``compiled(family, constants) -> Compiled``."""
    if SIMULATED:
        pytest.skip("the simulator does not compile")
    pytest.importorskip("cuda.bindings.nvjitlink", reason="needs the compiler wheels of numba-cuda", exc_type=Exception)
    return _compiled


def _exchange(module, value, source):
    """Warp shuffle in the simulator, which has none: publish, wait, read the source thread's value, wait.

    Every thread of the block must call it, as every thread of a warp must on a GPU.
    """
    thread = threading.current_thread()
    box = module.__dict__.setdefault("_box", {})
    me = thread.thread_id
    box[me] = value
    thread.syncthreads()
    received = box.get(source(me), value)
    thread.syncthreads()
    return received


def _within_warp(me, other):
    return other if other // 32 == me // 32 else me


def _shared_array(module, shape, dtype, alignment=None):
    """The one array of a block that belongs to the calling line, made by whichever thread comes first.

    The simulator looks for it and then stores it: two threads that look at once get an array each.
    """
    if shape == 0 or alignment is not None:  # memory of the launch, and what the simulator refuses: no search
        return _simulators_array(module, shape, dtype, alignment)
    caller = sys._getframe(1)
    made = np.empty(shape, as_dtype(dtype))
    return module._allocations.setdefault((caller.f_code.co_filename, caller.f_lineno), made)


if SIMULATED and importlib.util.find_spec("numba_cuda"):  # without it every test here is skipped
    from numba.cuda.simulator.kernelapi import FakeCUDAModule, FakeCUDAShared

    def _shuffle(source):
        return lambda module, mask, value, by: _exchange(module, value, lambda me: _within_warp(me, source(me, by)))

    FakeCUDAModule.shfl_up_sync = _shuffle(lambda me, by: me - by)
    FakeCUDAModule.shfl_down_sync = _shuffle(lambda me, by: me + by)
    FakeCUDAModule.shfl_xor_sync = _shuffle(lambda me, by: me ^ by)
    FakeCUDAModule.shfl_sync = _shuffle(lambda me, lane: me // 32 * 32 + lane)
    _simulators_array, FakeCUDAShared.array = FakeCUDAShared.array, _shared_array
