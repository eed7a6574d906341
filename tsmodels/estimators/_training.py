"""What happens between an estimator's data and its fitted network: arguments, Trainer, random numbers, silence.

Nothing here imports Lightning before :func:`train` runs: importing, unpickling and predicting do without it.
"""

import contextlib
import logging
import numbers
import os
import signal
import tempfile
import threading
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from sklearn.utils import check_random_state
from torch import nn

if TYPE_CHECKING:
    import lightning.pytorch as L

__all__ = [
    "TRAINING",
    "Argument",
    "check_training",
    "draw_seed",
    "isolated",
    "quiet",
    "require_count",
    "require_finite",
    "resolve_device",
    "train",
]


class Argument(NamedTuple):
    """A constructor argument of an estimator: its default and how the docstring describes it."""

    default: Any
    type: str
    doc: str


TRAINING: dict[str, Argument] = {
    "max_epochs": Argument(100, "int", "Passes over the training cases."),
    "batch_size": Argument(32, "int", "Cases per optimiser step, and per batch in prediction."),
    "lr": Argument(
        1e-3,
        "float",
        "Peak learning rate of AdamW. It rises linearly over the first 5 % of the steps and falls to 0 on half a "
        "cosine over the rest of `max_epochs`.",
    ),
    "val_fraction": Argument(
        None,
        "float or None",
        "Share of the cases held out for validation, stratified by class. The network keeps the weights of the epoch "
        "with the lowest validation loss. None: all cases are trained on, the last weights are kept.",
    ),
    "patience": Argument(
        None,
        "int or None",
        "Stop when the validation loss has not fallen for this many epochs. Needs `val_fraction`.",
    ),
    "accelerator": Argument(
        "auto",
        '"auto", "cpu", "gpu", "cuda" or "mps"',
        'Where the network trains and predicts. "auto" takes a GPU if there is one. The fitted network is kept on the '
        "CPU either way.",
    ),
    "devices": Argument(
        1,
        "1 or list of one int",
        "The device, or a list with the index of one device. For training on several devices write a script with a "
        "Lightning `Trainer`, `tsmodels.tasks` and `tsmodels_datamodules`.",
    ),
    "precision": Argument(
        "32-true", "str or int", 'Precision of training, as Lightning names it: "32-true", "bf16-mixed", "64-true", ...'
    ),
    "gradient_clip_val": Argument(
        None, "float or None", "Gradients with a larger norm are scaled down to it. None: never."
    ),
    "verbose": Argument(False, "bool", "Show a progress bar, a summary of the network and Lightning's messages."),
    "trainer_kwargs": Argument(
        None,
        "dict or None",
        "Further arguments of `lightning.pytorch.Trainer`. They win over those derived from this estimator; "
        "`callbacks` are added to its own. Files are written only if a logger or checkpoints are asked for here.",
    ),
    "random_state": Argument(
        None,
        "int, RandomState or None",
        "Seed of initial weights, validation split, order of cases and dropout. None draws a seed from numpy's global "
        "generator. An int makes `fit` repeatable, whatever was drawn before; the global generators are left as they "
        "were.",
    ),
}

_SCRIPT = "write a script with a Lightning Trainer, a task of tsmodels.tasks and a datamodule of tsmodels_datamodules"


def check_training(training: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError if a training argument cannot be used.

    Parameters
    ----------
    training : mapping
        A value for each name in ``TRAINING``.
    """
    for name in ("max_epochs", "batch_size"):
        require_count(name, training[name])
    if not training["lr"] > 0:
        raise ValueError(f"lr must be positive, got {training['lr']!r}")
    fraction, patience = training["val_fraction"], training["patience"]
    if fraction is not None and not 0 <= fraction < 1:
        raise ValueError(f"val_fraction must be None or in [0, 1), got {fraction!r}")
    if patience is not None:
        require_count("patience", patience)
        if not fraction:
            raise ValueError("patience needs a validation loss: set val_fraction, for example val_fraction=0.2")
    _check_trainer_kwargs(training["trainer_kwargs"])


def resolve_device(accelerator: str, devices: Any) -> torch.device:
    """Return the one device an estimator works on.

    Parameters
    ----------
    accelerator : str
        "auto", "cpu", "gpu", "cuda" or "mps".
    devices : int or list of int
        1, or a list of one index.

    Returns
    -------
    torch.device
        With an index for CUDA.

    Raises
    ------
    ValueError
        If more than one device is asked for, the accelerator is unknown, or not present on this machine.
    """
    if isinstance(devices, list | tuple) and len(devices) == 1 and isinstance(devices[0], numbers.Integral):
        index = int(devices[0])
    elif devices == 1:
        index = 0
    else:
        raise ValueError(f"devices must be 1 or a list of one index, got {devices!r}; for several devices {_SCRIPT}")
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    candidates = {"auto": ["cuda", "mps", "cpu"], "gpu": ["cuda", "mps"]} | {name: [name] for name in present}
    if accelerator not in candidates:
        raise ValueError(f"accelerator must be one of {sorted(candidates)}, got {accelerator!r}; for others {_SCRIPT}")
    for name in candidates[accelerator]:
        if present[name]:
            return torch.device(name, index) if name == "cuda" else torch.device(name)
    raise ValueError(
        f"accelerator={accelerator!r}, but torch sees no such device here. Use accelerator='auto'; on a fitted "
        "estimator assign it, `estimator.accelerator = 'auto'`, since set_params would reset the estimator"
    )


def require_count(name: str, value: Any) -> None:
    """Raise ValueError unless an argument is a positive integer."""
    if not isinstance(value, numbers.Integral) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")


def require_finite(network: nn.Module, lr: float) -> None:
    """Raise FloatingPointError if a weight is not finite: a last step on a finite loss may have such a gradient."""
    if not all(torch.isfinite(each).all() for each in network.parameters()):
        raise FloatingPointError(
            f"training ended with weights that are not finite: lower the learning rate (lr={lr}) or set "
            "gradient_clip_val=1.0"
        )


def _check_trainer_kwargs(trainer_kwargs: Any) -> None:
    if trainer_kwargs is None:
        return
    if not isinstance(trainer_kwargs, Mapping):
        raise TypeError(f"trainer_kwargs must be a dict or None, got {type(trainer_kwargs).__name__}")
    for name in ("accelerator", "devices", "num_nodes"):
        if name in trainer_kwargs:
            raise ValueError(
                f"trainer_kwargs holds {name!r}: an estimator works on one device, which its own arguments "
                f"accelerator and devices choose for fit and predict; for several {_SCRIPT}"
            )
    for name, value in trainer_kwargs.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            if any(cls.__module__.partition(".")[0] == "pytorch_lightning" for cls in type(item).__mro__):
                raise TypeError(
                    f"trainer_kwargs[{name!r}] holds a {type(item).__name__} of the package pytorch_lightning, whose "
                    "classes are not those of lightning.pytorch: import it from lightning.pytorch"
                )


_ONE_FIT_AT_A_TIME = threading.RLock()  # generators, flags and warning filters belong to the process, not to a thread
_SET_BY_LIGHTNING = ("CUBLAS_WORKSPACE_CONFIG", "CUDA_DEVICE_ORDER")


def draw_seed(random_state: Any) -> int:
    """Return a seed: None draws it from numpy's global generator, an int fixes it, a RandomState is drawn from."""
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextlib.contextmanager
def isolated(seed: int, device: torch.device) -> Iterator[None]:
    """Run a block with torch seeded, and leave torch's generators and determinism settings as they were.

    Blocks of several threads run one after the other: otherwise each would draw from the other's generator.

    Parameters
    ----------
    seed : int
        Seed of the CPU generator and of the device's.
    device : torch.device
        The device that the block uses. A CUDA generator is touched for a CUDA device only: seeding it from a CPU fit
        would start CUDA, or leave our seed behind for when it starts.
    """
    cuda = [device] if device.type == "cuda" else []
    with _ONE_FIT_AT_A_TIME, torch.random.fork_rng(devices=cuda):
        only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
        deterministic, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
        environment = {name: os.environ.get(name) for name in _SET_BY_LIGHTNING}
        torch.default_generator.manual_seed(seed)
        for each in cuda:
            with torch.cuda.device(each):
                torch.cuda.manual_seed(seed)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(deterministic, warn_only=only_warn)
            torch.backends.cudnn.benchmark = benchmark
            for name, value in environment.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


# Once someone has imported the twin package, lightning.pytorch speaks through its logger: both share one variable.
_LOGGERS = ("lightning.pytorch", "lightning.fabric", "pytorch_lightning")
_HARMLESS = (
    r".*does not have many workers",  # in-memory tensors: one gather per batch, workers would only cost
    r".*The number of training batches \(\d+\) is smaller than the logging interval",  # we log once per epoch
    r".*isinstance\(treespec, LeafSpec\)",  # Lightning's own use of torch
)


@contextlib.contextmanager
def quiet(verbose: bool) -> Iterator[None]:
    """Run a block without Lightning's remarks on hardware and its advertisements; real warnings pass.

    Parameters
    ----------
    verbose : bool
        True keeps the messages, and still drops the warnings that do not apply to estimators.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _HARMLESS:
            warnings.filterwarnings("ignore", message=message)
        try:
            if not verbose:
                for logger in loggers:
                    logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C be a KeyboardInterrupt: Lightning makes it SystemExit(1) and leaves SIGINT ignored."""
    on_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if on_main else None
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if handler is not None:  # None also stands for a handler that was not set from Python
            signal.signal(signal.SIGINT, handler)


def train(
    task: "L.LightningModule", data: "L.LightningDataModule", training: Mapping[str, Any], device: torch.device
) -> dict[str, Any]:
    """Fit a task; with validation data it ends with the weights of the best epoch.

    Parameters
    ----------
    task : LightningModule
        Logs ``train/loss``, and ``val/loss`` if there are validation data.
    data : LightningDataModule
        Training and, with ``val_fraction``, validation cases.
    training : mapping
        A value for each name in ``TRAINING``.
    device : torch.device
        From :func:`resolve_device`.

    Returns
    -------
    dict
        ``epochs`` (number run), ``best_epoch`` (from 0) and ``best_value`` (its ``val/loss``), both None without
        validation, and ``curves``, the values of each logged quantity by epoch.
    """
    import lightning.pytorch as L
    from lightning.pytorch.callbacks import EarlyStopping

    from tsmodels.estimators._callbacks import KeepBest, RecordCurves

    best, record = KeepBest("val/loss"), RecordCurves()
    callbacks: list[L.Callback] = [record]
    if training["val_fraction"]:
        callbacks.append(best)
        if training["patience"] is not None:
            callbacks.append(EarlyStopping("val/loss", patience=int(training["patience"])))
    with tempfile.TemporaryDirectory() as scratch, quiet(training["verbose"]), interruptible():
        trainer = L.Trainer(**_trainer_arguments(training, device, callbacks, scratch))
        trainer.fit(task, datamodule=data)
    return {
        "epochs": record.n_epochs,
        "best_epoch": best.epoch,
        "best_value": None if best.epoch is None else best.value,
        "curves": record.curves,
    }


def _trainer_arguments(
    training: Mapping[str, Any], device: torch.device, callbacks: list["L.Callback"], scratch: str
) -> dict[str, Any]:
    """Map the arguments of an estimator to those of a Trainer, the user's own on top."""
    from lightning.pytorch.callbacks import Checkpoint
    from lightning.pytorch.plugins.environments import LightningEnvironment  # pyright: ignore[reportPrivateImportUsage]

    user = dict(training["trainer_kwargs"] or {})
    added = user.pop("callbacks", None) or []
    added = list(added) if isinstance(added, list | tuple) else [added]
    arguments = {
        "max_epochs": int(training["max_epochs"]),
        "accelerator": device.type,
        "devices": [device.index] if device.type == "cuda" else 1,
        "precision": training["precision"],
        "gradient_clip_val": training["gradient_clip_val"],
        "logger": False,
        "enable_checkpointing": any(isinstance(callback, Checkpoint) for callback in added),
        "enable_model_summary": bool(training["verbose"]),
        "enable_progress_bar": bool(training["verbose"]),
        "num_sanity_val_steps": 0,
        # a fit is one process, whatever the cluster job around it consists of
        "plugins": [LightningEnvironment()],
        **({} if training["val_fraction"] else {"limit_val_batches": 0}),
        **user,
        "callbacks": [*callbacks, *added],
    }
    if not (arguments["logger"] or arguments["enable_checkpointing"]):
        # nothing is to be kept, and nothing may appear in the working directory
        arguments.setdefault("default_root_dir", scratch)
    return arguments
