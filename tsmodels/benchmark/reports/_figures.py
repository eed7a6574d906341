"""The pictures of a report: as files, and as drawings that take on the colours of the page they stand in."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tsmodels.benchmark.reports._data import Comparison, Frame, summary_of
from tsmodels.benchmark.reports._published import Beside
from tsmodels.benchmark.statistics import Convention, average_ranks, critical_difference

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FEWEST_DATASETS", "Picture", "joint_pictures", "pictures"]

FEWEST_DATASETS = 6  # with fewer no two-sided signed-rank test can give a p-value below 0.05
_MOST_PANELS = 6
_MOST_IN_MATRIX = 15
_DOTS_PER_INCH = 150

_PAGE_COLOURS = {
    "#ffffff": "var(--surface)",
    "#000000": "var(--ink)",
    "#0072b2": "var(--blue)",
    "#d55e00": "var(--orange)",
    "#009e73": "var(--green)",
}


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure of a report.

    Attributes
    ----------
    name : str
        Of its files.
    title, caption : str
    figure : matplotlib.figure.Figure
    """

    name: str
    title: str
    caption: str
    figure: Figure

    def files(self) -> dict[str, bytes]:
        """Return the files by name."""
        return {f"{self.name}.png": self._saved("png"), f"{self.name}.svg": self._saved("svg")}

    def drawing(self) -> str:
        """Return an ``<svg>`` element for the page: its texts are texts, its colours those of the page's theme."""
        svg = self._saved("svg", fonts="none", transparent=True).decode()
        svg = svg[svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        # ids must differ between the drawings of a page
        svg = re.sub(r'\bid="([^"]+)"', rf'id="{self.name}-\1"', svg)
        svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{self.name}-", svg)
        svg = re.sub(r"#[0-9a-f]{6}\b", lambda found: _page_colour(found[0]), svg)
        svg = re.sub(r"(font(?:-family)?:[^;\"]*?)'DejaVu Sans'[^;\"]*", r"\g<1>system-ui, sans-serif", svg)
        width = self.figure.get_size_inches()[0] * 96
        return re.sub(r'width="[^"]+pt"', f'width="{width:.0f}"', svg, count=1).replace(
            "<svg ", f'<svg role="img" aria-label="{_attribute(self.title)}" ', 1
        )

    def _saved(self, kind: str, *, fonts: str = "path", transparent: bool = False) -> bytes:
        from matplotlib import rc_context

        buffer = io.BytesIO()
        # the salt makes the ids of a drawing the same in every run
        with rc_context({"svg.fonttype": fonts, "svg.hashsalt": self.name}):
            metadata = {"Date": None} if kind == "svg" else None
            self.figure.savefig(buffer, format=kind, dpi=_DOTS_PER_INCH, transparent=transparent, metadata=metadata)
        return buffer.getvalue()


def _page_colour(colour: str) -> str:
    if colour in _PAGE_COLOURS:
        return _PAGE_COLOURS[colour]
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    if not red == green == blue:
        return colour
    return "var(--muted)" if red < 0x73 else "var(--faint)" if red < 0xCC else "var(--line)"


def _attribute(text: str) -> str:
    from html import escape

    return escape(text)


def pictures(comparison: Comparison, convention: Convention) -> Iterator[Picture]:
    """Yield the pictures of our own methods that the results are enough for."""
    table, lower = comparison.complete, comparison.lower_is_better
    several = table.shape[1] > 1 and len(table) > 0
    if several and len(table) >= FEWEST_DATASETS:
        yield _diagram("critical-difference", table, convention, lower)
    if several:
        if table.shape[1] <= _MOST_IN_MATRIX:
            yield _matrix(table, comparison)
        best = [str(method) for method in average_ranks(table, lower_is_better=lower).index]
        yield _panels("pairs", table, best[0], best[1:], comparison)
    if len(table):
        yield _time(comparison)


def joint_pictures(comparison: Comparison, beside: Beside, convention: Convention) -> Iterator[Picture]:
    """Yield the pictures of our methods together with published ones."""
    joint = beside.joint
    if joint.empty or joint.shape[1] < 2:
        return
    ours, theirs = list(comparison.means.columns), list(beside.table.columns)
    if len(joint) >= FEWEST_DATASETS:
        yield _diagram("critical-difference-published", joint, convention, lower_is_better=False, highlight=ours)
    ranks: Frame = average_ranks(joint)
    if theirs:
        best = next(name for name in ranks.index if name in ours)
        yield _panels("pairs-published", joint, best, [name for name in ranks.index if name in theirs], comparison)


def _diagram(
    name: str, table: Frame, convention: Convention, lower_is_better: bool, highlight: Collection[str] = ()
) -> Picture:
    from tsmodels.plots._comparisons import plot_critical_difference

    result = critical_difference(table, convention, lower_is_better=lower_is_better)
    ax = plot_critical_difference(result, highlight=highlight)
    also = "Ours stand out in colour." if highlight else ""
    return Picture(name, "Critical-difference diagram", also, _figure(ax))


def _matrix(table: Frame, comparison: Comparison) -> Picture:
    from tsmodels.plots._comparisons import plot_comparison_matrix

    ax = plot_comparison_matrix(table, measure=comparison.main.words, lower_is_better=comparison.lower_is_better)
    return Picture(
        "comparison-matrix",
        "Every method against every other",
        f"Over {len(table)} data sets. The numbers of a pair do not depend on which other methods are compared.",
        _figure(ax),
    )


def _panels(name: str, table: Frame, first: str, others: list[str], comparison: Comparison) -> Picture:
    from matplotlib.figure import Figure

    from tsmodels.plots._comparisons import plot_pairwise

    shown = others[:_MOST_PANELS]
    n_columns = 2 if len(shown) == 4 else min(3, len(shown))
    n_rows = -(-len(shown) // n_columns)
    figure = Figure(figsize=(3.7 * n_columns, 3.9 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for ax, other in zip(panels, shown, strict=False):
        lower = comparison.lower_is_better
        plot_pairwise(table, first, other, measure=comparison.main.words, lower_is_better=lower, ax=ax)
    for ax in panels[len(shown) :]:
        ax.set_axis_off()
    left = len(others) - len(shown)
    rest = f" The {left} methods of the worst average ranks are not drawn." if left else ""
    side = "below" if comparison.lower_is_better else "above"
    caption = f"A point is a data set; {side} the diagonal {first} is better (blue circles), on the other side worse "
    caption += (
        "(orange diamonds). Over each panel: data sets it wins, draws and loses. Those with the largest differences "
    )
    caption += f"are named where there is room.{rest}"
    return Picture(name, f"{first} against the others", caption, figure)


def _time(comparison: Comparison) -> Picture:
    from tsmodels.plots._comparisons import plot_accuracy_time

    summary, main = summary_of(comparison), comparison.main
    ax = plot_accuracy_time(
        summary[main.name],
        summary["fit_seconds"],
        measure=f"mean {main.words}",
        lower_is_better=comparison.lower_is_better,
    )
    caption = (
        f"Means over {len(comparison.bands)} data sets. The dashed line joins the methods that no other beats in both."
    )
    return Picture("accuracy-time", f"{main.heading} against training time", caption, _figure(ax))


def _figure(ax: object) -> Figure:
    figure = ax.get_figure(root=True)  # type: ignore[attr-defined]
    assert figure is not None
    return figure
