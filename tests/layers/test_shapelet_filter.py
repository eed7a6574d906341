"""ShapeletFilter against a loop over cases, shapelets and starts."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from tsmodels.layers import ShapeletFilter, _shapelet_filter
from tsmodels.layers._shapelet_filter import PIECE, _fast_length

LENGTHS = (2, PIECE, 5, PIECE + 1, 1, 33)
N_CHANNELS = 3


def made(window=4, n_timepoints=40, d_model=4, seed=0, dtype=torch.float64, **choices):
    """A filter, with shapelets cut from noise; all that a token is made of is drawn."""
    torch.manual_seed(seed)
    length = torch.tensor([n for n in LENGTHS if n <= n_timepoints])
    start = (torch.rand(len(length)) * (n_timepoints - length + 1)).long()
    values = torch.randn(len(length), int(length.max()))
    layer = ShapeletFilter(
        values.to(dtype),
        length,
        torch.arange(len(length)) % N_CHANNELS,
        start,
        window=window,
        d_model=d_model,
        **choices,
    )
    nn.init.normal_(layer.absent)
    return layer.to(dtype)


def series(n_timepoints=40, n_cases=4, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_cases, n_timepoints, N_CHANNELS, generator=generator).to(dtype)


def ranges(n_timepoints, n_cases=4):
    """Valid ranges of all sorts: whole, short, starting late, of one step, empty."""
    lo = torch.zeros(n_cases, N_CHANNELS, dtype=torch.int64)
    hi = torch.full_like(lo, n_timepoints)
    hi[1] = torch.tensor([n_timepoints // 2, 1, n_timepoints])
    lo[2] = torch.tensor([n_timepoints // 3, n_timepoints - 1, 0])
    hi[3, 0] = 0
    return lo, hi


def cut(x, lo, hi):
    steps = torch.arange(x.shape[1])[:, None]
    return torch.where((steps >= lo[:, None]) & (steps < hi[:, None]), x, 0)


def nearest(x, shapelet, place, window, lo, hi, max_factor):
    """Start and distance of the best window of one channel; -1 and inf if none fits."""
    n = len(shapelet)
    starts = range(max(lo, place - window), min(hi - n, place + window) + 1) or range(lo, hi - n + 1)
    best, found = math.inf, -1
    own = 1e-3 + np.square(np.diff(shapelet)).sum()
    for a in starts:
        here = 1e-3 + np.square(np.diff(x[a : a + n])).sum()
        factor = min(max(own, here) / min(own, here), max_factor or math.inf)
        squared = np.square(x[a : a + n] - shapelet).sum() * factor
        if squared < best:
            best, found = squared, a
    return found, math.sqrt(best)


def looped(layer, x, lo, hi):
    """Starts, distances and tokens by a loop over cases and shapelets, differentiable."""
    starts, distances, tokens = [], [], []
    for j, n in enumerate(layer.length.tolist()):
        rows = (layer.owner == j).nonzero()[:, 0]
        s, to_window, to_shapelet = (
            t[rows].flatten(0, 1)[:n] for t in (layer.shapelets, layer.window_weight, layer.shapelet_weight)
        )
        v, place = layer.channel[j].item(), layer.start[j].item()
        position = sum(
            each.weight[index] + each.bias
            for each, index in ((layer.of_channel, v), (layer.of_start, place), (layer.of_end, place + n))
        )
        for i in range(len(x)):
            a, distance = nearest(
                x[i, :, v].detach().numpy(), s.detach().numpy(), place, layer.window, lo[i, v].item(), hi[i, v].item(),
                layer.max_factor,
            )  # fmt: skip
            window = layer.absent if a < 0 else x[i, a : a + n, v] @ to_window + layer.window_bias[j]
            starts.append(a)
            distances.append(distance)
            tokens.append(window - s @ to_shapelet - layer.shapelet_bias[j] + position)
    shape = (len(layer.length), len(x))
    as_rows = (torch.tensor(starts), torch.tensor(distances, dtype=torch.float64), torch.stack(tokens))
    return tuple(t.unflatten(0, shape).transpose(0, 1) for t in as_rows)


def assert_equal_to_the_loop(layer, x, lo=None, hi=None):
    n_cases, n_timepoints, _ = x.shape
    whole = torch.zeros(n_cases, N_CHANNELS, dtype=torch.int64)
    start, distance, tokens = looped(layer, x, *((whole, whole + n_timepoints) if lo is None else (lo, hi)))
    match = layer.match(x, lo, hi)
    assert torch.equal(match.start, start)
    torch.testing.assert_close(match.distance, distance, rtol=1e-9, atol=1e-7)  # the root of 1e-14
    torch.testing.assert_close(layer(x, lo, hi), tokens, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer.tokens(x, match.start), tokens, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_timepoints", [2, 3, 5, 17, 40, 62])
@pytest.mark.parametrize("window", [0, 4, 8, 62, 124])
def test_equals_a_loop(n_timepoints, window):
    layer, x = made(window, n_timepoints), series(n_timepoints)
    assert_equal_to_the_loop(layer, x)
    lo, hi = ranges(n_timepoints)
    assert_equal_to_the_loop(layer, cut(x, lo, hi), lo, hi)


@pytest.mark.parametrize("n_timepoints", [1, 7, 25, 90])
def test_series_of_another_length_than_the_training_series(n_timepoints):
    layer, x = made(), series(n_timepoints)
    assert_equal_to_the_loop(layer, x)


@pytest.mark.parametrize("max_factor", [1.0, 1.5])
def test_the_factor_of_complexities_is_capped(max_factor):
    assert_equal_to_the_loop(made(max_factor=max_factor), series())


def test_complexities_follow_the_shapelets_as_they_learn():
    layer = made(window=40)
    before = layer.match(series())
    layer.shapelets.data *= 3
    assert_equal_to_the_loop(layer, series())
    assert (layer.match(series()).start != before.start).any()


def test_gradients_equal_those_of_a_loop():
    layer, (lo, hi) = made(), ranges(40)
    x = cut(series(), lo, hi).requires_grad_()
    named = {"x": x, **dict(layer.named_parameters())}
    weights = torch.randn(4, len(layer.length), 4).double()
    expected = torch.autograd.grad((looped(layer, x, lo, hi)[2] * weights).sum(), list(named.values()))
    got = torch.autograd.grad((layer(x, lo, hi) * weights).sum(), list(named.values()))
    for name, one, other in zip(named, got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}")
        assert one.any(), name


def test_shapelets_learn_through_their_own_map_alone():
    layer = made()
    (grad,) = torch.autograd.grad(layer(series(n_cases=1)).sum(), layer.shapelets)
    torch.testing.assert_close(grad, -layer.shapelet_weight.sum(2))


def test_single_precision_finds_the_same_windows():
    single = made(dtype=torch.float32)
    single.shapelets.data += 100 * single.inside
    x = series(dtype=torch.float32) + 100  # of products of such numbers single precision would lose the differences
    exact = copy.deepcopy(single).double().match(x.double())
    found = single.match(x)
    assert torch.equal(found.start, exact.start)
    assert torch.equal(found.distance, exact.distance)
    assert single(x).dtype == torch.float32


def test_the_first_of_equal_windows_is_taken_whatever_the_padding():
    values = torch.tensor([[0.3, -0.1, 0.2]]).double()
    layer = ShapeletFilter(values, *torch.tensor([[3], [0], [10]]), window=8, d_model=2)
    x = torch.tensor([1.0, 2.0, -1.0]).double().repeat(7)[None, :, None]  # every third window is the same
    first = layer.match(x).start.item()
    assert 2 <= first < 5
    lo, hi = torch.tensor([[0]]), torch.tensor([[21]])
    for behind in range(1, 30):
        padded = nn.functional.pad(x, (0, 0, 0, behind))
        assert layer.match(padded, lo, hi).start.item() == first


def test_batches_are_searched_in_parts(monkeypatch):
    layer, (lo, hi) = made(), ranges(40)
    x = cut(series(), lo, hi)
    expected = layer.match(x, lo, hi)
    monkeypatch.setattr(_shapelet_filter, "CHUNK", 1)  # a part for each case
    for got, whole in zip(layer.match(x, lo, hi), expected, strict=True):
        assert torch.equal(got, whole)


def test_what_stands_behind_a_shapelet_stays_zero():
    layer = made(dtype=torch.float32)
    optimiser = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(series(dtype=torch.float32)).square().sum().backward()
    optimiser.step()
    behind = ~layer.inside
    for values in (layer.shapelets, layer.window_weight, layer.shapelet_weight):
        assert behind.any()
        assert not values[behind].any()
    used = [p.numel() for name, p in layer.named_parameters() if not name.startswith("of_")]
    n_steps, n_shapelets = sum(LENGTHS), len(LENGTHS)
    assert sum(used) - 9 * int(behind.sum()) == n_steps + 2 * 4 * (n_steps + n_shapelets) + 4


def test_weights_are_drawn_as_those_of_linear_maps():
    layer = made(d_model=300)
    for j, n in enumerate(LENGTHS):
        for weights in (layer.window_weight[layer.owner == j], layer.window_bias[j], layer.shapelet_bias[j]):
            assert 0.9 / math.sqrt(n) < weights.abs().max() <= 1 / math.sqrt(n)


def test_frozen_shapelets_are_looked_for_once(monkeypatch):
    frozen, fresh, (lo, hi) = made(freeze=True), made(), ranges(40)
    assert not frozen.shapelets.requires_grad
    x = cut(series(), lo, hi)
    searched = []
    search = ShapeletFilter._search

    def counted(self, cases, *rest, **named):
        searched.append(len(cases))
        return search(self, cases, *rest, **named)

    monkeypatch.setattr(ShapeletFilter, "_search", counted)

    def same():
        searched.clear()
        got, expected = frozen.match(x, lo, hi), fresh.match(x, lo, hi)
        assert torch.equal(got.start, expected.start)
        torch.testing.assert_close(got.distance, expected.distance, rtol=1e-12, atol=0)
        return searched[:-1]  # the last is that of the other filter

    assert same() == [4]
    assert same() == []
    x[2, 20] += 1
    assert same() == [1]
    lo[0, 1] = 3  # the values alone do not tell
    assert same() == [1]
    state = {name: value + 1 for name, value in fresh.state_dict().items()}
    for layer in (frozen, fresh):
        layer.load_state_dict(state)
    assert same() == [4]
    for twin in (copy.deepcopy(frozen), pickle.loads(pickle.dumps(frozen))):
        assert torch.equal(twin(x, lo, hi), frozen(x, lo, hi))
    assert len(pickle.dumps(frozen)) == len(pickle.dumps(made(freeze=True)))  # what it was shown is not written


def test_values_are_those_of_now():
    layer = made()
    layer.shapelets.data += layer.inside
    for j, values in enumerate(layer.values()):
        assert torch.equal(values, layer.shapelets[layer.owner == j].flatten()[: LENGTHS[j]])
        assert len(values) == LENGTHS[j]


def test_export_with_valid_ranges():
    layer, (lo, hi) = made().eval(), ranges(40)
    x = cut(series(), lo, hi)
    exported = torch.export.export(layer, (x, lo, hi)).module()
    torch.testing.assert_close(exported(x, lo, hi), layer(x, lo, hi), rtol=0, atol=1e-12)


def test_lengths_of_transforms():
    assert [_fast_length(n) for n in (1, 2, 3, 97, 100, 101, 1751, 17984)] == [2, 2, 4, 100, 100, 108, 1800, 18000]
