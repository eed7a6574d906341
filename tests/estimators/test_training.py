"""Training: best weights, early stopping, interruption, seeds, files, and a process that is left as it was."""

import logging
import os
import pickle
import random
import signal
import threading
import warnings
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from tsmodels.estimators._training import TRAINING, isolated, resolve_device, train
from tsmodels_datamodules import PanelDataModule

CPU = torch.device("cpu")


class Scripted(L.LightningModule):
    """Its weight is the number of the epoch, its validation losses are given."""

    def __init__(self, losses):
        super().__init__()
        self.automatic_optimization, self.losses = False, losses
        self.weight = torch.nn.Parameter(torch.full((), -1.0))

    def training_step(self, batch, batch_idx):
        self.weight.data.fill_(self.current_epoch)
        self.log("train/loss", self.weight, on_step=False, on_epoch=True, batch_size=1)

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", self.losses[self.current_epoch], batch_size=1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def run_scripted(problem, losses=(3.0, 1.0, 2.0, 5.0), **given):
    training = {name: argument.default for name, argument in TRAINING.items()} | {"max_epochs": len(losses)} | given
    task = Scripted(losses)
    data = PanelDataModule(*problem, val_fraction=training["val_fraction"], batch_size=8)
    history = train(task, data, training, CPU)
    return history, task.weight.item()


def test_the_weights_of_the_best_epoch_are_put_back(problem):
    history, weight = run_scripted(problem, val_fraction=0.25)
    assert weight == 1.0
    assert (history["epochs"], history["best_epoch"], history["best_value"]) == (4, 1, 1.0)
    assert history["curves"] == {"train/loss": [0.0, 1.0, 2.0, 3.0], "val/loss": [3.0, 1.0, 2.0, 5.0]}


def test_patience_stops_early(problem):
    history, weight = run_scripted(problem, val_fraction=0.25, patience=1)
    assert weight == 1.0
    assert (history["epochs"], history["best_epoch"]) == (3, 1)


def test_without_validation_the_last_weights_are_kept(problem):
    history, weight = run_scripted(problem)
    assert weight == 3.0
    assert (history["epochs"], history["best_epoch"], history["best_value"]) == (4, None, None)
    assert set(history["curves"]) == {"train/loss"}


def test_epochs_without_validation_are_gaps_in_its_curve(problem):
    history, weight = run_scripted(problem, val_fraction=0.25, trainer_kwargs={"check_val_every_n_epoch": 2})
    assert weight == 1.0
    np.testing.assert_array_equal(history["curves"]["val/loss"], [np.nan, 1.0, np.nan, 5.0])


def test_each_fit_starts_afresh(pooled, problem):
    estimator = pooled(max_epochs=2, random_state=0)
    first = estimator.fit(*problem).history_
    assert estimator.fit(*problem).history_ == first


class Interrupt(L.Callback):
    def on_train_batch_end(self, *args):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_stays_ctrl_c_and_leaves_the_estimator_unfitted(pooled, problem):
    handler = signal.getsignal(signal.SIGINT)
    estimator = pooled(max_epochs=1).fit(*problem)
    estimator.trainer_kwargs = {"callbacks": [Interrupt()]}
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(*problem)
    assert not estimator.is_fitted
    assert not hasattr(estimator, "network_")
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_exit_asked_for_by_a_callback_is_an_exit(pooled, problem):
    class Exit(L.Callback):
        def on_train_batch_end(self, *args):
            raise SystemExit(3)

    with pytest.raises(SystemExit) as raised:
        pooled(trainer_kwargs={"callbacks": [Exit()]}).fit(*problem)
    assert raised.value.code == 3


def test_fit_works_off_the_main_thread_and_several_at_a_time(pooled, problem):
    X, y = problem
    expected = pooled(random_state=0, max_epochs=3).fit(X, y).predict_proba(X)
    results = []

    def work():
        results.append(pooled(random_state=0, max_epochs=3).fit(X, y).predict_proba(X))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    for result in results:
        np.testing.assert_array_equal(result, expected)


def test_equal_seeds_give_equal_predictions_whatever_was_drawn_before(pooled, problem):
    X, y = problem
    arguments = {"max_epochs": 3, "val_fraction": 0.25, "dropout": 0.5, "batch_size": 4}
    first = pooled(**arguments, random_state=3).fit(X, y).predict_proba(X)
    torch.manual_seed(7), np.random.seed(7), random.seed(7)  # noqa: NPY002
    again = pooled(**arguments, random_state=3).fit(X, y).predict_proba(X)
    other = pooled(**arguments, random_state=4).fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(again, first)
    assert np.abs(other - first).max() > 1e-4


def test_thread_counts_agree(pooled, problem):
    X, y = problem
    one = pooled(random_state=0).fit(X, y).predict_proba(X)
    torch.set_num_threads(2)
    two = pooled(random_state=0).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(two, one, atol=1e-6)


def test_random_state_means_what_it_means_in_scikit_learn(pooled, problem):
    X, y = problem

    def probabilities(estimator):
        return estimator.fit(X, y).predict_proba(X)

    free = pooled(max_epochs=1)
    np.random.seed(5)  # noqa: NPY002
    first, second = probabilities(free), probabilities(free)
    np.random.seed(5)  # noqa: NPY002
    assert (first != second).any()
    np.testing.assert_array_equal(probabilities(free), first)
    drawing = pooled(max_epochs=1, random_state=np.random.RandomState(5))
    assert (probabilities(drawing) != probabilities(drawing)).any()


def state_of_the_process():
    loggers = {name: logging.getLogger(name).level for name in list(logging.root.manager.loggerDict)}
    return {
        "torch": torch.get_rng_state().tolist(),
        "cuda": [each.tolist() for each in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else [],
        "numpy": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "loggers": loggers,
        "warnings": list(warnings.filters),
        "signals": {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)},
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "matmul": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "files": sorted(Path.cwd().rglob("*")),
    }


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"val_fraction": 0.25, "patience": 1, "dropout": 0.5},
        {"precision": "64-true"},
        {"precision": "bf16-mixed", "gradient_clip_val": 1.0},
        {"trainer_kwargs": {"deterministic": True}},
        {"trainer_kwargs": {"deterministic": "warn"}},
        {"trainer_kwargs": {"benchmark": True}},
        {"lr": -1.0},
        pytest.param({"trainer_kwargs": {"callbacks": [Interrupt()], "deterministic": True}}, id="interrupted"),
    ],
    ids=str,
)
def test_fit_and_predict_leave_the_process_as_it_was(pooled, problem, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    estimator = pooled(random_state=0, max_epochs=2, **arguments)
    given = dict(estimator.trainer_kwargs or {})
    before = state_of_the_process()
    try:
        estimator.fit(*problem)
    except (ValueError, KeyboardInterrupt):
        assert arguments.get("lr") or arguments["trainer_kwargs"].get("callbacks")
    else:
        estimator.predict(problem[0])
    after = state_of_the_process()
    for name, value in before.items():
        if name == "loggers":  # those that Lightning makes on the way are new, not changed
            assert {key: after[name][key] for key in value} == value
        else:
            assert after[name] == value, name
    assert (estimator.trainer_kwargs or {}) == given


@pytest.mark.parametrize("workspace", [None, ":16:8"])
def test_isolated_restores_what_was_set_before(monkeypatch, workspace):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if workspace:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspace)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    state = torch.get_rng_state()
    try:
        with pytest.raises(ZeroDivisionError), isolated(3, CPU):
            drawn = torch.rand(3)
            torch.use_deterministic_algorithms(False)
            torch.backends.cudnn.benchmark = False
            os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
            _ = 1 / 0
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.backends.cudnn.benchmark
        assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == workspace
        assert torch.equal(torch.get_rng_state(), state)
        with isolated(3, CPU):
            assert torch.equal(torch.rand(3), drawn)
    finally:
        torch.use_deterministic_algorithms(False)


def test_isolated_on_the_cpu_does_not_touch_cuda(monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("a CPU fit seeded CUDA"))
    with isolated(0, CPU):
        torch.rand(1)


def test_fit_and_predict_are_silent_also_beside_the_twin_package(pooled, problem, capfd, caplog):
    import pytorch_lightning  # noqa: F401  # from its import on, Lightning speaks through the twin's logger

    with caplog.at_level(logging.DEBUG):
        pooled(max_epochs=1).fit(*problem).predict(problem[0])
    assert [record.getMessage() for record in caplog.records if "lightning" in record.name] == []
    assert capfd.readouterr() == ("", "")


def test_verbose_shows_progress(pooled, problem, capfd):
    pooled(max_epochs=2, verbose=True).fit(*problem)
    shown = capfd.readouterr()
    assert "Epoch 1/1" in shown.out + shown.err
    assert "train/loss" in shown.out + shown.err


def test_real_warnings_pass(pooled, problem):
    class Warns(L.Callback):
        def on_train_start(self, *args):
            warnings.warn("the user should see this", UserWarning, stacklevel=1)

    with pytest.warns(UserWarning, match="the user should see this"):
        pooled(max_epochs=1, trainer_kwargs={"callbacks": [Warns()]}).fit(*problem)


def test_callbacks_of_the_user_are_added_and_see_their_run(pooled, problem):
    class Count(L.Callback):
        epochs = 0

        def on_train_epoch_end(self, trainer, task):
            self.epochs += 1

    one, two = Count(), Count()
    estimator = pooled(max_epochs=3, val_fraction=0.25, trainer_kwargs={"callbacks": [one, two]}).fit(*problem)
    assert (one.epochs, two.epochs) == (3, 3)
    assert estimator.history_["best_epoch"] is not None
    pooled(max_epochs=3, trainer_kwargs={"callbacks": one}).fit(*problem)
    assert one.epochs == 6


def test_trainer_kwargs_win(pooled, problem):
    assert pooled(max_epochs=5, trainer_kwargs={"max_epochs": 2}).fit(*problem).history_["epochs"] == 2


def test_checkpoints_are_written_where_the_user_can_find_them(pooled, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pooled(max_epochs=1, trainer_kwargs={"enable_checkpointing": True}).fit(*problem)
    assert list(tmp_path.glob("checkpoints/*.ckpt"))
    named = {"enable_checkpointing": True, "default_root_dir": tmp_path / "named"}
    pooled(max_epochs=1, trainer_kwargs=named).fit(*problem)
    assert list(tmp_path.glob("named/checkpoints/*.ckpt"))
    callback = ModelCheckpoint(dirpath=tmp_path / "own")
    pooled(max_epochs=1, trainer_kwargs={"callbacks": [callback]}).fit(*problem)
    assert list(tmp_path.glob("own/*.ckpt"))


def test_a_fit_is_one_process_also_inside_a_cluster_job(pooled, problem, monkeypatch):
    for name, value in {"NTASKS": "2", "JOB_NAME": "train", "JOB_ID": "12", "PROCID": "0", "LOCALID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert pooled(max_epochs=1).fit(*problem).is_fitted


@pytest.mark.parametrize(
    ("present", "accelerator", "devices", "expected"),
    [
        ([], "auto", 1, "cpu"),
        (["cuda"], "auto", 1, "cuda:0"),
        (["cuda", "mps"], "gpu", [2], "cuda:2"),
        (["mps"], "gpu", 1, "mps"),
        (["mps"], "auto", (0,), "mps"),
        (["cuda"], "cpu", [1], "cpu"),
        (["cuda"], "cuda", 1, "cuda:0"),
    ],
)
def test_the_one_device(monkeypatch, present, accelerator, devices, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in present)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in present)
    assert str(resolve_device(accelerator, devices)) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_fit_on_a_gpu_and_predict_on_the_cpu(pooled, problem, precision):
    X, y = problem
    before = state_of_the_process()
    estimator = pooled(accelerator="cuda", precision=precision, dropout=0.1, random_state=0).fit(X, y)
    there = estimator.predict_proba(X)
    assert all(state_of_the_process()[name] == before[name] for name in ("torch", "cuda", "numpy", "environment"))
    assert {each.device.type for each in estimator.network_.parameters()} == {"cpu"}
    again = pickle.loads(pickle.dumps(estimator))
    again.accelerator = "cpu"
    np.testing.assert_allclose(again.predict_proba(X), there, atol=1e-4)
