"""The linear scan against its definition: values, gradients, transforms, broadcasting, memory, streaming."""

import itertools
import mmap
import sys
from pathlib import Path

import pytest
import torch
from scan2d import assert_close
from torch.autograd import gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, vmap

from tsmodels_kernels import linear_scan

TOLERANCE = {torch.float64: 1e-12, torch.complex128: 1e-12, torch.float32: 1e-5, torch.complex64: 1e-5}
GATES = [(2, 5, 3), (3,), (5, 1), (1, 5, 3), (2, 1, 3), (2, 1, 1), ()]
# Every length, width and batch that meets an edge of a vector, tile or block of the kernels, at least once.
SHAPES = [
    (3, 0, 7), (0, 31, 17), (1, 2, 0), (1, 1, 1), (3, 2, 64), (3, 31, 15), (2, 32, 16), (3, 33, 257), (1, 63, 63),
    (3, 127, 1), (20, 63, 1), (1, 127, 65), (3, 1000, 7), (1, 1000, 255), (1, 8191, 17), (2, 33, 2, 3, 5), (4, 9),
]  # fmt: skip
# Widths that take each way through the kernels: one channel, part of a vector, some, more than a vector.
WIDTHS = [1, 3, 7, 40]


def time_contiguous(t):
    return t.transpose(1, 2).contiguous().transpose(1, 2)


def time_major(t):
    return t.transpose(0, 1).contiguous().transpose(0, 1)


def cut_out(t):
    """The same numbers at an offset inside larger memory that is NaN everywhere else."""
    around = torch.full([n + 3 for n in t.shape], float("nan"), dtype=t.dtype)
    inside = around[tuple(slice(2, 2 + n) for n in t.shape)]
    inside.copy_(t)
    return inside


def every_other(t):
    around = torch.full((*t.shape[:-1], 2 * t.shape[-1]), float("nan"), dtype=t.dtype)
    around[..., ::2] = t
    return around[..., ::2]


LAYOUTS = [time_contiguous, time_major, cut_out, every_other]


def exact(dtype):
    return torch.complex128 if dtype.is_complex else torch.float64


def tensors(B, T, *S, dtype=torch.float64, gate=None, requires_grad=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = 0.9 * torch.rand((B, T, *S) if gate is None else gate, dtype=exact(dtype), generator=generator)
    b, state = (torch.randn(shape, dtype=exact(dtype), generator=generator) for shape in ((B, T, *S), (B, *S)))
    return [t.to(dtype).requires_grad_(requires_grad) for t in (a, b, state)]


def results(inputs, weights, reverse=False, backend="auto"):
    """Both outputs and the gradients of all inputs under weights for the outputs."""
    leaves = [t.detach().requires_grad_() for t in inputs]
    outputs = linear_scan(leaves[0], leaves[1], state=leaves[2], reverse=reverse, backend=backend)
    grads = torch.autograd.grad(outputs, leaves, weights, allow_unused=True)
    zeros = [torch.zeros_like(t) if g is None else g for t, g in zip(leaves, grads, strict=True)]
    return [*(out.detach() for out in outputs), *zeros]


def weights_for(inputs):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(t.shape, dtype=exact(t.dtype), generator=generator).to(t.dtype) for t in inputs[1:]]


def assert_equals_definition(inputs, weights, reverse):
    """Outputs and gradients against the definition in double precision."""
    expected = results(
        [t.to(exact(t.dtype)) for t in inputs], [w.to(exact(w.dtype)) for w in weights], reverse, "reference"
    )
    names = ("h", "last", "gradient of a", "gradient of b", "gradient of state")
    for name, got, want in zip(names, results(inputs, weights, reverse), expected, strict=True):
        assert exact(got.dtype) == want.dtype
        assert_close(got, want, (10 if "gradient" in name else 1) * TOLERANCE[got.dtype], name)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_equals_definition(shape, dtype, reverse):
    inputs = tensors(*shape, dtype=dtype)
    assert_equals_definition(inputs, weights_for(inputs), reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("D", WIDTHS)
def test_any_layout_of_inputs_and_gradients(D, layout, reverse):
    for dtype in TOLERANCE:
        inputs = tensors(5, 70, D, dtype=dtype)
        weights = weights_for(inputs)
        assert_equals_definition(
            [*map(layout, inputs[:2]), every_other(inputs[2])], [layout(weights[0]), every_other(weights[1])], reverse
        )


@pytest.mark.parametrize("layout", [torch.clone, time_contiguous])
@pytest.mark.parametrize("gate", [(2, 37, 20), (20,), (37, 1), (1, 37, 20), (2, 1, 20), (2, 1, 1), ()], ids=str)
def test_every_broadcast_of_the_gate(gate, layout):
    for dtype, reverse in itertools.product(TOLERANCE, [False, True]):
        a, b, state = tensors(2, 37, 20, dtype=dtype, gate=gate)
        inputs = [a, layout(b), state]
        assert_equals_definition(inputs, weights_for(inputs), reverse)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_gate_per_channel_of_a_grid(dtype):
    inputs = tensors(2, 6, 5, 4, 3, dtype=dtype, gate=(5, 1, 1))
    assert_equals_definition(inputs, weights_for(inputs), False)


@pytest.mark.parametrize("D", WIDTHS)
def test_inputs_and_gradients_that_repeat_memory(D):
    a, b, state = tensors(3, 40, D)
    repeated = [a[:, :1].expand_as(a), b[:1, :1, :1].expand_as(b), state[:1].expand_as(state)]
    weights = [torch.ones((), dtype=b.dtype).expand_as(b), torch.ones((), dtype=b.dtype).expand_as(state)]
    assert_equals_definition(repeated, weights, False)
    windows = torch.arange(40.0 + D, dtype=b.dtype).cos().as_strided((3, 40, D), (0, 1, 1))
    assert_equals_definition([a, windows, state], weights, True)


@pytest.mark.parametrize("D", WIDTHS)
def test_gradient_of_a_shared_gate_over_many_steps(D):
    """Thousands of terms of one sign: their sum in float32 must not drift."""
    inputs = [torch.full((D,), 0.9), torch.ones(2, 20_000, D), torch.ones(2, D)]
    weights = [torch.ones(2, 20_000, D), torch.ones(2, D)]
    doubles = results([t.double() for t in inputs], [w.double() for w in weights])
    for got, want in zip(results(inputs, weights), doubles, strict=True):
        assert_close(got, want, 1e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("gate", GATES, ids=str)
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
    for x, s in ((b, state), (b.conj(), state.conj())):
        promoted = linear_scan(a.to(b.dtype), x, state=s)
        for got, want in zip(linear_scan(a, x, state=s), promoted, strict=True):
            assert_close(got, want, 1e-14)


def test_function_transforms_agree_with_the_definition():
    a, b, state = tensors(2, 5, 3)

    def loss(backend):
        return lambda a, b: linear_scan(a, b, state=state, backend=backend)[0].sin().sum()

    auto, reference = loss("auto"), loss("reference")
    batch = torch.stack([b, 2 * b, -b])
    assert_close(grad(auto)(a, b), grad(reference)(a, b), 1e-12)
    assert_close(vmap(grad(auto), (None, 0))(a, batch), vmap(grad(reference), (None, 0))(a, batch), 1e-12)
    assert_close(vmap(auto, (None, 0))(a, batch), torch.stack([reference(a, x) for x in batch]), 1e-12)
    expected = jacrev(reference)(a, b)
    assert_close(jacrev(auto)(a, b), expected, 1e-12)
    assert_close(jacfwd(auto)(a, b), expected, 1e-12)
    assert_close(hessian(auto)(a, b), hessian(reference)(a, b), 1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("layout", [torch.clone, time_contiguous])
@pytest.mark.parametrize("D", [*WIDTHS, 257])
def test_chunks_with_carried_state_equal_the_whole_bitwise(D, layout, reverse):
    for dtype in TOLERANCE:
        a, b, state = tensors(2, 71, D, dtype=dtype)
        a, b = layout(a), layout(b)
        whole, last = linear_scan(a, b, state=state, reverse=reverse)
        parts, carried = [], state
        for chunk in [slice(0, 6), slice(6, 48), slice(48, 71)][:: -1 if reverse else 1]:
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


@pytest.mark.parametrize("layout", [torch.clone, time_contiguous])
@pytest.mark.parametrize("shape", [(5, 300, 300), (1, 300, 1025), (40, 900, 7), (40, 2000, 1)], ids=str)
def test_bitwise_equal_for_any_number_of_threads(shape, layout):
    for gate in (shape, shape[2:]):
        a, b, state = tensors(*shape, dtype=torch.float32, gate=gate)
        inputs = [a, layout(b), state]
        weights, seen = weights_for(inputs), []
        for n_threads in (1, 2, 4, 7):
            torch.set_num_threads(n_threads)
            seen.append(results(inputs, weights))
        for other in seen[1:]:
            assert all(torch.equal(x, y) for x, y in zip(seen[0], other, strict=True))


@pytest.mark.parametrize("layout", [torch.clone, time_contiguous])
@pytest.mark.parametrize("D", WIDTHS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_inf_reach_what_the_definition_says(bad, D, layout):
    """No other batch element, no other channel, and of the steps only those after it (gradients: before)."""
    for spoilt in range(5):
        inputs = tensors(3, 40, D)
        every = [*inputs, *weights_for(inputs)]
        every[spoilt][(1, 21, D // 2) if every[spoilt].ndim == 3 else (1, D // 2)] = bad
        inputs, weights = [*map(layout, every[:2]), every[2]], [layout(every[3]), every[4]]
        for reverse in (False, True):
            expected = results(inputs, weights, reverse, "reference")
            for got, want in zip(results(inputs, weights, reverse), expected, strict=True):
                assert torch.equal(torch.isfinite(got), torch.isfinite(want))
                assert torch.equal(torch.isnan(got), torch.isnan(want))


def test_lazily_conjugated_and_negated_inputs():
    a, b, state = tensors(2, 40, 8, dtype=torch.complex128)
    lazy = a.conj(), b.conj(), state.conj()
    assert all(t.is_conj() for t in lazy)
    for got, want in zip(
        linear_scan(lazy[0], lazy[1], state=lazy[2]),
        linear_scan(*(t.resolve_conj() for t in lazy[:2]), state=lazy[2].resolve_conj()),
        strict=True,
    ):
        assert torch.equal(got, want)
    imaginary = lazy[1].imag
    assert imaginary.is_neg()
    assert torch.equal(linear_scan(a.real, imaginary)[0], linear_scan(a.real, -b.imag)[0])


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and maps memory without reserving it")
def test_offsets_past_two_to_the_31():
    stride = 2**31 + 1024
    private, anonymous, no_reserve = mmap.MAP_PRIVATE, mmap.MAP_ANONYMOUS, 0x4000
    try:
        space = [mmap.mmap(-1, 4 * (stride + 1024), flags=private | anonymous | no_reserve) for _ in range(3)]
    except OSError as error:
        pytest.skip(f"the system lends no 26 GB of address space: {error}")
    before = resident_bytes()
    memory = [torch.frombuffer(part, dtype=torch.float32) for part in space]
    a, b, state = tensors(2, 4, 256, dtype=torch.float32)
    weights = weights_for([a, b, state])
    for width, strides in itertools.product((256, 7, 1), ((stride, 256, 1), (stride, 1, 4))):
        compact = [t[..., :width] for t in (a, b, weights[0])]
        far = [part.as_strided((2, 4, width), strides) for part in memory]
        for target, source in zip(far, compact, strict=True):
            target.copy_(source)
        last = [state[:, :width], weights[1][:, :width]]
        got = results([*far[:2], last[0]], [far[2], last[1]])
        for one, other in zip(got, results([*compact[:2], last[0]], [compact[2], last[1]]), strict=True):
            assert_close(one, other, 1e-6)
    assert resident_bytes() - before < 4e8


@pytest.mark.parametrize("layout", [torch.clone, time_contiguous])
def test_inputs_are_not_written_and_outputs_are_new_memory(layout):
    for D in WIDTHS:
        for T in (0, 1, 40):
            a, b, state = tensors(3, T, D)
            inputs = [layout(a), layout(b), state]
            weights = [layout(w) for w in weights_for(inputs)[:1]] + weights_for(inputs)[1:]
            copies = [t.clone() for t in (*inputs, *weights)]
            outputs = results(inputs, weights)
            assert all(torch.equal(t, c) for t, c in zip((*inputs, *weights), copies, strict=True))
            owned = {t.untyped_storage().data_ptr() for t in (*inputs, *weights) if t.numel()}
            fresh = [out.untyped_storage().data_ptr() for out in outputs if out.numel()]
            assert not owned & set(fresh)
            assert len(fresh) == len(set(fresh))


@pytest.mark.parametrize(
    "shape", [(3, 5, 4), (3, 5, 1), (3, 0, 4), (0, 5, 4), (1, 5, 4), (3, 1, 4), (1, 1, 1)], ids=str
)
def test_meta_tensors_have_the_shapes_and_layouts_of_the_results(shape):
    """Layouts of the CPU: fake tensors, because real ones on the device "meta" stand for any device."""
    from torch._subclasses import FakeTensorMode

    raw = torch.ops.tsmodels
    for layout, gate in itertools.product((torch.clone, time_contiguous), (shape, shape[2:], shape[1:])):
        a, b, state = tensors(*shape, dtype=torch.float32, gate=gate)
        a, b = a.reshape((1,) * (3 - a.ndim) + a.shape), layout(b)
        h, _ = raw.linear_scan(a, b, state, False)
        real = [*raw.linear_scan(a, b, state, False), *raw.linear_scan_backward(a, h, state, b, state, False, True)]
        meta = [t.to("meta") for t in (a, b, state)]
        assert [o.shape for o in raw.linear_scan(*meta, False)] == [o.shape for o in real[:2]]
        with FakeTensorMode() as mode:
            a, b, state, h = (mode.from_tensor(t) for t in (a, b, state, h))
            fake = [*raw.linear_scan(a, b, state, False), *raw.linear_scan_backward(a, h, state, b, state, False, True)]
        for one, other in zip(fake, real, strict=True):
            assert (one.shape, one.dtype, one.stride()) == (other.shape, other.dtype, other.stride())


def test_contiguous_time_stays_contiguous():
    _, b, state = tensors(2, 9, 4)
    h, _ = linear_scan(torch.tensor(0.5, dtype=b.dtype), time_contiguous(b), state=state)
    assert h.transpose(1, 2).is_contiguous()
    assert linear_scan(torch.tensor(0.5, dtype=b.dtype), b, state=state)[0].is_contiguous()


def test_autocast_leaves_the_dtype_of_the_inputs():
    a, b, state = tensors(2, 9, 3, dtype=torch.float32, requires_grad=True)
    expected = linear_scan(a, b, state=state)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a[0] @ b[0].mT).dtype == torch.bfloat16
        outputs = linear_scan(a, b, state=state)
    assert all(torch.equal(x, y) for x, y in zip(outputs, expected, strict=True))
    inputs = (a, b, state)
    for got, want in zip(*(torch.autograd.grad(o[0].sum(), inputs) for o in (outputs, expected)), strict=True):
        assert torch.equal(got, want)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, (3e-3, 1e-2)), (torch.bfloat16, (3e-2, 5e-2))])
def test_half_precision_is_computed_in_float32(dtype, tolerance):
    a, b, state = (t.to(dtype) for t in tensors(2, 90, 20))
    h, last = linear_scan(a, b, state=state)
    assert (h.dtype, last.dtype) == (dtype, torch.float32)
    exactly = linear_scan(a.double(), b.double(), state=state.double())
    assert_close(last, exactly[1], 1e-5)
    assert_close(h, exactly[0], tolerance[0])
    assert torch.equal(linear_scan(a, b, state=state.float())[0], h)
    weights = [torch.randn(b.shape).to(dtype), torch.randn(state.shape)]
    doubles = results([t.double() for t in (a, b, state)], [w.double() for w in weights])
    for got, want in zip(results([a, b, state], weights)[2:], doubles[2:], strict=True):
        assert got.dtype == dtype
        assert_close(got, want, tolerance[1])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda a, b, s: linear_scan(a, b[0, 0]), ValueError, "at least 2 axes"),
        (lambda a, b, s: linear_scan(a[:, :3], b), ValueError, "does not broadcast to b"),
        (lambda a, b, s: linear_scan(a.unsqueeze(0), b), ValueError, "does not broadcast to b"),
        (lambda a, b, s: linear_scan(a, b[:1]), ValueError, "does not broadcast to b"),
        (lambda a, b, s: linear_scan(a, b, state=s[:1]), ValueError, r"state must have shape \(B, \*S\)"),
        (lambda a, b, s: linear_scan(a.float(), b), TypeError, "a has dtype torch.float32, b has torch.float64"),
        (lambda a, b, s: linear_scan(a.half(), b.bfloat16()), TypeError, "a has dtype torch.float16"),
        (lambda a, b, s: linear_scan(a, b.long()), TypeError, "b has dtype torch.int64"),
        (lambda a, b, s: linear_scan(a, b.tolist()), TypeError, "b must be a torch.Tensor, got list"),
        (lambda a, b, s: linear_scan(a + 0j, b), TypeError, "a has dtype torch.complex128"),
        (lambda a, b, s: linear_scan(a.tolist(), b), TypeError, "a must be a torch.Tensor, got list"),
        (lambda a, b, s: linear_scan(a.tolist(), b + 0j), TypeError, "a must be a torch.Tensor, got list"),
        (lambda a, b, s: linear_scan(a, b, state=s.tolist()), TypeError, "state must be a torch.Tensor, got list"),
        (lambda a, b, s: linear_scan(a, b, state=s.float()), TypeError, "state has dtype torch.float32"),
        (lambda a, b, s: linear_scan(a, b, state=s.to("meta")), TypeError, "state is on meta, b on cpu"),
        (lambda a, b, s: linear_scan(a.to("meta"), b), TypeError, "a is on meta, b on cpu"),
        (lambda a, b, s: linear_scan(a.half(), b.half(), state=s), TypeError, "state has dtype torch.float64"),
        (lambda a, b, s: linear_scan(a.to("meta"), b.to("meta")), NotImplementedError, "move the tensors to the CPU"),
        (lambda a, b, s: linear_scan(a, b, backend="cuda"), ValueError, "cannot run on a tensor on cpu"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(*tensors(2, 5, 3))
