"""The rules every datamodule of labelled panels keeps. A new export needs a row in MAKERS, not a test."""

import functools
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

import tsmodels_datamodules
from tsmodels_datamodules._dynamics import DynamicsDataModule
from tsmodels_datamodules._gridded import GriddedDataModule
from tsmodels_datamodules._moving_digits import MovingMNISTDataModule
from tsmodels_datamodules._panel_module import LabelledPanelModule
from tsmodels_datamodules._reconstruction_module import ReconstructionDataModule
from tsmodels_datamodules._windows import WindowModule

N_TRAIN, N_TEST = 30, 10


def _series(n_cases, seed, unequal):
    """Cases sorted by class, as in the archives, all values different."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(6, 13, size=n_cases) if unequal else np.full(n_cases, 12)
    return [rng.normal(size=(2, n)) for n in lengths], np.sort(np.arange(n_cases) % 3).astype(str)


def _panel(folder, write_ts, train, test, **options):
    return tsmodels_datamodules.PanelDataModule(*train, *test, **options)


def _archive(folder, write_ts, train, test, **options):
    for split, (cases, labels) in (("TRAIN", train), ("TEST", test)):
        write_ts(folder / "Made" / f"Made_{split}.ts", cases, labels)
    return tsmodels_datamodules.ArchiveDataModule("Made", data_dir=folder, download=False, **options)


MAKERS = {"PanelDataModule": _panel, "ArchiveDataModule": _archive}


def exported(base):
    names = tsmodels_datamodules.__all__
    kinds = {name: getattr(tsmodels_datamodules, name) for name in names}
    return {name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, base)}


def test_every_exported_datamodule_has_a_row():
    assert exported(LabelledPanelModule) == set(MAKERS)


def test_every_exported_datamodule_is_of_a_kind_with_a_contract():
    """The other kinds have test files of their own, and test_window_contract.py."""
    fields = (GriddedDataModule, MovingMNISTDataModule)
    kinds = (LabelledPanelModule, WindowModule, DynamicsDataModule, ReconstructionDataModule, *fields)
    assert exported(LightningDataModule) == set().union(*map(exported, kinds))


@pytest.fixture
def make_any(tmp_path, write_ts) -> Callable[..., LightningDataModule]:
    """Return a function that makes a datamodule anew, from the same data unless `test_factor` changes the test."""
    folders = itertools.count()

    def make_one(name, unequal, *, test_factor=1.0, **options):
        train = _series(N_TRAIN, 0, unequal)
        cases, labels = _series(N_TEST, 1, unequal)
        test = [test_factor * case for case in cases], labels
        options = {"val_fraction": 0.2, "batch_size": 8, "seed": 3} | options
        return MAKERS[name](tmp_path / str(next(folders)), write_ts, train, test, **options)

    return make_one


@pytest.fixture(params=itertools.product(MAKERS, ["equal", "unequal"]), ids="-".join)
def make(request, make_any) -> Callable[..., LightningDataModule]:
    """As `make_any`, for one datamodule and kind of data after the other."""
    name, length = request.param
    return functools.partial(make_any, name, length == "unequal")


def passes(loader, times=1):
    """Return the batches of some passes through a loader."""
    return [{key: tensor.clone() for key, tensor in batch.items()} for _ in range(times) for batch in loader]


def same(left, right):
    return len(left) == len(right) and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a) for a, b in zip(left, right, strict=True)
    )


def all_batches(data):
    loaders = (data.train_dataloader, data.val_dataloader, data.test_dataloader, data.predict_dataloader)
    return [batch for loader in loaders for batch in passes(loader())]


def cases_of(batches):
    """Return each case as a hashable value; all cases of the test data differ."""
    return [tuple(case.flatten().tolist()) for batch in batches for case in batch["x"]]


def test_facts_before_setup(make):
    data = make()
    assert (data.n_channels, data.n_timepoints, data.n_classes) == (2, 12, 3)
    assert isinstance(data.classes_, np.ndarray) and data.classes_.tolist() == ["0", "1", "2"]
    before = data.n_channels, data.n_timepoints, data.n_classes, data.classes_.tolist()
    data.setup("fit")
    assert (data.n_channels, data.n_timepoints, data.n_classes, data.classes_.tolist()) == before


@pytest.mark.parametrize("stages", [["fit"], ["fit", "fit"], ["test", "fit"], ["predict", "validate", "fit", None]])
def test_setup_in_any_order_and_any_number_of_times(make, stages):
    reference, data = make(), make()
    for stage in stages:
        data.prepare_data()
        data.setup(stage)
        passes(data.test_dataloader())
    assert same(all_batches(data), all_batches(reference))
    data.setup("fit")
    assert same(all_batches(data), all_batches(reference))


def test_batches(make):
    data = make()
    for batch in passes(data.train_dataloader()) + passes(data.val_dataloader()) + passes(data.test_dataloader()):
        n = len(batch["x"])
        assert n <= 8 and batch["x"].shape[2] == 2 and batch["x"].dtype is torch.float32
        assert batch["y"].shape == (n,) and batch["y"].dtype is torch.int64
        for i, length in enumerate(batch.get("lengths", torch.full((n,), 12)).tolist()):
            assert (batch["x"][i, :length] != 0).all() and (batch["x"][i, length:] == 0).all()


def test_parts_are_disjoint_and_complete(make):
    data = make()
    train, val, test = map(
        cases_of, map(passes, (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()))
    )
    assert (len(train), len(val), len(test)) == (24, 6, N_TEST)
    assert len({*train, *val, *test}) == N_TRAIN + N_TEST
    assert all(
        set(torch.cat([b["y"] for b in passes(part())]).tolist()) == {0, 1, 2}
        for part in (data.train_dataloader, data.val_dataloader)
    )


def test_no_validation_part(make):
    data = make(val_fraction=None)
    assert data.val_dataloader() == [] and len(cases_of(passes(data.train_dataloader()))) == N_TRAIN


def test_the_seed_decides_the_split_and_the_order(make):
    first, again, other = make(seed=1), make(seed=1), make(seed=2)
    assert same(all_batches(first), all_batches(again))
    assert set(cases_of(passes(first.val_dataloader()))) != set(cases_of(passes(other.val_dataloader())))


def test_nothing_is_learned_from_test_cases(make):
    plain, changed = make(), make(test_factor=1000.0)
    assert not torch.equal(passes(plain.test_dataloader())[0]["x"], passes(changed.test_dataloader())[0]["x"])
    for loader in ("train_dataloader", "val_dataloader"):
        assert same(passes(getattr(plain, loader)()), passes(getattr(changed, loader)()))
    np.testing.assert_array_equal(plain.scaler.mean_, changed.scaler.mean_)
    np.testing.assert_array_equal(plain.scaler.scale_, changed.scaler.scale_)


def test_training_is_shuffled_anew_each_pass_and_nothing_else_is(make):
    data = make()
    train = data.train_dataloader()
    orders = [cases_of(passes(train)) for _ in range(3)]
    assert len({tuple(order) for order in orders}) == 3 and len({frozenset(order) for order in orders}) == 1
    assert all(len(set(batch["y"].tolist())) > 1 for batch in passes(train))  # the data are sorted by class
    for loader in (data.val_dataloader, data.test_dataloader, data.predict_dataloader):
        assert same(passes(loader(), 2), passes(loader()) * 2)
    test_labels = torch.cat([batch["y"] for batch in passes(data.test_dataloader())])
    assert test_labels.tolist() == sorted(test_labels.tolist())


def test_prediction_sees_the_test_cases_without_labels(make):
    data = make()
    test, predict = passes(data.test_dataloader()), passes(data.predict_dataloader())
    assert same([{key: tensor for key, tensor in batch.items() if key != "y"} for batch in test], predict)


def test_global_generators_are_left_alone(make):
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    all_batches(make())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


@pytest.mark.parametrize("after_setup", [False, True])
def test_pickling(make, after_setup):
    data = make()
    if after_setup:
        all_batches(data)
    assert same(all_batches(pickle.loads(pickle.dumps(data))), all_batches(data))


def test_options_are_plain_and_recorded(make):
    data = make(missing="zero", scaling="none")
    plain = {"val_fraction": 0.2, "batch_size": 8, "seed": 3, "missing": "zero", "scaling": "none", "num_workers": 0}
    assert dict(data.hparams).items() >= plain.items()
    assert all(value is None or type(value) in (str, int, float, bool) for value in data.hparams.values())
    assert not {"X", "y", "X_test", "y_test"} & set(data.hparams)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"val_fraction": 1.0},
        {"scaling": "minmax"},
        {"missing": "drop"},
        {"num_workers": -1},
        {"seed": -1},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_out_of_range_are_named_at_once(make, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        make(**options)


def test_printing_is_short_and_reads_nothing(make):
    data = make()
    assert str(data) == repr(data)
    assert "batch_size=8" in repr(data) and "\n" not in repr(data)


class Probe(LightningModule):
    """A linear classifier on the channel means that keeps count of the cases it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 3)
        self.seen = dict.fromkeys(("fit", "validate", "test", "predict"), 0)

    def _loss(self, batch, stage):
        self.seen[stage] += len(batch["x"])
        return torch.nn.functional.cross_entropy(self.layer(batch["x"].mean(1)), batch["y"])

    def training_step(self, batch):
        return self._loss(batch, "fit")

    def validation_step(self, batch):
        self._loss(batch, "validate")

    def test_step(self, batch):
        self._loss(batch, "test")

    def predict_step(self, batch):
        self.seen["predict"] += len(batch["x"])
        return self.layer(batch["x"].mean(1))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.filterwarnings("ignore:.*does not have many workers")  # for data in memory, none is right
@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")  # Lightning's own
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")  # without validation
@pytest.mark.parametrize("val_fraction", [0.2, None])
def test_with_a_trainer(make, val_fraction, tmp_path):
    data, probe = make(val_fraction=val_fraction), Probe()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    trainer = Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, num_sanity_val_steps=0, **quiet)
    trainer.fit(probe, datamodule=data)
    trainer.test(probe, datamodule=data, verbose=False)
    outputs = trainer.predict(probe, datamodule=data)
    assert len(torch.cat(outputs)) == N_TEST
    n_val = 6 if val_fraction else 0
    assert probe.seen == {"fit": 2 * (N_TRAIN - n_val), "validate": 2 * n_val, "test": N_TEST, "predict": N_TEST}
    checkpoint = torch.load(next(Path(tmp_path).rglob("*.ckpt")), weights_only=True)
    assert checkpoint["datamodule_hyper_parameters"] == dict(data.hparams)


@pytest.mark.parametrize(
    "name", [name if name == "PanelDataModule" else pytest.param(name, marks=pytest.mark.slow) for name in MAKERS]
)
def test_spawned_workers_change_nothing(make_any, name):
    loader = make_any(name, True, num_workers=2).train_dataloader()
    loader.multiprocessing_context = "spawn"
    assert same(passes(loader, 2), passes(make_any(name, True).train_dataloader(), 2))


_FRESH = """
import pickle, sys
modules = pickle.load(sys.stdin.buffer)
parts = [[b["x"] for b in loader] for data in modules for loader in (data.train_dataloader(), data.val_dataloader())]
pickle.dump(parts, sys.stdout.buffer)
"""


@pytest.mark.slow
def test_equal_splits_in_a_fresh_process(make_any):
    """As the ranks of a distributed run: the datamodules are sent before their splits are drawn."""
    modules = [make_any(name, True) for name in MAKERS]
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    run = subprocess.run(
        [sys.executable, "-c", _FRESH], input=pickle.dumps(modules), stdout=subprocess.PIPE, check=True, env=environment
    )
    ours = [loader for data in modules for loader in (data.train_dataloader(), data.val_dataloader())]
    for theirs, loader in zip(pickle.loads(run.stdout), ours, strict=True):
        assert all(torch.equal(x, batch["x"]) for x, batch in zip(theirs, loader, strict=True))
