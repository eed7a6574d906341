"""What VSFormer takes from its training cases: motifs of the classes, statistics of the values, priors of both."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tsmodels.layers import NearestWindows, fill_gaps, interval_level, interval_statistics

from ._priors import shape_priors, value_priors
from ._prototypes import Motif, class_motifs, window_lengths
from ._vsformer_tokens import observed

_MOST_CHANNELS = 64  # searched for motifs
_BATCH = 64  # cases matched at a time
_ROUNDING = 1e-5  # of the channel's deviation: statistics that vary less are equal in single precision


@dataclass(frozen=True)
class _Channel:
    """One channel of all cases, standardised; see `fill_gaps`."""

    x: Tensor
    """(case, time, 1) float64"""
    observed: Tensor
    """(case, time, 1) bool"""
    lo: Tensor
    hi: Tensor
    """(case, 1)"""


class TrainingCases:
    """Labelled cases, channel by channel: only one is held in float64 at a time.

    Parameters
    ----------
    x, y, lengths, mask
        As of `PreparedNetwork.prepare`, on the CPU.
    n_classes : int
        Number of classes.
    n_levels : int
        Times that intervals are halved, unless they would be shorter than four steps before.
    seed : int
        Of all draws.
    progress : bool
        Whether to show a progress bar.
    """

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        lengths: Tensor | None,
        mask: Tensor | None,
        n_classes: int,
        *,
        n_levels: int,
        seed: int,
        progress: bool,
    ):
        self.x, self.labels, self.n_classes = x, y.numpy(), n_classes
        self.lengths, self.mask = lengths, mask
        self.n_timepoints = x.shape[1] if lengths is None else int(lengths.max())
        self.n_levels = max(0, min(n_levels, int(math.log2(max(1.0, self.n_timepoints / 4)))))
        self.seed, self.progress = seed, progress
        self.mean = torch.zeros(x.shape[2], dtype=torch.float64)
        self.std = torch.ones_like(self.mean)
        for channel in range(x.shape[2]):
            values = self._raw(channel)[0][self._observed(channel)]
            if len(values):
                std, mean = torch.std_mean(values, correction=0)
                self.mean[channel], self.std[channel] = mean, std if std > 0 else 1.0

    @cached_property
    def _pyramid(self) -> tuple[NDArray, NDArray, NDArray]:
        """Priors (channel, interval), and mean and deviation of the statistics (channel, interval, statistic)."""
        channels = [self._intervals(channel) for channel in self._each(range(self.x.shape[2]), "Values")]
        prior, center, scale = zip(*channels, strict=True)
        return np.stack(prior), np.stack(center), np.stack(scale)

    def interval_tokens(self, n_kept: int) -> dict[str, Tensor]:
        """Intervals of all channels, at most ``n_kept`` of them, those of the largest priors; 0: none."""
        prior, center, scale = self._pyramid if n_kept else (np.zeros((1, 0)), np.zeros((0, 3)), np.zeros((0, 3)))
        kept = np.sort(np.argsort(-prior.ravel(), kind="stable")[:n_kept])
        channel, interval = np.divmod(kept, max(1, prior.shape[1]))
        return {
            "value_channel": torch.from_numpy(channel),
            "value_interval": torch.from_numpy(interval),
            "value_prior": torch.from_numpy(prior.ravel()[kept]),
            "value_center": torch.from_numpy(center.reshape(-1, 3)[kept]),
            "value_scale": torch.from_numpy(scale.reshape(-1, 3)[kept]),
        }

    def motif_tokens(self, n_kept: int, *, normalize: bool) -> dict[str, Tensor]:
        """Motifs of all classes, at most ``n_kept`` of them; see `_kept_motifs`; 0: none."""
        if n_kept == 0:
            return _motif_buffers([], [], np.zeros(0))
        lengths, searched = window_lengths(self.n_timepoints), range(self.x.shape[2])
        if len(searched) > _MOST_CHANNELS:
            searched = np.sort(np.argsort(-self._pyramid[0].max(1), kind="stable")[:_MOST_CHANNELS]).tolist()
        n_groups = len(np.unique(self.labels)) * len(searched) * max(1, len(lengths))
        n_each, generator = max(1, n_kept // n_groups), np.random.default_rng(self.seed)
        motifs, channels, priors = [], [], []
        for channel in self._each(searched, "Motifs"):
            found = self._motifs(channel, lengths, n_each, generator)
            motifs += found
            channels += [channel] * len(found)
            priors.append(self._motif_priors(channel, found, normalize=normalize))
        prior = np.concatenate(priors) if motifs else np.zeros(0)
        labels = np.array([motif.label for motif in motifs], dtype=np.int64)
        kept = _kept_motifs(prior, labels, n_kept)
        kept = sorted(kept, key=lambda i: (len(motifs[i].values), channels[i]))
        return _motif_buffers([motifs[i] for i in kept], [channels[i] for i in kept], prior[kept])

    def _each(self, channels: Sequence[int], what: str) -> Iterator[int]:
        from rich.progress import track

        return iter(track(channels, description=what, disable=not self.progress))

    def _raw(self, channel: int) -> tuple[Tensor, Tensor, Tensor]:
        part = slice(channel, channel + 1)
        mask = None if self.mask is None else self.mask[..., part]
        return fill_gaps(self.x[..., part].double(), self.lengths, mask)

    def _observed(self, channel: int) -> Tensor:
        part = slice(channel, channel + 1)
        return observed(self.x[..., part], self.lengths, None if self.mask is None else self.mask[..., part])

    def _channel(self, channel: int) -> _Channel:
        x, lo, hi = self._raw(channel)
        return _Channel((x - self.mean[channel]) / self.std[channel], self._observed(channel), lo, hi)

    def _intervals(self, channel: int) -> tuple[NDArray, NDArray, NDArray]:
        """Prior (interval,), and mean and deviation of its level (interval, statistic)."""
        part, n_levels = self._channel(channel), self.n_levels
        found = interval_statistics(part.x, part.observed, part.lo, part.hi, n_levels)
        statistics, known = found.statistics[:, 0].numpy(), (found.n_observed[:, 0] > 1).numpy()
        prior = value_priors(statistics, known, self.labels, self.n_classes, seed=self.seed)
        level = interval_level(torch.arange(statistics.shape[1])).numpy()
        center, scale = np.zeros(statistics.shape[1:]), np.ones(statistics.shape[1:])
        for each in range(n_levels + 1):
            values = statistics[:, level == each][known[:, level == each]]
            if len(values):
                center[level == each], std = values.mean(0), values.std(0)
                scale[level == each] = np.where(std > _ROUNDING, std, 1)
        return prior, center, scale

    def _motifs(self, channel: int, lengths: list[int], n_each: int, generator: np.random.Generator) -> list[Motif]:
        part = self._channel(channel)
        x, observed, lo, hi = (t.numpy() for t in (part.x[..., 0], part.observed[..., 0], part.lo[:, 0], part.hi[:, 0]))
        return class_motifs(x, lo, hi, observed, self.labels, lengths, n_each, generator)

    def _motif_priors(self, channel: int, motifs: list[Motif], *, normalize: bool) -> NDArray:
        if not motifs:
            return np.zeros(0)
        order = sorted(range(len(motifs)), key=lambda i: len(motifs[i].values))
        by_length, part = [motifs[i] for i in order], self._channel(channel)
        nearest = NearestWindows([len(m.values) for m in by_length], [0] * len(motifs), normalize=normalize)
        prototypes, batches = _padded(by_length), (torch.arange(len(part.x)).split(_BATCH))
        distance = [nearest(part.x[b], part.lo[b], part.hi[b], prototypes).distance for b in batches]
        prior = shape_priors(
            torch.cat(distance).numpy(),
            self.labels,
            np.array([m.series for m in by_length]),
            np.array([m.label for m in by_length]),
        )
        return prior[np.argsort(order)]


def _kept_motifs(prior: NDArray, labels: NDArray, n_kept: int) -> list[int]:
    """The ``n_kept`` of the largest priors; half of the places are shared out evenly among the classes first."""
    order = np.argsort(-prior, kind="stable")
    if len(order) <= n_kept:
        return order.tolist()
    classes = np.unique(labels)
    quota = max(1, n_kept // (2 * len(classes)))
    first = [i for label in classes for i in order[labels[order] == label][:quota]]
    taken = set(first)
    return [*first, *(i for i in order if i not in taken)][:n_kept]


def _padded(motifs: Sequence[Motif]) -> Tensor:
    longest = max((len(motif.values) for motif in motifs), default=0)
    return (
        torch.stack([torch.nn.functional.pad(torch.from_numpy(m.values), (0, longest - len(m.values))) for m in motifs])
        if motifs
        else torch.zeros(0, 0)
    )


def _motif_buffers(motifs: Sequence[Motif], channels: Sequence[int], prior: NDArray) -> dict[str, Tensor]:
    def integers(numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, dtype=torch.int64)

    return {
        "prototypes": _padded(motifs),
        "prototype_length": integers([len(motif.values) for motif in motifs]),
        "prototype_channel": integers(channels),
        "prototype_label": integers([motif.label for motif in motifs]),
        "prototype_series": integers([motif.series for motif in motifs]),
        "prototype_start": integers([motif.start for motif in motifs]),
        "prototype_prior": torch.from_numpy(prior),
    }
