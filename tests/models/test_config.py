"""Recorded configurations: plain values only, and only exported networks are built from them."""

import copy
import enum
import inspect
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from tsmodels import models
from tsmodels.models._config import build, config_of, records_config


@records_config
class Recorded(nn.Module):
    def __init__(self, n_channels, *, width=3, kernel=(3, 5), options=None):
        super().__init__()
        self.linear = nn.Linear(n_channels, width)

    def forward(self, x):
        return self.linear(x)


class Undecorated(Recorded):
    def __init__(self, extra):
        super().__init__(2)
        self.extra = extra


class Colour(enum.StrEnum):
    RED = "red"


@pytest.fixture
def exported(monkeypatch):
    monkeypatch.setattr(models, "__all__", [*models.__all__, "Recorded"])
    monkeypatch.setattr(models, "Recorded", Recorded, raising=False)
    return Recorded


def test_every_argument_is_recorded_by_name_with_defaults():
    network = Recorded(2, width=4)
    assert network.config == {
        "class_path": f"{__name__}.Recorded",
        "init_args": {"n_channels": 2, "width": 4, "kernel": (3, 5), "options": None},
    }


def test_the_signature_stays_readable():
    assert list(inspect.signature(Recorded).parameters) == ["n_channels", "width", "kernel", "options"]


def test_numpy_scalars_become_python_numbers():
    network = Recorded(np.int64(2), width=np.int32(4), options={"p": np.float64(0.5)})
    arguments = network.config["init_args"]
    assert type(arguments["n_channels"]) is int
    assert type(arguments["width"]) is int
    assert type(arguments["options"]["p"]) is float


@pytest.mark.parametrize(
    "value",
    [nn.ReLU(), torch.relu, np.zeros(2), [nn.ReLU()], Colour.RED],
    ids=["module", "function", "array", "list of modules", "enum"],
)
def test_what_is_not_plain_is_refused_by_name(value):
    with pytest.raises(TypeError, match="'options' of Recorded"):
        Recorded(2, options=value)


def test_recorded_values_are_no_references():
    options = {"a": [1]}
    network = Recorded(2, options=options)
    options["a"].append(2)
    assert network.config["init_args"]["options"] == {"a": [1]}


def test_undecorated_subclass_has_no_config():
    assert not hasattr(Undecorated(1), "config")
    assert config_of(Undecorated(1)) == {"class_path": f"{__name__}.Undecorated", "init_args": None}


def test_config_survives_pickle_and_deepcopy():
    network = Recorded(2)
    assert pickle.loads(pickle.dumps(network)).config == network.config
    assert copy.deepcopy(network).config == network.config


def test_star_arguments_cannot_be_recorded():
    with pytest.raises(TypeError, match="kwargs"):

        @records_config
        class Loose(nn.Module):
            def __init__(self, **kwargs):
                super().__init__()


def test_build_gives_an_equal_network(exported):
    network = exported(2, width=np.int64(5))
    again = build(network.config)
    assert type(again) is exported
    assert again.config == network.config
    again.load_state_dict(network.state_dict())


def test_build_knows_the_name_under_which_a_network_is_exported(exported):
    assert type(build({"class_path": "tsmodels.models.Recorded", "init_args": {"n_channels": 2}})) is exported


@pytest.mark.parametrize(
    "class_path",
    [
        "torch.nn.Linear",
        "os.system",
        "Recorded",
        "somewhere.else.Recorded",
        "tsmodels.models.importlib",
        "tsmodels.models._config.build",
        None,
        3,
    ],
)
def test_build_refuses_what_is_not_exported(exported, class_path):
    with pytest.raises(ValueError, match="only networks exported by"):
        build({"class_path": class_path, "init_args": {}})


def test_build_refuses_an_exported_object_that_is_no_network(monkeypatch):
    monkeypatch.setattr(models, "__all__", [*models.__all__, "system"])
    monkeypatch.setattr(models, "system", print, raising=False)
    with pytest.raises(ValueError, match="only networks exported"):
        build({"class_path": "tsmodels.models.system", "init_args": {}})


def test_build_refuses_a_network_saved_without_its_arguments(exported):
    with pytest.raises(ValueError, match="network=network"):
        build({"class_path": "tsmodels.models.Recorded", "init_args": None})


@pytest.mark.parametrize("config", [{}, {"init_args": {}}, {"class_path": "a", "other": 1}])
def test_build_names_the_keys_it_needs(config):
    with pytest.raises(ValueError, match="'class_path' and 'init_args'"):
        build(config)


@pytest.mark.parametrize("name", models.__all__)
def test_every_exported_network_is_rebuilt_from_its_config(name):
    facts = {"PLRNN": (2, 1), "ChimeraForReconstruction": (2, 12)}.get(name, (2, 12, 3))
    network = getattr(models, name)(*facts)
    again = build(network.config)
    again.load_state_dict(network.state_dict())
    assert again.config == network.config
