from .free import plrnn_lyapunov, plrnn_simulate
from .newton import NewtonResult, plrnn_newton
from .op import plrnn_rollout
from .regions import plrnn_affine, plrnn_pattern, plrnn_step

__all__ = [
    "NewtonResult",
    "plrnn_affine",
    "plrnn_lyapunov",
    "plrnn_newton",
    "plrnn_pattern",
    "plrnn_rollout",
    "plrnn_simulate",
    "plrnn_step",
]
