"""In fresh processes: what is imported when, and that fitting says nothing and leaves no file."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from tsmodels.estimators import ChimeraClassifier


def in_a_fresh_process(script, folder):
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_the_packages_imports_nothing_heavy(tmp_path):
    script = """
import sys
import tsmodels, tsmodels.estimators, tsmodels.tasks
assert "ChimeraClassifier" in dir(tsmodels.estimators)
assert "ClassificationTask" in dir(tsmodels.tasks)
for module in (tsmodels.estimators, tsmodels.tasks):
    try:
        module.no_such_name
    except AttributeError as error:
        assert "no_such_name" in str(error)
    else:
        raise AssertionError
assert not {"torch", "lightning", "sktime", "sklearn", "pandas"} & set(sys.modules)
"""
    in_a_fresh_process(script, tmp_path)


def test_fit_is_the_first_to_import_lightning_and_leaves_no_trace(tmp_path):
    script = """
import os, sys
import numpy as np
from torch import nn
from tsmodels.estimators import classifier

class FlatForClassification(nn.Module):
    def __init__(self, n_channels, n_timepoints, n_classes, *, bias=True):
        super().__init__()
        self.linear = nn.Linear(n_channels * n_timepoints, n_classes, bias=bias)

    def forward(self, x):
        return self.linear(x.flatten(1))

FlatClassifier = classifier(FlatForClassification)
estimator = FlatClassifier(max_epochs=2, val_fraction=0.25, patience=1, accelerator="cpu")
assert "lightning" not in sys.modules
X, y = np.random.default_rng(0).normal(size=(24, 2, 16)), np.repeat(["a", "b"], 12)
estimator.fit(X, y).predict(X)
assert "lightning" in sys.modules
assert "pytorch_lightning" not in sys.modules
assert os.listdir() == []
"""
    in_a_fresh_process(script, tmp_path)


def test_unpickling_and_predicting_import_no_lightning(problem, tmp_path):
    X, y = problem
    estimator = ChimeraClassifier(d_model=4, d_state=2, n_layers=1, max_epochs=1, accelerator="cpu").fit(X, y)
    (tmp_path / "estimator.pkl").write_bytes(pickle.dumps(estimator))
    np.save(tmp_path / "X.npy", X)
    script = """
import pickle, sys
import numpy as np
with open("estimator.pkl", "rb") as file:
    estimator = pickle.load(file)
np.save("probabilities.npy", estimator.predict_proba(np.load("X.npy")))
assert "lightning" not in sys.modules
"""
    in_a_fresh_process(script, tmp_path)
    probabilities = np.load(tmp_path / "probabilities.npy")
    assert probabilities == pytest.approx(estimator.predict_proba(X), abs=1e-6)
