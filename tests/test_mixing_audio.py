"""The sound of mixtures: sums at one level, correct in every window, matched in tempo or pitch; faults are named."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hf_audio.data.index.table import Clip, MixPart, index_of
from hf_audio.data.recordings.audio import AudioError
from hf_audio.data.recordings.lengths import measured_by_headers
from hf_audio.data.recordings.mixing import read_clip, semitones, shifted, speeds, stretched, tempo_bpm

RATE = 16_000


def write(path: Path, sound: np.ndarray, rate: int = RATE) -> MixPart:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate, subtype="FLOAT")
    return MixPart(path.stem, str(path))


def mixture_of(*parts: MixPart, match: str = "none") -> Clip:
    names = tuple("abcd"[: len(parts)])
    return Clip("", names, "mix/0", "mix/0", split="train", parts=parts, match=match, part_groups=names)


def noise(seed: int, seconds: float = 1.0, level: float = 0.1) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def rms(sound):
    return np.sqrt(np.mean(np.square(sound, dtype=np.float64)))


def test_a_mixture_is_the_sum_of_its_parts_at_the_level_of_the_first(tmp_path):
    one, two = noise(1), noise(2, level=0.01)
    parts = write(tmp_path / "a.wav", one), write(tmp_path / "b.wav", two)
    parts = parts[0], dataclasses.replace(parts[1], gain_db=-6.0, late=0.25)
    mixed = read_clip(mixture_of(*parts), RATE)
    late = RATE // 4
    assert np.corrcoef(mixed[:late], one[:late])[0, 1] == pytest.approx(1), "the second part has not started"
    settled = slice(late + RATE // 50, None)
    expected = one.copy()
    expected[late:] += two[:-late] * 10 ** (-6 / 20) * rms(one) / rms(two[:-late])
    assert np.corrcoef(mixed[settled], expected[settled])[0, 1] == pytest.approx(1, abs=1e-6)
    assert rms(mixed) == pytest.approx(rms(one), rel=1e-3) and len(mixed) == RATE
    # in windows of 0.4 s it starts after 0.1 s, so that the first window has it too
    windowed = read_clip(mixture_of(*parts), RATE, window_s=0.4)
    apart = np.abs(windowed / rms(windowed[:1600]) - one / rms(one[:1600])) > 1e-4
    assert not apart[:1600].any() and apart[1800:].mean() > 0.9


def test_a_long_part_is_cut_and_a_mixture_stays_within_full_scale(tmp_path):
    long, short = noise(1, 5.0, 0.3), noise(2, 1.0, 0.3)
    parts = write(tmp_path / "a.wav", long), write(tmp_path / "b.wav", short)
    skipped = dataclasses.replace(parts[0], skip=0.5), dataclasses.replace(parts[1], gain_db=-80.0)
    mixed = read_clip(mixture_of(*skipped), RATE)
    assert len(mixed) == RATE and np.corrcoef(mixed, long[2 * RATE : 3 * RATE])[0, 1] > 0.999
    loud = noise(3, 1.0, 0.1)
    loud[100] = 0.99
    parts = write(tmp_path / "c.wav", loud), write(tmp_path / "d.wav", loud)
    assert np.abs(read_clip(mixture_of(*parts), RATE)).max() < 1
    stretch = dataclasses.replace(parts[0], start_s=0.2, end_s=0.5)
    assert len(read_clip(mixture_of(stretch, parts[1]), RATE)) == round(0.3 * RATE)
    mixtures = index_of([mixture_of(stretch, parts[1])])
    durations = measured_by_headers(mixtures, 1).seconds
    assert durations == pytest.approx([0.3])


def test_stereo_stays_stereo(tmp_path):
    left, right = noise(1), noise(2)
    parts = (
        write(tmp_path / "a.wav", np.stack([left, 0 * left], 1)),
        write(tmp_path / "b.wav", np.stack([right] * 2, 1)),
    )
    mixed = read_clip(mixture_of(*parts), RATE, stereo=True)
    assert mixed.shape == (2, RATE)
    assert np.corrcoef(mixed[1], right)[0, 1] == pytest.approx(1) and np.corrcoef(mixed[0], left)[0, 1] > 0.5


def clicks(bpm: float, seconds: float = 5.0) -> np.ndarray:
    sound, period = np.zeros(round(seconds * RATE), np.float32), 60 / bpm * RATE
    for beat in range(int(len(sound) / period)):
        at = round(beat * period)
        sound[at : at + 800] += (
            noise(0, 0.05, 0.3)[: len(sound) - at] * np.exp(-np.arange(800) / 150)[: len(sound) - at]
        )
    return sound


def test_tempos_are_matched(tmp_path):
    parts = write(tmp_path / "a.wav", clicks(100)), write(tmp_path / "b.wav", clicks(120))
    apart, together = (read_clip(mixture_of(*parts, match=match), RATE) for match in ("none", "tempo"))

    def onsets(sound):
        peaks = np.abs(sound).reshape(-1, 80).max(axis=1)
        return peaks - peaks.mean()

    def regularity(sound, bpm):
        """Autocorrelation after one beat."""
        strength, lag = onsets(sound[: len(sound) // 80 * 80]), round(60 / bpm * 200)
        return np.dot(strength[:-lag], strength[lag:]) / np.dot(strength, strength)

    assert regularity(together, 110) > 0.5 > 0.4 > regularity(apart, 110)
    assert tempo_bpm(together, RATE) == pytest.approx(110, abs=2)
    assert np.array_equal(together, read_clip(mixture_of(*parts, match="tempo"), RATE))
    # half and double count as one tempo; a steady tone has none; tempos that are too far apart are not stretched
    tone = 0.1 * np.sin(np.arange(5 * RATE) * 0.1).astype(np.float32)
    assert speeds([clicks(60), clicks(120)], RATE) == [1.0, 1.0] == speeds([clicks(100), tone], RATE)
    assert speeds([clicks(90), clicks(90), clicks(122)], RATE)[2] == 1.0
    assert len(stretched(clicks(100), 1.25, RATE)) == 4 * RATE


def melody(semitone: float) -> np.ndarray:
    """A rising scale and its triad, in the major key that is `semitone` semitones above C."""
    steps = (0, 2, 4, 5, 7, 9, 11, 12, 7, 4, 0)
    tones = []
    for step in steps:
        pitch_hz, time_s = 261.63 * 2 ** ((semitone + step) / 12), np.arange(3 * RATE // len(steps)) / RATE
        tone = sum(np.sin(2 * np.pi * pitch_hz * partial * time_s) / partial for partial in (1, 2, 3))
        tones.append(0.2 * tone * np.hanning(len(time_s)))
    return np.concatenate(tones).astype(np.float32)


def test_keys_and_tunings_are_matched(tmp_path):
    shifts = semitones([melody(0), melody(2), melody(9), melody(0.3)], RATE)
    assert shifts == pytest.approx([0, -2, 3, -0.3], abs=0.06)
    moved = shifted(melody(2), -2, RATE)
    assert len(moved) == len(melody(2)) and semitones([melody(0), moved], RATE)[1] == pytest.approx(0, abs=0.06)
    parts = write(tmp_path / "a.wav", melody(0)), write(tmp_path / "b.wav", melody(2))
    together = read_clip(mixture_of(*parts, match="pitch"), RATE)
    spectrum = np.abs(np.fft.rfft(together * np.hanning(len(together))))
    hertz = np.fft.rfftfreq(len(together), 1 / RATE)

    def strength(semitone):
        return spectrum[np.abs(hertz - 261.63 * 2 ** (semitone / 12)) < 4].max()

    assert strength(13) < 0.1 * strength(12), "C sharp is in D major and not in C major"
    apart = read_clip(mixture_of(*parts), RATE)
    spectrum = np.abs(np.fft.rfft(apart * np.hanning(len(apart))))
    assert strength(13) > 0.3 * strength(12)


def test_a_part_that_cannot_be_decoded_is_named(tmp_path):
    part = write(tmp_path / "a.wav", noise(1))
    (tmp_path / "b.wav").write_bytes(b"no sound")
    for broken, reason in (("b", "unreadable"), ("c", "missing")):
        with pytest.raises(AudioError, match=f"made of {broken}, which is {reason}"):
            read_clip(mixture_of(part, MixPart(broken, tmp_path / f"{broken}.wav")), RATE)
    quiet = noise(2)
    quiet[: RATE // 2] = 0
    late = dataclasses.replace(write(tmp_path / "d.wav", quiet), late=0.5)
    with pytest.raises(AudioError, match="made of d, which is silent in the part used"):
        read_clip(mixture_of(part, late), RATE)
