"""Lightning modules: a network with its loss, metrics, optimiser and schedule."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tsmodels.tasks.classification import ClassificationTask

__all__ = ["ClassificationTask"]


def __getattr__(name: str) -> Any:
    # Lightning takes seconds to import; nobody pays for it before a task is asked for.
    if name == "ClassificationTask":
        from tsmodels.tasks.classification import ClassificationTask

        return ClassificationTask
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
