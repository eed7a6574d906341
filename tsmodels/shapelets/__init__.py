"""Shapelets: subsequences whose presence tells a class from the others.

``discover_shapelets`` finds them, a ``ShapeletSet`` holds them, measures series by their distances to them, and is
saved and drawn (``tsmodels.plots``). ``select_window`` chooses how far from its place a shapelet is looked for.
"""

from tsmodels.shapelets._discover import ShapeletWarning, discover_shapelets, select_window
from tsmodels.shapelets._set import ShapeletSet

__all__ = ["ShapeletSet", "ShapeletWarning", "discover_shapelets", "select_window"]
