"""The predictions of a cell, in the archives' format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tsmodels.benchmark.archive_files import ResultFile, result_path, write_result_file
from tsmodels.benchmark.cells import Cell

__all__ = ["write_predictions"]


def write_predictions(
    folder: Path, cell: Cell, record: Mapping[str, Any], predicted: Mapping[str, np.ndarray], owners: Mapping[str, str]
) -> dict[str, Any]:
    """Write what a cell predicted below ``predictions`` in the folder.

    Parameters
    ----------
    folder : Path
    cell : Cell
    record : mapping
        Its record, for parameters and times.
    predicted : mapping
        As :func:`tsmodels.benchmark.cells.run_cell` hands it to `keep`.
    owners : mapping of str to str
        From files that are there already to the ``file_name`` of their cell: another cell's file is never overwritten.

    Returns
    -------
    dict
        ``predictions``, the path relative to the folder; None where the model's probabilities cannot be written, with
        the reason as ``predictions_error``.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    root = folder / "predictions"
    label = cell.model if cell.seed in (None, cell.resample) else f"{cell.model}-seed{cell.seed}"
    path = result_path(root, label, cell.dataset, "TEST", cell.resample)
    if owners.get(_relative(path, folder), cell.file_name) != cell.file_name:
        label = f"{label}-{cell.configuration}"
        path = result_path(root, label, cell.dataset, "TEST", cell.resample)
    codes = ", ".join(f"{code} = {text}" for code, text in enumerate(predicted["classes"].tolist()))
    try:
        result = ResultFile(
            dataset=cell.dataset,
            estimator=label,
            split="TEST",
            resample=cell.resample,
            parameters=json.dumps(record["parameters"], sort_keys=True),
            comment=f"written by tsmodels {record['versions']['tsmodels']}; codes: {codes}",
            y_true=predicted["y_true"],
            y_pred=predicted["y_pred"],
            probabilities=predicted["probabilities"],
            fit_ms=1000 * record["fit_seconds"],
            predict_ms=1000 * record["predict_seconds"],
            memory_bytes=-1 if (peak := record.get("peak_memory_mb")) is None else int(peak * 2**20),
        )
    except ValueError as error:
        return {"predictions": None, "predictions_error": str(error)}
    write_result_file(path, result)
    return {"predictions": _relative(path, folder)}


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
