"""The fused rollout of piecewise-linear RNNs against loops of torch operators, forward and backward, one thread.

::

    python -m tests.benchmarks.bench_plrnn            about a minute
    python -m tests.benchmarks.bench_plrnn --quick    tiny shapes, to see that it runs

A call takes a batch of 16 windows through the network, forced with alpha = 0.15, and returns the gradients of the first
states and of all parameters, in float32. "torch loop" is written for its cell, with as few operators to a step as
torch has for it; "definition" is ``backend="reference"``, which serves every cell.

Before anything is timed the fused gradients are compared with the definition, both in float64. The error is that of
float32: the largest of any gradient against float64, relative to the largest entry of that gradient. It is 1e-7 to 1e-5
unless the argument of a ReLU comes as close to zero as rounding: then one of many steps has another derivative, for
whichever contender it happens to.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from tsmodels_kernels import plrnn_rollout

from .timing import Effort, clock_for, interleaved

BATCH, ALPHA = 16, 0.15
# cell, units, hidden units or ReLUs, steps
SHAPES = [("cshplrnn", 3, 50, 200), ("cshplrnn", 3, 100, 200), ("cshplrnn", 3, 50, 1000), ("cshplrnn", 3, 50, 10_000),
          ("cshplrnn", 5, 250, 200), ("cshplrnn", 16, 512, 50), ("alrnn", 20, 2, 200), ("alrnn", 100, 50, 50),
          ("alrnn", 133, 60, 100)]  # fmt: skip
QUICK = [("cshplrnn", 3, 5, 7), ("alrnn", 4, 2, 7)]
EFFORT = Effort(rounds=15, turn=0.05, most=4.0, longest=60.0)
TOLERANCE = 1e-11

Theta = dict[str, Tensor]
Gradients = tuple[Tensor, ...]


def parameters(cell: str, M: int, width: int) -> Theta:
    """Float64 parameters of a contracting map, so that the rounding errors of contenders can be compared."""
    theta = {"A": 0.9 * torch.rand(M, dtype=torch.float64)}
    if cell == "cshplrnn":
        W1, W2 = (torch.randn(shape, dtype=torch.float64) for shape in ((M, width), (width, M)))
        theta |= {"W1": 0.3 * W1 / width**0.5, "h1": 0.1 * torch.randn(M, dtype=torch.float64)}
        return theta | {"W2": W2 / (M**0.5 + width**0.5), "h2": 0.5 * torch.randn(width, dtype=torch.float64)}
    W = 0.1 * torch.randn(M, M, dtype=torch.float64) / M**0.5
    return theta | {"W": W, "h": 0.1 * torch.randn(M, dtype=torch.float64)}


def torch_loop(cell: str, theta: Theta, z0: Tensor, d: Tensor, n_relu: int | None) -> Tensor:
    z, states = z0, []
    for target in d.unbind(1):
        if cell == "cshplrnn":
            u = z @ theta["W2"].T
            z = torch.addmm(theta["A"] * z + theta["h1"], torch.relu(u + theta["h2"]) - torch.relu(u), theta["W1"].T)
        else:
            linear, active = z.split([z.shape[1] - (n_relu or 0), n_relu or 0], 1)
            z = torch.addmm(theta["A"] * z + theta["h"], torch.cat([linear, torch.relu(active)], 1), theta["W"].T)
        states.append(z)
        z = torch.lerp(z, target, ALPHA)
    return torch.stack(states, 1)


def contenders(cell: str, M: int, width: int, T: int, dtype: torch.dtype) -> dict[str, Callable[[], Gradients]]:
    """Calls that return the gradients of z0 and theta; the numbers are the same for every dtype."""
    torch.manual_seed(0)
    theta = {k: t.to(dtype).requires_grad_() for k, t in parameters(cell, M, width).items()}
    z0, d, weight = (torch.randn(shape, dtype=torch.float64).to(dtype) for shape in ((BATCH, M), *[(BATCH, T, M)] * 2))
    z0.requires_grad_()
    n_relu = width if cell == "alrnn" else None

    def gradients(rollout: Callable[[], Tensor]) -> Callable[[], Gradients]:
        return lambda: torch.autograd.grad(rollout(), [z0, *theta.values()], weight)

    return {
        "fused": gradients(lambda: plrnn_rollout(cell, theta, z0, d, ALPHA, n_relu=n_relu)),
        "torch loop": gradients(lambda: torch_loop(cell, theta, z0, d, n_relu)),
        "definition": gradients(lambda: plrnn_rollout(cell, theta, z0, d, ALPHA, n_relu=n_relu, backend="reference")),
    }


def error(found: Gradients, exact: Gradients) -> float:
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, exact, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny shapes")
    torch.set_num_threads(1)
    print("| cell M, H or ReLUs | T | contender | ms | error | fused is faster |\n|---|---|---|---|---|---|")
    for cell, M, width, T in QUICK if parser.parse_args().quick else SHAPES:
        in_double = contenders(cell, M, width, T, torch.float64)
        exact = in_double["definition"]()
        assert error(in_double["fused"](), exact) < TOLERANCE
        calls = contenders(cell, M, width, T, torch.float32)
        errors = {name: error(call(), exact) for name, call in calls.items()}
        seconds = interleaved(calls, clock_for(1, "cpu"), EFFORT)
        for name, found in seconds.items():
            ratio = found.median / seconds["fused"].median
            place = f"{cell} {M}, {width} | {T} | {name}"
            print(f"| {place} | {found.median * 1e3:.3g} | {errors[name]:.1e} | {ratio:.3g} |", flush=True)


if __name__ == "__main__":
    main()
