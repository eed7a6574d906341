"""A two-dimensional state space layer that continues its own input (closed loop)."""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsmodels_kernels import selective_scan_2d

from ._ssm2d import SEASON_STEPS, TREND_STEPS, VARIATE_MIXINGS, Chimera2D

State = tuple[Tensor, Tensor]


class ClosedLoop2D(nn.Module):
    """``Chimera2D`` along the variates, in one direction or both, that predicts its next input from its states.

    ::

        x̂[v,t] = RMSNorm(k1 . h1[v,t-1] + k2 . h2[v,t-1])        per channel, summed over directions
        future:  x[v,t] = x̂[v,t];  B, C and the step sizes are made from it; one update of the column of states

    This is a state feedback, as in SpaceTime (Zhang et al., arXiv 2303.09489), on the grid of variates and time.  The
    tokens must come from an ``RMSNorm`` without weights: predicted ones then have the size of true ones, for which the
    scan is stable, and the loop cannot diverge.  (A linear feedback does: step sizes, B and C grow with the token, so
    an error feeds on itself.)  The initial steps along time cover trend and season.

    The prediction of step t is made from the column t - 1 alone: ``open_loop`` gives it for every step of a series,
    from true inputs; ``closed_loop`` continues the series from its last column.

    Parameters
    ----------
    d_model : int
        Number of channels.
    d_state : int, default=16
        Numbers in each of the two states of a channel.
    variate_mixing : {"bidir", "scan", "pooled"}, default="bidir"
        How variates hear of each other.
    coupling : {"full", "t2v", "v2t", "none"}, default="full"
        Which states feed each other; only ``"full"`` combines with ``"pooled"``.
    **choices
        ``gates``, ``input_rule`` of ``Chimera2D``.

    Raises
    ------
    ValueError
        If ``variate_mixing`` does not exist, or ``"pooled"`` is combined with another coupling.
    """

    no_weight_decay = frozenset({"k1", "k2"})

    def __init__(
        self, d_model: int, *, d_state: int = 16, variate_mixing: str = "bidir", coupling: str = "full", **choices
    ):
        super().__init__()
        if variate_mixing not in VARIATE_MIXINGS:
            allowed = ", ".join(map(repr, VARIATE_MIXINGS))
            raise ValueError(f"variate_mixing must be one of {allowed}; got {variate_mixing!r}")
        if variate_mixing == "pooled":
            if coupling != "full":
                raise ValueError(f"variate_mixing='pooled' needs coupling='full', got coupling={coupling!r}")
            coupling = "pooled"
        steps = (TREND_STEPS[0], SEASON_STEPS[1])
        self.scans = nn.ModuleList(
            _StreamingChimera2D(
                d_model, d_state=d_state, time_steps=steps, coupling=coupling, reverse_v=reverse_v, **choices
            )
            for reverse_v in ((False, True) if variate_mixing == "bidir" else (False,))
        )
        self.norm = nn.RMSNorm(d_model, elementwise_affine=False)
        shape = (len(self.scans), d_model, d_state)
        self.k1, self.k2 = nn.Parameter(0.1 * torch.randn(shape)), nn.Parameter(0.1 * torch.randn(shape))

    def scan(self, x: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """Walk over tokens.

        Parameters
        ----------
        x : Tensor, shape (batch, time, variate, d_model)
            Tokens.
        states : list of pairs of Tensor, shape (batch, variate, d_model, d_state), optional
            Columns h1, h2 of every direction before the first token; default zeros.

        Returns
        -------
        y : Tensor, shape (batch, time, variate, d_model)
            Outputs C1 . h1 + C2 . h2 + D x, summed over directions.
        states : list of pairs of Tensor
            Columns after the last token.
        """
        before = [None] * len(self.scans) if states is None else states
        scans = cast("Iterable[_StreamingChimera2D]", self.scans)
        walks = [scan.stream(x, state) for scan, state in zip(scans, before, strict=True)]
        return torch.stack([y for y, _ in walks]).sum(0), [state for _, state in walks]

    def predict(self, states: list[State]) -> Tensor:
        """The next token (batch, variate, d_model) from the columns of states."""
        linear = torch.zeros_like(states[0][0][..., 0])
        for k1, k2, (h1, h2) in zip(self.k1, self.k2, states, strict=True):
            linear = linear + (k1 * h1 + k2 * h2).sum(-1)
        return self.norm(linear)

    def open_loop(self, x: Tensor) -> tuple[Tensor, Tensor, list[State]]:
        """Walk over tokens and predict from every column the token after it.

        It goes column by column, for the states of all of them are needed.

        Parameters
        ----------
        x : Tensor, shape (batch, time, variate, d_model)
            Tokens.

        Returns
        -------
        y, predicted : Tensor, shape (batch, time, variate, d_model)
            Outputs of the scan, and the prediction of token t + 1 at t.
        states : list of pairs of Tensor
            Columns after the last token.

        Raises
        ------
        ValueError
            If there are no tokens.
        """
        if not x.shape[1]:
            raise ValueError("open_loop needs at least one token")
        outputs, predictions, states = [], [], None
        for column in x.split(1, 1):
            y, states = self.scan(column, states)
            outputs.append(y)
            predictions.append(self.predict(states)[:, None])
        return torch.cat(outputs, 1), torch.cat(predictions, 1), cast("list[State]", states)

    def closed_loop(self, y: Tensor, states: list[State], n_steps: int) -> tuple[Tensor, Tensor]:
        """Continue a series.

        Parameters
        ----------
        y : Tensor, shape (batch, variate, d_model)
            Output of the scan at the last token.
        states : list of pairs of Tensor
            Columns after the last token.
        n_steps : int
            Tokens to continue by.

        Returns
        -------
        y, predicted : Tensor, shape (batch, n_steps, variate, d_model)
            For each new token the output of the column before it, and the token itself.
        """
        outputs, tokens = [y], [self.predict(states)]
        while len(tokens) < n_steps:
            after, states = self.scan(tokens[-1][:, None], states)
            outputs.append(after[:, 0])
            tokens.append(self.predict(states))
        return torch.stack(outputs, 1), torch.stack(tokens, 1)


class _StreamingChimera2D(Chimera2D):
    """``Chimera2D`` that continues from states and returns them."""

    def stream(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        N = self.d_state
        B1, B2, C1, C2, low1, low2 = self.from_input(x).split((N, N, N, N, self.rank, self.rank), -1)
        dt1 = F.softplus(self.to_step1(low1) + self.step_bias1)
        dt2 = F.softplus(self.to_step2(low2) + self.step_bias2)
        # under autocast softplus leaves float32 step sizes beside half-precision maps: the scan takes one dtype
        x, B1, B2, C1, C2 = (tensor.to(dt1.dtype) for tensor in (x, B1, B2, C1, C2))
        y, after = selective_scan_2d(
            *(x, dt1, dt2, B1, B2, C1, C2),
            *(self.log_alpha1.exp(), *self._couplings(), self.log_alpha4.exp(), self.skip),
            state=state,
            **self.options,
        )
        return y, cast("State", after)  # not None: return_state is left at True
