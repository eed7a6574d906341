"""Lightning callbacks of the estimators. Imported while training only, since this module imports Lightning."""

import math

import lightning.pytorch as L
from torch import Tensor

__all__ = ["KeepBest", "RecordCurves"]


class KeepBest(L.Callback):
    """Keep the weights of the best validation in memory and put them back when training ends; no file.

    Parameters
    ----------
    monitor : str
        Logged value to minimise.

    Attributes
    ----------
    epoch : int or None
        Epoch of the best value, from 0; None before the first validation.
    value : float
        The best value.
    """

    def __init__(self, monitor: str):
        self.monitor, self.value = monitor, float("inf")
        self.epoch: int | None = None
        self._state: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Copy the weights if the validation was better than all before it."""
        value = trainer.callback_metrics.get(self.monitor)
        if trainer.sanity_checking or value is None or not float(value) < self.value:
            return
        self.value, self.epoch = float(value), trainer.current_epoch
        self._state = {name: tensor.detach().to("cpu", copy=True) for name, tensor in pl_module.state_dict().items()}

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Put the best weights back."""
        if self._state:
            pl_module.load_state_dict(self._state)


class RecordCurves(L.Callback):
    """Collect every logged value, once per epoch.

    Attributes
    ----------
    n_epochs : int
        Number of epochs run.
    curves : dict of str to list of float
        Values by epoch; NaN for the validation of an epoch without one.
    """

    def __init__(self) -> None:
        self.n_epochs = 0
        self.curves: dict[str, list[float]] = {}
        self._validated = self._unread = False

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note that this epoch has a validation."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Note that an epoch is over: a module may log in its own hook, which comes after that of callbacks."""
        self._unread = True

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Read the values of the epoch before."""
        self._read(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Read the values of the last epoch."""
        self._read(trainer)

    def _read(self, trainer: L.Trainer) -> None:
        if not self._unread:
            return
        for name, value in trainer.callback_metrics.items():
            stale = name.startswith("val/") and not self._validated  # Lightning keeps showing the last one
            curve = self.curves.setdefault(name, [math.nan] * self.n_epochs)
            curve.append(math.nan if stale else float(value))
        self.n_epochs, self._validated, self._unread = self.n_epochs + 1, False, False
