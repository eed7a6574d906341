"""Forecasters of gridded fields: a convolutional state space model, baselines that it must beat, averages of both."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from tsmodels.estimators._grid_average import AverageGridForecaster
from tsmodels.estimators._grid_base import GridForecaster
from tsmodels.estimators._grid_baselines import (
    ClimatologyGridForecaster,
    DampedPersistenceGridForecaster,
    LinearInverseGridForecaster,
    PersistenceGridForecaster,
)
from tsmodels.estimators._grid_skill import skill_table
from tsmodels.estimators._training import (
    check_training,
    draw_seed,
    isolated,
    require_count,
    require_finite,
    resolve_device,
    train,
)
from tsmodels.models import ConvS5ForFrames

__all__ = [
    "AverageGridForecaster",
    "ClimatologyGridForecaster",
    "ConvS5GridForecaster",
    "DampedPersistenceGridForecaster",
    "LinearInverseGridForecaster",
    "PersistenceGridForecaster",
    "skill_table",
]

_NETWORK = ("d_model", "d_state", "n_layers", "widths", "groups", "state_kernel", "dropout", "increments")
_TRAINING = ("max_epochs", "batch_size", "lr", "val_fraction", "patience", "accelerator", "devices", "precision")
_TRAINING += ("gradient_clip_val", "verbose", "trainer_kwargs", "random_state")


class ConvS5GridForecaster(GridForecaster):
    """ConvS5 as a forecaster of fields on a grid: sea-surface temperature, radar, reanalysis, solutions of PDEs.

    The network learns to predict the next frame of windows of the anomalies, all times of a window in one pass, and to
    go on from its own forecasts. A forecast observes the whole context in parallel and then imagines frame by frame,
    its state being carried along, so that a further frame costs the same however many there were.

    Parameters
    ----------
    d_model, d_state, n_layers : int, default=32, 32 and 2
        Size of the network, see :class:`tsmodels.models.ConvS5ForFrames`, as are the next five.
    widths : tuple of int, default=(16, 32)
        Channels of encoder and decoder; each after the first halves the resolution.
    groups : int, default=8
        Groups of the group norms.
    state_kernel : {1, 3}, default=1
        Cells of the latent grid, each way, between which the states flow.
    dropout : float, default=0.0
        Dropout in the layers.
    increments : bool, default=True
        Whether the network predicts the change from frame to frame.
    context : int, default=24
        Frames that a forecast is made from; a shorter history is taken as it is.
    horizon : int, default=12
        Frames after the context by which a window is validated. Forecasts may be longer.
    rollout_frames : int, default=0
        Frames after the context, at most `horizon`, that the network generates in training, from its own forecasts;
        their loss is added. It makes training slower.
    season : int, optional
        Frames of a season, 12 for months: the network then sees departures from the mean of the phase over the
        training frames; else those from the mean.
    loss : {"mse", "mse+mae", "mae"}, default="mse"
        Of cells that count.
    sign_flip : bool, default=False
        Whether anomalies are trained on with both signs, a random half of the windows being turned.
    n_members : int, default=1
        Networks of different random numbers, whose forecasts are averaged.
    weight_decay : float, default=1e-2
        Of AdamW; the numbers that make up the dynamics of the states, norms and biases are spared.
    max_epochs : int, default=20
        Passes over the training windows.
    batch_size : int, default=8
        Windows per optimiser step, and per batch in prediction.
    lr : float, default=2e-3
        Peak learning rate of AdamW; it rises over the first 5 % of the steps and falls to 0 on half a cosine.
    val_fraction : float or None, default=0.2
        Share of the frames, the last ones, that are for validation: no window is trained on them, and the network keeps
        the weights of the epoch with the least squared error of the forecasts of `horizon` frames. None: all frames are
        trained on, the last weights are kept.
    patience : int or None, default=None
        Stop when that error has not fallen for so many epochs. Needs `val_fraction`.
    accelerator : str, default="auto"
        "auto", "cpu", "gpu", "cuda" or "mps": where the network trains and predicts. It is kept on the CPU.
    devices : 1 or list of one int, default=1
        The device, or a list with the index of one.
    precision : str or int, default="32-true"
        Of training, as Lightning names it.
    gradient_clip_val : float or None, default=1.0
        Gradients with a larger norm are scaled down to it.
    verbose : bool, default=False
        Show a progress bar and Lightning's messages.
    trainer_kwargs : dict or None, default=None
        Further arguments of ``lightning.pytorch.Trainer``, over those derived from this forecaster.
    random_state : int, RandomState or None, default=None
        Seed of weights and order of the windows. An int makes `fit` repeatable; the global generators are left alone.

    Attributes
    ----------
    networks_ : list of ConvS5ForFrames
        The members, on the CPU, in eval mode. They take scaled anomalies (batch, time, channel, height, width).
    network_ : ConvS5ForFrames
        The first of them.
    scaler_ : SeriesScaler
        Of the anomalies of the training frames.
    history_ : dict
        Of the first member: ``epochs``, ``best_epoch`` and ``best_value`` (None without validation), ``curves``.
    histories_ : list of dict
        Of all.
    n_parameters_ : int
        Trainable numbers of one network.

    Notes
    -----
    Cells where the mask is False are 0 for the network, whatever the field holds there, count in no loss, and are NaN
    in forecasts. `update` lets further frames in without training.

    References
    ----------
    Smith, De Mello, Kautz, Linderman, Byeon, "Convolutional State Space Models for Long-Range Spatiotemporal Modeling",
    NeurIPS 2023, arXiv 2310.19694.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.estimators import ConvS5GridForecaster
    >>> wave = np.sin(np.arange(60)[:, None, None] / 4 - np.arange(8) / 3) * np.ones((6, 1))
    >>> small = {"d_model": 4, "d_state": 4, "n_layers": 1, "widths": (4, 4), "groups": 2}
    >>> forecaster = ConvS5GridForecaster(**small, context=8, horizon=3, max_epochs=1, random_state=0)
    >>> forecaster.fit(wave).predict(5).shape
    (5, 6, 8)
    """

    _tags = {"python_dependencies": ["torch", "lightning"]}

    def __init__(
        self,
        d_model=32,
        d_state=32,
        n_layers=2,
        widths=(16, 32),
        groups=8,
        state_kernel=1,
        dropout=0.0,
        increments=True,
        context=24,
        horizon=12,
        rollout_frames=0,
        season=None,
        loss="mse",
        sign_flip=False,
        n_members=1,
        weight_decay=1e-2,
        max_epochs=20,
        batch_size=8,
        lr=2e-3,
        val_fraction=0.2,
        patience=None,
        accelerator="auto",
        devices=1,
        precision="32-true",
        gradient_clip_val=1.0,
        verbose=False,
        trainer_kwargs=None,
        random_state=None,
    ):
        self.d_model = d_model
        self.d_state = d_state
        self.n_layers = n_layers
        self.widths = widths
        self.groups = groups
        self.state_kernel = state_kernel
        self.dropout = dropout
        self.increments = increments
        self.context = context
        self.horizon = horizon
        self.rollout_frames = rollout_frames
        self.season = season
        self.loss = loss
        self.sign_flip = sign_flip
        self.n_members = n_members
        self.weight_decay = weight_decay
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.val_fraction = val_fraction
        self.patience = patience
        self.accelerator = accelerator
        self.devices = devices
        self.precision = precision
        self.gradient_clip_val = gradient_clip_val
        self.verbose = verbose
        self.trainer_kwargs = trainer_kwargs
        self.random_state = random_state
        super().__init__()

    @property
    def network_(self) -> ConvS5ForFrames:
        """The first of the trained networks."""
        return self._of_fit("networks_")[0]

    @property
    def history_(self) -> dict[str, Any]:
        """What training of the first network went like."""
        return self._of_fit("histories_")[0]

    def _of_fit(self, name: str) -> Any:
        self.check_is_fitted()
        return getattr(self, name)

    def _check_arguments(self) -> None:
        super()._check_arguments()
        for name in ("context", "horizon", "n_members"):
            require_count(name, getattr(self, name))
        if not 0 <= self.rollout_frames <= self.horizon:
            raise ValueError(
                f"rollout_frames must be from 0 to horizon={self.horizon}, got {self.rollout_frames!r}: windows have "
                "no further frames."
            )
        check_training({name: getattr(self, name) for name in _TRAINING})

    def _least_frames(self) -> int:
        window = self.context + self.horizon
        if not self.val_fraction:
            return window
        # the validation part must have room for a horizon, the training part for a window
        return max(int(np.ceil(window / (1 - self.val_fraction))), int(np.ceil(self.horizon / self.val_fraction)))

    def _n_training(self, n: int) -> int:
        return n - round(n * (self.val_fraction or 0.0))

    def _fit(self, anomalies: np.ndarray, n_training: int) -> None:
        device = resolve_device(self.accelerator, self.devices)
        # it imports Lightning, which takes seconds: only who fits waits for it
        from tsmodels_datamodules import GriddedDataModule, GriddedSeries

        share = n_training / len(anomalies)
        seeds = np.random.default_rng(draw_seed(self.random_state)).integers(2**31 - 1, size=self.n_members)
        networks, histories = [], []
        for seed in map(int, seeds):
            data = GriddedDataModule(
                GriddedSeries(anomalies, self.mask_),
                window=self.context,
                horizon=self.horizon,
                split=(share, 1 - share, 0.0),
                batch_size=self.batch_size,
                seed=seed,
            )
            network, history = self._trained(data, seed, device)
            networks.append(network)
            histories.append(history)
            self.scaler_ = data.scaler  # the same for all
        self.networks_, self.histories_ = networks, histories
        self.n_parameters_ = sum(each.numel() for each in networks[0].parameters() if each.requires_grad)

    def _trained(self, data: Any, seed: int, device: torch.device) -> tuple[nn.Module, dict[str, Any]]:
        from tsmodels.estimators._grid_task import AnomaliesTask

        with isolated(seed, device):
            choices = {name: getattr(self, name) for name in _NETWORK}
            task = AnomaliesTask(
                ConvS5ForFrames(data.n_channels, data.height, data.width, output="linear", **choices),
                loss=self.loss,
                sign_flip=self.sign_flip,
                context=self.context,
                rollout_frames=self.rollout_frames,
                lr=self.lr,
                weight_decay=self.weight_decay,
            )
            history = train(task, data, {name: getattr(self, name) for name in _TRAINING}, device)
        require_finite(task.network, self.lr)
        return task.network.cpu().eval(), history

    def _forecast(self, anomalies: np.ndarray, origins: np.ndarray, n_frames: int) -> np.ndarray:
        device = resolve_device(self.accelerator, self.devices)
        mask = torch.from_numpy(self.mask_)
        dtype = next(self.networks_[0].parameters()).dtype
        scaled = torch.where(mask, self.scaler_.transform(torch.from_numpy(anomalies), dim=-3), 0.0).to(device, dtype)
        found = torch.zeros(len(origins), n_frames, *scaled.shape[1:], dtype=torch.float64)
        lengths = np.minimum(origins, self.context)
        for network in self.networks_:
            network.to(device)
            for length in np.unique(lengths):
                for rows in np.array_split(*_batches(np.flatnonzero(lengths == length), self.batch_size)):
                    context = torch.stack([scaled[origin - length : origin] for origin in origins[rows]])
                    found[rows] += network.generate(context, n_frames, mask=mask.to(device)).cpu().double()
            network.cpu()
        return self.scaler_.inverse(found / len(self.networks_), dim=-3).numpy()

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return small settings for tests."""
        small = {"d_model": 4, "d_state": 4, "n_layers": 1, "widths": (4, 4), "groups": 2, "max_epochs": 1}
        small |= {"context": 5, "horizon": 2, "accelerator": "cpu"}
        return [small, small | {"n_members": 2, "rollout_frames": 2, "sign_flip": True, "season": 3}]


def _batches(rows: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """Arguments of ``np.array_split`` for parts of at most ``size``."""
    return rows, -(-len(rows) // size)
