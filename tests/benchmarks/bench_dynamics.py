"""Whole epochs of training a PLRNN with Lightning against the same recipe in eager PyTorch, one thread.

::

    python -m tests.benchmarks.bench_dynamics            about a minute
    python -m tests.benchmarks.bench_dynamics --quick    two short epochs, to see that it runs

The recipe: a clipped shallow map of 3 units and 50 hidden ones, 50 batches of 16 windows of 200 steps drawn at random
from a noisy Lorenz-63 orbit, forced with alpha = 0.15, mean squared error, RAdam, a learning rate that falls by one
factor each epoch. "lightning" is ``DynamicsTask`` and ``DynamicsDataModule`` in a ``Trainer`` with a CSV logger; an
epoch lasts from the end of one to the end of the next, logging and schedule included. "eager" is a loop over steps with
as few operators as torch has for it, ``torch.optim.RAdam``, and the loss as a number once per epoch. Both take turns,
epoch by epoch, in one process, and the CPU time of the process is counted.

Before anything is timed, both are given the same weights and windows and must come to the same weights. The parts are
those of "lightning", timed alone.
"""

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator

import lightning.pytorch as L
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import ExponentialLR

from tsmodels.models import PLRNN
from tsmodels.tasks import DynamicsTask
from tsmodels.tasks._dynamics_optim import FlatRAdam
from tsmodels_datamodules import DynamicsDataModule, make_trajectory

from .bench_plrnn import ALPHA, BATCH, torch_loop

UNITS, HIDDEN, WINDOW, BATCHES, LR, LR_END = 3, 50, 200, 50, 1e-3, 1e-5
QUICK_WINDOW, QUICK_BATCHES, QUICK_EPOCHS, EPOCHS = 10, 3, 2, 10
TOLERANCE = 1e-4  # of weights after an epoch, in float32

clock = time.process_time


class EagerRecipe:
    """The recipe without anything of this package."""

    def __init__(self, theta: dict[str, Tensor], series: Tensor, window: int, n_batches: int, n_epochs: int):
        self.theta = {name: tensor.detach().clone().requires_grad_() for name, tensor in theta.items()}
        self.series, self.steps, self.n_batches = series, torch.arange(window + 1), n_batches
        self.optimizer = torch.optim.RAdam(self.theta.values(), lr=LR)
        self.schedule = ExponentialLR(self.optimizer, (LR_END / LR) ** (1 / n_epochs))
        self.losses: list[float] = []

    def windows(self) -> Iterator[Tensor]:
        for _ in range(self.n_batches):
            first = torch.randint(len(self.series) - len(self.steps) + 1, (BATCH, 1))
            yield self.series[first + self.steps]

    def epoch(self, windows: Iterator[Tensor]) -> None:
        losses = []
        for x in windows:
            self.optimizer.zero_grad()
            loss = F.mse_loss(torch_loop("cshplrnn", self.theta, x[:, 0], x[:, 1:], None), x[:, 1:])
            loss.backward()
            self.optimizer.step()
            losses.append(loss.detach())
        self.schedule.step()
        self.losses.append(float(torch.stack(losses).mean()))


class TakesTurns(L.Callback):
    """Times the epochs of a Trainer, and between them those of other contenders."""

    def __init__(self, others: dict[str, Callable[[], None]]):
        self.others, self.since = others, 0.0
        self.seconds: dict[str, list[float]] = {name: [] for name in ("lightning", *others)}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.current_epoch:  # the first epoch compiles, and has no beginning
            self.seconds["lightning"].append(clock() - self.since)
        for name, action in self.others.items():
            start = clock()
            action()
            self.seconds[name].append(clock() - start)
        self.since = clock()


def parts(network: PLRNN, data: DynamicsDataModule) -> dict[str, Callable[[], None]]:
    """What an epoch of "lightning" consists of, beside Lightning, each part for all its batches."""
    network = copy.deepcopy(network)
    batches = [batch["x"] for batch in data.train_dataloader()]
    optimizer = FlatRAdam(network.parameters(), LR)

    def windows() -> None:
        for _ in data.train_dataloader():
            pass

    def gradients() -> None:
        for x in batches:
            optimizer.zero_grad()
            F.mse_loss(network(x, alpha=ALPHA), x[:, 1:]).backward()

    def steps() -> None:
        for _ in batches:
            optimizer.step()
            network.project_()

    return {"windows": windows, "gradients": gradients, "steps of RAdam": steps}


def trainer(n_epochs: int, folder: str, **options) -> L.Trainer:
    silent = {"enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    logger = CSVLogger(folder)
    return L.Trainer(max_epochs=n_epochs, accelerator="cpu", logger=logger, log_every_n_steps=1, **silent | options)


def problem(window: int, n_batches: int) -> tuple[DynamicsTask, DynamicsDataModule, Tensor]:
    torch.manual_seed(0)
    orbit = make_trajectory("lorenz63", 20_000, noise=0.05, seed=0)
    data = DynamicsDataModule(orbit, window=window, batch_size=BATCH, batches_per_epoch=n_batches)
    task = DynamicsTask(PLRNN(UNITS, hidden_dim=HIDDEN), forcing="gtf", alpha=ALPHA, lr=LR, lr_end=LR_END)
    return task, data, torch.from_numpy(data.train_series)


def check(window: int, n_batches: int, folder: str) -> None:
    """Both come to the same weights, given the same windows."""
    task, data, series = problem(window, n_batches)
    eager = EagerRecipe(task.network.theta, series, window, n_batches, 1)
    eager.epoch(batch["x"] for batch in data.train_dataloader())
    trainer(1, folder).fit(task, data)
    for name, tensor in task.network.theta.items():
        torch.testing.assert_close(tensor, eager.theta[name], rtol=0, atol=TOLERANCE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two short epochs")
    quick = parser.parse_args().quick
    window, n_batches, n_epochs = (QUICK_WINDOW, QUICK_BATCHES, QUICK_EPOCHS) if quick else (WINDOW, BATCHES, EPOCHS)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="lightning")
    with tempfile.TemporaryDirectory() as folder:
        check(window, n_batches, folder)
        task, data, series = problem(window, n_batches)
        eager = EagerRecipe(task.network.theta, series, window, n_batches, n_epochs)
        turns = TakesTurns({"eager": lambda: eager.epoch(eager.windows())} | parts(task.network, data))
        trainer(n_epochs, folder, callbacks=[turns]).fit(task, data)
    seconds = {name: statistics.median(found) for name, found in turns.seconds.items()}
    whole, eagerly = seconds.pop("lightning"), seconds.pop("eager")
    print("| epoch of | ms | ms a step | share |\n|---|---|---|---|")
    rest = whole - sum(seconds.values())
    for name, found in {"eager": eagerly, "lightning": whole, **seconds, "Trainer and the rest": rest}.items():
        share = "" if name == "eager" else f"{found / whole:.0%}"
        print(f"| {name} | {found * 1e3:.1f} | {found / n_batches * 1e3:.3f} | {share} |")
    print(f"\nLightning is {eagerly / whole:.1f} times faster.")


if __name__ == "__main__":
    main()
