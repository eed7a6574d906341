"""Mamba: selective state space model along time.

Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", COLM 2024, arXiv 2312.00752.  The layer
follows the paper (section 3) with A real and diagonal; what is this package's own choice for classification:

* all channels of a step (or patch) make one token, missing values enter by an indicator of their own;
* the backward direction, if asked for, is a mixer with parameters of its own whose output is added;
* ``pooling="adaptive"`` weighs time steps as MambaSL (ICLR 2026) does, before the linear map instead of behind it.

For forecasting, by this package's own choice, patches of a window normalised by its mean and deviation are the tokens,
every channel is a series of its own to the same network (``channel_mixing`` puts all of them into one token), and one
linear map of all tokens makes the forecast.
"""

from torch import nn

from tsmodels.layers import MambaBlock

from ._config import records_config
from ._forecasting import SequenceForForecasting
from ._search import Choice, Integer, Real
from ._sequence import SequenceForClassification


@records_config
class MambaForClassification(SequenceForClassification):
    """Mamba network that classifies multivariate series.

    Every step of a series, or every patch of steps, is embedded as one token; the tokens pass through residual blocks
    whose state space model chooses by its input what to keep (:func:`tsmodels_kernels.selective_scan`), are pooled
    over valid time, and end in a linear map. Series of unequal length are handled exactly: padding a series changes
    nothing.

    Shapes: x (batch, time, channel), lengths (batch,), mask like x -> logits (batch, n_classes).

    Parameters
    ----------
    n_channels : int
        Number of channels of a series.
    n_timepoints : int
        Length of the longest training series; the network itself does not depend on it.
    n_classes : int
        Number of classes.
    d_model : int, default=64
        Width of tokens.
    d_state : int, default=16
        Numbers in the state of each inner channel.
    n_layers : int, default=2
        Number of blocks.
    expand : int, default=2
        Inner width over ``d_model``.
    d_conv : int, default=4
        Length of the causal convolution before the scan.
    dt_rank : int or "auto", default="auto"
        Rank of the map that makes step sizes; "auto" is a sixteenth of ``d_model``, rounded up.
    dt_min, dt_max : float, default=1e-3, 1e-1
        Range of the initial step sizes, drawn log-uniformly, in units of one token.
    bidirectional : bool, default=False
        Whether a second layer in each block walks backwards in time.
    dropout : float, default=0.1
        Dropout in blocks and before the last linear map.
    patch_size : int, default=1
        Time steps in a token.
    stride : int, optional
        Time steps between tokens, at most ``patch_size``. Default: ``patch_size``.
    pooling : {"mean", "last", "both", "attention", "adaptive"}, default="mean"
        What is taken over time before the last linear map: the mean, the last token, these two side by side, weighted
        means with learned weights for each of four groups of channels ("attention", needs ``d_model`` divisible by
        4), or one learned weight per token for all channels ("adaptive").

    References
    ----------
    .. [1] A. Gu, T. Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", COLM 2024,
       arXiv:2312.00752.
    """

    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "d_state": Choice(4, 8, 16, 32),
        "n_layers": Integer(1, 4),
        "expand": Choice(1, 2),
        "d_conv": Choice(2, 4),
        "bidirectional": Choice(False, True),
        "dropout": Real(0.0, 0.5),
        "patch_size": Choice(1, 4, 8),
        "pooling": Choice("mean", "last", "both", "attention", "adaptive"),
        "lr": Real(3e-4, 2e-2, log=True),
        "max_epochs": Integer(20, 200, log=True),
    }

    def __init__(
        self,
        n_channels: int,
        n_timepoints: int,
        n_classes: int,
        *,
        d_model: int = 64,
        d_state: int = 16,
        n_layers: int = 2,
        expand: int = 2,
        d_conv: int = 4,
        dt_rank: int | str = "auto",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        bidirectional: bool = False,
        dropout: float = 0.1,
        patch_size: int = 1,
        stride: int | None = None,
        pooling: str = "mean",
    ):
        def block() -> MambaBlock:
            return MambaBlock(
                d_model,
                bidirectional=bidirectional,
                dropout=dropout,
                d_state=d_state,
                expand=expand,
                d_conv=d_conv,
                dt_rank=dt_rank,
                dt_min=dt_min,
                dt_max=dt_max,
            )

        super().__init__(
            *(n_channels, n_timepoints, n_classes),
            blocks=[block() for _ in range(n_layers)],
            norm=nn.RMSNorm(d_model),
            d_model=d_model,
            dropout=dropout,
            patch_size=patch_size,
            stride=stride,
            pooling=pooling,
        )


@records_config
class MambaForForecasting(SequenceForForecasting):
    """Mamba network that forecasts multivariate series.

    Windows are normalised by their own mean and deviation; patches are embedded as tokens and pass through residual
    blocks whose state space model chooses by its input what to keep (:func:`tsmodels_kernels.selective_scan`). The
    head maps all tokens of a sequence to its whole forecast.

    Shapes: x, mask (batch, lookback, channel), exog (batch, lookback + horizon, n_exogenous),
    past (batch, lookback, n_past), static (batch, n_static) -> (batch, horizon, channel), with more than one output
    (batch, horizon, channel, n_outputs).

    Parameters
    ----------
    n_channels : int
        Number of channels to forecast.
    lookback, horizon : int
        Steps seen and steps to forecast.
    n_outputs : int, default=1
        Numbers per step and channel, for example quantiles.
    n_exogenous, n_past, n_static : int, default=0
        Covariates known ahead, known up to now, and of the whole series.
    distribution : bool, default=False
        Whether the three outputs are location, log-scale and shape of a distribution, and not values.
    d_model : int, default=64
        Width of tokens.
    d_state : int, default=16
        Numbers in the state of each inner channel.
    n_layers : int, default=2
        Number of blocks.
    expand : int, default=1
        Inner width over ``d_model``.
    d_conv : int, default=4
        Length of the causal convolution before the scan.
    dt_rank : int or "auto", default="auto"
        Rank of the map that makes step sizes; "auto" is a sixteenth of ``d_model``, rounded up.
    dt_min, dt_max : float, default=1e-3, 1e-1
        Range of the initial step sizes, drawn log-uniformly, in units of one token.
    bidirectional : bool, default=False
        Whether a second layer in each block walks backwards in time.
    dropout : float, default=0.1
        Dropout in blocks and before the last linear map.
    patch_size : int, default=16
        Time steps in a token; at most the lookback, to which larger ones are cut.
    stride : int, optional
        Time steps between tokens, at most ``patch_size``. Default: half a patch, rounded up.
    channel_mixing : bool, default=False
        Whether the patches of all channels make one token. Default: every channel is a series of its own to the same
        network, beside the past covariates.

    References
    ----------
    .. [1] A. Gu, T. Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", COLM 2024,
       arXiv:2312.00752.
    """

    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "d_state": Choice(4, 8, 16, 32),
        "n_layers": Integer(1, 3),
        "expand": Choice(1, 2),
        "bidirectional": Choice(False, True),
        "dropout": Real(0.0, 0.5),
        "patch_size": Choice(4, 8, 16),
        "channel_mixing": Choice(False, True),
        "lr": Real(1e-4, 1e-2, log=True),
        "max_epochs": Integer(5, 60, log=True),
    }

    def __init__(
        self,
        n_channels: int,
        lookback: int,
        horizon: int,
        n_outputs: int = 1,
        n_exogenous: int = 0,
        n_past: int = 0,
        n_static: int = 0,
        distribution: bool = False,
        *,
        d_model: int = 64,
        d_state: int = 16,
        n_layers: int = 2,
        expand: int = 1,
        d_conv: int = 4,
        dt_rank: int | str = "auto",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        bidirectional: bool = False,
        dropout: float = 0.1,
        patch_size: int = 16,
        stride: int | None = None,
        channel_mixing: bool = False,
    ):
        def block() -> MambaBlock:
            return MambaBlock(
                d_model,
                bidirectional=bidirectional,
                dropout=dropout,
                d_state=d_state,
                expand=expand,
                d_conv=d_conv,
                dt_rank=dt_rank,
                dt_min=dt_min,
                dt_max=dt_max,
            )

        super().__init__(
            *(n_channels, lookback, horizon, n_outputs, n_exogenous, n_past, n_static, distribution),
            blocks=[block() for _ in range(n_layers)],
            norm=nn.RMSNorm(d_model),
            d_model=d_model,
            dropout=dropout,
            patch_size=patch_size,
            stride=stride,
            channel_mixing=channel_mixing,
        )
