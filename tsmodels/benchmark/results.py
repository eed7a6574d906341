"""The folder of a benchmark: a file per cell, and the tables and the picture made of them.

Every file is written under another name and then renamed: whatever stops a run, no file is ever half there.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import json
import os
import platform
import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tsmodels
from tsmodels.benchmark._errors import OutputError
from tsmodels.benchmark._schemas import CLASSIFICATION, Schema, schema_of, schema_of_record

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Contents",
    "environment",
    "in_order",
    "load_results",
    "open_folder",
    "read_cell",
    "read_cells",
    "read_folder",
    "summarise",
    "to_frame",
    "write_atomically",
    "write_cell",
]

_IDENTITY = {"dataset": str, "model": str, "configuration": str, "seed": int | None}
_PACKAGES = ("torch", "lightning", "sktime", "scikit-learn", "numpy", "pandas", "numba")


def open_folder(output: str | os.PathLike[str]) -> Path:
    """Return the output folder, made if need be.

    Raises
    ------
    OutputError
        If it is no folder or cannot be written to.
    """
    folder = Path(output)
    try:
        (folder / "cells").mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write results to {str(output)!r}: {error.strerror or error}. Name a folder that can be written to."
        ) from error
    return folder


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file as a whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # else a crash of the machine can leave the new name with no content
        unfinished.replace(path)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot write {path}: {reason}. What was finished before is kept.") from error
    finally:
        with contextlib.suppress(OSError):  # renamed, or never made
            unfinished.unlink()


def write_cell(path: Path, record: dict[str, Any]) -> None:
    """Write the result of a cell."""
    write_atomically(path, json.dumps(record, indent=1, allow_nan=False) + "\n")


def read_cell(path: Path) -> dict[str, Any] | None:
    """Return the result of a cell, or None if the file is not there, unreadable, cut off, or no such result."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if _is_result(record) else None


def _is_result(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    if not all(isinstance(record.get(name, ...), types) for name, types in _IDENTITY.items()):
        return False
    schema = schema_of_record(record)
    if schema is None or not all(isinstance(record.get(name), int) for name in schema.keys):
        return False
    if record.get("status") == "finished":
        # a cell that was stopped before it read its data does not know how many cases it would have been tested on
        return isinstance(record.get("n_test"), int) and all(
            isinstance(record.get(name), float) for name in schema.required
        )
    return record.get("status") == "failed" and isinstance(record.get("error"), str)


def load_results(folder: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the results in the output folder of a benchmark, also of one that was interrupted or still runs.

    Parameters
    ----------
    folder : path
        What was given as ``output``.

    Returns
    -------
    DataFrame
        A row per cell, sorted. Columns of every benchmark: ``dataset``, ``model``, ``seed`` (missing for a model that
        draws nothing at random), ``configuration`` (differs where a parameter, setting or the version of this package
        differed), ``status`` ("finished" or "failed"), measures, ``fit_seconds``, ``predict_seconds``,
        ``peak_memory_mb`` (of the process), ``n_parameters``, ``n_train``, ``n_test``, ``error`` and ``finished_at``.

        Measures of classifiers: ``accuracy``, ``balanced_accuracy`` and ``f1`` (means over the classes), ``log_loss``
        and ``auroc`` (missing without probabilities), and of the training cases ``train_accuracy``,
        ``train_balanced_accuracy`` and ``train_f1``; with ``resample`` (0 is the archive's own split). Of backtested
        forecasters: ``mase``, ``smape`` (percent), ``rmse`` and ``coverage_90`` (missing without intervals), with
        ``horizon`` and ``n_cutoffs``. Of long-horizon forecasts: ``mse``, ``mae`` and ``val_mse`` of the scaled data,
        with ``lookback``, ``horizon``, ``epochs`` and ``best_epoch``. Of reconstructed dynamics: ``d_stsp``, ``d_h``,
        ``pe_20``, ``lyapunov_max`` (per unit of time) and ``kaplan_yorke``, all missing where the free run diverged
        (``divergent`` is 1). Of forecasts of chaotic systems: ``smape`` (0 to 200) and ``valid_time`` (in Lyapunov
        times).

    Raises
    ------
    FileNotFoundError
        If the folder is not the output of a benchmark.

    Warns
    -----
    UserWarning
        If a file is damaged; it is left out.
    """
    return to_frame(read_cells(Path(folder)))


@dataclass(frozen=True)
class Contents:
    """What lies in the folder of a benchmark.

    Attributes
    ----------
    records : dict of str to dict
        The results by the name of their file, as they were written.
    damaged : list of Path
        Files that are no results.
    """

    records: dict[str, dict[str, Any]]
    damaged: list[Path]


def read_folder(folder: Path) -> Contents:
    """Return what is in the output folder of a benchmark; FileNotFoundError if it is none."""
    if not (folder / "cells").is_dir():
        raise FileNotFoundError(f"{str(folder)!r} holds no benchmark results: there is no folder 'cells' in it.")
    contents = Contents({}, [])
    for path in sorted((folder / "cells").glob("[!.]*.json")):
        record = read_cell(path)
        if record is None:
            contents.damaged.append(path)
        else:
            contents.records[path.name] = record
    return contents


def read_cells(folder: Path) -> list[dict[str, Any]]:
    """Return the results in a folder as they were written, sorted; see :func:`load_results`."""
    contents = read_folder(folder)
    for path in contents.damaged:
        warnings.warn(f"{path} is damaged and was left out; the next benchmark of it redoes it.", stacklevel=3)
    return in_order(contents.records.values())


def in_order(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return results by data set, model, configuration, resample and seed."""
    return sorted(records, key=_order)


def _order(record: dict[str, Any]) -> tuple[Any, ...]:
    schema = schema_of_record(record)
    assert schema is not None  # else it is no result
    keys = [record[name] for name in schema.keys]
    draw = [record.get(name, 0) for name in schema.draws]
    return (schema.task, record["dataset"], *keys, record["model"], record["configuration"], *draw, record["seed"] or 0)


def to_frame(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return the tidy table of cells of one kind, in the order given."""
    import pandas as pd

    records = list(records)
    schema = (schema_of_record(records[0]) if records else None) or CLASSIFICATION
    without = dict.fromkeys(schema.draws, 0)
    columns = {
        column: pd.array([record.get(column, without.get(column)) for record in records], dtype=type_)
        for column, type_ in schema.columns.items()
    }
    return pd.DataFrame(columns)


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Return means over seeds; of reconstructed dynamics medians.

    Parameters
    ----------
    results : DataFrame
        As from :func:`load_results`.

    Returns
    -------
    DataFrame
        A row per data set (with look-back and horizon, where there are), model and configuration in order of
        appearance. Columns: ``dataset``, ``model``, ``configuration``, ``label`` (the model, with its configuration
        where the table has several of that model), ``n_finished``, ``n_failed``, ``seeded`` (whether the model draws
        anything at random), the mean of each measure over the finished cells under the measure's name, the standard
        deviation between seeds of the main ones with ``_std`` behind it (with n - 1, missing for a single cell),
        ``n_parameters`` and other whole numbers about the cells, and ``error`` (of the first failed cell). Of
        reconstructed dynamics: the median, the median absolute deviation with ``_mad`` behind the name, and the number
        of ``divergent`` runs.
    """
    import pandas as pd

    schema = schema_of(results.columns)
    # forecasters are set up for each data set, by its season: they are told apart where they meet
    meeting = [*schema.bands, "model"] if schema.keys else ["model"]
    configurations = results.groupby(meeting)["configuration"].transform("nunique").groupby(results["model"]).max()
    rows = []
    for _, group in results.groupby(schema.groups, sort=False):
        first = group.iloc[0]
        finished, failed = (group.query("status == @status") for status in ("finished", "failed"))
        several = configurations[first["model"]] > 1
        row = {
            **{name: first[name] for name in schema.groups},
            "label": f"{first['model']} [{first['configuration']}]" if several else first["model"],
            "n_finished": len(finished),
            "n_failed": len(failed),
            "seeded": bool(group["seed"].notna().any()),
            **_centres(finished, schema).to_dict(),
            **{f"{name}{schema.spread}": _spread(finished[name], schema) for name in schema.spreads},
            **{name: group[name].dropna().max() for name in schema.facts},
            **{name: finished[name].sum() for name in schema.counts},
            "error": failed["error"].iloc[0] if len(failed) else None,
        }
        rows.append(row)
    columns = ["dataset", "model", "configuration", "label", *schema.keys, "n_finished", "n_failed", "seeded"]
    columns += [*schema.measures, *(f"{name}{schema.spread}" for name in schema.spreads)]
    columns += [*schema.facts, *schema.counts, "error"]
    whole = (*schema.keys, *schema.facts, *schema.counts)
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(whole, "Int64"))


def _centres(finished: pd.DataFrame, schema: Schema) -> Any:
    measures = finished[list(schema.measures)]
    return measures.median() if schema.robust else measures.mean()


def _spread(values: Any, schema: Schema) -> float:
    """Return the spread between seeds, missing for a single cell."""
    if not schema.robust:
        return values.std()
    return (values - values.median()).abs().median() if values.count() > 1 else float("nan")


def environment() -> dict[str, Any]:
    """Return the versions and the machine a result was obtained with."""
    torch = sys.modules.get("torch")
    return {
        "versions": _versions(tsmodels.__version__),
        "machine": {
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "torch_threads": torch.get_num_threads() if torch else None,
        },
    }


@functools.cache
def _versions(ours: str) -> dict[str, str]:
    """Look them up once: it takes longer than a quick cell."""
    return {
        "tsmodels": ours,
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
    }
