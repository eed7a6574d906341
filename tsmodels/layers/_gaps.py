"""Series without gaps, and where they begin and end."""

import torch
from torch import Tensor


def fill_gaps(x: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Interpolate missing values linearly between their observed neighbours, channel by channel.

    The valid range [lo, hi) of a channel reaches from its first observed value to its last; outside it the result
    is 0. What stands behind ``lengths`` or where ``mask`` is False is not read, not even NaN; gradients of
    interpolated values reach the two values that they were made of.

    Parameters
    ----------
    x : Tensor, shape (batch, time, channel)
        Series.
    lengths : Tensor of int64, shape (batch,), optional
        Valid steps from the start; default all.
    mask : Tensor of bool, shape (batch, time, channel), optional
        True where a value was observed; default everywhere.

    Returns
    -------
    x : Tensor, shape (batch, time, channel)
        Series without gaps.
    lo, hi : Tensor of int64, shape (batch, channel)
        Valid range, half-open; 0, 0 for a channel without any observed value.
    """
    n_timepoints = x.shape[1]
    steps = torch.arange(n_timepoints, device=x.device)[:, None]
    if mask is None:
        lo = steps.new_zeros(x.shape[0], x.shape[2])
        if lengths is None:
            return x, lo, torch.full_like(lo, n_timepoints)
        inside = steps < lengths[:, None, None]
        return torch.where(inside, x, 0), lo, lengths[:, None].expand_as(lo).contiguous()
    observed = mask if lengths is None else mask & (steps < lengths[:, None, None])
    left = torch.where(observed, steps, -1).cummax(1).values
    right = torch.where(observed, steps, n_timepoints).flip(1).cummin(1).values.flip(1)
    hi = left[:, -1] + 1
    lo = right[:, 0].minimum(hi)  # nothing observed: 0 and not the length
    inside = (left >= 0) & (right < n_timepoints)
    x = torch.where(observed, x, 0)  # before anything is multiplied: 0 times NaN would be NaN
    left, right = left.clamp(min=0), right.clamp(max=n_timepoints - 1)
    share = (steps - left).to(x.dtype) / (right - left).clamp(min=1).to(x.dtype)
    between = torch.lerp(x.gather(1, left), x.gather(1, right), share)
    return torch.where(observed, x, torch.where(inside, between, 0)), lo, hi
