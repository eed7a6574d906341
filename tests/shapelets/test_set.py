"""What can be done with a set of shapelets."""

import json
import pickle
import subprocess
import sys
import warnings
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from tsmodels.shapelets import ShapeletSet, ShapeletWarning, discover_shapelets


@pytest.fixture
def shapelets(problem):
    return discover_shapelets(*problem, n_per_class=5)


def by_hand(shapelet, X, case):
    """Distance and place of one shapelet in one series, window by window."""
    v, s, q = shapelet.channel[0], shapelet.start[0], shapelet.values[0]
    x = (X[case, v] - shapelet.mean[v]) / shapelet.std[v]
    found = []
    for a in range(max(0, s - shapelet.window), min(len(x) - len(q), s + shapelet.window) + 1):
        piece = x[a : a + len(q)]
        low, high = sorted((np.diff(each) ** 2).sum() + 1e-3 for each in (q, piece))
        found.append((np.sqrt(((q - piece) ** 2).sum() * high / low), a))
    return min(found, default=(np.inf, -1))


def test_distances_and_matches(shapelets, problem):
    X, _ = problem
    distances, matches = shapelets.distances(X), shapelets.matches(X)
    assert distances.shape == matches.shape == (12, 10)
    expected = [[by_hand(shapelet, X, case) for shapelet in shapelets] for case in range(12)]
    assert distances == pytest.approx(np.array(expected)[..., 0], abs=1e-9)
    assert matches.tolist() == np.array(expected, dtype=int)[..., 1].tolist()
    own = distances[shapelets.series, np.arange(10)]
    assert own == pytest.approx(np.zeros(10), abs=1e-9)
    assert matches[shapelets.series, np.arange(10)].tolist() == shapelets.start.tolist()


def test_thresholds_separate_as_the_gain_says(shapelets, problem):
    X, y = problem
    near = shapelets.distances(X) < shapelets.threshold
    for column, shapelet in zip(near.T, shapelets, strict=True):
        if shapelet.gain[0] == shapelets.gain.max():
            assert (column == (y == shapelet.label[0])).all()


def test_a_series_is_measured_without_regard_to_the_others(shapelets, problem, monkeypatch):
    from tsmodels.shapelets import _set

    X, _ = problem
    distances = shapelets.distances(X)
    monkeypatch.setattr(_set, "_CASES_AT_ONCE", 5)
    assert (shapelets.distances(X) == distances).all()
    assert (shapelets.distances(X[7:8]) == distances[7]).all()
    padded = np.pad(X, ((0, 0), (0, 0), (0, 3)), constant_values=np.nan)
    assert (shapelets.distances(list(padded)) == distances).all()
    assert shapelets.distances(X[:0]).shape == (0, 10)
    X[11, 1, 3] = np.inf
    with pytest.raises(ValueError, match="X holds infinite values, the first in case 11, channel 1, time point 3"):
        shapelets.distances(X)


def test_a_series_without_room_is_infinitely_far(shapelets):
    longest = shapelets.length.max()
    short = np.zeros((1, 2, longest - 1))
    no_room = shapelets.length == longest
    assert np.isinf(shapelets.distances(short)[0, no_room]).all()
    assert (shapelets.matches(short)[0, no_room] == -1).all()


def test_no_match_lies_in_padding(shapelets, problem):
    X, _ = problem
    X[:, :, :11], X[:, :, 27:] = np.nan, np.nan
    matches = shapelets.matches(X)
    found = matches >= 0
    assert found.any()
    assert (matches[found] >= 11).all()
    assert ((matches + shapelets.length)[found] <= 27).all()


def test_the_wrong_number_of_channels_is_named(shapelets, problem):
    with pytest.raises(ValueError, match="X has 1 channels, but the shapelets are of 2"):
        shapelets.distances(problem[0][:, :1])


def test_slices(shapelets):
    assert len(shapelets) == 10
    assert len(list(shapelets)) == 10
    for index in (3, -7, [3], slice(3, 4), np.arange(10) == 3):
        one = shapelets[index]
        assert len(one) == 1
        assert (one.start[0], one.label[0], one.values[0].tolist()) == (
            shapelets.start[3],
            shapelets.label[3],
            shapelets.values[3].tolist(),
        )
    assert shapelets[[4, 2]].start.tolist() == shapelets.start[[4, 2]].tolist()
    assert len(shapelets[:0]) == 0
    with pytest.raises(IndexError):
        shapelets[10]
    with pytest.raises(FrozenInstanceError):
        shapelets.window = 3


def test_filters(shapelets):
    assert shapelets.filter(label="b").label.tolist() == ["b"] * 5
    assert len(shapelets.filter(label=["a", "b"])) == 10
    assert set(shapelets.filter(channel=1).channel) == {1}
    assert shapelets.filter(channel=[0, 1]) == shapelets
    assert shapelets.filter(top=2) == shapelets[[0, 1, 5, 6]]
    of_channel = shapelets.filter(channel=0)
    assert shapelets.filter(channel=0, top=1) == of_channel.best()
    assert shapelets.filter(label=np.array(["b"])) == shapelets.filter(label="b")
    assert shapelets.best() == shapelets[[0, 5]]
    assert shapelets.filter() == shapelets
    with pytest.raises(ValueError, match=r"label must be one of \['a', 'b'\], got 'c'"):
        shapelets.filter(label="c")
    with pytest.raises(ValueError, match="channel must be from 0 to 1, got 2"):
        shapelets.filter(channel=2)
    with pytest.raises(ValueError, match="top must be an integer of at least 1"):
        shapelets.filter(top=0)


def test_the_frame(shapelets):
    frame = shapelets.to_frame()
    names = ["class", "channel", "start", "end", "length", "gain", "threshold", "margin", "score_kind"]
    assert list(frame.columns) == names
    assert frame["class"].tolist() == ["a"] * 5 + ["b"] * 5
    assert (frame["length"] == frame["end"] - frame["start"]).all()
    assert frame["gain"].tolist() == shapelets.gain.tolist()


def test_it_describes_itself_in_a_line(shapelets):
    assert repr(shapelets) == "ShapeletSet(10 shapelets, 2 classes, 2 channels, window=8)"


def test_equality_is_of_all_but_the_seconds(shapelets):
    assert shapelets == replace(shapelets, seconds={})
    assert shapelets != shapelets[:9]
    assert shapelets != replace(shapelets, window=9)
    assert shapelets != replace(shapelets, gain=shapelets.gain + 1e-16 + shapelets.gain * 1e-15)
    assert shapelets != "shapelets"
    with pytest.raises(TypeError, match="unhashable"):
        hash(shapelets)


def test_merged_sets_hold_each_shapelet_once_best_first(problem):
    X, y = problem
    few, short = discover_shapelets(X, y, n_per_class=3), discover_shapelets(X, y, n_per_class=6, max_length=6)
    both = few.merge(short)
    assert set(both._places()) == set(few._places()) | set(short._places())
    assert len(set(both._places())) == len(both)
    for label in ("a", "b"):
        of_class = both.filter(label=label)
        ranks = list(zip(-of_class.gain, -of_class.margin, strict=True))
        assert ranks == sorted(ranks)
    assert (both.label_code[:-1] <= both.label_code[1:]).all()
    assert both.params["merged"] == [short.params]
    assert both.seconds["scores"] == few.seconds["scores"] + short.seconds["scores"]
    assert few.merge(few) == few


@pytest.mark.parametrize(
    ("options", "differs"),
    [({"window": 3}, "window"), ({"complexity": False}, "complexity"), ({"normalize": None}, "mean")],
)
def test_sets_that_measure_otherwise_do_not_merge(shapelets, problem, options, differs):
    with pytest.raises(ValueError, match=f"other differs in {differs}"):
        shapelets.merge(discover_shapelets(*problem, **options))


def test_sets_of_other_training_series_do_not_merge(shapelets, problem):
    X, y = problem
    with pytest.raises(ValueError, match="other differs in fingerprint"):
        shapelets.merge(discover_shapelets(X, np.where(y == "a", "b", "a")))


def test_series_of_the_training_set_are_recognised(shapelets, problem):
    X, y = problem
    new = np.random.default_rng(1).normal(size=(3, 2, 40))
    assert shapelets.contains_series(new) == {}
    mixed = np.concatenate([new, X[4:5], new, X[:1]])
    assert list(shapelets.contains_series(mixed)) == [3, 7]
    assert shapelets.contains_series(mixed)[7] == shapelets.fingerprint.series[0]
    assert list(shapelets.contains_series(X.astype(np.float32))) == list(range(12))
    assert list(shapelets.contains_series(np.pad(X, ((0, 0), (0, 0), (2, 1)), constant_values=np.nan))) == list(
        range(12)
    )
    changed = X.copy()
    changed[0, 0, 0] += 1e-3
    changed[1, 0, 5] = np.nan
    changed[2] = changed[2, ::-1]
    assert list(shapelets.contains_series(changed)) == list(range(3, 12))
    assert discover_shapelets(X, y[::-1]).fingerprint.labels != shapelets.fingerprint.labels


@pytest.mark.parametrize(
    ("one", "other"),
    [("walking", "läuft"), (0, 7), (True, False), (0.5, 1e300)],
    ids=["str", "int", "bool", "float"],
)
def test_a_file_holds_the_set_bit_by_bit(problem, tmp_path, one, other):
    X, y = problem
    labels = np.where(y == "a", one, other)
    labels[-1] = one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShapeletWarning)
        shapelets = discover_shapelets(X, labels, n_per_class=4, null_permutations=2, window=0.3)
    path = tmp_path / "set"  # as it is named, with no ending added
    shapelets.save(path)
    loaded = ShapeletSet.load(path)
    assert loaded == shapelets
    assert loaded.seconds == shapelets.seconds
    assert loaded.label.dtype == shapelets.label.dtype
    assert (loaded.distances(X) == shapelets.distances(X)).all()
    assert [each.name for each in tmp_path.iterdir()] == ["set"]


def test_sets_of_special_kinds_survive_a_file(problem, tmp_path):
    X, y = problem
    y[1:6] = "b"
    with pytest.warns(ShapeletWarning, match="one series in class 'a'"):
        shapelets = discover_shapelets(X, y)
    for kind in (shapelets, shapelets[:0], shapelets.merge(shapelets[:2])):
        kind.save(tmp_path / "set.npz")
        assert ShapeletSet.load(tmp_path / "set.npz") == kind


def test_a_pickle_and_a_file_are_alike(shapelets):
    assert pickle.loads(pickle.dumps(shapelets)) == shapelets


def test_labels_that_need_pickle_are_refused_and_nothing_is_written(problem, tmp_path):
    X, y = problem
    shapelets = discover_shapelets(X, [("class", label) for label in y])
    assert shapelets.filter(label=[("class", "a")]).label.tolist() == [("class", "a")] * 10
    with pytest.raises(TypeError, match="labels of type tuple cannot be saved"):
        shapelets.save(tmp_path / "set.npz")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_save_leaves_the_old_file(shapelets, tmp_path, monkeypatch):
    path = tmp_path / "set.npz"
    shapelets.save(path)

    def interrupted(*args, **arrays):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shapelets[:1].save(path)
    assert [each.name for each in tmp_path.iterdir()] == ["set.npz"]
    assert ShapeletSet.load(path) == shapelets


def _with_facts(path, **changes):
    with np.load(path) as archive:
        arrays = dict(archive)
    facts = json.loads(arrays["facts"].tobytes()) | changes
    np.savez(path, **(arrays | {"facts": np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)}))


def test_other_files_are_refused_by_name(shapelets, tmp_path):
    path = tmp_path / "set.npz"
    with pytest.raises(FileNotFoundError):
        ShapeletSet.load(path)
    for content in (b"", b"no archive", b"PK\x03\x04 cut short"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"set\.npz holds no ShapeletSet, or is damaged"):
            ShapeletSet.load(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match="holds no ShapeletSet, or is damaged"):
        ShapeletSet.load(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="holds no ShapeletSet, or is damaged"):
        ShapeletSet.load(path)
    shapelets.save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match="holds no ShapeletSet, or is damaged"):
        ShapeletSet.load(path)
    shapelets.save(path)
    _with_facts(path, version=2)
    with pytest.raises(ValueError, match="is of format 2, this version of tsmodels reads format 1: update tsmodels"):
        ShapeletSet.load(path)
    _with_facts(path, format="another", version=1)
    with pytest.raises(ValueError, match="holds no ShapeletSet but 'another'"):
        ShapeletSet.load(path)


def test_no_pickle_is_read(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, facts=np.array([{"format": "tsmodels.ShapeletSet"}], dtype=object))
    with pytest.raises(ValueError, match="holds no ShapeletSet, or is damaged: Object arrays cannot be loaded"):
        ShapeletSet.load(path)


def test_only_the_frame_needs_pandas_and_nothing_needs_numba_before_the_discovery():
    script = """
import sys
import tsmodels.shapelets
assert not {"numba", "pandas", "rich", "matplotlib", "sktime"} & set(sys.modules), set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
