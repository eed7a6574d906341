"""The list of estimators."""

from typing import Any

from sktime.base import BaseObject

__all__ = ["all_estimators"]


def all_estimators(kind: str | None = None) -> list[type]:
    """Return the estimators of this package.

    sktime's own ``all_estimators`` looks at the package ``sktime`` only.

    Parameters
    ----------
    kind : str, optional
        sktime's name of a kind of estimator, such as "classifier". None: all kinds.

    Returns
    -------
    list of type
        Estimator classes, by name. The generic bases are not among them.

    Raises
    ------
    ValueError
        If there is no estimator of that kind.

    Examples
    --------
    >>> from tsmodels.estimators import all_estimators
    >>> "ChimeraClassifier" in [estimator.__name__ for estimator in all_estimators("classifier")]
    True
    """
    from tsmodels import estimators

    exported = [getattr(estimators, name) for name in sorted(estimators.__all__)]
    found = [each for each in exported if _is_concrete_estimator(each)]
    kinds = {each: str(each.get_class_tag("object_type")) for each in found}
    if kind is not None and kind not in kinds.values():
        raise ValueError(f"kind must be None or one of {sorted(set(kinds.values()))}, got {kind!r}")
    return [each for each in found if kind in (None, kinds[each])]


def _is_concrete_estimator(exported: Any) -> bool:
    if not (isinstance(exported, type) and issubclass(exported, BaseObject)):
        return False
    return not exported.__module__.rpartition(".")[2].startswith("_")  # the generic bases live in private modules
