"""Trajectories and Lyapunov spectra of dynamical systems with known equations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tsmodels_datamodules import _integration
from tsmodels_datamodules._system import System
from tsmodels_datamodules._system_table import CHAOS_TABLE, SYSTEMS, find_system

__all__ = ["CHAOS_TABLE", "SYSTEMS", "System", "lyapunov_spectrum", "make_inputs", "make_trajectory"]

_PUSH = 1e-3  # displacement of the orbits, in standard deviations


def make_trajectory(
    system: str | System,
    n: int,
    *,
    dt: float | None = None,
    points_per_period: float | None = None,
    transient: float | None = None,
    initial: Sequence[float] | np.ndarray | None = None,
    dimension: int | None = None,
    noise: float = 0.0,
    seed: int | np.random.Generator | None = None,
    rtol: float = 1e-9,
    atol: float = 1e-9,
    **parameters: float,
) -> np.ndarray:
    """Return states of a dynamical system at equal steps, after a transient.

    Parameters
    ----------
    system : str or System
        A name in :data:`SYSTEMS`, or a system.
    n : int
        Number of states.
    dt : float, optional
        Step between two states in time units; by default that of the system. Of a map it is 1.
    points_per_period : float, optional
        States per dominant period, instead of `dt`.
    transient : float, optional
        Time units before the first state, by default those of the system; of a map a number of steps.
    initial : array-like (dimension,), optional
        State at time 0, before the transient.
    dimension : int, optional
        Number of state variables, for systems where it can be chosen (``"lorenz96"``).
    noise : float
        Standard deviation of the observation noise, as a share of the standard deviation of each channel.
    seed : int or Generator, optional
        Of the noise; the trajectory itself is the same for any.
    rtol, atol : float
        Tolerances of the integration (Dormand and Prince, order 8). Delay equations are solved by fixed small steps
        instead, at least 160 to a delay; maps exactly.
    **parameters
        Parameters of the system to be changed.

    Returns
    -------
    ndarray (n, dimension), float64

    Raises
    ------
    ValueError
        For an unknown system or parameter, or an option out of range.
    FloatingPointError
        If the trajectory leaves every bound.

    Examples
    --------
    >>> from tsmodels_datamodules import make_trajectory
    >>> make_trajectory("lozi", 3, transient=0, a=1.4, b=0.3, initial=[0.0, 0.0])
    array([[ 0. ,  0. ],
           [ 1. ,  0. ],
           [-0.4,  0.3]])
    >>> make_trajectory("lorenz63", 1000, transient=20.0, noise=0.05, seed=0).shape
    (1000, 3)
    """
    system = _chosen(system, dimension, parameters)
    start = _start(system, initial)
    times = _times(system, n, dt, points_per_period, transient)
    for name, value in (("noise", noise), ("rtol", rtol), ("atol", atol)):
        if not (np.isfinite(value) and (value > 0 or (name == "noise" and value == 0))):
            raise ValueError(f"{name} must be a positive number, got {value!r}.")
    rhs = system.bound_rhs()
    if system.kind == "map":
        states = _integration.iterate_map(rhs, start, round(float(times[0])), n)
    elif system.kind == "delay":
        states = _integration.solve_delay(rhs, start, system.parameters["tau"], times, system.dt)
    else:
        states = _integration.solve_flow(rhs, start, times, rtol, atol)
    if noise:
        states = states + noise * states.std(axis=0) * np.random.default_rng(seed).standard_normal(states.shape)
    return states


def make_inputs(
    system: str | System,
    n: int,
    *,
    dt: float | None = None,
    points_per_period: float | None = None,
    transient: float | None = None,
    **parameters: float,
) -> np.ndarray:
    """Return the external inputs of a forced system at the times of its states.

    Parameters
    ----------
    system, n, dt, points_per_period, transient, **parameters
        As for :func:`make_trajectory`.

    Returns
    -------
    ndarray (n, n_inputs), float64
        Row t acts at the time of state t: what is to be passed as ``inputs`` to :class:`DynamicsDataModule`.

    Raises
    ------
    ValueError
        If the system has no external inputs, and as :func:`make_trajectory`.
    """
    system = _chosen(system, None, parameters)
    if system.forcing is None:
        forced = ", ".join(repr(name) for name, one in SYSTEMS.items() if one.forcing is not None)
        raise ValueError(f"{system.name!r} has no external inputs; the systems with some are {forced}.")
    times = _times(system, n, dt, points_per_period, transient)
    return np.ascontiguousarray(system.forcing(times, **system.parameters).T)


def lyapunov_spectrum(
    system: str | System,
    *,
    duration: float,
    dt: float | None = None,
    transient: float | None = None,
    align: float | None = None,
    n_exponents: int | None = None,
    n_orbits: int = 16,
    dimension: int | None = None,
    seed: int = 0,
    **parameters: float,
) -> np.ndarray:
    """Return the Lyapunov exponents of a system from its equations, by tangent vectors and QR decompositions.

    ``lambda_i = lim (1 / T) sum log |R_ii|``, R being what a frame of tangent vectors has turned into when it is made
    orthonormal again (Benettin et al., Meccanica 15 (1980)). The tangent vectors obey the exact derivative of the
    steps taken; the steps are classical Runge-Kutta steps of fixed length.

    Parameters
    ----------
    system : str or System
    duration : float
        Time units (of a map: steps) that count, in sum over the orbits.
    dt : float, optional
        Step of the integration, by default half the sampling step of the system.
    transient : float, optional
        Time units before the first orbit starts, by default those of the system.
    align : float, optional
        Time units that each orbit is followed before it counts, while its tangent vectors turn into their directions.
        By default a quarter of what counts of an orbit.
    n_exponents : int, optional
        Number of exponents, the largest ones; by default all, of a delay equation 1.
    n_orbits : int
        Number of orbits that are followed side by side, which is faster than one for as long. They start at points of
        one trajectory, a little displaced. A delay equation has a single orbit.
    dimension : int, optional
        As for :func:`make_trajectory`, as are the `parameters`.
    seed : int
        Of the displacements and of the first tangent vectors.

    Returns
    -------
    ndarray (n_exponents,), float64
        In the order of the frame, which is descending up to what a finite duration blurs; per time unit, of a map per
        step; of forced systems without the zero of time itself.

    Raises
    ------
    ValueError
        For an unknown system or parameter, or an option out of range.
    FloatingPointError
        If an orbit leaves every bound.

    Notes
    -----
    The error is that of a mean over a finite time: for Lorenz's system about 0.5 % of the largest exponent at a
    duration of 10000. A spectrum of a flow with a bounded attractor has an exponent 0.

    Examples
    --------
    >>> from tsmodels_datamodules import lyapunov_spectrum
    >>> spectrum = lyapunov_spectrum("lozi", duration=16000)
    >>> round(float(spectrum.sum()), 6)  # log b
    -0.693147
    """
    system = _chosen(system, dimension, parameters)
    step = 1.0 if system.kind == "map" else system.dt / 2 if dt is None else dt
    if not duration > 0 or not step > 0:
        raise ValueError(f"duration and dt must be positive, got {duration!r} and {step!r}.")
    if n_orbits < 1:
        raise ValueError(f"n_orbits must be at least 1, got {n_orbits}.")
    transient = system.transient if transient is None else transient
    if system.kind == "delay":
        align = transient + (duration / 4 if align is None else align)
        return _delay_spectrum(system, duration, step, align, 1 if n_exponents is None else n_exponents, seed)
    n_exponents = system.dimension if n_exponents is None else n_exponents
    if not 1 <= n_exponents <= system.dimension:
        raise ValueError(f"n_exponents must be from 1 to {system.dimension}, got {n_exponents}.")
    generator = np.random.default_rng(seed)
    spacing = 1.0 if system.kind == "map" else system.period or 50 * system.dt
    starts = make_trajectory(system, n_orbits, dt=spacing, transient=transient)
    # points of one trajectory, a period apart: without a push the orbits would be the same one, a little shifted
    starts = starts + _PUSH * starts.std(axis=0) * generator.standard_normal(starts.shape)
    frame = np.linalg.qr(generator.standard_normal((system.dimension, n_exponents)))[0]
    rhs, times = system.bound_rhs(), transient + spacing * np.arange(n_orbits)[:, None]
    advance = rhs if system.kind == "map" else _integration.runge_kutta(rhs, times, step)
    stretch = duration / n_orbits
    n_align, n_steps = round((stretch / 4 if align is None else align) / step), max(1, round(stretch / step))
    return _integration.tangent_growth(advance, starts.T, frame, n_align, n_steps) / step


def _delay_spectrum(
    system: System, duration: float, max_step: float, align: float, n_exponents: int, seed: int
) -> np.ndarray:
    """Return the largest exponents of a delay equation, of which there are as many as one likes."""
    if n_exponents < 1:
        raise ValueError(f"n_exponents must be at least 1, got {n_exponents}.")
    tau, start = system.parameters["tau"], _start(system, None)
    n_align, n_delays = max(1, round(align / tau)), max(1, round(duration / tau))
    growth = _integration.delay_growth(system.bound_rhs(), start, tau, max_step, n_exponents, n_align, n_delays, seed)
    return growth / tau


def _chosen(system: str | System, dimension: int | None, parameters: dict[str, float]) -> System:
    chosen = find_system(system)
    if dimension is not None:
        chosen = chosen.resized(dimension)
    return chosen.with_parameters(**parameters)


def _start(system: System, initial: Sequence[float] | np.ndarray | None) -> np.ndarray:
    start = np.array(system.initial if initial is None else initial, dtype=np.float64)
    if start.shape != (system.dimension,):
        raise ValueError(f"initial must hold the {system.dimension} states of {system.name!r}, got {start.shape}.")
    if not np.isfinite(start).all():
        raise ValueError(f"initial must be finite, got {start.tolist()}.")
    return start


def _times(
    system: System, n: int, dt: float | None, points_per_period: float | None, transient: float | None
) -> np.ndarray:
    """Return the times (n,) of a trajectory."""
    if not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"n must be at least 1 and an integer, got {n!r}.")
    if points_per_period is not None:
        if not points_per_period > 0:
            raise ValueError(f"points_per_period must be positive, got {points_per_period!r}.")
        if dt is not None:
            raise ValueError("pass dt or points_per_period, not both.")
        if system.period is None:
            raise ValueError(f"no period of {system.name!r} is known: pass dt instead of points_per_period.")
        dt = system.period / points_per_period
    dt = system.dt if dt is None else dt
    first = system.transient if transient is None else transient
    if not (np.isfinite(dt) and dt > 0):
        raise ValueError(f"the step between two states must be positive, got {dt!r}.")
    if system.kind == "map" and dt != 1:
        raise ValueError(f"{system.name!r} is a map, its step is 1: leave dt out, or take every k-th state.")
    if not (np.isfinite(first) and first >= 0):
        raise ValueError(f"transient must be at least 0, got {first!r}.")
    return first + dt * np.arange(n)
