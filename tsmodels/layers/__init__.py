"""Building blocks shared by several networks: plain ``nn.Module`` classes over ``tsmodels_kernels``."""

from ._attention import JoinedAttention, PostNormBlock
from ._batch_norm import MaskedBatchNorm2d
from ._closed_loop import ClosedLoop2D
from ._conv import CausalDepthwiseConv
from ._conv_lstm import ConvLSTMLayer
from ._conv_ssm import ConvS5SSM
from ._conv_ssm_layer import ChannelNorm, ConvS5Layer, frame_norm, same_conv
from ._conv_ssm_wide import WideConvS5SSM
from ._covariates import CovariateRegression
from ._discretize import inverse_softplus, log_uniform_step_bias
from ._distributed import keep_in_graph
from ._gaps import fill_gaps
from ._heads import AttentionPooling, ForecastingHead, MaskedPooling
from ._hippo import diagonal_eigenvalues
from ._intervals import Intervals, interval_level, interval_statistics
from ._matching import Matches, NearestWindows
from ._patch import PatchEmbedding
from ._prior_attention import PriorAttention, PriorEncoder, PriorEncoderLayer
from ._revin import RevIN
from ._s4d import S4D, S4DBlock
from ._shapelet_filter import ShapeletFilter, ShapeletMatch
from ._ssm import MambaBlock, MambaMixer, MambaState
from ._ssm2d import BiChimera2D, Chimera2D, ChimeraBlock

__all__ = [
    "S4D",
    "AttentionPooling",
    "BiChimera2D",
    "CausalDepthwiseConv",
    "ChannelNorm",
    "Chimera2D",
    "ChimeraBlock",
    "ClosedLoop2D",
    "ConvLSTMLayer",
    "ConvS5Layer",
    "ConvS5SSM",
    "CovariateRegression",
    "ForecastingHead",
    "Intervals",
    "JoinedAttention",
    "MambaBlock",
    "MambaMixer",
    "MambaState",
    "MaskedBatchNorm2d",
    "MaskedPooling",
    "Matches",
    "NearestWindows",
    "PatchEmbedding",
    "PostNormBlock",
    "PriorAttention",
    "PriorEncoder",
    "PriorEncoderLayer",
    "RevIN",
    "S4DBlock",
    "ShapeletFilter",
    "ShapeletMatch",
    "WideConvS5SSM",
    "diagonal_eigenvalues",
    "fill_gaps",
    "frame_norm",
    "interval_level",
    "interval_statistics",
    "inverse_softplus",
    "keep_in_graph",
    "log_uniform_step_bias",
    "same_conv",
]
