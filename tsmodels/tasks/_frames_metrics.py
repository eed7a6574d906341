"""Errors of forecast frames by step of the horizon."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from tsmodels.metrics import mae, mse, psnr, ssim

__all__ = ["FrameErrors"]

_WINDOW = 11  # of SSIM
_CHANNEL_AXIS = -3


class FrameErrors(Metric):
    """Errors of forecast frames by step of the horizon, means over the frames of the step.

    Parameters
    ----------
    value_range : (float, float), optional
        Least and largest value of a frame. MSE and MAE are then those on a range of 1, and there are PSNR and, of
        frames of at least 11 x 11 cells, SSIM.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False
    sums: Tensor
    count: Tensor

    def __init__(self, value_range: tuple[float, float] | None = None):
        super().__init__()
        self.value_range = value_range
        self.names: tuple[str, ...] = ()
        self.add_state("sums", torch.zeros(0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, forecast: Tensor, truth: Tensor, mask: Tensor | None = None, scaler: Any = None) -> None:
        """Count a batch.

        Parameters
        ----------
        forecast, truth : Tensor (batch, horizon, channel, height, width)
            Frames.
        mask : bool Tensor, optional
            True where a cell counts.
        scaler : optional
            With ``inverse(frames, dim=...)``, from scaled frames to the units of the data.
        """
        forecast, truth = forecast.float(), truth.float()
        found = self._measured(forecast, truth, mask)
        if scaler is not None:
            forecast, truth = (scaler.inverse(frames, dim=_CHANNEL_AXIS) for frames in (forecast, truth))
            found |= {
                "mse_original": mse(forecast, truth, mask=mask),
                "mae_original": mae(forecast, truth, mask=mask),
            }
        names, sums = tuple(found), torch.stack([value.double().sum(0) for value in found.values()])
        if not self.sums.numel():
            self.names, self.sums = names, torch.zeros_like(sums)
        if names != self.names or sums.shape != self.sums.shape:
            raise ValueError(
                f"a batch has {sums.shape[1]} frames to forecast after others had {self.sums.shape[1]}, or frames of "
                "another size: all batches must be alike."
            )
        self.sums = self.sums + sums
        self.count = self.count + len(truth)

    def _measured(self, forecast: Tensor, truth: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        if self.value_range is None:
            return {"mse": mse(forecast, truth, mask=mask), "mae": mae(forecast, truth, mask=mask)}
        low, high = self.value_range
        found = {
            "mse": mse(forecast, truth, mask=mask) / (high - low) ** 2,
            "mae": mae(forecast, truth, mask=mask) / (high - low),
            "psnr": psnr(forecast, truth, value_range=self.value_range, mask=mask),
        }
        if min(truth.shape[-2:]) >= _WINDOW:
            found["ssim"] = ssim(forecast, truth, value_range=self.value_range, mask=mask, window=_WINDOW)
        return found

    def compute(self) -> dict[str, Tensor]:
        """Return each error by step, tensors (horizon,)."""
        return {name: (total / self.count).float() for name, total in zip(self.names, self.sums, strict=True)}
