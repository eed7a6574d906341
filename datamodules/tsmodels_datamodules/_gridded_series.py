"""Fields on a grid: what they are read from, and which of their cells count."""

from __future__ import annotations

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tsmodels_datamodules._archive import DataNotFoundError, _data_roots

_FOLDER = "spatiotemporal"
_SST = "sst_pacific"
# what xarray's users call the axes, in our order
AXES = (("time", "t"), ("lat", "latitude", "y"), ("lon", "longitude", "x"))


@dataclass(frozen=True, eq=False)
class GriddedSeries:
    """A field on a grid over time.

    Attributes
    ----------
    values : ndarray (time, latitude, longitude) or (time, channel, latitude, longitude)
        Anything where the mask is False.
    mask : ndarray of bool (latitude, longitude) or (channel, latitude, longitude), or None
        True where a cell counts. None: each cell that is finite at some time, which must then be so at all times.
    lat, lon : ndarray, or None
        Coordinates of rows and columns.
    times : ndarray of datetime64 (time,), or None
    """

    values: np.ndarray
    mask: np.ndarray | None = None
    lat: np.ndarray | None = None
    lon: np.ndarray | None = None
    times: np.ndarray | None = None


def load_sst(*, data_dir: str | os.PathLike[str] | None = None) -> GriddedSeries:
    """Read the monthly anomalies of the sea-surface temperature of the Pacific, January 1970 to March 2003.

    Parameters
    ----------
    data_dir : path, optional
        Folder to look in first.

    Returns
    -------
    GriddedSeries
        399 fields of 30 x 84 cells of 2 degrees, latitudes from 29 to -29, longitudes from 124 to 290, in degrees
        Celsius; 2261 cells are ocean. The land, whose cells carry filled values in the file, among them its extremes,
        is 0 and False in the mask.

    Raises
    ------
    DataNotFoundError
        If the file is nowhere; the message says where it was looked for and where to put it.
    ValueError
        If the file is damaged.

    Notes
    -----
    Looked in, in this order: `data_dir`; the folder the environment variable ``TSMODELS_DATA`` names; sktime's data;
    the cache folder. In each, ``sst_pacific.npz`` lies in ``spatiotemporal`` or in the folder itself. The fields are
    NOAA's, as distributed with the package STRbook: Wikle, Zammit-Mangion, Cressie, "Spatio-Temporal Statistics with
    R", 2019.

    Examples
    --------
    >>> from tsmodels_datamodules import load_sst
    >>> load_sst().values.shape  # doctest: +SKIP
    (399, 30, 84)
    """
    path = find_file(_SST, data_dir, "'sst' (time, lat, lon), 'landmask', 'lat' and 'lon'")
    arrays = read_arrays(path, ("sst", "landmask", "lat", "lon"))
    ocean = arrays["landmask"] == 0
    if arrays["sst"].ndim != 3 or arrays["sst"].shape[1:] != ocean.shape:
        raise ValueError(f"{path} is not the expected file: 'sst' has shape {arrays['sst'].shape}.")
    times = np.datetime64("1970-01") + np.arange(len(arrays["sst"]))
    values = np.where(ocean, arrays["sst"], 0).astype(np.float32)
    return GriddedSeries(values, ocean, arrays["lat"], arrays["lon"], times)


def find_file(name: str, data_dir: str | os.PathLike[str] | None, content: str) -> Path:
    """Return where ``<name>.npz`` lies; DataNotFoundError with `content`, what it should hold, if nowhere."""
    roots = _data_roots(data_dir)
    for folder in (place for root in roots for place in (root / _FOLDER, root)):
        if (path := folder / f"{name}.npz").is_file():
            return path
    raise DataNotFoundError(
        f"{name}.npz was not found in {', '.join(map(str, roots))}. It is not downloaded. To use it, put it, with the "
        f"arrays {content}, into a folder {_FOLDER!r} of a folder that is passed as data_dir or named by the "
        "environment variable TSMODELS_DATA."
    )


def read_arrays(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return arrays of an npz file; ValueError if it is damaged or lacks one."""
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return {name: arrays[name] for name in names}
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged or another file ({type(error).__name__}: {error}): replace it.") from error


def to_gridded(data: Any, mask: Any = None, *, variable: str | None = None) -> GriddedSeries:
    """Return checked fields (time, channel, latitude, longitude) with a mask, in one form from all that are taken.

    Parameters
    ----------
    data : ndarray, xarray.DataArray, GriddedSeries or path
        See :class:`GriddedDataModule`.
    mask : array of bool, optional
        Overrides that of a GriddedSeries.
    variable : str, optional
        Which variable of a netCDF file; may be left out where it has only one.

    Returns
    -------
    GriddedSeries
        ``values`` float32 and 0 where the mask, which is never None, is False.
    """
    if isinstance(data, (str, os.PathLike)):
        data = _read_netcdf(data, variable)
    elif variable is not None:
        raise ValueError("variable names a variable of a netCDF file: leave it out for data that are no path.")
    series = data if isinstance(data, GriddedSeries) else _unchecked(data)
    values = np.asarray(series.values)
    if values.ndim == 3:
        values = values[:, None]
    if values.ndim != 4 or not values.size:
        raise ValueError(
            f"data must be (time, lat, lon) or (time, channel, lat, lon) and not empty, got shape {values.shape}."
        )
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise TypeError(f"data must be real numbers, got dtype {values.dtype}.")
    counts = _counted(values, series.mask if mask is None else mask)
    values = np.where(counts, values, 0).astype(np.float32)
    return GriddedSeries(values, counts, series.lat, series.lon, series.times)


def _read_netcdf(path: str | os.PathLike[str], variable: str | None) -> Any:
    try:
        import xarray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ImportError(
            f"data = {os.fspath(path)!r} is a path, and netCDF files are read by xarray, which is not installed: "
            "pip install xarray netCDF4, or pass the fields as an array."
        ) from None
    with xarray.open_dataset(path) as dataset:
        names = list(map(str, dataset.data_vars))
        if variable is None and len(names) != 1:
            raise ValueError(f"{os.fspath(path)} holds {', '.join(names) or 'no variable'}: choose one by variable.")
        chosen = names[0] if variable is None else variable
        if chosen not in names:
            raise ValueError(f"variable must be one of {', '.join(names)}, got {chosen!r}.")
        return dataset[chosen].load()


def _unchecked(data: Any) -> GriddedSeries:
    """Return an array as it is, a DataArray with its axes in our order and its coordinates."""
    if not (hasattr(data, "dims") and hasattr(data, "coords")):  # so xarray need not be imported to be taken
        if isinstance(data, (list, tuple)):
            shapes = sorted({np.shape(frame) for frame in data})
            if len(shapes) > 1:
                raise ValueError(f"all frames must be of one size, got {', '.join(map(str, shapes))}.")
        return GriddedSeries(np.asarray(data))
    names = [next((name for name in data.dims if str(name).lower() in axis), None) for axis in AXES]
    if None in names or len(data.dims) not in (3, 4):
        raise ValueError(
            f"data has the dimensions {tuple(data.dims)}: name them time, lat and lon, and a channel if there is one, "
            "with data.rename(...)."
        )
    time, lat, lon = names
    channel = [name for name in data.dims if name not in names]
    data = data.transpose(time, *channel, lat, lon)
    coordinates = [np.asarray(data.coords[name]) if name in data.coords else None for name in names]
    times, lats, lons = coordinates
    if times is not None and not np.issubdtype(times.dtype, np.datetime64):
        times = None  # a calendar of its own, or plain numbers: nothing to split by dates
    return GriddedSeries(np.asarray(data.values), None, lats, lons, times)


def _counted(values: np.ndarray, mask: Any) -> np.ndarray:
    """Return the mask of (time, channel, lat, lon), checked against the values."""
    finite = np.isfinite(values)
    counts: np.ndarray = np.asarray(finite.any(0))
    if mask is not None:
        counts = np.asarray(mask)
        if counts.dtype != bool:
            raise TypeError(f"mask must be bool, True where a cell counts, got dtype {counts.dtype}.")
        if counts.shape not in (values.shape[2:], values.shape[1:]):
            raise ValueError(
                f"mask must be (lat, lon) = {values.shape[2:]} or (channel, lat, lon) = {values.shape[1:]}, got "
                f"{counts.shape}."
            )
    elif (counts == counts[0]).all():
        counts = counts[0]  # the channels have one mask
    if not counts.any():
        raise ValueError("mask covers everything: it must be True where a cell counts, and some cell must.")
    holes = int((~finite & counts).sum())
    if holes:
        raise ValueError(
            f"{holes} values of cells that count are missing or infinite: fill them in, or leave their cells out by "
            "mask."
        )
    return counts
