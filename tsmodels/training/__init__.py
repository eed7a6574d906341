"""The commands ``tsmodels fit``, ``validate``, ``test`` and ``predict``: a task, a network and data by configuration.

They are Lightning's ``LightningCLI`` over the tasks, networks and datamodules of this package, see
``_command.py``. What depends on the kind of task stands in ``_registry.py``, what may be written for
data in ``_data.py``. Importing this module imports nothing heavy.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence

from tsmodels.benchmark import BenchmarkError, RequestError

__all__ = ["COMMANDS", "DEFAULT_OUTPUT", "DEFAULT_SEED", "main"]

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
DEFAULT_OUTPUT = "tsmodels-runs"
DEFAULT_SEED = 42
_DEBUG = "JSONARGPARSE_DEBUG"  # jsonargparse's own: errors keep their traceback

_HARMLESS = (
    r"You defined a `validation_step` but have no `val_dataloader`",  # the last epoch is kept then
    r"Total length of `list` across ranks is zero",  # a fast_dev_run without validation data
    r"Checkpoint directory .* exists and is not empty",  # a run that goes on
    r"Be aware that when using `ckpt_path`",  # only fit has checkpoints to make
    r"\s*By default only one JsonargparseDeprecationWarning",  # Lightning's own use of jsonargparse, as the next
    r"[\s\S]*was\s+deprecated\s+in\s+v4[\s\S]*removed\s+in\s+v5",
)

COMMANDS = {
    "fit": "train a network, with checkpoints of the best and of the last epoch",
    "validate": "measure a checkpoint on the validation data",
    "test": "measure a checkpoint on the test data",
    "predict": "write the predictions of a checkpoint to a file",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands ``fit``, ``validate``, ``test`` and ``predict``.

    Parameters
    ----------
    argv : sequence of str, optional
        The name of the command and its arguments. By default those of the process.

    Returns
    -------
    int
        0 if all is well; 1 if the training diverged; 2 for wrong arguments, data or folders; 130 if interrupted.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    name = " ".join(["tsmodels", *(argument for argument in argv[:1] if argument in COMMANDS)])
    try:
        _run(argv)
    except KeyboardInterrupt:
        return _fail(name, "interrupted. --ckpt_path of a checkpoint of the run goes on from there", EXIT_INTERRUPTED)
    except SystemExit as error:  # of the parser, after --help or --print_config
        return error.code if isinstance(error.code, int) else EXIT_OK
    except FloatingPointError as error:
        return _fail(name, str(error), EXIT_FAILED)
    except (ValueError, TypeError, OSError, ImportError, *_misconfigurations()) as error:
        # what this package and Lightning raise about arguments and data, their messages say what to do
        if os.environ.get(_DEBUG):
            raise
        return _fail(name, _message(error), EXIT_USAGE)
    return EXIT_OK


def _fail(name: str, message: str, code: int) -> int:
    sys.stderr.write(f"{name}: {message}\n")
    return code


def _message(error: BaseException) -> str:
    """Return what to tell about an error: jsonargparse wraps those of constructors, and the arguments, into its own."""
    while (cause := error.__cause__) is not None and _raised_in(error).startswith("jsonargparse"):
        error = cause
    return str(error) if isinstance(error, BenchmarkError) else f"{error} (with {_DEBUG}=1 you see where)"


def _raised_in(error: BaseException) -> str:
    """Return the name of the module that raised an error."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return frame.f_globals["__name__"]


def _misconfigurations() -> tuple[type[Exception], ...]:
    # only if Lightning was imported can it have raised its own
    module = sys.modules.get("lightning.fabric.utilities.exceptions")
    return () if module is None else (module.MisconfigurationException,)


def _run(argv: list[str]) -> None:
    for package in ("jsonargparse", "docstring_parser"):
        if importlib.util.find_spec(package) is None:
            raise RequestError(
                f"this needs the package {package!r}, which is not installed: pip install 'tsmodels[cli]'"
            )
    from lightning.pytorch import LightningDataModule

    from tsmodels.estimators._training import interruptible, quiet
    from tsmodels.tasks._base import NetTask
    from tsmodels.training._command import TrainingCLI
    from tsmodels.training._registry import import_choices

    choices = import_choices()
    with quiet(verbose=False), interruptible():
        for message in _HARMLESS:
            warnings.filterwarnings("ignore", message=message)
        TrainingCLI(
            NetTask,
            LightningDataModule,
            args=argv,
            subclass_mode_model=True,
            subclass_mode_data=True,
            seed_everything_default=DEFAULT_SEED,
            save_config_kwargs={"overwrite": True},
            trainer_defaults={"default_root_dir": DEFAULT_OUTPUT},
            parser_kwargs={"prog": "tsmodels"} | {name: {"description": _help(name, choices)} for name in COMMANDS},
            # tasks choose optimiser and schedule by name, and record by themselves what they were built with
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )


def _help(command: str, choices: Mapping[str, Sequence[str]]) -> str:
    names = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in choices.items())
    return (
        f"{COMMANDS[command].capitalize()}. Options come from YAML files (--config) and from the command line. Classes "
        f"are named by a short name or by their class path. Known are {names}. Numbers that follow from the data "
        "(n_channels, n_classes, lookback, ...) are filled in. All files go to --trainer.default_root_dir (default: "
        f"{DEFAULT_OUTPUT}). What a class takes: --model.help CLASS, --model.network.help CLASS, --data.help CLASS. "
        "Example: tsmodels fit --model ClassificationTask --model.network ChimeraForClassification "
        "--data ArchiveDataModule --data.name BasicMotions --trainer.max_epochs 20"
    )
