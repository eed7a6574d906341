"""ChimeraForClassification: padding equals removal, symmetries, what is learned, what is refused."""

import copy
import pickle

import pytest
import torch
from torch import nn

from tsmodels import models
from tsmodels.layers import BiChimera2D, Chimera2D
from tsmodels.models import ChimeraForClassification

SMALL = {"d_model": 8, "d_state": 3, "n_layers": 2, "dropout": 0.0}


def network(n_channels=3, n_timepoints=20, n_classes=4, seed=0, **choices):
    torch.manual_seed(seed)
    return ChimeraForClassification(n_channels, n_timepoints, n_classes, **(SMALL | choices)).double().eval()


def series(n_cases=2, n_timepoints=20, n_channels=3, seed=1):
    return torch.randn(n_cases, n_timepoints, n_channels, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"patch_size": 1},
        {"patch_size": 4, "stride": 2},
        {"patch_size": 5, "stride": 3},
        {"pooling": "last"},
        {"pooling": "both", "variate_pooling": "mean"},
        {"variate_mixing": "pooled"},
        {"variate_mixing": "scan", "coupling": "t2v"},
        {"gates": "half"},
    ],
)
def test_padding_equals_removal(choices):
    net, x = network(**choices), series()
    for length in (1, 3, 11, 19):
        padded = x.clone()
        padded[1, length:] = float("nan")  # what stands behind the end is not read
        together = net(padded, torch.tensor([20, length]))
        torch.testing.assert_close(together[1:], net(x[1:, :length]), rtol=0, atol=1e-12)
        torch.testing.assert_close(together[:1], net(x[:1]), rtol=0, atol=1e-12)


def test_gradients_do_not_see_the_padding():
    net, x = network(), series()
    x.requires_grad_()
    net(x, torch.tensor([20, 7])).square().sum().backward()
    assert torch.equal(x.grad[1, 7:], torch.zeros_like(x.grad[1, 7:]))
    assert x.grad[1, :7].abs().min() > 0
    net(x.detach()).square().sum().backward()
    unused = [name for name, p in net.named_parameters() if p.grad is None]
    assert unused == ["embed.missing.weight"]  # learned only from data with missing values


def test_missing_values_are_not_read_and_not_the_same_as_zeros():
    net, x = network(), series()
    mask = torch.ones_like(x, dtype=torch.bool)
    torch.testing.assert_close(net(x, mask=mask), net(x))
    mask[0, 4:7, 1] = False
    spoilt = x.clone()
    spoilt[0, 4:7, 1] = float("nan")
    zeroed = torch.where(mask, x, 0)
    torch.testing.assert_close(net(spoilt, mask=mask), net(zeroed, mask=mask))
    assert (net(zeroed, mask=mask)[0] - net(zeroed)[0]).abs().max() > 1e-6


def test_mask_behind_the_end_changes_nothing():
    net, x, lengths = network(), series(), torch.tensor([20, 9])
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[1, 9:] = False
    torch.testing.assert_close(net(x, lengths, mask), net(x, lengths), rtol=0, atol=1e-12)


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
    for module in network().modules():
        own = {name for name, _ in module.named_parameters(recurse=False)}
        assert set(getattr(module, "no_weight_decay", ())) <= own


def test_overfits_sixteen_cases():
    torch.manual_seed(0)
    net = ChimeraForClassification(3, 24, 4, **SMALL)
    x, y = torch.randn(16, 24, 3), torch.arange(16) % 4
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(80):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05


def test_copies_and_pickles():
    net, x = network(), series()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin(x), net(x))
        assert twin.config == net.config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coupling": "both"}, "coupling must be one of"),
        ({"gates": "exact"}, "gates must be one of"),
        ({"variate_mixing": "mean"}, "variate_mixing must be one of"),
        ({"variate_mixing": "pooled", "coupling": "t2v"}, "needs coupling='full'"),
        ({"pooling": "max"}, "pooling must be one of"),
        ({"variate_pooling": "max"}, "variate_pooling must be one of"),
        ({"patch_size": 4, "stride": 5}, "1 <= stride <= patch_size"),
        ({"patch_size": 0}, "1 <= stride <= patch_size"),
        ({"n_channels": 0}, "n_channels must be at least 1"),
    ],
)
def test_bad_choices_are_named_when_the_network_is_made(change, message):
    with pytest.raises(ValueError, match=message):
        network(**change)


@pytest.mark.parametrize("shape", [(2, 20), (2, 20, 5), (2, 3, 20)])
def test_wrong_input_shape(shape):
    with pytest.raises(ValueError, match=r"x must have shape \(batch, time, 3\)"):
        network()(torch.zeros(shape).double())


def test_exports():
    assert models.__all__ == ["ChimeraForClassification"]
    assert dir(models) == sorted(models.__all__)
    with pytest.raises(AttributeError, match="no attribute"):
        models.Nothing  # noqa: B018


def test_torch_export_for_inference():
    net, x = network(), series()
    exported = torch.export.export(net, (x,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(x), net(x), rtol=0, atol=1e-12)
    with pytest.raises(RuntimeError, match="has no gradient of its own"):  # never silently without gradients
        exported(x)
