"""Data sets of the UCR and UEA archives for Lightning."""

from __future__ import annotations

import os
from dataclasses import asdict
from functools import partial

from tsmodels_datamodules._archive import find_archive
from tsmodels_datamodules._cases import Cases, TrainingCases
from tsmodels_datamodules._download import split_files
from tsmodels_datamodules._panel_module import LabelledPanelModule, LoadingOptions
from tsmodels_datamodules._ts_format import read_ts


class ArchiveDataModule(LabelledPanelModule):
    """A data set of the UCR or UEA archive, by name, with its default split.

    Parameters
    ----------
    name : str
        As in the archive, for instance ``"BasicMotions"``.
    archive, data_dir, download
        Where to look for the files and whether to download them; see :func:`load_archive`.
    val_fraction : float or None
        Share of the archive's training cases set aside for validation, stratified by class. None or 0: no validation.
    batch_size, scaling, missing, num_workers, seed
        As for :class:`PanelDataModule`, as are the batches and attributes.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range.

    Notes
    -----
    Nothing is read before it is needed: `prepare_data` looks for the files and downloads them if need be, the training
    file is read when the first fact or batch is asked for, the test file by ``test_dataloader`` and
    ``predict_dataloader``. These raise :class:`DataNotFoundError` if the data set is nowhere.

    Examples
    --------
    >>> from tsmodels_datamodules import ArchiveDataModule
    >>> data = ArchiveDataModule("BasicMotions")
    >>> data.n_channels, data.n_timepoints, data.classes_.tolist()
    (6, 100, ['Badminton', 'Running', 'Standing', 'Walking'])
    """

    def __init__(
        self,
        name: str,
        *,
        archive: str | None = None,
        data_dir: str | os.PathLike[str] | None = None,
        download: bool = True,
        val_fraction: float | None = 0.2,
        batch_size: int = 32,
        scaling: str = "standard",
        missing: str = "error",
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(LoadingOptions(val_fraction, batch_size, scaling, missing, num_workers, seed))
        data_dir = None if data_dir is None else os.fspath(data_dir)  # a Path is no plain value in a checkpoint
        where = {"name": name, "archive": archive, "data_dir": data_dir, "download": bool(download)}
        self.save_hyperparameters({**where, **asdict(self._options)})
        self.name = name
        self._train_file, self._test_file = split_files(name)
        self._find = partial(find_archive, **where)

    def prepare_data(self) -> None:
        """Look for the files and download them if need be."""
        self._find()

    def _read_train(self) -> TrainingCases:
        X, y = read_ts(self._find() / self._train_file)
        return TrainingCases.read(X, y, self._options.missing, **self._names("training"))

    def _read_test(self) -> Cases:
        X, y = read_ts(self._find() / self._test_file)
        return self._train.read_new(X, y, self._options.missing, **self._names("test"))

    def _names(self, split: str) -> dict[str, str]:
        """Return what messages call the cases and labels."""
        return {
            "name": f"the {split} split of {self.name}",
            "y_name": f"the labels of the {split} split of {self.name}",
        }
