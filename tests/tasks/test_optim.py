"""Optimisers, schedules, and who is decayed."""

import functools
import math

import pytest
import torch
from torch import nn

from tsmodels.tasks._optim import (
    OPTIMIZERS,
    decay_groups,
    make_optimizer,
    make_schedule,
    named_or_callable,
)


class Layer(nn.Module):
    no_weight_decay = frozenset({"A"})

    def __init__(self):
        super().__init__()
        self.A = nn.Parameter(torch.ones(2, 3))
        self.W = nn.Parameter(torch.ones(2, 3))
        self.inner = nn.Linear(2, 2)  # has a weight; `no_weight_decay` speaks of the own parameters only
        self.norm = nn.LayerNorm(2)


def names_of(network, group):
    of = {id(parameter): name for name, parameter in network.named_parameters()}
    return {of[id(parameter)] for parameter in group["params"]}


def test_decay_spares_named_parameters_biases_and_gains():
    network = nn.Sequential(Layer())
    decayed, spared = decay_groups(network)
    assert names_of(network, decayed) == {"0.W", "0.inner.weight"}
    assert names_of(network, spared) == {"0.A", "0.inner.bias", "0.norm.weight", "0.norm.bias"}
    assert spared["weight_decay"] == 0.0


def test_frozen_parameters_are_left_out_and_empty_groups_too():
    network = Layer()
    network.W.requires_grad_(False)
    network.inner.weight.requires_grad_(False)
    (only,) = decay_groups(network)
    assert names_of(network, only) == {"A", "inner.bias", "norm.weight", "norm.bias"}


def test_a_shared_parameter_is_listed_once_and_spared_if_one_owner_asks():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.other = Layer(), nn.Linear(3, 2)
            self.other.weight = self.layer.A

    network = Tied()
    groups = decay_groups(network)
    owners = [parameter for group in groups for parameter in group["params"]]
    assert sum(parameter is network.layer.A for parameter in owners) == 1
    assert any(parameter is network.layer.A for parameter in groups[1]["params"])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_named_optimisers_take_lr_and_decay_and_step(name):
    network = Layer()
    optimizer = make_optimizer(name, network, lr=0.1, weight_decay=0.5)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    assert {group["lr"] for group in optimizer.param_groups} == {0.1}
    network.W.sum().backward()
    optimizer.step()
    assert network.W.max() < 1.0


def test_a_partial_brings_its_own_settings():
    partial = functools.partial(torch.optim.AdamW, lr=0.3, weight_decay=0.2)
    optimizer = make_optimizer(partial, Layer(), lr=1.0, weight_decay=1.0)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.2, 0.0]
    assert {group["lr"] for group in optimizer.param_groups} == {0.3}


def test_a_network_without_parameters_is_named():
    with pytest.raises(ValueError, match="Identity has no trainable parameter"):
        make_optimizer("adamw", nn.Identity(), lr=0.1, weight_decay=0.0)


def test_unknown_names_are_listed():
    with pytest.raises(ValueError, match=r"optimizer must be one of .*'adamw'.* or a callable, got 'lion'"):
        named_or_callable("lion", OPTIMIZERS, "optimizer")


def rates(schedule, steps):
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1.0)
    made = make_schedule(schedule, optimizer, lambda: steps)
    assert made["interval"] == "step"
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        made["scheduler"].step()
    return values


@pytest.mark.parametrize("steps", [1, 2, 19, 20, 200])
def test_cosine_rises_briefly_then_falls_and_never_wastes_a_step(steps):
    values = rates("cosine", steps)
    peak = values.index(max(values))
    assert max(values) == pytest.approx(1.0)
    assert min(values) > 0.0
    assert peak == int(0.05 * steps)
    assert values[: peak + 1] == sorted(values[: peak + 1])
    assert values[peak:] == sorted(values[peak:], reverse=True)


@pytest.mark.parametrize("steps", [1, 2, 40])
def test_one_cycle_covers_the_run(steps):
    values = rates("one_cycle", steps)
    assert max(values) <= 1.0
    assert values[-1] < 0.01 or steps == 1


def test_constant_needs_no_scheduler_and_plateau_watches_the_validation_loss():
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    assert make_schedule("constant", optimizer, lambda: math.inf) is None
    plateau = make_schedule("plateau", optimizer, lambda: math.inf)
    assert isinstance(plateau["scheduler"], torch.optim.lr_scheduler.ReduceLROnPlateau)
    assert (plateau["interval"], plateau["monitor"]) == ("epoch", "val/loss")


def test_a_partial_schedule_steps_by_epoch():
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    partial = functools.partial(torch.optim.lr_scheduler.StepLR, step_size=2)
    made = make_schedule(partial, optimizer, lambda: math.inf)
    assert isinstance(made["scheduler"], torch.optim.lr_scheduler.StepLR)
    assert made["interval"] == "epoch"


def test_a_callable_chooses_its_interval():
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    step_wise = lambda optimizer: {  # noqa: E731
        "scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step),
        "interval": "step",
    }
    made = make_schedule(step_wise, optimizer, lambda: math.inf)
    assert made["interval"] == "step"
    assert isinstance(made["scheduler"], torch.optim.lr_scheduler.LambdaLR)
    with pytest.raises(ValueError, match=r"without 'scheduler'.*'interval'"):
        make_schedule(lambda optimizer: {"interval": "step"}, optimizer, lambda: math.inf)


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_a_run_without_end_has_no_cosine(schedule):
    optimizer = torch.optim.AdamW([nn.Parameter(torch.zeros(1))])
    with pytest.raises(ValueError, match="max_epochs or max_steps"):
        make_schedule(schedule, optimizer, lambda: math.inf)
