"""The vector type and its exponential, inside Numba kernels."""

import numpy as np
import pytest

from tsmodels_kernels._flags import kernel
from tsmodels_kernels._simd import decay, lanes, vadd_sums, vfull, vload, vsplat, vstore


@kernel
def decays(y, gate, complement, lo, hi):
    for i in range(lo, hi, lanes(y)):
        e, m = decay(vload(y, i))
        vstore(gate, i, e)
        vstore(complement, i, m)


@kernel
def arithmetic(x, y, out, lo, hi):
    for i in range(lo, hi, lanes(x)):
        vstore(out, i, 2.0 * vload(x, i) * vload(y, i) - (vload(y, i) + vfull(x, 1.5)) + vsplat(x, 3))


@kernel
def sums(x, out, lo, hi):
    n = lanes(x)
    for i in range(lo, hi):
        at = 4 * n * i
        vadd_sums(out, 4 * i, vload(x, at), vload(x, at + n), vload(x, at + 2 * n), vload(x, at + 3 * n))


def decay_of(y):
    padded = np.concatenate([y, np.zeros(-len(y) % 16, y.dtype)])
    gate, complement = np.empty_like(padded), np.empty_like(padded)
    decays(padded, gate, complement, 0, len(padded))
    return gate[: len(y)], complement[: len(y)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 5e-7), (np.float64, 1e-14)])
def test_decay_to_relative_precision(dtype, tolerance):
    y = np.concatenate([np.linspace(-125, 0, 100_003), -np.logspace(-30, 0, 10_001)]).astype(dtype)
    y = y[y != 0]
    exact = y.astype(np.longdouble)
    gate, complement = decay_of(y)
    assert np.abs(gate / np.exp2(exact) - 1).max() < tolerance
    assert np.abs(complement / -np.expm1(exact * np.log(np.longdouble(2))) - 1).max() < tolerance


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_decay_at_the_edges(dtype):
    special = np.array([0, -0.0, -np.inf, -1e30, np.inf, 200, np.nan], dtype)
    gate, complement = decay_of(special)
    tiny, huge = dtype(2.0**-126), dtype(2.0**126)
    np.testing.assert_array_equal(gate, [1, 1, tiny, tiny, huge, huge, np.nan])
    np.testing.assert_array_equal(complement[:2], [0, 0])
    assert (complement[2:4] == 1).all()
    assert np.isnan(complement[-1])
    whole = -np.arange(127, dtype=dtype)
    np.testing.assert_array_equal(decay_of(whole)[0], np.exp2(whole))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arithmetic_and_sums(dtype):
    x, y = np.random.default_rng(0).normal(size=(2, 64)).astype(dtype)
    out = np.empty_like(x)
    arithmetic(x, y, out, 0, 64)
    np.testing.assert_allclose(out, 2 * x * y - (y + dtype(1.5)) + x[3], rtol=0, atol=20 * np.finfo(dtype).eps)
    n = 64 // x.itemsize
    blocks = np.random.default_rng(1).normal(size=(3, 4, n)).astype(dtype)
    totals = np.ones(12, dtype)
    sums(blocks.reshape(-1), totals, 0, 3)
    np.testing.assert_allclose(totals, 1 + blocks.sum(-1).reshape(-1), rtol=0, atol=50 * np.finfo(dtype).eps)
