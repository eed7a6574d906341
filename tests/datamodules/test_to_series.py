"""Every container of series is read into the same array, or refused with the argument and the remedy in the message."""

import numpy as np
import pandas as pd
import pytest
import torch

from tsmodels_datamodules import to_series

VALUES = np.random.default_rng(0).normal(size=(6, 2))
DAYS = pd.date_range("2020", periods=6, freq="D")
FRAME = pd.DataFrame(VALUES, DAYS, ["a", "b"])


def panel_frame(lengths=(6, 4), levels=("i", "t"), freq="D"):
    """Return a frame of several series, and the series."""
    rng = np.random.default_rng(1)
    frames = [pd.DataFrame(rng.normal(size=(n, 2)), pd.date_range("2020", periods=n, freq=freq)) for n in lengths]
    return pd.concat(frames, keys=["x", "a"], names=list(levels)), frames


@pytest.mark.parametrize(
    "y",
    [
        VALUES,
        torch.from_numpy(VALUES),
        FRAME,
        FRAME.set_axis(DAYS.to_period()),
        FRAME.reset_index(drop=True),
        FRAME.set_axis(pd.RangeIndex(10, 16)),
        FRAME.set_axis(pd.Index([3, 5, 7, 9, 11, 13])),
        FRAME.astype({"a": "Float64"}),
        FRAME.tz_localize("Europe/Berlin"),
        np.asfortranarray(VALUES),
        np.ma.masked_array(VALUES, mask=False),
        [VALUES],
        [FRAME],
    ],
    ids=[
        "array",
        "tensor",
        "dates",
        "periods",
        "rows",
        "range",
        "step 2",
        "nullable",
        "tz",
        "F",
        "masked",
        "list",
        "l",
    ],
)
def test_one_series(y):
    panel = to_series(y)
    assert panel.values.dtype is torch.float64 and panel.values.is_contiguous()
    np.testing.assert_array_equal(panel.values.numpy(), VALUES)
    assert (panel.n_series, panel.n_channels, panel.offsets.tolist(), panel.lengths.tolist()) == (1, 2, [0, 6], [6])
    assert panel.instances == [0] and not panel.has_instances and len(panel.indexes[0]) == 6
    frames = isinstance(y, pd.DataFrame) or (isinstance(y, list) and isinstance(y[0], pd.DataFrame))
    assert panel.has_index == frames and panel.channel_names == (["a", "b"] if frames else ["0", "1"])


def test_the_values_are_a_copy():
    for y in (VALUES.copy(), torch.from_numpy(VALUES.copy()), FRAME.copy()):
        panel = to_series(y)
        panel.values[0, 0] = 99.0
        assert np.asarray(y)[0, 0] == VALUES[0, 0]


@pytest.mark.parametrize("y", [VALUES[:, 0], torch.from_numpy(VALUES[:, 0]), FRAME["a"], list(map(list, "ab"))[:0]])
def test_univariate(y):
    if isinstance(y, list):
        with pytest.raises(ValueError, match="y is empty"):
            to_series(y)
    else:
        panel = to_series(y)
        assert panel.values.shape == (6, 1) and panel.channel_names == (["a"] if isinstance(y, pd.Series) else ["0"])


def test_univariate_series_of_a_list_may_bear_names_of_their_own():
    assert to_series([FRAME["a"], FRAME["b"].iloc[:4]]).lengths.tolist() == [6, 4]


def test_missing_values_stay_nan():
    hole = np.isin(FRAME, VALUES[2, 1])
    for missing in (FRAME.mask(hole), FRAME.astype("Float64").mask(hole)):
        assert to_series(missing).values.isnan().nonzero().tolist() == [[2, 1]]


def test_a_frame_of_two_levels():
    y, frames = panel_frame()
    panel = to_series(y)
    assert panel.instances == ["x", "a"] and panel.has_instances and panel.offsets.tolist() == [0, 6, 10]
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(panel.series(i).numpy(), frame.to_numpy())
        assert panel.indexes[i].equals(frame.index)


def test_a_univariate_series_of_two_levels():
    y, _ = panel_frame()
    assert to_series(y[0]).values.flatten().tolist() == y[0].tolist()


def test_a_hierarchy():
    y, frames = panel_frame()
    y = pd.concat([y, y.iloc[:6]], keys=["up", "down"], names=["region", "i", "t"])
    panel = to_series(y)
    assert panel.instances == [("up", "x"), ("up", "a"), ("down", "x")] and panel.lengths.tolist() == [6, 4, 6]
    np.testing.assert_array_equal(panel.series(2).numpy(), frames[0].to_numpy())


def test_weeks_may_begin_on_different_days():
    weeks = [pd.date_range("2020", periods=4, freq=freq) for freq in ("W-MON", "W-FRI")]
    assert to_series([pd.Series(range(4), week) for week in weeks]).n_series == 2


def test_months_are_a_regular_step_without_a_freq():
    index = pd.DatetimeIndex(pd.date_range("2020", periods=6, freq="MS").to_list())
    assert index.freq is None and to_series(FRAME.set_axis(index)).n_series == 1


def test_summer_time_is_no_irregular_step():
    hours = pd.DatetimeIndex(pd.date_range("2020-03-28", periods=60, freq="h", tz="Europe/Berlin").to_list())
    assert hours.freq is None and to_series(pd.Series(range(60), hours)).n_series == 1


@pytest.mark.parametrize(
    ("y", "kind", "message"),
    [
        ("abc", TypeError, "known is of type str. Pass one series"),
        (None, TypeError, "known is of type NoneType"),
        ([FRAME, "abc"], TypeError, r"known\[1\] is of type str"),
        (FRAME.astype(str), TypeError, "column 'a' of known holds"),
        (np.array([["a"], ["b"]]), TypeError, "known holds <U1"),
        (VALUES * 1j, TypeError, "known holds complex128"),
        (np.zeros((2, 3, 4)), ValueError, r"pass list\(known.swapaxes\(1, 2\)\)"),
        (np.zeros((0, 2)), ValueError, "known is empty: no time point"),
        (FRAME.iloc[:0], ValueError, "known is empty: no time point"),
        (FRAME[[]], ValueError, "known is empty: no channel"),
        ([], ValueError, "known is empty"),
        ([VALUES, VALUES[:, :1]], ValueError, r"known\[0\] has 2, known\[1\] has 1"),
        ([FRAME, FRAME[["b", "a"]]], ValueError, r"known\[1\] has the columns \['b', 'a'\]"),
        (FRAME.replace(VALUES[3, 1], np.inf), ValueError, "infinite.*channel 'b' at time 2020-01-04"),
        (FRAME[::-1], ValueError, r"known is not sorted by time: use known.sort_index\(\)"),
        (FRAME.iloc[[0, 1, 1, 2]], ValueError, r"repeats.*2020-01-02.*known\[~known.index.duplicated\(\)\]"),
        (FRAME.drop(DAYS[2]), ValueError, r"from 2020-01-02 00:00:00 to 2020-01-04.*known.asfreq"),
        (FRAME.set_axis(DAYS.to_period()).drop("2020-01-03"), ValueError, "from 2020-01-02 to 2020-01-04"),
        (FRAME.reset_index(drop=True).drop(4), ValueError, r"from 3 to 5.*known.reindex"),
        (FRAME.set_axis(list("abcdef")), TypeError, r"index of known holds.*known.reset_index\(drop=True\)"),
        (FRAME.set_axis(np.arange(6.0)), TypeError, "index of known holds float64"),
        (FRAME.set_axis([*DAYS[:5], pd.NaT]), ValueError, "missing times"),
        ([FRAME, FRAME.set_axis(pd.date_range("2020", periods=6, freq="h"))], ValueError, r"known\[1\] has the time"),
        (panel_frame()[0].iloc[[0, 6, 1, 7]], ValueError, r"not adjacent: use known.sort_index\(\)"),
        (panel_frame()[0].iloc[[0, 1, 2, 7, 6]], ValueError, r"known \(series 'a'\) is not sorted"),
        (panel_frame()[0].iloc[[0, 1, 2, 6, 6]], ValueError, r"known \(series 'a'\) repeats"),
        (panel_frame()[0].drop([("x", DAYS[2])]), ValueError, r"known \(series 'x'\) has no regular"),
    ],
)
def test_refused(y, kind, message):
    with pytest.raises(kind, match=message):
        to_series(y, "known")
