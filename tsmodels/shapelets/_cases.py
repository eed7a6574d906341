"""Series as the discovery reads them: valid ranges, filled gaps, labels, fingerprints, standardisation."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Cases",
    "Fingerprint",
    "Labels",
    "Series",
    "channel_moments",
    "fingerprint_of",
    "fingerprints_of",
    "read_cases",
    "read_labels",
]

Series = npt.NDArray[Any] | Sequence[npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Cases:
    """Series on one time axis.

    Attributes
    ----------
    values : ndarray (case, channel, time) of float64
        Gaps inside the valid range are filled linearly; 0 outside of it. Memory of its own.
    lo, hi : ndarray (case, channel) of int64
        The valid range ``[lo, hi)``: from the first to the last value. Both 0 where there is none.
    observed : ndarray (case, channel, time) of bool
        Where a value was given.
    """

    values: npt.NDArray[np.float64]
    lo: npt.NDArray[np.int64]
    hi: npt.NDArray[np.int64]
    observed: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.values.shape[1]

    @property
    def longest(self) -> int:
        """Length of the longest valid range."""
        return int((self.hi - self.lo).max(initial=0))

    def standardise(self, mean: npt.NDArray[np.float64], std: npt.NDArray[np.float64]) -> None:
        """Replace each valid value by ``(value - mean) / std`` of its channel, in place."""
        time = np.arange(self.values.shape[2])
        for values, lo, hi in zip(self.values, self.lo, self.hi, strict=True):  # no second array of the size of X
            values -= mean[:, None]
            values /= std[:, None]
            values[(time < lo[:, None]) | (time >= hi[:, None])] = 0


@dataclass(frozen=True, eq=False)
class Labels:
    """Class labels.

    Attributes
    ----------
    values : ndarray (case,)
        The labels, of a plain dtype (str, bool, int, float) if they are all of one kind, else of dtype object.
    classes : ndarray (class,)
        The different labels, sorted.
    codes : ndarray (case,) of int64
        Position of each label in `classes`.
    """

    values: npt.NDArray[Any]
    classes: npt.NDArray[Any]
    codes: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Fingerprint:
    """What training cases can be recognised by.

    Attributes
    ----------
    series : tuple of str
        A hash of each series, of its values as float32 without the padding around it.
    labels : str
        A hash of all labels in their order.
    """

    series: tuple[str, ...]
    labels: str


def read_cases(X: Series, *, first: int = 0) -> Cases:
    """Read series and fill their gaps.

    Parameters
    ----------
    X : array (case, channel, time) or list of arrays (channel, time)
        NaN at the ends of a channel of a case is padding, NaN between values is a gap.
    first : int, default=0
        Number of the first case, for messages.
    """
    values = _stack(X, first)
    if np.isinf(values).any():
        case, channel, time = np.argwhere(np.isinf(values))[0]
        raise ValueError(
            f"X holds infinite values, the first in case {case + first}, channel {channel}, time point {time}: "
            "replace them, by NaN if they are missing"
        )
    observed = ~np.isnan(values)
    any_observed = observed.any(axis=2)
    lo = np.where(any_observed, observed.argmax(axis=2), 0)
    hi = np.where(any_observed, values.shape[2] - observed[:, :, ::-1].argmax(axis=2), 0)
    has_gap = observed.sum(axis=2) < hi - lo
    for case, channel in np.argwhere(has_gap):
        series, known = values[case, channel], np.flatnonzero(observed[case, channel])
        inside = np.arange(known[0], known[-1] + 1)
        # relative to the first value: padding in front must not change a digit of what is filled
        series[inside] = np.interp(inside - known[0], known - known[0], series[known])
    for series, start, end in zip(values, lo, hi, strict=True):
        time = np.arange(values.shape[2])
        series[(time < start[:, None]) | (time >= end[:, None])] = 0
    return Cases(values, lo.astype(np.int64), hi.astype(np.int64), observed)


def _stack(X: Series, first: int) -> npt.NDArray[np.float64]:
    """Return a new float64 array (case, channel, time), padded with NaN."""
    if isinstance(X, np.ndarray) and X.dtype != object:
        if X.ndim != 3:
            raise ValueError(
                f"X must be an array (case, channel, time) or a list of arrays (channel, time); got {X.ndim} "
                "dimensions. Series of one channel: X[:, None, :]"
            )
        _require_numbers(X, "X")
        values = np.array(X, dtype=np.float64, order="C")
    else:
        values = _pad(X, first)
    if 0 in values.shape:
        raise ValueError(f"X must hold a case, a channel and a time point, got {values.shape} (case, channel, time)")
    return values


def _pad(X: Any, first: int) -> npt.NDArray[np.float64]:
    if isinstance(X, str) or not hasattr(X, "__len__"):
        raise TypeError(f"X must be an array (case, channel, time) or a list of arrays, got {type(X).__name__}")
    series = [np.asarray(each) for each in X]
    for case, each in enumerate(series, first):
        _require_numbers(each, f"case {case} of X")
        if each.ndim != 2:
            raise ValueError(f"case {case} of X must be an array (channel, time), got {each.ndim} dimensions")
        if len(each) != len(series[0]):
            raise ValueError(
                f"X must have the same channels in every case: {len(series[0])} in case {first}, "
                f"{len(each)} in case {case}"
            )
    longest = max((each.shape[1] for each in series), default=0)
    values = np.full((len(series), len(series[0]) if series else 0, longest), np.nan)
    for row, each in zip(values, series, strict=True):
        row[:, : each.shape[1]] = each
    return values


def _require_numbers(values: npt.NDArray[Any], name: str) -> None:
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {values.dtype}")


def channel_moments(cases: Cases) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and standard deviation of each channel over its given values; 0 and 1 where it has no spread.

    Padding and the order of the cases do not change a digit of them.
    """
    mean, std = np.zeros(cases.n_channels), np.ones(cases.n_channels)
    for channel in range(cases.n_channels):
        observed = cases.observed[:, channel]
        count = int(observed.sum())
        if count == 0:
            continue
        values = cases.values[:, channel]
        mean[channel] = _exact_sum(np.where(observed, values, 0.0)) / count
        spread = math.sqrt(_exact_sum(np.where(observed, values - mean[channel], 0.0) ** 2) / count)
        # what remains of a constant after rounding is no spread
        if spread > 1e-12 * abs(mean[channel]):
            std[channel] = spread
    return mean, std


def _exact_sum(values: npt.NDArray[np.float64]) -> float:
    """Return a sum that zeros at the ends of rows, and the order of the rows, do not change."""
    return math.fsum(np.cumsum(values, axis=1)[:, -1])


def read_labels(y: Any, n_cases: int) -> Labels:
    """Read the labels of `n_cases` cases."""
    values = _as_labels(y)
    if len(values) != n_cases:
        raise ValueError(f"X has {n_cases} cases, but y has {len(values)} labels: pass one label per case")
    if values.dtype != object:
        classes, codes = np.unique(values, return_inverse=True)
    else:
        classes = _object_array(_sorted(set(values)))
        code_of = {label: code for code, label in enumerate(classes)}
        codes = np.array([code_of[label] for label in values])
    if len(classes) < 2:
        raise ValueError(
            f"y has {len(classes)} class: a shapelet tells a class from the others, pass cases of two or more"
        )
    return Labels(values, classes, codes.astype(np.int64))


def _as_labels(y: Any) -> npt.NDArray[Any]:
    if hasattr(y, "to_numpy"):  # a pandas Series
        y = y.to_numpy()
    if isinstance(y, np.ndarray):
        if y.ndim != 1:
            raise ValueError(f"y must be one-dimensional, a label per case; got shape {y.shape}")
        if y.dtype.kind in "biuUf":
            _refuse_nan(y)
            return y.copy()
    if isinstance(y, str) or not hasattr(y, "__len__"):
        raise TypeError(f"y must be a sequence of labels, got {type(y).__name__}")
    labels = [each.item() if isinstance(each, np.generic) else each for each in y]
    for label in labels:
        if not isinstance(label, Hashable):
            raise TypeError(f"y must hold hashable labels, got {type(label).__name__}")
    kinds = {type(label) for label in labels}
    if len(kinds) == 1 and kinds <= {str, bool, int, float}:
        values = np.array(labels)
        if values.dtype.kind in "biUf":  # an integer beyond 64 bit is not
            _refuse_nan(values)
            return values
    return _object_array(labels)


def _refuse_nan(labels: npt.NDArray[Any]) -> None:
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        raise ValueError("y holds NaN: leave out cases without a label")


def _object_array(labels: Sequence[Any]) -> npt.NDArray[Any]:
    array = np.empty(len(labels), dtype=object)  # np.array would make a table of labels that are tuples
    array[:] = labels
    return array


def _sorted(labels: set[Any]) -> list[Any]:
    try:
        return sorted(labels)
    except TypeError:  # labels of several types, which have no order of their own
        return sorted(labels, key=lambda label: (type(label).__name__, repr(label)))


def fingerprints_of(cases: Cases) -> tuple[str, ...]:
    """Return a hash of each series: equal for equal values, whatever padding stands around them.

    Values are compared as float32, so that a series is recognised after it went through a network's datamodule.
    """
    return tuple(_fingerprint(cases, case) for case in range(len(cases)))


def _fingerprint(cases: Cases, case: int) -> str:
    lo, hi, observed = cases.lo[case], cases.hi[case], cases.observed[case]
    present = lo < hi
    start, end = (lo[present].min(), hi[present].max()) if present.any() else (0, 0)
    with np.errstate(over="ignore"):
        values = np.where(observed, cases.values[case], np.nan)[:, start:end].astype(np.float32)
    values[np.isnan(values)] = np.float32("nan")  # one NaN of the many
    digest = blake2b(repr(values.shape).encode(), digest_size=16)
    digest.update((values + np.float32(0)).tobytes())  # -0 becomes 0
    return digest.hexdigest()


def fingerprint_of(cases: Cases, labels: Labels) -> Fingerprint:
    """Return the fingerprint of training cases, which must not be standardised yet."""
    digest = blake2b(repr(labels.values.tolist()).encode(), digest_size=16)
    return Fingerprint(fingerprints_of(cases), digest.hexdigest())
