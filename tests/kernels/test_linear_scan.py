"""The linear scan against its definition: values, gradients of any order, transforms, broadcasting, streaming."""

import itertools

import pytest
import torch
from scan2d import assert_close
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, vmap

from tsmodels_kernels import linear_scan

TOLERANCE = {torch.float64: 1e-12, torch.complex128: 1e-12, torch.float32: 1e-5, torch.complex64: 1e-5}
GATES = [(2, 5, 3), (3,), (5, 1), (1, 5, 3), (2, 1, 3), (2, 1, 1), ()]


def tensors(B, T, *S, dtype=torch.float64, gate=None, requires_grad=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    exact = torch.complex128 if dtype.is_complex else torch.float64
    a = 0.9 * torch.rand((B, T, *S) if gate is None else gate, dtype=exact, generator=generator)
    b, state = (torch.randn(shape, dtype=exact, generator=generator) for shape in ((B, T, *S), (B, *S)))
    return [t.to(dtype).requires_grad_(requires_grad) for t in (a, b, state)]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "shape", [(3, 0, 4), (0, 3, 4), (1, 1, 1), (2, 31, 7), (1, 1000, 17), (3, 63, 257), (2, 33, 2, 3, 5), (4, 9)]
)
def test_equals_definition(shape, dtype, reverse):
    a, b, state = tensors(*shape, dtype=dtype, requires_grad=True)
    exact = [
        t.detach().to(torch.complex128 if dtype.is_complex else torch.float64).requires_grad_() for t in (a, b, state)
    ]
    actual = linear_scan(a, b, state=state, reverse=reverse)
    expected = linear_scan(exact[0], exact[1], state=exact[2], reverse=reverse, backend="reference")
    for got, want in zip(actual, expected, strict=True):
        assert got.dtype == dtype
        assert_close(got, want, TOLERANCE[dtype])
    weights = [torch.randn_like(out) for out in expected]
    got = torch.autograd.grad(actual, (a, b, state), [w.to(dtype) for w in weights])
    want = torch.autograd.grad(expected, exact, weights, allow_unused=True)
    for one, other in zip(got, want, strict=True):
        assert_close(one, torch.zeros_like(one) if other is None else other, 10 * TOLERANCE[dtype])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("gate", GATES)
def test_gradients_with_every_broadcast(gate, dtype, reverse):
    inputs = tensors(2, 5, 3, dtype=dtype, gate=gate, requires_grad=True)

    def function(a, b, state):
        return linear_scan(a, b, state=state, reverse=reverse)

    assert gradcheck(function, inputs, check_forward_ad=True, check_batched_grad=True)
    for output in (0, 1):
        assert gradcheck(lambda *t, output=output: function(*t)[output], inputs)


@pytest.mark.parametrize(("gate", "reverse"), list(itertools.product([(2, 5, 3), (3,), (5, 1)], [False, True])))
def test_second_derivatives(gate, reverse):
    inputs = tensors(2, 5, 3, gate=gate, requires_grad=True)
    assert gradgradcheck(lambda a, b, s: linear_scan(a, b, state=s, reverse=reverse), inputs)


def test_real_gate_with_complex_input():
    a = tensors(2, 5, 3, gate=(5, 1), requires_grad=True)[0]
    _, b, state = tensors(2, 5, 3, dtype=torch.complex128, requires_grad=True)
    assert gradcheck(lambda *t: linear_scan(t[0], t[1], state=t[2]), (a, b, state))
    promoted, _ = linear_scan(a.to(b.dtype), b, state=state)
    assert_close(linear_scan(a, b, state=state)[0], promoted, 1e-14)


def test_function_transforms_agree_with_the_definition():
    a, b, state = tensors(2, 5, 3)

    def loss(backend):
        return lambda a, b: linear_scan(a, b, state=state, backend=backend)[0].sin().sum()

    auto, reference = loss("auto"), loss("reference")
    batch = torch.stack([b, 2 * b, -b])
    assert_close(vmap(grad(auto), (None, 0))(a, batch), vmap(grad(reference), (None, 0))(a, batch), 1e-12)
    assert_close(vmap(auto, (None, 0))(a, batch), torch.stack([reference(a, x) for x in batch]), 1e-12)
    expected = jacrev(reference)(a, b)
    assert_close(jacrev(auto)(a, b), expected, 1e-12)
    assert_close(jacfwd(auto)(a, b), expected, 1e-12)
    assert_close(hessian(auto)(a, b), hessian(reference)(a, b), 1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_chunks_with_carried_state_equal_the_whole_bitwise(reverse):
    a, b, state = tensors(2, 17, 5)
    whole, last = linear_scan(a, b, state=state, reverse=reverse)
    parts, carried = [], state
    for chunk in [slice(0, 6), slice(6, 17)][:: -1 if reverse else 1]:
        h, carried = linear_scan(a[:, chunk], b[:, chunk], state=carried, reverse=reverse)
        parts.append(h)
    assert torch.equal(torch.cat(parts[:: -1 if reverse else 1], 1), whole)
    assert torch.equal(carried, last)


def test_reverse_is_flip_scan_flip_and_simple_gates():
    a, b, state = tensors(2, 9, 4)
    flipped, last = linear_scan(a.flip(1), b.flip(1), state=state)
    reverse, first = linear_scan(a, b, state=state, reverse=True)
    assert torch.equal(reverse, flipped.flip(1))
    assert torch.equal(first, last)
    assert torch.equal(linear_scan(torch.zeros_like(a), b)[0], b)
    powers = linear_scan(torch.tensor(0.5, dtype=b.dtype), torch.zeros_like(b), state=torch.ones_like(state))[0]
    assert torch.equal(powers[0, :, 0], 0.5 ** torch.arange(1, 10, dtype=b.dtype))


def test_bitwise_equal_for_any_number_of_threads():
    inputs = tensors(5, 300, 300, dtype=torch.float32, requires_grad=True)
    results = []
    for n_threads in (1, 2, 4, 7):
        torch.set_num_threads(n_threads)
        outputs = linear_scan(*inputs[:2], state=inputs[2])
        results.append([*outputs, *torch.autograd.grad([o.sum() for o in outputs], inputs)])
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(results[0], other, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_inf_reach_later_states_of_their_channel_only(bad):
    for spoilt in ("a", "b"):
        a, b, state = tensors(2, 6, 3)
        {"a": a, "b": b}[spoilt][0, 2, 1] = bad
        finite = torch.isfinite(linear_scan(a, b, state=state)[0])
        expected = torch.ones_like(finite)
        expected[0, 2:, 1] = False
        assert torch.equal(finite, expected)


def test_strided_inputs():
    a, b, state = tensors(2, 6, 8)
    strided = [t.movedim(0, -1).contiguous().movedim(-1, 0) for t in (a, b, state)]
    assert torch.equal(linear_scan(strided[0], strided[1], state=strided[2])[0], linear_scan(a, b, state=state)[0])
    conjugate = tensors(2, 6, 8, dtype=torch.complex128)[1].conj()
    assert conjugate.is_conj()
    assert torch.equal(linear_scan(conjugate, conjugate)[0], linear_scan(*[conjugate.resolve_conj()] * 2)[0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    a, b, state = (t.to(dtype) for t in tensors(2, 9, 3))
    h, last = linear_scan(a, b, state=state)
    assert (h.dtype, last.dtype) == (dtype, torch.float32)
    assert_close(last, linear_scan(a.double(), b.double(), state=state.double())[1], 1e-5)
    kept, _ = linear_scan(a, b, state=state.float())
    assert torch.equal(h, kept)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a, b, s: linear_scan(a, b[0, 0]), ValueError, "at least 2 axes"),
        (lambda a, b, s: linear_scan(a[:, :3], b), ValueError, "does not broadcast to b"),
        (lambda a, b, s: linear_scan(a.unsqueeze(0), b), ValueError, "does not broadcast to b"),
        (lambda a, b, s: linear_scan(a, b, state=s[:1]), ValueError, r"state must have shape \(B, \*S\)"),
        (lambda a, b, s: linear_scan(a.float(), b), TypeError, "a has dtype torch.float32, b has torch.float64"),
        (lambda a, b, s: linear_scan(a, b.long()), TypeError, "b has dtype torch.int64"),
        (lambda a, b, s: linear_scan(a + 0j, b), TypeError, "a has dtype torch.complex128"),
        (lambda a, b, s: linear_scan(0.5, b), TypeError, "a must be a torch.Tensor, got float"),
        (lambda a, b, s: linear_scan(a, b, state=s.float()), TypeError, "state has dtype torch.float32"),
        (lambda a, b, s: linear_scan(a, b, backend="cuda"), ValueError, "cannot run on a tensor on cpu"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(*tensors(2, 5, 3))
