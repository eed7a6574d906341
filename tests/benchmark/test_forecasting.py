"""Backtests: what is measured, what is found done, and what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from sktime.forecasting.base import BaseForecaster

from tsmodels.benchmark import (
    DEFAULT_SERIES,
    BacktestSeries,
    RequestError,
    forecasting,
    load_horizon_errors,
    load_results,
    run_backtest,
    run_benchmark,
)

Y = pd.Series([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0, 5.0, 8.0, 9.0, 7.0])


class Last(BaseForecaster):
    """Repeat the last value, a little off by the seed; say which fits were asked for."""

    _tags = {
        "y_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "capability:pred_int": True,
        "requires-fh-in-fit": False,
    }
    _config = {"remember_data": False}
    fits: list[tuple[int, object]] = []
    mood = None

    def __init__(self, random_state=None, max_epochs=3):
        self.random_state = random_state
        self.max_epochs = max_epochs
        super().__init__()

    def _fit(self, y, X, fh):
        if self.mood is not None and self.random_state == 1 and self.max_epochs == 3:
            raise self.mood
        self.fits.append((len(y), self.random_state))
        self.last_, self.columns_ = y.to_numpy()[-1] + 0.25 * (self.random_state or 0), y.columns
        self.n_parameters_ = 1
        return self

    def _predict(self, fh, X):
        return pd.DataFrame(np.tile(self.last_, (len(fh), 1)), fh.to_absolute_index(self.cutoff), columns=self.columns_)

    def _predict_interval(self, fh, X, coverage):
        columns = pd.MultiIndex.from_product([self._get_varnames(), coverage, ["lower", "upper"]])
        limits = np.tile(self.last_[:, None] + [-2.0, 2.0], (1, len(coverage))).reshape(1, -1)
        return pd.DataFrame(np.tile(limits, (len(fh), 1)), fh.to_absolute_index(self.cutoff), columns=columns)


class Fixed(Last):
    """The same without seed, epochs and intervals."""

    _tags = {"capability:pred_int": False}
    random_state, max_epochs = None, None

    def __init__(self):
        BaseForecaster.__init__(self)


@pytest.fixture(autouse=True)
def _no_pictures(request, monkeypatch):
    Last.fits.clear()
    Last.mood = None
    if "picture" not in request.fixturenames:
        monkeypatch.setattr(forecasting, "drawn", lambda ax: b"a picture")
    yield
    Last.mood = None


@pytest.fixture
def picture():
    """Ask for the real picture."""


def _load(name):
    if name == "missing":
        raise ValueError("there is no such series")
    y = Y if name == "one" else pd.DataFrame({"a": Y, "b": 10 * Y[::-1].to_numpy()})
    return BacktestSeries(y, horizon=2, seasonality=3, lookback=4)


@pytest.fixture
def run(tmp_path):
    def run(datasets=("one",), models=None, seeds=(0, 1), output=tmp_path / "out", **options):
        models = {"Last": Last()} if models is None else models
        return run_backtest(datasets, models, seeds, output, load=_load, **options)

    return run


def _by_hand(values, seasonality=3, horizon=2, n_cutoffs=3):
    """Recompute the measures of repeating the last value, number by number."""
    scaled, relative, squared, inside = [], [], [], []
    for channel in values.T:
        for k in range(n_cutoffs):
            cutoff = len(channel) - (n_cutoffs - k) * horizon
            past = channel[:cutoff]
            scale = np.mean([abs(past[t] - past[t - seasonality]) for t in range(seasonality, cutoff)])
            for step in range(horizon):
                truth, forecast = channel[cutoff + step], past[-1]
                scaled.append(abs(truth - forecast) / scale)
                relative.append(200 * abs(truth - forecast) / (abs(truth) + abs(forecast)))
                squared.append((truth - forecast) ** 2)
                inside.append(abs(truth - forecast) <= 2)
    return np.mean(scaled), np.mean(relative), np.sqrt(np.mean(squared)), np.mean(inside)


@pytest.mark.parametrize("name", ["one", "two channels"])
def test_measures_are_those_computed_by_hand(run, name):
    values = np.asarray(_load(name).y, dtype=float).reshape(len(Y), -1)
    row = run([name], seeds=[0]).iloc[0]
    np.testing.assert_allclose(row[["mase", "smape", "rmse", "coverage_90"]].astype(float), _by_hand(values))
    assert row[["horizon", "n_cutoffs", "n_train", "n_test", "n_parameters"]].tolist() == [2, 3, 8, 6, 1]


def test_the_naive_rows_are_those_computed_by_hand(tmp_path, recwarn):
    results = run_backtest(["one"], ["NaiveLast", "SeasonalNaive"], [0], tmp_path, load=_load).set_index("model")
    np.testing.assert_allclose(results.loc["NaiveLast", "mase"], _by_hand(Y.to_numpy()[:, None])[0])
    errors = []
    for cutoff in (8, 10, 12):
        scale = np.abs(np.diff(np.lib.stride_tricks.sliding_window_view(Y[:cutoff], 4)[:, [0, 3]])).mean()
        errors += [abs(Y[cutoff + step] - Y[cutoff + step - 3]) / scale for step in range(2)]
    np.testing.assert_allclose(results.loc["SeasonalNaive", "mase"], np.mean(errors))
    assert results["seed"].isna().all()
    assert results["coverage_90"].between(0, 1).all()
    assert not [each for each in recwarn if "remember_data" in str(each.message)]


def test_a_model_never_sees_what_it_forecasts_and_is_fitted_at_each_cutoff(run):
    run(seeds=[4])
    assert Last.fits == [(12, 0), (8, 4), (10, 4), (12, 4)]  # the first one warms up


def test_models_without_seeds_and_intervals(run):
    results = run(models={"Fixed": Fixed(), "Last": Last()})
    assert results["seed"].tolist() == [pd.NA, 0, 1]
    assert results["coverage_90"].isna().tolist() == [True, False, False]


def test_the_second_call_runs_nothing_and_more_seeds_only_the_new_ones(run, tmp_path):
    first = run()
    files = {path: path.read_bytes() for path in (tmp_path / "out" / "cells").iterdir()}
    Last.fits.clear()
    pd.testing.assert_frame_equal(run(), first)
    assert Last.fits == []
    run(seeds=[0, 1, 2])
    assert [seed for _, seed in Last.fits] == [0, 2, 2, 2]
    assert all(path.read_bytes() == content for path, content in files.items())


def test_other_settings_are_other_cells(run, tmp_path):
    run()
    for change in ({"n_cutoffs": 2}, {"epochs": 5}):
        Last.fits.clear()
        run(**change)
        assert Last.fits
    assert load_results(tmp_path / "out")["configuration"].nunique() == 3


def test_an_interruption_keeps_what_is_there_and_the_next_call_goes_on(run, tmp_path):
    Last.mood = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run()
    out = tmp_path / "out"
    assert len(list((out / "cells").iterdir())) == len(pd.read_csv(out / "results.csv")) == 1
    assert "| Last" in (out / "results.md").read_text()
    Last.mood = None
    Last.fits.clear()
    assert (run()["status"] == "finished").all()
    assert [seed for _, seed in Last.fits] == [0, 1, 1, 1]


def test_a_failing_model_costs_its_cell_and_is_tried_again(run, tmp_path):
    Last.mood = ValueError("out of luck")
    results = run()
    assert results["status"].tolist() == ["finished", "failed"]
    text = (tmp_path / "out" / "results.md").read_text()
    assert "1 (1 failed)" in text
    assert "FAILED: Last on one, 1 cell(s): ValueError: out of luck" in text
    Last.mood = None
    assert run()["status"].tolist() == ["finished", "failed"]
    assert (run(retry_failed=True)["status"] == "finished").all()
    assert "FAILED" not in (tmp_path / "out" / "results.md").read_text()


def test_a_full_disk_leaves_whole_files_only(run, tmp_path, monkeypatch):
    run(seeds=[0])
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="What was finished before is kept"):
        run()
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == before


def test_the_files_tell_the_same_as_the_results(run, tmp_path, picture):
    results = run(["one", "two channels"], {"Last": Last(), "Fixed": Fixed()})
    out = tmp_path / "out"
    names = ["cells", "errors_by_horizon.csv", "mase.png", "results.csv", "results.json", "results.md"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert (out / "mase.png").read_bytes().startswith(b"\x89PNG")
    order = ["dataset", "model", "seed"]
    pd.testing.assert_frame_equal(
        load_results(out).sort_values(order, ignore_index=True), results.sort_values(order, ignore_index=True)
    )
    means = results.groupby(["dataset", "model"])["mase"].mean()
    table = (out / "results.md").read_text()
    assert f"{means['one', 'Fixed']:.3f}" in table
    assert f"{means['one', 'Last']:.3f} ± " in table
    assert "| one, 2 steps from 3 cutoffs" in table
    errors = load_horizon_errors(out)
    assert list(errors.columns[:7]) == ["dataset", "horizon", "n_cutoffs", "model", "configuration", "seed", "step"]
    assert len(errors) == 2 * len(results)
    for _, cell in results.query("dataset == 'one'").iterrows():
        same = errors.query("dataset == 'one' and model == @cell.model")
        same = same[same["seed"].isna() if pd.isna(cell.seed) else same["seed"] == cell.seed]
        assert same["mase"].mean() == pytest.approx(cell["mase"])
    assert len(pd.read_csv(out / "errors_by_horizon.csv")) == len(errors)
    cell = json.loads((out / "results.json").read_text())["cells"][0]
    assert [fold["cutoff"] for fold in cell["folds"]] == ["7", "9", "11"]
    assert np.shape(cell["folds"][0]["forecast"]) == (2, 1)


def test_wrong_requests_are_refused_before_anything_is_run(run):
    for arguments, message in [
        ({"datasets": ["missing"]}, "cannot load 'missing': there is no such series. Bundled: airline, lynx"),
        ({"datasets": []}, "at least one data set"),
        ({"models": {}}, "at least one model"),
        ({"models": "Last"}, "models must be a list of names"),
        ({"models": ["Nothing"]}, "there is no forecaster 'Nothing'. Available: NaiveLast, SeasonalNaive"),
        ({"models": {"Last": Last}}, r"models\['Last'\] must be an unfitted sktime forecaster"),
        ({"seeds": [-1]}, "from 0 to"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 5, "models": {"Fixed": Fixed()}}, "epochs has no effect on Fixed"),
        ({"n_cutoffs": 0}, "n_cutoffs must be at least 1"),
        ({"n_cutoffs": 5}, "'one' has 14 time points, 4 of them before the first of 5 cutoffs, but 6 are needed"),
    ]:
        with pytest.raises(RequestError, match=message):
            run(**arguments)
    assert Last.fits == []


def test_a_model_whose_package_is_missing_says_which(run, monkeypatch):
    monkeypatch.setattr(forecasting, "left_out", lambda: {"Theta": "statsmodels"})
    with pytest.raises(RequestError, match="'Theta' needs statsmodels: pip install statsmodels, or leave it out"):
        run(models=["Theta"])
    assert "Theta" not in forecasting.available_forecasters()


def test_a_folder_holds_results_of_one_kind(run, tmp_path, load, levels):
    run()
    with pytest.raises(RequestError, match=r"holds results of another kind of benchmark \(forecasting\)"):
        run_benchmark(["One"], {"Levels": levels()}, [0], tmp_path / "out", load=load)


def test_the_bundled_series_are_what_they_are_said_to_be():
    shapes = {name: forecasting.bundled_series(name).y.shape for name in DEFAULT_SERIES}
    assert shapes == {"airline": (144,), "lynx": (114,), "shampoo_sales": (36,), "uschange": (187, 5)}
    with pytest.raises(ValueError, match="no bundled series 'nothing'"):
        forecasting.bundled_series("nothing")


def test_our_forecasters_run_on_a_bundled_series(tmp_path):
    results = run_backtest(["shampoo_sales"], ["DLinear", "Chimera"], [0], tmp_path, epochs=1, n_cutoffs=1)
    assert (results["status"] == "finished").all(), results["error"].tolist()
    assert results[["mase", "coverage_90", "n_parameters"]].notna().all(axis=None)
