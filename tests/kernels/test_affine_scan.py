"""The affine scan: values and derivatives against its definition, identities, layouts, NaN, errors."""

import pytest
import torch

from tsmodels_kernels import affine_scan, linear_scan
from tsmodels_kernels._affine_scan.op import adjoint_scan

VALUE = {torch.float32: 1e-5, torch.float64: 1e-12}
GRADIENT = {torch.float32: 1e-4, torch.float64: 1e-12}


def case(B, T, M, dtype=torch.float64, seed=0):
    """J, b and state, along which errors do not grow."""
    generator = torch.Generator().manual_seed(seed)
    J, b, state = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((B, T, M, M), (B, T, M), (B, M))
    )
    return (J / (1.5 * max(M, 1) ** 0.5)).to(dtype), b.to(dtype), state.to(dtype)


def close(got, expected, tolerance):
    assert got.shape == expected.shape
    if expected.numel():
        error = (got.double() - expected.double()).abs().max() / max(1.0, expected.abs().max())
        assert error <= tolerance, f"{error:.2e}"


SIZES = [(1, 1, 1), (3, 2, 2), (2, 63, 3), (5, 17, 7), (1, 200, 8), (2, 33, 15), (2, 9, 16), (2, 9, 17), (1, 5, 64),
         (2, 3, 70), (0, 4, 3), (2, 0, 3), (2, 4, 0)]  # fmt: skip


@pytest.mark.parametrize("dtype", VALUE, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_values_and_gradients_equal_the_definition(size, reverse, dtype):
    tensors = case(*size, dtype)
    leaves = [t.clone().requires_grad_() for t in tensors]
    exact = [t.double().requires_grad_() for t in tensors]
    J, b, state = leaves
    got = affine_scan(J, b, state=state, reverse=reverse)
    expected = affine_scan(exact[0], exact[1], state=exact[2], reverse=reverse, backend="reference")
    weights = [torch.randn(t.shape, generator=torch.Generator().manual_seed(1)).double() for t in expected]
    grads = torch.autograd.grad(got, leaves, [w.to(dtype) for w in weights])
    wanted = torch.autograd.grad(expected, exact, weights, allow_unused=True, materialize_grads=True)
    for result, reference in zip(got, expected, strict=True):
        assert result.dtype == dtype
        close(result, reference, VALUE[dtype])
    for result, reference in zip(grads, wanted, strict=True):
        close(result, reference, GRADIENT[dtype])


def test_by_hand():
    J = torch.tensor([[[[1.0, 2.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 1.0]]]])
    b, state = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[1.0, 1.0]])
    for backend in ("cpu", "reference"):
        s, last = affine_scan(J, b, state=state, backend=backend)
        assert s.tolist() == [[[4.0, 1.0], [1.0, 6.0]]] and last.tolist() == [[1.0, 6.0]]
        s, last = affine_scan(J, b, state=state, reverse=True, backend=backend)
        assert s.tolist() == [[[8.0, 3.0], [1.0, 3.0]]] and last.tolist() == [[8.0, 3.0]]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("outputs", [slice(0, 1), slice(1, 2), slice(0, 2)], ids=["states", "last", "both"])
def test_gradients_of_gradients_against_finite_differences(reverse, outputs):
    def scan(J, b, state):
        return affine_scan(J, b, state=state, reverse=reverse)[outputs]

    leaves = [t.requires_grad_() for t in case(2, 3, 2)]
    assert torch.autograd.gradcheck(scan, leaves)
    assert torch.autograd.gradgradcheck(scan, leaves)


def test_the_adjoint_alone():
    J, grad, _ = case(2, 5, 3)
    b, state = torch.zeros(2, 5, 3).double().requires_grad_(), torch.zeros(2, 3).double().requires_grad_()
    expected = torch.autograd.grad(affine_scan(J, b, state=state, backend="reference")[0], (b, state), grad)
    for backend in ("auto", "reference"):
        for got, reference in zip(adjoint_scan(J, grad, backend=backend), expected, strict=True):
            close(got, reference, 1e-14)
    nothing = adjoint_scan(J[:, :0], grad[:, :0], backend="reference")
    assert nothing[0].shape == (2, 0, 3) and torch.equal(nothing[1], torch.zeros(2, 3).double())


def test_the_adjoint_as_an_operator_of_its_own():
    J, b, state = case(2, 4, 3, torch.float32)
    outcome = torch.library.opcheck(torch.ops.tsmodels.affine_scan.default, (J, b, state, True, True))
    assert set(outcome.values()) == {"SUCCESS"}


def test_chunks_with_the_state_carried_on_are_the_whole():
    J, b, state = case(3, 20, 5, torch.float32)
    whole, last = affine_scan(J, b, state=state)
    first, carried = affine_scan(J[:, :7], b[:, :7], state=state)
    second, end = affine_scan(J[:, 7:], b[:, 7:], state=carried)
    assert torch.equal(torch.cat([first, second], 1), whole) and torch.equal(end, last)


def test_reverse_is_the_scan_of_what_is_flipped():
    J, b, state = case(3, 9, 5)
    got, last = affine_scan(J, b, state=state, reverse=True)
    expected, end = affine_scan(J.flip(1), b.flip(1), state=state)
    assert torch.equal(got, expected.flip(1)) and torch.equal(last, end)


@pytest.mark.parametrize("reverse", [False, True])
def test_diagonals_are_the_linear_scan(reverse):
    J, b, state = case(3, 9, 5)
    gates = J.diagonal(dim1=-2, dim2=-1)
    got = affine_scan(gates, b, state=state, reverse=reverse)
    for result, expected in zip(got, linear_scan(gates, b, state=state, reverse=reverse), strict=True):
        assert torch.equal(result, expected)
    for result, expected in zip(
        got, affine_scan(torch.diag_embed(gates), b, state=state, reverse=reverse), strict=True
    ):
        close(result, expected, 1e-14)


def test_without_a_state_it_is_zero():
    J, b, state = case(2, 4, 3)
    assert torch.equal(affine_scan(J, b)[0], affine_scan(J, b, state=torch.zeros_like(state))[0])


def test_inputs_of_any_layout():
    J, b, state = case(4, 6, 3)
    expected = affine_scan(J, b, state=state)
    strided = J.mT.contiguous().mT, torch.stack([b, b], -1)[..., 0], state.t().contiguous().t()
    for got, reference in zip(affine_scan(*strided[:2], state=strided[2]), expected, strict=True):
        assert torch.equal(got, reference)
    shared = J[:1, :1].expand(4, 6, 3, 3)
    assert torch.equal(affine_scan(shared, b)[0], affine_scan(shared.contiguous(), b)[0])
    leaf = b.clone().requires_grad_()
    affine_scan(J, leaf)[0].sum().backward()  # its gradient arrives expanded
    (expected_gradient,) = torch.autograd.grad(affine_scan(J, leaf, backend="reference")[0].sum(), leaf)
    close(leaf.grad, expected_gradient, 1e-14)


def test_nan_and_infinity_reach_later_steps_of_their_sequence_only():
    for value in (torch.nan, torch.inf):
        J, b, state = case(3, 7, 5, torch.float32)
        b[1, 3, 2] = value
        got, expected = affine_scan(J, b, state=state), affine_scan(J, b, state=state, backend="reference")
        for result, reference in zip(got, expected, strict=True):
            assert torch.equal(result.isnan(), reference.isnan())
        assert got[0][[0, 2]].isfinite().all() and got[0][1, :3].isfinite().all()
        assert not got[0][1, 4:].isfinite().any()


def test_transforms_of_torch_func():
    J, b, state = case(6, 5, 3)

    def loss(J, b, state):
        s, last = affine_scan(J, b, state=state)
        return s.square().sum() + last.sum()

    expected = torch.func.grad(loss, (0, 1, 2))(J, b, state)
    stacked = [t.unflatten(0, (2, 3)) for t in (J, b, state)]
    for got, reference in zip(torch.func.vmap(torch.func.grad(loss, (0, 1, 2)))(*stacked), expected, strict=True):
        close(got.flatten(0, 1), reference, 1e-13)
    shared = torch.func.vmap(lambda b: affine_scan(J[:3], b)[0])(stacked[1])
    close(shared[1], affine_scan(J[:3], b[3:])[0], 1e-14)


def zeros(*shape):
    return torch.zeros(shape)


@pytest.mark.parametrize(
    ("J", "b", "state", "error", "message"),
    [
        (zeros(2, 4, 3, 2), zeros(2, 4, 3), None, ValueError, r"J must have shape \(B, T, M, M\) = \(2, 4, 3, 3\)"),
        (zeros(2, 1, 3), zeros(2, 4, 3), None, ValueError, "of diagonals"),
        (zeros(4, 3, 3), zeros(4, 3), None, ValueError, r"b must have shape \(B, T, M\), got \(4, 3\)"),
        (zeros(2, 4, 3, 3), zeros(2, 4, 3), zeros(2, 4), ValueError, r"state must have shape \(B, M\) = \(2, 3\)"),
        (zeros(2, 4, 3, 3).double(), zeros(2, 4, 3), None, TypeError, "J has dtype torch.float64, b has torch.float32"),
        (zeros(2, 4, 3, 3).half(), zeros(2, 4, 3).half(), None, TypeError, "convert it and the others"),
        ([1.0], zeros(2, 4, 3), None, TypeError, "J must be a torch.Tensor, got list"),
        (zeros(2, 4, 3, 3).to("meta"), zeros(2, 4, 3), None, TypeError, "put them on one device"),
    ],
)
def test_bad_arguments_are_named(J, b, state, error, message):
    with pytest.raises(error, match=message):
        affine_scan(J, b, state=state)
