"""What every network for forecasting does around its own map: checks, covariates, normalisation and back."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tsmodels.layers import CovariateRegression, ForecastingHead, PatchEmbedding, RevIN

from ._series import check_facts


class Window(NamedTuple):
    """A batch of pasts as the inner map of a network sees them, and what turns its forecasts back.

    Attributes
    ----------
    values : Tensor, shape (batch, lookback, n_past + n_channels)
        Normalised past covariates, and behind them the normalised targets, less what covariates explain; 0 where
        missing.  A one-way scan over channels so carries from the covariates to the targets.
    missing : Tensor, shape (batch, lookback, n_past + n_channels), or None
        1 where a value is missing, else 0; None without a mask.
    location, scale : Tensor, shape (batch, 1, n_channels)
        The normalisation of the targets: x - explained = values * scale + location.
    explained : Tensor, shape (batch, lookback + horizon, n_channels), or None
        What covariates explain; None without any.
    """

    values: Tensor
    missing: Tensor | None
    location: Tensor
    scale: Tensor
    explained: Tensor | None


class NetworkForForecasting(nn.Module):
    """Covariates out, normalisation, the map of a subclass (``_forecast``), normalisation back, covariates in.

    Parameters
    ----------
    n_channels, lookback, horizon : int
        Targets, steps seen, steps to forecast; at least 1.
    n_outputs : int
        Numbers per step and channel.
    n_exogenous, n_past, n_static : int
        Covariates known ahead, known up to now, and of the whole series.
    distribution : bool
        Whether the outputs are location, log-scale and a shape, and not values.
    normalise : {"revin", "last", "none"}, default="revin"
        By mean and deviation of the window, by its last value, or not at all.

    Raises
    ------
    ValueError
        If a fact is out of range, or ``distribution`` comes without three outputs.
    """

    def __init__(
        self,
        n_channels: int,
        lookback: int,
        horizon: int,
        n_outputs: int,
        n_exogenous: int,
        n_past: int,
        n_static: int,
        distribution: bool,
        *,
        normalise: str = "revin",
    ):
        super().__init__()
        check_facts(n_channels=n_channels, lookback=lookback, horizon=horizon, n_outputs=n_outputs)
        for name, value in (("n_exogenous", n_exogenous), ("n_past", n_past), ("n_static", n_static)):
            if value < 0:
                raise ValueError(f"{name} must be at least 0, got {value}")
        if distribution and n_outputs != 3:
            raise ValueError(f"distribution=True needs n_outputs=3 (location, log-scale, shape), got {n_outputs}")
        if normalise not in ("revin", "last", "none"):
            raise ValueError(f"normalise must be one of 'none', 'last', 'revin'; got {normalise!r}")
        self.n_channels, self.lookback, self.horizon = n_channels, lookback, horizon
        self.n_outputs, self.distribution = n_outputs, distribution
        self.n_exogenous, self.n_past, self.n_static = n_exogenous, n_past, n_static
        self.normalise = normalise
        self.revin = RevIN(n_channels + n_past) if normalise == "revin" else None
        has_covariates = n_exogenous or n_static
        self.covariates = CovariateRegression(n_channels, n_exogenous, n_static) if has_covariates else None

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        exog: Tensor | None = None,
        past: Tensor | None = None,
        static: Tensor | None = None,
    ) -> Tensor:
        """Forecasts of a batch.

        Parameters
        ----------
        x : Tensor, shape (batch, lookback, channel)
            The past of the targets; what stands where ``mask`` is False is not read.
        mask : Tensor of bool, shape (batch, lookback, channel), optional
            True where a value was observed; default everywhere.
        exog : Tensor, shape (batch, lookback + horizon, n_exogenous), optional
            Covariates known ahead; required by a network built with ``n_exogenous`` above 0, and by no other.
        past : Tensor, shape (batch, lookback, n_past), optional
            Covariates known up to now; required by a network built with ``n_past`` above 0, and by no other.
        static : Tensor, shape (batch, n_static), optional
            Features of the series; required by a network built with ``n_static`` above 0, and by no other.

        Returns
        -------
        Tensor, shape (batch, horizon, channel) or (batch, horizon, channel, n_outputs)
            Forecasts in the units of ``x``; the last axis is there if ``n_outputs`` is above 1.

        Raises
        ------
        ValueError
            If an input is missing, not expected, or of another shape than the network was built for.
        """
        window = self._window(x, mask, exog, past, static, self.horizon)
        return self._finished(self._forecast(window.values, window.missing), window)

    def _forecast(self, values: Tensor, missing: Tensor | None) -> Tensor:
        """Forecasts (batch, horizon, n_channels, n_outputs) in normalised units."""
        raise NotImplementedError

    def _window(
        self,
        x: Tensor,
        mask: Tensor | None,
        exog: Tensor | None,
        past: Tensor | None,
        static: Tensor | None,
        horizon: int,
    ) -> Window:
        self._check(x, mask, exog, past, static, horizon)
        explained = None
        if mask is not None:  # not only left out below: NaN times a gradient of 0 would be NaN
            x = torch.where(mask, x, 0)
        if self.covariates is not None:
            explained = self.covariates(exog, static, self.lookback, horizon)
            x = x - explained[:, : self.lookback]
        observed = mask
        if past is not None:
            x = torch.cat([past.to(x.dtype), x], -1)
            if mask is not None:
                observed = torch.cat([torch.ones_like(past, dtype=torch.bool), mask], -1)
        values, location, scale = self._normalised(x, observed)
        missing = None if observed is None else (~observed).to(values.dtype)
        return Window(values, missing, location[..., self.n_past :], scale[..., self.n_past :], explained)

    def _normalised(self, x: Tensor, observed: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        if self.revin is not None:
            return self.revin(x, observed)
        if observed is not None:
            x = filled(x, observed)
        last = x[:, -1:]
        if self.normalise == "last":
            return x - last, last, torch.ones_like(last)
        return x, torch.zeros_like(last), torch.ones_like(last)

    def _finished(self, raw: Tensor, window: Window) -> Tensor:
        """Forecasts in the units of x, with what the covariates explain of the future."""
        raw = raw.to(window.location.dtype)
        location, scale = window.location[..., None], window.scale[..., None]
        shift = location if window.explained is None else location + window.explained[:, self.lookback :, :, None]
        if self.distribution:
            centre, log_scale, shape = raw.split(1, -1)
            return torch.cat([centre * scale + shift, log_scale + scale.log(), shape], -1)
        forecast = raw * scale + shift
        return forecast[..., 0] if self.n_outputs == 1 else forecast

    def _check(self, x, mask, exog, past, static, horizon) -> None:
        n_steps = self.lookback + horizon
        if x.ndim != 3 or x.shape[1:] != (self.lookback, self.n_channels):
            raise ValueError(
                f"x must have shape (batch, {self.lookback}, {self.n_channels}): lookback and channels as the network "
                f"was built, got {tuple(x.shape)}"
            )
        if mask is not None and (mask.dtype != torch.bool or mask.shape != x.shape):
            raise ValueError(f"mask must be boolean of shape {tuple(x.shape)}, got {mask.dtype} {tuple(mask.shape)}")
        _check_covariate("exog", "n_exogenous", exog, (len(x), n_steps, self.n_exogenous))
        _check_covariate("past", "n_past", past, (len(x), self.lookback, self.n_past))
        _check_covariate("static", "n_static", static, (len(x), self.n_static))


def _check_covariate(name: str, fact: str, value: Tensor | None, shape: tuple[int, ...]) -> None:
    if value is None:
        if shape[-1]:
            raise ValueError(f"the network was built with {fact}={shape[-1]}: pass {name} of shape {shape}")
        return
    if not shape[-1]:
        raise ValueError(f"the network was built with {fact}=0: leave out {name}, or build it with {fact} above 0")
    if tuple(value.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")


def filled(x: Tensor, observed: Tensor) -> Tensor:
    """``x`` (batch, time, channel) with the last observed value where one is missing, before the first with the first.

    A channel without any observed value is 0.
    """
    steps = torch.arange(x.shape[1], device=x.device)[None, :, None]
    latest = torch.where(observed, steps, -1).cummax(1).values
    first = torch.where(observed, steps, x.shape[1]).amin(1, keepdim=True).clamp(max=x.shape[1] - 1)
    held = x.gather(1, torch.where(latest >= 0, latest, first))
    return torch.where(observed.any(1, keepdim=True), held, 0)


def patches(lookback: int, patch_size: int, stride: int | None) -> tuple[int, int]:
    """Patch size and stride for windows of ``lookback`` steps, which a longer patch is cut to; stride: half a patch."""
    if patch_size < 1 or (stride is not None and not 1 <= stride <= patch_size):
        raise ValueError(f"need 1 <= stride <= patch_size, got stride={stride}, patch_size={patch_size}")
    patch_size = min(patch_size, lookback)
    return patch_size, (patch_size + 1) // 2 if stride is None else min(stride, patch_size)


class SequenceForForecasting(NetworkForForecasting):
    """Patches -> tokens -> blocks -> norm -> one linear map from all tokens of a sequence to its forecast.

    A sequence is one target together with the past covariates, and all targets share all weights; or, with
    ``channel_mixing``, all targets and past covariates are one sequence.

    Parameters
    ----------
    facts : int and bool
        The positional arguments of the networks.
    blocks : iterable of nn.Module
        Each takes tokens (batch, token, d_model) and returns such.
    norm : nn.Module
        Applied before the head.
    d_model, dropout, patch_size, stride, channel_mixing
        As documented by the networks.
    """

    def __init__(
        self,
        *facts,
        blocks: Iterable[nn.Module],
        norm: nn.Module,
        d_model: int,
        dropout: float,
        patch_size: int,
        stride: int | None,
        channel_mixing: bool,
    ):
        super().__init__(*facts)
        self.channel_mixing = channel_mixing
        patch_size, stride = patches(self.lookback, patch_size, stride)
        n_together = self.n_channels if channel_mixing else 1
        self.embed = PatchEmbedding(d_model, patch_size, stride, n_joint=n_together + self.n_past)
        self.blocks = nn.ModuleList(blocks)
        self.norm = norm
        n_tokens = int(self.embed.n_tokens(torch.tensor(self.lookback)))
        self.head = ForecastingHead(n_tokens, d_model, self.horizon, n_together * self.n_outputs, dropout=dropout)

    def _forecast(self, values: Tensor, missing: Tensor | None) -> Tensor:
        absent = None if missing is None else self._sequences(missing)
        tokens = self.embed(self._sequences(values), absent).to(self.head.linear.weight.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens).unflatten(0, (len(values), -1)).transpose(1, 2)  # (batch, token, sequence, d_model)
        forecasts = self.head(tokens)
        return forecasts.reshape(len(values), self.horizon, self.n_channels, self.n_outputs)

    def _sequences(self, x: Tensor) -> Tensor:
        """(batch, time, channel) to (batch * sequence, time, channel of a sequence)."""
        if self.channel_mixing or x.shape[2] == 1:
            return x
        past, targets = x[..., : self.n_past], x[..., self.n_past :]
        targets = targets.transpose(1, 2)[..., None]
        if self.n_past:
            targets = torch.cat([past[:, None].expand(-1, self.n_channels, -1, -1), targets], -1)
        return targets.flatten(0, 1)
