"""The transformers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sktime.transformations.base import BaseTransformer

from tsmodels.estimators._net import KeepsContext
from tsmodels.estimators._training import draw_seed
from tsmodels.shapelets import discover_shapelets

__all__ = ["ShapeletTransform"]


class ShapeletTransform(KeepsContext, BaseTransformer):
    """Distances of series to shapelets that are discovered in the training series.

    Shapelets are subsequences whose presence tells a class from the others; `fit` finds those of each class with
    :func:`tsmodels.shapelets.discover_shapelets`, `transform` gives a column with the distances to each. Where a
    shapelet fits nowhere into a series, its distance is the largest that a training series has, so that no infinite
    value reaches what follows.

    Parameters
    ----------
    n_per_class : int, default=10
        Shapelets of each class.
    window : int, float or None, default=0.2
        How far from its own place a shapelet is looked for: an int is a number of samples, a float a fraction of the
        longest series, None means everywhere.
    point_fraction : float, default=0.2
        Important points, between which candidates lie, as a fraction of the length of a series.
    min_length, max_length : int, default=2 and None
        Lengths of shapelets, in samples.
    normalize : {"channel", None}, default="channel"
        Whether each channel is standardised by the training series first.
    complexity : bool, default=True
        Whether distances have the factor of the complexities of both pieces.
    max_reference : int or None, default=400
        At most so many series are compared with the candidates of a class. None: all.
    max_candidates : int or None, default=1_000_000
        At most so many candidates are scored. None: all.
    n_jobs : int, optional
        Number of threads; -1: all cores. Default: those of torch. The result does not depend on it.
    random_state : int, RandomState or None, default=None
        Of the draws, if the training set exceeds one of the two limits.

    Attributes
    ----------
    shapelets_ : ShapeletSet
        In the order of the columns; ``shapelets_.to_frame()`` describes them.
    largest_distances_ : ndarray (shapelet,)
        What stands for the distance to a series without room for the shapelet.

    References
    ----------
    Le, Luo, Aickelin, Tran, "ShapeFormer: Shapelet Transformer for Multivariate Time Series Classification", KDD 2024,
    arXiv 2405.14608.

    Examples
    --------
    >>> from sktime.datasets import load_unit_test
    >>> from tsmodels.estimators import ShapeletTransform
    >>> X, y = load_unit_test(split="train", return_type="numpy3D")
    >>> distances = ShapeletTransform(n_per_class=2).fit_transform(X, y)
    >>> distances.shape
    (20, 4)
    """

    _tags = {
        "authors": ["tsmodels developers"],
        "maintainers": ["tsmodels developers"],
        "python_dependencies": ["torch"],
        "scitype:transform-input": "Series",
        "scitype:transform-output": "Primitives",
        "scitype:instancewise": False,
        "X_inner_mtype": ["df-list", "numpy3D"],
        "y_inner_mtype": "numpy1D",
        "requires_y": True,
        "fit_is_empty": False,
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:unequal_length:removes": True,
        "capability:missing_values": True,
        "capability:missing_values:removes": True,
        "capability:categorical_in_X": False,
        "capability:random_state": True,
        "property:randomness": "derandomized",
    }

    normalize: Any

    def __init__(
        self,
        n_per_class=10,
        window=0.2,
        point_fraction=0.2,
        min_length=2,
        max_length=None,
        normalize="channel",
        complexity=True,
        max_reference=400,
        max_candidates=1_000_000,
        n_jobs=None,
        random_state=None,
    ):
        self.n_per_class = n_per_class
        self.window = window
        self.point_fraction = point_fraction
        self.min_length = min_length
        self.max_length = max_length
        self.normalize = normalize
        self.complexity = complexity
        self.max_reference = max_reference
        self.max_candidates = max_candidates
        self.n_jobs = n_jobs
        self.random_state = random_state
        super().__init__()

    def _fit(self, X: Any, y: Any = None) -> ShapeletTransform:
        series = _as_arrays(X)
        shapelets = discover_shapelets(
            series,
            y,
            n_per_class=self.n_per_class,
            window=self.window,
            point_fraction=self.point_fraction,
            min_length=self.min_length,
            max_length=self.max_length,
            normalize=self.normalize,
            complexity=self.complexity,
            max_reference=self.max_reference,
            max_candidates=self.max_candidates,
            seed=draw_seed(self.random_state),
            n_jobs=self.n_jobs,
            progress=False,
        )
        distances = shapelets.distances(series, n_jobs=self.n_jobs)
        # a shapelet is at distance 0 from its own series: some distance is finite
        self.largest_distances_ = np.max(distances, axis=0, where=np.isfinite(distances), initial=0.0)
        self.shapelets_ = shapelets
        return self

    def _transform(self, X: Any, y: Any = None) -> pd.DataFrame:
        distances = self.shapelets_.distances(_as_arrays(X), n_jobs=self.n_jobs)
        distances = np.where(np.isfinite(distances), distances, self.largest_distances_)
        return pd.DataFrame(distances, columns=[f"shapelet_{i}" for i in range(len(self.shapelets_))])

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return arguments for sktime's tests."""
        return [{"n_per_class": 2}, {"n_per_class": 1, "window": None, "normalize": None, "max_reference": 4}]


def _as_arrays(X: Any) -> np.ndarray | list[np.ndarray]:
    """Return sktime's numpy3D as it is, its df-list as arrays (channel, time)."""
    return X if isinstance(X, np.ndarray) else [each.to_numpy(dtype=float).T for each in X]
