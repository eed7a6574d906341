"""The small layers against what their docstrings say."""

import pytest
import torch

from tsmodels.layers import (
    AttentionPooling,
    CausalDepthwiseConv,
    MaskedPooling,
    PatchEmbedding,
    inverse_softplus,
    log_uniform_step_bias,
)


def test_inverse_softplus_inverts_over_many_magnitudes():
    y = torch.logspace(-6, 2, 50, dtype=torch.float64)
    torch.testing.assert_close(torch.nn.functional.softplus(inverse_softplus(y)), y, rtol=1e-9, atol=0)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (1.0, 0.1), (-1.0, 1.0)])
def test_step_bounds_are_checked(bounds):
    with pytest.raises(ValueError, match="0 < low <= high"):
        log_uniform_step_bias(4, *bounds)


def test_steps_are_floored():
    steps = torch.nn.functional.softplus(log_uniform_step_bias(1000, 1e-9, 1e-8))
    torch.testing.assert_close(steps, torch.full((1000,), 1e-4), rtol=1e-3, atol=0)


def test_causal_convolution_equals_its_formula():
    torch.manual_seed(0)
    layer, x = CausalDepthwiseConv(5, kernel_size=3).double(), torch.randn(2, 7, 4, 5).double()
    weight = layer.conv.weight[:, 0, :, 0]
    expected = torch.zeros_like(x)
    for t in range(7):
        for k in range(3):
            if t - 2 + k >= 0:
                expected[:, t] += weight[:, k] * x[:, t - 2 + k]
    torch.testing.assert_close(layer(x), expected + layer.conv.bias)


@pytest.mark.parametrize(("patch_size", "stride"), [(1, 1), (4, 2), (5, 5), (4, 3)])
def test_number_of_tokens_and_their_values(patch_size, stride):
    torch.manual_seed(0)
    embed = PatchEmbedding(6, patch_size, stride).double()
    for length in range(1, 14):
        x = torch.randn(2, length, 3).double()
        tokens = embed(x)
        n_tokens = 1 + max(0, -(-(length - patch_size) // stride))
        assert tokens.shape == (2, n_tokens, 3, 6)
        assert embed.n_tokens(torch.tensor([length])).tolist() == [n_tokens]
        assert (n_tokens - 1) * stride < length  # every token sees a step of the series
        last = torch.zeros(2, 3, patch_size).double()
        seen = x[:, (n_tokens - 1) * stride :].transpose(1, 2)[..., :patch_size]
        last[..., : seen.shape[-1]] = seen
        torch.testing.assert_close(tokens[:, -1], embed.values(last))


def test_missing_indicator_adds_its_own_map():
    torch.manual_seed(0)
    embed, x = PatchEmbedding(4, 2, 2), torch.randn(1, 6, 2)
    missing = torch.zeros_like(x)
    assert torch.equal(embed(x, missing), embed(x))
    missing[0, 3, 1] = 1
    difference = embed(x, missing) - embed(x)
    torch.testing.assert_close(difference[0, 1, 1], embed.missing.weight[:, 1])
    assert difference.abs().sum() == difference[0, 1, 1].abs().sum()


@pytest.mark.parametrize("over_variates", ["concat", "mean"])
@pytest.mark.parametrize("over_time", ["mean", "last", "both"])
def test_pooling(over_time, over_variates):
    x, n_valid = torch.randn(2, 5, 3, 4), torch.tensor([5, 2])
    pool = MaskedPooling(over_time, over_variates)
    got = pool(x, n_valid)
    assert got.shape == (2, pool.n_parts(3) * 4)
    for i, n in enumerate(n_valid.tolist()):
        rows = x[i, :n].flatten(1) if over_variates == "concat" else x[i, :n].mean(1)
        parts = {"mean": [rows.mean(0)], "last": [rows[-1]], "both": [rows.mean(0), rows[-1]]}[over_time]
        torch.testing.assert_close(got[i], torch.cat(parts))
    torch.testing.assert_close(pool(x)[0], got[0])


def test_joint_patches_equal_one_linear_map_of_all_variates():
    torch.manual_seed(0)
    embed = PatchEmbedding(6, 4, 2, n_joint=3).double()
    x, missing = torch.randn(2, 9, 3).double(), torch.zeros(2, 9, 3).double()
    missing[0, 5, 2] = 1
    tokens = embed(x, missing)
    assert tokens.shape == (2, 4, 6)
    padded, absent = (torch.cat([t, torch.zeros(2, 1, 3).double()], 1) for t in (x, missing))
    for j in range(4):
        values, gaps = (t[:, 2 * j : 2 * j + 4].transpose(1, 2).flatten(1) for t in (padded, absent))
        torch.testing.assert_close(tokens[:, j], embed.values(values) + embed.missing(gaps))


@pytest.mark.parametrize("shared", [False, True])
def test_attention_pooling(shared):
    torch.manual_seed(0)
    x, n_valid = torch.randn(2, 5, 6).double(), torch.tensor([5, 2])
    pool = AttentionPooling(6, n_heads=3, shared=shared).double()
    torch.testing.assert_close(pool(x), x.mean(1), rtol=0, atol=0.2)  # near the mean at the start
    pool.score.weight.data.normal_()
    x[1, 2:] = float("nan")  # what stands behind the end is not read
    got = pool(x, n_valid)
    for i, n in enumerate(n_valid.tolist()):
        rows = x[i, :n]
        scores = rows @ pool.score.weight.T
        scores = scores.max(1, keepdim=True).values.expand(-1, 3) if shared else scores
        weights = scores.exp() / scores.exp().sum(0)
        expected = [(weights[:, head, None] * rows[:, 2 * head : 2 * head + 2]).sum(0) for head in range(3)]
        torch.testing.assert_close(got[i], torch.cat(expected))
    torch.testing.assert_close(pool(x[:1]), got[:1])


def test_heads_divide_the_width_only_where_they_share_it_out():
    with pytest.raises(ValueError, match="divisible by 4 heads, got 6"):
        AttentionPooling(6)
    assert AttentionPooling(6, shared=True)(torch.ones(1, 2, 6)).shape == (1, 6)
