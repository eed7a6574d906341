"""Series with planted anomalies: labels are where the changes are, equal seeds give equal series; the bundled sets."""

import subprocess
import sys

import numpy as np
import pytest

from tsmodels_datamodules import load_anomaly_set, make_anomalies

LENGTHS = {"point": (1, 1), "contextual": (6, 12), "collective": (30, 60)}


@pytest.mark.parametrize("seed", range(4))
def test_what_differs_from_the_series_without_events_is_what_is_labelled(seed):
    made = make_anomalies(500, 1500, 3, n_events=3, seed=seed)
    clean = make_anomalies(500, 1500, 3, n_events=0, seed=seed)
    np.testing.assert_array_equal(made.train, clean.train)
    assert clean.labels.sum() == 0 and clean.events == ()
    changed = made.test != clean.test
    np.testing.assert_array_equal(changed.any(1), made.labels == 1)
    assert [sum(event.kind == kind for event in made.events) for kind in LENGTHS] == [3, 3, 3]
    for event in made.events:
        hit = changed[event.start : event.stop]
        assert hit[:, list(event.channels)].all() and hit.sum() == hit[:, list(event.channels)].size
        shortest, longest = LENGTHS[event.kind]
        assert shortest <= event.stop - event.start <= longest
    starts, stops = np.array([event[:2] for event in made.events]).T
    assert (starts[1:] - stops[:-1] >= 25).all() and starts[0] >= 25 and stops[-1] <= 1475


def test_equal_seeds_give_equal_series_in_every_process():
    made, again, other = (make_anomalies(300, 400, 2, n_events=1, seed=seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(made.test, again.test)
    assert made.events == again.events != other.events
    script = (
        "from tsmodels_datamodules import make_anomalies\n"
        "print(float(make_anomalies(300, 400, 2, n_events=1, seed=5).test.sum()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) == made.test.sum()


def test_contextual_and_collective_anomalies_stay_within_the_usual_values():
    made = make_anomalies(4000, 4000, 1, kinds=("contextual", "collective"), n_events=8, noise=0.0, seed=1)
    reach = np.abs(made.train).max()
    flags = made.labels == 1
    assert np.abs(made.test[flags]).max() < 2 * reach
    assert np.quantile(np.abs(made.test[flags]), 0.9) < reach


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ("spike",)}, "kinds must be of 'point', 'contextual', 'collective', got 'spike'"),
        ({"n_channels": 0}, "n_channels must be at least 1"),
        ({"noise": -1}, "noise must be at least 0"),
        ({"n_test": 300, "n_events": 9}, "n_test = 300 leaves no room for 27 events"),
        ({"n_test": 20}, "n_test = 20 leaves no room"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_anomalies(**options)


@pytest.mark.parametrize(
    ("name", "n_train", "n_test", "n_events", "n_labels"), [("yahoo", 400, 600, 7, 7), ("mitdb", 3750, 3750, 1, 352)]
)
def test_bundled_sets(name, n_train, n_test, n_events, n_labels):
    found = load_anomaly_set(name)
    assert found.train.shape == (n_train, 1) and found.test.shape == (n_test, 1) and found.labels.shape == (n_test,)
    assert found.labels.sum() == n_labels and len(found.events) == n_events
    assert all(found.labels[event.start : event.stop].all() for event in found.events)


def test_other_sets_are_not_there():
    with pytest.raises(ValueError, match="name must be one of 'yahoo', 'mitdb', got 'smd'"):
        load_anomaly_set("smd")
