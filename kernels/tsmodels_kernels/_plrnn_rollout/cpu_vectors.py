"""What the kernels of piecewise-linear maps do with vectors (``_simd.py``) in memory: ReLUs, products and sums.

Addresses count bytes, and a vector is ``VECTOR_BYTES``.  A lane is a sequence in ``cpu.py``, a column of a frame in
``cpu_free.py``.  Numba's cache of their kernels does not notice edits in this file: clear it.
"""

from llvmlite import ir
from numba.extending import intrinsic

from .._backend import VECTOR_BYTES
from .._flags import helper, phase
from .._simd import array_at, lanes, vadd_sums, vload, vsplat, vstore


@intrinsic
def where_active(typing_context, argument, vector):
    """``vector`` where the argument of a ReLU is positive (or NaN, which torch lets through as well), else zero."""

    def codegen(ctx, builder, sig, args):
        zeros = ir.Constant(vector.llvm, [0.0] * vector.count)
        return builder.select(builder.fcmp_ordered("<=", args[0], zeros), zeros, args[1])

    return vector(argument, vector), codegen


@intrinsic
def relu(typing_context, vector):
    """The larger of ``vector`` and zero, NaN where it is NaN."""

    def codegen(ctx, builder, sig, args):
        zeros = ir.Constant(vector.llvm, [0.0] * vector.count)
        return builder.select(builder.fcmp_ordered("<", args[0], zeros), zeros, args[0])  # one instruction

    return vector(vector), codegen


@helper
def aligned(array):
    """Address of the first element of ``array`` from which on vectors do not cross cache lines."""
    return array.ctypes.data + -array.ctypes.data % VECTOR_BYTES


@phase
def clear(zero, target, count):
    for i in range(count):
        vstore(array_at(target, zero), i * lanes(zero), zero)


@phase
def gather(zero, sequences, apart, count, n_lanes, n_filled, vectors):
    """Vectors of the first ``count`` numbers of sequences that begin ``apart`` numbers from each other.

    Lanes that stand for no sequence repeat the first, up to ``n_filled`` lanes.
    """
    source, target, L = array_at(sequences, zero), array_at(vectors, zero), lanes(zero)
    for lane in range(n_filled):
        first = lane * apart if lane < n_lanes else 0
        for i in range(count):
            target[i * L + lane] = source[first + i]


@phase
def scatter(zero, vectors, count, n_lanes, sequences, apart):
    """The inverse of ``gather``."""
    source, target, L = array_at(vectors, zero), array_at(sequences, zero), lanes(zero)
    for lane in range(n_lanes):
        for i in range(count):
            target[lane * apart + i] = source[i * L + lane]


@phase
def add_product(zero, weights, by_row, by_column, n_rows, n_columns, source, target):
    """Add to target[i] the sum over j of weights[i * by_row + j * by_column] source[j].

    Four rows at a time; the last block takes its last row more than once, which writes the same again.
    """
    w, x, y, L = array_at(weights, zero), array_at(source, zero), array_at(target, zero), lanes(zero)
    end = n_rows - 1
    for i in range(0, n_rows, 4):
        i1, i2, i3 = min(i + 1, end), min(i + 2, end), min(i + 3, end)
        y0, y1, y2, y3 = vload(y, i * L), vload(y, i1 * L), vload(y, i2 * L), vload(y, i3 * L)
        for j in range(n_columns):
            column, value = j * by_column, vload(x, j * L)
            y0 = y0 + vsplat(w, i * by_row + column) * value
            y1 = y1 + vsplat(w, i1 * by_row + column) * value
            y2 = y2 + vsplat(w, i2 * by_row + column) * value
            y3 = y3 + vsplat(w, i3 * by_row + column) * value
        vstore(y, i * L, y0)
        vstore(y, i1 * L, y1)
        vstore(y, i2 * L, y2)
        vstore(y, i3 * L, y3)


@phase
def add_outer(zero, n_steps, left, n_left, right, n_right, totals):
    """Add left[t, i] right[t, j], summed over steps and lanes, to totals[j * n_left + i].

    Three by two sums at a time; four numbers are written, which may add zero to up to three behind the last.
    """
    a, b, total, L = array_at(left, zero), array_at(right, zero), array_at(totals, zero), lanes(zero)
    for j in range(0, n_right, 2):
        j1 = min(j + 1, n_right - 1)
        for i in range(0, n_left, 3):
            i1, i2 = min(i + 1, n_left - 1), min(i + 2, n_left - 1)
            s0, s1, s2, s3, s4, s5 = zero, zero, zero, zero, zero, zero
            for t in range(n_steps):
                rows, columns = t * n_left, t * n_right
                value = vload(b, (columns + j) * L)
                s0 = s0 + vload(a, (rows + i) * L) * value
                s1 = s1 + vload(a, (rows + i1) * L) * value
                s2 = s2 + vload(a, (rows + i2) * L) * value
                value = vload(b, (columns + j1) * L)
                s3 = s3 + vload(a, (rows + i) * L) * value
                s4 = s4 + vload(a, (rows + i1) * L) * value
                s5 = s5 + vload(a, (rows + i2) * L) * value
            if i + 1 >= n_left:
                s1, s4 = zero, zero
            if i + 2 >= n_left:
                s2, s5 = zero, zero
            vadd_sums(total, j * n_left + i, s0, s1, s2, zero)
            if j + 1 < n_right:
                vadd_sums(total, j1 * n_left + i, s3, s4, s5, zero)


@phase
def add_lanes(zero, vectors, count, totals):
    """Add the sums over the lanes of vectors to ``totals``, which has room for three numbers more."""
    source, total, L = array_at(vectors, zero), array_at(totals, zero), lanes(zero)
    for i in range(0, count, 4):
        a, b, c, d = vload(source, i * L), zero, zero, zero
        if i + 1 < count:
            b = vload(source, (i + 1) * L)
        if i + 2 < count:
            c = vload(source, (i + 2) * L)
        if i + 3 < count:
            d = vload(source, (i + 3) * L)
        vadd_sums(total, i, a, b, c, d)


@phase
def put(zero, totals, n_rows, n_columns, out):
    """Write totals[j * n_rows + i] to out[i, j]."""
    source, target = array_at(totals, zero), array_at(out, zero)
    for i in range(n_rows):
        for j in range(n_columns):
            target[i * n_columns + j] = source[j * n_rows + i]


@helper
def mean(zero, vectors, count):
    total = zero
    for i in range(count):
        total = total + vload(array_at(vectors, zero), i * lanes(zero))
    return total * (1.0 / count)
