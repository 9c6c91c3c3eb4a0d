"""The public names of hf_audio are those that `__init__.pyi` declares to editors and type checkers."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import hf_audio

STUB = Path(hf_audio.__file__).with_suffix(".pyi")
HOMES = {
    alias.name: node.module
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
    if alias.asname == alias.name  # only these are public to a type checker
}


def test_the_stub_has_all_public_names():
    assert sorted(HOMES) == hf_audio.__all__
    assert set(hf_audio.__all__) < set(dir(hf_audio))


@pytest.mark.parametrize("name", hf_audio.__all__)
def test_a_public_name_is_the_object_in_its_module(name):
    assert getattr(hf_audio, name) is getattr(importlib.import_module(f"hf_audio.{HOMES[name]}"), name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'hf_audio' has no attribute 'train'"):
        _ = hf_audio.train


def test_importing_the_package_imports_no_heavy_library():
    code = "import sys, hf_audio; print(sorted({'torch', 'numpy', 'datasets', 'transformers'} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
