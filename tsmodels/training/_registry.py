"""What the training commands know about each kind of task: a row of ``TASK_KINDS``.

A row says which facts of the data a network and a task are built from, so that nobody has to write them into a
configuration, which number decides what the best checkpoint is, and what a file of predictions holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["TASK_KINDS", "TaskKind", "import_choices", "kind_of", "linked_facts"]

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class TaskKind:
    """How a task is built and read by a command that knows it by name only.

    Attributes
    ----------
    predictions : callable
        ``predictions(task, data, outputs)``: the arrays by name that are written of what ``predict_step`` returned, a
        list with one tensor for each batch.
    network_facts, task_facts : tuple of str
        Attributes of the datamodule that are constructor arguments, of the same name, of the network and of the task.
        One that a datamodule or a network does not have is passed over.
    monitor : str
        The logged number that is lowest for the best checkpoint.
    network_choices : callable
        ``network_choices(arguments)``: constructor arguments of the network that follow from those of the task.
    """

    predictions: Callable[[Any, Any, Sequence[Tensor]], Arrays]
    network_facts: tuple[str, ...]
    task_facts: tuple[str, ...] = ()
    monitor: str = "val/loss"
    network_choices: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda arguments: {}


def import_choices() -> dict[str, list[str]]:
    """Import all that a configuration may name, so that short names are found.

    Returns
    -------
    dict
        Exported names of ``"tasks"``, ``"networks"`` and ``"datamodules"``.
    """
    from lightning.pytorch import LightningDataModule, LightningModule

    import tsmodels_datamodules
    from tsmodels import models, tasks

    def classes(module: Any, base: type) -> list[str]:
        found = {name: getattr(module, name) for name in module.__all__}
        return sorted(name for name, each in found.items() if isinstance(each, type) and issubclass(each, base))

    return {
        "tasks": classes(tasks, LightningModule),
        "networks": classes(models, torch.nn.Module),
        "datamodules": classes(tsmodels_datamodules, LightningDataModule),
    }


def kind_of(task: type) -> TaskKind:
    """Return the row of a task or of the task it derives from.

    Raises
    ------
    ValueError
        If there is none.
    """
    for cls in task.__mro__:
        if cls.__name__ in TASK_KINDS:
            return TASK_KINDS[cls.__name__]
    raise ValueError(f"{task.__name__} is none of the tasks {', '.join(TASK_KINDS)}, nor derived from one of them")


def linked_facts() -> list[tuple[str, str]]:
    """Return all facts, each as (attribute of the datamodule, key of the argument that is built from it)."""
    rows = TASK_KINDS.values()
    network = dict.fromkeys(fact for row in rows for fact in row.network_facts)
    task = dict.fromkeys(fact for row in rows for fact in row.task_facts)
    return [(fact, f"model.init_args.network.init_args.{fact}") for fact in network] + [
        (fact, f"model.init_args.{fact}") for fact in task
    ]


def _classes(task: Any, data: Any, outputs: Sequence[Tensor]) -> Arrays:
    probabilities = _joined(outputs).numpy()
    classes = np.asarray(getattr(data, "classes_", range(probabilities.shape[1])))
    if classes.dtype == object:  # numpy would pickle it
        classes = classes.astype(str)
    return {"labels": classes[probabilities.argmax(1)], "probabilities": probabilities, "classes": classes}


def _forecasts(task: Any, data: Any, outputs: Sequence[Tensor]) -> Arrays:
    raw = _joined(outputs)
    inverse = _inverse(data)
    forecasts = inverse(task.forecasts.point(raw)).numpy()
    names = getattr(data, "channel_names", range(forecasts.shape[-1]))
    arrays = {"forecasts": forecasts, "channels": np.asarray(names, str)}
    if task.forecasts.levels or task.forecasts.is_distribution:
        levels = task.forecasts.levels or _LEVELS
        by_level = torch.from_numpy(task.forecasts.quantiles(raw, levels)).unbind(-1)
        arrays |= {"quantiles": torch.stack([inverse(each) for each in by_level], -1).numpy()}
        arrays |= {"levels": np.asarray(levels)}
    return arrays


_LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)  # of the quantiles that are written of a distribution


def _forecast_head(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return how many numbers a network has to give for each step: the loss of the task decides."""
    from tsmodels.tasks._forecasts import Forecasts

    forecasts = Forecasts(*(arguments[name] for name in ("loss", "quantiles", "seasonality")))
    return {"n_outputs": forecasts.n_outputs, "distribution": forecasts.is_distribution}


def _orbits(task: Any, data: Any, outputs: Sequence[Tensor]) -> Arrays:
    """Return the free run from the first point of each test series."""
    return {f"orbit_{k}": _inverse(data)(output[0].cpu()).numpy() for k, output in enumerate(outputs)}


def _frames(task: Any, data: Any, outputs: Sequence[Tensor]) -> Arrays:
    """Return the frames generated after the context of each test window, in the units of the data where they have."""
    frames = _joined(outputs)
    if not hasattr(data, "to_units"):
        return {"frames": frames.numpy()}
    start = torch.cat([batch["start"] for batch in data.test_dataloader()])[: len(frames)] + data.context
    return {"frames": data.to_units(frames, start).numpy(), "start": start.numpy()}


def _reconstructions(task: Any, data: Any, outputs: Sequence[Tensor]) -> Arrays:
    return {"reconstructions": _inverse(data)(_joined(outputs)).numpy()}


def _inverse(data: Any) -> Callable[[Tensor], Tensor]:
    """Return what brings values back to the units before scaling: nothing for data without a ``scaler``."""
    return data.scaler.inverse if hasattr(data, "scaler") else lambda values: values


def _joined(outputs: Sequence[Tensor]) -> Tensor:
    return torch.cat([output.float().cpu() for output in outputs])


TASK_KINDS: dict[str, TaskKind] = {
    "ClassificationTask": TaskKind(
        _classes, network_facts=("n_channels", "n_timepoints", "n_classes"), task_facts=("n_classes",)
    ),
    "ForecastingTask": TaskKind(
        _forecasts,
        network_facts=("n_channels", "lookback", "horizon", "n_exogenous", "n_past", "n_static"),
        network_choices=_forecast_head,
    ),
    "DynamicsTask": TaskKind(_orbits, network_facts=("n_channels", "n_inputs"), monitor="val/d_stsp"),
    "FramesTask": TaskKind(_frames, network_facts=("n_channels", "height", "width"), task_facts=("context",)),
    "ReconstructionTask": TaskKind(_reconstructions, network_facts=("n_channels", "n_timepoints")),
}
