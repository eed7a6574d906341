"""Tables of forecasting benchmarks: Markdown for readers, errors by step for pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tsmodels.benchmark._markdown import aligned, failures, seconds, whole
from tsmodels.benchmark._schemas import BACKTEST, LONG_HORIZON, Schema, schema_of, schema_of_record
from tsmodels.benchmark.results import read_cells, summarise

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["horizon_csv", "horizon_errors", "load_horizon_errors", "markdown"]

# Of the Chimera paper only these could be confirmed; the horizon and look-back they belong to could not
_PUBLISHED_MSE = {"weather": 0.219, "ETTm1": 0.345, "ETTh1": 0.405}
_HEADINGS = {
    BACKTEST.task: ("MASE", "sMAPE (%)", "RMSE", "Coverage of 90 %"),
    LONG_HORIZON.task: ("MSE", "MAE", "Best epoch"),
}


def markdown(results: pd.DataFrame) -> str:
    """Return the table of a forecasting benchmark and how to read it, as Markdown that is also legible as it is.

    Parameters
    ----------
    results : DataFrame
        As from :func:`tsmodels.benchmark.run_backtest` or :func:`tsmodels.benchmark.run_long_horizon`.
    """
    schema, summary = schema_of(results.columns), summarise(results)
    rows: list[tuple[str, ...]] = [
        ("Data set", "Model", "Seeds", *_HEADINGS[schema.task], "Fit (s)", "Predict (s)", "Parameters")
    ]
    for _, band in summary.groupby(schema.bands, sort=False):
        best = float(np.nanmin([*band[schema.measures[0]].to_numpy(), np.inf]))
        for i, row in enumerate(band.to_dict("records")):
            rows.append((_band_name(row, schema) if i == 0 else "", *_cells(row, schema, best)))
    return "\n".join([*aligned(rows), "", *(f"- {note}" for note in _notes(summary, schema))]) + "\n"


def _band_name(row: dict[str, Any], schema: Schema) -> str:
    if schema is LONG_HORIZON:
        return f"{row['dataset']}, {row['lookback']} -> {row['horizon']}"
    return f"{row['dataset']}, {row['horizon']} steps from {row['n_cutoffs']} cutoffs"


def _cells(row: dict[str, Any], schema: Schema, best: float) -> list[str]:
    if not row["n_finished"]:
        return [row["label"], "0", "failed", *[""] * (len(_HEADINGS[schema.task]) + 2)]
    seeds = str(row["n_finished"]) if row["seeded"] else "none"
    seeds += f" ({row['n_failed']} failed)" if row["n_failed"] else ""
    main = _spread(row, schema.measures[0])
    measures = [f"**{main}**" if row[schema.measures[0]] == best else main]
    if schema is BACKTEST:
        measures += [_spread(row, "smape", 1), _spread(row, "rmse", _digits(row["rmse"]))]
        measures += [_spread(row, "coverage_90", 2)]
    else:
        measures += [_spread(row, "mae"), whole(row["best_epoch"])]
    return [
        row["label"],
        seeds,
        *measures,
        seconds(row["fit_seconds"]),
        seconds(row["predict_seconds"]),
        whole(row["n_parameters"]),
    ]


def _notes(summary: pd.DataFrame, schema: Schema) -> Iterator[str]:
    if schema is BACKTEST:
        from tsmodels.benchmark.forecasting import PROTOCOL

        yield f"Protocol: {PROTOCOL}."
        yield (
            "MASE: mean absolute error over that of the seasonal naive forecast before the cutoff; RMSE: in the units "
            "of the series. All are means over cutoffs and channels, ± the standard deviation between seeds."
        )
        yield "Times: one fit and one forecast, the mean over cutoffs; imports and compilation are not in them."
    else:
        from tsmodels.benchmark.long_horizon import PROTOCOL

        yield f"Protocol: {PROTOCOL}."
        yield "Data set: look-back -> horizon. Means over seeds, ± their standard deviation."
        yield (
            "NaiveLast and SeasonalNaive are computed in numpy from the series alone; where a season is longer than "
            "the look-back, SeasonalNaive reads further back than the networks do."
        )
        yield from _published(summary)
    yield f"Bold: the lowest {_HEADINGS[schema.task][0]} of a data set."
    if not all(summary["seeded"]):
        yield "Seeds 'none': the model draws nothing at random and is run once."
    yield from failures(summary)


def _published(summary: pd.DataFrame) -> Iterator[str]:
    names = dict.fromkeys(row["dataset"] for row in summary.to_dict("records") if row["model"] == "Chimera")
    found = {name: _PUBLISHED_MSE[name] for name in names if name in _PUBLISHED_MSE}
    if found:
        values = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        yield (
            f"MSE reported of Chimera (arXiv 2406.04320): {values}. The horizon and look-back that these belong to "
            "could not be confirmed, so they stand in no row."
        )


def _spread(row: dict[str, Any], measure: str, digits: int = 3) -> str:
    value, spread = row[measure], row[f"{measure}_std"]
    if value != value:
        return "none"
    return f"{value:.{digits}f}" if spread != spread else f"{value:.{digits}f} ± {spread:.{digits}f}"


def _digits(value: float) -> int:
    return 0 if value >= 100 else 1 if value >= 10 else 3


def load_horizon_errors(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the errors by step of the horizon of a forecasting benchmark.

    Parameters
    ----------
    folder : path
        What was given as ``output``.

    Returns
    -------
    DataFrame
        A row per finished cell and step. Columns: ``dataset``, ``horizon`` and ``n_cutoffs`` or ``lookback``,
        ``model``, ``configuration``, ``seed``, ``step`` (from 1), and ``mase`` and ``smape``, or ``mse`` and ``mae``.

    Raises
    ------
    FileNotFoundError
        If the folder is not the output of a benchmark.
    ValueError
        If it holds no finished forecasts.
    """
    return horizon_errors(read_cells(Path(folder)))


def horizon_errors(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return the errors by step of cells; see :func:`load_horizon_errors`."""
    import pandas as pd

    parts = []
    for record in records:
        if record["status"] != "finished" or "horizon_errors" not in record:
            continue
        schema = schema_of_record(record)
        assert schema is not None
        errors = pd.DataFrame(record["horizon_errors"])
        facts = {name: record[name] for name in (*schema.groups, "seed")}
        parts.append(pd.DataFrame({**facts, "step": range(1, len(errors) + 1)}, index=errors.index).join(errors))
    if not parts:
        raise ValueError("there are no finished forecasts among the results.")
    return pd.concat([part.astype({"seed": "Int64"}) for part in parts], ignore_index=True)


def horizon_csv(records: Iterable[dict[str, Any]]) -> str:
    """Return the errors by step of cells as CSV."""
    return horizon_errors(records).to_csv(index=False)
