"""The forecasters of dynamical systems: networks that run freely, and the copy of the past that they must beat."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sktime.forecasting.base import BaseForecaster

from tsmodels.estimators._context import appended
from tsmodels.estimators._dynamics_matches import best_context, continuations, nearest
from tsmodels.estimators._dynamics_reconstruction import ReconstructingForecaster
from tsmodels.estimators._training import require_count

__all__ = ["ALRNNForecaster", "ContextParrotForecaster", "PLRNNForecaster"]

_SMALL = {
    "max_epochs": 1,
    "batches_per_epoch": 1,
    "batch_size": 2,
    "window": 5,
    "n_trajectories": 5,
    "update_epochs": 1,
}


class ContextParrotForecaster(BaseForecaster):
    """Context parroting: look for the past that resembles the present, and repeat what followed it.

    Among the windows of ``context`` points that lie at least the horizon before the end, the forecast copies what
    followed the one nearest to the last ``context`` points, by the Euclidean distance summed over the columns, each
    divided by its standard deviation. Nothing is learned; on chaotic systems this beats most trained forecasters, so
    it belongs in every table of theirs.

    It takes series with one column or several, without missing values; X is ignored. Panels and hierarchies are
    forecast series by series.

    Parameters
    ----------
    context : int or "auto", default=20
        Points of a window. "auto": the one of 5, 10, 20, 50 and 100 that would have forecast the series best: each is
        tried at 10 points of its second half, on as many steps as the largest `fh` of `fit` has (20 if there is none),
        at most a quarter of the series, by the mean absolute error. It is chosen again by `update` with
        `update_params`.
    z_normalise : bool, default=False
        Whether windows are compared after bringing each column of each to mean 0 and standard deviation 1; what
        followed is brought to mean and deviation of the last window. For series with a trend, or of changing size.
    n_matches : int, default=20
        Matches that the intervals are made of, see Notes.

    Attributes
    ----------
    context_ : int
        Points of a window.

    Notes
    -----
    A horizon that no window leaves room for is filled by repeating what followed, from the match on; windows may then
    lie anywhere that does not overlap the last one.

    Intervals and quantiles are those of what followed the `n_matches` nearest windows that start half a context apart
    or more, at rank ``(n_matches + 1) * alpha``, interpolated. If what follows the present is like what followed any of
    them, that is the probability aimed at. Levels below ``1 / (n_matches + 1)`` get the lowest of them, so they are too
    narrow; short series have fewer matches, and worse ones, and of a series with a trend the past is not like what
    comes. The forecast itself follows the nearest match, so it may lie outside of narrow intervals.

    Steps in the sample have no forecast. The whole series is kept: it is the model.

    References
    ----------
    Zhang, Gilpin, "Context parroting: A simple but tough-to-beat baseline for foundation models in scientific machine
    learning", arXiv 2505.11349.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from tsmodels.estimators import ContextParrotForecaster
    >>> y = load_airline()
    >>> forecaster = ContextParrotForecaster(context=12, z_normalise=True)
    >>> forecaster.fit(y, fh=[1, 2, 3]).predict().shape
    (3,)
    """

    _tags = {
        "authors": ["tsmodels developers"],
        "maintainers": ["tsmodels developers"],
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "capability:multivariate": True,
        "capability:exogenous": False,
        "capability:insample": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:missing_values": False,
        "capability:categorical_in_X": False,
        "capability:update": True,
        "requires-fh-in-fit": False,
    }
    _config = {"remember_data": False}  # sktime 1.3's default, adopted now

    def __init__(self, context=20, z_normalise=False, n_matches=20):
        self.context = context
        self.z_normalise = z_normalise
        self.n_matches = n_matches
        super().__init__()

    def __post_init__(self) -> None:
        """Set what sktime expects to be there without remembered data."""
        self._y = self._X = None

    def _fit(self, y: pd.DataFrame, X: Any, fh: Any) -> "ContextParrotForecaster":
        require_count("n_matches", self.n_matches)
        if self.context != "auto":
            require_count("context", self.context)
        shortest = 1 if self.context == "auto" else int(self.context)
        if len(y) <= shortest:
            raise ValueError(
                f"y has {len(y)} points, but windows of context={self.context!r} and what follows them need more than "
                f"{shortest}: pass a longer series, a smaller context, or context='auto'"
            )
        self._steps_of_fit = 20 if fh is None else int(np.max(fh.to_relative(self.cutoff)))
        self._series = y
        self._choose_context()
        return self

    def _update(self, y: pd.DataFrame, X: Any = None, update_params: bool = True) -> "ContextParrotForecaster":
        if list(y.columns) != list(self._series.columns):
            raise ValueError(
                f"y has the columns {list(y.columns)}, but {type(self).__name__} was fitted on "
                f"{list(self._series.columns)}: pass the same columns in the same order"
            )
        self._series = appended(self._series, y)
        if update_params:
            self._choose_context()
        return self

    def _choose_context(self) -> None:
        values = self._comparable()[0]
        steps = max(1, self._steps_of_fit)
        automatic = self.context == "auto"
        self.context_ = best_context(values, steps, self.z_normalise) if automatic else int(self.context)

    def _comparable(self) -> tuple[np.ndarray, np.ndarray]:
        """The series in comparable units, and what a unit is: the columns' standard deviations."""
        values = self._series.to_numpy(float)
        units = values.std(0)
        units[units == 0.0] = 1.0
        return values / units, units

    def _predict(self, fh: Any, X: Any) -> pd.DataFrame:
        return self._framed(fh, self._matches(fh, 1)[0], self._series.columns)

    def _predict_quantiles(self, fh: Any, X: Any, alpha: Sequence[float]) -> pd.DataFrame:
        found = np.quantile(self._matches(fh, int(self.n_matches)), alpha, axis=0, method="weibull")
        columns = pd.MultiIndex.from_product([self._get_varnames(), list(alpha)])
        return self._framed(fh, found.transpose(1, 2, 0).reshape(found.shape[1], -1), columns)

    def _matches(self, fh: Any, n_matches: int) -> np.ndarray:
        """What followed the nearest windows, nearest first, (match, step, column)."""
        horizon = int(np.max(fh.to_relative(self.cutoff)))
        values, units = self._comparable()
        after = nearest(values, self.context_, horizon, n_matches, self.z_normalise)
        return continuations(values, after, self.context_, horizon, self.z_normalise) * units

    def _framed(self, fh: Any, values: np.ndarray, columns: Any) -> pd.DataFrame:
        steps = np.asarray(fh.to_relative(self.cutoff), dtype=int)
        return pd.DataFrame(values[steps - 1], index=fh.to_absolute_index(self.cutoff), columns=columns)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return arguments for sktime's tests."""
        return [{"context": 3}, {"context": "auto", "z_normalise": True, "n_matches": 5}]


class PLRNNForecaster(ReconstructingForecaster):
    """Forecasts of a piecewise-linear recurrent network that has learned the system behind a series.

    The network is a map from one state to the next, trained by generalised teacher forcing so that its free-running
    orbits have the attractor of the observed system and not only small one-step errors. The forecast is the free run
    from the end of the series; :meth:`get_reconstruction` is that from its beginning.

    It takes series with one column or several, without missing values. X is taken as external inputs of the map and
    must be known over the whole horizon. Panels and hierarchies get one network for each series.

    Parameters
    ----------
    cell : str, default="cshplrnn"
        The map: "plrnn", "mcplrnn", "shplrnn", "cshplrnn", "dendplrnn", "cdendplrnn" or "alrnn", see
        :class:`tsmodels.models.PLRNN`. Free runs of the clipped ones, "cshplrnn" and "cdendplrnn", cannot diverge.
    latent_dim : int or None, default=None
        Units of the state. None: as many as there are columns, delays included.
    hidden_dim : int, default=50
        Hidden units of the shallow cells, "shplrnn" and "cshplrnn".
    n_relu : int, default=2
        Units with a ReLU, of "alrnn".
    n_bases : int, default=20
        ReLUs of each unit, of the dendritic cells.
    observation : "identity" or "linear", default="identity"
        Whether the first units of the state are the columns, or the columns are a learned linear map of it.
    forcing : str, default="gtf"
        How training windows force the state: "gtf", "adaptive", "annealed", "sparse" or "free", see
        :class:`tsmodels.tasks.DynamicsTask`.
    alpha : float, default=0.15
        Strength of "gtf", first strength of "annealed".
    forcing_interval : int or "auto", default=16
        Steps from one forcing to the next, of "sparse". "auto": from autocorrelation and mutual information, see
        :func:`tsmodels.dynamics.suggest_forcing_interval`.
    window : int, default=200
        Steps of a training window, at most half of the series.
    noise : float, default=0.0
        Standard deviation of the noise that is added to windows in training, in scaled units.
    embed_dim : int or None, default=None
        Delay coordinates, for systems with more dimensions than columns: the network sees each column now and
        `embed_delay`, 2 `embed_delay`, ... steps ago, `embed_dim` values in all, and the first are forecast. None: 3
        for a single column, 1 (none) for several.
    embed_delay : int or None, default=None
        Steps between delays, as far as half of the series remains. None: chosen as `forcing_interval="auto"` is.
    warmup : int or "auto", default="auto"
        Steps before the end of the series at which the network begins to follow it. "auto": 100, at most half of the
        series; none where the last point determines the state.
    scaling : "standard" or "none", default="standard"
        "standard" brings each column of y and X to mean 0 and standard deviation 1.
    n_trajectories : int, default=100
        Runs that the intervals are made of, see Notes.
    task_kwargs : dict or None, default=None
        Further arguments of :class:`tsmodels.tasks.DynamicsTask`, such as ``{"l2": 1e-5}``.
    update_epochs : int, default=20
        Epochs of `update` with `update_params`, on the old and the new points together, at the rate `lr_end`.
    max_epochs : int, default=1000
        Epochs. What one costs does not depend on the length of the series, see `batches_per_epoch`.
    batches_per_epoch : int, default=50
        Optimiser steps of an epoch, each on windows drawn at random.
    batch_size : int, default=16
        Windows per optimiser step.
    lr, lr_end : float, default=5e-3 and 1e-5
        Learning rate of RAdam at the start and at the end, by one factor each epoch between. The end must be cold, or
        free runs may have settled into a fixed point, which the loss does not show.
    gradient_clip_val : float or None, default=None
        Gradients with a larger norm are scaled down to it. None: never.
    accelerator : "auto", "cpu", "gpu", "cuda" or "mps", default="cpu"
        Where the network is trained. It is kept, and runs freely, on the CPU.
    devices : 1 or list of one int, default=1
        The device, or a list with the index of one device.
    verbose : bool, default=False
        Show a progress bar, a summary of the network and Lightning's messages.
    trainer_kwargs : dict or None, default=None
        Further arguments of `lightning.pytorch.Trainer`, which win over those derived from this estimator.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, windows, noise and trajectories. None draws a seed from numpy's global generator. The
        global generators are left as they were.

    Attributes
    ----------
    network_ : tsmodels.models.PLRNN
        The trained network, on the CPU, in eval mode. It takes scaled points (batch, time, channel).
    history_ : dict
        ``epochs`` (number run) and ``curves``, loss and strength of the forcing by epoch; ``best_epoch`` and
        ``best_value`` are None. Of the last `fit` or `update`.
    alpha_ : float
        Strength of the forcing at the end of the training.
    forcing_interval_ : int
        The interval used.
    gain_ : float
        Share of a one-step error by which the state is corrected when it follows a series, see Notes.
    n_clipped_ : int
        Values of the free run over the sample that were clamped, see Notes; 0 unless the network diverges.
    n_parameters_ : int
        Number of trainable parameters of the network.

    Notes
    -----
    The network follows a series by predicting each step and then correcting its state with a share of the error, ::

        z[t] = F(z'[t-1], x[t]),    e[t] = y[t] - z[t],    z'[t] = z[t] + g e[t],

    written for ``observation="identity"``; units without a column keep their own course. The gain g is the one of 0.02,
    0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7 and 1 with the least mean squared one-step error on the training series: 1 where
    the series is clean, small where it is noisy, so that the noise of the last observation does not become the start
    of the forecast. The point forecast is the free run from the state z' at the end of the series. Steps in the sample
    have the one-step predictions z[t]; the first one, and those without all delays, are the observations.

    Intervals and quantiles beyond the sample are those of `n_trajectories` runs by the same equations, in which the
    errors are resampled from the one-step errors e[t] of the training series: stretches of 20 steps (at most a quarter
    of the series), drawn with replacement and put one after the other, with all columns of a time together. Each step
    is seen with such an error, and carries its share g of it on; stretches keep what neighbouring errors of an
    imperfect map have in common. Of a chaotic system the runs diverge from each other, so intervals grow until they
    have the width of the attractor, and the point forecast need not lie in the middle. The errors are those of data
    that were trained on: of a network that has overfitted a short series they are too small, and the intervals too
    narrow. Intervals in the sample add quantiles of these errors to the predictions.

    Values beyond the range of the training series by more than its length are clamped, with a warning in `predict`.
    `update` without `update_params` moves the end of the series only. The series is kept in the fitted forecaster, for
    predictions in the sample, reconstruction and update.

    Free runs should be looked at: loss and one-step errors do not show a run that has settled into a fixed point or a
    cycle. There is therefore no early stopping and no choice of an epoch.

    References
    ----------
    Hess, Monfared, Brenner, Durstewitz, "Generalized Teacher Forcing for Learning Chaotic Dynamics", ICML 2023, arXiv
    2306.04406.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from tsmodels.estimators import PLRNNForecaster
    >>> y = load_airline()
    >>> forecaster = PLRNNForecaster(max_epochs=1, batches_per_epoch=2, random_state=0)
    >>> forecaster.fit(y).predict(fh=[1, 2, 3]).shape
    (3,)
    >>> forecaster.get_reconstruction(n=10).shape
    (10,)
    """

    def __init__(
        self,
        cell="cshplrnn",
        latent_dim=None,
        hidden_dim=50,
        n_relu=2,
        n_bases=20,
        observation="identity",
        forcing="gtf",
        alpha=0.15,
        forcing_interval=16,
        window=200,
        noise=0.0,
        embed_dim=None,
        embed_delay=None,
        warmup="auto",
        scaling="standard",
        n_trajectories=100,
        task_kwargs=None,
        update_epochs=20,
        max_epochs=1000,
        batches_per_epoch=50,
        batch_size=16,
        lr=5e-3,
        lr_end=1e-5,
        gradient_clip_val=None,
        accelerator="cpu",
        devices=1,
        verbose=False,
        trainer_kwargs=None,
        random_state=None,
    ):
        self.cell = cell
        self.latent_dim = latent_dim
        self.hidden_dim = hidden_dim
        self.n_relu = n_relu
        self.n_bases = n_bases
        self.observation = observation
        self.forcing = forcing
        self.alpha = alpha
        self.forcing_interval = forcing_interval
        self.window = window
        self.noise = noise
        self.embed_dim = embed_dim
        self.embed_delay = embed_delay
        self.warmup = warmup
        self.scaling = scaling
        self.n_trajectories = n_trajectories
        self.task_kwargs = task_kwargs
        self.update_epochs = update_epochs
        self.max_epochs = max_epochs
        self.batches_per_epoch = batches_per_epoch
        self.batch_size = batch_size
        self.lr = lr
        self.lr_end = lr_end
        self.gradient_clip_val = gradient_clip_val
        self.accelerator = accelerator
        self.devices = devices
        self.verbose = verbose
        self.trainer_kwargs = trainer_kwargs
        self.random_state = random_state
        super().__init__()

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return arguments for sktime's tests."""
        other = {"cell": "dendplrnn", "n_bases": 2, "latent_dim": 5, "forcing": "adaptive", "embed_dim": 2}
        return [_SMALL | {"hidden_dim": 4}, _SMALL | other | {"max_epochs": 2}]


class ALRNNForecaster(ReconstructingForecaster):
    """Forecasts of an almost-linear recurrent network that has learned the system behind a series.

    All units of its state are linear but `n_relu`, so that it has few regions, 2 to the power of `n_relu`, in each of
    which it is an affine map: :meth:`symbols` tells which are visited when. In all else it is a
    :class:`PLRNNForecaster`, with the map ``cell="alrnn"``.

    Parameters
    ----------
    latent_dim : int, default=20
        Units of the state; more than there are columns, delays included, for the linear ones to be of use.
    n_relu : int, default=10
        Units with a ReLU. The paper has runs with 2 and sparse forcing; on a noisy Lorenz-63 series these settled into
        a cycle or fixed point in most of our runs, 10 with "gtf" in one of five.
    observation : "identity" or "linear", default="identity"
        As in :class:`PLRNNForecaster`.
    forcing, alpha
        As in :class:`PLRNNForecaster`.
    forcing_interval : int or "auto", default=16
        Steps from one forcing to the next of ``forcing="sparse"``, that of the paper. "auto": from autocorrelation and
        mutual information of the series.
    window, noise, embed_dim, embed_delay, warmup, scaling, n_trajectories
        As in :class:`PLRNNForecaster`.
    task_kwargs, update_epochs, max_epochs, batches_per_epoch, batch_size, lr, lr_end, gradient_clip_val
        As in :class:`PLRNNForecaster`.
    accelerator, devices, verbose, trainer_kwargs, random_state
        As in :class:`PLRNNForecaster`.

    Attributes
    ----------
    network_, history_, alpha_, forcing_interval_, gain_, n_clipped_, n_parameters_
        As in :class:`PLRNNForecaster`, whose Notes also say how forecasts, intervals and predictions in the sample are
        made.

    References
    ----------
    Brenner, Hemmer, Monfared, Durstewitz, "Almost-Linear RNNs Yield Highly Interpretable Symbolic Codes in Dynamical
    Systems Reconstruction", NeurIPS 2024, arXiv 2410.14240.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from tsmodels.estimators import ALRNNForecaster
    >>> y = load_airline()
    >>> forecaster = ALRNNForecaster(max_epochs=1, batches_per_epoch=2, random_state=0)
    >>> forecaster.fit(y).predict(fh=[1, 2, 3]).shape
    (3,)
    >>> forecaster.symbols(n=10).shape
    (10,)
    """

    cell = "alrnn"

    def __init__(
        self,
        latent_dim=20,
        n_relu=10,
        observation="identity",
        forcing="gtf",
        alpha=0.15,
        forcing_interval=16,
        window=200,
        noise=0.0,
        embed_dim=None,
        embed_delay=None,
        warmup="auto",
        scaling="standard",
        n_trajectories=100,
        task_kwargs=None,
        update_epochs=20,
        max_epochs=1000,
        batches_per_epoch=50,
        batch_size=16,
        lr=5e-3,
        lr_end=1e-5,
        gradient_clip_val=None,
        accelerator="cpu",
        devices=1,
        verbose=False,
        trainer_kwargs=None,
        random_state=None,
    ):
        self.latent_dim = latent_dim
        self.n_relu = n_relu
        self.observation = observation
        self.forcing = forcing
        self.alpha = alpha
        self.forcing_interval = forcing_interval
        self.window = window
        self.noise = noise
        self.embed_dim = embed_dim
        self.embed_delay = embed_delay
        self.warmup = warmup
        self.scaling = scaling
        self.n_trajectories = n_trajectories
        self.task_kwargs = task_kwargs
        self.update_epochs = update_epochs
        self.max_epochs = max_epochs
        self.batches_per_epoch = batches_per_epoch
        self.batch_size = batch_size
        self.lr = lr
        self.lr_end = lr_end
        self.gradient_clip_val = gradient_clip_val
        self.accelerator = accelerator
        self.devices = devices
        self.verbose = verbose
        self.trainer_kwargs = trainer_kwargs
        self.random_state = random_state
        super().__init__()

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return arguments for sktime's tests."""
        return [
            _SMALL | {"latent_dim": 8, "n_relu": 2, "forcing": "sparse"},
            _SMALL | {"latent_dim": 6, "n_relu": 1, "forcing_interval": "auto", "noise": 0.05, "max_epochs": 2},
        ]
