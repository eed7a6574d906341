"""FramesTask: losses and errors against their definitions, masks, rollouts, whole runs, what cannot be used."""

import doctest
import json
import runpy
import time
from pathlib import Path
from types import SimpleNamespace

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import tsmodels.tasks.frames
from tsmodels.metrics import psnr, ssim
from tsmodels.models import ConvLSTMForFrames, ConvS5ForFrames, DLinearForForecasting
from tsmodels.tasks import FramesTask
from tsmodels_datamodules import GriddedDataModule

pytestmark = [
    # torch deprecates what Lightning calls
    pytest.mark.filterwarnings(r"ignore:.*isinstance\(treespec, LeafSpec\)"),
    # batches are in memory: workers would only cost
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]
CONTEXT, N_FRAMES, HEIGHT, WIDTH = 3, 6, 12, 13


class Fading(nn.Module):
    """The next frame is a share of this one and of the sum of all before, which is the state."""

    def __init__(self):
        super().__init__()
        self.share, self.memory = nn.Parameter(torch.tensor(0.5)), nn.Parameter(torch.tensor(0.05))

    def forward(self, frames, state=None):
        before = torch.zeros_like(frames[:, 0]) if state is None else state
        predictions = []
        for frame in frames.unbind(1):
            predictions.append(self.share * frame + self.memory * before)
            before = before + frame
        return torch.stack(predictions, 1), before

    @torch.no_grad()
    def generate(self, context, n_frames, *, mask=None):
        predictions, state = self(context)
        frames = [predictions[:, -1:]]
        while len(frames) < n_frames:
            kept = frames[-1] if mask is None else torch.where(mask, frames[-1], 0)
            following, state = self(kept, state)
            frames.append(following)
        return torch.cat(frames, 1)


class Units:
    """A scaler: data = 10 scaled + 100, by channel."""

    def inverse(self, values, *, dim):
        assert dim == -3
        return 10 * values + 100


class Data(L.LightningDataModule):
    def __init__(self, *batches, scaler=None):
        super().__init__()
        self.batches, self.scaler = batches, scaler

    def train_dataloader(self):
        return DataLoader(self.batches, batch_size=None, collate_fn=lambda batch: batch)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader


def draw(*shape, seed=0):
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.fixture
def batch():
    return {"frames": draw(4, N_FRAMES, 2, HEIGHT, WIDTH)}


@pytest.fixture
def mask():
    return torch.arange(WIDTH) + torch.arange(HEIGHT)[:, None] // 2 < 12


def task(network=None, **options):
    return FramesTask(network or Fading(), **({"context": CONTEXT} | options))


def trainer(tmp_path, **options):
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    settings = dict.fromkeys(quiet, False) | {"max_epochs": 1} | options
    return L.Trainer(accelerator="cpu", default_root_dir=tmp_path, **settings)


def train_loss(task, batch, batch_idx=0):
    """The loss of a batch; there is no trainer to log it to."""
    task.log = lambda *args, **kwargs: None
    return task.training_step(batch, batch_idx)


def test_the_example_in_the_docstring_runs():
    assert doctest.testmod(tsmodels.tasks.frames).failed == 0


def test_losses_are_their_definitions(batch):
    frames = batch["frames"]
    difference = Fading()(frames[:, :-1])[0] - frames[:, 1:]
    squared, absolute = difference.square(), difference.abs()
    for loss, errors in {"mse": squared, "mae": absolute, "mse+mae": 0.5 * squared + 0.5 * absolute}.items():
        torch.testing.assert_close(train_loss(task(loss=loss), batch), errors.mean())
        published = errors.sum((2, 4)).mean()  # over channels and width, then the mean over the rest
        torch.testing.assert_close(train_loss(task(loss=loss, reduction="paper"), batch), published)


@pytest.mark.parametrize("by_channel", [False, True])
def test_a_masked_loss_is_the_mean_over_what_counts(batch, mask, by_channel):
    frames = batch["frames"]
    if by_channel:
        mask = torch.stack([mask, ~mask])
    difference = (Fading()(frames[:, :-1])[0] - frames[:, 1:])[mask.expand(4, N_FRAMES - 1, 2, -1, -1)]
    torch.testing.assert_close(train_loss(task(loss="mse"), batch | {"mask": mask}), difference.square().mean())


@pytest.mark.parametrize("rollout_frames", [0, 2])
@pytest.mark.parametrize("filling", [9.0, float("nan")])
def test_what_a_mask_hides_does_not_matter(batch, mask, rollout_frames, filling):
    seen = []
    for fill in (0.0, filling):
        torch.manual_seed(0)
        network = ConvLSTMForFrames(2, HEIGHT, WIDTH, d_model=4, n_layers=1, widths=(4,))
        one = task(network, rollout_frames=rollout_frames)
        hidden = {"frames": torch.where(mask, batch["frames"], fill), "mask": mask}
        loss = train_loss(one, hidden)
        loss.backward()
        gradients = [parameter.grad for parameter in one.parameters() if parameter.grad is not None]
        seen.append((loss.detach(), one.predict_step(hidden, 0), *gradients))
    for value, other in zip(*seen, strict=True):
        torch.testing.assert_close(value, other, rtol=0, atol=0)
    assert len(seen[0]) > 4 and seen[0][0].isfinite()


@pytest.mark.parametrize("rollout_frames", [1, 2, 3])
def test_a_rollout_is_trained_on_what_generate_makes(batch, rollout_frames):
    frames, network = batch["frames"], Fading()
    generated = network.generate(frames[:, :CONTEXT], rollout_frames)
    rollout = (generated - frames[:, CONTEXT : CONTEXT + rollout_frames]).square().mean()
    expected = train_loss(task(network, loss="mse"), batch) + rollout
    torch.testing.assert_close(train_loss(task(network, loss="mse", rollout_frames=rollout_frames), batch), expected)


def test_steps_that_a_network_makes_ready_are_its_forward_frame_by_frame(batch):
    """Loss and gradients of a network with ``stepper`` are those that it has without."""
    torch.manual_seed(0)
    network = ConvS5ForFrames(2, HEIGHT, WIDTH, d_model=8, d_state=8, n_layers=2, widths=(4, 6), groups=2).double()
    bare = nn.Module()  # the same network, of which a task sees less
    bare.inner, bare.generate, bare.forward = network, network.generate, network.forward
    batch = {"frames": batch["frames"].double().clamp(-1, 1)}
    losses, gradients = [], []
    for each in (network, bare):
        network.zero_grad()
        losses.append(train_loss(task(each, rollout_frames=3), batch))
        losses[-1].backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(*losses, rtol=1e-12, atol=0)
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-12)


def test_the_gradient_goes_through_the_rollout(batch):
    """The same derivative as by small differences of the parameter, in float64."""
    network = Fading().double()
    batch = {"frames": batch["frames"].double()}
    one = task(network, loss="mse", rollout_frames=3)
    train_loss(one, batch).backward()
    found, step = network.share.grad.clone(), 1e-6
    sides = []
    for sign in (1, -1):
        with torch.no_grad():
            network.share += sign * step
            sides.append(train_loss(one, batch))
            network.share -= sign * step
    torch.testing.assert_close(found, (sides[0] - sides[1]) / (2 * step), rtol=1e-6, atol=0)


@pytest.mark.parametrize("with_mask", [False, True])
def test_errors_are_those_of_generated_frames_by_step(batch, mask, with_mask, tmp_path):
    other = {"frames": draw(2, N_FRAMES, 2, HEIGHT, WIDTH, seed=1)}  # a smaller last batch
    extras = {"mask": mask} if with_mask else {}
    one, run = task(), trainer(tmp_path)
    run.test(one, Data(batch | extras, other | extras, scaler=Units()), verbose=False)
    frames = torch.cat([batch["frames"], other["frames"]])
    kept = torch.where(mask, frames, 0) if with_mask else frames
    forecast, truth = one.network.generate(kept[:, :CONTEXT], N_FRAMES - CONTEXT, **extras), kept[:, CONTEXT:]
    following = one.network(kept[:, :-1])[0][:, CONTEXT - 1 :].detach()
    counts = (mask if with_mask else torch.ones_like(mask)).expand(truth.shape)

    def by_step(errors):
        return torch.stack([errors[:, t][counts[:, t]].mean() for t in range(N_FRAMES - CONTEXT)])

    expected = {
        "mse": by_step((forecast - truth).square()) / 4,
        "mae": by_step((forecast - truth).abs()) / 2,
        "psnr": psnr(forecast, truth, value_range=(-1, 1), **extras).mean(0),
        "ssim": ssim(forecast, truth, value_range=(-1, 1), **extras).mean(0),
        "mse_original": 100 * by_step((forecast - truth).square()),
        "mae_original": 10 * by_step((forecast - truth).abs()),
        "one_step_mse": by_step((following - truth).square()) / 4,
    }
    assert set(expected) < set(one.horizon_metrics)
    for name, values in expected.items():
        torch.testing.assert_close(one.horizon_metrics[name], values, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(run.callback_metrics[f"test/{name}"], values.mean(), rtol=1e-4, atol=1e-6)
    mean_mse = expected["mse"].mean()
    torch.testing.assert_close(run.callback_metrics["test/psnr_of_mse"], -10 * mean_mse.log10(), rtol=1e-4, atol=0)


def test_a_field_is_measured_in_its_units_where_it_counts(mask, tmp_path):
    """With the datamodule of fields: the errors of repeating the last frame, from the field itself."""

    class Last(Fading):
        def generate(self, context, n_frames, *, mask=None):
            return context[:, -1:].expand(-1, n_frames, -1, -1, -1)

    field = np.random.default_rng(0).normal(20, 5, size=(30, HEIGHT, WIDTH))
    data = GriddedDataModule(np.where(mask, field, 1e6), mask=mask.numpy(), window=4, horizon=3, split=(15, 22))
    one = task(Last(), value_range=None, context=data.context)
    run = trainer(tmp_path)
    run.fit(one, data)
    run.test(one, data, verbose=False)
    ocean = field[:, mask.numpy()]
    for step in range(3):
        origins = np.arange(21, 30 - 3)  # the first test frame is 22
        expected = np.square(ocean[origins + 1 + step] - ocean[origins]).mean()
        assert float(one.horizon_metrics["mse_original"][step]) == pytest.approx(expected, rel=1e-4)


def test_fields_have_no_range_and_small_frames_no_ssim(batch, tmp_path):
    field = task(value_range=None)
    trainer(tmp_path).test(field, Data({"frames": 5 * batch["frames"]}), verbose=False)
    assert set(field.horizon_metrics) == {"mse", "mae", "one_step_mse", "one_step_mae"}
    small = task()
    trainer(tmp_path).test(small, Data({"frames": batch["frames"][..., :10]}), verbose=False)
    assert "psnr" in small.horizon_metrics and "ssim" not in small.horizon_metrics


def test_predictions_are_the_frames_after_the_context(batch):
    one = task()
    found = one.predict_step(batch, 0)
    torch.testing.assert_close(found, one.network.generate(batch["frames"][:, :CONTEXT], N_FRAMES - CONTEXT))
    torch.testing.assert_close(one(batch["frames"]), one.network(batch["frames"])[0])


def test_a_whole_run_learns_and_logs(tmp_path):
    start = draw(4, 1, 2, HEIGHT, WIDTH)
    shares = 0.9 ** torch.arange(N_FRAMES)
    fading = {"frames": start * shares.view(-1, 1, 1, 1)}
    one, run = task(lr=0.05, rollout_frames=2), trainer(tmp_path, max_epochs=60)
    run.fit(one, Data(fading))
    assert run.callback_metrics["val/mse"] < 1e-4 and one.network.share > 0.8
    logged = {f"val/{name}" for name in ("loss", "mse", "mae", "psnr", "ssim", "psnr_of_mse", "one_step_mse")}
    assert logged | {"train/loss"} == set(run.callback_metrics)


def test_a_checkpoint_reloads_without_arguments(batch, tmp_path):
    network = ConvLSTMForFrames(2, HEIGHT, WIDTH, d_model=4, n_layers=1, widths=(4, 4))
    one, run = task(network, loss="mae", rollout_frames=1, value_range=(-2, 2)), trainer(tmp_path)
    run.fit(one, Data(batch))
    run.save_checkpoint(tmp_path / "task.ckpt")
    loaded = FramesTask.load_from_checkpoint(tmp_path / "task.ckpt", weights_only=True)
    assert (loaded.loss, loaded.rollout_frames, loaded.context, loaded.value_range) == ("mae", 1, CONTEXT, (-2.0, 2.0))
    torch.testing.assert_close(loaded.predict_step(batch, 0), one.predict_step(batch, 0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "huber"}, "loss must be one of 'mse\\+mae', 'mse', 'mae'"),
        ({"reduction": "sum"}, "reduction must be one of"),
        ({"context": 0}, "context must be at least 1"),
        ({"rollout_frames": -1}, "rollout_frames must be at least 0"),
        ({"value_range": (1, -1)}, "value_range must be two numbers"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"schedule": "stairs"}, "schedule"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_choices_that_do_not_exist(options, message):
    with pytest.raises(ValueError, match=message):
        task(**options)


def test_networks_that_do_not_make_frames(batch):
    with pytest.raises(TypeError, match=r"DLinearForForecasting has no generate\(context, n_frames\)"):
        FramesTask(DLinearForForecasting(2, 10, 5))

    class Cut(Fading):
        def forward(self, frames, state=None):
            return frames[..., 1:], state

        def generate(self, context, n_frames):
            return context[:, :n_frames, :, :, 1:]

    with pytest.raises(ValueError, match=r"Cut returned predictions of the next frame \(4, 5, 2, 12, 12\), not"):
        train_loss(task(Cut()), batch)
    with pytest.raises(ValueError, match=r"Cut returned generated frames \(4, 3, 2, 12, 12\), not"):
        task(Cut()).predict_step(batch, 0)


def test_batches_that_cannot_be_used(batch, mask):
    frames = batch["frames"]
    with pytest.raises(ValueError, match=r"must be \(batch, time, channel, height, width\)"):
        train_loss(task(), {"frames": frames[:, :, 0]})
    with pytest.raises(ValueError, match="a batch has 6 frames, at least 7 are needed with context=6"):
        task(context=6).predict_step(batch, 0)
    with pytest.raises(ValueError, match="at least 7 are needed with context=3 and rollout_frames=4"):
        train_loss(task(rollout_frames=4), batch)
    with pytest.raises(ValueError, match="at least 2 are needed"):
        train_loss(task(), {"frames": frames[:, :1]})
    with pytest.raises(TypeError, match="mask must be bool"):
        train_loss(task(), batch | {"mask": mask.float()})
    with pytest.raises(ValueError, match=r"mask \(12, 12\) must be"):
        train_loss(task(), batch | {"mask": mask[:, :-1]})
    with pytest.raises(ValueError, match="mask covers everything"):
        train_loss(task(), batch | {"mask": torch.zeros_like(mask)})
    with pytest.raises(ValueError, match=r"frames reach from .* beyond value_range=\(-1.0, 1.0\): scale them"):
        train_loss(task(), {"frames": 3 * frames})


def test_frames_of_changing_size(batch, tmp_path):
    longer = {"frames": draw(2, N_FRAMES + 1, 2, HEIGHT, WIDTH)}
    with pytest.raises(ValueError, match="4 frames to forecast after others had 3"):
        trainer(tmp_path).test(task(), Data(batch, longer), verbose=False)


def test_a_loss_that_is_no_number_stops_the_run(batch, tmp_path):
    batch["frames"][0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match=r"val/loss is nan|train/loss is nan"):
        trainer(tmp_path, num_sanity_val_steps=0, limit_val_batches=0).fit(task(), Data(batch))


def moving_digits():
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "bench_moving_digits.py")))


def test_the_table_of_the_benchmark_gives_differences_with_their_standard_error(tmp_path, capsys):
    bench = moving_digits()
    fixed = dict.fromkeys(bench.SETTINGS, 0) | {"part": "val", "videos": 1, "steps": 1, "parameters": 1}
    here = bench.MovingMNISTDataModule(size=bench.SIZE).source
    for name, values in {"ConvS5": [1.0, 2, 3], "ConvLSTM": [0.0, 2]}.items():
        for seed, value in enumerate(values):
            found = dict.fromkeys(["one_step_mse", "mse_10", "ssim_10", "mse_40", "ssim_40"], value)
            (tmp_path / f"{name}_{seed}.json").write_text(json.dumps({"name": name, "digits": here, **fixed, **found}))
    for one, other, shift in (("ConvLSTM", "ConvS5", "-1.0000"), ("ConvS5", "ConvLSTM", "+1.0000")):
        bench.table(SimpleNamespace(folder=tmp_path, reference=other))
        row = " | ".join([f"{shift} ± {(1 / 3 + 2 / 2) ** 0.5:.4f}"] * 5)
        assert f"| {one} minus {other} | | | {row} |" in capsys.readouterr().out
    for path in tmp_path.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"digits": "other"}))
    with pytest.raises(SystemExit, match=f"trained on other digits, the floors would be of {here} digits"):
        bench.table(SimpleNamespace(folder=tmp_path, reference="ConvS5"))


@pytest.mark.filterwarnings("ignore:You defined a `validation_step`")
def test_the_benchmark_moves_its_learning_rate_and_loss_as_its_time_goes():
    # it once was stepped by epochs, of which that run has one: the rate stayed at the first of the warm-up
    bench = moving_digits()
    clock = bench.CPUTime(seconds=1e9)
    timetable = bench.Timetable(clock, squared_until=0.6, rollout_from=0.5, rollout_frames=30)
    rates, chosen = [], []
    for share in (0.0, 0.025, 0.05, 0.525, 1.0):
        clock.start = time.process_time() - 1e9 * share
        rates.append(clock.rate())
        trained, batch = SimpleNamespace(), {"frames": torch.zeros(1, 40, 1, 1, 1)}
        timetable.on_train_batch_start(None, trained, batch, 0)
        chosen.append((trained.loss, trained.rollout_frames, batch["frames"].shape[1]))
    assert rates == pytest.approx([0, 0.5, 1, 0.5, 0], abs=1e-6)
    assert chosen == [("mse", 0, 20)] * 3 + [("mse", 30, 40), ("mse+mae", 30, 40)]
    choices = {"name": "ConvLSTM", "preset": "tiny", "minutes": 4 / 60, "lr": 1e-3, "seed": 0, "batch_size": 1}
    choices |= {"squared_until": 0.6, "rollout_from": 0.5, "rollout_frames": 2}
    _, spent = bench.trained(SimpleNamespace(**choices))
    assert spent["steps"] > 1
    assert 2e-4 < spent["peak_lr"] <= 1e-3
