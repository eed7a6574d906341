"""The task of the grid forecaster. Imported while training only, since this module imports Lightning."""

from typing import Any

import torch
from torch import Tensor, nn

from tsmodels.tasks import FramesTask
from tsmodels.tasks._base import NetTask

__all__ = ["AnomaliesTask"]


class AnomaliesTask(FramesTask):
    """Training on anomalies, validated by what is forecast after the context: ``val/loss`` is its mean squared error.

    Parameters
    ----------
    network : nn.Module
        See :class:`~tsmodels.tasks.FramesTask`.
    sign_flip : bool, default=False
        Whether a random half of the training windows is turned upside down, value by value.
    **options
        Of :class:`~tsmodels.tasks.FramesTask`.
    """

    def __init__(self, network: nn.Module, *, sign_flip: bool = False, **options: Any):
        super().__init__(network, value_range=None, **options)
        self.sign_flip = sign_flip

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch and log it."""
        if self.sign_flip:
            frames = batch["frames"]
            signs = 2.0 * torch.randint(2, (len(frames), 1, 1, 1, 1), device=frames.device) - 1.0
            batch = batch | {"frames": signs * frames}
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the error of the frames generated after the context."""
        frames, mask = self._read(batch, self.context + 1)
        difference = self._generated(frames, mask) - frames[:, self.context :]
        counted = torch.ones_like(difference[0, 0], dtype=torch.bool) if mask is None else mask
        self._log("val/loss", difference.square()[..., counted.expand(frames.shape[-3:])].mean(), frames)

    def on_validation_epoch_end(self) -> None:
        """Stop the run if the validation loss is no longer a number; there are no other measures."""
        NetTask.on_validation_epoch_end(self)
