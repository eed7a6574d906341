"""The declared search spaces: real arguments, the defaults among them, and nothing in them that cannot be built."""

import inspect
import subprocess
import sys

import optuna
import pytest

from tsmodels import estimators, models
from tsmodels.models._search import Choice, Integer, Real
from tsmodels.tasks import FramesTask
from tsmodels.tuning import space_of, suggest

# the kind of network: facts of tiny data, and what trains it
FACTS = {
    "ForClassification": ((2, 20, 3), "Classifier"),
    "ForForecasting": ((2, 20, 4), "Forecaster"),
    "ForReconstruction": ((2, 20), "Detector"),
    "ForFrames": ((1, 8, 8), None),
    "PLRNN": ((3,), "Forecaster"),
}
N_SAMPLES = 3


def facts_of(name):
    return next(row for suffix, row in FACTS.items() if name.endswith(suffix))


def trainer_of(name):
    """Return what has the training arguments of a network, None if nothing of this package trains it by itself."""
    ending = facts_of(name)[1]
    if ending is None:
        return FramesTask
    ours = (getattr(estimators, each) for each in estimators.__all__ if each.endswith(ending))
    return next((each for each in ours if inspect.isclass(each) and network_of(each).__name__ == name), None)


def network_of(estimator):
    return models.PLRNN if estimator is estimators.PLRNNForecaster else getattr(estimator, "_network_class", object)


def built(name, settings):
    cls = getattr(models, name)
    choices = inspect.signature(cls).parameters
    return cls(*facts_of(name)[0], **{key: value for key, value in settings.items() if key in choices})


@pytest.mark.parametrize("name", models.__all__)
def test_every_network_declares_a_space_of_arguments_that_exist(name):
    cls = getattr(models, name)
    space = vars(cls)["search_space"]
    known = set(inspect.signature(cls).parameters)
    trainer = trainer_of(name)
    # without an estimator only the learning rate is searched, which every task has
    known |= {"lr"} if trainer is None else set(inspect.signature(trainer).parameters)
    assert set(space) <= known
    assert "lr" in space
    assert all(isinstance(each, Choice | Integer | Real) for each in space.values())


@pytest.mark.parametrize("name", models.__all__)
def test_conditions_name_earlier_arguments_and_their_values(name):
    space = getattr(models, name).search_space
    names = list(space)
    for at, each in enumerate(space.values()):
        for other, values in each.when.items():
            assert other in names[:at]
            assert all(space[other].contains(value) for value in values)


@pytest.mark.parametrize("name", models.__all__)
def test_the_defaults_lie_in_the_space(name):
    trainer = trainer_of(name)
    sources = [getattr(models, name), *([] if trainer is None else [trainer])]
    # those of the estimator, which come last, count
    defaults = {key: each.default for cls in sources for key, each in inspect.signature(cls).parameters.items()}
    space = getattr(models, name).search_space
    active = {key: each for key, each in space.items() if key in defaults and each.is_active(defaults)}
    outside = {key: defaults[key] for key, each in active.items() if not each.contains(defaults[key])}
    assert not outside


@pytest.mark.parametrize("name", models.__all__)
def test_every_sampled_configuration_builds(name):
    space = getattr(models, name).search_space
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(N_SAMPLES):
        assert built(name, suggest(study.ask(), space)) is not None


@pytest.mark.parametrize("name", models.__all__)
def test_every_value_of_a_choice_builds(name):
    space = getattr(models, name).search_space
    extremes = {key: each.values if isinstance(each, Choice) else (each.low, each.high) for key, each in space.items()}
    for row in range(max(map(len, extremes.values()))):
        given = {key: values[row % len(values)] for key, values in extremes.items()}
        built(name, {key: value for key, value in given.items() if space[key].is_active(given)})


@pytest.mark.parametrize("kind", ["classifier", "forecaster"])
def test_estimators_find_the_space_of_their_network(kind):
    for each in estimators.all_estimators(kind):
        if each.__name__ == "ContextParrotForecaster":  # no network
            with pytest.raises(ValueError, match="declares no search space"):
                space_of(each)
        else:
            assert set(space_of(each)) <= set(each.get_param_names())
            assert "lr" in space_of(each)


def test_a_condition_on_an_argument_that_is_not_there_is_no_obstacle():
    assert {"latent_dim", "n_relu"} <= set(space_of(estimators.ALRNNForecaster))
    n_relu = space_of(estimators.ALRNNForecaster)["n_relu"]
    assert n_relu.is_active({"latent_dim": 20})
    assert not n_relu.is_active({"cell": "shplrnn"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice(1), "two values or more"),
        (lambda: Choice(1, True), "all different"),
        (lambda: Choice(1, (2, 3)), "a choice is None"),
        (lambda: Integer(1.0, 2), "must be integers"),
        (lambda: Integer(3, 3), "low must be less"),
        (lambda: Integer(0, 3, log=True), "low > 0"),
        (lambda: Real(0.0, float("inf")), "finite"),
        (lambda: Real(2.0, 1.0), "low must be less"),
        (lambda: Real(0.0, 1.0, log=True), "low > 0"),
        (lambda: Real(0.0, 1.0, when={"cell": "plrnn"}), "tuple of values"),
    ],
)
def test_impossible_declarations_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_contains():
    assert Choice(None, 1, "a").contains(None)
    assert not Choice(0, 1).contains(True)
    assert Integer(1, 3).contains(3) and not Integer(1, 3).contains(2.5) and not Integer(1, 3).contains(4)
    assert Real(0.1, 0.5).contains(0.1) and not Real(0.1, 0.5).contains(None)


def test_the_declarations_do_without_optuna():
    code = "import sys, tsmodels.models._search; sys.exit('optuna' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
