"""The README is true: its snippets run as written, its commands are those CI runs, its files exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)


def test_there_are_five_snippets_and_two_commands():
    assert (len(SNIPPETS), len(COMMANDS)) == (5, 2)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=["classifier", "forecaster", "dynamics", "lightning", "operator"])
def test_snippet_runs_as_written(snippet, tmp_path):
    done = subprocess.run([sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not list(tmp_path.iterdir())  # nothing is left in the working directory


@pytest.mark.parametrize("command", COMMANDS)
def test_ci_runs_the_very_commands(command):
    script = (ROOT / ".ci" / "run").read_text()
    assert command.strip() in script


def test_links_and_folders_exist():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / target).is_file(), target
    for cell in re.findall(r"^\| (`[^|]+) \|", README, re.MULTILINE):
        for path in re.findall(r"`([^`]+)`", cell):
            assert (ROOT / path).exists(), path
