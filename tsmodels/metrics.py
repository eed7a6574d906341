"""Errors and likeness of frames, each frame by itself: images of a video, maps of a field.

Everything is torch, differentiable, and runs where its tensors are. FVD and LPIPS are not here: both are distances
between features of trained networks, whose weights this package does not carry.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["mae", "mse", "psnr", "ssim"]

_K1, _K2 = 0.01, 0.03  # constants of SSIM, as shares of the range


def mse(forecast: Tensor, truth: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Return the mean squared error of each frame.

    Parameters
    ----------
    forecast, truth : Tensor (..., channel, height, width)
        Frames of one shape.
    mask : bool Tensor (height, width), or broadcastable to `truth`
        True where a cell counts. What stands elsewhere, NaN included, changes neither the result nor its gradient.

    Returns
    -------
    Tensor (...)

    Raises
    ------
    TypeError
        If `mask` is not bool, or the frames are not floating point.
    ValueError
        If the shapes do not fit, or `mask` leaves no cell of a frame.

    Examples
    --------
    >>> import torch
    >>> from tsmodels.metrics import mse
    >>> mse(torch.zeros(2, 1, 4, 4), torch.full((2, 1, 4, 4), 0.5))
    tensor([0.2500, 0.2500])
    """
    forecast, truth, counted = _checked(forecast, truth, mask)
    return _mean((forecast - truth).square(), counted)


def mae(forecast: Tensor, truth: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Return the mean absolute error of each frame; arguments and errors as for :func:`mse`."""
    forecast, truth, counted = _checked(forecast, truth, mask)
    return _mean((forecast - truth).abs(), counted)


def psnr(
    forecast: Tensor,
    truth: Tensor,
    *,
    value_range: tuple[float, float] = (0.0, 1.0),
    mask: Tensor | None = None,
    quantise: bool = False,
) -> Tensor:
    """Return the peak signal-to-noise ratio of each frame in decibels, ``-10 log10(MSE)`` on a range of 1.

    Parameters
    ----------
    forecast, truth, mask
        As for :func:`mse`.
    value_range : (float, float), default=(0, 1)
        Least and largest value a frame can have. `truth` must lie within; a forecast that leaves it is not clipped.
    quantise : bool, default=False
        Whether both are clipped to the range and rounded to 8 bits first; the gradient is then 0.

    Returns
    -------
    Tensor (...)
        Infinite where a frame is exact; there the gradient is not finite. A mean over frames is then infinite too:
        report ``-10 log10`` of the mean MSE beside it.

    Raises
    ------
    TypeError, ValueError
        As for :func:`mse`, and if `truth` leaves the range or the range is empty.
    """
    forecast, truth, counted = _checked(forecast, truth, mask)
    forecast, truth = _on_unit_range(forecast, truth, counted, value_range, quantise)
    return -10 * torch.log10(_mean((forecast - truth).square(), counted))


def ssim(
    forecast: Tensor,
    truth: Tensor,
    *,
    value_range: tuple[float, float] = (0.0, 1.0),
    mask: Tensor | None = None,
    window: int = 11,
    sigma: float = 1.5,
    quantise: bool = False,
) -> Tensor:
    r"""Return the structural similarity of each frame, at most 1, which only equal frames have.

    With Gaussian means :math:`\mu`, variances :math:`\sigma^2` and covariance in a window of two channels a and b,

    .. math:: \frac{(2 \mu_a \mu_b + c_1)(2 \sigma_{ab} + c_2)}
              {(\mu_a^2 + \mu_b^2 + c_1)(\sigma_a^2 + \sigma_b^2 + c_2)},
              \qquad c_1 = 0.01^2,\ c_2 = 0.03^2

    on a range of 1, averaged over channels and over all windows that lie within the frame.

    Parameters
    ----------
    forecast, truth, value_range, quantise
        As for :func:`psnr`.
    mask : bool Tensor (height, width), or broadcastable to `truth`
        True where a cell counts. The averages are over the windows with such a cell in their middle, and the weights of
        a window are shared out among those of its cells that count.
    window : int, default=11
        Side of the window in cells, odd, at most the height and the width of a frame.
    sigma : float, default=1.5
        Standard deviation of the window's weights in cells.

    Returns
    -------
    Tensor (...)

    Raises
    ------
    TypeError, ValueError
        As for :func:`psnr`, and if the window does not fit the frames or no window has a middle that counts.

    Notes
    -----
    A black frame is about 0.7 like one of Moving MNIST: read the number beside that of the simplest forecasts.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli: Image quality assessment: from error visibility to structural similarity, IEEE
    Transactions on Image Processing 13 (2004).

    Examples
    --------
    >>> import torch
    >>> from tsmodels.metrics import ssim
    >>> frames = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> ssim(frames, frames)
    tensor([1., 1., 1.])
    """
    forecast, truth, counted = _checked(forecast, truth, mask)
    _check_window(window, sigma, truth)
    forecast, truth = _on_unit_range(forecast, truth, counted, value_range, quantise)
    leading, (height, width) = truth.shape[:-2], truth.shape[-2:]
    a, b = forecast.reshape(-1, 1, height, width), truth.reshape(-1, 1, height, width)
    weights = _gaussian(window, sigma, truth)
    moments = _blurred(torch.cat([a, b, a * a, b * b, a * b], 1), weights)
    inside = None
    if counted is not None:
        cells = counted.reshape(-1, 1, height, width)
        edge = window // 2
        inside = cells[..., edge : height - edge, edge : width - edge]
        # a middle that does not count may have no weight around it at all: 1 keeps its quotient and gradient finite
        share = torch.where(inside, _blurred(cells.to(truth.dtype), weights), 1.0)
        moments = moments / share
        inside = inside.reshape(*leading, *inside.shape[-2:])
    mean_a, mean_b, square_a, square_b, product = moments.unbind(1)
    c1, c2 = _K1**2, _K2**2
    likeness = (2 * mean_a * mean_b + c1) * (2 * (product - mean_a * mean_b) + c2)
    squares = mean_a.square() + mean_b.square()
    likeness = likeness / ((squares + c1) * (square_a + square_b - squares + c2))
    likeness = likeness.reshape(*leading, *likeness.shape[-2:])
    if inside is not None and not bool(inside.flatten(-3).any(-1).all()):
        raise ValueError(
            f"mask leaves no cell that is the middle of a window of {window} x {window} within the frame: choose a "
            "smaller window."
        )
    return _mean(likeness, inside)


def _checked(forecast: Tensor, truth: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the frames with 0 where they do not count, and the mask in their shape."""
    if forecast.shape != truth.shape:
        raise ValueError(
            f"forecast and truth must be of one shape, got {tuple(forecast.shape)} and {tuple(truth.shape)}."
        )
    if truth.ndim < 3 or not truth.numel():
        raise ValueError(f"frames must be (..., channel, height, width) and not empty, got {tuple(truth.shape)}.")
    if not (truth.is_floating_point() and forecast.is_floating_point()):
        raise TypeError(f"frames must be floating point, got {forecast.dtype} and {truth.dtype}: use frames.float().")
    if mask is None:
        return forecast, truth, None
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be bool, True where a cell counts, got {mask.dtype}: use mask.bool().")
    try:
        counted = mask.expand(truth.shape)
    except RuntimeError:
        raise ValueError(
            f"mask {tuple(mask.shape)} does not fit frames {tuple(truth.shape)}: give (height, width), or more axes "
            "that broadcast."
        ) from None
    if not bool(counted.flatten(-3).any(-1).all()):
        raise ValueError("mask leaves no cell of a frame: it must be True where a cell counts.")
    # `where` and not a product: what does not count may be NaN
    return torch.where(counted, forecast, 0.0), torch.where(counted, truth, 0.0), counted


def _on_unit_range(
    forecast: Tensor, truth: Tensor, counted: Tensor | None, value_range: tuple[float, float], quantise: bool
) -> tuple[Tensor, Tensor]:
    """Return the frames on a range of 1, again with 0 where they do not count."""
    low, high = map(float, value_range)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"value_range must be two finite numbers, the lesser first, got {value_range}.")
    observed = truth.detach() if counted is None else truth.detach()[counted]
    least, largest = (float(value) for value in observed.aminmax())
    slack = 1e-5 * (high - low)  # rounding of what was scaled
    if not (least >= low - slack and largest <= high + slack):  # not so for NaN either
        raise ValueError(
            f"truth reaches from {least:.6g} to {largest:.6g}, beyond value_range = ({low:.6g}, {high:.6g}): give the "
            "range of the frames."
        )
    pair = [(frames - low) / (high - low) for frames in (forecast, truth)]
    if quantise:
        pair = [(255 * frames.clamp(0, 1)).round() / 255 for frames in pair]
    if counted is not None:
        pair = [torch.where(counted, frames, 0.0) for frames in pair]
    return pair[0], pair[1]


def _check_window(window: int, sigma: float, truth: Tensor) -> None:
    height, width = truth.shape[-2:]
    if window < 1 or window % 2 == 0 or window > min(height, width):
        raise ValueError(
            f"window must be odd, at least 1 and at most the sides of a frame, {height} x {width}, got {window}."
        )
    if not sigma > 0:
        raise ValueError(f"sigma must be above 0, got {sigma}.")


def _gaussian(window: int, sigma: float, like: Tensor) -> Tensor:
    distance = torch.arange(window, dtype=torch.float64) - window // 2
    weights = torch.exp(-0.5 * (distance / sigma).square())
    return (weights / weights.sum()).to(like)


def _blurred(maps: Tensor, weights: Tensor) -> Tensor:
    """Return weighted means over the windows within maps (..., height, width), one axis after the other."""
    # two dense products are several times faster on a CPU than convolutions of a single channel
    return _band(maps.shape[-2], weights) @ maps @ _band(maps.shape[-1], weights).T


def _band(length: int, weights: Tensor) -> Tensor:
    """Return the matrix (length - window + 1, length) with the weights in each row, one further right each time."""
    first = torch.arange(length - len(weights) + 1, device=weights.device)[:, None]
    band = weights.new_zeros(len(first), length)
    band[first, first + torch.arange(len(weights), device=weights.device)] = weights
    return band


def _mean(values: Tensor, counted: Tensor | None) -> Tensor:
    """Return the mean over channel, height and width, of what counts."""
    if counted is None:
        return values.mean((-3, -2, -1))
    return torch.where(counted, values, 0.0).sum((-3, -2, -1)) / counted.sum((-3, -2, -1))
