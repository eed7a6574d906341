"""Scaling of panels, fitted on training cases only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tsmodels_datamodules._panel import Panel

SCALINGS = ("standard", "none")


class PanelScaler:
    """Per-channel scaling of panels.

    Parameters
    ----------
    kind : {"standard", "none"}
        ``"standard"``: subtract the mean and divide by the standard deviation of each channel over all observed values
        of all cases; a constant channel is only centred. ``"none"``: identity.

    Attributes
    ----------
    kind : str
    mean_, scale_ : ndarray (channel,), float64
        After `fit`: what is subtracted and divided by (0 and 1 under ``"none"`` and for a channel without any value).
    """

    def __init__(self, kind: str = "standard") -> None:
        if kind not in SCALINGS:
            raise ValueError(f"scaling must be one of {', '.join(map(repr, SCALINGS))}, got {kind!r}.")
        self.kind = kind

    def fit(self, panel: Panel) -> PanelScaler:
        """Learn mean and scale from the observed values of a panel.

        Missing values and padding do not count.

        Returns
        -------
        PanelScaler
            The scaler itself.
        """
        self.mean_ = np.zeros(panel.n_channels)
        self.scale_ = np.ones(panel.n_channels)
        if self.kind == "standard":
            for channel in range(panel.n_channels):  # by channel: float64 copies of one channel at a time
                values = panel.x[..., channel][panel.mask[..., channel]].double().numpy()
                if values.size:
                    self.mean_[channel] = values.mean()
                    if values.min() < values.max():  # the rounded deviation of a constant need not be 0
                        self.scale_[channel] = values.std()
        return self

    def transform(self, panel: Panel) -> Panel:
        """Return the scaled panel; what is missing or padded stays 0.

        Raises
        ------
        RuntimeError
            If the scaler is not fitted.
        ValueError
            If the number of channels is not that of the fit.
        """
        if not hasattr(self, "mean_"):
            raise RuntimeError("this PanelScaler is not fitted: call fit(panel) with the training cases first.")
        if panel.n_channels != len(self.mean_):
            raise ValueError(f"the panel has {panel.n_channels} channels, the scaler was fitted on {len(self.mean_)}.")
        if self.kind == "none":
            return panel
        scaled = ((panel.x - torch.from_numpy(self.mean_)) / torch.from_numpy(self.scale_)).to(panel.x.dtype)
        return replace(panel, x=scaled.masked_fill_(~panel.mask, 0))
