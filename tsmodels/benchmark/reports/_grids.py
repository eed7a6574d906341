"""The tables of a report: summary, data sets, published columns, failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tsmodels.benchmark._markdown import first_line, seconds
from tsmodels.benchmark.reports._data import Comparison, Frame, Measure, summary_of, wins_of
from tsmodels.benchmark.reports._published import Beside
from tsmodels.benchmark.reports._tables import Column, Entry, Grid
from tsmodels.benchmark.statistics import average_ranks

__all__ = ["dataset_grid", "failure_grid", "joint_grid", "summary_grid"]

_GAP = Entry("–", faint=True)  # noqa: RUF001


def summary_grid(comparison: Comparison) -> Grid:
    """Return one row per method, over the data sets that all have."""
    summary = summary_of(comparison)
    several = len(summary) > 1
    columns = [Column("Method", numeric=False)]
    ranked = [("average_rank", "Average rank", 2, True), ("wins", "Wins", 0, False)] if several else []
    columns += [Column(heading) for _, heading, _, _ in ranked]
    columns += [Column(each.heading) for each in comparison.measures]
    columns += [
        Column("Fit (s)", hint="mean of one fit"),
        Column("Predict (s)", hint="mean of all test cases of a set"),
    ]
    parts = [[Entry(str(method)) for method in summary.index]]
    for name, _, digits, lower in ranked:
        parts.append(_numbers(summary[name], Measure(name, "", lower, digits)))
    for measure in comparison.measures:
        spread = summary["spread"] if measure is comparison.main else None
        parts.append(_numbers(summary[measure.name], measure, spread))
    for name in ("fit_seconds", "predict_seconds"):
        best = summary[name].min()
        parts.append(
            [
                _GAP if np.isnan(each) else Entry(seconds(each), each, strong=several and each == best)
                for each in summary[name]
            ]
        )
    return Grid(columns, list(zip(*parts, strict=True)))


def _numbers(values: Frame, measure: Measure, spreads: Frame | None = None) -> list[Entry]:
    numbers = np.asarray(values, dtype=float)
    widths = np.full(len(numbers), np.nan) if spreads is None else np.asarray(spreads, dtype=float)
    best = _best(numbers, measure.lower_is_better)
    entries = []
    for number, width, strong in zip(numbers, widths, best, strict=True):
        if np.isnan(number):
            entries.append(_GAP)
            continue
        text = f"{number:.{measure.digits}f}"
        if not np.isnan(width):
            text += f" ± {width:.{measure.digits}f}"
        entries.append(Entry(text, float(number), strong=bool(strong)))
    return entries


def _best(numbers: np.ndarray, lower_is_better: bool | None) -> np.ndarray:
    """Return which values are the best as they are; none where there is nothing to choose from."""
    if lower_is_better is None or np.isfinite(numbers).sum() < 2:
        return np.zeros(len(numbers), dtype=bool)
    best = np.nanmin(numbers) if lower_is_better else np.nanmax(numbers)
    return np.isclose(numbers, best, rtol=1e-12, atol=1e-12)


def dataset_grid(comparison: Comparison, beside: Beside | None) -> Grid:
    """Return one row per data set, the published columns behind ours, gaps shown; † marks the sets left out."""
    cells, means = comparison.cells, comparison.means
    left_out = {each.band: "; ".join(each.reasons) for each in comparison.left_out}
    published = beside.table if beside is not None else None
    group = "This run" if published is not None else ""
    columns = [Column("Data set", numeric=False), Column("Test cases")]
    columns += [Column(str(method), group=group) for method in means.columns]
    if published is not None:
        columns += [Column(str(method), group="Published, other protocols") for method in published.columns]
    rows = []
    for band in means.index:
        here = cells[cells["band"] == band]
        n_test = here["n_test"].max()
        name = Entry(f"{band} †", hint=left_out[band]) if band in left_out else Entry(str(band))
        row = [name, Entry(f"{int(n_test):,}", float(n_test)) if n_test == n_test else _GAP]
        numbers = _numbers(means.loc[band], comparison.main, comparison.spreads.loc[band])
        row += [
            _with_failures(entry, here[here["method"] == method])
            for method, entry in zip(means.columns, numbers, strict=True)
        ]
        if published is not None:
            plain = Measure("", "", None, comparison.main.digits)
            row += _numbers(published.loc[band], plain)
        rows.append(row)
    return Grid(columns, rows)


def _with_failures(entry: Entry, rows: Frame) -> Entry:
    """Say beside a method's value on a data set, or in its place, how many of its runs failed."""
    errors = [str(error) for error in rows["error"].dropna()]
    if errors and entry is _GAP:
        return Entry("failed", faint=True, hint=first_line(errors[0]))
    if errors:
        return replace(
            entry, text=f"{entry.text} ({len(rows) - len(errors)} of {len(rows)} runs)", hint=first_line(errors[0])
        )
    if entry is not _GAP:
        return entry
    return Entry("not run" if rows.empty else "–", faint=True)  # noqa: RUF001


def joint_grid(comparison: Comparison, beside: Beside) -> Grid:
    """Return ours and published methods over the data sets that all have."""
    joint = beside.joint
    ranks, wins, means = average_ranks(joint), wins_of(joint, lower_is_better=False), joint.mean()
    rows = []
    order: Sequence[str] = list(ranks.index)
    rank_entries = _numbers(ranks, Measure("", "", True, 2))
    win_entries = _numbers(wins.reindex(order), Measure("", "", False, 0))
    mean_entries = _numbers(means.reindex(order), comparison.main)
    for method, *entries in zip(order, rank_entries, win_entries, mean_entries, strict=True):
        ours = method in comparison.means.columns
        rows.append([Entry(str(method)), Entry("this run" if ours else "published"), *entries])
    columns = [Column("Method", numeric=False), Column("From", numeric=False), Column("Average rank"), Column("Wins")]
    return Grid([*columns, Column(f"Mean {comparison.main.heading.lower()}")], rows)


def failure_grid(comparison: Comparison) -> Grid:
    """Return the cells that failed."""
    columns = [Column(each, numeric=False) for each in ("Data set", "Method", "Seed", "Resample", "Error")]
    rows = [
        [Entry(each.band), Entry(each.method), Entry(each.seed), Entry(each.resample), Entry(first_line(each.error))]
        for each in comparison.failures
    ]
    return Grid(columns, rows)
