"""Convolutional state space model: convolutions around a diagonal recurrence at every pixel (arXiv 2310.19694)."""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsmodels_kernels import linear_scan

STABILITIES = ("exp", "clip", "none")
# Real parts of eigenvalues stay below minus this, unless stability is "none".
LEAST_DECAY = 1e-4
# Standard deviation of a standard normal variable cut off at -2 and 2.
_TRUNCATED_STD = 0.8796256610342398


class OnGrid(Protocol):
    """A model for one step of time: kernels of its convolutions, and its recurrence on a grid."""

    @property
    def B(self) -> Tensor: ...
    @property
    def C(self) -> Tensor: ...
    def on_grid(self, height: int, width: int) -> "Recurrence": ...


class DiscreteConvSSM(NamedTuple):
    """A ``ConvS5SSM`` for one step of time, in the form its convolutions read.

    Attributes
    ----------
    a : Tensor of complex numbers, shape (P,)
        Factor of every state from one step to the next.
    B : Tensor, shape (2 P, channels, *kernel_b)
        Input kernels, φ B̃; real and imaginary part of each state side by side.
    C : Tensor, shape (channels, 2 P, *kernel_c)
        Output kernels, 2 Re C̃ and -2 Im C̃ side by side.
    """

    a: Tensor
    B: Tensor
    C: Tensor

    def on_grid(self, height: int, width: int) -> "Recurrence":
        """The recurrence of the states of a grid: here each pixel is one of its own."""
        return Recurrence(self.a, _as_it_is, _as_it_is)


class Recurrence(NamedTuple):
    """x[t] = a x[t-1] + enter(b[t]), of which leave(x[t]) is read; b and x complex (frames, height, width, P).

    Attributes
    ----------
    a : Tensor of complex numbers, shape (P,) or (height, width, P)
        Factor of every state from one step to the next.
    enter, leave : callable
        To the coordinates of the recurrence, and back.
    """

    a: Tensor
    enter: Callable[[Tensor], Tensor]
    leave: Callable[[Tensor], Tensor]


def _as_it_is(x: Tensor) -> Tensor:
    return x


class ConvS5SSM(nn.Module):
    """A linear state space model whose state is an image: convolutions in and out, a diagonal recurrence between.

    ::

        x[t, p, i, j] = a[p] x[t-1, p, i, j] + (φ B̃ * u[t])[p, i, j]      a = exp(dt Λ),   φ = (a - 1) / Λ
        y[t]          = 2 Re(C̃ * x[t])                                    p = 1 ... P = ssm_size / 2, complex

    ``*`` is a two-dimensional cross-correlation with zero padding that keeps the size.  Λ starts at the eigenvalues of
    the normal part of the HiPPO-LegS matrix with negative imaginary part, B̃ = Vᴴ B and C̃ = C V at real He-normal
    kernels B and C in its eigenbasis V: dropped halves of conjugate pairs are the factor 2.  a and φ are made in
    double precision.  Pixels do not mix in the state; in :class:`WideConvS5SSM` they do.

    Channels are kept last in memory: the output of the input convolution then is the complex input of the scan, and
    its states are the input of the output convolution, without a copy.

    Shapes: u (batch, time, channels, height, width), state (batch, 2, P, height, width) or None -> y like u, state;
    ``state`` holds real and imaginary part.

    Parameters
    ----------
    channels : int
        Channels of input and output.
    ssm_size : int
        Real states N of a pixel, as P = N / 2 complex ones.
    kernel_b, kernel_c : int or tuple of int, default=3
        Odd size of the input and output kernels; height and width may differ.
    dt_min, dt_max : float, default=1e-3, 1e-1
        Range from which the initial steps are drawn, log-uniformly.
    dt_scale : float, default=1.0
        Factor of all steps: for frames r times as far apart as those of training, r.
    stability : {"exp", "clip", "none"}, default="exp"
        Re Λ = -(1e-4 + exp(θ)); or min(θ, -1e-4), whose gradient is 0 beyond the bound; or θ.
    blocks : int, default=1
        Number of equal HiPPO matrices that make up the initial one.
    reverse : bool, default=False
        Whether the recurrence walks from the last step to the first; the state is then that after the first step.

    Raises
    ------
    ValueError
        If a choice does not exist, a kernel is even, or ``ssm_size`` is no positive multiple of ``2 * blocks``.

    References
    ----------
    .. [1] J. T. H. Smith, S. De Mello, J. Kautz, S. W. Linderman, W. Byeon, "Convolutional State Space Models for
       Long-Range Spatiotemporal Modeling", NeurIPS 2023, arXiv:2310.19694.
    """

    no_weight_decay = frozenset({"log_dt", "decay", "frequency"})

    def __init__(
        self,
        channels: int,
        ssm_size: int,
        *,
        kernel_b: int | tuple[int, int] = 3,
        kernel_c: int | tuple[int, int] = 3,
        dt_min: float = 1e-3,
        dt_max: float = 1e-1,
        dt_scale: float = 1.0,
        stability: str = "exp",
        blocks: int = 1,
        reverse: bool = False,
    ):
        super().__init__()
        if stability not in STABILITIES:
            raise ValueError(f"stability must be one of {', '.join(map(repr, STABILITIES))}; got {stability!r}")
        if not (0 < dt_min <= dt_max and dt_scale > 0):
            raise ValueError(
                "step sizes need 0 < dt_min <= dt_max and dt_scale > 0, "
                f"got dt_min={dt_min}, dt_max={dt_max}, dt_scale={dt_scale}"
            )
        if channels < 1:
            raise ValueError(f"channels must be at least 1, got {channels}")
        self.stability, self.dt_scale, self.reverse = stability, dt_scale, reverse
        eigenvalues, basis = legs_eigenbasis(ssm_size, blocks)
        n_states = len(eigenvalues)
        theta = -eigenvalues.real
        theta = (theta - LEAST_DECAY).log() if stability == "exp" else -theta
        self.decay, self.frequency = nn.Parameter(theta.float()), nn.Parameter(eigenvalues.imag.float())
        self.log_dt = nn.Parameter(torch.empty(n_states).uniform_(math.log(dt_min), math.log(dt_max)))
        # Real storage: casts, optimisers and checkpoints treat complex parameters each in their own way.
        B = he_normal(ssm_size, channels, *kernel_pair("kernel_b", kernel_b)).double()
        C = he_normal(channels, ssm_size, *kernel_pair("kernel_c", kernel_c)).double()
        B, C = torch.einsum("np,nuij->puij", basis.conj(), B + 0j), torch.einsum("unij,np->upij", C + 0j, basis)
        self.B = nn.Parameter(torch.stack([B.real, B.imag]).float())
        self.C = nn.Parameter(torch.stack([C.real, C.imag]).float())

    def forward(self, u: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """All steps at once."""
        discrete = self.discretised()
        a, enter, leave = discrete.on_grid(*u.shape[-2:])
        inputs = enter(_complex_pixels(_same_conv(u.flatten(0, 1), discrete.B), a.dtype)).unflatten(0, u.shape[:2])
        entering = None if state is None else _pixels_of(state, a.dtype)
        x, last = linear_scan(a, inputs, state=entering, reverse=self.reverse)
        y = _same_conv(_real_channels(leave(x.flatten(0, 1))), discrete.C)
        return y.unflatten(0, u.shape[:2]), _planes(last)

    def step(self, u: Tensor, state: Tensor, discrete: OnGrid | None = None) -> tuple[Tensor, Tensor]:
        """One step of time.

        Parameters
        ----------
        u : Tensor, shape (batch, channels, height, width)
            Input of this step.
        state : Tensor, shape (batch, 2, P, height, width)
            State before it.
        discrete : optional
            What ``discretised`` gave, to save making it at every step.

        Returns
        -------
        y : Tensor, shape (batch, channels, height, width)
            Output of this step.
        state : Tensor, shape (batch, 2, P, height, width)
            State after it.

        Raises
        ------
        ValueError
            If the recurrence walks backwards.
        """
        if self.reverse:
            raise ValueError("a recurrence with reverse=True cannot step: its state depends on the rest of the series")
        discrete = self.discretised() if discrete is None else discrete
        a, enter, leave = discrete.on_grid(*u.shape[-2:])
        x = torch.addcmul(enter(_complex_pixels(_same_conv(u, discrete.B), a.dtype)), a, _pixels_of(state, a.dtype))
        return _same_conv(_real_channels(leave(x)), discrete.C), _planes(x)

    def zero_state(self, batch: int, height: int, width: int, like: Tensor) -> Tensor:
        """State before the first frame, in dtype and on the device of ``like``."""
        return like.new_zeros(batch, 2, self.frequency.shape[-1], height, width)

    def eigenvalues(self) -> Tensor:
        """Λ in double precision, shaped like ``frequency``."""
        theta = self.decay.double()
        if self.stability == "exp":
            theta = -(LEAST_DECAY + theta.exp())
        elif self.stability == "clip":
            theta = theta.clamp(max=-LEAST_DECAY)
        return torch.complex(theta, self.frequency.double())

    def discretised(self) -> OnGrid:
        """The model of one step: by zero-order hold, in double precision until the last rounding."""
        a, hold = zero_order_hold(self.eigenvalues(), self.steps(), self.state_dtype)
        return DiscreteConvSSM(a, self._input_kernels(hold[:, None, None, None]), self._output_kernels())

    @property
    def state_dtype(self) -> torch.dtype:
        """Complex type of the states."""
        return torch.complex128 if self.B.dtype == torch.float64 else torch.complex64

    def steps(self) -> Tensor:
        """Steps dt in double precision, shape (P,)."""
        return self.dt_scale * self.log_dt.double().exp()

    def _input_kernels(self, factor: Tensor | float = 1.0) -> Tensor:
        """``factor`` B̃, real and imaginary part of each state side by side."""
        return torch.view_as_real(factor * torch.complex(*self.B)).movedim(-1, 1).flatten(0, 1)

    def _output_kernels(self) -> Tensor:
        return torch.stack([2 * self.C[0], -2 * self.C[1]], 2).flatten(1, 2)


def zero_order_hold(eigenvalues: Tensor, steps: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return a = exp(Λ dt) and φ = (a - 1) / Λ of complex128 eigenvalues, rounded to ``dtype`` at the end."""
    growth = complex_expm1(eigenvalues * steps)
    return (1 + growth).to(dtype), (growth / eigenvalues).to(dtype)


def legs_eigenbasis(size: int, blocks: int = 1) -> tuple[Tensor, Tensor]:
    """Half of the eigenvalues of the normal part of HiPPO-LegS, and their eigenvectors.

    The normal matrix is S = A + ppᵀ, where A[n, k] = -sqrt(2n + 1) sqrt(2k + 1) for n > k, -(n + 1) for n = k, 0 above,
    and p[n] = sqrt(n + 1/2).  All its eigenvalues have the real part -1/2; kept are those with negative imaginary part.

    Parameters
    ----------
    size : int
        Number N of real states.
    blocks : int, default=1
        How many matrices of size N / blocks stand on the diagonal.

    Returns
    -------
    eigenvalues : Tensor of complex128, shape (N / 2,)
        In every block ascending in the imaginary part.
    basis : Tensor of complex128, shape (N, N / 2)
        Orthonormal eigenvectors as columns.

    Raises
    ------
    ValueError
        If ``size`` is no positive multiple of ``2 * blocks``.
    """
    if blocks < 1 or size < 2 * blocks or size % (2 * blocks):
        raise ValueError(f"ssm_size must be a positive multiple of 2 * blocks, got ssm_size={size}, blocks={blocks}")
    n = torch.arange(size // blocks, dtype=torch.float64)
    outer = torch.outer((2 * n + 1).sqrt(), (2 * n + 1).sqrt())
    skew = 0.5 * (outer.triu(1) - outer.tril(-1))  # S = -1/2 + skew, so that -i skew is Hermitian
    frequencies, vectors = torch.linalg.eigh(-1j * skew)
    kept = len(n) // 2
    frequencies = frequencies[:kept].repeat(blocks)
    return torch.complex(torch.full_like(frequencies, -0.5), frequencies), torch.block_diag(
        *[vectors[:, :kept]] * blocks
    )


def complex_expm1(z: Tensor) -> Tensor:
    """exp(z) - 1 without cancellation near 0."""
    x, y = z.real, z.imag
    return torch.complex(torch.expm1(x) * y.cos() - 2 * (y / 2).sin().square(), x.exp() * y.sin())


def he_normal(*shape: int) -> Tensor:
    """A convolution's weight (out, in, height, width) with variance 2 / fan-in, cut off at two deviations."""
    std = math.sqrt(2 / math.prod(shape[1:])) / _TRUNCATED_STD
    return nn.init.trunc_normal_(torch.empty(shape), std=std, a=-2 * std, b=2 * std)


def kernel_pair(name: str, size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of a kernel; ValueError unless both are odd, so that the output is as large as the input."""
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1 or height % 2 == 0 or width % 2 == 0:
        raise ValueError(f"{name} must be odd and positive, got {size}")
    return height, width


def _same_conv(u: Tensor, weight: Tensor) -> Tensor:
    padding = weight.shape[2] // 2, weight.shape[3] // 2
    return F.conv2d(u.contiguous(memory_format=torch.channels_last), weight, padding=padding)


def _complex_pixels(x: Tensor, dtype: torch.dtype) -> Tensor:
    """(frames, 2 P, height, width), channels last in memory -> complex (frames, height, width, P)."""
    pixels = x.permute(0, 2, 3, 1).to(dtype.to_real()).contiguous()
    return torch.view_as_complex(pixels.unflatten(-1, (-1, 2)))


def _real_channels(x: Tensor) -> Tensor:
    """The inverse of ``_complex_pixels``."""
    return torch.view_as_real(x).flatten(-2).permute(0, 3, 1, 2)


def _pixels_of(state: Tensor, dtype: torch.dtype) -> Tensor:
    """A state (batch, 2, P, height, width) as complex (batch, height, width, P)."""
    return torch.view_as_complex(state.to(dtype.to_real()).permute(0, 3, 4, 2, 1).contiguous())


def _planes(x: Tensor) -> Tensor:
    """The inverse of ``_pixels_of``."""
    return torch.view_as_real(x).permute(0, 4, 3, 1, 2)
