"""Sea-surface temperature of the Pacific: ConvS5 against the forecasts that it must beat, by months ahead.

::

    TSMODELS_DATA=... python -m tests.benchmarks.bench_sst            some minutes on one thread for each network
    TSMODELS_DATA=... python -m tests.benchmarks.bench_sst --no-test  errors on the validation months alone, to choose

399 months: 279 for training, 60 for validation, 60 for the test. Forecasts are made from each month, the one before the
part being the first, as far as their targets lie in the part; the error is the root mean square over targets and sea
cells, in degrees Celsius. Baselines are fitted on the training months, and those marked "339" on validation months too;
networks are trained on the training months and keep the weights of the epoch that forecasts the validation part best,
so that their errors there are on the low side. Of the networks the mean over seeds and the standard deviation are
given; the ensemble averages their forecasts. "and LIM" is the plain mean of its forecasts and those of the linear
inverse model fitted for each lead on the same months: both weights are a half, none was chosen.
"""

import argparse
import copy
import time

import numpy as np
import torch

from tsmodels.estimators import (
    AverageGridForecaster,
    ClimatologyGridForecaster,
    ConvS5GridForecaster,
    DampedPersistenceGridForecaster,
    LinearInverseGridForecaster,
    PersistenceGridForecaster,
    skill_table,
)
from tsmodels_datamodules import load_sst

LEADS = (1, 3, 6, 12)
N_TRAINING, N_KNOWN = 279, 339


def baselines(last: int) -> dict:
    """Return those without training, on so many months."""
    marked = "" if last == N_TRAINING else f", {last}"
    return {
        f"mean{marked}": ClimatologyGridForecaster(),
        f"persistence{marked}": PersistenceGridForecaster(),
        f"damped persistence{marked}": DampedPersistenceGridForecaster(),
        f"LIM, powers of one step{marked}": LinearInverseGridForecaster(),
        f"LIM, each lead{marked}": LinearInverseGridForecaster(method="per_lead"),
    }


def print_table(ensemble: ConvS5GridForecaster, start: int) -> None:
    """Print the errors of forecasts of the 60 months from `start` on, in Markdown."""
    series = load_sst()
    field = series.values[: start + 60]
    rows: dict[str, list[str]] = {}
    linear: dict = {}
    for last in sorted({N_TRAINING, start}):
        fitted = {name: each.fit(series.values[:last], series.mask) for name, each in baselines(last).items()}
        for name, errors in skill_table(fitted, field, start=start, leads=LEADS).groupby("forecaster", sort=False).rmse:
            rows[str(name)] = [f"{error:.3f}" for error in errors]
        linear |= {name: each for name, each in fitted.items() if name.startswith("LIM, each lead")}

    members, name = {}, f"ConvS5, {len(ensemble.networks_)} averaged"
    for number, network in enumerate(ensemble.networks_):
        members[str(number)] = alone = copy.copy(ensemble)
        alone.networks_ = [network]
    averages: dict = {name: ensemble}
    for other, fitted in linear.items():
        pair = AverageGridForecaster([("ConvS5", ensemble), ("LIM", fitted)], prefit=True)
        averages[f"{name}, and {other}"] = pair.fit(series.values[:start], series.mask)
    table = skill_table(members | averages, field, start=start, leads=LEADS)
    errors = {name: part.rmse.to_numpy() for name, part in table.groupby("forecaster", sort=False)}
    each = np.stack([errors[name] for name in members])
    spreads = each.std(0, ddof=1) if len(each) > 1 else np.full(len(LEADS), np.nan)
    rows["ConvS5"] = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(each.mean(0), spreads, strict=True)]
    rows |= {name: [f"{error:.3f}" for error in errors[name]] for name in averages}

    print("| months ahead |", " | ".join(map(str, LEADS)), "|")
    print("|---" * (len(LEADS) + 1) + "|")
    for name, cells in rows.items():
        print(f"| {name} |", " | ".join(cells), "|")


def main() -> None:
    """Train, measure, print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-test", action="store_true", help="leave the test months alone")
    parser.add_argument("--members", type=int, default=3, help="networks (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="(default: %(default)s)")
    parser.add_argument("--rollout", type=int, default=6, help="generated frames in training (default: %(default)s)")
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32], help="of encoder and decoder")
    parser.add_argument("--state-kernel", type=int, choices=(1, 3), default=1, help="(default: %(default)s)")
    parser.add_argument("--lr", type=float, default=3e-3, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    series = load_sst()
    began = time.process_time()
    ensemble = ConvS5GridForecaster(
        widths=tuple(arguments.widths),
        groups=4,
        state_kernel=arguments.state_kernel,
        rollout_frames=arguments.rollout,
        sign_flip=True,
        n_members=arguments.members,
        max_epochs=arguments.epochs,
        lr=arguments.lr,
        val_fraction=(N_KNOWN - N_TRAINING) / N_KNOWN,
        accelerator="cpu",
        random_state=arguments.seed,
    ).fit(series.values[:N_KNOWN], series.mask)
    seconds = (time.process_time() - began) / arguments.members
    best = [history["best_epoch"] for history in ensemble.histories_]
    print(f"{ensemble.n_parameters_} parameters, {seconds:.0f} s of CPU time a network, best epochs (from 0) {best}")
    print("\nvalidation months\n")
    print_table(ensemble, N_TRAINING)
    if not arguments.no_test:
        print("\ntest months\n")
        print_table(ensemble, N_KNOWN)


if __name__ == "__main__":
    main()
