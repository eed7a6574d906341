"""Quality on moving digits at equal training time: ConvS5 against ConvLSTM, the last frame and a black one.

::

    python -m tests.benchmarks.bench_moving_digits train ConvS5 --seed 0 --minutes 15 --output cells
    python -m tests.benchmarks.bench_moving_digits table cells
    python -m tests.benchmarks.bench_moving_digits train ConvS5 --seed 0 --minutes 0.2 --part val --output pilot

Two digits of 14 x 14 on 32 x 32, MNIST where there is its file.  A network trains on videos of 20 frames until the
process has spent the given CPU time on training, compilation and data included; one thread, AdamW, warm-up and cosine.
The loss is that of the next frames, squared errors first and half squared, half absolute errors later, and in the last
part of the time also that of 10 frames generated after the first 10.  Learning rate and loss follow the share of the
time that is gone, not the number of steps, so that each network ends its schedule when its time is over.  Then 10
frames are observed and 40 made, on the same videos for all.  Nothing is selected: the network of the last step is
measured, once.  ``table`` gives mean ± standard deviation over seeds, and below that the differences to one of the
networks, there with the standard error of the difference.
"""

import argparse
import json
import math
import time
from pathlib import Path
from statistics import mean
from typing import Any

import lightning.pytorch as L
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from tsmodels.metrics import mse, ssim
from tsmodels.models import ConvLSTMForFrames, ConvS5ForFrames
from tsmodels.models._frames import FRAMES_PRESETS, FramesNetwork
from tsmodels.tasks import FramesTask
from tsmodels_datamodules import MovingMNISTDataModule

SIZE, CONTEXT, TRAINED, GENERATED = 32, 10, 20, 40
HORIZONS = (10, 40)
WIDE, EQUAL = "ConvS5, states over 3 x 3", "ConvLSTM, equal size"
SETTINGS = ("preset", "minutes", "batch_size", "squared_until", "rollout_from", "rollout_frames", "part", "videos")
WARM_UP, BETAS = 0.05, (0.9, 0.95)  # the betas of the published runs


def n_parameters(net: FramesNetwork) -> int:
    return sum(p.numel() for p in net.parameters())


def network(name: str, preset: str) -> FramesNetwork:
    choices = FRAMES_PRESETS[preset]
    if name.startswith("ConvS5"):
        return ConvS5ForFrames(1, SIZE, SIZE, state_kernel=3 if name == WIDE else 1, **choices)
    of_states = ("d_state", "dt_min", "dt_max", "mixer")
    shared = {key: value for key, value in choices.items() if key not in (*of_states, "n_layers")}
    depths = range(1, choices["n_layers"] + 1) if name == EQUAL else [choices["n_layers"]]
    nets = [ConvLSTMForFrames(1, SIZE, SIZE, n_layers=depth, **shared) for depth in depths]
    size = n_parameters(network("ConvS5", preset))
    return min(nets, key=lambda net: abs(n_parameters(net) - size))


NAMES = ("ConvS5", WIDE, "ConvLSTM", EQUAL)


class CPUTime:
    """The seconds that the process may spend from now on."""

    def __init__(self, seconds: float):
        self.seconds, self.start = seconds, time.process_time()

    @property
    def spent(self) -> float:
        return time.process_time() - self.start

    @property
    def share(self) -> float:
        return min(1.0, self.spent / self.seconds)

    def rate(self, _: int = 0) -> float:
        """Return the share of the peak learning rate at this moment."""
        share = self.share
        return share / WARM_UP if share < WARM_UP else 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))


class Timetable(L.Callback):
    """Chooses loss and length of the videos by the share of the time that is gone, and ends training when all is."""

    def __init__(self, clock: CPUTime, squared_until: float, rollout_from: float, rollout_frames: int):
        self.clock, self.squared_until = clock, squared_until
        self.rollout_from, self.rollout_frames = rollout_from, rollout_frames
        self.peak_lr = 0.0

    def on_train_batch_start(self, trainer: L.Trainer, task: Any, batch: dict[str, Tensor], *_: Any) -> None:
        task.loss = "mse" if self.clock.share < self.squared_until else "mse+mae"
        generates = self.clock.share >= self.rollout_from
        task.rollout_frames = self.rollout_frames if generates else 0
        batch["frames"] = batch["frames"][:, : CONTEXT + self.rollout_frames if generates else TRAINED]

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self.peak_lr = max(self.peak_lr, trainer.optimizers[0].param_groups[0]["lr"])
        trainer.should_stop = self.clock.share >= 1


def trained(options: argparse.Namespace) -> tuple[FramesNetwork, dict[str, Any]]:
    """Return the network with its last weights, and steps, CPU seconds, the largest learning rate and whose digits."""
    data = MovingMNISTDataModule(
        n_frames=max(TRAINED, CONTEXT + options.rollout_frames),
        context=CONTEXT,
        size=SIZE,
        n_train=10**6,
        n_val=0,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    L.seed_everything(options.seed, verbose=False)
    clock = CPUTime(60 * options.minutes)
    timetable = Timetable(clock, options.squared_until, options.rollout_from, options.rollout_frames)
    net = network(options.name, options.preset)
    task = FramesTask(
        net,
        context=CONTEXT,
        optimizer=lambda groups: AdamW(groups, lr=options.lr, betas=BETAS, weight_decay=1e-5),
        # a schedule alone is stepped once per epoch, and this run has one
        schedule=lambda optimizer: {"scheduler": LambdaLR(optimizer, clock.rate), "interval": "step"},
    )
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[timetable],
        gradient_clip_val=1.0,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, train_dataloaders=data.train_dataloader())
    return net.eval(), {
        "steps": trainer.global_step,
        "seconds": round(clock.spent, 1),
        "peak_lr": timetable.peak_lr,
        "digits": data.source,
    }


def videos(part: str, n_videos: int) -> Tensor:
    """Return the same videos (video, time, 1, height, width) in [-1, 1] at every call."""
    data = MovingMNISTDataModule(
        n_frames=CONTEXT + GENERATED,
        context=CONTEXT,
        size=SIZE,
        n_train=1,
        n_val=n_videos,
        n_test=n_videos,
        batch_size=n_videos,
        seed=0,
    )
    loader: Any = data.test_dataloader() if part == "test" else data.val_dataloader()
    return next(iter(loader))["frames"]


def on_range_1(frames: Tensor) -> Tensor:
    """From [-1, 1], which a linear output may leave, to [0, 1]."""
    return (frames.clamp(-1, 1) + 1) / 2


def errors(frames: Tensor, target: Tensor) -> dict[str, float]:
    """Return MSE and SSIM on a range of 1 over the first frames that were made."""
    frames, target = on_range_1(frames), on_range_1(target)
    found = {}
    for n in HORIZONS:
        found[f"mse_{n}"] = mse(frames[:, :n], target[:, :n]).mean().item()
        found[f"ssim_{n}"] = ssim(frames[:, :n], target[:, :n]).mean().item()
    return found


@torch.no_grad()
def one_step_error(net: FramesNetwork, frames: Tensor) -> float:
    """Return the MSE of frames 11 to 20, each predicted from all before it."""
    found = []
    for some in frames.split(20):
        predictions, _ = net(some[:, : TRAINED - 1])
        found.append(mse(on_range_1(predictions[:, CONTEXT - 1 :]), on_range_1(some[:, CONTEXT:TRAINED])).mean().item())
    return mean(found)


def floors(part: str, n_videos: int) -> dict[str, dict[str, float]]:
    frames = videos(part, n_videos)
    target = frames[:, CONTEXT:]
    last = frames[:, CONTEXT - 1 : CONTEXT].expand_as(target)
    return {"last frame": errors(last, target), "black frame": errors(-torch.ones_like(target), target)}


def train(options: argparse.Namespace) -> None:
    net, spent = trained(options)
    frames = videos(options.part, options.videos)
    made = torch.cat([net.generate(some[:, :CONTEXT], GENERATED) for some in frames.split(20)])
    record = {
        **{each: getattr(options, each) for each in ("name", "seed", "lr", *SETTINGS)},
        **spent,
        "parameters": n_parameters(net),
        "one_step_mse": one_step_error(net, frames),
        **errors(made, frames[:, CONTEXT:]),
    }
    options.output.mkdir(parents=True, exist_ok=True)
    name = f"{options.name.replace(', ', '-').replace(' ', '-')}_{options.seed}"
    (options.output / f"{name}.json").write_text(json.dumps(record) + "\n")
    torch.save(net.state_dict(), options.output / f"{name}.pt")
    print(json.dumps(record))


def table(options: argparse.Namespace) -> None:
    records = [json.loads(path.read_text()) for path in sorted(options.folder.glob("*.json"))]
    if not records:
        raise SystemExit(f"no results in {options.folder}")
    cells = pd.DataFrame(records)
    compared = (*SETTINGS, "digits")
    if len(cells[[*compared]].drop_duplicates()) > 1:
        raise SystemExit(
            f"{options.folder} holds results of different settings ({', '.join(compared)}): not comparable"
        )
    here, trained_on = MovingMNISTDataModule(size=SIZE).source, cells["digits"].iloc[0]
    if here != trained_on:
        raise SystemExit(
            f"trained on {trained_on} digits, the floors would be of {here} digits: set TSMODELS_DATA alike"
        )
    generated = [f"{measure}_{n}" for n in HORIZONS for measure in ("mse", "ssim")]
    columns = ["one_step_mse", *generated]
    titles = ["MSE, next frame", *(f"{c.split('_')[0].upper()}, {c.split('_')[1]}" for c in generated)]
    print("| | parameters | steps | " + " | ".join(titles) + " |")
    print("|---" * (3 + len(columns)) + "|")
    for name, group in cells.groupby("name"):
        row = " | ".join(f"{group[c].mean():.4f} ± {group[c].std():.4f}" for c in columns)
        print(f"| {name}, {len(group)} seeds | {group['parameters'].iloc[0]} | {group['steps'].mean():.0f} | {row} |")
    means, sems = (getattr(cells.groupby("name")[columns], each)() for each in ("mean", "sem"))
    one = options.reference
    for name in means.index.drop(one) if one in means.index else ():
        shifts, spread = means.loc[name] - means.loc[one], np.hypot(sems.loc[name], sems.loc[one])
        row = " | ".join(f"{shifts[c]:+.4f} ± {spread[c]:.4f}" for c in columns)
        print(f"| {name} minus {one} | | | {row} |")
    for name, found in floors(cells["part"].iloc[0], int(cells["videos"].iloc[0])).items():
        print(f"| {name} | | | | " + " | ".join(f"{found[c]:.4f}" for c in generated) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("train", help="train and measure one network")
    one.add_argument("name", choices=NAMES)
    one.add_argument("--preset", choices=FRAMES_PRESETS, default="light", help="(default: %(default)s)")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--minutes", type=float, default=15.0, help="CPU time of training (default: %(default)s)")
    one.add_argument("--lr", type=float, default=4e-3)
    one.add_argument("--batch-size", type=int, default=4)
    one.add_argument("--squared-until", type=float, default=0.6, help="share of the time without absolute errors")
    one.add_argument("--rollout-from", type=float, default=0.85, help="share of the time before frames are generated")
    one.add_argument("--rollout-frames", type=int, default=10, help="frames that are then generated")
    one.add_argument("--part", choices=("val", "test"), default="test")
    one.add_argument("--videos", type=int, default=200)
    one.add_argument("--output", type=Path, required=True)
    one.set_defaults(run=train)
    shown = commands.add_parser("table", help="print the table of a folder")
    shown.add_argument("folder", type=Path)
    shown.add_argument("--reference", choices=NAMES, default="ConvS5", help="whose differences to the others are shown")
    shown.set_defaults(run=table)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run(options)


if __name__ == "__main__":
    main()
