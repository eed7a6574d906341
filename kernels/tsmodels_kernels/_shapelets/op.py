"""Public functions of the shapelet kernels: arguments checked, then handed to a backend."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from .._backend import kernel_module
from . import ref
from .data import Candidates, Channels, Scores, integers

_MODULES = {"reference": "ref", "cpu": "cpu_call", "cuda": "cuda"}


def _kernels(backend: str):
    """The module that computes; Numba is imported with the first that needs it."""
    if backend not in _MODULES:
        raise ValueError(f"backend must be one of {', '.join(map(repr, _MODULES))}; got {backend!r}")
    return kernel_module(__package__, _MODULES[backend])


def _threads(n_threads: int | None) -> int | None:
    if n_threads is not None and n_threads < 1:
        raise ValueError(f"n_threads must be at least 1, or None for torch.get_num_threads(); got {n_threads}")
    return n_threads


def important_points(series: ArrayLike, n_points: int, backend: str = "cpu") -> np.ndarray:
    """Perceptually important points of one series.

    The first and the last point are chosen first; then, again and again, the point with the largest perpendicular
    distance ``|y_a + m (x_j - x_a) - y_j| / sqrt(m^2 + 1)`` to the chord of its two neighbouring chosen points a and b,
    m = (y_b - y_a) / (x_b - x_a), where x is time standardised to mean 0 and standard deviation 1.  Distances within
    1e-9 of each other count as equal; of equal ones the first is taken.

    Parameters
    ----------
    series : ndarray of shape (n_timepoints,)
        Finite values.  The choice depends on their unit: standardise them.
    n_points : int
        How many points; at most all are returned.
    backend : {"cpu", "reference", "cuda"}, default="cpu"
        Compiled kernels or the plain definition; ``"cuda"`` too runs on the CPU here.

    Returns
    -------
    ndarray of shape (min(n_points, n_timepoints),)
        int64 positions in the order of insertion.

    References
    ----------
    Chung, Fu, Luk, Ng, "Flexible time series pattern matching based on perceptually important points", IJCAI 2001
    workshop on learning from temporal and spatial data; as used by ShapeFormer (arXiv 2405.14608).
    """
    kernels = _kernels(backend)
    series = np.ascontiguousarray(series, np.float64)
    if series.ndim != 1 or not np.isfinite(series).all():
        raise ValueError(f"series must be one-dimensional and finite, got shape {series.shape}")
    if n_points < 2:
        raise ValueError(f"n_points must be at least 2: the first and the last point; got {n_points}")
    return kernels.important_points(series, int(n_points))


def find_candidates(
    channels: Channels,
    units: ArrayLike,
    *,
    fraction: float = 0.2,
    min_points: int = 5,
    min_length: int = 2,
    max_length: int | None = None,
    n_threads: int | None = None,
    backend: str = "cpu",
) -> Candidates:
    """Candidate shapelets: the intervals between the neighbours of important points.

    After inserting a point at rank r of the chosen points P, in order of time, the half-open intervals
    [P(r-1), P(r+1)), [P(r-2), P(r)) and [P(r), P(r+2)) are candidates, where they exist: at most 3 (k - 2) for
    k = min(max(int(fraction T), min_points), T) points of a channel with T valid values.  A channel with fewer than
    three values is one candidate.

    Parameters
    ----------
    channels : Channels
        The series.
    units : ndarray of shape (n_units, 2)
        Series and channel of each unit to cut candidates from.
    fraction : float, default=0.2
        Important points per time point.
    min_points : int, default=5
        At least so many important points.
    min_length, max_length : int, default=2 and None
        Candidates that are shorter or longer are left out; None: no limit.
    n_threads : int, optional
        By default ``torch.get_num_threads()``; the result is the same for any number.
    backend : {"cpu", "reference", "cuda"}, default="cpu"
        Compiled kernels or the plain definition; ``"cuda"`` too runs on the CPU here.

    Returns
    -------
    Candidates
        In the order of ``units``, sorted by (start, end) inside each.

    References
    ----------
    Le, Luo, Aickelin, Tran, "ShapeFormer: Shapelet Transformer for Multivariate Time Series Classification",
    KDD 2024, arXiv 2405.14608, section 4.1.
    """
    kernels = _kernels(backend)
    units = _checked_units(channels, units)
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}")
    if min_points < 3:
        raise ValueError(
            f"min_points must be at least 3: a candidate needs a point between two others; got {min_points}"
        )
    if min_length < 1:
        raise ValueError(f"min_length must be at least 1, got {min_length}")
    if max_length is not None and max_length < min_length:
        raise ValueError(f"max_length must be at least min_length = {min_length} or None, got {max_length}")
    longest = channels.values.shape[2] if max_length is None else int(max_length)
    rules = float(fraction), int(min_points), int(min_length), longest
    if kernels is ref:
        return ref.find_candidates(channels, units, *rules)
    return kernels.find_candidates(channels, units, *rules, _threads(n_threads))


def score_candidates(
    channels: Channels,
    labels: ArrayLike,
    candidates: Candidates,
    references: ArrayLike,
    reference_offsets: ArrayLike,
    *,
    window: int,
    complexity: bool = True,
    permutations: ArrayLike | None = None,
    n_threads: int | None = None,
    backend: str = "cpu",
) -> Scores:
    """Information gain of the distance to each candidate.

    The distance of a candidate q = x_i[s:e], of length l, to another series p of the same channel is, over the starts
    a of all windows that lie in the valid range of p and at most ``window`` from s,

        d^2 = min_a sum_t (q_t - p_{a+t})^2  max(c_q, c_a) / min(c_q, c_a),    c = 1e-3 + sum of squared differences,

    inf where there is no such window.  A candidate of a series of class c is scored on the distances to the reference
    series of c without its own: the information gain of "class is c", one against the rest, at the best threshold
    between two distinct distances (1e-9, relative) whose near side is enriched in c.  Of thresholds that gain equally
    much (1e-12), the one of largest margin (b - a) / b counts, a and b being the distances around it.

    Parameters
    ----------
    channels : Channels
        The series.
    labels : ndarray of shape (n_cases,)
        Integer class codes from 0.
    candidates : Candidates
        From ``find_candidates``; all of them or some units, by ``candidates.units_slice``.
    references : ndarray
        Series that candidates are compared with, class after class.
    reference_offsets : ndarray of shape (n_classes + 1,)
        The references of class c are ``references[reference_offsets[c]:reference_offsets[c + 1]]``.
    window : int
        Largest shift in time between candidate and window.
    complexity : bool, default=True
        Whether distances are weighed by the ratio of complexities.
    permutations : ndarray of shape (n_permutations, n_cases), optional
        Permuted labels.  Each gives the best gain per unit when every label, that of the candidate's series included,
        is the permuted one, on the same distances.
    n_threads : int, optional
        By default ``torch.get_num_threads()``; the result is bitwise the same for any number.
    backend : {"cpu", "reference", "cuda"}, default="cpu"
        Compiled kernels, the plain definition, or distances on the GPU that torch uses and gains on the CPU.

    Returns
    -------
    Scores
        Gain 0, margin 0 and threshold NaN where no threshold is enriched.  For a class without another reference of
        its own, gain and threshold are NaN and the margin is the median of the finite distances / sqrt(l), or 0.

    Notes
    -----
    One unit and one reference cost O((T + n) (2 window + 1)) for n candidates of any length: sums of squared
    differences are taken from sums up to each start and end, one for each lag.
    Work arrays take less than 10 MB per thread for series of up to 17984 samples.

    References
    ----------
    Le et al., KDD 2024, arXiv 2405.14608, section 4.1; the complexity factor is from Batista, Keogh, Tataw, de Souza,
    "CID: an efficient complexity-invariant distance for time series", Data Min. Knowl. Discov. 28 (2014).
    """
    kernels = _kernels(backend)
    N = len(channels.values)
    labels, references, offsets = (
        integers(name, given)
        for name, given in (("labels", labels), ("references", references), ("reference_offsets", reference_offsets))
    )
    if labels.shape != (N,):
        raise ValueError(f"labels must have shape (n_cases,) = ({N},), got {labels.shape}")
    _check_references(N, labels, references, offsets)
    _check_candidates(channels, candidates)
    permuted = np.empty((0, N), np.int64) if permutations is None else integers("permutations", permutations)
    if permuted.ndim != 2 or permuted.shape[1] != N:
        raise ValueError(f"permutations must have shape (n_permutations, n_cases = {N}), got {permuted.shape}")
    problem = channels, labels, candidates, references, offsets, _lags(channels, window), bool(complexity), permuted
    if kernels is ref:
        scores = ref.score_candidates(*problem)
    else:
        scores = kernels.score_candidates(*problem, _threads(n_threads))
    return scores if permutations is not None else Scores(scores.gain, scores.threshold, scores.margin, None)


def match_shapelets(
    channels: Channels,
    values: Sequence[ArrayLike],
    channel: ArrayLike,
    start: ArrayLike,
    *,
    window: int,
    complexity: bool = True,
    n_threads: int | None = None,
    backend: str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Where each series is most like each shapelet, by the distance of ``score_candidates``.

    Parameters
    ----------
    channels : Channels
        The series.
    values : sequence of ndarray
        The shapelets: one-dimensional, not empty, finite, of any lengths.
    channel, start : ndarray of shape (n_shapelets,)
        Channel of each shapelet, and the time around which it is looked for.
    window : int
        Largest shift in time.
    complexity : bool, default=True
        Whether distances are weighed by the ratio of complexities.
    n_threads : int, optional
        By default ``torch.get_num_threads()``; the result is bitwise the same for any number.
    backend : {"cpu", "reference", "cuda"}, default="cpu"
        Compiled kernels, the plain definition, or the GPU that torch uses.

    Returns
    -------
    distance : ndarray of shape (n_cases, n_shapelets)
        float64; inf where no window of the valid range lies within ``window``.
    start : ndarray of shape (n_cases, n_shapelets)
        int64 start of the nearest window, of equally near ones the first; -1 where there is none.
    """
    kernels = _kernels(backend)
    V = channels.values.shape[1]
    shapelets = [np.ascontiguousarray(shapelet, np.float64) for shapelet in values]
    channel, start = integers("channel", channel), integers("start", start)
    for name, given in (("channel", channel), ("start", start)):
        if given.shape != (len(shapelets),):
            raise ValueError(f"{name} must have shape (n_shapelets,) = ({len(shapelets)},), got {given.shape}")
    if ((channel < 0) | (channel >= V)).any():
        raise ValueError(f"channel must lie in [0, {V}): the series have {V} channels")
    for s, shapelet in enumerate(shapelets):
        if shapelet.ndim != 1 or not len(shapelet) or not np.isfinite(shapelet).all():
            raise ValueError(f"values[{s}] must be one-dimensional, finite and not empty, got shape {shapelet.shape}")
    lags = _lags(channels, window, int(np.abs(start).max(initial=0)))
    problem = channels, shapelets, channel, start, lags, bool(complexity)
    if kernels is ref:
        return ref.match_shapelets(*problem)
    return kernels.match_shapelets(*problem, _threads(n_threads))


def _lags(channels: Channels, window: int, furthest: int = 0) -> int:
    """The window, cut to where it adds no lag to shapelets that start at most ``furthest`` from time 0."""
    if window != int(window) or window < 0:
        raise ValueError(f"window must be an integer number of samples, 0 or more, got {window!r}")
    return min(int(window), channels.values.shape[2] + furthest)


def _checked_units(channels: Channels, units: ArrayLike) -> np.ndarray:
    units = integers("units", units)
    N, V, _ = channels.values.shape
    if units.ndim != 2 or units.shape[1] != 2:
        raise ValueError(f"units must have shape (n_units, 2): series and channel; got {units.shape}")
    if not ((units >= 0) & (units < (N, V))).all():
        raise ValueError(f"units must name series below {N} and channels below {V}, none negative")
    return units


def _check_references(n_cases: int, labels: np.ndarray, references: np.ndarray, offsets: np.ndarray) -> None:
    if references.ndim != 1 or ((references < 0) | (references >= n_cases)).any():
        raise ValueError(f"references must be one-dimensional indices of series, in [0, {n_cases})")
    if offsets.ndim != 1 or len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(references):
        raise ValueError(f"reference_offsets must run from 0 to len(references) = {len(references)}")
    if (np.diff(offsets) < 0).any():
        raise ValueError("reference_offsets must not decrease")
    if ((labels < 0) | (labels >= len(offsets) - 1)).any():
        raise ValueError(f"labels must lie in [0, {len(offsets) - 1}), the classes that reference_offsets tells apart")


def _check_candidates(channels: Channels, candidates: Candidates) -> None:
    units = _checked_units(channels, candidates.units)
    offsets, start, end = candidates.offsets, candidates.start, candidates.end
    if len(offsets) != len(units) + 1 or offsets[0] != 0 or offsets[-1] != len(start) or (np.diff(offsets) < 0).any():
        raise ValueError("candidates.offsets must run from 0 to the number of candidates, a step for each unit")
    lo, hi = (bound[units[:, 0], units[:, 1]][candidates.unit_of()] for bound in (channels.lo, channels.hi))
    if len(start) != len(end) or not ((lo <= start) & (start < end) & (end <= hi)).all():
        raise ValueError("candidates must not be empty and lie in the valid range of their channel")
