"""Every scan against its limits and against what else can be installed, in one run.

::

    python -m tests.benchmarks.bench_scans                  a few minutes on two cores
    python -m tests.benchmarks.bench_scans --full           the whole grid: hours
    python -m tests.benchmarks.bench_scans --quick          tiny shapes, to see that it runs
    python -m tests.benchmarks.bench_scans --json FILE      appends one JSON line for each cell

Before anything is timed, each operator and each contender is compared with the float64 definition, values and
gradients.  What is wrong is not timed, and the exit status is then 1; what cannot run here is named and left out.

A contender is left out of a cell where one call would take more than 1 s (``--full``: 60 s) or too much memory.

One thread: median CPU time of the process.  More threads: wall time, median and best.  Contenders take turns in one
process.  Ratios in the table are times over our time (so 5 means that ours is 5 times faster), for a limit too:
0.8 means that ours takes 1 / 0.8 of the time in which the machine moves the same bytes.
"""

import argparse
import importlib
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding
import numba
import torch

from .checks import HAS_JAX, Problem, Refused, check, contenders, make_problem, torch_calls
from .contenders import LOOP, OPS, OURS, Op, Sizes, ideal_bytes, state_elements
from .limits import limits
from .timing import Effort, Seconds, clock_for, interleaved

DTYPES = {"float32": torch.float32, "float64": torch.float64}
PASSES = ("forward", "forward+backward")

EFFORTS = {
    "quick": Effort(rounds=3, turn=0.002, most=0.01, longest=1.0),
    "default": Effort(rounds=9, turn=0.02, most=0.4, longest=1.0),
    "full": Effort(rounds=20, turn=0.25, most=5.0, longest=60.0),
}
# Arrays of all states that a contender holds at once, forward and forward + backward: rough, to skip what cannot fit.
STATE_ARRAYS: dict[str, Callable[[int], tuple[float, float]]] = {
    LOOP: lambda T: (2, 6),
    "torch column loop": lambda T: (6, 12),
    "torch doubling": lambda T: (4, 4 * math.log2(T)),
    "torch sweep": lambda T: (6, 16),
    "torch associative_scan": lambda T: (6, 16),
    "jax scan": lambda T: (1, 4),
    "jax associative_scan": lambda T: (6, 12),
}
# Names in the table's head.
SHORT = {name: name.replace("associative_scan", "assoc.").replace("column loop", "columns") for name in STATE_ARRAYS}


class Setting(NamedTuple):
    """What is the same for the whole run."""

    dtype: torch.dtype
    device: str
    threads: tuple[int, ...]
    effort: Effort


# --- the cells


class Cell(NamedTuple):
    """One line of the table."""

    problem: Problem
    direction: str
    n_threads: int
    seconds: dict[str, Seconds]
    limits: tuple[str, ...]
    skipped: dict[str, str]

    @property
    def ratios(self) -> dict[str, float]:
        ours = self.seconds[OURS].median
        return {name: found.median / ours for name, found in self.seconds.items() if name != OURS}

    @property
    def best_baseline(self) -> str | None:
        others = {name: r for name, r in self.ratios.items() if name not in self.limits}
        return min(others, key=others.__getitem__) if others else None

    @property
    def ns_per_state_element(self) -> float:
        return self.seconds[OURS].median / state_elements(self.problem.sizes) * 1e9


def measure(op: Op, shapes: dict[str, tuple[Sizes, ...]], setting: Setting, refused: Refused) -> Iterator[Cell]:
    """The cells of one operator, smaller shapes first: their times tell which contenders larger shapes can afford."""
    rates: dict[tuple[str, str], float] = {}  # seconds per state element, by contender and pass
    for layout, sizes in sorted(
        ((layout, sizes) for layout, rows in shapes.items() for sizes in rows), key=lambda row: state_elements(row[1])
    ):
        problem = make_problem(op, sizes, layout, setting.dtype, setting.device)
        calls = contenders(problem)
        for name in list(calls):
            if name in refused.wrong or name in refused.unavailable:
                del calls[name]
        for n_threads in setting.threads:
            torch.set_num_threads(n_threads)
            for backward, direction in enumerate(PASSES):
                yield _measure_cell(problem, direction, backward, n_threads, calls, rates, setting)


def _measure_cell(problem, direction, backward, n_threads, calls, rates, setting) -> Cell:
    n_elements = state_elements(problem.sizes)
    skipped = {}
    for name in calls:
        estimate = rates.get((name, direction), 0.0) * n_elements
        reason = _too_much(name, backward, problem, estimate, setting.effort.longest)
        if reason:
            skipped[name] = reason
    bounds = limits(ideal_bytes(problem.tensors, problem.weights, bool(backward)), setting.dtype, setting.device)
    actions = bounds | {name: both[backward] for name, both in calls.items() if name not in skipped}
    seconds = interleaved(actions, clock_for(n_threads, setting.device), setting.effort)
    for name, found in seconds.items():
        rates[name, direction] = found.median / n_elements
    return Cell(problem, direction, n_threads, seconds, tuple(bounds), skipped)


def _too_much(name: str, backward: int, problem: Problem, estimate: float, longest: float) -> str:
    """Why a contender is not run at this size; empty if it is."""
    if name == OURS:
        return ""
    if estimate > longest:
        return f"a call would take about {estimate:.0f} s, by its time at a smaller size"
    held = STATE_ARRAYS[name](problem.sizes["T"])[backward]
    n_bytes = held * state_elements(problem.sizes) * problem.weights.dtype.itemsize
    if n_bytes > _memory(problem.weights.device) / 2:
        return f"would need about {n_bytes / 1e9:.0f} GB"
    return ""


def _memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# --- overhead of a call


def overheads(ops: tuple[Op, ...], setting: Setting) -> dict[str, tuple[float, float]]:
    """Microseconds per call on tiny tensors without gradients, and forward + backward, in CPU time of one thread."""
    torch.set_num_threads(1)
    calls = {}
    for op in ops:
        problem = make_problem(op, op.tiny, "BTD", setting.dtype, setting.device)
        calls[op.name] = torch_calls(op.ours, problem)
    operands = [torch.ones(4, dtype=setting.dtype, device=setting.device, requires_grad=True) for _ in range(3)]
    yardstick = Problem(OPS[0], {}, "", operands, torch.ones_like(operands[0]))
    calls["torch.addcmul"] = torch_calls(torch.addcmul, yardstick)
    clock = clock_for(1, setting.device)
    found = [interleaved({n: c[i] for n, c in calls.items()}, clock, setting.effort) for i in range(len(PASSES))]
    return {name: (found[0][name].median * 1e6, found[1][name].median * 1e6) for name in calls}


# --- output


def conditions(setting: Setting) -> dict[str, str]:
    features = llvmlite.binding.get_host_cpu_features()
    simd = next((name for name in ("avx512f", "avx2", "neon") if features.get(name)), "other")
    described = {
        "cpu": _cpu_model(),
        "core": f"{llvmlite.binding.get_host_cpu_name()}, {simd}",
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numba": numba.__version__,
        "dtype": str(setting.dtype).removeprefix("torch."),
    }
    if HAS_JAX:
        described["jax"] = importlib.import_module("jax").__version__
    if setting.device == "cuda":
        described["gpu"] = torch.cuda.get_device_name()
    return described


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def json_line(cell: Cell, described: dict[str, str]) -> str:
    best = cell.best_baseline
    return json.dumps(
        {
            "op": cell.problem.op.name,
            "shape": dict(cell.problem.sizes),
            "layout": cell.problem.layout,
            "pass": cell.direction,
            "threads": cell.n_threads,
            **described,
            "seconds": {name: found._asdict() for name, found in cell.seconds.items()},
            "ns_per_state_element": cell.ns_per_state_element,
            "ratios": cell.ratios,
            "best_baseline": best,
            "ratio_to_best_baseline": cell.ratios[best] if best else None,
            "skipped": cell.skipped,
        }
    )


class Table:
    """Markdown with aligned columns, printed line by line."""

    def __init__(self, columns: dict[str, int]):
        self.widths = [max(width, len(name)) for name, width in columns.items()]
        self.row(list(columns))
        self.row(["-" * width for width in self.widths])

    def row(self, entries: list[str]) -> None:
        print(
            "|",
            " | ".join(entry.ljust(width) for entry, width in zip(entries, self.widths, strict=True)),
            "|",
            flush=True,
        )


def cell_table(bounds: tuple[str, ...]) -> Table:
    leading = {"op": 21, "shape": 13, "layout": 3, "pass": 7, "threads": 1, "ours, ms": 8, "best": 8, "ns/state": 6}
    ratios = dict.fromkeys((*bounds, *SHORT.values()), 6)
    return Table(leading | ratios | {"best baseline": 20})


def cell_row(cell: Cell) -> list[str]:
    problem, ours, best = cell.problem, cell.seconds[OURS], cell.best_baseline
    leading = [problem.op.name, "x".join(map(str, problem.sizes.values())), problem.layout]
    leading += ["fwd" if cell.direction == "forward" else "fwd+bwd", str(cell.n_threads)]
    leading += [f"{ours.median * 1e3:.3g}", f"{ours.best * 1e3:.3g}", f"{cell.ns_per_state_element:.3g}"]
    ratios = [f"{cell.ratios[name]:.2f}" if name in cell.ratios else "-" for name in (*cell.limits, *SHORT)]
    return [*leading, *ratios, f"{SHORT[best]} {cell.ratios[best]:.1f}" if best else "-"]


# --- the command


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bench_scans",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", dest="extent", action="store_const", const="quick", help="tiny shapes, few repeats")
    extent.add_argument("--full", dest="extent", action="store_const", const="full", help="the whole grid of shapes")
    parser.add_argument("--ops", nargs="+", choices=[op.name for op in OPS], default=[op.name for op in OPS])
    parser.add_argument("--threads", type=int, nargs="+", help="default: 1 and all cores; on a GPU 1")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append one JSON line for each cell")
    parser.set_defaults(extent="default")
    return parser.parse_args(arguments)


def shapes_of(op: Op, extent: str, device: str) -> dict[str, tuple[Sizes, ...]]:
    if extent == "quick":
        return dict.fromkeys(op.timed, (op.smoke,))
    if extent == "full":
        return dict(op.full)
    return {layout: (*rows, op.large) if device == "cuda" else rows for layout, rows in op.timed.items()}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; 1 if something that should have been timed computes the wrong thing."""
    options = parse(arguments)
    default_threads = (1,) if options.device == "cuda" else tuple(sorted({1, os.cpu_count() or 1}))
    threads = tuple(options.threads or default_threads)
    setting = Setting(DTYPES[options.dtype], options.device, threads, EFFORTS[options.extent])
    ops = tuple(op for op in OPS if op.name in options.ops)
    described = conditions(setting)
    print("; ".join(f"{key} {value}" for key, value in described.items()), "\n")

    torch.set_num_threads(max(threads))
    shapes = {op.name: shapes_of(op, options.extent, options.device) for op in ops}
    refused = {op.name: check(op, shapes[op.name], setting.dtype, setting.device) for op in ops}
    for op_name, (wrong, unavailable) in refused.items():
        for name, reason in unavailable.items():
            print(f"not available: {name} for {op_name}: {reason}")
        for name, reason in wrong.items():
            print(f"WRONG, not timed: {name} for {op_name}: {reason}")
    right = tuple(op for op in ops if OURS not in refused[op.name].wrong)

    table, skipped = cell_table(tuple(limits(12, setting.dtype, setting.device))), []
    for op in right:
        for cell in measure(op, shapes[op.name], setting, refused[op.name]):
            table.row(cell_row(cell))
            skipped += [
                f"{name} at {cell.problem.label}, {cell.direction}: {why}" for name, why in cell.skipped.items()
            ]
            if options.json:
                with options.json.open("a") as lines:
                    lines.write(json_line(cell, described) + "\n")
    if skipped:
        print("\nSkipped", *sorted(set(skipped)), sep="\n")

    print("\nOverhead, us of CPU time per call on tiny tensors\n")
    table = Table({"op": 22, "no gradient": 8, "forward+backward": 8})
    for name, (plain, both) in overheads(right, setting).items():
        table.row([name, f"{plain:.1f}", f"{both:.1f}"])
    return 1 if any(found.wrong for found in refused.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
