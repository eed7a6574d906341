"""The reconstruction task: a network gives back the windows it sees; what it cannot give back is unusual."""

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from tsmodels.tasks._base import NetTask
from tsmodels.tasks._optim import OptimizerFactory, ScheduleFactory

__all__ = ["ReconstructionTask"]

LOSSES = ("mse", "mae")


class ReconstructionTask(NetTask):
    """Train and evaluate a network that reconstructs windows, with a Lightning ``Trainer``.

    A batch is a dict of tensors: ``x`` (batch, time, channel), scaled, and where values are missing ``mask`` like ``x``
    (True = observed; ``x`` is 0 elsewhere). Missing values count in no loss and no metric. Labels and other keys are
    not looked at.

    Logged once per epoch: ``train/loss``; ``val/loss``, ``val/mse``, ``val/mae``; ``test/loss``, ``test/mse``,
    ``test/mae``, in units of the scaled data. A validation loss is that of the whole epoch: the mean over its observed
    values, whatever the batches.

    Parameters
    ----------
    network : nn.Module
        ``forward(x)`` or ``forward(x, mask=None)`` returns a tensor like ``x``.
    loss : str, default="mse"
        "mse", the mean squared error, or "mae", the mean absolute error, of the observed values.
    lr : float, default=1e-3
        Peak learning rate.
    optimizer, weight_decay, schedule
        As in :class:`~tsmodels.tasks.ClassificationTask`.

    Raises
    ------
    TypeError
        If ``network`` is no ``nn.Module``, or a LightningModule.
    ValueError
        If loss, optimiser or schedule are unknown. During training if a batch holds an input that the network does not
        take, ``mask`` is not like ``x``, or the reconstruction has another shape than ``x``.
    FloatingPointError
        During training, when a loss becomes NaN or infinite.

    Examples
    --------
    >>> import torch
    >>> from tsmodels.models import ChimeraForReconstruction
    >>> from tsmodels.tasks import ReconstructionTask
    >>> task = ReconstructionTask(ChimeraForReconstruction(3, 20, d_model=8), loss="mae")
    >>> task.predict_step({"x": torch.zeros(2, 20, 3)}, 0).shape  # batch, time, channel
    torch.Size([2, 20, 3])
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: str = "mse",
        lr: float = 1e-3,
        optimizer: str | OptimizerFactory = "adamw",
        weight_decay: float = 0.01,
        schedule: str | ScheduleFactory = "cosine",
    ):
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(map(repr, LOSSES))}, got {loss!r}")
        lr, weight_decay = float(lr), float(weight_decay)
        super().__init__(network, lr=lr, optimizer=optimizer, weight_decay=weight_decay, schedule=schedule)
        self.loss = loss
        self.val_errors, self.test_errors = ReconstructionErrors(), ReconstructionErrors()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch and log it."""
        squared, absolute, count = error_sums(self._reconstructed(batch), batch)
        loss = (squared if self.loss == "mse" else absolute) / count.clamp(min=1)
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=len(batch["x"]), prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Count the errors of a validation batch."""
        self.val_errors.update(self._reconstructed(batch), batch)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Count the errors of a test batch."""
        self.test_errors.update(self._reconstructed(batch), batch)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the reconstruction of a batch."""
        return self._reconstructed(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the validation errors of the epoch."""
        self._log_errors("val", self.val_errors)
        super().on_validation_epoch_end()

    def on_test_epoch_end(self) -> None:
        """Log the test errors."""
        self._log_errors("test", self.test_errors)

    def _log_errors(self, stage: str, errors: "ReconstructionErrors") -> None:
        values = errors.compute()
        errors.reset()
        self.log(f"{stage}/loss", values[self.loss], prog_bar=True)
        self.log_dict({f"{stage}/{name}": value for name, value in values.items()})

    def _reconstructed(self, batch: dict[str, Tensor]) -> Tensor:
        x, mask = batch["x"], batch.get("mask")
        if mask is not None and (mask.dtype != torch.bool or mask.shape != x.shape):
            raise ValueError(f"mask must be boolean of shape {tuple(x.shape)}, got {mask.dtype} {tuple(mask.shape)}")
        reconstruction = self.apply_network(batch)
        if reconstruction.shape != x.shape:
            raise ValueError(
                f"{type(self.network).__name__} returned {tuple(reconstruction.shape)} for windows {tuple(x.shape)}: "
                "a network for reconstruction returns a tensor like x"
            )
        return reconstruction


class ReconstructionErrors(Metric):
    """Mean squared and mean absolute error over the observed values of all batches."""

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, reconstruction: Tensor, batch: dict[str, Tensor]) -> None:
        """Count a batch: what was made of it, and the batch."""
        self.sums += torch.stack(error_sums(reconstruction, batch))

    def compute(self) -> dict[str, Tensor]:
        """Return ``mse`` and ``mae``; NaN if no value was observed."""
        squared, absolute, count = self.sums
        return {"mse": (squared / count).float(), "mae": (absolute / count).float()}


def error_sums(reconstruction: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sums of squared and of absolute errors over the observed values, and the number of these."""
    errors = reconstruction - batch["x"]
    if "mask" in batch:
        errors = torch.where(batch["mask"], errors, 0.0)  # a product would keep NaN
        count = batch["mask"].sum()
    else:
        count = torch.tensor(errors.numel(), device=errors.device)
    return errors.square().sum(), errors.abs().sum(), count.to(errors.dtype)
