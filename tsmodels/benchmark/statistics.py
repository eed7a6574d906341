r"""Comparisons of several methods over several data sets: ranks, tests, and groups that do not differ.

A table has a row for each data set and a column for each method, and no gaps. Three conventions are in use under
similar names and reject different pairs of the same table:

=============  ==================================  =====================================================  ==========
convention     test of a pair                      correction                                             usual alpha
=============  ==================================  =====================================================  ==========
``"holm"``     Wilcoxon signed-rank, two-sided,    Holm's step-down over all pairs: the i-th smallest of  0.05
               zeros by Pratt                      m p-values is compared with alpha / (m - i + 1)
``"aeon"``     Wilcoxon signed-rank, one-sided,    alpha / (k - 1) for each of the pairs of k methods     0.1
               zeros left out
``"nemenyi"``  difference of average ranks         studentised range of k methods                         0.05
=============  ==================================  =====================================================  ==========

The first is that of the reference implementation of critical-difference diagrams (hfawaz/cd-diagram; Benavoli et al.
2016), the second the default of aeon's ``plot_critical_difference``, the third that of Demsar (2006).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from tsmodels.benchmark._signed_rank import wilcoxon

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DEFAULT_ALPHA",
    "Convention",
    "CriticalDifference",
    "Friedman",
    "average_ranks",
    "cliques",
    "compare",
    "critical_difference",
    "friedman",
    "wilcoxon",
]

Convention = Literal["holm", "aeon", "nemenyi"]
DEFAULT_ALPHA: dict[Convention, float] = {"holm": 0.05, "aeon": 0.1, "nemenyi": 0.05}

_DIGITS = 12  # 0.9 - 0.8 and 0.8 - 0.7 are the same difference, though not in floating point


@dataclass(frozen=True)
class Friedman:
    """The Friedman test of the hypothesis that all methods are alike.

    Attributes
    ----------
    statistic : float
        Corrected for ties; missing if all methods tie on every data set.
    p_value : float
        From the chi-squared distribution with k - 1 degrees of freedom.
    """

    statistic: float
    p_value: float


@dataclass(frozen=True, eq=False)
class CriticalDifference:
    """What a critical-difference diagram shows.

    Attributes
    ----------
    ranks : Series
        Average rank of each method, the best (lowest) first.
    pairs : DataFrame
        As from :func:`compare`.
    cliques : tuple of tuples of str
        Groups of methods without a significant difference, best first; all methods if the Friedman test does not
        reject.
    friedman : Friedman or None
        None for two methods, which need no test before that of their pair.
    convention : {"holm", "aeon", "nemenyi"}
    alpha : float
    n_datasets : int
    """

    ranks: pd.Series
    pairs: pd.DataFrame
    cliques: tuple[tuple[str, ...], ...]
    friedman: Friedman | None
    convention: Convention
    alpha: float
    n_datasets: int

    @property
    def critical_distance(self) -> float | None:
        """The difference of average ranks that Nemenyi's test calls significant; None for other conventions."""
        if self.convention != "nemenyi":
            return None
        return _nemenyi_distance(len(self.ranks), self.n_datasets, self.alpha)

    @property
    def differs(self) -> bool:
        """Whether the Friedman test rejects that all methods are alike (True for two methods)."""
        return self.friedman is None or self.friedman.p_value <= self.alpha

    @property
    def description(self) -> str:
        """Test, correction and alpha, to stand under the figure."""
        test = {
            "holm": "two-sided Wilcoxon signed-rank tests (Pratt) of all pairs with Holm's correction",
            "aeon": "one-sided Wilcoxon signed-rank tests of all pairs, each at alpha / (k - 1) (aeon's rule)",
            "nemenyi": "Nemenyi's test of average ranks",
        }[self.convention]
        text = f"Average ranks over {self.n_datasets} data sets (1 is best). Bars join methods (dots) without a "
        text += f"significant difference: {test}, alpha = {self.alpha:g}."
        if self.critical_distance is not None:
            text += f" Critical difference of ranks: {self.critical_distance:.2f}."
        if self.friedman is not None:
            verdict = "" if self.differs else "does not reject that all are alike, so that one bar joins all: "
            text += f" Friedman test: {verdict}{_p_text(self.friedman.p_value)}."
        return text


def _p_text(p: float) -> str:
    return (
        "p\N{NO-BREAK SPACE}<\N{NO-BREAK SPACE}0.001" if p < 0.001 else f"p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{p:.3f}"
    )


def average_ranks(table: pd.DataFrame, *, lower_is_better: bool = False) -> pd.Series:
    """Return the average rank of each method; methods that tie on a data set share the ranks they take up.

    Parameters
    ----------
    table : DataFrame
        A row per data set, a column per method, no gaps.
    lower_is_better : bool, default=False
        Whether the values are errors.

    Returns
    -------
    Series
        Sorted, the best (lowest) first, methods of the same rank by name.

    Raises
    ------
    ValueError
        If `table` has gaps, or fewer than two methods, or no data set.

    Examples
    --------
    >>> import pandas as pd
    >>> from tsmodels.benchmark.statistics import average_ranks
    >>> average_ranks(pd.DataFrame({"A": [0.9, 0.8], "B": [0.7, 0.8]})).to_dict()
    {'A': 1.25, 'B': 1.75}
    """
    import pandas as pd

    values = _oriented(table, lower_is_better)
    means = pd.Series(_ranks(-values).mean(0), index=table.columns, name="average_rank")
    return means.loc[sorted(means.index, key=lambda method: (means[method], str(method)))]


def _oriented(table: pd.DataFrame, lower_is_better: bool) -> np.ndarray:
    """Return the values of a table, checked, as numbers of which the higher is the better, rounded so that ties tie."""
    if table.shape[1] < 2 or not len(table):
        raise ValueError(f"table must hold at least two methods and one data set, got shape {table.shape}.")
    if not table.columns.is_unique:
        twice = sorted({str(name) for name in table.columns[table.columns.duplicated()]})
        raise ValueError(f"table must name every method once; it repeats {', '.join(twice)}.")
    values = table.to_numpy(dtype=float)
    if not np.isfinite(values).all():
        gaps = [str(name) for name in table.index[~np.isfinite(values).all(axis=1)]]
        raise ValueError(
            f"table must have no gaps: leave out the data sets that a method has no value for, {', '.join(gaps)}."
        )
    scale = np.abs(values).max() or 1.0
    return np.round(values / scale, _DIGITS) * (-scale if lower_is_better else scale)


def _ranks(values: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata

    return rankdata(values, axis=1)


def friedman(table: pd.DataFrame, *, lower_is_better: bool = False) -> Friedman:
    r"""Test whether all methods are alike.

    With average ranks :math:`R_j` of k methods over n data sets, :math:`\chi^2 = \frac{12 n}{k (k + 1)}
    \sum_j (R_j - \frac{k + 1}{2})^2`, divided by :math:`1 - \sum (t^3 - t) / (n k (k^2 - 1))` over all groups of t
    methods that tie on a data set.

    Parameters
    ----------
    table : DataFrame
        A row per data set, a column per method, no gaps.
    lower_is_better : bool, default=False
        Whether the values are errors (the test is the same).

    Returns
    -------
    Friedman
        With p-value 1 if all methods tie on every data set.
    """
    from scipy.stats import chi2

    ranks = _ranks(-_oriented(table, lower_is_better))
    n, k = ranks.shape
    shared = [np.unique(row, return_counts=True)[1].astype(float) for row in ranks]
    groups = sum(float((counts**3 - counts).sum()) for counts in shared)
    correction = 1 - groups / (n * k * (k**2 - 1))
    if correction <= 0:
        return Friedman(float("nan"), 1.0)
    statistic = 12 * n / (k * (k + 1)) * float(((ranks.mean(0) - (k + 1) / 2) ** 2).sum()) / correction
    return Friedman(statistic, float(chi2.sf(statistic, k - 1)))


def compare(
    table: pd.DataFrame, convention: Convention = "holm", alpha: float | None = None, *, lower_is_better: bool = False
) -> pd.DataFrame:
    """Test every pair of methods.

    Parameters
    ----------
    table : DataFrame
        A row per data set, a column per method, no gaps.
    convention : {"holm", "aeon", "nemenyi"}, default="holm"
        See the head of this module.
    alpha : float, optional
        By default 0.05, for "aeon" 0.1.
    lower_is_better : bool, default=False
        Whether the values are errors.

    Returns
    -------
    DataFrame
        A row per pair. Columns: ``first`` (the one of the better average rank), ``second``, ``mean_difference`` (first
        minus second), ``wins``, ``draws``, ``losses`` (of the first, data sets), ``p_value``, ``adjusted_p_value`` (to
        be compared with alpha itself) and ``rejected`` (whether they differ significantly).

    Raises
    ------
    ValueError
        If `table` has gaps or fewer than two methods, or `convention` or `alpha` is none.
    """
    import pandas as pd

    alpha = _checked_alpha(convention, alpha)
    ranks = average_ranks(table, lower_is_better=lower_is_better)
    oriented = pd.DataFrame(_oriented(table, lower_is_better), index=table.index, columns=table.columns)
    scale = float(np.abs(oriented.to_numpy()).max()) or 1.0
    rows = []
    for first, second in combinations(ranks.index, 2):
        differences = np.round((oriented[first] - oriented[second]).to_numpy() / scale, _DIGITS)
        rows.append(
            {
                "first": first,
                "second": second,
                "mean_difference": float((table[first] - table[second]).mean()),
                "wins": int((differences > 0).sum()),
                "draws": int((differences == 0).sum()),
                "losses": int((differences < 0).sum()),
                "p_value": _p_value(differences, ranks[second] - ranks[first], len(ranks), convention),
            }
        )
    pairs = pd.DataFrame(rows)
    pairs["adjusted_p_value"] = _adjusted(pairs["p_value"].to_numpy(), len(ranks), convention)
    pairs["rejected"] = pairs["adjusted_p_value"] <= alpha
    return pairs


def _checked_alpha(convention: Convention, alpha: float | None) -> float:
    if convention not in get_args(Convention):
        raise ValueError(f"convention must be one of {', '.join(map(repr, get_args(Convention)))}, got {convention!r}.")
    if alpha is None:
        return DEFAULT_ALPHA[convention]
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha!r}.")
    return alpha


def _p_value(differences: np.ndarray, rank_difference: float, n_methods: int, convention: Convention) -> float:
    if convention == "holm":
        return wilcoxon(differences)
    if convention == "aeon":
        return wilcoxon(differences, zeros="wilcox", alternative="greater")
    from scipy.stats import studentized_range

    standard_error = np.sqrt(n_methods * (n_methods + 1) / (12 * len(differences)))
    return float(studentized_range.sf(rank_difference / standard_error, n_methods, np.inf))


def _nemenyi_distance(n_methods: int, n_datasets: int, alpha: float) -> float:
    from scipy.stats import studentized_range

    standard_error = np.sqrt(n_methods * (n_methods + 1) / (12 * n_datasets))
    return float(studentized_range.ppf(1 - alpha, n_methods, np.inf) * standard_error)


def _adjusted(p_values: np.ndarray, n_methods: int, convention: Convention) -> np.ndarray:
    if convention == "nemenyi":
        return p_values  # of the largest of all differences already
    if convention == "aeon":
        return np.minimum(p_values * (n_methods - 1), 1.0)
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    # the running maximum is Holm's stop at the first failure
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


def cliques(
    pairs: pd.DataFrame, order: Sequence[str], *, rule: Literal["pairs", "control"] = "pairs"
) -> tuple[tuple[str, ...], ...]:
    """Return the largest groups of methods among which no pair differs significantly.

    Parameters
    ----------
    pairs : DataFrame
        With columns ``first``, ``second`` and ``rejected``.
    order : sequence of str
        The methods, best first.
    rule : {"pairs", "control"}, default="pairs"
        "pairs": all maximal groups without a rejected pair. They need not be neighbours in rank: of three methods the
        first and the last may go together while the second goes with neither. "control" is aeon's: each method
        together with those that follow it up to the first that differs from it; pairs among those are not looked at.

    Returns
    -------
    tuple of tuples of str
        Groups of two and more, sorted by their best members; none inside another.
    """
    position = {method: i for i, method in enumerate(order)}
    alike = np.ones((len(order), len(order)), dtype=bool)
    for first, second, rejected in zip(pairs["first"], pairs["second"], pairs["rejected"], strict=True):
        i, j = position[first], position[second]
        alike[i, j] = alike[j, i] = not rejected
    np.fill_diagonal(alike, False)
    found = _maximal(alike) if rule == "pairs" else _controlled(alike)
    groups = sorted(sorted(group) for group in found if len(group) > 1)
    return tuple(tuple(order[i] for i in group) for group in groups)


def _maximal(alike: np.ndarray) -> Iterator[set[int]]:
    """Yield the maximal cliques of a graph (Bron and Kerbosch 1973, with a pivot)."""
    neighbours = [set(np.flatnonzero(row).tolist()) for row in alike]

    def extend(group: set[int], candidates: set[int], excluded: set[int]) -> Iterator[set[int]]:
        if not candidates and not excluded:
            yield group
            return
        pivot = max(candidates | excluded, key=lambda node: len(neighbours[node] & candidates))
        for node in candidates - neighbours[pivot]:
            yield from extend(group | {node}, candidates & neighbours[node], excluded & neighbours[node])
            candidates = candidates - {node}
            excluded = excluded | {node}

    return extend(set(), set(range(len(alike))), set())


def _controlled(alike: np.ndarray) -> list[set[int]]:
    groups: list[set[int]] = []
    for i in range(len(alike)):
        differing = np.flatnonzero(~alike[i, i + 1 :])
        stop = i + 1 + int(differing[0]) if len(differing) else len(alike)
        group = set(range(i, stop))
        if not any(group <= earlier for earlier in groups):
            groups.append(group)
    return groups


def critical_difference(
    table: pd.DataFrame, convention: Convention = "holm", alpha: float | None = None, *, lower_is_better: bool = False
) -> CriticalDifference:
    """Return ranks, tests and groups for a critical-difference diagram.

    The Friedman test comes first; if it does not reject at `alpha`, one group holds all methods.

    Parameters
    ----------
    table : DataFrame
        A row per data set, a column per method, no gaps.
    convention : {"holm", "aeon", "nemenyi"}, default="holm"
        See the head of this module. "aeon" also takes aeon's rule for the groups, see :func:`cliques`.
    alpha : float, optional
        By default 0.05, for "aeon" 0.1.
    lower_is_better : bool, default=False
        Whether the values are errors.

    Returns
    -------
    CriticalDifference

    Raises
    ------
    ValueError
        As :func:`compare`.

    References
    ----------
    Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006; Benavoli, Corani and
    Mangili, Should we really use post-hoc tests based on mean-ranks?, JMLR 17, 2016.
    """
    alpha = _checked_alpha(convention, alpha)
    ranks = average_ranks(table, lower_is_better=lower_is_better)
    pairs = compare(table, convention, alpha, lower_is_better=lower_is_better)
    test = friedman(table, lower_is_better=lower_is_better) if len(ranks) > 2 else None
    if test is not None and test.p_value > alpha:
        groups: tuple[tuple[str, ...], ...] = (tuple(ranks.index),)
    else:
        groups = cliques(pairs, list(ranks.index), rule="control" if convention == "aeon" else "pairs")
    return CriticalDifference(ranks, pairs, groups, test, convention, alpha, len(table))
