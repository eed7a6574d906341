"""The layer around ``ConvS5SSM``: mixer, residual sum and norm."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._conv_ssm import ConvS5SSM, OnGrid, kernel_pair
from ._conv_ssm_wide import WideConvS5SSM


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of every pixel; x (frames, channels, height, width) -> like x."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def frame_norm(channels: int, groups: int) -> nn.GroupNorm:
    """Group norm of a frame by itself, in as many of the groups as divide the channels."""
    return nn.GroupNorm(math.gcd(groups, channels), channels)


def same_conv(n_in: int, n_out: int, kernel: int | tuple[int, int], *, bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps height and width."""
    height, width = kernel_pair("kernel", kernel)
    return nn.Conv2d(n_in, n_out, (height, width), padding=(height // 2, width // 2), bias=bias)


class ResNetMixer(nn.Module):
    """GELU(y + conv(GELU(norm(conv(GELU(norm(y)))))))."""

    def __init__(self, channels: int, kernel: int | tuple[int, int], groups: int):
        super().__init__()
        self.branch = nn.Sequential(
            *(frame_norm(channels, groups), nn.GELU(), same_conv(channels, channels, kernel)),
            *(frame_norm(channels, groups), nn.GELU(), same_conv(channels, channels, kernel)),
        )

    def forward(self, y: Tensor, u: Tensor) -> Tensor:
        return F.gelu(y + self.branch(y))


class StandardMixer(nn.Module):
    """GELU(norm(y + D * u)): the feedthrough of a state space model as a convolution."""

    def __init__(self, channels: int, kernel: int | tuple[int, int], groups: int):
        super().__init__()
        self.D = same_conv(channels, channels, kernel, bias=False)
        self.norm = frame_norm(channels, groups)

    def forward(self, y: Tensor, u: Tensor) -> Tensor:
        return F.gelu(self.norm(y + self.D(u)))


class HalfGLUMixer(nn.Module):
    """z sigmoid(W z + c) with z = GELU(norm(y)): pointwise, the output of an S5 layer."""

    def __init__(self, channels: int, kernel: int | tuple[int, int], groups: int):
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.gate = nn.Conv2d(channels, channels, 1)

    def forward(self, y: Tensor, u: Tensor) -> Tensor:
        z = F.gelu(self.norm(y))
        return z * torch.sigmoid(self.gate(z))


class SwiGLUMixer(nn.Module):
    """O (V n ⊙ SiLU(W [n, u])) with n = LN(y), V and W twice as wide as y: what was seen, times what is seen now."""

    def __init__(self, channels: int, kernel: int | tuple[int, int], groups: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.value = nn.Linear(channels, 2 * channels)
        self.gate = nn.Linear(2 * channels, 2 * channels)
        self.out = nn.Linear(2 * channels, channels)

    def forward(self, y: Tensor, u: Tensor) -> Tensor:
        # linear maps of the last axis are much faster on a CPU than convolutions of 1 x 1, and there are the channels
        n, u = self.norm(y.permute(0, 2, 3, 1)), u.permute(0, 2, 3, 1)
        gated = self.value(n) * F.silu(self.gate(torch.cat([n, u], -1)))
        return self.out(gated).permute(0, 3, 1, 2)


MIXERS = {"resnet": ResNetMixer, "standard": StandardMixer, "half_glu": HalfGLUMixer, "swiglu": SwiGLUMixer}
STATE_KERNELS = {1: ConvS5SSM, 3: WideConvS5SSM}


class ConvS5Layer(nn.Module):
    """Residual layer LayerNorm(u + Dropout(Mixer(ConvS5SSM(u)))), or u + Dropout(Mixer(ConvS5SSM(LayerNorm(u)))).

    Layer norms are over the channels of a pixel.  All steps at once (``forward``), or one at a time (``step``): both
    give the same, because nothing but the recurrence of the state space model reaches over time.

    Shapes: u (batch, time, channels, height, width), state (batch, 2, ssm_size / 2, height, width) or None -> y like u,
    state.

    Parameters
    ----------
    channels : int
        Channels of input and output.
    ssm_size : int
        Real states of a pixel, as half as many complex ones.
    kernel_b, kernel_c : int or tuple of int, default=3
        Odd size of the kernels of the state space model.
    state_kernel : {1, 3}, default=1
        Pixels, each way, between which the states flow: 1 is :class:`ConvS5SSM`, 3 :class:`WideConvS5SSM`.
    kernel_mix : int or tuple of int, default=3
        Odd size of the kernels of the mixer; "half_glu" and "swiglu" have none.
    mixer : {"resnet", "standard", "half_glu", "swiglu"}, default="resnet"
        GELU(y + conv(GELU(GN(conv(GELU(GN(y))))))); GELU(GN(y + conv(u))); z sigmoid(W z + c) with z = GELU(LN(y)); or
        O (V n ⊙ SiLU(W [n, u])) with n = LN(y), V and W of twice the channels. The last is not of the paper: it
        multiplies what the states remember with the present input, as gated state space models do (arXiv 2206.13947),
        in the form of SwiGLU (arXiv 2002.05202).
    dt_min, dt_max, dt_scale, stability, blocks
        See :class:`ConvS5SSM`.
    groups : int, default=32
        Groups of the group norms (GN), of which the greatest common divisor with ``channels`` is taken.
    dropout : float, default=0.0
        Dropout on the mixer's output.
    prenorm : bool, default=False
        Whether the layer norm stands before the state space model and not behind the sum.
    bidirectional : bool, default=False
        Whether the output of a state space model of its own, from the last step to the first, is added.

    Raises
    ------
    ValueError
        If a choice does not exist.
    """

    def __init__(
        self,
        channels: int,
        ssm_size: int,
        *,
        kernel_b: int | tuple[int, int] = 3,
        kernel_c: int | tuple[int, int] = 3,
        state_kernel: int = 1,
        kernel_mix: int | tuple[int, int] = 3,
        mixer: str = "resnet",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        dt_scale: float = 1.0,
        stability: str = "exp",
        blocks: int = 1,
        groups: int = 32,
        dropout: float = 0.0,
        prenorm: bool = False,
        bidirectional: bool = False,
    ):
        super().__init__()
        if mixer not in MIXERS:
            raise ValueError(f"mixer must be one of {', '.join(map(repr, MIXERS))}; got {mixer!r}")
        if state_kernel not in STATE_KERNELS:
            raise ValueError(f"state_kernel must be one of {', '.join(map(repr, STATE_KERNELS))}; got {state_kernel!r}")
        make = functools.partial(
            *(STATE_KERNELS[state_kernel], channels, ssm_size),
            kernel_b=kernel_b,
            kernel_c=kernel_c,
            dt_min=dt_min,
            dt_max=dt_max,
            dt_scale=dt_scale,
            stability=stability,
            blocks=blocks,
        )
        self.prenorm = prenorm
        self.ssm = make()
        self.backward_ssm = make(reverse=True) if bidirectional else None
        self.mixer = MIXERS[mixer](channels, kernel_mix, groups)
        self.norm = ChannelNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, u: Tensor, state: Tensor | None = None, *, valid: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """All steps at once.

        Parameters
        ----------
        u : Tensor, shape (batch, time, channels, height, width)
            Inputs.
        state : Tensor, shape (batch, 2, ssm_size / 2, height, width), optional
            State before the first step; default zeros.
        valid : Tensor of bool, shape (batch, time), optional
            What the backward walk may read; without one it changes nothing. Default: everything.

        Returns
        -------
        y : Tensor
            Like ``u``.
        state : Tensor or None
            State after the last step; None if bidirectional.

        Raises
        ------
        ValueError
            If the layer is bidirectional and is given a state.
        """
        frames = u.flatten(0, 1)
        v = self.norm(frames).unflatten(0, u.shape[:2]) if self.prenorm else u
        y, last = self.ssm(v, state)
        if self.backward_ssm is not None:
            if state is not None:
                raise ValueError("a bidirectional layer carries no state: its output depends on the rest of the series")
            seen = v if valid is None else torch.where(valid[..., None, None, None], v, 0)
            y, last = y + self.backward_ssm(seen)[0], None
        return self._joined(frames, v.flatten(0, 1), y.flatten(0, 1)).unflatten(0, u.shape[:2]), last

    def step(self, u: Tensor, state: Tensor, discrete: OnGrid | None = None) -> tuple[Tensor, Tensor]:
        """One step of time; see :meth:`ConvS5SSM.step`."""
        if self.backward_ssm is not None:
            raise ValueError("a bidirectional layer cannot step: its output depends on the rest of the series")
        v = self.norm(u) if self.prenorm else u
        y, state = self.ssm.step(v, state, discrete)
        return self._joined(u, v, y), state

    def stepper(self) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """``step`` with the discretisation of the present weights made once."""
        return functools.partial(self.step, discrete=self.ssm.discretised())

    def zero_state(self, batch: int, height: int, width: int, like: Tensor) -> Tensor:
        """State before the first frame, in dtype and on the device of ``like``."""
        return self.ssm.zero_state(batch, height, width, like)

    def _joined(self, u: Tensor, v: Tensor, y: Tensor) -> Tensor:
        """Mixer, residual sum and norm of frames (frames, channels, height, width)."""
        total = u + self.dropout(self.mixer(y, v))
        return total if self.prenorm else self.norm(total)
