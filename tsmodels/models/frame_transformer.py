"""A small causal transformer over frames, the baseline beside ConvS5.

One token per frame, as in the comparison of Smith et al., "Convolutional State Space Models for Long-Range
Spatiotemporal Modeling", NeurIPS 2023, arXiv 2310.19694: encoder and decoder of ConvS5, a convolution over the whole
latent grid into the token and one out of it, sinusoidal positions, blocks of attention to the past.  What differs: keys
and values of past frames are kept, unless asked otherwise, so that a generated frame costs one row of attention and not
all of them; norms stand before the layers.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._config import records_config
from ._frames import FramesNetwork, GridDecoder, GridEncoder
from ._search import Choice, Integer, Real
from ._series import check_facts


class CausalBlock(nn.Module):
    """x + attention(norm(x)) and then x + perceptron(norm(x)), where a token attends to itself and those before it.

    Shapes: x (batch, time, d_model), past (batch, 2, seen, d_model) or None -> y like x, (batch, 2, seen + time,
    d_model); keys and values.
    """

    def __init__(self, d_model: int, n_heads: int, dropout: float):
        super().__init__()
        self.n_heads = n_heads
        self.attention_norm, self.perceptron_norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.project, self.join = nn.Linear(d_model, 3 * d_model), nn.Linear(d_model, d_model)
        self.perceptron = nn.Sequential(nn.Linear(d_model, 4 * d_model), nn.GELU(), nn.Linear(4 * d_model, d_model))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """New tokens, behind those remembered in ``past``."""
        queries, keys, values = self.project(self.attention_norm(x)).chunk(3, -1)
        memory = torch.stack([keys, values], 1)
        if past is not None:
            memory = torch.cat([past.to(memory.dtype), memory], 2)
        n_new, n_seen = x.shape[1], memory.shape[2] - x.shape[1]
        visible = torch.ones(n_new, n_seen + n_new, dtype=torch.bool, device=x.device).tril(n_seen)
        read = F.scaled_dot_product_attention(*map(self._heads, (queries, *memory.unbind(1))), attn_mask=visible)
        x = x + self.dropout(self.join(read.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.perceptron(self.perceptron_norm(x))), memory

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.n_heads, -1)).transpose(1, 2)


class CausalTransformer(nn.Module):
    """Blocks of causal attention over one token per frame, as a layer of a ``FramesNetwork``.

    Shapes: u (batch, time, d_model, 1, 1), state or None -> y like u, state.  The state is what it remembers of all
    frames: keys and values (batch, 2, n_layers, time, d_model), or without cache the tokens (batch, time, d_model).

    Parameters
    ----------
    d_model, n_layers, n_heads : int
        Width, number of blocks and number of heads.
    dropout : float
        Dropout on the output of attention and perceptron.
    cached : bool
        Whether keys and values are kept, or made again from all tokens whenever there is a new one.

    Raises
    ------
    ValueError
        If the heads do not divide the width, or the width is odd.
    """

    def __init__(self, d_model: int, n_layers: int, n_heads: int, *, dropout: float, cached: bool):
        super().__init__()
        if n_heads < 1 or d_model % n_heads or d_model % 2:
            raise ValueError(f"d_model must be even and divisible by n_heads, got d_model={d_model}, n_heads={n_heads}")
        self.d_model, self.cached = d_model, cached
        self.blocks = nn.ModuleList(CausalBlock(d_model, n_heads, dropout) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d_model)

    def forward(self, u: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """New frames, all at once."""
        tokens = u.flatten(2)
        if state is None:
            state = self.zero_state(len(u), 1, 1, tokens)
        y, state = self._extend(tokens, state) if self.cached else self._start_again(tokens, state)
        return self.norm(y)[..., None, None], state

    def step(self, u: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One new frame: u (batch, d_model, 1, 1)."""
        y, state = self(u[:, None], state)
        return y[:, 0], state

    def stepper(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """``step``: there is nothing to prepare."""
        return self.step

    def zero_state(self, batch: int, height: int, width: int, like: Tensor) -> Tensor:
        """Memory of no frame."""
        shape = (batch, 2, len(self.blocks), 0, self.d_model) if self.cached else (batch, 0, self.d_model)
        return like.new_zeros(shape)

    def _extend(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        tokens, memories = self._placed(tokens, state.shape[3]), []
        for block, past in zip(self.blocks, state.unbind(2), strict=True):
            tokens, memory = block(tokens, past)
            memories.append(memory)
        return tokens, torch.stack(memories, 2)

    def _start_again(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        n_seen, state = state.shape[1], torch.cat([state.to(tokens.dtype), tokens], 1)
        everything = self._placed(state, 0)
        for block in self.blocks:
            everything, _ = block(everything)
        return everything[:, n_seen:], state

    def _placed(self, tokens: Tensor, n_seen: int) -> Tensor:
        """Tokens with sines and cosines of their place in the sequence."""
        place = torch.arange(n_seen, n_seen + tokens.shape[1], device=tokens.device, dtype=torch.float64)
        pair = torch.arange(0, self.d_model, 2, device=tokens.device, dtype=torch.float64)
        angle = place[:, None] * 10_000 ** (-pair / self.d_model)
        return tokens + torch.cat([angle.sin(), angle.cos()], 1).to(tokens.dtype)


@records_config
class TransformerForFrames(FramesNetwork):
    """Causal transformer with one token per frame that predicts the next frame of videos and gridded fields.

    Unlike that of ConvS5, its memory of the past grows with every frame, and with it the cost of the next one.

    Shapes: frames (batch, time, n_channels, height, width) -> predictions like frames, state: a list with one tensor,
    (batch, 2, n_layers, seen frames, d_model) if cached, else (batch, seen frames, d_model).

    Parameters
    ----------
    n_channels, height, width : int
        Size of a frame.
    d_model : int, default=128
        Width of a token; even.
    n_layers : int, default=4
        Number of blocks.
    n_heads : int, default=4
        Number of attention heads; divides ``d_model``.
    widths : tuple of int, default=(16, 32, 64)
        Channels of encoder and decoder, from the finest resolution on; each further one halves the resolution. The last
        is also that of the latent grid, all of which makes the token.
    patch_size : int, default=1
        Pixels, each way, of the patches whose pixels are the channels of the finest resolution. Frames in patches cost
        a fraction of convolutions over single pixels.
    groups : int, default=8
        Groups of the group norms.
    cached : bool, default=True
        Whether keys and values of past frames are kept. Without, every generated frame computes the attention of all
        frames before it again; the forecasts are the same.
    dropout : float, default=0.0
        Dropout on the output of attention and perceptron.
    output : {"tanh", "linear"}, default="tanh"
        "tanh" for frames in [-1, 1], "linear" for real-valued fields. Absolute errors, as in the default loss of
        ``FramesTask``, can drive "tanh" to where it has no gradient on videos that are mostly black: all frames then
        are black and stay so. ``loss="mse"`` and "linear" prevent it.
    increments : bool, default=False
        Whether to predict the difference to the frame before; needs ``output="linear"``.
    """

    search_space = {
        "d_model": Choice(64, 128, 256),  # multiples of all numbers of heads
        "n_layers": Integer(1, 8),
        "n_heads": Choice(2, 4, 8),
        "groups": Choice(4, 8, 16),
        "dropout": Real(0.0, 0.3),
        "lr": Real(1e-4, 1e-2, log=True),
    }

    def __init__(
        self,
        n_channels: int,
        height: int,
        width: int,
        *,
        d_model: int = 128,
        n_layers: int = 4,
        n_heads: int = 4,
        widths: Sequence[int] = (16, 32, 64),
        patch_size: int = 1,
        groups: int = 8,
        cached: bool = True,
        dropout: float = 0.0,
        output: str = "tanh",
        increments: bool = False,
    ):
        check_facts(n_channels=n_channels, height=height, width=width, d_model=d_model, n_layers=n_layers)
        grid = widths[-1] if widths else 0  # GridEncoder refuses no widths
        encoder = GridEncoder(
            n_channels, height, width, d_model=grid, widths=widths, patch_size=patch_size, groups=groups
        )
        decoder = GridDecoder(
            n_channels, height, width, d_model=grid, widths=widths, patch_size=patch_size, groups=groups
        )
        into_token = nn.Conv2d(grid, d_model, encoder.latent_size)
        out_of_token = nn.ConvTranspose2d(d_model, grid, encoder.latent_size)
        super().__init__(
            *(n_channels, height, width),
            encoder=nn.Sequential(encoder, into_token),
            layers=[CausalTransformer(d_model, n_layers, n_heads, dropout=dropout, cached=cached)],
            decoder=nn.Sequential(out_of_token, decoder),
            latent_size=(1, 1),
            output=output,
            increments=increments,
        )
