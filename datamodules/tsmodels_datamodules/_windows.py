"""Windows of series for Lightning: what forecasters are trained, validated and tested on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from tsmodels_datamodules._panel_module import _integer
from tsmodels_datamodules._scaling import SCALINGS
from tsmodels_datamodules._window_dataset import SeriesScaler, WindowDataset, window_loader
from tsmodels_datamodules._window_rows import WINDOW_MISSING_POLICIES, GivenSeries, ScaledSeries
from tsmodels_datamodules._window_splits import PARTS, read_split, wanted_parts


@dataclass(frozen=True)
class WindowOptions:
    """What every datamodule of windows can be told; checked, and in plain Python types for checkpoints."""

    lookback: int
    horizon: int
    stride: int
    split: tuple[Any, ...]
    scaling: str
    missing: str
    batch_size: int
    seed: int
    num_workers: int

    def __post_init__(self) -> None:
        least = {"lookback": 1, "horizon": 1, "stride": 1, "batch_size": 1, "seed": 0, "num_workers": 0}
        for name, minimum in least.items():
            object.__setattr__(self, name, _integer(getattr(self, name), minimum, name))
        for name, allowed in (("scaling", SCALINGS), ("missing", WINDOW_MISSING_POLICIES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {getattr(self, name)!r}.")
        object.__setattr__(self, "split", read_split(self.split))


class WindowModule(LightningDataModule):
    """What the datamodules of windows have in common; a subclass says where the series come from.

    The series are read, split and scaled once, when a fact or batch is first asked for, so `setup` may be called in any
    order and any number of times.
    """

    def __init__(self, options: WindowOptions) -> None:
        super().__init__()
        self._options = options

    def _read(self) -> GivenSeries:
        """Return the series."""
        raise NotImplementedError

    @cached_property
    def _series(self) -> ScaledSeries:
        options = self._options
        series = ScaledSeries.of(self._read(), options.split, options.scaling, options.missing)
        self._check_parts(series)
        return series

    @property
    def lookback(self) -> int:
        """Length of the windows' past."""
        return self._options.lookback

    @property
    def horizon(self) -> int:
        """Length of the windows' future."""
        return self._options.horizon

    @property
    def n_channels(self) -> int:
        """Number of channels of the series."""
        return self._series.rows.values.shape[1]

    @property
    def n_exogenous(self) -> int:
        """Number of covariates known ahead."""
        return _width(self._series.rows.exog)

    @property
    def n_past(self) -> int:
        """Number of covariates known up to now only."""
        return _width(self._series.rows.past)

    @property
    def n_static(self) -> int:
        """Number of features of a series that do not change with time."""
        return _width(self._series.rows.static)

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self._series.borders)

    @property
    def n_skipped(self) -> int:
        """Number of series whose training part is too short for a window."""
        first, stop = self._starts("train")
        return int((stop <= first).sum())

    @property
    def channel_names(self) -> list[str]:
        """Names of the channels of the series."""
        return self._series.channel_names

    @property
    def scaler(self) -> SeriesScaler:
        """The scaler of the channels, fitted on the training part; ``scaler.inverse(forecast)`` is in units of y."""
        return self._series.scaler

    @property
    def n_windows(self) -> dict[str, int]:
        """Number of windows of the parts ``"train"``, ``"val"`` and ``"test"``."""
        return {part: len(self.dataset(part)) for part in PARTS}

    def _starts(self, part: str, series: ScaledSeries | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return for each series the first start of a window of a part and the end of its starts, as positions."""
        borders = (series or self._series).borders
        k = PARTS.index(part)
        # the past may reach back into the part before, the future lies in its own
        first = np.maximum(borders[:, k] - self.lookback, 0)
        return first, borders[:, k + 1] - self.lookback - self.horizon + 1

    def _check_parts(self, series: ScaledSeries) -> None:
        for part, wanted in wanted_parts(self._options.split).items():
            first, stop = self._starts(part, series)
            if not wanted or (stop > first).any():
                continue
            k = PARTS.index(part)
            longest = int((series.borders[:, k + 1] - series.borders[:, k]).max())
            lengths = np.diff(series.offsets)
            of = f"y has {lengths[0]} time points" if len(lengths) == 1 else f"the longest series has {lengths.max()}"
            if part == "train":
                need = f"a window needs lookback + horizon = {self.lookback + self.horizon}"
                remedy = "shorten lookback or horizon, or give more series or longer ones"
            else:
                need = f"a window needs horizon = {self.horizon} there, and lookback = {self.lookback} before its end"
                remedy = "shorten the horizon, or give the part a larger share (or none) by split"
            raise ValueError(f"{of}, at most {longest} of a series in the {part} part, but {need}: {remedy}.")

    def dataset(self, part: str) -> WindowDataset:
        """Return the windows of a part, ``"train"``, ``"val"`` or ``"test"``, in their order."""
        if part not in PARTS:
            raise ValueError(f"part must be one of {', '.join(map(repr, PARTS))}, got {part!r}.")
        series, stride = self._series, self._options.stride if part == "train" else 1
        first, stop = self._starts(part)
        counts = np.maximum(-((first - stop) // stride), 0)
        return WindowDataset(
            series.rows, self.lookback, self.horizon, first + series.offsets[:-1], counts, stride=stride
        )

    def setup(self, stage: str | None = None) -> None:
        """Read, split and scale the series; `stage` makes no difference."""
        _ = self._series

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.hparams.items())
        return f"{type(self).__name__}({options})"

    __str__ = __repr__  # Lightning's asks every loader for its size: printing would read, even download, the data

    def _loader(self, data: WindowDataset, *, shuffle: bool = False) -> DataLoader:
        options = self._options
        return window_loader(
            data, options.batch_size, shuffle=shuffle, seed=options.seed, num_workers=options.num_workers
        )

    def train_dataloader(self) -> DataLoader:
        """Return the windows of the training part, each pass in a new order that follows from `seed`."""
        return self._loader(self.dataset("train"), shuffle=True)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Return the windows with their future in the validation part, an empty list if there is no such part.

        Lightning takes an empty list for no validation, with a warning unless the Trainer has ``limit_val_batches=0``.
        """
        data = self.dataset("val")
        return self._loader(data) if len(data) else []

    def test_dataloader(self) -> DataLoader:
        """Return the windows with their future in the test part.

        Raises
        ------
        ValueError
            If there is no test part.
        """
        data = self.dataset("test")
        if not len(data):
            raise ValueError("there is no test part: give it a share by split.")
        return self._loader(data)

    def predict_dataloader(self) -> DataLoader:
        """Return the last `lookback` time points of each series, without ``y``, to forecast what comes after them.

        A series shorter than that is extended to the left by its first row (``mask`` False there).

        Raises
        ------
        ValueError
            If there are covariates known ahead that do not reach `horizon` time points beyond each series.
        """
        return self._loader(self._last_windows)

    @cached_property
    def _last_windows(self) -> WindowDataset:
        series, rows = self._series, self._series.rows
        lengths, starts = np.diff(series.offsets), series.offsets[:-1]
        ticks = np.arange(-self.lookback, self.horizon)  # relative to the end of a series
        position = lengths[:, None] + ticks
        past_rows = torch.from_numpy(starts[:, None] + np.maximum(position[:, : self.lookback], 0))
        exog = shift = None
        observed = torch.from_numpy(position[:, : self.lookback] >= 0)[..., None]
        mask = None if rows.mask is None else rows.mask[past_rows] & observed
        if mask is None and self._options.missing == "mask" and not observed.all():
            mask = observed.expand(-1, -1, self.n_channels).contiguous()
        if rows.exog is not None and rows.exog_shift is not None:
            ends = np.append(rows.exog_shift[1:].numpy() + starts[1:], len(rows.exog))
            first = rows.exog_shift.numpy() + starts
            if (ends - first < lengths + self.horizon).any():
                raise ValueError(
                    f"known must reach horizon = {self.horizon} time points beyond the end of each series of y to "
                    f"forecast what comes after it."
                )
            exog = rows.exog[torch.from_numpy(first[:, None] + np.maximum(position, 0))].flatten(0, 1)
            shift = torch.arange(len(lengths)) * self.horizon
        rows = replace(
            rows,
            values=rows.values[past_rows].flatten(0, 1),
            mask=None if mask is None else mask.flatten(0, 1),
            past=None if rows.past is None else rows.past[past_rows].flatten(0, 1),
            exog=exog,
            exog_shift=shift,
        )
        first = np.arange(len(lengths)) * self.lookback
        return WindowDataset(rows, self.lookback, self.horizon, first, np.ones_like(lengths), with_target=False)


def _width(tensor: torch.Tensor | None) -> int:
    return 0 if tensor is None else tensor.shape[1]


class WindowDataModule(WindowModule):
    """Windows of one or several series for training, validation, test and prediction.

    Parameters
    ----------
    y : series
        One series (time, channel) or several; pandas, numpy, torch or a list, see :func:`to_series`.
    lookback, horizon : int
        Lengths of the past a window shows and of the future it asks for.
    known : series, optional
        Covariates known ahead, in the form of `y` and over its whole range, matched by time index where both have one,
        else by position. Where they reach `horizon` time points beyond each series, `predict_dataloader` works too.
    past : series, optional
        Covariates known up to now only, likewise.
    static : DataFrame or array (n_series, n_static), optional
        Features of the series; a frame is matched by its index if the index of `y` names the series, else by order.
    stride : int
        Time points between the starts of two training windows. Validation and test always have 1.
    split : tuple
        Fractions (train, val, test) of the time of each series, rounded as ``int(n * train)``, ``int(n * test)`` and
        the rest; val and test may be 0. Or the starts of the validation and of the test part: a pair of dates, the same
        for all series, or a pair of integers, positions in each series, negative ones counted from its end. Equal
        starts: no validation.
    scaling : {"standard", "none"}
        Per-channel scaling of series and covariates, fitted on the training part of all series; see
        :class:`SeriesScaler`. Static features are scaled over the series.
    missing : {"error", "mask", "ffill"}
        What is done about NaN. ``"error"``: there must be none. ``"mask"``: 0, with ``mask`` and ``y_mask`` in all
        batches if any value of `y` is missing; covariates must be complete. ``"ffill"``: the last observed value,
        before the first the first observed one of the training part, so that nothing is filled from the future of a
        split.
    batch_size : int
        Windows per batch.
    seed : int
        Of the order of the training windows.
    num_workers : int
        Worker processes of each loader.

    Attributes
    ----------
    n_channels, n_exogenous, n_past, n_static, n_series : int
        Facts of the series, known before `setup`, as are
    channel_names : list of str
    scaler : SeriesScaler
        Fitted.
    n_windows : dict
        Number of windows of ``"train"``, ``"val"`` and ``"test"``.
    n_skipped : int
        Number of series whose training part is too short for a window.

    Raises
    ------
    TypeError, ValueError
        For data that cannot be used as they are; the message names the argument and what to do.

    Notes
    -----
    A batch is a dict of ``x`` (batch, lookback, channel), ``y`` (batch, horizon, channel), and where there are such
    ``mask``, ``y_mask`` (like these, True = observed), ``exog`` (batch, lookback + horizon, n_exogenous), ``past``
    (batch, lookback, n_past), ``static`` (batch, n_static).

    No window crosses series. The future of a window lies wholly in its part; its past may reach back into the part
    before, as is the custom with the long-horizon benchmarks.

    The series are copied once, into float32; windows are cut from that copy batch by batch. A checkpoint of the trainer
    carries the options, never the data.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels_datamodules import WindowDataModule
    >>> y = np.sin(np.arange(400.0))[:, None] * [1.0, 10.0]
    >>> data = WindowDataModule(y, lookback=24, horizon=12)
    >>> data.n_windows
    {'train': 245, 'val': 29, 'test': 69}
    >>> {key: tuple(value.shape) for key, value in next(iter(data.train_dataloader())).items()}
    {'x': (32, 24, 2), 'y': (32, 12, 2)}
    """

    def __init__(
        self,
        y: Any,
        lookback: int,
        horizon: int,
        *,
        known: Any = None,
        past: Any = None,
        static: Any = None,
        stride: int = 1,
        split: tuple[Any, ...] = (0.7, 0.1, 0.2),
        scaling: str = "standard",
        missing: str = "error",
        batch_size: int = 32,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        options = WindowOptions(lookback, horizon, stride, split, scaling, missing, batch_size, seed, num_workers)
        super().__init__(options)
        self.save_hyperparameters(asdict(options), ignore=["y", "known", "past", "static"])
        self._given: GivenSeries | None = GivenSeries.read(y, known, past, static, options.horizon)
        _ = self._series  # errors at once, not in the middle of a run
        self._given = None  # in float64, twice the size of what is kept

    def _read(self) -> GivenSeries:
        assert self._given is not None
        return self._given
