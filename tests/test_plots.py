"""The pictures: what is drawn where, and that nothing lies on anything else."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import FillBetweenPolyCollection, LineCollection, PathCollection
from matplotlib.dates import date2num
from matplotlib.figure import Figure

from tsmodels.benchmark.results import to_frame
from tsmodels.plots import plot_accuracy, plot_errors, plot_forecast, plot_horizon_errors


def _cell(dataset, model, seed, accuracy, configuration="0", status="finished"):
    record = {"dataset": dataset, "model": model, "seed": seed, "configuration": configuration, "status": status}
    return record | {"accuracy": accuracy, "n_test": 40}


@pytest.fixture
def results():
    return to_frame(
        [
            _cell("One", "Deep", 0, 0.9),
            _cell("One", "Deep", 1, 0.7),
            _cell("One", "Deep", 2, None, status="failed"),
            _cell("One", "Plain", None, 0.6),
            _cell("Two", "Deep", 0, 1.0),
            _cell("Two", "Deep", 1, 1.0),
            _cell("Two", "Plain", None, 0.95),
        ]
    )


def _points(ax):
    """Return all points drawn, those of the legend, which are empty, left out."""
    drawn = [each.get_offsets() for each in ax.collections if isinstance(each, PathCollection)]
    return [[tuple(point) for point in np.asarray(offsets).round(6)] for offsets in drawn if len(offsets)]


def test_every_model_has_its_seeds_and_their_mean_in_a_row_of_its_own(results):
    ax = plot_accuracy(results)
    assert _points(ax) == [
        [(0.9, 0.0), (0.7, 0.0)],  # seeds
        [(0.8, 0.0)],  # mean
        [(0.6, 1.0)],
        [(1.0, 2.9), (1.0, 2.9)],
        [(1.0, 2.9)],
        [(0.95, 3.9)],
    ]
    assert [line.get_xdata().tolist() for line in ax.lines] == [[0.7, 0.9], [1.0, 1.0]]
    assert [text.get_text() for text in ax.texts] == ["0.800 ± 0.141", "0.600", "1.000 ± 0.000", "0.950"]


def test_sets_and_models_are_labelled(results):
    ax = plot_accuracy(results)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["One\n40 test cases", "Two\n40 test cases"]
    assert ax.get_yticks().tolist() == [0.5, 3.4]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Deep", "Plain"]
    assert "accuracy on the test cases" in ax.get_xlabel()
    bottom, top = ax.get_ylim()
    assert bottom > 3.9 > 0 > top  # the first set on top, all rows inside
    left, right = ax.get_xlim()
    assert left < 0.6
    assert right > 1


def test_models_differ_in_colour_and_marker_and_keep_theirs(results):
    ax = plot_accuracy(results)
    means = [each for each in ax.collections if isinstance(each, PathCollection) and len(each.get_offsets()) == 1]
    colours = [tuple(each.get_facecolor()[0]) for each in means]
    assert colours[0] == colours[2] != colours[1] == colours[3]
    shapes = [each.get_paths()[0].vertices.shape for each in means]
    assert shapes[0] == shapes[2] != shapes[1] == shapes[3]
    handles = ax.get_legend().legend_handles
    assert [tuple(handle.get_facecolor()[0]) for handle in handles] == colours[:2]


def test_configurations_of_one_model_are_drawn_apart():
    ax = plot_accuracy(to_frame([_cell("One", "Deep", 0, 0.5, "aa"), _cell("One", "Deep", 0, 0.9, "bb")]))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Deep [aa]", "Deep [bb]"]
    assert _points(ax) == [[(0.5, 0.0)], [(0.9, 1.0)]]


def test_it_draws_into_given_axes(results):
    ax = Figure().subplots()
    assert plot_accuracy(results, ax) is ax
    assert len(ax.texts) == 4


@pytest.mark.parametrize(("n_sets", "names"), [(1, ["Deep"]), (12, [f"Classifier{'x' * i}" for i in range(0, 27, 3)])])
def test_no_text_lies_on_another_or_outside(n_sets, names, tmp_path):
    cells = [
        _cell(f"{i}DistalPhalanxOutlineAgeGroup", name, seed, 1 - i / 30 - seed / 100)
        for i in range(n_sets)
        for name in names
        for seed in (0, 1)
    ]
    ax = plot_accuracy(to_frame(cells))
    figure = ax.get_figure()
    figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000
    texts = [*ax.texts, *ax.get_yticklabels(), *ax.get_legend().get_texts(), ax.xaxis.label]
    boxes = [text.get_window_extent() for text in texts]
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_perfect_scores_do_not_collapse_the_axis():
    left, right = plot_accuracy(to_frame([_cell("One", "Deep", 0, 1.0)])).get_xlim()
    assert left < 0.95 < 1 < right


def test_nothing_to_draw_is_an_error():
    for cells in ([], [_cell("One", "Deep", 0, None, status="failed")]):
        with pytest.raises(ValueError, match="no finished cell"):
            plot_accuracy(to_frame(cells))


def test_importing_leaves_matplotlibs_state_alone():
    code = "import sys, tsmodels.plots; print('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def _error(dataset, model, seed, mse, lookback=8, horizon=4, **other):
    record = {"task": "long-horizon", "dataset": dataset, "model": model, "seed": seed, "configuration": "0"}
    measures = {"mse": mse, "mae": None if mse is None else 2 * mse}
    return record | {"status": "finished", "lookback": lookback, "horizon": horizon} | measures | other


def test_errors_are_drawn_by_data_set_and_horizon():
    cells = [_error("One", "Deep", seed, 0.5 + seed / 5) for seed in (0, 1)]
    results = to_frame([*cells, _error("One", "Naive", None, 2.0), _error("One", "Deep", 0, 1.0, horizon=6)])
    ax = plot_errors(results)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["One\n8 to 4", "One\n8 to 6"]
    assert [text.get_text() for text in ax.texts] == ["0.600 ± 0.141", "2.000", "1.000"]
    left, right = ax.get_xlim()
    assert left == 0
    assert right > 2
    assert "MSE" in ax.get_xlabel()
    assert [text.get_text() for text in plot_errors(results, "mae").texts] == ["1.200 ± 0.283", "4.000", "2.000"]
    wide = plot_errors(to_frame([_error("One", "Deep", 0, 0.1), _error("Two", "Deep", 0, 50.0)]))
    assert wide.get_xscale() == "log"


def test_coverage_is_drawn_beside_what_was_promised():
    record = {"task": "forecasting", "dataset": "One", "model": "Deep", "seed": 0, "configuration": "0"}
    record |= {"status": "finished", "horizon": 4, "n_cutoffs": 3, "mase": 0.5, "coverage_90": 0.7}
    ax = plot_errors(to_frame([record, record | {"model": "Point", "coverage_90": None}]), "coverage_90")
    assert [list(line.get_xdata()) for line in ax.lines] == [[0.9, 0.9]]
    assert _points(ax) == [[(0.7, 0.0)]]


def test_errors_of_other_kinds_are_refused(results):
    with pytest.raises(ValueError, match="results hold no forecasts: draw them with plot_accuracy"):
        plot_errors(results)
    with pytest.raises(ValueError, match="measure must be one of 'mse', 'mae', got 'mase'"):
        plot_errors(to_frame([_error("One", "Deep", 0, 1.0)]), "mase")
    with pytest.raises(ValueError, match="no finished cell"):
        plot_errors(to_frame([_error("One", "Deep", 0, None, status="failed")]))


def _steps(dataset, model, seed, mse, configuration="0"):
    facts = {"dataset": dataset, "lookback": 8, "horizon": len(mse), "model": model, "configuration": configuration}
    return pd.DataFrame({**facts, "seed": seed, "step": range(1, len(mse) + 1), "mse": mse, "mae": 0.5})


def test_errors_by_step_have_a_line_per_model_and_a_band_over_seeds():
    parts = [
        _steps("One", "Deep", 0, [1.0, 3.0]),
        _steps("One", "Deep", 1, [2.0, 5.0]),
        _steps("Two", "Deep", 0, [1.0, 1.0]),
    ]
    axes = plot_horizon_errors(pd.concat([*parts, _steps("One", "Naive", pd.NA, [4.0, 4.0])]))
    assert [ax.get_title(loc="left") for ax in axes] == ["One, 8 to 2", "Two, 8 to 2"]
    assert {line.get_label(): line.get_ydata().tolist() for line in axes[0].get_lines()} == {
        "Deep": [1.5, 4.0],
        "Naive": [4.0, 4.0],
    }
    assert [line.get_xdata().tolist() for line in axes[0].get_lines()] == [[1, 2], [1, 2]]
    (band,) = [each for each in axes[0].collections if isinstance(each, FillBetweenPolyCollection)]
    assert {tuple(point) for point in band.get_paths()[0].vertices} == {(1, 1), (1, 2), (2, 3), (2, 5)}
    assert not axes[1].collections
    assert axes[0].get_lines()[0].get_color() == axes[1].get_lines()[0].get_color()
    (legend,) = axes[0].get_figure().legends
    assert [text.get_text() for text in legend.get_texts()] == ["Deep", "Naive"]
    assert [line.get_ydata().tolist() for line in plot_horizon_errors(parts[0], "mae")[0].get_lines()] == [[0.5, 0.5]]


def test_configurations_of_one_model_have_lines_of_their_own():
    errors = pd.concat([_steps("One", "Deep", 0, [1.0], "aa"), _steps("One", "Deep", 0, [2.0], "bb")])
    assert [line.get_label() for line in plot_horizon_errors(errors)[0].get_lines()] == ["Deep [aa]", "Deep [bb]"]


def test_errors_by_step_that_are_none_are_refused():
    with pytest.raises(ValueError, match="errors must have rows"):
        plot_horizon_errors(_steps("One", "Deep", 0, []))
    with pytest.raises(ValueError, match="measure must be one of 'mse', 'mae', got 'smape'"):
        plot_horizon_errors(_steps("One", "Deep", 0, [1.0]), "smape")


_INDICES = {
    "period": pd.period_range("2020-01", periods=40, freq="M"),
    "datetime": pd.date_range("2020-01-01", periods=40, freq="h"),
    "range": pd.RangeIndex(40),
}


def _series(kind, n_channels):
    columns = [f"channel {i}" for i in range(n_channels)]
    values = np.arange(40.0)[:, None] + np.arange(n_channels)
    frame = pd.DataFrame(values, _INDICES[kind], columns)
    return frame if n_channels > 1 else frame["channel 0"]


def _interval_frame(y, *coverages):
    frame = y.to_frame() if isinstance(y, pd.Series) else y
    columns = pd.MultiIndex.from_product([frame.columns, coverages, ["lower", "upper"]])
    limits = [frame[name] + (1 if side == "upper" else -1) * 10 * coverage for name, coverage, side in columns]
    return pd.DataFrame(np.stack(limits, 1), frame.index, columns)


@pytest.mark.parametrize("kind", _INDICES)
@pytest.mark.parametrize("n_channels", [1, 3])
def test_forecasts_are_drawn_with_past_truth_and_intervals(kind, n_channels, tmp_path):
    y = _series(kind, n_channels)
    past, future = y[:30], y[30:]
    axes = plot_forecast(past, future, future + 1, _interval_frame(future + 1, 0.5, 0.9))
    assert len(axes) == n_channels
    x = y.index.to_timestamp() if kind == "period" else y.index
    for i, ax in enumerate(axes):
        drawn = {line.get_label(): line for line in ax.get_lines()}
        assert list(drawn) == ["past", "truth", "forecast"]
        assert drawn["past"].get_ydata().tolist() == [t + i for t in range(30)]
        assert drawn["truth"].get_ydata().tolist() == [t + i for t in range(30, 40)]
        assert drawn["forecast"].get_ydata().tolist() == [t + i + 1 for t in range(30, 40)]
        assert list(drawn["truth"].get_xdata()) == list(x[30:])
        wide, narrow = [each for each in ax.collections if isinstance(each, FillBetweenPolyCollection)]
        first = float(date2num(x[30]) if kind != "range" else x[30])
        for area, half in ((wide, 9), (narrow, 5)):
            at_first = {y for t, y in area.get_paths()[0].vertices if t == pytest.approx(first)}
            assert at_first == {31 + i - half, 31 + i + half}
        assert wide.get_alpha() < narrow.get_alpha()
        assert ax.get_ylabel() == f"channel {i}"
    texts = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert texts == ["past", "truth", "forecast", "intervals 90 %", "50 %"]
    figure = axes[0].get_figure()
    figure.savefig(tmp_path / "picture.png")
    legend = axes[0].get_legend().get_window_extent()
    assert legend.y0 >= axes[0].get_window_extent().y1 - 1  # above the data
    for labels in (axes[-1].get_xticklabels(), axes[0].get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels if label.get_text()]
        assert not any(box.overlaps(other) for i, box in enumerate(boxes) for other in boxes[:i])


def test_the_past_is_cut_where_it_would_hide_the_forecast():
    y = pd.Series(np.arange(1000.0))
    lengths = [
        len(axes[0].get_lines()[0].get_xdata())
        for axes in (plot_forecast(y), plot_forecast(y, forecast=y[-30:]), plot_forecast(y, y[-3:], history=7))
    ]
    assert lengths == [1000, 150, 7]


def test_one_step_is_seen():
    y = pd.Series(np.arange(20.0))
    (ax,) = plot_forecast(y[:19], y[19:], y[19:], _interval_frame(y[19:].rename("y"), 0.9))
    assert [line.get_marker() for line in ax.get_lines()[1:]] == ["o", "s"]
    (interval,) = [each for each in ax.collections if isinstance(each, LineCollection)]
    assert np.asarray(interval.get_segments()[0]).tolist() == [[19, 10], [19, 28]]


def test_channels_are_matched_by_name_and_axes_may_be_given():
    y = _series("range", 2)
    axes = Figure().subplots(2)
    drawn = plot_forecast(y[:30], forecast=y[30:][["channel 1", "channel 0"]], axes=axes)
    assert drawn.tolist() == axes.tolist()
    assert drawn[0].get_lines()[1].get_ydata()[0] == 30


def test_what_cannot_be_drawn_is_refused():
    y, two = _series("range", 1), _series("range", 2)
    for arguments, error, message in [
        ((y.to_numpy(),), TypeError, "y_train must be a pandas Series or DataFrame, got ndarray"),
        ((y[:0],), ValueError, "y_train is empty"),
        ((y, two), ValueError, "y_test has 2 channels, y_train has 1"),
        ((two, None, two.rename(columns={"channel 0": "x"})), ValueError, "forecast has the channels"),
        ((y, _series("datetime", 1)), ValueError, "use one kind of index"),
        ((y, None, y, two), ValueError, "intervals must have columns"),
        ((y, None, y, _interval_frame(two, 0.9)), ValueError, "intervals has 2 channels, y_train has 1"),
        ((y, None, y, _interval_frame(y, 0.9).iloc[:, :1]), ValueError, "intervals lacks the column"),
        ((pd.concat({"a": y, "b": y}),), TypeError, "y_train holds several series"),
    ]:
        with pytest.raises(error, match=message):
            plot_forecast(*arguments)
    with pytest.raises(ValueError, match="history must be at least 1"):
        plot_forecast(y, history=0)
    with pytest.raises(ValueError, match="axes must be 2, one for each channel"):
        plot_forecast(two, axes=Figure().subplots())
