"""ShapeFormerForClassification beyond the contract of all networks."""

import io
import math

import numpy as np
import pytest
import torch
from torch import nn

from tsmodels.models import ShapeFormerForClassification
from tsmodels.models._config import build
from tsmodels.models.shapeformer import PRESETS
from tsmodels.shapelets import ShapeletWarning, discover_shapelets

SMALL = {"n_shapelets": 2, "d_model": 8, "d_generic": 4, "n_heads": 2, "d_ff": 6, "dropout": 0.0}


def cases(n_cases=12, n_timepoints=30, n_channels=2, n_classes=3, seed=0):
    """Noise, with a pattern of the class somewhere near the middle of the first channel."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n_cases, n_timepoints, n_channels, generator=generator), torch.arange(n_cases) % n_classes
    for i, code in enumerate(y.tolist()):
        at = n_timepoints // 3 + i % 4
        x[i, at : at + 8, 0] += 3 * torch.sin(torch.arange(8) * (code + 1) * math.pi / 4)
    return x, y


def network(x, y, n_classes=3, seed=0, lengths=None, mask=None, **choices):
    torch.manual_seed(seed)
    net = ShapeFormerForClassification(x.shape[2], x.shape[1], n_classes, **(SMALL | choices))
    return net.prepare(x, y, lengths, mask)


def found(net):
    return {name: getattr(net, name) for name in net.FOUND}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("d_model", "d_generic", "n_classes", "weights"), [(8, 4, 3, False), (6, 10, 2, True)])
def test_number_of_parameters(d_model, d_generic, n_classes, weights):
    x, y = cases(n_classes=n_classes)
    net = network(x, y, n_classes, d_model=d_model, d_generic=d_generic, shapelet_weights=weights, d_ff=16)
    table = net.token_table()
    n_steps, n_shapelets = table["length"].sum(), len(table["length"])
    n_places = sum(table[name].max() + 1 for name in ("channel", "start", "end"))

    def attention(d):
        return 3 * d * d + 2 * d

    def feed_forward(d):
        return 2 * d * 16 + 16 + d

    shapelets = (
        n_steps + 2 * d_model * (n_steps + n_shapelets) + d_model * (n_places + 3) + attention(d_model)
        + feed_forward(d_model) + 4 * d_model + weights * n_shapelets + d_model
    )  # fmt: skip
    generic = (
        d_generic * 9 + 2 * d_generic + d_generic**2 * 2 + d_generic + 2 * d_generic + 30 * d_generic
        + attention(d_generic) + feed_forward(d_generic) + 4 * d_generic
    )  # fmt: skip
    behind = int((~net.filter.inside).sum())  # stay zero: rows of what is kept in pieces of one size
    n_parameters = sum(p.numel() for p in net.parameters()) - behind * (1 + 2 * d_model)
    assert n_parameters == shapelets + generic + n_classes * (d_model + d_generic + 1)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_presets(preset):
    x, y = cases()
    torch.manual_seed(0)
    net = ShapeFormerForClassification(2, 30, 3, n_shapelets=2, **PRESETS[preset]).prepare(x, y)
    assert net(x).shape == (12, 3)
    heads, width, window = {"paper": (16, 32, 6), "released": (4, 48, 30)}[preset]
    assert net.encoder.attention.n_heads == net.generic.block.attention.n_heads == heads
    assert net.encoder.attention.scale == 128**-0.5
    assert net.generic.block.attention.scale == width**-0.5
    assert net.shapelets["window"] == net.filter.window == window
    assert (net.filter.max_factor, net.token_weights is not None) == ((3.0, True) if heads == 4 else (None, False))


def test_shapelets_are_those_of_the_discovery():
    x, y = cases()
    net = network(x, y).double()
    shapelet_set = discover_shapelets(x.transpose(1, 2).double().numpy(), y.numpy(), n_per_class=2, progress=False)
    table, facts = net.token_table(), net.shapelets
    assert (table["kind"] == "shapelet").all()
    for name in ("channel", "start", "end", "length"):
        assert np.array_equal(table[name], getattr(shapelet_set, name))
    assert np.array_equal(table["class_code"], shapelet_set.label_code)
    np.testing.assert_allclose(table["score"], shapelet_set.gain, rtol=1e-6)
    for values, learned, expected in zip(facts["values"], net.filter.values(), shapelet_set.values, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-6)
        np.testing.assert_array_equal(values, learned)
    assert facts["window"] == shapelet_set.window
    np.testing.assert_allclose(facts["mean"], shapelet_set.mean, rtol=1e-6)
    np.testing.assert_allclose(facts["std"], shapelet_set.std, rtol=1e-6)


def test_explanation():
    x, y = cases()
    shapelet_set = discover_shapelets(x.transpose(1, 2).double().numpy(), y.numpy(), n_per_class=2, progress=False)
    torch.manual_seed(0)
    net = ShapeFormerForClassification.from_shapelets(shapelet_set, 2, 30, 3, **SMALL).eval()
    other, _ = cases(seed=1)
    explanation = net.explain(other)
    torch.testing.assert_close(explanation.logits, net(other))
    panel = other.transpose(1, 2).double().numpy()
    np.testing.assert_array_equal(explanation.start, shapelet_set.matches(panel))
    np.testing.assert_array_equal(explanation.end - explanation.start, np.tile(shapelet_set.length, (12, 1)))
    np.testing.assert_allclose(explanation.distance.detach(), shapelet_set.distances(panel), rtol=1e-4)
    short = net.explain(other, torch.full((12,), 3))
    absent = torch.from_numpy(shapelet_set.length > 3).expand(12, -1)
    assert absent.any()
    for where in (short.start == -1, short.end == -1, short.distance == torch.inf):
        assert torch.equal(where, absent)
    torch.testing.assert_close(short.logits, net(other[:, :3]))


@pytest.mark.parametrize("class_token", ["best", "per_class", "attention", "mean"])
def test_attention_is_that_of_the_tokens_that_are_read(class_token):
    x, y = cases()
    net = network(x, y, class_token=class_token, shapelet_weights=True).eval()
    assert net.token_weights is not None
    nn.init.normal_(net.token_weights)
    tokens = net.filter((x - net.mean) / net.std)
    every = net.encoder.attention.weights(tokens).mean(1)
    encoded = net.encoder(tokens, tokens, scale=net.token_weights[:, None])
    rows = {"best": [net.found_rank.argmin().item()], "per_class": [0, 2, 4]}.get(class_token)  # best first
    if net.pool is not None:
        nn.init.normal_(net.pool.score.weight)
        share = net.pool.score(encoded).softmax(1)
        expected, token = (share * every).sum(1), (share * encoded).sum(1)
    elif class_token == "mean":
        expected, token = every.mean(1), encoded.mean(1)
    else:
        expected, token = every[:, rows].mean(1), encoded[:, rows].flatten(1)
    explanation = net.explain(x)
    torch.testing.assert_close(explanation.attention, expected)
    torch.testing.assert_close(explanation.attention.sum(1), torch.ones(12))
    generic = net.generic((x - net.mean) / net.std, None)
    torch.testing.assert_close(explanation.logits, net.classify(torch.cat([token, generic], 1)))
    torch.testing.assert_close(net(x), explanation.logits)


def test_the_class_token_has_the_highest_gain():
    x, y = cases(24, seed=4)
    net = network(x, y, n_shapelets=4)
    assert net.found_gain[net._rows] == net.found_gain.max()
    assert net.found_gain.max() > net.found_gain.min()


def test_generic_branch():
    x, y = cases()
    net = network(x, y, kernel_size=5).double().train()
    branch, series = net.generic, x.double()
    got = branch(series, None)
    batch_norms = [nn.BatchNorm2d(4).double() for _ in range(2)]
    z = nn.functional.conv2d(
        series.transpose(1, 2)[:, None], branch.over_time.weight, branch.over_time.bias, padding="same"
    )
    z = nn.functional.gelu(batch_norms[0](z))
    z = nn.functional.gelu(batch_norms[1](branch.over_channels(z)))[:, :, 0].mT
    y = branch.block(z + branch.position, z)
    torch.testing.assert_close(got, y.mean(1))
    torch.testing.assert_close(branch.channel_norm.running_var, batch_norms[1].running_var)


@pytest.mark.parametrize("n_timepoints", [30, 1100])
def test_the_generic_branch_does_not_see_padding(n_timepoints):
    torch.manual_seed(0)
    net = ShapeFormerForClassification(2, n_timepoints, 3, **SMALL).double().train()
    branch = net.generic
    assert branch.pooled == (1 if n_timepoints == 30 else 3)
    assert len(branch.position) == math.ceil(n_timepoints / branch.pooled)
    x = torch.randn(3, n_timepoints, 2).double()
    lengths = torch.tensor([n_timepoints, 1, n_timepoints // 2 + 1])
    inside = (torch.arange(n_timepoints) < lengths[:, None])[..., None]
    state = {name: value.clone() for name, value in branch.state_dict().items()}
    results = []
    for behind in (0, 1, 9):
        branch.load_state_dict(state)
        padded = nn.functional.pad(torch.where(inside, x, 0), (0, 0, 0, behind))
        results.append((branch(padded, lengths), *(value.clone() for value in branch.buffers())))
    for result in results[1:]:
        for one, other in zip(result, results[0], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    branch.eval()
    together = branch(torch.where(inside, x, 0), lengths)
    for i, length in enumerate(lengths.tolist()):
        torch.testing.assert_close(branch(x[i : i + 1, :length], None), together[i : i + 1], rtol=0, atol=1e-12)


def test_long_series_are_pooled_and_later_steps_share_a_position():
    torch.manual_seed(0)
    net = ShapeFormerForClassification(1, 1025, 2, **SMALL).eval()
    branch, x = net.generic, torch.randn(1, 1025, 1)
    seen = []
    branch.block.register_forward_pre_hook(lambda module, args: seen.append(args))
    branch(torch.cat([x, x], 1), None)
    ((tokens, z, _),) = seen
    assert tokens.shape == (1, math.ceil(2050 / 3), 4)
    rows = branch.position[torch.arange(tokens.shape[1]).clamp(max=len(branch.position) - 1)]
    torch.testing.assert_close(tokens - z, rows[None])
    assert len(branch.position) == 342
    around = nn.functional.pad(torch.cat([x, x], 1).mT[:, None], (3, 4))
    fine = nn.functional.gelu(branch.time_norm(branch.over_time(around)))
    fine = nn.functional.gelu(branch.channel_norm(branch.over_channels(fine)))[0, :, 0].mT
    torch.testing.assert_close(z[0, 1], fine[3:6].mean(0))
    torch.testing.assert_close(z[0, -1], fine[-1])  # the mean of what is left


def test_logits_do_not_depend_on_the_padding_of_the_batch():
    x, y = cases()
    lengths = torch.tensor([30, 4, 17] * 4)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.8
    net = network(x, y).eval()
    together = net(x, lengths, mask)
    for i, length in enumerate(lengths.tolist()):
        alone = net(x[i : i + 1, :length], None, mask[i : i + 1, :length])
        torch.testing.assert_close(alone, together[i : i + 1], rtol=0, atol=1e-6)


def test_export_with_lengths_and_missing_values():
    x, y = cases()
    net = network(x, y).double().eval()
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.8
    arguments = (x.double(), torch.tensor([30, 4, 17] * 4), mask)
    exported = torch.export.export(net, arguments).module()
    torch.testing.assert_close(exported(*arguments), net(*arguments), rtol=0, atol=1e-12)


@pytest.mark.parametrize("class_token", ["best", "per_class", "attention", "mean"])
def test_overfits_sixteen_cases(class_token):
    x, y = torch.randn(16, 24, 3, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 4
    net = network(x, y, 4, class_token=class_token, shapelet_weights=True, max_factor=3.0)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(200):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        if loss <= 0.05:
            break
        loss.backward()
        optimiser.step()
    assert loss <= 0.05


def test_a_state_dict_is_all_that_is_needed():
    x, y = cases()
    net = network(x, y, class_token="per_class", shapelet_weights=True).eval()
    net.filter.shapelets.data += 0.5 * net.filter.inside
    file = io.BytesIO()
    torch.save({"config": net.config, "state": net.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    twin = build(saved["config"])
    assert isinstance(twin, ShapeFormerForClassification)
    assert not twin.is_prepared
    twin.load_state_dict(saved["state"])
    assert torch.equal(twin.eval()(x), net(x))
    for name, value in net.token_table().items():
        assert all(np.array_equal(a, b) for a, b in zip(twin.token_table()[name], value, strict=True))
    for one, other in zip(net.explain(x), twin.explain(x), strict=True):
        assert torch.equal(one, other)


def test_what_is_not_observed_has_no_part_in_what_is_found():
    x, y = cases()
    lengths = torch.tensor([30, 22, 27] * 4)
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.9
    before = network(x, y, lengths=lengths, mask=mask)
    steps = torch.arange(30)[:, None]
    spoilt = torch.where(mask & (steps < lengths[:, None, None]), x, torch.nan)
    after = network(spoilt, y, lengths=lengths, mask=mask)
    assert same(found(after), found(before))
    assert not same(found(network(x, y)), found(before))
    assert same(found(network(x, y, seed=1)), found(network(x, y)))


def test_only_the_cases_that_are_given_count():
    x, y = cases(18)
    changed = x.clone()
    changed[12:] = torch.randn(6, 30, 2)
    assert same(found(network(x[:12], y[:12])), found(network(changed[:12], y[:12])))
    assert not same(found(network(x, y)), found(network(changed, y)))


def test_a_class_without_training_cases():
    x, y = cases(n_classes=2)
    net = network(x, 2 * y, n_classes=4, class_token="per_class")  # codes 0 and 2 of 0 to 3
    assert net.token_table()["class_code"].tolist() == [0, 0, 2, 2]
    assert net._rows.tolist() == [0, 2]
    assert net(x).shape == (12, 4)


def test_a_class_with_fewer_candidates_gives_all_of_them():
    net = network(*cases(n_cases=6), n_shapelets=500)  # and no warning: the default is no demand
    assert (net.found_class.bincount() < 500).all()
    assert len(net.found_class.unique()) == 3


def test_a_class_of_one_case_comes_last():
    x, y = cases(n_classes=2)
    y[0] = 2
    torch.manual_seed(0)
    with pytest.warns(ShapeletWarning):
        net = ShapeFormerForClassification(2, 30, 3, **SMALL).prepare(x, y)
    assert net.found_rank[net.found_class == 2].min() == 4


def test_what_cannot_be_done_is_said():
    x, y = cases()
    net = ShapeFormerForClassification(2, 30, 3, **SMALL)
    for call in (lambda: net(x), lambda: net.explain(x), net.token_table, lambda: net.shapelets):
        with pytest.raises(RuntimeError, match="has not seen training cases yet"):
            call()
    spoilt = x.clone()
    spoilt[0, 3, 1] = torch.nan
    with pytest.raises(ValueError, match="x holds NaN or infinite values"):
        net.prepare(spoilt, y)
    with pytest.raises(ValueError, match="y has 1 class"):
        net.prepare(x, torch.zeros_like(y))
    assert not net.is_prepared
    net.prepare(x, y)
    with pytest.raises(RuntimeError, match="is prepared already"):
        net.prepare(x, y)


def test_a_set_without_the_complexity_factor_is_matched_without():
    x, y = cases()
    panel = x.transpose(1, 2).double().numpy()
    shapelet_set = discover_shapelets(panel, y.numpy(), n_per_class=2, complexity=False, progress=False)
    net = ShapeFormerForClassification.from_shapelets(shapelet_set, 2, 30, 3, **SMALL).eval()
    np.testing.assert_allclose(net.explain(x).distance.detach(), shapelet_set.distances(panel), atol=1e-4)
    with pytest.raises(ValueError, match=r"complexity=False: .* pass max_factor=1 or nothing; got 3"):
        ShapeFormerForClassification.from_shapelets(shapelet_set, 2, 30, 3, max_factor=3.0, **SMALL)


def test_sets_for_other_data_are_refused():
    x, y = cases()
    shapelet_set = discover_shapelets(x.transpose(1, 2).double().numpy(), y.numpy(), n_per_class=2, progress=False)
    for facts in ((3, 30, 3), (2, 30, 4)):
        with pytest.raises(ValueError, match="found in series of 2 channels and 3 classes"):
            ShapeFormerForClassification.from_shapelets(shapelet_set, *facts, **SMALL)
    with pytest.raises(ValueError, match="shapelet_set is empty"):
        ShapeFormerForClassification.from_shapelets(shapelet_set[:0], 2, 30, 3, **SMALL)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_token": "first"}, "class_token must be one of"),
        ({"n_heads": 3}, "d_model must be a multiple of n_heads=3, got 8"),
        ({"d_generic": 5}, "d_generic must be a multiple of n_heads=2, got 5"),
        ({"n_shapelets": 0}, "n_shapelets must be an integer of at least 1"),
        ({"n_shapelets": 2.5}, "n_shapelets must be an integer of at least 1, got 2.5"),
        ({"n_heads": 0}, "n_heads must be an integer of at least 1"),
        ({"kernel_size": 0}, "kernel_size must be an integer of at least 1"),
        ({"d_ff": 0}, "d_ff must be at least 1"),
        ({"max_factor": 0.5}, "max_factor must be at least 1"),
    ],
)
def test_bad_choices_are_named_when_the_network_is_made(change, message):
    with pytest.raises(ValueError, match=message):
        ShapeFormerForClassification(2, 30, 3, **(SMALL | change))
