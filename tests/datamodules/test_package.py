"""Importing the package does nothing, and what it promises is there."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import tsmodels_datamodules


def fresh(code):
    """Run code in a fresh process, warnings being errors, and return what it prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


HEAVY = "[m for m in ('lightning', 'sktime', 'sklearn', 'torch', 'pandas') if m in sys.modules]"


def test_import_is_lean():
    assert fresh(f"import sys, tsmodels_datamodules; print({HEAVY})") == "[]"


def test_panels_need_neither_lightning_nor_sktime():
    code = (
        "import sys, numpy as np\n"
        "from tsmodels_datamodules import (Panel, PanelDataset, PanelScaler, apply_missing, panel_loader,\n"
        "    stratified_split, to_panel, load_archive, ArchiveSet, DataNotFoundError, SeriesPanel, SeriesScaler,\n"
        "    WindowDataset, window_loader, to_series, load_forecasting_set)\n"
        "to_panel(np.zeros((2, 1, 3)))\n"
        "to_series(np.zeros((3, 1)))\n"
        "load_archive('UnitTest', download=False)\n"
        f"print({HEAVY})"
    )
    assert fresh(code) == "['torch', 'pandas']"


def test_every_exported_name_is_there():
    assert sorted(tsmodels_datamodules.__all__) == sorted(tsmodels_datamodules._MODULES)
    for name in tsmodels_datamodules.__all__:
        exported = getattr(tsmodels_datamodules, name)
        assert name.isupper() or (exported.__name__ == name and exported.__doc__)
    assert dir(tsmodels_datamodules) == sorted(tsmodels_datamodules.__all__)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="has no attribute 'Pannel'"):
        tsmodels_datamodules.Pannel  # noqa: B018


@pytest.mark.parametrize("module", [name for _, name, _ in pkgutil.iter_modules(tsmodels_datamodules.__path__)])
def test_examples_in_docstrings(module):
    results = doctest.testmod(importlib.import_module(f"tsmodels_datamodules.{module}"))
    assert results.failed == 0
