"""The selective scan: values and gradients against its definition, identities, layouts, NaN, threads, errors."""

import copy
import mmap
import pickle
import sys
from pathlib import Path

import pytest
import torch

from tsmodels_kernels import linear_scan, selective_scan

VALUE = {torch.float32: 1e-5, torch.float64: 1e-12, torch.float16: 3e-3, torch.bfloat16: 3e-2}
GRADIENT = {torch.float32: 1e-4, torch.float64: 1e-12, torch.float16: 1e-2, torch.bfloat16: 5e-2}
OPTIONAL = ("D", "z", "dt_bias", "state")


def inputs(B, T, D, N, *, groups=None, optional=OPTIONAL, dtype=torch.float64, seed=0):
    """Arguments of ``selective_scan`` by name; step sizes small enough for the states to matter."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    shape = (B, T, N) if groups is None else (B, T, groups, N)
    tensors = {"x": draw(B, T, D), "dt": draw(B, T, D) - 1.0, "A": -torch.exp(draw(D, N)), "B": draw(*shape)}
    tensors |= {"C": draw(*shape), "D": draw(D), "z": draw(B, T, D), "dt_bias": draw(D), "state": draw(B, D, N)}
    return {k: t.to(dtype) for k, t in tensors.items() if k not in OPTIONAL or k in optional}


def run(tensors, **options):
    return selective_scan(**tensors, **{"dt_softplus": True} | options)


def close(got, expected, tolerance):
    assert got.shape == expected.shape
    if expected.numel():
        assert (got.double() - expected.double()).abs().max() <= tolerance * max(1.0, expected.abs().max())


def check(tensors, **options):
    """Values and all gradients against the definition in float64."""
    dtype = tensors["x"].dtype
    exact = {k: t.double().requires_grad_() for k, t in tensors.items()}
    leaves = {k: t.clone().requires_grad_() for k, t in tensors.items()}
    y, last = run(leaves, **options)
    y_exact, last_exact = run(exact, backend="reference", **options)
    assert y.dtype == dtype
    close(y, y_exact, VALUE[dtype])
    close(last, last_exact, VALUE[dtype])
    weight, state_weight = torch.randn_like(y_exact), torch.randn_like(last_exact)
    expected = torch.autograd.grad(
        [y_exact, last_exact], list(exact.values()), [weight, state_weight], materialize_grads=True
    )
    got = torch.autograd.grad([y, last], list(leaves.values()), [weight.to(dtype), state_weight.to(last.dtype)])
    for name, gradient, reference in zip(leaves, got, expected, strict=True):
        assert gradient.dtype == leaves[name].dtype, name
        close(gradient, reference, GRADIENT[dtype])


SIZES = [(1, 1, 1, 1), (2, 2, 7, 4), (3, 31, 15, 16), (1, 32, 16, 17), (2, 33, 17, 1), (1, 63, 63, 4), (1, 64, 64, 16),
         (1, 127, 65, 4), (1, 5, 257, 16), (1, 40, 9, 64), (3, 40, 3, 70), (1, 9, 255, 17),
         (1, 1000, 2, 3)]  # fmt: skip


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_every_size(size, dtype):
    check(inputs(*size, dtype=dtype))


@pytest.mark.slow
@pytest.mark.parametrize("T", [8191, 65537])  # the definition walks through every one of them
def test_long_sequences(T):
    check(inputs(1, T, 1, 2, dtype=torch.float32))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("dt_softplus", [False, True])
@pytest.mark.parametrize("optional", [(), ("D",), ("z",), ("dt_bias",), ("state",), OPTIONAL], ids=str)
def test_every_option(optional, dt_softplus, reverse):
    tensors = inputs(2, 37, 18, 3, optional=optional)
    if not dt_softplus:
        tensors["dt"] = tensors["dt"].abs() * 0.3
        tensors.pop("dt_bias", None)
    check(tensors, dt_softplus=dt_softplus, reverse=reverse)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_groups(groups):
    check(inputs(2, 35, 12, 4, groups=groups))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_computed_in_float32(dtype):
    tensors = inputs(2, 33, 18, 4, dtype=dtype)
    tensors |= {name: tensors[name].float() for name in ("A", "D", "dt_bias", "state")}
    check(tensors)
    y, last = run(tensors)
    assert (y.dtype, last.dtype) == (dtype, torch.float32)


@pytest.mark.parametrize(("B", "T", "D"), [(0, 4, 3), (2, 0, 3), (2, 4, 0)])
def test_empty(B, T, D):
    tensors = inputs(B, T, D, 2)
    check(tensors)
    if T == 0:
        assert torch.equal(run(tensors)[1], tensors["state"])


def in_chunks(tensors, bounds, reverse=False):
    """Output and last state of one scan after the other, the state carried on."""
    along_time, parts, state = ("x", "dt", "B", "C", "z"), [], tensors["state"]
    for start, end in reversed(bounds) if reverse else bounds:
        part = tensors | {k: tensors[k][:, start:end] for k in along_time} | {"state": state}
        y, state = run(part, reverse=reverse)
        parts.append(y)
    return torch.cat(parts[::-1] if reverse else parts, 1), state


@pytest.mark.parametrize("reverse", [False, True])
def test_chunks_with_carried_state_equal_the_whole(reverse):
    tensors = inputs(2, 70, 18, 4, dtype=torch.float32)
    expected = run(tensors, reverse=reverse)
    for bounds in ([(0, 1), (1, 32), (32, 70)], [(t, t + 1) for t in range(70)]):
        for got, whole in zip(in_chunks(tensors, bounds, reverse), expected, strict=True):
            assert torch.equal(got, whole)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_a_step_out_of_range_changes_nothing_for_the_steps_and_channels_beside_it(dtype):
    """Chunks whose exponents all stay within [-126, 126] take a shorter way to their powers of two."""
    tensors = inputs(1, 32, 16, 4, dtype=dtype)
    steep = tensors | {"dt": tensors["dt"].clone()}
    steep["dt"][0, 20, 3] = 1e4
    got, expected = run(steep), run(tensors)
    others = [d for d in range(16) if d != 3]
    assert torch.equal(got[0][..., others], expected[0][..., others])
    assert torch.equal(got[0][:, :20], expected[0][:, :20])
    assert torch.equal(got[1][:, others], expected[1][:, others])
    check(steep)


def test_reverse_is_flip_scan_flip():
    tensors = inputs(2, 45, 17, 4)
    flipped = tensors | {k: tensors[k].flip(1) for k in ("x", "dt", "B", "C", "z")}
    y, last = run(flipped)
    backwards, first = run(tensors, reverse=True)
    assert torch.equal(backwards, y.flip(1)) and torch.equal(first, last)


def test_one_state_with_unit_maps_is_the_linear_scan():
    tensors = inputs(2, 40, 5, 1, optional=("state",))
    tensors["B"], tensors["C"] = torch.ones_like(tensors["B"]), torch.ones_like(tensors["C"])
    delta = torch.nn.functional.softplus(tensors["dt"])
    gate = torch.exp(delta * tensors["A"][:, 0])
    expected, last = linear_scan(gate, delta * tensors["x"], state=tensors["state"][..., 0])
    y, state = run(tensors)
    close(y, expected, 1e-12)
    close(state[..., 0], last, 1e-12)


def test_a_step_of_zero_freezes_the_state():
    tensors = inputs(2, 9, 5, 3, optional=("state",))
    tensors["dt"] = torch.zeros_like(tensors["dt"])
    assert torch.equal(run(tensors, dt_softplus=False)[1], tensors["state"])


def test_constant_steps_have_a_closed_form():
    tensors = inputs(1, 6, 4, 3, optional=("state",))
    tensors["dt"], tensors["x"] = torch.full_like(tensors["dt"], 0.2), torch.zeros_like(tensors["x"])
    _, last = run(tensors, dt_softplus=False)
    close(last, torch.exp(6 * 0.2 * tensors["A"]) * tensors["state"], 1e-12)


@pytest.mark.parametrize("loss", ["out", "state", "both"])
def test_gradcheck(loss):
    tensors = inputs(1, 4, 2, 2)
    names = list(tensors)

    def scan(*values):
        y, last = run(dict(zip(names, values, strict=True)))
        return {"out": y, "state": last, "both": (y, last)}[loss]

    assert torch.autograd.gradcheck(scan, [t.requires_grad_() for t in tensors.values()])


def test_second_derivatives_and_forward_mode_raise():
    tensors = {k: t.requires_grad_() for k, t in inputs(1, 4, 2, 2).items()}
    gradient = torch.autograd.grad(run(tensors)[0].sum(), tensors["dt"], create_graph=True)[0]
    with pytest.raises(RuntimeError, match="first derivatives only"):
        gradient.sum().backward()
    with torch.autograd.forward_ad.dual_level(), pytest.raises(NotImplementedError, match="jvp"):
        dual = torch.autograd.forward_ad.make_dual(tensors["x"].detach(), torch.ones_like(tensors["x"]))
        run({k: t.detach() for k, t in tensors.items()} | {"x": dual})


def strided(name, tensor):
    """The same numbers in an awkward layout."""
    if name in ("x", "z", "B"):  # time first in memory, or channels strided
        return tensor.transpose(0, 1).contiguous().transpose(0, 1)
    if name in ("dt", "C"):
        return torch.stack([tensor, tensor], -1)[..., 0]
    return torch.cat([tensor.flatten(), tensor.flatten()])[tensor.numel() :].view(tensor.shape)


def test_layouts_do_not_matter_and_inputs_are_not_written():
    tensors = inputs(2, 33, 18, 4)
    awkward = {k: strided(k, t) for k, t in tensors.items()}
    before = {k: t.clone() for k, t in awkward.items()}
    outputs, expected = run(awkward), run(tensors)
    assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))
    assert all(torch.equal(awkward[k], before[k]) for k in before)
    memory = {t.untyped_storage().data_ptr() for t in awkward.values()}
    assert not memory & {t.untyped_storage().data_ptr() for t in outputs}


def test_expanded_inputs_and_expanded_gradients():
    tensors = inputs(1, 20, 5, 3)
    wide = tensors | {k: tensors[k].expand(3, *tensors[k].shape[1:]) for k in ("x", "dt", "B", "C", "z", "state")}
    check(wide)
    leaf = tensors["x"].clone().requires_grad_()
    run(tensors | {"x": leaf})[0].sum().backward()  # the gradient arrives expanded from one number
    exact = tensors["x"].clone().requires_grad_()
    run(tensors | {"x": exact}, backend="reference")[0].sum().backward()
    close(leaf.grad, exact.grad, 1e-12)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", ["x", "dt", "B", "C", "z", "state"])
def test_nan_and_inf_reach_what_the_definition_says(name, value):
    tensors = inputs(2, 40, 5, 3)
    tensors[name][(1, 3) if name == "state" else (1, 35, 2)] = value
    for got, expected in zip(run(tensors), run(tensors, backend="reference"), strict=True):
        assert torch.equal(got.isfinite(), expected.isfinite())


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("name", ["x", "dt", "B", "C", "z", "gradient"])
def test_nan_and_inf_reach_the_gradients_that_the_definition_says(name, value):
    tensors, weight = inputs(2, 40, 5, 3), torch.ones(2, 40, 5, dtype=torch.float64)
    (weight if name == "gradient" else tensors[name])[1, 35, 2] = value
    along_time = [k for k in ("x", "dt", "B", "C", "z") if k != name]

    def gradients(backend):
        leaves = {k: t.clone().requires_grad_() for k, t in tensors.items()}
        y, _ = run(leaves, backend=backend)
        return torch.autograd.grad(y, [leaves[k] for k in along_time], weight)

    for got, expected in zip(gradients("auto"), gradients("reference"), strict=True):
        assert torch.equal(got.isfinite(), expected.isfinite())


def test_a_rate_of_minus_infinity_forgets_at_once():
    tensors = inputs(1, 9, 5, 3)
    tensors["A"][2, 1] = -torch.inf
    for got, expected in zip(run(tensors), run(tensors, backend="reference"), strict=True):
        close(got, expected, 1e-12)


def test_gates_that_underflow_are_zero():
    tensors = inputs(1, 5, 4, 2, optional=("state",), dtype=torch.float32)
    tensors["dt"], tensors["A"] = torch.full_like(tensors["dt"], 1e3), torch.full_like(tensors["A"], -1e3)
    tensors["x"] = torch.zeros_like(tensors["x"])
    y, last = run(tensors)
    assert y.isfinite().all()
    assert last.abs().max() < 1e-30


def test_any_number_of_threads_gives_the_same_bits():
    tensors = {k: t.requires_grad_() for k, t in inputs(6, 300, 130, 16, dtype=torch.float32).items()}
    results, threads = [], torch.get_num_threads()
    try:
        for n in (1, 2, 4, 7):
            torch.set_num_threads(n)
            y, last = run(tensors)
            results.append((y, last, *torch.autograd.grad(y.square().sum() + last.sum(), list(tensors.values()))))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc and maps memory without reserving it")
def test_offsets_past_two_to_the_31():
    tensors, stride = inputs(2, 4, 256, 2, dtype=torch.float32), 2**31 + 1024
    private, anonymous, no_reserve = mmap.MAP_PRIVATE, mmap.MAP_ANONYMOUS, 0x4000
    try:
        space = [mmap.mmap(-1, 4 * (stride + 1024), flags=private | anonymous | no_reserve) for _ in range(2)]
    except OSError as error:
        pytest.skip(f"the system lends no 17 GB of address space: {error}")
    before = resident_bytes()
    far = dict(tensors)
    for name, part in zip(("x", "dt"), space, strict=True):
        far[name] = torch.frombuffer(part, dtype=torch.float32).as_strided((2, 4, 256), (stride, 256, 1))
        far[name].copy_(tensors[name])
    leaves, compact = ({k: t.detach().requires_grad_() for k, t in given.items()} for given in (far, tensors))
    for got, expected in zip(run(leaves), run(compact), strict=True):
        assert torch.equal(got, expected)
    gradients = [torch.autograd.grad(run(given)[0].sum(), list(given.values())) for given in (leaves, compact)]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert resident_bytes() - before < 4e8


def test_states_are_kept_before_every_chunk_in_the_order_of_the_walk():
    tensors = inputs(2, 70, 18, 4)
    x, dt, A, B, C, D, z, dt_bias, state = tensors.values()
    for reverse in (False, True):
        options = True, reverse
        *_, kept = torch.ops.tsmodels.selective_scan(
            x, dt, A, B[:, :, None], C[:, :, None], D, z, dt_bias, state, *options, True
        )
        assert kept.shape == (2, 3, 4, 18)
        for chunk in range(3):
            steps = slice(70 - 32 * chunk, 70) if reverse else slice(0, 32 * chunk)
            before = tensors | {k: tensors[k][:, steps] for k in ("x", "dt", "B", "C", "z")}
            assert torch.equal(kept[:, chunk], run(before, reverse=reverse)[1].mT)


def test_autocast_changes_nothing():
    tensors = inputs(1, 8, 4, 2, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, last = run(tensors)
    assert (y.dtype, last.dtype) == (torch.float32, torch.float32)
    assert torch.equal(y, run(tensors)[0])


def test_vmap_loops_over_the_mapped_axis():
    tensors = inputs(2, 8, 4, 2)
    stacked = torch.stack([tensors["x"], 2 * tensors["x"]])
    with pytest.warns(UserWarning, match="batching rule"):
        mapped = torch.vmap(lambda x: run(tensors | {"x": x})[0])(stacked)
    expected = torch.stack([run(tensors | {"x": x})[0] for x in stacked])
    assert torch.equal(mapped, expected)


class Mixer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.A = torch.nn.Parameter(-torch.ones(4, 2))

    def forward(self, x, dt, B, C):
        return selective_scan(x, dt, self.A, B, C, dt_softplus=True)[0]


def test_modules_that_use_it_can_be_copied_and_pickled():
    tensors = inputs(1, 8, 4, 2, dtype=torch.float32)
    arguments = [tensors[k] for k in ("x", "dt", "B", "C")]
    module = Mixer()
    expected = module(*arguments)
    assert torch.equal(copy.deepcopy(module)(*arguments), expected)
    assert torch.equal(pickle.loads(pickle.dumps(module))(*arguments), expected)


def test_modules_that_use_it_can_be_compiled_and_exported():
    tensors = inputs(1, 8, 4, 2, dtype=torch.float32)
    arguments = tuple(tensors[k] for k in ("x", "dt", "B", "C"))
    module = Mixer()
    expected = module(*arguments)
    torch._dynamo.reset()  # its limit on recompilations counts those of earlier tests
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(*arguments), expected)
    (rate,) = torch.autograd.grad(compiled(*arguments).sum(), module.parameters())
    assert torch.equal(rate, torch.autograd.grad(module(*arguments).sum(), module.parameters())[0])
    exported = torch.export.export(module, arguments).module()
    with torch.no_grad():  # an exported program calls the raw operator, which has no gradient
        assert torch.equal(exported(*arguments), expected)


def test_gradients_of_function_transforms():
    tensors = inputs(2, 8, 4, 2)

    def loss(x, A, backend="auto"):
        return run(tensors | {"x": x, "A": A}, backend=backend)[0].square().sum()

    got = torch.func.grad(loss, (0, 1))(tensors["x"], tensors["A"])
    expected = torch.func.grad(lambda x, A: loss(x, A, "reference"), (0, 1))(tensors["x"], tensors["A"])
    for one, other in zip(got, expected, strict=True):
        close(one, other, 1e-12)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.ones(2, 5, dtype=torch.float64)}, ValueError, r"x must have 3 axes \(B, T, D\)"),
        ({"x": torch.ones(2, 5, 4, dtype=torch.int64)}, TypeError, "x has dtype torch.int64"),
        ({"dt": torch.ones(2, 5, 3, dtype=torch.float64)}, ValueError, r"dt must have shape \(B, T, D\)"),
        ({"dt": torch.ones(2, 5, 4)}, TypeError, "dt has dtype torch.float32, x has torch.float64"),
        ({"A": torch.ones(3, 2, dtype=torch.float64)}, ValueError, r"A must have shape \(D, N\)"),
        ({"B": torch.ones(2, 5, 3, dtype=torch.float64)}, ValueError, "B must have shape"),
        ({"C": torch.ones(2, 4, 2, dtype=torch.float64)}, ValueError, "C must have shape"),
        ({"B": torch.ones(2, 5, 3, 2, dtype=torch.float64)}, ValueError, "groups"),
        ({"B": torch.ones(2, 5, 2, 2, dtype=torch.float64)}, ValueError, "C must have shape of B"),
        ({"D": torch.ones(3, dtype=torch.float64)}, ValueError, r"D must have shape \(D,\)"),
        ({"z": torch.ones(2, 5, 3, dtype=torch.float64)}, ValueError, r"z must have shape \(B, T, D\)"),
        ({"dt_bias": torch.ones(3, dtype=torch.float64)}, ValueError, r"dt_bias must have shape \(D,\)"),
        ({"state": torch.ones(2, 4, 3, dtype=torch.float64)}, ValueError, r"state must have shape \(B, D, N\)"),
        ({"state": torch.ones(2, 4, 2)}, TypeError, "state has dtype torch.float32"),
        ({"x": [1.0]}, TypeError, "x must be a torch.Tensor"),
        ({"A": torch.ones(4, 2, dtype=torch.complex128)}, TypeError, "A has dtype torch.complex128"),
        ({"backend": "gpu"}, ValueError, "backend must be one of"),
        ({"backend": "cuda"}, ValueError, "cannot run on a tensor on cpu"),
    ],
)
def test_errors_name_the_argument(change, error, message):
    with pytest.raises(error, match=message):
        selective_scan(**inputs(2, 5, 4, 2) | change)
