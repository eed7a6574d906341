"""What the tables have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["aligned", "failures", "first_line", "seconds", "whole"]

_LONGEST_MESSAGE = 200


def whole(value: Any) -> str:
    """Write a whole number; nothing for one that is missing."""
    return f"{value:,}" if isinstance(value, int) else ""


def seconds(value: float) -> str:
    """Write a time; nothing for one that is missing."""
    if value != value:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def first_line(error: str) -> str:
    """Return the first line of a message, cut off where it is long."""
    line = next(iter(error.splitlines()), "")
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 3] + "..."


def failures(summary: pd.DataFrame) -> Iterator[str]:
    """Say which models failed where, and the first error of each."""
    for row in summary.to_dict("records"):
        if row["n_failed"]:
            yield f"FAILED: {row['label']} on {row['dataset']}, {row['n_failed']} cell(s): {first_line(row['error'])}"


def aligned(rows: list[tuple[str, ...]], n_texts: int = 2) -> Iterator[str]:
    """Fill the columns up to one width, texts (the first columns) to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for i, row in enumerate(rows):
        cells = enumerate(zip(row, widths, strict=True))
        filled = [text.ljust(width) if j < n_texts else text.rjust(width) for j, (text, width) in cells]
        yield f"| {' | '.join(filled)} |"
        if i == 0:
            marks = ["-" * width if j < n_texts else "-" * (width - 1) + ":" for j, width in enumerate(widths)]
            yield f"| {' | '.join(marks)} |"
