"""The card of a dataset of recordings: README.md with metadata for the Hub and `load_dataset`, and text for readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from datasets import DatasetInfo, SplitDict, SplitInfo
from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard, DatasetCardData

from hf_audio.data.index.columns import names_in, of_split
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import SPLITS, CorpusCard
from hf_audio.data.sharing.columns import FOLD, RowColumns
from hf_audio.markdown import Markdown, code, one_plain_line, table
from hf_audio.privacy import require_repo_ids, write_published
from hf_audio.publishing.dataset_card import SIZE_CATEGORIES
from hf_audio.publishing.licenses import hub_licenses, sources_of
from hf_audio.publishing.templates import render

UNFINISHED = "recordings_unfinished.md"
MAX_CLASSES = 60  # in a table with their counts; if there are more, only their names are listed
KINDS = {".flac": "FLAC", ".wav": "WAV", ".mp3": "MP3", ".ogg": "Ogg", ".aiff": "AIFF"}


class SplitFacts(NamedTuple):
    """Facts about a split from its shards; `num_bytes` is the size in memory, `size` that of the files in bytes."""

    name: str
    num_rows: int
    num_groups: int
    num_bytes: int
    size: int
    seconds: float

    @property
    def length(self) -> str:
        return length(self.seconds)


def write_unfinished(folder: Path) -> None:
    """Writes the README.md of an unfinished dataset, which makes `load_dataset` fail instead of loading only a part."""
    write_published(folder / "README.md", (Path(__file__).parent / UNFINISHED).read_text(encoding="utf-8"))


def write_recordings_card(
    folder: Path,
    kept: pa.Table,
    labels: LabelSpace,
    columns: RowColumns,
    card: CorpusCard,
    notes: Mapping[str, Sequence[Mapping[str, Any]]],
    repo_id: str | None = None,
) -> Path:
    """Writes README.md into the folder of a finished dataset of recordings.

    Args:
        folder: folder of the dataset.
        kept: its clips, without the excluded ones.
        labels, columns: classes and columns of its rows.
        card: the facts about the corpus.
        notes: the facts about the shards of each split.
        repo_id: "namespace/name" for the code that loads the dataset; None shows the folder instead.

    Raises:
        InputError: `repo_id` is not a valid name, or a token would be published.
    """
    require_repo_ids(repo_id)
    splits = [_facts(of_split(kept, split), split, notes[split]) for split in SPLITS if split in notes]
    sources = sources_of(asdict(card))
    text = render(
        "recordings_card.md",
        card_data=Markdown(card_metadata(splits, columns, card.name, sources).to_yaml()),
        name=card.name,
        source=repo_id or f"./{folder.resolve().name}",
        num_rows=len(kept),
        length=length(sum(split.seconds for split in splits)),
        classes=labels.names,
        multi_label=labels.is_multi_label,
        is_partial=columns.is_partial,
        has_stretches=columns.has_stretches,
        metadata=list(columns.metadata.values()),
        splits=splits,
        only_train=len(splits) == 1,
        folds=names_in(kept[FOLD]) if FOLD in kept.column_names and columns.metadata.get(FOLD) == FOLD else [],
        groups_known=card.groups_known,
        understood=card.understood,
        num_excluded=sum(len(note["excluded"]) for its in notes.values() for note in its),
        class_table=_class_table(kept, labels, splits),
        stored=_stored(notes),
        how_stored=_how_stored(notes),
        protocol=card.protocol,
        sources=sources,
    )
    write_published(folder / "README.md", str(DatasetCard(text)))
    return folder / "README.md"


def card_metadata(
    splits: Sequence[SplitFacts], columns: RowColumns, name: str, sources: Sequence[Mapping[str, Any]]
) -> DatasetCardData:
    """The YAML head, with the number of rows per split, which `load_dataset` compares with the rows that it finds."""
    num_rows = sum(split.num_rows for split in splits)
    data = DatasetCardData(
        pretty_name=one_plain_line(name),
        task_categories=["audio-classification"],
        tags=["audio-classification", "audio", "hf_audio"],
        size_categories=[next((size for most, size in SIZE_CATEGORIES.items() if num_rows < most), "n>1T")],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split.name, "path": f"data/{split.name}-*"} for split in splits],
            }
        ],
        **hub_licenses(sources),
    )
    info = DatasetInfo(
        features=columns.features,
        splits=SplitDict({one.name: SplitInfo(one.name, one.num_bytes, one.num_rows) for one in splits}),
        download_size=sum(split.size for split in splits),
        dataset_size=sum(split.num_bytes for split in splits),
    )
    DatasetInfosDict({"default": info}).to_dataset_card_data(data)
    return data


def length(seconds: float) -> str:
    """A duration for readers: 41 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _facts(kept: pa.Table, split: str, notes: Sequence[Mapping[str, Any]]) -> SplitFacts:
    sums = {name: sum(note[name] for note in notes) for name in ("num_rows", "num_bytes", "size", "seconds")}
    return SplitFacts(name=split, num_groups=len(names_in(kept["group"])), **sums)


def _class_table(kept: pa.Table, labels: LabelSpace, splits: Sequence[SplitFacts]) -> Markdown:
    if len(labels) > MAX_CLASSES:
        return Markdown(f"Classes: {', '.join(code(name) for name in labels.names)}.")
    counts = [labels.counts(of_split(kept, split.name)["labels"]).tolist() for split in splits]
    rows = zip(labels.names, *([f"{count:,}" for count in its] for its in counts), strict=True)
    return table(["class", *(split.name for split in splits)], rows)


def _counts(notes: Mapping[str, Sequence[Mapping[str, Any]]], name: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for note in (note for its in notes.values() for note in its):
        for key, count in note[name].items():
            found[key] = found.get(key, 0) + count
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def _stored(notes: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """File formats and sample rates, the most frequent first."""
    kinds = [KINDS.get(ending, ending.removeprefix(".")) for ending in _counts(notes, "endings")]
    rates = [f"{int(rate):,} Hz" for rate in _counts(notes, "rates")]
    return f"{', '.join(kinds)}; {', '.join(rates[:4])}{' ...' if len(rates) > 4 else ''}"


def _how_stored(notes: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    if ".flac" not in _counts(notes, "endings"):
        return "Recordings are stored as their original files."
    return (
        "FLAC files hold the exact samples of the recordings, with their original channels and sample rate. Lossy "
        "recordings are stored as their original files or, if they were cut from longer ones, as 24-bit FLAC."
    )
