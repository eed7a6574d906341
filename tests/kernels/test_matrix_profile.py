"""The join profile against its definition: distances, partners, exclusions, threads, bad input."""

import numpy as np
import pytest
import torch

from tsmodels_kernels import _pool
from tsmodels_kernels._matrix_profile import join_profile

# Series of one class: equal and unequal lengths, one alone, some shorter than the windows, more than a vector of them.
SIZES = {"pair": (30, 30), "ragged": (45, 7, 12, 60, 33), "alone": (80,), "long": (25, 700), "many": (24,) * 12}


def walks(sizes, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.standard_normal(n).cumsum() for n in sizes]


def assert_equal_profiles(got, expected):
    assert np.array_equal(got.offsets, expected.offsets)
    assert np.array_equal(np.isfinite(got.distance), np.isfinite(expected.distance))
    finite = np.isfinite(expected.distance)
    # squares: the root makes of a rounding error of 1e-16 a distance of 1e-8
    np.testing.assert_allclose(got.distance[finite] ** 2, expected.distance[finite] ** 2, rtol=0, atol=1e-11)
    assert np.array_equal(got.partner_series, expected.partner_series)
    assert np.array_equal(got.partner_start, expected.partner_start)


@pytest.mark.parametrize("length", [3, 8, 21])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
def test_equals_the_definition(sizes, length):
    series = walks(sizes)
    expected = join_profile(series, length, backend="reference")
    assert_equal_profiles(join_profile(series, length), expected)
    assert np.isfinite(expected.distance).any()


def test_two_samples_have_two_shapes_only():
    profile = join_profile(walks((12, 15)), 2)
    np.testing.assert_allclose(profile.distance, 0, atol=1e-6)  # the square root of rounding


def test_partners_are_windows_of_other_series():
    profile = join_profile(walks((30, 40, 50)), 8)
    own = np.repeat(np.arange(3), np.diff(profile.offsets))
    assert (profile.partner_series != own).all()
    assert (profile.partner_start >= 0).all()
    assert (profile.partner_start < np.array([23, 33, 43])[profile.partner_series]).all()


@pytest.mark.parametrize("length", [4, 5, 10])
def test_a_series_alone_keeps_away_from_itself(length):
    profile = join_profile(walks((60,)), length)
    assert (2 * np.abs(profile.partner_start - np.arange(len(profile.distance))) > length).all()
    assert (profile.partner_series == 0).all()


def test_a_series_alone_and_hardly_longer_than_the_window_has_no_partner():
    profile = join_profile(walks((11,)), 8)
    assert np.isinf(profile.distance).all()
    assert (profile.partner_series == -1).all()
    assert (profile.partner_start == -1).all()


def test_a_planted_motif_is_found_whatever_its_units():
    series = [np.random.default_rng(i).standard_normal(200) for i in range(3)]
    shape = np.sin(np.linspace(0, 6, 25))
    series[0][40:65] = 5 * shape - 3
    series[2][110:135] = 0.1 * shape + 1e3
    profile = join_profile(series, 25)
    best = int(np.argmin(profile.distance))
    assert best == 40
    assert (profile.partner_series[best], profile.partner_start[best]) == (2, 110)
    assert profile.distance[best] < 1e-4  # 1e3 above a deviation of 0.07 costs eight digits before the root


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_flat_windows_take_no_part(backend):
    series = walks((40, 40))
    series[0][10:30] = 1.5
    series[1][5:15] += np.linspace(0, 1, 10)
    profile = join_profile(series, 6, backend=backend)
    flat = np.arange(10, 25)
    assert np.isinf(profile.distance[flat]).all()
    assert (profile.partner_series[flat] == -1).all()
    assert not np.isin(profile.partner_start[profile.partner_series == 0], flat).any()
    assert np.isfinite(np.delete(profile.distance, flat)).all()
    constant = join_profile([np.ones(20), np.ones(20)], 5, backend=backend)
    assert np.isinf(constant.distance).all()


def test_the_least_deviation_is_a_choice():
    series = [0.01 * values / values.std() for values in walks((40, 40))]
    assert np.isfinite(join_profile(series, 20).distance).all()
    assert np.isinf(join_profile(series, 20, min_std=1.0).distance).all()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_windows_that_are_not_usable_are_neither_matched_nor_partners(backend):
    series, generator = walks((35, 50)), np.random.default_rng(5)
    usable = [generator.random(28) < 0.5, generator.random(43) < 0.5]
    profile = join_profile(series, 8, usable=usable, backend=backend)
    allowed = np.concatenate(usable)
    assert np.array_equal(np.isfinite(profile.distance), allowed)
    partners = profile.offsets[profile.partner_series[allowed]] + profile.partner_start[allowed]
    assert allowed[partners].all()
    if backend == "cpu":
        assert_equal_profiles(profile, join_profile(series, 8, usable=usable, backend="reference"))


def test_long_series_keep_their_digits():
    rows = walks((4000, 30))
    profile = join_profile(rows, 12)
    windows = np.lib.stride_tricks.sliding_window_view
    normal = [(w - w.mean(1, keepdims=True)) / w.std(1, keepdims=True) for w in (windows(x, 12) for x in rows)]
    expected = np.linalg.norm(normal[0][:, None] - normal[1][None], axis=2).min(1)
    np.testing.assert_allclose(profile.distance[: len(expected)], expected, rtol=0, atol=1e-9)


def test_bitwise_the_same_for_any_number_of_threads(monkeypatch):
    share, portions = _pool.run, []

    def run(kernel, n_jobs, *args, grain=1, **options):
        def counted(*args):
            portions.append(args[-2:])
            kernel(*args)

        share(counted, n_jobs, *args, grain=grain, **options)

    monkeypatch.setattr(_pool, "run", run)
    series, found = walks((60,) * 9), []
    for n_threads in (1, 2, 5):
        torch.set_num_threads(n_threads)
        portions.clear()
        found.append(join_profile(series, 9))
        assert len(portions) > 3 * (n_threads > 1)
    for other in found[1:]:
        assert np.array_equal(other.distance, found[0].distance)
        assert np.array_equal(other.partner_series, found[0].partner_series)
        assert np.array_equal(other.partner_start, found[0].partner_start)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_no_window_at_all(backend):
    profile = join_profile(walks((5, 3)), 6, backend=backend)
    assert profile.distance.shape == profile.partner_series.shape == (0,)
    assert profile.offsets.tolist() == [0, 0, 0]


def test_inputs_are_left_alone():
    series = walks((30, 20))
    before = [values.copy() for values in series]
    join_profile(series, 5)
    assert all(np.array_equal(a, b) for a, b in zip(series, before, strict=True))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([], 3), {}, "series is empty"),
        (([np.zeros(9)], 1), {}, "length must be at least 2"),
        (([np.zeros(9), np.full(9, np.nan)], 3), {}, r"series\[1\] must be one-dimensional and finite"),
        (([np.zeros((9, 2))], 3), {}, r"series\[0\] must be one-dimensional"),
        (([np.zeros(9)], 3), {"usable": [np.ones(9)]}, "one flag for each window"),
        (([np.zeros(9)], 3), {"backend": "cuda"}, "backend must be one of 'cpu', 'reference'"),
    ],
)
def test_bad_input(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        join_profile(*arguments, **options)
