"""Regions, cycles and bifurcations of the Lozi map, of which all are known, and of cells with random parameters."""

import itertools

import numpy as np
import pytest
import torch
from known_systems import LOZI_A, LOZI_B, lozi_network, lozi_orbit, with_theta

from tsmodels.dynamics import (
    bifurcation,
    find_cycles,
    fixed_points,
    run_lengths,
    switch_rate,
    symbols,
    transition_graph,
)
from tsmodels.models import PLRNN
from tsmodels_kernels import plrnn_step

CELLS = ["plrnn", "mcplrnn", "shplrnn", "cshplrnn", "dendplrnn", "cdendplrnn", "alrnn"]
N_PRIMITIVE = {1: 2, 2: 1, 3: 0, 4: 1, 5: 0, 6: 4, 7: 4, 8: 7, 9: 10}  # by exhaustive search


def _random(cell, n_channels=3, n_inputs=0, seed=0):
    """A network whose fixed points and patterns vary."""
    torch.manual_seed(seed)
    network = PLRNN(n_channels, n_inputs, cell=cell, hidden_dim=4, n_bases=3, n_relu=2).double()
    with torch.no_grad():
        for name, p in network.theta.items():
            if name != "A":
                p.copy_(torch.randn_like(p))
    network.project_()
    return network


def _after(network, points, n_steps):
    z = torch.as_tensor(points)
    for _ in range(n_steps):
        z = plrnn_step(network.cell, network.theta, z, n_relu=network.n_relu)
    return z.detach().numpy()


# --- symbols


@pytest.mark.parametrize("cell", CELLS)
def test_symbols_name_the_patterns(cell):
    network = _random(cell, n_channels=3)
    states = np.random.default_rng(0).normal(size=(500, 3))
    codes, table = symbols(network, states)
    assert codes.dtype == np.int64
    assert np.array_equal(table[codes], network.pattern(torch.as_tensor(states)).numpy())
    n_bits = table.shape[1]
    if n_bits <= 12:
        assert np.array_equal(codes, table[codes] @ 2 ** np.arange(n_bits))
        assert len(table) == 2**n_bits
    else:
        assert len(np.unique(table, axis=0)) == len(table) == codes.max() + 1
        assert codes[0] == 0  # in the order of their first occurrence
        assert (np.diff(np.unique(codes, return_index=True)[1]) > 0).all()


def test_symbols_of_the_lozi_map_are_the_signs(lozi):
    network, states_of = lozi
    orbit = lozi_orbit(300)
    codes, table = symbols(network, states_of(orbit))
    positive = orbit[:, 0] > 0
    for side in (True, False):
        assert len(np.unique(table[codes[positive == side]][:, 0])) == 1
    assert switch_rate(table[codes][:, 0].astype(int)) == (positive[1:] != positive[:-1]).mean()


def test_runs_and_switches():
    codes = np.array([4, 4, 4, 1, 1, 4, 7])
    assert run_lengths(codes).tolist() == [3, 2, 1, 1]
    assert switch_rate(codes) == 0.5
    assert run_lengths([3]).tolist() == [1]


def test_graphs_count_transitions_and_say_which_occur():
    codes = [5, 5, 2, 5, 5, 9]
    graph = transition_graph(codes)
    assert graph.nodes.tolist() == [2, 5, 9]
    assert graph.matrix() == pytest.approx(np.array([[0, 0.2, 0], [0.2, 0.4, 0.2], [0, 0, 0]]))
    assert graph.weights.sum() == pytest.approx(1)
    occurs = transition_graph(codes, kind="topological")
    assert np.array_equal(occurs.matrix(), graph.matrix() > 0)


def test_codes_and_states_are_checked():
    with pytest.raises(ValueError, match="vector of at least 2 integers"):
        switch_rate([1])
    with pytest.raises(ValueError, match="vector of at least 1 integers"):
        run_lengths(np.zeros(3))
    with pytest.raises(ValueError, match="kind must be"):
        transition_graph([1, 2], kind="weighted")
    with pytest.raises(ValueError, match=r"latent states \(n, 3\)"):
        symbols(_random("plrnn"), np.zeros((5, 2)))


# --- fixed points and cycles


def test_fixed_points_of_the_lozi_map(lozi):
    network, states_of = lozi
    found = fixed_points(network)
    x = np.array([1 / (1 - LOZI_A - LOZI_B), 1 / (1 + LOZI_A - LOZI_B)])
    assert x == pytest.approx([-0.833333, 0.454545], abs=1e-6)
    expected = states_of(np.stack([x, LOZI_B * x], axis=1))
    assert np.stack([each.points[0] for each in found]) == pytest.approx(expected, abs=1e-12)
    for each, sign in zip(found, (1, -1), strict=True):
        largest = sign * (LOZI_A + np.sqrt(LOZI_A**2 + 4 * LOZI_B)) / 2
        assert each.eigenvalues[0] == pytest.approx(largest)
        assert not each.is_stable
        assert not each.is_virtual
        assert each.order == 1


def test_all_primitive_cycles_of_the_lozi_map_are_found(lozi):
    network, states_of = lozi
    states = states_of(lozi_orbit(3000))
    for order, n_cycles in N_PRIMITIVE.items():
        # a quarter of the default effort where that is large
        found = find_cycles(network, order, states, n_redraws=10 if order > 7 else None)
        assert len(found) == n_cycles
        for cycle in found:
            assert cycle.order == order
            assert np.abs(_after(network, cycle.points, order) - cycle.points).max() < 1e-9
            assert np.abs(_after(network, cycle.points[:-1], 1) - cycle.points[1:]).max(initial=0) < 1e-12
            for lower in range(1, order):
                assert np.abs(_after(network, cycle.points[:1], lower) - cycle.points[0]).max() > 1e-6
        everything = np.concatenate([cycle.points for cycle in found]) if found else np.empty((0, 1))
        assert len(np.unique(everything.round(8), axis=0)) == order * n_cycles  # no point twice


def test_the_number_of_cycles_is_that_of_an_exhaustive_search():
    network = lozi_network("shplrnn")
    slopes = {side: np.array([[-LOZI_A * side, 1], [LOZI_B, 0]]) for side in (1, -1)}
    n_points = 0
    for sides in itertools.product((1, -1), repeat=6):
        J, c = np.eye(2), np.zeros(2)
        for side in sides:
            J, c = slopes[side] @ J, slopes[side] @ c + [1, 0]
        z = np.linalg.solve(np.eye(2) - J, c)
        orbit = np.stack([_after(network, z[None], t)[0] for t in range(6)])
        n_points += (np.sign(orbit[:, 0]) == sides).all()
    assert n_points == sum(order * N_PRIMITIVE[order] for order in (1, 2, 3, 6))


@pytest.mark.parametrize("cell", CELLS)
def test_fixed_points_of_every_cell_are_fixed(cell):
    n_found = 0
    for seed in range(8):
        network = _random(cell, n_channels=2, seed=seed)
        states = 3 * np.random.default_rng(seed).normal(size=(300, 2))
        found = find_cycles(network, 1, states, n_redraws=50)
        complete = fixed_points(network, states)  # of all regions where they are few
        n_found += len(complete)
        for each in [*found, *complete]:
            assert np.abs(_after(network, each.points, 1) - each.points).max() < 1e-9
            jacobian = network.jacobian(torch.as_tensor(each.points[0])).detach().numpy()
            assert np.abs(np.linalg.eigvals(jacobian)).max() == pytest.approx(np.abs(each.eigenvalues[0]))
        # no search is led to what lies far from the states that it begins with
        near = [each for each in complete if np.abs(each.points).max() < 6]
        for each in near:
            assert any(np.abs(other.points - each.points).max() < 1e-9 for other in found)
        assert len(near) <= len(found) <= len(complete)
    assert n_found > 2


def test_virtual_fixed_points_lie_elsewhere():
    # z' = 0.5 z + 1 for z > 0, z' = 2 z + 1 else: 2 lies in its region, -1 too; with h = -1 both are virtual or not
    network = with_theta(PLRNN(1, cell="alrnn", n_relu=1), A=[2.0], W=[[-1.5]], h=[1.0])
    assert [each.points.item() for each in fixed_points(network)] == pytest.approx([-1, 2])
    assert [each.is_stable for each in fixed_points(network)] == [False, True]
    network = with_theta(network, h=[-1.0])
    assert fixed_points(network) == []
    beyond = fixed_points(network, virtual=True)
    assert [each.points.item() for each in beyond] == pytest.approx([-2, 1])
    assert all(each.is_virtual for each in beyond)


def test_constant_inputs_move_fixed_points():
    network = _random("cshplrnn", n_channels=2, n_inputs=2)
    states = 3 * np.random.default_rng(0).normal(size=(300, 2))
    s = torch.tensor([0.3, -1.2], dtype=torch.float64)
    found = fixed_points(network, states, inputs=s.numpy())
    assert found
    for each in found:
        z = torch.as_tensor(each.points)
        after = plrnn_step("cshplrnn", network.theta, z, s[None]).detach().numpy()
        assert after == pytest.approx(each.points, abs=1e-9)


def test_singular_regions_have_no_fixed_points():
    # z' = z for all z
    network = with_theta(PLRNN(1, cell="alrnn", n_relu=1), A=[1.0], W=[[0.0]], h=[0.0])
    assert fixed_points(network) == []
    assert find_cycles(network, 2, np.ones((3, 1))) == []


def test_searches_are_reproducible():
    network, states = lozi_network("shplrnn"), lozi_orbit(500)
    first, second, other = (
        [each.points for each in find_cycles(network, 6, states, n_redraws=1, n_rounds=3, seed=seed)]
        for seed in (3, 3, 4)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert len(first) != len(other) or not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    generator = [each.points for each in find_cycles(network, 4, states, seed=np.random.default_rng(0))]
    assert len(generator) == 1


def test_searches_check_their_arguments():
    network, large = lozi_network("shplrnn"), PLRNN(2)
    with pytest.raises(ValueError, match="order must be an integer of at least 1"):
        find_cycles(network, 0, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="noise must not be negative"):
        find_cycles(network, 1, np.zeros((3, 2)), noise=-1)
    with pytest.raises(ValueError, match="pass states to begin with"):
        fixed_points(large)
    with pytest.raises(ValueError, match="virtual fixed points need all regions"):
        fixed_points(large, np.zeros((3, 2)), virtual=True)
    with pytest.raises(ValueError, match="has no external inputs"):
        fixed_points(network, inputs=[1.0])
    with pytest.raises(ValueError, match=r"inputs must have shape \(2,\)"):
        fixed_points(PLRNN(2, 2), np.zeros((3, 2)), inputs=[1.0])


# --- bifurcations


@pytest.mark.slow
def test_a_fixed_point_gives_way_to_a_cycle():
    # z' = 0.5 z + 1 for z < 0 and s z + 1 for z > 0, with s = 0.5 + W: 1 / (1 - s) is stable down to s = -1
    network = with_theta(PLRNN(1, cell="alrnn", n_relu=1), A=[0.5], W=[[0.0]], h=[1.0])
    found = bifurcation(network, ("W", 0, 0), [-1.0, -2.0], [0.3], n_points=51, exponents=True)
    assert found.parameter == ("W", 0, 0)
    assert found.states.shape == (2, 51, 1)
    assert found.states[0] == pytest.approx(1 / 1.5)
    cycle = np.array([1.5 / 1.75, 1 - 1.5 * 1.5 / 1.75])
    assert np.sort(found.states[1, :2, 0])[::-1] == pytest.approx(cycle)
    assert found.exponents == pytest.approx([np.log(0.5), np.log(0.75) / 2])


def test_a_fixed_point_follows_its_parameter():
    network = with_theta(PLRNN(1, 1, cell="alrnn", n_relu=0), A=[0.5], W=[[0.0]], h=[0.0], C=[[2.0]])
    values = np.array([-1.0, 0.0, 3.0])
    by_offset = bifurcation(network, ("h", 0), values, [5.0], n_points=3, exponents=True)
    assert by_offset.states[..., 0] == pytest.approx(np.repeat(2 * values[:, None], 3, axis=1))
    assert by_offset.exponents == pytest.approx(np.log([0.5] * 3))
    by_input = bifurcation(network, ("inputs", 0), values, [5.0], n_points=3)
    assert by_input.states[..., 0] == pytest.approx(np.repeat(4 * values[:, None], 3, axis=1))
    assert by_input.exponents is None
    shifted = bifurcation(network, ("h", 0), values, [5.0], n_points=3, inputs=[1.0])
    assert shifted.states == pytest.approx(by_offset.states + 4)
    assert network.theta["h"].item() == 0
    with pytest.raises(ValueError, match="C acts through the external inputs"):
        bifurcation(network, ("C", 0, 0), values, [5.0])


def test_orbits_that_diverge_are_missing():
    network = with_theta(PLRNN(1, cell="alrnn", n_relu=0), A=[0.5], W=[[0.0]], h=[1.0])
    found = bifurcation(network, ("A", 0), [0.5, 3.0], [1.0], exponents=True)
    assert np.isfinite(found.states[0]).all()
    assert np.isnan(found.states[1]).all()
    assert np.isnan(found.exponents).tolist() == [False, True]


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        (("B", 0), "must begin with one of A, W1, h1, W2, h2; got 'B'"),
        (("W1", 0), "one index for each axis"),
        (("A", 2), "one index for each axis"),
        (("inputs", 0), "one index for each axis"),
    ],
    ids=["name", "axes", "range", "inputs"],
)
def test_parameters_must_exist(parameter, message):
    with pytest.raises(ValueError, match=message):
        bifurcation(lozi_network("shplrnn"), parameter, [1.0], [0.1, 0.1])
