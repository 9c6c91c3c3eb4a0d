"""Pages, cards, help and comments use the field's words: each of these has a better one beside it."""

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
    r"(normali|equali|optimi|initiali|standardi|quanti|regulari|synthesi)s(e|ed|er|ing|ation)\b": "-ize",
    r"\bcolour|\bcentre|\blabelled\b": "color, center, labeled",
    r"\bone [a-z]+ a (class|window|clip|file|track|song|recording)\b": "one ... per ...",
    r"\breference rows?\b|\bprior alone\b": "baselines, class-prior baseline",
    r"\bmean and deviations?\b": "mean and standard deviation",
    r"\bpretend(s|ed)?\b": "inflate: leakage inflates accuracy",
    r"\b\d+ passes\b": "epochs",
    r"\bwas meant\b": "the goal was",
    r"\blearners?\b": "classical model",
    r"\ba image\b|\ban (plot|figure|spectrogram)\b": "the article",
    r"\b(MOST|LEAST|FEWEST)_[A-Z]": "MAX_, MIN_",
}


@pytest.mark.parametrize("word", BETTER)
def test_there_is_a_better_word(word):
    pattern = re.compile(word)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in TEXTS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert found == [], f"say {BETTER[word]}"
