"""Docstrings of the estimators, put together from the network's and the table of training arguments."""

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

if TYPE_CHECKING:
    from tsmodels.estimators._training import Argument

__all__ = ["CLASSIFIER", "DETECTOR", "EXPLAINED", "FORECASTER", "Kind", "estimator_docstring"]

_WIDTH = 116  # inside an indented class docstring of 120 columns

_CLASSIFIER_ATTRIBUTES = """\
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

_CLASSIFIER_EXAMPLE = """\
>>> import numpy as np
>>> from {module} import {name}
>>> X = np.random.default_rng(0).normal(size=(12, 2, 20))  # case, channel, time
>>> y = np.repeat(["no", "yes"], 6)
>>> estimator = {name}(max_epochs=1, accelerator="cpu", random_state=0)
>>> estimator.fit(X, y).predict(X).shape
(12,)"""


_FORECASTER_ATTRIBUTES = """\
network_ : torch.nn.Module
    The trained network, on the CPU, in eval mode. It takes scaled look-backs (batch, time, channel).
horizon_ : int
    Steps that it forecasts.
calibration_ : str
    Where `predict_interval` and `predict_quantiles` come from: "validation" (split-conformal: errors in windows that
    were not trained on), "training" (a series too short for such windows, or no `val_fraction`: too narrow) or "head"
    (`loss="student_t"`, or "pinball" without such windows: as the network forecasts them).
history_ : dict
    ``epochs`` (number run), ``best_epoch`` (from 0) and ``best_value`` (None without validation), and ``curves``, the
    losses by epoch.
n_parameters_ : int
    Number of trainable parameters of the network.
pretrained_network_ : torch.nn.Module
    After `pretrain`. `fit` trains a copy of it."""

_FORECASTER_NOTES = """\
The last `val_fraction` of each series is held back: the weights of the best epoch there are kept, and its errors
calibrate the intervals, by step and column, over all series together. The network is not trained on it afterwards.

A series shorter than `lookback` is continued into the past by its first value (as missing, where the network takes
missing values). For training at least one series needs ``lookback + horizon`` steps. Steps in the sample have no
forecast. `update` without ``update_params`` moves the look-back only; with it the network is trained on the new
windows, `max_epochs` times.

`pretrain` trains one network on a panel or hierarchy, which `fit` then fine-tunes (`finetune_epochs`) on other series
of the same columns. `clone` keeps what was pretrained; `set_params` drops it."""

_FORECASTER_EXAMPLE = """\
>>> from sktime.datasets import load_airline
>>> from {module} import {name}
>>> y = load_airline()
>>> estimator = {name}(lookback=24, max_epochs=1, accelerator="cpu", random_state=0)
>>> estimator.fit(y, fh=[1, 2, 3]).predict().shape
(3,)"""

_DETECTOR_ATTRIBUTES = """\
network_ : torch.nn.Module
    The trained network, on the CPU, in eval mode. It takes scaled windows (batch, time, channel).
scaler_ : SeriesScaler
    Fitted on the training part.
threshold_ : float
    What is above it is anomalous: the quantile ``1 - contamination`` of `training_scores_`.
training_scores_ : ndarray of shape (n_timepoints,)
    Scores of the time points seen by `fit`, and behind them of those seen by `update`, each by the network as it was
    then.
history_ : dict
    ``epochs`` (number run), ``best_epoch`` (from 0) and ``best_value`` (None without validation), and ``curves``, the
    losses by epoch.
n_channels_ : int
    Of the series.
n_parameters_ : int
    Number of trainable parameters of the network."""

_DETECTOR_NOTES = """\
The score of a time point is its squared error of reconstruction, on the scaled series, averaged over channels, and then
over the windows that cover it: the higher, the more anomalous. `transform_scores` gives the scores of all time
points, `predict_scores` of the detected ones, `predict` the positions of these, `transform` labels 0 and 1 on the
index of the series, `anomalous_segments` the detected segments. `predict_segments` is sktime's, and gives the segments
between detected points.

The series that `fit` sees may hold a few anomalies; known ones (`y`) are not made use of. The threshold comes from its
scores, those of the validation part included: series that are scored later have no part in it. Where `fit` sees less of
the normal behaviour than there is, expect more detections than `contamination` says.

`update` trains the network on the windows with new time points (`update_epochs`), and adds their scores to those that
the threshold is taken from."""

_DETECTOR_EXAMPLE = """\
>>> import numpy as np
>>> from {module} import {name}
>>> X = np.sin(np.arange(200.0) / 3)
>>> estimator = {name}(window=20, max_epochs=1, accelerator="cpu", random_state=0)
>>> X_new = X.copy()
>>> X_new[120] += 5
>>> 120 in estimator.fit(X).predict(X_new)["ilocs"].to_numpy()
True"""


class Kind(NamedTuple):
    """What the docstrings of one kind of estimator share."""

    attributes: str
    notes: str
    example: str
    about: Callable[[str, frozenset[str]], str]  # (path of the network, inputs it takes) -> what data it takes


def estimator_docstring(
    network_class: type[nn.Module],
    choices: Mapping[str, inspect.Parameter],
    arguments: "Mapping[str, Argument]",
    name: str,
    module: str,
    accepted: frozenset[str],
    kind: Kind,
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
    kind : Kind
        ``CLASSIFIER``, ``DETECTOR``, ``EXPLAINED`` or ``FORECASTER``.

    Returns
    -------
    str
        The docstring.
    """
    path = _public_path(network_class)
    methods_of_network = rf":meth:`~{path}.\1`"  # the estimator has no such methods
    doc = re.sub(r":meth:`(\w+)`", methods_of_network, inspect.cleandoc(network_class.__doc__ or ""))
    sections = _sections(doc)
    described = _entries(sections.get("Parameters", ""))
    entries = [_choice_entry(choice, parameter, described) for choice, parameter in choices.items()]
    entries += [_argument_entry(key, argument) for key, argument in arguments.items()]
    body = {
        "Parameters": "\n".join(entries),
        "Attributes": kind.attributes,
        **_kept(sections, kind),
        "Examples": kind.example.format(module=_public(module), name=name),
    }
    # what the tensors of a network look like is of no concern here: an estimator has axes of its own
    lead = [_refilled(text) for text in sections[""].split("\n\n") if text and not text.startswith("Shapes")]
    parts = [*lead, textwrap.fill(kind.about(path, accepted), _WIDTH)]
    return "\n\n".join(parts + [f"{title}\n{'-' * len(title)}\n{text}" for title, text in body.items()]) + "\n"


def _kept(sections: Mapping[str, str], kind: Kind) -> dict[str, str]:
    """Return the network's own "Notes" and "References", the former after those of the kind."""
    notes = [text for text in (kind.notes, sections.get("Notes", "")) if text]
    kept = {"Notes": "\n\n".join(notes)} if notes else {}
    return kept | ({"References": sections["References"]} if "References" in sections else {})


def _about_classifier(path: str, accepted: frozenset[str]) -> str:
    lengths = "of equal or unequal length" if "lengths" in accepted else "of equal length"
    missing = "NaN is taken as missing" if "mask" in accepted else "without missing values"
    return (
        f"An sktime classifier over :class:`{path}`. It takes numpy3D arrays (case, channel, time) and the other panel "
        f"containers of sktime, with one channel or several, {lengths}; {missing}. Labels are strings, integers or "
        "booleans."
    )


def _about_forecaster(path: str, accepted: frozenset[str]) -> str:
    missing = "NaN in y is taken as missing" if "mask" in accepted else "without missing values"
    exogenous = "X is known ahead" if "exog" in accepted else "X is ignored"
    return (
        f"An sktime forecaster over :class:`{path}`. It takes series, panels and hierarchies (one network for all "
        f"their series, which may end at different times) with one column or several; {missing}; {exogenous}."
    )


def _about_detector(path: str, accepted: frozenset[str]) -> str:
    return (
        f"An sktime detector of anomalies over :class:`{path}`. It takes a series with one channel or several (frame, "
        "series or array) on any index, without missing values; panels are not taken."
    )


_EXPLAINED_ATTRIBUTES = _CLASSIFIER_ATTRIBUTES.replace(
    "losses and accuracies by epoch.",
    "losses and accuracies by epoch; ``preparation_seconds``: wall-clock time of the look at the training cases.",
)
_EXPLAINED_NOTES = """\
`fit` first looks at the training cases, those held out by `val_fraction` excluded: `history_` tells the time this took.
Where sets are so large that it looks at a draw of them, the draw is the same for every `random_state`.
`explain` says, case by case, which shapelets were found where and how much attention they got;
:func:`tsmodels.plots.plot_explanation` draws it."""

CLASSIFIER = Kind(_CLASSIFIER_ATTRIBUTES, "", _CLASSIFIER_EXAMPLE, _about_classifier)
EXPLAINED = Kind(_EXPLAINED_ATTRIBUTES, _EXPLAINED_NOTES, _CLASSIFIER_EXAMPLE, _about_classifier)
DETECTOR = Kind(_DETECTOR_ATTRIBUTES, _DETECTOR_NOTES, _DETECTOR_EXAMPLE, _about_detector)
FORECASTER = Kind(_FORECASTER_ATTRIBUTES, _FORECASTER_NOTES, _FORECASTER_EXAMPLE, _about_forecaster)


def _public_path(network_class: type[nn.Module]) -> str:
    """Return where a class is imported from: the package of its module, if that exports it."""
    module, name = network_class.__module__, network_class.__qualname__
    package = module.rpartition(".")[0]
    exported = getattr(sys.modules.get(package), name, None) is network_class
    return f"{package if exported else module}.{name}"


def _refilled(paragraph: str) -> str:
    """Return a paragraph whose names of methods have grown with no line longer than others."""
    if max(map(len, paragraph.splitlines())) <= _WIDTH:
        return paragraph
    return textwrap.fill(" ".join(paragraph.split()), _WIDTH, break_long_words=False, break_on_hyphens=False)


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
