"""The classes that the factory makes: constructor, docstring, tags, and what it refuses."""

import doctest
import importlib
import inspect
import pickle
import re

import numpy as np
import pytest
from sklearn.base import clone
from torch import nn

from tsmodels.estimators import (
    NetClassifier,
    NetDetector,
    NetForecaster,
    all_estimators,
    classifier,
    detector,
    forecaster,
)
from tsmodels.estimators._base import CLASSIFICATION
from tsmodels.estimators._detector import DETECTION
from tsmodels.estimators._forecaster import FORECASTING
from tsmodels.estimators._training import TRAINING

OWN = {"classifier": list(CLASSIFICATION), "detector": list(DETECTION), "forecaster": list(FORECASTING)}
MADE = [each for each in all_estimators() if issubclass(each, NetClassifier | NetDetector | NetForecaster)]
EVERY = pytest.mark.parametrize("estimator", MADE, ids=lambda each: each.__name__)


def made(**choices):
    """Return a network class whose keyword-only arguments are `choices`."""
    parameter = inspect.Parameter
    facts = [parameter(name, parameter.POSITIONAL_OR_KEYWORD) for name in ("n_channels", "n_timepoints", "n_classes")]
    keywords = [parameter(name, parameter.KEYWORD_ONLY, default=default) for name, default in choices.items()]
    network = type("MadeForClassification", (nn.Module,), {"forward": lambda self, x: x})
    network.__signature__ = inspect.Signature(facts + keywords)
    return network


@EVERY
def test_the_name_on_the_left_is_the_name_of_the_class(estimator):
    module = importlib.import_module(estimator.__module__)
    assert getattr(module, estimator.__name__) is estimator
    assert estimator.__name__ in module.__all__
    assert pickle.loads(pickle.dumps(estimator)) is estimator


@EVERY
def test_the_constructor_is_choices_then_own_then_training(estimator):
    names = list(inspect.signature(estimator).parameters)
    choices = inspect.signature(estimator._network_class).parameters.values()
    own = OWN[estimator.get_class_tag("object_type")]
    assert names == [each.name for each in choices if each.kind is each.KEYWORD_ONLY] + own + list(TRAINING)
    assert set(names) == set(estimator().get_params())


@EVERY
def test_the_docstring_describes_every_argument_with_its_default(estimator):
    parameters = inspect.getdoc(estimator).split("Parameters\n----------\n")[1].split("\n\nAttributes\n")[0]
    entries = dict(re.findall(r"^(\w+) : .*, default=(.*)\n    \S", parameters, flags=re.MULTILINE))
    expected = {name: repr(each.default) for name, each in inspect.signature(estimator).parameters.items()}
    assert entries == expected
    assert "Passed on to the network" not in parameters
    assert max(map(len, estimator.__doc__.splitlines())) <= 120


@EVERY
def test_the_example_in_the_docstring_runs(estimator):
    (test,) = doctest.DocTestFinder(recurse=False).find(estimator, estimator.__name__)
    assert len(test.examples) >= 5
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize("function", [classifier, detector, forecaster, all_estimators], ids=lambda each: each.__name__)
def test_the_examples_of_the_functions_run(function):
    (test,) = doctest.DocTestFinder(recurse=False).find(function, function.__name__)
    assert doctest.DocTestRunner().run(test).failed == 0


@EVERY
def test_two_small_settings_for_the_suite(estimator):
    first, second, *_ = estimator.get_test_params()
    assert first != second
    estimator.get_test_params()[0]["max_epochs"] = 1000
    assert estimator.get_test_params()[0] == first


def test_all_estimators_by_kind():
    assert "ChimeraClassifier" in [each.__name__ for each in all_estimators()]
    assert all(issubclass(each, NetClassifier) for each in all_estimators("classifier"))
    assert NetClassifier not in all_estimators()
    with pytest.raises(ValueError, match=r"kind must be None or one of \['classifier'.*got 'clasifier'"):
        all_estimators("clasifier")


def test_arguments_come_back_from_get_params_repr_and_clone(pooled):
    estimator = pooled(width=4, trainer_kwargs={"max_steps": 3}, random_state=1)
    assert repr(estimator) == "PooledClassifier(random_state=1, trainer_kwargs={'max_steps': 3}, width=4)"
    for copied in (clone(estimator), estimator.clone(), pickle.loads(pickle.dumps(estimator))):
        assert copied.get_params() == estimator.get_params()
    with pytest.raises(TypeError, match="unexpected keyword argument 'depth'"):
        pooled(depth=3)


def test_defaults_can_be_overridden_for_a_network(pooled):
    assert pooled().lr == 0.03
    assert "lr : float, default=0.03" in pooled.__doc__


def test_shared_entries_and_missing_ones_are_documented():
    class DocumentedForClassification(made(width=3, depth=4, gain=1.0)):
        """Summary.

        Shapes: for those who call the network.

        Parameters
        ----------
        width, depth : int, optional
            Sizes.

            More about sizes.

        Notes
        -----
        Worth knowing.
        """

    doc = classifier(DocumentedForClassification).__doc__
    for name in ("width : int, default=3", "depth : int, default=4"):
        assert f"{name}\n    Sizes.\n\n    More about sizes.\n" in doc
    assert "gain : default=1.0\n    Passed on to the network." in doc
    assert "Notes\n-----\nWorth knowing." in doc
    assert "Shapes" not in doc
    assert classifier(made()).__doc__.startswith("An sktime classifier over")


def test_tags_follow_what_forward_takes(pooled, padded, flat):
    names = ["capability:unequal_length", "capability:missing_values"]
    tags = {each: [each.get_class_tag(name) for name in names] for each in (pooled, padded, flat)}
    assert tags == {pooled: [True, True], padded: [True, False], flat: [False, False]}
    assert flat.get_class_tag("X_inner_mtype") == "numpy3D"
    assert pooled.get_class_tag("X_inner_mtype") == ["df-list", "numpy3D"]


def test_scikit_learn_sees_a_classifier_of_3d_arrays(pooled, flat):
    from sklearn.base import is_classifier
    from sklearn.utils import get_tags

    assert is_classifier(pooled())
    assert get_tags(pooled()).input_tags.three_d_array
    assert get_tags(pooled()).input_tags.allow_nan
    assert not get_tags(flat()).input_tags.allow_nan


@pytest.mark.parametrize("name", ["lr", "max_epochs", "scaling", "fit", "reset", "is_fitted"])
def test_a_choice_with_a_name_of_the_estimator_is_a_type_error(name):
    with pytest.raises(TypeError, match=f"argument '{name}' of MadeForClassification belongs to the estimator"):
        classifier(made(**{name: 1}))


def test_a_choice_needs_a_default():
    with pytest.raises(TypeError, match="'width' of MadeForClassification has no default"):
        classifier(made(width=inspect.Parameter.empty))


def test_facts_are_fixed():
    class OtherForClassification(nn.Module):
        def __init__(self, n_channels, n_classes):
            super().__init__()

    with pytest.raises(TypeError, match=r"must take .*'n_timepoints'.* by position"):
        classifier(OtherForClassification)


def test_defaults_are_for_the_estimator_only():
    with pytest.raises(TypeError, match=r"defaults for \['width'\]"):
        classifier(made(width=3), defaults={"width": 4})


def test_a_network_of_ones_own_works(flat, problem):
    X, y = problem
    probabilities = flat(random_state=0, bias=False).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(1), 1.0)
