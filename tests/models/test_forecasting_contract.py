"""What every exported network for forecasting does: one test each, over all of them."""

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn

from tsmodels import models
from tsmodels.models._config import build

SMALL = {"d_model": 8, "d_state": 4, "dropout": 0.0, "patch_size": 4}
# Small choices, then those that change the way of the data. A new network needs a row here.
CHOICES = {
    "ChimeraForForecasting": [
        {},
        {"head": "closed_loop"},
        {"head": "closed_loop", "patch_size": 5, "n_layers": 1},
        {"stride": 3, "coupling": "t2v", "variate_mixing": "scan"},
        {"variate_mixing": "pooled", "variate_embedding": False},
    ],
    "DLinearForForecasting": [
        {},
        {"individual": True, "kernel_size": 3},
        {"normalise": "last"},
        {"normalise": "revin"},
    ],
    "MambaForForecasting": [{}, {"channel_mixing": True}, {"bidirectional": True, "expand": 2, "stride": 4}],
    "S4DForForecasting": [{}, {"channel_mixing": True}, {"bidirectional": True, "prenorm": False, "init": "lin"}],
}
EVERY_CHOICE = pytest.mark.parametrize(
    ("name", "choices"), [(name, choices) for name, rows in CHOICES.items() for choices in rows], ids=str
)
EVERY = pytest.mark.parametrize("name", CHOICES)
COVARIATES = {"exog": ("n_exogenous", 2), "past": ("n_past", 1), "static": ("n_static", 2)}
FACTS = ["n_channels", "lookback", "horizon", "n_outputs", "n_exogenous", "n_past", "n_static", "distribution"]


def network(name, n_channels=3, lookback=18, horizon=7, n_outputs=1, seed=0, choices=None, **facts):
    torch.manual_seed(seed)
    small = {} if name.startswith("DLinear") else SMALL
    net = getattr(models, name)(n_channels, lookback, horizon, n_outputs, **facts, **(small | (choices or {})))
    with torch.no_grad():  # what starts at 0 would hide its inputs
        for p in net.parameters():
            if not p.any():
                p.normal_(std=0.3)
    return net.double().eval()


def random(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def batch(names=(), n_cases=4, n_channels=3, lookback=18, horizon=7):
    steps = {"exog": (lookback + horizon,), "past": (lookback,), "static": ()}
    inputs = {"x": random(n_cases, lookback, n_channels)}
    for i, name in enumerate(names):
        inputs[name] = random(n_cases, *steps[name], COVARIATES[name][1], seed=2 + i)
    return inputs


def facts_of(names):
    return dict(COVARIATES[name] for name in names)


def masked(x, fraction=0.3):
    return random(*x.shape, seed=9) > torch.tensor(fraction).double().mul(2).sub(1).erfinv().mul(2**0.5)


def test_every_network_for_forecasting_has_a_row():
    assert {name for name in models.__all__ if name.endswith("ForForecasting")} == set(CHOICES)


@EVERY
def test_facts_come_first_and_choices_have_defaults(name):
    parameters = inspect.signature(getattr(models, name)).parameters.values()
    assert [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD] == FACTS
    assert all(p.default is not p.empty for p in parameters if p.kind is p.KEYWORD_ONLY)


@EVERY_CHOICE
@pytest.mark.parametrize(("n_outputs", "n_channels"), [(1, 3), (3, 3), (2, 1)])
def test_shapes_and_nothing_leaks_between_cases(name, choices, n_outputs, n_channels):
    net = network(name, n_channels, n_outputs=n_outputs, choices=choices)
    x = batch(n_channels=n_channels)["x"]
    got = net(x)
    assert got.shape == ((4, 7, n_channels) if n_outputs == 1 else (4, 7, n_channels, n_outputs))
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(net(x[order]), got[order], rtol=0, atol=1e-12)
    torch.testing.assert_close(net(x[1:2]), got[1:2], rtol=0, atol=1e-12)


@EVERY_CHOICE
def test_every_covariate_matters_and_is_required(name, choices):
    net = network(name, choices=choices, **facts_of(COVARIATES))
    inputs = batch(COVARIATES)
    got = net(**inputs)
    assert got.shape == (4, 7, 3)
    for covariate, (fact, _) in COVARIATES.items():
        changed = inputs | {covariate: inputs[covariate] + random(*inputs[covariate].shape, seed=5)}
        assert (net(**changed) - got).abs().amax(1).min() > 1e-8  # all channels of all cases
        with pytest.raises(ValueError, match=rf"built with {fact}=\d: pass {covariate} of shape"):
            net(**{key: value for key, value in inputs.items() if key != covariate})
        with pytest.raises(ValueError, match=f"{covariate} must have shape"):
            net(**inputs | {covariate: inputs[covariate][..., :-1]})


@EVERY
@pytest.mark.parametrize("covariate", COVARIATES)
def test_covariates_it_was_not_built_for_are_refused(name, covariate):
    fact, _ = COVARIATES[covariate]
    with pytest.raises(ValueError, match=f"built with {fact}=0: leave out {covariate}"):
        network(name)(**batch([covariate]))
    alone = network(name, **facts_of([covariate]))
    assert alone(**batch([covariate])).shape == (4, 7, 3)


@EVERY_CHOICE
def test_what_is_masked_is_not_read_but_that_it_is_masked(name, choices):
    net, inputs = network(name, choices=choices, **facts_of(COVARIATES)), batch(COVARIATES)
    x, mask = inputs["x"], masked(inputs["x"])
    mask[3, :, 1] = False  # a channel without any value
    got = net(**inputs, mask=mask)
    assert got.isfinite().all()
    for filler in (0.0, 1e6, float("nan")):
        spoilt = inputs | {"x": torch.where(mask, x, filler)}
        torch.testing.assert_close(net(**spoilt, mask=mask), got, rtol=0, atol=1e-12)
    assert (net(**inputs | {"x": torch.where(mask, x, 0)}) - got).abs().max() > 1e-6
    everywhere = torch.ones_like(mask)
    torch.testing.assert_close(net(**inputs, mask=everywhere), net(**inputs), rtol=0, atol=1e-12)


@EVERY_CHOICE
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_every_parameter_is_learned_also_from_data_with_gaps(name, choices, n_outputs):
    net = network(name, n_outputs=n_outputs, choices=choices, distribution=n_outputs == 3, **facts_of(COVARIATES))
    inputs = batch(COVARIATES)
    mask = masked(inputs["x"])
    mask[0, :, 0] = False
    inputs["x"] = torch.where(mask, inputs["x"], float("nan")).requires_grad_()
    net(**inputs, mask=mask).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    silent = {key.rpartition(".")[2] for key, p in net.named_parameters() if not p.grad.any()}
    assert silent == ({"theta2"} if choices.get("coupling") == "t2v" else set())  # the coupling that is off
    grad = inputs["x"].grad
    assert grad.isfinite().all() and not grad[~mask].any()
    assert (grad[mask] != 0).float().mean() > 0.9


@EVERY_CHOICE
@pytest.mark.parametrize("with_gaps", [False, True])
def test_shifted_and_scaled_series_have_shifted_and_scaled_forecasts(name, choices, with_gaps):
    net, x = network(name, choices=choices), batch()["x"]
    mask = masked(x) if with_gaps else None
    shift = torch.tensor([100.0, -3.0, 0.5]).double()
    normalise = getattr(net, "normalise", "revin")
    if normalise != "none":
        torch.testing.assert_close(net(x + shift, mask), net(x, mask) + shift, rtol=0, atol=1e-9)
    if normalise == "revin":  # up to eps of the variance
        scale = torch.tensor([3.0, 20.0, 0.5]).double()
        torch.testing.assert_close(net(x * scale, mask) / scale, net(x, mask), rtol=0, atol=1e-3)


@EVERY_CHOICE
def test_location_and_scale_of_a_distribution_follow_the_series(name, choices):
    net, x = network(name, n_outputs=3, distribution=True, choices=choices), batch()["x"]
    got = net(x)
    if net.normalise != "revin":
        torch.testing.assert_close(net(x + 7)[..., 0], got[..., 0] + 7) if net.normalise == "last" else None
        return
    moved = net(20 * x + 7)
    torch.testing.assert_close(moved[..., 0], 20 * got[..., 0] + 7, rtol=0, atol=0.02)
    torch.testing.assert_close(moved[..., 1], got[..., 1] + torch.tensor(20.0).double().log(), rtol=0, atol=1e-3)
    torch.testing.assert_close(moved[..., 2], got[..., 2], rtol=0, atol=1e-3)


@EVERY
def test_covariates_move_the_location_only(name):
    """With n_outputs=3 they move all quantiles alike, but neither scale nor shape of a distribution."""
    for distribution in (False, True):
        net = network(name, n_outputs=3, distribution=distribution, n_static=2)
        inputs = batch(["static"])
        moved = net(**inputs | {"static": inputs["static"] + 1}) - net(**inputs)
        assert moved[..., 0].abs().min() > 1e-6
        expected = torch.zeros_like(moved) if distribution else moved[..., :1].expand_as(moved)
        torch.testing.assert_close(moved[..., 1:], expected[..., 1:], rtol=0, atol=1e-12)


@EVERY_CHOICE
@pytest.mark.parametrize(("lookback", "horizon"), [(4, 1), (1, 3), (7, 30)])
def test_short_windows(name, choices, lookback, horizon):
    net = network(name, 1, lookback, horizon, choices=choices)
    x = batch(n_channels=1, lookback=lookback)["x"]
    got = net(x)
    assert got.shape == (4, horizon, 1)
    assert got.isfinite().all()


@EVERY
@pytest.mark.parametrize("patch_size", [None, 16])
def test_default_patches_are_cut_to_the_lookback(name, patch_size):
    if name.startswith("DLinear"):
        return
    choices = {} if patch_size is None else {"patch_size": patch_size}
    net = getattr(models, name)(2, 6, 3, **choices)
    assert (net.embed.patch_size, net.embed.stride) == (6, 3)
    assert net(torch.zeros(1, 6, 2)).shape == (1, 3, 2)


@EVERY
@pytest.mark.parametrize("shape", [(4, 18), (4, 17, 3), (4, 18, 2), (4, 3, 18)])
def test_wrong_lookback_or_channels(name, shape):
    with pytest.raises(ValueError, match=r"x must have shape \(batch, 18, 3\)"):
        network(name)(torch.zeros(shape).double())


@EVERY
def test_wrong_mask(name):
    net, x = network(name), batch()["x"]
    for mask in (torch.ones_like(x), torch.ones(4, 18, dtype=torch.bool)):
        with pytest.raises(ValueError, match="mask must be boolean of shape"):
            net(x, mask)


@EVERY
@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"n_channels": 0}, "n_channels must be at least 1"),
        ({"lookback": 0}, "lookback must be at least 1"),
        ({"horizon": 0}, "horizon must be at least 1"),
        ({"n_outputs": 0}, "n_outputs must be at least 1"),
        ({"n_exogenous": -1}, "n_exogenous must be at least 0"),
        ({"n_past": -1}, "n_past must be at least 0"),
        ({"n_static": -1}, "n_static must be at least 0"),
        ({"n_outputs": 2, "distribution": True}, "distribution=True needs n_outputs=3"),
    ],
)
def test_facts_are_checked(name, facts, message):
    with pytest.raises(ValueError, match=message):
        getattr(models, name)(**({"n_channels": 3, "lookback": 18, "horizon": 7} | facts))


@EVERY
@pytest.mark.parametrize("change", [{"patch_size": 4, "stride": 5}, {"patch_size": 4, "stride": 0}, {"patch_size": 0}])
def test_bad_patches_are_named_when_the_network_is_made(name, change):
    if name.startswith("DLinear"):
        return
    with pytest.raises(ValueError, match="1 <= stride <= patch_size"):
        network(name, choices=change)


@EVERY_CHOICE
def test_recorded_and_rebuilt(name, choices):
    net, x = network(name, choices=choices), batch()["x"]
    twin = build(net.config).double().eval()
    twin.load_state_dict(net.state_dict())
    for each in (twin, copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert each.config == net.config
        assert torch.equal(each(x), net(x))


@EVERY_CHOICE
def test_autocast_to_bfloat16(name, choices):
    net = network(name, choices=choices, **facts_of(COVARIATES)).float()
    inputs = {key: value.float() for key, value in batch(COVARIATES).items()}
    inputs["mask"] = masked(inputs["x"].double())
    expected = net(**inputs)
    with torch.autocast("cpu", torch.bfloat16):
        got = net(**inputs)
    assert got.dtype == torch.float32  # a forecast of 2000 with 8 bits would be one of 2000 or 2016
    torch.testing.assert_close(got, expected, rtol=0, atol=0.03 * expected.abs().max().item())
    got.square().sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in net.parameters())


@EVERY_CHOICE
def test_torch_export_for_inference(name, choices):
    net, inputs = network(name, choices=choices, **facts_of(COVARIATES)), batch(COVARIATES)
    inputs["mask"] = masked(inputs["x"])
    exported = torch.export.export(net, (), kwargs=inputs).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(**inputs), net(**inputs), rtol=0, atol=1e-12)


@EVERY
def test_undecayed_parameters_exist(name):
    for module in network(name).modules():
        own = {each for each, _ in module.named_parameters(recurse=False)}
        assert set(getattr(module, "no_weight_decay", ())) <= own


@EVERY
def test_learns_what_the_covariates_say(name):
    """y = 3 exog + noise: the past of y says nothing about its future."""
    torch.manual_seed(0)
    choices = {} if name.startswith("DLinear") else SMALL
    net = getattr(models, name)(1, 12, 4, n_exogenous=1, **choices)
    exog = torch.randn(64, 16, 1)
    y = 3 * exog + 0.1 * torch.randn(64, 16, 1)
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-2)
    for _ in range(100):
        optimiser.zero_grad()
        nn.functional.mse_loss(net(y[:, :12], exog=exog), y[:, 12:]).backward()
        optimiser.step()
    net.eval()
    fresh = torch.randn(64, 16, 1)
    with torch.no_grad():
        error = nn.functional.mse_loss(net(3 * fresh[:, :12], exog=fresh), 3 * fresh[:, 12:])
    assert error < 0.9  # a tenth of the variance


@EVERY
def test_overfits_sixteen_windows(name):
    torch.manual_seed(0)
    choices = {"individual": True} if name.startswith("DLinear") else SMALL
    net = getattr(models, name)(2, 24, 6, **choices)
    x, y = torch.randn(16, 24, 2), torch.randn(16, 6, 2)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = [1.0]
    while losses[-1] > 0.1 and len(losses) < 400:
        optimiser.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] <= 0.1
