"""Scan operators for torch: differentiable, any length, state in and state out, no compiler at install time.

The public functions are ``linear_scan``, ``selective_scan`` and ``selective_scan_2d``; ``backend_for`` names the
backend a tensor gets.  Numba is imported and kernels are compiled on the first call, and kept in Numba's cache
(``NUMBA_CACHE_DIR``); kernels for CUDA tensors need numba-cuda.
"""

from ._backend import backend_for
from ._linear_scan import linear_scan
from ._selective_scan import selective_scan
from ._selective_scan_2d import selective_scan_2d

__all__ = ["backend_for", "linear_scan", "selective_scan", "selective_scan_2d"]
