"""Learn the Lorenz system from a noisy series, let the network run freely, and draw its attractor beside the true one.

The network, a clipped shallow piecewise-linear RNN, sees three noisy coordinates and no equation. Neither loss nor
short-term errors tell whether its free run stays on the attractor: every 50 epochs it runs beside a validation part of
the training series, and the best of these networks is kept. Printed are the
measures of its free run beside the floor (one half of the test series against the other), its Lyapunov exponents, and
its fixed points beside those of the equations.

    python examples/reconstruct_lorenz.py [--fast] [--epochs 1000] [--output reconstruct_lorenz.png]
"""

import argparse
import tempfile
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tsmodels.dynamics import evaluate_reconstruction, fixed_points, reconstruction_floor
from tsmodels.models import PLRNN
from tsmodels.plots import plot_attractor
from tsmodels.tasks import DynamicsTask
from tsmodels_datamodules import SYSTEMS, DynamicsDataModule, make_trajectory

LORENZ = SYSTEMS["lorenz63"]
N_DRAWN = 20_000  # points
TRUE_EXPONENT = 0.905  # per unit of time, by variational equations


def load(fast: bool) -> DynamicsDataModule:
    """Return a training series with 5 % noise and a clean test series."""
    n = 3000 if fast else 100_000
    train, test = np.split(make_trajectory(LORENZ, 2 * n), 2)
    train = train + 0.05 * train.std(0) * np.random.default_rng(0).normal(size=train.shape)
    return DynamicsDataModule(train, test=test, window=200, val_fraction=0.2, seed=0)


def print_fixed_point(of: str, place: np.ndarray, rates: np.ndarray) -> None:
    """Print where a fixed point is, and the eigenvalue with the largest real part."""
    leading = rates[np.argmax(rates.real)]
    print(f"  {of:10}", *(f"{value:7.2f}" for value in place), f"   {leading.real:6.2f} ± {abs(leading.imag):5.2f} i")


def main() -> None:
    """Train, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="a short series and two epochs: to see that it runs")
    parser.add_argument("--epochs", type=int, default=1000, help="of 50 batches of 16 windows (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("reconstruct_lorenz.png"), help="picture to write")
    arguments = parser.parse_args()

    L.seed_everything(0, verbose=False)
    data = load(arguments.fast)
    network = PLRNN(3, cell="cshplrnn", hidden_dim=50)
    task = DynamicsTask(network, forcing="gtf", alpha=0.15, lr=5e-3, lr_end=1e-5)
    with tempfile.TemporaryDirectory() as folder:
        best = ModelCheckpoint(folder, monitor="val/d_stsp")
        trainer = L.Trainer(
            max_epochs=2 if arguments.fast else arguments.epochs,
            accelerator="cpu",
            callbacks=[best],
            check_val_every_n_epoch=1 if arguments.fast else 50,
            num_sanity_val_steps=0,
            logger=False,
            enable_model_summary=False,
            enable_progress_bar=not arguments.fast,
        )
        trainer.fit(task, datamodule=data)
        network = DynamicsTask.load_from_checkpoint(best.best_model_path, weights_only=True).network

    found = evaluate_reconstruction(network, data.test_series, dt=LORENZ.dt)
    d_stsp, d_h = reconstruction_floor(data.test_series)
    print(f"{'':30}{'network':>10}{'floor or truth':>16}")
    print(f"{'D_stsp, state space':30}{found.d_stsp:10.3f}{d_stsp:16.3f}")
    print(f"{'D_H, power spectra':30}{found.d_h:10.3f}{d_h:16.3f}")
    print(f"{'PE(20), 20 free steps':30}{found.pe:10.2e}{0:16}")
    print(f"{'largest Lyapunov exponent':30}{found.lyapunov[0]:10.3f}{TRUE_EXPONENT:16.3f}")

    print("fixed points, and the fastest growth around them with its angular frequency, per unit of time")
    wing = np.sqrt(8 / 3 * 27)
    for place in ([0.0, 0.0, 0.0], [wing, wing, 27.0], [-wing, -wing, 27.0]):
        rates = np.linalg.eigvals(LORENZ.jacobian(0.0, np.array(place), **LORENZ.parameters))
        print_fixed_point("equations", np.array(place), rates)
    for point in fixed_points(network, data.test_series[:: max(1, len(data.test_series) // 2000)]):
        place = data.scaler.inverse(torch.from_numpy(point.points))[0].numpy()
        print_fixed_point("network", place, np.log(point.eigenvalues.astype(complex)) / LORENZ.dt)

    true = data.test_series[:N_DRAWN]
    generated = network.generate(torch.from_numpy(true[None, :1]).float(), len(true))[0].numpy()
    axes = plot_attractor(true, generated)
    axes[0].get_figure().savefig(arguments.output, dpi=150)
    print("picture:", arguments.output)


if __name__ == "__main__":
    main()
