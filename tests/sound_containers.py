"""Recordings of a folder in the containers of datasets: Parquet, Arrow and tar."""

from __future__ import annotations

import dataclasses
import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from hf_audio.data.index.table import Clip

AUDIO = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def audio_table(contents: Sequence[bytes | None]) -> pa.Table:
    """A table with an Audio column, as written by `datasets`, and another column."""
    rows = [{"bytes": content, "path": f"{number}.wav"} for number, content in enumerate(contents)]
    return pa.table({"number": list(range(len(rows))), "audio": pa.array(rows, AUDIO)})


def parquet_bytes(contents: Sequence[bytes | None], rows_a_group: int = 8) -> bytes:
    file = io.BytesIO()
    pq.write_table(audio_table(contents), file, row_group_size=rows_a_group)
    return file.getvalue()


def arrow_bytes(contents: Sequence[bytes | None], rows_a_batch: int = 8) -> bytes:
    file, table = io.BytesIO(), audio_table(contents)
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows_a_batch)
    return file.getvalue()


def tar_bytes(contents: Sequence[bytes | None]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number, content in enumerate(contents):
            for name, data in ((f"{number:06d}.cls", b"0"), (f"{number:06d}.wav", content)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return file.getvalue()


WRITERS = {"parquet": (parquet_bytes, "audio"), "arrow": (arrow_bytes, "audio"), "tar": (tar_bytes, "wav")}


def contained(
    clips: Sequence[Clip], kind: str, clips_a_file: int, **options: int
) -> tuple[list[Clip], dict[str, bytes]]:
    """The same clips with their recordings in containers, and the containers by name, which is the clips' path."""
    write, field = WRITERS[kind]
    files, moved = {}, []
    for first in range(0, len(clips), clips_a_file):
        name, part = f"data/train-{first // clips_a_file:05d}.{kind}", clips[first : first + clips_a_file]
        files[name] = write([Path(clip.path).read_bytes() for clip in part], **options)
        places = enumerate(part)
        moved += [dataclasses.replace(one, path=name, audio_row=row, audio_field=field) for row, one in places]
    return moved, files


def placed(clips: Sequence[Clip], root: str) -> list[Clip]:
    """Clips in containers that are below a folder or an address."""
    return [dataclasses.replace(clip, path=f"{root}/{clip.path}") for clip in clips]


def written(files: dict[str, bytes], folder: Path) -> Path:
    """Writes the files below a folder, and returns the folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
