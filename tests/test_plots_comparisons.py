"""Pictures that compare methods: what is drawn where, and that no name lies on another."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.figure import Figure

from tsmodels.benchmark.statistics import CriticalDifference, Friedman, compare, critical_difference
from tsmodels.plots._comparisons import (
    plot_accuracy_time,
    plot_comparison_matrix,
    plot_critical_difference,
    plot_pairwise,
)


def _table(k=5, n=20, seed=0, name="Method {}"):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, k)) * 0.05 + np.linspace(0.9, 0.7, k)
    return pd.DataFrame(values, columns=[name.format(i) for i in range(k)], index=[f"Set {i}" for i in range(n)])


def _texts(ax, label):
    return [text for text in ax.texts if text.get_label() == label]


def _overlapping(texts):
    boxes = [text.get_window_extent() for text in texts]
    return [(i, j) for i, j in combinations(range(len(boxes)), 2) if boxes[i].overlaps(boxes[j])]


@pytest.mark.parametrize(("k", "convention"), [(2, "holm"), (3, "nemenyi"), (20, "holm")])
def test_names_of_a_diagram_stand_apart_and_inside(k, convention):
    result = critical_difference(_table(k, name="A rather long name of a method, number {} ($x_1$)"), convention)
    ax = plot_critical_difference(result, highlight=result.ranks.index[:1])
    figure = ax.get_figure()
    figure.draw_without_rendering()
    assert sorted(text.get_text() for text in _texts(ax, "_method")) == sorted(result.ranks.index)
    assert not _overlapping([*_texts(ax, "_method"), *_texts(ax, "_rank")])
    frame = figure.bbox.padded(1)
    for text in ax.texts:
        box = text.get_window_extent()
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1, text
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1, text


def test_a_diagram_says_which_test_it_shows():
    result = critical_difference(_table(), "aeon", 0.1)
    drawn = " ".join(text.get_text() for text in plot_critical_difference(result).texts)
    for part in ("one-sided Wilcoxon", "alpha = 0.1", "20 data sets"):
        assert part in drawn


def test_bars_span_their_methods_with_a_dot_for_each():
    ranks = pd.Series({"A": 1.0, "B": 1.5, "C": 2.5, "D": 3.5, "E": 4.5})
    groups = (("A", "C"), ("B", "C"), ("D", "E"))
    pairs = compare(_table())
    ax = plot_critical_difference(CriticalDifference(ranks, pairs, groups, Friedman(9.0, 0.01), "holm", 0.05, 20))
    bars = [line for line in ax.lines if line.get_label() == "_clique"]
    dots = [each.get_offsets() for each in ax.collections if isinstance(each, PathCollection)]
    assert [len(each) for each in dots] == [2, 2, 2]
    for bar, points in zip(bars, dots, strict=True):
        assert min(bar.get_xdata()) < points[:, 0].min() < points[:, 0].max() < max(bar.get_xdata())
    heights = [bar.get_ydata()[0] for bar in bars]
    assert heights[0] == heights[2] != heights[1]  # those that do not touch share a row


def test_a_diagram_keeps_to_the_axes_given_and_marks_ours():
    figure = Figure(figsize=(12, 4))
    ax = figure.add_axes((0, 0, 1, 1))
    assert plot_critical_difference(critical_difference(_table()), highlight=["Method 1"], ax=ax) is ax
    weights = {text.get_text(): text.get_fontweight() for text in _texts(ax, "_method")}
    assert [name for name, weight in weights.items() if weight == "bold"] == ["Method 1"]


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_a_pair_counts_wins_of_the_first(lower_is_better):
    table = pd.DataFrame({"A": [0.9, 0.8, 0.5, 0.1 + 0.2, np.nan], "B": [0.8, 0.7, 0.6, 0.3, 0.9]}, index=list("vwxyz"))
    ax = plot_pairwise(table, "A", "B", lower_is_better=lower_is_better)
    wins, losses = (1, 2) if lower_is_better else (2, 1)
    assert ax.get_title("left") == f"{wins} wins / 1 draws / {losses} losses"
    points = [each.get_offsets() for each in ax.collections]
    assert [len(each) for each in points] == [wins, 1, losses]
    assert ax.get_xlim() == ax.get_ylim()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("B, accuracy", "A, accuracy")


def test_a_pair_names_the_largest_differences():
    table = pd.DataFrame(
        {"A": [0.9, 0.5, 0.71, 0.3], "B": [0.2, 0.5, 0.7, 0.6]}, index=["far", "same", "near", "below"]
    )
    names = {text.get_text() for text in plot_pairwise(table, "A", "B").texts}
    assert {"far", "below"} <= names
    assert "same" not in names


def test_errors_over_wide_ranges_are_drawn_on_logarithmic_axes():
    table = pd.DataFrame({"A": [0.01, 5.0], "B": [0.02, 4.0]})
    ax = plot_pairwise(table, "A", "B", lower_is_better=True)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


@pytest.mark.parametrize(
    ("pair", "message"), [(("A", "C"), "second must be one of A, B"), (("A", "B"), "no data set in common")]
)
def test_a_pair_that_cannot_be_drawn_is_refused(pair, message):
    with pytest.raises(ValueError, match=message):
        plot_pairwise(pd.DataFrame({"A": [1.0, np.nan], "B": [np.nan, 1.0]}), *pair)


def test_names_beside_times_stand_apart_even_where_points_meet():
    methods = [f"Method {i}" for i in range(8)]
    scores = pd.Series(0.8 + 0.001 * np.arange(8), index=methods)
    seconds = pd.Series(10 * 1.02 ** np.arange(8), index=methods)
    ax = plot_accuracy_time(scores, seconds, highlight=["Method 3"])
    ax.get_figure().draw_without_rendering()
    named = [text for text in ax.texts if text.get_text()]
    assert [text.get_text() for text in named] == methods
    assert not _overlapping(named)
    assert [text.get_text() for text in named if text.get_fontweight() == "bold"] == ["Method 3"]


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_the_front_joins_what_none_beats_in_both(lower_is_better):
    scores = pd.Series({"fast": 0.6, "middle": 0.8, "slow": 0.9, "beaten": 0.7, "untimed": 1.0})
    seconds = pd.Series({"fast": 1.0, "middle": 10.0, "slow": 100.0, "beaten": 50.0, "untimed": np.nan})
    ax = plot_accuracy_time(1 - scores if lower_is_better else scores, seconds, lower_is_better=lower_is_better)
    (front,) = [line for line in ax.lines if line.get_label() == "_front"]
    assert front.get_xdata().tolist() == [1.0, 10.0, 100.0]
    with pytest.raises(ValueError, match="no method in common"):
        plot_accuracy_time(scores[["untimed"]], seconds)


def test_a_matrix_holds_both_sides_of_every_pair():
    table = _table(3)
    ax = plot_comparison_matrix(table)
    cells = {text.get_position(): text.get_text().replace("\N{MINUS SIGN}", "-").split("\n") for text in ax.texts}
    assert set(cells) == {(x, y) for x in range(3) for y in range(3) if x != y}
    pairs = compare(table).set_index(["first", "second"])
    row = pairs.loc["Method 0", "Method 2"]
    difference, outcomes, p_value = cells[2, 0]
    assert float(difference) == pytest.approx(row["mean_difference"], abs=5e-4)
    assert outcomes == f"{row['wins']} / {row['draws']} / {row['losses']}"
    assert float(cells[0, 2][0]) == -float(difference)
    assert cells[0, 2][2] == p_value
    (mesh,) = [each for each in ax.collections if isinstance(each, QuadMesh)]
    assert mesh.get_array().mask.diagonal().all()
    assert mesh.get_array()[0, 2] > 0  # blue: the row is better
    assert plot_comparison_matrix(table, lower_is_better=True).collections[0].get_array()[0, 2] > 0
