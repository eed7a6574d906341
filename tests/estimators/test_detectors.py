"""Detectors of anomalies: all methods over all containers and indexes, scores, thresholds, updates, what is refused."""

import pickle
import random
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sktime.utils.estimator_checks import check_estimator
from torch import nn

from tsmodels.estimators import ChimeraDetector, NetDetector, detector
from tsmodels.estimators._detector import window_starts

WINDOW, PLANTED = 12, 70


class NarrowForReconstruction(nn.Module):
    """Windows through a few numbers and back.

    Parameters
    ----------
    n_channels, n_timepoints : int
        Facts of the data.
    width : int, default=3
        How many numbers.
    """

    def __init__(self, n_channels, n_timepoints, *, width=3):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(n_timepoints, width), nn.Linear(width, n_timepoints))

    def forward(self, x):
        return self.network(x.transpose(1, 2)).transpose(1, 2)


NarrowDetector = detector(
    NarrowForReconstruction,
    defaults={"window": WINDOW, "lr": 0.02, "max_epochs": 6, "accelerator": "cpu"},
    test_params=[{}, {"width": 2}],
)


def sine(n=150, channels=2):
    return np.sin(np.arange(n)[:, None] / 3 + np.arange(channels)) * 10.0 ** np.arange(channels)


def spoilt(n=150, channels=2, at=PLANTED):
    series = sine(n, channels)
    series[at] += 3 * 10.0 ** np.arange(channels)
    return series


@pytest.fixture(scope="module")
def fitted():
    return NarrowDetector(random_state=0, contamination=0.0).fit(sine())


INDEXES = {
    "RangeIndex": lambda n: pd.RangeIndex(10, 10 + n),
    "integers": lambda n: pd.Index(np.arange(n) * 2 + 5),
    "DatetimeIndex": lambda n: pd.date_range("2020-01-01", periods=n, freq="h"),
    "PeriodIndex": lambda n: pd.period_range("2020-01", periods=n, freq="M"),
}
CONTAINERS = {
    "DataFrame": lambda values, index: pd.DataFrame(values, index, [f"c{i}" for i in range(values.shape[1])]),
    "one column": lambda values, index: pd.DataFrame(values[:, :1], index, ["c"]),
    "Series": lambda values, index: pd.Series(values[:, 0], index),
}
GIVEN = {
    f"{kind}, {container}": (index, make) for kind, index in INDEXES.items() for container, make in CONTAINERS.items()
}
GIVEN |= {
    "ndarray": (None, lambda values, index: values),
    "ndarray of one axis": (None, lambda values, index: values[:, 0].copy()),
}


@pytest.mark.parametrize("given", GIVEN)
def test_every_method_takes_every_container_and_index(given):
    make_index, make = GIVEN[given]
    index = pd.RangeIndex(150) if make_index is None else make_index(150)
    train, X = make(sine(), index), make(spoilt(), index)
    before = X.copy()
    est = NarrowDetector(random_state=0, contamination=0.0, max_epochs=4)
    found = est.fit(train).predict(X)
    assert found["ilocs"].dtype == np.int64 and isinstance(found.index, pd.RangeIndex) and list(found) == ["ilocs"]
    ilocs = found["ilocs"].tolist()
    assert PLANTED in ilocs and max(abs(i - PLANTED) for i in ilocs) < WINDOW
    scores = est.transform_scores(X)
    assert scores.index.equals(index) and list(scores) == ["scores"]
    assert scores["scores"].argmax() == PLANTED
    assert np.flatnonzero(scores["scores"] > est.threshold_).tolist() == ilocs
    labels = est.transform(X)
    assert labels.index.equals(index) and np.flatnonzero(labels["labels"]).tolist() == ilocs
    assert labels["labels"].dtype == np.int64
    np.testing.assert_array_equal(est.predict_scores(X)["scores"], scores["scores"].to_numpy()[ilocs])
    assert est.predict_points(X)["ilocs"].tolist() == ilocs
    between = est.predict_segments(X)["ilocs"]
    assert [(each.left, each.right) for each in between][-1] == (ilocs[-1], 150)
    whole = est.anomalous_segments(X)
    covered = [i for each in whole["ilocs"] for i in range(each.left, each.right)]
    assert covered == ilocs and whole["score"].max() == scores["scores"].max()
    assert est.update_predict(X)["ilocs"].isin(range(150)).all()
    same = clone(est)
    assert same.fit_predict(train).empty  # no score of the training series lies above all of them
    assert same.fit_transform(train)["labels"].eq(0).all()
    assert same.fit_transform(train).index.equals(index)
    np.testing.assert_array_equal(np.asarray(X), np.asarray(before))


def test_nothing_detected(fitted):
    X = sine(40)
    assert fitted.predict(X).shape == fitted.predict_points(X).shape == (0, 1)
    assert fitted.predict(X)["ilocs"].dtype == np.int64
    assert len(fitted.predict_segments(X)) == len(fitted.predict_scores(X)) == len(fitted.anomalous_segments(X)) == 0


@pytest.mark.parametrize("mode", ["reconstruct", "predict"])
def test_a_planted_anomaly_has_the_highest_score_of_chimera(mode):
    small = {"window": 20, "d_model": 8, "d_state": 4, "n_layers": 1, "patch_size": 5, "max_epochs": 6, "lr": 0.01}
    est = ChimeraDetector(mode=mode, random_state=0, contamination=0.0, **small).fit(sine(250))
    scores = est.transform_scores(spoilt())["scores"]
    assert scores.argmax() == PLANTED and PLANTED in est.predict(spoilt())["ilocs"].tolist()


def test_scores_equal_their_definition(fitted):
    X = spoilt(40, at=20)
    scaled = torch.from_numpy((X - fitted.scaler_.mean_) / fitted.scaler_.scale_).float()
    sums, counts = np.zeros(40), np.zeros(40)
    for start in [0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28]:  # a quarter of 12 apart, the last one at the end
        with torch.no_grad():
            error = (fitted.network_(scaled[None, start : start + WINDOW])[0] - scaled[start : start + WINDOW]).square()
        sums[start : start + WINDOW] += error.mean(1).numpy()
        counts[start : start + WINDOW] += 1
    np.testing.assert_allclose(fitted.transform_scores(X)["scores"], sums / counts, rtol=1e-5)


@pytest.mark.parametrize(("n", "stride"), [(12, None), (13, None), (40, 12), (41, 1), (47, 5), (47, 12)])
def test_windows_cover_every_time_point(n, stride):
    starts = window_starts(n, WINDOW, stride).tolist()
    covered = np.zeros(n, dtype=int)
    for start in starts:
        covered[start : start + WINDOW] += 1
    assert covered.min() >= 1 and starts[0] == 0 and starts[-1] == n - WINDOW
    assert len(starts) == len(set(starts))


def test_scores_do_not_depend_on_batches_or_chunks(fitted, monkeypatch):
    X = spoilt()
    expected = fitted.transform_scores(X)["scores"].to_numpy()
    monkeypatch.setattr("tsmodels.estimators._detector._WINDOW_VALUES", 100)
    other = pickle.loads(pickle.dumps(fitted))
    other.batch_size = 3
    np.testing.assert_allclose(other.transform_scores(X)["scores"], expected, rtol=1e-6)


def test_the_threshold_is_a_quantile_of_the_training_scores():
    noisy = sine() + np.random.default_rng(0).normal(size=(150, 2)) * [0.3, 3]
    est = NarrowDetector(random_state=0, contamination=0.1).fit(noisy)
    np.testing.assert_array_equal(est.training_scores_, est.transform_scores(noisy)["scores"])
    assert est.threshold_ == np.quantile(est.training_scores_, 0.9)
    assert len(est.predict(noisy)) == 15
    strict = clone(est).set_params(contamination=0.0).fit(noisy)
    assert strict.threshold_ == est.training_scores_.max() and strict.predict(noisy).empty


def test_segments_are_merged_then_the_short_ones_dropped(fitted):
    X, scores = spoilt(), fitted.transform_scores(spoilt())["scores"].to_numpy()
    est = pickle.loads(pickle.dumps(fitted))
    est.threshold_ = float(np.sort(scores)[-8])
    flags = scores > est.threshold_
    est.merge_gap, est.min_length = 150, 1
    (segment,) = est.anomalous_segments(X)["ilocs"]
    assert (segment.left, segment.right) == (flags.argmax(), 150 - flags[::-1].argmax())
    assert est.predict(X)["ilocs"].tolist() == list(range(segment.left, segment.right))
    assert len(est.predict(X)) > flags.sum()  # merged segments cover what lies between
    assert est.transform(X)["labels"].sum() == len(est.predict(X)) == len(est.predict_scores(X))
    est.min_length = segment.right - segment.left + 1
    assert est.predict(X).empty


def test_update_trains_on_windows_with_new_points_and_moves_the_threshold(fitted):
    est = pickle.loads(pickle.dumps(fitted))
    before = [p.clone() for p in est.network_.parameters()]
    old, threshold = est.training_scores_, est.threshold_
    new = spoilt()[60:80]  # shorter than two windows: its first points are seen in windows that begin before
    assert est.update(pd.DataFrame(new)) is est
    assert not all(torch.equal(p, q) for p, q in zip(before, est.network_.parameters(), strict=True))
    assert len(est.training_scores_) == 170 and (est.training_scores_[:150] == old).all()
    assert est.threshold_ == est.training_scores_.max() > threshold
    assert est.update(new[:1]).training_scores_.shape == (171,)
    assert est.update(pd.Series(range(2), dtype=float).to_frame().assign(b=1.0)).training_scores_.shape == (173,)


def test_known_anomalies_are_taken_and_not_looked_at():
    est = NarrowDetector(random_state=0, update_epochs=0).fit(sine(100))
    known = pd.DataFrame({"ilocs": [1]})
    assert est.update(sine(20), y=known).training_scores_.shape == (120,)
    assert "ilocs" in est.update_predict(sine(40), y=known)


def test_update_without_training_scores_the_new_points_in_their_context():
    series = spoilt()
    est = NarrowDetector(random_state=0, update_epochs=0).fit(series[:100])
    weights = {name: each.clone() for name, each in est.network_.state_dict().items()}
    est.update(series[100:])
    assert all(torch.equal(weights[name], each) for name, each in est.network_.state_dict().items())
    context = series[100 - WINDOW + 1 :]
    np.testing.assert_allclose(est.training_scores_[100:], est.transform_scores(context)["scores"][WINDOW - 1 :])


def test_the_series_is_not_kept(fitted):
    short, long = (len(pickle.dumps(NarrowDetector(max_epochs=1).fit(sine(n)))) for n in (200, 2000))
    assert long - short < 1800 * 8 + 2000  # the scores of training, and nothing else
    updated = pickle.loads(pickle.dumps(fitted)).update(sine(2000))
    assert len(updated._X) == 0 and len(updated._context) == WINDOW - 1


def test_seeds():
    X = spoilt()
    torch.manual_seed(1)
    first = NarrowDetector(random_state=3, max_epochs=1).fit(X)
    torch.manual_seed(2)
    again, other = (NarrowDetector(random_state=seed, max_epochs=1).fit(X) for seed in (3, 4))
    assert first.threshold_ == again.threshold_ != other.threshold_
    assert first.update(X).threshold_ == again.update(X).threshold_
    np.random.seed(0)  # noqa: NPY002
    drawn = NarrowDetector(max_epochs=1).fit(X)
    assert drawn.threshold_ != NarrowDetector(max_epochs=1).fit(X).threshold_


def test_nothing_global_is_changed():
    def state():
        return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002

    before = state()
    est = NarrowDetector(random_state=0, max_epochs=1).fit(sine())
    est.update(sine(30)).predict(sine())
    assert state() == before


def test_the_best_weights_of_a_validation_part_at_the_end():
    series = np.concatenate([sine(100), np.zeros((50, 2))])
    est = NarrowDetector(random_state=0, val_fraction=1 / 3, lr=0.05, max_epochs=8).fit(series)
    losses = est.history_["curves"]["val/loss"]
    assert est.history_["best_epoch"] == int(np.argmin(losses)) and len(losses) == 8
    zeros = torch.from_numpy((np.zeros((WINDOW, 2)) - est.scaler_.mean_) / est.scaler_.scale_).float()
    with torch.no_grad():
        error = (est.network_(zeros[None])[0] - zeros).square().mean()
    assert error.item() == pytest.approx(min(losses), rel=1e-4)  # all validation windows are the same
    np.testing.assert_allclose(est.scaler_.mean_, series[:100].mean(0))  # of the training part alone


def test_a_series_too_short_for_validation_is_trained_on_whole():
    est = NarrowDetector(random_state=0, val_fraction=0.2, patience=1, max_epochs=3).fit(sine(20))
    assert est.history_["best_epoch"] is None and est.history_["epochs"] == 3
    np.testing.assert_allclose(est.scaler_.mean_, sine(20).mean(0))


def frame(**cells):
    X = pd.DataFrame(sine())
    for place, value in cells.items():
        X.iloc[int(place[1:]), 1] = value
    return X


@pytest.mark.parametrize("method", ["fit", "predict", "transform", "transform_scores", "predict_scores", "update"])
def test_what_cannot_be_read_is_refused(fitted, method):
    est = pickle.loads(pickle.dumps(fitted))
    call = getattr(est, method)
    with pytest.raises(ValueError, match="X holds NaN or infinite values, the first at position 7 in channel 1"):
        call(frame(r7=np.nan))
    with pytest.raises(ValueError, match="the first at position 9"):
        call(frame(r9=np.inf))
    if method != "update":
        with pytest.raises(ValueError, match="X has 11 time points, but window=12"):
            call(sine(11))
    if method != "fit":
        with pytest.raises(ValueError, match="X has 3 channels, but NarrowDetector was fitted on 2"):
            call(sine(150, 3))
    with pytest.raises(TypeError):
        call(np.zeros((2, 2, 50)))  # a panel


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 0}, "window must be a positive integer"),
        ({"window_stride": 1.5}, "window_stride must be a positive integer"),
        ({"score_stride": 13}, "score_stride=13 leaves time points without a score: at most 12"),
        ({"score_stride": 0}, "score_stride must be a positive integer"),
        ({"min_length": 0}, "min_length must be a positive integer"),
        ({"merge_gap": -1}, "merge_gap must be an integer of at least 0"),
        ({"update_epochs": -1}, "update_epochs must be an integer of at least 0"),
        ({"contamination": 0.7}, r"contamination must be in \[0, 0.5\], got 0.7"),
        ({"loss": "huber"}, "loss must be one of 'mse', 'mae'"),
        ({"scaling": "minmax"}, "scaling must be one of"),
        ({"lr": 0}, "lr must be positive"),
    ],
)
def test_bad_arguments_are_named_by_fit(change, message):
    with pytest.raises(ValueError, match=message):
        NarrowDetector(**change).fit(sine())


def test_what_the_factory_makes():
    assert issubclass(NarrowDetector, NetDetector) and NarrowDetector.__name__ == "NarrowDetector"
    assert pickle.loads(pickle.dumps(NarrowDetector)) is NarrowDetector
    assert (
        "width : int, default=3" in NarrowDetector.__doc__
        and "contamination : float, default=0.01" in NarrowDetector.__doc__
    )

    class Bad(nn.Module):
        def __init__(self, n_channels, lookback):
            super().__init__()

    with pytest.raises(TypeError, match=r"must take \('n_channels', 'n_timepoints'\) by position"):
        detector(Bad)


@pytest.mark.slow  # the suite over ChimeraDetector is among those of all estimators
def test_sktime_suite_over_a_network_from_outside():
    results = check_estimator(NarrowDetector, raise_exceptions=True, verbose=False)
    assert len(results) > 80 and set(results.values()) == {"PASSED"}


@pytest.mark.slow
def test_unpickling_and_predicting_import_no_lightning(tmp_path):
    est = ChimeraDetector(window=8, d_model=4, d_state=2, n_layers=1, max_epochs=1, random_state=0).fit(sine())
    (tmp_path / "detector.pkl").write_bytes(pickle.dumps(est))
    np.save(tmp_path / "X.npy", spoilt())
    script = """
import pickle, sys
import numpy as np
with open("detector.pkl", "rb") as file:
    detector = pickle.load(file)
np.save("scores.npy", detector.transform_scores(np.load("X.npy"))["scores"].to_numpy())
detector.predict(np.load("X.npy"))
assert "lightning" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), est.transform_scores(spoilt())["scores"], rtol=1e-5)
