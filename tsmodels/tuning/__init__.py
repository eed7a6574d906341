"""Hyperparameter search: which settings of an estimator do best on parts of the training data held out for it.

Only training data go in, so only they can be looked at: whoever holds out a test split measures the tuned estimator on
it once, at the end. The search is Optuna's (extra ``tune``), over the space that each network declares
(``search_space``) or one of your own.

The searches of scikit-learn and sktime work with the estimators of this package as well; they need no extra::

    from sklearn.model_selection import GridSearchCV
    from tsmodels.estimators import MambaClassifier

    search = GridSearchCV(MambaClassifier(max_epochs=20), {"d_model": [16, 32], "lr": [1e-3, 3e-3]}, cv=3)
    search.fit(X_train, y_train)

    from sktime.forecasting.model_selection import ForecastingGridSearchCV
    from sktime.split import ExpandingWindowSplitter
    from tsmodels.estimators import DLinearForecaster

    windows = ExpandingWindowSplitter(fh=range(1, 13), initial_window=96, step_length=12)
    search = ForecastingGridSearchCV(DLinearForecaster(lookback=24), windows, {"kernel_size": [5, 13, 25]})
    search.fit(y_train, fh=range(1, 13))

A network that no estimator stands for, such as those for frames, is searched with Optuna itself, its space included::

    def objective(trial):
        settings = tsmodels.tuning.suggest(trial, ConvLSTMForFrames.search_space)
        lr = settings.pop("lr")
        task = FramesTask(ConvLSTMForFrames(1, 64, 64, **settings), lr=lr)
        ...  # fit it with a Trainer, and return its loss on validation data
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from tsmodels.models._search import Choice, Integer, Parameter, Real
from tsmodels.tuning._search import (
    Problem,
    TuningError,
    TuningInterrupted,
    opened_study,
    search,
    suggest,
    trials_frame,
)
from tsmodels.tuning._validation import ClassifierValidation, ForecasterValidation, Validation, without_announcement

if TYPE_CHECKING:
    import optuna

__all__ = [
    "Choice",
    "Integer",
    "Real",
    "TuningError",
    "TuningInterrupted",
    "TuningResult",
    "space_of",
    "suggest",
    "tune",
]


@dataclass(frozen=True)
class TuningResult:
    """What a search has found.

    Attributes
    ----------
    best_estimator : estimator
        With the best settings, fitted on all training data.
    best_params : dict
        The settings of the search only.
    best_score : float
        Mean over the folds or windows. It is the best of many, hence too good: no estimate of what comes on new data.
    trials : DataFrame
        A row per finished trial: ``number``, ``state`` ("complete", "pruned" or "failed"), ``score``, ``seconds``,
        ``error``, and a column ``param_<name>`` for each argument, NaN where it was not chosen.
    study : optuna.Study
    """

    best_estimator: Any
    best_params: dict[str, Any]
    best_score: float
    trials: pd.DataFrame
    study: optuna.Study


def tune(
    estimator: Any,
    X: Any = None,
    y: Any = None,
    *,
    fh: Any = None,
    space: Mapping[str, Parameter] | None = None,
    fixed: Mapping[str, Any] | None = None,
    n_trials: int = 20,
    validation: int | float = 3,
    scoring: str | None = None,
    seasonality: int = 1,
    timeout: float | None = None,
    storage: str | os.PathLike[str] | None = None,
    seed: int = 0,
    prune: bool = False,
    n_jobs: int = 1,
    progress: Callable[[dict[str, Any]], None] | None = None,
) -> TuningResult:
    """Search for the settings of a classifier or forecaster, on training data alone.

    The first trial is the estimator as it is, if its settings lie in the space; the others are proposed by Optuna's
    tree-structured Parzen estimator. A trial that raises an exception or has a score that is not finite has failed, and
    the search goes on.

    Parameters
    ----------
    estimator : str or estimator
        Name of a classifier or forecaster of this package, or an unfitted classifier or forecaster of sktime, which is
        left as it is.
    X, y : training data
        Of a classifier: cases and labels. Of a forecaster: `y` is the series, or several, and `X` what is known of
        them ahead, or None. Do not pass test data.
    fh : int or sequence of int, optional
        Of a forecaster: steps ahead; an int means all up to it.
    space : mapping of str to Choice, Integer or Real, optional
        What is searched, by name of the argument (``part__argument`` for an estimator inside another). By default what
        the network declares, see :func:`space_of`.
    fixed : mapping, optional
        Other settings of the estimator; they are left out of the space.
    n_trials : int, default=20
        Finished trials in the end, those found in `storage` included.
    validation : int or float, default=3
        Of a classifier: number of stratified folds of the training cases, or share of them that is held out once. Of a
        forecaster: number of last windows of the series, each forecast from all that lies before it.
    scoring : str, optional
        Of a classifier "accuracy" (default) or "log_loss", of a forecaster "mase" (default; mean absolute error in
        units of that of the naive forecast in the past) or "mae".
    seasonality : int, default=1
        Of the naive forecast that "mase" compares with.
    timeout : float, optional
        Seconds after which no other trial begins.
    storage : path, optional
        SQLite file that holds the trials; made if need be. The same call goes on where it was stopped, and ends as if
        it had not been. Without it they are kept in memory.
    seed : int, default=0
        Of proposals and folds, and ``random_state`` of every trial and of the result where the estimator has none set.
        The global generators are neither seeded nor drawn from.
    prune : bool, default=False
        Whether a trial ends early when its mean score after some folds is worse than the median of the trials before
        it. Not with several jobs.
    n_jobs : int, default=1
        Trials at a time, each in a process. The proposals of one round do not know each other's scores: equal seeds
        give equal results for equal `n_jobs`.
    progress : callable, optional
        Called after each finished trial with its row of ``trials`` as a dict.

    Returns
    -------
    TuningResult

    Raises
    ------
    ModuleNotFoundError
        If Optuna is not installed.
    TypeError
        If the estimator is neither classifier nor forecaster, or data of its kind are missing.
    ValueError
        If an argument is wrong, or `storage` holds a search of something else.
    TuningError
        If all trials failed.
    TuningInterrupted
        On Ctrl-C; a KeyboardInterrupt that carries the finished trials.

    Notes
    -----
    The score that is to be best decides between settings, nothing else. A neural network is trained for all its epochs
    in each fold; with ``val_fraction`` it keeps the weights of the best epoch by a part of the fold's own training
    data.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from sktime.forecasting.naive import NaiveForecaster
    >>> from tsmodels.tuning import Choice, tune
    >>> y = load_airline()[:-12]  # the last year is the test
    >>> space = {"strategy": Choice("last", "mean", "drift"), "sp": Choice(1, 12)}
    >>> result = tune(NaiveForecaster(), y=y, fh=12, space=space, n_trials=6, seasonality=12)
    >>> result.best_params
    {'strategy': 'last', 'sp': 12}
    """
    optuna = _optuna()
    estimator, kind = _resolved(estimator)
    searched = dict(space_of(estimator) if space is None else space)
    given = dict(fixed or {})
    searched = {name: each for name, each in searched.items() if name not in given}
    _check(estimator, searched, given)
    for name, count in (("n_trials", n_trials), ("n_jobs", n_jobs), ("seasonality", seasonality)):
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"{name} must be a positive integer, got {count!r}")
    if prune and n_jobs > 1:
        raise ValueError("prune=True needs n_jobs=1: trials that run at the same time cannot be compared on the way")
    with without_announcement():
        start = _seeded(estimator.clone().set_params(**given), seed)
    if kind == "classifier":
        if X is None or y is None:
            raise TypeError("a classifier is tuned on cases X and labels y: pass both")
        measure: Validation = ClassifierValidation(X, y, validation, scoring or "accuracy", seed)
    else:
        if y is None or fh is None:
            raise TypeError("a forecaster is tuned on a series y and the steps fh to forecast: pass both by name")
        measure = ForecasterValidation(y, X, fh, validation, scoring or "mase", seasonality)
    problem = Problem(start, searched, measure)
    seeds = [value for name, value in start.get_params().items() if _is_seed(name)]
    # how many trials are under way at a time decides what is proposed
    settings = [validation, scoring, seasonality, seed, seeds, fh, n_jobs]
    with opened_study(optuna, measure.direction, storage, _fingerprint(problem, settings)) as study:
        search(
            *(optuna, study, problem),
            n_trials=n_trials,
            timeout=timeout,
            seed=seed,
            prune=prune,
            n_jobs=n_jobs,
            progress=progress,
        )
        return _result(study, problem)


def space_of(estimator: Any) -> dict[str, Parameter]:
    """Return the search space that an estimator's network declares, as far as the estimator has the arguments.

    Parameters
    ----------
    estimator : estimator or type
        Of this package, or with an attribute ``search_space`` of its own.

    Raises
    ------
    ValueError
        If none is declared.

    Examples
    --------
    >>> from tsmodels.estimators import DLinearForecaster
    >>> from tsmodels.tuning import space_of
    >>> space_of(DLinearForecaster)["kernel_size"]
    Choice(when={}, values=(3, 7, 13, 25, 49))
    """
    cls = estimator if isinstance(estimator, type) else type(estimator)
    declared = getattr(cls, "search_space", None) or getattr(_network_class(cls), "search_space", None)
    if not declared:
        raise ValueError(f"{cls.__name__} declares no search space: pass space={{name: Choice(...), ...}}")
    own = cls.get_param_names()
    return {name: each for name, each in declared.items() if name in own}


def _network_class(cls: type) -> Any:
    from tsmodels.estimators._dynamics_forecaster import DynamicsForecaster

    if issubclass(cls, DynamicsForecaster):
        from tsmodels.models import PLRNN

        return PLRNN
    return getattr(cls, "_network_class", None)


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a search needs Optuna: pip install 'tsmodels[tune]'", name="optuna") from error
    return optuna


def _resolved(estimator: Any) -> tuple[Any, str]:
    """Return the estimator, and which kind it is."""
    if isinstance(estimator, str):
        from tsmodels.estimators import all_estimators

        known = {each.__name__: each for kind in ("classifier", "forecaster") for each in all_estimators(kind)}
        if estimator not in known:
            raise ValueError(f"there is no estimator {estimator!r}. There are: {', '.join(sorted(known))}")
        estimator = known[estimator]()
    if isinstance(estimator, type) or not (hasattr(estimator, "get_class_tag") and hasattr(estimator, "clone")):
        raise TypeError(f"estimator must be a name or an unfitted sktime estimator, got {estimator!r}")
    if (kind := estimator.get_class_tag("object_type")) not in ("classifier", "forecaster"):
        raise TypeError(f"only classifiers and forecasters are tuned, {type(estimator).__name__} is a {kind}")
    return estimator, kind


def _check(estimator: Any, space: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    if not space:
        raise ValueError("the search space is empty: nothing is left to search")
    known = estimator.get_params()
    for given, names in (("space", space), ("fixed", fixed)):
        if wrong := [name for name in names if name not in known]:
            raise ValueError(f"{given} names {wrong[0]!r}, which {type(estimator).__name__} does not have")
    if wrong := [name for name, each in space.items() if not isinstance(each, Choice | Integer | Real)]:
        raise TypeError(f"space[{wrong[0]!r}] must be a Choice, an Integer or a Real, got {space[wrong[0]]!r}")


def _seeded(estimator: Any, seed: int) -> Any:
    """Give the seed to everything that has none: trials differ by their settings only."""
    missing = {name: seed for name, value in estimator.get_params().items() if _is_seed(name) and value is None}
    return estimator.set_params(**missing) if missing else estimator


def _is_seed(name: str) -> bool:
    return name.rpartition("__")[2] == "random_state"


def _fingerprint(problem: Problem, settings: list[Any]) -> str:
    """Return digits that differ if trials could not be compared with those of another search."""
    import joblib

    from tsmodels.benchmark.models import class_path, described, digest, plain

    fixed = {name: value for name, value in described(problem.estimator).items() if name not in problem.space}
    data = joblib.hash(problem.measure.data())
    defaults = plain(problem.defaults)  # the first trial
    return digest([class_path(problem.estimator), fixed, defaults, repr(problem.space), repr(settings), data])


def _result(study: optuna.Study, problem: Problem) -> TuningResult:
    trials = trials_frame(study)
    if not (trials["state"] == "complete").any():
        errors = trials["error"].dropna()
        last = f"the last: {errors.iloc[-1]}" if len(errors) else "none was finished: allow more time"
        raise TuningError(f"no trial succeeded, {len(trials)} failed; {last}", trials)
    best = study.best_trial
    try:
        fitted = problem.measure.refitted(problem.configured(best.params))
    except KeyboardInterrupt:
        raise TuningInterrupted(study) from None
    return TuningResult(fitted, dict(best.params), study.best_value, trials, study)
