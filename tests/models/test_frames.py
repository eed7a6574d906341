"""What every exported network over sequences of frames does: one test each, over all of them."""

import copy
import pickle

import pytest
import torch
from torch.nn import functional as F

from tsmodels import models
from tsmodels.models import ConvS5ForClassification, ConvS5ForFrames, TransformerForFrames
from tsmodels.models._config import build
from tsmodels.models._frames import FRAMES_PRESETS, FramesNetwork, GridDecoder, GridEncoder
from tsmodels_datamodules import MovingMNISTDataModule

# Small choices first, then those that change the computation. A new network needs a row here.
CHOICES = {
    "ConvS5ForFrames": (
        {"d_model": 8, "d_state": 8, "n_layers": 2, "widths": (4, 6), "groups": 2},
        [
            {},
            {"output": "linear", "increments": True, "prenorm": True},
            {"mixer": "half_glu", "widths": (4,), "patch_size": 2, "state_kernel": 3},
            {"mixer": "swiglu", "state_kernel": 3},
        ],
    ),
    "ConvLSTMForFrames": (
        {"d_model": 8, "n_layers": 2, "widths": (4, 6), "groups": 2},
        [{}, {"output": "linear", "increments": True, "forget_bias": 1.0}],
    ),
    "TransformerForFrames": (
        {"d_model": 8, "n_layers": 2, "n_heads": 2, "widths": (4, 6), "groups": 2},
        [{}, {"output": "linear", "increments": True}, {"cached": False}],
    ),
}
NETWORKS = [name for name in models.__all__ if name.endswith("ForFrames")]
EVERY = pytest.mark.parametrize("name", NETWORKS)
EVERY_CHOICE = pytest.mark.parametrize(
    ("name", "choices"), [(name, choices) for name, (_, rows) in CHOICES.items() for choices in rows], ids=str
)
SIZE = (2, 9, 10)  # odd height: the encoder pads, the decoder crops


def network(name, *, size=SIZE, seed=0, **choices) -> FramesNetwork:
    torch.manual_seed(seed)
    return getattr(models, name)(*size, **(CHOICES[name][0] | choices)).double().eval()


def video(n_cases=2, n_frames=7, size=SIZE, seed=1):
    return 2 * torch.rand(n_cases, n_frames, *size, generator=torch.Generator().manual_seed(seed)).double() - 1


def close(got, expected, tolerance=1e-12):
    torch.testing.assert_close(got.detach(), expected.detach(), rtol=0, atol=tolerance)


def stepped(net, frames, state=None):
    predictions = []
    for frame in frames.unbind(1):
        prediction, state = net.step(frame, state)
        predictions.append(prediction)
    return torch.stack(predictions, 1), state


def test_every_network_has_a_row():
    assert set(NETWORKS) == set(CHOICES)


@EVERY_CHOICE
def test_parallel_equals_stepwise(name, choices):
    net, frames = network(name, **choices), video()
    predictions, state = net(frames)
    expected, after = stepped(net, frames)
    assert predictions.shape == frames.shape
    close(predictions, expected)
    for one, other in zip(state, after, strict=True):
        close(one, other)
    net, frames = net.float(), frames.float()
    close(net(frames)[0], stepped(net, frames)[0], 1e-5)


@EVERY_CHOICE
def test_chunks_with_carried_state_equal_the_whole(name, choices):
    net, frames = network(name, **choices), video(n_frames=8)
    whole, last = net(frames)
    first, state = net(frames[:, :1])
    second, state = net(frames[:, 1:5], state)
    third, after = net(frames[:, 5:], state)
    close(torch.cat([first, second, third], 1), whole)
    for one, other, observed in zip(after, last, net.observe(frames[:, 5:], state), strict=True):
        close(one, other)
        close(observed, other)


@EVERY_CHOICE
def test_gradients_equal_those_of_the_step_loop(name, choices):
    net, frames = network(name, **choices), video(n_frames=5)
    named = [*net.named_parameters()]
    got = torch.autograd.grad(net(frames)[0].square().sum(), [p for _, p in named])
    expected = torch.autograd.grad(stepped(net, frames)[0].square().sum(), [p for _, p in named])
    for (each, _), one, other in zip(named, got, expected, strict=True):
        close(one, other, 1e-10 * max(1.0, other.abs().max().item()))
        assert other.any(), each


@EVERY_CHOICE
def test_steps_made_ready_once_are_steps_with_their_gradients(name, choices):
    net, frames = network(name, **choices), video(n_frames=4)

    def imagined(step):
        net.zero_grad()
        frame, state = frames[:, 0], net.zero_state(len(frames), frames)
        for _ in range(3):
            frame, state = step(frame, state)
        frame.square().sum().backward()
        return [frame, *(parameter.grad for parameter in net.parameters() if parameter.grad is not None)]

    found, expected = imagined(net.stepper()), imagined(net.step)
    assert len(found) > 10
    for one, other in zip(found, expected, strict=True):
        close(one, other, 1e-10 * (1 + other.abs().max().item()))


@EVERY
def test_future_frames_and_other_cases_do_not_matter(name):
    net, frames = network(name), video(n_cases=3)
    changed = frames.clone()
    changed[:, 4] = -changed[:, 4]
    changed[2] = 0
    got, expected = net(changed)[0], net(frames)[0]
    close(got[:2, :4], expected[:2, :4])
    assert ((got - expected)[:2, 4:].abs().amax((2, 3, 4)) > 0).all()
    close(got[:2], net(changed[:2])[0])


@EVERY_CHOICE
@pytest.mark.parametrize("n_context", [1, 4])
def test_generate_observes_then_imagines(name, choices, n_context):
    net, context = network(name, **choices), video(n_frames=n_context)
    generated = net.generate(context, 5)
    assert torch.equal(generated, net.generate(context, 5))
    assert not generated.requires_grad
    predictions, state = stepped(net, context)
    frame, expected = predictions[:, -1], []
    for _ in range(5):
        expected.append(frame)
        frame, state = net.step(frame, state)
    close(generated, torch.stack(expected, 1))


@EVERY
def test_generate_uses_the_present_weights(name):
    net, context = network(name), video()
    before = net.generate(context, 3)
    with torch.no_grad():
        for parameter in net.layers.parameters():
            parameter.mul_(0.5)
    after = net.generate(context, 3)
    assert (after - before).abs().max() > 1e-6
    fresh = network(name, seed=1)
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(fresh.generate(context, 3), after)


@EVERY
@pytest.mark.parametrize("per_channel", [False, True])
def test_masked_cells_are_neither_read_nor_predicted(name, per_channel):
    net, context = network(name, output="linear", increments=True), video()
    mask = torch.ones(SIZE if per_channel else SIZE[1:], dtype=torch.bool)
    mask[..., 2:5, 3:] = False
    spoilt = torch.where(mask, context, torch.nan)
    generated = net.generate(spoilt, 3, mask=mask)
    assert torch.equal(generated, net.generate(torch.where(mask, context, 7.0), 3, mask=mask))
    assert not generated[..., 2:5, 3:].any()
    assert torch.equal(generated, net.generate(torch.where(mask, context, 0), 3, mask=mask))
    everywhere = torch.ones_like(mask)
    assert torch.equal(net.generate(context, 3, mask=everywhere), net.generate(context, 3))


@pytest.mark.parametrize("name", ["ConvS5ForFrames", "ConvLSTMForFrames"])
def test_the_state_does_not_grow(name):
    net, context = network(name), video()
    sizes = [[s.shape for s in net.observe(context[:, :n])] for n in (1, 7)]
    assert sizes[0] == sizes[1] == [s.shape for s in net.zero_state(2, context)]


def test_the_cache_changes_nothing_but_the_cost():
    cached, again = network("TransformerForFrames"), network("TransformerForFrames", cached=False)
    assert cached.state_dict().keys() == again.state_dict().keys()
    context = video()
    close(cached.generate(context, 6), again.generate(context, 6))
    assert cached.observe(context)[0].shape == (2, 2, 2, 7, 8)
    assert again.observe(context)[0].shape == (2, 7, 8)


def test_frames_a_thousand_steps_ahead_are_finite():
    torch.manual_seed(0)
    net = ConvS5ForFrames(1, 5, 5, d_model=8, d_state=8, n_layers=1, widths=(4,), groups=4)
    frames = video(4, 8, (1, 5, 5)).float()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(20):
        optimiser.zero_grad()
        F.mse_loss(net(frames[:, :-1])[0], frames[:, 1:]).backward()
        optimiser.step()
    generated = net.generate(frames[:1], 1000)
    assert generated.isfinite().all()
    assert generated.abs().max() <= 1


@EVERY
def test_learns_eight_travelling_waves(name):
    case, t, y, x = torch.meshgrid(*[torch.arange(n).float() for n in (8, 6, 6, 6)], indexing="ij")
    frames = torch.sin(0.7 * x + 0.4 * y - 0.3 * (1 + case) * t + case)[:, :, None]
    before, after = frames[:, :-1], frames[:, 1:]
    net = network(name, size=(1, 6, 6), d_model=16, widths=(8,)).float().train()
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(60):
        optimiser.zero_grad()
        F.mse_loss(net(before)[0], after).backward()
        optimiser.step()
    assert F.mse_loss(net(before)[0], after) < 0.1 * F.mse_loss(before, after)


@pytest.mark.slow
def test_moving_digits_are_predicted_better_than_by_a_black_frame_or_the_last_one():
    videos = MovingMNISTDataModule(
        n_frames=12, context=6, size=32, n_train=240, n_val=16, n_test=16, batch_size=8, source="digits"
    )
    videos.prepare_data()
    videos.setup("fit")
    torch.manual_seed(0)
    net = ConvS5ForFrames(1, 32, 32, **FRAMES_PRESETS["tiny"])
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for batch in videos.train_dataloader():
        frames = batch["frames"]
        errors = net(frames[:, :-1])[0] - frames[:, 1:]
        optimiser.zero_grad()
        (errors.square() + errors.abs()).mean().backward()
        optimiser.step()
    frames = torch.cat([batch["frames"] for batch in videos.val_dataloader()])
    before, after = frames[:, :-1], frames[:, 1:]
    black, last = F.mse_loss(torch.full_like(after, -1), after), F.mse_loss(before, after)
    assert F.mse_loss(net(before)[0], after) < 0.75 * min(black, last)


@EVERY
def test_copies_pickles_and_rebuilds(name):
    net, frames = network(name), video()
    rebuilt = build(net.config).double().eval()
    rebuilt.load_state_dict(net.state_dict())
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), rebuilt):
        assert torch.equal(twin(frames)[0], net(frames)[0])
        assert twin.config == net.config


@EVERY
def test_undecayed_parameters_exist(name):
    for module in network(name).modules():
        own = {each for each, _ in module.named_parameters(recurse=False)}
        assert set(getattr(module, "no_weight_decay", ())) <= own


@EVERY
def test_autocast_to_bfloat16(name):
    net, frames = network(name).float(), video().float()
    expected = net(frames)[0]
    with torch.autocast("cpu", torch.bfloat16):
        got, _ = net(frames)
        generated = net.generate(frames, 2)
    assert (got.float() - expected).abs().mean() < 0.02
    assert generated.isfinite().all()
    got.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in net.parameters())


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 8), (1, 16, 12)])
@pytest.mark.parametrize("widths", [(4,), (4, 6, 8)])
@pytest.mark.parametrize("patch_size", [1, 3])
def test_encoder_and_decoder_fit_any_size(size, widths, patch_size):
    options = {"d_model": 5, "widths": widths, "groups": 2, "patch_size": patch_size}
    encoder, decoder = GridEncoder(*size, **options), GridDecoder(*size, **options)
    latents = encoder(torch.zeros(2, *size))
    cell = patch_size * 2 ** (len(widths) - 1)
    assert latents.shape == (2, 5, *encoder.latent_size)
    assert encoder.latent_size == (-(-size[1] // cell), -(-size[2] // cell))
    assert decoder(latents).shape == (2, *size)


def test_a_patch_is_seen_by_the_latent_cells_around_it_only():
    encoder = GridEncoder(1, 12, 12, d_model=3, widths=(4,), groups=1, patch_size=2).double()
    encoder.stages = torch.nn.Identity()  # norms and blocks reach further
    frame = torch.zeros(1, 1, 12, 12).double()
    changed = frame.clone()
    changed[..., 5, 7] = 1  # in the patch of row 2 and column 3
    cells = (encoder(changed) - encoder(frame)).abs().sum(1)[0].nonzero()
    assert cells.min(0).values.tolist() == [1, 2] and cells.max(0).values.tolist() == [3, 4]


@pytest.mark.parametrize(("preset", "n_parameters"), [("tiny", 0.12e6), ("light", 0.16e6), ("small", 0.77e6)])
def test_presets(preset, n_parameters):
    net = ConvS5ForFrames(1, 64, 64, **FRAMES_PRESETS[preset])
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(n_parameters, rel=0.03)


def test_the_published_network_has_its_published_size():
    one_layer = FRAMES_PRESETS["paper"] | {"n_layers": 1}
    layers = ConvS5ForFrames(1, 64, 64, **one_layer).layers
    n_parameters = FRAMES_PRESETS["paper"]["n_layers"] * sum(p.numel() for p in layers.parameters())
    assert n_parameters == pytest.approx(18.9e6, rel=0.005)


@EVERY
@pytest.mark.parametrize("shape", [(2, 9, 10), (2, 3, 2, 9, 11), (2, 3, 1, 9, 10)])
def test_frames_of_another_size_are_refused(name, shape):
    net = network(name)
    with pytest.raises(ValueError, match=r"frames must have shape \(batch, time, 2, 9, 10\)"):
        net(torch.zeros(shape).double())
    with pytest.raises(ValueError, match=r"context must have shape \(batch, time, 2, 9, 10\)"):
        net.generate(torch.zeros(shape).double(), 1)


@pytest.mark.parametrize(
    ("context", "arguments", "message"),
    [
        (video(n_frames=0), {}, "context must hold at least one frame"),
        (video(), {"n_frames": 0}, "n_frames must be at least 1, got 0"),
        (video() * 2, {}, r"context must lie in \[-1, 1\] for output='tanh'"),
        (video() / 0, {}, "context must be finite"),
        (video().int(), {}, "context must be floating point, got torch.int32"),
        (video(), {"mask": torch.zeros(9, 10, dtype=torch.bool)}, "mask covers every cell"),
        (video(), {"mask": torch.ones(10, 9, dtype=torch.bool)}, r"mask must be bool of shape \(9, 10\)"),
        (video(), {"mask": torch.ones(9, 10)}, "mask must be bool"),
    ],
    ids=range(8),
)
def test_bad_requests_are_named(context, arguments, message):
    with pytest.raises(ValueError, match=message):
        network("ConvS5ForFrames").generate(context, **({"n_frames": 2} | arguments))


@EVERY
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (0, 9, 10)}, "n_channels must be at least 1, got 0"),
        ({"size": (1, 9, 0)}, "width must be at least 1, got 0"),
        ({"d_model": 0}, "d_model must be at least 1, got 0"),
        ({"n_layers": 0}, "n_layers must be at least 1, got 0"),
        ({"patch_size": 0}, "patch_size must be at least 1, got 0"),
        ({"widths": ()}, "widths must hold at least one number"),
        ({"widths": (4, 0)}, "widths must hold at least one number"),
        ({"output": "relu"}, "output must be one of"),
        ({"increments": True}, "increments=True needs output='linear'"),
    ],
    ids=str,
)
def test_bad_choices_are_named_when_the_network_is_made(name, change, message):
    with pytest.raises(ValueError, match=message):
        network(name, **change)


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="divisible by n_heads"):
        TransformerForFrames(1, 8, 8, d_model=10, n_heads=4)


class TestClassificationOfGrids:
    def network(self, **choices):
        torch.manual_seed(0)
        return ConvS5ForClassification(2, 7, 3, layout="grid", d_model=6, d_state=4, **choices).double().eval()

    def test_padding_equals_removal(self):
        net, x = self.network(mixer="resnet"), video()
        padded = x.clone()
        padded[1, 4:] = torch.nan
        logits = net(padded, torch.tensor([7, 4]))
        assert logits.shape == (2, 3)
        close(logits[1:], net(x[1:, :4]))
        close(logits[:1], net(x[:1]))

    def test_missing_cells_are_not_read(self):
        net, x = self.network(), video()
        mask = torch.ones_like(x, dtype=torch.bool)
        mask[0, 2, 1, 3:5, 4:] = False
        close(net(torch.where(mask, x, torch.nan), mask=mask), net(torch.where(mask, x, 0), mask=mask))
        assert (net(torch.where(mask, x, 0), mask=mask) - net(torch.where(mask, x, 0))).abs().max() > 1e-6

    def test_any_height_and_width(self):
        assert self.network()(video(size=(2, 3, 1))).shape == (2, 3)

    def test_panels_are_refused(self):
        with pytest.raises(ValueError, match="for layout='grid'"):
            self.network()(video()[..., 0, 0])

    def test_layouts_are_named(self):
        with pytest.raises(ValueError, match="layout must be one of"):
            ConvS5ForClassification(2, 7, 3, layout="sphere")
