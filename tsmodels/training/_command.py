"""LightningCLI over the tasks, networks and datamodules of this package. Imports Lightning and jsonargparse."""

from __future__ import annotations

import difflib
import importlib
import inspect
import io
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger

from tsmodels.benchmark import OutputError, RequestError
from tsmodels.benchmark.results import write_atomically
from tsmodels.models._config import config_of
from tsmodels.training._data import ARRAY_ARGUMENTS, read_given
from tsmodels.training._registry import TaskKind, import_choices, kind_of, linked_facts

__all__ = ["TrainingCLI"]

_NETWORK = "model.init_args.network.init_args"
_NOISE = (  # what jsonargparse tells of the other types that an argument might have been of
    "Does not validate against any",
    "Subtypes:",
    "Errors:",
    "Given value",
    "Expected a path but",
    "Expected a <class 'NoneType'>",
)
_CHECKPOINT_WORDS = ("best", "last", "hpc", "registry")  # that Lightning takes in place of a path


class TrainingParser(LightningArgumentParser):
    """A parser with short messages, that reads the data which a configuration names."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise RequestError; the usage, fifty lines that say nothing about the mistake, is not printed."""
        if not self.exit_on_error:  # a parser inside of this one, whose errors this one reads
            super().error(message, ex)
        raise RequestError(readable(message)) from ex

    def instantiate_classes(self, cfg: Any, **kwargs: Any) -> Any:
        """Build all objects; what is saved of the configuration goes on naming the data."""
        cfg = cfg.clone()
        data = cfg[cfg.subcommand].data
        for name in ARRAY_ARGUMENTS.get(data.class_path.rpartition(".")[2], ()):
            if name in data.init_args:
                data.init_args[name] = read_given(data.init_args[name])
        return super().instantiate_classes(cfg, **kwargs)


class TrainingCLI(LightningCLI):
    """LightningCLI with the facts of the data linked, and all files of a run in one folder."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._needed: dict[str, str] = {}  # facts of the data without which there is no network, and who needs them
        super().__init__(*args, parser_class=TrainingParser, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Link what networks and tasks are built from to the facts of the data."""
        parser.link_arguments("data", f"{_NETWORK}.n_channels", self._n_channels, apply_on="instantiate")
        for fact, argument in linked_facts():
            parser.link_arguments(f"data.{fact}", argument, apply_on="instantiate")
        parser.link_arguments("trainer.default_root_dir", "trainer.logger.init_args.save_dir")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the arguments; Lightning's method warns where the process has arguments too."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration as it was given: Lightning's puts on top what a checkpoint was built with."""

    def before_instantiate_classes(self) -> None:
        """Check that network and task belong together, and set what of the network follows from the task."""
        options = self.config[str(self.subcommand)]
        if self.subcommand != "fit" and not options.ckpt_path:
            raise RequestError("--ckpt_path is missing: an untrained network has nothing to say about the data.")
        arguments = options.model.init_args
        task, network = (_imported(each.class_path) for each in (options.model, arguments.network))
        kind = kind_of(task)
        _check_match(task, network, kind)
        self._needed = dict.fromkeys(_required(network), network.__name__)
        self._needed |= {fact: task.__name__ for fact in kind.task_facts if fact in _required(task)}
        for name, value in kind.network_choices(arguments).items():
            if name in arguments.network.init_args:
                arguments.network.init_args[name] = value

    def _n_channels(self, data: Any) -> int:
        # a link whose datamodule lacks the attribute is passed over in silence, and None reaches the constructor
        for fact, owner in self._needed.items():
            if not hasattr(data, fact):
                remedy = "choose other data" if _is_ours(type(data)) else "set it in the constructor, not in setup"
                raise RequestError(f"{type(data).__name__} has no {fact}, which {owner} is built from: {remedy}.")
        return data.n_channels

    def after_instantiate_classes(self) -> None:
        """Check that a checkpoint is of the network that was configured."""
        path = self.config[str(self.subcommand)].ckpt_path
        if path and path not in _CHECKPOINT_WORDS:
            _check_checkpoint(Path(path), self.model)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Make the Trainer, by default with a CSV logger and checkpoints of the best and the last epoch."""
        given = self._get(self.config_init, "trainer")
        if given.logger in (None, True):
            # in full, as Lightning keeps it for checkpoints: a run that goes on compares the two
            kwargs["logger"] = CSVLogger(Path(given.default_root_dir).resolve(), name=type(self.model.network).__name__)
        has_validation = _has_validation(self.datamodule)
        if not has_validation:
            kwargs["limit_val_batches"] = 0  # what Lightning's warning about it advises
        callbacks = _as_list(given.callbacks)
        wanted = self.subcommand == "fit" and given.enable_checkpointing is not False and not given.fast_dev_run
        if wanted and not any(isinstance(each, Checkpoint) for each in callbacks):
            callbacks.append(self._checkpoints(has_validation and given.limit_val_batches != 0))
        return super().instantiate_trainer(**kwargs, callbacks=callbacks)

    def _checkpoints(self, has_validation: bool) -> Callback:
        # a run that goes on keeps its folder of checkpoints: the best epoch may lie before the interruption
        path = self.config[str(self.subcommand)].ckpt_path
        folder = Path(path).parent if path and path not in _CHECKPOINT_WORDS else None
        if has_validation:
            monitor = kind_of(type(self.model)).monitor
            return ModelCheckpoint(folder, filename="best", monitor=monitor, save_last=True)
        return ModelCheckpoint(folder, filename="last", enable_version_counter=False)

    def after_fit(self) -> None:
        """Say where the checkpoints are."""
        for callback in self.trainer.checkpoint_callbacks:
            if path := getattr(callback, "best_model_path", ""):
                _say(f"Checkpoint: {path}")

    def predict(self, model: Any, datamodule: Any, **options: Any) -> None:
        """Write the predictions of the data for prediction to a file, of the test data where there are no such."""
        if self.trainer.world_size > 1:
            raise RequestError("predictions are made by one process: choose --trainer.devices 1.")
        data = {"datamodule": datamodule}
        if type(datamodule).predict_dataloader is LightningDataModule.predict_dataloader:
            datamodule.prepare_data()  # the Trainer does that for what it is given whole
            datamodule.setup("test")
            data = {"dataloaders": datamodule.test_dataloader()}
        outputs: Any = self.trainer.predict(model, **data, **options)
        path = Path(self.trainer.log_dir or self.trainer.default_root_dir) / "predictions.npz"
        _save_arrays(path, kind_of(type(model)).predictions(model, datamodule, outputs))
        _say(f"Predictions: {path}")


def readable(message: str) -> str:
    """Return what a message of jsonargparse says about the mistake, in one line."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    text = " ".join(line for line in lines if line and not line.startswith(_NOISE))
    return re.sub(r"Expected a dot import path string: (\S+)", lambda found: _unknown(found[1]), text)


def _has_validation(datamodule: LightningDataModule) -> bool:
    """Whether there are validation data, as far as it can be told before the datamodule is set up."""
    cls = type(datamodule)
    if cls.val_dataloader is LightningDataModule.val_dataloader:
        return False
    # ours need no setup, and give an empty list where they hold nothing back
    return not _is_ours(cls) or bool(datamodule.val_dataloader())


def _is_ours(datamodule: type) -> bool:
    return datamodule.__module__.startswith("tsmodels_datamodules")


def _unknown(name: str) -> str:
    known = [each for names in import_choices().values() for each in names]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}."
    return f"there is no class {name!r}, {hint}"


def _imported(class_path: str) -> type:
    module, _, name = class_path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _required(cls: type) -> list[str]:
    """Return the names of the constructor arguments without a default, but for the network of a task."""
    parameters = inspect.signature(cls).parameters.values()
    return [each.name for each in parameters if each.default is each.empty and each.name != "network"]


def _check_match(task: type, network: type, kind: TaskKind) -> None:
    unknown = [name for name in _required(network) if name not in kind.network_facts]
    if network.__module__.startswith("tsmodels.") and unknown:
        raise RequestError(
            f"{network.__name__} is no network for {task.__name__}: it is built from {', '.join(unknown)}."
        )


def _as_list(callbacks: Any) -> list[Any]:
    return [] if callbacks is None else list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]


def _check_checkpoint(path: Path, task: Any) -> None:
    if not path.is_file():
        raise RequestError(f"--ckpt_path: there is no file {str(path)!r}.")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)["hyper_parameters"]["network"]
    except Exception as error:  # torch raises errors of many kinds about files that are none of its own
        raise RequestError(f"--ckpt_path: {str(path)!r} is no checkpoint of a task of this package: {error}") from error
    wanted = config_of(task.network)
    before, now = ({"class_path": each["class_path"], **(each["init_args"] or {})} for each in (saved, wanted))
    if differing := [name for name in now if before.get(name) != now[name]]:
        differences = "; ".join(f"{name} is {before.get(name)!r}, not {now[name]!r}" for name in differing)
        raise RequestError(
            f"--ckpt_path: {str(path)!r} holds another network than is configured: {differences}. Take the config.yaml "
            "of the run that wrote it."
        )


def _save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **dict(arrays))  # pyright: ignore[reportArgumentType]  # its stub has no **arrays
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {path.parent}: {error.strerror or error}.") from error
    write_atomically(path, content.getvalue())


def _say(message: str) -> None:
    sys.stdout.write(f"{message}\n")
