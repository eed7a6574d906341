"""The generic forecaster: a network with its task, datamodule and Trainer behind sktime's interface."""

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from sktime.forecasting.base import BaseForecaster
from torch import Tensor, nn
from torch.utils.data import default_collate

from tsmodels.estimators._applying import applied
from tsmodels.estimators._context import Key, appended, by_series, future_rows, joined, last_rows, times_after
from tsmodels.estimators._learned import Learned, sorted_errors
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
from tsmodels.tasks._forecasts import Forecasts
from tsmodels.tasks._inputs import accepted_inputs

if TYPE_CHECKING:
    from tsmodels_datamodules import SeriesScaler, WindowDataModule

__all__ = ["FORECASTING", "NetForecaster"]

FORECASTING: dict[str, Argument] = {
    "lookback": Argument(96, "int", "Past steps that the network sees. Shorter series are forecast, see Notes."),
    "horizon": Argument(
        None,
        "int or None",
        "Steps that the network forecasts at once; `fh` may ask for any of them. None: the last step of `fh`.",
    ),
    "loss": Argument(
        "mse",
        "str",
        '"mse", "mae", "huber", "smape" or "mase" (point forecasts; intervals by split-conformal calibration), '
        '"pinball" (the network forecasts `quantiles`, which are calibrated likewise) or "student_t" (it forecasts a '
        "distribution, taken as it is).",
    ),
    "quantiles": Argument(
        None,
        "tuple of float or None",
        'Levels of `loss="pinball"`, 0.5 among them. None: 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95.',
    ),
    "seasonality": Argument(1, "int", 'Steps of one season, for `loss="mase"`.'),
    "scaling": Argument(
        "standard",
        '"standard" or "none"',
        '"standard" brings each column of y and X to mean 0 and standard deviation 1 over the training part of all '
        "series together.",
    ),
    "window_stride": Argument(1, "int", "Steps between the starts of neighbouring training windows."),
    "finetune_epochs": Argument(
        None,
        "int or None",
        "Epochs of `fit` after `pretrain`. None: `max_epochs`; 0: the pretrained network forecasts as it is.",
    ),
}

_MISSING_X = "X has missing values: fill them, for example with X.ffill()"
_MAX_RESIDUALS = 500  # windows kept for calibration: the size of a fitted forecaster does not grow with the series


class NetForecaster(NetEstimator, BaseForecaster):
    """A network as an sktime forecaster; ``forecaster(network_class)`` makes the concrete classes.

    Subclasses have an ``__init__`` whose arguments are the keyword-only arguments of the network, ``FORECASTING`` and
    ``TRAINING``.

    Attributes
    ----------
    network_ : nn.Module
        The trained network, on the CPU, in eval mode. It takes scaled look-backs (batch, time, channel).
    horizon_ : int
        Steps that it forecasts.
    calibration_ : str
        Where the intervals come from: "validation" (errors in windows that were not trained on), "training" (there were
        none: too narrow) or "head" (a quantile head without such windows, or a Student-t head).
    history_ : dict
        ``epochs``, ``best_epoch`` and ``best_value`` (None without validation) and ``curves``, lists by epoch.
    pretrained_network_ : nn.Module
        After `pretrain`; `fit` trains a copy of it.
    """

    _tags = {
        "authors": ["tsmodels developers"],
        "maintainers": ["tsmodels developers"],
        "python_dependencies": ["torch", "lightning"],
        "y_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "X_inner_mtype": ["pd.DataFrame", "pd-multiindex", "pd_multiindex_hier"],
        "capability:multivariate": True,
        "capability:exogenous": False,
        "capability:non_contiguous_X": False,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": False,
        "capability:categorical_in_X": False,
        "capability:update": True,
        "capability:pretrain": True,
        "pretrain:fitted_params": ["pretrained_network_", "pretrained_learned_"],
        "requires-fh-in-fit": True,
        "capability:random_state": True,
        "property:randomness": "derandomized",
    }
    # sktime 1.3's default, adopted now: a forecaster keeps its look-back, not the series it was trained on
    _config = {"remember_data": False}

    lookback: int
    horizon: int | None
    loss: str
    quantiles: Any
    seasonality: int
    scaling: str
    window_stride: int
    finetune_epochs: int | None
    batch_size: int
    lr: float
    max_epochs: int
    val_fraction: float | None
    patience: int | None
    accelerator: str
    devices: Any
    random_state: Any

    if TYPE_CHECKING:  # the signatures are made at run time; sktime forbids **kwargs there

        def __init__(self, **parameters: Any) -> None: ...

    def __post_init__(self) -> None:
        """Set what sktime expects to be there without remembered data."""
        self._y = self._X = None

    def __dynamic_tags__(self) -> None:
        """With `horizon` given the network is made without `fh`, and `predict` may ask for any of its steps."""
        self.set_tags(**{"requires-fh-in-fit": self.horizon is None})

    # --- training

    def _pretrain(self, y: pd.DataFrame, X: pd.DataFrame | None = None, fh: Any = None) -> "NetForecaster":
        horizon = self._horizon_of(fh, None)
        network, learned = self._trained(y, X, horizon, self._new_network)
        self.pretrained_network_, self.pretrained_learned_ = network, learned
        return self

    def _pretrain_update(self, y: pd.DataFrame, X: pd.DataFrame | None = None, fh: Any = None) -> "NetForecaster":
        known = self.pretrained_learned_
        self._check_columns(y, X, known)
        copied = copy.deepcopy(self.pretrained_network_)
        network, learned = self._trained(y, X, known.horizon, lambda *_: copied, known)
        self.pretrained_network_, self.pretrained_learned_ = network, learned
        return self

    def _fit(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: Any) -> "NetForecaster":
        horizon = self._horizon_of(fh, self.cutoff)
        self._index_names = list(y.index.names)
        if hasattr(self, "pretrained_network_"):
            network, learned = self._finetuned(y, X, horizon)
        else:
            network, learned = self._trained(y, X, horizon, self._new_network)
        self._adopt(network, learned)
        self._context = {key: rows.iloc[-self._kept :] for key, rows in by_series(y)}
        self._x_context = {} if X is None else {k: _aligned(x, self._context[k]) for k, x in by_series(X)}
        return self

    def _finetuned(self, y: pd.DataFrame, X: pd.DataFrame | None, horizon: int) -> tuple[nn.Module, Learned]:
        known = self.pretrained_learned_
        self._check_columns(y, X, known)
        if horizon > known.horizon:
            raise ValueError(
                f"fh asks for {horizon} steps, but the network was pretrained for horizon={known.horizon}: pretrain "
                f"with horizon={horizon}"
            )
        if self.finetune_epochs != 0 and self.finetune_epochs is not None:
            require_count("finetune_epochs", self.finetune_epochs)  # to Lightning -1 is for ever
        copied = copy.deepcopy(self.pretrained_network_)
        longest = max(len(rows) for _, rows in by_series(y))
        if self.finetune_epochs == 0 or longest < self.lookback + known.horizon:
            return copied, known  # nothing to train on, or not asked to: the pretrained network as it is
        return self._trained(y, X, known.horizon, lambda *_: copied, known, epochs=self.finetune_epochs)

    def _update(self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True) -> "NetForecaster":
        self._check_columns(y, X, self._learned)
        parts = {key: appended(self._context[key], d) if key in self._context else d for key, d in by_series(y)}
        x_parts: dict[Key, pd.DataFrame] = {}
        if X is not None:
            for key, x in by_series(X):
                x_parts[key] = appended(self._x_context[key], x) if key in self._x_context else x
        self._context |= {key: rows.iloc[-self._kept :] for key, rows in parts.items()}
        self._x_context |= {key: _aligned(x, self._context[key]) for key, x in x_parts.items()}
        if update_params:
            self._train_on_new(parts, x_parts)
        return self

    def _train_on_new(self, parts: dict[Key, pd.DataFrame], x_parts: dict[Key, pd.DataFrame]) -> None:
        """Train on the windows that end in the new rows: the rows kept before them are just enough for that."""
        if max(len(rows) for rows in parts.values()) < self.lookback + self.horizon_:
            return
        new = joined(parts.items(), self._index_names)
        X = joined(((k, _aligned(x, parts[k])) for k, x in x_parts.items()), self._index_names) if x_parts else None
        network, learned = self._trained(
            new, X, self.horizon_, lambda *_: copy.deepcopy(self.network_), self._learned, validate=False
        )
        # few and trained on: the new windows say nothing on the errors to come
        self._adopt(network, replace(learned, residuals=self._learned.residuals, calibration=self.calibration_))

    def _adopt(self, network: nn.Module, learned: Learned) -> None:
        self.network_, self._learned = network, learned
        self.horizon_, self.calibration_, self.history_ = learned.horizon, learned.calibration, learned.history
        self.n_parameters_ = sum(each.numel() for each in network.parameters() if each.requires_grad)

    @property
    def _kept(self) -> int:
        return self.lookback + self.horizon_ - 1

    def _new_network(self, n_channels: int, horizon: int, n_exogenous: int) -> nn.Module:
        forecasts = self._forecasts()
        facts = {
            "n_outputs": forecasts.n_outputs,
            "n_exogenous": n_exogenous,
            "distribution": forecasts.is_distribution,
        }
        names = inspect.signature(self._network_class).parameters
        for name, usual in (("n_outputs", 1), ("n_exogenous", 0), ("distribution", False)):
            if name not in names and facts[name] != usual:
                raise ValueError(
                    f"{self._network_class.__name__} does not take {name}, needed for loss={self.loss!r} or X: use a "
                    "point loss and no X, or another network"
                )
        facts = {name: value for name, value in facts.items() if name in names}
        return self._network_class(n_channels, int(self.lookback), horizon, **facts, **self._choices())

    def _trained(
        self,
        y: pd.DataFrame,
        X: pd.DataFrame | None,
        horizon: int,
        make_network: Callable[[int, int, int], nn.Module],
        known: Learned | None = None,
        *,
        epochs: int | None = None,
        validate: bool = True,
    ) -> tuple[nn.Module, Learned]:
        """Train a network on all windows of y; ``known`` brings the scalers of an earlier training."""
        training = {name: getattr(self, name) for name in TRAINING}
        check_training(training)
        require_count("lookback", self.lookback)
        require_count("window_stride", self.window_stride)
        if X is not None and X.isna().to_numpy().any():
            raise ValueError(_MISSING_X)
        device = resolve_device(self.accelerator, self.devices)
        fraction = self._share_of_validation(y, horizon) if validate else 0.0
        # a series too short to hold windows back is trained on whole
        training |= {"val_fraction": fraction or None, "patience": training["patience"] if fraction else None}
        if epochs is not None:
            training["max_epochs"] = epochs

        # they import Lightning, which takes seconds: only who fits waits for it
        from tsmodels.tasks import ForecastingTask

        seed = draw_seed(self.random_state)
        scaler = known.scaler if known else self._scaler_of(y, fraction)
        x_scaler = None if X is None else known.x_scaler if known else self._scaler_of(X, fraction)
        data = self._windows(_scaled(y, scaler), _scaled(X, x_scaler), horizon, fraction, seed)
        with isolated(seed, device):
            network = make_network(data.n_channels, horizon, data.n_exogenous).train()
            task = ForecastingTask(
                network, loss=self.loss, quantiles=self.quantiles, seasonality=self.seasonality, lr=self.lr
            )
            history = train(task, data, training, device)
        require_finite(network, self.lr)
        network = network.cpu().eval()
        learned = Learned(
            columns=list(y.columns),
            x_columns=[] if X is None else list(X.columns),
            horizon=horizon,
            scaler=scaler,
            x_scaler=x_scaler,
            residuals=None,
            calibration="head",
            history=history,
        )
        forecasts = self._forecasts()
        if forecasts.is_distribution or (forecasts.levels and not fraction):
            return network, learned
        residuals = self._residuals(network, data.dataset("val" if fraction else "train"))
        return network, replace(learned, residuals=residuals, calibration="validation" if fraction else "training")

    def _share_of_validation(self, y: pd.DataFrame, horizon: int) -> float:
        """``val_fraction``, or 0 if it leaves no window to train on or none to validate on."""
        fraction = float(self.val_fraction or 0.0)
        lengths = np.array([len(rows) for _, rows in by_series(y)])
        trained, window = _trained_rows(lengths, fraction), self.lookback + horizon
        can_train = (trained >= window).any()
        can_validate = (lengths - window >= np.maximum(trained - self.lookback, 0)).any()
        return fraction if can_train and can_validate else 0.0

    def _scaler_of(self, frame: pd.DataFrame, fraction: float) -> "SeriesScaler":
        """A scaler fitted on the part of each series that is trained on."""
        from tsmodels_datamodules import SeriesScaler

        parts = [rows.iloc[: int(_trained_rows(len(rows), fraction))].to_numpy(float) for _, rows in by_series(frame)]
        return SeriesScaler(self.scaling).fit(torch.from_numpy(np.concatenate(parts)))

    def _windows(
        self, y: pd.DataFrame | None, X: pd.DataFrame | None, horizon: int, fraction: float, seed: int
    ) -> "WindowDataModule":
        from tsmodels_datamodules import WindowDataModule

        return WindowDataModule(
            y,
            int(self.lookback),
            horizon,
            known=X,
            stride=int(self.window_stride),
            split=(1.0 - fraction, fraction, 0.0),
            scaling="none",  # done before: a fine-tuned network keeps the scale of its pretraining
            missing=self._missing_policy(),
            batch_size=int(self.batch_size),
            seed=seed,
        )

    def _missing_policy(self) -> str:
        # a network without `mask` never sees NaN: sktime refuses it by the tag capability:missing_values
        return "mask" if "mask" in accepted_inputs(self._network_class) else "error"

    def _residuals(self, network: nn.Module, dataset: Any) -> np.ndarray:
        """Scaled errors in at most 500 evenly spaced windows."""
        chosen = np.unique(np.linspace(0, len(dataset) - 1, min(len(dataset), _MAX_RESIDUALS)).astype(int))
        n = int(self.batch_size)
        batches = [dataset.__getitems__(chosen[first : first + n].tolist()) for first in range(0, len(chosen), n)]
        outputs = applied(network, batches, resolve_device(self.accelerator, self.devices)).float()
        return sorted_errors(batches, outputs, self._forecasts())

    # --- forecasts

    def _predict(self, fh: Any, X: pd.DataFrame | None) -> pd.DataFrame:
        point = self._learned.point(self._forecast(fh, X), self._forecasts())
        return self._framed(fh, point, pd.Index(self._learned.columns))

    def _predict_quantiles(self, fh: Any, X: pd.DataFrame | None, alpha: Sequence[float]) -> pd.DataFrame:
        found = self._learned.quantiles(self._forecast(fh, X), self._forecasts(), alpha)
        columns = pd.MultiIndex.from_product([self._get_varnames(), list(alpha)])
        return self._framed(fh, found.reshape(*found.shape[:2], -1), columns)

    def _forecast(self, fh: Any, X: pd.DataFrame | None) -> Tensor:
        """What the network returns for the end of every series, scaled, (series, horizon, ...)."""
        given = {} if X is None else dict(by_series(X))
        parts = [self._item(key, rows, fh, given) for key, rows in self._context.items()]
        n = int(self.batch_size)
        batches = (default_collate(parts[first : first + n]) for first in range(0, len(parts), n))
        return applied(self.network_, batches, resolve_device(self.accelerator, self.devices)).float()

    def _item(self, key: Key, rows: pd.DataFrame, fh: Any, given: dict[Key, pd.DataFrame]) -> dict[str, Tensor]:
        """The end of one series as the network sees it, with the covariates that `predict` was given."""
        values = last_rows(rows, self.lookback)
        observed = ~np.isnan(values)
        accepted = accepted_inputs(self._network_class)
        if "mask" not in accepted:  # only the start of a series shorter than the look-back is not observed
            first = values[observed.all(1).argmax()]
            values, observed = np.where(observed, values, first), np.ones_like(observed)
        scaled = self._learned.scaler.transform(torch.from_numpy(values))
        item = {"x": torch.where(torch.from_numpy(observed), scaled, 0.0).float()}
        if "mask" in accepted:
            item["mask"] = torch.from_numpy(observed)
        if self._learned.x_columns:
            item["exog"] = self._exog(key, rows, fh, given)
        return item

    def _exog(self, key: Key, rows: pd.DataFrame, fh: Any, given: dict[Key, pd.DataFrame]) -> Tensor:
        if key not in given:
            raise ValueError(
                f"{type(self).__name__} was fitted with X, which predict needs for every step of fh"
                + (f"; there is none for series {key}" if given else "")
            )
        steps, _ = times_after(rows, fh, getattr(self.cutoff, "freq", None))
        past = pd.DataFrame(last_rows(self._x_context[key], self.lookback)).bfill().to_numpy()
        future = future_rows(
            given[key].loc[:, self._learned.x_columns], rows.index[-1], self.horizon_, int(steps.max())
        )
        together = torch.from_numpy(np.vstack([past, future]))
        if together.isnan().any():
            raise ValueError(_MISSING_X)
        assert self._learned.x_scaler is not None
        return self._learned.x_scaler.transform(together).float()

    def _framed(self, fh: Any, values: np.ndarray, columns: pd.Index) -> pd.DataFrame:
        """Put values (series, horizon, column) into a frame: steps count from each series' own end."""
        parts = []
        for (key, rows), forecast in zip(self._context.items(), values, strict=True):
            steps, times = times_after(rows, fh, getattr(self.cutoff, "freq", None))
            if steps.min() < 1 or steps.max() > self.horizon_:
                raise ValueError(
                    f"fh asks for steps {steps.min()} to {steps.max()} after {rows.index[-1]}, but the network "
                    f"forecasts steps 1 to {self.horizon_}: fit with these steps, or set horizon"
                )
            parts.append((key, pd.DataFrame(forecast[steps - 1], index=times, columns=columns)))
        return joined(parts, self._index_names)

    # --- checks

    def _forecasts(self) -> Forecasts:
        return Forecasts(self.loss, self.quantiles, self.seasonality)

    def _horizon_of(self, fh: Any, cutoff: Any) -> int:
        if self.horizon is not None:
            require_count("horizon", self.horizon)
        if fh is None:
            if self.horizon is None:
                raise ValueError("the network needs to know how far to forecast: pass fh, or set horizon")
            return int(self.horizon)
        if cutoff is None and not fh.is_relative:
            raise ValueError("pretrain takes a relative fh: the series of a panel may end at different times")
        steps = np.asarray(fh if fh.is_relative else fh.to_relative(cutoff), dtype=int)
        return max(int(self.horizon or 1), int(steps.max()))

    def _check_columns(self, y: pd.DataFrame, X: pd.DataFrame | None, known: Learned) -> None:
        for name, columns, expected in (
            ("y", list(y.columns), known.columns),
            ("X", [] if X is None else list(X.columns), known.x_columns),
        ):
            if len(columns) != len(expected) or (name == "X" and columns != expected):
                raise ValueError(
                    f"{name} has the columns {columns}, but {type(self).__name__} was trained on {expected}: pass the "
                    "same columns in the same order"
                )


def _trained_rows(lengths: Any, fraction: float) -> Any:
    """Rows of a series that are trained on, rounded as the datamodule does."""
    return np.asarray(lengths * (1 - fraction) + 1e-9).astype(int)


def _scaled(frame: pd.DataFrame | None, scaler: "SeriesScaler | None") -> pd.DataFrame | None:
    if frame is None or scaler is None:
        return None
    values = scaler.transform(torch.tensor(frame.to_numpy(float))).numpy()
    return pd.DataFrame(values, index=frame.index, columns=frame.columns)


def _aligned(x: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of X at the times of y."""
    return x.loc[x.index.isin(rows.index)]
