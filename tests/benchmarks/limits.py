"""What no operator can beat: moving the bytes that it must read and write."""

from collections.abc import Callable

import numpy as np
import torch

from tsmodels_kernels import _pool
from tsmodels_kernels._flags import kernel

TRIAD = "triad"
NEW_OUTPUT = "torch.add"
COPY = "copy"

_CHUNK = 1 << 14


@kernel
def _triad(out, a, b, factor, lo, hi):
    for i in range(lo * _CHUNK, min(hi * _CHUNK, len(out))):
        out[i] = a[i] + factor * b[i]


def limits(n_bytes: int, dtype: torch.dtype, device: str) -> dict[str, Callable[[], object]]:
    """Actions that move ``n_bytes``.

    On a CPU the triad out = a + 2 b of the STREAM benchmark, into memory that is there, and the same sum by torch into
    new memory, which is what an operator returns; the difference is the price of fresh pages.  On a GPU a copy.
    """
    if device == "cuda":
        source = torch.ones(n_bytes // 2 // dtype.itemsize, dtype=dtype, device=device)
        target = torch.empty_like(source)
        return {COPY: lambda: target.copy_(source)}
    n = max(1, n_bytes // 3 // dtype.itemsize)
    a, b, out = (torch.full((n,), value, dtype=dtype) for value in (1.0, 2.0, 0.0))
    arrays = [t.numpy() for t in (out, a, b)]
    factor, n_jobs = arrays[0].dtype.type(2), -(-n // _CHUNK)

    def triad():
        _pool.run(_triad, n_jobs, *arrays, factor, grain=4)

    triad()
    assert np.all(arrays[0] == 5), "the triad does not add up"
    return {TRIAD: triad, NEW_OUTPUT: lambda: torch.add(a, b, alpha=2)}
