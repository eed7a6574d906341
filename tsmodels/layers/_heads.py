"""From tokens to one vector per case."""

import torch
from torch import Tensor, nn

TIME_POOLINGS = ("mean", "last", "both")
VARIATE_POOLINGS = ("concat", "mean")


class MaskedPooling(nn.Module):
    """Over time the mean or the last of the valid tokens, or both; over variates all side by side, or their mean.

    Shapes: x (batch, token, variate, channel), n_valid (batch,) or None -> (batch, ``n_parts(variates)`` * channel).

    Parameters
    ----------
    over_time : {"mean", "last", "both"}, default="mean"
        What is taken over time.
    over_variates : {"concat", "mean"}, default="concat"
        What is taken over variates.

    Raises
    ------
    ValueError
        If a choice does not exist.
    """

    def __init__(self, over_time: str = "mean", over_variates: str = "concat"):
        super().__init__()
        for name, value, allowed in (
            ("pooling", over_time, TIME_POOLINGS),
            ("variate_pooling", over_variates, VARIATE_POOLINGS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}")
        self.over_time, self.over_variates = over_time, over_variates

    def n_parts(self, n_variates: int) -> int:
        """How many vectors are put side by side."""
        return (2 if self.over_time == "both" else 1) * (n_variates if self.over_variates == "concat" else 1)

    def forward(self, x: Tensor, n_valid: Tensor | None = None) -> Tensor:
        x = x.flatten(2) if self.over_variates == "concat" else x.mean(2)
        parts = []
        if self.over_time != "last":
            parts.append(x.mean(1) if n_valid is None else self._mean(x, n_valid))
        if self.over_time != "mean":
            parts.append(x[:, -1] if n_valid is None else x[torch.arange(len(x), device=x.device), n_valid - 1])
        return torch.cat(parts, -1)

    @staticmethod
    def _mean(x: Tensor, n_valid: Tensor) -> Tensor:
        valid = torch.arange(x.shape[1], device=x.device) < n_valid[:, None]
        # where, not a product: whatever stands behind the end, even NaN, is left out
        return torch.where(valid[..., None], x, 0).sum(1) / n_valid[:, None].to(x.dtype)
