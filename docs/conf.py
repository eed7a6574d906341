"""Settings of Sphinx; the package has to be installed.

Nothing is fetched and nothing is mocked: the pages of the interface are made from the imported package, from the
``__all__`` of each module that ``api.rst`` lists.
"""

import inspect
from collections.abc import Mapping

import tsmodels

PACKAGES = ("tsmodels", "tsmodels_datamodules", "tsmodels_kernels")
CALLED_BY_SKTIME = ("get_test_params", "reset")  # by its checks and its base classes, not by users

project = "tsmodels"
author = "tsmodels developers"
version = release = tsmodels.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.extlinks", "numpydoc"]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
nitpicky = True
extlinks = {"arxiv": ("https://arxiv.org/abs/%s", "arXiv %s")}

# one page a module: what stands in its `__all__`, whether it is imported at once or on first use
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_typehints = "none"  # the sections of the docstrings give types, with shapes
autodoc_inherit_docstrings = False  # those of torch and Lightning are about their own methods
numpydoc_show_class_members = False  # autodoc lists them

html_theme = "furo"
html_title = f"tsmodels {release}"
html_show_copyright = False
html_show_sourcelink = False


def skip_foreign(app, what, name, member, skip, options):
    """Leave out what classes inherit from torch, Lightning and sktime, which have pages of their own."""
    if name in CALLED_BY_SKTIME:
        return True
    function = inspect.unwrap(getattr(member, "fget", None) or getattr(member, "__func__", member))
    home = getattr(function, "__module__", None) or PACKAGES[0]
    return None if home.split(".")[0] in PACKAGES else True


def describe_constant(app, what, name, value, options, lines):
    """Say what a constant holds, where nothing is written about it; autodoc would describe its type."""
    if what == "data" and value.__doc__ == type(value).__doc__:
        names = value if isinstance(value, Mapping) else None
        lines[:] = [f"Names: {', '.join(f'``{each}``' for each in names)}." if names else f"``{value!r}``"]


def setup(app):
    """Connect the hooks."""
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("autodoc-process-docstring", describe_constant, priority=0)
