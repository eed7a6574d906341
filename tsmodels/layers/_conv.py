"""Short convolutions along time."""

from torch import Tensor, nn
from torch.nn import functional as F


class CausalDepthwiseConv(nn.Module):
    """One short causal filter per channel, along time: y[t] = bias + sum_k weight[k] x[t - K + 1 + k].

    Shapes: x (batch, time, variate, channel) -> the same.

    Parameters
    ----------
    n_channels : int
        Number of channels.
    kernel_size : int, default=4
        Length K of the filters.
    """

    def __init__(self, n_channels: int, kernel_size: int = 4):
        super().__init__()
        self.kernel_size = kernel_size
        self.conv = nn.Conv2d(n_channels, n_channels, (kernel_size, 1), groups=n_channels)

    def forward(self, x: Tensor) -> Tensor:
        # (batch, time, variate, channel) in memory is channels-last of (batch, channel, time, variate): no copy.
        padded = F.pad(x, (0, 0, 0, 0, self.kernel_size - 1, 0)).permute(0, 3, 1, 2)
        return self.conv(padded).permute(0, 2, 3, 1)
