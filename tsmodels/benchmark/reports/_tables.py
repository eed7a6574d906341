"""One table, written as Markdown, LaTeX or HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tsmodels.benchmark._markdown import aligned

__all__ = ["Column", "Entry", "Grid", "escape_latex", "escape_markdown"]

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "\N{EN DASH}": "--",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "†": r"$\dagger$",
}


@dataclass(frozen=True)
class Entry:
    """A field of a table.

    Attributes
    ----------
    text : str
    value : float or None
        What the column is sorted by; None is sorted to the end.
    strong, faint : bool
        The best of its kind; a gap.
    hint : str
        Shown on the page when pointed at.
    """

    text: str
    value: float | None = None
    strong: bool = False
    faint: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Column:
    """The head of a column; a group spans neighbours that share it."""

    heading: str
    numeric: bool = True
    hint: str = ""
    group: str = ""


@dataclass(frozen=True)
class Grid:
    """A table."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Entry]]

    def markdown(self) -> str:
        """Return the table in Markdown that is also legible as it is."""
        headings = tuple(escape_markdown(each.heading) for each in self.columns)
        rows = [headings]
        for row in self.rows:
            texts = (escape_markdown(entry.text) for entry in row)
            rows.append(tuple(f"**{text}**" if entry.strong else text for text, entry in zip(texts, row, strict=True)))
        n_texts = sum(not each.numeric for each in self.columns)
        return "\n".join(aligned(rows, n_texts)) + "\n"

    def latex(self) -> str:
        """Return a ``tabular`` with the rules of the package booktabs."""
        layout = "".join("r" if each.numeric else "l" for each in self.columns)
        lines = ["% needs \\usepackage{booktabs}", f"\\begin{{tabular}}{{{layout}}}", "\\toprule"]
        lines += [_latex_row([escape_latex(each.heading) for each in self.columns]), "\\midrule"]
        for row in self.rows:
            texts = [escape_latex(entry.text) for entry in row]
            lines.append(
                _latex_row(
                    [f"\\textbf{{{text}}}" if entry.strong else text for text, entry in zip(texts, row, strict=True)]
                )
            )
        return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"

    def html(self, caption: str, *, pinned: bool = True) -> str:
        """Return a table whose columns the page's script makes sortable; `pinned` keeps the first one in sight."""
        kind = "sortable pinned" if pinned else "sortable"
        return "".join(
            [
                f'<div class="scroll"><table class="{kind}"><caption>{html.escape(caption)}</caption><thead>',
                *self._groups(),
                f"<tr>{''.join(map(_head, self.columns))}</tr></thead><tbody>",
                *(f"<tr>{''.join(map(_field, self.columns, row))}</tr>" for row in self.rows),
                "</tbody></table></div>",
            ]
        )

    def _groups(self) -> Iterator[str]:
        if not any(each.group for each in self.columns):
            return
        spans: list[tuple[str, int]] = []
        for each in self.columns:
            if spans and spans[-1][0] == each.group:
                spans[-1] = (each.group, spans[-1][1] + 1)
            else:
                spans.append((each.group, 1))
        cells = (f'<th scope="colgroup" colspan="{n}">{html.escape(group)}</th>' for group, n in spans)
        yield f'<tr class="groups">{"".join(cells)}</tr>'


def _head(column: Column) -> str:
    hint = f' title="{html.escape(column.hint)}"' if column.hint else ""
    kind = ' class="number"' if column.numeric else ""
    return f'<th scope="col"{kind}{hint}>{html.escape(column.heading)}</th>'


def _field(column: Column, entry: Entry) -> str:
    classes = [
        name
        for name, wanted in (
            ("number", column.numeric),
            ("best", entry.strong),
            ("gap", entry.faint),
        )
        if wanted
    ]
    attributes = f' class="{" ".join(classes)}"' if classes else ""
    if entry.value is not None:
        attributes += f' data-value="{entry.value!r}"'
    if entry.hint:
        attributes += f' title="{html.escape(entry.hint)}"'
    return f"<td{attributes}>{html.escape(entry.text)}</td>"


def _latex_row(fields: Sequence[str]) -> str:
    return " & ".join(fields) + r" \\"


def escape_latex(text: str) -> str:
    """Return text that LaTeX sets as it is."""
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def escape_markdown(text: str) -> str:
    """Return text that Markdown sets as it is, in a table too."""
    return re.sub(r"([\\`*_\[\]<>|~#])", r"\\\1", " ".join(text.split()))
