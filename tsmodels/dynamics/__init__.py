"""What is studied of a dynamical system and of a network that was trained to reconstruct it.

Measures tell how near a free run comes to the observed system: its geometry, its spectra, its forecasts, its Lyapunov
exponents. Analysis reads the trained map itself: regions and symbols, fixed points, cycles, bifurcations. Arrays go in
and come out, series of shape (time, channel).
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsmodels.dynamics.analysis import (
        Bifurcation,
        Cycle,
        TransitionGraph,
        bifurcation,
        find_cycles,
        fixed_points,
        run_lengths,
        switch_rate,
        symbols,
        transition_graph,
    )
    from tsmodels.dynamics.measures import (
        Reconstruction,
        evaluate_reconstruction,
        kaplan_yorke_dimension,
        lyapunov_exponents,
        mixture_divergence,
        power_spectrum,
        prediction_error,
        reconstruction_floor,
        smape,
        spectral_distance,
        state_space_divergence,
        suggest_forcing_interval,
        valid_prediction_time,
    )

__all__ = [
    "Bifurcation",
    "Cycle",
    "Reconstruction",
    "TransitionGraph",
    "bifurcation",
    "evaluate_reconstruction",
    "find_cycles",
    "fixed_points",
    "kaplan_yorke_dimension",
    "lyapunov_exponents",
    "mixture_divergence",
    "power_spectrum",
    "prediction_error",
    "reconstruction_floor",
    "run_lengths",
    "smape",
    "spectral_distance",
    "state_space_divergence",
    "suggest_forcing_interval",
    "switch_rate",
    "symbols",
    "transition_graph",
    "valid_prediction_time",
]

_MODULE_OF = {
    "Bifurcation": "analysis",
    "Cycle": "analysis",
    "Reconstruction": "measures",
    "TransitionGraph": "analysis",
    "bifurcation": "analysis",
    "evaluate_reconstruction": "measures",
    "find_cycles": "analysis",
    "fixed_points": "analysis",
    "kaplan_yorke_dimension": "measures",
    "lyapunov_exponents": "measures",
    "mixture_divergence": "measures",
    "power_spectrum": "measures",
    "prediction_error": "measures",
    "reconstruction_floor": "measures",
    "run_lengths": "analysis",
    "smape": "measures",
    "spectral_distance": "measures",
    "state_space_divergence": "measures",
    "suggest_forcing_interval": "measures",
    "switch_rate": "analysis",
    "symbols": "analysis",
    "transition_graph": "analysis",
    "valid_prediction_time": "measures",
}


def __getattr__(name: str) -> Any:
    # torch and scipy take seconds to import; nobody pays for them before something is asked for
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
