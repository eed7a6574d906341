"""What goes into the shapelet kernels and what comes out of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Channels:
    """Series as the shapelet kernels read them; made by ``Channels.of``.

    Attributes
    ----------
    values : ndarray of shape (n_cases, n_channels, n_timepoints)
        C-contiguous float64, finite, 0 outside the valid range.
    lo, hi : ndarray of shape (n_cases, n_channels)
        int64, the valid range [lo, hi) of each channel; ``lo == hi``: nothing is valid.
    changes : ndarray of shape (n_cases, n_channels, n_timepoints)
        Sum of the squared first differences from ``lo`` up to each time, inside the valid range.
    """

    values: np.ndarray
    lo: np.ndarray
    hi: np.ndarray
    changes: np.ndarray

    @classmethod
    def of(cls, values: ArrayLike, lo: ArrayLike | None = None, hi: ArrayLike | None = None) -> "Channels":
        """Copy, check and prepare series.

        Parameters
        ----------
        values : ndarray of shape (n_cases, n_channels, n_timepoints)
            Any real dtype; what stands outside the valid range, even NaN, is not read.
        lo, hi : ndarray of shape (n_cases, n_channels), optional
            Valid range [lo, hi); by default everything.

        Raises
        ------
        ValueError
            If shapes or ranges do not fit, or a value inside the valid range is not finite.
        """
        values = np.array(values, np.float64, order="C")
        if values.ndim != 3:
            raise ValueError(f"values must have shape (n_cases, n_channels, n_timepoints), got {values.shape}")
        N, V, T = values.shape
        lo = _bounds("lo", lo, (N, V), 0)
        hi = _bounds("hi", hi, (N, V), T)
        if not ((lo >= 0) & (lo <= hi) & (hi <= T)).all():
            raise ValueError(f"lo and hi must satisfy 0 <= lo <= hi <= n_timepoints = {T} everywhere")
        time = np.arange(T)
        values[(time < lo[..., None]) | (time >= hi[..., None])] = 0.0
        with np.errstate(over="ignore", invalid="ignore"):
            changes = np.zeros_like(values)
            np.square(np.diff(values, axis=2), out=changes[..., 1:])
            changes[(time <= lo[..., None]) | (time >= hi[..., None])] = 0.0
            np.cumsum(changes, axis=2, out=changes)
        if not (np.isfinite(values).all() and np.isfinite(changes[..., -1:]).all()):
            raise ValueError(
                "values must be finite inside the valid range, and their squared differences too: interpolate missing "
                "values, narrow lo and hi to leave them out, and standardise channels of extreme scale"
            )
        return cls(values, lo, hi, changes)


def _bounds(name: str, given: ArrayLike | None, shape: tuple[int, int], default: int) -> np.ndarray:
    if given is None:
        return np.full(shape, default, np.int64)
    given = integers(name, given)
    if given.shape != shape:
        raise ValueError(f"{name} must have shape (n_cases, n_channels) = {shape}, got {given.shape}")
    return given


def integers(name: str, given: ArrayLike) -> np.ndarray:
    """A C-contiguous int64 copy of integers."""
    found = np.asarray(given)
    if found.dtype.kind not in "iu" and found.size:
        raise TypeError(f"{name} must hold integers, got dtype {found.dtype}")
    return np.array(found, np.int64, order="C")


@dataclass(frozen=True)
class Candidates:
    """Subsequences of training series, grouped by the (series, channel) they are from.

    Attributes
    ----------
    units : ndarray of shape (n_units, 2)
        int64, series and channel of each unit.
    offsets : ndarray of shape (n_units + 1,)
        int64; the candidates of unit u are ``offsets[u]:offsets[u + 1]``.
    start, end : ndarray of shape (n_candidates,)
        int64 times, half-open; sorted by (start, end) inside each unit.
    """

    units: np.ndarray
    offsets: np.ndarray
    start: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def unit_of(self) -> np.ndarray:
        """Index of the unit of each candidate."""
        return np.repeat(np.arange(len(self.units)), np.diff(self.offsets))

    def keep(self, wanted: ArrayLike) -> "Candidates":
        """The candidates where ``wanted`` (n_candidates,) is true; units stay, also those left empty."""
        wanted = np.asarray(wanted)
        if wanted.dtype != bool or wanted.shape != self.start.shape:
            raise ValueError(
                f"wanted must be a bool array of shape {self.start.shape}, got {wanted.dtype} of shape {wanted.shape}"
            )
        offsets = np.concatenate([[0], np.cumsum(wanted)])[self.offsets]
        return Candidates(self.units, offsets, self.start[wanted], self.end[wanted])

    def units_slice(self, lo: int, hi: int) -> "Candidates":
        """The units ``lo:hi`` with their candidates, without a copy of these."""
        lo, hi, _ = slice(lo, hi).indices(len(self.units))
        hi = max(lo, hi)
        first, last = self.offsets[lo], self.offsets[hi]
        return Candidates(
            self.units[lo:hi], self.offsets[lo : hi + 1] - first, self.start[first:last], self.end[first:last]
        )


@dataclass(frozen=True)
class Scores:
    """How well the distance to each candidate tells its class from the others.

    Attributes
    ----------
    gain : ndarray of shape (n_candidates,)
        Information gain in bits; NaN where no other reference has the class of the candidate.
    threshold : ndarray of shape (n_candidates,)
        A series is on the candidate's side if its distance is below; inf: if there is a distance at all; NaN: there
        is no threshold.
    margin : ndarray of shape (n_candidates,)
        Gap around the threshold relative to its upper end, in [0, 1]; where ``gain`` is NaN, the isolation of the
        candidate: median of the finite distances / sqrt(length), 0 where there are none.
    null : ndarray of shape (n_permutations, n_units) or None
        Best gain among the candidates of each unit under permuted labels; 0 for a unit without candidates.
    """

    gain: np.ndarray
    threshold: np.ndarray
    margin: np.ndarray
    null: np.ndarray | None
