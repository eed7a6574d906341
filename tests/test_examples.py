"""The examples run as written, with --fast, and leave nothing but the picture that they name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
PRINTED = {
    "explain_gestures": ["shapelets found in", "accuracy on 40 test cases", "shapelets are there, by class"],
    "forecast_energy": ["mean absolute error of 2 forecasts", "of the values lie in its 90 % intervals"],
    "lightning_forecasting": ["test/mse", "test/mae"],
    "reconstruct_lorenz": ["D_stsp, state space", "largest Lyapunov exponent", "fixed points, and the fastest growth"],
}


def test_every_example_is_known():
    assert [path.stem for path in EXAMPLES] == sorted(PRINTED)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TSMODELS_DATA"}
    command = [sys.executable, str(path), "--fast", "--output", "picture.png"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "UserWarning" not in done.stderr
    for text in (*PRINTED[path.stem], "picture: picture.png"):
        assert text in done.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["picture.png"]
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
