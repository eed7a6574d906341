"""Free orbits and Lyapunov exponents: loops of plrnn_step and plrnn_affine, the Lozi map, known spectra, errors."""

import math
from typing import Any

import pytest
import torch

from tsmodels_kernels import plrnn_affine, plrnn_lyapunov, plrnn_pattern, plrnn_rollout, plrnn_simulate, plrnn_step
from tsmodels_kernels._plrnn_rollout.cells import CELLS

VALUE = {torch.float32: 2e-6, torch.float64: 1e-12}
LOZI_A, LOZI_B = 1.7, 0.5


def draw(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(cell, M, width, n_inputs=0, dtype=torch.float64) -> dict[str, Any]:
    """``cell``, ``theta`` and ``n_relu`` of a map that is contracting but for its W."""
    theta = {"A": 0.5 + 0.4 * draw(0, M).tanh()}
    if "sh" in cell:
        theta |= {"W1": 0.5 * draw(1, M, width) / width**0.5, "h1": 0.1 * draw(2, M)}
        theta |= {"W2": draw(3, width, M) / (M**0.5 + width**0.5), "h2": 0.5 * draw(4, width)}
    else:
        theta |= {"W": 0.2 * draw(1, M, M) / M**0.5, "h": 0.3 * draw(2, M)}
    if "dend" in cell:
        theta |= {"a": draw(3, width) / width**0.5, "H": draw(4, M, width)}
    if n_inputs:
        theta["C"] = draw(5, M, n_inputs)
    theta = {name: tensor.to(dtype) for name, tensor in theta.items()}
    return {"cell": cell, "theta": theta} | ({"n_relu": (M + 1) // 2} if cell == "alrnn" else {})


def orbit(net, z, n_steps, s=None):
    """States 0..n_steps of the map applied step by step."""
    states = [z]
    for t in range(n_steps):
        given = None if s is None else s[:, t]
        states.append(plrnn_step(net["cell"], net["theta"], states[-1], given, n_relu=net.get("n_relu")))
    return torch.stack(states, 1)


def log_pivots(net, states, n_columns, every):
    """Exponents from the product of Jacobians along (B, n, M) states, decomposed with torch."""
    B, n, M = states.shape
    options = {"n_relu": net.get("n_relu")}
    pattern = plrnn_pattern(net["cell"], net["theta"], states, **options)
    J, _ = plrnn_affine(net["cell"], net["theta"], pattern, **options)
    frame, total = torch.eye(M, n_columns, dtype=states.dtype).expand(B, -1, -1), torch.zeros(B, n_columns).double()
    for t in range(n):
        frame = J[:, t] @ frame
        if (t + 1) % every == 0:
            frame, R = torch.linalg.qr(frame)
            total = total + R.diagonal(dim1=1, dim2=2).abs().log()
    return total / n


def close(got, expected, tolerance):
    assert got.shape == expected.shape
    assert (got.double() - expected.double()).abs().max() <= tolerance * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 3, 5), (2, 5, 50), (2, 17, 33), (1, 40, 3)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_an_orbit_is_the_map_again_and_again(cell, dtype, size):
    B, M, width = size
    net, z0 = network(cell, M, width), draw(7, B, M)
    expected = orbit(net, z0, 60)[:, 1:]
    narrow = network(cell, M, width, dtype=dtype)
    states = plrnn_simulate(**narrow, z0=z0.to(dtype), n_steps=60)
    assert states.dtype == dtype
    close(states, expected, VALUE[dtype])


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("cell", CELLS)
def test_inputs_and_thinning(cell, backend):
    net, z0, s = network(cell, 3, 6, n_inputs=2), draw(7, 4, 3), draw(8, 4, 47, 2)
    expected = orbit(net, z0, 47, s)
    options = {"z0": z0, "n_steps": 47, "s": s, "backend": backend}
    close(plrnn_simulate(**net, **options), expected[:, 1:], 1e-12)
    close(plrnn_simulate(**net, **options, every=5), expected[:, 5::5], 1e-12)
    assert plrnn_simulate(**net, **options, every=48).shape == (4, 0, 3)


def test_a_free_rollout_is_the_same_orbit():
    net, z0 = network("cshplrnn", 4, 20), draw(7, 5, 4)
    rollout = plrnn_rollout(**net, z0=z0, d=torch.zeros(5, 80, 4).double(), alpha=0.0)
    close(plrnn_simulate(**net, z0=z0, n_steps=80), rollout, 1e-12)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("cell", CELLS)
def test_exponents_are_the_pivots_of_the_jacobians(cell, backend):
    net, z0 = network(cell, 5, 9), draw(7, 2, 5)
    states = orbit(net, z0, 1500)[:, 500:1500]
    options: dict[str, Any] = {"n_transient": 500, "backend": backend}
    exponents = plrnn_lyapunov(**net, z0=z0, n_steps=1000, **options)
    assert exponents.dtype == torch.float64
    sign, log_det = torch.linalg.slogdet(jacobians(net, states))
    assert sign.abs().all()
    close(exponents.sum(1), log_det.mean(1), 1e-9)
    close(exponents, log_pivots(net, states, 5, 1), 2e-2)  # the frames begin differently
    close(plrnn_lyapunov(**net, z0=z0, n_steps=1000, **options, every=2), exponents, 1e-9)
    close(plrnn_lyapunov(**net, z0=z0, n_steps=1000, **options, n_exponents=2), exponents[:, :2], 2e-2)


def jacobians(net, states):
    options = {"n_relu": net.get("n_relu")}
    pattern = plrnn_pattern(net["cell"], net["theta"], states, **options)
    return plrnn_affine(net["cell"], net["theta"], pattern, **options, offsets=False)[0]


@pytest.mark.parametrize("M", [1, 7, 8, 9, 33])
def test_frames_of_any_width_agree_with_the_definition(M):
    net, z0 = network("alrnn", M, 0), draw(7, 2, M)
    for k in (1, M // 2 + 1, M):
        options: dict[str, Any] = {"z0": z0, "n_steps": 40, "n_transient": 3, "n_exponents": k}
        close(plrnn_lyapunov(**net, **options), plrnn_lyapunov(**net, **options, backend="reference"), 1e-12)


def test_exponents_along_a_driven_orbit():
    net, z0, s = network("shplrnn", 3, 8, n_inputs=2), draw(7, 2, 3), 2.0 * draw(8, 2, 300, 2)
    exponents = plrnn_lyapunov(**net, z0=z0, n_steps=200, n_transient=100, s=s)
    log_det = torch.linalg.slogdet(jacobians(net, orbit(net, z0, 300, s)[:, 100:300]))[1]
    close(exponents.sum(1), log_det.mean(1), 1e-11)
    close(exponents, plrnn_lyapunov(**net, z0=z0, n_steps=200, n_transient=100, s=s, backend="reference"), 1e-11)


def lozi(cell) -> dict[str, Any]:
    """x' = 1 - a |x| + y, y' = b x as a PLRNN: units (x, y), or (y, x, x) with |x| = 2 φ(x) - x for ``alrnn``."""
    a, b = LOZI_A, LOZI_B
    if cell == "shplrnn":
        theta = {"A": [0, 0], "W1": [[-a, -a, 1, -1], [b, -b, 0, 0]], "h1": [1, 0]}
        theta |= {"W2": [[1, 0], [-1, 0], [0, 1], [0, -1]], "h2": [0, 0, 0, 0]}
    else:
        theta = {"A": [0, 0, 0], "W": [[0, b, 0], [1, a, -2 * a], [1, a, -2 * a]], "h": [0, 1, 1]}
    net = {"cell": cell, "theta": {k: torch.tensor(v, dtype=torch.float64) for k, v in theta.items()}}
    return net | ({"n_relu": 1} if cell == "alrnn" else {})


@pytest.mark.parametrize("cell", ["shplrnn", "alrnn"])
def test_the_lozi_map(cell):
    x, y, expected = 0.1, 0.2, []
    for _ in range(30):
        x, y = 1.0 - LOZI_A * abs(x) + y, LOZI_B * x
        expected.append([x, y])
    start = torch.tensor([[0.1, 0.2] if cell == "shplrnn" else [0.2, 0.1, 0.1]], dtype=torch.float64)
    states = plrnn_simulate(**lozi(cell), z0=start, n_steps=30)[0]
    close(states if cell == "shplrnn" else states[:, [1, 0]], torch.tensor(expected, dtype=torch.float64), 1e-8)

    exponents = plrnn_lyapunov(**lozi(cell), z0=start, n_steps=100_000)[0]
    close(exponents[:2], torch.tensor([0.4703, -1.1635]), 0.01 * 0.4703)
    if cell == "shplrnn":
        assert abs(float(exponents.sum()) - math.log(LOZI_B)) < 1e-9
    else:  # two of its units are the same: a direction is lost
        assert exponents[2] == -torch.inf
        reference = plrnn_lyapunov(**lozi(cell), z0=start, n_steps=50, n_transient=5, backend="reference")
        close(plrnn_lyapunov(**lozi(cell), z0=start, n_steps=50, n_transient=5)[:, :2], reference[:, :2], 1e-12)
        assert reference[0, 2] == -torch.inf


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_map_that_removes_all_but_one_direction(backend):
    theta = {"A": torch.zeros(3), "W": torch.full((3, 3), 0.25), "h": torch.zeros(3)}
    start = torch.ones(2, 3)
    exponents = plrnn_lyapunov("alrnn", theta, start, 10, n_relu=0, n_transient=4, backend=backend)
    close(exponents[:, 0], torch.full((2,), math.log(0.75), dtype=torch.float64), 1e-12)
    assert (exponents[:, 1:] == -torch.inf).all()


@pytest.mark.parametrize("cell", CELLS)
def test_an_orbit_that_runs_away_is_not_finite_and_leaves_the_others_alone(cell):
    net, z0 = network(cell, 3, 6), draw(7, 3, 3)
    expected, exponents = plrnn_simulate(**net, z0=z0, n_steps=20), plrnn_lyapunov(**net, z0=z0, n_steps=20)
    for value in (torch.nan, torch.inf):
        z0[1] = value
        states, found = plrnn_simulate(**net, z0=z0, n_steps=20), plrnn_lyapunov(**net, z0=z0, n_steps=20)
        assert not states[1].isfinite().any(1).all()
        assert found[1].isnan().all()
        assert torch.equal(states[[0, 2]], expected[[0, 2]])
        assert torch.equal(found[[0, 2]], exponents[[0, 2]])
    theta = net["theta"] | {"A": torch.full((3,), 1e9).double()}
    grown = net | {"theta": theta}
    assert not plrnn_simulate(**grown, z0=draw(7, 1, 3), n_steps=100)[0, -1].isfinite().any()
    for backend in ("cpu", "reference"):
        exponents = plrnn_lyapunov(**grown, z0=draw(7, 1, 3), n_steps=90, n_transient=10, backend=backend)
        assert exponents.isnan().all()


def test_no_steps_no_orbits_and_no_gradient():
    net = network("cshplrnn", 3, 6, dtype=torch.float32)
    net["theta"]["A"].requires_grad_()
    assert plrnn_simulate(**net, z0=torch.zeros(2, 3), n_steps=0).shape == (2, 0, 3)
    assert plrnn_simulate(**net, z0=torch.zeros(0, 3), n_steps=5).shape == (0, 5, 3)
    assert plrnn_lyapunov(**net, z0=torch.zeros(0, 3), n_steps=5).shape == (0, 3)
    for backend in ("cpu", "reference"):
        assert not plrnn_simulate(**net, z0=torch.zeros(2, 3), n_steps=3, backend=backend).requires_grad
        assert not plrnn_lyapunov(**net, z0=torch.zeros(2, 3), n_steps=3, backend=backend).requires_grad


def test_inputs_of_any_layout():
    net = network("cdendplrnn", 4, 3, n_inputs=2)
    z0, s = draw(7, 4, 3).mT, draw(8, 30, 3, 2).transpose(0, 1)
    expected = plrnn_simulate(**net, z0=z0.contiguous(), n_steps=30, s=s.contiguous())
    net["theta"] = {
        k: t.mT.contiguous().mT if t.ndim == 2 else torch.stack([t, t], 1)[:, 0] for k, t in net["theta"].items()
    }
    assert torch.equal(plrnn_simulate(**net, z0=z0, n_steps=30, s=s), expected)


def test_bitwise_the_same_for_any_number_of_threads():
    net, z0 = network("cshplrnn", 6, 70), draw(7, 9, 6)
    n_threads, outcomes = torch.get_num_threads(), []
    try:
        for n in (1, 2, 4):
            torch.set_num_threads(n)
            exponents = plrnn_lyapunov(**net, z0=z0, n_steps=1500, n_transient=0)
            outcomes.append((plrnn_simulate(**net, z0=z0, n_steps=3000), exponents))
    finally:
        torch.set_num_threads(n_threads)
    for states, exponents in outcomes[1:]:
        assert torch.equal(states, outcomes[0][0])
        assert torch.equal(exponents, outcomes[0][1])


def test_other_devices_say_how_to_run_there():
    net = network("shplrnn", 3, 4)
    with torch._subclasses.FakeTensorMode():  # tensors that claim to be on a GPU
        theta = {k: torch.empty(t.shape, device="cuda") for k, t in net["theta"].items()}
        for function in (plrnn_simulate, plrnn_lyapunov):
            with pytest.raises(NotImplementedError, match=r"no kernels for tensors on cuda.*backend='reference'"):
                function("shplrnn", theta, torch.empty((2, 3), device="cuda"), 5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"cell": "lstm"}, ValueError, "plrnn_lyapunov: cell must be one of"),
        ({"n_steps": 0}, ValueError, "n_steps must be an integer of at least 1, got 0"),
        ({"n_steps": 5.0}, ValueError, "n_steps must be an integer"),
        ({"n_transient": -1}, ValueError, "n_transient must be an integer of at least 0"),
        ({"every": 0}, ValueError, "every must be an integer of at least 1"),
        ({"n_exponents": 4}, ValueError, "n_exponents must be an integer from 1 to M = 3, got 4"),
        ({"n_exponents": 0}, ValueError, "n_exponents must be an integer from 1 to M = 3"),
        ({"z0": torch.zeros(3).double()}, ValueError, r"z0 must have shape \(B, M\)"),
        ({"z0": torch.zeros(2, 3)}, TypeError, r"theta\['A'\] has dtype torch.float64, z0 has torch.float32"),
        ({"s": torch.zeros(2, 5, 1).double()}, ValueError, "missing: C"),
        ({"n_relu": 1}, ValueError, "n_relu is for cell='alrnn'"),
        ({"backend": "numba"}, ValueError, "backend must be one of"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_arguments_are_named(change, error, message):
    arguments = network("shplrnn", 3, 4) | {"z0": torch.zeros(2, 3).double(), "n_steps": 5, "n_transient": 2}
    with pytest.raises(error, match=message):
        plrnn_lyapunov(**arguments | change)


def test_inputs_must_cover_the_horizon():
    net = network("shplrnn", 3, 4, n_inputs=1)
    z0, s = torch.zeros(2, 3).double(), torch.zeros(2, 5, 1).double()
    with pytest.raises(ValueError, match=r"s must have shape \(B, T, S\) = \(2, 6, S\)"):
        plrnn_simulate(**net, z0=z0, n_steps=6, s=s)
    with pytest.raises(ValueError, match=r"s must have shape \(B, T, S\) = \(2, 8, S\)"):
        plrnn_lyapunov(**net, z0=z0, n_steps=5, n_transient=3, s=s)
