"""Chronological splits of series into training, validation and test parts."""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any, cast

import numpy as np
import pandas as pd

from tsmodels_datamodules._series import SeriesPanel

PARTS = ("train", "val", "test")
_FORMS = (
    "three fractions (train, val, test) that sum to 1, a pair of dates (start of validation, start of test) or a pair "
    "of integers, positions in each series, negative ones counted from its end"
)


def read_split(split: Any) -> tuple[Any, ...]:
    """Return a checked split in plain Python types: three floats, two ints or two dates as strings."""
    if not isinstance(split, (list, tuple)) or len(split) not in (2, 3):
        raise ValueError(f"split must be {_FORMS}, got {split!r}.")
    if len(split) == 3:
        return _read_fractions(split)
    if any(value is None or isinstance(value, (bool, float, np.floating)) for value in split):
        raise ValueError(f"split must be {_FORMS}, got {split!r}.")
    integers = [hasattr(value, "__index__") for value in split]
    if all(integers):
        start_val, start_test = map(operator.index, split)
        if (start_val < 0) == (start_test < 0) and start_val > start_test:
            raise ValueError(f"split: validation starts after the test part, {split!r}.")
        return start_val, start_test
    if any(integers):
        raise ValueError(f"split must be a pair of dates or a pair of integers, not one of each, got {split!r}.")
    return tuple(map(str, split))


def _read_fractions(split: Any) -> tuple[float, ...]:
    if not all(isinstance(value, Real) and not isinstance(value, bool) for value in split):
        raise ValueError(f"split must be {_FORMS}, got {split!r}.")
    fractions = tuple(map(float, split))
    if min(fractions) < 0 or fractions[0] == 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"the three fractions of split must sum to 1, none below 0 and the first above 0, got {split!r}."
        )
    return fractions


def wanted_parts(split: tuple[Any, ...]) -> dict[str, bool]:
    """Return which parts a split asks for."""
    if len(split) == 3:
        return {part: fraction > 0 for part, fraction in zip(PARTS, split, strict=True)}
    return {"train": True, "val": split[0] != split[1], "test": True}


def part_borders(panel: SeriesPanel, split: tuple[Any, ...]) -> np.ndarray:
    """Return where the parts of each series lie.

    Parameters
    ----------
    panel : SeriesPanel
    split : tuple
        As :func:`read_split` returns it.

    Returns
    -------
    ndarray (n_series, 4), int64
        Positions within the series: part k is ``[borders[:, k], borders[:, k + 1])``, in the order train, val, test.
    """
    lengths = panel.lengths
    if len(split) == 3:
        n_train, n_test = (_share(lengths, fraction) for fraction in (split[0], split[2]))
        if split[1] == 0:  # what rounding leaves over is no validation part
            n_test = lengths - n_train if split[2] else n_test
        if split[1] == split[2] == 0:
            n_train = lengths
        starts = n_train, lengths - n_test
    elif isinstance(split[0], int):
        starts = tuple(np.where(start < 0, lengths + start, start) for start in (split[0], split[1]))
    else:
        starts = tuple(np.array([_position(index, date) for index in panel.indexes], dtype=np.int64) for date in split)
        if (starts[0] > starts[1]).any():
            raise ValueError(f"split: validation starts after the test part, {split!r}.")
    borders = np.stack([np.zeros_like(lengths), *starts, lengths], axis=1)
    # a series may be shorter than the positions asked for; the test part is then the last to give way
    borders = np.clip(borders, 0, lengths[:, None])
    return np.minimum.accumulate(borders[:, ::-1], axis=1)[:, ::-1]


def _share(lengths: np.ndarray, fraction: float) -> np.ndarray:
    """Return the truncated share of each length; the small number undoes rounding, as in 0.29 * 100 = 28.99..."""
    return (lengths * fraction + 1e-9).astype(np.int64)


def _position(index: pd.Index, date: str) -> int:
    """Return the position of the first time not before `date`."""
    try:
        if isinstance(index, pd.DatetimeIndex):
            stamp = cast(pd.Timestamp, pd.Timestamp(date))
            if index.tz is not None:
                stamp = stamp.tz_localize(index.tz) if stamp.tz is None else stamp.tz_convert(index.tz)
            return int(np.count_nonzero(index < stamp))
        if isinstance(index, pd.PeriodIndex):
            return int(np.count_nonzero(index < cast(pd.Period, pd.Period(date, freq=index.freq))))
    except (ValueError, TypeError) as error:
        raise ValueError(f"split: {date!r} is no date of the index of y ({error}).") from error
    raise ValueError(f"split holds dates, {date!r}, but y has none: pass {_FORMS}.")
