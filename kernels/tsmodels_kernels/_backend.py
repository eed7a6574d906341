"""Which code runs an operator, the torch library they are registered in, and checks that all operators share."""

import functools
import importlib
import logging
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

BACKENDS = ("auto", "reference", "cpu", "cuda")
# Width of the vectors in CPU kernels (_simd.py); here, so that sizes can be worked out without importing Numba.
VECTOR_BYTES = 64
LIBRARY = torch.library.Library("tsmodels", "DEF")

_logger = logging.getLogger("tsmodels_kernels")
_logged: set[tuple[str, str]] = set()
_FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COMPLEX = (torch.complex64, torch.complex128)
_HALF = (torch.float16, torch.bfloat16)


def backend_for(tensor: Tensor, backend: str = "auto") -> str:
    """Name the backend that an operator uses for a tensor.

    Parameters
    ----------
    tensor : Tensor
        Any tensor argument of the operator; only its device counts.
    backend : {"auto", "reference", "cpu", "cuda"}, default="auto"
        What is asked for; ``"auto"`` follows the device.

    Returns
    -------
    str
        ``"reference"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    ValueError
        If the backend is unknown or cannot run on the tensor's device.
    NotImplementedError
        If the compiled backend is asked for on a device without kernels.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(map(repr, BACKENDS))}; got {backend!r}")
    if backend == "reference":
        return backend
    device = tensor.device.type
    if backend not in ("auto", device):
        raise ValueError(
            f"backend={backend!r} cannot run on a tensor on {tensor.device}; move it or use backend='auto'"
        )
    if device not in ("cpu", "cuda"):
        raise NotImplementedError(
            f"tsmodels_kernels has no kernels for tensors on {tensor.device}; move the tensors to the CPU "
            "(tensor.cpu()), or pass backend='reference' to run the slow definition on that device"
        )
    return device


def choose(op: str, tensor: Tensor, backend: str) -> str:
    """``backend_for``, with the choice of ``"auto"`` logged once for each operator and backend."""
    chosen = backend_for(tensor, backend)
    if backend == "auto" and not torch.compiler.is_compiling() and (op, chosen) not in _logged:
        _logged.add((op, chosen))
        _logger.info("%s runs on backend %r", op, chosen)
    return chosen


@functools.cache
def kernel_module(package: str | None, name: str) -> ModuleType:
    """The module with an operator's kernels, imported on its first call: importing the package stays cheap."""
    return importlib.import_module(f".{name}", package)


def check_tensors(op: str, tensors: Mapping[str, Any], *, allow_complex: bool = False) -> None:
    """Raise TypeError unless all are floating-point tensors of one dtype on one device."""
    allowed = _FLOATING + (_COMPLEX if allow_complex else ())
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{op}: {name} must be a torch.Tensor, got {type(tensor).__name__}")
        if tensor.dtype not in allowed:
            raise TypeError(f"{op}: {name} has dtype {tensor.dtype}; use {', '.join(map(str, allowed))}")
    first, *others = tensors
    for name in others:
        if tensors[name].device != tensors[first].device:
            raise TypeError(
                f"{op}: {name} is on {tensors[name].device}, {first} on {tensors[first].device}; put them on one device"
            )
        if tensors[name].dtype != tensors[first].dtype:
            raise TypeError(
                f"{op}: {name} has dtype {tensors[name].dtype}, {first} has {tensors[first].dtype}; convert one of them"
            )


def check_shape(op: str, name: str, tensor: Tensor, expected: tuple[int, ...], axes: str) -> None:
    """Raise ValueError unless ``tensor`` has the shape ``expected``, described by ``axes``."""
    if tuple(tensor.shape) != expected:
        raise ValueError(f"{op}: {name} must have shape {axes} = {expected}, got {tuple(tensor.shape)}")


def computing_dtype(dtype: torch.dtype) -> torch.dtype:
    """Half precision is stored, never computed in: arithmetic and states are float32."""
    return torch.float32 if dtype in _HALF else dtype


def refuse_lost_gradient(op: str, *tensors: Tensor) -> None:
    """The raw operator has no gradient: called by itself under grad mode it would lose it with a mere warning."""
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        raise RuntimeError(
            f"torch.ops.tsmodels.{op} has no gradient of its own; call tsmodels_kernels.{op}, or use torch.no_grad()"
        )
