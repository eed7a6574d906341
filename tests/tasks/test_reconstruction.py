"""The reconstruction task: masked losses by their formula, logged values, best weights, checkpoints."""

import doctest

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch import nn

from tsmodels.models import ChimeraForReconstruction
from tsmodels.tasks import ReconstructionTask, reconstruction
from tsmodels.tasks.reconstruction import ReconstructionErrors
from tsmodels_datamodules import ReconstructionDataModule


class Scaled(nn.Module):
    """Gives back a multiple of what it sees."""

    def __init__(self, factor=0.5):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x, mask=None):
        return self.factor * x


class Unmasked(Scaled):
    def forward(self, x):
        return self.factor * x


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def trainer(tmp_path, **arguments):
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    settings = dict.fromkeys(quiet, False) | {"max_epochs": 1} | arguments
    return L.Trainer(accelerator="cpu", default_root_dir=tmp_path, **settings)


def gappy(n=60, channels=2):
    values = draw(n, channels).double().numpy()
    values[10:14, 0] = values[38, 1] = values[45, 1] = values[55, 0] = np.nan
    return values


@pytest.fixture
def data():
    return ReconstructionDataModule(gappy(), 7, split=(0.5, 0.25, 0.25), missing="mask", batch_size=4)


@pytest.mark.parametrize("loss", ["mse", "mae"])
@pytest.mark.parametrize("masked", [False, True])
def test_training_loss_equals_its_formula(loss, masked):
    batch = {"x": draw(3, 8, 2)}
    observed = draw(3, 8, 2, seed=1) > 0 if masked else torch.ones(3, 8, 2, dtype=torch.bool)
    if masked:
        batch |= {"mask": observed, "x": torch.where(observed, batch["x"], 0.0)}
    task = ReconstructionTask(Scaled(), loss=loss)
    task.log = lambda *args, **kwargs: None
    errors = [0.5 * x for x in batch["x"][observed].tolist()]
    expected = np.mean([e**2 if loss == "mse" else abs(e) for e in errors])
    assert task.training_step(batch, 0).item() == pytest.approx(expected, rel=1e-5)


def test_what_was_not_observed_does_not_count_whatever_stands_there():
    x, mask = draw(3, 8, 2), draw(3, 8, 2, seed=1) > 0
    task = ReconstructionTask(Unmasked())
    task.network.forward = lambda x, mask=None: task.network.factor * x
    task._accepted = frozenset({"mask"})
    task.log = lambda *args, **kwargs: None
    results = []
    for filler in (0.0, 1e6, torch.nan):
        batch = {"x": torch.where(mask, x, filler), "mask": mask}
        results.append(task.training_step(batch, 0))
    assert results[0] == results[1] == results[2]
    nothing = {"x": x, "mask": torch.zeros_like(mask)}
    assert task.training_step(nothing, 0).item() == 0.0


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_logged_values_are_means_over_all_observed_values(data, tmp_path, loss):
    task = ReconstructionTask(Scaled(), loss=loss, lr=1e-9)
    run = trainer(tmp_path)
    run.fit(task, datamodule=data)
    logged = {name: value.item() for name, value in run.callback_metrics.items()}
    for part, loader in (("val", data.val_dataloader), ("test", data.test_dataloader)):
        if part == "test":
            (tested,) = run.test(task, datamodule=data, verbose=False)
            logged |= tested
        errors = torch.cat([0.5 * batch["x"][batch["mask"]] for batch in loader()])
        assert errors.numel() < sum(batch["x"].numel() for batch in loader())  # some are missing
        assert logged[f"{part}/mse"] == pytest.approx(errors.square().mean().item(), rel=1e-4)
        assert logged[f"{part}/mae"] == pytest.approx(errors.abs().mean().item(), rel=1e-4)
        assert logged[f"{part}/loss"] == logged[f"{part}/{loss}"]
    assert "train/loss" in logged


def test_errors_without_any_observed_value_are_not_a_number():
    errors = ReconstructionErrors()
    errors.update(draw(1, 3, 1), {"x": draw(1, 3, 1), "mask": torch.zeros(1, 3, 1, dtype=torch.bool)})
    assert all(value.isnan() for value in errors.compute().values())


def test_training_lowers_the_loss_and_predicts(data, tmp_path):
    network = Scaled()
    task = ReconstructionTask(network, lr=0.1, schedule="constant")
    run = trainer(tmp_path, max_epochs=15)
    run.fit(task, datamodule=data)
    assert abs(network.factor.item() - 1) < 0.1
    (first, *_) = run.predict(task, datamodule=data)
    batch = next(iter(data.predict_dataloader()))
    torch.testing.assert_close(first, network.factor * batch["x"])


def test_checkpoints_load_without_code_and_arguments(data, tmp_path):
    network = ChimeraForReconstruction(2, 7, d_model=4, d_state=2, n_layers=1, patch_size=3)
    task = ReconstructionTask(network, loss="mae", lr=1e-2)
    run = trainer(tmp_path)
    run.fit(task, datamodule=data)
    run.save_checkpoint(tmp_path / "task.ckpt")
    loaded = ReconstructionTask.load_from_checkpoint(tmp_path / "task.ckpt", weights_only=True)
    assert loaded.loss == "mae" and loaded.lr == 1e-2
    batch = next(iter(data.test_dataloader()))
    torch.testing.assert_close(loaded.eval().predict_step(batch, 0), task.eval().predict_step(batch, 0))


def test_what_does_not_fit_is_said():
    with pytest.raises(ValueError, match="loss must be one of 'mse', 'mae', got 'huber'"):
        ReconstructionTask(Scaled(), loss="huber")
    batch = {"x": draw(2, 5, 3), "mask": torch.ones(2, 5, 3, dtype=torch.bool)}
    with pytest.raises(ValueError, match=r"`mask`, which Unmasked\.forward does not take"):
        ReconstructionTask(Unmasked()).predict_step(batch, 0)
    with pytest.raises(ValueError, match="mask must be boolean"):
        ReconstructionTask(Scaled()).predict_step(batch | {"mask": batch["x"]}, 0)
    with pytest.raises(ValueError, match=r"Linear returned \(2, 5, 4\) for windows \(2, 5, 3\)"):
        linear = nn.Linear(3, 4)
        ReconstructionTask(linear).predict_step({"x": batch["x"]}, 0)


def test_a_loss_that_is_no_number_stops_the_run(data, tmp_path):
    with pytest.raises(FloatingPointError, match="val/loss is nan"):
        trainer(tmp_path).fit(ReconstructionTask(Scaled(float("nan"))), datamodule=data)


def test_examples_in_docstrings():
    assert doctest.testmod(reconstruction).failed == 0
