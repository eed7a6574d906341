"""A run written down in a YAML file: the options of the command, and models with parameters."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tsmodels.benchmark._errors import RequestError

__all__ = ["Request", "load_request"]


@dataclass(frozen=True)
class Request:
    """What a file asks for.

    Attributes
    ----------
    options : dict of str to object
        Options of ``tsmodels benchmark`` by their name with underscores, without the models.
    models : list or None
        Names, and mappings with ``class``, ``label`` and ``parameters``, as ``run_benchmark`` takes them.
    """

    options: dict[str, Any]
    models: list[Any] | None

    def arguments(self, *, without: Collection[str] = ()) -> list[str]:
        """Return the options as they would stand on a command line.

        Parameters
        ----------
        without : collection of str
            Names to leave out.
        """
        found = []
        for name, value in self.options.items():
            if name not in without and value is not None:
                found += _argument(name.replace("_", "-"), value)
        return found


def load_request(path: str | os.PathLike[str], known: Collection[str]) -> Request:
    """Read a file.

    Parameters
    ----------
    path : path
    known : collection of str
        Names of options, with underscores; the file may write them with hyphens.

    Returns
    -------
    Request

    Raises
    ------
    RequestError
        If the file cannot be read, is no mapping, or has an option that is not known.

    Examples
    --------
    A file of all that is there of the UCR archive, on ten splits::

        archive: UCR
        resamples: 10
        jobs: 4
        models:
          - MiniRocket
          - class: sktime.classification.kernel_based.RocketClassifier
            label: Rocket2000
            parameters: {num_kernels: 2000}
    """
    content = _read(Path(path))
    options = {str(name).replace("-", "_"): value for name, value in content.items()}
    if wrong := [name for name in options if name not in known]:
        raise RequestError(f"{path}: there is no option {wrong[0]!r}. There are: {', '.join(sorted(known))}.")
    models = options.pop("models", None)
    if isinstance(models, str):
        models = [models]
    if models is not None and not isinstance(models, list):
        raise RequestError(f"{path}: models must be a list.")
    return Request(options, models)


def _read(path: Path) -> Mapping[Any, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"cannot read {str(path)!r}: {error.strerror or error}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} is no YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(content, Mapping):
        raise RequestError(f"{path} must hold options by name, such as 'archive: UCR'.")
    return content


def _argument(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    if not isinstance(value, list):
        return [f"--{option}={value}"]
    # one number of a list is that number; standing alone it would be a count
    return [f"--{option}", *(f"{each}," if option == "seeds" else str(each) for each in value)]
