"""Recordings as rows of a shared dataset: training reads the same samples."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hf_audio.data.recordings.audio import AudioError, probe, read_audio
from hf_audio.data.sharing import stored_sound as module
from hf_audio.data.sharing.stored_sound import expected_bytes, stored_sound

RATE = 44_100
WHOLE, STRETCH = (0.0, None), (0.25, 0.75)
# (format, subtype): subtypes of the stored file, for the whole recording and for a stretch
FORMS = {
    ("WAV", "PCM_16"): ("PCM_16", "PCM_16"),
    ("WAV", "PCM_24"): ("PCM_24", "PCM_24"),
    ("WAV", "PCM_U8"): ("PCM_16", "PCM_16"),
    ("AIFF", "PCM_16"): ("PCM_16", "PCM_16"),
    ("CAF", "ALAC_24"): ("PCM_24", "PCM_24"),
    ("FLAC", "PCM_24"): (None, "PCM_24"),
    ("WAV", "PCM_32"): (None, "FLOAT"),
    ("WAV", "FLOAT"): (None, "FLOAT"),
    ("WAV", "DOUBLE"): (None, "FLOAT"),
    ("WAV", "ULAW"): (None, "PCM_24"),
    ("OGG", "VORBIS"): (None, "PCM_24"),
    ("MP3", "MPEG_LAYER_III"): (None, "PCM_24"),
}


def sound(seconds: float = 1.0, channels: int = 2, level: float = 0.1) -> np.ndarray:
    random = np.random.default_rng(0)
    time_s = np.arange(round(seconds * RATE)) / RATE
    tones = np.stack([np.sin(2 * np.pi * 300 * (1 + channel) * time_s) for channel in range(channels)], axis=1)
    return level * (0.9 * tones + 0.1 * random.uniform(-1, 1, tones.shape))


def written(folder: Path, kind: str, subtype: str, samples: np.ndarray) -> Path:
    path = folder / f"a.{kind.lower()}"
    soundfile.write(path, samples, RATE, subtype, format=kind)
    return path


@pytest.mark.parametrize("stretch", [WHOLE, STRETCH], ids=["whole", "stretch"])
@pytest.mark.parametrize(("kind", "subtype"), FORMS)
def test_training_reads_the_same_samples(tmp_path, kind, subtype, stretch):
    path = written(tmp_path, kind, subtype, sound())
    stored = stored_sound(str(path), *stretch, "flac")
    form = FORMS[kind, subtype][stretch is STRETCH]
    if form is None:
        assert stored.content == path.read_bytes() and stored.ending in (path.suffix, ".wav")
    else:
        info = soundfile.info(io.BytesIO(stored.content))
        assert (info.subtype, info.samplerate, info.channels) == (form, RATE, 2)
        assert (info.format == "FLAC") == (form != "FLOAT") == (stored.ending == ".flac")
    copy = tmp_path / f"copy{stored.ending}"
    copy.write_bytes(stored.content)
    expected, found = read_audio(path, 16_000, *stretch), read_audio(copy, 16_000)
    if stretch is STRETCH and subtype in ("VORBIS", "MPEG_LAYER_III"):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    else:
        np.testing.assert_array_equal(found, expected)
    assert stored.duration_s == pytest.approx(0.5 if stretch is STRETCH else 1.0, abs=0.06)


def test_every_sample_value_of_16_and_24_bits_is_kept(tmp_path):
    for bits, step in ((16, 1), (24, 257)):
        levels = np.arange(-(1 << bits - 1), 1 << bits - 1, step, dtype=np.int32)
        path = tmp_path / f"{bits}.wav"
        soundfile.write(path, levels << 32 - bits, RATE, f"PCM_{bits}")
        stored = stored_sound(str(path), 0.0, None, "flac")
        found, _ = soundfile.read(io.BytesIO(stored.content), dtype="int32")
        np.testing.assert_array_equal(found >> 32 - bits, levels)


def test_original_files_are_kept_unchanged(tmp_path):
    path = written(tmp_path, "WAV", "PCM_16", sound())
    assert stored_sound(str(path), 0.0, None, "original").content == path.read_bytes()


def test_a_file_with_a_wrong_suffix_gets_the_right_one(tmp_path):
    path = written(tmp_path, "MP3", "MPEG_LAYER_III", sound()).rename(tmp_path / "a.wav")
    assert stored_sound(str(path), 0.0, None, "flac").ending == ".mp3"


def test_a_decoded_stretch_beyond_full_scale_is_not_clipped(tmp_path):
    path = written(tmp_path, "OGG", "VORBIS", np.sign(sound(level=1.0)))
    expected = read_audio(path, RATE, *STRETCH)
    stored = stored_sound(str(path), *STRETCH, "flac")
    assert stored.ending == ".wav"
    found, _ = soundfile.read(io.BytesIO(stored.content), dtype="float32")
    assert np.abs(found).max() > 1
    np.testing.assert_allclose(found.mean(axis=1), expected, atol=1e-6)


def test_sound_that_flac_cannot_hold_keeps_its_format(tmp_path):
    path = written(tmp_path, "WAV", "PCM_16", sound(channels=9))
    assert stored_sound(str(path), 0.0, None, "flac").content == path.read_bytes()
    assert stored_sound(str(path), *STRETCH, "flac").ending == ".wav"


def test_a_stretch_of_the_whole_file_keeps_the_file(tmp_path):
    path = written(tmp_path, "MP3", "MPEG_LAYER_III", sound())
    assert stored_sound(str(path), 0.0, 9.0, "flac").content == path.read_bytes()


def test_recordings_that_cannot_be_used_say_why(tmp_path, monkeypatch):
    silent = written(tmp_path, "WAV", "PCM_16", np.zeros((RATE, 1)))
    (tmp_path / "text.wav").write_bytes(b"no sound")
    infinite = tmp_path / "inf.wav"
    soundfile.write(infinite, np.full(RATE, np.inf), RATE, "FLOAT")
    reasons = {silent: "silent", tmp_path / "text.wav": "unreadable", infinite: "non-finite", tmp_path / "no": "miss"}
    for path, reason in reasons.items():
        with pytest.raises(AudioError, match=reason):
            stored_sound(str(path), 0.0, None, "flac")
    path = written(tmp_path, "AIFF", "PCM_16", sound())
    monkeypatch.setattr(module, "MAX_ROW_BYTES", 1000)
    for audio_format in ("flac", "original"):
        with pytest.raises(AudioError, match="too large for a row: list stretches"):
            stored_sound(str(path), 0.0, None, audio_format)


def test_sizes_are_estimated(tmp_path):
    path = written(tmp_path, "WAV", "PCM_16", sound(4.0))
    info = probe(path)
    for seconds, stretch in ((4.0, WHOLE), (0.5, STRETCH)):
        size = len(stored_sound(str(path), *stretch, "flac").content)
        assert size / 2 < expected_bytes(str(path), info, seconds, stretch is STRETCH, "flac") < 2 * size
