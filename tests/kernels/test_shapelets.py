"""Important points, candidates and matches: the compiled kernels against the definition, and both by hand."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from tsmodels_kernels import Candidates, Channels, find_candidates, important_points, match_shapelets

BACKENDS = ("cpu", "reference")


def walks(n_cases, n_channels, n_timepoints, *, ragged=False, seed=0):
    rng = np.random.default_rng(seed)
    values = 0.3 * rng.standard_normal((n_cases, n_channels, n_timepoints)).cumsum(-1)
    if not ragged:
        return Channels.of(values)
    lo, behind = (rng.integers(0, n_timepoints // 2 + 1, (n_cases, n_channels)) for _ in range(2))
    return Channels.of(values, lo, np.maximum(lo, n_timepoints - behind))


def all_units(channels):
    return np.stack(np.meshgrid(*map(np.arange, channels.values.shape[:2]), indexing="ij"), -1).reshape(-1, 2)


def exact_points(series, n_points):
    """Important points of integers in exact arithmetic: squared heights are fractions."""
    T = len(series)
    step = Fraction(12, T * T - 1)
    chosen = [0, T - 1]

    def height(a, j, b):
        rise, run = series[b] - series[a], b - a
        return Fraction((rise * (j - a) - (series[j] - series[a]) * run) ** 2, 1) * step / (rise**2 + run**2 * step)

    while len(chosen) < n_points:
        gaps = [(a, j, b) for a, b in pairwise(sorted(chosen)) for j in range(a + 1, b)]
        chosen.append(max(gaps, key=lambda gap: height(*gap))[1])
    return chosen


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_equally_high_points_the_first(backend):
    rng = np.random.default_rng(0)
    for T in (3, 4, 9, 30):
        for values in (2, 3, 9):  # few values: many points are exactly as high as others
            series = [int(value) for value in rng.integers(0, values, T)]
            got = important_points(np.array(series), T, backend=backend)
            assert got.tolist() == exact_points(series, T)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_points_of_random_series(scale):
    for T in (3, 5, 17, 62, 152):
        series = scale * np.random.default_rng(T).standard_normal(T).cumsum()
        for n_points in (2, T // 2, T, 2 * T):
            got = important_points(series, max(2, n_points))
            np.testing.assert_array_equal(got, important_points(series, max(2, n_points), backend="reference"))
            assert len(set(got.tolist())) == len(got) == min(T, max(2, n_points))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("T", [0, 1, 2])
def test_points_of_the_shortest_series(T, backend):
    assert important_points(np.ones(T), 5, backend=backend).tolist() == list(range(T))


@pytest.mark.parametrize("series", [np.zeros(40), np.linspace(3.0, 7.1, 40)], ids=["constant", "line"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_on_a_line_points_follow_one_another(series, backend):
    assert important_points(series, 6, backend=backend).tolist() == [0, 39, 1, 2, 3, 4]


def test_the_highest_peak_is_important_first():
    series = np.zeros(50)
    series[[12, 40]] = 1.0, 3.0
    assert important_points(series, 3).tolist() == [0, 49, 40]


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("T", [1, 2, 3, 5, 17, 62, 152])
def test_candidates_are_those_of_the_definition(T, ragged):
    channels = walks(5, 3, T, ragged=ragged)
    for rules in ({}, {"fraction": 1.0, "min_length": 1}, {"min_points": 3, "min_length": 3, "max_length": 9}):
        got, expected = (find_candidates(channels, all_units(channels), **rules, backend=name) for name in BACKENDS)
        for name in ("units", "offsets", "start", "end"):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
            assert getattr(got, name).dtype == np.int64


def test_candidates_of_an_example_by_hand():
    series = np.array([0.0, 0, -1, 0, 0, 9, 0, 0, 0, 0])
    assert important_points(series, 5).tolist() == [0, 9, 5, 4, 6]  # the peak, then its steeper foot, then the other
    found = find_candidates(Channels.of(series[None, None]), [(0, 0)], fraction=0.5)
    around = [(0, 9), (0, 5), (5, 9)]  # of the points 5, 4, 6 when they were inserted
    beside = [(4, 9), (4, 6)]  # behind 4, when 4, 5, 9 were neighbours; before 6, when 4, 5, 6 were
    assert list(zip(found.start, found.end, strict=True)) == sorted(around + beside)


def test_candidates_are_sorted_distinct_and_inside_the_valid_range():
    channels = walks(6, 2, 100, ragged=True)
    found = find_candidates(channels, all_units(channels))
    for u, (i, v) in enumerate(found.units):
        mine = slice(found.offsets[u], found.offsets[u + 1])
        pairs = list(zip(found.start[mine].tolist(), found.end[mine].tolist(), strict=True))
        assert pairs == sorted(set(pairs))
        length = channels.hi[i, v] - channels.lo[i, v]
        if length >= 3:
            assert 0 < len(pairs) <= 3 * (max(int(0.2 * length), 5) - 2)
        assert all(channels.lo[i, v] <= s and s + 2 <= e <= channels.hi[i, v] for s, e in pairs)


def test_a_short_channel_is_one_candidate_and_an_empty_one_none():
    channels = Channels.of(np.ones((4, 1, 9)), [[3], [3], [3], [3]], [[3], [4], [5], [6]])
    counts = [np.diff(find_candidates(channels, all_units(channels), min_length=n).offsets) for n in (1, 2)]
    assert counts[0].tolist() == [0, 1, 1, 1] and counts[1].tolist() == [0, 0, 1, 1]
    assert find_candidates(channels, [(2, 0)]).start.tolist() == [3]


@pytest.mark.parametrize("shape", [(0, 3, 9), (3, 0, 9), (3, 1, 0)], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing(shape, backend):
    channels = Channels.of(np.empty(shape))
    found = find_candidates(channels, all_units(channels), backend=backend)
    assert len(found) == 0 and len(found.offsets) == shape[0] * shape[1] + 1
    distance, start = match_shapelets(channels, [], [], [], window=3, backend=backend)
    assert distance.shape == start.shape == (shape[0], 0)


# --- the containers


def test_what_is_outside_the_valid_range_is_never_read():
    values = np.random.default_rng(0).standard_normal((2, 1, 9))
    dirty = values.copy()
    dirty[0, 0, :3] = np.nan
    dirty[1, 0, 7:] = np.inf
    clean, channels = (Channels.of(x, [[3], [0]], [[9], [7]]) for x in (values, dirty))
    for name in ("values", "changes", "lo", "hi"):
        np.testing.assert_array_equal(getattr(clean, name), getattr(channels, name))
    expected = [0, 0, 0, 0, *np.cumsum(np.diff(values[0, 0, 3:]) ** 2)]
    np.testing.assert_allclose(channels.changes[0, 0], expected, rtol=1e-14)
    np.testing.assert_allclose(channels.changes[1, 0, :7], [0, *np.cumsum(np.diff(values[1, 0, :7]) ** 2)], rtol=1e-14)


def test_channels_are_a_copy():
    values = np.ones((1, 1, 4))
    channels = Channels.of(values)
    values[:] = 2
    assert (channels.values == 1).all()


def test_some_candidates_and_some_units():
    channels = walks(4, 2, 40)
    whole = find_candidates(channels, all_units(channels))
    wanted = np.random.default_rng(0).random(len(whole)) < 0.3
    wanted[whole.unit_of() == 5] = False
    some = whole.keep(wanted)
    np.testing.assert_array_equal(some.unit_of(), whole.unit_of()[wanted])
    np.testing.assert_array_equal(some.start, whole.start[wanted])
    assert len(some.units) == 8
    part = some.units_slice(2, 7)
    chosen = (some.unit_of() >= 2) & (some.unit_of() < 7)
    np.testing.assert_array_equal(part.units, whole.units[2:7])
    np.testing.assert_array_equal(part.unit_of() + 2, some.unit_of()[chosen])
    np.testing.assert_array_equal(part.end, some.end[chosen])
    assert len(whole.units_slice(8, 20)) == len(whole.units_slice(5, 3)) == 0


# --- matches


SHAPELETS = [np.array([0.3]), np.array([0.1, -0.5, 0.2]), np.linspace(-1, 1, 9) ** 2, np.zeros(40), np.arange(200.0)]


@pytest.mark.parametrize("complexity", [True, False])
@pytest.mark.parametrize("window", [0, 4, 62, 10**9])
@pytest.mark.parametrize("T", [2, 5, 62])
def test_matches_are_those_of_the_definition(T, window, complexity):
    channels = walks(5, 2, T, ragged=True)
    problem = channels, SHAPELETS, [0, 1, 1, 0, 0], [T - 1, 0, T // 2, -3, T + 100]
    options = {"window": window, "complexity": complexity}
    (distance, start), (expected, place) = (match_shapelets(*problem, **options, backend=name) for name in BACKENDS)
    np.testing.assert_allclose(distance, expected, rtol=1e-11)
    np.testing.assert_array_equal(start, place)
    found = start >= 0
    np.testing.assert_array_equal(found, np.isfinite(distance))
    lengths = np.array([len(shapelet) for shapelet in SHAPELETS])
    lo, hi = (bound[:, problem[2]] for bound in (channels.lo, channels.hi))
    assert ((lo <= start) & (start + lengths <= hi) & (abs(start - problem[3]) <= window))[found].all()


def test_a_part_of_a_series_matches_itself():
    channels = walks(3, 1, 80)
    distance, start = match_shapelets(channels, [channels.values[1, 0, 20:45]], [0], [30], window=12)
    assert start[1, 0] == 20 and distance[1, 0] == 0
    assert (distance[[0, 2]] > 0).all()


def test_the_ratio_of_complexities():
    channels = Channels.of([[[0.0, 2.0, 0.0]]])
    (plain, _), (weighed, _) = (
        match_shapelets(channels, [np.zeros(3)], [0], [0], window=0, complexity=complexity)
        for complexity in (False, True)
    )
    np.testing.assert_allclose(plain, 2.0, rtol=1e-15)
    np.testing.assert_allclose(weighed, 2 * np.sqrt(8.001 / 0.001), rtol=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_equal_matches_the_first(backend):
    channels = Channels.of(np.zeros((1, 1, 90)))
    distance, start = match_shapelets(channels, [np.ones(3)], [0], [50], window=45, backend=backend)
    assert start == 5
    np.testing.assert_allclose(distance, np.sqrt(3))


def test_padding_moves_matches_and_changes_nothing_else():
    values = np.random.default_rng(0).standard_normal((2, 1, 50))
    padded = np.pad(values, ((0, 0), (0, 0), (7, 5)), constant_values=np.nan)
    plain = match_shapelets(Channels.of(values), SHAPELETS[:3], [0] * 3, [3, 20, 47], window=9)
    bounds = np.full((2, 1), 7), np.full((2, 1), 57)
    moved = match_shapelets(Channels.of(padded, *bounds), SHAPELETS[:3], [0] * 3, [10, 27, 54], window=9)
    np.testing.assert_array_equal(plain[0], moved[0])
    np.testing.assert_array_equal(plain[1] + 7, moved[1])


# --- refusals


def short_candidates(**changed):
    fields = {
        "units": np.array([[0, 0]]), "offsets": np.array([0, 1]), "start": np.array([0]), "end": np.array([2]),
    }  # fmt: skip
    return Candidates(**(fields | changed))


CHANNELS = Channels.of(np.ones((2, 1, 5)))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Channels.of(np.ones((2, 3))), ValueError, "values must have shape"),
        (lambda: Channels.of(np.full((1, 1, 2), np.nan)), ValueError, "values must be finite"),
        (lambda: Channels.of([[[0.0, 1e200]]]), ValueError, "standardise"),
        (lambda: Channels.of(np.ones((1, 1, 2)), [[1]], [[0]]), ValueError, "0 <= lo <= hi"),
        (lambda: Channels.of(np.ones((1, 1, 2)), [0], [2]), ValueError, "lo must have shape"),
        (lambda: Channels.of(np.ones((1, 1, 2)), [[0.5]]), TypeError, "lo must hold integers"),
        (lambda: important_points([1.0, np.nan], 2), ValueError, "series must be"),
        (lambda: important_points([1.0, 2.0], 1), ValueError, "n_points must be at least 2"),
        (lambda: important_points([1.0, 2.0], 2, backend="auto"), ValueError, "backend must be one of"),
        (lambda: find_candidates(CHANNELS, [0, 0]), ValueError, "units must have shape"),
        (lambda: find_candidates(CHANNELS, [(0, 1)]), ValueError, "channels below 1"),
        (lambda: find_candidates(CHANNELS, [(0, 0)], fraction=1.5), ValueError, "fraction"),
        (lambda: find_candidates(CHANNELS, [(0, 0)], min_points=2), ValueError, "min_points"),
        (lambda: find_candidates(CHANNELS, [(0, 0)], min_length=0), ValueError, "min_length"),
        (lambda: find_candidates(CHANNELS, [(0, 0)], max_length=1), ValueError, "max_length"),
        (lambda: find_candidates(CHANNELS, [(0, 0)], n_threads=0), ValueError, "n_threads"),
        (lambda: short_candidates().keep(np.array([1])), ValueError, "wanted must be a bool array"),
        (lambda: match_shapelets(CHANNELS, [[1.0]], [1], [0], window=1), ValueError, "channel must lie in"),
        (lambda: match_shapelets(CHANNELS, [[1.0]], [0], [0, 1], window=1), ValueError, "start must have shape"),
        (lambda: match_shapelets(CHANNELS, [[]], [0], [0], window=1), ValueError, r"values\[0\] must be"),
        (lambda: match_shapelets(CHANNELS, [[1.0]], [0], [0], window=-1), ValueError, "window must be"),
        (lambda: match_shapelets(CHANNELS, [[1.0]], [0], [0], window=0.5), ValueError, "window must be"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()
