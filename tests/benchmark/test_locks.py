"""One run at a time in a folder; a run that was killed is in nobody's way."""

import errno
import json
import os
import socket
import subprocess
import sys

import pytest

from tsmodels.benchmark import OutputError, RequestError, _locks
from tsmodels.benchmark._locks import only_run


def test_a_folder_is_free_again_when_the_run_has_ended(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), only_run(tmp_path):
            assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
            raise KeyboardInterrupt
        assert list(tmp_path.iterdir()) == []


def test_a_second_run_is_refused_and_leaves_the_first_alone(tmp_path):
    refused = pytest.raises(RequestError, match=rf"in use by process {os.getpid()} on .*: wait for that run")
    with only_run(tmp_path):
        with refused, only_run(tmp_path):
            pass
        assert (tmp_path / ".lock").exists()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    code = (
        "import os, signal, pathlib, sys\n"
        "from tsmodels.benchmark._locks import only_run\n"
        "with only_run(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert (tmp_path / ".lock").exists()
    with only_run(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(
    ("holder", "is_free"),
    [
        ({"pid": os.getpid(), "host": "elsewhere", "started": 0.0}, False),
        ({"pid": os.getpid(), "host": socket.gethostname(), "started": 0.0}, True),  # the number was given out again
        ({"pid": 2**30, "host": socket.gethostname(), "started": 0.0}, True),
        ({}, True),
        ([], True),
    ],
)
def test_without_locks_of_the_system_the_file_decides(tmp_path, monkeypatch, holder, is_free):
    monkeypatch.setattr(_locks, "fcntl", None)
    (tmp_path / ".lock").write_text(json.dumps(holder))
    if is_free:
        with only_run(tmp_path):
            assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    else:
        with pytest.raises(RequestError, match=r"on elsewhere: .* delete '.*\.lock'"), only_run(tmp_path):
            pass
        assert json.loads((tmp_path / ".lock").read_text()) == holder


def test_without_locks_of_the_system_a_living_run_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(_locks, "fcntl", None)
    with only_run(tmp_path), pytest.raises(RequestError, match="in use by process"), only_run(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*\.lock: No such file"), only_run(tmp_path / "gone"):
        pass


@pytest.mark.parametrize("room", [0, 5])
@pytest.mark.parametrize("left_behind", [False, True])
def test_a_full_disk_is_told_and_no_lock_stays(tmp_path, monkeypatch, room, left_behind):
    write, written = os.write, []

    def write_on_a_full_disk(descriptor, content):
        if written or not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(write(descriptor, content[:room]))
        return room

    if left_behind:  # by a run that was killed
        (tmp_path / ".lock").write_text(json.dumps({"pid": 2**30, "host": socket.gethostname(), "started": 0.0}))
    with monkeypatch.context() as full:
        full.setattr(os, "write", write_on_a_full_disk)
        with pytest.raises(OutputError, match=r"cannot write .*\.lock: No space left.*Make room"), only_run(tmp_path):
            pytest.fail("the run was begun")
    assert list(tmp_path.iterdir()) == []
    with only_run(tmp_path):  # room was made
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
