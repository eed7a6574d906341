"""What a report says: means over runs, the data sets that all methods have, and why others are left out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark._schemas import (
    BACKTEST,
    CHAOS,
    CLASSIFICATION,
    LONG_HORIZON,
    RECONSTRUCTION,
    Schema,
    schema_of_record,
)
from tsmodels.benchmark.results import read_cells, summarise, to_frame

__all__ = [
    "MEASURES",
    "Comparison",
    "Failure",
    "Frame",
    "LeftOut",
    "Measure",
    "by_band",
    "collect",
    "summary_of",
    "wins_of",
]

Frame = Any  # a DataFrame or Series: pandas brings no annotations that a type checker can follow

_TIE_DIGITS = 12


@dataclass(frozen=True)
class Measure:
    """How a measure is written.

    Attributes
    ----------
    name : str
        Its column.
    heading : str
    lower_is_better : bool or None
        None where neither is: nothing is set in bold.
    digits : int
    """

    name: str
    heading: str
    lower_is_better: bool | None = False
    digits: int = 3

    @property
    def words(self) -> str:
        """The heading inside a sentence."""
        return self.heading.lower() if self.heading.lower().endswith("accuracy") else self.heading


MEASURES = {
    CLASSIFICATION.task: (
        Measure("accuracy", "Accuracy"),
        Measure("balanced_accuracy", "Balanced accuracy"),
        Measure("f1", "F1"),
        Measure("auroc", "AUROC"),
        Measure("log_loss", "Log loss", lower_is_better=True),
    ),
    # not RMSE: it is in the units of each series, its mean over series says nothing
    BACKTEST.task: (
        Measure("mase", "MASE", lower_is_better=True),
        Measure("smape", "sMAPE (%)", lower_is_better=True, digits=2),
        Measure("coverage_90", "Coverage of 90 %", lower_is_better=None),
    ),
    LONG_HORIZON.task: (
        Measure("mse", "MSE", lower_is_better=True),
        Measure("mae", "MAE", lower_is_better=True),
    ),
    CHAOS.task: (
        Measure("smape", "sMAPE (0 to 200)", lower_is_better=True, digits=2),
        Measure("valid_time", "Valid time (Lyapunov times)", digits=2),
    ),
}


@dataclass(frozen=True)
class Failure:
    """A cell that failed."""

    band: str
    method: str
    seed: str
    resample: str
    error: str


@dataclass(frozen=True)
class LeftOut:
    """A data set that is in no rank, mean or test over data sets, and why."""

    band: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The cells of a benchmark, averaged over their runs.

    Attributes
    ----------
    schema : Schema
    measures : tuple of Measure
        Those that any cell has; methods are compared by the first.
    cells : DataFrame
        A row per cell, with ``band`` (data set, with the horizon where there is one) and ``method``.
    means, spreads : DataFrame
        Of the first measure: a row per band, a column per method; the spread is the standard deviation over runs.
    left_out : tuple of LeftOut
    without_result : tuple of str
        Methods that finished nothing at all: compared with nothing.
    failures : tuple of Failure
    records : list of dict
        The cells' files.
    """

    schema: Schema
    measures: tuple[Measure, ...]
    cells: Frame
    means: Frame
    spreads: Frame
    left_out: tuple[LeftOut, ...]
    without_result: tuple[str, ...]
    failures: tuple[Failure, ...]
    records: list[dict[str, Any]]

    @property
    def main(self) -> Measure:
        """What methods are compared by."""
        return self.measures[0]

    @property
    def lower_is_better(self) -> bool:
        """Whether the main measure is an error."""
        return bool(self.main.lower_is_better)

    @property
    def bands(self) -> list[str]:
        """The data sets that all methods have, in the order of the results."""
        gone = {each.band for each in self.left_out}
        return [band for band in self.means.index if band not in gone]

    @property
    def complete(self) -> Frame:
        """The means of those."""
        return self.means.loc[self.bands]


def collect(folder: Path) -> Comparison:
    """Read the cells of a benchmark and average over their runs.

    Raises
    ------
    FileNotFoundError
        If the folder is not the output of a benchmark.
    RequestError
        If there is nothing to compare in it.
    """
    records = read_cells(folder)
    schema = _only_schema(records, folder)
    cells = _labelled(to_frame(records), schema)
    if "resample" not in cells:  # results of earlier versions
        cells["resample"] = 0
    if not (cells["status"] == "finished").any():
        raise RequestError(
            f"no cell in {str(folder)!r} has finished: there is nothing to report. {_first_error(records)}"
        )
    present = [each for each in MEASURES[schema.task] if each.name in cells and cells[each.name].notna().any()]
    finished = cells[cells["status"] == "finished"]
    order = list(dict.fromkeys(cells["band"]))
    methods = list(dict.fromkeys(cells["method"]))
    with_result = [method for method in methods if (finished["method"] == method).any()]
    means = by_band(finished, present[0].name).reindex(index=order, columns=with_result)
    spreads = by_band(finished, present[0].name, "std").reindex(index=order, columns=with_result)
    left_out = tuple(_left_out(cells, order, with_result, present[0].name))
    without_result = tuple(method for method in methods if method not in with_result)
    return Comparison(
        schema, tuple(present), cells, means, spreads, left_out, without_result, tuple(_failures(cells)), records
    )


def by_band(cells: Frame, measure: str, how: str = "mean") -> Frame:
    """Return a measure over runs: a row per band, a column per method."""
    return cells.pivot_table(index="band", columns="method", values=measure, aggfunc=how, sort=False)  # type: ignore[arg-type]


def _only_schema(records: Sequence[dict[str, Any]], folder: Path) -> Schema:
    if not records:
        raise RequestError(f"{str(folder)!r} holds no finished or failed cell yet: there is nothing to report.")
    tasks = {schema.task: schema for record in records if (schema := schema_of_record(record)) is not None}
    if len(tasks) > 1:
        raise RequestError(
            f"{str(folder)!r} holds results of several kinds ({', '.join(sorted(tasks))}), which no table can compare: "
            "give each kind an output folder of its own."
        )
    schema = next(iter(tasks.values()))
    if schema is RECONSTRUCTION:
        raise RequestError(
            "reports rank classifiers and forecasters by one measure; reconstructed dynamics are judged by several at "
            f"once, and have their table in {str(folder / 'results.md')!r}."
        )
    return schema


def _labelled(results: Frame, schema: Schema) -> Frame:
    """Add the names of bands and methods; a configuration stands in the name where a model has several."""
    labels: Frame = summarise(results)[["dataset", *schema.keys, "model", "configuration", "label"]]
    keys = ["dataset", *schema.keys, "model", "configuration"]
    cells = results.merge(labels.drop_duplicates(keys), on=keys, how="left").rename(columns={"label": "method"})
    cells["band"] = [_band_name(row, schema) for row in cells.to_dict("records")]
    return cells


def _band_name(row: dict[Any, Any], schema: Schema) -> str:
    if schema is BACKTEST:
        return f"{row['dataset']}, {row['n_cutoffs']} x {row['horizon']} steps"
    if schema is LONG_HORIZON:
        return f"{row['dataset']}, {row['lookback']} to {row['horizon']}"
    return str(row["dataset"])


def _left_out(cells: Frame, bands: Sequence[str], methods: Sequence[str], measure: str) -> Iterable[LeftOut]:
    for band in bands:
        here = cells[cells["band"] == band]
        of_methods = {method: here[here["method"] == method] for method in methods}
        resamples = {method: _resamples(rows) for method, rows in of_methods.items()}
        most = max(resamples.values(), key=len)
        reasons = []
        for method, rows in of_methods.items():
            n_failed = int((rows["status"] == "failed").sum())
            if rows.empty:
                reasons.append(f"{method} was not run")
            elif n_failed:
                reasons.append(f"{method} failed in {n_failed} of {len(rows)} runs")
            elif rows[measure].isna().any():
                reasons.append(f"{method} has no {measure}")
            elif resamples[method] != most:
                numbers = ", ".join(map(str, resamples[method])) or "none"
                reasons.append(f"{method} has only resamples {numbers}")
        if reasons:
            yield LeftOut(band, tuple(reasons))


def _resamples(rows: Frame) -> list[int]:
    finished = rows.loc[rows["status"] == "finished", "resample"]
    return sorted({int(number) for number in finished.fillna(0)})


def _failures(cells: Frame) -> Iterable[Failure]:
    for row in cells[cells["status"] == "failed"].to_dict("records"):
        seed = "" if row["seed"] is None or row["seed"] != row["seed"] else str(row["seed"])
        seed = "" if seed == "<NA>" else seed
        resample = "" if str(row["resample"]) in ("<NA>", "nan") else str(int(row["resample"]))
        yield Failure(row["band"], row["method"], seed, resample, str(row["error"]))


def _first_error(records: Iterable[dict[str, Any]]) -> str:
    return next((f"The first error: {record['error']}" for record in records if record["error"]), "")


def wins_of(table: Frame, *, lower_is_better: bool) -> Frame:
    """Return on how many data sets each method is the best, alone or together with others."""
    rounded = (-table if lower_is_better else table).round(_TIE_DIGITS)
    return (rounded.rank(axis=1, method="min", ascending=False) == 1).sum()


def summary_of(comparison: Comparison) -> Frame:
    """Return one row per method over the complete data sets, the best average rank first.

    Columns: the measures, ``spread`` (mean over data sets of the standard deviation of the main measure over runs),
    ``average_rank`` and ``wins`` (missing for a single method), ``fit_seconds``, ``predict_seconds``. A secondary
    measure is missing for a method that lacks it on any of these data sets: its mean would be over other data sets.
    """
    import pandas as pd

    from tsmodels.benchmark.statistics import average_ranks

    bands, cells = comparison.bands, comparison.cells
    finished = cells[(cells["status"] == "finished") & cells["band"].isin(bands)]
    methods = list(comparison.means.columns)
    rows: dict[str, Frame] = {}
    for name in (*(each.name for each in comparison.measures), "fit_seconds", "predict_seconds"):
        wide = by_band(finished, name).reindex(index=bands, columns=methods)
        rows[name] = wide.mean(skipna=False) if bands else wide.mean()
    rows["spread"] = comparison.spreads.loc[bands].mean(skipna=False)
    summary = pd.DataFrame(rows).reindex(methods)
    summary["average_rank"], summary["wins"] = float("nan"), float("nan")
    if bands and len(methods) > 1:
        lower = comparison.lower_is_better
        summary["average_rank"] = average_ranks(comparison.complete, lower_is_better=lower)
        summary["wins"] = wins_of(comparison.complete, lower_is_better=lower)
    return summary.sort_values("average_rank", kind="stable")
