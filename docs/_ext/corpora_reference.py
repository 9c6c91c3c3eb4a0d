"""A section per corpus, from its module: what it is, its classes and license, how to get it, its recipes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from repository_links import REPOSITORY

from hf_audio.corpora import Corpus, corpus_named, corpus_names, corpus_table, find_corpus
from hf_audio.markdown import escaped, link

TASKS = {
    "single_label_classification": "one class per clip",
    "multi_label_classification": "several labels per clip",
    None: "what its labels say",
}


def corpora_reference() -> str:
    """All corpora as Markdown: the table of `hf-audio corpora --list`, then one section each."""
    return "\n\n".join([corpus_table(), *(part for name in corpus_names() for part in _section(corpus_named(name)))])


def _section(corpus: Corpus) -> Iterator[str]:
    card = corpus.card
    yield f"## {escaped(card.name)}"
    title, _, rest = (find_corpus(corpus.name).__doc__ or "").partition("\n")
    yield title
    yield rest.strip("\n")
    yield "\n".join(f"- {fact}" for fact in _facts(corpus))
    if card.citation:
        yield f"Cite: {escaped(card.citation)}"


def _facts(corpus: Corpus) -> Iterator[str]:
    card, recipes = corpus.card, recipes_of(corpus.name)
    yield f"**Task**: {TASKS.get(card.problem_type, card.problem_type)}"
    if card.label_names:
        yield f"**Classes** ({len(card.label_names)}): {escaped(', '.join(card.label_names))}"
    may = "may" if card.may_redistribute else "may not"
    yield f"**License**: {escaped(card.license)}; audio and features {may} be published"
    if card.homepage:
        yield f"**Homepage**: {link(card.homepage, card.homepage)}"
    if card.protocol:
        yield f"**Protocol**: {escaped(card.protocol)}"
    if corpus.source:
        yield f"**Download** ({corpus.source.size}): `hf-audio corpora {corpus.name}`"
    elif corpus.obtain:
        yield f"**Rendered** on the spot: `hf-audio corpora {corpus.name}`"
    if recipes:
        yield f"**Recipes**: {', '.join(f'`recipes/{name}`' for name in recipes)}"


def recipes_of(corpus: str) -> list[str]:
    """Names of the recipes whose own values name this corpus; their demo values do not count."""
    recipes = sorted((REPOSITORY / "recipes").glob("*.py"))
    return [path.name for path in recipes if _values(path).get("corpus") == corpus]


def _values(path: Path) -> dict[str, Any]:
    """The VALUES of a recipe, as far as they are plain constants."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "VALUES":
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return {key.value: value.value for key, value in pairs if isinstance(value, ast.Constant)}
    return {}
