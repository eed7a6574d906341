"""Storage types, vector loads and launches that all CUDA kernels share."""

import importlib.util
import runpy

import pytest
import torch

pytest.importorskip("numba_cuda", reason="needs numba-cuda")
from numba import cuda

from tsmodels_kernels import _cuda


@_cuda.kernel_family
def copy(source, target):
    """Elements of one dtype written in another."""
    load, store = _cuda.storage_of(source).load, _cuda.storage_of(target).store

    def kernel(x, y, n):
        i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        if i < n:
            store(y, i, load(x, i))

    return kernel, (_cuda.storage_of(source).pointer, _cuda.storage_of(target).pointer, _cuda.int64)


@_cuda.kernel_family
def reverse_quads(dtype):
    """Groups of four elements, each in reverse."""
    pointer = _cuda.storage_of(dtype).pointer

    def kernel(x, y):
        i = 4 * cuda.threadIdx.x
        a, b, c, d = _cuda.load4(x, i)
        _cuda.store4(y, i, d, c, b, a)

    return kernel, (pointer, pointer)


@_cuda.kernel_family
def powers(dtype):
    """2**x."""
    storage = _cuda.storage_of(dtype)
    exp2 = _cuda.exp2_for(storage)

    def kernel(x, up):
        i = cuda.threadIdx.x
        up[i] = exp2(x[i])

    return kernel, (storage.pointer, storage.pointer)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_rounds_as_torch_does(device, dtype):
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(60, generator=generator) * 10.0 ** torch.randint(-4, 4, (60,), generator=generator)
    special = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1.00390625, 1.01171875])
    values = torch.cat([numbers, special]).to(device)
    narrow, wide = torch.empty_like(values, dtype=dtype), torch.empty_like(values)
    copy.launch((torch.float32, dtype), (2,), (64,), values, narrow, len(values))
    copy.launch((dtype, torch.float32), (2,), (64,), narrow, wide, len(values))
    torch.testing.assert_close(wide, values.to(dtype).float(), rtol=0, atol=0, equal_nan=True)
    torch.testing.assert_close(narrow, values.to(dtype), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_four_neighbours_at_once(device, dtype):
    x = torch.arange(16.0, device=device).to(dtype)
    y = torch.empty_like(x)
    reverse_quads.launch((dtype,), (1,), (4,), x, y)
    assert torch.equal(y, x.view(4, 4).flip(1).reshape(-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_powers_of_two(device, dtype):
    x = torch.linspace(-120, 120, 32, dtype=dtype, device=device)
    up = torch.empty_like(x)
    powers.launch((dtype,), (1,), (32,), x, up)
    torch.testing.assert_close(
        up, torch.exp2(x.double()).to(dtype), rtol=1e-6 if dtype == torch.float32 else 1e-15, atol=0
    )


def test_a_pointer_starts_at_the_first_element_of_a_view(device):
    base = torch.arange(10.0, device=device)
    target = torch.zeros(10, device=device)
    copy.launch((torch.float32, torch.float32), (1,), (4,), base[3:], target[5:], 4)
    assert torch.equal(target.cpu(), torch.tensor([0.0, 0, 0, 0, 0, 3, 4, 5, 6, 0]))


def test_an_empty_grid_launches_nothing(device):
    x = torch.ones(3, device=device)
    copy.launch((torch.float32, torch.float32), (0,), (4,), x, x, 3)
    assert torch.equal(x.cpu(), torch.ones(3))


@pytest.mark.skipif(not _cuda.SIMULATED, reason="the simulator alone knows where an array ends")
def test_the_simulator_refuses_what_lies_outside_an_array():
    x, y = torch.ones(4), torch.ones(8)
    with pytest.raises(IndexError, match="element 4 of 4"):
        copy.launch((torch.float32, torch.float32), (1,), (8,), x, y, 5)


def test_vector_instructions(compiled):
    code = compiled(reverse_quads, (torch.float32,))
    assert "ld.global.v4.f32" in code.ptx and "st.global.v4.f32" in code.ptx
    assert "ex2.approx.ftz.f32" in compiled(powers, (torch.float32,)).ptx


def test_without_numba_cuda_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"tsmodels\[cuda13\]"):
        runpy.run_path(_cuda.__file__)
