"""Networks that look at training cases: what is checked, what a state dict carries, where new parameters are made."""

import copy

import pytest
import torch
from torch import nn

from tsmodels.models._prepared import PreparedNetwork


class Centroids(PreparedNetwork):
    """Distances to the mean series of each class, weighted by class."""

    FOUND = ("centroid", "codes")

    def __init__(self, n_channels=2, n_classes=3):
        super().__init__(n_channels, n_classes)
        self.bias = nn.Parameter(torch.zeros(n_classes))
        self.seen = None

    def _find(self, x, y, lengths, mask, *, seed, progress):
        self.seen = {"lengths": lengths, "mask": mask, "seed": seed, "progress": progress}
        codes = y.unique()
        return {"centroid": torch.stack([x[y == code].mean(0) for code in codes]), "codes": codes}

    def _build(self):
        self.scale = nn.Linear(len(self.codes), self.n_classes)
        self.dropout = nn.Dropout()

    def forward(self, x):
        self._require_prepared()
        return self.scale((x[:, None] - self.centroid).square().sum((2, 3))) + self.bias


def cases(n_cases=6, n_timepoints=5, n_channels=2):
    x = torch.randn(n_cases, n_timepoints, n_channels, generator=torch.Generator().manual_seed(0))
    return x, torch.arange(n_cases) % 3


def test_prepare_finds_and_builds():
    network, (x, y) = Centroids(), cases()
    assert not network.is_prepared
    assert network.preparation_seconds is None
    assert network.prepare(x, y, seed=3) is network
    assert network.is_prepared
    assert network.preparation_seconds > 0
    assert network.seen == {"lengths": None, "mask": None, "seed": 3, "progress": False}
    torch.testing.assert_close(network.centroid, x.reshape(2, 3, 5, 2).mean(0))
    assert network(x).shape == (6, 3)


def test_an_unprepared_network_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"Centroids has not seen training cases yet: call prepare\(x, y\)"):
        Centroids()(cases()[0])


def test_a_state_dict_prepares_a_fresh_network():
    network, (x, y) = Centroids().eval(), cases()
    network.prepare(x, y)
    fresh = Centroids().eval()
    assert fresh.load_state_dict(network.state_dict()).missing_keys == []
    assert fresh.is_prepared
    assert fresh.preparation_seconds is None
    assert torch.equal(fresh(x), network(x))
    assert fresh.centroid is not network.centroid
    assert not fresh.dropout.training


def test_a_state_dict_of_a_network_prepared_with_other_cases():
    network = Centroids().prepare(*cases())
    other = Centroids().prepare(*cases(n_timepoints=7))
    with pytest.raises(RuntimeError, match="this Centroids was prepared with other cases: load into a new one instead"):
        other.load_state_dict(network.state_dict())
    same = Centroids().prepare(*cases())
    same.load_state_dict(network.state_dict())
    assert torch.equal(same.scale.weight, network.scale.weight)


def test_as_a_part_of_another_module_too():
    network, (x, y) = Centroids(), cases()
    network.prepare(x, y)
    fresh = nn.Sequential(Centroids())
    fresh.load_state_dict(nn.Sequential(network).state_dict())
    assert torch.equal(fresh(x), network(x))


def test_a_state_dict_of_an_unprepared_network_leaves_it_unprepared():
    fresh = Centroids()
    fresh.load_state_dict(Centroids().state_dict())
    assert not fresh.is_prepared


def test_what_is_made_has_the_dtype_and_device_of_the_network():
    network, (x, y) = Centroids().double(), cases()
    network.prepare(x, y)
    assert {p.dtype for p in network.parameters()} == {torch.float64}
    assert network.centroid.dtype == torch.float64
    assert network.codes.dtype == torch.int64
    meta = Centroids().to("meta")
    meta.prepare(x, y)
    assert {p.device.type for p in meta.parameters()} == {"meta"}


def test_prepared_once_only():
    network, (x, y) = Centroids(), cases()
    network.prepare(x, y)
    with pytest.raises(RuntimeError, match="prepared already: make a new one"):
        network.prepare(x, y)


def test_copies_carry_what_was_found():
    network, (x, y) = Centroids(), cases()
    network.prepare(x, y)
    assert torch.equal(copy.deepcopy(network)(x), network(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(6, 5, 4)}, r"x must have shape \(batch, time, 2\)"),
        ({"y": torch.zeros(5, dtype=torch.int64)}, r"y must hold one class code, an integer, for each of 6 cases"),
        ({"y": torch.zeros(6)}, "y must hold one class code, an integer"),
        ({"y": torch.zeros(6, dtype=torch.int64)}, "y has 1 class: Centroids compares classes"),
        ({"y": torch.arange(6)}, "y must hold codes 0 to 2, got 0 to 5"),
        ({"y": torch.arange(6) % 3 - 1}, "y must hold codes 0 to 2, got -1 to 1"),
    ],
)
def test_bad_cases_are_named(change, message):
    x, y = cases()
    with pytest.raises(ValueError, match=message):
        Centroids().prepare(**{"x": x, "y": y} | change)


def test_values_that_count_as_observed_must_be_finite():
    x, y = cases()
    x[1, 3, 0] = float("nan")
    with pytest.raises(ValueError, match="x holds NaN or infinite values that the mask calls observed"):
        Centroids().prepare(x, y)
    with pytest.raises(ValueError, match="that the mask calls observed"):
        Centroids().prepare(x, y, lengths=torch.full((6,), 4))
    Centroids().prepare(x, y, lengths=torch.full((6,), 3))
    Centroids().prepare(x, y, mask=x.isfinite())
