"""What runs inside the child process of a worker: one task after the other, until the other end of the pipe closes.

Started by :class:`tsmodels.benchmark.execution._process.Child`; imports nothing numerical by itself.
"""

from __future__ import annotations

import os
import pickle
import signal
import time
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from tsmodels.benchmark.execution._pickle import dumps
from tsmodels.benchmark.execution._start import end_with_parent
from tsmodels.benchmark.execution._threads import pinned

__all__ = ["described", "serve"]


def serve(requests: int, lifeline: int, patience: float) -> None:
    """Answer requests until the pipe closes, or none comes.

    The first request is the program, ``(function, initialise, threads)``; each further one is an argument of the
    function. Every answer is ``(value, error, traceback, seconds)``, the value pickled.

    Parameters
    ----------
    requests : int
        File descriptor of the pipe.
    lifeline : int
        File descriptor of a pipe on which nothing is ever sent: it closes when the parent dies.
    patience : float
        Seconds to wait for a request: of the workers of a cluster nobody may think any more.
    """
    for descriptor in (requests, lifeline):
        os.set_inheritable(descriptor, False)
    _die_with_parent(lifeline)
    with Connection(requests) as connection, suppress(EOFError):
        function, threads = None, None
        try:
            function, initialise, threads = _load_program(connection.recv_bytes())
            if initialise is not None:
                initialise()
            connection.send((None, None, None, 0.0))
        except BaseException as error:
            connection.send((None, *described(error), 0.0))
            return
        while connection.poll(patience):
            answer = _answer(function, connection.recv_bytes(), threads)
            connection.send_bytes(answer)
            del answer  # else a large result stays until the next one


def _load_program(content: bytes) -> tuple[Any, Any, int | None]:
    function, initialise, threads = pickle.loads(content)
    return pickle.loads(function), None if initialise is None else pickle.loads(initialise), threads


def _answer(function: Any, content: bytes, threads: int | None) -> bytes:
    start = time.perf_counter()
    value, error, trace = None, None, None
    try:
        argument = pickle.loads(content)
        with pinned(threads):
            result = function(argument)
        seconds = time.perf_counter() - start
        value = dumps(result, "the result")
    except BaseException as raised:  # also SystemExit: a task may end itself, not the worker
        seconds = time.perf_counter() - start
        error, trace = described(raised)
    return pickle.dumps((value, error, trace, seconds), protocol=pickle.HIGHEST_PROTOCOL)


def described(error: BaseException) -> tuple[str, str]:
    """Return ``"Type: message"`` and the traceback of an exception, without the frame that caught it."""
    try:
        message = str(error)
    except Exception:
        message = "<its message cannot be shown>"
    frames = error.__traceback__
    where = frames.tb_next if frames is not None and frames.tb_next is not None else frames
    try:
        trace = "".join(traceback.format_exception(type(error), error, where))
    except Exception:
        trace = "".join(traceback.format_tb(where))
    return f"{type(error).__name__}: {message}", trace


def _die_with_parent(lifeline: int) -> None:
    """End this process and those it started when its parent ends, however that ends.

    Where the system can, by a signal from the kernel: it also reaches compiled code that never lets a thread run.
    """
    with suppress(ImportError, OSError, AttributeError):
        import fcntl

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    end_with_parent()  # the pipe stays open if the parent has forked
