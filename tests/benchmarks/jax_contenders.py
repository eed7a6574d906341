"""The contenders in jax: functions of arrays (B, T, ...) that jax compiles, forward and backward."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import Tensor

from .contenders import combine

jax.config.update("jax_platforms", "cpu")  # also where there is a GPU: it stands beside our kernels on the CPU
jax.config.update("jax_enable_x64", True)  # float64 stays float64; float32 is not promoted


def scan(a, b):
    def step(h, gate_and_term):
        h = gate_and_term[0] * h + gate_and_term[1]
        return h, h

    steps = _time_first(a, b)
    return jnp.moveaxis(jax.lax.scan(step, jnp.zeros_like(steps[1][0]), steps)[1], 0, 1)


def associative_scan(a, b):
    return jax.lax.associative_scan(combine, (a, b), axis=1)[1]


def selective_by_scan(x, dt, A, B, C):
    """Gates and inputs are made inside the loop: no array of all states."""

    def step(h, inputs):
        x, dt, b, c = inputs
        h = jnp.exp(dt[..., None] * A) * h + (dt * x)[..., None] * b[:, None, :]
        return h, (h * c[:, None, :]).sum(-1)

    start = jnp.zeros((x.shape[0], *A.shape), x.dtype)
    return jnp.moveaxis(jax.lax.scan(step, start, _time_first(x, dt, B, C))[1], 0, 1)


def selective_by_associative_scan(x, dt, A, B, C):
    h = associative_scan(jnp.exp(dt[..., None] * A), (dt * x)[..., None] * B[:, :, None, :])
    return (h * C[:, :, None, :]).sum(-1)


def with_options(solve: Callable) -> Callable:
    """Mamba's form: bias and softplus on the step size, skip, gate."""

    def solve_all(x, dt, A, B, C, D, z, dt_bias):
        return (solve(x, jax.nn.softplus(dt + dt_bias), A, B, C) + D * x) * jax.nn.silu(z)

    return solve_all


def column_scan(x, dt1, dt2, B1, B2, C1, C2, alpha1, rho2, rho3, alpha4):
    """A loop over columns and inside it one over variates; gates are made inside the loops."""

    def along_variates(above, cell):
        h1, x, dt, b = cell
        e = jnp.exp(-dt[..., None] * alpha4)
        h2 = (1 - e) * rho3 * above[0] + e * above[1] + (dt * x)[..., None] * b[:, None, :]
        return (h1, h2), h2

    def along_time(states, column):
        x, d1, d2, b1, b2, c1, c2 = column  # (V, B, ...)
        e = jnp.exp(-d1[..., None] * alpha1)
        h1 = e * states[0] + (1 - e) * rho2 * states[1] + (d1 * x)[..., None] * b1[:, :, None, :]
        outside = jnp.zeros_like(h1[0])
        h2 = jax.lax.scan(along_variates, (outside, outside), (h1, x, d2, b2))[1]
        return (h1, h2), (h1 * c1[:, :, None] + h2 * c2[:, :, None]).sum(-1)

    columns = tuple(jnp.transpose(t, (1, 2, 0, 3)) for t in (x, dt1, dt2, B1, B2, C1, C2))
    start = jnp.zeros((x.shape[2], x.shape[0], *alpha1.shape), x.dtype)
    return jnp.transpose(jax.lax.scan(along_time, (start, start), columns)[1], (2, 0, 1, 3))


def _time_first(*arrays):
    return tuple(jnp.moveaxis(t, 1, 0) for t in arrays)


_SELECTIVE = {"jax scan": selective_by_scan, "jax associative_scan": selective_by_associative_scan}
SOLVERS: Mapping[str, Mapping[str, Callable]] = {
    "linear_scan": {"jax scan": scan, "jax associative_scan": associative_scan},
    "selective_scan": _SELECTIVE,
    "selective_scan, Mamba": {name: with_options(solve) for name, solve in _SELECTIVE.items()},
    "selective_scan_2d": {"jax scan": column_scan},
}


def actions(solve: Callable, tensors: list[Tensor], weights: Tensor, time_last: bool) -> tuple[Callable, Callable]:
    """Calls without arguments for the forward and for forward + backward, on copies of the tensors.

    With ``time_last`` the arrays are (B, D, T) in memory and XLA sees the swap of axes.
    """

    def array(tensor):
        tensor = tensor.detach()
        return jnp.asarray(np.ascontiguousarray((_swapped(tensor) if time_last else tensor).numpy()))

    def solved(*arrays):
        return _swapped(solve(*map(_swapped, arrays))) if time_last else solve(*arrays)

    def with_gradients(seed, *arrays):
        output, pull = jax.vjp(solved, *arrays)
        return output, *pull(seed)

    arrays, seed = [array(t) for t in tensors], array(weights)
    forward, both = jax.jit(solved), jax.jit(with_gradients)
    return lambda: jax.block_until_ready(forward(*arrays)), lambda: jax.block_until_ready(both(seed, *arrays))


def _swapped(array: Any) -> Any:
    """(B, T, D) <-> (B, D, T); parameters, which have fewer axes, as they are."""
    return array.swapaxes(1, 2) if array.ndim == 3 else array


def tensor_from(array: Any, time_last: bool) -> Tensor:
    """What an action returned, as a tensor (B, T, ...)."""
    return torch.from_numpy(np.array(_swapped(array) if time_last else array))
