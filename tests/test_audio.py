"""Decoding: formats, channels, rates, stretches, and a reason for every file that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from hf_audio.data import audio
from hf_audio.data.audio import AudioError, probe, read_audio

RATE = 44_100


def tone(duration_s: float = 1.0, pitch_hz: float = 440.0, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(round(duration_s * rate)) / rate)


def write(path: Path, samples: np.ndarray, rate: int = RATE, **options) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


@pytest.mark.parametrize(("suffix", "largest_error"), [("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05), ("mp3", 0.05)])
def test_formats(tmp_path, suffix, largest_error):
    path = write(tmp_path / f"tone.{suffix}", np.stack([tone(), tone()], axis=1))
    info = probe(path)
    assert (info.sample_rate, info.channels) == (RATE, 2)
    assert info.duration_s == pytest.approx(1.0, abs=0.06)
    waveform = read_audio(path, 16_000)
    assert waveform.dtype == np.float32 and abs(len(waveform) - 16_000) < 1000
    middle = slice(4000, 12_000)
    assert np.abs(waveform[middle] - tone(rate=16_000)[middle]).max() < largest_error


def test_channels_are_averaged_before_resampling(tmp_path):
    left, right, rear = tone(pitch_hz=300), tone(pitch_hz=700), tone(pitch_hz=1500)
    path = write(tmp_path / "three.wav", np.stack([left, right, rear], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path, RATE), (left + right + rear) / 3, atol=1e-6)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_U8", "FLOAT", "DOUBLE"])
def test_sample_formats_have_the_same_scale(tmp_path, subtype):
    path = write(tmp_path / "tone.wav", tone(), subtype=subtype)
    np.testing.assert_allclose(read_audio(path, RATE), tone(), atol=0.01 if subtype == "PCM_U8" else 4e-5)


def test_sixteen_bits_are_read_as_soundfile_reads_them(tmp_path):
    path = write(tmp_path / "tone.wav", tone(), subtype="PCM_16")
    assert np.array_equal(read_audio(path, RATE), soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_stretch_is_the_stretch_of_the_whole(tmp_path, suffix):
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE)
    path = write(tmp_path / f"noise.{suffix}", noise)
    whole = read_audio(path, RATE)
    stretch = read_audio(path, RATE, start_s=1.0, end_s=1.5)
    assert len(stretch) == round(0.5 * RATE)
    np.testing.assert_allclose(stretch, whole[RATE : RATE + len(stretch)], atol=1e-5)
    assert len(read_audio(path, RATE, start_s=2.5, end_s=99.0)) == len(whole) - round(2.5 * RATE)


def test_long_files_are_mixed_piece_by_piece(tmp_path, monkeypatch):
    path = write(tmp_path / "long.wav", np.stack([tone(), tone(pitch_hz=90)], axis=1))
    whole = read_audio(path, 16_000)
    monkeypatch.setattr(audio, "BLOCK_FRAMES", 1000)
    assert np.array_equal(read_audio(path, 16_000), whole)


def not_finite(value: float) -> np.ndarray:
    samples = np.stack([tone(), tone()], axis=1)
    samples[500, 0] = value
    return samples


DEFECTS = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "empty file of audio": lambda path: write(path, np.zeros(0)),
    "unreadable": lambda path: path.write_bytes(b"not audio, although it is called so"),
    "silent": lambda path: write(path, np.zeros(RATE)),
    "silent but for dither": lambda path: write(path, np.full(RATE, 3e-6), subtype="FLOAT"),
    "non-finite": lambda path: write(path, not_finite(np.nan), subtype="FLOAT"),
    "non-finite infinity": lambda path: write(path, not_finite(np.inf), subtype="FLOAT"),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_every_defect_has_its_reason(tmp_path, name):
    path = tmp_path / "clip.wav"
    DEFECTS[name](path)
    with pytest.raises(AudioError) as caught:
        read_audio(path, 16_000)
    assert caught.value.reason.startswith(name.split()[0])
    assert str(tmp_path) not in caught.value.reason  # the report names clips, not places on one machine


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(AudioError, match="not a file"):
        read_audio(tmp_path, 16_000)


def test_a_stretch_behind_the_end_is_too_short(tmp_path):
    path = write(tmp_path / "tone.wav", tone())
    with pytest.raises(AudioError, match=r"too short: it ends at 1.00 s, before 2.00 s"):
        read_audio(path, 16_000, start_s=2.0)


@pytest.mark.parametrize("suffix", ["flac", "mp3"])
def test_a_file_that_breaks_off_is_unreadable(tmp_path, suffix):
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE)
    path = write(tmp_path / f"noise.{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(AudioError, match="unreadable: "):
        read_audio(path, 16_000)


def test_recordings(shared_data):
    for corpus, suffix, length_s in (("esc10", "ogg", 5.0), ("philharmonia_mini", "mp3", 3.0), ("fsdd", "wav", 0.5)):
        path = sorted((shared_data / corpus).rglob(f"*.{suffix}"))[0]
        waveform = read_audio(path, 16_000)
        assert 0.3 * length_s < len(waveform) / 16_000 < 3 * length_s
        assert 0.001 < np.abs(waveform).max() <= 1.5
