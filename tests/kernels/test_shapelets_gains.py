"""Information gain: by hand, against the definition, and against the rules of the public code of ShapeFormer."""

import numpy as np
import pytest

from tsmodels_kernels import Candidates, Channels, find_candidates, score_candidates
from tsmodels_kernels._shapelets import cpu_call, ref

GAINS = {
    "apart": ([1, 2, 3, 4], [1, 1, 0, 0], (1.0, 2.5, 1 / 3)),
    "absent instead of present": ([3, 4, 1, 2], [1, 1, 0, 0], (0.0, np.nan, 0.0)),
    "equal distances": ([2, 2, 2, 2], [1, 1, 0, 0], (0.0, np.nan, 0.0)),
    "equal but for rounding": ([1, 1 + 1e-12, 1 + 2e-12, 3], [1, 1, 0, 0], (0.31127812445913283, 2.0, 2 / 3)),
    "all infinite": ([np.inf] * 3, [1, 0, 0], (0.0, np.nan, 0.0)),
    "finite for one class": ([1, 2, np.inf, np.inf], [1, 1, 0, 0], (1.0, np.inf, 1.0)),
    "only positives": ([1, 2, 3], [1, 1, 1], (0.0, np.nan, 0.0)),
    "one reference": ([1], [1], (0.0, np.nan, 0.0)),
    "zero": ([0, 4, 5], [1, 0, 0], (0.9182958340544896, 2.0, 1.0)),
    "of equal gains the wider gap": ([1, 2, 3, 8], [1, 0, 1, 0], (0.31127812445913283, 5.5, 5 / 8)),
    "of equal gaps the nearer": ([1, 2, 3, 6], [1, 0, 1, 0], (0.31127812445913283, 1.5, 0.5)),
}


def score_of(distances, positive):
    """The compiled score of one candidate of series 0, of class 1, with these distances to the other series."""
    n = len(distances)
    one = Candidates(np.array([[0, 0]]), np.array([0, 1]), np.array([0]), np.array([4]))
    labels = np.array([1, *positive], np.int64)
    found = cpu_call.score_distances(
        np.array(distances, float)[None], one, labels, np.arange(n + 1), np.array([0, 0, n + 1]),
        np.empty((0, n + 1), np.int64), 1,
    )  # fmt: skip
    return found.gain[0], found.threshold[0], found.margin[0]


@pytest.mark.parametrize("name", GAINS)
def test_gain_threshold_and_margin_by_hand(name):
    distances, positive, expected = GAINS[name]
    np.testing.assert_allclose(score_of(distances, positive), expected, rtol=1e-12)
    np.testing.assert_allclose(ref.split(np.array(distances, float), np.array(positive) == 1), expected, rtol=1e-12)


@pytest.mark.parametrize("n", [2, 7, 60, 256, 257, 700])
def test_gains_with_ties(n):
    rng = np.random.default_rng(n)
    for levels in (2, n // 2 + 1, 10**6):
        distances, positive = rng.integers(0, levels, n) / 8, rng.random(n) < 0.4
        positive[0] = True
        distances[rng.random(n) < 0.1] = np.inf
        np.testing.assert_allclose(
            score_of(distances, positive), ref.split(distances, positive), rtol=1e-11, atol=1e-12
        )


# --- the public code of ShapeFormer, with two of its faults


def published_gain(distances, positive):
    """The gain of those splits alone at which the share of positives below, rounded to one digit, is a rate that is
    stepped by 0.2 in floating point; -1 without such a split."""
    order = np.argsort(distances, kind="stable")
    best, rate, covered = -1.0, 0.2, 0
    n, n_positive = len(distances), int(positive.sum())
    for near in range(1, n):
        covered += int(positive[order[near - 1]])
        if round(covered / n_positive, 1) == rate:
            below, above = ref._entropy(covered, near), ref._entropy(n_positive - covered, n - near)
            best = max(best, ref._entropy(n_positive, n) - near / n * below - (n - near) / n * above)
            rate += 0.2
    return best


def published_complexity(values, i, v, start, end):
    """That of a candidate slices the list of the channels up to its own, not its channel, by time."""
    whole = np.square(np.diff(values[i])).sum(-1)
    return whole[: v + 1][start : end - 1].sum() + 1e-3


def published_distance(values, i, v, start, end, p):
    """To every window of another series."""
    length, own = end - start, published_complexity(values, i, v, start, end)
    found = []
    for a in range(values.shape[2] - length + 1):
        window = values[p, v, a : a + length]
        other = np.square(np.diff(window)).sum() + 1e-3
        found.append(np.linalg.norm(values[i, v, start:end] - window) * np.sqrt(max(own, other) / min(own, other)))
    return min(found)


def test_with_its_faults_gains_are_those_of_the_public_code():
    values, labels = 0.3 * np.random.default_rng(0).standard_normal((10, 3, 40)).cumsum(-1), np.arange(10) % 2
    candidates = find_candidates(Channels.of(values), [(i, v) for i in range(10) for v in range(3)])
    for k, (i, v) in enumerate(candidates.units[candidates.unit_of()]):
        if k % 5:
            continue
        start, end = int(candidates.start[k]), int(candidates.end[k])
        # the candidate in a copy of its series, with changes from which the wrong complexity comes out
        channels = Channels.of(values[[*range(10), i]])
        channels.changes[10, v] = 0
        channels.changes[10, v, end - 1 :] = published_complexity(values, i, v, start, end) - 1e-3
        one = Candidates(np.array([[10, v]]), np.array([0, 1]), np.array([start]), np.array([end]))
        ours = np.zeros(10)  # its own series counts, at distance 0
        for p in np.delete(np.arange(10), i):
            score = score_candidates(channels, [0] * 10 + [1], one, [p], [0, 0, 1], window=40)
            ours[p] = score.margin[0] * np.sqrt(end - start)
        theirs = [0.0 if p == i else published_distance(values, i, v, start, end, p) for p in range(10)]
        np.testing.assert_allclose(ours, theirs, rtol=1e-11)
        positive = labels == labels[i]
        assert published_gain(ours, positive) == published_gain(np.array(theirs), positive)


def test_all_thresholds_gain_at_least_as_much_as_the_published_few():
    rng = np.random.default_rng(0)
    fewer = {3: 0, 5: 0, 10: 0}
    for n_positive in fewer:
        positive = np.arange(20) < n_positive
        for _ in range(50):
            distances = rng.random(20) + 0.5 * ~positive  # nearer if positive: no split the other way round is best
            ours, few = score_of(distances, positive)[0], published_gain(distances, positive)
            assert ours >= few - 1e-12
            fewer[n_positive] += ours > few + 1e-9
    assert fewer[3] == 50  # a class of 3 meets none of the rates
    assert min(fewer.values()) > 25  # the others two of them
