"""The forced rollout: every cell against its definition and a second one, forcing, layouts, NaN, threads, errors."""

import contextlib
import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tsmodels_kernels import backend_for, plrnn_rollout
from tsmodels_kernels._plrnn_rollout.cells import CELLS

VALUE = {torch.float32: 2e-6, torch.float64: 1e-12}
GRADIENT = {torch.float32: 1e-5, torch.float64: 1e-12}


def parameters(cell, M, width, *, n_inputs=0, dtype=torch.float64, seed=0):
    """theta of a contracting map whose ReLUs are on and off: rounding errors do not grow along the rollout."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    theta = {"A": 0.6 * torch.rand(M, generator=generator, dtype=torch.float64)}
    if "sh" in cell:
        theta |= {"W1": 0.3 * draw(M, width) / width**0.5, "h1": 0.1 * draw(M)}
        theta |= {"W2": draw(width, M) / (M**0.5 + width**0.5), "h2": 0.5 * draw(width)}
    else:
        theta |= {"W": 0.15 * draw(M, M) / M**0.5, "h": 0.3 * draw(M)}
    if "dend" in cell:
        theta |= {"a": draw(width) / width**0.5, "H": draw(M, width)}
    if n_inputs:
        theta["C"] = draw(M, n_inputs)
    return {name: t.to(dtype) for name, t in theta.items()}


def problem(cell, B, T, M, width, *, n_inputs=0, dtype=torch.float64, seed=0, **options) -> dict[str, Any]:
    """Arguments of ``plrnn_rollout`` by name."""
    generator = torch.Generator().manual_seed(seed + 1)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    arguments: dict[str, Any] = {
        "cell": cell,
        "theta": parameters(cell, M, width, n_inputs=n_inputs, dtype=dtype, seed=seed),
    }
    arguments |= {"z0": draw(B, M), "d": draw(B, T, M), "alpha": 0.15}
    if n_inputs:
        arguments["s"] = draw(B, T, n_inputs)
    if cell == "alrnn":
        arguments["n_relu"] = (M + 1) // 2
    return arguments | options


def leaves_of(arguments, dtype=None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same with tensors that take gradients of their own, and those."""
    fresh: dict[str, Any] = {k: v.detach().to(dtype) if isinstance(v, Tensor) else v for k, v in arguments.items()}
    fresh["theta"] = {k: v.detach().to(dtype).requires_grad_() for k, v in arguments["theta"].items()}
    given = {k: fresh[k].requires_grad_() for k in ("z0", "s") if k in fresh}
    return fresh, given | fresh["theta"]


def close(got, expected, tolerance, name=""):
    assert got.shape == expected.shape, name
    if expected.numel():
        error = (got.double() - expected.double()).abs().max() / max(1.0, expected.abs().max())
        assert error <= tolerance, f"{name}: {error:.2e}"


def check(arguments):
    """Values and all gradients against the definition in float64."""
    dtype = arguments["z0"].dtype
    got, leaves = leaves_of(arguments, dtype)
    exact, exact_leaves = leaves_of(arguments, torch.float64)
    Z, Z_exact = plrnn_rollout(**got), plrnn_rollout(**exact, backend="reference")
    assert Z.dtype == dtype
    close(Z, Z_exact, VALUE[dtype])
    weight = torch.randn(Z.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = torch.autograd.grad(Z, list(leaves.values()), weight.to(dtype))
    expected = torch.autograd.grad(
        Z_exact, list(exact_leaves.values()), weight, allow_unused=True, materialize_grads=True
    )
    for name, a, b in zip(leaves, found, expected, strict=True):
        assert a.dtype == dtype
        close(a, b, GRADIENT[dtype], name)


def by_hand(cell, theta, z, s, n_relu):
    """One step of one sequence, unit by unit, as the papers write the maps."""
    phi, M = (lambda v: max(0.0, v)), len(z)
    W, h = theta["W1" if "sh" in cell else "W"].tolist(), theta["h1" if "sh" in cell else "h"].tolist()
    if "sh" in cell:
        g = []
        for row, offset in zip(theta["W2"].tolist(), theta["h2"].tolist(), strict=True):
            u = sum(w * v for w, v in zip(row, z, strict=True))
            g.append(phi(u + offset) - (phi(u) if cell == "cshplrnn" else 0.0))
    elif "dend" in cell:
        a, H = theta["a"].tolist(), theta["H"].tolist()
        clip = 1.0 if cell == "cdendplrnn" else 0.0
        g = [sum(a[b] * (phi(v - H[i][b]) - clip * phi(v)) for b in range(len(a))) for i, v in enumerate(z)]
    else:
        mean = sum(z) / M if cell == "mcplrnn" else 0.0
        g = [v if cell == "alrnn" and i < M - n_relu else phi(v - mean) for i, v in enumerate(z)]
    out = []
    for i, A in enumerate(theta["A"].tolist()):
        total = A * z[i] + h[i] + sum(w * v for w, v in zip(W[i], g, strict=True))
        out.append(total + sum(c * v for c, v in zip(theta["C"][i].tolist(), s, strict=True)))
    return out


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_map_and_the_forcing_are_those_of_the_papers(cell, backend):
    arguments = problem(cell, 1, 4, 3, 2, n_inputs=2, alpha=torch.tensor([0.5, 0.0, 1.0, 0.2], dtype=torch.float64))
    mask = [1.0, 0.0, 1.0]
    Z = plrnn_rollout(**arguments, mask=torch.tensor(mask), backend=backend)[0]
    x, d, s = arguments["z0"][0].tolist(), arguments["d"][0].tolist(), arguments["s"][0].tolist()
    for t, alpha in enumerate(arguments["alpha"].tolist()):
        z = by_hand(cell, arguments["theta"], x, s[t], arguments.get("n_relu"))
        torch.testing.assert_close(Z[t], torch.tensor(z, dtype=torch.float64), rtol=1e-13, atol=1e-13)
        x = [v + alpha * k * (wanted - v) for v, k, wanted in zip(z, mask, d[t], strict=True)]


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_against_finite_differences(cell, backend):
    arguments = problem(cell, 2, 3, 3, 2, n_inputs=1, alpha=0.3, mask=torch.tensor([1, 1, 0]), backend=backend)
    names = list(arguments["theta"])

    def rollout(z0, s, *theta):
        return plrnn_rollout(**arguments | {"z0": z0, "s": s, "theta": dict(zip(names, theta, strict=True))})

    given = (arguments["z0"], arguments["s"], *arguments["theta"].values())
    torch.autograd.gradcheck(rollout, [t.clone().requires_grad_() for t in given])


# batch, steps, units, hidden units or bases, inputs
SIZES = [(1, 1, 1, 1, 0), (3, 2, 3, 4, 1), (16, 63, 3, 50, 0), (17, 17, 20, 64, 3), (33, 200, 5, 9, 2)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_every_size(cell, size, dtype):
    *sizes, n_inputs = size
    check(problem(cell, *sizes, n_inputs=n_inputs, dtype=dtype))


@pytest.mark.parametrize("M", range(1, 21))
def test_every_number_of_units(M):
    check(problem("cshplrnn", 9, 5, M, 21 - M, n_inputs=1 + M % 3))
    check(problem("alrnn", 9, 5, M, 0, n_relu=M // 3))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("alpha", [0.0, 1.0, 0.3, torch.tensor(0.3), (torch.arange(40) % 8 == 0).float()], ids=str)
@pytest.mark.parametrize("mask", [None, torch.tensor([True, True, False, False])], ids=["all", "part"])
def test_forcing(cell, alpha, mask):
    check(problem(cell, 5, 40, 4, 6, alpha=alpha, mask=mask))


def test_wide_shallow_cells_sum_over_short_blocks_of_steps():
    check(problem("cshplrnn", 3, 30, 6, 700))


@pytest.mark.parametrize("cell", ["cshplrnn", "cdendplrnn", "alrnn"])
@pytest.mark.parametrize(("B", "T"), [(0, 4), (2, 0), (0, 0)])
def test_empty(cell, B, T):
    check(problem(cell, B, T, 3, 2, n_inputs=2))
    check(problem(cell, B, T, 3, 2))


@pytest.mark.parametrize("cell", CELLS)
def test_full_forcing_predicts_one_step(cell):
    arguments = problem(cell, 4, 9, 3, 5, alpha=1.0)
    one_step = arguments | {"z0": arguments["d"][:, :-1].flatten(0, 1), "d": torch.zeros(32, 1, 3).double()}
    close(plrnn_rollout(**arguments)[:, 1:].flatten(0, 1), plrnn_rollout(**one_step)[:, 0], 1e-14)


def test_the_last_forcing_signal_does_not_matter_and_takes_no_gradient():
    arguments = problem("cshplrnn", 3, 8, 3, 5)
    expected = plrnn_rollout(**arguments)
    d = arguments["d"].clone()
    d[:, -1] = torch.nan
    for backend in ("cpu", "reference"):
        forcing = {"d": d.requires_grad_(), "alpha": torch.tensor(0.15, dtype=torch.float64, requires_grad=True)}
        Z = plrnn_rollout(**arguments | forcing, backend=backend)
        close(Z, expected, 1e-14)
        assert not Z.requires_grad


def test_the_gradient_of_a_relu_at_zero_is_zero():
    ones, zeros = torch.ones(2).double(), torch.zeros(2).double()
    theta = {"A": zeros, "W": torch.eye(2).double(), "h": ones}
    for backend in ("cpu", "reference"):
        z0 = torch.tensor([[0.0, 1.0]], dtype=torch.float64, requires_grad=True)
        plrnn_rollout("plrnn", theta, z0, torch.zeros(1, 1, 2).double(), 0.0, backend=backend).sum().backward()
        assert z0.grad is not None
        assert z0.grad.tolist() == [[0.0, 1.0]]


def test_inputs_of_any_layout():
    arguments = problem("cshplrnn", 6, 11, 4, 5, n_inputs=3, alpha=torch.rand(22).double()[::2])
    arguments["d"] = torch.randn(6, 4, 11).double().mT
    arguments["s"] = torch.randn(11, 6, 3).double().transpose(0, 1)
    arguments["z0"] = torch.randn(1, 4).double().expand(6, 4)
    arguments["theta"] = {
        k: t.mT.contiguous().mT if t.ndim == 2 else torch.stack([t, t], 1)[:, 0] for k, t in arguments["theta"].items()
    }
    check(arguments)
    fresh, leaves = leaves_of(arguments)
    plrnn_rollout(**fresh).sum().backward()  # its gradient arrives expanded
    again, expected = leaves_of(arguments)
    plrnn_rollout(**again, backend="reference").sum().backward()
    for name, leaf in leaves.items():
        assert leaf.grad is not None
        close(leaf.grad, expected[name].grad, 1e-12, name)


def test_a_view_that_only_says_it_is_negated():
    arguments = problem("cshplrnn", 3, 6, 3, 4)
    expected = plrnn_rollout(**arguments)
    arguments["d"] = torch.complex(torch.zeros_like(arguments["d"]), -arguments["d"]).conj().imag
    assert arguments["d"].is_neg()
    assert torch.equal(plrnn_rollout(**arguments), expected)


@pytest.mark.parametrize("cell", CELLS)
def test_the_operator_and_the_short_way_past_the_dispatcher_are_one(cell):
    arguments = problem(cell, 5, 9, 3, 4, n_inputs=2)
    outcomes, called = [], []

    class Listener(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            called.append(str(func))
            return func(*args, **(kwargs or {}))

    for context in (contextlib.nullcontext(), Listener()):
        fresh, leaves = leaves_of(arguments)
        with context:
            Z = plrnn_rollout(**fresh)
            outcomes.append([Z, *torch.autograd.grad(Z.square().sum(), list(leaves.values()))])
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))
    assert {"tsmodels.plrnn_rollout.default", "tsmodels.plrnn_rollout_backward.default"} <= set(called)


def test_inputs_are_not_written():
    arguments = problem("cdendplrnn", 3, 5, 4, 2, n_inputs=1, mask=torch.ones(4), alpha=torch.rand(5))
    before = copy.deepcopy(arguments)
    fresh, _ = leaves_of(arguments)
    plrnn_rollout(**fresh).square().sum().backward()
    for name, value in before["theta"].items():
        assert torch.equal(arguments["theta"][name], value)
    for name in ("z0", "d", "s", "mask", "alpha"):
        assert torch.equal(arguments[name], before[name])


@pytest.mark.parametrize("cell", CELLS)
def test_what_one_sequence_does_stays_in_it(cell):
    arguments = problem(cell, 5, 6, 3, 4, dtype=torch.float32)
    expected = plrnn_rollout(**arguments)
    for value in (torch.nan, torch.inf):
        z0 = arguments["z0"].clone()
        z0[2, 1] = value
        changed = arguments | {"z0": z0}
        Z, exact = plrnn_rollout(**changed), plrnn_rollout(**changed, backend="reference")
        others = [0, 1, 3, 4]
        assert torch.equal(Z[others], expected[others])
        assert torch.equal(Z[2].isnan(), exact[2].isnan())


def test_lanes_without_a_sequence_do_not_reach_the_gradients():
    """They start at zero, from which this map runs away; the sequence of the batch sits on a fixed point."""
    theta = {"A": torch.full((1,), 2.0), "W": torch.full((1, 1), 1e30), "h": torch.ones(1)}
    arguments: dict[str, Any] = {"cell": "plrnn", "theta": theta, "z0": -torch.ones(1, 1), "d": torch.zeros(1, 9, 1)}
    fresh, leaves = leaves_of(arguments | {"alpha": 0.0})
    plrnn_rollout(**fresh).sum().backward()
    for name in ("A", "W", "h", "z0"):
        gradient = leaves[name].grad
        assert gradient is not None
        assert gradient.isfinite().all(), name


@pytest.mark.parametrize("cell", ["cshplrnn", "cdendplrnn", "mcplrnn"])
def test_bitwise_the_same_for_any_number_of_threads(cell):
    arguments = problem(cell, 300, 101, 12, 33, n_inputs=2, dtype=torch.float32)
    n_threads, outcomes = torch.get_num_threads(), []
    try:
        for n in (1, 2, 4, 7, 1):
            torch.set_num_threads(n)
            fresh, leaves = leaves_of(arguments)
            Z = plrnn_rollout(**fresh)
            outcomes.append([Z, *torch.autograd.grad(Z.square().sum(), list(leaves.values()))])
    finally:
        torch.set_num_threads(n_threads)
    for outcome in outcomes[1:]:
        assert all(torch.equal(a, b) for a, b in zip(outcome, outcomes[0], strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_the_gradient_does_not_depend_on_what_is_kept(cell):
    arguments = problem(cell, 5, 9, 3, 4)
    fresh, _ = leaves_of(arguments)
    with torch.no_grad():
        alone = plrnn_rollout(**fresh)
    assert torch.equal(alone, plrnn_rollout(**fresh))


def test_second_derivatives_and_forward_mode_raise_and_the_reference_has_them():
    fresh, leaves = leaves_of(problem("cshplrnn", 2, 4, 3, 5))
    (first,) = torch.autograd.grad(plrnn_rollout(**fresh).square().sum(), leaves["z0"], create_graph=True)
    with pytest.raises(RuntimeError, match="plrnn_rollout has first derivatives only"):
        first.sum().backward()
    Z = plrnn_rollout(**fresh, backend="reference")
    (first,) = torch.autograd.grad(Z.square().sum(), leaves["z0"], create_graph=True)
    first.sum().backward()
    with pytest.raises(NotImplementedError, match="jvp"), torch.autograd.forward_ad.dual_level():
        fresh["z0"] = torch.autograd.forward_ad.make_dual(fresh["z0"].detach(), torch.ones_like(fresh["z0"]))
        plrnn_rollout(**fresh)


def test_transforms_of_torch_func():
    arguments = problem("cshplrnn", 3, 5, 3, 4)

    def loss(theta, backend):
        return plrnn_rollout(**arguments | {"theta": theta}, backend=backend).square().mean()

    theta = {k: torch.stack([t, 0.5 * t]) for k, t in arguments["theta"].items()}
    with pytest.warns(UserWarning, match="batching rule"):  # torch loops over the mapped axis
        got = torch.func.vmap(torch.func.grad(lambda th: loss(th, "cpu")))(theta)
    expected = torch.func.vmap(torch.func.grad(lambda th: loss(th, "reference")))(theta)
    for name, gradient in got.items():
        close(gradient, expected[name], 1e-12, name)


def test_auto_is_the_compiled_backend_on_the_cpu():
    arguments = problem("shplrnn", 2, 4, 3, 5)
    assert backend_for(arguments["z0"]) == "cpu"
    assert torch.equal(plrnn_rollout(**arguments), plrnn_rollout(**arguments, backend="cpu"))


def test_other_devices_say_how_to_run_there():
    arguments = problem("shplrnn", 2, 4, 3, 5)
    there: dict[str, Any] = {k: v.to("meta") if isinstance(v, Tensor) else v for k, v in arguments.items()}
    there["theta"] = {k: t.to("meta") for k, t in arguments["theta"].items()}
    with pytest.raises(NotImplementedError, match=r"no kernels for tensors on meta.*backend='reference'"):
        plrnn_rollout(**there)
    assert plrnn_rollout(**there, backend="reference").shape == (2, 4, 3)


def zeros(*shape):
    return torch.zeros(shape, dtype=torch.float64)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"cell": "lstm"}, ValueError, "cell must be one of 'plrnn'.*got 'lstm'"),
        ({"theta": [1.0]}, TypeError, "theta must be a mapping"),
        ({"cell": "plrnn"}, ValueError, "must have A, W, h; missing: W, h; not known: W1, h1, W2, h2"),
        ({"s": zeros(2, 4, 2)}, ValueError, r"h2, C \(C for s\); missing: C; not known: none"),
        ({"+C": zeros(3, 2)}, ValueError, "theta has 'C' but there are no external inputs; pass s"),
        ({"+A": zeros(4)}, ValueError, r"theta\['A'\] must have shape \(M,\) = \(3,\), got \(4,\)"),
        ({"+W2": zeros(5, 4)}, ValueError, r"theta\['W2'\] must have shape \(H, M\) = \(5, 3\)"),
        ({"+W2": zeros(0, 3)}, ValueError, r"theta\['W2'\] must have shape \(H, M\) with H >= 1"),
        ({"+h2": [1.0]}, TypeError, r"theta\['h2'\] must be a torch.Tensor, got list"),
        ({"+h1": torch.zeros(3)}, TypeError, r"theta\['h1'\] has dtype torch.float32, z0 has torch.float64"),
        ({"z0": zeros(2, 4)}, ValueError, r"z0 must have shape \(B, M\) = \(2, 3\)"),
        ({"d": zeros(2, 3)}, ValueError, r"d must have shape \(B, T, M\)"),
        ({"d": zeros(2, 4, 0)}, ValueError, "M >= 1"),
        ({"s": zeros(2, 5, 2), "+C": zeros(3, 2)}, ValueError, r"s must have shape \(B, T, S\) = \(2, 4, S\)"),
        ({"alpha": zeros(5)}, ValueError, r"alpha must be a number or have shape \(T,\) = \(4,\)"),
        ({"alpha": torch.zeros((), device="meta")}, TypeError, "alpha is on meta, d on cpu"),
        ({"mask": zeros(2)}, ValueError, r"mask must have shape \(M,\) = \(3,\)"),
        ({"mask": [1, 0, 1]}, TypeError, "mask must be a torch.Tensor, got list"),
        ({"n_relu": 2}, ValueError, "n_relu is for cell='alrnn'"),
        ({"solver": "deer"}, ValueError, "solver must be one of 'auto', 'sequential', 'newton'; got 'deer'"),
        ({"backend": "numba"}, ValueError, "backend must be one of"),
        ({"backend": "cuda"}, ValueError, "cannot run on a tensor on cpu"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    arguments = problem("shplrnn", 2, 4, 3, 5)
    arguments["theta"] |= {k[1:]: v for k, v in change.items() if k.startswith("+")}
    arguments |= {k: v for k, v in change.items() if not k.startswith("+")}
    with pytest.raises(error, match=message):
        plrnn_rollout(**arguments)


@pytest.mark.parametrize("n_relu", [None, -1, 4, 1.0, True])
def test_the_almost_linear_cell_needs_the_number_of_its_relus(n_relu):
    plrnn_rollout(**problem("alrnn", 2, 4, 3, 0, n_relu=1))  # which is remembered, and equal to 1.0 and True
    with pytest.raises(ValueError, match="needs n_relu, an integer from 0 to M = 3"):
        plrnn_rollout(**problem("alrnn", 2, 4, 3, 0) | {"n_relu": n_relu})


@pytest.mark.parametrize("dtype", [torch.float16, torch.complex64, torch.int64], ids=str)
def test_other_dtypes_are_refused(dtype):
    arguments = problem("plrnn", 2, 4, 3, 0)
    arguments |= {"z0": arguments["z0"].to(dtype), "d": arguments["d"].to(dtype)}
    arguments["theta"] = {k: t.to(dtype) for k, t in arguments["theta"].items()}
    with pytest.raises(TypeError, match=f"z0 has dtype {dtype}"):
        plrnn_rollout(**arguments)
