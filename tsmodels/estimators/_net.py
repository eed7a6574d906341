"""What every estimator over a network has: the network's class, its choices, small settings for tests."""

import copy
import inspect
from typing import Any, ClassVar, Self

from torch import nn

__all__ = ["KeepsContext", "NetEstimator"]


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


class KeepsContext:
    """Mixin, before the sktime base class, that lets scikit-learn's meta-estimators fit an sktime estimator."""

    def reset(self) -> Self:
        """Return to the state after the constructor, as sktime does.

        scikit-learn's meta-estimators set ``_parent_callback_ctx`` before `fit` and delete it after; it is kept.
        """
        context = self.__dict__.get("_parent_callback_ctx")
        super().reset()  # pyright: ignore[reportAttributeAccessIssue]
        if context is not None:
            self._parent_callback_ctx = context
        return self
