"""One cell of a benchmark: a model fitted on one data set with one seed, and measured on the test cases."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from tsmodels.benchmark.models import class_path, described
from tsmodels.benchmark.results import environment

if TYPE_CHECKING:
    from tsmodels_datamodules import ArchiveSet

__all__ = ["PROTOCOL", "RESAMPLE_PROTOCOL", "Cell", "failed", "recorded", "run_cell", "warm_up"]

PROTOCOL = "default split of the archive; fitted on the training cases only, nothing selected on the test cases"
RESAMPLE_PROTOCOL = (
    "stratified resample of the pooled cases with the sizes of the archive's split; fitted on the training cases only, "
    "nothing selected on the test cases"
)

_WARM_UP_CASES_PER_CLASS = 4


@dataclass(frozen=True)
class Cell:
    """What identifies a result.

    Attributes
    ----------
    dataset, model : str
    seed : int or None
        None for a model that draws nothing at random: it is run once.
    configuration : str
        See :func:`tsmodels.benchmark.models.configuration_id`.
    resample : int, default=0
        Which split; 0 is the data set's own. See :func:`tsmodels.benchmark.resampling.resample_indices`.
    """

    dataset: str
    model: str
    seed: int | None
    configuration: str
    resample: int = field(default=0, kw_only=True)

    @property
    def file_name(self) -> str:
        """Readable, safe on every file system, and different for every cell."""
        seed = "once" if self.seed is None else f"seed{self.seed}"
        if self.resample:
            seed = f"resample{self.resample}__{seed}"
        parts = [re.sub(r"[^A-Za-z0-9.-]+", "_", part)[:60] for part in (self.dataset, self.model)]
        digest = hashlib.sha256(self._identity().encode()).hexdigest()[:8]
        return f"{parts[0]}__{parts[1]}__{seed}__{self.configuration}-{digest}.json"

    def _identity(self) -> str:
        """Without resample 0: files of the time before there were resamples keep their names."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        if not self.resample:
            del values["resample"]
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    def __str__(self) -> str:
        parts = [f"{self.model} on {self.dataset}"]
        if self.resample:
            parts.append(f"resample {self.resample}")
        if self.seed is not None and not (self.resample and self.seed == self.resample):
            parts.append(f"seed {self.seed}")
        return ", ".join(parts)


def run_cell(
    cell: Cell, estimator: Any, data: ArchiveSet, *, train_metrics: bool = True, keep: Callable[..., None] | None = None
) -> dict[str, Any]:
    """Fit and measure one model.

    Parameters
    ----------
    cell : Cell
    estimator : classifier
        Unfitted, with its seed set.
    data : ArchiveSet
        Split as the cell says.
    train_metrics : bool, default=True
        Whether to predict the training cases too, and measure that.
    keep : callable, optional
        Given what was predicted: ``y_true`` and ``y_pred`` as codes, ``probabilities`` (case, class), and ``classes``,
        the label of each code.

    Returns
    -------
    dict
        What is written to the cell's file, in the plain types of JSON: ``status`` is "finished", or "failed" with the
        ``error`` and no measures.
    """
    facts = {
        "estimator": class_path(estimator),
        "parameters": described(estimator),
        "protocol": RESAMPLE_PROTOCOL if cell.resample else PROTOCOL,
        "source": data.source,
        "n_train": len(data.y_train),
        "n_test": len(data.y_test),
        "n_classes": len(np.unique(data.y_train)),
    }
    return recorded(cell, facts, lambda: _fit_and_measure(estimator, data, train_metrics, keep))


def recorded(cell: Cell, facts: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Measure, and return the record of it whether it goes well or not.

    Parameters
    ----------
    cell : Cell
    facts : dict
        What is known before.
    measure : callable
        Returns the measures.

    Returns
    -------
    dict
        As from :func:`run_cell`.
    """
    record = {**asdict(cell), "status": "finished", "error": None, "traceback": None, **facts}
    try:
        measures = measure()
        json.dumps(measures, allow_nan=False)  # what cannot be written is a failure of the cell, not of the run
        record |= measures
    except Exception as error:  # a model that fails costs its own cell, never the run
        record |= {"status": "failed", "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    return record | environment() | {"finished_at": _now()}


def failed(cell: Cell, facts: dict[str, Any], error: str, trace: str | None) -> dict[str, Any]:
    """Return the record of a cell whose process was stopped, so that it could not make one itself."""
    record = {**asdict(cell), "status": "failed", "error": error, "traceback": trace, **facts}
    return record | environment() | {"finished_at": _now()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _fit_and_measure(
    estimator: Any, data: ArchiveSet, train_metrics: bool, keep: Callable[..., None] | None
) -> dict[str, Any]:
    start = time.perf_counter()
    estimator.fit(data.X_train, data.y_train)
    fitted = time.perf_counter()
    predicted = np.asarray(estimator.predict(data.X_test))
    done = time.perf_counter()
    probabilities = _probabilities(estimator, data.X_test)
    measures = _label_measures(data.y_test, predicted) | _probability_measures(data.y_test, probabilities)
    if train_metrics:
        on_train = _label_measures(data.y_train, np.asarray(estimator.predict(data.X_train)))
        measures |= {f"train_{name}": value for name, value in on_train.items()}
    if keep is not None:
        keep(**_coded(data, predicted, probabilities))
    n_parameters = getattr(estimator, "n_parameters_", None)
    preparation = getattr(estimator, "history_", {}).get("preparation_seconds")
    return {
        **measures,
        "fit_seconds": fitted - start,
        "predict_seconds": done - fitted,
        "n_parameters": None if n_parameters is None else int(n_parameters),
        # part of fit_seconds: the look at the training cases of models that need one
        **({} if preparation is None else {"preparation_seconds": preparation}),
    }


def _label_measures(y: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return measures of labels; the means are over the classes there are.

    The same as scikit-learn's accuracy_score, recall_score and f1_score with ``labels=np.unique(y), average="macro"``,
    whose checks of their input take longer than a quick cell.
    """
    right = y == predicted
    classes, n_true = np.unique(y, return_counts=True)
    n_right = np.array([right[y == label].sum() for label in classes])
    n_predicted = np.array([(predicted == label).sum() for label in classes])
    return {
        "accuracy": float(right.mean()),
        "balanced_accuracy": float((n_right / n_true).mean()),
        "f1": float((2 * n_right / (n_true + n_predicted)).mean()),
    }


def _probabilities(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the classes in order and the probabilities (case, class), None if the model gives none."""
    if not _gives_probabilities(estimator):
        return None
    order = np.argsort(np.asarray(estimator.classes_))  # scikit-learn wants the columns in the order of the labels
    return np.asarray(estimator.classes_)[order], np.asarray(estimator.predict_proba(X), dtype=float)[:, order]


def _probability_measures(y: np.ndarray, given: tuple[np.ndarray, np.ndarray] | None) -> dict[str, float | None]:
    """Return log loss and AUROC, None where they are undefined or the model gives no probabilities."""
    from sklearn.metrics import log_loss, roc_auc_score

    measures: dict[str, float | None] = {"log_loss": None, "auroc": None}
    if given is None:
        return measures
    (classes, probabilities), present = given, np.unique(y)
    # what scikit-learn refuses, since it is no distribution, is undefined: the labels are measured all the same
    with contextlib.suppress(ValueError):
        if np.isin(present, classes).all():
            measures["log_loss"] = float(log_loss(y, probabilities, labels=classes))
    with contextlib.suppress(ValueError):
        if np.array_equal(present, classes):
            scores = probabilities[:, 1] if len(classes) == 2 else probabilities
            measures["auroc"] = float(roc_auc_score(y, scores, multi_class="ovr", average="weighted"))
    return measures


def _coded(
    data: ArchiveSet, predicted: np.ndarray, given: tuple[np.ndarray, np.ndarray] | None
) -> dict[str, np.ndarray]:
    """Return what was predicted in codes; a model without probabilities is sure of what it predicts."""
    # those of the training cases, but for a label that only a test case has
    classes = np.unique(np.concatenate([data.y_train, data.y_test]))
    y_true, y_pred = np.searchsorted(classes, data.y_test), np.searchsorted(classes, predicted)
    if given is None:
        probabilities = np.eye(len(classes))[y_pred]
    else:
        probabilities = np.zeros((len(predicted), len(classes)))
        probabilities[:, np.searchsorted(classes, given[0])] = given[1]
    return {"y_true": y_true, "y_pred": y_pred, "probabilities": probabilities, "classes": classes}


def _gives_probabilities(estimator: Any) -> bool:
    if not hasattr(estimator, "predict_proba"):
        return False
    if not hasattr(estimator, "get_tag"):
        return True
    # sktime's default predict_proba writes the predicted label as 0 and 1
    return bool(estimator.get_tag("capability:predict_proba", tag_value_default=True, raise_error=False))


def warm_up(estimator: Any, load: Callable[[], ArchiveSet]) -> float:
    """Fit and predict a few training cases for nothing, so that no timing contains imports or compilation.

    Parameters
    ----------
    estimator : classifier
        Unfitted, set to train as briefly as it can.
    load : callable
        Returns the data; only training cases are used.

    Returns
    -------
    float
        Seconds spent.
    """
    start = time.perf_counter()
    with contextlib.suppress(Exception, SystemExit):  # what cannot run shows it in its cells, where the error is kept
        data = load()
        X, y = data.X_train, data.y_train
        few = np.concatenate([np.flatnonzero(y == label)[:_WARM_UP_CASES_PER_CLASS] for label in np.unique(y)])
        few_X = X[few] if isinstance(X, np.ndarray) else [X[i] for i in few]
        estimator.fit(few_X, y[few]).predict(few_X)
    return time.perf_counter() - start
