"""The site of docs/: every page is in its menu, generated pages are complete, and a broken link is an error.

`make docs` builds the whole site. These tests check only replaced text, and build a site of one page.
"""

from __future__ import annotations

import io
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from transformers import TrainingArguments

import hf_audio
from hf_audio.corpora import corpus_names
from hf_audio.parsing import ALL_GROUPS

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
sys.path.append(str(DOCS / "_ext"))

import built_text  # noqa: E402 - found by the line above
import repository_links  # noqa: E402


def test_every_page_is_in_the_menu_once():
    menu = re.findall(r"^```\{toctree\}\n(?::.*\n)*\n([^`]*)```$", (DOCS / "index.md").read_text(), re.MULTILINE)
    named = [name for names in menu for name in names.split()]
    pages = {path.stem for pattern in ("*.md", "*.ipynb") for path in DOCS.glob(pattern)} - {"index"}
    assert sorted(named) == sorted(pages)


def test_every_placeholder_in_a_page_has_a_text():
    marks = {mark for page in DOCS.glob("*.md") for mark in built_text.MARK.findall(page.read_text())}
    assert marks == {*built_text.GENERATED, *repository_links.SHOWN_BY}
    for name, page in repository_links.SHOWN_BY.items():
        assert f"<!-- build: {name} -->" in (DOCS / page).read_text()


def test_every_flag_is_on_the_page_of_flags_with_its_help():
    text = built_text.GENERATED["flags"]()
    flags = re.findall(r"^\| `--(\w+)` \|", text, re.MULTILINE)
    of_groups = {field.name for group in ALL_GROUPS for field in fields(group) if field.init}
    assert of_groups | {field.name for field in fields(TrainingArguments) if field.init} <= set(flags)
    assert re.search(r"^\| `--window_s` \| number \| .*at most 5 s", text, re.MULTILINE)
    assert "| `--resume_from_checkpoint` | a run resumes automatically" in text, "refused flags are listed too"
    assert not re.search(r"^\|[^|]*\|[^|]*\|[^|]*\| +\|$", text, re.MULTILINE), "a flag without a help text"


def test_every_corpus_has_a_section_with_its_recipes():
    text = built_text.GENERATED["corpora"]()
    for name in corpus_names():
        card = hf_audio.corpora.find_corpus(name).CARD
        section = re.search(rf"^## {re.escape(card.name)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        assert section and card.license in section[1], name
    assert "**Recipes**: `recipes/ast_esc50.py`\n" in text and "**Classes** (50): dog, rooster" in text


def test_every_public_name_is_in_the_reference():
    text = built_text.GENERATED["api"]()
    assert set(re.findall(r"\.\. auto(?:class|function):: hf_audio\.(\w+)", text)) == set(hf_audio.__all__)


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("[a](docs/data.md#splits)", "[a](data.md#splits)"),
        ("[a](CONTRIBUTING.md)", "[a](contributing.md)"),
        ("[recipes/](recipes)", "recipes/"),  # folders are not part of the site
        ("[a](scripts/tune.py)", "[a](../scripts/tune.py)"),  # the site has a copy for download
        ("![a](docs/figures/search_slices.png)", "![a](figures/search_slices.png)"),
        ("[a](docs/nowhere.md) [b](https://example.org/x)", "[a](nowhere.md) [b](https://example.org/x)"),
        ("[a [b]](#install)", "[a [b]](#install)"),
        ("[copy\na](docs/data.md#splits)", "[copy\na](data.md#splits)"),
        ("a\n```\n[a](b.md)\n```\n[a\nb](docs/data.md)", "a\n```\n[a](b.md)\n```\n[a\nb](data.md)"),
        ("```\n[a](docs/data.md)\n```", "```\n[a](docs/data.md)\n```"),
    ],
)
def test_links_of_top_level_pages_are_adapted_to_the_site(link, expected):
    assert repository_links.for_site(link, ROOT, "") == expected


def test_links_to_the_repository_use_its_address():
    page = "[a](../recipes) [b](../scripts/tune.py) [c](data.md) [d](../README.md#install)"
    expected = "[a](https://forge/blob/main/recipes) [b](https://forge/blob/main/scripts/tune.py) [c](data.md) "
    assert repository_links.for_site(page, DOCS, "https://forge/blob/main") == f"{expected}[d](index.md#install)"


@pytest.mark.parametrize(
    ("page", "warning"),
    [
        ("# A\n\n[b](#a) and [c](c.md#here)", ""),
        ("# A\n\n[b](missing.md)", "missing.md"),
        ("# A\n\n[b](c.md#nowhere)", "nowhere"),
        ("# A\n\n![b](missing.png)", "missing.png"),
    ],
)
def test_a_broken_link_is_a_warning_that_make_docs_treats_as_an_error(tmp_path, page, warning):
    from sphinx.application import Sphinx

    (tmp_path / "index.md").write_text(f"{page}\n\n```{{toctree}}\nc\n```\n")
    (tmp_path / "c.md").write_text("# C\n\n## Here\n")
    warnings = io.StringIO()
    settings = {"extensions": ["myst_parser"], "myst_heading_anchors": 4}
    folders = (tmp_path, None, tmp_path / "site", tmp_path / "trees")
    Sphinx(*folders, "dummy", confoverrides=settings, status=None, warning=warnings).build()
    assert warning in warnings.getvalue() and bool(warning) == bool(warnings.getvalue())
    makefile = (ROOT / "Makefile").read_text()
    assert "--fail-on-warning" in makefile and "\ntest: lint docs " in makefile
