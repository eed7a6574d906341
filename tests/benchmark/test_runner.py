"""What a run runs, what it finds done, and what it leaves behind when it is stopped."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import tsmodels
from tsmodels.benchmark import (
    OutputError,
    Progress,
    RequestError,
    _running,
    load_results,
    run_benchmark,
    runner,
    summarise,
)
from tsmodels.benchmark.archive_files import read_result_file
from tsmodels.benchmark.cells import run_cell


class Diary(Progress):
    """Writes down what it is told."""

    def __init__(self):
        self.plan = None
        self.events = []

    def started(self, plan):
        self.plan = plan

    def warming_up(self, model):
        self.events.append(f"warm up {model}")

    def running(self, cell):
        self.events.append(f"run {cell}")

    def ran(self, cell, record):
        self.events.append(f"{record['status']} {cell}")


@pytest.fixture
def run(tmp_path, load, levels):
    """Run on two sets with one model; returns the results and the diary."""

    def run(datasets=("One", "Two"), models=None, seeds=(0, 1), output=tmp_path / "out", **options):
        diary = Diary()
        models = {"Levels": levels()} if models is None else models
        return run_benchmark(datasets, models, seeds, output, load=load, progress=diary, **options), diary

    return run


@pytest.fixture(autouse=True)
def _no_picture(request, monkeypatch):
    """Draw nothing, it takes most of the time; tests that ask for `picture` have the real one."""
    if "picture" not in request.fixturenames:
        monkeypatch.setattr(runner, "_picture", lambda results: b"a picture")


@pytest.fixture
def picture():
    """Ask for the real picture."""


def _cell_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "cells").iterdir())}


def test_each_set_model_and_seed_is_run_once_in_the_order_given(run, levels, fixed, tmp_path):
    results, diary = run(models={"Levels": levels(), "Fixed": fixed()}, seeds=[4, 0, 4])
    assert list(zip(results["dataset"], results["model"], results["seed"].fillna(-1), strict=True)) == [
        ("One", "Levels", 4),
        ("One", "Levels", 0),
        ("One", "Fixed", -1),
        ("Two", "Levels", 4),
        ("Two", "Levels", 0),
        ("Two", "Fixed", -1),
    ]
    assert results["seed"].isna().sum() == 2
    assert (results["status"] == "finished").all()
    assert (results["accuracy"] == 1).all()
    assert results["log_loss"].isna().tolist() == [False, False, True] * 2
    # a warm-up of 4 cases per class before the first cell of each model
    assert levels.fits == [(8, 0), (12, 4), (12, 0), (8, None), (12, None), (12, 4), (12, 0), (12, None)]
    assert diary.events[:4] == [
        "warm up Levels",
        "run Levels on One, seed 4",
        "finished Levels on One, seed 4",
        "run Levels on One, seed 0",
    ]
    assert (diary.plan.folder, diary.plan.n_cells, diary.plan.n_found, diary.plan.n_retried) == (
        tmp_path / "out",
        6,
        0,
        0,
    )


def test_the_model_given_is_left_as_it_was(run, levels):
    model = levels(random_state=11)
    run(models={"Levels": model})
    assert model.get_params() == {"max_epochs": 7, "random_state": 11}
    assert not hasattr(model, "classes_")


def test_a_second_call_runs_nothing_and_gives_the_same(run, levels, tmp_path):
    first, _ = run()
    files = _cell_files(tmp_path / "out")
    levels.fits.clear()
    second, diary = run()
    assert levels.fits == diary.events == []
    assert (diary.plan.n_cells, diary.plan.n_found) == (4, 4)
    pd.testing.assert_frame_equal(first, second)
    assert _cell_files(tmp_path / "out") == files


def test_a_data_set_is_not_even_loaded_when_its_cells_are_found(run, levels, tmp_path):
    run(["One"])

    def no_load(name):
        raise AssertionError(f"{name} was loaded")

    assert len(run_benchmark(["One"], {"Levels": levels()}, [0, 1], tmp_path / "out", load=no_load)) == 2


def test_more_seeds_run_only_the_new_ones(run, levels):
    run()
    levels.fits.clear()
    _, diary = run(seeds=[0, 1, 2])
    assert [seed for n, seed in levels.fits if n == 12] == [2, 2]
    assert (diary.plan.n_cells, diary.plan.n_found) == (6, 4)


def test_other_parameters_epochs_or_version_are_other_cells(run, levels, tmp_path, monkeypatch):
    run(["One"])
    for change in ({"models": {"Levels": levels(max_epochs=8)}}, {"epochs": 9}):
        assert run(["One"], **change)[1].plan.n_found == 0
        assert run(["One"], **change)[1].plan.n_found == 2
    monkeypatch.setattr(tsmodels, "__version__", "99")
    assert run(["One"])[1].plan.n_found == 0
    monkeypatch.undo()
    results, diary = run(["One"])
    assert diary.plan.n_found == len(results) == 2
    everything = load_results(tmp_path / "out")
    assert len(everything) == 8
    assert everything["configuration"].nunique() == 4


def test_epochs_are_written_into_the_cells(run, levels, tmp_path):
    run(["One"], seeds=[0], epochs=9)
    (file,) = _cell_files(tmp_path / "out").values()
    assert json.loads(file)["parameters"] == {"max_epochs": 9}


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b"[]", b'{"dataset": "One"}', b"null"])
def test_a_damaged_file_is_redone(run, levels, tmp_path, damage):
    run(["One"])
    victim = sorted((tmp_path / "out" / "cells").iterdir())[0]
    before = json.loads(victim.read_bytes())
    victim.write_bytes(damage)
    levels.fits.clear()
    results, diary = run(["One"])
    assert [n for n, _ in levels.fits] == [8, 12]
    assert (diary.plan.n_found, diary.plan.n_retried) == (1, 0)
    assert len(results) == 2
    assert json.loads(victim.read_bytes())["accuracy"] == before["accuracy"]


def test_a_failing_model_costs_its_cells_only_and_is_tried_again_if_asked_to(run, levels):
    class Moody(levels):
        broken = True

        def fit(self, X, y):
            if self.broken and self.random_state == 1 and len(X) == 12:
                raise ValueError("out of luck")
            return super().fit(X, y)

    models = {"Moody": Moody(), "Levels": levels()}
    results, _ = run(models=models)
    failed = results[results["status"] == "failed"]
    assert failed[["dataset", "model", "seed"]].to_numpy().tolist() == [["One", "Moody", 1], ["Two", "Moody", 1]]
    assert set(failed["error"]) == {"ValueError: out of luck"}
    assert failed["accuracy"].isna().all()
    assert len(results) == 8
    Moody.broken = False
    results, diary = run(models=models)
    assert (diary.plan.n_found, diary.plan.n_failed, diary.plan.n_retried) == (8, 2, 0)
    assert (results["status"] == "failed").sum() == 2
    results, diary = run(models=models, retry_failed=True)
    assert (diary.plan.n_found, diary.plan.n_failed, diary.plan.n_retried) == (6, 0, 2)
    assert (results["status"] == "finished").all()
    assert results["error"].isna().all()


def test_an_interruption_keeps_what_was_finished_and_the_next_call_goes_on(run, levels, tmp_path):
    class Interrupted(levels):
        interrupt = True

        def fit(self, X, y):
            if self.interrupt and self.random_state == 1 and len(X) == 12:
                raise KeyboardInterrupt
            return super().fit(X, y)

    models = {"Levels": Interrupted()}
    with pytest.raises(KeyboardInterrupt):
        run(models=models)
    out = tmp_path / "out"
    assert len(_cell_files(out)) == 1
    assert len(pd.read_csv(out / "results.csv")) == 1
    assert (out / "accuracy.png").exists()
    Interrupted.interrupt = False
    results, diary = run(models=models)
    assert diary.plan.n_found == 1
    assert len(results) == 4


def test_the_files_of_the_folder_tell_the_same_as_the_results(run, levels, fixed, tmp_path, picture):
    results, _ = run(models={"Levels": levels(), "Fixed": fixed()})
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == [
        "accuracy.png",
        "cells",
        "predictions",
        "results.csv",
        "results.json",
    ]
    loaded = load_results(out)
    order = ["dataset", "model", "seed"]
    pd.testing.assert_frame_equal(
        loaded.sort_values(order, ignore_index=True), results.sort_values(order, ignore_index=True)
    )
    table = pd.read_csv(out / "results.csv")
    assert list(table.columns) == list(loaded.columns)
    np.testing.assert_allclose(table["log_loss"], loaded["log_loss"])
    content = json.loads((out / "results.json").read_text())
    assert len(content["cells"]) == 6
    assert [(row["dataset"], row["model"], row["n_finished"]) for row in content["summary"]] == [
        ("One", "Fixed", 1),
        ("One", "Levels", 2),
        ("Two", "Fixed", 1),
        ("Two", "Levels", 2),
    ]
    assert content["written_by"]["versions"]["tsmodels"] == tsmodels.__version__
    assert (out / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_tables_cover_what_earlier_calls_left_in_the_folder(run, tmp_path):
    run(["One"])
    results, _ = run(["Two"])
    assert set(results["dataset"]) == {"Two"}
    assert set(pd.read_csv(tmp_path / "out" / "results.csv")["dataset"]) == {"One", "Two"}


def test_a_run_in_which_all_fails_has_tables_and_no_picture(run, levels, tmp_path):
    class Broken(levels):
        def fit(self, X, y):
            raise ValueError("out of luck")

    results, _ = run(models={"Broken": Broken()})
    assert (results["status"] == "failed").all()
    assert len(pd.read_csv(tmp_path / "out" / "results.csv")) == 4
    assert not (tmp_path / "out" / "accuracy.png").exists()


def test_wrong_requests_are_refused_before_anything_is_run(run, levels, fixed, tmp_path):
    for arguments, message in [
        ({"datasets": ["One", "Missing"]}, "cannot load 'Missing': there is no such set. These need no download: Bas"),
        ({"datasets": []}, "at least one data set"),
        ({"models": {}}, "at least one model"),
        ({"datasets": "One"}, "datasets must be a list of names, got 'One'"),
        ({"models": "MiniRocket"}, "models must be a list of names, got 'MiniRocket'"),
        ({"models": {"Levels": levels}}, r"models\['Levels'\] must be an unfitted classifier, got <class"),
        ({"seeds": []}, "at least one integer"),
        ({"seeds": [0, -1]}, "from 0 to .* got -1"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 5, "models": {"Fixed": fixed()}}, "epochs has no effect on Fixed"),
    ]:
        with pytest.raises(RequestError, match=message):
            run(**arguments)
    assert levels.fits == []


def test_epochs_go_to_the_models_that_have_them(run, levels, fixed):
    results, _ = run(["One"], models={"Levels": levels(), "Fixed": fixed()}, epochs=3)
    assert (results["status"] == "finished").all()


def test_an_output_that_is_no_folder_is_refused(run, tmp_path, levels):
    file = tmp_path / "file"
    file.touch()
    for output in (file, file / "inside"):
        with pytest.raises(OutputError, match="Name a folder that can be written to"):
            run(output=output)
    assert levels.fits == []


def test_a_full_disk_stops_the_run_and_leaves_whole_files_only(run, levels, tmp_path, monkeypatch):
    run(["One"], seeds=[0])
    before = _cell_files(tmp_path / "out")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match=r"No space left on device\. What was finished before is kept"):
        run(["One"])
    assert _cell_files(tmp_path / "out") == before
    monkeypatch.undo()
    assert run(["One"])[1].plan.n_found == 1


def test_defaults_are_the_bundled_sets_three_seeds_and_our_loader(monkeypatch, tmp_path, made, levels):
    loaded = []
    monkeypatch.setattr("tsmodels_datamodules.load_archive", lambda name: loaded.append(name) or made(name))
    monkeypatch.setattr(runner, "resolve_models", lambda models: {"Levels": levels()} if models is None else None)
    monkeypatch.chdir(tmp_path)
    results = run_benchmark()
    assert sorted(loaded) == ["ArrowHead", "BasicMotions", "ItalyPowerDemand", "JapaneseVowels"]
    assert results["seed"].tolist() == [0, 1, 2] * 4
    assert len(load_results("tsmodels-results")) == 12


def test_a_record_is_the_one_that_is_written(run, levels, load, tmp_path, monkeypatch):
    records = []

    def watched(*arguments, **options):
        records.append(run_cell(*arguments, **options))
        return dict(records[-1])

    monkeypatch.setattr(runner, "run_cell", watched)
    run(["One"], seeds=[5])
    (file,) = _cell_files(tmp_path / "out").values()
    written = json.loads(file)
    execution = {"backend": "serial", "n_jobs": 1, "threads": None, "time_limit": None, "memory_limit_mb": None}
    assert written.pop("execution") == execution
    assert written.pop("cell_seconds") >= written["fit_seconds"]
    assert written.pop("peak_memory_mb") > 0
    assert (tmp_path / "out" / written.pop("predictions")).is_file()
    assert written == records[0]


@pytest.mark.slow  # a real training
def test_chimera_beats_chance_on_italy_power_demand_and_resumes(tmp_path, picture):
    arguments = (["ItalyPowerDemand"], ["ChimeraClassifier", "1NN-DTW"], [0], tmp_path)
    results = run_benchmark(*arguments, epochs=40)
    assert (results["status"] == "finished").all()
    chimera, dtw = results.to_dict("records")
    assert chimera["n_test"] == 1029
    assert chimera["n_parameters"] > 0
    assert chimera["accuracy"] > 0.8
    assert chimera["auroc"] > 0.8
    assert dtw["accuracy"] == pytest.approx(0.950, abs=0.001)
    diary = Diary()
    pd.testing.assert_frame_equal(run_benchmark(*arguments, epochs=40, progress=diary), results)
    assert diary.plan.n_found == 2


def test_resamples_have_their_number_as_seed(run, levels, fixed, tmp_path):
    results, _ = run(["One"], models={"Levels": levels(), "Fixed": fixed()}, seeds=None, resamples=3)
    assert (results["status"] == "finished").all()
    assert results["resample"].tolist() == [0, 1, 2] * 2
    assert results["seed"].fillna(-1).tolist() == [0, 1, 2, -1, -1, -1]
    cells = [json.loads(content) for content in _cell_files(tmp_path / "out").values()]
    assert {cell["protocol"].split()[0] for cell in cells if cell["resample"]} == {"stratified"}
    assert summarise(results)["n_finished"].tolist() == [3, 3]
    assert run(["One"], models={"Levels": levels()}, seeds=[0])[1].plan.n_found == 1  # the archive's own split
    for wrong, message in [({"seeds": [0], "resamples": 2}, "both given"), ({"resamples": 0}, "at least 1")]:
        with pytest.raises(RequestError, match=message):
            run(["One"], **{"seeds": None, **wrong})


def test_predictions_are_files_of_the_archives_format(run, levels, tmp_path):
    run(["One"], seeds=[0, 1])
    run(["One"], models={"Levels": levels(max_epochs=8)}, seeds=[0])
    run(["One"], seeds=None, resamples=2)
    cells = [json.loads(content) for content in _cell_files(tmp_path / "out").values()]
    files = {cell["predictions"]: cell for cell in cells}
    other = next(cell["configuration"] for cell in cells if cell["parameters"] == {"max_epochs": 8})
    assert sorted(files) == [
        f"predictions/Levels-{other}/Predictions/One/testResample0.csv",  # the other parameters overwrite nothing
        "predictions/Levels-seed1/Predictions/One/testResample0.csv",
        "predictions/Levels/Predictions/One/testResample0.csv",
        "predictions/Levels/Predictions/One/testResample1.csv",
    ]
    for path, cell in files.items():
        result = read_result_file(tmp_path / "out" / path)
        assert (result.accuracy, result.resample) == (cell["accuracy"], cell["resample"])
        assert result.n_classes == 2
        assert "0 = a, 1 = b" in result.comment
    run(["Two"], keep_predictions=False)
    assert not list((tmp_path / "out").glob("predictions/*/Predictions/Two"))


def test_probabilities_that_cannot_be_written_cost_the_file_only(run, levels, tmp_path):
    class Doubtful(levels):
        def get_tag(self, name, **options):
            return True

        def predict_proba(self, X):
            return 0.9 * super().predict_proba(X)

    with pytest.warns(UserWarning, match="do not sum to one"):  # scikit-learn's, of the log loss
        results, _ = run(["One"], models={"Doubtful": Doubtful()}, seeds=[0])
    assert results["status"].tolist() == ["finished"]
    (cell,) = (json.loads(content) for content in _cell_files(tmp_path / "out").values())
    assert cell["predictions"] is None
    assert "sum to 1" in cell["predictions_error"]


def test_an_archive_is_what_is_found_of_it(run, levels, tmp_path, made):
    told = []

    class Listener(Progress):
        def left_out(self, datasets, reason):
            told.append((len(datasets), reason))

    def load(name):
        if name not in ("Libras", "ERing"):
            raise FileNotFoundError
        return made(name)

    results = run_benchmark(
        models={"Levels": levels()}, seeds=[0], output=tmp_path, archive="UEA", load=load, progress=Listener()
    )
    assert results["dataset"].tolist() == ["ERing", "Libras"]
    assert told == [(28, "not on this machine")]
    with pytest.raises(RequestError, match="datasets and archive were both given"):
        run(["One"], archive="UEA")


def test_a_set_is_read_once_however_many_cells_it_has(levels, tmp_path, made):
    loaded = []
    run_benchmark(
        ["One", "Two", "Three"],
        {"A": levels(), "B": levels(max_epochs=3)},
        [0, 1],
        tmp_path,
        load=lambda name: loaded.append(name) or made(name),
    )
    # each is tried before the run, which is how a set of one's own is found to be missing
    assert sorted(set(loaded)) == ["One", "Three", "Two"]
    assert len(loaded) <= 6


def test_a_second_run_on_the_folder_is_refused(run, levels, tmp_path):
    class Nested(levels):
        def fit(self, X, y):
            if len(X) == 12:
                with pytest.raises(RequestError, match="in use by process"):
                    run(["Other"])
            return super().fit(X, y)

    results, _ = run(["One"], models={"Nested": Nested()}, seeds=[0])
    assert results["error"].isna().all()
    assert set(load_results(tmp_path / "out")["dataset"]) == {"One"}


def test_damaged_files_are_counted(run, tmp_path):
    run(["One"])
    (tmp_path / "out" / "cells" / "other.json").write_text("{")
    assert run(["One"])[1].plan.n_damaged == 1


def test_tables_are_written_now_and_then_and_at_the_end(run, monkeypatch):
    written = []
    monkeypatch.setattr(_running, "write_atomically", lambda path, content: written.append(path.name))
    run()
    assert written == ["results.csv", "results.json", "accuracy.png"]
    written.clear()
    monkeypatch.setattr(_running, "_SECONDS_BETWEEN_TABLES", -1.0)
    run(["Three"])
    assert written == ["results.csv"] * 3 + ["results.json", "accuracy.png"]
