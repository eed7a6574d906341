"""What the CUDA kernels of the selective scan share: how threads share lanes, tiles in shared memory, device maths.

Names: a lane is one channel of one batch element; the N states of a lane are spread over ``sharers`` threads, each
with up to ``states`` of them in registers.  A block is ``width`` channels times ``sharers``, channels first, so that a
warp reads whole rows of x, and it walks chunks of CHUNK steps whose inputs lie in shared memory.

Channels past the last one of a group repeat it and write nothing.  States past the last one are skipped: with zeros in
their place 0 inf would be a NaN where there is none.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numba import types

from .._cuda import SIMULATED, Storage, device, device_intrinsic, exp2_for, least, load4, storage_of
from .._simd_math import LN_2, LOG2_E
from .op import CHUNK

# Alignment of shared arrays that are read four elements at a time; the simulator refuses any.
ALIGNED = None if SIMULATED else 32
int32 = types.int32


def threads_of(dtype: torch.dtype) -> int:
    """Threads of a block: what keeps its shared memory below 48 KB."""
    return 64 if dtype == torch.float64 else 128


def most_states(dtype: torch.dtype) -> int:
    """The largest N of one launch, for the same reason."""
    return 32 if dtype == torch.float64 else 64


class Block(NamedTuple):
    """How the threads of a block share lanes and states."""

    width: int  # channels
    sharers: int  # threads for each channel
    states: int  # of each thread
    even: bool  # no thread has fewer

    @property
    def threads(self) -> int:
        return self.width * self.sharers

    @property
    def fetched(self) -> int:
        """Steps of a chunk that each thread of a lane fetches."""
        return CHUNK // self.sharers

    @property
    def row(self) -> int:
        """Length of a row of B or C in shared memory."""
        return self.sharers * self.states


def block_for(n_states: int, threads: int) -> Block:
    """At most four states for each thread: few registers, many threads."""
    sharers = 4
    while sharers * 4 < n_states:
        sharers *= 2
    states = -(-n_states // sharers)
    return Block(threads // sharers, sharers, states, sharers * states == n_states)


@device_intrinsic(lambda array: array)
def pointer_to(typing_context, array):
    """First element of a shared array: indexing a pointer does not look for negative indices."""

    def codegen(ctx, builder, sig, args):
        return ctx.make_array(sig.args[0])(ctx, builder, args[0]).data

    return types.CPointer(array.dtype)(array), codegen


@device_intrinsic(lambda x: np.float32(1.0) / np.float32(x))
def _reciprocal_approximate(typing_context, x):
    """1 / x by the special function unit: an error of one unit in the last place."""

    def codegen(ctx, builder, sig, args):
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()])
        return builder.asm(kind, "rcp.approx.ftz.f32 $0, $1;", "=f,f", args, False)

    return types.float32(types.float32), codegen


@device
def _reciprocal_float64(x):
    return 1.0 / x


def _log1p_quotient_float32() -> Callable:
    """log(1 + w) / w on 0 <= w <= 1 to 9e-8: interpolated at Chebyshev nodes, by Horner's rule."""
    degree = 9
    nodes = 0.5 + 0.5 * np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
    fit = np.polynomial.Polynomial.fit(nodes, np.log1p(nodes) / nodes, degree, domain=[-1, 1])
    c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 = fit.coef.astype(np.float32)

    @device
    def quotient(w):
        upper = (((c9 * w + c8) * w + c7) * w + c6) * w + c5
        return ((((upper * w + c4) * w + c3) * w + c2) * w + c1) * w + c0

    return quotient


@device
def _log1p_quotient_float64(w):
    return math.log1p(w) / w if w > 0.0 else 1.0 + w


class Maths(NamedTuple):
    """Functions of one argument and constants in the arithmetic of a storage type."""

    exp2: Callable
    softplus: Callable
    sigmoid: Callable
    log2_e: np.floating
    ln_2: np.floating


def maths_for(storage: Storage) -> Maths:
    """Exponentials of arguments <= 0 only: nothing overflows on the way, and softplus is exact to the last bits."""
    single = storage.compute == types.float32
    exp2 = exp2_for(storage)
    reciprocal = _reciprocal_approximate if single else _reciprocal_float64
    quotient = _log1p_quotient_float32() if single else _log1p_quotient_float64
    kind = np.float32 if single else np.float64
    zero, one, log2_e = kind(0.0), kind(1.0), kind(LOG2_E)

    @device
    def softplus(u):
        w = exp2((-u if u > zero else u) * log2_e)
        return (u if u > zero else zero) + w * quotient(w)

    @device
    def sigmoid(u):
        w = exp2((-u if u > zero else u) * log2_e)
        return (one if u > zero else w) * reciprocal(one + w)

    return Maths(exp2, softplus, sigmoid, log2_e, kind(LN_2))


@device
def place(block, width, channels, groups):
    """Batch element, group, tile of the group and number of its channels; no block spans two groups."""
    tiles = (channels + width - 1) // width
    case, tile = block // (groups * tiles), block % (groups * tiles)
    group, tile = tile // tiles, tile % tiles
    return case, group, tile, least(width, channels - tile * width)


class Tiles(NamedTuple):
    """Device functions that fill and read tiles of CHUNK steps in shared memory."""

    stage: Callable  # stage(source, at, move, n_steps, thread, tile): rows of B or C
    read: Callable  # read(tile, at, row): what one thread needs of such a row
    fetch: Callable  # fetch(source, at, move, n_steps, sharer, values): steps of x, dt, z or a gradient, 0 past the end
    keep: Callable  # keep(values, thread, tile): hand them to the other threads


def tiles_for(dtype: torch.dtype, n_states: int, block: Block) -> Tiles:
    """Steps sharer, sharer + sharers, ... of its own channel are fetched by each thread, ``at`` the first of them."""
    storage = storage_of(dtype)
    load, load_if = storage.load, storage.load_if
    states, row_length, threads, sharers = block.states, block.row, block.threads, block.sharers
    n_fetched, n_staged = block.fetched, min(4, -(-CHUNK * n_states // threads))
    hop, shift = threads // n_states, threads % n_states

    @device
    def stage(source, at, move, n_steps, thread, tile):
        step = int32(thread // n_states)
        n = int32(thread - step * n_states)
        at = at + step * move + n
        while step < n_steps:
            for _ in range(n_staged):
                if step < n_steps:
                    tile[step * row_length + n] = load(source, at)
                step, n, at = int32(step + hop), int32(n + shift), at + hop * move + shift
                if shift > 0 and n >= n_states:
                    step, n, at = int32(step + 1), int32(n - n_states), at + move - n_states

    @device
    def read(tile, at, row):
        if states == 4:
            row[0], row[1], row[2], row[3] = load4(tile, at)
        else:
            for r in range(states):
                row[r] = tile[at + r]

    @device
    def fetch(source, at, move, n_steps, sharer, values):
        for j in range(n_fetched):
            values[j] = load_if(source, at, sharer + j * sharers < n_steps)
            at += sharers * move

    @device
    def keep(values, thread, tile):
        for j in range(n_fetched):
            tile[thread + j * threads] = values[j]

    return Tiles(stage, read, fetch, keep)


def signature(storage: Storage, *kinds: Any) -> tuple:
    """Argument types of a kernel: "s" a pointer to stored values, "c" one to computed ones, a number n n integers."""
    names = {"s": (storage.pointer,), "c": (types.CPointer(storage.compute),)}
    return tuple(kind for k in kinds for kind in (names[k] if k in names else (types.int64,) * k))
