"""A convolutional state space model whose state kernel spans 3 x 3 pixels, diagonal in the sines of the grid."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ._conv_ssm import ConvS5SSM, OnGrid, Recurrence, zero_order_hold


class WideConvS5SSM(ConvS5SSM):
    """``ConvS5SSM`` whose states also flow between neighbouring pixels: a state kernel of 3 x 3, still run as a scan.

    ::

        X'[p] = K[p] * X[p] + (B̃ * U)[p]        Y = 2 Re(C̃ * X)

               | d/4  b/2  d/4 |
        K[p] = | c/2   a   c/2 |                 a, b, c, d complex, of each state p
               | d/4  b/2  d/4 |

    With zero padding such a kernel is diagonal in the sines of a grid of m x n pixels, whatever a, b, c, d are::

        S_n[i, j] = sqrt(2 / (n + 1)) sin(π i j / (n + 1)),   θ_i = π i / (n + 1),   i, j = 1 ... n
        Λ[i, j] = a + b cos θ_i + c cos θ_j + d cos θ_i cos θ_j

    so that ``x = S_m X S_n`` has a diagonal recurrence, by zero-order hold of every Λ[i, j].  Λ is bilinear in the
    cosines: it lies between its values at the four corners (±1, ±1).  These are the parameters, each as the eigenvalue
    of a ``ConvS5SSM`` with the same ``stability``; hence it is as stable, and the two are equal while the corners are
    equal, as they are at the start.

    The states are those of the sines, (batch, 2, P, height, width).  A kernel wider than a pixel with other weights
    would grow with every step of a parallel scan.

    Wide state kernels of this kind are the idea of ConvT3 [1]_.  Only its abstract and a summary were read: corners as
    parameters, and equal weights on both sides of a pixel, are this package's own choice.

    Parameters
    ----------
    channels, ssm_size, **choices
        Of :class:`ConvS5SSM`.

    References
    ----------
    .. [1] Hong, Choi, Ko, Gwak, "ConvT3: Structured State Kernels for Convolutional State Space Models", ICLR 2026.
    """

    def __init__(self, channels: int, ssm_size: int, **choices: Any):
        super().__init__(channels, ssm_size, **choices)
        self.decay = nn.Parameter(self.decay.detach().repeat(4, 1))
        self.frequency = nn.Parameter(self.frequency.detach().repeat(4, 1))

    def discretised(self) -> OnGrid:
        """The model of one step, whose recurrence follows from the size of the grid."""
        return DiscreteWideConvSSM(
            self.eigenvalues(), self.steps(), self.state_dtype, self._input_kernels(), self._output_kernels()
        )


@dataclass(frozen=True, eq=False)
class DiscreteWideConvSSM:
    """A ``WideConvS5SSM`` for one step of time.

    Attributes
    ----------
    corners : Tensor of complex128, shape (4, P)
        Λ where the cosines along height and width are (1, 1), (1, -1), (-1, 1), (-1, -1).
    steps : Tensor of float64, shape (P,)
        dt.
    dtype : torch.dtype
        Complex type of the states.
    B, C : Tensor
        As of ``DiscreteConvSSM``, B without φ, which differs between the sines.
    """

    corners: Tensor
    steps: Tensor
    dtype: torch.dtype
    B: Tensor
    C: Tensor
    _made: dict[tuple[int, int], Recurrence] = field(default_factory=dict, init=False)

    def on_grid(self, height: int, width: int) -> Recurrence:
        """The recurrence of the sines of a grid, made once for each size."""
        if (height, width) not in self._made:
            a, hold = zero_order_hold(spectrum(self.corners, height, width), self.steps, self.dtype)
            bases = [sine_basis(size, self.dtype.to_real(), a.device) for size in (height, width)]
            back = functools.partial(sines, bases=bases)
            self._made[height, width] = Recurrence(a, lambda inputs: hold * back(inputs), back)
        return self._made[height, width]


def spectrum(corners: Tensor, height: int, width: int) -> Tensor:
    """Λ of every sine, complex128 (height, width, P): its values at the corners (4, P), interpolated in the cosines."""
    rows, columns = (_shares(size, corners.device) for size in (height, width))
    shares = (rows[:, None, :, None] * columns[None, :, None, :]).flatten(0, 1)
    return torch.einsum("chw,cp->hwp", shares.to(corners.dtype), corners)


def sines(x: Tensor, bases: Sequence[Tensor]) -> Tensor:
    """Complex (frames, height, width, P) in the sines of its grid; its own inverse."""
    along_height, along_width = bases
    with torch.autocast(x.device.type, enabled=False):
        planes = torch.view_as_real(x).flatten(-2)
        planes = along_width @ (along_height @ planes.flatten(2)).view(planes.shape)
        return torch.view_as_complex(planes.unflatten(-1, (-1, 2)))


def _shares(size: int, device: torch.device) -> Tensor:
    """Weights (2, size) of the corners with cosine 1 and -1 in every sine."""
    cosines = (math.pi * torch.arange(1, size + 1, dtype=torch.float64, device=device) / (size + 1)).cos()
    return torch.stack([(1 + cosines) / 2, (1 - cosines) / 2])


def sine_basis(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """S_n, symmetric and orthogonal."""
    n = torch.arange(1, size + 1, dtype=torch.float64, device=device)
    return (math.sqrt(2 / (size + 1)) * (torch.outer(n, n) * (math.pi / (size + 1))).sin()).to(dtype)
