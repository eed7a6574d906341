"""The commands fit, validate, test and predict, over every network by the configurations of the examples."""

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tsmodels import models, tasks, training
from tsmodels.models._config import config_of

pytest.importorskip("jsonargparse")

CONFIGS = sorted((Path(__file__).parents[1] / "examples" / "configs").glob("*.yaml"))
QUICK = ("dlinear",)  # others compile kernels, discover shapelets, integrate a system, convolve frames
QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu"]
DLINEAR = [
    *("--model", "ForecastingTask", "--model.network", "DLinearForForecasting"),
    *("--data", "WindowDataModule", "--data.y", "airline", "--data.lookback=24", "--data.horizon=12"),
]
OWN_DATA = """
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader


class Waves(LightningDataModule):
    n_channels, n_timepoints = 2, 12

    def __init__(self, n_windows: int = 8):
        super().__init__()
        self.n_windows = n_windows

    def train_dataloader(self):
        starts = torch.arange(self.n_windows)[:, None, None]
        waves = torch.sin(starts + torch.arange(12)[:, None] + torch.arange(2))
        return DataLoader([{"x": wave} for wave in waves], batch_size=4)


class SetUpWaves(Waves):
    def setup(self, stage):
        self.loader = super().train_dataloader()

    def train_dataloader(self):
        return self.loader

    val_dataloader = test_dataloader = train_dataloader


class LateWaves(SetUpWaves):
    @property
    def n_channels(self):
        return self.loader.dataset[0]["x"].shape[1]
"""
RUN = Path("tsmodels-runs") / "DLinearForForecasting"


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    """Work in an empty folder without data, and leave generators and environment as they were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TSMODELS_DATA", raising=False)
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):  # set by seed_everything; now deleted when the test is over
        monkeypatch.setenv(name, "0")
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        yield
    np.random.set_state(numpy_state)  # noqa: NPY002
    random.setstate(python_state)


def parsed(path):
    config = yaml.safe_load(path.read_text())
    network = config["model"]["init_args"]["network"]["class_path"]
    return config["model"]["class_path"], network, config["data"]["class_path"]


def fit_dlinear(*arguments):
    return training.main(["fit", *DLINEAR, *QUIET, "--trainer.max_epochs=2", *arguments])


def test_there_is_a_configuration_for_every_network_and_task():
    named = {parsed(path)[1] for path in CONFIGS}
    networks = {name for name in models.__all__ if issubclass(getattr(models, name), torch.nn.Module)}
    assert named == networks
    assert {parsed(path)[0] for path in CONFIGS} == {name for name in tasks.__all__ if name.endswith("Task")}


@pytest.mark.parametrize(
    "path",
    [pytest.param(each, marks=() if each.stem in QUICK else pytest.mark.slow, id=each.stem) for each in CONFIGS],
)
def test_configuration_runs_and_leaves_no_file(path, tmp_path):
    assert training.main(["fit", "--config", str(path), *QUIET, "--trainer.fast_dev_run=true"]) == 0
    assert not list(tmp_path.iterdir())


def test_fit_keeps_what_is_needed_in_one_folder(tmp_path, capsys):
    assert fit_dlinear("--seed_everything=7") == 0
    run = RUN / "version_0"
    written = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert written == {
        "config.yaml",
        "hparams.yaml",
        "metrics.csv",
        str(Path("checkpoints", "best.ckpt")),
        str(Path("checkpoints", "last.ckpt")),
    }
    assert [path.name for path in tmp_path.iterdir()] == ["tsmodels-runs"]
    assert str(run / "checkpoints" / "best.ckpt") in capsys.readouterr().out
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["seed_everything"] == 7
    # the facts of the data are not of the configuration
    assert not {"n_channels", "lookback"} & set(config["model"]["init_args"]["network"]["init_args"])
    assert config["data"]["init_args"]["y"] == "airline"


def test_checkpoint_reloads_with_weights_only_and_no_other_argument():
    assert fit_dlinear() == 0
    path = RUN / "version_0" / "checkpoints" / "best.ckpt"
    task = tasks.ForecastingTask.load_from_checkpoint(path, weights_only=True)
    assert config_of(task.network)["init_args"]["lookback"] == 24
    saved = torch.load(path, weights_only=True)
    assert not [name for name in saved["hyper_parameters"] if name.startswith("_")]
    state = saved["state_dict"]
    assert all(torch.equal(value, state[f"network.{name}"]) for name, value in task.network.state_dict().items())


@pytest.mark.slow
def test_checkpoint_reloads_where_jsonargparse_is_not_installed(tmp_path):
    assert fit_dlinear() == 0
    script = (
        "import sys; sys.modules['jsonargparse'] = None\n"
        "from tsmodels.tasks import ForecastingTask\n"
        f"task = ForecastingTask.load_from_checkpoint({str(RUN / 'version_0/checkpoints/best.ckpt')!r}, "
        "weights_only=True)\n"
        "print(type(task.network).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "DLinearForForecasting"


def test_a_run_goes_on_where_it_stopped():
    assert fit_dlinear() == 0
    checkpoints = RUN / "version_0" / "checkpoints"
    before = torch.load(checkpoints / "last.ckpt", weights_only=True)
    assert fit_dlinear("--ckpt_path", str(checkpoints / "last.ckpt"), "--trainer.max_epochs=4") == 0
    after = torch.load(checkpoints / "last.ckpt", weights_only=True)
    assert after["global_step"] == 2 * before["global_step"]  # two epochs, then two more
    assert sorted(path.name for path in checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]


@pytest.mark.slow
@pytest.mark.parametrize("stem", ["chimera_classification", "convs5_classification", "plrnn_shallow", "shapeformer"])
def test_two_processes_train_together(stem, tmp_path):
    config = next(path for path in CONFIGS if path.stem == stem)
    together = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_epochs=1"]
    together += ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
    # Lightning starts the second process by the command line of the first
    script = tmp_path / "train.py"
    script.write_text(
        "import os, sys; from tsmodels.training import main\n"
        "code = main(); open('ended-' + os.environ.get('LOCAL_RANK', '0'), 'x').close(); sys.exit(code)"
    )
    command = [sys.executable, script, "fit", "--config", config, *QUIET, *together]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.glob("ended-*")} == {"ended-0", "ended-1"}
    assert list(tmp_path.glob("tsmodels-runs/*/version_0/checkpoints/last.ckpt"))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_network():
    # the weights of DLinear start equal at any seed
    network = ["--model.network=S4DForForecasting", *(f"--model.network.{name}=4" for name in ("d_model", "d_state"))]
    run, states = RUN.with_name("S4DForForecasting"), []
    for seed in (3, 3, 4):
        version = len(states)
        assert fit_dlinear(*network, f"--seed_everything={seed}") == 0
        states.append(torch.load(run / f"version_{version}/checkpoints/last.ckpt", weights_only=True)["state_dict"])
    first, second, third = states
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], third[name]) for name in first)


@pytest.mark.slow
def test_validate_test_and_predict_take_a_checkpoint(capsys):
    assert fit_dlinear() == 0
    given = [*DLINEAR, *QUIET, "--ckpt_path", str(RUN / "version_0" / "checkpoints" / "best.ckpt")]
    assert training.main(["validate", *given]) == 0
    assert training.main(["test", *given]) == 0
    assert "test/mse" in capsys.readouterr().out
    assert training.main(["predict", *given]) == 0
    assert str(RUN / "version_3" / "predictions.npz") in capsys.readouterr().out
    with np.load(RUN / "version_3" / "predictions.npz") as arrays:
        assert arrays["forecasts"].shape == (1, 12, 1)
        assert 100 < arrays["forecasts"].mean() < 1000  # passengers, not standard deviations
    assert not list(RUN.glob("version_3/.*"))


def test_printed_configuration_is_the_configuration(capsys, tmp_path):
    assert training.main(["fit", "--config", str(CONFIGS[0]), "--print_config"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "printed.yaml").write_text(printed)
    assert training.main(["fit", "--config", "printed.yaml", "--print_config"]) == 0
    assert capsys.readouterr().out == printed
    given, shown = yaml.safe_load(CONFIGS[0].read_text()), yaml.safe_load(printed)
    assert shown["model"]["class_path"] == f"tsmodels.tasks.{given['model']['class_path']}"
    assert given["data"]["init_args"].items() <= shown["data"]["init_args"].items()
    assert shown["trainer"]["default_root_dir"] == training.DEFAULT_OUTPUT


def test_short_names_and_class_paths_name_the_same(capsys):
    long = ["--model=tsmodels.tasks.ForecastingTask", "--model.network=tsmodels.models.DLinearForForecasting"]
    long += ["--data=tsmodels_datamodules.WindowDataModule", *DLINEAR[6:]]
    printed = []
    for arguments in (DLINEAR, long):
        assert training.main(["fit", *arguments, "--print_config"]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


@pytest.mark.slow
def test_the_loss_decides_how_many_numbers_the_network_gives():
    assert fit_dlinear("--model.loss=student_t", "--trainer.limit_train_batches=1") == 0
    path = RUN / "version_0" / "checkpoints" / "last.ckpt"
    config = torch.load(path, weights_only=True)["hyper_parameters"]["network"]["init_args"]
    assert (config["n_outputs"], config["distribution"]) == (3, True)
    given = [*DLINEAR, *QUIET, "--model.loss=student_t", "--ckpt_path", str(path)]
    assert training.main(["predict", *given]) == 0
    with np.load(RUN / "version_1" / "predictions.npz") as arrays:
        assert arrays["quantiles"].shape == (1, 12, 1, len(arrays["levels"]))
        assert (np.diff(arrays["quantiles"], axis=-1) > 0).all()


@pytest.mark.slow
def test_without_validation_the_last_epoch_is_kept(tmp_path):
    assert fit_dlinear("--data.split=[0.8, 0.0, 0.2]") == 0
    assert [path.name for path in (RUN / "version_0" / "checkpoints").iterdir()] == ["last.ckpt"]


@pytest.mark.slow
def test_data_are_read_from_files(tmp_path):
    np.save(tmp_path / "series.npy", np.sin(np.arange(200.0))[:, None] * [1, 2])
    arguments = [*DLINEAR, *QUIET, "--trainer.fast_dev_run=true"]
    assert training.main(["fit", *arguments, "--data.y=series.npy"]) == 0
    days = np.datetime64("2020-01-01") + np.arange(200)
    rows = "\n".join(f"{day},{value}" for day, value in zip(days, range(200), strict=True))
    (tmp_path / "series.csv").write_text(f"day,a\n{rows}\n")
    split = "--data.split=['2020-05-01', '2020-06-01']"
    assert training.main(["fit", *arguments, "--data.y=series.csv", split]) == 0


@pytest.fixture
def with_own_data(tmp_path, monkeypatch):
    """Return what runs a command over a datamodule of a user's own module, named by its class path."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "users_waves.py").write_text(OWN_DATA)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    small = [f"--model.network.{name}" for name in ("d_model=4", "d_state=2", "n_layers=1")]

    def run(command, name, *arguments):
        model = ["--model=ReconstructionTask", "--model.network=ChimeraForReconstruction", *small]
        return training.main([command, *model, f"--data=users_waves.{name}", *QUIET, *arguments])

    yield run
    sys.modules.pop("users_waves", None)


@pytest.mark.parametrize(
    ("name", "checkpoints"), [("Waves", {"last.ckpt"}), ("SetUpWaves", {"best.ckpt", "last.ckpt"})]
)
def test_a_datamodule_of_ones_own_is_named_by_its_class_path(with_own_data, name, checkpoints):
    assert with_own_data("fit", name, "--data.n_windows=6", "--trainer.max_epochs=1") == 0
    run = Path("tsmodels-runs", "ChimeraForReconstruction", "version_0")
    assert {path.name for path in (run / "checkpoints").iterdir()} == checkpoints
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["data"] == {"class_path": f"users_waves.{name}", "init_args": {"n_windows": 6}}
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    facts = saved["hyper_parameters"]["network"]["init_args"]
    assert (facts["n_channels"], facts["n_timepoints"], saved["global_step"]) == (2, 12, 2)


def test_predictions_of_ones_own_test_data_are_in_their_own_units(with_own_data):
    assert with_own_data("fit", "SetUpWaves", "--trainer.max_epochs=1") == 0
    path = Path("tsmodels-runs", "ChimeraForReconstruction", "version_0", "checkpoints", "last.ckpt")
    assert with_own_data("predict", "SetUpWaves", f"--ckpt_path={path}") == 0
    task = tasks.ReconstructionTask.load_from_checkpoint(path, weights_only=True).eval()
    with np.load(path.parents[2] / "version_1" / "predictions.npz") as arrays, torch.no_grad():
        x = torch.sin(torch.arange(8)[:, None, None] + torch.arange(12)[:, None] + torch.arange(2))
        np.testing.assert_allclose(arrays["reconstructions"], task.network(x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "LateWaves",
            "LateWaves has no n_channels, which ChimeraForReconstruction is built from: set it in the constr",
        ),
        ("Sines", "module 'users_waves' has no attribute 'Sines'"),
    ],
)
def test_a_mistake_in_ones_own_data_is_told_in_a_line(with_own_data, name, told, capsys):
    assert with_own_data("fit", name) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--model.network.kernel=3"], "Option 'kernel' is not accepted"),
        (["--model.network=DLinearForForecastin"], "did you mean 'DLinearForForecasting'?"),
        (["--model.network=ChimeraForClassification"], "is no network for ForecastingTask: it is built from n_timep"),
        (["--data=ArchiveDataModule", "--data.name=ArrowHead"], "ArchiveDataModule has no lookback, which DLinear"),
        (["--data.lookback=500"], "a window needs lookback + horizon = 512: shorten lookback or horizon"),
        (["--data.y=nothing.csv"], "cannot read 'nothing.csv'"),
        (["--data.y={system: lorenz63}"], "must hold 'system' and 'n'"),
        (["--data.y=airlines"], "y is of type str"),
        (["--ckpt_path=nothing.ckpt"], "there is no file 'nothing.ckpt'"),
    ],
    ids=lambda value: None if isinstance(value, str) else value[0],
)
def test_a_mistake_is_told_in_a_line(arguments, told, capsys, tmp_path):
    assert training.main(["fit", *DLINEAR, *QUIET, *arguments]) == 2
    output = capsys.readouterr()
    assert told in output.err
    assert output.err.startswith("tsmodels fit: ")
    assert "Traceback" not in output.err and "usage" not in output.err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_unknown_key_of_a_file_is_told(capsys, tmp_path):
    config = yaml.safe_load(CONFIGS[0].read_text())
    config["trainer"]["max_epoch"] = 3
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert training.main(["fit", "--config", "config.yaml"]) == 2
    assert "max_epoch" in capsys.readouterr().err


def test_an_untrained_network_is_not_measured(capsys):
    assert training.main(["test", *DLINEAR, *QUIET]) == 2
    assert "--ckpt_path is missing" in capsys.readouterr().err


def test_checkpoint_of_another_network_is_refused(capsys):
    assert fit_dlinear() == 0
    path = str(RUN / "version_0" / "checkpoints" / "best.ckpt")
    assert training.main(["test", *DLINEAR, *QUIET, "--model.network.kernel_size=5", "--ckpt_path", path]) == 2
    assert "kernel_size is 25, not 5" in capsys.readouterr().err


@pytest.mark.parametrize(("logger", "package"), [("TensorBoardLogger", "tensorboard"), ("WandbLogger", "wandb")])
def test_a_logger_that_is_not_installed_is_named(logger, package, capsys):
    if importlib.util.find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    assert fit_dlinear("--trainer.logger", logger) == 2
    assert package in capsys.readouterr().err


def test_without_the_extra_the_message_names_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jsonargparse", None)
    assert training.main(["fit", "--help"]) == 2
    assert "pip install 'tsmodels[cli]'" in capsys.readouterr().err


def test_ctrl_c_ends_with_130(monkeypatch, capsys):
    def interrupt(task, batch, batch_idx):
        raise KeyboardInterrupt

    monkeypatch.setattr(tasks.ForecastingTask, "training_step", interrupt)
    assert fit_dlinear() == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.slow
def test_a_training_that_diverges_ends_with_1(monkeypatch, capsys):
    monkeypatch.setattr(
        tasks.ForecastingTask, "training_step", lambda task, batch, batch_idx: next(task.parameters()).sum() * torch.nan
    )
    monkeypatch.setattr(tasks.ForecastingTask, "on_train_epoch_end", lambda task: task._require_finite("val/loss"))
    assert fit_dlinear("--trainer.num_sanity_val_steps=0") == 1
    assert "lower the learning rate" in capsys.readouterr().err


def test_help_names_what_there_is(capsys):
    assert training.main(["fit", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in (*models.__all__, "ClassificationTask", "ArchiveDataModule", "tsmodels-runs", "--print_config"):
        assert name in text


def test_importing_the_command_imports_nothing_heavy():
    script = (
        "import sys, tsmodels.training\nassert not {'torch', 'lightning', 'jsonargparse', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120, env=dict(os.environ))
