"""What every network does with a batch of series before the first layer."""

import torch
from torch import Tensor


def check_facts(**facts: int) -> None:
    """Raise ValueError unless all facts of the data are at least 1."""
    for name, value in facts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")


def check_channels(x: Tensor, n_channels: int) -> None:
    """Raise ValueError unless ``x`` is (batch, time, n_channels)."""
    if x.ndim != 3 or x.shape[2] != n_channels:
        raise ValueError(
            f"x must have shape (batch, time, {n_channels}) as the network was built, got {tuple(x.shape)}"
        )


def valid_tokens(tokens: Tensor, n_valid: Tensor | None) -> Tensor | None:
    """True (batch, token) before the first ``n_valid`` (batch,) tokens end; None if all are valid."""
    if n_valid is None:
        return None
    return torch.arange(tokens.shape[1], device=tokens.device) < n_valid[:, None]


def cleaned(x: Tensor, lengths: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """``x`` with zeros where nothing was observed, and the indicator of missing values inside the series."""
    inside = None
    if lengths is not None:
        inside = torch.arange(x.shape[1], device=x.device)[None, :, None] < lengths[:, None, None]
        x = torch.where(inside, x, 0)
    if mask is None:
        return x, None
    missing = ~mask if inside is None else ~mask & inside
    return torch.where(missing, 0, x), missing.to(x.dtype)
