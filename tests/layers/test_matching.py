"""The nearest window of a series to each prototype, against a loop over windows."""

import copy
import pickle

import numpy as np
import pytest
import torch

from tsmodels.layers import NearestWindows, _matching

LENGTHS, CHANNELS = [3, 3, 3, 5, 8, 8], [0, 2, 0, 1, 1, 2]


def problem(n_cases=4, n_timepoints=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n_cases, n_timepoints, 3, generator=generator).double().cumsum(1)
    lo = torch.randint(0, 6, (n_cases, 3), generator=generator)
    hi = torch.randint(n_timepoints - 8, n_timepoints + 1, (n_cases, 3), generator=generator)
    prototypes = torch.zeros(6, 8, dtype=torch.float64)
    for j, length in enumerate(LENGTHS):
        prototypes[j, :length] = torch.randn(length, generator=generator).double().cumsum(0)
    return x, lo, hi, prototypes


def by_loop(x, lo, hi, prototypes, normalize):
    distance = np.full((len(x), len(LENGTHS)), np.inf)
    start = np.full(distance.shape, -1)
    for i, series in enumerate(x.numpy()):
        for j, (length, channel) in enumerate(zip(LENGTHS, CHANNELS, strict=True)):
            values = prototypes[j, :length].numpy()
            for a in range(int(lo[i, channel]), int(hi[i, channel]) - length + 1):
                window = series[a : a + length, channel]
                apart = np.linalg.norm(window - values)
                if normalize:
                    apart = np.sqrt(2 * length * max(0, 1 - np.corrcoef(window, values)[0, 1]))
                if apart < distance[i, j]:
                    distance[i, j], start[i, j] = apart, a
    return distance, start


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("room", [1, 200, 1 << 23])
def test_equals_a_loop_over_windows(normalize, room, monkeypatch):
    monkeypatch.setattr(_matching, "_ROOM", room)
    x, lo, hi, prototypes = problem()
    found = NearestWindows(LENGTHS, CHANNELS, normalize=normalize)(x, lo, hi, prototypes)
    distance, start = by_loop(x, lo, hi, prototypes, normalize)
    assert np.array_equal(found.start.numpy(), start)
    np.testing.assert_allclose(found.distance.numpy(), distance, atol=1e-7)
    assert [tuple(w.shape) for w in found.windows] == [(4, 3, 3), (4, 1, 5), (4, 2, 8)]
    for run, members in enumerate([slice(0, 3), slice(3, 4), slice(4, 6)]):
        apart = (found.windows[run] - found.prototypes[run]).norm(dim=-1)
        torch.testing.assert_close(apart, found.distance[:, members])


def test_single_precision_finds_the_same_places():
    x, lo, hi, prototypes = problem(n_cases=20, n_timepoints=200)
    nearest = NearestWindows(LENGTHS, CHANNELS)
    double, single = nearest(x, lo, hi, prototypes), nearest(x.float(), lo, hi, prototypes.float())
    assert (double.start == single.start).float().mean() > 0.99  # rounding of the series itself decides near ties
    torch.testing.assert_close(single.distance.double(), double.distance, rtol=0, atol=1e-4)
    assert single.distance.dtype == torch.float32


def test_a_window_cut_out_is_found_whatever_its_units():
    x, lo, hi, prototypes = problem()
    for i in range(4):
        first = int(lo[i, 1]) + i
        x[i, first : first + 5, 1] = 30 * prototypes[3, :5] - 7
    found = NearestWindows(LENGTHS, CHANNELS)(x, lo, hi, prototypes)
    assert torch.equal(found.start[:, 3], lo[:, 1] + torch.arange(4))
    assert found.distance[:, 3].max() < 1e-10


def test_what_is_outside_the_valid_range_changes_nothing():
    x, lo, hi, prototypes = problem()
    nearest = NearestWindows(LENGTHS, CHANNELS)
    expected = nearest(x, lo, hi, prototypes)
    steps = torch.arange(x.shape[1])[:, None]
    inside = (steps >= lo[:, None]) & (steps < hi[:, None])
    spoilt = torch.where(inside, x, 1e3 * torch.randn_like(x))
    got = nearest(torch.cat([spoilt, torch.ones(4, 9, 3).double()], 1), lo, hi, prototypes)
    assert torch.equal(got.start, expected.start)
    torch.testing.assert_close(got.distance, expected.distance, rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalize", [True, False])
def test_of_windows_equally_near_the_first_is_taken(normalize):
    generator = torch.Generator().manual_seed(0)
    levels = 0.1 + 0.3 * torch.randint(0, 3, (40, 12, 1), generator=generator).double()
    x = levels.repeat_interleave(10, 1)  # many windows lie on one step, or across a pair of steps that recurs
    windows = x[:, :, 0].unfold(1, 8, 1)
    varied = windows[windows.std(2) > 0.1]
    prototypes = varied[torch.randperm(len(varied), generator=generator)[:20]]
    whole = torch.zeros(40, 1).long(), torch.full((40, 1), 120)
    found = NearestWindows([8] * 20, [0] * 20, normalize=normalize)(x, *whole, prototypes)
    if normalize:
        windows, prototypes = (_matching.z_normalised(each, 1e-3) for each in (windows, prototypes))
    squared = (windows[:, None] - prototypes[:, None]).square().sum(-1)  # equal for equal windows, bit by bit
    first = (squared <= squared.amin(2, keepdim=True) + 1e-9).to(torch.uint8).argmax(2)
    assert torch.equal(found.start, first)


def test_nothing_fits():
    x, lo, hi, prototypes = problem(n_timepoints=20)
    hi[1] = lo[1] + 4
    hi[2] = lo[2]
    found = NearestWindows(LENGTHS, CHANNELS)(x, lo, hi, prototypes)
    assert (found.start[1] >= 0).tolist() == [True, True, True, False, False, False]
    assert (found.start[2] == -1).all()
    assert torch.equal(found.distance.isinf(), found.start < 0)
    assert not found.windows[2][1].any()
    short = NearestWindows(LENGTHS, CHANNELS)(x[:, :4], lo * 0, lo * 0 + 4, prototypes)
    assert (short.start[:, 3:] == -1).all()
    assert (short.start[:, :3] >= 0).all()


def test_flat_windows_are_uncorrelated():
    prototypes = torch.tensor([[1.0, 0.0, -1.0, 2.0]])
    nearest, whole = NearestWindows([4], [0]), (torch.zeros(1, 1).long(), torch.full((1, 1), 12))
    flat = nearest(torch.full((1, 12, 1), 3.0), *whole, prototypes)
    assert flat.start.item() == 0
    torch.testing.assert_close(flat.distance.item(), 8**0.5, rtol=0, atol=1e-6)
    falling = torch.full((1, 12, 1), 3.0)
    falling[0, 3:7, 0] -= prototypes[0]  # its negative: every flat window is nearer, where no part of it is like it
    assert nearest(falling, *whole, prototypes).distance.item() <= 8**0.5


def test_windows_have_gradients_and_places_have_none():
    x, lo, hi, prototypes = problem()
    x.requires_grad_()
    found = NearestWindows(LENGTHS, CHANNELS)(x, lo, hi, prototypes)
    assert not found.distance.requires_grad
    sum(w.square().mul(torch.arange(w.shape[-1])).sum() for w in found.windows).backward()
    steps = torch.arange(x.shape[1])[:, None]
    seen = torch.zeros_like(x, dtype=torch.bool)
    for j, (length, channel) in enumerate(zip(LENGTHS, CHANNELS, strict=True)):
        first = found.start[:, j, None]
        seen[..., channel] |= (steps[:, 0] >= first) & (steps[:, 0] < first + length)
    assert not x.grad[~seen].any()
    assert x.grad[seen].abs().min() > 0


def test_copies_pickles_and_has_no_state():
    nearest, arguments = NearestWindows(LENGTHS, CHANNELS), problem()
    assert nearest.state_dict() == {}
    for twin in (copy.deepcopy(nearest), pickle.loads(pickle.dumps(nearest))):
        assert torch.equal(twin(*arguments).start, nearest(*arguments).start)


def test_lengths_must_ascend():
    with pytest.raises(ValueError, match="order of their lengths"):
        NearestWindows([5, 3], [0, 0])
