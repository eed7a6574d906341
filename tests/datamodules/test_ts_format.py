import numpy as np
import pytest

from tsmodels_datamodules._ts_format import read_ts

HEADER = "# a comment\n@problemName Made\n@timeStamps false\n@classLabel true a b\n@data\n"


@pytest.fixture
def file(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "Made_TRAIN.ts"
        path.write_text(text, encoding=encoding)
        return path

    return write


def test_channels_lengths_missing_values_and_labels(file):
    text = HEADER + "1,2.5,-3e2:4,?,6:Left\n\n7:NaN:right one \n"
    cases, labels = read_ts(file(text))
    np.testing.assert_array_equal(cases[0], [[1, 2.5, -300], [4, np.nan, 6]])
    np.testing.assert_array_equal(cases[1], [[7], [np.nan]])
    assert labels.tolist() == ["Left", "right one"]  # as in the file: case and inner blanks kept


def test_round_trip_is_exact(tmp_path, write_ts, ragged):
    write_ts(tmp_path / "X.ts", ragged, list("abcabc"))
    cases, labels = read_ts(tmp_path / "X.ts")
    for case, expected in zip(cases, ragged, strict=True):
        np.testing.assert_array_equal(case, expected)
    assert labels.tolist() == list("abcabc")


@pytest.mark.parametrize(
    "header",
    [
        HEADER.upper(),
        HEADER.replace("\n", "\r\n"),
        HEADER.replace("@timeStamps false\n", ""),
        HEADER.replace("@classLabel true a b", "@classlabel true"),
    ],
)
def test_headers_as_the_archives_vary_them(file, header):
    cases, labels = read_ts(file(header + "1,2:a\r\n"))
    assert cases[0].tolist() == [[1, 2]] and labels.tolist() == ["a"]


def test_a_description_in_another_encoding(file):
    cases, _ = read_ts(file("# Vilém\n" + HEADER + "1:a\n", encoding="latin-1"))
    assert cases[0].tolist() == [[1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no @data line"),
        (HEADER, "no cases after @data"),
        (HEADER.replace("@timeStamps false", "@timeStamps true"), "time stamps are not supported"),
        (HEADER.replace("@classLabel true a b", "@targetLabel true"), "no classification problem"),
        (HEADER.replace("@classLabel true a b", "@classLabel false"), "no classification problem"),
        (HEADER + "1,2,3\n", "line 6: expected values and a class label"),
        (HEADER + "1,2,3:\n", "line 6: expected values and a class label"),
        (HEADER + "1,2:3:a\n", "line 6: the channels of the case differ in length"),
        (HEADER + "1:2:a\n1:a\n", "line 7: 1 channels, the cases before have 2"),
        (HEADER + "1:a\n1,x:a\n", "line 7: could not convert string to float: 'x'"),
        (HEADER + "1,,2:a\n", "line 6: could not convert"),
    ],
)
def test_malformed_files(file, text, message):
    with pytest.raises(ValueError, match=f"Made_TRAIN.ts.*{message}"):
        read_ts(file(text))


@pytest.mark.parametrize("name", ["BasicMotions", "JapaneseVowels", "ItalyPowerDemand"])
def test_as_sktime_reads_it(name):
    from sktime.datasets import load_UCR_UEA_dataset

    from tsmodels_datamodules import load_archive

    ours = load_archive(name)
    for split, X, y in (("train", ours.X_train, ours.y_train), ("test", ours.X_test, ours.y_test)):
        theirs, labels = load_UCR_UEA_dataset(name, split=split, return_type="df-list")
        assert [label.lower() for label in y.tolist()] == labels.tolist()  # sktime's reader lower-cases the labels
        for case, expected in zip(X, theirs, strict=True):
            np.testing.assert_array_equal(np.asarray(case).T if isinstance(X, np.ndarray) else case, expected)
