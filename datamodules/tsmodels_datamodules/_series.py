"""One series or many, in whatever container they come, read into one array (row, channel) for forecasting.

Here time comes first: arrays are (time, channel), as sktime's ``np.ndarray`` series are; the panels of classification,
(case, channel, time), are read by :mod:`tsmodels_datamodules._containers`.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import torch

ACCEPTED = (
    "one series (pandas Series or DataFrame, rows = time; numpy array or tensor (time,) or (time, channel)), a list of "
    "such, or a DataFrame with a row index of several levels, the last one time"
)


@dataclass(frozen=True, eq=False)
class SeriesPanel:
    """One or several series, one after the other.

    Attributes
    ----------
    values : Tensor (row, channel), float64
        The time points of series 0, then those of series 1 ...; NaN where a value is missing. On memory of its own.
    offsets : ndarray (n_series + 1,), int64
        Series ``i`` is ``values[offsets[i]:offsets[i + 1]]``.
    instances : list of hashable
        Identifier of each series: the upper index levels (a tuple, if several), else its position.
    indexes : list of pandas.Index
        The time index of each series; for arrays ``RangeIndex(length)``.
    channel_names : list of str
        Column names; for arrays ``"0"``, ``"1"`` ...
    has_index : bool
        Whether the time indexes came with the data.
    has_instances : bool
        Whether the identifiers came with the data.
    """

    values: torch.Tensor
    offsets: np.ndarray
    instances: list[Hashable]
    indexes: list[pd.Index]
    channel_names: list[str]
    has_index: bool
    has_instances: bool

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self.instances)

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.values.shape[1]

    @property
    def lengths(self) -> np.ndarray:
        """Number of time points of each series, int64 (n_series,)."""
        return np.diff(self.offsets)

    def series(self, i: int) -> torch.Tensor:
        """Return series `i` as a view (time, channel)."""
        return self.values[self.offsets[i] : self.offsets[i + 1]]

    def where(self, row: int) -> str:
        """Return a row of `values` in words: the time point, and the series if there are several."""
        i = int(np.searchsorted(self.offsets, row, side="right")) - 1
        time = f"time {self.indexes[i][row - self.offsets[i]]}"
        return time if self.n_series == 1 else f"{time} of series {self.instances[i]!r}"


def to_series(y: Any, name: str = "y") -> SeriesPanel:
    """Read one or several series into a :class:`SeriesPanel`.

    Parameters
    ----------
    y : Series, DataFrame, array, tensor or list
        One of

        * pandas Series or DataFrame, rows = time, columns = channels;
        * numpy array or torch tensor (time,) or (time, channel);
        * list of such, which may differ in length, with the same channels each;
        * Series or DataFrame with a row index of two or more levels, the last one time, the others naming the series:
          sktime's ``pd-multiindex`` and ``pd_multiindex_hier``. The rows of a series must be adjacent.
    name : str
        What the error messages call the argument.

    Returns
    -------
    SeriesPanel

    Raises
    ------
    TypeError
        If the container is none of the above, its values are not real numbers, or its index is no time.
    ValueError
        If it is empty or has the wrong dimensions; the channels differ between series; a value is infinite; a time
        index is unsorted, repeats a time, or has no regular time step.
    """
    if isinstance(y, (pd.Series, pd.DataFrame)) and isinstance(y.index, pd.MultiIndex):
        panel = _from_levels(y, name)
    elif isinstance(y, (list, tuple)):
        if not y:
            raise ValueError(f"{name} is empty: pass at least one series.")
        panel = _join(y, [f"{name}[{i}]" for i in range(len(y))], name)
    else:
        panel = _join([y], [name], name)
    infinite = panel.values.isinf()
    if infinite.any():
        row, channel = infinite.nonzero()[0].tolist()
        raise ValueError(
            f"{name} holds infinite values, the first in channel {panel.channel_names[channel]!r} at "
            f"{panel.where(row)}: replace them, by NaN if they are missing."
        )
    return panel


def _join(pieces: Sequence[Any], names: list[str], name: str) -> SeriesPanel:
    """Join single series."""
    arrays = [_array(piece, of) for piece, of in zip(pieces, names, strict=True)]
    columns = [_columns(piece, array.shape[1]) for piece, array in zip(pieces, arrays, strict=True)]
    for own, of in zip(columns, names, strict=True):
        if len(own) != len(columns[0]):
            raise ValueError(
                f"the series of {name} differ in their channels: {names[0]} has {len(columns[0])}, {of} has "
                f"{len(own)}. Arrays are (time, channel)."
            )
        if own != columns[0] and len(own) > 1:  # one channel may bear a name of its own in each series
            raise ValueError(f"{of} has the columns {own}, {names[0]} {columns[0]}: give all the same, in one order.")
    indexes = [
        piece.index if isinstance(piece, (pd.Series, pd.DataFrame)) else pd.RangeIndex(len(array))
        for piece, array in zip(pieces, arrays, strict=True)
    ]
    _check_indexes(indexes, names)
    offsets = np.cumsum([0, *map(len, arrays)])
    values = np.empty((offsets[-1], len(columns[0])))  # a copy, also of one series, and never in Fortran's order
    return SeriesPanel(
        torch.from_numpy(np.concatenate(arrays, out=values)),
        offsets,
        list(range(len(arrays))),
        indexes,
        columns[0],
        has_index=all(isinstance(piece, (pd.Series, pd.DataFrame)) for piece in pieces),
        has_instances=False,
    )


def _from_levels(y: pd.Series | pd.DataFrame, name: str) -> SeriesPanel:
    """Read a frame whose upper index levels name the series."""
    values = _array(y, name)
    upper = y.index.droplevel(-1)
    codes, instances = pd.factorize(upper, use_na_sentinel=False)
    if np.any(np.diff(codes) < 0):
        raise ValueError(f"the rows of a series of {name} are not adjacent: use {name}.sort_index().")
    offsets = np.flatnonzero(np.diff(codes, prepend=-1, append=len(instances)))
    time = y.index.get_level_values(-1)
    indexes = [time[start:stop] for start, stop in itertools.pairwise(offsets)]
    _check_indexes(indexes, [name] * len(indexes), [f" (series {instance!r})" for instance in instances])
    return SeriesPanel(
        torch.from_numpy(np.array(values, order="C")),
        offsets.astype(np.int64),
        list(instances),
        indexes,
        _columns(y, values.shape[1]),
        has_index=True,
        has_instances=True,
    )


def _columns(piece: Any, n_channels: int) -> list[str]:
    if isinstance(piece, pd.DataFrame):
        return [str(column) for column in piece.columns]
    if isinstance(piece, pd.Series) and piece.name is not None:
        return [str(piece.name)]
    return [str(channel) for channel in range(n_channels)]


def _array(piece: Any, name: str) -> np.ndarray:
    """Return one series as float64 (time, channel), NaN where a value is missing or NA."""
    if isinstance(piece, pd.Series):
        piece = piece.to_frame()
    if isinstance(piece, pd.DataFrame):
        for column, dtype in zip(piece.columns, piece.dtypes, strict=True):
            _check_real(dtype, f"column {column!r} of {name}")
        values = piece.to_numpy(dtype=np.float64, na_value=np.nan)
    elif isinstance(piece, torch.Tensor):
        values = piece.detach().cpu().double().numpy()
    elif isinstance(piece, np.ndarray):
        _check_real(piece.dtype, name)
        values = np.ma.filled(piece.astype(np.float64, copy=False), np.nan)
    else:
        raise TypeError(f"{name} is of type {type(piece).__name__}. Pass {ACCEPTED}.")
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        remedy = f": for a panel (case, channel, time) pass list({name}.swapaxes(1, 2))" if values.ndim == 3 else ""
        raise ValueError(
            f"{name} has {values.ndim} dimensions {tuple(values.shape)}, expected (time,) or (time, channel){remedy}."
        )
    for axis, size in zip(("time point", "channel"), values.shape, strict=True):
        if size == 0:
            raise ValueError(f"{name} is empty: no {axis} in its shape {values.shape} = (time, channel).")
    return values


def _check_real(dtype: Any, name: str) -> None:
    if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype):
        raise TypeError(f"{name} holds {dtype}, not real numbers: convert it, for instance by astype(float).")


def _check_indexes(indexes: list[pd.Index], names: list[str], suffixes: list[str] | None = None) -> None:
    """Check each time index, and that all have one time step."""
    first: tuple[str, str] | None = None
    for i, (index, name) in enumerate(zip(indexes, names, strict=True)):
        where = name + (suffixes[i] if suffixes else "")
        step = _time_step(index, name, where)
        if step is None:
            continue
        first = first or (step, where)
        if step != first[0]:
            raise ValueError(
                f"{where} has the time step {step!r}, {first[1]} has {first[0]!r}: bring all series to one step, for "
                f"instance by asfreq or resample."
            )


def _time_step(index: pd.Index, name: str, where: str) -> str | None:
    """Return the time step of a checked index in words; None if it is too short to tell."""
    dated = isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex))
    if not dated and not pd.api.types.is_integer_dtype(index.dtype):
        raise TypeError(
            f"the index of {where} holds {index.dtype}: time must be a DatetimeIndex, a PeriodIndex or integers; "
            f"convert dates by pd.to_datetime, or use {name}.reset_index(drop=True) to number the rows."
        )
    if index.hasnans:
        raise ValueError(f"the index of {where} has missing times (NaT): drop these rows.")
    if not index.is_monotonic_increasing:
        raise ValueError(f"{where} is not sorted by time: use {name}.sort_index().")
    if not index.is_unique:
        repeated = index[index.duplicated()][0]
        raise ValueError(
            f"{where} repeats time points, the first is {repeated}: drop them, "
            f"{name}[~{name}.index.duplicated()], or aggregate them."
        )
    if isinstance(index, pd.DatetimeIndex):
        return _date_step(index, name, where)
    ticks = index.asi8 if isinstance(index, pd.PeriodIndex) else index.to_numpy()
    steps = np.diff(ticks)
    if steps.size and (steps != steps[0]).any():
        _raise_irregular(index, steps, name, where)
    unit = f" {index.freqstr}" if isinstance(index, pd.PeriodIndex) else ""
    return f"{steps[0]}{unit}" if steps.size else None


def _date_step(index: pd.DatetimeIndex, name: str, where: str) -> str | None:
    freq = index.freqstr
    if freq is None:
        if len(index) < 3:
            return None
        freq = pd.infer_freq(index)
    if freq is None:
        _raise_irregular(index, np.diff(index.asi8), name, where)
    return freq.partition("-")[0]  # the anchor of a week or quarter may differ between series


def _raise_irregular(index: pd.Index, steps: np.ndarray, name: str, where: str) -> NoReturn:
    usual, counts = np.unique(steps, return_counts=True)
    odd = int(np.flatnonzero(steps != usual[counts.argmax()])[0])
    remedy = f"{name}.asfreq(...)" if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)) else f"{name}.reindex(...)"
    raise ValueError(
        f"the index of {where} has no regular time step: see the one from {index[odd]} to {index[odd + 1]}. Insert the "
        f"missing times with {remedy} and choose a policy for missing values, or, if the steps do not matter, number "
        f"the rows with reset_index(drop=True)."
    )
