"""Windows of series as batches: views on one array, one gather per batch; and the scaling of the series."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset

from tsmodels_datamodules._panel import panel_loader
from tsmodels_datamodules._scaling import SCALINGS


@dataclass(eq=False)
class SeriesScaler:
    """Per-channel scaling of series, and the way back.

    Parameters
    ----------
    kind : {"standard", "none"}
        ``"standard"``: subtract the mean and divide by the standard deviation of each channel over its observed
        values; a constant channel is only centred. ``"none"``: identity.

    Attributes
    ----------
    mean_, scale_ : ndarray (channel,), float64
        After `fit`: what is subtracted and divided by (0 and 1 under ``"none"`` and for a channel without any value).

    Examples
    --------
    >>> import torch
    >>> from tsmodels_datamodules import SeriesScaler
    >>> scaler = SeriesScaler().fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    >>> scaler.transform(torch.tensor([[3.0, 6.0]]))
    tensor([[1., 1.]])
    >>> scaler.inverse(torch.tensor([[1.0, 1.0]]))
    tensor([[3., 6.]])
    """

    kind: str = "standard"
    mean_: np.ndarray = field(init=False)
    scale_: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        if self.kind not in SCALINGS:
            raise ValueError(f"scaling must be one of {', '.join(map(repr, SCALINGS))}, got {self.kind!r}.")

    def fit(self, values: torch.Tensor) -> SeriesScaler:
        """Learn mean and scale from the observed values.

        Parameters
        ----------
        values : Tensor (..., channel)
            NaN where missing.

        Returns
        -------
        SeriesScaler
            The scaler itself.
        """
        n_channels = values.shape[-1]
        self.mean_, self.scale_ = np.zeros(n_channels), np.ones(n_channels)
        if self.kind == "standard":
            for channel in range(n_channels):  # by channel: float64 copies of one channel at a time
                column = values[..., channel].double()
                column = column[~column.isnan()].numpy()
                if column.size:
                    self.mean_[channel] = column.mean()
                    if column.min() < column.max():  # the rounded deviation of a constant need not be 0
                        self.scale_[channel] = column.std()
        return self

    def transform(self, values: torch.Tensor, *, dim: int = -1) -> torch.Tensor:
        """Return scaled values.

        Parameters
        ----------
        values : Tensor (..., channel)
            NaN stays NaN.
        dim : int
            The axis of the channels, ``-2`` for instance in (batch, time, channel, output).

        Returns
        -------
        Tensor
            Like `values`, of the same dtype.
        """
        mean, scale = self._along(values, dim)
        return (values - mean) / scale

    def inverse(self, values: torch.Tensor, *, dim: int = -1) -> torch.Tensor:
        """Return scaled values in the units of the data; the inverse of `transform`, with the same parameters."""
        mean, scale = self._along(values, dim)
        return values * scale + mean

    def _along(self, values: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and scale, with the channels along `dim` of `values`."""
        if not hasattr(self, "mean_"):
            raise RuntimeError("this SeriesScaler is not fitted: call fit(values) with the training part first.")
        if values.shape[dim] != len(self.mean_):
            raise ValueError(
                f"axis {dim} of the values {tuple(values.shape)} has {values.shape[dim]} channels, the scaler was "
                f"fitted on {len(self.mean_)}."
            )
        shape = [1] * values.ndim
        shape[dim] = -1
        mean, scale = (torch.from_numpy(array).to(values).view(shape) for array in (self.mean_, self.scale_))
        return mean, scale


@dataclass(frozen=True, eq=False)
class WindowRows:
    """The array windows are cut from, and what goes with it; nothing of it is copied by a :class:`WindowDataset`.

    All tensors are contiguous; a ValueError names one that is not.

    Attributes
    ----------
    values : Tensor (row, channel), float32
        The scaled series, one after the other, 0 where a value is missing.
    mask : Tensor (row, channel), bool, or None
        True = observed.
    past : Tensor (row, n_past), float32, or None
        Covariates known up to now.
    exog : Tensor (exog_row, n_exogenous), float32, or None
        Covariates known ahead, in rows of their own, as they may reach beyond the series.
    exog_shift : Tensor (n_series,), int64, or None
        What is added to a row of `values` to find the row of `exog` at the same time.
    static : Tensor (n_series, n_static), float32, or None
    """

    values: torch.Tensor
    mask: torch.Tensor | None = None
    past: torch.Tensor | None = None
    exog: torch.Tensor | None = None
    exog_shift: torch.Tensor | None = None
    static: torch.Tensor | None = None

    def __post_init__(self) -> None:
        for name, tensor in vars(self).items():
            if tensor is not None and not tensor.is_contiguous():
                raise ValueError(f"{name} is not contiguous: pass {name}.contiguous().")


class WindowDataset(Dataset[dict[str, torch.Tensor]]):
    """Windows of one or several series, a batch being one gather.

    Parameters
    ----------
    rows : WindowRows
        Its tensors are shared, not copied.
    lookback, horizon : int
        Lengths of ``x`` and of ``y``.
    first : array-like (n_series,)
        The row at which the first window of each series starts.
    counts : array-like (n_series,)
        The number of windows of each series.
    stride : int
        Rows between the starts of two windows of a series.
    with_target : bool
        Whether the batches carry ``y``, the `horizon` rows after ``x``. Without, the rows need not reach so far, except
        those of the covariates known ahead.

    Notes
    -----
    Keys of an item and of a batch, where `rows` has what they need: ``x`` (batch, lookback, channel), ``y`` (batch,
    horizon, channel), ``mask`` and ``y_mask`` like these, ``exog`` (batch, lookback + horizon, n_exogenous), ``past``
    (batch, lookback, n_past), ``static`` (batch, n_static).

    Windows are ordered by series, then by time. They take no memory: where a window starts is computed from the series
    it belongs to.
    """

    def __init__(
        self,
        rows: WindowRows,
        lookback: int,
        horizon: int,
        first: npt.ArrayLike,
        counts: npt.ArrayLike,
        *,
        stride: int = 1,
        with_target: bool = True,
    ) -> None:
        self.rows, self.lookback, self.horizon, self.stride = rows, lookback, horizon, stride
        self.with_target = with_target
        self._first = torch.from_numpy(np.array(first, dtype=np.int64))
        self._ends = torch.from_numpy(np.cumsum(counts, dtype=np.int64))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def locate(self, index: npt.ArrayLike | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the series, int64 (batch,), and the first row, int64 (batch,), of the windows at `index`."""
        windows = torch.from_numpy(np.asarray(index, dtype=np.int64).copy())
        if windows.numel() and not -len(self) <= int(windows.min()) <= int(windows.max()) < len(self):
            raise IndexError(f"there are {len(self)} windows.")
        windows = torch.where(windows < 0, windows + len(self), windows)
        series = torch.searchsorted(self._ends, windows, right=True)
        # the position of a window in its series, counted back from the end of the series
        counts = torch.diff(self._ends, prepend=self._ends.new_zeros(1))
        position = windows - self._ends[series] + counts[series]
        return series, self._first[series] + position * self.stride

    def __getitems__(self, index: npt.ArrayLike | torch.Tensor) -> dict[str, torch.Tensor]:
        rows = self.rows
        series, start = self.locate(index)
        batch = {"x": _windows(rows.values, start, self.lookback)}
        if self.with_target:
            batch["y"] = _windows(rows.values, start + self.lookback, self.horizon)
        if rows.mask is not None:
            batch["mask"] = _windows(rows.mask, start, self.lookback)
            if self.with_target:
                batch["y_mask"] = _windows(rows.mask, start + self.lookback, self.horizon)
        if rows.exog is not None and rows.exog_shift is not None:
            batch["exog"] = _windows(rows.exog, start + rows.exog_shift[series], self.lookback + self.horizon)
        if rows.past is not None:
            batch["past"] = _windows(rows.past, start, self.lookback)
        if rows.static is not None:
            batch["static"] = rows.static[series]
        return batch

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {key: tensor[0] for key, tensor in self.__getitems__([index]).items()}


def _windows(rows: torch.Tensor, start: torch.Tensor, length: int) -> torch.Tensor:
    """Return the windows (batch, length, channel) at `start` of a contiguous array (row, channel)."""
    n_channels = rows.shape[1]
    # over the flat array a window is one run of memory: several times faster than to gather its rows
    runs = rows.view(-1).unfold(0, length * n_channels, n_channels)
    return runs.index_select(0, start).view(-1, length, n_channels)


def window_loader(
    dataset: WindowDataset, batch_size: int, *, shuffle: bool = False, seed: int = 0, num_workers: int = 0
) -> DataLoader:
    """Return a loader of dict batches that draws nothing from torch's global generator.

    Parameters
    ----------
    dataset : WindowDataset
        The windows.
    batch_size, shuffle, seed, num_workers
        As for :func:`panel_loader`: no window is dropped, the orders follow from `seed` alone.

    Returns
    -------
    DataLoader
        Batches with the keys of `dataset`.
    """
    return panel_loader(
        dataset,  # pyright: ignore[reportArgumentType]  # all that matters there is __getitems__ and a length
        batch_size,
        shuffle=shuffle,
        seed=seed,
        num_workers=num_workers,
    )
