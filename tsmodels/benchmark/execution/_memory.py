"""Resident memory of a process and all it has started."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

__all__ = ["SECONDS_BETWEEN_SAMPLES", "MemoryGauge", "sampled"]

SECONDS_BETWEEN_SAMPLES = 0.05
# the processes of a tree are found by looking at all of the machine's: rarely
_SECONDS_BETWEEN_CENSUSES = 0.5
_MEGABYTE = 2**20


class MemoryGauge:
    """The megabytes used by a process and its descendants.

    Parameters
    ----------
    pid : int

    Attributes
    ----------
    peak_mb : float
        The highest of the samples since it was last set.
    """

    def __init__(self, pid: int):
        self._root = psutil.Process(pid)
        self._descendants: list[psutil.Process] = []
        self._next_census = 0.0
        self.peak_mb = 0.0

    def sample(self) -> float:
        """Return the megabytes used now, 0 if the process is dead."""
        if time.monotonic() >= self._next_census:
            self._descendants = self.descendants()
            self._next_census = time.monotonic() + _SECONDS_BETWEEN_CENSUSES
        own = _resident(self._root)
        if own == 0:  # a zombie
            return 0.0
        used = (own + sum(map(_resident, self._descendants))) / _MEGABYTE
        self.peak_mb = max(self.peak_mb, used)
        return used

    def descendants(self) -> list[psutil.Process]:
        """Return the processes started by the process, and by those."""
        try:
            return self._root.children(recursive=True)
        except psutil.Error:
            return []


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


@contextmanager
def sampled(gauge: MemoryGauge) -> Iterator[None]:
    """Find the peak in a thread."""
    done = threading.Event()

    def sample() -> None:
        while not done.wait(SECONDS_BETWEEN_SAMPLES):
            gauge.sample()

    gauge.peak_mb = 0.0
    gauge.sample()
    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        gauge.sample()
