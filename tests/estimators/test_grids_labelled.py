"""Grid forecasters with DataArrays: coordinates that go on; and the errors that name the argument and the remedy."""

import re

import numpy as np
import pandas as pd
import pytest

from tsmodels.estimators import (
    AverageGridForecaster,
    ClimatologyGridForecaster,
    ConvS5GridForecaster,
    LinearInverseGridForecaster,
    PersistenceGridForecaster,
    skill_table,
)
from tsmodels_datamodules import GriddedDataModule, GriddedSeries

N, HEIGHT, WIDTH = 40, 4, 5
LAT, LON = np.linspace(20, -10, HEIGHT), np.linspace(100, 140, WIDTH)
TINY = ConvS5GridForecaster.get_test_params()[0] | {"random_state": 0}
MASK = np.ones((HEIGHT, WIDTH), dtype=bool)
MASK[0, 3:] = False


def values(n=N):
    return 20 + np.random.default_rng(0).normal(size=(n, HEIGHT, WIDTH)).cumsum(0)


def labelled(times=None, n=N):
    xarray = pytest.importorskip("xarray")
    coords = {"lat": ("lat", LAT, {"units": "degrees_north"}), "lon": LON, "depth": 0.0}
    if times is not None:
        coords["time"] = times
    array = xarray.DataArray(
        np.where(MASK, values(n), np.nan), dims=("time", "lat", "lon"), coords=coords, name="sst", attrs={"units": "K"}
    )
    return array if times is None else array.assign_coords(week=("time", np.arange(n)))


def months(n=N):
    return pd.date_range("2000-01-01", periods=n, freq="MS")


@pytest.mark.parametrize("forecaster", [PersistenceGridForecaster(), ConvS5GridForecaster(**TINY)], ids=["last", "net"])
def test_a_data_array_comes_back_with_its_coordinates(forecaster):
    field = labelled(months(N + 3), N + 3)
    found = forecaster.fit(field[:N]).predict(3)
    assert type(found) is type(field)
    assert (found.dims, found.name, found.attrs) == (field.dims, "sst", {"units": "K"})
    assert found.indexes["time"].equals(months(N + 3)[N:])
    for name in ("lat", "lon", "depth"):
        assert found.coords[name].identical(field.coords[name])
    assert "week" not in found.coords  # nobody knows how it goes on
    assert np.array_equal(np.isnan(found.values), np.broadcast_to(~MASK, (3, HEIGHT, WIDTH)))
    plain = forecaster.clone().fit(values(N + 3)[:N], MASK).predict(3)
    np.testing.assert_array_equal(found.values, plain)


def test_an_average_takes_fitted_forecasters_that_know_the_same_first_month():
    field = labelled(months())
    last = PersistenceGridForecaster(season=12).fit(field[:30])
    average = AverageGridForecaster([("last", last)], prefit=True)
    found, alone = average.fit(field).predict(2), last.predict(2, context=field)
    assert found.identical(alone.assign_coords(time=found["time"])) and found.indexes["time"][0] == months(N + 1)[N]
    with pytest.raises(ValueError, match="'last' was fitted with another mask or first frame"):
        average.fit(field[1:])
    assert not average.is_fitted


def test_the_order_and_names_of_dimensions_are_kept():
    field = labelled(months()).rename(lat="latitude", lon="x").transpose("x", "time", "latitude")
    found = PersistenceGridForecaster().fit(field).predict(2)
    assert found.dims == ("x", "time", "latitude") and found.shape == (WIDTH, 2, HEIGHT)
    np.testing.assert_allclose(found.isel(time=1).values, field.isel(time=-1).values)
    channels = labelled(months()).expand_dims(level=[10, 20]).transpose("lat", "time", "level", "lon")
    found = PersistenceGridForecaster().fit(channels).predict(2)
    assert found.dims == channels.dims and found.coords["level"].values.tolist() == [10, 20]


@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2000-01-31", periods=N + 2, freq="ME"),
        pd.DatetimeIndex([pd.Timestamp(2000, 1, 15) + pd.DateOffset(months=i) for i in range(N + 2)]),
        pd.date_range("2000-01-01", periods=N + 2, freq="D"),
        pd.date_range("2000-01-01 06:00", periods=N + 2, freq="6h"),
        pd.date_range("2000-01-01", periods=N + 2, freq="YS"),
        np.arange(N + 2) * 5,
        1950 + np.arange(N + 2) / 12,
        None,
    ],
    ids=["month-ends", "mid-months", "days", "six-hours", "years", "integers", "fractions-of-years", "none"],
)
def test_times_go_on(times):
    field = labelled(times, N + 2)
    found = PersistenceGridForecaster().fit(field.isel(time=slice(N))).predict(2)
    if times is None:
        assert "time" not in found.coords
    elif isinstance(times, pd.DatetimeIndex):
        assert found.indexes["time"].equals(times[N:])
    else:
        np.testing.assert_allclose(found.coords["time"].values, times[N:])


def test_calendars_of_climate_models():
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("cftime")
    times = xarray.date_range("2000-01-01", periods=N + 2, freq="MS", calendar="noleap", use_cftime=True)
    field = labelled(times, N + 2)
    forecaster = PersistenceGridForecaster().fit(field[:N])
    assert forecaster.predict(2).indexes["time"].equals(times[N:])
    assert forecaster.update(field[N:]).predict(1).indexes["time"][0].year == 2003


def test_a_context_has_the_season_of_its_times():
    field = labelled(months())
    forecaster = ClimatologyGridForecaster(season=12).fit(field[:30])
    found = forecaster.predict(2, context=field[31:33])
    assert found.indexes["time"].equals(months()[33:35])
    for step in range(2):
        phase = (33 + step) % 12
        np.testing.assert_allclose(found[step].values, field[phase:30:12].mean("time").values, rtol=1e-5)
    far = field[:1].assign_coords(time=[np.datetime64("2020-05-01", "ns")])
    np.testing.assert_allclose(forecaster.predict(1, context=far)[0], field[5:30:12].mean("time"), rtol=1e-5)
    with pytest.raises(ValueError, match=r"context begins at 1999-12-01.*before the fitted field"):
        forecaster.predict(1, context=field[:1].assign_coords(time=[np.datetime64("1999-12-01", "ns")]))
    with pytest.raises(ValueError, match=r"times of context have 2000-05-04.*none of the fitted ones"):
        forecaster.predict(1, context=field[:1].assign_coords(time=[np.datetime64("2000-05-04", "ns")]))


@pytest.mark.parametrize("rows", [[0, 1, 5], [2, 1, 0]], ids=["gap", "backwards"])
def test_frames_that_do_not_follow_each_other_have_no_season(rows):
    field = labelled(months())
    forecaster = ClimatologyGridForecaster(season=12).fit(field[:30])
    with pytest.raises(ValueError, match="times of context must follow each other"):
        forecaster.predict(1, context=field[rows])
    with pytest.raises(ValueError, match="times of field must follow each other"):
        forecaster.backtest(field[rows], 1, [2])


def test_times_in_years_are_told_up_to_rounding():
    years = 1970 + np.arange(N) / 12
    forecaster = PersistenceGridForecaster().fit(labelled(years)[:24])
    found = forecaster.update(labelled(years)[24:30]).predict(2)
    np.testing.assert_allclose(found.indexes["time"], years[30:32])


def test_update_goes_on_in_time():
    field = labelled(months())
    forecaster = PersistenceGridForecaster().fit(field[:30]).update(field[30:33])
    found = forecaster.predict(1)
    assert found.indexes["time"].equals(months()[33:34])
    np.testing.assert_allclose(found[0].values, field[32].values)
    for new in (field[34:36], field[20:22]):
        with pytest.raises(ValueError, match="pass the frames that follow those already known"):
            forecaster.update(new)
    with pytest.raises(ValueError, match="field has no times"):
        forecaster.update(field[33:35].drop_vars("time"))


def test_a_series_with_times_is_taken_too():
    series = GriddedSeries(values()[:30], MASK, times=np.datetime64("2000-01") + np.arange(30))
    found = PersistenceGridForecaster(season=12).fit(series).predict(2)
    assert type(found) is np.ndarray and found.shape == (2, HEIGHT, WIDTH)


def test_a_mask_may_be_labelled():
    field = labelled(months())
    mask = np.isfinite(field[0]).drop_vars("week").transpose("lon", "lat")
    assert np.array_equal(PersistenceGridForecaster().fit(field, mask).mask_, MASK)


def test_skill_of_labelled_fields():
    field = labelled(months())
    both = {"mean": ClimatologyGridForecaster(), "linear": LinearInverseGridForecaster(n_modes=3)}
    table = skill_table({name: each.fit(field[:30]) for name, each in both.items()}, field, start=30, leads=[1, 2])
    plain = {name: type(each)(**each.get_params()).fit(values()[:30], MASK) for name, each in both.items()}
    pd.testing.assert_frame_equal(table, skill_table(plain, values(), start=30, leads=[1, 2]))


def test_the_data_module_reads_arrays_and_files(tmp_path):
    pytest.importorskip("netCDF4")
    field = labelled(months()).transpose("lon", "time", "lat")
    options = {"window": 4, "horizon": 2, "split": ("2002-01", "2002-10"), "batch_size": 4}
    field.to_netcdf(tmp_path / "field.nc")
    modules = [GriddedDataModule(each, **options) for each in (field, tmp_path / "field.nc")]
    plain = GriddedDataModule(values(), mask=MASK, **options | {"split": (24, 33)})
    for module in modules:
        assert module.borders == plain.borders == (0, 24, 33, 40)
        assert np.array_equal(module.lat, LAT) and np.array_equal(module.lon, LON)
        assert np.array_equal(module.times, months().to_numpy())
        for ours, theirs in zip(module.test_dataloader(), plain.test_dataloader(), strict=True):
            assert np.allclose(ours["frames"], theirs["frames"]) and np.array_equal(ours["mask"], MASK)


HOLED = values().copy()
HOLED[3, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("field", "mask", "message"),
    [
        (values(), np.zeros_like(MASK), "mask covers everything"),
        (np.full((9, 4, 5), np.nan), None, "mask covers everything"),
        (values(), MASK.T, r"mask must be \(lat, lon\) = \(4, 5\).*got \(5, 4\)"),
        ([*values()[:5], values()[0, :3]], None, "field: all frames must be of one size"),
        (HOLED, None, "field: 1 values of cells that count are missing or infinite: fill them in"),
        (values()[0], None, r"field must be \(time, lat, lon\)"),
        (values()[:2], None, "field has 2 frames, LinearInverseGridForecaster needs 3 at least: pass a longer one"),
        (values()[:0], None, "field"),
    ],
    ids=["all-masked", "all-missing", "mask-shape", "changing-size", "hole", "no-time", "too-short", "empty"],
)
def test_fields_that_cannot_be_used(field, mask, message):
    with pytest.raises(ValueError, match=message):
        LinearInverseGridForecaster().fit(field, mask)


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(TypeError, match="mask must be bool"):
        PersistenceGridForecaster().fit(values(), MASK.astype(int))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (months()[::-1], r"times of field must increase, each once: sort them"),
        (months()[[*range(20), *range(19, N - 1)]], "must increase, each once"),
        (pd.date_range("2000", periods=N + 1, freq="MS").delete(7), "must follow each other regularly"),
        (np.arange(N) ** 2, "must follow each other regularly"),
    ],
    ids=["backwards", "twice", "gap", "uneven"],
)
def test_times_that_do_not_go_on(times, message):
    with pytest.raises(ValueError, match=message):
        PersistenceGridForecaster().fit(labelled(times))


def test_too_few_times_to_go_on():
    with pytest.raises(ValueError, match="field has 2 times, three are needed"):
        PersistenceGridForecaster().fit(labelled(months()).isel(time=slice(2)))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (values()[:3, :3], r"frames of \(3, 5\).*the fitted field of \(4, 5\): pass frames on the same grid"),
        (values()[:0], "has no frame: pass one at least"),
        (values()[:3, None], "has 4 axes and 1 channels, the fitted field 3 and 1: pass frames in the same form"),
        (HOLED[3:4], "missing or infinite"),
    ],
    ids=["grid", "none", "axes", "hole"],
)
def test_further_frames_that_do_not_fit(new, message):
    forecaster = PersistenceGridForecaster().fit(values(), None)
    for use, name in ((forecaster.update, "field"), (lambda each: forecaster.predict(2, context=each), "context")):
        with pytest.raises(ValueError, match=rf"^{name}.*({message})"):
            use(new)


def test_another_place_is_another_grid():
    field = labelled(months())
    forecaster = PersistenceGridForecaster().fit(field[:30])
    with pytest.raises(ValueError, match="field has other coordinates lat than the fitted field"):
        forecaster.update(field[30:].assign_coords(lat=LAT + 1))


@pytest.mark.parametrize("n_frames", [0, 1.5, "2"])
def test_n_frames_is_a_positive_integer(n_frames):
    with pytest.raises(ValueError, match="n_frames must be a positive integer"):
        PersistenceGridForecaster().fit(values()).predict(n_frames)


@pytest.mark.parametrize("origins", [[0], [41], [1.5], []], ids=["0", "41", "1.5", "none"])
def test_origins_lie_in_the_field(origins):
    with pytest.raises(ValueError, match="origins must be integers from 1 to the 40 frames of field"):
        PersistenceGridForecaster().fit(values()).backtest(values(), 1, origins)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 0}, "context must be a positive integer"),
        ({"horizon": 0}, "horizon must be a positive integer"),
        ({"n_members": 0}, "n_members must be a positive integer"),
        ({"season": 0}, "season must be a positive integer"),
        ({"season": 37}, "season=37 is longer than the 32 frames that are trained on: pass more frames"),
        ({"season": 41}, "field has 40 frames, ConvS5GridForecaster needs 41 at least"),
        ({"context": 38}, "field has 40 frames, ConvS5GridForecaster needs 50 at least"),
        ({"rollout_frames": 3}, "rollout_frames must be from 0 to horizon=2"),
        ({"val_fraction": 1.0}, r"val_fraction must be None or in \[0, 1\)"),
        ({"patience": 2, "val_fraction": None}, "patience needs a validation loss"),
        ({"loss": "huber"}, "loss must be one of"),
        ({"lr": 0.0}, "lr must be positive"),
        ({"accelerator": "abacus"}, "accelerator must be one of"),
    ],
    ids=lambda value: "-".join(map(str, value.items())) if isinstance(value, dict) else None,
)
def test_options_of_the_network_are_checked(options, message):
    forecaster = ConvS5GridForecaster(**TINY | options)
    with pytest.raises(ValueError, match=message):
        forecaster.fit(values())
    assert not forecaster.is_fitted


@pytest.mark.parametrize(
    ("options", "message"),
    [({"n_modes": 0}, "n_modes must be a positive integer"), ({"method": "kalman"}, "method must be one of")],
    ids=["modes", "method"],
)
def test_options_of_the_linear_model_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        LinearInverseGridForecaster(**options).fit(values())


def test_tables_that_make_no_sense():
    fitted = PersistenceGridForecaster().fit(values()[:30])
    for options, message in (
        ({"start": 36}, "start=36 leaves no target for lead 12 in the 40 frames of field"),
        ({"start": 0}, "it must be from 1 to 28"),
        ({"start": 20, "reference": "mean"}, "reference must be one of 'last', got 'mean'"),
        ({"start": 20, "leads": [0]}, "each of leads must be a positive integer"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            skill_table({"last": fitted}, values(), **options)
    with pytest.raises(ValueError, match="forecasters must hold one at least"):
        skill_table({}, values(), start=20)
    other = PersistenceGridForecaster().fit(values()[:30], MASK)
    with pytest.raises(ValueError, match="forecasters have different masks"):
        skill_table({"last": fitted, "other": other}, values(), start=30, leads=[1])
