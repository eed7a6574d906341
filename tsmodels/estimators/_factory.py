"""The factories that make an estimator class of a network class."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import nn

from tsmodels.estimators._base import AUTO_EPOCHS, AUTO_STEPS, CLASSIFICATION, NetClassifier
from tsmodels.estimators._detector import DETECTION, NetDetector
from tsmodels.estimators._docs import CLASSIFIER, DETECTOR, EXPLAINED, FORECASTER, Kind, estimator_docstring
from tsmodels.estimators._explained import ExplainedClassifier
from tsmodels.estimators._forecaster import FORECASTING, NetForecaster
from tsmodels.estimators._training import TRAINING, Argument
from tsmodels.tasks._inputs import accepted_inputs

__all__ = ["classifier", "detector", "forecaster"]

_SMALL_TRAINING: tuple[dict[str, Any], ...] = (
    {"max_epochs": 1, "accelerator": "cpu"},
    {"max_epochs": 2, "lr": 1e-2, "val_fraction": 0.3, "patience": 1, "accelerator": "cpu"},
)
_SMALL_FORECASTS = ({"lookback": 3}, {"lookback": 4, "horizon": 3})
_SMALL_DETECTION = ({"window": 4}, {"window": 5, "score_stride": 2, "merge_gap": 1})
_CLASSIFIER_TRAINING = {
    "max_epochs": TRAINING["max_epochs"]._replace(
        type='int or "auto"',
        doc=f'Passes over the training cases. "auto": {AUTO_EPOCHS}, or as many as {AUTO_STEPS} optimiser steps take '
        "if that is more: of a dozen cases 20 passes would be 20 steps.",
    )
}
_DETECTOR_TRAINING = {
    "max_epochs": TRAINING["max_epochs"]._replace(default=20, doc="Passes over the training windows."),
    "batch_size": TRAINING["batch_size"]._replace(doc="Windows per optimiser step, and per batch in prediction."),
    "val_fraction": TRAINING["val_fraction"]._replace(
        default=0.2,
        doc="Last share of the series held back for validation: no time point there is trained on. The network keeps "
        "the weights of the epoch with the lowest loss there. None or 0, or a series too short for it: all windows are "
        "trained on, the last weights are kept.",
    ),
    "random_state": TRAINING["random_state"]._replace(
        doc=TRAINING["random_state"].doc.replace("validation split, order of cases", "order of windows")
    ),
}
_FORECASTER_TRAINING = {
    "max_epochs": TRAINING["max_epochs"]._replace(default=20, doc="Passes over the training windows."),
    "batch_size": TRAINING["batch_size"]._replace(doc="Windows per optimiser step, and per batch in prediction."),
    "val_fraction": TRAINING["val_fraction"]._replace(
        default=0.2,
        doc="Last share of each series held back for validation: no target there is trained on. The network keeps the "
        "weights of the epoch with the lowest loss there, whose errors calibrate the intervals. None or 0: all windows "
        "are trained on, the last weights are kept.",
    ),
    "random_state": TRAINING["random_state"]._replace(
        doc=TRAINING["random_state"].doc.replace("validation split, order of cases", "order of windows")
    ),
}


class _Family(NamedTuple):
    """One kind of estimator: its base class and what the constructor of its networks looks like."""

    base: type
    suffix: tuple[str, str]  # of the network's name, and what stands for it in the estimator's
    facts: tuple[str, ...]  # positional arguments of the network, at least these ...
    optional_facts: tuple[str, ...]  # ... and any of these after them, with defaults
    arguments: dict[str, Argument]
    kind: Kind


_CLASSIFIERS = _Family(
    NetClassifier,
    ("ForClassification", "Classifier"),
    ("n_channels", "n_timepoints", "n_classes"),
    (),
    CLASSIFICATION | TRAINING | _CLASSIFIER_TRAINING,
    CLASSIFIER,
)
_EXPLAINED = _CLASSIFIERS._replace(base=ExplainedClassifier, kind=EXPLAINED)
_FORECASTERS = _Family(
    NetForecaster,
    ("ForForecasting", "Forecaster"),
    ("n_channels", "lookback", "horizon"),
    ("n_outputs", "n_exogenous", "n_past", "n_static", "distribution"),
    FORECASTING | TRAINING | _FORECASTER_TRAINING,
    FORECASTER,
)
_DETECTORS = _Family(
    NetDetector,
    ("ForReconstruction", "Detector"),
    ("n_channels", "n_timepoints"),
    (),
    DETECTION | TRAINING | _DETECTOR_TRAINING,
    DETECTOR,
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
        than those it was built for. Networks with ``explain`` and ``token_table``, like those of this package that are
        made of shapelets, give classifiers with ``explain``. Entries of the numpydoc "Parameters" go into the
        docstring.
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
    accepted = accepted_inputs(network_class)
    tags: dict[str, Any] = {}
    if "lengths" in accepted:  # numpy3D passes untouched, all else arrives as a list of frames
        tags |= {"X_inner_mtype": ["df-list", "numpy3D"], "capability:unequal_length": True}
    if "mask" in accepted:
        tags |= {"capability:missing_values": True}
    family = _EXPLAINED if hasattr(network_class, "explain") else _CLASSIFIERS
    return _make(family, network_class, defaults, test_params, tags)


def forecaster(
    network_class: type[nn.Module],
    *,
    defaults: Mapping[str, Any] | None = None,
    test_params: Sequence[Mapping[str, Any]] = ({}, {}),
) -> type[NetForecaster]:
    """Make an sktime forecaster of a network class.

    Assign the result to its own name, ``MyForecaster = forecaster(MyForForecasting)``, at the top level of a module:
    that is where pickle looks for it.

    Parameters
    ----------
    network_class : type of nn.Module
        Its constructor takes ``(n_channels, lookback, horizon)`` by position, after them what it supports of
        ``n_outputs=1, n_exogenous=0, n_past=0, n_static=0, distribution=False``, and its choices by keyword, each with
        a default. ``forward(x, mask=None, exog=None)``, or a part of these arguments, returns forecasts (batch,
        horizon, channel), with a last axis of ``n_outputs`` if that is not 1, for ``x`` (batch, lookback, channel).
        Missing values are supported if it takes ``mask`` (True = observed; ``x`` is 0 elsewhere), X if it takes
        ``exog`` (batch, lookback + horizon, n_exogenous). Entries of its numpydoc "Parameters" go into the docstring.
    defaults : mapping, optional
        Other defaults for arguments of training and forecasting, such as ``{"lr": 3e-3}``.
    test_params : sequence of mappings, default=({}, {})
        Small choices of the network for sktime's test suite, at least two sets; the other arguments are made small
        already.

    Returns
    -------
    type of NetForecaster
        A class named as the network with "ForForecasting" replaced by "Forecaster". Its arguments are the network's
        choices, then those of forecasting, then the training arguments.

    Raises
    ------
    TypeError
        If the constructor has another form, a choice has the name of an argument or attribute of the estimator, or
        `defaults` names something else than these arguments.

    Examples
    --------
    >>> from torch import nn
    >>> from tsmodels.estimators import forecaster
    >>> class LinearForForecasting(nn.Module):
    ...     def __init__(self, n_channels, lookback, horizon, *, bias=True):
    ...         super().__init__()
    ...         self.over_time = nn.Linear(lookback, horizon, bias=bias)
    ...
    ...     def forward(self, x):
    ...         return self.over_time(x.transpose(1, 2)).transpose(1, 2)
    >>> LinearForecaster = forecaster(LinearForForecasting, defaults={"lookback": 12})
    >>> LinearForecaster(horizon=3)
    LinearForecaster(horizon=3)
    """
    accepted = accepted_inputs(network_class)
    small = [_SMALL_FORECASTS[index % 2] | dict(each) for index, each in enumerate(test_params)]
    tags = {"capability:exogenous": "exog" in accepted, "capability:missing_values": "mask" in accepted}
    return _make(_FORECASTERS, network_class, defaults, small, tags)


def detector(
    network_class: type[nn.Module],
    *,
    defaults: Mapping[str, Any] | None = None,
    test_params: Sequence[Mapping[str, Any]] = ({}, {}),
) -> type[NetDetector]:
    """Make an sktime detector of anomalies of a network class.

    Assign the result to its own name, ``MyDetector = detector(MyForReconstruction)``, at the top level of a module:
    that is where pickle looks for it.

    Parameters
    ----------
    network_class : type of nn.Module
        Its constructor takes ``(n_channels, n_timepoints)`` by position and its choices by keyword, each with a
        default. ``forward(x)`` returns the reconstruction of windows, like ``x`` (batch, time, channel). Entries of its
        numpydoc "Parameters" go into the docstring.
    defaults : mapping, optional
        Other defaults for arguments of training and detection, such as ``{"window": 50}``.
    test_params : sequence of mappings, default=({}, {})
        Small choices of the network for sktime's test suite, at least two sets; the other arguments are made small
        already.

    Returns
    -------
    type of NetDetector
        A class named as the network with "ForReconstruction" replaced by "Detector". Its arguments are the network's
        choices, then those of detection, then the training arguments.

    Raises
    ------
    TypeError
        If the constructor has another form, a choice has the name of an argument or attribute of the estimator, or
        `defaults` names something else than these arguments.

    Examples
    --------
    >>> from torch import nn
    >>> from tsmodels.estimators import detector
    >>> class NarrowForReconstruction(nn.Module):
    ...     def __init__(self, n_channels, n_timepoints, *, width=4):
    ...         super().__init__()
    ...         self.network = nn.Sequential(nn.Linear(n_timepoints, width), nn.Linear(width, n_timepoints))
    ...
    ...     def forward(self, x):
    ...         return self.network(x.transpose(1, 2)).transpose(1, 2)
    >>> NarrowDetector = detector(NarrowForReconstruction, defaults={"window": 50})
    >>> NarrowDetector(width=2)
    NarrowDetector(width=2)
    """
    small = [_SMALL_DETECTION[index % 2] | dict(each) for index, each in enumerate(test_params)]
    return _make(_DETECTORS, network_class, defaults, small, {})


def _make(
    family: _Family,
    network_class: type[nn.Module],
    defaults: Mapping[str, Any] | None,
    test_params: Sequence[Mapping[str, Any]],
    tags: Mapping[str, Any],
) -> Any:
    arguments = _with_defaults(family.arguments, defaults or {}, network_class)
    choices = _checked_choices(family, network_class, arguments)
    name = network_class.__name__.removesuffix(family.suffix[0]) + family.suffix[1]
    module = sys._getframe(2).f_globals.get("__name__", "__main__")
    parameters = [
        *(each.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in choices.values()),
        *(
            inspect.Parameter(key, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=argument.default)
            for key, argument in arguments.items()
        ),
    ]
    accepted = accepted_inputs(network_class)
    namespace = {
        "__init__": _make_init(name, family.base, parameters),
        "__doc__": estimator_docstring(network_class, choices, arguments, name, module, accepted, family.kind),
        "__module__": module,
        "_network_class": network_class,
        "_test_params": [_SMALL_TRAINING[index % 2] | dict(each) for index, each in enumerate(test_params)],
    }
    return type(name, (family.base,), namespace | ({"_tags": dict(tags)} if tags else {}))


def _make_init(name: str, base: type, parameters: list[inspect.Parameter]) -> Any:
    """Return a constructor with a real signature that does what sktime asks for: assign each argument, no more."""
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.Signature([this, *parameters])

    def __init__(self, *args, **kwargs):
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        for parameter in parameters:
            setattr(self, parameter.name, bound.arguments[parameter.name])
        base.__init__(self)

    __init__.__qualname__ = f"{name}.__init__"
    vars(__init__)["__signature__"] = signature  # this is what inspect reads, and through it sktime
    return __init__


def _choices(network_class: type[nn.Module]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(network_class).parameters
    return {name: each for name, each in parameters.items() if each.kind is each.KEYWORD_ONLY}


def _checked_choices(
    family: _Family, network_class: type[nn.Module], arguments: Mapping[str, Argument]
) -> dict[str, inspect.Parameter]:
    parameters, choices = inspect.signature(network_class).parameters, _choices(network_class)
    name = network_class.__name__
    facts = tuple(each for each in parameters if each not in choices)
    n = len(family.facts)
    if facts[:n] != family.facts or not set(facts[n:]) <= set(family.optional_facts):
        also = f", then any of {family.optional_facts}," if family.optional_facts else ""
        raise TypeError(
            f"{name} must take {family.facts} by position{also} and all else by keyword only; it takes {facts}"
        )
    for choice, parameter in choices.items():
        if parameter.default is parameter.empty:
            raise TypeError(f"argument {choice!r} of {name} has no default: a keyword-only argument is a choice")
        if choice in arguments or hasattr(family.base, choice):
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
