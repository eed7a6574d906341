"""Explicit SIMD vectors inside Numba kernels: 64 bytes wide, 16 float32 or 8 float64.

Loops over small state arrays do not vectorise by themselves (LLVM cannot prove that the arrays do not overlap), so
the kernels say what they mean: ``vload(array, i)`` gives a vector, ``+ - *`` work lane by lane between vectors and
between a vector and a scalar, ``vstore(array, i, vector)`` writes it back; ``_simd_math.py`` has the exponentials.  A
product followed by a sum is fused (``contract``); no other liberty is taken, so results do not depend on the machine's
vector width except through fused rounding.  A machine with narrower registers (AVX2, NEON) runs the same code on two or
four registers per vector.

Indices count elements of a contiguous one-dimensional array and are not checked.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model
from numba.np.arrayobj import populate_array

from ._backend import VECTOR_BYTES

FUSE = ("contract",)


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
    return builder.shuffle_vector(first, undefined, _lanes_mask([0] * count))


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


def unchecked_array(ctx, builder, kind, data):
    """The value of an array of length 0 that begins at ``data``, in a function that is being compiled."""
    array = ctx.make_array(kind)(ctx, builder)
    nothing, itemsize = (ir.Constant(ir.IntType(types.intp.bitwidth), k) for k in (0, kind.dtype.bitwidth // 8))
    populate_array(array, data=data, shape=[nothing], strides=[itemsize], itemsize=itemsize, meminfo=None)
    return array._getvalue()


@intrinsic
def array_at(typing_context, address, like):
    """The memory at an address as an array of the dtype of ``like``.

    Its length is said to be 0: indices are not checked, and negative ones not taken from the end.  A tensor of any
    strides costs a call some numbers instead of an array, and one compiled kernel serves them all.
    """

    def codegen(ctx, builder, sig, args):
        data = builder.inttoptr(args[0], ctx.get_data_type(like.dtype).as_pointer())
        return unchecked_array(ctx, builder, sig.return_type, data)

    return types.Array(like.dtype, 1, "C")(address, like), codegen


def _first_lanes(builder, vector_type, count):
    """A mask of the lanes below ``count``."""
    integer = ir.IntType(32)
    counts = ir.VectorType(integer, vector_type.count)
    undefined = ir.Constant(counts, ir.Undefined)
    count = builder.insert_element(undefined, builder.trunc(count, integer), ir.Constant(integer, 0))
    count = builder.shuffle_vector(count, undefined, _lanes_mask([0] * vector_type.count))
    return builder.icmp_signed("<", ir.Constant(counts, list(range(vector_type.count))), count)


def _masked(builder, vector_type, operation, result, arguments):
    """Call of ``llvm.masked.load`` or ``llvm.masked.store``."""
    shape = f"v{vector_type.count}f{vector_type.dtype.bitwidth}"
    kind = ir.FunctionType(result, [a.type for a in arguments])
    name = f"llvm.masked.{operation}.{shape}.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@intrinsic
def vload_part(typing_context, array, index, count):
    """The first ``count`` lanes of ``vload(array, index)``, and zeros; nothing is read behind them."""
    vector_type = Vector(array.dtype)

    def codegen(ctx, builder, sig, args):
        address = _address(ctx, builder, sig, args, vector_type)
        mask = _first_lanes(builder, vector_type, ctx.cast(builder, args[2], sig.args[2], types.int64))
        alignment = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
        zeros = ir.Constant(vector_type.llvm, [0.0] * vector_type.count)
        return _masked(builder, vector_type, "load", vector_type.llvm, [address, alignment, mask, zeros])

    return vector_type(array, index, count), codegen


@intrinsic
def vstore_part(typing_context, array, index, vector, count):
    """Write the first ``count`` lanes of ``vector`` to ``array[index:index + count]``."""

    def codegen(ctx, builder, sig, args):
        address = _address(ctx, builder, sig, args, vector)
        mask = _first_lanes(builder, vector, ctx.cast(builder, args[3], sig.args[3], types.int64))
        alignment = ir.Constant(ir.IntType(32), array.dtype.bitwidth // 8)
        _masked(builder, vector, "store", ir.VoidType(), [args[2], address, alignment, mask])
        return ctx.get_dummy_value()

    return types.void(array, index, vector, count), codegen


@intrinsic
def vwithin(typing_context, vector, limit):
    """Whether no lane is further from zero than ``limit``; false where one is NaN."""

    def codegen(ctx, builder, sig, args):
        bound = _splat(builder, vector, ctx.cast(builder, args[1], sig.args[1], vector.dtype))
        inside = builder.fcmp_ordered("<=", absolute(builder, vector, args[0]), bound)
        everywhere = ir.IntType(vector.count)
        return builder.icmp_unsigned("==", builder.bitcast(inside, everywhere), ir.Constant(everywhere, -1))

    return types.boolean(vector, limit), codegen


def absolute(builder, vector_type, value):
    name = f"llvm.fabs.v{vector_type.count}f{vector_type.dtype.bitwidth}"
    kind = ir.FunctionType(vector_type.llvm, [vector_type.llvm])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [value])


@intrinsic
def vadd_sums(typing_context, array, index, a, b, c, d):
    """Add the sums over the lanes of four vectors to ``array[index:index + 4]``.

    Vectors are folded to eight lanes first, half onto half, so that machines with narrow registers shuffle less; then
    the four trees are added up side by side, in an order that depends on nothing but the number of lanes.
    """
    itemsize = array.dtype.bitwidth // 8

    def halves_added(builder, vector):
        count = vector.type.count // 2
        low, high = (_lanes_mask(range(start, start + count)) for start in (0, count))
        return builder.fadd(builder.shuffle_vector(vector, vector, low), builder.shuffle_vector(vector, vector, high))

    def folded(builder, left, right, low):
        shuffle = builder.shuffle_vector
        return builder.fadd(
            shuffle(left, right, _lanes_mask(low)), shuffle(left, right, _lanes_mask([k + 2 for k in low]))
        )

    def codegen(ctx, builder, sig, args):
        vectors = args[2:]
        while vectors[0].type.count > 8:
            vectors = [halves_added(builder, vector) for vector in vectors]
        groups = range(0, 8, 4)
        # in each group of four lanes: a 0 + a 2, b 0 + b 2, a 1 + a 3, b 1 + b 3
        pairs = [k for i in groups for k in (i, 8 + i, i + 1, 9 + i)]
        ab, cd = folded(builder, *vectors[:2], pairs), folded(builder, *vectors[2:], pairs)
        total = folded(builder, ab, cd, [k for i in groups for k in (i, i + 1, 8 + i, 9 + i)])
        total = halves_added(builder, total)
        data = ctx.make_array(sig.args[0])(ctx, builder, args[0]).data
        start = builder.gep(data, [ctx.cast(builder, args[1], sig.args[1], types.intp)])
        start = builder.bitcast(start, total.type.as_pointer())
        builder.store(builder.fadd(builder.load(start, align=itemsize), total), start, align=itemsize)
        return ctx.get_dummy_value()

    return types.void(array, index, a, b, c, d), codegen


def _lanes_mask(indices):
    indices = list(indices)
    return ir.Constant(ir.VectorType(ir.IntType(32), len(indices)), indices)


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
        return getattr(builder, build)(left, right, flags=FUSE)

    for kinds in ((Vector, Vector), (Vector, types.Float), (types.Float, Vector)):
        lower_builtin(operation, *kinds)(codegen)


for _operation, _build in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _infer(_operation)
    _lower(_operation, _build)
