"""What a network was built with, as plain values, and how to build it again.

A checkpoint that loads with ``weights_only=True`` may hold plain values only. So a network does not travel in it as an
object: it records the name of its class and its constructor arguments, and :func:`build` looks that name up among the
networks this package exports, and nowhere else. A file can therefore never name code to run.
"""

import functools
import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

__all__ = ["build", "config_of", "records_config"]

_Network = TypeVar("_Network", bound=type[nn.Module])
_PLAIN = (type(None), bool, int, float, str, torch.dtype)


def records_config(cls: _Network) -> _Network:
    """Class decorator: instances keep their constructor arguments as ``config``.

    Parameters
    ----------
    cls : type of nn.Module
        The network class. Its constructor arguments must be plain values: None, bool, int, float, str,
        ``torch.dtype``, and tuples, lists and dicts of these. Numpy scalars are recorded as Python numbers.

    Returns
    -------
    type of nn.Module
        The same class. ``network.config`` is ``{"class_path": str, "init_args": dict}`` with every argument by name,
        defaults included. A subclass has no config unless it is decorated itself.

    Raises
    ------
    TypeError
        When an instance is made with an argument that is not a plain value, or with ``*args`` or ``**kwargs``.
    """
    init, signature = cls.__init__, inspect.signature(cls.__init__)
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{cls.__name__} takes *{parameter.name}; a recorded network names every argument")

    @functools.wraps(init)
    def __init__(self, *args, **kwargs):
        if type(self) is not cls:  # a subclass records its own arguments, or none
            init(self, *args, **kwargs)
            return
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        _, *arguments = bound.arguments.items()  # all but self
        config = {name: _plain(value, f"argument {name!r} of {cls.__name__}") for name, value in arguments}
        init(self, *args, **kwargs)
        object.__setattr__(self, "config", {"class_path": _path_of(cls), "init_args": config})

    cls.__init__ = __init__
    return cls


def config_of(network: nn.Module) -> dict[str, Any]:
    """Return what a checkpoint stores in place of a network.

    Parameters
    ----------
    network : nn.Module
        Any network.

    Returns
    -------
    dict
        ``network.config`` if it was recorded, else the name of its class with ``init_args`` None, from which
        :func:`build` makes an error that names the class.
    """
    config = getattr(network, "config", None)
    if isinstance(config, dict) and set(config) == {"class_path", "init_args"}:
        return config
    return {"class_path": _path_of(type(network)), "init_args": None}


def build(config: Mapping[str, Any]) -> nn.Module:
    """Build an exported network of this package from its recorded configuration.

    Parameters
    ----------
    config : mapping
        ``{"class_path": str, "init_args": dict}``. The class path is either where the class is defined
        (``tsmodels.models.chimera.ChimeraForClassification``) or where it is exported
        (``tsmodels.models.ChimeraForClassification``).

    Returns
    -------
    nn.Module
        A network with freshly drawn weights.

    Raises
    ------
    ValueError
        If the class path names none of the networks in ``tsmodels.models.__all__``, or the arguments were not
        recorded. Nothing outside ``tsmodels.models`` is ever imported or called.
    """
    unknown = set(config) - {"class_path", "init_args"}
    if "class_path" not in config or unknown:
        raise ValueError(f"a network configuration has the keys 'class_path' and 'init_args', got {sorted(config)}")
    cls = _exported(config["class_path"])
    arguments = config.get("init_args", {})
    if cls is None or arguments is None:
        raise ValueError(
            f"cannot build the network {config['class_path']!r}: only networks exported by tsmodels.models are built "
            "from a configuration. Make the network yourself and pass it, for example "
            "load_from_checkpoint(path, network=network)"
        )
    return cls(**arguments)


def _exported(class_path: object) -> type[nn.Module] | None:
    from tsmodels import models

    if not isinstance(class_path, str):
        return None
    module, _, name = class_path.rpartition(".")
    if name not in models.__all__:  # before getattr: an arbitrary attribute of the package is no network
        return None
    cls = getattr(models, name)
    is_network = isinstance(cls, type) and issubclass(cls, nn.Module)
    return cls if is_network and module in (cls.__module__, models.__name__) else None


def _path_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in _PLAIN:  # not a subclass: a str enumeration is pickled by the name of its class
        return value
    if isinstance(value, tuple):
        return tuple(_plain(item, where) for item in value)
    if isinstance(value, list):
        return [_plain(item, where) for item in value]
    if isinstance(value, dict):
        return {_plain(key, where): _plain(item, where) for key, item in value.items()}
    raise TypeError(
        f"{where} is a {type(value).__name__}; a network is rebuilt from plain values (None, bool, int, float, str, "
        "torch.dtype, and tuples, lists and dicts of them)"
    )
