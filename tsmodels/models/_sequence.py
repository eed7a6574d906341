"""What the networks over one sequence of tokens share: all channels of a step or patch make one token."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tsmodels.layers import AttentionPooling, MaskedPooling, PatchEmbedding

POOLINGS = ("mean", "last", "both", "attention", "adaptive")


class SequenceForClassification(nn.Module):
    """Patches of all channels -> tokens -> blocks -> norm -> pooling over valid tokens -> linear map.

    Parameters
    ----------
    n_channels, n_timepoints, n_classes : int
        Facts of the data.
    blocks : iterable of nn.Module
        Each takes (tokens, valid) and returns tokens; ``valid`` (batch, token) is None if all are.
    norm : nn.Module
        Applied before pooling.
    d_model, dropout, patch_size, stride, pooling
        As documented by the networks.

    Raises
    ------
    ValueError
        If a fact is below 1, or a choice does not exist.
    """

    accepts_any_length = True

    def __init__(
        self,
        n_channels: int,
        n_timepoints: int,
        n_classes: int,
        *,
        blocks: Iterable[nn.Module],
        norm: nn.Module,
        d_model: int,
        dropout: float,
        patch_size: int,
        stride: int | None,
        pooling: str,
    ):
        super().__init__()
        for name, value in (("n_channels", n_channels), ("n_timepoints", n_timepoints), ("n_classes", n_classes)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(map(repr, POOLINGS))}; got {pooling!r}")
        self.n_channels = n_channels
        self.embed = PatchEmbedding(d_model, patch_size, patch_size if stride is None else stride, n_joint=n_channels)
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        n_parts = 1
        if pooling in ("attention", "adaptive"):
            self.pool = AttentionPooling(d_model, shared=pooling == "adaptive")
        else:
            self.pool = MaskedPooling(pooling)
            n_parts = self.pool.n_parts(1)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(n_parts * d_model, n_classes)

    def forward(self, x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Logits of a batch.

        Parameters
        ----------
        x : Tensor, shape (batch, time, channel)
            Series; what stands where ``mask`` is False or behind ``lengths`` is not read.
        lengths : Tensor of int64, shape (batch,), optional
            Valid steps from the start; default all.
        mask : Tensor of bool, shape (batch, time, channel), optional
            True where a value was observed; default everywhere.

        Returns
        -------
        Tensor, shape (batch, n_classes)
            Logits.

        Raises
        ------
        ValueError
            If ``x`` has another number of axes or channels than the network was built for.
        """
        if x.ndim != 3 or x.shape[2] != self.n_channels:
            raise ValueError(
                f"x must have shape (batch, time, {self.n_channels}) as the network was built, got {tuple(x.shape)}"
            )
        # under autocast the embedding is half precision; the residual stream stays in that of the parameters
        tokens = self.embed(*_cleaned(x, lengths, mask)).to(self.classify.weight.dtype)
        n_valid = valid = None
        if lengths is not None:
            n_valid = self.embed.n_tokens(lengths)
            valid = torch.arange(tokens.shape[1], device=x.device) < n_valid[:, None]
        for block in self.blocks:
            tokens = block(tokens, valid)
        return self.classify(self.dropout(self.pool(self.norm(tokens), n_valid)))


def _cleaned(x: Tensor, lengths: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """``x`` with zeros where nothing was observed, and the indicator of missing values inside the series."""
    inside = None
    if lengths is not None:
        inside = torch.arange(x.shape[1], device=x.device)[None, :, None] < lengths[:, None, None]
        x = torch.where(inside, x, 0)
    if mask is None:
        return x, None
    missing = ~mask if inside is None else ~mask & inside
    return torch.where(missing, 0, x), missing.to(x.dtype)
