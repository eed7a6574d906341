"""The classification task: cross-entropy, accuracy and balanced accuracy over any network that returns logits."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from tsmodels.tasks._base import NetTask
from tsmodels.tasks._metrics import BalancedAccuracy
from tsmodels.tasks._optim import OptimizerFactory, ScheduleFactory

__all__ = ["ClassificationTask"]


class ClassificationTask(NetTask):
    """Train and evaluate a network as a classifier, with a Lightning ``Trainer``.

    A batch is a dict of tensors: ``x`` (batch, time, channel), ``y`` (batch,) of class indices, and where the data need
    them ``lengths`` (batch,) and ``mask`` like ``x``. Logged once per epoch: ``train/loss``, ``train/acc``,
    ``val/loss``, ``val/acc``, ``val/balanced_acc``, ``test/loss``, ``test/acc``, ``test/balanced_acc``.

    A checkpoint of a network of this package loads with ``ClassificationTask.load_from_checkpoint(path)`` and no other
    argument, also with ``weights_only=True``. A network of your own does not travel in the file: make it and pass it,
    ``load_from_checkpoint(path, network=network)``.

    Parameters
    ----------
    network : nn.Module
        Any network with ``forward(x, lengths=None, mask=None)``, or a part of these arguments, that returns logits
        (batch, n_classes).
    n_classes : int
        Number of classes, at least 2.
    lr : float, default=1e-3
        Peak learning rate.
    optimizer : str or callable, default="adamw"
        "adamw", "adam", "radam" or "sgd" (momentum 0.9), or a callable that makes an optimiser from parameter groups,
        such as ``functools.partial(torch.optim.AdamW, lr=1e-3)``; ``lr`` and ``weight_decay`` are then its own.
        A name is saved in the checkpoint, a callable is not.
    weight_decay : float, default=0.01
        Not applied to parameters with fewer than two axes (biases, gains of norms), nor to those that a module names
        in its attribute ``no_weight_decay``.
    schedule : str or callable, default="cosine"
        "cosine" (linear warm-up over 5 % of the run's steps, then half a cosine), "constant", "one_cycle", "plateau"
        (needs validation data), or a callable that makes a scheduler from the optimiser, stepped once per epoch; for
        another interval it returns Lightning's dict, such as ``{"scheduler": ..., "interval": "step"}``.
        A name is saved in the checkpoint, a callable is not.
    class_weight : sequence of float, default=None
        Weight of each class in the loss, by class index. None: all 1.
    label_smoothing : float, default=0.0
        Share of the target that is spread over all classes, in [0, 1].

    Raises
    ------
    TypeError
        If ``network`` is no ``nn.Module``, or a LightningModule.
    ValueError
        If an optimiser or schedule is unknown, ``n_classes`` is below 2, ``class_weight`` has not one number >= 0
        per class, or ``label_smoothing`` is outside [0, 1]. During training if the batches hold ``lengths`` or
        ``mask`` which the network does not take, or the logits have the wrong shape.
    FloatingPointError
        During training, when a loss becomes NaN or infinite.

    Examples
    --------
    >>> import torch
    >>> from tsmodels.tasks import ClassificationTask
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(20 * 3, 2))
    >>> task = ClassificationTask(network, n_classes=2)
    >>> x = torch.zeros(4, 20, 3)  # case, time, channel
    >>> task.predict_step({"x": x}, 0).shape
    torch.Size([4, 2])
    """

    class_weight: Tensor | None

    def __init__(
        self,
        network: nn.Module,
        *,
        n_classes: int,
        lr: float = 1e-3,
        optimizer: str | OptimizerFactory = "adamw",
        weight_decay: float = 0.01,
        schedule: str | ScheduleFactory = "cosine",
        class_weight: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
    ):
        n_classes, lr, weight_decay = int(n_classes), float(lr), float(weight_decay)
        class_weight, label_smoothing = _weights(class_weight, n_classes), float(label_smoothing)
        if n_classes < 2:
            raise ValueError(f"n_classes must be at least 2, got {n_classes}")
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1], got {label_smoothing}")
        super().__init__(network, lr=lr, optimizer=optimizer, weight_decay=weight_decay, schedule=schedule)
        self.n_classes, self.label_smoothing = n_classes, label_smoothing
        weight = None if class_weight is None else torch.tensor(class_weight)
        self.register_buffer("class_weight", weight, persistent=False)  # a hyperparameter, not learned
        self.train_acc = MulticlassAccuracy(n_classes, average="micro", validate_args=False)
        self.val_metrics, self.test_metrics = self._metrics("val/"), self._metrics("test/")

    def _metrics(self, prefix: str) -> MetricCollection:
        metrics = {
            "acc": MulticlassAccuracy(self.n_classes, average="micro", validate_args=False),
            "balanced_acc": BalancedAccuracy(self.n_classes),
        }
        return MetricCollection(metrics, prefix=prefix, compute_groups=False)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch and log it."""
        logits, loss = self._logits_and_loss(batch)
        self.train_acc(logits, batch["y"])
        self._log("train/loss", loss, batch)
        self._log("train/acc", self.train_acc, batch)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log loss and metrics of a validation batch."""
        self._evaluate(batch, "val/loss", self.val_metrics)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log loss and metrics of a test batch."""
        self._evaluate(batch, "test/loss", self.test_metrics)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the class probabilities (batch, n_classes) of a batch."""
        return self._logits(batch).softmax(1)

    def _evaluate(self, batch: dict[str, Tensor], name: str, metrics: MetricCollection) -> None:
        logits, loss = self._logits_and_loss(batch)
        metrics.update(logits, batch["y"])
        self._log(name, loss, batch, sync_dist=True)
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=len(batch["x"]))

    def _log(
        self, name: str, value: Tensor | MulticlassAccuracy, batch: dict[str, Tensor], sync_dist: bool = False
    ) -> None:
        self.log(
            name, value, on_step=False, on_epoch=True, batch_size=len(batch["x"]), prog_bar=True, sync_dist=sync_dist
        )

    def _logits_and_loss(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        logits = self._logits(batch)
        weight = None if self.class_weight is None else self.class_weight.to(logits.dtype)
        return logits, F.cross_entropy(logits, batch["y"], weight=weight, label_smoothing=self.label_smoothing)

    def _logits(self, batch: dict[str, Tensor]) -> Tensor:
        logits, expected = self.apply_network(batch), (len(batch["x"]), self.n_classes)
        if tuple(logits.shape) != expected:
            raise ValueError(
                f"{type(self.network).__name__} returned {tuple(logits.shape)}; a classifier returns logits (batch, "
                f"n_classes) = {expected}"
            )
        return logits


def _weights(class_weight: Sequence[float] | None, n_classes: int) -> list[float] | None:
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        raise ValueError(
            f"class_weight={class_weight!r} needs the labels, which a task does not see: give one weight per class, or "
            "use an estimator, which takes class_weight='balanced'"
        )
    weights = [float(weight) for weight in class_weight]
    if len(weights) != n_classes or min(weights) < 0.0 or max(weights) == 0.0:
        raise ValueError(f"class_weight must hold {n_classes} numbers >= 0, one per class, not all 0; got {weights}")
    return weights
