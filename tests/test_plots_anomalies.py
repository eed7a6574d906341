"""The picture of detected anomalies: what is drawn where."""

import doctest

import numpy as np
import pandas as pd
import pytest

from tsmodels.plots import _anomalies, plot_anomalies

SERIES = np.sin(np.arange(60)[:, None] / 3 + np.arange(2))
SCORES = np.linspace(0, 1, 60)


def spans(ax):
    return [(p.get_x(), p.get_x() + p.get_width()) for p in ax.patches]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_panel_for_each_channel_and_one_for_the_scores():
    panels = plot_anomalies(SERIES, SCORES, 0.8, [(10, 15), (30, 31)], labels=np.arange(60) == 12)
    assert [ax.get_ylabel() for ax in panels] == ["channel 0", "channel 1", "score"]
    for i in range(2):
        np.testing.assert_array_equal(panels[i].lines[0].get_ydata(), SERIES[:, i])
    np.testing.assert_array_equal(panels[2].lines[0].get_ydata(), SCORES)
    assert list(panels[2].lines[1].get_ydata()) == [0.8, 0.8]
    for ax in panels:
        assert spans(ax) == [(9.5, 14.5), (29.5, 30.5)]  # a time point has the width of a step
        assert list(ax.lines[-1].get_xdata()) == [11.5, 12.5]
    assert legend(panels[0]) == ["detected", "true anomalies", "threshold"]
    panels[0].get_figure().canvas.draw()


@pytest.mark.parametrize("form", ["frame", "intervals", "pairs"])
def test_segments_in_every_form(form):
    intervals = pd.IntervalIndex.from_tuples([(0, 3), (50, 60)], closed="left")
    given = {
        "frame": pd.DataFrame({"ilocs": intervals, "score": 1.0}),
        "intervals": intervals,
        "pairs": [(0, 3), (50, 60)],
    }
    panels = plot_anomalies(SERIES[:, 0], SCORES, segments=given[form])
    assert spans(panels[0]) == [(-0.5, 2.5), (49.5, 59.5)] and legend(panels[0]) == ["detected"]


@pytest.mark.parametrize(
    "index", [pd.date_range("2020", periods=60, freq="h"), pd.period_range("2020", periods=60, freq="D")]
)
def test_dates(index):
    frame = pd.DataFrame(SERIES, index, ["load", "price"])
    panels = plot_anomalies(frame, pd.DataFrame({"scores": SCORES}, index), segments=[(5, 7)], labels=SCORES > 0.9)
    assert [ax.get_ylabel() for ax in panels] == ["load", "price", "score"] and panels[-1].get_xlabel() == ""
    panels[0].get_figure().canvas.draw()


def test_nothing_detected_and_nothing_known():
    panels = plot_anomalies(SERIES, SCORES, segments=pd.DataFrame({"ilocs": pd.IntervalIndex([])}))
    assert spans(panels[0]) == [] and legend(panels[0]) == ["detected"]
    assert plot_anomalies(pd.Series(SERIES[:, 0]), SCORES)[0].get_legend() is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plot_anomalies(SERIES, SCORES[1:]), "scores has 59 values, series has 60 time points"),
        (lambda: plot_anomalies(SERIES, SCORES, labels=[1]), "labels has 1 values"),
        (lambda: plot_anomalies(SERIES, SCORES, segments=[(50, 61)]), r"segment \[50, 61\) lies outside the 60"),
        (lambda: plot_anomalies(np.zeros((5, 13)), np.zeros(5)), "between 1 and 12 channels"),
        (lambda: plot_anomalies(np.zeros((2, 5, 3)), np.zeros(5)), r"series must be \(time,\) or \(time, channel\)"),
    ],
)
def test_what_cannot_be_drawn_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_examples_in_docstrings():
    assert doctest.testmod(_anomalies).failed == 0
