"""The picture of an explanation: what is drawn where."""

import numpy as np
import pandas as pd
import pytest
from sktime.datatypes import convert_to

from tsmodels.plots import plot_explanation


@pytest.fixture
def cases():
    return np.random.default_rng(0).normal(size=(2, 3, 40))


@pytest.fixture
def explanation():
    def row(case, token, label, channel, attention, start, length):
        kind = "value" if label is None else "shapelet"
        shapelet = None if label is None else np.linspace(-1, 1, length)
        end = start + length if start >= 0 else -1
        threshold = 1.0 if kind == "shapelet" else np.nan
        return {
            "case": case,
            "distance": 2.0 - 0.5 * token,
            "threshold": threshold,
            "prediction": "walk",
            "token": token,
            "kind": kind,
            "class": label,
            "channel": channel,
            "attention": attention,
            "start": start,
            "end": end,
            "shapelet": shapelet,
        }

    return pd.DataFrame(
        [
            row(0, 0, "run", 2, 0.2, 5, 10),
            row(0, 1, "walk", 0, 0.4, 20, 8),
            row(0, 2, None, 0, 0.3, 10, 10),
            row(0, 3, "walk", 1, 0.1, -1, 50),
            row(1, 0, "run", 1, 1.0, 0, 10),
        ]
    )


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_a_panel_for_each_channel_with_a_match_and_the_bars(cases, explanation):
    figure = plot_explanation(cases, explanation)
    first, second, bars = figure.axes
    assert [first.get_ylabel(), second.get_ylabel()] == ["channel 0", "channel 2"]
    assert np.array_equal(first.lines[0].get_ydata(), cases[0, 0])
    assert first.lines[1].get_xdata().tolist() == list(range(20, 28))
    assert second.lines[1].get_xdata().tolist() == list(range(5, 15))
    assert sorted(texts(first)) == ["1", "2"]
    assert texts(second) == ["3"]
    assert [bar.get_width() for bar in bars.patches] == [0.4, 0.3, 0.2, 0.1]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["1", "2", "3", "4 (does not fit)"]
    assert figure.get_suptitle() == "case 0: predicted walk"


@pytest.mark.parametrize("mtype", ["df-list", "nested_univ", "pd-multiindex"])
def test_pandas_containers_are_drawn_as_arrays(cases, explanation, mtype):
    figure = plot_explanation(convert_to(cases, mtype, as_scitype="Panel"), explanation)
    assert np.array_equal(figure.axes[0].lines[0].get_ydata(), cases[0, 0])


def test_classes_differ_in_colour_and_are_named(cases, explanation):
    first, second, bars = plot_explanation(cases, explanation).axes
    assert bars.patches[0].get_facecolor() != bars.patches[2].get_facecolor() == bars.patches[2].get_facecolor()
    assert first.lines[1].get_color() != second.lines[1].get_color()
    named = [text.get_text() for text in first.get_legend().get_texts()]
    assert named == ["series", "shapelet of run", "shapelet of walk", "interval summarised"]


def test_classes_keep_their_colour_from_picture_to_picture(cases, explanation):
    classes = ["run", "walk"]
    one = plot_explanation(cases, explanation, classes=classes).axes[-1].patches[2].get_facecolor()
    other = plot_explanation(cases, explanation, case=1, classes=classes).axes[-1].patches[0].get_facecolor()
    assert one == other


def test_top_and_names(cases, explanation):
    figure = plot_explanation(cases, explanation, top=1, channels=["x", "y", "z"])
    assert [ax.get_ylabel() for ax in figure.axes] == ["x", ""]
    assert len(figure.axes[-1].patches) == 1


def test_best_matches_first(cases, explanation):
    *_, bars = plot_explanation(cases, explanation, order="match", top=2).axes
    assert [bar.get_width() for bar in bars.patches] == [0.5, 1.5]
    assert bars.get_xlabel() == "distance / threshold"
    far = explanation.assign(threshold=[np.inf, 1.0, np.nan, 1.0, 1.0])
    *_, bars = plot_explanation(cases, far[far["start"] >= 0], order="match").axes
    assert [bar.get_width() for bar in bars.patches] == [1.5]
    with pytest.raises(ValueError, match="no shapelet of case 0 has a threshold and a place"):
        plot_explanation(cases, explanation.assign(threshold=np.nan), order="match")
    with pytest.raises(ValueError, match="order must be 'attention' or 'match', got 'gain'"):
        plot_explanation(cases, explanation, order="gain")


def test_a_case_in_which_nothing_fits(cases, explanation):
    figure = plot_explanation(cases, explanation[explanation["start"] < 0])
    assert [label.get_text() for label in figure.axes[-1].get_yticklabels()] == ["1 (does not fit)"]
    assert len(figure.axes[0].lines) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"case": 3}, "explanation has no rows of case 3"),
        ({"top": 0}, "top must be at least 1, got 0"),
        ({"classes": ["run"]}, r"classes lacks the label 'walk' of explanation, got \['run'\]"),
        ({"channels": ["x"]}, "channels has 1 names, the case has 3 channels"),
        ({"X": np.zeros((2, 40))}, r"X\[0\] must be \(channel, time\), got shape \(40,\)"),
        ({"explanation": pd.DataFrame({"case": [0]})}, "explanation lacks the column 'prediction'"),
    ],
)
def test_what_cannot_be_drawn_is_named(cases, explanation, change, message):
    arguments = {"X": cases, "explanation": explanation} | change
    with pytest.raises(ValueError, match=message):
        plot_explanation(arguments.pop("X"), arguments.pop("explanation"), **arguments)
