"""What a forecasting network's numbers mean: losses, point forecasts and quantiles. Imports no Lightning."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["LOSSES", "Forecasts", "mase_scale", "quantile_levels", "smape_terms"]

_SMALL = 1e-8
_MIN_SCALE = 1e-4  # of a Student-t, in units of the training data
_MIN_FREEDOM = 2.0  # degrees of freedom above it: the variance is finite


def smape_terms(forecast: Tensor, target: Tensor) -> Tensor:
    """200 |y - ŷ| / (|y| + |ŷ|), in percent; 0 where both are 0 (the M3 and M4 competitions' measure)."""
    size = forecast.abs() + target.abs()
    return 200.0 * (forecast - target).abs() / size.clamp(min=_SMALL)


def mase_scale(past: Tensor, mask: Tensor | None, seasonality: int) -> Tensor:
    """Mean absolute error of the seasonal naive forecast over the look-back, (batch, 1, channel).

    Parameters
    ----------
    past : Tensor (batch, lookback, channel)
        Look-back.
    mask : Tensor (batch, lookback, channel), optional
        True where observed.
    seasonality : int
        Steps of one season; must be smaller than the look-back.

    Returns
    -------
    Tensor
        Never 0: a constant look-back has scale 1e-8.
    """
    if past.shape[1] <= seasonality:
        raise ValueError(
            f"MASE needs a lookback longer than seasonality={seasonality}, got {past.shape[1]}: raise lookback or "
            "lower seasonality"
        )
    steps = (past[:, seasonality:] - past[:, :-seasonality]).abs()
    present = torch.ones_like(steps) if mask is None else (mask[:, seasonality:] & mask[:, :-seasonality]).to(steps)
    return ((steps * present).sum(1, keepdim=True) / present.sum(1, keepdim=True).clamp(min=1)).clamp(min=_SMALL)


class _Given(NamedTuple):
    """What a loss may look at beside outputs and targets."""

    past: Tensor
    mask: Tensor | None
    seasonality: int
    levels: Tensor | None


def _mse(outputs: Tensor, target: Tensor, given: _Given) -> Tensor:
    return (outputs - target).square()


def _mae(outputs: Tensor, target: Tensor, given: _Given) -> Tensor:
    return (outputs - target).abs()


def _huber(outputs: Tensor, target: Tensor, given: _Given) -> Tensor:
    return F.huber_loss(outputs, target, reduction="none")


def _smape(outputs: Tensor, target: Tensor, given: _Given) -> Tensor:
    return smape_terms(outputs, target)


def _mase(outputs: Tensor, target: Tensor, given: _Given) -> Tensor:
    return (outputs - target).abs() / mase_scale(given.past, given.mask, given.seasonality)


def _pinball(outputs: Tensor, target: Tensor, given: _Given) -> Tensor:
    assert given.levels is not None
    error = target.unsqueeze(-1) - outputs
    return torch.maximum(given.levels * error, (given.levels - 1) * error).mean(-1)


def _student_t(outputs: Tensor, target: Tensor, given: _Given) -> Tensor:
    location, scale, freedom = _student_parameters(outputs)
    return -torch.distributions.StudentT(freedom, location, scale, validate_args=False).log_prob(target)


def _student_parameters(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    location, raw_scale, raw_freedom = outputs.unbind(-1)
    return location, raw_scale.exp().clamp(min=_MIN_SCALE), _MIN_FREEDOM + F.softplus(raw_freedom)


# Elementwise losses (batch, horizon, channel) of the network's numbers.
LOSSES: dict[str, Callable[[Tensor, Tensor, _Given], Tensor]] = {
    "mse": _mse,
    "mae": _mae,
    "huber": _huber,
    "smape": _smape,
    "mase": _mase,
    "pinball": _pinball,
    "student_t": _student_t,
}


def quantile_levels(loss: str, quantiles: Sequence[float] | None) -> tuple[float, ...] | None:
    """Return the levels of a quantile head, sorted, or None for another loss; ValueError if they do not fit the loss.

    Parameters
    ----------
    loss : str
        A key of ``LOSSES``.
    quantiles : sequence of float or None
        Levels in (0, 1), 0.5 among them; for ``loss="pinball"`` only, where None means 0.05, 0.1, 0.25, 0.5, 0.75, 0.9
        and 0.95.

    Returns
    -------
    tuple of float or None
        The levels.
    """
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {sorted(LOSSES)}, got {loss!r}")
    if loss != "pinball":
        if quantiles is not None:
            raise ValueError(f"quantiles belong to loss='pinball', not to loss={loss!r}: leave them out")
        return None
    levels = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95) if quantiles is None else tuple(sorted(map(float, quantiles)))
    if not all(0 < level < 1 for level in levels) or len({*levels}) < max(2, len(levels)) or 0.5 not in levels:
        raise ValueError(
            f"quantiles must be two or more different levels in (0, 1) with 0.5, the point forecast; got {quantiles}"
        )
    return levels


class Forecasts:
    """How to read the numbers of a forecasting network, by the loss it was trained with.

    Parameters
    ----------
    loss : str
        A key of ``LOSSES``: "mse", "mae", "huber", "smape", "mase" (one number for each step and channel, the point
        forecast), "pinball" (one for each level of ``quantiles``) or "student_t" (location; logarithm of the scale;
        degrees of freedom - 2 before softplus).
    quantiles : sequence of float, optional
        Levels of ``loss="pinball"``.
    seasonality : int, default=1
        Of ``loss="mase"``.

    Attributes
    ----------
    n_outputs : int
        Numbers for each step and channel.
    """

    def __init__(self, loss: str, quantiles: Sequence[float] | None = None, seasonality: int = 1):
        self.loss, self.levels, self.seasonality = loss, quantile_levels(loss, quantiles), int(seasonality)
        if self.seasonality < 1:
            raise ValueError(f"seasonality must be at least 1, got {seasonality}")
        self.is_distribution = loss == "student_t"
        self.n_outputs = len(self.levels) if self.levels else 3 if self.is_distribution else 1

    def loss_of(self, outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        """Return the mean loss over the observed targets of a batch, a scalar."""
        levels = outputs.new_tensor(self.levels) if self.levels else None
        terms = LOSSES[self.loss](outputs, batch["y"], _Given(batch["x"], batch.get("mask"), self.seasonality, levels))
        if "y_mask" not in batch:
            return terms.mean()
        observed = batch["y_mask"].to(terms.dtype)
        return (terms * observed).sum() / observed.sum().clamp(min=1)

    def point(self, outputs: Tensor) -> Tensor:
        """Return the point forecast (batch, horizon, channel): the median where there is a choice."""
        if self.levels:
            return outputs.sort(-1).values[..., self.levels.index(0.5)]
        return outputs[..., 0] if self.is_distribution else outputs

    def quantiles(self, outputs: Tensor, alpha: Sequence[float]) -> np.ndarray:
        """Return quantiles (batch, horizon, channel, level) of a quantile or Student-t head, in float64.

        Between the trained levels they are interpolated linearly in the normal quantile of the level, which continues
        a normal tail beyond the outermost ones.
        """
        if self.is_distribution:
            from scipy import stats

            location, scale, freedom = (each.double().numpy()[..., None] for each in _student_parameters(outputs))
            return stats.t.ppf(np.asarray(alpha, float), freedom, location, scale)
        if not self.levels:
            raise ValueError(f"a network trained with loss={self.loss!r} has no quantiles; use loss='pinball'")
        return _interpolated(outputs.sort(-1).values.double().numpy(), self.levels, alpha)


def _interpolated(values: np.ndarray, levels: Sequence[float], alpha: Sequence[float]) -> np.ndarray:
    known, wanted = (np.array([math.sqrt(2) * _erfinv(2 * level - 1) for level in each]) for each in (levels, alpha))
    right = np.clip(np.searchsorted(known, wanted), 1, len(known) - 1)
    left = right - 1
    share = (wanted - known[left]) / (known[right] - known[left])
    return values[..., left] + share * (values[..., right] - values[..., left])


def _erfinv(value: Any) -> float:
    return float(torch.erfinv(torch.tensor(value, dtype=torch.float64)))
