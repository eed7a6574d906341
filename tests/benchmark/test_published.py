"""Published tables: read as they are, each under its source."""

import os
from pathlib import Path

import pandas as pd
import pytest

from tsmodels.benchmark import RequestError
from tsmodels.benchmark.published import PUBLISHED, load_published

_PUBLISHED = Path(os.environ.get("TSMODELS_DATA", "absent")).resolve().parent / "published"
_COLUMNS = ["dataset", "method", "value", "measure", "resample", "source", "protocol"]


def test_a_file_of_shares_with_gaps(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("dataset,A,B\nOne,0.5,\nTwo,1.0,0.25\n")
    table = load_published(path)
    assert table.columns.tolist() == _COLUMNS
    assert table[["dataset", "method", "value"]].to_numpy().tolist() == [
        ["One", "A", 0.5],
        ["Two", "A", 1],
        ["Two", "B", 0.25],
    ]
    assert set(table["source"]) == {"mine"}
    assert table["resample"].isna().all()
    assert set(table["protocol"]) == {"not stated in the file"}


def test_percent_become_shares(tmp_path):
    path = tmp_path / "percent.csv"
    path.write_text("dataset,A,B\nOne,50,0.9\nTwo,100,25\n")
    assert load_published(path)["value"].tolist() == pytest.approx([0.5, 1.0, 0.009, 0.25])


def test_a_name_is_found_beside_the_data(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "uea_bakeoff_default_split.csv").write_text("dataset,A\nOne,0.5\n")
    monkeypatch.setenv("TSMODELS_DATA", str(tmp_path / "data"))
    for name in ("uea_bakeoff_default_split", "uea_bakeoff_default_split.csv"):
        table = load_published(name)
        assert table["source"].tolist() == ["uea_bakeoff_default_split"]
        assert table["resample"].tolist() == [0]
        assert table["protocol"].tolist() == [PUBLISHED["uea_bakeoff_default_split"].protocol]
    with pytest.raises(RequestError, match="uea30_mambasl_iclr2026 was looked for at"):
        load_published("uea30_mambasl_iclr2026")


def test_what_is_not_there_is_named_with_what_there_is(monkeypatch):
    with pytest.raises(RequestError, match=r"no file 'nothing'.*uea_bakeoff_default_split, ucr_bakeoff"):
        load_published("nothing")
    monkeypatch.delenv("TSMODELS_DATA", raising=False)
    with pytest.raises(RequestError, match="set TSMODELS_DATA"):
        load_published("uea_bakeoff_default_split")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot read"),
        ("name,A\nOne,1\n", "must have a column 'dataset'"),
        ("dataset\nOne\n", "one for each method"),
        ("dataset,A\nOne,1\nOne,2\n", "every data set once: One"),
        ("dataset,A\nOne,good\n", "must hold numbers: A"),
        ("dataset,A\nOne,-3\n", "0 to 1 or 0 to 100"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_text(content)
    with pytest.raises(RequestError, match=message):
        load_published(path)


def test_no_two_sources_have_one_label():
    assert len({source.label for source in PUBLISHED.values()}) == len(PUBLISHED)


@pytest.mark.skipif(not _PUBLISHED.is_dir(), reason="no folder 'published' beside the one that TSMODELS_DATA names")
def test_the_tables_are_complete():
    tables = pd.concat([load_published(name) for name in PUBLISHED])
    assert tables["value"].between(0, 1).all()
    sizes = tables.groupby("source")[["dataset", "method"]].nunique()
    assert sizes.loc["uea_bakeoff_default_split"].tolist() == [26, 20]
    assert sizes.loc["ucr_bakeoff_default_split"].tolist() == [142, 14]
    assert sizes.loc["uea30_mambasl_iclr2026"].tolist() == [30, 21]
    assert sizes.loc["uea30_shapeformer_kdd2024"].tolist() == [30, 13]
    means = tables.groupby(["source", "method"])["value"].mean()
    assert means["uea30_mambasl_iclr2026", "MambaSL"] == pytest.approx(0.798, abs=5e-4)
    assert means["uea30_shapeformer_kdd2024", "ShapeFormer"] == pytest.approx(0.7861, abs=5e-5)
