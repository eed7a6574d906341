"""Random windows of series for Lightning: what networks that reconstruct dynamical systems are trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from tsmodels_datamodules._deconvolution import deconvolve, invalid_ends, read_response
from tsmodels_datamodules._dynamics_series import Piece, joined, named_set, read_parts, split_off
from tsmodels_datamodules._panel import _as_it_is
from tsmodels_datamodules._panel_module import _integer
from tsmodels_datamodules._scaling import SCALINGS
from tsmodels_datamodules._window_dataset import SeriesScaler, _windows

_DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class DynamicsOptions:
    """The choices of a :class:`DynamicsDataModule`, checked, and in plain Python types for checkpoints."""

    window: int
    batch_size: int
    batches_per_epoch: int
    val_fraction: float
    test_fraction: float
    scaling: str
    seed: int
    dtype: str

    def __post_init__(self) -> None:
        least = {"window": 1, "batch_size": 1, "batches_per_epoch": 1, "seed": 0}
        for name, minimum in least.items():
            object.__setattr__(self, name, _integer(getattr(self, name), minimum, name))
        for name in ("val_fraction", "test_fraction"):
            fraction = float(getattr(self, name))
            if not 0 <= fraction < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {fraction}.")
            object.__setattr__(self, name, fraction)
        object.__setattr__(self, "dtype", str(self.dtype).removeprefix("torch."))
        for name, allowed in (("scaling", SCALINGS), ("dtype", _DTYPES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {getattr(self, name)!r}.")


class _RandomWindows(Dataset[dict[str, torch.Tensor]]):
    """Batches of windows drawn uniformly and with replacement; an index is a pair (epoch, batch)."""

    def __init__(self, pieces: Sequence[Piece], options: DynamicsOptions) -> None:
        self._options = options
        self._x = torch.from_numpy(joined([piece.x for piece in pieces]))
        self._inputs = _join([piece.inputs for piece in pieces])
        self._signal = _join([piece.signal for piece in pieces])
        lengths = np.array([len(piece.x) for piece in pieces])
        counts = np.maximum(lengths - options.window, 0)  # a window has one point more than it has steps
        self._ends = np.cumsum(counts)
        # what is added to the number of a window among all windows to find its first row among all rows
        self._shift = np.cumsum(lengths) - lengths - (self._ends - counts)
        self._drawn: tuple[int, torch.Tensor] | None = None

    def __len__(self) -> int:
        return self._options.batches_per_epoch

    @property
    def n_windows(self) -> int:
        return int(self._ends[-1])

    def _starts(self, epoch: int) -> torch.Tensor:
        """Return the first rows (batch, window) of an epoch's windows, which follow from seed and epoch alone."""
        if self._drawn is None or self._drawn[0] != epoch:
            options = self._options
            generator = np.random.default_rng([options.seed, epoch])
            number = generator.integers(self.n_windows, size=(options.batches_per_epoch, options.batch_size))
            piece = np.searchsorted(self._ends, number, side="right")
            self._drawn = epoch, torch.from_numpy(number + self._shift[piece])
        return self._drawn[1]

    def __getitem__(self, index: tuple[int, int]) -> dict[str, torch.Tensor]:
        epoch, batch = index
        start, window = self._starts(epoch)[batch], self._options.window
        windows = {"x": _windows(self._x, start, window + 1)}
        if self._inputs is not None:
            windows["s"] = _windows(self._inputs, start + 1, window)
        if self._signal is not None:
            windows["signal"] = _windows(self._signal, start, window + 1)
        return windows


class _Epochs(Sampler[tuple[int, int]]):
    """The batches of one epoch after the other, each named by (epoch, batch)."""

    def __init__(self, n_batches: int, current: Callable[[], int | None]) -> None:
        self._n_batches, self._current, self._passes = n_batches, current, 0

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self._current()
        if epoch is None:
            epoch, self._passes = self._passes, self._passes + 1
        for batch in range(self._n_batches):
            yield epoch, batch


class _WholeSeries(Dataset[dict[str, torch.Tensor]]):
    """Each series as a batch of its own."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._batches = [piece.as_batch() for piece in pieces]

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return self._batches[index]


def _join(arrays: Sequence[np.ndarray | None]) -> torch.Tensor | None:
    given = [array for array in arrays if array is not None]
    return torch.from_numpy(joined(given)) if given else None


class DynamicsDataModule(LightningDataModule):
    """Random windows of one or several series, to reconstruct the dynamical system behind them.

    Parameters
    ----------
    data : series or str
        The series to learn from: one (time, channel) or several, numpy, torch, pandas or a list, see
        :func:`to_series`; or the name of a data set, see :func:`load_dynamics_set`, which brings its own test part.
    test : series, optional
        Held-out series for the test, with the channels of `data`.
    inputs, test_inputs : series, optional
        External inputs (time, n_inputs), as long as the series they belong to. Row t is what acts on the system at the
        time of row t of the data, that is, in the step that leads to it. They are not scaled.
    response : sequence of float, optional
        Coefficients f_0, f_1, ... of the filter the system was observed through, at the sampling step of the data (for
        functional magnetic resonance imaging see :func:`hrf`). The series are then deconvolved once, each part by
        itself, and their ends, which a deconvolution spoils, are cut off all parts.
    window : int
        Number of steps of a training window, which has one point more.
    batch_size, batches_per_epoch : int
        Windows of a batch, and batches that make an epoch.
    val_fraction : float
        Share of each training series set aside for validation, its last part.
    test_fraction : float
        Share of each series set aside for the test, its last part, if no `test` is given. It is taken off first.
    scaling : {"standard", "none"}
        Per-channel scaling fitted on the training part; a constant channel is only centred, see :class:`SeriesScaler`.
    seed : int
        Of the windows.
    dtype : {torch.float32, torch.float64}
        Of the batches; the name as a string is taken too.

    Attributes
    ----------
    n_channels, n_inputs : int
    n_windows : int
        Number of different training windows.
    scaler : SeriesScaler
        Fitted; ``scaler.inverse(x)`` is in the units of the data.
    train_series, val_series, test_series : ndarray (time, channel), or a list of such where several series were given
        The parts, scaled; None where there is none.

    Raises
    ------
    TypeError, ValueError
        For data that cannot be used as they are; the message names the argument and what to do.
    DataNotFoundError
        If the files of a named data set are not on this machine.

    Notes
    -----
    A training batch is a dict of ``x`` (batch, window + 1, channel); with inputs ``s`` (batch, window, n_inputs), where
    ``s[:, t]`` enters the step that produces ``x[:, t + 1]``; with a response ``signal``, the deconvolved data, like x.
    A batch of the other loaders is one whole series, ``x`` (1, n, channel), ``s`` (1, n - 1, n_inputs) and ``signal``.

    Windows are drawn uniformly and with replacement among all windows of all training series, so a series counts in
    proportion to the windows it has; none crosses from one series into another. They follow from `seed` and the number
    of the epoch alone, which under a trainer is that of the trainer: a run that is resumed draws what it would have
    drawn uninterrupted. By itself a loader counts its own passes. No global generator is touched.

    There are no workers: a batch is one gather from memory, faster than its way between two processes.

    Examples
    --------
    >>> from tsmodels_datamodules import DynamicsDataModule, make_trajectory
    >>> data = DynamicsDataModule(make_trajectory("lozi", 1000), window=50, test_fraction=0.2)
    >>> {key: tuple(value.shape) for key, value in next(iter(data.train_dataloader())).items()}
    {'x': (16, 51, 2)}
    >>> data.train_series.shape, data.test_series.shape
    ((800, 2), (200, 2))
    """

    def __init__(
        self,
        data: Any,
        *,
        test: Any = None,
        inputs: Any = None,
        test_inputs: Any = None,
        response: Sequence[float] | np.ndarray | None = None,
        window: int = 200,
        batch_size: int = 16,
        batches_per_epoch: int = 50,
        val_fraction: float = 0.0,
        test_fraction: float = 0.0,
        scaling: str = "standard",
        seed: int = 0,
        dtype: torch.dtype | str = torch.float32,
    ) -> None:
        super().__init__()
        self._options = DynamicsOptions(
            window, batch_size, batches_per_epoch, val_fraction, test_fraction, scaling, seed, str(dtype)
        )
        self._response = None if response is None else read_response(response)
        # under other names than the arguments they come from: these may be arrays, which Lightning compares by ==
        plain = {
            "name": data if isinstance(data, str) else None,
            "kernel": None if self._response is None else self._response.tolist(),
        }
        given = ["data", "test", "inputs", "test_inputs", "response"]
        self.save_hyperparameters({**plain, **asdict(self._options)}, ignore=given)
        if isinstance(data, str):
            data, test, inputs, test_inputs = named_set(data, test, inputs, test_inputs, self._options.test_fraction)
        train, held_out = read_parts(data, test, inputs, test_inputs, self._options.test_fraction)
        train, validation = split_off(train, self._options.val_fraction)
        self.scaler = SeriesScaler(scaling).fit(torch.from_numpy(joined([piece.x for piece in train])))
        parts = {"train": train, "val": validation, "test": held_out}
        self._parts = {part: [self._prepared(piece, part) for piece in pieces] for part, pieces in parts.items()}
        self._windows = _RandomWindows(self._parts["train"], self._options)
        self._check_lengths()

    def _prepared(self, piece: Piece, part: str) -> Piece:
        """Return a stretch scaled, with its deconvolution if there is a response, and in the dtype of the batches."""
        x, signal = self.scaler.transform(torch.from_numpy(piece.x)).numpy(), None
        start, stop = 0, len(x)
        if self._response is not None:
            if len(x) < 2 * len(self._response):
                raise ValueError(
                    f"a series of the {part} part has {len(x)} time points, too short for a response of "
                    f"{len(self._response)}: give at least {2 * len(self._response)}, or a shorter response."
                )
            signal = deconvolve(x, self._response)
            first, last = invalid_ends(len(self._response))
            start, stop = first, stop - last
        return Piece(x, piece.inputs, signal).cut(start, stop).astype(self._options.dtype)

    def _check_lengths(self) -> None:
        if not self._windows.n_windows:
            longest, window = max(len(piece.x) for piece in self._parts["train"]), self._options.window
            shorter = f"choose a window of at most {longest - 1}, or " if longest > 1 else ""
            raise ValueError(
                f"window = {window} needs {window + 1} time points, but the longest training series has {longest}: "
                f"{shorter}give longer series."
            )
        for part in ("val", "test"):
            if any(len(piece.x) < 2 for piece in self._parts[part]):
                raise ValueError(
                    f"a series of the {part} part has fewer than 2 time points: give it a larger share by "
                    f"{part}_fraction, or none."
                )

    @property
    def n_channels(self) -> int:
        """Number of channels of the series."""
        return self._parts["train"][0].x.shape[1]

    @property
    def n_inputs(self) -> int:
        """Number of external inputs."""
        inputs = self._parts["train"][0].inputs
        return 0 if inputs is None else inputs.shape[1]

    @property
    def n_windows(self) -> int:
        """Number of different training windows."""
        return self._windows.n_windows

    @property
    def train_series(self) -> Any:
        """The scaled training part (time, channel), a list of such where several series were given."""
        return self._series("train")

    @property
    def val_series(self) -> Any:
        """The scaled validation part, likewise; None if there is none."""
        return self._series("val")

    @property
    def test_series(self) -> Any:
        """The scaled test part, likewise; None if there is none."""
        return self._series("test")

    def _series(self, part: str) -> np.ndarray | list[np.ndarray] | None:
        series = [piece.x for piece in self._parts[part]]
        return series if len(series) > 1 else series[0] if series else None

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.hparams.items())
        return f"{type(self).__name__}({options})"

    __str__ = __repr__  # Lightning's prints a table of all loaders

    def _current_epoch(self) -> int | None:
        trainer = self.trainer
        return trainer.current_epoch if trainer is not None and trainer.training else None

    def train_dataloader(self) -> DataLoader:
        """Return the batches of random windows, new ones in each epoch."""
        return _loader(self._windows, _Epochs(len(self._windows), self._current_epoch))

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Return the validation part, a whole series a batch; an empty list if there is no such part.

        Lightning takes an empty list for no validation, with a warning unless the Trainer has ``limit_val_batches=0``.
        """
        pieces = self._parts["val"]
        return _loader(_WholeSeries(pieces)) if pieces else []

    def test_dataloader(self) -> DataLoader:
        """Return the test part, a whole series a batch.

        Raises
        ------
        ValueError
            If there is no test part.
        """
        pieces = self._parts["test"]
        if not pieces:
            raise ValueError("there is no test part: pass test, or give it a share of the data by test_fraction.")
        return _loader(_WholeSeries(pieces))


def _loader(dataset: Dataset[Any], sampler: Sampler[Any] | None = None) -> DataLoader:
    # a generator of its own: a loader draws a seed for workers even where it has none
    return DataLoader(
        dataset, batch_size=None, sampler=sampler, collate_fn=_as_it_is, generator=torch.Generator().manual_seed(0)
    )
