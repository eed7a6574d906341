"""Where in a series each of some prototypes comes closest to it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

_ROOM = 1 << 23  # numbers of one block of windows and scores: 64 MB
_TIE = 1e-9  # relative; rounding differs with the padding of a batch


class Matches(NamedTuple):
    """The nearest window of each prototype; see :class:`NearestWindows`."""

    distance: Tensor
    """(batch, prototype): Euclidean distance of window and prototype; inf where no window fits."""
    start: Tensor
    """(batch, prototype) int64: first step of the window; -1 where no window fits."""
    windows: list[Tensor]
    """For each run of prototypes of one length (batch, prototype, length): the windows; 0 where none fits."""
    prototypes: list[Tensor]
    """For each run (prototype, length): the prototypes as they were compared."""


def z_normalised(windows: Tensor, min_std: float) -> Tensor:
    """Windows (..., time) with mean 0 and population deviation 1; 0 where the deviation is below ``min_std``."""
    centred = windows - windows.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    flat = variance < min_std**2
    return torch.where(flat, 0, centred / torch.where(flat, 1, variance).sqrt())


class NearestWindows(nn.Module):
    """The window of a whole series, in the prototype's channel, that is nearest to each prototype.

    With ``normalize`` windows and prototypes of l steps are z-normalised, and the distance is sqrt(2 l (1 - r)) with r
    their correlation; a window that deviates less than ``min_std`` from its mean is said to have r = 0. Else it is the
    plain Euclidean distance. The place is searched in float64 whatever the dtype of the series, from products of all
    windows with the prototypes and prefix sums: 2 l operations for each pair of them. Places that agree to 1e-9 count
    as ties, of which the first is taken, so that rounding does not decide. It has no gradient, the windows that are
    returned have.

    Parameters
    ----------
    lengths : sequence of int
        Steps of each prototype, at least 2, in ascending order.
    channels : sequence of int
        Channel of each prototype.
    normalize : bool, default=True
        Whether windows and prototypes are brought to mean 0 and deviation 1.
    min_std : float, default=1e-3
        Deviation, in units of the series, below which a window is flat.

    Raises
    ------
    ValueError
        If the prototypes are not in the order of their lengths.
    """

    _channel: Tensor

    def __init__(
        self, lengths: Sequence[int], channels: Sequence[int], *, normalize: bool = True, min_std: float = 1e-3
    ):
        super().__init__()
        if list(lengths) != sorted(lengths):
            raise ValueError(f"prototypes must come in the order of their lengths, got {list(lengths)}")
        self.normalize, self.min_std = normalize, min_std
        self.runs: list[tuple[int, slice]] = []  # length, prototypes
        self.register_buffer("_channel", torch.tensor(channels, dtype=torch.int64), persistent=False)
        for length in sorted(set(lengths)):
            first, count = lengths.index(length), lengths.count(length)
            self._register_run(len(self.runs), channels[first : first + count])
            self.runs.append((length, slice(first, first + count)))

    def _register_run(self, run: int, channels: Sequence[int]) -> None:
        """Prototypes of one length as a table (channel, place), with what is needed to fill and to read it."""
        used = sorted(set(channels))
        of_channel = [[j for j, channel in enumerate(channels) if channel == each] for each in used]
        width = max(map(len, of_channel))
        table = [members + [0] * (width - len(members)) for members in of_channel]
        cells = [0] * len(channels)
        for row, members in enumerate(of_channel):
            for place, j in enumerate(members):
                cells[j] = row * width + place
        for name, numbers in (("used", used), ("table", table), ("cells", cells)):
            self.register_buffer(f"_{name}{run}", torch.tensor(numbers, dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor, lo: Tensor, hi: Tensor, prototypes: Tensor) -> Matches:
        """Match a batch of series.

        Parameters
        ----------
        x : Tensor, shape (batch, time, channel)
            Finite series.
        lo, hi : Tensor of int64, shape (batch, channel)
            Valid range of each channel, half-open; windows lie inside.
        prototypes : Tensor, shape (prototype, longest)
            Values from the first step; what stands behind their lengths is not read.

        Returns
        -------
        Matches
            Distances, places and windows.
        """
        x = nn.functional.pad(x.mT, (0, max(0, prototypes.shape[1] - x.shape[1])))  # (batch, channel, time)
        distance, start, windows, normal = [], [], [], []
        for run, (length, members) in enumerate(self.runs):
            values = prototypes[members, :length]
            if self.normalize:
                values = z_normalised(values, 0.0)
            with torch.no_grad():
                place = self._places(run, x.detach().double(), lo, hi, values.double())
            found = self._cut_out(x, self._channel[members], place, length)
            apart = (found - values).detach().square().sum(-1)
            if self.normalize:
                apart = torch.where(found.detach().any(-1), apart, 2.0 * length)
            distance.append(torch.where(place < 0, torch.inf, apart.sqrt()))
            start.append(place)
            windows.append(found)
            normal.append(values)
        return Matches(torch.cat(distance, 1), torch.cat(start, 1), windows, normal)

    def _places(self, run: int, x: Tensor, lo: Tensor, hi: Tensor, prototypes: Tensor) -> Tensor:
        """First steps (batch, prototype) of the nearest windows, -1 where none fits."""
        length = self.runs[run][0]
        used, table, cells = (getattr(self, f"_{name}{run}") for name in ("used", "table", "cells"))
        rows = x[:, used].flatten(0, 1)  # (batch * channel, time)
        weights = prototypes[table].expand(len(x), -1, -1, -1).flatten(0, 1)
        first, last = lo[:, used].flatten(), hi[:, used].flatten() - length
        n_windows = rows.shape[1] - length + 1
        step = max(1, _ROOM // (n_windows * (length + table.shape[1])))
        places = torch.cat(
            [
                self._places_in_rows(rows[a : a + step], first[a : a + step], last[a : a + step], weights[a : a + step])
                for a in range(0, len(rows), step)
            ]
        )
        return places.unflatten(0, (len(x), -1)).flatten(1)[:, cells]

    def _places_in_rows(self, rows: Tensor, first: Tensor, last: Tensor, weights: Tensor) -> Tensor:
        """(row, place in the table): rows (row, time), weights (row, place in the table, length)."""
        length = weights.shape[2]
        products = weights @ rows.unfold(1, length, 1).mT  # (row, place in the table, window)
        squares = _window_sums(rows.square(), length)
        if self.normalize:
            # prototypes sum to 0: no mean has to be taken off the windows
            variance = squares / length - (_window_sums(rows, length) / length).square()
            flat = variance < self.min_std**2
            scores = products * torch.where(flat, 0, torch.where(flat, 1, variance).rsqrt())[:, None]
        else:
            scores = products - squares[:, None] / 2
        steps = torch.arange(scores.shape[2], device=rows.device)
        fits = (steps >= first[:, None]) & (steps <= last[:, None])
        scores = scores.masked_fill_(~fits[:, None], -torch.inf)
        best, norm = scores.amax(2, keepdim=True), weights.square().sum(2, keepdim=True)
        near = scores >= best - _TIE * (best.abs() + norm + 1)
        place = near.to(torch.uint8).argmax(2)  # the first of them
        return torch.where((last >= first)[:, None], place, -1)

    def _cut_out(self, x: Tensor, channel: Tensor, place: Tensor, length: int) -> Tensor:
        steps = place.clamp(min=0)[..., None] + torch.arange(length, device=x.device)
        cases = torch.arange(len(x), device=x.device)[:, None, None]
        windows = x[cases, channel[:, None], steps]
        if self.normalize:
            windows = z_normalised(windows, self.min_std)
        return torch.where(place[..., None] < 0, 0, windows)


def _window_sums(rows: Tensor, length: int) -> Tensor:
    sums = nn.functional.pad(rows.cumsum(1), (1, 0))
    return sums[:, length:] - sums[:, :-length]
