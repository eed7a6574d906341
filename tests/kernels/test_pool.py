"""Threads of our own: every job once, errors handed on, results that do not depend on the number of threads."""

import threading

import numpy as np
import pytest
import torch
from scan2d import arguments, scan

import tsmodels_kernels
from tsmodels_kernels import _pool, affine_scan, linear_scan, plrnn_rollout, selective_scan
from tsmodels_kernels._pool import _Pool


def _times_run(n_jobs, grain=1):
    """How often the pool runs each of ``n_jobs``."""
    counts = np.zeros(n_jobs, int)

    def kernel(lo, hi):
        counts[lo:hi] += 1

    _pool.run(kernel, n_jobs, grain=grain)
    return counts


def test_every_job_runs_once_for_any_number_of_threads():
    for n_threads in (1, 2, 5):
        torch.set_num_threads(n_threads)
        for n_jobs, grain in ((0, 1), (1, 1), (7, 1), (100, 8), (1000, 3)):
            assert (_times_run(n_jobs, grain) == 1).all()


def test_a_number_of_threads_of_its_own():
    torch.set_num_threads(2)
    pool, callers = _Pool(), set()
    together = threading.Barrier(3, timeout=60)

    def waits_for_others(lo, hi):
        callers.add(threading.current_thread())
        if lo < 3:
            together.wait()  # passes only with three threads inside

    pool.run(waits_for_others, 12, n_threads=3)
    assert len(callers) == 3 and threading.current_thread() in callers
    callers.clear()
    pool.run(lambda lo, hi: callers.add((threading.current_thread(), lo, hi)), 12, n_threads=1)
    assert callers == {(threading.current_thread(), 0, 12)}


@pytest.mark.parametrize("failing", [{0}, {9}, set(range(10))])
def test_an_error_reaches_the_caller_and_the_pool_still_works(failing):
    torch.set_num_threads(2)

    def broken(lo, hi):
        if failing & set(range(lo, hi)):
            raise ValueError("job")

    for _ in range(3):
        with pytest.raises(ValueError, match="job"):
            _pool.run(broken, 10)
        assert (_times_run(10) == 1).all()


def test_a_busy_pool_lets_other_python_threads_run_alone():
    torch.set_num_threads(2)
    pool, inside, release = _Pool(), threading.Event(), threading.Event()

    def waits(lo, hi):
        inside.set()
        assert release.wait(60)

    first = threading.Thread(target=pool.run, args=(waits, 4))
    first.start()
    assert inside.wait(60)
    callers = set()
    pool.run(lambda lo, hi: callers.add((threading.current_thread(), lo, hi)), 4)
    release.set()
    first.join(60)
    assert callers == {(threading.current_thread(), 0, 4)}


def _random(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), requires_grad=True)


def _affine():
    leaves = [(0.2 * _random(9, 30, 6, 6)).detach().requires_grad_(), _random(9, 30, 6), _random(9, 6)]
    return lambda: affine_scan(leaves[0], leaves[1], state=leaves[2]), leaves


def _linear():
    leaves = [_random(3, 50, 200).detach().sigmoid().requires_grad_(), _random(3, 50, 200), _random(3, 200)]
    return lambda: linear_scan(leaves[0], leaves[1], state=leaves[2]), leaves


def _linear_with_contiguous_time():
    leaves = [_random(3, 200, 50).detach().sigmoid().requires_grad_(), _random(3, 200, 50), _random(3, 200)]
    return lambda: linear_scan(leaves[0].transpose(1, 2), leaves[1].transpose(1, 2), state=leaves[2]), leaves


def _selective():
    x, dt, z = (_random(3, 70, 80) for _ in range(3))
    A = (-_random(80, 5).detach().exp()).requires_grad_()
    B, C, D, bias, state = _random(3, 70, 5), _random(3, 70, 5), _random(80), _random(80), _random(3, 80, 5)
    leaves = [x, dt, A, B, C, D, z, bias, state]
    return lambda: selective_scan(x, dt, A, B, C, D, z=z, dt_bias=bias, dt_softplus=True, state=state), leaves


def _two_axes():
    leaves = arguments(3, 9, 3, 50, 4, dtype=torch.float32, requires_grad=True)
    return lambda: scan(leaves), leaves


def _piecewise_linear():
    theta = {"A": _random(5), "W1": _random(5, 20), "h1": _random(5), "W2": _random(20, 5), "h2": _random(20)}
    z0, d = _random(70, 5), _random(70, 9, 5).detach()
    return lambda: (plrnn_rollout("cshplrnn", theta, z0, d, 0.5),), [z0, *theta.values()]


PROBLEMS = {
    "affine_scan": _affine,
    "plrnn_rollout": _piecewise_linear,
    "linear_scan": _linear,
    "linear_scan, time contiguous": _linear_with_contiguous_time,
    "selective_scan": _selective,
    "selective_scan_2d": _two_axes,
}


def test_every_exported_operator_is_run_here():
    operators = {name for name in tsmodels_kernels.__all__ if hasattr(torch.ops.tsmodels, name)}
    assert {name.partition(",")[0] for name in PROBLEMS} == operators


@pytest.mark.parametrize("name", PROBLEMS)
def test_bitwise_the_same_for_any_number_of_threads(name, monkeypatch):
    share, portions = _pool.run, []

    def run(kernel, n_jobs, *args, grain=1, n_threads=None):
        """Small problems are shared too, and portions counted."""

        def counted(*args):
            portions.append(args[-2:])
            kernel(*args)

        share(counted, n_jobs, *args, grain=1, n_threads=n_threads)

    monkeypatch.setattr(_pool, "run", run)
    call, leaves = PROBLEMS[name]()
    found = []
    for n_threads in (1, 2, 4, 7):
        torch.set_num_threads(n_threads)
        portions.clear()
        out = call()
        assert len(portions) >= min(2, n_threads)  # shared indeed
        grads = torch.autograd.grad(out, leaves, [torch.ones_like(o) for o in out])
        found.append([*out, *grads])
    for others in found[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found[0], others, strict=True))
