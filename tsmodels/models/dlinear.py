"""DLinear: one linear map for the trend of a window, one for the rest.

Zeng, Chen, Zhang and Xu, "Are Transformers Effective for Time Series Forecasting?", AAAI 2023, arXiv 2205.13504.  With
``normalise="last"`` the window is seen relative to its last value, as in the paper's NLinear.  What is this package's
own choice:

* all weights start at 1 / lookback and all biases at 0: the first forecast is the mean of the window, for any seed;
* missing values are replaced by the last observed value before them;
* past covariates enter by a linear map of their own, which starts at 0.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._config import records_config
from ._forecasting import NetworkForForecasting
from ._search import Choice, Integer, Real


@records_config
class DLinearForForecasting(NetworkForForecasting):
    """DLinear network that forecasts multivariate series.

    A moving average splits each channel of the window into trend and remainder; each of the two is mapped to the whole
    horizon by a linear map over time, and the results are added. Channels do not see each other.

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
    kernel_size : int, default=25
        Steps in the moving average, odd; the window is continued by its first and last value.
    individual : bool, default=False
        Whether every channel has linear maps of its own.
    normalise : {"none", "last", "revin"}, default="none"
        Whether the window is seen as it is (as published), relative to its last value, or to mean and deviation.

    References
    ----------
    .. [1] A. Zeng, M. Chen, L. Zhang, Q. Xu, "Are Transformers Effective for Time Series Forecasting?", AAAI 2023,
       arXiv:2205.13504.
    """

    search_space = {
        "kernel_size": Choice(3, 7, 13, 25, 49),  # odd
        "individual": Choice(False, True),
        "normalise": Choice("none", "last", "revin"),
        "lr": Real(1e-4, 5e-2, log=True),
        "max_epochs": Integer(5, 100, log=True),
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
        kernel_size: int = 25,
        individual: bool = False,
        normalise: str = "none",
    ):
        super().__init__(
            *(n_channels, lookback, horizon, n_outputs, n_exogenous, n_past, n_static, distribution),
            normalise=normalise,
        )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd and at least 1, got {kernel_size}")
        self.kernel_size = kernel_size
        shape = (n_channels if individual else 1, horizon, n_outputs)
        weight = torch.full((*shape, lookback), 1 / lookback)
        if distribution:  # scale and shape start independent of the window
            weight[:, :, 1:] = 0
        self.trend_weight, self.rest_weight = nn.Parameter(weight), nn.Parameter(weight.clone())
        self.bias = nn.Parameter(torch.zeros(shape))
        self.past = None
        if n_past:
            self.past = nn.Linear(lookback * n_past, horizon * n_channels * n_outputs, bias=False)
            nn.init.zeros_(self.past.weight)

    def _forecast(self, values: Tensor, missing: Tensor | None) -> Tensor:
        targets = values[..., self.n_past :].transpose(1, 2)
        trend = self._moving_average(targets)
        forecast = self._mapped(trend, self.trend_weight) + self._mapped(targets - trend, self.rest_weight)
        forecast = forecast + self.bias.transpose(0, 1)
        if self.past is not None:
            shape = (self.horizon, self.n_channels, self.n_outputs)
            forecast = forecast + self.past(values[..., : self.n_past].flatten(1)).unflatten(1, shape)
        return forecast

    def _moving_average(self, x: Tensor) -> Tensor:
        margin = self.kernel_size // 2
        return F.avg_pool1d(F.pad(x, (margin, margin), mode="replicate"), self.kernel_size, stride=1)

    @staticmethod
    def _mapped(x: Tensor, weight: Tensor) -> Tensor:
        """(batch, channel, lookback) to (batch, horizon, channel, n_outputs)."""
        if len(weight) == 1:
            return torch.einsum("bcl,hol->bhco", x, weight[0])
        return torch.einsum("bcl,chol->bhco", x, weight)
