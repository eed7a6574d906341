"""Input-dependent state space layers along time (Mamba, arXiv 2312.00752)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsmodels_kernels import selective_scan

from ._conv import CausalDepthwiseConv
from ._discretize import log_uniform_step_bias

# Its softplus is 0 in every floating dtype, half precision included: a step in which the state does not move.
NO_STEP = -1e4


class MambaState(NamedTuple):
    """What a ``MambaMixer`` carries from one chunk of a series to the next, in the order of its walk.

    Attributes
    ----------
    window : Tensor, shape (batch, d_conv - 1, expand * d_model)
        The last inputs of the convolution.
    scan : Tensor, shape (batch, expand * d_model, d_state)
        State of the scan.
    """

    window: Tensor
    scan: Tensor


class MambaMixer(nn.Module):
    """The Mamba layer: a short convolution, a scan whose step size, input and output maps depend on the input, a gate.

    ::

        u, z    = W_in x;   u = SiLU(CausalDepthwiseConv(u))
        r, B, C = W u;      dt = softplus(W_dt r + dt_bias)
        h[t]    = exp(dt[t] A) h[t-1] + dt[t] B[t] u[t]      A = -exp(A_log), per channel and state
        y       = W_out ((C h + D u) * SiLU(z))

    With ``reverse=True`` convolution and scan walk from the last step to the first.  Chunks of a series, taken in the
    order of the walk and with the state passed on, give what the whole series gives.

    Shapes: x (batch, time, d_model), state ``MambaState`` or None, valid (batch, time) or None -> y like x, state.

    Parameters
    ----------
    d_model : int
        Width of input and output.
    d_state : int, default=16
        Numbers N in the state of a channel; A starts at -1 ... -N (S4D-real).
    expand : int, default=2
        Inner width over ``d_model``.
    d_conv : int, default=4
        Length of the convolution.
    dt_rank : int or "auto", default="auto"
        Rank of the map from the input to the step sizes; "auto" is ceil(d_model / 16).
    dt_min, dt_max : float, default=1e-3, 1e-1
        Range from which the initial steps softplus(dt_bias) are drawn, log-uniformly.
    reverse : bool, default=False
        Walk backwards in time.

    Raises
    ------
    ValueError
        If a size is below 1, or unless 0 < dt_min <= dt_max.
    """

    no_weight_decay = frozenset({"A_log", "D", "dt_bias"})

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 16,
        expand: int = 2,
        d_conv: int = 4,
        dt_rank: int | str = "auto",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        reverse: bool = False,
    ):
        super().__init__()
        rank = _checked_rank(dt_rank, d_model)
        sizes = {"d_model": d_model, "d_state": d_state, "expand": expand, "d_conv": d_conv}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        d_inner = expand * d_model
        self.reverse, self.splits = reverse, (rank, d_state, d_state)
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=False)
        self.conv = CausalDepthwiseConv(d_inner, d_conv)
        self.x_proj = nn.Linear(d_inner, sum(self.splits), bias=False)
        self.dt_proj = nn.Linear(rank, d_inner, bias=False)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        self.dt_bias = nn.Parameter(log_uniform_step_bias(d_inner, dt_min, dt_max))
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(d_inner, 1))
        self.D = nn.Parameter(torch.ones(d_inner))
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def forward(
        self, x: Tensor, state: MambaState | None = None, *, valid: Tensor | None = None
    ) -> tuple[Tensor, MambaState]:
        """Mix along time.

        Parameters
        ----------
        x : Tensor, shape (batch, time, d_model)
            Tokens.
        state : MambaState, optional
            State before the first step of the walk; default zeros.
        valid : Tensor of bool, shape (batch, time), optional
            False at padding behind the end of a series: a walk from there starts at the last valid step.  A causal
            walk meets padding last and needs no ``valid``; its state is then that after the padding.

        Returns
        -------
        y : Tensor, shape (batch, time, d_model)
            Mixed tokens; arbitrary, but finite, where ``valid`` is False.
        state : MambaState
            State after the last step of the walk.
        """
        u, z = self.in_proj(x).chunk(2, -1)
        if valid is not None:
            u = torch.where(valid[..., None], u, 0)
        u, window = self._filter(u, None if state is None else state.window)
        u = F.silu(u)
        low, B, C = self.x_proj(u).split(self.splits, -1)
        dt = self.dt_proj(low)
        if valid is not None:  # the convolution's bias and tails reach into the padding
            u, dt = torch.where(valid[..., None], u, 0), torch.where(valid[..., None], dt, NO_STEP)
        y, scan = selective_scan(
            *(u, dt, -self.A_log.exp(), B, C, self.D),
            z=z,
            dt_bias=self.dt_bias,
            dt_softplus=True,
            state=None if state is None else state.scan,
            reverse=self.reverse,
        )
        return self.out_proj(y), MambaState(window, scan)

    def _filter(self, u: Tensor, window: Tensor | None) -> tuple[Tensor, Tensor]:
        """The convolution in the order of the walk, and the inputs that the next chunk needs."""
        n_before = self.conv.kernel_size - 1
        if window is None:
            window = u.new_zeros(u.shape[0], n_before, u.shape[2])
        seen = torch.cat([window, u.flip(1) if self.reverse else u], 1)
        filtered = self.conv(seen[:, :, None])[:, n_before:, 0]
        return filtered.flip(1) if self.reverse else filtered, seen[:, seen.shape[1] - n_before :]


class MambaBlock(nn.Module):
    """Residual block x + Dropout(MambaMixer(RMSNorm(x))), with a second mixer walking backwards if bidirectional.

    Shapes: x (batch, time, d_model), valid (batch, time) or None -> like x.  What stands where ``valid`` is False must
    be finite and changes nothing elsewhere.

    Parameters
    ----------
    d_model : int
        Width.
    bidirectional : bool, default=False
        Whether the output of a mixer of its own, from the last step to the first, is added.
    dropout : float, default=0.1
        Dropout on the block's output.
    **choices
        ``d_state``, ``expand``, ``d_conv``, ``dt_rank``, ``dt_min``, ``dt_max`` of ``MambaMixer``.
    """

    def __init__(self, d_model: int, *, bidirectional: bool = False, dropout: float = 0.1, **choices):
        super().__init__()
        self.norm = nn.RMSNorm(d_model)
        self.forward_mixer = MambaMixer(d_model, **choices)
        self.backward_mixer = MambaMixer(d_model, reverse=True, **choices) if bidirectional else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        u = self.norm(x)
        y, _ = self.forward_mixer(u)
        if self.backward_mixer is not None:
            y = y + self.backward_mixer(u, valid=valid)[0]
        return x + self.dropout(y)


def _checked_rank(dt_rank: int | str, d_model: int) -> int:
    if dt_rank == "auto":
        return math.ceil(d_model / 16)
    if isinstance(dt_rank, str) or dt_rank < 1:
        raise ValueError(f"dt_rank must be 'auto' or at least 1, got {dt_rank!r}")
    return dt_rank
