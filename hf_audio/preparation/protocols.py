"""Notes for cards: how a corpus was read, what is tested on, and how the corpus was changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.config import DataConfig, SplitConfig
from hf_audio.corpora import corpus_named
from hf_audio.data.index.columns import num_recordings
from hf_audio.data.index.table import CorpusCard
from hf_audio.data.index.understanding import Understanding
from hf_audio.privacy import public_value

MAX_UNDERSTOOD = 5_000  # letters in a card


def with_understanding(card: CorpusCard, clips: pa.Table, understanding: Understanding | None) -> CorpusCard:
    """The card of a corpus, with whether its groups are known and, if its layout was not known, how it was read.

    If each file is its own group, groups do not count as known.
    """
    known = pc.count_distinct(clips["group"]).as_py() < num_recordings(clips)
    if understanding is None:
        return dataclasses.replace(card, groups_known=known)
    known &= understanding.groups_known
    split_by = "Group-disjoint split" if known else "Split by file, since groups are unknown"
    return dataclasses.replace(
        card,
        groups_known=known,
        protocol=f"{split_by}; {card.protocol[0].lower()}{card.protocol[1:]}",
        understood=str(public_value(understanding.paragraph()))[:MAX_UNDERSTOOD],
    )


def also_understood(card: CorpusCard, told: str) -> CorpusCard:
    """The card with a paragraph about how another corpus was read."""
    if not told:
        return card
    words = f"{card.understood} {public_value(told)}".strip()
    return dataclasses.replace(card, understood=words[:MAX_UNDERSTOOD])


def saying(card: CorpusCard, said: Sequence[str]) -> CorpusCard:
    """The card with more sentences in its protocol."""
    return dataclasses.replace(card, protocol=" ".join([card.protocol, *said])) if said else card


def with_what_was_done(card: CorpusCard, data: DataConfig, corrections: str, num_mixtures: int) -> CorpusCard:
    """The card with notes about changes to the corpus."""
    said = []
    if data.several_labels:
        said.append("Trained and scored as a multi-label task, although each clip has one class.")
    if data.negatives:
        other = corpus_named(data.negatives).card
        said.append(
            f"The training split also contains clips of {other.name} ({other.license}) without any of the classes."
        )
        card = dataclasses.replace(card, others=(*card.others, other))
    if corrections:
        said.append(corrections)
    if num_mixtures:
        said.append(f"The training split also contains {num_mixtures:,} mixtures of its clips.")
    return saying(card, said)


def with_pseudo_labels(card: CorpusCard, note: str) -> CorpusCard:
    """The card of a corpus with added pseudo-labeled recordings; their license is up to the user, as for any folder."""
    others = dataclasses.replace(corpus_named("folder").card, name="Pseudo-labeled recordings")
    return saying(dataclasses.replace(card, others=(*card.others, others)), [note])


def tested_on(data: SplitConfig, official: set[str]) -> list[str]:
    """Notes about the test split, if it is not the complete official one."""
    said = []
    if data.split == "random":
        said.append(
            "RANDOM SPLIT by groups instead of the official one: scores are not comparable with those on the official "
            "split, and are inflated if groups are unknown."
        )
    if data.test_groups:
        named = ", ".join(data.test_groups[:3]) + (" ..." if len(data.test_groups) > 3 else "")
        said.append(f"Tested on {len(data.test_groups)} chosen groups: {named}.")
    elif data.num_folds:
        said.append(f"Tested on fold {data.fold} of {data.num_folds} random folds of the groups.")
    elif data.fold:
        said.append(f"Tested on fold {data.fold} only.")
    elif data.split == "official" and "train" in official and "test" not in official and data.test_fraction:
        said.append(f"NO official test split: tested on {data.test_fraction:.0%} of the training groups.")
    if data.inner_folds:
        said.append(
            f"INNER FOLD {data.inner_fold} of {data.inner_folds}: tested on groups of the training split, for tuning "
            "settings; the test split is not used."
        )
    if data.test_to_train:
        said.append(f"NOT the official split: also trained on {data.test_to_train:.0%} of the test groups (songs).")
    if data.validation_from == "test":
        said.append(
            f"NOT the whole official test split: {data.validation_fraction:.0%} of its groups (songs) are used for "
            "validation, the others for testing."
        )
    return said
