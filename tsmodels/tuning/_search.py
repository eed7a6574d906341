"""The trials of a search: proposed by Optuna, evaluated here or in processes, kept one by one."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsmodels.models._search import Choice, Integer, Parameter, Real
from tsmodels.tuning._validation import Validation, without_announcement

if TYPE_CHECKING:
    import optuna

__all__ = ["Problem", "TuningError", "TuningInterrupted", "opened_study", "search", "suggest", "trials_frame"]

_STUDY = "tsmodels"
_FINISHED = ("COMPLETE", "PRUNED", "FAIL")


class TuningError(RuntimeError):
    """No trial succeeded; the message holds the last error.

    Attributes
    ----------
    trials : DataFrame
        As of :class:`TuningResult`, all failed.
    """

    def __init__(self, message: str, trials: pd.DataFrame):
        super().__init__(message)
        self.trials = trials


class TuningInterrupted(KeyboardInterrupt):
    """Ctrl-C during a search.

    Attributes
    ----------
    study : optuna.Study
        With the finished trials.
    trials : DataFrame
        As of :class:`TuningResult`.
    """

    def __init__(self, study: optuna.Study):
        super().__init__("the search was interrupted; its finished trials are in the attributes 'trials' and 'study'")
        self.study, self.trials = study, trials_frame(study)


def suggest(
    trial: optuna.trial.BaseTrial, space: Mapping[str, Parameter], given: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a configuration out of a search space.

    Parameters
    ----------
    trial : optuna.trial.BaseTrial
    space : mapping of str to Choice, Integer or Real
    given : mapping, optional
        Values of arguments that are not searched, or keep these values while their own condition does not hold.

    Returns
    -------
    dict
        A value for each argument whose condition holds.
    """
    chosen: dict[str, Any] = {}
    for name, each in space.items():
        if not each.is_active({**(given or {}), **chosen}):
            continue
        if isinstance(each, Choice):
            chosen[name] = trial.suggest_categorical(name, each.values)
        elif isinstance(each, Integer):
            chosen[name] = trial.suggest_int(name, each.low, each.high, log=each.log)
        elif isinstance(each, Real):
            chosen[name] = trial.suggest_float(name, each.low, each.high, log=each.log)
    return chosen


@dataclass(frozen=True)
class Problem:
    """What a search works on.

    Attributes
    ----------
    estimator : estimator
        Unfitted, with everything set that is not searched.
    space : dict of str to Parameter
    measure : Validation
    """

    estimator: Any
    space: dict[str, Parameter]
    measure: Validation

    @property
    def defaults(self) -> dict[str, Any]:
        """The estimator's own values of what is searched."""
        values = self.estimator.get_params()
        return {name: values[name] for name, each in self.space.items() if each.is_active(values)}

    def configured(self, params: Mapping[str, Any]) -> Any:
        """Return an unfitted estimator with settings."""
        with without_announcement():
            return self.estimator.clone().set_params(**params)


@dataclass(frozen=True)
class _Outcome:
    scores: list[float]
    seconds: float
    error: str | None = None
    pruned: bool = False


@contextlib.contextmanager
def opened_study(
    optuna: Any, direction: str, storage: str | os.PathLike[str] | None, fingerprint: str
) -> Iterator[optuna.Study]:
    """Open the study in an SQLite file, or make one; without a file it is kept in memory.

    Raises
    ------
    ValueError
        If the file cannot be used, or holds a study with another fingerprint.
    """
    database = None
    if storage is not None:
        path = Path(storage)
        if not path.parent.is_dir():
            raise ValueError(f"storage={str(path)!r}: there is no folder {str(path.parent)!r}, make it first")
        try:
            database = optuna.storages.RDBStorage(f"sqlite:///{path.absolute()}")
        except Exception as error:  # SQLAlchemy's and Optuna's own classes, which a caller need not know
            raise ValueError(f"storage={str(path)!r} is no study of Optuna: name another file") from error
    try:
        with _quiet():
            study = optuna.create_study(study_name=_STUDY, storage=database, direction=direction, load_if_exists=True)
        if study.user_attrs.setdefault("fingerprint", fingerprint) != fingerprint:
            raise ValueError(
                f"storage={str(storage)!r} holds a search with other data, space or settings: repeat those to go on "
                "with it, or name another file"
            )
        study.set_user_attr("fingerprint", fingerprint)
        yield study
    finally:
        if database is not None:
            database.remove_session()
            database.engine.dispose()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Run a block without Optuna's remark that it has made a study."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def search(
    optuna: Any,
    study: optuna.Study,
    problem: Problem,
    *,
    n_trials: int,
    timeout: float | None,
    seed: int,
    prune: bool,
    n_jobs: int,
    progress: Callable[[dict[str, Any]], None] | None,
) -> None:
    """Run trials until there are enough, or the time is over; arguments as of :func:`tsmodels.tuning.tune`.

    Raises
    ------
    TuningInterrupted
        On Ctrl-C.
    """
    study.pruner = optuna.pruners.MedianPruner() if prune else optuna.pruners.NopPruner()
    end = math.inf if timeout is None else time.monotonic() + timeout
    while (n_finished := len(_finished(study))) < n_trials and time.monotonic() < end:
        begun: list[tuple[optuna.Trial, dict[str, Any]]] = []
        try:
            for number in range(n_finished, min(n_finished + n_jobs, n_trials)):
                begun.append(_proposed(optuna, study, problem, seed, number))
            for (trial, _), outcome in zip(begun, _outcomes(problem, begun, prune), strict=True):
                _tell(optuna, study, trial, outcome)
                if progress is not None:
                    progress(_row(study.trials[trial.number]))
        except KeyboardInterrupt:
            raise TuningInterrupted(study) from None
        finally:
            for trial, _ in begun:  # what did not finish counts as never begun
                if not study.trials[trial.number].state.is_finished():
                    trial.set_user_attr("interrupted", True)
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)


def _proposed(
    optuna: Any, study: optuna.Study, problem: Problem, seed: int, number: int
) -> tuple[optuna.Trial, dict[str, Any]]:
    """Return the trial that comes after so many finished ones, and its settings."""
    # A generator for each trial: a search that goes on proposes what it would have without the interruption, where one
    # generator would begin again with the numbers of the first trials.
    own_seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=own_seed, constant_liar=False)
    # a search that was killed right here has asked for the defaults already
    waiting = any(each.state.name == "WAITING" for each in study.trials)
    if number == 0 and not waiting and _is_within(problem.defaults, problem.space):
        study.enqueue_trial(problem.defaults)
    trial = study.ask()
    return trial, suggest(trial, problem.space, problem.estimator.get_params())


def _outcomes(
    problem: Problem, begun: Sequence[tuple[optuna.Trial, dict[str, Any]]], prune: bool
) -> Iterable[_Outcome]:
    """Evaluate settings one by one here, or several at the same time in processes; in order."""
    if len(begun) == 1:
        [(trial, params)] = begun
        return [_evaluated(problem, params, trial if prune else None)]
    import joblib

    jobs = (joblib.delayed(_evaluated)(problem, params) for _, params in begun)
    return joblib.Parallel(n_jobs=len(begun), return_as="generator")(jobs)  # pyright: ignore[reportReturnType]


def _evaluated(problem: Problem, params: Mapping[str, Any], trial: optuna.Trial | None = None) -> _Outcome:
    """Fit and measure a configuration; with a trial its mean score is reported after each fold."""
    begin, scores = time.monotonic(), []
    try:
        for fold, score in enumerate(problem.measure.scores(problem.configured(params))):
            if not math.isfinite(score):
                raise FloatingPointError(f"the score of fold {fold} is {score}")
            scores.append(score)
            if trial is not None and len(scores) < problem.measure.n_folds:
                trial.report(float(np.mean(scores)), fold)
                if trial.should_prune():
                    return _Outcome(scores, time.monotonic() - begin, pruned=True)
    except Exception as error:
        return _Outcome(scores, time.monotonic() - begin, error=f"{type(error).__name__}: {error}")
    return _Outcome(scores, time.monotonic() - begin)


def _tell(optuna: Any, study: optuna.Study, trial: optuna.Trial, outcome: _Outcome) -> None:
    trial.set_user_attr("seconds", outcome.seconds)
    trial.set_user_attr("fold_scores", outcome.scores)
    state = optuna.trial.TrialState
    if outcome.error is not None:
        trial.set_user_attr("error", outcome.error)
        study.tell(trial, state=state.FAIL)
    elif outcome.pruned:
        study.tell(trial, state=state.PRUNED)
    else:
        study.tell(trial, float(np.mean(outcome.scores)))


def _is_within(values: Mapping[str, Any], space: Mapping[str, Any]) -> bool:
    return all(space[name].contains(value) for name, value in values.items())


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that count: neither running, in this process or another, nor interrupted."""
    return [
        each for each in study.trials if each.state.name in _FINISHED and not each.user_attrs.get("interrupted", False)
    ]


def _row(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}[trial.state.name],
        "score": trial.value if trial.state.name == "COMPLETE" else math.nan,
        "seconds": trial.user_attrs.get("seconds", math.nan),
        "error": trial.user_attrs.get("error"),
        **{f"param_{name}": value for name, value in trial.params.items()},
    }


def trials_frame(study: optuna.Study) -> pd.DataFrame:
    """Return the finished trials of a study of :func:`tune`, a row each."""
    columns = ["number", "state", "score", "seconds", "error"]
    rows = [_row(trial) for trial in _finished(study)]
    return pd.DataFrame(rows, columns=list(dict.fromkeys([*columns, *(name for row in rows for name in row)])))
