"""The join profile: for every window of a group of series, the most similar window elsewhere in the group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _pool
from .._backend import kernel_module
from .ref import join_profile_ref

_BACKENDS = ("cpu", "reference")


@dataclass(frozen=True)
class JoinProfile:
    """For every window of a group of series, the nearest window elsewhere in the group.

    Windows are counted series after series: those of series i are ``offsets[i]:offsets[i + 1]``, in the order of their
    first samples.
    """

    distance: NDArray[np.float64]
    """(window,) Euclidean distance of the z-normalised windows, 0 to 2 sqrt(length); inf where there is none."""
    partner_series: NDArray[np.int64]
    """(window,) the series of the nearest window; -1 where there is none."""
    partner_start: NDArray[np.int64]
    """(window,) its first sample; -1 where there is none."""
    offsets: NDArray[np.int64]
    """(series + 1,)"""


def join_profile(
    series: Sequence[ArrayLike],
    length: int,
    *,
    usable: Sequence[ArrayLike] | None = None,
    min_std: float = 1e-3,
    backend: str = "cpu",
) -> JoinProfile:
    """Find the nearest window in another series for every window of a group: the motifs that series share.

    The distance of two windows of l samples is ``sqrt(2 l (1 - r))`` with r their Pearson correlation, which is the
    Euclidean distance of the windows brought to mean 0 and population deviation 1. A window is compared with all
    windows of all other series. If there is only one series, it is compared with those of its own that start more than
    l/2 samples away.

    Parameters
    ----------
    series : sequence of array, each (n_i,)
        Finite samples, at least one series; a series shorter than ``length`` has no window.
    length : int
        Samples in a window, l >= 2.
    usable : sequence of array of bool, each (n_i - length + 1,), optional
        Whether the window that starts there may be compared; default all.
    min_std : float, default=1e-3
        Windows of a smaller deviation, in units of the series, are flat: they take no part.
    backend : {"cpu", "reference"}, default="cpu"
        Compiled kernel, or the definition in NumPy.

    Returns
    -------
    JoinProfile
        Distances and places. Among windows equally near, the first wins.

    Raises
    ------
    ValueError
        For no series, samples that are not finite, a window shorter than two samples, or ``usable`` of other shapes.

    Notes
    -----
    Takes the product of all windows with all windows steps, whatever their length; about 1e-12 exact (in the distance
    as its square root: 1e-6 for equal windows). Runs on ``torch.get_num_threads()`` threads, with bitwise the same
    result for any number of them.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels_kernels._matrix_profile import join_profile
    >>> profile = join_profile([[0.0, 0, 1, 0, 0, 2, 4], [5.0, 5, 5, 8, 5, 5]], 3)
    >>> profile.partner_start[1], profile.partner_series[1]
    (np.int64(2), np.int64(1))
    """
    arrays, allowed = _checked(series, length, usable, backend)
    counts = [len(a) for a in allowed]
    offsets = _running_sum(counts)
    if offsets[-1] == 0:
        nothing = np.empty(0, np.int64)
        return JoinProfile(np.empty(0), nothing, nothing, offsets)
    if backend == "reference":
        distance, partner, start = join_profile_ref(arrays, allowed, length, min_std)
        return JoinProfile(distance, partner, start, offsets)
    distance, partner, start = _compiled(arrays, allowed, length, min_std)
    return JoinProfile(distance, partner, start, offsets)


def _compiled(
    arrays: list[NDArray], allowed: list[NDArray], length: int, min_std: float
) -> tuple[NDArray, NDArray, NDArray]:
    cpu = kernel_module(__package__, "cpu")
    n_series, counts = len(arrays), np.array([len(a) for a in allowed])
    x, begins = np.concatenate(arrays), _running_sum([len(a) for a in arrays])
    firsts = _running_sum(counts + cpu.ROOM)
    is_window = np.concatenate([np.arange(n + cpu.ROOM) < n for n in counts])
    usable = np.zeros(firsts[-1], bool)
    usable[is_window] = np.concatenate(allowed)
    rates = np.zeros((3, firsts[-1]))
    rates[2] = np.nan
    best, nearest = np.full((n_series, firsts[-1]), cpu.LEAST), np.full((n_series, firsts[-1]), -1.0)
    distance, partner = np.full(firsts[-1], np.inf), np.full(firsts[-1], -1, np.int64)
    _pool.run(cpu.window_statistics, n_series, x, begins, usable, firsts, length, float(min_std), rates)
    _pool.run(cpu.join, n_series, x, begins, firsts, length, rates, best, nearest)
    _pool.run(cpu.merge, n_series, firsts, length, best, nearest, distance, partner)
    distance, partner = distance[is_window], partner[is_window]
    series = np.where(partner < 0, -1, np.searchsorted(firsts, partner, side="right") - 1)
    return distance, series, np.where(partner < 0, -1, partner - firsts[series])


def _running_sum(counts: ArrayLike) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _checked(
    series: Sequence[ArrayLike], length: int, usable: Sequence[ArrayLike] | None, backend: str
) -> tuple[list[NDArray], list[NDArray]]:
    if backend not in _BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(map(repr, _BACKENDS))}; got {backend!r}")
    if length < 2:
        raise ValueError(f"length must be at least 2 samples to have a shape, got {length}")
    if len(series) == 0:
        raise ValueError("series is empty: pass at least one")
    arrays = [np.ascontiguousarray(values, dtype=np.float64) for values in series]
    for i, values in enumerate(arrays):
        if values.ndim != 1 or not np.isfinite(values).all():
            raise ValueError(f"series[{i}] must be one-dimensional and finite: fill its gaps first")
    counts = [max(0, len(values) - length + 1) for values in arrays]
    if usable is None:
        return arrays, [np.ones(n, bool) for n in counts]
    allowed = [np.asarray(flags, dtype=bool) for flags in usable]
    if [flags.shape for flags in allowed] != [(n,) for n in counts]:
        raise ValueError(
            f"usable must have one flag for each window, {counts} of them; got {[len(f) for f in allowed]}"
        )
    return arrays, allowed
