"""The draws for large sets."""

import numpy as np
import pytest

from tsmodels.shapelets._caps import in_turn, in_turn_by_channel, references_of


def test_strata_take_turns_until_they_are_used_up():
    strata = np.array([0] * 7 + [2] * 3 + [5])
    order = in_turn(strata, np.random.default_rng(0))
    assert sorted(order) == list(range(11))
    assert strata[order].tolist() == [0, 2, 5, 0, 2, 0, 2, 0, 0, 0, 0]
    assert order.tolist() != in_turn(strata, np.random.default_rng(1)).tolist()


def test_classes_take_turns_and_channels_within_them():
    codes, channels = np.repeat([0, 1], [8, 4]), np.tile([0, 1, 2, 3], 3)
    order = in_turn_by_channel(codes, channels, np.random.default_rng(0))
    assert sorted(order) == list(range(12))
    assert codes[order].tolist() == [0, 1] * 4 + [0] * 4
    of_first = channels[order][codes[order] == 0].tolist()
    assert of_first == [0, 1, 2, 3, 0, 1, 2, 3]
    assert channels[order][codes[order] == 1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("max_reference", [None, 40, 8, 5])
def test_references_are_half_of_the_class_half_of_the_others(max_reference):
    codes = np.repeat([0, 1, 2], [10, 6, 4])
    references, offsets = references_of(codes, max_reference, np.random.default_rng(0))
    half = 20 if max_reference is None else max_reference // 2
    for code, size in enumerate((10, 6, 4)):
        mine = references[offsets[code] : offsets[code + 1]]
        assert (np.diff(mine) > 0).all()
        own = (codes[mine] == code).sum()
        assert own == min(size, half)
        assert len(mine) - own == min(20 - size, 20 if max_reference is None else max_reference - half)
        others = np.bincount(codes[mine], minlength=3)[[each for each in range(3) if each != code]]
        if max_reference in (5, 8):
            assert abs(others[0] - others[1]) <= 1
    assert offsets[-1] == len(references)


def test_references_differ_by_seed_and_not_otherwise():
    codes = np.repeat([0, 1], 30)
    one, other, third = (references_of(codes, 10, np.random.default_rng(seed))[0] for seed in (0, 0, 1))
    assert one.tolist() == other.tolist() != third.tolist()
