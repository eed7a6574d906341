"""Networks: one file per paper, plain ``nn.Module`` classes without loss, optimiser or framework."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .chimera import ChimeraForClassification
    from .mamba import MambaForClassification
    from .s4d import S4DForClassification

__all__ = ["ChimeraForClassification", "MambaForClassification", "S4DForClassification"]

_MODULES = {
    "ChimeraForClassification": "chimera",
    "MambaForClassification": "mamba",
    "S4DForClassification": "s4d",
}


def __getattr__(name: str):
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
