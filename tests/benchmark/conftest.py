"""Data sets of a few cases, classifiers that train in no time, and results made up."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from tsmodels.benchmark import _lookup


def _made(name: str, n_per_class: int = 6, classes: str = "ab") -> SimpleNamespace:
    """Make cases (1 channel, 4 time points) whose level tells the class; the attributes are those of an ArchiveSet."""
    rng = np.random.default_rng(len(name))

    def split() -> tuple[np.ndarray, np.ndarray]:
        levels = np.repeat(np.arange(len(classes)), n_per_class)
        return levels[:, None, None] + rng.normal(size=(len(levels), 1, 4)) / 10, np.array(list(classes))[levels]

    (X_train, y_train), (X_test, y_test) = split(), split()
    return SimpleNamespace(name=name, X_train=X_train, y_train=y_train, X_test=X_test, y_test=y_test, source="made up")


class Levels(BaseEstimator):
    """Nearest class mean; says which fits were asked for."""

    fits: list[tuple[int, object]] = []

    def __init__(self, max_epochs=7, random_state=None):
        self.max_epochs = max_epochs
        self.random_state = random_state

    def fit(self, X, y):
        self.fits.append((len(X), self.random_state))
        self.classes_ = np.unique(y)
        self.levels_ = np.array([X[y == label].mean() for label in self.classes_])
        self.n_parameters_ = len(self.levels_)
        return self

    def predict_proba(self, X):
        closeness = np.exp(-10 * np.abs(X.mean((1, 2))[:, None] - self.levels_))
        return closeness / closeness.sum(1, keepdims=True)

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(1)]


class Fixed(Levels):
    """The same without a seed, epochs and probabilities."""

    predict_proba = property()

    def __init__(self):
        pass

    random_state = None

    def predict(self, X):
        return self.classes_[np.abs(X.mean((1, 2))[:, None] - self.levels_).argmin(1)]


@pytest.fixture
def registry():
    """Ask for sktime's registry."""


@pytest.fixture(autouse=True)
def _no_registry(request, monkeypatch):
    """Find nothing in sktime's registry, which takes seconds to import; tests that ask for `registry` have it."""
    if "registry" not in request.fixturenames:
        monkeypatch.setattr(_lookup, "_registered", lambda name, scitype: None)


@pytest.fixture
def made():
    return _made


@pytest.fixture
def load():
    """Return a loader that makes a set of any name but "Missing"."""

    def load(name):
        if name == "Missing":
            raise FileNotFoundError("there is no such set.")
        return _made(name)

    return load


@pytest.fixture
def levels():
    Levels.fits.clear()
    return Levels


@pytest.fixture
def fixed():
    Levels.fits.clear()
    return Fixed


@pytest.fixture
def result():
    """Return a maker of results as they stand in a cell's file."""

    def result(dataset="Made", model="Levels", seed=0, accuracy=0.75, configuration="00000000", **other):
        return {
            "dataset": dataset,
            "model": model,
            "seed": seed,
            "configuration": configuration,
            "status": "finished",
            "error": None,
            "accuracy": accuracy,
            "balanced_accuracy": accuracy,
            "fit_seconds": 2.0,
            "predict_seconds": 0.5,
            "n_test": 12,
            **other,
        }

    return result


@pytest.fixture
def failure(result):
    """Return a maker of results of models that raised."""

    def failure(**other):
        measures = dict.fromkeys(("accuracy", "balanced_accuracy", "fit_seconds", "predict_seconds"))
        return result(**measures, **other) | {"status": "failed", "error": "ValueError: too few cases\nmore of it"}

    return failure
