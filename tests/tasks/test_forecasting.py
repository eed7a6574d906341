"""The forecasting task: losses against their definitions, metrics, auxiliary losses, checkpoints."""

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn
from torch.utils.data import DataLoader

from tsmodels.models import DLinearForForecasting
from tsmodels.tasks import ForecastingTask
from tsmodels.tasks._forecasts import Forecasts, mase_scale
from tsmodels.tasks._metrics import ForecastErrors

LOOKBACK, HORIZON, CHANNELS = 12, 4, 2


class Constant(nn.Module):
    """Forecasts numbers that it is given, whatever it sees."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = nn.Parameter(outputs)

    def forward(self, x):
        return self.outputs.expand(len(x), *self.outputs.shape)


class WithAuxiliary(Constant):
    def forward_with_auxiliary(self, x):
        return self.forward(x), self.outputs.square().mean()


class Units:
    """A scaler: data = 10 scaled + 100."""

    def inverse(self, values):
        return 10 * values + 100


class Data(L.LightningDataModule):
    def __init__(self, batch, scaler=None):
        super().__init__()
        self.batch, self.scaler = batch, scaler

    def train_dataloader(self):
        return DataLoader([0], batch_size=1, collate_fn=lambda _: self.batch)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def batch():
    return {"x": draw(3, LOOKBACK, CHANNELS), "y": draw(3, HORIZON, CHANNELS, seed=1)}


def trainer(tmp_path, **arguments):
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    settings = dict.fromkeys(quiet, False) | {"max_epochs": 1} | arguments
    return L.Trainer(accelerator="cpu", default_root_dir=tmp_path, **settings)


def naive(loss, outputs, batch, levels, seasonality):
    """The loss of one element after the other, by its formula."""
    terms = []
    for case, step, channel in np.ndindex(*batch["y"].shape):
        y, out = batch["y"][case, step, channel].item(), outputs[case, step, channel].numpy()
        past = batch["x"][case, :, channel].numpy()
        if loss == "pinball":
            terms.append(np.mean([max(q * (y - f), (q - 1) * (y - f)) for q, f in zip(levels, out, strict=True)]))
        elif loss == "student_t":
            freedom = 2 + np.log1p(np.exp(out[2]))
            terms.append(-stats.t.logpdf(y, freedom, out[0], np.exp(out[1])))
        else:
            error = abs(y - out)
            naive_error = np.abs(past[seasonality:] - past[:-seasonality]).mean()
            terms.append(
                {
                    "mse": error**2,
                    "mae": error,
                    "huber": error**2 / 2 if error < 1 else error - 0.5,
                    "smape": 200 * error / (abs(y) + abs(out)),
                    "mase": error / naive_error,
                }[loss]
            )
    return np.mean(terms)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "smape", "mase", "pinball", "student_t"])
def test_loss_equals_its_formula(batch, loss):
    levels = (0.1, 0.5, 0.8) if loss == "pinball" else None
    forecasts = Forecasts(loss, levels, seasonality=3)
    shape = (*batch["y"].shape, forecasts.n_outputs) if forecasts.n_outputs > 1 else batch["y"].shape
    outputs = draw(*shape, seed=2)
    assert forecasts.loss_of(outputs, batch).item() == pytest.approx(naive(loss, outputs, batch, levels, 3), rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", "mase", "student_t"])
def test_what_was_not_observed_does_not_count(batch, loss):
    forecasts = Forecasts(loss)
    outputs = draw(*batch["y"].shape, *([3] if loss == "student_t" else []), seed=2)
    observed = draw(*batch["y"].shape, seed=3) > 0
    masks = {"mask": torch.ones_like(batch["x"], dtype=torch.bool), "y_mask": observed}
    spoiled = batch | {"y": torch.where(observed, batch["y"], 1e3)}
    assert torch.equal(forecasts.loss_of(outputs, batch | masks), forecasts.loss_of(outputs, spoiled | masks))


def test_mase_scale_leaves_out_missing_steps_and_is_never_zero():
    past = torch.tensor([1.0, 2.0, 99.0, 4.0, 6.0]).view(1, 5, 1)
    mask = torch.tensor([True, True, False, True, True]).view(1, 5, 1)
    assert mase_scale(past, mask, 1).item() == pytest.approx((1 + 2) / 2)
    assert mase_scale(torch.ones(1, 5, 1), None, 1).item() > 0
    with pytest.raises(ValueError, match="lookback longer than seasonality=5"):
        mase_scale(past, None, 5)


def test_quantiles_of_a_distribution_are_its_own():
    outputs = torch.tensor([1.0, 0.5, 2.0]).expand(1, 1, 1, 3)
    found = Forecasts("student_t").quantiles(outputs, [0.1, 0.5, 0.99])[0, 0, 0]
    expected = stats.t.ppf([0.1, 0.5, 0.99], 2 + np.log1p(np.exp(2.0)), 1.0, np.exp(0.5))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_quantiles_between_and_beyond_the_levels_continue_a_normal_tail():
    levels = (0.1, 0.5, 0.9)
    outputs = torch.tensor(stats.norm.ppf(levels, 3, 2)).expand(1, 1, 1, 3)
    alpha = [0.01, 0.3, 0.5, 0.975]
    found = Forecasts("pinball", levels).quantiles(outputs, alpha)[0, 0, 0]
    np.testing.assert_allclose(found, stats.norm.ppf(alpha, 3, 2), rtol=1e-6)


def test_crossing_quantiles_are_sorted():
    outputs = torch.tensor([3.0, 1.0, 2.0]).expand(1, 1, 1, 3)
    forecasts = Forecasts("pinball", (0.1, 0.5, 0.9))
    assert forecasts.point(outputs).item() == 2.0
    np.testing.assert_allclose(forecasts.quantiles(outputs, [0.1, 0.9])[0, 0, 0], [1.0, 3.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "crps"}, "loss must be one of"),
        ({"quantiles": (0.5,)}, "belong to loss='pinball'"),
        ({"loss": "pinball", "quantiles": (0.1, 0.9)}, "with 0.5"),
        ({"loss": "pinball", "quantiles": (0.5,)}, "two or more"),
        ({"loss": "pinball", "quantiles": (0.5, 0.5, 0.9)}, "different levels"),
        ({"loss": "pinball", "quantiles": (0.5, 1.0)}, "levels in"),
        ({"loss": "mase", "seasonality": 0}, "seasonality must be at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ForecastingTask(Constant(torch.zeros(HORIZON, CHANNELS)), **arguments)


def test_wrong_shape_of_forecast_names_the_remedy(batch, tmp_path):
    task = ForecastingTask(Constant(torch.zeros(HORIZON, CHANNELS)), loss="student_t")
    with pytest.raises(ValueError, match="n_outputs=3"):
        trainer(tmp_path, limit_val_batches=0).fit(task, Data(batch))


def test_covariates_a_network_does_not_take_are_refused(batch):
    task = ForecastingTask(Constant(torch.zeros(HORIZON, CHANNELS)))
    with pytest.raises(ValueError, match="known ahead"):
        task.predict_step(batch | {"exog": torch.zeros(3, LOOKBACK + HORIZON, 1)}, 0)


def test_metrics_in_scaled_and_original_units(batch, tmp_path):
    task = ForecastingTask(Constant(draw(HORIZON, CHANNELS, seed=2)))
    (logged,) = trainer(tmp_path).test(task, Data(batch, Units()), verbose=False)
    error = (batch["y"] - task.network.outputs).detach()
    assert logged["test/mse"] == pytest.approx(error.square().mean().item(), rel=1e-5)
    assert logged["test/loss"] == pytest.approx(logged["test/mse"], rel=1e-5)
    assert logged["test/mae"] == pytest.approx(error.abs().mean().item(), rel=1e-5)
    assert logged["test/mse_original"] == pytest.approx(100 * logged["test/mse"], rel=1e-4)
    assert logged["test/mae_original"] == pytest.approx(10 * logged["test/mae"], rel=1e-4)
    y, forecast, past = (Units().inverse(t.detach()) for t in (batch["y"], batch["y"] - error, batch["x"]))
    size = y.abs() + forecast.abs()
    assert logged["test/smape"] == pytest.approx((200 * (y - forecast).abs() / size).mean().item(), rel=1e-4)
    naive_error = past.diff(dim=1).abs().mean(1, keepdim=True)
    assert logged["test/mase"] == pytest.approx(((y - forecast).abs() / naive_error).mean().item(), rel=1e-4)
    torch.testing.assert_close(task.horizon_metrics["mse"], error.square().mean((0, 2)))
    torch.testing.assert_close(task.horizon_metrics["mae"], error.abs().mean((0, 2)))


def test_errors_add_up_over_batches(batch):
    whole, parts = ForecastErrors(), ForecastErrors()
    forecast = draw(*batch["y"].shape, seed=2)
    whole.update(forecast, batch)
    for rows in (slice(0, 1), slice(1, 3)):
        parts.update(forecast[rows], {name: tensor[rows] for name, tensor in batch.items()})
    for name, value in whole.compute().items():
        torch.testing.assert_close(parts.compute()[name], value)


def test_the_auxiliary_loss_is_added_in_training_only(batch, tmp_path):
    values = draw(HORIZON, CHANNELS, seed=2)
    plain, added = ForecastingTask(Constant(values.clone())), ForecastingTask(WithAuxiliary(values.clone()))
    trained, tested = [], []
    for task in (plain, added):
        tested.append(trainer(tmp_path).test(task, Data(batch), verbose=False)[0]["test/loss"])
        run = trainer(tmp_path, limit_val_batches=0)
        run.fit(task, Data(batch))
        trained.append(run.callback_metrics["train/loss"].item())
    assert trained[1] - trained[0] == pytest.approx(values.square().mean().item(), rel=1e-4)
    assert tested[0] == tested[1]


def test_a_checkpoint_reloads_without_arguments(batch, tmp_path):
    network = DLinearForForecasting(CHANNELS, LOOKBACK, HORIZON, 3, kernel_size=3)
    task = ForecastingTask(network, loss="pinball", quantiles=(0.1, 0.5, 0.9), seasonality=2)
    run = trainer(tmp_path)
    run.fit(task, Data(batch))
    run.save_checkpoint(tmp_path / "task.ckpt")
    loaded = ForecastingTask.load_from_checkpoint(tmp_path / "task.ckpt", weights_only=True)
    assert loaded.forecasts.levels == (0.1, 0.5, 0.9) and loaded.forecasts.seasonality == 2
    torch.testing.assert_close(loaded.predict_step(batch, 0), task.predict_step(batch, 0))


def test_training_lowers_the_loss(tmp_path):
    t = torch.arange(LOOKBACK + HORIZON) * 0.7 + torch.arange(64)[:, None]
    waves = torch.stack([t.sin(), t.cos()], -1)
    batch = {"x": waves[:, :LOOKBACK], "y": waves[:, LOOKBACK:]}
    task = ForecastingTask(DLinearForForecasting(CHANNELS, LOOKBACK, HORIZON, kernel_size=3), lr=0.05)
    run = trainer(tmp_path, max_epochs=100)
    run.fit(task, Data(batch))
    assert run.callback_metrics["val/mse"] < 0.05 < batch["y"].square().mean()
