"""Numerical kernels without a compiler at install time: scans for torch, shapelet discovery for NumPy.

The scans ``linear_scan``, ``affine_scan``, ``selective_scan`` and ``selective_scan_2d`` are differentiable, take any
length, and a state in and out; ``plrnn_rollout`` runs piecewise-linear recurrent networks and is differentiable too
(``plrnn_step``, ``plrnn_pattern`` and ``plrnn_affine`` are their map and its regions, ``plrnn_simulate`` and
``plrnn_lyapunov`` follow its free orbits); ``backend_for`` names
the backend a tensor gets.  Shapelets are cut by ``important_points`` and ``find_candidates``, judged by
``score_candidates`` and found again by ``match_shapelets``, on arrays held by ``Channels``, ``Candidates`` and
``Scores``; ``join_profile`` finds the windows that recur in other series.  Numba is imported and kernels are compiled
on the first call, and kept in Numba's cache (``NUMBA_CACHE_DIR``); kernels for CUDA need numba-cuda.
"""

from ._affine_scan import affine_scan
from ._backend import backend_for
from ._linear_scan import linear_scan
from ._matrix_profile import JoinProfile, join_profile
from ._plrnn_rollout import (
    NewtonResult,
    plrnn_affine,
    plrnn_lyapunov,
    plrnn_newton,
    plrnn_pattern,
    plrnn_rollout,
    plrnn_simulate,
    plrnn_step,
)
from ._selective_scan import selective_scan
from ._selective_scan_2d import selective_scan_2d
from ._shapelets import (
    Candidates,
    Channels,
    Scores,
    find_candidates,
    important_points,
    match_shapelets,
    score_candidates,
)

__all__ = [
    "Candidates",
    "Channels",
    "JoinProfile",
    "NewtonResult",
    "Scores",
    "affine_scan",
    "backend_for",
    "find_candidates",
    "important_points",
    "join_profile",
    "linear_scan",
    "match_shapelets",
    "plrnn_affine",
    "plrnn_lyapunov",
    "plrnn_newton",
    "plrnn_pattern",
    "plrnn_rollout",
    "plrnn_simulate",
    "plrnn_step",
    "score_candidates",
    "selective_scan",
    "selective_scan_2d",
]
