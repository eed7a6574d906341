"""MaskedBatchNorm2d against torch's over the valid steps put side by side."""

import pytest
import torch
from torch import nn

from tsmodels.layers import MaskedBatchNorm2d


def pair():
    torch.manual_seed(0)
    ours, plain = MaskedBatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    for p in ours.parameters():
        nn.init.normal_(p)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def side_by_side(x, lengths):
    return torch.cat([case[:, :, :n] for case, n in zip(x, lengths, strict=True)], 2)[None]


def test_equals_batch_norm_over_the_valid_steps():
    ours, plain = pair()
    lengths = [7, 1, 4]
    valid = torch.arange(7) < torch.tensor(lengths)[:, None]
    for _ in range(2):  # the second time from running statistics that have moved
        x = torch.randn(3, 3, 5, 7).double().requires_grad_()
        weights = torch.randn_like(x)
        got, expected = side_by_side(ours(x, valid), lengths), plain(side_by_side(x, lengths))
        torch.testing.assert_close(got, expected)
        parts = side_by_side(weights, lengths)
        for one, other in zip(
            torch.autograd.grad((got * parts).sum(), [x, *ours.parameters()]),
            torch.autograd.grad((expected * parts).sum(), [x, *plain.parameters()]),
            strict=True,
        ):
            torch.testing.assert_close(one, other)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    torch.testing.assert_close(ours.eval()(x, valid), plain.eval()(x))


@pytest.mark.parametrize("training", [True, False])
def test_without_padding_it_is_batch_norm(training):
    ours, plain = pair()
    x = torch.randn(3, 3, 5, 7).double()
    assert torch.equal(ours.train(training)(x), plain.train(training)(x))


def test_a_single_valid_step():
    ours, _ = pair()
    valid = torch.tensor([[True, False]])
    assert ours(torch.randn(1, 3, 1, 2).double(), valid).isfinite().all()
    assert all(value.isfinite().all() for value in ours.state_dict().values())
