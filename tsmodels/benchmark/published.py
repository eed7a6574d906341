"""Published tables of results, each under the name of its source.

The tables are no part of this package. They are looked for in the folder ``published`` beside the one that
``TSMODELS_DATA`` names, or read from a path.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tsmodels.benchmark._errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PUBLISHED", "Source", "find_published", "load_published"]


@dataclass(frozen=True)
class Source:
    """Where a published table comes from.

    Attributes
    ----------
    label : str
        Short, to stand behind the names of its methods.
    protocol : str
        How its numbers were obtained, as far as is known.
    resample : int or None
        0 is the archive's own split.
    """

    label: str
    protocol: str
    resample: int | None = 0


PUBLISHED = {
    "uea_bakeoff_default_split": Source("UEA bake-off", "results of tsml-eval, default split (resample 0)"),
    "ucr_bakeoff_default_split": Source("UCR bake-off", "results of tsml-eval, default split (resample 0)"),
    "uea30_mambasl_iclr2026": Source(
        "MambaSL", "table of MambaSL (ICLR 2026), default split; epochs and hyperparameters selected on the test set"
    ),
    "uea30_shapeformer_kdd2024": Source(
        "ShapeFormer",
        "table of ShapeFormer (KDD 2024), default split; best epoch on the test set, baselines quoted",
    ),
}
_UNKNOWN_PROTOCOL = "not stated in the file"


def load_published(name_or_path: str | os.PathLike[str]) -> pd.DataFrame:
    """Return a published table of accuracies.

    Parameters
    ----------
    name_or_path : str or path
        One of "uea_bakeoff_default_split", "ucr_bakeoff_default_split", "uea30_mambasl_iclr2026",
        "uea30_shapeformer_kdd2024", found in ``$TSMODELS_DATA/../published``; or a CSV file of the same shape: data
        sets in the first column, called ``dataset``, and a column for each method; gaps are empty.

    Returns
    -------
    DataFrame
        A row per data set and method that has a value. Columns: ``dataset``, ``method``, ``value`` (0 to 1; a table
        with a value above 1 is in percent), ``measure`` ("accuracy"), ``resample`` (0: the archive's own split; missing
        if unknown), ``source`` (the name of the table) and ``protocol``. Numbers of one method from two sources differ,
        by up to 0.84: concatenate tables, but never drop ``source``.

    Raises
    ------
    RequestError
        If there is no such table, or it has another shape.

    Examples
    --------
    >>> from tsmodels.benchmark.published import load_published
    >>> table = load_published("uea_bakeoff_default_split")  # doctest: +SKIP
    """
    import pandas as pd

    path = find_published(name_or_path)
    try:
        wide = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' own parser errors are ValueErrors
        raise RequestError(f"published: cannot read {str(path)!r}: {error}") from error
    _check_shape(wide, path)
    methods = [name for name in wide.columns if name != "dataset"]
    if wide[methods].max().max() > 1:
        wide[methods] = wide[methods] / 100
    source = PUBLISHED.get(path.stem, Source(path.stem, _UNKNOWN_PROTOCOL, None))
    long = wide.melt("dataset", var_name="method", value_name="value").dropna(subset=["value"])
    if long.empty:
        raise RequestError(f"published: {str(path)!r} holds no values.")
    long = long.assign(measure="accuracy", resample=source.resample, source=path.stem, protocol=source.protocol)
    return long.astype({"resample": "Int64"}).reset_index(drop=True)


def find_published(name_or_path: str | os.PathLike[str]) -> Path:
    """Return the file of a published table.

    Parameters
    ----------
    name_or_path : str or path
        As for :func:`load_published`.

    Returns
    -------
    Path

    Raises
    ------
    RequestError
        If there is no such file.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    name = path.name.removesuffix(".csv")
    if name not in PUBLISHED:
        known = ", ".join(PUBLISHED)
        raise RequestError(f"published: there is no file {str(name_or_path)!r}, and it is none of the names {known}.")
    data = os.environ.get("TSMODELS_DATA")
    if not data:
        raise RequestError(
            f"published: the table {name} is no part of this package. Name the file itself, or set TSMODELS_DATA to "
            "the folder beside the folder 'published' that holds it."
        )
    found = Path(data).resolve().parent / "published" / f"{name}.csv"
    if not found.is_file():
        raise RequestError(f"published: the table {name} was looked for at {str(found)!r}, and is not there.")
    return found


def _check_shape(wide: pd.DataFrame, path: Path) -> None:
    if "dataset" not in wide.columns or len(wide.columns) < 2:
        raise RequestError(f"published: {str(path)!r} must have a column 'dataset' and one for each method.")
    names = wide["dataset"].astype(str).tolist()
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise RequestError(f"published: {str(path)!r} must name every data set once: {', '.join(twice)}.")
    texts = [name for name in wide.columns if name != "dataset" and wide[name].dtype.kind not in "fiu"]
    if texts:
        raise RequestError(f"published: {str(path)!r} must hold numbers: {', '.join(map(str, texts))} has texts.")
    values = wide.drop(columns="dataset").to_numpy(dtype=float)
    if bool(((values < 0) | (values > 100)).any()):
        raise RequestError(f"published: {str(path)!r} must hold accuracies, 0 to 1 or 0 to 100.")
