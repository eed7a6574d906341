"""Ranks, tests and groups against scipy, hand-worked examples, brute force, and published tables."""

import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from tsmodels.benchmark.published import load_published
from tsmodels.benchmark.statistics import (
    DEFAULT_ALPHA,
    average_ranks,
    cliques,
    compare,
    critical_difference,
    friedman,
    wilcoxon,
)

_PUBLISHED = Path(os.environ.get("TSMODELS_DATA", "absent")).resolve().parent / "published"
_needs_tables = pytest.mark.skipif(
    not _PUBLISHED.is_dir(), reason="no folder 'published' beside the one that TSMODELS_DATA names"
)
_CONVENTIONS = ("holm", "aeon", "nemenyi")


def _table(seed=0, n=20, k=5, ties=False):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, k)) * 0.1 + np.linspace(0.9, 0.7, k)
    return pd.DataFrame(values.round(1) if ties else values, columns=list("ABCDEFGH")[:k])


def _bakeoff(archive):
    table = load_published(f"{archive}_bakeoff_default_split").pivot(index="dataset", columns="method", values="value")
    complete = table.notna().sum() == table.notna().sum().max() if archive == "uea" else slice(None)
    return table.loc[:, complete].dropna()


def test_ranks_of_a_hand_worked_example():
    table = pd.DataFrame({"A": [0.9, 0.8, 0.7], "B": [0.9, 0.7, 0.8], "C": [0.5, 0.8, 0.6]})
    # rows: 1.5 1.5 3; 1.5 3 1.5; 2 1 3
    assert average_ranks(table).to_dict() == pytest.approx({"A": 5 / 3, "B": 5.5 / 3, "C": 2.5})
    assert average_ranks(table).index.tolist() == ["A", "B", "C"]
    assert average_ranks(-table, lower_is_better=True).to_dict() == average_ranks(table).to_dict()


def test_values_that_differ_by_rounding_errors_tie():
    table = pd.DataFrame({"A": [0.1 + 0.2], "B": [0.3]})
    assert average_ranks(table).tolist() == [1.5, 1.5]
    pairs = compare(pd.DataFrame({"A": [0.9, 0.8], "B": [0.8, 0.7]}))
    assert pairs["p_value"].tolist() == [0.5]  # the two differences share a rank


def test_friedman_of_a_hand_worked_example():
    # ranks 1 2 3 on three sets and 2 1 3 on one: rank sums 5, 7, 12; 12 / (4 * 3 * 4) * (25 + 49 + 144) - 3 * 4 * 4
    table = pd.DataFrame({"A": [3, 3, 3, 2], "B": [2, 2, 2, 3], "C": [1, 1, 1, 1]}, dtype=float)
    assert friedman(table).statistic == pytest.approx(6.5)
    assert friedman(table).p_value == pytest.approx(np.exp(-3.25))  # chi-squared with 2 degrees of freedom


@pytest.mark.parametrize("ties", [False, True])
def test_friedman_is_that_of_scipy(ties):
    table = _table(ties=ties)
    expected = scipy.stats.friedmanchisquare(*table.to_numpy().T)
    assert friedman(table).statistic == pytest.approx(expected.statistic)
    assert friedman(table).p_value == pytest.approx(expected.pvalue)
    assert friedman(table, lower_is_better=True).p_value == pytest.approx(expected.pvalue)


def test_friedman_of_nothing_but_ties():
    assert friedman(pd.DataFrame({"A": [1.0, 2.0], "B": [1.0, 2.0], "C": [1.0, 2.0]})).p_value == 1.0


@pytest.mark.parametrize("zeros", ["pratt", "wilcox"])
@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
@pytest.mark.parametrize("n", [4, 12, 30, 70])
def test_wilcoxon_is_that_of_scipy(zeros, alternative, n):
    rng = np.random.default_rng(n)
    distinct = rng.normal(0.2, size=n)
    for differences in (distinct, rng.integers(-3, 5, n).astype(float)):
        given = {"zero_method": zeros, "alternative": alternative}
        # which method "auto" takes has changed between versions of scipy: it is named here
        ties = len(np.unique(np.abs(differences))) < n or (differences == 0).any()
        if ties and n <= 13:
            method = scipy.stats.PermutationMethod(n_resamples=np.inf)
        else:
            method = "exact" if not ties and n <= 50 else "asymptotic"
        expected = scipy.stats.wilcoxon(differences, method=method, **given).pvalue
        assert wilcoxon(differences, zeros=zeros, alternative=alternative) == pytest.approx(expected)


def test_wilcoxon_counts_all_signs():
    """The exact p-value with ties and zeros is the share of all assignments of signs as extreme as the one seen."""
    differences = np.array([3.0, -1.0, 0.0, 2.0, 2.0, -2.0, 0.0, 5.0])
    ranks = scipy.stats.rankdata(np.abs(differences))
    nonzero = differences != 0
    seen = ranks[differences > 0].sum()
    signs = np.array(np.meshgrid(*[[0, 1]] * int(nonzero.sum()))).reshape(int(nonzero.sum()), -1)
    sums = ranks[nonzero] @ signs
    expected = min(1.0, 2 * min((sums >= seen).mean(), (sums <= seen).mean()))
    assert wilcoxon(differences) == pytest.approx(expected)
    assert wilcoxon(np.zeros(5)) == 1.0


def test_holm_goes_down_and_stops_at_the_first_failure():
    table = _table(n=25, k=6)
    pairs = compare(table, "holm", 0.05)
    by_p = pairs.sort_values("p_value")
    expected, going = [], True
    for i, p in enumerate(by_p["p_value"]):
        going = going and p <= 0.05 / (len(pairs) - i)
        expected.append(going)
    assert by_p["rejected"].tolist() == expected
    assert 0 < sum(expected) < len(pairs)


def test_aeons_rule_is_one_sided_with_one_threshold():
    table = _table(n=25, k=6)
    pairs = compare(table, "aeon", 0.1)
    for row in pairs.to_dict("records"):
        p = scipy.stats.wilcoxon(
            table[row["first"]] - table[row["second"]], zero_method="wilcox", alternative="greater"
        ).pvalue
        assert row["p_value"] == pytest.approx(p)
        assert row["rejected"] == (p <= 0.1 / 5)
    assert DEFAULT_ALPHA["aeon"] == 0.1


def test_nemenyi_is_the_critical_distance_of_demsar():
    # Demsar 2006, table 5: q 0.05 of four classifiers is 2.569; his example: 14 data sets, CD 1.25
    result = critical_difference(_table(n=14, k=4), "nemenyi")
    assert result.critical_distance == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    ranks = result.ranks
    for row in result.pairs.to_dict("records"):
        assert row["rejected"] == (ranks[row["second"]] - ranks[row["first"]] >= result.critical_distance)
    assert critical_difference(_table(), "holm").critical_distance is None


def test_pairs_count_wins_of_the_better_ranked():
    table = pd.DataFrame({"worse": [1.0, 5.0, 3.0, 0.0], "better": [2.0, 4.0, 3.0, 1.0]})
    (row,) = compare(table).to_dict("records")
    assert (row["first"], row["second"]) == ("better", "worse")
    assert (row["wins"], row["draws"], row["losses"], row["mean_difference"]) == (2, 1, 1, 0.25)
    (turned,) = compare(table, lower_is_better=True).to_dict("records")
    assert (turned["first"], turned["wins"], turned["mean_difference"]) == ("worse", 2, -0.25)


def _brute_force(pairs, order):
    """All subsets without a rejected pair that are inside no other such."""
    rejected = {frozenset((row["first"], row["second"])) for row in pairs.to_dict("records") if row["rejected"]}
    free = [
        set(group)
        for size in range(2, len(order) + 1)
        for group in combinations(order, size)
        if not any(frozenset(pair) in rejected for pair in combinations(group, 2))
    ]
    return {frozenset(group) for group in free if not any(group < other for other in free)}


@pytest.mark.parametrize("seed", range(6))
def test_cliques_are_those_of_brute_force(seed):
    rng = np.random.default_rng(seed)
    order = list("ABCDEFGHI")
    pairs = pd.DataFrame(list(combinations(order, 2)), columns=["first", "second"])
    pairs["rejected"] = rng.random(len(pairs)) < rng.uniform(0.2, 0.8)
    found = cliques(pairs, order)
    assert {frozenset(group) for group in found} == _brute_force(pairs, order)
    assert len(set(found)) == len(found)
    assert all(list(group) == sorted(group) for group in found)


def test_a_group_may_pass_over_a_method():
    pairs = pd.DataFrame(
        [("A", "B", True), ("A", "C", False), ("B", "C", True)], columns=["first", "second", "rejected"]
    )
    assert cliques(pairs, ["A", "B", "C"]) == (("A", "C"),)
    assert cliques(pairs, ["A", "B", "C"], rule="control") == ()
    assert cliques(pairs.assign(rejected=True), ["A", "B", "C"]) == ()


def test_the_rule_of_control_looks_at_no_pair_but_its_own():
    rows = [
        ("A", "B", False),
        ("A", "C", False),
        ("A", "D", True),
        ("B", "C", True),
        ("B", "D", False),
        ("C", "D", False),
    ]
    pairs = pd.DataFrame(rows, columns=["first", "second", "rejected"])
    assert cliques(pairs, list("ABCD"), rule="control") == (("A", "B", "C"), ("C", "D"))
    assert cliques(pairs, list("ABCD")) == (("A", "B"), ("A", "C"), ("B", "D"), ("C", "D"))


@pytest.mark.parametrize("convention", _CONVENTIONS)
def test_one_bar_over_all_where_friedman_does_not_reject(convention):
    table = pd.DataFrame(np.random.default_rng(3).normal(size=(8, 4)), columns=list("ABCD"))
    result = critical_difference(table, convention)
    assert not result.differs
    assert result.cliques == (tuple(result.ranks.index),)
    assert "does not reject" in result.description


def test_two_methods_need_no_test_before_that_of_their_pair():
    table = pd.DataFrame({"A": np.arange(10.0), "B": np.arange(10.0) - np.arange(1.0, 11.0)})
    result = critical_difference(table)
    assert result.friedman is None
    assert result.pairs["p_value"].tolist() == [2 / 2**10]
    assert result.cliques == ()


@pytest.mark.parametrize(
    ("table", "given", "message"),
    [
        (pd.DataFrame({"A": [1.0]}), {}, "at least two methods"),
        (pd.DataFrame({"A": [], "B": []}), {}, "one data set"),
        (pd.DataFrame({"A": [1.0, np.nan], "B": [1.0, 2.0]}, index=["x", "y"]), {}, "no gaps: .* y"),
        (pd.DataFrame([[1.0, 2.0]], columns=["A", "A"]), {}, "every method once; it repeats A"),
        (_table(), {"convention": "bonferroni"}, "convention must be one of 'holm'"),
        (_table(), {"alpha": 5}, "alpha must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_compared_is_refused(table, given, message):
    with pytest.raises(ValueError, match=message):
        critical_difference(table, **given)


@_needs_tables
@pytest.mark.parametrize(
    ("archive", "shape", "ours", "aeons"), [("uea", (26, 15), 18, 42), ("ucr", (112, 14), 41, 48)], ids=["UEA", "UCR"]
)
def test_rejected_pairs_of_the_bake_offs(archive, shape, ours, aeons):
    table = _bakeoff(archive)
    assert table.shape == shape
    assert compare(table, "holm", 0.05)["rejected"].sum() == ours
    assert compare(table, "aeon", 0.05)["rejected"].sum() == aeons


@_needs_tables
@pytest.mark.parametrize("archive", ["uea", "ucr"])
def test_cliques_of_the_bake_offs_are_those_of_the_reference(archive):
    """As hfawaz/cd-diagram finds them: scipy's tests, Holm's loop, maximal cliques of networkx."""
    networkx = pytest.importorskip("networkx")
    table = _bakeoff(archive)
    p_values = sorted(
        (scipy.stats.wilcoxon(table[a], table[b], zero_method="pratt").pvalue, a, b)
        for a, b in combinations(table.columns, 2)
    )
    graph = networkx.Graph()
    going = True
    for i, (p, a, b) in enumerate(p_values):
        going = going and p <= 0.05 / (len(p_values) - i)
        if not going:
            graph.add_edge(a, b)
    reference = {frozenset(group) for group in networkx.find_cliques(graph)}
    found = critical_difference(table, "holm", 0.05).cliques
    assert {frozenset(group) for group in found} == reference
    assert len(found) > 1
