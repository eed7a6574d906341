"""From tokens to one vector per case."""

import torch
from torch import Tensor, nn

POOLINGS = ("mean", "last", "both")


class MaskedPooling(nn.Module):
    """Mean over variates, and over time either the mean or the last of the valid tokens, or both side by side.

    Shapes: x (batch, token, variate, channel), n_valid (batch,) or None -> (batch, ``n_parts`` * channel).

    Parameters
    ----------
    kind : {"mean", "last", "both"}, default="mean"
        What is taken over time.

    Raises
    ------
    ValueError
        If the kind does not exist.
    """

    def __init__(self, kind: str = "mean"):
        super().__init__()
        if kind not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(map(repr, POOLINGS))}; got {kind!r}")
        self.kind = kind

    @property
    def n_parts(self) -> int:
        """How many vectors are put side by side."""
        return 2 if self.kind == "both" else 1

    def forward(self, x: Tensor, n_valid: Tensor | None = None) -> Tensor:
        x = x.mean(2)
        parts = []
        if self.kind != "last":
            parts.append(x.mean(1) if n_valid is None else self._mean(x, n_valid))
        if self.kind != "mean":
            parts.append(x[:, -1] if n_valid is None else x[torch.arange(len(x), device=x.device), n_valid - 1])
        return torch.cat(parts, -1)

    @staticmethod
    def _mean(x: Tensor, n_valid: Tensor) -> Tensor:
        valid = torch.arange(x.shape[1], device=x.device) < n_valid[:, None]
        # where, not a product: whatever stands behind the end, even NaN, is left out
        return torch.where(valid[..., None], x, 0).sum(1) / n_valid[:, None].to(x.dtype)
