"""ClassificationTask: loss and metrics against torch and scikit-learn, checkpoints, and errors that name the remedy."""

import doctest
import functools

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tsmodels import models
from tsmodels.models._config import records_config
from tsmodels.tasks import ClassificationTask
from tsmodels_datamodules import PanelDataModule

pytestmark = [
    # torch deprecates what Lightning calls
    pytest.mark.filterwarnings(r"ignore:.*isinstance\(treespec, LeafSpec\)"),
    # batches are gathers from memory: workers would only cost
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]


@records_config
class Linear(nn.Module):
    """Mean over time, then linear."""

    def __init__(self, n_channels, n_timepoints, n_classes, *, scale=1.0):
        super().__init__()
        self.scale, self.linear = scale, nn.Linear(n_channels, n_classes)

    def forward(self, x):
        return self.linear(self.scale * x.mean(1))


class Masked(Linear):
    def forward(self, x, lengths=None, mask=None):
        assert lengths is not None
        assert mask is not None
        return super().forward(x)


class Logits(nn.Module):
    """Returns its input, x (batch, 1, n_classes), as logits, so that a test decides what is predicted."""

    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x[:, 0] + self.bias


@pytest.fixture
def exported(monkeypatch):
    monkeypatch.setattr(models, "__all__", [*models.__all__, "Linear"])
    monkeypatch.setattr(models, "Linear", Linear, raising=False)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 2, 10))
    X[12:] += 1.0
    return X, np.repeat(["high", "low"], 12)


def trainer(**options):
    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(**silent | {"enable_model_summary": False, "accelerator": "cpu", "max_epochs": 1} | options)


def batches(x, y, size):
    data = [{"x": row, "y": label} for row, label in zip(x, y, strict=True)]
    return DataLoader(data, batch_size=size)


def test_the_example_in_the_docstring_runs():
    (test,) = doctest.DocTestFinder(recurse=False).find(ClassificationTask, "ClassificationTask")
    assert doctest.DocTestRunner().run(test).failed == 0


def test_loss_is_weighted_smoothed_cross_entropy():
    task = ClassificationTask(Logits(), n_classes=3, class_weight=(1, 2, 0.5), label_smoothing=0.1)
    x, y = torch.randn(8, 1, 3), torch.arange(8) % 3
    expected = F.cross_entropy(x[:, 0], y, weight=torch.tensor([1, 2, 0.5]), label_smoothing=0.1)
    _, loss = task._logits_and_loss({"x": x, "y": y})
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_metrics_are_those_of_scikit_learn_also_where_a_class_is_absent(stage):
    logits = torch.randn(50, 1, 4, generator=torch.Generator().manual_seed(0))
    y = torch.randint(3, (50,), generator=torch.Generator().manual_seed(1))  # class 3 is predicted but never true
    predicted = logits[:, 0].argmax(1)
    assert (predicted == 3).any()
    task = ClassificationTask(Logits(), n_classes=4)
    (logged,) = getattr(trainer(), stage)(task, batches(logits, y, 7), verbose=False)
    prefix = {"validate": "val", "test": "test"}[stage]
    assert set(logged) == {f"{prefix}/loss", f"{prefix}/acc", f"{prefix}/balanced_acc"}
    assert logged[f"{prefix}/acc"] == pytest.approx(accuracy_score(y, predicted))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        balanced = balanced_accuracy_score(y, predicted)
    assert logged[f"{prefix}/balanced_acc"] == pytest.approx(balanced)
    assert logged[f"{prefix}/loss"] == pytest.approx(F.cross_entropy(logits[:, 0], y).item())


def test_metrics_start_afresh_in_every_run():
    task, x = ClassificationTask(Logits(), n_classes=2), F.one_hot(torch.tensor([0, 1, 0, 1]), 2)[:, None].float()
    right, wrong = torch.tensor([0, 1, 0, 1]), torch.tensor([1, 0, 1, 0])
    assert trainer().validate(task, batches(x, right, 2), verbose=False)[0]["val/acc"] == 1.0
    assert trainer().validate(task, batches(x, wrong, 2), verbose=False)[0]["val/acc"] == 0.0


def test_predict_step_gives_probabilities():
    task, x = ClassificationTask(Logits(), n_classes=3), torch.randn(5, 1, 3)
    (probabilities,) = trainer().predict(task, DataLoader([{"x": row} for row in x], batch_size=5))
    torch.testing.assert_close(probabilities, x[:, 0].softmax(1))


def test_a_script_with_trainer_and_datamodule_learns_and_logs(problem):
    torch.manual_seed(0)
    data = PanelDataModule(*problem, val_fraction=0.25, batch_size=8)
    task = ClassificationTask(Linear(data.n_channels, data.n_timepoints, data.n_classes), n_classes=2, lr=0.1)
    runner = trainer(max_epochs=10)
    runner.fit(task, datamodule=data)
    names = {"train/loss", "train/acc", "val/loss", "val/acc", "val/balanced_acc"}
    assert names <= set(runner.callback_metrics)
    assert runner.callback_metrics["val/acc"] == 1.0


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "constant", "plateau"])
def test_every_schedule_runs_to_the_end(problem, schedule):
    data = PanelDataModule(*problem, val_fraction=0.25, batch_size=8)
    task = ClassificationTask(Linear(2, 10, 2), n_classes=2, schedule=schedule, lr=0.1)
    runner = trainer(max_epochs=2)
    runner.fit(task, datamodule=data)
    rate = runner.optimizers[0].param_groups[0]["lr"]
    assert rate == 0.1 if schedule in ("constant", "plateau") else rate < 0.05


def test_partials_are_used(problem):
    task = ClassificationTask(
        Linear(2, 10, 2),
        n_classes=2,
        optimizer=functools.partial(torch.optim.SGD, lr=0.5),
        schedule=functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.1),
    )
    runner = trainer(max_epochs=2)
    runner.fit(task, datamodule=PanelDataModule(*problem, val_fraction=0.25))
    assert isinstance(runner.optimizers[0], torch.optim.SGD)
    assert runner.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.005)


def saved(task, problem, folder):
    runner = trainer(max_epochs=1)
    runner.fit(task, datamodule=PanelDataModule(*problem, val_fraction=0.25))
    runner.save_checkpoint(folder / "task.ckpt")
    return folder / "task.ckpt"


def test_checkpoint_of_our_network_reloads_with_nothing_but_its_path(exported, problem, tmp_path):
    network = Linear(np.int64(2), 10, 2, scale=np.float64(0.5))
    options = {"lr": np.float32(0.01), "optimizer": "radam", "schedule": "constant", "label_smoothing": 0.1}
    task = ClassificationTask(network, n_classes=np.int64(2), class_weight=np.array([1.0, 2.0]), **options)
    path = saved(task, problem, tmp_path)
    again = ClassificationTask.load_from_checkpoint(path, weights_only=True)
    x = torch.randn(3, 10, 2)
    assert torch.equal(again(x), task(x))
    assert again.network.config == network.config
    assert (again.optimizer, again.schedule, again.label_smoothing) == ("radam", "constant", 0.1)
    assert again.lr == task.lr
    assert again.class_weight.tolist() == [1.0, 2.0]


def test_a_run_resumes_from_its_checkpoint(exported, problem, tmp_path):
    path = saved(ClassificationTask(Linear(2, 10, 2), n_classes=2), problem, tmp_path)
    task, runner = ClassificationTask.load_from_checkpoint(path, weights_only=True), trainer(max_epochs=3)
    runner.fit(task, datamodule=PanelDataModule(*problem, val_fraction=0.25), ckpt_path=path, weights_only=True)
    assert runner.current_epoch == 3


def test_callables_stay_out_of_the_checkpoint(exported, problem, tmp_path):
    partial = functools.partial(torch.optim.SGD, lr=0.1)
    path = saved(ClassificationTask(Linear(2, 10, 2), n_classes=2, optimizer=partial), problem, tmp_path)
    assert ClassificationTask.load_from_checkpoint(path, weights_only=True).optimizer == "adamw"
    assert ClassificationTask.load_from_checkpoint(path, weights_only=True, optimizer=partial).optimizer is partial


def test_foreign_network_must_be_passed_on_reload(problem, tmp_path):
    task = ClassificationTask(nn.Sequential(nn.Flatten(), nn.Linear(20, 2)), n_classes=2)
    path = saved(task, problem, tmp_path)
    with pytest.raises(ValueError, match=r"'torch.nn.modules.container.Sequential'.*network=network"):
        ClassificationTask.load_from_checkpoint(path, weights_only=True)
    network = nn.Sequential(nn.Flatten(), nn.Linear(20, 2))
    again = ClassificationTask.load_from_checkpoint(path, weights_only=True, network=network)
    assert torch.equal(again.network[1].weight, task.network[1].weight)


def test_the_cli_mark_is_removed():
    task, checkpoint = ClassificationTask(Logits(), n_classes=2), {"hyper_parameters": {"_instantiator": "os.system"}}
    task.on_save_checkpoint(checkpoint)
    assert "_instantiator" not in checkpoint["hyper_parameters"]


def test_lengths_and_mask_reach_a_network_that_takes_them():
    batch = {"x": torch.zeros(2, 5, 2), "lengths": torch.tensor([5, 3]), "mask": torch.ones(2, 5, 2, dtype=torch.bool)}
    assert ClassificationTask(Masked(2, 5, 3), n_classes=3).predict_step(batch, 0).shape == (2, 3)


@pytest.mark.parametrize(("name", "remedy"), [("lengths", "resample them to one length"), ("mask", "interpolate")])
def test_what_the_network_does_not_take_is_an_error_with_a_remedy(name, remedy):
    batch = {"x": torch.zeros(2, 5, 2), name: torch.ones(2)}
    with pytest.raises(ValueError, match=rf"`{name}`, which Linear.forward does not take: .*{remedy}"):
        ClassificationTask(Linear(2, 5, 3), n_classes=3).predict_step(batch, 0)


def test_logits_of_the_wrong_shape_are_named():
    with pytest.raises(ValueError, match=r"Linear returned \(2, 3\).*\(2, 4\)"):
        ClassificationTask(Linear(2, 5, 3), n_classes=4).predict_step({"x": torch.zeros(2, 5, 2)}, 0)


def test_a_loss_that_is_not_a_number_stops_the_run(problem):
    X, y = problem
    task = ClassificationTask(Linear(2, 10, 2, scale=float("inf")), n_classes=2)
    with pytest.raises(FloatingPointError, match=r"loss is nan in epoch 0: lower the learning rate.*gradient_clip_val"):
        trainer().fit(task, datamodule=PanelDataModule(X, y, val_fraction=0.25))


def test_lightning_modules_are_no_networks():
    import pytorch_lightning

    class Twin(pytorch_lightning.LightningModule):
        pass

    with pytest.raises(TypeError, match=r"pytorch_lightning; this package builds on lightning.pytorch"):
        ClassificationTask(Twin(), n_classes=2)
    with pytest.raises(TypeError, match=r"LightningModule, ClassificationTask, .* plain nn.Module"):
        ClassificationTask(ClassificationTask(Logits(), n_classes=2), n_classes=2)
    with pytest.raises(TypeError, match=r"torch.nn.Module, got type"):
        ClassificationTask(Logits, n_classes=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "lion"}, "optimizer must be one of"),
        ({"schedule": "step"}, "schedule must be one of"),
        ({"n_classes": 1}, "n_classes must be at least 2"),
        ({"label_smoothing": 1.5}, r"label_smoothing must be in \[0, 1\]"),
        ({"class_weight": "balanced"}, "use an estimator"),
        ({"class_weight": [1.0]}, "2 numbers >= 0"),
        ({"class_weight": [1.0, -1.0]}, "2 numbers >= 0"),
        ({"class_weight": [0.0, 0.0]}, "not all 0"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ClassificationTask(Logits(), **{"n_classes": 2} | options)
