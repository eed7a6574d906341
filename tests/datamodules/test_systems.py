"""Trajectories against closed forms and published data, Lyapunov spectra against known ones."""

import gzip
import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares
from scipy.special import lambertw

from tsmodels_datamodules import SYSTEMS, System, lyapunov_spectrum, make_trajectory
from tsmodels_datamodules._systems import CHAOS_TABLE, make_inputs

STEPPED = [name for name, system in SYSTEMS.items() if system.kind != "delay"]
FORCED = [name for name, system in SYSTEMS.items() if system.forcing is not None]
PUBLISHED = [name for name, system in SYSTEMS.items() if system.dysts is not None]


def state_of(system):
    """A state on no boundary of a region, of the size the system has."""
    return np.array(system.initial) + 0.1 * np.arange(1, system.dimension + 1)


@pytest.fixture
def linear_delay():
    """dx/dt = -x(t - 1), x = 1 up to time 0."""
    return System(
        "linear",
        1,
        {"tau": 1.0},
        lambda t, x, delayed: -delayed,
        (1.0,),
        0.1,
        kind="delay",
        transient=0.0,
    )


# ---- the systems


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_consistent(name):
    system = SYSTEMS[name]
    assert system.name == name and len(system.initial) == system.dimension and system.dt > 0
    state = state_of(system)
    delayed = (state,) if system.kind == "delay" else ()
    assert system.bound_rhs()(0.0, state, *delayed).shape == (system.dimension,)
    many = np.repeat(state[:, None], 5, axis=1)
    delayed = (many,) if system.kind == "delay" else ()
    columns = system.bound_rhs()(0.0, many, *delayed)
    assert columns.shape == (system.dimension, 5) and (columns == columns[:, :1]).all()


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_is_pickled_and_not_changed(name):
    system = SYSTEMS[name]
    copy = pickle.loads(pickle.dumps(system))
    assert (copy.name, copy.parameters, copy.initial) == (system.name, system.parameters, system.initial)
    assert copy.n_inputs == system.n_inputs == (2 if name in FORCED else 0)
    with pytest.raises(TypeError, match="does not support item assignment"):
        system.parameters["a"] = 0.0
    with pytest.raises(TypeError, match="does not support item assignment"):
        SYSTEMS[name] = copy


@pytest.mark.parametrize("name", STEPPED)
def test_the_jacobian_is_the_derivative(name):
    system, h = SYSTEMS[name], 1e-6
    state, rhs = state_of(system), system.bound_rhs()
    differences = [(rhs(0.3, state + h * e) - rhs(0.3, state - h * e)) / (2 * h) for e in np.eye(system.dimension)]
    jacobian = system.jacobian(0.3, state)
    np.testing.assert_allclose(jacobian, np.transpose(differences), atol=1e-7 * max(1, np.abs(jacobian).max()))


def test_the_jacobian_of_lorenz_is_the_one_on_paper():
    expected = [[-10, 10, 0], [28 - 3, -1, -1], [2, 1, -8 / 3]]
    np.testing.assert_allclose(SYSTEMS["lorenz63"].jacobian(0, [1.0, 2.0, 3.0]), expected, rtol=1e-15)
    np.testing.assert_allclose(SYSTEMS["lozi"].jacobian(0, [-1.0, 2.0]), [[1.7, 1], [0.5, 0]], rtol=1e-15)
    np.testing.assert_allclose(SYSTEMS["lozi"].jacobian(0, [1.0, 2.0], a=1.2), [[-1.2, 1], [0.5, 0]], rtol=1e-15)


def test_a_delay_equation_has_no_jacobian():
    with pytest.raises(ValueError, match="delay equation"):
        SYSTEMS["mackey_glass"].jacobian(0.0, [1.0])


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("lorenz63", [math.sqrt(72), math.sqrt(72), 27]),
        ("lorenz96", [8.0] * 10),
        ("halvorsen", [0.0, 0.0, 0.0]),
        ("chen", [math.sqrt(63), math.sqrt(63), 21]),
        ("rabinovich_fabrikant", [0.0, 0.0, 0.0]),
        ("genesio_tesi", [1.0, 0.0, 0.0]),
        ("rucklidge", [0.0, math.sqrt(6.7), 6.7]),
        ("shimizu_morioka", [math.sqrt(0.5), 0.0, 1.0]),
    ],
)
def test_known_fixed_points(name, state):
    np.testing.assert_allclose(SYSTEMS[name].bound_rhs()(0, np.array(state)), 0, atol=1e-13)


def test_unknown_names_are_corrected():
    with pytest.raises(ValueError, match="Did you mean 'lorenz63'"):
        make_trajectory("Lorenz-63", 10)
    with pytest.raises(ValueError, match=r"no parameter 'rh'.*'sigma', 'rho', 'beta'"):
        make_trajectory("lorenz63", 10, rh=2)
    with pytest.raises(ValueError, match="its parameters are: none"):
        make_trajectory("sprott_b", 10, a=2)


def test_the_table_of_chaotic_systems():
    assert len(CHAOS_TABLE) >= 12 and len(set(CHAOS_TABLE)) == len(CHAOS_TABLE)
    for name in CHAOS_TABLE:
        system = SYSTEMS[name]
        assert system.period and system.dysts and system.lyapunov_max
        assert system.lyapunov_max > 0 and system.kind == "flow" and system.forcing is None


# ---- trajectories


@pytest.mark.parametrize("name", SYSTEMS)
def test_trajectories_are_bounded_and_reproducible(name):
    options = {"transient": 10 if SYSTEMS[name].kind == "map" else 10 * SYSTEMS[name].dt}
    states = make_trajectory(name, 50, **options)
    assert states.shape == (50, SYSTEMS[name].dimension) and states.dtype == np.float64 and np.isfinite(states).all()
    assert np.ptp(states, axis=0).max() > 0
    np.testing.assert_array_equal(states, make_trajectory(SYSTEMS[name], 50, **options))


@pytest.mark.parametrize("name", ["lorenz63", "mackey_glass", "duffing"])
def test_step_and_transient_are_times(name):
    fine = make_trajectory(name, 60, dt=0.02, transient=0.2)
    np.testing.assert_allclose(make_trajectory(name, 30, dt=0.04, transient=0.2), fine[::2], rtol=1e-6)
    np.testing.assert_allclose(make_trajectory(name, 40, dt=0.02, transient=0.6), fine[20:], rtol=1e-6)


def test_a_map_is_iterated():
    states = make_trajectory("henon", 20, transient=5)
    np.testing.assert_array_equal(states, make_trajectory("henon", 25, transient=0)[5:])
    x, y = states[:-1].T
    np.testing.assert_allclose(states[1:], np.stack([1 - 1.4 * x**2 + y, 0.3 * x], axis=1))


def test_points_per_period():
    period = SYSTEMS["rossler"].period
    expected = make_trajectory("rossler", 20, dt=period / 100, transient=1)
    np.testing.assert_array_equal(make_trajectory("rossler", 20, points_per_period=100, transient=1), expected)


def test_initial_state_and_parameters():
    state = [math.sqrt(0.5 * 2), math.sqrt(0.5 * 2), 0.5]
    still = make_trajectory("lorenz63", 20, initial=state, transient=1, rho=1.5, beta=2.0)
    np.testing.assert_allclose(still, np.tile(state, (20, 1)), atol=1e-7)


def test_lorenz96_in_any_dimension():
    states = make_trajectory("lorenz96", 5, dimension=36, transient=1)
    assert states.shape == (5, 36)
    rng = np.random.default_rng(0)
    x, rhs = rng.normal(size=7), SYSTEMS["lorenz96"].bound_rhs()
    expected = [(x[(i + 1) % 7] - x[i - 2]) * x[i - 1] - x[i] + 8 for i in range(7)]
    np.testing.assert_allclose(rhs(0, x), expected)


def test_noise_is_a_share_of_the_deviation():
    clean = make_trajectory("lozi", 5000)
    noisy = make_trajectory("lozi", 5000, noise=0.1, seed=1)
    np.testing.assert_allclose((noisy - clean).std(axis=0), 0.1 * clean.std(axis=0), rtol=0.03)
    np.testing.assert_array_equal(noisy, make_trajectory("lozi", 5000, noise=0.1, seed=1))
    assert (noisy != make_trajectory("lozi", 5000, noise=0.1, seed=2)).all()


def test_global_generators_are_left_alone():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    make_trajectory("lozi", 100, noise=0.1)
    lyapunov_spectrum("lozi", duration=100)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_a_linear_delay_equation_is_solved_exactly(linear_delay):
    """By the method of steps: 1 - t, then 1 - t + (t - 1)^2 / 2, then - (t - 2)^3 / 6 more."""
    t = np.linspace(0, 3, 61)
    terms = [1 - t, np.where(t > 1, (t - 1) ** 2 / 2, 0), np.where(t > 2, -((t - 2) ** 3) / 6, 0)]
    states = make_trajectory(linear_delay, 61, dt=0.05)
    np.testing.assert_allclose(states[:, 0], sum(terms), atol=1e-12)


def test_mackey_glass_needs_no_smaller_step():
    system = SYSTEMS["mackey_glass"]
    half = replace(system, dt=0.025)  # the step of the integration is at most that
    coarse, fine = (make_trajectory(one, 200, dt=0.5, transient=50) for one in (system, half))
    assert np.abs(coarse - fine).max() < 1e-6 * np.ptp(fine)


def test_the_bursting_neuron_bursts():
    """Several spikes in a row, then silence: spikes lie at two very different distances."""
    v = make_trajectory("bursting_neuron", 6000, dt=0.1, transient=300, rtol=1e-6)[:, 0]
    spikes = np.flatnonzero((v[1:] >= -25) & (v[:-1] < -25)) * 0.1
    gaps = np.diff(spikes)
    assert v.min() > -90 and v.max() < 60 and len(gaps) > 5 and gaps.max() > 5 * gaps.min()


@pytest.mark.parametrize("name", FORCED)
def test_external_inputs_are_those_in_the_equations(name):
    """With the forcing turned off, what the equations lack is a multiple of the inputs."""
    system = SYSTEMS[name]
    amplitude = next(one for one in ("a", "gamma") if one in system.parameters)
    times = np.linspace(0, 20, 50)
    state, still = state_of(system), system.with_parameters(**{amplitude: 0.0})
    # in all of them it is the last equation that is driven
    drive = np.array([system.bound_rhs()(t, state) - still.bound_rhs()(t, state) for t in times])[:, -1]
    inputs = make_inputs(name, 50, dt=times[1], transient=0)
    assert inputs.shape == (50, system.n_inputs)
    weights, residual, *_ = np.linalg.lstsq(inputs, drive, rcond=None)
    np.testing.assert_allclose(np.abs(weights).max(), system.parameters[amplitude], rtol=1e-9)
    assert residual[0] < 1e-18


def test_a_transient_does_not_lose_the_phase():
    """The state of a forced system 3 time units on is found again with the phase it has by then."""
    late = make_trajectory("duffing", 2, dt=3, transient=3)
    again = make_trajectory("duffing", 1, transient=3, initial=late[0], phase=1.4 * 3)
    np.testing.assert_allclose(again[0], late[1], rtol=1e-6)
    shifted = make_inputs("duffing", 5, transient=3)
    np.testing.assert_allclose(make_inputs("duffing", 5, transient=0, phase=1.4 * 3), shifted)


def test_the_pendulum_stays_on_its_circle():
    cosine, sine, _ = make_trajectory("forced_pendulum", 200).T
    np.testing.assert_allclose(np.hypot(cosine, sine), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n must be at least 1"),
        ({"n": 10.5}, "n must be at least 1 and an integer"),
        ({"points_per_period": 0}, "points_per_period must be positive"),
        ({"dt": 0}, "step between two states must be positive"),
        ({"dt": math.nan}, "step between two states must be positive"),
        ({"dt": 0.1, "points_per_period": 10}, "not both"),
        ({"system": "lorenz96", "points_per_period": 10}, "no period of 'lorenz96' is known"),
        ({"system": "lozi", "dt": 0.5}, "is a map"),
        ({"transient": -1}, "transient must be at least 0"),
        ({"initial": [1.0, 2.0]}, "initial must hold the 3 states"),
        ({"initial": [1.0, 2.0, math.inf]}, "initial must be finite"),
        ({"noise": -0.1}, "noise must be"),
        ({"rtol": 0}, "rtol must be"),
        ({"rho": math.nan}, "rho must be a finite number"),
        ({"dimension": 4}, "cannot be changed"),
        ({"system": "lorenz96", "dimension": 3}, "at least 4"),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else "",
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_trajectory(**{"system": "lorenz63", "n": 10, **options})


@pytest.mark.parametrize(
    ("name", "options"),
    [("henon", {"a": 3.0}), ("sprott_b", {"initial": [1e200, 1e200, 1e200]}), ("mackey_glass", {"gamma": -50.0})],
    ids=["map", "flow", "delay"],
)
def test_a_blow_up_is_an_error(name, options):
    with pytest.raises(FloatingPointError, match="choose another initial state"):
        make_trajectory(name, 200, **options)


def test_inputs_of_a_system_without_any():
    with pytest.raises(ValueError, match=r"no external inputs.*duffing"):
        make_inputs("lorenz63", 10)


# ---- Lyapunov spectra


def test_the_spectrum_of_a_linear_map():
    system = System("linear", 2, {}, lambda t, x: np.array([0.5 * x[0] + 3 * x[1], -2.0 * x[1]]), (1.0, 0.0), 1.0)
    system = replace(system, kind="map", transient=0.0)
    spectrum = lyapunov_spectrum(system, duration=2000, n_orbits=2)
    np.testing.assert_allclose(spectrum, [math.log(2), math.log(0.5)], atol=1e-3)


def test_the_spectrum_of_a_linear_flow():
    matrix = np.array([[-1.0, 5.0, 0.0], [0.0, -2.0, 1.0], [0.0, 0.0, -3.0]])
    system = System("linear", 3, {}, lambda t, x: np.einsum("ij,j...->i...", matrix, x), (1.0, 1.0, 1.0), 0.02)
    spectrum = lyapunov_spectrum(system, duration=40, n_orbits=2, align=15, transient=0)
    np.testing.assert_allclose(spectrum, [-1, -2, -3], atol=1e-6)


def test_the_spectrum_of_a_linear_delay_equation(linear_delay):
    """The rightmost roots of r = -exp(-r), a pair."""
    root = lambertw(-1)
    spectrum = lyapunov_spectrum(linear_delay, duration=100, n_exponents=2)
    np.testing.assert_allclose(spectrum, [root.real, root.real], atol=0.01)


@pytest.mark.parametrize(
    ("name", "expected"), [("lozi", [0.4703, -1.1635]), ("henon", [0.4192, -1.6232])], ids=["lozi", "henon"]
)
def test_the_spectra_of_maps(name, expected):
    spectrum = lyapunov_spectrum(name, duration=100_000, n_orbits=500)
    np.testing.assert_allclose(spectrum, expected, rtol=0.01)
    assert abs(spectrum.sum() - math.log(SYSTEMS[name].parameters["b"])) < 1e-9


def test_the_spectrum_of_lorenz63_coarsely():
    spectrum = lyapunov_spectrum("lorenz63", duration=500, n_orbits=50, align=4, transient=20, dt=0.01)
    np.testing.assert_allclose(spectrum, [0.905, 0, -14.57], atol=0.09)
    assert abs(spectrum.sum() + 10 + 1 + 8 / 3) < 1e-3  # the divergence is constant


def test_the_exponents_of_lorenz96_sum_to_minus_its_dimension():
    spectrum = lyapunov_spectrum("lorenz96", duration=60, n_orbits=20, transient=10, dt=0.04)
    assert abs(spectrum.sum() + 10) < 5e-3 and spectrum[0] > 0.9


def test_the_leading_exponents_alone():
    options = {"duration": 100, "n_orbits": 20, "transient": 10, "align": 5, "dt": 0.01}
    alone = lyapunov_spectrum("lorenz63", n_exponents=1, **options)
    assert alone.shape == (1,) and 0.5 < alone[0] < 1.3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("lorenz63", {"duration": 12000, "n_orbits": 200}, 0.905),
        ("rossler", {"duration": 60000, "n_orbits": 200, "align": 150}, 0.0714),
        ("lorenz96", {"duration": 4000, "n_orbits": 100}, 1.18),
        ("lorenz96", {"duration": 2000, "n_orbits": 50, "dimension": 20}, 1.56),
    ],
    ids=["lorenz63", "rossler", "lorenz96-10", "lorenz96-20"],
)
def test_the_largest_exponents_of_flows(name, options, expected):
    spectrum = lyapunov_spectrum(name, **options)
    assert abs(spectrum[0] / expected - 1) < 0.02
    if name == "lorenz96":
        assert abs(spectrum.sum() + len(spectrum)) < 1e-3 * len(spectrum)


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAOS_TABLE)
def test_the_recorded_exponents(name):
    system = SYSTEMS[name]
    options = {"duration": 200 * 30 * system.period, "n_orbits": 200, "align": 12 * system.period}
    spectrum = lyapunov_spectrum(name, n_exponents=1, **options)
    assert abs(spectrum[0] / system.lyapunov_max - 1) < 0.04


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duration": 0}, "duration and dt must be positive"),
        ({"duration": 10, "dt": -1}, "duration and dt must be positive"),
        ({"duration": 10, "n_exponents": 4}, "n_exponents must be from 1 to 3"),
        ({"duration": 10, "n_orbits": 0}, "n_orbits must be at least 1"),
    ],
    ids=["duration", "dt", "n_exponents", "n_orbits"],
)
def test_bad_options_of_a_spectrum_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        lyapunov_spectrum("lorenz63", **options)


# ---- what dysts publishes


@pytest.fixture
def published(archives):
    """Constants and one series (first state variable) of each system."""
    folder = archives / "dynamics" / "dysts"
    files = ("chaotic_attractors.json.gz", "train_univariate__pts_per_period_100__periods_12.json.gz")
    if not all((folder / file).is_file() for file in files):
        pytest.skip("needs the files of dysts")
    return [json.loads(gzip.decompress((folder / file).read_bytes())) for file in files]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_constants_are_the_published_ones(published, name):
    system, entry = SYSTEMS[name], published[0][SYSTEMS[name].dysts]
    ours = {key: value for key, value in system.parameters.items() if key != "phase"}
    assert ours == pytest.approx(entry["parameters"], rel=2e-4)  # beta of Lorenz is 2.667 there
    assert system.period == entry["period"]
    np.testing.assert_array_equal(system.initial, entry["initial_conditions"][: system.dimension])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PUBLISHED if SYSTEMS[name].kind == "flow"])
def test_the_published_series_obeys_the_equations(published, name):
    """Some state of ours (and phase) leads to the first 40 points, of which only the first variable is known.

    Three or four unknowns cannot fit 40 points by chance; the published integration is good to about 1e-4.
    """
    constants, series = (one[SYSTEMS[name].dysts] for one in published)
    system = SYSTEMS[name].with_parameters(**constants["parameters"])
    given, dt = np.array(series["values"][:40]), series["dt"]
    own = make_trajectory(system, 8000, dt=dt, transient=0, rtol=1e-8, atol=1e-8)
    windows = np.lib.stride_tricks.sliding_window_view(own[:, 0], 40)
    start = int(((windows - given) ** 2).sum(axis=1).argmin())

    def miss(unknown):
        state, phase = unknown[: system.dimension], unknown[system.dimension :]
        rhs = system.with_parameters(**({"phase": float(phase[0])} if phase.size else {})).bound_rhs()
        times = dt * np.arange(40)
        with np.errstate(all="ignore"):
            solution = solve_ivp(rhs, (0, times[-1]), state, "DOP853", times, rtol=1e-9, atol=1e-10)
        return (solution.y[0] - given) / np.std(series["values"])

    frequency = next((system.parameters[one] for one in ("w", "omega") if one in system.parameters), None)
    phase = [] if frequency is None else [frequency * dt * start]
    fit = least_squares(miss, [*own[start], *phase], x_scale=[*own.std(axis=0), *[1.0] * len(phase)])
    assert np.sqrt(np.mean(fit.fun**2)) < 3e-4
