"""Random windows of series: which ones are drawn, what goes with them, and what is refused."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from tsmodels_datamodules import DynamicsDataModule, make_trajectory
from tsmodels_datamodules._deconvolution import deconvolve

N, WINDOW, BATCH, BATCHES = 300, 20, 8, 5


def series(n=N, n_channels=2, start=0):
    """Rows that tell their number: channel c at row t is ``1000 c + t``, from `start` on."""
    return np.arange(start, start + n)[:, None] + 1000.0 * np.arange(n_channels)


def module(data=None, **options):
    defaults = {"window": WINDOW, "batch_size": BATCH, "batches_per_epoch": BATCHES, "scaling": "none", "seed": 3}
    return DynamicsDataModule(series() if data is None else data, **{**defaults, **options})


def passes(loader, times=1):
    return [{key: tensor.clone() for key, tensor in batch.items()} for _ in range(times) for batch in loader]


def same(left, right):
    return len(left) == len(right) and all(
        a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a) for a, b in zip(left, right, strict=True)
    )


def starts(batches):
    return [int(start) for batch in batches for start in batch["x"][:, 0, 0]]


# ---- windows


def test_windows_are_stretches_of_the_series():
    batches = passes(module().train_dataloader())
    assert len(batches) == BATCHES
    for batch in batches:
        assert batch.keys() == {"x"} and batch["x"].shape == (BATCH, WINDOW + 1, 2)
        assert batch["x"].dtype is torch.float32 and batch["x"].is_contiguous()
        first = batch["x"][:, :1, :1]
        expected = first + torch.arange(WINDOW + 1)[:, None] + 1000 * torch.arange(2)
        assert torch.equal(batch["x"], expected)


def test_all_windows_are_drawn_evenly():
    data = module(series(WINDOW + 4), batches_per_epoch=1000)
    assert data.n_windows == 4
    counts = np.bincount(starts(passes(data.train_dataloader())), minlength=4)
    assert len(counts) == 4 and (abs(counts / 8000 - 0.25) < 0.02).all()


def test_several_series_count_by_their_windows_and_none_is_crossed():
    given = [series(WINDOW + 1, start=0), series(WINDOW, start=200), series(WINDOW + 3, start=400)]
    data = module(given, batches_per_epoch=1000)
    assert data.n_windows == 4
    drawn = np.array(starts(passes(data.train_dataloader())))
    assert set(drawn) == {0, 400, 401, 402} and all(abs((drawn == start).mean() - 0.25) < 0.02 for start in set(drawn))
    windows = torch.cat([batch["x"] for batch in passes(data.train_dataloader())])
    assert torch.equal(windows[:, 1:] - windows[:, :-1], torch.ones(len(windows), WINDOW, 2))


def test_inputs_enter_the_step_they_belong_to():
    data = module(inputs=10 * series(n_channels=1), val_fraction=0.2, test_fraction=0.1)
    assert data.n_inputs == 1
    for batch in passes(data.train_dataloader()):
        assert batch["s"].shape == (BATCH, WINDOW, 1)
        assert torch.equal(batch["s"][..., 0], 10 * batch["x"][:, 1:, 0])
    for loader, n in ((data.val_dataloader(), 54), (data.test_dataloader(), 30)):
        (batch,) = passes(loader)
        assert batch["x"].shape == (1, n, 2) and batch["s"].shape == (1, n - 1, 1)
        assert torch.equal(batch["s"][..., 0], 10 * batch["x"][:, 1:, 0])


def test_inputs_are_not_scaled_and_none_is_none():
    data = module(inputs=10 * series(n_channels=1), scaling="standard")
    (batch, *_) = passes(data.train_dataloader())
    assert batch["s"].min() > 1 and batch["s"].max() > 100
    assert module().n_inputs == 0 and "s" not in passes(module().train_dataloader())[0]


def test_parts_follow_each_other():
    data = module(val_fraction=0.2, test_fraction=0.1)
    rows = [part[:, 0].astype(int).tolist() for part in (data.train_series, data.val_series, data.test_series)]
    assert rows == [list(range(216)), list(range(216, 270)), list(range(270, 300))]
    assert max(starts(passes(data.train_dataloader(), 20))) == 216 - WINDOW - 1


def test_parts_of_several_series():
    data = module([series(100), series(200, start=500)], val_fraction=0.1, test=[series(30), series(40, start=500)])
    assert [len(one) for one in data.train_series] == [90, 180] and [len(one) for one in data.val_series] == [10, 20]
    assert [batch["x"].shape[1] for batch in data.test_dataloader()] == [30, 40]
    assert data.test_series[1][0, 0] == 500


def test_scaling_is_that_of_the_training_part():
    values = np.random.default_rng(0).normal(size=(N, 2)) * [3.0, 50.0] + [1.0, 7.0]
    data = module(values, scaling="standard", val_fraction=0.2, test_fraction=0.2)
    train = values[:192]
    np.testing.assert_allclose(data.scaler.mean_, train.mean(axis=0))
    np.testing.assert_allclose(data.scaler.scale_, train.std(axis=0))
    np.testing.assert_allclose(data.test_series, (values[240:] - train.mean(0)) / train.std(0), atol=1e-5)
    np.testing.assert_allclose(data.scaler.inverse(torch.from_numpy(data.val_series)), values[192:240], rtol=1e-4)
    assert data.train_series.dtype == np.float32


def test_a_constant_channel_is_only_centred():
    data = module(np.column_stack([np.sin(np.arange(N)), np.full(N, 4.2)]), scaling="standard")
    assert (data.train_series[:, 1] == 0).all() and data.scaler.scale_[1] == 1


def test_the_dtype():
    data = module(dtype=torch.float64, inputs=series())
    (batch, *_) = passes(data.train_dataloader())
    assert {tensor.dtype for tensor in batch.values()} == {torch.float64} and data.train_series.dtype == np.float64
    assert same(passes(data.train_dataloader()), passes(module(dtype="float64", inputs=series()).train_dataloader()))


@pytest.mark.parametrize("kind", ["integers", "one-dimensional", "frame", "tensor", "fortran", "float32"])
def test_kinds_of_data(kind):
    values = series(n_channels=1 if kind == "one-dimensional" else 2)
    given = {
        "integers": values.astype(np.int64),
        "one-dimensional": values[:, 0],
        "frame": pd.DataFrame(
            values, columns=["a", "b"][: values.shape[1]], index=pd.date_range("2020", periods=N, freq="D")
        ),
        "tensor": torch.from_numpy(values),
        "fortran": np.asfortranarray(values),
        "float32": values.astype(np.float32),
    }[kind]
    data = module(given)
    assert data.n_channels == values.shape[1]
    assert same(passes(data.train_dataloader()), passes(module(values).train_dataloader()))


def test_the_data_are_not_changed():
    values = series()
    module(values, scaling="standard")
    np.testing.assert_array_equal(values, series())


# ---- which epoch, which seed


def test_epochs_differ_and_follow_from_the_seed():
    data = module()
    loader = data.train_dataloader()
    first, second = starts(passes(loader)), starts(passes(loader))
    assert first != second
    again = module().train_dataloader()
    assert starts(passes(again)) == first and starts(passes(again)) == second
    assert starts(passes(module(seed=4).train_dataloader())) != first


def test_global_generators_are_left_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    data = module(val_fraction=0.1, test_fraction=0.1)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        passes(loader)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002


class Probe(LightningModule):
    """Keeps the first rows of the windows it sees."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)
        self.seen = []

    def training_step(self, batch):
        self.seen.append(starts([batch]))
        return self.layer(batch["x"]).square().mean()

    def validation_step(self, batch):
        self.seen.append(batch["x"].shape[1])

    def test_step(self, batch):
        self.seen.append(batch["x"].shape[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-9)


def trainer(folder, max_epochs):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(
        max_epochs=max_epochs, accelerator="cpu", default_root_dir=folder, enable_checkpointing=False, **quiet
    )


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")  # Lightning's own
@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")  # on purpose: a batch is one gather
@pytest.mark.filterwarnings("ignore:.*weights_only.*")
def test_a_resumed_run_draws_what_an_uninterrupted_one_would(tmp_path):
    whole, half, rest = Probe(), Probe(), Probe()
    data = module(val_fraction=0.1)
    trainer(tmp_path, 4).fit(whole, datamodule=data)
    first = trainer(tmp_path, 2)
    first.fit(half, datamodule=module(val_fraction=0.1))
    first.save_checkpoint(tmp_path / "half.ckpt")
    trainer(tmp_path, 4).fit(rest, datamodule=module(val_fraction=0.1), ckpt_path=tmp_path / "half.ckpt")
    drawn = [seen for seen in whole.seen if not isinstance(seen, int)]
    resumed = [seen for probe in (half, rest) for seen in probe.seen if not isinstance(seen, int)]
    assert len(drawn) == 4 * BATCHES and resumed == drawn and len(set(map(tuple, drawn))) == len(drawn)
    alone = module(val_fraction=0.1).train_dataloader()
    assert [starts([batch]) for batch in passes(alone, 4)] == drawn
    checkpoint = torch.load(tmp_path / "half.ckpt", weights_only=True)
    assert checkpoint["datamodule_hyper_parameters"] == dict(data.hparams)


@pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning")  # Lightning's own
@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
def test_the_test_part_under_a_trainer(tmp_path):
    probe = Probe()
    trainer(tmp_path, 1).test(probe, datamodule=module(test_fraction=0.1), verbose=False)
    assert probe.seen == [30]


def test_pickling():
    data = module(val_fraction=0.1, inputs=series())
    copy = pickle.loads(pickle.dumps(data))
    assert same(passes(copy.train_dataloader(), 2), passes(data.train_dataloader(), 2))


def test_options_are_plain_and_recorded():
    data = module(np.asarray(series()), response=np.array([0.5, 0.5]), dtype=torch.float64, batch_size=np.int64(4))
    assert dict(data.hparams) == {
        "name": None,
        "kernel": [0.5, 0.5],
        "window": WINDOW,
        "batch_size": 4,
        "batches_per_epoch": BATCHES,
        "val_fraction": 0.0,
        "test_fraction": 0.0,
        "scaling": "none",
        "seed": 3,
        "dtype": "float64",
    }
    assert str(data) == repr(data) and "window=20" in repr(data) and "\n" not in repr(data)


# ---- deconvolution


def test_the_deconvolved_series_goes_with_the_windows():
    kernel = np.array([0.1, 0.3, 0.3, 0.2, 0.1])
    states = make_trajectory("lorenz63", 2004, transient=20, rtol=1e-6)
    x = np.stack([np.convolve(channel, kernel, "valid") for channel in states.T], axis=1)
    data = module(x, response=kernel, scaling="standard", val_fraction=0.25)
    cut = slice(1, 1500 - 2)  # floor(5 / 4) and floor(5 / 2) points
    scaled = (x[:1500] - x[:1500].mean(axis=0)) / x[:1500].std(axis=0)
    np.testing.assert_allclose(data.train_series, scaled[cut], atol=1e-5)
    assert len(data.val_series) == 500 - 3 and data.n_windows == 1497 - WINDOW
    signal = torch.from_numpy(deconvolve(scaled, kernel)[cut].astype(np.float32))
    windows = {key: torch.cat([batch[key] for batch in data.train_dataloader()]) for key in ("x", "signal")}
    assert windows["signal"].shape == windows["x"].shape
    values = torch.from_numpy(data.train_series)
    for x_window, signal_window in zip(windows["x"], windows["signal"], strict=True):
        start = int((values - x_window[0]).abs().sum(dim=1).argmin())
        assert torch.equal(x_window, values[start : start + WINDOW + 1])
        torch.testing.assert_close(signal_window, signal[start : start + WINDOW + 1], rtol=0, atol=1e-5)
    (batch,) = passes(data.val_dataloader())
    assert batch["signal"].shape == batch["x"].shape == (1, 497, 3)
    true = (states[4:1504] - x[:1500].mean(axis=0)) / x[:1500].std(axis=0)
    raw, better = (np.abs(one[cut] - true[cut])[10:-10].mean() for one in (scaled, deconvolve(scaled, kernel)))
    assert better < raw / 10


# ---- bad data


def with_value(value):
    values = series()
    values[17, 1] = value
    return values


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"data": with_value(np.nan)},
            ValueError,
            "data has 1 missing values .NaN., the first in channel '1' at time 17",
        ),
        ({"data": with_value(np.inf)}, ValueError, "data holds infinite values"),
        ({"data": np.zeros((0, 2))}, ValueError, "data is empty"),
        ({"data": []}, ValueError, "data is empty"),
        ({"data": np.zeros((2, 3, 4))}, ValueError, "data has 3 dimensions"),
        ({"data": np.array([["a"]])}, TypeError, "data holds"),
        ({"data": {"a": 1}}, TypeError, "data is of type dict"),
        ({"data": [series(), series(n_channels=3)]}, ValueError, "differ in their channels"),
        ({"data": series(WINDOW)}, ValueError, "window = 20 needs 21 time points.*has 20.*at most 19"),
        ({"data": series(1)}, ValueError, "window = 20 needs 21 time points"),
        ({"test": series(n_channels=3)}, ValueError, "test has 3 channels, data 2"),
        ({"test": with_value(np.nan)}, ValueError, "test has 1 missing"),
        ({"test": series(1)}, ValueError, "test part has fewer than 2 time points"),
        ({"test": series(), "test_fraction": 0.2}, ValueError, "leave one out"),
        ({"inputs": series(N - 1)}, ValueError, "inputs has 299 time points, data 300"),
        ({"inputs": with_value(np.nan)}, ValueError, "inputs has 1 missing"),
        ({"inputs": [series(), series()]}, ValueError, "inputs holds 2 series, data 1"),
        ({"inputs": series(), "test": series()}, ValueError, "test_inputs is missing"),
        ({"test_inputs": series(), "test": series()}, ValueError, "inputs is missing"),
        ({"test_inputs": series()}, ValueError, "without test"),
        (
            {"inputs": series(), "test": series(), "test_inputs": series(n_channels=1)},
            ValueError,
            "test_inputs has 1 channels, inputs 2",
        ),
        ({"val_fraction": 0.003}, ValueError, "val part has fewer than 2"),
        ({"val_fraction": 1.0}, ValueError, "val_fraction must be"),
        ({"test_fraction": -0.1}, ValueError, "test_fraction must be"),
        ({"window": 0}, ValueError, "window must be at least 1"),
        ({"window": 2.5}, TypeError, "window must be an integer"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batches_per_epoch": 0}, ValueError, "batches_per_epoch"),
        ({"seed": -1}, ValueError, "seed"),
        ({"scaling": "minmax"}, ValueError, "scaling must be"),
        ({"dtype": torch.float16}, ValueError, "dtype must be"),
        ({"response": []}, ValueError, "response must be"),
        ({"response": np.ones(200)}, ValueError, "too short for a response of 200"),
        ({"data": "EEGG"}, ValueError, "Did you mean 'EEG'"),
        ({"data": "lorenz63"}, ValueError, "pass make_trajectory"),
        ({"data": "EEG", "test_fraction": 0.1}, ValueError, "leave test_fraction out"),
        ({"data": "EEG", "inputs": np.zeros((9, 1))}, ValueError, "leave inputs out"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_data_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        module(**arguments)


def test_data_that_are_missing():
    with pytest.raises(TypeError, match="data is missing"):
        DynamicsDataModule(None)


def test_no_validation_and_no_test_part():
    data = module()
    assert data.val_dataloader() == [] and data.val_series is None and data.test_series is None
    with pytest.raises(ValueError, match="no test part"):
        data.test_dataloader()


def test_a_data_set_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("TSMODELS_DATA", str(tmp_path))
    np.savez(tmp_path / "EEG.npz", train=series(), test=series())
    data = module("EEG")
    assert len(data.train_series) == 225 and len(data.test_series) == 75 and data.hparams["name"] == "EEG"
