"""Shared by all tests: a Numba cache that notices every edit, and one thread unless a test asks for more."""

import hashlib
import os
import signal
from pathlib import Path

_KERNELS = Path(__file__).parents[1] / "kernels" / "tsmodels_kernels"


def _digest_of_kernels() -> str:
    digest = hashlib.sha256()
    for path in sorted(_KERNELS.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


# A cached kernel does not notice an edit in a file it imports from: the cache of a test run is named by the sources.
os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / ".numba_cache" / _digest_of_kernels()))

# What a shell starts in the background ignores Ctrl-C, and so do the processes that it starts: their tests would hang.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402
import torch  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
