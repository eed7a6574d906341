"""CUDA kernels of the selective scan: values and gradients against the definition, registers of the compiled code."""

import pytest
import torch

pytest.importorskip("numba_cuda", reason="needs numba-cuda")
from tsmodels_kernels._backend import computing_dtype
from tsmodels_kernels._selective_scan import cuda as kernels
from tsmodels_kernels._selective_scan.cuda_backward import adjoint
from tsmodels_kernels._selective_scan.cuda_forward import scan
from tsmodels_kernels._selective_scan.cuda_segments import link, summarise
from tsmodels_kernels._selective_scan.ref import selective_scan_ref

VALUE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 3e-3, torch.bfloat16: 3e-2}
GRADIENT = {torch.float64: 1e-12, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
NAMES = ("x", "dt", "A", "B", "C", "D", "z", "dt_bias", "state")
EVERYTHING = frozenset({"D", "z", "dt_bias", "state", "softplus"})
SMALL = {"threads": 32}  # blocks that the simulator runs quickly


def arguments(device, B, T, D, N, *, groups=1, dtype=torch.float64, options=EVERYTHING, seed=0):
    """The nine tensors of the operator, those not among the options None, and gradients of its two outputs."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    tensors = {"x": draw(B, T, D), "dt": draw(B, T, D), "A": -0.2 - draw(D, N).abs()}
    tensors |= {"B": draw(B, T, groups, N), "C": draw(B, T, groups, N)}
    tensors |= {"D": draw(D), "z": draw(B, T, D), "dt_bias": 0.3 * draw(D), "state": draw(B, D, N)}
    if "softplus" not in options:
        tensors["dt"], tensors["dt_bias"] = 0.3 * tensors["dt"].abs(), 0.1 * tensors["dt_bias"].abs()
    stored = dict.fromkeys(("x", "dt", "B", "C", "z"), dtype)
    inputs = [
        t.to(stored.get(name, computing_dtype(dtype))).to(device) if name in {*NAMES[:5], *options} else None
        for name, t in tensors.items()
    ]
    return inputs, draw(B, T, D).to(dtype).to(device), draw(B, D, N).to(computing_dtype(dtype)).to(device)


def exact(tensor):
    return None if tensor is None else tensor.detach().cpu().double().requires_grad_()


def expected_values(inputs, grad_y, grad_state, softplus, reverse):
    leaves = [exact(t) for t in inputs]
    y, last = selective_scan_ref(*leaves, softplus, reverse)
    present = [t for t in leaves if t is not None]
    grads = iter(torch.autograd.grad([y, last], present, [exact(grad_y), exact(grad_state)], materialize_grads=True))
    return y.detach(), last.detach(), [None if t is None else next(grads) for t in leaves]


def assert_close(got, expected, tolerance, name):
    assert got.shape == expected.shape, name
    if got.numel():
        error = (got.cpu().double() - expected).abs().max() / expected.abs().max().clamp(min=1e-30)
        assert error <= tolerance, f"{name}: {error:.1e}"


def check(inputs, grad_y, grad_state, softplus=True, reverse=False, **cut):
    y, last, grads = expected_values(inputs, grad_y, grad_state, softplus, reverse)
    dtype = inputs[0].dtype
    got_y, got_last, checkpoints = kernels.forward(*inputs, softplus, reverse, True, **cut)
    assert got_y.dtype == dtype and got_last.dtype == computing_dtype(dtype)
    assert_close(got_y, y, VALUE[dtype], "y")
    assert_close(got_last, last, VALUE[dtype], "last")
    got = kernels.backward(grad_y, grad_state, *inputs, checkpoints, softplus, reverse, **cut)
    for name, tensor, value, reference in zip(NAMES, inputs, got, grads, strict=True):
        if tensor is None:
            assert value.numel() == 0
        else:
            assert value.dtype == tensor.dtype
            assert_close(value, reference, GRADIENT[dtype], name)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("B", "T", "D", "N"), [(1, 1, 1, 1), (2, 31, 1, 4), (1, 32, 7, 16), (1, 33, 9, 17), (2, 3, 33, 2), (1, 65, 2, 20)]
)
def test_shapes(device, B, T, D, N, reverse):
    check(*arguments(device, B, T, D, N), reverse=reverse, **SMALL)


@pytest.mark.parametrize(
    "options", ["", "D", "z", "dt_bias", "state", "softplus", "D z", "dt_bias softplus z", "state D"]
)
def test_options(device, options):
    options = options.split()
    check(*arguments(device, 1, 6, 3, 3, options=options), softplus="softplus" in options, **SMALL)


@pytest.mark.parametrize(
    "dtype",  # half precision is in test_operators
    [torch.float64, torch.float32, *(pytest.param(d, marks=pytest.mark.slow) for d in (torch.float16, torch.bfloat16))],
    ids=str,
)
def test_the_block_that_ships(device, dtype):
    check(*arguments(device, 1, 38, 5, 16, dtype=dtype), reverse=True)


@pytest.mark.parametrize("groups", [2, 6])
def test_groups(device, groups):
    check(*arguments(device, 2, 9, 12, 5, groups=groups), **SMALL)


@pytest.mark.parametrize(("dtype", "N"), [(torch.float32, 64), (torch.float32, 70), (torch.float64, 33)], ids=str)
def test_many_states(device, dtype, N):
    check(*arguments(device, 1, 9, 3, N, dtype=dtype), **SMALL)


@pytest.mark.parametrize("options", [("D",), ("z", "softplus")], ids=" ".join)
def test_slices_of_states_with_few_options(device, options):
    inputs = arguments(device, 1, 5, 2, 65, dtype=torch.bfloat16, options=options)
    check(*inputs, softplus="softplus" in options, **SMALL)


@pytest.mark.parametrize(("B", "T", "D"), [(0, 4, 3), (2, 0, 3), (2, 4, 0)])
def test_empty(device, B, T, D):
    check(*arguments(device, B, T, D, 4), **SMALL)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("n_segments", [pytest.param(2, marks=pytest.mark.slow), 5])
@pytest.mark.parametrize("options", [EVERYTHING, {"softplus"}], ids=len)
def test_split_over_time(device, options, n_segments, reverse):
    check(*arguments(device, 1, 99, 3, 5, options=options), reverse=reverse, n_segments=n_segments, **SMALL)


def test_many_segments_are_linked_in_order(device):
    inputs, *_ = arguments(device, 1, 32 * 10 + 1, 1, 1)
    y, last, _ = expected_values(inputs, torch.zeros(1, 321, 1), torch.zeros(1, 1, 1), True, False)
    got_y, got_last, _ = kernels.forward(*inputs, True, False, False, n_segments=11, **SMALL)
    assert_close(got_y, y, 1e-12, "y")
    assert_close(got_last, last, 1e-12, "last")


def test_growing_gates_leave_a_zero_state_alone(device):
    inputs, *_ = arguments(device, 1, 96, 1, 1, dtype=torch.float32, options=())
    inputs[1].fill_(8.0)
    inputs[2].fill_(1.0)
    inputs[0].zero_()
    inputs[0][:, 95] = 1.0
    y, _, _ = kernels.forward(*inputs, False, False, False, n_segments=3, **SMALL)
    assert torch.isfinite(y).all() and not y[:, :95].any() and y[:, 95].all()


@pytest.mark.parametrize(
    ("n_cases", "T", "D", "split", "n_segments"),
    [
        (8, 8192, 1536, kernels._FORWARD, 1),
        (8, 8192, 640, kernels._FORWARD, 1),
        (8, 8192, 640, kernels._BACKWARD, 2),
        (8, 8192, 256, kernels._FORWARD, 8),
        (1, 1024, 32, kernels._FORWARD, 32),
        (8, 20, 256, kernels._BACKWARD, 1),
    ],
)
def test_time_is_split_where_lanes_are_few(monkeypatch, n_cases, T, D, split, n_segments):
    monkeypatch.setattr(kernels, "multiprocessors", lambda tensor: 132)
    x, B = torch.empty(n_cases, T, D, device="meta"), torch.empty(n_cases, T, 1, 16, device="meta")
    plan = kernels._plan(x, B, split, None, None)
    assert plan.n_segments == n_segments
    assert (plan.n_segments - 1) * plan.chunks < -(-T // 32) <= plan.n_segments * plan.chunks


def test_gradient_of_the_last_state_alone(device):
    inputs, grad_y, grad_state = arguments(device, 1, 35, 2, 3)
    check(inputs, torch.zeros_like(grad_y), grad_state, **SMALL)


@pytest.mark.parametrize("reverse", [False, True])
def test_checkpoints_are_the_states_before_chunks(device, reverse):
    inputs, *_ = arguments(device, 1, 70, 2, 3)
    _, _, checkpoints = kernels.forward(*inputs, True, reverse, True, **SMALL)
    assert checkpoints.shape == (1, 3, 3, 2)
    for chunk in range(3):
        steps = slice(70 - 32 * chunk, 70) if reverse else slice(0, 32 * chunk)
        part = [t[:, steps] if t is not None and t.shape[1:2] == (70,) else t for t in inputs]
        _, state = selective_scan_ref(*(exact(t) for t in part), True, reverse)
        assert_close(checkpoints[:, chunk].mT, state.detach(), 1e-12, f"chunk {chunk}")
    assert kernels.forward(*inputs, True, reverse, False, **SMALL)[2].numel() == 0


def test_strided_and_expanded_inputs(device):
    inputs, grad_y, grad_state = arguments(device, 2, 5, 3, 4)
    inputs[0] = inputs[0].transpose(0, 1).contiguous().transpose(0, 1)
    inputs[1] = torch.cat([inputs[1], inputs[1]], 2)[..., :3]
    inputs[3] = inputs[3][:, :1].expand(2, 5, 1, 4)
    check(inputs, grad_y[:1, :1, :1].expand(2, 5, 3), grad_state[:1].expand(2, 3, 4), **SMALL)


@pytest.mark.parametrize("n_segments", [1, 2])
def test_nan_reaches_its_own_lane_and_later_steps_only(device, n_segments):
    inputs, grad_y, grad_state = arguments(device, 2, 40, 3, 2, dtype=torch.float32)
    cut = {"n_segments": n_segments, **SMALL}
    reached = torch.zeros(2, 40, 3, dtype=torch.bool, device=device)
    reached[1, 35:, 2] = True
    clean = kernels.forward(*inputs, True, False, True, **cut)[2]
    grad_y[1, 20, 0] = torch.nan
    grads = kernels.backward(grad_y, grad_state, *inputs, clean, True, False, **cut)
    backwards = torch.zeros(2, 40, 3, dtype=torch.bool, device=device)
    backwards[1, :21, 0] = True
    assert torch.equal(grads[1].isnan(), backwards)
    inputs[0][1, 35, 2] = torch.nan
    y, last, _ = kernels.forward(*inputs, True, False, False, **cut)
    assert torch.equal(y.isnan(), reached)
    assert torch.equal(last.isnan(), reached[:, -1, :, None].expand_as(last))


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_infinite_rows_and_rates_give_what_the_definition_gives(device):
    inputs, grad_y, grad_state = arguments(device, 1, 6, 3, 5, options={"softplus"})
    inputs[2][1, 2] = -torch.inf
    inputs[3][0, 2, 0, 1] = torch.inf
    inputs[4][0, 4, 0, 3] = -torch.inf
    y, last, expected = expected_values(inputs, grad_y, grad_state, True, False)
    got_y, got_last, checkpoints = kernels.forward(*inputs, True, False, True, **SMALL)
    got = kernels.backward(grad_y, grad_state, *inputs, checkpoints, True, False, **SMALL)
    pairs = [(got_y, y), (got_last, last), *((g, e) for g, e in zip(got, expected, strict=True) if e is not None)]
    for value, reference in pairs:
        torch.testing.assert_close(value.cpu(), reference, rtol=1e-12, atol=1e-12, equal_nan=True)


def test_softplus_keeps_its_relative_accuracy(device):
    dt = torch.linspace(-40, 40, 161, device=device).reshape(1, 1, -1)
    one = torch.ones_like(dt)
    A, row = torch.zeros(161, 1, device=device), torch.ones(1, 1, 1, 1, device=device)
    y, _, _ = kernels.forward(one, dt, A, row, row, None, None, None, None, True, False, False, threads=128)
    expected = torch.log1p(torch.exp(dt.double()))
    assert ((y.double() - expected) / expected).abs().max() < 3e-6


def test_bitwise_repeatable(device):
    inputs, grad_y, grad_state = arguments(device, 1, 40, 5, 4, dtype=torch.float32)

    def run():
        y, last, checkpoints = kernels.forward(*inputs, True, False, True, n_segments=2, **SMALL)
        return y, last, *kernels.backward(grad_y, grad_state, *inputs, checkpoints, True, False, n_segments=2, **SMALL)

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first, second)


# dtype, N, softplus, skip, z; ten seconds of ptxas each
VARIANTS = [
    (torch.float32, 16, True, True, True),
    pytest.param(torch.float32, 16, False, False, False, marks=pytest.mark.slow),
    pytest.param(torch.float32, 64, True, True, True, marks=pytest.mark.slow),
    pytest.param(torch.float32, 5, True, True, False, marks=pytest.mark.slow),
    (torch.bfloat16, 16, True, True, True),
    (torch.float64, 16, True, True, True),
]


def assert_lean(code, dtype, registers):
    assert code.registers <= registers
    assert not code.spills
    assert "ld.local" not in code.ptx
    assert "call" not in code.ptx
    if dtype != torch.float64:
        assert ".f64" not in code.ptx


@pytest.mark.parametrize(("dtype", "N", "softplus", "skipped", "gated"), VARIANTS)
def test_machine_code(compiled, dtype, N, softplus, skipped, gated):
    constants = dtype, N, kernels.threads_of(dtype), softplus, skipped, gated
    double = dtype == torch.float64
    forward = compiled(scan, constants)
    assert_lean(forward, dtype, 168 if double else 80)
    assert ("ld.shared.v4" in forward.ptx) == (N % 16 == 0 and not double)
    assert_lean(compiled(adjoint, constants), dtype, 255 if double else 168)


@pytest.mark.parametrize(
    ("dtype", "is_adjoint"), [(torch.float32, False), (torch.bfloat16, True), (torch.float64, True)], ids=str
)
def test_machine_code_of_segments(compiled, dtype, is_adjoint):
    constants = dtype, 16, kernels.threads_of(dtype), True, is_adjoint, is_adjoint
    assert_lean(compiled(summarise, constants), dtype, 168 if dtype == torch.float64 else 128)


def test_machine_code_of_links(compiled):
    assert_lean(compiled(link, (torch.float32,)), torch.float32, 96)
