"""What errors and pages tell people to install: the extra exists, has the library, and is named before any work."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest
from test_dependencies import ROOT, distributions_of_imports, normal, requirements

from hf_audio import InputError
from hf_audio.analysis.data_figures import draw_features
from hf_audio.kinds.classical import ClassicalFeatures
from hf_audio.label_quality.embedding_map import write_embedding_map
from hf_audio.label_quality.errors import find_label_errors
from hf_audio.label_quality.planted_errors import find_planted_errors

HINT = re.compile(r"hf_audio\[([\w,]+)\]")
# Modules that are only reached through another one, which has the hint
HINTED_BY = {
    "corpora/_midi_sound.py": "corpora/_midi_soundfont.py",
    "extractors/compiled_librosa.py": "kinds/classical.py",
    "serving/": "commands/serve.py",
}
# Goes out with models, whose cards and requirements.txt name the packages
PUBLISHED = "publishing/handlers/"


def hints_in(text: str) -> set[str]:
    return {extra for names in HINT.findall(text) for extra in names.split(",")}


def optional_imports(path: Path) -> set[str]:
    """The packages that a module imports and that only an extra installs."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module]
        for name in names:
            found |= {normal(one) for one in distributions_of_imports().get(name.split(".")[0], [])}
    listed = requirements()
    extras = {name for extra, names in listed.items() if extra not in ("", "test", "docs") for name in names}
    return (found & extras) - listed[""]


def test_every_hint_names_an_extra():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    code = [path for folder in ("hf_audio", "scripts", "recipes") for path in (ROOT / folder).rglob("*.py")]
    hints = {path: hints_in(path.read_text(encoding="utf-8")) for path in (*pages, *code)}
    assert sum(map(bool, hints.values())) > 20
    wrong = {str(path.relative_to(ROOT)): extras - set(requirements()) for path, extras in hints.items()}
    assert {path: extras for path, extras in wrong.items() if extras} == {}


def test_whoever_imports_a_library_of_an_extra_names_the_extra():
    package, listed, wrong = ROOT / "hf_audio", requirements(), []
    for path in package.rglob("*.py"):
        place = path.relative_to(package).as_posix()
        if place.startswith(PUBLISHED):
            continue
        speaker = next((other for start, other in HINTED_BY.items() if place.startswith(start)), place)
        hints = hints_in((package / speaker).read_text(encoding="utf-8"))
        offered = {name for extra in hints & set(listed) for name in listed[extra]}
        wrong += [f"{place} imports {name}; {speaker} offers {hints}" for name in optional_imports(path) - offered]
    assert wrong == []


@pytest.mark.parametrize(
    ("work", "extra"),
    [
        (lambda folder: find_label_errors(None), "audit"),
        (lambda folder: find_planted_errors(None, 0.1, [0]), "audit"),
        (lambda folder: write_embedding_map(None, folder, projections=["umap"]), "figures"),
        (lambda folder: draw_features(None, folder, projections=["pca", "umap"]), "figures"),
        (lambda folder: ClassicalFeatures(), "classical"),
    ],
)
def test_a_missing_library_is_named_before_anything_is_read(work, extra, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    with pytest.raises(InputError, match=rf'pip install "hf_audio\[{extra}\]"'):
        work(tmp_path / "new")
    assert not (tmp_path / "new").exists()
