"""Classifiers that explain: what the frame holds, in which units, and that fit looks at training cases only."""

import numpy as np
import pandas as pd
import pytest
from sktime.datasets import load_basic_motions

from tsmodels.estimators import MambaClassifier, ShapeFormerClassifier, VSFormerClassifier, all_estimators
from tsmodels.estimators._explained import ExplainedClassifier

COLUMNS = [
    *("case", "prediction", "token", "kind", "class", "channel", "attention"),
    *("start", "end", "distance", "present", "threshold", "score", "shapelet"),
]
SMALL = {
    "ShapeFormerClassifier": {"n_shapelets": 3, "d_model": 8, "d_generic": 8, "n_heads": 2, "d_ff": 8},
    "VSFormerClassifier": {"n_prototypes": 24, "n_intervals": 20, "d_model": 8, "n_heads": 2, "d_ff": 8, "n_layers": 1},
}
EVERY = pytest.mark.parametrize(
    "estimator", [ShapeFormerClassifier, VSFormerClassifier], ids=lambda each: each.__name__
)


def made(estimator, **changes):
    return estimator(**SMALL[estimator.__name__] | {"max_epochs": 2, "random_state": 0} | changes)


@pytest.fixture(scope="module")
def planted():
    """A bump in channel 0 for "bump", a dip in channel 1 for "dip", at places that differ; units far from standard."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(scale=0.3, size=(24, 2, 60)), np.repeat(["bump", "dip"], 12)
    places = rng.integers(15, 30, size=24)
    pattern = 3 * np.hanning(16)
    for case, place in enumerate(places):
        X[case, int(y[case] == "dip"), place : place + 16] += pattern if y[case] == "bump" else -pattern
    return X * np.array([[10.0], [0.1]]) + np.array([[100.0], [-3.0]]), y, places


def test_those_that_explain_are_known():
    found = [each for each in all_estimators("classifier") if issubclass(each, ExplainedClassifier)]
    assert found == [ShapeFormerClassifier, VSFormerClassifier]
    assert not hasattr(MambaClassifier, "explain")


@EVERY
def test_the_frame(estimator, planted):
    X, y, _ = planted
    classifier = made(estimator).fit(X, y)
    frame = classifier.explain(X[[0, 20]])
    assert list(frame.columns) == COLUMNS
    assert frame["case"].unique().tolist() == [0, 1]
    assert frame.groupby("case")["token"].nunique().tolist() == [len(frame) // 2] * 2
    assert frame.groupby("case")["attention"].sum().to_numpy() == pytest.approx(1, abs=1e-5)
    assert (frame.groupby("case")["attention"].diff().dropna() <= 1e-7).all()
    assert frame.groupby("case")["prediction"].first().tolist() == classifier.predict(X[[0, 20]]).tolist()
    shapelets = frame[frame["kind"] == "shapelet"]
    assert set(shapelets["class"]) == {"bump", "dip"}
    assert (shapelets["end"] - shapelets["start"] == shapelets["shapelet"].map(len)).all()
    assert shapelets["start"].min() >= 0
    assert shapelets["end"].max() <= 60
    assert np.isfinite(shapelets["distance"]).all()
    values = frame[frame["kind"] == "value"]
    assert values["class"].isna().all()
    assert values["distance"].isna().all()
    assert (len(values) > 0) == (estimator is VSFormerClassifier)


@EVERY
def test_shapelets_come_in_the_units_of_the_data(estimator, planted):
    X, y, _ = planted
    frame = made(estimator, max_epochs=1).fit(X, y).explain(X[:1])
    for row in frame[frame["kind"] == "shapelet"].to_dict("records"):
        low, high = ((60, 140), (-3.6, -2.4))[row["channel"]]
        assert low < row["shapelet"].min() <= row["shapelet"].max() < high


@EVERY
def test_top_keeps_the_first_rows_of_each_case(estimator, planted):
    X, y, _ = planted
    classifier = made(estimator, max_epochs=1).fit(X, y)
    everything, top = classifier.explain(X[:3]), classifier.explain(X[:3], top=2)
    assert len(top) == 6
    pd.testing.assert_frame_equal(top, everything.groupby("case").head(2).reset_index(drop=True))
    with pytest.raises(ValueError, match="top must be a positive integer, got 0"):
        classifier.explain(X, top=0)


def test_the_planted_pattern_is_found_where_it_is(planted):
    X, y, places = planted
    frame = made(ShapeFormerClassifier, max_epochs=1).fit(X, y).explain(X)
    best = frame.sort_values("score", ascending=False, kind="stable")
    hits = 0
    assert best.loc[best["present"], "class"].eq(y[best.loc[best["present"], "case"]]).mean() > 0.9
    for case, place in enumerate(places):
        rows = best[(best["case"] == case) & (best["class"] == y[case])]
        row = rows.iloc[0]
        overlap = min(row["end"], place + 16) - max(row["start"], place)
        hits += row["channel"] == int(y[case] == "dip") and overlap >= 0.5 * (row["end"] - row["start"])
    assert hits >= 22


def test_a_match_far_from_its_place_is_not_present(planted):
    X, y, _ = planted
    classifier = made(ShapeFormerClassifier, window=3, max_epochs=1).fit(X, y)
    whole, start = classifier.explain(X), classifier.network_.token_table()["start"]
    assert whole["present"].any()
    cut = classifier.explain(X[:, :, :20])
    far = np.abs(cut["start"] - start[cut["token"]]) > 3
    assert (far & (cut["start"] >= 0) & (cut["distance"] < cut["threshold"])).any()
    assert not cut.loc[far, "present"].any()


@EVERY
def test_unequal_lengths_and_missing_values(estimator, planted):
    X, y, _ = planted
    series = [x[:, : 60 - 2 * (i % 7)].copy() for i, x in enumerate(X)]
    series[3][1, 10:14] = np.nan
    frames = [pd.DataFrame(x.T) for x in series]
    classifier = made(estimator).fit(frames, y)
    probabilities = classifier.predict_proba(frames)
    assert np.isfinite(probabilities).all()
    frame = classifier.explain(frames)
    ends = frame[frame["start"] >= 0].groupby("case")["end"].max()
    assert (ends <= [x.shape[1] for x in series]).all()
    # what a series is padded to is no business of its own
    alone = classifier.predict_proba([frames[5]])
    assert alone[0] == pytest.approx(probabilities[5], abs=1e-5)


@EVERY
def test_fit_looks_at_training_cases_only(estimator, planted):
    X, y, _ = planted
    classifier = made(estimator, val_fraction=0.25, max_epochs=1).fit(X, y)
    from tsmodels_datamodules import PanelDataModule

    seed = np.random.RandomState(0).randint(2**31 - 1)
    held_out = PanelDataModule(X, y, val_fraction=0.25, seed=seed)._split[1]
    changed = X.copy()
    changed[held_out] = changed[held_out][:, :, ::-1] * 1.5
    other = made(estimator, val_fraction=0.25, max_epochs=1).fit(changed, y)
    found = [dict(each.network_.named_buffers()) for each in (classifier, other)]
    for name in classifier.network_.FOUND:
        assert np.array_equal(found[0][name].numpy(), found[1][name].numpy(), equal_nan=True), name


@EVERY
def test_the_time_of_the_look_is_told(estimator, planted):
    X, y, _ = planted
    assert made(estimator, max_epochs=1).fit(X, y).history_["preparation_seconds"] > 0


@EVERY
def test_two_dimensions_are_cases_of_one_channel_as_for_predict(estimator, planted):
    X, y, _ = planted
    classifier = made(estimator, max_epochs=1).fit(X[:, :1], y)
    flat, full = classifier.explain(X[:3, 0]), classifier.explain(X[:3, :1])
    assert flat.drop(columns="shapelet").equals(full.drop(columns="shapelet"))


@EVERY
@pytest.mark.filterwarnings("ignore:only single label seen")
def test_one_class_explains_nothing(estimator, planted):
    X, _, _ = planted
    classifier = made(estimator).fit(X[:4], np.repeat("a", 4))
    with pytest.raises(ValueError, match="y had one class, a, no network was made"):
        classifier.explain(X)


@EVERY
def test_not_fitted(estimator):
    with pytest.raises(Exception, match="not been fitted"):
        estimator().explain(np.zeros((1, 1, 10)))


@pytest.mark.slow
@EVERY
def test_learns_basic_motions(estimator):
    X, y = load_basic_motions(split="train", return_type="numpy3D")
    X_test, y_test = load_basic_motions(split="test", return_type="numpy3D")
    classifier = estimator(max_epochs=30, random_state=0).fit(X, y)
    assert classifier.score(X_test, y_test) >= 0.9
