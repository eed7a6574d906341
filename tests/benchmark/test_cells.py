"""What is measured of one model on one data set."""

import functools
import json
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, recall_score, roc_auc_score

from tsmodels.benchmark.cells import Cell, recorded, run_cell, warm_up

measured = functools.partial(run_cell, train_metrics=False)  # of a scripted model, which knows the test cases only

CELL_PARTS = ("Made", "Model", 3, "0a1b2c3d")
CELL = Cell(*CELL_PARTS)


class Scripted:
    """Predicts what it is told to; `probabilities` have a column per class in the order of the string `classes`."""

    def __init__(self, predicted, classes=(), probabilities=None, tag=None):
        self.predicted, self.classes_ = np.array(predicted), np.array(list(classes))
        if probabilities is not None:
            self.predict_proba = lambda X: np.array(probabilities)
        if tag is not None:
            self.get_tag = lambda name, tag_value_default, raise_error: tag

    def get_params(self, deep=True):
        return {}

    def fit(self, X, y):
        return self

    def predict(self, X):
        return self.predicted


def _set(y_test, y_train=("a", "b", "c")):
    X = np.zeros((len(y_test), 1, 3))
    return SimpleNamespace(X_train=X, y_train=np.array(y_train), X_test=X, y_test=np.array(y_test), source="here")


def test_measures_are_those_worked_out_by_hand():
    data = _set(list("aaab"), list("ab"))
    probabilities = [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]]
    record = measured(CELL, Scripted(list("aabb"), "ab", probabilities), data)
    assert record["status"] == "finished"
    assert record["accuracy"] == 3 / 4
    assert record["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert record["log_loss"] == pytest.approx(-math.log(0.9 * 0.8 * 0.4 * 0.7) / 4)
    assert record["auroc"] == 1.0
    assert (record["n_test"], record["n_train"], record["n_classes"]) == (4, 2, 2)
    assert record["fit_seconds"] >= 0
    assert record["predict_seconds"] >= 0


def test_record_says_what_was_run_with_what_and_is_plain_json(made, levels):
    record = run_cell(CELL, levels(random_state=3), made("Made"))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert [record[name] for name in ("dataset", "model", "seed", "configuration")] == ["Made", "Model", 3, "0a1b2c3d"]
    assert record["parameters"] == {"max_epochs": 7}
    assert record["estimator"].endswith(".Levels")
    assert record["n_parameters"] == 2
    assert {"tsmodels", "torch", "sktime", "python"} <= record["versions"].keys()
    assert "training cases only" in record["protocol"]


def test_columns_of_probabilities_are_told_by_the_order_of_the_classes():
    y = list("abcabc")
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 6)
    ordered = measured(CELL, Scripted(y, "abc", probabilities), _set(y))
    turned = measured(CELL, Scripted(y, "cab", probabilities[:, [2, 0, 1]]), _set(y))
    assert ordered["auroc"] == turned["auroc"] == roc_auc_score(y, probabilities, multi_class="ovr", average="weighted")
    assert ordered["log_loss"] == turned["log_loss"]


def test_measures_that_are_undefined_are_left_blank():
    third = np.full((4, 3), 1 / 3)
    unseen = measured(CELL, Scripted(list("aabc"), "abc", third), _set(list("aabz")))
    assert (unseen["log_loss"], unseen["auroc"], unseen["accuracy"]) == (None, None, 0.75)
    absent = measured(CELL, Scripted(list("aabc"), "abc", third), _set(list("aabb")))
    assert absent["log_loss"] == pytest.approx(math.log(3))
    assert absent["auroc"] is None
    assert absent["balanced_accuracy"] == 0.75  # the class that is only predicted does not count


@pytest.mark.parametrize("options", [{}, {"probabilities": np.eye(3), "tag": False}])
def test_without_probabilities_there_is_neither_log_loss_nor_auroc(options):
    record = measured(CELL, Scripted(list("abc"), "abc", **options), _set(list("abc")))
    assert record["status"] == "finished"
    assert record["log_loss"] is None
    assert record["auroc"] is None


def test_sktime_models_that_give_probabilities_have_them_measured():
    record = measured(CELL, Scripted(list("abc"), "abc", np.eye(3), tag=True), _set(list("abc")))
    assert record["auroc"] == 1.0


def test_a_model_that_raises_leaves_its_error(made, levels):
    class Broken(levels):
        def fit(self, X, y):
            raise ValueError("out of luck")

    record = run_cell(CELL, Broken(), made("Made"))
    assert record["status"] == "failed"
    assert record["error"] == "ValueError: out of luck"
    assert "in fit" in record["traceback"]
    assert "accuracy" not in record
    assert record["n_test"] == 12


def test_probabilities_that_are_none_leave_the_measures_of_labels():
    y = list("abcabc")
    for probabilities in (np.full((6, 3), 0.3), np.full((6, 3), np.nan)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # scikit-learn's, of the log loss
            record = measured(CELL, Scripted(y, "abc", probabilities), _set(y))
        assert (record["status"], record["accuracy"], record["auroc"]) == ("finished", 1.0, None)


def test_what_json_cannot_hold_is_a_failure_of_the_cell():
    record = recorded(CELL, {}, lambda: {"mase": math.nan})
    assert (record["status"], "mase" in record) == ("failed", False)
    assert "not JSON compliant" in record["error"]


def test_a_keyboard_interrupt_is_no_failure(made, levels):
    class Interrupted(levels):
        def fit(self, X, y):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(CELL, Interrupted(), made("Made"))


def test_warm_up_takes_a_few_training_cases_of_each_class(made, levels):
    data = made("Made", n_per_class=9, classes="abc")
    data.X_test = data.y_test = None
    seen = []

    class Watched(levels):
        def fit(self, X, y):
            seen.append((X, y))
            return super().fit(X, y)

    assert warm_up(Watched(), lambda: data) > 0
    ((X, y),) = seen
    assert list(y) == list("aaaabbbbcccc")
    assert len(X) == 12
    data.X_train = list(data.X_train)
    warm_up(Watched(), lambda: data)
    assert isinstance(seen[1][0], list)


def test_warm_up_leaves_errors_to_the_cells(made):
    class Broken(Scripted):
        def fit(self, X, y):
            raise ValueError("out of luck")

    assert warm_up(Broken([]), lambda: made("Made")) >= 0


def test_file_names_are_safe_and_never_shared():
    base = ("ETT/h1", "My model: [1]", 3, "0a1b2c3d")
    name = Cell(*base).file_name
    assert name.startswith("ETT_h1__My_model_1___seed3__0a1b2c3d-")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    others = [
        ("ETT_h1", *base[1:]),
        (*base[:1], "My_model_1", *base[2:]),
        (*base[:2], None, base[3]),
        (*base[:3], "0a"),
    ]
    assert len({name, *(Cell(*other).file_name for other in others)}) == 5
    assert len(Cell("d" * 300, "m" * 300, 2**32 - 1, "0a1b2c3d").file_name) < 200


def test_measures_of_labels_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    y, predicted = rng.choice(list("abcd"), 50, p=[0.6, 0.2, 0.1, 0.1]), rng.choice(list("abcdz"), 50)
    record = measured(CELL, Scripted(predicted), _set(y, list("abcd")))
    over = {"labels": np.unique(y), "average": "macro"}
    assert record["accuracy"] == pytest.approx(accuracy_score(y, predicted))
    assert record["balanced_accuracy"] == pytest.approx(recall_score(y, predicted, **over))
    assert record["f1"] == pytest.approx(f1_score(y, predicted, **over))


def test_training_cases_are_measured_too(made, levels):
    data = made("Made")
    data.y_train = data.y_train[::-1]  # the test cases have the other label of the same level
    record = run_cell(CELL, levels(), data)
    assert (record["train_accuracy"], record["accuracy"]) == (1.0, 0.0)
    assert record["train_balanced_accuracy"] == record["train_f1"] == 1.0
    assert "train_accuracy" not in run_cell(CELL, levels(), data, train_metrics=False)


def test_what_was_predicted_is_kept_in_codes():
    kept = {}
    run_cell(
        CELL,
        Scripted(list("aab"), "ba", [[0.2, 0.8], [0.4, 0.6], [0.9, 0.1]]),
        _set(list("abz"), list("ab")),
        train_metrics=False,
        keep=kept.update,
    )
    assert kept["classes"].tolist() == ["a", "b", "z"]
    assert (kept["y_true"].tolist(), kept["y_pred"].tolist()) == ([0, 1, 2], [0, 0, 1])
    np.testing.assert_array_equal(kept["probabilities"], [[0.8, 0.2, 0], [0.6, 0.4, 0], [0.1, 0.9, 0]])
    run_cell(CELL, Scripted(list("ba")), _set(list("ab"), list("ab")), train_metrics=False, keep=kept.update)
    np.testing.assert_array_equal(kept["probabilities"], [[0, 1], [1, 0]])


def test_a_resample_is_a_cell_of_its_own_and_the_default_split_keeps_its_name():
    own, other = Cell(*CELL_PARTS), Cell(*CELL_PARTS, resample=3)
    assert own.file_name == "Made__Model__seed3__0a1b2c3d-20b9e7fa.json"  # of files written before there were resamples
    assert other.file_name.startswith("Made__Model__resample3__seed3__0a1b2c3d-")
    names = [
        str(own),
        str(other),
        str(Cell("Made", "Model", 1, "0", resample=3)),
        str(Cell("Made", "Model", None, "0", resample=3)),
    ]
    assert names == [
        "Model on Made, seed 3",
        "Model on Made, resample 3",
        "Model on Made, resample 3, seed 1",
        "Model on Made, resample 3",
    ]
