"""Batch normalisation that leaves padding out."""

import torch
from torch import Tensor, nn


class MaskedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation of (batch, channel, row, time) with statistics over the valid steps only.

    Shapes: x (batch, channel, row, time), valid (batch, time) or None -> like x. All as in ``torch.nn.BatchNorm2d``,
    of which ``valid=None`` is the plain case.

    Parameters
    ----------
    num_features : int
        Number of channels.
    """

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        if valid is None or not self.training:
            return super().forward(x)
        inside = valid[:, None, None]
        n_values = valid.sum() * x.shape[2]
        mean = torch.where(inside, x, 0).sum((0, 2, 3)) / n_values
        centred = x - mean[:, None, None]
        variance = torch.where(inside, centred, 0).square().sum((0, 2, 3)) / n_values
        self._remember(mean.detach(), variance.detach() * n_values / (n_values - 1).clamp(min=1))
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale[:, None, None] + self.bias[:, None, None]

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Let the running statistics follow those of a batch."""
        assert self.num_batches_tracked is not None and self.momentum is not None  # as this class is built
        self.num_batches_tracked += 1
        for running, now in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running += self.momentum * (now - running)
