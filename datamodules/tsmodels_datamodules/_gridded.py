"""Windows of fields on a grid for Lightning, with a mask, anomalies, and scaling by the cells that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from tsmodels_datamodules._gridded_series import GriddedSeries, load_sst, to_gridded
from tsmodels_datamodules._panel import panel_loader
from tsmodels_datamodules._panel_module import _integer
from tsmodels_datamodules._series import SeriesPanel
from tsmodels_datamodules._window_dataset import SeriesScaler
from tsmodels_datamodules._window_splits import PARTS, part_borders, read_split, wanted_parts

__all__ = ["GriddedDataModule", "GriddedSeries", "load_sst"]

_CHANNEL_AXIS = -3


@dataclass(frozen=True, eq=False)
class _FrameWindows(Dataset[dict[str, torch.Tensor]]):
    """Windows of consecutive frames (time, channel, height, width), a batch being one gather."""

    frames: torch.Tensor
    mask: torch.Tensor
    length: int
    starts: torch.Tensor

    def __len__(self) -> int:
        return len(self.starts)

    def __getitems__(self, index: Sequence[int]) -> dict[str, torch.Tensor]:
        start = self.starts[torch.as_tensor(index)]
        frames = self.frames[start[:, None] + torch.arange(self.length)]
        return {"frames": frames, "mask": self.mask, "start": start}


class GriddedDataModule(LightningDataModule):
    """Windows of one field on a grid, to forecast it: sea-surface temperature, radar, reanalysis, solutions of PDEs.

    Parameters
    ----------
    data : ndarray, xarray.DataArray, GriddedSeries or path
        (time, latitude, longitude) or (time, channel, latitude, longitude). A DataArray is brought into this order by
        the names of its dimensions (time, lat or latitude or y, lon or longitude or x). A path is a netCDF file, read
        by xarray, which must be installed.
    mask : array of bool (latitude, longitude) or (channel, latitude, longitude), optional
        True where a cell counts. By default that of a GriddedSeries; else each cell that is finite at some time.
    variable : str, optional
        Which variable of a netCDF file; may be left out where it has only one.
    window : int
        Frames of a context, what a forecast is made from.
    horizon : int
        Frames that follow it in a window, what is forecast.
    split : (float, float, float), (int, int) or pair of dates
        Parts in time, training first: shares that sum to 1, or where validation and test begin, as positions (negative
        ones from the end) or as dates, for data with times.
    season : int, optional
        Frames of a season, 12 for months. The frames are then anomalies: of each cell the mean of its phase over the
        training part is taken off. By default none is.
    scaling : {"standard", "none"}
        Of each channel, fitted on the cells that count in the training part.
    batch_size : int
        Windows in a batch.
    seed : int
        Of the order of the training windows.

    Attributes
    ----------
    n_channels, height, width : int
    context : int
        `window`, under the name a task knows it by.
    mask : ndarray of bool (height, width) or (channel, height, width)
    lat, lon, times : ndarray, or None
        Coordinates, where the data have them.
    borders : (int, int, int, int)
        Where the parts begin, and the end: training is ``[borders[0], borders[1])``.
    scaler : SeriesScaler
        Fitted; ``scaler.inverse(frames, dim=-3)`` is in the units of the data, or of the anomalies. See `to_units`.
    climatology : ndarray (season, channel, height, width), or None
        What was taken off.

    Raises
    ------
    TypeError, ValueError
        For data that cannot be used as they are; the message names the argument and what to do.
    ImportError
        For a path, if xarray is not installed.

    Notes
    -----
    A batch is a dict of ``frames`` (batch, window + horizon, channel, height, width), scaled, 0 where the mask is
    False; ``mask``, as above, without an axis of the batch; and ``start`` (batch,), the row of the first frame in the
    data. A training window lies within the training part. The targets of a validation or test window lie within its
    part, its context may reach into the part before, as it would when the forecast is made.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels_datamodules import GriddedDataModule
    >>> field = np.random.default_rng(0).normal(size=(60, 6, 8))
    >>> data = GriddedDataModule(field, window=8, horizon=4, split=(40, 50))
    >>> {key: tuple(value.shape) for key, value in next(iter(data.test_dataloader())).items()}
    {'frames': (7, 12, 1, 6, 8), 'mask': (6, 8), 'start': (7,)}
    """

    def __init__(
        self,
        data: Any,
        *,
        mask: Any = None,
        variable: str | None = None,
        window: int = 36,
        horizon: int = 12,
        split: Sequence[Any] = (0.7, 0.15, 0.15),
        season: int | None = None,
        scaling: str = "standard",
        batch_size: int = 8,
        seed: int = 0,
    ) -> None:
        super().__init__()
        window, horizon = _integer(window, 1, "window"), _integer(horizon, 1, "horizon")
        batch_size, seed = _integer(batch_size, 1, "batch_size"), _integer(seed, 0, "seed")
        season = None if season is None else _integer(season, 1, "season")
        split = read_split(split)
        self.scaler = SeriesScaler(scaling)
        self.save_hyperparameters(ignore=["data", "mask"])
        series = to_gridded(data, mask, variable=variable)
        self.context, self.horizon, self.season = window, horizon, season
        self.mask = cast(np.ndarray, series.mask)
        self.lat, self.lon, self.times = series.lat, series.lon, series.times
        self.n_channels, self.height, self.width = series.values.shape[1:]
        self.borders = _borders(len(series.values), series.times, split)
        self._starts = {part: self._starts_of(part) for part, wanted in wanted_parts(split).items() if wanted}
        values = torch.from_numpy(series.values)
        self.climatology = self._fit_climatology(values)
        self._frames = self._prepared(values)

    def _starts_of(self, part: str) -> torch.Tensor:
        """Return the first rows of the windows of a part."""
        number, length = PARTS.index(part), self.context + self.horizon
        begin, end = self.borders[number], self.borders[number + 1]
        first = begin if part == "train" else max(0, begin - self.context)
        starts = torch.arange(first, max(first, end - length + 1))
        if not len(starts):
            has, needs = (end - begin, length) if part == "train" else (end - max(begin, self.context), self.horizon)
            raise ValueError(
                f"the {part} part has room for {max(has, 0)} frames where a window needs {needs}, with window = "
                f"{self.context} and horizon = {self.horizon}: shorten them, or give the part more by split."
            )
        return starts

    def _fit_climatology(self, values: torch.Tensor) -> np.ndarray | None:
        if self.season is None:
            return None
        train = values[: self.borders[1]]
        if len(train) < self.season:
            raise ValueError(f"season = {self.season} is longer than the training part, {len(train)} frames.")
        return torch.stack([train[phase :: self.season].double().mean(0) for phase in range(self.season)]).numpy()

    def _prepared(self, values: torch.Tensor) -> torch.Tensor:
        """Return anomalies, scaled, 0 where nothing counts."""
        if self.climatology is not None:
            values = values - self._climatology_at(torch.arange(len(values))).to(values)
        counts = torch.from_numpy(self.mask).expand(values.shape[1:])
        train = torch.where(counts, values[: self.borders[1]], torch.nan)
        self.scaler.fit(train.movedim(_CHANNEL_AXIS, -1))
        return torch.where(counts, self.scaler.transform(values, dim=_CHANNEL_AXIS), 0.0)

    def _climatology_at(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(cast(np.ndarray, self.climatology))[rows % cast(int, self.season)]

    def to_units(self, frames: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
        """Return frames in the units of the data, with the climatology that was taken off.

        Parameters
        ----------
        frames : Tensor (batch, time, channel, height, width)
            As in the batches, or a forecast of such.
        start : int Tensor (batch,)
            The row of each first frame in the data: ``batch["start"]``, plus the context for a forecast.

        Returns
        -------
        Tensor
            Like `frames`; 0 where the mask is False.
        """
        units = self.scaler.inverse(frames, dim=_CHANNEL_AXIS)
        if self.climatology is not None:
            rows = start.cpu()[:, None] + torch.arange(frames.shape[1])
            units = units + self._climatology_at(rows).to(units)
        return torch.where(torch.from_numpy(self.mask).to(frames.device), units, 0.0)

    def _loader(self, part: str) -> DataLoader:
        mask = torch.from_numpy(self.mask)
        windows = _FrameWindows(self._frames, mask, self.context + self.horizon, self._starts[part])
        return panel_loader(
            windows,  # pyright: ignore[reportArgumentType]  # all that matters there is __getitems__ and a length
            self.hparams["batch_size"],
            shuffle=part == "train",
            seed=self.hparams["seed"],
        )

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.hparams.items())
        return f"{type(self).__name__}({options})"

    __str__ = __repr__  # Lightning's prints a table of all loaders

    def train_dataloader(self) -> DataLoader:
        """Return the training windows, in a new order in each pass."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Return the validation windows in order; an empty list if there is no such part.

        Lightning takes an empty list for no validation, with a warning unless the Trainer has ``limit_val_batches=0``.
        """
        return self._loader("val") if "val" in self._starts else []

    def test_dataloader(self) -> DataLoader:
        """Return the test windows in order.

        Raises
        ------
        ValueError
            If there is no test part.
        """
        if "test" not in self._starts:
            raise ValueError("there is no test part: give it a share of the data by split.")
        return self._loader("test")


def _borders(n_frames: int, times: np.ndarray | None, split: tuple[Any, ...]) -> tuple[int, int, int, int]:
    index = pd.RangeIndex(n_frames) if times is None else pd.DatetimeIndex(times)
    one = SimpleNamespace(lengths=np.array([n_frames]), indexes=[index])  # all of a panel that is looked at
    train, val, test, end = part_borders(cast(SeriesPanel, one), split)[0].tolist()
    return train, val, test, end
