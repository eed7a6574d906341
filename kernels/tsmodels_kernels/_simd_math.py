"""Exponentials and what is made of them, on the vectors of ``_simd.py``.

The functions are written for ``_Lanes``, the vectors of a kernel while it is compiled, and go into it as they stand:
Numba has nothing to infer or to inline.  All clamp where float32 would overflow or lose digits to denormal numbers, in
float64 too; NaN stays NaN.  On a machine without fused multiplication the last digit differs.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ._simd import FUSE, Vector, absolute

LOG2_E = math.log2(math.e)
LN_2 = math.log(2.0)
LARGEST_EXPONENT = 126.0  # of gates: beyond, float32 overflows or loses digits to denormal numbers


def exp2_fit(degree: int) -> list[float]:
    """Coefficients, lowest power first, of (2**f - 1) / f on |f| <= 1/2, interpolated at Chebyshev nodes."""
    nodes = 0.5 * np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    values = np.expm1(nodes * math.log(2.0)) / nodes
    return np.polynomial.Polynomial.fit(nodes, values, degree, domain=[-1, 1]).coef.tolist()


def _atanh_fit(degree: int) -> list[float]:
    """Coefficients, lowest power first, of atanh(q) / q in powers of q**2, for |q| <= 1/3."""
    nodes = (1 + np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))) / 18
    q = np.sqrt(nodes)
    return np.polynomial.Polynomial.fit(nodes, np.arctanh(q) / q, degree).convert().coef.tolist()


_EXP2_QUOTIENT = {types.float32: exp2_fit(5), types.float64: exp2_fit(11)}
# One term less: a relative error of 6e-7 instead of 5e-7 will do for the gates of a scan.
_EXP2_SHORT_QUOTIENT = {types.float32: exp2_fit(4), types.float64: exp2_fit(11)}
# One term less than ``_EXP2_QUOTIENT`` has: relative error 2e-7 of 2**f itself, where 1 - 2**f is not wanted.
_EXP2_FRACTION = {types.float32: [1.0, *exp2_fit(4)], types.float64: [1.0, *exp2_fit(10)]}
_EXP2_HALF_FRACTION = {dtype: [0.5 * c for c in fit] for dtype, fit in _EXP2_FRACTION.items()}
_ATANH_QUOTIENT = {types.float32: _atanh_fit(4), types.float64: _atanh_fit(10)}
# ln 2 in two parts, the first with so few bits that its product with an exponent is exact.
_LN2_PARTS = {
    types.float32: (0.693359375, -2.12194440e-4),
    types.float64: (6.93147180369123816490e-01, 1.90821492927058770002e-10),
}


class _Lanes:
    """A vector in a function that is being compiled; a number beside it stands for a vector of equal lanes."""

    def __init__(self, builder: ir.IRBuilder, kind: Vector, value: Any):
        self.builder, self.kind, self.value = builder, kind, value
        self.mantissa, self.bias = (23, 127) if kind.dtype.bitwidth == 32 else (52, 1023)

    def _with(self, value: Any) -> "_Lanes":
        return _Lanes(self.builder, self.kind, value)

    def _constant(self, number: float) -> ir.Constant:
        return ir.Constant(self.kind.llvm, [number] * self.kind.count)

    def _value_of(self, other: "_Lanes | float") -> Any:
        return other.value if isinstance(other, _Lanes) else self._constant(other)

    def __add__(self, other):
        return self._with(self.builder.fadd(self.value, self._value_of(other), flags=FUSE))

    def __sub__(self, other):
        return self._with(self.builder.fsub(self.value, self._value_of(other), flags=FUSE))

    def __rsub__(self, other):
        return self._with(self.builder.fsub(self._constant(other), self.value, flags=FUSE))

    def __mul__(self, other):
        return self._with(self.builder.fmul(self.value, self._value_of(other), flags=FUSE))

    def __truediv__(self, other):
        return self._with(self.builder.fdiv(self.value, self._value_of(other)))

    def __rtruediv__(self, other):
        return self._with(self.builder.fdiv(self._constant(other), self.value))

    def __neg__(self):
        return self._with(self.builder.fneg(self.value))

    def __abs__(self):
        return self._with(absolute(self.builder, self.kind, self.value))

    def clamped(self, low: float, high: float) -> "_Lanes":
        """A comparison with NaN is false and keeps it."""
        value = self.value
        for bound, compare in ((low, "<"), (high, ">")):
            limit = self._constant(bound)
            value = self.builder.select(self.builder.fcmp_ordered(compare, value, limit), limit, value)
        return self._with(value)

    def polynomial(self, coefficients: dict[Any, list[float]]) -> "_Lanes":
        """The one of this dtype, lowest power first, at these places."""
        kind = self.kind
        name, function = (
            f"llvm.fmuladd.v{kind.count}f{kind.dtype.bitwidth}",
            ir.FunctionType(kind.llvm, [kind.llvm] * 3),
        )
        fused = cgutils.get_or_insert_function(self.builder.module, function, name)
        *lower, result = (self._constant(c) for c in coefficients[kind.dtype])
        for coefficient in reversed(lower):
            result = self.builder.call(fused, [result, self.value, coefficient])
        return self._with(result)

    def rounded(self, bias: int) -> tuple["_Lanes", "_Lanes"]:
        """A sum whose low mantissa bits are the nearest integer plus ``bias``, and the nearest integer as a number."""
        rounder = 1.5 * 2.0**self.mantissa + bias
        total = self + rounder
        return total, total - rounder

    def power(self) -> tuple["_Lanes", "_Lanes"]:
        """2**k and y - k for the nearest integer k; for a NaN some number and NaN."""
        bits, k = self.rounded(self.bias)
        return bits.as_exponent(), self - k

    def as_exponent(self, number: "_Lanes | None" = None) -> "_Lanes":
        """The low bits as the exponent of a vector of ones, or added to the exponents of ``number``."""
        integers = ir.VectorType(ir.IntType(self.kind.dtype.bitwidth), self.kind.count)
        bits = self.builder.bitcast(self.value, integers)
        bits = self.builder.shl(bits, ir.Constant(integers, [self.mantissa] * self.kind.count))
        if number is not None:
            bits = self.builder.add(bits, self.builder.bitcast(number.value, integers))
        return self._with(self.builder.bitcast(bits, self.kind.llvm))


def _vector_function(function: Callable[[_Lanes], _Lanes]) -> Any:
    """Make ``function`` callable on the vectors of kernels."""

    def typed(typing_context, vector):
        return vector(vector), lambda ctx, builder, sig, args: function(_Lanes(builder, vector, args[0])).value

    typed.__name__, typed.__doc__ = function.__name__, function.__doc__
    return intrinsic(typed)


def _exp(x: _Lanes) -> _Lanes:
    x = x.clamped(-87.0, 87.0)
    bits, k = (x * LOG2_E).rounded(x.bias)
    for part in _LN2_PARTS[x.kind.dtype]:
        x = x - k * part
    return bits.as_exponent() * (x * LOG2_E).polynomial(_EXP2_FRACTION)


@_vector_function
def exp(x):
    """exp(x) for x clamped to [-87, 87]; relative error below 3e-7 in float32 and 1e-15 in float64.

    The product x log2(e) would lose the last digits of large x, so the multiple of ln 2 is taken off in two parts.
    """
    return _exp(x)


@_vector_function
def exp2(y):
    """2**y for y clamped to [-126, 126]; relative error below 3e-7 in float32 and 1e-15 in float64."""
    power, rest = y.clamped(-LARGEST_EXPONENT, LARGEST_EXPONENT).power()
    return power * rest.polynomial(_EXP2_FRACTION)


@_vector_function
def exp2_inside(y):
    """``exp2``, bit for bit, where all lanes are known to lie in [-126, 126]: three instructions less.

    The bias of 1, taken back by a fraction half as large, is odd as that of ``exp2``: ties are rounded the same way.
    """
    bits, k = y.rounded(1)
    return bits.as_exponent((y - k).polynomial(_EXP2_HALF_FRACTION))


@_vector_function
def one_minus_exp2_inside(y):
    """1 - 2**y, for y in [-126, 126]; relative error below 6e-7 in float32 and 3e-15 in float64, also for small y.

    2**y = s + s f q with s = 2**k, k = round(y), f = y - k and q = (2**f - 1) / f; hence 1 - 2**y = (1 - s) - s f q,
    in which nothing cancels for small y (s = 1).
    """
    power, rest = y.power()
    return (1.0 - power) - power * rest * rest.polynomial(_EXP2_SHORT_QUOTIENT)


@_vector_function
def clamped_exponent(y):
    """The nearest y in [-126, 126]; NaN stays NaN."""
    return y.clamped(-LARGEST_EXPONENT, LARGEST_EXPONENT)


@_vector_function
def one_minus_exp(x):
    """1 - exp(-x) for x clamped to [0, 87]; relative error below 5e-7 in float32, also where x is small."""
    power, rest = (x.clamped(0.0, 87.0) * -LOG2_E).power()
    return (1.0 - power) - power * rest * rest.polynomial(_EXP2_QUOTIENT)


@_vector_function
def softplus(x):
    """log(1 + exp(x)) = max(x, 0) + 2 atanh(w / (w + 2)) with w = exp(-|x|); relative error below 4e-7 in float32."""
    w = _exp(-abs(x))
    q = w / (w + 2.0)
    return x.clamped(0.0, math.inf) + q * 2.0 * (q * q).polynomial(_ATANH_QUOTIENT)


@_vector_function
def sigmoid(x):
    """1 / (1 + exp(-x)); relative error below 4e-7 in float32."""
    return 1.0 / (_exp(-x) + 1.0)
