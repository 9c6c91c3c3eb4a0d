"""Uploads recordings as a dataset on the Hub, shard by shard, resumable at any point.

Shards are built, uploaded and deleted locally, so they need disk space of about 1 GB plus one shard per worker. Until
the upload is complete, the dataset's README.md makes `load_dataset` fail, so that no one loads a part unknowingly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.building.finish import check_kept
from hf_audio.data.building.plan import Shard
from hf_audio.data.index.columns import is_one_of
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import CorpusCard
from hf_audio.data.sharing.columns import RowColumns
from hf_audio.data.sharing.plan import check_shareable, describe, plan_bounds, shards_of
from hf_audio.data.sharing.shards import BUILD, RecordingShards, built_in_turn
from hf_audio.data.tables import csv_text
from hf_audio.environment import usable_cores
from hf_audio.errors import InputError
from hf_audio.files import read_json, write_json
from hf_audio.finished_work import as_facts, require_same
from hf_audio.locks import locked
from hf_audio.privacy import require_no_token, write_published
from hf_audio.publishing.contents import name_what_stays
from hf_audio.publishing.hub import HubRepo
from hf_audio.publishing.licenses import sources_of
from hf_audio.publishing.push import require_licenses
from hf_audio.publishing.recordings_card import write_recordings_card, write_unfinished
from hf_audio.terminal import named_logger, progress

COMMIT_BYTES = 1 << 30  # shards of this size are on the disk until they are committed together
BESIDE = ("README.md", "excluded.csv")
OLD = ("data/*.parquet",)

logger = named_logger(__name__)


def share_recordings(
    clips: pa.Table,
    labels: LabelSpace,
    card: CorpusCard,
    folder: str | Path,
    repo_id: str | None = None,
    *,
    keep: bool = False,
    audio_format: str = "flac",
    private: bool | None = None,
    public_license: str | Sequence[str] | None = None,
    token: str | None = None,
    num_workers: int | None = None,
    strict: bool = False,
) -> str:
    """Makes a dataset of the recordings of an index, and pushes it if a repository is given.

    Unusable recordings are excluded and listed with their reasons in excluded.csv. To resume an interrupted call,
    repeat it: shards that the Hub already has are neither built nor uploaded again.

    Args:
        clips, labels, card: the index with the splits of `as_stored`, its classes, and the facts about the corpus.
        folder: where the dataset is built, and where the state of the upload is stored.
        repo_id: "name" or "namespace/name"; None builds the dataset in `folder` only.
        keep: keep the shards in `folder` after the upload.
        audio_format: "flac": lossless recordings become FLAC; "original": the unchanged files.
        private, public_license, token: see `push_features`.
        num_workers: threads that read and encode. Default: one per core.
        strict: raise an error at the first unusable recording.

    Returns:
        Address of the dataset, or the folder.

    Raises:
        InputError: see `push_features`; also if the index cannot be shared, or the folder holds an unfinished dataset
            of other recordings or settings.
    """
    folder = Path(folder)
    repo = HubRepo(repo_id, "dataset", token) if repo_id else None
    if repo:
        require_licenses(repo, sources_of(asdict(card)), private, public_license)
    check_shareable(clips, labels, audio_format)
    columns = RowColumns(clips, labels)
    _check_texts(clips, columns)
    threads = num_workers or usable_cores()
    _make(folder)
    with locked(folder / BUILD / "lock", f"sharing recordings by {folder}", wait=False):
        bounds = _bounds(folder, clips, labels, audio_format, threads, token)
        shards = list(shards_of(clips, bounds))
        builder = RecordingShards(folder, columns, audio_format, strict, token)
        if repo:
            _upload_missing(repo, builder, shards, threads, private, keep)
        else:
            _build_all(builder, shards, threads)
        _finish(builder, shards, clips, labels, card, repo.repo_id if repo else None)
        if repo:
            names = [_name(shard) for shard in shards]
            repo.upload(folder, BESIDE, "Upload recordings", replace=OLD, kept=names)
            name_what_stays(folder, [*BESIDE, *names])
    return repo.url if repo else str(folder)


def _build_all(builder: RecordingShards, shards: Sequence[Shard], threads: int) -> None:
    """Builds the shards that an interrupted call did not build."""
    for _ in _build_missing(builder, [shard for shard in shards if not builder.is_built(shard)], threads):
        pass


def _make(folder: Path) -> None:
    try:
        for name in (BUILD, "data"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write {folder}: {error.strerror}; choose another --output_dir") from error


def _check_texts(clips: pa.Table, columns: RowColumns) -> None:
    """Raises InputError if a text of a row contains a token; only texts can."""
    for column in ("clip_id", "group", *columns.metadata):
        if pa.types.is_string(clips[column].type):
            for text in pc.unique(clips[column]).drop_null().to_pylist():
                require_no_token(text.encode(errors="replace"), f"Column {column}")


def _bounds(
    folder: Path, clips: pa.Table, labels: LabelSpace, audio_format: str, threads: int, token: str | None
) -> dict[str, list[int]]:
    """The first clip of each shard per split, as decided when this upload began."""
    path = folder / BUILD / "plan.json"
    decides = as_facts(describe(clips, labels, audio_format))
    if path.exists():
        plan = read_json(path)
        otherwise = "remove it to start again (uploaded shards are not uploaded again), or choose another --output_dir"
        require_same(
            f"{folder} holds a dataset begun with other settings, which", plan.get("decides", {}), decides, otherwise
        )
        return plan["bounds"]
    bounds = plan_bounds(clips, audio_format, threads, token)
    write_json(path, {"decides": decides, "bounds": bounds})
    return bounds


def _upload_missing(
    repo: HubRepo, builder: RecordingShards, shards: Sequence[Shard], threads: int, private: bool | None, keep: bool
) -> None:
    """Builds and uploads the shards that the Hub lacks, and deletes them locally unless `keep` is set."""
    uploaded = repo.files()
    refuse_features(repo, uploaded)
    missing = [shard for shard in shards if not _is_uploaded(builder, shard, uploaded, keep)]
    if not missing:
        return
    repo.create(private)
    write_unfinished(builder.folder)
    repo.upload(builder.folder, ["README.md"], "Start uploading recordings")
    done, part, part_bytes = len(shards) - len(missing), [], 0
    for number, shard in enumerate(_build_missing(builder, missing, threads), start=1):
        part.append(shard)
        part_bytes += builder.path(shard).stat().st_size
        if part_bytes >= COMMIT_BYTES or number == len(missing):
            title = f"Upload recordings: {done + number} of {len(shards)} files"
            repo.upload(builder.folder, [_name(one) for one in part], title)
            for one in part if not keep else ():
                builder.path(one).unlink()
            part, part_bytes = [], 0


def refuse_features(repo: HubRepo, uploaded: Collection[str]) -> None:
    """Raises InputError if the files of a repository, `uploaded`, are a feature dataset."""
    if "manifest.json" in uploaded:
        raise InputError(
            f"{repo.repo_id} contains features (it has a manifest.json), and recordings cannot be mixed with them: "
            "push the recordings to another name"
        )


def _is_uploaded(builder: RecordingShards, shard: Shard, uploaded: dict[str, str | None], keep: bool) -> bool:
    """Whether a shard is on the Hub, and with `keep` also in this folder; without `keep`, deletes it here."""
    note = builder.note(shard)
    if note is None or uploaded.get(_name(shard)) != note["sha256"]:
        return False
    if not keep:
        builder.path(shard).unlink(missing_ok=True)
    return not keep or builder.is_built(shard)


def _build_missing(builder: RecordingShards, missing: Sequence[Shard], threads: int) -> Iterator[Shard]:
    """Builds shards with one progress bar over their recordings, and yields them in order."""
    num_clips = sum(len(shard.clips) for shard in missing)
    with progress(total=num_clips, desc="recordings", unit=" clips", disable=not missing) as bar:
        yield from built_in_turn(builder, missing, threads, bar.update)


def _finish(
    builder: RecordingShards,
    shards: Sequence[Shard],
    clips: pa.Table,
    labels: LabelSpace,
    card: CorpusCard,
    repo_id: str | None,
) -> None:
    """Writes excluded.csv and the card after all shards are built."""
    notes: dict[str, list[dict[str, Any]]] = {}
    for shard in shards:
        notes.setdefault(shard.split, []).append(builder.note(shard))
    excluded = [(clip_id, reason) for its in notes.values() for note in its for clip_id, reason in note["excluded"]]
    write_published(builder.folder / "excluded.csv", csv_text([("clip_id", "reason"), *excluded]))
    kept = clips.filter(pc.invert(is_one_of(clips["clip_id"], (clip_id for clip_id, _ in excluded))))
    check_kept(clips, kept, excluded, builder.folder / "excluded.csv")
    if excluded:
        logger.warning(
            "%d of %d clips could not be used and are excluded; see %s",
            len(excluded),
            len(clips),
            builder.folder / "excluded.csv",
        )
    write_recordings_card(builder.folder, kept, labels, builder.columns, card, notes, repo_id)


def _name(shard: Shard) -> str:
    return f"data/{shard.name}.parquet"
