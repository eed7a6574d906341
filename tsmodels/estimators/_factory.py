"""The factory that makes an estimator class of a network class."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from sktime.classification.base import BaseClassifier
from torch import nn

from tsmodels.estimators._base import CLASSIFICATION, NetClassifier
from tsmodels.estimators._docs import estimator_docstring
from tsmodels.estimators._training import TRAINING, Argument
from tsmodels.tasks._inputs import accepted_inputs

__all__ = ["classifier"]

_FACTS = ("n_channels", "n_timepoints", "n_classes")
_SMALL_TRAINING: tuple[dict[str, Any], ...] = (
    {"max_epochs": 1, "accelerator": "cpu"},
    {"max_epochs": 2, "lr": 1e-2, "val_fraction": 0.3, "patience": 1, "accelerator": "cpu"},
)


def classifier(
    network_class: type[nn.Module],
    *,
    defaults: Mapping[str, Any] | None = None,
    test_params: Sequence[Mapping[str, Any]] = ({}, {}),
) -> type[NetClassifier]:
    """Make an sktime classifier of a network class.

    Assign the result to its own name, ``MyClassifier = classifier(MyForClassification)``, at the top level of a module:
    that is where pickle looks for it.

    Parameters
    ----------
    network_class : type of nn.Module
        Its constructor takes ``(n_channels, n_timepoints, n_classes)`` by position and its choices by keyword, each
        with a default. ``forward(x, lengths=None, mask=None)``, or a part of these arguments, returns logits (batch,
        n_classes) for ``x`` (batch, time, channel). Series of unequal length are supported if it takes ``lengths``
        (valid steps from the start), missing values if it takes ``mask`` (True = observed; ``x`` is 0 elsewhere).
        The class attribute ``accepts_any_length = True`` says that a trained network takes series of other lengths
        than those it was built for. Entries of its numpydoc "Parameters" go into the docstring.
    defaults : mapping, optional
        Other defaults for arguments of training and classification, such as ``{"lr": 3e-3}``.
    test_params : sequence of mappings, default=({}, {})
        Small choices of the network for sktime's test suite, at least two sets; the training arguments are made small
        already.

    Returns
    -------
    type of NetClassifier
        A class named as the network with "ForClassification" replaced by "Classifier". Its arguments are the network's
        choices, then ``scaling``, ``class_weight``, ``label_smoothing``, then the training arguments.

    Raises
    ------
    TypeError
        If the constructor has another form, a choice has the name of an argument or attribute of the estimator, or
        `defaults` names something else than these arguments.

    Examples
    --------
    >>> from torch import nn
    >>> from tsmodels.estimators import classifier
    >>> class LinearForClassification(nn.Module):
    ...     def __init__(self, n_channels, n_timepoints, n_classes, *, dropout=0.0):
    ...         super().__init__()
    ...         parts = nn.Flatten(), nn.Dropout(dropout), nn.Linear(n_channels * n_timepoints, n_classes)
    ...         self.network = nn.Sequential(*parts)
    ...
    ...     def forward(self, x):
    ...         return self.network(x)
    >>> LinearClassifier = classifier(LinearForClassification, defaults={"lr": 1e-2})
    >>> LinearClassifier(dropout=0.1)
    LinearClassifier(dropout=0.1)
    """
    arguments = _with_defaults(CLASSIFICATION | TRAINING, defaults or {}, network_class)
    choices = _checked_choices(network_class, arguments)
    accepted = accepted_inputs(network_class)
    tags: dict[str, Any] = {}
    if "lengths" in accepted:  # numpy3D passes untouched, all else arrives as a list of frames
        tags |= {"X_inner_mtype": ["df-list", "numpy3D"], "capability:unequal_length": True}
    if "mask" in accepted:
        tags |= {"capability:missing_values": True}

    name = network_class.__name__.removesuffix("ForClassification") + "Classifier"
    module = sys._getframe(1).f_globals.get("__name__", "__main__")
    parameters = [
        *(each.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in choices.values()),
        *(
            inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=argument.default)
            for key, argument in arguments.items()
        ),
    ]
    small = [_SMALL_TRAINING[index % 2] | dict(each) for index, each in enumerate(test_params)]
    namespace = {
        "__init__": _make_init(name, parameters),
        "__doc__": estimator_docstring(network_class, choices, arguments, name, module, accepted),
        "__module__": module,
        "_network_class": network_class,
        "_test_params": small,
    }
    return type(name, (NetClassifier,), namespace | ({"_tags": tags} if tags else {}))


def _make_init(name: str, parameters: list[inspect.Parameter]) -> Any:
    """Return a constructor with a real signature that does what sktime asks for: assign each argument, no more."""
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.Signature([this, *parameters])

    def __init__(self, *args, **kwargs):
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        for parameter in parameters:
            setattr(self, parameter.name, bound.arguments[parameter.name])
        BaseClassifier.__init__(self)

    __init__.__qualname__ = f"{name}.__init__"
    vars(__init__)["__signature__"] = signature  # this is what inspect reads, and through it sktime
    return __init__


def _choices(network_class: type[nn.Module]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(network_class).parameters
    return {name: each for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY}


def _checked_choices(network_class: type[nn.Module], arguments: Mapping[str, Argument]) -> dict[str, inspect.Parameter]:
    parameters, choices = inspect.signature(network_class).parameters, _choices(network_class)
    name = network_class.__name__
    facts = tuple(each for each in parameters if each not in choices)
    if facts != _FACTS:
        raise TypeError(f"{name} must take {_FACTS} by position and all else by keyword only; it takes {facts}")
    for choice, parameter in choices.items():
        if parameter.default is parameter.empty:
            raise TypeError(f"argument {choice!r} of {name} has no default: a keyword-only argument is a choice")
        if choice in arguments or hasattr(NetClassifier, choice):
            raise TypeError(f"argument {choice!r} of {name} belongs to the estimator: rename it in the network")
    return choices


def _with_defaults(
    arguments: Mapping[str, Argument], defaults: Mapping[str, Any], network_class: type[nn.Module]
) -> dict[str, Argument]:
    unknown = set(defaults) - set(arguments)
    if unknown:
        raise TypeError(
            f"defaults for {sorted(unknown)}: only {sorted(arguments)} can be given here, the defaults of the choices "
            f"stand in {network_class.__name__}"
        )
    return {key: each._replace(default=defaults.get(key, each.default)) for key, each in arguments.items()}
