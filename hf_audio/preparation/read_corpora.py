"""Reads one corpus without changes: files, by a corpus module, or a dataset, depending on the settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.config import CorpusConfig, DataConfig
from hf_audio.corpora import Corpus, corpus_named, obtain_corpus
from hf_audio.corpora._dataset import DatasetReading, Place, read_card, read_dataset
from hf_audio.corpora.folder import Reading
from hf_audio.data.index.columns import with_split
from hf_audio.data.index.table import CorpusCard
from hf_audio.data.index.understanding import Understanding
from hf_audio.errors import InputError
from hf_audio.preparation.sources import DATASET, FEATURES, each_corpus, source_and_reading


def corpora_of(data: CorpusConfig, token: str | bool | None = None) -> list[CorpusCard]:
    """The corpora of the clips, including negatives, each with its own license.

    Args:
        token: Hub token, for the card of a dataset.
    """
    own = [_card_of(one, token) for one in each_corpus(data).values()]
    return [*own, *([corpus_named(data.negatives).card] if data.negatives else [])]


def _card_of(data: CorpusConfig, token: str | bool | None) -> CorpusCard:
    (source, reading), corpus = source_and_reading(data, token), corpus_named(data.corpus)
    if source.kind != DATASET:
        return corpus.card
    return _card_of_dataset(corpus, read_card(source.place, reading))


def recordings(name: str, data_dir: str | None, flag: str = "--data_dir") -> Path:
    """The folder with a corpus's recordings; without `data_dir` they are downloaded or rendered below corpora/."""
    if data_dir:
        return Path(data_dir)
    if name == "folder":
        raise InputError(
            f"No data to train on: give {flag} DIR (class folders, or a table with path and label), or --dataset "
            "USER/NAME for a dataset on the Hub, with recordings or features"
        )
    try:
        return obtain_corpus(
            name, Path("corpora") / name
        )  # the index's error says where to get corpora that cannot be downloaded
    except InputError as error:  # errors of corpora name the usual flag
        raise InputError(str(error).replace("--data_dir", flag)) from error


class ReadCorpus(NamedTuple):
    """The clips of a corpus (`split`: official, the name of a fold, or None), how they were read, and its card."""

    clips: pa.Table
    understanding: Understanding | None
    card: CorpusCard


def read_corpus(data: DataConfig, token: str | bool | None = None) -> ReadCorpus:
    """The clips of the corpus.

    Args:
        token: Hub token; by default HF_TOKEN or the stored token.

    Raises:
        InputError: from the corpus or the dataset, or a setting is for files and not for datasets, or vice versa.
    """
    (source, reading), corpus = source_and_reading(data, token), corpus_named(data.corpus)
    official = data.split == "official"
    if source.kind == FEATURES:
        raise InputError(f"{data.dataset} contains features, not recordings: give --data_dir, or a dataset with audio")
    if source.kind == DATASET:
        read = _read_dataset(source.place, reading, corpus, official)
    else:
        read = _read_files(source.data_dir, reading, corpus, official)
    return read if official else read._replace(clips=with_split(read.clips, None))


def _read_dataset(place: Place, reading: DatasetReading, corpus: Corpus, official: bool) -> ReadCorpus:
    if corpus.name != "folder" and corpus.of_dataset is None:
        raise InputError(
            f"--corpus {corpus.name} can only read files, not datasets such as {place.name}: give --corpus folder to "
            "read it like any other dataset, or --data_dir instead of --dataset"
        )
    clips, understanding, card = read_dataset(place, reading)
    if corpus.of_dataset and official:
        known = corpus.of_dataset(clips)
        understanding = _as_known(understanding, corpus.name, clips, known)
        clips = known
    return ReadCorpus(clips, understanding, _card_of_dataset(corpus, card))


def _card_of_dataset(corpus: Corpus, card: CorpusCard) -> CorpusCard:
    """The card of a dataset; for a copy of a known corpus, the corpus's card with the source of the copy."""
    if corpus.name == "folder":
        return card
    return dataclasses.replace(corpus.card, source=card.source, revision=card.revision)


def _as_known(understanding: Understanding, name: str, clips: pa.Table, known: pa.Table) -> Understanding:
    """How a copy of a known corpus was read, including what its module has added."""
    flat = pc.value_counts(pc.list_flatten(known["labels"])).to_pylist()
    counts = pc.value_counts(pc.fill_null(known["split"], "none")).to_pylist()
    splits = [f"{one['values']} {one['counts']:,}" for one in counts]
    left_out = (
        [f"{len(clips) - len(known):,} clips that --corpus {name} does not list"] if len(known) < len(clips) else []
    )
    return dataclasses.replace(
        understanding,
        class_counts=dict(sorted((one["values"], one["counts"]) for one in flat)),
        num_clips=len(known),
        groups=f"as in --corpus {name} ({pc.count_distinct(known['group']).as_py():,} groups)",
        groups_known=True,
        splits=f"as in --corpus {name} ({', '.join(splits)})",
        left_out=(*understanding.left_out, *left_out),
    )


def _read_files(data_dir: str | None, reading: Reading, corpus: Corpus, official: bool) -> ReadCorpus:
    if reading != Reading() and not corpus.understand:
        given = next(name for name, value in vars(reading).items() if value != getattr(Reading(), name))
        raise InputError(f"--{given} is for --corpus folder, but the layout of {corpus.name} is known: leave it out")
    clips, understanding = corpus.read(recordings(corpus.name, data_dir), reading, official=official)
    return ReadCorpus(clips, understanding, corpus.card)
