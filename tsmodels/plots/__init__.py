"""Pictures of results and forecasts. They are drawn with Matplotlib's objects: no window, no global state."""

from tsmodels.plots._forecasts import plot_forecast
from tsmodels.plots._horizons import plot_horizon_errors
from tsmodels.plots._results import plot_accuracy, plot_errors

__all__ = ["plot_accuracy", "plot_errors", "plot_forecast", "plot_horizon_errors"]
