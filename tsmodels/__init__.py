"""State-of-the-art sequence models for time series, with sktime and Lightning interfaces.

``tsmodels.estimators`` holds the sktime estimators, ``tsmodels.tasks`` the LightningModules, ``tsmodels.models`` the
networks, ``tsmodels.layers`` what they are built from, ``tsmodels.shapelets`` the discovery of shapelets,
``tsmodels.plots`` the pictures, ``tsmodels.benchmark`` the benchmark runs. The operators are in ``tsmodels_kernels``,
the datamodules in ``tsmodels_datamodules``.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tsmodels.estimators import all_estimators

__version__ = "0.1.0"
__all__ = ["__version__", "all_estimators"]


def __getattr__(name: str):
    if name == "all_estimators":  # on first use: sktime's base classes take more than a second to import
        from tsmodels.estimators import all_estimators

        return all_estimators
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
