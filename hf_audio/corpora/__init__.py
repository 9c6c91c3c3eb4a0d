"""Corpora: each module in this folder reads one, and is found by its name without a registry to edit.

A corpus module has

    CARD: CorpusCard                      its license, citation and protocol
    index(root: Path) -> pyarrow.Table    every clip, a row each, see hf_audio.data.index.table, from the layout on disk
    understand(root, reading)             optional: clips, and how a layout was read that is not known beforehand
    index_for_random_split(root)          optional: the same without official splits, where more than these change
    of_dataset(clips)                     optional: clips of a copy on the Hub, with what is known of them here
    CLASS_FAMILIES                        optional: {family: classes}, each class in one, for --loss family
    SOURCE: Archives or Mirdata           optional: where it is downloaded from, and what its files should be
    obtain(root: Path) -> None            optional: downloads or renders it, resumable

Modules whose name starts with an underscore serve a corpus and are none themselves.
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
    """The corpus module called `name`; an unknown name is an InputError that names the nearest."""
    if name not in corpus_names():
        raise unknown_name("corpus", name, corpus_names())
    return importlib.import_module(f"{__name__}.{name}")


class Corpus(NamedTuple):
    """What a corpus module has, None where it has no such part: the one place that asks for it."""

    name: str
    card: CorpusCard
    index: Callable[[Path], pa.Table]  # type: ignore[assignment]  # the name of a tuple's method
    understand: Callable[[Path, Reading], tuple[pa.Table, Understanding]] | None
    index_for_random_split: Callable[[Path], pa.Table] | None
    of_dataset: Callable[[pa.Table], pa.Table] | None
    source: Archives | Mirdata | None
    obtain: Callable[..., None] | None

    def read(self, root: Path, reading: Reading, *, official: bool = True) -> tuple[pa.Table, Understanding | None]:
        """The clips below a folder, and how they were read where that had to be found out.

        Args:
            reading: what the user says of a folder or table.
            official: with official splits; without them there may be other clips.
        """
        if self.understand:
            return self.understand(root, reading)
        without = None if official else self.index_for_random_split
        return (without or self.index)(root), None


def corpus_named(name: str) -> Corpus:
    """All that a corpus module has; an unknown name is an InputError that names the nearest."""
    module = find_corpus(name)
    optional = ("understand", "index_for_random_split", "of_dataset", "SOURCE", "obtain")
    return Corpus(name, module.CARD, module.index, *(getattr(module, part, None) for part in optional))


def families_of_corpus(title: str) -> dict[str, tuple[str, ...]] | None:
    """The families of classes that are known of a corpus, by the title on its card; None where none are."""
    modules = (find_corpus(name) for name in corpus_names())
    return next((getattr(one, "CLASS_FAMILIES", None) for one in modules if one.CARD.name == title), None)


def obtain_corpus(name: str, root: Path, subset: str | None = None) -> Path:
    """Downloads or renders what is missing of a corpus, where that can be done; the folder to give as --data_dir.

    Args:
        name: of its module.
        root: the folder it goes to.
        subset: a part that can be had alone, such as FMA's "medium"; None is the corpus's default.

    Raises:
        InputError: there is no such subset, or something went wrong with the download.
    """
    corpus = corpus_named(name)
    subsets = _subsets(corpus)
    if subset is not None and len(subsets) < 2:
        raise InputError(f"{corpus.card.name} has no subsets; leave out --subset {subset}")
    if corpus.obtain:
        corpus.obtain(root, **({} if subset is None else {"subset": subset}))
    of_subset = root / f"{name}_{subset or next(iter(subsets), '')}"  # FMA's lie side by side: a folder names the one
    return of_subset if of_subset.is_dir() else root


def verify_corpus(name: str, root: Path) -> None:
    """Reads every file of a downloaded corpus and prints a table of those that are not as they should be.

    Raises:
        InputError: there are such files, or nothing to compare them with.
    """
    corpus = corpus_named(name)
    if not corpus.source:
        raise InputError(
            f"There are no checksums of {corpus.card.name} ({_how(corpus)}), so it cannot be verified; leave out "
            "--verify"
        )
    faults = corpus.source.verify(root, corpus.card)
    if not faults:
        show(f"{corpus.card.name} in {root} is complete: every file is there, with the right content")
        return
    show("| file | found | expected |\n|---|---|---|")
    for fault in faults[:MAX_FAULTS_SHOWN]:
        show(f"| {fault.path} | {fault.found} | {fault.expected} |")
    if len(faults) > MAX_FAULTS_SHOWN:
        show(f"| and {len(faults) - MAX_FAULTS_SHOWN} more | | |")
    raise InputError(
        f"{len(faults)} files of {corpus.card.name} in {root} are missing or damaged, first {faults[0].path}; "
        f"{corpus.source.mend(root, faults)} and run hf-audio corpora {name} again without --verify"
    )


def corpus_table() -> str:
    """All corpora as a Markdown table: name, size of the download, how it is got, license, homepage."""
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
