"""The protocol by which networks are compared."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from known_systems import lozi_network, lozi_orbit, with_theta

from tsmodels.dynamics import (
    evaluate_reconstruction,
    prediction_error,
    reconstruction_floor,
    spectral_distance,
    state_space_divergence,
)
from tsmodels.models import PLRNN


def test_the_true_map_reaches_the_floor():
    orbit = lozi_orbit(20_000)
    found = evaluate_reconstruction(lozi_network("shplrnn"), orbit, dt=0.5)
    d_stsp, d_h = reconstruction_floor(orbit)
    assert not found.divergent
    assert found.d_stsp < 3 * d_stsp
    assert found.d_h < 3 * d_h
    assert found.pe < 1e-18
    assert found.lyapunov == pytest.approx([2 * 0.4703, -2 * 1.1635], rel=0.01)
    assert found.kaplan_yorke == pytest.approx(1.404, abs=0.005)
    assert found.n_points == 20_000


def test_the_run_begins_at_the_first_point_and_its_first_fifth_is_dropped():
    torch.manual_seed(0)
    network = PLRNN(2, hidden_dim=5)
    series = np.random.default_rng(0).normal(size=(43, 2))
    run = network.generate(torch.tensor(series[None, :1], dtype=torch.float32), 53)[0, 10:].numpy()
    found = evaluate_reconstruction(network, series, n_ahead=5, exponents=False)
    assert found.n_points == len(run) == 43
    assert found.d_stsp == pytest.approx(state_space_divergence(series, run), rel=1e-6)
    assert found.d_h == pytest.approx(spectral_distance(series, run), rel=1e-6)
    assert found.pe == prediction_error(network, series, 5)
    assert len(found.lyapunov) == 0
    assert np.isnan(found.kaplan_yorke)


def test_with_inputs_the_run_ends_where_they_end():
    torch.manual_seed(0)
    network = PLRNN(1, 2, hidden_dim=5)
    rng = np.random.default_rng(0)
    series, inputs = rng.normal(size=(100, 1)), rng.normal(size=(99, 2))
    start = torch.tensor(series[None, :1], dtype=torch.float32)
    run = network.generate(start, 99, torch.tensor(inputs[None], dtype=torch.float32))[0, 25:].numpy()
    found = evaluate_reconstruction(network, series, inputs=inputs)
    assert found.n_points == 74
    assert found.d_h == pytest.approx(spectral_distance(series[26:], run), rel=1e-6)
    assert np.isfinite(found.lyapunov).all()


def test_a_divergent_run_is_counted_and_its_measures_are_missing():
    network = with_theta(PLRNN(2, cell="alrnn", n_relu=0), A=[1.2, 0.5], W=np.zeros((2, 2)), h=[1, 1])
    series = np.random.default_rng(0).normal(size=(400, 2))
    found = evaluate_reconstruction(network, series)
    assert found.divergent
    measures = found.as_dict()
    assert measures.pop("divergent") == 1
    assert np.isnan(list(measures.values())).all()


def test_an_excursion_in_the_part_that_is_dropped_is_divergence_too():
    # the unit is at 1e7 after the first step and at 1 from then on
    network = with_theta(
        PLRNN(1, cell="shplrnn", hidden_dim=1), A=[0], W1=[[1e7]], h1=[1], W2=[[-1]], h2=[1]
    )  # z' = 1e7 max(0, 1 - z) + 1
    series = np.concatenate([np.zeros((1, 1)), np.random.default_rng(0).normal(size=(99, 1)) + 1])
    assert evaluate_reconstruction(network, series, exponents=False).divergent


def test_measures_have_names_for_tables():
    found = evaluate_reconstruction(lozi_network("shplrnn"), lozi_orbit(300), n_ahead=7)
    names = ["d_stsp", "d_h", "pe_7", "lyapunov_max", "kaplan_yorke", "divergent"]
    assert list(found.as_dict()) == names
    assert found.as_dict()["lyapunov_max"] == found.lyapunov[0]
    assert found.as_dict()["divergent"] == 0


def test_measures_are_reproducible_and_leave_the_global_generators_alone():
    torch.manual_seed(0)
    network = PLRNN(6)  # mixtures: samples are drawn
    series = np.random.default_rng(0).normal(size=(200, 6))
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, second = (evaluate_reconstruction(network, series).as_dict() for _ in range(2))
    assert first == second
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])  # noqa: NPY002


def test_the_floor_is_between_halves(lorenz):
    series = lorenz[0]
    d_stsp, d_h = reconstruction_floor(series[:9999])
    assert d_stsp == state_space_divergence(series[:4999], series[4999:9998])
    assert d_h == spectral_distance(series[:4999], series[4999:9998])


def test_a_series_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="series must have at least 21 time points"):
        evaluate_reconstruction(PLRNN(2), np.zeros((20, 2)))


# --- files


@pytest.fixture(scope="module")
def folder():
    path = Path(os.environ.get("TSMODELS_DATA", "")) / "dynamics"
    if "TSMODELS_DATA" not in os.environ or not path.is_dir():
        pytest.skip("TSMODELS_DATA names no folder with dynamics/")
    return path


def test_floor_of_noisy_lorenz(folder):
    with np.load(folder / "Lorenz63_GTF.npz") as file:
        assert reconstruction_floor(file["test"]) == pytest.approx((0.231, 0.054), abs=5e-4)


def test_floor_of_ecg(folder):
    with np.load(folder / "ECG_pecuzal_5d.npz") as file:
        train, test = file["train"], file["test"]
    assert state_space_divergence(test, train) == pytest.approx(0.294, abs=1e-3)
    assert spectral_distance(test, train) == pytest.approx(0.060, abs=1e-3)
    assert reconstruction_floor(test) == pytest.approx((0.197, 0.022), abs=1e-3)


def test_floor_of_eeg(folder):
    with np.load(folder / "EEG.npz") as file:
        series = file["train"].astype(np.float64)
    d_stsp, d_h = reconstruction_floor((series - series.mean(0)) / series.std(0))
    assert d_stsp == pytest.approx(2.68, abs=0.3)  # of 1000 samples: ± 0.16
    assert d_h == pytest.approx(0.075, abs=1e-3)
