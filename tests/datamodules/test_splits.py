import numpy as np
import pytest

from tsmodels_datamodules import stratified_split

CODES = {
    "balanced": np.repeat([0, 1, 2, 3], 10),
    "skewed": np.repeat([0, 1, 2], [40, 7, 3]),
    "pairs": np.repeat(np.arange(26), 2),
    "with a single": np.repeat([0, 1, 2], [9, 1, 5]),
    "two cases": np.array([0, 0]),
    "not from 0": np.repeat([-4, 8], 6),
}


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.2, 0.5, 0.95])
@pytest.mark.parametrize("codes", CODES.values(), ids=CODES)
def test_the_parts_are_disjoint_complete_and_of_the_right_size(codes, fraction):
    train, val = stratified_split(codes, fraction, seed=0)
    assert sorted([*train, *val]) == list(range(len(codes)))
    assert (np.diff(train) > 0).all() and (np.diff(val) > 0).all()
    assert set(codes[train]) == set(codes)  # every class keeps a training case
    most = len(codes) - len(set(codes.tolist()))
    assert len(val) == min(max(round(fraction * len(codes)), 1), most)


@pytest.mark.parametrize("seed", range(5))
def test_classes_are_drawn_in_proportion(seed):
    codes = np.repeat([0, 1, 2], [50, 30, 20])
    _, val = stratified_split(codes, 0.3, seed)
    assert np.bincount(codes[val]).tolist() == [15, 9, 6]


def test_small_classes_share_what_is_left_over():
    """26 classes of two at 0.2: rounding each class alone would leave validation empty."""
    drawn = np.zeros(26, dtype=int)
    for seed in range(40):
        _, val = stratified_split(CODES["pairs"], 0.2, seed)
        assert len(val) == 10
        drawn += np.bincount(CODES["pairs"][val], minlength=26)
    assert drawn.min() > 0  # ties are broken by chance, not always for the first classes


def test_a_class_of_one_stays_in_training():
    for seed in range(10):
        _, val = stratified_split(CODES["with a single"], 0.5, seed)
        assert 9 not in val


def test_the_seed_alone_decides():
    codes = CODES["balanced"]
    np.random.seed(1)  # noqa: NPY002  the global generator must not matter
    first = stratified_split(codes, 0.2, 5)
    np.random.seed(2)  # noqa: NPY002
    again, other = stratified_split(codes.tolist(), 0.2, 5), stratified_split(codes, 0.2, 6)
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
    assert not np.array_equal(first[1], other[1])


def test_the_names_of_the_classes_do_not_matter():
    codes = CODES["skewed"]
    plain, named = stratified_split(codes, 0.2, 0), stratified_split(np.array(["a", "b", "c"])[codes], 0.2, 0)
    assert np.array_equal(plain[1], named[1])


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_fractions_out_of_range(fraction):
    with pytest.raises(ValueError, match="val_fraction must lie strictly between 0 and 1"):
        stratified_split([0, 0, 1, 1], fraction, 0)


def test_no_class_can_spare_a_case():
    with pytest.raises(ValueError, match=r"no class has two cases.*val_fraction=None"):
        stratified_split([0, 1, 2], 0.5, 0)
