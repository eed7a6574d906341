"""Newton's method in time: states and gradients of the sequential solver, how it stops, what it falls back to."""

import pytest
import torch
from plrnn_problems import converted, rollout_problem, with_leaves

from tsmodels_kernels import plrnn_newton, plrnn_rollout, plrnn_step
from tsmodels_kernels._plrnn_rollout import newton
from tsmodels_kernels._plrnn_rollout.cells import CELLS

LOZI = {
    "A": torch.zeros(2).double(),
    "W1": torch.tensor([[-1.7, -1.7, 1.0, -1.0], [0.5, -0.5, 0.0, 0.0]]).double(),
    "h1": torch.tensor([1.0, 0.0]).double(),
    "W2": torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]).double(),
    "h2": torch.zeros(4).double(),
}


def lozi(B, T, alpha, *, noise=0.1, theta=LOZI):
    """The chaotic Lozi map, exponent 0.47 for each step, forced by a noisy orbit of its own."""
    generator = torch.Generator().manual_seed(0)
    z0 = 0.1 * torch.rand(B, 2, generator=generator, dtype=torch.float64)
    orbit = plrnn_rollout("shplrnn", theta, z0, torch.zeros(B, T, 2).double(), 0.0)
    d = orbit + noise * torch.randn(orbit.shape, generator=generator, dtype=torch.float64)
    return {"cell": "shplrnn", "theta": theta, "z0": z0, "d": d, "alpha": alpha}


def close(got, expected, tolerance, name=""):
    assert got.shape == expected.shape, name
    if expected.numel():
        error = (got.double() - expected.double()).abs().max() / max(1.0, expected.abs().max())
        assert error <= tolerance, f"{name}: {error:.2e}"


def check(arguments, value=1e-10, gradient=1e-9, **options):
    """States and all gradients equal those of the sequential solver; returns what was found."""
    one, expected_leaves = with_leaves(arguments)
    other, leaves = with_leaves(arguments)
    expected, found = plrnn_rollout(**one, solver="sequential"), plrnn_newton(**other, **options)
    close(found.Z.detach(), expected.detach(), value)
    assert found.rounds.dtype == torch.int64 and len(found.rounds) == len(found.converged) == len(expected)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(expected)
    wanted = torch.autograd.grad(expected, list(expected_leaves.values()), weight)
    grads = torch.autograd.grad(found.Z, list(leaves.values()), weight)
    for name, a, b in zip(leaves, grads, wanted, strict=True):
        close(a, b, gradient, name)
    return found


@pytest.mark.parametrize("T", [1, 2, 50, 1000])
@pytest.mark.parametrize("alpha", [0.05, 0.15, 0.5, 1.0])
@pytest.mark.parametrize("cell", ["cshplrnn", "shplrnn"])
def test_states_and_gradients_of_shallow_cells(cell, alpha, T):
    found = check(rollout_problem(cell, 3, T, 3, 20, alpha=alpha))
    assert found.converged.all() and not found.fallback
    assert (found.rounds <= (1 if alpha == 1.0 else 5)).all()


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_with_inputs_and_a_part_of_the_units_forced(cell):
    alpha = torch.linspace(0.05, 1, 60).double()
    found = check(rollout_problem(cell, 4, 60, 4, 6, n_inputs=2, alpha=alpha, mask=torch.tensor([1, 1, 0, 1])))
    assert not found.fallback


def test_chaos_is_damped_by_forcing():
    found = check(lozi(3, 1000, 0.6))
    assert found.converged.all() and (found.rounds > 1).all() and (found.rounds <= 10).all()


def test_a_chaotic_free_run_takes_the_fallback_and_is_a_trajectory():
    arguments = lozi(3, 400, 0.0)
    found = plrnn_newton(**arguments)
    assert found.fallback and not found.converged.any() and (found.rounds == newton.MAX_ROUNDS).all()
    before = torch.cat([arguments["z0"][:, None], found.Z], 1)[:, :-1]
    close(plrnn_step("shplrnn", LOZI, before), found.Z, 1e-13)
    assert (found.Z.abs() < 2).all() and found.Z.std() > 0.3  # it is still on the attractor


@pytest.mark.parametrize("cell", CELLS)
def test_a_fallback_has_exact_states_and_gradients_too(cell):
    found = check(rollout_problem(cell, 4, 60, 4, 6, n_inputs=2, alpha=0.05, seed=3), max_rounds=1)
    assert found.fallback and not found.converged.all() and (found.rounds == 1).all()


def problem_of(arguments):
    d = arguments["d"]
    alpha = torch.full(d.shape[1:2], arguments["alpha"], dtype=d.dtype)
    return newton._Problem("shplrnn", arguments["theta"], None, "cpu", arguments["z0"], None, d, alpha, d.new_ones(2))


def test_as_far_as_regions_repeat_states_are_final():
    arguments = lozi(2, 100, 0.0)
    expected = plrnn_rollout(**arguments)
    search = newton._ByRegions(problem_of(arguments), arguments["d"])
    finals = []
    for _ in range(6):
        search.run(1)
        finals.append(search.n_exact())
        assert (search.Z - expected)[:, : finals[-1]].abs().max() < 1e-10
    assert 0 < finals[0] < finals[-1] < 100 and finals == sorted(finals)
    assert (search.Z - expected)[:, finals[-1] + 10 :].abs().max() > 0.1  # and not much further


def test_the_states_of_the_prefix_are_kept_and_the_rest_completed(monkeypatch):
    arguments, known = lozi(2, 100, 0.0), []
    complete = newton._complete
    monkeypatch.setattr(newton, "_complete", lambda *args: (known.append((args[1].clone(), args[3])), complete(*args)))
    found = plrnn_newton(**arguments, max_rounds=5)
    ((states, n_exact),) = known
    assert 0 < n_exact < 100
    assert torch.equal(found.Z[:, :n_exact], states[:, :n_exact])
    assert not torch.equal(found.Z[:, n_exact:], states[:, n_exact:])


def test_a_sequence_that_converged_early_is_not_touched_again():
    arguments = lozi(2, 300, 0.5, noise=0.3)
    guess = arguments["d"].clone()
    guess[0] = plrnn_rollout(**arguments)[0]
    found = plrnn_newton(**arguments, guess=guess)
    assert found.rounds[0] == 1 < found.rounds[1]
    alone = plrnn_newton(**arguments | {"z0": arguments["z0"][:1], "d": arguments["d"][:1]}, guess=guess[:1])
    assert torch.equal(found.Z[:1], alone.Z)


def test_the_guess_does_not_matter_beyond_its_regions():
    arguments = rollout_problem("cshplrnn", 3, 200, 3, 20)
    expected = plrnn_newton(**arguments)
    for guess in (torch.zeros_like(arguments["d"]), torch.full_like(arguments["d"], torch.nan), 1e30 * arguments["d"]):
        found = check(arguments, guess=guess)
        assert torch.equal(found.Z, expected.Z)


def test_diagonals_end_by_tolerance_and_not_where_regions_repeat():
    """All hidden units are always on: the regions repeat from the start, and one full round is exact."""
    arguments = rollout_problem("shplrnn", 3, 100, 3, 20, alpha=0.15)
    arguments["theta"]["h2"] += 100
    exact = plrnn_newton(**arguments)
    assert (exact.rounds == 1).all()
    one_round = plrnn_newton(**arguments, guess=arguments["d"], diagonal=True, max_rounds=1)
    assert one_round.fallback  # although the regions of the next round are the same
    found = check(arguments, value=1e-6, gradient=1e-5, diagonal=True)
    assert found.converged.all() and (found.rounds > 3).all()
    assert not torch.equal(found.Z, exact.Z)


def test_diagonals_on_maps_with_changing_regions():
    found = check(rollout_problem("cshplrnn", 3, 200, 3, 20, alpha=0.3), value=1e-6, gradient=1e-5, diagonal=True)
    assert found.converged.all()
    fallback = check(lozi(2, 100, 0.6), diagonal=True, max_rounds=2)
    assert fallback.fallback and not fallback.converged.any()


def test_single_precision():
    arguments = converted(rollout_problem("cshplrnn", 3, 500, 3, 20), torch.empty(0))
    assert check(arguments, value=5e-6, gradient=2e-5).Z.dtype == torch.float32


def test_trajectories_that_diverge_are_those_of_the_sequential_solver():
    theta = {"A": torch.full((1,), 2.0), "W": torch.zeros(1, 1), "h": torch.ones(1)}
    arguments = {"cell": "plrnn", "theta": theta, "z0": torch.tensor([[1.0], [-1.0]]), "alpha": 0.0}
    found = plrnn_newton(**arguments, d=torch.zeros(2, 200, 1))
    assert found.converged.tolist() == [False, True] and found.fallback
    expected = plrnn_rollout(**arguments, d=torch.zeros(2, 200, 1))
    torch.testing.assert_close(found.Z, expected, rtol=0, atol=0, equal_nan=True)
    assert found.Z[0, :126].isfinite().all() and not found.Z[0, 126:].isfinite().any()
    assert (found.Z[1] == -1).all()


def test_a_nan_in_the_forcing_signal_stays_in_its_sequence():
    arguments = rollout_problem("cshplrnn", 3, 40, 3, 20)
    expected = plrnn_rollout(**arguments)
    arguments["d"][1, 20, 0] = torch.nan
    found = plrnn_newton(**arguments)
    assert found.converged.tolist() == [True, False, True]
    close(found.Z[[0, 2]], expected[[0, 2]], 1e-12)
    close(found.Z[1, :21], expected[1, :21], 1e-12)
    assert found.Z[1, 21:].isnan().all()
    arguments["d"][1, 20, 0] = 0.0
    arguments["d"][:, -1] = torch.nan  # not used
    assert plrnn_newton(**arguments).converged.all()


@pytest.mark.parametrize(("B", "T"), [(0, 5), (2, 0)])
def test_empty(B, T):
    found = check(rollout_problem("cshplrnn", B, T, 3, 4, n_inputs=2))
    assert found.rounds.tolist() == [0] * B and found.converged.all() and not found.fallback


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_as_a_solver_of_the_rollout(backend):
    arguments = rollout_problem("cshplrnn", 3, 30, 3, 6, n_inputs=1)
    expected, leaves = with_leaves(arguments)
    (gradient,) = torch.autograd.grad(plrnn_rollout(**expected).square().sum(), leaves["W2"])
    fresh, leaves = with_leaves(arguments)
    Z = plrnn_rollout(**fresh, solver="newton", backend=backend)
    close(Z, plrnn_newton(**arguments, backend=backend).Z, 1e-14)
    close(torch.autograd.grad(Z.square().sum(), leaves["W2"])[0], gradient, 1e-12)


def test_reference_completes_step_by_step_too():
    assert check(lozi(2, 40, 0.6), backend="reference", max_rounds=1).fallback


def test_gradients_only_where_they_are_asked_for():
    arguments = rollout_problem("cshplrnn", 2, 10, 3, 6, n_inputs=1)
    assert not plrnn_newton(**arguments).Z.requires_grad
    arguments["theta"]["W2"].requires_grad_()
    found = plrnn_newton(**arguments)
    assert found.Z.requires_grad and not found.rounds.requires_grad
    found.Z.sum().backward()
    with torch.no_grad():
        assert not plrnn_newton(**arguments).Z.requires_grad


def test_second_derivatives_raise():
    fresh, leaves = with_leaves(rollout_problem("cshplrnn", 2, 4, 3, 5))
    (first,) = torch.autograd.grad(plrnn_newton(**fresh).Z.square().sum(), leaves["z0"], create_graph=True)
    with pytest.raises(RuntimeError, match="plrnn_newton has first derivatives only"):
        first.sum().backward()


def test_autocast_changes_nothing():
    arguments = converted(rollout_problem("cshplrnn", 2, 50, 3, 20), torch.empty(0))
    expected, leaves = with_leaves(arguments)
    Z = plrnn_newton(**expected).Z
    gradients = torch.autograd.grad(Z.square().sum(), list(leaves.values()))
    fresh, leaves = with_leaves(arguments)
    with torch.autocast("cpu", torch.bfloat16):
        again = plrnn_newton(**fresh).Z
        found = torch.autograd.grad(again.square().sum(), list(leaves.values()))
    assert torch.equal(again, Z) and all(torch.equal(a, b) for a, b in zip(found, gradients, strict=True))


def test_transforms_and_forward_mode_raise():
    arguments = rollout_problem("cshplrnn", 2, 5, 3, 4)
    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.grad(lambda z0: plrnn_newton(**arguments | {"z0": z0}).Z.sum())(arguments["z0"])
    with pytest.raises(NotImplementedError, match="jvp"), torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(arguments["z0"], torch.ones_like(arguments["z0"]))
        plrnn_newton(**arguments | {"z0": dual})


def test_auto_takes_it_for_long_sequences_that_are_forced_and_only_on_a_gpu():
    long, alpha, mask = torch.zeros(1, newton.NEWTON_MIN_T, 3), torch.full((newton.NEWTON_MIN_T,), 0.05), torch.ones(3)
    assert newton._is_long_and_forced("cshplrnn", long, alpha, mask)
    assert not newton.is_worthwhile("cshplrnn", long, alpha, mask)  # on the CPU
    weak = alpha.clone()
    weak[-1] = 0.0  # not used
    assert newton._is_long_and_forced("shplrnn", long, weak, mask)
    weak[5] = 0.0
    wide = torch.zeros(1, newton.NEWTON_MIN_T, 33)
    for cell, d, strengths, forced in (
        ("alrnn", long, alpha, mask),
        ("cshplrnn", long[:, 1:], alpha[1:], mask),
        ("cshplrnn", long, weak, mask),
        ("cshplrnn", long, alpha, torch.tensor([1.0, 1.0, 0.0])),
        ("cshplrnn", wide, alpha, torch.ones(33)),
    ):
        assert not newton._is_long_and_forced(cell, d, strengths, forced)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"max_rounds": 0}, ValueError, "max_rounds must be an integer of at least 1, got 0"),
        ({"max_rounds": 2.0}, ValueError, "max_rounds must be an integer"),
        ({"guess": torch.zeros(2, 5, 3).double()}, ValueError, r"guess must have shape \(B, T, M\) = \(2, 4, 3\)"),
        ({"guess": torch.zeros(2, 4, 3)}, TypeError, "guess has dtype torch.float32, z0 has torch.float64"),
        ({"cell": "lstm"}, ValueError, "plrnn_newton: cell must be one of"),
        ({"d": torch.zeros(2, 4).double()}, ValueError, r"d must have shape \(B, T, M\)"),
        ({"z0": torch.zeros(2, 4).double()}, ValueError, "z0 must have shape"),
        ({"alpha": torch.zeros(5)}, ValueError, "alpha must be a number or have shape"),
        ({"n_relu": 2}, ValueError, "n_relu is for cell='alrnn'"),
        ({"backend": "numba"}, ValueError, "backend must be one of"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    with pytest.raises(error, match=message):
        plrnn_newton(**rollout_problem("shplrnn", 2, 4, 3, 5) | change)
