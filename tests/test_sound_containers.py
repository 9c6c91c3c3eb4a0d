"""Files that hold many recordings: reading them, and what happens when they are broken."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from sound_containers import WRITERS, audio_table, parquet_bytes

from hf_audio.data.recordings import containers
from hf_audio.data.recordings.audio import AudioError, read_audio
from hf_audio.data.recordings.containers import parts_of, sounds
from hf_audio.errors import InputError
from hf_audio.files import open_regular


def recording(number: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.3 * np.sin(0.1 * (1 + number) * np.arange(2000)), 8000, format="WAV")
    return file.getvalue()


CONTENTS = [recording(number) for number in range(20)]


@pytest.fixture(params=WRITERS)
def container(request, tmp_path) -> tuple[Path, str]:
    write, field = WRITERS[request.param]
    path = tmp_path / f"sounds.{request.param}"
    path.write_bytes(write(CONTENTS))
    return path, field


def test_rows_come_once_each_in_ascending_order(container):
    path, field = container
    found = list(sounds(str(path), field, [17, 3, 3, 9, 40], open_regular))
    assert [row for row, _ in found] == [3, 9, 17], "missing rows are skipped"
    assert all(sound.read() == CONTENTS[row] for row, sound in found)


def test_a_recording_too_large_for_memory_is_read_from_a_file(container, tmp_path, monkeypatch):
    """In Parquet and Arrow its bytes are already in memory and are not copied."""
    path, field = container
    monkeypatch.setattr("hf_audio.data.recordings.hub_files.MAX_HELD_BYTES", 100)
    monkeypatch.setattr(containers, "MAX_COPIED_BYTES", 100)
    for row, sound in sounds(str(path), field, range(20), open_regular, tmp_path):
        assert not isinstance(sound, io.BytesIO)
        assert np.array_equal(read_audio(sound, 16_000), read_audio(io.BytesIO(CONTENTS[row]), 16_000))
    assert [path] == list(tmp_path.iterdir()), "temporary files are left behind"


def test_a_recording_with_too_many_bytes_is_refused(container, monkeypatch):
    path, field = container
    monkeypatch.setattr(containers, "MAX_RECORDING_BYTES", 100)
    monkeypatch.setattr(containers, "MAX_GROUP_BYTES", 1000)
    if path.suffix == ".parquet":
        with pytest.raises(InputError, match=r"a row group with .* bytes of sound, expected at most 1,000"):
            parts_of(str(path), field, open_regular)
    elif path.suffix == ".tar":
        (_, refused), *_ = sounds(str(path), field, [0], open_regular)
        assert isinstance(refused, AudioError) and refused.reason.startswith(
            "too large: 4,044 bytes, expected at most 100"
        )


def test_parts_of_parquet_are_row_groups(tmp_path):
    (tmp_path / "sounds.parquet").write_bytes(parquet_bytes(CONTENTS, 6))
    parts = parts_of(str(tmp_path / "sounds.parquet"), "audio", open_regular)
    assert [(part.first_row, part.num_rows) for part in parts] == [(0, 6), (6, 6), (12, 6), (18, 2)]
    assert all(part.num_bytes > 4000 * part.num_rows for part in parts)


def test_broken_containers_are_read_or_refused(container):
    path, field = container
    whole, shuffled = path.read_bytes(), random.Random(path.suffix)
    refused = 0
    for number in range(60):
        broken = bytearray(whole)
        place = shuffled.randrange(len(broken))
        if number % 4 == 0:
            broken = broken[:place]
        elif number % 4 == 1:
            broken[place : place + 4] = shuffled.choice([b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\0\x80"])
        elif number % 4 == 2:  # in the footer of Parquet
            broken[-shuffled.randrange(1, 3000)] = shuffled.randrange(256)
        else:  # in the header of the others
            for _ in range(5):
                broken[shuffled.randrange(1500)] = shuffled.randrange(256)
        path.write_bytes(broken)
        try:
            parts_of(str(path), field, open_regular)
            for _, sound in sounds(str(path), field, range(20), open_regular):
                assert isinstance(sound, AudioError) or sound.read(4) is not None
        except InputError as error:
            assert "\n" not in str(error) and path.name in str(error)
            refused += 1
    assert 10 < refused < 60


@pytest.mark.parametrize(
    "options", [{"compression": "none", "use_dictionary": False}, {"use_content_defined_chunking": True}]
)
def test_a_large_row_group_is_not_held_in_memory_if_its_pages_can_be_read(tmp_path, options):
    contents = [np.random.default_rng(row).bytes(400_000) for row in range(50)]
    pq.write_table(audio_table(contents), tmp_path / "a.parquet", row_group_size=50, **options)
    before, most = pa.total_allocated_bytes(), 0
    for row, sound in sounds(str(tmp_path / "a.parquet"), "audio", range(50), open_regular):
        assert sound.read() == contents[row]
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 0.5 * sum(map(len, contents))
