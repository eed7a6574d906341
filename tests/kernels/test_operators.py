"""What holds for every operator: torch's registration rules, compilation, clear errors."""

import pytest
import torch
from scan2d import NAMES, arguments, scan

import tsmodels_kernels
from tsmodels_kernels import affine_scan, linear_scan, plrnn_rollout, selective_scan, selective_scan_2d


def linear_arguments(**kwargs):
    return torch.rand(2, 5, 3, **kwargs), torch.rand(2, 5, 3, **kwargs), torch.rand(2, 3, **kwargs)


def affine_arguments(**kwargs):
    """J, b, state."""
    return tuple(torch.rand(shape, **kwargs) for shape in ((2, 5, 3, 3), (2, 5, 3), (2, 3)))


def selective_arguments(**kwargs):
    """x, dt, A, B, C, D, z, dt_bias, state."""
    shapes = (2, 37, 5), (2, 37, 5), (5, 3), (2, 37, 1, 3), (2, 37, 1, 3), (5,), (2, 37, 5), (5,), (2, 5, 3)
    return tuple(torch.rand(shape).mul_(-1 if i == 2 else 1).requires_grad_(**kwargs) for i, shape in enumerate(shapes))


def rollout_arguments(**kwargs):
    """z0, s, A, W1, h1, W2, h2, C."""
    shapes = (3, 4), (3, 7, 2), (4,), (4, 5), (4,), (5, 4), (5,), (4, 2)
    return tuple(torch.rand(shape).sub_(0.3).requires_grad_(**kwargs) for shape in shapes)


def rollout(z0, s, *parameters):
    theta: dict[str, torch.Tensor] = dict(zip(("A", "W1", "h1", "W2", "h2", "C"), parameters, strict=True))
    return (plrnn_rollout("cshplrnn", theta, z0, torch.ones(3, 7, 4), 0.3, s=s),)


def raw_arguments():
    """For each raw operator: detached arguments in the order of its schema."""
    tensors = arguments(2, 4, 3, 18, 2, dtype=torch.float32)
    settings = (torch.zeros(2, dtype=torch.int64), "zoh", "euler", "full", False)
    checkpoints = torch.ops.tsmodels.selective_scan_2d(*tensors, *settings, 3, True)[3]
    a, b, state = linear_arguments()
    selective = selective_arguments(requires_grad=False)
    y, last, kept = torch.ops.tsmodels.selective_scan(*selective, True, False, True)
    z0, s, *parameters = rollout_arguments(requires_grad=False)
    forced = torch.rand(7), torch.ones(4), s, *parameters, 4
    states, starts = torch.ops.tsmodels.plrnn_rollout("cshplrnn", z0, torch.ones(3, 7, 4), *forced, True)
    return {
        "affine_scan": (*affine_arguments(), True, False),
        "linear_scan": (a, b, state, False),
        "linear_scan_backward": (a, b, state, b, state, True, True),
        "plrnn_rollout": ("cshplrnn", z0, states, *forced, True),
        "plrnn_rollout_backward": ("cshplrnn", states, *forced, starts),
        "selective_scan": (*selective, True, False, True),
        "selective_scan_backward": (y, last, *selective, kept, True, False),
        "selective_scan_2d": (*tensors, *settings, 3, True),
        "selective_scan_2d_backward": (*tensors, *settings, 3, True, checkpoints, tensors[0], *tensors[12:]),
    }


CALLS = {
    "affine_scan": lambda requires_grad=False: (
        lambda J, b, s: affine_scan(J, b, state=s),
        affine_arguments(requires_grad=requires_grad),
    ),
    "linear_scan": lambda requires_grad=False: (
        lambda a, b, s: linear_scan(a, b, state=s),
        linear_arguments(requires_grad=requires_grad),
    ),
    "plrnn_rollout": lambda requires_grad=False: (rollout, rollout_arguments(requires_grad=requires_grad)),
    "selective_scan": lambda requires_grad=False: (
        lambda x, dt, A, B, C, D, z, bias, state: selective_scan(
            x, dt, A, B, C, D, z=z, dt_bias=bias, dt_softplus=True, state=state
        ),
        selective_arguments(requires_grad=requires_grad),
    ),
    "selective_scan_2d": lambda requires_grad=False: (
        lambda *t: scan(t),
        arguments(2, 4, 3, 18, 2, dtype=torch.float32, requires_grad=requires_grad),
    ),
}


def test_every_exported_operator_is_called_here():
    exported = {name for name in tsmodels_kernels.__all__ if hasattr(torch.ops.tsmodels, name)}
    assert exported == set(CALLS)
    assert {name.removesuffix("_backward") for name in raw_arguments()} == exported


RAW = [f"{name}{suffix}" for name in CALLS for suffix in ("", "_backward") if name + suffix != "affine_scan_backward"]


@pytest.mark.parametrize("name", RAW)  # the affine scan is its own backward
def test_opcheck(name):
    outcome = torch.library.opcheck(getattr(torch.ops.tsmodels, name).default, raw_arguments()[name])
    assert set(outcome.values()) == {"SUCCESS"}


def test_opcheck_of_the_selective_scan_without_what_is_optional():
    x, dt, A, B, C, *_ = selective_arguments(requires_grad=False)
    absent = (None,) * 4
    outcome = torch.library.opcheck(
        torch.ops.tsmodels.selective_scan.default, (x, dt, A, B, C, *absent, False, True, False)
    )
    assert set(outcome.values()) == {"SUCCESS"}


def test_opcheck_of_the_rollout_without_what_is_optional():
    forced = torch.rand(7), torch.ones(4), None, torch.rand(4), torch.rand(4, 4), torch.rand(4), None, None, None, 2
    arguments = ("alrnn", torch.rand(3, 4), torch.rand(3, 7, 4), *forced)
    outcome = torch.library.opcheck(torch.ops.tsmodels.plrnn_rollout.default, (*arguments, False))
    assert set(outcome.values()) == {"SUCCESS"}


def test_opcheck_of_the_two_axis_scan_without_states():
    tensors = arguments(2, 4, 3, 18, 2, dtype=torch.float32)[:12]
    settings = (None, None, torch.zeros(2, dtype=torch.int64), "zoh", "euler", "full", False, 3, False)
    outcome = torch.library.opcheck(torch.ops.tsmodels.selective_scan_2d.default, (*tensors, *settings))
    assert set(outcome.values()) == {"SUCCESS"}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_in_one_graph_with_the_same_gradients(name, dynamic):
    function, inputs = CALLS[name](requires_grad=True)

    def loss(*tensors):
        return sum(out.square().sum() for out in function(*tensors))

    torch._dynamo.reset()  # its limit on recompilations counts those of earlier tests
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    expected = torch.autograd.grad(loss(*inputs), inputs)
    for got, want in zip(torch.autograd.grad(compiled(*inputs), inputs), expected, strict=True):
        assert torch.equal(got, want)
    with torch.no_grad():
        assert torch.equal(compiled(*inputs), loss(*inputs))


@pytest.mark.parametrize("name", CALLS)
def test_checkpointing_gives_the_same_gradients(name):
    from torch.utils.checkpoint import checkpoint

    function, inputs = CALLS[name](requires_grad=True)
    expected = torch.autograd.grad(function(*inputs)[0].square().sum(), inputs)
    again = torch.autograd.grad(checkpoint(function, *inputs, use_reentrant=False)[0].square().sum(), inputs)
    assert all(torch.equal(a, b) for a, b in zip(again, expected, strict=True))


@pytest.mark.parametrize("name", CALLS)
def test_raw_operator_refuses_to_lose_a_gradient(name):
    inputs = list(raw_arguments()[name])
    next(a for a in inputs if isinstance(a, torch.Tensor)).requires_grad_()
    with pytest.raises(RuntimeError, match=rf"call tsmodels_kernels\.{name}"):
        getattr(torch.ops.tsmodels, name)(*inputs)


@pytest.mark.parametrize("name", CALLS)
def test_inputs_are_never_written_and_outputs_never_alias(name):
    function, inputs = CALLS[name](requires_grad=True)
    before = [t.detach().clone() for t in inputs]
    outputs = function(*inputs)
    sum(o.sum() for o in outputs).backward()
    assert all(torch.equal(a, b) for a, b in zip(inputs, before, strict=True))
    owned = {t.data_ptr() for t in inputs}
    assert not owned & {o.data_ptr() for o in outputs}


def test_second_derivative_and_forward_mode_of_the_selective_scan_raise():
    tensors = arguments(1, 2, 2, 2, 2, requires_grad=True)
    (first,) = torch.autograd.grad(scan(tensors)[0].sum(), tensors[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="first derivatives only"):
        first.sum().backward()
    with pytest.raises(NotImplementedError, match="jvp"), torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(tensors[0], torch.ones_like(tensors[0]))
        scan([dual, *tensors[1:]])


def good():
    return dict(zip(NAMES[:12], arguments(2, 3, 2, 4, 3)[:12], strict=True))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": torch.zeros(2, 3, 2, dtype=torch.float64)}, ValueError, r"x must have 4 axes \(B, T, V, D\)"),
        ({"dt1": torch.zeros(2, 3, 2, 5, dtype=torch.float64)}, ValueError, r"dt1 must have shape \(B, T, V, D\)"),
        ({"C2": torch.zeros(2, 3, 2, 2, dtype=torch.float64)}, ValueError, r"C2 must have shape \(B, T, V, N\)"),
        ({"B1": torch.zeros(2, 3, 2, 0, dtype=torch.float64)}, ValueError, "N >= 1"),
        ({"rho2": torch.zeros(4, 2, dtype=torch.float64)}, ValueError, r"rho2 must have shape \(D, N\).*or \(D, 1\)"),
        ({"D": torch.zeros(3, dtype=torch.float64)}, ValueError, r"D must have shape \(D,\)"),
        ({"dt2": torch.zeros(2, 3, 2, 4)}, TypeError, "dt2 has dtype torch.float32, x has torch.float64"),
        ({"x": torch.zeros(2, 3, 2, 4, dtype=torch.int64)}, TypeError, "x has dtype torch.int64"),
        ({"x": [1.0]}, TypeError, "x must be a torch.Tensor, got list"),
        ({"gates": "exact"}, ValueError, "gates must be one of 'zoh', 'literal', 'half'"),
        ({"input_rule": "tustin"}, ValueError, "input_rule must be one of"),
        ({"coupling": "both"}, ValueError, "coupling must be one of"),
        ({"coupling": "pooled", "reverse_v": True}, ValueError, "use reverse_v=False"),
        ({"n_variates": torch.tensor([1, 2])}, ValueError, "only for coupling='pooled'"),
        ({"coupling": "pooled", "n_variates": torch.tensor([0, 2])}, ValueError, "between 1 and V = 2"),
        ({"coupling": "pooled", "n_variates": torch.tensor([1.0, 2.0])}, ValueError, "int64"),
        ({"checkpoint_interval": 0}, ValueError, "checkpoint_interval must be at least 1"),
        ({"state": (torch.zeros(2, 2, 4, 2, dtype=torch.float64),) * 2}, ValueError, r"state h1 must have shape"),
        ({"state": (torch.zeros(2, 2, 4, 3),) * 2}, TypeError, "h1 has dtype torch.float32"),
        ({"x": torch.zeros(2, 3, 2, 4, dtype=torch.float64, device="meta")}, TypeError, "put them on one device"),
    ],
)
def test_bad_arguments_of_the_selective_scan_are_named(change, error, message):
    with pytest.raises(error, match=message):
        selective_scan_2d(**(good() | change))
