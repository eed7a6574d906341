"""Fields on a grid: masks, anomalies, parts and windows, scaling by what counts, the kinds of data that are taken."""

import doctest
import pickle
import sys

import numpy as np
import pytest
import torch

import tsmodels_datamodules._gridded as module
from tsmodels_datamodules import DataNotFoundError, GriddedDataModule, GriddedSeries, load_sst

N, HEIGHT, WIDTH = 60, 5, 7
WINDOW, HORIZON = 6, 3


def field(n_channels=1):
    """Value = 1000 channel + frame, plus a pattern in space that is the same at all times."""
    pattern = np.random.default_rng(0).normal(size=(HEIGHT, WIDTH))
    return (1000 * np.arange(n_channels)[:, None, None] + np.arange(N)[:, None, None, None]) + pattern


def make(data=None, **options):
    return GriddedDataModule(field() if data is None else data, **(SMALL | options))


SMALL = {"window": WINDOW, "horizon": HORIZON, "split": (40, 50), "batch_size": 8, "scaling": "none"}


def batches(loader):
    return list(loader)


def frames(loader):
    return torch.cat([batch["frames"] for batch in loader])


def starts(loader):
    return torch.cat([batch["start"] for batch in loader]).tolist()


class LikeDataArray:
    """The part of an xarray.DataArray that is read."""

    def __init__(self, values, dims, coords):
        self.values, self.dims, self.coords = values, dims, coords

    def transpose(self, *dims):
        return LikeDataArray(self.values.transpose([self.dims.index(name) for name in dims]), dims, self.coords)


@pytest.fixture
def mask():
    mask = np.ones((HEIGHT, WIDTH), dtype=bool)
    mask[:2, 4:] = False
    return mask


def test_the_example_in_the_docstring_runs():
    assert doctest.testmod(module).failed == 0


def test_windows_are_consecutive_frames_and_say_where_they_begin():
    data, given = make(), field()
    for part, n in (("train", 32), ("val", 8), ("test", 8)):
        found = batches(getattr(data, f"{part}_dataloader")())
        assert sum(len(batch["frames"]) for batch in found) == n
        for batch in found:
            assert batch["frames"].shape[1:] == (WINDOW + HORIZON, 1, HEIGHT, WIDTH)
            assert batch["frames"].dtype is torch.float32
            for window, start in zip(batch["frames"], batch["start"].tolist(), strict=True):
                expected = torch.from_numpy(given[start : start + WINDOW + HORIZON]).float()
                torch.testing.assert_close(window, expected)
    assert (data.n_channels, data.height, data.width, data.context, data.horizon) == (1, HEIGHT, WIDTH, WINDOW, HORIZON)


def test_targets_lie_in_their_part_and_contexts_may_begin_before_it():
    data = make()
    assert data.borders == (0, 40, 50, 60)
    assert sorted(starts(data.train_dataloader())) == list(range(32))  # whole windows in the first 40 frames
    assert starts(data.val_dataloader()) == list(range(40 - WINDOW, 50 - WINDOW - HORIZON + 1))
    assert starts(data.test_dataloader()) == list(range(50 - WINDOW, 60 - WINDOW - HORIZON + 1))


@pytest.mark.parametrize(
    ("split", "borders"),
    [
        ((0.5, 0.25, 0.25), (0, 30, 45, 60)),
        ((-20, -10), (0, 40, 50, 60)),
        (("2003-05", "2004-01"), (0, 40, 48, 60)),
        ((1.0, 0.0, 0.0), (0, 60, 60, 60)),
    ],
    ids=["shares", "from-the-end", "dates", "all"],
)
def test_parts(split, borders):
    times = np.datetime64("2000-01") + np.arange(N)
    assert make(GriddedSeries(field(), times=times), split=split).borders == borders


def test_parts_that_are_not_asked_for():
    data = make(split=(1.0, 0.0, 0.0))
    assert data.val_dataloader() == [] and len(starts(data.train_dataloader())) == N - WINDOW - HORIZON + 1
    with pytest.raises(ValueError, match="there is no test part"):
        data.test_dataloader()


def test_training_is_in_a_new_order_in_each_pass():
    loader = make().train_dataloader()
    orders = [starts(loader) for _ in range(2)]
    assert orders[0] != orders[1] and orders[0] == starts(make().train_dataloader())
    assert starts(make(seed=1).train_dataloader()) != orders[0]


def test_global_generators_are_left_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    frames(make().train_dataloader())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


@pytest.mark.parametrize("scaling", ["standard", "none"])
@pytest.mark.parametrize("filling", [1e6, np.nan])
def test_land_is_zero_and_changes_nothing(mask, scaling, filling):
    wild = np.where(mask, field(), filling)
    data, other = make(wild, mask=mask, scaling=scaling), make(mask=mask, scaling=scaling)
    for part in ("train", "val", "test"):
        found = frames(getattr(data, f"{part}_dataloader")())
        assert (found.numpy()[..., ~mask] == 0).all() and (found.numpy()[..., mask] != 0).all()
        assert torch.equal(found, frames(getattr(other, f"{part}_dataloader")()))
    (batch, *_) = batches(data.test_dataloader())
    assert batch["mask"].dtype is torch.bool and np.array_equal(batch["mask"], mask)


def test_cells_that_are_never_finite_are_land(mask):
    for filling in (np.nan, np.inf):
        assert np.array_equal(make(np.where(mask, field(), filling)).mask, mask)
    both = np.where(np.stack([mask, np.ones_like(mask)]), field(2), np.nan)
    assert np.array_equal(make(both).mask, np.stack([mask, np.ones_like(mask)]))


def test_scaling_is_that_of_training_cells_that_count(mask):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(N, 2, HEIGHT, WIDTH)) * [[[3.0]], [[50.0]]] + [[[1.0]], [[7.0]]]
    data = make(np.where(mask, values, 1e6), mask=mask, scaling="standard")
    cells = values[:40][..., mask]  # time, channel, cell
    np.testing.assert_allclose(data.scaler.mean_, cells.mean((0, 2)), rtol=1e-5)
    np.testing.assert_allclose(data.scaler.scale_, cells.std((0, 2)), rtol=1e-5)
    later = values.copy()
    later[40:] += 1e3  # nothing is learned from what comes after
    np.testing.assert_array_equal(
        make(later, scaling="standard").scaler.mean_, make(values, scaling="standard").scaler.mean_
    )


@pytest.mark.parametrize("season", [None, 4])
def test_the_way_back_to_the_units_of_the_data(mask, season):
    values = np.where(mask, field(2), 0)
    data = make(values, mask=mask, season=season, scaling="standard")
    for batch in (*data.train_dataloader(), *data.test_dataloader()):
        rows = batch["start"][:, None] + torch.arange(WINDOW + HORIZON)
        torch.testing.assert_close(
            data.to_units(batch["frames"], batch["start"]), torch.from_numpy(values)[rows].float(), rtol=1e-5, atol=1e-3
        )


def test_anomalies_are_from_the_training_mean_of_their_phase(mask):
    values = np.random.default_rng(2).normal(size=(N, HEIGHT, WIDTH))
    data = make(values, season=12)
    assert data.climatology.shape == (12, 1, HEIGHT, WIDTH)
    phase_three = values[3:40:12].mean(0)
    np.testing.assert_allclose(data.climatology[3, 0], phase_three, rtol=1e-5, atol=1e-7)
    (batch,) = batches(data.test_dataloader())
    window, start = batch["frames"][2, :, 0], int(batch["start"][2])
    (at,) = [k for k in range(len(window)) if (start + k) % 12 == 3][:1] or [None]
    expected = torch.from_numpy(values[start + at] - phase_three).float()
    torch.testing.assert_close(window[at], expected, rtol=1e-4, atol=1e-6)


def test_a_data_array_is_brought_into_order(mask):
    values = np.where(mask, field(2), np.nan)
    times = np.datetime64("2000-01") + np.arange(N)
    lat, lon = np.linspace(10, 50, HEIGHT), np.linspace(0, 60, WIDTH)
    turned = LikeDataArray(
        values.transpose(3, 1, 0, 2),
        ("longitude", "level", "time", "latitude"),
        {"time": times, "latitude": lat, "longitude": lon},
    )
    data, plain = make(turned, split=("2003-05", "2004-03")), make(values)
    assert data.borders == plain.borders == (0, 40, 50, 60)
    assert np.array_equal(data.lat, lat) and np.array_equal(data.lon, lon)
    assert torch.equal(frames(data.test_dataloader()), frames(plain.test_dataloader()))
    unnamed = LikeDataArray(values[:, 0], ("a", "b", "c"), {})
    with pytest.raises(ValueError, match=r"dimensions \('a', 'b', 'c'\): name them time, lat and lon"):
        make(unnamed)


def test_real_data_arrays_and_files(mask, tmp_path):
    xarray = pytest.importorskip("xarray")
    values = np.where(mask, field()[:, 0], np.nan)
    times = np.datetime64("2000-01-01", "ns") + np.arange(N) * np.timedelta64(1, "D")
    array = xarray.DataArray(values, dims=("time", "lat", "lon"), coords={"time": times}, name="sst")
    expected = frames(make(values).test_dataloader())
    assert torch.equal(frames(make(array.transpose("lon", "time", "lat")).test_dataloader()), expected)
    pytest.importorskip("netCDF4")
    xarray.Dataset({"sst": array, "ice": array}).to_netcdf(tmp_path / "both.nc")
    assert torch.equal(frames(make(tmp_path / "both.nc", variable="sst").test_dataloader()), expected)
    with pytest.raises(ValueError, match="choose one by variable"):
        make(tmp_path / "both.nc")
    with pytest.raises(ValueError, match="variable must be one of sst, ice, got 'wind'"):
        make(tmp_path / "both.nc", variable="wind")


def test_a_path_needs_xarray(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match=r"field.nc' is a path, and netCDF files are read by xarray.*pip install"):
        make(tmp_path / "field.nc")


def test_sea_surface_temperature(archives):
    if not (archives / "spatiotemporal" / "sst_pacific.npz").is_file():
        pytest.skip("needs spatiotemporal/sst_pacific.npz")
    series = load_sst()
    assert series.values.shape == (399, 30, 84) and series.mask.sum() == 2261
    assert (series.values[:, ~series.mask] == 0).all() and np.isfinite(series.values).all()
    assert [str(month) for month in series.times[[0, -1]]] == ["1970-01", "2003-03"]
    assert (series.lat[0], series.lat[-1], series.lon[0], series.lon[-1]) == (29, -29, 124, 290)
    data = GriddedDataModule(series, split=(-120, -60))
    assert data.borders == (0, 279, 339, 399)
    # over all forecasts of the test months from the month before the first on, root mean squared error of ocean cells
    ocean = series.values[:, series.mask].astype(float)
    for lead, persistence, mean in ((1, 0.389, 0.685), (3, 0.614, 0.671), (6, 0.717, 0.656), (12, 0.688, 0.628)):
        targets = ocean[338 + lead :]
        assert abs(np.sqrt(np.square(targets - ocean[338 : 399 - lead]).mean()) - persistence) < 6e-4
        assert abs(np.sqrt(np.square(targets - ocean[:279].mean(0)).mean()) - mean) < 6e-4


def test_files_of_sea_surface_temperature_that_are_something_else(monkeypatch, tmp_path):
    with pytest.raises(DataNotFoundError, match=r"sst_pacific.npz was not found in .*TSMODELS_DATA"):
        load_sst(data_dir=tmp_path)
    (tmp_path / "spatiotemporal").mkdir()
    file = tmp_path / "spatiotemporal" / "sst_pacific.npz"
    file.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="damaged or another file"):
        load_sst(data_dir=tmp_path)
    monkeypatch.setenv("TSMODELS_DATA", str(tmp_path))
    np.savez(file, sst=np.zeros((4, 3, 2)), landmask=np.zeros((2, 3)), lat=np.zeros(2), lon=np.zeros(3))
    with pytest.raises(ValueError, match=r"'sst' has shape \(4, 3, 2\)"):
        load_sst()


def test_pickling():
    data = make(scaling="standard", season=3)
    again = pickle.loads(pickle.dumps(data))
    assert torch.equal(frames(again.train_dataloader()), frames(data.train_dataloader()))


def test_options_are_plain_and_recorded():
    data = make(GriddedSeries(field()), window=np.int64(WINDOW))
    assert dict(data.hparams) == SMALL | {"seed": 0, "season": None, "variable": None}
    assert type(data.hparams["window"]) is int
    assert "window=6" in repr(data) and str(data) == repr(data) and "\n" not in repr(data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window must be at least 1"),
        ({"horizon": 0}, "horizon must be at least 1"),
        ({"window": 38}, "the train part has room for 40 frames where a window needs 41"),
        ({"horizon": 11}, "the val part has room for 10 frames where a window needs 11"),
        ({"window": 100}, "shorten them"),
        ({"split": (40, 58)}, "the test part has room for 2 frames where a window needs 3"),
        ({"split": ("2000-01", "2001-01")}, "split holds dates"),
        ({"split": 0.8}, "split must be"),
        ({"season": 0}, "season must be at least 1"),
        ({"season": 41}, "season = 41 is longer than the training part, 40 frames"),
        ({"scaling": "minmax"}, "scaling must be one of"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"variable": "sst"}, "variable names a variable of a netCDF file"),
    ],
    ids=lambda value: "-".join(map(str, value.items())) if isinstance(value, dict) else None,
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_data_that_cannot_be_used(mask):
    given = field()[:, 0]
    with pytest.raises(ValueError, match="mask covers everything"):
        make(given, mask=np.zeros_like(mask))
    with pytest.raises(ValueError, match="mask covers everything"):
        make(np.full_like(given, np.nan))
    with pytest.raises(TypeError, match="mask must be bool"):
        make(given, mask=mask.astype(int))
    with pytest.raises(ValueError, match=r"mask must be \(lat, lon\) = \(5, 7\) .*, got \(7, 5\)"):
        make(given, mask=mask.T)
    with pytest.raises(ValueError, match="got shape"):
        make(given[0])
    with pytest.raises(TypeError, match="data must be real numbers"):
        make(given.astype(complex))
    with pytest.raises(ValueError, match=r"all frames must be of one size, got \(4, 7\), \(5, 7\)"):
        make([*given[:-1], given[-1, :4]])
    holes = given.copy()
    holes[3, 0, 0] = np.nan
    with pytest.raises(ValueError, match="1 values of cells that count are missing or infinite: fill them in"):
        make(holes)
