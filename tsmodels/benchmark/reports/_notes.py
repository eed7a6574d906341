"""What stands around the tables of a report: how the numbers came about, and what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tsmodels.benchmark.reports._data import Comparison
from tsmodels.benchmark.reports._published import Beside

__all__ = ["counts", "dataset_notes", "facts", "incomplete", "joint_notes", "summary_notes"]

_MOST_NAMED = 12


def counts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the figures at the head of the page: number and what it counts."""
    finished = int((comparison.cells["status"] == "finished").sum())
    figures = [
        (_plural(comparison.cells["method"].nunique(), "method"), ""),
        (_plural(len(comparison.means), "data set"), ""),
        (_plural(finished, "finished run"), ""),
        (_plural(len(comparison.failures), "failed run"), ""),
    ]
    return [(text.split(" ", 1)[0], text.split(" ", 1)[1]) for text, _ in figures]


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def incomplete(comparison: Comparison) -> str:
    """Say over which data sets methods are compared."""
    n_all, n_left = len(comparison.means), len(comparison.left_out)
    methods = _plural(comparison.means.shape[1], "method")
    if not n_left:
        return f"All {n_all} data sets are complete for all {methods}." if n_all > 1 else "There is one data set."
    return (
        f"{n_all - n_left} of {n_all} data sets are complete for all {methods}. Ranks, means and tests are over these "
        f"alone; {n_left} {'is' if n_left == 1 else 'are'} left out, and no gap is filled."
    )


def summary_notes(comparison: Comparison) -> Iterator[str]:
    """Say how the summary is to be read."""
    main = comparison.main
    yield incomplete(comparison)
    runs = "runs (seeds and resamples)" if comparison.schema.draws else "runs (seeds)"
    text = f"Values are first averaged over the {runs} of a data set, then over data sets."
    if comparison.spreads.loc[comparison.bands].notna().any(axis=None):
        text += f" ± behind {main.words}: standard deviation over runs, averaged over data sets."
    yield text
    if comparison.means.shape[1] > 1:
        yield (
            "Average rank: 1 is best, ties share. Wins: data sets on which a method is the best, alone or with others. "
            "Bold: the best of a column."
        )
    yield "Times: mean of one fit, and of predicting the test cases of one data set."
    if runs := _unequal_runs(comparison):
        yield f"Methods were not all run equally often: {runs}."
    if comparison.without_result:
        yield f"Finished nothing, and are compared with nothing: {', '.join(comparison.without_result)}."


def _unequal_runs(comparison: Comparison) -> str:
    """Return the numbers of finished runs to a data set where methods that draw at random differ in it."""
    cells = comparison.cells
    seeded = cells[(cells["status"] == "finished") & cells["seed"].notna()]
    numbers = seeded.groupby(["method", "band"]).size()
    if numbers.nunique() <= 1:
        return ""
    spans = []
    for method, each in numbers.groupby(level="method"):
        low, high = int(each.min()), int(each.max())
        spans.append(f"{method} {low}" if low == high else f"{method} {low} to {high}")
    return ", ".join(spans)


def dataset_notes(comparison: Comparison, beside: Beside | None) -> Iterator[str]:
    """Say how the table of data sets is to be read."""
    main = comparison.main
    kind = "the lowest" if comparison.lower_is_better else "the highest"
    spread = " ± standard deviation" if comparison.spreads.notna().any(axis=None) else ""
    yield f"{main.heading}: mean{spread} over runs; bold: {kind} of this benchmark's."
    if comparison.left_out:
        yield "†: not complete, in no rank, mean or test over data sets."
    if beside is not None:
        yield (
            "Published numbers stand under the name of their source and are never mixed with those of another. They "
            "were obtained on other machines and under other protocols: "
            + "; ".join(f"{source}: {protocol}" for source, protocol in beside.protocols.items())
            + "."
        )
        if beside.without_values:
            yield f"Published, but not for these data sets: {', '.join(beside.without_values)}."


def joint_notes(comparison: Comparison, beside: Beside) -> Iterator[str]:
    """Say what ours and theirs are compared on."""
    if not beside.own_split:
        yield "Published numbers are for the archive's own split, on which nothing complete was run: no comparison."
        return
    n = len(beside.joint)
    yield (
        f"Over the {n} of {len(comparison.means)} data sets that all these methods have, on the archive's own split "
        "(resample 0); ours are means over seeds."
    )
    yield "Protocols differ (see below the table of data sets): a difference may be one of protocol, not of method."


def facts(comparison: Comparison) -> Iterator[tuple[str, str]]:
    """Yield how the numbers were obtained: name and text."""
    records = comparison.records
    yield "Protocol", " / ".join(_distinct(record.get("protocol") for record in records))
    seeds = _distinct(record["seed"] for record in records if record["seed"] is not None)
    yield "Seeds", _listed(sorted(map(int, seeds))) or "none: no model draws anything at random"
    if comparison.schema.draws:
        numbers = sorted({int(record.get("resample") or 0) for record in records})
        yield "Resamples", f"{_listed(numbers)} (0 is the archive's own split)"
    yield "Models", "; ".join(_distinct(_model(record) for record in records))
    yield "Versions", " / ".join(_distinct(_joined(record.get("versions")) for record in records))
    yield "Machine", " / ".join(_distinct(_joined(record.get("machine")) for record in records))
    times = sorted(str(record["finished_at"]) for record in records if record.get("finished_at"))
    if times:
        yield "Finished", times[0] if times[0] == times[-1] else f"{times[0]} to {times[-1]}"


def _distinct(values: Iterable[Any]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values if value not in (None, "")))


def _listed(numbers: list[int]) -> str:
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]} to {numbers[-1]}"
    shown = ", ".join(map(str, numbers[:_MOST_NAMED]))
    return shown + (f" and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else "")


def _model(record: dict[str, Any]) -> str:
    path = record.get("estimator")
    return f"{record['model']} ({path})" if path else record["model"]


def _joined(values: Any) -> str:
    if not isinstance(values, dict):
        return ""
    return ", ".join(f"{str(name).replace('_', ' ')} {value}" for name, value in values.items() if value is not None)
