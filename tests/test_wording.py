"""Pages, cards, help, messages and comments use the field's words: these words have a better one.

Spelling is checked by codespell, which `make lint` runs.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OWN = Path(__file__).name
TEXTS = [
    path
    for pattern in (
        *("*.md", "docs/*.md", "hf_audio/**/*.py", "hf_audio/**/*.md"),
        *("recipes/*.py", "scripts/*.py", "tests/*.py"),
    )
    for path in ROOT.glob(pattern)
    if path.name != OWN
]
BETTER = {
    r"licen[c]e": "license",
    r"(?<!\", \")(normali|equali|optimi|initiali|standardi|quanti|regulari|synthesi)s(e|ed|er|ing|ation)\b": "-ize",
    r"\bcolour|\bcentre|\blabelled\b": "color, center, labeled",
    r"\bone [a-z]+ a (class|window|clip|file|track|song|recording)\b": "one ... per ...",
    r"\breference rows?\b|\bprior alone\b": "baselines, class-prior baseline",
    r"\bmean and deviations?\b": "mean and standard deviation",
    r"\bpretend(s|ed)?\b": "inflate: leakage inflates accuracy",
    r"\b\d+ passes\b": "epochs",
    r"\bwas meant\b": "the goal was",
    r"\blearners?\b": "classical model",
    r"\ba image\b|\ban (plot|figure|spectrogram)\b": "the article",
    r"\bnothing validated on\b": "no validation split",
    r"\bof most instruments nobody\b|\bnobody was asked\b": "not annotated",
    r"\bours stand\b": "ours are",
    r"\bis meant (for|to)\b|\bare meant (for|to)\b": "is for, should",
    r"\btakes? for harmless\b": "considers safe",
    r"\b(MOST|LEAST|FEWEST)_[A-Z]": "MAX_, MIN_",
}


# Of the package, its scripts and its tests: docstrings, comments, messages and cards.
BETTER_IN_CODE = {
    r"\blearnt\b": "learned",
    r"\b[Aa]new\b": "again, rebuild, redraw",
    r"\bmend(s|ing)?\b(?!\()": "fix",
    r"\b[Ss]omebody\b": "someone",
    r"\b[Ss]trangers?\b": "untrusted, third-party",
    r"\b[Ww]hoever\b": "anyone who, those who",
    r"\bis there already\b": "already exists",
    r"\bin the midst\b": "within",
    r"\b(hang|hangs|hung) on\b": "depend on",
    r"\b[Tt]oo good\b": "inflated, optimistic",
    r"\bclips? carr(y|ies)\b": "clips have",
    r"\bso many (s|Hz|samples)\b": "this many",
    r"\bpartial here\b": "this copy is partial",
}
IN_CODE = [path for path in TEXTS if path.relative_to(ROOT).parts[0] in ("hf_audio", "scripts", "tests")]
TEXT_OF = {path: path.read_text(encoding="utf-8") for path in TEXTS}


def places_of(word: str, paths: list[Path]) -> list[str]:
    """Where a pattern occurs: file, line number and line."""
    pattern = re.compile(word)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in paths
        if pattern.search(TEXT_OF[path])
        for number, line in enumerate(TEXT_OF[path].splitlines(), start=1)
        if pattern.search(line)
    ]


@pytest.mark.parametrize("word", BETTER)
def test_there_is_a_better_word(word):
    assert places_of(word, TEXTS) == [], f"use {BETTER[word]}"


@pytest.mark.parametrize("word", BETTER_IN_CODE)
def test_there_is_a_better_word_in_code(word):
    assert places_of(word, IN_CODE) == [], f"use {BETTER_IN_CODE[word]}"
