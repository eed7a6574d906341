"""Windows of one series, of panels and hierarchies: where they lie, what goes with them, and what is refused."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from tsmodels_datamodules import SeriesScaler, WindowDataModule, WindowDataset, window_loader
from tsmodels_datamodules._window_dataset import WindowRows

DAYS = pd.date_range("2020", periods=100, freq="D")


def ramp(n=100, channels=2, start=0.0):
    """Return a series whose first channel counts the time points, the next likewise from 1000 on ..."""
    return start + np.arange(n)[:, None] + 1000.0 * np.arange(channels)


def plain(y, lookback=6, horizon=3, **options):
    return WindowDataModule(y, lookback, horizon, **({"scaling": "none"} | options))


def joined(loader):
    """Return all batches of a loader as one."""
    batches = list(loader)
    return {key: torch.cat([batch[key] for batch in batches]) for key in batches[0]}


def times(data):
    """Return for each part, and window in its order, all values of its first channel as a list."""
    parts = {}
    for part in ("train", "val", "test"):
        dataset = data.dataset(part)
        batch = dataset.__getitems__(range(len(dataset)))
        parts[part] = torch.cat([batch["x"], batch["y"]], dim=1)[..., 0].tolist()
    return parts


def multi(pieces, keys):
    """Return series of numpy arrays as one frame of two levels."""
    return pd.concat([pd.DataFrame(piece, DAYS[: len(piece)]) for piece in pieces], keys=keys)


def test_where_the_windows_lie():
    parts = times(plain(ramp(), split=(0.6, 0.1, 0.3)))
    assert parts["train"] == [[float(t) for t in range(s, s + 9)] for s in range(60 - 8)]
    assert parts["val"] == [[float(t) for t in range(s, s + 9)] for s in range(54, 70 - 8)]
    assert parts["test"] == [[float(t) for t in range(s, s + 9)] for s in range(64, 100 - 8)]


def test_the_future_of_a_window_lies_in_its_own_part():
    for options in ({}, {"split": (50, 70)}, {"split": (0.34, 0.33, 0.33)}):
        data = plain(ramp(), lookback=20, **options)
        borders = data._series.borders[0]
        for k, windows in enumerate(times(data).values()):
            futures = np.array(windows)[:, 20:]
            assert borders[k] <= futures.min() and futures.max() == borders[k + 1] - 1


@pytest.mark.parametrize("stride", [2, 5, 1000])
def test_stride_thins_out_training_only(stride):
    every, some = times(plain(ramp())), times(plain(ramp(), stride=stride))
    assert some["train"] == every["train"][::stride]
    assert (some["val"], some["test"]) == (every["val"], every["test"])


def test_the_past_is_never_before_the_series_begins():
    data = plain(ramp(40), lookback=20, horizon=2, split=(22, 26))
    assert times(data)["val"][0][0] == 2.0
    data = plain([ramp(40), ramp(60, start=500.0)], lookback=20, horizon=2, split=(30, 35))
    assert data.n_windows == {"train": 18, "val": 8, "test": 4 + 24}


@pytest.mark.parametrize(
    ("fractions", "borders"),
    [((0.7, 0.1, 0.2), (69, 80)), ((0.7, 0.0, 0.3), (69, 69)), ((0.8, 0.2, 0), (79, 99)), ((1, 0, 0), (99, 99))],
)
def test_rounding_of_fractions(fractions, borders):
    """As the literature rounds: train and test down, validation the rest."""
    data = plain(ramp(99), split=fractions)
    assert tuple(data._series.borders[0][1:3]) == borders


def test_fractions_are_not_the_victims_of_floating_point():
    assert plain(ramp(100), split=(0.29, 0.13, 0.58))._series.borders[0].tolist() == [0, 29, 42, 100]  # 0.29 * 100 < 29


@pytest.mark.parametrize("to_index", [lambda days: days, lambda days: days.to_period(), lambda d: d.tz_localize("UTC")])
@pytest.mark.parametrize("kind", [str, pd.Timestamp, lambda date: pd.Timestamp(date).to_pydatetime()])
def test_dates_and_positions_are_the_same_split(to_index, kind):
    y = pd.DataFrame(ramp(), to_index(DAYS))
    by_date = plain(y, split=(kind("2020-03-01"), kind("2020-03-20")))
    assert times(by_date) == times(plain(y, split=(60, 79))) == times(plain(y, split=(-40, -21)))


def test_dates_split_a_panel_on_one_day_and_positions_each_series():
    y = multi([ramp(100), ramp(80, start=500.0)], ["a", "b"])
    assert plain(y, split=("2020-03-01", "2020-03-11"))._series.borders.tolist() == [[0, 60, 70, 100], [0, 60, 70, 80]]
    assert plain(y, split=(-20, -10))._series.borders.tolist() == [[0, 80, 90, 100], [0, 60, 70, 80]]
    assert plain(y, split=(0.5, 0.2, 0.3))._series.borders.tolist() == [[0, 50, 70, 100], [0, 40, 56, 80]]


def test_a_short_series_keeps_its_test_part():
    data = plain([ramp(100), ramp(40, start=500.0)], split=(60, -10))
    assert data._series.borders.tolist() == [[0, 60, 90, 100], [0, 30, 30, 40]]
    data = plain([ramp(100), ramp(8, start=500.0)], split=(-20, -10))
    assert data._series.borders.tolist() == [[0, 80, 90, 100], [0, 0, 0, 8]] and data.n_skipped == 1


def test_dates_in_the_wrong_order_or_form():
    y = pd.DataFrame(ramp(), DAYS)
    with pytest.raises(ValueError, match="split: validation starts after"):
        plain(y, split=("2020-03-20", "2020-03-01"))
    with pytest.raises(ValueError, match="split: 'soon' is no date"):
        plain(y, split=("soon", "later"))
    with pytest.raises(ValueError, match=r"split: '2020-03-01 00:00:00.*' is no date"):
        plain(y, split=(pd.Timestamp("2020-03-01", tz="UTC"), pd.Timestamp("2020-03-20", tz="UTC")))
    with pytest.raises(ValueError, match="split holds dates"):
        plain(ramp(), split=("2020-03-01", "2020-03-20"))


@pytest.mark.parametrize("form", ["list", "frames", "levels", "hierarchy"])
def test_no_window_crosses_series(form):
    pieces = [ramp(n, start=10000.0 * i) for i, n in enumerate((50, 40, 70))]
    y = pieces
    if form == "frames":
        y = [pd.DataFrame(piece, DAYS[: len(piece)]) for piece in pieces]
    elif form != "list":
        y = multi(pieces, ["u", "v", "w"] if form == "levels" else [("x", "u"), ("x", "v"), ("z", "u")])
    data = plain(y, split=(0.6, 0.2, 0.2), missing="ffill")
    assert data.n_series == 3 and data.n_skipped == 0
    single = [times(plain(piece, split=(0.6, 0.2, 0.2))) for piece in pieces]
    for part, windows in times(data).items():
        assert (np.diff(windows) == 1).all()
        assert windows == [window for alone in single for window in alone[part]]


def test_short_series_of_a_panel_are_skipped_and_counted():
    data = plain([ramp(100), ramp(10, start=500.0), ramp(12, start=900.0)], split=(0.75, 0.1, 0.15))
    assert data.n_skipped == 1 and data.n_windows["train"] == 75 - 8 + 1  # 12 * 0.75 = 9 is just long enough
    assert max(map(max, times(data)["train"])) == 908.0
    assert len(joined(data.predict_dataloader())["x"]) == 3


def test_scaling_is_fitted_on_the_training_part():
    rng = np.random.default_rng(0)
    pieces = [rng.normal(size=(n, 2)) * [1, 30] + [5, -400] for n in (50, 80)]
    data = WindowDataModule(pieces, 6, 3, split=(0.5, 0.2, 0.3))
    train = np.concatenate([pieces[0][:25], pieces[1][:40]])
    np.testing.assert_allclose(data.scaler.mean_, train.mean(0))
    np.testing.assert_allclose(data.scaler.scale_, train.std(0))
    last = joined(data.predict_dataloader())["x"]
    np.testing.assert_allclose(data.scaler.inverse(last)[1], pieces[1][-6:], rtol=1e-5)


def test_a_small_change_on_a_large_level_survives():
    y = 1e9 + np.random.default_rng(0).normal(size=(100, 1))
    data = WindowDataModule(y, 6, 3, split=(0.6, 0.2, 0.2))
    window = data.dataset("train")[0]["x"]
    np.testing.assert_allclose(window, (y[:6] - y[:60].mean()) / y[:60].std(), atol=1e-5)


def test_a_constant_channel_is_centred():
    y = ramp()
    y[:, 1] = 0.1
    data = WindowDataModule(y, 6, 3)
    assert data.scaler.scale_[1] == 1
    np.testing.assert_allclose(joined(data.train_dataloader())["x"][..., 1], 0, atol=1e-12)
    np.testing.assert_allclose(data.scaler.inverse(torch.zeros(1, 3, 2))[..., 1], 0.1)


def test_the_scaler_along_another_axis():
    scaler = SeriesScaler().fit(torch.from_numpy(ramp(10, 3)))
    values = torch.randn(4, 5, 3, dtype=torch.float64)
    quantiles = torch.stack([values, values + 1], dim=-1)
    assert torch.equal(scaler.inverse(quantiles, dim=-2)[..., 0], scaler.inverse(values))
    torch.testing.assert_close(scaler.transform(scaler.inverse(quantiles, dim=-2), dim=-2), quantiles)
    again = pickle.loads(pickle.dumps(scaler))
    assert torch.equal(again.inverse(values), scaler.inverse(values))
    with pytest.raises(ValueError, match=r"axis -1 of the values .* has 2 channels, the scaler was fitted on 3"):
        scaler.inverse(quantiles)
    with pytest.raises(RuntimeError, match="not fitted"):
        SeriesScaler().inverse(values)
    with pytest.raises(ValueError, match="scaling must be one of"):
        SeriesScaler("robust")


def holes():
    """Return a series with gaps at the beginning, in the training part and across the start of validation (60)."""
    y = ramp()
    y[[0, 1, 30, 31], 0] = np.nan
    y[58:62, 1] = np.nan
    return y


def test_missing_values_are_an_error_that_names_the_options():
    y = pd.DataFrame(holes(), DAYS, ["load", "heat"])
    with pytest.raises(ValueError, match=r"y has 8 missing values.*'load'.*missing='ffill'.*missing='mask'"):
        plain(y)
    with pytest.raises(ValueError, match=r"known has 8 missing values.*missing='ffill'"):
        plain(ramp(), known=y, missing="mask")


def test_masks():
    data = WindowDataModule(holes(), 6, 3, split=(0.6, 0.2, 0.2), missing="mask", scaling="standard")
    observed = ~np.isnan(holes())
    dataset = data.dataset("val")
    batch = dataset.__getitems__(range(len(dataset)))
    for i in range(len(dataset)):
        assert batch["mask"][i].tolist() == observed[54 + i : 60 + i].tolist()
        assert batch["y_mask"][i].tolist() == observed[60 + i : 63 + i].tolist()
    assert (batch["x"][~batch["mask"]] == 0).all() and (batch["y"][~batch["y_mask"]] == 0).all()
    np.testing.assert_allclose(data.scaler.mean_, np.nanmean(holes()[:60], axis=0))
    predict = joined(data.predict_dataloader())
    assert predict.keys() == {"x", "mask"} and predict["mask"].all()


def test_no_masks_where_nothing_is_missing():
    assert plain(ramp(), missing="mask").dataset("train")[0].keys() == {"x", "y"}


def test_forward_fill_takes_nothing_from_later_parts():
    filled = plain(holes(), split=(0.6, 0.2, 0.2), missing="ffill")._series.rows.values
    assert filled[:3, 0].tolist() == [2.0, 2.0, 2.0] and filled[29:33, 0].tolist() == [29.0, 29.0, 29.0, 32.0]
    assert filled[57:63, 1].tolist() == [1057.0] * 5 + [1062.0]
    assert "mask" not in plain(holes(), missing="ffill").dataset("train")[0]


def test_a_series_that_begins_with_gaps_and_has_no_training_value():
    y = [ramp(), ramp(start=500.0)]
    y[1][:70, 1] = np.nan
    with pytest.raises(ValueError, match="channel '1' of series 1 of y begins with missing"):
        plain(y, missing="ffill")
    assert plain(y, missing="mask").n_windows["train"] == 2 * (70 - 8)


@pytest.mark.parametrize("missing", ["error", "mask", "ffill"])
def test_an_empty_channel(missing):
    y = pd.DataFrame(ramp(), DAYS, ["load", "heat"])
    y.loc[: DAYS[80], "heat"] = np.nan
    with pytest.raises(ValueError, match="channel 'heat' of y has no observed value in the training part"):
        plain(y, missing=missing)


def covariates(form, ahead):
    """Return series of two instances, and covariates known `ahead` points longer that count like them."""
    pieces, known = [ramp(60), ramp(40, start=5000.0)], [ramp(60 + ahead, 3), ramp(40 + ahead, 3, start=5000.0)]
    if form == "one":
        return pieces[0], known[0]
    if form == "list":
        return pieces, known
    early = [np.concatenate([one[:5] - 5, one]) for one in known]  # begins before the series
    frames = [pd.DataFrame(one, pd.date_range(DAYS[0] - 5 * DAYS.freq, periods=len(one))) for one in early]
    if form == "frames":
        return [pd.DataFrame(piece, DAYS[: len(piece)]) for piece in pieces], frames
    return multi(pieces, ["b", "a"]), pd.concat(frames[::-1], keys=["a", "b"])  # in another order


@pytest.mark.parametrize("form", ["one", "list", "frames", "levels"])
@pytest.mark.parametrize("ahead", [0, 3, 9])
def test_covariates_are_aligned(form, ahead):
    y, known = covariates(form, ahead)
    data = plain(y, known=known, past=known, split=(0.6, 0.2, 0.2))
    assert (data.n_exogenous, data.n_past, data.n_static) == (3, 3, 0)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        batch = joined(loader)
        assert batch["exog"].shape[1:] == (9, 3) and batch["past"].shape[1:] == (6, 3)
        assert torch.equal(batch["exog"][..., 0], torch.cat([batch["x"], batch["y"]], dim=1)[..., 0])
        assert torch.equal(batch["past"][..., 0], batch["x"][..., 0])
        assert torch.equal(batch["past"][..., 2], batch["x"][..., 0] + 2000)
    if not ahead:
        with pytest.raises(ValueError, match="known must reach horizon = 3 time points beyond"):
            data.predict_dataloader()
    else:
        batch = joined(data.predict_dataloader())
        assert torch.equal(batch["exog"][:, :6, 0], batch["x"][..., 0])
        assert torch.equal(batch["exog"][:, 6:, 0], batch["x"][:, -1:, 0] + torch.tensor([1.0, 2.0, 3.0]))


def test_covariates_are_scaled_by_their_own_training_part():
    known = np.random.default_rng(0).normal(size=(110, 1)) * 7 + 40
    changed = known.copy()
    changed[60:] *= 100
    batches = []
    for one in (known, changed):
        data = WindowDataModule(ramp(), 6, 3, known=one, past=one, split=(0.6, 0.2, 0.2))
        dataset = data.dataset("train")
        batches.append(dataset.__getitems__(range(len(dataset))))
    assert all(torch.equal(batches[0][key], batches[1][key]) for key in batches[0])
    expected = (known[:9] - known[:60].mean()) / known[:60].std()
    np.testing.assert_allclose(batches[0]["exog"][0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (ramp(99), "known has 99 time points for series 0, y has 100: known must cover"),
        ([ramp(), ramp()], "known holds 2 series, y 1"),
        (pd.DataFrame(ramp(99), DAYS[:-1]), "known does not cover y: it lacks 1 time points.*2020-04-09"),
        (pd.DataFrame(ramp(99), DAYS[1:]), "known does not cover y: it lacks 1 time points.*2020-01-01"),
        (pd.DataFrame(ramp(), DAYS[::-1]), r"known is not sorted.*known.sort_index\(\)"),
        (pd.DataFrame(ramp(), DAYS.shift(3, "h")), "known does not cover y: it lacks 100"),
        (pd.DataFrame(ramp(240), pd.date_range("2020", periods=240, freq="12h")), "time step of known"),
        (pd.DataFrame(ramp(), DAYS.to_period()), "known does not cover y|index of known cannot be compared"),
    ],
)
@pytest.mark.parametrize("argument", ["known", "past"])
def test_covariates_that_do_not_fit(known, message, argument):
    with pytest.raises(ValueError, match=message.replace("known", argument)):
        plain(pd.DataFrame(ramp(), DAYS), **{argument: known})


def test_covariates_that_lack_a_series():
    y, known = covariates("levels", 0)
    with pytest.raises(ValueError, match="known lacks 1 series of y, the first is 'b'"):
        plain(y, known=known.rename({"b": "c"}))


@pytest.mark.parametrize("form", ["array", "tensor", "frame", "other order", "series"])
def test_static_features_go_with_their_series(form):
    y = multi([ramp(60), ramp(40, start=5000.0), ramp(50, start=9000.0)], ["b", "a", "c"])
    static = pd.DataFrame({"size": [1.0, 5.0, 9.0], "kind": [0, 1, 0]}, ["b", "a", "c"])
    given = {
        "array": static.to_numpy(),
        "tensor": torch.tensor(static.to_numpy().tolist(), requires_grad=True),
        "frame": static,
        "other order": pd.concat(
            [static.loc[["c", "a"]], static.loc[["c"]].rename({"c": "unused"}), static.loc[["b"]]]
        ),
        "series": static["size"],
    }[form]
    data = plain(y, static=given, split=(0.6, 0.2, 0.2))
    assert data.n_static == (1 if form == "series" else 2)
    batch = joined(data.train_dataloader())
    sizes = torch.tensor([1.0, 5.0, 9.0])[
        torch.bucketize(batch["x"][:, 0, 0].contiguous(), torch.tensor([4999.0, 8999.0]))
    ]
    assert torch.equal(batch["static"][:, 0], sizes)
    assert joined(data.predict_dataloader())["static"][:, 0].tolist() == [1.0, 5.0, 9.0]
    scaled = WindowDataModule(y, 6, 3, static=given, split=(0.6, 0.2, 0.2))
    np.testing.assert_allclose(joined(scaled.predict_dataloader())["static"][:, 0].mean(), 0, atol=1e-6)


def test_static_features_of_a_hierarchy():
    y = multi([ramp(60), ramp(60, start=500.0)], [("x", "u"), ("z", "u")])
    static = pd.DataFrame({"size": [9.0, 1.0]}, pd.MultiIndex.from_tuples([("z", "u"), ("x", "u")]))
    assert plain(y, static=static)._series.rows.static.flatten().tolist() == [1.0, 9.0]


@pytest.mark.parametrize(
    ("static", "kind", "message"),
    [
        (np.zeros((3, 1)), ValueError, r"static has the shape \(3, 1\), expected .* 2 series"),
        (np.zeros(2), ValueError, r"static has the shape \(2,\)"),
        ([["red"], ["blue"]], TypeError, "encode categories"),
        ([[np.nan], [1.0]], ValueError, "static has missing"),
        (pd.DataFrame({"s": [1.0, 2.0]}, ["a", "c"]), ValueError, "static lacks a row for series 'b'"),
        (pd.DataFrame({"s": [1.0, 2.0, 3.0]}, ["a", "b", "b"]), ValueError, "static repeats"),
    ],
)
def test_static_features_that_do_not_fit(static, kind, message):
    with pytest.raises(kind, match=message):
        plain(multi([ramp(), ramp()], ["a", "b"]), static=static)


def test_prediction_from_series_shorter_than_the_lookback():
    y = [ramp(60), ramp(4, start=500.0)]
    known = [ramp(63), ramp(7, start=500.0)]
    data = plain(y, missing="mask", known=known, past=y)
    batch = joined(data.predict_dataloader())
    assert batch["x"][1, :, 0].tolist() == batch["past"][1, :, 0].tolist() == [500.0, 500.0, 500.0, 501.0, 502.0, 503.0]
    assert batch["mask"][1].any(dim=1).tolist() == [False, False, True, True, True, True] and batch["mask"][0].all()
    assert batch["exog"][1, :, 0].tolist() == [500, 500, 500, 501, 502, 503, 504, 505, 506]


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (ramp(20), {"lookback": 24}, "y has 20 time points, at most 14 .*train part.*lookback . horizon = 27"),
        (ramp(20), {"horizon": 30}, "y has 20 time points, .*lookback . horizon = 36"),
        ([ramp(10), ramp(12)], {"lookback": 24}, "the longest series has 12, .*lookback . horizon = 27"),
        (ramp(100), {"horizon": 15}, "y has 100 time points, at most 10 .*val part.*horizon = 15"),
        (ramp(100), {"split": (80, 99)}, "at most 1 of a series in the test part.*horizon = 3"),
        (ramp(100), {"split": (150, 170)}, "at most 0 of a series in the val part"),
        (ramp(100), {"split": (0, 50)}, "no series of y has a training part"),
    ],
)
def test_series_too_short(y, options, message):
    with pytest.raises(ValueError, match=message):
        plain(y, **options)


def test_too_large_for_float32():
    with pytest.raises(ValueError, match="too large for float32"):
        plain(ramp() * 1e37)


def test_an_unknown_part():
    with pytest.raises(ValueError, match="part must be one of 'train', 'val', 'test'"):
        plain(ramp()).dataset("training")


def storages(value, found=None):
    """Return the bytes of every tensor storage and array an object reaches, by their address."""
    found = {} if found is None else found
    if isinstance(value, torch.Tensor):
        found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
    elif isinstance(value, np.ndarray):
        found[value.__array_interface__["data"][0]] = value.nbytes
    elif isinstance(value, dict):
        for one in value.values():
            storages(one, found)
    elif isinstance(value, (list, tuple)):
        for one in value:
            storages(one, found)
    elif hasattr(value, "__dict__") and type(value).__module__.startswith("tsmodels_datamodules"):
        storages(vars(value), found)
    return found


def test_windows_take_no_memory():
    """ETTm1's size and a lookback of 336: the windows as copies would be 430 times the series."""
    y = np.random.default_rng(0).normal(size=(69680, 7)).astype(np.float32)
    data = WindowDataModule(y, 336, 96)
    data.setup()
    loaders = [data.train_dataloader(), data.val_dataloader(), data.test_dataloader(), data.predict_dataloader()]
    assert sum(data.n_windows.values()) > 68000
    assert sum(storages(data).values()) < 1.1 * y.nbytes
    values = data._series.rows.values
    for loader in loaders[:3]:
        assert loader.dataset.rows.values.data_ptr() == values.data_ptr()
        assert sum(storages(loader.dataset).values()) < 1.1 * y.nbytes


def test_windows_are_gathered_lazily():
    data = plain(ramp())
    dataset = data.dataset("train")
    data._series.rows.values[10, 0] = -1.0
    assert dataset[10]["x"][0, 0] == -1.0 and dataset[4]["x"][-1, 1] == 1009.0
    batch = dataset.__getitems__([10])
    batch["x"][:] = 7.0
    assert dataset[10]["x"][0, 0] == -1.0  # batches are copies


def test_rows_lie_in_one_run_of_memory():
    with pytest.raises(ValueError, match="mask is not contiguous"):
        WindowRows(torch.zeros(4, 2), mask=torch.ones(4, 1).bool().expand(-1, 2))


def test_the_dataset_by_itself():
    rows = WindowRows(torch.arange(20.0)[:, None])
    dataset = WindowDataset(rows, 3, 2, first=[0, 10], counts=[0, 3], stride=2)
    assert len(dataset) == 3
    assert [dataset[i]["x"].flatten().tolist() for i in range(3)] == [[10, 11, 12], [12, 13, 14], [14, 15, 16]]
    assert dataset[-1]["y"].flatten().tolist() == [17, 18]
    for index in (3, -4):
        with pytest.raises(IndexError, match="3 windows"):
            dataset[index]
    series, start = dataset.locate([2, 0])
    assert series.tolist() == [1, 1] and start.tolist() == [14, 10]
    batches = [batch["x"][:, 0, 0].tolist() for batch in window_loader(dataset, 2)]
    assert batches == [[10, 12], [14]]
    first = [batch["x"] for batch in window_loader(dataset, 1, shuffle=True, seed=5)]
    again = [batch["x"] for batch in window_loader(pickle.loads(pickle.dumps(dataset)), 1, shuffle=True, seed=5)]
    assert all(map(torch.equal, first, again))
