"""Other splits of a data set into training and test cases, drawn as the archives' published results draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tsmodels_datamodules import ArchiveSet

__all__ = ["resample_indices", "resampled"]


def resample_indices(y_train: np.ndarray, y_test: np.ndarray, resample: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the pooled cases are trained on and which are tested on.

    Resample 0 is the split as it is. Resample k > 0 pools all cases, training cases first, and takes each class in
    sorted order: its cases are shuffled by one generator with the seed k, and as many of them as the class has training
    cases come first into the training part, the rest into the test part. Both parts are ordered by class.

    Parameters
    ----------
    y_train, y_test : ndarray (case,)
        Labels of the split as it is.
    resample : int
        0 or more.

    Returns
    -------
    train, test : ndarray of int
        Positions in the pooled cases.

    Raises
    ------
    ValueError
        If `resample` is negative, or the two parts do not hold the same classes: a stratified split is not defined
        then.

    References
    ----------
    .. [1] ``stratified_resample_data`` of aeon and tsml-eval, with which the published results on 30 resamples were
       obtained.

    Examples
    --------
    >>> import numpy as np
    >>> from tsmodels.benchmark.resampling import resample_indices
    >>> train, test = resample_indices(np.array(["a", "b"]), np.array(["a", "b", "b"]), 0)
    >>> print(train, test)
    [0 1] [2 3 4]
    """
    if resample < 0:
        raise ValueError(f"resample must be 0 or more, got {resample}.")
    pooled = np.concatenate([y_train, y_test])
    if resample == 0:
        return np.arange(len(y_train)), np.arange(len(y_train), len(pooled))
    classes, n_train = np.unique(y_train, return_counts=True)
    if not np.array_equal(classes, np.unique(y_test)):
        raise ValueError("a stratified resample needs the same classes in the training and the test cases.")
    generator = np.random.RandomState(resample)  # the published splits come from this generator
    train, test = [], []
    for label, count in zip(classes, n_train, strict=True):
        cases = np.flatnonzero(pooled == label)
        generator.shuffle(cases)
        train.append(cases[:count])
        test.append(cases[count:])
    return np.concatenate(train), np.concatenate(test)


def resampled(data: ArchiveSet, resample: int) -> ArchiveSet:
    """Return a data set split anew; see :func:`resample_indices`.

    Parameters
    ----------
    data : ArchiveSet
    resample : int

    Returns
    -------
    ArchiveSet
        The data set itself for resample 0.
    """
    if resample == 0:
        return data
    from tsmodels_datamodules import ArchiveSet

    train, test = resample_indices(data.y_train, data.y_test, resample)
    y = np.concatenate([data.y_train, data.y_test])
    if isinstance(data.X_train, np.ndarray):
        X = np.concatenate([data.X_train, data.X_test])
        X_train, X_test = X[train], X[test]
    else:
        cases = [*data.X_train, *data.X_test]
        X_train, X_test = [cases[i] for i in train], [cases[i] for i in test]
    return ArchiveSet(data.name, X_train, y[train], X_test, y[test], data.source)
