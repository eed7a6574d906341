"""The dynamical systems of this package: their constants, and what is known about them.

Where a system has a name in ``dysts`` (Gilpin, arXiv:2110.05266; github.com/williamgilpin/dysts, Apache-2.0), its
parameters, initial condition and period are those published there, except that beta of Lorenz's system, 2.667 there, is
8 / 3. The equations are those of the papers named beside them, the Lyapunov exponents our own measurements, as the
published estimates are rough. Not all are chaotic: the forced van der Pol oscillator and the bursting neuron are
periodic, and of Mackey and Glass's equation the largest exponent at a delay of 16 cannot be told from 0.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from tsmodels_datamodules import _system_equations as equations
from tsmodels_datamodules._system import System


def _oscillation(frequency: str, t: float, **parameters: float) -> np.ndarray:
    """Return cosine and sine of a forcing at time t, of the frequency that the named parameter holds.

    Both, as they span every phase: inputs that are held during a step act on average half a step late.
    """
    angle = parameters[frequency] * np.asarray(t) + parameters["phase"]
    return np.array([np.cos(angle), np.sin(angle)])


def _chaotic(
    name: str,
    dysts: str,
    rhs: Callable[..., np.ndarray],
    initial: tuple[float, ...],
    period: float,
    lyapunov_max: float | None = None,
    **parameters: float,
) -> System:
    """Return a flow with the constants dysts publishes, sampled at a hundredth of its period."""
    return System(
        name,
        len(initial),
        parameters,
        rhs,
        initial,
        period / 100,
        period,
        transient=30 * period,
        lyapunov_max=lyapunov_max,
        dysts=dysts,
    )


_BURSTING = {
    "current": 0.0,
    "capacitance": 6.0,
    "g_leak": 8.0,
    "e_leak": -80.0,
    "g_sodium": 20.0,
    "e_sodium": 60.0,
    "v_sodium": -20.0,
    "k_sodium": 15.0,
    "g_potassium": 10.0,
    "e_potassium": -90.0,
    "v_potassium": -25.0,
    "k_potassium": 5.0,
    "tau_potassium": 1.0,
    "g_slow": 25.0,
    "v_slow": -15.0,
    "k_slow": 5.0,
    "tau_slow": 200.0,
    "g_nmda": 10.2,
    "e_nmda": 0.0,
}

_ALL = (
    System(
        "lorenz63",
        3,
        {"sigma": 10.0, "rho": 28.0, "beta": 8 / 3},
        equations.lorenz63,
        (-9.7869288, -15.03852, 20.533978),
        0.01,
        1.5008,
        lyapunov_max=0.905,
        dysts="Lorenz",
    ),
    System(
        "rossler",
        3,
        {"a": 0.2, "b": 0.2, "c": 5.7},
        equations.rossler,
        (6.5134412, 0.4772013, 0.34164294),
        0.08,
        5.9086,
        lyapunov_max=0.0714,
        dysts="Rossler",
    ),
    System(
        "lorenz96",
        10,
        {"F": 8.0},
        equations.lorenz96,
        (8.01, *[8.0] * 9),
        0.04,
        minimal_dimension=4,
    ),
    _chaotic(
        "halvorsen",
        "Halvorsen",
        equations.halvorsen,
        (-8.6807408, -2.4741399, 0.070775762),
        1.4889,
        0.679,
        a=1.4,
        b=4.0,
    ),
    _chaotic("thomas", "Thomas", equations.thomas, (2.199442, 2.3634225, 3.220197), 4.969, 0.493, a=1.85, b=10.0),
    _chaotic("chen", "Chen", equations.chen, (3.2689697, 5.2990458, 19.435349), 0.58689, 2.03, a=35.0, b=3.0, c=28.0),
    _chaotic(
        "lu_chen", "LuChen", equations.lu_chen, (10.956479, 9.8813092, 22.676714), 2.3385, 0.309, a=36.0, b=3.0, c=18.0
    ),
    _chaotic("sprott_b", "SprottB", equations.sprott_b, (1.6878282, 1.4848132, -0.53706628), 11.050142857142857, 0.21),
    _chaotic("sprott_c", "SprottC", equations.sprott_c, (-0.47199823, -0.27198066, 1.9418244), 8.8852, 0.163),
    _chaotic("sprott_d", "SprottD", equations.sprott_d, (-1.3396906, -0.21238338, 0.32982163), 4.8333, 0.103),
    _chaotic("sprott_e", "SprottE", equations.sprott_e, (0.6173759, 0.66599285, -1.6575023), 7.6275, 0.0771),
    _chaotic(
        "sprott_jerk", "SprottJerk", equations.sprott_jerk, (-0.54106056, 0.59383201, 0.45127217), 11.921, mu=2.017
    ),
    _chaotic(
        "genesio_tesi",
        "GenesioTesi",
        equations.genesio_tesi,
        (-0.053772565, -0.26162564, 0.33501557),
        5.9431,
        0.104,
        a=0.44,
        b=1.1,
        c=1.0,
    ),
    _chaotic(
        "arneodo",
        "Arneodo",
        equations.arneodo,
        (-2.7515698, 0.19079818, 3.4703629),
        3.1641,
        0.201,
        a=-5.5,
        b=4.5,
        c=1.0,
        d=-1.0,
    ),
    _chaotic(
        "aizawa",
        "Aizawa",
        equations.aizawa,
        (-0.78450179, -0.62887672, -0.17620268),
        2.5837,
        0.0934,
        a=0.95,
        b=0.7,
        c=0.6,
        d=3.5,
        e=0.25,
        f=0.1,
    ),
    _chaotic(
        "dadras",
        "Dadras",
        equations.dadras,
        (1.0284085, -3.5348655, -0.72081646),
        3.2886,
        0.372,
        c=2.0,
        e=9.0,
        o=2.7,
        p=3.0,
        r=1.7,
    ),
    _chaotic(
        "rabinovich_fabrikant",
        "RabinovichFabrikant",
        equations.rabinovich_fabrikant,
        (-1.8207276, 0.83440917, 0.2078248),
        2.3356,
        0.198,
        a=1.1,
        g=0.87,
    ),
    _chaotic(
        "rucklidge", "Rucklidge", equations.rucklidge, (1.9257158, 3.1923835, 5.7829655), 6.0721, 0.191, a=2.0, b=6.7
    ),
    _chaotic(
        "finance",
        "Finance",
        equations.finance,
        (-0.51664739, -3.9568707, 0.0012893581),
        9.8932,
        0.0902,
        a=0.001,
        b=0.2,
        c=1.1,
    ),
    _chaotic(
        "shimizu_morioka",
        "ShimizuMorioka",
        equations.shimizu_morioka,
        (0.016838697, 0.03489384, 0.35346848),
        12.038,
        0.0357,
        a=0.85,
        b=0.5,
    ),
    _chaotic(
        "moore_spiegel",
        "MooreSpiegel",
        equations.moore_spiegel,
        (-3.4733266, 19.666962, -3.8262485),
        1.2887,
        0.161,
        a=10.0,
        b=4.0,
        eps=9.0,
    ),
    _chaotic(
        "chua",
        "Chua",
        equations.chua,
        (1.1262351, -0.11386474, -0.78324421),
        1.4235,
        0.432,
        alpha=15.6,
        beta=28.0,
        m0=-1.142857,
        m1=-0.71429,
    ),
    _chaotic(
        "hyper_rossler",
        "HyperRossler",
        equations.hyper_rossler,
        (-93.667697, 15.5078, 0.032086964, 43.792796),
        1.1157476694793766,
        a=0.25,
        b=3.0,
        c=0.5,
        d=0.05,
    ),
    _chaotic("nose_hoover", "NoseHoover", equations.nose_hoover, (-1.9758582, 0.24647527, 0.79024299), 5.8673, a=1.5),
    System(
        "bursting_neuron",
        3,
        _BURSTING,
        equations.bursting_neuron,
        (-24.4694, 0.0386, 0.0231),
        0.05,
        transient=2000.0,
    ),
    System(
        "forced_van_der_pol",
        2,
        {"a": 1.2, "mu": 8.53, "w": 0.63, "phase": 0.0},
        equations.forced_van_der_pol,
        (-1.520504, 0.19640249),
        14.476875 / 100,
        14.476875,
        forcing=partial(_oscillation, "w"),
        dysts="ForcedVanDerPol",
    ),
    System(
        "duffing",
        2,
        {"alpha": 1.0, "beta": -1.0, "delta": 0.1, "gamma": 0.35, "omega": 1.4, "phase": 0.0},
        equations.duffing,
        (-1.1635382, -0.5092374),
        7.4496 / 100,
        7.4496,
        forcing=partial(_oscillation, "omega"),
        dysts="Duffing",
    ),
    System(
        "forced_pendulum",
        3,
        {"damping": 0.5, "gamma": 1.5, "omega": 2 / 3, "phase": 0.0},
        equations.forced_pendulum,
        (1.0, 0.0, 0.0),
        0.1,
        3 * np.pi,
        forcing=partial(_oscillation, "omega"),
    ),
    System(
        "mackey_glass",
        1,
        {"beta": 0.2, "gamma": 0.1, "n": 10.0, "tau": 16.0},
        equations.mackey_glass,
        (0.83347846,),
        5.9612230962292045 / 100,
        5.9612230962292045,
        kind="delay",
        transient=500.0,
        dysts="MackeyGlass",
    ),
    System("lozi", 2, {"a": 1.7, "b": 0.5}, equations.lozi, (0.1, 0.1), 1.0, kind="map", transient=1000.0),
    System(
        "henon",
        2,
        {"a": 1.4, "b": 0.3},
        equations.henon,
        (0.1, 0.1),
        1.0,
        kind="map",
        transient=1000.0,
    ),
)

SYSTEMS: Mapping[str, System] = MappingProxyType({system.name: system for system in _ALL})

# chaotic flows of three variables, for comparisons of forecasts
CHAOS_TABLE: tuple[str, ...] = (
    "lorenz63",
    "rossler",
    "halvorsen",
    "thomas",
    "chen",
    "lu_chen",
    "sprott_b",
    "sprott_d",
    "genesio_tesi",
    "arneodo",
    "aizawa",
    "dadras",
    "rabinovich_fabrikant",
    "rucklidge",
    "finance",
    "shimizu_morioka",
)


def find_system(system: str | System) -> System:
    """Return a system by its name; one that is given is returned as it is."""
    if isinstance(system, System):
        return system
    if isinstance(system, str) and system in SYSTEMS:
        return SYSTEMS[system]
    near = difflib.get_close_matches(str(system).lower(), SYSTEMS, n=1)
    raise ValueError(
        f"system must be a System or one of {', '.join(map(repr, SYSTEMS))}, got {system!r}."
        + (f" Did you mean {near[0]!r}?" if near else "")
    )
