"""One cell of a benchmark: a model fitted on one data set with one seed, and measured on the test cases."""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from tsmodels.benchmark.models import class_path, described
from tsmodels.benchmark.results import environment

if TYPE_CHECKING:
    from tsmodels_datamodules import ArchiveSet

__all__ = ["PROTOCOL", "Cell", "recorded", "run_cell", "warm_up"]

PROTOCOL = "default split of the archive; fitted on the training cases only, nothing selected on the test cases"

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
    """

    dataset: str
    model: str
    seed: int | None
    configuration: str

    @property
    def file_name(self) -> str:
        """Readable, safe on every file system, and different for every cell."""
        seed = "once" if self.seed is None else f"seed{self.seed}"
        parts = [re.sub(r"[^A-Za-z0-9.-]+", "_", part)[:60] for part in (self.dataset, self.model)]
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        return f"{parts[0]}__{parts[1]}__{seed}__{self.configuration}-{digest}.json"

    def __str__(self) -> str:
        return f"{self.model} on {self.dataset}" + ("" if self.seed is None else f", seed {self.seed}")


def run_cell(cell: Cell, estimator: Any, data: ArchiveSet) -> dict[str, Any]:
    """Fit and measure one model.

    Parameters
    ----------
    cell : Cell
    estimator : classifier
        Unfitted, with its seed set.
    data : ArchiveSet

    Returns
    -------
    dict
        What is written to the cell's file, in the plain types of JSON: ``status`` is "finished", or "failed" with the
        ``error`` and no measures.
    """
    facts = {
        "estimator": class_path(estimator),
        "parameters": described(estimator),
        "protocol": PROTOCOL,
        "source": data.source,
        "n_train": len(data.y_train),
        "n_test": len(data.y_test),
        "n_classes": len(np.unique(data.y_train)),
    }
    return recorded(cell, facts, lambda: _fit_and_measure(estimator, data))


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
        record |= measure()
    except Exception as error:  # a model that fails costs its own cell, never the run
        record |= {"status": "failed", "error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    return record | environment() | {"finished_at": datetime.now(UTC).isoformat(timespec="seconds")}


def _fit_and_measure(estimator: Any, data: ArchiveSet) -> dict[str, Any]:
    start = time.perf_counter()
    estimator.fit(data.X_train, data.y_train)
    fitted = time.perf_counter()
    predicted = np.asarray(estimator.predict(data.X_test))
    done = time.perf_counter()
    measures = _label_measures(data.y_test, predicted) | _probability_measures(estimator, data)
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
    from sklearn.metrics import accuracy_score, recall_score

    # the mean recall of the classes there are; balanced_accuracy_score is the same but warns if others are predicted
    recall = recall_score(y, predicted, labels=np.unique(y), average="macro")
    return {"accuracy": float(accuracy_score(y, predicted)), "balanced_accuracy": float(recall)}


def _probability_measures(estimator: Any, data: ArchiveSet) -> dict[str, float | None]:
    """Return log loss and AUROC, None where they are undefined or the model gives no probabilities."""
    from sklearn.metrics import log_loss, roc_auc_score

    measures: dict[str, float | None] = {"log_loss": None, "auroc": None}
    if not _gives_probabilities(estimator):
        return measures
    order = np.argsort(np.asarray(estimator.classes_))  # scikit-learn wants the columns in the order of the labels
    classes, present = np.asarray(estimator.classes_)[order], np.unique(data.y_test)
    probabilities = np.asarray(estimator.predict_proba(data.X_test), dtype=float)[:, order]
    if np.isin(present, classes).all():
        measures["log_loss"] = float(log_loss(data.y_test, probabilities, labels=classes))
    if np.array_equal(present, classes):
        scores = probabilities[:, 1] if len(classes) == 2 else probabilities
        auroc = roc_auc_score(data.y_test, scores, multi_class="ovr", average="weighted")
        measures["auroc"] = float(auroc)
    return measures


def _gives_probabilities(estimator: Any) -> bool:
    if not hasattr(estimator, "predict_proba"):
        return False
    if not hasattr(estimator, "get_tag"):
        return True
    # sktime's default predict_proba writes the predicted label as 0 and 1
    return bool(estimator.get_tag("capability:predict_proba", tag_value_default=True, raise_error=False))


def warm_up(estimator: Any, data: ArchiveSet) -> float:
    """Fit and predict a few training cases for nothing, so that no timing contains imports or compilation.

    Parameters
    ----------
    estimator : classifier
        Unfitted, set to train as briefly as it can.
    data : ArchiveSet
        Only training cases are used.

    Returns
    -------
    float
        Seconds spent.
    """
    start = time.perf_counter()
    X, y = data.X_train, data.y_train
    few = np.concatenate([np.flatnonzero(y == label)[:_WARM_UP_CASES_PER_CLASS] for label in np.unique(y)])
    few_X = X[few] if isinstance(X, np.ndarray) else [X[i] for i in few]
    with contextlib.suppress(Exception):  # a model that cannot run shows it in its cells, where the error is kept
        estimator.fit(few_X, y[few]).predict(few_X)
    return time.perf_counter() - start
