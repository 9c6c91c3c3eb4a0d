"""The Python files published with models can be loaded by old transformers too, which finds imports by regex."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "hf_audio"
FILES = [path for folder in ("models", "extractors") for path in sorted((ROOT / folder).glob("*.py"))]
# How transformers 4.48 finds imports, even in docstrings
RELATIVE = (r"^\s*import\s+\.(\S+)\s*$", r"^\s*from\s+\.(\S+)\s+import")
ABSOLUTE = (r"^\s*import\s+(\S+)\s*$", r"^\s*from\s+(\S+)\s+import")


def found(patterns: tuple[str, ...], path: Path) -> set[str]:
    return {name for pattern in patterns for name in re.findall(pattern, path.read_text(), re.MULTILINE)}


def all_relative(path: Path) -> set[str]:
    """All files that a file imports, directly or through others."""
    needed, new = set(), found(RELATIVE, path)
    while new:
        needed |= new
        new = {name for one in new for name in found(RELATIVE, path.with_name(f"{one}.py"))} - needed
    return needed - {path.stem}


MAIN_FILES = [path for path in FILES if "register_for_auto_class" in path.read_text()]
# The module of a config's class is a main file too
MAIN_FILES += [ROOT / "models" / "timm_network.py"]


@pytest.mark.parametrize("path", MAIN_FILES, ids=lambda path: path.stem)
def test_a_main_file_names_every_file_that_it_needs(path):
    """From a local folder, transformers 4 copies the files that the main file imports, but no further ones."""
    assert found(RELATIVE, path) == all_relative(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_docstring_reads_like_an_import(path):
    """transformers would take it for a package that the user must install."""
    real = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            real |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            real.add("." * node.level + (node.module or ""))
    assert found(ABSOLUTE, path) <= real


def test_main_files_are_found():
    assert len(MAIN_FILES) >= 9
