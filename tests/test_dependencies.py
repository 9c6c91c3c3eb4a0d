"""setup.cfg lists every package that the code imports, and no others."""

from __future__ import annotations

import ast
import configparser
import functools
import re
import sys
from collections.abc import Mapping
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Used without an import of ours: transformers writes TensorBoard and safetensors files and reports to trackio and W&B,
# librosa compiles with numba (older ones do not fit numpy 2), pretty_midi's SoundFont is read as a file,
# starlette parses forms with python-multipart and uvicorn headers with httptools, nbclient runs cells in ipykernel.
BEHIND_ANOTHER = {
    *("tensorboard", "trackio", "wandb", "safetensors", "numba", "pretty-midi"),
    *("python-multipart", "httptools", "ipykernel"),
    "python-dateutil",  # boto3 limits it
    *("furo", "myst-parser", "myst-nb"),  # docs/conf.py names them
}
# transformers' tests import the first, and the others are commands
OF_TESTS = {
    *("parameterized", "pytest-timeout", "pytest-xdist", "ruff", "codespell", "mypy", "types-pyyaml", "types-requests"),
    *("coverage", "build", "twine"),
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements() -> dict[str, set[str]]:
    """Names of packages by extra of setup.cfg; "" is for packages that all users get."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lists = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {
        extra: {normal(re.match(r"[\w.-]+", line)[0]) for line in text.split("\n") if line.strip() and line[0] != "#"}
        for extra, text in lists.items()
    }


@functools.cache
def distributions_of_imports() -> Mapping[str, list[str]]:
    """Reads the file list of every installed package, so it is cached. The standard library's `packages_distributions`
    does not read them before Python 3.11."""
    found: dict[str, list[str]] = {}
    for one in distributions():
        listed = (one.read_text("top_level.txt") or "").split()
        for name in set(listed or [file.parts[0].partition(".")[0] for file in one.files or ()]):
            found.setdefault(name, []).append(one.metadata["Name"])
    return found


@functools.cache
def modules_imported(folder: str) -> dict[str, Path]:
    """Names of imports that are neither of the standard library nor our own, each with a file that has it."""
    found: dict[str, Path] = {}
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            found |= dict.fromkeys({name.split(".")[0] for name in names}, path)
    return {name: path for name, path in found.items() if name not in {"hf_audio", *sys.stdlib_module_names}}


def imported(*folders: str) -> dict[str, set[str]]:
    """Packages of these imports, each with a file that has the import."""
    found: dict[str, set[str]] = {}
    for top, path in (pair for folder in folders for pair in modules_imported(folder).items()):
        for distribution in distributions_of_imports().get(top, []):
            found.setdefault(normal(distribution), set()).add(str(path.relative_to(ROOT)))
    return found


def test_every_imported_package_is_required():
    listed = requirements()
    of_tests = listed.pop("test")
    for_users, for_developers = set().union(*listed.values()), set().union(of_tests, *listed.values())
    missing = {name: min(files) for name, files in imported("hf_audio", "recipes").items() if name not in for_users}
    missing |= {name: min(files) for name, files in imported("scripts").items() if name not in for_developers}
    assert missing == {}


def test_every_required_package_is_imported():
    used = set(imported("hf_audio", "recipes", "scripts", "tests", "docs")) | BEHIND_ANOTHER | OF_TESTS
    listed = requirements()
    assert {name for names in listed.values() for name in names} - {"hf-audio"} - used == set()


def test_cards_of_classical_models_ask_for_the_skops_that_wrote_them():
    """Older ones refuse types that these files need, or run code that a file brings."""
    (required,) = re.findall(r"^\s*(skops>=\S+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)
    assert f'"{required}"' in (ROOT / "hf_audio/publishing/model_card.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("extra", sorted(set(requirements()) - {"", "test"}))
def test_no_extra_repeats_a_package_that_all_users_get(extra):
    assert not requirements()[extra] & requirements()[""]
