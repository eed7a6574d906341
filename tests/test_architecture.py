"""The import arrows of the project, one Lightning root, jit flags in one place: read from the source."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Longest prefix first: a module belongs to the first layer that fits.
MAY_IMPORT = {
    "tsmodels_kernels": set(),
    "tsmodels_datamodules": set(),
    "tsmodels.layers": {"tsmodels_kernels"},
    "tsmodels.shapelets": {"tsmodels_kernels"},
    "tsmodels.models": {"tsmodels_kernels", "tsmodels.layers", "tsmodels.shapelets"},
    "tsmodels.dynamics": {"tsmodels_kernels", "tsmodels.models"},
    "tsmodels.detection": set(),
    "tsmodels.metrics": set(),
    "tsmodels.tasks": {"tsmodels.dynamics", "tsmodels.layers", "tsmodels.metrics", "tsmodels.models"},
    "tsmodels.estimators": {
        "tsmodels.detection",
        "tsmodels.dynamics",
        "tsmodels.metrics",
        "tsmodels.models",
        "tsmodels.shapelets",
        "tsmodels.tasks",
        "tsmodels_datamodules",
    },
    "tsmodels.benchmark": {
        "tsmodels.dynamics",
        "tsmodels.estimators",
        "tsmodels.metrics",
        "tsmodels.models",
        "tsmodels.tasks",
        "tsmodels_datamodules",
        "tsmodels.plots",
        "tsmodels",
    },
    "tsmodels.plots": {
        "tsmodels.benchmark",
        "tsmodels.dynamics",
        "tsmodels.estimators",
        "tsmodels.metrics",
        "tsmodels.shapelets",
    },
    "tsmodels.training": {
        "tsmodels.benchmark",
        "tsmodels.estimators",
        "tsmodels.models",
        "tsmodels.tasks",
        "tsmodels_datamodules",
    },
    "tsmodels.tuning": {
        "tsmodels.benchmark",
        "tsmodels.estimators",
        "tsmodels.models",
        "tsmodels_datamodules",
    },
    "tsmodels.cli": {"tsmodels.benchmark", "tsmodels.estimators", "tsmodels"},
    "tsmodels": {"tsmodels.estimators"},
}
THIRD_PARTY_OF_KERNELS = {"torch", "numpy", "numba", "llvmlite", "cuda"}  # cuda: NVIDIA's own, beside numba-cuda


def sources():
    for root in (ROOT, ROOT / "kernels", ROOT / "datamodules"):
        for path in sorted(root.glob("tsmodels*/**/*.py")):
            yield path, ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path, module):
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
            stem = base + (node.module or "")
            # `from tsmodels import models` names the module behind the dot
            yield from (f"{stem.rstrip('.')}.{alias.name}" for alias in node.names)


def layer_of(module):
    return next((layer for layer in MAY_IMPORT if module == layer or module.startswith(layer + ".")), None)


MODULES = list(sources())


def test_every_layer_exists():
    assert {layer_of(module) for _, module in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize(("path", "module"), MODULES, ids=[module for _, module in MODULES])
def test_imports_follow_the_arrows(path, module):
    here = layer_of(module)
    for name in imported_modules(path, module):
        there = layer_of(name)
        assert there is None or there == here or there in MAY_IMPORT[here], f"{module} imports {name}"
        root = name.partition(".")[0]
        assert root != "pytorch_lightning", f"{module}: the one Lightning root is lightning.pytorch"
        if here == "tsmodels_kernels" and there is None:
            assert root in THIRD_PARTY_OF_KERNELS or root in sys.stdlib_module_names, f"{module} imports {name}"


@pytest.mark.parametrize(("path", "module"), MODULES, ids=[module for _, module in MODULES])
def test_jit_flags_and_prints_stay_where_they_belong(path, module):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("njit", "jit") or module == "tsmodels_kernels._flags", module
            assert node.func.id != "print" or module == "tsmodels.cli", f"{module} prints"
