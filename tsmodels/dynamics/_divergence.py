"""Divergence of the distributions that two series leave in state space, D_stsp."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from tsmodels.dynamics._checks import as_count, as_series

__all__ = ["mixture_divergence", "state_space_divergence"]

_MOST_BINNED_CHANNELS = 5
_MARGIN = 0.1  # standard deviations beyond the extremes of the true series
_CHUNK = 1 << 20  # distances held at once: 8 MB
_RANGES = ("sd", "minmax", "2sd")


def state_space_divergence(
    true,
    generated,
    *,
    method: str = "auto",
    n_bins: int = 30,
    smoothing: float = 1e-5,
    range: str = "sd",
    variance: float = 1.0,
    n_samples: int = 1000,
    n_components: int = 10_000,
    seed: int | np.random.Generator = 0,
) -> float:
    """Kullback-Leibler divergence KL(true ‖ generated) of the points of two series in state space, D_stsp.

    By bins, with counts c and K = ``n_bins`` ** N bins of N channels::

        p = (c + ε) / (Σ c + ε K),    D = Σ p_true log(p_true / p_generated)

    By Gaussian mixtures: :func:`mixture_divergence`.

    Parameters
    ----------
    true : array (time, channel)
        The observed series; its range sets the bins.
    generated : array (time, channel)
        A free run, of any length; comparisons are fair between equal lengths, since D falls as the lengths grow.
    method : {"auto", "bins", "gmm"}, default="auto"
        "auto": bins up to 5 channels, else mixtures. Bins of more channels hold hardly any points.
    n_bins : int, default=30
        Bins of each channel.
    smoothing : float, default=1e-5
        ε, added to all counts.
    range : {"sd", "minmax", "2sd"}, default="sd"
        Where the bins lie. "sd": from 0.1 standard deviations below the least to 0.1 above the largest true value.
        The others are for comparison with older tables only, and drop the first bin of each channel, as the
        programmes behind those tables do: "minmax": from the least to the largest true value; "2sd": two standard
        deviations to both sides of 0, for data that are standardised.
    variance, n_samples, n_components, seed
        As in :func:`mixture_divergence`; bins do not use them, as mixtures do not use those above.

    Returns
    -------
    float
        In nats; NaN if no point of a series lies within the bins.

    Raises
    ------
    ValueError
        If the series have different channels, values that are not finite, or an argument is out of its range.

    Notes
    -----
    Generated points outside of the bins are dropped. Only the U bins that hold points are visited: the others share one
    term, (K - U) ε / Z_true log(Z_generated / Z_true) with Z = Σ c + ε K, so the result is that of all K bins. A
    channel that is constant in the true series gets bins over one unit.

    Bins as in Hess et al. (arXiv 2306.04406); mixtures as in Brenner et al. (arXiv 2207.02542).

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.dynamics import state_space_divergence
    >>> x = np.random.default_rng(0).normal(size=(10_000, 2))
    >>> state_space_divergence(x, x)
    0.0
    >>> state_space_divergence(x, 2 * x) > 0.1
    True
    """
    true = as_series("true", true)
    if method not in ("auto", "bins", "gmm"):
        raise ValueError(f"method must be 'auto', 'bins' or 'gmm', got {method!r}.")
    if method == "gmm" or (method == "auto" and true.shape[1] > _MOST_BINNED_CHANNELS):
        options = {"variance": variance, "n_samples": n_samples, "n_components": n_components, "seed": seed}
        return mixture_divergence(true, generated, **options)[0]
    generated = as_series("generated", generated, n_channels=true.shape[1])
    return _by_bins(true, generated, as_count("n_bins", n_bins), smoothing, range)


def mixture_divergence(
    true,
    generated,
    *,
    variance: float = 1.0,
    n_samples: int = 1000,
    n_components: int = 10_000,
    seed: int | np.random.Generator = 0,
) -> tuple[float, float]:
    """Divergence of the points of two series by Gaussian mixtures, and the standard error of its estimate.

    A mixture has one component of variance σ² on each point; with samples s of that of the true ones::

        log p(s) = logsumexp_t(-‖s - x[t]‖² / 2σ²) - log(number of points)
        D = mean_s(log p_true(s) - log p_generated(s))

    Parameters
    ----------
    true, generated : array (time, channel)
        As in :func:`state_space_divergence`.
    variance : float, default=1.0
        σ², in squared units of the series. Report it: D depends on it.
    n_samples : int, default=1000
        Samples drawn from the mixture of the true points.
    n_components : int, default=10000
        Points of each series that the mixtures have at most, from its beginning.
    seed : int or Generator, default=0
        Draws the samples.

    Returns
    -------
    divergence, error : float
        In nats.

    Raises
    ------
    ValueError
        As :func:`state_space_divergence`.
    """
    true = as_series("true", true)
    generated = as_series("generated", generated, n_channels=true.shape[1])
    if not variance > 0:
        raise ValueError(f"variance must be positive, got {variance}.")
    n_samples, n_components = as_count("n_samples", n_samples, 2), as_count("n_components", n_components)
    true, generated, rng = true[:n_components], generated[:n_components], np.random.default_rng(seed)
    samples = true[rng.integers(len(true), size=n_samples)]
    samples = samples + np.sqrt(variance) * rng.standard_normal(samples.shape)
    ratio = _log_mean_density(samples, true, variance) - _log_mean_density(samples, generated, variance)
    return float(ratio.mean()), float(ratio.std(ddof=1) / np.sqrt(n_samples))


def _by_bins(true: np.ndarray, generated: np.ndarray, n_bins: int, smoothing: float, span: str) -> float:
    if not smoothing > 0:
        raise ValueError(f"smoothing must be positive, got {smoothing}.")
    if span not in _RANGES:
        raise ValueError(f"range must be one of {', '.join(map(repr, _RANGES))}, got {span!r}.")
    n_cells = float(n_bins) ** true.shape[1]
    if n_cells >= 2**63:
        raise ValueError(f"{n_bins} bins of each of {true.shape[1]} channels are too many to number: use method='gmm'.")
    limits = _limits(true, span)
    cells_true, counts_true = _occupied(true, *limits, n_bins, drop_first=span != "sd")
    cells_generated, counts_generated = _occupied(generated, *limits, n_bins, drop_first=span != "sd")
    if not len(cells_true) or not len(cells_generated):
        return float("nan")
    cells = np.union1d(cells_true, cells_generated)
    weights = np.full((2, len(cells)), smoothing)
    weights[0, np.searchsorted(cells, cells_true)] += counts_true
    weights[1, np.searchsorted(cells, cells_generated)] += counts_generated
    totals = np.array([counts_true.sum(), counts_generated.sum()]) + smoothing * n_cells
    p_true, p_generated = weights / totals[:, None]
    empty = (n_cells - len(cells)) * smoothing / totals[0] * np.log(totals[1] / totals[0])
    return float((p_true * np.log(p_true / p_generated)).sum() + empty)


def _limits(true: np.ndarray, span: str) -> tuple[np.ndarray, np.ndarray]:
    """Return where the bins of each channel begin and end."""
    deviation = true.std(0, ddof=1)
    if span == "2sd":
        low, high = -2 * deviation, 2 * deviation
    else:
        margin = _MARGIN * deviation if span == "sd" else 0.0
        low, high = true.min(0) - margin, true.max(0) + margin
    constant = ~(high > low)
    return np.where(constant, low - 0.5, low), np.where(constant, high + 0.5, high)


def _occupied(
    series: np.ndarray, low: np.ndarray, high: np.ndarray, n_bins: int, *, drop_first: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the bins that hold points, ascending, and how many each holds."""
    position = np.floor(n_bins * ((series - low) / (high - low)))
    inside = ((position >= int(drop_first)) & (position < n_bins)).all(1)
    steps = n_bins ** np.arange(series.shape[1], dtype=np.int64)
    return np.unique(position[inside].astype(np.int64) @ steps, return_counts=True)


def _log_mean_density(samples: np.ndarray, points: np.ndarray, variance: float) -> np.ndarray:
    """Log density of a mixture at samples, up to the constant of a Gaussian, which all mixtures share."""
    centre = points.mean(0)  # squares of differences are taken apart below: small numbers lose least
    samples, points = samples - centre, points - centre
    squares = np.einsum("tn,tn->t", points, points)
    density = np.empty(len(samples))
    n_rows = max(1, _CHUNK // len(points))
    for first in np.arange(0, len(samples), n_rows):
        part = samples[first : first + n_rows]
        distances = np.einsum("sn,sn->s", part, part)[:, None] + squares - 2 * part @ points.T
        density[first : first + n_rows] = logsumexp(distances / (-2 * variance), axis=1)
    return density - np.log(len(points))
