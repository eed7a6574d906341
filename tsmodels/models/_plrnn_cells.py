"""The cells of piecewise-linear networks: their parameters as they are drawn, and what is kept true of them."""

import math

import torch
from torch import Tensor, nn

__all__ = ["CELLS", "CLIPPED", "OFF_DIAGONAL", "SHALLOW", "draw_theta"]

CELLS = ("plrnn", "mcplrnn", "shplrnn", "cshplrnn", "dendplrnn", "cdendplrnn", "alrnn")
SHALLOW = ("shplrnn", "cshplrnn")
DENDRITIC = ("dendplrnn", "cdendplrnn")
CLIPPED = ("cshplrnn", "cdendplrnn")  # g is bounded, so F is where max|A| < 1
OFF_DIAGONAL = ("plrnn", "mcplrnn", *DENDRITIC)  # the diagonal of the linear part is A's alone


def draw_theta(
    cell: str, M: int, *, n_inputs: int, hidden_dim: int, n_bases: int, data_range: tuple[float, float]
) -> dict[str, Tensor]:
    """Draw the parameters of a cell as the authors of each do, from torch's global generator.

    A and W are diagonal and rest of a random symmetric positive definite matrix whose largest eigenvalue is 1: the map
    starts at the edge of stability.
    """
    R = torch.randn(M, M)
    K = R.mT @ R / M + torch.eye(M)
    K = K / torch.linalg.eigvalsh(K)[-1]
    theta = {"A": K.diagonal().clone()}
    if cell in SHALLOW:
        theta |= {"W1": _uniform(hidden_dim, (M, hidden_dim)), "h1": torch.zeros(M)}
        # a clipped unit without an offset is 0 everywhere and has no gradient
        offset = _uniform(hidden_dim, (hidden_dim,)) if cell in CLIPPED else torch.zeros(hidden_dim)
        theta |= {"W2": _uniform(M, (hidden_dim, M)), "h2": offset}
    else:
        W = 0.01 * torch.randn(M, M) if cell == "alrnn" else K - K.diagonal().diag()
        theta |= {"W": W, "h": torch.zeros(M)}
    if cell in DENDRITIC:
        low, high = data_range
        theta |= {"a": _uniform(n_bases, (n_bases,)), "H": torch.empty(M, n_bases).uniform_(low, high)}
    if n_inputs:
        theta["C"] = nn.init.xavier_uniform_(torch.empty(M, n_inputs))
    return theta


def _uniform(width: int, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape).uniform_(-1 / math.sqrt(width), 1 / math.sqrt(width))
