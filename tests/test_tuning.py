"""The search: only training data, every seed and resumption the same, failures that cost one trial, clear errors."""

import logging
import random
import sys
from types import SimpleNamespace

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from sktime.classification.base import BaseClassifier
from sktime.forecasting.base import BaseForecaster

import tsmodels_datamodules
from tsmodels import cli
from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark.models import resolve_models
from tsmodels.benchmark.requests import load_request
from tsmodels.tuning import Choice, Integer, Real, TuningError, TuningInterrupted, tune
from tsmodels.tuning._validation import ClassifierValidation, ForecasterValidation
from tsmodels.tuning.command import load_space

SEEN = []  # what estimators were given, in order
TROUBLE = {}  # number of a fit -> what it raises


@pytest.fixture(autouse=True)
def _fresh():
    SEEN.clear()
    TROUBLE.clear()


class Threshold(BaseClassifier):
    """Says "b" where a case's mean is above a threshold; cases are known by their number, in the last time point."""

    _tags = {"X_inner_mtype": "numpy3D", "capability:predict_proba": True, "capability:random_state": True}

    def __init__(self, threshold=0.0, kind="mean", random_state=None):
        self.threshold = threshold
        self.kind = kind
        self.random_state = random_state
        super().__init__()

    def _fit(self, X, y):
        SEEN.append(("fit", X[:, 0, -1].astype(int).tolist(), self.random_state))
        if error := TROUBLE.get(sum(each[0] == "fit" for each in SEEN)):
            raise error
        return self

    def _predict_proba(self, X):
        SEEN.append(("predict", X[:, 0, -1].astype(int).tolist(), self.random_state))
        above = (X[:, 0, :-1].mean(1) > self.threshold).astype(float)
        return np.stack([1 - above, above, *([0 * above] * (self.n_classes_ - 2))], 1)


class Constant(BaseForecaster):
    """Forecasts a number."""

    _tags = {"y_inner_mtype": "pd.DataFrame", "X_inner_mtype": "pd.DataFrame", "requires-fh-in-fit": False}
    _config = {"remember_data": False}

    def __init__(self, value=0.0):
        self.value = value
        super().__init__()

    def _fit(self, y, X, fh):
        SEEN.append(("fit", y, X))
        self.columns_ = y.columns
        return self

    def _predict(self, fh, X):
        SEEN.append(("predict", fh, X))
        index = fh.to_absolute_index(self.cutoff)
        return pd.DataFrame(float(self.value), index=index, columns=self.columns_)


def cases(n=24, first=0):
    """Cases of two classes with means -1 and 1; the numbers of the cases begin at `first`."""
    y = np.array(["a", "b"])[np.arange(n) % 2]
    X = np.where(y == "b", 1.0, -1.0)[:, None, None] * np.ones((n, 1, 5))
    X[:, 0, -1] = first + np.arange(n)
    return X, y


SPACE = {"threshold": Real(-3.0, 3.0)}
SMALL = {"space": SPACE, "n_trials": 3}


def test_the_best_of_a_space_is_found_and_fitted_on_all_training_cases():
    X, y = cases()
    given = Threshold(threshold=2.5)
    result = tune(given, X, y, space=SPACE, n_trials=6)
    assert result.best_score == 1.0 and abs(result.best_params["threshold"]) < 1
    assert result.best_estimator.threshold == result.best_params["threshold"]
    assert SEEN[-1][:2] == ("fit", list(range(24)))
    assert result.best_estimator.is_fitted and not given.is_fitted and given.threshold == 2.5
    assert result.trials["param_threshold"][0] == 2.5  # the estimator as it was comes first
    assert list(result.trials) == ["number", "state", "score", "seconds", "error", "param_threshold"]


def test_folds_are_stratified_parts_of_the_training_cases():
    X, y = cases()
    tune(Threshold(), X, y, space=SPACE, n_trials=1, validation=4)
    fits, predictions = SEEN[0:8:2], SEEN[1:8:2]
    for (_, trained, _), (_, held_out, _) in zip(fits, predictions, strict=True):
        assert sorted(trained + held_out) == list(range(24))
        assert sum(case % 2 for case in held_out) == 3  # half of six
    assert sorted(case for each in predictions for case in each[1]) == list(range(24))


def test_a_share_is_held_out_once():
    X, y = cases()
    tune(Threshold(), X, y, space=SPACE, n_trials=1, validation=0.25)
    assert [len(each[1]) for each in SEEN] == [18, 6, 24]


def test_seeds_reach_estimators_without_one_and_no_global_generator_is_touched():
    X, y = cases()
    random_before, numpy_before = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    level = logging.getLogger("optuna").level
    first = tune(Threshold(), X, y, **SMALL, seed=7)
    assert {each[2] for each in SEEN} == {7} and first.best_estimator.random_state == 7
    assert random.getstate() == random_before and (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    assert logging.getLogger("optuna").level == level
    again, other = tune(Threshold(), X, y, **SMALL, seed=7), tune(Threshold(), X, y, **SMALL, seed=8)
    assert again.trials["param_threshold"].equals(first.trials["param_threshold"])
    assert not other.trials["param_threshold"].equals(first.trials["param_threshold"])
    SEEN.clear()
    tune(Threshold(random_state=3), X, y, **SMALL)
    assert {each[2] for each in SEEN} == {3}


def test_a_stopped_search_goes_on_as_if_it_had_not_been(tmp_path):
    X, y = cases()
    whole = tune(Threshold(), X, y, space=SPACE, n_trials=4)
    SEEN.clear()
    TROUBLE[5] = KeyboardInterrupt()  # in the second trial
    where = {"storage": tmp_path / "study.db", "space": SPACE}
    with pytest.raises(TuningInterrupted) as stopped:
        tune(Threshold(), X, y, n_trials=4, **where)
    assert len(stopped.value.trials) == 1 and isinstance(stopped.value, KeyboardInterrupt)
    TROUBLE.clear()
    resumed = tune(Threshold(), X, y, n_trials=4, **where)
    assert resumed.trials["param_threshold"].tolist() == whole.trials["param_threshold"].tolist()
    SEEN.clear()
    assert tune(Threshold(), X, y, n_trials=4, **where).best_params == whole.best_params
    assert len(SEEN) == 1  # only fitted on all cases once more
    with pytest.raises(ValueError, match="holds a search with other data"):
        tune(Threshold(), X + 1, y, n_trials=4, **where)


def test_a_failing_trial_costs_that_trial():
    X, y = cases()
    TROUBLE[2] = ArithmeticError("no convergence")
    rows = []
    result = tune(Threshold(), X, y, **SMALL, progress=rows.append)
    assert result.trials["state"].tolist() == ["failed", "complete", "complete"]
    assert result.trials["error"][0] == "ArithmeticError: no convergence"
    assert [row["state"] for row in rows] == result.trials["state"].tolist()


def test_all_failing_is_an_error_with_the_reason():
    X, y = cases()
    TROUBLE.update({number: ArithmeticError("no convergence") for number in range(1, 4)})
    with pytest.raises(TuningError, match="3 failed; the last: ArithmeticError: no convergence"):
        tune(Threshold(), X, y, **SMALL)
    with pytest.raises(TuningError, match="allow more time"):
        tune(Threshold(), X, y, **SMALL, timeout=0)


def test_pruning_ends_trials_that_are_worse_than_the_median():
    X, y = cases()
    result = tune(Threshold(), X, y, space={"threshold": Choice(0.0, 0.1, 5.0)}, n_trials=14, prune=True)
    states = result.trials.groupby("param_threshold")["state"].agg(set)
    assert "pruned" in states[5.0] and states[0.0] == {"complete"}


def test_arguments_are_chosen_under_their_conditions_and_fixed_ones_are_not():
    X, y = cases()
    space = {"kind": Choice("mean", "max"), "threshold": Real(-1.0, 1.0, when={"kind": ("max",)})}
    trials = tune(Threshold(), X, y, space=space, n_trials=10).trials
    is_max = trials["param_kind"] == "max"
    assert 0 < is_max.sum() < 10
    assert (trials["param_threshold"].notna() == is_max).all()
    fixed = tune(Threshold(), X, y, space=space, fixed={"kind": "max"}, n_trials=2)
    assert set(fixed.best_params) == {"threshold"} and fixed.best_estimator.kind == "max"


def test_log_loss_of_a_class_that_was_not_there():
    X, y = cases(6)
    y = np.array(["a", "b", "a", "b", "a", "c"])
    scores = list(ClassifierValidation(X, y, 2, "log_loss", 0).scores(Threshold()))
    assert len(scores) == 2 and np.isfinite(scores).all() and max(scores) > 1


def test_cases_of_unequal_length_are_split_as_a_list():
    frames = [pd.DataFrame({"x": np.arange(4.0 + i)}) for i in range(8)]
    validation = ClassifierValidation(frames, np.array([0, 1] * 4), 2, "accuracy", 0)
    given = []
    spy = SimpleNamespace(fit=lambda X, y: given.append(X) or spy, predict=lambda X: np.zeros(len(X)))
    spy.clone = lambda: spy
    assert list(validation.scores(spy)) == [0.5, 0.5]
    assert [len(X) for X in given] == [4, 4]


def series(n=30, start="2000-01-01"):
    return pd.Series(np.arange(float(n)), index=pd.period_range(start, periods=n, freq="D"), name="y")


def test_forecasters_are_measured_on_the_last_windows():
    y, X = series(), pd.DataFrame({"x": range(30)}, index=series().index)
    measure = ForecasterValidation(y, X, 4, 2, "mae", 1)
    # by hand: windows 22..25 and 26..29
    assert list(measure.scores(Constant(20.0))) == [3.5, 7.5]
    fits = [each for each in SEEN if each[0] == "fit"]
    assert [len(past) for _, past, _ in fits] == [22, 26]
    assert [list(given.x) for what, _, given in SEEN if what == "predict"] == [[22, 23, 24, 25], [26, 27, 28, 29]]
    scaled = ForecasterValidation(y, None, [4], 1, "mase", 3)
    assert list(scaled.scores(Constant(20.0))) == [9.0 / 3.0]  # a step of three days changes it by 3


def test_series_of_a_panel_are_cut_at_their_own_ends():
    panel = pd.concat({"long": series(30), "short": series(20)}, names=["case", "time"]).to_frame()
    measure = ForecasterValidation(panel, None, 2, 1, "mae", 1)
    [score] = measure.scores(Constant(0.0))
    assert score == np.mean([28, 29, 18, 19])


def test_a_forecaster_is_tuned():
    result = tune(Constant(), y=series(), fh=3, space={"value": Integer(0, 30)}, n_trials=5, scoring="mae")
    best = result.trials.loc[result.trials["score"].idxmin()]
    assert result.best_params == {"value": best["param_value"]}
    assert len(SEEN[-1][1]) == 30


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"estimator": "Nothing"}, "there is no estimator 'Nothing'"),
        ({"estimator": Threshold}, "unfitted sktime estimator"),
        ({"y": None}, "cases X and labels y"),
        ({"y": np.zeros(24)}, "single class"),
        ({"y": np.arange(3)}, "24 cases, but y has 3"),
        ({"space": None}, "declares no search space"),
        ({"space": {}}, "space is empty"),
        ({"space": {"width": Choice(1, 2)}}, "names 'width'"),
        ({"space": {"threshold": [1, 2]}}, "must be a Choice"),
        ({"fixed": {"width": 1}}, "fixed names 'width'"),
        ({"n_trials": 0}, "n_trials must be a positive"),
        ({"seasonality": 0}, "seasonality must be a positive"),
        ({"prune": True, "n_jobs": 2}, "needs n_jobs=1"),
        ({"validation": 1}, "number of folds"),
        ({"validation": 30}, "Take fewer folds"),
        ({"scoring": "mae"}, "'accuracy' or 'log_loss'"),
        ({"storage": "nowhere/study.db"}, "there is no folder"),
        ({"estimator": Constant(), "space": {"value": Choice(1, 2)}}, "steps fh"),
        ({"estimator": Constant(), "space": {"value": Choice(1, 2)}, "fh": 0, "y": series()}, "at least 1"),
        ({"estimator": Constant(), "space": {"value": Choice(1, 2)}, "fh": 15, "X": None, "y": series()}, "need 47"),
    ],
)
def test_wrong_arguments_are_refused(changed, message):
    X, y = cases()
    arguments = {"estimator": Threshold(), "X": X, "y": y, **SMALL, **changed}
    with pytest.raises((TypeError, ValueError), match=message):
        tune(**arguments)


def test_without_optuna_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ModuleNotFoundError, match=r"tsmodels\[tune\]"):
        tune(Threshold(), *cases(), **SMALL)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """The command on cases 0 to 23, with a test split of the cases from 1000 on."""
    train, test = cases(), cases(first=1000)
    loaded = SimpleNamespace(X_train=train[0], y_train=train[1], X_test=test[0], y_test=test[1])
    monkeypatch.setattr(tsmodels_datamodules, "load_archive", lambda name: loaded)
    (tmp_path / "space.yaml").write_text("threshold: {low: -3, high: 3.0}\n")
    model = f"{Threshold.__module__}.Threshold"
    command = ["tune", "--dataset", "Made", "--model", model, "--trials", "3", "--output", str(tmp_path / "out")]
    return [*command, "--space", str(tmp_path / "space.yaml")]


def test_the_command_never_shows_the_test_split_to_an_estimator(asked, tmp_path, capsys):
    assert cli.main(asked) == 0
    assert max(case for each in SEEN for case in each[1]) < 1000
    assert len(pd.read_csv(tmp_path / "out" / "trials.csv")) == 3
    request = load_request(str(tmp_path / "out" / "best.yaml"), {"task", "datasets", "models"})
    assert request.options == {"task": "classification", "datasets": ["Made"]}
    [(label, model)] = resolve_models(request.models).items()
    assert label == "Threshold-tuned" and isinstance(model, Threshold)
    assert "trial 2" in capsys.readouterr().out


def test_the_best_forecaster_is_tested_on_the_windows_that_were_left_out(tmp_path):
    command = ["tune", "--dataset", "airline", "--model", "NaiveForecaster", "--trials", "2", "--validation", "1"]
    (tmp_path / "space.yaml").write_text("strategy: [last, mean]\n")
    out = tmp_path / "out"
    assert cli.main([*command, "--cutoffs", "2", "--space", str(tmp_path / "space.yaml"), "--output", str(out)]) == 0
    request = load_request(str(out / "best.yaml"), {"task", "datasets", "models", "cutoffs"})
    assert request.options["cutoffs"] == 2


@pytest.mark.slow
def test_the_command_when_interrupted_or_without_success(asked, tmp_path, capsys):
    TROUBLE[4] = KeyboardInterrupt()
    assert cli.main(asked) == 130
    assert len(pd.read_csv(tmp_path / "out" / "trials.csv")) == 1
    TROUBLE.update({number: ArithmeticError("no convergence") for number in range(1, 50)})
    other = [*asked, "--output", str(tmp_path / "other")]
    assert cli.main(other) == 1
    assert "no convergence" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "width=3"], "no such argument"),
        (["--set", "width"], "NAME=VALUE"),
        (["--model", "sktime.nothing.Here"], "cannot import"),
        (["--space", "missing.yaml"], "cannot read"),
        (["--validation", "1"], "number of folds"),
    ],
)
def test_the_command_refuses(asked, more, message, capsys):
    assert cli.main([*asked, *more]) == 2
    assert message in capsys.readouterr().err


def test_a_space_is_read_from_yaml(tmp_path):
    path = tmp_path / "space.yaml"
    space = {
        "a": [1, None, "x"],
        "b": {"low": 1, "high": 4},
        "c": {"low": "1e-4", "high": 0.1, "log": True, "when": {"a": [1]}},
    }
    path.write_text(yaml.safe_dump(space))
    assert load_space(str(path)) == {
        "a": Choice(1, None, "x"),
        "b": Integer(1, 4),
        "c": Real(1e-4, 0.1, log=True, when={"a": (1,)}),
    }
    for wrong in ("a: 3", "a: {low: 1}", "a: [1]", "a: {low: 2, high: 1}", "[a]", "a: ["):
        path.write_text(wrong)
        with pytest.raises(RequestError, match=r"space\.yaml"):
            load_space(str(path))


@pytest.mark.slow
def test_trials_at_the_same_time_are_repeatable():
    # processes import this module by its path, which they do not know: an estimator of sktime takes its place
    from sktime.classification.dummy import DummyClassifier

    space = {"strategy": Choice("prior", "most_frequent", "uniform")}
    first, again = (tune(DummyClassifier(), *cases(), space=space, n_trials=4, n_jobs=2) for _ in range(2))
    assert len(first.trials) == 4 and (first.trials["state"] == "complete").all()
    assert first.trials.drop(columns="seconds").equals(again.trials.drop(columns="seconds"))


@pytest.mark.slow
def test_networks_of_this_package_are_tuned_over_their_own_space():
    y = pd.Series(np.sin(np.arange(60.0)), name="y")
    fixed = {"max_epochs": 1, "lookback": 8}
    result = tune("DLinearForecaster", y=y, fh=2, fixed=fixed, n_trials=2, validation=1)
    assert set(result.best_params) == {"kernel_size", "individual", "normalise", "lr"}
    assert len(result.best_estimator.predict()) == 2
    assert isinstance(result.study, optuna.Study)
