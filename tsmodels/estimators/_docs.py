"""Docstrings of the estimators, put together from the network's and the table of training arguments."""

import inspect
import re
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from tsmodels.estimators._training import Argument

__all__ = ["estimator_docstring"]

_WIDTH = 116  # inside an indented class docstring of 120 columns
_KEPT_SECTIONS = ("Notes", "References")

_ATTRIBUTES = """\
classes_ : ndarray of shape (n_classes,)
    The labels, in the dtype of `y`; the columns of `predict_proba` follow their order.
network_ : torch.nn.Module
    The trained network, on the CPU, in eval mode. It takes scaled series (batch, time, channel).
scaler_ : PanelScaler
    Fitted on the training cases.
history_ : dict
    ``epochs`` (number run), ``best_epoch`` (from 0) and ``best_value`` (None without validation), and ``curves``, the
    losses and accuracies by epoch.
n_channels_, n_timepoints_ : int
    Of the training cases; ``n_timepoints_`` is the longest.
n_parameters_ : int
    Number of trainable parameters of the network."""

_EXAMPLE = """\
>>> import numpy as np
>>> from {module} import {name}
>>> X = np.random.default_rng(0).normal(size=(12, 2, 20))  # case, channel, time
>>> y = np.repeat(["no", "yes"], 6)
>>> estimator = {name}(max_epochs=1, accelerator="cpu", random_state=0)
>>> estimator.fit(X, y).predict(X).shape
(12,)"""


def estimator_docstring(
    network_class: type[nn.Module],
    choices: Mapping[str, inspect.Parameter],
    arguments: "Mapping[str, Argument]",
    name: str,
    module: str,
    accepted: frozenset[str],
) -> str:
    """Return a numpydoc docstring that describes every argument with its default.

    Parameters
    ----------
    network_class : type of nn.Module
        Its summary, "Parameters" entries of the choices, "Notes" and "References" are taken over.
    choices : mapping of str to inspect.Parameter
        The network's keyword-only arguments.
    arguments : mapping of str to Argument
        The estimator's own.
    name, module : str
        Where the class will be found.
    accepted : frozenset of str
        Optional inputs of the network, which say what data it takes.

    Returns
    -------
    str
        The docstring.
    """
    sections = _sections(inspect.cleandoc(network_class.__doc__ or ""))
    described = _entries(sections.get("Parameters", ""))
    entries = [_choice_entry(choice, parameter, described) for choice, parameter in choices.items()]
    entries += [_argument_entry(key, argument) for key, argument in arguments.items()]
    body = {
        "Parameters": "\n".join(entries),
        "Attributes": _ATTRIBUTES,
        **{title: sections[title] for title in _KEPT_SECTIONS if title in sections},
        "Examples": _EXAMPLE.format(module=_public(module), name=name),
    }
    # what the tensors of a network look like is of no concern here: an estimator has axes of its own
    lead = [text for text in sections[""].split("\n\n") if text and not text.startswith("Shapes:")]
    parts = [*lead, _about(network_class, accepted)]
    return "\n\n".join(parts + [f"{title}\n{'-' * len(title)}\n{text}" for title, text in body.items()]) + "\n"


def _about(network_class: type[nn.Module], accepted: frozenset[str]) -> str:
    lengths = "of equal or unequal length" if "lengths" in accepted else "of equal length"
    missing = "NaN is taken as missing" if "mask" in accepted else "without missing values"
    path = f"{network_class.__module__}.{network_class.__qualname__}"
    text = (
        f"An sktime classifier over :class:`{path}`. It takes numpy3D arrays (case, channel, time) and the other panel "
        f"containers of sktime, with one channel or several, {lengths}; {missing}. Labels are strings, integers or "
        "booleans."
    )
    return textwrap.fill(text, _WIDTH)


def _public(module: str) -> str:
    package = "tsmodels.estimators"  # its modules are where the classes live, not where they are imported from
    return package if module.startswith(f"{package}.") else module


def _sections(doc: str) -> dict[str, str]:
    """Split a numpydoc docstring by its underlined titles; what comes before the first has the title ""."""
    pieces = re.split(r"^(\S[^\n]*)\n-{3,}[ ]*$", doc, flags=re.MULTILINE)
    return {title: text.strip("\n") for title, text in zip(["", *pieces[1::2]], pieces[0::2], strict=True)}


def _entries(parameters: str) -> dict[str, tuple[str, str]]:
    """Return {name: (type, indented description)} of a "Parameters" section; "a, b : int" describes both."""
    entries: dict[str, tuple[str, str]] = {}
    for head, text in re.findall(r"^(\S[^\n]*)((?:\n[ \t]+[^\n]*|\n(?=\n|[ \t]))*)", parameters, flags=re.MULTILINE):
        names, _, kind = head.partition(":")
        for name in names.split(","):
            entries[name.strip()] = kind.strip(), text.strip("\n").rstrip()
    return entries


def _choice_entry(name: str, parameter: inspect.Parameter, described: Mapping[str, tuple[str, str]]) -> str:
    kind, text = described.get(name, ("", "    Passed on to the network."))
    kind = re.sub(r",?\s*(default\b.*|optional)$", "", kind)  # the signature knows better
    return f"{name} : {kind}, default={parameter.default!r}\n{text}".replace(" : ,", " :")


def _argument_entry(name: str, argument: "Argument") -> str:
    indent = " " * 4
    text = textwrap.fill(argument.doc, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    return f"{name} : {argument.type}, default={argument.default!r}\n{text}"
