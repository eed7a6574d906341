"""What sktime's suite does not ask of the forecasters: section 8, items 7 and 8, of the estimators' specification."""

import copy
import pickle
import random

import numpy as np
import pandas as pd
import pytest
import torch
from sktime.base import load
from sktime.benchmarking.forecasting import ForecastingBenchmark
from sktime.datasets import load_airline
from sktime.forecasting.base import ForecastingHorizon
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.forecasting.naive import NaiveForecaster
from sktime.performance_metrics.forecasting import MeanAbsolutePercentageError
from sktime.split import ExpandingWindowSplitter, SingleWindowSplitter

from tsmodels.estimators import DLinearForecaster, all_estimators, forecaster

SMALL = {"lookback": 12, "kernel_size": 3, "max_epochs": 5, "lr": 1e-2, "random_state": 0}


def season(n, period=6, noise=0.05, seed=0, **index):
    """A season with noise, on whatever index."""
    rng = np.random.default_rng(seed)
    values = np.sin(2 * np.pi * np.arange(n) / period) + noise * rng.normal(size=n)
    return pd.Series(values, index=pd.period_range("2000-01", periods=n, freq="M") if not index else index["index"])


def panel(lengths, seed=0, freq="D"):
    """Series that end at different times, as a pd-multiindex frame."""
    parts = {}
    for i, n in enumerate(lengths):
        parts[f"s{i}"] = season(n, seed=seed + i, index=pd.date_range("2020-01-01", periods=n, freq=freq)).to_frame("y")
    return pd.concat(parts, names=["series", "time"])


INDEXES = {
    "period": pd.period_range("2000-01", periods=80, freq="M"),
    "datetime": pd.date_range("2000-01-31", periods=80, freq="ME"),
    "hourly": pd.date_range("2000-01-01", periods=80, freq="h"),
    "range": pd.RangeIndex(80),
    "shifted": pd.RangeIndex(100, 180),
    "integer": pd.Index(range(3, 83)),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_every_index_continues(kind):
    y = season(80, index=INDEXES[kind])
    train, test = y.iloc[:-6], y.iloc[-6:]
    forecast = DLinearForecaster(**SMALL | {"max_epochs": 40}).fit(train, fh=range(1, 7)).predict()
    assert forecast.index.equals(test.index)
    assert (forecast - test).abs().mean() < 0.5 * test.abs().mean()


def test_horizon_unordered_with_gaps_and_absolute():
    y = season(80)
    whole = DLinearForecaster(horizon=7, **SMALL).fit(y).predict(fh=range(1, 8))
    some = DLinearForecaster(horizon=7, **SMALL).fit(y, fh=[7, 2, 4]).predict()
    np.testing.assert_array_equal(some.to_numpy(), whole.iloc[[1, 3, 6]].to_numpy())
    absolute = ForecastingHorizon(whole.index[[2, 5]], is_relative=False)
    np.testing.assert_array_equal(
        DLinearForecaster(horizon=7, **SMALL).fit(y, fh=absolute).predict().to_numpy(), whole.iloc[[2, 5]].to_numpy()
    )


def test_any_step_up_to_the_horizon_may_be_asked_for_after_fit():
    fitted = DLinearForecaster(horizon=5, **SMALL).fit(season(80))
    assert len(fitted.predict(fh=[1, 5])) == 2
    with pytest.raises(ValueError, match=r"steps 6 to 6.*forecasts steps 1 to 5"):
        fitted.predict(fh=[6])
    with pytest.raises(NotImplementedError, match="in-sample"):
        fitted.predict(fh=[-1, 1])
    with pytest.raises(NotImplementedError, match="in-sample"):
        DLinearForecaster(**SMALL).fit(season(80), fh=[-2, 0])


def test_series_of_a_panel_are_stamped_from_their_own_end():
    y = panel([60, 50, 55])
    forecast = DLinearForecaster(**SMALL).fit(y, fh=[1, 3]).predict()
    for key, rows in y.groupby(level=0):
        expected = rows.droplevel(0).index[-1] + pd.to_timedelta([1, 3], unit="D")
        assert list(forecast.loc[key].index) == list(expected)
    assert forecast.index.names == y.index.names


def test_one_network_for_a_hierarchy_equals_that_for_its_panel():
    y = panel([60, 60, 60])
    hierarchy = pd.concat({"north": y}, names=["region"])
    flat, deep = (DLinearForecaster(**SMALL).fit(each, fh=[1, 2]).predict() for each in (y, hierarchy))
    np.testing.assert_array_equal(flat.to_numpy(), deep.to_numpy())
    assert deep.index.nlevels == 3


def test_several_columns_keep_their_names_and_units():
    y = pd.DataFrame({"small": season(80), "large": 1000 + 100 * season(80, seed=1)})
    forecast = DLinearForecaster(**SMALL).fit(y, fh=[1, 2, 3]).predict()
    assert list(forecast.columns) == ["small", "large"]
    assert forecast["large"].between(800, 1200).all() and forecast["small"].abs().max() < 3


def test_exogenous_variables_are_used():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=260)}, index=pd.period_range("2000-01", periods=260, freq="M"))
    y = 3 * X["x"] + 0.1 * rng.normal(size=260)
    fh = range(1, 21)
    settings = SMALL | {"max_epochs": 80, "lr": 3e-2}
    with_x = DLinearForecaster(**settings).fit(y.iloc[:-20], X=X.iloc[:-20], fh=fh).predict(X=X.iloc[-20:])
    without = DLinearForecaster(**settings).fit(y.iloc[:-20], fh=fh).predict()
    errors = [np.sqrt(((each - y.iloc[-20:]) ** 2).mean()) for each in (with_x, without)]
    assert errors[0] < 0.5 < errors[1]


def test_exogenous_variables_must_be_there_and_reach_the_horizon():
    X = season(90, seed=3).to_frame("x")
    y = season(80)
    fitted = DLinearForecaster(**SMALL).fit(y, X=X.iloc[:80], fh=range(1, 6))
    with pytest.raises(ValueError, match="fitted with X"):
        fitted.predict()
    with pytest.raises(ValueError, match="X has 3 rows after"):
        fitted.predict(X=X.iloc[80:83])
    with pytest.raises(ValueError, match="X has the columns"):
        fitted.update(season(81).iloc[80:])
    spoiled = X.iloc[80:85].copy()
    spoiled.iloc[1] = np.nan
    with pytest.raises(ValueError, match="X has missing values"):
        fitted.predict(X=spoiled)
    with pytest.raises(ValueError, match="X has missing values"):
        DLinearForecaster(**SMALL).fit(spoiled["x"].fillna(0.0), X=spoiled, fh=[1])


# --- intervals


def noisy(n, seed):
    """Independent noise around a season: the best forecaster's errors are N(0, 1)."""
    return season(n, period=6, noise=0.0) * 2 + np.random.default_rng(seed).normal(size=n)


@pytest.mark.parametrize(
    "loss", ["mse", pytest.param("pinball", marks=pytest.mark.slow), pytest.param("student_t", marks=pytest.mark.slow)]
)
def test_intervals_cover_what_they_say(loss):
    lookback, horizon, n_windows = 12, 3, 2000
    y, test = noisy(2500, seed=1), noisy(n_windows + lookback + horizon, seed=2).to_numpy()
    settings = {"lookback": lookback, "kernel_size": 3, "max_epochs": 10, "lr": 1e-2, "random_state": 0}
    fitted = DLinearForecaster(loss=loss, **settings).fit(y, fh=range(1, horizon + 1))
    assert fitted.calibration_ == ("head" if loss == "student_t" else "validation")
    # many look-backs at once: the end of each of 2000 series
    windows = np.lib.stride_tricks.sliding_window_view(test, lookback + horizon)[:n_windows]
    times = pd.period_range("1990-01", periods=lookback, freq="M")
    keys = pd.MultiIndex.from_product([range(n_windows), times], names=["window", "time"])
    context = pd.DataFrame({"y": windows[:, :lookback].reshape(-1)}, index=keys)
    many = copy.deepcopy(fitted)
    many._context = {(key,): rows.droplevel(0) for key, rows in context.groupby(level=0)}
    many._index_names, many.batch_size = ["window", "time"], 500
    quantiles = many._predict_quantiles(ForecastingHorizon([1, 2, 3]), None, [0.05, 0.1, 0.9, 0.95]).to_numpy()
    low, lower, upper, high = quantiles.reshape(n_windows, horizon, 4).transpose(2, 0, 1)
    target = windows[:, lookback:]
    for bottom, top, nominal in ((low, high, 0.9), (lower, upper, 0.8)):
        covered = ((target >= bottom) & (target <= top)).mean()
        assert abs(covered - nominal) < 0.03, f"{covered:.3f} of {nominal}"


@pytest.mark.parametrize("loss", ["mae", "pinball", "student_t"])
def test_quantiles_rise_with_the_level(loss):
    y = pd.DataFrame({"a": season(80), "b": 5 * season(80, seed=1)})
    alpha = [0.9, 0.01, 0.5, 0.3]
    found = DLinearForecaster(loss=loss, **SMALL).fit(y, fh=[1, 4]).predict_quantiles(alpha=alpha)
    assert list(found.columns) == [(name, level) for name in "ab" for level in alpha]
    for name in "ab":
        assert (found[name][sorted(alpha)].diff(axis=1).iloc[:, 1:] >= 0).all().all()


def test_a_short_series_is_trained_on_whole_and_says_so():
    fitted = DLinearForecaster(**SMALL).fit(season(16), fh=[1, 2])
    assert fitted.calibration_ == "training" and fitted.history_["best_epoch"] is None
    assert fitted.predict_interval().notna().all().all()


# --- update


def test_update_moves_the_look_back_without_training():
    y = season(90)
    fitted = DLinearForecaster(horizon=6, **SMALL).fit(y.iloc[:80])
    before = copy.deepcopy(fitted.network_.state_dict())
    fitted.update(y.iloc[80:], update_params=False)
    forecast = fitted.predict(fh=range(1, 7))
    assert forecast.index[0] == y.index[-1] + 1
    assert all(torch.equal(before[name], tensor) for name, tensor in fitted.network_.state_dict().items())
    by_hand = fitted.predict(fh=[1])
    assert by_hand.iloc[0] == forecast.iloc[0]


def test_update_trains_on_new_windows_and_forgets_no_calibration():
    y = season(100)
    fitted = DLinearForecaster(horizon=6, **SMALL).fit(y.iloc[:80])
    before = copy.deepcopy(fitted.network_.state_dict())
    width = fitted.predict_interval(fh=[1]).diff(axis=1).iloc[0, 1]
    fitted.update(y.iloc[80:81])  # one new point closes one new window
    assert any(not torch.equal(before[name], tensor) for name, tensor in fitted.network_.state_dict().items())
    assert fitted.predict_interval(fh=[1]).diff(axis=1).iloc[0, 1] == pytest.approx(width, rel=1e-6)


def test_a_fitted_forecaster_does_not_grow_with_its_series():
    sizes = [len(pickle.dumps(DLinearForecaster(**SMALL).fit(season(n), fh=[1, 2]))) for n in (3000, 6000)]
    assert sizes[1] < 1.05 * sizes[0]


# --- pretrain


@pytest.fixture(scope="module")
def pretrained():
    return DLinearForecaster(horizon=4, **SMALL).pretrain(panel([60, 70, 80]))


def weights(network):
    return torch.cat([tensor.flatten() for tensor in network.state_dict().values()])


def test_pretrained_weights_survive_clone_and_second_fit(pretrained):
    start = weights(pretrained.pretrained_network_)
    copied = pretrained.clone()
    assert torch.equal(weights(copied.pretrained_network_), start)
    new = season(70, seed=9, index=pd.date_range("2021-01-01", periods=70, freq="D"))
    first = copied.fit(new).predict(fh=[1, 2])
    assert torch.equal(weights(copied.pretrained_network_), start)
    assert not torch.equal(weights(copied.network_), start)
    np.testing.assert_array_equal(copied.fit(new).predict(fh=[1, 2]).to_numpy(), first.to_numpy())
    assert torch.equal(weights(copied.clone().pretrained_network_), start)


def test_zero_shot_forecasts_of_a_series_it_has_not_seen(pretrained):
    zero = pretrained.clone()
    zero.finetune_epochs = 0
    new = season(40, seed=11, index=pd.date_range("2022-01-01", periods=40, freq="D"))
    forecast = zero.fit(new.iloc[:-4]).predict(fh=[1, 2, 3, 4])
    assert torch.equal(weights(zero.network_), weights(zero.pretrained_network_))
    assert (forecast - new.iloc[-4:]).abs().mean() < 0.5
    short = season(8, index=pd.date_range("2022-01-01", periods=8, freq="D"))  # no window to fine-tune on
    assert pretrained.clone().fit(short).predict_interval(fh=[1, 4]).notna().all().all()


def test_pretraining_is_bound_to_columns_and_horizon(pretrained):
    dates = pd.date_range("2021-01-01", periods=70, freq="D")
    two = pd.DataFrame({"a": season(70, index=dates), "b": season(70, index=dates)})
    with pytest.raises(ValueError, match="y has the columns"):
        pretrained.clone().fit(two)
    with pytest.raises(ValueError, match="pretrained for horizon=4"):
        pretrained.clone().fit(two["a"], fh=range(1, 8))
    with pytest.raises(ValueError, match="X has the columns"):
        pretrained.clone().fit(two["a"], X=two[["b"]])


def test_training_for_ever_is_refused(pretrained):
    endless = pretrained.clone()
    endless.finetune_epochs = -1
    with pytest.raises(ValueError, match="finetune_epochs"):
        endless.fit(season(70, index=pd.date_range("2021-01-01", periods=70, freq="D")))


def test_evaluate_keeps_what_was_pretrained(pretrained):
    y = season(80, index=pd.date_range("2021-01-01", periods=80, freq="D"))
    frozen = pretrained.clone()
    frozen.finetune_epochs = 0
    cv = ExpandingWindowSplitter(fh=[1, 2], initial_window=60, step_length=8)
    results = evaluate(frozen, cv, y, return_model=True)
    for model in results["fitted_forecaster"]:
        assert torch.equal(weights(model.network_), weights(pretrained.pretrained_network_))


# --- with sktime's own tools


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The default of config ``remember_data``:FutureWarning")  # of sktime's search
def test_backtesting_and_search():
    y = season(90)
    cv = ExpandingWindowSplitter(fh=[1, 2, 3], initial_window=70, step_length=8)
    for strategy in ("refit", "update", "no-update_params"):
        results = evaluate(DLinearForecaster(**SMALL), cv, y, strategy=strategy)
        assert len(results) == 3 and results.filter(like="test_").notna().all().all()
    search = ForecastingGridSearchCV(
        DLinearForecaster(**SMALL), SingleWindowSplitter(fh=[1, 2]), {"normalise": ["none", "last"]}
    )
    search.fit(y, fh=[1, 2])
    rank = search.cv_results_.filter(like="rank_").iloc[:, 0]
    expected = search.cv_results_["params"].iloc[rank.argmin()]
    assert search.best_params_ == expected and len(search.cv_results_) == 2


@pytest.mark.filterwarnings("ignore:The default of config ``remember_data``:FutureWarning")  # of sktime's naive one
def test_in_sktimes_benchmark(tmp_path):
    benchmark = ForecastingBenchmark()
    benchmark.add_estimator(DLinearForecaster(**SMALL))
    benchmark.add_estimator(NaiveForecaster())
    cv = ExpandingWindowSplitter(fh=[1, 2], initial_window=110, step_length=20)
    benchmark.add_task(load_airline, cv, [MeanAbsolutePercentageError()])
    results = benchmark.run(str(tmp_path / "results.csv")).set_index("model_id")
    assert (results["MeanAbsolutePercentageError_mean"] < 0.5).all() and len(results) == 2


def test_pickle_and_save_forecast_the_same(tmp_path):
    fitted = DLinearForecaster(**SMALL).fit(season(80), fh=[1, 2])
    fitted.save(tmp_path / "forecaster")
    for loaded in (pickle.loads(pickle.dumps(fitted)), load(tmp_path / "forecaster.zip")):
        pd.testing.assert_series_equal(loaded.predict(), fitted.predict())


@pytest.mark.parametrize("threads", [1, 2])
def test_a_seed_fixes_the_result_whatever_was_drawn_before(threads):
    expected = DLinearForecaster(**SMALL).fit(season(80), fh=[1, 2]).predict()
    torch.rand(7), random.random()
    torch.set_num_threads(threads)
    state, own_state = torch.get_rng_state(), random.getstate()
    found = DLinearForecaster(**SMALL).fit(season(80), fh=[1, 2]).predict()
    assert torch.equal(state, torch.get_rng_state()) and random.getstate() == own_state
    np.testing.assert_allclose(found, expected, rtol=1e-6 if threads > 1 else 0)


# --- missing values and bad input


def test_missing_values_are_seen_as_missing():
    y = season(80)
    y.iloc[[5, 40, 78]] = np.nan
    spoiled = DLinearForecaster(**SMALL).fit(y, fh=[1, 2])
    assert spoiled.predict().notna().all() and spoiled.predict_interval().notna().all().all()


def test_a_constant_series_is_forecast_as_constant():
    y = pd.Series(7.0, index=pd.RangeIndex(60))
    forecast = DLinearForecaster(**SMALL).fit(y, fh=[1, 2]).predict()
    np.testing.assert_allclose(forecast, 7.0, atol=0.3)


def bad_index(kind):
    y = season(80, index=pd.date_range("2000-01-01", periods=80, freq="D"))
    if kind == "irregular":
        return y.drop(y.index[10])
    if kind == "all missing":
        return pd.DataFrame({"a": y, "b": np.nan})
    return y.iloc[:10]


@pytest.mark.parametrize(
    ("kind", "message"),
    [("irregular", "time step|freq"), ("all missing", "b"), ("short", r"lookback \+ horizon = 14")],
)
def test_series_that_cannot_be_used(kind, message):
    with pytest.raises(ValueError, match=message):
        DLinearForecaster(**SMALL).fit(bad_index(kind), fh=[1, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lookback": 0}, "lookback"),
        ({"horizon": 0}, "horizon"),
        ({"window_stride": 0}, "window_stride"),
        ({"loss": "crps"}, "loss"),
        ({"quantiles": (0.5,)}, "quantiles"),
        ({"val_fraction": 1.5}, "val_fraction"),
        ({"scaling": "minmax"}, "scaling"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        DLinearForecaster(**SMALL | arguments).fit(season(80), fh=[1, 2])


def test_the_factory_says_what_a_network_must_look_like():
    class Odd(torch.nn.Module):
        def __init__(self, n_channels, horizon, lookback):
            super().__init__()

        def forward(self, x):
            return x

    with pytest.raises(TypeError, match="by position"):
        forecaster(Odd)


class PlainForForecasting(torch.nn.Module):
    """Repeats the last value, with a weight."""

    def __init__(self, n_channels, lookback, horizon):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(horizon, 1))

    def forward(self, x):
        return self.weight * x[:, -1:]


PlainForecaster = forecaster(PlainForForecasting, defaults={"lookback": 5, "max_epochs": 2})


def test_a_network_of_ones_own_without_covariates_or_quantiles():
    y = season(60)
    fitted = PlainForecaster(accelerator="cpu").fit(y, fh=[1, 2])
    assert fitted.predict_interval().notna().all().all()
    assert not fitted.get_tag("capability:exogenous") and not fitted.get_tag("capability:missing_values")
    with pytest.raises(ValueError, match="n_outputs"):
        PlainForecaster(accelerator="cpu", loss="pinball").fit(y, fh=[1, 2])


def test_all_forecasters_are_listed():
    names = [each.__name__ for each in all_estimators("forecaster")]
    networks = ["ChimeraForecaster", "DLinearForecaster", "MambaForecaster", "S4DForecaster"]
    assert names == sorted([*networks, "ALRNNForecaster", "ContextParrotForecaster", "PLRNNForecaster"])
