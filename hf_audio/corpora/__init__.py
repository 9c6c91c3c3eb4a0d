"""Corpora: each module in this folder reads one corpus and is found by its name, without a registry.

A corpus module has

    CARD: CorpusCard                      its license, citation and protocol
    index(root: Path) -> pyarrow.Table    all clips, one row each (hf_audio.data.index.table), from the files on disk
    understand(root, reading)             optional: clips, and how they were read, if the layout is not fixed
    index_for_random_split(root)          optional: clips for a random split, if more than the split column differs
    of_dataset(clips)                     optional: fills in groups, splits ... for the clips of a copy on the Hub
    CLASS_FAMILIES                        optional: {family: classes}, each class in one family, for --loss family
    SOURCE: Archives or Mirdata           optional: its downloads and checksums
    obtain(root: Path) -> None            optional: downloads or renders it, resumable

Modules whose names start with an underscore are not corpora but helpers for them.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from hf_audio.data.index.table import CorpusCard
from hf_audio.data.index.understanding import Understanding
from hf_audio.errors import InputError, unknown_name
from hf_audio.terminal import show

if TYPE_CHECKING:
    from hf_audio.corpora._mirdata import Mirdata
    from hf_audio.corpora._source import Archives
    from hf_audio.corpora.folder import Reading

MAX_FAULTS_SHOWN = 50


def corpus_names() -> list[str]:
    """Names of all corpora."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def find_corpus(name: str) -> ModuleType:
    """The corpus module with this name; an unknown name is an InputError that suggests the nearest."""
    if name not in corpus_names():
        raise unknown_name("corpus", name, corpus_names())
    return importlib.import_module(f"{__name__}.{name}")


class Corpus(NamedTuple):
    """The parts of a corpus module; optional parts are None if it lacks them."""

    name: str
    card: CorpusCard
    index: Callable[[Path], pa.Table]  # type: ignore[assignment]  # the name of a tuple's method
    understand: Callable[[Path, Reading], tuple[pa.Table, Understanding]] | None
    index_for_random_split: Callable[[Path], pa.Table] | None
    of_dataset: Callable[[pa.Table], pa.Table] | None
    source: Archives | Mirdata | None
    obtain: Callable[..., None] | None

    def read(self, root: Path, reading: Reading, *, official: bool = True) -> tuple[pa.Table, Understanding | None]:
        """The clips below a folder, and how they were read if the layout is not fixed.

        Args:
            root: the folder.
            reading: the user's settings for a folder or table.
            official: whether to use official splits; without them, the clips may differ.
        """
        if self.understand:
            return self.understand(root, reading)
        without = None if official else self.index_for_random_split
        return (without or self.index)(root), None


def corpus_named(name: str) -> Corpus:
    """The parts of a corpus module; an unknown name is an InputError that suggests the nearest."""
    module = find_corpus(name)
    optional = ("understand", "index_for_random_split", "of_dataset", "SOURCE", "obtain")
    return Corpus(name, module.CARD, module.index, *(getattr(module, part, None) for part in optional))


def families_of_corpus(title: str) -> dict[str, tuple[str, ...]] | None:
    """The families of classes of a corpus, by the title on its card; None if it has none."""
    modules = (find_corpus(name) for name in corpus_names())
    return next((getattr(one, "CLASS_FAMILIES", None) for one in modules if one.CARD.name == title), None)


def obtain_corpus(name: str, root: Path, subset: str | None = None) -> Path:
    """Downloads or renders the missing parts of a corpus, if possible, and returns the folder to give as --data_dir.

    Args:
        name: the name of its module.
        root: the target folder.
        subset: a part that can be downloaded on its own, such as FMA's "medium"; None for the corpus's default.

    Raises:
        InputError: there is no such subset, or the download failed.
    """
    corpus = corpus_named(name)
    subsets = _subsets(corpus)
    if subset is not None and len(subsets) < 2:
        raise InputError(f"{corpus.card.name} has no subsets; leave out --subset {subset}")
    if corpus.obtain:
        corpus.obtain(root, **({} if subset is None else {"subset": subset}))
    of_subset = root / f"{name}_{subset or next(iter(subsets), '')}"  # FMA has a folder per subset
    return of_subset if of_subset.is_dir() else root


def verify_corpus(name: str, root: Path) -> None:
    """Reads every file of a downloaded corpus and prints a table of missing and damaged files.

    Raises:
        InputError: files are missing or damaged, or the corpus has no checksums.
    """
    corpus = corpus_named(name)
    if not corpus.source:
        raise InputError(
            f"There are no checksums for {corpus.card.name} ({_how(corpus)}), so it cannot be verified; leave out "
            "--verify"
        )
    faults = corpus.source.verify(root, corpus.card)
    if not faults:
        show(f"{corpus.card.name} in {root} is complete: every file exists and has the right content")
        return
    show("| file | found | expected |\n|---|---|---|")
    for fault in faults[:MAX_FAULTS_SHOWN]:
        show(f"| {fault.path} | {fault.found} | {fault.expected} |")
    if len(faults) > MAX_FAULTS_SHOWN:
        show(f"| and {len(faults) - MAX_FAULTS_SHOWN} more | | |")
    raise InputError(
        f"{len(faults)} files of {corpus.card.name} in {root} are missing or damaged, first {faults[0].path}; "
        f"{corpus.source.remedy(root, faults)} and run hf-audio corpora {name} again without --verify"
    )


def corpus_table() -> str:
    """All corpora as a Markdown table: name, download size, how to get it, license, homepage."""
    lines = ["| name | corpus | to download | how | license | homepage |", "|---|---|---:|---|---|---|"]
    for name in corpus_names():
        corpus = corpus_named(name)
        subsets = _subsets(corpus)
        how = _how(corpus) + (f" (--subset {', '.join(subsets)})" if len(subsets) > 1 else "")
        size = corpus.source.size if corpus.source else ""
        card = corpus.card
        lines.append(f"| {name} | {card.name} | {size} | {how} | {card.license} | {card.homepage} |")
    return "\n".join(lines)


def _subsets(corpus: Corpus) -> tuple[str, ...]:
    return tuple(corpus.source.subsets) if corpus.source else ()


def _how(corpus: Corpus) -> str:
    if corpus.source:
        return corpus.source.how
    return "rendered" if corpus.obtain else "by hand"
