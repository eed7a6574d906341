"""Labelled collections of series for Lightning."""

from __future__ import annotations

import operator
from dataclasses import asdict, dataclass
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from tsmodels_datamodules._cases import Cases, TrainingCases
from tsmodels_datamodules._panel import MISSING_POLICIES, Panel, PanelDataset, panel_loader
from tsmodels_datamodules._scaling import SCALINGS, PanelScaler
from tsmodels_datamodules._splits import stratified_split


@dataclass(frozen=True)
class LoadingOptions:
    """What every datamodule of labelled panels can be told; checked, and in plain Python types for checkpoints."""

    val_fraction: float | None
    batch_size: int
    scaling: str
    missing: str
    num_workers: int
    seed: int

    def __post_init__(self) -> None:
        if self.val_fraction is not None:
            if isinstance(self.val_fraction, bool) or not isinstance(self.val_fraction, Real):
                raise TypeError(f"val_fraction must be a number or None, got {self.val_fraction!r}.")
            if not 0 <= self.val_fraction < 1:
                raise ValueError(
                    f"val_fraction must lie strictly between 0 and 1 (or be None or 0 for no validation part), "
                    f"got {self.val_fraction!r}."
                )
            object.__setattr__(self, "val_fraction", float(self.val_fraction))
        for name, least in (("batch_size", 1), ("num_workers", 0), ("seed", 0)):
            object.__setattr__(self, name, _integer(getattr(self, name), least, name))
        for name, allowed in (("scaling", SCALINGS), ("missing", MISSING_POLICIES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {getattr(self, name)!r}.")


def _integer(value: Any, least: int, name: str) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}.") from None
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}.")
    return number


class LabelledPanelModule(LightningDataModule):
    """What the datamodules of labelled panels have in common; a subclass says where the cases come from.

    All facts, the classes, the scaler and the length batches are padded to come from the training cases; the test cases
    are looked at by ``test_dataloader`` and ``predict_dataloader`` alone. Everything is computed once, when it is first
    asked for, so `setup` may be called in any order and any number of times.
    """

    def __init__(self, options: LoadingOptions) -> None:
        super().__init__()
        self._options = options

    def _read_train(self) -> TrainingCases:
        """Return all training cases, validation part included."""
        raise NotImplementedError

    def _read_test(self) -> Cases | None:
        """Return the test cases, or None if there are none."""
        raise NotImplementedError

    @cached_property
    def _train(self) -> TrainingCases:
        return self._read_train()

    @cached_property
    def _test(self) -> PanelDataset:
        cases = self._read_test()
        if cases is None:
            raise ValueError("there are no test cases: pass X_test.")
        return self._dataset(cases.panel, cases.codes)

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self._train.panel.n_channels

    @property
    def n_timepoints(self) -> int:
        """Length of the longest training case."""
        return self._train.panel.n_timepoints

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self._train.classes)

    @property
    def classes_(self) -> np.ndarray:
        """The class labels in ascending order, in the dtype of y; the codes ``y`` of a batch count along them."""
        return self._train.classes

    @cached_property
    def _split(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the training and of the validation part among the training cases."""
        codes = self._train.codes
        if not self._options.val_fraction:
            return np.arange(len(codes)), np.arange(0)
        return stratified_split(codes, self._options.val_fraction, self._options.seed)

    @cached_property
    def scaler(self) -> PanelScaler:
        """The scaler, fitted on the training part without the validation cases."""
        return PanelScaler(self._options.scaling).fit(self._train.panel.take(self._split[0]))

    @cached_property
    def _parts(self) -> tuple[PanelDataset, PanelDataset]:
        data = self._dataset(self._train.panel, self._train.codes)
        train_index, val_index = self._split
        return data.subset(train_index), data.subset(val_index)

    def _dataset(self, panel: Panel, codes: np.ndarray | None) -> PanelDataset:
        panel = self.scaler.transform(panel)
        with_lengths = not (self._train.panel.is_equal_length and panel.is_equal_length)
        if with_lengths:
            panel = panel.pad_to(self.n_timepoints)
        return PanelDataset(panel, codes, with_lengths=with_lengths, with_mask=self._options.missing == "zero")

    def setup(self, stage: str | None = None) -> None:
        """Read, split and scale the training cases; `stage` makes no difference."""
        _ = self._parts

    def transform(self, X: Any) -> PanelDataset:
        """Return new cases as batches are made of: checked, scaled and padded as the training cases are.

        Parameters
        ----------
        X : panel
            Any container :func:`to_panel` reads, with the channels of the training cases.

        Returns
        -------
        PanelDataset
            Without ``y``. Cases longer than all training cases keep their full length. ``lengths`` is there if the
            training cases, or these, are of unequal length.
        """
        return self._dataset(self._train.read_new(X, None, self._options.missing).panel, None)

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.hparams.items())
        return f"{type(self).__name__}({options})"

    __str__ = __repr__  # Lightning's asks every loader for its size: printing would read, even download, the data

    def _loader(self, data: PanelDataset, *, shuffle: bool = False) -> DataLoader:
        options = self._options
        return panel_loader(
            data, options.batch_size, shuffle=shuffle, seed=options.seed, num_workers=options.num_workers
        )

    def train_dataloader(self) -> DataLoader:
        """Return the training part, each pass in a new order that follows from `seed`."""
        return self._loader(self._parts[0], shuffle=True)

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        """Return the validation part in the order of the cases, an empty list if there is no such part.

        Lightning takes an empty list for no validation, with a warning unless the Trainer has ``limit_val_batches=0``.
        """
        return self._loader(self._parts[1]) if len(self._parts[1]) else []

    def test_dataloader(self) -> DataLoader:
        """Return the test cases in their order.

        Raises
        ------
        ValueError
            If there are no test cases or no test labels.
        """
        if "y" not in self._test.tensors:
            raise ValueError("the test cases have no labels: pass y_test, or use predict_dataloader.")
        return self._loader(self._test)

    def predict_dataloader(self) -> DataLoader:
        """Return the test cases in their order, without labels.

        Raises
        ------
        ValueError
            If there are no test cases.
        """
        return self._loader(self._test.without("y"))


class PanelDataModule(LabelledPanelModule):
    """Labelled series in memory as batches for training, validation, test and prediction.

    Parameters
    ----------
    X : panel
        Training cases, validation part included: numpy array or tensor (case, channel, time), a list of arrays
        (channel, time) of any lengths, or an sktime panel; see :func:`to_panel`.
    y : array-like (case,)
        Class labels, strings, integers, booleans or objects.
    X_test, y_test : panel, array-like, optional
        Test cases. They are checked at once and otherwise read by ``test_dataloader`` and ``predict_dataloader`` only;
        prediction needs no `y_test`.
    val_fraction : float or None
        Share of the training cases set aside for validation, stratified by class. None or 0: no validation.
    batch_size : int
        Cases per batch.
    scaling : {"standard", "none"}
        Per-channel scaling, fitted on the training part without the validation cases; see :class:`PanelScaler`.
    missing : {"error", "interpolate", "zero"}
        What is done about NaN; see :func:`apply_missing`. ``"zero"`` adds ``mask`` to the batches.
    num_workers : int
        Worker processes of each loader.
    seed : int
        Of the split and of the order of the training cases. Equal seeds give equal batches.

    Attributes
    ----------
    n_channels, n_timepoints, n_classes : int
        Facts of the training cases, ``n_timepoints`` being the longest; known before `setup`.
    classes_ : ndarray (class,)
        The labels in ascending order, in the dtype of `y`; known before `setup`.
    scaler : PanelScaler
        Fitted.

    Raises
    ------
    TypeError, ValueError
        For data that cannot be used as they are; the message names the argument and what to do. All of `X`, `y`,
        `X_test`, `y_test` are checked here, not in the middle of a run.

    Notes
    -----
    A batch is a dict: ``x`` (batch, time, channel) float32, 0 where missing or padded; ``y`` (batch,) int64;
    ``lengths`` (batch,) int64 if the cases are of unequal length; ``mask`` like x under ``missing="zero"``, True =
    observed. All batches are padded to the longest training case, not each to its own longest case, so that they
    are of one shape.

    The cases are copied into tensors once; a checkpoint of the trainer carries the options, never the data.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels_datamodules import PanelDataModule
    >>> X, y = np.random.default_rng(0).normal(size=(20, 3, 50)), np.repeat(["no", "yes"], 10)
    >>> data = PanelDataModule(X, y, batch_size=8)
    >>> data.n_channels, data.n_timepoints, data.classes_.tolist()
    (3, 50, ['no', 'yes'])
    >>> {key: tuple(value.shape) for key, value in next(iter(data.train_dataloader())).items()}
    {'x': (8, 50, 3), 'y': (8,)}
    """

    def __init__(
        self,
        X: Any = None,
        y: Any = None,
        X_test: Any = None,
        y_test: Any = None,
        *,
        val_fraction: float | None = 0.2,
        batch_size: int = 32,
        scaling: str = "standard",
        missing: str = "error",
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(LoadingOptions(val_fraction, batch_size, scaling, missing, num_workers, seed))
        self.save_hyperparameters(asdict(self._options), ignore=["X", "y", "X_test", "y_test"])
        if X is None:
            raise TypeError("X is missing: pass the training cases, a numpy array (case, channel, time) for instance.")
        if X_test is None and y_test is not None:
            raise TypeError("y_test was given without X_test: pass the test cases too.")
        self._given_train = TrainingCases.read(X, y, missing)
        self._given_test = None
        if X_test is not None:
            self._given_test = self._given_train.read_new(X_test, y_test, missing, name="X_test", y_name="y_test")

    def _read_train(self) -> TrainingCases:
        return self._given_train

    def _read_test(self) -> Cases | None:
        return self._given_test
