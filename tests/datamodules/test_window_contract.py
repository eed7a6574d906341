"""The rules every datamodule of windows keeps. A new export needs a row in MAKERS, not a test."""

import functools
import itertools
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

import tsmodels_datamodules
from tsmodels_datamodules._windows import WindowModule

N, N_TRAIN, N_TEST, LOOKBACK, HORIZON = 200, 140, 40, 12, 5
N_WINDOWS = {"train": N_TRAIN - LOOKBACK - HORIZON + 1, "val": 20 - HORIZON + 1, "test": N_TEST - HORIZON + 1}


def _in_memory(folder, values, **options):
    return tsmodels_datamodules.WindowDataModule(values, LOOKBACK, HORIZON, **options)


def _by_name(folder, values, **options):
    index = pd.date_range("2020", periods=len(values), freq="D", name="date")
    folder.mkdir()
    pd.DataFrame(values, index, ["0", "OT"]).to_csv(folder / "exchange_rate.csv")
    return tsmodels_datamodules.ForecastingSetDataModule(
        "exchange_rate", LOOKBACK, HORIZON, data_dir=folder, download=False, **options
    )


MAKERS = {"WindowDataModule": _in_memory, "ForecastingSetDataModule": _by_name}


def test_every_exported_datamodule_has_a_row():
    kinds = {name: getattr(tsmodels_datamodules, name) for name in tsmodels_datamodules.__all__}
    exported = {name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, WindowModule)}
    assert exported == set(MAKERS)


@pytest.fixture
def make_any(tmp_path) -> Callable[..., WindowModule]:
    """Return a function that makes a datamodule anew, from the same series unless something is added at some rows."""
    folders = itertools.count()

    def make_one(name, *, add=0.0, at=slice(None), **options):
        values = np.random.default_rng(0).normal(size=(N, 2)) * [1.0, 50.0] + [0.0, 1000.0]
        values[at] += add
        return MAKERS[name](tmp_path / str(next(folders)), values, **({"batch_size": 8, "seed": 3} | options))

    return make_one


@pytest.fixture(params=MAKERS)
def make(request, make_any) -> Callable[..., WindowModule]:
    """As `make_any`, for one datamodule after the other."""
    return functools.partial(make_any, request.param)


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


def windows_of(batches):
    """Return each window as a hashable value; all windows differ."""
    return [tuple(window.flatten().tolist()) for batch in batches for window in batch["x"]]


def test_facts_before_setup(make):
    data = make()
    facts = ("n_channels", "n_exogenous", "n_past", "n_static", "n_series", "n_skipped", "lookback", "horizon")
    before = [getattr(data, fact) for fact in facts]
    assert before == [2, 0, 0, 0, 1, 0, LOOKBACK, HORIZON]
    assert len(data.channel_names) == 2 and data.scaler.mean_.shape == (2,)
    data.setup("fit")
    assert [getattr(data, fact) for fact in facts] == before
    assert data.n_windows == N_WINDOWS


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
        assert batch["x"].shape == (n, LOOKBACK, 2) and batch["y"].shape == (n, HORIZON, 2) and 0 < n <= 8
        assert all(tensor.dtype is torch.float32 and tensor.is_contiguous() for tensor in batch.values())
        assert batch.keys() == {"x", "y"}


def test_no_window_is_dropped_or_repeated(make):
    data = make()
    loaders = (data.train_dataloader, data.val_dataloader, data.test_dataloader)
    for loader, expected in zip(loaders, N_WINDOWS.values(), strict=True):
        windows = windows_of(passes(loader()))
        assert len(windows) == len(set(windows)) == expected


def test_the_seed_decides_the_order_of_training(make):
    first, again, other = (windows_of(passes(make(seed=seed).train_dataloader())) for seed in (1, 1, 2))
    assert first == again and first != other and set(first) == set(other)


@pytest.mark.parametrize(("at", "parts"), [(N_TRAIN, ("train",)), (N_TRAIN + 20, ("train", "val"))])
def test_nothing_is_learned_from_later_parts(make, at, parts):
    plain, changed = make(), make(add=1e4, at=slice(at, None))
    for part in parts:
        loader = f"{part}_dataloader"
        assert same(passes(getattr(plain, loader)()), passes(getattr(changed, loader)()))
    np.testing.assert_array_equal(plain.scaler.mean_, changed.scaler.mean_)
    np.testing.assert_array_equal(plain.scaler.scale_, changed.scaler.scale_)
    assert not torch.equal(passes(plain.test_dataloader())[0]["y"], passes(changed.test_dataloader())[0]["y"])


def test_the_training_part_is_seen_to_its_last_row(make):
    plain, changed = make(scaling="none"), make(scaling="none", add=1e4, at=[N_TRAIN - 1])
    assert not same(passes(plain.train_dataloader()), passes(changed.train_dataloader()))


def test_training_is_shuffled_anew_each_pass_and_nothing_else_is(make):
    data = make()
    train = data.train_dataloader()
    orders = [windows_of(passes(train)) for _ in range(3)]
    assert len({tuple(order) for order in orders}) == 3 and len({frozenset(order) for order in orders}) == 1
    for loader in (data.val_dataloader, data.test_dataloader, data.predict_dataloader):
        assert same(passes(loader(), 2), passes(loader()) * 2)
    test = torch.cat([batch["x"] for batch in passes(data.test_dataloader())])
    assert torch.equal(test[1:, :-1], test[:-1, 1:])  # in the order of time


def test_prediction_sees_what_comes_after_the_last_test_window(make):
    data = make()
    last = passes(data.test_dataloader())[-1]
    (predict,) = passes(data.predict_dataloader())
    assert predict.keys() == {"x"}
    assert torch.equal(predict["x"][0], torch.cat([last["x"][-1], last["y"][-1]])[-LOOKBACK:])


def test_no_validation_part(make):
    data = make(split=(0.8, 0, 0.2))
    assert data.val_dataloader() == [] and data.n_windows["val"] == 0
    assert data.n_windows["train"] == 160 - LOOKBACK - HORIZON + 1


def test_no_test_part(make):
    data = make(split=(0.8, 0.2, 0))
    assert data.n_windows["test"] == 0
    with pytest.raises(ValueError, match="no test part"):
        data.test_dataloader()


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
    data = make(missing="mask", scaling="none", split=[np.int64(150), np.int64(170)])
    plain = {"batch_size": 8, "seed": 3, "missing": "mask", "scaling": "none", "num_workers": 0, "stride": 1}
    assert dict(data.hparams).items() >= plain.items()
    assert data.hparams["split"] == (150, 170) and all(type(start) is int for start in data.hparams["split"])
    for name, value in data.hparams.items():
        assert name == "split" or value is None or type(value) in (str, int, float, bool)
    assert not {"y", "known", "past", "static"} & set(data.hparams)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"stride": 0},
        {"split": (0.5, 0.5)},
        {"split": (0.5, 0.1, 0.1)},
        {"split": (170, 150)},
        {"split": "2020-05-01"},
        {"split": ("2020-05-01", 150)},
        {"split": (1.2, -0.2, 0.0)},
        {"scaling": "minmax"},
        {"missing": "interpolate"},
        {"num_workers": -1},
        {"seed": -1},
    ],
    ids=lambda options: "-".join(map(str, next(iter(options.items())))),
)
def test_options_out_of_range_are_named_at_once(make, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        make(**options)


def test_printing_is_short_and_reads_nothing(make):
    data = make()
    assert str(data) == repr(data)
    assert "batch_size=8" in repr(data) and "\n" not in repr(data)


class Probe(LightningModule):
    """A linear forecaster of each channel that keeps count of the windows it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(LOOKBACK, HORIZON)
        self.seen = dict.fromkeys(("fit", "validate", "test", "predict"), 0)

    def _forecast(self, batch, stage):
        self.seen[stage] += len(batch["x"])
        return self.layer(batch["x"].transpose(1, 2)).transpose(1, 2)

    def training_step(self, batch):
        return torch.nn.functional.mse_loss(self._forecast(batch, "fit"), batch["y"])

    def validation_step(self, batch):
        self._forecast(batch, "validate")

    def test_step(self, batch):
        self._forecast(batch, "test")

    def predict_step(self, batch):
        return self._forecast(batch, "predict")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")  # Lightning's own
@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero")  # without validation
@pytest.mark.parametrize("n_val", [16, 0])
def test_with_a_trainer(make, n_val, tmp_path):
    data, probe = make() if n_val else make(split=(0.7, 0, 0.3)), Probe()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    trainer = Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, num_sanity_val_steps=0, **quiet)
    trainer.fit(probe, datamodule=data)
    trainer.test(probe, datamodule=data, verbose=False)
    (forecast,) = trainer.predict(probe, datamodule=data)
    assert data.scaler.inverse(forecast).shape == (1, HORIZON, 2)
    windows = data.n_windows
    assert probe.seen == {"fit": 2 * windows["train"], "validate": 2 * n_val, "test": windows["test"], "predict": 1}
    checkpoint = torch.load(next(Path(tmp_path).rglob("*.ckpt")), weights_only=True)
    assert checkpoint["datamodule_hyper_parameters"] == dict(data.hparams)


@pytest.mark.parametrize(
    "name", [name if name == "WindowDataModule" else pytest.param(name, marks=pytest.mark.slow) for name in MAKERS]
)
def test_spawned_workers_change_nothing(make_any, name):
    loader = make_any(name, num_workers=2).train_dataloader()
    loader.multiprocessing_context = "spawn"
    assert same(passes(loader, 2), passes(make_any(name).train_dataloader(), 2))


_FRESH = """
import pickle, sys
modules = pickle.load(sys.stdin.buffer)
pickle.dump([[batch["x"] for batch in data.train_dataloader()] for data in modules], sys.stdout.buffer)
"""


@pytest.mark.slow
def test_equal_order_in_a_fresh_process(make_any):
    """As the ranks of a distributed run."""
    modules = [make_any(name) for name in MAKERS]
    run = subprocess.run(
        [sys.executable, "-c", _FRESH], input=pickle.dumps(modules), stdout=subprocess.PIPE, check=True
    )
    for theirs, data in zip(pickle.loads(run.stdout), modules, strict=True):
        assert all(torch.equal(x, batch["x"]) for x, batch in zip(theirs, data.train_dataloader(), strict=True))
