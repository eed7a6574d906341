"""Resamples are those that the archives' published results were obtained on."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tsmodels.benchmark.resampling import resample_indices, resampled

TRAIN, TEST = np.array(list("babacbab")), np.array(list("cabbaca"))
# worked out with plain lists and the generator alone: pooled cases by class in sorted order, each class shuffled, as
# many as it has training cases first
REFERENCE = {
    1: ([6, 3, 12, 10, 5, 0, 11, 13], [1, 9, 14, 7, 2, 4, 8]),
    2: ([12, 3, 9, 11, 10, 7, 2, 8], [6, 14, 1, 5, 0, 4, 13]),
    3: ([9, 14, 12, 11, 10, 2, 5, 4], [3, 1, 6, 7, 0, 8, 13]),
}


@pytest.mark.parametrize("resample", [1, 2, 3])
def test_indices_are_the_stored_reference(resample):
    train, test = resample_indices(TRAIN, TEST, resample)
    assert (train.tolist(), test.tolist()) == REFERENCE[resample]


def test_resample_zero_is_the_split_itself():
    train, test = resample_indices(TRAIN, TEST, 0)
    assert (train.tolist(), test.tolist()) == ([*range(8)], [*range(8, 15)])
    data = SimpleNamespace(y_train=TRAIN, y_test=TEST)
    assert resampled(data, 0) is data


def test_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - that is what is looked at
    resample_indices(TRAIN, TEST, 1)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("as_list", [False, True])
def test_cases_go_with_their_labels(as_list):
    X = np.arange(15.0)[:, None, None]
    cases = [pd.DataFrame(case.T) for case in X]
    X_train, X_test = (cases[:8], cases[8:]) if as_list else (X[:8], X[8:])
    data = SimpleNamespace(name="Made", X_train=X_train, y_train=TRAIN, X_test=X_test, y_test=TEST, source="here")
    made = resampled(data, 2)
    for drawn, labels, expected in zip(
        (made.X_train, made.X_test), (made.y_train, made.y_test), REFERENCE[2], strict=True
    ):
        assert [float(np.asarray(case).item()) for case in drawn] == expected
        assert labels.tolist() == [*np.concatenate([TRAIN, TEST])[expected]]
    assert (made.name, made.source) == ("Made", "here")


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="0 or more"):
        resample_indices(TRAIN, TEST, -1)
    with pytest.raises(ValueError, match="the same classes"):
        resample_indices(TRAIN, np.array(["z"]), 1)
