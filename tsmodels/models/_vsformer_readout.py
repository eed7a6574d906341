"""From the tokens of one kind to logits."""

import torch
from torch import Tensor, nn

__all__ = ["READ_OUTS"]


class MeanReadOut(nn.Linear):
    """One map for the weighted mean: ``W Σ_j w_j z_j + b``."""

    def __init__(self, n_tokens: int, d_model: int, n_classes: int):
        super().__init__(d_model, n_classes)

    def forward(self, tokens: Tensor, weights: Tensor) -> Tensor:
        """Logits (batch, class) of tokens (batch, token, d_model) and their weights (batch, token)."""
        return super().forward((weights[..., None] * tokens).sum(1))


class TokenReadOut(nn.Module):
    """A map for each token: ``Σ_j w_j W_j z_j + b``."""

    def __init__(self, n_tokens: int, d_model: int, n_classes: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_tokens, d_model, n_classes) / d_model**0.5)
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def forward(self, tokens: Tensor, weights: Tensor) -> Tensor:
        """Logits (batch, class) of tokens (batch, token, d_model) and their weights (batch, token)."""
        return torch.addmm(self.bias, (weights[..., None] * tokens).flatten(1), self.weight.flatten(0, 1))


READ_OUTS = {"tokens": TokenReadOut, "mean": MeanReadOut}
