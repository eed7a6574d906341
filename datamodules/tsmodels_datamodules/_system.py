"""What a dynamical system is here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np

from tsmodels_datamodules import _integration


@dataclass(frozen=True)
class System:
    """A dynamical system: its equations, their parameters and where to start.

    Attributes
    ----------
    name : str
    dimension : int
        Number of state variables.
    parameters : mapping of str to float
        Names and defaults of the parameters. Of a delay equation ``tau`` is the delay.
    rhs : callable
        ``rhs(t, x, **parameters)``, the derivative dx/dt of the state x (dimension, ...); of a map the next state; of a
        delay equation ``rhs(t, x, delayed, **parameters)`` with all parameters but ``tau``. It has to take complex
        states for :meth:`jacobian` and :func:`lyapunov_spectrum`.
    initial : tuple of float
        State at time 0, of a delay equation also before.
    dt : float
        Default step between two points in time units, of a map 1.
    period : float or None
        Dominant period in time units, None where none is known.
    kind : {"flow", "map", "delay"}
    transient : float
        Time units that are dropped by default before the first point.
    forcing : callable or None
        ``forcing(t, **parameters)``, the external inputs (n_inputs, ...) that enter the equations at time t.
    minimal_dimension : int or None
        Least number of state variables :meth:`resized` accepts; None where the number is fixed.
    lyapunov_max : float or None
        Largest Lyapunov exponent per time unit, measured by :func:`lyapunov_spectrum`; None where it was not.
    dysts : str or None
        Name in the collection ``dysts`` (Gilpin, arXiv:2110.05266), whose parameters, initial condition and period
        these are.
    """

    name: str
    dimension: int
    parameters: Mapping[str, float]
    rhs: Callable[..., np.ndarray]
    initial: tuple[float, ...]
    dt: float
    period: float | None = None
    kind: str = "flow"
    transient: float = 200.0
    forcing: Callable[..., np.ndarray] | None = field(default=None)
    minimal_dimension: int | None = None
    lyapunov_max: float | None = None
    dysts: str | None = None

    def __post_init__(self) -> None:
        # the systems are shared: nobody is to change a parameter of them for all others
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "parameters": dict(self.parameters)}  # a proxy cannot be pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()

    @property
    def n_inputs(self) -> int:
        """Number of external inputs."""
        return 0 if self.forcing is None else len(self.forcing(0.0, **self.parameters))

    def with_parameters(self, **parameters: float) -> System:
        """Return the same system with other parameters.

        Raises
        ------
        ValueError
            If the system has no such parameter, or a value is not finite.
        """
        for name, value in parameters.items():
            if name not in self.parameters:
                known = ", ".join(map(repr, self.parameters)) or "none"
                raise ValueError(f"{self.name!r} has no parameter {name!r}; its parameters are: {known}.")
            if not np.isfinite(value):
                raise ValueError(f"{name} must be a finite number, got {value!r}.")
        return replace(self, parameters={**self.parameters, **parameters}) if parameters else self

    def resized(self, dimension: int) -> System:
        """Return the same system with another number of state variables, all but the first in the same state.

        Raises
        ------
        ValueError
            If the number of state variables is fixed, or too small.
        """
        if dimension == self.dimension:
            return self
        if self.minimal_dimension is None:
            raise ValueError(f"dimension of {self.name!r} is {self.dimension} and cannot be changed to {dimension}.")
        if dimension < self.minimal_dimension:
            raise ValueError(f"dimension of {self.name!r} must be at least {self.minimal_dimension}, got {dimension}.")
        return replace(self, dimension=dimension, initial=(self.initial[0], *[self.initial[-1]] * (dimension - 1)))

    def bound_rhs(self) -> Callable[..., np.ndarray]:
        """Return the right-hand side with its parameters filled in."""
        entering = {name: value for name, value in self.parameters.items() if self.kind != "delay" or name != "tau"}
        return partial(self.rhs, **entering)

    def jacobian(self, t: float, x: np.ndarray, **parameters: float) -> np.ndarray:
        """Return the derivative (dimension, dimension) of `rhs` by the state, exact up to rounding.

        Raises
        ------
        ValueError
            For a delay equation, whose state is a function.
        """
        if self.kind == "delay":
            raise ValueError(f"{self.name!r} is a delay equation: it has no Jacobian matrix of finite size.")
        rhs = self.with_parameters(**parameters).bound_rhs()
        return _integration.jacobian(rhs, t, np.asarray(x, dtype=np.float64))
