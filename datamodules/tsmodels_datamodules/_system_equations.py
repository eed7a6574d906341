"""Right-hand sides of the dynamical systems, written so that they also take complex states and many states at once.

Each takes the time, the state (dimension, ...) and its parameters by name, and returns the derivative, or for a map the
next state, in the shape of the state. Derivatives of the flow are taken by the complex step, so an absolute value has
to be that of the real part, with its sign: :func:`_absolute`.
"""

from __future__ import annotations

import numpy as np

State = np.ndarray


def _absolute(x: State) -> State:
    return np.where(np.real(x) < 0, -x, x)


def _sigmoid(x: State) -> State:
    return 1 / (1 + np.exp(-x))


def lorenz63(t: float, state: State, sigma: float, rho: float, beta: float) -> State:
    """Lorenz, Journal of the Atmospheric Sciences 20 (1963)."""
    x, y, z = state
    return np.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


def lorenz96(t: float, state: State, F: float) -> State:
    """Lorenz, "Predictability: a problem partly solved" (1996): a ring of variables."""
    i = np.arange(len(state))
    return (state[i - len(i) + 1] - state[i - 2]) * state[i - 1] - state + F


def rossler(t: float, state: State, a: float, b: float, c: float) -> State:
    """Rossler, Physics Letters A 57 (1976)."""
    x, y, z = state
    return np.array([-y - z, x + a * y, b + z * (x - c)])


def hyper_rossler(t: float, state: State, a: float, b: float, c: float, d: float) -> State:
    """Rossler, Physics Letters A 71 (1979)."""
    x, y, z, w = state
    return np.array([-y - z, x + a * y + w, b + x * z, -c * z + d * w])


def halvorsen(t: float, state: State, a: float, b: float) -> State:
    """Halvorsen's flow: Sprott, Elegant Chaos (2010)."""
    x, y, z = state
    return np.array([-a * u - b * (v + w) - v * v for u, v, w in ((x, y, z), (y, z, x), (z, x, y))])


def thomas(t: float, state: State, a: float, b: float) -> State:
    """Thomas, International Journal of Bifurcation and Chaos 9 (1999)."""
    x, y, z = state
    return np.array([-a * x + b * np.sin(y), -a * y + b * np.sin(z), -a * z + b * np.sin(x)])


def chen(t: float, state: State, a: float, b: float, c: float) -> State:
    """Chen and Ueta, International Journal of Bifurcation and Chaos 9 (1999)."""
    x, y, z = state
    return np.array([a * (y - x), (c - a) * x - x * z + c * y, x * y - b * z])


def lu_chen(t: float, state: State, a: float, b: float, c: float) -> State:
    """Lu and Chen, International Journal of Bifurcation and Chaos 12 (2002)."""
    x, y, z = state
    return np.array([a * (y - x), c * y - x * z, x * y - b * z])


def sprott_b(t: float, state: State) -> State:
    """Sprott, Physical Review E 50 (1994), case B."""
    x, y, z = state
    return np.array([y * z, x - y, 1 - x * y])


def sprott_c(t: float, state: State) -> State:
    """Sprott, Physical Review E 50 (1994), case C."""
    x, y, z = state
    return np.array([y * z, x - y, 1 - x * x])


def sprott_d(t: float, state: State) -> State:
    """Sprott, Physical Review E 50 (1994), case D."""
    x, y, z = state
    return np.array([-y, x + z, x * z + 3 * y * y])


def sprott_e(t: float, state: State) -> State:
    """Sprott, Physical Review E 50 (1994), case E."""
    x, y, z = state
    return np.array([y * z, x * x - y, 1 - 4 * x])


def sprott_jerk(t: float, state: State, mu: float) -> State:
    """Sprott, Physics Letters A 228 (1997)."""
    x, y, z = state
    return np.array([y, z, -mu * z + y * y - x])


def genesio_tesi(t: float, state: State, a: float, b: float, c: float) -> State:
    """Genesio and Tesi, Automatica 28 (1992)."""
    x, y, z = state
    return np.array([y, z, -c * x - b * y - a * z + x * x])


def arneodo(t: float, state: State, a: float, b: float, c: float, d: float) -> State:
    """Arneodo, Coullet and Tresser, Physics Letters A 79 (1980)."""
    x, y, z = state
    return np.array([y, z, -a * x - b * y - c * z + d * x**3])


def aizawa(t: float, state: State, a: float, b: float, c: float, d: float, e: float, f: float) -> State:
    """Aizawa and Uezu, Progress of Theoretical Physics 67 (1982); Langford (1984)."""
    x, y, z = state
    radial = (x * x + y * y) * (1 + e * z)
    return np.array([(z - b) * x - d * y, d * x + (z - b) * y, c + a * z - z**3 / 3 - radial + f * z * x**3])


def dadras(t: float, state: State, c: float, e: float, o: float, p: float, r: float) -> State:
    """Dadras and Momeni, Physics Letters A 373 (2009)."""
    x, y, z = state
    return np.array([y - p * x + o * y * z, r * y - x * z + z, c * x * y - e * z])


def rabinovich_fabrikant(t: float, state: State, a: float, g: float) -> State:
    """Rabinovich and Fabrikant, Soviet Physics JETP 50 (1979)."""
    x, y, z = state
    return np.array([y * (z - 1 + x * x) + g * x, x * (3 * z + 1 - x * x) + g * y, -2 * z * (a + x * y)])


def rucklidge(t: float, state: State, a: float, b: float) -> State:
    """Rucklidge, Journal of Fluid Mechanics 237 (1992)."""
    x, y, z = state
    return np.array([-a * x + b * y - y * z, x, y * y - z])


def finance(t: float, state: State, a: float, b: float, c: float) -> State:
    """Cai and Huang, International Journal of Nonlinear Science 3 (2007), y counted from 1 / b."""
    x, y, z = state
    return np.array([(1 / b - a) * x + z + x * y, -b * y - x * x, -x - c * z])


def shimizu_morioka(t: float, state: State, a: float, b: float) -> State:
    """Shimizu and Morioka, Physics Letters A 76 (1980)."""
    x, y, z = state
    return np.array([y, x - a * y - x * z, x * x - b * z])


def moore_spiegel(t: float, state: State, a: float, b: float, eps: float) -> State:
    """Moore and Spiegel, Astrophysical Journal 143 (1966)."""
    x, y, z = state
    return np.array([y, a * z, -z + eps * y - y * x * x - b * x])


def chua(t: float, state: State, alpha: float, beta: float, m0: float, m1: float) -> State:
    """Chua's circuit: Matsumoto, IEEE Transactions on Circuits and Systems 31 (1984)."""
    x, y, z = state
    diode = m1 * x + (m0 - m1) / 2 * (_absolute(x + 1) - _absolute(x - 1))
    return np.array([alpha * (y - x - diode), x - y + z, -beta * y])


def nose_hoover(t: float, state: State, a: float) -> State:
    """Hoover, Physical Review A 31 (1985), volume-preserving."""
    x, y, z = state
    return np.array([y, -x + y * z, a - y * y])


def bursting_neuron(
    t: float,
    state: State,
    current: float,
    capacitance: float,
    g_leak: float,
    e_leak: float,
    g_sodium: float,
    e_sodium: float,
    v_sodium: float,
    k_sodium: float,
    g_potassium: float,
    e_potassium: float,
    v_potassium: float,
    k_potassium: float,
    tau_potassium: float,
    g_slow: float,
    v_slow: float,
    k_slow: float,
    tau_slow: float,
    g_nmda: float,
    e_nmda: float,
) -> State:
    """Return the derivative of membrane voltage (mV) and the two potassium gates, per millisecond.

    A leak, a persistent sodium current, a fast and a slow potassium current, and synaptic NMDA channels blocked by
    magnesium: Durstewitz, "Implications of synaptic biophysics for recurrent network dynamics and active memory",
    Neural Networks 22 (2009); the parameters of the burst mode are those of the benchmark of Brenner et al.,
    arXiv:2207.02542, as they stand in github.com/kjxymful/Benchmarks.jl, src/ds_models.jl.
    """
    v, fast, slow = state
    leak = g_leak * (v - e_leak)
    sodium = g_sodium * _sigmoid((v - v_sodium) / k_sodium) * (v - e_sodium)
    potassium = (g_potassium * fast + g_slow * slow) * (v - e_potassium)
    nmda = g_nmda / (1 + 0.33 * np.exp(-0.0625 * v)) * (v - e_nmda)
    return np.array(
        [
            (current - leak - sodium - potassium - nmda) / capacitance,
            (_sigmoid((v - v_potassium) / k_potassium) - fast) / tau_potassium,
            (_sigmoid((v - v_slow) / k_slow) - slow) / tau_slow,
        ]
    )


def forced_van_der_pol(t: float, state: State, a: float, mu: float, w: float, phase: float) -> State:
    """Van der Pol (1920), driven by ``a sin(w t + phase)``."""
    x, y = state
    return np.array([y, mu * (1 - x * x) * y - x + a * np.sin(w * t + phase)])


def duffing(
    t: float, state: State, alpha: float, beta: float, delta: float, gamma: float, omega: float, phase: float
) -> State:
    """Duffing (1918), driven by ``gamma cos(omega t + phase)``."""
    x, y = state
    return np.array([y, -delta * y - beta * x - alpha * x**3 + gamma * np.cos(omega * t + phase)])


def forced_pendulum(t: float, state: State, damping: float, gamma: float, omega: float, phase: float) -> State:
    """Return the derivative of cosine and sine of the angle and of the angular velocity.

    The angle itself is not bounded, as the pendulum turns over.
    """
    cosine, sine, velocity = state
    torque = gamma * np.cos(omega * t + phase)
    return np.array([-sine * velocity, cosine * velocity, -damping * velocity - sine + torque])


def mackey_glass(t: float, state: State, delayed: State, beta: float, gamma: float, n: float) -> State:
    """Mackey and Glass, Science 197 (1977)."""
    return beta * delayed / (1 + delayed**n) - gamma * state


def lozi(t: float, state: State, a: float, b: float) -> State:
    """Lozi, Journal de Physique 39 (1978), colloque C5."""
    x, y = state
    return np.array([1 - a * _absolute(x) + y, b * x])


def henon(t: float, state: State, a: float, b: float) -> State:
    """Henon, Communications in Mathematical Physics 50 (1976)."""
    x, y = state
    return np.array([1 - a * x * x + y, b * x])
