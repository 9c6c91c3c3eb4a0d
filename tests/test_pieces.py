"""Features of recordings in containers: the same bytes as from a folder; each container is read once, in its order."""

from __future__ import annotations

import dataclasses
import filecmp
import io
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from sound_containers import arrow_bytes, contained, parquet_bytes, placed, tar_bytes, written
from tone_corpus import CARD, HOP_S, LABELS, WINDOW_S, tone_clips

from hf_audio.config import MixingConfig
from hf_audio.data.building import pieces
from hf_audio.data.building.build import Ranks, build_features
from hf_audio.data.index.labels import MULTI_LABEL, LabelSpace
from hf_audio.data.index.mixtures import mix_clips
from hf_audio.data.index.table import Clip, index_of
from hf_audio.errors import InputError
from hf_audio.kinds import KINDS, WindowExtractor
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.preparation.window_lengths import check_window_ahead, default_window_s, longest_clip_s

SMALL = 400_000  # bytes of a piece, which holds 10 of these recordings


@pytest.fixture(scope="module")
def in_parquet(tones, tmp_path_factory) -> list[Clip]:
    moved, files = contained(tone_clips(tones), "parquet", 40)  # 10 row groups of 330 kB, each one piece
    return placed(moved, str(written(files, tmp_path_factory.mktemp("parquet"))))


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", SMALL)


def build_of(clips: list[Clip], folder: Path, extractor: WindowExtractor | None = None, **options) -> Path:
    options = {"num_workers": 1, "card": CARD, "window_s": WINDOW_S, "hop_s": HOP_S} | options
    return build_features(index_of(clips), LABELS, folder, extractor or KaldiFbank(), **options)


def build_and_die(clips: list[Clip], folder: Path, renames: int) -> None:
    """Builds until `renames` files have their final names, then dies by SIGKILL."""
    pieces.PIECE_BYTES = SMALL
    rename, done = os.replace, 0

    def replace(source, target):
        nonlocal done
        rename(source, target)
        done += 1
        if done == renames:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace
    build_of(clips, folder)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def assert_same(folder: Path, other: Path) -> None:
    """All files are equal, except for the plan, which names the source of the recordings."""
    assert names(folder) == names(other)
    _, different, errors = filecmp.cmpfiles(folder, other, set(names(folder)) - {"plan.json"}, shallow=False)
    assert not different and not errors


@pytest.mark.parametrize("kind", ["parquet", "arrow", "tar"])
def test_containers_give_the_same_bytes_as_a_folder(tones, tone_features, tmp_path, kind):
    moved, files = contained(tone_clips(tones), kind, 30)
    clips = placed(moved, str(written(files, tmp_path / "source")))
    assert_same(build_of(clips, tmp_path / "features"), tone_features)


def test_containers_together_with_files_and_in_any_order(tones, tone_features, in_parquet, tmp_path):
    """Some recordings are files, and the index does not follow the containers."""
    files = tone_clips(tones)
    mixed = [files[row] if row % 3 == 0 else in_parquet[row] for row in range(len(files))]
    assert_same(build_of(mixed, tmp_path / "features"), tone_features)
    turned = [*in_parquet[40:], *in_parquet[:40]]
    folder = build_features(
        index_of([*files[40:], *files[:40]]), LABELS, tmp_path / "of files", KaldiFbank(),
        num_workers=1, card=CARD, window_s=WINDOW_S, hop_s=HOP_S,
    )  # fmt: skip
    assert_same(build_of(turned, tmp_path / "turned"), folder)


def test_worker_processes_and_ranks_change_nothing(tone_features, in_parquet, tmp_path):
    assert_same(build_of(in_parquet, tmp_path / "two workers", num_workers=2), tone_features)
    barrier, folder = threading.Barrier(3, timeout=60), tmp_path / "three ranks"
    built: list[tuple[int, str]] = []
    build_piece = pieces.PieceBuilder.build

    def noting(self, piece, report):
        built.append((threading.get_ident(), piece.name))
        build_piece(self, piece, report)

    def rank(number: int) -> None:
        build_of(in_parquet, folder, ranks=Ranks(number, 3, barrier.wait))

    pieces.PieceBuilder.build = noting
    try:
        ranks = [threading.Thread(target=rank, args=(number,)) for number in range(3)]
        for one in ranks:
            one.start()
        for one in ranks:
            one.join()
    finally:
        pieces.PieceBuilder.build = build_piece
    assert_same(folder, tone_features)
    assert len({thread for thread, _ in built}) == 3 and len(built) == len({name for _, name in built}) == 10


@pytest.mark.parametrize("renames", [1, 2, 3, 12, 22, 23, 35])
def test_a_build_killed_at_any_rename_resumes_to_the_same_result(tone_features, in_parquet, tmp_path, renames):
    """Renames: 1 description, 2 cuts, 3 to 22 pieces with their notes, 23 plan, then shards as from files."""
    process = multiprocessing.get_context("fork").Process(
        target=build_and_die, args=(in_parquet, tmp_path / "f", renames)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -9
    folder = tmp_path / "f/.build/pieces"
    stamps = {path: path.stat().st_mtime_ns for path in folder.glob("*.arrow") if path.with_suffix(".json").exists()}
    assert len(stamps) == min(max(0, renames - 2) // 2, 10)
    remade = []
    build_piece = pieces.PieceBuilder.build
    pieces.PieceBuilder.build = lambda self, piece, report: (
        remade.append(self.path(piece)) or build_piece(self, piece, report)
    )
    try:
        build_of(in_parquet, tmp_path / "f")
    finally:
        pieces.PieceBuilder.build = build_piece
    assert not stamps.keys() & set(remade) and len(stamps) + len(remade) == 10
    assert_same(tmp_path / "f", tone_features)


def test_unusable_rows_are_named_and_excluded(tones, tmp_path):
    """A null, text instead of sound, silence, and a missing row: as from a folder with such files."""
    clips = tone_clips(tones)
    contents: list[bytes | None] = [Path(clip.path).read_bytes() for clip in clips]
    silence = io.BytesIO()
    soundfile.write(silence, np.zeros(16_000), 16_000, format="WAV")
    contents[3], contents[10], contents[20] = None, b"no sound at all, " * 9, silence.getvalue()
    (tmp_path / "sounds.parquet").write_bytes(parquet_bytes(contents[:79]))
    place = {"path": str(tmp_path / "sounds.parquet"), "audio_field": "audio"}
    moved = [dataclasses.replace(clip, audio_row=row, **place) for row, clip in enumerate(clips)]
    folder = build_of(moved, tmp_path / "features")
    reasons = dict(line.split(",", 1) for line in (folder / "excluded.csv").read_text().splitlines()[1:])
    assert reasons == {
        clips[3].clip_id: "missing: its row has no sound",
        clips[10].clip_id: "unreadable: Format not recognised.",
        clips[20].clip_id: "silent",
        clips[79].clip_id: "missing: its row has no sound",
    }
    others = {clip.clip_id: clip.path for clip in clips if clip.clip_id not in reasons}
    assert len(others) == 76
    with pytest.raises(InputError, match=rf"Clip {clips[3].clip_id} is missing: its row has no sound; fix"):
        build_of(moved, tmp_path / "strict", strict=True)


@pytest.mark.parametrize("kind", ["waveform", "spectrogram"])
def test_every_kind_of_features_and_stretches(tones, in_parquet, tmp_path, kind):
    """Two stretches of each recording; the second begins in the middle."""
    halves = [{"start_s": 0.0, "end_s": 0.6}, {"start_s": 0.65, "end_s": None}]

    def stretches(clips: list[Clip]) -> list[Clip]:
        chosen = [clip for clip in clips if int(clip.group[1:]) % 10 in (0, 1, 2, 7, 8)][:15]
        return [
            dataclasses.replace(one, **half, clip_id=f"{one.clip_id}#{n}")
            for one in chosen
            for n, half in enumerate(halves)
        ]

    extractor = KINDS[kind].extractor(**({"channels": ["left", "right"]} if kind == "spectrogram" else {}))
    options = {"window_s": 0.5, "hop_s": 0.25}
    files = build_of(stretches(tone_clips(tones)), tmp_path / "files", extractor, **options)
    assert_same(build_of(stretches(in_parquet), tmp_path / "pieces", extractor, **options), files)


def test_a_long_recording_is_decoded_in_pieces_from_bytes_too(tmp_path):
    """Two recordings of 5.5 minutes; one of them becomes unusable late and is excluded with all of its windows."""
    time_s = np.arange(330 * 2000) / 2000
    clips = []
    for number in range(4):
        sound = 0.3 * np.sin(2 * np.pi * (100 + 50 * number) * time_s[: None if number < 2 else 4000])
        if number == 1:
            sound[-2000:] = np.inf
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, sound, 2000, subtype="FLOAT")
        split = ["train", "train", "train", "test"][number]
        clips.append(Clip(path, (LABELS.names[number % 3],), str(number), path.name, split=split))
    clips.append(dataclasses.replace(clips[2], labels=("low",), clip_id="again", group="2"))
    moved, files = contained(clips, "parquet", 5)
    moved = placed(moved, str(written(files, tmp_path)))
    labels = LabelSpace(tuple(sorted({clip.labels[0] for clip in clips if clip.split == "train"})), LABELS.problem_type)
    options = {"num_workers": 1, "card": CARD, "window_s": 5.0, "hop_s": 5.0}
    of_files, of_pieces = (
        build_features(index_of(its), labels, tmp_path / name, KaldiFbank(2000, 16), **options)
        for its, name in ((clips, "files"), (moved, "pieces"))
    )
    assert_same(of_pieces, of_files)
    assert "1.wav,non-finite samples" in (of_pieces / "excluded.csv").read_text()


# Damaged or oversized containers


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("cut.parquet", lambda whole: parquet_bytes(whole)[:-500], "no Parquet footer"),
        ("hole.parquet", lambda whole: _with_hole(parquet_bytes(whole)), "is damaged"),
        ("text.parquet", lambda whole: b"these are no rows, " * 100, "no Parquet footer"),
        ("footer.parquet", lambda whole: parquet_bytes(whole)[:-8] + b"\xff\xff\xff\x7fPAR1", "footer of"),
        ("cut.arrow", lambda whole: arrow_bytes(whole)[:150_000], "is damaged"),
        ("text.arrow", lambda whole: b"these are no rows, " * 100, "is damaged"),
        ("cut.tar", lambda whole: tar_bytes(whole)[:150_000], "is damaged"),
        ("name.tar", lambda whole: _tar_with_long_name(), "a header of 2,000,000 bytes"),
    ],
)
def test_a_damaged_container_is_one_sentence(tones, tmp_path, name, content, reason):
    clips = tone_clips(tones)
    path = tmp_path / name
    path.write_bytes(content([Path(clip.path).read_bytes() for clip in clips]))
    place = {"path": str(path), "audio_field": "wav" if name.endswith(".tar") else "audio"}
    moved = [dataclasses.replace(clip, audio_row=row, **place) for row, clip in enumerate(clips)]
    with pytest.raises(InputError, match=reason) as caught:
        build_of(moved, tmp_path / "features")
    assert "\n" not in str(caught.value) and name in str(caught.value)


def _with_hole(parquet: bytes) -> bytes:
    """Zeros from about the header of the first page of the third row group on."""
    return parquet[:900_000] + bytes(300_000) + parquet[1_200_000:]


def _tar_with_long_name() -> bytes:
    header = bytearray(tar_bytes([b"sound"])[:512])
    header[156:157] = b"x"  # the type: an extended header, which holds the name of the next member
    header[124:136] = b"%011o\0" % 2_000_000
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:512]) + 8 * 32)
    return bytes(header) + bytes(2_000_000)


def test_a_container_without_the_column_or_of_an_unknown_format(tones, in_parquet, tmp_path):
    other = [dataclasses.replace(clip, audio_field="sound") for clip in in_parquet]
    with pytest.raises(InputError, match="has no audio column 'sound'; its columns are number, audio"):
        build_of(other, tmp_path / "features")
    strange = [dataclasses.replace(clip, path=str(tones / "low_001.wav")) for clip in in_parquet]
    with pytest.raises(InputError, match=r"low_001.wav has no rows: expected a name that ends in \.parquet, \.arrow"):
        build_of(strange, tmp_path / "strange")


def test_settings_that_need_files_say_so(in_parquet):
    clips = index_of(in_parquet)
    labels = LabelSpace(LABELS.names, MULTI_LABEL)
    sentence = "recordings that are files on this machine, but .* are in train-00000.parquet and similar"
    with pytest.raises(InputError, match=f"--mix_fraction needs {sentence}"):
        mix_clips(clips, labels, MixingConfig(mix_fraction=0.5))
    with pytest.raises(InputError, match=f"--window_s 0, which is the longest clip, needs {sentence}"):
        longest_clip_s(clips)


def test_rows_with_paths_only_are_refused_before_anything_is_built(tmp_path):
    clips = [Clip(str(tmp_path / "a.tone"), ("high",), "g", f"{row}", split="train") for row in range(3)]
    table = pa.table({"audio": [{"bytes": None, "path": f"{row}.wav"} for row in range(3)]})
    pq.write_table(table, tmp_path / "a.parquet")
    places = {"path": str(tmp_path / "a.parquet"), "audio_field": "audio"}
    held = [dataclasses.replace(clip, audio_row=row, **places) for row, clip in enumerate(clips)]
    with pytest.raises(InputError, match=r"None of the training recordings .* rows with only a path"):
        default_window_s(index_of(held))


def test_a_window_longer_than_every_clip_is_refused_before_anything_is_built(in_parquet, monkeypatch, caplog):
    with pytest.raises(InputError, match=r"The window of 9 s is longer than every clip: .* try --window_s"):
        check_window_ahead(index_of(in_parquet), 9.0)
    listed = [dataclasses.replace(clip, end_s=0.5) for clip in in_parquet]
    monkeypatch.setattr(
        "hf_audio.preparation.window_lengths.sampled", lambda *_: pytest.fail("headers have no more information")
    )
    with pytest.raises(InputError, match=r"the longest is 0\.50 s"):
        check_window_ahead(index_of(listed), 9.0)
    monkeypatch.undo()
    monkeypatch.setattr("hf_audio.data.recordings.sampling.MAX_IN_ONE", 5)
    check_window_ahead(index_of(in_parquet), 9.0)
    assert "None of the 10 clips checked fills the window of 9 s" in caplog.text
    caplog.clear()
    check_window_ahead(index_of(in_parquet), WINDOW_S)
    assert not caplog.text


def test_the_default_window_is_found_from_the_start_of_each_container(in_parquet):
    assert default_window_s(index_of(in_parquet)) == 1.3
