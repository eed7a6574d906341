"""Two-dimensional state space layers over the grid of variates and time (Chimera, arXiv 2406.04320)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsmodels_kernels import selective_scan_2d
from tsmodels_kernels._selective_scan_2d.options import Options

from ._conv import CausalDepthwiseConv
from ._discretize import log_uniform_step_bias

VARIATE_MIXINGS = ("bidir", "scan", "pooled")
# Small steps along time carry long-term progression, large ones the seasonal pattern.
TREND_STEPS = (1e-3, 1e-2)
SEASON_STEPS = (1e-1, 1.0)
VARIATE_STEPS = (1e-2, 1.0)


class Chimera2D(nn.Module):
    """One input-dependent two-dimensional scan: ``selective_scan_2d`` with B, C and the step sizes made from its input.

    B1, B2, C1, C2 = W x in R^N, shared by all channels; dt_i = softplus(W_i x + bias_i) in R^D with W_i of rank
    ceil(D / 16).  The rates alpha = exp(parameter) start at alpha_n = n, the couplings rho = tanh(parameter) at random.

    Shapes: x (batch, time, variate, d_model), valid (batch, time) or None -> like x.

    Parameters
    ----------
    d_model : int
        Number of channels D.
    d_state : int, default=16
        Numbers N in each of the two states of a channel.
    time_steps : pair of float, default=(1e-3, 1e-2)
        Range from which the initial steps along time are drawn, log-uniformly.
    variate_steps : pair of float, default=(1e-2, 1.0)
        The same along variates.
    gates, input_rule, coupling, reverse_v
        As in :func:`tsmodels_kernels.selective_scan_2d`.
    """

    no_weight_decay = frozenset({"log_alpha1", "log_alpha4", "theta2", "theta3", "step_bias1", "step_bias2", "skip"})

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 16,
        time_steps: tuple[float, float] = TREND_STEPS,
        variate_steps: tuple[float, float] = VARIATE_STEPS,
        gates: str = "zoh",
        input_rule: str = "euler",
        coupling: str = "full",
        reverse_v: bool = False,
    ):
        super().__init__()
        self.options = {"gates": gates, "input_rule": input_rule, "coupling": coupling, "reverse_v": reverse_v}
        Options(**self.options).check()
        self.d_state, self.rank = d_state, math.ceil(d_model / 16)
        self.from_input = nn.Linear(d_model, 4 * d_state + 2 * self.rank, bias=False)
        self.to_step1 = nn.Linear(self.rank, d_model, bias=False)
        self.to_step2 = nn.Linear(self.rank, d_model, bias=False)
        for layer in (self.to_step1, self.to_step2):
            nn.init.uniform_(layer.weight, -(self.rank**-0.5), self.rank**-0.5)
        self.step_bias1 = nn.Parameter(log_uniform_step_bias(d_model, *time_steps))
        self.step_bias2 = nn.Parameter(log_uniform_step_bias(d_model, *variate_steps))
        rates = torch.arange(1.0, d_state + 1).log().repeat(d_model, 1)
        self.log_alpha1, self.log_alpha4 = nn.Parameter(rates), nn.Parameter(rates.clone())
        self.theta2 = nn.Parameter(0.5 * torch.randn(d_model, d_state))
        self.theta3 = nn.Parameter(0.5 * torch.randn(d_model, d_state))
        self.skip = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        N = self.d_state
        B1, B2, C1, C2, low1, low2 = self.from_input(x).split((N, N, N, N, self.rank, self.rank), -1)
        dt1 = F.softplus(self.to_step1(low1) + self.step_bias1)
        dt2 = F.softplus(self.to_step2(low2) + self.step_bias2)
        # under autocast softplus leaves float32 step sizes beside half-precision maps: the scan takes one dtype
        x, B1, B2, C1, C2 = (tensor.to(dt1.dtype) for tensor in (x, B1, B2, C1, C2))
        if valid is not None:  # zero steps and a zero input equal the removal of a cell at the end
            keep = valid[:, :, None, None].to(x.dtype)
            x, dt1, dt2 = x * keep, dt1 * keep, dt2 * keep
        y, _ = selective_scan_2d(
            *(x, dt1, dt2, B1, B2, C1, C2),
            *(self.log_alpha1.exp(), *self._couplings(), self.log_alpha4.exp(), self.skip),
            return_state=False,
            **self.options,
        )
        return y

    def _couplings(self) -> tuple[Tensor, Tensor]:
        """The slots of the operator that hold rho for zoh gates and the rates of the cross gates for the others."""
        if self.options["gates"] == "zoh":
            return self.theta2.tanh(), self.theta3.tanh()
        return self.theta2.exp(), self.theta3.exp()


class BiChimera2D(nn.Module):
    """``Chimera2D`` read along the variates in both directions, with separate parameters, and summed.

    Time stays causal in both.  With ``variate_mixing="scan"`` there is the forward direction only; ``"pooled"``
    replaces the scan over variates by their mean, which does not depend on their order.

    Shapes: as ``Chimera2D``.

    Parameters
    ----------
    d_model : int
        Number of channels.
    variate_mixing : {"bidir", "scan", "pooled"}, default="bidir"
        How variates hear of each other.
    coupling : {"full", "t2v", "v2t", "none"}, default="full"
        Which states feed each other; only ``"full"`` combines with ``"pooled"``.
    **choices
        ``d_state``, ``time_steps``, ``variate_steps``, ``gates``, ``input_rule`` of ``Chimera2D``.

    Raises
    ------
    ValueError
        If ``variate_mixing`` does not exist, or ``"pooled"`` is combined with another coupling.
    """

    def __init__(self, d_model: int, *, variate_mixing: str = "bidir", coupling: str = "full", **choices):
        super().__init__()
        if variate_mixing not in VARIATE_MIXINGS:
            allowed = ", ".join(map(repr, VARIATE_MIXINGS))
            raise ValueError(f"variate_mixing must be one of {allowed}; got {variate_mixing!r}")
        if variate_mixing == "pooled":
            if coupling != "full":
                raise ValueError(f"variate_mixing='pooled' needs coupling='full', got coupling={coupling!r}")
            coupling = "pooled"
        self.forward_scan = Chimera2D(d_model, coupling=coupling, **choices)
        self.backward_scan = None
        if variate_mixing == "bidir":
            self.backward_scan = Chimera2D(d_model, coupling=coupling, reverse_v=True, **choices)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        y = self.forward_scan(x, valid)
        return y if self.backward_scan is None else y + self.backward_scan(x, valid)


class ChimeraBlock(nn.Module):
    """Residual block with a trend head, a seasonal head on what the trend leaves, and a gate.

    ::

        z, g   = Linear(RMSNorm(x));  z = SiLU(CausalDepthwiseConv(z))
        trend  = BiChimera2D(z)           initial steps along time in [0.001, 0.01]
        season = BiChimera2D(z - trend)   initial steps along time in [0.1, 1]
        x     <- x + Dropout(Linear((trend + W season) * SiLU(g)))

    Shapes: x (batch, time, variate, d_model), valid (batch, time) or None -> like x.

    Parameters
    ----------
    d_model : int
        Width of the residual stream and of the heads.
    dropout : float, default=0.1
        Dropout on the block's output.
    **choices
        ``variate_mixing``, ``coupling``, ``d_state``, ``gates``, ``input_rule`` of ``BiChimera2D``.
    """

    def __init__(self, d_model: int, *, dropout: float = 0.1, **choices):
        super().__init__()
        self.norm = nn.RMSNorm(d_model)
        self.expand = nn.Linear(d_model, 2 * d_model)
        self.conv = CausalDepthwiseConv(d_model)
        self.trend = BiChimera2D(d_model, time_steps=TREND_STEPS, **choices)
        self.season = BiChimera2D(d_model, time_steps=SEASON_STEPS, **choices)
        self.season_weight = nn.Linear(d_model, d_model, bias=False)
        self.contract = nn.Linear(d_model, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        z, gate = self.expand(self.norm(x)).chunk(2, -1)
        z = F.silu(self.conv(z))
        trend = self.trend(z, valid)
        season = self.season(z - trend, valid)
        mixed = (trend + self.season_weight(season)) * F.silu(gate)
        return x + self.dropout(self.contract(mixed))
