"""The forecasting task: point, quantile or Student-t forecasts of windows, with errors by horizon."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tsmodels.tasks._base import NetTask
from tsmodels.tasks._forecasts import Forecasts
from tsmodels.tasks._metrics import ForecastErrors
from tsmodels.tasks._optim import OptimizerFactory, ScheduleFactory

__all__ = ["ForecastingTask"]


class ForecastingTask(NetTask):
    """Train and evaluate a network as a forecaster of windows, with a Lightning ``Trainer``.

    A batch is a dict of tensors: ``x`` (batch, lookback, channel) and ``y`` (batch, horizon, channel), both scaled, and
    where the data have them ``mask`` and ``y_mask`` (True = observed; values are 0 elsewhere), ``exog`` (batch,
    lookback + horizon, n_exogenous), ``past`` (batch, lookback, n_past) and ``static`` (batch, n_static).

    Logged once per epoch: ``train/loss``; ``val/loss``, ``val/mse``, ``val/mae``; ``test/loss``, ``test/mse``,
    ``test/mae`` in units of the scaled data, and ``test/mse_original``, ``test/mae_original``, ``test/smape`` (percent)
    and ``test/mase`` in those of the data. These need the scaler of the datamodule (attribute ``scaler`` with
    ``inverse``), without which the data count as they are. After a test ``horizon_metrics`` holds ``mse`` and ``mae``
    (scaled) for each step, two tensors (horizon,).

    A network with ``forward_with_auxiliary(x, ...) -> (forecast, loss)`` is trained through it: the second value is
    added to the loss (the one-step-ahead loss of a closed loop).

    Parameters
    ----------
    network : nn.Module
        ``forward(x, mask=None, exog=None, past=None, static=None)``, or a part of these arguments, returns (batch,
        horizon, channel), or (batch, horizon, channel, n_outputs) for the losses that need several numbers.
    loss : str, default="mse"
        "mse", "mae", "huber" (threshold 1), "smape", "mase" (relative to the seasonal naive error over the look-back),
        "pinball" (quantile head; n_outputs = number of levels) or "student_t" (negative log likelihood; n_outputs = 3:
        location, logarithm of the scale, degrees of freedom - 2 before softplus).
    quantiles : sequence of float, default=None
        Levels of ``loss="pinball"``, 0.5 among them. None: 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95.
    seasonality : int, default=1
        Steps of one season, for MASE.
    lr : float, default=1e-3
        Peak learning rate.
    optimizer, weight_decay, schedule
        As in :class:`~tsmodels.tasks.ClassificationTask`.

    Raises
    ------
    TypeError
        If ``network`` is no ``nn.Module``, or a LightningModule.
    ValueError
        If loss, quantiles, optimiser or schedule are unknown or do not fit together. During training if a batch holds
        an input that the network does not take, or the forecast has the wrong shape.
    FloatingPointError
        During training, when a loss becomes NaN or infinite.

    Examples
    --------
    >>> import torch
    >>> from tsmodels.models import DLinearForForecasting
    >>> from tsmodels.tasks import ForecastingTask
    >>> task = ForecastingTask(DLinearForForecasting(3, 24, 6), loss="mae")
    >>> task.predict_step({"x": torch.zeros(2, 24, 3)}, 0).shape  # batch, horizon, channel
    torch.Size([2, 6, 3])
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: str = "mse",
        quantiles: Sequence[float] | None = None,
        seasonality: int = 1,
        lr: float = 1e-3,
        optimizer: str | OptimizerFactory = "adamw",
        weight_decay: float = 0.01,
        schedule: str | ScheduleFactory = "cosine",
    ):
        quantiles = None if quantiles is None else [float(level) for level in quantiles]
        seasonality, lr, weight_decay = int(seasonality), float(lr), float(weight_decay)
        super().__init__(network, lr=lr, optimizer=optimizer, weight_decay=weight_decay, schedule=schedule)
        self.forecasts = Forecasts(loss, quantiles, seasonality)
        self.val_errors, self.test_errors = ForecastErrors(seasonality), ForecastErrors(seasonality)
        self.horizon_metrics: dict[str, Tensor] = {}

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch and log it."""
        outputs, auxiliary = self._with_auxiliary(batch)
        loss = self.forecasts.loss_of(self._checked(outputs, batch), batch)
        if auxiliary is not None:
            loss = loss + auxiliary
        self._log("train/loss", loss, batch)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the loss of a validation batch and count its errors."""
        self._evaluate(batch, "val/loss", self.val_errors)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the loss of a test batch and count its errors."""
        self._evaluate(batch, "test/loss", self.test_errors)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return what the network returns for a batch, scaled; ``task.forecasts`` reads point and quantiles of it."""
        return self.apply_network(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the validation errors of the epoch."""
        super().on_validation_epoch_end()
        errors = self.val_errors.compute()
        self.val_errors.reset()
        self.log_dict({f"val/{name}": errors[name].mean() for name in ("mse", "mae")}, prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Log the test errors, and keep those of each step of the horizon."""
        errors = self.test_errors.compute()
        self.test_errors.reset()
        self.log_dict({f"test/{name}": value.mean() for name, value in errors.items()})
        self.horizon_metrics = {name: errors[name] for name in ("mse", "mae")}

    def _with_auxiliary(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        if not hasattr(self.network, "forward_with_auxiliary"):
            return self.apply_network(batch), None
        return self.apply_network(batch, "forward_with_auxiliary")

    def _evaluate(self, batch: dict[str, Tensor], name: str, errors: ForecastErrors) -> None:
        outputs = self._checked(self.apply_network(batch), batch)
        self._log(name, self.forecasts.loss_of(outputs, batch), batch)
        errors.update(self.forecasts.point(outputs), batch, self._scaler())

    def _scaler(self) -> Any:
        return getattr(getattr(self.trainer, "datamodule", None), "scaler", None)

    def _log(self, name: str, value: Tensor, batch: dict[str, Tensor]) -> None:
        self.log(
            name,
            value,
            on_step=False,
            on_epoch=True,
            batch_size=len(batch["x"]),
            prog_bar=True,
            sync_dist=not name.startswith("train"),
        )

    def _checked(self, outputs: Tensor, batch: dict[str, Tensor]) -> Tensor:
        n_outputs = self.forecasts.n_outputs
        expected = (*batch["y"].shape, n_outputs) if n_outputs > 1 else tuple(batch["y"].shape)
        if tuple(outputs.shape) != expected:
            raise ValueError(
                f"{type(self.network).__name__} returned {tuple(outputs.shape)}; with loss={self.forecasts.loss!r} the "
                f"task expects {expected}: build the network with this horizon and n_outputs={n_outputs}"
            )
        return outputs
