"""What covariates explain of a series."""

import torch
from torch import Tensor, nn


class CovariateRegression(nn.Module):
    """Regression on covariates whose errors a network forecasts.

    ::

        c[t] = W exog[t] + MLP(exog[t], static)          at every step, known ahead
        c[t] = c[t] + S static                           at steps of the horizon only

    A network sees x[t] - c[t] up to now, and c[t] is added to its forecasts.  What a static feature says about the
    level of a series its past says better; S is what it says about the change to come.  W, S and the last layer of
    the MLP start at 0: the network begins as if there were no covariates.

    Parameters
    ----------
    n_channels : int
        Number of channels of the series.
    n_exogenous, n_static : int
        Number of covariates known ahead and of features of a whole series; at least one of them above 0.
    width : int, default=16
        Hidden width of the MLP.

    Raises
    ------
    ValueError
        If there are no covariates.
    """

    def __init__(self, n_channels: int, n_exogenous: int, n_static: int, *, width: int = 16):
        super().__init__()
        if n_exogenous < 1 and n_static < 1:
            raise ValueError("CovariateRegression needs n_exogenous or n_static above 0")
        self.n_channels = n_channels
        self.linear = self.mlp = self.change = None
        if n_exogenous:
            self.linear = nn.Linear(n_exogenous, n_channels, bias=False)
            last = nn.Linear(width, n_channels, bias=False)
            self.mlp = nn.Sequential(nn.Linear(n_exogenous + n_static, width), nn.GELU(), last)
            nn.init.zeros_(self.linear.weight)
            nn.init.zeros_(last.weight)
        if n_static:
            self.change = nn.Linear(n_static, n_channels, bias=False)
            nn.init.zeros_(self.change.weight)

    def forward(self, exog: Tensor | None, static: Tensor | None, lookback: int, horizon: int) -> Tensor:
        """Explained part of the past and the future.

        Parameters
        ----------
        exog : Tensor, shape (batch, lookback + horizon, n_exogenous), or None
            Covariates known ahead; None if there are none.
        static : Tensor, shape (batch, n_static), or None
            Features of the series; None if there are none.
        lookback, horizon : int
            Steps before and behind now.

        Returns
        -------
        Tensor, shape (batch, lookback + horizon, channel)
            c.
        """
        parts = []
        if self.linear is not None and self.mlp is not None and exog is not None:
            inputs = exog
            if static is not None:
                inputs = torch.cat([exog, static[:, None].expand(-1, exog.shape[1], -1)], -1)
            parts.append(self.linear(exog) + self.mlp(inputs))
        if self.change is not None and static is not None:
            change = self.change(static)[:, None]
            past = change.new_zeros(len(change), lookback, self.n_channels)
            parts.append(torch.cat([past, change.expand(-1, horizon, -1)], 1))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]
