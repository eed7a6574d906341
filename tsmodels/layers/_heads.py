"""From tokens to one vector per case."""

import torch
from torch import Tensor, nn

TIME_POOLINGS = ("mean", "last", "both")
VARIATE_POOLINGS = ("concat", "mean")


class MaskedPooling(nn.Module):
    """Over time the mean or the last of the valid tokens, or both; over variates all side by side, or their mean.

    Shapes: x (batch, token, variate, channel), n_valid (batch,) or None -> (batch, ``n_parts(variates)`` * channel).
    Tokens of one sequence, x (batch, token, channel), are one variate when variates are put side by side.

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


class AttentionPooling(nn.Module):
    """Weighted means over the valid tokens, with weights made from the tokens themselves.

    Head k scores every token by s_k[t] = q_k . x[t].  Each head averages its own group of channels with the weights
    softmax_t(s_k); or, if ``shared``, all channels are averaged with softmax_t(max_k s_k): several patterns can make a
    step count (the adaptive pooling of MambaSL, ICLR 2026).  The scores start near 0, so the pooling near the mean.

    Shapes: x (batch, token, channel), n_valid (batch,) or None -> (batch, channel).

    Parameters
    ----------
    n_channels : int
        Width of a token.
    n_heads : int, default=4
        Number of scores; unless ``shared`` it must divide ``n_channels``.
    shared : bool, default=False
        Whether all channels get the same weights.

    Raises
    ------
    ValueError
        If the heads do not divide the channels.
    """

    def __init__(self, n_channels: int, n_heads: int = 4, *, shared: bool = False):
        super().__init__()
        if not shared and n_channels % n_heads:
            raise ValueError(f"attention pooling needs a width divisible by {n_heads} heads, got {n_channels}")
        self.shared = shared
        self.score = nn.Linear(n_channels, n_heads, bias=False)
        nn.init.normal_(self.score.weight, std=0.02)  # not 0: under the maximum, equal heads would stay equal

    def forward(self, x: Tensor, n_valid: Tensor | None = None) -> Tensor:
        scores = self.score(x)
        if self.shared:
            scores = scores.amax(-1, keepdim=True)
        if n_valid is not None:
            valid = (torch.arange(x.shape[1], device=x.device) < n_valid[:, None])[..., None]
            # x as well: 0 times a NaN behind the end would be NaN
            scores, x = torch.where(valid, scores, -torch.inf), torch.where(valid, x, 0)
        groups = x.unflatten(2, (scores.shape[2], -1))
        return torch.einsum("btk,btkc->bkc", scores.softmax(1), groups).flatten(1)


class ForecastingHead(nn.Module):
    """All tokens of a variate to all steps of its forecast, by one linear map that the variates share.

    Shapes: x (batch, token, variate, d_model) -> (batch, horizon, variate, n_outputs).

    Parameters
    ----------
    n_tokens, d_model : int
        Tokens of a variate and their width.
    horizon : int
        Steps to forecast.
    n_outputs : int, default=1
        Numbers per step and variate.
    dropout : float, default=0.0
        Dropout on the tokens.
    """

    def __init__(self, n_tokens: int, d_model: int, horizon: int, n_outputs: int = 1, *, dropout: float = 0.0):
        super().__init__()
        self.horizon, self.n_outputs = horizon, n_outputs
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(n_tokens * d_model, horizon * n_outputs)

    def forward(self, x: Tensor) -> Tensor:
        steps = self.linear(self.dropout(x.transpose(1, 2).flatten(2)))
        return steps.unflatten(2, (self.horizon, self.n_outputs)).transpose(1, 2)
