"""Checks of the arguments of the discovery."""

from __future__ import annotations

import math
import numbers
import os
from typing import Any

__all__ = ["check_arguments", "n_threads_of", "window_of"]

_LEAST = {"n_per_class": 1, "min_points": 3, "min_length": 1, "null_permutations": 0, "seed": 0}
_LEAST_OR_NONE = {"max_length": 1, "max_reference": 4, "max_candidates": 1}  # 4: two of a class, two of the others


def check_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments as plain Python values, or say which is wrong."""
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in arguments.items()}
    for name, least in (_LEAST | _LEAST_OR_NONE).items():
        value = plain[name]
        if value is None and name in _LEAST_OR_NONE:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            or_none = " or None" if name in _LEAST_OR_NONE else ""
            raise ValueError(f"{name} must be an integer of at least {least}{or_none}, got {value!r}")
    fraction = plain["point_fraction"]
    if not isinstance(fraction, int | float) or not 0 < fraction <= 1:
        raise ValueError(f"point_fraction must be above 0 and at most 1, got {fraction!r}")
    if plain["max_length"] is not None and plain["max_length"] < plain["min_length"]:
        raise ValueError(f"max_length must be at least min_length, got {plain['max_length']} and {plain['min_length']}")
    if plain["normalize"] not in ("channel", None):
        raise ValueError(f"normalize must be 'channel' or None, got {plain['normalize']!r}")
    for name in ("complexity", "allow_overlap_fill"):
        if not isinstance(plain[name], bool):
            raise ValueError(f"{name} must be True or False, got {plain[name]!r}")
    window_of(plain["window"], 1)
    return plain


def window_of(window: float | None, n_timepoints: int) -> int:
    """Return the largest lag in samples."""
    if window is None:
        return n_timepoints
    if isinstance(window, bool) or not isinstance(window, numbers.Real) or math.isnan(window) or window < 0:
        raise ValueError(f"window must be a number of samples, a fraction of the length, or None, got {window!r}")
    if isinstance(window, numbers.Integral):
        return min(int(window), n_timepoints)
    if window > 1:
        raise ValueError(f"window as a float is a fraction from 0 to 1, got {window!r}: give samples as an int")
    return int(window * n_timepoints)


def n_threads_of(n_jobs: int | None) -> int | None:
    """Return the number of threads; None leaves it to torch."""
    if n_jobs is None:
        return None
    if isinstance(n_jobs, bool) or not isinstance(n_jobs, numbers.Integral) or (n_jobs < 1 and n_jobs != -1):
        raise ValueError(f"n_jobs must be None, -1 or at least 1, got {n_jobs!r}")
    return int(n_jobs) if n_jobs > 0 else os.cpu_count() or 1
