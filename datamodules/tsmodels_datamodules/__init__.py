"""Lightning datamodules for time series, and the panel tensors they are made of.

Importing the package imports neither Lightning nor sktime: a name is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsmodels_datamodules._anomalies import AnomalyEvent, AnomalySeries, load_anomaly_set, make_anomalies
    from tsmodels_datamodules._archive import ArchiveSet, DataNotFoundError, load_archive
    from tsmodels_datamodules._archive_module import ArchiveDataModule
    from tsmodels_datamodules._deconvolution import hrf
    from tsmodels_datamodules._dynamics import DynamicsDataModule
    from tsmodels_datamodules._dynamics_sets import DynamicsSet, load_dynamics_set
    from tsmodels_datamodules._forecasting_module import ForecastingSetDataModule
    from tsmodels_datamodules._forecasting_sets import load_forecasting_set
    from tsmodels_datamodules._gridded import GriddedDataModule, GriddedSeries, load_sst
    from tsmodels_datamodules._moving_digits import MovingMNISTDataModule
    from tsmodels_datamodules._panel import Panel, PanelDataset, apply_missing, panel_loader, to_panel
    from tsmodels_datamodules._panel_module import PanelDataModule
    from tsmodels_datamodules._reconstruction_module import ReconstructionDataModule
    from tsmodels_datamodules._scaling import PanelScaler
    from tsmodels_datamodules._series import SeriesPanel, to_series
    from tsmodels_datamodules._splits import stratified_split
    from tsmodels_datamodules._systems import (
        CHAOS_TABLE,
        SYSTEMS,
        System,
        lyapunov_spectrum,
        make_inputs,
        make_trajectory,
    )
    from tsmodels_datamodules._window_dataset import SeriesScaler, WindowDataset, window_loader
    from tsmodels_datamodules._windows import WindowDataModule

__all__ = [
    "CHAOS_TABLE",
    "SYSTEMS",
    "AnomalyEvent",
    "AnomalySeries",
    "ArchiveDataModule",
    "ArchiveSet",
    "DataNotFoundError",
    "DynamicsDataModule",
    "DynamicsSet",
    "ForecastingSetDataModule",
    "GriddedDataModule",
    "GriddedSeries",
    "MovingMNISTDataModule",
    "Panel",
    "PanelDataModule",
    "PanelDataset",
    "PanelScaler",
    "ReconstructionDataModule",
    "SeriesPanel",
    "SeriesScaler",
    "System",
    "WindowDataModule",
    "WindowDataset",
    "apply_missing",
    "hrf",
    "load_anomaly_set",
    "load_archive",
    "load_dynamics_set",
    "load_forecasting_set",
    "load_sst",
    "lyapunov_spectrum",
    "make_anomalies",
    "make_inputs",
    "make_trajectory",
    "panel_loader",
    "stratified_split",
    "to_panel",
    "to_series",
    "window_loader",
]

_MODULES = {
    "AnomalyEvent": "_anomalies",
    "AnomalySeries": "_anomalies",
    "ArchiveDataModule": "_archive_module",
    "ArchiveSet": "_archive",
    "DataNotFoundError": "_archive",
    "DynamicsDataModule": "_dynamics",
    "DynamicsSet": "_dynamics_sets",
    "ForecastingSetDataModule": "_forecasting_module",
    "GriddedDataModule": "_gridded",
    "GriddedSeries": "_gridded",
    "MovingMNISTDataModule": "_moving_digits",
    "Panel": "_panel",
    "PanelDataModule": "_panel_module",
    "PanelDataset": "_panel",
    "PanelScaler": "_scaling",
    "ReconstructionDataModule": "_reconstruction_module",
    "SeriesPanel": "_series",
    "CHAOS_TABLE": "_systems",
    "SYSTEMS": "_systems",
    "SeriesScaler": "_window_dataset",
    "System": "_systems",
    "WindowDataModule": "_windows",
    "WindowDataset": "_window_dataset",
    "apply_missing": "_panel",
    "hrf": "_deconvolution",
    "load_anomaly_set": "_anomalies",
    "load_archive": "_archive",
    "load_dynamics_set": "_dynamics_sets",
    "load_forecasting_set": "_forecasting_sets",
    "load_sst": "_gridded",
    "lyapunov_spectrum": "_systems",
    "make_anomalies": "_anomalies",
    "make_inputs": "_systems",
    "make_trajectory": "_systems",
    "panel_loader": "_panel",
    "stratified_split": "_splits",
    "to_panel": "_panel",
    "to_series": "_series",
    "window_loader": "_window_dataset",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
