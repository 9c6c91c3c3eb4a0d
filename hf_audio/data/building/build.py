"""From clips to a feature dataset on disk: resumable, parallel, and the same bytes however often it was interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from hf_audio.data.building.checked_clips import check_clips
from hf_audio.data.building.clip_windows import WindowMaker
from hf_audio.data.building.description import describe_build, require_same_build
from hf_audio.data.building.finish import MANIFEST, finish_dataset
from hf_audio.data.building.gathering import GatheredShard, ShardGatherer, gathered_shards
from hf_audio.data.building.pieces import PieceBuilder, piece_cuts, pieces_of, read_cuts
from hf_audio.data.building.plan import Plan, begin_plan, is_planned, read_plan, shards_of, write_plan
from hf_audio.data.building.shards import ShardBuilder
from hf_audio.data.building.workers import build_parts, load_ahead, num_cores
from hf_audio.data.feature_format import ClipColumns
from hf_audio.data.foreign.manifest import read_manifest
from hf_audio.data.index.columns import has_mixtures, is_file, require_files
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import CorpusCard
from hf_audio.data.recordings.lengths import measured_by_headers, measured_by_recordings
from hf_audio.errors import InputError
from hf_audio.files import read_json, write_atomically
from hf_audio.kinds import WindowExtractor
from hf_audio.locks import locked

PLAN = "plan.json"
PIECES = "pieces.json"  # where clips are cut into pieces
# Of recordings on average, between MP3 and 16 bits at 44.1 kHz in stereo
BYTES_A_SECOND = 50_000
# Starting worker processes takes about so long, since they need torch: in that time, one process gets through an hour
# of sound where features are log-mel
WORKER_START_S = 3.6
# Of so many clips a build is likely to want workers, so that their libraries are loaded while it is planned
MANY_CLIPS = 2000


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
    rank: int = 0,
    world_size: int = 1,
    wait_for_everyone: Callable[[], None] = lambda: None,
    token: str | bool | None = None,
) -> Path:
    """Build the feature dataset of an index in `folder`, or go on where an interrupted build stopped.

    A finished dataset of the same description is returned at once. Files that cannot be used are left out and listed
    with their reasons in excluded.csv.

    Args:
        clips, labels: the index (`hf_audio.data.index.table`), every clip with its split, and its classes.
        folder: the same for all ranks; it may hold an unfinished build of the same description.
        extractor: what makes the features: `KaldiFbank`, `Spectrogram` or another kind's.
        window_s, hop_s: length of a window and step between windows in seconds (multiples of 10 ms).
        card: what readers must know of the corpus.
        num_workers: processes of this rank; by default its share of the cores, or one where there is so little audio
            (less than an hour for log-mel features) that it would be done before others have started.
            A script that has more must guard its main program by `if __name__ == "__main__":`, as always in Python.
        strict: make the first unusable file an error.
        rank, world_size: which share of the shards is built here.
        wait_for_everyone: a barrier over the ranks that does not give up, e.g. `hf_audio.ranks.wait_for_everyone`.
        token: for recordings in private repositories of the Hub; it is written nowhere.

    Raises:
        InputError: an unusable index; a folder with another dataset; a window longer than every clip; an unusable
            file (strict), all files, or all of a class; no permission or no space to write.
    """
    folder = Path(folder)
    check_clips(clips, labels)
    if has_mixtures(clips):
        require_files(clips, "Mixtures need")
    columns = ClipColumns.of_index(clips, labels, extractor.parameters)
    described = describe_build(clips, labels, extractor.parameters, window_s, hop_s)
    window_frames = _window_frames(extractor, window_s, hop_s)  # refuses a window of no frame, before all is read
    with _disk_errors_in_words(folder):
        if _is_finished(folder, clips, described, strict):
            if rank == 0:
                shutil.rmtree(folder / ".build", ignore_errors=True)  # of a build killed after its last file
            return folder
        with _alone_in(folder, rank):
            if len(clips) >= MANY_CLIPS:
                load_ahead(extractor, num_workers)
            maker, ranks = WindowMaker(extractor, window_s, hop_s), Ranks(rank, world_size, wait_for_everyone)
            if is_file(clips).all():
                builder = ShardBuilder(folder, maker, columns, strict)
                plan = _plan_of_files(folder, clips, described, strict, ranks)
                shards = [shard for shard, _ in shards_of(clips, plan.shard_bounds)]
            else:
                builder, pieces = (
                    ShardGatherer(folder, maker, columns, strict),
                    PieceBuilder(folder, maker, strict, token),
                )
                plan, shards = _plan_of_pieces(clips, described, pieces, num_workers, ranks)
            num_workers = num_workers or _workers_for(plan.audio_s, extractor)
            missing = [shard for shard in shards[rank::world_size] if not builder.is_built(shard)]
            build_parts(builder, missing, num_workers, "features", show_progress=rank == 0)
            wait_for_everyone()
            if rank == 0:
                notes = [(shard, builder.notes(shard)) for shard in shards]
                facts = (described, plan.source_rates, notes, extractor, window_frames)
                finish_dataset(folder, clips, columns, card, *facts)
            wait_for_everyone()
    return folder


@contextlib.contextmanager
def _alone_in(folder: Path, rank: int) -> Iterator[None]:
    """The folder of work in progress, which the first rank keeps other builds out of."""
    (folder / ".build").mkdir(parents=True, exist_ok=True)
    with (
        locked(folder / ".build" / "lock", f"building features in {folder}", wait=False)
        if rank == 0
        else contextlib.nullcontext()
    ):
        yield


class Ranks(NamedTuple):
    """Which process of how many this one is, and how all of them meet."""

    rank: int
    world_size: int
    wait_for_everyone: Callable[[], None]


def _workers_for(audio_s: float, extractor: WindowExtractor) -> int:
    """All cores of this rank; one where there is so little sound that it is done before others have started."""
    return num_cores() if audio_s >= WORKER_START_S * extractor.times_real_time else 1


def _is_finished(folder: Path, clips: pa.Table, described: dict[str, Any], strict: bool) -> bool:
    """Whether the dataset is complete; an InputError where the folder holds another one."""
    if not (folder / PLAN).exists():
        if (folder / MANIFEST).exists() or any(folder.glob("data/*.parquet")):
            raise InputError(
                f"{folder} already holds a feature dataset that was not built here; choose another folder to build in"
            )
        return False
    require_same_build(folder, read_json(folder / PLAN), described, clips)
    if not (folder / MANIFEST).exists():
        return False
    num_excluded = read_manifest(folder / MANIFEST)["num_excluded"]
    if strict and num_excluded:
        raise InputError(
            f"{folder} was built with {num_excluded} clips left out, see {folder / 'excluded.csv'}; mend or remove "
            "their files and build in another folder, or build without --strict"
        )
    return True


def _plan_of_files(folder: Path, clips: pa.Table, described: dict[str, Any], strict: bool, ranks: Ranks) -> Plan:
    """The plan for clips whose recordings are files; unless an interrupted build left it, it is made first."""
    path = folder / PLAN
    if ranks.rank == 0 and not is_planned(path):
        measured = measured_by_headers(clips, num_cores(), strict)
        (folder / "data").mkdir(exist_ok=True)
        write_plan(path, clips, described, measured)
    ranks.wait_for_everyone()
    return read_plan(path, clips)


def _plan_of_pieces(
    clips: pa.Table, described: dict[str, Any], builder: PieceBuilder, num_workers: int | None, ranks: Ranks
) -> tuple[Plan, list[GatheredShard]]:
    """The plan for clips whose recordings lie in containers or on the Hub, once all of their pieces are built."""
    folder, extractor = builder.folder, builder.maker.extractor
    path, cut_at = folder / PLAN, folder / ".build" / PIECES
    if ranks.rank == 0 and not cut_at.exists():
        (folder / ".build" / "pieces").mkdir(exist_ok=True)
        cuts, num_bytes = piece_cuts(clips, builder.token)
        if not path.exists():
            begin_plan(path, clips, described)
        write_atomically(cut_at, json.dumps({"cuts": cuts, "num_bytes": num_bytes}), scratch=folder / ".build")
    ranks.wait_for_everyone()
    cuts, num_bytes = read_cuts(cut_at, len(clips))
    parts = pieces_of(clips, cuts)
    missing = [piece for piece in parts[ranks.rank :: ranks.world_size] if not builder.is_built(piece)]
    if num_workers is None:
        num_workers = _workers_for(num_bytes / BYTES_A_SECOND, extractor)
    build_parts(builder, missing, num_workers, "recordings", show_progress=ranks.rank == 0)
    ranks.wait_for_everyone()
    facts = builder.facts(parts, len(clips))
    if ranks.rank == 0 and not is_planned(path):
        (folder / "data").mkdir(exist_ok=True)
        write_plan(path, clips, described, measured_by_recordings(clips, facts.file_s, facts.sample_rate))
    ranks.wait_for_everyone()
    plan = read_plan(path, clips)
    shards = shards_of(clips, plan.shard_bounds)
    return plan, list(gathered_shards(shards, facts, [builder.path(piece) for piece in parts]))


def _window_frames(extractor: WindowExtractor, window_s: float, hop_s: float) -> int:
    window_frames = extractor.window_frames(window_s)
    if window_frames < 1 or round(hop_s * extractor.sample_rate / extractor.hop_samples) < 1:
        shortest_s = extractor.frame_samples / extractor.sample_rate
        raise InputError(
            f"A window of {window_s:g} s every {hop_s:g} s is too short: these features need windows of "
            f"{shortest_s:g} s every {extractor.hop_samples / extractor.sample_rate:g} s at least"
        )
    return window_frames


@contextlib.contextmanager
def _disk_errors_in_words(folder: Path) -> Iterator[None]:
    """Audio defects never come here as OSError, so what does is the feature folder's file system."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise InputError(
            f"Cannot write features to {folder}: {reason}; make room or choose another folder "
            "(finished shards are kept, the same command goes on from them)"
        ) from error
