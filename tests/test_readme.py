"""The README is true: its snippets run as written, its commands are those CI runs, its files exist."""

import json
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


# one process for all, each snippet with names of its own: imports and compilation cost more than what they run
RUN_EACH = """
import json, sys
for snippet in json.load(sys.stdin):
    print("--- snippet", flush=True)
    exec(compile(snippet, "README.md", "exec"), {"__name__": "__main__"})
"""


def test_snippets_run_as_written(tmp_path):
    command = [sys.executable, "-c", RUN_EACH]
    given = json.dumps(SNIPPETS)
    done = subprocess.run(command, input=given, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    before, *printed = done.stdout.split("--- snippet\n")
    assert not before
    assert len(printed) == len(SNIPPETS)
    assert all(text.strip() for text in printed)
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
