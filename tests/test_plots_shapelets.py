"""The pictures of shapelets: what is drawn where, and that no text lies on another."""

import warnings
from itertools import combinations

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from tsmodels.plots import (
    plot_null,
    plot_shapelet_distances,
    plot_shapelet_matches,
    plot_shapelet_positions,
    plot_shapelets,
)
from tsmodels.shapelets import ShapeletWarning, discover_shapelets


def bumps(n_classes=3, n_cases=18, n_timepoints=60, names="class of name {}"):
    """Series of three channels, each class with a bump at a place of its own."""
    rng = np.random.default_rng(0)
    y = np.arange(n_cases) % n_classes
    X = rng.normal(0, 0.3, (n_cases, 3, n_timepoints))
    for series, code in zip(X, y, strict=True):
        start = 5 + 10 * (code // 3)
        series[code % 3, start : start + 10] += 4 * np.hanning(10)
    return 5 * X + 100, np.array([names.format(code) for code in y])


@pytest.fixture
def problem():
    return bumps()


@pytest.fixture
def shapelets(problem):
    return discover_shapelets(*problem, n_per_class=4)


def points(ax):
    """Return the collections of points, those of legends, which are empty, left out."""
    drawn = [np.asarray(each.get_offsets()) for each in ax.collections if isinstance(each, PathCollection)]
    return [offsets for offsets in drawn if len(offsets)]


def texts_of(figure):
    """Return all texts that are seen; ticks beyond the limits of an axis are not."""
    found = [text for legend in figure.legends for text in legend.get_texts()]
    for ax in figure.axes:
        legend = ax.get_legend()
        found += [*ax.texts, ax._left_title, ax.xaxis.label, ax.yaxis.label, *(legend.get_texts() if legend else [])]
        for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            ticks = [tick for tick in axis.get_major_ticks() if min(limits) <= tick.get_loc() <= max(limits)]
            found += [tick.label1 for tick in ticks if tick.label1.get_visible()]
    return [text for text in found if text.get_text().strip()]


def assert_readable(figure, tmp_path):
    """No text lies on another or outside the figure."""
    figure.savefig(tmp_path / "picture.png")
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts_of(figure)]
    assert len(boxes) > 5
    for text, box in boxes:
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1, text
    for (one, box), (other, other_box) in combinations(boxes, 2):
        assert not box.overlaps(other_box), (one, other)


def test_shapelets_lie_on_the_series_they_are_from(shapelets, problem):
    X, _ = problem
    axes = plot_shapelets(shapelets, X, top=2)
    assert axes.shape == (3, 2)
    for row, label in zip(axes, shapelets.classes, strict=True):
        assert [text.get_text() for text in row[0].texts] == [f"class {label}"]
        for ax, shapelet in zip(row, shapelets.filter(label=label, top=2), strict=True):
            series, piece = ax.get_lines()
            channel, start, end = shapelet.channel[0], shapelet.start[0], shapelet.end[0]
            assert series.get_ydata().tolist() == X[shapelet.series[0], channel].tolist()
            assert piece.get_xdata().tolist() == list(range(start, end))
            assert piece.get_ydata() == pytest.approx(X[shapelet.series[0], channel, start:end])
            assert ax.get_title(loc="left") == f"channel {channel}, gain {shapelet.gain[0]:.2f}"
    assert [ax.get_xlabel() for ax in axes[-1]] == ["time", "time"]


def test_shapelets_stand_alone_without_the_series(shapelets):
    axes = plot_shapelets(shapelets)
    assert axes.shape == (3, 3)
    (line,) = axes[1, 0].get_lines()
    assert line.get_ydata().tolist() == shapelets.filter(label=shapelets.classes[1]).values[0].tolist()


def test_a_class_with_fewer_shapelets_has_fewer_panels(shapelets, problem):
    axes = plot_shapelets(shapelets[[0, 1, 2, 4, 8, 9]], problem[0])
    assert [[ax is not None for ax in row] for row in axes] == [[True] * 3, [True, False, False], [True, True, False]]
    assert [ax.get_xlabel() for ax in (axes[0, 2], axes[2, 1], axes[2, 0])] == ["time"] * 3
    assert len(axes[0, 0].get_figure().axes) == 6


def test_a_class_of_one_series_says_so(problem):
    X, _ = problem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShapeletWarning)
        found = discover_shapelets(X[[0, *range(1, 18, 3), *range(2, 18, 3)]], np.repeat([0, 1, 2], [1, 6, 6]))
    axes = plot_shapelets(found)
    assert axes[0, 0].get_title(loc="left") == f"channel {found.channel[0]}, isolation {found.margin[0]:.2f}"


def test_other_series_are_refused(shapelets, problem):
    X, _ = problem
    with pytest.raises(ValueError, match="X must be the series that the shapelets were discovered in"):
        plot_shapelets(shapelets, X[::-1])
    with pytest.raises(ValueError, match="X must be the series that the shapelets were discovered in"):
        plot_shapelets(shapelets, X[:1])


def test_matches_are_drawn_where_they_are_solid_where_near(shapelets, problem):
    X, _ = problem
    best = shapelets.best()
    x = X[1]  # of the second class
    axes = plot_shapelet_matches(shapelets, x)
    assert [ax.get_ylabel() for ax in axes] == [f"channel {channel}" for channel in np.unique(best.channel)]
    starts, near = best.matches([x])[0], best.distances([x])[0] < best.threshold
    assert near.tolist() == [False, True, False]
    for ax, channel in zip(axes, np.unique(best.channel), strict=True):
        series, *pieces = ax.get_lines()
        assert series.get_ydata().tolist() == x[channel].tolist()
        rows = np.flatnonzero(best.channel == channel)
        assert [piece.get_xdata()[0] for piece in pieces] == starts[rows].tolist()
        assert [piece.get_linestyle() == "-" for piece in pieces] == near[rows].tolist()
        for piece, row in zip(pieces, rows, strict=True):
            assert piece.get_ydata() == pytest.approx(best.values[row] * best.std[channel] + best.mean[channel])
    (legend,) = axes[0].get_figure().legends
    assert [text.get_text() for text in legend.get_texts()] == [
        f"class {label}: {n} of 1 near" for label, n in zip(shapelets.classes, near.astype(int), strict=True)
    ]


def test_a_shapelet_without_room_is_not_drawn(shapelets, problem):
    x = problem[0][0][:, :2]
    axes = plot_shapelet_matches(shapelets, x, top=None)
    n_drawn = sum(len(ax.get_lines()) - 1 for ax in axes)
    assert n_drawn == (shapelets.matches([x]) >= 0).sum() < len(shapelets)


def test_a_collection_is_no_series(shapelets, problem):
    with pytest.raises(ValueError, match=r"x must be one series \(channel, time\), got 3 dimensions"):
        plot_shapelet_matches(shapelets, problem[0])
    with pytest.raises(ValueError, match="X has 2 channels, but the shapelets are of 3"):
        plot_shapelet_matches(shapelets, problem[0][0, :2])


def test_distances_are_in_a_row_for_each_class_its_own_on_top(shapelets, problem):
    X, y = problem
    axes = plot_shapelet_distances(shapelets, X, y)
    best, distances = shapelets.best(), shapelets.best().distances(X)
    assert len(axes) == 3
    for i, ax in enumerate(axes):
        labels = [label.get_text() for label in ax.get_yticklabels()]
        assert labels == [best.label[i], *(label for label in best.classes if label != best.label[i])]
        for row, (offsets, label) in enumerate(zip(points(ax), labels, strict=True)):
            assert offsets[:, 0].tolist() == distances[y == label, i].tolist()
            assert (abs(offsets[:, 1] - row) < 0.3).all()
        (threshold,) = ax.get_lines()
        assert threshold.get_xdata() == [best.threshold[i]] * 2
        left, right = ax.get_xlim()
        assert left < 0 < distances[:, i].max() < right


def test_infinite_distances_are_marked_at_the_right(shapelets, problem):
    X, y = problem
    series = [*X[:9], *X[9:, :, :3]]
    axes = plot_shapelet_distances(shapelets, series, y)
    finite = np.isfinite(shapelets.best().distances(series))
    assert not finite.all()
    n_drawn = [sum(map(len, points(ax))) for ax in axes]
    assert n_drawn == [18] * 3
    for ax, distance in zip(axes, shapelets.best().distances(series).T, strict=True):
        right = max(offsets[:, 0].max() for offsets in points(ax))
        assert right > distance[np.isfinite(distance)].max(initial=0)


def test_distances_of_some_classes_only(shapelets, problem):
    X, y = problem
    axes = plot_shapelet_distances(shapelets, X[:2], y[:2])
    assert [len(points(ax)) for ax in axes] == [2, 2, 2]
    with pytest.raises(ValueError, match="X has 2 cases, but y has 18 labels"):
        plot_shapelet_distances(shapelets, X[:2], y)
    with pytest.raises(ValueError, match="y has the label 'new', but the shapelets are of"):
        plot_shapelet_distances(shapelets, X[:1], ["new"])


def test_many_classes_share_what_is_left_and_lines_of_far_ones_their_colour():
    X, y = bumps(n_classes=12, n_cases=36, names="{:02}")
    found = discover_shapelets(X, y, n_per_class=1)
    for i, ax in enumerate(plot_shapelet_distances(found, X, y)):
        assert [label.get_text() for label in ax.get_yticklabels()] == [found.label[i], "11 others"]
        assert [len(offsets) for offsets in points(ax)] == [3, 33]
    axes = plot_shapelet_matches(found, X[4])
    near = found.distances(X[4:5])[0] < found.threshold
    assert near[4]
    (legend,) = axes[0].get_figure().legends
    *near_ones, far = [text.get_text() for text in legend.get_texts()]
    assert near_ones == [f"class {label}: 1 of 1 near" for label in found.label[near]]
    assert far == f"{(~near).sum()} far"
    lines = [line for ax in axes for line in ax.get_lines()[1:]]
    assert sum(line.get_color() == legend.legend_handles[-1].get_color() for line in lines) == (~near).sum()


def test_positions_are_bars_that_do_not_overlap(shapelets):
    ax = plot_shapelet_positions(shapelets)
    bars = [each for each in ax.patches if each.get_alpha() is not None]
    assert len(bars) == len(shapelets)
    spans = sorted((bar.get_x() + 0.5, bar.get_width()) for bar in bars)
    assert spans == sorted(zip(shapelets.start.tolist(), shapelets.length.tolist(), strict=True))
    boxes = [(bar.get_x(), bar.get_y(), bar.get_x() + bar.get_width(), bar.get_y() + bar.get_height()) for bar in bars]
    for one, other in combinations(boxes, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    channels = np.unique(shapelets.channel)
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"channel {channel}" for channel in channels]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == shapelets.classes.tolist()
    given = Figure().subplots()
    assert plot_shapelet_positions(shapelets, given) is given


def test_classes_of_one_colour_differ_in_hatch():
    X, y = bumps(n_classes=9, n_cases=27, names="{}")
    ax = plot_shapelet_positions(discover_shapelets(X, y, n_per_class=1))
    first, *_, eighth, _ = ax.get_legend().legend_handles
    assert first.get_facecolor() == eighth.get_facecolor()
    assert first.get_hatch() != eighth.get_hatch()


def test_the_null_is_beside_the_gain(problem):
    found = discover_shapelets(*problem, null_permutations=9)
    ax = plot_null(found)
    drawn = points(ax)
    for code in range(3):
        permuted, given = drawn[2 * code : 2 * code + 2]
        assert permuted[:, 0].tolist() == found.null["gain"][:, code].tolist()
        assert given.tolist() == [[found.null["observed"][code], code]]
    assert [text.get_text() for text in ax.texts] == ["0.100"] * 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["given labels", "permuted labels (9)"]
    given = Figure().subplots()
    assert plot_null(found, given) is given


def test_nothing_to_draw_is_an_error(shapelets, problem):
    X, y = problem
    nothing = shapelets[:0]
    for draw in (
        lambda: plot_shapelets(nothing),
        lambda: plot_shapelet_matches(nothing, X[0]),
        lambda: plot_shapelet_distances(nothing, X, y),
        lambda: plot_shapelet_positions(nothing),
    ):
        with pytest.raises(ValueError, match="shapelets is an empty set"):
            draw()
    with pytest.raises(ValueError, match="discover them with null_permutations above 0"):
        plot_null(shapelets)


@pytest.mark.parametrize("n_classes", [2, pytest.param(9, marks=pytest.mark.slow)])
def test_every_picture_is_readable(n_classes, tmp_path):
    X, y = bumps(n_classes=n_classes, n_cases=4 * n_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ShapeletWarning)
        found = discover_shapelets(X, y, null_permutations=5)
    for axes in (
        plot_shapelets(found, X)[0, 0],
        plot_shapelet_matches(found, X[0])[0],
        plot_shapelet_distances(found, X, y)[0],
        plot_shapelet_positions(found),
        plot_null(found),
    ):
        assert_readable(axes.get_figure(), tmp_path)
