"""Data sets of the forecasting literature for Lightning."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from tsmodels_datamodules._forecasting_sets import find_forecasting_set, forecasting_set, load_forecasting_set
from tsmodels_datamodules._window_rows import GivenSeries
from tsmodels_datamodules._windows import WindowModule, WindowOptions


class ForecastingSetDataModule(WindowModule):
    """Windows of a data set of the forecasting literature, by name, with its customary split.

    Parameters
    ----------
    name : str
        See :func:`load_forecasting_set`.
    lookback, horizon : int
        Lengths of the past a window shows and of the future it asks for.
    split : tuple, optional
        By default the customary one: ETT 12, 4 and 4 months of 30 days; ``weather``, ``exchange_rate`` and
        ``national_illness`` 0.7, 0.1, 0.2 of the rows; of the competitions' series the test part is the official one,
        the validation part as many time points before it. Else as for :class:`WindowDataModule`.
    data_dir, download
        Where to look for the files and whether to download them; see :func:`load_forecasting_set`.
    stride, scaling, missing, batch_size, seed, num_workers
        As for :class:`WindowDataModule`, as are the batches and attributes.

    Raises
    ------
    TypeError, ValueError
        If the name or an option is out of range.

    Notes
    -----
    All channels are forecast (the "M" of the literature), standardised by the training part. No window is dropped: test
    loaders that leave out the last batch change the published numbers with the batch size.

    The competitions' horizons are 48 (``M4-Hourly``), 6 (``M3-Yearly``), 8 (``M3-Quarterly``, ``M3-Other``) and 18
    (``M3-Monthly``); with these there is one test window for each series.

    Nothing is read before it is needed: `prepare_data` looks for the files and downloads them if need be.

    The common ``exchange_rate.csv`` has its last two columns swapped, and ``weather`` marks a few missing values by
    -9999; published numbers were computed on these files, so they are left as they are.

    Examples
    --------
    >>> from tsmodels_datamodules import ForecastingSetDataModule
    >>> ForecastingSetDataModule("ETTh1", lookback=336, horizon=96).hparams.split
    (8640, 11520)
    """

    def __init__(
        self,
        name: str,
        lookback: int = 96,
        horizon: int = 96,
        *,
        split: tuple[Any, ...] | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        download: bool = True,
        stride: int = 1,
        scaling: str = "standard",
        missing: str = "error",
        batch_size: int = 32,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        split = forecasting_set(name).split if split is None else split
        super().__init__(
            WindowOptions(lookback, horizon, stride, split, scaling, missing, batch_size, seed, num_workers)
        )
        data_dir = None if data_dir is None else os.fspath(data_dir)  # a Path is no plain value in a checkpoint
        where: dict[str, Any] = {"data_dir": data_dir, "download": bool(download)}
        self.save_hyperparameters({"name": name, **where, **asdict(self._options)})
        self.name: str = name
        self._where = where

    def prepare_data(self) -> None:
        """Look for the files, and download them if need be."""
        find_forecasting_set(self.name, **self._where)

    def _read(self) -> GivenSeries:
        y = load_forecasting_set(self.name, **self._where)
        return GivenSeries.read(y, None, None, None, self.horizon)
