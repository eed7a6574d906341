"""Normalisation, covariates, head and closed loop against what their docstrings say."""

import pytest
import torch

from tsmodels.layers import ClosedLoop2D, CovariateRegression, ForecastingHead, RevIN


def random(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("with_gaps", [False, True])
def test_revin_normalises_what_was_observed_and_comes_back(with_gaps, affine):
    layer, x = RevIN(3, affine=affine, eps=1e-8).double(), 5 + 3 * random(4, 20, 3)
    if affine:
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([2.0, -1.0, 0.5]))
            layer.bias.copy_(torch.tensor([0.3, 0.0, -1.0]))
    mask = random(4, 20, 3, seed=2) > -0.5 if with_gaps else None
    z, mean, deviation = layer(x if mask is None else torch.where(mask, x, torch.nan), mask)
    for case in range(4):
        for channel in range(3):
            kept = slice(None) if mask is None else mask[case, :, channel]
            values = x[case, kept, channel]
            expected = (values - values.mean()) / values.std(correction=0)
            if affine:
                expected = expected * layer.weight[channel] + layer.bias[channel]
            torch.testing.assert_close(z[case, kept, channel], expected, rtol=1e-6, atol=1e-8)
    if mask is not None:
        assert not z[~mask].any()
        torch.testing.assert_close(layer.denormalise(z, mean, deviation)[mask], x[mask])
    else:
        torch.testing.assert_close(layer.denormalise(z, mean, deviation), x)


def test_revin_of_constant_and_of_unseen_channels():
    x = torch.full((1, 6, 2), 7.0)
    x.requires_grad_()
    mask = torch.tensor([True, False]).expand(1, 6, 2)
    z, mean, deviation = RevIN(2)(x, mask)
    assert not z.any()
    assert mean.flatten().tolist() == [7.0, 0.0]
    torch.testing.assert_close(deviation, torch.full((1, 1, 2), 1e-5**0.5))
    z.sum().backward()
    assert x.grad.isfinite().all()


def test_revin_gradients_see_mean_and_deviation():
    layer, mask = RevIN(2).double(), random(2, 5, 2, seed=3) > -0.5
    x = random(2, 5, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x), (x,))
    assert torch.autograd.gradcheck(lambda x: layer(x, mask), (x,))


def test_revin_has_parameters_only_if_affine():
    assert not list(RevIN(3).parameters())
    assert {name for name, _ in RevIN(3, affine=True).named_parameters()} == {"weight", "bias"}


@pytest.mark.parametrize(("n_exogenous", "n_static"), [(2, 0), (0, 2), (2, 2)])
def test_covariates_explain_nothing_at_the_start_and_all_of_them_something_later(n_exogenous, n_static):
    torch.manual_seed(0)
    layer = CovariateRegression(3, n_exogenous, n_static).double()
    exog = random(4, 9, 2).requires_grad_() if n_exogenous else None
    static = random(4, 2, seed=2).requires_grad_() if n_static else None
    assert torch.equal(layer(exog, static, 6, 3), torch.zeros(4, 9, 3).double())
    for p in layer.parameters():
        torch.nn.init.normal_(p)
    c = layer(exog, static, 6, 3)
    c.square().sum().backward()
    for inputs in (exog, static):
        assert inputs is None or inputs.grad.abs().min() > 0
    if exog is None:  # a level would be found in the past of the series; this is the change to come
        assert not c[:, :6].any()
        assert torch.equal(c[:, 6], c[:, 8])
    else:  # a regression, not a filter: each step by its own covariates
        later = exog.detach().clone()
        later[:, 4] += 1
        changed = (layer(later, static, 6, 3) - c).abs().amax((0, 2)) > 0
        assert changed.nonzero().flatten().tolist() == [4]


def test_no_covariates_no_regression():
    with pytest.raises(ValueError, match="n_exogenous or n_static"):
        CovariateRegression(3, 0, 0)


def test_forecasting_head_is_one_linear_map_of_all_tokens_of_a_variate():
    torch.manual_seed(0)
    head, x = ForecastingHead(4, 5, 6, 2).double(), random(3, 4, 2, 5)
    got = head(x)
    assert got.shape == (3, 6, 2, 2)
    for case in range(3):
        for variate in range(2):
            steps = head.linear(x[case, :, variate].reshape(20))
            torch.testing.assert_close(got[case, :, variate], steps.view(6, 2))
    assert ForecastingHead(4, 5, 6, dropout=0.5).dropout.p == 0.5


LOOPS = pytest.mark.parametrize(
    "choices",
    [
        {},
        {"coupling": "t2v"},
        {"coupling": "v2t", "input_rule": "zoh"},
        {"coupling": "none", "variate_mixing": "scan"},
        {"variate_mixing": "pooled"},
        {"gates": "half"},
    ],
    ids=str,
)


def loop(seed=0, **choices):
    torch.manual_seed(seed)
    return ClosedLoop2D(6, d_state=3, **choices).double()


def tokens(n_steps=5):
    return torch.nn.functional.rms_norm(random(2, n_steps, 3, 6), (6,))


@LOOPS
def test_closed_loop_equals_streaming_of_what_it_generated(choices):
    """Its own tokens, given as inputs to the scan over the whole series, are what the scan predicts."""
    layer, x = loop(**choices), tokens()
    y, states = layer.scan(x)
    before, generated = layer.closed_loop(y[:, -1], states, 7)
    whole = torch.cat([x, generated], 1)
    y_open, predicted, last = layer.open_loop(whole)  # column by column
    torch.testing.assert_close(predicted[:, 4:11], generated, rtol=0, atol=1e-10)
    torch.testing.assert_close(y_open[:, 4:11], before, rtol=0, atol=1e-10)
    y_scan, last_scan = layer.scan(whole)  # at once
    torch.testing.assert_close(y_scan, y_open, rtol=0, atol=1e-10)
    for ours, theirs in zip(last, last_scan, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    torch.testing.assert_close(layer.predict(last_scan), predicted[:, -1], rtol=0, atol=1e-10)


@LOOPS
def test_first_prediction_reads_every_direction_and_state(choices):
    layer = loop(**choices)
    y, states = layer.scan(tokens())
    layer.closed_loop(y[:, -1], states, 3)[1].square().mul(random(2, 3, 3, 6, seed=4)).sum().backward()
    assert layer.k1.grad.abs().amin() > 0
    assert layer.k2.grad.abs().amin() > 0


def test_prediction_is_the_formula():
    layer = loop()
    _, states = layer.scan(tokens())
    expected = torch.zeros(2, 3, 6).double()
    for direction, (h1, h2) in enumerate(states):
        expected += torch.einsum("dn,bvdn->bvd", layer.k1[direction], h1)
        expected += torch.einsum("dn,bvdn->bvd", layer.k2[direction], h2)
    expected = expected / expected.square().mean(-1, keepdim=True).sqrt()
    torch.testing.assert_close(layer.predict(states), expected)


@LOOPS
def test_strong_feedback_stays_bounded(choices):
    layer = loop(**choices)
    with torch.no_grad():
        layer.k1.mul_(100)
        layer.k2.mul_(100)
        y, states = layer.scan(tokens())
        before, generated = layer.closed_loop(y[:, -1], states, 400)
    assert generated.abs().max() <= 6**0.5 + 1e-9
    assert before[:, 200:].abs().max() <= 2 * before[:, :200].abs().max()


@pytest.mark.parametrize("choices", [{}, {"variate_mixing": "pooled"}], ids=str)
def test_gradients_through_the_loop(choices):
    torch.manual_seed(0)
    layer = ClosedLoop2D(2, d_state=2, **choices).double()
    x = random(1, 3, 2, 2).requires_grad_()
    named = dict(layer.named_parameters())

    def continued(x, *parameters):
        replaced = {f"layer.{name}": p for name, p in zip(named, parameters, strict=True)}
        return torch.func.functional_call(_Continued(layer), replaced, (x,))

    assert torch.autograd.gradcheck(continued, (x, *named.values()))


class _Continued(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        y, states = self.layer.scan(x)
        return self.layer.closed_loop(y[:, -1], states, 4)


def test_bad_choices_of_the_loop():
    with pytest.raises(ValueError, match="variate_mixing must be one of"):
        ClosedLoop2D(4, variate_mixing="mean")
    with pytest.raises(ValueError, match="needs coupling='full'"):
        ClosedLoop2D(4, variate_mixing="pooled", coupling="t2v")
    with pytest.raises(ValueError, match="at least one token"):
        ClosedLoop2D(4).open_loop(torch.zeros(1, 0, 2, 4))
