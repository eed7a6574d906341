"""CUDA kernels of shapelet distances; important points and information gains are worked out on the CPU.

``nearest``: a block takes one unit and one reference series at a time.  Its threads are lags: each adds up the squared
differences along time and writes its running sum down wherever a candidate starts or ends.  Then a warp takes a
candidate at a time: its lanes share the lags, of which each costs one difference of sums.  ``matches``: a warp takes a
series and a shapelet, its lanes share the lags, and each sum is made directly.

Arrays come from NumPy and are copied to the device that torch uses; the arithmetic is float64.
"""

import math

import numpy as np
import torch
from numba import cuda, types
from torch import Tensor

from .._cuda import SIMULATED, WARP, WHOLE_WARP, device, int64, kernel_family, least, multiprocessors
from . import cpu_call
from .cpu_call import find_candidates, important_points
from .data import Candidates, Channels, Scores
from .rules import COMPLEXITY_FLOOR

__all__ = ["find_candidates", "important_points", "match_shapelets", "score_candidates"]

THREADS = 128
DISTANCES = 1 << 26  # on the device at a time, 512 MB
SUMS = 1 << 27  # running sums of all blocks, 1 GB at most
_BLOCKS = 4  # of a multiprocessor at a time: up to 128 registers a thread

_NUMBERS, _INTEGERS = types.CPointer(types.float64), types.CPointer(int64)


@device
def _larger(a, b):
    return a if a > b else b


@device
def _ratio(changes, at, length, mine):
    """Ratio of complexities of a candidate and the window at ``changes[at:]``."""
    theirs = changes[at + length - 1] - changes[at] + COMPLEXITY_FLOOR
    return theirs / mine if theirs > mine else mine / theirs


@kernel_family
def nearest(threads, weigh):
    """Smallest squared distance of each candidate to each of its references."""

    def kernel(
        values, changes, valid_lo, valid_hi, unit_series, unit_channel, offsets, start, end, cut_offsets, cuts, before,
        after, pair_unit, pair_series, pair_column, sums, squared, T, V, window, n_pairs, most_cuts, stride,
    ):  # fmt: skip
        thread = int64(cuda.threadIdx.x)
        warp, lane, n_warps = thread // WARP, thread % WARP, threads // WARP
        own = int64(cuda.blockIdx.x) * most_cuts * threads
        for pair in range(int64(cuda.blockIdx.x), n_pairs, int64(cuda.gridDim.x)):
            u, series = pair_unit[pair], pair_series[pair] * V + unit_channel[pair_unit[pair]]
            lo, hi, theirs = valid_lo[series], valid_hi[series], series * T
            ours = (unit_series[u] * V + unit_channel[u]) * T
            first_cut, end_cut = cut_offsets[u], cut_offsets[u + 1]
            first_lag = _larger(-window, lo - cuts[end_cut - 1] + 1)
            end_lag = least(window + 1, hi - cuts[first_cut])
            for lags in range(first_lag, end_lag, threads):
                total = types.float64(0.0)
                for c in range(first_cut, end_cut):
                    for t in range(cuts[_larger(c - 1, first_cut)], cuts[c]):
                        at, other = t + lags + thread, types.float64(0.0)
                        if lo <= at and at < hi:
                            other = values[theirs + at]
                        difference = values[ours + t] - other
                        total += difference * difference
                    sums[own + (c - first_cut) * threads + thread] = total
                cuda.syncthreads()
                for group in range(offsets[u], offsets[u + 1], n_warps):
                    k = least(group + warp, offsets[u + 1] - 1)  # all threads take part in the shuffles
                    length = end[k] - start[k]
                    mine = changes[ours + end[k] - 1] - changes[ours + start[k]] + COMPLEXITY_FLOOR
                    below, above = own + before[k] * threads, own + after[k] * threads
                    best = types.float64(math.inf)
                    for j in range(lane, threads, WARP):
                        at = start[k] + lags + j
                        if lags + j < end_lag and lo <= at and at + length <= hi:
                            value = sums[above + j] - sums[below + j]
                            if weigh:
                                value *= _ratio(changes, theirs + at, length, mine)
                            best = least(value, best)
                    for by in (16, 8, 4, 2, 1):
                        best = least(best, cuda.shfl_xor_sync(WHOLE_WARP, best, by))
                    if lane == 0 and group + warp < offsets[u + 1]:
                        out = k * stride + pair_column[pair]
                        squared[out] = least(best, squared[out])
                cuda.syncthreads()

    arrays = (*(_NUMBERS,) * 2, *(_INTEGERS,) * 14, *(_NUMBERS,) * 2)
    return kernel, (*arrays, *(int64,) * 6), (threads, _BLOCKS)


@kernel_family
def matches(threads, weigh):
    """Smallest squared distance of each shapelet to each series, and the first window that has it."""

    def kernel(
        values, changes, valid_lo, valid_hi, shapelets, offsets, channel, start, squared, place, T, V, n_shapelets,
        window, n_jobs,
    ):  # fmt: skip
        thread = int64(cuda.threadIdx.x)
        job, lane = int64(cuda.blockIdx.x) * (threads // WARP) + thread // WARP, thread % WARP
        mine = least(job, n_jobs - 1)  # all threads take part in the shuffles
        s = mine % n_shapelets
        series, first, length = mine // n_shapelets * V + channel[s], offsets[s], offsets[s + 1] - offsets[s]
        lo, end = valid_lo[series], valid_hi[series] - length + 1
        lo, end = _larger(lo, start[s] - window), least(end, start[s] + window + 1)
        complexity = types.float64(COMPLEXITY_FLOOR)
        for t in range(1, length):
            difference = shapelets[first + t] - shapelets[first + t - 1]
            complexity += difference * difference
        best, where = types.float64(math.inf), int64(-1)
        for at in range(lo + lane, end, WARP):
            value = types.float64(0.0)
            for t in range(length):
                difference = shapelets[first + t] - values[series * T + at + t]
                value += difference * difference
            if weigh:
                value *= _ratio(changes, series * T + at, length, complexity)
            if value < best:
                best, where = value, at
        for by in (16, 8, 4, 2, 1):
            other, there = cuda.shfl_xor_sync(WHOLE_WARP, best, by), cuda.shfl_xor_sync(WHOLE_WARP, where, by)
            if other < best or (other == best and there < where):
                best, where = other, there
        if lane == 0 and job < n_jobs:
            squared[job] = best
            place[job] = where

    arrays = (*(_NUMBERS,) * 2, *(_INTEGERS,) * 2, _NUMBERS, *(_INTEGERS,) * 3, _NUMBERS, _INTEGERS)
    return kernel, (*arrays, *(int64,) * 5)


def score_candidates(
    channels: Channels, labels: np.ndarray, candidates: Candidates, references: np.ndarray,
    reference_offsets: np.ndarray, window: int, complexity: bool, permutations: np.ndarray, n_threads: int | None,
) -> Scores:  # fmt: skip
    """Distances on the device, as many units at a time as have room there; gains on the CPU."""
    most = int(np.diff(reference_offsets).max(initial=0))
    rows = max(1, DISTANCES // max(1, most))
    known, found, first = (labels, references, reference_offsets), [], 0
    series = _series(channels)
    while first < len(candidates.units):
        last = int(np.searchsorted(candidates.offsets, candidates.offsets[first] + rows, "right")) - 1
        last = max(last, first + 1)
        part = candidates.units_slice(first, last)
        distances = _distances(channels, series, part, *known, most, window, complexity)
        found.append(cpu_call.score_distances(distances, part, *known, permutations, n_threads))
        first = last
    gain, threshold, margin = (
        np.concatenate([np.empty(0), *(getattr(scores, name) for scores in found)])
        for name in ("gain", "threshold", "margin")
    )
    null = np.concatenate([np.empty((len(permutations), 0)), *(scores.null for scores in found)], 1)
    return Scores(gain, threshold, margin, null)


def _distances(
    channels, series, candidates, labels, references, reference_offsets, most, window, complexity, threads=THREADS
) -> np.ndarray:
    """Distance (n_candidates, most) of each candidate to the references of its class without its own series."""
    pairs = _pairs(candidates, labels, references, reference_offsets)
    squared = torch.full((len(candidates), most), math.inf, dtype=torch.float64, device=series[0].device)
    if pairs.shape[1] and len(candidates):
        cut_offsets, cuts, before, after = _cuts(candidates, channels.values.shape[2])
        unit_series, unit_channel = candidates.units.T
        most_cuts = int(np.diff(cut_offsets).max())
        n_blocks = min(pairs.shape[1], _BLOCKS * multiprocessors(squared), max(1, SUMS // (most_cuts * threads)))
        sums = torch.empty(n_blocks * most_cuts * threads, dtype=torch.float64, device=squared.device)
        integers = (
            unit_series, unit_channel, candidates.offsets, candidates.start, candidates.end, cut_offsets, cuts, before,
            after, *pairs,
        )  # fmt: skip
        _, V, T = channels.values.shape
        nearest.launch(
            (threads, complexity), (n_blocks,), (threads,), *series, *(_on_device(a) for a in integers), sums, squared,
            T, V, window, pairs.shape[1], most_cuts, most,
        )  # fmt: skip
    return squared.sqrt_().cpu().numpy()


def _pairs(candidates, labels, references, reference_offsets) -> np.ndarray:
    """Unit, reference series and column of the distances of every pair that is compared."""
    found = [np.empty((3, 0), np.int64)]
    for u, (i, _) in enumerate(candidates.units):
        others = references[reference_offsets[labels[i]] : reference_offsets[labels[i] + 1]]
        others = others[others != i]
        if candidates.offsets[u] < candidates.offsets[u + 1]:
            found.append(np.stack([np.full(len(others), u), others, np.arange(len(others))]))
    return np.concatenate(found, 1)


def _cuts(candidates: Candidates, n_timepoints: int) -> tuple[np.ndarray, ...]:
    """Distinct starts and ends of the candidates of each unit; which of them each candidate starts and ends at."""
    units = candidates.unit_of() * (n_timepoints + 1)
    keys, places = np.unique(np.concatenate([units + candidates.start, units + candidates.end]), return_inverse=True)
    offsets = np.searchsorted(keys, np.arange(len(candidates.units) + 1) * (n_timepoints + 1))
    before, after = places.reshape(2, -1) - offsets[candidates.unit_of()]
    return offsets, keys % (n_timepoints + 1), before, after


def match_shapelets(
    channels: Channels, values: list[np.ndarray], channel: np.ndarray, start: np.ndarray, window: int,
    complexity: bool, n_threads: int | None, threads: int = THREADS,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """All on the device: ``n_threads``, of the CPU, has nothing to share."""
    (N, V, T), S = channels.values.shape, len(values)
    series = _series(channels)
    squared = torch.empty((N, S), dtype=torch.float64, device=series[0].device)
    place = torch.empty((N, S), dtype=torch.int64, device=series[0].device)
    offsets = np.concatenate([[0], np.cumsum([len(shapelet) for shapelet in values], dtype=np.int64)])
    shapelets = (_on_device(a) for a in (np.concatenate([np.empty(0), *values]), offsets, channel, start))
    matches.launch(
        (threads, complexity), (-(-N * S * WARP // threads),), (threads,), *series, *shapelets, squared, place, T, V,
        S, window, N * S,
    )  # fmt: skip
    return squared.sqrt_().cpu().numpy(), place.cpu().numpy()


def _series(channels: Channels) -> list[Tensor]:
    return [_on_device(a) for a in (channels.values, channels.changes, channels.lo, channels.hi)]


def _on_device(array: np.ndarray) -> Tensor:
    """A copy on the GPU that torch uses (in the simulator: the memory itself)."""
    if not SIMULATED and not torch.cuda.is_available():
        raise RuntimeError("backend='cuda' needs a GPU that torch can use (torch.cuda.is_available()); use 'cpu'")
    return torch.from_numpy(np.ascontiguousarray(array)).to("cpu" if SIMULATED else "cuda")
