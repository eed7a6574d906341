"""Statistics on the pyramid of intervals against NumPy on every interval."""

import numpy as np
import pytest
import torch

from tsmodels.layers import interval_level, interval_statistics


def direct(x, observed, lo, hi, n_levels):
    """[mean, deviation, slope * length], observed values, start and end of all intervals of one channel."""
    rows = []
    for level in range(n_levels + 1):
        for k in range(2**level):
            start, end = (lo + (k + part) * (hi - lo) // 2**level for part in (0, 1))
            t = np.arange(start, end)[observed[start:end]]
            mean = deviation = slope = 0.0
            if len(t):
                mean, deviation = x[t].mean(), x[t].std()
            if len(t) > 1:
                slope = np.polyfit(t - t.mean(), x[t], 1)[0]
            rows.append((mean, deviation, slope * (end - start), len(t), start, end))
    return np.array(rows)


@pytest.mark.parametrize("n_levels", [0, 1, 4])
@pytest.mark.parametrize("n_timepoints", [1, 2, 5, 16, 333])
@pytest.mark.parametrize("gaps", [False, True])
def test_equals_direct_formulas(n_timepoints, n_levels, gaps):
    generator = np.random.default_rng(n_timepoints)
    x = generator.standard_normal((3, n_timepoints, 2)) + 5
    lo = generator.integers(0, n_timepoints // 3 + 1, (3, 2))
    hi = generator.integers(lo, n_timepoints + 1)
    lo[0], hi[0] = 0, n_timepoints
    steps = np.arange(n_timepoints)[:, None]
    observed = (steps >= lo[:, None]) & (steps < hi[:, None])
    if gaps:
        observed &= generator.random(observed.shape) < 0.6
    x[~observed] = np.nan
    found = interval_statistics(*(torch.from_numpy(a) for a in (x, observed, lo, hi)), n_levels)
    assert found.statistics.shape == (3, 2, 2 ** (n_levels + 1) - 1, 3)
    for i in range(3):
        for v in range(2):
            expected = direct(x[i, :, v], observed[i, :, v], lo[i, v], hi[i, v], n_levels)
            got = [found.statistics[i, v], *(part[i, v, :, None] for part in found[1:])]
            np.testing.assert_allclose(np.concatenate(got, 1), expected, rtol=0, atol=1e-9)


def test_a_straight_line():
    x = 3 + 0.5 * torch.arange(64.0, dtype=torch.float64)[None, :, None]
    whole = torch.zeros(1, 1, dtype=torch.int64), torch.full((1, 1), 64)
    found = interval_statistics(x, torch.ones_like(x, dtype=torch.bool), *whole, 3)
    lengths = (found.end - found.start)[0, 0].double()
    assert lengths.tolist() == [64.0] + [32.0] * 2 + [16.0] * 4 + [8.0] * 8
    torch.testing.assert_close(found.statistics[0, 0, :, 2], 0.5 * lengths)
    torch.testing.assert_close(found.statistics[0, 0, :, 1], 0.5 * ((lengths**2 - 1) / 12).sqrt())


def test_levels_of_intervals():
    assert interval_level(torch.arange(16)).tolist() == [0] + [1] * 2 + [2] * 4 + [3] * 8 + [4]


def test_constant_series_have_no_deviation_and_finite_gradients():
    x = torch.full((2, 20, 1), 7.3, dtype=torch.float64, requires_grad=True)
    whole = torch.zeros(2, 1, dtype=torch.int64), torch.full((2, 1), 20)
    found = interval_statistics(x, torch.ones_like(x, dtype=torch.bool), *whole, 2)
    torch.testing.assert_close(found.statistics[..., 1:], torch.zeros(2, 1, 7, 2).double(), rtol=0, atol=1e-9)
    found.statistics.sum().backward()
    assert x.grad.isfinite().all()


def test_gradients():
    x = torch.randn(2, 12, 2, dtype=torch.float64, requires_grad=True)
    observed = torch.rand(2, 12, 2) < 0.8
    lo, hi = torch.tensor([[0, 1], [2, 0]]), torch.tensor([[12, 11], [9, 12]])
    steps = torch.arange(12)[:, None]
    observed &= (steps >= lo[:, None]) & (steps < hi[:, None])
    assert torch.autograd.gradcheck(lambda x: interval_statistics(x, observed, lo, hi, 2).statistics, (x,))


def test_single_precision_is_computed_in_double():
    x = 1e3 + torch.randn(1, 500, 1)
    whole = torch.zeros(1, 1, dtype=torch.int64), torch.full((1, 1), 500)
    everywhere = torch.ones_like(x, dtype=torch.bool)
    single = interval_statistics(x, everywhere, *whole, 4).statistics
    double = interval_statistics(x.double(), everywhere, *whole, 4).statistics
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, double.float())
