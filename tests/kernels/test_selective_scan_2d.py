"""The two-axis scan against its definition: values, gradients, streaming, masking, determinism."""

import pytest
import torch
from scan2d import NAMES, TOLERANCE, arguments, assert_close, gradients, scan

import tsmodels_kernels
from tsmodels_kernels import selective_scan_2d

pytestmark = pytest.mark.filterwarnings("ignore:gates='literal' is unstable")

# B, T, V, D, N: a covering set of the sizes at which blocks, rows and intervals begin and end
SIZES = [
    (1, 1, 1, 1, 1),
    (3, 2, 2, 16, 4),
    (1, 17, 7, 24, 16),
    (3, 17, 1, 24, 1),
    (1, 96, 2, 64, 4),
    (1, 2, 33, 1, 16),
    (1, 17, 33, 16, 4),
    (3, 96, 7, 1, 1),
]
COUPLINGS = [
    (c, r) for c in ("full", "t2v", "v2t", "none", "pooled") for r in (False, True) if not (r and c == "pooled")
]
DTYPES = (torch.float64, torch.float32)


def check_against_definition(tensors, dtype, **options):
    exact = [t.detach().double().requires_grad_() for t in tensors]
    expected = scan(exact, backend="reference", **options)
    actual = scan(tensors, **options)
    forward, backward = TOLERANCE[dtype]
    for name, got, want in zip(("y", "h1", "h2"), actual, expected, strict=True):
        assert got.dtype == dtype
        assert_close(got, want, forward, name)
    for name, got, want in zip(NAMES, gradients(actual, tensors), gradients(expected, exact), strict=True):
        assert_close(got, want, backward, f"gradient of {name}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("sizes", SIZES)
def test_equals_definition_at_every_size(sizes, dtype):
    check_against_definition(arguments(*sizes, dtype=dtype, requires_grad=True), dtype)


# Both dtypes run one source, and compiling it is most of the time here: float32 takes one input rule, and without the
# slow tests one form of the gates.
RULES = [
    pytest.param(*(gates, rule, dtype), marks=[pytest.mark.slow] if dtype == torch.float32 and gates != "zoh" else [])
    for gates in ("zoh", "literal", "half")
    for rule, dtype in (("euler", torch.float64), ("zoh", torch.float64), ("euler", torch.float32))
]


@pytest.mark.parametrize(("coupling", "reverse_v"), COUPLINGS)
@pytest.mark.parametrize(("gates", "input_rule", "dtype"), RULES)
def test_equals_definition_with_every_option(gates, input_rule, coupling, reverse_v, dtype):
    tensors = arguments(3, 5, 4, 11, 3, dtype=dtype, gates=gates, requires_grad=True)
    counts = torch.tensor([4, 2, 1]) if coupling == "pooled" else None
    check_against_definition(
        tensors,
        dtype,
        gates=gates,
        input_rule=input_rule,
        coupling=coupling,
        reverse_v=reverse_v,
        n_variates=counts,
    )


@pytest.mark.parametrize("input_rule", ["euler", "zoh"])
@pytest.mark.parametrize("coupling", ["full", "pooled"])
def test_gradcheck(coupling, input_rule):
    tensors = arguments(2, 3, 2, 3, 2, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *t: scan(t, coupling=coupling, input_rule=input_rule), tensors)


@pytest.mark.parametrize("which", ["y", "state", "without state"])
def test_gradcheck_of_each_output_alone(which):
    tensors = arguments(1, 3, 2, 2, 2, requires_grad=True)
    if which == "without state":
        assert torch.autograd.gradcheck(lambda *t: selective_scan_2d(*t)[0], tensors[:12])
    else:
        chosen = slice(0, 1) if which == "y" else slice(1, 3)
        assert torch.autograd.gradcheck(lambda *t: scan(t)[chosen], tensors)


def test_states_that_are_not_asked_for_change_nothing_else():
    tensors = arguments(2, 6, 3, 18, 4, requires_grad=True)
    y, state = selective_scan_2d(*tensors[:12], return_state=False)
    expected, _ = selective_scan_2d(*tensors[:12], state=[torch.zeros_like(h) for h in tensors[12:]])
    assert state is None
    assert torch.equal(y, expected)
    for got, want in zip(gradients([y], tensors[:12]), gradients([expected], tensors[:12]), strict=True):
        assert torch.equal(got, want)


def columns(tensors, start, stop, state):
    return [t[:, start:stop] for t in tensors[:7]] + tensors[7:12] + list(state)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("step", [1, 5])
def test_chunks_with_carried_state_equal_the_whole_bitwise(backend, step):
    tensors = arguments(2, 17, 3, 18, 4)
    whole = scan(tensors, backend=backend)
    outputs, state = [], tensors[12:]
    for start in range(0, 17, step):
        y, *state = scan(columns(tensors, start, start + step, state), backend=backend)
        outputs.append(y)
    assert torch.equal(torch.cat(outputs, 1), whole[0])
    assert all(torch.equal(a, b) for a, b in zip(state, whole[1:], strict=True))


def test_gradients_flow_through_carried_state():
    tensors = arguments(2, 6, 3, 5, 2, requires_grad=True)
    first = scan(columns(tensors, 0, 4, tensors[12:]))
    second = scan(columns(tensors, 4, 6, first[1:]))
    chunked = (torch.cat([first[0], second[0]], 1), *second[1:])
    for name, got, want in zip(NAMES, gradients(chunked, tensors), gradients(scan(tensors), tensors), strict=True):
        assert_close(got, want, 1e-12, name)


@pytest.mark.parametrize("coupling", ["full", "pooled"])
@pytest.mark.parametrize("interval", [1, 4, 17, 100])
def test_checkpointed_backward_equals_stored_backward_bitwise(interval, coupling):
    tensors = arguments(2, 17, 3, 18, 4, requires_grad=True)
    stored = gradients(scan(tensors, checkpoint_interval=17, coupling=coupling), tensors)
    checkpointed = gradients(scan(tensors, checkpoint_interval=interval, coupling=coupling), tensors)
    assert all(torch.equal(a, b) for a, b in zip(stored, checkpointed, strict=True))


def flipped(tensors):
    return [t.flip(2) for t in tensors[:7]] + tensors[7:12] + [h.flip(1) for h in tensors[12:]]


@pytest.mark.parametrize("coupling", ["full", "t2v"])
def test_reverse_is_flip_scan_flip(coupling):
    tensors = arguments(2, 6, 5, 9, 3, requires_grad=True)
    y, h1, h2 = scan(flipped(tensors), coupling=coupling)
    expected = (y.flip(2), h1.flip(1), h2.flip(1))
    actual = scan(tensors, coupling=coupling, reverse_v=True)
    for got, want in zip(actual, expected, strict=True):
        assert torch.equal(got, want)
    for name, got, want in zip(NAMES, gradients(actual, tensors), gradients(expected, tensors), strict=True):
        assert_close(got, want, 1e-13, name)


@pytest.mark.parametrize("options", [{}, {"reverse_v": True}, {"coupling": "pooled"}, {"input_rule": "zoh"}])
def test_end_padding_equals_removal(options):
    tensors = arguments(1, 6, 4, 5, 3)
    small = [t[:, :4, :3] for t in tensors[:7]] + tensors[7:12] + [torch.zeros_like(h[:, :3]) for h in tensors[12:]]
    inside = torch.zeros(1, 6, 4, 1, dtype=torch.float64)
    inside[:, :4, :3] = 1
    padded = [t * inside for t in tensors[:3]] + tensors[3:12] + [torch.zeros_like(h) for h in tensors[12:]]
    counts = {"n_variates": torch.tensor([3])} if options.get("coupling") == "pooled" else {}
    expected, actual = scan(small, **options), scan(padded, **options, **counts)
    assert_close(actual[0][:, :4, :3], expected[0], 1e-14)
    assert_close(actual[1][:, :3], expected[1], 1e-14)  # zero steps freeze h1; h2 is made anew in every column


@pytest.mark.parametrize("T", [0, 1])
def test_empty_and_single_steps(T):
    tensors = arguments(2, T, 3, 4, 2, requires_grad=True)
    y, h1, h2 = scan(tensors)
    assert y.shape == (2, T, 3, 4)
    if T == 0:
        assert torch.equal(h1, tensors[12])
        assert torch.equal(h2, tensors[13])
    (h1.sum() + 2 * h2.sum() + y.sum()).backward()
    assert tensors[12].grad is not None


@pytest.mark.parametrize("empty", ["B", "V", "D"])
def test_empty_batch_variates_or_channels(empty):
    sizes = {"B": 2, "T": 3, "V": 2, "D": 4, "N": 2} | {empty: 0}
    tensors = arguments(*sizes.values(), requires_grad=True)
    y, h1, _ = scan(tensors)
    assert y.shape == tuple(sizes[k] for k in "BTVD")
    assert h1.shape == tuple(sizes[k] for k in "BVDN")
    (y.sum() + h1.sum()).backward()


def test_scalar_per_channel_parameters_equal_repeated_ones():
    tensors = arguments(2, 5, 3, 6, 4)
    narrow = tensors[:7] + [t[:, :1].clone().requires_grad_() for t in tensors[7:11]] + tensors[11:]
    wide = tensors[:7] + [t.detach().repeat(1, 4).requires_grad_() for t in narrow[7:11]] + tensors[11:]
    assert torch.equal(scan(narrow)[0], scan(wide)[0])
    for got, want in zip(gradients(scan(narrow), narrow[7:11]), gradients(scan(wide), wide[7:11]), strict=True):
        assert_close(got, want.sum(1, keepdim=True), 1e-13)


@pytest.mark.parametrize("gates", ["zoh", "half"])
def test_repeated_rates_without_memory_of_their_own_have_gradients_of_their_own(gates):
    tensors = arguments(2, 5, 3, 6, 4, gates=gates)
    narrow = [t[:, :1].clone() for t in tensors[7:11]]
    results = []
    for rates in ([t.expand(6, 4) for t in narrow], [t.repeat(1, 4) for t in narrow]):
        leaves = [t.detach().requires_grad_() for t in rates]
        results.append(gradients(scan(tensors[:7] + leaves + tensors[11:], gates=gates), leaves))
    for got, want in zip(*results, strict=True):
        assert_close(got, want, 1e-13)


@pytest.mark.parametrize("gates", ["zoh", "half"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_exponents_beyond_the_range_of_the_format(gates, dtype):
    """Steps so long that a gate underflows; channels beside them in the same vector are not touched."""
    tensors = arguments(2, 5, 3, 18, 4, dtype=dtype, gates=gates, requires_grad=True)
    long = [t.detach().clone() for t in tensors]
    long[1][0, 2, 1, 2] = long[2][0, 2, 1, 3] = 1e4
    for t in long:
        t.requires_grad_()
    check_against_definition(long, dtype, gates=gates)
    others = [d for d in range(18) if d not in (2, 3)]
    assert torch.equal(scan(long, gates=gates)[0][..., others], scan(tensors, gates=gates)[0][..., others])


def test_maps_that_are_parts_of_one_tensor_equal_copies_of_them():
    tensors = arguments(2, 5, 3, 6, 4)
    parts = torch.cat([*tensors[3:7], torch.ones(2, 5, 3, 1, dtype=torch.float64)], -1).requires_grad_()
    whole = scan(tensors[:3] + list(parts.split((4, 4, 4, 4, 1), -1)[:4]) + tensors[7:])
    copies = [t.clone().requires_grad_() for t in tensors[3:7]]
    expected = scan(tensors[:3] + copies + tensors[7:])
    assert all(torch.equal(a, b) for a, b in zip(whole, expected, strict=True))
    (grad,) = gradients(whole, [parts])
    assert torch.equal(grad[..., :16], torch.cat(gradients(expected, copies), -1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bitwise_equal_for_any_number_of_threads_and_runs(dtype, monkeypatch):
    monkeypatch.setattr("tsmodels_kernels._selective_scan_2d.cpu_call._GRAIN_ELEMENTS", 1)  # share even small work
    tensors = arguments(5, 20, 3, 40, 4, dtype=dtype, requires_grad=True)
    results = []
    for n_threads in (1, 2, 4, 7, 1):
        torch.set_num_threads(n_threads)
        outputs = scan(tensors)
        results.append([*outputs, *gradients(outputs, tensors)])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_channels_do_not_depend_on_padding_to_whole_vectors():
    tensors = arguments(2, 6, 3, 16, 4, dtype=torch.float32)
    cut = (
        [t[..., :11] for t in tensors[:3]]
        + tensors[3:7]
        + [t[:11] for t in tensors[7:12]]
        + [h[:, :, :11] for h in tensors[12:]]
    )
    assert torch.equal(scan(cut)[0], scan(tensors)[0][..., :11])


def test_noncontiguous_inputs_and_expanded_gradients():
    tensors = arguments(2, 6, 3, 16, 4)
    strided = [t.movedim(0, -1).contiguous().movedim(-1, 0).requires_grad_() for t in tensors]
    assert not strided[0].is_contiguous()
    dense = [t.clone(memory_format=torch.contiguous_format).requires_grad_() for t in tensors]
    scan(strided)[0].sum().backward()  # the gradient of a sum arrives expanded, with strides 0
    scan(dense)[0].sum().backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(strided[:12], dense[:12], strict=True))


@pytest.mark.parametrize("name", NAMES[:7])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_and_inf_reach_what_depends_on_them_and_nothing_else(name, bad):
    tensors = arguments(2, 5, 3, 18, 4)
    spoilt = list(tensors)
    index = NAMES.index(name)
    spoilt[index] = tensors[index].clone()
    spoilt[index][0, 2, 1, 2] = bad
    y, expected, clean = scan(spoilt)[0], scan(spoilt, backend="reference")[0], scan(tensors)[0]
    assert torch.equal(torch.isfinite(y), torch.isfinite(expected))
    assert torch.equal(y[1], clean[1])
    assert torch.equal(y[0, :2], clean[0, :2])
    if name in ("x", "dt1", "dt2"):
        others = [d for d in range(18) if d != 2]
        assert torch.equal(y[..., others], clean[..., others])


def test_half_precision_is_computed_in_float32():
    tensors = arguments(2, 5, 3, 8, 4, dtype=torch.float32)
    half = [t.bfloat16() for t in tensors[:7]] + tensors[7:]
    y, h1, _ = scan(half)
    assert (y.dtype, h1.dtype) == (torch.bfloat16, torch.float32)
    exact = scan([t.float() for t in half])[0]
    assert_close(y.float(), exact, 5e-3)


def test_backend_is_chosen_by_device_and_can_be_asked_for():
    x = torch.zeros(1)
    assert tsmodels_kernels.backend_for(x) == "cpu"
    assert tsmodels_kernels.backend_for(x, "reference") == "reference"
    with pytest.raises(ValueError, match="cannot run on a tensor on cpu"):
        tsmodels_kernels.backend_for(x, "cuda")
    with pytest.raises(ValueError, match="backend must be one of"):
        tsmodels_kernels.backend_for(x, "gpu")
    with pytest.raises(NotImplementedError, match=r"move the tensors to the CPU.*backend='reference'"):
        tsmodels_kernels.backend_for(torch.empty(1, device="meta"))
    with pytest.raises(ValueError, match="cannot run"):
        scan(arguments(1, 2, 2, 2, 2), backend="cuda")


def test_auto_choice_is_logged_once(caplog, monkeypatch):
    monkeypatch.setattr("tsmodels_kernels._backend._logged", set())
    tensors = arguments(1, 2, 2, 2, 2)
    with caplog.at_level("INFO", logger="tsmodels_kernels"):
        scan(tensors)
        scan(tensors)
    assert [r.getMessage() for r in caplog.records] == ["selective_scan_2d runs on backend 'cpu'"]
