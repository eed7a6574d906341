"""Chimera: two-dimensional state space model for multivariate time series.

Behrouz, Santacatterina and Zabih, "Chimera: Effectively Modeling Multivariate Time Series with 2-Dimensional State
Space Models", NeurIPS 2024, arXiv 2406.04320.  No code of the authors is public; this follows the paper's equations.
What is this package's own choice:

* the coupling terms are discretised by exact zero-order hold (``gates="literal"`` is the other reading);
* A is diagonal in both heads;
* the seasonal head reads what the trend head leaves over; the outputs of the two directions are summed;
* the head sees every variate by itself (``variate_pooling``), and a learned vector per variate is added to its tokens:
  a plain mean over variates forgets which is which;
* missing values enter by an indicator of their own;
* the closed loop of the forecasting network works on tokens of several steps: it feeds back whole patches, and a
  linear map makes the values of a patch from the predicted token and the output of the column before it.
"""

import torch
from torch import Tensor, nn

from tsmodels.layers import ChimeraBlock, ClosedLoop2D, ForecastingHead, MaskedPooling, PatchEmbedding

from ._config import records_config
from ._forecasting import NetworkForForecasting, patches
from ._search import Choice, Integer, Real
from ._series import check_channels, check_facts, cleaned, valid_tokens

# Shortest series, and the patch size and stride it gets by default.
_PATCHES = ((96, 16, 8), (16, 4, 4), (1, 1, 1))


@records_config
class ChimeraForClassification(nn.Module):
    """Chimera network that classifies multivariate series.

    Patches of each variate are embedded, pass through blocks that scan the grid of variates and time with two coupled
    states (:func:`tsmodels_kernels.selective_scan_2d`), are averaged over valid time and variates, and end in a
    linear map. Series of unequal length are handled exactly: padding a series changes nothing.

    Shapes: x (batch, time, channel), lengths (batch,), mask like x -> logits (batch, n_classes).

    Parameters
    ----------
    n_channels : int
        Number of channels (variates) of a series.
    n_timepoints : int
        Length of the longest training series; it only sets the default patch size.
    n_classes : int
        Number of classes.
    d_model : int, default=64
        Width of tokens and heads.
    d_state : int, default=16
        Numbers in each of the two states of a channel.
    n_layers : int, default=2
        Number of blocks.
    dropout : float, default=0.1
        Dropout in blocks and before the last linear map.
    patch_size : int, optional
        Time steps in a token. Default: 16 for series of 96 steps or more, 4 from 16 steps on, else 1.
    stride : int, optional
        Time steps between tokens, at most ``patch_size``. Default: 8 for default patches of 16, else ``patch_size``.
    coupling : {"full", "t2v", "v2t", "none"}, default="full"
        Which of the two states feeds the other: both, time to variate, variate to time, neither.
    gates : {"zoh", "half", "literal"}, default="zoh"
        Discretisation of the state transition; "literal" is unstable for small steps and warns.
    variate_mixing : {"bidir", "scan", "pooled"}, default="bidir"
        Variates are scanned in both directions, in one, or averaged. One channel needs one direction only.
    variate_embedding : bool, default=True
        Whether a learned vector tells the variates apart. False, with "pooled" mixing and "mean"
        pooling of variates, makes the network independent of their order.
    pooling : {"mean", "last", "both"}, default="mean"
        What is taken over time before the last linear map.
    variate_pooling : {"concat", "mean"}, default="concat"
        What is taken over variates before the last linear map.

    References
    ----------
    .. [1] A. Behrouz, M. Santacatterina, R. Zabih, "Chimera: Effectively Modeling Multivariate Time Series with
       2-Dimensional State Space Models", NeurIPS 2024, arXiv:2406.04320.
    """

    search_space = {
        "d_model": Choice(16, 32, 64, 128),
        "d_state": Choice(4, 8, 16, 32),
        "n_layers": Integer(1, 4),
        "dropout": Real(0.0, 0.5),
        "patch_size": Choice(None, 1, 4, 8, 16),
        "coupling": Choice("full", "t2v", "v2t", "none"),
        "pooling": Choice("mean", "last", "both"),
        "variate_pooling": Choice("concat", "mean"),
        "lr": Real(3e-4, 2e-2, log=True),
        "max_epochs": Choice("auto", 40, 100),
    }

    accepts_any_length = True
    no_weight_decay = frozenset({"variates"})

    def __init__(
        self,
        n_channels: int,
        n_timepoints: int,
        n_classes: int,
        *,
        d_model: int = 64,
        d_state: int = 16,
        n_layers: int = 2,
        dropout: float = 0.1,
        patch_size: int | None = None,
        stride: int | None = None,
        coupling: str = "full",
        gates: str = "zoh",
        variate_mixing: str = "bidir",
        variate_embedding: bool = True,
        pooling: str = "mean",
        variate_pooling: str = "concat",
    ):
        super().__init__()
        check_facts(n_channels=n_channels, n_timepoints=n_timepoints, n_classes=n_classes)
        if patch_size is None:
            _, patch_size, usual_stride = next(row for row in _PATCHES if n_timepoints >= row[0])
            stride = usual_stride if stride is None else stride
        if variate_mixing == "bidir" and n_channels == 1:
            variate_mixing = "scan"
        self.n_channels = n_channels
        self.embed = PatchEmbedding(d_model, patch_size, patch_size if stride is None else stride)
        self.variates = nn.Parameter(0.02 * torch.randn(n_channels, d_model)) if variate_embedding else None
        self.blocks = nn.ModuleList(
            ChimeraBlock(
                d_model,
                dropout=dropout,
                d_state=d_state,
                coupling=coupling,
                gates=gates,
                variate_mixing=variate_mixing,
            )
            for _ in range(n_layers)
        )
        self.norm = nn.RMSNorm(d_model)
        self.pool = MaskedPooling(pooling, variate_pooling)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(self.pool.n_parts(n_channels) * d_model, n_classes)

    def forward(self, x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Logits of a batch.

        Parameters
        ----------
        x : Tensor, shape (batch, time, channel)
            Series; what stands where ``mask`` is False or behind ``lengths`` is not read.
        lengths : Tensor of int64, shape (batch,), optional
            Valid steps from the start; default all.
        mask : Tensor of bool, shape (batch, time, channel), optional
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
        check_channels(x, self.n_channels)
        tokens = self.embed(*cleaned(x, lengths, mask))
        if self.variates is not None:
            tokens = tokens + self.variates
        n_valid = None if lengths is None else self.embed.n_tokens(lengths)
        valid = valid_tokens(tokens, n_valid)
        for block in self.blocks:
            tokens = block(tokens, valid)
        return self.classify(self.dropout(self.pool(self.norm(tokens), n_valid)))


@records_config
class ChimeraForForecasting(NetworkForForecasting):
    """Chimera network that forecasts multivariate series.

    Windows are normalised by their own mean and deviation; patches of each variate are embedded and pass through
    blocks that scan the grid of variates and time with two coupled states. The direct head maps all tokens of a variate
    to its whole forecast. The closed loop is a last scan that predicts each next token from its column of states and
    takes the prediction as input for the one after (:class:`tsmodels.layers.ClosedLoop2D`): it costs one update of a
    column per patch, can go on for ever (:meth:`generate`), and trains with an auxiliary loss
    (:meth:`forward_with_auxiliary`).

    Shapes: x, mask (batch, lookback, channel), exog (batch, lookback + horizon, n_exogenous),
    past (batch, lookback, n_past), static (batch, n_static) -> (batch, horizon, channel), with more than one output
    (batch, horizon, channel, n_outputs).

    Parameters
    ----------
    n_channels : int
        Number of channels (variates) to forecast.
    lookback, horizon : int
        Steps seen and steps to forecast.
    n_outputs : int, default=1
        Numbers per step and channel, for example quantiles.
    n_exogenous, n_past, n_static : int, default=0
        Covariates known ahead, known up to now, and of the whole series.  Past covariates are further variates.
    distribution : bool, default=False
        Whether the three outputs are location, log-scale and shape of a distribution, and not values.
    d_model : int, default=32
        Width of tokens and heads.
    d_state : int, default=16
        Numbers in each of the two states of a channel.
    n_layers : int, default=2
        Number of blocks; with a closed loop, that is the last of them.
    head : {"direct", "closed_loop"}, default="direct"
        What makes the forecast.
    dropout : float, default=0.1
        Dropout in blocks and before the linear map of the direct head.
    patch_size : int, optional
        Time steps in a token; at most the lookback, to which larger ones are cut. Default: 16, or 8 in a closed loop;
        1 makes that pointwise in time.
    stride : int, optional
        Time steps between tokens, at most ``patch_size``. Default: half a patch, rounded up; the patches of a closed
        loop cannot overlap, and the first of them is padded if the lookback is no multiple.
    coupling : {"full", "t2v", "v2t", "none"}, default="full"
        Which of the two states feeds the other: both, time to variate, variate to time, neither.
    gates : {"zoh", "half", "literal"}, default="zoh"
        Discretisation of the state transition; "literal" is unstable for small steps and warns.
    variate_mixing : {"bidir", "scan", "pooled"}, default="bidir"
        Variates are scanned in both directions, in one, or averaged. One variate needs one direction only.
    variate_embedding : bool, default=True
        Whether a learned vector tells the variates apart. False, with "pooled" mixing, makes the forecasts independent
        of the order of the variates.

    References
    ----------
    .. [1] A. Behrouz, M. Santacatterina, R. Zabih, "Chimera: Effectively Modeling Multivariate Time Series with
       2-Dimensional State Space Models", NeurIPS 2024, arXiv:2406.04320.
    """

    search_space = {
        "d_model": Choice(16, 32, 64),
        "d_state": Choice(4, 8, 16, 32),
        "n_layers": Integer(1, 3),
        "head": Choice("direct", "closed_loop"),
        "dropout": Real(0.0, 0.5),
        "patch_size": Choice(None, 4, 8, 16),
        "coupling": Choice("full", "t2v", "v2t", "none"),
        "lr": Real(1e-4, 1e-2, log=True),
        "max_epochs": Integer(5, 60, log=True),
    }

    no_weight_decay = frozenset({"variates"})

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
        d_model: int = 32,
        d_state: int = 16,
        n_layers: int = 2,
        head: str = "direct",
        dropout: float = 0.1,
        patch_size: int | None = None,
        stride: int | None = None,
        coupling: str = "full",
        gates: str = "zoh",
        variate_mixing: str = "bidir",
        variate_embedding: bool = True,
    ):
        super().__init__(n_channels, lookback, horizon, n_outputs, n_exogenous, n_past, n_static, distribution)
        if head not in ("direct", "closed_loop"):
            raise ValueError(f"head must be one of 'direct', 'closed_loop'; got {head!r}")
        check_facts(n_layers=n_layers)
        is_closed = head == "closed_loop"
        n_variates = n_channels + n_past
        if variate_mixing == "bidir" and n_variates == 1:
            variate_mixing = "scan"
        if patch_size is None:
            patch_size = 8 if is_closed else 16
        if is_closed and stride not in (None, patch_size):
            raise ValueError(f"patches of a closed loop do not overlap: leave out stride, got {stride}")
        patch_size, stride = patches(lookback, patch_size, patch_size if is_closed else stride)
        choices = {"d_state": d_state, "coupling": coupling, "gates": gates, "variate_mixing": variate_mixing}
        self.embed = PatchEmbedding(d_model, patch_size, stride)
        self.variates = nn.Parameter(0.02 * torch.randn(n_variates, d_model)) if variate_embedding else None
        n_blocks = n_layers - 1 if is_closed else n_layers
        self.blocks = nn.ModuleList(ChimeraBlock(d_model, dropout=dropout, **choices) for _ in range(n_blocks))
        self.norm = nn.RMSNorm(d_model, elementwise_affine=not is_closed)  # the loop takes tokens of one size
        self.loop = self.head = self.readout = None
        if is_closed:
            self.loop = ClosedLoop2D(d_model, **choices)
            self.readout = nn.Linear(d_model, patch_size * n_outputs)
            with torch.no_grad():  # the first forecasts are near the mean of the window, whatever the states
                self.readout.weight.mul_(0.1)
                self.readout.bias.zero_()
        else:
            n_tokens = int(self.embed.n_tokens(torch.tensor(lookback)))
            self.head = ForecastingHead(n_tokens, d_model, horizon, n_outputs, dropout=dropout)

    def forward_with_auxiliary(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        exog: Tensor | None = None,
        past: Tensor | None = None,
        static: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Forecasts of a batch, and what to add to their loss in training.

        Parameters
        ----------
        x, mask, exog, past, static
            As in :meth:`forward`.

        Returns
        -------
        forecast : Tensor
            What :meth:`forward` returns.
        auxiliary : Tensor, shape ()
            The open-loop loss: the mean squared error of the predictions one patch ahead within the lookback, in
            units of ``x`` (of the location, or the mean of quantiles), plus that of the predicted tokens. 0 with a
            direct head.
        """
        window = self._window(x, mask, exog, past, static, self.horizon)
        if self.loop is None:
            raw = self._forecast(window.values, window.missing)
            return self._finished(raw, window), raw.new_zeros(())
        values, missing = self._padded(window.values, window.missing)
        tokens = self._tokens(values, missing)
        y, predicted, states = self.loop.open_loop(tokens)
        forecast = self._finished(self._rolled_out(y[:, -1], states, self.horizon), window)
        return forecast, self._open_loop_loss(y, predicted, tokens, values, missing, window.scale)

    def generate(
        self,
        x: Tensor,
        n_steps: int,
        mask: Tensor | None = None,
        exog: Tensor | None = None,
        past: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Tensor:
        """Forecasts for any number of steps, by going on with the closed loop.

        Parameters
        ----------
        x : Tensor, shape (batch, lookback, channel)
            The past.
        n_steps : int
            Steps to forecast, more or fewer than the horizon.
        mask, exog, past, static
            As in :meth:`forward`, with ``n_steps`` in place of the horizon.

        Returns
        -------
        Tensor, shape (batch, n_steps, channel) or (batch, n_steps, channel, n_outputs)
            Forecasts; the first ``horizon`` of them are those of :meth:`forward`.

        Raises
        ------
        ValueError
            If the network has a direct head, which forecasts the steps it was built for.
        """
        if self.loop is None:
            raise ValueError(f"a direct head forecasts {self.horizon} steps; build the network with head='closed_loop'")
        check_facts(n_steps=n_steps)
        window = self._window(x, mask, exog, past, static, n_steps)
        return self._finished(self._continued(window.values, window.missing, n_steps), window)

    def _forecast(self, values: Tensor, missing: Tensor | None) -> Tensor:
        if self.head is None:
            return self._continued(values, missing, self.horizon)
        return self.head(self._tokens(values, missing)[:, :, self.n_past :])

    def _tokens(self, values: Tensor, missing: Tensor | None) -> Tensor:
        tokens = self.embed(values, missing).to(self.embed.values.weight.dtype)
        if self.variates is not None:
            tokens = tokens + self.variates
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def _padded(self, values: Tensor, missing: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Whole patches that end now: what is lacking at the start is missing."""
        n_lacking = -values.shape[1] % self.embed.patch_size
        if not n_lacking:
            return values, missing
        missing = torch.zeros_like(values) if missing is None else missing
        sides = (0, 0, n_lacking, 0)
        return nn.functional.pad(values, sides), nn.functional.pad(missing, sides, value=1.0)

    def _continued(self, values: Tensor, missing: Tensor | None, n_steps: int) -> Tensor:
        assert self.loop is not None
        y, states = self.loop.scan(self._tokens(*self._padded(values, missing)))
        return self._rolled_out(y[:, -1], states, n_steps)

    def _rolled_out(self, y: Tensor, states: list[tuple[Tensor, Tensor]], n_steps: int) -> Tensor:
        assert self.loop is not None
        before, tokens = self.loop.closed_loop(y, states, -(-n_steps // self.embed.patch_size))
        return self._values((before + tokens)[:, :, self.n_past :]).transpose(2, 3).flatten(1, 2)[:, :n_steps]

    def _values(self, tokens: Tensor) -> Tensor:
        """(batch, token, variate, d_model) to (batch, token, variate, step of the patch, n_outputs)."""
        assert self.readout is not None
        return self.readout(tokens).unflatten(3, (self.embed.patch_size, self.n_outputs))

    def _open_loop_loss(self, y, predicted, tokens, values, missing, scale) -> Tensor:
        if tokens.shape[1] < 2:  # a single patch: nothing to predict within the lookback
            return tokens.new_zeros(())
        size, first = self.embed.patch_size, self.n_past
        outputs = self._values((y + predicted)[:, :-1, first:]).to(values.dtype)
        location = outputs[..., 0] if self.distribution else outputs.mean(-1)
        truth = values[:, size:, first:].unflatten(1, (-1, size)).transpose(2, 3)
        errors = ((location - truth) * scale[..., None]).square()
        if missing is not None:
            observed = 1 - missing[:, size:, first:].unflatten(1, (-1, size)).transpose(2, 3)
            value_loss = (errors * observed).sum() / observed.sum().clamp(min=1)
        else:
            value_loss = errors.mean()
        # the tokens are not moved towards their predictions: constant ones would be the easiest to predict
        return value_loss + (predicted[:, :-1] - tokens[:, 1:].detach()).square().mean()
