"""MambaForClassification beyond the contract of all networks."""

import pytest
import torch

from tsmodels.models import MambaForClassification


def test_sizes():
    net = MambaForClassification(3, 20, 4, d_model=40, n_layers=3)
    assert len(net.blocks) == 3
    mixer = net.blocks[0].forward_mixer
    assert net.blocks[0].backward_mixer is None
    assert mixer.A_log.shape == (80, 16)
    assert mixer.dt_proj.in_features == 3  # a sixteenth of the width, rounded up
    assert MambaForClassification(3, 20, 4, dt_rank=7).blocks[0].forward_mixer.dt_proj.in_features == 7
    single, double = (MambaForClassification(3, 20, 4, bidirectional=both) for both in (False, True))
    counts = [sum(p.numel() for p in each.blocks.parameters()) for each in (single, double)]
    assert counts[1] == 2 * counts[0] - 2 * 64  # two mixers to one norm in each of two blocks


def test_state_parameters_are_named_for_the_optimiser():
    net = MambaForClassification(3, 20, 4, d_model=8)
    assert {name for module in net.modules() for name in getattr(module, "no_weight_decay", ())} == {
        "A_log", "D", "dt_bias",
    }  # fmt: skip


def test_the_choice_of_direction_reaches_the_mixers():
    torch.manual_seed(0)
    net = MambaForClassification(3, 20, 4, d_model=8, bidirectional=True)
    assert [block.forward_mixer.reverse for block in net.blocks] == [False, False]
    assert [block.backward_mixer.reverse for block in net.blocks] == [True, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_conv": 0}, "d_conv must be at least 1"),
        ({"dt_rank": "full"}, "dt_rank must be 'auto' or at least 1"),
        ({"dt_min": 0.5}, "0 < low <= high"),
        ({"pooling": "attention", "d_model": 6}, "divisible by 4 heads"),
    ],
)
def test_bad_choices_are_named_when_the_network_is_made(change, message):
    with pytest.raises(ValueError, match=message):
        MambaForClassification(3, 20, 4, **change)
