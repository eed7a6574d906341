"""Spectra, forecasts and exponents against what is known in closed form."""

import numpy as np
import pytest
import torch
from known_systems import LOZI_B, lozi_network, lozi_orbit, with_theta

from tsmodels.dynamics import (
    kaplan_yorke_dimension,
    lyapunov_exponents,
    power_spectrum,
    prediction_error,
    smape,
    spectral_distance,
    suggest_forcing_interval,
    valid_prediction_time,
)
from tsmodels.models import PLRNN

# --- spectra


def test_a_spectrum_has_the_power_where_it_is():
    t = np.arange(4000)
    series = np.stack([np.sin(2 * np.pi * 300 * t / 4000), 5 + 2 * np.sin(2 * np.pi * 1200 * t / 4000)], axis=1)
    spectrum = power_spectrum(series)
    assert spectrum.shape == (2001, 2)
    assert spectrum.argmax(0).tolist() == [300, 1200]
    assert spectrum.sum(0) == pytest.approx([1, 1])
    # a Gaussian of deviation 20: exp(-1/2) of its height at 20 bins
    assert spectrum[[320, 280], 0] / spectrum[300, 0] == pytest.approx(np.exp([-0.5, -0.5]), rel=1e-3)
    assert power_spectrum(series, smoothing=0)[[300, 301], 0] == pytest.approx([1, 0], abs=1e-12)


def test_distance_of_spectra_is_hellingers():
    t = np.arange(4000)[:, None]
    a, b = np.sin(2 * np.pi * 300 * t / 4000), np.sin(2 * np.pi * 320 * t / 4000)
    # of Gaussians 20 apart, of deviation 20: sqrt(1 - exp(-20² / (8 · 20²)))
    assert spectral_distance(a, b) == pytest.approx(np.sqrt(1 - np.exp(-1 / 8)), rel=5e-3)
    assert spectral_distance(a, b) == pytest.approx(spectral_distance(7 * a - 3, b))


def test_independent_orbits_have_near_spectra_and_noise_has_not(lorenz):
    true, other = lorenz
    assert spectral_distance(true, true) == 0
    assert spectral_distance(true, other) < 0.2
    noise = np.random.default_rng(0).normal(size=true.shape)
    assert 0.7 < spectral_distance(true, noise) < 1  # 0.88 at 1e5 points


def test_a_constant_has_no_spectrum(lorenz):
    true = lorenz[0]
    constant = np.full_like(true, 0.1)  # its mean is not exact
    assert not power_spectrum(constant).any()
    assert spectral_distance(true, constant) == 1
    assert spectral_distance(constant, constant) == 0


def test_spectra_need_equal_lengths(lorenz):
    with pytest.raises(ValueError, match="true has 10000 time points, generated 9999"):
        spectral_distance(lorenz[0], lorenz[1][1:])
    with pytest.raises(ValueError, match="smoothing must not be negative"):
        power_spectrum(lorenz[0], smoothing=-1.0)


# --- forecasts


def test_smape_is_of_two_hundred():
    assert smape([1.0, -2.0, 0.0], [1.0, -2.0, 0.0]) == 0
    assert smape([1.0, 1.0], [-1.0, 0.0]) == 200
    assert smape([1.0, 3.0], [3.0, 3.0]) == 50  # 200 · 2 / 4, and 0


def test_a_forecast_is_valid_until_its_mean_error_exceeds_the_threshold():
    true, forecast = np.ones(10), np.ones(10)
    assert valid_prediction_time(true, forecast, dt=0.1) == pytest.approx(1.0)
    forecast[6:] = -1.0  # the mean over 7 steps is 200 / 7 = 28.6, over 8 it is 50
    assert valid_prediction_time(true, forecast, dt=0.1) == pytest.approx(0.7)
    assert valid_prediction_time(true, forecast, dt=0.1, threshold=20.0) == pytest.approx(0.6)
    assert valid_prediction_time(true, forecast, dt=0.1, lyapunov_time=2.0) == pytest.approx(0.35)
    assert valid_prediction_time(true, -true) == 0
    two = np.stack([true, true], axis=1), np.stack([true, forecast], axis=1)
    assert valid_prediction_time(*two, dt=0.1) == pytest.approx(0.8)  # means 100 / 7, 200 / 8, 300 / 9


@pytest.mark.parametrize("measure", [smape, valid_prediction_time])
def test_forecasts_must_be_comparable(measure):
    with pytest.raises(ValueError, match=r"same shape .* got \(2,\) and \(3,\)"):
        measure(np.ones(2), np.ones(3))
    with pytest.raises(ValueError, match="NaN or infinite"):
        measure(np.ones(2), np.array([1, np.inf]))


def test_times_must_be_positive():
    with pytest.raises(ValueError, match="dt and lyapunov_time must be positive"):
        valid_prediction_time(np.ones(3), np.ones(3), dt=0.1, lyapunov_time=0)


def test_the_true_map_makes_no_error():
    orbit = lozi_orbit(2000)
    assert prediction_error(lozi_network("shplrnn"), orbit) < 1e-18  # rounding, e^(20 · .47) times
    assert prediction_error(lozi_network("alrnn"), orbit[:, [1, 0, 0]], 5) < 1e-24


def test_prediction_error_is_that_of_its_definition():
    torch.manual_seed(0)
    network = PLRNN(2, 1, hidden_dim=5)
    rng = np.random.default_rng(0)
    series, inputs = rng.normal(size=(40, 2)), rng.normal(size=(39, 1))
    for warmup in (0, 3):
        errors = []
        for t in range(warmup, 40 - 4):
            context = torch.tensor(series[None, t - warmup : t + 1], dtype=torch.float32)
            s = torch.tensor(inputs[None, t - warmup : t + 4], dtype=torch.float32)
            errors.append((network.generate(context, 4, s)[0, -1].numpy() - series[t + 4]) ** 2)
        found = prediction_error(network, series, 4, inputs=inputs, warmup=warmup)
        assert found == pytest.approx(np.mean(errors), rel=1e-5)


def test_a_signal_starts_the_network_and_the_series_is_compared():
    orbit = lozi_orbit(100)
    error = prediction_error(lozi_network("shplrnn"), orbit + 0.5, 3, signal=orbit)
    assert error == pytest.approx(0.25)


def test_prediction_error_refuses_what_does_not_fit():
    network, forced = PLRNN(2), PLRNN(2, 1)
    series = np.zeros((30, 2))
    with pytest.raises(ValueError, match="at least 51 time points"):
        prediction_error(network, series, 50)
    with pytest.raises(ValueError, match="the network has 1 external inputs: pass inputs"):
        prediction_error(forced, series)
    with pytest.raises(ValueError, match="inputs must have a row for each of 29 steps, got 30"):
        prediction_error(forced, series, inputs=np.zeros((30, 1)))
    with pytest.raises(ValueError, match="has no external inputs: leave inputs out"):
        prediction_error(network, series, inputs=np.zeros((29, 1)))
    with pytest.raises(ValueError, match="signal must have the 30 time points"):
        prediction_error(network, series, signal=series[1:])


# --- exponents and dimension


def test_exponents_of_the_lozi_map(lozi):
    network, states_of = lozi
    start = states_of([[0.1, 0.05]])[0]
    found = lyapunov_exponents(network, start)
    assert found[:2] == pytest.approx([0.4703, -1.1635], rel=0.01)
    assert found[:2].sum() == pytest.approx(np.log(LOZI_B), abs=1e-9)
    assert np.isneginf(found[2:]).all()  # two units that are equal: the map collapses their difference
    assert kaplan_yorke_dimension(found) == pytest.approx(1.404, abs=0.005)
    per_time = lyapunov_exponents(network, start, dt=0.5, k=1)
    assert per_time == pytest.approx(2 * found[:1])


def test_exponents_of_linear_maps_are_exact():
    network = with_theta(PLRNN(3, cell="alrnn", n_relu=0), A=[0.5, 0.9, 0.2], W=np.zeros((3, 3)), h=[1, 1, 1])
    found = lyapunov_exponents(network, [1, 2, 3], n_steps=100)
    assert found == pytest.approx(np.log([0.9, 0.5, 0.2]))
    assert kaplan_yorke_dimension(found) == 0


def test_a_divergent_run_has_no_exponents():
    network = with_theta(PLRNN(1, cell="alrnn", n_relu=0), A=[3.0], W=[[0.0]], h=[1])
    assert np.isnan(lyapunov_exponents(network, [1.0], n_transient=1000)).all()


def test_exponents_check_their_arguments():
    with pytest.raises(ValueError, match="k must be at most the 2 latent units"):
        lyapunov_exponents(PLRNN(2), [0, 0], k=3)
    with pytest.raises(ValueError, match="dt must be positive"):
        lyapunov_exponents(PLRNN(2), [0, 0], dt=0)
    with pytest.raises(ValueError, match="must have 2 channels, got 3"):
        lyapunov_exponents(PLRNN(2), [0, 0, 0])
    with pytest.raises(ValueError, match="inputs must have a row for each of 1010 steps"):
        lyapunov_exponents(PLRNN(2, 1), [0, 0], n_steps=10, inputs=np.zeros((10, 1)))


@pytest.mark.parametrize(
    ("exponents", "dimension"),
    [
        ([0.905, 0.0, -14.57], 2.062),
        ([-5.394, 0.0714, 0.0], 2.013),
        ([0.4703, -1.1635], 1.404),
        ([0.4703, -1.1635, -np.inf], 1.404),
        ([0.5, -np.inf], 1.0),
        ([-0.1, -0.2], 0.0),
        ([0.3, -0.1], 2.0),
        ([0.2, -0.1, -0.1], 3.0),
    ],
    ids=["lorenz", "roessler", "lozi", "collapsing", "line", "stable", "all", "none-negative"],
)
def test_kaplan_yorke(exponents, dimension):
    assert kaplan_yorke_dimension(exponents) == pytest.approx(dimension, abs=1e-3)


def test_kaplan_yorke_of_nothing():
    assert np.isnan(kaplan_yorke_dimension([0.1, np.nan]))
    with pytest.raises(ValueError, match="exponents is empty"):
        kaplan_yorke_dimension([])


# --- interval of forcing


def test_the_interval_of_a_wave_is_that_of_its_decay():
    period = 40
    wave = np.sin(2 * np.pi * np.arange(20_000) / period)[:, None]
    # cos falls below 1/e at 0.19 periods, before its minimum at half of one
    assert suggest_forcing_interval(wave) in (7, 8)


def test_the_interval_is_the_least_of_the_medians_over_channels():
    t = np.arange(20_000)
    noise = np.random.default_rng(0).normal(size=(20_000, 1))
    waves = np.sin(2 * np.pi * t[:, None] / [[80, 80]])
    assert suggest_forcing_interval(noise) == 1
    assert suggest_forcing_interval(np.concatenate([noise, waves], axis=1)) in (15, 16)


def test_the_interval_of_what_never_decays_is_the_largest():
    ramp = np.linspace(0, 1, 5000)[:, None]
    assert suggest_forcing_interval(ramp, max_lag=10) == 10
    assert suggest_forcing_interval(np.ones((50, 1)), max_lag=7) == 7
    assert suggest_forcing_interval(np.ones((5, 1))) == 3  # no longer than the series allows
