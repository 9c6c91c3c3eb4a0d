"""From clips to a feature dataset on disk: resumable, parallel, and the same bytes however often it was interrupted."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pyarrow as pa

from hf_audio.data.building.finish import MANIFEST, as_json, finish_dataset
from hf_audio.data.building.plan import (
    FILE_CONTENTS,
    FILE_TIMES,
    Shard,
    check_clips,
    check_window,
    describe_build,
    plan_shards,
    read_plan,
    shards_of,
    were_replaced,
)
from hf_audio.data.building.shards import ShardBuilder
from hf_audio.data.feature_format import ClipColumns
from hf_audio.data.foreign.manifest import read_manifest, window_values
from hf_audio.data.index.labels import LabelSpace
from hf_audio.data.index.table import CorpusCard
from hf_audio.data.recordings.lengths import clip_durations, read_headers, recordings_of, source_rates
from hf_audio.data.recordings.stamps import contents_digest
from hf_audio.environment import usable_cores
from hf_audio.errors import InputError
from hf_audio.files import read_json, write_atomically
from hf_audio.finished_work import require_same
from hf_audio.kinds import WindowExtractor
from hf_audio.locks import locked
from hf_audio.terminal import ProgressBar, progress

PLAN = "plan.json"
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

    Raises:
        InputError: an unusable index; a folder with another dataset; a window longer than every clip; an unusable
            file (strict), all files, or all of a class; no permission or no space to write.
    """
    folder = Path(folder)
    check_clips(clips, labels)
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
                _load_ahead(extractor, num_workers)
            if rank == 0:
                _start(folder, clips, described, strict)
            wait_for_everyone()
            plan = read_plan(folder / PLAN, clips)
            shards = list(shards_of(clips, plan["shard_bounds"]))
            builder = ShardBuilder(folder, extractor, columns, window_s, hop_s, strict)
            missing = [shard for shard in shards[rank::world_size] if not builder.is_built(shard)]
            if num_workers is None:
                num_workers = _workers_for(plan["audio_s"], extractor)
            _build(builder, missing, min(num_workers, len(missing)), show_progress=rank == 0)
            wait_for_everyone()
            if rank == 0:
                notes, rates = [(shard, builder.notes(shard)) for shard in shards], plan["source_rates"]
                finish_dataset(folder, clips, columns, card, described, rates, notes, extractor, window_frames)
            wait_for_everyone()
    return folder


def _workers_for(audio_s: float, extractor: WindowExtractor) -> int:
    """All cores of this rank; one where there is so little sound that it is done before others have started."""
    return _num_cores() if audio_s >= WORKER_START_S * extractor.times_real_time else 1


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
    require_same(build, {name: plan.get(name) for name in decides}, decides, f"{otherwise} to build anew")
    if were_replaced(plan, described, clips, _num_cores()):
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


def _start(folder: Path, clips: pa.Table, described: dict[str, Any], strict: bool) -> None:
    """Make the folder and, unless an interrupted build left it, the plan that every rank follows."""
    (folder / "data").mkdir(exist_ok=True)
    if not (folder / PLAN).exists():
        window_s, hop_s = described["window_s"], described["hop_s"]
        headers = read_headers(clips, _num_cores())
        durations_s = clip_durations(clips, headers, strict)
        check_window(window_s, durations_s)
        plan = {
            **described,
            "audio_s": round(float(durations_s.sum()), 3),
            "source_rates": source_rates(clips, headers),
            FILE_CONTENTS: contents_digest(recordings_of(clips), _num_cores()),
            "shard_bounds": plan_shards(clips, durations_s, window_s, hop_s, window_values(described)),
        }
        write_atomically(folder / PLAN, as_json(plan), scratch=folder / ".build")


def _num_cores() -> int:
    """This process's share of the cores that it may use."""
    ranks_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of torchrun and accelerate launch
    return max(1, usable_cores() // ranks_here)


def _window_frames(extractor: WindowExtractor, window_s: float, hop_s: float) -> int:
    window_frames = extractor.window_frames(window_s)
    if window_frames < 1 or round(hop_s * extractor.sample_rate / extractor.hop_samples) < 1:
        shortest_s = extractor.frame_samples / extractor.sample_rate
        raise InputError(
            f"A window of {window_s:g} s every {hop_s:g} s is too short: these features need windows of "
            f"{shortest_s:g} s every {extractor.hop_samples / extractor.sample_rate:g} s at least"
        )
    return window_frames


def _build(builder: ShardBuilder, shards: list[Shard], num_workers: int, show_progress: bool) -> None:
    """Build shards here, or in worker processes, with one progress bar over their clips."""
    if not shards:
        return
    num_clips = sum(len(shard.clips) for shard in shards)
    with progress(total=num_clips, desc="features", unit=" clips", disable=not show_progress) as bar:
        if num_workers <= 1:
            for shard in shards:
                builder.build(shard, bar.update)
        else:
            _build_in_workers(builder, shards, num_workers, bar)


def _worker_context(extractor: WindowExtractor) -> BaseContext:
    """How workers start: where it can be, torch is imported once, by a server, instead of by every worker."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([ShardBuilder.__module__, type(extractor).__module__, *extractor.slow_imports])
    return context


def _load_ahead(extractor: WindowExtractor, num_workers: int | None) -> None:
    """Starts the server that workers will be forked from, if there can be several; it loads its libraries by itself."""
    context = _worker_context(extractor)
    if context.get_start_method() == "forkserver" and (num_workers is None or num_workers > 1) and _num_cores() > 1:
        from multiprocessing import forkserver

        forkserver.ensure_running()


def _build_in_workers(builder: ShardBuilder, shards: list[Shard], num_workers: int, bar: ProgressBar) -> None:
    context = _worker_context(builder.extractor)
    done = context.Value("q", 0)
    workers = ProcessPoolExecutor(num_workers, context, _begin_worker, (done,))
    try:
        running = {workers.submit(_build_in_worker, builder, shard) for shard in shards}
        while running:
            finished, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            bar.update(done.value - bar.n)
            for future in finished:
                future.result()
    except BrokenProcessPool as error:
        raise InputError(
            f"A worker process died, probably for lack of memory; try fewer than {num_workers} workers "
            "(finished shards are kept, the same command goes on from them)"
        ) from error
    finally:
        workers.shutdown(wait=True, cancel_futures=True)


_clips_done: Any = None  # in a worker: the counter that all workers share


def _begin_worker(counter: Any) -> None:
    global _clips_done
    _clips_done = counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which lets shards in work be finished

    def follow_parent() -> None:  # a build killed with -9 must not leave its workers behind
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


def _build_in_worker(builder: ShardBuilder, shard: Shard) -> None:
    def count(clips: int) -> None:
        with _clips_done.get_lock():
            _clips_done.value += clips

    builder.build(shard, count)


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
