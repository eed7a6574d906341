"""Train Chimera on ETTh1 with a Trainer of your own, test it once, and draw its errors by step of the horizon.

The data are found in the folder that TSMODELS_DATA names, or downloaded; offline and without them, and with --fast, two
waves with noise take their place.

    python examples/lightning_forecasting.py [--fast] [--output lightning_forecasting.png]
"""

import argparse
import tempfile
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pandas as pd
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from tsmodels.models import ChimeraForForecasting
from tsmodels.plots import plot_horizon_errors
from tsmodels.tasks import ForecastingTask
from tsmodels_datamodules import DataNotFoundError, ForecastingSetDataModule, WindowDataModule


def made_up_data(n_timepoints: int, lookback: int, horizon: int) -> WindowDataModule:
    """Return windows of two waves, the second of which follows the first 6 steps later."""
    rng = np.random.default_rng(0)
    time = np.arange(n_timepoints + 6)
    wave = np.sin(2 * np.pi * time / 24) + 0.5 * np.sin(2 * np.pi * time / 60) + 0.1 * rng.normal(size=len(time))
    y = np.stack([wave[6:], wave[:-6]], axis=1)
    return WindowDataModule(y, lookback, horizon, split=(0.7, 0.1, 0.2), batch_size=32)


def load(fast: bool) -> WindowDataModule | ForecastingSetDataModule:
    """Return the windows."""
    if fast:
        return made_up_data(600, lookback=48, horizon=12)
    data = ForecastingSetDataModule("ETTh1", lookback=96, horizon=96, stride=4, batch_size=32)
    try:
        data.prepare_data()
    except DataNotFoundError as error:
        print(error, "Made-up data instead.")
        return made_up_data(4000, lookback=96, horizon=96)
    return data


def main() -> None:
    """Train, test, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="made-up data and one epoch: to see that it runs")
    parser.add_argument("--output", type=Path, default=Path("lightning_forecasting.png"), help="picture to write")
    arguments = parser.parse_args()

    L.seed_everything(0)
    data = load(arguments.fast)
    size = {"d_model": 8, "d_state": 4, "n_layers": 1} if arguments.fast else {"d_model": 32, "d_state": 16}
    network = ChimeraForForecasting(data.n_channels, data.lookback, data.horizon, **size)
    task = ForecastingTask(network, loss="mse", lr=1e-3)

    with tempfile.TemporaryDirectory() as folder:
        best = ModelCheckpoint(folder, monitor="val/loss")
        trainer = L.Trainer(
            max_epochs=1 if arguments.fast else 10,
            accelerator="cpu",
            callbacks=[best, EarlyStopping("val/loss", patience=3)],
            gradient_clip_val=1.0,
            logger=False,
            enable_model_summary=False,
            enable_progress_bar=not arguments.fast,
        )
        trainer.fit(task, datamodule=data)
        (metrics,) = trainer.test(
            task, datamodule=data, ckpt_path=best.best_model_path, weights_only=True, verbose=False
        )

    for name, value in metrics.items():
        print(f"{name:20} {value:.4f}")
    by_step = {name: values.numpy() for name, values in task.horizon_metrics.items()}
    errors = pd.DataFrame({"model": "Chimera", "step": np.arange(1, data.horizon + 1), **by_step})
    axes = plot_horizon_errors(errors, "mae")
    axes[0].get_figure().savefig(arguments.output, dpi=150)
    print("picture:", arguments.output)


if __name__ == "__main__":
    main()
