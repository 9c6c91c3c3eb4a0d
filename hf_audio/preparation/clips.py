"""From settings to the clips of a corpus: index, corrections, negatives, splits, mixtures, one line each."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.config import CorpusConfig, DataConfig, MixingConfig, SplitConfig
from hf_audio.corpora import corpus_named, obtain_corpus
from hf_audio.corpora._dataset import Place, read_card, read_dataset
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
from hf_audio.preparation.joining import Part, join
from hf_audio.preparation.label_map import read_label_map, with_names
from hf_audio.preparation.sample_rates import with_low_rates
from hf_audio.preparation.sources import DATASET, FEATURES, each_corpus, reading_of_dataset, reading_of_files, source_of
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
    token: str | bool | None = None,
    tell: Callable[[str], object] | None = None,
) -> CorpusClips:
    """The clips that `data` asks for, from the recordings on disk; a corpus that is not there is obtained first.

    Args:
        data: what is asked for.
        mixing: mixtures that are to be made of the training clips.
        sample_rate: of the features in Hz; that many recordings lie below it is worth a remark.
        token: Hub token, for a dataset there; by default HF_TOKEN or the one that is logged in.
        tell: takes, before anything is decided, the paragraph on how a folder or table was read.

    Raises:
        InputError: as the corpus and the split do, or settings that do not fit together.
    """
    parts = _parts(data, sample_rate, token, tell)
    clips, labels, card, understanding = _divided(parts, data) if len(parts) == 1 else _joined(parts, data, tell)
    clips = _added(clips, _negatives(data, labels, tell))
    clips, labels, note = _corrected(clips, labels, data)
    clips = _beginnings(clips, data.clip_s)
    mixtures = mix_clips(clips, labels, mixing or MixingConfig())
    card = _card(card, data, note, len(mixtures))
    return CorpusClips(_added(clips, mixtures), labels, card, understanding)


def corpus_as_it_is(
    data: DataConfig, *, token: str | bool | None = None, tell: Callable[[str], object] | None = None
) -> CorpusClips:
    """The clips of a corpus with its own splits or folds, see `as_stored`, and corrected labels; nothing is drawn.

    Args:
        data, token, tell: see `corpus_clips`.

    Raises:
        InputError: as the corpus does, or negatives, which are clips of another corpus.
    """
    if data.negatives:
        raise InputError(
            f"--negatives {data.negatives} are added where features are built, and are no recordings of this corpus: "
            "leave them out"
        )
    parts = _parts(data, None, token, tell)
    if len(parts) > 1:
        raise InputError(f"{' and '.join(parts)} are shared one at a time: give one --corpus or --dataset")
    clips, labels, card, understanding = next(iter(parts.values()))
    clips, labels, note = _corrected(as_stored(clips), labels, data)
    said = [card.protocol if understanding is None else "", note]
    card = dataclasses.replace(card, protocol=" ".join(filter(None, said)))
    return CorpusClips(_beginnings(clips, data.clip_s), labels, card, understanding)


def _parts(
    data: DataConfig, sample_rate: int | None, token: str | bool | None, tell: Callable[[str], object] | None
) -> dict[str, CorpusClips]:
    """Each corpus by its name, as it was read and after `--label_map`; what was understood is told."""
    parts: dict[str, CorpusClips] = {}
    for name, of_one in each_corpus(data).items():
        with _naming(name, data):
            parts[name] = _described(of_one, sample_rate, token, _telling(name, data, tell))
    if not data.label_map:
        return parts
    names = read_label_map(data.label_map, {name: part.labels.names for name, part in parts.items()})
    for name, part in parts.items():
        with _naming(name, data):
            clips, labels, said = with_names(part.clips, part.labels, names[name])
        if said:
            said = f"By the label map: {said}."
            if tell:
                _telling(name, data, tell)(said)
            card = dataclasses.replace(part.card, understood=f"{part.card.understood} {said}".strip(), label_names=None)
            parts[name] = CorpusClips(clips, labels, card, part.understanding)
    return parts


def _divided(parts: Mapping[str, CorpusClips], data: DataConfig) -> CorpusClips:
    """The only corpus, with its splits."""
    (found,) = parts.values()
    _check_classes(found.labels, found.clips)
    return _with_splits(found, data)


def _joined(parts: Mapping[str, CorpusClips], data: DataConfig, tell: Callable[[str], object] | None) -> CorpusClips:
    """Several corpora as one, each with its own splits; the joining is told."""
    if data.test_groups:
        raise InputError("--test_groups says what to test on of one corpus, and several are joined: leave it out")
    divided = []
    for name, part in parts.items():
        with _naming(name, data):
            clips, labels, card, _ = _with_splits(part, data)
        if card.name == corpus_named("folder").card.name:
            card = dataclasses.replace(card, name=name)
        divided.append(Part(name, clips, labels, card))
    joined = join(divided)
    if tell:
        tell(joined.told)
    _check_classes(joined.labels, joined.clips)
    return CorpusClips(joined.clips, joined.labels, joined.card)


@contextlib.contextmanager
def _naming(name: str, data: CorpusConfig) -> Iterator[None]:
    """Says which of several corpora an error is about."""
    try:
        yield
    except InputError as error:
        if data.num_corpora == 1:
            raise
        raise InputError(f"Of {name}: {error}") from error


def _telling(name: str, data: CorpusConfig, tell: Callable[[str], object] | None) -> Callable[[str], object] | None:
    """Tells which of several corpora something is said of."""
    if tell is None or data.num_corpora == 1:
        return tell
    return lambda said: tell(f"Of {name}: {said}")


def _described(
    data: DataConfig, sample_rate: int | None, token: str | bool | None, tell: Callable[[str], object] | None
) -> CorpusClips:
    """A corpus as it was read, which is told."""
    clips, understanding, card = read_corpus(data, token)
    if understanding:
        understanding = with_low_rates(understanding, clips, sample_rate, token)
        if tell:
            tell(understanding.paragraph())
        if data.strict:
            understanding.require_all_recordings()
    card = _understood(card, clips, understanding)
    return CorpusClips(clips, label_space(card, clips, several=data.several_labels), card, understanding)


def label_space(card: CorpusCard, clips: pa.Table, *, several: bool = False) -> LabelSpace:
    """The classes that the clips have, in the corpus's own order where it has one; `several` may apply to a clip."""
    found = names_in(clips["labels"])
    names = [name for name in card.label_names if name in found] if card.label_names else None
    return LabelSpace.of_clips(clips, names=names, problem_type=MULTI_LABEL if several else card.problem_type)


def corpora_of(data: CorpusConfig, token: str | bool | None = None) -> list[CorpusCard]:
    """The corpora that the clips come from, each under its own licence: what is trained on, and its negatives.

    Args:
        token: Hub token, for the card of a dataset there.
    """
    own = [_card_of(one, token) for one in each_corpus(data).values()]
    return [*own, *([corpus_named(data.negatives).card] if data.negatives else [])]


def _card_of(data: CorpusConfig, token: str | bool | None) -> CorpusCard:
    source = source_of(data, token)
    if source.kind != DATASET:
        return corpus_named(data.corpus).card
    return _card_of_dataset(data, read_card(source.place, reading_of_dataset(data)))


def recordings(name: str, data_dir: str | None, flag: str = "--data_dir") -> Path:
    """The folder with a corpus's recordings; without `data_dir` they are downloaded or rendered below corpora/."""
    if data_dir:
        return Path(data_dir)
    if name == "folder":
        raise InputError(
            f"Nothing to train on: give {flag} DIR (class folders, or a table with path and label), or --dataset "
            "USER/NAME for a dataset on the Hub, of recordings or of features"
        )
    return obtain_corpus(name, Path("corpora") / name)  # got by hand: the index's error says where


class ReadCorpus(NamedTuple):
    """Clips as a corpus has them, `split` official, the name of a fold, or None; how they were read; and its card."""

    clips: pa.Table
    understanding: Understanding | None
    card: CorpusCard


def read_corpus(data: DataConfig, token: str | bool | None = None) -> ReadCorpus:
    """The clips as the corpus has them.

    Args:
        token: Hub token; by default HF_TOKEN or the one that is logged in.

    Raises:
        InputError: as the corpus or the dataset does, or settings that are for the one and not for the other.
    """
    source, official = source_of(data, token), data.split == "official"
    if source.kind == FEATURES:
        raise InputError(f"{data.dataset} holds features, not recordings: give --data_dir, or a dataset with sound")
    if source.kind == DATASET:
        read = _read_dataset(data, source.place, official)
    else:
        read = _read_files(data, source.data_dir, official)
    return read if official else read._replace(clips=with_split(read.clips, None))


def _read_dataset(data: CorpusConfig, place: Place, official: bool) -> ReadCorpus:
    corpus = corpus_named(data.corpus)
    if data.corpus != "folder" and corpus.of_dataset is None:
        raise InputError(
            f"--corpus {data.corpus} knows its files and nothing of datasets such as {place.name}: add --corpus folder "
            "to read it as any other, or give --data_dir in place of --dataset"
        )
    clips, understanding, card = read_dataset(place, reading_of_dataset(data))
    if corpus.of_dataset and official:
        known = corpus.of_dataset(clips)
        understanding = _as_known(understanding, data.corpus, clips, known)
        clips = known
    return ReadCorpus(clips, understanding, _card_of_dataset(data, card))


def _card_of_dataset(data: CorpusConfig, card: CorpusCard) -> CorpusCard:
    """The card of a dataset; of a copy of a corpus that is known, its authors', with where the copy lies."""
    if data.corpus == "folder":
        return card
    return dataclasses.replace(corpus_named(data.corpus).card, source=card.source, revision=card.revision)


def _as_known(understanding: Understanding, name: str, clips: pa.Table, known: pa.Table) -> Understanding:
    """How a copy of a corpus was read, after its module had its say."""
    flat = pc.value_counts(pc.list_flatten(known["labels"])).to_pylist()
    counts = pc.value_counts(pc.fill_null(known["split"], "none")).to_pylist()
    splits = [f"{one['values']} {one['counts']:,}" for one in counts]
    left_out = (
        [f"{len(clips) - len(known):,} clips that are in no list of --corpus {name}"] if len(known) < len(clips) else []
    )
    return dataclasses.replace(
        understanding,
        class_counts=dict(sorted((one["values"], one["counts"]) for one in flat)),
        num_clips=len(known),
        groups=f"as --corpus {name} knows them ({pc.count_distinct(known['group']).as_py():,} groups)",
        groups_known=True,
        splits=f"as --corpus {name} knows them ({', '.join(splits)})",
        left_out=(*understanding.left_out, *left_out),
    )


def _read_files(data: CorpusConfig, data_dir: str | None, official: bool) -> ReadCorpus:
    corpus, reading = corpus_named(data.corpus), reading_of_files(data)
    if reading != Reading() and not corpus.understand:
        given = next(name for name, value in vars(reading).items() if value != getattr(Reading(), name))
        raise InputError(f"--{given} is for --corpus folder, and the layout of {data.corpus} is known; leave it out")
    clips, understanding = corpus.read(recordings(data.corpus, data_dir), reading, official=official)
    return ReadCorpus(clips, understanding, corpus.card)


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


def _with_splits(found: CorpusClips, data: SplitConfig) -> CorpusClips:
    """A corpus with a split for each clip, and in its card what of that readers must know."""
    clips = assign_splits(
        found.clips,
        found.labels,
        fold=data.fold,
        num_folds=data.num_folds,
        test_groups=data.test_groups,
        test_fraction=data.test_fraction,
        validation_fraction=data.validation_fraction,
        validation_from=data.validation_from,
        test_to_train=data.test_to_train,
        seed=data.split_seed,
    )
    said = _tested_on(data, set(names_in(found.clips["split"])))
    return found._replace(clips=clips, card=_saying(found.card, said))


def _saying(card: CorpusCard, said: Sequence[str]) -> CorpusCard:
    return dataclasses.replace(card, protocol=" ".join([card.protocol, *said])) if said else card


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
    clips, understanding = corpus_named(name).read(root, Reading())
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


def _card(card: CorpusCard, data: DataConfig, corrections: str, num_mixtures: int) -> CorpusCard:
    """What readers must know of what was done to a corpus here."""
    said = []
    if data.several_labels:
        said.append("Trained and scored as if several classes could apply to any clip.")
    if data.negatives:
        other = corpus_named(data.negatives).card
        said.append(f"Training has clips of {other.name} ({other.licence}) as examples without any class.")
        card = dataclasses.replace(card, others=(*card.others, other))
    if corrections:
        said.append(corrections)
    if num_mixtures:
        said.append(f"Training has {num_mixtures:,} mixtures of its own clips beside these.")
    return _saying(card, said)


def _tested_on(data: SplitConfig, official: set[str]) -> list[str]:
    """What readers must know of the test where it is not the whole of an official split."""
    said = []
    if data.split == "random":
        said.append(
            "RANDOM SPLIT by groups instead of the official one: scores are not comparable with it, and too good where "
            "groups are not known."
        )
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
