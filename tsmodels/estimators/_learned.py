"""What a trained forecaster keeps beside its weights, and the intervals it makes of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tsmodels.tasks._forecasts import Forecasts

if TYPE_CHECKING:
    from tsmodels_datamodules import SeriesScaler

__all__ = ["Learned", "sorted_errors"]


@dataclass(frozen=True)
class Learned:
    """What training leaves beside the weights."""

    columns: list[Any]
    x_columns: list[Any]  # empty without X
    horizon: int
    scaler: "SeriesScaler"
    x_scaler: "SeriesScaler | None"
    # errors of each number forecast, (window, horizon, column[, level]) sorted over windows, scaled
    residuals: np.ndarray | None  # None: no calibration
    calibration: str  # "validation", "training" or "head"
    history: dict[str, Any]

    def point(self, outputs: Tensor, forecasts: Forecasts) -> np.ndarray:
        """Point forecasts (series, horizon, column) in the units of the data."""
        return self.scaler.inverse(forecasts.point(outputs).double()).numpy()

    def quantiles(self, outputs: Tensor, forecasts: Forecasts, alpha: Sequence[float]) -> np.ndarray:
        """Quantiles (series, horizon, column, level) in the units of the data; they rise with the level."""
        if forecasts.levels and self.residuals is not None:
            errors = [self.residuals[..., i] for i in range(len(forecasts.levels))]
            shifts = [_conformal(each, level) for each, level in zip(errors, forecasts.levels, strict=True)]
            outputs = outputs.sort(-1).values.double() + torch.from_numpy(np.stack(shifts, -1))
        if forecasts.n_outputs > 1:
            scaled = forecasts.quantiles(outputs, alpha)
        else:
            scaled = outputs.double().numpy()[..., None] + np.stack([_conformal(self.residuals, a) for a in alpha], -1)
        rising = np.sort(scaled, axis=-1)[..., np.argsort(np.argsort(alpha))]
        return self.scaler.inverse(torch.from_numpy(rising), dim=-2).numpy()


def sorted_errors(batches: Iterable[dict[str, Tensor]], outputs: Tensor, forecasts: Forecasts) -> np.ndarray:
    """Errors of forecasts, sorted over windows, NaN (last) where nothing was observed."""
    targets = []
    for batch in batches:
        target = batch["y"]
        targets.append(target.masked_fill(~batch["y_mask"], torch.nan) if "y_mask" in batch else target)
    target = torch.cat(targets)
    error = target[..., None] - outputs.sort(-1).values if forecasts.levels else target - outputs
    return np.sort(error.double().numpy(), axis=0)


def _conformal(residuals: Any, level: float) -> np.ndarray:
    """The quantile of sorted residuals (window, horizon, column), by the rank of split-conformal prediction.

    Rank ceil((n + 1) level) of n, for levels below one half counted from the other end: if windows are exchangeable, a
    new error lies below with at least (above with at most) this probability.
    """
    n = (~np.isnan(residuals)).sum(0)
    rank = np.ceil((n + 1) * level) if level >= 0.5 else np.floor((n + 1) * level)
    rank = np.clip(rank, 1, np.maximum(n, 1)).astype(int) - 1
    return np.where(n > 0, np.take_along_axis(residuals, rank[None], 0)[0], 0.0)
