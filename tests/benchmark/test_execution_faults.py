"""Limits, killed processes, Ctrl-C and the death of the parent: what each may cost, and that nothing stays behind."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import cloudpickle
import psutil
import pytest

from tsmodels.benchmark.execution import Backend, Budget, run_tasks

# a test module cannot be imported by the worker processes
cloudpickle.register_pickle_by_value(sys.modules[__name__])

LONG = 600
ROOMY = Budget(seconds=LONG)
SERIAL, LOKY, DASK = Backend(), Backend("loky", n_jobs=2), Backend("dask", n_jobs=2)
SLOW_DASK = pytest.param(DASK, id="dask", marks=pytest.mark.slow)
SLOW_LOKY = pytest.param(LOKY, id="loky", marks=pytest.mark.slow)
ALL_BACKENDS = [pytest.param(SERIAL, id="child"), pytest.param(LOKY, id="loky"), SLOW_DASK]
# where the workers' part is shown by another test
MOSTLY_SLOW = [pytest.param(SERIAL, id="child"), SLOW_LOKY, SLOW_DASK]


def wait_for(condition, seconds=60):
    """Return whether a condition comes true; the limit only ends a test that fails."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return true


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def own_descendants():
    """Return the living processes started from here, but for the trackers of loky and multiprocessing, which stay."""
    found = set()
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # gone meanwhile, or a zombie
            if "resource_tracker" not in " ".join(process.cmdline()):
                found.add(process.pid)
    return found


# ------------------------------------------------------------------ limits


def test_a_task_that_takes_too_long_costs_its_outcome_only():
    slow, quick = run_tasks(time.sleep, [("slow", LONG), ("quick", 0)], budget=Budget(seconds=0.5))
    assert slow.error == "TimeLimitError: not finished after 0.5 s."
    assert slow.value is None
    assert slow.seconds >= 0.5
    assert slow.peak_memory_mb > 1
    assert quick.error is None


def test_the_time_limit_counts_neither_the_start_nor_initialise():
    (outcome,) = run_tasks(abs, [(0, -1)], budget=Budget(seconds=0.5), initialise=lambda: time.sleep(0.8))
    assert outcome.value == 1


def test_the_time_limit_reaches_compiled_code_that_lets_no_thread_run():
    (outcome,) = run_tasks(lambda _: ctypes.PyDLL(None).sleep(LONG), [(0, 0)], budget=Budget(seconds=0.5))
    assert outcome.error.startswith("TimeLimitError")


def hold(megabytes):
    held = b"x" * (megabytes * 2**20)
    time.sleep(LONG if megabytes > 1 else 0)
    return len(held)


def hold_in_another_process(megabytes):
    subprocess.run([sys.executable, "-c", f"import time; held = b'x' * {megabytes * 2**20}; time.sleep({LONG})"])


def test_a_task_that_needs_too_much_memory_costs_its_outcome_only():
    large, small = run_tasks(hold, [("large", 200), ("small", 1)], budget=Budget(memory_mb=150))
    assert large.error.startswith("MemoryLimitError: ")
    assert large.error.endswith(" MB resident, more than 150 MB.")
    assert large.peak_memory_mb > 150
    assert small.value == 2**20
    assert small.peak_memory_mb < 150


def test_memory_counts_in_all_that_a_task_has_started_and_all_of_it_ends():
    before = own_descendants()
    (outcome,) = run_tasks(hold_in_another_process, [(0, 200)], budget=Budget(memory_mb=150))
    assert outcome.error.startswith("MemoryLimitError")
    assert own_descendants() == before


# ------------------------------------------------------------------ deaths


def die(how):
    match how:
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "crashed":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "left":
            os._exit(7)
    return how


@pytest.mark.parametrize("backend", MOSTLY_SLOW)
def test_a_task_that_takes_its_process_down_costs_its_outcome_only(backend):
    tasks = [(how, how) for how in ("killed", "fine", "crashed", "left", "fine too")]
    errors = {outcome.key: outcome.error for outcome in run_tasks(die, tasks, backend=backend, budget=ROOMY)}
    assert errors == {
        "killed": "WorkerDiedError: killed by signal 9 (SIGKILL)",
        "fine": None,
        "crashed": "WorkerDiedError: killed by signal 11 (SIGSEGV)",
        "left": "WorkerDiedError: exited with code 7",
        "fine too": None,
    }


def test_a_death_is_noticed_though_another_process_holds_its_pipe():
    def fork_and_die(_):
        if os.fork() == 0:
            time.sleep(LONG)
        os.kill(os.getpid(), signal.SIGKILL)

    (outcome,) = run_tasks(fork_and_die, [(0, 0)], budget=ROOMY)
    assert outcome.error == "WorkerDiedError: killed by signal 9 (SIGKILL)"


def kill_worker_of(child_pid):
    """Kill the loky or Dask process that a task's process belongs to."""
    os.kill(psutil.Process(child_pid).ppid(), signal.SIGKILL)


@pytest.mark.parametrize("backend", ALL_BACKENDS[1:])
def test_a_worker_killed_in_mid_run_changes_no_result(backend, tmp_path):
    def work(i):
        if i in (2, 5):
            (tmp_path / f"{i} {os.getpid()}").touch()
            while not (tmp_path / f"{i} go").exists():
                time.sleep(0.01)
        return i**2

    def running(i):
        return [int(path.name.split()[1]) for path in tmp_path.glob(f"{i} [0-9]*")]

    def on_start(key):
        # the worker of the task before, in the middle of its work, as another is handed over
        if key - 1 in (2, 5):
            assert wait_for(lambda: running(key - 1))
            kill_worker_of(running(key - 1)[0])
            (tmp_path / f"{key - 1} go").touch()

    expected = {i: i**2 for i in range(8)}
    tasks = ((i, i) for i in range(8))
    outcomes = list(run_tasks(work, tasks, backend=backend, on_start=on_start))
    assert {outcome.key: outcome.value for outcome in outcomes} == expected
    assert len(outcomes) == len(expected)
    assert [len(running(i)) for i in (2, 5)] == [2, 2]


@pytest.mark.parametrize("backend", MOSTLY_SLOW[1:])
def test_a_task_whose_worker_dies_every_time_is_run_three_times(backend, tmp_path):
    def kill_worker(i):
        if i == 1:
            with (tmp_path / "runs").open("a") as file:
                file.write("x")
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(LONG)
        return i

    outcomes = {outcome.key: outcome for outcome in run_tasks(kill_worker, [(i, i) for i in range(4)], backend=backend)}
    assert (tmp_path / "runs").read_text() == "xxx"
    assert outcomes[1].error == "WorkerDiedError: its worker was killed each time the task was run."
    assert [outcomes[i].value for i in (0, 2, 3)] == [0, 2, 3]


# ------------------------------------------------------------------ ends


@pytest.mark.parametrize("backend", MOSTLY_SLOW)
def test_closing_the_generator_ends_all_processes(backend):
    before = own_descendants()
    outcomes = run_tasks(time.sleep, [(i, LONG if i else 0) for i in range(3)], backend=backend, budget=ROOMY)
    next(outcomes)
    assert own_descendants() > before
    outcomes.close()
    assert wait_for(lambda: own_descendants() == before)


# No guard around the last lines: workers must not run the script again
SCRIPT = """
import ctypes, os, subprocess, sys, time
from tsmodels.benchmark.execution import Backend, Budget, run_tasks

folder, backend = sys.argv[1], {backend!r}

def work(i):
    if i:
        sleeper = subprocess.Popen(["sleep", "600"])
        with open(f"{{folder}}/{{os.getpid()}} {{sleeper.pid}} {{os.getppid()}}", "w"):
            pass
        ctypes.PyDLL(None).sleep(600)  # lets no other thread run

try:
    for outcome in run_tasks(work, [(0, 0), (1, 1), (2, 2)], backend=backend, budget=Budget(seconds=600)):
        assert outcome.error is None, outcome
        print(outcome.key, flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.fixture
def script(tmp_path):
    """Start a script with tasks that do not end; return it and the processes of one of them."""
    started = []

    def start(backend):
        source = tmp_path / "script.py"
        source.write_text(SCRIPT.format(backend=backend))
        (tmp_path / "pids").mkdir()
        parent = subprocess.Popen(
            [sys.executable, source, tmp_path / "pids"], stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(parent)
        assert parent.stdout.readline() == "0\n"
        assert wait_for(lambda: list((tmp_path / "pids").iterdir()))
        processes = set(map(int, next((tmp_path / "pids").iterdir()).name.split())) - {parent.pid}
        assert len(processes) == 2 + (backend.name != "serial")
        return parent, processes | {process.pid for process in psutil.Process(parent.pid).children(recursive=True)}

    yield start
    for parent in started:
        parent.kill()
        parent.wait()
        parent.stdout.close()


@pytest.mark.parametrize("backend", MOSTLY_SLOW)
def test_ctrl_c_is_raised_and_ends_all_processes(backend, script):
    parent, processes = script(backend)
    os.killpg(parent.pid, signal.SIGINT)  # as a terminal does
    assert parent.stdout.read() == "interrupted\n"
    assert parent.wait() == 0
    assert wait_for(lambda: all(map(gone, processes)))


@pytest.mark.parametrize("backend", ALL_BACKENDS)
def test_nothing_outlives_a_killed_parent(backend, script):
    parent, processes = script(backend)
    parent.kill()
    assert wait_for(lambda: all(map(gone, processes)))


# ------------------------------------------------------------------ a cluster of others


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as made:
        yield made


@pytest.mark.slow
def test_a_cluster_of_others_is_used_and_left_as_it_was(cluster):
    backend = Backend("dask", scheduler=cluster.scheduler_address, threads=1)
    before = own_descendants()
    outcomes = list(run_tasks(abs, [(i, -i) for i in range(20)], backend=backend, budget=ROOMY))
    assert {outcome.key: outcome.value for outcome in outcomes} == {i: i for i in range(20)}
    assert wait_for(lambda: own_descendants() == before)

    outcomes = run_tasks(time.sleep, [(i, LONG if i else 0) for i in range(3)], backend=backend, budget=ROOMY)
    next(outcomes)
    assert own_descendants() > before
    outcomes.close()
    assert wait_for(lambda: own_descendants() == before)
    assert next(run_tasks(abs, [(0, 0)], backend=backend)).error is None


@pytest.mark.slow
def test_the_end_of_a_client_ends_its_tasks_on_a_cluster_of_others(cluster, script):
    before = own_descendants()
    parent, processes = script(Backend("dask", scheduler=cluster.scheduler_address))
    worker = {process for process in processes if process in before}
    parent.kill()
    assert wait_for(lambda: all(map(gone, processes - worker)))
    assert worker <= own_descendants()


# ------------------------------------------------------------------ leaks


def _open_files_and_threads():
    process = psutil.Process()
    return process.num_fds(), process.num_threads()


@pytest.mark.parametrize("backend", MOSTLY_SLOW)
def test_a_run_leaves_no_open_files_and_no_threads(backend):
    def run():
        assert len(list(run_tasks(abs, [(0, 0)], backend=backend, budget=ROOMY))) == 1
        return _open_files_and_threads()

    run()
    (n_files, n_threads), (later_files, later_threads) = run(), run()
    assert later_files <= n_files
    assert later_threads <= n_threads


@pytest.mark.slow
@pytest.mark.parametrize("budget", [Budget(), ROOMY], ids=["", "budget"])
@pytest.mark.parametrize("backend", ALL_BACKENDS)
def test_two_thousand_tasks_keep_memory_and_files_level(backend, budget):
    process, samples = psutil.Process(), []
    for outcome in run_tasks(str, ((i, i) for i in range(2000)), backend=backend, budget=budget):
        assert outcome.value == str(outcome.key)
        samples.append((process.memory_info().rss / 2**20, process.num_fds()))
    assert len(samples) == 2000
    early, late = samples[200], samples[-1]
    assert late[0] - early[0] < 20
    assert late[1] - early[1] <= 2
