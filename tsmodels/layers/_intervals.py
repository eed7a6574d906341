"""What the values of a series are like on intervals that halve from level to level."""

from typing import NamedTuple

import torch
from torch import Tensor

_SMALLEST_VARIANCE = 1e-12  # below, rounding of the sums is all there is


class Intervals(NamedTuple):
    """Statistics on a dyadic pyramid of intervals; see :func:`interval_statistics`."""

    statistics: Tensor
    """(batch, channel, interval, 3): mean, population deviation, and slope times length; 0 where nothing is known."""
    n_observed: Tensor
    """(batch, channel, interval) int64: observed values in the interval."""
    start: Tensor
    """(batch, channel, interval) int64: first step."""
    end: Tensor
    """(batch, channel, interval) int64: the step after the last."""


def interval_level(interval: Tensor) -> Tensor:
    """Level of intervals counted from 0: one interval on level 0, two on level 1, four on level 2, ..."""
    edges = 2 ** torch.arange(1, 63, device=interval.device) - 1
    return torch.bucketize(interval, edges, right=True)


def interval_statistics(x: Tensor, observed: Tensor, lo: Tensor, hi: Tensor, n_levels: int) -> Intervals:
    """Mean, deviation and slope on 1, 2, 4, ..., 2^n_levels equal parts of the valid range of every channel.

    Part k of n on the range [lo, hi) reaches from ``lo + floor(k (hi - lo) / n)`` to ``lo + floor((k + 1) (hi - lo) /
    n)``. With sums over the observed steps t of a part, m of them and L steps long::

        mean = Σx / m,   deviation² = Σx² / m - mean²,   slope · L = L (m Σtx - Σt Σx) / (m Σt² - (Σt)²)

    All sums come from prefix sums in float64, so the cost does not depend on the number of levels. Differentiable in
    ``x``. One value has deviation and slope 0, none has mean 0 as well.

    Parameters
    ----------
    x : Tensor, shape (batch, time, channel)
        Series, finite where observed; not read elsewhere.
    observed : Tensor of bool, shape (batch, time, channel)
        Where a value counts; false outside the valid range.
    lo, hi : Tensor of int64, shape (batch, channel)
        Valid range, half-open.
    n_levels : int
        Levels below the first; the pyramid has 2^(n_levels + 1) - 1 intervals.

    Returns
    -------
    Intervals
        Level after level, in time within a level; statistics in the dtype of ``x``.
    """
    steps = torch.arange(x.shape[1], device=x.device, dtype=torch.float64)[:, None]
    values, counts = torch.where(observed, x, 0).double(), observed.double()
    terms = torch.stack([counts, counts * steps, counts * steps**2, values, values * steps, values**2])
    prefix = torch.nn.functional.pad(terms.cumsum(2), (0, 0, 1, 0))  # (term, batch, time + 1, channel)

    n_parts = 2**n_levels
    parts = torch.arange(n_parts + 1, device=x.device)
    bounds = lo[..., None] + parts * (hi - lo)[..., None] // n_parts  # (batch, channel, bound)
    at_bounds = prefix.gather(2, bounds.mT.expand(len(terms), -1, -1, -1)).mT
    # floor(2k n / 2p) = floor(k n / p): the bounds of a level are every second of the next
    levels = [2**level for level in range(n_levels, -1, -1)]
    sums = torch.cat([at_bounds[..., ::step].diff(dim=-1) for step in levels], -1)
    start = torch.cat([bounds[..., :-1:step] for step in levels], -1)
    end = torch.cat([bounds[..., step::step] for step in levels], -1)

    m, t, tt, s, ts, ss = sums
    at_least_one = m.clamp(min=1)
    mean = s / at_least_one
    variance = ss / at_least_one - mean**2
    varies = variance > _SMALLEST_VARIANCE
    deviation = torch.where(varies, torch.where(varies, variance, 1).sqrt(), 0)  # no infinite slope of the root at 0
    spread = m * tt - t**2
    slope = torch.where(spread > 0, (m * ts - t * s) / torch.where(spread > 0, spread, 1), 0)
    statistics = torch.stack([mean, deviation, slope * (end - start)], -1).to(x.dtype)
    return Intervals(statistics, m.long(), start, end)
