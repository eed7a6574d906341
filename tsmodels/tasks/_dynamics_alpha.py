"""How strongly windows force a network in training: the strengths of each mode, and the one estimated from Jacobians.

Hess, Monfared, Brenner and Durstewitz (arXiv 2306.04406): the gradient through T forced steps is a product of
(1 - alpha) J, which stays bounded where (1 - alpha) sigma <= 1 for the norm sigma that Jacobians have along the data.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tsmodels.models import PLRNN

__all__ = [
    "ALPHA_METHODS",
    "annealed",
    "estimate_alpha",
    "jacobian_norm",
    "smallest_alpha",
    "sparse_alpha",
    "spectral_norms",
]

ALPHA_METHODS = ("product", "batch_max", "mean_jacobian", "norm_bound")
SMALLEST_NORM = 1e-8  # so that the logarithm of a zero Jacobian is a number


def sparse_alpha(n_steps: int, interval: int) -> Tensor:
    """Return the strengths (n_steps,) of sparse teacher forcing: 1 at steps interval, 2 interval, ..., else 0."""
    return (torch.arange(1, n_steps + 1) % interval == 0).float()


def smallest_alpha(norm: float) -> float:
    """Return the least forcing that keeps gradients bounded for a norm of Jacobians: max(0, 1 - 1 / norm)."""
    return max(0.0, 1.0 - 1.0 / norm) if norm > 0.0 else 0.0


def annealed(alpha: float, estimate: float, decay: float) -> float:
    """Return the next forcing: up to an estimate at once, down to it slowly."""
    return estimate if estimate > alpha else decay * alpha + (1.0 - decay) * estimate


@torch.no_grad()
def estimate_alpha(network: PLRNN, signal: Tensor, method: str) -> float:
    """Estimate the forcing that a network needs along a batch.

    Parameters
    ----------
    network : PLRNN
        The network.
    signal : Tensor (batch, T, n_channels)
        What forces it. The Jacobians are those at the states that the signal asks for; units that it says nothing of
        are taken where the network would start them.
    method : str
        One of ``ALPHA_METHODS``; see :func:`jacobian_norm`. "norm_bound" uses no Jacobian:
        ``max|A| + ||W1|| ||W2||``, for shallow cells.

    Returns
    -------
    float
        In [0, 1); NaN if the signal holds NaN.
    """
    if method == "norm_bound":
        theta = network.theta
        product = torch.linalg.matrix_norm(theta["W1"], 2) * torch.linalg.matrix_norm(theta["W2"], 2)
        return smallest_alpha(float(theta["A"].abs().max() + product))
    if not math.isfinite(signal.sum()):  # a ReLU of NaN is not active, and the Jacobian a number
        return math.nan
    return smallest_alpha(float(jacobian_norm(network.jacobian(network.start(signal)), method)))


def jacobian_norm(J: Tensor, method: str) -> Tensor:
    """Return one norm for Jacobians along sequences.

    Parameters
    ----------
    J : Tensor (batch, T, M, M)
        Jacobians.
    method : {"product", "batch_max", "mean_jacobian"}
        The largest, over sequences, of: the geometric mean over time of the spectral norms; their maximum; the spectral
        norm of the mean over time.

    Returns
    -------
    Tensor ()
        The norm.
    """
    if method == "mean_jacobian":
        return torch.linalg.matrix_norm(J.mean(1), 2).max()
    norms = spectral_norms(J)
    if method == "batch_max":
        return norms.max()
    return norms.clamp_min(SMALLEST_NORM).log().mean(1).exp().max()


def spectral_norms(J: Tensor) -> Tensor:
    """Return the largest singular values (...) of matrices (..., M, M).

    From the Gram matrices; up to M = 3 by the closed form of the eigenvalues of a symmetric 3 x 3 matrix, which takes a
    tenth of the time of a decomposition for each matrix.
    """
    M = J.shape[-1]
    if M > 3:
        return torch.linalg.eigvalsh(J @ J.mT)[..., -1].clamp_min(0).sqrt()
    a, b, c = F.pad(J, (0, 3 - M, 0, 3 - M)).unbind(-2)
    aa, bb, cc, ab, ac, bc = ((u * v).sum(-1) for u, v in ((a, a), (b, b), (c, c), (a, b), (a, c), (b, c)))
    mean = (aa + bb + cc) / 3
    x, y, z = aa - mean, bb - mean, cc - mean
    spread = ((x * x + y * y + z * z + 2 * (ab * ab + ac * ac + bc * bc)) / 6).sqrt()
    determinant = x * (y * z - bc * bc) - ab * (ab * z - bc * ac) + ac * (ab * bc - y * ac)
    cosine = determinant / (2 * spread**3).clamp_min(torch.finfo(J.dtype).tiny)
    return (mean + 2 * spread * (cosine.clamp(-1, 1).acos() / 3).cos()).sqrt()
