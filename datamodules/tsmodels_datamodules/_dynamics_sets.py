"""Recorded and simulated series of the literature on reconstructing dynamical systems, with honest splits."""

from __future__ import annotations

import difflib
import functools
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tsmodels_datamodules._archive import DataNotFoundError, _data_roots
from tsmodels_datamodules._systems import SYSTEMS, make_trajectory

_FOLDER = "dynamics"


@dataclass(frozen=True, eq=False)
class DynamicsSet:
    """A series to reconstruct, in two parts.

    Attributes
    ----------
    name : str
    train, test : ndarray (time, channel), float64
    dt : float or None
        Time between two points in the time unit of the system, None where none is known.
    inputs, test_inputs : ndarray (time, n_inputs), float64, or None
        External inputs of the two parts.
    """

    name: str
    train: np.ndarray
    test: np.ndarray
    dt: float | None = None
    inputs: np.ndarray | None = None
    test_inputs: np.ndarray | None = None


@dataclass(frozen=True)
class _File:
    """Where the two parts of a data set lie in its file, and what is done to them."""

    train: str
    test: str
    dt: float | None
    split: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def _as_given(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return train, test


def _split_by_time(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split the first array, for files whose second is the same."""
    border = int(0.75 * len(train))
    return train[:border], train[border:]


def _without_start(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return train[500:], test[500:]


_FILES = {
    "ECG_pecuzal_5d": _File("train", "test", None, _as_given),
    "EEG": _File("train", "test", None, _split_by_time),
    "Lorenz63_GTF": _File("train_on005", "test", 0.01, _as_given),
    "Lorenz63_ALRNN": _File("train", "test", 0.01, _without_start),
}
_LORENZ96 = "Lorenz96"
DYNAMICS_SETS = (*_FILES, _LORENZ96)
# names the literature's file of Lorenz-96 goes by
_REFUSED = ("lorenz96_dendplrnn", "lorenz96_train", "lorenz96_test")


def load_dynamics_set(name: str, *, data_dir: str | os.PathLike[str] | None = None) -> DynamicsSet:
    """Read a data set of the literature on the reconstruction of dynamical systems.

    Parameters
    ----------
    name : str
        ``"ECG_pecuzal_5d"``: an electrocardiogram, delay-embedded into 5 channels; 100000 points and another 100000 for
        the test. ``"EEG"``: 64 electrodes, 9640 points. ``"Lorenz63_GTF"``, ``"Lorenz63_ALRNN"``: Lorenz-63 at a step
        of 0.01; the training part has 5 % observation noise, the test part none; 100000 and 99500 points each.
        ``"Lorenz96"``: 10 variables at a step of 0.04; 50000 points and the 25000 that follow, made here. The last two
        are not exactly standardised, which is left to the user.
    data_dir : path, optional
        Folder to look in first.

    Returns
    -------
    DynamicsSet

    Raises
    ------
    DataNotFoundError
        If the file is nowhere; the message says where it was looked for and where to put it.
    ValueError
        If the name is unknown, or the file is damaged.

    Notes
    -----
    Looked in, in this order: `data_dir`; the folder the environment variable ``TSMODELS_DATA`` names; sktime's data;
    the cache folder. In each, ``<name>.npz`` lies in ``dynamics`` or in the folder itself. ``"Lorenz96"`` needs no file
    but some seconds of integration, once in a process.

    Faults of the public files, and what is done about them here:

    * ``EEG``: the test file equals the training file. The training part is its first 75 %, the test part the rest;
      results published on that file are results on training data.
    * ``Lorenz63_ALRNN``: the first 500 points of both parts are dropped, as a transient.
    * Lorenz-96 of the dendritic PLRNN: its parts are sampled at different steps, 0.01 and 0.04, so no model of one
      can be right about the other. It is refused; ``"Lorenz96"`` is the same system at one step.
    """
    if name == _LORENZ96:
        return DynamicsSet(name, *(part.copy() for part in _lorenz96()), dt=SYSTEMS["lorenz96"].dt)
    if name not in _FILES:
        raise ValueError(_unknown(name))
    spec = _FILES[name]
    train, test = spec.split(*_read(_find(name, data_dir), spec))
    return DynamicsSet(name, train, test, spec.dt)


@functools.cache
def _lorenz96() -> tuple[np.ndarray, np.ndarray]:
    # statistics of the attractor are wanted, not one trajectory of it: a looser tolerance does
    states = make_trajectory("lorenz96", 75_000, rtol=1e-6, atol=1e-6)
    return states[:50_000], states[50_000:]


def _unknown(name: str) -> str:
    if str(name).lower() in _REFUSED:
        return (
            f"{name!r} is refused: its training part is sampled at a step of 0.01, its test part at 0.04, so the two "
            f"are different systems in discrete time. Use {_LORENZ96!r}, the same equations at one step."
        )
    known = {known.lower(): known for known in DYNAMICS_SETS}
    near = difflib.get_close_matches(str(name).lower(), known, n=1)
    hint = f" Did you mean {known[near[0]]!r}?" if near else ""
    return f"name must be one of {', '.join(map(repr, DYNAMICS_SETS))}, got {name!r}.{hint}"


def _find(name: str, data_dir: str | os.PathLike[str] | None) -> Path:
    roots = _data_roots(data_dir)
    for folder in (place for root in roots for place in (root / _FOLDER, root)):
        if (path := folder / f"{name}.npz").is_file():
            return path
    raise DataNotFoundError(
        f"the data set {name!r} was not found in {', '.join(map(str, roots))}. It is not downloaded, as it comes under "
        f"terms of its own. To use it, put {name}.npz, with the arrays {_FILES[name].train!r} and "
        f"{_FILES[name].test!r} (time, channel), into a folder {_FOLDER!r} of a folder that is passed as data_dir or "
        f"named by the environment variable TSMODELS_DATA."
    )


def _read(path: Path, spec: _File) -> tuple[np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            train, test = (arrays[key].astype(np.float64) for key in (spec.train, spec.test))
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged or another file ({type(error).__name__}: {error}): replace it.") from error
    for key, part in ((spec.train, train), (spec.test, test)):
        if part.ndim != 2 or part.shape[1] != train.shape[1] or not part.size or not np.isfinite(part).all():
            raise ValueError(f"{path} is not the expected file: its {key!r} is no finite array (time, channel).")
    return train, test
