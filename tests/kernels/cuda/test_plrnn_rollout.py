"""CUDA kernels of the forced rollout: values and gradients against the definition, registers of the compiled code."""

import pytest
import torch
from plrnn_problems import converted, rollout_problem, with_leaves

pytest.importorskip("numba_cuda", reason="needs numba-cuda")
from tsmodels_kernels import plrnn_rollout
from tsmodels_kernels._cuda import SIMULATED
from tsmodels_kernels._plrnn_rollout import cuda, cuda_kernels
from tsmodels_kernels._plrnn_rollout.cells import CELLS

TOLERANCE = {torch.float32: (2e-6, 1e-5), torch.float64: (1e-12, 1e-12)}


def raw_arguments(cell, theta, z0, d, alpha, mask=None, s=None, n_relu=None):
    """Arguments of the operator, without what tells what is kept."""
    _, _, M = d.shape
    A, W, h, *rest = (theta[name] for name in CELLS[cell].names)
    inner, offset = rest or (None, None)
    strength = torch.as_tensor(alpha).to(d).expand(d.shape[1])
    forcing = strength, d.new_ones(M) if mask is None else mask.to(d), s
    return cell, z0, d, *forcing, A, W, h, inner, offset, theta.get("C"), M if n_relu is None else n_relu


def close(got, expected, tolerance, name=""):
    assert got.shape == expected.shape, name
    if expected.numel():
        error = (got.cpu().double() - expected.double()).abs().max() / max(1.0, expected.abs().max())
        assert error <= tolerance, f"{name}: {error:.2e}"


def check(device, *problem, dtype=torch.float32, **options):
    """Values and all gradients against the definition in float64."""
    arguments = converted(rollout_problem(*problem, **options), torch.empty(0, dtype=dtype))
    exact, leaves = with_leaves(converted(arguments, torch.empty(0, dtype=torch.float64)))
    Z = plrnn_rollout(**exact, backend="reference")
    weight = torch.randn(Z.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)
    expected = torch.autograd.grad(Z, list(leaves.values()), weight.double(), allow_unused=True, materialize_grads=True)
    cell, z0, d, *rest = raw_arguments(**converted(arguments, torch.empty(0, dtype=dtype, device=device)))
    got, kept = cuda.forward(cell, z0, d, *rest, True)
    assert got.dtype == dtype
    value, gradient = TOLERANCE[dtype]
    close(got, Z.detach(), value)
    found = cuda.backward(cell, weight.to(device), *rest, kept)
    names = ("z0", "s", *CELLS[cell].names[:3], *(CELLS[cell].names[3:] or (None, None)), "C")
    by_name = dict(zip(names, found, strict=True))
    for name, reference in zip(leaves, expected, strict=True):
        close(by_name[name], reference, gradient, name)


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell(device, cell):
    forcing = {"alpha": torch.rand(3), "mask": torch.tensor([1, 0, 1])}
    check(device, cell, 2, 3, 3, 4, n_inputs=2, **forcing, dtype=torch.float64)


@pytest.mark.parametrize("cell", ["cshplrnn", "alrnn"])
def test_single_precision(device, cell):
    check(device, cell, 1, 3, 3, 4)


# batch, steps, units, hidden units or bases: one unit, more hidden units than lanes, more units than lanes
@pytest.mark.parametrize("size", [(1, 1, 1, 1), (1, 2, 2, 33), (1, 1, 34, 3)], ids=str)
@pytest.mark.parametrize("cell", ["cshplrnn", "cdendplrnn", "mcplrnn"])
def test_sizes(device, cell, size):
    check(device, cell, *size)


@pytest.fixture
def other_constants(monkeypatch):
    """A function that changes a constant of the kernels, for which they are compiled again."""
    for family in (cuda_kernels.forward, cuda_kernels.backward):
        monkeypatch.setattr(family, "_kernels", {})
    return lambda name, value: monkeypatch.setattr(cuda_kernels, name, value)


def test_forcing_that_is_read_in_several_portions(device, other_constants):
    other_constants("LONGEST_TILE", 2)
    check(device, "cshplrnn", 1, 5, 2, 3, n_inputs=1)


@pytest.mark.parametrize("cell", ["cshplrnn", "plrnn"])
def test_weights_that_do_not_fit_into_shared_memory(device, other_constants, cell):
    other_constants("WEIGHT_BYTES", 16)
    check(device, cell, 1, 2, 3, 4)


@pytest.mark.parametrize(("B", "T"), [(0, 4), (2, 0)])
def test_empty(device, B, T):
    check(device, "cshplrnn", B, T, 3, 4, n_inputs=2)


def test_bitwise_repeatable_whatever_is_kept(device):
    arguments = converted(rollout_problem("cshplrnn", 1, 2, 3, 5), torch.empty(0, dtype=torch.float32, device=device))
    cell, z0, d, *rest = raw_arguments(**arguments)
    first, second = (cuda.forward(cell, z0, d, *rest, True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    Z, kept = cuda.forward(cell, z0, d, *rest, False)
    assert torch.equal(Z, first[0]) and not kept.numel()
    grads = [cuda.backward(cell, d, *rest, first[1]) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.skipif(SIMULATED, reason="needs a GPU")
@pytest.mark.parametrize("solver", ["sequential", "newton"])
def test_public_function_on_a_gpu(device, solver):
    arguments = rollout_problem("cshplrnn", 5, 300, 3, 50, n_inputs=2, alpha=0.2)
    exact, leaves = with_leaves(arguments)
    on_device, found = with_leaves(converted(arguments, torch.empty(0, dtype=torch.float64, device=device)))
    Z, expected = plrnn_rollout(**on_device, solver=solver), plrnn_rollout(**exact)
    close(Z.detach(), expected.detach(), 1e-10)
    Z.square().sum().backward()
    expected.square().sum().backward()
    for name, leaf in leaves.items():
        close(found[name].grad, leaf.grad, 1e-9, name)


# what the compiler is slow at is left out
SHAPES = [
    ("cshplrnn", 3, 50, 0, torch.float32),
    pytest.param("cshplrnn", 3, 50, 1, torch.float64, marks=pytest.mark.slow),
    pytest.param("alrnn", 20, 2, 0, torch.float32, marks=pytest.mark.slow),
    ("shplrnn", 16, 512, 2, torch.float32),
    ("cdendplrnn", 34, 5, 0, torch.float32),
]


@pytest.mark.parametrize(("cell", "M", "width", "S", "dtype"), SHAPES, ids=str)
def test_machine_code(compiled, cell, M, width, S, dtype):
    kind, corrected, _ = CELLS[cell]
    shape = cuda_kernels.Shape(dtype, kind, corrected, M, width if kind == "shallow" else M, width, S)
    for family, constants in ((cuda_kernels.forward, (shape, True)), (cuda_kernels.backward, (shape,))):
        code = compiled(family, constants)
        assert not code.spills
        assert "ld.local" not in code.ptx and "call" not in code.ptx
        if dtype == torch.float32:
            assert ".f64" not in code.ptx
