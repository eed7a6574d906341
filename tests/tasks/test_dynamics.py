"""DynamicsTask: forcing of every mode, what is estimated and penalised, whole runs, steps that are skipped."""

import doctest
import math

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tsmodels.models import PLRNN, DLinearForForecasting
from tsmodels.tasks import DYNAMICS_PRESETS, DynamicsTask
from tsmodels.tasks._dynamics_alpha import (
    annealed,
    estimate_alpha,
    jacobian_norm,
    smallest_alpha,
    spectral_norms,
)
from tsmodels.tasks._dynamics_optim import FlatRAdam, epoch_schedule
from tsmodels_datamodules import DynamicsDataModule, make_trajectory

pytestmark = [
    # torch deprecates what Lightning calls
    pytest.mark.filterwarnings(r"ignore:.*isinstance\(treespec, LeafSpec\)"),
    # batches are gathers from memory: workers would only cost
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero"),  # without validation
]
FORCINGS = ["gtf", "adaptive", "annealed", "sparse", "free"]


def network(n_channels=3, n_inputs=0, seed=0, **choices):
    torch.manual_seed(seed)
    return PLRNN(n_channels, n_inputs, **({"hidden_dim": 8} | choices))


def normal(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def trainer(**options):
    silent = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return L.Trainer(**silent | {"enable_model_summary": False, "accelerator": "cpu", "max_epochs": 1} | options)


class Circle(DynamicsDataModule):
    """Windows of a circle, without noise."""

    def __init__(self, n=400, **options):
        angle = 0.2 * np.arange(n)
        series = np.stack([np.cos(angle), np.sin(angle)], 1)
        small = {"window": 20, "batch_size": 4, "batches_per_epoch": 6, "val_fraction": 0.25, "test_fraction": 0.25}
        super().__init__(series, **(small | options))


def test_the_example_in_the_docstring_runs():
    (test,) = doctest.DocTestFinder(recurse=False).find(DynamicsTask, "DynamicsTask", globs={})
    assert doctest.DocTestRunner().run(test).failed == 0


# Forcing


@pytest.mark.parametrize(
    ("choices", "strengths"),
    [
        ({"forcing": "gtf", "alpha": 0.3}, [0.3] * 7),
        ({"forcing": "sparse", "forcing_interval": 3}, [0, 0, 1, 0, 0, 1, 0]),
        ({"forcing": "sparse", "forcing_interval": 1}, [1] * 7),
        ({"forcing": "free"}, [0] * 7),
        ({"forcing": "adaptive"}, [1] * 7),  # before the first estimate
        ({"forcing": "annealed", "alpha": 0.6}, [0.6] * 7),  # in the first epoch
    ],
    ids=str,
)
def test_strength_of_the_forcing(choices, strengths):
    net, x = network(), normal(4, 8, 3)
    task = DynamicsTask(net, **choices)
    expected = net(x, alpha=torch.tensor(strengths))
    torch.testing.assert_close(task(x), expected, rtol=0, atol=1e-6)
    assert task._error({"x": x}) == F.mse_loss(task(x), x[:, 1:])


def test_the_loss_does_not_feel_the_last_forcing():
    net, x = network(), normal(4, 8, 3)
    changed = torch.cat([x[:, :-1], x[:, -1:] + 1], 1)
    for task in (DynamicsTask(net, alpha=0.3), DynamicsTask(net, forcing="sparse", forcing_interval=7)):
        assert torch.equal(task(changed), task(x))


def test_inputs_and_signal_reach_the_network():
    net = network(n_inputs=2, observation="linear", response=[0.5, 0.5])
    x, signal, s = normal(4, 8, 3), normal(4, 8, 3, seed=2), normal(4, 7, 2, seed=3)
    task = DynamicsTask(net, alpha=0.3)
    expected = F.mse_loss(net(x, s, 0.3, signal), x[:, 2:])
    torch.testing.assert_close(task._error({"x": x, "s": s, "signal": signal}), expected)


def test_noise_is_in_the_whole_window_and_the_same_in_every_run():
    net, x = network(), torch.zeros(64, 51, 3)
    quiet, noisy = DynamicsTask(net), DynamicsTask(net, noise=0.1, seed=3)
    drawn = noisy._noisy(x)
    assert drawn.std() == pytest.approx(0.1, rel=0.05)
    assert drawn[:, 0].std() == pytest.approx(0.1, rel=0.2)
    again, other = (DynamicsTask(net, noise=0.1, seed=seed) for seed in (3, 4))
    assert torch.equal(again._error({"x": x}), quiet._error({"x": drawn}))
    assert not torch.equal(other._noisy(x), drawn)
    assert not torch.equal(noisy._noisy(x), drawn)  # the next batch


# How much forcing is needed


def diagonal(*entries):
    return torch.tensor(entries, dtype=torch.float64).diag()


def test_norms_of_hand_made_jacobians():
    rotation = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    first = torch.stack([diagonal(2.0, 0.1), diagonal(0.3, 8.0)])  # norms 2, 8
    second = torch.stack([3 * rotation, -3 * rotation])  # norms 3, 3; the mean is 0
    J = torch.stack([first, second])
    assert jacobian_norm(J, "product").item() == pytest.approx(4.0)  # sqrt(2 * 8), 3
    assert jacobian_norm(J, "batch_max").item() == pytest.approx(8.0)
    assert jacobian_norm(J, "mean_jacobian").item() == pytest.approx(4.05)  # diag(1.15, 4.05)
    silent = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    assert jacobian_norm(silent, "product").item() == pytest.approx(1e-8)  # a number, not exp(-inf)


@pytest.mark.parametrize("M", [1, 2, 3, 4, 7])
def test_spectral_norms(M):
    J = torch.randn(50, 4, M, M, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(spectral_norms(J), torch.linalg.matrix_norm(J, 2), rtol=1e-10, atol=0)
    same = 2 * torch.eye(M).expand(3, M, M)  # eigenvalues that coincide
    torch.testing.assert_close(spectral_norms(same), torch.full((3,), 2.0), rtol=1e-3, atol=0)
    single = spectral_norms(J.float()).double()
    torch.testing.assert_close(single, torch.linalg.matrix_norm(J, 2), rtol=1e-4, atol=1e-4)


def test_the_least_forcing_that_contracts():
    assert smallest_alpha(4.0) == pytest.approx(0.75)
    assert smallest_alpha(1.0) == smallest_alpha(0.5) == smallest_alpha(0.0) == 0.0


@pytest.mark.parametrize("method", ["product", "batch_max", "mean_jacobian"])
def test_jacobians_are_those_along_the_signal(method):
    net, x = network(latent_dim=5).double(), normal(4, 6, 3).double()
    with torch.no_grad():
        net.W1.mul_(10)  # so that something is needed
    states = torch.cat([x, x @ net.observed.L.mT], -1).detach()
    expected = smallest_alpha(jacobian_norm(net.jacobian(states), method).item())
    assert expected > 0
    assert estimate_alpha(net, x, method) == pytest.approx(expected)
    assert math.isnan(estimate_alpha(net, x / 0, method))


def test_the_norm_bound_is_above_every_jacobian():
    net, x = network().double(), normal(50, 20, 3).double()
    theta = {name: p.detach() for name, p in net.theta.items()}
    bound = theta["A"].abs().max() + torch.linalg.matrix_norm(theta["W1"], 2) * torch.linalg.matrix_norm(theta["W2"], 2)
    assert estimate_alpha(net, x, "norm_bound") == pytest.approx(1 - 1 / bound.item())
    assert estimate_alpha(net, x, "batch_max") <= estimate_alpha(net, x, "norm_bound")


def test_annealing_is_one_sided():
    assert annealed(0.2, 0.5, 0.9) == 0.5
    assert annealed(0.5, 0.2, 0.9) == pytest.approx(0.47)


def test_adaptive_forcing_follows_every_second_batch():
    net, seen = network(2, hidden_dim=4), []

    class Watched(DynamicsTask):
        def training_step(self, batch, batch_idx):
            before = float(self.alpha)
            estimate = estimate_alpha(self.network, batch["x"][:, 1:], "batch_max")
            super().training_step(batch, batch_idx)
            seen.append((before, estimate, float(self.alpha)))

    task = Watched(net, forcing="adaptive", alpha_method="batch_max", alpha_every=2, alpha_decay=0.5)
    trainer(max_epochs=2).fit(task, Circle())
    assert seen[0][0] == 1.0
    for batch, (before, estimate, after) in enumerate(seen):
        expected = before if batch % 2 == 0 else annealed(before, estimate, 0.5)
        assert after == pytest.approx(expected)
    assert seen[-1][2] < 0.9


def test_annealed_forcing_goes_from_the_first_strength_to_the_last():
    task, runner, seen = (
        DynamicsTask(network(2), forcing="annealed", alpha=0.9, alpha_end=0.1),
        trainer(max_epochs=5),
        [],
    )
    runner.callbacks.append(SeesAlpha(seen))
    runner.fit(task, Circle())
    assert seen == pytest.approx([0.9, 0.7, 0.5, 0.3, 0.1])


class SeesAlpha(L.Callback):
    def __init__(self, seen):
        self.seen = seen

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 0:
            self.seen.append(float(pl_module.alpha))


# Penalties


def penalty(net, **weights):
    value = DynamicsTask(net, **weights).penalties(net)
    return None if value is None else value.item()


def test_penalties_of_shallow_and_dendritic_maps():
    net = network(4, n_inputs=2)
    theta = {name: p.detach() for name, p in net.theta.items()}
    others = sum(theta[name].square().sum() for name in ("W1", "h1", "W2", "h2"))
    assert penalty(net) is None
    assert penalty(net, l2=0.1) == pytest.approx(0.1 * float((1 - theta["A"]).square().sum() + others))
    slow = ((1 - theta["A"][2:]).norm() + theta["W1"][2:].norm() + theta["h1"][2:].norm()).item()
    assert penalty(net, manifold=0.1) == pytest.approx(0.1 * slow)
    assert penalty(net, manifold=0.1, l2=0.1) == pytest.approx(penalty(net, l2=0.1) + 0.1 * slow)
    net = network(cell="cdendplrnn")
    theta = {name: p.detach() for name, p in net.theta.items()}
    others = sum(theta[name].square().sum() for name in ("W", "h", "a"))
    assert penalty(net, l2=0.1) == pytest.approx(0.1 * float((1 - theta["A"]).square().sum() + others))


def test_penalties_of_almost_linear_maps_and_of_the_observation():
    net = network(cell="alrnn")
    with torch.no_grad():
        net.A.copy_(torch.tensor([0.35, 0.45, -1.0]))
        net.W.fill_diagonal_(0.0)
    assert penalty(net, linearity=2.0) == pytest.approx(2 * math.hypot(0.3, 0.4))
    net = network(2, observation="linear")
    with torch.no_grad():
        net.observed.B.copy_(torch.tensor([[0.0, 3.0], [1.0, 0.0]]))
    assert penalty(net, observation_penalty=0.5) == pytest.approx(0.5 * (1 - 3.0) ** 2)


# Optimiser and schedule


def test_flat_radam_is_radam():
    torch.manual_seed(0)
    flat = [torch.nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in ((3, 4), (5,), (1, 2, 3))]
    plain = [torch.nn.Parameter(p.detach().clone()) for p in flat]
    ours, theirs = FlatRAdam(flat, 0.1), torch.optim.RAdam(plain, 0.1)
    for step in range(12):  # rectified from the sixth
        if step == 8:  # as after loading a checkpoint
            state, ours = ours.state_dict(), FlatRAdam(flat, 0.1)
            ours.load_state_dict(state)
        for p, q in zip(flat, plain, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        ours.step()
        theirs.step()
    for p, q in zip(flat, plain, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-13)
    before = [p.detach().clone() for p in flat]
    ours.zero_grad()
    ours.step()
    assert all(torch.equal(p, q) for p, q in zip(flat, before, strict=True))


def rates(schedule, n_epochs):
    optimizer = FlatRAdam([torch.nn.Parameter(torch.ones(1))], 1e-3)
    scheduler, found = epoch_schedule(schedule, optimizer, n_epochs, 1e-2)["scheduler"], []
    for _ in range(n_epochs + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_schedules():
    assert rates("exponential", 4) == pytest.approx([1e-3, 10**-3.5, 1e-4, 10**-4.5, 1e-5])
    assert rates("milestones", 10) == pytest.approx([1e-3] + [1e-4] * 7 + [1e-5, 1e-6, 1e-6])
    with pytest.raises(ValueError, match="set max_epochs"):
        trainer(max_epochs=-1, max_steps=3).fit(DynamicsTask(network(2)), Circle())


# Runs


@pytest.mark.parametrize("forcing", FORCINGS)
def test_every_forcing_learns_and_logs(forcing):
    task = DynamicsTask(network(2), forcing=forcing, lr=2e-2, lr_end=1e-3, noise=0.01, alpha_decay=0.9, seed=1)
    data, runner, losses = Circle(batches_per_epoch=50), trainer(max_epochs=10, check_val_every_n_epoch=10), []
    runner.callbacks.append(SeesLosses(losses))
    runner.fit(task, data)
    assert losses[-1] < 0.1 * losses[0]
    assert runner.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-3)
    measures = {"d_stsp", "d_h", "pe_20", "lyapunov_max", "divergent"}
    expected = {"train/loss", "train/alpha", "train/skipped"} | {f"val/{name}" for name in measures}
    assert set(runner.callback_metrics) == expected
    assert runner.callback_metrics["train/skipped"] == 0
    assert runner.callback_metrics["val/divergent"] == 0
    assert all(torch.isfinite(value) for value in runner.callback_metrics.values())
    alpha = {"gtf": 0.15, "sparse": 1 / 16, "free": 0.0, "annealed": 0.05}.get(forcing, float(task.alpha))
    assert runner.callback_metrics["train/alpha"] == pytest.approx(alpha)


@pytest.mark.parametrize(
    "choices",
    [{"observation": "linear", "latent_dim": 4}, {"latent_dim": 5, "cell": "alrnn"}, {"cell": "cdendplrnn"}],
    ids=str,
)
def test_every_parameter_is_trained(choices):
    net = network(2, **choices)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    trainer().fit(DynamicsTask(net), Circle(val_fraction=0.0))
    assert not [name for name, p in net.named_parameters() if torch.equal(p, before[name])]


class SeesLosses(L.Callback):
    def __init__(self, losses):
        self.losses = losses

    def on_train_end(self, trainer, pl_module):
        self.losses.append(float(trainer.callback_metrics["train/loss"]))

    def on_train_epoch_start(self, trainer, pl_module):
        if "train/loss" in trainer.callback_metrics:
            self.losses.append(float(trainer.callback_metrics["train/loss"]))


def test_two_runs_are_the_same_and_the_global_generator_is_left_alone():
    found = []
    for seed in (5, 6):  # of what must not matter
        net = network(2)
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        trainer(max_epochs=2).fit(DynamicsTask(net, noise=0.1), Circle(val_fraction=0.0))
        assert torch.equal(torch.get_rng_state(), before)
        found.append(net.state_dict())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_measures_are_those_of_the_series():
    from tsmodels.dynamics import evaluate_reconstruction

    task, data = DynamicsTask(network(2), n_ahead=5), Circle()
    (logged,) = trainer().test(task, data, verbose=False)
    found = evaluate_reconstruction(task.network, data.test_series, n_ahead=5)
    assert logged["test/d_stsp"] == pytest.approx(found.d_stsp, rel=1e-5)
    assert logged["test/d_h"] == pytest.approx(found.d_h, rel=1e-5)
    assert logged["test/pe_5"] == pytest.approx(found.pe, rel=1e-5)
    assert logged["test/lyapunov_max"] == pytest.approx(found.lyapunov.max(), rel=1e-5)
    assert logged["test/divergent"] == 0
    assert trainer().validate(task, data, verbose=False)[0].keys() == {n.replace("test", "val") for n in logged}
    (run,) = trainer().predict(task, data.test_dataloader())
    assert run.shape == (1, 99, 2)


def test_a_free_run_that_diverges_is_counted():
    net = network(2, cell="shplrnn")
    with torch.no_grad():
        net.A.fill_(1.5)
    (logged,) = trainer().test(DynamicsTask(net), Circle(), verbose=False)
    assert logged["test/divergent"] == 1
    assert math.isnan(logged["test/d_stsp"])


@pytest.mark.parametrize("forcing", ["adaptive", "sparse"])
def test_a_checkpoint_loads_without_arguments_and_goes_on(tmp_path, forcing):
    def fit(max_epochs, ckpt_path=None, net=None):
        task = DynamicsTask(net or network(2), forcing=forcing, alpha_decay=0.9, noise=0.1, schedule="constant")
        runner = trainer(max_epochs=max_epochs)
        runner.fit(task, Circle(val_fraction=0.0), ckpt_path=ckpt_path, weights_only=True)
        return task, runner

    path = tmp_path / "half.ckpt"
    half, runner = fit(2)
    runner.save_checkpoint(path)
    loaded = DynamicsTask.load_from_checkpoint(path, weights_only=True)
    x = normal(2, 8, 2)
    assert torch.equal(loaded(x), half(x))
    assert torch.equal(loaded.alpha, half.alpha)
    assert loaded.network.config == half.network.config
    assert {name: loaded.hparams[name] for name in half.hparams} == dict(half.hparams)
    whole, _ = fit(4)
    resumed, runner = fit(4, ckpt_path=path, net=network(2, seed=1))
    assert runner.global_step == 24
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=1e-6)


# Steps that are skipped


class Spoilt(Circle):
    """Batches of which some are NaN."""

    def __init__(self, spoilt, **options):
        super().__init__(**({"val_fraction": 0.0} | options))
        self.spoilt = spoilt

    def train_dataloader(self):
        batches = enumerate(super().train_dataloader())
        spoilt = [{"x": batch["x"] * (math.nan if self.spoilt(i) else 1)} for i, batch in batches]
        return DataLoader(spoilt, batch_size=None, generator=torch.Generator())


@pytest.mark.parametrize("optimizer", ["radam", "sgd"])
@pytest.mark.parametrize("forcing", ["gtf", "adaptive"])
def test_steps_on_nan_are_skipped_and_counted(forcing, optimizer):
    task, runner = DynamicsTask(network(2), forcing=forcing, optimizer=optimizer, alpha_every=1), trainer()
    runner.fit(task, Spoilt(lambda i: i in (0, 2, 3)))
    assert runner.callback_metrics["train/skipped"] == 3
    assert math.isfinite(runner.callback_metrics["train/loss"])
    assert runner.global_step == 3
    assert all(p.isfinite().all() for p in task.network.parameters())
    assert math.isfinite(task.alpha)


def test_too_many_in_a_row_stop_the_run():
    task = DynamicsTask(network(2), max_skipped=2)
    trainer(max_epochs=2).fit(task, Spoilt(lambda i: i % 3 < 2))  # never three in a row
    with pytest.raises(FloatingPointError, match=r"3 training steps in a row .* lower the learning rate \(lr=0.001\)"):
        trainer(max_epochs=2).fit(task, Spoilt(lambda i: i in (0, 4, 5)))  # across epochs


def test_an_epoch_without_a_step_goes_on():
    task, runner = DynamicsTask(network(2)), trainer(max_epochs=2)
    before = [p.detach().clone() for p in task.network.parameters()]
    runner.fit(task, Spoilt(lambda i: True))
    assert math.isnan(runner.callback_metrics["train/loss"])
    assert runner.callback_metrics["train/skipped"] == 6
    assert all(torch.equal(p, q) for p, q in zip(task.network.parameters(), before, strict=True))


def test_gradients_are_shortened():
    net, x = network(), normal(4, 8, 3)
    net(x, alpha=0.3).square().mean().backward()
    long = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert DynamicsTask(net, gradient_clip=2 * long.norm().item())._clip_gradient()
    assert torch.equal(torch.cat([p.grad.flatten() for p in net.parameters()]), long)
    assert DynamicsTask(net, gradient_clip=0.5 * long.norm().item())._clip_gradient()
    torch.testing.assert_close(torch.cat([p.grad.flatten() for p in net.parameters()]), long / 2)


def test_parameters_are_put_back_after_each_step():
    net = network(2, cell="plrnn")
    trainer().fit(DynamicsTask(net), Circle(val_fraction=0.0))
    assert not net.W.diagonal().any()
    assert not torch.equal(net.W, network(2, cell="plrnn").W)


# Arguments


@pytest.mark.parametrize("name", DYNAMICS_PRESETS)
def test_presets_build(name):
    preset = DYNAMICS_PRESETS[name]
    task = DynamicsTask(PLRNN(3, **preset.network), **preset.task)
    assert task._strength(preset.data["window"]) is not None
    assert trainer(**preset.trainer).max_epochs >= 1000
    assert preset.data["window"] >= 41


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"forcing": "teacher"}, "forcing must be one of 'gtf', 'adaptive'"),
        ({"alpha": 1.5}, r"alpha must be in \[0, 1\], got 1.5"),
        ({"alpha_end": -0.1}, "alpha_end must be in"),
        ({"alpha_method": "max"}, "alpha_method must be one of 'product'"),
        ({"alpha_decay": 2}, "alpha_decay must be in"),
        ({"alpha_every": 0}, "alpha_every must be in"),
        ({"forcing_interval": 0}, "forcing_interval must be in"),
        ({"lr_end": 0.0}, "lr_end must be above 0"),
        ({"noise": math.nan}, "noise must be in"),
        ({"gradient_clip": -1.0}, "gradient_clip must be in"),
        ({"max_skipped": -1}, "max_skipped must be in"),
        ({"manifold": 0.1, "manifold_fraction": 0.1}, "of 3 units is none"),
        ({"linearity": 0.1}, "linearity is a penalty of cell='alrnn'"),
        ({"observation_penalty": 0.1}, "needs observation='linear'"),
        ({"optimizer": "lion"}, "optimizer must be one of"),
        ({"schedule": "cosine"}, "schedule must be one of .*'exponential'"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        DynamicsTask(network(), **change)


def test_arguments_that_do_not_fit_the_network():
    with pytest.raises(ValueError, match="'norm_bound' is for shallow cells, not for cell='alrnn'"):
        DynamicsTask(network(cell="alrnn"), forcing="adaptive", alpha_method="norm_bound")
    with pytest.raises(TypeError, match=r"must be a tsmodels.models.PLRNN, got DLinear"):
        DynamicsTask(DLinearForForecasting(3, 8, 2))


# What it is for


@pytest.mark.slow
def test_lorenz_is_reconstructed():
    """In few epochs, with a learning rate above the default."""
    data = DynamicsDataModule(make_trajectory("lorenz63", 40_000, seed=0), test_fraction=0.5)
    task = DynamicsTask(network(hidden_dim=50, seed=1), lr=5e-3)
    trainer(max_epochs=200).fit(task, data)
    (found,) = trainer().test(task, data, verbose=False)
    assert found["test/divergent"] == 0
    assert found["test/d_stsp"] < 1.5
    assert found["test/pe_20"] < 5e-3
    assert found["test/lyapunov_max"] == pytest.approx(0.00905, rel=0.3)


@pytest.mark.slow
def test_an_almost_linear_network_uses_its_regions():
    data = DynamicsDataModule(make_trajectory("lorenz63", 20_000, seed=0))
    task = DynamicsTask(network(cell="alrnn", latent_dim=20), forcing="sparse")
    trainer(max_epochs=40).fit(task, data)
    states = task.network.states(torch.from_numpy(data.train_series[None, :1]), 5000)
    assert len(task.network.pattern(states[0]).unique(dim=0)) >= 2
