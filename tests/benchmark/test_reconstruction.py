"""Reconstruction of dynamics: cells, divergent runs, medians, tables, resuming."""

import json

import numpy as np
import pandas as pd
import pytest

from tsmodels.benchmark import RequestError, load_results, reconstruction, run_reconstruction, summarise
from tsmodels.benchmark._dynamics_tables import reconstruction_markdown
from tsmodels.dynamics.measures import Reconstruction


@pytest.fixture(autouse=True)
def loads(monkeypatch):
    """Short circles in place of the systems; tell which were loaded."""
    names = []

    def load(name):
        names.append(name)
        angle = np.arange(700)[:, None] * 0.1 + [0, np.pi / 2]
        series = np.sin(angle)
        return reconstruction._Series(series[:400], series[400:], 0.1, np.array([0.0, -1.0]))

    monkeypatch.setattr(reconstruction, "_load", load)
    return names


@pytest.fixture
def run(tmp_path):
    def run(models=("shPLRNN",), seeds=(0,), datasets=("Lorenz63",), **options):
        return run_reconstruction(datasets, models, seeds, tmp_path / "out", **{"epochs": 1, **options})

    return run


def record(seed, d_stsp, divergent=0, **other):
    return {
        "task": "dynamics",
        "dataset": "Lorenz63",
        "model": "shPLRNN",
        "configuration": "00000000",
        "seed": seed,
        "status": "finished",
        "d_stsp": d_stsp,
        "divergent": divergent,
        "fit_seconds": 1.0,
        "predict_seconds": 1.0,
        "n_test": 10,
        **other,
    }


def test_a_cell_holds_the_measures_of_its_network(run, tmp_path):
    row = run().iloc[0]
    assert row["status"] == "finished", row["error"]
    assert row[["d_stsp", "d_h", "pe_20", "lyapunov_max"]].notna().all()
    assert row["epochs"] == 1
    assert row["n_parameters"] == 2 + 2 * 50 + 2 + 50 * 2 + 50  # A, W1, h1, W2, h2 of two units
    (cell,) = (json.loads(path.read_text()) for path in (tmp_path / "out" / "cells").iterdir())
    assert len(cell["lyapunov"]) == 2
    assert cell["lyapunov"][0] == row["lyapunov_max"]
    assert cell["parameters"]["trainer"]["max_epochs"] == 1
    assert len(cell["curves"]["train/loss"]) == 1


def test_results_are_reproducible_and_differ_between_seeds(run, tmp_path):
    first = run(seeds=[0, 1])
    assert first["d_stsp"].nunique() == 2
    for path in (tmp_path / "out" / "cells").iterdir():
        path.unlink()
    columns = ["seed", "d_stsp", "d_h", "pe_20", "lyapunov_max"]
    pd.testing.assert_frame_equal(run(seeds=[0, 1])[columns], first[columns])


def test_what_is_there_is_not_run_again(run, loads):
    first = run(["Floor", "shPLRNN"])
    assert loads == ["Lorenz63"]
    pd.testing.assert_frame_equal(run(["Floor", "shPLRNN"]), first)
    assert loads == ["Lorenz63"]
    run(["Floor", "shPLRNN"], epochs=2)
    assert loads == ["Lorenz63"] * 2


def test_the_floor_compares_the_halves_of_the_test_series(run):
    row = run(["Floor"], epochs=None).iloc[0]
    assert pd.isna(row["seed"])
    assert 0 < row["d_stsp"] < 5
    assert row["lyapunov_max"] == 0.0
    assert row["n_test"] == 300


def test_a_divergent_run_is_counted_and_in_no_median(run, monkeypatch):
    nan = float("nan")
    found = Reconstruction(nan, nan, nan, np.full(2, nan), nan, True, 300, 20)
    monkeypatch.setattr("tsmodels.dynamics.measures.evaluate_reconstruction", lambda *_, **__: found)
    results = run()
    row = results.iloc[0]
    assert row["status"] == "finished"
    assert row["divergent"] == 1
    assert pd.isna(row["d_stsp"])
    table = reconstruction_markdown(results).splitlines()[2].split("|")
    assert [cell.strip() for cell in table[1:6]] == ["Lorenz63", "shPLRNN", "1", "1", ""]


def test_seeds_are_summed_up_by_medians():
    from tsmodels.benchmark.results import to_frame

    records = [record(0, 1.0), record(1, 2.0), record(2, 40.0), record(3, None, divergent=1)]
    row = summarise(to_frame(records)).iloc[0]
    assert row["d_stsp"] == 2.0
    assert row["d_stsp_mad"] == 1.0
    assert row["divergent"] == 1
    assert row["n_finished"] == 4
    assert "2 ± 1" in reconstruction_markdown(to_frame(records))


def test_every_model_runs_on_every_set(run):
    """Also the sizes of the presets: a network for each number of channels."""
    results = run(None, datasets=["Lorenz63", "Rossler"], seeds=[0])
    assert results["status"].tolist() == ["finished"] * 8, results["error"].tolist()
    assert set(results["model"]) == {"Floor", "shPLRNN", "shPLRNN-aGTF", "ALRNN"}


def test_the_folder_holds_tables_and_a_picture(run, tmp_path):
    results = run(["Floor", "shPLRNN"])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"cells", "results.csv", "results.json", "results.md", "d_stsp.png"}
    assert (tmp_path / "out" / "d_stsp.png").read_bytes().startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(load_results(tmp_path / "out"), results, check_like=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"datasets": ["Lorenz"]}, "no dynamical system 'Lorenz'. Available: Lorenz63"),
        ({"models": ["LSTM"]}, "no model 'LSTM'. Available: Floor"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"models": ["Floor"]}, "epochs has no effect on Floor"),
        ({"seeds": []}, "seeds must hold at least one"),
    ],
    ids=["set", "model", "epochs", "no epochs", "seeds"],
)
def test_a_wrong_request_is_refused_before_anything_runs(run, tmp_path, options, message):
    with pytest.raises(RequestError, match=message):
        run(**options)
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_told_before_anything_runs(run, monkeypatch):
    def missing(name):
        raise FileNotFoundError("the data set 'EEG' was not found")

    monkeypatch.setattr(reconstruction, "_load", missing)
    with pytest.raises(RequestError, match="cannot load 'EEG': the data set 'EEG' was not found"):
        run(datasets=["EEG"])
