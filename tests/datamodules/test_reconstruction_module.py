"""Windows to reconstruct: where they lie, what is learned from which part, gaps, orders, what is refused."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch

from tsmodels_datamodules import ReconstructionDataModule

N, WINDOW = 100, 6


def ramp(n=N, channels=2):
    """Return a series whose first channel counts the time points."""
    return np.arange(n)[:, None] + 1000.0 * np.arange(channels)


def plain(y, **options):
    return ReconstructionDataModule(y, WINDOW, **({"scaling": "none", "batch_size": 8} | options))


def windows(loader):
    return [window[:, 0].tolist() for batch in loader for window in batch["x"]]


def expected(start, stop, stride=1):
    return [[float(t) for t in range(s, s + WINDOW)] for s in range(start, stop - WINDOW + 1, stride)]


def test_every_window_lies_in_one_part():
    data = plain(ramp(), split=(0.6, 0.1, 0.3), stride=3)
    assert sorted(windows(data.train_dataloader())) == expected(0, 60, stride=3)
    assert windows(data.val_dataloader()) == expected(60, 70)
    assert windows(data.test_dataloader()) == windows(data.predict_dataloader()) == expected(70, 100)
    assert data.n_windows == {"train": 19, "val": 5, "test": 25}
    for batch in data.train_dataloader():
        assert batch.keys() == {"x"} and batch["x"].dtype is torch.float32
        assert batch["x"].shape[1:] == (WINDOW, 2) and batch["x"].is_contiguous()


def test_without_a_test_part_everything_is_predicted():
    data = plain(ramp(), split=(0.8, 0.2, 0.0))
    assert windows(data.predict_dataloader()) == expected(0, 100)
    with pytest.raises(ValueError, match="there is no test part"):
        data.test_dataloader()
    assert plain(ramp(), split=(1.0, 0.0, 0.0)).val_dataloader() == []


def test_no_window_crosses_series():
    short = ramp(20) + 500
    data = plain([ramp(30), short], split=(1.0, 0.0, 0.0))
    both = expected(0, 30) + [[t + 500 for t in window] for window in expected(0, 20)]
    assert sorted(windows(data.train_dataloader())) == sorted(both)
    assert (data.n_series, data.n_channels, data.n_timepoints) == (2, 2, WINDOW)


def test_nothing_is_learned_from_later_parts():
    y = np.random.default_rng(0).normal(size=(N, 2))
    changed = y.copy()
    changed[70:] += 1e4
    one, other = (ReconstructionDataModule(each, WINDOW) for each in (y, changed))
    np.testing.assert_allclose(one.scaler.mean_, y[:70].mean(0))
    np.testing.assert_array_equal(one.scaler.mean_, other.scaler.mean_)
    assert windows(one.train_dataloader()) == windows(other.train_dataloader())


def test_orders_follow_from_the_seed_alone():
    def passes(seed):
        loader = plain(ramp(), seed=seed).train_dataloader()
        return [windows(loader) for _ in range(2)]

    state = torch.get_rng_state()
    first, again, other = passes(1), passes(1), passes(2)
    assert first == again != other and first[0] != first[1] and sorted(first[0]) == sorted(other[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_gaps_are_masked_or_refused():
    y = ramp()
    y[3, 1] = np.nan
    batches = list(plain(y, missing="mask").train_dataloader())
    for batch in batches:
        assert batch["mask"].shape == batch["x"].shape and not batch["x"].isnan().any()
        assert torch.equal(~batch["mask"][..., 1], batch["x"][..., 0] == 3) and batch["mask"][..., 0].all()
    assert "mask" not in next(iter(plain(ramp(), missing="mask").train_dataloader()))
    with pytest.raises(ValueError, match="1 missing values"):
        plain(y)


def test_containers_setup_and_pickles():
    frame = pd.DataFrame(ramp(), pd.date_range("2020", periods=N, freq="D"))
    data = plain(frame, split=("2020-02-20", "2020-03-01"))
    data.setup("fit")
    assert windows(data.val_dataloader()) == expected(50, 60)
    assert windows(pickle.loads(pickle.dumps(data)).test_dataloader()) == windows(data.test_dataloader())
    assert str(data).startswith("ReconstructionDataModule(window=6, stride=1, split=")
    assert data.hparams["window"] == 6 and "y" not in data.hparams


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "stride"),
        ({"batch_size": 0}, "batch_size"),
        ({"scaling": "minmax"}, "scaling must be one of"),
        ({"missing": "ffill"}, "missing must be one of 'error', 'mask'"),
        ({"split": (0.5, 0.6, 0.1)}, "must sum to 1"),
        (
            {"split": (0.9, 0.05, 0.05)},
            r"the val part has at most 5 time points of a series, a window needs window = 6",
        ),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        plain(ramp(), **options)
    with pytest.raises(ValueError, match="the train part has at most 4"):
        plain(ramp(4), split=(1.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="part must be one of"):
        plain(ramp()).dataset("all")
