"""The cells of ``plrnn_rollout``: their parameters by name, in one form for all.

Every map is ``F(z) = A z + W g(z) + h + C s``; the form has ``A, W, h``, the parameters ``inner`` and ``offset`` of g
where it has any (``W2, h2`` of shallow cells, ``a, H`` of dendritic ones), and ``C``.
"""

from typing import NamedTuple


class Cell(NamedTuple):
    """What is known of a cell without its parameters."""

    kind: str  # "units": g acts on each unit; "shallow": on hidden units; "dendritic": on each unit, a sum of bases
    corrected: bool  # units: their mean is removed; others: clipped
    names: tuple[str, ...]  # of A, W, h and, where g has parameters, of inner and offset


_UNITS, _SHALLOW, _DENDRITIC = ("A", "W", "h"), ("A", "W1", "h1", "W2", "h2"), ("A", "W", "h", "a", "H")

CELLS = {
    "plrnn": Cell("units", False, _UNITS),
    "mcplrnn": Cell("units", True, _UNITS),
    "shplrnn": Cell("shallow", False, _SHALLOW),
    "cshplrnn": Cell("shallow", True, _SHALLOW),
    "dendplrnn": Cell("dendritic", False, _DENDRITIC),
    "cdendplrnn": Cell("dendritic", True, _DENDRITIC),
    "alrnn": Cell("units", False, _UNITS),
}
