"""Measures of a reconstruction: geometry, spectra, forecasts, Lyapunov exponents, and all of them at once."""

from tsmodels.dynamics._divergence import mixture_divergence, state_space_divergence
from tsmodels.dynamics._exponents import kaplan_yorke_dimension, lyapunov_exponents
from tsmodels.dynamics._forecasts import prediction_error, smape, valid_prediction_time
from tsmodels.dynamics._lags import suggest_forcing_interval
from tsmodels.dynamics._reconstruction import Reconstruction, evaluate_reconstruction, reconstruction_floor
from tsmodels.dynamics._spectra import power_spectrum, spectral_distance

__all__ = [
    "Reconstruction",
    "evaluate_reconstruction",
    "kaplan_yorke_dimension",
    "lyapunov_exponents",
    "mixture_divergence",
    "power_spectrum",
    "prediction_error",
    "reconstruction_floor",
    "smape",
    "spectral_distance",
    "state_space_divergence",
    "suggest_forcing_interval",
    "valid_prediction_time",
]
