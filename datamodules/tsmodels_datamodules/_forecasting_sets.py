"""The data sets of the long-horizon forecasting literature and of two competitions, with their customary splits."""

from __future__ import annotations

import difflib
import gzip
import hashlib
import http.client
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tsmodels_datamodules._archive import DataNotFoundError, _data_roots
from tsmodels_datamodules._download import _fetch, _reason, cache_root

_FOLDER = "forecasting"
_ETT_URL = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small"
_ETT_COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
_MONTH = 30 * 24  # hours of the ETT sets' months


@dataclass(frozen=True)
class ForecastingSet:
    """Where a data set is found, how it is read, and how it is split.

    Attributes
    ----------
    files : tuple of tuple of str
        Alternatives, each a complete set of files.
    read : callable
        From the paths of one alternative to a frame.
    split : tuple
        As for :class:`WindowDataModule`.
    n_rows : int or None
        The literature leaves out what comes after.
    columns : tuple of str
        Names for files without any.
    url, md5 : str or None
        A public copy of the first alternative, and its checksum; None where no public checksum is known.
    """

    files: tuple[tuple[str, ...], ...]
    read: Callable[..., pd.DataFrame]
    split: tuple[float, float, float] | tuple[int, int]
    n_rows: int | None = None
    columns: tuple[str, ...] = ()
    url: str | None = None
    md5: str | None = None


def _read_table(files: list[Path], columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a table of one series, with dates and a header or of values only."""
    (file,) = files
    if file.suffix == ".txt":
        values = np.loadtxt(file, delimiter=",", ndmin=2)
        return pd.DataFrame(values, columns=list(columns) if columns else [str(i) for i in range(values.shape[1])])
    frame = pd.read_csv(file)
    if "date" not in frame:
        raise ValueError(f"{file} has no column 'date' but {list(frame.columns)[:5]}: it is not the common file.")
    dates = pd.DatetimeIndex(pd.to_datetime(frame.pop("date")))
    freq = pd.infer_freq(dates)
    if freq is None:  # the published protocols count rows, whatever the gaps between them
        return frame
    return frame.set_index(pd.DatetimeIndex(dates, freq=freq, name="date"))


def _read_m4(files: list[Path], columns: tuple[str, ...]) -> pd.DataFrame:
    """Read the training and the test file of one frequency: a series a row, its name first, empty beyond its end."""
    train, test = (pd.read_csv(file, index_col=0) for file in files)
    values = np.concatenate([train.to_numpy(float), test.loc[train.index].to_numpy(float)], axis=1)
    return _long({str(name): row[~np.isnan(row)] for name, row in zip(train.index, values, strict=True)})


def _read_m3(period: str) -> Callable[..., pd.DataFrame]:
    """Return the reader of the series of one frequency: a JSON object a line, past ``x`` and future ``xx``."""

    def read(files: list[Path], columns: tuple[str, ...]) -> pd.DataFrame:
        (file,) = files
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        return _long({one["id"]: np.array(one["x"] + one["xx"]) for one in records if one["period"] == period})

    return read


def _long(series: dict[str, np.ndarray]) -> pd.DataFrame:
    lengths = [len(values) for values in series.values()]
    index = pd.MultiIndex.from_arrays(
        [np.repeat(list(series), lengths), np.concatenate([np.arange(n) for n in lengths])], names=["series", "time"]
    )
    return pd.DataFrame({"y": np.concatenate(list(series.values()))}, index=index)


def _ett(name: str, per_hour: int, md5: str) -> ForecastingSet:
    month = _MONTH * per_hour
    return ForecastingSet(
        ((f"{name}.csv",), (f"{name}_values.txt",)),
        _read_table,
        (12 * month, 16 * month),
        20 * month,
        _ETT_COLUMNS,
        f"{_ETT_URL}/{name}.csv",
        md5,
    )


def _long_horizon(name: str) -> ForecastingSet:
    return ForecastingSet(((f"{name}.csv",), (f"{name}_values.txt",)), _read_table, (0.7, 0.1, 0.2))


def _m3(period: str, horizon: int) -> ForecastingSet:
    return ForecastingSet((("M3.jsonl.gz",),), _read_m3(period), (-2 * horizon, -horizon))


FORECASTING_SETS = {
    "ETTh1": _ett("ETTh1", 1, "8381763947c85f4be6ac456c508460d6"),
    "ETTh2": _ett("ETTh2", 1, "51a229a3fc13579dd939364fefe9c7ab"),
    "ETTm1": _ett("ETTm1", 4, "82d6bd89109c63d075d99c1077b33f38"),
    "ETTm2": _ett("ETTm2", 4, "7687e47825335860bf58bccb31be0c56"),
    "weather": _long_horizon("weather"),
    "exchange_rate": _long_horizon("exchange_rate"),
    "national_illness": _long_horizon("national_illness"),
    "M4-Hourly": ForecastingSet((("M4-Hourly-train.csv", "M4-Hourly-test.csv"),), _read_m4, (-96, -48)),
    "M3-Yearly": _m3("YEARLY", 6),
    "M3-Quarterly": _m3("QUARTERLY", 8),
    "M3-Monthly": _m3("MONTHLY", 18),
    "M3-Other": _m3("OTHER", 8),
}


def load_forecasting_set(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, download: bool = True
) -> pd.DataFrame:
    """Read a data set of the forecasting literature.

    Parameters
    ----------
    name : str
        ``"ETTh1"``, ``"ETTh2"``, ``"ETTm1"``, ``"ETTm2"``, ``"weather"``, ``"exchange_rate"``, ``"national_illness"``,
        ``"M4-Hourly"``, ``"M3-Yearly"``, ``"M3-Quarterly"``, ``"M3-Monthly"`` or ``"M3-Other"``.
    data_dir : path, optional
        Folder to look in first.
    download : bool
        Whether to download a data set that is not on this machine; the ETT sets only, as for the others no public
        checksum is known.

    Returns
    -------
    DataFrame
        Rows = time, columns = channels; indexed by date where the file has dates at a regular step. Of the competitions
        (series, time) x 1: the training part of each series and, at its end, its test part. The ETT sets end after the
        20 months that the literature uses.

    Raises
    ------
    DataNotFoundError
        If the data set is nowhere; the message says where it was looked for and where to put it.
    ValueError
        If the name is unknown.

    Notes
    -----
    Looked in, in this order: `data_dir`; the folder the environment variable ``TSMODELS_DATA`` names; the cache folder,
    which ``TSMODELS_CACHE`` names (by default ``tsmodels`` in the user's cache folder). In each, the files lie in
    ``forecasting`` or in the folder itself.

    Faults of the files, left as they are, since published numbers were computed on them: in the common
    ``exchange_rate.csv`` the last two columns are swapped; in ``weather`` a missing value is -9999.
    """
    spec = forecasting_set(name)
    return spec.read(find_forecasting_set(name, data_dir=data_dir, download=download), spec.columns).iloc[: spec.n_rows]


def find_forecasting_set(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, download: bool = True
) -> list[Path]:
    """Return the files of a data set, after a download if need be; see :func:`load_forecasting_set`."""
    spec = forecasting_set(name)
    roots = _data_roots(data_dir)
    for folder in (place for root in roots for place in (root / _FOLDER, root)):
        for files in spec.files:
            paths = [folder / file for file in files]
            if all(path.is_file() for path in paths) and _is_whole(paths, spec):
                return paths
    if spec.url is None or spec.md5 is None:
        outcome = "It cannot be downloaded, as no public copy with a checksum is known."
    elif not download:
        outcome = "It was not downloaded, as download=False."
    else:
        try:
            return [_download(spec.url, spec.md5, cache_root() / _FOLDER)]
        except (OSError, http.client.HTTPException) as error:
            outcome = f"The download from {spec.url} failed: {_reason(error)}."
    alternatives = " or ".join(" and ".join(files) for files in spec.files)
    raise DataNotFoundError(
        f"the data set {name!r} was not found in {', '.join(map(str, roots))}. {outcome} To use it, put {alternatives} "
        f"into {cache_root() / _FOLDER}, or into a folder passed as data_dir or in the environment variable "
        f"TSMODELS_DATA."
    )


def forecasting_set(name: str) -> ForecastingSet:
    if name in FORECASTING_SETS:
        return FORECASTING_SETS[name]
    known = {known.lower(): known for known in FORECASTING_SETS}
    near = [known[match] for match in difflib.get_close_matches(str(name).lower(), known, n=3)]
    raise ValueError(
        f"name must be one of {', '.join(map(repr, FORECASTING_SETS))}, got {name!r}."
        + (f" Did you mean {near[0]!r}?" if near else "")
    )


def _is_whole(paths: list[Path], spec: ForecastingSet) -> bool:
    """Return whether files are as they were downloaded; what was put elsewhere by hand is taken as it is."""
    downloaded = spec.md5 is not None and paths == [cache_root() / _FOLDER / spec.files[0][0]]
    return not downloaded or _md5(paths[0]) == spec.md5


def _md5(path: Path) -> str:
    with path.open("rb") as file:  # to notice damage, not an attack
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _download(url: str, md5: str, folder: Path) -> Path:
    """Download a file into `folder`, where it appears by one rename, and return its path."""
    target = folder / url.rpartition("/")[2]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=folder)
    except OSError as error:
        raise OSError(f"cannot write to the cache folder {folder} ({error}); set TSMODELS_CACHE to another") from error
    with scratch as staged:
        path = Path(staged) / target.name
        _fetch(url, path)
        if (found := _md5(path)) != md5:
            raise OSError(f"the file has the MD5 checksum {found}, expected {md5}")
        path.replace(target)
    return target
