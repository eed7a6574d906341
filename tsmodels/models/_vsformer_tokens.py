"""The tokens of VSFormer: what is found in a series, and what is added to say what kind of token it is."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tsmodels.layers import NearestWindows, interval_level, interval_statistics

_N_POINTS = 32  # that windows of any length are resampled to
_DEVIATION = 0.02  # of what is learned about kinds of tokens, at first: far below their content


class Tokens(NamedTuple):
    """Tokens of one kind of a batch of series."""

    content: Tensor
    """(batch, token, d_model)"""
    valid: Tensor
    """(batch, token) bool: whether the series has such a token."""
    start: Tensor
    """(batch, token) int64: first step of what it was made of; -1 where it is not valid."""
    end: Tensor
    """(batch, token) int64: the step after the last; -1 where it is not valid."""
    distance: Tensor
    """(batch, token): from the prototype, inf where no window fits; NaN for tokens without one."""


def observed(x: Tensor, lengths: Tensor | None, mask: Tensor | None) -> Tensor:
    """True (batch, time, channel) where a value counts: observed, and before the end of the series."""
    seen = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
    if lengths is None:
        return seen
    return seen & (torch.arange(x.shape[1], device=x.device)[:, None] < lengths[:, None, None])


class ShapeTokens(nn.Module):
    """The window nearest to each prototype p of l steps, compared with it.

    ``content = W_l r(window) - W'_l r(p) + w log(1 + distance)`` with r(.) the linear resampling to 32 points; maps
    are shared by all prototypes of a length.

    Parameters
    ----------
    lengths, channels : sequence of int
        Of each prototype, in the order of their lengths.
    d_model : int
        Width of tokens.
    normalize : bool
        Whether windows and prototypes are z-normalised.
    """

    _length: Tensor

    def __init__(self, lengths: Sequence[int], channels: Sequence[int], d_model: int, *, normalize: bool):
        super().__init__()
        self.nearest = NearestWindows(lengths, channels, normalize=normalize)
        runs = self.nearest.runs
        self.windows = nn.ModuleList(nn.Linear(_N_POINTS, d_model) for _ in runs)
        self.prototypes = nn.ModuleList(nn.Linear(_N_POINTS, d_model, bias=False) for _ in runs)
        self.distance = nn.Linear(1, d_model, bias=False)
        self.register_buffer("_length", torch.tensor(lengths), persistent=False)

    def forward(self, x: Tensor, lo: Tensor, hi: Tensor, prototypes: Tensor) -> Tokens:
        found = self.nearest(x, lo, hi, prototypes)
        differences = [
            of_window(_resampled(window)) - of_prototype(_resampled(prototype))
            for of_window, of_prototype, window, prototype in zip(
                self.windows, self.prototypes, found.windows, found.prototypes, strict=True
            )
        ]
        valid = found.start >= 0
        distance = found.distance.to(x.dtype)
        content = torch.cat(differences, 1) + self.distance(torch.where(valid, distance, 0).log1p()[..., None])
        end = torch.where(valid, found.start + self._length, -1)
        return Tokens(content, valid, found.start, end, distance)


class ValueTokens(nn.Module):
    """Mean, deviation and slope on intervals of the valid part of a channel, standardised, and one linear map.

    An interval with fewer than two observed values gives no token, except that the whole channel needs one only: a
    series of one step has tokens too.

    Parameters
    ----------
    channels, intervals : sequence of int
        Of each token: its channel and its interval, counted through the levels of the pyramid.
    d_model : int
        Width of tokens.
    """

    _cell: Tensor
    _needed: Tensor

    def __init__(self, channels: Sequence[int], intervals: Sequence[int], d_model: int):
        super().__init__()
        self.n_levels = int(interval_level(torch.tensor(max(intervals))))
        self.linear = nn.Linear(3, d_model)
        n_intervals = 2 ** (self.n_levels + 1) - 1
        cells = [n_intervals * channel + interval for channel, interval in zip(channels, intervals, strict=True)]
        self.register_buffer("_cell", torch.tensor(cells), persistent=False)
        self.register_buffer("_needed", torch.tensor([2 if i else 1 for i in intervals]), persistent=False)

    def forward(self, x: Tensor, observed: Tensor, lo: Tensor, hi: Tensor, center: Tensor, scale: Tensor) -> Tokens:
        found = [each.flatten(1, 2)[:, self._cell] for each in interval_statistics(x, observed, lo, hi, self.n_levels)]
        statistics, n_observed, start, end = found
        valid = n_observed >= self._needed
        content = self.linear(torch.where(valid[..., None], (statistics - center) / scale, 0))
        start, end = torch.where(valid, start, -1), torch.where(valid, end, -1)
        return Tokens(content, valid, start, end, torch.full_like(start, torch.nan, dtype=x.dtype))


class TokenEncoding(nn.Module):
    """Adds to a token where it was found and what kind it is, then layer norm and dropout.

    ``content + Linear(start, end) + channel + scale + label + Linear(prior)``, where channel, scale (which length, or
    which level) and label (which class, or none) are learned vectors.

    Parameters
    ----------
    n_channels, n_scales, n_labels : int
        Numbers of learned vectors.
    d_model : int
        Width of tokens.
    prior : bool
        Whether the prior is added.
    dropout : float
        Dropout of whole sums.
    """

    no_weight_decay = frozenset({"channel", "scale", "label"})

    def __init__(self, n_channels: int, n_scales: int, n_labels: int, d_model: int, *, prior: bool, dropout: float):
        super().__init__()
        self.place = nn.Linear(2, d_model)
        self.channel = nn.Parameter(_DEVIATION * torch.randn(n_channels, d_model))
        self.scale = nn.Parameter(_DEVIATION * torch.randn(n_scales, d_model))
        self.label = nn.Parameter(_DEVIATION * torch.randn(n_labels, d_model))
        self.prior = nn.Linear(1, d_model, bias=False) if prior else None
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, content: Tensor, place: Tensor, channel: Tensor, scale: Tensor, label: Tensor, prior: Tensor
    ) -> Tensor:
        """Tokens (batch, token, d_model), place (batch, token, 2), all others (token,)."""
        kind = self.channel[channel] + self.scale[scale] + self.label[label]
        if self.prior is not None:
            kind = kind + self.prior(prior[:, None])
        # under autocast the maps are half precision; the residual stream stays in that of the parameters
        return self.dropout(self.norm(content.to(kind.dtype) + self.place(place) + kind))


def _resampled(windows: Tensor) -> Tensor:
    """Windows (..., time) at 32 points, evenly spaced from the first step to the last."""
    rows = windows.reshape(-1, 1, windows.shape[-1])
    points = nn.functional.interpolate(rows, size=_N_POINTS, mode="linear", align_corners=True)
    return points.view(*windows.shape[:-1], _N_POINTS)
