"""Normalisation of each series by its own past, undone on its forecast."""

import torch
from torch import Tensor, nn


class RevIN(nn.Module):
    """Reversible instance normalisation: every channel of every window to mean 0 and deviation 1, and back.

    Kim, Kim, Tae, Park, Choi and Choo, "Reversible Instance Normalization for Accurate Time-Series Forecasting against
    Distribution Shift", ICLR 2022::

        z = w (x - mean) / sqrt(variance + eps) + b           mean and variance over the observed steps of the window
        x = (z - b) / w * sqrt(variance + eps) + mean         of its forecast

    Mean and population variance are part of the graph, so that what is subtracted from ``x`` before (covariates)
    is learned with exact gradients.  A channel without any observed step has mean 0 and variance 0.

    Parameters
    ----------
    n_channels : int
        Number of channels.
    affine : bool, default=False
        Whether w and b are learned, one of each per channel; else they are 1 and 0.
    eps : float, default=1e-5
        Added to the variance: a constant series stays finite.
    """

    def __init__(self, n_channels: int, *, affine: bool = False, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(n_channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(n_channels)) if affine else None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise windows.

        Parameters
        ----------
        x : Tensor, shape (batch, time, channel)
            Windows; what stands where ``mask`` is False is not read.
        mask : Tensor of bool, shape (batch, time, channel), optional
            True where a value was observed; default everywhere.

        Returns
        -------
        z : Tensor, shape (batch, time, channel)
            Normalised windows, 0 where ``mask`` is False.
        mean, deviation : Tensor, shape (batch, 1, channel)
            What :meth:`denormalise` needs.
        """
        if mask is None:
            variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        else:
            n_observed = mask.sum(1, keepdim=True).clamp(min=1)
            mean = torch.where(mask, x, 0).sum(1, keepdim=True) / n_observed
            variance = torch.where(mask, x - mean, 0).square().sum(1, keepdim=True) / n_observed
        deviation = (variance + self.eps).sqrt()
        z = (x - mean) / deviation
        if self.weight is not None and self.bias is not None:
            z = z * self.weight + self.bias
        return z if mask is None else torch.where(mask, z, 0), mean, deviation

    def denormalise(self, z: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
        """Forecasts (batch, horizon, channel) in the units of the windows that gave ``mean`` and ``deviation``."""
        if self.weight is not None and self.bias is not None:
            z = (z - self.bias) / self.weight
        return z * deviation + mean
