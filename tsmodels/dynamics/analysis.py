"""Analysis of a piecewise-linear map: regions and symbols, fixed points and cycles, bifurcations."""

from tsmodels.dynamics._bifurcation import Bifurcation, bifurcation
from tsmodels.dynamics._cycles import Cycle, find_cycles, fixed_points
from tsmodels.dynamics._symbols import TransitionGraph, run_lengths, switch_rate, symbols, transition_graph

__all__ = [
    "Bifurcation",
    "Cycle",
    "TransitionGraph",
    "bifurcation",
    "find_cycles",
    "fixed_points",
    "run_lengths",
    "switch_rate",
    "symbols",
    "transition_graph",
]
