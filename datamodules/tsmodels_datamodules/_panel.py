"""Collections of series -> dense tensors with lengths and a mask -> batches.

A collection is read once into a :class:`Panel`; from then on a batch is one gather.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler

from tsmodels_datamodules._containers import read_values

MISSING_POLICIES = ("error", "interpolate", "zero")
_NUMPY_DTYPES = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


def _positions(index: npt.ArrayLike | torch.Tensor) -> torch.Tensor:
    positions = np.asarray(index)
    if positions.size and positions.dtype.kind not in "iu":  # a mask would silently turn into positions 0 and 1
        raise TypeError(f"index must hold positions, which are integers, got {positions.dtype}.")
    return torch.from_numpy(positions.astype(np.int64))  # astype copies: torch warns of arrays it may not write to


@dataclass(frozen=True, eq=False)
class Panel:
    """A collection of series as dense tensors.

    Attributes
    ----------
    x : Tensor (case, time, channel)
        The values, 0 where a value is missing and beyond the end of a case.
    lengths : Tensor (case,), int64
        Number of time points of each case, counted from the start.
    mask : Tensor (case, time, channel), bool
        True where a value was observed; False where it is missing and beyond the end of a case.
    """

    x: torch.Tensor
    lengths: torch.Tensor
    mask: torch.Tensor

    @property
    def n_cases(self) -> int:
        """Number of cases."""
        return self.x.shape[0]

    @property
    def n_timepoints(self) -> int:
        """Length of the time axis, by default that of the longest case."""
        return self.x.shape[1]

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.x.shape[2]

    @property
    def is_equal_length(self) -> bool:
        """Whether every case fills the whole time axis."""
        return bool((self.lengths == self.n_timepoints).all())

    @property
    def has_missing(self) -> bool:
        """Whether a value is missing before the end of its case."""
        return self.mask.sum().item() < self.lengths.sum().item() * self.n_channels

    def valid(self) -> torch.Tensor:
        """Return a bool tensor (case, time, channel): True up to the end of each case, missing or not."""
        return (torch.arange(self.n_timepoints) < self.lengths[:, None])[:, :, None].expand_as(self.mask)

    def take(self, index: npt.ArrayLike | torch.Tensor) -> Panel:
        """Return the cases at the positions `index`, in that order, on the same time axis."""
        rows = _positions(index)
        return Panel(self.x[rows], self.lengths[rows], self.mask[rows])

    def pad_to(self, n_timepoints: int) -> Panel:
        """Return the panel with its time axis extended to `n_timepoints`; a longer panel is returned as it is."""
        extra = n_timepoints - self.n_timepoints
        if extra <= 0:
            return self
        x, mask = (torch.nn.functional.pad(tensor, (0, 0, 0, extra)) for tensor in (self.x, self.mask))
        return Panel(x, self.lengths, mask)


def to_panel(X: Any, *, dtype: torch.dtype = torch.float32, name: str = "X") -> Panel:
    """Read a collection of series into a :class:`Panel`.

    Parameters
    ----------
    X : array, tensor, list or DataFrame
        One of

        * numpy array or torch tensor (case, channel, time), sktime's ``numpy3D``;
        * list of arrays or tensors (channel, time), which may differ in time;
        * list of DataFrames, rows = time, columns = channels, sktime's ``df-list``;
        * DataFrame with a row index of two levels (case, time), sktime's ``pd-multiindex``; cases are numbered in the
          order in which they appear, the rows of a case must be adjacent and sorted by time;
        * DataFrame of one series per cell, rows = cases, columns = channels, sktime's ``nested_univ``.

        Time stamps are used for their order only: consecutive rows are consecutive time points.
    dtype : torch.dtype
        ``torch.float32`` (default) or ``torch.float64``, of ``Panel.x``.
    name : str
        What the error messages call the argument.

    Returns
    -------
    Panel
        On memory of its own. NaN means "missing": ``mask`` is False there and ``x`` is 0. NaN at the end of a case is
        *not* taken for the end of the case, as the two cannot be told apart; give cases of unequal length as a list,
        for an array padded with NaN ``[x[:, :n] for x, n in zip(X, lengths)]``.

    Raises
    ------
    TypeError
        If the container is none of the above, or its values are not real numbers.
    ValueError
        If there is no case, channel or time point; the dimensions are wrong (a 2-D array); the number of channels
        differs between cases, or the length between the channels of a case; a value is infinite or too large for
        `dtype`.
    """
    if dtype not in _NUMPY_DTYPES:
        raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}.")
    with np.errstate(over="ignore"):  # a value too large for the dtype becomes infinite, which is reported below
        values, lengths = read_values(X, _NUMPY_DTYPES[dtype], name)
    infinite = np.isinf(values)
    if infinite.any():
        case, time, channel = np.argwhere(infinite)[0]
        raise ValueError(
            f"{name} holds values that are infinite or too large for {dtype}, the first in case {case}, channel "
            f"{channel}, time point {time}: replace them, by NaN if they are missing."
        )
    observed = ~np.isnan(values)
    values[~observed] = 0
    return Panel(torch.from_numpy(values), torch.from_numpy(lengths), torch.from_numpy(observed))


def apply_missing(panel: Panel, policy: str, *, name: str = "X") -> Panel:
    """Treat the missing values of a panel by an explicit policy.

    Parameters
    ----------
    panel : Panel
        As read by :func:`to_panel`. It is not changed.
    policy : {"error", "interpolate", "zero"}
        ``"error"``: there must be none. ``"interpolate"``: linear in time between the observed neighbours, the nearest
        observed value before the first and after the last; every case for itself, nothing beyond its end.
        ``"zero"``: left at 0 with ``mask`` False, for networks that take a mask (after scaling, 0 is the channel mean).
    name : str
        What the error messages call the argument.

    Returns
    -------
    Panel
        Without missing values, except under ``"zero"``.

    Raises
    ------
    ValueError
        If the policy is unknown; under ``"error"`` if a value is missing; under ``"interpolate"`` if a channel of a
        case has no observed value at all.
    """
    if policy not in MISSING_POLICIES:
        raise ValueError(f"missing must be one of {', '.join(map(repr, MISSING_POLICIES))}, got {policy!r}.")
    if policy == "zero" or not panel.has_missing:
        return panel
    gaps = panel.valid() & ~panel.mask
    if policy == "error":
        case, time, channel = gaps.nonzero()[0].tolist()
        raise ValueError(
            f"{name} has {int(gaps.sum())} missing values (NaN), the first in case {case}, channel {channel}, time "
            f"point {time}. Set missing='interpolate' to fill them, missing='zero' for a network that takes a mask, or "
            f"pass cases of unequal length as a list of arrays (channel, time) if NaN was used as padding."
        )
    return _interpolate(panel, gaps, name)


def _interpolate(panel: Panel, gaps: torch.Tensor, name: str) -> Panel:
    x = panel.x.clone()
    values, observed = x.numpy(), panel.mask.numpy()
    for case, channel in gaps.any(dim=1).nonzero().tolist():
        known = np.flatnonzero(observed[case, :, channel])
        if not known.size:
            raise ValueError(
                f"channel {channel} of case {case} of {name} has no observed value to interpolate from: drop the case "
                f"or the channel, or set missing='zero'."
            )
        missing = np.flatnonzero(gaps[case, :, channel].numpy())
        values[case, missing, channel] = np.interp(missing, known, values[case, known, channel])
    return Panel(x, panel.lengths, panel.valid().clone())


class PanelDataset(Dataset[dict[str, torch.Tensor]]):
    """The cases of a panel as dicts of tensors, a batch being one gather.

    Parameters
    ----------
    panel : Panel
        Its tensors are shared, not copied.
    y : array-like (case,), optional
        Targets, for classification class codes. Integers are stored as int64.
    with_lengths : bool, optional
        Whether the batches carry ``lengths``. By default if the cases are of unequal length.
    with_mask : bool
        Whether the batches carry ``mask``.

    Notes
    -----
    Keys of an item and of a batch: ``x``, and where asked for ``lengths``, ``mask``, ``y``. Every batch has the full
    time axis of the panel: it is not cut to its own longest case, so that all batches are of one shape.
    """

    def __init__(
        self, panel: Panel, y: Any = None, *, with_lengths: bool | None = None, with_mask: bool = False
    ) -> None:
        if with_lengths is None:
            with_lengths = not panel.is_equal_length
        self.tensors = {"x": panel.x}
        if with_lengths:
            self.tensors["lengths"] = panel.lengths
        if with_mask:
            self.tensors["mask"] = panel.mask
        if y is not None:
            y = y if isinstance(y, torch.Tensor) else torch.from_numpy(np.array(y))
            self.tensors["y"] = y if y.is_floating_point() else y.long()
            if len(self.tensors["y"]) != len(panel.x):
                raise ValueError(f"y has {len(self.tensors['y'])} entries for {len(panel.x)} cases.")

    def __len__(self) -> int:
        return len(self.tensors["x"])

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {key: tensor[index] for key, tensor in self.tensors.items()}

    def __getitems__(self, index: npt.ArrayLike | torch.Tensor) -> dict[str, torch.Tensor]:
        rows = _positions(index)
        return {key: tensor[rows] for key, tensor in self.tensors.items()}

    def subset(self, index: npt.ArrayLike | torch.Tensor) -> PanelDataset:
        """Return a dataset of copies of the cases at the positions `index`, in that order."""
        return self._of(self.__getitems__(index))

    def without(self, key: str) -> PanelDataset:
        """Return a dataset on the same tensors whose batches lack `key`."""
        return self._of({name: tensor for name, tensor in self.tensors.items() if name != key})

    @classmethod
    def _of(cls, tensors: dict[str, torch.Tensor]) -> PanelDataset:
        dataset = cls.__new__(cls)
        dataset.tensors = tensors
        return dataset


def _as_it_is(batch: Any) -> Any:
    """Collate function: `PanelDataset` gathers whole batches itself."""
    return batch


def panel_loader(
    dataset: PanelDataset, batch_size: int, *, shuffle: bool = False, seed: int = 0, num_workers: int = 0
) -> DataLoader:
    """Return a loader of dict batches that draws nothing from torch's global generator.

    Parameters
    ----------
    dataset : PanelDataset
        The cases.
    batch_size : int
        Cases per batch; the last batch may be smaller.
    shuffle : bool
        Whether each pass goes through the cases in a new order. The orders follow from `seed` alone: equal seeds give
        equal sequences of orders, with any number of workers.
    seed : int
        Seed of the loader's own generators.
    num_workers : int
        Worker processes, kept alive between passes. 0 (default) loads in the calling process, as a rule the fastest
        for data that are in memory.

    Returns
    -------
    DataLoader
        Batches with the keys of `dataset`.
    """
    # The sampler has a generator of its own: the loader draws a seed for its workers at each new set of them, and that
    # must not shift the order of the cases.
    order = torch.Generator().manual_seed(seed)
    sampler = RandomSampler(dataset, generator=order) if shuffle else SequentialSampler(dataset)
    return DataLoader(
        dataset,
        batch_size=batch_size,  # by name: Lightning makes the loader anew with another batch sampler for prediction
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=_as_it_is,
        generator=torch.Generator().manual_seed(seed),
        persistent_workers=num_workers > 0,
    )
