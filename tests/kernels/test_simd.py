"""The vector type and its exponentials, inside Numba kernels."""

import os
import platform
import re
import subprocess
import sys

import numpy as np
import pytest

from tsmodels_kernels import _simd_math
from tsmodels_kernels._flags import kernel
from tsmodels_kernels._simd import (
    array_at,
    lanes,
    vadd_sums,
    vfull,
    vload,
    vload_part,
    vsplat,
    vstore,
    vstore_part,
    vwithin,
)


@kernel
def decays(y, gate, complement, lo, hi):
    for i in range(lo, hi, lanes(y)):
        v = vload(y, i)
        vstore(gate, i, _simd_math.exp2(v))
        vstore(complement, i, _simd_math.one_minus_exp2_inside(_simd_math.clamped_exponent(v)))


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


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 6e-7), (np.float64, 3e-15)])
def test_decay_to_relative_precision(dtype, tolerance):
    y = np.concatenate([np.linspace(-125, 0, 100_003), -np.logspace(-30, 0, 10_001)]).astype(dtype)
    y = y[y != 0]
    exact = y.astype(np.longdouble)
    gate, complement = decay_of(y)
    assert np.abs(gate / np.exp2(exact) - 1).max() < tolerance / 2
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


@kernel
def functions(x, exp, exp2, exp2_inside, softplus, sigmoid, one_minus_exp, lo, hi):
    for i in range(lo, hi, lanes(x)):
        v = vload(x, i)
        vstore(exp, i, _simd_math.exp(v))
        vstore(exp2, i, _simd_math.exp2(v))
        vstore(exp2_inside, i, _simd_math.exp2_inside(v))
        vstore(softplus, i, _simd_math.softplus(v))
        vstore(sigmoid, i, _simd_math.sigmoid(v))
        vstore(one_minus_exp, i, _simd_math.one_minus_exp(v))


NAMES = ("exp", "exp2", "exp2_inside", "softplus", "sigmoid", "one_minus_exp")


def values_of(x):
    padded = np.concatenate([x, np.zeros(-len(x) % 16, x.dtype)])
    results = {name: np.empty_like(padded) for name in NAMES}
    functions(padded, *results.values(), 0, len(padded))
    return {name: result[: len(x)] for name, result in results.items()}


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 5e-7), (np.float64, 3e-15)])
def test_functions_to_relative_precision(dtype, tolerance):
    x = np.concatenate([np.linspace(-86, 86, 100_003), np.logspace(-30, 0, 5_001), -np.logspace(-30, 0, 5_001)])
    x = x.astype(dtype)
    exact = x.astype(np.longdouble)
    expected = {"exp": np.exp(exact), "exp2": np.exp2(exact), "exp2_inside": np.exp2(exact)}
    expected |= {
        "softplus": np.log1p(np.exp(-np.abs(exact))) + np.maximum(exact, 0),
        "sigmoid": 1 / (1 + np.exp(-exact)),
    }
    expected |= {"one_minus_exp": -np.expm1(-np.maximum(exact, 0))}
    for name, got in values_of(x).items():
        zero = expected[name] == 0
        assert (got[zero] == 0).all(), name
        assert np.abs(got[~zero] / expected[name][~zero] - 1).max() < tolerance, name


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_functions_at_the_edges(dtype):
    x = np.array([0, -0.0, 87, -87, 88, -88, 100, -100, 126, -126, 1e30, -1e30, np.inf, -np.inf, np.nan], dtype)
    got = values_of(x)
    for name in set(NAMES) - {"exp2_inside"}:
        assert np.isnan(got[name][-1]), name
        assert not np.isnan(got[name][:-1]).any(), name
    for name in ("exp", "exp2", "softplus", "sigmoid"):
        assert (got[name][:-1] >= 0).all(), name
    np.testing.assert_array_equal(got["exp"][:2], 1)
    np.testing.assert_array_equal(got["exp2"][8:14], np.exp2(np.array([126, -126] * 3, dtype)))
    np.testing.assert_array_equal(got["softplus"][[6, 10, 12]], x[[6, 10, 12]])
    np.testing.assert_array_equal(got["sigmoid"][[6, 10, 12]], 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_short_way_to_exp2_gives_the_same_bits(dtype):
    x = np.random.default_rng(0).uniform(-126, 126, 100_000).astype(dtype)
    x[:4] = 126, -126, -125.5, 125.5
    got = values_of(x)
    np.testing.assert_array_equal(got["exp2"], got["exp2_inside"])


@kernel
def parts(source, target, inside, count, lo, hi):
    for i in range(lo, hi):
        v = vload_part(source, i, count)
        inside[i] = vwithin(v, 2.0)
        vstore_part(array_at(target.ctypes.data, source), i * lanes(source), v, count)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [0, 1, 5, 8])
def test_parts_of_vectors_touch_nothing_behind_them(dtype, count):
    n = 64 // np.dtype(dtype).itemsize
    source = np.array([1, -2, 2, 0, 1, -1, 1, 2, np.nan, 3, -3, 0], dtype)
    target, inside = np.full(4 * n, 7, dtype), np.zeros(4, bool)
    parts(source, target, inside, count, 0, 4)
    for i in range(4):
        row = target[i * n : (i + 1) * n]
        np.testing.assert_array_equal(row[:count], source[i : i + count])
        assert (row[count:] == 7).all()
        assert inside[i] == (np.abs(source[i : i + count]) <= 2).all()


CODE = """
from numba import types
from tsmodels_kernels._selective_scan import cpu
number, floats, plan = types.int64, types.Array(types.float32, 1, "C"), types.Array(types.int64, 1, "C")
three, two = types.UniTuple(number, 3), types.UniTuple(number, 2)
cpu._advance.compile((floats, three, three, plan, two, *(number,) * 6, types.boolean))
print(next(iter(cpu._advance.inspect_asm().values())))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names processors of one family")
@pytest.mark.parametrize(
    ("processor", "register", "fused"),
    [
        pytest.param("skylake-avx512", "zmm", True, marks=pytest.mark.slow),
        ("haswell", "ymm", True),
        pytest.param("x86-64", "xmm", False, marks=pytest.mark.slow),
    ],
)
def test_kernels_use_the_widest_registers_of_the_machine(processor, register, fused):
    environment = os.environ | {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    code = subprocess.run(
        [sys.executable, "-c", CODE], env=environment, check=True, capture_output=True, text=True, timeout=300
    ).stdout
    products = re.findall(r"v?(?:mulps|fmadd\d+ps)\s.*%(.mm)", code)
    assert len(products) > 20
    assert set(products) == {register}
    assert ("vfmadd" in code) == fused
