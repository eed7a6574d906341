"""The series of dynamical systems with what belongs to them, read, checked and split by time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tsmodels_datamodules._dynamics_sets import load_dynamics_set
from tsmodels_datamodules._series import to_series
from tsmodels_datamodules._system_table import SYSTEMS


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of one series: values (time, channel), and as long external inputs and deconvolved values."""

    x: np.ndarray
    inputs: np.ndarray | None = None
    signal: np.ndarray | None = None

    def cut(self, start: int, stop: int) -> Piece:
        parts = (None if part is None else part[start:stop] for part in (self.x, self.inputs, self.signal))
        return Piece(*parts)  # pyright: ignore[reportArgumentType]  # x is there

    def astype(self, dtype: str) -> Piece:
        parts = (None if part is None else part.astype(dtype) for part in (self.x, self.inputs, self.signal))
        return Piece(*parts)  # pyright: ignore[reportArgumentType]  # x is there

    def as_batch(self) -> dict[str, torch.Tensor]:
        """Return the whole stretch as a batch of one."""
        s = None if self.inputs is None else self.inputs[1:]
        parts = {"x": self.x, "s": s, "signal": self.signal}
        return {key: torch.from_numpy(part)[None] for key, part in parts.items() if part is not None}


def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return arrays one after the other; a single one is not copied."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def named_set(name: str, test: Any, inputs: Any, test_inputs: Any, test_fraction: float) -> tuple[Any, Any, Any, Any]:
    """Return the series of a named data set: training part, test part and the inputs of both."""
    given = {"test": test, "inputs": inputs, "test_inputs": test_inputs, "test_fraction": test_fraction or None}
    for argument, value in given.items():
        if value is not None:
            raise ValueError(f"the data set {name!r} brings its own test part: leave {argument} out.")
    if name in SYSTEMS:
        raise ValueError(f"{name!r} is a system, not a data set: pass make_trajectory({name!r}, n) as data.")
    known = load_dynamics_set(name)
    return known.train, known.test, known.inputs, known.test_inputs


def read_parts(
    data: Any, test: Any, inputs: Any, test_inputs: Any, test_fraction: float
) -> tuple[list[Piece], list[Piece]]:
    """Return the stretches for training and validation, and those for the test."""
    train = _read(data, inputs, "data", "inputs")
    if test is None:
        if test_inputs is not None:
            raise ValueError("test_inputs were given without test: pass the test series too.")
        return split_off(train, test_fraction)
    if test_fraction:
        raise ValueError("test and test_fraction were both given: leave one out.")
    if (inputs is None) != (test_inputs is None):
        missing = "inputs" if inputs is None else "test_inputs"
        raise ValueError(f"{missing} is missing: the training and the test series both need external inputs.")
    held_out = _read(test, test_inputs, "test", "test_inputs")
    for what, names in (("x", ("test", "data")), ("inputs", ("test_inputs", "inputs"))):
        theirs, ours = (getattr(pieces[0], what) for pieces in (held_out, train))
        if ours is not None and theirs.shape[1] != ours.shape[1]:
            raise ValueError(f"{names[0]} has {theirs.shape[1]} channels, {names[1]} {ours.shape[1]}: give the same.")
    return train, held_out


def _read(data: Any, inputs: Any, name: str, inputs_name: str) -> list[Piece]:
    """Return series with their inputs."""
    series = _complete(data, name)
    if inputs is None:
        return [Piece(x) for x in series]
    given = _complete(inputs, inputs_name)
    if len(given) != len(series):
        raise ValueError(f"{inputs_name} holds {len(given)} series, {name} {len(series)}: give one for each.")
    for i, (x, s) in enumerate(zip(series, given, strict=True)):
        if len(x) != len(s):
            of = f" of series {i}" if len(series) > 1 else ""
            raise ValueError(
                f"{inputs_name}{of} has {len(s)} time points, {name} {len(x)}: give one row of inputs for each time "
                f"point of the data."
            )
    return [Piece(x, s) for x, s in zip(series, given, strict=True)]


def _complete(data: Any, name: str) -> list[np.ndarray]:
    """Return one or several series without missing values, float64 (time, channel)."""
    if data is None:
        raise TypeError(f"{name} is missing: pass a series, a numpy array (time, channel) for instance.")
    panel = to_series(data, name)
    missing = panel.values.isnan()
    if missing.any():
        row, channel = missing.nonzero()[0].tolist()
        raise ValueError(
            f"{name} has {int(missing.sum())} missing values (NaN), the first in channel "
            f"{panel.channel_names[channel]!r} at {panel.where(row)}: fill them, or give the stretches without any as "
            f"a list of series."
        )
    return [panel.series(i).numpy() for i in range(panel.n_series)]


def split_off(pieces: list[Piece], fraction: float) -> tuple[list[Piece], list[Piece]]:
    """Split the last part of each series off."""
    if not fraction:
        return pieces, []
    borders = [len(piece.x) - int(fraction * len(piece.x)) for piece in pieces]
    return (
        [piece.cut(0, border) for piece, border in zip(pieces, borders, strict=True)],
        [piece.cut(border, len(piece.x)) for piece, border in zip(pieces, borders, strict=True)],
    )
