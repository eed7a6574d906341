"""S4D: diagonal state space model along time.

Gu, Gupta, Goel and Ré, "On the Parameterization and Initialization of Diagonal State Space Models", NeurIPS 2022,
arXiv 2206.11893.  Layer and block follow the paper: input map fixed to 1, C random, both discretisations, the three
initialisations.  What differs:

* the norm stands before the layer by default, as in later work;
* the convolution kernel is the impulse response of the recurrence, not a sum of exponentials;
* the parameters of the recurrence are trained with the learning rate of all others, without weight decay;
* all channels of a step (or patch) make one token, missing values enter by an indicator of their own.

For forecasting, by this package's own choice, patches of a window normalised by its mean and deviation are the tokens,
every channel is a series of its own to the same network (``channel_mixing`` puts all of them into one token), and one
linear map of all tokens makes the forecast.
"""

from torch import nn

from tsmodels.layers import S4DBlock

from ._config import records_config
from ._forecasting import SequenceForForecasting
from ._search import Choice, Integer, Real
from ._sequence import SequenceForClassification


@records_config
class S4DForClassification(SequenceForClassification):
    """S4D network that classifies multivariate series.

    Every step of a series, or every patch of steps, is embedded as one token; the tokens pass through residual blocks
    with a linear state space model per channel, whose complex eigenvalues make it a bank of damped oscillators, are
    pooled over valid time, and end in a linear map. Series of unequal length are handled exactly: padding a series
    changes nothing.

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
    d_state : int, default=64
        Numbers in the state of each channel, as half as many complex ones; even.
    n_layers : int, default=2
        Number of blocks.
    init : {"legs", "lin", "inv"}, default="legs"
        Initial eigenvalues: those of the HiPPO-LegS matrix, or evenly spaced or inversely spaced frequencies.
    discretization : {"zoh", "bilinear"}, default="zoh"
        Zero-order hold or the bilinear rule.
    dt_min, dt_max : float, default=1e-3, 1e-1
        Range of the initial step sizes, drawn log-uniformly, in units of one token.
    bidirectional : bool, default=False
        Whether the state space models also walk backwards in time.
    prenorm : bool, default=True
        Whether layer norms stand before the layers or behind the residual sums.
    dropout : float, default=0.1
        Dropout in blocks and before the last linear map.
    patch_size : int, default=1
        Time steps in a token.
    stride : int, optional
        Time steps between tokens, at most ``patch_size``. Default: ``patch_size``.
    pooling : {"mean", "last", "both", "attention", "adaptive"}, default="both"
        What is taken over time before the last linear map: the mean, the last token, these two side by side, weighted
        means with learned weights for each of four groups of channels ("attention", needs ``d_model`` divisible by
        4), or one learned weight per token for all channels ("adaptive").

    References
    ----------
    .. [1] A. Gu, A. Gupta, K. Goel, C. Ré, "On the Parameterization and Initialization of Diagonal State Space
       Models", NeurIPS 2022, arXiv:2206.11893.
    """

    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "d_state": Choice(16, 32, 64),
        "n_layers": Integer(1, 4),
        "init": Choice("legs", "lin", "inv"),
        "dt_min": Real(1e-4, 1e-2, log=True),
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
        d_state: int = 64,
        n_layers: int = 2,
        init: str = "legs",
        discretization: str = "zoh",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        bidirectional: bool = False,
        prenorm: bool = True,
        dropout: float = 0.1,
        patch_size: int = 1,
        stride: int | None = None,
        pooling: str = "both",
    ):
        def block() -> S4DBlock:
            return S4DBlock(
                d_model,
                dropout=dropout,
                prenorm=prenorm,
                d_state=d_state,
                init=init,
                discretization=discretization,
                dt_min=dt_min,
                dt_max=dt_max,
                bidirectional=bidirectional,
            )

        super().__init__(
            *(n_channels, n_timepoints, n_classes),
            blocks=[block() for _ in range(n_layers)],
            norm=nn.LayerNorm(d_model) if prenorm else nn.Identity(),  # a normed block needs no second norm
            d_model=d_model,
            dropout=dropout,
            patch_size=patch_size,
            stride=stride,
            pooling=pooling,
        )


@records_config
class S4DForForecasting(SequenceForForecasting):
    """S4D network that forecasts multivariate series.

    Windows are normalised by their own mean and deviation; patches are embedded as tokens and pass through residual
    blocks with a linear state space model per channel, whose complex eigenvalues make it a bank of damped oscillators.
    The head maps all tokens of a sequence to its whole forecast.

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
        Numbers in the state of each channel, as half as many complex ones; even.
    n_layers : int, default=2
        Number of blocks.
    init : {"legs", "lin", "inv"}, default="legs"
        Initial eigenvalues: those of the HiPPO-LegS matrix, or evenly spaced or inversely spaced frequencies.
    discretization : {"zoh", "bilinear"}, default="zoh"
        Zero-order hold or the bilinear rule.
    dt_min, dt_max : float, default=1e-2, 1.0
        Range of the initial step sizes, drawn log-uniformly, in units of one token.
    bidirectional : bool, default=False
        Whether the state space models also walk backwards in time.
    prenorm : bool, default=True
        Whether layer norms stand before the layers or behind the residual sums.
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
    .. [1] A. Gu, A. Gupta, K. Goel, C. Ré, "On the Parameterization and Initialization of Diagonal State Space
       Models", NeurIPS 2022, arXiv:2206.11893.
    """

    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "d_state": Choice(8, 16, 32),
        "n_layers": Integer(1, 3),
        "init": Choice("legs", "lin", "inv"),
        "dt_min": Real(1e-3, 1e-1, log=True),
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
        init: str = "legs",
        discretization: str = "zoh",
        dt_min: float = 1e-2,
        dt_max: float = 1.0,
        bidirectional: bool = False,
        prenorm: bool = True,
        dropout: float = 0.1,
        patch_size: int = 16,
        stride: int | None = None,
        channel_mixing: bool = False,
    ):
        def block() -> S4DBlock:
            return S4DBlock(
                d_model,
                dropout=dropout,
                prenorm=prenorm,
                d_state=d_state,
                init=init,
                discretization=discretization,
                dt_min=dt_min,
                dt_max=dt_max,
                bidirectional=bidirectional,
            )

        super().__init__(
            *(n_channels, lookback, horizon, n_outputs, n_exogenous, n_past, n_static, distribution),
            blocks=[block() for _ in range(n_layers)],
            norm=nn.LayerNorm(d_model) if prenorm else nn.Identity(),  # a normed block needs no second norm
            d_model=d_model,
            dropout=dropout,
            patch_size=patch_size,
            stride=stride,
            channel_mixing=channel_mixing,
        )
