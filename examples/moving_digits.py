"""Teach ConvS5 how two digits fly and bounce, let it go on by itself, and draw what it imagines beside what happens.

The network learns the next frame of videos of 20 frames, all frames in one parallel pass. Then it observes 10 frames of
videos with digits that it never saw, and imagines the 40 after them, one by one, each at the same cost. Printed are the
errors beside those of two forecasts that any network must beat: the last frame again and again, and black frames. The
digits are those of MNIST where the folder that TSMODELS_DATA names has them, else scikit-learn's.

    python examples/moving_digits.py [--fast] [--steps 4000] [--output moving_digits.png] [--film moving_digits.gif]

4000 steps take about a quarter of an hour on one core.
"""

import argparse
from pathlib import Path

import lightning.pytorch as L
import torch

from tsmodels.metrics import mse, ssim
from tsmodels.models import ConvS5ForFrames
from tsmodels.plots import plot_frames, save_gif
from tsmodels.tasks import FramesTask
from tsmodels_datamodules import MovingMNISTDataModule

CONTEXT, TRAINED, IMAGINED = 10, 20, 40
BATCH = 4
# 8 x 8 patches of 4 x 4 pixels: a network that one core can train; not squashed, or it can end in black (see its page)
NETWORK = {"d_model": 32, "d_state": 32, "n_layers": 4, "widths": (32,), "patch_size": 4, "output": "linear"}
NETWORK |= {"dt_min": 1e-2, "dt_max": 1.0, "mixer": "swiglu"}
TINY = {"d_model": 8, "d_state": 8, "n_layers": 1, "widths": (8,), "patch_size": 4}


def load(n_frames: int, n_train: int, n_test: int, source: str) -> MovingMNISTDataModule:
    """Return videos of 32 x 32 with two digits."""
    sizes = {"n_train": n_train, "n_val": BATCH, "n_test": n_test, "batch_size": BATCH}
    return MovingMNISTDataModule(n_frames=n_frames, context=CONTEXT, size=32, source=source, seed=0, **sizes)


def main() -> None:
    """Train, imagine, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="a tiny network and two steps: to see that it runs")
    parser.add_argument("--steps", type=int, default=4000, help="of 4 videos (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("moving_digits.png"), help="picture to write")
    parser.add_argument("--film", type=Path, help="animated GIF to write")
    arguments = parser.parse_args()

    L.seed_everything(0, verbose=False)
    steps, source = (2, "digits") if arguments.fast else (arguments.steps, "auto")
    data = load(TRAINED, n_train=BATCH * steps, n_test=0, source=source)
    network = ConvS5ForFrames(data.n_channels, data.height, data.width, **(TINY if arguments.fast else NETWORK))
    task = FramesTask(network, context=CONTEXT, lr=4e-3)
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=not arguments.fast,
    )
    trainer.fit(task, datamodule=data)

    network.eval()
    test = load(CONTEXT + IMAGINED, n_train=1, n_test=BATCH if arguments.fast else 100, source=source)
    frames = torch.cat([batch["frames"] for batch in test.test_dataloader()])
    context, truth = frames[:, :CONTEXT], frames[:, CONTEXT:]
    forecasts = {
        "ConvS5": network.generate(context, IMAGINED).clamp(-1, 1),
        "last frame": context[:, -1:].expand_as(truth),
        "black frame": -torch.ones_like(truth),
    }
    print(f"{len(frames)} test videos, {data.source} digits{'MSE, SSIM of 10 frames':>27}{'of 40':>17}")
    for name, forecast in forecasts.items():
        pairs = [((forecast[:, :n] + 1) / 2, (truth[:, :n] + 1) / 2) for n in (10, IMAGINED)]
        errors = [f"{mse(a, b).mean():8.4f} {ssim(a, b).mean():8.3f}" for a, b in pairs]
        print(f"{name:40}", *errors)

    axes = plot_frames(truth[0], {"ConvS5": forecasts["ConvS5"][0]}, n_columns=10, value_range=(-1, 1))
    axes[0, 0].get_figure().savefig(arguments.output, dpi=150)
    print("picture:", arguments.output)
    if arguments.film:
        save_gif([frames[0], torch.cat([context[0], forecasts["ConvS5"][0]])], arguments.film, value_range=(-1, 1))
        print("film:", arguments.film)


if __name__ == "__main__":
    main()
