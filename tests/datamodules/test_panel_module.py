"""What is particular to PanelDataModule; the rules of all datamodules are in test_contract.py."""

import numpy as np
import pandas as pd
import pytest
import torch

from tsmodels_datamodules import PanelDataModule

nan = np.nan


@pytest.fixture
def labelled():
    """Twenty cases of two channels and seven time points, two classes."""
    return np.random.default_rng(0).normal(3, 2, size=(20, 2, 7)), np.repeat(["no", "yes"], 10)


def gather(loader, key="x"):
    return torch.cat([batch[key] for batch in loader])


class TestLabels:
    @pytest.mark.parametrize(
        ("y", "classes"),
        [
            (np.array(["b", "a", "b", "c", "a", "c"]), np.array(["a", "b", "c"])),
            (np.array([5, -1, 5, 7, -1, 7], dtype=np.int16), np.array([-1, 5, 7], dtype=np.int16)),
            (np.array([True, False, True, True, False, True]), np.array([False, True])),
            (np.array(["b", "a", "b", "c", "a", "c"], dtype=object), np.array(["a", "b", "c"], dtype=object)),
            (np.array([2.0, 1.0, 2.0, 1.0, 1.0, 2.0]), np.array([1.0, 2.0])),
            ([3, 1, 3, 1, 1, 3], np.array([1, 3])),
            (torch.tensor([3, 1, 3, 1, 1, 3]), np.array([1, 3])),
            (pd.Series([3, 1, 3, 1, 1, 3], index=list("fedcba")), np.array([1, 3])),
        ],
    )
    def test_classes_keep_their_dtype(self, y, classes, ragged):
        data = PanelDataModule(ragged, y, val_fraction=None, batch_size=6)
        assert data.classes_.dtype == classes.dtype and data.classes_.tolist() == classes.tolist()
        assert data.n_classes == len(classes)
        batch = next(iter(data.train_dataloader()))
        assert batch["y"].dtype is torch.int64
        # every case keeps its label: cases are told apart by their first value
        label_of = {float(np.float32(case[0, 0])): label for case, label in zip(ragged, np.asarray(y), strict=True)}
        unscaled = batch["x"][:, 0, 0].double() * data.scaler.scale_[0] + data.scaler.mean_[0]
        for value, code in zip(unscaled.tolist(), batch["y"].tolist(), strict=True):
            nearest = min(label_of, key=lambda known: abs(known - value))
            assert data.classes_[code] == label_of[nearest]

    def test_pandas_strings(self, ragged):
        data = PanelDataModule(ragged, pd.Series(list("babaab"), dtype="string"), val_fraction=None)
        assert data.classes_.tolist() == ["a", "b"]
        data = PanelDataModule(ragged, pd.Categorical(list("babaab")), val_fraction=None)
        assert data.classes_.tolist() == ["a", "b"]

    @pytest.mark.parametrize(
        ("y", "error", "message"),
        [
            (None, TypeError, "y is missing: pass one class label per case of X"),
            ([0, 1], ValueError, "X has 6 cases but y has 2 labels"),
            (np.zeros((6, 1)), ValueError, r"y has shape \(6, 1\), expected one label per case.*y.ravel\(\)"),
            (np.zeros((6, 2)), ValueError, r"y has shape \(6, 2\)"),
            ([1, 1, 1, 1, 1, 1], ValueError, "y has only one class, .*at least two classes"),
            ([0.0, 1.0, nan, 1.0, 0.0, 0.0], ValueError, "y has missing labels, the first at position 2"),
            (np.array(["a", None, "b", "a", "b", "a"], dtype=object), ValueError, "missing labels, .* position 1"),
            ([0.5, 1.0, 2.0, 1.0, 0.0, 0.0], ValueError, "numbers with a fraction"),
            (np.array([1j, 0, 0, 0, 0, 0]), TypeError, "y holds complex128"),
            (np.array(["a", 1, "a", 1, 1, 1], dtype=object), TypeError, "no common order: convert them all to strings"),
        ],
    )
    def test_labels_that_are_none(self, y, error, message, ragged):
        with pytest.raises(error, match=message):
            PanelDataModule(ragged, y)

    def test_unseen_test_labels_are_named(self, labelled):
        X, y = labelled
        with pytest.raises(ValueError, match=r"y_test has labels .* do not have: 'maybe', 'never'; known are 'no'"):
            PanelDataModule(X, y, X[:3], ["yes", "never", "maybe"])
        with pytest.raises(ValueError, match="y_test has labels that the training cases do not have: 0, 1"):
            PanelDataModule(X, y, X[:2], [0, 1])

    def test_a_class_that_the_test_cases_lack_keeps_the_codes(self, labelled):
        X, y = labelled
        data = PanelDataModule(X, y, X[:3], ["yes", "yes", "yes"])
        assert gather(data.test_dataloader(), "y").tolist() == [1, 1, 1]


class TestData:
    def test_every_container(self, ragged):
        from sktime.datatypes import convert_to

        frames = [pd.DataFrame(case.T, columns=["u", "v"]) for case in ragged]
        reference = PanelDataModule(ragged, list("ababab"), val_fraction=None)
        for mtype in ("df-list", "pd-multiindex", "nested_univ"):
            data = PanelDataModule(convert_to(frames, mtype), list("ababab"), val_fraction=None)
            for key in ("x", "lengths", "y"):
                assert torch.equal(gather(data.train_dataloader(), key), gather(reference.train_dataloader(), key))

    def test_equal_length_has_neither_lengths_nor_mask(self, labelled):
        X, y = labelled
        batch = next(iter(PanelDataModule(X, y).train_dataloader()))
        assert set(batch) == {"x", "y"} and batch["x"].dtype is torch.float32

    def test_all_batches_are_padded_to_the_longest_training_case(self, ragged):
        data = PanelDataModule(ragged, list("ababab"), ragged[:2], list("ab"), val_fraction=1 / 3, batch_size=1)
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
            for batch in loader:
                assert batch["x"].shape[1] == data.n_timepoints == 5
                assert (batch["x"][0, batch["lengths"][0] :] == 0).all()

    def test_the_scaler_sees_the_training_part_only(self, labelled):
        X, y = labelled
        data = PanelDataModule(X, y, val_fraction=0.3, seed=2)
        train_cases = data.train_dataloader().dataset
        unscaled = train_cases.tensors["x"].double() * torch.tensor(data.scaler.scale_) + torch.tensor(
            data.scaler.mean_
        )
        part = unscaled.numpy().transpose(0, 2, 1)
        assert len(part) == 14
        np.testing.assert_allclose(data.scaler.mean_, part.mean((0, 2)), rtol=1e-5)
        assert abs(data.scaler.mean_ - X.mean((0, 2))).min() > 1e-3

    def test_changed_validation_cases_change_nothing_in_training(self, labelled):
        X, y = labelled
        plain = PanelDataModule(X, y)
        val_cases = gather(plain.val_dataloader())
        rows = [i for i, x in enumerate(plain.transform(X).tensors["x"]) if any(torch.equal(x, v) for v in val_cases)]
        assert len(rows) == 4
        changed = X.copy()
        changed[rows] *= 1000
        other = PanelDataModule(changed, y)  # the same split, which depends on y and seed alone
        assert torch.equal(gather(plain.train_dataloader()), gather(other.train_dataloader()))
        assert not torch.equal(val_cases, gather(other.val_dataloader()))

    def test_zero_policy_gives_masks_and_zeros_after_scaling(self, labelled):
        X, y = labelled
        X[::3, 1, 2] = nan
        data = PanelDataModule(X, y, X, missing="zero", val_fraction=None)
        batch = next(iter(data.predict_dataloader()))
        np.testing.assert_array_equal(batch["mask"].numpy(), ~np.isnan(X).transpose(0, 2, 1))
        assert (batch["x"][~batch["mask"]] == 0).all()
        np.testing.assert_allclose(data.scaler.mean_[1], np.nanmean(X[:, 1]), rtol=1e-5)

    def test_zero_policy_gives_masks_even_if_nothing_is_missing(self, labelled):
        X, y = labelled
        assert next(iter(PanelDataModule(X, y, missing="zero").train_dataloader()))["mask"].all()

    def test_interpolation_reaches_all_parts(self, labelled):
        X, y = labelled
        X[:, 0, 3] = nan
        data = PanelDataModule(X, y, X, y, missing="interpolate", scaling="none")
        for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
            for batch in loader:
                middle = (batch["x"][:, 2, 0] + batch["x"][:, 4, 0]) / 2
                torch.testing.assert_close(batch["x"][:, 3, 0], middle)
                assert "mask" not in batch

    def test_nan_padding_is_no_length(self, labelled):
        X, y = labelled
        X[0, :, 5:] = nan
        with pytest.raises(ValueError, match=r"list of arrays .* if NaN was used as padding"):
            PanelDataModule(X, y)

    def test_no_validation(self, labelled):
        X, y = labelled
        for val_fraction in (None, 0):
            data = PanelDataModule(X, y, val_fraction=val_fraction)
            assert data.val_dataloader() == [] and len(data.train_dataloader().dataset) == 20

    def test_prediction_needs_no_labels_but_testing_does(self, labelled):
        X, y = labelled
        data = PanelDataModule(X, y, X[:3])
        assert "y" not in next(iter(data.predict_dataloader()))
        with pytest.raises(ValueError, match="no labels: pass y_test, or use predict_dataloader"):
            data.test_dataloader()
        with pytest.raises(ValueError, match="no test cases: pass X_test"):
            PanelDataModule(X, y).predict_dataloader()

    def test_the_data_handed_in_are_left_alone(self, labelled):
        X, y = labelled
        before = X.copy()
        data = PanelDataModule(X, y, X)
        data.setup()
        next(iter(data.train_dataloader()))["x"].fill_(7)
        np.testing.assert_array_equal(X, before)
        X[:] = 0
        assert gather(data.predict_dataloader()).std() > 0.5


class TestTransform:
    def test_new_cases_are_treated_as_test_cases(self, ragged):
        data = PanelDataModule(ragged, list("ababab"), ragged, list("ababab"), val_fraction=None)
        new, test = data.transform(ragged), data.test_dataloader().dataset
        assert set(new.tensors) == {"x", "lengths"}
        assert all(torch.equal(new.tensors[key], test.tensors[key]) for key in new.tensors)

    def test_lengths_of_new_cases(self, ragged, cube):
        y = list("ababab")
        of_unequal = PanelDataModule(ragged, y, val_fraction=None)
        short = of_unequal.transform([case[:, :1] for case in ragged])
        assert short.tensors["x"].shape[1] == 5 and short.tensors["lengths"].tolist() == [1] * 6
        longer = of_unequal.transform(np.tile(cube, 2))
        assert longer.tensors["x"].shape[1] == 10 and longer.tensors["lengths"].tolist() == [10] * 6
        of_equal = PanelDataModule(cube, y, val_fraction=None)
        assert "lengths" not in of_equal.transform(cube).tensors
        assert of_equal.transform(ragged).tensors["lengths"].tolist() == [4, 2, 5, 1, 3, 5]

    def test_other_channels_and_missing_values(self, labelled):
        X, y = labelled
        data = PanelDataModule(X, y)
        with pytest.raises(ValueError, match="X has 1 channels, the training cases have 2"):
            data.transform(X[:, :1])
        with pytest.raises(ValueError, match="X has 280 missing values"):
            data.transform(X * nan)


class TestArguments:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"val_fraction": 1}, ValueError, "val_fraction must lie strictly between 0 and 1"),
            ({"val_fraction": -0.1}, ValueError, "val_fraction must lie strictly between 0 and 1"),
            ({"val_fraction": nan}, ValueError, "val_fraction must lie strictly between 0 and 1"),
            ({"val_fraction": "0.2"}, TypeError, "val_fraction must be a number or None, got '0.2'"),
            ({"val_fraction": True}, TypeError, "val_fraction must be a number"),
            ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
            ({"batch_size": 2.0}, TypeError, "batch_size must be an integer, got 2.0"),
            ({"num_workers": -1}, ValueError, "num_workers must be at least 0"),
            ({"seed": -1}, ValueError, "seed must be at least 0"),
            ({"seed": None}, TypeError, "seed must be an integer, got None"),
            ({"scaling": "minmax"}, ValueError, "scaling must be one of 'standard', 'none', got 'minmax'"),
            ({"missing": "drop"}, ValueError, "missing must be one of 'error', 'interpolate', 'zero', got 'drop'"),
        ],
    )
    def test_options_out_of_range(self, options, error, message, labelled):
        with pytest.raises(error, match=message):
            PanelDataModule(*labelled, **options)

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (lambda X, y: (None, y), TypeError, "X is missing"),
            (lambda X, y: (X, y, None, y), TypeError, "y_test was given without X_test"),
            (lambda X, y: (X[:, 0], y), ValueError, r"X has 2 dimensions .*X\[:, None, :\]"),
            (lambda X, y: (X, y, X[:, 0]), ValueError, r"X_test has 2 dimensions"),
            (lambda X, y: (X, y, X[:, :1], y), ValueError, "X_test has 1 channels, the training cases have 2"),
            (lambda X, y: (X, y, X, y[:5]), ValueError, "X_test has 20 cases but y_test has 5 labels"),
            (lambda X, y: (X, y, X * nan), ValueError, "X_test has 280 missing values"),
            (lambda X, y: (X / 0, y), ValueError, "X holds values that are infinite"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:divide by zero")
    def test_data_are_checked_at_once(self, arguments, error, message, labelled):
        with pytest.raises(error, match=message):
            PanelDataModule(*arguments(*labelled))

    def test_no_case_to_spare_for_validation(self, cube):
        with pytest.raises(ValueError, match=r"no class has two cases.*val_fraction=None"):
            PanelDataModule(cube, range(6)).setup()
        assert PanelDataModule(cube, range(6), val_fraction=None).n_classes == 6

    def test_numpy_numbers_become_plain(self, labelled):
        options = {"val_fraction": np.float32(0.5), "batch_size": np.int64(3), "seed": np.uint8(4)}
        data = PanelDataModule(*labelled, **options)
        assert dict(data.hparams) == {
            "val_fraction": 0.5,
            "batch_size": 3,
            "scaling": "standard",
            "missing": "error",
            "num_workers": 0,
            "seed": 4,
        }
        assert {type(value) for value in data.hparams.values()} == {float, int, str}
