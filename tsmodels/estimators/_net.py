"""What every estimator over a network has: the network's class, its choices, small settings for tests."""

import copy
import inspect
from typing import Any, ClassVar

from torch import nn

__all__ = ["NetEstimator"]


class NetEstimator:
    """Mixin of the generic estimators; the factories set its class attributes."""

    _network_class: ClassVar[type[nn.Module]]
    _test_params: ClassVar[list[dict[str, Any]]]

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Return small settings for sktime's test suite.

        Parameters
        ----------
        parameter_set : str, default="default"
            There is only one.

        Returns
        -------
        list of dict
            Arguments of the constructor.
        """
        return copy.deepcopy(cls._test_params)

    def _choices(self) -> dict[str, Any]:
        """The arguments of this estimator that are keyword-only arguments of its network."""
        parameters = inspect.signature(self._network_class).parameters.values()
        return {each.name: getattr(self, each.name) for each in parameters if each.kind is each.KEYWORD_ONLY}
