"""The two-axis scan against an eager torch loop over columns, in one run.

``python -m tests.benchmarks.bench_selective_scan_2d [--threads 1 2] [--repeats 7]`` prints a Markdown table.  Both
contenders are checked against the float64 definition first, run interleaved, and are timed by the wall clock; the ratio
is between their medians.
"""

import argparse
import platform
import statistics
import time

import numba
import torch

from tsmodels_kernels import selective_scan_2d

SHAPE = {"B": 8, "V": 7, "T": 96, "D": 64, "N": 16}


def column_loop(x, dt1, dt2, B1, B2, C1, C2, alpha1, rho2, rho3, alpha4):
    """What a user writes without the kernel: gates once, then a loop over columns, inside it one over variates."""
    e1, e4 = torch.exp(-dt1[..., None] * alpha1), torch.exp(-dt2[..., None] * alpha4)
    a2, a3 = (1 - e1) * rho2, (1 - e4) * rho3
    u1, u2 = (dt1 * x)[..., None] * B1[..., None, :], (dt2 * x)[..., None] * B2[..., None, :]
    h1 = h2 = torch.zeros_like(u1[:, 0])
    outputs = []
    for g1, g2, g3, g4, i1, i2, o1, o2 in zip(*(t.unbind(1) for t in (e1, a2, a3, e4, u1, u2, C1, C2)), strict=True):
        h1 = g1 * h1 + g2 * h2 + i1
        cells = [t.unbind(1) for t in (h1, g3, g4, i2)]
        rows = [cells[3][0]]
        for above, c3, c4, entering in zip(cells[0][:-1], *(c[1:] for c in cells[1:]), strict=True):
            rows.append(c3 * above + c4 * rows[-1] + entering)
        h2 = torch.stack(rows, 1)
        outputs.append((h1 * o1[:, :, None] + h2 * o2[:, :, None]).sum(-1))
    return torch.stack(outputs, 1)


def ours(*tensors):
    return selective_scan_2d(*tensors, return_state=False)[0]


def arguments(dtype=torch.float32):
    B, V, T, D, N = SHAPE.values()
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    steps = [0.1 * normal(B, T, V, D).abs() for _ in range(2)]
    maps = [normal(B, T, V, N) for _ in range(4)]
    rates = [normal(D, N).abs() + 0.1 for _ in range(2)]
    rhos = [normal(D, N).tanh() for _ in range(2)]
    tensors = [normal(B, T, V, D), *steps, *maps, rates[0], *rhos, rates[1]]
    return [t.to(dtype).requires_grad_() for t in tensors]


def gradients(function, tensors):
    return torch.autograd.grad(function(*tensors).square().sum(), tensors)


def check():
    """Refuse to time what is wrong."""
    exact, tensors = arguments(torch.float64), arguments()
    expected = [selective_scan_2d(*exact, backend="reference")[0]]
    expected += torch.autograd.grad(expected[0].square().sum(), exact)
    for function in (ours, column_loop):
        for got, want in zip([function(*tensors), *gradients(function, tensors)], expected, strict=True):
            error = ((got - want).abs().max() / want.abs().max()).item()
            assert error < 1e-4, f"{function.__name__} is off by {error:.1e}: not timed"


def run_forward(function, tensors):
    with torch.no_grad():
        function(*tensors)


def seconds(action, function, tensors):
    start = time.perf_counter()
    action(function, tensors)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    check()
    tensors = arguments()
    n_elements = 1
    for size in SHAPE.values():
        n_elements *= size
    shape = ", ".join(f"{k}={v}" for k, v in SHAPE.items())
    print(f"{shape}; float32; torch {torch.__version__}, numba {numba.__version__}, {platform.machine()}; medians\n")
    print("| pass | threads | torch column loop, ms | ours, ms | ours, ns per state element | ratio |")
    print("|---|---|---|---|---|---|")
    for n_threads in options.threads:
        torch.set_num_threads(n_threads)
        for name, action in (("forward", run_forward), ("forward + backward", gradients)):
            times = {column_loop: [], ours: []}
            for _ in range(options.repeats):
                for function, record in times.items():
                    record.append(seconds(action, function, tensors))
            loop, kernel = (statistics.median(t) for t in times.values())
            print(
                f"| {name} | {n_threads} | {loop * 1e3:.0f} | {kernel * 1e3:.1f} | {kernel / n_elements * 1e9:.2f} "
                f"| {loop / kernel:.0f} |"
            )


if __name__ == "__main__":
    main()
