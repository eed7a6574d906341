"""Detectors of anomalies on made series and two of sktime: area under the precision-recall curve, F1, seed by seed.

::

    python -m tests.benchmarks.bench_detectors                      some minutes, one thread
    python -m tests.benchmarks.bench_detectors --sets yahoo mitdb   some minutes
    python -m tests.benchmarks.bench_detectors --quick              one seed, two epochs, to see that it runs

``--sets made``, the default: every seed makes a series (:func:`tsmodels_datamodules.make_anomalies`: 2000 time points
without anomalies to learn from, 2000 with 4 events of each of three kinds) and is the seed of the detector. Other sets
are those of :func:`tsmodels_datamodules.load_anomaly_set`: one series, which every seed learns anew; the training part
is its beginning, and ends before the first label. Nobody has labelled that part as free of anomalies.

Means over seeds, with their range:

* AUC-PR, unadjusted, over all events, and of made series with the events of one kind alone (time points of the others
  left out);
* F1, unadjusted, at the threshold that comes from the training scores (their 99 % quantile): what is got in practice;
* best F1, unadjusted and point-adjusted, at a threshold taken from the labels: not to be had in practice.

The networks have their defaults but for training windows that start every 4 time points, to save time.

The baselines: a rolling z-score (window of 100, largest channel), reconstruction of windows of 50 by the leading
principal components that hold 90 % of the variance, the distance to the fifth nearest training window of length 20
(score of the point in its middle), and random numbers. Windows, the number of components and the rest were chosen
beforehand, not on these series. The level of ``yahoo`` rises throughout, in the training part too: contenders marked
"own level" take the mean out of each window, the network mean and deviation (``normalise="revin"``).
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from tsmodels.detection import auc_pr, best_f1, precision_recall_f1
from tsmodels.estimators import ChimeraDetector
from tsmodels_datamodules import AnomalySeries, load_anomaly_set, make_anomalies

KINDS = ("point", "contextual", "collective")
Scores = tuple[np.ndarray, np.ndarray]  # of the training part and of the test part


def random_numbers(data: AnomalySeries, seed: int) -> Scores:
    rng = np.random.default_rng(seed)
    return rng.random(len(data.train)), rng.random(len(data.test))


def rolling_z(data: AnomalySeries, seed: int, window: int = 100) -> Scores:
    both = pd.DataFrame(np.concatenate([data.train, data.test]))
    before = both.rolling(window, min_periods=2)
    z = ((both - before.mean().shift(1)) / before.std().shift(1)).abs().max(axis=1).fillna(0.0).to_numpy()
    return z[: len(data.train)], z[len(data.train) :]


def windows_of(series: np.ndarray, data: AnomalySeries, window: int, own_level: bool) -> np.ndarray:
    """Return the windows (window, channel * time) of a series in units of the training part."""
    scaled = (series - data.train.mean(0)) / data.train.std(0)
    views = np.lib.stride_tricks.sliding_window_view(scaled, window, axis=0)
    if own_level:
        views = views - views.mean(2, keepdims=True)
    return views.reshape(len(views), -1)


def pca_windows(data: AnomalySeries, seed: int, window: int = 50, own_level: bool = False) -> Scores:
    rows = partial(windows_of, data=data, window=window, own_level=own_level)
    pca = PCA(0.9, svd_solver="full").fit(rows(data.train))

    def scores(series):
        given = rows(series)
        errors = (pca.inverse_transform(pca.transform(given)) - given) ** 2
        errors = errors.reshape(len(errors), -1, window).mean(1)
        places = np.arange(len(errors))[:, None] + np.arange(window)
        sums = np.bincount(places.ravel(), errors.ravel(), len(series))
        return sums / np.bincount(places.ravel(), minlength=len(series))

    return scores(data.train), scores(data.test)


def nearest_windows(data: AnomalySeries, seed: int, window: int = 20, own_level: bool = False) -> Scores:
    def rows(series):
        padded = np.pad(series, ((window // 2, window - window // 2 - 1), (0, 0)), mode="edge")
        return windows_of(padded, data, window, own_level)

    index = NearestNeighbors(n_neighbors=6).fit(rows(data.train))
    # the nearest training window of a training window is itself
    return index.kneighbors(rows(data.train))[0][:, 5], index.kneighbors(rows(data.test))[0][:, 4]


def chimera(**choices) -> Callable[[AnomalySeries, int], Scores]:
    def scores(data: AnomalySeries, seed: int) -> Scores:
        detector = ChimeraDetector(random_state=seed, **choices).fit(data.train)
        return detector.training_scores_, detector.transform_scores(data.test)["scores"].to_numpy()

    return scores


def measures(data: AnomalySeries, scores: Scores) -> dict[str, float]:
    train, test = scores
    found = {"AUC-PR": auc_pr(data.labels, test)}
    for kind in KINDS:
        if kind not in {event.kind for event in data.events}:
            continue  # labels of a real series say nothing of kinds
        kept = np.ones(len(test), dtype=bool)
        for event in data.events:
            kept[event.start : event.stop] = event.kind == kind
        found[kind] = auc_pr(data.labels[kept], test[kept])
    found["F1"] = precision_recall_f1(data.labels, test > np.quantile(train, 0.99)).f1
    found["best F1"] = best_f1(data.labels, test).f1
    found["adjusted"] = best_f1(data.labels, test, adjust=True).f1
    return found


def contenders(**choices) -> dict[str, Callable[[AnomalySeries, int], Scores]]:
    return {
        "random numbers": random_numbers,
        "rolling z-score": rolling_z,
        "PCA of windows": pca_windows,
        "PCA, own level": partial(pca_windows, own_level=True),
        "nearest windows": nearest_windows,
        "nearest, own level": partial(nearest_windows, own_level=True),
        "ChimeraDetector": chimera(**choices),
        "ChimeraDetector, d_latent=0": chimera(d_latent=0, **choices),
        'ChimeraDetector, mode="predict"': chimera(mode="predict", **choices),
        "ChimeraDetector, own level": chimera(normalise="revin", **choices),
    }


def compare(name: str, seeds: range, choices: dict[str, int]) -> None:
    for label, contender in contenders(**choices).items():
        if name == "made" and "own level" in label:
            continue  # the level of these series is the same everywhere
        rows, seconds = [], []
        for seed in seeds:
            data = make_anomalies(seed=seed) if name == "made" else load_anomaly_set(name)
            begin = time.process_time()
            rows.append(measures(data, contender(data, seed)))
            seconds.append(time.process_time() - begin)
        frame = pd.DataFrame(rows)
        shown = "  ".join(
            f"{key} {frame[key].mean():.3f} [{frame[key].min():.2f}, {frame[key].max():.2f}]" for key in frame
        )
        print(f"{name:6s} {label:32s} {shown}  CPU {np.mean(seconds):.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=("made", "yahoo", "mitdb"), default=["made"])
    parser.add_argument("--quick", action="store_true", help="one seed, two epochs")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    choices = {"window_stride": 4} | ({"max_epochs": 2} if arguments.quick else {})
    for name in arguments.sets:
        compare(name, range(1 if arguments.quick else arguments.seeds), choices)


if __name__ == "__main__":
    main()
