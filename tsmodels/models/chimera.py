"""Chimera: two-dimensional state space model for multivariate time series.

Behrouz, Santacatterina and Zabih, "Chimera: Effectively Modeling Multivariate Time Series with 2-Dimensional State
Space Models", NeurIPS 2024, arXiv 2406.04320.  No code of the authors is public; this follows the paper's equations.
What is this package's own choice:

* the coupling terms are discretised by exact zero-order hold (``gates="literal"`` is the other reading);
* A is diagonal in both heads;
* the seasonal head reads what the trend head leaves over; the outputs of the two directions are summed;
* the head sees every variate by itself (``variate_pooling``), and a learned vector per variate is added to its tokens:
  a plain mean over variates forgets which is which;
* missing values enter by an indicator of their own.
"""

import torch
from torch import Tensor, nn

from tsmodels.layers import ChimeraBlock, MaskedPooling, PatchEmbedding

from ._config import records_config
from ._series import check_channels, check_facts, cleaned, valid_tokens

# Shortest series, and the patch size and stride it gets by default.
_PATCHES = ((96, 16, 8), (16, 4, 4), (1, 1, 1))


@records_config
class ChimeraForClassification(nn.Module):
    """Chimera network that classifies multivariate series.

    Patches of each variate are embedded, pass through blocks that scan the grid of variates and time with two coupled
    states (:func:`tsmodels_kernels.selective_scan_2d`), are averaged over valid time and variates, and end in a
    linear map. Series of unequal length are handled exactly: padding a series changes nothing.

    Shapes: x (batch, time, channel), lengths (batch,), mask like x -> logits (batch, n_classes).

    Parameters
    ----------
    n_channels : int
        Number of channels (variates) of a series.
    n_timepoints : int
        Length of the longest training series; it only sets the default patch size.
    n_classes : int
        Number of classes.
    d_model : int, default=64
        Width of tokens and heads.
    d_state : int, default=16
        Numbers in each of the two states of a channel.
    n_layers : int, default=2
        Number of blocks.
    dropout : float, default=0.1
        Dropout in blocks and before the last linear map.
    patch_size : int, optional
        Time steps in a token. Default: 16 for series of 96 steps or more, 4 from 16 steps on, else 1.
    stride : int, optional
        Time steps between tokens, at most ``patch_size``. Default: 8 for default patches of 16, else ``patch_size``.
    coupling : {"full", "t2v", "v2t", "none"}, default="full"
        Which of the two states feeds the other: both, time to variate, variate to time, neither.
    gates : {"zoh", "half", "literal"}, default="zoh"
        Discretisation of the state transition; "literal" is unstable for small steps and warns.
    variate_mixing : {"bidir", "scan", "pooled"}, default="bidir"
        Variates are scanned in both directions, in one, or averaged. One channel needs one direction only.
    variate_embedding : bool, default=True
        Whether a learned vector tells the variates apart. False, with "pooled" mixing and "mean"
        pooling of variates, makes the network independent of their order.
    pooling : {"mean", "last", "both"}, default="mean"
        What is taken over time before the last linear map.
    variate_pooling : {"concat", "mean"}, default="concat"
        What is taken over variates before the last linear map.

    References
    ----------
    .. [1] A. Behrouz, M. Santacatterina, R. Zabih, "Chimera: Effectively Modeling Multivariate Time Series with
       2-Dimensional State Space Models", NeurIPS 2024, arXiv:2406.04320.
    """

    accepts_any_length = True
    no_weight_decay = frozenset({"variates"})

    def __init__(
        self,
        n_channels: int,
        n_timepoints: int,
        n_classes: int,
        *,
        d_model: int = 64,
        d_state: int = 16,
        n_layers: int = 2,
        dropout: float = 0.1,
        patch_size: int | None = None,
        stride: int | None = None,
        coupling: str = "full",
        gates: str = "zoh",
        variate_mixing: str = "bidir",
        variate_embedding: bool = True,
        pooling: str = "mean",
        variate_pooling: str = "concat",
    ):
        super().__init__()
        check_facts(n_channels=n_channels, n_timepoints=n_timepoints, n_classes=n_classes)
        if patch_size is None:
            _, patch_size, usual_stride = next(row for row in _PATCHES if n_timepoints >= row[0])
            stride = usual_stride if stride is None else stride
        if variate_mixing == "bidir" and n_channels == 1:
            variate_mixing = "scan"
        self.n_channels = n_channels
        self.embed = PatchEmbedding(d_model, patch_size, patch_size if stride is None else stride)
        self.variates = nn.Parameter(0.02 * torch.randn(n_channels, d_model)) if variate_embedding else None
        self.blocks = nn.ModuleList(
            ChimeraBlock(
                d_model,
                dropout=dropout,
                d_state=d_state,
                coupling=coupling,
                gates=gates,
                variate_mixing=variate_mixing,
            )
            for _ in range(n_layers)
        )
        self.norm = nn.RMSNorm(d_model)
        self.pool = MaskedPooling(pooling, variate_pooling)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(self.pool.n_parts(n_channels) * d_model, n_classes)

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
        tokens = self.embed(*cleaned(x, lengths, mask))
        if self.variates is not None:
            tokens = tokens + self.variates
        n_valid = None if lengths is None else self.embed.n_tokens(lengths)
        valid = valid_tokens(tokens, n_valid)
        for block in self.blocks:
            tokens = block(tokens, valid)
        return self.classify(self.dropout(self.pool(self.norm(tokens), n_valid)))
