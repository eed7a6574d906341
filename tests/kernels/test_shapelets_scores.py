"""Scores of candidates: against the definition, against published rules, and what must not change them."""

import ctypes
import mmap
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from tsmodels_kernels import Candidates, Channels, find_candidates, score_candidates
from tsmodels_kernels._shapelets import cpu_call

FIELDS = ("gain", "threshold", "margin")


class Problem:
    """Random walks with labels, all their candidates, and every series as a reference of every class."""

    def __init__(self, N, V, T, *, n_classes=2, ragged=False, seed=0):
        rng = np.random.default_rng(seed)
        values = 0.3 * rng.standard_normal((N, V, T)).cumsum(-1)
        self.bounds = (None, None)
        if ragged:
            self.bounds = rng.integers(0, T // 3 + 1, (N, V)), T - rng.integers(0, T // 3 + 1, (N, V))
        self.channels = Channels.of(values, *self.bounds)
        self.labels = np.arange(N) % n_classes
        self.references = np.tile(np.arange(N), n_classes), np.arange(n_classes + 1) * N
        self.candidates = find_candidates(self.channels, [(i, v) for i in range(N) for v in range(V)])
        self.permutations = np.stack([rng.permutation(self.labels) for _ in range(3)])

    def score(self, **options):
        return score_candidates(
            self.channels, self.labels, self.candidates, *self.references, **({"window": 20} | options)
        )


def assert_same(got, expected):
    np.testing.assert_allclose(got.gain, expected.gain, rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.threshold, expected.threshold, rtol=1e-11)
    np.testing.assert_allclose(got.margin, expected.margin, rtol=1e-10, atol=1e-12)
    if expected.null is None:
        assert got.null is None
    else:
        np.testing.assert_allclose(got.null, expected.null, rtol=0, atol=1e-12)


def assert_identical(got, expected):
    for name in (*FIELDS, "null"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("V", [1, 3])
@pytest.mark.parametrize("T", [2, 3, 5, 17])
def test_scores_are_those_of_the_definition(T, V, ragged, n_classes):
    problem = Problem(7, V, T, n_classes=n_classes, ragged=ragged)
    for window in (0, 4, T // 5, T, 2 * T):
        options = {"window": window, "permutations": problem.permutations}
        assert_same(problem.score(**options), problem.score(**options, backend="reference"))


@pytest.mark.parametrize("complexity", [True, False])
@pytest.mark.parametrize(("T", "window", "ragged"), [(62, 12, True), (62, 124, False), (152, 4, True)])
def test_scores_of_longer_series(T, window, ragged, complexity):
    problem = Problem(5, 1, T, ragged=ragged)
    options = {"window": window, "complexity": complexity}
    assert_same(problem.score(**options), problem.score(**options, backend="reference"))


def test_without_permutations_there_is_no_null():
    problem = Problem(4, 1, 17)
    assert problem.score().null is None
    assert problem.score(permutations=np.empty((0, 4), int)).null.shape == (0, 4)


# --- distances


def distances_of(problem, **options):
    """Distance of each candidate to each other series of its channel, by the public function; NaN to its own.

    A class of one series is scored by the median of its distances, here of one, over the square root of the length.
    """
    N, candidates = len(problem.labels), problem.candidates
    found = np.full((len(candidates), N), np.nan)
    series, length = candidates.units[candidates.unit_of(), 0], candidates.end - candidates.start
    for shift in range(1, N):
        others = (np.arange(N) + shift) % N
        scores = score_candidates(
            problem.channels, np.arange(N), candidates, others, np.arange(N + 1), **({"window": 20} | options)
        )
        assert np.isnan(scores.gain).all() and np.isnan(scores.threshold).all()
        found[np.arange(len(candidates)), others[series]] = scores.margin * np.sqrt(length)
    return found


@pytest.mark.parametrize("block", [32, 64, 128, 4096])
@pytest.mark.parametrize(
    ("T", "window", "ragged"), [(17, 17, True), (62, 10, True), (152, 152, False), (152, 45, True)]
)
def test_distances_for_any_block_of_lags(monkeypatch, T, window, ragged, block):
    problem = Problem(3, 1, T, ragged=ragged)
    expected = distances_of(problem, window=window, backend="reference")
    shipped = distances_of(problem, window=window)
    np.testing.assert_allclose(shipped, expected, rtol=1e-11)
    monkeypatch.setattr(cpu_call, "LAGS", block)
    np.testing.assert_array_equal(distances_of(problem, window=window), shipped)


def test_a_subsequence_found_again_has_distance_zero():
    problem = Problem(3, 1, 90)
    values = problem.channels.values.copy()
    values[1, 0, 5:90] = values[0, 0, :85]
    problem.channels = Channels.of(values)
    problem.candidates = find_candidates(problem.channels, [(0, 0)])
    found = distances_of(problem, window=5)
    reached = problem.candidates.end <= 85
    assert (found[reached, 1] == 0).all() and (found[:, 2] > 0).all()


def test_where_no_window_fits_the_distance_is_infinite():
    values = np.random.default_rng(0).standard_normal((4, 1, 30))
    channels = Channels.of(values, hi=[[30], [30], [9], [9]])
    candidate = Candidates(np.array([[0, 0]]), np.array([0, 1]), np.array([2]), np.array([22]))
    for backend in ("cpu", "reference"):
        scores = score_candidates(
            channels, [0, 0, 1, 1], candidate, np.arange(4), [0, 4, 4], window=3, backend=backend
        )  # the other of its class is near, those without a window are far
        np.testing.assert_allclose(scores.gain, np.log2(3) - 2 / 3, rtol=1e-12)
        assert scores.margin == 1 and scores.threshold == np.inf


@pytest.mark.parametrize("ragged", [False, True])
def test_gains_of_given_distances(ragged):
    problem = Problem(6, 2, 40, ragged=ragged)
    N, (references, offsets) = 6, problem.references
    given = distances_of(problem)
    given[given == 0] = np.inf  # the isolation where there is no window
    given = given[~np.isnan(given)].reshape(-1, N - 1)
    found = cpu_call.score_distances(
        given, problem.candidates, problem.labels, references, offsets, problem.permutations, None
    )
    assert_same(problem.score(permutations=problem.permutations), found)


# --- what must not change scores


def test_bitwise_the_same_for_any_number_of_threads():
    problem = Problem(7, 3, 62, n_classes=3, ragged=True)
    options = {"permutations": problem.permutations}
    alone = problem.score(**options, n_threads=1)
    for n_threads in (2, 5):
        assert_identical(problem.score(**options, n_threads=n_threads), alone)
    torch.set_num_threads(3)
    assert_identical(problem.score(**options), alone)
    parts = [problem.candidates.units_slice(lo, lo + 4) for lo in range(0, 21, 4)]
    found = []
    for part in parts:
        problem.candidates = part
        found.append(problem.score(**options))
    for name in FIELDS:
        np.testing.assert_array_equal(np.concatenate([getattr(one, name) for one in found]), getattr(alone, name))
    np.testing.assert_array_equal(np.concatenate([one.null for one in found], 1), alone.null)


def test_few_candidates_at_a_time(monkeypatch):
    """What a long series with many references takes: groups of candidates, and fewer lags in a block."""
    problem = Problem(5, 1, 152)
    whole = problem.score(permutations=problem.permutations)
    monkeypatch.setattr(cpu_call, "DISTANCES", 70)
    monkeypatch.setattr(cpu_call, "SUMS", 2000)
    assert_same(problem.score(permutations=problem.permutations), whole)


STATM = Path("/proc/self/statm")


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read as on Linux")
def test_memory_for_long_series():
    """10 MB for a thread with 18 thousand samples, where more candidates and references need groups of candidates."""
    Problem(4, 1, 30).score()  # compiles
    series = np.random.default_rng(0).standard_normal((1, 1, 17984)).cumsum(-1)
    channels = Channels.of(np.concatenate([series, np.broadcast_to(series[..., ::-1], (60, 1, 17984))]))
    candidates = find_candidates(channels, [(0, 0)])
    assert len(candidates) * 60 > cpu_call.DISTANCES
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before and would be used again
    seen, done = [_resident_bytes()], threading.Event()

    def watch():
        while not done.wait(0.002):
            seen.append(_resident_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        score_candidates(channels, [0] * 2 + [1] * 59, candidates, np.arange(61), [0, 61, 61], window=200)
    finally:
        done.set()
        watcher.join()
    assert 8 * cpu_call.DISTANCES / 2 < max(seen) - seen[0] < 10e6  # at least the distances: they are seen


def _resident_bytes():
    return int(STATM.read_text().split()[1]) * mmap.PAGESIZE


def test_order_of_series_channels_and_references():
    problem, rng = Problem(8, 2, 50), np.random.default_rng(1)
    expected = problem.score()
    shuffled = rng.permutation(8)
    channels = Channels.of(problem.channels.values[shuffled][:, ::-1])
    units = problem.candidates.units
    candidates = find_candidates(channels, np.stack([np.argsort(shuffled)[units[:, 0]], 1 - units[:, 1]], 1))
    references = np.concatenate([rng.permutation(8), rng.permutation(8)])
    labels = problem.labels[shuffled]
    assert_identical(
        score_candidates(channels, labels, candidates, references, [0, 8, 16], window=20), expected
    )  # series have other names and another order: the numbers are the same


def test_padding_changes_no_score():
    problem = Problem(6, 1, 40, ragged=True)
    lo, hi = problem.bounds
    expected = problem.score()
    padded = np.pad(problem.channels.values, ((0, 0), (0, 0), (9, 30)), constant_values=np.nan)
    problem.channels = Channels.of(padded, lo + 9, hi + 9)
    before = problem.candidates
    problem.candidates = find_candidates(problem.channels, before.units)
    np.testing.assert_array_equal(problem.candidates.start, before.start + 9)
    assert_identical(problem.score(), expected)


def test_scale_changes_no_distance_without_complexity():
    problem = Problem(5, 1, 40)
    plain = distances_of(problem, complexity=False)
    problem.channels = Channels.of(8.0 * problem.channels.values)
    np.testing.assert_array_equal(distances_of(problem, complexity=False), 8 * plain)


# --- references and small classes


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_own_series_is_left_out_wherever_it_stands(backend):
    problem = Problem(6, 1, 30)
    options = {"window": 6, "backend": backend}
    with_own = score_candidates(problem.channels, problem.labels, problem.candidates, *problem.references, **options)
    mine = problem.candidates.units_slice(2, 3)
    without = np.array([5, 0, 1, 3, 4])
    got = score_candidates(problem.channels, problem.labels, mine, without, [0, 5, 5], **options)
    chosen = problem.candidates.unit_of() == 2
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(got, name), getattr(with_own, name)[chosen])


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_class_of_one_series_is_scored_by_its_isolation(backend):
    problem = Problem(6, 1, 30)
    problem.labels = np.array([0, 1, 1, 1, 1, 1])
    scores = problem.score(backend=backend)
    single = problem.candidates.unit_of() == 0
    assert np.isnan(scores.gain[single]).all() and np.isnan(scores.threshold[single]).all()
    assert np.isfinite(scores.gain[~single]).all()
    length = (problem.candidates.end - problem.candidates.start)[single]
    expected = np.median(distances_of(problem)[single][:, 1:], 1) / np.sqrt(length)
    np.testing.assert_allclose(scores.margin[single], expected, rtol=1e-11)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_isolation_leaves_out_series_without_a_window(backend):
    values = np.random.default_rng(0).standard_normal((4, 1, 20))
    candidates = Candidates(np.array([[0, 0]]), np.array([0, 2]), np.array([0, 0]), np.array([8, 20]))
    channels = Channels.of(values, hi=[[20], [10], [10], [5]])
    margin = score_candidates(
        channels, [0, 1, 1, 1], candidates, np.arange(4), [0, 4, 4], window=5, backend=backend
    ).margin
    near = [min(np.linalg.norm(values[0, 0, :8] - values[p, 0, a : a + 8]) for a in range(3)) for p in (1, 2)]
    plain = score_candidates(
        channels, [0, 1, 1, 1], candidates, np.arange(4), [0, 4, 4], window=5, complexity=False, backend=backend
    ).margin
    np.testing.assert_allclose(plain, [np.mean(near) / np.sqrt(8), 0], rtol=1e-12)
    assert margin[0] >= plain[0] and margin[1] == 0


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_nothing_to_compare_with(backend):
    problem = Problem(4, 1, 30)
    scores = score_candidates(
        problem.channels, problem.labels, problem.candidates, np.empty(0, int), [0, 0, 0], window=3,
        permutations=problem.permutations, backend=backend,
    )  # fmt: skip
    assert np.isnan(scores.gain).all() and (scores.margin == 0).all() and (scores.null == 0).all()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_nothing_to_score(backend):
    problem = Problem(4, 1, 30)
    problem.candidates = problem.candidates.keep(np.zeros(len(problem.candidates), bool))
    scores = problem.score(permutations=problem.permutations, backend=backend)
    assert scores.gain.shape == (0,) and (scores.null == np.zeros((3, 4))).all()
    none = Problem(4, 1, 30).candidates.units_slice(0, 0)
    problem.candidates = none
    assert problem.score(permutations=problem.permutations, backend=backend).null.shape == (3, 0)


# --- the null


def test_the_null_under_the_labels_themselves_is_the_best_gain():
    problem = Problem(8, 2, 40)
    scores = problem.score(permutations=problem.labels[None])
    best = [scores.gain[problem.candidates.unit_of() == u].max() for u in range(16)]
    np.testing.assert_array_equal(scores.null[0], best)


def test_the_null_under_swapped_labels_is_of_those_labels():
    problem = Problem(8, 1, 40)
    permutation = np.random.default_rng(3).permutation(problem.labels)
    null = problem.score(permutations=permutation[None]).null
    problem.labels = permutation
    gains = problem.score().gain
    best = [gains[problem.candidates.unit_of() == u].max() for u in range(8)]
    np.testing.assert_allclose(null[0], best, rtol=0, atol=1e-12)


# --- refusals


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": [0, 1]}, "labels must have shape"),
        ({"labels": [0, 1, 2]}, "labels must lie in"),
        ({"references": [0, 3]}, "references must be"),
        ({"reference_offsets": [0, 1, 3]}, "reference_offsets must run"),
        ({"reference_offsets": [0, 3, 2]}, "reference_offsets must not decrease"),
        ({"permutations": [[0, 1]]}, "permutations must have shape"),
        ({"window": -1}, "window must be"),
        ({"backend": "auto"}, "backend must be"),
        ({"n_threads": 0}, "n_threads must be"),
        ({"candidates": Candidates(np.array([[0, 3]]), np.array([0, 0]), *np.empty((2, 0), int))}, "channels below 1"),
        ({"candidates": Candidates(np.array([[0, 0]]), np.array([0, 1]), *np.array([[4], [4]]))}, "must not be empty"),
        ({"candidates": Candidates(np.array([[0, 0]]), np.array([0, 1]), *np.array([[4], [9]]))}, "valid range"),
        ({"candidates": Candidates(np.array([[0, 0]]), np.array([0, 2]), *np.array([[4], [5]]))}, "candidates.offsets"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals(changed, message):
    problem = {
        "labels": [0, 1, 1], "references": [0, 1], "reference_offsets": [0, 1, 2], "window": 1,
        "candidates": find_candidates(Channels.of(np.ones((3, 1, 8))), [(0, 0)]),
    } | changed  # fmt: skip
    with pytest.raises(ValueError, match=message):
        score_candidates(Channels.of(np.ones((3, 1, 8))), **problem)
