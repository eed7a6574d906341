"""Forecasters of gridded fields: what they forecast, from what, in which form, and what they refuse."""

import doctest
import pickle

import numpy as np
import pytest
from sktime.exceptions import NotFittedError

from tsmodels.estimators import (
    AverageGridForecaster,
    ClimatologyGridForecaster,
    ConvS5GridForecaster,
    DampedPersistenceGridForecaster,
    LinearInverseGridForecaster,
    PersistenceGridForecaster,
    _grid_average,
    _grid_baselines,
    _grid_skill,
    grids,
    skill_table,
)
from tsmodels_datamodules import DataNotFoundError, GriddedSeries, load_sst

N, HEIGHT, WIDTH = 40, 5, 6
TINY = ConvS5GridForecaster.get_test_params()[0] | {"random_state": 0}
ALL = {
    "climatology": ClimatologyGridForecaster(),
    "persistence": PersistenceGridForecaster(),
    "damped": DampedPersistenceGridForecaster(),
    "linear": LinearInverseGridForecaster(n_modes=3),
    "per-lead": LinearInverseGridForecaster(n_modes=3, method="per_lead"),
    "ConvS5": ConvS5GridForecaster(**TINY),
    "ConvS5, wide states": ConvS5GridForecaster(**TINY, state_kernel=3),
    "average": AverageGridForecaster(**AverageGridForecaster.get_test_params()[1]),
}
EACH = pytest.mark.parametrize("name", list(ALL))


def waves(n=N, n_channels=None):
    """A wave that runs east, and noise."""
    shape = (n, HEIGHT, WIDTH) if n_channels is None else (n, n_channels, HEIGHT, WIDTH)
    phase = np.arange(n).reshape(n, *[1] * (len(shape) - 1)) / 3 - np.arange(WIDTH)
    return 20 + np.sin(phase) + 0.1 * np.random.default_rng(0).normal(size=shape)


@pytest.fixture(scope="module")
def mask():
    mask = np.ones((HEIGHT, WIDTH), dtype=bool)
    mask[:2, 4:] = False
    return mask


@pytest.fixture(scope="module")
def fitted(mask):
    """All of them, fitted on the first 30 frames."""
    return {name: each.clone().fit(waves()[:30], mask) for name, each in ALL.items()}


@pytest.mark.parametrize(
    "module", [_grid_average, _grid_baselines, _grid_skill, grids], ids=lambda module: module.__name__
)
def test_the_examples_in_the_docstrings_run(module):
    done = doctest.testmod(module)
    assert done.attempted and not done.failed


@EACH
def test_forecasts_have_the_form_of_the_field(name, fitted, mask):
    found = fitted[name].predict(4)
    assert type(found) is np.ndarray and found.shape == (4, HEIGHT, WIDTH)
    assert np.array_equal(np.isnan(found), np.broadcast_to(~mask, found.shape))
    two = ALL[name].clone().fit(waves(30, 2), np.stack([mask, ~mask])).predict(3)
    assert two.shape == (3, 2, HEIGHT, WIDTH)
    assert np.isnan(two[:, 0, ~mask]).all() and np.isfinite(two[:, 0, mask]).all() and np.isnan(two[:, 1, mask]).all()


@EACH
def test_what_the_mask_hides_changes_nothing(name, fitted, mask):
    wild = np.where(mask, waves()[:30], 1e6)
    found = ALL[name].clone().fit(wild, mask).predict(2)
    # the shared one may have been fitted with more threads than a test has
    np.testing.assert_allclose(found, fitted[name].predict(2), rtol=1e-6)
    holes = np.where(mask, waves()[:30], np.nan)
    np.testing.assert_array_equal(ALL[name].clone().fit(holes).predict(2), found)


@EACH
def test_update_context_and_backtest_agree(name, fitted, mask):
    field, forecaster = waves(), fitted[name]
    many = forecaster.backtest(field, 3, [30, 33, 36])
    assert many.shape == (3, 3, HEIGHT, WIDTH)
    np.testing.assert_allclose(many[0], forecaster.predict(3), atol=1e-5)
    np.testing.assert_allclose(many[1], forecaster.predict(3, context=field[:33]), atol=1e-5)
    updated = pickle.loads(pickle.dumps(forecaster)).update(field[30:33]).update(field[33:36])
    np.testing.assert_allclose(many[2], updated.predict(3), atol=1e-5)
    assert np.array_equal(updated.climatology_, forecaster.climatology_)


@EACH
def test_forecasts_depend_on_the_known_frames_only(name, fitted):
    field, other = waves(), waves()
    other[33:] += 5.0
    before, after = (fitted[name].backtest(each, 2, [33, 36]) for each in (field, other))
    np.testing.assert_array_equal(before[0], after[0])
    if name != "climatology":
        assert not np.allclose(before[1], after[1], equal_nan=True)


@EACH
def test_a_season_is_that_of_the_target(name):
    season = 3.0 * np.arange(4)[:, None, None]
    field = waves() + np.tile(season, (N // 4, 1, 1))
    four = {"last__season": 4, "linear__season": 4} if name == "average" else {"season": 4}
    forecaster = ALL[name].clone().set_params(**four).fit(field[:30])
    plain = ALL[name].clone().set_params(**four).fit(waves()[:30])
    phases = (30 + np.arange(6)) % 4
    np.testing.assert_allclose(forecaster.predict(6) - season[phases], plain.predict(6), atol=1e-4)
    # the phase of a context is counted from its own first frame
    found = forecaster.predict(2, context=field[4:30])
    np.testing.assert_allclose(found, forecaster.predict(2, context=field[:30]), atol=1e-4)


@EACH
def test_parameters_clones_pickles_and_reset(name, fitted):
    forecaster = fitted[name]
    again = pickle.loads(pickle.dumps(forecaster))
    np.testing.assert_array_equal(again.predict(2), forecaster.predict(2))
    clone = forecaster.clone()
    assert clone.get_params() == forecaster.get_params() == ALL[name].get_params() and not clone.is_fitted
    assert repr(clone) == repr(ALL[name])
    for use in (clone.predict, clone.update):
        with pytest.raises(NotFittedError, match="fit"):
            use(waves())
    other = {"last__season": 2} if name == "average" else {"season": 2}
    assert again.set_params(**other).is_fitted is False
    for params in type(forecaster).get_test_params() if name != "climatology" else [{}]:
        type(forecaster)(**params)


def test_the_last_frame_persists_and_the_mean_is_that_of_the_phase():
    field = waves()
    assert np.allclose(PersistenceGridForecaster().fit(field).predict(2), field[-1])
    assert np.allclose(ClimatologyGridForecaster().fit(field).predict(2), field.mean(0))
    found = ClimatologyGridForecaster(season=4).fit(field[:38]).predict(3)
    for step, phase in enumerate((2, 3, 0)):
        np.testing.assert_allclose(found[step], field[phase:38:4].mean(0), rtol=1e-6)


def test_damping_is_the_regression_of_each_cell():
    field = waves()
    forecast = DampedPersistenceGridForecaster().fit(field).predict(2)
    anomalies = field - field.mean(0)
    for row, column in ((0, 0), (4, 3)):
        cell = anomalies[:, row, column]
        slope = np.linalg.lstsq(cell[:-2, None], cell[2:], rcond=None)[0][0]
        assert forecast[1, row, column] == pytest.approx(field[:, row, column].mean() + slope * cell[-1], rel=1e-5)


@pytest.mark.parametrize("method", ["propagator", "per_lead"])
def test_a_linear_system_is_identified(method):
    rng = np.random.default_rng(1)
    patterns, turn = rng.normal(size=(2, HEIGHT, WIDTH)), 0.3
    rotation = 0.98 * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    states = [np.array([1.0, 0.0])]
    while len(states) < 400:
        states.append(rotation @ states[-1] + 0.05 * rng.normal(size=2))
    field = np.einsum("tk,khw->thw", np.array(states), patterns)
    found = LinearInverseGridForecaster(n_modes=2, method=method).fit(field).predict(3)
    expected = np.einsum("k,khw->hw", np.linalg.matrix_power(rotation, 3) @ states[-1], patterns)
    assert np.abs(found[2] - expected).max() < 0.2 * np.abs(expected).max()


def test_modes_are_orthogonal_and_sorted(mask):
    forecaster = LinearInverseGridForecaster(n_modes=50).fit(waves(8), mask)
    flat = forecaster.modes_.reshape(len(forecaster.modes_), -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(7), atol=1e-10)  # eight frames without their mean
    assert (np.diff(forecaster.explained_variance_) <= 0).all()
    assert forecaster.explained_variance_.sum() == pytest.approx(1)
    np.testing.assert_allclose(forecaster.modes_[:, 0, ~mask], 0, atol=1e-12)


@pytest.mark.parametrize(("weights", "shares"), [(None, (0.5, 0.5)), ([3, 1], (0.75, 0.25)), ([0.0, 2.0], (0, 1))])
def test_an_average_is_that_of_its_members(weights, shares, mask):
    field = waves()
    members = [("mean", ClimatologyGridForecaster(season=4)), ("last", PersistenceGridForecaster())]
    average = AverageGridForecaster(members, weights).fit(field[:30], mask)
    alone = [each.clone().fit(field[:30], mask) for _, each in members]
    expected = sum(share * each.backtest(field, 3, [30, 35]) for share, each in zip(shares, alone, strict=True))
    np.testing.assert_allclose(average.backtest(field, 3, [30, 35]), expected)
    assert not any(each.is_fitted for _, each in members)
    ready = [(str(number), each) for number, each in enumerate(alone)]
    taken = AverageGridForecaster(ready, weights, prefit=True).fit(field[:35], mask)
    assert [each for _, each in taken.forecasters_] == alone
    np.testing.assert_allclose(taken.predict(3), expected[1])


def test_an_average_takes_fitted_forecasters_of_the_same_field_only(mask):
    last = PersistenceGridForecaster()
    with pytest.raises(NotFittedError):
        AverageGridForecaster([("last", last)], prefit=True).fit(waves())
    last.fit(waves(), mask)
    with pytest.raises(ValueError, match="'last' was fitted with another mask or first frame"):
        AverageGridForecaster([("last", last)], prefit=True).fit(waves())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"forecasters": []}, TypeError, "forecasters must be a list with at least one pair"),
        ({"forecasters": [PersistenceGridForecaster()]}, TypeError, "forecasters must be a list with at least one"),
        ({"forecasters": [("a", PersistenceGridForecaster())] * 2}, ValueError, "different names, got a, a"),
        ({"weights": [1, 2]}, ValueError, "weights must be 1 numbers, one for each"),
        ({"weights": [-1]}, ValueError, "none negative"),
        ({"weights": [0.0]}, ValueError, "not all 0"),
        ({"weights": [np.nan]}, ValueError, "weights must be"),
    ],
)
def test_an_average_refuses(arguments, error, message):
    given = {"forecasters": [("last", PersistenceGridForecaster())]} | arguments
    with pytest.raises(error, match=message):
        AverageGridForecaster(**given).fit(waves())


def test_a_network_learns_a_wave_and_keeps_its_best_weights(mask):
    field = waves(70)
    options = TINY | {"max_epochs": 4, "lr": 2e-2, "n_members": 2}
    forecaster = ConvS5GridForecaster(**options).fit(field[:56], mask)
    curve = forecaster.history_["curves"]["val/loss"]
    assert forecaster.history_["best_value"] == min(curve) < 0.7 * curve[0]
    assert len(forecaster.networks_) == 2 == len(forecaster.histories_)
    table = skill_table(
        {"persistence": PersistenceGridForecaster().fit(field[:56], mask), "ConvS5": forecaster},
        field,
        start=56,
        leads=[1, 2],
    )
    assert (table.skill[table.forecaster == "ConvS5"] > 0).all()
    alone = [np.ones(1)] * 2
    for number, network in enumerate(forecaster.networks_):
        one = pickle.loads(pickle.dumps(forecaster))
        one.networks_ = [network]
        alone[number] = one.predict(2)
    assert not np.allclose(*alone, equal_nan=True)
    np.testing.assert_allclose(forecaster.predict(2), np.mean(alone, 0), rtol=1e-5)


def test_random_state_makes_a_fit_repeatable_and_leaves_generators_alone():
    import torch

    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    options = ConvS5GridForecaster.get_test_params()[1]
    one, two, other = (ConvS5GridForecaster(**options, random_state=seed).fit(waves()).predict(2) for seed in (1, 1, 2))
    assert np.array_equal(one, two) and not np.allclose(one, other)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


def test_all_frames_may_be_trained_on():
    forecaster = ConvS5GridForecaster(**TINY | {"val_fraction": None}).fit(waves())
    assert forecaster.history_["best_epoch"] is None and "val/loss" not in forecaster.history_["curves"]
    np.testing.assert_allclose(forecaster.climatology_[0, 0], waves().mean(0), rtol=1e-5)


def test_what_is_validated_on_is_not_learned_from():
    later = waves()
    later[32:] += 100.0  # the validation part
    climatology, scaler = [
        [getattr(each, name) for each in (ConvS5GridForecaster(**TINY).fit(f) for f in (waves(), later))]
        for name in ("climatology_", "scaler_")
    ]
    assert np.array_equal(*climatology) and np.array_equal(*(each.scale_ for each in scaler))


def test_skill_is_counted_by_lead(mask):
    field = waves()
    both = {"mean": ClimatologyGridForecaster(), "last": PersistenceGridForecaster()}
    both = {name: each.fit(field[:30], mask) for name, each in both.items()}
    table = skill_table(both, GriddedSeries(field, mask), start=30, leads=[1, 4])
    assert list(table.columns) == ["forecaster", "lead", "n_targets", "rmse", "skill"] and len(table) == 4
    cell = table[(table.forecaster == "last") & (table.lead == 4)].iloc[0]
    error = np.sqrt(np.square(field[33:] - field[29:36])[:, mask].mean())
    assert (cell.n_targets, cell.rmse) == (7, pytest.approx(error, rel=1e-5))
    mean = table[(table.forecaster == "mean") & (table.lead == 4)].rmse.item()
    assert cell.skill == pytest.approx(1 - (error / mean) ** 2, rel=1e-5)
    assert (table[table.forecaster == "mean"].skill == 0).all()
    assert (skill_table(both, field, start=30, leads=[1], reference="last").skill.iloc[1]) == 0


def test_sea_surface_temperature():
    try:
        series = load_sst()
    except DataNotFoundError:
        pytest.skip("needs spatiotemporal/sst_pacific.npz in TSMODELS_DATA")
    baselines = {
        "mean": ClimatologyGridForecaster(),
        "persistence": PersistenceGridForecaster(),
        "damped": DampedPersistenceGridForecaster(),
        "linear": LinearInverseGridForecaster(),
        "per lead": LinearInverseGridForecaster(method="per_lead"),
    }
    fitted = {name: each.fit(series.values[:279], series.mask) for name, each in baselines.items()}
    table = skill_table(fitted, series.values, start=339).pivot(index="forecaster", columns="lead", values="rmse")
    expected = {
        "mean": (0.685, 0.671, 0.656, 0.628),
        "persistence": (0.389, 0.614, 0.717, 0.688),
        "damped": (0.387, 0.561, 0.610, 0.616),
        "linear": (0.438, 0.540, 0.607, 0.625),
        "per lead": (0.438, 0.537, 0.584, 0.615),
    }
    for name, values in expected.items():
        np.testing.assert_allclose(table.loc[name], values, atol=6e-4)
