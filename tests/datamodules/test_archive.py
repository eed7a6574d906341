"""Where a data set is looked for, and what comes back. Downloads: test_download.py."""

import numpy as np
import pandas as pd
import pytest
import torch

from tsmodels_datamodules import ArchiveDataModule, DataNotFoundError, load_archive


@pytest.fixture
def put(write_ts):
    """Write a data set of six cases, all values `value`, into a folder."""

    def write(folder, value=1.0, name="Made"):
        for split in ("TRAIN", "TEST"):
            write_ts(folder / f"{name}_{split}.ts", np.full((6, 2, 4), value), list("aaabbb"))
        return folder

    return write


@pytest.fixture
def places(tmp_path, monkeypatch):
    """The folders that are looked in, in order, besides sktime's."""
    folders = {name: tmp_path / name for name in ("data_dir", "data", "cache")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setenv("TSMODELS_DATA", str(folders["data"]))
    monkeypatch.setenv("TSMODELS_CACHE", str(folders["cache"]))
    return folders


def offline(name, **arguments):
    return load_archive(name, download=False, **arguments)


class TestLookUp:
    def test_order(self, put, places):
        put(places["cache"] / "Made", 3)
        assert offline("Made", data_dir=places["data_dir"]).X_train[0, 0, 0] == 3
        put(places["data"] / "Made", 2)
        assert offline("Made", data_dir=places["data_dir"]).X_train[0, 0, 0] == 2
        put(places["data_dir"] / "Made", 1)
        found = offline("Made", data_dir=places["data_dir"])
        assert found.X_train[0, 0, 0] == 1 and found.source == str(places["data_dir"] / "Made")

    def test_bundled_data_come_after_the_environment_and_before_the_cache(self, put, places):
        bundled = offline("BasicMotions")
        assert "sktime" in bundled.source
        put(places["cache"] / "BasicMotions", name="BasicMotions")
        assert offline("BasicMotions").source == bundled.source
        put(places["data"] / "UEA" / "BasicMotions", name="BasicMotions")
        assert offline("BasicMotions").source == str(places["data"] / "UEA" / "BasicMotions")

    @pytest.mark.parametrize("layout", ["UCR/Made", "UEA/Made", "Made"])
    def test_layouts(self, put, places, layout):
        put(places["data"] / layout)
        assert offline("Made").source == str(places["data"] / layout)
        assert offline("Made", data_dir=str(places["data"])).source == str(places["data"] / layout)

    def test_archive_rules_out_the_other(self, put, places):
        put(places["data"] / "UCR" / "Made", 1)
        put(places["data"] / "UEA" / "Made", 2)
        assert offline("Made", archive="UEA").X_test[0, 0, 0] == 2
        assert offline("BasicMotions", archive="UEA").name == "BasicMotions"  # sktime's folder has no archives
        (places["data"] / "UEA" / "Made" / "Made_TEST.ts").unlink()
        with pytest.raises(DataNotFoundError):
            offline("Made", archive="UEA")

    def test_half_a_data_set_is_none(self, put, places):
        put(places["data_dir"] / "Made", 1)
        put(places["data"] / "Made", 2)
        (places["data_dir"] / "Made" / "Made_TEST.ts").unlink()
        assert offline("Made", data_dir=places["data_dir"]).X_train[0, 0, 0] == 2

    @pytest.mark.parametrize("source", ["data_dir", "TSMODELS_DATA"])
    def test_a_folder_that_is_none(self, source, tmp_path, monkeypatch):
        monkeypatch.setenv("TSMODELS_DATA", str(tmp_path / "absent"))
        data_dir = tmp_path / "absent" if source == "data_dir" else None
        with pytest.raises(DataNotFoundError, match=rf"{source} is .*absent.*no folder"):
            offline("BasicMotions", data_dir=data_dir)

    def test_not_found_says_where_and_what_is_near(self, put, places):
        put(places["data"] / "UCR" / "BasicMotifs", name="BasicMotifs")
        with pytest.raises(DataNotFoundError) as caught:
            offline("basicmotion", data_dir=places["data_dir"])
        message = str(caught.value)
        for part in (*map(str, places.values()), "BasicMotions", "BasicMotifs", "download=False", "TSMODELS_DATA"):
            assert part in message
        assert isinstance(caught.value, FileNotFoundError)

    @pytest.mark.parametrize("name", ["", "../secret", "a/b", "a.b", "C:x", "-x", 3, None])
    def test_names_that_are_none(self, name):
        with pytest.raises(ValueError, match="name must be the name of a data set"):
            offline(name)

    def test_unknown_archive(self):
        with pytest.raises(ValueError, match="archive must be one of 'UCR', 'UEA' or None, got 'UCI'"):
            offline("BasicMotions", archive="UCI")


class TestLoadArchive:
    def test_equal_length_is_numpy3d(self):
        data = offline("BasicMotions")
        assert data.name == "BasicMotions"
        assert data.X_train.shape == data.X_test.shape == (40, 6, 100) and data.X_train.dtype == np.float64
        assert data.y_train.dtype.kind == "U"
        assert set(data.y_train.tolist()) == {"Standing", "Running", "Walking", "Badminton"}

    def test_unequal_length_is_df_list(self):
        from sktime.datatypes import check_is_mtype

        data = offline("JapaneseVowels")
        assert len(data.X_train) == 270 and len(data.X_test) == 370
        assert data.X_train[0].shape == (20, 12)
        assert check_is_mtype(data.X_train, "df-list")

    @pytest.mark.parametrize("shorter", ["TRAIN", "TEST"])
    def test_both_splits_are_of_one_type(self, shorter, tmp_path, write_ts):
        for split in ("TRAIN", "TEST"):
            cases = np.ones((2, 1, 3 if split == shorter else 4))
            write_ts(tmp_path / "Made" / f"Made_{split}.ts", cases, ["a", "b"])
        data = offline("Made", data_dir=tmp_path)
        assert all(isinstance(case, pd.DataFrame) for case in data.X_train + data.X_test)

    def test_regression_sets_are_refused(self):
        with pytest.raises(ValueError, match=r"Tecator_TRAIN.ts: no classification problem"):
            offline("Tecator")


class TestArchiveDataModule:
    def test_construction_and_printing_read_nothing(self, places):
        data = ArchiveDataModule("Nowhere", download=False)
        assert str(data) == repr(data)
        assert repr(data).startswith("ArchiveDataModule(name='Nowhere', archive=None,")
        assert "val_fraction=0.2" in repr(data)

    @pytest.mark.parametrize("use", ["prepare_data", "setup", "test_dataloader"])
    def test_a_missing_set_is_one_clear_error(self, places, use):
        with pytest.raises(DataNotFoundError, match="'Nowhere' was not found"):
            getattr(ArchiveDataModule("Nowhere", download=False), use)()

    def test_the_test_file_is_read_by_the_loaders_of_test_cases_only(self, put, places):
        folder = put(places["data"] / "Made")
        (folder / "Made_TEST.ts").write_text("@data\nbroken")
        data = ArchiveDataModule("Made")
        data.prepare_data()
        data.setup("fit")
        assert (
            data.n_channels == 2 and len(list(data.train_dataloader())) == 1 and len(list(data.val_dataloader())) == 1
        )
        for use in (data.test_dataloader, data.predict_dataloader):
            with pytest.raises(ValueError, match=r"Made_TEST.ts"):
                use()

    def test_messages_name_the_split(self, places, write_ts):
        X = np.ones((4, 1, 3))
        X[1, 0, 2] = np.nan
        write_ts(places["data"] / "Made" / "Made_TRAIN.ts", X, list("aabb"))
        write_ts(places["data"] / "Made" / "Made_TEST.ts", X, list("aabc"))
        with pytest.raises(ValueError, match=r"the training split of Made has 1 missing values.*missing='interpolate'"):
            ArchiveDataModule("Made").setup()
        with pytest.raises(ValueError, match=r"the labels of the test split of Made .*do not have: 'c'"):
            ArchiveDataModule("Made", missing="interpolate").test_dataloader()

    def test_a_path_is_a_plain_string_in_the_checkpoint(self, put, places):
        put(places["data_dir"] / "Made")
        data = ArchiveDataModule("Made", data_dir=places["data_dir"], download=False)
        assert data.hparams["data_dir"] == str(places["data_dir"]) and data.n_channels == 2

    def test_a_checkpoint_is_enough_to_make_it_again(self, put, places, tmp_path):
        put(places["data_dir"] / "Made")
        data = ArchiveDataModule("Made", data_dir=places["data_dir"], batch_size=5, scaling="none")
        checkpoint = {"datamodule_hyper_parameters": dict(data.hparams), "pytorch-lightning_version": "2.6.6"}
        torch.save(checkpoint, tmp_path / "checkpoint")
        again = ArchiveDataModule.load_from_checkpoint(tmp_path / "checkpoint", weights_only=True)
        assert again.hparams == data.hparams and again.n_channels == 2

    def test_unequal_length_test_cases_longer_than_training_are_kept_whole(self):
        data = ArchiveDataModule("JapaneseVowels", val_fraction=None, batch_size=64)
        train, test = next(iter(data.train_dataloader())), next(iter(data.test_dataloader()))
        assert data.n_timepoints == 26 and train["x"].shape == (64, 26, 12) and test["x"].shape == (64, 29, 12)
        lengths = torch.cat([batch["lengths"] for batch in data.test_dataloader()])
        assert (lengths.min(), lengths.max()) == (7, 29)


class TestRealArchives:
    """Against the tables of the archives: cases, channels, longest training case, classes."""

    @pytest.mark.parametrize(
        ("name", "facts"),
        [
            ("PenDigits", (7494, 3498, 2, 8, 10)),
            ("JapaneseVowels", (270, 370, 12, 26, 9)),
            ("StandWalkJump", (12, 15, 4, 2500, 3)),
            ("GestureMidAirD1", (208, 130, 1, 360, 26)),
            ("GesturePebbleZ1", (132, 172, 1, 455, 6)),
            ("DodgerLoopDay", (78, 80, 1, 288, 7)),
        ],
    )
    def test_facts(self, archives, name, facts):
        data = ArchiveDataModule(name, val_fraction=None, missing="interpolate", download=False)
        n_test = sum(len(batch["y"]) for batch in data.test_dataloader())
        n_train = sum(len(batch["y"]) for batch in data.train_dataloader())
        assert (n_train, n_test, data.n_channels, data.n_timepoints, data.n_classes) == facts

    def test_missing_values_need_a_policy(self, archives):
        with pytest.raises(ValueError, match=r"DodgerLoopDay has 236 missing values"):
            ArchiveDataModule("DodgerLoopDay").setup()
        batch = next(iter(ArchiveDataModule("DodgerLoopDay", missing="zero").train_dataloader()))
        assert (batch["x"][~batch["mask"]] == 0).all() and not batch["mask"].all()

    def test_one_case_per_class_needs_training_without_validation(self, archives):
        with pytest.raises(ValueError, match="val_fraction=None"):
            ArchiveDataModule("Fungi").setup()
        assert ArchiveDataModule("Fungi", val_fraction=None).n_classes == 18

    @pytest.mark.slow
    @pytest.mark.parametrize("archive", ["UCR", "UEA"])
    def test_every_set_loads(self, archives, archive):
        names = sorted(folder.name for folder in (archives / archive).iterdir())
        assert names
        for name in names:
            data = load_archive(name, archive=archive, download=False)
            module = ArchiveDataModule(name, archive=archive, val_fraction=None, missing="interpolate")
            assert sum(len(batch["y"]) for batch in module.test_dataloader()) == len(data.X_test)
            assert set(data.y_test.tolist()) <= set(module.classes_.tolist())
