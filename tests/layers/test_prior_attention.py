"""Attention with priors against the product of weights and powers of priors, written out."""

import pytest
import torch

from tsmodels.layers import PriorAttention, PriorEncoder, PriorEncoderLayer

STREAM = torch.tensor([0, 0, 0, 1, 1, 1, 1])


def attention(n_streams=2, d_model=12, n_heads=3, seed=0):
    torch.manual_seed(seed)
    layer = PriorAttention(d_model, n_heads, n_streams=n_streams).double()
    if n_streams:
        with torch.no_grad():
            layer.beta.add_(torch.randn_like(layer.beta))
    return layer


def tokens(n_cases=2, d_model=12):
    return torch.randn(n_cases, len(STREAM), d_model, generator=torch.Generator().manual_seed(1)).double()


def plain_weights(layer, x):
    q, k, _ = layer.project(x).unflatten(2, (3, layer.n_heads, -1)).permute(2, 0, 3, 1, 4)
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


def mixed(layer, x, weights):
    v = layer.project(x).chunk(3, -1)[2].unflatten(2, (layer.n_heads, -1)).transpose(1, 2)
    return layer.out((weights @ v).transpose(1, 2).flatten(2))


def test_equals_product_and_renormalisation():
    layer, x, prior = attention(), tokens(), torch.rand(7).double()
    prior[2] = 0.0
    power = torch.nn.functional.softplus(layer.beta)[:, STREAM]
    weights = plain_weights(layer, x) * ((prior + 1e-3) ** power)[:, None]
    weights = weights / weights.sum(-1, keepdim=True)
    torch.testing.assert_close(layer.weights(x, prior, STREAM), weights, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer(x, prior, STREAM), mixed(layer, x, weights), rtol=0, atol=1e-12)


def test_powers_start_at_one():
    layer = PriorAttention(8, 2, n_streams=2)
    torch.testing.assert_close(torch.nn.functional.softplus(layer.beta), torch.ones(2, 2))
    assert layer.no_weight_decay == {"beta"}


@pytest.mark.parametrize("width", [8, 12, 21])
def test_power_zero_is_plain_attention(width):
    layer, x = attention(d_model=width * 3), tokens(d_model=width * 3)
    with torch.no_grad():
        layer.beta.fill_(-800.0)
    expected = mixed(layer, x, plain_weights(layer, x))
    torch.testing.assert_close(layer(x, torch.rand(7).double(), STREAM), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(layer(x, None, STREAM), expected, rtol=0, atol=1e-12)


def test_equal_priors_are_plain_attention():
    layer, x = attention(n_streams=1), tokens()
    expected = mixed(layer, x, plain_weights(layer, x))
    got = layer(x, torch.full((7,), 0.3).double(), torch.zeros(7, dtype=torch.int64))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_streams", [0, 2])
def test_absent_tokens_are_not_seen(n_streams):
    layer, x, prior = attention(n_streams), tokens(), (torch.rand(7).double() if n_streams else None)
    valid = torch.ones(2, 7, dtype=torch.bool)
    valid[1, [1, 4]] = False
    got = layer(x, prior, STREAM, valid)
    torch.testing.assert_close(got[:1], layer(x[:1], prior, STREAM), rtol=0, atol=1e-12)
    kept = valid[1]
    alone = layer(x[1:, kept], None if prior is None else prior[kept], STREAM[kept])
    torch.testing.assert_close(got[1:, kept], alone, rtol=0, atol=1e-12)
    weights = layer.weights(x, prior, STREAM, valid)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 7).double())
    assert not weights[1, :, :, ~kept].any()


def test_a_case_without_any_token_stays_finite():
    layer, x = PriorEncoderLayer(12, 3, 8, n_streams=2).double(), tokens().requires_grad_()
    out = layer(x, torch.rand(7).double(), STREAM, torch.zeros(2, 7, dtype=torch.bool))
    out.sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()


def test_gradients_reach_powers_and_priors():
    layer, x = attention(), tokens().requires_grad_()
    prior = torch.rand(7).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, prior: layer(x, prior, STREAM), (x, prior))
    layer(x, prior, STREAM).square().sum().backward()
    assert layer.beta.grad.all()


def test_encoder_layer_is_pre_norm():
    torch.manual_seed(0)
    layer, x, prior = PriorEncoderLayer(12, 3, 8, n_streams=2).double(), tokens(), torch.rand(7).double()
    between = x + layer.attention(layer.norm1(x), prior, STREAM)
    expected = between + layer.feed_forward(layer.norm2(between))
    torch.testing.assert_close(layer(x, prior, STREAM), expected)
    attended = layer.attention.weights(layer.norm1(x), prior, STREAM)
    torch.testing.assert_close(layer.weights(x, prior, STREAM), attended)


def test_encoder_is_its_layers_and_tells_what_the_last_attended_to():
    torch.manual_seed(0)
    encoder, x, prior = PriorEncoder(3, 12, 3, 8, n_streams=2).double(), tokens(), torch.rand(7).double()
    before = x
    for layer in encoder.layers[:2]:
        before = layer(before, prior, STREAM)
    got, weights = encoder(x, prior, STREAM, explained=True)
    torch.testing.assert_close(got, encoder.layers[2](before, prior, STREAM))
    torch.testing.assert_close(weights, encoder.layers[2].weights(before, prior, STREAM).mean(1))
    again, nothing = encoder(x, prior, STREAM)
    assert torch.equal(again, got)
    assert nothing is None


@pytest.mark.parametrize("n_heads", [0, 5])
def test_heads_must_divide_the_width(n_heads):
    with pytest.raises(ValueError, match="n_heads must divide d_model"):
        PriorAttention(12, n_heads)
