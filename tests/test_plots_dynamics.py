"""Pictures of dynamics: that what is drawn is what was given."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from mpl_toolkits.mplot3d import Axes3D

from tsmodels.dynamics import Bifurcation, Cycle, power_spectrum, transition_graph
from tsmodels.plots import (
    plot_attractor,
    plot_bifurcation,
    plot_cycles,
    plot_spectra,
    plot_symbol_graph,
    plot_traces,
    plot_training,
)


@pytest.fixture
def series():
    return np.random.default_rng(0).normal(size=(300, 4)).cumsum(0)


def _drawn(axes):
    """Render, so that nothing of the layout fails, and return the figure."""
    figure = np.ravel(axes)[0].get_figure()
    figure.canvas.draw()
    return figure


def test_pictures_come_without_torch_and_without_a_window():
    seen = "import sys, tsmodels.plots; print([name in sys.modules for name in ('torch', 'matplotlib.pyplot')])"
    found = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[False, False]"


# --- attractors, traces, spectra


def test_attractors_stand_side_by_side_on_the_scales_of_the_truth(series):
    axes = plot_attractor(series, 10 * series[::-1], channels=(0, 2))
    assert [ax.get_title(loc="left") for ax in axes] == ["true", "generated"]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert axes[0].get_xlim()[1] < 2 * np.abs(series[:, 0]).max()
    assert np.array_equal(axes[0].lines[0].get_xydata(), series[:, [0, 2]])
    assert np.array_equal(axes[1].lines[0].get_xydata(), 10 * series[::-1][:, [0, 2]])
    assert axes[1].get_ylabel() == "channel 2"
    _drawn(axes)


def test_three_channels_are_drawn_in_space(series):
    axes = plot_attractor(series)
    assert len(axes) == 1
    assert isinstance(axes[0], Axes3D)
    assert np.array_equal(np.stack(axes[0].lines[0].get_data_3d(), axis=1), series[:, :3])
    assert axes[0].get_zlabel() == "channel 2"
    _drawn(axes)


def test_symbols_colour_the_points_of_the_run(series):
    codes = np.repeat(np.arange(10), 30)
    codes[codes > 6] = 6  # 0 to 6, the last the most frequent; one of the others is left over
    axes = plot_attractor(series, series, channels=(0, 1), codes=codes)
    assert len(axes[0].lines) == 1
    points = np.concatenate([line.get_xydata() for line in axes[1].lines])
    assert len(points) == 300
    assert len({line.get_color() for line in axes[1].lines}) == 7
    labels = [text.get_text() for text in _drawn(axes).legends[0].get_texts()]
    assert labels == ["6", "0", "1", "2", "3", "4", "1 others"]
    six = axes[1].lines[0].get_xydata()
    assert np.array_equal(six, series[codes == 6][:, :2])


def test_maps_are_drawn_as_points(series):
    line = plot_attractor(series[:, :2], points=True)[0].lines[0]
    assert line.get_linestyle() == "None"
    assert line.get_marker() == "."


def test_traces_have_the_time_of_the_series(series):
    axes = plot_traces(series, series[:100] + 1, dt=0.5, n_points=200, channels=[3, 0])
    assert [ax.get_ylabel() for ax in axes] == ["channel 3", "channel 0"]
    true, generated = axes[0].lines
    assert np.array_equal(true.get_ydata(), series[:200, 3])
    assert np.array_equal(generated.get_ydata(), series[:100, 3] + 1)
    assert true.get_xdata()[-1] == 0.5 * 199
    assert [text.get_text() for text in axes[0].get_legend().get_texts()] == ["true", "generated"]
    _drawn(axes)


def test_spectra_are_densities_that_do_not_depend_on_the_length():
    wave = np.sin(2 * np.pi * np.arange(8000) / 50)[:, None]
    axes = plot_spectra(wave, wave[:4000], dt=0.1, smoothing=5)
    assert len(axes) == 1
    for line, n in zip(axes[0].lines, (8000, 4000), strict=True):
        frequencies, density = line.get_data()
        assert frequencies[np.argmax(density)] == pytest.approx(0.2)
        assert np.trapezoid(density, frequencies) == pytest.approx(1, abs=0.01)
        assert density.max() == pytest.approx(power_spectrum(wave[:n], smoothing=5).max() * n * 0.1)
    _drawn(axes)


def test_the_first_eight_of_many_channels_are_drawn():
    series = np.random.default_rng(0).normal(size=(50, 12))
    assert len(plot_traces(series)) == len(plot_spectra(series)) == 8
    assert plot_traces(series)[-1].get_ylabel() == "channel 7"


@pytest.mark.parametrize("plot", [plot_attractor, plot_traces, plot_spectra])
def test_series_must_fit(plot, series):
    with pytest.raises(ValueError, match="generated has 3 channels, true has 4"):
        plot(series, series[:, :3])
    with pytest.raises(ValueError, match="channels must be between 0 and 3"):
        plot(series, channels=[4, 0])
    with pytest.raises(ValueError, match="true must have shape"):
        plot(series[:, 0])


def test_attractors_need_two_channels(series):
    with pytest.raises(ValueError, match="channels must be 2 or 3, got 1"):
        plot_attractor(series[:, :1])
    with pytest.raises(ValueError, match=r"codes must have shape \(300,\)"):
        plot_attractor(series, codes=np.zeros(7, dtype=int))


# --- training


@pytest.fixture
def history():
    nan = np.nan
    return pd.DataFrame(
        {
            "epoch": [0, 1, 1, 2, 3, 3],
            "step": [1, 2, 2, 3, 4, 4],
            "train/loss": [1.0, 0.1, nan, 0.01, 0.001, nan],
            "train/skipped": [nan] * 6,
            "val/d_stsp": [nan, nan, 3.0, nan, nan, nan],
            "val/lyapunov_max": [nan, nan, -0.1, nan, nan, 0.2],
            "val/divergent": [nan, nan, 0.0, nan, nan, 1.0],
        }
    )


def test_training_has_a_panel_for_each_quantity_that_was_logged(history):
    axes = plot_training(history, {"val/lyapunov_max": 0.15})
    assert [ax.get_title(loc="left") for ax in axes] == ["train/loss", "val/d_stsp", "val/lyapunov_max"]
    assert axes[0].lines[0].get_xydata().tolist() == [[0, 1.0], [1, 0.1], [2, 0.01], [3, 0.001]]
    assert [ax.get_yscale() for ax in axes] == ["log", "linear", "linear"]
    assert axes[2].lines[0].get_xydata().tolist() == [[1, -0.1], [3, 0.2]]
    assert list(axes[2].lines[1].get_ydata()) == [0.15, 0.15]
    _drawn(axes)


def test_divergent_runs_are_marked_in_the_panels_of_validation(history):
    axes = plot_training(history)
    marks = [[list(line.get_xdata()) for line in ax.lines if line.get_marker() == "x"] for ax in axes]
    assert marks == [[], [[3]], [[3]]]
    assert [text.get_text() for text in _drawn(axes).legends[0].get_texts()] == ["divergent"]


def test_training_must_have_been_logged(history):
    with pytest.raises(ValueError, match="column 'epoch' and columns train/"):
        plot_training(history.drop(columns="epoch"))
    with pytest.raises(ValueError, match="column 'epoch' and columns train/"):
        plot_training(history[["epoch", "step", "train/skipped"]])
    with pytest.raises(ValueError, match="references has 'val/d_h'; history has values of train/loss"):
        plot_training(history, {"val/d_h": 0.1})


# --- maps


def _arrows(ax):
    return [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]


def test_regions_and_transitions_are_drawn_by_their_weight():
    graph = transition_graph([2, 2, 2, 2, 7, 2, 7, 7, 9, 2])
    ax = plot_symbol_graph(graph)
    assert [text.get_text() for text in ax.texts] == ["2", "7", "9"]
    areas = ax.collections[0].get_sizes()
    assert areas[0] > areas[1] > areas[2]
    # between regions: 2 to 7 twice, 7 to 2, 7 to 9, 9 to 2 once; those to themselves are no arrows
    widths = [arrow.get_linewidth() for arrow in _arrows(ax)]
    assert len(widths) == 4
    assert widths[0] == max(widths)
    assert sum(width == widths[0] for width in widths) == 1
    _drawn(ax)


def test_many_regions_are_cut_to_the_most_frequent():
    codes = np.concatenate([np.full(5, 40), np.arange(40), np.full(5, 41)])
    ax = plot_symbol_graph(transition_graph(codes), most=3)
    assert len(ax.texts) == 3
    assert {"40", "41"} < {text.get_text() for text in ax.texts}
    assert ax.get_title(loc="left") == "3 of 42 regions"
    with pytest.raises(ValueError, match="most must be at least 1"):
        plot_symbol_graph(transition_graph(codes), most=0)


def test_an_orbit_in_one_region_is_one_circle():
    ax = plot_symbol_graph(transition_graph([3, 3, 3]), ax=Figure().subplots())
    assert len(ax.texts) == 1
    assert not _arrows(ax)
    _drawn(ax)


def test_cycles_are_closed_and_show_their_stability():
    states = np.random.default_rng(0).normal(size=(100, 3))
    stable, unstable = np.array([0.5, 0.1, 0.0], dtype=complex), np.array([-1.5, 0.1, 0.0], dtype=complex)
    cycles = [
        Cycle(np.array([[1.0, 2.0, 3.0]]), stable),
        Cycle(np.array([[4.0, 5.0, 6.0]]), unstable, is_virtual=True),
        Cycle(np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]), unstable),
    ]
    ax = plot_cycles(states, cycles, units=(2, 0))
    cloud, fixed, virtual, two = ax.lines
    assert np.array_equal(cloud.get_xydata(), states[:, [2, 0]])
    assert fixed.get_xydata().tolist() == [[3, 1], [3, 1]]
    assert two.get_xydata().tolist() == [[2, 0], [5, 3], [2, 0]]
    assert virtual.get_marker() == "x"
    assert to_rgba(fixed.get_markerfacecolor()) == to_rgba(fixed.get_color()) == to_rgba(virtual.get_color())
    assert two.get_markerfacecolor() == "white"
    assert two.get_color() != fixed.get_color()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["2 fixed points", "1 cycle of order 2"]
    assert ax.get_xlabel() == "unit 2"
    _drawn(ax)


def test_cycles_must_be_of_the_states():
    cycle = Cycle(np.zeros((1, 2)), np.zeros(2, dtype=complex))
    with pytest.raises(ValueError, match="cycles must be of 3 latent units"):
        plot_cycles(np.zeros((5, 3)), [cycle])
    with pytest.raises(ValueError, match=r"with the units \(0, 2\)"):
        plot_cycles(np.zeros((5, 2)), [], units=(0, 2))
    assert plot_cycles(np.zeros((5, 2)), []).get_legend() is None


def test_bifurcations_stand_over_their_exponents():
    states = np.arange(24.0).reshape(3, 4, 2)
    states[2] = np.nan
    diagram = Bifurcation(("W", 0, 1), np.array([0.1, 0.2, 0.3]), states, np.array([-1.0, 0.5, np.nan]))
    axes = plot_bifurcation(diagram, unit=1)
    assert axes[0].lines[0].get_xdata().tolist() == np.repeat([0.1, 0.2, 0.3], 4).tolist()
    assert np.array_equal(axes[0].lines[0].get_ydata(), states[..., 1].ravel(), equal_nan=True)
    assert np.array_equal(axes[1].lines[1].get_ydata(), diagram.exponents, equal_nan=True)
    assert axes[1].get_xlabel() == "W[0, 1]"
    _drawn(axes)
    assert len(plot_bifurcation(Bifurcation(("h", 0), diagram.values, states))) == 1
    with pytest.raises(ValueError, match="unit must be between 0 and 1, got 2"):
        plot_bifurcation(diagram, unit=2)
