"""What a network declares about itself for a search: which values of which arguments are worth trying.

A network holds it as the class attribute ``search_space``, a dictionary from the name of an argument to a
:class:`Choice`, an :class:`Integer` or a :class:`Real`. Names are arguments of the network and the few training
arguments that matter most of the estimator or task that trains it. These are plain data: nothing here searches, and no
library for searches is imported.

Values that must fit together are declared such that every combination does, or by ``when``; a set of values that
changes from trial to trial could not be learned from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Choice", "Integer", "Parameter", "Real"]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """An argument to be chosen.

    Attributes
    ----------
    when : mapping of str to tuple
        The argument is chosen only if each of these arguments, which stand before it, has one of the values given;
        else it keeps its default. An argument that what is tuned does not have is no obstacle.
    """

    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, values in self.when.items():
            if not isinstance(values, tuple | list) or not values:
                raise ValueError(f"when[{name!r}] must be a tuple of values, got {values!r}")

    def is_active(self, chosen: Mapping[str, Any]) -> bool:
        """Return whether the argument is to be chosen beside others.

        Parameters
        ----------
        chosen : mapping
            Values of other arguments, by name.
        """
        return all(chosen[name] in values for name, values in self.when.items() if name in chosen)


@dataclass(frozen=True, init=False)
class Choice(Parameter):
    """One of several values, in no order.

    Parameters
    ----------
    *values : None, bool, int, float or str
        At least two, all different.
    when : mapping, optional
        Of other names to the values with which this one is looked for.

    Raises
    ------
    TypeError
        If a value is of another type.
    ValueError
        If there are fewer than two values, or equal ones.
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any, when: Mapping[str, tuple[Any, ...]] | None = None):
        for value in values:
            if not (value is None or isinstance(value, bool | int | float | str)):
                raise TypeError(f"a choice is None, a bool, a number or a string, got {value!r}")
        # 1, 1.0 and True are equal: a study could not tell them apart
        if len(values) < 2 or len(set(values)) < len(values):
            raise ValueError(f"a choice needs two values or more, all different, got {values!r}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "when", dict(when or {}))
        self.__post_init__()

    def contains(self, value: Any) -> bool:
        """Return whether a value is among those to choose from."""
        return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in self.values)


@dataclass(frozen=True)
class Integer(Parameter):
    """An integer.

    Parameters
    ----------
    low, high : int
        Both may be chosen.
    log : bool, default=False
        Whether equal ratios count as equally far; `low` is then at least 1.
    when : mapping, optional
        Of other names to the values with which this one is looked for.

    Raises
    ------
    ValueError
        If the bounds are no integers, not in order, or too low for `log`.
    """

    low: int
    high: int
    log: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(isinstance(each, int) and not isinstance(each, bool) for each in (self.low, self.high)):
            raise ValueError(f"bounds of an integer must be integers, got {self.low!r} and {self.high!r}")
        _check_bounds(self.low, self.high, self.log)

    def contains(self, value: Any) -> bool:
        """Return whether a value is an integer within the bounds."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high


@dataclass(frozen=True)
class Real(Parameter):
    """A real number.

    Parameters
    ----------
    low, high : float
        Both may be chosen.
    log : bool, default=False
        Whether equal ratios count as equally far; `low` is then positive.
    when : mapping, optional
        Of other names to the values with which this one is looked for.

    Raises
    ------
    ValueError
        If the bounds are not finite numbers in order, or too low for `log`.
    """

    low: float
    high: float
    log: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(isinstance(each, int | float) and math.isfinite(each) for each in (self.low, self.high)):
            raise ValueError(f"bounds must be finite numbers, got {self.low!r} and {self.high!r}")
        _check_bounds(self.low, self.high, self.log)

    def contains(self, value: Any) -> bool:
        """Return whether a value is a number within the bounds."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high


def _check_bounds(low: float, high: float, log: bool) -> None:
    if not low < high:
        raise ValueError(f"low must be less than high, got {low!r} and {high!r}")
    if log and low <= 0:
        raise ValueError(f"log=True needs low > 0, got {low!r}")
