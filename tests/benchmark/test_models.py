"""Names of models, seeds and epochs wherever they sit in an estimator, and what makes two configurations equal."""

import json

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import tsmodels
from tsmodels.benchmark import DEFAULT_MODELS, RequestError, available_models
from tsmodels.benchmark.models import (
    class_path,
    configuration_id,
    configured,
    described,
    has_parameter,
    resolve_models,
)
from tsmodels.estimators import all_estimators


class Anything(BaseEstimator):
    def __init__(self, value=None, random_state=None):
        self.value = value
        self.random_state = random_state


def test_all_our_classifiers_and_the_baselines_are_available():
    ours = [each.__name__ for each in all_estimators("classifier")]
    assert list(available_models()) == [*ours, "MiniRocket", "1NN-DTW"]
    assert list(resolve_models(None)) == list(DEFAULT_MODELS)


def test_every_available_model_can_be_made_described_and_told_apart():
    made = {name: make() for name, make in available_models().items()}
    assert len({configuration_id(estimator) for estimator in made.values()}) == len(made)
    for estimator in made.values():
        json.dumps(described(estimator), allow_nan=False)
    assert has_parameter(made["MiniRocket"], "random_state")
    assert not has_parameter(made["1NN-DTW"], "random_state")


def test_an_unknown_model_is_answered_with_the_available_ones():
    with pytest.raises(RequestError, match=r"no model 'minirocket'\. Available: .*MiniRocket, 1NN-DTW\."):
        resolve_models(["1NN-DTW", "minirocket"])
    for nothing in ([], {}):
        with pytest.raises(RequestError, match="at least one model"):
            resolve_models(nothing)


def test_names_are_taken_once_in_their_order():
    assert list(resolve_models(["MiniRocket", "1NN-DTW", "MiniRocket"])) == ["MiniRocket", "1NN-DTW"]


def test_seed_reaches_estimators_inside_and_not_the_original():
    outer = make_pipeline(StandardScaler(), Anything(Anything()))
    seeded = configured(outer, random_state=5)
    parameters = seeded.get_params()
    assert parameters["anything__random_state"] == parameters["anything__value__random_state"] == 5
    assert outer.get_params()["anything__random_state"] is None
    assert configured(Anything(1), max_epochs=3).get_params() == {"value": 1, "random_state": None}
    assert not has_parameter(StandardScaler(), "random_state")


def test_descriptions_are_plain_and_without_the_seed():
    value = {"a": np.float64(1.5), 2: (np.arange(2), None), "f": np.mean, "inf": float("inf"), "o": object()}
    description = described(Anything(value, random_state=1))
    assert description == {
        "value": {"a": 1.5, "2": [[0, 1], None], "f": "numpy.mean", "inf": "inf", "o": "<object object>"}
    }
    nested = described(Anything(Anything(2)))
    assert nested == {"value": class_path(Anything), "value__value": 2}


def test_configurations_differ_by_class_parameter_and_version_but_not_by_seed(monkeypatch):
    class Other(Anything):
        pass

    identity = configuration_id(Anything(1))
    assert identity == configuration_id(Anything(1, random_state=9))
    assert len({identity, configuration_id(Anything(2)), configuration_id(Other(1))}) == 3
    monkeypatch.setattr(tsmodels, "__version__", "99")
    assert configuration_id(Anything(1)) != identity


def test_models_are_imported_by_path_with_parameters():
    path = "sklearn.neighbors.KNeighborsClassifier"
    chosen = resolve_models(
        [
            path,
            {"class": path, "label": "Three", "parameters": {"n_neighbors": 3}},
            {"class": "sklearn.ensemble.BaggingClassifier", "parameters": {"estimator": {"class": path}}},
        ]
    )
    assert list(chosen) == ["KNeighborsClassifier", "Three", "BaggingClassifier"]
    assert chosen["Three"].n_neighbors == 3
    assert type(chosen["BaggingClassifier"].estimator) is type(chosen["Three"])


@pytest.mark.slow  # sktime's registry imports all of it
def test_models_are_found_in_the_registry_of_sktime(registry):
    found = resolve_models(
        ["DummyClassifier", {"class": "DummyClassifier", "label": "Zero", "parameters": {"random_state": 0}}]
    )
    assert class_path(found["DummyClassifier"]) == "sktime.classification.dummy._dummy.DummyClassifier"
    assert found["Zero"].random_state == 0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no.such.Model", "cannot import the model 'no.such.Model': No module named 'no'"),
        ("sklearn.neighbors.Nothing", "no class 'Nothing' in the module 'sklearn.neighbors'"),
        ("sklearn.metrics.accuracy_score", "'accuracy_score' cannot be made: missing a required"),
        ("collections.OrderedDict", r"models\['OrderedDict'\] must be an unfitted classifier"),
        ({"class": "MiniRocket", "parameters": {"n": 1}}, "'MiniRocket' cannot be made: .* unexpected keyword"),
        ({"class": "MiniRocket", "parameters": [1]}, "must be a mapping of names to values"),
        ({"class": "MiniRocket", "params": {}}, "takes 'class', 'label' and 'parameters', got 'params' too"),
        ({"label": "A"}, "a model must be a name, or a mapping"),
        (3, "a model must be a name, or a mapping"),
    ],
)
def test_a_model_that_cannot_be_made_is_explained(model, message):
    with pytest.raises(RequestError, match=message):
        resolve_models([model])


def test_two_models_of_one_name_are_refused():
    with pytest.raises(RequestError, match="two models are called 'A'"):
        resolve_models([{"class": "MiniRocket", "label": "A"}, {"class": "1NN-DTW", "label": "A"}])
