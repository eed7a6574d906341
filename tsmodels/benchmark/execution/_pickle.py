"""Pickles of functions and objects that other processes cannot import: those of a script or a notebook."""

from __future__ import annotations

import pickle
from typing import Any

__all__ = ["dumps"]


def dumps(value: Any, what: str) -> bytes:
    """Return a pickle, or raise a PicklingError that says what cannot be sent.

    Parameters
    ----------
    value : object
    what : str
        What it is, for the message.
    """
    try:
        import cloudpickle
    except ImportError:  # joblib before 1.6 brings its own copy instead of the package
        from joblib.externals import cloudpickle  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return cloudpickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # any __reduce__ may raise anything
        raise pickle.PicklingError(
            f"{what}, of type {type(value).__name__}, cannot be sent between processes: {type(error).__name__}: {error}"
        ) from error
