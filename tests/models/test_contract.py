"""What every exported network for classification does: one test each, over all of them."""

import copy
import pickle
from inspect import signature

import pytest
import torch
from torch import distributed, nn

from tsmodels import models
from tsmodels.models._prepared import PreparedNetwork
from tsmodels.models._sequence import SequenceForClassification

# Small choices first, then those that change what happens at the end of a series. A new network needs a row here.
CHOICES = {
    "ChimeraForClassification": (
        {"d_model": 8, "d_state": 3, "n_layers": 2, "dropout": 0.0},
        [
            {},
            {"patch_size": 1},
            {"patch_size": 4, "stride": 2},
            {"patch_size": 5, "stride": 3},
            {"pooling": "last"},
            {"pooling": "both", "variate_pooling": "mean"},
            {"variate_mixing": "pooled"},
            {"variate_mixing": "scan", "coupling": "t2v"},
            {"gates": "half"},
        ],
    ),
    "ConvS5ForClassification": (
        {"d_model": 8, "d_state": 4, "n_layers": 2, "dropout": 0.0},
        [
            {},
            {"bidirectional": False},
            {"bidirectional": False, "mixer": "resnet", "kernel": 5, "prenorm": False},
            {"layout": "pixel", "pooling": "both"},
            {"layout": "pixel", "mixer": "standard", "pooling": "last"},
        ],
    ),
    "MambaForClassification": (
        {"d_model": 8, "d_state": 3, "n_layers": 2, "dropout": 0.0},
        [
            {},
            {"bidirectional": True},
            {"bidirectional": True, "patch_size": 4, "stride": 2, "d_conv": 2},
            {"pooling": "last"},
            {"pooling": "both", "patch_size": 5},
            {"pooling": "attention", "bidirectional": True},
            {"pooling": "adaptive"},
        ],
    ),
    "S4DForClassification": (
        {"d_model": 8, "d_state": 4, "n_layers": 2, "dropout": 0.0},
        [
            {},
            {"bidirectional": True},
            {"bidirectional": True, "patch_size": 4, "stride": 2, "discretization": "bilinear"},
            {"bidirectional": True, "prenorm": False},
            {"pooling": "last", "init": "inv"},
            {"pooling": "both", "patch_size": 5},
            {"pooling": "attention"},
            {"pooling": "adaptive"},
        ],
    ),
    "ShapeFormerForClassification": (
        {"n_shapelets": 2, "d_model": 8, "d_generic": 8, "n_heads": 2, "d_ff": 8, "dropout": 0.0},
        [
            {},
            {"window": None},
            {"window": 0, "class_token": "mean"},
            {"class_token": "attention", "max_factor": 3.0},
            {"class_token": "per_class", "shapelet_weights": True},
            {"freeze_shapelets": True, "kernel_size": 5},
        ],
    ),
    "VSFormerForClassification": (
        {"n_prototypes": 24, "n_intervals": 20, "d_model": 8, "n_heads": 2, "d_ff": 8, "n_layers": 1, "dropout": 0.0},
        [
            {},
            {"match": "znorm", "streams": "joint", "n_layers": 2},
            {"readout": "mean"},
            {"use_value": False, "match": "znorm"},
            {"use_shape": False},
            {"prior_attention": False, "prior_encoding": False},
        ],
    ),
}
SEQUENCES = [name for name in CHOICES if issubclass(getattr(models, name), SequenceForClassification)]
CLASSIFIERS = [name for name in models.__all__ if name.endswith("ForClassification")]
PATCHED = [name for name in CLASSIFIERS if "patch_size" in signature(getattr(models, name)).parameters]
EVERY = pytest.mark.parametrize("name", CLASSIFIERS)
EVERY_CHOICE = pytest.mark.parametrize(
    ("name", "choices"), [(name, choices) for name, (_, rows) in CHOICES.items() for choices in rows], ids=str
)


def network(name, n_channels=3, n_timepoints=20, n_classes=4, seed=0, **choices):
    torch.manual_seed(seed)
    small, _ = CHOICES[name]
    net = getattr(models, name)(n_channels, n_timepoints, n_classes, **(small | choices)).double().eval()
    return prepared(
        net, series(4 * n_classes, n_timepoints, n_channels, seed=2), torch.arange(4 * n_classes) % n_classes
    )


def prepared(net, x, y):
    return net.prepare(x, y) if isinstance(net, PreparedNetwork) else net


def series(n_cases=2, n_timepoints=20, n_channels=3, seed=1):
    return torch.randn(n_cases, n_timepoints, n_channels, generator=torch.Generator().manual_seed(seed)).double()


def test_exports():
    assert set(CLASSIFIERS) == set(CHOICES)
    assert dir(models) == sorted(models.__all__)
    with pytest.raises(AttributeError, match="no attribute"):
        models.Nothing  # noqa: B018


@EVERY_CHOICE
def test_padding_equals_removal(name, choices):
    net, x = network(name, **choices), series()
    for length in (1, 3, 11, 19):
        padded = x.clone()
        padded[1, length:] = float("nan")  # what stands behind the end is not read
        together = net(padded, torch.tensor([20, length]))
        torch.testing.assert_close(together[1:], net(x[1:, :length]), rtol=0, atol=1e-12)
        torch.testing.assert_close(together[:1], net(x[:1]), rtol=0, atol=1e-12)


@pytest.fixture
def process_group():
    """One process that believes to be one of several."""
    if not distributed.is_available():
        pytest.skip("this torch is built without torch.distributed")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@EVERY
def test_training_on_several_devices_finds_a_gradient_of_every_parameter(name, process_group):
    net, x = network(name), series()
    net(x).square().sum().backward()  # nothing is missing, no series is shorter
    assert [key for key, p in net.named_parameters() if p.requires_grad and p.grad is None] == []


@EVERY_CHOICE
def test_gradients_do_not_see_the_padding(name, choices):
    net, x = network(name, **choices), series()
    x.requires_grad_()
    net(x, torch.tensor([20, 7])).square().sum().backward()
    assert torch.equal(x.grad[1, 7:], torch.zeros_like(x.grad[1, 7:]))
    assert x.grad[1, :7].abs().min() > 0
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


@EVERY
def test_every_parameter_is_learned(name):
    net, x = network(name), series()
    net(x).square().sum().backward()
    unused = [each for each, p in net.named_parameters() if p.grad is None]
    # learned only from data with missing values, or from series shorter than a shapelet
    assert set(unused) <= {"embed.missing.weight", "filter.absent"}
    silent = [each for each, p in net.named_parameters() if p.grad is not None and not p.grad.any()]
    assert silent == []


@EVERY
def test_missing_values_are_not_read_and_not_the_same_as_zeros(name):
    net, x = network(name), series()
    mask = torch.ones_like(x, dtype=torch.bool)
    torch.testing.assert_close(net(x, mask=mask), net(x))
    mask[0, 4:7, 1] = False
    spoilt = x.clone()
    spoilt[0, 4:7, 1] = float("nan")
    zeroed = torch.where(mask, x, 0)
    torch.testing.assert_close(net(spoilt, mask=mask), net(zeroed, mask=mask))
    assert (net(zeroed, mask=mask)[0] - net(zeroed)[0]).abs().max() > 1e-6


@EVERY
def test_mask_behind_the_end_changes_nothing(name):
    net, x, lengths = network(name), series(), torch.tensor([20, 9])
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[1, 9:] = False
    torch.testing.assert_close(net(x, lengths, mask), net(x, lengths), rtol=0, atol=1e-12)


@EVERY
def test_undecayed_parameters_exist(name):
    named = 0
    for module in network(name).modules():
        own = {each for each, _ in module.named_parameters(recurse=False)}
        assert set(getattr(module, "no_weight_decay", ())) <= own
        named += len(getattr(module, "no_weight_decay", ()))
    assert named > 0


@EVERY
def test_overfits_sixteen_cases(name):
    torch.manual_seed(0)
    x, y = torch.randn(16, 24, 3), torch.arange(16) % 4
    net = prepared(getattr(models, name)(3, 24, 4, **CHOICES[name][0]), x, y)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    losses = [1.0]
    while losses[-1] > 0.05 and len(losses) < 200:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] <= 0.05


@EVERY
def test_copies_and_pickles(name):
    net, x = network(name), series()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert torch.equal(twin(x), net(x))
        assert twin.config == net.config


@EVERY
@pytest.mark.parametrize("shape", [(2, 20), (2, 20, 5), (2, 3, 20)])
def test_wrong_input_shape(name, shape):
    with pytest.raises(ValueError, match=r"x must have shape \(batch, time, 3\)"):
        network(name)(torch.zeros(shape).double())


@EVERY
@pytest.mark.parametrize("fact", ["n_channels", "n_timepoints", "n_classes"])
def test_facts_are_checked(name, fact):
    with pytest.raises(ValueError, match=f"{fact} must be at least 1, got 0"):
        network(name, **{fact: 0})


@pytest.mark.parametrize(
    "name", [each for each in CLASSIFIERS if "patch_size" in signature(getattr(models, each)).parameters]
)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling": "max"}, "pooling must be one of"),
        ({"patch_size": 4, "stride": 5}, "1 <= stride <= patch_size"),
        ({"patch_size": 4, "stride": 0}, "1 <= stride <= patch_size"),
        ({"patch_size": 0}, "1 <= stride <= patch_size"),
    ],
)
def test_bad_choices_are_named_when_the_network_is_made(name, change, message):
    with pytest.raises(ValueError, match=message):
        network(name, **change)


@EVERY
def test_autocast_to_bfloat16(name):
    net, x, lengths = network(name).float(), series().float(), torch.tensor([20, 9])
    expected = net(x, lengths)
    with torch.autocast("cpu", torch.bfloat16):
        got = net(x, lengths)
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.float(), expected, rtol=0, atol=0.02 * expected.abs().max().item())
    got.float().square().sum().backward()
    assert all(
        p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in net.parameters() if p.grad is not None
    )


@EVERY
def test_torch_export_for_inference(name):
    net, x = network(name), series()
    exported = torch.export.export(net, (x,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(x), net(x), rtol=0, atol=1e-12)
    if not isinstance(net, PreparedNetwork):  # these use our operators, which are never silently without gradients
        with pytest.raises(RuntimeError, match="has no gradient of its own"):
            exported(x)
