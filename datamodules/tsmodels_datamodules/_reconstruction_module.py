"""Windows of series to reconstruct: what detectors of anomalies are trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from tsmodels_datamodules._panel_module import _integer
from tsmodels_datamodules._scaling import SCALINGS
from tsmodels_datamodules._window_dataset import SeriesScaler, WindowDataset, window_loader
from tsmodels_datamodules._window_rows import GivenSeries, ScaledSeries
from tsmodels_datamodules._window_splits import PARTS, read_split, wanted_parts

__all__ = ["ReconstructionDataModule"]

_MISSING_POLICIES = ("error", "mask")


@dataclass(frozen=True)
class ReconstructionOptions:
    """The choices of a :class:`ReconstructionDataModule`, checked, and in plain Python types for checkpoints."""

    window: int
    stride: int
    split: tuple[Any, ...]
    scaling: str
    missing: str
    batch_size: int
    seed: int
    num_workers: int

    def __post_init__(self) -> None:
        least = {"window": 1, "stride": 1, "batch_size": 1, "seed": 0, "num_workers": 0}
        for name, minimum in least.items():
            object.__setattr__(self, name, _integer(getattr(self, name), minimum, name))
        for name, allowed in (("scaling", SCALINGS), ("missing", _MISSING_POLICIES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {getattr(self, name)!r}.")
        object.__setattr__(self, "split", read_split(self.split))


class ReconstructionDataModule(LightningDataModule):
    """Windows of one or several series, without a target: for training, validation, test and prediction.

    Parameters
    ----------
    y : series
        One series (time, channel) or several; pandas, numpy, torch or a list, see :func:`to_series`.
    window : int
        Length of a window.
    stride : int
        Time points between the starts of two training windows. Validation and test always have 1.
    split : tuple
        Fractions (train, val, test) of the time of each series, or the starts of the validation and of the test part,
        as for :class:`WindowDataModule`. Unlike there every window lies in one part as a whole: what it shows is also
        what it is judged by.
    scaling : {"standard", "none"}
        Per-channel scaling, fitted on the training part of all series; see :class:`SeriesScaler`.
    missing : {"error", "mask"}
        What is done about NaN. ``"error"``: there must be none. ``"mask"``: 0, with ``mask`` in all batches if any
        value is missing.
    batch_size : int
        Windows per batch.
    seed : int
        Of the order of the training windows.
    num_workers : int
        Worker processes of each loader.

    Attributes
    ----------
    n_channels, n_timepoints, n_series : int
        Facts of the data, known before `setup`; ``n_timepoints`` is the length of a window.
    scaler : SeriesScaler
        Fitted.
    n_windows : dict
        Number of windows of ``"train"``, ``"val"`` and ``"test"``.

    Raises
    ------
    TypeError, ValueError
        For data that cannot be used as they are, and for a part that is asked for and too short for a window; the
        message names the argument and what to do.

    Notes
    -----
    A batch is a dict of ``x`` (batch, window, channel) and, where values are missing, ``mask`` like it (True =
    observed). The loader of predictions goes through the windows of the test part, or of the whole series if there is
    none.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels_datamodules import ReconstructionDataModule
    >>> y = np.sin(np.arange(400.0))[:, None] * [1.0, 10.0]
    >>> data = ReconstructionDataModule(y, window=20, split=(0.75, 0.25, 0.0))
    >>> data.n_windows
    {'train': 281, 'val': 81, 'test': 0}
    >>> {key: tuple(value.shape) for key, value in next(iter(data.train_dataloader())).items()}
    {'x': (32, 20, 2)}
    """

    def __init__(
        self,
        y: Any,
        window: int,
        *,
        stride: int = 1,
        split: tuple[Any, ...] = (0.7, 0.1, 0.2),
        scaling: str = "standard",
        missing: str = "error",
        batch_size: int = 32,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self._options = options = ReconstructionOptions(
            window, stride, split, scaling, missing, batch_size, seed, num_workers
        )
        self.save_hyperparameters(asdict(options), ignore=["y"])
        given = GivenSeries.read(y, None, None, None, 0)
        self._series = ScaledSeries.of(given, options.split, options.scaling, options.missing)
        self._check_parts()

    @property
    def n_channels(self) -> int:
        """Number of channels of the series."""
        return self._series.rows.values.shape[1]

    @property
    def n_timepoints(self) -> int:
        """Length of a window."""
        return self._options.window

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self._series.borders)

    @property
    def scaler(self) -> SeriesScaler:
        """The scaler of the channels, fitted on the training part."""
        return self._series.scaler

    @cached_property
    def n_windows(self) -> dict[str, int]:
        """Number of windows of the parts ``"train"``, ``"val"`` and ``"test"``."""
        return {part: len(self.dataset(part)) for part in PARTS}

    def dataset(self, part: str) -> WindowDataset:
        """Return the windows of a part, ``"train"``, ``"val"`` or ``"test"``, in their order."""
        if part not in PARTS:
            raise ValueError(f"part must be one of {', '.join(map(repr, PARTS))}, got {part!r}.")
        k, borders = PARTS.index(part), self._series.borders
        return self._windows(borders[:, k], borders[:, k + 1], self._options.stride if part == "train" else 1)

    def _windows(self, start: np.ndarray, stop: np.ndarray, stride: int) -> WindowDataset:
        """Return the windows between positions of each series."""
        window, series = self._options.window, self._series
        counts = np.maximum((stop - start - window) // stride + 1, 0)
        return WindowDataset(
            series.rows, window, 0, start + series.offsets[:-1], counts, stride=stride, with_target=False
        )

    def _check_parts(self) -> None:
        for part, wanted in wanted_parts(self._options.split).items():
            if wanted and not self.n_windows[part]:
                k, borders = PARTS.index(part), self._series.borders
                longest = int((borders[:, k + 1] - borders[:, k]).max())
                raise ValueError(
                    f"the {part} part has at most {longest} time points of a series, a window needs "
                    f"window = {self._options.window}: shorten the window, or give the part a larger share (or none) "
                    "by split."
                )

    def setup(self, stage: str | None = None) -> None:
        """Do nothing: the series are read, split and scaled when the module is made."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.hparams.items())})"

    __str__ = __repr__  # Lightning's asks every loader for its size

    def _loader(self, data: WindowDataset, *, shuffle: bool = False) -> DataLoader:
        options = self._options
        return window_loader(
            data, options.batch_size, shuffle=shuffle, seed=options.seed, num_workers=options.num_workers
        )

    def train_dataloader(self) -> DataLoader:
        """Return the windows of the training part, each pass in a new order that follows from `seed`."""
        return self._loader(self.dataset("train"), shuffle=True)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Return the windows of the validation part, an empty list if there is no such part."""
        return self._loader(self.dataset("val")) if self.n_windows["val"] else []

    def test_dataloader(self) -> DataLoader:
        """Return the windows of the test part; ValueError if there is none."""
        if not self.n_windows["test"]:
            raise ValueError("there is no test part: give it a share by split.")
        return self._loader(self.dataset("test"))

    def predict_dataloader(self) -> DataLoader:
        """Return the windows of the test part, or of the whole series if there is none, in their order."""
        if self.n_windows["test"]:
            return self._loader(self.dataset("test"))
        borders = self._series.borders
        return self._loader(self._windows(borders[:, 0], borders[:, -1], 1))
