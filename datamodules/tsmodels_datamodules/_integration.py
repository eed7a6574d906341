"""Orbits of ordinary differential equations, delay equations and maps, and the Lyapunov spectra of all three.

Spectra come from orbits with tangent vectors: the tangent vectors q are carried as the imaginary parts of a state
``x + i e q`` with a tiny e, so one evaluation of the equations gives both the derivative, f(x), and what it does to a
tangent vector, J(x) q = Im f(x + i e q) / e. No difference is formed, so this is the derivative to the last digit
(Squire and Trapp, SIAM Review 40 (1998)).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.integrate import solve_ivp

Rhs = Callable[..., np.ndarray]

_TINY = 1e-50  # the imaginary step; its square vanishes beside any real part
_STEPS_PER_DELAY = 160
_STEPS_PER_QR = 10  # tangent vectors are made orthogonal again before the shrinking ones drown in rounding errors


def solve_flow(rhs: Rhs, initial: np.ndarray, times: np.ndarray, rtol: float, atol: float) -> np.ndarray:
    """Return the states (time, dimension) of dx/dt = rhs(t, x) at increasing times, `initial` being x(0)."""
    with np.errstate(all="ignore"):  # a blow-up is reported below, once
        solution = solve_ivp(rhs, (0.0, float(times[-1])), initial, "DOP853", times, rtol=rtol, atol=atol)
    states = np.transpose(solution.y)
    if not solution.success or not np.isfinite(states).all():
        raise FloatingPointError(
            f"the solution could not be followed up to time {times[-1]:.4g} ({solution.message}): choose another "
            f"initial state, other parameters or another tolerance."
        )
    return states


def iterate_map(step: Rhs, initial: np.ndarray, first: int, n: int) -> np.ndarray:
    """Return x[first], ..., x[first + n - 1] of x[t + 1] = step(t, x[t]), `initial` being x[0]."""
    states = np.empty((first + n, *initial.shape))
    states[0] = initial
    with np.errstate(all="ignore"):
        for t in range(len(states) - 1):
            states[t + 1] = step(t, states[t])
    if not np.isfinite(states).all():
        raise FloatingPointError("the orbit is not bounded: choose another initial state or other parameters.")
    return states[first:]


def solve_delay(rhs: Rhs, initial: np.ndarray, delay: float, times: np.ndarray, max_step: float) -> np.ndarray:
    """Return the states (time, dimension) of dx/dt = rhs(t, x(t), x(t - delay)), x being `initial` up to time 0.

    Classical Runge-Kutta steps of which a whole number make a delay; values between two steps, where they are needed
    for the past or at `times`, by cubic Hermite polynomials, of the same order as the steps.
    """
    n_steps = max(_STEPS_PER_DELAY, math.ceil(delay / max_step))
    step = delay / n_steps
    values, slopes = _constant_past(initial, n_steps)
    parts = [(values[:-1], slopes[:-1])]
    with np.errstate(all="ignore"):
        for k in range(int(times[-1] / delay) + 1):
            values, slopes = _next_delay(rhs, k * delay, values, slopes, step)
            parts.append((values[:-1], slopes[:-1]))
    parts.append((values[-1:], slopes[-1:]))
    values, slopes = (np.concatenate(one) for one in zip(*parts, strict=True))
    if not np.isfinite(values).all():
        raise FloatingPointError("the solution is not bounded: choose another initial state or other parameters.")
    position = times / step + n_steps
    before = np.minimum(position.astype(np.int64), len(values) - 2)
    u = (position - before)[:, None]
    rise = values[before + 1] - values[before]
    start, end = step * slopes[before] - rise, rise - step * slopes[before + 1]
    return values[before] + u * rise + u * (1 - u) * ((1 - u) * start + u * end)


def _constant_past(initial: np.ndarray, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return values and slopes (n_steps + 1, ...) over the delay before time 0."""
    values = np.repeat(initial[None], n_steps + 1, axis=0)
    return values, np.zeros_like(values)


def _next_delay(
    rhs: Rhs, t: float, past: np.ndarray, past_slopes: np.ndarray, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return values and slopes (n_steps + 1, ...) over the delay from t on, from those over the delay before it."""
    middles = (past[:-1] + past[1:]) / 2 + step / 8 * (past_slopes[:-1] - past_slopes[1:])
    values, slopes = np.empty_like(past), np.empty_like(past)
    values[0], slopes[0] = past[-1], rhs(t, past[-1], past[0])
    for k, middle in enumerate(middles):
        x, now = values[k], t + k * step
        second = rhs(now + step / 2, x + step / 2 * slopes[k], middle)
        third = rhs(now + step / 2, x + step / 2 * second, middle)
        fourth = rhs(now + step, x + step * third, past[k + 1])
        values[k + 1] = x + step / 6 * (slopes[k] + 2 * second + 2 * third + fourth)
        slopes[k + 1] = rhs(now + step, values[k + 1], past[k + 1])
    return values, slopes


def jacobian(rhs: Rhs, t: float, x: np.ndarray) -> np.ndarray:
    """Return the derivative (dimension, dimension) of ``rhs(t, x)`` by x (dimension,), exact up to rounding."""
    return np.imag(rhs(t, x[:, None] + 1j * _TINY * np.eye(len(x)))) / _TINY


def tangent_growth(
    advance: Callable[[int, np.ndarray], np.ndarray], starts: np.ndarray, frame: np.ndarray, n_align: int, n_steps: int
) -> np.ndarray:
    """Return the growth of orthogonal tangent vectors per step, the fastest first.

    Parameters
    ----------
    advance : callable
        ``advance(k, x)``: step k of all orbits, on a complex state x (dimension, orbit, vector).
    starts : ndarray (dimension, orbit)
    frame : ndarray (dimension, vector)
        The first tangent vectors, orthonormal.
    n_align, n_steps : int
        Steps until the vectors have turned into their directions, and steps that count after these.

    Returns
    -------
    ndarray (vector,)
        Mean logarithm of the diagonal of R in the QR decompositions.
    """
    x = starts[..., None] + 1j * _TINY * np.repeat(frame[:, None], starts.shape[1], axis=1)
    total, counted = np.zeros(frame.shape[1]), 0
    for k in range(n_align + n_steps):
        with np.errstate(all="ignore"):  # a blow-up is reported below, once
            x = advance(k, x)
        if (k + 1) % _STEPS_PER_QR and k + 1 not in (n_align, n_align + n_steps):
            continue
        q, growth = _orthogonal(np.moveaxis(np.imag(x), 0, 1) / _TINY)
        x = np.real(x)[..., :1] + 1j * _TINY * np.moveaxis(q, 1, 0)
        if k >= n_align:
            total, counted = total + growth.mean(axis=0), k + 1 - n_align
    if not np.isfinite(x).all():
        raise FloatingPointError("an orbit is not bounded: choose a smaller dt, another initial state or parameters.")
    return total / counted


def delay_growth(
    rhs: Rhs, initial: np.ndarray, delay: float, max_step: float, n_vectors: int, n_align: int, n_delays: int, seed: int
) -> np.ndarray:
    """Return the growth of tangent vectors of a delay equation per delay, as :func:`tangent_growth`.

    The state is the past over one delay, so a tangent vector is a function on it.
    """
    n_steps = max(_STEPS_PER_DELAY, math.ceil(delay / max_step))
    values, slopes = (past[..., None].astype(np.complex128) for past in _constant_past(initial, n_steps))
    values = values + 1j * _TINY * np.random.default_rng(seed).standard_normal((*values.shape[:-1], n_vectors))
    slopes = np.repeat(slopes, n_vectors, axis=-1)
    total = np.zeros(n_vectors)
    for k in range(n_align + n_delays):
        with np.errstate(all="ignore"):
            values, slopes = _next_delay(rhs, k * delay, values, slopes, delay / n_steps)
        tangents = np.imag(values).reshape(-1, n_vectors) / _TINY
        q, r = np.linalg.qr(tangents)
        values = np.real(values) + 1j * _TINY * q.reshape(values.shape)
        # the slopes are linear in the tangent vectors, so they are combined as those were, by the inverse of R
        turned = np.linalg.solve(r.T, np.imag(slopes).reshape(-1, n_vectors).T).T
        slopes = np.real(slopes) + 1j * turned.reshape(slopes.shape)
        if k >= n_align:
            total += np.log(np.abs(np.diag(r)))
    if not np.isfinite(values).all():
        raise FloatingPointError("the solution is not bounded: choose another initial state or other parameters.")
    return total / n_delays


def _orthogonal(tangents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return orthonormal vectors (..., dimension, vector) and the logarithms (..., vector) of their growth."""
    q, r = np.linalg.qr(tangents)
    with np.errstate(divide="ignore"):  # a vector may vanish, its exponent is -inf
        return q, np.log(np.abs(np.diagonal(r, axis1=-2, axis2=-1)))


def runge_kutta(rhs: Rhs, times: np.ndarray, dt: float) -> Callable[[int, np.ndarray], np.ndarray]:
    """Return the classical Runge-Kutta step k of orbits that are at `times` at step 0, times broadcasting to states."""

    def advance(k: int, x: np.ndarray) -> np.ndarray:
        t = times + k * dt
        first = rhs(t, x)
        second = rhs(t + dt / 2, x + dt / 2 * first)
        third = rhs(t + dt / 2, x + dt / 2 * second)
        fourth = rhs(t + dt, x + dt * third)
        return x + dt / 6 * (first + 2 * (second + third) + fourth)

    return advance
