"""Labelled cases: a panel with the codes 0, 1, ... of its classes, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsmodels_datamodules._panel import Panel, apply_missing, to_panel


@dataclass(frozen=True, eq=False)
class Cases:
    """Cases with the codes (case,), int64, of their classes where labels were given."""

    panel: Panel
    codes: np.ndarray | None


@dataclass(frozen=True, eq=False)
class TrainingCases:
    """The cases that define channels and classes; ``classes[codes]`` are their labels."""

    panel: Panel
    codes: np.ndarray
    classes: np.ndarray

    @classmethod
    def read(cls, X: Any, y: Any, missing: str, *, name: str = "X", y_name: str = "y") -> TrainingCases:
        """Read and check the cases, which the messages call `name` and `y_name`."""
        panel = apply_missing(to_panel(X, name=name), missing, name=name)
        classes, codes = _encode_training(_read_labels(y, panel.n_cases, name, y_name), y_name)
        return cls(panel, codes, classes)

    def read_new(self, X: Any, y: Any, missing: str, *, name: str = "X", y_name: str = "y") -> Cases:
        """Read further cases, which must have the same channels and, unless `y` is None, no other classes."""
        panel = to_panel(X, name=name)
        if panel.n_channels != self.panel.n_channels:
            raise ValueError(
                f"{name} has {panel.n_channels} channels, the training cases have {self.panel.n_channels}: pass the "
                f"same channels in the same order."
            )
        panel = apply_missing(panel, missing, name=name)
        if y is None:
            return Cases(panel, None)
        return Cases(panel, _encode(_read_labels(y, panel.n_cases, name, y_name), self.classes, y_name))


def _read_labels(y: Any, n_cases: int, name: str, y_name: str) -> np.ndarray:
    """Return the labels as an array (case,) in their own dtype."""
    if y is None:
        raise TypeError(f"{y_name} is missing: pass one class label per case of {name}.")
    labels = np.asarray(y)
    if labels.ndim != 1:
        remedy = f": use {y_name}.ravel()" if labels.size == n_cases else ""
        raise ValueError(f"{y_name} has shape {labels.shape}, expected one label per case, ({n_cases},){remedy}.")
    if len(labels) != n_cases:
        raise ValueError(f"{name} has {n_cases} cases but {y_name} has {len(labels)} labels: pass one label per case.")
    absent = pd.isna(labels)
    if absent.any():
        first = int(np.flatnonzero(absent)[0])
        raise ValueError(f"{y_name} has missing labels, the first at position {first}: drop these cases.")
    if labels.dtype.kind == "c":
        raise TypeError(f"{y_name} holds {labels.dtype}: pass strings, integers or booleans.")
    if labels.dtype.kind == "f" and (labels != np.round(labels)).any():
        raise ValueError(f"{y_name} holds numbers with a fraction, which are no class labels: bin or round them.")
    return labels


def _encode_training(labels: np.ndarray, y_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes in ascending order, in the dtype of the labels, and the codes along them."""
    try:
        classes, codes = np.unique(labels, return_inverse=True)
    except TypeError:
        raise TypeError(f"{y_name} mixes labels that have no common order: convert them all to strings.") from None
    if len(classes) < 2:
        raise ValueError(f"{y_name} has only one class, {classes[0]!r}: training needs cases of at least two classes.")
    return classes, codes.astype(np.int64)


def _encode(labels: np.ndarray, classes: np.ndarray, y_name: str) -> np.ndarray:
    """Return the codes along known classes."""
    code_of = {label: code for code, label in enumerate(classes.tolist())}
    unseen = sorted({repr(label) for label in labels.tolist() if label not in code_of})
    if unseen:
        known = [repr(label) for label in classes.tolist()]
        raise ValueError(
            f"{y_name} has labels that the training cases do not have: {_shortened(unseen)}; known are "
            f"{_shortened(known)}. Drop these cases or add some of their class to the training cases."
        )
    return np.array([code_of[label] for label in labels.tolist()], dtype=np.int64)


def _shortened(items: list[str], limit: int = 10) -> str:
    return ", ".join(items[:limit]) + (", ..." if len(items) > limit else "")
