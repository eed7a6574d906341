"""What a classifier does with data: labels, lengths, missing values, bad input, and what it keeps after fit."""

import io
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_backend
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sktime.base import load
from sktime.classification.model_selection import TSCGridSearchCV
from sktime.datatypes import convert_to
from sktime.exceptions import NotFittedError
from sktime.transformations.panel.padder import PaddingTransformer
from torch import nn

from tsmodels.estimators import ChimeraClassifier, _base, classifier
from tsmodels_datamodules import load_archive

SMALL = {"d_model": 4, "d_state": 2, "n_layers": 1, "max_epochs": 1, "accelerator": "cpu", "random_state": 0}


def ragged(X, shortest=9):
    """Cut the cases of X (case, channel, time) to different lengths: a list of frames, rows = time."""
    ends = np.resize(np.arange(shortest, X.shape[2] + 1), len(X))
    return [pd.DataFrame(case[:, :end].T) for case, end in zip(X, ends, strict=True)]


@pytest.mark.parametrize(
    "labels",
    [np.array(["no", "yes"]), np.array([7, 3]), np.array([False, True]), np.array(["b", "a"], dtype=object)],
    ids=["str", "int", "bool", "object"],
)
def test_labels_come_back_in_their_own_type(pooled, problem, labels):
    X, _ = problem
    y = np.repeat(labels, 12)
    estimator = pooled(random_state=0).fit(X, y)
    predicted = estimator.predict(X)
    assert predicted.dtype == y.dtype
    assert (predicted == y).mean() > 0.9
    assert estimator.classes_.tolist() == sorted(labels.tolist())
    columns = estimator.predict_proba(X).argmax(1)
    assert (estimator.classes_[columns] == predicted).all()


def test_pandas_labels(pooled, problem):
    X, y = problem
    assert set(pooled(max_epochs=1).fit(X, pd.Series(y)).predict(X)) <= set(y)


def test_one_class_is_predicted_for_all(pooled, problem):
    X, _ = problem
    with pytest.warns(UserWarning, match="only single label"):
        estimator = pooled().fit(X, np.full(24, "only"))
    assert (estimator.predict(X) == "only").all()


@pytest.mark.parametrize("val_fraction", [None, 0.2])
def test_a_class_of_one_case(pooled, problem, val_fraction):
    X, y = problem
    y = y.copy()
    y[0] = "once"
    estimator = pooled(max_epochs=2, val_fraction=val_fraction, random_state=0).fit(X, y)
    assert estimator.predict_proba(X).shape == (24, 3)


@pytest.mark.parametrize(("batch_size", "val_fraction", "epochs"), [(8, None, 4), (9, 0.25, 5), (1, None, 2)])
def test_few_cases_are_passed_over_more_often(pooled, problem, batch_size, val_fraction, epochs, monkeypatch):
    monkeypatch.setattr(_base, "AUTO_EPOCHS", 2)
    monkeypatch.setattr(_base, "AUTO_STEPS", 10)
    estimator = pooled(max_epochs="auto", batch_size=batch_size, val_fraction=val_fraction).fit(*problem)
    assert estimator.history_["epochs"] == epochs


def test_no_class_can_spare_a_case_for_validation(pooled, problem):
    X, _ = problem
    with pytest.raises(ValueError, match="val_fraction=None"):
        pooled(val_fraction=0.3).fit(X[:3], np.array(["a", "b", "c"]))


def test_probabilities_are_float64_and_sum_to_one(pooled, problem):
    X, y = problem
    probabilities = pooled(random_state=0).fit(X, y).predict_proba(X)
    assert probabilities.dtype == np.float64
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1.0, atol=1e-12)


@pytest.mark.parametrize("name", ["pooled", "padded"])
def test_a_prediction_depends_on_its_case_alone(name, problem, request):
    X, y = problem
    cases = ragged(X)
    estimator = request.getfixturevalue(name)(random_state=0, batch_size=8).fit(cases, y)
    together = estimator.predict_proba(cases)
    alone = np.vstack([estimator.predict_proba([case]) for case in cases])
    order = np.random.default_rng(1).permutation(len(cases))
    shuffled = estimator.predict_proba([cases[i] for i in order])
    estimator.batch_size = 5
    rebatched = estimator.predict_proba(cases)
    for other in (alone, shuffled[np.argsort(order)], rebatched):
        np.testing.assert_allclose(other, together, atol=1e-6)


def test_missing_values_are_seen_as_missing_whatever_stands_there(pooled, problem):
    X, y = problem
    holes = X.copy()
    holes[::2, :, 3:6] = np.nan
    estimator = pooled(random_state=0).fit(holes, y)
    shifted = np.where(np.isnan(holes), np.nan, X)
    np.testing.assert_array_equal(estimator.predict_proba(holes), estimator.predict_proba(shifted))
    assert estimator.score(holes, y) > 0.8
    kept = np.delete(X, [3, 4, 5], axis=2)  # moments over time do not care where the gap was
    np.testing.assert_allclose(estimator.predict_proba(holes[::2]), estimator.predict_proba(kept[::2]), atol=1e-6)


@pytest.mark.parametrize("mtype", ["numpy3D", "df-list", "pd-multiindex", "nested_univ"])
def test_every_container_gives_the_same_result(pooled, problem, mtype):
    X, y = problem
    expected = pooled(random_state=0, max_epochs=2).fit(X, y).predict_proba(X)
    given = convert_to(X, mtype, as_scitype="Panel")
    np.testing.assert_allclose(pooled(random_state=0, max_epochs=2).fit(given, y).predict_proba(given), expected)


@pytest.mark.parametrize("mtype", ["df-list", "pd-multiindex", "nested_univ"])
def test_real_series_of_unequal_length_in_every_container(pooled, mtype):
    vowels = load_archive("JapaneseVowels", download=False)
    cases, y = vowels.X_train[::9], vowels.y_train[::9]
    expected = pooled(random_state=0, max_epochs=2).fit(cases, y).predict_proba(cases)
    given = convert_to(cases, mtype, as_scitype="Panel")
    np.testing.assert_allclose(pooled(random_state=0, max_epochs=2).fit(given, y).predict_proba(given), expected)


def test_two_dimensional_arrays_are_univariate_series(flat, problem):
    X, y = problem
    assert flat(random_state=0).fit(X[:, 0], y).n_channels_ == 1


def test_predict_before_fit(pooled, problem):
    for method in ("predict", "predict_proba"):
        with pytest.raises(NotFittedError, match="has not been fitted"):
            getattr(pooled(), method)(problem[0])


@pytest.mark.parametrize("n_channels", [1, 3])
def test_another_number_of_channels(pooled, problem, n_channels):
    X, y = problem
    estimator = pooled(max_epochs=1).fit(X, y)
    with pytest.raises(ValueError, match=f"X has {n_channels} channels, but PooledClassifier was fitted on 2"):
        estimator.predict(np.zeros((3, n_channels, 16)))


@pytest.mark.parametrize("length", [10, 20])
def test_another_length_is_refused_by_a_network_that_is_bound_to_one(flat, problem, length):
    X, y = problem
    estimator = flat().fit(X, y)
    with pytest.raises(ValueError, match=f"length {length}, but FlatClassifier was fitted on length 16"):
        estimator.predict(np.zeros((3, 2, length)))


def test_a_network_with_lengths_takes_shorter_series_but_no_longer_ones(padded, problem):
    X, y = problem
    estimator = padded(scaling="none").fit(X, y)
    with_zeros = np.concatenate([X[:, :, :10], np.zeros((24, 2, 6))], axis=2)
    np.testing.assert_allclose(estimator.predict_proba(X[:, :, :10]), estimator.predict_proba(with_zeros), atol=1e-6)
    with pytest.raises(ValueError, match="length 20, but PaddedClassifier was fitted on length 16"):
        estimator.predict(np.zeros((3, 2, 20)))


def test_a_network_of_any_length_takes_longer_series_whole(pooled, problem):
    X, y = problem
    estimator = pooled(random_state=0).fit(X, y)
    twice = np.concatenate([X, X], axis=2)  # the same moments, so the same answer only if nothing is cut off
    changed = np.concatenate([X, X + 1], axis=2)
    np.testing.assert_allclose(estimator.predict_proba(twice), estimator.predict_proba(X), atol=1e-6)
    assert np.abs(estimator.predict_proba(changed) - estimator.predict_proba(X)).max() > 1e-3


@pytest.mark.parametrize("when", ["fit", "predict"])
def test_missing_values_and_unequal_length_where_unsupported(flat, problem, when):
    X, y = problem
    holes = X.copy()
    holes[0, 0, 0] = np.nan
    for bad, message in ((holes, "missing values"), (ragged(X), "unequal length")):
        with pytest.raises(ValueError, match=message):
            flat().fit(bad, y) if when == "fit" else flat(max_epochs=1).fit(X, y).predict(bad)


def test_infinite_values_are_named(pooled, problem):
    X, y = problem
    X[3, 1, 2] = np.inf
    with pytest.raises(ValueError, match="inf"):
        pooled().fit(X, y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_epochs": 0}, "max_epochs must be a positive integer"),
        ({"max_epochs": "some"}, "max_epochs must be a positive integer or \"auto\", got 'some'"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer"),
        ({"lr": 0}, "lr must be positive"),
        ({"val_fraction": 1.0}, "val_fraction must be None or in"),
        ({"patience": 3}, "patience needs a validation loss: set val_fraction"),
        ({"patience": 0, "val_fraction": 0.2}, "patience must be a positive integer"),
        ({"devices": 2}, "devices must be 1 or a list of one index.*script with a Lightning Trainer"),
        ({"devices": [0, 1]}, "devices must be 1 or a list of one index"),
        ({"devices": "auto"}, "devices must be 1 or a list of one index"),
        ({"accelerator": "tpu"}, "accelerator must be one of"),
        ({"scaling": "minmax"}, "scaling must be one of"),
        ({"class_weight": "even"}, "class_weight must be None, 'balanced' or a dict"),
        ({"class_weight": {"high": 1.0}}, "class_weight has the labels"),
        ({"class_weight": {"high": 1.0, "low": 1.0, "other": 1.0}}, "class_weight has the labels"),
        ({"label_smoothing": 2.0}, "label_smoothing must be in"),
        ({"trainer_kwargs": {"devices": 2}}, "trainer_kwargs holds 'devices'"),
        ({"trainer_kwargs": {"accelerator": "cpu"}}, "trainer_kwargs holds 'accelerator'"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(pooled, problem, arguments, message):
    with pytest.raises(ValueError, match=message):
        pooled(**arguments).fit(*problem)


def test_trainer_kwargs_is_a_dict_of_the_right_package(pooled, problem):
    from pytorch_lightning.callbacks import Timer

    with pytest.raises(TypeError, match="trainer_kwargs must be a dict or None, got list"):
        pooled(trainer_kwargs=[1]).fit(*problem)
    with pytest.raises(TypeError, match=r"Timer of the package pytorch_lightning.*import it from lightning\.pytorch"):
        pooled(trainer_kwargs={"callbacks": [Timer()]}).fit(*problem)


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
def test_an_absent_device_is_named_with_a_way_out(pooled, problem):
    with pytest.raises(ValueError, match=r"accelerator='gpu', but torch sees no such device"):
        pooled(accelerator="gpu").fit(*problem)
    estimator = pooled(max_epochs=1).fit(*problem)
    estimator.accelerator = "cuda"  # as after unpickling what was fitted elsewhere
    with pytest.raises(ValueError, match=r"estimator\.accelerator = 'auto'"):
        estimator.predict(problem[0])
    estimator.accelerator = "auto"
    assert estimator.predict(problem[0]).shape == (24,)


class SteepForClassification(nn.Module):
    """Its loss is finite, its gradient is not: the root of 0."""

    def __init__(self, n_channels, n_timepoints, n_classes):
        super().__init__()
        self.linear, self.root = nn.Linear(n_channels * n_timepoints, n_classes), nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.linear(x.flatten(1)) + (0 * self.root).sqrt()


def test_weights_that_are_not_finite_are_an_error(problem):
    estimator = classifier(SteepForClassification, defaults={"accelerator": "cpu"})(max_epochs=1)
    with pytest.raises(FloatingPointError, match="weights that are not finite: lower the learning rate"):
        estimator.fit(*problem)
    assert not estimator.is_fitted


def test_class_weights_reach_the_loss(pooled, problem):
    X, y = problem
    rare = np.r_[0:12, 12:15]
    probability = {}
    for name, weight in {"none": None, "balanced": "balanced", "dict": {"high": 0.625, "low": 2.5}}.items():
        estimator = pooled(random_state=0, max_epochs=3, class_weight=weight).fit(X[rare], y[rare])
        probability[name] = estimator.predict_proba(X)
    assert probability["balanced"][:, 1].mean() > probability["none"][:, 1].mean() + 0.05
    np.testing.assert_allclose(probability["dict"], probability["balanced"], atol=1e-6)


def test_label_smoothing_reaches_the_loss(pooled, problem):
    sharp, smooth = (
        pooled(random_state=0, max_epochs=40, label_smoothing=s).fit(*problem).predict_proba(problem[0]).max(1).mean()
        for s in (0.0, 0.5)
    )
    assert smooth < sharp


def test_scaling_makes_units_irrelevant(pooled, problem):
    X, y = problem
    scaled = pooled(random_state=0).fit(X, y).predict_proba(X)
    other = pooled(random_state=0).fit(1000 * X + 5, y).predict_proba(1000 * X + 5)
    np.testing.assert_allclose(other, scaled, atol=1e-4)
    raw = pooled(random_state=0, scaling="none").fit(X, y)
    assert raw.scaler_.mean_.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("precision", "dtype"), [("64-true", torch.float64), ("bf16-mixed", torch.float32)])
def test_prediction_follows_the_precision_of_the_network(flat, problem, precision, dtype):
    X, y = problem
    estimator = flat(random_state=0, precision=precision).fit(X, y)
    assert estimator.network_.linear.weight.dtype == dtype
    probabilities = estimator.predict_proba(X)
    assert probabilities.dtype == np.float64
    assert np.isfinite(probabilities).all()


def test_fitted_attributes(pooled, problem):
    X, y = problem
    estimator = pooled(width=4, max_epochs=3, val_fraction=0.25, random_state=0).fit(X, y)
    assert (estimator.n_channels_, estimator.n_timepoints_) == (2, 16)
    assert estimator.n_parameters_ == sum(each.numel() for each in estimator.network_.parameters())
    assert not estimator.network_.training
    assert estimator.network_.head[0].out_features == 4
    history = estimator.history_
    assert history["epochs"] == 3
    assert history["best_value"] == min(history["curves"]["val/loss"])
    assert {len(curve) for curve in history["curves"].values()} == {3}
    assert all(type(value) is float for curve in history["curves"].values() for value in curve)


def test_neither_data_nor_trainer_is_kept(pooled):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 2, 200)), np.repeat(["a", "b"], 200)
    buffer = io.BytesIO()
    pickle.dump(pooled(max_epochs=1, val_fraction=0.2).fit(X, y), buffer)
    assert buffer.tell() < 20_000
    assert b"lightning" not in buffer.getvalue()


@pytest.mark.parametrize("way", ["pickle", "save"])
def test_a_fitted_estimator_survives(problem, tmp_path, way):
    X, y = problem
    estimator = ChimeraClassifier(**SMALL).fit(X, y)
    if way == "pickle":
        again = pickle.loads(pickle.dumps(estimator))
    else:
        estimator.save(tmp_path / "estimator")
        again = load(tmp_path / "estimator.zip")
    np.testing.assert_array_equal(again.predict_proba(X), estimator.predict_proba(X))


def test_predicting_does_not_change_the_estimator(pooled, problem):
    estimator = pooled(max_epochs=1).fit(*problem)
    before = pickle.dumps(estimator)
    estimator.predict(problem[0])
    estimator.predict_proba(problem[0])
    assert pickle.dumps(estimator) == before


def test_grid_search_of_scikit_learn(pooled, problem):
    search = GridSearchCV(pooled(random_state=0), {"lr": [1e-9, 0.03]}, cv=KFold(2, shuffle=True, random_state=0))
    assert search.fit(*problem).best_params_ == {"lr": 0.03}
    assert search.predict(problem[0]).shape == (24,)


@pytest.mark.filterwarnings("ignore")  # scikit-learn's threads swap the filters of the process under each other
@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_cross_validation_of_scikit_learn_by_two_workers(problem, backend):
    estimator = ChimeraClassifier(**SMALL)
    cv = KFold(2, shuffle=True, random_state=0)
    alone = cross_val_score(estimator, *problem, cv=cv, scoring="neg_log_loss", error_score="raise")
    with parallel_backend(backend, n_jobs=2):
        beside = cross_val_score(estimator, *problem, cv=cv, scoring="neg_log_loss", error_score="raise")
    np.testing.assert_allclose(beside, alone, rtol=1e-5)


def test_grid_search_of_sktime(pooled, problem):
    search = TSCGridSearchCV(pooled(random_state=0, max_epochs=2), {"width": [2, 4]}, cv=KFold(2, shuffle=True))
    assert search.fit(*problem).best_params_["width"] in (2, 4)


def test_pipeline_of_sktime_gives_unequal_series_to_a_network_that_takes_none(flat, problem):
    X, y = problem
    pipeline = PaddingTransformer(pad_length=16) * flat(random_state=0)
    assert pipeline.fit(ragged(X), y).predict(ragged(X)).shape == (24,)
