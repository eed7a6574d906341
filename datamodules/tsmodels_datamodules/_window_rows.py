"""From series and their covariates, as they are given, to the scaled array windows are cut from."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from tsmodels_datamodules._series import SeriesPanel, to_series
from tsmodels_datamodules._window_dataset import SeriesScaler, WindowRows
from tsmodels_datamodules._window_splits import part_borders

WINDOW_MISSING_POLICIES = ("error", "mask", "ffill")


@dataclass(frozen=True, eq=False)
class GivenSeries:
    """Series with what is known beside them, read and aligned, not yet scaled.

    Attributes
    ----------
    y : SeriesPanel
    known : tuple of (Tensor (exog_row, n_exogenous), ndarray (n_series + 1,)), or None
        Covariates known ahead and the offsets of the series in them; each starts with its series and ends with it or
        later, up to `horizon` rows.
    past : Tensor (row, n_past), or None
    static : Tensor (n_series, n_static), or None
    """

    y: SeriesPanel
    known: tuple[torch.Tensor, np.ndarray] | None
    past: torch.Tensor | None
    static: torch.Tensor | None

    @classmethod
    def read(cls, y: Any, known: Any, past: Any, static: Any, horizon: int) -> GivenSeries:
        """Read and align the arguments of a datamodule."""
        series = to_series(y, "y")
        return cls(
            series,
            None if known is None else _align(to_series(known, "known"), series, "known", horizon),
            None if past is None else _align(to_series(past, "past"), series, "past", 0)[0],
            None if static is None else _read_static(static, series),
        )


@dataclass(frozen=True, eq=False)
class ScaledSeries:
    """Scaled series, where they lie, where their parts lie, and the scaler of their channels.

    Attributes
    ----------
    rows : WindowRows
    offsets : ndarray (n_series + 1,)
    borders : ndarray (n_series, 4)
        See :func:`tsmodels_datamodules._window_splits.part_borders`.
    scaler : SeriesScaler
        Of the channels of y.
    channel_names : list of str
    """

    rows: WindowRows
    offsets: np.ndarray
    borders: np.ndarray
    scaler: SeriesScaler
    channel_names: list[str]

    @classmethod
    def of(cls, given: GivenSeries, split: tuple[Any, ...], scaling: str, missing: str) -> ScaledSeries:
        """Scale by the training part, and treat missing values by a policy; `given` is not changed."""
        y = given.y
        borders = part_borders(y, split)
        n_train = borders[:, 1]
        _check_observed(y, n_train)
        values, scaler = _scale(y.values, y.offsets, n_train, scaling)
        mask = ~values.isnan() if missing == "mask" and values.isnan().any() else None
        values = _fill(values, y.offsets, n_train, missing, "y", y.channel_names)
        past, exog, shift = given.past, None, None
        if past is not None:
            past = _covariates(past, y.offsets, n_train, scaling, missing, "past")
        if given.known is not None:
            exog, offsets = given.known
            exog = _covariates(exog, offsets, n_train, scaling, missing, "known")
            shift = torch.from_numpy(offsets[:-1] - y.offsets[:-1])
        static = given.static
        if static is not None:
            static = SeriesScaler(scaling).fit(static).transform(static).float()
        return cls(WindowRows(values, mask, past, exog, shift, static), y.offsets, borders, scaler, y.channel_names)


def _align(other: SeriesPanel, y: SeriesPanel, name: str, ahead: int) -> tuple[torch.Tensor, np.ndarray]:
    """Return covariates from the start of each series to its end, and up to `ahead` rows more; and their offsets."""
    if other.n_series != y.n_series:
        raise ValueError(f"{name} holds {other.n_series} series, y {y.n_series}: pass {name} in the form of y.")
    order = range(y.n_series)
    if other.has_instances and y.has_instances:
        places = {instance: i for i, instance in enumerate(other.instances)}
        if lost := [instance for instance in y.instances if instance not in places]:
            raise ValueError(f"{name} lacks {len(lost)} series of y, the first is {lost[0]!r}.")
        order = [places[instance] for instance in y.instances]
    by_index = other.has_index and y.has_index
    parts = []
    for i, (j, length) in enumerate(zip(order, y.lengths, strict=True)):
        start = _first_common(other.indexes[j], y.indexes[i], y.instances[i], name) if by_index else 0
        part = other.series(j)[start : start + length + ahead]
        if len(part) < length:  # the message for indexes is that of _first_common
            raise ValueError(
                f"{name} has {len(part)} time points for series {y.instances[i]!r}, y has {length}: {name} must cover "
                f"the whole of y."
            )
        parts.append(part)
    return torch.cat(parts), np.cumsum([0, *map(len, parts)])


def _first_common(index: pd.Index, wanted: pd.Index, instance: Any, name: str) -> int:
    """Return the position in `index` of the first time of `wanted`, all of which must follow it there."""
    try:
        places = index.get_indexer(wanted)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the index of {name} cannot be compared with that of y: {error}.") from error
    if (places < 0).any():
        lost = wanted[places < 0]
        raise ValueError(
            f"{name} does not cover y: it lacks {len(lost)} time points of series {instance!r}, the first is {lost[0]}."
        )
    if np.any(np.diff(places) != 1):
        raise ValueError(f"the time step of {name} is not that of y: resample {name}.")
    return int(places[0])


def _read_static(static: Any, y: SeriesPanel) -> torch.Tensor:
    """Return the static features of the series (n_series, n_static), float64, none missing."""
    if isinstance(static, pd.Series):
        static = static.to_frame()
    if isinstance(static, pd.DataFrame) and y.has_instances:
        places = static.index.get_indexer(y.instances) if static.index.is_unique else np.array([-2])
        if (places == -2).any():
            raise ValueError("static repeats a series in its index.")
        if (places < 0).any():
            raise ValueError(f"static lacks a row for series {y.instances[int((places < 0).argmax())]!r} of y.")
        static = static.iloc[places]
    if isinstance(static, torch.Tensor):
        static = static.detach().cpu().numpy()
    try:
        values = torch.from_numpy(np.array(static, dtype=np.float64, order="C"))
    except (TypeError, ValueError) as error:
        raise TypeError(f"static holds no real numbers ({error}): encode categories as numbers.") from error
    if values.ndim != 2 or len(values) != y.n_series or not values.shape[1]:
        raise ValueError(
            f"static has the shape {tuple(values.shape)}, expected (n_series, n_static) with {y.n_series} series."
        )
    if not values.isfinite().all():
        raise ValueError("static has missing or infinite values: replace them.")
    return values


def _training_rows(offsets: np.ndarray, n_train: np.ndarray) -> torch.Tensor | slice:
    """Return what selects the training part of all series."""
    if len(n_train) == 1:
        return slice(0, int(n_train[0]))  # a view
    position = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
    return torch.from_numpy(position < np.repeat(n_train, np.diff(offsets)))


def _scale(
    values: torch.Tensor, offsets: np.ndarray, n_train: np.ndarray, scaling: str
) -> tuple[torch.Tensor, SeriesScaler]:
    scaler = SeriesScaler(scaling).fit(values[_training_rows(offsets, n_train)])
    return scaler.transform(values).float(), scaler


def _covariates(
    values: torch.Tensor, offsets: np.ndarray, n_train: np.ndarray, scaling: str, missing: str, name: str
) -> torch.Tensor:
    names = [str(channel) for channel in range(values.shape[1])]
    scaled, _ = _scale(values, offsets, n_train, scaling)
    # a mask would have to come with them, and says nothing a network could not be told by one more covariate
    return _fill(scaled, offsets, n_train, "error" if missing == "mask" else missing, name, names)


def _check_observed(y: SeriesPanel, n_train: np.ndarray) -> None:
    training = y.values[_training_rows(y.offsets, n_train)]
    if not len(training):
        raise ValueError("split: no series of y has a training part.")
    empty = training.isnan().all(dim=0)
    if empty.any():
        raise ValueError(
            f"channel {y.channel_names[int(empty.int().argmax())]!r} of y has no observed value in the training part: "
            f"drop it, or move the split."
        )


def _fill(
    values: torch.Tensor, offsets: np.ndarray, n_train: np.ndarray, missing: str, name: str, channels: list[str]
) -> torch.Tensor:
    """Return scaled values without NaN; `values` may be changed."""
    if values.isinf().any():
        raise ValueError(f"{name} holds values too large for float32: scale them down, or set scaling='standard'.")
    gaps = values.isnan()
    if not gaps.any():
        return values
    if missing == "mask":
        return values.masked_fill_(gaps, 0)
    if missing == "error":
        channel = channels[int(gaps.any(dim=0).int().argmax())]
        options = "missing='ffill' to repeat the last observed value" + (
            ", missing='mask' for a network that takes a mask" if name == "y" else " or fill them before"
        )
        raise ValueError(
            f"{name} has {int(gaps.sum())} missing values (NaN), the first in channel {channel!r}: set {options}."
        )
    for i, (start, stop) in enumerate(itertools.pairwise(offsets)):
        for channel in gaps[start:stop].any(dim=0).nonzero().flatten().tolist():
            column = values[start:stop, channel]
            _fill_forward(column, int(n_train[i]), f"channel {channels[channel]!r} of series {i} of {name}")
    return values


def _fill_forward(column: torch.Tensor, n_train: int, where: str) -> None:
    """Repeat the last observed value, before the first one the first one of the training part, in place."""
    observed = ~column.isnan()
    last = torch.where(observed, torch.arange(len(column)), -1).cummax(dim=0).values
    if (last < 0).any():
        known = observed[:n_train].nonzero()
        if not len(known):
            raise ValueError(
                f"{where} begins with missing values and has no observed value in its training part to fill them with: "
                f"drop the series or these rows, or set missing='mask'."
            )
        last = torch.where(last < 0, known[0, 0], last)
    column.copy_(column[last])
