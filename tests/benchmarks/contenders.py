"""What the scans are measured against: each operator's problem, and every way to solve it without our kernels.

A contender is a function of the tensors of ``Op.arguments`` that returns the output and that autograd differentiates.
Time is axis 1 throughout.  Those in jax are in ``jax_contenders.py``.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from tsmodels_kernels import linear_scan, selective_scan, selective_scan_2d

OURS = "ours"
LOOP = "torch loop"

Sizes = Mapping[str, int]
Solve = Callable[..., Tensor]


# --- ways to run the recurrence h[t] = a[t] h[t-1] + b[t] on tensors (B, T, ...) of one shape


def doubling_scan(a: Tensor, b: Tensor) -> Tensor:
    """All prefixes in ceil(log2 T) rounds (Hillis and Steele): each place takes in the one 1, 2, 4, ... before it."""
    step, T = 1, a.shape[1]
    while step < T:
        b = torch.cat([b[:, :step], a[:, step:] * b[:, :-step] + b[:, step:]], 1)
        if 2 * step < T:  # the last round needs no gates after it
            a = torch.cat([a[:, :step], a[:, step:] * a[:, :-step]], 1)
        step *= 2
    return b


def sweep_scan(a: Tensor, b: Tensor) -> Tensor:
    """Up and down sweep (Blelloch): scan pairs of neighbours at half the length, then fill in the places between."""
    T = a.shape[1]
    if T == 1:
        return b
    n_pairs = T // 2
    a0, a1, b0, b1 = a[:, : 2 * n_pairs : 2], a[:, 1::2], b[:, : 2 * n_pairs : 2], b[:, 1::2]
    odd = sweep_scan(a0 * a1, a1 * b0 + b1)
    even = torch.cat([b[:, :1], a[:, 2::2] * odd[:, : (T - 1) // 2] + b[:, 2::2]], 1)
    paired = torch.stack([even[:, :n_pairs], odd], 2).flatten(1, 2)
    return paired if T % 2 == 0 else torch.cat([paired, even[:, n_pairs:]], 1)


def torch_associative_scan(a: Tensor, b: Tensor) -> Tensor:
    from torch._higher_order_ops import associative_scan

    return associative_scan(combine, (a, b), dim=1, combine_mode="generic")[1]


def combine(first, second):
    """The pair (a, b) of two steps in a row, in torch and in jax."""
    return first[0] * second[0], second[0] * first[1] + second[1]


LOG_DEPTH = {
    "torch doubling": doubling_scan,
    "torch sweep": sweep_scan,
    "torch associative_scan": torch_associative_scan,
}


# --- selective scan: x, dt (B, T, D), A (D, N), B, C (B, T, N) -> y (B, T, D)


def selective_by(scan: Solve) -> Solve:
    """The selective scan over gates and inputs of all states, made beforehand."""

    def solve(x, dt, A, B, C):
        h = scan(torch.exp(dt[..., None] * A), (dt * x)[..., None] * B[:, :, None, :])
        return (h * C[:, :, None, :]).sum(-1)

    return solve


def with_options(solve: Solve) -> Solve:
    """Mamba's form: bias and softplus on the step size, skip, gate."""

    def solve_all(x, dt, A, B, C, D, z, dt_bias):
        return (solve(x, softplus(dt + dt_bias), A, B, C) + D * x) * silu(z)

    return solve_all


# --- two-axis scan: x, dt1, dt2 (B, T, V, D), B1, B2, C1, C2 (B, T, V, N), four parameters (D, N) -> y (B, T, V, D)


def column_loop(x, dt1, dt2, B1, B2, C1, C2, alpha1, rho2, rho3, alpha4):
    """Gates of all cells at once, then a loop over columns that does h1 of a column at once and h2 cell by cell."""
    e1, e4 = torch.exp(-dt1[..., None] * alpha1), torch.exp(-dt2[..., None] * alpha4)
    a2, a3 = (1 - e1) * rho2, (1 - e4) * rho3
    u1, u2 = (dt1 * x)[..., None] * B1[..., None, :], (dt2 * x)[..., None] * B2[..., None, :]
    h1 = h2 = torch.zeros_like(u1[:, 0])
    outputs = []
    for g1, g2, g3, g4, i1, i2, o1, o2 in zip(*(t.unbind(1) for t in (e1, a2, a3, e4, u1, u2, C1, C2)), strict=True):
        h1 = g1 * h1 + g2 * h2 + i1
        cells = [t.unbind(1) for t in (h1, g3, g4, i2)]
        rows = [cells[3][0]]
        for above, c3, c4, entering in zip(cells[0][:-1], *(c[1:] for c in cells[1:]), strict=True):
            rows.append(c3 * above + c4 * rows[-1] + entering)
        h2 = torch.stack(rows, 1)
        outputs.append((h1 * o1[:, :, None] + h2 * o2[:, :, None]).sum(-1))
    return torch.stack(outputs, 1)


# --- the table


class Op(NamedTuple):
    """An operator, its problem and who solves it."""

    name: str
    arguments: Callable[[Sizes, Callable[..., Tensor]], list[Tensor]]  # (sizes, random normal) -> float64 tensors
    ours: Solve
    reference: Solve
    others: Mapping[str, Solve]
    checked: tuple[Sizes, ...]  # awkward sizes at which all are compared with float64
    timed: Mapping[str, tuple[Sizes, ...]]  # layout -> sizes of the default run
    smoke: Sizes
    tiny: Sizes  # where nothing but the call itself costs
    large: Sizes  # enough work for a GPU
    full: Mapping[str, tuple[Sizes, ...]]

    @property
    def solvers(self) -> dict[str, Solve]:
        """Ours and the torch contenders."""
        return {OURS: self.ours, LOOP: self.reference, **self.others}


def _sizes(names: str, *rows: tuple[int, ...]) -> tuple[Sizes, ...]:
    return tuple(dict(zip(names, row, strict=True)) for row in rows)


def _linear_arguments(sizes, normal):
    shape = sizes["B"], sizes["T"], sizes["D"]
    return [normal(*shape).sigmoid(), normal(*shape)]


def _selective_arguments(sizes, normal):
    B, T, D, N = (sizes[k] for k in "BTDN")
    return [normal(B, T, D), 0.1 * normal(B, T, D).exp(), -normal(D, N).exp(), normal(B, T, N), normal(B, T, N)]


def _mamba_arguments(sizes, normal):
    D = sizes["D"]
    x, dt, A, B, C = _selective_arguments(sizes, normal)
    return [x, normal(*dt.shape), A, B, C, normal(D), normal(*x.shape), normal(D) - 2]


def _two_axis_arguments(sizes, normal):
    B, T, V, D, N = (sizes[k] for k in "BTVDN")
    steps = [0.1 * normal(B, T, V, D).exp() for _ in range(2)]
    maps = [normal(B, T, V, N) for _ in range(4)]
    rates = [normal(D, N).abs() + 0.1 for _ in range(2)]
    cross = [normal(D, N).tanh() for _ in range(2)]
    return [normal(B, T, V, D), *steps, *maps, rates[0], *cross, rates[1]]


def _linear(backend):
    return lambda a, b: linear_scan(a, b, backend=backend)[0]


def _selective(backend):
    return lambda x, dt, A, B, C: selective_scan(x, dt, A, B, C, backend=backend)[0]


def _mamba(backend):
    def solve(x, dt, A, B, C, D, z, dt_bias):
        return selective_scan(x, dt, A, B, C, D, z=z, dt_bias=dt_bias, dt_softplus=True, backend=backend)[0]

    return solve


def _two_axis(backend):
    return lambda *tensors: selective_scan_2d(*tensors, return_state=False, backend=backend)[0]


_LENGTHS, _WIDTHS, _STATES = (128, 1024, 8192), (7, 64, 256, 1536), (4, 16, 64)
_LINEAR_GRID = _sizes("BTD", *((8, T, D) for T in _LENGTHS for D in _WIDTHS))
_SELECTIVE_GRID = _sizes("BTDN", *((8, T, D, N) for T in _LENGTHS for D in _WIDTHS for N in _STATES))
_TWO_AXIS_GRID = _sizes("BTVDN", *((8, T, V, 64, 16) for T in (96, 512) for V in (1, 7, 32)))

OPS = (
    Op(
        name="linear_scan",
        arguments=_linear_arguments,
        ours=_linear("auto"),
        reference=_linear("reference"),
        others=LOG_DEPTH,
        checked=_sizes("BTD", (2, 37, 19), (3, 130, 300)),
        timed={
            "BTD": _sizes("BTD", (8, 128, 256), (8, 1024, 256), (8, 8192, 256)),
            "BDT": _sizes("BTD", (8, 1024, 256)),
        },
        smoke={"B": 2, "T": 64, "D": 64},
        tiny={"B": 1, "T": 2, "D": 4},
        large={"B": 8, "T": 4096, "D": 2048},
        full={"BTD": _LINEAR_GRID, "BDT": _LINEAR_GRID},
    ),
    Op(
        name="selective_scan",
        arguments=_selective_arguments,
        ours=_selective("auto"),
        reference=_selective("reference"),
        others={name: selective_by(scan) for name, scan in LOG_DEPTH.items()},
        checked=_sizes("BTDN", (2, 37, 19, 5), (2, 70, 70, 16)),
        timed={"BTD": _sizes("BTDN", (8, 128, 64, 16), (8, 1024, 64, 16))},
        smoke={"B": 2, "T": 64, "D": 64, "N": 16},
        tiny={"B": 1, "T": 2, "D": 4, "N": 2},
        large={"B": 8, "T": 2048, "D": 1536, "N": 16},
        full={"BTD": _SELECTIVE_GRID, "BDT": _SELECTIVE_GRID},
    ),
    Op(
        name="selective_scan, Mamba",  # with softplus, bias, skip and gate
        arguments=_mamba_arguments,
        ours=_mamba("auto"),
        reference=_mamba("reference"),
        others={name: with_options(selective_by(scan)) for name, scan in LOG_DEPTH.items()},
        checked=_sizes("BTDN", (2, 37, 19, 5), (2, 70, 70, 16)),
        timed={"BTD": _sizes("BTDN", (8, 1024, 64, 16))},
        smoke={"B": 2, "T": 64, "D": 64, "N": 16},
        tiny={"B": 1, "T": 2, "D": 4, "N": 2},
        large={"B": 8, "T": 2048, "D": 1536, "N": 16},
        full={"BTD": _sizes("BTDN", *((8, T, 64, 16) for T in _LENGTHS))},
    ),
    Op(
        name="selective_scan_2d",
        arguments=_two_axis_arguments,
        ours=_two_axis("auto"),
        reference=_two_axis("reference"),
        others={"torch column loop": column_loop},
        checked=_sizes("BTVDN", (2, 9, 3, 20, 5), (1, 40, 4, 16, 16)),
        timed={"BTD": _sizes("BTVDN", (8, 96, 7, 64, 16))},
        smoke={"B": 2, "T": 16, "V": 3, "D": 64, "N": 16},
        tiny={"B": 1, "T": 2, "V": 2, "D": 4, "N": 2},
        large={"B": 16, "T": 512, "V": 16, "D": 256, "N": 16},
        full={"BTD": _TWO_AXIS_GRID},
    ),
)


def state_elements(sizes: Sizes) -> int:
    """Numbers that the recurrence updates: one for each step of each state."""
    return math.prod(sizes.values())


def ideal_bytes(inputs: list[Tensor], output: Tensor, backward: bool) -> int:
    """Memory traffic if everything is read or written once.

    Forward: the inputs and the output.  Backward: the inputs (the linear scan: its output in place of ``b``), the
    gradient of the output, and one gradient for each input.
    """
    given = sum(t.nbytes for t in inputs)
    forward = given + output.nbytes
    return forward + (2 * given + output.nbytes if backward else 0)
