"""What every task shares: holding a network, optimiser and schedule, checkpoints without code in them."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn

from tsmodels.models._config import build, config_of
from tsmodels.models._prepared import PreparedNetwork
from tsmodels.tasks._cases import training_cases
from tsmodels.tasks._inputs import accepted_inputs, call_network
from tsmodels.tasks._optim import (
    OPTIMIZERS,
    SCHEDULES,
    OptimizerFactory,
    ScheduleFactory,
    make_optimizer,
    make_schedule,
    named_or_callable,
)

__all__ = ["NetTask"]


class NetTask(L.LightningModule):
    """A network with an optimiser and a schedule; subclasses add loss, metrics and steps.

    Subclasses call ``super().__init__`` with their arguments already turned into plain values: what stands in the local
    variables of their ``__init__`` goes into the checkpoint.

    Parameters
    ----------
    network : nn.Module
        The network. When a checkpoint is loaded this is its recorded configuration, from which it is built.
    lr, weight_decay : float
        For an optimiser given by name.
    optimizer : str or callable
        See :class:`~tsmodels.tasks.ClassificationTask`.
    schedule : str or callable
        See :class:`~tsmodels.tasks.ClassificationTask`.
    """

    schedules: tuple[str, ...] = SCHEDULES  # a task may know others

    def __init__(
        self,
        network: nn.Module,
        *,
        lr: float,
        optimizer: str | OptimizerFactory,
        weight_decay: float,
        schedule: str | ScheduleFactory,
    ):
        super().__init__()
        named_or_callable(optimizer, OPTIMIZERS, "optimizer")
        named_or_callable(schedule, self.schedules, "schedule")
        self.save_hyperparameters(ignore=["network", "optimizer", "schedule"])
        self.network = build(network) if isinstance(network, Mapping) else _plain_network(network)
        self.optimizer, self.schedule, self.lr, self.weight_decay = optimizer, schedule, lr, weight_decay
        self._accepted = accepted_inputs(self.network)

    def forward(self, x: Tensor, **inputs: Tensor | None) -> Tensor:
        """Apply the network.

        Parameters
        ----------
        x : Tensor (batch, time, channel)
            Series, 0 where missing or padded.
        inputs : Tensor, optional
            By name, for networks that take them: ``lengths`` (batch,), valid steps from the start; ``mask`` like ``x``,
            True where observed; covariates ``exog``, ``past`` and ``static``.

        Returns
        -------
        Tensor
            What the network returns.
        """
        return self.apply_network({"x": x} | {name: value for name, value in inputs.items() if value is not None})

    def apply_network(self, batch: Mapping[str, Tensor], method: str = "forward") -> Any:
        """Apply the network, or another method of it, to a batch; ValueError if it holds an input that is not taken."""
        return call_network(self.network, self._accepted, batch, method)

    def setup(self, stage: str) -> None:
        """Let a network that needs it look at the training cases, before the first fit; other stages do nothing.

        It sees the training part of the run's datamodule and nothing else. In a run of several processes the first one
        looks, the others get what it found.
        """
        network = self.network
        if stage != "fit" or not isinstance(network, PreparedNetwork) or network.is_prepared:
            return
        trainer = self.trainer
        if trainer.is_global_zero:
            cases = training_cases(trainer, network)
            shown = trainer.progress_bar_callback is not None
            network.prepare(cases["x"], cases["y"], cases.get("lengths"), cases.get("mask"), progress=shown)
        if trainer.world_size > 1:
            network.load_state_dict(trainer.strategy.broadcast(network.state_dict()))

    def configure_optimizers(self) -> Any:
        """Return optimiser and schedule in Lightning's form."""
        optimizer = make_optimizer(self.optimizer, self.network, lr=self.lr, weight_decay=self.weight_decay)
        schedule = make_schedule(self.schedule, optimizer, lambda: self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer} | ({} if schedule is None else {"lr_scheduler": schedule})

    def on_train_epoch_end(self) -> None:
        """Stop the run if the training loss is no longer a number."""
        self._require_finite("train/loss")

    def on_validation_epoch_end(self) -> None:
        """Stop the run if the validation loss is no longer a number."""
        self._require_finite("val/loss")

    def _require_finite(self, name: str) -> None:
        # Once per epoch: a check of every step would make the CPU wait for the GPU each time.
        value = self.trainer.callback_metrics.get(name)
        if value is not None and not torch.isfinite(value):
            raise FloatingPointError(
                f"{name} is {float(value)} in epoch {self.current_epoch}: lower the learning rate (lr={self.lr}), set "
                "gradient_clip_val=1.0, or look for huge values in the data"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep plain values only, so that the file loads with ``weights_only=True`` and needs no further argument."""
        hparams = checkpoint.setdefault("hyper_parameters", {})
        hparams.pop("_instantiator", None)  # LightningCLI's; with it reloading would need jsonargparse
        hparams["network"] = config_of(self.network)
        for name in ("optimizer", "schedule"):
            value = getattr(self, name)
            hparams.pop(name, None)
            if isinstance(value, str):
                hparams[name] = value


def _plain_network(network: Any) -> nn.Module:
    twin = any(cls.__module__.partition(".")[0] == "pytorch_lightning" for cls in type(network).__mro__)
    if twin or isinstance(network, L.LightningModule):
        origin = "pytorch_lightning; this package builds on lightning.pytorch" if twin else "lightning.pytorch"
        raise TypeError(
            f"network is a LightningModule, {type(network).__name__}, of {origin}. A task takes the plain nn.Module "
            "inside it and brings its own loss and optimiser"
        )
    if not isinstance(network, nn.Module):
        raise TypeError(f"network must be a torch.nn.Module, got {type(network).__name__}")
    return network
