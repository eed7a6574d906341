"""Networks that look at training cases, in a run: they see the training part, all of it, in order, and nothing else."""

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch import nn

from tsmodels import models
from tsmodels.models._config import records_config
from tsmodels.models._prepared import PreparedNetwork
from tsmodels.tasks import ClassificationTask
from tsmodels_datamodules import PanelDataModule

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:.*isinstance\(treespec, LeafSpec\)"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    # Lightning about two processes that share one machine, and about our loader in them
    pytest.mark.filterwarnings("ignore:.*It is recommended to use"),
]


@records_config
class Remembering(PreparedNetwork):
    """Keeps the cases it was shown."""

    FOUND = ("x", "y", "n_valid")

    def __init__(self, n_channels, n_timepoints, n_classes):
        super().__init__(n_channels, n_classes)
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def _find(self, x, y, lengths, mask, *, seed, progress):
        return {"x": x, "y": y, "n_valid": torch.full(y.shape, x.shape[1]) if lengths is None else lengths}

    def _build(self):
        self.scale = nn.Linear(1, self.n_classes)

    def forward(self, x, lengths=None):
        self._require_prepared()
        nearest = torch.cdist(x.flatten(1), self.x.flatten(1)).min(1, keepdim=True).values
        return self.scale(nearest) + self.bias


@pytest.fixture
def exported(monkeypatch):
    monkeypatch.setattr(models, "__all__", [*models.__all__, "Remembering"])
    monkeypatch.setattr(models, "Remembering", Remembering, raising=False)


def cases(n_cases=24, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_cases, 2, 10)), np.arange(n_cases) % 2


def trainer(**options):
    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(**silent | {"enable_model_summary": False, "accelerator": "cpu", "max_epochs": 1} | options)


def fitting(**options):
    return trainer(limit_val_batches=0, **options)


def fitted(data, **options):
    torch.manual_seed(0)
    network = Remembering(data.n_channels, data.n_timepoints, data.n_classes)
    fitting(**options).fit(ClassificationTask(network, n_classes=data.n_classes), datamodule=data)
    return network


def test_it_sees_the_training_part_in_the_order_of_the_cases():
    data = PanelDataModule(*cases(), val_fraction=0.25, batch_size=5)
    network = fitted(data)
    train = data.train_dataloader().dataset
    assert len(network.y) == 18
    assert torch.equal(network.x, train.tensors["x"])
    assert torch.equal(network.y, train.tensors["y"])
    assert network.preparation_seconds is not None


def test_looking_does_not_move_the_order_of_training():
    data = PanelDataModule(*cases(), val_fraction=None, batch_size=5)
    before = [batch["y"] for batch in data.train_dataloader()]
    fitted(data)
    after = [batch["y"] for batch in data.train_dataloader()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_validation_and_test_cases_leave_no_trace():
    X, y = cases()
    first = PanelDataModule(X, y, X[:4], y[:4], val_fraction=0.25)
    network = fitted(first)
    held_out = first._split[1]
    changed = X.copy()
    changed[held_out] += 5.0
    second = PanelDataModule(changed, y, X[:4] + 7.0, 1 - y[:4], val_fraction=0.25)
    other = fitted(second)
    assert np.array_equal(second._split[1], held_out)
    assert all(torch.equal(a, b) for a, b in zip(network.buffers(), other.buffers(), strict=True))


def test_unequal_lengths_come_along():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(2, 5 + i)) for i in range(8)]
    network = fitted(PanelDataModule(X, np.arange(8) % 2, val_fraction=None))
    assert network.n_valid.tolist() == list(range(5, 13))


class PaddedByBatch(L.LightningDataModule):
    """Batches as long as their longest series."""

    n_channels, n_timepoints, n_classes = 2, 12, 2

    def __init__(self, *, with_lengths):
        super().__init__()
        self.with_lengths = with_lengths
        self.series = [torch.full((5 + i, 2), float(i + 1)) for i in range(8)]

    def train_dataloader(self):
        return torch.utils.data.DataLoader(list(enumerate(self.series)), batch_size=3, collate_fn=self.collate)

    def val_dataloader(self):
        return []

    def collate(self, cases):
        x = nn.utils.rnn.pad_sequence([series for _, series in cases], batch_first=True)
        batch = {"x": x, "y": torch.tensor([i % 2 for i, _ in cases])}
        return batch | ({"lengths": torch.tensor([len(series) for _, series in cases])} if self.with_lengths else {})


def test_batches_of_different_lengths_are_put_together():
    data = PaddedByBatch(with_lengths=True)
    task = ClassificationTask(Remembering(2, 12, 2), n_classes=2)
    run = fitting(max_steps=0)
    run.fit(task, datamodule=data)
    assert torch.equal(task.network.x, nn.utils.rnn.pad_sequence(data.series, batch_first=True))
    assert task.network.n_valid.tolist() == list(range(5, 13))
    without = ClassificationTask(Remembering(2, 12, 2), n_classes=2)
    with pytest.raises(ValueError, match="have 7 to 12 time points: give them lengths too"):
        fitting().fit(without, datamodule=PaddedByBatch(with_lengths=False))


def test_a_checkpoint_needs_no_data(exported, tmp_path):
    data = PanelDataModule(*cases(), val_fraction=None)
    network = Remembering(2, 10, 2)
    run = fitting()
    run.fit(ClassificationTask(network, n_classes=2), datamodule=data)
    run.save_checkpoint(tmp_path / "run.ckpt")
    loaded = ClassificationTask.load_from_checkpoint(tmp_path / "run.ckpt", weights_only=True).network
    x = torch.randn(3, 10, 2)
    assert torch.equal(loaded(x), network.cpu()(x))


def test_a_second_fit_goes_on_with_what_was_found():
    data = PanelDataModule(*cases(), val_fraction=None)
    network = fitted(data)
    found = network.x.clone()
    task = ClassificationTask(network, n_classes=2)
    fitting().fit(task, datamodule=PanelDataModule(*cases(seed=1), val_fraction=None))
    assert torch.equal(network.x, found)


def test_validating_an_unprepared_network_says_what_to_do():
    data = PanelDataModule(*cases(), val_fraction=0.25)
    task = ClassificationTask(Remembering(2, 10, 2), n_classes=2)
    with pytest.raises(RuntimeError, match="has not seen training cases yet"):
        trainer().validate(task, datamodule=data, verbose=False)


def test_loaders_without_a_datamodule_need_an_explicit_step():
    data = PanelDataModule(*cases(), val_fraction=None)
    network, loader = Remembering(2, 10, 2), data.train_dataloader()
    with pytest.raises(ValueError, match=r"pass trainer.fit\(task, datamodule=...\), or call network.prepare"):
        fitting().fit(ClassificationTask(network, n_classes=2), loader, loader)
    tensors = loader.dataset.tensors
    network.prepare(tensors["x"], tensors["y"])
    fitting().fit(ClassificationTask(network, n_classes=2), loader, loader)
    assert network.is_prepared


@pytest.mark.slow
def test_two_processes_hold_the_same(tmp_path):
    data = PanelDataModule(*cases(), val_fraction=None, batch_size=4)
    network = Remembering(2, 10, 2)
    task = ClassificationTask(network, n_classes=2)
    run = fitting(devices=2, strategy="ddp_fork", default_root_dir=tmp_path)
    run.fit(task, datamodule=data)
    assert network.is_prepared  # Lightning brings the weights of the first process back
    assert torch.equal(network.x, data.train_dataloader().dataset.tensors["x"])
