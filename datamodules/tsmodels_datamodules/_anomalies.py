"""Series with anomalies whose places are known: made ones, and the few that come with sktime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

__all__ = ["AnomalyEvent", "AnomalySeries", "load_anomaly_set", "make_anomalies"]

_GAP = 25  # least distance of two events, and of an event from the ends
_TRIES = 1000


class AnomalyEvent(NamedTuple):
    """One planted anomaly: time points ``start`` to ``stop - 1`` of some channels."""

    start: int
    stop: int
    kind: str
    channels: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class AnomalySeries:
    """A series to learn from and a series to look for anomalies in, which follows it.

    Attributes
    ----------
    train : ndarray (n_train, channel), float64
        Without anomalies, where they were planted; see the function that made it.
    test : ndarray (n_test, channel), float64
    labels : ndarray (n_test,), int64
        1 where `test` is anomalous in any channel, else 0.
    events : tuple of AnomalyEvent
        In the order of time; they do not touch.
    """

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    events: tuple[AnomalyEvent, ...]


def make_anomalies(
    n_train: int = 2000,
    n_test: int = 2000,
    n_channels: int = 3,
    *,
    kinds: Sequence[str] = ("point", "contextual", "collective"),
    n_events: int = 4,
    noise: float = 0.1,
    seed: int = 0,
) -> AnomalySeries:
    """Make coupled periodic series with planted anomalies in their second part.

    Every channel is ``sin(2 pi t / P + a) + 0.5 sin(2 pi t / p + b)``, with phases a and b of its own and the periods P
    in [40, 60] and p in [10, 20] of the series, plus a third of what the channel before it was five steps ago, plus
    white noise. The kinds of anomalies, each in one channel or in several:

    * ``"point"``: one value is moved by 1.5 to 2.5, up or down, and may still lie in the range of the others;
    * ``"contextual"``: 6 to 12 values are replaced by those of half a period P earlier: each of them occurs elsewhere;
    * ``"collective"``: 30 to 60 values of one shape: the fast oscillation becomes one of other period, or stops, or
      noise takes its place; none of them is unusual by itself.

    Parameters
    ----------
    n_train, n_test : int
        Time points without and with anomalies.
    n_channels : int
        Number of channels.
    kinds : sequence of str
        Which kinds are planted.
    n_events : int
        Number of events of each kind.
    noise : float
        Standard deviation of the white noise.
    seed : int
        Of ``np.random.default_rng``: equal arguments give equal series.

    Returns
    -------
    AnomalySeries

    Raises
    ------
    ValueError
        If an argument is out of range, or `n_test` leaves no room for the events.

    Examples
    --------
    >>> from tsmodels_datamodules import make_anomalies
    >>> made = make_anomalies(n_train=400, n_test=600, n_events=1, seed=3)
    >>> made.train.shape, made.test.shape, int(made.labels.sum()) == sum(e.stop - e.start for e in made.events)
    ((400, 3), (600, 3), True)
    >>> sorted(event.kind for event in made.events)
    ['collective', 'contextual', 'point']
    """
    for name, value, least in (
        ("n_train", n_train, 1),
        ("n_test", n_test, 1),
        ("n_channels", n_channels, 1),
        ("n_events", n_events, 0),
        ("noise", noise, 0),
    ):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}.")
    unknown = [kind for kind in kinds if kind not in _PLANTED]
    if unknown:
        raise ValueError(f"kinds must be of {', '.join(map(repr, _PLANTED))}, got {unknown[0]!r}.")
    rng = np.random.default_rng(seed)
    normal = _Normal.draw(n_channels, rng)
    clean = normal.values(np.arange(n_train + n_test)) + noise * rng.standard_normal((n_train + n_test, n_channels))
    test = clean[n_train:].copy()
    labels, events = np.zeros(n_test, dtype=np.int64), []
    for start, stop, kind in _places([kind for kind in kinds for _ in range(n_events)], n_test, rng):
        n_hit = int(rng.integers(1, n_channels + 1))
        channels = tuple(sorted(rng.choice(n_channels, n_hit, replace=False).tolist()))
        times = np.arange(start, stop)
        changed = _PLANTED[kind].change(normal, clean[n_train:], times, n_train, noise, rng)
        test[np.ix_(times, channels)] = changed[:, list(channels)]
        labels[start:stop] = 1
        events.append(AnomalyEvent(start, stop, kind, channels))
    return AnomalySeries(clean[:n_train], test, labels, tuple(events))


class _Normal(NamedTuple):
    """What a series is like without noise and anomalies."""

    slow: float
    fast: float
    phases: np.ndarray  # (2, channel)

    @classmethod
    def draw(cls, n_channels: int, rng: np.random.Generator) -> _Normal:
        return cls(rng.uniform(40, 60), rng.uniform(10, 20), rng.uniform(0, 2 * np.pi, (2, n_channels)))

    def values(self, times: np.ndarray, fast: float | None = None, height: float = 0.5) -> np.ndarray:
        """Values (time, channel), with another period or height of the fast oscillation if these are given."""
        own = self._uncoupled(times, fast or self.fast, height)
        before = np.roll(self._uncoupled(times - 5, fast or self.fast, height), 1, axis=1)
        before[:, 0] = 0.0  # the first channel has none before it
        return own + before / 3

    def _uncoupled(self, times: np.ndarray, fast: float, height: float) -> np.ndarray:
        turns = 2 * np.pi * times[:, None]
        return np.sin(turns / self.slow + self.phases[0]) + height * np.sin(turns / fast + self.phases[1])


def _point(normal, clean, times, offset, noise, rng) -> np.ndarray:
    sign = rng.choice([-1.0, 1.0], clean.shape[1])
    return clean[times] + sign * rng.uniform(1.5, 2.5)


def _contextual(normal, clean, times, offset, noise, rng) -> np.ndarray:
    earlier = normal.values(times + offset - normal.slow / 2)
    return earlier + noise * rng.standard_normal(earlier.shape)


def _collective(normal, clean, times, offset, noise, rng) -> np.ndarray:
    form = rng.choice(["faster", "flat", "noise"])
    grain = noise * rng.standard_normal((len(times), clean.shape[1]))
    if form == "faster":
        return normal.values(times + offset, fast=normal.fast / 2) + grain
    smooth = normal.values(times + offset, height=0.0)
    if form == "flat":
        return smooth + grain
    return smooth + 0.35 * rng.standard_normal(grain.shape)  # the power of the oscillation it takes the place of


class _Kind(NamedTuple):
    shortest: int
    longest: int
    change: Callable[..., np.ndarray]


_PLANTED = {
    "point": _Kind(1, 1, _point),
    "contextual": _Kind(6, 12, _contextual),
    "collective": _Kind(30, 60, _collective),
}


def _places(kinds: list[str], n_test: int, rng: np.random.Generator) -> list[tuple[int, int, str]]:
    """Draw where events lie, with gaps between them, in the order of time."""
    taken = np.zeros(n_test, dtype=bool)
    places = []
    # the longest first: short ones still fit between them
    for kind in sorted(kinds, key=lambda each: -_PLANTED[each].longest):
        length = int(rng.integers(_PLANTED[kind].shortest, _PLANTED[kind].longest + 1))
        last = n_test - _GAP - length
        for _ in range(_TRIES):
            start = int(rng.integers(_GAP, last + 1)) if last >= _GAP else 0
            if last >= _GAP and not taken[start - _GAP : start + length + _GAP].any():
                break
        else:
            raise ValueError(
                f"n_test = {n_test} leaves no room for {len(kinds)} events with {_GAP} time points around each: take "
                "fewer events or a longer series."
            )
        taken[start : start + length] = True
        places.append((start, start + length, kind))
    return sorted(places)


# The series that sktime carries with labels of anomalies, and their training parts: before the first label.
_BUNDLED = {"yahoo": 400, "mitdb": 3750}


def load_anomaly_set(name: str) -> AnomalySeries:
    """Return a labelled series that is part of the sktime package; nothing is downloaded.

    Parameters
    ----------
    name : {"yahoo", "mitdb"}
        "yahoo": 1000 values of a benchmark of web traffic (Yahoo S5), 7 of them labelled, one by one; the first 400 are
        the training part. "mitdb": 7500 values of an electrocardiogram (MIT-BIH), one stretch of 352 of them labelled,
        about a beat that comes early; the first half is the training part.

    Returns
    -------
    AnomalySeries
        One channel. Its training part holds no label; whether it holds anomalies that nobody labelled is not known.
        Neither set is large enough to tell good detectors from better ones.

    Raises
    ------
    ValueError
        If there is no such set.
    FileNotFoundError
        If the installed sktime does not carry it.

    Examples
    --------
    >>> from tsmodels_datamodules import load_anomaly_set
    >>> yahoo = load_anomaly_set("yahoo")
    >>> yahoo.train.shape, yahoo.test.shape, int(yahoo.labels.sum())
    ((400, 1), (600, 1), 7)
    """
    if name not in _BUNDLED:
        raise ValueError(f"name must be one of {', '.join(map(repr, _BUNDLED))}, got {name!r}.")
    import sktime

    path = Path(sktime.__path__[0]) / "datasets" / "data" / name / f"{name}.csv"
    if not path.is_file():
        raise FileNotFoundError(f"sktime {sktime.__version__} does not carry {name}.csv: install sktime 1.2.")
    frame, n_train = pd.read_csv(path), _BUNDLED[name]
    values = frame["data"].to_numpy(np.float64)[:, None]
    labels = (frame["label"].to_numpy() > 0).astype(np.int64)[n_train:]
    borders = np.flatnonzero(np.diff(labels, prepend=0, append=0)).reshape(-1, 2)
    events = tuple(AnomalyEvent(int(start), int(stop), "labelled", (0,)) for start, stop in borders)
    return AnomalySeries(values[:n_train], values[n_train:], labels, events)
