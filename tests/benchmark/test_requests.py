"""A run in a YAML file."""

import pytest

from tsmodels.benchmark import RequestError
from tsmodels.benchmark.requests import load_request

KNOWN = {"archive", "seeds", "jobs", "retry_failed", "models", "datasets"}


@pytest.fixture
def request_of(tmp_path):
    def request_of(text):
        (tmp_path / "run.yaml").write_text(text)
        return load_request(tmp_path / "run.yaml", KNOWN)

    return request_of


def test_options_become_arguments(request_of):
    request = request_of("archive: UCR\nretry-failed: true\njobs: -1\nseeds: [7]\ndatasets: [A, B]\n")
    expected = ["--archive=UCR", "--retry-failed", "--jobs=-1", "--seeds", "7,", "--datasets", "A", "B"]
    assert request.arguments() == expected
    assert request.arguments(without=["datasets", "seeds"]) == expected[:3]
    assert request.models is None
    assert request_of("retry_failed: false\nseeds: 3\njobs:").arguments() == ["--no-retry-failed", "--seeds=3"]


def test_models_are_handed_on_as_they_are(request_of):
    text = "models:\n  - MiniRocket\n  - class: a.B\n    parameters: {n: 3}\n"
    assert request_of(text).models == ["MiniRocket", {"class": "a.B", "parameters": {"n": 3}}]
    assert request_of("models: MiniRocket").models == ["MiniRocket"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("archiv: UCR", r"run\.yaml: there is no option 'archiv'\. There are: archive, datasets"),
        ("[1, 2]", "must hold options by name"),
        ("", "must hold options by name"),
        ("a: [", "is no YAML: while parsing"),
        ("models: 3", "models must be a list"),
    ],
)
def test_what_is_no_request_is_explained(request_of, text, message):
    with pytest.raises(RequestError, match=message):
        request_of(text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RequestError, match=r"cannot read '.*none\.yaml': No such file"):
        load_request(tmp_path / "none.yaml", KNOWN)
