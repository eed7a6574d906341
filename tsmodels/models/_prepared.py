"""Networks that look at labelled training cases once, before they are trained.

What such a network finds (shapelets, prototypes, priors, statistics) decides the shapes of some of its parameters. All
of it is kept in buffers, so a state dict is complete: loading one into a fresh network prepares it, without data.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor, nn

from ._series import check_channels

__all__ = ["Explanation", "PreparedNetwork", "ragged"]


class Explanation(NamedTuple):
    """What a network looked at in a batch of series, token by token."""

    logits: Tensor
    """(batch, class)"""
    attention: Tensor
    """(batch, token): the share of the read-out that each token gets; the shares of a case sum to 1."""
    start: Tensor
    """(batch, token) int64: first step of what the token was made of; -1 where nothing fits."""
    end: Tensor
    """(batch, token) int64: the step after its last one; -1 where nothing fits."""
    distance: Tensor
    """(batch, token): from the token's shapelet; NaN for tokens without one, inf where nothing fits."""


class PreparedNetwork(nn.Module):
    """A network part of which is made from labelled training cases.

    A subclass names in ``FOUND`` the buffers that the look at the cases fills, and gives two methods: ``_find`` returns
    a tensor for each of these names, ``_build`` makes the parameters whose shapes follow from them. `prepare`, or
    loading a state dict of a prepared network, runs ``_build`` once.

    Parameters
    ----------
    n_channels, n_classes : int
        Facts of the data, for checking the cases.

    Attributes
    ----------
    preparation_seconds : float or None
        Wall-clock time that `prepare` took; None if the network was prepared by loading.
    """

    FOUND: ClassVar[tuple[str, ...]]
    _place: Tensor

    def __init__(self, n_channels: int, n_classes: int):
        super().__init__()
        self.n_channels, self.n_classes = n_channels, n_classes
        self.preparation_seconds: float | None = None
        for name in self.FOUND:
            self.register_buffer(name, None)
        # follows .to(), so that what is made later is made where the network is
        self.register_buffer("_place", torch.zeros(()), persistent=False)

    @property
    def is_prepared(self) -> bool:
        """Whether the network has seen training cases, or was loaded from one that has."""
        return all(getattr(self, name) is not None for name in self.FOUND)

    def prepare(
        self,
        x: Tensor,
        y: Tensor,
        lengths: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        seed: int = 0,
        progress: bool = False,
    ) -> Self:
        """Find what the network is made of in labelled cases, and make the rest of its parameters.

        Only training cases may be given: neither those for validation nor those for testing. A task does this by
        itself at the start of ``Trainer.fit`` with the training part of the datamodule.

        Parameters
        ----------
        x : Tensor (case, time, channel)
            Series in the units the network will be trained in, 0 where missing or padded.
        y : Tensor of int64 (case,)
            Class codes.
        lengths : Tensor of int64 (case,), optional
            Valid steps from the start; default all.
        mask : Tensor of bool (case, time, channel), optional
            True where a value was observed; default everywhere.
        seed : int, default=0
            Of the draws that are made if the data exceed the caps. The new parameters are drawn from torch's global
            generator.
        progress : bool, default=False
            Show a progress bar.

        Returns
        -------
        Self

        Raises
        ------
        ValueError
            If the cases do not fit the network, an observed value is not finite, or there are fewer than two classes.
        RuntimeError
            If the network is prepared already.
        """
        if self.is_prepared:
            raise RuntimeError(f"this {type(self).__name__} is prepared already: make a new one for other cases")
        self._check_cases(x, y, lengths, mask)
        start = time.perf_counter()
        with torch.no_grad():
            found = self._find(x.cpu(), y.cpu(), _cpu(lengths), _cpu(mask), seed=seed, progress=progress)
        self._take(found)
        self.preparation_seconds = time.perf_counter() - start
        return self

    def _find(
        self, x: Tensor, y: Tensor, lengths: Tensor | None, mask: Tensor | None, *, seed: int, progress: bool
    ) -> dict[str, Tensor]:
        """Return a tensor for each name in ``FOUND``; all arguments are checked and on the CPU."""
        raise NotImplementedError

    def _build(self) -> None:
        """Make the parameters whose shapes follow from the buffers of ``FOUND``."""
        raise NotImplementedError

    def _take(self, found: Mapping[str, Tensor]) -> None:
        place = self._place
        for name in self.FOUND:
            value = found[name].detach().clone()
            self.register_buffer(name, value.to(place) if value.is_floating_point() else value.to(place.device))
        self._build()
        self.to(device=place.device, dtype=place.dtype).train(self.training)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        # torch calls this before it loads the children, which _build has then made
        found = {name: state_dict[prefix + name] for name in self.FOUND if prefix + name in state_dict}
        if not self.is_prepared and len(found) == len(self.FOUND):
            self._take(found)
        elif any(found[name].shape != getattr(self, name).shape for name in found if self.is_prepared):
            *_, errors = args
            errors.append(f"this {type(self).__name__} was prepared with other cases: load into a new one instead")
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _require_prepared(self) -> None:
        if not self.is_prepared:
            raise RuntimeError(
                f"{type(self).__name__} has not seen training cases yet: call prepare(x, y) with the training cases, "
                "train it with a Trainer and a datamodule, or load a state dict of a trained one"
            )

    def _check_cases(self, x: Tensor, y: Tensor, lengths: Tensor | None, mask: Tensor | None) -> None:
        check_channels(x, self.n_channels)
        if y.shape != x.shape[:1] or y.is_floating_point():
            raise ValueError(
                f"y must hold one class code, an integer, for each of {len(x)} cases; got {y.dtype} {tuple(y.shape)}"
            )
        classes = y.unique()
        if len(classes) < 2:
            raise ValueError(f"y has {len(classes)} class: {type(self).__name__} compares classes, pass two or more")
        if classes[0] < 0 or classes[-1] >= self.n_classes:
            raise ValueError(
                f"y must hold codes 0 to {self.n_classes - 1}, got {int(classes[0])} to {int(classes[-1])}"
            )
        observed = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
        if lengths is not None:
            observed = observed & (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
        if not x[observed].isfinite().all():
            raise ValueError(
                "x holds NaN or infinite values that the mask calls observed: mark them as missing, or fill them"
            )


def _cpu(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.cpu()


def ragged(values: Sequence[Any]) -> np.ndarray:
    """Return an array of objects; ``np.array`` would make a table of arrays of equal length."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
