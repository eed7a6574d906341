"""Reports: what is compared with what, what is left out and said so, and a page that needs nothing else."""

import argparse
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tsmodels.benchmark import RequestError
from tsmodels.benchmark.reports import add_arguments, make_report, run
from tsmodels.benchmark.reports._data import collect, summary_of, wins_of
from tsmodels.benchmark.reports._published import beside
from tsmodels.benchmark.reports._tables import Column, Entry, Grid, escape_latex, escape_markdown
from tsmodels.benchmark.results import open_folder, write_cell

_HOSTILE = '<script>alert("&1")</script> 50% of_$x$ | `a` \\b #{c}'


@pytest.fixture
def folder(tmp_path):
    """Return a maker of output folders."""

    def made(records, name="results"):
        folder = open_folder(tmp_path / name)
        for i, record in enumerate(records):
            write_cell(folder / "cells" / f"{i}.json", record)
        return folder

    return made


@pytest.fixture
def many(result):
    """Eight data sets, two models; the first one is the better on six of them."""
    return [
        result(
            f"Set{i}", model, seed, accuracy=0.9 - 0.01 * i + 0.001 * seed - (0.05 if (model == "B") == (i < 6) else 0)
        )
        | {"versions": {"tsmodels": "1"}, "machine": {"platform": "Linux"}, "protocol": "as agreed"}
        for i in range(8)
        for model in "AB"
        for seed in (0, 1)
    ]


@pytest.fixture
def undrawn(monkeypatch):
    """Make reports without their pictures, which take most of the time."""
    monkeypatch.setattr("tsmodels.benchmark.reports._figures.pictures", lambda *given: [])


def _reasons(comparison):
    return {each.band: each.reasons for each in comparison.left_out}


def test_values_are_averaged_over_runs_and_their_spread_is_told(folder, result):
    cells = [result("One", "A", seed, accuracy=value) for seed, value in enumerate((0.5, 0.7))]
    comparison = collect(folder([*cells, result("One", "B", None, accuracy=0.8)]))
    assert comparison.means.loc["One"].to_dict() == {"A": 0.6, "B": 0.8}
    assert comparison.spreads.loc["One", "A"] == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert np.isnan(comparison.spreads.loc["One", "B"])
    assert comparison.bands == ["One"]


def test_no_gap_is_filled_and_every_reason_told(folder, result, failure):
    cells = [result(name, model, 0) for name in ("Failed", "Fine", "Missing", "Short") for model in "AB"]
    cells += [failure(dataset="Failed", model="A", seed=1)]
    cells += [result("Short", "A", 1, resample=1)]
    cells = [cell for cell in cells if (cell["dataset"], cell["model"]) != ("Missing", "B")]
    cells += [failure(dataset="Fine", model="Broken", seed=0)]
    comparison = collect(folder(cells))
    assert _reasons(comparison) == {
        "Failed": ("A failed in 1 of 2 runs",),
        "Missing": ("B was not run",),
        "Short": ("B has only resamples 0",),
    }
    assert comparison.bands == ["Fine"]
    assert comparison.without_result == ("Broken",)
    assert [(each.band, each.method, each.seed) for each in comparison.failures] == [
        ("Failed", "A", "1"),
        ("Fine", "Broken", "0"),
    ]


def test_summary_is_over_the_complete_sets_alone(folder, result, failure):
    cells = [result("One", "A", accuracy=0.9, auroc=0.9), result("One", "B", accuracy=0.8)]
    cells += [result("Two", "A", accuracy=0.5, auroc=0.5), result("Two", "B", accuracy=0.5, auroc=0.6)]
    cells += [result("Three", "A", accuracy=0.1), failure(dataset="Three", model="B")]
    summary = summary_of(collect(folder(cells)))
    assert summary.index.tolist() == ["A", "B"]
    assert summary["accuracy"].to_dict() == pytest.approx({"A": 0.7, "B": 0.65})
    assert summary["average_rank"].to_dict() == {"A": 1.25, "B": 1.75}
    assert summary["wins"].to_dict() == {"A": 2, "B": 1}
    assert summary["auroc"]["A"] == pytest.approx(0.7)
    assert np.isnan(summary["auroc"]["B"])  # it lacks one of the sets: its mean would be over others


def test_configurations_are_methods_of_their_own(folder, result):
    comparison = collect(folder([result(configuration="aa"), result(configuration="bb")]))
    assert comparison.means.columns.tolist() == ["Levels [aa]", "Levels [bb]"]


def test_wins_of_errors_are_the_lowest(folder, result):
    import pandas as pd

    table = pd.DataFrame({"A": [1.0, 2.0, 0.1 + 0.2], "B": [2.0, 1.0, 0.3]})
    assert wins_of(table, lower_is_better=True).to_dict() == {"A": 2, "B": 2}
    assert wins_of(table.iloc[:1], lower_is_better=False).to_dict() == {"A": 0, "B": 1}


def test_published_columns_keep_their_source_and_their_gaps(folder, many, tmp_path):
    (tmp_path / "theirs.csv").write_text("dataset,A,C\nSet0,91,\nSet1,50,60\nElsewhere,1,2\n")
    (tmp_path / "others.csv").write_text("dataset,A,D\nSet1,0.25,\nElsewhere,,0.5\n")
    comparison = collect(folder(many))
    columns = beside(comparison, [str(tmp_path / "theirs.csv"), (tmp_path / "others.csv", ["A", "D"])])
    assert columns.table.columns.tolist() == ["A (theirs)", "C (theirs)", "A (others)"]
    assert columns.without_values == ("D (others)",)
    assert columns.table.loc["Set0"].isna().tolist() == [False, True, True]
    assert columns.joint.index.tolist() == ["Set1"]
    assert columns.joint.columns.tolist() == ["A", "B", "A (theirs)", "C (theirs)", "A (others)"]
    with pytest.raises(RequestError, match=r"no method 'Z'\. It has A, C"):
        beside(comparison, [(tmp_path / "theirs.csv", ["Z"])])


@pytest.mark.parametrize("other", ["dataset,A\nSet0,0.8\n", "dataset,A\nSet0,0.9\n", "dataset,C\nSet0,0.8\n"])
def test_two_published_files_of_one_name_are_told_apart_or_refused(folder, many, tmp_path, other):
    first, second = tmp_path / "2024" / "theirs.csv", tmp_path / "2025" / "theirs.csv"
    for path, content in ((first, "dataset,A,B\nSet0,0.9,0.7\n"), (second, other)):
        path.parent.mkdir()
        path.write_text(content)
    comparison = collect(folder(many))
    with pytest.raises(RequestError, match=r"2024.theirs\.csv' and '.*2025.theirs\.csv' would have one name"):
        beside(comparison, [first, second])
    renamed = second.rename(tmp_path / "2025" / "newer.csv")
    table = beside(comparison, [first, renamed]).table
    assert table.columns.tolist() == ["A (theirs)", "B (theirs)", f"{other[8]} (newer)"]
    again = beside(comparison, [(first, ["B"]), (tmp_path / "2025" / ".." / "2024" / "theirs.csv", ["A"])])
    assert again.table.columns.tolist() == ["B (theirs)", "A (theirs)"]  # one file, named twice


def test_published_numbers_stand_beside_runs_on_the_same_split_alone(folder, result, tmp_path):
    (tmp_path / "theirs.csv").write_text("dataset,C\nOne,0.5\n")
    cells = [result("One", model, resample=k, seed=k, accuracy=0.2 * (k + 1)) for model in "AB" for k in (0, 1)]
    columns = beside(collect(folder(cells)), [tmp_path / "theirs.csv"])
    assert columns.joint.loc["One"].to_dict() == {"A": 0.2, "B": 0.2, "C (theirs)": 0.5}
    resampled = collect(folder([cell for cell in cells if cell["resample"]], "resampled"))
    assert not beside(resampled, [tmp_path / "theirs.csv"]).own_split


class _Checker(HTMLParser):
    """Opened and closed tags, and what a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.open, self.fetched, self.ids, self.scripts = [], [], [], 0

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.scripts += tag == "script"
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href") and not value.startswith("#"):
                self.fetched.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_report_is_whole_and_its_page_stands_alone(folder, many, failure, tmp_path):
    (tmp_path / "theirs.csv").write_text("dataset,C\n" + "".join(f"Set{i},0.{i + 1}\n" for i in range(8)))
    bad = failure(dataset="Set9", model="A", seed=0) | {"error": f"ValueError: {_HOSTILE}\nsecond line"}
    index = make_report(folder([*many, bad]), published=[tmp_path / "theirs.csv"])
    names = {path.name for path in index.parent.iterdir()}
    drawn = ("critical-difference", "comparison-matrix", "pairs", "accuracy-time")
    drawn += ("critical-difference-published", "pairs-published")
    assert names == {"index.html", "report.md", "summary.tex", "datasets.tex"} | {
        f"{name}.{kind}" for name in drawn for kind in ("png", "svg")
    }
    page = index.read_text(encoding="utf-8")
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.fetched == []
    assert checker.scripts == 1
    assert len(set(checker.ids)) == len(checker.ids)
    assert not re.search(r"@import|url\((?!#)", page)
    targets = set(re.findall(r'(?:href="#|url\(#)([^")]+)', page))
    assert targets <= set(checker.ids)
    for part in ("prefers-color-scheme: dark", "as agreed", "tsmodels 1", "8 of 9 data sets", "Seeds", "Holm"):
        assert part in page
    assert "C (theirs)" in page
    assert "alert(&quot;&amp;1&quot;)" in page


def test_tables_are_written_for_markdown_and_latex(folder, many, failure, undrawn):
    bad = failure(dataset="Set9", model="A", seed=0) | {"error": f"ValueError: {_HOSTILE}"}
    index = make_report(folder([*many, bad]))
    text = index.with_name("report.md").read_text(encoding="utf-8")
    assert "two-sided Wilcoxon" in text
    assert r"Set9: A failed in 1 of 1 runs; B was not run" in text
    assert r"\<script\>" in text
    assert re.search(r"\| A +\| +\*\*1\.25\*\* \| +\*\*6\*\* \|", text)
    latex = index.with_name("summary.tex").read_text()
    assert r"A & \textbf{1.25} & \textbf{6} &" in latex
    assert r"\begin{tabular}{lrrrrrr}" in latex
    assert latex.count("&") == 3 * 6


def test_few_sets_are_compared_without_a_diagram(folder, result):
    index = make_report(folder([result(name, model) for name in ("One", "Two") for model in "AB"]))
    assert not index.with_name("critical-difference.svg").exists()
    assert index.with_name("pairs.svg").exists()
    assert "No critical-difference diagram: 2 complete data sets are fewer" in index.read_text(encoding="utf-8")


def test_one_model_and_no_complete_set_still_make_a_page(folder, result, failure):
    page = make_report(folder([result()])).read_text(encoding="utf-8")
    assert "nothing to compare it with" in page
    cells = [result("One", "A"), failure(dataset="One", model="B"), result("Two", "B")]
    page = make_report(folder(cells, "gaps")).read_text(encoding="utf-8")
    assert "0 of 2 data sets are complete" in page


def test_forecasts_are_ranked_by_the_lowest_error(folder, result):
    cells = [
        result(f"S{i}", model, task="long-horizon", lookback=96, horizon=h, mse=error + i, mae=error, val_mse=1.0)
        for i in range(3)
        for h in (96, 192)
        for model, error in (("Good", 0.25), ("Bad", 0.5))
    ]
    comparison = collect(folder(cells))
    assert comparison.means.index.tolist()[:2] == ["S0, 96 to 96", "S0, 96 to 192"]
    assert summary_of(comparison)["average_rank"].to_dict() == {"Good": 1.0, "Bad": 2.0}
    assert summary_of(comparison)["wins"].to_dict() == {"Good": 6, "Bad": 0}
    page = make_report(folder(cells)).read_text(encoding="utf-8")
    assert "compared by MSE (lower is better)" in page
    assert "critical-difference-" in page
    with pytest.raises(RequestError, match="leave out --published"):
        make_report(folder(cells), published=["uea_bakeoff_default_split"])


def test_what_cannot_be_reported_is_refused(folder, result, failure, tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder 'cells'"):
        make_report(tmp_path)
    with pytest.raises(RequestError, match="holds no finished or failed cell"):
        make_report(folder([], "empty"))
    with pytest.raises(RequestError, match="The first error: ValueError: too few cases"):
        make_report(folder([failure()], "failed"))
    dynamics = result(task="dynamics", divergent=0)
    with pytest.raises(RequestError, match=r"have their table in .*results\.md"):
        make_report(folder([dynamics], "dynamics"))
    with pytest.raises(RequestError, match="several kinds"):
        make_report(folder([dynamics, result()], "mixed"))
    with pytest.raises(RequestError, match="convention must be one of holm"):
        make_report(folder([result()], "fine"), convention="tukey")


def _run(*given):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args(list(map(str, given))))


def test_the_command_says_where_the_report_is(folder, result, tmp_path, capsys, undrawn):
    (tmp_path / "theirs.csv").write_text("dataset,C,D\nMade,0.5,0.6\n")
    results = folder([result()])
    output = tmp_path / "elsewhere" / "report"
    assert _run(results, "--published", tmp_path / "theirs.csv", "D", "--output", output, "--convention", "aeon") == 0
    assert capsys.readouterr().out.strip() == f"Report: {output / 'index.html'}"
    page = (output / "index.html").read_text(encoding="utf-8")
    assert "D (theirs)" in page
    assert "C (theirs)" not in page


def test_the_command_says_what_is_wrong(folder, result, tmp_path, capsys):
    assert _run(tmp_path / "nothing") == 2
    assert "tsmodels report: " in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert _run(folder([result()]), "--output", tmp_path / "file") == 2
    assert "cannot make the folder" in capsys.readouterr().err


def test_texts_are_escaped():
    assert escape_latex("50% of_$x$ & {a} \\ ^~#<b>") == (
        r"50\% of\_\$x\$ \& \{a\} \textbackslash{} \textasciicircum{}\textasciitilde{}\#\textless{}b\textgreater{}"
    )
    assert escape_markdown("a|b_c*d`e`\n<f>") == r"a\|b\_c\*d\`e\` \<f\>"
    grid = Grid([Column(_HOSTILE, hint=_HOSTILE, group=_HOSTILE)], [[Entry(_HOSTILE, 0.5, hint=_HOSTILE, strong=True)]])
    page = grid.html(_HOSTILE)
    assert "<script" not in page
    assert 'data-value="0.5"' in page
    assert r"\textbf{\textless{}script" in grid.latex()
