"""Which sets an archive has, and which of them are here."""

import pytest

from tsmodels.benchmark import RequestError
from tsmodels.benchmark.collections import UCR, UCR_112, UEA, UEA_26, found_sets


def test_the_archives_have_their_published_sizes():
    assert [len(set(names)) for names in (UCR, UCR_112, UEA, UEA_26)] == [128, 112, 30, 26]
    assert set(UCR_112) < set(UCR)
    assert set(UEA_26) < set(UEA)
    assert not set(UCR) & set(UEA)


def test_sets_that_come_with_sktime_are_found_without_a_download(monkeypatch, tmp_path):
    monkeypatch.delenv("TSMODELS_DATA", raising=False)
    monkeypatch.setenv("TSMODELS_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.getaddrinfo", None)  # nothing may be looked up
    found, missing = found_sets("UEA")
    assert found == ["BasicMotions", "JapaneseVowels"]
    assert [*sorted(found + missing)] == sorted(UEA)


def test_an_archive_of_which_nothing_is_here_is_an_error():
    def load(name):
        raise OSError

    with pytest.raises(RequestError, match="none of the 128 sets of the UCR archive is on this machine"):
        found_sets("UCR", load)
    with pytest.raises(RequestError, match="archive must be one of UCR, UEA; got 'ucr'"):
        found_sets("ucr")
