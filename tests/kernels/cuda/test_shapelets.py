"""CUDA kernels of shapelet distances against the definition, and the registers of the compiled code."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda")
from tsmodels_kernels import Candidates, Channels, find_candidates, match_shapelets, score_candidates
from tsmodels_kernels._shapelets import cuda as kernels

on_device = pytest.mark.usefixtures("device")


def walks(n_cases, n_channels, n_timepoints, *, ragged=False):
    rng = np.random.default_rng(0)
    values = 0.3 * rng.standard_normal((n_cases, n_channels, n_timepoints)).cumsum(-1)
    if not ragged:
        return Channels.of(values)
    lo = rng.integers(0, n_timepoints // 3, (n_cases, n_channels))
    return Channels.of(values, lo, n_timepoints - rng.integers(0, n_timepoints // 3, (n_cases, n_channels)))


def everything(channels, every=1):
    """Every so many candidates, labels of two classes, and all series as references of each."""
    N, V, _ = channels.values.shape
    candidates = find_candidates(channels, [(i, v) for i in range(N) for v in range(V)])
    candidates = candidates.keep(np.arange(len(candidates)) % every == 0)
    return np.arange(N) % 2, candidates, np.tile(np.arange(N), 2), np.arange(3) * N


def both(monkeypatch, threads, channels, labels, *problem, **options):
    ships = kernels._distances
    monkeypatch.setattr(kernels, "_distances", lambda *args: ships(*args, threads=threads))
    return [score_candidates(channels, labels, *problem, **options, backend=name) for name in ("cuda", "reference")]


def assert_same(got, expected):
    np.testing.assert_allclose(got.gain, expected.gain, rtol=0, atol=1e-12)
    np.testing.assert_allclose(got.threshold, expected.threshold, rtol=1e-11)
    np.testing.assert_allclose(got.margin, expected.margin, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got.null, expected.null, rtol=0, atol=1e-12)


@on_device
@pytest.mark.parametrize("complexity", [True, False])
@pytest.mark.parametrize(("T", "window", "ragged"), [(2, 0, False), (5, 2, True), (17, 9, True), (27, 20, False)])
def test_scores(monkeypatch, T, window, ragged, complexity):
    channels = walks(3, 1, T, ragged=ragged)
    labels, *problem = everything(channels, every=4)
    permutations = np.stack([np.roll(labels, 1), [0, 1, 1]])
    assert_same(
        *both(
            monkeypatch, 32, channels, labels, *problem, window=window, complexity=complexity, permutations=permutations
        )
    )  # fmt: skip


@on_device
def test_the_block_that_ships(monkeypatch):
    channels = walks(2, 1, 150)
    labels, *problem = everything(channels, every=40)
    assert_same(
        *both(monkeypatch, kernels.THREADS, channels, labels, *problem, window=100, permutations=labels[None, ::-1])
    )


@on_device
def test_units_in_parts_and_a_unit_without_candidates(monkeypatch):
    channels = walks(2, 2, 9)
    labels, candidates, *references = everything(channels, every=2)
    candidates = candidates.keep(candidates.unit_of() != 2)
    monkeypatch.setattr(kernels, "DISTANCES", 3)
    assert_same(
        *both(monkeypatch, 32, channels, labels, candidates, *references, window=4, permutations=labels[None, ::-1])
    )


@on_device
def test_nothing_to_score(monkeypatch):
    channels = walks(2, 1, 9)
    nothing = np.empty(0, np.int64)
    none = Candidates(nothing.reshape(0, 2), np.zeros(1, np.int64), nothing, nothing)
    got, _ = both(monkeypatch, 32, channels, np.zeros(2, int), none, nothing, np.zeros(2, int), window=1)
    assert got.gain.shape == got.threshold.shape == got.margin.shape == (0,)


@on_device
@pytest.mark.parametrize("complexity", [True, False])
@pytest.mark.parametrize("window", [0, 5, 100])
def test_matches(window, complexity):
    channels, rng = walks(2, 2, 43, ragged=True), np.random.default_rng(1)
    shapelets = [rng.standard_normal(length) for length in (1, 4, 30, 50)]
    options = {"window": window, "complexity": complexity}
    problem = channels, shapelets, [0, 1, 0, 1], [30, -2, 6, 0]
    distance, start = match_shapelets(*problem, **options, backend="cuda")
    expected, place = match_shapelets(*problem, **options, backend="reference")
    np.testing.assert_allclose(distance, expected, rtol=1e-11)
    np.testing.assert_array_equal(start, place)


@on_device
def test_of_equal_matches_the_first():
    channels = Channels.of(np.zeros((1, 1, 90)))
    distance, start = match_shapelets(channels, [np.ones(3)], [0], [50], window=45, backend="cuda")
    np.testing.assert_allclose(distance, np.sqrt(3))
    assert start == 5


@pytest.mark.parametrize("weigh", [True, False])
@pytest.mark.parametrize("family", [kernels.nearest, kernels.matches], ids=["nearest", "matches"])
def test_machine_code(compiled, family, weigh):
    code = compiled(family, (kernels.THREADS, weigh))
    assert code.registers <= (128 if family is kernels.nearest else 64)
    assert not code.spills
    assert "ld.local" not in code.ptx
    assert "fma.rn.f64" in code.ptx and "shfl.sync.bfly" in code.ptx
