"""Networks: one file per paper, plain ``nn.Module`` classes without loss, optimiser or framework."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .chimera import ChimeraForClassification, ChimeraForForecasting
    from .chimera_reconstruction import ChimeraForReconstruction
    from .convlstm import ConvLSTMForFrames
    from .convs5 import ConvS5ForClassification, ConvS5ForFrames
    from .dlinear import DLinearForForecasting
    from .frame_transformer import TransformerForFrames
    from .mamba import MambaForClassification, MambaForForecasting
    from .plrnn import PLRNN
    from .s4d import S4DForClassification, S4DForForecasting
    from .shapeformer import ShapeFormerForClassification
    from .vsformer import VSFormerForClassification

__all__ = [
    "PLRNN",
    "ChimeraForClassification",
    "ChimeraForForecasting",
    "ChimeraForReconstruction",
    "ConvLSTMForFrames",
    "ConvS5ForClassification",
    "ConvS5ForFrames",
    "DLinearForForecasting",
    "MambaForClassification",
    "MambaForForecasting",
    "S4DForClassification",
    "S4DForForecasting",
    "ShapeFormerForClassification",
    "TransformerForFrames",
    "VSFormerForClassification",
]

_MODULES = {
    "ChimeraForClassification": "chimera",
    "ChimeraForForecasting": "chimera",
    "ChimeraForReconstruction": "chimera_reconstruction",
    "ConvLSTMForFrames": "convlstm",
    "ConvS5ForClassification": "convs5",
    "ConvS5ForFrames": "convs5",
    "DLinearForForecasting": "dlinear",
    "MambaForClassification": "mamba",
    "MambaForForecasting": "mamba",
    "PLRNN": "plrnn",
    "S4DForClassification": "s4d",
    "S4DForForecasting": "s4d",
    "ShapeFormerForClassification": "shapeformer",
    "TransformerForFrames": "frame_transformer",
    "VSFormerForClassification": "vsformer",
}


def __getattr__(name: str):
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
