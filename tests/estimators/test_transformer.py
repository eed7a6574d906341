"""ShapeletTransform beyond sktime's own suite: what it computes, what it composes with, what it never sees."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.classification.compose import SklearnClassifierPipeline
from sktime.datasets import load_basic_motions, load_japanese_vowels

from tsmodels.estimators import ShapeletTransform, all_estimators
from tsmodels.shapelets import ShapeletWarning, discover_shapelets


@pytest.fixture
def motions():
    """Equal length, six channels, four classes: 40 series to train on, 40 to test on."""
    return *load_basic_motions("train", return_type="numpy3D"), *load_basic_motions("test", return_type="numpy3D")


def test_it_is_listed_as_a_transformer():
    assert ShapeletTransform in all_estimators("transformer")


def test_columns_are_the_distances_to_the_shapelets_of_the_training_series(motions):
    X, y, X_test, _ = motions
    transform = ShapeletTransform(n_per_class=2, window=10, random_state=0).fit(X, y)
    found = discover_shapelets(X, y, n_per_class=2, window=10)
    assert transform.shapelets_.to_frame().equals(found.to_frame())
    frame = transform.transform(X_test)
    assert list(frame.columns) == [f"shapelet_{i}" for i in range(8)]
    assert (frame.to_numpy() == found.distances(X_test)).all()
    assert list(transform.shapelets_.contains_series(X)) == list(range(40))
    assert transform.shapelets_.contains_series(X_test) == {}


@pytest.mark.parametrize("compose", ["product", "pipeline"])
def test_distances_tell_motions_apart(motions, compose):
    X, y, X_test, y_test = motions
    transform = ShapeletTransform(n_per_class=3)
    linear = make_pipeline(StandardScaler(), LogisticRegression())
    classifier = transform * linear if compose == "product" else SklearnClassifierPipeline(linear, [transform])
    assert (classifier.fit(X, y).predict(X_test) == y_test).mean() >= 0.9  # a guess: 0.25


def test_it_is_a_step_of_scikit_learns_pipeline_and_search(motions):
    X, y, _, _ = motions
    pipeline = make_pipeline(ShapeletTransform(), StandardScaler(), LogisticRegression())
    search = GridSearchCV(pipeline, {"shapelettransform__n_per_class": [1, 2]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.5  # a guess: 0.25


def test_series_of_unequal_length():
    X, y = load_japanese_vowels("train")
    X_test, y_test = load_japanese_vowels("test")
    classifier = ShapeletTransform(n_per_class=5, window=None) * make_pipeline(StandardScaler(), LogisticRegression())
    chosen = np.random.default_rng(0).permutation(len(X_test))[:100]
    classifier.fit(X, y)
    assert (classifier.predict(X_test.iloc[chosen]) == y_test[chosen]).mean() > 0.8  # a guess: 0.11


def test_where_a_shapelet_has_no_room_the_largest_training_distance_stands(motions):
    X, y, X_test, _ = motions
    transform = ShapeletTransform(n_per_class=3, window=5).fit(X, y)
    short = X_test[:4, :, :70]
    distances = transform.shapelets_.distances(short)
    no_room = np.isinf(distances)
    assert 0 < no_room.sum() < no_room.size
    frame = transform.transform(short)
    assert np.isfinite(frame.to_numpy()).all()
    assert (frame.to_numpy()[~no_room] == distances[~no_room]).all()
    largest = transform.transform(X).max().to_numpy()
    assert (np.where(no_room, frame, largest) == largest).all()


def test_missing_values_and_containers_make_no_difference(motions):
    X, y, X_test, _ = motions
    X[3, 2, 10:14], X_test[0, 0, 50:52], X_test[1, :, 90:] = np.nan, np.nan, np.nan
    transform = ShapeletTransform(n_per_class=1).fit(X, y)
    expected = transform.transform(X_test)
    frames = [pd.DataFrame(series.T) for series in X_test]
    as_list = ShapeletTransform(n_per_class=1).fit([pd.DataFrame(series.T) for series in X], y).transform(frames)
    assert (as_list.to_numpy() == expected.to_numpy()).all()
    frames[1] = frames[1].iloc[:90]
    assert (transform.transform(frames).to_numpy() == expected.to_numpy()).all()


def test_nothing_but_the_training_series_is_seen(motions):
    X, y, X_test, _ = motions
    train = np.arange(0, 40, 2)
    X_changed, y_changed = X.copy(), y.copy()
    X_changed[1::2] += 100 * np.random.default_rng(0).normal(size=X[1::2].shape)
    y_changed[1::2] = y[0]
    one = ShapeletTransform(n_per_class=2, random_state=0).fit(X[train], y[train])
    expected = one.transform(X_test[:20])
    other = ShapeletTransform(n_per_class=2, random_state=0).fit(X_changed[train], y_changed[train])
    assert one.shapelets_ == other.shapelets_
    assert other.transform(X_test)[:20].equals(expected)


@pytest.mark.parametrize("random_state", [0, 7])
def test_the_draw_is_set_by_random_state(motions, random_state):
    X, y, X_test, _ = motions
    options = {"n_per_class": 2, "window": 3, "max_candidates": 800, "max_reference": 10}
    one, other = (ShapeletTransform(**options, random_state=random_state).fit(X, y) for _ in range(2))
    assert one.shapelets_ == other.shapelets_
    third = ShapeletTransform(**options, random_state=random_state + 1).fit(X, y)
    assert one.shapelets_.fingerprint == third.shapelets_.fingerprint
    assert not (one.transform(X_test) == third.transform(X_test)).all(axis=None)


def test_every_argument_reaches_the_discovery(motions):
    X, y, _, _ = motions
    arguments = {
        "n_per_class": 2,
        "window": 7,
        "point_fraction": 0.1,
        "min_length": 6,
        "max_length": 30,
        "normalize": None,
        "complexity": False,
        "max_reference": 12,
        "max_candidates": 500,
    }
    shapelets = ShapeletTransform(**arguments, n_jobs=1).fit(X, y).shapelets_
    assert {name: shapelets.params[name] for name in arguments} == arguments


def test_a_pickled_one_gives_the_same(motions):
    X, y, X_test, _ = motions
    transform = ShapeletTransform(n_per_class=2).fit(X, y)
    copy = pickle.loads(pickle.dumps(transform))
    assert copy.transform(X_test).equals(transform.transform(X_test))


def test_bad_input_is_named(motions):
    X, y, X_test, _ = motions
    transform = ShapeletTransform(n_per_class=2).fit(X, y)
    with pytest.raises(ValueError, match="X has 5 channels, but the shapelets are of 6"):
        transform.transform(X_test[:, :5])
    with pytest.raises(ValueError, match="y has 1 class"):
        ShapeletTransform().fit(X[:10], y[:10])
    with pytest.raises(ValueError, match="n_per_class must be an integer of at least 1"):
        ShapeletTransform(n_per_class=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ShapeletWarning, match=f"one series in class '{y[30]}'"):
            ShapeletTransform().fit(X[:31], y[:31])
