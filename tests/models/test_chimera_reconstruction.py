"""Chimera for reconstruction: what it sees, what it cannot copy, missing values, and what every network does."""

import copy
import pickle

import pytest
import torch

from tsmodels.models import ChimeraForReconstruction
from tsmodels.models._config import build

CHOICES = [
    {},
    {"mode": "predict"},
    {"patch_size": 1, "variate_mixing": "scan", "d_latent": 0},
    {"patch_size": 6, "d_patch": 3, "normalise": "revin", "n_layers": 1},
    {"d_latent": 5, "n_layers": 3, "patch_size": 7},
    {"variate_mixing": "pooled", "variate_embedding": False, "gates": "half"},
    {"mode": "predict", "normalise": "revin", "d_patch": 1, "coupling": "t2v"},
]
EVERY_CHOICE = pytest.mark.parametrize("choices", CHOICES, ids=str)


def network(n_channels=3, n_timepoints=20, seed=0, **choices):
    torch.manual_seed(seed)
    small = {"d_model": 8, "d_state": 3, "dropout": 0.0, "patch_size": 4}
    return ChimeraForReconstruction(n_channels, n_timepoints, **(small | choices)).double().eval()


def windows(n_cases=2, n_timepoints=20, n_channels=3, seed=1):
    return torch.randn(n_cases, n_timepoints, n_channels, generator=torch.Generator().manual_seed(seed)).double()


@EVERY_CHOICE
@pytest.mark.parametrize("n_timepoints", [1, 3, 20, 23])
def test_windows_of_any_length_come_back_in_their_shape(choices, n_timepoints):
    net, x = network(n_timepoints=n_timepoints, **choices), windows(n_timepoints=n_timepoints)
    assert net(x).shape == x.shape and net(x).isfinite().all()
    torch.testing.assert_close(net(x)[1:], net(x[1:]))  # windows know nothing of each other


@pytest.mark.parametrize(
    ("choices", "seen_from"), [({"d_latent": 0}, 8), ({"mode": "predict"}, 12), ({"d_latent": 3}, 0)], ids=str
)
def test_what_a_patch_is_made_from(choices, seen_from):
    net, x = network(**choices), windows()
    changed = x.clone()
    changed[:, 9] += 1.0  # a value of the third patch, steps 8 to 11
    difference = (net(changed) - net(x)).abs().amax((0, 2))
    assert (difference[:seen_from] == 0).all()
    assert (difference[seen_from:] > 1e-9).all()


@pytest.mark.parametrize("choices", [{"coupling": "full"}, {"coupling": "none"}], ids=str)
def test_variates_hear_of_each_other_through_the_coupling(choices):
    net, x = network(**choices), windows()
    changed = x.clone()
    changed[..., 0] += 1.0
    heard = (net(changed) - net(x))[..., 1:].abs().max()
    assert heard > 1e-6


@pytest.mark.parametrize(("d_patch", "rank"), [(None, 2), (1, 1), (3, 3), (10, 10)])
def test_a_token_carries_fewer_numbers_than_its_patch_has(d_patch, rank):
    # what comes back of one patch alone varies in d_patch directions, not in as many as the patch has steps
    net = network(n_channels=1, n_timepoints=10, patch_size=10, d_patch=d_patch, d_model=16, d_latent=0)
    assert rank_of(net, 10) == rank


@pytest.mark.parametrize(("n_timepoints", "d_latent", "rank"), [(20, None, 2), (43, None, 4), (20, 5, 5), (20, 20, 20)])
@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_a_variate_passes_through_few_numbers(n_timepoints, d_latent, rank, n_layers):
    net = network(n_channels=1, n_timepoints=n_timepoints, d_latent=d_latent, n_layers=n_layers)
    assert rank_of(net, n_timepoints) == rank


def rank_of(net, n_timepoints):
    """Return the number of directions in which what comes back of a window of one variate varies."""
    x = windows(1, n_timepoints, 1)[0, :, 0]
    jacobian = torch.autograd.functional.jacobian(lambda x: net(x[None, :, None])[0, :, 0], x)
    return torch.linalg.matrix_rank(jacobian, rtol=1e-9).item()


@EVERY_CHOICE
def test_missing_values_are_not_read_and_not_the_same_as_zeros(choices):
    net, x = network(**choices), windows()
    mask = torch.ones_like(x, dtype=torch.bool)
    torch.testing.assert_close(net(x, mask), net(x))
    mask[0, 4:7, 1] = False
    spoilt = torch.where(mask, x, torch.nan)
    zeroed = torch.where(mask, x, 0)
    torch.testing.assert_close(net(spoilt, mask), net(zeroed, mask))
    assert (net(zeroed, mask)[0] - net(zeroed)[0]).abs().max() > 1e-6


def test_normalised_windows_come_back_in_their_units():
    net, x = network(normalise="revin"), windows()
    torch.testing.assert_close(net(1e3 * x + 5.0), 1e3 * net(x) + 5.0, rtol=1e-4, atol=1e-2)
    assert (network()(x + 5.0) - network()(x) - 5.0).abs().max() > 0.1


@pytest.mark.parametrize("choices", CHOICES[:5], ids=str)  # the others couple states or variates in part only
def test_every_parameter_is_learned(choices):
    net, x = network(**choices), windows()
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.8
    net(x, mask).square().sum().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("choices", CHOICES[:2], ids=str)
def test_learns_what_windows_have_in_common(choices):
    torch.manual_seed(0)
    phases = torch.rand(64, 1, 1) * 6
    x = torch.sin(torch.arange(20)[None, :, None] / 2 + phases + torch.arange(3))
    net = network(n_layers=1, **choices).float()
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss = (net(x) - x)[:, 4:].square().mean()  # the first patch cannot be predicted
        loss.backward()
        optimiser.step()
    assert loss < 0.05 * x.var()
    noise = torch.randn(64, 20, 3)
    assert (net(noise) - noise)[:, 4:].square().mean() > 5 * loss  # a copier would give back noise as well


@EVERY_CHOICE
def test_copies_pickles_and_configurations(choices):
    net, x = network(**choices), windows()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin(x), net(x)) and twin.config == net.config
    torch.manual_seed(0)
    assert torch.equal(build(net.config).double().eval()(x), net(x))


def test_torch_export_and_autocast():
    net, x = network(mode="predict"), windows()
    exported = torch.export.export(net, (x,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(x), net(x), rtol=0, atol=1e-12)
    net, x = net.float(), x.float()
    expected = net(x)
    with torch.autocast("cpu", torch.bfloat16):
        found = net(x)
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=0.03 * expected.abs().max().item())


def test_undecayed_parameters_exist():
    net = network(mode="predict")
    assert net.no_weight_decay == {"variates", "start"} <= {name for name, _ in net.named_parameters()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "impute"}, "mode must be one of 'reconstruct', 'predict'; got 'impute'"),
        ({"normalise": "last"}, "normalise must be one of 'none', 'revin'"),
        ({"patch_size": 0}, "patch_size must be at least 1, got 0"),
        ({"d_patch": 0}, "d_patch must be at least 1, got 0"),
        ({"d_latent": -1}, "d_latent must be at least 0, and 0 with mode='predict', got -1"),
        ({"d_latent": 2, "mode": "predict"}, "d_latent must be .* 0 with mode='predict', got 2"),
        ({"n_layers": 0}, "n_layers must be at least 1"),
        ({"n_channels": 0}, "n_channels must be at least 1"),
        ({"n_timepoints": 0}, "n_timepoints must be at least 1"),
    ],
)
def test_bad_choices_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        network(**change)


def test_wrong_input_shapes():
    with pytest.raises(ValueError, match=r"x must have shape \(batch, time, 3\)"):
        network()(windows(n_channels=2))
    with pytest.raises(ValueError, match="windows of 19 time steps, but the network was built for 20"):
        network()(windows(n_timepoints=19))
