"""The generic detector of anomalies: a network that reconstructs windows behind sktime's interface."""

import copy
import numbers
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from sktime.detection.base import BaseDetector
from torch import Tensor, nn

from tsmodels.detection import segments_of
from tsmodels.estimators._applying import applied
from tsmodels.estimators._net import NetEstimator
from tsmodels.estimators._training import (
    TRAINING,
    Argument,
    check_training,
    draw_seed,
    isolated,
    require_count,
    require_finite,
    resolve_device,
    train,
)

if TYPE_CHECKING:
    from tsmodels_datamodules import ReconstructionDataModule

__all__ = ["DETECTION", "NetDetector"]

DETECTION: dict[str, Argument] = {
    "window": Argument(
        100,
        "int",
        "Length of the windows that the network reconstructs; the shortest series that is taken.",
    ),
    "window_stride": Argument(1, "int", "Steps between the starts of neighbouring training windows."),
    "score_stride": Argument(
        None,
        "int or None",
        "Steps between the starts of the windows that are scored, at most `window`. None: a quarter of `window`.",
    ),
    "loss": Argument("mse", '"mse" or "mae"', "Loss in training. Scores are squared errors either way."),
    "scaling": Argument(
        "standard",
        '"standard" or "none"',
        '"standard" brings each channel to mean 0 and standard deviation 1 over the training part.',
    ),
    "contamination": Argument(
        0.01,
        "float",
        "Share of the time points seen by `fit` that may lie above the threshold, in [0, 0.5]; 0: none, the threshold "
        "is their highest score.",
    ),
    "min_length": Argument(1, "int", "Detected segments with fewer time points are dropped, after merging."),
    "merge_gap": Argument(
        0, "int", "Detected segments with at most so many time points between them become one, which covers these too."
    ),
    "update_epochs": Argument(
        1, "int", "Passes of `update` over the windows with new time points. 0: the network stays as it is."
    ),
}

_WINDOW_VALUES = 2**22  # values reconstructed at a time: 16 MiB


class NetDetector(NetEstimator, BaseDetector):
    """A network as an sktime detector of anomalies; ``detector(network_class)`` makes the concrete classes.

    Subclasses have an ``__init__`` whose arguments are the keyword-only arguments of the network, ``DETECTION`` and
    ``TRAINING``.

    Attributes
    ----------
    network_ : nn.Module
        The trained network, on the CPU, in eval mode. It takes scaled windows (batch, time, channel).
    scaler_ : SeriesScaler
        Fitted on the training part.
    training_scores_ : ndarray (time,)
        Scores of the time points seen by `fit`, and behind them of those seen by `update`, each by the network as it
        was then.
    threshold_ : float
        The quantile ``1 - contamination`` of these.
    history_ : dict
        ``epochs``, ``best_epoch`` and ``best_value`` (None without validation) and ``curves``, lists by epoch.
    n_channels_, n_parameters_ : int
        Channels of the series, trainable parameters of the network.
    """

    _tags = {
        "authors": ["tsmodels developers"],
        "maintainers": ["tsmodels developers"],
        "python_dependencies": ["torch", "lightning"],
        "task": "anomaly_detection",
        "learning_type": "unsupervised",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "capability:missing_values": False,
        "capability:update": True,
        "capability:random_state": True,
        "property:randomness": "derandomized",
    }

    window: int
    window_stride: int
    score_stride: int | None
    loss: str
    scaling: str
    contamination: float
    min_length: int
    merge_gap: int
    update_epochs: int
    batch_size: int
    lr: float
    val_fraction: float | None
    patience: int | None
    accelerator: str
    devices: Any
    random_state: Any

    if TYPE_CHECKING:  # the signatures are made at run time; sktime forbids **kwargs there

        def __init__(self, **parameters: Any) -> None: ...

    # --- training

    def _fit(self, X: pd.DataFrame, y: Any = None) -> "NetDetector":
        self._check_arguments()
        values = self._read(X, None)
        fraction = self._share_of_validation(len(values))
        # a series too short to hold windows back is trained on whole
        patience = self.patience if fraction else None
        training = self._training() | {"val_fraction": fraction or None, "patience": patience}
        seed = draw_seed(self.random_state)
        data = self._windows(values, fraction, self.scaling, seed)
        network, self.history_ = self._trained(
            lambda: self._network_class(data.n_channels, int(self.window), **self._choices()), data, training, seed
        )
        self.network_, self.scaler_, self.n_channels_ = network, data.scaler, data.n_channels
        self.n_parameters_ = sum(each.numel() for each in network.parameters() if each.requires_grad)
        self._keep(X, values, self._scores(values), np.empty(0))
        return self

    def _update(self, X: pd.DataFrame, y: Any = None) -> "NetDetector":
        new = self._read(X, self.n_channels_, least=1)
        values = np.concatenate([self._context, new])  # every window of these holds a new time point
        if self.update_epochs:
            training = self._training() | {
                "max_epochs": self.update_epochs,
                "val_fraction": None,
                "patience": None,
            }
            seed = draw_seed(self.random_state)
            scaled = self.scaler_.transform(torch.from_numpy(values)).numpy()
            data = self._windows(scaled, 0.0, "none", seed)
            self.network_, self.history_ = self._trained(
                lambda: copy.deepcopy(self.network_).train(), data, training, seed
            )
        self._keep(X, values, self._scores(values)[-len(new) :], self.training_scores_)
        return self

    def _keep(self, X: pd.DataFrame, values: np.ndarray, scores: np.ndarray, before: np.ndarray) -> None:
        """Note the scores of what was seen, and what `update` needs of it: not the series."""
        self.training_scores_ = np.concatenate([before, scores])
        self.threshold_ = float(np.quantile(self.training_scores_, 1 - self.contamination))
        self._context = values[len(values) - int(self.window) + 1 :].copy()
        self._X = X.iloc[:0]  # sktime keeps all it was given, and needs a frame to add to

    def _trained(
        self, make_network: Any, data: "ReconstructionDataModule", training: Mapping[str, Any], seed: int
    ) -> tuple[nn.Module, dict[str, Any]]:
        from tsmodels.tasks import ReconstructionTask

        device = resolve_device(self.accelerator, self.devices)
        with isolated(seed, device):
            network = make_network()
            task = ReconstructionTask(network, loss=self.loss, lr=self.lr)
            history = train(task, data, training, device)
        require_finite(network, self.lr)
        return network.cpu().eval(), history

    def _windows(self, values: np.ndarray, fraction: float, scaling: str, seed: int) -> "ReconstructionDataModule":
        # it imports Lightning, which takes seconds: only who fits waits for it
        from tsmodels_datamodules import ReconstructionDataModule

        return ReconstructionDataModule(
            values,
            int(self.window),
            stride=int(self.window_stride),
            split=(1.0 - fraction, fraction, 0.0),
            scaling=scaling,
            batch_size=int(self.batch_size),
            seed=seed,
        )

    def _training(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in TRAINING}

    def _share_of_validation(self, n_timepoints: int) -> float:
        """``val_fraction``, or 0 if a part is then shorter than a window."""
        fraction = float(self.val_fraction or 0.0)
        n_train = int(n_timepoints * (1 - fraction) + 1e-9)  # rounded as the datamodule does
        return fraction if min(n_train, n_timepoints - n_train) >= self.window else 0.0

    # --- detection

    def _predict(self, X: Any) -> pd.DataFrame:
        flags, _ = self._detected(X)
        return pd.DataFrame({"ilocs": np.flatnonzero(flags)}, dtype="int64")

    def _predict_scores(self, X: Any) -> pd.DataFrame:
        flags, scores = self._detected(X)
        return pd.DataFrame({"scores": scores[flags]})

    def _transform_scores(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"scores": self._scores(self._read(X, self.n_channels_))}, index=X.index)

    def transform(self, X: Any) -> pd.DataFrame:
        """Label every time point.

        Parameters
        ----------
        X : DataFrame, Series or ndarray
            Series, of at least `window` time points.

        Returns
        -------
        DataFrame
            Column ``labels``, 1 where a time point is anomalous, else 0, on the index of `X`, which sktime's own method
            drops.
        """
        self.check_is_fitted()
        X = self._check_X(X)
        return pd.DataFrame({"labels": self._detected(X)[0].astype(np.int64)}, index=X.index)

    def fit_transform(self, X: Any, y: Any = None) -> pd.DataFrame:
        """Fit to a series and label its time points: ``fit(X).transform(X)``, see :meth:`transform`."""
        return self.fit(X, y).transform(X)

    def update(self, X: Any, y: Any = None) -> "NetDetector":
        """Go on with new time points, see `update_epochs`.

        Parameters
        ----------
        X : DataFrame, Series or ndarray
            The time points that follow.
        y : ignored
            Known anomalies are not made use of.
        """
        return super().update(X)  # sktime merges y with that of `fit`, which may be None

    def anomalous_segments(self, X: Any) -> pd.DataFrame:
        """Return the detected segments themselves: `predict_segments` is sktime's, and gives what lies between points.

        Parameters
        ----------
        X : DataFrame, Series or ndarray
            Series, of at least `window` time points.

        Returns
        -------
        DataFrame
            A row for each segment: ``ilocs``, a left-closed interval of positions in `X`, and ``score``, the highest
            score of its time points.
        """
        self.check_is_fitted()
        scores = self._scores(self._read(X, self.n_channels_))
        segments = self._segments(scores)
        intervals = pd.IntervalIndex.from_arrays(segments[:, 0], segments[:, 1], closed="left", dtype="interval[int64]")
        highest = [float(scores[start:stop].max()) for start, stop in segments]
        return pd.DataFrame({"ilocs": intervals, "score": np.array(highest, dtype=float)})

    def _detected(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return which time points are anomalous, and the scores of all."""
        scores = self._scores(self._read(X, self.n_channels_))
        flags = np.zeros(len(scores), dtype=bool)
        for start, stop in self._segments(scores):
            flags[start:stop] = True
        return flags, scores

    def _segments(self, scores: np.ndarray) -> np.ndarray:
        return segments_of(scores > self.threshold_, min_length=self.min_length, merge_gap=self.merge_gap)

    def _scores(self, values: np.ndarray) -> np.ndarray:
        """Mean over the windows that cover a time point of its squared error, itself a mean over channels."""
        scaled = self.scaler_.transform(torch.from_numpy(values)).float()
        device = resolve_device(self.accelerator, self.devices)
        window, n_timepoints = int(self.window), len(scaled)
        sums, counts = np.zeros(n_timepoints), np.zeros(n_timepoints)
        starts = window_starts(n_timepoints, window, self.score_stride)
        for some in starts.split(max(1, _WINDOW_VALUES // (window * scaled.shape[1]))):
            windows = _gathered(scaled, some, window)
            batches = ({"x": each} for each in windows.split(int(self.batch_size)))
            errors = (applied(self.network_, batches, device).double() - windows).square().mean(2).numpy()
            places = (some[:, None] + torch.arange(window)).flatten().numpy()
            sums += np.bincount(places, errors.ravel(), n_timepoints)
            counts += np.bincount(places, minlength=n_timepoints)
        return sums / counts

    # --- checks

    def _read(self, X: Any, n_channels: int | None, least: int | None = None) -> np.ndarray:
        """Return a series as float64 (time, channel), checked: sktime's detectors get whatever the user passed."""
        given = X.to_numpy(float) if isinstance(X, pd.Series | pd.DataFrame) else X
        values = np.array(given, dtype=float)  # a copy: torch takes no arrays that cannot be written, as pandas 3 gives
        values = values[:, None] if values.ndim == 1 else values
        if n_channels is not None and values.shape[1] != n_channels:
            raise ValueError(
                f"X has {values.shape[1]} channels, but {type(self).__name__} was fitted on {n_channels}: pass the "
                "same channels in the same order"
            )
        if not np.isfinite(values).all():
            row, channel = np.argwhere(~np.isfinite(values))[0]
            raise ValueError(
                f"X holds NaN or infinite values, the first at position {row} in channel {channel}: fill them, for "
                "example with X.interpolate().ffill().bfill()"
            )
        least = int(self.window) if least is None else least
        if len(values) < least:
            raise ValueError(
                f"X has {len(values)} time points, but window={self.window}: {type(self).__name__} needs a window at "
                "least; pass a longer series, or fit with a shorter window"
            )
        return values

    def _check_arguments(self) -> None:
        check_training(self._training())
        for name in ("window", "window_stride", "min_length"):
            require_count(name, getattr(self, name))
        if self.score_stride is not None:
            require_count("score_stride", self.score_stride)
            if self.score_stride > self.window:
                raise ValueError(
                    f"score_stride={self.score_stride} leaves time points without a score: at most {self.window}"
                )
        for name in ("merge_gap", "update_epochs"):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or value < 0:
                raise ValueError(f"{name} must be an integer of at least 0, got {value!r}")
        if not 0 <= self.contamination <= 0.5:
            raise ValueError(f"contamination must be in [0, 0.5], got {self.contamination!r}")


def window_starts(n_timepoints: int, window: int, stride: int | None) -> Tensor:
    """Return where windows start that cover a series of at least one window; the last one ends with it."""
    stride = max(1, window // 4) if stride is None else int(stride)
    last = n_timepoints - window
    starts = torch.arange(0, last + 1, stride)
    return starts if starts[-1] == last else torch.cat([starts, torch.tensor([last])])


def _gathered(values: Tensor, starts: Tensor, window: int) -> Tensor:
    """Return the windows (start, window, channel) of a series (time, channel)."""
    return values.unfold(0, window, 1)[starts].transpose(1, 2).contiguous()
