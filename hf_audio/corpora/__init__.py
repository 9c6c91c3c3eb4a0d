"""Corpora: each module in this folder reads one, and is found by its name without a registry to edit.

A corpus module has

    CARD: CorpusCard                      its licence, citation and protocol
    index(root: Path) -> pyarrow.Table    every clip, a row each, see hf_audio.data.index.table, from the layout on disk
    understand(root, reading)             optional: clips, and how a layout was read that is not known beforehand
    index_for_random_split(root)          optional: the same without official splits, where more than these change
    SOURCE: Archives or Mirdata           optional: where it is downloaded from, and what its files should be
    obtain(root: Path) -> None            optional: downloads or renders it, resumable

Modules whose name starts with an underscore serve a corpus and are none themselves.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType

from hf_audio.errors import InputError, unknown_name
from hf_audio.terminal import show

MOST_FAULTS_SHOWN = 50


def corpus_names() -> list[str]:
    """Names of all corpora."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def find_corpus(name: str) -> ModuleType:
    """The corpus module called `name`; an unknown name is an InputError that names the nearest."""
    if name not in corpus_names():
        raise unknown_name("corpus", name, corpus_names())
    return importlib.import_module(f"{__name__}.{name}")


def obtain_corpus(name: str, root: Path, subset: str | None = None) -> Path:
    """Downloads or renders what is missing of a corpus, where that can be done; the folder to give as --data_dir.

    Args:
        name: of its module.
        root: the folder it goes to.
        subset: a part that can be had alone, such as FMA's "medium"; None is the corpus's default.

    Raises:
        InputError: there is no such subset, or something went wrong with the download.
    """
    corpus = find_corpus(name)
    subsets = _subsets(corpus)
    if subset is not None and len(subsets) < 2:
        raise InputError(f"{corpus.CARD.name} has no subsets to choose from; leave out --subset {subset}")
    if hasattr(corpus, "obtain"):
        corpus.obtain(root, **({} if subset is None else {"subset": subset}))
    of_subset = root / f"{name}_{subset or next(iter(subsets), '')}"  # FMA's lie side by side: a folder names the one
    return of_subset if of_subset.is_dir() else root


def verify_corpus(name: str, root: Path) -> None:
    """Reads every file of a downloaded corpus and prints a table of those that are not as they should be.

    Raises:
        InputError: there are such files, or nothing to compare them with.
    """
    corpus = find_corpus(name)
    if not hasattr(corpus, "SOURCE"):
        raise InputError(
            f"There are no checksums of {corpus.CARD.name} ({_how(corpus)}), so it cannot be verified; leave out "
            "--verify"
        )
    faults = corpus.SOURCE.verify(root, corpus.CARD)
    if not faults:
        show(f"{corpus.CARD.name} in {root} is as it was published: every file is there and right")
        return
    show("| file | found | expected |\n|---|---|---|")
    for fault in faults[:MOST_FAULTS_SHOWN]:
        show(f"| {fault.path} | {fault.found} | {fault.expected} |")
    if len(faults) > MOST_FAULTS_SHOWN:
        show(f"| and {len(faults) - MOST_FAULTS_SHOWN} more | | |")
    raise InputError(
        f"{len(faults)} files of {corpus.CARD.name} in {root} are missing or damaged, first {faults[0].path}; "
        f"{corpus.SOURCE.mend(root, faults)} and run scripts/download_corpus.py {name} again without --verify"
    )


def corpus_table() -> str:
    """All corpora as a Markdown table: name, size of the download, how it is got, licence, homepage."""
    lines = ["| name | corpus | to download | how | licence | homepage |", "|---|---|---:|---|---|---|"]
    for name in corpus_names():
        corpus = find_corpus(name)
        subsets = _subsets(corpus)
        how = _how(corpus) + (f" (--subset {', '.join(subsets)})" if len(subsets) > 1 else "")
        size = corpus.SOURCE.size if hasattr(corpus, "SOURCE") else ""
        card = corpus.CARD
        lines.append(f"| {name} | {card.name} | {size} | {how} | {card.licence} | {card.homepage} |")
    return "\n".join(lines)


def _subsets(corpus: ModuleType) -> tuple[str, ...]:
    return tuple(corpus.SOURCE.subsets) if hasattr(corpus, "SOURCE") else ()


def _how(corpus: ModuleType) -> str:
    if hasattr(corpus, "SOURCE"):
        return corpus.SOURCE.how
    return "rendered" if hasattr(corpus, "obtain") else "by hand"
