"""Builds a feature dataset from clips: in parallel, resumable, and byte-identical however often it was interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from hf_audio.data.building.checked_clips import check_clips
from hf_audio.data.building.clip_windows import WindowMaker
from hf_audio.data.building.description import describe_build, require_same_build
from hf_audio.data.building.finish import MANIFEST, finish_dataset
from hf_audio.data.building.gathering import ShardGatherer, gathered_shards
from hf_audio.data.building.pieces import Piece, PieceBuilder, piece_cuts, pieces_of, read_cuts
from hf_audio.data.building.plan import Plan, begin_plan, is_planned, read_plan, shards_of, write_plan
from hf_audio.data.building.shards import ShardBuilder
from hf_audio.data.building.workers import build_parts, load_ahead, num_cores
from hf_audio.data.feature_format import ClipColumns
from hf_audio.data.foreign.manifest import read_manifest
from hf_audio.data.index.columns import is_file
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import CorpusCard
from hf_audio.data.recordings.lengths import measured_by_headers, measured_by_recordings
from hf_audio.errors import InputError
from hf_audio.files import read_json, write_atomically
from hf_audio.kinds import WindowExtractor
from hf_audio.locks import locked

PLAN = "plan.json"
PIECES = "pieces.json"  # where clips are cut into pieces
# Average size of recordings, between MP3 and 16 bits at 44.1 kHz in stereo
BYTES_A_SECOND = 50_000
# Time to start worker processes, which import torch. In that time, one process computes log-mel features of an hour of
# sound
WORKER_START_S = 3.6
# With this many clips a build probably uses workers, so their libraries are loaded while it is planned
MANY_CLIPS = 2000


class Ranks(NamedTuple):
    """The rank of this process, the number of processes, and a barrier for all of them.

    `wait_for_everyone` is a barrier without a time limit, such as `hf_audio.ranks.wait_for_everyone`.
    """

    rank: int
    world_size: int
    wait_for_everyone: Callable[[], None]

    def share(self, parts: Sequence[Any]) -> Sequence[Any]:
        """This rank's share of the parts."""
        return parts[self.rank :: self.world_size]


ALONE = Ranks(0, 1, lambda: None)


def build_features(
    clips: pa.Table,
    labels: LabelSpace,
    folder: str | Path,
    extractor: WindowExtractor,
    *,
    window_s: float,
    hop_s: float,
    card: CorpusCard,
    num_workers: int | None = None,
    strict: bool = False,
    ranks: Ranks = ALONE,
    token: str | bool | None = None,
) -> Path:
    """Builds the feature dataset of an index in `folder`, or resumes an interrupted build.

    A finished dataset with the same description is returned at once. Files that cannot be used are left out and listed
    with their reasons in excluded.csv.

    Args:
        clips, labels: the index (`hf_audio.data.index.table`), every clip with its split, and its classes.
        folder: the target, the same for all ranks; it may contain an unfinished build with the same description.
        extractor: computes the features: `KaldiFbank`, `Spectrogram` or another kind's.
        window_s, hop_s: length of a window and step between windows in seconds (multiples of 10 ms).
        card: the card of the corpus.
        num_workers: processes of this rank; by default its share of the cores, or one if there is so little audio (less
            than an hour for log-mel features) that it would finish before workers have started. With several, a script
            must guard its main program with `if __name__ == "__main__":`.
        strict: raise an error for the first unusable file.
        ranks: determines which shards this process builds.
        token: for recordings in private repositories on the Hub; it is never written to a file.

    Raises:
        InputError: an unusable index; a folder with another dataset; a window longer than every clip; an unusable file
            (strict); no usable file at all or in a class; no permission or no space to write.
    """
    folder = Path(folder)
    check_clips(clips, labels)
    columns = ClipColumns.of_index(clips, labels, extractor.parameters)
    described = describe_build(clips, labels, extractor.parameters, window_s, hop_s)
    # before anything is read, because it refuses windows without a frame
    window_frames = _window_frames(extractor, window_s, hop_s)
    with _disk_errors_in_words(folder):
        if _is_finished(folder, clips, described, strict):
            if ranks.rank == 0:
                # left by a build that was killed after its last file
                shutil.rmtree(folder / ".build", ignore_errors=True)
            return folder
        with _alone_in(folder, ranks.rank):
            if len(clips) >= MANY_CLIPS:
                load_ahead(extractor, num_workers)
            build = _Build(folder, clips, columns, described, WindowMaker(extractor, window_s, hop_s), strict, ranks)
            planned = _of_files(build) if is_file(clips).all() else _of_pieces(build, num_workers, token)
            notes = _built(build, planned, num_workers)
            if ranks.rank == 0:
                facts = (described, planned.plan.source_rates, notes, extractor, window_frames)
                finish_dataset(folder, clips, columns, card, *facts)
            ranks.wait_for_everyone()
    return folder


class _Build(NamedTuple):
    """The inputs of all steps of a build."""

    folder: Path
    clips: pa.Table
    columns: ClipColumns
    described: dict[str, Any]
    maker: WindowMaker
    strict: bool
    ranks: Ranks


class _Planned(NamedTuple):
    """The planned shards, and the builder that builds them."""

    builder: ShardBuilder | ShardGatherer
    plan: Plan
    shards: list[Any]


@contextlib.contextmanager
def _alone_in(folder: Path, rank: int) -> Iterator[None]:
    """Creates the folder of work in progress; the first rank locks it against other builds."""
    (folder / ".build").mkdir(parents=True, exist_ok=True)
    with (
        locked(folder / ".build" / "lock", f"building features in {folder}", wait=False)
        if rank == 0
        else contextlib.nullcontext()
    ):
        yield


def _workers_for(audio_s: float, extractor: WindowExtractor) -> int:
    """All cores of this rank; one if there is so little audio that it is finished before workers have started."""
    return num_cores() if audio_s >= WORKER_START_S * extractor.times_real_time else 1


def _is_finished(folder: Path, clips: pa.Table, described: dict[str, Any], strict: bool) -> bool:
    """Whether the dataset is complete; raises InputError if the folder contains another one."""
    if not (folder / PLAN).exists():
        if (folder / MANIFEST).exists() or any(folder.glob("data/*.parquet")):
            raise InputError(
                f"{folder} already contains a feature dataset without its {PLAN}, so it was not built there; choose "
                "another folder"
            )
        return False
    require_same_build(folder, read_json(folder / PLAN), described, clips)
    if not (folder / MANIFEST).exists():
        return False
    num_excluded = read_manifest(folder / MANIFEST)["num_excluded"]
    if strict and num_excluded:
        raise InputError(
            f"{folder} was built with {num_excluded} clips left out, see {folder / 'excluded.csv'}; fix or remove "
            "their files and build in another folder, or build without --strict"
        )
    return True


def _of_files(build: _Build) -> _Planned:
    """Plans a build from files by their headers, unless an interrupted build left its plan."""
    path, clips = build.folder / PLAN, build.clips
    if build.ranks.rank == 0 and not is_planned(path):
        measured = measured_by_headers(clips, num_cores(), build.strict)
        (build.folder / "data").mkdir(exist_ok=True)
        write_plan(path, clips, build.described, measured)
    build.ranks.wait_for_everyone()
    plan = read_plan(path, clips)
    builder = ShardBuilder(build.folder, build.maker, build.columns, build.strict)
    return _Planned(builder, plan, [shard for shard, _ in shards_of(clips, plan.shard_bounds)])


def _of_pieces(build: _Build, num_workers: int | None, token: str | bool | None) -> _Planned:
    """Builds the pieces of recordings in containers or on the Hub, then plans the shards."""
    path, clips, ranks = build.folder / PLAN, build.clips, build.ranks
    pieces = PieceBuilder(build.folder, build.maker, build.strict, token)
    parts = _cut(build, pieces, num_workers)
    facts = pieces.facts(parts, len(clips))
    if ranks.rank == 0 and not is_planned(path):
        (build.folder / "data").mkdir(exist_ok=True)
        write_plan(path, clips, build.described, measured_by_recordings(clips, facts.file_s, facts.sample_rate))
    ranks.wait_for_everyone()
    plan = read_plan(path, clips)
    shards = gathered_shards(shards_of(clips, plan.shard_bounds), facts, [pieces.path(part) for part in parts])
    builder = ShardGatherer(build.folder, build.maker, build.columns, build.strict)
    return _Planned(builder, plan, list(shards))


def _cut(build: _Build, pieces: PieceBuilder, num_workers: int | None) -> list[Piece]:
    """Cuts the clips into pieces and builds those that an interrupted build did not leave."""
    clips, ranks, scratch = build.clips, build.ranks, build.folder / ".build"
    if ranks.rank == 0 and not (scratch / PIECES).exists():
        (scratch / "pieces").mkdir(exist_ok=True)
        cuts, num_bytes = piece_cuts(clips, pieces.token)
        if not (build.folder / PLAN).exists():
            begin_plan(build.folder / PLAN, clips, build.described)
        write_atomically(scratch / PIECES, json.dumps({"cuts": cuts, "num_bytes": num_bytes}), scratch=scratch)
    ranks.wait_for_everyone()
    cuts, num_bytes = read_cuts(scratch / PIECES, len(clips))
    parts = pieces_of(clips, cuts)
    missing = [part for part in ranks.share(parts) if not pieces.is_built(part)]
    workers = num_workers or _workers_for(num_bytes / BYTES_A_SECOND, build.maker.extractor)
    build_parts(pieces, missing, workers, "recordings", show_progress=ranks.rank == 0)
    ranks.wait_for_everyone()
    return parts


def _built(build: _Build, planned: _Planned, num_workers: int | None) -> list[tuple[Any, Any]]:
    """All shards with their notes, once every rank has built its share; empty except on rank 0, which finishes."""
    ranks, builder = build.ranks, planned.builder
    missing = [shard for shard in ranks.share(planned.shards) if not builder.is_built(shard)]
    workers = num_workers or _workers_for(planned.plan.audio_s, build.maker.extractor)
    build_parts(builder, missing, workers, "features", show_progress=ranks.rank == 0)
    ranks.wait_for_everyone()
    return [(shard, builder.notes(shard)) for shard in planned.shards] if ranks.rank == 0 else []


def _window_frames(extractor: WindowExtractor, window_s: float, hop_s: float) -> int:
    window_frames = extractor.window_frames(window_s)
    if window_frames < 1 or round(hop_s * extractor.sample_rate / extractor.hop_samples) < 1:
        shortest_s = extractor.frame_samples / extractor.sample_rate
        raise InputError(
            f"A window of {window_s:g} s every {hop_s:g} s is too short: these features need windows of at least "
            f"{shortest_s:g} s every {extractor.hop_samples / extractor.sample_rate:g} s"
        )
    return window_frames


@contextlib.contextmanager
def _disk_errors_in_words(folder: Path) -> Iterator[None]:
    """Explains an OSError, which comes from the file system of the features: audio defects are never OSErrors here."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(
            f"Cannot write features to {folder}: {reason}; free some space or choose another folder "
            "(finished shards are kept; run the same command again to resume)"
        ) from error
