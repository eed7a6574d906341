from .op import plrnn_rollout

__all__ = ["plrnn_rollout"]
