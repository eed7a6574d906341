"""Pictures of results, forecasts and shapelets, drawn with Matplotlib's objects: no window, no global state."""

from tsmodels.plots._explanations import plot_explanation
from tsmodels.plots._forecasts import plot_forecast
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
    "plot_errors",
    "plot_explanation",
    "plot_forecast",
    "plot_horizon_errors",
    "plot_null",
    "plot_shapelet_distances",
    "plot_shapelet_matches",
    "plot_shapelet_positions",
    "plot_shapelets",
]
