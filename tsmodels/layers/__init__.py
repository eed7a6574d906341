"""Building blocks shared by several networks: plain ``nn.Module`` classes over ``tsmodels_kernels``."""

from ._closed_loop import ClosedLoop2D
from ._conv import CausalDepthwiseConv
from ._covariates import CovariateRegression
from ._discretize import inverse_softplus, log_uniform_step_bias
from ._heads import AttentionPooling, ForecastingHead, MaskedPooling
from ._hippo import diagonal_eigenvalues
from ._patch import PatchEmbedding
from ._revin import RevIN
from ._s4d import S4D, S4DBlock
from ._ssm import MambaBlock, MambaMixer, MambaState
from ._ssm2d import BiChimera2D, Chimera2D, ChimeraBlock

__all__ = [
    "S4D",
    "AttentionPooling",
    "BiChimera2D",
    "CausalDepthwiseConv",
    "Chimera2D",
    "ChimeraBlock",
    "ClosedLoop2D",
    "CovariateRegression",
    "ForecastingHead",
    "MambaBlock",
    "MambaMixer",
    "MambaState",
    "MaskedPooling",
    "PatchEmbedding",
    "RevIN",
    "S4DBlock",
    "diagonal_eigenvalues",
    "inverse_softplus",
    "log_uniform_step_bias",
]
