"""Data sets that are read where they are needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

__all__ = ["DataCache"]


class DataCache:
    """What is read by name, the few used last kept in memory; it is pickled without them.

    Cells come data set by data set: a run over a hundred of them holds two at a time, and each worker reads a set once.

    Parameters
    ----------
    read : callable
        From a key to the data.
    n_kept : int, default=2
    """

    def __init__(self, read: Callable[..., Any], n_kept: int = 2):
        self._read, self._n_kept = read, n_kept
        self._kept: OrderedDict[Any, Any] = OrderedDict()

    def __getitem__(self, key: Any) -> Any:
        if key not in self._kept:
            while len(self._kept) >= self._n_kept:  # before reading, which may need the room
                self._kept.popitem(last=False)
            self._kept[key] = self._read(key)
        self._kept.move_to_end(key)
        return self._kept[key]

    def __reduce__(self) -> tuple[type[DataCache], tuple[Callable[..., Any], int]]:
        return DataCache, (self._read, self._n_kept)
