"""The command `tsmodels`: its arguments, its exit codes, and what it prints."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sktime.classification.dummy import DummyClassifier

import tsmodels
from tsmodels.benchmark import _lookup, forecasting, models, reconstruction
from tsmodels.benchmark.execution import Backend, Budget
from tsmodels.benchmark.long_horizon import Training
from tsmodels.cli import main


class Dummy(DummyClassifier):
    """Predicts the most frequent class, and takes a seed for it."""

    def __init__(self, random_state=None):
        self.random_state = random_state
        super().__init__()


class Broken(Dummy):
    def fit(self, X, y):
        raise ValueError("out of luck")


class Interrupted(Dummy):
    def fit(self, X, y):
        raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _quick_models(monkeypatch, tmp_path):
    available = {"Dummy": Dummy, "Broken": Broken, "Interrupted": Interrupted}
    monkeypatch.setattr(models, "available_models", lambda: available)
    monkeypatch.setattr(_lookup, "_registered", lambda name, scitype: None)  # it takes seconds to import
    monkeypatch.delenv("TSMODELS_DATA", raising=False)
    monkeypatch.setenv("TSMODELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    """Run `tsmodels benchmark` on ItalyPowerDemand; returns exit code, output and errors."""

    def run(*arguments):
        code = main(["benchmark", "--datasets", "ItalyPowerDemand", *arguments])
        return code, *capsys.readouterr()

    return run


def test_it_prints_progress_and_table_and_writes_the_results(run, tmp_path):
    code, out, err = run("--models", "Dummy", "--seeds", "1")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "1 cell to run, results go to tsmodels-results"
    assert lines[2].startswith("[1/1] Dummy on ItalyPowerDemand, seed 0: accuracy 0.499")
    assert "ItalyPowerDemand, 1029 test cases" in out
    assert lines[-1] == "Results: tsmodels-results (results.csv, results.json, accuracy.png)"
    assert max(map(len, lines)) <= 120
    written = sorted(path.name for path in (tmp_path / "tsmodels-results").iterdir())
    assert written == ["accuracy.png", "cells", "predictions", "results.csv", "results.json"]


def test_a_second_call_runs_nothing_and_says_so(run):
    run("--models", "Dummy", "--output", "there")
    code, out, _ = run("--models", "Dummy", "--output", "there")
    assert code == 0
    assert out.startswith("3 of 3 cells found in there, nothing to run\n")
    assert "ItalyPowerDemand, 1029 test cases" in out
    assert (
        "resuming: 3 of 4 cells found in there, 1 to run\n"
        in run("--models", "Dummy", "--output", "there", "--seeds", "4")[1]
    )


@pytest.mark.parametrize(
    ("given", "seeds"),
    [([], [0, 1, 2]), (["2"], [0, 1]), (["7,"], [7]), (["5", "3"], [5, 3]), (["5,3"], [5, 3]), (["5,", "3"], [5, 3])],
)
def test_seeds_are_a_number_of_them_or_a_list(run, given, seeds):
    run("--models", "Dummy", *(["--seeds", *given] if given else []))
    content = json.loads(Path("tsmodels-results/results.json").read_text())
    assert [cell["seed"] for cell in content["cells"]] == sorted(seeds)


def test_names_may_be_separated_by_commas(run):
    code, out, _ = run("--models", "Dummy,Broken", "--seeds", "1")
    assert code == 1
    assert "2 cells to run" in out


def test_a_failing_model_is_reported_and_the_others_run(run):
    code, out, err = run("--models", "Broken", "Dummy", "--seeds", "1")
    assert (code, err) == (1, "")
    assert "[1/2] Broken on ItalyPowerDemand, seed 0: FAILED: ValueError: out of luck\n" in out
    assert "[2/2] Dummy on ItalyPowerDemand, seed 0: accuracy 0.499" in out
    assert "FAILED: Broken on ItalyPowerDemand, 1 cell(s): ValueError: out of luck\n" in out


def test_after_an_interruption_it_says_how_to_go_on(run, tmp_path):
    code, out, err = run("--models", "Dummy", "Interrupted", "--seeds", "1")
    assert code == 130
    assert "[1/2] Dummy" in out
    assert err.endswith("interrupted. What was finished is in tsmodels-results; the same command goes on from there.\n")
    assert len(list((tmp_path / "tsmodels-results" / "cells").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "Rocket"], "there is no model 'Rocket'. Available: Dummy, Broken, Interrupted."),
        (["--models", "Dummy", "--seeds", "x"], "--seeds takes integers, got 'x'."),
        (["--models", "Dummy", "--seeds", "0"], "at least one integer"),
        (["--models", "Dummy", "--seeds", "4294967296,"], "seeds must be integers from 0"),
        (["--models", "Dummy", "--epochs", "3"], "epochs has no effect on Dummy"),
        (["--models", "Dummy", "--output", "file"], "cannot write results to 'file'"),
        (["--models", "Dummy", "--output", "file/inside"], "Name a folder that can be written to."),
    ],
)
def test_wrong_arguments_are_explained_without_a_traceback(run, tmp_path, arguments, message):
    (tmp_path / "file").touch()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("tsmodels benchmark: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_an_unknown_data_set_is_explained(capsys, monkeypatch):
    monkeypatch.setattr("socket.getaddrinfo", _offline)
    assert main(["benchmark", "--datasets", "ItalyPower", "--models", "Dummy"]) == 2
    err = capsys.readouterr().err
    assert "'ItalyPower'" in err
    assert "ItalyPowerDemand" in err
    assert "These need no download: BasicMotions, JapaneseVowels, ItalyPowerDemand, ArrowHead." in err
    assert "Traceback" not in err


@pytest.fixture
def forecast(capsys):
    """Run `tsmodels benchmark --task forecasting`; returns exit code, output and errors."""

    def forecast(*arguments):
        code = main(["benchmark", "--task", "forecasting", *arguments])
        return code, *capsys.readouterr()

    return forecast


def test_forecasters_are_backtested(forecast, tmp_path):
    arguments = ["--datasets", "shampoo_sales", "lynx", "--models", "NaiveLast", "SeasonalNaive", "--cutoffs", "2"]
    code, out, err = forecast(*arguments)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "4 cells to run, results go to tsmodels-forecasting"
    assert lines[2].startswith("[1/4] NaiveLast on shampoo_sales: MASE ")
    table = (tmp_path / "tsmodels-forecasting" / "results.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 6
    assert set(rows) <= {*lines, *rows[2:]}  # on the screen in the order given, in the file sorted
    assert "| shampoo_sales, 4 steps from 2 cutoffs | NaiveLast" in out
    assert lines[-1].startswith("Results: tsmodels-forecasting (results.md, ")
    assert "nothing to run" in forecast(*arguments)[1]


def test_by_default_it_says_what_is_left_out(forecast, monkeypatch):
    monkeypatch.setattr(forecasting, "left_out", lambda: {"Theta": "statsmodels", "ETS": "statsmodels"})
    monkeypatch.setattr("tsmodels.benchmark.run_backtest", _refused)
    code, out, _ = forecast()
    assert (code, out) == (2, "left out: Theta and ETS, which need statsmodels (not installed)\n")
    assert forecast("--models", "NaiveLast")[1] == ""


def _refused(*arguments, **options):
    raise tsmodels.benchmark.RequestError("enough")


def test_long_horizon_sets_are_run_by_their_protocol(forecast, monkeypatch, tmp_path):
    asked = {}

    def run(datasets, models, seeds, output, **options):
        asked.update(datasets=datasets, models=models, seeds=list(seeds), output=output, **options)
        raise tsmodels.benchmark.RequestError("enough")

    monkeypatch.setattr("tsmodels.benchmark.run_long_horizon", run)
    line = "--sets ETTh1 weather --models DLinear Chimera --seeds 2 --lookback 48 --horizons 24 96 --max-epochs 4 "
    code, _, _ = forecast(
        *(line + "--patience 2 --window-stride 8 --batch-size 16 --lr 0.01 --accelerator auto").split()
    )
    assert code == 2
    assert asked.pop("training") == Training(4, 2, 8, 16, 0.01, "auto")
    del asked["progress"]
    assert asked.pop("backend") == Backend()
    assert asked.pop("budget") == Budget()
    assert asked == {
        "datasets": ["ETTh1", "weather"],
        "models": ["DLinear", "Chimera"],
        "seeds": [0, 1],
        "output": "tsmodels-long-horizon",
        "lookback": 48,
        "horizons": [24, 96],
        "retry_failed": False,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--datasets", "nothing"], "cannot load 'nothing': there is no bundled series 'nothing'. Bundled: airline"),
        (["--models", "Nothing"], "there is no forecaster 'Nothing'. Available: NaiveLast"),
        (["--datasets", "ETTh1", "--models", "Nothing"], "there is no network 'Nothing'. Available: NaiveLast"),
        (["--datasets", "ETTh1", "airline"], "'airline' is no long-horizon set"),
        (["--datasets", "weather", "--models", "NaiveLast"], "cannot load 'weather': the data set 'weather' was not"),
        (["--datasets", "airline", "--lookback", "3"], "--lookback is for forecasting on long-horizon sets"),
        (["--datasets", "ETTh1", "--cutoffs", "3"], "--cutoffs is for forecasting on short series"),
        (["--datasets", "ETTh1", "--lr", "0"], "lr must be positive"),
        (["--models", "NaiveLast", "--epochs", "3"], "epochs has no effect on NaiveLast"),
    ],
)
def test_wrong_arguments_of_forecasting_are_explained(forecast, arguments, message):
    code, _, err = forecast(*arguments)
    assert code == 2
    assert err.startswith("tsmodels benchmark: ")
    assert message in err
    assert len(err.splitlines()) == 1


def test_options_of_forecasting_are_refused_for_classifiers(run):
    code, out, err = run("--models", "Dummy", "--window-stride", "2")
    assert (code, out) == (2, "")
    assert "--window-stride is for forecasting on long-horizon sets" in err


@pytest.mark.parametrize(
    ("task", "function", "seeds"),
    [("dynamics", "run_reconstruction", [0, 1, 2, 3, 4]), ("chaos", "run_chaos", [0, 1, 2])],
    ids=["dynamics", "chaos"],
)
def test_dynamical_systems_have_benchmarks_of_their_own(capsys, monkeypatch, task, function, seeds):
    asked = []

    def run(datasets, models, seeds, output, *, epochs, progress, backend, budget, retry_failed):
        asked.append([datasets, models, list(seeds), output, epochs, backend.name, budget.seconds, retry_failed])
        raise tsmodels.benchmark.RequestError("enough")

    monkeypatch.setattr(f"tsmodels.benchmark.{function}", run)
    command = ["benchmark", "--task", task]
    execution = ["--jobs", "2", "--time-limit", "60", "--retry-failed"]
    assert main([*command, "--models", "A", "--datasets", "B,C", "--seeds", "2", "--epochs", "7", *execution]) == 2
    assert main([*command, "--models", "A", "--output", "there"]) == 2
    assert asked == [
        [["B", "C"], ["A"], [0, 1], f"tsmodels-{task}", 7, "loky", 60.0, True],
        [None, ["A"], seeds, "there", None, "serial", None, False],
    ]
    assert capsys.readouterr().err == "tsmodels benchmark: enough\n" * 2


def test_the_floor_of_a_system_is_a_table(capsys, monkeypatch):
    circle = np.sin(np.arange(700)[:, None] * 0.1 + [0, np.pi / 2])
    monkeypatch.setattr(reconstruction, "_load", lambda name: reconstruction._Series(circle, circle, 0.1))
    assert main(["benchmark", "--task", "dynamics", "--datasets", "Rossler", "--models", "Floor"]) == 0
    out = capsys.readouterr().out
    assert "[1/1] Floor on Rossler: D_stsp " in out
    assert "| Rossler  | Floor |" in out
    assert out.splitlines()[-1] == "Results: tsmodels-dynamics (results.md, results.csv, results.json, d_stsp.png)"


def _offline(*arguments, **options):
    raise OSError("no network in this test")


@pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--epochs", "two"], ["--seeds"], ["--nonsense"]])
def test_what_argparse_refuses_is_exit_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as exit:
        main(["benchmark", *arguments])
    assert exit.value.code == 2
    assert "usage: tsmodels" in capsys.readouterr().err


def test_without_a_command_it_shows_the_usage(capsys):
    with pytest.raises(SystemExit) as exit:
        main([])
    assert exit.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_help_and_version(capsys):
    for arguments, expected in [
        (["--version"], [f"tsmodels {tsmodels.__version__}\n"]),
        (["--help"], ["benchmark", "train and evaluate"]),
        (["benchmark", "--help"], ["--datasets", "--models", "--seeds", "--epochs", "--output", "130 interrupted"]),
    ]:
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        assert exit.value.code == 0
        out = capsys.readouterr().out
        assert all(part in out for part in expected)


def test_nothing_heavy_is_imported_before_a_command_runs():
    code = (
        "import sys, contextlib\n"
        "from tsmodels.cli import main\n"
        "with contextlib.suppress(SystemExit): main(['benchmark', '--help'])\n"
        "heavy = {'torch', 'sktime', 'lightning', 'pandas', 'numpy', 'sklearn', 'matplotlib', 'rich', 'numba'}\n"
        "sys.exit(str(sorted(heavy & sys.modules.keys())))"
    )
    process = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert process.stderr == "[]\n"


def test_the_command_runs_as_a_process(tmp_path):
    command = [sys.executable, "-W", "error", "-c", "import sys; from tsmodels.cli import main; sys.exit(main())"]
    arguments = ["benchmark", "--datasets", "ArrowHead", "--models", "1NN-DTW", "--output", str(tmp_path / "out")]
    process = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)
    assert process.stderr == ""
    assert process.returncode == 0
    assert "[1/1] 1NN-DTW on ArrowHead: accuracy 0.703" in process.stdout
    assert "\x1b" not in process.stdout  # no colours in a log


def test_a_run_may_stand_in_a_file_which_the_command_line_overrides(run, tmp_path, monkeypatch):
    asked = []

    def benchmark(datasets, models, seeds, output, **options):
        asked.append({"datasets": datasets, "models": models, "seeds": seeds, "output": output} | options)
        raise tsmodels.benchmark.RequestError("enough")

    monkeypatch.setattr("tsmodels.benchmark.run_benchmark", benchmark)
    (tmp_path / "run.yaml").write_text(
        "archive: UCR\nseeds: [3]\noutput: there\njobs: 2\ntime-limit: 5\npredictions: false\n"
        "models:\n  - Dummy\n  - {class: a.B, parameters: {n: 1}}\n"
    )
    assert main(["benchmark", "--config", "run.yaml"]) == 2
    assert run("--config", "run.yaml", "--resamples", "4", "--models", "Dummy", "--jobs", "3")[0] == 2
    of_file, overridden = asked
    del of_file["progress"]
    assert of_file == {
        "datasets": None,
        "models": ["Dummy", {"class": "a.B", "parameters": {"n": 1}}],
        "seeds": [3],
        "output": "there",
        "archive": "UCR",
        "resamples": None,
        "epochs": None,
        "backend": Backend("loky", 2),
        "budget": Budget(seconds=5),
        "retry_failed": False,
        "keep_predictions": False,
        "train_metrics": True,
    }
    # --datasets stands in the place of the archive, --resamples in that of the seeds
    assert [overridden[name] for name in ("datasets", "archive", "seeds", "resamples", "models", "backend")] == [
        ["ItalyPowerDemand"],
        None,
        None,
        4,
        ["Dummy"],
        Backend("loky", 3),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "none.yaml"], "cannot read 'none.yaml'"),
        (["--backend", "serial", "--jobs", "2"], "--jobs has no effect with --backend serial"),
        (["--scheduler", "tcp://127.0.0.1:9", "--jobs", "2"], "--jobs has no effect with --scheduler"),
        (["--archive", "UCR"], "datasets and archive were both given"),
        (["--resamples", "2", "--seeds", "2"], "seeds and resamples were both given"),
        (["--models", "no.such.Model"], "cannot import the model 'no.such.Model'"),
    ],
)
def test_wrong_options_of_a_run_are_explained(run, arguments, message):
    code, out, err = run(*([] if "--models" in arguments else ["--models", "Dummy"]), *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("tsmodels benchmark: ")
    assert message in err


@pytest.mark.parametrize("limit", ["-1", "0", "inf", "soon"])
@pytest.mark.parametrize("option", ["--time-limit", "--memory-limit"])
def test_limits_are_positive_numbers(option, limit, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["benchmark", option, limit])
    assert exit_.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


def test_failed_cells_are_kept_and_a_line_says_how_to_retry_them(run):
    run("--models", "Broken", "--seeds", "1")
    code, out, _ = run("--models", "Broken", "--seeds", "1")
    assert code == 1
    assert "nothing to run\n1 of those found failed; to run them again: --retry-failed\n" in out
    code, out, _ = run("--models", "Broken", "--seeds", "1", "--retry-failed")
    assert code == 1
    assert "0 of 1 cells found in tsmodels-results, 1 to run (1 failed before)" in out


def test_other_commands_are_handed_their_arguments(monkeypatch):
    handed = []
    training = SimpleNamespace(main=lambda argv: handed.append(argv) or 0)
    report = SimpleNamespace(
        add_arguments=lambda parser: parser.add_argument("folder"), run=lambda given: handed.append(given.folder) or 0
    )
    monkeypatch.setitem(sys.modules, "tsmodels.training", training)
    monkeypatch.setitem(sys.modules, "tsmodels.benchmark.reports", report)
    assert main(["fit", "--config", "x", "--nonsense"]) == 0
    assert main(["report", "there"]) == 0
    assert handed == [["fit", "--config", "x", "--nonsense"], "there"]
