"""ChimeraForForecasting beyond the contract of all networks: the closed loop, symmetries, defaults."""

import pytest
import torch
from torch import nn

from tsmodels.models import ChimeraForForecasting

SMALL = {"d_model": 8, "d_state": 3, "dropout": 0.0}
LOOPS = pytest.mark.parametrize(
    "choices",
    [
        {"patch_size": 4},
        {"patch_size": 1},
        {"patch_size": 5, "n_layers": 1},
        {"patch_size": 16, "variate_mixing": "scan"},
        {"patch_size": 4, "variate_mixing": "pooled"},
        {"patch_size": 4, "coupling": "v2t", "gates": "half"},
    ],
    ids=str,
)


def network(n_channels=3, lookback=16, horizon=6, seed=0, **choices):
    torch.manual_seed(seed)
    return ChimeraForForecasting(n_channels, lookback, horizon, **(SMALL | choices)).double().eval()


def closed(**choices):
    return network(head="closed_loop", **choices)


def series(n_cases=2, lookback=16, n_channels=3, seed=1):
    return torch.randn(n_cases, lookback, n_channels, generator=torch.Generator().manual_seed(seed)).double()


@LOOPS
def test_closed_loop_equals_streaming_of_the_same_weights(choices):
    """Written out: scan the tokens one at a time, then feed every prediction back, and read the values off."""
    net, x = closed(**choices), series()
    values, mean, deviation = net.revin(x)
    tokens = net._tokens(*net._padded(values, None))
    states, y = None, None
    for token in tokens.unbind(1):
        y, states = net.loop.scan(token[:, None], states)
    patches = []
    for _ in range(-(-6 // net.embed.patch_size)):
        token = net.loop.predict(states)
        patches.append(net.readout(y[:, 0] + token))
        y, states = net.loop.scan(token[:, None], states)
    expected = torch.cat(patches, -1).transpose(1, 2)[:, :6] * deviation + mean
    torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-10)


@LOOPS
def test_generating_goes_on_where_the_forecast_ends(choices):
    net, x = closed(**choices), series()
    long = net.generate(x, 24)
    assert long.shape == (2, 24, 3)
    torch.testing.assert_close(long[:, :6], net(x), rtol=0, atol=1e-12)
    torch.testing.assert_close(net.generate(x, 3), net(x)[:, :3], rtol=0, atol=1e-12)
    assert (long[:, 6:].diff(dim=1).abs().amax(1) > 0).all()


def test_generating_with_covariates_and_gaps():
    net = closed(n_exogenous=2, n_past=1, n_static=2, n_outputs=3)
    for p in net.covariates.parameters():
        nn.init.normal_(p)
    x, exog, past, static = series(), series(2, 36, 2, 2), series(2, 16, 1, 3), series(2, 1, 2, 4)[:, 0]
    mask = series(seed=5) > -0.5
    long = net.generate(x, 20, mask, exog, past, static)
    assert long.shape == (2, 20, 3, 3)
    torch.testing.assert_close(long[:, :6], net(x, mask, exog[:, :22], past, static), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"exog must have shape \(2, 36, 2\)"):
        net.generate(x, 20, mask, exog[:, :22], past, static)
    with pytest.raises(ValueError, match="n_steps must be at least 1"):
        net.generate(x, 0, mask, exog[:, :16], past, static)


@LOOPS
def test_forward_with_auxiliary_forecasts_the_same(choices):
    net, x = closed(**choices), series()
    forecast, auxiliary = net.forward_with_auxiliary(x)
    torch.testing.assert_close(forecast, net(x), rtol=0, atol=1e-10)
    assert auxiliary.shape == ()
    assert (auxiliary > 0) == (choices["patch_size"] < 16)  # a single patch leaves nothing to predict


def test_auxiliary_loss_is_that_of_predictions_within_the_lookback():
    """From every beginning of the window: the next patch against the truth, in units of x, and the next token."""
    net, x = closed(patch_size=4), 7 + 3 * series()
    values, _, deviation = net.revin(x)
    tokens = net._tokens(values, None)
    value_errors, token_errors = [], []
    for n_seen in (1, 2, 3):
        y, states = net.loop.scan(tokens[:, :n_seen])
        token = net.loop.predict(states)
        patch = net.readout(y[:, -1] + token).transpose(1, 2)
        value_errors.append(((patch - values[:, 4 * n_seen : 4 * n_seen + 4]) * deviation).square())
        token_errors.append((token - tokens[:, n_seen]).square())
    expected = torch.stack(value_errors).mean() + torch.stack(token_errors).mean()
    torch.testing.assert_close(net.forward_with_auxiliary(x)[1], expected)


def test_auxiliary_loss_leaves_out_what_is_missing():
    net, x = closed(patch_size=4), series()
    mask = torch.ones_like(x, dtype=torch.bool)
    torch.testing.assert_close(net.forward_with_auxiliary(x, mask)[1], net.forward_with_auxiliary(x)[1])
    mask[0, 5:11, 1] = False
    values, _, deviation = net.revin(x, mask)
    tokens = net._tokens(values, (~mask).double())
    y, predicted, _ = net.loop.open_loop(tokens)
    patches = net.readout(y + predicted)[:, :-1].transpose(2, 3).flatten(1, 2)
    errors = ((patches - values[:, 4:]) * deviation).square()
    token_error = (predicted[:, :-1] - tokens[:, 1:]).square().mean()
    expected = errors[mask[:, 4:]].mean() + token_error
    torch.testing.assert_close(net.forward_with_auxiliary(x, mask)[1], expected)
    assert net.forward_with_auxiliary(x, torch.zeros_like(mask))[1].isfinite()


def test_auxiliary_loss_of_quantiles_and_of_distributions_looks_at_the_location():
    x = series()
    distribution = closed(patch_size=4, n_outputs=3, distribution=True)
    quantiles = closed(patch_size=4, n_outputs=3)
    quantiles.load_state_dict(distribution.state_dict())
    for net, expected in ((distribution, (1, 0, 0)), (quantiles, (1 / 3, 1 / 3, 1 / 3))):
        net.readout.bias.grad = None
        net.forward_with_auxiliary(x)[1].backward()
        grads = net.readout.bias.grad.unflatten(0, (4, 3))
        torch.testing.assert_close(grads / grads.sum(1, keepdim=True), torch.tensor(expected).double().expand(4, 3))


def test_a_direct_head_has_no_auxiliary_loss_and_no_longer_forecast():
    net, x = network(), series()
    forecast, auxiliary = net.forward_with_auxiliary(x)
    assert torch.equal(forecast, net(x))
    assert auxiliary.shape == () and auxiliary == 0
    with pytest.raises(ValueError, match="build the network with head='closed_loop'"):
        net.generate(x, 12)


@pytest.mark.parametrize("head", ["direct", "closed_loop"])
def test_gradients_of_the_whole_network(head):
    torch.manual_seed(0)
    net = ChimeraForForecasting(2, 6, 4, head=head, d_model=2, d_state=2, n_layers=2, patch_size=2, dropout=0.0)
    net.double()
    x = series(1, 6, 2).requires_grad_()
    assert torch.autograd.gradcheck(net, (x,))
    assert torch.autograd.gradcheck(lambda x: net.forward_with_auxiliary(x)[0], (x,))


def test_gradients_of_the_auxiliary_loss_reach_the_loop_and_the_encoder():
    net = closed(patch_size=4)
    net.forward_with_auxiliary(series())[1].backward()
    silent = {name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()}
    assert silent == {"embed.missing.weight"}


@pytest.mark.parametrize("head", ["direct", "closed_loop"])
def test_lookback_that_is_no_multiple_of_the_patch(head):
    net = network(lookback=13, patch_size=4, head=head)
    x = series(lookback=13)
    got = net(x)
    for step in (0, 12):
        changed = x.clone()
        changed[:, step] += 0.1
        assert (net(changed) - got).abs().max() > 1e-9
    assert net.forward_with_auxiliary(x)[1].isfinite()


def test_pooled_variates_make_the_forecasts_independent_of_their_order():
    x, order = series(), torch.tensor([2, 0, 1])
    for head in ("direct", "closed_loop"):
        choices = {"variate_mixing": "pooled", "variate_embedding": False, "patch_size": 4}
        net = network(head=head, **choices)
        torch.testing.assert_close(net(x[..., order]), net(x)[..., order], rtol=0, atol=1e-12)
        for change in ({"variate_mixing": "bidir"}, {"variate_embedding": True}):
            net = network(head=head, **(choices | change))
            assert (net(x[..., order]) - net(x)[..., order]).abs().max() > 1e-6


def test_channels_see_each_other():
    x = series()
    changed = x.clone()
    changed[:, :, 1] += torch.linspace(0, 1, 16).double()
    for head in ("direct", "closed_loop"):
        net = network(head=head, patch_size=4)
        assert (net(changed) - net(x)).abs().amax((0, 1)).min() > 1e-9


@pytest.mark.parametrize(
    ("lookback", "head", "expected"),
    [
        (96, "direct", (16, 8)),
        (10, "direct", (10, 5)),
        (1, "direct", (1, 1)),
        (96, "closed_loop", (8, 8)),
        (5, "closed_loop", (5, 5)),
    ],
)
def test_default_patches(lookback, head, expected):
    net = network(lookback=lookback, head=head)
    assert (net.embed.patch_size, net.embed.stride) == expected


def test_one_variate_needs_one_direction():
    assert network(1).blocks[0].trend.backward_scan is None
    assert network(1, n_past=1).blocks[0].trend.backward_scan is not None
    assert len(closed(n_channels=1).loop.scans) == 1
    assert len(closed(n_channels=2).loop.scans) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": "open"}, "head must be one of"),
        ({"n_layers": 0}, "n_layers must be at least 1"),
        ({"head": "closed_loop", "patch_size": 4, "stride": 2}, "do not overlap: leave out stride"),
        ({"coupling": "both"}, "coupling must be one of"),
        ({"gates": "exact"}, "gates must be one of"),
        ({"variate_mixing": "mean"}, "variate_mixing must be one of"),
        ({"variate_mixing": "pooled", "coupling": "t2v"}, "needs coupling='full'"),
    ],
)
def test_bad_choices_are_named_when_the_network_is_made(change, message):
    with pytest.raises(ValueError, match=message):
        network(**change)


def waves(n_cases, n_steps, generator):
    """Trend and season; the same three steps later, with another season; that season alone."""

    def uniform(low, high):
        return low + (high - low) * torch.rand(n_cases, 1, generator=generator)

    t = torch.arange(n_steps).float()
    slope, size, phase, size2, phase2 = (
        uniform(*bounds) for bounds in ((-0.02, 0.02), (0.5, 1.5), (0, 6.3), (0.5, 1.5), (0, 6.3))
    )
    first = slope * t + size * torch.sin(2 * torch.pi * t / 12 + phase)
    later = slope * (t - 3) + size * torch.sin(2 * torch.pi * (t - 3) / 12 + phase)
    third = size2 * torch.sin(2 * torch.pi * t / 8 + phase2)
    mixed = later + 0.5 * size2 * torch.sin(2 * torch.pi * (t - 2) / 8 + phase2)
    return torch.stack([first, mixed, third], -1) + 0.05 * torch.randn(n_cases, n_steps, 3, generator=generator)


def trained_closed_loop(seed, coupling="full"):
    """A network trained on 200 batches of waves, and the generator that goes on with others."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    choices = {"d_model": 16, "d_state": 8, "dropout": 0.0, "patch_size": 8, "coupling": coupling}
    net = ChimeraForForecasting(3, 48, 12, head="closed_loop", **choices)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(200):
        window = waves(32, 60, generator)
        forecast, auxiliary = net.forward_with_auxiliary(window[:, :48])
        optimiser.zero_grad()
        (nn.functional.mse_loss(forecast, window[:, 48:]) + auxiliary).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    return net, generator


@pytest.mark.slow
def test_closed_loop_extrapolates_four_horizons_of_trend_season_and_lag():
    net, generator = trained_closed_loop(0)
    window = waves(256, 48 + 48, generator)
    x, future = window[:, :48], window[:, 48:]
    with torch.no_grad():
        errors = (net.generate(x, 48) - future).square().unflatten(1, (4, 12)).mean((0, 2, 3))
        beyond = net.generate(x, 1000)
    of_mean = (x.mean(1, keepdim=True) - future).square().unflatten(1, (4, 12)).mean((0, 2, 3))
    assert errors[0] < 0.05 * of_mean[0]
    assert (errors < 0.75 * of_mean).all()
    assert beyond.abs().max() < 3 * x.abs().max()  # 83 horizons later


@pytest.mark.slow
def test_coupled_axes_forecast_lagged_variates_better_than_uncoupled_ones():
    errors = {}
    for coupling in ("full", "none"):
        found = []
        for seed in (0, 1):
            net, generator = trained_closed_loop(seed, coupling)
            window = waves(256, 60, generator)
            with torch.no_grad():
                found.append(nn.functional.mse_loss(net(window[:, :48]), window[:, 48:]).item())
        errors[coupling] = sum(found) / len(found)
    assert errors["full"] < 0.9 * errors["none"]
