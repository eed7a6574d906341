"""Models asked for by name: of this package, by import path, or out of sktime's registry, with parameters."""

from __future__ import annotations

import importlib
import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tsmodels.benchmark._errors import RequestError

__all__ = ["ModelSpec", "imported", "specs", "unknown"]


@dataclass(frozen=True)
class ModelSpec:
    """A model asked for.

    Attributes
    ----------
    name : str
        A short name, an import path or a name in sktime's registry.
    label : str
        What it is called in the results.
    parameters : mapping
        Keyword arguments of its constructor.
    """

    name: str
    label: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def estimator(self, scitype: str) -> Any:
        """Return the estimator behind an import path or a name in sktime's registry, None if there is none.

        Parameters
        ----------
        scitype : str
            "classifier" or "forecaster".

        Raises
        ------
        RequestError
            If it cannot be imported or made with these parameters.
        """
        cls = imported(self.name) if "." in self.name else _registered(self.name, scitype)
        return None if cls is None else self.made(cls)

    def made(self, make: Callable[..., Any]) -> Any:
        """Return what a constructor makes of the parameters."""
        parameters = {name: _value(value) for name, value in self.parameters.items()}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # of sktime, about defaults that will change
                return make(**parameters)
        except ModuleNotFoundError as error:
            raise RequestError(f"the model {self.label!r} cannot be made: {_first_line(error)}") from error
        except (TypeError, ValueError) as error:
            raise RequestError(f"the model {self.label!r} cannot be made: {_first_line(error)}") from error


def specs(models: Iterable[Any]) -> list[ModelSpec]:
    """Return the models asked for, each once.

    Parameters
    ----------
    models : iterable of str or mapping
        Names; or mappings with ``class`` (a name) and, if need be, ``label`` and ``parameters``.

    Raises
    ------
    RequestError
        If one is neither, or two different ones would have the same label.
    """
    if isinstance(models, str):
        raise RequestError(f"models must be a list of names, got {models!r}.")
    found: dict[str, ModelSpec] = {}
    for given in models:
        spec = _spec(given)
        if found.setdefault(spec.label, spec) != spec:
            raise RequestError(f"two models are called {spec.label!r}: give one of them another label.")
    return list(found.values())


def _spec(given: Any) -> ModelSpec:
    if isinstance(given, str):
        return ModelSpec(given, given.rpartition(".")[2])
    if not isinstance(given, Mapping) or not isinstance(name := given.get("class"), str):
        raise RequestError(
            f"a model must be a name, or a mapping with 'class', 'label' and 'parameters', got {given!r}."
        )
    if wrong := sorted(map(str, given.keys() - {"class", "label", "parameters"})):
        raise RequestError(f"a model takes 'class', 'label' and 'parameters', got {wrong[0]!r} too.")
    parameters = given.get("parameters") or {}
    if not isinstance(parameters, Mapping):
        raise RequestError(f"the parameters of {name!r} must be a mapping of names to values, got {parameters!r}.")
    return ModelSpec(name, str(given.get("label") or name.rpartition(".")[2]), parameters)


def _value(given: Any) -> Any:
    """Return the value of a parameter; a mapping with a class stands for an estimator."""
    if isinstance(given, list):
        return [_value(each) for each in given]
    if not isinstance(given, Mapping) or not isinstance(given.get("class"), str):
        return given
    spec = _spec(given)
    return spec.made(imported(spec.name))


def imported(path: str) -> Any:
    """Return the class or function at a dotted path.

    Raises
    ------
    RequestError
        If there is none.
    """
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (ImportError, ValueError) as error:
        raise RequestError(f"cannot import the model {path!r}: {_first_line(error)}") from error
    if not callable(found):
        raise RequestError(f"there is no class {name!r} in the module {module!r}.")
    return found


def _registered(name: str, scitype: str) -> Any:
    """Return a class by its name in sktime's registry, which imports all of sktime: some seconds."""
    from sktime.registry import all_estimators

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # modules of sktime about their optional dependencies
        registered: Any = all_estimators(scitype)
    return dict(registered).get(name)


def unknown(what: str, name: str, known: Iterable[str]) -> RequestError:
    """Return the error of a name that nothing is known by."""
    return RequestError(
        f"there is no {what} {name!r}. Available: {', '.join(known)}. Others by import path, or by their name in "
        "sktime's registry."
    )


def _first_line(error: BaseException) -> str:
    return inspect.cleandoc(str(error)).partition("\n")[0]
