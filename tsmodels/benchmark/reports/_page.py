"""The page of a report: one HTML file that loads nothing from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from tsmodels.benchmark.reports import _notes as notes
from tsmodels.benchmark.reports._data import Comparison
from tsmodels.benchmark.reports._figures import FEWEST_DATASETS, Picture
from tsmodels.benchmark.reports._grids import dataset_grid, failure_grid, joint_grid, summary_grid
from tsmodels.benchmark.reports._published import Beside
from tsmodels.benchmark.reports._style import SCRIPT, STYLE

__all__ = ["page"]

_LEAST_SHARE = 0.72  # of its size to which a picture shrinks before it scrolls
_LONGEST_OPEN = 12  # errors told in full without being asked for


def page(
    title: str,
    comparison: Comparison,
    beside: Beside | None,
    pictures: Sequence[Picture],
    joint: Sequence[Picture],
    files: Sequence[str],
) -> str:
    """Return the page.

    Parameters
    ----------
    title : str
    comparison : Comparison
    beside : Beside or None
    pictures, joint : sequence of Picture
        Of our methods, and of ours with published ones.
    files : sequence of str
        Names of the files that lie beside the page.
    """
    sections = list(_sections(comparison, beside, pictures, joint))
    links = "".join(f'<a href="#{name}">{escape(heading)}</a>' for name, heading, _ in sections)
    body = "".join(
        f'<section id="{name}"><h2>{escape(heading)}</h2>{content}</section>' for name, heading, content in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f"<header><div><h1>{escape(title)}</h1><p class='lead'>{escape(_lead(comparison))}</p>"
        f"{_figures(comparison)}<nav>{links}</nav></div></header><main>{body}"
        f"<footer>{escape(_footer(files))}</footer></main><script>{SCRIPT}</script></body></html>\n"
    )


def _lead(comparison: Comparison) -> str:
    kinds = {"classification": "Time-series classification", "chaos": "Forecasts of chaotic systems"}
    kind = kinds.get(comparison.schema.task, "Time-series forecasting")
    better = "lower" if comparison.lower_is_better else "higher"
    return f"{kind}, compared by {comparison.main.words} ({better} is better). {notes.incomplete(comparison)}"


def _figures(comparison: Comparison) -> str:
    items = []
    for number, words in notes.counts(comparison):
        kind = ' class="bad"' if words.startswith("failed") and number != "0" else ""
        items.append(f"<li{kind}><b>{escape(number)}</b><span>{escape(words)}</span></li>")
    return f'<ul class="facts">{"".join(items)}</ul>'


def _footer(files: Sequence[str]) -> str:
    return f"Written by tsmodels. In the same folder: {', '.join(files)}."


def _sections(
    comparison: Comparison, beside: Beside | None, pictures: Sequence[Picture], joint: Sequence[Picture]
) -> Iterator[tuple[str, str, str]]:
    """Yield anchor, heading and content."""
    yield "summary", "Summary", _summary(comparison)
    if pictures:
        yield "pictures", "Comparison", "".join(map(_picture, pictures)) + _too_few(comparison)
    yield "datasets", "Data sets", _datasets(comparison, beside)
    if beside is not None:
        yield "published", "With published results", _published(comparison, beside, joint)
    if comparison.failures:
        yield "failures", "Failed runs", _failures(comparison)
    yield "method", "How these numbers came about", _facts(comparison)


def _notes(lines: Iterable[str]) -> str:
    return f'<ul class="note">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>'


def _summary(comparison: Comparison) -> str:
    table = summary_grid(comparison).html("Methods over the complete data sets") if comparison.bands else ""
    return table + _left_out(comparison) + _notes(notes.summary_notes(comparison))


def _left_out(comparison: Comparison) -> str:
    if not comparison.left_out:
        return ""
    n = len(comparison.left_out)
    items = "".join(
        f"<li><b>{escape(each.band)}</b>: {escape('; '.join(each.reasons))}</li>" for each in comparison.left_out
    )
    words = f"{n} data set{'' if n == 1 else 's'} left out of ranks, means and tests"
    state = " open" if n <= _LONGEST_OPEN else ""
    return f'<div class="warning"><details{state}><summary>{words}</summary><ul>{items}</ul></details></div>'


def _too_few(comparison: Comparison) -> str:
    n = len(comparison.bands)
    if comparison.means.shape[1] < 2:
        return _notes(["One method: there is nothing to compare it with."])
    if n >= FEWEST_DATASETS:
        return ""
    return _notes(
        [
            f"No critical-difference diagram: {n} complete data sets are fewer than the {FEWEST_DATASETS} with which a "
            "two-sided signed-rank test can show a difference at 0.05 at all."
        ]
    )


def _picture(picture: Picture) -> str:
    least = round(_LEAST_SHARE * 96 * picture.figure.get_size_inches()[0])
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
    return (
        f"<h3>{escape(picture.title)}</h3><figure>"
        f'<div class="picture" style="--least:{least}px">{picture.drawing()}</div>{caption}</figure>'
    )


def _datasets(comparison: Comparison, beside: Beside | None) -> str:
    caption = f"{comparison.main.heading} by data set"
    return dataset_grid(comparison, beside).html(caption) + _notes(notes.dataset_notes(comparison, beside))


def _published(comparison: Comparison, beside: Beside, joint: Sequence[Picture]) -> str:
    text = _notes(notes.joint_notes(comparison, beside))
    if beside.joint.empty:
        return text + _notes(["There is no data set that all of them have."])
    return joint_grid(comparison, beside).html("Ours and published methods") + text + "".join(map(_picture, joint))


def _failures(comparison: Comparison) -> str:
    text = failure_grid(comparison).html("Failed runs", pinned=False).replace("sortable", "sortable wrap", 1)
    whole = "".join(
        f"<details><summary>{escape(each.method)} on {escape(each.band)}</summary>"
        f"<pre>{escape(each.error)}</pre></details>"
        for each in comparison.failures
        if "\n" in each.error.strip() or len(each.error) > 200
    )
    return text + whole + _notes(["A failed run is in no mean; its data set is left out of the summary."])


def _facts(comparison: Comparison) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in notes.facts(comparison) if text)
    return f"<dl>{rows}</dl>"
