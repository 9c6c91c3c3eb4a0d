"""Prepares the clips of a corpus according to the settings: index, corrections, negatives, splits and mixtures."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.config import CorpusConfig, DataConfig, MixingConfig, SplitConfig
from hf_audio.corpora import corpus_named
from hf_audio.corpora.folder.idle import IdleError, each_read
from hf_audio.data.index.columns import names_in, with_values
from hf_audio.data.index.label_overrides import CorrectedLabels, correct_labels
from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.data.index.mixtures import mix_clips
from hf_audio.data.index.pseudo_labels import read_pseudo_labels
from hf_audio.data.index.table import CorpusCard
from hf_audio.data.index.understanding import Understanding
from hf_audio.data.sharing.columns import as_stored
from hf_audio.data.splits.assigning import assign_splits
from hf_audio.errors import InputError
from hf_audio.preparation.acting_splits import require_acting_splits
from hf_audio.preparation.joining import CORPUS, Part, join
from hf_audio.preparation.label_map import read_label_map, with_names
from hf_audio.preparation.negatives import negatives_of
from hf_audio.preparation.protocols import (
    also_understood,
    saying,
    tested_on,
    with_pseudo_labels,
    with_understanding,
    with_what_was_done,
)
from hf_audio.preparation.read_corpora import read_corpus
from hf_audio.preparation.sample_rates import with_low_rates
from hf_audio.preparation.sources import each_corpus, require_one_source


class CorpusClips(NamedTuple):
    """A corpus for training: its index with splits, its classes, and its card.

    `understanding` is how a folder or table was read; None for corpora with a known layout.
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
    given: Collection[str] | None = None,
    tell: Callable[[str], object] | None = None,
) -> CorpusClips:
    """The clips for the settings in `data`, from recordings on disk; a missing corpus is downloaded or rendered first.

    Args:
        data: settings of the data.
        mixing: settings of mixtures of the training clips.
        sample_rate: of the features, in Hz; if recordings have lower rates, a remark is added.
        token: Hub token for a dataset; by default HF_TOKEN or the stored token.
        given: names of the settings that a user gave, which must have an effect; None: settings that differ from their
            defaults.
        tell: called with a paragraph about how a folder or table was read, before other steps.

    Raises:
        InputError: from the corpus or the split, or settings are incompatible.
    """
    parts = _parts(data, sample_rate, token, tell)
    require_acting_splits(data, [set(names_in(part.clips["split"])) for part in parts.values()], given)
    if data.several_labels and (given is None or "several_labels" in given):
        _require_one_label(parts)
    clips, labels, card, understanding = _divided(parts, data) if len(parts) == 1 else _joined(parts, data, tell)
    negatives, told = negatives_of(data, labels)
    if told and tell:
        tell(told)
    if data.num_corpora > 1:
        source = pa.scalar(data.negatives, pa.string())
        negatives = negatives.append_column(CORPUS, pa.repeat(source, len(negatives)))
    clips = _added(clips, negatives)
    clips, labels, note = _corrected(clips, labels, data)
    clips = _beginnings(clips, data.clip_s)
    mixtures = mix_clips(clips, labels, mixing or MixingConfig())
    card = with_what_was_done(also_understood(card, told), data, note, len(mixtures))
    clips = _added(clips, mixtures)
    if data.pseudo_labels:  # added after mixing, so that they are not mixed
        found = read_pseudo_labels(data.pseudo_labels, data.pseudo_labels_dir, labels)
        clips, card = _added(clips, found.clips), with_pseudo_labels(card, found.note)
    return CorpusClips(clips, labels, card, understanding)


def corpus_as_it_is(
    data: DataConfig, *, token: str | bool | None = None, tell: Callable[[str], object] | None = None
) -> CorpusClips:
    """The clips of a corpus with its own splits or folds, see `as_stored`, and corrected labels; nothing is drawn.

    Args:
        data, token, tell: see `corpus_clips`.

    Raises:
        InputError: from the corpus, or if there are negatives, which are clips of another corpus.
    """
    require_one_corpus(data)
    parts = _parts(data, None, token, tell)
    clips, labels, card, understanding = next(iter(parts.values()))
    clips, labels, note = _corrected(as_stored(clips), labels, data)
    said = [card.protocol if understanding is None else "", note]
    card = dataclasses.replace(card, protocol=" ".join(filter(None, said)))
    return CorpusClips(_beginnings(clips, data.clip_s), labels, card, understanding)


def require_one_corpus(data: CorpusConfig) -> None:
    """Refuses anything but exactly one unchanged corpus, before it is read.

    Raises:
        InputError: there are several corpora, a corpus and a dataset, negatives or pseudo-labels.
    """
    require_one_source(data)
    if data.pseudo_labels:
        raise InputError(
            "--pseudo_labels are added for training, and are not recordings of this corpus: leave them out"
        )
    if data.negatives:
        raise InputError(
            f"--negatives {data.negatives} are added when features are built, and are not recordings of this corpus: "
            "leave them out"
        )
    if data.num_corpora > 1:
        raise InputError(f"{' and '.join(each_corpus(data))} cannot be shared together: give one --corpus or --dataset")


def _parts(
    data: DataConfig, sample_rate: int | None, token: str | bool | None, tell: Callable[[str], object] | None
) -> dict[str, CorpusClips]:
    """Each corpus by name, after `--label_map`; how each was read is reported to `tell`."""

    def described(name: str, of_one: DataConfig) -> CorpusClips:
        with _naming(name, data):
            return _described(of_one, sample_rate, token, _telling(name, data, tell))

    parts = each_read(each_corpus(data), described)
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


def _require_one_label(parts: Mapping[str, CorpusClips]) -> None:
    """Refuses --several_labels if all corpora are multi-label anyway."""
    if all(label_space(part.card, part.clips).is_multi_label for part in parts.values()):
        raise InputError("--several_labels would have no effect here: the task is already multi-label; leave it out")


def _divided(parts: Mapping[str, CorpusClips], data: DataConfig) -> CorpusClips:
    """The only corpus, with its splits."""
    (found,) = parts.values()
    _check_classes(found.labels, found.clips)
    return _with_splits(found, data)


def _joined(parts: Mapping[str, CorpusClips], data: DataConfig, tell: Callable[[str], object] | None) -> CorpusClips:
    """Joins several corpora, each with its own splits, and reports to `tell` how."""
    if data.test_groups:
        raise InputError("--test_groups is for a single corpus, but several are joined: leave it out")
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
    """Adds the name of the corpus to errors, if there are several."""
    try:
        yield
    except InputError as error:
        if data.num_corpora == 1 or isinstance(error, IdleError):  # it may have an effect for others
            raise
        raise InputError(f"In {name}: {error}") from error


def _telling(name: str, data: CorpusConfig, tell: Callable[[str], object] | None) -> Callable[[str], object] | None:
    """`tell` with the name of the corpus added, if there are several."""
    if tell is None or data.num_corpora == 1:
        return tell
    return lambda said: tell(f"In {name}: {said}")


def _described(
    data: DataConfig, sample_rate: int | None, token: str | bool | None, tell: Callable[[str], object] | None
) -> CorpusClips:
    """Reads a corpus, and reports to `tell` how it was read."""
    clips, understanding, card = read_corpus(data, token)
    if understanding:
        understanding = with_low_rates(understanding, clips, sample_rate, token)
        if tell:
            tell(understanding.paragraph())
        if data.strict:
            understanding.require_all_recordings()
    card = with_understanding(card, clips, understanding)
    return CorpusClips(clips, label_space(card, clips, several=data.several_labels), card, understanding)


def label_space(card: CorpusCard, clips: pa.Table, *, several: bool = False) -> LabelSpace:
    """The classes of the clips, in the corpus's own order if it has one; `several`: multi-label."""
    found = names_in(clips["labels"])
    names = [name for name in card.label_names if name in found] if card.label_names else None
    return LabelSpace.of_clips(clips, names=names, problem_type=MULTI_LABEL if several else card.problem_type)


def _check_classes(labels: LabelSpace, clips: pa.Table) -> None:
    """Refuses a single class, before anything is built."""
    if len(labels) == 1 and not labels.is_multi_label:
        raise InputError(
            f"All {len(clips):,} clips have the same class, {labels.names[0]!r}, but a classifier needs two or more; "
            "give the folder with one subfolder per class, or a table with path and label"
        )


def _with_splits(found: CorpusClips, data: SplitConfig) -> CorpusClips:
    """A corpus with a split for each clip, and a note about the splits in its card."""
    clips = assign_splits(
        found.clips,
        found.labels,
        fold=data.fold,
        num_folds=data.num_folds,
        test_groups=data.test_groups,
        inner_fold=data.inner,
        test_fraction=data.test_fraction,
        validation_fraction=data.validation_fraction,
        validation_from=data.validation_from,
        test_to_train=data.test_to_train,
        seed=data.split_seed,
    )
    said = tested_on(data, set(names_in(found.clips["split"])))
    return found._replace(clips=clips, card=saying(found.card, said))


def _corrected(clips: pa.Table, labels: LabelSpace, data: CorpusConfig) -> CorrectedLabels:
    """Clips and classes after `--label_overrides`.

    Splits are drawn from the original labels, so that scores before and after corrections are comparable.
    """
    if not data.label_overrides:
        return CorrectedLabels(clips, labels, "")
    return correct_labels(clips, labels, data.label_overrides)


def _added(clips: pa.Table, others: pa.Table) -> pa.Table:
    """The clips followed by others; missing metadata is null."""
    return pa.concat_tables([clips, others], promote_options="default")


def _beginnings(clips: pa.Table, clip_s: float | None) -> pa.Table:
    """The first `clip_s` seconds of each clip, or all of it if it is shorter; None: whole clips."""
    if clip_s is None:
        return clips
    return with_values(clips, "end_s", pc.min_element_wise(clips["end_s"], pc.add(clips["start_s"], clip_s)))
