"""Recordings of any length, decoded in pieces: the windows and bytes are those of the recording read whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from tone_corpus import CARD, LABELS

from hf_audio.data.building import clip_windows
from hf_audio.data.building import shard_rows as shard_writing
from hf_audio.data.building.build import build_features
from hf_audio.data.index.table import Clip, index_of
from hf_audio.data.recordings import audio
from hf_audio.data.recordings.audio import AudioError, read_audio, read_pieces
from hf_audio.kinds._kaldi_fbank import KaldiFbank
from hf_audio.kinds._spectrogram_settings import Spectrogram
from hf_audio.kinds.classical import ClassicalFeatures
from hf_audio.kinds.waveform import Waveform
from hf_audio.windows import cut_windows, stretches

KINDS = {
    "fbank": KaldiFbank(),
    "spectrogram": Spectrogram(channels=("left", "right")),
    "waveform": Waveform(),
    "classical": ClassicalFeatures(),
}
FILE_RATE = 44_100


def write(path: Path, seconds: float, seed: int = 0) -> Path:
    """Noise in stereo."""
    sound = 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * FILE_RATE), 2))
    soundfile.write(path, sound, FILE_RATE, subtype="PCM_16")
    return path


@pytest.fixture
def in_pieces(monkeypatch):
    """Makes every recording count as long."""

    def make() -> None:
        monkeypatch.setattr(audio, "WHOLE_S", 0.0)
        monkeypatch.setattr(audio, "BLOCK_FRAMES", 10_007)
        monkeypatch.setattr(clip_windows, "BATCH_S", 1.0)

    return make


@pytest.mark.parametrize("stereo", [False, True])
@pytest.mark.parametrize("sample_rate", [16_000, 44_100, 48_000])
def test_pieces_have_the_samples_of_the_whole_recording(tmp_path, in_pieces, sample_rate, stereo):
    path = write(tmp_path / "noise.wav", 3.3)
    whole = read_audio(path, sample_rate, 0.2, 3.1, stereo=stereo)
    assert [piece.shape for piece in read_pieces(path, sample_rate, 0.2, 3.1, stereo=stereo)] == [whole.shape]
    in_pieces()
    pieces = list(read_pieces(path, sample_rate, 0.2, 3.1, stereo=stereo))
    assert len(pieces) > 10
    np.testing.assert_array_equal(np.concatenate(pieces, axis=-1), whole)


@pytest.mark.parametrize(("size", "hop"), [(30, 30), (30, 10), (30, 7), (30, 50), (200, 90), (999, 500)])
@pytest.mark.parametrize("num_windows", [1, 4])
def test_pieces_give_each_window_of_the_whole_recording_once(size, hop, num_windows):
    for length in [*range(1, 160), 400, 1000]:
        whole = np.arange(length)
        pieces = np.array_split(whole, range(13, length, 13))
        found = [
            (first + start, window.tolist())
            for first, sound in stretches(pieces, size, hop, num_windows)
            for start, window in cut_windows(sound, size, hop)
        ]
        assert found == [(start, window.tolist()) for start, window in cut_windows(whole, size, hop)]


def clips_of(folder: Path) -> list[Clip]:
    folder.mkdir()
    clips = []
    for number, (split, seconds) in enumerate([("train", 4.3), ("train", 0.4), ("train", 6.0), ("test", 5.21)]):
        path = write(folder / f"{number}.wav", seconds, number)
        clips.append(Clip(path, (LABELS.names[number % 3],), f"g{number}", path.name, split=split))
    return clips


def rows_of(folder: Path) -> list[dict]:
    return [row for path in sorted(folder.glob("data/*.parquet")) for row in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize(("window_s", "hop_s"), [(0.5, 0.5), (0.5, 0.2), (1.7, 0.43)])
@pytest.mark.parametrize("kind", KINDS)
def test_features_of_pieces_are_those_of_the_whole(tmp_path, in_pieces, kind, window_s, hop_s):
    clips, options = clips_of(tmp_path / "wav"), {"window_s": window_s, "hop_s": hop_s, "card": CARD, "num_workers": 1}
    whole = build_features(index_of(clips), LABELS, tmp_path / "whole", KINDS[kind], **options)
    in_pieces()
    pieces = build_features(index_of(clips), LABELS, tmp_path / "pieces", KINDS[kind], **options)
    assert len(rows_of(whole)) > 15 and rows_of(pieces) == rows_of(whole)
    config = "preprocessor_config.json"
    assert (pieces / config).read_text() == (whole / config).read_text()


@pytest.mark.parametrize("written", [True, False], ids=["rows written", "rows waiting"])
def test_a_recording_that_turns_out_unusable_late_leaves_no_rows(tmp_path, in_pieces, monkeypatch, written):
    """Overflowing samples, a truncated file and one that is silent as mono: each fails only after its first windows."""
    in_pieces()
    if written:
        monkeypatch.setattr(shard_writing, "ROW_GROUP_BYTES", 20_000)
    clips, bad = clips_of(tmp_path / "wav"), {}
    options = {"window_s": 0.5, "hop_s": 0.25, "card": CARD, "num_workers": 1}
    wanted = build_features(index_of(clips), LABELS, tmp_path / "wanted", KaldiFbank(), **options)
    sound = 0.1 * np.random.default_rng(5).standard_normal((5 * FILE_RATE, 2))
    loud = sound.copy()
    loud[-FILE_RATE:] = 1e25
    soundfile.write(tmp_path / "loud.wav", loud, FILE_RATE, subtype="FLOAT")
    bad["loud"] = "non-finite features: samples far outside [-1, 1]"
    broken = (write(tmp_path / "broken.flac", 5.0)).read_bytes()
    (tmp_path / "broken.flac").write_bytes(broken[: len(broken) // 2])
    bad["broken"] = "unreadable: "
    sound[:, 1] = -sound[:, 0]
    soundfile.write(tmp_path / "opposite.wav", sound, FILE_RATE, subtype="FLOAT")
    bad["opposite"] = "silent as mono: its channels cancel each other"
    more = [Clip(next(tmp_path.glob(f"{name}.*")), ("low",), name, name, split="train") for name in bad]
    folder = build_features(index_of([*clips, *more]), LABELS, tmp_path / "features", KaldiFbank(), **options)
    assert rows_of(folder) == rows_of(wanted)
    lines = (folder / "excluded.csv").read_text().splitlines()[1:]
    assert sorted(line.split(",")[0] for line in lines) == sorted(bad)
    assert all(bad[line.split(",")[0]] in line for line in lines)
    assert not list(folder.rglob("*.tmp"))


def test_a_recording_too_long_for_memory_is_built(tmp_path, in_pieces, monkeypatch):
    clips = clips_of(tmp_path / "wav")
    monkeypatch.setattr(audio, "MAX_SAMPLES", FILE_RATE)
    with pytest.raises(AudioError, match="too long"):
        read_audio(clips[0].path, 16_000)
    in_pieces()
    options = {"window_s": 0.5, "hop_s": 0.5, "card": CARD, "num_workers": 1}
    folder = build_features(index_of(clips), LABELS, tmp_path / "features", KaldiFbank(), **options)
    assert (folder / "excluded.csv").read_text() == "clip_id,reason\n"


def test_large_windows_make_more_shards():
    from hf_audio.data.building.plan import plan_shards

    clips = index_of(Clip(f"{number}.wav", ("low",), "g", str(number), split="train") for number in range(2000))
    durations = np.full(len(clips), 30.0)
    counts = [
        len(plan_shards(clips, durations, 30.0, 30.0, window_bytes)["train"]) - 1
        for window_bytes in (40_000, 400_000, 4_000_000)
    ]
    assert counts == [8, 8, 64]
