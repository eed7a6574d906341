"""Optimisers and schedules by name, and which parameters are decayed."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

__all__ = ["OPTIMIZERS", "SCHEDULES", "decay_groups", "make_optimizer", "make_schedule", "named_or_callable"]

WARMUP = 0.05  # share of the run in which "cosine" rises linearly: enough for Adam's second moments to settle

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "radam": lambda params, **options: torch.optim.RAdam(params, decoupled_weight_decay=True, **options),
    "sgd": lambda params, **options: torch.optim.SGD(params, momentum=0.9, nesterov=True, **options),
}
SCHEDULES = ("cosine", "constant", "one_cycle", "plateau")

OptimizerFactory = Callable[[Iterable], Optimizer]
ScheduleFactory = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau | dict[str, Any]]


def named_or_callable(value: Any, names: Iterable[str], argument: str) -> None:
    """Raise ValueError unless `value` is one of `names` or a callable.

    Parameters
    ----------
    value : str or callable
        What the user gave.
    names : iterable of str
        The names that are known.
    argument : str
        Name of the argument for the message.
    """
    if not callable(value) and value not in tuple(names):
        raise ValueError(f"{argument} must be one of {sorted(names)} or a callable, got {value!r}")


def decay_groups(network: nn.Module) -> list[dict[str, Any]]:
    """Split the trainable parameters into those that weight decay pulls to zero and those it must not touch.

    Parameters
    ----------
    network : nn.Module
        A module of it may name parameters of its own in the attribute ``no_weight_decay``, a set of str. Beside these,
        parameters with fewer than two axes (biases, gains of norms) are not decayed.

    Returns
    -------
    list of dict
        Parameter groups for an optimiser; the group without decay has ``"weight_decay": 0.0``. Empty groups are left
        out, and a parameter shared by several modules is listed once, undecayed if one of them asks for it.
    """
    decayed: dict[int, nn.Parameter] = {}
    spared: dict[int, nn.Parameter] = {}
    for module in network.modules():
        names = getattr(module, "no_weight_decay", frozenset())
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                group = spared if name in names or parameter.ndim < 2 else decayed
                group[id(parameter)] = parameter
    groups = [
        {"params": [parameter for key, parameter in decayed.items() if key not in spared]},
        {"params": list(spared.values()), "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(
    optimizer: str | OptimizerFactory, network: nn.Module, *, lr: float, weight_decay: float
) -> Optimizer:
    """Build the optimiser of a network.

    Parameters
    ----------
    optimizer : str or callable
        A key of ``OPTIMIZERS``, or a callable that makes an optimiser from parameter groups; a callable brings its own
        learning rate and weight decay.
    network : nn.Module
        Network to train.
    lr, weight_decay : float
        For a named optimiser. "adam" adds the decay to the gradient (L2), the others to the weights (SGD: the same).

    Returns
    -------
    torch.optim.Optimizer
        With the groups of :func:`decay_groups`.
    """
    groups = decay_groups(network)
    if not groups:
        raise ValueError(f"{type(network).__name__} has no trainable parameter")
    if callable(optimizer):
        return optimizer(groups)
    return OPTIMIZERS[optimizer](groups, lr=lr, weight_decay=weight_decay)


def make_schedule(
    schedule: str | ScheduleFactory, optimizer: Optimizer, total_steps: Callable[[], float]
) -> dict[str, Any] | None:
    """Build the learning-rate schedule in the form Lightning takes.

    Parameters
    ----------
    schedule : str or callable
        "cosine" (linear warm-up over 5 % of the steps, then half a cosine to 0), "one_cycle" (both step by step),
        "plateau" (a tenth when ``val/loss`` has not improved for ten epochs), "constant", or a callable that makes from
        the optimiser a scheduler, stepped once per epoch, or Lightning's dict of a scheduler and its ``interval``.
    optimizer : torch.optim.Optimizer
        The optimiser; its learning rates are the peaks.
    total_steps : callable
        Returns the number of optimiser steps of the run; called only if the schedule needs it.

    Returns
    -------
    dict or None
        None for "constant".

    Raises
    ------
    ValueError
        If "cosine" or "one_cycle" is asked for in a run without end, or a callable returns a dict without scheduler.
    """
    if callable(schedule) or schedule == "plateau":
        made = schedule(optimizer) if callable(schedule) else ReduceLROnPlateau(optimizer)
        if isinstance(made, dict) and "scheduler" not in made:
            raise ValueError(f"schedule returned a dict without 'scheduler', its keys are {sorted(made)}")
        return {"interval": "epoch", "monitor": "val/loss"} | (made if isinstance(made, dict) else {"scheduler": made})
    if schedule == "constant":
        return None
    steps = total_steps()
    if not math.isfinite(steps):
        raise ValueError(f"schedule={schedule!r} needs the length of the run: set max_epochs or max_steps")
    return {"scheduler": _by_step(schedule, optimizer, max(1, int(steps))), "interval": "step"}


def _by_step(schedule: str, optimizer: Optimizer, steps: int) -> LRScheduler:
    if schedule == "one_cycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, max_lr=peaks, total_steps=steps)
    return LambdaLR(optimizer, lambda step: _warmup_cosine(step, steps))


def _warmup_cosine(step: int, steps: int) -> float:
    """Return the share of the peak learning rate in a step; never 0, so that no step of the run is wasted."""
    warmup = int(WARMUP * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup + 1)))
