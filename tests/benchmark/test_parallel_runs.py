"""Runs on worker processes: what a cell, a worker or the whole run may meet without harm to what is finished."""

import functools
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import numpy as np
import pandas as pd
import psutil
import pytest
from sklearn.base import BaseEstimator

from tsmodels.benchmark import Progress, _running, load_results, run_benchmark, runner
from tsmodels.benchmark.execution import Backend, Budget, Outcome

# a test module cannot be imported by the worker processes
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Noisy(BaseEstimator):
    """Predicts at random; sleeps or kills its process where it is told to."""

    def __init__(self, sleeps_on=None, dies_on=None, random_state=None):
        self.sleeps_on = sleeps_on
        self.dies_on = dies_on
        self.random_state = random_state

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        if len(X) > 8:  # not to be warmed up
            if self.random_state == self.sleeps_on and "AWAKE" not in os.environ:
                time.sleep(600)
            if self.random_state == self.dies_on:
                os.kill(os.getpid(), signal.SIGKILL)
        return self

    def predict(self, X):
        return np.random.default_rng(self.random_state).choice(self.classes_, len(X))


def load(name):
    y = np.repeat(["a", "b"], 6)
    X = np.zeros((12, 1, 4))
    return SimpleNamespace(name=name, X_train=X, y_train=y, X_test=X, y_test=y, source="made up")


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch):
    monkeypatch.setattr(runner, "_picture", lambda results: b"a picture")


def test_what_a_killed_process_could_not_record_is_recorded_for_it(tmp_path, monkeypatch):
    def run_tasks(function, tasks, *, on_start, **options):
        for key, _ in tasks:
            on_start(key)
            yield Outcome(key, None, "TimeLimitError: 5 s", None, 5.5, 120.0)

    monkeypatch.setattr(_running, "run_tasks", run_tasks)
    run = functools.partial(run_benchmark, ["One"], {"Noisy": Noisy()}, [1], tmp_path, load=load)
    first = run(budget=Budget(seconds=5))
    (cell,) = (json.loads(path.read_text()) for path in tmp_path.glob("cells/*.json"))
    assert (cell["status"], cell["error"], cell["peak_memory_mb"]) == ("failed", "TimeLimitError: 5 s", 120.0)
    assert cell["execution"]["time_limit"] == 5
    assert cell["parameters"] == {"sleeps_on": None, "dies_on": None}
    monkeypatch.undo()
    pd.testing.assert_frame_equal(run(), first)  # found, not run again


@pytest.mark.slow
def test_a_cell_that_is_too_slow_and_one_that_dies_cost_themselves(tmp_path):
    warmed = []

    class Listener(Progress):
        def warmed_up(self, model, seconds):
            warmed.append(model)

    models = {"Noisy": Noisy(sleeps_on=1, dies_on=2)}
    results = run_benchmark(
        ["One"], models, range(4), tmp_path, load=load, budget=Budget(seconds=5), progress=Listener()
    )
    assert results["status"].tolist() == ["finished", "failed", "failed", "finished"]
    slow, dead = results["error"].dropna()
    assert slow.startswith("TimeLimitError: ")
    assert dead.startswith("WorkerDiedError: killed by signal 9")
    assert warmed == ["Noisy"]  # told once, though each new process warms up
    again = run_benchmark(["One"], models, range(4), tmp_path, load=load)  # nothing to run: failures are results too
    pd.testing.assert_frame_equal(results, again)


@pytest.mark.slow
def test_workers_give_what_one_process_gives(tmp_path):
    def numbers(folder, backend):
        results = run_benchmark(["One", "Two"], {"Noisy": Noisy()}, range(5), folder, load=load, backend=backend)
        root = folder / "predictions"
        files = {
            path.relative_to(root).as_posix(): path.read_text().splitlines()[3:]  # the cases; above them are times
            for path in root.rglob("testResample*.csv")
        }
        return results[["dataset", "seed", "status", "accuracy", "train_accuracy"]], files

    expected, files = numbers(tmp_path / "serial", Backend())
    assert len(files) == 10
    for backend in (Backend("loky", n_jobs=2), Backend("dask", n_jobs=2)):
        found, others = numbers(tmp_path / backend.name, backend)
        pd.testing.assert_frame_equal(found, expected)
        assert others == files


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path):
    script = tmp_path / "script.py"
    source = Path(__file__).read_text()
    noisy = source[source.index("class Noisy") : source.index("@pytest.fixture(autouse")]
    script.write_text(
        textwrap.dedent("""\
            import os, signal, sys, time
            from types import SimpleNamespace
            import numpy as np
            from sklearn.base import BaseEstimator
            from tsmodels.benchmark import run_benchmark
            from tsmodels.benchmark.execution import Backend
            """)
        + noisy
        + textwrap.dedent("""\
            if __name__ == "__main__":
                models = {"Noisy": Noisy(sleeps_on=3)}
                backend = Backend("loky", n_jobs=2)
                run_benchmark(["One"], models, range(6), sys.argv[1], load=load, backend=backend)
            """)
    )
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, str(script), str(out)])
    end = time.monotonic() + 120
    while len(list(out.glob("cells/*.json"))) < 5 and time.monotonic() < end:  # all but the one that sleeps
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert len(load_results(out)) == 5
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not [child for child in alive if "resource_tracker" not in " ".join(child.cmdline())]
    before = {path: path.read_bytes() for path in out.glob("cells/*.json")}
    subprocess.run([sys.executable, str(script), str(out)], env=os.environ | {"AWAKE": "1"}, check=True)
    after = {path: path.read_bytes() for path in out.glob("cells/*.json")}
    assert len(after) == 6
    assert before.items() <= after.items()
    assert json.loads((out / "results.json").read_text())["summary"][0]["n_finished"] == 6
