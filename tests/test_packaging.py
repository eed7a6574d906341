"""What is installed: three packages with their type markers, one version, lean imports."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = {"tsmodels": ".", "tsmodels_kernels": "kernels", "tsmodels_datamodules": "datamodules"}


def test_version_is_the_installed_one_and_in_the_changelog():
    import tsmodels

    assert importlib.metadata.version("tsmodels") == tsmodels.__version__
    assert f"## {tsmodels.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed_and_in_the_wheel(package):
    folder = (ROOT / PACKAGES[package] / package).resolve()
    assert (folder / "py.typed").is_file()
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert str(folder.relative_to(ROOT)) in wheel


def test_constraints_satisfy_the_declared_ranges():
    from packaging.requirements import Requirement

    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    extras = PROJECT["project"]["optional-dependencies"]
    for text in [*PROJECT["project"]["dependencies"], *extras["test"], *extras["dev"]]:
        requirement = Requirement(text)
        if requirement.name in pinned:
            assert requirement.specifier.contains(pinned[requirement.name]), text
    assert {Requirement(text).name for text in PROJECT["project"]["dependencies"]} <= set(pinned)


@pytest.mark.parametrize("package", [*PACKAGES, "tsmodels.estimators", "tsmodels.models", "tsmodels.tasks"])
def test_imports_without_warning_lightning_or_compiler(package):
    script = (
        f"import sys, {package}; "
        "assert not {'lightning', 'numba.cuda', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, timeout=120)


def test_the_public_names_of_tsmodels_resolve():
    import tsmodels

    families = ["Chimera", "ConvS5", "Mamba", "S4D", "ShapeFormer", "VSFormer"]
    names = [cls.__name__ for cls in tsmodels.all_estimators("classifier")]
    assert names == [f"{family}Classifier" for family in families]
    assert all(hasattr(tsmodels, name) for name in tsmodels.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tsmodels.nothing  # noqa: B018
