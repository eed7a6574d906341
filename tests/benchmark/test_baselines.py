"""The baselines, and the padding that lets them take series of any length."""

import numpy as np
import pandas as pd
import pytest
from sktime.classification.dummy import DummyClassifier

from tsmodels.benchmark.baselines import PadToTraining, minirocket, one_nn_dtw
from tsmodels.benchmark.models import configured
from tsmodels_datamodules import load_archive


class Keeping(DummyClassifier):
    """Keeps what it is given, in a list the clones share."""

    given = []

    def fit(self, X, y):
        self.given.append(X)
        return super().fit(X, y)

    def predict(self, X):
        self.given.append(X)
        return super().predict(X)


def _ragged(*lengths):
    return [pd.DataFrame({"var_0": np.arange(1.0, n + 1), "var_1": -np.arange(1.0, n + 1)}) for n in lengths]


def test_series_are_brought_to_the_length_of_the_longest_training_series():
    Keeping.given.clear()
    model = PadToTraining(Keeping()).fit(_ragged(3, 1), np.array(["a", "b"]))
    model.predict(_ragged(2, 5))
    train, test = Keeping.given
    np.testing.assert_array_equal(train, [[[1, 2, 3], [-1, -2, -3]], [[1, 0, 0], [-1, 0, 0]]])
    np.testing.assert_array_equal(test, [[[1, 2, 0], [-1, -2, 0]], [[1, 2, 3], [-1, -2, -3]]])
    assert model.n_timepoints_ == 3
    assert list(model.classes_) == ["a", "b"]


def test_series_of_equal_length_pass_untouched_unless_too_short():
    Keeping.given.clear()
    X, y = np.random.default_rng(0).normal(size=(2, 3, 4)), np.array(["a", "b"])
    PadToTraining(Keeping()).fit(X, y)
    PadToTraining(Keeping(), min_timepoints=6).fit(X, y)
    np.testing.assert_array_equal(Keeping.given[0], X)
    np.testing.assert_array_equal(Keeping.given[1][:, :, :4], X)
    assert Keeping.given[1].shape == (2, 3, 6)


def test_1nn_dtw_finds_a_shifted_copy_and_gives_no_probabilities():
    t = np.arange(12)
    X = np.stack([np.where(t == 3, 1.0, 0.0), np.where(t >= 3, 1.0, 0.0)])[:, None]
    model = one_nn_dtw().fit(X, np.array(["peak", "step"]))
    assert list(model.predict(np.roll(X, 2, axis=2) * (t >= 2))) == ["peak", "step"]
    assert not hasattr(model, "predict_proba")


@pytest.mark.slow  # the kernels of MiniRocket compile for a minute where they are not cached
def test_minirocket_is_sktimes_rocket_classifier():
    from sktime.classification.kernel_based import RocketClassifier

    data = load_archive("ItalyPowerDemand")
    ours = configured(minirocket(), random_state=0).fit(data.X_train, data.y_train)
    theirs = RocketClassifier(rocket_transform="minirocket", use_multivariate="yes", random_state=0)
    theirs.fit(data.X_train, data.y_train)
    np.testing.assert_array_equal(ours.predict(data.X_test[:100]), theirs.predict(data.X_test[:100]))


@pytest.mark.slow
def test_minirocket_takes_series_of_unequal_length_shorter_than_its_kernels():
    data = load_archive("JapaneseVowels")
    model = configured(minirocket(), random_state=0).fit(data.X_train, data.y_train)
    assert (model.predict(data.X_test) == data.y_test).mean() > 0.97
