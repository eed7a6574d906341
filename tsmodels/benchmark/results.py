"""The folder of a benchmark: a file per cell, and the tables and the picture made of them.

Every file is written under another name and then renamed: whatever stops a run, no file is ever half there.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tsmodels
from tsmodels.benchmark._errors import OutputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLUMNS",
    "environment",
    "load_results",
    "open_folder",
    "read_cell",
    "read_cells",
    "summarise",
    "to_frame",
    "write_atomically",
    "write_cell",
]

# the tidy table: column and pandas type; what else a cell's file holds stays there and in results.json
COLUMNS = {
    "dataset": "object",
    "model": "object",
    "seed": "Int64",
    "configuration": "object",
    "status": "object",
    "accuracy": "float64",
    "balanced_accuracy": "float64",
    "log_loss": "float64",
    "auroc": "float64",
    "fit_seconds": "float64",
    "predict_seconds": "float64",
    "n_parameters": "Int64",
    "n_train": "Int64",
    "n_test": "Int64",
    "n_classes": "Int64",
    "error": "object",
    "finished_at": "object",
}
_FACTS = ("n_parameters", "n_train", "n_test", "n_classes")
_MEASURES = ("accuracy", "balanced_accuracy", "log_loss", "auroc", "fit_seconds", "predict_seconds")
_SPREADS = ("accuracy_std", "balanced_accuracy_std")
_SUMMARY_COLUMNS = [
    *("dataset", "model", "configuration", "label", "n_finished", "n_failed", "seeded"),
    *(*_MEASURES, *_SPREADS, *_FACTS, "error"),
]
_IDENTITY = {"dataset": str, "model": str, "configuration": str, "seed": int | None, "n_test": int}
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
    """Return the result of a cell, or None if the file is not there, cut off, or anything else than such a result."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if _is_result(record) else None


def _is_result(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    if not all(isinstance(record.get(name, ...), types) for name, types in _IDENTITY.items()):
        return False
    if record.get("status") == "finished":
        return all(isinstance(record.get(name), float) for name in ("accuracy", "fit_seconds", "predict_seconds"))
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
        A row per cell, sorted. Columns: ``dataset``, ``model``, ``seed`` (missing for a model that draws nothing at
        random), ``configuration`` (differs where a parameter or the version of this package differed), ``status``
        ("finished" or "failed"), ``accuracy``, ``balanced_accuracy``, ``log_loss`` and ``auroc`` (missing without
        probabilities), ``fit_seconds``, ``predict_seconds``, ``n_parameters``, ``n_train``, ``n_test``, ``n_classes``,
        ``error`` and ``finished_at``.

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


def read_cells(folder: Path) -> list[dict[str, Any]]:
    """Return the results in a folder as they were written, sorted; see :func:`load_results`."""
    if not (folder / "cells").is_dir():
        raise FileNotFoundError(f"{str(folder)!r} holds no benchmark results: there is no folder 'cells' in it.")
    records = []
    for path in sorted((folder / "cells").glob("[!.]*.json")):
        record = read_cell(path)
        if record is None:
            warnings.warn(f"{path} is damaged and was left out; the next benchmark of it redoes it.", stacklevel=3)
        else:
            records.append(record)
    return sorted(records, key=lambda each: (each["dataset"], each["model"], each["configuration"], each["seed"] or 0))


def to_frame(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return the tidy table of cells, in the order given."""
    import pandas as pd

    rows = [{column: record.get(column) for column in COLUMNS} for record in records]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Return means over seeds.

    Parameters
    ----------
    results : DataFrame
        As from :func:`load_results`.

    Returns
    -------
    DataFrame
        A row per data set, model and configuration in order of appearance. Columns: ``dataset``, ``model``,
        ``configuration``, ``label`` (the model, with its configuration where the table has several of that model),
        ``n_finished``, ``n_failed``, ``seeded`` (whether the model draws anything at random), the mean of each measure
        over the finished cells under the measure's name, ``accuracy_std`` and ``balanced_accuracy_std`` (standard
        deviation between seeds with n - 1, missing for a single cell), ``n_parameters``, ``n_train``, ``n_test``,
        ``n_classes`` and ``error`` (of the first failed cell).
    """
    import pandas as pd

    configurations = results.groupby("model")["configuration"].nunique()
    rows = []
    for _, group in results.groupby(["dataset", "model", "configuration"], sort=False):
        dataset, model, configuration = group[["dataset", "model", "configuration"]].to_numpy()[0]
        finished, failed = (group.query("status == @status") for status in ("finished", "failed"))
        several = configurations[model] > 1
        row = {
            "dataset": dataset,
            "model": model,
            "configuration": configuration,
            "label": f"{model} [{configuration}]" if several else model,
            "n_finished": len(finished),
            "n_failed": len(failed),
            "seeded": bool(group["seed"].notna().any()),
            **finished[list(_MEASURES)].mean().to_dict(),
            **{name: finished[name.removesuffix("_std")].std() for name in _SPREADS},
            **{name: group[name].dropna().max() for name in _FACTS},
            "error": failed["error"].iloc[0] if len(failed) else None,
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=_SUMMARY_COLUMNS).astype(dict.fromkeys(_FACTS, "Int64"))


def environment() -> dict[str, Any]:
    """Return the versions and the machine a result was obtained with."""
    torch = sys.modules.get("torch")
    return {
        "versions": {
            "tsmodels": tsmodels.__version__,
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in _PACKAGES},
        },
        "machine": {
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "torch_threads": torch.get_num_threads() if torch else None,
        },
    }
