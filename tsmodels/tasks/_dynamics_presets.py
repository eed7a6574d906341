"""Settings of the papers on piecewise-linear networks, as arguments by name.

From the repositories of arXiv 2306.04406 (``gtf_``, ``agtf_``, ``stf_``), 2410.14240 (``al_``), 2411.02949 (``conv_``)
and 2207.02542 (``dend_``), and this package's own ``quick``,
``reference`` and ``al_quick``, chosen by free runs beside a validation part of the training series of Lorenz-63.
"""

from types import MappingProxyType
from typing import Any, NamedTuple

__all__ = ["DYNAMICS_PRESETS", "Preset"]


class Preset(NamedTuple):
    """Arguments of a run, by name; what is not there has its default."""

    network: dict[str, Any]  # of PLRNN, beside n_channels and n_inputs
    task: dict[str, Any]  # of DynamicsTask
    data: dict[str, Any]  # of DynamicsDataModule
    trainer: dict[str, Any]  # of lightning's Trainer


def _preset(network: dict[str, Any], task: dict[str, Any], window: int, epochs: int, lr_end: float = 1e-6) -> Preset:
    return Preset(network, {"lr_end": lr_end} | task, {"window": window}, {"max_epochs": epochs})


def _shallow(units: int | None, hidden: int, observation: str = "identity") -> dict[str, Any]:
    sizes = {"cell": "cshplrnn", "hidden_dim": hidden, "observation": observation}
    return sizes if units is None else sizes | {"latent_dim": units}


def _almost_linear(units: int, n_relu: int) -> dict[str, Any]:
    return {"cell": "alrnn", "latent_dim": units, "n_relu": n_relu}


def _dendritic(units: int, n_bases: int, interval: int, window: int = 500, **task: Any) -> Preset:
    network = {"cell": "cdendplrnn", "latent_dim": units, "n_bases": n_bases}
    task = {"forcing": "sparse", "forcing_interval": interval, "schedule": "milestones"} | task
    return Preset(network, task, {"window": window}, {"max_epochs": 5000})


_GTF = {"forcing": "gtf", "alpha": 0.15}
_ADAPTIVE = {"forcing": "adaptive", "alpha_method": "product"}
_ECG, _EEG = _shallow(5, 250, "linear"), _shallow(16, 512, "linear")
_FREE = {"forcing": "free", "observation_penalty": 1e-6}


def _sparse(interval: int, lr: float = 1e-3, noise: float = 0.0, **task: Any) -> dict[str, Any]:
    return {"forcing": "sparse", "forcing_interval": interval, "lr": lr, "noise": noise} | task


DYNAMICS_PRESETS = MappingProxyType(
    {
        "quick": _preset(_shallow(None, 50), _GTF | {"lr": 5e-3}, 200, 1000, 1e-5),
        "reference": _preset(_shallow(None, 50), _GTF | {"lr": 5e-3}, 200, 5000),
        "al_quick": _preset(_almost_linear(20, 10), _GTF | {"lr": 5e-3}, 200, 1000, 1e-5),
        "gtf_lorenz63": _preset(_shallow(3, 100), _ADAPTIVE | {"l2": 1e-5}, 200, 5000),
        "gtf_ecg": _preset(_ECG, {"forcing": "gtf", "alpha": 0.3, "observation_penalty": 1e-7}, 200, 5000),
        "agtf_ecg": _preset(_ECG, _ADAPTIVE | {"l2": 1e-5, "observation_penalty": 1e-6}, 200, 5000),
        "gtf_eeg": _preset(_EEG, {"forcing": "gtf", "alpha": 0.1, "l2": 1e-4, "observation_penalty": 1e-6}, 50, 5000),
        "agtf_eeg": _preset(
            _EEG,
            _ADAPTIVE | {"alpha_method": "mean_jacobian", "l2": 1e-4, "observation_penalty": 1e-6},
            50,
            5000,
        ),
        "stf_ecg": _preset(_ECG, _FREE | {"l2": 1e-5}, 221, 5000),
        "stf_eeg": _preset(_EEG, _FREE | {"l2": 1e-4}, 41, 5000),
        "al_lorenz63": _preset(_almost_linear(20, 2), _sparse(16, 1e-3, 0.05), 200, 2000, 1e-5),
        "al_rossler": _preset(_almost_linear(20, 1), _sparse(8, 5e-3, 0.05), 300, 3000, 1e-5),
        "al_lorenz96": _preset(_almost_linear(100, 50), _sparse(20, 1e-3, 0.05), 50, 3000, 1e-5),
        "al_ecg": _preset(_almost_linear(100, 2), _sparse(10, 2e-3, 0.01), 50, 4000, 1e-5),
        "al_fmri": _preset(_almost_linear(50, 2), _sparse(7, 5e-3), 72, 2000, 1e-5),
        "al_eeg": _preset(_almost_linear(133, 60), _sparse(10, linearity=0.1), 100, 2000, 1e-5),
        "conv_lorenz63": _preset(_shallow(3, 50, "linear"), _GTF | {"noise": 0.05}, 200, 5000),
        "dend_lorenz63": _dendritic(22, 20, 25, window=200, gradient_clip=10.0),
        "dend_lorenz96": _dendritic(50, 30, 10),
        "dend_ecg": _dendritic(30, 50, 10),
        "dend_eeg": _dendritic(128, 50, 10),
        "dend_bursting": _dendritic(26, 47, 5, gradient_clip=10.0),
    }
)
