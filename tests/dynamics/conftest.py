import sys
from pathlib import Path

import numpy as np
import pytest

# With --import-mode=importlib a test folder is not on the path: this makes `known_systems` importable beside it.
sys.path.insert(0, str(Path(__file__).parent))

from known_systems import lorenz_orbit, lozi_network


@pytest.fixture(params=["shplrnn", "alrnn"])
def lozi(request):
    """Return the network and how its states follow from those of the map."""
    columns = [0, 1] if request.param == "shplrnn" else [1, 0, 0]
    return lozi_network(request.param), lambda points: np.asarray(points)[:, columns]


@pytest.fixture(scope="session")
def lorenz():
    """Return two stretches of 10000 points of one orbit; after a few hundred the second has forgotten the first."""
    orbit = lorenz_orbit(20_000)
    return orbit[:10_000], orbit[10_000:]
