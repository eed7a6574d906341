"""PLRNN: how its cells start, what forces and what is seen, free runs, and that clipped cells stay bounded."""

import copy
import doctest
import math
import pickle

import pytest
import torch

from tsmodels.models import PLRNN
from tsmodels.models._config import build
from tsmodels_kernels import plrnn_step

CELLS = ["plrnn", "mcplrnn", "shplrnn", "cshplrnn", "dendplrnn", "cdendplrnn", "alrnn"]
OFF_DIAGONAL = ["plrnn", "mcplrnn", "dendplrnn", "cdendplrnn"]
RESPONSE = [0.5, 0.3, 0.2]
EVERY_CELL = pytest.mark.parametrize("cell", CELLS)
EVERY_OBSERVATION = pytest.mark.parametrize(
    "choices",
    [
        {},
        {"latent_dim": 5},
        {"observation": "linear", "latent_dim": 2},
        {"observation": "linear", "latent_dim": 4},
        {"observation": "linear", "response": RESPONSE},
    ],
    ids=str,
)


def network(n_channels=3, n_inputs=0, seed=0, **choices):
    torch.manual_seed(seed)
    return PLRNN(n_channels, n_inputs, **({"hidden_dim": 8, "n_bases": 4} | choices)).double()


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def step(net, z, s=None):
    return plrnn_step(net.cell, net.theta, z, s, n_relu=net.n_relu)


def test_the_example_in_the_docstring_runs():
    (test,) = doctest.DocTestFinder(recurse=False).find(PLRNN, "PLRNN", globs={})
    assert doctest.DocTestRunner().run(test).failed == 0


# Start


@EVERY_CELL
def test_the_linear_part_starts_at_the_edge_of_stability(cell):
    theta = {name: p.detach() for name, p in network(30, cell=cell, bounded=False).theta.items()}
    assert theta["A"].min() > 0
    assert theta["A"].max() <= 1
    if cell in OFF_DIAGONAL:
        W = theta["W"]
        assert not W.diagonal().any()
        assert torch.equal(W, W.mT)
        eigenvalues = torch.linalg.eigvalsh(W + theta["A"].diag())
        assert eigenvalues[-1] == pytest.approx(1, abs=1e-5)
        assert eigenvalues[0] > 0
    if cell == "alrnn":
        assert theta["W"].std() == pytest.approx(0.01, rel=0.1)
        assert theta["W"].diagonal().any()


@EVERY_CELL
def test_spread_of_the_other_parameters(cell):
    M, H = 20, 400
    net = network(M, 200, cell=cell, hidden_dim=H, n_bases=H, data_range=(-1.0, 3.0))
    theta = {name: p.detach() for name, p in net.theta.items()}

    def assert_uniform(tensor, low, high):
        assert low <= tensor.min()
        assert tensor.max() <= high
        assert tensor.mean() == pytest.approx((low + high) / 2, abs=0.2 * (high - low) / math.sqrt(H / 8))
        assert tensor.std() == pytest.approx((high - low) / math.sqrt(12), rel=0.1)

    bias = theta["h1" if "h1" in theta else "h"]
    assert not bias.any()
    limit = math.sqrt(6 / (M + 200))  # Glorot
    assert_uniform(theta["C"], -limit, limit)
    if "W1" in theta:
        assert_uniform(theta["W1"], -1 / math.sqrt(H), 1 / math.sqrt(H))
        assert_uniform(theta["W2"], -1 / math.sqrt(M), 1 / math.sqrt(M))
        if cell == "cshplrnn":
            assert_uniform(theta["h2"], -1 / math.sqrt(H), 1 / math.sqrt(H))
        else:
            assert not theta["h2"].any()
    if "H" in theta:
        assert_uniform(theta["H"], -1, 3)
        assert_uniform(theta["a"], -1 / math.sqrt(H), 1 / math.sqrt(H))


def test_matrices_of_the_observation():
    L = network(50, latent_dim=250).observed.L
    assert L.abs().max() <= math.sqrt(6 / 250)
    B = network(50, latent_dim=200, observation="linear").observed.B
    assert B.detach().std() == pytest.approx(math.sqrt(2 / 200), rel=0.05)  # Kaiming, of the latent units


# Map


@EVERY_CELL
@pytest.mark.parametrize("n_inputs", [0, 2])
def test_forced_fully_it_predicts_one_step(cell, n_inputs):
    net, x = network(n_inputs=n_inputs, cell=cell), normal(4, 9, 3)
    s = normal(4, 8, n_inputs, seed=2) if n_inputs else None
    torch.testing.assert_close(net(x, s, alpha=1.0), step(net, x[:, :-1], s), rtol=0, atol=1e-13)


@EVERY_CELL
def test_jacobian_and_pattern(cell):
    net, z = network(cell=cell), normal(6, 3)
    expected = torch.stack([torch.autograd.functional.jacobian(lambda point: step(net, point), row) for row in z])
    torch.testing.assert_close(net.jacobian(z), expected, rtol=0, atol=1e-13)
    assert net.pattern(z).dtype == torch.bool
    assert net.pattern(z).shape[:-1] == (6,)


def test_forcing_reaches_the_observed_units_only():
    net, x = network(latent_dim=5), normal(2, 4, 3)
    assert net.mask.tolist() == [1, 1, 1, 0, 0]
    z = torch.cat([x[:, 0], x[:, 0] @ net.observed.L.mT], 1)
    for t, state in enumerate(net.rollout(x, alpha=0.4).unbind(1), start=1):
        z = step(net, z)
        torch.testing.assert_close(state, z, rtol=0, atol=1e-13)
        z = torch.cat([0.6 * z[:, :3] + 0.4 * x[:, t], z[:, 3:]], 1)


def test_forcing_by_inversion():
    net, x = network(4, observation="linear", latent_dim=2), normal(2, 6, 4)
    inverse = torch.linalg.pinv(net.observed.B)
    assert net.mask.tolist() == [1, 1]
    z = x[:, 0] @ inverse.mT
    for t, predicted in enumerate(net(x, alpha=0.4).unbind(1), start=1):
        z = step(net, z)
        torch.testing.assert_close(predicted, z @ net.observed.B.mT, rtol=0, atol=1e-13)
        z = 0.6 * z + 0.4 * x[:, t] @ inverse.mT


@EVERY_OBSERVATION
def test_gradients_reach_every_parameter_and_no_forcing(choices):
    net, x = network(n_inputs=2, **choices), normal(2, 6, 3)
    x.requires_grad_()
    net(x, normal(2, 5, 2), alpha=0.3).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in net.parameters())
    assert x.grad[:, 0].any()  # the start
    assert not x.grad[:, 1:].any()
    assert not net.encode(x).requires_grad
    assert net.start(x[:, 0]).requires_grad


def test_a_series_is_what_its_states_look_like():
    for latent_dim in (3, 5):  # as many units as channels, or more
        net, x = network(observation="linear", latent_dim=latent_dim), normal(2, 7, 3)
        torch.testing.assert_close(net.decode(net.encode(x)), x, rtol=0, atol=1e-12)
        torch.testing.assert_close(net.decode(net.start(x[:, 0])), x[:, 0], rtol=0, atol=1e-12)
        same = network(latent_dim=latent_dim)
        assert torch.equal(same.decode(same.encode(x)), x)


def test_the_response_filters_what_is_seen():
    net, x = network(observation="linear", response=RESPONSE), normal(2, 10, 3)
    signal = normal(2, 10, 3, seed=2)
    z = net.rollout(x, alpha=0.3, signal=signal)
    torch.testing.assert_close(z, network(observation="linear").rollout(signal, alpha=0.3))
    expected = [sum(f * z[:, t - k] for k, f in enumerate(RESPONSE)) @ net.observed.B.mT for t in range(2, 9)]
    torch.testing.assert_close(net.decode(z), torch.stack(expected, 1), rtol=0, atol=1e-13)
    assert torch.equal(net(x, alpha=0.3, signal=signal), net.decode(z))  # of x[:, 3:]
    assert net.n_lost == 2
    assert net.decode(z[0]).shape == (7, 3)
    with pytest.raises(ValueError, match="needs as many states"):
        net(x[:, :3])


# Free runs


@EVERY_CELL
@EVERY_OBSERVATION
def test_generate_is_an_unforced_window(cell, choices):
    net, x = network(n_inputs=2, cell=cell, **choices), normal(3, 9, 3)
    s = normal(3, 8, 2, seed=2)
    states, expected = net.states(x[:, :1], 8, s), net.rollout(x, s)
    torch.testing.assert_close(states, expected, rtol=0, atol=1e-12)
    assert not states.requires_grad
    run = net.generate(x[:, :1], 8, s)
    assert run.shape == (3, 8, 3)
    torch.testing.assert_close(run[:, net.n_lost :], net.decode(expected), rtol=0, atol=1e-12)


def test_a_context_forces_and_its_last_step_forces_fully():
    net, x = network(n_inputs=1, latent_dim=5), normal(2, 6, 3)
    s = normal(2, 9, 1, seed=2)
    forced = net.rollout(x, s[:, :5], alpha=0.3)[:, -1]
    z = torch.cat([x[:, -1], forced[:, 3:]], 1)
    for t, state in enumerate(net.states(x, 4, s, alpha=0.3).unbind(1)):
        z = step(net, z, s[:, 5 + t])
        torch.testing.assert_close(state, z, rtol=0, atol=1e-12)


def test_only_the_last_observation_counts_where_all_units_are_observed():
    net, x = network(), normal(2, 6, 3)
    for alpha in (None, 0.2, torch.linspace(0, 1, 5)):
        torch.testing.assert_close(net.generate(x, 5, alpha=alpha), net.generate(x[:, -1:], 5), rtol=0, atol=1e-13)


def test_a_filtered_free_run_looks_back_into_the_context():
    net, x = network(observation="linear", response=RESPONSE), normal(2, 6, 3)
    context = [net.start(x[:, :1]), net.rollout(x, alpha=1.0)]
    past = torch.cat([context[0], net.encode(x[:, 1:])], 1)  # fully forced
    expected = net.decode(torch.cat([past[:, -2:], net.states(x, 5)], 1))
    torch.testing.assert_close(net.generate(x, 5), expected, rtol=0, atol=1e-12)
    short = torch.cat([past[:, :1], past[:, :1], net.states(x[:, :1], 5)], 1)
    torch.testing.assert_close(net.generate(x[:, :1], 5), net.decode(short), rtol=0, atol=1e-12)


def test_no_steps():
    net, x = network(), normal(2, 6, 3)
    assert net.generate(x, 0).shape == net.states(x, 0).shape == (2, 0, 3)


# Bounds


@pytest.mark.parametrize("seed", range(3))
def test_a_clipped_shallow_orbit_keeps_within_its_bound(seed):
    net = network(seed=seed, hidden_dim=20)
    with torch.no_grad():
        for name, p in net.named_parameters():
            p.copy_(2 * normal(*p.shape, seed=seed + len(name)))
        net.A.copy_(torch.tensor([5.0, -0.9, 0.5]))
    net.project_()
    theta = net.theta
    assert theta["A"].abs().max().item() == pytest.approx(0.999)
    bound = (theta["W1"].abs() @ theta["h2"].abs() + theta["h1"].abs()) / (1 - theta["A"].abs())
    orbit = net.states(1e3 * normal(4, 1, 3), 20_000)[:, 10_000:].abs().amax((0, 1))
    assert (orbit <= bound * (1 + 1e-3)).all()  # 0.999 ** 10000 of the start is left
    assert (orbit > 1e-3 * bound).all()


@EVERY_CELL
def test_projection(cell):
    net = network(cell=cell)
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(2.0)
    net.project_()
    assert torch.equal(net.A, torch.full_like(net.A, 0.999 if cell in ("cshplrnn", "cdendplrnn") else 2))
    if "W" in net.theta:
        assert net.W.diagonal().any() == (cell not in OFF_DIAGONAL)
    if cell == "cshplrnn":
        loose = network(cell=cell, bounded=False)
        with torch.no_grad():
            loose.A.fill_(2.0)
        loose.project_()
        assert (loose.A == 2).all()


# Module


@EVERY_OBSERVATION
def test_copies_pickles_and_configuration(choices):
    net, x = network(n_inputs=1, **choices), normal(2, 8, 3)
    s = normal(2, 7, 1)
    rebuilt = build(net.config).double()
    rebuilt.load_state_dict(net.state_dict())
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), rebuilt):
        assert torch.equal(twin(x, s, 0.2), net(x, s, 0.2))
        assert twin.config == net.config
    single = net.float()(x.float(), s.float(), 0.2)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), rebuilt(x, s, 0.2), rtol=0, atol=1e-5)


def test_it_says_what_it_is():
    assert "cell='cshplrnn', observation='identity', A 3, W1 3x8, h1 3, W2 8x3, h2 8" in repr(network())
    assert network(cell="alrnn").n_relu == 2
    assert network().n_relu is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": "lstm"}, "cell must be one of 'plrnn'"),
        ({"observation": "nonlinear"}, "observation must be 'identity' or 'linear'"),
        ({"latent_dim": 2}, "latent_dim must be at least n_channels = 3"),
        ({"n_channels": 0}, "n_channels must be at least 1, got 0"),
        ({"hidden_dim": 0}, "hidden_dim must be at least 1, got 0"),
        ({"n_bases": 0}, "n_bases must be at least 1, got 0"),
        ({"n_inputs": -1}, "n_inputs must be at least 0"),
        ({"cell": "alrnn", "n_relu": 4}, "n_relu must be between 0 and latent_dim = 3, got 4"),
        ({"response": RESPONSE}, "response needs observation='linear'"),
        ({"response": [0.0, 0.0], "observation": "linear"}, "response must hold finite numbers, not all 0"),
        ({"response": [], "observation": "linear"}, "response must hold finite numbers, not all 0"),
        ({"data_range": (1.0, 1.0)}, "data_range must be"),
    ],
    ids=str,
)
def test_bad_choices_are_named_when_the_network_is_made(change, message):
    with pytest.raises(ValueError, match=message):
        network(**change)


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match=r"x must have shape \(batch, time >= 1, 3\)"):
        network()(normal(2, 5, 4))
    with pytest.raises(ValueError, match=r"n_inputs\) = \(2, 4, 1\), got none"):
        network(n_inputs=1)(normal(2, 5, 3))
    with pytest.raises(ValueError, match=r"n_inputs\) = \(2, 14, 1\), got \(2, 4, 1\)"):
        network(n_inputs=1).generate(normal(2, 5, 3), 10, normal(2, 4, 1))
    with pytest.raises(ValueError, match="built with n_inputs=0"):
        network()(normal(2, 5, 3), normal(2, 4, 1))
