"""Lightning datamodules for time series, and the panel tensors they are made of.

Importing the package imports neither Lightning nor sktime: a name is loaded when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsmodels_datamodules._archive import ArchiveSet, DataNotFoundError, load_archive
    from tsmodels_datamodules._archive_module import ArchiveDataModule
    from tsmodels_datamodules._panel import Panel, PanelDataset, apply_missing, panel_loader, to_panel
    from tsmodels_datamodules._panel_module import PanelDataModule
    from tsmodels_datamodules._scaling import PanelScaler
    from tsmodels_datamodules._splits import stratified_split

__all__ = [
    "ArchiveDataModule",
    "ArchiveSet",
    "DataNotFoundError",
    "Panel",
    "PanelDataModule",
    "PanelDataset",
    "PanelScaler",
    "apply_missing",
    "load_archive",
    "panel_loader",
    "stratified_split",
    "to_panel",
]

_MODULES = {
    "ArchiveDataModule": "_archive_module",
    "ArchiveSet": "_archive",
    "DataNotFoundError": "_archive",
    "Panel": "_panel",
    "PanelDataModule": "_panel_module",
    "PanelDataset": "_panel",
    "PanelScaler": "_scaling",
    "apply_missing": "_panel",
    "load_archive": "_archive",
    "panel_loader": "_panel",
    "stratified_split": "_splits",
    "to_panel": "_panel",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
