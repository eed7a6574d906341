"""The public operators over the CUDA kernels, from arguments to gradients.

In the simulator the CUDA implementations are registered for CPU tensors while a test runs; on a GPU nothing is changed.
"""

import importlib

import pytest
import torch

pytest.importorskip("numba_cuda", reason="needs numba-cuda")
from tsmodels_kernels import affine_scan, linear_scan, plrnn_rollout, selective_scan, selective_scan_2d
from tsmodels_kernels._cuda import SIMULATED

# torch says once that the CPU kernels are overridden, which is what these tests are about
pytestmark = pytest.mark.filterwarnings("ignore:Warning only once for all operators")
HALVES = (torch.float16, torch.bfloat16)
WITHOUT_HALVES = ("affine_scan", "plrnn_rollout")
TOLERANCE = {torch.float32: (1e-5, 1e-4), torch.float16: (3e-3, 1e-2), torch.bfloat16: (3e-2, 5e-2)}


def implementations(name):
    """What the operator registers for CUDA tensors, by the suffix of its name."""
    op = importlib.import_module(f"tsmodels_kernels._{name}.op")
    if name == "affine_scan":  # its own backward
        return {"": op._implementation("cuda")}
    pair = (op._cuda, op._cuda_backward) if name.startswith("selective") else op._implementation("cuda")
    return dict(zip(("", "_backward"), pair, strict=True))


@pytest.fixture(params=["affine_scan", "linear_scan", "plrnn_rollout", "selective_scan", "selective_scan_2d"])
def on_cuda(request, device, monkeypatch):
    """Name of an operator that now runs its CUDA kernels on tensors of ``device``."""
    name = request.param
    if not SIMULATED:
        yield name
        return
    op = importlib.import_module(f"tsmodels_kernels._{name}.op")
    monkeypatch.setattr(
        op, "choose", lambda op_name, tensor, backend: "reference" if backend == "reference" else "cuda"
    )
    if name == "plrnn_rollout":  # which calls the CPU kernels past the dispatcher where it can
        monkeypatch.setattr(op, "_direct", lambda args: False)
    library = torch.library.Library("tsmodels", "IMPL")
    for suffix, function in implementations(name).items():
        library.impl(name + suffix, function, "CPU", allow_override=True)
    yield name
    library._destroy()


def problem(name, dtype, device):
    """A function of (backend, *tensors) and its tensors: data in ``dtype``, the rest at least float32."""
    generator = torch.Generator().manual_seed(0)
    wide = torch.float32 if dtype in HALVES else dtype

    def draw(*shape, kind=dtype):
        return torch.randn(shape, generator=generator).to(kind).to(device)

    if name == "affine_scan":
        tensors = 0.3 * draw(2, 9, 3, 3), draw(2, 9, 3), draw(2, 3)
        return lambda backend, J, b, state: affine_scan(J, b, state=state, backend=backend), tensors
    if name == "plrnn_rollout":
        shapes = (1, 3), (1, 3, 1), (3,), (3, 4), (3,), (4, 3), (4,), (3, 1)
        tensors = tuple(0.4 * draw(*shape) for shape in shapes)

        def rollout(backend, z0, s, *parameters):
            theta = dict(zip(("A", "W1", "h1", "W2", "h2", "C"), parameters, strict=True))
            return (plrnn_rollout("cshplrnn", theta, z0, z0.new_ones(1, 3, 3), 0.3, s=s, backend=backend),)

        return rollout, tensors
    if name == "linear_scan":
        tensors = draw(2, 9, 3).sigmoid(), draw(2, 9, 3), draw(2, 3, kind=wide)
        return lambda backend, a, b, state: linear_scan(a, b, state=state, backend=backend), tensors
    if name == "selective_scan":
        data = draw(1, 34, 4), draw(1, 34, 4), -draw(4, 2, kind=wide).exp(), draw(1, 34, 2), draw(1, 34, 2)
        parameters = draw(4, kind=wide), draw(1, 34, 4), draw(4, kind=wide), draw(1, 4, 2, kind=wide)

        def scan(backend, x, dt, A, B, C, D, z, bias, state):
            return selective_scan(x, dt, A, B, C, D, z=z, dt_bias=bias, dt_softplus=True, state=state, backend=backend)

        return scan, data + parameters
    maps = [draw(1, 4, 2, 3) for _ in range(4)]
    steps = [draw(1, 4, 2, 5).sigmoid() for _ in range(2)]
    rho = [draw(5, 3, kind=wide).tanh() for _ in range(2)]
    rates = draw(5, 3, kind=wide).exp(), *rho, draw(5, 3, kind=wide).exp()
    states = [draw(1, 2, 5, 3, kind=wide) for _ in range(2)]

    def scan_2d(backend, *t):
        y, last = selective_scan_2d(*t[:12], state=t[12:], backend=backend)
        return y, *last

    return scan_2d, (draw(1, 4, 2, 5), *steps, *maps, *rates, draw(5, kind=wide), *states)


@pytest.mark.parametrize("dtype", list(TOLERANCE), ids=str)
def test_values_and_gradients_equal_the_definition(on_cuda, dtype, device):
    if dtype in HALVES and on_cuda in WITHOUT_HALVES:
        pytest.skip("takes what it computes in")
    function, tensors = problem(on_cuda, dtype, device)
    leaves = [t.clone().requires_grad_() for t in tensors]
    exact = [t.double().requires_grad_() for t in tensors]
    got, expected = function("auto", *leaves), function("reference", *exact)
    assert got[0].dtype == dtype
    assert all(state.dtype == torch.float32 for state in got[1:])
    weights = [torch.randn_like(out) for out in expected]
    gradients = torch.autograd.grad(got, leaves, [w.to(out.dtype) for w, out in zip(weights, got, strict=True)])
    wanted = torch.autograd.grad(expected, exact, weights)
    value, gradient = TOLERANCE[dtype]
    for results, references, tolerance in ((got, expected, value), (gradients, wanted, gradient)):
        for result, reference in zip(results, references, strict=True):
            assert (result.double() - reference).abs().max() <= tolerance * max(1.0, reference.abs().max())
    assert all(g.dtype == leaf.dtype for g, leaf in zip(gradients, leaves, strict=True))


def test_without_gradients_too(on_cuda, device):
    function, tensors = problem(on_cuda, torch.float32, device)
    with torch.no_grad():
        for got, expected in zip(function("auto", *tensors), function("reference", *tensors), strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
