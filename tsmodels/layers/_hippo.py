"""Initial eigenvalues of diagonal state space models."""

import math

import torch
from torch import Tensor

DIAGONAL_INITS = ("legs", "lin", "inv")


def diagonal_eigenvalues(init: str, d_state: int) -> Tensor:
    """One of each conjugate pair of the N eigenvalues that a diagonal state space model starts from.

    All have the real part -1/2.  With n = 0 ... N/2 - 1 the imaginary parts are

    * ``"legs"``: the positive ones of the normal matrix S = A + ppᵀ, where A is the HiPPO-LegS matrix,
      A[n, k] = -sqrt(2n + 1) sqrt(2k + 1) for n > k, -(n + 1) for n = k, 0 above, and p[n] = sqrt(n + 1/2); ascending;
    * ``"lin"``: πn, the frequencies of a Fourier series;
    * ``"inv"``: (N / π) (N / (2n + 1) - 1), the asymptote of the first.

    Parameters
    ----------
    init : {"legs", "lin", "inv"}
        Which eigenvalues.
    d_state : int
        Number N of real states, even.

    Returns
    -------
    Tensor of complex128, shape (d_state / 2,)
        Eigenvalues with imaginary part at least 0.

    Raises
    ------
    ValueError
        If ``init`` does not exist, or ``d_state`` is not a positive even number.

    References
    ----------
    .. [1] A. Gu, A. Gupta, K. Goel, C. Ré, "On the Parameterization and Initialization of Diagonal State Space
       Models", NeurIPS 2022, arXiv:2206.11893.
    """
    if init not in DIAGONAL_INITS:
        raise ValueError(f"init must be one of {', '.join(map(repr, DIAGONAL_INITS))}; got {init!r}")
    if d_state < 2 or d_state % 2:
        raise ValueError(f"d_state must be a positive even number (conjugate pairs), got {d_state}")
    n = torch.arange(d_state // 2, dtype=torch.float64)
    if init == "legs":
        frequencies = _legs_frequencies(d_state)
    elif init == "lin":
        frequencies = math.pi * n
    else:
        frequencies = d_state / math.pi * (d_state / (2 * n + 1) - 1)
    return torch.complex(torch.full_like(frequencies, -0.5), frequencies)


def _legs_frequencies(d_state: int) -> Tensor:
    n = torch.arange(d_state, dtype=torch.float64)
    root = (2 * n + 1).sqrt()
    # S = -1/2 + K with K = -Kᵀ, so that -iK is Hermitian: its real eigenvalues come in pairs ±.
    skew = -0.5 * (torch.outer(root, root).tril(-1) - torch.outer(root, root).triu(1))
    return torch.linalg.eigvalsh(-1j * skew)[d_state // 2 :]
