"""What a result holds: one schema per kind of benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "BACKTEST",
    "CHAOS",
    "CLASSIFICATION",
    "LONG_HORIZON",
    "RECONSTRUCTION",
    "SCHEMAS",
    "Schema",
    "schema_of",
    "schema_of_record",
]


@dataclass(frozen=True)
class Schema:
    """The results of one kind of benchmark.

    Attributes
    ----------
    task : str
        Its name, under ``"task"`` in a cell's file.
    measures : tuple of str
        Numbers of a finished cell; the first one is what models are compared by.
    required : tuple of str
        Those that every finished cell has.
    spreads : tuple of str
        Those whose spread between seeds is told.
    facts : tuple of str
        Whole numbers about a cell.
    keys : tuple of str
        Whole numbers that tell cells apart, beside data set, model, seed and configuration.
    counts : tuple of str
        Whole numbers that are added up over seeds.
    draws : tuple of str
        Whole numbers that tell repetitions apart, beside the seed; 0 where a file has none.
    robust : bool
        Whether seeds are summed up by median and median absolute deviation (columns with ``_mad`` behind their name),
        which a single run that went wrong does not move, or by mean and standard deviation (``_std``).
    """

    task: str
    measures: tuple[str, ...]
    required: tuple[str, ...]
    spreads: tuple[str, ...]
    facts: tuple[str, ...]
    keys: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    draws: tuple[str, ...] = ()
    robust: bool = False

    @property
    def spread(self) -> str:
        """What stands behind the name of a measure to name its spread."""
        return "_mad" if self.robust else "_std"

    @property
    def columns(self) -> dict[str, str]:
        """The tidy table: column and pandas type; what else a cell's file holds stays there and in results.json."""
        return {
            "dataset": "object",
            "model": "object",
            "seed": "Int64",
            **dict.fromkeys(self.draws, "Int64"),
            "configuration": "object",
            **dict.fromkeys(self.keys, "Int64"),
            "status": "object",
            **dict.fromkeys(self.measures, "float64"),
            **dict.fromkeys((*self.facts, *self.counts), "Int64"),
            "error": "object",
            "finished_at": "object",
        }

    @property
    def groups(self) -> list[str]:
        """What the cells of different seeds have in common."""
        return ["dataset", *self.keys, "model", "configuration"]

    @property
    def bands(self) -> list[str]:
        """What models are compared on."""
        return ["dataset", *self.keys]


_TIMES = ("fit_seconds", "predict_seconds")
_USE = (*_TIMES, "peak_memory_mb")
_ON_TRAIN = ("train_accuracy", "train_balanced_accuracy", "train_f1")

CLASSIFICATION = Schema(
    task="classification",
    measures=("accuracy", "balanced_accuracy", "log_loss", "auroc", "f1", *_ON_TRAIN, *_USE),
    required=("accuracy", *_TIMES),
    spreads=("accuracy", "balanced_accuracy"),
    facts=("n_parameters", "n_train", "n_test", "n_classes"),
    draws=("resample",),
)
BACKTEST = Schema(
    task="forecasting",
    measures=("mase", "smape", "rmse", "coverage_90", *_USE),
    required=("mase", "smape", "rmse", *_TIMES),
    spreads=("mase", "smape", "rmse", "coverage_90"),
    facts=("n_parameters", "seasonality", "n_channels", "n_train", "n_test"),
    keys=("horizon", "n_cutoffs"),
)
LONG_HORIZON = Schema(
    task="long-horizon",
    measures=("mse", "mae", "val_mse", *_USE),
    required=("mse", "mae", *_TIMES),
    spreads=("mse", "mae"),
    facts=("n_parameters", "epochs", "best_epoch", "n_channels", "n_train", "n_val", "n_test"),
    keys=("lookback", "horizon"),
)
# a run that diverges is finished and has no measures
RECONSTRUCTION = Schema(
    task="dynamics",
    measures=("d_stsp", "d_h", "pe_20", "lyapunov_max", "kaplan_yorke", *_USE),
    required=_TIMES,
    spreads=("d_stsp", "d_h", "pe_20", "lyapunov_max"),
    facts=("n_parameters", "epochs", "n_channels", "n_train", "n_test"),
    counts=("divergent",),
    robust=True,
)
CHAOS = Schema(
    task="chaos",
    measures=("smape", "valid_time", *_USE),
    required=("smape", "valid_time", *_TIMES),
    spreads=("smape", "valid_time"),
    facts=("n_parameters", "n_train", "n_test"),
)
# in this order tables are told apart by the first measure: backtests have a column smape too
SCHEMAS = {schema.task: schema for schema in (CLASSIFICATION, BACKTEST, LONG_HORIZON, RECONSTRUCTION, CHAOS)}


def schema_of(columns: Iterable[str]) -> Schema:
    """Return the schema that a table follows.

    Raises
    ------
    ValueError
        If it is no table of results.
    """
    present = set(columns)
    for schema in SCHEMAS.values():
        if schema.measures[0] in present:
            return schema
    measures = ", ".join(schema.measures[0] for schema in SCHEMAS.values())
    raise ValueError(f"results must be a table of benchmark results, with one of the columns {measures}.")


def schema_of_record(record: Mapping[str, Any]) -> Schema | None:
    """Return the schema of a cell's file, None if there is no such kind; files that name no task are classification."""
    task = record.get("task", CLASSIFICATION.task)
    return SCHEMAS.get(task) if isinstance(task, str) else None
