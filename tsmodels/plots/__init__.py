"""Pictures of results, forecasts, frames, shapelets, dynamics, in Matplotlib's objects: no window, no global state."""

from tsmodels.plots._anomalies import plot_anomalies
from tsmodels.plots._comparisons import (
    plot_accuracy_time,
    plot_comparison_matrix,
    plot_critical_difference,
    plot_pairwise,
)
from tsmodels.plots._dynamics import plot_attractor, plot_spectra, plot_traces, plot_training
from tsmodels.plots._dynamics_maps import plot_bifurcation, plot_cycles, plot_symbol_graph
from tsmodels.plots._explanations import plot_explanation
from tsmodels.plots._forecasts import plot_forecast
from tsmodels.plots._frames import plot_frame_metrics, plot_frames, save_gif
from tsmodels.plots._horizons import plot_horizon_errors
from tsmodels.plots._results import plot_accuracy, plot_errors
from tsmodels.plots._shapelets import (
    plot_null,
    plot_shapelet_distances,
    plot_shapelet_matches,
    plot_shapelet_positions,
    plot_shapelets,
)

__all__ = [
    "plot_accuracy",
    "plot_accuracy_time",
    "plot_anomalies",
    "plot_attractor",
    "plot_bifurcation",
    "plot_comparison_matrix",
    "plot_critical_difference",
    "plot_cycles",
    "plot_errors",
    "plot_explanation",
    "plot_forecast",
    "plot_frame_metrics",
    "plot_frames",
    "plot_horizon_errors",
    "plot_null",
    "plot_pairwise",
    "plot_shapelet_distances",
    "plot_shapelet_matches",
    "plot_shapelet_positions",
    "plot_shapelets",
    "plot_spectra",
    "plot_symbol_graph",
    "plot_traces",
    "plot_training",
    "save_gif",
]
