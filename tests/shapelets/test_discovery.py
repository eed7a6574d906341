"""What is found, against definitions written out here, and what must not change it."""

import threading
import time
import tracemalloc
import warnings

import numpy as np
import pytest
import torch

from tsmodels.shapelets import ShapeletWarning, _search, discover_shapelets, select_window
from tsmodels_kernels._shapelets import Channels, find_candidates, score_candidates

ragged_and_even = pytest.mark.parametrize("ragged", [False, True], ids=["even", "ragged"])


def noise(n_timepoints, n_channels=1, n_classes=2, ragged=False, n_cases=6, seed=0):
    """Random walks; ragged ones have NaN before and after."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_cases, n_channels, n_timepoints)).cumsum(axis=2)
    if ragged:
        for series in X:
            lo = rng.integers(0, n_timepoints // 3 + 1)
            hi = rng.integers(n_timepoints - n_timepoints // 3, n_timepoints + 1)
            series[:, :lo], series[:, hi:] = np.nan, np.nan
    return X, np.arange(n_cases) % n_classes


def chosen_by_hand(X, y, window, n_per_class):
    """Shapelets (class, series, channel, start, end, gain) by loops; of short series with reference kernels."""
    backend = "reference" if X.shape[2] < 20 else "cpu"
    valid = ~np.isnan(X)
    X = (X - np.nanmean(X, axis=(0, 2))[:, None]) / np.nanstd(X, axis=(0, 2))[:, None]
    lo = valid.argmax(axis=2)
    channels = Channels.of(X, lo, lo + valid.sum(axis=2))
    units = np.array([(i, v) for i in range(len(X)) for v in range(X.shape[1])])
    found = find_candidates(channels, units, backend=backend)
    everyone = np.tile(np.arange(len(X)), y.max() + 1), len(X) * np.arange(y.max() + 2)
    scores = score_candidates(channels, y, found, *everyone, window=window, backend=backend)
    rows = []
    for k, (i, v) in enumerate(found.units[found.unit_of()]):
        s, e = int(found.start[k]), int(found.end[k])
        rows.append((y[i], -scores.gain[k], -scores.margin[k], e - s, i, v, s, e))
    selected = []
    for code in range(y.max() + 1):
        ranked = sorted(row for row in rows if row[0] == code)
        taken = []
        for row in ranked:
            if all(row[5] != one[5] or row[7] <= one[6] or row[6] >= one[7] for one in taken):
                taken.append(row)
        taken += [row for row in ranked if row not in taken]
        selected += [(row[0], *row[4:], -row[1]) for row in taken[:n_per_class]]
    return selected


def quiet(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShapeletWarning)
        return discover_shapelets(*args, **options)


@ragged_and_even
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize(
    ("n_timepoints", "windows"),
    [(2, (0, 4)), (3, (0, 4)), (5, (0, 5, 10)), (17, (0, 4, 34)), (62, (0, 4, 62)), (152, (4, 304))],
    ids=lambda value: None if isinstance(value, int) else "",
)
def test_it_is_what_the_rules_say(n_timepoints, windows, n_channels, n_classes, ragged):
    X, y = noise(n_timepoints, n_channels, n_classes, ragged)
    for window in windows:
        found = quiet(X, y, window=window, n_per_class=4)
        expected = chosen_by_hand(X, y, window, 4)
        places = (found.label_code, found.series, found.channel, found.start, found.end)
        assert list(zip(*map(np.ndarray.tolist, places), strict=True)) == [row[:-1] for row in expected]
        assert found.gain == pytest.approx([row[-1] for row in expected], abs=1e-12)


@ragged_and_even
@pytest.mark.parametrize("window", [0, 4, 0.2, None, 400])
@pytest.mark.parametrize(("n_timepoints", "n_channels", "n_classes"), [(62, 3, 2), (152, 1, 3)])
def test_shapelets_are_valid_pieces_of_their_series(n_timepoints, n_channels, n_classes, window, ragged):
    X, y = noise(n_timepoints, n_channels, n_classes, ragged, n_cases=9)
    found = discover_shapelets(X, y, window=window, n_per_class=5)
    longest = (~np.isnan(X)).sum(axis=2).max()
    assert found.n_timepoints == longest
    assert found.window == {0.2: int(0.2 * longest), None: longest, 400: longest}.get(window, window)
    assert found.label_code.tolist() == np.repeat(np.arange(n_classes), 5).tolist()
    assert (found.label == y[found.series]).all()
    for shapelet in found:
        series, channel = shapelet.series[0], shapelet.channel[0]
        piece = X[series, channel, shapelet.start[0] : shapelet.end[0]]
        assert shapelet.values[0] == pytest.approx((piece - found.mean[channel]) / found.std[channel], abs=1e-9)


def test_shapelets_of_a_class_do_not_overlap_in_a_channel_until_they_have_to():
    X, y = noise(62, n_cases=8)
    found = discover_shapelets(X, y, n_per_class=12)
    strict = quiet(X, y, n_per_class=12, allow_overlap_fill=False)
    for label in (0, 1):
        all_of_class, apart = found.filter(label=label), strict.filter(label=label)
        assert len(all_of_class) == 12
        assert 1 < len(apart) < 12
        assert all_of_class[: len(apart)].start.tolist() == apart.start.tolist()
        order = np.argsort(apart.start)
        assert (apart.end[order][:-1] <= apart.start[order][1:]).all()
        gains = all_of_class.gain[len(apart) :]
        assert (np.diff(gains) <= 0).all()


def test_the_reference_backend_finds_the_same():
    X, y = noise(30, 2, ragged=True)
    one, other = (discover_shapelets(X, y, n_per_class=2, backend=each) for each in ("cpu", "reference"))
    for name in ("series", "channel", "start", "end"):
        assert (getattr(one, name) == getattr(other, name)).all()
    assert one.gain == pytest.approx(other.gain, abs=1e-12)


def same_places(one, other):
    return all((getattr(one, name) == getattr(other, name)).all() for name in ("series", "channel", "start", "end"))


def test_units_of_the_channels_do_not_matter(planted):
    X, y, _, _ = planted(0, n_cases=16)
    one = discover_shapelets(X, y)
    other = discover_shapelets(X * np.array([[1e-3], [1.0], [250.0]]) + np.array([[5.0], [-3.0], [1e4]]), y)
    assert same_places(one, other)
    assert (one.gain == other.gain).all()
    raw = discover_shapelets(X * np.array([[1e-3], [1.0], [250.0]]), y, normalize=None)
    assert not same_places(one, raw)
    assert (raw.mean == 0).all()
    assert (raw.std == 1).all()


def test_the_order_of_series_and_channels_does_not_matter(planted):
    X, y, _, _ = planted(1, n_cases=16)
    one = discover_shapelets(X, y, n_per_class=3)
    rng = np.random.default_rng(0)
    cases, channels = rng.permutation(len(X)), rng.permutation(X.shape[1])
    other = discover_shapelets(X[cases][:, channels], y[cases], n_per_class=3)
    assert (cases[other.series] == one.series).all()
    assert (channels[other.channel] == one.channel).all()
    for name in ("start", "end", "gain", "margin", "threshold"):
        assert (getattr(one, name) == getattr(other, name)).all()
    assert (other.mean == one.mean[channels]).all()


def test_names_of_classes_do_not_matter_but_for_their_order(problem):
    X, y = problem
    one, other = discover_shapelets(X, y), discover_shapelets(X, np.where(y == "a", "z", y))
    assert other.classes.tolist() == ["b", "z"]
    for label, renamed in (("a", "z"), ("b", "b")):
        assert same_places(one.filter(label=label), other.filter(label=renamed))


@pytest.mark.parametrize(("before", "after"), [(7, 0), (0, 9), (5, 4)])
def test_padding_moves_the_start_and_nothing_else(problem, before, after):
    X, y = problem
    X[2, 0, :4], X[7, :, 33:], X[3, 1, 15] = np.nan, np.nan, np.nan
    one = discover_shapelets(X, y, n_per_class=4, null_permutations=3)
    other = discover_shapelets(
        np.pad(X, ((0, 0), (0, 0), (before, after)), constant_values=np.nan), y, n_per_class=4, null_permutations=3
    )
    assert (other.start - before == one.start).all()
    for name in ("series", "channel", "length", "gain", "margin", "threshold", "mean", "std"):
        assert (getattr(one, name) == getattr(other, name)).all()
    assert all((a == b).all() for a, b in zip(one.values, other.values, strict=True))
    assert one.fingerprint == other.fingerprint
    assert one.n_timepoints == other.n_timepoints


def test_a_list_is_the_same_as_the_padded_array(problem):
    X, y = problem
    lengths = np.random.default_rng(0).integers(25, 41, len(X))
    padded = X.copy()
    for series, n in zip(padded, lengths, strict=True):
        series[:, n:] = np.nan
    cut = [series[:, :n] for series, n in zip(X, lengths, strict=True)]
    one, other = discover_shapelets(padded, y), discover_shapelets(cut, list(y))
    assert one == other
    assert (one.distances(padded) == other.distances(cut)).all()


def test_gaps_are_filled_and_candidates_that_are_mostly_filled_left_out(problem):
    X, y = problem
    filled = X.copy()
    for case in range(6):
        X[case, 1, 9:17] = np.nan
        filled[case, 1, 9:17] = np.interp(np.arange(9, 17), [8, 17], X[case, 1, [8, 17]])
    found = discover_shapelets(X, y, n_per_class=30, normalize=None)
    of_filled = discover_shapelets(filled, y, n_per_class=30, normalize=None)
    assert found.mean.tolist() == [0, 0]

    def n_missing(shapelet):
        return np.isnan(X[shapelet.series[0], shapelet.channel[0], shapelet.start[0] : shapelet.end[0]]).sum()

    assert max(n_missing(each) / each.length[0] for each in found) <= 0.25
    assert max(n_missing(each) / each.length[0] for each in of_filled) > 0.25
    assert (found.distances(X) == found.distances(filled)).all()


def test_empty_and_constant_channels_pass(problem):
    X, y = problem
    one = discover_shapelets(X, y)
    with_more = np.concatenate([X, np.full_like(X[:, :1], np.nan), np.full_like(X[:, :1], 0.1)], axis=1)
    with_more[3, 0] = np.nan
    found = discover_shapelets(with_more, y)
    assert not np.isin(found.channel, 2).any()
    assert (found.mean[2], found.std[2]) == (0, 1)
    assert found.std[3] == 1
    assert one.gain.max() == found.gain.max()
    constant = found.channel == 3  # of which nothing can be learned
    assert (found.gain[constant] == 0).all()
    assert np.isinf(found.distances(with_more)[3, found.channel == 0]).all()


@pytest.mark.parametrize("n_jobs", [1, 2, 3, -1])
def test_any_number_of_threads_finds_the_same_bits(planted, n_jobs):
    X, y, _, _ = planted(2)
    before = torch.get_num_threads()
    one = discover_shapelets(X, y, window=20, null_permutations=2)
    other = discover_shapelets(X, y, window=20, null_permutations=2, n_jobs=n_jobs)
    assert one == other
    assert (one.distances(X) == one.distances(X, n_jobs=n_jobs)).all()
    assert torch.get_num_threads() == before


def test_changing_a_value_changes_the_set_and_changing_the_seed_does_not(problem):
    X, y = problem
    found = discover_shapelets(X, y, seed=0)
    assert found == discover_shapelets(X, y, seed=0)
    other = discover_shapelets(X, y, seed=1)
    assert other.params["seed"] == 1
    assert same_places(found, other)
    X[0, 1, 12] += 0.01
    assert discover_shapelets(X, y) != found


def test_a_class_of_one_series_is_ranked_by_isolation(planted):
    X, y, _, _ = planted(0, sizes=[1, 19])
    with pytest.warns(ShapeletWarning, match="one series in class 0: its shapelets are ranked by their distance"):
        found = discover_shapelets(X, y, window=20, n_per_class=5)
    assert found.score_kind.tolist() == ["isolation"] * 5 + ["gain"] * 5
    alone = found.filter(label=0)
    assert len(alone) == 5
    assert (alone.series == 0).all()
    assert (alone.gain == 0).all()
    assert np.isnan(alone.threshold).all()
    others = np.median(alone.distances(X[1:]), axis=0) / np.sqrt(alone.length)
    assert alone.margin == pytest.approx(others)
    assert (np.diff(alone.margin) <= 0).all()
    assert planted(0, sizes=[1, 19]).is_hit(alone[0])


def test_a_class_of_two_series_is_scored_like_others(planted):
    X, y, _, _ = planted(0, sizes=[2, 18])
    found = discover_shapelets(X, y, window=20, n_per_class=5)
    assert found.label_code.tolist() == [0] * 5 + [1] * 5
    assert (found.score_kind == "gain").all()
    assert np.isfinite(found.gain).all()
    assert np.isfinite(found.margin).all()


def test_more_shapelets_than_candidates_is_all_candidates_and_a_warning(problem):
    X, y = problem
    X = X[:, :, :6]
    with pytest.warns(ShapeletWarning, match="fewer than 500 candidates in class 'a', 'b'"):
        found = discover_shapelets(X, y, n_per_class=500)
    assert len(found) == found.params["drawn"]["candidates"]
    assert len(set(found._places())) == len(found)


def test_a_class_without_candidates_has_no_shapelets(problem):
    X, y = problem
    X[6:] = np.nan
    with pytest.warns(ShapeletWarning, match="fewer than 10 candidates in class 'b'"):
        found = discover_shapelets(X, y)
    assert found.classes.tolist() == ["a", "b"]
    assert set(found.label) == {"a"}


def test_chance_is_called_by_its_name():
    X, y = np.random.default_rng(0).normal(size=(14, 1, 40)), np.arange(14) % 2
    with pytest.warns(ShapeletWarning, match="of 20 permutations of the labels, as many reach the best gain"):
        found = discover_shapelets(X, y, null_permutations=20)
    assert found.null["gain"].shape == (20, 2)
    reached = (found.null["gain"] >= found.null["observed"]).sum(axis=0)
    assert reached.max() > 0


def test_true_shapelets_are_beyond_what_permuted_labels_gain(planted):
    X, y, _, _ = planted(0)
    found = discover_shapelets(X, y, window=20, null_permutations=20)
    assert found.null["observed"].tolist() == found.best().gain.tolist()
    assert found.null["gain"].max() < 0.6 < found.null["observed"].min()
    again = discover_shapelets(X, y, window=20)
    assert same_places(found, again)
    assert again.null is None


def test_the_null_is_what_permuted_labels_give(problem):
    X, y = problem
    codes = (y == "b").astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShapeletWarning)
        found = discover_shapelets(X, codes, null_permutations=3, seed=5)
        rng = np.random.default_rng(np.random.SeedSequence(5).spawn(3)[2])
        for gains, permuted in zip(found.null["gain"], rng.permuted(np.tile(codes, (3, 1)), axis=1), strict=True):
            best = discover_shapelets(X, permuted, n_per_class=1)
            assert gains == pytest.approx(best.gain, abs=1e-12)


def test_limits_beyond_the_data_are_none(problem):
    X, y = problem
    one = discover_shapelets(X, y, max_candidates=None, max_reference=None)
    for limits in ({}, {"max_candidates": 10**9, "max_reference": 24}):
        other = discover_shapelets(X, y, **limits)
        assert same_places(one, other)
        assert (one.gain == other.gain).all()
        assert one.params["drawn"] == other.params["drawn"]


def test_limits_are_kept_reported_and_drawn_by_seed(planted):
    X, y, _, _ = planted(0, n_cases=60, n_classes=3)
    n_all = discover_shapelets(X, y, window=2, max_candidates=None).params["drawn"]["candidates"]
    cap = n_all // 4
    options = {"window": 2, "max_candidates": cap, "max_reference": 10}
    found = discover_shapelets(X, y, **options)
    drawn = found.params["drawn"]
    assert cap - 100 < drawn["candidates"] <= cap  # whole units of at most 90 candidates
    assert drawn["of_units"] == 180
    assert drawn["units"] < 60
    assert drawn["references"] == [10, 10, 10]
    assert drawn["of_references"] == 60
    assert found == discover_shapelets(X, y, **options)
    assert not same_places(found, discover_shapelets(X, y, **options, seed=1))


def test_every_class_has_candidates_under_any_limit(problem):
    X, y = problem
    found = quiet(X, y, max_candidates=1)
    assert set(found.label) == {"a", "b"}
    assert found.params["drawn"]["units"] == 2


def test_memory_stays_within_what_the_docstring_says():
    X, y = np.random.default_rng(0).normal(size=(150, 4, 400)), np.arange(150) % 2
    discover_shapelets(X[:4], y[:4])  # imports and compilation
    tracemalloc.start()
    try:
        found = discover_shapelets(X, y, window=0, max_candidates=20_000, max_reference=4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.params["drawn"]["candidates"] > 19_000
    assert peak < 40 * X.size + 150 * 20_000 + 10e6


def test_the_window_is_chosen_by_the_mean_gain_of_the_best(planted):
    X, y, _, _ = planted(0)
    window, gains = select_window(X, y, grid=(0, 20, 30), top=4)
    assert window == max(gains, key=gains.get)
    assert gains[20] == discover_shapelets(X, y, window=20, n_per_class=2).gain.mean()
    assert gains[20] > gains[0] + 0.1
    with pytest.raises(TypeError, match="select_window takes no n_per_class"):
        select_window(X, y, n_per_class=3)
    with pytest.raises(ValueError, match="grid must hold"):
        select_window(X, y, grid=())


def test_of_equal_windows_the_first_is_chosen(problem):
    X, y = problem
    assert select_window(X, y, grid=(80, 40, None), top=4)[0] == 80


def test_ctrl_c_leaves_nothing_behind(problem, monkeypatch):
    X, y = problem
    threads = threading.active_count()

    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setenv("FORCE_COLOR", "1")  # rich: draw as in a terminal
    with monkeypatch.context() as patch:
        patch.setattr(_search, "score_candidates", interrupted)
        with pytest.raises(KeyboardInterrupt):
            discover_shapelets(X, y, n_jobs=1)
    for _ in range(50):  # rich tells the thread of its bar to stop, and does not wait for it
        if threading.active_count() <= threads:
            break
        time.sleep(0.1)
    assert threading.active_count() <= threads
    assert torch.get_num_threads() == 1
    assert len(discover_shapelets(X, y)) == 20


def test_the_bar_is_on_stderr_in_a_terminal_only(problem, monkeypatch, capfd):
    X, y = problem
    discover_shapelets(X, y)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    discover_shapelets(X, y, progress=False)
    assert capfd.readouterr() == ("", "")
    discover_shapelets(X, y)
    out, err = capfd.readouterr()
    assert out == ""
    assert "scores" in err


def test_every_stage_is_timed(problem):
    found = discover_shapelets(*problem)
    assert list(found.seconds) == ["normalise", "candidates", "scores", "selection"]
    assert all(seconds >= 0 for seconds in found.seconds.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_per_class": 0}, "n_per_class must be an integer of at least 1, got 0"),
        ({"window": 1.5}, "window as a float is a fraction from 0 to 1, got 1.5"),
        ({"window": -1}, "window must be a number of samples, a fraction of the length, or None, got -1"),
        ({"window": True}, "window must be"),
        ({"point_fraction": 0}, "point_fraction must be above 0 and at most 1"),
        ({"min_points": 2}, "min_points must be an integer of at least 3"),
        ({"min_length": 5, "max_length": 4}, "max_length must be at least min_length, got 4 and 5"),
        ({"normalize": "series"}, "normalize must be 'channel' or None"),
        ({"complexity": 1}, "complexity must be True or False"),
        ({"max_reference": 3}, "max_reference must be an integer of at least 4 or None"),
        ({"max_candidates": 0}, "max_candidates must be an integer of at least 1 or None"),
        ({"null_permutations": -1}, "null_permutations must be an integer of at least 0"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"n_jobs": 0}, "n_jobs must be None, -1 or at least 1, got 0"),
        ({"backend": "gpu"}, "backend must be one of"),
        ({"min_length": 41}, "X has no candidates: no channel of a series has a piece of min_length=41"),
    ],
    ids=lambda value: "" if isinstance(value, str) else "_".join(value),
)
def test_bad_arguments_are_named(problem, options, message):
    with pytest.raises(ValueError, match=message):
        discover_shapelets(*problem, **options)


def test_no_numpy_scalar_is_left_in_the_parameters(problem):
    found = discover_shapelets(*problem, n_per_class=np.int64(2), window=np.float64(0.5), seed=np.uint8(3))
    assert type(found.params["n_per_class"]) is int
    assert type(found.params["window"]) is float
