"""Data sets of the reconstruction literature: honest splits of files made here, and of the real ones where they are."""

import numpy as np
import pytest

from tsmodels_datamodules import DataNotFoundError, load_dynamics_set
from tsmodels_datamodules._dynamics_sets import DYNAMICS_SETS

FILES = {
    "ECG_pecuzal_5d": ("train", "test"),
    "EEG": ("train", "test"),
    "Lorenz63_GTF": ("train_on005", "test"),
    "Lorenz63_ALRNN": ("train", "test"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder with a small file of each name, all values different."""
    monkeypatch.setenv("TSMODELS_DATA", str(tmp_path))
    (tmp_path / "dynamics").mkdir()
    rng = np.random.default_rng(0)
    for name, keys in FILES.items():
        arrays = {key: rng.normal(size=(1000, 3)).astype(np.float32) for key in keys}
        if name == "EEG":
            arrays["test"] = arrays["train"]
        np.savez(tmp_path / "dynamics" / f"{name}.npz", **arrays)
    return tmp_path / "dynamics"


def test_every_file_is_tested_here():
    assert set(DYNAMICS_SETS) == {*FILES, "Lorenz96"}


@pytest.mark.parametrize("name", FILES)
def test_the_parts(folder, name):
    data = load_dynamics_set(name)
    with np.load(folder / f"{name}.npz") as arrays:
        train, test = (arrays[key] for key in FILES[name])
    if name == "EEG":
        train, test = train[:750], train[750:]
    if name == "Lorenz63_ALRNN":
        train, test = train[500:], test[500:]
    assert data.name == name and data.train.dtype == data.test.dtype == np.float64
    np.testing.assert_array_equal(data.train, train)
    np.testing.assert_array_equal(data.test, test)
    assert data.dt == (0.01 if name.startswith("Lorenz63") else None)


@pytest.mark.parametrize("name", FILES)
def test_nothing_of_the_test_part_is_in_the_training_part(folder, name):
    data = load_dynamics_set(name)
    assert not set(map(tuple, data.train)) & set(map(tuple, data.test))


def test_a_folder_without_the_sub_folder(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("TSMODELS_DATA")
    assert len(load_dynamics_set("EEG", data_dir=folder).test) == 250


def test_a_file_that_is_nowhere(tmp_path, monkeypatch):
    monkeypatch.setenv("TSMODELS_DATA", str(tmp_path))
    with pytest.raises(DataNotFoundError, match=r"put EEG.npz, with the arrays 'train' and 'test'.*TSMODELS_DATA"):
        load_dynamics_set("EEG")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eeg", "Did you mean 'EEG'"),
        ("Lorenz63_GFT", "Did you mean 'Lorenz63_GTF'"),
        ("Lorenz96_dendPLRNN", "is refused.*0.01.*0.04.*'Lorenz96'"),
        ("qqq", "name must be one of 'ECG_pecuzal_5d'"),
        (3, "name must be one of"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(ValueError, match=message):
        load_dynamics_set(name)


def spoil_by_cutting(path):
    path.write_bytes(path.read_bytes()[:500])


def spoil_inside(path):
    content = bytearray(path.read_bytes())
    content[1000:1040] = bytes(40)
    path.write_bytes(content)


def spoil_by_text(path):
    path.write_text("<html>not found</html>")


def spoil_by_emptying(path):
    path.write_bytes(b"")


def spoil_by_other_keys(path):
    np.savez(path, x=np.ones((10, 2)))


def spoil_by_an_array(path):
    with path.open("wb") as file:
        np.save(file, np.ones((10, 2)))


def spoil_by_shape(path):
    np.savez(path, train=np.ones(10), test=np.ones(10))


def spoil_by_channels(path):
    np.savez(path, train=np.ones((10, 2)), test=np.ones((10, 3)))


def spoil_by_nan(path):
    np.savez(path, train=np.full((10, 2), np.nan), test=np.ones((10, 2)))


def spoil_by_objects(path):
    np.savez(path, train=np.array([{}, {}], dtype=object), test=np.ones((10, 2)))


@pytest.mark.parametrize(
    "spoil",
    [
        spoil_by_cutting,
        spoil_inside,
        spoil_by_text,
        spoil_by_emptying,
        spoil_by_other_keys,
        spoil_by_an_array,
        spoil_by_shape,
        spoil_by_channels,
        spoil_by_nan,
        spoil_by_objects,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_a_damaged_file_is_named(folder, spoil):
    spoil(folder / "ECG_pecuzal_5d.npz")
    with pytest.raises(ValueError, match=r"ECG_pecuzal_5d\.npz is (damaged|not the expected file)"):
        load_dynamics_set("ECG_pecuzal_5d")


@pytest.mark.slow
def test_lorenz96_is_made_here():
    data = load_dynamics_set("Lorenz96")
    assert data.train.shape == (50_000, 10) and data.test.shape == (25_000, 10) and data.dt == 0.04
    np.testing.assert_allclose(data.train.mean(), data.test.mean(), rtol=0.02)
    data.train[:] = 0
    assert load_dynamics_set("Lorenz96").train.std() > 3  # not the array given away before
    step = np.diff(data.test, axis=0) / 0.04
    middle = (data.test[1:] + data.test[:-1]) / 2
    slope = (np.roll(middle, -1, 1) - np.roll(middle, 2, 1)) * np.roll(middle, 1, 1) - middle + 8
    assert np.corrcoef(step.ravel(), slope.ravel())[0, 1] > 0.99  # the step is the one that is named


@pytest.mark.parametrize(
    ("name", "n_train", "n_test", "n_channels"),
    [
        ("ECG_pecuzal_5d", 100_000, 100_000, 5),
        ("EEG", 7230, 2410, 64),
        ("Lorenz63_GTF", 100_000, 100_000, 3),
        ("Lorenz63_ALRNN", 99_500, 99_500, 3),
    ],
    ids=FILES,
)
def test_the_real_files(archives, name, n_train, n_test, n_channels):
    if not (archives / "dynamics" / f"{name}.npz").is_file():
        pytest.skip(f"needs dynamics/{name}.npz")
    data = load_dynamics_set(name)
    assert data.train.shape == (n_train, n_channels) and data.test.shape == (n_test, n_channels)
    rows = {row.tobytes() for row in data.train}
    assert not any(row.tobytes() in rows for row in data.test[:1000])
