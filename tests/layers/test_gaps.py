"""fill_gaps against NumPy's interpolation, channel by channel."""

import numpy as np
import pytest
import torch

from tsmodels.layers import fill_gaps


def gappy(share=0.6, shape=(5, 23, 4), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator).to(dtype)
    return x, torch.rand(shape, generator=generator) < share


def interpolated(x, observed):
    """One channel: values, lo, hi."""
    at = np.flatnonzero(observed)
    if not len(at):
        return np.zeros_like(x), 0, 0
    steps = np.arange(len(x))
    filled = np.interp(steps, at, x[at])
    filled[(steps < at[0]) | (steps > at[-1])] = 0
    return filled, at[0], at[-1] + 1


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equals_interpolation_of_each_channel(share, dtype):
    x, mask = gappy(share, dtype=dtype)
    lengths = torch.tensor([23, 1, 7, 22, 15])
    spoilt = torch.where(mask, x, torch.nan)
    spoilt[1, 1:] = torch.inf
    filled, lo, hi = fill_gaps(spoilt, lengths, mask)
    assert filled.dtype == dtype
    assert lo.dtype == hi.dtype == torch.int64
    for i, length in enumerate(lengths.tolist()):
        for channel in range(4):
            observed = mask[i, :, channel].numpy() & (np.arange(23) < length)
            expected, first, stop = interpolated(x[i, :, channel].double().numpy(), observed)
            np.testing.assert_allclose(filled[i, :, channel], expected, rtol=0, atol=8 * torch.finfo(dtype).eps)
            assert (lo[i, channel], hi[i, channel]) == (first, stop)


def test_observed_values_are_kept_bitwise():
    x, mask = gappy()
    assert torch.equal(fill_gaps(x, mask=mask)[0][mask], x[mask])


def test_without_gaps_only_what_stands_behind_the_end_changes():
    x, _ = gappy()
    lengths = torch.tensor([23, 1, 7, 22, 15])
    same, lo, hi = fill_gaps(x)
    assert torch.equal(same, x)
    assert not lo.any()
    assert (hi == 23).all()
    for mask in (None, torch.ones_like(x, dtype=torch.bool)):
        cut, lo, hi = fill_gaps(x, lengths, mask)
        assert not lo.any()
        assert torch.equal(hi, lengths[:, None].expand(5, 4))
        for i, length in enumerate(lengths.tolist()):
            assert torch.equal(cut[i, :length], x[i, :length])
            assert not cut[i, length:].any()


def test_gradients_reach_the_neighbours_of_a_gap():
    x = torch.tensor([torch.nan, 1.0, torch.nan, torch.nan, 4.0, torch.nan]).double()[None, :, None].requires_grad_()
    mask = torch.tensor([False, True, False, False, True, False])[None, :, None]
    filled, _, _ = fill_gaps(x, mask=mask)
    torch.testing.assert_close(filled.flatten(), torch.tensor([0.0, 1, 2, 3, 4, 0]).double())
    (grad,) = torch.autograd.grad((filled.flatten() * torch.tensor([100.0, 1, 10, 20, 2, 100])).sum(), x)
    expected = torch.tensor([0, 1 + 10 * 2 / 3 + 20 / 3, 0, 0, 2 + 10 / 3 + 20 * 2 / 3, 0]).double()
    torch.testing.assert_close(grad.flatten(), expected)


def test_gradcheck():
    x, mask = gappy(shape=(2, 7, 2))
    lengths = torch.tensor([7, 5])
    torch.autograd.gradcheck(lambda x: fill_gaps(x, lengths, mask)[0], x.requires_grad_())


def test_export():
    class Fill(torch.nn.Module):
        def forward(self, x, lengths, mask):
            return fill_gaps(x, lengths, mask)

    x, mask = gappy()
    arguments = (x, torch.tensor([23, 1, 7, 22, 15]), mask)
    exported = torch.export.export(Fill(), arguments).module()
    for got, expected in zip(exported(*arguments), fill_gaps(*arguments), strict=True):
        assert torch.equal(got, expected)
