"""One file for a set of shapelets: a NumPy archive, no pickle in it."""

from __future__ import annotations

import json
import os
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tsmodels.shapelets._cases import Fingerprint
from tsmodels.shapelets._set import BY_SHAPELET, ShapeletSet

__all__ = ["load", "save"]

_FORMAT, _VERSION = "tsmodels.ShapeletSet", 1
_ARRAYS = (*BY_SHAPELET, "classes", "mean", "std")


def save(shapelets: ShapeletSet, path: str | os.PathLike[str]) -> None:
    """Write a set to a file, whole or not at all."""
    if shapelets.classes.dtype == object:
        kinds = sorted({type(label).__name__ for label in shapelets.classes})
        raise TypeError(
            f"labels of type {', '.join(kinds)} cannot be saved: discover with labels that are all str, bool, int or "
            "float"
        )
    facts = {
        "format": _FORMAT,
        "version": _VERSION,
        "window": shapelets.window,
        "n_timepoints": shapelets.n_timepoints,
        "params": shapelets.params,
        "fingerprint": {"series": shapelets.fingerprint.series, "labels": shapelets.fingerprint.labels},
        "seconds": shapelets.seconds,
    }
    arrays = {name: getattr(shapelets, name) for name in _ARRAYS}
    arrays["values"] = np.concatenate([np.zeros(0), *shapelets.values])
    arrays["offsets"] = np.cumsum([0, *map(len, shapelets.values)])
    for name, values in (shapelets.null or {}).items():
        arrays[f"null_{name}"] = values
    arrays["facts"] = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    _write_atomically(Path(path), arrays)


def _write_atomically(path: Path, arrays: dict[str, Any]) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays)
            file.flush()
            os.fsync(file.fileno())  # else a crash of the machine can leave the new name with no content
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)  # renamed, or not finished


def load(path: str | os.PathLike[str]) -> ShapeletSet:
    """Read a set from a file."""
    try:
        # opened here: np.load forgets to close what it cannot read
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        facts = json.loads(arrays["facts"].tobytes())
        version = facts["version"] if facts["format"] == _FORMAT else None
    except (ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no ShapeletSet, or is damaged: {error}") from error
    if version is None:
        raise ValueError(f"{path} holds no ShapeletSet but {facts['format']!r}")
    if version != _VERSION:
        raise ValueError(
            f"{path} is of format {version}, this version of tsmodels reads format {_VERSION}: update tsmodels, or "
            "discover the shapelets again"
        )
    offsets = arrays["offsets"]
    null = {name.removeprefix("null_"): values for name, values in arrays.items() if name.startswith("null_")}
    return ShapeletSet(
        values=tuple(arrays["values"][lo:hi] for lo, hi in pairwise(offsets)),
        **{name: arrays[name] for name in _ARRAYS},
        window=facts["window"],
        n_timepoints=facts["n_timepoints"],
        params=facts["params"],
        null=null or None,
        fingerprint=Fingerprint(tuple(facts["fingerprint"]["series"]), facts["fingerprint"]["labels"]),
        seconds=facts["seconds"],
    )
