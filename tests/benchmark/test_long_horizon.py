"""The long-horizon protocol on a made-up copy of a data set."""

import functools
import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from tsmodels.benchmark import RequestError, load_horizon_errors, load_results, long_horizon, run_long_horizon
from tsmodels.benchmark.long_horizon import LongHorizonCell, Training
from tsmodels.models import DLinearForForecasting

N = 150


class LastValue(nn.Module):
    """What NaiveLast does, as a network that trains a bias that no one uses."""

    made: list[tuple] = []

    def __init__(self, n_channels, lookback, horizon):
        super().__init__()
        self.made.append((n_channels, lookback, horizon))
        self.horizon, self.unused = horizon, nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x[:, -1:].expand(-1, self.horizon, -1) + 0 * self.unused


class Broken(LastValue):
    error: BaseException | None = ValueError("out of luck")

    def forward(self, x):
        if self.error is not None and self.training and len(x) > 2:  # the warm-up has two windows
            raise self.error
        return super().forward(x)


@pytest.fixture(scope="module")
def values():
    rng = np.random.default_rng(0)
    time = np.arange(N)[:, None]
    return np.sin(2 * np.pi * time / 52 + [0, 1]) * [1, 5] + rng.normal(size=(N, 2)) / 5 + [0, 100]


@pytest.fixture(autouse=True)
def _data(request, values, tmp_path, monkeypatch):
    folder = tmp_path / "data" / "forecasting"
    folder.mkdir(parents=True)
    dates = pd.date_range("2002-01-01", periods=N, freq="7D")
    pd.DataFrame(values, columns=["a", "b"]).assign(date=dates).to_csv(folder / "national_illness.csv", index=False)
    monkeypatch.setenv("TSMODELS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("TSMODELS_CACHE", str(tmp_path / "cache"))
    LastValue.made.clear()
    if "picture" not in request.fixturenames:
        monkeypatch.setattr(long_horizon, "drawn", lambda ax: b"a picture")


@pytest.fixture
def picture():
    """Ask for the real pictures."""


@pytest.fixture
def run(tmp_path):
    def run(models=("NaiveLast",), seeds=(0,), output=tmp_path / "out", **options):
        training = Training(**{"max_epochs": 1, **options.pop("training", {})})
        options = {"lookback": 8, "horizons": [4], **options}
        return run_long_horizon(["national_illness"], models, seeds, output, training=training, **options)

    return run


def _by_hand(values, season, horizon):
    n_train, n_test = int(0.7 * N), int(0.2 * N)
    scaled = (values - values[:n_train].mean(0)) / values[:n_train].std(0)
    squared = np.zeros((n_test - horizon + 1, horizon, 2))
    for i, start in enumerate(range(N - n_test, N - horizon + 1)):
        for step in range(horizon):
            source = start + step
            while source >= start:
                source -= season
            squared[i, step] = (scaled[start + step] - scaled[source]) ** 2
    return squared


@pytest.mark.parametrize(("model", "season"), [("NaiveLast", 1), ("SeasonalNaive", 52)])
def test_naive_rows_are_those_computed_by_hand(run, values, model, season, tmp_path):
    row = run([model], horizons=[4]).iloc[0]
    squared = _by_hand(values, season, 4)
    assert row["mse"] == pytest.approx(squared.mean())
    assert row["mae"] == pytest.approx(np.sqrt(squared).mean())
    assert row["n_test"] == len(squared) == 27
    assert pd.isna(row["seed"])
    errors = load_horizon_errors(tmp_path / "out")
    np.testing.assert_allclose(errors["mse"], squared.mean((0, 2)))
    assert errors["step"].tolist() == [1, 2, 3, 4]


def test_a_network_that_repeats_the_last_value_scores_as_naive_last(run):
    """Trainer, task and datamodule against plain numpy: the same windows, scale and means, no window dropped."""
    results = run({"NaiveLast": None, "Network": LastValue}, training={"batch_size": 8}).set_index("model")
    for measure in ("mse", "mae", "n_test"):
        assert results.loc["Network", measure] == pytest.approx(results.loc["NaiveLast", measure], rel=1e-5)
    assert LastValue.made == [(2, 8, 4)] * 2  # warm-up and cell


def test_every_horizon_and_seed_is_a_cell_that_is_run_once(run, tmp_path):
    results = run({"Network": LastValue}, seeds=[0, 3], horizons=[4, 6])
    assert results[["lookback", "horizon", "seed"]].to_numpy().tolist() == [[8, 4, 0], [8, 4, 3], [8, 6, 0], [8, 6, 3]]
    files = {path.name: path.read_bytes() for path in (tmp_path / "out" / "cells").iterdir()}
    assert len(files) == 4
    assert all("national_illness__8to" in name for name in files)
    LastValue.made.clear()
    pd.testing.assert_frame_equal(run({"Network": LastValue}, seeds=[0, 3], horizons=[4, 6]), results)
    assert LastValue.made == []
    run({"Network": LastValue}, training={"window_stride": 2})
    assert len(LastValue.made) == 2
    assert len(load_results(tmp_path / "out")) == 5


def test_an_interruption_keeps_what_was_finished(run, tmp_path, monkeypatch):
    models = {"NaiveLast": None, "Broken": Broken}
    monkeypatch.setattr(Broken, "error", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(models)
    assert load_results(tmp_path / "out")["model"].tolist() == ["NaiveLast"]
    assert "NaiveLast" in (tmp_path / "out" / "results.md").read_text()
    monkeypatch.setattr(Broken, "error", None)
    assert (run(models)["status"] == "finished").all()


def test_a_failing_network_costs_its_cell(run, tmp_path):
    results = run({"Broken": Broken, "NaiveLast": None})
    assert results["status"].tolist() == ["failed", "finished"]
    assert (
        "FAILED: Broken on national_illness, 1 cell(s): ValueError: out of luck"
        in (tmp_path / "out" / "results.md").read_text()
    )


def test_our_networks_are_trained_and_all_is_written(run, tmp_path, picture):
    training = {"max_epochs": 3, "patience": 1, "window_stride": 2}
    results = run(["NaiveLast", "DLinear"], seeds=[0, 1], training=training)
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        *("cells", "errors_by_horizon.csv", "errors_by_horizon.png", "mse.png"),
        *("results.csv", "results.json", "results.md"),
    ]
    network = results.query("model == 'DLinear'")
    assert network["n_train"].tolist() == [47, 47]  # every second of 105 - 12 + 1 windows
    assert (network["n_val"] == 15 - 4 + 1).all()
    assert network["epochs"].between(1, 3).all()
    assert network["val_mse"].notna().all()
    cells = json.loads((out / "results.json").read_text())["cells"]
    trained = next(cell for cell in cells if cell["model"] == "DLinear")
    assert trained["parameters"]["network"] == "tsmodels.models.dlinear.DLinearForForecasting"
    assert trained["best_epoch"] == 1 + int(np.argmin(trained["curves"]["val/loss"]))
    assert np.mean(trained["horizon_errors"]["mse"]) == pytest.approx(trained["mse"])
    table = (out / "results.md").read_text()
    assert "| national_illness, 8 -> 4 | DLinear   | " in table
    assert "|                          | NaiveLast | " in table
    assert f"{network['mse'].mean():.3f} ± {network['mse'].std():.3f}" in table
    assert "arXiv" not in table  # nothing published on this set could be confirmed


def test_the_same_seed_gives_the_same_result(run, tmp_path):
    models = {"DLinear": functools.partial(DLinearForForecasting, normalise="last")}
    first, again = (run(models, output=tmp_path / name, training={"max_epochs": 2}) for name in ("a", "b"))
    assert first["mse"].tolist() == again["mse"].tolist()
    (cell,) = json.loads((tmp_path / "a" / "results.json").read_text())["cells"]
    assert cell["parameters"]["choices"] == {"normalise": "last"}


def test_windows_are_the_customary_ones_by_default(monkeypatch, tmp_path):
    cells = []
    monkeypatch.setattr(long_horizon, "run_cells", lambda job, given, *rest, **options: cells.extend(given))
    run_long_horizon(["ETTh1", "national_illness"], ["NaiveLast", "DLinear"], [0], tmp_path)
    shapes = {(cell.dataset, cell.lookback, cell.horizon) for cell in cells}
    assert shapes == {("ETTh1", 96, 96), ("national_illness", 36, 24)}
    assert str(cells[1]) == "DLinear on ETTh1, 96 to 96, seed 0"
    assert str(cells[0]) == "NaiveLast on ETTh1, 96 to 96"


def test_published_values_are_told_only_where_they_could_be_confirmed(result):
    from tsmodels.benchmark._tables import markdown
    from tsmodels.benchmark.results import to_frame

    shape = {"task": "long-horizon", "lookback": 96, "horizon": 96, "mse": 0.4, "mae": 0.4}
    both = [result("ETTh1", "Chimera", **shape), result("ETTh2", "Chimera", **shape)]
    table = markdown(to_frame(both))
    assert "MSE reported of Chimera (arXiv 2406.04320): ETTh1 0.405. " in table
    assert "arXiv" not in markdown(to_frame([result("ETTh1", "DLinear", **shape)]))


def test_wrong_requests_are_refused(run, tmp_path):
    for arguments, message in [
        (
            {"models": ["Transformer"]},
            "there is no network 'Transformer'. Available: NaiveLast, SeasonalNaive, DLinear",
        ),
        ({"models": []}, "at least one model"),
        ({"models": {"Mine": LastValue(1, 2, 3)}}, r"models\['Mine'\] must be a network class"),
        ({"models": "DLinear"}, "models must be a list of names"),
        ({"lookback": 0}, "lookback must be at least 1"),
        ({"horizons": [0]}, "horizons must be at least 1"),
        ({"horizons": []}, "horizons must hold at least one"),
        ({"training": {"patience": 0}}, "patience must be at least 1"),
        ({"training": {"lr": 0.0}}, "lr must be positive"),
    ]:
        with pytest.raises(RequestError, match=message):
            run(**arguments)
    with pytest.raises(RequestError, match=r"there is no long-horizon set 'ETTh3'\. Available: ETTh1, ETTh2"):
        run_long_horizon(["ETTh3"], ["NaiveLast"], [0], tmp_path)
    with pytest.raises(RequestError, match=r"cannot load 'weather'.*TSMODELS_DATA"):
        run_long_horizon(["weather"], ["NaiveLast"], [0], tmp_path)


def test_names_of_files_differ_for_all_that_tells_cells_apart():
    cells = {
        LongHorizonCell("a", "b", seed, "0", *shape) for seed in (None, 0, 1) for shape in ((8, 4), (8, 5), (9, 4))
    }
    assert len({cell.file_name for cell in cells}) == 9
