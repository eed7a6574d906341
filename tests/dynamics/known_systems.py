"""Systems of which everything is known: the Lozi map, also as a network, and Lorenz's equations."""

import numpy as np
import torch
from scipy.integrate import solve_ivp

from tsmodels.models import PLRNN

LOZI_A, LOZI_B = 1.7, 0.5


def with_theta(network, **theta):
    """Return the network in float64 with these parameters."""
    network = network.double()
    with torch.no_grad():
        for name, values in theta.items():
            network.theta[name].copy_(torch.tensor(values, dtype=torch.float64))
    return network


def lozi_network(cell):
    """x' = 1 - a |x| + y, y' = b x as a network of the states (x, y), or, almost linear, (y, x, x)."""
    a, b = LOZI_A, LOZI_B
    if cell == "shplrnn":
        return with_theta(
            PLRNN(2, cell=cell, hidden_dim=4),
            A=[0, 0],
            W1=[[-a, -a, 1, -1], [b, -b, 0, 0]],
            h1=[1, 0],
            W2=[[1, 0], [-1, 0], [0, 1], [0, -1]],
            h2=[0, 0, 0, 0],
        )
    row = [1, a, -2 * a]
    return with_theta(PLRNN(3, cell=cell, n_relu=1), A=[0, 0, 0], W=[[0, b, 0], row, row], h=[0, 1, 1])


def lozi_orbit(n, x=0.1, y=0.05):
    points = []
    for _ in range(n):
        x, y = 1 - LOZI_A * abs(x) + y, LOZI_B * x
        points.append((x, y))
    return np.array(points)


def lorenz_orbit(n):
    """Points 0.01 apart, roughly standardised."""

    def rate(_, state):
        x, y, z = state
        return 10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z

    times = 20 + 0.01 * np.arange(n)
    run = solve_ivp(rate, (0, times[-1]), (1.0, 2.0, 20.0), "DOP853", t_eval=times, rtol=1e-8, atol=1e-8)
    return (run.y.T - [0, 0, 23.5]) / [7.9, 9.0, 8.6]
