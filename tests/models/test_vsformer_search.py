"""What VSFormer finds in training cases: motifs, priors, caps, and what it must not look at."""

import numpy as np
import pytest
import torch

from tsmodels.models._priors import shape_priors, value_priors
from tsmodels.models._prototypes import class_motifs, window_lengths
from tsmodels.models._vsformer_search import TrainingCases


def entropy(labels):
    shares = np.unique(labels, return_counts=True)[1] / len(labels)
    return -(shares * np.log(shares)).sum()


def cases(x, y, lengths=None, mask=None, n_levels=2, seed=0):
    return TrainingCases(x, y, lengths, mask, int(y.max()) + 1, n_levels=n_levels, seed=seed, progress=False)


def found(x, y, lengths=None, mask=None, n_prototypes=60, n_intervals=40, **options):
    search = cases(x, y, lengths, mask, **options)
    return search.motif_tokens(n_prototypes, normalize=True) | search.interval_tokens(n_intervals)


def noise(n_cases=16, n_timepoints=40, n_channels=2, n_classes=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_cases, n_timepoints, n_channels, generator=generator), torch.arange(n_cases) % n_classes


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-12, msg=name)


# --- priors


def test_shape_priors_are_the_ratio_of_distances_without_the_source():
    distance = np.array([[0.0, 2.0], [1.0, 3.0], [4.0, 1.0], [6.0, np.inf]])
    labels, source, of = np.array([0, 0, 1, 1]), np.array([0, 2]), np.array([0, 1])
    first, second = 5 / (1 + 1e-6), 0.5  # the second has no other series of its class that fits
    np.testing.assert_allclose(shape_priors(distance, labels, source, of), [first / (1 + first), second])


def test_the_source_of_a_prototype_does_not_count():
    generator = np.random.default_rng(0)
    distance, labels = generator.random((12, 5)), np.arange(12) % 3
    source, of = np.arange(5), np.arange(5) % 3
    changed = distance.copy()
    changed[source, np.arange(5)] = 1e6
    assert np.array_equal(shape_priors(distance, labels, source, of), shape_priors(changed, labels, source, of))


def test_value_priors_equal_entropies_written_out():
    generator = np.random.default_rng(0)
    n_cases, n_classes = 24, 3
    statistics, labels = generator.standard_normal((n_cases, 2, 3)), generator.integers(0, n_classes, n_cases)
    statistics[:, 1, 0] += labels

    def explained(labels):
        shares = []
        for interval in range(2):
            by_statistic = []
            for values in statistics[:, interval].T:
                rank = values.argsort().argsort()
                bins = rank * 4 // n_cases  # min(8, 24 // 6) bins of six cases
                conditional = sum(entropy(labels[bins == b]) * (bins == b).mean() for b in range(4))
                by_statistic.append(1 - conditional / entropy(labels))
            shares.append(max(by_statistic))
        return np.array(shares)

    permuted = np.random.default_rng(7)
    chance = np.mean([explained(permuted.permutation(labels)) for _ in range(10)], 0)
    got = value_priors(statistics, np.ones((n_cases, 2), bool), labels, n_classes, seed=7)
    np.testing.assert_allclose(got, np.maximum(0, explained(labels) - chance), atol=1e-12)


def test_unknown_intervals_are_left_out_of_value_priors():
    generator = np.random.default_rng(0)
    statistics, labels = generator.standard_normal((40, 1, 3)), np.arange(40) % 2
    statistics[:, 0, 1] += 5 * labels
    known = generator.random((40, 1)) < 0.8
    spoilt = np.where(known[..., None], statistics, 1e9)
    first, second = (value_priors(s, known, labels, 2, seed=0) for s in (statistics, spoilt))
    assert np.array_equal(first, second)
    assert first[0] > 0.5
    assert value_priors(statistics, np.zeros((40, 1), bool), labels, 2, seed=0) == 0


@pytest.mark.parametrize(("n_cases", "n_classes"), [(15, 3), (40, 4), (100, 4)])
def test_value_priors_of_noise_are_small(n_cases, n_classes):
    generator = np.random.default_rng(n_cases)
    statistics, known = generator.standard_normal((n_cases, 60, 3)), np.ones((n_cases, 60), bool)
    prior = value_priors(statistics, known, generator.permutation(np.arange(n_cases) % n_classes), n_classes, seed=0)
    assert (prior >= 0).all()
    assert prior.mean() < 0.1


def test_constant_statistics_say_nothing():
    prior = value_priors(np.ones((20, 3, 3)), np.ones((20, 3), bool), np.arange(20) % 2, 2, seed=0)
    assert np.array_equal(prior, np.zeros(3))


# --- motifs


@pytest.mark.parametrize(
    ("n_timepoints", "lengths"),
    [
        (1, []),
        (2, [2]),
        (4, [4]),
        (8, [5]),
        (30, [5, 6, 9]),
        (100, [10, 20, 30]),
        (200, [20, 40, 60]),
        (400, [20, 40, 80]),
        (1000, [50, 100, 200]),
        (18000, [50, 100, 200]),
    ],
)
def test_window_lengths(n_timepoints, lengths):
    assert window_lengths(n_timepoints) == lengths


def motifs_of(values, labels, lengths, n_each, observed=None):
    lo, hi = np.zeros(len(values), np.int64), np.full(len(values), values.shape[1])
    observed = np.ones(values.shape, bool) if observed is None else observed
    return class_motifs(values, lo, hi, observed, labels, lengths, n_each, np.random.default_rng(0))


def test_a_pattern_that_series_share_is_the_first_motif():
    generator = np.random.default_rng(0)
    values, labels = generator.standard_normal((8, 60)), np.arange(8) % 2
    pattern = 4 * np.sin(np.linspace(0, 9, 12))
    for i, at in zip((1, 5), (10, 40), strict=True):
        values[i, at : at + 12] = pattern + 3 * i
    first = next(motif for motif in motifs_of(values, labels, [12], 2) if motif.label == 1)
    assert (first.series, first.start) in ((1, 10), (5, 40))
    assert np.array_equal(first.values, values[first.series, first.start : first.start + 12])


def test_motifs_of_a_class_do_not_overlap_by_more_than_half():
    generator = np.random.default_rng(0)
    values, labels = generator.standard_normal((6, 50)).cumsum(1), np.arange(6) % 2
    for label in (0, 1):
        for length in (5, 8):
            taken = [
                (motif.series, motif.start)
                for motif in motifs_of(values, labels, [5, 8], 10)
                if motif.label == label and len(motif.values) == length
            ]
            assert len(taken) == 10
            for k, (series, start) in enumerate(taken):
                assert all(i != series or 2 * abs(at - start) >= length for i, at in taken[:k])


def test_interpolated_windows_are_no_motifs():
    generator = np.random.default_rng(0)
    values, labels = generator.standard_normal((6, 60)), np.arange(6) % 2
    observed = np.ones(values.shape, bool)
    observed[:, 20:45] = False
    values[:, 20:45] = np.linspace(0, 1, 25)  # straight lines are all alike
    places = {motif.start for motif in motifs_of(values, labels, [8], 5, observed)}
    assert all(observed[0, start : start + 8].mean() >= 0.75 for start in places)


def test_many_series_are_cut_to_a_draw_that_the_seed_decides():
    values, labels = np.random.default_rng(0).standard_normal((200, 12)), np.zeros(200, np.int64)
    lo, hi, observed = np.zeros(200, np.int64), np.full(200, 12), np.ones((200, 12), bool)

    def drawn(seed):
        motifs = class_motifs(values, lo, hi, observed, labels, [5], 30, np.random.default_rng(seed))
        return [(motif.series, motif.start) for motif in motifs]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    assert max(series for series, _ in drawn(0)) >= 60


# --- all of it


def test_buffers_have_their_ranges_and_order():
    x, y = noise()
    tokens = found(x, y)
    n_shape, n_value = len(tokens["prototypes"]), len(tokens["value_interval"])
    # two classes, two channels and three lengths with five motifs each, as far as they keep apart
    assert 40 <= n_shape <= 60
    assert n_value == 2 * 7
    for name in ("prototype_prior", "value_prior"):
        assert ((tokens[name] >= 0) & (tokens[name] <= 1)).all()
    assert tokens["prototype_length"].tolist() == sorted(tokens["prototype_length"].tolist())
    assert torch.equal(tokens["prototype_label"], y[tokens["prototype_series"]])
    x = (x.double() - x.double().mean((0, 1))) / x.double().std((0, 1), correction=0)
    for j in range(n_shape):
        length, start = int(tokens["prototype_length"][j]), int(tokens["prototype_start"][j])
        window = x[tokens["prototype_series"][j], start : start + length, tokens["prototype_channel"][j]]
        torch.testing.assert_close(tokens["prototypes"][j, :length], window)
        assert not tokens["prototypes"][j, length:].any()


@pytest.mark.parametrize(("n_prototypes", "n_classes"), [(5, 3), (12, 4), (300, 4), (40, 10)])
def test_caps_are_kept_and_every_class_is_there(n_prototypes, n_classes):
    x, y = noise(3 * n_classes, n_channels=3, n_classes=n_classes)
    tokens = found(x, y, n_prototypes=n_prototypes, n_intervals=9)
    assert len(tokens["value_interval"]) == 9
    assert len(tokens["prototypes"]) <= n_prototypes
    assert set(tokens["prototype_label"].tolist()) == set(range(n_classes))


def test_the_intervals_that_are_kept_have_the_largest_priors():
    x, y = noise()
    x[..., 1] += 3 * y[:, None]
    tokens = found(x, y, n_intervals=5)
    assert (tokens["value_channel"] == 1).all()
    assert tokens["value_prior"].min() > 0.3


def test_scaling_is_by_channel_and_level():
    x, y = noise()
    tokens = found(5 * x + 3, y)
    level = torch.tensor([0] + [1] * 2 + [2] * 4)
    center = tokens["value_center"].view(2, 7, 3)
    for each in range(3):
        assert (center[:, level == each] == center[:, level == each][:, :1]).all()
    assert (tokens["value_scale"].view(2, 7, 3) > 0).all()


def test_units_of_the_channels_do_not_matter():
    x, y = noise()
    one, other = found(x.double(), y), found(x.double() * torch.tensor([1e3, 1e-3]) + 7, y)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-8, msg=name)


def test_padding_and_missing_values_are_not_read():
    x, y = noise()
    lengths = torch.randint(25, 41, (16,), generator=torch.Generator().manual_seed(1))
    lengths[3] = 40
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(2)) < 0.9
    expected = found(x, y, lengths, mask)
    spoilt = x.clone()
    spoilt[~mask | (torch.arange(40)[:, None] >= lengths[:, None, None])] = torch.nan
    assert_same(found(spoilt, y, lengths, mask), expected)
    longer = torch.cat([spoilt, torch.full((16, 9, 2), 1e6)], 1)
    assert_same(found(longer, y, lengths, torch.cat([mask, mask[:, :9]], 1)), expected)


def test_deterministic_for_any_number_of_threads():
    x, y = noise()
    tokens = []
    for n_threads in (1, 2):
        torch.set_num_threads(n_threads)
        tokens.append(found(x, y))
    assert all(torch.equal(tokens[0][name], tokens[1][name]) for name in tokens[0])


def test_a_class_of_one_series_has_motifs_and_uninformative_priors():
    x, y = noise()
    y = torch.where(torch.arange(16) == 4, 2, y)
    tokens = found(x, y)
    alone = tokens["prototype_label"] == 2
    assert alone.any()
    assert (tokens["prototype_series"][alone] == 4).all()
    assert (tokens["prototype_prior"][alone] == 0.5).all()


def test_constant_channels_have_no_motifs():
    x, y = noise()
    x[..., 0] = 5.0
    tokens = found(x, y)
    assert (tokens["prototype_channel"] == 1).all()
    assert all(tensor.isfinite().all() for tensor in tokens.values())
    x[..., 1] = -1.0
    tokens = found(x, y)
    assert len(tokens["prototypes"]) == 0
    assert not tokens["value_prior"].any()


def test_more_than_64_channels_are_cut_to_those_with_the_best_values():
    x, y = noise(6, 12, 70)
    x[..., 64:] += 5 * y[:, None, None]
    tokens = found(x, y, n_prototypes=500, n_levels=0)
    channels = set(tokens["prototype_channel"].tolist())
    assert len(channels) <= 64
    assert set(range(64, 70)) <= channels


@pytest.mark.parametrize("progress", [False, True])
def test_progress_is_shown_if_asked_for(progress, capsys):
    x, y = noise(6, 12, 1)
    TrainingCases(x, y, None, None, 2, n_levels=0, seed=0, progress=progress).motif_tokens(6, normalize=True)
    assert ("Motifs" in capsys.readouterr().out) == progress
