"""The pages are whole: every module and exported name, every page reachable, links, names and commands that exist.

Sphinx itself, which CI runs with warnings as errors, checks references and docstrings.
"""

import ast
import contextlib
import importlib
import inspect
import re
import shlex
import textwrap
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {path.stem: path.read_text() for path in DOCS.glob("*.rst")}
MARKDOWN = {path: path.read_text() for path in (ROOT / "README.md", ROOT / "examples" / "README.md")}
MODULES = re.findall(r"^   (tsmodels\S+)$", PAGES["api"], re.MULTILINE)
# commands; and the root, whose one function is on the page of tsmodels.estimators
WITHOUT_PAGE = {"tsmodels", "tsmodels.cli", "tsmodels.training", "tsmodels.tuning.command"}


def public_modules():
    for root in (ROOT, ROOT / "kernels", ROOT / "datamodules"):
        for pattern in ("tsmodels*/__init__.py", "tsmodels/*/__init__.py", "tsmodels/*.py"):
            for path in root.glob(pattern):
                name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
                if not re.search(r"\._", name):
                    yield name


def exported(module):
    return set(importlib.import_module(module).__all__)


def blocks(page):
    """Yield the literal blocks of a page."""
    for block in re.findall(r"::\n\n((?:    .*\n|\n)+)", page + "\n"):
        yield textwrap.dedent(block)


def commands():
    """Yield what the pages tell to type: ``tsmodels benchmark ...``."""
    texts = [*MARKDOWN.values(), *("\n".join(blocks(page)) for page in PAGES.values())]
    for text in texts:
        for line in re.findall(r"^(?:\$ )?tsmodels (.*)$", text.replace("\\\n", " "), re.MULTILINE):
            yield shlex.split(line, comments=True)


def test_every_public_module_has_a_page():
    assert not set(public_modules()) - set(MODULES) - WITHOUT_PAGE
    assert len(MODULES) == len(set(MODULES))


def test_every_exported_name_is_on_the_page_of_its_module(tmp_path):
    generate = pytest.importorskip("sphinx.ext.autosummary.generate")
    with contextlib.chdir(DOCS):
        generate.main(["-t", "_templates", "-i", "-a", "-o", str(tmp_path), "api.rst"])
    described = {
        path.stem: re.findall(r"^\.\. auto(?:class|exception|function|data):: (\S+)$", path.read_text(), re.MULTILINE)
        for path in tmp_path.glob("*.rst")
    }
    assert {module: sorted(names) for module, names in described.items()} == {
        module: sorted(exported(module)) for module in MODULES
    }


def test_every_page_is_in_one_table_of_contents():
    trees = [re.findall(r"^   (\w+)$", page, re.MULTILINE) for page in PAGES.values() if ".. toctree::" in page]
    assert sorted(name for tree in trees for name in tree) == sorted(PAGES.keys() - {"index"})


def test_links_lead_somewhere():
    for path, text in MARKDOWN.items():
        for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
    for name, page in PAGES.items():
        for target in re.findall(r"literalinclude:: (\S+)", page):
            assert (DOCS / target).is_file(), f"{name}: {target}"


def test_files_that_are_named_exist():
    for name, text in {**PAGES, **{str(path): text for path, text in MARKDOWN.items()}}.items():
        for path in re.findall(r"\b((?:examples|tests|tsmodels|docs)/[\w/.-]*[\w/])", text):
            assert (ROOT / path).exists() or "_build" in path, f"{name}: {path}"


def test_every_example_is_described():
    text = (ROOT / "examples" / "README.md").read_text()
    files = [*(ROOT / "examples").glob("*.py"), *(ROOT / "examples" / "configs").glob("*.yaml")]
    assert not [path.name for path in files if f"`{path.name}`" not in text]


def test_code_of_the_pages_compiles_and_imports_what_there_is():
    seen = 0
    for page in PAGES.values():
        for block in blocks(page):
            if not re.search(r"^(import|from) ", block, re.MULTILINE):
                continue
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and node.module.startswith("tsmodels"):
                    assert {alias.name for alias in node.names} <= exported(node.module)
                    seen += 1
    assert seen > 5


def test_keyword_arguments_of_the_pages_exist():
    pattern = r"\b([A-Z]\w+(?:Classifier|Forecaster|Detector|DataModule|Task))\(([^()]*)\)"
    seen = 0
    for page in PAGES.values():
        for block in blocks(page):
            for name, arguments in re.findall(pattern, block):
                packages = ("tsmodels.estimators", "tsmodels.tasks", "tsmodels_datamodules")
                cls = next(getattr(importlib.import_module(each), name) for each in packages if name in exported(each))
                given = set(re.findall(r"(\w+)=", arguments))
                assert given <= set(inspect.signature(cls).parameters), name
                seen += 1
    assert seen > 4


def test_commands_of_the_pages_are_understood():
    from tsmodels import cli
    from tsmodels.training._registry import import_choices

    classes = {each for names in import_choices().values() for each in names}
    given = list(commands())
    assert {"benchmark", "report", "fit", "test"} <= {arguments[0] for arguments in given}
    for arguments in given:
        if arguments[0] in ("benchmark", "report", "tune"):
            cli._parser(arguments[0]).parse_args(arguments)
        else:
            assert arguments[0] in ("fit", "validate", "test", "predict")
            options = dict(pairwise(arguments))
            assert "--config" not in options or (ROOT / options["--config"]).is_file()
            assert {options[name] for name in ("--model", "--model.network", "--data") if name in options} <= classes
