"""The cells of ``plrnn_rollout``: their parameters by name, in one form for all, and checks of them.

Every map is ``F(z) = A z + W g(z) + h + C s``; the form has ``A, W, h``, the parameters ``inner`` and ``offset`` of g
where it has any (``W2, h2`` of shallow cells, ``a, H`` of dendritic ones), and ``C``.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .._backend import check_shape, check_tensors


class Cell(NamedTuple):
    """What is known of a cell without its parameters."""

    kind: str  # "units": g acts on each unit; "shallow": on hidden units; "dendritic": on each unit, a sum of bases
    corrected: bool  # units: their mean is removed; others: clipped
    names: tuple[str, ...]  # of A, W, h and, where g has parameters, of inner and offset


_UNITS, _SHALLOW, _DENDRITIC = ("A", "W", "h"), ("A", "W1", "h1", "W2", "h2"), ("A", "W", "h", "a", "H")
_DTYPES = (torch.float32, torch.float64)

CELLS = {
    "plrnn": Cell("units", False, _UNITS),
    "mcplrnn": Cell("units", True, _UNITS),
    "shplrnn": Cell("shallow", False, _SHALLOW),
    "cshplrnn": Cell("shallow", True, _SHALLOW),
    "dendplrnn": Cell("dendritic", False, _DENDRITIC),
    "cdendplrnn": Cell("dendritic", True, _DENDRITIC),
    "alrnn": Cell("units", False, _UNITS),
}


def checked_names(op: str, cell: str, theta: Mapping[str, Tensor], s: Tensor | None) -> tuple[str, ...]:
    """Names of A, W, h and, where g has parameters, of inner and offset."""
    if cell not in CELLS:
        raise ValueError(f"{op}: cell must be one of {', '.join(map(repr, CELLS))}; got {cell!r}")
    if not isinstance(theta, Mapping):
        raise TypeError(f"{op}: theta must be a mapping of names to tensors, got {type(theta).__name__}")
    names = CELLS[cell].names
    wanted = names if s is None else (*names, "C")
    if set(theta) == set(wanted):
        return names
    missing, unknown = [n for n in wanted if n not in theta], [n for n in theta if n not in wanted]
    if unknown == ["C"] and not missing:
        raise ValueError(f"{op}: theta has 'C' but there are no external inputs; pass s, or leave 'C' out")
    raise ValueError(
        f"{op}: theta of cell {cell!r} must have {', '.join(wanted)}{'' if s is None else ' (C for s)'}; "
        f"missing: {', '.join(missing) or 'none'}; not known: {', '.join(map(str, unknown)) or 'none'}"
    )


def checked_relu(op: str, cell: str, n_relu: int | None, M: int) -> int:
    """Units with a ReLU; without a meaning for cells whose g has parameters."""
    if cell != "alrnn":
        if n_relu is not None:
            raise ValueError(f"{op}: n_relu is for cell='alrnn'; leave it out for cell={cell!r}")
        return M
    if isinstance(n_relu, bool) or not isinstance(n_relu, int) or not 0 <= n_relu <= M:
        raise ValueError(f"{op}: cell='alrnn' needs n_relu, an integer from 0 to M = {M}; got {n_relu!r}")
    return n_relu


def check_dtypes(op: str, theta: Mapping[str, Tensor], others: Mapping[str, Tensor]) -> None:
    """Raise TypeError unless ``others`` (by name, z0 among them) and all of theta are of one dtype that is computed."""
    check_tensors(op, {**others} | {f"theta[{name!r}]": tensor for name, tensor in theta.items()})
    if others["z0"].dtype not in _DTYPES:
        raise TypeError(
            f"{op}: z0 has dtype {others['z0'].dtype}; convert it and the others to torch.float32 or float64"
        )


def check_shapes(
    op: str, cell: str, theta: Mapping[str, Tensor], z0: Tensor, shape: Sequence[int], s: Tensor | None
) -> None:
    """Raise ValueError unless parameters, starts and inputs fit B sequences of T steps of M units, ``shape``."""
    B, T, M = shape
    check_shape(op, "z0", z0, (B, M), "(B, M)")
    expected = {"A": (("M",), (M,)), "h": (("M",), (M,)), "h1": (("M",), (M,)), "W": (("M", "M"), (M, M))}
    if CELLS[cell].kind == "shallow":
        H = _width(op, "W2", theta["W2"], "(H, M) with H >= 1")
        expected |= {"W1": (("M", "H"), (M, H)), "W2": (("H", "M"), (H, M)), "h2": (("H",), (H,))}
    elif CELLS[cell].kind == "dendritic":
        n = _width(op, "a", theta["a"], "(n,) with n >= 1")
        expected |= {"a": (("n",), (n,)), "H": (("M", "n"), (M, n))}
    if s is not None:
        if s.ndim != 3 or s.shape[:2] != (B, T):
            raise ValueError(f"{op}: s must have shape (B, T, S) = ({B}, {T}, S), got {tuple(s.shape)}")
        S = s.shape[2]
        expected["C"] = (("M", "S"), (M, S))
    for name, tensor in theta.items():
        axes, of = expected[name]
        check_shape(op, f"theta[{name!r}]", tensor, of, f"({', '.join(axes)}{',' * (len(axes) == 1)})")


def _width(op: str, name: str, tensor: Tensor, axes: str) -> int:
    """Size of the first axis, which gives a width its value."""
    if not tensor.ndim or tensor.shape[0] < 1:
        raise ValueError(f"{op}: theta[{name!r}] must have shape {axes}, got {tuple(tensor.shape)}")
    return tensor.shape[0]
