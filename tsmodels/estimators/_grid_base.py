"""What all forecasters of gridded fields share: reading, seasons, times, the way back to the user's own container."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from sktime.base import BaseEstimator

from tsmodels.estimators._grid_fields import Field, TimeAxis, grid_of, read_field
from tsmodels.estimators._training import require_count

__all__ = ["GridForecaster"]


class GridForecaster(BaseEstimator):
    """A forecaster of fields on a grid; subclasses forecast anomalies, what departs from the mean of the season.

    Attributes
    ----------
    mask_ : ndarray of bool (height, width) or (channel, height, width)
        True where a cell counts.
    climatology_ : ndarray (season, channel, height, width)
        Means of the frames that were learned from, by phase, the first being that of the first frame.
    """

    _tags = {
        "authors": ["tsmodels developers"],
        "maintainers": ["tsmodels developers"],
        "object_type": "grid_forecaster",  # of this package: sktime knows no fields on a grid
    }

    season: int | None

    def fit(self, field: Any, mask: Any = None) -> Self:
        """Learn from a field.

        Parameters
        ----------
        field : ndarray, xarray.DataArray or GriddedSeries
            (time, lat, lon) or (time, channel, lat, lon), a DataArray in any order, its dimensions named as for
            :class:`tsmodels_datamodules.GriddedDataModule`. Forecasts are given in the same form.
        mask : array or DataArray of bool (lat, lon) or (channel, lat, lon), optional
            True where a cell counts. By default each that is finite at some time, which must then be so at all times.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            If the field, the mask or an argument of the constructor cannot be used.
        """
        self._check_arguments()
        read = read_field(field, mask, "field")
        axis = None if read.index is None else TimeAxis.of(read.index, "field")
        self.reset()
        n, period = len(read.values), self.season or 1
        least = max(self._least_frames(), period)
        if n < least:
            raise ValueError(f"field has {n} frames, {type(self).__name__} needs {least} at least: pass a longer one.")
        n_training = self._n_training(n)
        if n_training < period:
            raise ValueError(
                f"season={period} is longer than the {n_training} frames that are trained on: pass more frames."
            )
        training = read.values[:n_training].astype(float)
        self.climatology_ = np.stack([training[phase::period].mean(0) for phase in range(period)])
        self._field, self._axis, self.mask_ = read, axis, read.mask
        self._fit(self._anomalies(read.values, 0), n_training)
        self._is_fitted = True
        return self

    def predict(self, n_frames: int, context: Any = None) -> Any:
        """Forecast the frames that follow the fitted field, with what `update` has added, or those after a context.

        Parameters
        ----------
        n_frames : int
            How many.
        context : as the fitted field, optional
            Frames to go on from. Where they have times these are looked up, for the season; else the first is taken to
            be in the phase of the first fitted one. The mask of the fitted field holds.

        Returns
        -------
        ndarray or xarray.DataArray
            In the form of the fitted field, NaN where the mask is False. A DataArray has the name, attributes, order of
            dimensions and coordinates of the fitted one, its times going on at their own frequency. A GriddedSeries
            gives an ndarray.

        Raises
        ------
        sktime.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            If `n_frames` is no positive integer, or the context has no frame or another grid.
        """
        self.check_is_fitted()
        require_count("n_frames", n_frames)
        read, axis, first = self._field, self._axis, 0
        if context is not None:
            read = self._read_more(context, "context")
            first = self._first_row(read, "context")
            if axis is not None and read.index is not None:
                axis = TimeAxis(read.index, axis.step)
        forecast = self._from_origins(read.values, first, np.array([len(read.values)]), n_frames)[0]
        return self._field.like(forecast, None if axis is None else axis.after(n_frames))

    def update(self, field: Any) -> Self:
        """Take in frames that follow those already known; forecasts go on from there. Nothing is learned from them.

        Parameters
        ----------
        field : as the fitted field
            The new frames only.

        Returns
        -------
        self

        Raises
        ------
        sktime.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            If the grid is another one, or the times are not those that follow.
        """
        self.check_is_fitted()
        read, known = self._read_more(field, "field"), self._field
        if self._axis is not None:
            if read.index is None:
                raise ValueError("field has no times, but that of fit had: pass new frames in the same form.")
            self._axis = self._axis.extended(read.index, "field")
        index = None if self._axis is None else self._axis.index
        self._field = replace(known, values=np.concatenate([known.values, read.values]), index=index)
        return self

    def backtest(self, field: Any, n_frames: int, origins: Any) -> np.ndarray:
        """Forecast from many origins at once.

        Parameters
        ----------
        field : as the fitted field
            The fitted one, with what followed it; its first frame is in the phase of the first fitted one.
        n_frames : int
            Frames of each forecast.
        origins : array of int (origin,)
            How many frames of `field` each forecast knows.

        Returns
        -------
        ndarray (origin, n_frames, lat, lon) or (origin, n_frames, channel, lat, lon)
            Forecasts, NaN where the mask is False.

        Raises
        ------
        sktime.exceptions.NotFittedError
            Before `fit`.
        TypeError, ValueError
            If the grid is another one, or an origin is not from 1 to the number of frames.
        """
        self.check_is_fitted()
        require_count("n_frames", n_frames)
        read = self._read_more(field, "field")
        rows = np.atleast_1d(np.asarray(origins))
        whole = rows.size > 0 and np.issubdtype(rows.dtype, np.integer)
        if not (whole and 1 <= rows.min() <= rows.max() <= len(read.values)):
            raise ValueError(
                f"origins must be integers from 1 to the {len(read.values)} frames of field, got {origins!r}."
            )
        first = self._first_row(read, "field")
        found = np.where(self.mask_, self._from_origins(read.values, first, rows, n_frames), np.nan)
        return found[:, :, 0] if self._field.n_axes == 3 else found

    def _check_arguments(self) -> None:
        if self.season is not None:
            require_count("season", self.season)

    def _least_frames(self) -> int:
        """How many frames must be given to learn from."""
        return 1

    def _n_training(self, n: int) -> int:
        """How many of n frames are learned from; the others are for validation."""
        return n

    def _fit(self, anomalies: np.ndarray, n_training: int) -> None:
        """Learn from anomalies (time, channel, height, width), 0 where nothing counts."""

    def _forecast(self, anomalies: np.ndarray, origins: np.ndarray, n_frames: int) -> np.ndarray:
        """Return anomalies (origin, n_frames, channel, height, width) that follow the frames before each origin."""
        raise NotImplementedError

    def _from_origins(self, values: np.ndarray, first: int, origins: np.ndarray, n_frames: int) -> np.ndarray:
        """Forecasts in the units of the field, whose first frame has the number ``first``."""
        anomalies = self._forecast(self._anomalies(values, first), origins, n_frames)
        ahead = first + origins[:, None] + np.arange(n_frames)
        return anomalies + self.climatology_[ahead % len(self.climatology_)]

    def _anomalies(self, values: np.ndarray, first: int) -> np.ndarray:
        phases = (first + np.arange(len(values))) % len(self.climatology_)
        return np.where(self.mask_, values - self.climatology_[phases], 0.0)

    def _first_row(self, read: Field, name: str) -> int:
        """Return the number of the first frame, counted from the first fitted one."""
        if self._axis is None or read.index is None:
            return 0
        first, last = (self._axis.row_of(read.index[k], name) for k in (0, -1))
        if last - first != len(read.index) - 1 or not (read.index.is_monotonic_increasing and read.index.is_unique):
            raise ValueError(
                f"the times of {name} must follow each other as those of the fitted field do: sort them, and fill in "
                "the missing frames."
            )
        return first

    def _starts_with(self, other: GridForecaster) -> bool:
        """Whether both were fitted from the same first frame on, as far as their fields have times."""
        return self._axis is None or other._axis is None or self._axis.index[0] == other._axis.index[0]

    def _read_more(self, given: Any, name: str) -> Field:
        """Read further frames of the fitted grid."""
        known = self._field
        if np.ndim(given) > 2 and len(given) == 0:
            raise ValueError(f"{name} has no frame: pass one at least.")
        size = grid_of(given, name)
        if size and size != known.mask.shape[-2:]:
            raise ValueError(
                f"{name} has frames of {size} (lat, lon), the fitted field of {known.mask.shape[-2:]}: pass frames on "
                "the same grid, or fit anew."
            )
        read = read_field(given, known.mask, name)
        if (read.values.shape[1], read.n_axes) != (known.values.shape[1], known.n_axes):
            raise ValueError(
                f"{name} has {read.n_axes} axes and {read.values.shape[1]} channels, the fitted field {known.n_axes} "
                f"and {known.values.shape[1]}: pass frames in the same form, or fit anew."
            )
        for axis in ("lat", "lon"):
            new, old = getattr(read, axis), getattr(known, axis)
            if new is not None and old is not None and not np.array_equal(new, old):
                raise ValueError(
                    f"{name} has other coordinates {axis} than the fitted field: pass frames on the same grid, or fit "
                    "anew."
                )
        return read
