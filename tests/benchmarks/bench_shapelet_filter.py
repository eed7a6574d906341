"""The shapelet filter for all shapelets at once against a loop over shapelets, forward and backward.

::

    python -m tests.benchmarks.bench_shapelet_filter             half a minute on one core
    python -m tests.benchmarks.bench_shapelet_filter --quick     small, to see that it runs

The loop is what one would write first: for each shapelet the windows around its place, their squared differences from
it times the factor of complexities, the smallest, and two linear maps. Tokens and gradients of both are compared
before anything is timed; the exit status is 1 if they differ. Both are given the same single-precision series; the
loop stays in single precision, the filter searches in double.

One thread: median CPU time of the process. More threads: wall time.
"""

import argparse
import sys
from functools import partial

import torch
from torch import Tensor, nn

from tsmodels.layers import ShapeletFilter
from tsmodels.layers._shapelet_filter import COMPLEXITY_FLOOR

from .timing import Effort, clock_for, interleaved

N_CASES, N_CHANNELS, D_MODEL = 16, 6, 128
TOLERANCE = 1e-4  # of gradients, relative to the largest: sums over the batch in single precision
EFFORTS = {"quick": Effort(3, 0.0, 0.1, 10.0), "default": Effort(15, 0.1, 3.0, 10.0)}


def make_filter(n_shapelets: int, n_timepoints: int) -> ShapeletFilter:
    """Shapelets of lengths as they are found: most are short, a few are as long as the series."""
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(n_shapelets, generator=generator) ** 3
    length = (2 + share * (n_timepoints - 2)).long()
    start = (torch.rand(n_shapelets, generator=generator) * (n_timepoints - length + 1)).long()
    values = torch.randn(n_shapelets, int(length.max()), generator=generator)
    channel = torch.arange(n_shapelets) % N_CHANNELS
    return ShapeletFilter(values, length, channel, start, window=n_timepoints // 5, d_model=D_MODEL)


class LoopedFilter(nn.Module):
    """The same by a loop, with the values of a filter."""

    def __init__(self, layer: ShapeletFilter):
        super().__init__()
        self.window, self.shapelets = layer.window, nn.ParameterList(layer.values())
        self.places = list(zip(layer.channel.tolist(), layer.start.tolist(), strict=True))
        self.of_window, self.of_shapelet = (
            nn.ModuleList(_linear(layer, weight, bias, j) for j in range(len(self.places)))
            for weight, bias in (
                (layer.window_weight, layer.window_bias),
                (layer.shapelet_weight, layer.shapelet_bias),
            )
        )
        with torch.no_grad():
            self.position = layer.of_channel() + layer.of_start() + layer.of_end()

    def forward(self, x: Tensor) -> Tensor:
        maps = zip(self.shapelets, self.places, self.of_window, self.of_shapelet, strict=True)
        tokens = [to_d(self._nearest(x[..., v], s, place)) - own(s) for s, (v, place), to_d, own in maps]
        return torch.stack(tokens, 1) + self.position

    @torch.no_grad()
    def _nearest(self, x: Tensor, shapelet: Tensor, place: int) -> Tensor:
        n = len(shapelet)
        windows = x[:, max(0, place - self.window) : place + n + self.window].unfold(1, n, 1)
        theirs, own = (t.diff(dim=-1).square().sum(-1) + COMPLEXITY_FLOOR for t in (windows, shapelet))
        squared = (windows - shapelet).square().sum(-1) * theirs.maximum(own) / theirs.minimum(own)
        return windows[torch.arange(len(x)), squared.argmin(1)]


def _linear(layer: ShapeletFilter, weight: Tensor, bias: Tensor, j: int) -> nn.Linear:
    rows = weight.detach()[layer.owner == j].flatten(0, 1)[: int(layer.length[j])]
    linear = nn.Linear(rows.shape[0], rows.shape[1])
    linear.weight.data, linear.bias.data = rows.T.clone(), bias.detach()[j].clone()
    return linear


def forward_backward(layer: nn.Module, x: Tensor, weights: Tensor) -> Tensor:
    """Tokens; gradients of parameters are left where the optimiser would look for them."""
    layer.zero_grad(set_to_none=True)
    tokens = layer(x)
    (tokens * weights).sum().backward()
    return tokens.detach()


def difference(batched: ShapeletFilter, looped: LoopedFilter, x: Tensor, weights: Tensor) -> float:
    """Largest difference of tokens, and of gradients of shapelets and of the maps of windows, relative."""
    pairs = [(forward_backward(batched, x, weights), forward_backward(looped, x, weights))]
    for j, shapelet in enumerate(looped.shapelets):
        rows, n = batched.owner == j, len(shapelet)
        pairs.append((_grad(batched.shapelets)[rows].flatten()[:n], _grad(shapelet)))
        pairs.append((_grad(batched.window_weight)[rows].flatten(0, 1)[:n], _grad(looped.of_window[j].weight).T))
    return max(((one - other).abs().max() / other.abs().max()).item() for one, other in pairs)


def _grad(parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def main() -> int:
    """Print a table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small, to see that it runs")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    effort = EFFORTS["quick" if arguments.quick else "default"]
    print(f"{N_CASES} series of {N_CHANNELS} channels, width {D_MODEL}, {arguments.threads} thread(s), ms per call")
    print(f"{'shapelets':>9} {'steps':>6} {'batched':>8} {'loop':>8} {'ratio':>6} {'difference':>10}")
    status = 0
    for n_shapelets, n_timepoints in ((5, 30),) if arguments.quick else ((40, 100), (40, 144), (400, 100), (400, 144)):
        torch.manual_seed(0)
        batched = make_filter(n_shapelets, n_timepoints)
        looped = LoopedFilter(batched)
        x = torch.randn(N_CASES, n_timepoints, N_CHANNELS)
        weights = torch.randn(N_CASES, n_shapelets, D_MODEL)
        found = difference(batched, looped, x, weights)
        layers = {"batched": batched, "loop": looped}
        actions = {name: partial(forward_backward, layer, x, weights) for name, layer in layers.items()}
        seconds = interleaved(actions, clock_for(arguments.threads, "cpu"), effort)
        ours, theirs = (1e3 * seconds[name].median for name in ("batched", "loop"))
        print(f"{n_shapelets:9} {n_timepoints:6} {ours:8.2f} {theirs:8.2f} {theirs / ours:6.1f} {found:10.1e}")
        if found > TOLERANCE:
            print("the two differ", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
