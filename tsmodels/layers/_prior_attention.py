"""Self-attention in which every key carries a weight known beforehand."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from ._discretize import inverse_softplus

_ABSENT = -1e4  # added to the scores of keys that are not there; finite, so that a row without any key stays finite
_WIDTH = 8  # fused kernels want heads of a multiple of this width


class PriorAttention(nn.Module):
    """Multi-head self-attention whose weights are multiplied by powers of a prior and brought to sum 1 again.

    With a prior ρ_j in [0, 1] for every token and a stream m(j) that it belongs to, head h attends with::

        softmax_j( q_i · k_j / sqrt(d_head) + β[h, m(j)] log(ρ_j + 0.001) )

    which is the usual weight times (ρ_j + 0.001)^β, normalised. β = softplus of a parameter, initially 1; β = 0 is
    plain attention.

    The bias depends on the key alone, so it travels as one more coordinate of the keys, against a constant one of the
    queries: no kernel has to be given a matrix of scores, which would rule out the fused ones, as would dropout of
    weights on a CPU; there is none.

    Shapes: x (batch, token, d_model), prior (token,) or None for plain attention, stream (token,) int64, valid (batch,
    token) bool or None -> (batch, token, d_model). The outputs of tokens that are not valid mean nothing.

    Parameters
    ----------
    d_model : int
        Width of tokens.
    n_heads : int
        Heads; must divide ``d_model``.
    n_streams : int, default=1
        Streams with powers of their own; 0: no prior is ever given.

    Raises
    ------
    ValueError
        If the heads do not divide the width.
    """

    OFFSET = 1e-3  # added to the prior: a token of prior 0 is seen a thousand times less, but it is seen

    def __init__(self, d_model: int, n_heads: int, *, n_streams: int = 1):
        super().__init__()
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(f"n_heads must divide d_model, got {n_heads} heads for a width of {d_model}")
        self.n_heads = n_heads
        self.project = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.beta = None
        if n_streams:
            self.beta = nn.Parameter(inverse_softplus(torch.ones(n_heads, n_streams)))
            self.no_weight_decay = frozenset({"beta"})

    def forward(self, x: Tensor, prior: Tensor | None, stream: Tensor, valid: Tensor | None = None) -> Tensor:
        q, k, v, scale = self._extended(x, prior, stream, valid)
        d_head = v.shape[-1]
        v = nn.functional.pad(v, (0, q.shape[-1] - d_head))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, scale=scale)
        return self.out(mixed[..., :d_head].transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, prior: Tensor | None, stream: Tensor, valid: Tensor | None = None) -> Tensor:
        """Attention weights (batch, head, query, key); rows sum to 1."""
        q, k, _, scale = self._extended(x, prior, stream, valid)
        return (q @ k.mT * scale).softmax(-1)

    def _extended(
        self, x: Tensor, prior: Tensor | None, stream: Tensor, valid: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, float]:
        """Queries and keys with the coordinate of the bias, values, and the scale of their products."""
        q, k, v = self.project(x).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        scale = 1 / math.sqrt(v.shape[-1])
        bias = self._bias(x, prior, stream, valid)
        if bias is None:
            return q, k, v, scale
        bias = (bias / scale).to(k.dtype).expand(len(x), self.n_heads, -1)[..., None]
        rest = -(v.shape[-1] + 1) % _WIDTH
        return (
            nn.functional.pad(torch.cat([q, torch.ones_like(bias)], -1), (0, rest)),
            nn.functional.pad(torch.cat([k, bias], -1), (0, rest)),
            v,
            scale,
        )

    def _bias(self, x: Tensor, prior: Tensor | None, stream: Tensor, valid: Tensor | None) -> Tensor | None:
        """(batch or 1, head or 1, token), or None if all keys are equal."""
        bias = None
        if prior is not None and self.beta is not None:
            power = nn.functional.softplus(self.beta)[:, stream]
            bias = (power * torch.log(prior + self.OFFSET))[None]
        if valid is None:
            return bias
        absent = torch.where(valid, 0.0, _ABSENT).to(x.dtype)[:, None]
        return absent if bias is None else bias + absent


class PriorEncoderLayer(nn.Module):
    """Pre-norm transformer layer over `PriorAttention`: x + attention(norm(x)), then x + GELU network(norm(x)).

    Shapes: as of `PriorAttention`.

    Parameters
    ----------
    d_model, n_heads, n_streams
        As of `PriorAttention`.
    d_ff : int
        Width between the two linear maps.
    dropout : float, default=0.0
        Dropout between the linear maps and on what is added to the tokens.
    """

    def __init__(self, d_model: int, n_heads: int, d_ff: int, *, n_streams: int = 1, dropout: float = 0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.attention = PriorAttention(d_model, n_heads, n_streams=n_streams)
        self.norm2 = nn.LayerNorm(d_model)
        self.feed_forward = nn.Sequential(
            nn.Linear(d_model, d_ff), nn.GELU(), nn.Dropout(dropout), nn.Linear(d_ff, d_model)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, prior: Tensor | None, stream: Tensor, valid: Tensor | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x), prior, stream, valid))
        return x + self.dropout(self.feed_forward(self.norm2(x)))

    def weights(self, x: Tensor, prior: Tensor | None, stream: Tensor, valid: Tensor | None = None) -> Tensor:
        """Attention weights (batch, head, query, key) of the layer for its input ``x``."""
        return self.attention.weights(self.norm1(x), prior, stream, valid)


class PriorEncoder(nn.Module):
    """Transformer layers over `PriorAttention`, one after the other, which can tell what the last attended to.

    Parameters
    ----------
    n_layers : int
        Number of layers.
    d_model, n_heads, d_ff, n_streams, dropout
        As of `PriorEncoderLayer`.
    """

    def __init__(
        self, n_layers: int, d_model: int, n_heads: int, d_ff: int, *, n_streams: int = 1, dropout: float = 0.0
    ):
        super().__init__()
        self.layers = nn.ModuleList(
            PriorEncoderLayer(d_model, n_heads, d_ff, n_streams=n_streams, dropout=dropout) for _ in range(n_layers)
        )

    def forward(
        self, x: Tensor, prior: Tensor | None, stream: Tensor, valid: Tensor | None = None, *, explained: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Encode tokens.

        Parameters
        ----------
        x, prior, stream, valid
            As of `PriorAttention`.
        explained : bool, default=False
            Whether to return weights too.

        Returns
        -------
        x : Tensor (batch, token, d_model)
            Tokens, before any last norm.
        weights : Tensor (batch, query, key) or None
            Weights of attention in the last layer, mean over heads.
        """
        *earlier, last = cast(list[PriorEncoderLayer], list(self.layers))
        for layer in earlier:
            x = layer(x, prior, stream, valid)
        weights = last.weights(x, prior, stream, valid).mean(1) if explained else None
        return last(x, prior, stream, valid), weights
