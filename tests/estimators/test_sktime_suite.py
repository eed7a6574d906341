"""sktime's own suite over every exported estimator, and over a network that takes neither lengths nor mask."""

import pytest
from sktime.utils.estimator_checks import check_estimator, parametrize_with_checks
from torch import nn

from tsmodels.estimators import all_estimators, classifier


class PlainForClassification(nn.Module):
    """A linear map of the flattened series.

    Parameters
    ----------
    n_channels, n_timepoints, n_classes : int
        Facts of the data.
    bias : bool, default=True
        Whether the map has a bias.
    """

    def __init__(self, n_channels, n_timepoints, n_classes, *, bias=True):
        super().__init__()
        self.linear = nn.Linear(n_channels * n_timepoints, n_classes, bias=bias)

    def forward(self, x):
        return self.linear(x.flatten(1))


PlainClassifier = classifier(PlainForClassification, test_params=[{}, {"bias": False}])


# Forecasters have 750 to 890 checks, most of them one to four minutes; classifiers take half a minute. Of those that a
# factory makes one stands for the others, and one for those whose networks look at the training cases first.
QUICK = (
    "ChimeraClassifier",
    "ChimeraDetector",
    "ContextParrotForecaster",
    "DLinearForecaster",
    "ShapeFormerClassifier",
    "ShapeletTransform",
)
# gridded fields are no data type of sktime
KNOWN = [each for each in all_estimators() if each not in all_estimators("grid_forecaster")]
FAST = [each for each in KNOWN if each.__name__ in QUICK]
SLOW = [each for each in KNOWN if each not in FAST]


# sktime about its own checks: a single class, distributions without skpro, and its concatenation of forecasts; and
# ours about networks that have seen one or two training steps and then run freely
pytestmark = [
    pytest.mark.filterwarnings("ignore:only single label seen in y"),
    pytest.mark.filterwarnings("ignore:Forecasters' predict_proba requires skpro"),
    pytest.mark.filterwarnings("ignore:Sorting by default when concatenating all DatetimeIndex"),
    pytest.mark.filterwarnings("ignore:.* values of the free run left the range"),
]


@parametrize_with_checks([*FAST, PlainClassifier])
def test_sktime_api(obj, test_name):
    check_estimator(obj, tests_to_run=test_name, raise_exceptions=True, verbose=False)


@pytest.mark.slow
@parametrize_with_checks(SLOW)
def test_sktime_api_of_the_others(obj, test_name):
    check_estimator(obj, tests_to_run=test_name, raise_exceptions=True, verbose=False)
