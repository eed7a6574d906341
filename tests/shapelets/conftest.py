"""Series with known patterns in them."""

from typing import NamedTuple

import numpy as np
import pytest

PATTERN_LENGTH, JITTER = 30, 8


class Planted(NamedTuple):
    """Noise, in which the series of a class have one pattern in one channel, at about one place."""

    X: np.ndarray
    y: np.ndarray
    channel: np.ndarray
    """(class,) of the pattern"""
    place: np.ndarray
    """(class,) first step of the pattern, up to jitter"""

    def is_hit(self, shapelet):
        """Whether one shapelet is in the channel of its class's pattern and at least half within its reach."""
        code = shapelet.label_code[0]
        lo, hi = self.place[code] - JITTER, self.place[code] + PATTERN_LENGTH + JITTER
        inside = min(shapelet.end[0], hi) - max(shapelet.start[0], lo)
        return bool(shapelet.channel[0] == self.channel[code] and 2 * inside >= shapelet.length[0])


def _patterns():
    u = np.linspace(0, 1, PATTERN_LENGTH)
    triangle = 2 / np.pi * np.arcsin(np.sin(4 * np.pi * u))
    waves = 3 * np.sin(3 * np.pi * u), 3 * triangle, 2 * np.sign(np.sin(5 * np.pi * u))
    return [wave * np.hanning(PATTERN_LENGTH) for wave in waves]


def _planted(seed, n_cases=40, n_classes=2, noise=0.5, n_channels=3, n_timepoints=150, sizes=None):
    rng = np.random.default_rng(seed)
    y = np.arange(n_cases) % n_classes if sizes is None else np.repeat(np.arange(len(sizes)), sizes)
    X = rng.normal(0, noise, (len(y), n_channels, n_timepoints))
    channel, place = rng.integers(0, n_channels, n_classes), rng.integers(20, 100, n_classes)
    for series, code in zip(X, y, strict=True):
        start = place[code] + rng.integers(-JITTER, JITTER + 1)
        series[channel[code], start : start + PATTERN_LENGTH] += _patterns()[code]
    return Planted(X, y, channel, place)


@pytest.fixture
def planted():
    return _planted


@pytest.fixture
def problem():
    """A small one, quickly solved: X (12, 2, 40), labels "a" and "b"."""
    rng = np.random.default_rng(0)
    X = rng.normal(0, 0.3, (12, 2, 40))
    X[:6, 1, 8:18] += 3 * np.hanning(10)
    X[6:, 0, 20:30] -= 3 * np.hanning(10)
    return X, np.repeat(["a", "b"], 6)
