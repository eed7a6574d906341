"""What is shown while a benchmark runs and at its end, in a terminal and in a log."""

import io

import pytest
from rich.console import Console

from tsmodels.benchmark import console as console_module
from tsmodels.benchmark import run_benchmark
from tsmodels.benchmark.cells import Cell
from tsmodels.benchmark.console import ConsoleProgress, print_table
from tsmodels.benchmark.results import to_frame
from tsmodels.benchmark.runner import Plan


def _printed(show, *arguments, **options):
    console = Console(file=io.StringIO(), width=100, **options)
    show(console, *arguments)
    return console.file.getvalue()


def _row(text, *parts):
    (line,) = [line for line in text.splitlines() if all(part in line for part in parts)]
    return line.split()


def test_table_has_a_row_for_each_set_and_model(result):
    cells = [
        result("JapaneseVowels", "ChimeraClassifier", seed, accuracy, n_test=370, n_parameters=1_234_567)
        for seed, accuracy in enumerate([0.96, 0.97, 0.98])
    ]
    cells += [result("JapaneseVowels", "1NN-DTW", None, 0.949, n_test=370, fit_seconds=123.4, predict_seconds=0.012)]
    text = _printed(print_table, to_frame(cells))
    assert "JapaneseVowels, 370 test cases" in text
    chimera = ["ChimeraClassifier", "3", "0.970", "±", "0.010", "0.970", "2.0", "0.50", "1,234,567"]
    assert _row(text, "ChimeraClassifier") == chimera
    assert _row(text, "1NN-DTW") == ["1NN-DTW", "none", "0.949", "0.949", "123", "0.01"]
    assert "nothing selected on the test cases" in text
    assert "Seeds 'none': the model draws nothing at random and is run once." in text
    assert "standard deviation over seeds" in text


def test_table_fits_into_100_columns_with_the_longest_names(result):
    cells = [
        result("DistalPhalanxOutlineAgeGroup", "ShapeFormerClassifier", seed, n_parameters=1_234_567, n_test=1029)
        for seed in (0, 1)
    ]
    lines = _printed(print_table, to_frame(cells)).splitlines()
    table = lines[: next(i for i, line in enumerate(lines) if line.startswith("Protocol"))]
    assert max(map(len, table)) <= 100
    assert any("DistalPhalanxOutlineAgeGroup" in line for line in table)  # not folded
    assert any("1,234,567" in line for line in table)


def test_failures_are_in_the_table_with_their_reason(result, failure):
    text = _printed(print_table, to_frame([result(), failure(seed=1), failure(model="Broken")]))
    assert _row(text, "Levels", "(1 failed)")[:5] == ["Levels", "1", "(1", "failed)", "0.750"]
    assert _row(text, "Broken", "failed", "0 ") == ["Broken", "0", "failed"]
    assert "FAILED: Broken on Made, 1 cell(s): ValueError: too few cases\n" in text
    assert "more of it" not in text


def test_spread_is_explained_only_where_there_is_one(result):
    assert "±" not in _printed(print_table, to_frame([result()]))


def test_configurations_are_not_taken_for_markup(result):
    text = _printed(print_table, to_frame([result(configuration="red"), result(configuration="bold")]))
    assert "Levels [red]" in text
    assert "Levels [bold]" in text


@pytest.mark.parametrize(
    ("plan", "line"),
    [
        ((1, 0, 0), "1 cell to run, results go to out\n"),
        ((4, 0, 0), "4 cells to run, results go to out\n"),
        ((12, 5, 0), "resuming: 5 of 12 cells found in out, 7 to run\n"),
        ((12, 5, 2), "resuming: 5 of 12 cells found in out, 7 to run (2 failed before)\n"),
        ((4, 0, 4), "resuming: 0 of 4 cells found in out, 4 to run (4 failed before)\n"),
        ((12, 12, 0), "12 of 12 cells found in out, nothing to run\n"),
    ],
)
def test_the_first_line_says_what_is_there_already(tmp_path, plan, line):
    assert _printed(lambda console: ConsoleProgress(console).started(Plan("out", *plan))) == line


def test_a_log_has_a_plain_line_for_each_cell(load, levels, tmp_path):
    class Broken(levels):
        def fit(self, X, y):
            raise ValueError("[red]out of luck")

    def run(console):
        with ConsoleProgress(console) as progress:
            models = {"Levels": levels(), "Broken": Broken()}
            run_benchmark(["One"], models, [0], tmp_path, load=load, progress=progress)

    lines = _printed(run).splitlines()
    assert lines[0] == f"2 cells to run, results go to {tmp_path}"
    assert lines[1].startswith("Levels: warmed up in ")
    assert lines[2].startswith("[1/2] Levels on One, seed 0: accuracy 1.000, fit 0.0")
    assert lines[4] == "[2/2] Broken on One, seed 0: FAILED: ValueError: [red]out of luck"
    assert len(lines) == 5


def test_a_terminal_has_a_bar_with_the_cell_that_runs():
    def run(console):
        with ConsoleProgress(console) as progress:
            progress.started(Plan("out", 2, 0, 0))
            progress.warming_up("Model")
            progress._bar.refresh()
            progress.running(Cell("One", "Model", 0, "0"))
            progress._bar.refresh()

    text = _printed(run, force_terminal=True, color_system="standard")
    assert "Model: warming up, compiles at first use" in text
    assert "Model on One, seed 0" in text
    assert "0/2" in text
    assert "━━━" in text


def test_the_time_left_follows_from_the_cells_of_each_model(monkeypatch):
    clock = iter([0.0, 0.0, 10.0, 10.0, 40.0])
    monkeypatch.setattr(console_module.time, "monotonic", lambda: next(clock))
    slow, quick = (Cell("One", model, 0, "0") for model in ("Slow", "Quick"))
    left = console_module.TimeLeft({"Slow": 3, "Quick": 5}, {})
    assert (left.seconds(), left.text()) == (None, "")
    left.began(slow)
    left.began(quick)
    left.ended(quick)  # 10 s; the other model is taken to be alike; two run at a time
    assert left.seconds() == (3 * 10 + 4 * 10) / 2
    left.began(Cell("One", "Quick", 1, "0"))
    left.ended(slow)  # 40 s
    assert left.seconds() == (2 * 40 + 4 * 10) / 2
    assert left.text() == "about 1 min left"


def test_times_of_earlier_runs_count_until_there_are_new_ones():
    left = console_module.TimeLeft({"Slow": 3}, {"Slow": 3600.0})
    assert left.text() == "about 3 h 00 min left"
    assert console_module.TimeLeft({"Slow": 3}, {"Slow": 2.0}).text() == "less than a minute left"
    assert console_module.TimeLeft({}, {"Slow": 2.0}).text() == ""


def test_failed_and_damaged_cells_and_missing_sets_are_told(tmp_path):
    def tell(console):
        progress = ConsoleProgress(console)
        progress.left_out(["One", "Two"], "not on this machine")
        progress.started(Plan(tmp_path, 4, 4, 0, n_failed=2, n_damaged=1))

    assert _printed(tell).splitlines() == [
        "left out, not on this machine: One, Two",
        f"4 of 4 cells found in {tmp_path}, nothing to run",
        "2 of those found failed; to run them again: --retry-failed",
        f"1 damaged result file(s) in {tmp_path / 'cells'}: as if they were not there",
    ]
