"""The forecaster of dynamical systems: a piecewise-linear network that runs freely, behind sktime's interface."""

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon

from tsmodels.estimators._context import appended
from tsmodels.estimators._dynamics_runs import Embedding, Runs, best_gain
from tsmodels.estimators._training import (
    check_training,
    draw_seed,
    isolated,
    require_count,
    require_finite,
    resolve_device,
    train,
)
from tsmodels.models import PLRNN

if TYPE_CHECKING:
    from tsmodels_datamodules import SeriesScaler

__all__ = ["DynamicsForecaster"]

_SHORTEST = 10
_NETWORK = ("cell", "latent_dim", "hidden_dim", "n_relu", "n_bases", "observation")
_TRAINER = ("max_epochs", "batch_size", "lr", "verbose", "trainer_kwargs")


class DynamicsForecaster(BaseForecaster):
    """A piecewise-linear network as an sktime forecaster; subclasses bring the constructor, all of it documented there.

    Attributes
    ----------
    network_ : PLRNN
        The trained network, on the CPU, in eval mode. It takes scaled points (batch, time, channel).
    history_ : dict
        ``epochs`` and ``curves``, lists by epoch.
    """

    _tags = {
        "authors": ["tsmodels developers"],
        "maintainers": ["tsmodels developers"],
        "python_dependencies": ["torch", "lightning"],
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:non_contiguous_X": False,
        "capability:insample": True,
        "capability:pred_int": True,
        "capability:pred_int:insample": True,
        "capability:missing_values": False,
        "capability:categorical_in_X": False,
        "capability:update": True,
        "requires-fh-in-fit": False,
        "capability:random_state": True,
        "property:randomness": "derandomized",
    }
    _config = {"remember_data": False}  # sktime 1.3's default, adopted now

    cell: str
    forcing: str
    alpha: float
    forcing_interval: int | str
    window: int
    noise: float
    embed_dim: int | None
    embed_delay: int | None
    warmup: int | str
    scaling: str
    n_trajectories: int
    task_kwargs: dict[str, Any] | None
    update_epochs: int
    batches_per_epoch: int
    batch_size: int
    gradient_clip_val: float | None
    lr: float
    lr_end: float
    accelerator: str
    devices: Any
    random_state: Any

    def __post_init__(self) -> None:
        """Set what sktime expects to be there without remembered data."""
        self._y = self._X = None

    # --- training

    def _fit(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: Any) -> "DynamicsForecaster":
        self._check_arguments(y, X)
        from tsmodels.dynamics import suggest_forcing_interval

        self._seed = draw_seed(self.random_state)
        self._sample, self._inputs = y, None if X is None else _at_the_times_of(y, X)
        self._scaler = self._scaler_of(y)
        self._x_scaler = None if self._inputs is None else self._scaler_of(self._inputs)
        scaled = _scaled(y, self._scaler)
        self._embedding = self._embedding_of(scaled)
        automatic = self.forcing_interval == "auto"
        self.forcing_interval_ = suggest_forcing_interval(scaled) if automatic else int(self.forcing_interval)
        self._train(self._new_network, self.forcing, self.alpha, self.lr, {})
        return self

    def _update(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True
    ) -> "DynamicsForecaster":
        self._check_columns(y, X)
        self._sample = appended(self._sample, y)
        if X is not None and self._inputs is not None:
            self._inputs = _at_the_times_of(self._sample, appended(self._inputs, X))
        if update_params:
            # what training ended with: a strength that changes from epoch to epoch does not begin anew
            forcing = "gtf" if self.forcing in ("adaptive", "annealed") else self.forcing
            alpha = self.alpha if forcing == self.forcing else self.alpha_
            constant = {"max_epochs": int(self.update_epochs), "lr": self.lr_end}
            self._train(lambda *_: copy.deepcopy(self.network_).train(), forcing, alpha, self.lr_end, constant)
        return self

    def _train(self, make_network: Any, forcing: str, alpha: float, lr: float, changed: dict[str, Any]) -> None:
        """Train on the whole sample, and learn from it how the trained network errs."""
        training = {name: getattr(self, name) for name in _TRAINER}
        # the loss does not show whether a free run has collapsed, so no epoch is chosen by it
        training |= {
            "val_fraction": None,
            "patience": None,
            "precision": "32-true",
            "gradient_clip_val": None,
        } | changed
        check_training(training)
        device = resolve_device(self.accelerator, self.devices)
        points, inputs = self._points()

        # they import Lightning, which takes seconds: only who fits waits for it
        from tsmodels.tasks import DynamicsTask
        from tsmodels_datamodules import DynamicsDataModule

        data = DynamicsDataModule(
            points,
            inputs=inputs,
            window=max(1, min(int(self.window), len(points) // 2)),
            batch_size=int(self.batch_size),
            batches_per_epoch=int(self.batches_per_epoch),
            scaling="none",  # done before: delayed columns share one scale, and an update keeps it
            seed=self._seed,
        )
        with isolated(self._seed, device):
            task = DynamicsTask(
                make_network(data.n_channels, data.n_inputs),
                forcing=forcing,
                alpha=alpha,
                forcing_interval=self.forcing_interval_,
                lr=lr,
                lr_end=self.lr_end,
                noise=self.noise,
                seed=self._seed,
                **{"gradient_clip": self.gradient_clip_val or 0.0, **(self.task_kwargs or {})},
            )
            self.history_ = train(task, data, training, device)
        require_finite(task.network, lr)
        self._adopt(task.network.cpu().eval(), float(task.alpha), points, inputs)

    def _adopt(self, network: PLRNN, alpha: float, points: np.ndarray, inputs: np.ndarray | None) -> None:
        self.network_, self.alpha_ = network, alpha
        self.n_parameters_ = sum(each.numel() for each in network.parameters() if each.requires_grad)
        self.gain_ = best_gain(network, points, inputs)
        self._runs = Runs(network, self.gain_)
        self._innovations = points[1:] - self._runs.one_step(points, inputs)
        low, high = points.min(0), points.max(0)
        length = np.where(high > low, high - low, 1.0)  # of a constant column, whose scale is 1
        self._bounds = low - length, high + length
        free = self._runs.free(points[:1], len(points) - 1, None if inputs is None else inputs[1:])
        self.n_clipped_ = self._clamped(free)[1]

    def _new_network(self, n_channels: int, n_inputs: int) -> PLRNN:
        choices = {name: getattr(self, name) for name in _NETWORK if hasattr(self, name)}
        return PLRNN(n_channels, n_inputs, **choices)

    def _scaler_of(self, frame: pd.DataFrame) -> "SeriesScaler":
        from tsmodels_datamodules import SeriesScaler

        return SeriesScaler(self.scaling).fit(torch.tensor(frame.to_numpy(float)))

    def _embedding_of(self, scaled: np.ndarray) -> Embedding:
        from tsmodels.dynamics import suggest_forcing_interval

        n, n_columns = scaled.shape
        dimension = int(self.embed_dim) if self.embed_dim is not None else 3 if n_columns == 1 else 1
        if dimension == 1:
            return Embedding(1, 0)
        longest = n // (2 * (dimension - 1))  # at least half of the sample has all its delays
        if longest < 1:
            raise ValueError(f"y has {n} points, too few for embed_dim={dimension}: pass a smaller one, or more points")
        delay = suggest_forcing_interval(scaled) if self.embed_delay is None else int(self.embed_delay)
        return Embedding(dimension, min(delay, longest))

    # --- forecasts

    def _predict(self, fh: Any, X: pd.DataFrame | None) -> pd.DataFrame:
        ahead, inputs = self._ahead(fh, X)
        future, n_clipped = self._clamped(self._runs.free(self._context(), ahead, inputs))
        if n_clipped:
            warnings.warn(
                f"{n_clipped} values of the free run left the range of the training series by more than its length and "
                "were clamped: the network diverges. Train longer, force more weakly, or use a clipped cell such as "
                "'cshplrnn'",
                stacklevel=2,
            )
        return self._framed(fh, self._fitted, self._unscaled(future), self._sample.columns)

    def _predict_quantiles(self, fh: Any, X: pd.DataFrame | None, alpha: Sequence[float]) -> pd.DataFrame:
        ahead, inputs = self._ahead(fh, X)
        runs = self._runs.perturbed(
            self._context(), ahead, inputs, self._innovations, self._seed, int(self.n_trajectories)
        )
        found = np.quantile(self._unscaled(self._clamped(runs)[0]), alpha, axis=0, method="weibull")
        future = found.transpose(1, 2, 0)
        errors = np.quantile(self._innovations[:, : self._sample.shape[1]], alpha, axis=0) * self._scaler.scale_

        def fitted() -> np.ndarray:
            found = self._fitted()[..., None] + errors.T
            return found.reshape(len(found), -1)

        columns = pd.MultiIndex.from_product([self._get_varnames(), list(alpha)])
        return self._framed(fh, fitted, future.reshape(ahead, len(columns)), columns)

    def _ahead(self, fh: Any, X: pd.DataFrame | None) -> tuple[int, np.ndarray | None]:
        """How many steps beyond the sample are asked for, and the inputs of a run through the context to there."""
        n_steps = max(0, int(np.max(fh.to_relative(self.cutoff))))
        return n_steps, self._inputs_of_context(self._future_inputs(X, n_steps))

    def _future_inputs(self, X: pd.DataFrame | None, n_steps: int) -> np.ndarray | None:
        """Scaled inputs of the steps after the sample."""
        if self._inputs is None or self._x_scaler is None:
            return None
        if not n_steps:
            return np.empty((0, self._inputs.shape[1]))
        if X is None:
            raise ValueError(
                f"{type(self).__name__} was fitted with X, its external inputs: predict needs X for every step from "
                "the end of y to the last step of fh"
            )
        times = ForecastingHorizon(np.arange(1, n_steps + 1), is_relative=True).to_absolute_index(self.cutoff)
        absent = times.difference(X.index)
        if len(absent):
            raise ValueError(
                f"X has no row for {absent[0]}: X must hold a row for every step from the end of y to the last step of "
                "fh"
            )
        return _scaled(X.loc[times, self._inputs.columns], self._x_scaler)

    def _inputs_of_context(self, future: np.ndarray | None) -> np.ndarray | None:
        if future is None or self._inputs is None:
            return None
        past = self._inputs.iloc[len(self._inputs) - self._warmup :]
        return np.vstack([_scaled(past, self._x_scaler), future])

    def _context(self) -> np.ndarray:
        """The last points of the sample, through which the network is led to its end."""
        rows = self._sample.iloc[-1 - self._warmup - self._embedding.n_lost :]
        return self._embedding(_scaled(rows, self._scaler))

    @property
    def _warmup(self) -> int:
        n_points = len(self._sample) - self._embedding.n_lost
        if self.warmup != "auto":
            return min(int(self.warmup), n_points - 1)
        # a state that the last point determines needs no past
        determined = self.gain_ == 1.0 and self.network_.latent_dim == self.network_.n_channels
        return 0 if determined else min(100, n_points // 2)

    def _points(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The sample in scaled delay coordinates, and the scaled inputs of the same times."""
        points = self._embedding(_scaled(self._sample, self._scaler))
        inputs = None if self._inputs is None else _scaled(self._inputs, self._x_scaler)[self._embedding.n_lost :]
        return points, inputs

    def _fitted(self) -> np.ndarray:
        """One-step predictions of the sample; the first ones, which nothing comes before, are the observations."""
        predicted = self._unscaled(self._clamped(self._runs.one_step(*self._points()))[0])
        values = self._sample.to_numpy(float, copy=True)
        values[len(values) - len(predicted) :] = predicted
        return values

    def _clamped(self, points: np.ndarray) -> tuple[np.ndarray, int]:
        """Keep points within the range of the training series, widened by its length on both sides; count the rest."""
        low, high = self._bounds
        inside = (points >= low) & (points <= high)  # not so where a point is no number
        middle = np.nan_to_num(points, nan=0.0, posinf=np.inf, neginf=-np.inf)
        return np.clip(middle, low, high), int((~inside).sum())

    def _unscaled(self, points: np.ndarray) -> np.ndarray:
        """Points (..., time, channel) as columns of y, in its units."""
        n_columns = self._sample.shape[1]
        return self._scaler.inverse(torch.from_numpy(points[..., :n_columns].copy())).numpy()

    def _framed(self, fh: Any, past: Callable[[], np.ndarray], future: np.ndarray, columns: Any) -> pd.DataFrame:
        """Put the steps of fh together, from values for the whole sample, made only if needed, and for what follows."""
        steps, n = np.asarray(fh.to_relative(self.cutoff), dtype=int), len(self._sample)
        if steps.min() <= -n:
            raise ValueError(
                f"fh asks for step {steps.min()}, before the first observation, {self._sample.index[0]}: the steps of "
                f"the sample are {1 - n} to 0"
            )
        inside = steps < 1
        values = np.empty((len(steps), len(columns)))
        values[~inside] = future[steps[~inside] - 1]
        if inside.any():
            values[inside] = past()[steps[inside] - 1]  # step 0 is the last of the sample
        return pd.DataFrame(values, index=fh.to_absolute_index(self.cutoff), columns=columns)

    # --- checks

    def _check_arguments(self, y: pd.DataFrame, X: pd.DataFrame | None) -> None:
        counts = ["window", "n_trajectories", "update_epochs", "batches_per_epoch"]
        counts += [name for name in ("embed_dim", "embed_delay") if getattr(self, name) is not None]
        counts += ["forcing_interval"] if self.forcing_interval != "auto" else []
        for name in counts:
            require_count(name, getattr(self, name))
        if self.warmup != "auto" and self.warmup != 0:
            require_count("warmup", self.warmup)
        if len(y) < _SHORTEST:
            raise ValueError(
                f"y has {len(y)} points, but {type(self).__name__} needs {_SHORTEST} at least: pass a longer series"
            )

    def _check_columns(self, y: pd.DataFrame, X: pd.DataFrame | None) -> None:
        expected = [] if self._inputs is None else list(self._inputs.columns)
        if self._inputs is not None and X is None:
            raise ValueError(f"{type(self).__name__} was fitted with X, {expected}: update needs it too")
        for name, columns, known in (
            ("y", list(y.columns), list(self._sample.columns)),
            ("X", expected if X is None else list(X.columns), expected),
        ):
            if columns != known:
                raise ValueError(
                    f"{name} has the columns {columns}, but {type(self).__name__} was fitted on {known}: pass the same "
                    "columns in the same order"
                )


def _scaled(frame: Any, scaler: "SeriesScaler | None") -> np.ndarray:
    values = np.array(frame, dtype=float)
    return values if scaler is None else scaler.transform(torch.from_numpy(values)).numpy()


def _at_the_times_of(y: pd.DataFrame, X: pd.DataFrame) -> pd.DataFrame:
    """The rows of X at the times of y, beyond which it may reach."""
    return X.loc[X.index.isin(y.index)]
