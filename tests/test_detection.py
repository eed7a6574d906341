"""Measures of detection: against naive definitions, scikit-learn, examples by hand; and what adjustment hides."""

import doctest

import numpy as np
import pytest
from sklearn import metrics

from tsmodels import detection
from tsmodels.detection import (
    auc_pr,
    best_f1,
    point_adjust,
    precision_recall_curve,
    precision_recall_f1,
    range_precision_recall,
    segments_of,
)


def drawn(seed, n=200, rounded=False):
    """Labels in segments, and scores that know a little of them, with ties if rounded."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(n, dtype=int)
    for start in rng.integers(0, n - 20, 3):
        labels[start : start + rng.integers(1, 20)] = 1
    scores = rng.normal(size=n) + labels
    return labels, scores.round(1) if rounded else scores


def segments_one_by_one(flags):
    segments, start = [], None
    for i, flag in enumerate([*flags, 0]):
        if flag and start is None:
            start = i
        if not flag and start is not None:
            segments.append((start, i))
            start = None
    return segments


def adjusted_one_by_one(labels, detections):
    adjusted = list(detections)
    for start, stop in segments_one_by_one(labels):
        if any(detections[i] for i in range(start, stop)):
            for i in range(start, stop):
                adjusted[i] = 1
    return adjusted


SEEDS = pytest.mark.parametrize(("seed", "rounded"), [(0, False), (1, True), (2, True), (3, False)])


@SEEDS
def test_points_equal_scikit_learn(seed, rounded):
    labels, scores = drawn(seed, rounded=rounded)
    detections = (scores > 1).astype(int)
    expected = metrics.precision_recall_fscore_support(labels, detections, average="binary")[:3]
    assert precision_recall_f1(labels, detections) == pytest.approx(expected)
    assert auc_pr(labels, scores) == pytest.approx(metrics.average_precision_score(labels, scores))
    precision, recall, thresholds = metrics.precision_recall_curve(labels, scores)
    found = precision_recall_curve(labels, scores)
    for ours, theirs in zip(found, (precision[:-1], recall[:-1], thresholds), strict=True):
        np.testing.assert_allclose(ours, theirs[::-1])


@SEEDS
@pytest.mark.parametrize("adjust", [False, True])
def test_best_f1_equals_a_search_over_all_thresholds(seed, rounded, adjust):
    labels, scores = drawn(seed, rounded=rounded)
    best = best_f1(labels, scores, adjust=adjust)
    by_threshold = {}
    for threshold in np.unique(scores):
        detections = (scores >= threshold).astype(int)
        if adjust:
            detections = adjusted_one_by_one(labels, detections)
        hits = sum(a and b for a, b in zip(labels, detections, strict=True))
        by_threshold[threshold] = 2 * hits / (sum(labels) + sum(detections))
    assert best.f1 == pytest.approx(max(by_threshold.values()))
    assert by_threshold[best.threshold] == pytest.approx(best.f1)
    at = precision_recall_f1(labels, scores >= best.threshold, adjust=adjust)
    assert at == pytest.approx((best.precision, best.recall, best.f1))


@SEEDS
def test_adjustment_equals_its_definition(seed, rounded):
    labels, scores = drawn(seed, rounded=rounded)
    for threshold in (-1, 0, 1, 2, 9):
        detections = (scores > threshold).astype(int)
        expected = adjusted_one_by_one(labels, detections)
        assert point_adjust(labels, detections).tolist() == expected
        assert precision_recall_f1(labels, detections, adjust=True) == precision_recall_f1(labels, expected)
    before = detections.copy()
    point_adjust(labels, detections)
    assert (detections == before).all()


def test_adjustment_flatters_scores_that_say_nothing():
    # 20 segments of 100 time points in 20000: unadjusted, random scores are worth the share of anomalies and no more
    labels = np.zeros(20_000, dtype=int)
    for start in range(400, 20_000, 1000):
        labels[start : start + 100] = 1
    scores = np.random.default_rng(0).random(len(labels))
    assert labels.mean() == 0.1
    assert auc_pr(labels, scores) == pytest.approx(0.1, abs=0.01)
    assert best_f1(labels, scores).f1 < 0.2  # 2 * 0.1 / 1.1: everything detected
    assert best_f1(labels, scores, adjust=True).f1 > 0.75
    assert auc_pr(labels, scores, adjust=True) > 0.6


def test_segments_equal_their_definition():
    rng = np.random.default_rng(0)
    for _ in range(50):
        flags = rng.random(60) < 0.3
        assert list(map(tuple, segments_of(flags))) == segments_one_by_one(flags)
        gap, least = rng.integers(0, 4), rng.integers(1, 6)
        merged = []
        for start, stop in segments_one_by_one(flags):
            if merged and start - merged[-1][1] <= gap:
                merged[-1] = (merged[-1][0], stop)
            else:
                merged.append((start, stop))
        expected = [(start, stop) for start, stop in merged if stop - start >= least]
        assert list(map(tuple, segments_of(flags, merge_gap=gap, min_length=least))) == expected
    assert segments_of([0, 0]).shape == (0, 2)


def test_ranges_by_hand():
    #         segments: 4 long, half of it found in two pieces; 2 long, missed
    labels = [0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0]
    found_ = [0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1]
    result = range_precision_recall(labels, found_, existence=0.0)
    assert result.recall == pytest.approx((2 / 4 / 2 + 0) / 2)
    assert result.precision == pytest.approx((1 + 1 + 0) / 3)
    assert range_precision_recall(labels, found_, existence=1.0).recall == 0.5
    assert range_precision_recall(labels, found_).recall == pytest.approx(0.5 * 0.5 + 0.5 * 0.125)
    # one detection over two segments: 6 of its 8 points are right, and it tells the two apart no more
    assert range_precision_recall(labels, [0, *[1] * 8, 0, 0, 0]).precision == pytest.approx(6 / 8 / 2)
    assert range_precision_recall(labels, labels) == (1.0, 1.0, 1.0)


def test_nothing_detected_or_nothing_there():
    assert precision_recall_f1([0, 1], [0, 0]) == (0.0, 0.0, 0.0)
    assert precision_recall_f1([0, 0], [0, 1]) == (0.0, 0.0, 0.0)
    assert range_precision_recall([0, 1], [0, 0]) == (0.0, 0.0, 0.0)
    assert range_precision_recall([0, 0], [0, 1]) == (0.0, 0.0, 0.0)
    assert precision_recall_f1([True, False], np.array([1.0, 0.0])).f1 == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: precision_recall_f1([0, 2], [0, 1]), r"labels must be an array \(time,\) of 0 and 1"),
        (lambda: point_adjust([[0, 1]], [[0, 1]]), r"labels must be .* got shape \(1, 2\)"),
        (lambda: precision_recall_f1([0, 1], [0, 1, 1]), "labels has 2 time points, detections 3"),
        (lambda: auc_pr([0, 1], [0.1, np.nan]), r"scores must be an array \(time,\) of finite numbers"),
        (lambda: auc_pr([0, 1], [0.1]), "labels has 2 time points, scores 1"),
        (lambda: best_f1([0, 0], [0.1, 0.2]), "labels holds no anomaly"),
        (lambda: range_precision_recall([0], [0], existence=2), r"existence must be in \[0, 1\]"),
    ],
)
def test_what_cannot_be_measured_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_examples_in_docstrings():
    results = doctest.testmod(detection)
    assert results.attempted >= 6 and results.failed == 0
