"""One run at a time in a folder of results."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from tsmodels.benchmark._errors import OutputError, RequestError

try:
    import fcntl
except ImportError:  # Windows: the process named in the file has to do
    fcntl = None

__all__ = ["only_run"]

_NAME = ".lock"


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder.

    A file ``.lock`` names the process that runs. The operating system's lock on that file ends with the process,
    however it ends, so that a run that was killed is in nobody's way. Where the file system has no locks, and on
    other machines that share it, what the file says decides: a process of this machine that no longer lives is
    ignored, one of another machine cannot be looked up and is believed.

    Raises
    ------
    RequestError
        If another run has the folder.
    OutputError
        If the file cannot be written.
    """
    path = folder / _NAME
    try:
        descriptor = _locked(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}. Name a folder that can be written to."
        ) from error
    try:
        if descriptor is None or _is_taken(holder := _holder(path)):
            raise RequestError(_refusal(folder, _holder(path) if descriptor is None else holder))
        try:
            os.ftruncate(descriptor, 0)
            _write(descriptor, json.dumps(_this_process()).encode())  # opened just now: at its beginning
        except OSError as error:  # a full disk
            _remove(path)
            raise OutputError(f"cannot write {path}: {error.strerror or error}. Make room there.") from error
        try:
            yield
        finally:
            _remove(path)  # while it is locked: nobody can have taken it over
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _locked(path: Path) -> int | None:
    """Return a descriptor of the file with the system's lock on it, None if another process has that."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if fcntl is None:
            return descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:  # a file system without locks
            return descriptor
        with contextlib.suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)  # it was removed between opening and locking: what is locked is nobody's file any more


def _write(descriptor: int, content: bytes) -> None:
    while content:  # a disk with a little room takes the beginning, and raises no error before the next call
        content = content[os.write(descriptor, content) :]


def _remove(path: Path) -> None:
    with contextlib.suppress(PermissionError):  # of Windows, which keeps an open file
        path.unlink(missing_ok=True)


def _this_process() -> dict[str, Any]:
    return {"pid": os.getpid(), "host": socket.gethostname(), "started": psutil.Process().create_time()}


def _holder(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_taken(holder: dict[str, Any]) -> bool:
    if not holder:
        return False
    if holder.get("host") != socket.gethostname():
        return True
    try:
        # a process that started at another time has the number of one that ended
        return abs(psutil.Process(holder.get("pid")).create_time() - holder.get("started", 0.0)) < 1
    except (psutil.NoSuchProcess, TypeError, ValueError):
        return False


def _refusal(folder: Path, holder: dict[str, Any]) -> str:
    who = f"process {holder['pid']} on {holder['host']}" if {"pid", "host"} <= holder.keys() else "another process"
    return (
        f"{str(folder)!r} is in use by {who}: wait for that run, or name another folder as output. "
        f"If it is no longer there, delete {str(folder / _NAME)!r}."
    )
