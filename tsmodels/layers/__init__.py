"""Building blocks shared by several networks: plain ``nn.Module`` classes over ``tsmodels_kernels``."""

from ._conv import CausalDepthwiseConv
from ._discretize import inverse_softplus, log_uniform_step_bias
from ._heads import MaskedPooling
from ._patch import PatchEmbedding
from ._ssm2d import BiChimera2D, Chimera2D, ChimeraBlock

__all__ = [
    "BiChimera2D",
    "CausalDepthwiseConv",
    "Chimera2D",
    "ChimeraBlock",
    "MaskedPooling",
    "PatchEmbedding",
    "inverse_softplus",
    "log_uniform_step_bias",
]
