"""What the networks over sequences of frames share: frame -> latent grid -> layers along time -> next frame."""

import functools
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsmodels.layers import ChannelNorm, frame_norm, same_conv

from ._series import check_facts

OUTPUTS = ("tanh", "linear")
# Frames scaled in single precision may leave [-1, 1] by this much.
ROUNDING = 1e-5

Step = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
NetworkStep = Callable[[Tensor, list[Tensor]], tuple[Tensor, list[Tensor]]]

# Choices of ``ConvS5ForFrames``: for tests, for short videos of small frames on a CPU, for larger frames, and as
# published for Moving MNIST of 300 frames of 64 x 64. Steps of 1e-2 to 1 frames make states that last 2 to 200 frames,
# as short videos do; the gated mixer learned moving digits faster than the others. The output is linear because a
# squashed one can end in black.
FRAMES_PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {"d_model": 32, "d_state": 32, "n_layers": 2, "widths": (16, 32), "groups": 8},
    "light": {
        "d_model": 32,
        "d_state": 32,
        "n_layers": 4,
        "widths": (32,),
        "patch_size": 4,
        "groups": 8,
        "mixer": "swiglu",
        "dt_min": 1e-2,
        "dt_max": 1.0,
        "output": "linear",
    },
    "small": {"d_model": 64, "d_state": 64, "n_layers": 4, "widths": (16, 32, 64), "groups": 8},
    "paper": {"d_model": 256, "d_state": 256, "n_layers": 8, "widths": (64, 128, 256), "groups": 32},
}


class GridBlock(nn.Module):
    """skip + 0.1 conv(ELU(norm(conv(ELU(norm(x)))))), where the skip is a linear map if the width changes."""

    def __init__(self, n_in: int, n_out: int, groups: int):
        super().__init__()
        self.skip = nn.Identity() if n_in == n_out else nn.Conv2d(n_in, n_out, 1, bias=False)
        self.branch = nn.Sequential(
            *(frame_norm(n_in, groups), nn.ELU(), same_conv(n_in, n_out, 3)),
            *(frame_norm(n_out, groups), nn.ELU(), same_conv(n_out, n_out, 3)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + 0.1 * self.branch(x)


class GridEncoder(nn.Module):
    """Frame to latent grid: a convolution, and a block per width with the resolution halved between them.

    Frames are extended by their last row and column to a multiple of the latent cells.  With ``patch_size`` p pixels of
    p x p patches are the channels that the first convolution sees.

    Shapes: x (frames, n_channels, height, width) -> (frames, d_model, *latent_size).

    Parameters
    ----------
    n_channels, height, width : int
        Facts of the data.
    d_model : int
        Channels of the latent grid.
    widths : sequence of int
        Channels at every resolution, from the finest on; a latent cell spans ``patch_size`` 2^(len(widths) - 1) pixels
        each way.
    groups : int
        Groups of the group norms.
    patch_size : int, default=1
        Pixels of a patch, each way.

    Raises
    ------
    ValueError
        If ``widths`` is empty, or it or ``patch_size`` holds a number below 1.

    Attributes
    ----------
    latent_size : tuple of int
        Height and width of the latent grid.
    """

    def __init__(
        self,
        n_channels: int,
        height: int,
        width: int,
        *,
        d_model: int,
        widths: Sequence[int],
        groups: int,
        patch_size: int = 1,
    ):
        super().__init__()
        _check_widths(widths)
        check_facts(patch_size=patch_size)
        cell = patch_size * 2 ** (len(widths) - 1)
        self.latent_size = -(-height // cell), -(-width // cell)
        self.padding = 0, cell * self.latent_size[1] - width, 0, cell * self.latent_size[0] - height
        self.patches = nn.PixelUnshuffle(patch_size) if patch_size > 1 else nn.Identity()
        self.enter = same_conv(n_channels * patch_size**2, widths[0], 3)
        stages = [GridBlock(widths[0], widths[0], groups)]
        for finer, coarser in pairwise(widths):
            stages += [nn.AvgPool2d(2), GridBlock(finer, coarser, groups)]
        self.stages = nn.Sequential(*stages, nn.Conv2d(widths[-1], d_model, 1))

    def forward(self, x: Tensor) -> Tensor:
        if any(self.padding):
            x = F.pad(x, self.padding, mode="replicate")
        # channels last in memory, where the layers and the decoder keep them, is also the faster order on a CPU
        return self.stages(self.enter(self.patches(x)).contiguous(memory_format=torch.channels_last))


class GridDecoder(nn.Module):
    """Latent grid to frame: the blocks of ``GridEncoder`` from the coarsest on, then a linear map of every pixel.

    Shapes: x (frames, d_model, *latent_size) -> (frames, n_channels, height, width).

    Parameters
    ----------
    n_channels, height, width, d_model, widths, groups, patch_size
        As of ``GridEncoder``.
    """

    def __init__(
        self,
        n_channels: int,
        height: int,
        width: int,
        *,
        d_model: int,
        widths: Sequence[int],
        groups: int,
        patch_size: int = 1,
    ):
        super().__init__()
        _check_widths(widths)
        self.height, self.width = height, width
        stages = [same_conv(d_model, widths[0], 3), GridBlock(widths[0], widths[-1], groups)]
        for coarser, finer in pairwise(widths[::-1]):
            stages += [nn.Upsample(scale_factor=2, mode="nearest"), GridBlock(coarser, finer, groups)]
        self.stages = nn.Sequential(
            *stages, ChannelNorm(widths[0]), nn.Conv2d(widths[0], n_channels * patch_size**2, 1)
        )
        self.pixels = nn.PixelShuffle(patch_size) if patch_size > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.pixels(self.stages(x))[..., : self.height, : self.width]


class FramesNetwork(nn.Module):
    """Encoder of single frames -> layers along time on the latent grid -> decoder to the next frame.

    Only the layers reach over time.  Each has ``forward(u (batch, time, channel, height, width), state or None) ->
    (y, state)``, ``step(u (batch, channel, height, width), state) -> (y, state)``, ``stepper()``, which is ``step``
    made ready for many calls with the present weights, and ``zero_state(batch, height, width, like)``.

    Parameters
    ----------
    n_channels, height, width : int
        Facts of the data.
    encoder : nn.Module
        From frames (frames, n_channels, height, width) to latent grids (frames, d_model, *latent_size).
    layers : iterable of nn.Module
        Layers along time.
    decoder : nn.Module
        The way back.
    latent_size : tuple of int
        Height and width of the grids that the layers see.
    output : {"tanh", "linear"}
        Whether predictions are squashed to [-1, 1].
    increments : bool
        Whether the decoder predicts the difference to the frame before; needs ``output="linear"``.

    Raises
    ------
    ValueError
        If a fact is below 1, a choice does not exist, or increments are to be squashed.
    """

    def __init__(
        self,
        n_channels: int,
        height: int,
        width: int,
        *,
        encoder: nn.Module,
        layers: Iterable[nn.Module],
        decoder: nn.Module,
        latent_size: tuple[int, int],
        output: str,
        increments: bool,
    ):
        super().__init__()
        check_facts(n_channels=n_channels, height=height, width=width)
        if output not in OUTPUTS:
            raise ValueError(f"output must be one of {', '.join(map(repr, OUTPUTS))}; got {output!r}")
        if increments and output == "tanh":
            raise ValueError("increments=True needs output='linear': a frame plus an increment is not bounded")
        self.frame_shape, self.latent_size = (n_channels, height, width), latent_size
        self.output, self.increments = output, increments
        self.encoder, self.decoder = encoder, decoder
        self.layers: Any = nn.ModuleList(layers)  # to a type checker, what modules have beside `forward` is unknown

    def forward(self, frames: Tensor, state: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Predict the next frame at every step, all steps at once.

        Parameters
        ----------
        frames : Tensor, shape (batch, time, n_channels, height, width)
            Frames; in [-1, 1] if ``output="tanh"``.
        state : list of Tensor, optional
            State before the first of them, one tensor per layer. Default: nothing was seen yet.

        Returns
        -------
        predictions : Tensor, like ``frames``
            ``predictions[:, t]`` forecasts the frame after ``frames[:, t]`` and depends on none behind that.
        state : list of Tensor
            State after the last frame; passing it on continues the sequence.

        Raises
        ------
        ValueError
            If the frames are not of the size the network was built for, or there are none.
        """
        latents, state = self._latents(frames, state)
        decoded = self._decoded(latents.flatten(0, 1), frames.flatten(0, 1))
        return decoded.unflatten(0, frames.shape[:2]), state

    def observe(self, frames: Tensor, state: list[Tensor] | None = None) -> list[Tensor]:
        """The state of ``forward``, without the cost of its predictions."""
        return self._latents(frames, state)[1]

    def step(self, frame: Tensor, state: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Predict the frame after this one: ``forward`` one frame at a time.

        Parameters
        ----------
        frame : Tensor, shape (batch, n_channels, height, width)
            One frame.
        state : list of Tensor, optional
            State before it. Default: nothing was seen yet.

        Returns
        -------
        prediction : Tensor, like ``frame``
            Forecast of the next frame.
        state : list of Tensor
            State after this frame.
        """
        self._check(frame, ("batch",))
        entering = self.zero_state(len(frame), frame) if state is None else state
        return self._step(frame, entering, [layer.step for layer in self.layers])

    def stepper(self) -> NetworkStep:
        """``step(frame, state)`` made ready for many calls with the present weights, and without its checks.

        What does not depend on the frame, such as a discretisation, is made once, here; gradients go through it.
        """
        return functools.partial(self._step, steps=[layer.stepper() for layer in self.layers])

    def zero_state(self, batch: int, like: Tensor) -> list[Tensor]:
        """State before the first frame, in dtype and on the device of ``like``."""
        return [layer.zero_state(batch, *self.latent_size, like) for layer in self.layers]

    @torch.no_grad()
    def generate(self, context: Tensor, n_frames: int, *, mask: Tensor | None = None) -> Tensor:
        """Continue a sequence: observe the context in parallel, then imagine frame by frame.

        Every forecast is the input of the next step, so that time and memory of a frame do not depend on how many were
        seen or made before it, unless the layers themselves remember every frame.  Dropout is as the network's mode
        (``train``, ``eval``) says.

        Parameters
        ----------
        context : Tensor, shape (batch, time >= 1, n_channels, height, width)
            The frames to continue.
        n_frames : int
            How many to make, at least 1.
        mask : Tensor of bool, shape (height, width) or (n_channels, height, width), optional
            True where a cell has values; elsewhere context is not read, and forecasts are 0. Default: everywhere.

        Returns
        -------
        Tensor, shape (batch, n_frames, n_channels, height, width)
            The frames after the context, without gradient.

        Raises
        ------
        ValueError
            If the context has no frame or frames of another size, holds values that are not finite or, with
            ``output="tanh"``, outside [-1, 1]; if the mask has another shape or covers everything; or if ``n_frames``
            is below 1.
        """
        self._check(context, ("batch", "time"), name="context")
        if n_frames < 1:
            raise ValueError(f"n_frames must be at least 1, got {n_frames}")
        keep = self._masking(mask)
        context = keep(context)
        self._check_values(context)
        n_observed = context.shape[1] - 1
        state = self.observe(context[:, :-1]) if n_observed else self.zero_state(len(context), context)
        step = self.stepper()
        frame, frames = context[:, -1], []
        for _ in range(n_frames):
            frame, state = step(frame, state)
            frame = keep(frame)
            frames.append(frame)
        return torch.stack(frames, 1)

    def _latents(self, frames: Tensor, state: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """Output and state of the last layer."""
        self._check(frames, ("batch", "time"))
        latents = self.encoder(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        entering, leaving = [None] * len(self.layers) if state is None else state, []
        for layer, before in zip(self.layers, entering, strict=True):
            latents, after = layer(latents, before)
            leaving.append(after)
        return latents, leaving

    def _step(self, frame: Tensor, state: list[Tensor], steps: Iterable[Step]) -> tuple[Tensor, list[Tensor]]:
        latent, leaving = self.encoder(frame), []
        for step, before in zip(steps, state, strict=True):
            latent, after = step(latent, before)
            leaving.append(after)
        return self._decoded(latent, frame), leaving

    def _decoded(self, latents: Tensor, frames: Tensor) -> Tensor:
        decoded = self.decoder(latents)
        if self.increments:
            return frames + decoded
        return torch.tanh(decoded) if self.output == "tanh" else decoded

    def _check(self, frames: Tensor, leading: tuple[str, ...], *, name: str = "frames") -> None:
        if frames.ndim != len(leading) + 3 or tuple(frames.shape[-3:]) != self.frame_shape:
            expected = ", ".join([*leading, *map(str, self.frame_shape)])
            raise ValueError(
                f"{name} must have shape ({expected}) as the network was built, got {tuple(frames.shape)}; "
                "resize the frames, or build a network for their size"
            )
        if 0 in frames.shape:
            raise ValueError(f"{name} must hold at least one frame, got shape {tuple(frames.shape)}")
        if not frames.is_floating_point():
            raise ValueError(f"{name} must be floating point, got {frames.dtype}; scale the frames first")

    def _masking(self, mask: Tensor | None) -> Callable[[Tensor], Tensor]:
        """What sets frames to 0 outside of the mask."""
        if mask is None:
            return lambda frames: frames
        if mask.dtype != torch.bool or tuple(mask.shape) not in (self.frame_shape, self.frame_shape[1:]):
            raise ValueError(
                f"mask must be bool of shape {self.frame_shape[1:]} or {self.frame_shape}, "
                f"got {mask.dtype} of shape {tuple(mask.shape)}"
            )
        if not mask.any():
            raise ValueError("mask covers every cell; it must be True where the frames have values")
        return lambda frames: torch.where(mask, frames, 0)

    def _check_values(self, context: Tensor) -> None:
        low, high = context.aminmax()
        if not (low.isfinite() and high.isfinite()):
            raise ValueError("context must be finite; fill missing values, or leave their cells out by mask")
        if self.output == "tanh" and (low < -1 - ROUNDING or high > 1 + ROUNDING):
            raise ValueError(
                f"context must lie in [-1, 1] for output='tanh', got values from {low:g} to {high:g}; "
                "scale the frames, or build the network with output='linear'"
            )


def _check_widths(widths: Sequence[int]) -> None:
    if not widths or min(widths) < 1:
        raise ValueError(f"widths must hold at least one number, none below 1, got {tuple(widths)}")
