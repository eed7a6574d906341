"""Optimiser and schedules of dynamics: RAdam for few small tensors, learning rates set once per epoch."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

__all__ = ["EPOCH_SCHEDULES", "FlatRAdam", "epoch_schedule"]

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
RECTIFIED_FROM = 5.0  # length of the average of squares from which its variance is known well enough
MILESTONES = (0.1, 0.8, 0.9)
EPOCH_SCHEDULES = ("exponential", "milestones")


class FlatRAdam(Optimizer):
    """RAdam over all parameters as one vector: a step costs a few operators, however many tensors there are.

    The result is that of ``torch.optim.RAdam(parameters, lr)`` up to rounding. Its time is spent in calling operators
    where tensors are as small as those of a recurrent map, and it calls a dozen for each.

    Parameters
    ----------
    parameters : iterable of Parameter
        Of one dtype and device. As long as none has a gradient nothing is done; else one without counts as 0.
    lr : float
        Learning rate.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step; ``closure`` computes the gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = group["params"]
            if any(p.grad is not None for p in parameters):
                self._step(parameters, group["lr"])
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set the gradients to None, whatever ``set_to_none``."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _step(self, parameters: list[nn.Parameter], lr: float) -> None:
        gradient = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
        state = self.state[parameters[0]]
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}
        state["step"] += 1
        mean, square = state["mean"], state["square"]
        mean.lerp_(gradient, 1 - BETA1)
        square.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        factor, is_rectified = _factor(state["step"])
        update = mean / square.sqrt().add_(EPSILON) if is_rectified else mean
        parts = update.split([p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.add_(part.view_as(parameter), alpha=-lr * factor)


def _factor(step: int) -> tuple[float, bool]:
    """What a step multiplies the mean gradient with, and whether it is divided by the root of the mean square.

    Liu et al., "On the variance of the adaptive learning rate and beyond", arXiv 1908.03265: Adam's step, times a term
    that makes up for the variance of a short average of squares; the plain mean while there is no such term.
    """
    forgotten = BETA2**step
    longest = 2 / (1 - BETA2) - 1
    length = longest - 2 * step * forgotten / (1 - forgotten)
    unbiased = 1 / (1 - BETA1**step)
    if length <= RECTIFIED_FROM:
        return unbiased, False
    rectified = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
    return unbiased * math.sqrt(rectified * (1 - forgotten)), True


def epoch_schedule(schedule: str, optimizer: Optimizer, n_epochs: int | None, decay: float) -> dict[str, Any]:
    """Build a schedule that sets the learning rate once per epoch, in the form Lightning takes.

    Parameters
    ----------
    schedule : str
        One of ``EPOCH_SCHEDULES``.
    optimizer : torch.optim.Optimizer
        The optimiser; its learning rate is the first.
    n_epochs : int or None
        Epochs of the run; None or -1 where it has no end.
    decay : float
        Last learning rate over the first, of "exponential".

    Returns
    -------
    dict
        Scheduler and its interval.

    Raises
    ------
    ValueError
        If the run has no end.
    """
    if n_epochs is None or n_epochs < 1:
        raise ValueError(f"schedule={schedule!r} needs the number of epochs: set max_epochs")
    if schedule == "exponential":
        rate = lambda epoch: decay ** (epoch / n_epochs)  # noqa: E731
    else:
        rate = lambda epoch: 0.1 ** sum(epoch >= share * n_epochs for share in MILESTONES)  # noqa: E731
    return {"scheduler": LambdaLR(optimizer, rate), "interval": "epoch"}
