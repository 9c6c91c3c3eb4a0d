"""From clips to a feature dataset on disk: resumable, parallel, and the same bytes however often it was interrupted."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import math
import multiprocessing
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from hf_audio.data.feature_plan import (
    Shard,
    check_clips,
    describe_build,
    differences,
    expected_windows,
    plan_shards,
    shards_of,
)
from hf_audio.data.feature_shards import ShardBuilder
from hf_audio.data.feature_storage import write_atomically
from hf_audio.data.index import SPLITS, Clip, CorpusCard
from hf_audio.data.labels import LabelSpace
from hf_audio.errors import InputError

logger = logging.getLogger(__name__)

# starting worker processes takes a few seconds (each must have torch): not worth it for less than this
FEWEST_CLIPS_FOR_WORKERS = 1000


def build_features(
    clips: Sequence[Clip],
    labels: LabelSpace,
    folder: str | Path,
    extractor: Any,
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
    """Build the feature dataset of an index, or go on where an interrupted build stopped.

    A finished dataset of the same description is returned at once. Files that cannot be used are left out and listed
    with their reasons in excluded.csv. `folder` must be the same for all ranks.

    Args:
        clips: the index; every clip has its split.
        labels: the classes.
        folder: where the dataset is built; it may hold an unfinished build of the same description.
        extractor: a `hf_audio.features.fbank.KaldiFbank`.
        window_s, hop_s: length of a window and step between windows in seconds (multiples of 10 ms).
        card: what readers must know of the corpus.
        num_workers: processes of this rank; by default as many as cores, or none for a small index.
        strict: make the first unusable file an error.
        rank, world_size: which share of the shards is built here.
        wait_for_everyone: a barrier over the ranks, e.g. `accelerate.PartialState().wait_for_everyone`.

    Returns:
        The folder.

    Raises:
        InputError: an unusable index; a folder with another dataset; a window longer than every clip; an unusable
            file (strict), all files, or all of a class; no permission or no space to write.
    """
    folder = Path(folder)
    check_clips(clips, labels)
    described = describe_build(clips, labels, extractor.parameters, window_s, hop_s)
    if _is_complete(folder, described):
        if rank == 0:
            shutil.rmtree(folder / ".build", ignore_errors=True)
        return folder
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with _disk_errors_in_words(folder):
        if rank == 0 and not (folder / "plan.json").exists():
            bounds = plan_shards(clips, expected_windows(clips, window_s, hop_s, cores, strict))
            _start(folder, {**described, "shard_bounds": bounds})
        wait_for_everyone()
        bounds = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["shard_bounds"]
        shards = list(shards_of(clips, bounds))
        builder = ShardBuilder(folder, extractor, labels, *_frames(extractor, window_s, hop_s), strict)
        missing = [shard for shard in shards[rank::world_size] if not builder.is_built(shard)]
        if num_workers is None:
            num_workers = cores if sum(len(shard.clips) for shard in missing) >= FEWEST_CLIPS_FOR_WORKERS else 1
        _build(builder, missing, min(num_workers, len(missing)), show_progress=rank == 0)
        wait_for_everyone()
        if rank == 0:
            _finish(folder, clips, labels, extractor, card, shards, builder, described)
        wait_for_everyone()
    return folder


def _is_complete(folder: Path, described: dict[str, Any]) -> bool:
    """Whether the dataset is finished; an InputError where the folder holds another one."""
    plan = folder / "plan.json"
    if not plan.exists():
        if (folder / "manifest.json").exists() or any(folder.glob("data/*.parquet")):
            raise InputError(
                f"{folder} already holds a feature dataset that was not built from this index; choose another folder"
            )
        return False
    others = differences(json.loads(plan.read_text(encoding="utf-8")), described)
    if others:
        raise InputError(
            f"{folder} holds features of another build; these differ: {', '.join(others)}; "
            "choose another folder, or remove this one to build anew"
        )
    return (folder / "manifest.json").exists()


def _start(folder: Path, plan: dict[str, Any]) -> None:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / ".build").mkdir(exist_ok=True)
    write_atomically(folder / "plan.json", _json(plan), scratch=folder / ".build")


def _frames(extractor: Any, window_s: float, hop_s: float) -> tuple[int, int]:
    window_frames = extractor.window_frames(window_s)
    hop_frames = round(hop_s * extractor.sample_rate / extractor.hop_samples)
    if window_frames < 1 or hop_frames < 1:
        raise InputError(f"A window of {window_s:g} s every {hop_s:g} s holds no 10 ms frame; make both longer")
    return window_frames, hop_frames


def _build(builder: ShardBuilder, shards: list[Shard], num_workers: int, show_progress: bool) -> None:
    """Build shards here, or in worker processes, with one progress bar over their clips."""
    if not shards:
        return
    num_clips = sum(len(shard.clips) for shard in shards)
    with tqdm(total=num_clips, desc="features", unit=" clips", disable=not show_progress) as bar:
        if num_workers <= 1:
            for shard in shards:
                builder.build(shard, bar.update)
        else:
            _build_in_workers(builder, shards, num_workers, bar)


def _build_in_workers(builder: ShardBuilder, shards: list[Shard], num_workers: int, bar: tqdm) -> None:
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":  # torch is imported once, by the server, instead of by every worker
        context.set_forkserver_preload([ShardBuilder.__module__, type(builder.extractor).__module__])
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

    def follow_parent() -> None:  # a build killed with -9 must not leave its workers behind
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow_parent, daemon=True).start()


def _build_in_worker(builder: ShardBuilder, shard: Shard) -> None:
    def count(clips: int) -> None:
        with _clips_done.get_lock():
            _clips_done.value += clips

    builder.build(shard, count)


def _finish(
    folder: Path,
    clips: Sequence[Clip],
    labels: LabelSpace,
    extractor: Any,
    card: CorpusCard,
    shards: list[Shard],
    builder: ShardBuilder,
    described: dict[str, Any],
) -> None:
    """Everything beside the shards, the manifest last."""
    scratch = folder / ".build"
    notes = [builder.notes(shard) for shard in shards]
    excluded = [tuple(row) for note in notes for row in note["excluded"]]
    write_atomically(folder / "excluded.csv", _csv([("clip_id", "reason"), *excluded]), scratch)
    left_out = {clip_id for clip_id, _ in excluded}
    kept = [clip for clip in clips if clip.clip_id not in left_out]
    _check_kept(folder, clips, kept, excluded)
    write_atomically(folder / "index.csv", _csv(_index_rows(clips)), scratch)
    mean, std = _mean_and_std([note for note, shard in zip(notes, shards, strict=True) if shard.split == "train"])
    stock = extractor.to_feature_extractor(builder.window_frames, mean, std)
    write_atomically(folder / "preprocessor_config.json", stock.to_json_string(), scratch)
    num_windows = Counter()
    for note, shard in zip(notes, shards, strict=True):
        num_windows[shard.split] += note["num_windows"]
    manifest = {key: described[key] for key in ("format_version", "problem_type", "label_names", "window_s", "hop_s")}
    manifest["extractor"] = extractor.parameters
    manifest["corpus"] = {
        key: getattr(card, key) for key in ("name", "licence", "may_redistribute", "protocol", "citation", "homepage")
    }
    manifest["splits"] = {
        split: _split_facts([clip for clip in kept if clip.split == split], labels, num_windows[split])
        for split in SPLITS
        if num_windows[split]
    }
    manifest["num_excluded"] = len(excluded)
    write_atomically(folder / "manifest.json", _json(manifest), scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    if excluded:
        logger.warning("%d of %d clips left out, see %s", len(excluded), len(clips), folder / "excluded.csv")


def _check_kept(folder: Path, clips: Sequence[Clip], kept: Sequence[Clip], excluded: list[tuple[str, str]]) -> None:
    """Refuse to finish a dataset that lost all, a whole split, or a class's whole training material."""
    see = f"see {folder / 'excluded.csv'}"
    if not kept:
        raise InputError(f"None of the {len(clips)} clips can be used: {excluded[0][0]} is {excluded[0][1]}; {see}")
    for split in SPLITS:
        if any(clip.split == split for clip in clips) and not any(clip.split == split for clip in kept):
            raise InputError(f"Every clip of the {split} split had to be left out; {see}")
    trained = {name for clip in kept if clip.split == "train" for name in clip.labels}
    for clip in clips:
        for name in clip.labels:
            if clip.split == "train" and name not in trained:
                raise InputError(f"Class {name} lost all its training clips because their files cannot be used; {see}")


def _mean_and_std(notes: list[dict[str, Any]]) -> tuple[float, float]:
    """Over all time-frequency values of real frames, as AST's authors take them."""
    count = sum(note["count"] for note in notes)
    mean = math.fsum(note["sum"] for note in notes) / count
    variance = math.fsum(note["sum_of_squares"] for note in notes) / count - mean**2
    return round(mean, 7), round(math.sqrt(max(variance, 0.0)), 7)


def _split_facts(clips: list[Clip], labels: LabelSpace, num_windows: int) -> dict[str, Any]:
    counts = Counter(name for clip in clips for name in clip.labels)
    return {
        "num_clips": len(clips),
        "num_windows": num_windows,
        "num_groups": len({clip.group for clip in clips}),
        "label_counts": {name: counts[name] for name in labels.names},
    }


def _index_rows(clips: Sequence[Clip]) -> Iterator[tuple]:
    columns = ("clip_id", "group", "split", "labels", "start_s", "end_s")
    facts = sorted({key for clip in clips for key in clip.metadata})
    yield columns + tuple(f"metadata_{key}" if key in columns else key for key in facts)
    for clip in clips:
        end_s = "" if clip.end_s is None else clip.end_s
        row = (clip.clip_id, clip.group, clip.split, ";".join(clip.labels), clip.start_s, end_s)
        yield row + tuple(clip.metadata.get(key, "") for key in facts)


def _csv(rows: Iterator[tuple] | list[tuple]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


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
