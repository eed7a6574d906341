"""Download of archive files into a cache folder: all of a data set or nothing of it."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

# The archives' own site, then sktime's copy of it. Neither publishes checksums.
BASE_URLS = (
    "https://timeseriesclassification.com/aeon-toolkit",
    "https://github.com/sktime/sktime-datasets/raw/main/TSC",
)
TIMEOUT_SECONDS = 30.0
CHECKSUMS = "tsmodels.sha256"
_CHUNK = 1 << 20


def cache_root() -> Path:
    """Return the folder downloads are kept in: ``TSMODELS_CACHE``, else ``tsmodels`` in the user's cache folder."""
    if chosen := os.environ.get("TSMODELS_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tsmodels"


def split_files(name: str) -> tuple[str, str]:
    """Return the names of the training and the test file of a data set."""
    return f"{name}_TRAIN.ts", f"{name}_TEST.ts"


def download_set(name: str, root: Path) -> Path:
    """Download the two files of a data set into ``root/name`` and return that folder.

    The zip file is fetched and unpacked in a temporary folder beside the target, which then appears by one rename:
    other processes see a complete folder or none, and whatever fails leaves nothing behind. The checksums of the files
    are kept with them, see :func:`is_whole`. A folder that is already there is replaced unless it is whole.

    Raises
    ------
    OSError
        If no source had the data set in one piece, or `root` cannot be written; the message says which and why.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=f".{name}-", dir=root)
    except OSError as error:
        raise OSError(f"cannot write to the cache folder {root} ({error}); set TSMODELS_CACHE to another") from error
    with scratch as folder:
        failures = []
        for base_url in BASE_URLS:
            url = f"{base_url}/{name}.zip"
            staged = Path(folder) / "staged"
            try:
                _fetch(url, Path(folder) / "zip")
                _unpack(Path(folder) / "zip", name, staged)
            except (OSError, http.client.HTTPException, zipfile.BadZipFile) as error:
                failures.append(f"{url}: {_reason(error)}")
            else:
                _publish(staged, root / name, name)
                return root / name
        raise OSError("; ".join(failures))


def is_whole(folder: Path, name: str) -> bool:
    """Return whether a folder has both files of a data set, as they were downloaded.

    A folder without recorded checksums was put there by hand and is taken as it is.
    """
    if not all((folder / file).is_file() for file in split_files(name)):
        return False
    record = folder / CHECKSUMS
    return not record.exists() or record.read_text(encoding="ascii", errors="replace") == _checksums(folder, name)


def _fetch(url: str, target: Path) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "Mozilla/5.0 (compatible; tsmodels)"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response, target.open("wb") as file:
        while chunk := response.read(_CHUNK):
            file.write(chunk)
        announced = response.headers.get("Content-Length")
    # a connection that breaks off ends the loop above like a complete download
    if announced is not None and target.stat().st_size != int(announced):
        raise OSError(f"the connection broke off after {target.stat().st_size} of {announced} bytes")


def _unpack(archive: Path, name: str, target: Path) -> None:
    """Extract the two split files, wherever they lie in the zip file, and record their checksums."""
    target.mkdir(exist_ok=True)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {Path(member).name: member for member in opened.namelist()}
            for file in split_files(name):
                if file not in members:
                    raise zipfile.BadZipFile(f"the zip file holds no {file}")
                (target / file).write_bytes(opened.read(members[file]))
    except (zlib.error, EOFError, NotImplementedError, RuntimeError) as error:  # not all damage is a BadZipFile
        raise zipfile.BadZipFile(f"the zip file is damaged ({error})") from error
    (target / CHECKSUMS).write_text(_checksums(target, name), encoding="ascii")


def _publish(staged: Path, target: Path, name: str) -> None:
    """Move a staged folder to its place, unless another process was faster: that one's folder may be in use."""
    if target.exists() and not is_whole(target, name):
        target.rename(staged.with_name("damaged"))  # deleted with the scratch folder
    try:
        if not target.exists():
            staged.rename(target)
    except OSError:
        if not is_whole(target, name):
            raise


def _checksums(folder: Path, name: str) -> str:
    """Return the SHA-256 of both files, in the format of sha256sum."""
    lines = []
    for file in split_files(name):
        with (folder / file).open("rb") as opened:
            lines.append(f"{hashlib.file_digest(opened, 'sha256').hexdigest()}  {file}\n")
    return "".join(lines)


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"no connection ({error.reason})"
    return str(error) or type(error).__name__
