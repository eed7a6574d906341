"""CUDA kernels of the affine scan: values and gradients against the definition, registers of the compiled code."""

import pytest
import torch

pytest.importorskip("numba_cuda", reason="needs numba-cuda")
from tsmodels_kernels._affine_scan import cuda as kernels
from tsmodels_kernels._affine_scan.ref import affine_scan_ref

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


def close(got, expected, dtype):
    assert got.shape == expected.shape and got.dtype == dtype
    if got.numel():
        assert (got.cpu().double() - expected).abs().max() <= TOLERANCE[dtype] * max(1.0, expected.abs().max())


def check(device, B, T, M, dtype=torch.float32, reverse=False, **split):
    """The scan against its definition, and its adjoint against the gradients of that."""
    generator = torch.Generator().manual_seed(0)
    J, b, state = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((B, T, M, M), (B, T, M), (B, M))
    )
    J /= 1.5 * M**0.5
    J, b, state = (t.to(dtype).double() for t in (J, b, state))  # what the kernel sees
    leaves = [b.requires_grad_(), state.requires_grad_()]
    expected = affine_scan_ref(J, b, state, reverse)
    on_device = [t.detach().to(dtype).to(device) for t in (J, b, state)]
    for got, value in zip(kernels.forward(*on_device, reverse, False, **split), expected, strict=True):
        close(got, value.detach(), dtype)
    gradients = torch.autograd.grad(expected, leaves, [b.detach(), state.detach()], materialize_grads=True)
    for got, value in zip(kernels.forward(*on_device, not reverse, True, **split), gradients, strict=True):
        close(got, value, dtype)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("B", "T", "M"), [(1, 1, 1), (2, 7, 3), (1, 9, 6)])
def test_one_chunk(device, B, T, M, dtype, reverse):
    check(device, B, T, M, dtype, reverse)


@pytest.mark.parametrize(("B", "T", "M", "chunk", "reverse"), [(2, 9, 3, 4, False), (1, 11, 2, 2, True)])
def test_chunks_of_chunks(device, B, T, M, chunk, reverse):
    check(device, B, T, M, torch.float64, reverse, chunk=chunk)


def test_the_chunk_that_ships(device):
    check(device, 1, kernels.CHUNK + 3, 2)


def test_matrices_that_come_in_many_portions(device):
    assert kernels.TILE_BYTES < 3 * 4 * 32 * 33 * 2  # three steps do not fit
    check(device, 1, 3, 32, chunk=2)


def test_many_units_walk(device):
    check(device, 1, 2, 33, torch.float64, reverse=True, warps=4)


def test_many_units_with_the_block_that_ships(device):
    check(device, 2, 1, 33)


@pytest.mark.parametrize(("B", "T", "M"), [(0, 4, 3), (2, 0, 3), (2, 4, 0), (0, 4, 40)])
def test_empty(device, B, T, M):
    check(device, B, T, M)


def test_layouts_are_read_as_they_are_meant(device):
    J = torch.rand(3, 3, 5, 2, device=device).permute(3, 2, 1, 0)
    b, state = torch.rand(3, 5, 2, device=device).permute(2, 1, 0), torch.rand(3, 2, device=device).mT
    for got, value in zip(kernels.forward(J, b, state, False, False), affine_scan_ref(J, b, state, False), strict=True):
        torch.testing.assert_close(got, value, rtol=1e-6, atol=1e-6)


def test_nan_reaches_its_own_sequence_and_later_steps_only(device):
    J, b, state = torch.rand(2, 9, 3, 3, device=device), torch.rand(2, 9, 3, device=device), torch.rand(2, 3)
    b[1, 5, 2] = torch.nan
    s, last = kernels.forward(J, b, state.to(device), False, False, chunk=4)
    assert not s[0].isnan().any() and not s[1, :5].isnan().any()
    assert s[1, 6:].isnan().all() and s[1, 5].isnan().tolist() == [False, False, True] and last[1].isnan().all()


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize(
    ("M", "dtype"),
    [(3, torch.float32), pytest.param(32, torch.float32, marks=pytest.mark.slow), (32, torch.float64)],
    ids=str,
)
def test_machine_code(compiled, M, dtype, adjoint):
    families = (kernels.summarise, (dtype, M, 64, adjoint)), (kernels.sweep, (dtype, M, adjoint))
    for family, constants in families:
        code = compiled(family, constants)
        assert not code.spills
        assert "ld.local" not in code.ptx and "call" not in code.ptx
        if dtype == torch.float32:
            assert ".f64" not in code.ptx


@pytest.mark.parametrize("adjoint", [False, True])
def test_machine_code_of_many_units(compiled, adjoint):
    code = compiled(kernels.walk, (torch.float32, 64, kernels.WALKERS, adjoint))
    assert code.registers <= 64 and not code.spills
    assert "ld.local" not in code.ptx and ".f64" not in code.ptx
