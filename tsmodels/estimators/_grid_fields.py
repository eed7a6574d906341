"""Fields on a grid as the grid forecasters know them, and the way back to what the user has given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["Field", "TimeAxis", "grid_of", "read_field"]

_NEAR = 0.01  # steps by which times that are numbers may be off
_FAR = 100_000  # frames beyond the fitted ones, further than anyone forecasts


@dataclass(frozen=True)
class TimeAxis:
    """Times of the fitted frames, which go on at their own frequency.

    Attributes
    ----------
    index : pandas Index
        Increasing and regular.
    step : object
        From one time to the next: a frequency of pandas or xarray, a number, or a DateOffset.
    """

    index: Any
    step: Any

    @classmethod
    def of(cls, index: Any, name: str) -> TimeAxis:
        """Find the step of an index; ValueError, with the argument's name, if it has none."""
        if len(index) > 1 and not (index.is_monotonic_increasing and index.is_unique):
            raise ValueError(f"the times of {name} must increase, each once: sort them, {name}.sortby('time').")
        return cls(index, _step_of(index, name))

    def after(self, n: int) -> Any:
        """Return the ``n`` times that follow."""
        last = self.index[-1]
        if isinstance(self.index, pd.DatetimeIndex):
            return pd.date_range(last, periods=n + 1, freq=self.step)[1:]
        if isinstance(self.step, str):
            import xarray  # an index of calendars comes from there

            return xarray.date_range(last, periods=n + 1, freq=self.step, calendar=self.index.calendar)[1:]
        return pd.Index(last + self.step * np.arange(1, n + 1))

    def extended(self, index: Any, name: str) -> TimeAxis:
        """Return the axis with further times; ValueError unless these are the ones that follow."""
        follow = self.after(len(index))
        if not _are_equal(follow, index, self.step):
            raise ValueError(
                f"the times of {name} begin with {index[0]} and end with {index[-1]}, but {len(index)} frames after "
                f"{self.index[-1]} end with {follow[-1]}: pass the frames that follow those already known."
            )
        return replace(self, index=_joined(self.index, index))

    def row_of(self, time: Any, name: str) -> int:
        """Return the number of a time, counted from the first fitted frame; ValueError if it is not on the axis."""
        index = self.index
        n = 1 + len(index)
        while time > index[-1] and n < _FAR:
            index, n = _joined(self.index, self.after(n)), 4 * n
        near = {"method": "nearest", "tolerance": _NEAR * abs(self.step)} if _is_float(index) else {}
        row = index.get_indexer([time], **near)[0]
        if row < 0 and time < self.index[0]:
            raise ValueError(
                f"{name} begins at {time}, before the fitted field, {self.index[0]}: pass later frames, or fit from "
                "there."
            )
        if row < 0:
            raise ValueError(
                f"the times of {name} have {time}, which is none of the fitted ones, {self.index[0]}, "
                f"{self.index[1]}, ..., nor of those that follow: pass frames at the same times of day, month or year."
            )
        return int(row)


def _is_float(index: Any) -> bool:
    return np.issubdtype(getattr(index, "dtype", object), np.floating)


def _are_equal(one: Any, other: Any, step: Any) -> bool:
    """Whether times are the same, those that are numbers up to rounding."""
    if _is_float(one) and _is_float(other):
        return len(one) == len(other) and np.allclose(one, other, rtol=0, atol=_NEAR * abs(step))
    return one.equals(other)


def _joined(index: Any, further: Any) -> Any:
    """Return both indexes as one of the class of the first, which pandas forgets where it does not know it."""
    return type(index)(index.append(further))


def _step_of(index: Any, name: str) -> Any:
    regular = f"the times of {name} must follow each other regularly: fill in the missing frames, or resample {name}."
    if len(index) < 3:
        raise ValueError(f"{name} has {len(index)} times, three are needed to see how they go on: pass more frames.")
    if isinstance(index, pd.DatetimeIndex):
        step = index.freq or pd.infer_freq(index) or _months(index)
    elif hasattr(index, "calendar"):
        import xarray

        step = xarray.infer_freq(index)
    else:
        differences = np.diff(index.to_numpy())
        step = differences[0] if np.allclose(differences, differences[0], rtol=1e-4) else None
    if step is None:
        raise ValueError(regular)
    return step


def _months(index: Any) -> pd.DateOffset | None:
    """The step of months that are dated at a day within, which pandas has no name for."""
    between = np.unique(np.diff(12 * index.year + index.month))
    step = pd.DateOffset(months=int(between[0]))
    follows = len(between) == 1 and between[0] > 0 and (index[:-1] + step).equals(index[1:])
    return step if follows else None


@dataclass(frozen=True)
class Field:
    """Frames of a field, and what it takes to give others in the same form.

    Attributes
    ----------
    values : ndarray of float32 (time, channel, height, width)
        0 where the mask is False.
    mask : ndarray of bool (height, width) or (channel, height, width)
        True where a cell counts.
    index : pandas Index or None
        Times, where the field has them.
    lat, lon : ndarray or None
        Coordinates.
    n_axes : int
        3, or 4 with channels.
    template : DataArray or None
        One frame, for all that does not depend on time; None if the field was an array.
    dims : tuple of str
        Dimensions of a DataArray in the order of `values`.
    """

    values: np.ndarray
    mask: np.ndarray
    index: Any
    lat: np.ndarray | None
    lon: np.ndarray | None
    n_axes: int
    template: Any = None
    dims: tuple[Any, ...] = ()

    def like(self, frames: np.ndarray, index: Any) -> Any:
        """Return other frames (time, channel, height, width) in the form of the field, NaN where nothing counts."""
        frames = np.where(self.mask, frames, np.nan)
        if self.n_axes == 3:
            frames = frames[:, 0]
        if self.template is None:
            return frames
        import xarray

        time, given = self.dims[0], self.template
        coords = {name: each for name, each in given.coords.items() if time not in each.dims and name != time}
        if index is not None:
            coords[time] = (time, index, given.coords[time].attrs)
        made = xarray.DataArray(frames, dims=self.dims, coords=coords, name=given.name, attrs=given.attrs)
        return made.transpose(*given.dims)


def read_field(field: Any, mask: Any, name: str) -> Field:
    """Return a checked field.

    Parameters
    ----------
    field : ndarray, GriddedSeries or xarray.DataArray
        (time, lat, lon) or (time, channel, lat, lon).
    mask : array or DataArray of bool, optional
        True where a cell counts.
    name : str
        Of the argument, for messages.

    Returns
    -------
    Field

    Raises
    ------
    TypeError, ValueError
        If it cannot be used.
    """
    from tsmodels_datamodules._gridded_series import to_gridded

    labelled = hasattr(field, "dims") and hasattr(field, "coords")
    dims: tuple[Any, ...] = _ordered(field, name) if labelled else ()
    if labelled and hasattr(mask, "dims"):
        mask = mask.transpose(*(each for each in dims if each in mask.dims))
    try:
        series = to_gridded(field, mask)
    except (TypeError, ValueError) as error:
        told = str(error)
        raise type(error)(f"{name}{told[4:]}" if told.startswith("data ") else f"{name}: {told}") from None
    n_axes = len(dims) if labelled else np.ndim(getattr(field, "values", field))
    index, template = None, None
    if labelled:
        index, template = field.indexes.get(dims[0]), field.isel({dims[0]: slice(1)})
    elif series.times is not None:
        index = pd.DatetimeIndex(series.times)
    assert series.mask is not None
    return Field(series.values, series.mask, index, series.lat, series.lon, n_axes, template, dims)


def grid_of(field: Any, name: str) -> tuple[int, ...]:
    """Return height and width of a field that may not be usable otherwise; empty where it is no field at all."""
    if hasattr(field, "dims") and hasattr(field, "coords"):
        return tuple(field.sizes[each] for each in _ordered(field, name)[-2:])
    return tuple(getattr(getattr(field, "values", field), "shape", ()))[-2:]


def _ordered(field: Any, name: str) -> tuple[Any, ...]:
    """Dimensions of a DataArray in our order: time, channel, latitude, longitude."""
    from tsmodels_datamodules._gridded_series import AXES

    named = [next((each for each in field.dims if str(each).lower() in axis), None) for axis in AXES]
    if None in named or len(field.dims) not in (3, 4):
        raise ValueError(
            f"{name} has the dimensions {tuple(field.dims)}: name them time, lat and lon, and a channel if there is "
            f"one, with {name}.rename(...)."
        )
    return (named[0], *(each for each in field.dims if each not in named), *named[1:])
