"""Finds recordings in two of the joined corpora: the same file or row, or two files with the same bytes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from multiprocessing.pool import ThreadPool
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from hf_audio.data.index.columns import is_file
from hf_audio.data.recordings.stamps import FILES_AT_A_TIME, sampled_digest, stamp
from hf_audio.environment import usable_cores

MAX_FILES = 100_000  # for comparing sizes, and the bytes of files of equal size
NOT_LOOKED_FOR = "Copies with another format, level or cut were not searched for: use hf-audio leaks on the features."


class Shared(NamedTuple):
    """A paragraph about recordings in two corpora, and the number of those in two splits."""

    told: str
    num_apart: int


def find_shared(names: Sequence[str], indexes: Sequence[pa.Table]) -> Shared:
    """Finds recordings in two corpora, and says what was not searched for.

    Args:
        names: of the corpora.
        indexes: their clips, with splits.
    """
    rows = pa.concat_tables([_rows(name, clips) for name, clips in zip(names, indexes, strict=True)])
    digests = _digests(rows)
    keys = pa.array([*digests.values()], pa.string()).take(pc.index_in(rows["file"], pa.array([*digests], pa.string())))
    rows = rows.set_column(0, "key", pc.coalesce(keys, rows["key"]))
    counts = rows.group_by("key", use_threads=False).aggregate(
        [(name, "count_distinct") for name in ("corpus", "split")]
    )
    shared = counts.filter(pc.greater(counts["corpus_count_distinct"], 1))
    apart = shared.filter(pc.greater(shared["split_count_distinct"], 1))["key"]
    said = []
    if len(apart):
        first = dict.fromkeys(rows.filter(pc.equal(rows["key"], apart[0]))["clip_id"].to_pylist())
        said.append(
            f"Please note: {len(apart):,} recordings are in two corpora and in two splits (first "
            f"{' and '.join(list(first)[:2])}), which inflates the scores on them."
        )
    if len(shared) > len(apart):
        said.append(f"{len(shared) - len(apart):,} recordings are in two corpora and count twice.")
    if rows["file"].null_count:
        said.append("Recordings in datasets were only compared by location, not by their bytes.")
    elif pc.count_distinct(rows["file"]).as_py() > MAX_FILES:
        said.append(f"Since there are more than {MAX_FILES:,} files, they were only compared by location.")
    return Shared(" ".join([*said, NOT_LOOKED_FOR]), len(apart))


def _rows(name: str, clips: pa.Table) -> pa.Table:
    """For each clip: a key for the location of its recording, its local file if any, its corpus, split and name."""
    audio = clips["audio"].combine_chunks().dictionary_encode()
    paths = pa.array([_real(path) for path in audio.dictionary.to_pylist()], pa.string()).take(audio.indices)
    rows, fields = (pc.fill_null(clips[column].cast(pa.string()), "") for column in ("audio_row", "audio_field"))
    return pa.table(
        {
            "key": pc.binary_join_element_wise(paths, rows, fields, "\0"),
            "file": pc.if_else(pa.array(is_file(clips)), paths, None),
            "corpus": pa.repeat(name, len(clips)),
            "split": clips["split"],
            "clip_id": pc.binary_join_element_wise(name, clips["clip_id"], "/"),
        }
    )


def _real(path: str) -> str:
    """The real path; cached per folder, since there may be a million files in few folders."""
    if "://" in path:
        return path
    folder, name = os.path.split(path)
    real = os.path.join(_real_folder(folder), name)
    return os.path.realpath(real) if os.path.islink(real) else real


@lru_cache(maxsize=4096)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _digests(rows: pa.Table) -> dict[str, str]:
    """Digests of a few bytes of files with the same size as one of another corpus; none if there are too many files."""
    files = rows.filter(pc.is_valid(rows["file"])).group_by(["file", "corpus"], use_threads=False).aggregate([])
    if len(files) > MAX_FILES:
        return {}
    of_size: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for path, corpus in zip(files["file"].to_pylist(), files["corpus"].to_pylist(), strict=True):
        if (facts := stamp(path)) is not None and facts.size_bytes:
            of_size[facts.size_bytes][path].add(corpus)
    alike = [path for its in of_size.values() if len(set().union(*its.values())) > 1 for path in its]
    with ThreadPool(usable_cores()) as threads:
        found = threads.imap(sampled_digest, alike, chunksize=FILES_AT_A_TIME)
        return dict(zip(alike, (digest.hex() for digest in found), strict=True))
