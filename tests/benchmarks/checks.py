"""Problems with random tensors, everyone who solves them, and the check that they solve them right."""

import importlib.util
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .contenders import LOOP, OURS, Op, Sizes

HAS_JAX = importlib.util.find_spec("jax") is not None
# Largest error of the output and of the gradients, relative to the largest magnitude.
TOLERANCE = {torch.float32: (1e-5, 1e-4), torch.float64: (1e-12, 1e-11)}


class Problem(NamedTuple):
    """One operator at one shape and layout."""

    op: Op
    sizes: Sizes
    layout: str  # order of the axes in memory
    tensors: list[Tensor]
    weights: Tensor  # the gradient of the output

    @property
    def label(self) -> str:
        return f"{self.op.name} {'x'.join(map(str, self.sizes.values()))} {self.layout}"


# Of a contender: forward, and forward + backward, without arguments.
Calls = tuple[Callable[[], Any], Callable[[], Any]]


def make_problem(op: Op, sizes: Sizes, layout: str, dtype: torch.dtype, device: str) -> Problem:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    tensors = op.arguments(sizes, normal)
    *prepared, weights = [_laid_out(t.to(device, dtype), layout) for t in (*tensors, normal(*tensors[0].shape))]
    return Problem(op, sizes, layout, [t.requires_grad_() for t in prepared], weights)


def _laid_out(tensor: Tensor, layout: str) -> Tensor:
    if layout == "BDT" and tensor.ndim == 3:
        return tensor.transpose(1, 2).contiguous().transpose(1, 2)
    return tensor


def torch_calls(solve: Callable[..., Tensor], problem: Problem) -> Calls:
    def forward():
        with torch.no_grad():
            return solve(*problem.tensors)

    def both():
        output = solve(*problem.tensors)
        return output.detach(), *torch.autograd.grad(output, problem.tensors, problem.weights)

    return forward, both


def contenders(problem: Problem) -> dict[str, Calls]:
    calls = {name: torch_calls(solve, problem) for name, solve in problem.op.solvers.items()}
    if HAS_JAX and problem.weights.device.type == "cpu":
        from . import jax_contenders

        for name, solve in jax_contenders.SOLVERS[problem.op.name].items():
            calls[name] = jax_contenders.actions(solve, problem.tensors, problem.weights, problem.layout == "BDT")
    return calls


def results(name: str, action: Callable[[], Any], layout: str) -> list[Tensor]:
    """What a contender's action gives, as tensors."""
    found = action()
    found = list(found) if isinstance(found, tuple) else [found]
    if name.startswith("jax"):
        from .jax_contenders import tensor_from

        return [tensor_from(array, layout == "BDT") for array in found]
    return found


class Refused(NamedTuple):
    """Contenders of one operator that are not timed, and why."""

    wrong: dict[str, str]
    unavailable: dict[str, str]


def check(op: Op, layouts: Iterable[str], dtype: torch.dtype, device: str) -> Refused:
    """Compare ours with the float64 definition at all of the awkward shapes, the contenders at the first."""
    refused = Refused({}, {})
    for layout in layouts:
        for sizes in op.checked:
            exact = make_problem(op, sizes, layout, torch.float64, device)
            problem = make_problem(op, sizes, layout, dtype, device)
            solvers = contenders(problem) if sizes is op.checked[0] else {OURS: torch_calls(op.ours, problem)}
            _check_problem(problem, solvers, exact, refused)
    return refused


def _check_problem(problem: Problem, solvers: dict[str, Calls], exact: Problem, refused: Refused) -> None:
    layout, dtype = problem.layout, problem.weights.dtype
    expected = results(LOOP, torch_calls(exact.op.reference, exact)[1], layout)
    for name, calls in solvers.items():
        if name in refused.unavailable:
            continue
        try:
            error = _what_is_wrong(name, calls, layout, expected, TOLERANCE[dtype])
        except Exception as failure:  # whatever a contender raises, it cannot be timed here
            reason = f"{type(failure).__name__}: {failure}".partition("\n")[0]
            (refused.wrong if name == OURS else refused.unavailable)[name] = reason
            continue
        if error:
            refused.wrong[name] = f"{problem.label}: {error}"


def _what_is_wrong(name, calls: Calls, layout, expected, tolerances) -> str:
    """Which result is off, and by how much; empty if none is."""
    forward, both = (results(name, action, layout) for action in calls)
    for i, (got, want) in enumerate(zip([*forward, *both], [expected[0], *expected], strict=True)):
        if got.shape != want.shape:
            return f"result {i} has shape {tuple(got.shape)}, not {tuple(want.shape)}"
        error = ((got.to(want.device) - want).abs().max() / want.abs().max()).item()
        if not error <= tolerances[i > 1]:  # NaN is an error too
            return f"{'output' if i < 2 else f'gradient {i - 2}'} is off by {error:.1e} of its largest magnitude"
    return ""
