"""How much a distance to a prototype, or a statistic of an interval, says about the class: numbers in [0, 1]."""

import numpy as np
from numpy.typing import NDArray

_N_PERMUTATIONS = 10
_MOST_BINS = 8


def shape_priors(distance: NDArray, labels: NDArray, series: NDArray, prototype_labels: NDArray) -> NDArray[np.float64]:
    """How much nearer prototypes come to series of their own class than to others.

    With r = (mean distance to the series of other classes) / (mean distance to those of its own class + 1e-6) the
    prior is r / (1 + r): 0.5 says nothing. The series that a prototype was cut out of is left out. 0.5 also where no
    other series of one of the two groups has a window that fits.

    Parameters
    ----------
    distance : array (case, prototype)
        Distances, inf where no window fits.
    labels : array of int (case,)
        Class codes.
    series : array of int (prototype,)
        The case that each prototype was cut out of.
    prototype_labels : array of int (prototype,)
        Its class.

    Returns
    -------
    array (prototype,)
        Priors.
    """
    own = labels[:, None] == prototype_labels
    seen = np.isfinite(distance)
    seen[series, np.arange(len(series))] = False
    sums = [np.where(seen & group, distance, 0).sum(0) for group in (own, ~own)]
    counts = [(seen & group).sum(0) for group in (own, ~own)]
    within, between = (s / np.maximum(n, 1) for s, n in zip(sums, counts, strict=True))
    ratio = between / (within + 1e-6)
    return np.where((counts[0] > 0) & (counts[1] > 0), ratio / (1 + ratio), 0.5)


def value_priors(
    statistics: NDArray, known: NDArray, labels: NDArray, n_classes: int, *, seed: int
) -> NDArray[np.float64]:
    """What share of the uncertainty about the class the best statistic of an interval takes away.

    For each statistic, cut at quantiles into min(8, max(2, n_cases // (2 n_classes))) bins: 1 - H(class | bin) /
    H(class), with entropies over the cases in which the interval is known. The largest over the statistics, minus its
    mean over 10 permutations of the labels, not below 0: with few cases to a bin, chance alone takes away a lot.

    Parameters
    ----------
    statistics : array (case, interval, statistic)
        Finite numbers.
    known : array of bool (case, interval)
        Where they mean something.
    labels : array of int (case,)
        Class codes.
    n_classes : int
        Number of classes.
    seed : int
        Of the permutations.

    Returns
    -------
    array (interval,)
        Priors.
    """
    n_bins = min(_MOST_BINS, max(2, len(labels) // (2 * n_classes)))
    bins = _quantile_bins(np.where(known[..., None], statistics, np.nan), n_bins)
    generator = np.random.default_rng(seed)
    by_chance = [
        _explained(bins, generator.permutation(labels), n_bins, n_classes).max(1) for _ in range(_N_PERMUTATIONS)
    ]
    return np.maximum(0, _explained(bins, labels, n_bins, n_classes).max(1) - np.mean(by_chance, 0))


def _quantile_bins(values: NDArray, n_bins: int) -> NDArray[np.int64]:
    """Bin of each value among the values of all cases (axis 0); ``n_bins`` for NaN. Equal values share a bin."""
    ranks = np.sort(values, axis=0)  # NaN last
    n_known = np.isfinite(values).sum(0)
    bins = np.zeros(values.shape, np.int64)
    for k in range(1, n_bins):
        edge = np.take_along_axis(ranks, np.minimum(k * n_known // n_bins, len(values) - 1)[None], 0)
        bins += values >= edge
    bins[np.isnan(values)] = n_bins
    return bins


def _explained(bins: NDArray, labels: NDArray, n_bins: int, n_classes: int) -> NDArray[np.float64]:
    """1 - H(label | bin) / H(label) for bins (case, ...); 0 where all known cases have one label."""
    kinds = bins[0].size
    cell = np.arange(kinds) * ((n_bins + 1) * n_classes) + bins.reshape(len(bins), kinds) * n_classes + labels[:, None]
    counts = np.bincount(cell.ravel(), minlength=kinds * (n_bins + 1) * n_classes)
    counts = counts.reshape(kinds, n_bins + 1, n_classes)[:, :n_bins].astype(float)
    conditional, marginal = _entropy(counts).sum(1), _entropy(counts.sum(1))
    share = np.where(marginal > 0, 1 - conditional / np.where(marginal > 0, marginal, 1), 0)
    return share.reshape(bins.shape[1:])


def _entropy(counts: NDArray) -> NDArray[np.float64]:
    """Entropy of the last axis in nats, times the number of cases."""
    totals = counts.sum(-1)
    return _x_log_x(totals) - _x_log_x(counts).sum(-1)


def _x_log_x(x: NDArray) -> NDArray[np.float64]:
    return x * np.log(np.where(x > 0, x, 1))
