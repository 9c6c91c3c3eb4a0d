"""Loads a feature dataset from a folder or the Hub, downloaded or streamed, with the same call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa
from datasets import Dataset, IterableDataset
from transformers import FeatureExtractionMixin

from hf_audio.data.feature_format import INDEX, ClipColumns
from hf_audio.data.foreign.index import IndexedSplit, check_counts, read_clips, read_index
from hf_audio.data.foreign.manifest import clip_columns, read_manifest
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.loading.checked_splits import check_split, checked_extractor, read_split, split_reader
from hf_audio.data.loading.dataset_files import DatasetFiles
from hf_audio.data.loading.shard_reader import ShardReader
from hf_audio.errors import InputError, printable
from hf_audio.files import MAX_JSON_BYTES, MAX_TABLE_BYTES
from hf_audio.html_parts import html_lines, html_table
from hf_audio.kinds import Kind, OfSound, kind_of, kind_of_extractor
from hf_audio.privacy import public_name

# The other files of a dataset, with their maximum sizes in bytes
FILES = {
    "manifest.json": MAX_JSON_BYTES,
    "preprocessor_config.json": MAX_JSON_BYTES,
    INDEX: MAX_TABLE_BYTES,
    "excluded.csv": MAX_TABLE_BYTES,
}

MAX_SHOWN_CLASSES = 60  # in a notebook


@dataclass(repr=False)
class FeatureDataset:
    """A feature dataset ready for training.

    Attributes:
        splits: the existing ones of "train", "validation" and "test". Rows have clip_id, group, start_s, num_frames,
            labels (class indices), unknown if labels are partial, label if each clip has one class, part_groups if
            there are mixtures, metadata of the corpus (genre, drums ...), and the columns of the kind, undecoded;
            FeatureCollator makes batches from them.
        labels: the classes.
        extractor: the published extractor that computes the same features from a waveform, with this dataset's
            statistics. For waveforms, it may be replaced by that of the model to train.
        manifest: the content of manifest.json.
        source: folder or Hub repository that it was loaded from.
        index: path of index.parquet, which lists the clips.
        streamed: reads a streamed train split from any row; None if all splits are local.
        of_sound: how features are computed from the sound in the rows, see `computed_features`; None if features are
            stored.
    """

    splits: dict[str, Dataset | IterableDataset]
    labels: LabelSpace
    extractor: FeatureExtractionMixin
    manifest: dict[str, Any]
    source: str
    index: Path | None = None
    streamed: ShardReader | None = None
    of_sound: OfSound | None = None

    def __repr__(self) -> str:
        clips = ", ".join(f"{name} {its['num_clips']:,}" for name, its in self.manifest["splits"].items())
        return f"FeatureDataset({self._title()}; clips: {clips})"

    def _repr_html_(self) -> str:
        splits = self.manifest["splits"]
        rows = [
            [name, *(its["label_counts"][name] for its in splits.values())]
            for name in self.labels.names[:MAX_SHOWN_CLASSES]
        ]
        rows += [[key, *(its[f"num_{key}"] for its in splits.values())] for key in ("clips", "groups", "windows")]
        return html_lines(self._title(), html_table(["clips of each class", *splits], rows))

    def _title(self) -> str:
        return printable(f"{self.corpus}: {self.kind.name}, {len(self.labels)} classes, windows of {self.window_s:g} s")

    @property
    def name(self) -> str:
        """The last part of its source; for RUN/features, the name of the run."""
        source = Path(self.source).absolute()
        return source.parent.name if source.name == "features" else source.name

    @property
    def public_name(self) -> str:
        """Its public name: that on the Hub, or of its folder; for RUN/features, that of the run."""
        known = public_name(str(self.source))
        return self.name if known == "features" else known

    @property
    def kind(self) -> Kind:
        """The kind of its features: fbank, spectrogram, waveform, classical ..."""
        return cast(Kind, self.of_sound) if self.of_sound else kind_of(self.parameters)

    @property
    def parameters(self) -> dict[str, Any]:
        """All parameters of the extractor that determine the features."""
        return self.manifest["extractor"]

    @property
    def window_s(self) -> float:
        """Length of a full window in seconds."""
        return self.manifest["window_s"]

    @property
    def corpus(self) -> str:
        """Title of the corpus that it was built from."""
        return self.manifest["corpus"]["name"]

    @property
    def window_frames(self) -> int:
        """Length of a full window: frames (fbank, spectrogram), samples (waveform) or steps (classical)."""
        return self.kind.window_frames(self.extractor, self.manifest)

    @property
    def longest_row(self) -> int:
        """Length of a full window in the unit of num_frames in rows: samples if features are computed from sound."""
        return self.of_sound.window_samples if self.of_sound else self.window_frames

    @property
    def clip_columns(self) -> ClipColumns:
        """The columns that describe the clip of a row."""
        return clip_columns(self.manifest)

    @property
    def label_columns(self) -> list[str]:
        """The columns that `LabelSpace.target_of` reads."""
        return ["labels", "unknown"] if self.clip_columns.is_partial else ["labels"]

    def clips(self) -> pa.Table:
        """The index, one row per clip, including excluded clips; it is read and checked at each call."""
        return read_clips(self.index, self.clip_columns)

    def num_windows(self, split: str) -> int:
        """Rows of a split; known for streamed splits too."""
        return self.manifest["splits"][split]["num_windows"]

    def class_counts(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Clips per class, and clips per class with a known label: int64 `[classes]` each."""
        facts = self.manifest["splits"][split]
        names, num_clips = self.labels.names, facts["num_clips"]
        known_counts = facts.get("known_counts") or dict.fromkeys(names, num_clips)
        return np.array([facts["label_counts"][name] for name in names]), np.array(
            [known_counts[name] for name in names]
        )


def load_features(
    source: str | Path, *, streaming: bool = False, token: str | bool | None = None, revision: str | None = None
) -> FeatureDataset:
    """Loads a feature dataset that `build_features` wrote.

    Args:
        source: a folder, or a dataset repository on the Hub such as "someone/irmas-fbank".
        streaming: read the train split during training instead of downloading it first. Validation and test are small
            and need a fixed order, so they are always local.
        token: Hub token, for private repositories; by default HF_TOKEN or the stored token. A process that streams
            from several private repositories should set HF_TOKEN, because `datasets` keeps only one token.
        revision: branch, tag or commit on the Hub.

    Raises:
        InputError: neither a folder nor a repository; no access; an unfinished build; not a feature dataset; a group in
            two splits; files that `build_features` does not write, or that contradict each other. Errors in streamed
            rows are raised when they are read.
    """
    files = DatasetFiles.of(source, token, revision)
    facts = _read_facts(files)
    splits, streamed = {}, None
    for split, listed in facts.listed.items():
        told = (files, split, facts.manifest, listed, facts.columns)
        if streaming and split == "train":
            streamed = split_reader(*told, streaming=True)
            splits[split] = streamed.streamed()
        else:
            splits[split] = read_split(*told)
    dataset = (splits, facts.columns.labels, facts.extractor, facts.manifest, str(source), facts.index)
    return FeatureDataset(*dataset, streamed)


def check_features(folder: str | Path) -> None:
    """Refuses a folder that `load_features` would refuse; reads all of it once and stores nothing.

    Raises:
        InputError: see `load_features`.
    """
    files = DatasetFiles(str(folder), is_folder=True)
    facts = _read_facts(files)
    for split, listed in facts.listed.items():
        check_split(files, split, facts.manifest, listed, facts.columns)


class _Facts(NamedTuple):
    """The facts about a dataset outside its rows, checked for consistency; `listed` has the index of each split."""

    manifest: dict[str, Any]
    columns: ClipColumns
    listed: dict[str, IndexedSplit]
    extractor: FeatureExtractionMixin
    index: Path  # type: ignore[assignment]  # the name of a tuple's method


def _read_facts(files: DatasetFiles) -> _Facts:
    paths = {name: files.path(name, max_bytes) for name, max_bytes in FILES.items()}
    manifest = read_manifest(paths["manifest.json"])
    columns = clip_columns(manifest)
    listed = read_index(paths[INDEX], paths["excluded.csv"], columns, files.source)
    check_counts(manifest, listed, columns.labels, paths["manifest.json"])
    extractor = checked_extractor(paths["preprocessor_config.json"], manifest)
    return _Facts(manifest, columns, {name: listed[name] for name in manifest["splits"]}, extractor, paths[INDEX])


def check_same_extractor(stored: Any, wanted: Any) -> None:
    """Refuses to train on features that a model cannot read.

    Window length and statistics are not compared: a model can adapt to them, but not to another kind of feature.

    Args:
        stored: extractor of the feature dataset.
        wanted: extractor of the model; one that belongs to no kind reads waveforms.

    Raises:
        InputError: the extractors differ; the message names every difference.
    """
    there, here = kind_of_extractor(stored), kind_of_extractor(wanted)
    if there is not here:
        raise InputError(
            f"The features are {there.name} ({there.described}), but the model reads {here.described} (its extractor "
            f"is {type(wanted).__name__}): give --features {here.name}, or choose a model that reads {there.described}"
        )
    stored, wanted = stored.to_dict(), wanted.to_dict()
    others = [
        f"{key} is {stored.get(key)}, expected {wanted.get(key)}"
        for key in there.compared
        if stored.get(key) != wanted.get(key)
    ]
    if others:
        raise InputError(
            f"The features were computed by a different extractor than the model's ({'; '.join(others)}); "
            "build features for this model, or choose a model that reads these"
        )
