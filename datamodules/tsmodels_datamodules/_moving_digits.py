"""Moving digits: videos of handwritten digits that fly straight on and bounce off the walls of the frame.

After Srivastava, Mansimov, Salakhutdinov, "Unsupervised Learning of Video Representations using LSTMs", 2015,
arXiv 1502.04681. Different from it: training, validation and test videos are made of different digits.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tsmodels_datamodules._archive import DataNotFoundError
from tsmodels_datamodules._gridded_series import find_file, read_arrays
from tsmodels_datamodules._panel import panel_loader
from tsmodels_datamodules._panel_module import _integer
from tsmodels_datamodules._window_splits import PARTS

__all__ = ["MovingMNISTDataModule"]

SOURCES = ("auto", "mnist", "digits")
_MNIST_SIDE, _MNIST_FRAME = 28, 64  # of a digit and of the frame it flies in, in the literature
_MNIST_TRAIN = 50_000  # of the 60000 training digits; the others make the validation videos
_DIGITS_TRAIN, _DIGITS_VAL = 0.7, 0.15  # shares of scikit-learn's 1797 digits, in their order


@dataclass(frozen=True)
class MovingDigitsOptions:
    """The choices of a :class:`MovingMNISTDataModule`, checked, and in plain Python types for checkpoints."""

    n_frames: int
    context: int
    size: int
    n_digits: int
    digit_size: int
    n_train: int
    n_val: int
    n_test: int
    batch_size: int
    source: str
    speed: float
    seed: int

    def __post_init__(self) -> None:
        least = {"n_frames": 2, "context": 1, "size": 5, "n_digits": 1, "digit_size": 4, "n_train": 1, "n_val": 0}
        for name, minimum in (least | {"n_test": 0, "batch_size": 1, "seed": 0}).items():
            object.__setattr__(self, name, _integer(getattr(self, name), minimum, name))
        object.__setattr__(self, "speed", float(self.speed))
        if self.context >= self.n_frames:
            raise ValueError(
                f"context = {self.context} leaves no frame to forecast: it must be below n_frames = {self.n_frames}."
            )
        if self.digit_size >= self.size:
            raise ValueError(f"digit_size = {self.digit_size} must be below size = {self.size}, or no digit can move.")
        if not 0 < self.speed <= 1:
            raise ValueError(f"speed must be above 0 and at most 1, got {self.speed}.")
        if self.source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(map(repr, SOURCES))}, got {self.source!r}.")


class _MovingDigits(Dataset[dict[str, torch.Tensor]]):
    """Videos of flying digits; the options, the part and the number of a video say all about it."""

    def __init__(self, digits: np.ndarray, part: str, options: MovingDigitsOptions) -> None:
        self._digits, self._part, self._options = digits, part, options

    def __len__(self) -> int:
        return getattr(self._options, f"n_{self._part}")

    def _video(self, index: int) -> np.ndarray:
        """Return a video (time, height, width), uint8."""
        options, side = self._options, self._digits.shape[-1]
        rng = np.random.default_rng([options.seed, PARTS.index(self._part), index])
        chosen = self._digits[rng.integers(len(self._digits), size=options.n_digits)]
        places = flight(rng, options.n_digits, options.n_frames, options.speed)
        corners = ((options.size - side) * places).astype(np.int64)
        video = np.zeros((options.n_frames, options.size, options.size), dtype=np.uint8)
        for frame, at in zip(video, corners, strict=True):
            for digit, (x, y) in zip(chosen, at, strict=True):
                place = frame[y : y + side, x : x + side]
                np.maximum(place, digit, out=place)
        return video

    def __getitems__(self, index: Sequence[int]) -> dict[str, torch.Tensor]:
        videos = torch.from_numpy(np.stack([self._video(int(i)) for i in index]))
        return {"frames": (videos.float() / 127.5 - 1).unsqueeze(2)}


def flight(rng: np.random.Generator, n_digits: int, n_frames: int, speed: float) -> np.ndarray:
    """Return the places (time, digit, 2) of digits in the unit square, which fly straight on between its walls.

    Parameters
    ----------
    rng : Generator
        Of starts and directions.
    n_digits, n_frames : int
    speed : float
        Length of a step. A step that would reach a wall ends there, and the next one leads back.
    """
    place = rng.uniform(size=(n_digits, 2))
    angle = rng.uniform(0, 2 * np.pi, size=n_digits)
    velocity = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    places = np.empty((n_frames, n_digits, 2))
    for t in range(n_frames):
        place = place + speed * velocity
        velocity = np.where((place <= 0) | (place >= 1), -velocity, velocity)
        place = places[t] = place.clip(0, 1)
    return places


class MovingMNISTDataModule(LightningDataModule):
    """Videos of handwritten digits that fly straight on and bounce off the walls: "Moving MNIST".

    Parameters
    ----------
    n_frames : int
        Frames of a video.
    context : int
        Frames a forecast is made from; those that follow are forecast.
    size : int
        Height and width of a frame.
    n_digits : int
        Digits in a video; where they overlap the brighter one is seen.
    digit_size : int, optional
        Height and width of a digit. By default its share of a frame is that of the literature, 28 of 64.
    n_train, n_val, n_test : int
        Number of videos. Those for the test may be 0, and those for validation.
    batch_size : int
        Videos in a batch.
    source : {"auto", "mnist", "digits"}
        Where the digits come from. ``"mnist"``: ``mnist.npz``, 28 x 28; 50000 of its training digits make the training
        videos, the other 10000 those for validation, its test digits those for the test. ``"digits"``: the 1797 digits
        of 8 x 8 that scikit-learn brings along, enlarged, 70, 15 and 15 percent of them. ``"auto"``: MNIST if its file
        is on this machine.
    speed : float
        Length of a step, as a share of the way from wall to wall; 0.15 is 5.4 cells in a frame of 64.
    seed : int
        Of the videos and of the order of the training videos.
    data_dir : path, optional
        Folder to look for ``mnist.npz`` in first; else see :func:`load_sst`.

    Attributes
    ----------
    n_channels, height, width : int
        1, `size` and `size`.
    source : str
        Which digits are taken, ``"mnist"`` or ``"digits"``.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used; the message names it.
    DataNotFoundError
        If ``source="mnist"`` and its file is nowhere.

    Notes
    -----
    A batch is a dict of ``frames`` (batch, time, 1, height, width), float32, from -1, black, to 1. Video i of a part
    follows from the seed, the part and i alone: it is the same in each epoch, with any batch size and any number of
    videos. No global generator is touched.

    A video begins one step after its digits were placed at random, their direction too. Test sets of the literature
    differ in speed and digits: compare only what was measured on the same videos. A black frame is nearer to a video,
    by MSE, PSNR and SSIM, than a sharp digit in the wrong place; compare with it.

    Examples
    --------
    >>> from tsmodels_datamodules import MovingMNISTDataModule
    >>> data = MovingMNISTDataModule(n_frames=6, context=3, size=32, source="digits")
    >>> tuple(next(iter(data.train_dataloader()))["frames"].shape)
    (8, 6, 1, 32, 32)
    """

    n_channels = 1

    def __init__(
        self,
        *,
        n_frames: int = 20,
        context: int = 10,
        size: int = 64,
        n_digits: int = 2,
        digit_size: int | None = None,
        n_train: int = 10_000,
        n_val: int = 200,
        n_test: int = 1000,
        batch_size: int = 8,
        source: str = "auto",
        speed: float = 0.15,
        seed: int = 0,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if digit_size is None:
            digit_size = round(_integer(size, 1, "size") * _MNIST_SIDE / _MNIST_FRAME)
        facts = (n_frames, context, size, n_digits, digit_size, n_train, n_val, n_test, batch_size, source, speed, seed)
        options = MovingDigitsOptions(*facts)
        self._mnist = None if source == "digits" else _find_mnist(data_dir, required=source == "mnist")
        self._options = replace(options, source="mnist" if self._mnist else "digits")
        self.save_hyperparameters(asdict(self._options), ignore=["data_dir"])
        self._digits: dict[str, np.ndarray] | None = None

    @property
    def context(self) -> int:
        """Number of frames a forecast is made from."""
        return self._options.context

    @property
    def height(self) -> int:
        """Height of a frame."""
        return self._options.size

    @property
    def width(self) -> int:
        """Width of a frame."""
        return self._options.size

    @property
    def source(self) -> str:
        """Which digits are taken, ``"mnist"`` or ``"digits"``."""
        return self._options.source

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.hparams.items())})"

    __str__ = __repr__  # Lightning's prints a table of all loaders

    def _loader(self, part: str) -> DataLoader:
        if self._digits is None:
            by_part = _read_digits() if self._mnist is None else _read_mnist(self._mnist)
            self._digits = {name: _resized(digits, self._options.digit_size) for name, digits in by_part.items()}
        return panel_loader(
            _MovingDigits(self._digits[part], part, self._options),  # pyright: ignore[reportArgumentType]  # as there
            self._options.batch_size,
            shuffle=part == "train",
            seed=self._options.seed,
        )

    def train_dataloader(self) -> DataLoader:
        """Return the training videos, in a new order in each pass."""
        return self._loader("train")

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Return the validation videos in order; an empty list if there are none.

        Lightning takes an empty list for no validation, with a warning unless the Trainer has ``limit_val_batches=0``.
        """
        return self._loader("val") if self._options.n_val else []

    def test_dataloader(self) -> DataLoader:
        """Return the test videos in order.

        Raises
        ------
        ValueError
            If there are none.
        """
        if not self._options.n_test:
            raise ValueError("there are no test videos: choose n_test above 0.")
        return self._loader("test")


def _find_mnist(data_dir: str | os.PathLike[str] | None, required: bool) -> Path | None:
    try:
        return find_file("mnist", data_dir, "'X_train' (60000, 28, 28) and 'X_test' (10000, 28, 28)")
    except DataNotFoundError:
        # a folder that was named and does not hold the file is no reason for other digits
        if required or data_dir is not None:
            raise
        return None


def _read_mnist(path: Path) -> dict[str, np.ndarray]:
    arrays = read_arrays(path, ("X_train", "X_test"))
    train, test = arrays["X_train"], arrays["X_test"]
    for name, digits in arrays.items():
        if digits.ndim != 3 or digits.dtype != np.uint8 or len(digits) < 1:
            raise ValueError(f"{path} is not the expected file: its {name!r} is {digits.dtype}, {digits.shape}.")
    if len(train) <= _MNIST_TRAIN:
        raise ValueError(f"{path} is not the expected file: it has {len(train)} training digits.")
    return {"train": train[:_MNIST_TRAIN], "val": train[_MNIST_TRAIN:], "test": test}


def _read_digits() -> dict[str, np.ndarray]:
    from sklearn.datasets import load_digits

    images = load_digits(return_X_y=True)[0].reshape(-1, 8, 8)  # from 0 to 16
    digits = np.round(images * (255 / 16)).astype(np.uint8)
    first, second = (int(share * len(digits)) for share in (_DIGITS_TRAIN, _DIGITS_TRAIN + _DIGITS_VAL))
    return dict(zip(PARTS, np.split(digits, [first, second]), strict=True))


def _resized(digits: np.ndarray, side: int) -> np.ndarray:
    """Return digits (n, side, side), uint8: means over areas to make them smaller, interpolated to make them larger."""
    if digits.shape[1:] == (side, side):
        return digits
    images = torch.from_numpy(digits)[:, None].float()
    if side < digits.shape[-1]:
        resized = F.interpolate(images, size=side, mode="area")
    else:
        resized = F.interpolate(images, size=side, mode="bilinear", align_corners=False)
    return resized[:, 0].round().to(torch.uint8).numpy()
