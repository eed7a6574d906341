"""Downloads from a server on this machine: whole or not at all, and never twice."""

import functools
import hashlib
import http.server
import io
import socket
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tsmodels_datamodules import ArchiveDataModule, DataNotFoundError, _download, load_archive


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, the files in `server.cut` only up to a byte, after their full length was announced."""

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        self.server.requests.append(self.path)
        super().do_GET()

    def copyfile(self, source, outputfile):
        content = source.read()
        if (path := self.translate_path(self.path)) in self.server.cut:
            content = content[: self.server.cut[path]]
        outputfile.write(content)


@pytest.fixture
def server(tmp_path, monkeypatch):
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=str(folder))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(socket, "getfqdn", lambda host: host)  # the server asks for its name, which may take seconds
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.folder, server.requests, server.cut = folder, [], {}
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(_download, "BASE_URLS", (server.url,))
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "not yet" / "cache"
    monkeypatch.setenv("TSMODELS_CACHE", str(folder))
    return folder


@pytest.fixture
def made(server, tmp_path, write_ts):
    """Made.zip on the server: the two files in a sub-folder, and one more."""
    with zipfile.ZipFile(server.folder / "Made.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for split, value in (("TRAIN", 1.0), ("TEST", 2.0)):
            path = tmp_path / "source" / f"Made_{split}.ts"
            write_ts(path, np.full((6, 2, 4), value), list("aaabbb"))
            archive.write(path, f"Made/{path.name}")
        archive.writestr("../escaped.txt", "a path that leaves the folder")
    return server.folder / "Made.zip"


def left_behind(cache):
    return sorted(path.relative_to(cache).as_posix() for path in cache.rglob("*")) if cache.exists() else []


def test_download_then_cache(made, server, cache):
    data = load_archive("Made")
    assert data.X_train[0, 0, 0] == 1 and data.X_test[0, 0, 0] == 2 and data.source == str(cache / "Made")
    assert left_behind(cache) == ["Made", "Made/Made_TEST.ts", "Made/Made_TRAIN.ts", "Made/tsmodels.sha256"]
    assert load_archive("Made").source == str(cache / "Made")
    assert load_archive("Made", download=False).source == str(cache / "Made")
    assert server.requests == ["/Made.zip"]


def test_the_record_is_that_of_sha256sum(made, cache):
    load_archive("Made")
    for line in (cache / "Made" / "tsmodels.sha256").read_text().splitlines():
        digest, file = line.split("  ")
        assert hashlib.sha256((cache / "Made" / file).read_bytes()).hexdigest() == digest


def test_prepare_data_downloads(made, server, cache):
    data = ArchiveDataModule("Made")
    assert server.requests == []
    data.prepare_data()
    assert (cache / "Made").is_dir()
    data.prepare_data()
    assert data.n_timepoints == 4 and server.requests == ["/Made.zip"]


def test_without_permission_nothing_is_downloaded(made, server, cache):
    with pytest.raises(DataNotFoundError, match="download=False"):
        load_archive("Made", download=False)
    assert server.requests == [] and left_behind(cache) == []


@pytest.mark.parametrize("damage", ["changed data", "changed record", "deleted data"])
def test_damaged_files_are_noticed_and_replaced(made, server, cache, damage):
    load_archive("Made")
    file = cache / "Made" / ("tsmodels.sha256" if damage == "changed record" else "Made_TRAIN.ts")
    if damage == "deleted data":
        file.unlink()
    else:
        file.write_text(file.read_text().replace("1", "5", 1))
    with pytest.raises(DataNotFoundError, match=r"Made are damaged"):
        load_archive("Made", download=False)
    assert load_archive("Made").X_train[0, 0, 0] == 1
    assert len(server.requests) == 2 and len(left_behind(cache)) == 4


def cut_off(server, made):
    server.cut[str(made)] = made.stat().st_size // 2
    return "the connection broke off after"


def truncated_on_the_server(server, made):
    made.write_bytes(made.read_bytes()[:-30])
    return "not a zip file"


def flipped_byte(server, made):
    content = bytearray(made.read_bytes())
    content[80] ^= 0xFF
    made.write_bytes(content)
    return "Made.zip: "  # zlib's words or a wrong checksum


def of_another_age(server, made):
    content = bytearray(made.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 6] = 120  # the version of the format needed to read it
    made.write_bytes(content)
    return "the zip file is damaged (zip file version 12.0)"


def not_there(server, made):
    made.unlink()
    return "HTTP 404"


def an_error_page(server, made):
    made.write_text("<html>sorry</html>")
    return "not a zip file"


def other_files(server, made):
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("Other_TRAIN.ts", "")
    return "holds no Made_TRAIN.ts"


def no_server(server, made):
    server.shutdown()
    server.socket.close()
    return "no connection"


@pytest.mark.parametrize(
    "fault",
    [cut_off, truncated_on_the_server, flipped_byte, of_another_age, not_there, an_error_page, other_files, no_server],
    ids=lambda fault: fault.__name__,
)
def test_whatever_fails_is_one_error_and_leaves_nothing(made, server, cache, fault):
    reason = fault(server, made)
    with pytest.raises(DataNotFoundError) as caught:
        load_archive("Made")
    message = str(caught.value)
    assert "'Made' was not found in" in message and f"The download failed: {server.url}/Made.zip: " in message
    assert reason in message
    assert left_behind(cache) == []


def test_a_server_that_does_not_answer(monkeypatch, cache):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(_download, "BASE_URLS", (f"http://127.0.0.1:{silent.getsockname()[1]}",))
        monkeypatch.setattr(_download, "TIMEOUT_SECONDS", 0.05)
        with pytest.raises(DataNotFoundError, match="timed out"):
            load_archive("Made")
    assert left_behind(cache) == []


def test_the_next_source_is_tried(made, server, cache, monkeypatch):
    monkeypatch.setattr(_download, "BASE_URLS", (f"{server.url}/absent", server.url))
    assert load_archive("Made").X_train[0, 0, 0] == 1
    assert server.requests == ["/absent/Made.zip", "/Made.zip"]


def test_all_sources_are_named_when_all_fail(server, cache, monkeypatch):
    monkeypatch.setattr(_download, "BASE_URLS", (f"{server.url}/one", f"{server.url}/two"))
    with pytest.raises(DataNotFoundError, match=r"/one/Gunpoint.zip: HTTP 404.*/two/Gunpoint.zip: HTTP 404.*GunPoint"):
        load_archive("Gunpoint")


def test_a_cache_that_cannot_be_written(made, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TSMODELS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataNotFoundError, match=r"cannot write to the cache folder.*set TSMODELS_CACHE"):
        load_archive("Made")


def test_files_put_into_the_cache_by_hand_are_taken(cache, write_ts):
    for split in ("TRAIN", "TEST"):
        write_ts(cache / "Made" / f"Made_{split}.ts", np.ones((2, 1, 3)), ["a", "b"])
    assert load_archive("Made", download=False).source == str(cache / "Made")


def test_downloads_at_once_do_not_disturb_each_other(made, cache):
    """As by the ranks of a script that asks for facts first: all get the whole set, whoever is first."""
    with ThreadPoolExecutor(4) as pool:
        sets = list(pool.map(lambda _: load_archive("Made"), range(4)))
    assert all(data.X_train[0, 0, 0] == 1 for data in sets)
    assert len(left_behind(cache)) == 4


def test_members_of_the_zip_file_cannot_leave_the_folder(made, tmp_path, cache):
    load_archive("Made")
    assert not list(tmp_path.rglob("escaped.txt"))


def test_zip_with_the_files_at_the_top(server, cache):
    content = "@classLabel true a b\n@data\n1:a\n2:b\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for split in ("TRAIN", "TEST"):
            archive.writestr(f"Flat_{split}.ts", content)
    (server.folder / "Flat.zip").write_bytes(buffer.getvalue())
    assert load_archive("Flat").y_train.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"TSMODELS_CACHE": "/c"}, "/c"),
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/tsmodels"),
        ("linux", {}, "~/.cache/tsmodels"),
        ("darwin", {}, "~/Library/Caches/tsmodels"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/tsmodels"),
    ],
)
def test_the_cache_folder(platform, variables, expected, monkeypatch):
    for name in ("TSMODELS_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert _download.cache_root() == _download.Path(expected).expanduser()
