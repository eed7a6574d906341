"""The pictures: what is drawn where, and that nothing lies on anything else."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from tsmodels.benchmark.results import to_frame
from tsmodels.plots import plot_accuracy


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
