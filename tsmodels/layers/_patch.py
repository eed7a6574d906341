"""From series to tokens."""

import torch
from torch import Tensor, nn

from ._distributed import keep_in_graph


class PatchEmbedding(nn.Module):
    """Linear embedding of patches: of each variate by itself, with the same weights for all, or of all jointly.

    Token j of a variate is ``bias + W x[j s : j s + p] + W' missing[j s : j s + p]`` with patch size p and stride s;
    steps behind the end of a series count as zeros.  A series of length l has ``1 + ceil((l - p) / s)`` tokens, at
    least one, and they do not depend on how far the batch is padded.

    Shapes: x (batch, time, variate), missing like x or None -> (batch, token, variate, d_model); with ``n_joint``
    (batch, token, d_model).

    Parameters
    ----------
    d_model : int
        Width of a token.
    patch_size : int, default=1
        Steps p in a patch; 1 embeds every step.
    stride : int, default=1
        Steps s between the starts of patches, at most ``patch_size``.
    n_joint : int, optional
        Number of variates, if one token is to be made of the patches of all of them. Default: a token per variate.

    Raises
    ------
    ValueError
        Unless 1 <= stride <= patch_size.
    """

    def __init__(self, d_model: int, patch_size: int = 1, stride: int = 1, *, n_joint: int | None = None):
        super().__init__()
        if not 1 <= stride <= patch_size:
            raise ValueError(f"need 1 <= stride <= patch_size, got stride={stride}, patch_size={patch_size}")
        self.patch_size, self.stride, self.joint = patch_size, stride, n_joint is not None
        n_inputs = patch_size * (n_joint or 1)
        self.values = nn.Linear(n_inputs, d_model)
        self.missing = nn.Linear(n_inputs, d_model, bias=False)

    def n_tokens(self, lengths: Tensor) -> Tensor:
        """Number of tokens of series of these lengths."""
        return 1 + (lengths - self.patch_size + self.stride - 1).div(self.stride, rounding_mode="floor").clamp(min=0)

    def forward(self, x: Tensor, missing: Tensor | None = None) -> Tensor:
        tokens = self.values(self._patches(x))
        if missing is None:
            return keep_in_graph(tokens, self.missing.weight)
        return tokens + self.missing(self._patches(missing))

    def _patches(self, x: Tensor) -> Tensor:
        n_tokens = int(self.n_tokens(torch.tensor(x.shape[1])))
        behind = (n_tokens - 1) * self.stride + self.patch_size - x.shape[1]
        padded = nn.functional.pad(x, (0, 0, 0, behind))
        patches = padded.unfold(1, self.patch_size, self.stride)  # (batch, token, variate, patch)
        return patches.flatten(2) if self.joint else patches
