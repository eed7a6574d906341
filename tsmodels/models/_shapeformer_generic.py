"""The branch of ShapeFormer that knows no shapelets."""

import torch
from torch import Tensor, nn

from tsmodels.layers import MaskedBatchNorm2d, MaskedPooling, PostNormBlock

MOST_STEPS = 1024  # that attention is paid to one by one


class GenericBranch(nn.Module):
    """Convolutions over time and over channels, attention over time, mean over valid steps (ShapeFormer, section 4.3).

    Each channel is convolved over time by the same filters, then all channels at a step make one vector; both are
    followed by batch normalisation over the valid steps and GELU. A block of attention, whose input alone has the
    learned positions added and dropout, ends in the mean. Positions of later steps than in training are that of the
    last. If training series have more than 1024 steps, attention sees means over so many steps that at most 512 are
    left.

    Shapes: x (batch, time, channel), 0 behind its end, lengths (batch,) or None -> (batch, width).

    Parameters
    ----------
    n_channels, n_timepoints : int
        Facts of the training series.
    width : int
        Number of filters, width of a step.
    n_heads, d_ff : int
        Of the block.
    kernel_size : int
        Steps that the convolution over time spans.
    dropout : float
        Dropout before attention and in the block.
    """

    no_weight_decay = frozenset({"position"})

    def __init__(
        self, n_channels: int, n_timepoints: int, width: int, n_heads: int, d_ff: int, kernel_size: int, dropout: float
    ):
        super().__init__()
        # by the training length, so that a series is pooled alike in every batch
        self.pooled = -(-n_timepoints // (MOST_STEPS // 2)) if n_timepoints > MOST_STEPS else 1
        self.around = ((kernel_size - 1) // 2, kernel_size // 2)
        self.over_time = nn.Conv2d(1, width, (1, kernel_size))
        self.time_norm = MaskedBatchNorm2d(width)
        self.over_channels = nn.Conv2d(width, width, (n_channels, 1))
        self.channel_norm = MaskedBatchNorm2d(width)
        self.position = nn.Parameter(torch.empty(-(-n_timepoints // self.pooled), width).uniform_(-0.02, 0.02))
        self.dropout = nn.Dropout(dropout)
        self.block = PostNormBlock(width, n_heads, d_ff, dropout)
        self.mean = MaskedPooling("mean")

    def forward(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        valid = None if lengths is None else torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        series = nn.functional.pad(x.transpose(1, 2)[:, None], self.around)  # (batch, 1, channel, time)
        z = nn.functional.gelu(self.time_norm(self.over_time(series), valid))
        z = nn.functional.gelu(self.channel_norm(self.over_channels(z), valid)).squeeze(2).transpose(1, 2)
        if self.pooled > 1:
            z, lengths = self._coarser(z, lengths)
            valid = None if lengths is None else torch.arange(z.shape[1], device=x.device) < lengths[:, None]
        steps = torch.arange(z.shape[1], device=x.device).clamp(max=len(self.position) - 1)
        y = self.block(self.dropout(z + self.position[steps]), z, valid)
        return self.mean(y, lengths)

    def _coarser(self, z: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Means over ``pooled`` steps each, the last over what is left."""
        if lengths is None:
            whole = torch.full((1,), z.shape[1], device=z.device)
        else:
            whole = lengths
            z = torch.where((torch.arange(z.shape[1], device=z.device) < lengths[:, None])[..., None], z, 0)
        behind = -z.shape[1] % self.pooled
        sums = nn.functional.pad(z, (0, 0, 0, behind)).unflatten(1, (-1, self.pooled)).sum(2)
        firsts = self.pooled * torch.arange(sums.shape[1], device=z.device)
        n_steps = (whole[:, None] - firsts).clamp(min=1, max=self.pooled)
        n_tokens = None if lengths is None else -(-lengths // self.pooled)
        return sums / n_steps[..., None], n_tokens
