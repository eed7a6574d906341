"""Convolutional long short-term memory (arXiv 1506.04214)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._conv_ssm import he_normal, kernel_pair
from ._conv_ssm_layer import ChannelNorm


class ConvLSTMLayer(nn.Module):
    """Residual layer LayerNorm(u + Dropout(ConvLSTM(u))), the recurrent counterpart of ``ConvS5Layer``.

    ::

        i, f, o, g = K * [u[t], h[t-1]]
        c[t] = σ(f + forget_bias) c[t-1] + σ(i) tanh(g),     h[t] = σ(o) tanh(c[t])

    No biases, no peepholes and no norm inside the cell; the layer norm is over the channels of a pixel.  Inputs of all
    steps are convolved at once, the hidden state step by step.

    Shapes: u (batch, time, channels, height, width), state (batch, 2, channels, height, width) or None -> y like u,
    state; ``state`` holds c and h.

    Parameters
    ----------
    channels : int
        Channels of input, output and state.
    kernel : int or tuple of int, default=3
        Odd size of the kernels.
    forget_bias : float, default=0.0
        Constant added to the forget gate; 1 starts with a longer memory.
    dropout : float, default=0.0
        Dropout on the cell's output.

    Raises
    ------
    ValueError
        If the kernel is even.

    References
    ----------
    .. [1] X. Shi, Z. Chen, H. Wang, D.-Y. Yeung, W.-K. Wong, W.-C. Woo, "Convolutional LSTM Network: A Machine Learning
       Approach for Precipitation Nowcasting", NeurIPS 2015, arXiv:1506.04214.
    """

    def __init__(
        self, channels: int, *, kernel: int | tuple[int, int] = 3, forget_bias: float = 0.0, dropout: float = 0.0
    ):
        super().__init__()
        self.channels, self.forget_bias = channels, forget_bias
        height, width = kernel_pair("kernel", kernel)
        self.padding = height // 2, width // 2
        self.weight = nn.Parameter(he_normal(4 * channels, 2 * channels, height, width))
        self.norm = ChannelNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, u: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All steps, one after the other."""
        B, T, _, H, W = u.shape
        frames = u.flatten(0, 1)
        of_u, of_h = self.weight.split(self.channels, 1)
        gates = F.conv2d(frames, of_u, padding=self.padding).unflatten(0, (B, T))
        c, h = (self.zero_state(B, H, W, u) if state is None else state).unbind(1)
        outputs = []
        for of_input in gates.unbind(1):  # not gates[:, t], whose gradient is a full-size tensor at every step
            c, h = self._cell(of_input, c, h, of_h)
            outputs.append(h)
        y = self._joined(frames, torch.stack(outputs, 1).flatten(0, 1))
        return y.unflatten(0, (B, T)), torch.stack([c, h], 1)

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One step of time: u (batch, channels, height, width), state -> y like u, state."""
        of_u, of_h = self.weight.split(self.channels, 1)
        c, h = state.unbind(1)
        c, h = self._cell(F.conv2d(u, of_u, padding=self.padding), c, h, of_h)
        return self._joined(u, h), torch.stack([c, h], 1)

    def stepper(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """``step``: there is nothing to prepare."""
        return self.step

    def zero_state(self, batch: int, height: int, width: int, like: Tensor) -> Tensor:
        """State before the first frame, in dtype and on the device of ``like``."""
        return like.new_zeros(batch, 2, self.channels, height, width)

    def _cell(self, of_input: Tensor, c: Tensor, h: Tensor, of_h: Tensor) -> tuple[Tensor, Tensor]:
        gates = of_input + F.conv2d(h, of_h, padding=self.padding)
        i, f, o, g = gates.chunk(4, 1)
        c = torch.sigmoid(f + self.forget_bias) * c + torch.sigmoid(i) * torch.tanh(g)
        return c, torch.sigmoid(o) * torch.tanh(c)

    def _joined(self, u: Tensor, h: Tensor) -> Tensor:
        return self.norm(u + self.dropout(h))
