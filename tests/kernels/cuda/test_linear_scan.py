"""CUDA kernels of the linear scan: values and gradients against the definition, registers of the compiled code."""

import pytest
import torch

pytest.importorskip("numba_cuda", reason="needs numba-cuda")
from tsmodels_kernels._backend import computing_dtype
from tsmodels_kernels._linear_scan import cuda as kernels
from tsmodels_kernels._linear_scan import cuda_rows
from tsmodels_kernels._linear_scan.layout import empty_states
from tsmodels_kernels._linear_scan.ref import linear_scan_ref

VALUE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.complex64: 1e-5, torch.complex128: 1e-12}
VALUE |= {torch.float16: 3e-3, torch.bfloat16: 3e-2}
GRADIENT = VALUE | {torch.float32: 1e-4, torch.complex64: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
DTYPES = list(VALUE)


def exact(tensor):
    return tensor.detach().cpu().to(torch.complex128 if tensor.is_complex() else torch.float64)


def assert_close(got, expected, tolerance):
    assert got.shape == expected.shape
    if got.numel():
        assert (exact(got) - expected).abs().max() <= tolerance * max(1.0, expected.abs().max())


def case(B, T, D, dtype, gate_shape, device, seed=0):
    generator = torch.Generator().manual_seed(seed)
    wide = torch.complex128 if dtype.is_complex else torch.float64

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=wide)

    a, b, state = 0.9 * torch.tanh(draw(*gate_shape)), draw(B, T, D), draw(B, D)
    grad_h, grad_state = draw(B, T, D), draw(B, D)
    a, b, grad_h = (t.to(dtype).to(device) for t in (a, b, grad_h))
    state, grad_state = (t.to(computing_dtype(dtype)).to(device) for t in (state, grad_state))
    return a, b, state, grad_h, grad_state


def expected_values(a, b, state, grad_h, grad_state, reverse):
    leaves = [exact(t).requires_grad_() for t in (a, b, state)]
    h, last = linear_scan_ref(leaves[0].expand(b.shape), leaves[1], leaves[2], reverse)
    gradients = torch.autograd.grad([h, last], leaves, [exact(grad_h), exact(grad_state)], materialize_grads=True)
    return (h.detach(), last.detach()), gradients


def check(a, b, state, grad_h, grad_state, reverse, module=kernels, **split):
    (h, last), grads = expected_values(a, b, state, grad_h, grad_state, reverse)
    got_h, got_last = module.forward(a, b, state, reverse, **split)
    assert got_h.stride() == empty_states(b).stride()
    assert got_h.dtype == b.dtype and got_last.dtype == state.dtype
    assert_close(got_h, h, VALUE[b.dtype])
    assert_close(got_last, last, VALUE[b.dtype])
    got_a, *others = module.backward(a, got_h, state, grad_h, grad_state, reverse, True, **split)
    for value, reference in zip((got_a.sum_to_size(a.shape), *others), grads, strict=True):
        assert_close(value, reference, GRADIENT[b.dtype])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype(device, dtype):
    check(*case(2, 19, 3, dtype, (2, 19, 3), device), reverse=False, warps=2)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("B", "T", "D"), [(1, 1, 1), (2, 2, 33), (3, 33, 7), (1, 70, 31)])
@pytest.mark.parametrize("warps", [1, 2])
def test_shapes(device, B, T, D, warps, reverse):
    check(*case(B, T, D, torch.float32, (B, T, D), device), reverse, warps=warps)


def test_the_block_that_ships(device):
    check(*case(1, 140, 3, torch.float32, (1, 140, 3), device), reverse=True)


@pytest.mark.parametrize("gate_shape", [(1, 20, 5), (2, 1, 5), (1, 1, 5)], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_broadcast_gates(device, gate_shape, reverse):
    check(*case(2, 20, 5, torch.float64, gate_shape, device), reverse, warps=2)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("gate_shape", [(2, 45, 3), (1, 1, 3)], ids=str)
@pytest.mark.parametrize("n_chunks", [2, 4])
def test_split_over_time(device, gate_shape, n_chunks, reverse):
    check(*case(2, 45, 3, torch.complex64, gate_shape, device), reverse, warps=2, n_chunks=n_chunks)


@pytest.mark.parametrize(("B", "T", "D"), [(0, 4, 3), (2, 0, 3), (2, 4, 0)])
def test_empty(device, B, T, D):
    check(*case(B, T, D, torch.float32, (B, T, D), device), reverse=False)


def test_gate_gradient_is_made_only_when_asked_for(device):
    a, b, state, grad_h, grad_state = case(2, 9, 3, torch.float32, (2, 9, 3), device)
    h, _ = kernels.forward(a, b, state, False, warps=1)
    none, *others = kernels.backward(a, h, state, grad_h, grad_state, False, False, warps=1)
    _, *expected = kernels.backward(a, h, state, grad_h, grad_state, False, True, warps=1)
    assert none.numel() == 0
    for got, value in zip(others, expected, strict=True):
        torch.testing.assert_close(got, value, rtol=0, atol=0)


def test_strided_and_conjugated_inputs(device):
    a, b, state, grad_h, grad_state = case(2, 12, 3, torch.complex64, (2, 12, 3), device)
    a = a.conj()
    check(a, rows(b), state, grad_h, grad_state[:1].expand(2, 3), reverse=False, warps=1)


def rows(tensor):
    return tensor.transpose(1, 2).contiguous().transpose(1, 2)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("T", [136, 37])  # with and without vector loads
def test_time_contiguous_rows(device, dtype, T, reverse):
    a, b, state, grad_h, grad_state = case(1, T, 2, dtype, (1, T, 2), device)
    check(a, rows(b), state, grad_h, grad_state, reverse, module=cuda_rows, threads=32)


@pytest.mark.parametrize("gate_shape", [(1, 36, 3), (2, 1, 3), (1, 1, 3)], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_rows_with_broadcast_gates(device, gate_shape, reverse):
    B = max(gate_shape[0], 2 - reverse)
    a, b, state, grad_h, grad_state = case(B, 36, 3, torch.float64, gate_shape, device)
    check(a, rows(b), state, grad_h, grad_state, reverse, module=cuda_rows, threads=32)


def test_one_channel_is_a_row(device):
    check(*case(1, 40, 1, torch.float32, (1, 1, 1), device), reverse=True)


def test_nan_reaches_its_own_lane_and_later_steps_only(device):
    a, b, state, *_ = case(2, 12, 3, torch.float32, (2, 12, 3), device)
    b[1, 5, 2] = torch.nan
    h, last = kernels.forward(a, b, state, False, warps=2, n_chunks=2)
    reached = torch.zeros(2, 12, 3, dtype=torch.bool, device=device)
    reached[1, 5:, 2] = True
    assert torch.equal(h.isnan(), reached) and torch.equal(last.isnan(), reached[:, -1])


def test_bitwise_repeatable(device):
    inputs = case(2, 40, 3, torch.float32, (1, 1, 3), device)
    runs = [kernels.backward(*_saved(inputs), True, True, warps=2, n_chunks=2) for _ in range(2)]
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first, second)


def _saved(inputs):
    a, b, state, grad_h, grad_state = inputs
    return a, kernels.forward(a, b, state, True, warps=2)[0], state, grad_h, grad_state


ADJOINTS = [(False, None), (True, None), (True, kernels.FULL), (True, kernels.SUMMED)]
VARIANTS = [(torch.float32, kernels.sweep, (warps, *adjoint)) for warps in (1, 16) for adjoint in ADJOINTS]
VARIANTS += [(dtype, kernels.sweep, (1, *ADJOINTS[2])) for dtype in DTYPES]
VARIANTS += [(dtype, kernels.sweep, (16, *ADJOINTS[3])) for dtype in DTYPES]
VARIANTS += [(dtype, kernels.summarise, (16, True)) for dtype in DTYPES]


@pytest.mark.parametrize(("dtype", "family", "constants"), VARIANTS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_machine_code(compiled, dtype, family, constants):
    code = compiled(family, (dtype, *constants))
    assert code.registers <= (128 if dtype == torch.complex128 else 80 if constants[0] == 1 else 64)
    assert not code.spills
    assert "ld.local" not in code.ptx
    assert "call" not in code.ptx
    if computing_dtype(dtype) in (torch.float32, torch.complex64):
        assert ".f64" not in code.ptx


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("vectors", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_machine_code_of_rows(compiled, dtype, vectors, adjoint):
    code = compiled(cuda_rows.row_sweep, (dtype, cuda_rows.THREADS, vectors, adjoint, adjoint))
    assert code.registers <= (128 if dtype == torch.float64 else 64)
    assert not code.spills
    assert "call" not in code.ptx
    assert ("ld.global.v4" in code.ptx and "st.global.v4" in code.ptx) == vectors or dtype == torch.float64
    if dtype != torch.float64:
        assert ".f64" not in code.ptx
