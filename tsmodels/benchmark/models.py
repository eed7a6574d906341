"""The models a benchmark can run: looked up by name, seeded, and described such that equal descriptions run equally."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

import tsmodels
from tsmodels.benchmark import DEFAULT_MODELS
from tsmodels.benchmark._errors import RequestError
from tsmodels.benchmark._lookup import ModelSpec, specs, unknown

__all__ = [
    "available_models",
    "class_path",
    "configuration_id",
    "configured",
    "described",
    "digest",
    "has_parameter",
    "plain",
    "resolve_models",
]


def available_models() -> dict[str, Callable[[], Any]]:
    """Return what can be run by name.

    Returns
    -------
    dict of str to callable
        From the name to something that makes the estimator with its defaults: the classifiers of this package first,
        then the baselines.
    """
    from tsmodels.benchmark import baselines
    from tsmodels.estimators import all_estimators

    ours: dict[str, Callable[[], Any]] = {each.__name__: each for each in all_estimators("classifier")}
    return {**ours, "MiniRocket": baselines.minirocket, "1NN-DTW": baselines.one_nn_dtw}


def resolve_models(models: Iterable[Any] | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return unfitted estimators by name.

    Parameters
    ----------
    models : iterable of str or mapping, mapping of str to estimator, or None
        Names out of :func:`available_models`, import paths, or names of classifiers in sktime's registry; in place of
        a name ``{"class": name, "label": ..., "parameters": {...}}``, where an estimator among the parameters is
        written the same way. Or names of your own with the estimator each stands for. Or None for
        :data:`tsmodels.benchmark.DEFAULT_MODELS`.

    Raises
    ------
    RequestError
        If there is no model, none of a given name (the message lists the available ones), it cannot be made, or
        something is no estimator.
    """
    if isinstance(models, Mapping):
        chosen = dict(models)
    else:
        known = available_models()
        wanted = specs(DEFAULT_MODELS if models is None else models)
        chosen = {spec.label: _classifier(spec, known) for spec in wanted}
    for name, estimator in chosen.items():
        if isinstance(estimator, type) or not (hasattr(estimator, "get_params") and hasattr(estimator, "predict")):
            raise RequestError(f"models[{name!r}] must be an unfitted classifier, got {estimator!r}.")
    if not chosen:
        raise RequestError("models must name at least one model; None takes the default ones.")
    return chosen


def _classifier(spec: ModelSpec, known: Mapping[str, Callable[..., Any]]) -> Any:
    if spec.name in known:
        return spec.made(known[spec.name])
    if (estimator := spec.estimator("classifier")) is None:
        raise unknown("model", spec.name, known)
    return estimator


def has_parameter(estimator: Any, name: str) -> bool:
    """Return whether the estimator, or one inside it, has a parameter of that name."""
    return bool(_occurrences(estimator, name))


def configured(estimator: Any, **values: Any) -> Any:
    """Return an unfitted copy with parameters set wherever they occur, also in estimators inside it.

    An estimator that has no parameter of some name is left as it is in that respect.
    """
    made = copy.deepcopy(estimator)
    found = {key: value for name, value in values.items() for key in _occurrences(made, name)}
    return made.set_params(**found) if found else made


def _occurrences(estimator: Any, name: str) -> list[str]:
    return [key for key in estimator.get_params(deep=True) if key.rpartition("__")[2] == name]


def described(estimator: Any) -> dict[str, Any]:
    """Return all parameters but the seed in the types of JSON; estimators inside by their class and parameters."""
    parameters = estimator.get_params(deep=True)
    return {key: plain(parameters[key]) for key in sorted(parameters) if key.rpartition("__")[2] != "random_state"}


def configuration_id(estimator: Any, settings: Mapping[str, Any] | None = None) -> str:
    """Return eight digits that differ if the class, a parameter other than the seed, or our version differs.

    Parameters
    ----------
    estimator : estimator
    settings : mapping, optional
        What else the result depends on.
    """
    return digest(
        [class_path(estimator), described(estimator), tsmodels.__version__, *([settings] if settings else [])]
    )


def digest(content: Any) -> str:
    """Return eight digits that tell contents in the types of JSON apart."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def class_path(thing: Any) -> str:
    """Return the dotted path of a class or function, or of an object's class."""
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def plain(value: Any) -> Any:
    """Return a value in the types of JSON."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if hasattr(value, "get_params") or hasattr(value, "__qualname__"):
        return class_path(value)
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))  # an address would make every run a new configuration
