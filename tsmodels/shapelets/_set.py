"""What discovery returns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tsmodels.shapelets._arguments import n_threads_of
from tsmodels.shapelets._cases import Fingerprint, Series, fingerprints_of, read_cases
from tsmodels.shapelets._select import best_first

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ShapeletSet"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BY_SHAPELET = ("series", "channel", "start", "end", "label", "label_code", "gain", "score_kind", "threshold", "margin")
_CASES_AT_ONCE = 256


@dataclass(frozen=True, eq=False, repr=False)
class ShapeletSet:
    """Shapelets of a training set: by class, and in each class the best first.

    Made by :func:`discover_shapelets`. Two sets are equal if all but `seconds` is, bit by bit.

    Attributes
    ----------
    values : tuple of ndarray of float64
        Each shapelet, in units of its standardised channel: ``(x - mean) / std``.
    series, channel : ndarray (shapelet,) of int64
        The training case and the channel it is from.
    start, end : ndarray (shapelet,) of int64
        Its place there: steps ``start`` to ``end - 1`` of the time axis that was given.
    label : ndarray (shapelet,)
        The class it is a sign of, as in `y`.
    label_code : ndarray (shapelet,) of int64
        Position of the label in `classes`.
    gain : ndarray (shapelet,) of float64
        Information gain in bits about "is of this class", from the best threshold on the distance. 0 where
        `score_kind` is ``"isolation"``.
    score_kind : ndarray (shapelet,) of str
        ``"gain"``, or ``"isolation"`` in a class of one series, of which nothing can be gained.
    threshold : ndarray (shapelet,) of float64
        The distance halfway between what is on both sides of that split. NaN if there is none; inf if no window of the
        far side has room for the shapelet.
    margin : ndarray (shapelet,) of float64
        ``(b - a) / b`` of the distances ``a < b`` on both sides of the threshold, in [0, 1]. For ``"isolation"``:
        median distance to the other series over the square root of the length.
    classes : ndarray (class,)
        All labels, sorted.
    mean, std : ndarray (channel,) of float64
        What the channels were standardised by; 0 and 1 if they were not.
    window : int
        A shapelet is looked for at most so many steps before or after its own place.
    n_timepoints : int
        Length of the longest training series.
    params : dict
        The arguments of the discovery, and under ``"drawn"`` how much was looked at: numbers of candidates, of units
        (a channel of a series), and of reference series for each class.
    null : dict or None
        With `null_permutations`: ``"gain"`` (permutation, class) is the best gain of the class after labels were
        permuted, ``"observed"`` (class,) the best gain. NaN for classes of one series.
    fingerprint : Fingerprint
        Hashes of the training series and labels.
    seconds : dict
        Wall-clock time of each stage: normalise, candidates, scores, selection.
    """

    values: tuple[Floats, ...]
    series: Integers
    channel: Integers
    start: Integers
    end: Integers
    label: npt.NDArray[Any]
    label_code: Integers
    gain: Floats
    score_kind: npt.NDArray[np.str_]
    threshold: Floats
    margin: Floats
    classes: npt.NDArray[Any]
    mean: Floats
    std: Floats
    window: int
    n_timepoints: int
    params: dict[str, Any]
    null: dict[str, Floats] | None
    fingerprint: Fingerprint
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def length(self) -> Integers:
        """Number of steps of each shapelet."""
        return self.end - self.start

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return (
            f"ShapeletSet({len(self)} shapelets, {len(self.classes)} classes, {len(self.mean)} channels, "
            f"window={self.window})"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ShapeletSet):
            return NotImplemented
        names = [each.name for each in fields(self) if each.name != "seconds"]
        return all(_same(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, index: int | slice | Sequence[int] | npt.NDArray[Any]) -> ShapeletSet:
        """Return the set of the shapelets at a position, positions, a slice or a mask, in that order."""
        rows = np.atleast_1d(np.arange(len(self))[index])
        chosen = {name: getattr(self, name)[rows] for name in BY_SHAPELET}
        return replace(self, values=tuple(self.values[row] for row in rows), **chosen)

    def __iter__(self) -> Iterator[ShapeletSet]:
        """Iterate over sets of one shapelet."""
        return (self[row] for row in range(len(self)))

    def filter(
        self, *, label: Any = None, channel: int | Sequence[int] | None = None, top: int | None = None
    ) -> ShapeletSet:
        """Return the shapelets of a class, of a channel, or the best ones.

        Parameters
        ----------
        label : label, or list or array of labels, optional
            Default: all classes.
        channel : int or list of int, optional
            Default: all channels.
        top : int, optional
            At most so many of each class, the best of what the other two left. Default: all.

        Returns
        -------
        ShapeletSet

        Raises
        ------
        ValueError
            If there is no such class or channel, or `top` is no integer of at least 1.
        """
        keep = np.ones(len(self), dtype=bool)
        if label is not None:
            labels = label.tolist() if isinstance(label, np.ndarray) else label
            keep &= np.isin(self.label_code, self._codes(labels if isinstance(labels, list) else [labels]))
        if channel is not None:
            channels = np.atleast_1d(channel)
            if ((channels < 0) | (channels >= len(self.mean))).any():
                raise ValueError(f"channel must be from 0 to {len(self.mean) - 1}, got {channel}")
            keep &= np.isin(self.channel, channels)
        rows = np.flatnonzero(keep)
        if top is not None:
            if top < 1 or top != int(top):
                raise ValueError(f"top must be an integer of at least 1, got {top}")
            codes = self.label_code[rows]
            rows = rows[[np.count_nonzero(codes[:i] == code) < top for i, code in enumerate(codes)]]
        return self[rows]

    def _codes(self, labels: list[Any]) -> list[int]:
        code_of = {label: code for code, label in enumerate(self.classes.tolist())}
        for label in labels:
            if label not in code_of:
                raise ValueError(f"label must be one of {self.classes.tolist()}, got {label!r}")
        return [code_of[label] for label in labels]

    def best(self) -> ShapeletSet:
        """Return the best shapelet of each class."""
        return self.filter(top=1)

    def merge(self, other: ShapeletSet) -> ShapeletSet:
        """Return the shapelets of two discoveries on the same training set, sorted by class and score.

        A shapelet that is in both is kept once, with the scores it has here. `null` is that of this set.

        Raises
        ------
        ValueError
            If the two differ in training series, labels, standardisation, window, or the complexity factor.
        """
        for name in ("fingerprint", "mean", "std", "window"):
            if not _same(getattr(self, name), getattr(other, name)):
                raise ValueError(f"other differs in {name}: merge sets of one training set, scaled and matched alike")
        if self.params["complexity"] != other.params["complexity"]:
            raise ValueError("other differs in complexity: merge sets whose distances are the same")
        here = dict.fromkeys(self._places())
        new = other[[row for row, place in enumerate(other._places()) if place not in here]]
        both = {name: np.concatenate([getattr(self, name), getattr(new, name)]) for name in BY_SHAPELET}
        stages = [*self.seconds, *(stage for stage in other.seconds if stage not in self.seconds)]
        union = replace(
            self,
            values=self.values + new.values,
            params=self.params if self.params == other.params else {**self.params, "merged": [other.params]},
            seconds={stage: self.seconds.get(stage, 0.0) + other.seconds.get(stage, 0.0) for stage in stages},
            **both,
        )
        order = best_first(union.gain, union.margin, union.series, union.channel, union.start, union.end)
        return union[order[np.argsort(union.label_code[order], kind="stable")]]

    def _places(self) -> list[tuple[int, ...]]:
        return list(zip(*(getattr(self, name).tolist() for name in ("series", "channel", "start", "end")), strict=True))

    def distances(self, X: Series, *, n_jobs: int | None = None) -> Floats:
        """Return how far each shapelet is from each series.

        The distance is the least over the windows at most `window` steps from the shapelet's own place,
        ``||q - x|| * sqrt(max(c_q, c_x) / min(c_q, c_x))`` with the complexity ``c`` a sum of squared differences; see
        :func:`discover_shapelets`.

        Parameters
        ----------
        X : array (case, channel, time) or list of arrays (channel, time)
            As in the discovery: in the units of the training set, NaN where missing.
        n_jobs : int, optional
            Number of threads; -1: all cores. Default: those of torch.

        Returns
        -------
        ndarray (case, shapelet) of float64
            inf where no window fits into the series.
        """
        return self._match(X, n_jobs)[0]

    def matches(self, X: Series, *, n_jobs: int | None = None) -> Integers:
        """Return where in each series each shapelet fits best.

        Parameters
        ----------
        X, n_jobs
            As of `distances`.

        Returns
        -------
        ndarray (case, shapelet) of int64
            First step of the nearest window; -1 where none fits.
        """
        return self._match(X, n_jobs)[1]

    def _match(self, X: Series, n_jobs: int | None) -> tuple[Floats, Integers]:
        from tsmodels_kernels import Channels, match_shapelets

        n_threads = n_threads_of(n_jobs)
        distance = np.empty((len(X), len(self)))
        place = np.empty((len(X), len(self)), dtype=np.int64)
        for first in range(0, len(X), _CASES_AT_ONCE):
            cases = read_cases(X[first : first + _CASES_AT_ONCE], first=first)
            self._check_channels(cases.n_channels)
            cases.standardise(self.mean, self.std)
            rows = slice(first, first + len(cases))
            distance[rows], place[rows] = match_shapelets(
                Channels.of(cases.values, cases.lo, cases.hi),
                list(self.values),
                self.channel,
                self.start,
                window=self.window,
                complexity=self.params["complexity"],
                n_threads=n_threads,
            )
        return distance, place

    def _check_channels(self, n_channels: int) -> None:
        if n_channels != len(self.mean):
            raise ValueError(
                f"X has {n_channels} channels, but the shapelets are of {len(self.mean)}: pass the same channels in "
                "the same order"
            )

    def contains_series(self, X: Series) -> dict[int, str]:
        """Return which series of `X` the shapelets were discovered on: position in `X` and fingerprint.

        Empty if none. Series are compared by value as float32; two equal series are one to it.
        """
        known = set(self.fingerprint.series)
        cases = read_cases(X)
        self._check_channels(cases.n_channels)
        return {case: each for case, each in enumerate(fingerprints_of(cases)) if each in known}

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row per shapelet.

        Columns class, channel, start, end, length, gain, threshold, margin, score_kind.
        """
        import pandas as pd

        columns = ("channel", "start", "end", "length", "gain", "threshold", "margin", "score_kind")
        return pd.DataFrame({"class": self.label, **{name: getattr(self, name) for name in columns}})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the set to one file, a NumPy archive with JSON in it. It is replaced whole or not at all.

        Raises
        ------
        TypeError
            If labels are neither str, bool, int nor float: other objects would need pickle.
        """
        from tsmodels.shapelets._storage import save

        save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ShapeletSet:
        """Read a set that `save` wrote. No code of the file is run.

        Raises
        ------
        ValueError
            If the file is another one, damaged, or of a newer format.
        """
        from tsmodels.shapelets._storage import load

        return load(path)


def _same(one: Any, other: Any) -> bool:
    """Whether values are equal bit by bit, NaN being equal to NaN."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        if one.dtype == object:
            return one.dtype == other.dtype and one.tolist() == other.tolist()
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
