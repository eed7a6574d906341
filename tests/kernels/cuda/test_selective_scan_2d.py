"""The CUDA kernels of the two-axis scan against its definition, and what the compiler makes of them."""

import re

import pytest
import torch
from scan2d import NAMES, TOLERANCE, arguments, assert_close

pytest.importorskip("numba_cuda", reason="needs numba-cuda")
from tsmodels_kernels._selective_scan_2d import cuda as launches
from tsmodels_kernels._selective_scan_2d.cuda_backward import retreat
from tsmodels_kernels._selective_scan_2d.cuda_forward import sweep
from tsmodels_kernels._selective_scan_2d.cuda_parts import Kind
from tsmodels_kernels._selective_scan_2d.options import Options, default_cuda_interval
from tsmodels_kernels._selective_scan_2d.ref import selective_scan_2d_ref

DTYPES = (torch.float64, torch.float32)
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def small_blocks(monkeypatch):
    """Two states a block instead of four or eight: most of the simulator's time goes into threads."""
    monkeypatch.setattr(launches, "warps_for", lambda dtype, n_states: 2)


def counts_of(tensors, counts=None):
    x = tensors[0]
    counts = [x.shape[2]] * x.shape[0] if counts is None else counts
    return torch.tensor(counts, dtype=torch.int64, device=x.device)


def forward(tensors, options=Options(), interval=2, counts=None, with_state=True):  # noqa: B008 - immutable
    """y, h1, h2, checkpoints; ``tensors`` in the order of NAMES, the states may be left out."""
    states = tensors[12:] or (None, None)
    with torch.no_grad():
        return launches.forward(*tensors[:12], *states, counts_of(tensors, counts), *options, interval, with_state)


def backward(tensors, checkpoints, grads, options=Options(), interval=2, counts=None, with_state=True):  # noqa: B008
    states = tensors[12:] or (None, None)
    with torch.no_grad():
        return launches.backward(
            *tensors[:12], *states, counts_of(tensors, counts), *options, interval, with_state, checkpoints, *grads
        )


def definition(tensors, options=Options(), counts=None):  # noqa: B008
    """y, h1, h2 in float64, and the leaves they depend on."""
    leaves = [t.detach().double().clone().requires_grad_() for t in tensors]
    x = leaves[0]
    states = leaves[12:] or [x.new_zeros((x.shape[0], *x.shape[2:], leaves[7].shape[1])) for _ in range(2)]
    return selective_scan_2d_ref(*leaves[:12], *states, counts_of(tensors, counts), options), leaves


def weights(outputs, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.device) for o in outputs]


def derivatives(outputs, leaves, grads):
    found = torch.autograd.grad(outputs, leaves, grads, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, leaves, strict=True)]


def check(tensors, options=Options(), interval=2, counts=None, tolerance=None):  # noqa: B008
    """Outputs and all gradients against the definition."""
    to_value, to_gradient = tolerance or TOLERANCE[tensors[0].dtype]
    expected, leaves = definition(tensors, options, counts)
    *actual, checkpoints = forward(tensors, options, interval, counts)
    for name, got, want, like in zip(("y", "h1", "h2"), actual, expected, (tensors[0], *tensors[12:]), strict=True):
        assert got.dtype == like.dtype
        assert_close(got, want, to_value, name)
    outside = [w.to(o.dtype) for w, o in zip(weights(expected), actual, strict=True)]
    found = backward(tensors, checkpoints, outside, options, interval, counts)
    wanted = derivatives(expected, leaves, [w.double() for w in outside])
    for name, got, want, like in zip(NAMES, found, wanted, tensors, strict=True):
        assert got.dtype == like.dtype
        assert_close(got, want, to_gradient, f"gradient of {name}")


def on(device, tensors):
    return [t.to(device) for t in tensors]


# B, T, V, D, N, with the blocks that ship: more jobs than blocks in the grid, tiles of several columns with and
# without a rest, columns of several tiles, idle channels and idle states, several slices of states
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", [(3, 5, 1, 7, 4), (1, 5, 3, 33, 1), (1, 3, 9, 1, 3)])
def test_equals_definition(device, sizes, dtype):
    check(on(device, arguments(*sizes, dtype=dtype)), interval=2)


def test_equals_definition_with_several_slices_of_eight_states(device):
    check(on(device, arguments(1, 2, 2, 2, 17, dtype=torch.float32)), interval=2)


@pytest.mark.parametrize("sizes", [(1, 9, 2, 2, 3), (1, 2, 8, 1, 2), (1, 3, 5, 2, 1), (1, 1, 17, 2, 2)])
def test_equals_definition_for_every_kind_of_tile(device, sizes, small_blocks):
    check(on(device, arguments(*sizes)), interval=4)


# Every value of each option with every value of each other one at least once
CHOICES = [
    ("zoh", "euler", "full", True),
    ("zoh", "zoh", "full", False),
    ("literal", "euler", "full", False),
    ("half", "zoh", "full", True),
    ("zoh", "euler", "t2v", False),
    ("literal", "zoh", "t2v", True),
    ("half", "euler", "t2v", True),
    ("zoh", "zoh", "v2t", True),
    ("literal", "euler", "v2t", False),
    ("half", "zoh", "v2t", False),
    ("zoh", "euler", "none", True),
    ("literal", "zoh", "none", False),
    ("half", "euler", "none", False),
    ("zoh", "euler", "pooled", False),
    ("literal", "zoh", "pooled", False),
    ("half", "euler", "pooled", False),
]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda c: "-".join(map(str, c)))
def test_equals_definition_with_every_option(device, choice, small_blocks):
    options = Options(*choice)
    counts = [1, 3] if options.coupling == "pooled" else None
    check(on(device, arguments(2, 3, 3, 2, 2, gates=options.gates)), options, counts=counts)


@pytest.mark.parametrize("options", [Options(reverse_v=True), Options(coupling="pooled")])
def test_equals_definition_where_a_column_has_several_tiles(device, options, small_blocks):
    check(on(device, arguments(1, 3, 10, 2, 2)), options, counts=[9] if options.coupling == "pooled" else None)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, (3e-2, 5e-2)), (torch.float16, (3e-3, 1e-2))])
@pytest.mark.parametrize("n_states", [2, 3])  # one slice: written in half precision; two: summed in float32
def test_half_precision_is_stored_but_not_computed_in(device, dtype, tolerance, n_states, small_blocks):
    tensors = arguments(1, 4, 2, 3, n_states, dtype=torch.float32)
    half = [t.to(dtype) for t in tensors[:7]] + tensors[7:]
    check(on(device, half), tolerance=tolerance)


@pytest.mark.parametrize("coupling", ["full", "pooled"])
def test_states_and_gradients_that_are_absent(device, coupling, small_blocks):
    options = Options(coupling=coupling)
    tensors = on(device, arguments(1, 3, 2, 3, 2))[:12]
    (expected, *_), leaves = definition(tensors, options)
    y, h1, h2, checkpoints = forward(tensors, options, with_state=False)
    assert h1.numel() == h2.numel() == 0
    assert_close(y, expected, 1e-12)
    outside = weights([expected])
    *found, first1, first2 = backward(tensors, checkpoints, [*outside, None, None], options, with_state=False)
    assert first1.numel() == first2.numel() == 0
    for name, got, want in zip(NAMES, found, derivatives([expected], leaves, outside), strict=False):
        assert_close(got, want, 1e-12, f"gradient of {name}")


@pytest.mark.parametrize("which", [1, 2])
def test_gradient_of_one_last_state_alone(device, which, small_blocks):
    tensors = on(device, arguments(1, 3, 2, 3, 2))
    expected, leaves = definition(tensors)
    *_, checkpoints = forward(tensors)
    outside = weights(expected)[which]
    grads = [torch.zeros_like(tensors[0]), None, None]
    grads[which] = outside
    found = backward(tensors, checkpoints, grads)
    for name, got, want in zip(NAMES, found, derivatives([expected[which]], leaves, [outside]), strict=True):
        assert_close(got, want, 1e-12, f"gradient of {name}")


def test_chunks_with_carried_state_equal_the_whole_bitwise(device, small_blocks):
    tensors = on(device, arguments(1, 5, 3, 2, 2))
    whole = forward(tensors, interval=0)
    outputs, state = [], tensors[12:]
    for start, stop in ((0, 1), (1, 4), (4, 5)):
        chunk = [t[:, start:stop] for t in tensors[:7]] + tensors[7:12] + list(state)
        y, *state, _ = forward(chunk, interval=0)
        outputs.append(y)
    assert torch.equal(torch.cat(outputs, 1), whole[0])
    assert all(torch.equal(a, b) for a, b in zip(state, whole[1:3], strict=True))


@pytest.mark.parametrize(
    ("V", "coupling"), [(2, "full"), pytest.param(2, "pooled", marks=pytest.mark.slow), (9, "full")]
)
def test_checkpoint_interval_changes_no_bit(device, V, coupling, small_blocks):
    options = Options(coupling=coupling)
    tensors = on(device, arguments(1, 4, V, 1, 2))
    results = []
    for interval in (1, 3, 100):
        *outputs, checkpoints = forward(tensors, options, interval)
        results.append([*outputs, *backward(tensors, checkpoints, weights(outputs), options, interval)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_memory_layout_of_inputs_does_not_matter_and_inputs_are_not_written(device, small_blocks):
    dense = on(device, arguments(2, 2, 2, 3, 2))
    strided = [t.movedim(0, -1).contiguous().movedim(-1, 0) for t in dense]
    before = [t.clone() for t in strided]
    assert not strided[0].is_contiguous()
    *outputs, checkpoints = forward(dense)
    *others, other_checkpoints = forward(strided)
    found = backward(dense, checkpoints, [torch.ones_like(o) for o in outputs])
    expanded = [torch.ones((), dtype=o.dtype, device=o.device).expand_as(o) for o in outputs]
    other = backward(strided, other_checkpoints, expanded)
    assert all(torch.equal(a, b) for a, b in zip([*outputs, *found], [*others, *other], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(strided, before, strict=True))


@pytest.mark.parametrize(
    ("name", "bad"), [("x", NAN), ("dt1", NAN), ("dt2", INF), ("B1", INF), ("C2", NAN), ("h1", INF)]
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # of NumPy's numbers in the simulator
def test_nan_and_inf_reach_what_depends_on_them_and_nothing_else(device, name, bad, small_blocks):
    tensors = on(device, arguments(2, 3, 3, 3, 2))
    spoilt = tensors[NAMES.index(name)]
    spoilt[(0, 1, 1, 1) if spoilt.ndim == 4 and name != "h1" else (0, 1, 1, 0)] = bad
    expected, leaves = definition(tensors)
    *outputs, checkpoints = forward(tensors)
    for got, want in zip(outputs, expected, strict=True):
        assert torch.equal(torch.isfinite(got), torch.isfinite(want))
    outside = weights(expected)
    found = backward(tensors, checkpoints, outside)
    for label, got, want in zip(NAMES, found, derivatives(expected, leaves, outside), strict=True):
        # a sum of infinities of either sign depends on the order of its terms, being finite does not
        assert torch.equal(torch.isfinite(got), torch.isfinite(want)), label


@pytest.mark.parametrize("name", ["x", "B1"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_idle_threads_make_no_nan_of_an_infinity(device, name, small_blocks):
    tensors = on(device, [t.abs() for t in arguments(1, 1, 1, 1, 1)])
    tensors[NAMES.index(name)].fill_(INF)
    y, h1, _, checkpoints = forward(tensors)
    assert (y.item(), h1.item()) == (INF, INF)
    found = dict(zip(NAMES, backward(tensors, checkpoints, [torch.ones_like(y), None, None]), strict=True))
    assert found["C1"].item() == INF


@pytest.mark.parametrize("empty", ["B", "T", "V", "D"])
def test_empty_axes(device, empty):
    sizes = {"B": 2, "T": 3, "V": 2, "D": 4, "N": 2} | {empty: 0}
    tensors = on(device, arguments(*sizes.values()))
    y, h1, h2, checkpoints = forward(tensors)
    assert y.shape == tensors[0].shape
    assert torch.equal(h1, tensors[12])
    assert torch.equal(h2, tensors[13])
    found = backward(tensors, checkpoints, [torch.ones_like(y), torch.ones_like(h1), None])
    assert [g.shape for g in found] == [t.shape for t in tensors]
    assert torch.equal(found[12], torch.ones_like(h1))  # what passes through unchanged
    assert not any(g.any() for g in [*found[:12], found[13]])


def test_default_interval_keeps_a_replayed_interval_in_the_cache():
    def numbers(T, V):
        return (default_cuda_interval(T, V) + 1) * (2 * V + 1)

    assert default_cuda_interval(1, 7) == 1
    assert default_cuda_interval(10_000, 500) == 100  # bounded by sqrt(T): all kept states are bounded by it too
    assert all(100 <= numbers(64, V) <= 150 for V in (1, 3, 7))


def kind(width, dtype=torch.float32, gates="zoh", input_rule="euler", coupling="full", out=None):
    return Kind(dtype, out or dtype, gates, input_rule, coupling, width, 4 if dtype == torch.float64 else 8)


@pytest.mark.parametrize(
    ("family", "constants", "budget"),
    [
        (sweep, kind(8), 80),
        (sweep, kind(0, torch.bfloat16, "literal", "zoh", out=torch.float32), 80),
        (retreat, kind(8), 128),
        pytest.param(retreat, kind(5), 128, marks=pytest.mark.slow),
        pytest.param(retreat, kind(0, torch.bfloat16, "literal", "zoh"), 128, marks=pytest.mark.slow),
    ],
    ids=["forward", "forward of many variates", "backward", "backward of uneven groups", "backward of many variates"],
)
def test_registers_and_instructions(compiled, family, constants, budget):
    made = compiled(family, constants)
    assert made.registers <= budget
    assert not made.spills
    assert ".f64" not in made.ptx
    assert not re.search(r"\bcall\b", made.ptx)
    assert "ex2.approx.ftz.f32" in made.ptx
