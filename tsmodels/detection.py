"""Measures of anomaly detection: labels of time points against scores or detections.

Numpy only. Labels are arrays (time,) of 0 and 1, scores arrays (time,), higher where more anomalous; what a detector
gives is ``detector.transform(X)["labels"]`` and ``detector.transform_scores(X)["scores"]``.

Which one to report
-------------------
The unadjusted measures, :func:`precision_recall_f1`, :func:`best_f1` and :func:`auc_pr`, count time points as they are.
Much of the literature adjusts the detections first (:func:`point_adjust`): one hit anywhere in an anomalous segment
counts as having found all of it. That flatters: with long segments, scores drawn at random hit each of them somewhere,
and reach an adjusted F1 near that of published models (Kim, Choi, Choi, Lee, Yoon, "Towards a Rigorous Evaluation of
Time-series Anomaly Detection", AAAI 2022, arXiv 2109.05257). The adjusted figures are here to compare with published
ones; never report them alone. Best F1 over all thresholds is an upper bound that no detector reaches by itself: it
takes the threshold from the labels. :func:`range_precision_recall` counts segments instead of points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "BestF1",
    "PrecisionRecallF1",
    "auc_pr",
    "best_f1",
    "point_adjust",
    "precision_recall_curve",
    "precision_recall_f1",
    "range_precision_recall",
    "segments_of",
]


class PrecisionRecallF1(NamedTuple):
    """Precision, recall and their harmonic mean; each is 0 where it is 0 / 0."""

    precision: float
    recall: float
    f1: float


class BestF1(NamedTuple):
    """The highest F1 over all thresholds; what scores at least ``threshold`` is then detected."""

    f1: float
    precision: float
    recall: float
    threshold: float


def precision_recall_f1(labels: npt.ArrayLike, detections: npt.ArrayLike, *, adjust: bool = False) -> PrecisionRecallF1:
    """Return precision, recall and F1 of detected time points.

    Parameters
    ----------
    labels, detections : array-like of 0 and 1 (time,)
        What is anomalous, and what was detected.
    adjust : bool, default=False
        Whether the detections are adjusted first, see :func:`point_adjust`.

    Returns
    -------
    PrecisionRecallF1

    Raises
    ------
    ValueError
        If an argument is no array (time,) of 0 and 1, or their lengths differ.

    Examples
    --------
    >>> from tsmodels.detection import precision_recall_f1
    >>> precision_recall_f1([0, 1, 1, 1, 0, 0], [0, 0, 1, 0, 0, 1])
    PrecisionRecallF1(precision=0.5, recall=0.3333333333333333, f1=0.4)
    >>> precision_recall_f1([0, 1, 1, 1, 0, 0], [0, 0, 1, 0, 0, 1], adjust=True)
    PrecisionRecallF1(precision=0.75, recall=1.0, f1=0.8571428571428571)
    """
    labels, detections = _flags("labels", labels), _flags("detections", detections)
    _same_length(labels, detections, "detections")
    if adjust:
        detections = _adjusted(labels, detections)
    n_hits = float((labels & detections).sum())
    precision, recall = _ratio(n_hits, detections.sum()), _ratio(n_hits, labels.sum())
    return PrecisionRecallF1(precision, recall, _f1(precision, recall))


def point_adjust(labels: npt.ArrayLike, detections: npt.ArrayLike) -> np.ndarray:
    """Return detections with every anomalous segment that holds one of them detected as a whole.

    A protocol of the literature that makes detectors look better than they are: see the head of this module.

    Parameters
    ----------
    labels, detections : array-like of 0 and 1 (time,)
        What is anomalous, and what was detected.

    Returns
    -------
    ndarray of int64 (time,)

    Raises
    ------
    ValueError
        As for :func:`precision_recall_f1`.

    Examples
    --------
    >>> from tsmodels.detection import point_adjust
    >>> point_adjust([0, 1, 1, 0, 1, 1], [1, 0, 1, 0, 0, 0])
    array([1, 1, 1, 0, 0, 0])
    """
    labels, detections = _flags("labels", labels), _flags("detections", detections)
    _same_length(labels, detections, "detections")
    return _adjusted(labels, detections).astype(np.int64)


def precision_recall_curve(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, adjust: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return precision and recall at every threshold: what scores at least as much is detected.

    Parameters
    ----------
    labels : array-like of 0 and 1 (time,)
        What is anomalous; at least one time point is.
    scores : array-like (time,)
        Finite; higher where more anomalous.
    adjust : bool, default=False
        Whether the detections at each threshold are adjusted, see :func:`point_adjust`.

    Returns
    -------
    precision, recall, thresholds : ndarray
        One entry for each distinct score, the highest first: recall rises.

    Raises
    ------
    ValueError
        If an argument has another form, the lengths differ, or nothing is labelled as anomalous.
    """
    labels, scores = _flags("labels", labels), _scores(scores)
    _same_length(labels, scores, "scores")
    if not labels.any():
        raise ValueError("labels holds no anomaly: recall is not defined.")
    if adjust:
        # a segment is detected as a whole as soon as the threshold falls to the highest score in it
        scores = scores.copy()
        for start, stop in _runs_of(labels):
            scores[start:stop] = scores[start:stop].max()
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])  # of equal scores, all are detected or none
    n_hits, n_detected = np.cumsum(labels[order])[last], last + 1
    return n_hits / n_detected, n_hits / labels.sum(), ranked[last]


def best_f1(labels: npt.ArrayLike, scores: npt.ArrayLike, *, adjust: bool = False) -> BestF1:
    """Return the highest F1 that some threshold on the scores reaches; it takes labels to find that threshold.

    Parameters
    ----------
    labels, scores, adjust
        As for :func:`precision_recall_curve`.

    Returns
    -------
    BestF1
        Of equal ones, the highest threshold.

    Raises
    ------
    ValueError
        As for :func:`precision_recall_curve`.

    Examples
    --------
    >>> from tsmodels.detection import best_f1
    >>> best_f1([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).threshold
    0.35
    """
    precision, recall, thresholds = precision_recall_curve(labels, scores, adjust=adjust)
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    best = int(f1.argmax())
    return BestF1(*(float(each[best]) for each in (f1, precision, recall, thresholds)))


def auc_pr(labels: npt.ArrayLike, scores: npt.ArrayLike, *, adjust: bool = False) -> float:
    """Return the area under the precision-recall curve, as average precision.

    ``sum over thresholds of (recall_k - recall_(k-1)) precision_k``: no interpolation between thresholds, which would
    be optimistic; scikit-learn's ``average_precision_score``. Scores that say nothing have the share of anomalous time
    points.

    Parameters
    ----------
    labels, scores, adjust
        As for :func:`precision_recall_curve`.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As for :func:`precision_recall_curve`.
    """
    precision, recall, _ = precision_recall_curve(labels, scores, adjust=adjust)
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def range_precision_recall(
    labels: npt.ArrayLike, detections: npt.ArrayLike, *, existence: float = 0.5
) -> PrecisionRecallF1:
    """Return precision and recall of segments, each segment counting alike, whatever its length.

    A true segment R has the recall ``existence * [R is hit] + (1 - existence) * |R and detections| / (|R| n)`` with n
    detected segments that touch it (at least 1), and a detected segment the precision ``|D and labels| / (|D| n)`` with
    n true segments that touch it; both are averaged over segments. Flat positional bias and reciprocal cardinality, in
    the terms of the source.

    Parameters
    ----------
    labels, detections : array-like of 0 and 1 (time,)
        What is anomalous, and what was detected.
    existence : float, default=0.5
        Weight in recall of having hit a segment at all, in [0, 1]. With 1, recall is the share of segments that were
        hit.

    Returns
    -------
    PrecisionRecallF1

    Raises
    ------
    ValueError
        As for :func:`precision_recall_f1`, and for `existence` out of range.

    References
    ----------
    N. Tatbul, T. J. Lee, S. Zdonik, M. Alam, J. Gottschlich, "Precision and Recall for Time Series", NeurIPS 2018,
    arXiv 1803.03639.
    """
    if not 0 <= existence <= 1:
        raise ValueError(f"existence must be in [0, 1], got {existence!r}.")
    labels, detections = _flags("labels", labels), _flags("detections", detections)
    _same_length(labels, detections, "detections")
    covered, hit = _overlaps(_runs_of(labels), detections)
    recall = _mean(existence * hit + (1 - existence) * covered)
    precision = _mean(_overlaps(_runs_of(detections), labels)[0])
    return PrecisionRecallF1(precision, recall, _f1(precision, recall))


def _overlaps(segments: np.ndarray, flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each segment the flagged share over the number of flagged runs in it, and whether there is one."""
    n_flagged = np.array([flags[start:stop].sum() for start, stop in segments], dtype=float)
    n_runs = np.array([len(_runs_of(flags[start:stop])) for start, stop in segments], dtype=float)
    return n_flagged / np.maximum(segments[:, 1] - segments[:, 0], 1) / np.maximum(n_runs, 1), n_runs > 0


def _adjusted(labels: np.ndarray, detections: np.ndarray) -> np.ndarray:
    adjusted = detections.copy()
    for start, stop in _runs_of(labels):
        adjusted[start:stop] = detections[start:stop].any()
    return adjusted


def _flags(name: str, values: npt.ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must be an array (time,) of 0 and 1, got shape {array.shape}.")
    return array.astype(bool)


def _scores(values: npt.ArrayLike) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError(f"scores must be an array (time,) of finite numbers, got shape {array.shape}.")
    return array


def _same_length(labels: np.ndarray, other: np.ndarray, name: str) -> None:
    if len(labels) != len(other):
        raise ValueError(f"labels has {len(labels)} time points, {name} {len(other)}.")


def _ratio(count: float, total: float) -> float:
    return float(count / total) if total else 0.0


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def _f1(precision: float, recall: float) -> float:
    return _ratio(2 * precision * recall, precision + recall)


def _runs_of(flags: npt.ArrayLike) -> np.ndarray:
    """Return start and stop (behind the last point) of each run of true values, int64 (run, 2), in order."""
    flags = np.asarray(flags).astype(bool).astype(np.int8)
    return np.flatnonzero(np.diff(flags, prepend=0, append=0)).reshape(-1, 2)


def segments_of(flags: npt.ArrayLike, *, min_length: int = 1, merge_gap: int = 0) -> np.ndarray:
    """Return the segments of flagged time points.

    Parameters
    ----------
    flags : array-like of bool (time,)
        What exceeds a threshold.
    min_length : int, default=1
        Shorter segments are dropped, after merging.
    merge_gap : int, default=0
        Runs with at most so many time points between them become one segment, which covers these too.

    Returns
    -------
    ndarray of int64 (segment, 2)
        Start, and stop behind the last time point.
    """
    runs = _runs_of(flags)
    if len(runs):
        apart = runs[1:, 0] - runs[:-1, 1] > merge_gap
        runs = np.column_stack([runs[np.r_[True, apart], 0], runs[np.r_[apart, True], 1]])
    return runs[runs[:, 1] - runs[:, 0] >= min_length]
