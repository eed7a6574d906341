"""Newton's method in time for a trained network: its rounds, and its times beside the sequential solver.

::

    python -m tests.benchmarks.bench_newton             about three minutes on one core
    python -m tests.benchmarks.bench_newton --cuda      the same on a GPU, and an eager loop of torch operators there
    python -m tests.benchmarks.bench_newton --quick     tiny shapes, to see that it runs

The network is a ``cshplrnn`` of 3 units and 50 hidden ones. It is trained here for some seconds on a Lorenz-63 orbit
(own integration, step 0.01, standardised, windows of 200 steps, forced with alpha = 0.15), or read from ``--weights``,
an ``.npz`` file with ``A, W1, h1, W2, h2`` for such data.

*Rounds* are those that the slowest and the fastest of four windows take until the regions of the states repeat, in
float64, from the data and from zeros as the first guess. The error is the largest difference of a converged state from
the sequential solver's; free runs of a chaotic map tell nothing by it, as they part from any rounding error on.

*Times* are of float32 windows forced with alpha = 0.15, of the states alone and with the gradients of the first states
and all parameters.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tsmodels_kernels import plrnn_newton, plrnn_rollout

from .bench_plrnn import ALPHA, torch_loop
from .timing import Effort, clock_for, interleaved

CELL, M, H, WINDOW, BATCH = "cshplrnn", 3, 50, 200, 16
ALPHAS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.3, 0.5, 1.0)
MOST_ROUNDS, N_WINDOWS = 60, 4
STEPS = (50, 200, 1000, 4000, 8000, 16_000, 32_000, 100_000)
EFFORT = Effort(rounds=7, turn=0.03, most=2.0, longest=30.0)
QUICK = Effort(rounds=2, turn=0.0, most=0.1, longest=30.0)
LONGEST_LOOP = 16_000  # beyond, the graph of a torch loop takes minutes
MOST_STATES_ON_CPU = 200_000  # of all sequences together: Newton keeps the hidden units of all steps

Theta = dict[str, Tensor]
Action = Callable[[], object]


def lorenz(n: int) -> Tensor:
    """Standardised states (n, 3) of the Lorenz-63 system by Runge and Kutta's rule, 0.01 apart."""

    def slope(x, y, z):
        return 10.0 * (y - x), x * (28.0 - z) - y, x * y - 8.0 / 3.0 * z

    def moved(state, by, slopes):
        return [v + by * k for v, k in zip(state, slopes, strict=True)]

    dt, state, states = 0.01, [1.0, 1.0, 20.0], []
    for _ in range(n + 2000):
        first = slope(*state)
        second = slope(*moved(state, dt / 2, first))
        third = slope(*moved(state, dt / 2, second))
        fourth = slope(*moved(state, dt, third))
        slopes = [(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(first, second, third, fourth, strict=True)]
        state = moved(state, dt, slopes)
        states.append(state)
    series = torch.tensor(states[2000:], dtype=torch.float64)
    return (series - series.mean(0)) / series.std(0)


def windows(series: Tensor, n: int, T: int) -> tuple[Tensor, Tensor]:
    """First states (n, 3) and the T states (n, T, 3) that follow, spread over the series."""
    starts = torch.linspace(0, len(series) - T - 1, n).long()
    found = torch.stack([series[start : start + T + 1] for start in starts.tolist()])
    return found[:, 0], found[:, 1:]


def trained(series: Tensor, n_steps: int) -> Theta:
    """Float32 parameters after so many steps of RAdam, from learning rate 3e-3 down to 1e-5."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape, bound):
        return (2 * torch.rand(shape, generator=generator) - 1) * bound

    theta = {"A": 0.5 + draw(M, bound=0.4), "W1": draw(M, H, bound=H**-0.5), "h1": torch.zeros(M)}
    theta |= {"W2": draw(H, M, bound=M**-0.5), "h2": draw(H, bound=H**-0.5)}
    parameters = [t.requires_grad_() for t in theta.values()]
    optimizer = torch.optim.RAdam(parameters, lr=3e-3)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, (1e-5 / 3e-3) ** (1 / n_steps))
    data = series.float()
    for _ in range(n_steps):
        starts = torch.randint(len(data) - WINDOW - 1, (BATCH, 1), generator=generator)
        x = data[starts + torch.arange(WINDOW + 1)]
        loss = (plrnn_rollout(CELL, theta, x[:, 0], x[:, 1:], ALPHA) - x[:, 1:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            theta["A"].clamp_(-0.999, 0.999)
    print(f"\ntrained for {n_steps} steps: last loss {float(loss):.2e}")
    return {k: t.detach() for k, t in theta.items()}


def loaded(path: Path) -> Theta:
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]).float() for name in ("A", "W1", "h1", "W2", "h2")}


def rounds_and_error(theta: Theta, z0: Tensor, d: Tensor, alpha: float, guess: Tensor) -> str:
    found = plrnn_newton(CELL, theta, z0, d, alpha, max_rounds=MOST_ROUNDS, guess=guess)
    if found.fallback:
        return f"> {MOST_ROUNDS} in {int((~found.converged).sum())} of {len(z0)}"
    least, most = int(found.rounds.min()), int(found.rounds.max())
    error = float((found.Z - plrnn_rollout(CELL, theta, z0, d, alpha, solver="sequential")).abs().max())
    return f"{least if least == most else f'{least}-{most}'} ({error:.0e})"


def print_rounds(theta: Theta, series: Tensor, steps: tuple[int, ...], device: str) -> None:
    print("\nRounds (error); first guess: the data / zeros\n")
    print(f"| T | guess | {' | '.join(f'alpha {alpha:g}' for alpha in ALPHAS)} |\n|{'---|' * (len(ALPHAS) + 2)}")
    theta = {k: t.double().to(device) for k, t in theta.items()}
    for T in steps:
        z0, d = (t.to(device) for t in windows(series, N_WINDOWS, T))
        for name, guess in (("data", d), ("zeros", torch.zeros_like(d))):
            cells = [rounds_and_error(theta, z0, d, alpha, guess) for alpha in ALPHAS]
            print(f"| {T} | {name} | {' | '.join(cells)} |", flush=True)


def actions(theta: Theta, z0: Tensor, d: Tensor, *, with_gradients: bool) -> dict[str, Action]:
    """One call of each contender."""
    theta = {k: t.clone().requires_grad_(with_gradients) for k, t in theta.items()}
    z0 = z0.clone().requires_grad_(with_gradients)
    solvers: dict[str, Callable[[], Tensor]] = {
        "newton": lambda: plrnn_rollout(CELL, theta, z0, d, ALPHA, solver="newton"),
        "sequential": lambda: plrnn_rollout(CELL, theta, z0, d, ALPHA, solver="sequential"),
    }
    if d.shape[1] <= LONGEST_LOOP:
        solvers["torch loop"] = lambda: torch_loop(CELL, theta, z0, d, None)

    def action(solve: Callable[[], Tensor]) -> Action:
        return lambda: torch.autograd.grad(solve(), [z0, *theta.values()], d) if with_gradients else solve()

    return {name: action(solve) for name, solve in solvers.items()}


def print_times(theta: Theta, series: Tensor, steps: tuple[int, ...], device: str, effort: Effort) -> None:
    names = "newton", "sequential", "torch loop"
    print(f"\nMilliseconds on {torch.cuda.get_device_name() if device == 'cuda' else 'one thread of the CPU'}\n")
    print(f"| sequences | T | gradients | {' | '.join(names)} | sequential / newton |\n|{'---|' * 7}")
    theta = {k: t.to(device) for k, t in theta.items()}
    for B in (1, BATCH):
        for T in steps:
            if device == "cpu" and B * T > MOST_STATES_ON_CPU:
                continue
            z0, d = (t.float().to(device) for t in windows(series, B, T))
            for with_gradients in (False, True):
                calls = actions(theta, z0, d, with_gradients=with_gradients)
                seconds = interleaved(calls, clock_for(1, device), effort)
                medians = [seconds[name].median * 1e3 if name in seconds else math.nan for name in names]
                cells = " | ".join(f"{value:.3g}" for value in medians)
                what = "yes" if with_gradients else "no"
                print(f"| {B} | {T} | {what} | {cells} | {medians[1] / medians[0]:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuda", action="store_true", help="on the GPU instead of the CPU, all but the training")
    parser.add_argument("--quick", action="store_true", help="tiny shapes")
    parser.add_argument("--weights", type=Path, help=".npz file with A, W1, h1, W2, h2")
    options = parser.parse_args()
    torch.set_num_threads(1)
    series = lorenz(2000 if options.quick else STEPS[-1] + 10_000)
    theta = loaded(options.weights) if options.weights else trained(series, 20 if options.quick else 10_000)
    device = "cuda" if options.cuda else "cpu"
    print_rounds(theta, series, (20,) if options.quick else (200, 1000, 10_000), device)
    print_times(theta, series, (20, 50) if options.quick else STEPS, device, QUICK if options.quick else EFFORT)


if __name__ == "__main__":
    main()
