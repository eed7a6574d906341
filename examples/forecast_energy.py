"""Forecast a power transformer day by day, with intervals, by two networks; draw the last day of the better one.

The networks are trained once; each day, `update` tells them what has happened since. The data are ETTh1, hourly loads
and the oil temperature of a transformer, if the folder that TSMODELS_DATA names holds it; else half-hourly solar power
of Great Britain, which comes with sktime.

    python examples/forecast_energy.py [--fast] [--output forecast_energy.png]
"""

import argparse
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sktime.datasets import load_solar

from tsmodels.estimators import ChimeraForecaster, DLinearForecaster
from tsmodels.plots import plot_forecast
from tsmodels_datamodules import DataNotFoundError, load_forecasting_set


def load(fast: bool) -> tuple[pd.DataFrame, int]:
    """Return the series and the steps of a day."""
    if os.environ.get("TSMODELS_DATA"):
        try:
            table = load_forecasting_set("ETTh1", download=False)
        except DataNotFoundError as error:
            print(error)
        else:
            return table[["HUFL", "MUFL", "OT"]].iloc[-24 * (60 if fast else 300) :], 24
    print("ETTh1 is not in TSMODELS_DATA: the solar data of sktime instead")
    with warnings.catch_warnings(action="ignore"):  # it says that it does not ask the network
        solar = load_solar(api_version=None)
    return solar.to_frame("solar power (MW)"), 48


def main() -> None:
    """Train, forecast, measure, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fast", action="store_true", help="less data and one epoch: to see that it runs")
    parser.add_argument("--output", type=Path, default=Path("forecast_energy.png"), help="picture to write")
    arguments = parser.parse_args()

    y, day = load(arguments.fast)
    n_days, horizon = (14, day) if len(y) > 20 * day else (2, day // 2)
    steps = np.arange(1, horizon + 1)
    y_train, y_test = y.iloc[: -n_days * horizon], y.iloc[-n_days * horizon :]
    settings = {"lookback": 4 * horizon, "max_epochs": 1 if arguments.fast else 10, "random_state": 0}
    forecasters = {
        "DLinear": DLinearForecaster(normalise="last", lr=3e-3, **settings),
        "Chimera": ChimeraForecaster(d_model=16, d_state=8, lr=3e-3, window_stride=2, **settings),
    }

    forecasts, intervals = {}, {}
    for name, forecaster in forecasters.items():
        forecaster.fit(y_train, fh=steps)
        forecasts[name], intervals[name] = [forecaster.predict()], [forecaster.predict_interval(coverage=[0.5, 0.9])]
        for start in range(0, len(y_test) - horizon, horizon):
            forecaster.update(y_test.iloc[start : start + horizon], update_params=False)
            forecasts[name].append(forecaster.predict())
            intervals[name].append(forecaster.predict_interval(coverage=[0.5, 0.9]))

    errors = {name: (pd.concat(parts) - y_test).abs().mean() for name, parts in forecasts.items()}
    errors["a day before"] = (y.shift(day).loc[y_test.index] - y_test).abs().mean()
    print(f"mean absolute error of {n_days} forecasts:", pd.DataFrame(errors).round(3), sep="\n")
    for name, parts in intervals.items():
        limits = pd.concat(parts)
        lower, upper = (limits.xs((0.9, side), axis=1, level=[1, 2]).to_numpy() for side in ("lower", "upper"))
        inside = ((lower <= y_test) & (y_test <= upper)).to_numpy().mean()
        print(f"{name}: {inside:.0%} of the values lie in its 90 % intervals")

    best = min(forecasters, key=lambda name: (errors[name] / y_train.std()).mean())
    last = y_test.iloc[-horizon:]
    axes = plot_forecast(y.iloc[:-horizon], last, forecasts[best][-1], intervals[best][-1], history=3 * day)
    axes[0].get_figure().savefig(arguments.output, dpi=150)
    print("picture:", arguments.output)


if __name__ == "__main__":
    main()
