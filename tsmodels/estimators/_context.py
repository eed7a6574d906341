"""Frames of one or many series as the forecasters need them: split by series, remembered, put together again."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["Key", "appended", "by_series", "future_rows", "joined", "last_rows", "times_after"]

Key = tuple[Any, ...]  # instance levels of a multi-index; empty for a single series


def by_series(frame: pd.DataFrame) -> Iterator[tuple[Key, pd.DataFrame]]:
    """Yield the key and the rows of each series, indexed by time alone, in the order of the frame."""
    if not isinstance(frame.index, pd.MultiIndex):
        yield (), frame
        return
    levels = list(range(frame.index.nlevels - 1))
    for key, rows in frame.groupby(level=levels, sort=False):
        yield (key if isinstance(key, tuple) else (key,)), rows.droplevel(levels)


def joined(parts: Iterable[tuple[Key, pd.DataFrame]], names: list[Any]) -> pd.DataFrame:
    """Put series together again; ``names`` are those of the index levels."""
    frames = []
    for key, rows in parts:
        if key:
            index = pd.MultiIndex.from_tuples([(*key, time) for time in rows.index], names=names)
            rows = rows.set_axis(index)
        frames.append(rows)
    return frames[0] if len(frames) == 1 else pd.concat(frames)


def appended(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Rows of both by time; where both have a time, the new row counts."""
    both = pd.concat([old, new])
    return both.loc[~both.index.duplicated(keep="last"), :].sort_index()


def last_rows(rows: pd.DataFrame, n: int) -> np.ndarray:
    """Return the last ``n`` rows as float64 (n, column); a shorter series is continued into the past by NaN."""
    values = rows.iloc[-n:].to_numpy(float)
    return np.vstack([np.full((n - len(values), values.shape[1]), np.nan), values])


def future_rows(rows: pd.DataFrame, after: Any, n: int, needed: int) -> np.ndarray:
    """Return the ``n`` rows after a time, (n, column); the last one is repeated beyond step ``needed``.

    Raises
    ------
    ValueError
        If the first ``needed`` steps are not all there.
    """
    values = rows[rows.index > after].to_numpy(float)[:n]
    if len(values) < needed:
        raise ValueError(
            f"X has {len(values)} rows after {after}, but fh asks for {needed} steps: X must hold a row for every step "
            "from the end of y to the last step of fh"
        )
    return np.vstack([values, np.repeat(values[-1:], n - len(values), 0)])


def times_after(rows: pd.DataFrame, fh: Any, freq: Any) -> tuple[np.ndarray, pd.Index]:
    """Return the steps of a forecasting horizon, counted from the end of a series, and their time stamps."""
    cutoff = rows.index[-1:]
    if isinstance(cutoff, pd.DatetimeIndex):  # a slice has lost its freq, sktime's cutoff of ragged series too
        times = pd.DatetimeIndex(rows.index)
        cutoff.freq = freq or (pd.infer_freq(times) if len(times) > 2 else None)
    return np.asarray(fh.to_relative(cutoff), dtype=int), fh.to_absolute_index(cutoff)
