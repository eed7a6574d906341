"""Metrics for tasks that torchmetrics defines otherwise or lacks."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from tsmodels.tasks._forecasts import mase_scale, smape_terms

__all__ = ["BalancedAccuracy", "ForecastErrors"]


class BalancedAccuracy(Metric):
    """Mean recall over the classes that occur among the targets, as scikit-learn's ``balanced_accuracy_score``.

    torchmetrics' macro recall counts a class that is only predicted as one with recall 0. A validation split may well
    lack a class (one with a single case stays in training), and would then be scored too low.

    Parameters
    ----------
    n_classes : int
        Number of classes.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    hits: Tensor
    support: Tensor

    def __init__(self, n_classes: int):
        super().__init__()
        self.n_classes = n_classes
        self.add_state("hits", torch.zeros(n_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("support", torch.zeros(n_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor) -> None:
        """Count a batch: logits (batch, n_classes), target (batch,) of class indices."""
        right = target[logits.argmax(1) == target]
        self.hits += torch.bincount(right, minlength=self.n_classes)
        self.support += torch.bincount(target, minlength=self.n_classes)

    def compute(self) -> Tensor:
        """Return the mean recall, a scalar."""
        present = self.support > 0
        return (self.hits[present] / self.support[present]).mean()


class ForecastErrors(Metric):
    """Errors of point forecasts by step of the horizon, over the observed targets.

    Parameters
    ----------
    seasonality : int, default=1
        Steps of one season, for MASE: the naive forecast repeats the value of one season ago. A look-back that is not
        longer has no MASE (NaN).
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    sums: Tensor
    count: Tensor
    names = ("mse", "mae", "mse_original", "mae_original", "smape", "mase")

    def __init__(self, seasonality: int = 1):
        super().__init__()
        self.seasonality = seasonality
        self.add_state("sums", torch.zeros(0), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(0), dist_reduce_fx="sum")

    def update(self, forecast: Tensor, batch: dict[str, Tensor], scaler: Any = None) -> None:
        """Count a batch.

        Parameters
        ----------
        forecast : Tensor (batch, horizon, channel)
            Scaled point forecasts.
        batch : dict of str to Tensor
            ``x``, ``y`` and, where values are missing, ``mask`` and ``y_mask``.
        scaler : optional
            With ``inverse``: scaled (..., channel) to the units of the data.
        """
        forecast, target, past = forecast.float(), batch["y"].float(), batch["x"].float()
        observed = batch["y_mask"].float() if "y_mask" in batch else torch.ones_like(target)
        terms = [(forecast - target).square(), (forecast - target).abs()]
        if scaler is not None:
            forecast, target, past = (scaler.inverse(each) for each in (forecast, target, past))
        terms += [(forecast - target).square(), (forecast - target).abs(), smape_terms(forecast, target)]
        terms.append((forecast - target).abs() / self._naive_error(past, batch.get("mask")))
        sums = torch.stack([(term * observed).double().sum((0, 2)) for term in terms])
        if self.sums.numel() == 0:
            self.sums, self.count = torch.zeros_like(sums), torch.zeros_like(sums[0])
        self.sums = self.sums + sums
        self.count = self.count + observed.double().sum((0, 2))

    def _naive_error(self, past: Tensor, mask: Tensor | None) -> Tensor:
        if past.shape[1] <= self.seasonality:
            return past.new_full((len(past), 1, past.shape[2]), float("nan"))
        return mase_scale(past, mask, self.seasonality)

    def compute(self) -> dict[str, Tensor]:
        """Return each error by step, tensors (horizon,); NaN for a step without an observed target."""
        return {name: (total / self.count).float() for name, total in zip(self.names, self.sums, strict=True)}
