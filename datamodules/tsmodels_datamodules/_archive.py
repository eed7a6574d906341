"""Data sets of the UCR and UEA archives by name."""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tsmodels_datamodules._download import CHECKSUMS, cache_root, download_set, is_whole, split_files
from tsmodels_datamodules._ts_format import read_ts

ARCHIVES = ("UCR", "UEA")


class DataNotFoundError(FileNotFoundError):
    """A data set is neither on this machine nor could it be downloaded."""


@dataclass(frozen=True, eq=False)
class ArchiveSet:
    """A data set with the archive's own split.

    Attributes
    ----------
    name : str
    X_train, X_test : ndarray (case, channel, time) or list of DataFrame
        sktime's ``numpy3D`` if all cases of both splits are of one length, else ``df-list``: a DataFrame per case, rows
        = time, columns = channels ``var_0``, ``var_1`` ... float64, NaN = missing.
    y_train, y_test : ndarray (case,) of str
        Class labels as they stand in the files.
    source : str
        The folder the files were read from.
    """

    name: str
    X_train: np.ndarray | list[pd.DataFrame]
    y_train: np.ndarray
    X_test: np.ndarray | list[pd.DataFrame]
    y_test: np.ndarray
    source: str


def load_archive(
    name: str, *, archive: str | None = None, data_dir: str | os.PathLike[str] | None = None, download: bool = True
) -> ArchiveSet:
    """Read a data set of the UCR or UEA archive, with its default split.

    Parameters
    ----------
    name : str
        As in the archive, for instance ``"BasicMotions"``.
    archive : {"UCR", "UEA"}, optional
        The sub-folder of a data folder to look in besides the folder itself. By default both.
    data_dir : path, optional
        Folder to look in first.
    download : bool
        Whether to download a data set that is not on this machine.

    Returns
    -------
    ArchiveSet

    Raises
    ------
    DataNotFoundError
        If the data set is nowhere; the message says where it was looked for, why the download failed, and lists similar
        names.
    ValueError
        If a name is no plain name, or a file is malformed or no classification problem.

    Notes
    -----
    Looked in, in this order: `data_dir`; the folder the environment variable ``TSMODELS_DATA`` names; the data bundled
    with sktime; the cache folder, which ``TSMODELS_CACHE`` names (by default ``tsmodels`` in the user's cache folder).
    In each, the files are ``<archive>/<name>/<name>_TRAIN.ts`` or ``<name>/<name>_TRAIN.ts``, and ``_TEST.ts``.
    Downloads go into the cache folder, where their checksums are kept and checked at each use.
    """
    folder = find_archive(name, archive=archive, data_dir=data_dir, download=download)
    (train, y_train), (test, y_test) = (read_ts(folder / file) for file in split_files(name))
    one_length = len({case.shape[1] for case in train + test}) == 1
    X_train, X_test = (np.stack(cases) if one_length else _df_list(cases) for cases in (train, test))
    return ArchiveSet(name, X_train, y_train, X_test, y_test, str(folder))


def find_archive(
    name: str,
    *,
    archive: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> Path:
    """Return the folder with the two files of a data set, after a download if need be; see :func:`load_archive`."""
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w-]*", name, flags=re.ASCII):
        raise ValueError(f"name must be the name of a data set, letters, digits, '_' and '-' only, got {name!r}.")
    if archive is not None and archive not in ARCHIVES:
        raise ValueError(f"archive must be one of {', '.join(map(repr, ARCHIVES))} or None, got {archive!r}.")
    roots = _data_roots(data_dir)
    places = [root / part / name for root in roots for part in (*([archive] if archive else ARCHIVES), "")]
    for folder in places:
        if is_whole(folder, name):
            return folder
    damaged = [folder for folder in places if (folder / CHECKSUMS).exists()]
    if not download:
        raise DataNotFoundError(_not_found(name, roots, damaged, "It was not downloaded, as download=False."))
    try:
        return download_set(name, cache_root())
    except OSError as error:
        raise DataNotFoundError(_not_found(name, roots, damaged, f"The download failed: {error}.")) from error


def _data_roots(data_dir: str | os.PathLike[str] | None) -> list[Path]:
    """Return the folders to look in, in order."""
    roots = []
    for source, given in (("data_dir", data_dir), ("TSMODELS_DATA", os.environ.get("TSMODELS_DATA"))):
        if given:
            root = Path(given).expanduser()
            if not root.is_dir():  # never fall back to other data than what was asked for
                raise DataNotFoundError(f"{source} is {str(given)!r}, which is no folder: correct it or leave it out.")
            roots.append(root)
    # found without importing sktime, which takes seconds
    if (sktime := importlib.util.find_spec("sktime")) and sktime.submodule_search_locations:
        roots.append(Path(sktime.submodule_search_locations[0]) / "datasets" / "data")
    return [*roots, cache_root()]


def _not_found(name: str, roots: list[Path], damaged: list[Path], outcome: str) -> str:
    from sktime.datasets.tsc_dataset_names import multivariate, univariate

    layouts = ("*/*_TRAIN.ts", "*/*/*_TRAIN.ts")
    local = {path.parent.name for root in roots for layout in layouts for path in root.glob(layout)}
    known = {known.lower(): known for known in {*univariate, *multivariate, *local}}
    near = [known[match] for match in difflib.get_close_matches(name.lower(), known, n=5, cutoff=0.6)]
    return " ".join(
        [
            f"the data set {name!r} was not found in {', '.join(map(str, roots))}.",
            *(f"The files in {folder} are damaged: they are not as downloaded." for folder in damaged),
            outcome,
            *([f"Similar names: {', '.join(near)}."] if near and name not in near else []),
            f"To use it offline, put {' and '.join(split_files(name))} into a folder {name!r} and pass its parent as "
            f"data_dir or in the environment variable TSMODELS_DATA.",
        ]
    )


def _df_list(cases: list[np.ndarray]) -> list[pd.DataFrame]:
    columns = [f"var_{channel}" for channel in range(len(cases[0]))]
    return [pd.DataFrame(case.T, columns=columns) for case in cases]
