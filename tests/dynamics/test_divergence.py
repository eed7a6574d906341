"""D_stsp: bins against a dense histogram, mixtures against what is known of Gaussians."""

import numpy as np
import pytest
from known_systems import lorenz_orbit

from tsmodels.dynamics import mixture_divergence, spectral_distance, state_space_divergence


def _dense(true, generated, n_bins, smoothing=1e-5):
    """The definition over all bins."""
    deviation = true.std(0, ddof=1)
    edges = [
        np.linspace(low, high, n_bins + 1)
        for low, high in zip(true.min(0) - 0.1 * deviation, true.max(0) + 0.1 * deviation, strict=True)
    ]
    p, q = (np.histogramdd(series, edges)[0] + smoothing for series in (true, generated))
    p, q = p / p.sum(), q / q.sum()
    return (p * np.log(p / q)).sum()


@pytest.mark.parametrize(("n_channels", "n_bins"), [(1, 30), (2, 30), (3, 20), (4, 7)])
def test_occupied_bins_give_what_all_bins_give(n_channels, n_bins):
    rng = np.random.default_rng(n_channels)
    true, generated = rng.normal(size=(2000, n_channels)), 1.3 * rng.normal(size=(1500, n_channels)) + 0.2
    found = state_space_divergence(true, generated, n_bins=n_bins)
    assert found == pytest.approx(_dense(true, generated, n_bins), rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"range": "minmax"}, {"range": "2sd"}, {"method": "gmm"}], ids=str)
def test_a_series_does_not_diverge_from_itself(lorenz, options):
    assert state_space_divergence(lorenz[0], lorenz[0], **options) == 0


def test_orbits_of_one_system_are_the_nearer_the_longer_they_are(lorenz):
    # about 0.3 to 1.5 for 10000 points, by how long the orbits happen to linger near a fixed point
    short, long = (state_space_divergence(lorenz[0][:n], lorenz[1][:n]) for n in (1000, 10_000))
    assert 0 < long < 3 < short


def test_noise_and_a_constant_are_far_from_an_attractor(lorenz):
    true = lorenz[0]
    noise = np.random.default_rng(0).normal(size=true.shape) * true.std(0) + true.mean(0)
    constant = np.ones_like(true) * true.mean(0)
    assert 5 < state_space_divergence(true, noise) < 8
    assert state_space_divergence(true, constant) == pytest.approx(14, abs=1)


@pytest.mark.slow
def test_long_orbits_reach_the_floor():
    orbit = lorenz_orbit(200_000)
    true, other = orbit[:100_000], orbit[100_000:]
    noise = np.random.default_rng(0).normal(size=true.shape) * true.std(0) + true.mean(0)
    assert 0.037 / 3 < state_space_divergence(true, other) < 0.037 * 3
    assert 0.059 / 3 < spectral_distance(true, other) < 0.059 * 3
    assert state_space_divergence(true, noise) == pytest.approx(3.60, abs=0.3)
    assert spectral_distance(true, noise) == pytest.approx(0.88, abs=0.02)
    assert state_space_divergence(true, np.ones_like(true) * true.mean(0)) == pytest.approx(16.4, abs=0.3)


def test_points_outside_of_the_bins_are_dropped(lorenz):
    true, generated = lorenz
    with_strays = np.concatenate([generated, np.full((500, 3), 1e5)])
    assert state_space_divergence(true, with_strays) == state_space_divergence(true, generated)
    assert np.isnan(state_space_divergence(true, generated + 1e5))


def test_older_tables_cut_where_their_programmes_do():
    true = np.array([[0.0], [0.3], [0.6], [1.0], [-1.0]])
    # 4 bins over [-1, 1], without the first, and 1.0 lies beyond the last: 0.0 in bin 2, 0.3 in 2, 0.6 in 3
    p, q = np.array([0, 0, 2, 1]) + 1e-5, np.array([0, 0, 1, 0]) + 1e-5
    p, q = p / p.sum(), q / q.sum()
    found = state_space_divergence(true, np.array([[0.1], [-0.9]]), range="minmax", n_bins=4)
    assert found == pytest.approx((p * np.log(p / q)).sum(), rel=1e-12)


def test_two_deviations_are_taken_around_zero():
    true = np.random.default_rng(0).normal(size=(5000, 1)) + 10
    assert np.isnan(state_space_divergence(true, true, range="2sd"))  # nothing of it lies there


def test_bins_hold_more_points_than_sixteen_bits_count():
    many = np.concatenate([np.zeros((70_000, 1)), np.ones((1, 1))])
    assert state_space_divergence(many, many) == 0
    few = np.concatenate([np.zeros((7, 1)), np.ones((1, 1))])
    p, q = np.array([70_000, 1]) / 70_001, np.array([7, 1]) / 8
    assert state_space_divergence(many, few) == pytest.approx((p * np.log(p / q)).sum(), rel=1e-3)


def test_mixtures_find_the_divergence_of_gaussians():
    rng = np.random.default_rng(0)
    shift = 2.0
    true = rng.normal(size=(4000, 2))
    generated = rng.normal(size=(4000, 2)) + np.array([shift, 0])
    # mixtures of N(0, 1) with kernels of variance 1 are near N(0, 2): KL = shift² / (2 · 2)
    found, error = mixture_divergence(true, generated, n_samples=4000)
    assert 0 < error < 0.1
    assert found == pytest.approx(shift**2 / 4, abs=4 * error)


def test_mixtures_are_of_the_log_domain_and_reproducible():
    rng = np.random.default_rng(0)
    true, generated = rng.normal(size=(600, 64)), 40 * rng.normal(size=(600, 64))  # densities of exp(-50000)
    found = state_space_divergence(true, generated, variance=0.3)
    assert np.isfinite(found)
    assert found > 1000
    assert found == state_space_divergence(true, generated, variance=0.3)
    assert found != state_space_divergence(true, generated, variance=0.3, seed=1)


def test_mixtures_do_not_depend_on_where_zero_is(lorenz):
    near, far = (
        state_space_divergence(lorenz[0] + shift, lorenz[1] + shift, method="gmm", n_samples=200)
        for shift in (0.0, 1e4)
    )
    assert near == pytest.approx(far, rel=1e-6)


def test_the_number_of_channels_chooses_the_method():
    rng = np.random.default_rng(0)
    true, generated = rng.normal(size=(300, 6)), rng.normal(size=(300, 6))
    assert state_space_divergence(true, generated) == state_space_divergence(true, generated, method="gmm")
    true, generated = true[:, :5], generated[:, :5]
    assert state_space_divergence(true, generated) == state_space_divergence(true, generated, method="bins")


def test_a_constant_channel_has_bins():
    true = np.stack([np.random.default_rng(0).normal(size=500), np.ones(500)], axis=1)
    assert state_space_divergence(true, true) == 0
    assert state_space_divergence(true, true + np.array([0, 0.2])) > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"generated": np.zeros((5, 2))}, "generated must have 3 channels, got 2"),
        ({"generated": np.full((5, 3), np.nan)}, "generated has values that are NaN"),
        ({"generated": np.zeros(5)}, r"generated\[:, None\]"),
        ({"method": "kde"}, "method must be"),
        ({"range": "all"}, "range must be one of 'sd', 'minmax', '2sd'"),
        ({"smoothing": 0.0}, "smoothing must be positive"),
        ({"n_bins": 0}, "n_bins must be an integer of at least 1"),
        ({"variance": -1.0, "method": "gmm"}, "variance must be positive"),
        ({"n_bins": 10**7}, "too many to number: use method='gmm'"),
    ],
    ids=["channels", "nan", "vector", "method", "range", "smoothing", "bins", "variance", "cells"],
)
def test_what_cannot_be_is_refused(change, message):
    arguments = {"true": np.random.default_rng(0).normal(size=(5, 3)), "generated": np.zeros((5, 3))} | change
    with pytest.raises(ValueError, match=message):
        state_space_divergence(arguments.pop("true"), arguments.pop("generated"), **arguments)
