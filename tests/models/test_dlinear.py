"""DLinearForForecasting beyond the contract of all networks: its formula, its start, gaps, normalisations."""

import pytest
import torch
from torch import nn

from tsmodels.models import DLinearForForecasting


def series(n_cases=2, lookback=12, n_channels=3, seed=1):
    return torch.randn(n_cases, lookback, n_channels, generator=torch.Generator().manual_seed(seed)).double()


def network(n_channels=3, lookback=12, horizon=5, n_outputs=1, *, scramble=True, **choices):
    net = DLinearForForecasting(n_channels, lookback, horizon, n_outputs, **choices).double()
    if scramble:
        torch.manual_seed(0)
        for p in net.parameters():
            nn.init.normal_(p, std=0.3)
    return net


def moving_average(x, kernel_size):
    """Of one channel, the naive way."""
    margin, last = kernel_size // 2, len(x) - 1
    steps = range(len(x))
    return torch.stack(
        [sum(x[min(max(t + k, 0), last)] for k in range(-margin, margin + 1)) / kernel_size for t in steps]
    )


@pytest.mark.parametrize("kernel_size", [1, 3, 25])
@pytest.mark.parametrize("individual", [False, True])
def test_formula(individual, kernel_size):
    net, x = network(n_outputs=2, individual=individual, kernel_size=kernel_size), series()
    got = net(x)
    for case in range(2):
        for channel in range(3):
            own = channel if individual else 0
            trend = moving_average(x[case, :, channel], kernel_size)
            rest = x[case, :, channel] - trend
            expected = net.trend_weight[own] @ trend + net.rest_weight[own] @ rest + net.bias[own]
            torch.testing.assert_close(got[case, :, channel], expected)


@pytest.mark.parametrize("choices", [{}, {"individual": True}, {"normalise": "last"}, {"normalise": "revin"}], ids=str)
def test_it_starts_at_the_mean_of_the_window_whatever_the_seed(choices):
    x = series()
    forecast = network(scramble=False, **choices)(x)
    torch.testing.assert_close(forecast, x.mean(1, keepdim=True).expand(-1, 5, -1))


def test_a_distribution_starts_independent_of_the_window():
    raw = network(n_outputs=3, distribution=True, scramble=False)(series())
    assert not raw[..., 1:].any()
    assert raw[..., 0].any()


def test_it_can_repeat_the_last_value_and_extrapolate_a_line():
    net, x = network(1, scramble=False), series(n_channels=1)
    with torch.no_grad():
        net.trend_weight.zero_()[..., -1] = 1
        net.rest_weight.zero_()[..., -1] = 1
    torch.testing.assert_close(net(x), x[:, -1:].expand(-1, 5, -1))
    with torch.no_grad():
        for h in range(5):
            for weight in (net.trend_weight, net.rest_weight):
                weight[:, h, :, -1], weight[:, h, :, -2] = h + 2, -(h + 1)
    line = 3 + 0.5 * torch.arange(17).double()
    torch.testing.assert_close(net(line[None, :12, None])[0, :, 0], line[12:])


@pytest.mark.parametrize("normalise", ["none", "last"])
def test_a_gap_is_the_last_value_before_it(normalise):
    net, x = network(normalise=normalise), series()
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[0, 4:7, 0] = mask[0, :3, 1] = mask[0, 9:, 2] = mask[1, :, 0] = False
    held = x.clone()
    held[0, 4:7, 0], held[0, :3, 1], held[0, 9:, 2], held[1, :, 0] = x[0, 3, 0], x[0, 3, 1], x[0, 8, 2], 0
    torch.testing.assert_close(net(x, mask), net(held))


def test_channels_do_not_see_each_other_and_individual_ones_differ():
    x = series()
    for individual in (False, True):
        net = network(individual=individual)
        changed = x.clone()
        changed[..., 1] += 1
        difference = (net(changed) - net(x)).abs().amax((0, 1))
        assert difference[1] > 1e-3
        assert not difference[[0, 2]].any()
        same = x[..., :1].expand(-1, -1, 3)
        assert torch.equal(net(same)[..., 0], net(same)[..., 1]) != individual


def test_learns_a_lagged_past_covariate():
    torch.manual_seed(0)
    net = DLinearForForecasting(1, 8, 3, n_past=1)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-2)
    for _ in range(150):
        driver, noise = torch.randn(64, 11, 1), 0.1 * torch.randn(64, 11, 1)
        y = 2 * driver.roll(3, 1) + noise  # what the driver does now the series does in three steps
        loss = nn.functional.mse_loss(net(y[:, :8], past=driver[:, :8]), y[:, 8:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.4  # of a variance of 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd"),
        ({"kernel_size": 0}, "kernel_size must be odd"),
        ({"normalise": "first"}, "normalise must be one of"),
    ],
)
def test_bad_choices_are_named_when_the_network_is_made(change, message):
    with pytest.raises(ValueError, match=message):
        network(**change)
