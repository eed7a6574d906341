"""Metrics for tasks that torchmetrics defines otherwise."""

import torch
from torch import Tensor
from torchmetrics import Metric

__all__ = ["BalancedAccuracy"]


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
