"""Series and panels by plain values: what a configuration writes where a datamodule takes arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tsmodels.benchmark import DEFAULT_SERIES, RequestError

__all__ = ["ARRAY_ARGUMENTS", "read_given"]

ARRAY_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "DynamicsDataModule": ("data", "test", "inputs", "test_inputs"),
    "GriddedDataModule": ("data", "mask"),
    "PanelDataModule": ("X", "y", "X_test", "y_test"),
    "ReconstructionDataModule": ("y",),
    "WindowDataModule": ("y", "known", "past", "static"),
}
"""Constructor arguments of datamodules that :func:`read_given` reads."""

_SST = "sst"


def read_given(value: Any) -> Any:
    """Return the data that a plain value stands for, everything else as it is.

    Parameters
    ----------
    value : object
        A path that ends in ``.npy``, an array; one that ends in ``.csv``, a table whose first column is the index, read
        as dates where it holds dates; the name of a series that comes with sktime, ``"airline"``, ``"lynx"``,
        ``"shampoo_sales"`` or ``"uschange"``; ``"sst"``, the field of :func:`tsmodels_datamodules.load_sst`; or a
        mapping with the key ``system`` and other arguments of :func:`tsmodels_datamodules.make_trajectory`, a
        trajectory.

    Raises
    ------
    RequestError
        If a file cannot be read, or a mapping does not describe a trajectory.
    """
    if isinstance(value, Mapping):
        return _trajectory(value)
    if not isinstance(value, str):
        return value
    if Path(value).suffix in _READERS:
        return _read_file(Path(value))
    if value in DEFAULT_SERIES:
        from tsmodels.benchmark.forecasting import bundled_series

        return bundled_series(value).y
    if value == _SST:
        from tsmodels_datamodules import load_sst

        return load_sst()
    return value


def _trajectory(arguments: Mapping[str, Any]) -> Any:
    from tsmodels_datamodules import make_trajectory

    if not {"system", "n"} <= set(arguments):
        raise RequestError(
            f"data given as a mapping must hold 'system' and 'n', as in {{system: lorenz63, n: 10000}}, got "
            f"{dict(arguments)}."
        )
    return make_trajectory(**arguments)


def _read_file(path: Path) -> Any:
    try:
        return _READERS[path.suffix](path)
    except (OSError, ValueError) as error:
        raise RequestError(f"cannot read {str(path)!r}: {error}.") from error


def _array(path: Path) -> Any:
    import numpy as np

    return np.load(path, allow_pickle=False)


def _table(path: Path) -> Any:
    import pandas as pd

    frame = pd.read_csv(path, index_col=0)
    if pd.api.types.is_numeric_dtype(frame.index):
        return frame
    return frame.set_axis(pd.to_datetime(frame.index))


_READERS = {".csv": _table, ".npy": _array}
