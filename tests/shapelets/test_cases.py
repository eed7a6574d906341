"""Reading series and labels."""

import re

import numpy as np
import pandas as pd
import pytest

from tsmodels.shapelets import discover_shapelets
from tsmodels.shapelets._cases import channel_moments, read_cases, read_labels

NAN = np.nan


def test_valid_ranges_and_gaps():
    cases = read_cases(np.array([[[NAN, 1.0, NAN, 3.0, NAN], [NAN] * 5], [[0.0, 1, 2, 3, 4], [NAN, NAN, 7, NAN, NAN]]]))
    assert cases.lo.tolist() == [[1, 0], [0, 2]]
    assert cases.hi.tolist() == [[4, 0], [5, 3]]
    assert cases.values[0].tolist() == [[0, 1, 2, 3, 0], [0] * 5]
    assert cases.observed[0, 0].tolist() == [False, True, False, True, False]
    assert cases.longest == 5


def test_what_is_read_is_not_changed():
    X = np.array([[[1.0, NAN, 3.0]], [[NAN, 5.0, 6.0]]])
    before = X.copy()
    cases = read_cases(X)
    cases.standardise(*channel_moments(cases))
    assert np.array_equal(X, before, equal_nan=True)


def test_moments_are_of_the_given_values():
    X = np.random.default_rng(0).normal(2, 3, (5, 2, 9))
    X[0, 0, 3:5], X[1, 1], X[2, 0, :2] = NAN, NAN, NAN
    mean, std = channel_moments(read_cases(X))
    assert mean == pytest.approx(np.nanmean(X, axis=(0, 2)))
    assert std == pytest.approx(np.nanstd(X, axis=(0, 2)))
    cases = read_cases(X)
    cases.standardise(mean, std)
    expected = (X - mean[:, None]) / std[:, None]
    assert cases.values[cases.observed] == pytest.approx(expected[cases.observed])
    assert (cases.values[2, 0, :2] == 0).all()


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([3, -1, 3], [-1, 3]),
        ([True, False, True], [False, True]),
        ([1.5, 0.5, 1.5], [0.5, 1.5]),
        ([("x", 2), ("x", 1), ("x", 2)], [("x", 1), ("x", 2)]),
        ([1, "a", None], [None, 1, "a"]),
        (np.array(["b", "a", "b"], dtype=object), ["a", "b"]),
        (pd.Series(["b", "a", "b"]), ["a", "b"]),
        (pd.Categorical(["b", "a", "b"]), ["a", "b"]),
        (np.array([2, 1, 2], dtype=np.int8), [1, 2]),
    ],
    ids=["str", "int", "bool", "float", "tuple", "mixed", "object", "series", "categorical", "int8"],
)
def test_labels_of_any_kind(labels, classes):
    read = read_labels(labels, 3)
    assert read.classes.tolist() == classes
    assert read.classes[read.codes].tolist() == list(labels) == read.values.tolist()
    assert read.classes.dtype == read.values.dtype


X = np.random.default_rng(0).normal(size=(4, 2, 20))
Y = [0, 0, 1, 1]
INFINITE = X.copy()
INFINITE[1, 0, 7] = -np.inf


@pytest.mark.parametrize(
    ("series", "labels", "error", "message"),
    [
        (X, [0, 0, 1], ValueError, "X has 4 cases, but y has 3 labels"),
        (X, [1, 1, 1, 1], ValueError, "y has 1 class: a shapelet tells a class from the others"),
        (X, np.zeros((4, 2)), ValueError, "y must be one-dimensional"),
        (X, [0.0, 0.0, 1.0, NAN], ValueError, "y holds NaN"),
        (X, [[0], [0], [1], [1]], TypeError, "y must hold hashable labels, got list"),
        (X, "0011", TypeError, "y must be a sequence of labels, got str"),
        (X, 3, TypeError, "y must be a sequence of labels, got int"),
        (INFINITE, Y, ValueError, "X holds infinite values, the first in case 1, channel 0, time point 7"),
        (X[:, 0], Y, ValueError, "X must be an array (case, channel, time)"),
        (list(X[:, 0]), Y, ValueError, "case 0 of X must be an array (channel, time), got 1 dimensions"),
        ([X[0], X[1], X[2], X[3, :1]], Y, ValueError, "X must have the same channels in every case"),
        (X.astype(str), Y, TypeError, "X must hold real numbers, got dtype <U"),
        ([*X[:3], np.array([["a"], ["b"]])], Y, TypeError, "case 3 of X must hold real numbers"),
        (X.astype(complex), Y, TypeError, "X must hold real numbers, got dtype complex128"),
        ("X", Y, TypeError, "X must be an array (case, channel, time) or a list of arrays, got str"),
        (X[:0], [], ValueError, "X must hold a case, a channel and a time point"),
        ([], [], ValueError, "X must hold a case, a channel and a time point"),
        (X[:, :0], Y, ValueError, "X must hold a case, a channel and a time point"),
        (X[:, :, :0], Y, ValueError, "X must hold a case, a channel and a time point, got (4, 2, 0)"),
        (np.full_like(X, NAN), Y, ValueError, "X has no candidates"),
    ],
)
def test_bad_input_is_named(series, labels, error, message):
    with pytest.raises(error, match=re.escape(message)):
        discover_shapelets(series, labels)
