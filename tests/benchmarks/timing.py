"""Interleaved timing: contenders take turns in one process, so that a busy or throttled machine slows all of them."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

Action = Callable[[], object]
Clock = Callable[[], float]

MIN_TURNS = 3


class Effort(NamedTuple):
    """How long to measure.

    Every contender has ``rounds`` turns of at least ``turn`` seconds; one that would need more than ``most`` seconds
    for them has fewer, down to three, spread evenly.  One whose single call takes more than ``longest`` is left out.
    """

    rounds: int
    turn: float
    most: float
    longest: float


class Seconds(NamedTuple):
    """Seconds per call."""

    median: float
    best: float


def clock_for(n_threads: int, device: str) -> Clock:
    """CPU time of the process for one thread, which waiting for a core does not lengthen; else the wall clock."""
    if device == "cuda":
        return _wall_clock_of_the_device
    return time.process_time if n_threads == 1 else time.perf_counter


def interleaved(actions: Mapping[str, Action], clock: Clock, effort: Effort) -> dict[str, Seconds]:
    """Time all actions, after a first call of each that may compile."""
    calls, turns, samples = {}, {}, {}
    for name, action in actions.items():
        action()
        once = max(_seconds_per_call(action, 1, clock), 1e-9)
        calls[name] = max(1, int(effort.turn / once))
        turns[name] = min(effort.rounds, max(MIN_TURNS, int(effort.most / max(once, effort.turn))))
        samples[name] = []
        if calls[name] == 1:  # that call was a whole turn
            samples[name].append(once)
            turns[name] -= 1
    for i in range(1, effort.rounds + 1):
        for name, action in actions.items():
            if _is_due(i, turns[name], effort.rounds):
                samples[name].append(_seconds_per_call(action, calls[name], clock))
    return {name: Seconds(statistics.median(found), min(found)) for name, found in samples.items()}


def _is_due(i: int, turns: int, rounds: int) -> bool:
    """Whether round ``i``, counted from 1, is one of ``turns`` that are spread evenly over all, the last included."""
    return i * turns // rounds > (i - 1) * turns // rounds


def _seconds_per_call(action: Action, n_calls: int, clock: Clock) -> float:
    collects = gc.isenabled()
    gc.disable()
    try:
        start = clock()
        for _ in range(n_calls):
            action()
        return (clock() - start) / n_calls
    finally:
        if collects:
            gc.enable()


def _wall_clock_of_the_device() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()
