"""Comparisons and quotients of the vectors of ``_simd.py``: what a minimum over lags needs."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic
def any_below(typing_context, vector, limits):
    """Whether a lane of ``vector`` is smaller than that of ``limits``."""

    def codegen(ctx, builder, sig, args):
        lanes = ir.IntType(vector.count)
        below = builder.bitcast(builder.fcmp_ordered("<", *args), lanes)
        return builder.icmp_unsigned("!=", below, ir.Constant(lanes, 0))

    return types.boolean(vector, vector), codegen


@intrinsic
def ratios(typing_context, a, b):
    """Lane by lane the larger of two positive numbers over the smaller."""

    def codegen(ctx, builder, sig, args):
        below = builder.fcmp_ordered("<", *args)
        return builder.fdiv(builder.select(below, args[1], args[0]), builder.select(below, args[0], args[1]))

    return a(a, a), codegen


@intrinsic
def smallest(typing_context, vector):
    """The smallest lane of a vector without NaN."""

    def codegen(ctx, builder, sig, args):
        value, count = args[0], vector.count
        while count > 1:
            count //= 2
            low, high = (
                builder.shuffle_vector(value, value, ir.Constant(ir.VectorType(ir.IntType(32), count), list(lanes)))
                for lanes in (range(count), range(count, 2 * count))
            )
            value = builder.select(builder.fcmp_ordered("<", low, high), low, high)
        return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

    return vector.dtype(vector), codegen
