"""The containers a collection of series comes in, read into one array (case, time, channel) padded with NaN.

sktime is not imported: its containers are numpy arrays, pandas frames and lists. None of them is read through another;
the detour over ``nested_univ`` that sktime's loaders take is the slowest of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

ACCEPTED = (
    "a numpy array or tensor (case, channel, time), a list of arrays (channel, time), "
    "or an sktime panel: numpy3D, df-list, pd-multiindex, nested_univ"
)


def read_values(X: Any, dtype: np.dtype, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a new array (case, time, channel) of `dtype`, NaN beyond the end of each case, and the lengths (case,).

    The containers and the errors are those of :func:`tsmodels_datamodules.to_panel`, except that infinite values pass.
    """
    if isinstance(X, pd.DataFrame):
        if isinstance(X.index, pd.MultiIndex):
            values, lengths = _from_multiindex(X, dtype, name)
        else:
            values, lengths = _stack(_nested_cases(X, name), dtype, name)
    elif isinstance(X, (np.ndarray, torch.Tensor)):
        values, lengths = _from_cube(X, dtype, name)
    elif isinstance(X, (list, tuple)):
        _check_frames(X, name)
        values, lengths = _stack([_case(case, f"{name}[{i}]") for i, case in enumerate(X)], dtype, name)
    else:
        raise TypeError(f"{name} is of type {type(X).__name__}. Pass {ACCEPTED}.")
    return values, lengths


def _from_cube(X: np.ndarray | torch.Tensor, dtype: np.dtype, name: str) -> tuple[np.ndarray, np.ndarray]:
    if X.ndim != 3:
        remedy = {
            1: f"for one univariate series {name}.reshape(1, 1, -1)",
            2: f"for univariate series, one per row, {name}[:, None, :]; for one multivariate series {name}[None]",
        }.get(X.ndim, "reshape it")
        raise ValueError(
            f"{name} has {X.ndim} dimensions {tuple(X.shape)}, expected 3: (case, channel, time); {remedy}."
        )
    cube = _numeric(X, name)
    for axis, size in zip(("case", "channel", "time point"), cube.shape, strict=True):
        if size == 0:
            raise ValueError(f"{name} is empty: no {axis} in its shape {cube.shape} = (case, channel, time).")
    n_cases, _, n_timepoints = cube.shape
    values = np.array(cube.transpose(0, 2, 1), dtype=dtype, order="C")
    return values, np.full(n_cases, n_timepoints, dtype=np.int64)


def _from_multiindex(X: pd.DataFrame, dtype: np.dtype, name: str) -> tuple[np.ndarray, np.ndarray]:
    if X.index.nlevels != 2:
        raise ValueError(
            f"{name} has a row index of {X.index.nlevels} levels, expected two: (case, time). "
            f"Flatten the upper levels into one case identifier."
        )
    flat = _numeric(X, name)
    if flat.size == 0:
        raise ValueError(f"{name} is empty: shape {flat.shape} = (case and time, channel).")
    case, _ = pd.factorize(X.index.get_level_values(0), use_na_sentinel=False)
    time, _ = pd.factorize(X.index.get_level_values(1), sort=True, use_na_sentinel=False)
    starts_case = np.diff(case, prepend=-1) != 0
    if np.any(np.diff(case) < 0) or np.any((np.diff(time) <= 0) & ~starts_case[1:]):
        raise ValueError(
            f"the rows of {name} must be grouped by case and sorted by time within each case, without duplicates: "
            f"use {name}.sort_index() (and order y by the sorted cases), {name}.index.duplicated() to find duplicates."
        )
    lengths = np.bincount(case)
    position = np.arange(len(flat)) - np.flatnonzero(starts_case)[case]
    values = np.full((len(lengths), lengths.max(), flat.shape[1]), np.nan, dtype=dtype)
    values[case, position] = flat
    return values, lengths.astype(np.int64)


def _nested_cases(X: pd.DataFrame, name: str) -> list[np.ndarray]:
    """Return the (time, channel) arrays of a frame with one series per cell."""
    if not X.size:
        raise ValueError(f"{name} is empty: shape {X.shape} = (case, channel).")
    if not isinstance(X.iat[0, 0], (pd.Series, np.ndarray, list)):
        raise ValueError(
            f"{name} is a plain DataFrame {X.shape} of single values: which axis is time is ambiguous. For one "
            f"univariate series per row pass {name}.to_numpy()[:, None, :]; else pass {ACCEPTED}."
        )
    cases = []
    for i, row in enumerate(X.itertuples(index=False, name=None)):
        channels = [_numeric(np.asarray(cell), f"{name}.iloc[{i}, {c}]") for c, cell in enumerate(row)]
        if len({channel.shape for channel in channels}) > 1 or channels[0].ndim != 1:
            raise ValueError(
                f"the channels of case {i} of {name} have the shapes {[channel.shape for channel in channels]}: "
                f"all channels of a case must be 1-D and of one length; pad the shorter ones with NaN."
            )
        cases.append(np.column_stack(channels))
    return cases


def _case(case: Any, name: str) -> np.ndarray:
    """Return one element of a list as (time, channel)."""
    if isinstance(case, pd.DataFrame):
        return _numeric(case, name)
    if not isinstance(case, (np.ndarray, torch.Tensor)):
        raise TypeError(f"{name} is of type {type(case).__name__}. Pass {ACCEPTED}.")
    if case.ndim != 2:
        remedy = f": for one channel {name}[None, :]" if case.ndim == 1 else ""
        raise ValueError(f"{name} has {case.ndim} dimensions {tuple(case.shape)}, expected 2: (channel, time){remedy}.")
    return _numeric(case, name).T


def _check_frames(cases: Sequence[Any], name: str) -> None:
    """Check that the DataFrames in a list have their channels in one order and their rows in the order of time."""
    frames = [(i, case) for i, case in enumerate(cases) if isinstance(case, pd.DataFrame)]
    for i, frame in frames:
        if not frame.columns.equals(frames[0][1].columns):
            raise ValueError(
                f"the columns of {name}[{i}] are {list(frame.columns)}, those of {name}[{frames[0][0]}] "
                f"{list(frames[0][1].columns)}: give all cases the same channels in the same order."
            )
        if not (frame.index.is_monotonic_increasing and frame.index.is_unique):
            raise ValueError(f"the rows of {name}[{i}] are not sorted by time or repeat a time: use sort_index().")


def _stack(cases: Sequence[np.ndarray], dtype: np.dtype, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Stack (time, channel) arrays on the time axis of the longest."""
    if not cases:
        raise ValueError(f"{name} is empty: pass at least one case.")
    n_channels = cases[0].shape[1]
    for i, case in enumerate(cases):
        if case.shape[1] != n_channels:
            raise ValueError(
                f"the cases of {name} differ in their channels: case 0 has {n_channels}, case {i} has {case.shape[1]}. "
                f"Arrays in a list are (channel, time), DataFrames (time, channel)."
            )
        if len(case) == 0:
            raise ValueError(f"case {i} of {name} has no time points: drop it (and its label).")
    if n_channels == 0:
        raise ValueError(f"the cases of {name} have no channels.")
    lengths = np.array([len(case) for case in cases], dtype=np.int64)
    values = np.full((len(cases), lengths.max(), n_channels), np.nan, dtype=dtype)
    for row, case in zip(values, cases, strict=True):
        row[: len(case)] = case
    return values, lengths


def _numeric(data: np.ndarray | torch.Tensor | pd.DataFrame, name: str) -> np.ndarray:
    """Return the values as a real array, NaN where they are masked or NA; no copy where none is needed."""
    if isinstance(data, pd.DataFrame):
        values = data.to_numpy()
        if values.dtype.kind in "fiub":  # the usual case, without a look at every column of every case
            return values
        for column, dtype in data.dtypes.items():
            _check_real(dtype, f"column {column!r} of {name}")
        return data.to_numpy(dtype=np.float64, na_value=np.nan)
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu()
        data = (data.float() if data.dtype is torch.bfloat16 else data).numpy()  # numpy has no bfloat16
    _check_real(data.dtype, name)
    if isinstance(data, np.ma.MaskedArray):
        return np.ma.filled(data.astype(np.float64), np.nan)
    return data


def _check_real(dtype: Any, name: str) -> None:
    if not pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_complex_dtype(dtype):
        raise TypeError(f"{name} holds {dtype}, not real numbers: convert it, or pass {ACCEPTED}.")
