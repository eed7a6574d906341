"""Diagonal state space layers along time, independent of the input (S4D, arXiv 2206.11893)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsmodels_kernels import linear_scan

from ._hippo import diagonal_eigenvalues

DISCRETIZATIONS = ("zoh", "bilinear")


class S4D(nn.Module):
    """A linear state space model per channel, with diagonal complex A in conjugate pairs.

    ::

        h'(t) = A h(t) + x(t),   y(t) = 2 Re(C h(t)) + D x(t),      A = -exp(log_decay) + i frequency in C^(N/2)
        h[t]  = a h[t-1] + b x[t]
        zoh:       a = exp(dt A),                     b = (a - 1) / A
        bilinear:  a = (1 + dt A / 2)/(1 - dt A / 2), b = dt / (1 - dt A / 2)

    The input map is 1: of a diagonal model only its product with C matters.  If bidirectional, the same recurrence
    also walks from the last step to the first and is read by a C of its own; both are added.

    ``forward`` convolves by FFT with the impulse response, which ``linear_scan`` makes; that takes O(T log T + T N)
    per channel, and no memory for states.  ``stream`` runs the recurrence itself and continues from a state.

    Shapes: x (batch, time, d_model) -> like x.

    Parameters
    ----------
    d_model : int
        Number of channels.
    d_state : int, default=64
        Numbers N in the state of a channel, as N/2 complex ones.
    init : {"legs", "lin", "inv"}, default="legs"
        Initial A, see :func:`diagonal_eigenvalues`.
    discretization : {"zoh", "bilinear"}, default="zoh"
        How A and dt make a and b.
    dt_min, dt_max : float, default=1e-3, 1e-1
        Range from which the initial steps are drawn, log-uniformly.
    bidirectional : bool, default=False
        Whether the recurrence also walks backwards.

    Raises
    ------
    ValueError
        If a choice does not exist, ``d_state`` is not even, or unless 0 < dt_min <= dt_max.
    """

    no_weight_decay = frozenset({"log_dt", "log_decay", "frequency", "C", "D"})

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 64,
        init: str = "legs",
        discretization: str = "zoh",
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        bidirectional: bool = False,
    ):
        super().__init__()
        if discretization not in DISCRETIZATIONS:
            allowed = ", ".join(map(repr, DISCRETIZATIONS))
            raise ValueError(f"discretization must be one of {allowed}; got {discretization!r}")
        if not 0 < dt_min <= dt_max:
            raise ValueError(f"step sizes need 0 < dt_min <= dt_max, got dt_min={dt_min}, dt_max={dt_max}")
        self.discretization = discretization
        A = diagonal_eigenvalues(init, d_state).to(torch.complex64).repeat(d_model, 1)
        self.log_decay, self.frequency = nn.Parameter((-A.real).log()), nn.Parameter(A.imag.clone())
        self.log_dt = nn.Parameter(torch.empty(d_model).uniform_(math.log(dt_min), math.log(dt_max)))
        # Real storage: casts, optimisers and checkpoints treat complex parameters each in their own way.
        n_directions = 2 if bidirectional else 1
        self.C = nn.Parameter(0.5**0.5 * torch.randn(n_directions, d_model, d_state // 2, 2))
        self.D = nn.Parameter(torch.randn(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve the whole series."""
        n_steps = x.shape[1]
        n_fft = 1 << max(1, 2 * n_steps - 1).bit_length()  # room for both directions without wrapping around
        series = x.to(self.D.dtype).transpose(1, 2).contiguous()
        response = torch.fft.rfft(self._impulse_responses(n_steps), n=n_fft)
        # conj of a spectrum: the sequence reversed in time
        spectrum = response[0] if len(response) == 1 else response[0] + response[1].conj()
        y = torch.fft.irfft(torch.fft.rfft(series, n=n_fft) * spectrum, n=n_fft)[..., :n_steps]
        return (y + self.D[:, None] * series).transpose(1, 2).to(x.dtype)

    def stream(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run the recurrence over the next chunk of a series.

        Parameters
        ----------
        x : Tensor, shape (batch, time, d_model)
            The chunk.
        state : Tensor of complex numbers, shape (batch, d_model, d_state / 2), optional
            State before the chunk; default zeros.

        Returns
        -------
        y : Tensor, shape (batch, time, d_model)
            The part of ``forward`` of the whole series that belongs to the chunk.
        state : Tensor
            State after the chunk.

        Raises
        ------
        ValueError
            If the layer is bidirectional: its output depends on the future.
        """
        if len(self.C) == 2:
            raise ValueError("a bidirectional S4D cannot stream: its output depends on the rest of the series")
        a, b = self._discrete()
        h, state = linear_scan(a, b * x.to(self.D.dtype)[..., None], state=state)
        y = 2 * (h * torch.view_as_complex(self.C)[0]).sum(-1).real
        return (y + self.D * x).to(x.dtype), state

    def _discrete(self) -> tuple[Tensor, Tensor]:
        """Complex a and b, (d_model, d_state / 2) each; made in double precision, where large phases lose nothing."""
        A = torch.complex(-self.log_decay.double().exp(), self.frequency.double())
        dt = self.log_dt.double().exp()[:, None]
        if self.discretization == "zoh":
            a, b = torch.exp(dt * A), torch.expm1(dt * A) / A
        else:
            a, b = (1 + dt * A / 2) / (1 - dt * A / 2), dt / (1 - dt * A / 2)
        dtype = torch.complex128 if self.D.dtype == torch.float64 else torch.complex64
        return a.to(dtype), b.to(dtype)

    def _impulse_responses(self, n_steps: int) -> Tensor:
        """2 Re(C a^t b) for all t and every direction: (direction, d_model, n_steps)."""
        a, b = self._discrete()
        impulse = torch.cat([b[None], b.new_zeros(1, *b.shape).expand(n_steps, -1, -1)])[:n_steps]
        h, _ = linear_scan(a, impulse[None])
        states = torch.view_as_real(h[0]).flatten(2)  # (time, d_model, d_state): re, im, re, im ...
        readout = (self.C * self.C.new_tensor([2.0, -2.0])).flatten(2)
        return torch.einsum("tdn,kdn->kdt", states, readout)


class S4DBlock(nn.Module):
    """Residual block x + Dropout(GLU(Linear(Dropout(GELU(S4D(Norm(x))))))), or with the norm behind the sum.

    Shapes: x (batch, time, d_model), valid (batch, time) or None -> like x.  What stands where ``valid`` is False
    changes nothing elsewhere.

    Parameters
    ----------
    d_model : int
        Width.
    dropout : float, default=0.1
        Dropout behind the non-linearity and on the block's output.
    prenorm : bool, default=True
        Whether the layer norm stands before the layer or behind the residual sum.
    **choices
        ``d_state``, ``init``, ``discretization``, ``dt_min``, ``dt_max``, ``bidirectional`` of ``S4D``.
    """

    def __init__(self, d_model: int, *, dropout: float = 0.1, prenorm: bool = True, **choices):
        super().__init__()
        self.prenorm = prenorm
        self.norm = nn.LayerNorm(d_model)
        self.ssm = S4D(d_model, **choices)
        self.mix = nn.Linear(d_model, 2 * d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor | None = None) -> Tensor:
        u = self.norm(x) if self.prenorm else x
        if valid is not None:  # the backward walk, and the rounding of an FFT, would carry padding into the series
            u = torch.where(valid[..., None], u, 0)
        z = self.dropout(F.gelu(self.ssm(u)))
        y = x + self.dropout(F.glu(self.mix(z), -1))
        return y if self.prenorm else self.norm(y)
