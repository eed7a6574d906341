"""Training step and generation of the networks over frames, and the scan of ConvS5 against torch.

::

    python -m tests.benchmarks.bench_frames                    a few minutes, one thread
    python -m tests.benchmarks.bench_frames --quick            tiny shapes, to see that it runs
    python -m tests.benchmarks.bench_frames --device cuda

Float32.  The reference is ConvS5 with 4 layers of width 64 behind an encoder that halves frames of 32 x 32 twice.
"equal width" is another network with as many layers of the same width, "equal size" one with as many parameters as far
as whole layers allow.  A training step is loss, gradients and AdamW; "layers" is forward and backward of the layers
along time without encoder and decoder; "scan" is the share of the scans in the step of ConvS5, measured by themselves
on tensors of the same size.  With generated frames, the loss of those after the first half of the video is added, by
the network's ``stepper`` or by ``forward`` of one frame at a time.  Generation is of one video: frames per second of
``generate``, observing included, and milliseconds for each further frame, from the difference of a long and a short
generation.

One thread on a CPU: median CPU time of the process, contenders taking turns.  Else the median of wall time.
"""

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsmodels.models import ConvLSTMForFrames, ConvS5ForFrames, TransformerForFrames
from tsmodels.models._frames import FramesNetwork
from tsmodels.tasks import FramesTask
from tsmodels_kernels import linear_scan

from .timing import Action, Clock, Effort, Seconds, clock_for, interleaved

EFFORT = Effort(rounds=7, turn=0.05, most=10.0, longest=60.0)
N_GENERATED = 40
CHUNK = 32


class Scale(NamedTuple):
    """Sizes of one run of all tables."""

    size: int
    widths: tuple[int, ...]
    d_model: int
    n_layers: int
    steps: list[tuple[int, int]]  # frames, batch
    contexts: list[int]
    scans: list[tuple[int, int, int, int]]  # batch, frames, states, cells


FULL = Scale(
    size=32,
    widths=(16, 32, 64),
    d_model=64,
    n_layers=4,
    steps=[(20, 4), (100, 1)],
    contexts=[10, 100],
    scans=[(4, 20, 32, 64), (1, 100, 32, 64), (4, 100, 32, 256)],
)
QUICK = Scale(size=8, widths=(4, 8), d_model=8, n_layers=2, steps=[(4, 2)], contexts=[2], scans=[(2, 5, 4, 6)])


def networks(scale: Scale) -> dict[str, FramesNetwork]:
    shape, depth = (1, scale.size, scale.size), scale.n_layers
    width = {"d_model": scale.d_model, "widths": scale.widths, "groups": 4}
    half = max(1, depth // 2)
    return {
        "ConvS5": ConvS5ForFrames(*shape, d_state=scale.d_model, n_layers=depth, **width),
        "ConvS5, states over 3 x 3": ConvS5ForFrames(
            *shape, d_state=scale.d_model, n_layers=depth, state_kernel=3, **width
        ),
        "ConvLSTM, equal width": ConvLSTMForFrames(*shape, n_layers=depth, **width),
        "ConvLSTM, equal size": ConvLSTMForFrames(*shape, n_layers=half, **width),
        "transformer, equal width": TransformerForFrames(*shape, n_layers=depth, **width),
        "transformer, equal size": TransformerForFrames(*shape, n_layers=half, **width),
        "transformer, no cache": TransformerForFrames(*shape, n_layers=depth, cached=False, **width),
    }


def training_step(net: FramesNetwork, frames: Tensor) -> Action:
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4)

    def step() -> None:
        optimiser.zero_grad()
        predictions, _ = net(frames[:, :-1])
        F.mse_loss(predictions, frames[:, 1:]).backward()
        optimiser.step()

    return step


class WithoutStepper(nn.Module):
    """A network of which a task sees ``forward`` only, and so generates frame by frame with that."""

    def __init__(self, net: FramesNetwork):
        super().__init__()
        self.net, self.generate = net, net.generate

    def forward(self, frames: Tensor, state: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        return self.net(frames, state)


def loss_and_gradients(net: nn.Module, frames: Tensor, rollout_frames: int) -> Action:
    task = FramesTask(net, context=frames.shape[1] // 2, rollout_frames=rollout_frames)

    def step() -> None:
        task.zero_grad()
        task.training_step({"frames": frames}, 1).backward()

    return step


def layers_alone(net: FramesNetwork, frames: Tensor) -> Action:
    with torch.no_grad():
        latents = net.encoder(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    latents = latents.requires_grad_()

    def step() -> None:
        y = latents
        for layer in net.layers:
            y, _ = layer(y)
        y.square().sum().backward()

    return step


class InPlaceLoop(torch.autograd.Function):
    """The best a loop of torch operators does: one buffer, and a backward loop of its own."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
        x = b.clone()
        for t in range(1, x.shape[1]):
            x[:, t].addcmul_(a, x[:, t - 1])
        ctx.save_for_backward(a, x)
        return x

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        a, x = ctx.saved_tensors
        adjoint = grad.clone()
        for t in range(x.shape[1] - 2, -1, -1):
            adjoint[:, t].addcmul_(a.conj(), adjoint[:, t + 1])
        return (adjoint[:, 1:] * x[:, :-1].conj()).sum((0, 1, 2)), adjoint


def toeplitz(a: Tensor, b: Tensor) -> Tensor:
    """Chunks of 32 steps by one lower-triangular product each, the carry from chunk to chunk in a loop."""
    n_steps = b.shape[1]
    chunks = F.pad(b, (0, 0, 0, 0, 0, -n_steps % CHUNK)).unflatten(1, (-1, CHUNK))  # batch, chunk, step, cell, state
    power = torch.arange(CHUNK, device=b.device)
    age = power[:, None] - power
    decay = torch.where(age >= 0, a[:, None, None] ** age.clamp(min=0), 0)  # state, step, step
    inside = torch.einsum("pij,bkjsp->bkisp", decay, chunks)
    fade = a ** (power[:, None, None] + 1)  # step, cell, state
    state, done = torch.zeros_like(b[:, 0]), []
    for chunk in inside.unbind(1):
        done.append(chunk + fade * state[:, None])
        state = done[-1][:, -1]
    return torch.cat(done, 1)[:, :n_steps]


SCANS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "linear_scan": lambda a, b: linear_scan(a, b)[0],
    "torch loop": InPlaceLoop.apply,
    "Toeplitz": toeplitz,
}


def scan_inputs(batch: int, n_frames: int, n_states: int, n_cells: int, device: str) -> tuple[Tensor, Tensor]:
    a = torch.polar(1 - 0.1 * torch.rand(n_states), 6 * torch.rand(n_states)).to(device)
    b = torch.randn(batch, n_frames, n_cells, n_states, dtype=torch.complex64, device=device)
    return a.requires_grad_(), b.requires_grad_()


def scan_step(scan: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    weights = b.detach().clone()
    return lambda: torch.autograd.grad(scan(a, b), (a, b), weights)


def check_scans(a: Tensor, b: Tensor) -> None:
    """All contenders against the first, before anything is timed."""
    expected = scan_step(SCANS["linear_scan"], a, b)()
    for name, scan in SCANS.items():
        for got, exact in zip(scan_step(scan, a, b)(), expected, strict=True):
            error = (got - exact).abs().max() / exact.abs().max()
            if not error < 1e-4:
                raise AssertionError(f"{name} differs from linear_scan by {error:.1e} of the largest gradient")


def millions(net: nn.Module) -> str:
    return f"{sum(p.numel() for p in net.parameters()) / 1e6:.2f} M"


def report_scans(scale: Scale, device: str, clock: Clock) -> None:
    print("\n### The scan, forward and backward, ms (batch x frames x cells x complex states)\n")
    print(f"| shape | {' | '.join(SCANS)} |\n|---|{'---|' * len(SCANS)}")
    for batch, n_frames, n_states, n_cells in scale.scans:
        a, b = scan_inputs(batch, n_frames, n_states, n_cells, device)
        check_scans(a, b)
        found = interleaved({name: scan_step(scan, a, b) for name, scan in SCANS.items()}, clock, EFFORT)
        times = " | ".join(f"{1e3 * seconds.median:.2f}" for seconds in found.values())
        print(f"| {batch}x{n_frames}x{n_cells}x{n_states} | {times} |")


def report_training(scale: Scale, nets: dict[str, FramesNetwork], device: str, clock: Clock) -> None:
    print("\n### Training step, ms: median (best), and how many times that of ConvS5\n")
    print("| network | parameters | frames x batch | step | x ConvS5 | layers | x ConvS5 | scan |")
    print("|---|---|---|---|---|---|---|---|")
    contenders = {name: net for name, net in nets.items() if name != "transformer, no cache"}  # trains like the other
    for n_frames, batch in scale.steps:
        frames = 2 * torch.rand(batch, n_frames + 1, 1, scale.size, scale.size, device=device) - 1
        actions = {name: training_step(net, frames) for name, net in contenders.items()}
        steps = interleaved(actions, clock, EFFORT)
        actions = {name: layers_alone(net, frames[:, 1:]) for name, net in contenders.items()}
        layers = interleaved(actions, clock, EFFORT)
        height, width = nets["ConvS5"].latent_size
        inputs = scan_inputs(batch, n_frames, scale.d_model // 2, height * width, device)
        scan = interleaved({"scan": scan_step(SCANS["linear_scan"], *inputs)}, clock, EFFORT)["scan"]
        for name, net in contenders.items():
            share = f"{scale.n_layers * scan.median / steps[name].median:.1%}" if name == "ConvS5" else "-"
            print(
                f"| {name} | {millions(net)} | {n_frames}x{batch} | {_columns(steps, name)} | {_columns(layers, name)} "
                f"| {share} |"
            )


def _columns(found: dict[str, Seconds], name: str) -> str:
    seconds = found[name]
    ratio = seconds.median / found["ConvS5"].median
    return f"{1e3 * seconds.median:.1f} ({1e3 * seconds.best:.1f}) | {ratio:.2f}"


def report_rollouts(scale: Scale, nets: dict[str, FramesNetwork], device: str, clock: Clock) -> None:
    n_frames, batch = scale.steps[0]
    frames = 2 * torch.rand(batch, n_frames, 1, scale.size, scale.size, device=device) - 1
    n_generated = n_frames // 2
    print(f"\n### Loss and gradients with {n_generated} generated frames of {n_frames}x{batch}, times those without\n")
    print("| network | without, ms | with | the same, generated by `forward` |\n|---|---|---|---|")
    for name in ("ConvS5", "ConvLSTM, equal width", "ConvLSTM, equal size"):
        net = nets[name]
        actions = {
            "without": loss_and_gradients(net, frames, 0),
            "with": loss_and_gradients(net, frames, n_generated),
            "forward": loss_and_gradients(WithoutStepper(net), frames, n_generated),
        }
        found = {each: seconds.median for each, seconds in interleaved(actions, clock, EFFORT).items()}
        ratios = " | ".join(f"{found[each] / found['without']:.2f}" for each in ("with", "forward"))
        print(f"| {name} | {1e3 * found['without']:.1f} | {ratios} |")


def report_generation(scale: Scale, nets: dict[str, FramesNetwork], device: str, clock: Clock) -> None:
    print(f"\n### Generation of {N_GENERATED} frames, one video\n")
    print("| network | parameters | context | frames/s | ms for each further frame |\n|---|---|---|---|---|")
    for n_context in scale.contexts:
        context = 2 * torch.rand(1, n_context, 1, scale.size, scale.size, device=device) - 1
        actions: dict[str, Action] = {}
        for name, net in nets.items():
            actions[name] = partial(net.generate, context, N_GENERATED)
            actions[f"{name}, one"] = partial(net.generate, context, 1)
        found = interleaved(actions, clock, EFFORT)
        for name, net in nets.items():
            whole, one = found[name].median, found[f"{name}, one"].median
            further = 1e3 * (whole - one) / (N_GENERATED - 1)
            print(f"| {name} | {millions(net)} | {n_context} | {N_GENERATED / whole:.1f} | {further:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny shapes, to see that it runs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="You are trying to `self.log")  # of tasks without a trainer
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    scale, clock = QUICK if options.quick else FULL, clock_for(options.threads, options.device)
    nets = {name: net.to(options.device) for name, net in networks(scale).items()}
    print(
        f"{options.device}, {options.threads} thread(s), torch {torch.__version__}, frames {scale.size} x {scale.size}"
    )
    report_scans(scale, options.device, clock)
    report_training(scale, nets, options.device, clock)
    report_rollouts(scale, nets, options.device, clock)
    report_generation(scale, nets, options.device, clock)


if __name__ == "__main__":
    main()
