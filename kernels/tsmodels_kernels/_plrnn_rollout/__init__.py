from .op import plrnn_rollout
from .regions import plrnn_affine, plrnn_pattern, plrnn_step

__all__ = ["plrnn_affine", "plrnn_pattern", "plrnn_rollout", "plrnn_step"]
