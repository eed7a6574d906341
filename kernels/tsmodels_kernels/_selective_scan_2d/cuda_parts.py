"""What the CUDA kernels of the two-axis scan share: how a block walks the cells, and the equations of one cell.

A block owns one batch element, 32 neighbouring channels (the lanes of a warp) and a slice of the states, one for each
of its warps; it walks all columns itself.  So a thread owns one lattice (b, d, n), rows of x and dt are read as whole
cache lines, and the maps B and C, which all channels share, are broadcast from shared memory.

The walk is a sequence of tiles of up to eight cells.  While a block computes one tile, the inputs of the next are on
their way to registers.  Up to ``TILE`` variates, a tile is as many whole columns as fit; the number of variates is
then a compile-time constant (``width``), the loop over the cells of a tile unrolls, and the states of a column stay in
registers.  Beyond (``width`` 0), a tile is a part of one column and the states are in memory that only the thread
itself reads and writes.  The pooled coupling walks each column twice, as its mean is known only at the column's end.

The two states of a cell obey the same equation with the roles of own and other exchanged::

    h = a_own own + a_other other + w x B       h1: own = h1[v,t-1], other = h2[v,t-1];  h2: own = h2[v-1,t], ...

with ``rate`` = -alpha log2(e) of the own gate, ``link`` = rho, or -alpha log2(e) of the other gate with literal gates,
and ``inverse`` = 1/alpha (of the "zoh" input rule alone).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numba import types

from .._cuda import WARP, device, device_intrinsic, exp2_for, int64, storage_of
from .._simd_math import LN_2, LOG2_E, exp2_fit
from .options import Options

TILE = 8


@device_intrinsic(int)
def fresh(typing_context, value):
    """The same 64-bit integer, as if it had just been read.

    Offsets computed from it are not shared with those of other places, nor moved out of a loop: there are dozens of
    them, and each would occupy two registers all the time to save one addition or multiplication for eight cells.
    """

    def codegen(ctx, builder, sig, args):
        word = ir.IntType(64)
        value = ctx.cast(builder, args[0], sig.args[0], types.int64)
        return builder.asm(ir.FunctionType(word, [word]), "mov.b64 $0, $1;", "=l,l", [value], True)

    return types.int64(value), codegen


class Kind(NamedTuple):
    """The compile-time constants of a kernel."""

    dtype: torch.dtype  # of the tensors with one number per cell and channel, or cell and state
    out_dtype: torch.dtype  # of the output per cell and channel: partial sums stay in the computing dtype
    gates: str
    input_rule: str
    coupling: str
    width: int  # V if a column's states stay in registers, else 0
    warps: int  # states of a block

    @property
    def options(self) -> Options:
        return Options(self.gates, self.input_rule, self.coupling)

    @property
    def column(self) -> int:
        """Cells of a tile that belong to one column."""
        return self.width or TILE

    @property
    def columns(self) -> int:
        """Columns of a tile, more than one only if they are whole."""
        return TILE // self.column

    @property
    def pooled(self) -> bool:
        return self.coupling == "pooled"

    def launch_bounds(self, warps_each: int) -> tuple[int, int]:
        """Threads of a block, and blocks that a multiprocessor must hold (half as many for float64): caps registers."""
        if self.dtype == torch.float64:
            warps_each //= 2
        return WARP * self.warps, warps_each // self.warps

    @property
    def number(self) -> Any:
        """Numba type of the arithmetic."""
        return storage_of(self.dtype).compute


def warps_for(dtype: torch.dtype, n_states: int) -> int:
    """Eight states a block, four where they are wider or no more exist: shared memory stays below 48 KB."""
    return 4 if dtype == torch.float64 or n_states <= 4 else 8


def width_for(V: int, options: Options) -> int:
    """``Kind.width``: V where the states of a column fit into registers."""
    return V if V <= TILE and options.coupling != "pooled" else 0


class Equations(NamedTuple):
    """Device functions of one of the two states of a cell; ``lattice`` = (rate, link, inverse)."""

    lattice: Callable  # (alpha, rho, index) -> lattice
    state: Callable  # (own, other, heard, x, B, dt, lattice) -> h; own and other count if heard
    adjoint: Callable  # (p, own, other, heard, x, B, dt, lattice) -> what p hands to own and other, gradients


def _decay_float32() -> Callable:
    """2**y and 1 - 2**y by the special function unit, the latter by a polynomial where it would cancel."""
    exp2 = exp2_for(storage_of(torch.float32))
    c0, c1, c2, c3, c4 = (np.float32(c) for c in exp2_fit(4))
    one, half = np.float32(1.0), np.float32(0.5)

    @device
    def decay(dt, rate):
        y = dt * rate
        e = exp2(y)
        near = -y * ((((c4 * y + c3) * y + c2) * y + c1) * y + c0)
        return e, (near if abs(y) < half else one - e)

    return decay


@device
def _decay_float64(dt, rate):
    y = dt * rate
    return math.exp2(y), -math.expm1(y * LN_2)


def equations_for(kind: Kind, linked: bool) -> Equations:
    """Equations of one state; without ``linked`` it does not hear the other one."""
    options, number = kind.options, np.float64 if kind.number == types.float64 else np.float32
    decay = _decay_float64 if kind.number == types.float64 else _decay_float32()
    exp2 = exp2_for(storage_of(kind.dtype))
    exact, scale = options.gates == "zoh", number(options.gate_scale)
    zoh_input = options.input_rule == "zoh"
    zero, one, ln_2, to_log2 = number(0.0), number(1.0), number(LN_2), number(-LOG2_E)

    @device
    def lattice(alpha, rho, at):
        inverse = one / alpha[at] if zoh_input else one
        return to_log2 * alpha[at], (rho[at] if exact else to_log2 * rho[at]), inverse

    @device
    def state(own, other, heard, x, b, dt, lattice):
        rate, link, inverse = lattice
        e, m = decay(dt, rate)
        h = (m * inverse if zoh_input else dt) * x * b
        if heard:
            if not linked:
                h += scale * e * own
            elif exact:
                h += e * own + m * link * other
            else:
                h += scale * (e * own + exp2(dt * link) * other)
        return h

    @device
    def adjoint(p, own, other, heard, x, b, dt, lattice):
        """What p, the gradient of h, hands on to own and other; gradients of x, dt, B, rate and link."""
        rate, link, inverse = lattice
        e, m = decay(dt, rate)
        to_own, to_other, g_dt, g_rate, g_link = zero, zero, zero, zero, zero
        if heard:
            to_own = p * (scale * e)
            slope = to_own * own  # gradient of dt rate
            g_dt = slope * rate
            if linked and exact:
                to_other = p * (m * link)
                slope -= to_own * (link * other)
                g_dt, g_link = slope * rate, p * m * other
            elif linked:
                to_other = p * (scale * exp2(dt * link))
                slope_other = to_other * other
                g_dt, g_link = g_dt + slope_other * link, slope_other * dt
            g_dt, g_rate = g_dt * ln_2, slope * dt
        pb = p * b
        if zoh_input:
            w = m * inverse
            g_dt, g_rate = g_dt + pb * x * e, g_rate + pb * x * ((w - dt * e) * inverse)
            return to_own, to_other, pb * w, g_dt, p * w * x, g_rate, g_link
        return to_own, to_other, pb * dt, g_dt + pb * x, p * dt * x, g_rate, g_link

    return Equations(lattice, state, adjoint)


class Walk(NamedTuple):
    """Device functions that say where the cells of a tile are.

    A tile begins at column ``t`` and place ``i`` in it, counted in the order of the walk; ``second`` on the second
    time that a pooled column is walked; ``k`` counts the cells of a tile.
    """

    ahead: Callable  # (t, i, second, V) -> those of the next tile
    back: Callable  # (t, i, second, V) -> those of the tile before
    exists: Callable  # (t, i, k, end, V) -> whether the tile has a cell k, for ``end`` columns
    offset: Callable  # (k, V, step) -> position in memory of cell k behind the first; places are ``step`` cells apart


def walk_for(kind: Kind) -> Walk:
    height, columns, pooled = kind.column, kind.columns, kind.pooled
    n_cells = height * columns

    @device
    def ahead(t, i, second, V):
        if i + height < V:
            return t, i + height, second
        if pooled and not second:
            return t, int64(0), True
        return t + columns, int64(0), False

    @device
    def back(t, i, second, V):
        if i > 0:
            return t, i - height, second
        last = (V - 1) // height * height
        if second:
            return t, last, False
        return t - columns, last, pooled

    @device
    def exists(t, i, k, end, V):
        return k < n_cells and t + k // height < end and i + k % height < V

    @device
    def offset(k, V, step):
        return k // height * V + k % height * step

    return Walk(ahead, back, exists, offset)
