"""The archives' result files (tsml, tsml-eval, aeon): a text file per data set, estimator and resample.

Their evaluation tools read what is written here, and what they wrote is read here:
``<root>/<estimator>/Predictions/<dataset>/testResample<k>.csv``, or ``trainResample<k>.csv`` for an estimate from the
training cases. The layout is that of tsml-eval (``tsml_eval/utils/results_writing.py``, ``results_validation.py``).
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tsmodels.benchmark.results import write_atomically

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ResultFile", "load_result_files", "read_result_file", "result_path", "write_result_file"]

_MILLISECONDS = {"SECONDS": 1e3, "MILLISECONDS": 1.0, "MICROSECONDS": 1e-3, "NANOSECONDS": 1e-6}
_UNKNOWN = -1
_SUM_TOLERANCE = 1e-5  # that of tsml-eval's validator
_ACCURACY_TOLERANCE = 1e-3  # files of other tools round the accuracy they state
_SHORTEST_THIRD_LINE = 6  # older files of tsml end after the number of classes
_COLUMNS = (
    "dataset",
    "model",
    "resample",
    "accuracy",
    "balanced_accuracy",
    "auroc",
    "log_loss",
    "fit_seconds",
    "predict_seconds",
)


@dataclass(frozen=True)
class ResultFile:
    """The predictions of one estimator for one split of one data set.

    Parameters
    ----------
    dataset, estimator : str
        Without commas.
    split : {"TEST", "TRAIN"}
        Which cases were predicted.
    resample : int
        0 is the archive's own split.
    parameters, comment : str
        Free text. Line breaks become spaces. The comment is the place for the meaning of the codes.
    y_true, y_pred : array of int, shape (n_cases,)
        Codes 0 to ``n_classes - 1``.
    probabilities : array, shape (n_cases, n_classes)
        Each row sums to 1.
    fit_ms, predict_ms : float, default=-1
        Milliseconds; -1 where unknown.
    memory_bytes : int, default=-1
        Highest use of memory; -1 where unknown.

    Raises
    ------
    ValueError
        If the arrays do not fit each other, a code is out of range, or probabilities do not sum to 1.
    """

    dataset: str
    estimator: str
    split: Literal["TEST", "TRAIN"]
    resample: int
    parameters: str
    comment: str
    y_true: np.ndarray
    y_pred: np.ndarray
    probabilities: np.ndarray
    fit_ms: float = _UNKNOWN
    predict_ms: float = _UNKNOWN
    memory_bytes: int = _UNKNOWN

    def __post_init__(self) -> None:
        for name in ("dataset", "estimator"):
            if not getattr(self, name) or set(getattr(self, name)) & set(",\r\n"):
                raise ValueError(f"{name} must be a name without commas and line breaks, got {getattr(self, name)!r}.")
        if self.split not in ("TEST", "TRAIN"):
            raise ValueError(f"split must be 'TEST' or 'TRAIN', got {self.split!r}.")
        if self.resample < 0:
            raise ValueError(f"resample must be 0 or more, got {self.resample}.")
        for name in ("y_true", "y_pred"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        object.__setattr__(self, "probabilities", np.asarray(self.probabilities, dtype=float))
        self._check_arrays()

    def _check_arrays(self) -> None:
        if self.probabilities.ndim != 2 or not len(self.probabilities):
            raise ValueError(f"probabilities must be (n_cases, n_classes), got shape {self.probabilities.shape}.")
        for name in ("y_true", "y_pred"):
            codes = getattr(self, name)
            if codes.shape != (len(self.probabilities),):
                raise ValueError(
                    f"{name} must hold a code for each of the {len(self.probabilities)} rows of probabilities, "
                    f"got shape {codes.shape}."
                )
            if codes.dtype.kind not in "iu" or codes.min() < 0 or codes.max() >= self.n_classes:
                raise ValueError(f"{name} must hold whole numbers from 0 to {self.n_classes - 1}.")
        wrong = ~(np.abs(self.probabilities.sum(1) - 1) <= _SUM_TOLERANCE)  # NaN counts as wrong
        wrong |= (self.probabilities < 0).any(1)
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(f"probabilities must be 0 or more and sum to 1; row {row} is {self.probabilities[row]}.")

    @property
    def n_classes(self) -> int:
        """The number of columns of probabilities."""
        return self.probabilities.shape[1]

    @property
    def accuracy(self) -> float:
        """The share of cases predicted rightly."""
        return float(np.mean(self.y_true == self.y_pred))


def result_path(
    root: str | os.PathLike[str], estimator: str, dataset: str, split: Literal["TEST", "TRAIN"], resample: int
) -> Path:
    """Return where the archives' tools look for a result.

    Parameters
    ----------
    root : path
        Folder that holds a folder for each estimator.
    estimator, dataset : str
    split : {"TEST", "TRAIN"}
    resample : int

    Returns
    -------
    Path
        ``<root>/<estimator>/Predictions/<dataset>/testResample<k>.csv`` (or ``trainResample<k>.csv``). Characters that
        would lead out of that folder become ``_``.

    Examples
    --------
    >>> from tsmodels.benchmark.archive_files import result_path
    >>> result_path("results", "ROCKET", "GunPoint", "TEST", 0).as_posix()
    'results/ROCKET/Predictions/GunPoint/testResample0.csv'
    """
    return (
        Path(root)
        / _folder_name(estimator)
        / "Predictions"
        / _folder_name(dataset)
        / f"{split.lower()}Resample{resample}.csv"
    )


def _folder_name(name: str) -> str:
    safe = "".join("_" if character in '/\\:*?"<>|\0' else character for character in name)
    return "_" if safe.strip(". ") == "" else safe


def write_result_file(path: str | os.PathLike[str], result: ResultFile) -> None:
    """Write a result, as a whole or not at all; missing folders are made.

    Parameters
    ----------
    path : path
        As from :func:`result_path`.
    result : ResultFile

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    from tsmodels.benchmark._errors import OutputError

    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {path.parent}: {error.strerror or error}.") from error
    write_atomically(path, "\n".join(_lines(result)) + "\n")


def _lines(result: ResultFile) -> Iterator[str]:
    comment = _one_line(result.comment)
    yield f"{result.dataset},{result.estimator},{result.split},{result.resample},MILLISECONDS,{comment}"
    yield _one_line(result.parameters)
    times = f"{_number(result.fit_ms)},{_number(result.predict_ms)},{_UNKNOWN}"
    # no estimate from the training cases: its method stays empty, its time and the time with it are unknown
    yield f"{result.accuracy!r},{times},{result.memory_bytes},{result.n_classes},,{_UNKNOWN},{_UNKNOWN}"
    for true, predicted, row in zip(result.y_true, result.y_pred, result.probabilities.tolist(), strict=True):
        yield f"{true},{predicted},,{','.join(map(repr, row))}"


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _number(value: float) -> str:
    """Write a number exactly, a whole one without a point."""
    return str(int(value)) if value == int(value) else repr(float(value))


def read_result_file(path: str | os.PathLike[str]) -> ResultFile:
    """Read a result of this package, of tsml-eval or of tsml.

    Parameters
    ----------
    path : path

    Returns
    -------
    ResultFile
        With times in milliseconds, whatever the unit in the file.

    Raises
    ------
    ValueError
        If the file does not follow the format; the message names file and line.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error}.") from error
    if len(lines) < 4:
        raise ValueError(f"{path}, line {len(lines) + 1}: the file ends where 3 lines of facts and the cases belong.")
    names, split, resample, unit, comment = _first_line(path, lines[0])
    accuracy, fit, predict, memory, n_classes = _third_line(path, lines[2])
    y_true, y_pred, probabilities = _cases(path, lines[3:], n_classes)
    try:
        result = ResultFile(
            *names,
            split,
            resample,
            lines[1],
            comment,
            y_true,
            y_pred,
            probabilities,
            fit_ms=fit * unit if fit >= 0 else _UNKNOWN,
            predict_ms=predict * unit if predict >= 0 else _UNKNOWN,
            memory_bytes=int(memory),
        )
    except ValueError as error:
        raise ValueError(f"{path}, line 4 and below: {error}") from error
    if accuracy >= 0 and abs(accuracy - result.accuracy) > _ACCURACY_TOLERANCE:
        raise ValueError(f"{path}, line 3: states accuracy {accuracy}, but the cases give {result.accuracy:.5f}.")
    return result


def _first_line(path: Path, line: str) -> tuple[tuple[str, str], Literal["TEST", "TRAIN"], int, float, str]:
    fields = line.split(",", 5)  # the comment may hold commas
    if len(fields) < 5:
        raise ValueError(f"{path}, line 1: expected data set, estimator, split, resample, unit and comment: {line!r}.")
    dataset, estimator, split, resample, unit = (field.strip() for field in fields[:5])
    if split.upper() not in ("TEST", "TRAIN"):
        raise ValueError(f"{path}, line 1: the split must be TEST or TRAIN, got {split!r}.")
    if not resample.isdecimal():
        raise ValueError(f"{path}, line 1: the resample must be a whole number, got {resample!r}.")
    if unit.upper() not in _MILLISECONDS:
        raise ValueError(f"{path}, line 1: the unit must be one of {', '.join(_MILLISECONDS)}, got {unit!r}.")
    comment = fields[5] if len(fields) == 6 else ""
    which: Literal["TEST", "TRAIN"] = "TEST" if split.upper() == "TEST" else "TRAIN"
    return (dataset, estimator), which, int(resample), _MILLISECONDS[unit.upper()], comment


def _third_line(path: Path, line: str) -> tuple[float, float, float, float, int]:
    """Return accuracy, fit time, predict time, memory and number of classes."""
    fields = line.split(",")
    if len(fields) < _SHORTEST_THIRD_LINE:
        raise ValueError(f"{path}, line 3: expected accuracy, times, memory and number of classes, got {line!r}.")
    try:
        accuracy, fit, predict, _, memory, n_classes = map(float, fields[:_SHORTEST_THIRD_LINE])
    except ValueError as error:
        raise ValueError(f"{path}, line 3: {error}.") from error
    numbers = (accuracy, fit, predict, memory, n_classes)
    if not all(map(math.isfinite, numbers)) or n_classes < 1 or n_classes != int(n_classes):
        raise ValueError(f"{path}, line 3: numbers must be finite and the classes at least one, got {line!r}.")
    return accuracy, fit, predict, memory, int(n_classes)


def _cases(path: Path, lines: list[str], n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    true, predicted, probabilities = [], [], []
    for number, line in enumerate(lines, start=4):
        if not line.strip():
            continue
        fields = line.split(",")
        if len(fields) != 3 + n_classes or fields[2].strip():
            raise ValueError(
                f"{path}, line {number}: expected true code, predicted code, an empty field and {n_classes} "
                f"probabilities, got {line!r}."
            )
        try:
            true.append(_code(fields[0]))
            predicted.append(_code(fields[1]))
            probabilities.append([float(field) for field in fields[3:]])
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return np.array(true, dtype=int), np.array(predicted, dtype=int), np.array(probabilities).reshape(-1, n_classes)


def _code(field: str) -> int:
    value = float(field)  # tsml writes 1.0 as well as 1
    if value != int(value):
        raise ValueError(f"a code must be a whole number, got {field!r}.")
    return int(value)


def load_result_files(root: str | os.PathLike[str]) -> pd.DataFrame:
    """Return the measures of all test results under a folder, whoever wrote them.

    Parameters
    ----------
    root : path
        Folder that holds a folder for each estimator.

    Returns
    -------
    DataFrame
        A row per file, sorted by the first three columns. Columns: ``dataset``, ``model`` (as the file names it),
        ``resample``, ``accuracy``, ``balanced_accuracy`` (mean recall of the classes there are), ``auroc`` (one against
        the rest, weighted by class size; missing where a class has no test case), ``log_loss``, ``fit_seconds`` and
        ``predict_seconds`` (missing where unknown).

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    Warns
    -----
    UserWarning
        If a file is damaged; it is left out.
    """
    import pandas as pd

    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {str(root)!r}: name the one that holds a folder per estimator.")
    rows = []
    for path in sorted(root.glob("*/Predictions/*/testResample*.csv")):
        try:
            rows.append(_row(read_result_file(path)))
        except ValueError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    frame = pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"resample": "int64"})
    return frame.sort_values(["dataset", "model", "resample"], ignore_index=True)


def _row(result: ResultFile) -> dict[str, object]:
    from sklearn.metrics import log_loss, recall_score, roc_auc_score

    present, classes = np.unique(result.y_true), np.arange(result.n_classes)
    auroc = float("nan")
    if len(present) == result.n_classes > 1:
        scores = result.probabilities[:, 1] if result.n_classes == 2 else result.probabilities
        auroc = float(roc_auc_score(result.y_true, scores, multi_class="ovr", average="weighted"))
    normalised = result.probabilities / result.probabilities.sum(1, keepdims=True)
    return {
        "dataset": result.dataset,
        "model": result.estimator,
        "resample": result.resample,
        "accuracy": result.accuracy,
        "balanced_accuracy": float(recall_score(result.y_true, result.y_pred, labels=present, average="macro")),
        "auroc": auroc,
        "log_loss": float(log_loss(result.y_true, normalised, labels=classes)) if len(classes) > 1 else 0.0,
        "fit_seconds": result.fit_ms / 1000 if result.fit_ms >= 0 else float("nan"),
        "predict_seconds": result.predict_ms / 1000 if result.predict_ms >= 0 else float("nan"),
    }
