"""ConvS5: convolutional state space model for videos, gridded fields and panels.

Smith, De Mello, Kautz, Linderman and Byeon, "Convolutional State Space Models for Long-Range Spatiotemporal Modeling",
NeurIPS 2023, arXiv 2310.19694.  The layer follows the paper: states that are images, a pointwise diagonal complex
transition from the HiPPO-LegS matrix, zero-order hold, convolutions in and out, a residual mixer of convolutions.
Encoder and decoder are those that the authors used for Moving MNIST.  What differs:

* eigenvalues are kept in the left half-plane by their parametrisation, not by clipping;
* for fields, increments without a squashing function, and masks;
* the steps and the transition are not decayed;
* a mixer of gates, "swiglu", and states that flow between pixels, both as options;
* classification, by this package's own choice, also with a second recurrence backwards in time, and of panels, whose
  variates are the cells of a grid with one row, or the channels of a grid with one cell.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tsmodels.layers import ConvS5Layer, MaskedPooling, keep_in_graph, same_conv

from ._config import records_config
from ._frames import FramesNetwork, GridDecoder, GridEncoder
from ._search import Choice, Integer, Real
from ._series import check_channels, check_facts, cleaned

LAYOUTS = ("variates", "pixel", "grid")


@records_config
class ConvS5ForFrames(FramesNetwork):
    """ConvS5 network that predicts the next frame of videos and gridded fields.

    Training sees all frames in one parallel pass; ``generate`` makes frames one by one, each at the same cost.

    Shapes: frames (batch, time, n_channels, height, width) -> predictions like frames, state: a list with a tensor
    (batch, 2, d_state / 2, latent height, latent width) per layer.

    Parameters
    ----------
    n_channels, height, width : int
        Size of a frame.
    d_model : int, default=64
        Channels of the latent grid.
    d_state : int, default=64
        Numbers in the state of each latent cell and layer, as half as many complex ones; even.
    n_layers : int, default=4
        Number of layers along time.
    widths : tuple of int, default=(16, 32, 64)
        Channels of encoder and decoder, from the finest resolution on; each further one halves the resolution.
    patch_size : int, default=1
        Pixels, each way, of the patches whose pixels are the channels of the finest resolution. Frames in patches cost
        a fraction of convolutions over single pixels.
    groups : int, default=8
        Groups of the group norms.
    kernel : int, default=3
        Odd size of the kernels of the layers.
    state_kernel : {1, 3}, default=1
        Pixels of the latent grid, each way, between which the states themselves flow; 1: each stays in its pixel.
    mixer : {"resnet", "standard", "half_glu", "swiglu"}, default="resnet"
        What stands behind each state space model, see :class:`tsmodels.layers.ConvS5Layer`.
    dt_min, dt_max : float, default=1e-3, 1e-1
        Range of the initial step sizes, drawn log-uniformly, in units of one frame.
    dt_scale : float, default=1.0
        Factor of all steps: for frames r times as far apart as those of training, r.
    stability : {"exp", "clip", "none"}, default="exp"
        What keeps the states bounded, see :class:`tsmodels.layers.ConvS5SSM`.
    prenorm : bool, default=False
        Whether layer norms stand before the layers or behind the residual sums.
    dropout : float, default=0.0
        Dropout on the output of each mixer.
    output : {"tanh", "linear"}, default="tanh"
        "tanh" for frames in [-1, 1], "linear" for real-valued fields. Absolute errors, as in the default loss of
        ``FramesTask``, can drive "tanh" to where it has no gradient on videos that are mostly black: all frames then
        are black and stay so. ``loss="mse"`` and "linear" prevent it.
    increments : bool, default=False
        Whether to predict the difference to the frame before; needs ``output="linear"``.

    References
    ----------
    .. [1] J. T. H. Smith, S. De Mello, J. Kautz, S. W. Linderman, W. Byeon, "Convolutional State Space Models for
       Long-Range Spatiotemporal Modeling", NeurIPS 2023, arXiv:2310.19694.
    """

    search_space = {
        "d_model": Choice(32, 64, 128),  # multiples of all numbers of groups
        "d_state": Choice(32, 64, 128),
        "n_layers": Integer(1, 8),
        "groups": Choice(4, 8, 16),
        "kernel": Choice(3, 5),
        "state_kernel": Choice(1, 3),
        "mixer": Choice("resnet", "half_glu", "swiglu"),
        "dt_min": Real(1e-4, 1e-2, log=True),
        "prenorm": Choice(False, True),
        "dropout": Real(0.0, 0.3),
        "lr": Real(1e-4, 1e-2, log=True),
    }

    def __init__(
        self,
        n_channels: int,
        height: int,
        width: int,
        *,
        d_model: int = 64,
        d_state: int = 64,
        n_layers: int = 4,
        widths: Sequence[int] = (16, 32, 64),
        patch_size: int = 1,
        groups: int = 8,
        kernel: int = 3,
        state_kernel: int = 1,
        mixer: str = "resnet",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        dt_scale: float = 1.0,
        stability: str = "exp",
        prenorm: bool = False,
        dropout: float = 0.0,
        output: str = "tanh",
        increments: bool = False,
    ):
        check_facts(n_channels=n_channels, height=height, width=width, d_model=d_model, n_layers=n_layers)

        def layer() -> ConvS5Layer:
            return ConvS5Layer(
                *(d_model, d_state),
                kernel_b=kernel,
                kernel_c=kernel,
                kernel_mix=kernel,
                state_kernel=state_kernel,
                mixer=mixer,
                dt_min=dt_min,
                dt_max=dt_max,
                dt_scale=dt_scale,
                stability=stability,
                groups=groups,
                dropout=dropout,
                prenorm=prenorm,
            )

        encoder = GridEncoder(
            n_channels, height, width, d_model=d_model, widths=widths, patch_size=patch_size, groups=groups
        )
        super().__init__(
            *(n_channels, height, width),
            encoder=encoder,
            layers=[layer() for _ in range(n_layers)],
            decoder=GridDecoder(
                n_channels, height, width, d_model=d_model, widths=widths, patch_size=patch_size, groups=groups
            ),
            latent_size=encoder.latent_size,
            output=output,
            increments=increments,
        )


@records_config
class ConvS5ForClassification(nn.Module):
    """ConvS5 network that classifies multivariate series and videos.

    A panel enters as a grid with one row, whose cells are the variates, each with an embedding of its own
    (``layout="variates"``), or as a single pixel whose channels are the variates ("pixel", where kernels have one
    cell); sequences of frames enter as they are ("grid").  Layers along time follow, then the mean over cells, pooling
    over valid time and a linear map.  Series of unequal length are handled exactly: padding a series changes nothing.

    Shapes: x (batch, time, channel), with ``layout="grid"`` (batch, time, channel, height, width); lengths (batch,),
    mask like x -> logits (batch, n_classes).

    Parameters
    ----------
    n_channels : int
        Number of channels of a series, or of a frame.
    n_timepoints : int
        Length of the longest training series; the network itself does not depend on it.
    n_classes : int
        Number of classes.
    layout : {"variates", "pixel", "grid"}, default="variates"
        How series become grids.
    d_model : int, default=32
        Channels of the grid.
    d_state : int, default=32
        Numbers in the state of each cell and layer, as half as many complex ones; even.
    n_layers : int, default=2
        Number of layers.
    kernel : int, default=3
        Odd size of the kernels, along every axis along which the grid has more than one cell by its layout.
    mixer : {"half_glu", "resnet", "standard", "swiglu"}, default="half_glu"
        What stands behind each state space model, see :class:`tsmodels.layers.ConvS5Layer`.
    groups : int, default=1
        Groups of the group norms of "resnet" and "standard"; a group of one channel and one cell would be constant.
    bidirectional : bool, default=True
        Whether state space models of their own also walk backwards in time.
    dt_min, dt_max : float, default=1e-3, 1e-1
        Range of the initial step sizes, drawn log-uniformly, in units of one step of the series.
    prenorm : bool, default=True
        Whether layer norms stand before the layers or behind the residual sums.
    dropout : float, default=0.1
        Dropout in layers and before the last linear map.
    pooling : {"mean", "last", "both"}, default="mean"
        What is taken over time before the last linear map.

    References
    ----------
    .. [1] J. T. H. Smith, S. De Mello, J. Kautz, S. W. Linderman, W. Byeon, "Convolutional State Space Models for
       Long-Range Spatiotemporal Modeling", NeurIPS 2023, arXiv:2310.19694.
    """

    search_space = {
        "d_model": Choice(16, 32, 64),
        "d_state": Choice(16, 32, 64),
        "n_layers": Integer(1, 4),
        "kernel": Choice(1, 3, 5),
        "dt_min": Real(1e-4, 1e-2, log=True),
        "bidirectional": Choice(False, True),
        "dropout": Real(0.0, 0.5),
        "pooling": Choice("mean", "last", "both"),
        "lr": Real(3e-4, 2e-2, log=True),
        "max_epochs": Integer(20, 120, log=True),
    }

    accepts_any_length = True

    def __init__(
        self,
        n_channels: int,
        n_timepoints: int,
        n_classes: int,
        *,
        layout: str = "variates",
        d_model: int = 32,
        d_state: int = 32,
        n_layers: int = 2,
        kernel: int = 3,
        mixer: str = "half_glu",
        groups: int = 1,
        bidirectional: bool = True,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        prenorm: bool = True,
        dropout: float = 0.1,
        pooling: str = "mean",
    ):
        super().__init__()
        check_facts(n_channels=n_channels, n_timepoints=n_timepoints, n_classes=n_classes, n_layers=n_layers)
        if layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {', '.join(map(repr, LAYOUTS))}; got {layout!r}")
        size = {"variates": (1, kernel), "pixel": (1, 1), "grid": (kernel, kernel)}[layout]
        self.n_channels, self.layout = n_channels, layout
        self.embed = GridEmbedding(1 if layout == "variates" else n_channels, d_model, size)
        self.variates = nn.Parameter(0.02 * torch.randn(d_model, 1, n_channels)) if layout == "variates" else None
        self.no_weight_decay = frozenset({"variates"} if layout == "variates" else ())
        self.layers = nn.ModuleList(
            ConvS5Layer(
                *(d_model, d_state),
                kernel_b=size,
                kernel_c=size,
                kernel_mix=size,
                mixer=mixer,
                dt_min=dt_min,
                dt_max=dt_max,
                groups=groups,
                dropout=dropout,
                prenorm=prenorm,
                bidirectional=bidirectional,
            )
            for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(d_model) if prenorm else nn.Identity()  # a normed layer needs no second norm
        self.pool = MaskedPooling(pooling)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(self.pool.n_parts(1) * d_model, n_classes)

    def forward(self, x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Logits of a batch.

        Parameters
        ----------
        x : Tensor, shape (batch, time, channel), with ``layout="grid"`` (batch, time, channel, height, width)
            Series; what stands where ``mask`` is False or behind ``lengths`` is not read.
        lengths : Tensor of int64, shape (batch,), optional
            Valid steps from the start; default all.
        mask : Tensor of bool, like ``x``, optional
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
        values, missing = self._grids(x, lengths, mask)
        # under autocast the embedding is half precision; the residual stream stays in that of the parameters
        grids = self.embed(values, missing).to(self.classify.weight.dtype)
        if self.variates is not None:
            grids = grids + self.variates
        valid = None if lengths is None else torch.arange(x.shape[1], device=x.device) < lengths[:, None]
        for layer in self.layers:
            grids, _ = layer(grids, valid=valid)
        tokens = self.norm(grids.permute(0, 1, 3, 4, 2)).mean((2, 3))
        return self.classify(self.dropout(self.pool(tokens[:, :, None], lengths)))

    def _grids(self, x: Tensor, lengths: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Cleaned values (batch, time, channel, height, width), and where they are missing inside the series."""
        if self.layout == "grid":
            if x.ndim != 5 or x.shape[2] != self.n_channels:
                raise ValueError(
                    f"x must have shape (batch, time, {self.n_channels}, height, width) for layout='grid', "
                    f"got {tuple(x.shape)}"
                )
            values, missing = cleaned(x.flatten(2), lengths, None if mask is None else mask.flatten(2))
            return values.view(x.shape), None if missing is None else missing.view(x.shape)
        check_channels(x, self.n_channels)
        at = (..., None, None, slice(None)) if self.layout == "variates" else (..., None, None)
        values, missing = cleaned(x, lengths, mask)
        return values[at], None if missing is None else missing[at]


class GridEmbedding(nn.Module):
    """Convolution of the values plus one of the indicators of missing ones.

    Shapes: x (batch, time, n_channels, height, width), missing like x or None -> (batch, time, d_model, height, width).
    """

    def __init__(self, n_channels: int, d_model: int, kernel: tuple[int, int]):
        super().__init__()
        self.values = same_conv(n_channels, d_model, kernel)
        self.missing = same_conv(n_channels, d_model, kernel, bias=False)

    def forward(self, x: Tensor, missing: Tensor | None = None) -> Tensor:
        """Embed all frames."""
        grids = self.values(x.flatten(0, 1))
        if missing is None:
            grids = keep_in_graph(grids, self.missing.weight)
        else:
            grids = grids + self.missing(missing.flatten(0, 1))
        return grids.unflatten(0, x.shape[:2])
