"""Small networks, their classifiers and data that they can learn, for the tests of the estimators."""

import numpy as np
import pytest
import torch
from torch import nn

from tsmodels.estimators import classifier


class PooledForClassification(nn.Module):
    """Moments over time: takes lengths, missing values and series of any length.

    Parameters
    ----------
    n_channels, n_timepoints, n_classes : int
        Facts of the data.
    width : int, default=8
        Hidden width.
    dropout : float, default=0.0
        Dropout before the last layer.
    """

    accepts_any_length = True

    def __init__(self, n_channels, n_timepoints, n_classes, *, width=8, dropout=0.0):
        super().__init__()
        parts = nn.Linear(2 * n_channels, width), nn.Tanh(), nn.Dropout(dropout), nn.Linear(width, n_classes)
        self.head = nn.Sequential(*parts)

    def forward(self, x, lengths=None, mask=None):
        observed = torch.ones_like(x) if mask is None else mask.to(x.dtype)
        if lengths is not None:
            inside = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
            observed = observed * inside[..., None]
        count = observed.sum(1).clamp(min=1)
        mean, square = (x * observed).sum(1) / count, (x.square() * observed).sum(1) / count
        return self.head(torch.cat([mean, square], 1))


class FlatForClassification(nn.Module):
    """A linear map of the flattened series: bound to the length it was built for."""

    def __init__(self, n_channels, n_timepoints, n_classes, *, bias=True):
        super().__init__()
        self.n_timepoints = n_timepoints
        self.linear = nn.Linear(n_channels * n_timepoints, n_classes, bias=bias)

    def forward(self, x):
        return self.linear(x.flatten(1))


class PaddedForClassification(FlatForClassification):
    """The same with padding set to zero: takes shorter series, not longer ones."""

    def forward(self, x, lengths=None):
        if lengths is not None:
            x = x * (torch.arange(x.shape[1], device=x.device) < lengths[:, None])[..., None]
        return super().forward(x)


PooledClassifier = classifier(PooledForClassification, defaults={"accelerator": "cpu", "lr": 0.03, "max_epochs": 15})
FlatClassifier = classifier(FlatForClassification, defaults={"accelerator": "cpu", "max_epochs": 3})
PaddedClassifier = classifier(PaddedForClassification, defaults={"accelerator": "cpu", "max_epochs": 3})


@pytest.fixture
def pooled():
    return PooledClassifier


@pytest.fixture
def flat():
    return FlatClassifier


@pytest.fixture
def padded():
    return PaddedClassifier


@pytest.fixture
def problem():
    """Two classes of different level, sorted by class as in archive files: X (case, channel, time), labels."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(24, 2, 16))
    X[12:] += 1.0
    return X, np.repeat(["high", "low"], 12)
