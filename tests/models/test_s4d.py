"""S4DForClassification beyond the contract of all networks."""

import pytest
import torch
from torch import nn

from tsmodels.layers import diagonal_eigenvalues
from tsmodels.models import S4DForClassification


def test_choices_reach_the_layers():
    net = S4DForClassification(
        3, 20, 4, d_model=8, d_state=6, n_layers=3, init="inv", discretization="bilinear", dt_min=0.3, dt_max=0.3
    )
    assert len(net.blocks) == 3
    for block in net.blocks:
        assert block.ssm.discretization == "bilinear"
        expected = diagonal_eigenvalues("inv", 6).imag.float()
        torch.testing.assert_close(block.ssm.frequency.detach(), expected.repeat(8, 1))
        torch.testing.assert_close(block.ssm.log_dt.exp(), torch.full((8,), 0.3))
        assert block.ssm.C.shape == (1, 8, 3, 2)
    assert S4DForClassification(3, 20, 4, bidirectional=True).blocks[0].ssm.C.shape == (2, 64, 32, 2)


def test_the_norm_stands_before_or_behind():
    before, behind = (S4DForClassification(3, 20, 4, d_model=8, prenorm=prenorm) for prenorm in (True, False))
    assert isinstance(before.norm, nn.LayerNorm)
    assert not list(behind.norm.parameters())
    tokens = behind.blocks[0](torch.randn(2, 5, 8))
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(2, 5), rtol=0, atol=1e-6)


def test_parameters_of_the_recurrence_are_named_for_the_optimiser():
    net = S4DForClassification(3, 20, 4, d_model=8)
    assert {name for module in net.modules() for name in getattr(module, "no_weight_decay", ())} == {
        "log_dt", "log_decay", "frequency", "C", "D",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init": "fourier"}, "init must be one of"),
        ({"discretization": "euler"}, "discretization must be one of"),
        ({"d_state": 5}, "d_state must be a positive even number"),
        ({"dt_max": 1e-4}, "0 < dt_min <= dt_max"),
    ],
)
def test_bad_choices_are_named_when_the_network_is_made(change, message):
    with pytest.raises(ValueError, match=message):
        S4DForClassification(3, 20, 4, **change)
