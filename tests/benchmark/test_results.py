"""Files that are whole or not there, and the tables made of them."""

import json

import numpy as np
import pandas as pd
import pytest

from tsmodels.benchmark import OutputError, load_results, summarise
from tsmodels.benchmark.results import open_folder, read_cell, to_frame, write_atomically, write_cell


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "first")
    write_atomically(path, "zweiter Versuch: ±")
    assert path.read_text(encoding="utf-8") == "zweiter Versuch: ±"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_write_that_is_interrupted_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, "old")

    def interrupt(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_has_gone_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*gone.*No such file"):
        write_atomically(tmp_path / "gone" / "file", "content")


def test_the_output_folder_is_made_with_its_parents_and_left_empty(tmp_path):
    folder = open_folder(tmp_path / "a" / "b")
    assert [path.name for path in folder.iterdir()] == ["cells"]
    assert open_folder(str(folder)) == folder


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)  # a mode of 0o500 does not stop the superuser tests may run as
    with pytest.raises(OutputError, match=r"Permission denied\. Name a folder that can be written to"):
        open_folder(tmp_path)


def test_a_cell_is_read_as_it_was_written(tmp_path, result, failure):
    for record in (result(seed=None), failure(seed=3)):
        write_cell(tmp_path / "cell.json", record)
        assert read_cell(tmp_path / "cell.json") == record


@pytest.mark.parametrize(
    "change",
    [
        {"status": "running"},
        {"accuracy": None},
        {"accuracy": "0.5"},
        {"seed": "0"},
        {"n_test": None},
        {"dataset": 3},
        {"status": "failed"},
        {"task": ["classification"]},
    ],
)
def test_what_is_no_result_is_not_read(tmp_path, result, change):
    (tmp_path / "cell.json").write_text(json.dumps(result() | change))
    assert read_cell(tmp_path / "cell.json") is None
    assert read_cell(tmp_path / "absent.json") is None
    assert read_cell(tmp_path) is None  # cannot be read, as a file without permission


def test_results_are_loaded_sorted_and_typed(tmp_path, result, failure):
    folder = open_folder(tmp_path) / "cells"
    write_cell(folder / "1.json", result("B", seed=10))
    write_cell(folder / "2.json", result("B", seed=9, n_parameters=5, log_loss=0.5))
    write_cell(folder / "3.json", failure(dataset="A", seed=None))
    (folder / ".4.json.123").write_text("{")  # a run that still writes, or was killed while writing
    results = load_results(tmp_path)
    assert results["dataset"].tolist() == ["A", "B", "B"]
    assert results["seed"].tolist() == [pd.NA, 9, 10]
    assert results["status"].tolist() == ["failed", "finished", "finished"]
    assert results["n_parameters"].dtype == results["seed"].dtype == "Int64"
    np.testing.assert_array_equal(results["log_loss"], [np.nan, 0.5, np.nan])


def test_a_damaged_file_is_left_out_with_a_warning(tmp_path, result):
    folder = open_folder(tmp_path) / "cells"
    write_cell(folder / "1.json", result())
    (folder / "2.json").write_text("{")
    with pytest.warns(UserWarning, match=r"2\.json is damaged and was left out"):
        assert len(load_results(tmp_path)) == 1


def test_a_folder_without_results_is_told_from_an_empty_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no benchmark results"):
        load_results(tmp_path)
    open_folder(tmp_path)
    assert load_results(tmp_path).empty
    assert summarise(load_results(tmp_path)).empty


def test_summary_is_the_mean_over_finished_seeds(result, failure):
    cells = [
        result(seed=0, accuracy=0.5, n_parameters=7),
        result(seed=1, accuracy=0.75, n_parameters=7),
        failure(seed=2),
        result("Other", "Once", seed=None, accuracy=1.0),
        failure(dataset="Other"),
    ]
    summary = summarise(to_frame(cells))
    assert summary["dataset"].tolist() == ["Made", "Other", "Other"]
    assert summary["label"].tolist() == ["Levels", "Once", "Levels"]
    first, once, failed = summary.to_dict("records")
    assert (first["n_finished"], first["n_failed"], first["seeded"], first["n_parameters"]) == (2, 1, True, 7)
    assert first["accuracy"] == 0.625
    assert first["accuracy_std"] == pytest.approx(np.std([0.5, 0.75], ddof=1))
    assert first["fit_seconds"] == 2.0
    assert first["error"].startswith("ValueError: too few cases")
    assert not once["seeded"]
    assert np.isnan(once["accuracy_std"])
    assert pd.isna(once["n_parameters"])
    assert (failed["n_finished"], failed["n_failed"]) == (0, 1)
    assert np.isnan(failed["accuracy"])


def test_configurations_of_a_model_are_kept_apart_and_named(result):
    cells = [
        result(accuracy=0.5, configuration="aa"),
        result(accuracy=1.0, configuration="bb"),
        result(model="Other", configuration="cc"),
    ]
    summary = summarise(to_frame(cells))
    assert summary["label"].tolist() == ["Levels [aa]", "Levels [bb]", "Other"]
    assert summary["accuracy"].tolist() == [0.5, 1.0, 0.75]
