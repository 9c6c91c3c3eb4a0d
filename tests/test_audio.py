"""Decoding: formats, channels, sample rates, excerpts, and a reason for every file that cannot be used."""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hf_audio.data.recordings import audio
from hf_audio.data.recordings.audio import AudioError, probe, read_audio

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


CONTAINERS = {
    "aiff": ("AIFF", "PCM_16"),
    "aifc": ("AIFF", "FLOAT"),
    "au": ("AU", "PCM_24"),
    "caf": ("CAF", "PCM_16"),
    "alac.caf": ("CAF", "ALAC_16"),
    "w64": ("W64", "PCM_24"),
    "rf64": ("RF64", "PCM_16"),
    "24.flac": ("FLAC", "PCM_24"),
    "opus": ("OGG", "OPUS"),
}


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_containers(tmp_path, suffix):
    container, subtype = CONTAINERS[suffix]
    path = write(tmp_path / f"tone.{suffix}", tone(rate=48_000), rate=48_000, format=container, subtype=subtype)
    assert probe(path).format == container and probe(path).duration_s == pytest.approx(1.0, abs=0.06)
    error = np.abs(read_audio(path, 48_000)[4000:40_000] - tone(rate=48_000)[4000:40_000]).max()
    assert error < (0.05 if suffix == "opus" else 1e-4)


@pytest.mark.parametrize("rate", [2_000, 8_000, 96_000, 192_000, 500_000])
def test_sample_rates(tmp_path, rate):
    waveform = read_audio(write(tmp_path / "tone.wav", tone(rate=rate), rate=rate), 16_000)
    np.testing.assert_allclose(waveform[2000:14_000], tone(rate=16_000)[2000:14_000], atol=2e-3)


def test_six_channels(tmp_path):
    channels = np.stack([tone(pitch_hz=200 * (number + 1)) for number in range(6)], axis=1)
    path = write(tmp_path / "surround.wav", channels, format="WAVEX", subtype="PCM_24")
    assert probe(path).channels == 6
    np.testing.assert_allclose(read_audio(path, RATE), channels.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE"])
def test_sample_formats_have_the_same_scale(tmp_path, subtype):
    path = write(tmp_path / "tone.wav", tone(), subtype=subtype)
    np.testing.assert_allclose(read_audio(path, RATE), tone(), atol=0.01 if subtype == "PCM_U8" else 4e-5)


def test_sixteen_bit_files_are_read_as_by_soundfile(tmp_path):
    path = write(tmp_path / "tone.wav", tone(), subtype="PCM_16")
    assert np.array_equal(read_audio(path, RATE), soundfile.read(path, dtype="float32")[0])


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_an_excerpt_equals_that_part_of_the_whole(tmp_path, suffix):
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE)
    path = write(tmp_path / f"noise.{suffix}", noise)
    whole = read_audio(path, RATE)
    stretch = read_audio(path, RATE, start_s=1.0, end_s=1.5)
    assert len(stretch) == round(0.5 * RATE)
    np.testing.assert_allclose(stretch, whole[RATE : RATE + len(stretch)], atol=1e-5)
    assert len(read_audio(path, RATE, start_s=2.5, end_s=99.0)) == len(whole) - round(2.5 * RATE)


def test_long_files_are_mixed_down_in_pieces(tmp_path, monkeypatch):
    path = write(tmp_path / "long.wav", np.stack([tone(), tone(pitch_hz=90)], axis=1))
    whole, stereo = read_audio(path, 16_000), read_audio(path, 44_100, stereo=True)
    monkeypatch.setattr(audio, "BLOCK_FRAMES", 1000)
    assert np.array_equal(read_audio(path, 16_000), whole)
    assert np.array_equal(read_audio(path, 44_100, stereo=True), stereo) and stereo.flags.c_contiguous
    tracemalloc.start()
    read_audio(path, 44_100, stereo=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * stereo.nbytes, "memory holds a long recording only once"


def not_finite(value: float) -> np.ndarray:
    samples = np.stack([tone(), tone()], axis=1)
    samples[500, 0] = value
    return samples


def cut_off(path: Path) -> Path:
    write(path, tone(3.0))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def with_header(path: Path, offset: int, value: bytes) -> Path:
    """A tone with a wrong value in its header."""
    content = bytearray(write(path, tone()).read_bytes())
    content[offset : offset + len(value)] = value
    path.write_bytes(content)
    return path


def endless_flac(path: Path) -> Path:
    """A file of 100 kB whose header claims 2^36 - 1 samples, 18 days."""
    content = bytearray(write(path, tone(), format="FLAC").read_bytes())
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4
    path.write_bytes(content)
    return path


def link_loop(path: Path) -> None:
    path.symlink_to(path.with_suffix(".other"))
    path.with_suffix(".other").symlink_to(path)


DEFECTS = [  # (start of the reason, what creates the file)
    ("missing", lambda path: None),
    ("empty", lambda path: path.write_bytes(b"")),
    ("empty", lambda path: write(path, np.zeros(0))),
    ("unreadable: ", lambda path: path.write_bytes(b"not audio, although it is called so")),
    ("unreadable: truncated after 1.50 of 3.00 s", cut_off),
    ("unreadable: a sample rate of 1 Hz", lambda path: with_header(path, 24, struct.pack("<I", 1))),
    ("unreadable: a sample rate of 2147483647 Hz", lambda path: with_header(path, 24, b"\xff\xff\xff\x7f")),
    ("unreadable: its header promises 1558265 s in", endless_flac),
    ("missing: a link that leads nowhere", lambda path: path.symlink_to("nowhere.wav")),
    ("missing: a link that leads nowhere", link_loop),
    ("not a file", lambda path: path.mkdir()),
    ("not a file", os.mkfifo),
    ("silent", lambda path: write(path, np.zeros(RATE))),
    ("silent as mono: its channels cancel each other", lambda path: write(path, np.stack([tone(), -tone()], axis=1))),
    ("silent", lambda path: write(path, np.full(RATE, 3e-6), subtype="FLOAT")),  # only dither
    ("non-finite samples", lambda path: write(path, not_finite(np.nan), subtype="FLOAT")),
    ("non-finite samples", lambda path: write(path, not_finite(np.inf), subtype="FLOAT")),
]


@pytest.mark.timeout(20)  # opening a pipe waits for a writer
@pytest.mark.parametrize(("reason", "make"), DEFECTS)
def test_every_defect_has_its_reason(tmp_path, reason, make):
    path = tmp_path / "clip.wav"
    make(path)
    with pytest.raises(AudioError) as caught:
        read_audio(path, 16_000)
    assert caught.value.reason.startswith(reason)
    assert str(tmp_path) not in caught.value.reason  # reports contain no paths of a machine


NAMES = (
    "with spaces  and 'quotes\".wav",
    "größer, 音, צליל.wav",
    "🎻.wav",
    "new\nline.wav",
    "-rf.wav",
    "a" * 251 + ".wav",
    "no suffix",
    os.fsdecode(b"latin-1 \xfc.wav"),
)


@pytest.mark.parametrize("name", NAMES)
def test_unusual_file_names(tmp_path, name):
    write(tmp_path / "plain.wav", tone())
    os.rename(tmp_path / "plain.wav", tmp_path / name)
    assert probe(tmp_path / name).duration_s == 1.0 and len(read_audio(tmp_path / name, RATE)) == RATE


@pytest.mark.parametrize("suffix", ["wav", "mp3", "raw", "au", "snd", "vox", "gsm", "sd2", "m4a", "txt"])
def test_the_content_of_a_file_counts_not_its_suffix(tmp_path, suffix):
    mp3 = write(tmp_path / f"mp3 called.{suffix}", tone(), format="MP3")
    assert probe(mp3).format == "MP3" and abs(read_audio(mp3, RATE)).max() > 0.4
    (tmp_path / f"text.{suffix}").write_bytes(b"these are no samples, " * 500)
    with pytest.raises(AudioError, match="unreadable: Format not recognised"):
        read_audio(tmp_path / f"text.{suffix}", RATE)


def test_links_are_followed(tmp_path):
    path = write(tmp_path / "tone.wav", tone())
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "link.flac").symlink_to(path)
    assert len(read_audio(tmp_path / "corpus" / "link.flac", RATE)) == RATE


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_read_permission(tmp_path):
    path = write(tmp_path / "tone.wav", tone())
    path.chmod(0)
    with pytest.raises(AudioError, match="unreadable: Permission denied"):
        read_audio(path, RATE)


def test_a_too_long_file_name(tmp_path):
    with pytest.raises(AudioError, match="unreadable: File name too long"):
        read_audio(tmp_path / (300 * "a"), RATE)


def test_wav_lengths_written_by_a_pipe_are_ignored(tmp_path):
    for size in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"):
        path = with_header(tmp_path / "piped.wav", 40, size)
        assert len(read_audio(path, RATE)) == RATE


def test_excerpts_before_the_end_of_a_truncated_file_can_be_read(tmp_path):
    path = cut_off(tmp_path / "half.wav")
    assert len(read_audio(path, RATE, start_s=0.5, end_s=1.4)) == round(0.9 * RATE)
    with pytest.raises(AudioError, match=r"truncated after 1.50 of 3.00 s"):
        read_audio(path, RATE, start_s=0.5, end_s=2.0)


def test_stereo_of_opposite_phase_is_not_silent(tmp_path):
    path = write(tmp_path / "opposite.wav", np.stack([tone(), -tone()], axis=1))
    assert np.abs(read_audio(path, RATE, stereo=True)).max() > 0.4


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_one_sample_in_stereo_is_resampled_or_too_short(tmp_path, channels):
    path = write(tmp_path / "one.wav", np.full((1, channels), 0.5))
    assert read_audio(path, 2 * RATE, stereo=True).shape == (2, 2)
    with pytest.raises(AudioError, match="too short: 1 samples"):
        read_audio(path, RATE // 4, stereo=True)


def test_blocks_equal_the_content_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "BLOCK_FRAMES", 1000)
    samples = np.stack([tone(), tone(pitch_hz=90)], axis=1)
    blocks = list(audio.read_blocks(write(tmp_path / "two.wav", samples, subtype="PCM_16"), 0.1, 0.5))
    assert max(map(len, blocks)) == 1000
    np.testing.assert_allclose(np.concatenate(blocks), samples[4410:22_050], atol=4e-5)
    many = write(tmp_path / "many.wav", np.zeros((5000, 64)), subtype="FLOAT")
    assert max(map(len, audio.read_blocks(many))) == 31, "blocks must stay small with any number of channels"


def test_files_are_closed(tmp_path):
    """Files are passed on as descriptors, which an error must not leave open."""
    path = write(tmp_path / "tone.wav", tone())
    (tmp_path / "text.wav").write_text("no sound")
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(20):
        read_audio(path, 16_000)
        with pytest.raises(AudioError):
            read_audio(tmp_path / "text.wav", 16_000)
        with pytest.raises(AudioError):
            read_audio(with_header(tmp_path / "slow.wav", 24, struct.pack("<I", 1)), 16_000)
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)


def test_an_excerpt_beyond_the_end_is_too_short(tmp_path):
    path = write(tmp_path / "tone.wav", tone())
    with pytest.raises(AudioError, match=r"too short: it ends at 1.00 s, before 2.00 s"):
        read_audio(path, 16_000, start_s=2.0)


@pytest.mark.parametrize("suffix", ["flac", "mp3"])
def test_a_truncated_file_is_unreadable(tmp_path, suffix):
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


@pytest.mark.parametrize(("num_bytes", "said"), [(0, "empty"), (8000, "empty by its header, but 8,000 bytes of sound")])
def test_an_unfinished_header_is_distinguished_from_an_empty_file(tmp_path, num_bytes, said):
    header = b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16) + b"data\0\0\0\0"
    (tmp_path / "a.wav").write_bytes(header + bytes(num_bytes))
    with pytest.raises(AudioError) as caught:
        probe(tmp_path / "a.wav")
    assert caught.value.reason.startswith(said) and (num_bytes or caught.value.reason == said)
