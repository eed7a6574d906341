"""What the networks over one sequence of tokens share: all channels of a step or patch make one token."""

from collections.abc import Iterable

from torch import Tensor, nn

from tsmodels.layers import AttentionPooling, MaskedPooling, PatchEmbedding

from ._series import check_channels, check_facts, cleaned, valid_tokens

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
        check_facts(n_channels=n_channels, n_timepoints=n_timepoints, n_classes=n_classes)
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
        check_channels(x, self.n_channels)
        # under autocast the embedding is half precision; the residual stream stays in that of the parameters
        tokens = self.embed(*cleaned(x, lengths, mask)).to(self.classify.weight.dtype)
        n_valid = None if lengths is None else self.embed.n_tokens(lengths)
        valid = valid_tokens(tokens, n_valid)
        for block in self.blocks:
            tokens = block(tokens, valid)
        return self.classify(self.dropout(self.pool(self.norm(tokens), n_valid)))
