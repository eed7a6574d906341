"""The frames task: a network learns the next frame of videos or fields, and is judged by what it generates."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from tsmodels.tasks._base import NetTask
from tsmodels.tasks._frames_metrics import FrameErrors
from tsmodels.tasks._optim import OptimizerFactory, ScheduleFactory

__all__ = ["FramesTask"]

LOSSES = {"mse+mae": (0.5, 0.5), "mse": (1.0, 0.0), "mae": (0.0, 1.0)}  # weights of squared and absolute error
REDUCTIONS = ("mean", "paper")


class FramesTask(NetTask):
    """Train and evaluate a network that forecasts frames, with a Lightning ``Trainer``.

    A batch is a dict of tensors: ``frames`` (batch, time, channel, height, width) and, where some cells do not count,
    ``mask`` (height, width) or (channel, height, width), bool, True where a cell counts. Other keys are not looked at.

    The network is trained to predict the next frame at every time, in one pass over the observed frames; with
    ``rollout_frames`` also on frames that it generates from its own. It is validated and tested on the frames it
    generates after the first ``context``. Logged once per epoch: ``train/loss``; ``val/loss`` (of the next frames);
    ``val/mse``, ``val/mae``, ``val/psnr`` and ``val/ssim`` of the generated frames, ``val/one_step_mse`` of the same
    frames predicted each from all observed ones before it; in a test ``test/...`` likewise, and:

    * ``val/psnr_of_mse``, the PSNR of the mean MSE, as the mean PSNR is infinite if one frame is exact;
    * without a ``value_range`` there is no PSNR and no SSIM; of frames smaller than 11 x 11 there is no SSIM;
    * ``val/mse_original``, ``val/mae_original`` in the units of the data, if the datamodule has a ``scaler`` with
      ``inverse(frames, dim=-3)``.

    After a test ``horizon_metrics`` holds the errors of each generated frame, and as ``one_step_...`` those of the same
    frame predicted from all observed ones, tensors (horizon,).

    LPIPS and FVD are not offered: they compare features of trained networks, and this package carries no weights.

    Parameters
    ----------
    network : nn.Module
        ``forward(frames, state=None)`` returns predictions of the next frame at every time, like ``frames``, and the
        state after the last; ``generate(context, n_frames)``, or with ``mask`` as a third argument by name, returns
        (batch, n_frames, channel, height, width). The state is needed for ``rollout_frames`` only, for which
        ``stepper()``, if the network has it, returns ``step(frame, state)`` -> next frame (batch, channel, height,
        width), state; otherwise ``forward`` is called with one frame at a time.
    loss : str, default="mse+mae"
        "mse+mae" (half of each), "mse" or "mae", of cells that count.
    reduction : str, default="mean"
        "mean" over all cells, or "paper": the sum over a row of cells and over channels, its mean over the rest, that
        is, the mean times width and number of channels, as in the published runs.
    rollout_frames : int, default=0
        Number of frames, generated after the context, whose loss is added to that of the next frames.
    context : int, default=10
        Frames from which others are generated.
    value_range : (float, float) or None, default=(-1, 1)
        Least and largest value of a frame. MSE and MAE are then given on a range of 1. None for fields, which have no
        such range; MSE and MAE are then those of the frames as they are.
    lr : float, default=1e-3
        Peak learning rate.
    optimizer, weight_decay, schedule
        As in :class:`~tsmodels.tasks.ClassificationTask`.

    Raises
    ------
    TypeError
        If ``network`` is no ``nn.Module``, a LightningModule, or has no ``generate``. During training if ``mask`` is
        not bool.
    ValueError
        If an argument is unknown or out of range. During training if a batch has too few frames, the mask covers
        everything, frames leave ``value_range`` or the network returns another shape.
    FloatingPointError
        During training, when a loss becomes NaN or infinite.

    References
    ----------
    The loss is that of Smith, De Mello, Kautz, Linderman, Byeon, "Convolutional State Space Models for Long-Range
    Spatiotemporal Modeling", NeurIPS 2023, arXiv 2310.19694.

    Examples
    --------
    >>> import torch
    >>> from tsmodels.models import ConvLSTMForFrames
    >>> from tsmodels.tasks import FramesTask
    >>> task = FramesTask(ConvLSTMForFrames(1, 16, 16, d_model=8, n_layers=1, widths=(4, 8)), context=3)
    >>> task.predict_step({"frames": torch.zeros(2, 5, 1, 16, 16)}, 0).shape  # batch, horizon, channel, height, width
    torch.Size([2, 2, 1, 16, 16])
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        loss: str = "mse+mae",
        reduction: str = "mean",
        rollout_frames: int = 0,
        context: int = 10,
        value_range: tuple[float, float] | None = (-1.0, 1.0),
        lr: float = 1e-3,
        optimizer: str | OptimizerFactory = "adamw",
        weight_decay: float = 1e-5,
        schedule: str | ScheduleFactory = "cosine",
    ):
        rollout_frames, context, lr, weight_decay = int(rollout_frames), int(context), float(lr), float(weight_decay)
        if value_range is not None:
            low, high = map(float, value_range)
            if not low < high:
                raise ValueError(f"value_range must be two numbers, the lesser first, or None, got {value_range}")
            value_range = (low, high)
        for name, value, allowed in (("loss", loss, LOSSES), ("reduction", reduction, REDUCTIONS)):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")
        if context < 1:
            raise ValueError(f"context must be at least 1 frame, got {context}")
        if rollout_frames < 0:
            raise ValueError(f"rollout_frames must be at least 0, got {rollout_frames}")
        super().__init__(network, lr=lr, optimizer=optimizer, weight_decay=weight_decay, schedule=schedule)
        if not callable(getattr(self.network, "generate", None)):
            raise TypeError(
                f"{type(self.network).__name__} has no generate(context, n_frames): use a network for frames, such as "
                "ConvS5ForFrames"
            )
        self.loss, self.reduction, self.value_range = loss, reduction, value_range
        self.rollout_frames, self.context = rollout_frames, context
        self.val_errors, self.test_errors = FrameErrors(value_range), FrameErrors(value_range)
        self.val_one_step, self.test_one_step = FrameErrors(value_range), FrameErrors(value_range)
        self.horizon_metrics: dict[str, Tensor] = {}

    def forward(self, frames: Tensor) -> Tensor:
        """Return the predictions of the next frame at every time of frames (batch, time, channel, height, width)."""
        return self._next_frames(frames)[0]

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return the loss of a batch and log it."""
        frames, mask = self._read(batch, 1, thorough=batch_idx == 0)
        if self.rollout_frames:
            loss = self._loss_with_rollout(frames, mask)
        else:
            loss = self._loss_of(self._next_frames(frames[:, :-1])[0], frames[:, 1:], mask)
        self._log("train/loss", loss, frames)
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the loss of a validation batch and count the errors of what is generated."""
        self._evaluate(batch, "val/loss", self.val_errors, self.val_one_step)

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Log the loss of a test batch and count the errors of what is generated."""
        self._evaluate(batch, "test/loss", self.test_errors, self.test_one_step)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Return as many generated frames as a batch has after the context."""
        frames, mask = self._read(batch, self.context + 1)
        return self._generated(frames, mask)

    def on_validation_epoch_end(self) -> None:
        """Log the validation errors of the epoch."""
        super().on_validation_epoch_end()
        self._log_errors("val", self.val_errors, self.val_one_step)

    def on_test_epoch_end(self) -> None:
        """Log the test errors, and keep those of each generated frame."""
        self.horizon_metrics = self._log_errors("test", self.test_errors, self.test_one_step)

    def _read(self, batch: dict[str, Tensor], least: int, thorough: bool = True) -> tuple[Tensor, Tensor | None]:
        """Return frames, 0 where masked, and mask of a batch, checked.

        What makes a CPU wait for a GPU is checked only if `thorough`.
        """
        frames, mask = batch["frames"], batch.get("mask")
        if frames.ndim != 5:
            raise ValueError(
                f"frames must be (batch, time, channel, height, width), got {tuple(frames.shape)}: a single channel "
                "needs its axis too"
            )
        least = max(least, 2, self.context + self.rollout_frames if self.rollout_frames else 0)
        if frames.shape[1] < least:
            raise ValueError(
                f"a batch has {frames.shape[1]} frames, at least {least} are needed with context={self.context} and "
                f"rollout_frames={self.rollout_frames}: choose a shorter context or longer windows"
            )
        if mask is not None:
            if mask.dtype != torch.bool:
                raise TypeError(f"mask must be bool, True where a cell counts, got {mask.dtype}")
            if mask.shape not in (frames.shape[-2:], frames.shape[-3:]):
                raise ValueError(
                    f"mask {tuple(mask.shape)} must be (height, width) or (channel, height, width) of the frames, "
                    f"{tuple(frames.shape[-3:])}"
                )
        if thorough:
            self._check_values(frames, mask)
        return _kept(frames, mask), mask

    def _check_values(self, frames: Tensor, mask: Tensor | None) -> None:
        if mask is not None and not bool(mask.any()):
            raise ValueError("mask covers everything: it must be True where a cell counts, and some cell must")
        if self.value_range is None:
            return
        counted = frames if mask is None else frames.masked_fill(~mask, self.value_range[0])
        (low, high), (least, largest) = self.value_range, map(float, counted.aminmax())
        slack = 1e-5 * (high - low)  # rounding of what was scaled
        if least < low - slack or largest > high + slack:
            raise ValueError(
                f"frames reach from {least:.6g} to {largest:.6g}, beyond value_range={self.value_range}: scale them to "
                "it, or give value_range=None for fields without a range"
            )

    def _next_frames(self, frames: Tensor, *state: Any) -> tuple[Tensor, Any]:
        predictions, state_after = self.network(frames, *state)
        return self._of_shape(predictions, tuple(frames.shape), "predictions of the next frame"), state_after

    def _generated(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        context, target = frames[:, : self.context], frames[:, self.context :]
        given = {} if mask is None else {"mask": mask}
        generated = cast(Any, self.network).generate(context, target.shape[1], **given)
        return self._of_shape(generated, tuple(target.shape), "generated frames")

    def _of_shape(self, frames: Tensor, expected: tuple[int, ...], what: str) -> Tensor:
        if tuple(frames.shape) != expected:
            raise ValueError(f"{type(self.network).__name__} returned {what} {tuple(frames.shape)}, not {expected}")
        return frames

    def _loss_with_rollout(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Return the loss of all next frames plus that of frames generated, with gradients, after the context."""
        observed, state = self._next_frames(frames[:, : self.context])
        following = frames[:, self.context : -1]
        predictions = [observed] + ([self._next_frames(following, state)[0]] if following.shape[1] else [])
        generated, step = [observed[:, -1]], self._stepper()
        while len(generated) < self.rollout_frames:
            frame, state = step(_kept(generated[-1], mask), state)
            generated.append(self._of_shape(frame, tuple(frames[:, 0].shape), "a generated frame"))
        target = frames[:, self.context : self.context + self.rollout_frames]
        next_frames = self._loss_of(torch.cat(predictions, 1), frames[:, 1:], mask)
        return next_frames + self._loss_of(torch.stack(generated, 1), target, mask)

    def _stepper(self) -> Callable[[Tensor, Any], tuple[Tensor, Any]]:
        """Return what takes a frame and a state to the next frame and state."""
        make = getattr(self.network, "stepper", None)
        if make is not None:
            return make()

        def step(frame: Tensor, state: Any) -> tuple[Tensor, Any]:
            prediction, state = self.network(frame[:, None], state)
            return prediction[:, 0], state

        return step

    def _loss_of(self, predictions: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        squared, absolute = LOSSES[self.loss]
        difference = _kept(predictions - target, mask)
        errors = squared * difference.square() + absolute * difference.abs()
        loss = errors.mean() if mask is None else errors.mean() / mask.expand(target.shape[-3:]).float().mean()
        return loss if self.reduction == "mean" else loss * target.shape[-3] * target.shape[-1]

    def _evaluate(self, batch: dict[str, Tensor], name: str, errors: FrameErrors, one_step: FrameErrors) -> None:
        frames, mask = self._read(batch, self.context + 1)
        next_frames = self._next_frames(frames[:, :-1])[0]
        self._log(name, self._loss_of(next_frames, frames[:, 1:], mask), frames)
        target, scaler = frames[:, self.context :], self._scaler()
        errors.update(self._generated(frames, mask), target, mask, scaler)
        one_step.update(next_frames[:, self.context - 1 :], target, mask, scaler)

    def _scaler(self) -> Any:
        return getattr(getattr(self.trainer, "datamodule", None), "scaler", None)

    def _log_errors(self, stage: str, errors: FrameErrors, one_step: FrameErrors) -> dict[str, Tensor]:
        """Log means over the horizon and return the errors by step."""
        by_step = errors.compute() | {f"one_step_{name}": value for name, value in one_step.compute().items()}
        for metric in (errors, one_step):
            metric.reset()
        means = {name: value.mean() for name, value in by_step.items()}
        if self.value_range is not None:
            means["psnr_of_mse"] = -10 * torch.log10(means["mse"])
        shown = [name for name in means if not name.startswith("one_step_")] + ["one_step_mse"]
        self.log_dict({f"{stage}/{name}": means[name] for name in shown})
        return by_step

    def _log(self, name: str, value: Tensor, frames: Tensor) -> None:
        distributed = not name.startswith("train")
        self.log(
            name, value, on_step=False, on_epoch=True, batch_size=len(frames), prog_bar=True, sync_dist=distributed
        )


def _kept(frames: Tensor, mask: Tensor | None) -> Tensor:
    """Return frames with 0 where they do not count."""
    return frames if mask is None else torch.where(mask, frames, 0.0)  # a product would keep NaN
