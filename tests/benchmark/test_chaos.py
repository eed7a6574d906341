"""Forecasts of chaotic systems: stretches, measures, tables."""

import json

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.base import BaseForecaster

from tsmodels.benchmark import RequestError, chaos, run_chaos
from tsmodels.benchmark._dynamics_tables import chaos_markdown
from tsmodels_datamodules import CHAOS_TABLE, SYSTEMS

A, B = CHAOS_TABLE[:2]


class Oracle(BaseForecaster):
    """Knows the stretches and adds an error from a step on."""

    _config = {"remember_data": False}
    _tags = {"y_inner_mtype": "pd.Series", "capability:exogenous": False, "requires-fh-in-fit": False}
    fitted: list[np.ndarray] = []

    def __init__(self, wrong_from=1000, random_state=None):
        self.wrong_from, self.random_state = wrong_from, random_state
        super().__init__()

    def _fit(self, y, X, fh):
        self.fitted.append(y.to_numpy())
        return self

    def _predict(self, fh, X):
        index = fh.to_absolute_index(self.cutoff)
        truth = next(each for each in made.values() if np.array_equal(each[:1000], self.fitted[-1]))
        steps = np.arange(1, 201)
        return pd.Series(np.where(steps < self.wrong_from, truth[1000:], -truth[1000:]), index=index)


made: dict[tuple[str, int], np.ndarray] = {}


@pytest.fixture(autouse=True)
def _stretches(monkeypatch):
    made.clear()

    def stretch(name, seed):
        made[name, seed] = np.sin(np.arange(1200) / 7 + seed + len(name)) + 2
        return made[name, seed]

    monkeypatch.setattr(chaos, "_stretch", stretch)
    Oracle.fitted.clear()


@pytest.fixture
def run(tmp_path):
    def run(models, datasets=(A,), seeds=(0,), **options):
        return run_chaos(datasets, models, seeds, tmp_path / "out", **options)

    return run


def test_a_perfect_forecast_has_no_error_and_is_valid_to_the_end(run):
    row = run({"Oracle": Oracle()}).iloc[0]
    assert row["status"] == "finished", row["error"]
    assert row["smape"] == 0.0
    system = SYSTEMS[A]
    assert row["valid_time"] == pytest.approx(200 * system.period / 100 * system.lyapunov_max, rel=0.02)
    assert (row["n_train"], row["n_test"]) == (1000, 200)
    assert len(Oracle.fitted[-1]) == 1000


def test_the_valid_time_ends_where_the_errors_begin(run):
    row = run({"Oracle": Oracle(wrong_from=101)}).iloc[0]
    # each wrong step has sMAPE 200: the mean of the steps so far passes 30 at step n with 200 (n - 100) > 30 n
    steps = next(n for n in range(101, 201) if 200 * (n - 100) > 30 * n)
    system = SYSTEMS[A]
    assert row["smape"] == pytest.approx(100.0)
    assert row["valid_time"] == pytest.approx(steps * system.period / 100 * system.lyapunov_max, rel=0.02)


def test_every_model_gets_the_same_stretch_and_every_seed_another(run):
    results = run({"One": Oracle(), "Two": Oracle(wrong_from=1)}, seeds=[0, 1])
    assert results["seed"].tolist() == [0, 1, 0, 1]
    assert set(made) == {(A, 0), (A, 1)}
    assert results["smape"].tolist() == [0.0, 0.0, 200.0, 200.0]


def test_the_first_table_ranks_models_over_systems(run, tmp_path):
    results = run({"Bad": Oracle(wrong_from=1), "Good": Oracle()}, datasets=[A, B])
    rows = [line.split("|")[1].strip() for line in chaos_markdown(results).splitlines()[2:4]]
    assert rows == ["Good", "Bad"]
    assert "**0.0" in chaos_markdown(results)
    assert (tmp_path / "out" / "smape.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out" / "results.md").read_text() == chaos_markdown(results.sort_values(["dataset", "model"]))
    cells = [json.loads(path.read_text()) for path in (tmp_path / "out" / "cells").iterdir()]
    assert all(len(cell["forecast"]) == 200 for cell in cells)


@pytest.mark.slow
def test_named_models_run(run):
    results = run(["NaiveLast", "ContextParrot", "PLRNN"], epochs=1)
    assert results["status"].tolist() == ["finished"] * 3, results["error"].tolist()
    errors = results.set_index("model")["smape"]
    assert errors["ContextParrot"] < errors["NaiveLast"]  # a sine repeats itself


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"datasets": ["Lorenz63"]}, "no system 'Lorenz63' in the table"),
        ({"models": ["Parrot"]}, "no forecaster 'Parrot'. Available: NaiveLast"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"models": ["NaiveLast"], "epochs": 3}, "epochs has no effect on NaiveLast"),
    ],
    ids=["system", "model", "epochs", "no epochs"],
)
def test_a_wrong_request_is_refused(run, options, message):
    with pytest.raises(RequestError, match=message):
        run(**{"models": ["NaiveLast"], **options})


def test_stretches_of_seeds_are_different_parts_of_one_attractor(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(chaos, "_FIRST_PERIOD", 5)
    monkeypatch.setattr(chaos, "_PERIODS_APART", 13)
    name = "lorenz63"
    zero, one = chaos._stretch(name, 0), chaos._stretch(name, 1)
    assert zero.shape == one.shape == (1200,)
    assert np.isfinite(zero).all()
    assert abs(zero.mean() - one.mean()) < 1.5 * zero.std()
    assert np.corrcoef(zero, one)[0, 1] < 0.9
    np.testing.assert_array_equal(zero, chaos._stretch(name, 0))
