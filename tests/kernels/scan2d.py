"""Arguments for the two-axis scan and comparisons, shared by the kernel tests."""

import torch

from tsmodels_kernels import selective_scan_2d

NAMES = ("x", "dt1", "dt2", "B1", "B2", "C1", "C2", "alpha1", "rho2", "rho3", "alpha4", "D", "h1", "h2")
# Relative to the largest magnitude in the array: forward, gradients.
TOLERANCE = {torch.float64: (1e-12, 1e-12), torch.float32: (2e-6, 1e-5)}


def arguments(B, T, V, D, N, *, dtype=torch.float64, gates="zoh", seed=0, requires_grad=False):
    """Random tensors of every argument, in the order of NAMES; steps and rates positive, couplings inside (-1, 1)."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    steps = [normal(B, T, V, D).abs() * 0.3 for _ in range(2)]
    maps = [normal(B, T, V, N) for _ in range(4)]
    rates = [normal(D, N).abs() + 0.1 for _ in range(2)]
    cross = [normal(D, N).tanh() if gates == "zoh" else normal(D, N).abs() + 0.2 for _ in range(2)]
    states = [normal(B, V, D, N) for _ in range(2)]
    tensors = [normal(B, T, V, D), *steps, *maps, rates[0], *cross, rates[1], normal(D), *states]
    return [t.to(dtype).requires_grad_(requires_grad) for t in tensors]


def scan(tensors, **options):
    """The public operator on tensors in the order of NAMES, as one flat tuple y, h1, h2."""
    y, state = selective_scan_2d(*tensors[:12], state=tuple(tensors[12:]), **options)
    return y, *state


def gradients(outputs, tensors, seed=1):
    """Gradients of a random weighting of all outputs; zeros where an input has no influence."""
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.randn(o.shape, generator=generator, dtype=torch.float64).to(o.dtype) for o in outputs]
    grads = torch.autograd.grad(outputs, tensors, weights, allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(grads, tensors, strict=True)]


def assert_close(actual, expected, tolerance, name=""):
    """Largest error relative to the largest magnitude."""
    assert actual.shape == expected.shape, name
    if not expected.numel():
        return
    scale = expected.abs().max().item() or 1.0
    error = (actual.to(expected.dtype) - expected).abs().max().item() / scale
    assert error <= tolerance, f"{name}: relative error {error:.2e} over {tolerance:.0e}"
