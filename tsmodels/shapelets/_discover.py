"""Discovery of shapelets: subsequences whose presence tells a class from the others."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import ceil
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tsmodels.shapelets._arguments import check_arguments, n_threads_of, window_of
from tsmodels.shapelets._caps import references_of
from tsmodels.shapelets._cases import Series, read_cases, read_labels
from tsmodels.shapelets._progress import progress_bar
from tsmodels.shapelets._search import Clock, Problem, Workers, choose, draw_permutations, find, null_gains, read, score
from tsmodels.shapelets._set import ShapeletSet
from tsmodels_kernels import Candidates, Scores

__all__ = ["ShapeletWarning", "discover_shapelets", "select_window"]

_MOST_LISTED = 5


class ShapeletWarning(UserWarning):
    """Shapelets that were found on little evidence, or fewer than were asked for."""


def discover_shapelets(
    X: Series,
    y: Any,
    *,
    n_per_class: int = 10,
    window: float | None = 0.2,
    point_fraction: float = 0.2,
    min_points: int = 5,
    min_length: int = 2,
    max_length: int | None = None,
    normalize: Literal["channel"] | None = "channel",
    complexity: bool = True,
    max_reference: int | None = 400,
    max_candidates: int | None = 1_000_000,
    allow_overlap_fill: bool = True,
    null_permutations: int = 0,
    seed: int = 0,
    n_jobs: int | None = None,
    progress: bool = True,
    backend: Literal["cpu", "reference", "cuda"] = "cpu",
) -> ShapeletSet:
    r"""Find the subsequences whose presence best tells each class from the others.

    Candidates are the pieces between perceptually important points of every channel of every series: the ends, and one
    by one the point farthest from the chord between its neighbours. The distance of a candidate ``q``, at steps ``s``
    to ``s + l - 1`` of its series, from the same channel of a series ``x`` is

    .. math::
        d^2 = \min_{|a - s| \le w} \lVert q - x_{a:a+l} \rVert^2 \, \frac{\max(c_q, c_a)}{\min(c_q, c_a)},

    ``c`` being the sum of squared first differences of a piece plus 0.001. A candidate's score is the information gain
    of "of its class, or not" from the best threshold on its distances to all series but its own, provided that the
    class is enriched below the threshold. Of each class the best are taken, none of which overlaps another in a
    channel.

    Parameters
    ----------
    X : array (case, channel, time) or list of arrays (channel, time)
        Training series. NaN before the first or after the last value of a channel is padding, in which nothing is
        looked for; NaN between values is a gap, which is filled linearly, and candidates of which more than a quarter
        was filled are left out.
    y : sequence (case,)
        Labels: anything hashable, at least two different ones.
    n_per_class : int, default=10
        How many shapelets of each class. If a class has fewer candidates, all of them, with a warning.
    window : int, float or None, default=0.2
        ``w``, how far from its own place a shapelet is looked for: an int is a number of samples, a float a fraction of
        the longest series, None means everywhere.
    point_fraction : float, default=0.2
        Important points, as a fraction of the length of a series.
    min_points : int, default=5
        Important points at least.
    min_length, max_length : int, default=2 and None
        Lengths of candidates, in samples.
    normalize : {"channel", None}, default="channel"
        Whether each channel is brought to mean 0 and standard deviation 1 over all training series, which makes the
        result independent of units.
    complexity : bool, default=True
        Whether distances have the factor with ``c``.
    max_reference : int or None, default=400
        A class's candidates are compared with at most half as many series of the class, and half as many of others. A
        larger training set is drawn from, all other classes having equal shares. None: all series.
    max_candidates : int or None, default=1_000_000
        If there are more candidates, whole channels of series are drawn, classes and their channels in turn, until the
        next one would exceed the number; each class has at least one. None: all candidates.
    allow_overlap_fill : bool, default=True
        Whether the best of the overlapping candidates follow if too few others are left.
    null_permutations : int, default=0
        How often the best gains are computed for permuted labels, into ``null`` of the result. A warning names the
        classes in which a permutation reaches the best gain: their shapelets may well be arbitrary.
    seed : int, default=0
        Of the draws of `max_reference`, `max_candidates` and `null_permutations`; nothing else is random.
    n_jobs : int, optional
        Number of threads; -1: all cores. Default: those of torch. The result is the same, bit by bit.
    progress : bool, default=True
        Show a progress bar on stderr, if that is a terminal or a notebook.
    backend : {"cpu", "reference", "cuda"}, default="cpu"
        Compiled code, plain NumPy, or distances on a GPU by numba-cuda.

    Returns
    -------
    ShapeletSet
        Sorted by class, and by rank within each: gain, then margin, both descending, then length, series, channel and
        start. Candidates with no overlap stand before those that fill up.

    Raises
    ------
    ValueError
        If `X` and `y` differ in length, a value is infinite, there is one class only, there is no candidate at all, or
        an argument is out of its range.
    TypeError
        If `X` holds no numbers, or a label is not hashable.

    Warns
    -----
    ShapeletWarning
        If a class has a single series: there is no other series to be near to, so its candidates are ranked by the
        median distance to the series of other classes over the square root of their length. If a class has fewer than
        `n_per_class` candidates. If permuted labels reach the best gain of a class.

    Notes
    -----
    Memory: at most 40 bytes for each value of the padded array, 150 bytes for each of at most `max_candidates`
    candidates, and 10 MB for each thread up to 18 000 time points; a permutation adds 8 bytes for each series and each
    channel of one. Time: proportional to ``candidates * references * window``.

    The method is that of Le, Luo, Aickelin and Tran, "ShapeFormer: Shapelet Transformer for Multivariate Time Series
    Classification", KDD 2024, arXiv 2405.14608, section 4.1. Unlike there: every split is tried, only enriched sides
    count, a series is no evidence for its own candidates, lags are symmetric, channels are standardised, and padding
    takes no part.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.shapelets import discover_shapelets
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(0, 0.3, (12, 1, 40)), ["bump"] * 6 + ["flat"] * 6
    >>> X[:6, 0, 10:20] += 3 * np.hanning(10)
    >>> shapelets = discover_shapelets(X, y, n_per_class=1)
    >>> shapelets.label.tolist(), shapelets.gain.round(2).tolist()
    (['bump', 'flat'], [0.99, 0.99])
    """
    arguments = check_arguments(
        {
            "n_per_class": n_per_class,
            "window": window,
            "point_fraction": point_fraction,
            "min_points": min_points,
            "min_length": min_length,
            "max_length": max_length,
            "normalize": normalize,
            "complexity": complexity,
            "max_reference": max_reference,
            "max_candidates": max_candidates,
            "allow_overlap_fill": allow_overlap_fill,
            "null_permutations": null_permutations,
            "seed": seed,
        }
    )
    clock = Clock()
    # a stream for each draw: whether one is made does not change the others
    draws = [np.random.default_rng(each) for each in np.random.SeedSequence(arguments["seed"]).spawn(3)]
    with progress_bar(progress) as bar:
        workers = Workers(n_threads_of(n_jobs), backend, bar)
        with clock.stage("normalise"):
            problem = _read(X, y, arguments["normalize"])
        codes = problem.labels.codes
        with clock.stage("candidates"):
            candidates = find(problem, arguments, draws[0], workers)
        with clock.stage("scores"):
            references = references_of(codes, arguments["max_reference"], draws[1])
            permutations = draw_permutations(codes, arguments["null_permutations"], draws[2])
            lags = window_of(arguments["window"], problem.n_timepoints)
            scores = score(problem, candidates, references, permutations, lags, arguments["complexity"], workers)
    with clock.stage("selection"):
        null = None if permutations is None else null_gains(problem, candidates, scores, permutations)
        rows = choose(problem, candidates, scores, arguments["n_per_class"], fill=arguments["allow_overlap_fill"])
    drawn = {
        "candidates": len(candidates),
        "units": len(candidates.units),
        "of_units": int((problem.channels.lo < problem.channels.hi).sum()),
        "references": np.diff(references[1]).tolist(),
        "of_references": len(codes),
    }
    found = ShapeletSet(
        **_facts(problem, candidates, scores, rows),
        window=lags,
        params=arguments | {"drawn": drawn},
        null=null,
        seconds=clock.seconds,
    )
    _warn(found, np.bincount(codes), np.bincount(_codes_of(problem, candidates), minlength=len(found.classes)))
    return found


def _read(X: Series, y: Any, normalize: str | None) -> Problem:
    cases = read_cases(X)
    return read(cases, read_labels(y, len(cases)), normalize)


def _codes_of(problem: Problem, candidates: Candidates) -> npt.NDArray[np.int64]:
    return problem.labels.codes[candidates.units[candidates.unit_of(), 0]]


def _facts(problem: Problem, candidates: Candidates, scores: Scores, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return what a set says of its shapelets, the candidates at `rows`, and of the data."""
    series, channel = candidates.units[candidates.unit_of()[rows]].T
    start, end = candidates.start[rows], candidates.end[rows]
    gain, codes = scores.gain[rows], problem.labels.codes[series]
    places = zip(series, channel, start, end, strict=True)
    return {
        # copies: views would keep the whole training set
        "values": tuple(problem.channels.values[i, v, s:e].copy() for i, v, s, e in places),
        "series": series.copy(),
        "channel": channel.copy(),
        "start": start,
        "end": end,
        "label": problem.labels.classes[codes],
        "label_code": codes,
        "gain": np.nan_to_num(gain),
        "score_kind": np.where(np.isnan(gain), "isolation", "gain"),
        "threshold": scores.threshold[rows],
        "margin": scores.margin[rows],
        "classes": problem.labels.classes,
        "mean": problem.mean,
        "std": problem.std,
        "n_timepoints": problem.n_timepoints,
        "fingerprint": problem.fingerprint,
    }


def _warn(found: ShapeletSet, n_cases: npt.NDArray[np.int64], n_candidates: npt.NDArray[np.int64]) -> None:
    """Warn of shapelets that rest on little, and of classes with too few."""
    n_wanted = found.params["n_per_class"]
    if (alone := n_cases == 1).any():
        _say(
            f"one series in class {_listed(found, alone)}: its shapelets are ranked by their distance from the other "
            "classes, without another series of the class that has them"
        )
    if (few := n_candidates < n_wanted).any():
        _say(
            f"fewer than {n_wanted} candidates in class {_listed(found, few)}: it has no more shapelets. A larger "
            "point_fraction, or a wider range from min_length to max_length, makes more candidates"
        )
    if found.null is not None:
        n_reached = (found.null["gain"] >= found.null["observed"]).sum(axis=0)  # NaN reaches nothing
        if n_reached.any():
            labels = found.classes[n_reached > 0].tolist()
            counts = ", ".join(f"{n} in {each!r}" for each, n in zip(labels, n_reached[n_reached > 0], strict=True))
            _say(
                f"of {len(found.null['gain'])} permutations of the labels, as many reach the best gain of a class: "
                f"{counts}. Shapelets of such a class may be arbitrary"
            )


def _listed(found: ShapeletSet, classes: npt.NDArray[np.bool_]) -> str:
    labels = [repr(label) for label in found.classes[classes].tolist()]
    return ", ".join(labels[:_MOST_LISTED]) + (f" and {len(labels) - _MOST_LISTED} more" * (len(labels) > _MOST_LISTED))


def _say(message: str) -> None:
    warnings.warn(message, ShapeletWarning, stacklevel=4)


def select_window(
    X: Series,
    y: Any,
    grid: Sequence[float | None] = (10, 20, 50, 100, 200),
    top: int = 100,
    **arguments: Any,
) -> tuple[float | None, dict[float | None, float]]:
    """Choose the window by the mean gain of the best shapelets, on training data alone.

    Parameters
    ----------
    X, y
        Training series and labels, as of :func:`discover_shapelets`.
    grid : sequence of int, float or None, default=(10, 20, 50, 100, 200)
        Windows to try, as of :func:`discover_shapelets`.
    top : int, default=100
        How many shapelets count, in equal numbers of each class.
    **arguments
        Others of :func:`discover_shapelets`, except `window` and `n_per_class`.

    Returns
    -------
    window : int, float or None
        That of the highest mean gain in bits; of equal ones, the first in `grid`.
    gains : dict
        Mean gain for each window of `grid`.
    """
    if not len(grid):
        raise ValueError("grid must hold at least one window")
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    for name in ("window", "n_per_class"):
        if name in arguments:
            raise TypeError(f"select_window takes no {name}: it tries those of grid, and top sets the number")
    n_per_class = ceil(top / len(read_labels(y, len(X)).classes))
    with warnings.catch_warnings():
        # one series in a class, or few candidates: the same for every window
        warnings.filterwarnings("ignore", category=ShapeletWarning)
        gains = {
            window: float(discover_shapelets(X, y, window=window, n_per_class=n_per_class, **arguments).gain.mean())
            for window in grid
        }
    return max(gains, key=gains.__getitem__), gains
