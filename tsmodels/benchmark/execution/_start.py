"""Interpreters for worker processes, and their end with the process that started them.

Not by ``multiprocessing``, which would run the caller's script again in each of them unless it is guarded by
``if __name__ == "__main__"``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

__all__ = ["end_with_parent", "kill_group", "start_python"]

_SECONDS_BETWEEN_LOOKS = 0.5
# The folders of imports are this process's, whose script may have added some
_BOOTSTRAP = (
    "import importlib, json, sys; module, name, path, *arguments = json.loads(sys.argv.pop()); "
    "sys.path[:] = path; getattr(importlib.import_module(module), name)(*arguments)"
)


def start_python(
    module: str,
    function: str,
    *arguments: str | int | float,
    environment: dict[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Call a function in a new interpreter, in a session of its own: Ctrl-C does not reach it.

    Parameters
    ----------
    module, function : str
    *arguments : str, int or float
    environment : dict, optional
        By default that of this process.
    descriptors : sequence of int, optional
        Open files to hand on.
    """
    path = [entry for entry in sys.path if isinstance(entry, str)]
    # with the options of this interpreter, such as -W and -X
    interpreter = [sys.executable, *subprocess._args_from_interpreter_flags()]  # pyright: ignore[reportAttributeAccessIssue]
    call = json.dumps([module, function, path, *arguments])
    return subprocess.Popen(
        [*interpreter, "-c", _BOOTSTRAP, call],
        stdin=subprocess.DEVNULL,
        env=environment,
        pass_fds=descriptors,
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[bytes]) -> int:
    """End a process of :func:`start_python` and those it started; return its exit code."""
    # before it is waited for: until then its number, which is also the group's, is not given to another process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def end_with_parent() -> None:
    """End the group of this process, which it leads, soon after its parent's end."""
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
