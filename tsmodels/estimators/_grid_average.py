"""Average of several forecasters of gridded fields."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from skbase.base import BaseMetaEstimatorMixin

from tsmodels.estimators._grid_base import GridForecaster
from tsmodels.estimators._grid_baselines import LinearInverseGridForecaster, PersistenceGridForecaster

__all__ = ["AverageGridForecaster"]


class AverageGridForecaster(BaseMetaEstimatorMixin, GridForecaster):
    """Weighted mean of the forecasts of several forecasters, all fitted on the same field.

    Models that err in different ways forecast better together than each alone: a network, which knows the last frames
    in detail, and a linear inverse model, which is steadier some leads ahead.

    Parameters
    ----------
    forecasters : list of (str, GridForecaster)
        Names and forecasters. They are cloned; those given stay as they are. Each has its own season.
    weights : list of float, optional
        One for each forecaster, not negative; only their ratios count. By default all are equal.
    prefit : bool, default=False
        Whether the forecasters are fitted already and are taken as they are: `fit` then only reads the field to go on
        from. They must have been fitted on the same grid, mask and first frame. A clone of the average
        holds clones, which are not fitted.

    Attributes
    ----------
    forecasters_ : list of (str, GridForecaster)
        The fitted ones.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.estimators import AverageGridForecaster, ClimatologyGridForecaster, PersistenceGridForecaster
    >>> field = np.arange(24.0).reshape(6, 2, 2)
    >>> both = [("mean", ClimatologyGridForecaster()), ("last", PersistenceGridForecaster())]
    >>> AverageGridForecaster(both).fit(field).predict(1)
    array([[[15., 16.],
            [17., 18.]]])
    """

    _tags = {"named_object_parameters": "forecasters", "fitted_named_object_parameters": "forecasters_"}

    season = None  # that of the members is their own

    def __init__(self, forecasters, weights=None, prefit=False):
        self.forecasters = forecasters
        self.weights = weights
        self.prefit = prefit
        super().__init__()

    def fit(self, field: Any, mask: Any = None) -> Self:
        """Fit a clone of each forecaster on a field, see :meth:`ConvS5GridForecaster.fit`; with `prefit` read it only.

        Raises
        ------
        sktime.exceptions.NotFittedError
            With `prefit`, if a forecaster is not fitted.
        TypeError, ValueError
            If the field, the mask or an argument of the constructor cannot be used, or fitted forecasters have another
            mask or first frame.
        """
        self._check_arguments()
        if self.prefit:
            for _, each in self.forecasters:
                each.check_is_fitted()
        fitted = [(name, each if self.prefit else each.clone().fit(field, mask)) for name, each in self.forecasters]
        super().fit(field, mask)
        for name, each in fitted:
            if not (np.array_equal(each.mask_, self.mask_) and each._starts_with(self)):
                self.reset()
                raise ValueError(
                    f"the forecaster {name!r} was fitted with another mask or first frame than field has: pass the "
                    "field that it was fitted on, or what begins with it, or use prefit=False."
                )
        self.forecasters_ = fitted
        return self

    def _check_arguments(self) -> None:
        super()._check_arguments()
        given = self.forecasters
        if not isinstance(given, list | tuple) or not given or not all(_is_named(each) for each in given):
            raise TypeError(
                "forecasters must be a list with at least one pair (name, forecaster of gridded fields), got "
                f"{given!r}."
            )
        names = [name for name, _ in given]
        if len(set(names)) < len(names):
            raise ValueError(f"forecasters must have different names, got {', '.join(names)}.")
        self._shares()

    def _shares(self) -> np.ndarray:
        """Return the weights, as shares of 1."""
        n = len(self.forecasters)
        weights = np.ones(n) if self.weights is None else np.asarray(self.weights, dtype=float)
        if weights.shape != (n,) or not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError(
                f"weights must be {n} numbers, one for each forecaster, none negative and not all 0, got "
                f"{self.weights!r}."
            )
        return weights / weights.sum()

    def _from_origins(self, values: np.ndarray, first: int, origins: np.ndarray, n_frames: int) -> np.ndarray:
        members = (each for _, each in self.forecasters_)
        found = (each._from_origins(values, first, origins, n_frames) for each in members)
        return np.add.reduce([share * forecast for share, forecast in zip(self._shares(), found, strict=True)])

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return small settings for tests."""
        both = [("last", PersistenceGridForecaster(season=3)), ("linear", LinearInverseGridForecaster(n_modes=2))]
        return [{"forecasters": both}, {"forecasters": both, "weights": [1, 3]}]


def _is_named(pair: Any) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], GridForecaster)
    )
