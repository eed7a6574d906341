"""Explicit SIMD vectors inside Numba kernels: 64 bytes wide, 16 float32 or 8 float64.

Loops over small state arrays do not vectorise by themselves (LLVM cannot prove that the arrays do not overlap), so the
kernels say what they mean: ``vload(array, i)`` gives a vector, ``+ - *`` work lane by lane between vectors and between a
vector and a scalar, ``vstore(array, i, vector)`` writes it back.  A product followed by a sum is fused (``contract``); no
other liberty is taken, so results do not depend on the machine's vector width except through fused rounding.  A machine
with narrower registers (AVX2, NEON) runs the same code on two or four registers per vector.

Indices count elements of a contiguous one-dimensional array and are not checked.
"""

import math
import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from ._backend import VECTOR_BYTES
from ._flags import helper

_FUSE = ("contract",)


class Vector(types.Type):
    """The Numba type of ``count`` numbers of one floating-point type, held in vector registers."""

    def __init__(self, dtype: Any):
        self.dtype = dtype
        self.count = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Vector({dtype}x{self.count})")

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(_llvm_scalar(self.dtype), self.count)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector_type):
        super().__init__(manager, vector_type, vector_type.llvm)


def _llvm_scalar(dtype):
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def _splat(builder, vector_type, scalar):
    count = vector_type.count
    undefined = ir.Constant(vector_type.llvm, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), count), [0] * count)
    return builder.shuffle_vector(first, undefined, mask)


def _suffix(vector_type):
    return f"v{vector_type.count}f{vector_type.dtype.bitwidth}"


@intrinsic
def lanes(typing_context, array):
    """Number of lanes of a vector of this array's dtype, as a compile-time constant."""
    count = Vector(array.dtype).count
    return types.intp(array), lambda ctx, builder, sig, args: ir.Constant(ir.IntType(types.intp.bitwidth), count)


def _address(ctx, builder, sig, args, vector_type):
    array = ctx.make_array(sig.args[0])(ctx, builder, args[0])
    index = ctx.cast(builder, args[1], sig.args[1], types.intp)
    return builder.bitcast(builder.gep(array.data, [index]), vector_type.llvm.as_pointer())


@intrinsic
def vload(typing_context, array, index):
    """The vector that starts at ``array[index]``."""
    vector_type = Vector(array.dtype)
    itemsize = array.dtype.bitwidth // 8

    def codegen(ctx, builder, sig, args):
        return builder.load(_address(ctx, builder, sig, args, vector_type), align=itemsize)

    return vector_type(array, index), codegen


@intrinsic
def vsplat(typing_context, array, index):
    """A vector with ``array[index]`` in every lane (no wrap-around of negative indices)."""
    vector_type = Vector(array.dtype)

    def codegen(ctx, builder, sig, args):
        data = ctx.make_array(sig.args[0])(ctx, builder, args[0]).data
        index = ctx.cast(builder, args[1], sig.args[1], types.intp)
        return _splat(builder, vector_type, builder.load(builder.gep(data, [index])))

    return vector_type(array, index), codegen


@intrinsic
def vstore(typing_context, array, index, vector):
    """Write ``vector`` to ``array[index:index + lanes]``."""
    itemsize = array.dtype.bitwidth // 8

    def codegen(ctx, builder, sig, args):
        builder.store(args[2], _address(ctx, builder, sig, args, sig.args[2]), align=itemsize)
        return ctx.get_dummy_value()

    return types.void(array, index, vector), codegen


@intrinsic
def vfull(typing_context, array, value):
    """A vector of the array's dtype with ``value`` in every lane."""
    vector_type = Vector(array.dtype)

    def codegen(ctx, builder, sig, args):
        return _splat(builder, vector_type, ctx.cast(builder, args[1], sig.args[1], vector_type.dtype))

    return vector_type(array, value), codegen


@intrinsic
def vsum(typing_context, vector):
    """Sum over the lanes, added up as a balanced tree: the same order on every machine."""

    def codegen(ctx, builder, sig, args):
        total, count = args[0], vector.count
        while count > 1:
            count //= 2
            low = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(count)))
            high = ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(count, 2 * count)))
            total = builder.fadd(builder.shuffle_vector(total, total, low), builder.shuffle_vector(total, total, high))
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return vector.dtype(vector), codegen


def _infer(operation):
    class _VectorOperation(AbstractTemplate):
        def generic(self, args, kws):
            vectors = [a for a in args if isinstance(a, Vector)]
            if kws or len(args) != 2 or not vectors:
                return None
            return signature(vectors[0], *(a if isinstance(a, Vector) else vectors[0].dtype for a in args))

    infer_global(operation)(_VectorOperation)


def _lower(operation, build):
    def codegen(ctx, builder, sig, args):
        left, right = (
            value if isinstance(kind, Vector) else _splat(builder, sig.return_type, value)
            for kind, value in zip(sig.args, args, strict=True)
        )
        return getattr(builder, build)(left, right, flags=_FUSE)

    for kinds in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(operation, *kinds)(codegen)


for _operation, _build in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _infer(_operation)
    _lower(_operation, _build)


@intrinsic
def _clamp(typing_context, vector, low, high):
    """Lane-wise clamp to constants that keeps NaN: a comparison with NaN is false and selects the value itself."""

    def codegen(ctx, builder, sig, args):
        value = args[0]
        for kind, bound, compare in ((sig.args[1], args[1], "<"), (sig.args[2], args[2], ">")):
            limit = _splat(builder, vector, ctx.cast(builder, bound, kind, vector.dtype))
            value = builder.select(builder.fcmp_ordered(compare, value, limit), limit, value)
        return value

    return vector(vector, low, high), codegen


@intrinsic
def _round(typing_context, vector):
    """Nearest integer, ties to even."""

    def codegen(ctx, builder, sig, args):
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector.llvm, [vector.llvm]), f"llvm.rint.{_suffix(vector)}"
        )
        return builder.call(function, args)

    return vector(vector), codegen


@intrinsic
def _power_of_two(typing_context, vector):
    """2**k for integers k in the exponent range: k + bias, moved into the exponent bits."""
    bits = vector.dtype.bitwidth
    mantissa, bias = (23, 127) if bits == 32 else (52, 1023)
    integers = ir.VectorType(ir.IntType(bits), vector.count)

    def codegen(ctx, builder, sig, args):
        # Adding 1.5 * 2**mantissa leaves k in the low mantissa bits: a shift suffices, no float-to-integer conversion
        # (undefined for NaN) is needed.  What a NaN turns into is irrelevant: its polynomial factor is NaN.
        magic = ir.Constant(vector.llvm, [1.5 * 2.0**mantissa + bias] * vector.count)
        shifted = builder.bitcast(builder.fadd(args[0], magic), integers)
        return builder.bitcast(
            builder.shl(shifted, ir.Constant(integers, [mantissa] * vector.count)), vector.llvm
        )

    return vector(vector), codegen


def _chebyshev_fit(degree: int) -> list[float]:
    """Coefficients, lowest power first, of (2**f - 1) / f on |f| <= 1/2."""
    nodes = 0.5 * np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    values = np.expm1(nodes * math.log(2.0)) / nodes
    return np.polynomial.Polynomial.fit(nodes, values, degree, domain=[-1, 1]).coef.tolist()


_FIT = {types.float32: _chebyshev_fit(5), types.float64: _chebyshev_fit(11)}


@intrinsic
def _exp2_quotient(typing_context, vector):
    """(2**f - 1) / f for |f| <= 1/2, by a polynomial."""

    def codegen(ctx, builder, sig, args):
        constants = [ir.Constant(vector.llvm, [c] * vector.count) for c in _FIT[vector.dtype]]
        result = constants.pop()
        while constants:
            result = builder.fadd(builder.fmul(result, args[0], flags=_FUSE), constants.pop(), flags=_FUSE)
        return result

    return vector(vector), codegen


@helper
def decay(y):
    """2**y and 1 - 2**y, both to full relative precision, for y clamped to [-126, 126].

    2**y = s + s f q with s = 2**k, k = round(y), f = y - k and q = (2**f - 1) / f; hence 1 - 2**y = (1 - s) - s f q, in
    which nothing cancels for small y (s = 1).  Relative error below 5e-7 in float32 and 1e-15 in float64.  NaN stays NaN.
    """
    y = _clamp(y, -126.0, 126.0)
    k = _round(y)
    f = y - k
    s = _power_of_two(k)
    growth = s * (f * _exp2_quotient(f))
    return s + growth, (1.0 - s) - growth
