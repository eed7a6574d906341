"""Published columns beside our own: each under its method and its source."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark._schemas import CLASSIFICATION
from tsmodels.benchmark.published import PUBLISHED, find_published, load_published
from tsmodels.benchmark.reports._data import Comparison, Frame, by_band

__all__ = ["Beside", "Request", "beside"]

Request = str | os.PathLike[str] | tuple[str | os.PathLike[str], Sequence[str]]


@dataclass(frozen=True, eq=False)
class Beside:
    """Published numbers for the data sets of a comparison.

    Attributes
    ----------
    table : DataFrame
        A row per data set of the comparison, a column per method and source, named "method (source)"; gaps are NaN.
    joint : DataFrame
        Ours and theirs on the data sets that all have; ours averaged over the runs on the archive's own split alone.
    protocols : dict
        By source, how its numbers were obtained.
    without_values : tuple of str
        Published columns that have none of our data sets.
    own_split : bool
        Whether ours hold runs on the archive's own split; without, `joint` is empty.
    """

    table: Frame
    joint: Frame
    protocols: dict[str, str]
    without_values: tuple[str, ...]
    own_split: bool


def beside(comparison: Comparison, requests: Sequence[Request]) -> Beside | None:
    """Return what was asked for of published tables, None for no request.

    Raises
    ------
    RequestError
        If there is no such table or method, two files would have one source, or the results are of another kind.
    """
    if not requests:
        return None
    import pandas as pd

    if comparison.schema is not CLASSIFICATION:
        raise RequestError("published tables hold accuracies of classifiers: leave out --published for other results.")
    columns: dict[str, Frame] = {}
    protocols: dict[str, str] = {}
    files: dict[str, Path] = {}
    for request in requests:
        name, methods = request if isinstance(request, tuple) else (request, ())
        path = find_published(name)
        for method, values, source, protocol in _columns(path, methods):
            if not files.setdefault(source, path).samefile(path):
                raise RequestError(
                    f"published: the columns of {str(files[source])!r} and {str(path)!r} would have one name, "
                    f"'... ({source})': rename one of the files."
                )
            columns[f"{method} ({source})"] = values
            protocols[source] = protocol
    table: Frame = pd.DataFrame(columns).reindex(comparison.means.index)
    empty = tuple(name for name in table.columns if table[name].isna().all())
    table = table.drop(columns=list(empty))
    ours = _on_own_split(comparison)
    joint = pd.concat([ours, table], axis=1).dropna()
    return Beside(table, joint, protocols, empty, own_split=not ours.empty)


def _columns(path: Path, methods: Sequence[str]) -> list[tuple[str, Frame, str, str]]:
    long = load_published(path)
    known = list(dict.fromkeys(long["method"]))
    if unknown := [method for method in methods if method not in known]:
        raise RequestError(
            f"published: {path.name} has no method {', '.join(map(repr, unknown))}. It has {', '.join(known)}."
        )
    stem, protocol = str(long["source"].iloc[0]), str(long["protocol"].iloc[0])
    label = PUBLISHED[stem].label if stem in PUBLISHED else stem
    chosen = methods or known
    return [(each, long[long["method"] == each].set_index("dataset")["value"], label, protocol) for each in chosen]


def _on_own_split(comparison: Comparison) -> Frame:
    """Return our means over the runs on the archive's own split, which published numbers are of."""
    cells = comparison.cells
    chosen = cells[(cells["status"] == "finished") & (cells["resample"].fillna(0) == 0)]
    means = by_band(chosen, comparison.main.name)
    bands = [band for band in comparison.bands if band in means.index]
    return means.reindex(index=bands, columns=comparison.means.columns)
