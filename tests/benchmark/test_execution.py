"""Tasks in this process, in a child process, on loky and on Dask workers: the same outcomes, whatever a task does."""

import itertools
import os
import sys
import time

import cloudpickle
import numpy as np
import psutil
import pytest
import torch
from threadpoolctl import threadpool_info

from tsmodels.benchmark import RequestError, execution
from tsmodels.benchmark.execution import Backend, Budget, _process, _threads, run_tasks
from tsmodels.benchmark.execution._process import Child, Program
from tsmodels.benchmark.execution._threads import cores_of_worker, pinned

# a test module cannot be imported by the worker processes
cloudpickle.register_pickle_by_value(sys.modules[__name__])

SERIAL, LOKY, DASK = Backend(), Backend("loky", n_jobs=2), Backend("dask", n_jobs=2)
ROOMY = Budget(seconds=600)
CHILD = pytest.param(SERIAL, ROOMY, id="child")
IN_PROCESSES = [
    CHILD,
    pytest.param(LOKY, Budget(), id="loky"),
    pytest.param(DASK, Budget(), id="dask", marks=pytest.mark.slow),
]
# where the workers' part is shown by another test
MOSTLY_SLOW = [CHILD, pytest.param(LOKY, Budget(), id="loky", marks=pytest.mark.slow), IN_PROCESSES[-1]]
EVERYWHERE = [pytest.param(SERIAL, Budget(), id="serial"), *IN_PROCESSES]


class Unpicklable:
    def __reduce__(self):
        raise ValueError("mine alone")


class Poisoned:
    """Sent without complaint; fails where it arrives."""

    def __reduce__(self):
        return int, ("poison",)


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError


def act(what):
    """Do what a model may do."""
    match what:
        case "raise":
            raise ValueError("no")
        case "raise unprintable":
            raise UnprintableError
        case "exit":
            sys.exit(3)
        case "print":
            print("printed", flush=True)
            os.write(1, b"written\n" * 1000)
        case "return unpicklable":
            return Unpicklable()
        case "return poisoned":
            return Poisoned()
        case "return large":
            return bytes(range(256)) * 2**17
    return what.upper()


ACTIONS = ["plain", "raise", "print", "exit", "raise unprintable", "return large", "plain again"]


def by_key(outcomes):
    return {outcome.key: (outcome.value, outcome.error, outcome.traceback is None) for outcome in outcomes}


def one(function, argument=None, **options):
    (outcome,) = run_tasks(function, [("key", argument)], **options)
    assert outcome.key == "key"
    return outcome


def wait_for(condition, seconds=60):
    """Return whether a condition comes true; the limit only ends a test that fails."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.02)
    return true


# ------------------------------------------------------------------ outcomes


@pytest.mark.parametrize(("backend", "budget"), IN_PROCESSES)
def test_outcomes_are_those_of_the_serial_run(backend, budget):
    tasks = [((action, i), action) for i, action in enumerate(ACTIONS)]
    expected = by_key(run_tasks(act, tasks))
    assert expected["raise", 1] == (None, "ValueError: no", False)
    assert expected["exit", 3] == (None, "SystemExit: 3", False)
    assert expected["plain again", 6] == ("PLAIN AGAIN", None, True)
    assert by_key(run_tasks(act, tasks, backend=backend, budget=budget)) == expected


def test_serial_without_a_budget_is_a_plain_call():
    value = object()
    outcome = one(lambda argument: (os.getpid(), argument), value)
    assert outcome.value == (os.getpid(), value)
    assert outcome.error is None
    assert outcome.seconds >= 0
    assert outcome.peak_memory_mb > psutil.Process().memory_info().rss / 2**21


@pytest.mark.parametrize("budget", [Budget(), ROOMY], ids=["here", "child"])
def test_a_traceback_begins_in_the_function(budget):
    trace = one(act, "raise", budget=budget).traceback
    assert trace.count("File ") == 1
    assert "in act" in trace


def test_a_value_that_cannot_be_sent_costs_its_task_only():
    tasks = [(each, each) for each in ("return unpicklable", "return poisoned", "plain")]
    outcomes = by_key(run_tasks(act, tasks, budget=ROOMY))
    error = "PicklingError: the result, of type Unpicklable, cannot be sent between processes: ValueError: mine alone"
    assert outcomes["return unpicklable"] == (None, error, False)
    assert outcomes["return poisoned"][0] is None
    assert "poison" in outcomes["return poisoned"][1]
    assert outcomes["plain"] == ("PLAIN", None, True)


@pytest.mark.parametrize(("backend", "budget"), MOSTLY_SLOW)
def test_an_argument_that_cannot_be_sent_costs_its_task_only(backend, budget):
    tasks = enumerate([Unpicklable(), Unpicklable(), Unpicklable(), "plain"])
    outcomes = by_key(run_tasks(act, tasks, backend=backend, budget=budget))
    assert [outcomes[i][1].partition(",")[0] for i in range(3)] == ["PicklingError: the argument"] * 3
    assert outcomes[3] == ("PLAIN", None, True)


def test_instances_of_a_class_that_workers_cannot_import_come_back_as_such():
    class Local:
        pass

    assert type(one(lambda _: Local(), budget=ROOMY).value) is Local


# ------------------------------------------------------------------ order and hand-over


@pytest.mark.parametrize(("backend", "budget"), EVERYWHERE)
def test_tasks_are_read_and_told_of_as_workers_become_free(backend, budget):
    n_read = n_started = n_done = most = 0

    def tasks():
        nonlocal n_read, most
        for i in range(8):
            n_read += 1
            most = max(most, n_read - n_done)
            yield i, i

    def on_start(key):
        nonlocal n_started
        n_started += 1
        assert n_started == n_read

    for outcome in run_tasks(abs, tasks(), backend=backend, budget=budget, on_start=on_start):
        assert outcome.value == outcome.key
        n_done += 1
    assert (n_started, n_done) == (8, 8)
    # the task whose outcome the caller is still looking at counts as not done
    assert most <= backend.n_jobs + 1


def test_outcomes_come_in_order_of_completion(tmp_path):
    def wait(name):
        while name and not (tmp_path / name).exists():
            time.sleep(0.01)

    keys = []
    for outcome in run_tasks(wait, [("first", "mark"), ("second", None)], backend=LOKY):
        (tmp_path / "mark").touch()
        keys.append(outcome.key)
    assert keys == ["second", "first"]


@pytest.mark.parametrize(("backend", "budget"), [EVERYWHERE[0], *MOSTLY_SLOW])
def test_no_tasks_no_outcomes(backend, budget):
    assert list(run_tasks(abs, [], backend=backend, budget=budget)) == []


def test_an_error_of_the_tasks_themselves_is_raised_on():
    tasks = itertools.chain([("a", -1)], (1 / 0 for _ in "x"))
    outcomes = run_tasks(abs, tasks, budget=ROOMY)
    assert next(outcomes).value == 1
    with pytest.raises(ZeroDivisionError):
        next(outcomes)


# ------------------------------------------------------------------ the processes of workers


def test_a_child_is_kept_from_task_to_task():
    outcomes = run_tasks(lambda _: os.getpid(), [(i, i) for i in range(3)], budget=ROOMY)
    (pid,) = {outcome.value for outcome in outcomes}
    assert pid != os.getpid()
    assert not psutil.pid_exists(pid)


def test_initialise_runs_once_in_the_process_of_the_tasks():
    def initialise():
        os.environ["CALLS"] = os.environ.get("CALLS", "") + "called "

    tasks = [(i, "CALLS") for i in range(2)]
    for outcome in run_tasks(os.getenv, tasks, budget=ROOMY, initialise=initialise):
        assert outcome.value == "called "
    assert "CALLS" not in os.environ


@pytest.mark.parametrize(("backend", "budget"), [EVERYWHERE[0], *MOSTLY_SLOW])
def test_a_failing_initialise_ends_the_run(backend, budget):
    def initialise():
        raise OSError("no such licence")

    with pytest.raises(RequestError, match="OSError: no such licence"):
        list(run_tasks(abs, [(0, 0)], backend=backend, budget=budget, initialise=initialise))


def test_a_function_that_cannot_be_sent_is_refused_at_once():
    lock = Unpicklable()
    with pytest.raises(RequestError, match=r"the function.*mine alone.*serial"):
        run_tasks(lambda _: lock, [], budget=ROOMY)


def test_an_idle_child_ends_and_is_replaced(monkeypatch):
    monkeypatch.setattr(_process, "_PATIENCE", 0.2)
    child = Child(Program(cloudpickle.dumps(lambda _: os.getpid()), None, None, None, None))
    try:
        first = cloudpickle.loads(child.run(cloudpickle.dumps(None)).value)
        assert wait_for(lambda: psutil.Process(first).status() == psutil.STATUS_ZOMBIE)
        assert cloudpickle.loads(child.run(cloudpickle.dumps(None)).value) != first
    finally:
        child.stop()


def test_a_child_that_keeps_much_of_the_memory_is_replaced_before_the_next_task():
    kept = []

    def keep(megabytes):
        kept.append(b"x" * (megabytes * 2**20))
        return os.getpid()

    outcomes = run_tasks(keep, enumerate([1, 120, 120, 1]), budget=Budget(memory_mb=200))
    pids = [outcome.value for outcome in outcomes]
    assert None not in pids
    assert pids[0] == pids[1]
    assert len(set(pids)) == 3


# ------------------------------------------------------------------ threads and cores


def thread_counts(_):
    import numpy  # noqa: F401

    return os.environ["OMP_NUM_THREADS"], {library["num_threads"] for library in threadpool_info()}


@pytest.mark.parametrize(("backend", "budget"), [EVERYWHERE[0], CHILD])
def test_threads_reach_the_libraries_and_nothing_else(backend, budget, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    np.ones((2, 2)) @ np.ones((2, 2))
    outcome = one(thread_counts, backend=Backend(threads=1), budget=budget)
    assert outcome.value == ("1", {1})
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_pinning_ends():
    torch.set_num_threads(2)
    before = dict(os.environ)
    with pinned(1):
        assert torch.get_num_threads() == 1
        assert os.environ["MKL_NUM_THREADS"] == "1"
    assert torch.get_num_threads() == 2
    assert dict(os.environ) == before
    with pinned(None):
        assert torch.get_num_threads() == 2


def test_workers_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(execution, "available_cores", lambda: list(range(8)))
    assert one(os.getenv, "OMP_NUM_THREADS", backend=LOKY).value is None  # one task: one worker, which has all
    assert [execution._threads_of_worker(LOKY, n_workers) for n_workers in (1, 2, 3, 20)] == [None, 4, 2, 1]
    assert execution._threads_of_worker(Backend("loky", n_jobs=2, threads=3), 2) == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert execution._threads_of_worker(LOKY, 2) is None  # as the user has chosen


def test_cores_are_divided_where_the_workers_fill_the_machine(monkeypatch):
    monkeypatch.setattr(_threads, "available_cores", lambda: [0, 2, 4, 5, 7])
    assert [cores_of_worker(slot, 2, 2) for slot in range(2)] == [[0, 2], [4, 5]]
    assert [cores_of_worker(slot, 5, 1) for slot in range(5)] == [[0], [2], [4], [5], [7]]
    assert cores_of_worker(0, 1, 2) is None  # another run may have the rest
    assert cores_of_worker(0, 3, 2) is None  # too many to have one each
    assert cores_of_worker(0, 5, None) is None


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system binds no process to cores")
def test_workers_that_fill_the_machine_have_cores_of_their_own():
    cores = os.sched_getaffinity(0)
    backend = Backend("loky", n_jobs=len(cores), threads=1)
    (outcome,) = run_tasks(lambda _: os.sched_getaffinity(0), ((i, i) for i in range(1)), backend=backend)
    assert len(outcome.value) == 1
    assert outcome.value <= cores


# ------------------------------------------------------------------ requests


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(seconds=0), "seconds must be a positive number"),
        (lambda: Budget(memory_mb=float("nan")), "memory_mb must be a positive number"),
        (lambda: Budget(seconds=float("inf")), "None sets no limit"),
        (lambda: Backend("threads"), "serial, loky, dask; got 'threads'"),
        (lambda: Backend("loky", n_jobs=0), "n_jobs must be at least 1"),
        (lambda: Backend("loky", threads=0), "threads must be at least 1"),
        (lambda: Backend(n_jobs=2), "n_jobs has no effect on the serial backend"),
        (lambda: Backend("loky", scheduler="tcp://localhost:1"), "scheduler has no effect on the loky backend"),
        (lambda: Backend("dask", n_jobs=2, scheduler="tcp://localhost:1"), "n_jobs has no effect with a scheduler"),
    ],
)
def test_wrong_requests_are_refused(make, message):
    with pytest.raises(RequestError, match=message):
        make()


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "tsmodels.benchmark.execution._dask", raising=False)
    with pytest.raises(RequestError, match=r"pip install 'tsmodels\[dask\]'"):
        next(run_tasks(abs, [(0, 0)], backend=DASK))


def test_a_scheduler_that_does_not_answer_is_named():
    # before the setting is made: where the section of the configuration is not there yet, it goes when the test ends
    pytest.importorskip("distributed")
    dask_config = pytest.importorskip("dask.config")
    backend = Backend("dask", scheduler="tcp://127.0.0.1:9")
    with (
        dask_config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(RequestError, match=r"127\.0\.0\.1:9"),
    ):
        next(run_tasks(abs, [(0, 0)], backend=backend))


def test_minus_one_takes_all_cores():
    n_cores = len(_threads.available_cores())
    pulled = []
    tasks = ((i, i) for i in itertools.takewhile(lambda i: pulled.append(i) or i < n_cores + 5, itertools.count()))
    outcomes = run_tasks(abs, tasks, backend=Backend("loky", n_jobs=-1))
    next(outcomes)
    assert len(pulled) == n_cores
    outcomes.close()
