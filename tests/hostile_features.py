"""A tiny feature dataset as an attacker could change it: files and shards edited, put on the tests' Hub."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from PIL import Image

from hf_audio.data.loading.feature_collator import FeatureCollator
from hf_audio.data.loading.features_dataset import FeatureDataset, load_features
from hf_audio.errors import InputError
from hf_audio.gray_images import PNG_SIGNATURE, _png_chunk


def edit_json(path: Path, place: str, value: Any) -> None:
    """Sets a field of a JSON file, such as `splits.test.num_clips`; ... removes it."""
    content = json.loads(path.read_text())
    *folders, name = place.split(".")
    within = content
    for folder in folders:
        within = within[folder]
    if value is ...:
        del within[name]
    else:
        within[name] = value
    path.write_text(json.dumps(content))


def edit_index(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Changes rows of the index, but not its columns."""
    table = pq.read_table(folder / "index.parquet")
    rows = table.to_pylist()
    change(rows)
    write_index(folder, pa.Table.from_pylist(rows, table.schema))


def write_index(folder: Path, table: pa.Table, **options: Any) -> None:
    options = {"compression": "none", "use_dictionary": False, **options}
    pq.write_table(table, folder / "index.parquet", **options)


def shard_of(folder: Path, split: str = "train") -> Path:
    return next((folder / "data").glob(f"{split}-*"))


def edit_rows(folder: Path, change: Callable[[list[dict[str, Any]]], object], split: str = "train") -> None:
    """Changes rows of a shard, but not its columns."""
    table = pq.read_table(shard_of(folder, split))
    rows = table.to_pylist()
    change(rows)
    write_shard(folder, pa.Table.from_pylist(rows, table.schema), split)


def write_shard(folder: Path, table: pa.Table, split: str = "train", **options: Any) -> None:
    options = {"compression": "none", "use_dictionary": ["clip_id", "group"], **options}
    pq.write_table(table, shard_of(folder, split), **options)


def first_row(name: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    """Changes a value in the first row of a shard."""
    return lambda rows: rows[0].update({name: value})


def with_image(make: Callable[[int, int], bytes]) -> Callable[[list[dict[str, Any]]], None]:
    """Replaces the image in the first row by one that is made for its width and height."""

    def change(rows: list[dict[str, Any]]) -> None:
        image = Image.open(io.BytesIO(rows[0]["features"]["bytes"]))
        rows[0]["features"] = {"bytes": make(*image.size), "path": None}

    return change


def image(mode: str, kind: str, width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, kind)
    return file.getvalue()


def png(width: int, height: int, *, depth: int = 8, color: int = 0, interlaced: int = 0, before: bytes = b"") -> bytes:
    """A PNG with any header, and chunks `before` its pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced)
    pixels = zlib.compress(bytes(1 << 16))
    chunks = _png_chunk(b"IHDR", header), before, _png_chunk(b"IDAT", pixels), _png_chunk(b"IEND", b"")
    return PNG_SIGNATURE + b"".join(chunks)


def sound(
    num_samples: int, rate: int = 16_000, kind: str = "FLAC", subtype: str = "PCM_16", channels: int = 1
) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros((num_samples, channels), np.int16), rate, format=kind, subtype=subtype)
    return file.getvalue()


def with_sound(make: Callable[[int], bytes]) -> Callable[[list[dict[str, Any]]], None]:
    """Replaces the sound in the first row by one that is made for its number of samples."""
    return lambda rows: rows[0].update({"audio": {"bytes": make(rows[0]["num_frames"]), "path": "window.flac"}})


def lying_flac(num_samples: int, claimed: int) -> bytes:
    """FLAC with a false length in its header."""
    content = bytearray(sound(num_samples))
    described = int.from_bytes(content[18:26], "big")
    content[18:26] = (described >> 36 << 36 | claimed).to_bytes(8, "big")
    return bytes(content)


def put_on(hub, repo_id: str, folder: Path, **more: bytes) -> str:
    """All files of a folder as a dataset of the tests' Hub."""
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    hub.create("datasets", repo_id, files | more)
    return repo_id


def refusal(source: str | Path, **options) -> str:
    """The error for a dataset that cannot be used; a streamed one is read to its end."""
    with pytest.raises(InputError) as caught:
        features = load_features(source, **options)
        batches_of(features)
    message = str(caught.value)
    assert "\n" not in message and "Traceback" not in message and len(message) < 900, message
    return message


def batches_of(features: FeatureDataset) -> torch.Tensor:
    collate = FeatureCollator(features.extractor, features.labels)
    return collate(list(features.splits["train"]))["input_values"]
