"""Missing values, datasets and loaders."""

import pickle
import random

import numpy as np
import pytest
import torch

from tsmodels_datamodules import PanelDataset, apply_missing, panel_loader, to_panel

nan = np.nan


def same(left, right):
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in ("x", "lengths", "mask"))


class TestPanel:
    def test_take_keeps_order_and_time_axis(self, ragged):
        panel = to_panel(ragged)
        taken = panel.take([3, 1])
        assert taken.lengths.tolist() == [1, 2] and taken.n_timepoints == 5
        assert torch.equal(taken.x, panel.x[[3, 1]]) and torch.equal(taken.mask, panel.mask[[3, 1]])

    def test_take_refuses_a_mask(self, ragged):
        with pytest.raises(TypeError, match="positions"):
            to_panel(ragged).take(np.array([True, False] * 3))

    def test_take_nothing(self, ragged):
        assert to_panel(ragged).take([]).n_cases == 0

    def test_pad_to_is_padding(self, ragged):
        panel = to_panel(ragged)
        padded = panel.pad_to(8)
        assert padded.n_timepoints == 8 and torch.equal(padded.lengths, panel.lengths)
        assert torch.equal(padded.x[:, :5], panel.x) and (padded.x[:, 5:] == 0).all()
        assert torch.equal(padded.mask[:, :5], panel.mask) and not padded.mask[:, 5:].any()
        assert not padded.has_missing

    def test_pad_to_never_cuts(self, ragged):
        panel = to_panel(ragged)
        assert same(panel.pad_to(3), panel)

    def test_valid(self, ragged):
        ragged[0][:, 1] = nan  # missing, yet within the case
        panel = to_panel(ragged)
        assert panel.valid().shape == panel.x.shape
        assert torch.equal(panel.valid().sum(1)[:, 0], panel.lengths)
        assert panel.valid()[0, 1].all() and not panel.mask[0, 1].any()

    def test_a_frozen_panel_pickles(self, ragged):
        assert same(pickle.loads(pickle.dumps(to_panel(ragged))), to_panel(ragged))


class TestApplyMissing:
    @pytest.mark.parametrize("policy", ["error", "interpolate", "zero"])
    def test_complete_panels_pass_unchanged(self, policy, ragged):
        panel = to_panel(ragged)
        assert same(apply_missing(panel, policy), panel)

    def test_error_names_the_first_place_and_the_remedies(self, ragged):
        ragged[2][1, 3] = ragged[4][0, 0] = nan
        with pytest.raises(ValueError, match=r"X_test has 2 missing values.*case 2, channel 1, time point 3") as caught:
            apply_missing(to_panel(ragged), "error", name="X_test")
        for remedy in ("missing='interpolate'", "missing='zero'", "list of arrays"):
            assert remedy in str(caught.value)

    def test_interpolation_by_hand(self):
        X = [
            np.array([[nan, 1.0, nan, nan, 4.0, nan], [0.0, 0, 0, 0, 0, 0]]),
            np.array([[nan, 5.0, nan], [1.0, nan, 3.0]]),
        ]
        panel = apply_missing(to_panel(X), "interpolate")
        expected = torch.tensor(
            [
                [[1.0, 0], [1, 0], [2, 0], [3, 0], [4, 0], [4, 0]],
                [[5.0, 1], [5, 2], [5, 3], [0, 0], [0, 0], [0, 0]],
            ]
        )
        torch.testing.assert_close(panel.x, expected)
        assert panel.lengths.tolist() == [6, 3]
        assert not panel.has_missing and torch.equal(panel.mask, panel.valid())

    def test_interpolation_leaves_its_input_alone(self, ragged):
        ragged[0][0, 1] = nan
        panel = to_panel(ragged)
        apply_missing(panel, "interpolate")
        assert same(panel, to_panel(ragged))

    def test_a_channel_without_any_value(self, ragged):
        ragged[2][1] = nan
        with pytest.raises(ValueError, match=r"channel 1 of case 2 of X has no observed value.*missing='zero'"):
            apply_missing(to_panel(ragged), "interpolate")

    def test_zero_keeps_the_mask(self, ragged):
        ragged[2][1] = nan
        panel = apply_missing(to_panel(ragged), "zero")
        assert panel.has_missing and (panel.x[2, :, 1] == 0).all() and not panel.mask[2, :, 1].any()

    def test_unknown_policy(self, ragged):
        with pytest.raises(ValueError, match=r"missing must be one of 'error', 'interpolate', 'zero', got 'drop'"):
            apply_missing(to_panel(ragged), "drop")


class TestPanelDataset:
    def test_keys_follow_the_data_and_the_arguments(self, cube, ragged):
        assert set(PanelDataset(to_panel(cube))[0]) == {"x"}
        assert set(PanelDataset(to_panel(ragged))[0]) == {"x", "lengths"}
        assert set(PanelDataset(to_panel(cube), range(6), with_lengths=True, with_mask=True)[0]) == {
            "x",
            "lengths",
            "mask",
            "y",
        }
        assert set(PanelDataset(to_panel(ragged), with_lengths=False)[0]) == {"x"}

    def test_a_batch_is_the_items_stacked(self, ragged):
        dataset = PanelDataset(to_panel(ragged), np.arange(6, dtype=np.int8), with_mask=True)
        batch, items = dataset.__getitems__([4, 0, 4]), [dataset[4], dataset[0], dataset[4]]
        assert len(dataset) == 6
        for key, tensor in batch.items():
            assert torch.equal(tensor, torch.stack([item[key] for item in items]))
        assert batch["y"].dtype is torch.int64 and batch["y"].tolist() == [4, 0, 4]

    def test_subset_and_without(self, ragged):
        dataset = PanelDataset(to_panel(ragged), range(6))
        assert dataset.subset([5, 2])[0]["y"] == 5
        assert set(dataset.without("y")[0]) == {"x", "lengths"} and set(dataset[0]) == {"x", "lengths", "y"}

    def test_read_only_and_real_targets(self, cube):
        y = np.linspace(0, 1, 6)
        y.flags.writeable = False
        assert PanelDataset(to_panel(cube), y)[5]["y"] == 1.0

    def test_wrong_number_of_targets(self, cube):
        with pytest.raises(ValueError, match="y has 5 entries for 6 cases"):
            PanelDataset(to_panel(cube), range(5))

    def test_pickles(self, ragged):
        dataset = PanelDataset(to_panel(ragged), range(6))
        again = pickle.loads(pickle.dumps(dataset))
        assert all(torch.equal(again.tensors[key], tensor) for key, tensor in dataset.tensors.items())


def orders(loader, passes=3):
    return [torch.cat([batch["y"] for batch in loader]).tolist() for _ in range(passes)]


@pytest.fixture
def numbered():
    """Forty cases, y their number."""
    return PanelDataset(to_panel(np.zeros((40, 1, 3))), range(40))


class TestPanelLoader:
    def test_in_order_by_default(self, numbered):
        loader = panel_loader(numbered, 16)
        assert [len(batch["y"]) for batch in loader] == [16, 16, 8]
        assert orders(loader) == [list(range(40))] * 3

    def test_every_pass_a_new_order_that_follows_from_the_seed(self, numbered):
        first = orders(panel_loader(numbered, 16, shuffle=True, seed=3))
        assert all(sorted(order) == list(range(40)) for order in first)
        assert len({tuple(order) for order in first}) == 3
        assert orders(panel_loader(numbered, 16, shuffle=True, seed=3)) == first
        assert orders(panel_loader(numbered, 16, shuffle=True, seed=4)) != first

    @pytest.mark.parametrize("shuffle", [False, True])
    def test_global_generators_are_left_alone(self, numbered, shuffle):
        before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        orders(panel_loader(numbered, 16, shuffle=shuffle))
        assert torch.equal(torch.get_rng_state(), before[0])
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]  # noqa: NPY002
