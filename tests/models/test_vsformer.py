"""VSFormer: what it says of itself, odd series, ablations, explanations, state; the contract is tested elsewhere."""

import pytest
import torch
from torch import nn

from tsmodels.layers import PriorAttention
from tsmodels.models import VSFormerForClassification
from tsmodels.models._vsformer_readout import READ_OUTS
from tsmodels.tasks._optim import decay_groups

SMALL = {
    "d_model": 16,
    "n_heads": 2,
    "n_layers": 1,
    "d_ff": 16,
    "dropout": 0.0,
    "n_prototypes": 24,
    "n_intervals": 20,
    "n_levels": 2,
}
ODD_SERIES = {
    "one channel": torch.randn(12, 30, 1, generator=torch.Generator().manual_seed(0)),
    "eight steps": torch.randn(12, 8, 2, generator=torch.Generator().manual_seed(1)),
    "three steps": torch.randn(12, 3, 2, generator=torch.Generator().manual_seed(2)),
    "one step": torch.randn(12, 1, 2, generator=torch.Generator().manual_seed(3)),
    "constant": torch.arange(12.0)[:, None, None].expand(12, 20, 2).contiguous(),
    "flat but for a step": (torch.arange(20) == 9).float()[None, :, None].expand(12, 20, 1).contiguous(),
}


def noise(n_cases=12, n_timepoints=20, n_channels=3, seed=0):
    return torch.randn(n_cases, n_timepoints, n_channels, generator=torch.Generator().manual_seed(seed))


def labels(n_cases=12, n_classes=2):
    return torch.arange(n_cases) % n_classes


def network(x=None, y=None, seed=0, lengths=None, mask=None, **choices):
    x = noise() if x is None else x
    y = labels(len(x)) if y is None else y
    torch.manual_seed(seed)
    net = VSFormerForClassification(x.shape[2], x.shape[1], int(y.max()) + 1, **(SMALL | choices))
    return net.prepare(x, y, lengths, mask).eval()


def train(net, x, y, n_steps=80):
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(n_steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net.train()(x), y).backward()
        optimiser.step()
    return net.eval()


def test_it_is_called_a_reconstruction():
    sentence = "Our reconstruction of VSFormer (arXiv 2412.16515) from its abstract and public descriptions."
    doc = " ".join(VSFormerForClassification.__doc__.split())
    assert sentence in doc
    assert "results must not be quoted as theirs" in doc


def test_rounding_of_statistics_that_are_equal_in_all_series_does_not_show():
    x = noise(16, 40).cumsum(1)
    x = (x - x.mean(1, keepdim=True)) / x.std(1, correction=0, keepdim=True)  # as in most of the UCR archive
    net = network(x)
    assert net.value_scale.min() > 1e-5
    torch.testing.assert_close(net(x * (1 + 1e-6)), net(x), rtol=0, atol=1e-4)
    shifted = net.explain(x + 0.1)
    assert shifted.logits.isfinite().all()


@pytest.mark.parametrize("kind", ODD_SERIES)
def test_odd_series(kind):
    x = ODD_SERIES[kind]
    net = network(x)
    logits = net(x)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)
    explained = net.explain(x)
    torch.testing.assert_close(explained.attention.sum(1), torch.ones(12))


def test_a_class_of_one_series():
    net = network(y=torch.tensor([2] + [0, 1] * 5 + [0]))
    assert net(noise()).shape == (12, 3)
    assert 2 in net.token_table()["class_code"]


@pytest.mark.parametrize("choices", [{"use_shape": False}, {"use_value": False}, {"streams": "joint"}], ids=str)
def test_kinds_of_tokens(choices):
    net = network(**choices)
    kinds = set(net.token_table()["kind"])
    assert ("shapelet" in kinds) == choices.get("use_shape", True)
    assert ("value" in kinds) == choices.get("use_value", True)
    assert net.shape_share == {1: 1.0 if "shapelet" in kinds else 0.0, 2: 0.5}[len(kinds)]


def test_shapes_alone_need_a_window_that_varies():
    with pytest.raises(ValueError, match="no window of the training series x varies"):
        network(ODD_SERIES["constant"], use_value=False)


def test_values_tell_levels_apart_and_normalised_shapes_do_not():
    y = labels(120)
    x = noise(120, 40, 1) + 1.5 * y[:, None, None]
    accuracy = {}
    for kind, choices in {"value": {"use_shape": False}, "shape": {"use_value": False, "match": "znorm"}}.items():
        net = train(network(x[:60], y[:60], n_levels=1, n_prototypes=12, **choices), x[:60], y[:60])
        accuracy[kind] = (net(x[60:]).argmax(1) == y[60:]).float().mean().item()
    assert accuracy["value"] > 0.95
    assert 0.3 < accuracy["shape"] < 0.7  # 60 cases: 0.5 within three standard errors


def test_shapes_tell_patterns_apart_wherever_they_are():
    y = labels(80)
    x, first = noise(80, 60, 1), torch.randint(0, 42, (80,), generator=torch.Generator().manual_seed(5))
    for i in range(80):
        t = torch.linspace(0, 1, 18)
        x[i, first[i] : first[i] + 18, 0] += 4 * torch.sin((3 if y[i] else 5) * torch.pi * t)
    net = train(network(x[:40], y[:40], use_value=False, n_prototypes=18), x[:40], y[:40])
    assert (net(x[40:]).argmax(1) == y[40:]).float().mean() > 0.85


def test_the_prior_can_be_left_out():
    net, x = network(prior_attention=False, prior_encoding=False), noise()
    expected = net(x)
    net.prototype_prior.fill_(0.9)
    net.value_prior.fill_(0.1)
    assert torch.equal(net(x), expected)
    assert not [name for name, _ in net.named_parameters() if "beta" in name or "encoding.prior" in name]
    for choices in ({"prior_attention": False}, {"prior_encoding": False}):
        net = network(**choices)
        expected = net(x)
        net.prototype_prior.uniform_()
        assert not torch.allclose(net(x), expected)


def test_power_zero_is_plain_attention():
    x, plain, weighted = noise(), network(prior_attention=False), network()
    weighted.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        for layer in weighted.modules():
            if isinstance(layer, PriorAttention):
                layer.beta.fill_(-800.0)
    weighted.prior_attention = False  # the read-out
    torch.testing.assert_close(weighted(x), plain(x))


def test_unequal_lengths_and_missing_values_in_training_and_later():
    x, lengths = noise(), torch.tensor([20, 12, 5, 20, 3, 20, 15, 2, 20, 1, 20, 18])
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.8
    mask[5, :, 1] = False
    mask[6] = False  # nothing at all
    spoilt = torch.where(mask & (torch.arange(20)[:, None] < lengths[:, None, None]), x, torch.nan)
    net, clean = network(spoilt, lengths=lengths, mask=mask), network(x, lengths=lengths, mask=mask)
    assert all(torch.equal(a, b) for a, b in zip(net.buffers(), clean.buffers(), strict=True))
    logits = net(spoilt, lengths, mask)
    assert logits.isfinite().all()
    for i in (1, 2, 5, 9):
        end = int(lengths[i])
        torch.testing.assert_close(logits[i : i + 1], net(x[i : i + 1, :end], mask=mask[i : i + 1, :end]))
    torch.testing.assert_close(net.explain(spoilt, lengths, mask).attention.sum(1), torch.ones(12))


@pytest.mark.parametrize("choices", [{}, {"match": "znorm"}, {"streams": "joint"}], ids=str)
def test_explanations(choices):
    net, x, lengths = network(**choices), noise(seed=1), torch.tensor([20, 4] + [20] * 10)
    explained, table = net.explain(x, lengths), net.token_table()
    n_tokens = len(table["kind"])
    assert {len(column) for column in table.values()} == {n_tokens}
    assert all(part.shape == (12, n_tokens) for part in explained[1:])
    torch.testing.assert_close(explained.logits, net(x, lengths))
    torch.testing.assert_close(explained.attention.sum(1), torch.ones(12))
    shape = torch.from_numpy(table["kind"] == "shapelet")
    assert explained.distance[:, ~shape].isnan().all()
    absent = explained.distance.isinf()
    assert absent[1, shape].any()
    assert torch.equal(absent[:, shape], (explained.start < 0)[:, shape])
    assert not explained.attention[absent].any()
    standardised = (x - net.channel_mean) / net.channel_std
    for j in torch.where(shape)[0].tolist():
        length = int(table["length"][j])
        assert explained.end[0, j] - explained.start[0, j] == length == table["end"][j] - table["start"][j]
        start = int(explained.start[0, j])
        window, values = standardised[0, start : start + length, table["channel"][j]], net.prototypes[j, :length]
        if net.match == "znorm":
            window, values = ((w - w.mean()) / w.std(correction=0) for w in (window, values))
        torch.testing.assert_close(explained.distance[0, j], (window - values).norm(), rtol=0, atol=1e-5)
    level, part = (torch.from_numpy(table[name])[~shape] for name in ("level", "part"))
    torch.testing.assert_close(explained.start[0, ~shape], part * 20 // 2**level)
    assert (table["score"] >= 0).all()
    assert (table["score"] <= 1).all()


def test_attention_of_the_explanation_is_that_of_the_last_layer_behind_the_read_out():
    net, x = network(streams="joint"), noise(2)
    found, (layer,) = net.explain(x), net.encoders[0].layers
    prior = torch.cat([net.prototype_prior, net.value_prior])
    captured = []
    layer.norm1.register_forward_hook(lambda module, inputs, output: captured.append(output))
    net(x)
    weights = layer.attention.weights(captured[-1], prior, net._stream).mean(1)
    n_shape, within = len(net.prototypes), prior + PriorAttention.OFFSET
    read = torch.cat([part / part.sum() for part in within.split([n_shape, len(within) - n_shape])]) / 2
    torch.testing.assert_close(found.attention, read @ weights)


def test_equal_matrices_for_all_tokens_read_out_the_mean():
    tokens, weights = torch.randn(4, 7, 5), torch.rand(4, 7)
    mean, each = READ_OUTS["mean"](7, 5, 3), READ_OUTS["tokens"](7, 5, 3)
    with torch.no_grad():
        each.weight.copy_(mean.weight.T.expand(7, 5, 3))
        each.bias.copy_(mean.bias)
    torch.testing.assert_close(each(tokens, weights), mean(tokens, weights))


def test_shape_share_is_the_learned_share():
    net, x = network(), noise()
    assert net.shape_share == 0.5
    with torch.no_grad():
        net.share_logit.fill_(50.0)
    assert net.shape_share == 1.0
    expected = net(x)
    nn.init.normal_(net.classify["value"].weight)
    torch.testing.assert_close(net(x), expected)


def test_a_state_dict_needs_no_data():
    net, x = network(), noise(seed=3)
    fresh = VSFormerForClassification(3, 20, 2, **SMALL)
    assert not fresh.is_prepared
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(fresh.eval()(x), net(x))
    assert fresh.token_table().keys() == net.token_table().keys()


def test_deterministic():
    x = noise()
    assert torch.equal(network()(x), network()(x))


def test_other_cases_change_nothing():
    """Whatever is not handed to ``prepare`` cannot have been seen; within a batch cases are independent."""
    net, x = network(), noise(seed=4)
    changed = torch.cat([x[:1], noise(seed=5)[1:] * 100])
    torch.testing.assert_close(net(x)[:1], net(changed)[:1])


def test_what_is_not_decayed():
    net = network()
    spared = {id(p) for group in decay_groups(net) if group.get("weight_decay") == 0.0 for p in group["params"]}
    names = {name for name, p in net.named_parameters() if id(p) in spared}
    assert {"share_logit", "encoding.channel", "encoding.scale", "encoding.label", "norm.weight"} <= names
    assert "encoders.0.layers.0.attention.beta" in names
    assert "classify.shape.weight" not in names


def test_unprepared_networks_say_what_to_do():
    net = VSFormerForClassification(3, 20, 2)
    for call in (lambda: net(noise()), lambda: net.explain(noise()), net.token_table, lambda: net.shape_share):
        with pytest.raises(RuntimeError, match=r"call prepare\(x, y\) with the training cases"):
            call()


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"match": "dtw"}, "match must be one of 'znorm', 'raw'"),
        ({"readout": "sum"}, "readout must be one of 'tokens', 'mean'"),
        ({"streams": "both"}, "streams must be one of 'joint', 'separate'"),
        ({"n_heads": 5}, "n_heads must divide d_model"),
        ({"n_layers": 0}, "n_layers must be at least 1"),
        ({"d_model": 0}, "d_model must be at least 1"),
        ({"d_ff": 0}, "d_ff must be at least 1"),
        ({"dropout": 1.5}, "dropout must be from 0 to 1, got 1.5"),
        ({"n_prototypes": 0}, "n_prototypes must be at least 1"),
        ({"n_intervals": 0}, "n_intervals must be at least 1"),
        ({"n_levels": -1}, "n_levels must be at least 0"),
        ({"use_shape": False, "use_value": False}, "use_shape and use_value are both False"),
    ],
    ids=str,
)
def test_bad_choices(choice, message):
    with pytest.raises(ValueError, match=message):
        VSFormerForClassification(3, 20, 2, **choice)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_same_on_a_gpu():
    x = noise()
    net = network().double()
    expected = net(x.double()), net.explain(x.double())
    there = net.cuda()
    torch.testing.assert_close(there(x.double().cuda()).cpu(), expected[0], rtol=0, atol=1e-9)
    assert torch.equal(there.explain(x.double().cuda()).start.cpu(), expected[1].start)
    made_there = VSFormerForClassification(3, 20, 2, **SMALL).cuda().prepare(x.cuda(), labels().cuda())
    assert made_there(x.cuda()).device.type == "cuda"
