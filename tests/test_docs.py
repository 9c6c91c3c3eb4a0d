"""Recipes, scripts and flags that pages name exist, and so do the modules in docs/architecture.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
CODE = [path for name in ("recipes", "scripts", "hf_audio") for path in (ROOT / name).rglob("*.py")]
OF_OTHERS = {
    "--list",
    *("--data-binary", "--tag", "--publish", "--volume", "--env"),
    "--logdir",
    "--num_processes",
    "--config_file",
    "--ignore-length",
    "--machine_rank",
    "--main_process_ip",
    "--num_machines",
    "--quiet",
}  # flags of accelerate, sox ...


def test_files_named_in_pages_exist():
    for page in (*PAGES, *CODE):
        named = set(re.findall(r"\b(?:recipes|scripts|tests|docs)/[\w/]+\.(?:py|md|sh|yaml)\b", page.read_text()))
        missing = [name for name in sorted(named) if not (ROOT / name).exists() and "NAME" not in name]
        assert missing == [], page


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_flags_named_in_pages_exist(page):
    from dataclasses import fields

    from transformers import TrainingArguments

    code = "\n".join(path.read_text() for path in CODE)
    known = {field.name for field in fields(TrainingArguments)} | set(re.findall(r"^ {4}(\w+):", code, re.MULTILINE))
    flags = set(re.findall(r"(?<![\w-])--[a-z][a-z_-]+\b(?!_?\.\.)", page.read_text())) - OF_OTHERS
    assert [flag for flag in sorted(flags) if flag[2:] not in known and f'"{flag}"' not in code] == []


def test_modules_named_in_the_architecture_exist():
    rows = re.findall(r"^\| `([\w/]+)/` \|(.*)", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE)
    assert len(rows) > 10
    for folder, told in rows:
        places = [ROOT / "hf_audio" / folder, ROOT / "hf_audio"]
        for name in re.findall(r"`([\w/]+\.py)`", told):
            assert any((place / name).is_file() for place in places), f"{folder}: {name}"
