"""The examples run as written, with --fast, and leave nothing but the picture that they name."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
PRINTED = {
    "explain_gestures": ["shapelets found in", "accuracy on 40 test cases", "shapelets are there, by class"],
    "forecast_energy": ["mean absolute error of 2 forecasts", "of the values lie in its 90 % intervals"],
    "lightning_forecasting": ["test/mse", "test/mae"],
    "moving_digits": ["test videos, digits digits", "ConvS5", "last frame", "black frame"],
    "reconstruct_lorenz": ["D_stsp, state space", "largest Lyapunov exponent", "fixed points, and the fastest growth"],
    "sea_surface_temperature": ["root mean squared error over the sea", "skill against the mean", "LIM"],
}


def test_every_example_is_known():
    assert [path.stem for path in EXAMPLES] == sorted(PRINTED)


# one process for all: imports and compilation cost more than what they run
RUN_EACH = """
import pathlib, runpy, sys
for path in sys.argv[1:]:
    name = pathlib.Path(path).stem
    print("--- example", name, flush=True)
    sys.argv = [path, "--fast", "--output", name + ".png"]
    runpy.run_path(path, run_name="__main__")
"""


def test_examples_run(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TSMODELS_DATA"}
    command = [sys.executable, "-c", RUN_EACH, *map(str, EXAMPLES)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "UserWarning" not in done.stderr
    printed = dict(text.split("\n", 1) for text in done.stdout.split("--- example ")[1:])
    assert list(printed) == [path.stem for path in EXAMPLES]
    for name, texts in PRINTED.items():
        for text in (*texts, f"picture: {name}.png"):
            assert text in printed[name]
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"{name}.png" for name in sorted(PRINTED)]
