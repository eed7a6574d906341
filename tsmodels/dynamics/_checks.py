"""Checks of what the measures and analyses are given."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["as_count", "as_series"]


def as_series(name: str, values: Any, *, n_channels: int | None = None, at_least: int = 2) -> np.ndarray:
    """Return values as float64 of shape (time, channel), or say what is wrong with them."""
    try:
        series = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of numbers (time, channel), got {type(values).__name__}.") from error
    if series.ndim != 2:
        hint = f"; pass {name}[:, None]" if series.ndim == 1 else ""
        raise ValueError(f"{name} must have shape (time, channel), got {series.shape}{hint}.")
    if len(series) < at_least or series.shape[1] < 1:
        raise ValueError(
            f"{name} must have at least {at_least} time points and a channel, got shape {series.shape}: "
            "pass a longer series."
        )
    if n_channels is not None and series.shape[1] != n_channels:
        raise ValueError(f"{name} must have {n_channels} channels, got {series.shape[1]}.")
    if not np.isfinite(series).all():
        raise ValueError(
            f"{name} has values that are NaN or infinite: fill the gaps, or count the run as divergent "
            "(evaluate_reconstruction does)."
        )
    return series


def as_count(name: str, value: Any, at_least: int = 1) -> int:
    """Return an integer that is not too small."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < at_least:
        raise ValueError(f"{name} must be an integer of at least {at_least}, got {value!r}.")
    return int(value)
