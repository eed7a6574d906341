"""The encoder block of ShapeFormer against its formulas, written out."""

import pytest
import torch

from tsmodels.layers import JoinedAttention, PostNormBlock


def attended(layer, x, valid=None):
    """Output and weights by a loop over cases and heads."""
    d_model = x.shape[2]
    width = d_model // layer.n_heads
    queries, keys, values = (x @ w.T for w in layer.maps.weight.split(d_model))
    rows, weights = [], []
    for i in range(len(x)):
        heads = []
        for h in range(layer.n_heads):
            q, k, v = (t[i, :, h * width : (h + 1) * width] for t in (queries, keys, values))
            scores = q @ k.T / d_model**0.5
            if valid is not None:
                scores[:, ~valid[i]] = -torch.inf
            share = scores.exp() / scores.exp().sum(1, keepdim=True)
            heads.append(share @ v)
            weights.append(share)
        rows.append(layer.norm(torch.cat(heads, 1)))
    return torch.stack(rows), torch.stack(weights).unflatten(0, (len(x), layer.n_heads))


def made(cls, *arguments):
    torch.manual_seed(0)
    layer = cls(*arguments).double().eval()
    for p in layer.parameters():
        torch.nn.init.normal_(p)
    return layer, torch.randn(3, 7, 6).double()


@pytest.mark.parametrize("n_heads", [1, 2, 6])
def test_attention_is_scaled_by_the_whole_width(n_heads):
    layer, x = made(JoinedAttention, 6, n_heads)
    expected, weights = attended(layer, x)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer.weights(x), weights)
    share = torch.rand(3, 7).double()
    torch.testing.assert_close(layer.seen(x, share), torch.einsum("bq,bhqk->bk", share, weights) / n_heads)
    rows = torch.tensor([4, 0])
    read, looks = layer.read(x, rows)
    torch.testing.assert_close(read, expected[:, rows])
    torch.testing.assert_close(looks, weights[:, :, rows])


def test_attention_leaves_padding_out():
    layer, x = made(JoinedAttention, 6, 2)
    valid = torch.arange(7) < torch.tensor([7, 1, 4])[:, None]
    torch.testing.assert_close(layer(x, valid), attended(layer, x, valid)[0])


@pytest.mark.parametrize("scale", [1.0, torch.linspace(-1, 2, 7).double()[:, None]], ids=["plain", "scaled"])
def test_block_and_some_of_its_rows(scale):
    block, x = made(PostNormBlock, 6, 2, 5, 0.3)
    residual = torch.randn_like(x)
    a = block.attention_norm((residual + block.attention(x)) * scale)
    inner, _, _, outer, _ = block.feed_forward
    expected = block.norm(a + outer(inner(a).clamp(min=0))) * scale
    torch.testing.assert_close(block(x, residual, scale=scale), expected)
    rows = torch.tensor([2])
    read, looks = block.read(x, rows, scale=scale if isinstance(scale, float) else scale[rows])
    torch.testing.assert_close(read, block(x, x, scale=scale)[:, rows])
    torch.testing.assert_close(looks, block.attention.weights(x).mean(1)[:, rows])
    torch.testing.assert_close(looks.sum(2), torch.ones(3, 1).double())


def test_gradients_of_some_rows_equal_those_of_all():
    block, x = made(PostNormBlock, 6, 2, 5, 0.0)
    x.requires_grad_()
    named = [x, *block.parameters()]
    rows = torch.tensor([2, 5])
    some = torch.autograd.grad(block.read(x, rows)[0].square().sum(), named)
    every = torch.autograd.grad(block(x, x)[:, rows].square().sum(), named)
    for one, other in zip(some, every, strict=True):
        torch.testing.assert_close(one, other)


def test_dropout_is_inside_and_at_the_end_of_the_feed_forward_network():
    block, x = made(PostNormBlock, 6, 2, 5, 1.0)
    block.train()
    torch.testing.assert_close(block(x, x), block.norm(block.attention_norm(x + block.attention(x))))
