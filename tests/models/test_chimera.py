"""ChimeraForClassification beyond the contract of all networks: symmetries, defaults, what is refused."""

import pytest
import torch
from torch import nn

from tsmodels.layers import BiChimera2D, Chimera2D
from tsmodels.models import ChimeraForClassification

SMALL = {"d_model": 8, "d_state": 3, "n_layers": 2, "dropout": 0.0}


def network(n_channels=3, n_timepoints=20, n_classes=4, seed=0, **choices):
    torch.manual_seed(seed)
    return ChimeraForClassification(n_channels, n_timepoints, n_classes, **(SMALL | choices)).double().eval()


def series(n_cases=2, n_timepoints=20, n_channels=3, seed=1):
    return torch.randn(n_cases, n_timepoints, n_channels, generator=torch.Generator().manual_seed(seed)).double()


def test_pooled_variates_make_the_network_independent_of_their_order():
    choices = {"variate_mixing": "pooled", "variate_embedding": False, "variate_pooling": "mean"}
    x, order = series(), torch.tensor([2, 0, 1])
    net = network(**choices)
    torch.testing.assert_close(net(x[..., order]), net(x), rtol=0, atol=1e-12)
    for change in ({"variate_mixing": "bidir"}, {"variate_embedding": True}, {"variate_pooling": "concat"}):
        net = network(**(choices | change))
        assert (net(x[..., order]) - net(x)).abs().max() > 1e-6


def test_both_directions_with_tied_weights_are_equivariant_under_reversal_of_variates():
    torch.manual_seed(0)
    layer = BiChimera2D(8, d_state=3).double()
    layer.backward_scan.load_state_dict(layer.forward_scan.state_dict())
    x = torch.randn(2, 5, 4, 8, dtype=torch.float64)
    torch.testing.assert_close(layer(x.flip(2)), layer(x).flip(2), rtol=0, atol=1e-12)
    assert (layer.forward_scan(x.flip(2)) - layer.forward_scan(x).flip(2)).abs().max() > 1e-3


def test_time_is_causal_in_the_layer():
    torch.manual_seed(0)
    layer = BiChimera2D(8, d_state=3).double()
    x = torch.randn(1, 9, 3, 8, dtype=torch.float64)
    changed = x.clone()
    changed[:, 5:] += 1
    assert torch.equal(layer(changed)[:, :5], layer(x)[:, :5])


def test_one_channel_needs_one_direction():
    assert network(n_channels=1).blocks[0].trend.backward_scan is None
    assert network(n_channels=2).blocks[0].trend.backward_scan is not None


@pytest.mark.parametrize(("n_timepoints", "expected"), [(10, (1, 1)), (16, (4, 4)), (95, (4, 4)), (96, (16, 8))])
def test_default_patches(n_timepoints, expected):
    embed = network(n_timepoints=n_timepoints).embed
    assert (embed.patch_size, embed.stride) == expected


def test_initial_steps_lie_in_their_ranges():
    torch.manual_seed(0)
    layer = Chimera2D(64, time_steps=(0.1, 1.0), variate_steps=(0.01, 0.02))
    steps = nn.functional.softplus(layer.step_bias1), nn.functional.softplus(layer.step_bias2)
    for step, (low, high) in zip(steps, ((0.1, 1.0), (0.01, 0.02)), strict=True):
        assert step.min() >= low * (1 - 1e-5)
        assert step.max() <= high * (1 + 1e-5)
    assert layer.log_alpha1.exp()[0].tolist() == pytest.approx(list(range(1, 17)))


def test_state_parameters_are_named_for_the_optimiser():
    names = {name for module in network().modules() for name in getattr(module, "no_weight_decay", ())}
    assert names == {
        "log_alpha1", "log_alpha4", "theta2", "theta3", "step_bias1", "step_bias2", "skip", "variates",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coupling": "both"}, "coupling must be one of"),
        ({"gates": "exact"}, "gates must be one of"),
        ({"variate_mixing": "mean"}, "variate_mixing must be one of"),
        ({"variate_mixing": "pooled", "coupling": "t2v"}, "needs coupling='full'"),
        ({"variate_pooling": "max"}, "variate_pooling must be one of"),
    ],
)
def test_bad_choices_are_named_when_the_network_is_made(change, message):
    with pytest.raises(ValueError, match=message):
        network(**change)
