"""From clips to a feature dataset on disk: resumable, parallel, and the same bytes however often it was interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hf_audio.data.building.checked_clips import check_clips
from hf_audio.data.building.clip_windows import WindowMaker
from hf_audio.data.building.finish import MANIFEST, as_json, finish_dataset
from hf_audio.data.building.gathering import GatheredShard, ShardGatherer, gathered_shards
from hf_audio.data.building.pieces import PieceBuilder, piece_cuts, pieces_of, read_cuts
from hf_audio.data.building.plan import (
    FILE_CONTENTS,
    FILE_TIMES,
    SOURCE,
    Shard,
    check_window,
    describe_build,
    files_digest,
    plan_shards,
    read_plan,
    shards_of,
    were_replaced,
)
from hf_audio.data.building.shards import ShardBuilder
from hf_audio.data.building.workers import build_parts, load_ahead, num_cores
from hf_audio.data.feature_format import ClipColumns
from hf_audio.data.foreign.manifest import read_manifest, window_values
from hf_audio.data.index.columns import has_mixtures, is_file, require_files
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import CorpusCard
from hf_audio.data.recordings.lengths import (
    clip_durations,
    counted_rates,
    read_headers,
    source_rates,
    stretch_lengths,
)
from hf_audio.errors import InputError
from hf_audio.files import read_json, write_atomically
from hf_audio.finished_work import require_same
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
    window_frames = _window_frames(extractor, window_s, hop_s)
    with _disk_errors_in_words(folder):
        if _is_finished(folder, clips, described, strict):
            if rank == 0:
                shutil.rmtree(folder / ".build", ignore_errors=True)  # of a build killed after its last file
            return folder
        (folder / ".build").mkdir(parents=True, exist_ok=True)
        alone = locked(folder / ".build" / "lock", f"building features in {folder}", wait=False)
        with alone if rank == 0 else contextlib.nullcontext():
            if len(clips) >= MANY_CLIPS:
                load_ahead(extractor, num_workers)
            ranks = Ranks(rank, world_size, wait_for_everyone)
            maker = WindowMaker(extractor, window_s, hop_s)
            if is_file(clips).all():
                builder = ShardBuilder(folder, maker, columns, strict)
                shards = _planned(folder, clips, described, strict, ranks)
            else:
                builder = ShardGatherer(folder, maker, columns, strict)
                pieces = PieceBuilder(folder, maker, strict, token)
                shards = _shards_of_pieces(clips, described, pieces, num_workers, ranks)
            plan = read_plan(folder / PLAN, clips)
            missing = [shard for shard in shards[rank::world_size] if not builder.is_built(shard)]
            if num_workers is None:
                num_workers = _workers_for(plan["audio_s"], extractor)
            build_parts(builder, missing, num_workers, "features", show_progress=rank == 0)
            wait_for_everyone()
            if rank == 0:
                notes, rates = [(shard, builder.notes(shard)) for shard in shards], plan["source_rates"]
                finish_dataset(folder, clips, columns, card, described, rates, notes, extractor, window_frames)
            wait_for_everyone()
    return folder


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
    plan = read_json(folder / PLAN)
    decides = {name: value for name, value in described.items() if name != FILE_TIMES}
    build, otherwise = f"{folder} holds features of another build, which", "choose another folder, or remove this one"
    if plan.get(SOURCE) and described[SOURCE] and plan[SOURCE] != described[SOURCE]:
        otherwise = f"give --dataset_revision with the commit of that build to go on with it, or {otherwise}"
    require_same(build, {name: plan.get(name) for name in decides}, decides, f"{otherwise} to build anew")
    if were_replaced(plan, described, clips, num_cores()):
        raise InputError(
            f"{build} differs in: {FILE_CONTENTS} (recordings were replaced by others of the same size); {otherwise} "
            "to build anew"
        )
    if not (folder / MANIFEST).exists():
        return False
    num_excluded = read_manifest(folder / MANIFEST)["num_excluded"]
    if strict and num_excluded:
        raise InputError(
            f"{folder} was built with {num_excluded} clips left out, see {folder / 'excluded.csv'}; mend or remove "
            "their files and build in another folder, or build without --strict"
        )
    return True


def _planned(folder: Path, clips: pa.Table, described: dict[str, Any], strict: bool, ranks: Ranks) -> list[Shard]:
    """The shards of clips whose recordings are files; unless an interrupted build left it, the plan is made first."""
    if ranks.rank == 0 and not _is_planned(folder):
        headers = read_headers(clips, num_cores())
        seconds = clip_durations(clips, headers, strict)
        _write_plan(folder, clips, described, seconds, source_rates(clips, headers))
    ranks.wait_for_everyone()
    return [shard for shard, _ in shards_of(clips, read_plan(folder / PLAN, clips)["shard_bounds"])]


def _shards_of_pieces(
    clips: pa.Table, described: dict[str, Any], builder: PieceBuilder, num_workers: int | None, ranks: Ranks
) -> list[GatheredShard]:
    """The shards of clips whose recordings lie in containers or on the Hub, once all of their pieces are built."""
    folder, extractor = builder.folder, builder.maker.extractor
    cut_at = folder / ".build" / PIECES
    if ranks.rank == 0 and not cut_at.exists():
        (folder / ".build" / "pieces").mkdir(exist_ok=True)
        cuts, num_bytes = piece_cuts(clips, builder.token)
        if not (folder / PLAN).exists():
            begun = {**described, FILE_CONTENTS: files_digest(clips, num_cores())}
            write_atomically(folder / PLAN, as_json(begun), scratch=folder / ".build")
        write_atomically(cut_at, json.dumps({"cuts": cuts, "num_bytes": num_bytes}), scratch=folder / ".build")
    ranks.wait_for_everyone()
    cuts, num_bytes = read_cuts(cut_at, len(clips))
    pieces = pieces_of(clips, cuts)
    missing = [piece for piece in pieces[ranks.rank :: ranks.world_size] if not builder.is_built(piece)]
    if num_workers is None:
        num_workers = _workers_for(num_bytes / BYTES_A_SECOND, extractor)
    build_parts(builder, missing, num_workers, "recordings", show_progress=ranks.rank == 0)
    ranks.wait_for_everyone()
    facts = builder.facts(pieces, len(clips))
    if ranks.rank == 0 and not _is_planned(folder):
        seconds = stretch_lengths(clips, facts.file_s)
        _write_plan(folder, clips, described, seconds, counted_rates(clips, facts.sample_rate))
    ranks.wait_for_everyone()
    shards = shards_of(clips, read_plan(folder / PLAN, clips)["shard_bounds"])
    return list(gathered_shards(shards, facts, [builder.path(piece) for piece in pieces]))


def _is_planned(folder: Path) -> bool:
    return (folder / PLAN).exists() and "shard_bounds" in read_json(folder / PLAN)


def _write_plan(
    folder: Path, clips: pa.Table, described: dict[str, Any], seconds: np.ndarray, rates: dict[str, dict[str, int]]
) -> None:
    """Writes the plan that every rank follows.

    Args:
        seconds: of each clip.
        rates: what `source_rates` says of their recordings.
    """
    window_s, hop_s = described["window_s"], described["hop_s"]
    check_window(window_s, seconds)
    plan = {
        **described,
        "audio_s": round(float(seconds.sum()), 3),
        "source_rates": rates,
        FILE_CONTENTS: files_digest(clips, num_cores()),
        "shard_bounds": plan_shards(clips, seconds, window_s, hop_s, window_values(described)),
    }
    (folder / "data").mkdir(exist_ok=True)
    write_atomically(folder / PLAN, as_json(plan), scratch=folder / ".build")


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
