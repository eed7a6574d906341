"""Forecast the sea-surface temperature of the Pacific some months ahead; draw the last forecast beside what happened.

ConvS5, a convolutional state space model, learns monthly anomalies on a grid of 2 degrees; the land is masked. It is
compared, on months that it has not seen, with the mean, with persistence, with persistence that is damped cell by cell,
and with a linear inverse model (LIM) of the ten leading patterns, the one to beat from three months on; then the
average of the network and that model. The data are those of tsmodels_datamodules.load_sst, if the folder that
TSMODELS_DATA names holds them; else a synthetic field.

    python examples/sea_surface_temperature.py [--fast] [--epochs 3] [--output sea_surface_temperature.png]
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from tsmodels.estimators import (
    AverageGridForecaster,
    ClimatologyGridForecaster,
    ConvS5GridForecaster,
    DampedPersistenceGridForecaster,
    LinearInverseGridForecaster,
    PersistenceGridForecaster,
    skill_table,
)
from tsmodels.plots import plot_frames
from tsmodels_datamodules import DataNotFoundError, GriddedSeries, load_sst

N_TEST, N_VALIDATION = 60, 60  # months
LEADS = (1, 3, 6, 12)


def synthetic(n: int) -> GriddedSeries:
    """Return two patterns that turn into each other, driven by noise, on a sea with an island."""
    rng = np.random.default_rng(0)
    lat, lon = np.linspace(29, -29, 15), np.linspace(124, 290, 42)
    place = np.exp(-np.square(lat / 12))[:, None] * np.sin(np.deg2rad(3 * lon) + np.array([[[0.0]], [[1.6]]]))
    turning = 0.95 * np.array([[np.cos(0.15), -np.sin(0.15)], [np.sin(0.15), np.cos(0.15)]])
    states = [np.zeros(2)]
    while len(states) < n:
        states.append(turning @ states[-1] + 0.3 * rng.normal(size=2))
    values = np.einsum("tk,khw->thw", np.array(states), place) + 0.1 * rng.normal(size=(n, len(lat), len(lon)))
    sea = np.hypot((lat - 10)[:, None] / 8, (lon - 150) / 12) > 1
    return GriddedSeries(values.astype(np.float32), sea, lat, lon, np.datetime64("1970-01") + np.arange(n))


def load(fast: bool) -> GriddedSeries:
    """Return the observed field, or a synthetic one."""
    if not fast:
        try:
            return load_sst()
        except DataNotFoundError as error:
            print(error)
    print("a synthetic field instead of the sea-surface temperature")
    return synthetic(200)


def in_columns(table: pd.DataFrame, value: str) -> pd.DataFrame:
    """Return a row for each forecaster and a column for each lead."""
    return table.pivot(index="forecaster", columns="lead", values=value).loc[table.forecaster.unique()].round(3)


def main() -> None:
    """Train, forecast, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="a synthetic field and one epoch: to see that it runs")
    parser.add_argument("--epochs", type=int, default=3, help="some five minutes on one core (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=Path("sea_surface_temperature.png"), help="picture to write")
    arguments = parser.parse_args()

    series = load(arguments.fast)
    start = len(series.values) - N_TEST
    n_training = start - N_VALIDATION
    forecasters = {
        "mean": ClimatologyGridForecaster(),
        "persistence": PersistenceGridForecaster(),
        "damped persistence": DampedPersistenceGridForecaster(),
        "LIM": LinearInverseGridForecaster(n_modes=10),
    }
    for forecaster in forecasters.values():
        forecaster.fit(series.values[:n_training], series.mask)
    network = ConvS5GridForecaster(
        widths=(4, 8) if arguments.fast else (8, 16, 32),
        d_model=8 if arguments.fast else 32,
        groups=4,
        context=8 if arguments.fast else 24,
        rollout_frames=1 if arguments.fast else 6,
        sign_flip=True,
        lr=3e-3,
        val_fraction=N_VALIDATION / start,  # it decides which epoch's weights are kept
        max_epochs=1 if arguments.fast else arguments.epochs,
        random_state=0,
    )
    forecasters["ConvS5"] = network.fit(series.values[:start], series.mask)
    both = AverageGridForecaster([(name, forecasters[name]) for name in ("LIM", "ConvS5")], prefit=True)
    forecasters["average of both"] = both.fit(series.values[:start], series.mask)

    table = skill_table(forecasters, series.values, start=start, leads=LEADS)
    print(f"root mean squared error over the sea, by months ahead, targets in the last {N_TEST} months:")
    print(in_columns(table, "rmse"))
    print("skill against the mean:", in_columns(table, "skill"), sep="\n")

    origin = len(series.values) - max(LEADS)
    drawn = {name: forecasters[name].backtest(series.values, max(LEADS), [origin])[0] for name in ("LIM", "ConvS5")}
    largest = float(np.abs(series.values[origin:][:, series.mask]).max())
    axes = plot_frames(
        series.values[origin:],
        {name: np.nan_to_num(frames) for name, frames in drawn.items()},
        mask=series.mask,
        n_columns=6,
        value_range=(-largest, largest),
        colours="RdBu_r",
    )
    axes[0, 0].get_figure().savefig(arguments.output, dpi=150)
    print("picture:", arguments.output)


if __name__ == "__main__":
    main()
