"""The only place where Numba compilation flags are written.

``fastmath={"contract"}`` fuses products and sums and takes no other liberty: a NaN in the input must reach the output
(never ``nnan``, ``ninf``), and sums keep the order in which they are written (no ``reassoc``, which would also fold
``(x + magic) - magic`` to x in ``_simd_math``; Numba puts the flags on every instruction, those of intrinsics
included). ``error_model="numpy"`` drops the zero-division branch, which would stop vectorisation.  ``nogil`` lets the
pool in ``_pool.py`` run kernels side by side; ``cache`` makes the second process start warm.
"""

from collections.abc import Callable
from typing import Any

from numba import njit

FASTMATH = {"contract"}
_FLAGS: dict[str, Any] = {"nogil": True, "fastmath": FASTMATH, "error_model": "numpy"}
# Only kernels are called from Python: the conversion of arguments of the others would be compiled for nothing.
_INTERNAL: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def kernel(function: Callable[..., Any]) -> Any:
    """Compile ``function(..., lo, hi)``, a loop over the jobs ``lo <= job < hi``, on its first call."""
    return njit(cache=True, **_FLAGS)(function)


def helper(function: Callable[..., Any]) -> Any:
    """Compile a function that kernels call and that is always inlined: vectors stay in registers across the call."""
    return njit(forceinline=True, **_FLAGS, **_INTERNAL)(function)


def phase(function: Callable[..., Any]) -> Any:
    """Compile a long loop that kernels call, by itself: less code, and registers are shared by what needs them."""
    return njit(**_FLAGS, **_INTERNAL)(function)
