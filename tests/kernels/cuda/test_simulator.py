"""The simulator itself: what the tests of the kernels take for granted."""

import time

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda")
from numba import cuda
from numba import types as nb

from tsmodels_kernels._cuda import SIMULATED

THREADS = 8


@pytest.mark.skipif(not SIMULATED, reason="a GPU has shared memory of its own")
def test_all_threads_of_a_block_share_its_arrays(monkeypatch):
    """Also where every thread asks for the array before any has it."""

    @cuda.jit
    def kernel(arrays):
        arrays[cuda.threadIdx.x] = id(cuda.shared.array(3, nb.float64))
        cuda.syncthreads()  # none ends, and frees its array, before all have theirs

    arrays, empty = np.zeros(THREADS, np.int64), np.empty
    monkeypatch.setattr(np, "empty", lambda *args, **kwargs: (time.sleep(0.1), empty(*args, **kwargs))[1])
    kernel[1, THREADS](arrays)
    assert len(set(arrays)) == 1
