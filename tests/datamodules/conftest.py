"""Series small enough to read, and files in the archives' format."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest


def _write_ts(path: Path, cases: Sequence[np.ndarray], labels: Sequence[str]) -> None:
    def field(values: np.ndarray) -> str:
        return ",".join("?" if np.isnan(value) else repr(float(value)) for value in values)

    lines = [":".join([*map(field, case), str(label)]) for case, label in zip(cases, labels, strict=True)]
    header = ["# made by a test", "@problemName Made", "@timeStamps false", "@classLabel true a b", "@data"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*header, *lines, ""]))


@pytest.fixture
def write_ts() -> Callable[[Path, Sequence[np.ndarray], Sequence[str]], None]:
    """Write cases (channel, time) and labels as a .ts file, NaN as "?"."""
    return _write_ts


@pytest.fixture
def ragged() -> list[np.ndarray]:
    """Six cases of two channels and unequal length, all values different."""
    lengths = (4, 2, 5, 1, 3, 5)
    rng = np.random.default_rng(0)
    return [rng.normal(size=(2, n)) for n in lengths]


@pytest.fixture
def cube() -> np.ndarray:
    """Six cases of two channels and five time points, all values different."""
    return np.random.default_rng(1).normal(size=(6, 2, 5))


_ARCHIVES = os.environ.get("TSMODELS_DATA")


@pytest.fixture(autouse=True)
def _no_outside_data(monkeypatch, tmp_path_factory):
    """Tests see what they make and what sktime brings; `archives` gives the rest back."""
    monkeypatch.delenv("TSMODELS_DATA", raising=False)
    monkeypatch.setenv("TSMODELS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def archives(monkeypatch, _no_outside_data) -> Path:
    """Return the folder with real archive data, set as TSMODELS_DATA; skip where there is none."""
    if not _ARCHIVES:
        pytest.skip("needs UCR and UEA data: set TSMODELS_DATA to their folder")
    monkeypatch.setenv("TSMODELS_DATA", _ARCHIVES)
    return Path(_ARCHIVES)
