"""Quality on moving digits at equal training time: ConvS5 against ConvLSTM, the last frame and a black one.

::

    python -m tests.benchmarks.bench_moving_digits train ConvS5 --seed 0 --minutes 15 --output cells
    python -m tests.benchmarks.bench_moving_digits table cells
    python -m tests.benchmarks.bench_moving_digits train ConvS5 --seed 0 --minutes 0.2 --part val --output pilot

Two digits of 14 x 14 on 32 x 32, MNIST where there is its file.  A network trains on videos of 20 frames, next-frame
loss, AdamW, warm-up and cosine, until the process has spent the given CPU time on training, compilation and data
included; one thread.  The learning rate follows the share of the time that is gone, not the number of steps, so that
each network ends its schedule when its time is over.  Then 10 frames are observed and 40 made, on the same videos for
all.  Nothing is selected: the network of the last step is measured, once.
"""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pandas as pd
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from tsmodels.metrics import mse, ssim
from tsmodels.models import ConvLSTMForFrames, ConvS5ForFrames
from tsmodels.models._frames import FRAMES_PRESETS, FramesNetwork
from tsmodels.tasks import FramesTask
from tsmodels_datamodules import MovingMNISTDataModule

SIZE, CONTEXT, TRAINED, GENERATED = 32, 10, 20, 40
HORIZONS = (10, 40)
WARM_UP = 0.05


def network(name: str, preset: str) -> FramesNetwork:
    choices = dict(FRAMES_PRESETS[preset])
    if name == "ConvS5":
        return ConvS5ForFrames(1, SIZE, SIZE, **choices)
    for of_states in ("d_state", "dt_min", "dt_max"):
        choices.pop(of_states, None)
    if name == "ConvLSTM, equal size":
        choices["n_layers"] //= 2
    return ConvLSTMForFrames(1, SIZE, SIZE, **choices)


NAMES = ("ConvS5", "ConvLSTM", "ConvLSTM, equal size")


class CPUTime(L.Callback):
    """Ends training when the process has spent so many seconds, and says how far that is."""

    def __init__(self, seconds: float):
        self.seconds, self.start = seconds, time.process_time()

    @property
    def share(self) -> float:
        return min(1.0, (time.process_time() - self.start) / self.seconds)

    def rate(self, _: int) -> float:
        share = self.share
        return share / WARM_UP if share < WARM_UP else 0.5 * (1 + math.cos(math.pi * (share - WARM_UP) / (1 - WARM_UP)))

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        trainer.should_stop = self.share >= 1


def trained(
    name: str, preset: str, seed: int, minutes: float, lr: float, batch_size: int
) -> tuple[FramesNetwork, int, float]:
    """Return the network with its last weights, the number of steps and the CPU seconds spent."""
    data = MovingMNISTDataModule(
        n_frames=TRAINED, context=CONTEXT, size=SIZE, n_train=10**6, n_val=0, batch_size=batch_size, seed=seed
    )
    L.seed_everything(seed, verbose=False)
    clock = CPUTime(60 * minutes)
    task = FramesTask(
        network(name, preset), context=CONTEXT, lr=lr, schedule=lambda optimizer: LambdaLR(optimizer, clock.rate)
    )
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[clock],
        gradient_clip_val=1.0,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, train_dataloaders=data.train_dataloader())
    return task.network.eval(), trainer.global_step, time.process_time() - clock.start


def videos(part: str, n_videos: int) -> Tensor:
    """Return the same videos (video, time, 1, height, width) in [-1, 1] at every call."""
    options = {"n_val": n_videos, "n_test": n_videos, "batch_size": n_videos, "seed": 0}
    data = MovingMNISTDataModule(n_frames=CONTEXT + GENERATED, context=CONTEXT, size=SIZE, n_train=1, **options)
    loader: Any = data.test_dataloader() if part == "test" else data.val_dataloader()
    return next(iter(loader))["frames"]


def errors(frames: Tensor, target: Tensor) -> dict[str, float]:
    """Return MSE and SSIM on a range of 1 over the first frames that were made."""
    frames, target = (frames.clamp(-1, 1) + 1) / 2, (target + 1) / 2
    found = {}
    for n in HORIZONS:
        found[f"mse_{n}"] = mse(frames[:, :n], target[:, :n]).mean().item()
        found[f"ssim_{n}"] = ssim(frames[:, :n], target[:, :n]).mean().item()
    return found


def floors(part: str, n_videos: int) -> dict[str, dict[str, float]]:
    frames = videos(part, n_videos)
    target = frames[:, CONTEXT:]
    last = frames[:, CONTEXT - 1 : CONTEXT].expand_as(target)
    return {"last frame": errors(last, target), "black frame": errors(-torch.ones_like(target), target)}


def train(options: argparse.Namespace) -> None:
    net, steps, seconds = trained(
        options.name, options.preset, options.seed, options.minutes, options.lr, options.batch_size
    )
    frames = videos(options.part, options.videos)
    made = torch.cat([net.generate(some[:, :CONTEXT], GENERATED) for some in frames.split(20)])
    record = {
        "network": options.name,
        "preset": options.preset,
        "seed": options.seed,
        "minutes": options.minutes,
        "steps": steps,
        "seconds": round(seconds),
        "lr": options.lr,
        "batch_size": options.batch_size,
        "part": options.part,
        "videos": options.videos,
        "parameters": sum(p.numel() for p in net.parameters()),
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
    settings = ["preset", "minutes", "batch_size", "part", "videos"]
    if len(cells[settings].drop_duplicates()) > 1:
        raise SystemExit(
            f"{options.folder} holds results of different settings ({', '.join(settings)}): not comparable"
        )
    columns = [f"{measure}_{n}" for n in HORIZONS for measure in ("mse", "ssim")]
    print("| | parameters | steps | " + " | ".join(f"{c.split('_')[0].upper()}, {c.split('_')[1]}" for c in columns))
    print("|---" * (3 + len(columns)) + "|")
    for name, group in cells.groupby("network"):
        mean, spread = group[columns].mean(), group[columns].std()
        row = " | ".join(f"{mean[c]:.4f} ± {spread[c]:.4f}" for c in columns)
        print(f"| {name}, {len(group)} seeds | {group['parameters'].iloc[0]} | {group['steps'].mean():.0f} | {row} |")
    for name, found in floors(cells["part"].iloc[0], int(cells["videos"].iloc[0])).items():
        print(f"| {name} | | | " + " | ".join(f"{found[c]:.4f}" for c in columns) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("train", help="train and measure one network")
    one.add_argument("name", choices=NAMES)
    one.add_argument("--preset", choices=FRAMES_PRESETS, default="light", help="(default: %(default)s)")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--minutes", type=float, default=15.0, help="CPU time of training (default: %(default)s)")
    one.add_argument("--lr", type=float, default=1e-3)
    one.add_argument("--batch-size", type=int, default=4)
    one.add_argument("--part", choices=("val", "test"), default="test")
    one.add_argument("--videos", type=int, default=200)
    one.add_argument("--output", type=Path, required=True)
    one.set_defaults(run=train)
    shown = commands.add_parser("table", help="print the table of a folder")
    shown.add_argument("folder", type=Path)
    shown.set_defaults(run=table)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run(options)


if __name__ == "__main__":
    main()
