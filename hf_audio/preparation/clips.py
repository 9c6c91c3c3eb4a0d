"""From settings to the clips of a corpus: index, corrections, negatives, splits, mixtures, one line each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.config import CorpusConfig, DataConfig, MixingConfig, SplitConfig
from hf_audio.corpora import find_corpus, obtain_corpus
from hf_audio.corpora.folder import Reading
from hf_audio.data.index.columns import names_in, with_split, with_values
from hf_audio.data.index.label_overrides import CorrectedLabels, correct_labels
from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.data.index.mixtures import mix_clips
from hf_audio.data.index.table import CLIP_COLUMNS, CorpusCard
from hf_audio.data.index.understanding import Understanding
from hf_audio.data.sharing.columns import as_stored
from hf_audio.data.splits.assigning import assign_splits
from hf_audio.errors import InputError
from hf_audio.preparation.sample_rates import with_low_rates
from hf_audio.privacy import public_value

MOST_UNDERSTOOD = 5_000  # letters in a card


class CorpusClips(NamedTuple):
    """A corpus as it will be trained on: its index with splits, the classes, and what readers must know of it.

    `understanding` says how a folder or table was read, and is None for corpora whose layout is known beforehand.
    """

    clips: pa.Table
    labels: LabelSpace
    card: CorpusCard
    understanding: Understanding | None = None


def corpus_clips(
    data: DataConfig,
    mixing: MixingConfig | None = None,
    *,
    sample_rate: int | None = None,
    tell: Callable[[str], object] | None = None,
) -> CorpusClips:
    """The clips that `data` asks for, from the recordings on disk; a corpus that is not there is obtained first.

    Args:
        data: what is asked for.
        mixing: mixtures that are to be made of the training clips.
        sample_rate: of the features in Hz; that many recordings lie below it is worth a remark.
        tell: takes, before anything is decided, the paragraph on how a folder or table was read.

    Raises:
        InputError: as the corpus and the split do, or settings that do not fit together.
    """
    clips, labels, card, understanding = _described(data, sample_rate, tell)
    official = set(names_in(clips["split"]))
    _check_classes(labels, clips)
    clips = _with_splits(clips, labels, data)
    clips = _added(clips, _negatives(data, labels, tell))
    clips, labels, note = _corrected(clips, labels, data)
    clips = _beginnings(clips, data.clip_s)
    mixtures = mix_clips(clips, labels, mixing or MixingConfig())
    card = _card(card, data, official, note, len(mixtures))
    return CorpusClips(_added(clips, mixtures), labels, card, understanding)


def corpus_as_it_is(data: DataConfig, *, tell: Callable[[str], object] | None = None) -> CorpusClips:
    """The clips of a corpus with its own splits or folds, see `as_stored`, and corrected labels; nothing is drawn.

    Args:
        data, tell: see `corpus_clips`.

    Raises:
        InputError: as the corpus does, or negatives, which are clips of another corpus.
    """
    if data.negatives:
        raise InputError(
            f"--negatives {data.negatives} are added where features are built, and are no recordings of this corpus: "
            "leave them out"
        )
    clips, labels, card, understanding = _described(data, None, tell)
    clips, labels, note = _corrected(as_stored(clips), labels, data)
    said = [card.protocol if understanding is None else "", note]
    card = dataclasses.replace(card, protocol=" ".join(filter(None, said)))
    return CorpusClips(_beginnings(clips, data.clip_s), labels, card, understanding)


def _described(data: DataConfig, sample_rate: int | None, tell: Callable[[str], object] | None) -> CorpusClips:
    """A corpus as it was read, which is told."""
    corpus = find_corpus(data.corpus)
    clips, understanding = read_corpus(data)
    if understanding:
        understanding = with_low_rates(understanding, clips, sample_rate)
        if tell:
            tell(understanding.paragraph())
        if data.strict:
            understanding.require_all_recordings()
    labels = label_space(corpus.CARD, clips, several=data.several_labels)
    return CorpusClips(clips, labels, _understood(corpus.CARD, clips, understanding), understanding)


def label_space(card: CorpusCard, clips: pa.Table, *, several: bool = False) -> LabelSpace:
    """The classes that the clips have, in the corpus's own order where it has one; `several` may apply to a clip."""
    found = names_in(clips["labels"])
    names = [name for name in card.label_names if name in found] if card.label_names else None
    return LabelSpace.of_clips(clips, names=names, problem_type=MULTI_LABEL if several else card.problem_type)


def corpora_of(data: CorpusConfig) -> list[CorpusCard]:
    """The corpora that the clips come from, each under its own licence: what is trained on, and its negatives."""
    return [find_corpus(name).CARD for name in (data.corpus, data.negatives) if name]


def recordings(name: str, data_dir: str | None, flag: str = "--data_dir") -> Path:
    """The folder with a corpus's recordings; without `data_dir` they are downloaded or rendered below corpora/."""
    if data_dir:
        return Path(data_dir)
    if name == "folder":
        raise InputError(
            f"Nothing to train on: give {flag} DIR (class folders, or a table with path and label), "
            "or --dataset USER/NAME for features on the Hub"
        )
    return obtain_corpus(name, Path("corpora") / name)  # got by hand: the index's error says where


def read_corpus(data: DataConfig) -> tuple[pa.Table, Understanding | None]:
    """The clips as the corpus has them, `split` official, the name of a fold, or None; and how they were read.

    Raises:
        InputError: as the corpus does, or settings for folders and tables of one's own.
    """
    corpus, reading = find_corpus(data.corpus), _reading(data)
    root = recordings(data.corpus, data.data_dir)
    if data.split == "official":
        return _understand(corpus, root, reading)
    if hasattr(corpus, "index_for_random_split"):
        clips, understanding = corpus.index_for_random_split(root), None
    else:
        clips, understanding = _understand(corpus, root, reading)
    return with_split(clips, None), understanding


def _reading(data: CorpusConfig) -> Reading:
    """What the settings say of a folder or table of the user's own; they are refused for corpora of a known layout."""
    reading = Reading(**{field.name: getattr(data, field.name) for field in dataclasses.fields(Reading)})
    if reading != Reading() and not hasattr(find_corpus(data.corpus), "understand"):
        given = next(name for name, value in vars(reading).items() if value != getattr(Reading(), name))
        raise InputError(f"--{given} is for --corpus folder, and the layout of {data.corpus} is known; leave it out")
    return reading


def _understand(corpus: ModuleType, root: Path, reading: Reading) -> tuple[pa.Table, Understanding | None]:
    return corpus.understand(root, reading) if hasattr(corpus, "understand") else (corpus.index(root), None)


def _check_classes(labels: LabelSpace, clips: pa.Table) -> None:
    """Refuse what no classifier can be trained on, before anything is built."""
    if len(labels) == 1 and not labels.is_multi_label:
        raise InputError(
            f"All {len(clips):,} clips are of one class, {labels.names[0]!r}, and a classifier needs two or more; give "
            "the folder that holds a folder for each class, or a table with path and label"
        )


def _understood(card: CorpusCard, clips: pa.Table, understanding: Understanding | None) -> CorpusCard:
    """The card of a corpus with what is known of its groups, and with how it was read where that had to be found out.

    Where every file is a group, whatever they are called, groups keep nothing apart.
    """
    known = pc.count_distinct(clips["group"]).as_py() < pc.count_distinct(clips["audio"]).as_py()
    if understanding is None:
        return dataclasses.replace(card, groups_known=known)
    known &= understanding.groups_known
    split_by = "Group-disjoint split" if known else "Split by files, of which no grouping is known"
    return dataclasses.replace(
        card,
        groups_known=known,
        protocol=f"{split_by}; {card.protocol[0].lower()}{card.protocol[1:]}",
        understood=str(public_value(understanding.paragraph()))[:MOST_UNDERSTOOD],
    )


def _with_splits(clips: pa.Table, labels: LabelSpace, data: SplitConfig) -> pa.Table:
    return assign_splits(
        clips,
        labels,
        fold=data.fold,
        num_folds=data.num_folds,
        test_groups=data.test_groups,
        test_fraction=data.test_fraction,
        validation_fraction=data.validation_fraction,
        validation_from=data.validation_from,
        test_to_train=data.test_to_train,
        seed=data.split_seed,
    )


def _negatives(data: CorpusConfig, labels: LabelSpace, tell: Callable[[str], object] | None) -> pa.Table:
    """Training clips of another corpus that have none of the classes; no clips where none is named."""
    if not data.negatives:
        return CLIP_COLUMNS.empty_table()
    if not labels.is_multi_label:
        raise InputError(
            f"--negatives {data.negatives} are clips without any class, but each clip has exactly one here: they need "
            "a corpus with several labels a clip, --several_labels, or a class folder of their own"
        )
    name = data.negatives
    root = recordings(name, data.negatives_dir, "--negatives_dir")
    clips, understanding = _understand(find_corpus(name), root, Reading())
    if understanding and tell:
        tell(f"Of --negatives {name}: {understanding.paragraph()}")
    clips = with_split(clips.select(CLIP_COLUMNS.names), "train")
    for column in ("clip_id", "group"):
        clips = with_values(clips, column, pc.binary_join_element_wise(name, clips[column], "/"))
    for column in ("labels", "unknown"):
        clips = with_values(clips, column, [()] * len(clips))
    return clips


def _corrected(clips: pa.Table, labels: LabelSpace, data: CorpusConfig) -> CorrectedLabels:
    """Clips and classes after `--label_overrides`.

    Splits were drawn by the labels as given, so that scores before and after can be compared.
    """
    if not data.label_overrides:
        return CorrectedLabels(clips, labels, "")
    return correct_labels(clips, labels, data.label_overrides)


def _card(card: CorpusCard, data: DataConfig, official: set[str], corrections: str, num_mixtures: int) -> CorpusCard:
    """What readers must know, of the corpus with its `official` splits and of what was done to it here."""
    said = []
    if data.split == "random":
        said.append(
            "RANDOM SPLIT by groups instead of the official one: scores are not comparable with it, and too good where "
            "groups are not known."
        )
    said += _tested_on(data, official)
    if data.several_labels:
        said.append("Trained and scored as if several classes could apply to any clip.")
    if data.negatives:
        other = find_corpus(data.negatives).CARD
        said.append(f"Training has clips of {other.name} ({other.licence}) as examples without any class.")
        card = dataclasses.replace(card, others=(other,))
    if corrections:
        said.append(corrections)
    if num_mixtures:
        said.append(f"Training has {num_mixtures:,} mixtures of its own clips beside these.")
    return dataclasses.replace(card, protocol=" ".join([card.protocol, *said])) if said else card


def _tested_on(data: SplitConfig, official: set[str]) -> list[str]:
    """What readers must know of the test where it is not the whole of an official split."""
    said = []
    if data.test_groups:
        named = ", ".join(data.test_groups[:3]) + (" ..." if len(data.test_groups) > 3 else "")
        said.append(f"Tested on {len(data.test_groups)} groups that were chosen here: {named}.")
    elif data.num_folds:
        said.append(f"Tested on fold {data.fold} of {data.num_folds} that were drawn by groups.")
    elif data.fold:
        said.append(f"Tested on fold {data.fold} alone.")
    elif data.split == "official" and "train" in official and "test" not in official and data.test_fraction:
        said.append(f"NO official test split was there: {data.test_fraction:.0%} of the training groups are tested on.")
    if data.test_to_train:
        said.append(f"NOT the official split: {data.test_to_train:.0%} of the test groups (songs) are trained on.")
    if data.validation_from == "test":
        said.append(
            f"NOT the whole official test split: {data.validation_fraction:.0%} of its groups (songs) are validated "
            "on, tested is on the others."
        )
    return said


def _added(clips: pa.Table, others: pa.Table) -> pa.Table:
    """The clips, and others behind them; metadata that either lacks are null."""
    return pa.concat_tables([clips, others], promote_options="default")


def _beginnings(clips: pa.Table, clip_s: float | None) -> pa.Table:
    """The first `clip_s` seconds of each clip; all of it where it is shorter, or where None is said."""
    if clip_s is None:
        return clips
    return with_values(clips, "end_s", pc.min_element_wise(clips["end_s"], pc.add(clips["start_s"], clip_s)))
