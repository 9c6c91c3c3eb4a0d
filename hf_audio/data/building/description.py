"""A description of everything that determines a feature build, short enough to store and compare."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hf_audio.data.feature_format import FORMAT_VERSION
from hf_audio.data.index.columns import digest, has_mixtures, mixed_parts, places_of, without_mixtures
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import metadata_columns
from hf_audio.data.recordings.hub_files import ON_HUB, root_of
from hf_audio.data.recordings.lengths import recordings_of
from hf_audio.data.recordings.stamps import Stamp, contents_digest, stamp, times_digest
from hf_audio.environment import usable_cores
from hf_audio.errors import InputError
from hf_audio.finished_work import require_same

# If times differ, recordings were copied or replaced; their contents show which.
FILE_TIMES, FILE_CONTENTS = "file times", "file contents"
SOURCE = "dataset"  # of the Hub, with its commit


def describe_build(
    clips: pa.Table, labels: LabelSpace, extractor_parameters: dict[str, Any], window_s: float, hop_s: float
) -> dict[str, Any]:
    """Everything that determines the features: two builds with equal descriptions are equal."""
    recordings, mixtures = recordings_of(clips), _digest_of_mixtures(clips) if has_mixtures(clips) else None
    # the order of names within a clip does not matter
    given, unknown = (digest(pa.array(np.concatenate(labels.places(clips[name])))) for name in ("labels", "unknown"))
    stamps = {path: stamp(path) for path in _here(recordings)}

    def digest_of(*columns: str) -> str:
        return hashlib.sha256("".join(name + digest(clips[name]) for name in columns).encode()).hexdigest()

    return {
        "format_version": FORMAT_VERSION,
        "window_s": window_s,
        "hop_s": hop_s,
        "extractor": extractor_parameters,
        "problem_type": labels.problem_type,
        "label_names": list(labels.names),
        "clips": digest_of("clip_id", "start_s", "end_s"),
        "clip labels": given,
        "unknown labels": unknown,
        "splits": digest_of("split"),
        "groups": digest_of("group"),
        "metadata": digest_of(*sorted(metadata_columns(clips))),
        "file sizes": digest(_sizes_bytes(without_mixtures(clips)["audio"], stamps)),
        FILE_TIMES: times_digest(stamps.values()),
        SOURCE: _source(recordings),
        "places in files": digest_of("audio_row", "audio_field")
        if clips["audio_row"].null_count < len(clips)
        else None,
        "mixtures": mixtures,
    }


def require_same_build(folder: Path, found: Mapping[str, Any], described: Mapping[str, Any], clips: pa.Table) -> None:
    """Refuses to resume a different build.

    Recordings are only read, in a few places each, if their times differ, as those of copies do.

    Args:
        folder: the folder of the build.
        found: its description, with the digest of its files' contents.
        described: the requested build of `clips`.
        clips: the index.

    Raises:
        InputError: the builds differ; the message names how.
    """
    decides = {name: value for name, value in described.items() if name != FILE_TIMES}
    build, otherwise = f"{folder} holds features of another build, which", "choose another folder, or remove this one"
    if found.get(SOURCE) and described[SOURCE] and found[SOURCE] != described[SOURCE]:
        otherwise = f"give --dataset_revision with the commit of that build to resume it, or {otherwise}"
    require_same(build, {name: found.get(name) for name in decides}, decides, f"{otherwise} to rebuild")
    if found.get(FILE_TIMES) != described[FILE_TIMES] and found.get(FILE_CONTENTS) != files_digest(clips):
        raise InputError(
            f"{build} differs in: {FILE_CONTENTS} (recordings were replaced by others of the same size); {otherwise} "
            "to rebuild"
        )


def files_digest(clips: pa.Table) -> str:
    """A digest of some bytes of all files of the clips that are on this machine."""
    return contents_digest(_here(recordings_of(clips)), usable_cores())


def _here(recordings: Sequence[str]) -> list[str]:
    return [path for path in recordings if not path.startswith(ON_HUB)]


def _source(recordings: Sequence[str]) -> str | None:
    """The Hub repositories of the recordings, with their commits and a digest of the file names."""
    files = sorted(path for path in recordings if path.startswith(ON_HUB))
    if not files:
        return None
    names = hashlib.sha256("\n".join(files).encode()).hexdigest()[:16]
    return f"{', '.join(sorted(set(map(root_of, files))))} ({len(files):,} files, {names})"


def _sizes_bytes(paths: pa.ChunkedArray, stamps: Mapping[str, Stamp | None]) -> pa.Array:
    names = paths.unique().to_pylist()
    sizes = [one.size_bytes if (one := stamps.get(path)) else None for path in names]
    return pa.array(sizes, pa.int64()).take(pa.array(places_of(paths, names)))


def _digest_of_mixtures(clips: pa.Table) -> str:
    """A digest of the parts and settings of mixtures, without paths: parts are clips, which are described elsewhere."""
    rows, parts = mixed_parts(clips)
    columns = [parts[name] for name in ("clip_id", "gain_db", "late", "skip")]
    found = [digest(pa.array(rows)), digest(clips["match"]), *map(digest, columns)]
    return hashlib.sha256("".join(found).encode()).hexdigest()
