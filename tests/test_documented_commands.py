"""Programs accept every command in README, docs and CONTRIBUTING: names, flags and values."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from transformers.integrations import INTEGRATION_TO_CALLBACK

import hf_audio
from hf_audio.parsing import parse_recipe, parse_settings
from hf_audio.training import argument_checks

ROOT = Path(__file__).resolve().parent.parent
PAGES = (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"))
RECIPE = re.compile(r"(?:accelerate launch(?: --\w+ \S+)*|python) (recipes/\w+\.py)(.*)")
OF_TEMPLATES = "--model frames", "--loss poly"  # docs/extending.md: they exist once the template is copied


class TakenError(Exception):
    """Ends a program after its command line was parsed."""


def commands(page: Path) -> Iterator[str]:
    """The shell commands in a page's code blocks, one per line, without those that have a gap (`...`, `$DATA`)."""
    text = re.sub(r"\\\n\s*", "", page.read_text())
    fenced = "\n".join(re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    indented = "\n".join(re.findall(r"^ {4}((?:accelerate|hf-audio) .*)", text, re.MULTILINE))
    for line in f"{fenced}\n{indented}".splitlines():
        if not (re.search(r"\.\.\.|\$|--help|COMMAND", line) or any(name in line for name in OF_TEMPLATES)):
            yield line.split("| ")[-1].strip()


def kinds_of(parser: type) -> Iterator[type]:
    """All subclasses of a class."""
    for kind in parser.__subclasses__():
        yield kind
        yield from kinds_of(kind)


def arguments(line: str) -> list[str]:
    return shlex.split(line, comments=True)


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
    """A folder with the files that commands name, with YAML from the pages. All trackers count as installed."""
    for page in PAGES:
        for name, text in re.findall(r"```yaml\n# (\w+\.yaml)\n(.*?)```", page.read_text(), re.DOTALL):
            (tmp_path / name).write_text(text)
    monkeypatch.setattr(argument_checks, "get_available_reporting_integrations", lambda: [*INTEGRATION_TO_CALLBACK])
    of_a_run = tmp_path / "runs" / "cnn_folder" / "config.yaml"
    of_a_run.parent.mkdir(parents=True)
    of_a_run.write_text("data_dir: recordings\n")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_recipes_accept_documented_flags(page, in_a_folder):
    for line in commands(page):
        if found := RECIPE.match(line):
            recipe = runpy.run_path(str(ROOT / found[1]))
            parse_recipe(recipe["VALUES"], recipe.get("DEMO"), argv=arguments(found[2]))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_hf_audio_accepts_documented_flags(page, in_a_folder, monkeypatch):
    def stops_behind(parse):
        def parsed(*args, **settings):
            parse(*args, **settings)
            raise TakenError

        return parsed

    for parser in (argparse.ArgumentParser, *kinds_of(argparse.ArgumentParser)):
        if "parse_args" in vars(parser):
            monkeypatch.setattr(parser, "parse_args", stops_behind(parser.parse_args))
    monkeypatch.setattr(hf_audio, "parse_settings", stops_behind(parse_settings))
    for line in commands(page):
        if line.startswith("hf-audio "):
            _, name, *rest = arguments(line)
            with pytest.raises(TakenError):
                import_module(f"hf_audio.commands.{name.replace('-', '_')}").main(rest)
