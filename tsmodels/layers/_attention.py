"""The transformer encoder of ShapeFormer: attention with joined, normed heads, and norms behind the residual sums."""

import torch
from torch import Tensor, nn


class JoinedAttention(nn.Module):
    r"""Multi-head attention scaled by the whole width, whose joined heads are normed instead of projected.

    ``LN(heads side by side)``, each head being ``softmax(q k' / sqrt(d_model)) v`` of its own slices of bias-free
    maps of the tokens (ShapeFormer, section 4.2): by sqrt(n_heads) softer than usual attention.

    Shapes: x (batch, token, d_model), valid (batch, token) or None -> (batch, token, d_model).

    Parameters
    ----------
    d_model : int
        Width of tokens.
    n_heads : int
        Number of heads; must divide ``d_model``.
    """

    def __init__(self, d_model: int, n_heads: int):
        super().__init__()
        self.n_heads, self.scale = n_heads, d_model**-0.5
        self.maps = nn.Linear(d_model, 3 * d_model, bias=False)  # of queries, keys and values
        self.norm = nn.LayerNorm(d_model)

    def _heads(self, x: Tensor) -> Tensor:
        """Queries, keys and values: (3, batch, head, token, width)."""
        return self.maps(x).unflatten(2, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        queries, keys, values = self._heads(x)
        seen = None if valid is None else valid[:, None, None]
        heads = nn.functional.scaled_dot_product_attention(queries, keys, values, seen, scale=self.scale)
        return self.norm(heads.transpose(1, 2).flatten(2))

    def weights(self, x: Tensor) -> Tensor:
        """How much each token (third axis) looks at each (fourth): (batch, head, token, token)."""
        queries, keys, _ = self._heads(x)
        return (queries @ keys.mT * self.scale).softmax(3)

    def seen(self, x: Tensor, share: Tensor) -> Tensor:
        """How much each token is looked at, (batch, token): mean over heads, tokens that look counting by ``share``.

        As ``share`` (batch, token) times the mean of `weights`, which holds all heads at once: here it is one.
        """
        queries, keys, _ = self._heads(x)
        total = torch.zeros_like(share)
        for query, key in zip(queries.unbind(1), keys.unbind(1), strict=True):
            total = total + (share[:, None] @ (query @ key.mT * self.scale).softmax(2))[:, 0]
        return total / self.n_heads

    def read(self, x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Output (batch, row, d_model) and weights (batch, head, row, token) of some tokens as queries.

        The maps of keys and values are applied to the queries and to the weighted means of tokens, not to all tokens:
        few rows cost ``n_heads`` products of width d_model for each token, where the maps cost 2 d_model of them.
        """
        to_query, to_key, to_value = self.maps.weight.unflatten(0, (3, self.n_heads, -1))
        queries = torch.einsum("brd,hed,hec->bhrc", x[:, rows], to_query, to_key).flatten(1, 2)
        weights = (queries @ x.mT * self.scale).softmax(2)  # (batch, head and row, token)
        means = (weights @ x).unflatten(1, (self.n_heads, -1))
        heads = torch.einsum("bhrc,hec->brhe", means, to_value)
        return self.norm(heads.flatten(2)), weights.unflatten(1, (self.n_heads, -1))


class PostNormBlock(nn.Module):
    """Attention and a feed-forward network, each added to its input and normed then.

    ``a = LN(residual + Attention(x))``, ``z = LN(a + FF(a))`` with FF(a) = dropout(W dropout(relu(W' a + b')) + b).

    Shapes: x and residual (batch, token, d_model), valid (batch, token) or None -> (batch, token, d_model).

    Parameters
    ----------
    d_model, n_heads : int
        Width of tokens and number of heads.
    d_ff : int
        Width inside the feed-forward network.
    dropout : float
        Dropout inside it and at its end.
    """

    def __init__(self, d_model: int, n_heads: int, d_ff: int, dropout: float):
        super().__init__()
        self.attention = JoinedAttention(d_model, n_heads)
        self.attention_norm = nn.LayerNorm(d_model)
        self.feed_forward = nn.Sequential(
            nn.Linear(d_model, d_ff), nn.ReLU(), nn.Dropout(dropout), nn.Linear(d_ff, d_model), nn.Dropout(dropout)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(
        self, x: Tensor, residual: Tensor, valid: Tensor | None = None, *, scale: Tensor | float = 1.0
    ) -> Tensor:
        """Tokens; both sums are multiplied with ``scale``, (token, 1) or a number, the first before its norm."""
        return self._after(residual + self.attention(x, valid), scale)

    def read(self, x: Tensor, rows: Tensor, *, scale: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """Some rows of ``forward(x, x)`` at less cost: (batch, row, d_model), and how they look at all tokens.

        The second result is the mean over heads of the attention weights, (batch, row, token).
        """
        attended, weights = self.attention.read(x, rows)
        return self._after(x[:, rows] + attended, scale), weights.mean(1)

    def _after(self, attended: Tensor, scale: Tensor | float) -> Tensor:
        attended = self.attention_norm(attended * scale)
        return self.norm(attended + self.feed_forward(attended)) * scale
