"""The Wilcoxon signed-rank test, with both ways to treat zeros."""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["wilcoxon"]

_LONGEST_EXACT = 50  # pairs without ties up to which the exact distribution is used
_LONGEST_EXACT_WITH_TIES = 13  # the same with ties or zeros; both as scipy 1.17 decides, older versions differ


def wilcoxon(
    differences: np.ndarray,
    *,
    zeros: Literal["pratt", "wilcox"] = "pratt",
    alternative: Literal["two-sided", "greater"] = "two-sided",
) -> float:
    """Return the p-value of the Wilcoxon signed-rank test that differences are symmetric around zero.

    Exact up to 50 differences without ties and zeros, and up to 13 with them; beyond, from the normal approximation
    with the correction for ties, without one for continuity.

    Parameters
    ----------
    differences : array, shape (n,)
    zeros : {"pratt", "wilcox"}, default="pratt"
        Pratt ranks zeros with the others and then leaves them out of the sums; Wilcoxon leaves them out at once.
    alternative : {"two-sided", "greater"}, default="two-sided"
        "greater": the differences tend to be positive.

    Returns
    -------
    float
        1 if all differences are zero.
    """
    differences = np.asarray(differences, dtype=float)
    nonzero = differences[differences != 0]
    if not len(nonzero):
        return 1.0
    from scipy.stats import rankdata

    ranked = differences if zeros == "pratt" else nonzero
    ranks = rankdata(np.abs(ranked))[ranked != 0]
    positive = float(ranks[nonzero > 0].sum())
    ties = len(np.unique(ranks)) < len(ranks) or len(nonzero) < len(differences)
    if len(differences) <= (_LONGEST_EXACT_WITH_TIES if ties else _LONGEST_EXACT):
        at_least, at_most = _exact_tails(ranks, positive)
    else:
        at_least, at_most = _normal_tails(ranks, positive)
    return at_least if alternative == "greater" else min(1.0, 2 * min(at_least, at_most))


def _exact_tails(ranks: np.ndarray, positive: float) -> tuple[float, float]:
    """Return how often random signs give a sum of positive ranks at least, and at most, as large."""
    doubled = np.rint(2 * ranks).astype(int)  # shared ranks are halves
    counts = np.zeros(doubled.sum() + 1)
    counts[0] = 1.0
    for rank in doubled:
        moved = counts[: len(counts) - rank].copy()
        counts[rank:] += moved
    observed, total = round(2 * positive), 2.0 ** len(ranks)
    return float(counts[observed:].sum() / total), float(counts[: observed + 1].sum() / total)


def _normal_tails(ranks: np.ndarray, positive: float) -> tuple[float, float]:
    """Return the same from the normal approximation: a sign adds rank r or nothing, mean r / 2 and variance r^2 / 4."""
    from scipy.stats import norm

    z = (positive - ranks.sum() / 2) / np.sqrt((ranks**2).sum() / 4)
    return float(norm.sf(z)), float(norm.cdf(z))
